//! Why a model answered as it did: the inputs that moved an output most.
//!
//! The families explain by occlusion (Zeiler & Fergus 2014): the same model runs, in the same batch, on copies of the
//! case with one input hidden, and the change of the output is that input's contribution. The base value is the output
//! with every explained input hidden. Contributions of inputs that carry the same information overlap, so they need
//! not sum to the distance from the base; where they do, the method's name says so.

/// Most contributions in one explanation.
pub const CONTRIBUTIONS_MAX: usize = 5;

/// How contributions were found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// One input at a time hidden.
    Occlusion,
    /// Share of each input in the squared residual; the parts sum to the output.
    Residual,
    /// Averaged over every order of hiding groups of inputs; the parts sum to the distance from the base.
    Shapley,
}

impl Method {
    /// Stable identifier.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Occlusion => "occlusion",
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
    /// Keeps the largest contributions, largest first; those of nothing are left out.
    #[must_use]
    pub fn of(method: Method, output: &str, base_value: f64, mut contributions: Vec<Contribution>) -> Self {
        contributions.retain(|c| c.contribution.is_finite() && c.contribution != 0.0);
        contributions.sort_by(|a, b| b.contribution.abs().total_cmp(&a.contribution.abs()));
        contributions.truncate(CONTRIBUTIONS_MAX);
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
        let explained = Explanation::of(Method::Occlusion, "p", 0.2, parts.to_vec());
        let order: Vec<_> = explained.contributions.iter().map(|c| c.contribution).collect();
        assert_eq!(order, [-0.5, 0.3, 0.2, 0.1, -0.02]);
    }
}
