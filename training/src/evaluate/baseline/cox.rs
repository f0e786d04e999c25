//! Cox's proportional hazards with a linear log-risk.

use super::Scaling;
use super::algebra::Square;

/// On squared coefficients of standardised columns: enough to keep a system with a constant column solvable.
const PENALTY: f64 = 1e-2;
const NEWTON_STEPS: usize = 25;
/// Most halvings of one step.
const HALVINGS: i32 = 20;

/// A linear log-risk.
#[derive(Debug, Clone)]
pub struct Cox {
    scaling: Scaling,
    coefficients: Vec<f64>,
}

impl Cox {
    /// Maximises the partial likelihood (Breslow's handling of ties) by Newton's method; gaps are NaN.
    #[must_use]
    pub fn fit(rows: &[Vec<f64>], years: &[f64], died: &[bool]) -> Self {
        let scaling = Scaling::fit(rows);
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by(|a, b| years[*b].total_cmp(&years[*a]));
        let designs: Vec<Vec<f64>> = order.iter().map(|row| scaling.apply(&rows[*row])).collect();
        let times: Vec<f64> = order.iter().map(|row| years[*row]).collect();
        let deaths: Vec<bool> = order.iter().map(|row| died[*row]).collect();
        let mut coefficients = vec![0.0; scaling.mean.len()];
        let mut now = Curvature::at(&designs, &times, &deaths, &coefficients);
        for _ in 0..NEWTON_STEPS {
            let step = now.negated.clone().factor().solve(&now.slope);
            let Some((moved, there)) = climb(&coefficients, &step, now.likelihood, |coefficients| {
                Curvature::at(&designs, &times, &deaths, coefficients)
            }) else {
                break;
            };
            let gain = there.likelihood - now.likelihood;
            (coefficients, now) = (moved, there);
            if gain < 1e-9 {
                break;
            }
        }
        Self { scaling, coefficients }
    }

    /// Log-risk of one row, against that of the average training row.
    #[must_use]
    pub fn predict(&self, row: &[f64]) -> f64 {
        self.scaling.apply(row).iter().zip(&self.coefficients).map(|(x, c)| x * c).sum()
    }
}

/// The first of the step, its half, its quarter, … that makes the likelihood no smaller: from far away a whole step of
/// Newton's leaps over the summit. `None` when none does.
fn climb(
    from: &[f64],
    step: &[f64],
    least: f64,
    at: impl Fn(&[f64]) -> Curvature,
) -> Option<(Vec<f64>, Curvature)> {
    (0..HALVINGS).find_map(|halvings| {
        let share = 0.5_f64.powi(halvings);
        let moved: Vec<f64> = from.iter().zip(step).map(|(c, s)| c + share * s).collect();
        let there = at(&moved);
        (there.likelihood >= least).then_some((moved, there))
    })
}

/// The penalised log partial likelihood at a point.
struct Curvature {
    likelihood: f64,
    slope: Vec<f64>,
    /// Minus its second derivatives.
    negated: Square,
}

impl Curvature {
    /// Rows from the longest time down.
    fn at(rows: &[Vec<f64>], times: &[f64], died: &[bool], coefficients: &[f64]) -> Self {
        let width = coefficients.len();
        let dot = |row: &[f64]| row.iter().zip(coefficients).map(|(x, c)| x * c).sum::<f64>();
        let mut likelihood = -PENALTY / 2.0 * coefficients.iter().map(|c| c * c).sum::<f64>();
        let mut slope: Vec<f64> = coefficients.iter().map(|c| -PENALTY * c).collect();
        let mut negated = Square::zeros(width);
        negated.add_diagonal(PENALTY);
        // Sums over those at risk: of the risks, of risk times row, of risk times row times row.
        let (mut risk, mut first, mut second) = (0.0, vec![0.0; width], Square::zeros(width));
        let mut start = 0;
        while start < rows.len() {
            let end = start + times[start..].iter().take_while(|time| **time == times[start]).count();
            for row in &rows[start..end] {
                let share = dot(row).exp();
                risk += share;
                first.iter_mut().zip(row).for_each(|(sum, x)| *sum += share * x);
                second.add_outer(row, share);
            }
            let dead = || rows[start..end].iter().zip(&died[start..end]).filter(|(_, died)| **died);
            let deaths = dead().count() as f64;
            if deaths > 0.0 {
                let mean: Vec<f64> = first.iter().map(|sum| sum / risk).collect();
                for (row, _) in dead() {
                    likelihood += dot(row) - risk.ln();
                    slope.iter_mut().zip(row).zip(&mean).for_each(|((s, x), m)| *s += x - m);
                }
                negated.cells.iter_mut().zip(&second.cells).for_each(|(c, s)| *c += deaths * s / risk);
                negated.add_outer(&mean, -deaths);
            }
            start = end;
        }
        Self { likelihood, slope, negated }
    }
}

#[cfg(test)]
mod tests {
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn the_coefficients_that_made_the_times_are_found() {
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let rows: Vec<Vec<f64>> =
            (0..4000).map(|_| vec![rng.random_range(-1.0..1.0), rng.random_range(-1.0..1.0)]).collect();
        let time = |row: &Vec<f64>, rng: &mut ChaCha8Rng| {
            -rng.random_range(1e-9f64..1.0).ln() / (0.1 * (1.5 * row[0] - 0.5 * row[1]).exp())
        };
        let times: Vec<f64> = rows.iter().map(|row| time(row, &mut rng)).collect();
        let died: Vec<bool> = times.iter().map(|time| *time < 12.0).collect();
        let years: Vec<f64> = times.iter().map(|time| time.min(12.0)).collect();
        let cox = Cox::fit(&rows, &years, &died);
        let at = |a: f64, b: f64| cox.predict(&[a, b]) - cox.predict(&[0.0, 0.0]);
        assert!((at(1.0, 0.0) - 1.5).abs() < 0.15 && (at(0.0, 1.0) + 0.5).abs() < 0.15);
        assert!((at(f64::NAN, 0.0) - at(0.0, 0.0)).abs() < 0.1, "a gap counts as the middle");
    }

    /// Rare, strong columns: whole steps of Newton's go to and fro between two points here for ever.
    #[test]
    fn a_rare_strong_column_does_not_make_the_steps_run_away() {
        let mut rng = ChaCha8Rng::seed_from_u64(9);
        let rows: Vec<Vec<f64>> =
            (0..3000).map(|i| vec![rng.random_range(-2.0..2.0), f64::from(u8::from(i % 40 == 0))]).collect();
        let hazard = |row: &[f64]| 0.002 * (1.8 * row[0] + 2.5 * row[1]).exp();
        let times: Vec<f64> =
            rows.iter().map(|row| -rng.random_range(1e-9f64..1.0).ln() / hazard(row)).collect();
        let died: Vec<bool> = times.iter().map(|time| *time < 15.0).collect();
        let years: Vec<f64> = times.iter().map(|time| time.min(15.0)).collect();
        let cox = Cox::fit(&rows, &years, &died);
        let at = |a: f64, b: f64| cox.predict(&[a, b]) - cox.predict(&[0.0, 0.0]);
        assert!((at(1.0, 0.0) - 1.8).abs() < 0.3 && (at(0.0, 1.0) - 2.5).abs() < 0.6);
    }

    #[test]
    fn nobody_dead_says_nothing() {
        let rows = vec![vec![1.0, 2.0], vec![3.0, 2.0]];
        let cox = Cox::fit(&rows, &[1.0, 2.0], &[false, false]);
        assert_eq!((cox.predict(&[1.0, 2.0]), cox.predict(&[9.0, 9.0])), (0.0, 0.0));
    }
}
