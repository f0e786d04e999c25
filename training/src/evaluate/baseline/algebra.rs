//! Symmetric positive definite systems by Cholesky: all the linear algebra the baselines need.

/// A square matrix, row by row.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Square {
    pub(super) size: usize,
    pub(super) cells: Vec<f64>,
}

impl Square {
    /// All zeros.
    pub(super) fn zeros(size: usize) -> Self {
        Self { size, cells: vec![0.0; size * size] }
    }

    /// Adds `weight * row * row'`.
    pub(super) fn add_outer(&mut self, row: &[f64], weight: f64) {
        for (i, a) in row.iter().enumerate() {
            for (j, b) in row.iter().enumerate() {
                self.cells[i * self.size + j] += weight * a * b;
            }
        }
    }

    /// Adds `value` along the diagonal.
    pub(super) fn add_diagonal(&mut self, value: f64) {
        for i in 0..self.size {
            self.cells[i * self.size + i] += value;
        }
    }

    /// Lower Cholesky factor; pivots below `1e-12` are raised to it, which leaves a direction without
    /// variance out rather than dividing by nothing.
    pub(super) fn factor(mut self) -> Factor {
        let n = self.size;
        for j in 0..n {
            for i in j..n {
                let dot: f64 = (0..j).map(|k| self.cells[i * n + k] * self.cells[j * n + k]).sum();
                let rest = self.cells[i * n + j] - dot;
                self.cells[i * n + j] =
                    if i == j { rest.max(1e-12).sqrt() } else { rest / self.cells[j * n + j] };
            }
        }
        Factor(self)
    }
}

/// A lower triangular factor.
pub(super) struct Factor(Square);

impl Factor {
    /// Solves `L y = b`.
    pub(super) fn forward(&self, b: &[f64]) -> Vec<f64> {
        let n = self.0.size;
        let mut y = b.to_vec();
        for i in 0..n {
            let dot: f64 = (0..i).map(|k| self.0.cells[i * n + k] * y[k]).sum();
            y[i] = (y[i] - dot) / self.0.cells[i * n + i];
        }
        y
    }

    /// Solves `L L' x = b`.
    pub(super) fn solve(&self, b: &[f64]) -> Vec<f64> {
        let n = self.0.size;
        let mut x = self.forward(b);
        for i in (0..n).rev() {
            let dot: f64 = (i + 1..n).map(|k| self.0.cells[k * n + i] * x[k]).sum();
            x[i] = (x[i] - dot) / self.0.cells[i * n + i];
        }
        x
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_solved() {
        let matrix = Square { size: 2, cells: vec![4.0, 2.0, 2.0, 3.0] };
        let x = matrix.factor().solve(&[10.0, 9.0]);
        assert!((x[0] - 1.5).abs() < 1e-12 && (x[1] - 2.0).abs() < 1e-12, "{x:?}");
    }

    #[test]
    fn outer_products_and_the_diagonal_add_up() {
        let mut matrix = Square::zeros(2);
        matrix.add_outer(&[1.0, 2.0], 2.0);
        matrix.add_diagonal(1.0);
        assert_eq!(matrix.cells, [3.0, 4.0, 4.0, 9.0]);
        let length: f64 = matrix.factor().forward(&[3.0, 4.0]).iter().map(|y| y * y).sum();
        assert!(length.is_finite() && length > 0.0);
    }
}
