//! Rows of single-precision numbers: what recipes build, networks take and give.

use anyhow::{Result, ensure};

/// A table of `cols` columns, row after row.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Matrix {
    pub(crate) cols: usize,
    pub(crate) data: Vec<f32>,
}

impl Matrix {
    /// No rows yet.
    pub(crate) fn new(cols: usize) -> Self {
        Self { cols, data: Vec::new() }
    }

    /// Adds one row.
    pub(crate) fn push(&mut self, row: &[f32]) {
        debug_assert_eq!(row.len(), self.cols, "a row has as many numbers as the table has columns");
        self.data.extend_from_slice(row);
    }

    pub(crate) fn rows(&self) -> usize {
        self.data.len().checked_div(self.cols).unwrap_or(0)
    }

    pub(crate) fn row(&self, row: usize) -> &[f32] {
        &self.data[row * self.cols..(row + 1) * self.cols]
    }

    /// One row in double precision.
    pub(crate) fn row_f64(&self, row: usize) -> Vec<f64> {
        self.row(row).iter().map(|value| f64::from(*value)).collect()
    }

    /// The rows `rows`, in that order.
    pub(crate) fn pick(&self, rows: &[usize]) -> Self {
        let mut picked = Self { cols: self.cols, data: Vec::with_capacity(rows.len() * self.cols) };
        rows.iter().for_each(|row| picked.push(self.row(*row)));
        picked
    }

    /// One column in double precision.
    pub(crate) fn column(&self, col: usize) -> Vec<f64> {
        (0..self.rows()).map(|row| f64::from(self.row(row)[col])).collect()
    }

    /// All rows in double precision.
    pub(crate) fn to_f64(&self) -> Vec<Vec<f64>> {
        (0..self.rows()).map(|row| self.row(row).iter().map(|v| f64::from(*v)).collect()).collect()
    }

    /// For training.
    pub(crate) fn to_candle(&self) -> Result<candle_core::Tensor> {
        Ok(candle_core::Tensor::from_slice(&self.data, (self.rows(), self.cols), crate::optimise::device())?)
    }

    /// For an engine.
    pub(crate) fn to_tensor(&self) -> Result<models::Tensor> {
        Ok(models::Tensor::from_f32(vec![self.rows(), self.cols], &self.data)?)
    }

    /// From an engine; dimensions after the first are laid side by side.
    pub(crate) fn from_tensor(tensor: &models::Tensor) -> Result<Self> {
        let cols = tensor.shape().iter().skip(1).product();
        let data = tensor.as_f32()?.into_owned();
        ensure!(data.len() == tensor.rows() * cols, "tensor of shape {:?} is not whole", tensor.shape());
        Ok(Self { cols, data })
    }

    /// Adds the rows of `other`.
    pub(crate) fn append(&mut self, other: &Self) {
        if self.cols == 0 {
            self.cols = other.cols;
        }
        self.data.extend_from_slice(&other.data);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matrix() -> Matrix {
        let mut matrix = Matrix::new(2);
        [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]].iter().for_each(|row| matrix.push(row));
        matrix
    }

    #[test]
    fn rows_and_columns_are_found() {
        let matrix = matrix();
        assert_eq!((matrix.rows(), matrix.row(1)), (3, &[3.0, 4.0][..]));
        assert_eq!(matrix.column(1), [2.0, 4.0, 6.0]);
        assert_eq!(matrix.pick(&[2, 0]).data, [5.0, 6.0, 1.0, 2.0]);
        assert_eq!(Matrix::default().rows(), 0);
    }

    #[test]
    fn an_engine_tensor_comes_back() {
        let back = Matrix::from_tensor(&matrix().to_tensor().expect("tensor")).expect("matrix");
        assert_eq!(back, matrix());
        let cube = models::Tensor::from_f32(vec![1, 2, 2], &[1.0, 2.0, 3.0, 4.0]).expect("tensor");
        assert_eq!(Matrix::from_tensor(&cube).expect("matrix").cols, 4);
    }
}
