//! Figures of a version on its family's frozen set beside those of the live version, all of it and each subgroup.
//!
//! Of a share, such as an AUROC, what is lost counts in its own unit; of an error in a physical unit, such as an RMSE,
//! as a part of the live version's. A figure of which neither more nor less is better is not judged.

use super::Gate;
use crate::policy::GateBounds;

/// Figures of which more is better.
const MORE: [&str; 11] =
    ["auroc", "auprc", "accuracy", "f1", "index", "r2", "top1", "top5", "detection", "coverage", "gain"];
/// Shares of which less is better.
const LESS: [&str; 3] = ["brier", "ece", "alarm"];
/// Errors in a unit of their own.
const ERRORS: [&str; 4] = ["rmse", "mae", "mard", "mape"];

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// What was measured, such as `auroc`.
    pub name: String,
    /// The part of the frozen set, if not all of it.
    pub subgroup: Option<String>,
    /// The number.
    pub value: f64,
    /// Rows behind it.
    pub rows: usize,
}

/// Whether no figure is worse than the live version's by more than the policy says, and by how much those are that are.
#[must_use]
pub fn accuracy(new: &[Figure], live: &[Figure], bounds: &GateBounds) -> Gate {
    let judged: Vec<Beside<'_>> = new.iter().filter_map(|figure| beside(figure, live, bounds)).collect();
    let worse: Vec<String> =
        judged.iter().filter(|beside| beside.loss > beside.bound).map(Beside::tell).collect();
    if !worse.is_empty() {
        return Gate::failed("accuracy", worse.join("; "));
    }
    let Some(closest) = judged.iter().max_by(|one, other| one.margin().total_cmp(&other.margin())) else {
        return Gate::skipped(
            "accuracy",
            "no figure on the frozen set can be compared with the live version's",
        );
    };
    Gate::passed(
        "accuracy",
        format!("{} figures within the policy; closest to it: {}", judged.len(), closest.tell()),
    )
}

/// A figure that can be judged.
struct Beside<'a> {
    figure: &'a Figure,
    live: f64,
    loss: f64,
    bound: f64,
}

impl Beside<'_> {
    fn margin(&self) -> f64 {
        self.loss - self.bound
    }

    fn tell(&self) -> String {
        let Figure { name, subgroup, value, rows } = self.figure;
        let of = subgroup.as_ref().map(|group| format!(" of {group}")).unwrap_or_default();
        let (live, loss, bound) = (self.live, self.loss, self.bound);
        format!("{name}{of} is {value:.4}, live {live:.4} (lost {loss:.4}, allowed {bound:.4}, {rows} rows)")
    }
}

fn beside<'a>(figure: &'a Figure, live: &[Figure], bounds: &GateBounds) -> Option<Beside<'a>> {
    let same = |other: &&Figure| other.name == figure.name && other.subgroup == figure.subgroup;
    let live = live.iter().find(same)?.value;
    let is = |words: &[&str]| figure.name.split('_').any(|word| words.contains(&word));
    let loss = if is(&ERRORS) {
        (figure.value - live) / live.abs().max(f64::MIN_POSITIVE)
    } else if is(&LESS) {
        figure.value - live
    } else if is(&MORE) {
        live - figure.value
    } else {
        return None;
    };
    if figure.subgroup.is_some() && figure.rows < bounds.subgroup_rows_min {
        return None;
    }
    let bound = if figure.subgroup.is_some() { bounds.subgroup_loss_max } else { bounds.loss_max };
    // What is no number is no answer either.
    let loss = if loss.is_nan() { f64::INFINITY } else { loss };
    Some(Beside { figure, live, loss, bound })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gates::Outcome;

    fn figure(name: &str, subgroup: Option<&str>, value: f64, rows: usize) -> Figure {
        Figure { name: name.into(), subgroup: subgroup.map(Into::into), value, rows }
    }

    fn judged(new: Figure, live: f64) -> Gate {
        let before = Figure { value: live, ..new.clone() };
        accuracy(&[new], &[before], &GateBounds::default())
    }

    #[test]
    fn what_is_worse_by_more_than_the_policy_says_fails_and_says_by_how_much() {
        let failed = judged(figure("macro_auroc", None, 0.87, 500), 0.90);
        assert_eq!(failed.outcome, Outcome::Failed);
        assert_eq!(
            failed.detail,
            "macro_auroc is 0.8700, live 0.9000 (lost 0.0300, allowed 0.0200, 500 rows)"
        );
        for (name, value, live, outcome) in [
            ("macro_auroc", 0.885, 0.90, Outcome::Passed),
            ("rmse_60", 20.3, 20.0, Outcome::Passed),
            ("rmse_60", 20.5, 20.0, Outcome::Failed),
            ("ece", 0.012, 0.010, Outcome::Passed),
            ("ece", 0.05, 0.01, Outcome::Failed),
            ("auroc", f64::NAN, 0.9, Outcome::Failed),
            ("set_size", 9.0, 1.0, Outcome::Skipped),
        ] {
            assert_eq!(judged(figure(name, None, value, 500), live).outcome, outcome, "{name} {value}");
        }
    }

    #[test]
    fn a_subgroup_has_its_own_bound_unless_it_is_too_small_to_tell() {
        let group = |value, rows| judged(figure("auroc", Some("sex=female"), value, rows), 0.90);
        assert_eq!(group(0.86, 500).outcome, Outcome::Passed);
        let failed = group(0.84, 500);
        assert_eq!(failed.outcome, Outcome::Failed);
        assert!(failed.detail.contains("of sex=female"), "{}", failed.detail);
        assert_eq!(group(0.5, 99).outcome, Outcome::Skipped);
    }

    #[test]
    fn one_bad_figure_among_good_ones_is_enough() {
        let live = [figure("auroc", None, 0.9, 500), figure("brier", None, 0.1, 500)];
        let new = [figure("auroc", None, 0.99, 500), figure("brier", None, 0.2, 500)];
        assert_eq!(accuracy(&new, &live, &GateBounds::default()).outcome, Outcome::Failed);
        assert_eq!(accuracy(&new[..1], &live, &GateBounds::default()).outcome, Outcome::Passed);
    }
}
