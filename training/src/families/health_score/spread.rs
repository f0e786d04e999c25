//! How far score and log-risk can be trusted: what each input is worth, and how much another draw of the training
//! people would move the answers.
//!
//! The score that an interval is to hold is the one a person would have if what is absent were known and the network had
//! learnt from other people. Both are played through on held-out people: networks are fitted again on people drawn with
//! replacement, inputs that are on record are hidden, and the answer of the shipped network to the panel with gaps is
//! compared with that of the other network to the whole. How wide an interval is when nothing is hidden, and how many
//! times what is hidden is worth it reaches beyond, is split-conformal, in each group of peers by itself where there are
//! people enough.

use anyhow::{Context as _, Result, ensure};
use models::calibration::{
    AgeBand, COVERAGE, MissingSpread, Reference, Risk, RiskSpread, ScoreWidth, conformal_quantile,
    fit_reference,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::matrix::Matrix;
use super::super::recipe::{Prepared, Recipe};
use super::super::runner::Runner;
use super::super::trainee::Trainee;
use super::cox::{Cox, hide, unmeasured};
use super::{ASKED, COLUMNS, HealthScore, cohort, plan};
use crate::evaluate::metrics;
use crate::optimise::{self, Plan, Progress};

/// Ages at which a new group of peers begins, and the end of the last.
const BANDS: [f64; 8] = [18.0, 30.0, 40.0, 50.0, 60.0, 70.0, 80.0, 120.0];
/// Fewest people of one group of peers of one sex.
const PEERS_MIN: usize = 30;
/// Fewest people of a group of peers that gets widths of its own.
const MONDRIAN_MIN: u64 = 150;
/// Networks fitted again, each on people drawn with replacement, to calibrate on.
const REFITS: std::ops::Range<u64> = 0..3;
/// Least worth, in points, of any absent input, so that each of them widens the interval.
const WORTH_MIN: f64 = 0.5;
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

/// Writes all of it, from the calibration rows, into `risk`.
pub(super) fn measure(
    risk: &mut Risk,
    prepared: &Prepared,
    rows: &[usize],
    runner: &mut Runner,
) -> Result<()> {
    let mut answer = |inputs: &[Matrix]| Ok(runner.first(inputs)?.column(0));
    let inputs = prepared.pick(rows);
    let whole = excess(&inputs, &mut answer)?;
    let refits = REFITS.map(|seed| Refit::fit(prepared, rows, seed)).collect::<Result<Vec<_>>>()?;
    let apart = refits.iter().map(|refit| refit.excess(&inputs)).collect::<Result<Vec<_>>>()?;
    let apart = apart.iter().flat_map(|moved| moved.iter().zip(&whole).map(|(a, b)| (a - b).abs())).collect();
    let log_risk_half_width = conformal_quantile(apart, COVERAGE).context("nobody to compare")?;
    let mut missing = Vec::new();
    for (col, column) in COLUMNS.iter().enumerate() {
        let (log_risk_sd, alone) = alone(&[col], risk, prepared, rows, &whole, &mut answer)?;
        let score_sd = alone.max(WORTH_MIN);
        missing.push(MissingSpread { feature: column.name().to_owned(), log_risk_sd, score_sd });
    }
    let all: Vec<usize> = (super::cox::PEERS..COLUMNS.len()).collect();
    let (_, score_sd_unmeasured) = alone(&all, risk, prepared, rows, &whole, &mut answer)?;
    let score = ScoreWidth::default();
    risk.spread = RiskSpread { log_risk_half_width, score, score_sd_unmeasured, missing };
    let moves = moves(risk, prepared, rows, &refits, &mut answer)?;
    widths(risk, prepared, rows, &moves)
}

/// Root mean square by which log-risk and score move when nothing but the columns `cols` is hidden, of a single one over
/// those of whom it is known.
fn alone(
    cols: &[usize],
    risk: &Risk,
    prepared: &Prepared,
    rows: &[usize],
    whole: &[f64],
    answer: &mut Answer<'_>,
) -> Result<(f64, f64)> {
    let mut without = prepared.pick(rows);
    let known = |i: &usize| cols.first().is_some_and(|col| without[1].row(*i)[*col] > 0.0);
    let there: Vec<usize> = match cols {
        [_] => (0..rows.len()).filter(known).collect(),
        _ => (0..rows.len()).collect(),
    };
    for col in cols {
        without[1].data.iter_mut().skip(*col).step_by(COLUMNS.len()).for_each(|mark| *mark = 0.0);
    }
    let without = excess(&without, answer)?;
    let root = |a: &[f64], b: &[f64]| metrics::mean(there.iter().map(|i| (a[*i] - b[*i]).powi(2))).sqrt();
    let (before, after) = (scores(risk, prepared, rows, whole), scores(risk, prepared, rows, &without));
    Ok((root(&without, whole), root(&after, &before)))
}

/// What one person's score does when inputs are hidden and the network is another.
pub(super) struct Move {
    /// Place of the person among the rows asked about.
    pub(super) at: usize,
    /// The shipped network's score of what is left.
    pub(super) said: f64,
    /// The other network's score of the whole.
    pub(super) whole: f64,
    /// By column, whether it was on record and is hidden.
    hidden: Vec<bool>,
}

impl Move {
    /// Whether the input `name` was on record and is hidden.
    pub(super) fn lacks(&self, name: &str) -> bool {
        COLUMNS.iter().zip(&self.hidden).any(|(column, hidden)| *hidden && column.name() == name)
    }

    /// Inputs hidden.
    pub(super) fn lacking(&self) -> usize {
        self.hidden.iter().filter(|hidden| **hidden).count()
    }
}

/// Every person once as on record and once with inputs hidden, beside each of the other networks.
pub(super) fn moves(
    risk: &Risk,
    prepared: &Prepared,
    rows: &[usize],
    refits: &[Refit],
    answer: &mut Answer<'_>,
) -> Result<Vec<Move>> {
    let inputs = prepared.pick(rows);
    let mut moves = Vec::new();
    for refit in refits {
        let whole = scores(&refit.risk, prepared, rows, &refit.excess(&inputs)?);
        for panel in [inputs.clone(), hidden(&inputs, refit.seed)] {
            let said = scores(risk, prepared, rows, &excess(&panel, answer)?);
            moves.extend(said.iter().zip(&whole).enumerate().map(|(at, (said, whole))| Move {
                at,
                said: *said,
                whole: *whole,
                hidden: inputs[1].row(at).iter().zip(panel[1].row(at)).map(|(a, b)| a > b).collect(),
            }));
        }
    }
    Ok(moves)
}

/// Split-conformal widths, of everybody and of each group of peers that has people enough.
fn widths(risk: &mut Risk, prepared: &Prepared, rows: &[usize], moves: &[Move]) -> Result<()> {
    let everybody = width(&risk.spread, &mut moves.iter()).context("nothing could be hidden")?;
    let own = |peers: &Reference| {
        let mut among = moves.iter().filter(|of| among(peers, prepared, rows[of.at]));
        (peers.n >= MONDRIAN_MIN).then(|| width(&risk.spread, &mut among)).flatten()
    };
    let own: Vec<Option<ScoreWidth>> = risk.references.iter().map(own).collect();
    risk.references.iter_mut().zip(own).for_each(|(peers, width)| peers.width = width);
    risk.spread.score = everybody;
    Ok(())
}

/// The half-width that holds the moves of whole panels, and the factor on what is hidden with which it holds the others.
fn width(spread: &RiskSpread, moves: &mut dyn Iterator<Item = &Move>) -> Option<ScoreWidth> {
    let (hidden, whole): (Vec<&Move>, Vec<&Move>) = moves.partition(|of| of.lacking() > 0);
    let apart = |of: &Move| (of.said - of.whole).abs();
    let half_width = conformal_quantile(whole.iter().map(|of| apart(of)).collect(), COVERAGE)?;
    let over = |of: &&Move| {
        let beyond = (apart(of).powi(2) - half_width.powi(2)).max(0.0).sqrt();
        beyond / spread.points(|name| of.lacks(name))
    };
    let missing_factor = conformal_quantile(hidden.iter().map(over).collect(), COVERAGE)?;
    // Something absent widens it even where nothing hidden moved anything.
    Some(ScoreWidth {
        half_width: half_width.max(f64::MIN_POSITIVE),
        missing_factor: missing_factor.max(0.1),
    })
}

/// Whether the person of `row` belongs to these peers.
fn among(peers: &Reference, prepared: &Prepared, row: usize) -> bool {
    let person = &prepared.people[row];
    let of_age = person.age_years.is_some_and(|age| (peers.ages.from..peers.ages.to).contains(&age));
    let sex = person.male.map(|male| if male { "male" } else { "female" });
    of_age && (peers.sex.is_none() || peers.sex.as_deref() == sex)
}

/// The panels with inputs hidden at random, age and sex excepted.
fn hidden(inputs: &[Matrix], seed: u64) -> Vec<Matrix> {
    let mut hidden = inputs.to_vec();
    if let ([_, before], [_, after]) = (inputs, &mut hidden[..]) {
        hide(after, &mut ChaCha8Rng::seed_from_u64(SEED + seed));
        let cols = after.cols.max(1);
        for (after, before) in after.data.chunks_exact_mut(cols).zip(before.data.chunks_exact(cols)) {
            after[..super::cox::PEERS].copy_from_slice(&before[..super::cox::PEERS]);
        }
    }
    hidden
}

/// A network fitted again on another draw of the training people, with its own peers.
pub(super) struct Refit {
    seed: u64,
    trainee: Trainee,
    risk: Risk,
}

impl Refit {
    /// Its peers are the people of `peers`.
    pub(super) fn fit(prepared: &Prepared, peers: &[usize], seed: u64) -> Result<Self> {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED + seed);
        let people = &prepared.parts.train;
        let train: Vec<usize> = people.iter().map(|_| people[rng.random_range(0..people.len())]).collect();
        let trainee = Trainee::new(&HealthScore.network())?;
        trainee.standardise_panel(prepared, &COLUMNS)?;
        let validation = &prepared.parts.validation;
        let cohort = cohort(prepared)?;
        let objective =
            Cox { cohort, trainee: &trainee, train: &train, validation, hiding: true, asked: &ASKED };
        let plan = Plan { epochs_max: REFIT_EPOCHS, ..plan(SEED + seed) };
        optimise::fit("health-score", trainee.weights(), &objective, &plan, &Progress::hidden())?;
        let moved = excess(&prepared.pick(peers), &mut |inputs| log_risks(&trainee, inputs))?;
        let risk = Risk {
            event: "death".into(),
            horizon_years: 1.0,
            baseline_hazard: 1.0,
            background_hazard: 0.0,
            slope: 1.0,
            spread: RiskSpread::default(),
            references: references(prepared, peers, &moved)?,
            bins: Vec::new(),
        };
        Ok(Self { seed, trainee, risk })
    }

    fn excess(&self, inputs: &[Matrix]) -> Result<Vec<f64>> {
        excess(inputs, &mut |inputs| log_risks(&self.trainee, inputs))
    }
}

/// Log-risks by a network that is still in training.
pub(super) fn log_risks(trainee: &Trainee, inputs: &[Matrix]) -> Result<Vec<f64>> {
    let mean: Vec<f32> = trainee.raw(inputs)?.mean(0)?.flatten_all()?.to_vec1()?;
    Ok(mean.into_iter().map(f64::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_hold_nine_in_ten_with_and_without_gaps() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut draw = |sd: f64| sd * 3f64.sqrt() * rng.random_range(-1.0..1.0);
        let moves: Vec<Move> = (0..8_000)
            .map(|at| {
                let hidden: Vec<bool> = (0..COLUMNS.len()).map(|col| col == 4 && at % 2 == 1).collect();
                let whole = 50.0 + draw(6.0) + if hidden[4] { draw(15.0) } else { 0.0 };
                Move { at, said: 50.0, whole, hidden }
            })
            .collect();
        let missing =
            COLUMNS.map(|of| MissingSpread { feature: of.name().into(), log_risk_sd: 0.1, score_sd: 15.0 });
        let spread =
            RiskSpread { score_sd_unmeasured: 30.0, missing: missing.into(), ..RiskSpread::default() };
        let found = width(&spread, &mut moves.iter()).expect("moves");
        let reach =
            |of: &Move| found.half_width.hypot(found.missing_factor * spread.points(|name| of.lacks(name)));
        for hidden in [0, 1] {
            let own: Vec<&Move> = moves.iter().filter(|of| of.lacking() == hidden).collect();
            let held = own.iter().filter(|of| (of.said - of.whole).abs() <= reach(of)).count();
            assert!((held as f64 / own.len() as f64 - COVERAGE).abs() < 0.01, "{hidden}: {held}");
        }
        assert!(found.half_width < 11.0, "{found:?}");
    }
}
