//! What the inputs and the main output of a model looked like in training: the ground that later traffic is compared
//! with.
//!
//! `reference.json` is an optional file of a bundle, written by training. Every column is kept as quantiles, so no row
//! of a person can be read from it. Two figures say how far later values are from them: the population stability index
//! over tenths of the training values, and Kolmogorov's and Smirnov's largest distance of the two distributions.

use serde::{Deserialize, Serialize};

use crate::bundle::{BundleConfig, REFERENCE_FILE, TensorConfig};
use crate::calibration::Cohort;
use crate::{ModelError, Tensor};

/// Version of the file.
const SCHEMA_VERSION: u32 = 1;
/// Equal shares between the quantiles that are kept.
const SHARES: usize = 50;
/// Bins of the stability index; values that repeat make them fewer.
const BINS: usize = 10;
/// Fewest values that a column needs.
const VALUES_MIN: usize = 100;
/// How many spreads a figure may be from its middle by chance: one window in a million is further.
const SPREADS_BY_CHANCE: f64 = 4.75;
/// Part of a case that every bin is given, so that an empty one has a logarithm.
const SMOOTHING: f64 = 0.5;

/// Content of `reference.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reference {
    schema_version: u32,
    columns: Vec<Distribution>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cohorts: Vec<OfCohort>,
}

/// The columns over the training cases of one cohort.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct OfCohort {
    cohort: Cohort,
    columns: Vec<Distribution>,
}

/// One column over the training cases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribution {
    /// Name of the input feature, or `output:` and the name of the output or class.
    pub name: String,
    /// Values behind it.
    pub n: u64,
    /// Smallest value, every fiftieth of the way, largest value.
    pub quantiles: Vec<f32>,
}

impl Reference {
    /// The reference of training cases, in the columns of `layout` that have values enough, over all and within each
    /// cohort; none when no column has.
    #[must_use]
    pub fn of(layout: &Layout, cases: &[Case]) -> Option<Self> {
        let over = |cohort: Option<Cohort>| {
            let mut values: Vec<Vec<f32>> = layout.names().map(|_| Vec::new()).collect();
            for case in cases.iter().filter(|case| cohort.is_none() || case.cohort == cohort) {
                for (place, value) in &case.values {
                    if let Some(column) = values.get_mut(*place) {
                        column.push(*value);
                    }
                }
            }
            layout.names().zip(values).filter_map(|(name, of)| Distribution::of(name, of)).collect::<Vec<_>>()
        };
        let columns = over(None);
        let within = |cohort| Some(OfCohort { cohort, columns: over(Some(cohort)) });
        let cohorts = Cohort::all().filter_map(within).filter(|of| !of.columns.is_empty()).collect();
        (!columns.is_empty()).then_some(Self { schema_version: SCHEMA_VERSION, columns, cohorts })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Text that is no reference, or quantiles that are none.
    pub fn from_json(text: &[u8]) -> Result<Self, ModelError> {
        let refuse = |reason: String| ModelError::invalid(REFERENCE_FILE, reason);
        let read: Self = serde_json::from_slice(text).map_err(|error| refuse(error.to_string()))?;
        let (found, known) = (read.schema_version, SCHEMA_VERSION);
        if found != known {
            return Err(refuse(format!("schema_version is {found}, this program reads {known}")));
        }
        let mut columns = read.columns.iter().chain(read.cohorts.iter().flat_map(|of| &of.columns));
        match columns.find(|column| !column.is_sound()) {
            Some(column) => Err(refuse(format!(
                "`{}` needs {} finite quantiles in rising order",
                column.name,
                SHARES + 1
            ))),
            None => Ok(read),
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// None in practice.
    pub fn to_json(&self) -> Result<Vec<u8>, ModelError> {
        serde_json::to_vec(self).map_err(|error| ModelError::invalid(REFERENCE_FILE, error.to_string()))
    }

    /// The column of that name, over all cases or within a cohort.
    #[must_use]
    pub fn column(&self, cohort: Option<Cohort>, name: &str) -> Option<&Distribution> {
        let columns = match cohort {
            None => &self.columns,
            Some(cohort) => &self.cohorts.iter().find(|of| of.cohort == cohort)?.columns,
        };
        columns.iter().find(|column| column.name == name)
    }
}

impl Distribution {
    /// The distribution of finite `values`; `None` when they are too few.
    #[must_use]
    pub fn of(name: &str, mut values: Vec<f32>) -> Option<Self> {
        values.retain(|value| value.is_finite());
        if values.len() < VALUES_MIN {
            return None;
        }
        values.sort_unstable_by(f32::total_cmp);
        let at = |share: usize| values.get((share * (values.len() - 1) + SHARES / 2) / SHARES).copied();
        let quantiles = (0..=SHARES).filter_map(at).collect();
        Some(Self { name: name.to_owned(), n: values.len() as u64, quantiles })
    }

    fn is_sound(&self) -> bool {
        self.quantiles.len() == SHARES + 1
            && self.quantiles.iter().all(|value| value.is_finite())
            && self.quantiles.is_sorted()
    }

    /// Share of the training values that are at most `value`; linear between quantiles.
    #[must_use]
    pub fn share_to(&self, value: f32) -> f64 {
        let after = self.quantiles.partition_point(|quantile| *quantile <= value);
        let Some(last) = after.checked_sub(1) else { return 0.0 };
        let between = match (self.quantiles.get(last), self.quantiles.get(after)) {
            (Some(low), Some(high)) => f64::from((value - low) / (high - low)),
            (_, None) | (None, _) => 0.0,
        };
        (last as f64 + between) / SHARES as f64
    }

    /// Population stability index of `n` later values, of which `share_to` says the share up to a value: the sum over
    /// bins of (later − earlier) · ln(later / earlier). Below 0.1 counts as alike, above 0.25 as another population.
    #[must_use]
    pub fn stability_index(&self, n: u64, share_to: impl Fn(f32) -> f64) -> f64 {
        let edges = self.edges();
        let smooth = |share: f64, n: u64| {
            let n = n as f64;
            (share.max(0.0) * n + SMOOTHING) / (n + SMOOTHING * (edges.len() + 1) as f64)
        };
        let ends = edges.iter().map(|edge| (self.share_to(*edge), share_to(*edge))).chain([(1.0, 1.0)]);
        let mut before = (0.0, 0.0);
        ends.map(|(earlier, later)| {
            let (was, is) = (smooth(earlier - before.0, self.n), smooth(later - before.1, n));
            before = (earlier, later);
            (is - was) * (is / was).ln()
        })
        .sum()
    }

    /// Stability index that `n` values of the same population exceed once in a million times: the index times the
    /// sizes' harmonic sum is nearly chi-squared, whose quantile is Wilson's and Hilferty's.
    #[must_use]
    pub fn index_by_chance(&self, n: u64) -> f64 {
        let freedom = self.edges().len().max(1) as f64;
        let part = 2.0 / (9.0 * freedom);
        freedom * (1.0 - part + SPREADS_BY_CHANCE * part.sqrt()).powi(3) * self.scarcity(n)
    }

    /// Largest distance between the two distributions, 0 to 1, at the quantiles that are kept.
    #[must_use]
    pub fn distance(&self, share_to: impl Fn(f32) -> f64) -> f64 {
        let apart = |value: &f32| (self.share_to(*value) - share_to(*value)).abs();
        self.quantiles.iter().map(apart).fold(0.0, f64::max)
    }

    /// Distance that `n` values of the same population exceed once in a million times (Kolmogorov's bound), and what
    /// lies between two quantiles.
    #[must_use]
    pub fn distance_by_chance(&self, n: u64) -> f64 {
        (0.5 * (2.0e6_f64).ln() * self.scarcity(n)).sqrt() + 1.0 / SHARES as f64
    }

    fn scarcity(&self, n: u64) -> f64 {
        1.0 / self.n.max(1) as f64 + 1.0 / n.max(1) as f64
    }

    /// Where the bins of the index meet.
    fn edges(&self) -> Vec<f32> {
        let tenth = |bin: usize| self.quantiles.get(bin * SHARES / BINS).copied();
        let mut edges: Vec<f32> = (1..BINS).filter_map(tenth).collect();
        edges.dedup();
        // A bin beyond the largest value would hold nothing by construction.
        edges.retain(|edge| self.share_to(*edge) < 1.0);
        edges
    }
}

/// Which numbers of a model's tensors belong to which column. Inputs whose columns have names, and the classes of the
/// first output, are looked at one by one; a series, a sweep or a grid is one column of all its numbers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    inputs: Vec<String>,
    outputs: Vec<String>,
    masked: bool,
}

impl Layout {
    /// The columns of a model; none where its first input is not of numbers that are compared one by one.
    #[must_use]
    pub fn of(config: &BundleConfig) -> Option<Self> {
        let (input, output) = (config.inputs.first()?, config.outputs.first()?);
        if input.dims.len() != 2 || [input, output].iter().any(|tensor| tensor.dtype != "FP32") {
            return None;
        }
        let names = |tensor: &TensorConfig, named: Vec<String>| {
            let width = tensor.dims.get(1).copied().and_then(|width| usize::try_from(width).ok());
            let fits = !named.is_empty() && width == Some(named.len()) && tensor.dims.len() == 2;
            if fits { named } else { vec![tensor.name.clone()] }
        };
        let features = config.features.iter().map(|feature| feature.name.clone()).collect();
        let outputs = names(output, config.labels.clone());
        Some(Self {
            inputs: names(input, features),
            outputs: outputs.into_iter().map(|name| format!("output:{name}")).collect(),
            masked: config.inputs.get(1).is_some_and(|second| second.name == "present"),
        })
    }

    /// Names of the columns, those of the output last.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.inputs.iter().chain(&self.outputs).map(String::as_str)
    }

    /// Place of the column called `name`.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<usize> {
        self.names().position(|known| known == name)
    }

    /// The cases of a batch; numbers marked absent are left out, and without `outputs` those of the output. Nothing for
    /// tensors of another shape.
    #[must_use]
    pub fn cases(&self, inputs: &[Tensor], outputs: &[Tensor]) -> Vec<Case> {
        let mut rows = columns(inputs.first(), self.inputs.len(), 0);
        if self.masked
            && let Some(marks) = inputs.get(1).and_then(|marks| marks.as_f32().ok())
        {
            let mut marks = marks.iter();
            for row in &mut rows {
                row.retain(|_| marks.next().is_some_and(|mark| *mark > 0.0));
            }
        }
        let mut answers = columns(outputs.first(), self.outputs.len(), self.inputs.len()).into_iter();
        let case = |mut values: Vec<(usize, f32)>| {
            let cohort = self.cohort(&values);
            values.extend(answers.next().unwrap_or_default());
            Case { cohort, values }
        };
        rows.into_iter().map(case).collect()
    }

    /// Where the person of a case belongs, where the inputs tell of age and sex.
    fn cohort(&self, values: &[(usize, f32)]) -> Option<Cohort> {
        let of = |name: &str| {
            let place = self.inputs.iter().position(|known| known == name)?;
            values.iter().find(|(at, _)| *at == place).map(|(_, value)| *value)
        };
        Cohort::of(of("age").map(f64::from), of("sex_male").map(|male| male > 0.5))
    }
}

/// The numbers of one row by the place of their column, and whose they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Case {
    /// Sex and age band, where the inputs tell.
    pub cohort: Option<Cohort>,
    /// Place of a column and a value in it.
    pub values: Vec<(usize, f32)>,
}

fn columns(tensor: Option<&Tensor>, count: usize, first: usize) -> Vec<Vec<(usize, f32)>> {
    let Some((tensor, values)) = tensor.and_then(|tensor| Some((tensor, tensor.as_f32().ok()?))) else {
        return Vec::new();
    };
    let width = values.len().checked_div(tensor.rows()).unwrap_or(0);
    let place = |at: usize| first + if width == count { at } else { 0 };
    let row = |row: &[f32]| row.iter().enumerate().map(|(at, value)| (place(at), *value)).collect();
    values.chunks_exact(width.max(1)).map(row).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    use super::*;

    fn normal(seed: u64, n: usize, shift: f32) -> Vec<f32> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut draw = || (0..12).map(|_| rng.random::<f32>()).sum::<f32>() - 6.0 + shift;
        (0..n).map(|_| draw()).collect()
    }

    fn share_of(values: &[f32]) -> impl Fn(f32) -> f64 {
        move |limit| values.iter().filter(|value| **value <= limit).count() as f64 / values.len() as f64
    }

    #[test]
    fn alike_is_near_and_shifted_is_far() {
        let reference = Distribution::of("tsh", normal(1, 3_000, 0.0)).expect("enough");
        let (same, moved) = (normal(2, 1_000, 0.0), normal(3, 1_000, 1.0));
        let figures = |values: &[f32]| {
            let n = values.len() as u64;
            (reference.stability_index(n, share_of(values)), reference.distance(share_of(values)))
        };
        let (index, distance) = figures(&same);
        assert!(index < 0.05 && distance < 0.07, "{index} {distance}");
        assert!(index < reference.index_by_chance(1_000) && distance < reference.distance_by_chance(1_000));
        let (index, distance) = figures(&moved);
        assert!(index > 0.5 && distance > 0.3, "{index} {distance}");
    }

    #[test]
    fn yes_and_no_are_compared_by_their_share() {
        let sexes = |men: usize| (0..1_000).map(|at| f32::from(u8::from(at < men))).collect::<Vec<_>>();
        let reference = Distribution::of("sex_male", sexes(430)).expect("enough");
        let index = |men: usize| reference.stability_index(1_000, share_of(&sexes(men)));
        assert!(index(450) < 0.02 && index(800) > 0.4, "{} {}", index(450), index(800));
        let constant = Distribution::of("x", vec![3.0; 500]).expect("enough");
        assert!(constant.stability_index(500, share_of(&[3.0; 500])) < 0.01);
        assert!(constant.distance(share_of(&[2.0; 500])) < 1e-9, "never above what was seen");
        assert!(constant.distance(share_of(&[4.0; 500])) > 0.9);
    }

    #[test]
    fn what_is_written_reads_back_and_senseless_files_are_refused() {
        let [age, sex] = ["age", "sex_male"].map(str::to_owned);
        let layout = Layout { inputs: vec![age, sex], outputs: vec!["output:p".into()], masked: true };
        let tensor =
            |shape: [usize; 2], values: &[f32]| Tensor::from_f32(shape.into(), values).expect("whole");
        let (people, marks) = ([50.0, 1.0].repeat(300), [1.0, 1.0].repeat(300));
        let inputs = [tensor([300, 2], &people), tensor([300, 2], &marks)];
        let cases = layout.cases(&inputs, &[tensor([300, 1], &normal(1, 300, 0.0))]);
        let man = Cohort::of(Some(50.0), Some(true));
        assert!(cases.len() == 300 && cases.iter().all(|case| case.cohort == man && case.values.len() == 3));
        let written = Reference::of(&layout, &cases).expect("three columns");
        let text = written.to_json().expect("written");
        assert_eq!(Reference::from_json(&text).expect("read"), written);
        assert_eq!(written.column(man, "age"), written.column(None, "age"));
        assert!(written.column(Cohort::of(Some(50.0), Some(false)), "age").is_none());
        let absent = [tensor([1, 2], &[50.0, 1.0]), tensor([1, 2], &[1.0, 0.0])];
        assert_eq!(layout.cases(&absent, &[])[0], Case { cohort: None, values: vec![(0, 50.0)] });
        let broken = String::from_utf8(text).expect("text").replace("\"quantiles\":[", "\"quantiles\":[9e9,");
        for text in ["{}", &broken] {
            let error = Reference::from_json(text.as_bytes()).expect_err("refused").to_string();
            assert!(error.contains(REFERENCE_FILE), "{error}");
        }
    }

    proptest! {
        #[test]
        fn shares_rise_from_none_to_all(values in prop::collection::vec(-1e3f32..1e3, 100..300), a in -2e3f32..2e3, b in -2e3f32..2e3) {
            let of = Distribution::of("x", values).expect("enough");
            let (low, high) = (a.min(b), a.max(b));
            prop_assert!((0.0..=1.0).contains(&of.share_to(low)));
            prop_assert!(of.share_to(low) <= of.share_to(high) + 1e-6);
            prop_assert!(of.stability_index(1_000, |value| of.share_to(value)) < 0.05);
            prop_assert!(of.distance(|value| of.share_to(value)) < 1e-9);
        }
    }
}
