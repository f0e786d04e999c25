//! Boosted trees beside the perceptrons of a classifier: they find thresholds that a smooth network blurs.
//!
//! A tree has a fixed number of places, `2 × leaves − 1`; its root is the first. Each place is a row of four buffers:
//! `column` (−1: a leaf), `value` (where the column is cut, or what the leaf adds to its class), `next` (place of the
//! left child, the right one follows it) and `absent_left` (where a missing value goes). Trees take the classes in
//! turn; of two classes only the second has trees.

use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use super::super::kernel;
use super::slice;
use crate::bundle::network::ForestConfig;

/// Marks a leaf in `column`.
const LEAF: f32 = -1.0;

/// Trees over standardised columns.
#[derive(Debug)]
pub struct Forest {
    start: Tensor,
    /// Checked once; a forest that is not grown yet has none.
    nodes: std::result::Result<Vec<Node>, String>,
    shape: Shape,
    share: f32,
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    trees: usize,
    places: usize,
    columns: usize,
    classes: usize,
    masked: bool,
}

#[derive(Debug, Clone, Copy)]
struct Node {
    /// `u16::MAX` for a leaf.
    column: u16,
    next: u16,
    absent_left: bool,
    value: f32,
}

impl Forest {
    /// Takes `start`, `[scores]`, and the four buffers, each `[trees, places]`, from `vars`.
    pub(super) fn new(
        config: &ForestConfig,
        (columns, classes, masked): (usize, usize, bool),
        vars: &VarBuilder<'_>,
    ) -> Result<Self> {
        let shape = Shape { trees: config.trees, places: config.places(), columns, classes, masked };
        let get = |name, value| vars.get_with_hints((shape.trees, shape.places), name, Init::Const(value));
        let start = vars.get_with_hints(config.scores(classes), "start", Init::Const(0.0))?;
        let (column, value) = (get("column", f64::from(LEAF))?, get("value", 0.0)?);
        let (next, absent_left) = (get("next", 0.0)?, get("absent_left", 0.0)?);
        let all = |buffer: &Tensor| slice::of(buffer, <[f32]>::to_vec);
        let nodes = shape.nodes(&all(&column)?, &all(&value)?, &all(&next)?, &all(&absent_left)?);
        Ok(Self { start, nodes, shape, share: config.share })
    }

    /// What is wrong with the trees, if anything.
    pub(super) fn fault(&self) -> Option<&str> {
        self.nodes.as_ref().err().map(String::as_str)
    }

    /// Mixes the trees' class probabilities into `probabilities`, by the share of the trees.
    pub(super) fn mix(&self, prepared: &[f32], probabilities: &mut [f32]) -> Result<()> {
        let nodes = self.nodes.as_ref().map_err(|reason| candle_core::Error::Msg(reason.clone()))?;
        let Shape { columns, classes, masked, .. } = self.shape;
        let width = if masked { 2 * columns } else { columns };
        slice::of(&self.start, |start| {
            let mut logits = vec![0.0; classes];
            for (row, out) in prepared.chunks_exact(width).zip(probabilities.chunks_exact_mut(classes)) {
                logits.fill(0.0);
                let scores = &mut logits[classes - start.len()..];
                scores.copy_from_slice(start);
                self.shape.add(nodes, row, scores);
                kernel::softmax(&mut logits, classes);
                for (out, ours) in out.iter_mut().zip(&logits) {
                    *out += (ours - *out) * self.share;
                }
            }
        })
    }
}

impl Shape {
    /// The buffers as nodes; children lie behind their parent, so every walk ends.
    fn nodes(
        &self,
        column: &[f32],
        value: &[f32],
        next: &[f32],
        absent_left: &[f32],
    ) -> std::result::Result<Vec<Node>, String> {
        let node = |at: usize| {
            let place = at % self.places;
            if column[at] == LEAF {
                return Ok(Node { column: u16::MAX, next: 0, absent_left: false, value: value[at] });
            }
            let known = column[at].fract() == 0.0 && (0.0..self.columns as f32).contains(&column[at]);
            let ahead =
                next[at].fract() == 0.0 && next[at] > place as f32 && next[at] + 1.0 < self.places as f32;
            if known && ahead {
                let (column, next) = (column[at] as u16, next[at] as u16);
                return Ok(Node { column, next, absent_left: absent_left[at] != 0.0, value: value[at] });
            }
            let tree = at / self.places;
            Err(format!(
                "place {place} of tree {tree} cuts column {} and goes on at {}",
                column[at], next[at]
            ))
        };
        (0..column.len()).map(node).collect()
    }

    fn add(&self, nodes: &[Node], row: &[f32], scores: &mut [f32]) {
        let count = scores.len();
        for (tree, nodes) in nodes.chunks_exact(self.places).enumerate() {
            let mut node = nodes[0];
            while node.column != u16::MAX {
                let column = usize::from(node.column);
                let absent = self.masked && row[self.columns + column] == 0.0;
                let left = if absent { node.absent_left } else { row[column] <= node.value };
                node = nodes[usize::from(node.next) + usize::from(!left)];
            }
            scores[tree % count] += node.value;
        }
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    use super::*;

    /// One tree over two columns: the second above 1 says class 1, missing says class 0.
    fn forest(next: f32) -> Forest {
        let config = ForestConfig { trees: 1, leaves: 2, share: 0.5 };
        let mut map = VarMap::new();
        let build = |map: &VarMap| {
            let vars = VarBuilder::from_varmap(map, DType::F32, &Device::Cpu);
            Forest::new(&config, (2, 2, true), &vars).expect("built")
        };
        build(&map);
        for (name, values) in [
            ("column", [1.0, LEAF, LEAF]),
            ("value", [1.0, -3.0, 3.0]),
            ("next", [next, 0.0, 0.0]),
            ("absent_left", [1.0, 0.0, 0.0]),
        ] {
            map.set_one(name, Tensor::new(&[values], &Device::Cpu).expect("tensor")).expect("known");
        }
        build(&map)
    }

    #[test]
    fn rows_fall_to_their_leaf_and_the_missing_to_theirs() {
        let rows = [9.0, 2.0, 1.0, 1.0, 9.0, 0.5, 1.0, 1.0, 9.0, 2.0, 1.0, 0.0];
        let mut probabilities = [0.5; 6];
        forest(1.0).mix(&rows, &mut probabilities).expect("mixed");
        let high = 1.0 / (1.0 + (-3.0f32).exp());
        let want = [high, 1.0 - high, 1.0 - high].map(|p| 0.5 + (p - 0.5) * 0.5);
        for (got, want) in probabilities.chunks_exact(2).zip(want) {
            assert!((got[1] - want).abs() < 1e-6 && (got[0] + got[1] - 1.0).abs() < 1e-6, "{got:?} {want}");
        }
    }

    #[test]
    fn a_walk_that_would_not_end_is_a_fault() {
        assert!(forest(1.0).fault().is_none());
        for next in [0.0, 2.0, 1.5, -1.0, f32::NAN] {
            let forest = forest(next);
            assert!(forest.fault().is_some_and(|fault| fault.contains("place 0 of tree 0")), "{next}");
            assert!(forest.mix(&[0.0; 4], &mut [0.5, 0.5]).is_err());
        }
    }
}
