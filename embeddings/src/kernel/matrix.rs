//! Vectors of one length, one after another in memory, in one of the three storage kinds.

use half::f16;

use super::{dot, dot_f16, dot_i8, quantise_i8, squared_l2, squared_l2_f16};
use crate::Metric;

/// Rows to search, borrowed from wherever they lie.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    dimension: usize,
    rows: usize,
    values: Values<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Values<'a> {
    F32(&'a [f32]),
    F16(&'a [f16]),
    I8 { bytes: &'a [i8], steps: &'a [f32] },
}

/// A query in the form in which it is compared with the rows of a matrix.
#[derive(Debug, Clone)]
pub struct Prepared {
    vector: Vec<f32>,
    bytes: Vec<i8>,
    step: f32,
    /// Sum of the squared bytes.
    square: i64,
}

impl<'a> Matrix<'a> {
    /// Rows of f32.
    ///
    /// # Panics
    /// When `dimension` is zero or `values` does not hold whole rows; so for the other kinds.
    pub fn f32(dimension: usize, values: &'a [f32]) -> Self {
        Self { dimension, rows: whole_rows(dimension, values.len()), values: Values::F32(values) }
    }

    /// Rows of half floats, see [`to_f16`](super::to_f16).
    ///
    /// # Panics
    /// As [`f32`](Self::f32).
    pub fn f16(dimension: usize, values: &'a [f16]) -> Self {
        Self { dimension, rows: whole_rows(dimension, values.len()), values: Values::F16(values) }
    }

    /// Rows of bytes with the step of each, see [`quantise_i8`].
    ///
    /// # Panics
    /// As [`f32`](Self::f32), and when there is not one step for each row.
    pub fn i8(dimension: usize, bytes: &'a [i8], steps: &'a [f32]) -> Self {
        let rows = whole_rows(dimension, bytes.len());
        assert_eq!(rows, steps.len(), "every row has a step");
        Self { dimension, rows, values: Values::I8 { bytes, steps } }
    }

    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> usize {
        match self.values {
            Values::F32(_) => self.dimension * size_of::<f32>(),
            Values::F16(_) => self.dimension * size_of::<f16>(),
            Values::I8 { .. } => self.dimension + size_of::<f32>(),
        }
    }

    /// The query as this matrix compares it: against bytes it becomes bytes itself.
    ///
    /// # Panics
    /// When the query has another length than the rows.
    pub fn prepare(&self, query: &[f32]) -> Prepared {
        assert_eq!(query.len(), self.dimension, "the query has the length of the rows");
        match self.values {
            Values::F32(_) | Values::F16(_) => {
                Prepared { vector: query.to_vec(), bytes: Vec::new(), step: 1.0, square: 0 }
            }
            Values::I8 { .. } => {
                let (bytes, step) = quantise_i8(query);
                Prepared { vector: Vec::new(), square: dot_i8(&bytes, &bytes), bytes, step }
            }
        }
    }

    /// How near `row` is to the query, higher is nearer: the product for [`Metric::Cosine`], which is
    /// the cosine where both have length one, and the negative squared distance for [`Metric::L2`].
    ///
    /// # Panics
    /// When there is no such row.
    pub fn score(&self, metric: Metric, query: &Prepared, row: usize) -> f32 {
        let range = row * self.dimension..(row + 1) * self.dimension;
        match (self.values, metric) {
            (Values::F32(values), Metric::Cosine) => dot(&query.vector, &values[range]),
            (Values::F32(values), Metric::L2) => -squared_l2(&query.vector, &values[range]),
            (Values::F16(values), Metric::Cosine) => dot_f16(&query.vector, &values[range]),
            (Values::F16(values), Metric::L2) => -squared_l2_f16(&query.vector, &values[range]),
            (Values::I8 { bytes, steps }, Metric::Cosine) => {
                (f64::from(query.step) * f64::from(steps[row]) * dot_i8(&query.bytes, &bytes[range]) as f64)
                    as f32
            }
            (Values::I8 { bytes, steps }, Metric::L2) => query.scaled_l2(&bytes[range], steps[row]),
        }
    }
}

impl Prepared {
    /// −|a − b|² from the three products, since a and b have different steps. The row is in cache
    /// when its own square is taken, so keeping the squares would save nothing.
    fn scaled_l2(&self, row: &[i8], step: f32) -> f32 {
        let (a, b) = (f64::from(self.step), f64::from(step));
        let squares = a * a * self.square as f64 + b * b * dot_i8(row, row) as f64;
        let product = a * b * dot_i8(&self.bytes, row) as f64;
        (2.0 * product - squares).min(0.0) as f32
    }
}

fn whole_rows(dimension: usize, values: usize) -> usize {
    assert!(dimension > 0, "a row has at least one component");
    assert!(values.is_multiple_of(dimension), "the matrix holds whole rows");
    values / dimension
}
