//! Ridge and logistic regression.

use super::Scaling;
use super::algebra::Square;

const LOGISTIC_PENALTY: f64 = 1.0;
/// Just enough to keep a system without rows solvable.
const INTERCEPT_PENALTY: f64 = 1e-9;
const NEWTON_STEPS: usize = 25;

/// Linear least squares with a quadratic penalty, one set of coefficients per target.
#[derive(Debug, Clone)]
pub struct Ridge {
    scaling: Scaling,
    /// Per target: intercept first.
    coefficients: Vec<Vec<f64>>,
}

impl Ridge {
    /// Fits `targets[row][target]` from `rows`; `penalty` weighs squared coefficients of standardised columns.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], targets: &[Vec<f64>], penalty: f64) -> Self {
        let scaling = Scaling::fit(rows);
        let width = scaling.mean.len() + 1;
        let outputs = targets.first().map_or(0, Vec::len);
        let mut gram = Square::zeros(width);
        let mut moments = vec![vec![0.0; width]; outputs];
        for (row, target) in rows.iter().zip(targets) {
            let design = design(&scaling, row);
            gram.add_outer(&design, 1.0);
            for (moment, y) in moments.iter_mut().zip(target) {
                moment.iter_mut().zip(&design).for_each(|(m, x)| *m += x * y);
            }
        }
        // As in the logistic model the intercept is free: the level of the targets is no coefficient.
        (0..width)
            .for_each(|i| gram.cells[i * width + i] += if i == 0 { INTERCEPT_PENALTY } else { penalty });
        let factor = gram.factor();
        Self { scaling, coefficients: moments.iter().map(|m| factor.solve(m)).collect() }
    }

    /// All targets of one row.
    #[must_use]
    pub fn predict(&self, row: &[f64]) -> Vec<f64> {
        let design = design(&self.scaling, row);
        self.coefficients.iter().map(|c| dot(c, &design)).collect()
    }
}

/// Logistic regression by Newton's method, one against the rest for several classes.
#[derive(Debug, Clone)]
pub struct Logistic {
    scaling: Scaling,
    coefficients: Vec<Vec<f64>>,
}

impl Logistic {
    /// Fits the classes `0..classes` of `truth`.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], truth: &[usize], classes: usize) -> Self {
        let scaling = Scaling::fit(rows);
        let designs: Vec<Vec<f64>> = rows.iter().map(|row| design(&scaling, row)).collect();
        let fit_class = |class: usize| {
            let labels: Vec<f64> = truth.iter().map(|t| f64::from(u8::from(*t == class))).collect();
            newton(&designs, &labels)
        };
        Self { coefficients: (0..classes).map(fit_class).collect(), scaling }
    }

    /// Class probabilities of one row, normalised over the one-against-rest answers.
    #[must_use]
    pub fn predict(&self, row: &[f64]) -> Vec<f64> {
        let design = design(&self.scaling, row);
        let raw: Vec<f64> = self.coefficients.iter().map(|c| sigmoid(dot(c, &design))).collect();
        let sum: f64 = raw.iter().sum::<f64>().max(1e-12);
        raw.iter().map(|p| p / sum).collect()
    }
}

fn newton(designs: &[Vec<f64>], labels: &[f64]) -> Vec<f64> {
    let width = designs.first().map_or(0, Vec::len);
    let mut beta = vec![0.0; width];
    for _ in 0..NEWTON_STEPS {
        let mut hessian = Square::zeros(width);
        // The intercept is free: a penalty on it would bias every probability towards one half.
        let penalty = |i: usize| if i == 0 { INTERCEPT_PENALTY } else { LOGISTIC_PENALTY };
        let mut slope: Vec<f64> = beta.iter().enumerate().map(|(i, b)| -penalty(i) * b).collect();
        for (design, label) in designs.iter().zip(labels) {
            let p = sigmoid(dot(&beta, design));
            hessian.add_outer(design, (p * (1.0 - p)).max(1e-6));
            slope.iter_mut().zip(design).for_each(|(s, x)| *s += (label - p) * x);
        }
        (0..width).for_each(|i| hessian.cells[i * width + i] += penalty(i));
        let step = hessian.factor().solve(&slope);
        let length = step.iter().fold(0.0_f64, |most, s| most.max(s.abs()));
        // A capped step keeps well separated classes from running away.
        let scale = if length > 2.0 { 2.0 / length } else { 1.0 };
        beta.iter_mut().zip(&step).for_each(|(b, s)| *b += scale * s);
        if length < 1e-8 {
            break;
        }
    }
    beta
}

fn design(scaling: &Scaling, row: &[f64]) -> Vec<f64> {
    let mut design = Vec::with_capacity(row.len() + 1);
    design.push(1.0);
    design.extend(scaling.apply(row));
    design
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ridge_finds_a_plane() {
        let rows: Vec<Vec<f64>> = (0..50).map(|i| vec![f64::from(i), f64::from(i * i % 7)]).collect();
        let targets: Vec<Vec<f64>> = rows.iter().map(|r| vec![3.0 + 2.0 * r[0] - r[1], r[1]]).collect();
        let ridge = Ridge::fit(&rows, &targets, 1e-6);
        let found = ridge.predict(&[60.0, 2.0]);
        assert!((found[0] - 121.0).abs() < 1e-3 && (found[1] - 2.0).abs() < 1e-3, "{found:?}");
    }

    #[test]
    fn logistic_recovers_the_share_where_nothing_else_is_known() {
        let rows = vec![vec![1.0]; 40];
        let truth: Vec<usize> = (0..40).map(|i| usize::from(i < 10)).collect();
        let p = Logistic::fit(&rows, &truth, 2).predict(&[1.0]);
        assert!((p[1] - 0.25).abs() < 0.02, "{p:?}");
    }

    #[test]
    fn logistic_orders_by_the_informative_column() {
        let rows: Vec<Vec<f64>> = (0..60).map(|i| vec![f64::from(i), f64::from(i % 5)]).collect();
        let truth: Vec<usize> = (0..60).map(|i| i / 20).collect();
        let model = Logistic::fit(&rows, &truth, 3);
        assert!(model.predict(&[2.0, 1.0])[0] > 0.5 && model.predict(&[58.0, 1.0])[2] > 0.5);
        assert!((model.predict(&[30.0, f64::NAN]).iter().sum::<f64>() - 1.0).abs() < 1e-9);
    }
}
