//! The loss of a proportional-hazards network, and what teaches it to do without an input.
//!
//! The first is the partial likelihood within each mini-batch (Breslow's handling of ties). Where an input is on record of
//! some only, those are compared with each other and the others with the others (a stratified likelihood), so that who
//! was asked teaches nothing. The second shows the network
//! every person once more with inputs hidden and asks for the answer to the whole panel, by absolute error, whose least
//! is the median: a person of whom little is known gets the answer of the average peer, not that of the average
//! hazard, which the few very sick pull far above. The likelihood leaves the level of the log-risk open, and with it the
//! two answers would chase each other without end; a small penalty keeps its mean at 0.

use anyhow::Result;
use candle_core::Tensor;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::super::matrix::Matrix;
use super::super::trainee::Trainee;
use crate::evaluate::bootstrap::pick;
use crate::optimise::Objective;

/// Columns that say whom a person is compared with: age and sex come first.
pub(super) const PEERS: usize = 2;
/// Probability that the age, and that the sex, is hidden.
const PEERS_HIDDEN: [f64; PEERS] = [0.05, 0.1];
/// Probability that everything but age and sex is hidden.
const ALL_HIDDEN: f64 = 0.2;
/// Weight of the answers to panels with gaps, small enough that the ranking hardly suffers.
const GAPS_WEIGHT: f64 = 0.3;
const SEED: u64 = 0x6869_6465;

/// People with their follow-up.
#[derive(Clone, Copy)]
pub(super) struct Cohort<'a> {
    /// Values, and marks of presence.
    pub(super) inputs: &'a [Matrix],
    pub(super) years: &'a [f64],
    pub(super) died: &'a [bool],
}

impl Cohort<'_> {
    pub(super) fn pick(&self, rows: &[usize]) -> Vec<Matrix> {
        self.inputs.iter().map(|input| input.pick(rows)).collect()
    }

    fn longest_first(&self, rows: &[usize]) -> Vec<usize> {
        let mut rows = rows.to_vec();
        rows.sort_by(|a, b| self.years[*b].total_cmp(&self.years[*a]).then(a.cmp(b)));
        rows
    }

    /// Which of the columns `asked` are on record.
    fn was_asked(&self, row: usize, asked: &[usize]) -> Vec<bool> {
        let Some(present) = self.inputs.get(1) else { return Vec::new() };
        let marks = present.row(row);
        asked.iter().map(|column| marks.get(*column).is_some_and(|mark| *mark > 0.0)).collect()
    }

    /// Negative log partial likelihood per death, the mean over members, those of whom the same of the columns `asked`
    /// are on record apart from the others. `log_risk` is `[members, rows]`, in the order of `rows`, which are sorted from the longest
    /// time down.
    fn loss_of(&self, log_risk: &Tensor, rows: &[usize], asked: &[usize]) -> Result<Tensor> {
        let n = rows.len();
        let deaths: Vec<f32> = rows.iter().map(|row| f32::from(u8::from(self.died[*row]))).collect();
        let count = deaths.iter().sum::<f32>().max(1.0);
        // Everyone with at least the same time is at risk: a lower triangle, wider where times are equal.
        let mut at_risk = vec![0.0_f32; n * n];
        let strata: Vec<Vec<bool>> = rows.iter().map(|row| self.was_asked(*row, asked)).collect();
        for (i, row) in rows.iter().enumerate() {
            let last = rows.partition_point(|other| self.years[*other] >= self.years[*row]);
            for (mark, stratum) in at_risk[i * n..i * n + last].iter_mut().zip(&strata) {
                *mark = f32::from(u8::from(*stratum == strata[i]));
            }
        }
        let at_risk = Tensor::from_vec(at_risk, (n, n), log_risk.device())?.t()?;
        let deaths = Tensor::from_vec(deaths, (1, n), log_risk.device())?;
        let top = log_risk.max_keepdim(1)?.detach();
        let relative = log_risk.broadcast_sub(&top)?.exp()?;
        let sums = relative.matmul(&at_risk)?.log()?.broadcast_add(&top)?;
        let members = log_risk.dim(0)?;
        Ok(((sums - log_risk)?.broadcast_mul(&deaths)?.sum_all()? / (f64::from(count) * members as f64))?)
    }
}

/// What a risk network is trained for.
pub(super) struct Cox<'a> {
    pub(super) cohort: Cohort<'a>,
    pub(super) trainee: &'a Trainee,
    pub(super) train: &'a [usize],
    pub(super) validation: &'a [usize],
    /// Whether it learns to do without inputs.
    pub(super) hiding: bool,
    /// Columns that are on record of some for reasons of their own.
    pub(super) asked: &'a [usize],
}

impl Cox<'_> {
    /// `[members, rows]`.
    fn log_risks(&self, inputs: &[Matrix]) -> Result<Tensor> {
        Ok(self.trainee.raw(inputs)?.squeeze(2)?)
    }

    /// How far answers to panels with inputs hidden are from the answers to the whole, and the level of these from 0.
    fn apart(&self, mut inputs: Vec<Matrix>, whole: &Tensor, rng: &mut ChaCha8Rng) -> Result<Tensor> {
        if let [_, present] = &mut inputs[..] {
            hide(present, rng);
        }
        let apart = (self.log_risks(&inputs)? - whole.detach())?.abs()?.mean_all()?;
        let level = whole.mean(1)?.sqr()?.mean_all()?;
        Ok(((apart * GAPS_WEIGHT)? + level)?)
    }
}

impl Objective for Cox<'_> {
    fn rows(&self) -> usize {
        self.train.len()
    }

    fn loss(&self, rows: &[usize], rng: &mut ChaCha8Rng) -> Result<Tensor> {
        let rows = self.cohort.longest_first(&pick(self.train, rows));
        let inputs = self.cohort.pick(&rows);
        let log_risks = self.log_risks(&inputs)?;
        let loss = self.cohort.loss_of(&log_risks, &rows, self.asked)?;
        if self.hiding { Ok((loss + self.apart(inputs, &log_risks, rng)?)?) } else { Ok(loss) }
    }

    fn validate(&self) -> Result<f64> {
        let rows = self.cohort.longest_first(self.validation);
        let inputs = self.cohort.pick(&rows);
        let log_risks = self.log_risks(&inputs)?.mean_keepdim(0)?;
        let mut figure = self.cohort.loss_of(&log_risks, &rows, self.asked)?;
        if self.hiding {
            // The same gaps each time, so that epochs can be told apart.
            let mut rng = ChaCha8Rng::seed_from_u64(SEED);
            let whole = self.log_risks(&inputs)?;
            figure = (figure + self.apart(inputs, &whole, &mut rng)?)?;
        }
        Ok(f64::from(figure.to_scalar::<f32>()?))
    }
}

/// Takes marks out of `present`: in every row of another share of the columns, in some rows of all but age and sex.
pub(super) fn hide(present: &mut Matrix, rng: &mut ChaCha8Rng) {
    for marks in present.data.chunks_exact_mut(present.cols.max(1)) {
        let share = if rng.random_bool(ALL_HIDDEN) { 1.0 } else { rng.random_range(0.0..1.0) };
        for (column, mark) in marks.iter_mut().enumerate() {
            if rng.random_bool(PEERS_HIDDEN.get(column).copied().unwrap_or(share)) {
                *mark = 0.0;
            }
        }
    }
}

/// The same people of whom only age and sex are known.
pub(super) fn unmeasured(inputs: &[Matrix]) -> Vec<Matrix> {
    let mut inputs = inputs.to_vec();
    if let [_, present] = &mut inputs[..] {
        let cols = present.cols.max(1);
        present.data.chunks_exact_mut(cols).for_each(|marks| marks[PEERS.min(cols)..].fill(0.0));
    }
    inputs
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};
    use models::bundle::{BodyConfig, NetworkConfig, RiskConfig};
    use proptest::prelude::*;

    use super::*;

    /// People with a follow-up.
    struct Followed {
        years: Vec<f64>,
        died: Vec<bool>,
    }

    impl Followed {
        fn cohort(&self) -> Cohort<'_> {
            Cohort { inputs: &[], years: &self.years, died: &self.died }
        }
    }

    #[test]
    fn the_partial_likelihood_matches_the_hand_count() {
        let followed = Followed { years: vec![3.0, 1.0, 2.0], died: vec![false, true, true] };
        let rows = followed.cohort().longest_first(&[0, 1, 2]);
        assert_eq!(rows, [0, 2, 1]);
        let log_risk = Tensor::from_slice(&[0.0_f32, 1.0, 2.0], (1, 3), &Device::Cpu).expect("tensor");
        let loss = followed.cohort().loss_of(&log_risk, &rows, &[]).and_then(|l| Ok(l.to_scalar::<f32>()?));
        // Death at 2 (log-risk 1) among {0, 1}; death at 1 (log-risk 2) among all three.
        let (e0, e1, e2) = (1.0_f64, 1.0_f64.exp(), 2.0_f64.exp());
        let expected = (((e0 + e1).ln() - 1.0) + ((e0 + e1 + e2).ln() - 2.0)) / 2.0;
        assert!((f64::from(loss.expect("loss")) - expected).abs() < 1e-5);
    }

    #[test]
    fn who_was_asked_is_compared_with_those_who_were_asked() {
        let people = [(5.0, false, 1.0), (4.0, true, 0.0), (3.0, true, 1.0), (2.0, false, 0.0)];
        let followed = Followed {
            years: people.iter().map(|p| p.0).collect(),
            died: people.iter().map(|p| p.1).collect(),
        };
        let marks = Matrix { cols: 1, data: people.iter().map(|p| p.2).collect() };
        let inputs = [marks.clone(), marks];
        let cohort = Cohort { inputs: &inputs, ..followed.cohort() };
        let loss = |risks: &[f32], asked: &[usize]| {
            let tensor = Tensor::from_slice(risks, (1, 4), &Device::Cpu).expect("tensor");
            let loss = cohort.loss_of(&tensor, &[0, 1, 2, 3], asked).and_then(|l| Ok(l.to_scalar::<f32>()?));
            loss.expect("loss")
        };
        let (here, there) = ([0.0, 1.0, 2.0, 3.0], [9.0, 1.0, 11.0, 3.0]);
        assert!((loss(&here, &[0]) - loss(&there, &[0])).abs() < 1e-5, "their level counts for nothing");
        assert!((loss(&here, &[]) - loss(&there, &[])).abs() > 1.0);
    }

    #[test]
    fn age_and_sex_stay_when_all_else_is_hidden() {
        let present = Matrix { cols: 4, data: vec![1.0; 400] };
        let bare = unmeasured(&[present.clone(), present.clone()]);
        assert_eq!((bare[1].row(7), bare[0].row(7)), (&[1.0, 1.0, 0.0, 0.0][..], &[1.0; 4][..]));
        let mut some = present;
        hide(&mut some, &mut ChaCha8Rng::seed_from_u64(1));
        let left = |col: usize| some.column(col).iter().sum::<f64>() / 100.0;
        assert!(left(0) > 0.85 && left(1) > 0.8 && (0.2..0.6).contains(&left(3)), "{}", left(3));
    }

    /// Of people who are alike but for one input, most low and a few very high, the hidden answer is the median.
    #[test]
    fn who_is_unmeasured_is_answered_like_the_median_peer() {
        let n = 200;
        let (mut values, mut present) = (Matrix::new(3), Matrix::new(3));
        for row in 0..n {
            values.push(&[0.0, 0.0, if row % 4 == 0 { 1.0 } else { 0.0 }]);
            present.push(&[1.0; 3]);
        }
        let years: Vec<f64> = (0..n).map(|row| if row % 4 == 0 { 1.0 } else { 2.0 + row as f64 }).collect();
        let died: Vec<bool> = (0..n).map(|row| row % 4 == 0 || row % 9 == 0).collect();
        let body = BodyConfig { skip: true, ..BodyConfig::new([8]) };
        let config = RiskConfig { inputs: 3, masked: true, rising: Vec::new(), body };
        let trainee = Trainee::new(&NetworkConfig::Risk(config)).expect("network");
        let inputs = [values, present];
        let rows: Vec<usize> = (0..n).collect();
        let cohort = Cohort { inputs: &inputs, years: &years, died: &died };
        let cox =
            Cox { cohort, trainee: &trainee, train: &rows, validation: &rows, hiding: true, asked: &[] };
        let plan = crate::optimise::Plan {
            epochs_max: 300,
            patience_epochs: 300,
            batch_rows: 100,
            learning_rate: 1e-2,
            ..crate::optimise::Plan::default()
        };
        let progress = crate::optimise::Progress::hidden();
        crate::optimise::fit("median", trainee.weights(), &cox, &plan, &progress).expect("trained");
        let answer = |inputs: &[Matrix]| {
            trainee.raw(inputs).and_then(|raw| Ok(raw.flatten_all()?.to_vec1::<f32>()?))
        };
        let whole = answer(&cohort.pick(&[0, 1])).expect("answers");
        let bare = answer(&unmeasured(&cohort.pick(&[0]))).expect("answer")[0];
        assert!(whole[0] > whole[1] + 1.0, "{whole:?}");
        assert!((bare - whole[1]).abs() < 0.2 * (whole[0] - whole[1]), "{bare} {whole:?}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        /// The loss by the double sum over deaths and those at risk, its slope by small steps of it.
        #[test]
        fn the_loss_is_the_partial_likelihood_and_its_slope_the_difference_quotient(
            people in prop::collection::vec((1u8..6, any::<bool>(), -2.0f32..2.0), 2..14),
        ) {
            let followed = Followed {
                years: people.iter().map(|p| f64::from(p.0)).collect(),
                died: people.iter().map(|p| p.1).collect(),
            };
            let rows = followed.cohort().longest_first(&(0..people.len()).collect::<Vec<_>>());
            let risks: Vec<f64> = rows.iter().map(|row| f64::from(people[*row].2)).collect();
            let book = |risks: &[f64]| {
                let dead = rows.iter().enumerate().filter(|(_, row)| people[**row].1);
                let term = |(at, row): (usize, &usize)| {
                    let at_risk = (0..rows.len()).filter(|other| people[rows[*other]].0 >= people[*row].0);
                    at_risk.map(|other| risks[other].exp()).sum::<f64>().ln() - risks[at]
                };
                dead.clone().map(term).sum::<f64>() / dead.count().max(1) as f64
            };
            // Two members with the same answers: their mean is the loss of either.
            let wide: Vec<f32> = risks.iter().chain(&risks).map(|risk| *risk as f32).collect();
            let var = Var::from_tensor(&Tensor::from_vec(wide, (2, rows.len()), &Device::Cpu)?)?;
            let loss = followed.cohort().loss_of(var.as_tensor(), &rows, &[]).expect("loss");
            prop_assert!((f64::from(loss.to_scalar::<f32>()?) - book(&risks)).abs() < 1e-4);
            let slopes = loss.backward()?;
            let slopes: Vec<Vec<f32>> = slopes.get(&var).expect("a slope").to_vec2()?;
            for (at, slope) in slopes[0].iter().enumerate() {
                let step = |by: f64| {
                    let mut moved = risks.clone();
                    moved[at] += by;
                    book(&moved)
                };
                let quotient = (step(1e-4) - step(-1e-4)) / 2e-4;
                prop_assert!((2.0 * f64::from(*slope) - quotient).abs() < 1e-3, "{slope} {quotient}");
            }
        }
    }
}
