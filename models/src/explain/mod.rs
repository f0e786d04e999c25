//! Why a model answered as it did: the inputs that moved an output most.
//!
//! The families explain by Shapley values ([`shapley`]): the same model runs, in the same batch, on copies of the case
//! with inputs hidden. The base value is the output with every explained input hidden, and base and contributions add
//! up to the output.

pub mod shapley;

/// Most contributions in one explanation; what the others add up to is the last.
pub const CONTRIBUTIONS_MAX: usize = 6;
/// Name of the last contribution where inputs were too many to name all.
pub const OTHERS: &str = "other_inputs";

/// How contributions were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Share of each input in the squared residual; the parts sum to the output.
    Residual,
    /// Averaged over orders of hiding inputs or groups of them; the parts sum to the distance from the base.
    Shapley,
}

impl Method {
    /// Stable identifier.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Residual => "residual",
            Self::Shapley => "shapley",
        }
    }
}

/// How much one input moved the output.
#[derive(Debug, Clone, PartialEq)]
pub struct Contribution {
    /// Name of the input.
    pub feature: String,
    /// LOINC code, empty where none exists.
    pub loinc: String,
    /// Value of the input, `None` when it has none of its own (a group, a part of an image).
    pub value: Option<f64>,
    /// UCUM unit of the value, empty without one.
    pub unit: String,
    /// Signed change of the output.
    pub contribution: f64,
}

/// The inputs that moved an output most.
#[derive(Debug, Clone, PartialEq)]
pub struct Explanation {
    /// How they were found.
    pub method: Method,
    /// The output that is explained.
    pub output: String,
    /// The output with every explained input hidden.
    pub base_value: f64,
    /// Largest first.
    pub contributions: Vec<Contribution>,
}

impl Explanation {
    /// Keeps the largest contributions, largest first, and the sum of the others; those of nothing are left out.
    #[must_use]
    pub fn of(method: Method, output: &str, base_value: f64, mut contributions: Vec<Contribution>) -> Self {
        contributions.retain(|c| c.contribution.is_finite() && c.contribution != 0.0);
        contributions.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
        if contributions.len() > CONTRIBUTIONS_MAX {
            let others = contributions.split_off(CONTRIBUTIONS_MAX - 1);
            contributions.push(Contribution {
                feature: OTHERS.into(),
                loinc: String::new(),
                value: None,
                unit: String::new(),
                contribution: others.iter().map(|other| other.contribution).sum(),
            });
        }
        Self { method, output: output.into(), base_value, contributions }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_nothing_is_left_out() {
        let part = |feature: &str, contribution| Contribution {
            feature: feature.into(),
            loinc: String::new(),
            value: None,
            unit: String::new(),
            contribution,
        };
        let parts =
            [0.1, -0.5, 0.0, f64::NAN, 0.2, 0.3, 0.01, -0.02].map(|share| part(&share.to_string(), share));
        let explained = Explanation::of(Method::Shapley, "p", 0.2, parts.to_vec());
        let order: Vec<_> = explained.contributions.iter().map(|c| c.contribution).collect();
        assert_eq!(order, [-0.5, 0.3, 0.2, 0.1, -0.02, 0.01], "as many as are shown are all named");
    }

    #[test]
    fn what_is_not_named_is_summed_up() {
        let part = |contribution: f64| Contribution {
            feature: contribution.to_string(),
            loinc: String::new(),
            value: None,
            unit: String::new(),
            contribution,
        };
        let parts = (1..=8).map(|share| part(f64::from(share))).collect();
        let explained = Explanation::of(Method::Shapley, "p", 0.0, parts).contributions;
        assert_eq!((explained.len(), explained[5].feature.as_str()), (6, OTHERS));
        assert_eq!(explained[5].contribution, 1.0 + 2.0 + 3.0);
    }
}
