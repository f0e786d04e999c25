//! Risk of death among peers, behind the health score: a Cox model whose log-risk is a small network.
//!
//! The loss is the partial likelihood within each mini-batch (Breslow's handling of ties); stopping looks
//! at the same on the validation people. Age and sex are inputs; the score itself compares with people of
//! the same age and sex, which is the calibration's business.

use anyhow::{Context as _, Result, ensure};
use candle_core::{Device, Tensor};
use clinical::{Biomarker as B, Finding as F};
use models::bundle::{Family, NetworkConfig, RiskConfig, TensorConfig};
use models::calibration::{
    AgeBand, COVERAGE, Calibration, MissingSpread, Part, RiskCase, fit_reference, fit_risk,
};
use rand_chacha::ChaCha8Rng;

use super::classify::Hiding;
use super::columns::{Column, Panels};
use super::golden;
use super::matrix::Matrix;
use super::parts::Parts;
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::runner::Runner;
use super::trainee::{Trainee, body};
use crate::data::mortality::nafld::{self, NafldRow};
use crate::data::{Fractions, Sex};
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Measure, metrics};
use crate::optimise::{self, Objective, Outcome, Plan};

const COLUMNS: [Column; 12] = [
    Column::Age,
    Column::SexMale,
    Column::Marker(B::Bmi),
    Column::Marker(B::Hdl),
    Column::Marker(B::SystolicBp),
    Column::Finding(F::Smoker),
    Column::Finding(F::DiabetesDiagnosed),
    Column::Finding(F::Hypertension),
    Column::Finding(F::PriorMyocardialInfarction),
    Column::Finding(F::PriorStroke),
    Column::Finding(F::HeartFailure),
    Column::Finding(F::LiverDisease),
];
const HORIZON_YEARS: f64 = 10.0;
const YEAR_DAYS: f64 = 365.25;
/// Ages at which a new group of peers begins, and the end of the last.
const BANDS: [f64; 8] = [18.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 120.0];
/// Allowance for how far another training set would move one person's log-risk; ours.
const RANKING_SPREAD: f64 = 0.1;
/// Fewest people of one group of peers of one sex.
const PEERS_MIN: usize = 30;

/// The recipe.
pub(crate) struct HealthScore;

fn cell(row: &NafldRow, column: Column) -> Option<f64> {
    let yes = |yes: bool| Some(f64::from(u8::from(yes)));
    match column {
        Column::Age => Some(row.age_years),
        Column::SexMale => yes(row.sex == Sex::Male),
        Column::Marker(B::Bmi) => row.bmi_kg_m2,
        Column::Marker(B::Hdl) => row.hdl_mg_dl,
        Column::Marker(B::SystolicBp) => row.systolic_mmhg,
        Column::Finding(F::Smoker) => row.smoker.and_then(yes),
        Column::Finding(F::DiabetesDiagnosed) => yes(row.had("diabetes")),
        Column::Finding(F::Hypertension) => yes(row.had("htn")),
        Column::Finding(F::PriorMyocardialInfarction) => yes(row.had("MI")),
        Column::Finding(F::PriorStroke) => yes(row.had("stroke")),
        Column::Finding(F::HeartFailure) => yes(row.had("heart failure")),
        Column::Finding(F::LiverDisease) => yes(row.had("nafld")),
        Column::Marker(_) | Column::Finding(_) => None,
    }
}

fn follow_up(prepared: &Prepared) -> Result<(&[f64], &[bool])> {
    match &prepared.truth {
        Truth::FollowUp { years, died } => Ok((years, died)),
        Truth::Class(_) | Truth::Values { .. } | Truth::Strange(_) => {
            anyhow::bail!("a risk model needs follow-up")
        }
    }
}

/// Negative log partial likelihood per death.
struct Cox<'a> {
    prepared: &'a Prepared,
    trainee: &'a Trainee,
    hiding: Hiding,
    years: &'a [f64],
    died: &'a [bool],
}

impl Cox<'_> {
    /// `log_risk` is `[rows]`, in the order of `rows`, which are sorted from the longest time down.
    fn loss_of(&self, log_risk: &Tensor, rows: &[usize]) -> Result<Tensor> {
        let n = rows.len();
        let deaths: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(self.died[*row]))).collect();
        let count = deaths.iter().sum::<f32>().max(1.0);
        // Everyone with at least the same time is at risk: a lower triangle, wider where times are equal.
        let mut at_risk = vec![0.0_f32; n * n];
        for (i, row) in rows.iter().enumerate() {
            let last = rows.partition_point(|other| self.years[*other] >= self.years[*row]);
            at_risk[i * n..i * n + last].fill(1.0);
        }
        let at_risk = Tensor::from_vec(at_risk, (n, n), &Device::Cpu)?;
        let deaths = Tensor::from_vec(deaths, n, &Device::Cpu)?;
        let top = log_risk.max(0)?.detach();
        let relative = log_risk.broadcast_sub(&top)?.exp()?.unsqueeze(1)?;
        let sums = (at_risk.matmul(&relative)?.squeeze(1)?.log()?).broadcast_add(&top)?;
        Ok((((sums - log_risk)? * deaths)?.sum_all()? / f64::from(count))?)
    }

    fn longest_first(&self, rows: &[usize]) -> Vec<usize> {
        let mut rows = rows.to_vec();
        rows.sort_by(|a, b| self.years[*b].total_cmp(&self.years[*a]).then(a.cmp(b)));
        rows
    }
}

impl Objective for Cox<'_> {
    fn rows(&self) -> usize {
        self.prepared.parts.train.len()
    }

    fn loss(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor> {
        let rows = self.longest_first(&pick(&self.prepared.parts.train, rows));
        let mut inputs = self.prepared.pick(&rows);
        if let [_, present] = &mut inputs[..] {
            self.hiding.apply(present, rng);
        }
        let raw = self.trainee.raw(&inputs)?;
        let members = raw.dim(0)?;
        let mut loss = Tensor::zeros((), candle_core::DType::F32, &Device::Cpu)?;
        for member in 0..members {
            loss = (loss + self.loss_of(&raw.get(member)?.squeeze(1)?, &rows)?)?;
        }
        Ok((loss / members as f64)?)
    }

    fn validate(&self) -> Result<f64> {
        let rows = self.longest_first(&self.prepared.parts.validation);
        let log_risk = self.trainee.raw(&self.prepared.pick(&rows))?.mean(0)?.squeeze(1)?;
        Ok(f64::from(self.loss_of(&log_risk, &rows)?.to_scalar::<f32>()?))
    }
}

impl Recipe for HealthScore {
    fn spec(&self) -> Spec {
        Spec {
            name: "health-score",
            version: "MPS-HEALTH-SCORE-v1.0.0-FP32",
            family: Family::HealthScore,
            task: "mortality",
            intended_use: "Ranks an adult's risk of death within ten years among people of the same age and sex, as \
                           the ground of a health score, for orientation. Not for diagnosis or insurance.",
            synthetic: false,
            limits: &[
                "Residents of one county in Minnesota; most of European descent.",
                "Half of the people were picked because of fatty liver disease, the others as their peers.",
                "An absent diagnosis counts as no diagnosis.",
                "FIB-4 is on record only where it is high, so it is not an input.",
                "No input is forced to act in one direction; associations are not causes.",
                "Trained on data of a package under GPL-3.0 (R package survival, LGPL-2.0-or-later); the data is \
                 not part of this bundle.",
            ],
            rows_max: 4096,
        }
    }

    fn signature(&self) -> (Vec<TensorConfig>, Vec<TensorConfig>) {
        let width = COLUMNS.len() as i64;
        let inputs = vec![TensorConfig::rows("features", &[width]), TensorConfig::rows("present", &[width])];
        (inputs, vec![TensorConfig::rows("log_risk", &[1])])
    }

    fn network(&self) -> NetworkConfig {
        NetworkConfig::Risk(RiskConfig { inputs: COLUMNS.len(), masked: true, body: body(&[24], 4) })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = nafld::load(&context.store)?;
        let mut panels = Panels::new(&COLUMNS);
        dataset.rows.iter().for_each(|row| panels.push(|column| cell(row, column)));
        let parts = Parts::of(&dataset, Fractions::default(), 0.15);
        let person = |row: &NafldRow| Person {
            group: row.id.unsigned_abs(),
            age_years: Some(row.age_years),
            male: Some(row.sex == Sex::Male),
        };
        Ok(Prepared {
            features: panels.features(&parts.train),
            people: dataset.rows.iter().map(person).collect(),
            inputs: vec![panels.values, panels.present],
            truth: Truth::FollowUp {
                years: dataset.rows.iter().map(|row| row.follow_up.days / YEAR_DAYS).collect(),
                died: dataset.rows.iter().map(|row| row.follow_up.died).collect(),
            },
            provenance: dataset.provenance,
            dropped: dataset.dropped,
            test_set: format!("{} people held out by a hash of the person number", parts.test.len()),
            parts,
            labels: Vec::new(),
        })
    }

    fn train(&self, prepared: &Prepared, trainee: &Trainee, context: &Context) -> Result<Outcome> {
        let (years, died) = follow_up(prepared)?;
        trainee.standardise_panel(prepared, &COLUMNS)?;
        let hiding = Hiding { single: 0.1, together: vec![((5..COLUMNS.len()).collect(), 0.2)] };
        let objective = Cox { prepared, trainee, hiding, years, died };
        let plan = Plan {
            epochs_max: context.effort.choose(60, 1),
            patience_epochs: 12,
            batch_rows: 1024,
            learning_rate: 3e-3,
            weight_decay: 0.05,
            seed: context.seed,
            ..Plan::default()
        };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let rows = &prepared.parts.calibration;
        let (years, died) = follow_up(prepared)?;
        let log_risks = runner.first(&prepared.pick(rows))?.column(0);
        let cases: Vec<RiskCase> = rows
            .iter()
            .zip(&log_risks)
            .map(|(row, log_risk)| RiskCase { log_risk: *log_risk, years: years[*row], event: died[*row] })
            .collect();
        let mut references = Vec::new();
        for band in BANDS.windows(2) {
            let ages = AgeBand { from: band[0], to: band[1] };
            for sex in [None, Some(false), Some(true)] {
                let peers: Vec<f64> = rows
                    .iter()
                    .zip(&log_risks)
                    .filter(|(row, _)| {
                        let person = &prepared.people[**row];
                        let of_age = person.age_years.is_some_and(|age| (ages.from..ages.to).contains(&age));
                        of_age && (sex.is_none() || person.male == sex)
                    })
                    .map(|(_, log_risk)| *log_risk)
                    .collect();
                let name = sex.map(|male| if male { "male" } else { "female" });
                if peers.len() >= PEERS_MIN {
                    references.extend(fit_reference(name, ages, peers));
                }
            }
        }
        ensure!(!references.is_empty(), "no group of peers has {PEERS_MIN} people");
        let missing = missing_spread(prepared, rows, &log_risks, runner)?;
        let half_width = half_width(&cases)?;
        let part = fit_risk("death", HORIZON_YEARS, &cases, references, (half_width, missing), COVERAGE);
        Ok((Part::Risk(part.context("nobody died before the horizon")?), rows.len()))
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        let rows = &prepared.parts.test;
        let (years, died) = follow_up(prepared)?;
        let (years, died) = (pick(years, rows), pick(died, rows));
        let risk = runner.first(&prepared.pick(rows))?.column(0);
        let age = prepared.inputs[0].pick(rows).column(0);
        let groups = prepared.groups(rows);
        let c_of = |risk: &[f64], at: &[usize]| {
            metrics::harrell_c(&pick(risk, at), &pick(&years, at), &pick(&died, at))
        };
        let everyone: Vec<usize> = (0..rows.len()).collect();
        let mut measures = Vec::new();
        if let Some(value) = c_of(&risk, &everyone) {
            let measure =
                Measure::new("c_index", value, rows.len()).between(interval(&groups, |at| c_of(&risk, at)));
            measures.push(measure.against("age alone", c_of(&age, &everyone)));
            let gain = |at: &[usize]| Some(c_of(&risk, at)? - c_of(&age, at)?);
            let spread = interval(&groups, gain);
            measures.extend(
                gain(&everyone).map(|v| Measure::new("c_index_gain_over_age", v, rows.len()).between(spread)),
            );
        }
        if let Part::Risk(figures) = calibration.part() {
            measures
                .extend(observed_over_expected(&risk, &years, &died, |log_risk| figures.absolute(log_risk)));
        }
        for (subgroup, at) in prepared.subgroups(rows) {
            if let Some(value) = c_of(&risk, &at) {
                let spread = interval(&pick(&groups, &at), |drawn| c_of(&risk, &pick(&at, drawn)));
                let measure = Measure::new("c_index", value, at.len()).between(spread).within(&subgroup);
                measures.push(measure.against("age alone", c_of(&age, &at)));
            }
        }
        Ok(measures)
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        super::aim(measures, "c_index_gain_over_age", |v| v > 0.0, "concordance above that of age alone")
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &COLUMNS, rng)
    }
}

/// How far the log-risk moves when each input is hidden.
fn missing_spread(
    prepared: &Prepared,
    rows: &[usize],
    complete: &[f64],
    runner: &mut Runner,
) -> Result<Vec<MissingSpread>> {
    let mut spreads = Vec::new();
    for (col, column) in COLUMNS.iter().enumerate() {
        let mut inputs = prepared.pick(rows);
        inputs[1].data.iter_mut().skip(col).step_by(COLUMNS.len()).for_each(|mark| *mark = 0.0);
        let hidden = runner.first(&inputs)?.column(0);
        let there = |i: &usize| prepared.inputs[1].row(rows[*i])[col] > 0.0;
        let moves: Vec<f64> = (0..rows.len()).filter(there).map(|i| hidden[i] - complete[i]).collect();
        let square = metrics::mean(moves.iter().map(|m| m * m));
        spreads.push(MissingSpread { feature: column.name().to_owned(), sd: square.sqrt() });
    }
    Ok(spreads)
}

/// Half-width of the log-risk: how far its level, one figure for everybody, is pinned down by the deaths seen
/// (Poisson, 90 %), and a fixed allowance for the ranking of single people.
fn half_width(cases: &[RiskCase]) -> Result<f64> {
    let deaths = cases.iter().filter(|case| case.event).count();
    ensure!(deaths > 0, "nobody of the {} calibration people died", cases.len());
    Ok(1.645 / (deaths as f64).sqrt() + RANKING_SPREAD)
}

/// Share of people who die within the horizon by Kaplan-Meier, over the share that the model expects.
fn observed_over_expected(
    risk: &[f64],
    years: &[f64],
    died: &[bool],
    absolute: impl Fn(f64) -> f64,
) -> Option<Measure> {
    let expected = metrics::mean(risk.iter().map(|log_risk| absolute(*log_risk)));
    let seen = died_by(HORIZON_YEARS, years, died);
    (expected > 0.0).then(|| Measure::new("observed_over_expected_10y", seen / expected, risk.len()))
}

/// Kaplan-Meier share of people dead by `horizon`.
fn died_by(horizon: f64, years: &[f64], died: &[bool]) -> f64 {
    let mut order: Vec<usize> = (0..years.len()).collect();
    order.sort_by(|a, b| years[*a].total_cmp(&years[*b]));
    let (mut alive, mut left) = (1.0, years.len() as f64);
    for group in order.chunk_by(|a, b| years[*a] == years[*b]) {
        if years[group[0]] > horizon {
            break;
        }
        alive *= 1.0 - group.iter().filter(|i| died[**i]).count() as f64 / left;
        left -= group.len() as f64;
    }
    1.0 - alive
}

#[cfg(test)]
mod tests {
    use candle_core::Var;
    use proptest::prelude::*;

    use super::*;
    use crate::data::mortality::FollowUp;

    #[test]
    fn the_censored_leave_without_dying() {
        // Of four, one dies at 1; one is lost at 2; of the two left one dies at 3: 1 - 3/4 * 1/2.
        let share = died_by(10.0, &[1.0, 2.0, 3.0, 12.0], &[true, false, true, true]);
        assert!((share - 0.625).abs() < 1e-12, "{share}");
        assert_eq!(died_by(0.5, &[1.0], &[true]), 0.0);
    }

    #[test]
    fn history_and_values_become_columns() {
        let row = NafldRow {
            id: 1,
            age_years: 61.0,
            sex: Sex::Male,
            bmi_kg_m2: Some(31.0),
            height_cm: None,
            weight_kg: None,
            hdl_mg_dl: None,
            systolic_mmhg: Some(140.0),
            fib4_high: false,
            smoker: None,
            history: 0b1010,
            follow_up: FollowUp { days: 100.0, died: false },
        };
        assert_eq!(cell(&row, Column::Finding(F::DiabetesDiagnosed)), Some(1.0));
        assert_eq!(cell(&row, Column::Finding(F::Hypertension)), Some(1.0));
        assert_eq!(cell(&row, Column::Finding(F::PriorStroke)), Some(0.0));
        assert_eq!(
            (cell(&row, Column::Finding(F::Smoker)), cell(&row, Column::Marker(B::Hdl))),
            (None, None)
        );
    }

    #[test]
    fn the_partial_likelihood_matches_the_hand_count() {
        let followed = Followed::new(vec![3.0, 1.0, 2.0], vec![false, true, true]);
        let cox = followed.cox();
        let rows = cox.longest_first(&[0, 1, 2]);
        assert_eq!(rows, [0, 2, 1]);
        let log_risk = Tensor::from_slice(&[0.0_f32, 1.0, 2.0], 3, &Device::Cpu).expect("tensor");
        let loss = cox.loss_of(&log_risk, &rows).and_then(|l| Ok(l.to_scalar::<f32>()?)).expect("loss");
        // Death at 2 (log-risk 1) among {0, 1}; death at 1 (log-risk 2) among all three.
        let (e0, e1, e2) = (1.0_f64, 1.0_f64.exp(), 2.0_f64.exp());
        let expected = (((e0 + e1).ln() - 1.0) + ((e0 + e1 + e2).ln() - 2.0)) / 2.0;
        assert!((f64::from(loss) - expected).abs() < 1e-5, "{loss} {expected}");
    }

    /// People with a follow-up and a network that nobody asks.
    struct Followed {
        prepared: Prepared,
        trainee: Trainee,
        years: Vec<f64>,
        died: Vec<bool>,
    }

    impl Followed {
        fn new(years: Vec<f64>, died: Vec<bool>) -> Self {
            let prepared = Prepared {
                inputs: Vec::new(),
                truth: Truth::FollowUp { years: years.clone(), died: died.clone() },
                parts: Parts::default(),
                people: Vec::new(),
                provenance: Vec::new(),
                dropped: Vec::new(),
                test_set: String::new(),
                labels: Vec::new(),
                features: Vec::new(),
            };
            let trainee = Trainee::new(&HealthScore.network()).expect("network");
            Self { prepared, trainee, years, died }
        }

        fn cox(&self) -> Cox<'_> {
            let Self { prepared, trainee, years, died } = self;
            Cox { prepared, trainee, hiding: Hiding::default(), years, died }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// The loss by the double sum over deaths and those at risk, its slope by small steps of it.
        #[test]
        fn the_loss_is_the_partial_likelihood_and_its_slope_the_difference_quotient(
            people in prop::collection::vec((1u8..6, any::<bool>(), -2.0f32..2.0), 2..14),
        ) {
            let followed = Followed::new(
                people.iter().map(|p| f64::from(p.0)).collect(),
                people.iter().map(|p| p.1).collect(),
            );
            let rows = followed.cox().longest_first(&(0..people.len()).collect::<Vec<_>>());
            let risks: Vec<f64> = rows.iter().map(|row| f64::from(people[*row].2)).collect();
            let book = |risks: &[f64]| {
                let dead = rows.iter().enumerate().filter(|(_, row)| people[**row].1);
                let term = |(at, row): (usize, &usize)| {
                    let at_risk = (0..rows.len()).filter(|other| people[rows[*other]].0 >= people[*row].0);
                    at_risk.map(|other| risks[other].exp()).sum::<f64>().ln() - risks[at]
                };
                dead.clone().map(term).sum::<f64>() / dead.count().max(1) as f64
            };
            let wide: Vec<f32> = risks.iter().map(|risk| *risk as f32).collect();
            let var = Var::from_tensor(&Tensor::from_vec(wide, rows.len(), &Device::Cpu)?)?;
            let loss = followed.cox().loss_of(var.as_tensor(), &rows).expect("loss");
            prop_assert!((f64::from(loss.to_scalar::<f32>()?) - book(&risks)).abs() < 1e-4);
            let slopes = loss.backward()?;
            let slopes: Vec<f32> = slopes.get(&var).expect("a slope").to_vec1()?;
            for (at, slope) in slopes.iter().enumerate() {
                let step = |by: f64| {
                    let mut moved = risks.clone();
                    moved[at] += by;
                    book(&moved)
                };
                let quotient = (step(1e-4) - step(-1e-4)) / 2e-4;
                prop_assert!((f64::from(*slope) - quotient).abs() < 1e-3, "{slope} {quotient}");
            }
        }
    }
}
