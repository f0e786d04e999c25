//! How far score and log-risk can be trusted: what each input is worth, and how much another draw of the training
//! people would move the answers.

use anyhow::{Context as _, Result, ensure};
use models::calibration::{
    AgeBand, COVERAGE, MissingSpread, Reference, Risk, RiskSpread, conformal_quantile, fit_reference,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::matrix::Matrix;
use super::super::recipe::{Prepared, Recipe};
use super::super::runner::Runner;
use super::super::trainee::Trainee;
use super::cox::{Cox, hide, unmeasured};
use super::{COLUMNS, HealthScore, cohort, plan};
use crate::evaluate::metrics;
use crate::optimise::{self, Plan, Progress};

/// Ages at which a new group of peers begins, and the end of the last.
const BANDS: [f64; 8] = [18.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 120.0];
/// Fewest people of one group of peers of one sex.
const PEERS_MIN: usize = 30;
/// Networks fitted again, each on people drawn with replacement.
const REFITS: u64 = 3;
/// Passes of a network that is fitted again; the bundle's own found its best after about as many.
const REFIT_EPOCHS: usize = 40;
const SEED: u64 = 0x7370_7265_6164;

/// Answers of a network, one log-risk a row.
pub(super) type Answer<'a> = dyn FnMut(&[Matrix]) -> Result<Vec<f64>> + 'a;

/// Log-risk of each person less that of an unmeasured person of the same age and sex.
pub(super) fn excess(inputs: &[Matrix], answer: &mut Answer<'_>) -> Result<Vec<f64>> {
    let bare = answer(&unmeasured(inputs))?;
    Ok(answer(inputs)?.iter().zip(bare).map(|(whole, bare)| whole - bare).collect())
}

/// Groups of peers among `rows`, whose excesses are known.
pub(super) fn references(prepared: &Prepared, rows: &[usize], excess: &[f64]) -> Result<Vec<Reference>> {
    let mut references = Vec::new();
    for band in BANDS.windows(2) {
        let ages = AgeBand { from: band[0], to: band[1] };
        for sex in [None, Some(false), Some(true)] {
            let belongs = |row: &usize| {
                let person = &prepared.people[*row];
                let of_age = person.age_years.is_some_and(|age| (ages.from..ages.to).contains(&age));
                of_age && (sex.is_none() || person.male == sex)
            };
            let peers = rows.iter().zip(excess).filter(|(row, _)| belongs(row));
            let peers: Vec<f64> = peers.map(|(_, excess)| *excess).collect();
            if peers.len() >= PEERS_MIN {
                references.extend(fit_reference(
                    sex.map(|male| if male { "male" } else { "female" }),
                    ages,
                    peers,
                ));
            }
        }
    }
    ensure!(!references.is_empty(), "no group of peers has {PEERS_MIN} people");
    Ok(references)
}

/// Score of each of `rows` among the peers of `risk`; 50 for those without any.
pub(super) fn scores(risk: &Risk, prepared: &Prepared, rows: &[usize], excess: &[f64]) -> Vec<f64> {
    let score = |(row, excess): (&usize, &f64)| {
        let person = &prepared.people[*row];
        let sex = person.male.map(|male| if male { "male" } else { "female" });
        risk.reference(person.age_years.unwrap_or(f64::NAN), sex).map_or(50.0, |peers| peers.score(*excess))
    };
    rows.iter().zip(excess).map(score).collect()
}

/// All of it, on the calibration rows.
pub(super) fn measure(
    risk: &Risk,
    prepared: &Prepared,
    rows: &[usize],
    runner: &mut Runner,
) -> Result<RiskSpread> {
    let mut answer = |inputs: &[Matrix]| Ok(runner.first(inputs)?.column(0));
    let inputs = prepared.pick(rows);
    let whole = excess(&inputs, &mut answer)?;
    let score = scores(risk, prepared, rows, &whole);
    let mut missing = Vec::new();
    for (col, column) in COLUMNS.iter().enumerate() {
        let mut without = inputs.clone();
        without[1].data.iter_mut().skip(col).step_by(COLUMNS.len()).for_each(|mark| *mark = 0.0);
        let without = excess(&without, &mut answer)?;
        let moved = scores(risk, prepared, rows, &without);
        let there: Vec<usize> = (0..rows.len()).filter(|i| inputs[1].row(*i)[col] > 0.0).collect();
        let root = |a: &[f64], b: &[f64]| metrics::mean(there.iter().map(|i| (a[*i] - b[*i]).powi(2))).sqrt();
        missing.push(MissingSpread {
            feature: column.name().to_owned(),
            log_risk_sd: root(&without, &whole),
            score_sd: root(&moved, &score),
        });
    }
    let (log_risk_half_width, score_half_width) = refitted(prepared, rows, &whole, &score)?;
    let spread = RiskSpread { log_risk_half_width, score_half_width, missing_factor: 0.0, missing };
    let mut ratios = Vec::new();
    let hidden = Hidden::draw(&inputs);
    let moved = scores(risk, prepared, rows, &excess(&hidden.inputs, &mut answer)?);
    for (i, (moved, score)) in moved.iter().zip(&score).enumerate() {
        let more = COLUMNS.iter().any(|of| hidden.lacks(i, of.name()) && !lacks(&inputs, i, of.name()));
        let points = spread.points(|name| hidden.lacks(i, name));
        ratios.extend((more && points > 0.0).then(|| (moved - score).abs() / points));
    }
    let missing_factor = conformal_quantile(ratios, COVERAGE).context("nothing could be hidden")?;
    Ok(RiskSpread { missing_factor, ..spread })
}

/// Whether row `i` of a panel lacks the input `name`.
fn lacks(inputs: &[Matrix], i: usize, name: &str) -> bool {
    COLUMNS.iter().position(|column| column.name() == name).is_some_and(|at| inputs[1].row(i)[at] == 0.0)
}

/// People with inputs hidden at random, age and sex excepted.
pub(super) struct Hidden {
    pub(super) inputs: Vec<Matrix>,
}

impl Hidden {
    pub(super) fn draw(inputs: &[Matrix]) -> Self {
        let mut hidden = inputs.to_vec();
        if let ([_, before], [_, after]) = (inputs, &mut hidden[..]) {
            hide(after, &mut ChaCha8Rng::seed_from_u64(SEED));
            let cols = after.cols.max(1);
            for (after, before) in after.data.chunks_exact_mut(cols).zip(before.data.chunks_exact(cols)) {
                after[..super::cox::PEERS].copy_from_slice(&before[..super::cox::PEERS]);
            }
        }
        Self { inputs: hidden }
    }

    pub(super) fn lacks(&self, i: usize, name: &str) -> bool {
        lacks(&self.inputs, i, name)
    }
}

/// How far log-risk and score of calibration people move, nine times in ten, when the network is fitted again on
/// another draw of the training people. Everything moves: the network, its peers, the groups.
fn refitted(prepared: &Prepared, rows: &[usize], whole: &[f64], score: &[f64]) -> Result<(f64, f64)> {
    let inputs = prepared.pick(rows);
    let (mut of_log_risk, mut of_score) = (Vec::new(), Vec::new());
    for refit in 0..REFITS {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED + refit);
        let people = &prepared.parts.train;
        let train: Vec<usize> = people.iter().map(|_| people[rng.random_range(0..people.len())]).collect();
        let trainee = Trainee::new(&HealthScore.network())?;
        trainee.standardise_panel(prepared, &COLUMNS)?;
        let validation = &prepared.parts.validation;
        let cohort = cohort(prepared)?;
        let objective = Cox { cohort, trainee: &trainee, train: &train, validation, hiding: true };
        let plan = Plan { epochs_max: REFIT_EPOCHS, ..plan(SEED + refit) };
        optimise::fit("health-score", trainee.weights(), &objective, &plan, &Progress::hidden())?;
        let moved = excess(&inputs, &mut |inputs| log_risks(&trainee, inputs))?;
        let risk = Risk {
            event: "death".into(),
            horizon_years: 1.0,
            baseline_hazard: 1.0,
            spread: RiskSpread::default(),
            references: references(prepared, rows, &moved)?,
            bins: Vec::new(),
        };
        of_score.extend(scores(&risk, prepared, rows, &moved).iter().zip(score).map(|(a, b)| (a - b).abs()));
        of_log_risk.extend(moved.iter().zip(whole).map(|(a, b)| (a - b).abs()));
    }
    let quantile = |apart: Vec<f64>| conformal_quantile(apart, COVERAGE).context("nobody to compare");
    Ok((quantile(of_log_risk)?, quantile(of_score)?))
}

/// Log-risks by a network that is still in training.
pub(super) fn log_risks(trainee: &Trainee, inputs: &[Matrix]) -> Result<Vec<f64>> {
    let mean: Vec<f32> = trainee.raw(inputs)?.mean(0)?.flatten_all()?.to_vec1()?;
    Ok(mean.into_iter().map(f64::from).collect())
}
