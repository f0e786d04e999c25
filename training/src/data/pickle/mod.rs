//! Pickles read without Python and without running anything.
//!
//! A pickle is a small program; the usual reader runs it, and with it whatever its author named. This one
//! interprets the instructions that plain data needs into a tree of [`Node`]s. A named global becomes an
//! inert node, and only if the caller allowed that very name; a call becomes a node that holds the
//! callee and its arguments. Everything else is refused with the offset. Strings and bytes are borrowed from
//! the input, so memory is bounded by the input, and nodes are counted on top.
//!
//! [`frame`] reads pandas data frames out of such a tree, [`torch`] the tensors of a PyTorch checkpoint.

pub mod frame;
mod machine;
pub mod torch;

pub use machine::{Limits, read};

/// Index of a node in its [`Tree`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(u32);

/// One value. Children are indices: a pickle may share and even cycle, an index cannot recurse.
#[derive(Debug, Clone, PartialEq)]
pub enum Node<'a> {
    /// `None`.
    None,
    /// A truth value.
    Bool(bool),
    /// An integer that fits.
    Int(i64),
    /// A larger integer, two's complement, little endian.
    BigInt(&'a [u8]),
    /// A float.
    Float(f64),
    /// Text.
    Str(&'a str),
    /// Bytes.
    Bytes(&'a [u8]),
    /// A tuple.
    Tuple(Vec<Id>),
    /// A list.
    List(Vec<Id>),
    /// A dictionary, in insertion order, keys not checked for repeats.
    Dict(Vec<(Id, Id)>),
    /// An allowed global, as `module.name`. Nothing stands behind it.
    Global(String),
    /// A call that was not made: callee, argument tuple, later state and items.
    Call {
        /// Usually a [`Node::Global`].
        callee: Id,
        /// The argument tuple.
        args: Id,
        /// What `__setstate__` would have got.
        state: Option<Id>,
        /// What item assignment would have added.
        items: Vec<(Id, Id)>,
    },
    /// An external reference.
    Persistent(Id),
}

/// The nodes of one pickle.
#[derive(Debug, Clone, PartialEq)]
pub struct Tree<'a> {
    nodes: Vec<Node<'a>>,
    root: Id,
    consumed: usize,
}

impl<'a> Tree<'a> {
    /// The value that the pickle is about.
    #[must_use]
    pub fn root(&self) -> Id {
        self.root
    }

    /// How many bytes of the input the pickle took; another may follow.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.consumed
    }

    /// The node at `id`; ids of another tree give some other node or [`Node::None`].
    #[must_use]
    pub fn node(&self, id: Id) -> &Node<'a> {
        self.nodes.get(id.0 as usize).unwrap_or(&Node::None)
    }

    /// The text at `id`, if it is text.
    #[must_use]
    pub fn text(&self, id: Id) -> Option<&'a str> {
        if let Node::Str(text) = self.node(id) { Some(text) } else { None }
    }

    /// The integer at `id`, if it is one.
    #[must_use]
    pub fn int(&self, id: Id) -> Option<i64> {
        if let Node::Int(value) = self.node(id) { Some(*value) } else { None }
    }

    /// The elements at `id`, if it is a tuple or a list.
    #[must_use]
    pub fn elements(&self, id: Id) -> Option<&[Id]> {
        if let Node::Tuple(ids) | Node::List(ids) = self.node(id) { Some(ids) } else { None }
    }

    /// The value under text `key` of a dictionary, if both are there.
    #[must_use]
    pub fn entry(&self, id: Id, key: &str) -> Option<Id> {
        let Node::Dict(pairs) = self.node(id) else { return None };
        pairs.iter().rev().find(|(k, _)| self.text(*k) == Some(key)).map(|(_, value)| *value)
    }

    /// Callee name, arguments and state of a call of a global.
    #[must_use]
    pub fn call(&self, id: Id) -> Option<(&str, &[Id], Option<Id>)> {
        let Node::Call { callee, args, state, .. } = self.node(id) else { return None };
        let Node::Global(name) = self.node(*callee) else { return None };
        Some((name, self.elements(*args)?, *state))
    }
}
