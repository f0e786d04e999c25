//! Risk of death among peers, behind the health score: a Cox model whose log-risk is a small network.
//!
//! The loss and how the network learns to do without an input are `cox`; how far its answers can be trusted is
//! `spread`; what is measured is `figures`; the published protocols are `cohorts`. Where medicine knows the direction
//! of an input the network cannot go the other way. Age and sex are inputs; the score itself compares with people of the
//! same age and sex, which is the calibration's business.

mod cohorts;
mod cox;
mod figures;
mod spread;

use anyhow::{Context as _, Result};
use clinical::{Biomarker as B, Finding as F};
use models::bundle::{BodyConfig, Family, NetworkConfig, RisingConfig, RiskConfig, TensorConfig};
use models::calibration::{COVERAGE, Calibration, Part, RiskCase, RiskSpread, fit_risk};
use rand_chacha::ChaCha8Rng;

use self::cox::{Cohort, Cox};
use super::columns::{Column, Panels};
use super::golden;
use super::matrix::Matrix;
use super::parts::Parts;
use super::recipe::{Context, Person, Prepared, Recipe, Spec, Truth};
use super::runner::Runner;
use super::trainee::Trainee;
use crate::data::mortality::nafld::{self, NafldRow};
use crate::data::{Fractions, Sex};
use crate::evaluate::{Benchmark, Measure};
use crate::optimise::{self, Outcome, Plan};

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
/// Share of the known that smoke, for which an unknown is taken: who was asked differs from who was not, so that being on
/// record must not count.
const SMOKERS: f64 = 0.3;
/// The same of diagnoses: the share of the cohort that has each at the start.
const DIAGNOSED: [(F, f64); 6] = [
    (F::DiabetesDiagnosed, 0.14),
    (F::Hypertension, 0.29),
    (F::PriorMyocardialInfarction, 0.04),
    (F::PriorStroke, 0.06),
    (F::HeartFailure, 0.05),
    (F::LiverDisease, 0.2),
];
const HORIZON_YEARS: f64 = 10.0;
const YEAR_DAYS: f64 = 365.25;
/// Systolic pressure from which more is never better: down to it, deaths fell with pressure in a million adults
/// (Prospective Studies Collaboration, Lancet 2002).
const SYSTOLIC_RISING_MMHG: f64 = 115.0;
/// Body mass index from which more is never better: where obesity begins (WHO 2000); from there on, deaths rose in four
/// million people who never smoked (Global BMI Mortality Collaboration, Lancet 2016).
const BODY_MASS_RISING_KG_M2: f64 = 30.0;
/// HDL cholesterol from which more is never better: deaths were fewest at 73 mg/dL in men and at 93 in women (Madsen and
/// others, European Heart Journal 2017).
const HDL_RISING_MG_DL: f64 = 90.0;
/// What an absent value is taken for, about the median of those on record: so that to be on record counts for nothing.
const TYPICAL_SYSTOLIC_MMHG: f64 = 130.0;
const TYPICAL_BODY_MASS_KG_M2: f64 = 29.0;
const TYPICAL_HDL_MG_DL: f64 = 50.0;

/// Columns that are on record of some and not of others, for reasons of their own: body mass, HDL, pressure, smoking. In
/// the data, those who had their lipids measured live longer whatever the value is; that somebody sends a value says
/// nothing of the kind.
const ASKED: [usize; 4] = [2, 3, 4, 5];

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

/// Columns in which the risk never falls: smoking, every diagnosis, and pressure, body mass and HDL where they are high.
/// Age is free, and so are the lower ends of the others: too little is no better than too much. A finding that is not on
/// record counts as something between no and yes, never as worse than yes or better than no; a value, as a typical one.
fn rising() -> Vec<RisingConfig> {
    let from = |column: &Column| match column {
        Column::Finding(F::Smoker) => Some((0.0, Some(SMOKERS))),
        Column::Finding(of) => {
            Some((0.0, DIAGNOSED.iter().find(|(known, _)| known == of).map(|(_, share)| *share)))
        }
        Column::Marker(B::SystolicBp) => Some((SYSTOLIC_RISING_MMHG, Some(TYPICAL_SYSTOLIC_MMHG))),
        Column::Marker(B::Bmi) => Some((BODY_MASS_RISING_KG_M2, Some(TYPICAL_BODY_MASS_KG_M2))),
        Column::Marker(B::Hdl) => Some((HDL_RISING_MG_DL, Some(TYPICAL_HDL_MG_DL))),
        Column::Age | Column::SexMale | Column::Marker(_) => None,
    };
    let of = |(column, kind)| from(kind).map(|(from, absent)| RisingConfig { column, from, absent });
    COLUMNS.iter().enumerate().filter_map(of).collect()
}

fn cohort(prepared: &Prepared) -> Result<Cohort<'_>> {
    match &prepared.truth {
        Truth::FollowUp { years, died } => Ok(Cohort { inputs: &prepared.inputs, years, died }),
        Truth::Class(_) | Truth::Values { .. } | Truth::Strange(_) => {
            anyhow::bail!("a risk model needs follow-up")
        }
    }
}

/// How the network learns, once for the bundle and again for its spread.
fn plan(seed: u64) -> Plan {
    Plan { batch_rows: 2048, learning_rate: 3e-3, weight_decay: 0.05, seed, ..Plan::default() }
}

impl Recipe for HealthScore {
    fn spec(&self) -> Spec {
        Spec {
            name: "health-score",
            version: "MPS-HEALTH-SCORE-v1.3.0-FP32",
            family: Family::HealthScore,
            task: "mortality",
            intended_use: "Ranks an adult's risk of death within ten years among people of the same age and sex, as \
                           the ground of a health score, for orientation. Not for diagnosis or insurance.",
            synthetic: false,
            limits: &[
                "Residents of one county in Minnesota; most of European descent.",
                "Half of the people were picked because of fatty liver disease, the others as their peers.",
                "In the data an absent diagnosis counts as no diagnosis. Smoking is on record for one in ten, lipids, \
                 pressure and body mass for most, and who was asked differs from who was not; the network learns from \
                 people of whom the same is on record beside each other, and takes an absent value for a typical one. No smoker scores better than an unknown, and \
                 no unknown better than a non-smoker.",
                "The interval of the score holds what the score would be if absent inputs were known and the network \
                 had learnt from other people of the same county; that people elsewhere differ is not in it.",
                "FIB-4 is on record only where it is high, so it is not an input.",
                "The risk never falls with smoking, a diagnosis, systolic pressure above 115 mmHg, HDL above 90 mg/dL, or body mass above \
                 30 kg/m2, because the network cannot; other inputs act as in the data, and associations are not causes.",
                "Inputs of one bundle explain each other: a diagnosis that changes no risk here may do so elsewhere.",
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
        let body = BodyConfig { members: 8, skip: true, ..BodyConfig::new([32]) };
        NetworkConfig::Risk(RiskConfig { inputs: COLUMNS.len(), masked: true, rising: rising(), body })
    }

    fn prepare(&self, context: &Context, _seed: u64) -> Result<Prepared> {
        let dataset = nafld::load(&context.store)?;
        let mut panels = Panels::new(&COLUMNS);
        dataset.rows.iter().for_each(|row| panels.push(|column| cell(row, column)));
        let parts = Parts::of(&dataset, Fractions::default(), 0.15)?;
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
        trainee.standardise_panel(prepared, &COLUMNS)?;
        let Parts { train, validation, .. } = &prepared.parts;
        let objective =
            Cox { cohort: cohort(prepared)?, trainee, train, validation, hiding: true, asked: &ASKED };
        let epochs_max = context.effort.choose(60, 1);
        let plan = Plan { epochs_max, ..plan(context.seed) };
        optimise::fit(self.spec().name, trainee.weights(), &objective, &plan, &context.progress)
    }

    fn calibrate(&self, prepared: &Prepared, runner: &mut Runner) -> Result<(Part, usize)> {
        let rows = &prepared.parts.calibration;
        let Cohort { years, died, .. } = cohort(prepared)?;
        let inputs = prepared.pick(rows);
        let log_risks = runner.first(&inputs)?.column(0);
        let case = |(row, log_risk): (&usize, &f64)| RiskCase {
            log_risk: *log_risk,
            years: years[*row],
            event: died[*row],
        };
        let cases: Vec<RiskCase> = rows.iter().zip(&log_risks).map(case).collect();
        let excess = spread::excess(&inputs, &mut |inputs| Ok(runner.first(inputs)?.column(0)))?;
        let references = spread::references(prepared, rows, &excess)?;
        let fitted = fit_risk("death", HORIZON_YEARS, &cases, references, RiskSpread::default(), COVERAGE);
        let mut risk = fitted.context("nobody died before the horizon")?;
        spread::measure(&mut risk, prepared, rows, runner)?;
        // The level, one figure for everybody, is pinned down by the deaths seen only so far (Poisson, 90 %).
        let deaths = cases.iter().filter(|case| case.event).count() as f64;
        risk.spread.log_risk_half_width = risk.spread.log_risk_half_width.hypot(1.645 / deaths.sqrt());
        Ok((Part::Risk(risk), rows.len()))
    }

    fn measure(
        &self,
        prepared: &Prepared,
        runner: &mut Runner,
        calibration: &Calibration,
    ) -> Result<Vec<Measure>> {
        figures::measure(prepared, runner, calibration)
    }

    fn benchmarks(&self, context: &Context) -> Result<Vec<Benchmark>> {
        cohorts::benchmarks(context)
    }

    fn remarks(&self, measures: &[Measure]) -> Vec<String> {
        super::aim(measures, "c_index_gain_over_age", |v| v > 0.0, "concordance above that of age alone")
    }

    fn golden(&self, prepared: &Prepared, rng: &mut ChaCha8Rng) -> Vec<Matrix> {
        golden::panels(prepared, &COLUMNS, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::mortality::FollowUp;

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
            fib4: None,
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
    fn what_harms_never_helps_and_what_is_absent_counts_as_typical() {
        let rising = rising();
        let from = |column: Column| {
            let at = COLUMNS.iter().position(|of| *of == column);
            rising.iter().find(|rising| Some(rising.column) == at).map(|rising| rising.from)
        };
        assert!(COLUMNS.iter().filter(|c| matches!(c, Column::Finding(_))).all(|c| from(*c) == Some(0.0)));
        assert_eq!(from(Column::Marker(B::SystolicBp)), Some(SYSTOLIC_RISING_MMHG));
        assert_eq!(from(Column::Marker(B::Bmi)), Some(BODY_MASS_RISING_KG_M2));
        assert_eq!(from(Column::Marker(B::Hdl)), Some(HDL_RISING_MG_DL));
        assert!(rising.iter().all(|of| of.absent.is_some()), "to be on record counts for nothing");
        assert_eq!((from(Column::Age), cox::PEERS), (None, 2));
        let asked = ASKED.map(|at| COLUMNS[at]);
        let markers = [B::Bmi, B::Hdl, B::SystolicBp].map(Column::Marker);
        assert_eq!((&asked[..3], asked[3]), (&markers[..], Column::Finding(F::Smoker)));
        let stands_in = |rising: &&RisingConfig| matches!(COLUMNS[rising.column], Column::Finding(_));
        assert!(rising.iter().filter(stands_in).all(|of| of.absent.is_some_and(|v| (0.0..1.0).contains(&v))));
    }
}
