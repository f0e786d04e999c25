//! The instruction loop: a stack, marks, a memo, and an arena of nodes.

use std::collections::HashMap;

use super::{Id, Node, Tree};
use crate::TrainingError;

/// Bounds of one pickle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most nodes in the tree.
    pub nodes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { nodes_max: 4_000_000 }
    }
}

/// Reads the pickle at the start of `input`; `allowed` lists globals as `module.name`.
///
/// # Errors
/// [`TrainingError::Pickle`] for a global that is not allowed, an instruction that plain data does not
/// need, a truncated or inconsistent program, or more nodes than the limit.
pub fn read<'a>(input: &'a [u8], allowed: &[&str], limits: Limits) -> Result<Tree<'a>, TrainingError> {
    let mut machine = Machine {
        input,
        at: 0,
        started: 0,
        allowed,
        limits,
        nodes: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        memo_next: 0,
    };
    let root = machine.run()?;
    Ok(Tree { nodes: machine.nodes, root, consumed: machine.at })
}

struct Machine<'a, 'b> {
    input: &'a [u8],
    at: usize,
    /// Offset of the current instruction, for errors.
    started: usize,
    allowed: &'b [&'b str],
    limits: Limits,
    nodes: Vec<Node<'a>>,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    memo_next: u32,
}

type Step<T> = Result<T, TrainingError>;

impl<'a> Machine<'a, '_> {
    fn run(&mut self) -> Step<Id> {
        loop {
            self.started = self.at;
            let code = self.byte()?;
            if code == b'.' {
                return self.pop();
            }
            self.step(code)?;
        }
    }

    /// One instruction. The table is the subset of protocols 0-5 that data frames and checkpoints use.
    fn step(&mut self, code: u8) -> Step<()> {
        match code {
            0x80 => self.take(1).map(drop), // protocol number
            0x95 => self.take(8).map(drop), // frame length: a hint for buffered readers
            b'(' => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            b'N' => self.push(Node::None),
            0x88 => self.push(Node::Bool(true)),
            0x89 => self.push(Node::Bool(false)),
            b'J' => self.array().and_then(|b| self.push(Node::Int(i64::from(i32::from_le_bytes(b))))),
            b'K' => self.byte().and_then(|b| self.push(Node::Int(i64::from(b)))),
            b'M' => self.array().and_then(|b| self.push(Node::Int(i64::from(u16::from_le_bytes(b))))),
            b'G' => self.array().and_then(|b| self.push(Node::Float(f64::from_be_bytes(b)))),
            0x8a => self.long(),
            0x8c | b'X' | 0x8d => self.text_of(code),
            b'C' | b'B' | 0x8e | 0x96 => self.bytes_of(code),
            b')' => self.push(Node::Tuple(Vec::new())),
            0x85..=0x87 => self.short_tuple(usize::from(code - 0x84)),
            b't' => self.since_mark().and_then(|ids| self.push(Node::Tuple(ids))),
            b']' => self.push(Node::List(Vec::new())),
            b'}' => self.push(Node::Dict(Vec::new())),
            b'a' => self.pop().and_then(|id| self.append(vec![id])),
            b'e' => self.since_mark().and_then(|ids| self.append(ids)),
            b's' => self.set_one(),
            b'u' => self.since_mark().and_then(|ids| self.set_items(&ids)),
            b'q' => self.byte().and_then(|key| self.remember(u32::from(key))),
            b'r' => self.array().and_then(|b| self.remember(u32::from_le_bytes(b))),
            0x94 => self.remember(self.memo_next),
            b'h' => self.byte().and_then(|key| self.recall(u32::from(key))),
            b'j' => self.array().and_then(|b| self.recall(u32::from_le_bytes(b))),
            b'c' => self.global_by_lines(),
            0x93 => self.global_by_stack(),
            b'R' | 0x81 => self.call(),
            b'b' => self.build(),
            b'Q' => self.pop().and_then(|id| self.push(Node::Persistent(id))),
            other => Err(self.fault(format!("instruction 0x{other:02x} is not in the allowed subset"))),
        }
    }

    fn fault(&self, reason: impl Into<String>) -> TrainingError {
        TrainingError::Pickle { offset: self.started, reason: reason.into() }
    }

    fn take(&mut self, count: usize) -> Step<&'a [u8]> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.input.len());
        let end = end.ok_or_else(|| self.fault("the input ends inside an instruction"))?;
        let bytes = &self.input[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    fn byte(&mut self) -> Step<u8> {
        self.take(1).map(|b| b[0])
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        let mut out = [0; N];
        out.copy_from_slice(self.take(N)?);
        Ok(out)
    }

    /// A length in `width` little-endian bytes.
    fn length(&mut self, width: usize) -> Step<usize> {
        let mut wide = [0; 8];
        wide[..width].copy_from_slice(self.take(width)?);
        usize::try_from(u64::from_le_bytes(wide)).map_err(|_| self.fault("a length does not fit"))
    }

    fn push(&mut self, node: Node<'a>) -> Step<()> {
        if self.nodes.len() >= self.limits.nodes_max {
            return Err(self.fault(format!("more than {} values", self.limits.nodes_max)));
        }
        let id = u32::try_from(self.nodes.len()).map_err(|_| self.fault("too many values"))?;
        self.nodes.push(node);
        self.stack.push(Id(id));
        Ok(())
    }

    /// Pops one value, never reaching below the last mark.
    fn pop(&mut self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(self.fault("the stack is empty"));
        }
        self.stack.pop().ok_or_else(|| self.fault("the stack is empty"))
    }

    fn top(&self) -> Step<Id> {
        let floor = self.marks.last().copied().unwrap_or(0);
        self.stack
            .last()
            .filter(|_| self.stack.len() > floor)
            .copied()
            .ok_or_else(|| self.fault("the stack is empty"))
    }

    fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or_else(|| self.fault("no mark on the stack"))?;
        if mark > self.stack.len() {
            return Err(self.fault("the stack is below its mark"));
        }
        Ok(self.stack.split_off(mark))
    }

    fn long(&mut self) -> Step<()> {
        let count = usize::from(self.byte()?);
        let bytes = self.take(count)?;
        if bytes.len() > 8 {
            return self.push(Node::BigInt(bytes));
        }
        let fill = if bytes.last().is_some_and(|b| b & 0x80 != 0) { 0xff } else { 0 };
        let mut wide = [fill; 8];
        wide[..bytes.len()].copy_from_slice(bytes);
        self.push(Node::Int(i64::from_le_bytes(wide)))
    }

    fn text_of(&mut self, code: u8) -> Step<()> {
        let width = if code == 0x8c {
            1
        } else if code == b'X' {
            4
        } else {
            8
        };
        let count = self.length(width)?;
        let bytes = self.take(count)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.fault("text is not UTF-8"))?;
        self.push(Node::Str(text))
    }

    fn bytes_of(&mut self, code: u8) -> Step<()> {
        let width = if code == b'C' {
            1
        } else if code == b'B' {
            4
        } else {
            8
        };
        let count = self.length(width)?;
        let bytes = self.take(count)?;
        self.push(Node::Bytes(bytes))
    }

    fn short_tuple(&mut self, count: usize) -> Step<()> {
        let mut ids = Vec::with_capacity(count);
        for _ in 0..count {
            ids.push(self.pop()?);
        }
        ids.reverse();
        self.push(Node::Tuple(ids))
    }

    fn append(&mut self, ids: Vec<Id>) -> Step<()> {
        let top = self.top()?;
        match self.nodes.get_mut(top.0 as usize) {
            Some(Node::List(list)) => {
                list.extend(ids);
                Ok(())
            }
            Some(_) | None => Err(self.fault("append to something that is not a list")),
        }
    }

    fn set_one(&mut self) -> Step<()> {
        let value = self.pop()?;
        let key = self.pop()?;
        self.set_items(&[key, value])
    }

    fn set_items(&mut self, ids: &[Id]) -> Step<()> {
        if ids.len() % 2 == 1 {
            return Err(self.fault("a key without a value"));
        }
        let top = self.top()?;
        match self.nodes.get_mut(top.0 as usize) {
            Some(Node::Dict(pairs) | Node::Call { items: pairs, .. }) => {
                pairs.extend(ids.chunks_exact(2).map(|pair| (pair[0], pair[1])));
                Ok(())
            }
            Some(_) | None => Err(self.fault("set items on something that is no dictionary")),
        }
    }

    fn remember(&mut self, key: u32) -> Step<()> {
        let top = self.top()?;
        self.memo.insert(key, top);
        self.memo_next = self.memo_next.saturating_add(1);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Step<()> {
        let id = *self.memo.get(&key).ok_or_else(|| self.fault(format!("memo {key} is empty")))?;
        self.stack.push(id);
        Ok(())
    }

    fn line(&mut self) -> Step<&'a str> {
        let rest = &self.input[self.at..];
        let end = rest.iter().position(|b| *b == b'\n').ok_or_else(|| self.fault("a line does not end"))?;
        self.at += end + 1;
        std::str::from_utf8(&rest[..end]).map_err(|_| self.fault("a name is not UTF-8"))
    }

    fn global_by_lines(&mut self) -> Step<()> {
        let (module, name) = (self.line()?, self.line()?);
        self.global(module, name)
    }

    fn global_by_stack(&mut self) -> Step<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.nodes.get(module.0 as usize), self.nodes.get(name.0 as usize)) {
            (Some(&Node::Str(module)), Some(&Node::Str(name))) => self.global(module, name),
            (_, _) => Err(self.fault("the name of a global is not text")),
        }
    }

    fn global(&mut self, module: &str, name: &str) -> Step<()> {
        let full = format!("{module}.{name}");
        if !self.allowed.contains(&full.as_str()) {
            return Err(self.fault(format!("global `{full}` is not allowed")));
        }
        self.push(Node::Global(full))
    }

    fn call(&mut self) -> Step<()> {
        let (args, callee) = (self.pop()?, self.pop()?);
        self.push(Node::Call { callee, args, state: None, items: Vec::new() })
    }

    fn build(&mut self) -> Step<()> {
        let value = self.pop()?;
        let top = self.top()?;
        match self.nodes.get_mut(top.0 as usize) {
            Some(Node::Call { state, .. }) => {
                *state = Some(value);
                Ok(())
            }
            Some(_) | None => Err(self.fault("state for something that was not constructed")),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read_all<'a>(input: &'a [u8], allowed: &[&str]) -> Step<Tree<'a>> {
        read(input, allowed, Limits { nodes_max: 10_000 })
    }

    #[test]
    fn plain_data_comes_through() {
        // {"a": [1, 2.5, None], "b": (True, -3)} in protocol 4, written by hand.
        let mut input = vec![0x80, 4, b'}', b'(', 0x8c, 1, b'a', b']', b'(', b'K', 1, b'G'];
        input.extend(2.5_f64.to_be_bytes());
        input.extend([b'N', b'e', 0x8c, 1, b'b', 0x88, b'J', 0xfd, 0xff, 0xff, 0xff, 0x86, b'u', b'.', b'!']);
        let tree = read_all(&input, &[]).expect("tree");
        assert_eq!(tree.consumed(), input.len() - 1);
        let list = tree.entry(tree.root(), "a").and_then(|id| tree.elements(id)).expect("list");
        assert_eq!(
            (tree.int(list[0]), tree.node(list[1]), tree.node(list[2])),
            (Some(1), &Node::Float(2.5), &Node::None)
        );
        let pair = tree.entry(tree.root(), "b").and_then(|id| tree.elements(id)).expect("pair");
        assert_eq!((tree.node(pair[0]), tree.int(pair[1])), (&Node::Bool(true), Some(-3)));
        assert!(tree.entry(tree.root(), "c").is_none());
    }

    #[test]
    fn only_named_globals_pass_and_nothing_is_called() {
        let input = b"cos\nsystem\n(X\x04\x00\x00\x00evil\x85R.";
        let error = read_all(input, &["collections.OrderedDict"]).expect_err("refused").to_string();
        assert!(error.contains("os.system") && error.contains("byte 0"), "{error}");
        // The same name spelled through the stack.
        let input = b"\x8c\x02os\x8c\x06system\x93.";
        assert!(read_all(input, &[]).expect_err("refused").to_string().contains("os.system"));
        let tree =
            read_all(b"ccollections\nOrderedDict\n)R.", &["collections.OrderedDict"]).expect("allowed");
        assert_eq!(
            tree.call(tree.root()).map(|(name, args, _)| (name, args.len())),
            Some(("collections.OrderedDict", 0))
        );
    }

    #[test]
    fn shared_and_cyclic_lists_are_kept_as_they_are() {
        // l = []; l.append(l)
        let tree = read_all(b"]\x94h\x00a.", &[]).expect("tree");
        assert_eq!(tree.elements(tree.root()), Some(&[tree.root()][..]));
    }

    #[test]
    fn inconsistent_programs_are_refused() {
        let cases: [&[u8]; 10] = [
            b"",
            b".",
            b"a.",
            b"K",
            b"(e.",
            b"]K\x01(a.",
            b"h\x00.",
            b"K\x01K\x02b.",
            b"}(K\x01u.",
            b"\x8c\xffabc.",
        ];
        for input in cases {
            assert!(matches!(read_all(input, &[]), Err(TrainingError::Pickle { .. })), "{input:?}");
        }
        for code in [b'i', b'o', 0x82, 0x92, b'I', b'2'] {
            let error = read_all(&[code, b'.'], &[]).expect_err("refused").to_string();
            assert!(error.contains("not in the allowed subset"), "{error}");
        }
    }

    #[test]
    fn the_number_of_values_is_bounded() {
        let mut input = vec![b'N'; 50];
        input.push(b'.');
        let error = read(&input, &[], Limits { nodes_max: 10 }).expect_err("bounded").to_string();
        assert!(error.contains("more than 10"), "{error}");
    }

    /// Bytes that are instructions more often than chance has it, so programs get somewhere.
    fn instruction() -> impl Strategy<Value = u8> {
        let codes: Vec<u8> = b"(NJKMGXCB)t]}aesuqrhjcRbQ.\n".iter().copied().chain(0x80..=0x96).collect();
        prop_oneof![4 => prop::sample::select(codes), 1 => any::<u8>()]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4000))]
        #[test]
        fn random_bytes_never_panic(input in prop::collection::vec(instruction(), 0..120)) {
            if let Ok(tree) = read_all(&input, &["a.b"]) {
                prop_assert!(tree.consumed() <= input.len());
                let _ = (tree.node(tree.root()), tree.call(tree.root()), tree.entry(tree.root(), "x"));
            }
        }

        #[test]
        fn a_length_beyond_the_input_is_refused(claim in 10u64..) {
            let mut input = vec![0x8e];
            input.extend(claim.to_le_bytes());
            input.extend(b"abc.");
            prop_assert!(read_all(&input, &[]).is_err());
        }
    }
}
