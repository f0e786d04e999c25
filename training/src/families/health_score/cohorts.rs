//! The published protocol: five networks on two cohorts, every person answered by the one that never saw them, beside a
//! linear Cox model and age alone.
//!
//! The networks are of the same kind as the one that ships, but see the columns of the protocol, and gaps as the data
//! has them: FIB-4 is on record only where it is high, so that its absence is worth knowing here and nowhere else. That
//! is why these figures are a comparison of methods, not what the bundle is worth.

use anyhow::{Context as _, Result};
use models::bundle::{BodyConfig, NetworkConfig, RisingConfig, RiskConfig};

use super::super::matrix::Matrix;
use super::super::out_of_fold::{FOLDS, SEED, around, folds};
use super::super::recipe::Context;
use super::super::trainee::Trainee;
use super::cox::{Cohort, Cox};
use super::figures::with_gaps;
use super::spread::log_risks;
use super::{SYSTOLIC_RISING_MMHG, YEAR_DAYS};
use crate::data::Sex;
use crate::data::mortality::FollowUp;
use crate::data::mortality::flchain::{self, FlchainRow};
use crate::data::mortality::nafld::{self, HISTORY, NafldRow};
use crate::evaluate::baseline::Cox as Linear;
use crate::evaluate::bootstrap::{interval, pick};
use crate::evaluate::{Benchmark, Target, metrics};
use crate::optimise::{self, Plan};

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    /// Spread over decades: the network sees the logarithm.
    Decades,
    /// 0 or 1.
    Flag,
    /// 0 or 1, and the risk never falls with it.
    RisingFlag,
    /// The risk never falls above this value.
    RisingFrom(f64),
}

/// One cohort as the protocol has it; the first column is age.
struct Table {
    name: &'static str,
    target: f64,
    kinds: Vec<Kind>,
    inputs: [Matrix; 2],
    years: Vec<f64>,
    died: Vec<bool>,
    plan: Plan,
    /// Networks of one fold.
    networks: usize,
}

/// One row to learn from in so many is kept to stop on.
const VALIDATION_EVERY: usize = 7;

impl Table {
    fn new(name: &'static str, target: f64, kinds: Vec<Kind>, networks: usize, plan: Plan) -> Self {
        let empty = || Matrix::new(kinds.len());
        let inputs = [empty(), empty()];
        Self { name, target, kinds, inputs, years: Vec::new(), died: Vec::new(), plan, networks }
    }

    fn push(&mut self, cells: &[Option<f64>], follow_up: FollowUp) {
        let [values, present] = &mut self.inputs;
        values.push(&cells.iter().map(|cell| cell.unwrap_or(0.0) as f32).collect::<Vec<_>>());
        present.push(&cells.iter().map(|cell| f32::from(u8::from(cell.is_some()))).collect::<Vec<_>>());
        self.years.push(follow_up.days / YEAR_DAYS);
        self.died.push(follow_up.died);
    }

    fn cohort(&self) -> Cohort<'_> {
        Cohort { inputs: &self.inputs, years: &self.years, died: &self.died }
    }

    fn network(&self) -> NetworkConfig {
        let from = |kind: &Kind| match kind {
            Kind::RisingFlag => Some(0.0),
            Kind::RisingFrom(from) => Some(*from),
            Kind::Plain | Kind::Decades | Kind::Flag => None,
        };
        let of = |(column, kind)| Some(RisingConfig { column, from: from(kind)?, absent: None });
        let rising = self.kinds.iter().enumerate().filter_map(of).collect();
        let body = BodyConfig { members: 16, skip: true, ..BodyConfig::new([64]) };
        NetworkConfig::Risk(RiskConfig { inputs: self.kinds.len(), masked: true, rising, body })
    }

    /// Sets centre and spread of every column from what `rows` have.
    fn standardise(&self, trainee: &Trainee, rows: &[usize]) -> Result<()> {
        let gaps = with_gaps(&self.cohort().pick(rows));
        let (mut centres, mut scales, mut logs) = (Vec::new(), Vec::new(), Vec::new());
        for (column, kind) in self.kinds.iter().enumerate() {
            let decades = *kind == Kind::Decades;
            let seen = |row: &Vec<f64>| if decades { row[column].max(1e-3).ln() } else { row[column] };
            let known: Vec<f64> = gaps.iter().filter(|row| row[column].is_finite()).map(seen).collect();
            let mean = metrics::mean(known.iter().copied());
            let spread = metrics::mean(known.iter().map(|v| (v - mean).powi(2))).sqrt();
            let flag = matches!(kind, Kind::Flag | Kind::RisingFlag);
            centres.push(if flag { 0.0 } else { mean as f32 });
            scales.push(if flag || spread < 1e-6 { 1.0 } else { spread as f32 });
            logs.push(f32::from(u8::from(decades)));
        }
        trainee.weights().set("standardise.center", &centres)?;
        trainee.weights().set("standardise.scale", &scales)?;
        trainee.weights().set("standardise.log", &logs)
    }
}

/// `flchain/c_index` and `nafld/c_index`.
pub(super) fn benchmarks(context: &Context) -> Result<Vec<Benchmark>> {
    let mut tables = [flchain_table(), nafld_table()];
    let [flchain, nafld] = &mut tables;
    flchain::load(&context.store)?
        .rows
        .iter()
        .for_each(|row| flchain.push(&flchain_cells(row), row.follow_up));
    nafld::load(&context.store)?.rows.iter().for_each(|row| nafld.push(&nafld_cells(row), row.follow_up));
    tables.iter().map(|table| benchmark(table, context)).collect()
}

fn flchain_table() -> Table {
    let kinds = vec![Kind::Plain, Kind::Flag, Kind::Decades, Kind::Decades, Kind::Decades, Kind::RisingFlag];
    let plan = Plan { batch_rows: 512, learning_rate: 3e-3, weight_decay: 0.05, ..Plan::default() };
    Table::new("flchain", 0.800, kinds, 3, plan)
}

fn flchain_cells(row: &FlchainRow) -> [Option<f64>; 6] {
    let yes = |yes: bool| Some(f64::from(u8::from(yes)));
    let FlchainRow { id: _, age_years, sex, kappa_mg_dl, lambda_mg_dl, creatinine_mg_dl, mgus, follow_up: _ } =
        row;
    [Some(*age_years), yes(*sex == Sex::Male), *kappa_mg_dl, *lambda_mg_dl, *creatinine_mg_dl, yes(*mgus)]
}

/// Diagnoses in which the risk may fall: it does with dyslipidaemia, which is looked for in those who see a doctor.
const FREE_HISTORY: &str = "dyslipidemia";

fn nafld_table() -> Table {
    let mut kinds = vec![
        Kind::Plain,
        Kind::Flag,
        Kind::Plain,
        Kind::Plain,
        Kind::RisingFrom(SYSTOLIC_RISING_MMHG),
        Kind::Decades,
        Kind::RisingFlag,
    ];
    let kind = |name: &&str| if *name == FREE_HISTORY { Kind::Flag } else { Kind::RisingFlag };
    kinds.extend(HISTORY.iter().map(kind));
    let plan = Plan { batch_rows: 1024, learning_rate: 3e-3, weight_decay: 0.05, ..Plan::default() };
    Table::new("nafld", 0.855, kinds, 1, plan)
}

fn nafld_cells(row: &NafldRow) -> Vec<Option<f64>> {
    let yes = |yes: bool| Some(f64::from(u8::from(yes)));
    let first = [
        Some(row.age_years),
        yes(row.sex == Sex::Male),
        row.bmi_kg_m2,
        row.hdl_mg_dl,
        row.systolic_mmhg,
        row.fib4,
        row.smoker.and_then(yes),
    ];
    first.into_iter().chain(HISTORY.iter().map(|name| yes(row.had(name)))).collect()
}

fn benchmark(table: &Table, context: &Context) -> Result<Benchmark> {
    let rows: Vec<usize> = (0..table.years.len()).collect();
    let folds = folds(&table.died.iter().map(|died| usize::from(*died)).collect::<Vec<_>>());
    let (mut network, mut linear) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
    for (number, fold) in folds.iter().enumerate() {
        let parts = around(&folds, number, &rows);
        // Back in the order of the data set, in which no class stands together.
        let mut learnt: Vec<usize> = parts.train.iter().chain(&parts.validation).copied().collect();
        learnt.sort_unstable();
        let answers = networks_of(table, &learnt, fold, context)
            .with_context(|| format!("fold {} of `{}`", number + 1, table.name))?;
        let cohort = table.cohort();
        let (years, died) = (pick(cohort.years, &learnt), pick(cohort.died, &learnt));
        let cox = Linear::fit(&with_gaps(&cohort.pick(&learnt)), &years, &died);
        let asked = with_gaps(&cohort.pick(fold));
        for ((place, answer), row) in fold.iter().zip(answers).zip(&asked) {
            (network[*place], linear[*place]) = (answer, cox.predict(row));
        }
    }
    judge(table, &rows, &network, &linear).context("nobody died")
}

/// Mean log-risk of the networks of one fold. Each stops on other rows, so that all of `learnt` is learnt from.
fn networks_of(table: &Table, learnt: &[usize], asked: &[usize], context: &Context) -> Result<Vec<f64>> {
    let cohort = table.cohort();
    let mut sums = vec![0.0; asked.len()];
    for number in 0..table.networks {
        let is_kept = |at: &usize| at % VALIDATION_EVERY == number;
        let (validation, train): (Vec<usize>, Vec<usize>) = (0..learnt.len()).partition(is_kept);
        let (validation, train) = (pick(learnt, &validation), pick(learnt, &train));
        let trainee = Trainee::new(&table.network())?;
        table.standardise(&trainee, &train)?;
        let objective = Cox {
            cohort,
            trainee: &trainee,
            train: &train,
            validation: &validation,
            hiding: false,
            asked: &[],
        };
        let epochs_max = context.effort.choose(60, 1);
        let plan = Plan { epochs_max, seed: context.seed + number as u64, ..table.plan };
        optimise::fit(table.name, trainee.weights(), &objective, &plan, &context.progress)?;
        let answers = log_risks(&trainee, &cohort.pick(asked))?;
        sums.iter_mut().zip(answers).for_each(|(sum, answer)| *sum += answer / table.networks as f64);
    }
    Ok(sums)
}

fn judge(table: &Table, rows: &[usize], network: &[f64], linear: &[f64]) -> Option<Benchmark> {
    let Cohort { inputs, years, died } = table.cohort();
    let c_of =
        |risk: &[f64], at: &[usize]| metrics::harrell_c(&pick(risk, at), &pick(years, at), &pick(died, at));
    let people: Vec<u64> = rows.iter().map(|row| *row as u64).collect();
    let age = c_of(&inputs[0].column(0), rows)?;
    let gain = interval(&people, |at| Some(c_of(network, at)? - c_of(linear, at)?));
    let protocol = format!("{FOLDS}-fold out of fold, seed {SEED}; Harrell C; age alone {age:.4}");
    let target = Target::AtLeast(table.target);
    let key = format!("{}/c_index", table.name);
    let benchmark = Benchmark::new(key, c_of(network, rows)?, target, rows.len(), &protocol);
    let benchmark = benchmark.between(interval(&people, |at| c_of(network, at)));
    Some(benchmark.against("linear Cox", c_of(linear, rows), gain))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_of_a_protocol_has_a_kind() {
        let flchain = FlchainRow {
            id: 1,
            age_years: 70.0,
            sex: Sex::Male,
            kappa_mg_dl: Some(1.0),
            lambda_mg_dl: None,
            creatinine_mg_dl: None,
            mgus: true,
            follow_up: FollowUp { days: 10.0, died: true },
        };
        let cells = flchain_cells(&flchain);
        assert_eq!(cells, [Some(70.0), Some(1.0), Some(1.0), None, None, Some(1.0)]);
        assert_eq!(flchain_table().kinds.len(), cells.len());
        let mut table = flchain_table();
        table.push(&cells, flchain.follow_up);
        assert_eq!(table.inputs[1].row(0), [1.0, 1.0, 1.0, 0.0, 0.0, 1.0]);
        let nafld = NafldRow {
            id: 1,
            age_years: 61.0,
            sex: Sex::Female,
            bmi_kg_m2: None,
            height_cm: None,
            weight_kg: None,
            hdl_mg_dl: None,
            systolic_mmhg: None,
            fib4: Some(3.0),
            smoker: Some(true),
            history: 0b100,
            follow_up: FollowUp { days: 10.0, died: false },
        };
        let (cells, kinds) = (nafld_cells(&nafld), nafld_table().kinds);
        assert_eq!(
            (cells.len(), cells[5], cells[6], cells[9]),
            (kinds.len(), Some(3.0), Some(1.0), Some(1.0))
        );
        assert_eq!((kinds[9], kinds[8]), (Kind::Flag, Kind::RisingFlag), "dyslipidaemia is free");
    }

    #[test]
    fn only_what_rises_is_told_to_the_network() {
        let NetworkConfig::Risk(config) = nafld_table().network() else { panic!("a risk network") };
        let columns: Vec<usize> = config.rising.iter().map(|rising| rising.column).collect();
        assert_eq!(columns, [4, 6, 7, 8, 10, 11, 12, 13, 14, 15, 16]);
        assert_eq!(config.rising[0].from, SYSTOLIC_RISING_MMHG);
    }
}
