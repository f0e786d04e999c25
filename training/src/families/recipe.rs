//! What a family of models is made by: its data, its network, its training, its uncertainty, its figures.
//!
//! A [`Recipe`] says what is particular to one model. The way from it to a bundle (`make`) and from
//! a bundle to a report (`report_on`) is the same for all, so that a figure in a card was measured
//! on the very bytes that are shipped, by the engine that serves them.

use std::path::PathBuf;

use anyhow::Result;
use models::bundle::{Family, FeatureConfig, ForecastConfig, NetworkConfig, TensorConfig};
use models::calibration::{COVERAGE, Calibration, Cohort, Cohorts, Part, Support};
use rand_chacha::ChaCha8Rng;

use super::classify;
use super::matrix::Matrix;
use super::out_of_fold::Question;
use super::parts::Parts;
use super::runner::Runner;
use super::support::{self, Familiar};
use super::trainee::Trainee;
use crate::data::{Dropped, Provenance, Store};
use crate::evaluate::plots::Plot;
use crate::evaluate::{Benchmark, Measure};
use crate::optimise::{Outcome, Progress};

/// Where a run gets its data from and puts its results.
pub struct Context {
    /// Pinned data.
    pub store: Store,
    /// Folder that bundles are written under, as `<name>/<version>`.
    pub out: PathBuf,
    /// Seed of everything random.
    pub seed: u64,
    /// Bars of long steps.
    pub progress: Progress,
    /// How much to do.
    pub effort: Effort,
}

/// How much of a run to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// All of it.
    Full,
    /// A few rows and epochs, to see that every step works; the model is worth nothing.
    Trial,
}

impl Effort {
    /// `full`, or the much smaller `trial`.
    pub(crate) fn choose(self, full: usize, trial: usize) -> usize {
        match self {
            Self::Full => full,
            Self::Trial => trial,
        }
    }
}

/// What does not depend on the data.
pub(crate) struct Spec {
    pub(crate) name: &'static str,
    /// Version id, `MPS-TYPE-v1.0.0-FP32`.
    pub(crate) version: &'static str,
    pub(crate) family: Family,
    pub(crate) task: &'static str,
    pub(crate) intended_use: &'static str,
    pub(crate) synthetic: bool,
    /// What the card says of it beside the figures.
    pub(crate) limits: &'static [&'static str],
    pub(crate) rows_max: usize,
}

/// Data of one recipe, ready to train on and to measure with.
pub(crate) struct Prepared {
    /// Inputs in signature order.
    pub(crate) inputs: Vec<Matrix>,
    pub(crate) truth: Truth,
    pub(crate) parts: Parts,
    pub(crate) people: Vec<Person>,
    pub(crate) provenance: Vec<Provenance>,
    pub(crate) dropped: Vec<Dropped>,
    /// What the test set is, in a clause.
    pub(crate) test_set: String,
    pub(crate) labels: Vec<String>,
    pub(crate) features: Vec<FeatureConfig>,
}

/// Whom a row belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Person {
    /// Rows of one person share it.
    pub(crate) group: u64,
    pub(crate) age_years: Option<f64>,
    pub(crate) male: Option<bool>,
}

impl Person {
    /// Where the person belongs; nowhere when age or sex is not known.
    pub(crate) fn cohort(&self) -> Option<Cohort> {
        Cohort::of(self.age_years, self.male)
    }
}

/// What is true of each row.
pub(crate) enum Truth {
    /// Class number.
    Class(Vec<usize>),
    /// Values, and 1 where a value is known.
    Values { values: Matrix, known: Matrix },
    /// Years observed and whether death ended them.
    FollowUp { years: Vec<f64>, died: Vec<bool> },
    /// Whether the row is out of the ordinary.
    Strange(Vec<bool>),
}

impl Truth {
    /// Class numbers; none for other truths.
    pub(crate) fn classes(&self) -> &[usize] {
        match self {
            Self::Class(classes) => classes,
            Self::Values { .. } | Self::FollowUp { .. } | Self::Strange(_) => &[],
        }
    }

    /// Values and where they are known; none for other truths.
    pub(crate) fn values(&self) -> Option<(&Matrix, &Matrix)> {
        match self {
            Self::Values { values, known } => Some((values, known)),
            Self::Class(_) | Self::FollowUp { .. } | Self::Strange(_) => None,
        }
    }
}

impl Prepared {
    /// Inputs of `rows`.
    pub(crate) fn pick(&self, rows: &[usize]) -> Vec<Matrix> {
        self.inputs.iter().map(|input| input.pick(rows)).collect()
    }

    /// Group ids of `rows`, for the bootstrap.
    pub(crate) fn groups(&self, rows: &[usize]) -> Vec<u64> {
        rows.iter().map(|row| self.people[*row].group).collect()
    }

    /// Parts of `rows` by sex and age band, as positions within `rows`; groups under 30 are left out.
    pub(crate) fn subgroups(&self, rows: &[usize]) -> Vec<(String, Vec<usize>)> {
        const ROWS_MIN: usize = 30;
        let mut groups = Vec::new();
        let mut add = |name: &str, keep: &dyn Fn(&Person) -> bool| {
            let at: Vec<usize> = (0..rows.len()).filter(|i| keep(&self.people[rows[*i]])).collect();
            if at.len() >= ROWS_MIN {
                groups.push((name.to_owned(), at));
            }
        };
        add("sex=female", &|p| p.male == Some(false));
        add("sex=male", &|p| p.male == Some(true));
        for (name, from, to) in [
            ("age<40", 0.0, 40.0),
            ("age=40-59", 40.0, 60.0),
            ("age=60-79", 60.0, 80.0),
            ("age>=80", 80.0, 200.0),
        ] {
            add(name, &|p| p.age_years.is_some_and(|age| (from..to).contains(&age)));
        }
        groups
    }
}

/// Makes and measures one model.
pub(crate) trait Recipe: Sync {
    fn spec(&self) -> Spec;

    /// Inputs and outputs.
    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>);

    fn network(&self) -> NetworkConfig;

    /// Time grid, for forecasters.
    fn forecast(&self) -> Option<ForecastConfig> {
        None
    }

    /// `seed` is the context's when training, the bundle's own when measuring.
    fn prepare(&self, context: &Context, seed: u64) -> Result<Prepared>;

    /// Sets the buffers of the network from the training rows and trains it.
    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome>;

    /// Uncertainty from the calibration rows, whose outputs `runner` gives.
    fn calibrate(&self, _prepared: &Prepared, _runner: &mut Runner) -> Result<(Part, usize)> {
        anyhow::bail!("`{}` has neither calibration rows nor a way of its own", self.spec().name)
    }

    /// Uncertainty as `make` asks for it. A recipe whose people are too few to spare some for the calibration trains
    /// networks of its own here, each without the people it is measured on.
    fn uncertainty(
        &self,
        _context: &Context,
        prepared: &Prepared,
        runner: &mut Runner,
    ) -> Result<(Part, usize)> {
        self.calibrate(prepared, runner)
    }

    /// The same within cohorts that have cases enough. Classifiers have prediction sets of their own for each.
    fn cohorts(&self, prepared: &Prepared, runner: &mut Runner, part: &Part) -> Result<Option<Cohorts>> {
        match part {
            Part::Classes(classes) => classify::cohorts(prepared, runner, classes),
            Part::None | Part::Residuals(_) | Part::Forecast(_) => Ok(None),
            Part::Normality(_) | Part::Risk(_) | Part::Food(_) => Ok(None),
        }
    }

    /// Values by which it is told whether a case is like those the model has seen; none where nobody is turned away.
    fn familiar(&self, prepared: &Prepared, row: usize) -> Vec<Familiar> {
        support::of_panel(prepared, row)
    }

    /// Share of cases that intervals and sets are to hold.
    fn coverage(&self) -> f64 {
        COVERAGE
    }

    /// What the model has seen, where it is not told by the values of [`Recipe::familiar`].
    fn support(&self, _prepared: &Prepared) -> Option<Support> {
        None
    }

    /// Figures on the test rows.
    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>>;

    /// Pictures of the test rows beside those that every model of its kind has.
    fn plots(
        &self,
        _prepared: &Prepared,
        _runner: &mut Runner,
        _calibration: &Calibration,
    ) -> Result<Vec<Plot>> {
        Ok(Vec::new())
    }

    /// Figures on data of another source, reported beside the others but not written into the bundle.
    fn external(&self, _context: &Context, _runner: &mut Runner) -> Result<Vec<Measure>> {
        Ok(Vec::new())
    }

    /// What it is asked in cross-validation.
    fn questions(&self) -> Vec<Question> {
        Vec::new()
    }

    /// The figures of the published protocol of this task, beside simple methods fitted in the same run.
    fn benchmarks(&self, _context: &Context) -> Result<Vec<Benchmark>> {
        Ok(Vec::new())
    }

    /// Sentences for the reader of these figures, for example an aim that was missed.
    fn remarks(&self, _measures: &[Measure]) -> Vec<String> {
        Vec::new()
    }

    /// Inputs to remember the outputs of. Never rows of a data set: made up, or simulated.
    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix>;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// People of these ages and sexes, one row each.
    fn prepared(people: impl Iterator<Item = (Option<f64>, Option<bool>)>) -> Prepared {
        let person = |(group, (age_years, male))| Person { group, age_years, male };
        let people: Vec<Person> = (0..).zip(people).map(person).collect();
        Prepared {
            inputs: vec![Matrix { cols: 1, data: (0..people.len()).map(|row| row as f32).collect() }],
            truth: Truth::Class(vec![0; people.len()]),
            parts: Parts::default(),
            people,
            provenance: Vec::new(),
            dropped: Vec::new(),
            test_set: String::new(),
            labels: Vec::new(),
            features: Vec::new(),
        }
    }

    fn named<'a>(groups: &'a [(String, Vec<usize>)], name: &str) -> Option<&'a [usize]> {
        groups.iter().find(|(group, _)| group == name).map(|(_, rows)| rows.as_slice())
    }

    #[test]
    fn a_part_of_fewer_than_thirty_rows_is_not_reported() {
        let of = |women: usize| {
            let prepared = prepared((0..100).map(|row| (None, Some(row >= women))));
            prepared.subgroups(&(0..100).collect::<Vec<_>>())
        };
        assert_eq!(named(&of(30), "sex=female").map(<[usize]>::len), Some(30));
        assert_eq!(named(&of(29), "sex=female"), None);
        assert_eq!(named(&of(29), "sex=male").map(<[usize]>::len), Some(71));
    }

    #[test]
    fn bands_of_age_meet_without_overlap_and_leave_the_unknown_out() {
        let ages = [39.9, 40.0, 59.9, 60.0, 79.9, 80.0, f64::NAN];
        let prepared = prepared((0..280).map(|row| (ages.get(row % 8).copied(), None)));
        let everyone: Vec<usize> = (0..280).collect();
        let groups = prepared.subgroups(&everyone);
        let sizes = ["age<40", "age=40-59", "age=60-79", "age>=80"]
            .map(|name| named(&groups, name).map(<[usize]>::len));
        assert_eq!(sizes, [Some(35), Some(70), Some(70), Some(35)]);
    }

    #[test]
    fn a_part_holds_places_among_the_rows_asked_about_not_in_the_data_set() {
        let prepared = prepared((0..90).map(|row| (None, Some(row % 2 == 0))));
        let rows: Vec<usize> = (20..90).collect();
        let groups = prepared.subgroups(&rows);
        let men = named(&groups, "sex=male").expect("thirty-five");
        assert!(men.iter().all(|at| rows[*at].is_multiple_of(2)));
        assert_eq!(prepared.groups(&rows)[..3], [20, 21, 22]);
        assert_eq!(prepared.pick(&[7, 3])[0].data, [7.0, 3.0]);
    }

    #[test]
    fn a_trial_does_less() {
        assert_eq!((Effort::Full.choose(60, 1), Effort::Trial.choose(60, 1)), (60, 1));
    }
}
