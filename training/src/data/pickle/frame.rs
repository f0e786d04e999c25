//! pandas data frames, as `DataFrame.to_pickle` of pandas 2 writes them: blocks of equal type, each with
//! the column numbers it fills. Only numbers and text are read, and only little endian.

use std::io::{self, BufRead, Write};

use super::{Id, Limits, Node, Tree, read};
use crate::TrainingError;

const ALLOWED: [&str; 11] = [
    "builtins.slice",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.numeric._frombuffer",
    "numpy.dtype",
    "numpy.ndarray",
    "pandas._libs.internals._unpickle_block",
    "pandas.core.frame.DataFrame",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.range.RangeIndex",
    "pandas.core.internals.managers.BlockManager",
];

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Floats; NaN is pandas' "missing".
    Float(Vec<f64>),
    /// Integers.
    Int(Vec<i64>),
    /// Text; `None` is missing.
    Text(Vec<Option<String>>),
}

impl Column {
    fn len(&self) -> usize {
        match self {
            Self::Float(values) => values.len(),
            Self::Int(values) => values.len(),
            Self::Text(values) => values.len(),
        }
    }
}

/// A data frame: named columns of equal length.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    name: String,
    columns: Vec<(String, Column)>,
    rows: usize,
}

impl Frame {
    /// Decompresses xz and reads the pickled frame inside; `name` is for errors.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] if it is no xz, larger than `bytes_max`, or no such frame;
    /// [`TrainingError::Pickle`].
    pub fn from_xz(name: &str, input: &mut dyn BufRead, bytes_max: usize) -> Result<Self, TrainingError> {
        let mut out = Bounded { bytes: Vec::new(), limit: bytes_max };
        let mut input = input;
        lzma_rs::xz_decompress(&mut input, &mut out)
            .map_err(|e| TrainingError::dataset(name, format!("xz: {e}")))?;
        Self::from_pickle(name, &out.bytes)
    }

    /// Reads a pickled frame; `name` is for errors.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] if it is no frame of numbers and text; [`TrainingError::Pickle`].
    pub fn from_pickle(name: &str, input: &[u8]) -> Result<Self, TrainingError> {
        let tree = read(input, &ALLOWED, Limits::default())?;
        frame_of(name, &tree)
            .ok_or_else(|| TrainingError::dataset(name, "the pickle is not a data frame of numbers and text"))
    }

    /// A frame made of columns, for the tests of what reads frames.
    #[cfg(test)]
    pub(crate) fn of(columns: Vec<(&str, Column)>) -> Self {
        let rows = columns.first().map_or(0, |(_, column)| column.len());
        let columns = columns.into_iter().map(|(name, column)| (name.to_owned(), column)).collect();
        Self { name: "test".to_owned(), columns, rows }
    }

    /// Names of the columns, for the tests of what reads frames.
    #[cfg(test)]
    pub(crate) fn names(&self) -> Vec<&str> {
        self.columns.iter().map(|(name, _)| name.as_str()).collect()
    }

    /// The same without a column, for the tests of what reads frames.
    #[cfg(test)]
    pub(crate) fn without(&self, column: &str) -> Self {
        let columns = self.columns.iter().filter(|(name, _)| name != column).cloned().collect();
        Self { columns, name: self.name.clone(), rows: self.rows }
    }

    /// Name, for errors.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Number of rows.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// The column `column`.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] naming the column.
    pub fn column(&self, column: &str) -> Result<&Column, TrainingError> {
        let found = self.columns.iter().find(|(name, _)| name == column);
        found
            .map(|(_, c)| c)
            .ok_or_else(|| TrainingError::dataset(&self.name, format!("no column `{column}`")))
    }

    /// A column as numbers, missing as `None`.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] if it is missing or text.
    pub fn numbers(&self, column: &str) -> Result<Vec<Option<f64>>, TrainingError> {
        match self.column(column)? {
            Column::Float(values) => Ok(values.iter().map(|v| v.is_finite().then_some(*v)).collect()),
            Column::Int(values) => Ok(values.iter().map(|v| Some(*v as f64)).collect()),
            Column::Text(_) => Err(self.wrong(column, "numbers", "text")),
        }
    }

    /// A column as integers.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] if it is missing or of another type.
    pub fn integers(&self, column: &str) -> Result<&[i64], TrainingError> {
        match self.column(column)? {
            Column::Int(values) => Ok(values),
            Column::Float(_) => Err(self.wrong(column, "integers", "floats")),
            Column::Text(_) => Err(self.wrong(column, "integers", "text")),
        }
    }

    /// A column as text.
    ///
    /// # Errors
    /// [`TrainingError::Dataset`] if it is missing or of another type.
    pub fn texts(&self, column: &str) -> Result<&[Option<String>], TrainingError> {
        match self.column(column)? {
            Column::Text(values) => Ok(values),
            Column::Float(_) | Column::Int(_) => Err(self.wrong(column, "text", "numbers")),
        }
    }

    fn wrong(&self, column: &str, expected: &str, found: &str) -> TrainingError {
        TrainingError::dataset(&self.name, format!("`{column}` should be {expected}, is {found}"))
    }
}

/// A sink that refuses to grow past its limit: xz may claim anything.
struct Bounded {
    bytes: Vec<u8>,
    limit: usize,
}

impl Write for Bounded {
    fn write(&mut self, part: &[u8]) -> io::Result<usize> {
        if self.bytes.len() + part.len() > self.limit {
            return Err(io::Error::other(format!("more than {} bytes after decompression", self.limit)));
        }
        self.bytes.extend_from_slice(part);
        Ok(part.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// An array: element type and order as written, shape, elements.
struct Array<'a> {
    shape: Vec<usize>,
    row_major: bool,
    elements: Elements<'a>,
}

enum Elements<'a> {
    Float(&'a [u8]),
    Int(&'a [u8]),
    Objects(Vec<Id>),
}

fn frame_of(name: &str, tree: &Tree<'_>) -> Option<Frame> {
    let ("pandas.core.frame.DataFrame", _, Some(state)) = tree.call(tree.root())? else { return None };
    let manager = tree.entry(state, "_mgr")?;
    let ("pandas.core.internals.managers.BlockManager", args, _) = tree.call(manager)? else { return None };
    let &[blocks, axes] = args else { return None };
    let &[names, _] = tree.elements(axes)? else { return None };
    let names = names_of(tree, names)?;
    let mut columns: Vec<Option<Column>> = vec![None; names.len()];
    for block in tree.elements(blocks)? {
        let ("pandas._libs.internals._unpickle_block", &[values, placement, _], _) = tree.call(*block)?
        else {
            return None;
        };
        let array = array_of(tree, values)?;
        let placement = placement_of(tree, placement, names.len())?;
        for (row, at) in placement.into_iter().enumerate() {
            *columns.get_mut(at)? = Some(array.column(tree, row)?);
        }
    }
    let columns: Vec<(String, Column)> =
        names.into_iter().zip(columns).map(|(n, c)| c.map(|c| (n, c))).collect::<Option<_>>()?;
    let rows = columns.first().map_or(0, |(_, column)| column.len());
    columns.iter().all(|(_, column)| column.len() == rows).then(|| Frame {
        name: name.to_owned(),
        columns,
        rows,
    })
}

fn names_of(tree: &Tree<'_>, index: Id) -> Option<Vec<String>> {
    let ("pandas.core.indexes.base._new_Index", &[_, fields], _) = tree.call(index)? else { return None };
    let array = array_of(tree, tree.entry(fields, "data")?)?;
    let Elements::Objects(ids) = array.elements else { return None };
    ids.into_iter().map(|id| tree.text(id).map(str::to_owned)).collect()
}

/// The column numbers a block fills; at most one frame's worth, whatever a slice claims.
fn placement_of(tree: &Tree<'_>, id: Id, columns: usize) -> Option<Vec<usize>> {
    if let Some(("builtins.slice", &[from, to, step], _)) = tree.call(id) {
        let number = |id| tree.int(id).and_then(|v| usize::try_from(v).ok());
        let (from, to, step) = (number(from)?, number(to)?, number(step).filter(|s| *s > 0)?);
        return Some((from..to.min(columns)).step_by(step).collect());
    }
    let Elements::Int(bytes) = array_of(tree, id)?.elements else { return None };
    ints(bytes).map(|v| usize::try_from(v).ok().filter(|v| *v < columns)).collect()
}

fn array_of<'a>(tree: &Tree<'a>, id: Id) -> Option<Array<'a>> {
    match tree.call(id)? {
        ("numpy.core.numeric._frombuffer", &[bytes, dtype, shape, order], _) => {
            let Node::Bytes(bytes) = tree.node(bytes) else { return None };
            let shape = shape_of(tree, shape)?;
            let elements = match dtype_of(tree, dtype)? {
                "f8" => Elements::Float(bytes),
                "i8" => Elements::Int(bytes),
                _ => return None,
            };
            let count = shape.iter().try_fold(8_usize, |n, d| n.checked_mul(*d))?;
            (count == bytes.len()).then_some(Array { shape, row_major: tree.text(order)? == "C", elements })
        }
        ("numpy.core.multiarray._reconstruct", _, Some(state)) => {
            let &[_, shape, dtype, fortran, values] = tree.elements(state)? else { return None };
            let shape = shape_of(tree, shape)?;
            let ("O8", Node::Bool(fortran)) = (dtype_of(tree, dtype)?, tree.node(fortran)) else {
                return None;
            };
            let ids = tree.elements(values)?.to_vec();
            let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d))?;
            (count == ids.len()).then_some(Array {
                shape,
                row_major: !fortran,
                elements: Elements::Objects(ids),
            })
        }
        (_, _, _) => None,
    }
}

fn shape_of(tree: &Tree<'_>, id: Id) -> Option<Vec<usize>> {
    tree.elements(id)?.iter().map(|d| tree.int(*d).and_then(|v| usize::try_from(v).ok())).collect()
}

/// The type code, refusing big endian.
fn dtype_of<'a>(tree: &Tree<'a>, id: Id) -> Option<&'a str> {
    let ("numpy.dtype", args, Some(state)) = tree.call(id)? else { return None };
    let order = tree.text(*tree.elements(state)?.get(1)?)?;
    if order == ">" { None } else { tree.text(*args.first()?) }
}

fn ints(bytes: &[u8]) -> impl Iterator<Item = i64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|chunk| i64::from_le_bytes(*chunk))
}

fn floats(bytes: &[u8]) -> impl Iterator<Item = f64> + '_ {
    bytes.as_chunks::<8>().0.iter().map(|chunk| f64::from_le_bytes(*chunk))
}

impl Array<'_> {
    /// Row `row` of a block of shape `[columns, rows]`, which is one column of the frame.
    fn column(&self, tree: &Tree<'_>, row: usize) -> Option<Column> {
        let &[height, width] = &self.shape[..] else { return None };
        if row >= height {
            return None;
        }
        let (first, step) = if self.row_major { (row * width, 1) } else { (row, height) };
        Some(match &self.elements {
            Elements::Float(bytes) => {
                Column::Float(floats(bytes).skip(first).step_by(step).take(width).collect())
            }
            Elements::Int(bytes) => Column::Int(ints(bytes).skip(first).step_by(step).take(width).collect()),
            Elements::Objects(ids) => {
                let cells = ids.iter().skip(first).step_by(step).take(width);
                Column::Text(cells.map(|id| cell_of(tree, *id)).collect::<Option<_>>()?)
            }
        })
    }
}

fn cell_of(tree: &Tree<'_>, id: Id) -> Option<Option<String>> {
    match tree.node(id) {
        Node::Str(text) => Some(Some((*text).to_owned())),
        Node::None => Some(None),
        Node::Float(value) if value.is_nan() => Some(None),
        Node::Float(_)
        | Node::Bool(_)
        | Node::Int(_)
        | Node::BigInt(_)
        | Node::Bytes(_)
        | Node::Tuple(_)
        | Node::List(_)
        | Node::Dict(_)
        | Node::Global(_)
        | Node::Call { .. }
        | Node::Persistent(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Writes instructions; enough to make a frame by hand.
    #[derive(Default)]
    struct Writer(Vec<u8>);

    impl Writer {
        fn code(&mut self, codes: &[u8]) -> &mut Self {
            self.0.extend_from_slice(codes);
            self
        }
        fn text(&mut self, text: &str) -> &mut Self {
            self.code(&[0x8c, u8::try_from(text.len()).expect("short")]).code(text.as_bytes())
        }
        fn int(&mut self, value: usize) -> &mut Self {
            self.code(b"J").code(&i32::try_from(value).expect("small").to_le_bytes())
        }
        fn global(&mut self, module: &str, name: &str) -> &mut Self {
            self.text(module).text(name).code(&[0x93])
        }
        fn dtype(&mut self, code: &str) -> &mut Self {
            self.global("numpy", "dtype").text(code).code(&[0x85, b'R']);
            self.code(b"(").int(3).text("<").code(b"tb")
        }
        fn objects(&mut self, texts: &[&str], shape: &[usize]) -> &mut Self {
            self.global("numpy.core.multiarray", "_reconstruct").code(b")R(").int(1).code(b"(");
            shape.iter().for_each(|d| {
                self.int(*d);
            });
            self.code(b"t").dtype("O8").code(&[0x89, b']', b'(']);
            texts.iter().for_each(|t| {
                self.text(t);
            });
            self.code(b"etb")
        }
        /// Header of a block: the call, its numbers, and where they go.
        fn numbers(
            &mut self,
            dtype: &str,
            order: &str,
            values: &[[u8; 8]],
            rows: usize,
            from: usize,
        ) -> &mut Self {
            let columns = values.len() / rows;
            self.global("pandas._libs.internals", "_unpickle_block")
                .global("numpy.core.numeric", "_frombuffer");
            let bytes = values.concat();
            self.code(&[b'(', 0x96]).code(&(bytes.len() as u64).to_le_bytes()).code(&bytes);
            self.dtype(dtype).int(columns).int(rows).code(&[0x86]).text(order).code(b"tR");
            self.global("builtins", "slice").int(from).int(from + columns).int(1).code(&[0x87, b'R']);
            self.int(2).code(&[0x87, b'R'])
        }
    }

    /// A pickled frame with float columns `x`, `y` (order `order`), an integer column `n` and a text column `t`.
    fn sample(order: &str, xy: &[f64; 4], n: [i64; 2], t: [&str; 2]) -> Vec<u8> {
        let mut w = Writer::default();
        w.code(&[0x80, 5])
            .global("pandas.core.frame", "DataFrame")
            .code(&[b')', 0x81, b'}', b'('])
            .text("_mgr");
        w.global("pandas.core.internals.managers", "BlockManager").code(b"(");
        w.numbers("f8", order, &xy.map(f64::to_le_bytes), 2, 0);
        w.numbers("i8", "C", &n.map(i64::to_le_bytes), 2, 2);
        w.global("pandas._libs.internals", "_unpickle_block").objects(&t, &[1, 2]);
        w.global("builtins", "slice").int(3).int(4).int(1).code(&[0x87, b'R']).int(2).code(&[0x87, b'R']);
        w.code(b"t](");
        w.global("pandas.core.indexes.base", "_new_Index").global("pandas.core.indexes.base", "Index");
        w.code(b"}").text("data").objects(&["x", "y", "n", "t"], &[4]).code(&[b's', 0x86, b'R']);
        w.code(&[b'N', b'e', 0x86, b'R', b'u', b'b', b'.']);
        w.0
    }

    #[test]
    fn numbers_and_text_come_by_name_in_both_orders() {
        for (order, values) in [("C", [1.0, f64::NAN, 3.0, 4.0]), ("F", [1.0, 3.0, f64::NAN, 4.0])] {
            let frame = Frame::from_pickle("t", &sample(order, &values, [7, -8], ["a", "b"])).expect("frame");
            assert_eq!(frame.rows(), 2);
            assert_eq!(frame.numbers("x").expect("x"), [Some(1.0), None], "{order}");
            assert_eq!(frame.numbers("y").expect("y"), [Some(3.0), Some(4.0)], "{order}");
            assert_eq!(frame.integers("n").expect("n"), [7, -8]);
            assert_eq!(frame.texts("t").expect("t"), [Some("a".to_owned()), Some("b".to_owned())]);
            assert!(frame.integers("t").expect_err("text").to_string().contains("should be integers"));
            assert!(frame.texts("x").is_err() && frame.column("z").is_err());
        }
    }

    #[test]
    fn xz_is_unpacked_within_its_limit() {
        let pickle = sample("C", &[1.0; 4], [0, 0], ["a", "b"]);
        let mut packed = Vec::new();
        lzma_rs::xz_compress(&mut &pickle[..], &mut packed).expect("xz");
        assert!(Frame::from_xz("t", &mut &packed[..], 1 << 20).is_ok());
        let error = Frame::from_xz("t", &mut &packed[..], 10).expect_err("limit").to_string();
        assert!(error.contains("more than 10 bytes"), "{error}");
        assert!(Frame::from_xz("t", &mut &b"not xz"[..], 100).is_err());
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_survived() {
        let good = sample("C", &[1.0, 2.0, 3.0, 4.0], [7, 8], ["a", "b"]);
        for end in 0..good.len() {
            assert!(Frame::from_pickle("t", &good[..end]).is_err(), "cut at {end}");
        }
        for at in 0..good.len() {
            for flip in [1_u8, 0x80, 0xff] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                let _ = Frame::from_pickle("t", &bad);
            }
        }
    }
}
