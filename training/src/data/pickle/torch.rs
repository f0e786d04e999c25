//! Tensors of a legacy (before 1.6, not zipped) PyTorch checkpoint.
//!
//! The file is five pickles - a magic number, a protocol, sizes of the writer's machine, the state
//! dictionary, the storage keys in file order - and then each storage: a 64-bit count and the raw elements.
//! Only float tensors are handed out; integer ones (batch counters) are stepped over.

use std::collections::{BTreeMap, HashMap};

use super::{Id, Limits, Node, Tree, read};
use crate::TrainingError;

const ALLOWED: [&str; 4] =
    ["collections.OrderedDict", "torch.FloatStorage", "torch.LongStorage", "torch._utils._rebuild_tensor_v2"];
/// What `torch.save` wrote first: 0x1950a86a20f9469cfc6c, little endian.
const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];

/// A float tensor, row-major whatever its strides were.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    /// Dimensions.
    pub shape: Vec<usize>,
    /// Elements, the last dimension fastest.
    pub values: Vec<f32>,
}

/// Reads all float tensors of a checkpoint by name; `elements_max` bounds their total.
///
/// # Errors
/// [`TrainingError::Pickle`] or [`TrainingError::Weights`] if it is not such a checkpoint.
pub fn tensors(input: &[u8], elements_max: usize) -> Result<BTreeMap<String, Tensor>, TrainingError> {
    let mut rest = input;
    let mut next = || -> Result<Tree<'_>, TrainingError> {
        let tree = read(rest, &ALLOWED, Limits::default())?;
        rest = &rest[tree.consumed()..];
        Ok(tree)
    };
    let (magic, protocol, _sizes, dictionary, keys) = (next()?, next()?, next()?, next()?, next()?);
    if magic.node(magic.root()) != &Node::BigInt(&MAGIC) || protocol.int(protocol.root()) != Some(1001) {
        return Err(fault("this is not a legacy PyTorch checkpoint (magic number or protocol differ)"));
    }
    let views = views_of(&dictionary)?;
    let storages = storages_of(&keys, &views, rest)?;
    let mut left = elements_max;
    let mut out = BTreeMap::new();
    for view in views.iter().filter(|view| view.kind == Kind::Float) {
        let count = view.count().filter(|count| *count <= left);
        left -= count.ok_or_else(|| fault(format!("more than {elements_max} elements")))?;
        let bytes = storages.get(view.key).copied().unwrap_or_default();
        out.insert(view.name.to_owned(), view.gather(bytes)?);
    }
    Ok(out)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Float,
    Long,
}

impl Kind {
    fn bytes(self) -> usize {
        match self {
            Self::Float => 4,
            Self::Long => 8,
        }
    }
}

/// A tensor as the dictionary describes it: a strided view of a storage.
struct View<'a> {
    name: &'a str,
    key: &'a str,
    kind: Kind,
    offset: usize,
    shape: Vec<usize>,
    strides: Vec<usize>,
}

impl View<'_> {
    fn count(&self) -> Option<usize> {
        self.shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))
    }

    /// Copies the view out of its storage in row-major order.
    fn gather(&self, storage: &[u8]) -> Result<Tensor, TrainingError> {
        let storage = storage.as_chunks::<4>().0;
        let beyond = || fault(format!("`{}` reaches beyond its storage", self.name));
        let mut values = Vec::with_capacity(self.count().ok_or_else(beyond)?);
        let mut index = vec![0_usize; self.shape.len()];
        while values.len() < values.capacity() && !self.shape.contains(&0) {
            let at = index.iter().zip(&self.strides).try_fold(self.offset, |at, (i, stride)| {
                i.checked_mul(*stride).and_then(|step| at.checked_add(step))
            });
            values.push(f32::from_le_bytes(*at.and_then(|at| storage.get(at)).ok_or_else(beyond)?));
            // Count up like an odometer; running over the first dimension is the end.
            if !advance(&mut index, &self.shape) {
                break;
            }
        }
        Ok(Tensor { shape: self.shape.clone(), values })
    }
}

fn advance(index: &mut [usize], shape: &[usize]) -> bool {
    for (i, limit) in index.iter_mut().zip(shape).rev() {
        *i += 1;
        if *i < *limit {
            return true;
        }
        *i = 0;
    }
    false
}

fn views_of<'a>(tree: &Tree<'a>) -> Result<Vec<View<'a>>, TrainingError> {
    let Node::Call { items, .. } = tree.node(tree.root()) else {
        return Err(fault("the checkpoint holds no state dictionary"));
    };
    items
        .iter()
        .map(|(name, value)| {
            let name = tree.text(*name).ok_or_else(|| fault("a tensor has no name"))?;
            view_of(tree, name, *value)
                .ok_or_else(|| fault(format!("`{name}` is not a tensor of a known kind")))
        })
        .collect()
}

/// `_rebuild_tensor_v2(persistent ("storage", kind, key, device, count, view), offset, shape, strides, ..)`.
fn view_of<'a>(tree: &Tree<'a>, name: &'a str, id: Id) -> Option<View<'a>> {
    let ("torch._utils._rebuild_tensor_v2", args, _) = tree.call(id)? else { return None };
    let &[storage, offset, shape, strides, ..] = args else { return None };
    let Node::Persistent(reference) = tree.node(storage) else { return None };
    let &[tag, kind, key, ..] = tree.elements(*reference)? else { return None };
    let Node::Global(kind) = tree.node(kind) else { return None };
    let kind = match kind.as_str() {
        "torch.FloatStorage" => Kind::Float,
        "torch.LongStorage" => Kind::Long,
        _ => return None,
    };
    let number = |id: Id| tree.int(id).and_then(|v| usize::try_from(v).ok());
    let numbers = |id: Id| tree.elements(id)?.iter().map(|d| number(*d)).collect::<Option<Vec<_>>>();
    let (shape, strides) = (numbers(shape)?, numbers(strides)?);
    (tree.text(tag)? == "storage" && shape.len() == strides.len()).then_some(View {
        name,
        key: tree.text(key)?,
        kind,
        offset: number(offset)?,
        shape,
        strides,
    })
}

/// The bytes of each storage, walking the file in key order.
fn storages_of<'a>(
    keys: &Tree<'a>,
    views: &[View<'_>],
    mut rest: &'a [u8],
) -> Result<HashMap<&'a str, &'a [u8]>, TrainingError> {
    let kinds: HashMap<&str, Kind> = views.iter().map(|view| (view.key, view.kind)).collect();
    let keys_list = keys.elements(keys.root()).ok_or_else(|| fault("the storage keys are not a list"))?;
    let mut out = HashMap::new();
    for id in keys_list {
        let key = keys.text(*id).ok_or_else(|| fault("a storage key is not text"))?;
        let kind = kinds.get(key).ok_or_else(|| fault(format!("storage {key} belongs to no tensor")))?;
        let (count, after) =
            rest.split_first_chunk::<8>().ok_or_else(|| fault("the file ends in a storage"))?;
        let size = usize::try_from(u64::from_le_bytes(*count)).ok().and_then(|n| n.checked_mul(kind.bytes()));
        let split = size.filter(|size| *size <= after.len()).map(|size| after.split_at(size));
        let (bytes, after) = split.ok_or_else(|| fault(format!("storage {key} is longer than the file")))?;
        out.insert(key, bytes);
        rest = after;
    }
    Ok(out)
}

fn fault(reason: impl Into<String>) -> TrainingError {
    TrainingError::Weights { reason: reason.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(out: &mut Vec<u8>, text: &str) {
        out.push(b'X');
        out.extend(u32::try_from(text.len()).expect("short").to_le_bytes());
        out.extend(text.as_bytes());
    }

    fn tensor(out: &mut Vec<u8>, name: &str, kind: &str, key: &str, shape: &[u8], strides: &[u8]) {
        text(out, name);
        out.extend(b"ctorch._utils\n_rebuild_tensor_v2\n((");
        text(out, "storage");
        out.extend(format!("ctorch\n{kind}\n").bytes());
        text(out, key);
        text(out, "cpu");
        out.extend(b"K\x06NtQK\x00(");
        shape.iter().for_each(|d| out.extend([b'K', *d]));
        out.extend(b"t(");
        strides.iter().for_each(|d| out.extend([b'K', *d]));
        out.extend(b"t\x89ccollections\nOrderedDict\n)RtR");
    }

    /// A checkpoint with a 2 x 3 tensor stored column-major and an integer counter.
    fn checkpoint(columns: u8) -> Vec<u8> {
        let mut out = vec![0x80, 2, 0x8a, 10];
        out.extend(MAGIC);
        out.extend(b".\x80\x02M\xe9\x03.\x80\x02}.\x80\x02ccollections\nOrderedDict\n)R(");
        tensor(&mut out, "w", "FloatStorage", "0", &[2, columns], &[1, 2]);
        tensor(&mut out, "n", "LongStorage", "1", &[], &[]);
        out.extend(b"u.\x80\x02](");
        text(&mut out, "0");
        text(&mut out, "1");
        out.extend(b"e.");
        out.extend(6_u64.to_le_bytes());
        [1.0_f32, 4.0, 2.0, 5.0, 3.0, 6.0].iter().for_each(|v| out.extend(v.to_le_bytes()));
        out.extend(1_u64.to_le_bytes());
        out.extend(7_i64.to_le_bytes());
        out
    }

    #[test]
    fn strided_floats_come_row_major_and_counters_are_left_out() {
        let all = tensors(&checkpoint(3), 100).expect("tensors");
        assert_eq!(all.keys().collect::<Vec<_>>(), ["w"]);
        assert_eq!(all["w"], Tensor { shape: vec![2, 3], values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] });
    }

    #[test]
    fn a_view_beyond_its_storage_and_too_many_elements_are_refused() {
        assert!(tensors(&checkpoint(4), 100).expect_err("beyond").to_string().contains("beyond its storage"));
        assert!(tensors(&checkpoint(3), 5).expect_err("bound").to_string().contains("more than 5"));
        assert!(tensors(&checkpoint(0), 100).expect("empty")["w"].values.is_empty());
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = checkpoint(3);
        for end in 0..good.len() - 8 {
            assert!(tensors(&good[..end], 100).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            for flip in [1_u8, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let _ = tensors(&bad, 100);
            }
        }
    }

    #[test]
    fn another_magic_is_no_checkpoint() {
        let error = tensors(b"\x80\x02K\x01.K\x01.K\x01.K\x01.K\x01.", 100).expect_err("refused").to_string();
        assert!(error.contains("legacy PyTorch"), "{error}");
    }
}
