//! Pictures of the test rows by what is true of them: what every model of a kind has. A recipe may add its own.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result};
use models::bundle::ForecastConfig;
use models::calibration::{Calibration, Cohort, Part, Quantiles, spread};

use super::columns::Panels;
use super::matrix::Matrix;
use super::recipe::{Prepared, Recipe, Truth};
use super::rivals;
use super::runner::Runner;
use crate::evaluate::bootstrap::pick;
use crate::evaluate::plots::{self, Axis, Band, Fan, Followed, Horizon, Plot, Rival};

/// Most classes that each get curves of their own.
const CLASSES_MAX: usize = 5;
/// Most outputs and examples that each get a picture.
const EXAMPLES_MAX: usize = 4;

/// The pictures of one model on its test rows.
pub(super) fn of(
    recipe: &dyn Recipe,
    prepared: &Prepared,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Plot>> {
    let mut drawn = match (&prepared.truth, recipe.forecast()) {
        (Truth::Class(_), _) => of_classes(recipe, prepared, runner)?,
        (Truth::Strange(strange), _) => of_scores(prepared, strange, runner, calibration)?,
        (Truth::FollowUp { years, died }, _) => of_risks(prepared, years, died, runner, calibration)?,
        (Truth::Values { values, .. }, Some(grid)) => {
            of_forecasts(recipe, prepared, values, &grid, runner, calibration)?
        }
        (Truth::Values { values, known }, None) => of_values(recipe, prepared, values, known, runner)?,
    };
    drawn.extend(recipe.plots(prepared, runner, calibration)?);
    Ok(drawn)
}

/// Every question of a classifier; of many classes the confusion and the calibration only.
fn of_classes(recipe: &dyn Recipe, prepared: &Prepared, runner: &mut Runner) -> Result<Vec<Plot>> {
    let questions = recipe.questions();
    if questions.is_empty() {
        let probabilities = runner.first(&prepared.pick(&prepared.parts.test))?;
        let table = |rows: &[usize]| prepared.inputs[0].pick(rows).to_f64();
        let few = prepared.labels.len() <= CLASSES_MAX;
        let rivals = if few { rivals::of_table(prepared, prepared.labels.len(), table) } else { Vec::new() };
        return Ok(one_question(recipe.spec().task, prepared, &probabilities, rivals));
    }
    let mut drawn = Vec::new();
    for question in questions {
        let [values, present] = &prepared.inputs[..] else { anyhow::bail!("a panel has values and marks") };
        let panels =
            Panels { columns: question.columns.clone(), values: values.clone(), present: present.clone() };
        let test = &prepared.parts.test;
        let probabilities = runner.first(&[values.pick(test), panels.hiding(test, &question.hidden)])?;
        let rivals = rivals::of_panels(prepared, &question.columns, prepared.labels.len(), &question.hidden);
        drawn.extend(one_question(question.task, prepared, &probabilities, rivals));
    }
    Ok(drawn)
}

fn one_question(task: &str, prepared: &Prepared, probabilities: &Matrix, rivals: Vec<Rival>) -> Vec<Plot> {
    let truth = pick(prepared.truth.classes(), &prepared.parts.test);
    let classes = prepared.labels.len();
    let scores: Vec<f64> = probabilities.data.iter().map(|p| f64::from(*p)).collect();
    let mut drawn = Vec::new();
    let methods: Vec<Rival> =
        [Rival { name: "model".into(), scores: scores.clone() }].into_iter().chain(rivals).collect();
    let shown = match classes {
        2 => 1..2,
        more if more <= CLASSES_MAX => 0..more,
        _ => 0..0,
    };
    for class in shown {
        let of_class = |method: &Rival| Rival {
            name: method.name.clone(),
            scores: method.scores.iter().skip(class).step_by(classes).copied().collect(),
        };
        let methods: Vec<Rival> = methods.iter().map(of_class).collect();
        let positive: Vec<bool> = truth.iter().map(|t| *t == class).collect();
        let what = format!("{task}, {}", prepared.labels[class]);
        drawn.push(plots::roc(&what, &methods, &positive));
        drawn.push(plots::precision_recall(&what, &methods, &positive));
    }
    drawn.push(plots::reliability(task, &scores, &truth, classes));
    drawn.push(plots::confusion(task, &prepared.labels, &scores, &truth));
    drawn
}

fn of_scores(
    prepared: &Prepared,
    strange: &[bool],
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Plot>> {
    let rows = &prepared.parts.test;
    let errors = runner.first(&prepared.pick(rows))?.column(0);
    let truth = pick(strange, rows);
    let methods = [Rival { name: "model".into(), scores: errors.clone() }];
    let mut drawn = vec![
        plots::roc("out of the ordinary", &methods, &truth),
        plots::precision_recall("out of the ordinary", &methods, &truth),
    ];
    if let Part::Normality(figures) = calibration.part() {
        let of = |kind: bool| {
            let rows = errors.iter().zip(&truth).filter(|(_, strange)| **strange == kind);
            rows.map(|(error, _)| figures.score(*error)).collect::<Vec<f64>>()
        };
        let caption = format!(
            "An alarm is raised above {:.4}, where {:.2} % of ordinary calibration rows lay.",
            1.0 - figures.false_alarm_rate,
            100.0 * figures.false_alarm_rate
        );
        let kinds = [("ordinary", of(false)), ("out of the ordinary", of(true))];
        drawn.push(plots::histogram("Scores", &caption, Axis::share("score"), &kinds));
    }
    Ok(drawn)
}

fn of_risks(
    prepared: &Prepared,
    years: &[f64],
    died: &[bool],
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Plot>> {
    let rows = &prepared.parts.test;
    let risk = runner.first(&prepared.pick(rows))?.column(0);
    let (years, died) = (pick(years, rows), pick(died, rows));
    let followed = Followed { years: &years, died: &died };
    let mut drawn = Vec::new();
    if let Part::Risk(figures) = calibration.part() {
        let expected: Vec<f64> = risk.iter().map(|log_risk| figures.absolute(*log_risk)).collect();
        drawn.push(plots::survival_calibration(&expected, followed, figures.horizon_years));
    }
    drawn.push(plots::survival_by_risk(&risk, followed));
    Ok(drawn)
}

/// Estimates beside the truth, of a few outputs spread over all.
fn of_values(
    recipe: &dyn Recipe,
    prepared: &Prepared,
    values: &Matrix,
    known: &Matrix,
    runner: &mut Runner,
) -> Result<Vec<Plot>> {
    let rows = &prepared.parts.test;
    let answers = runner.first(&prepared.pick(rows))?;
    let unit = unit_of(recipe);
    let mut drawn = Vec::new();
    for col in spread_over(values.cols.min(answers.cols)) {
        let there = |row: usize| known.cols == 0 || known.row(row)[col] > 0.0;
        let (mut predicted, mut truth) = (Vec::new(), Vec::new());
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| there(**row)) {
            predicted.push(f64::from(answers.row(at)[col]));
            truth.push(f64::from(values.row(*row)[col]));
        }
        let label = prepared.labels.get(col).map_or("value", String::as_str);
        if truth.len() > 1 {
            drawn.push(plots::bland_altman(label, &unit, &predicted, &truth));
        }
    }
    Ok(drawn)
}

/// Unit of the first output; empty where it has none.
fn unit_of(recipe: &dyn Recipe) -> String {
    recipe.signature().1.first().and_then(|output| output.unit.clone()).unwrap_or_default()
}

/// Places of at most a few of `count`, evenly.
fn spread_over(count: usize) -> BTreeSet<usize> {
    let shown = count.min(EXAMPLES_MAX);
    (0..shown).map(|at| at * count / shown.max(1) + count / (2 * shown.max(1))).collect()
}

/// Error and coverage by horizon, agreement at the last one, and some fans.
fn of_forecasts(
    recipe: &dyn Recipe,
    prepared: &Prepared,
    future: &Matrix,
    grid: &ForecastConfig,
    runner: &mut Runner,
    calibration: &Calibration,
) -> Result<Vec<Plot>> {
    let rows = &prepared.parts.test;
    let seen = Seen {
        quantiles: runner.first(&prepared.pick(rows))?,
        history: prepared.inputs.first().context("a forecaster has an input")?.pick(rows),
        future: future.pick(rows),
        cohorts: rows.iter().map(|row| prepared.people[*row].cohort()).collect(),
        grid,
        calibration,
    };
    let horizons: Vec<Horizon> = (0..grid.horizons_seconds.len()).map(|at| seen.horizon(at)).collect();
    let unit = &unit_of(recipe);
    let mut drawn = vec![plots::error_by_horizon("minutes ahead", unit, &horizons)];
    if matches!(calibration.part(), Part::Forecast(_)) {
        drawn.push(plots::coverage_by_horizon("minutes ahead", calibration.coverage(), &horizons));
    }
    if let Some(last) = horizons.last() {
        let what = format!("{} minutes ahead", last.ahead);
        drawn.push(plots::bland_altman(&what, unit, &last.median, &last.truth));
    }
    let examples = spread_over(rows.len());
    drawn.extend(examples.iter().enumerate().map(|(at, row)| seen.fan(at + 1, *row, unit, &horizons)));
    Ok(drawn)
}

/// Forecasts and what came, of the test windows.
struct Seen<'a> {
    quantiles: Matrix,
    history: Matrix,
    future: Matrix,
    cohorts: Vec<Option<Cohort>>,
    grid: &'a ForecastConfig,
    calibration: &'a Calibration,
}

impl Seen<'_> {
    fn minutes(&self, horizon: usize) -> f64 {
        f64::from(self.grid.horizons_seconds[horizon]) / 60.0
    }

    fn level(&self, horizon: usize, level: usize) -> Vec<f64> {
        self.quantiles.column(horizon * self.grid.quantiles.len() + level)
    }

    fn horizon(&self, at: usize) -> Horizon {
        let levels = self.grid.quantiles.len();
        let (mut low, mut high) = (self.level(at, 0), self.level(at, levels - 1));
        let median = self.level(at, levels / 2);
        if let Part::Forecast(figures) = self.calibration.part() {
            // The stretch was measured for these two levels, which need not be the outermost.
            let column =
                |level: f64| self.grid.quantiles.iter().position(|known| (known - level).abs() < 1e-9);
            (low, high) = (
                self.level(at, column(figures.low).unwrap_or(0)),
                self.level(at, column(figures.high).unwrap_or(levels - 1)),
            );
            for (row, (low, high)) in low.iter_mut().zip(&mut high).enumerate() {
                let said = Quantiles { low: *low, median: median[row], high: *high };
                let band = figures.band(spread(&self.history.row_f64(row)));
                let factor =
                    self.calibration.of_cohort(self.cohorts[row]).and_then(|all| all.get(at).copied());
                let width = figures.horizons[at].scaled(factor);
                let interval = width.interval(said, band, self.calibration.coverage());
                (*low, *high) = (interval.low, interval.high);
            }
        }
        Horizon {
            ahead: self.minutes(at),
            truth: self.future.column(at),
            median,
            low,
            high,
            rivals: vec![("persistence".into(), self.history.column(self.history.cols - 1))],
        }
    }

    fn fan(&self, number: usize, row: usize, unit: &str, horizons: &[Horizon]) -> Plot {
        let step = f64::from(self.grid.step_seconds) / 60.0;
        let history = self.history.row(row);
        let before =
            |(at, value): (usize, &f32)| ((at as f64 - (history.len() - 1) as f64) * step, f64::from(*value));
        let band = Band {
            name: format!("{:.0} % interval", 100.0 * self.calibration.coverage()),
            points: horizons.iter().map(|h| (h.ahead, h.low[row], h.high[row])).collect(),
        };
        Plot::Fan(Fan {
            title: format!("Forecast, example {number}"),
            caption: "Examples lie evenly among the test windows; none was picked by hand.".into(),
            x: Axis::new("minutes from now"),
            y: Axis::new(unit),
            history: history.iter().enumerate().map(before).collect(),
            truth: horizons.iter().map(|h| (h.ahead, h.truth[row])).collect(),
            median: horizons.iter().map(|h| (h.ahead, h.median[row])).collect(),
            bands: vec![band],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_lie_evenly_and_within() {
        assert_eq!(spread_over(100).into_iter().collect::<Vec<_>>(), [12, 37, 62, 87]);
        assert_eq!(spread_over(3).into_iter().collect::<Vec<_>>(), [0, 1, 2]);
        assert!(spread_over(0).is_empty());
    }
}
