//! Answers as a table that a person can read: value, interval, why, verdict, model.

use proto::manpasik::v1::{
    AnalyzeMeasurementResponse, AnomalyResult, BiomarkerResult, EndSessionResponse,
    EstimateFoodCaloriesResponse, Explanation, FindSimilarSessionsResponse, FoodItem, GetHealthScoreResponse,
    Interval, ModelReference, PanelClassification, PredictTrendResponse, Quantity, RiskLevel, SafetyVerdict,
    Verdict, Warning,
};

use crate::commands::table;

/// Features named in the column "why".
const REASONS_SHOWN: usize = 3;

/// Lines of one answer.
#[derive(Default)]
pub(crate) struct Shown {
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Shown {
    /// The table with its notes below.
    pub(crate) fn text(&self) -> String {
        let header = ["question", "answer", "interval", "why (largest first)", "safety", "model"];
        let mut text = table(&header, self.rows.clone());
        for note in &self.notes {
            text += &format!("\n  {note}");
        }
        text
    }

    fn row(
        &mut self,
        question: &str,
        answer: String,
        range: String,
        why: String,
        safety: String,
        model: String,
    ) {
        self.rows.push(vec![question.to_owned(), answer, range, why, safety, model]);
    }

    fn notes(&mut self, warnings: &[Warning]) {
        self.notes.extend(warnings.iter().map(|warning| format!("! {}", warning.message)));
    }

    /// An analysis of a panel or of a sensor sweep.
    pub(crate) fn analysis(mut self, answer: &AnalyzeMeasurementResponse) -> Self {
        for classification in &answer.classifications {
            self.classification(classification);
        }
        for biomarker in &answer.biomarkers {
            self.biomarker(biomarker);
        }
        for anomaly in &answer.anomalies {
            self.anomaly(anomaly);
        }
        for forecast in &answer.trends {
            self = self.forecast(forecast, None);
        }
        if let Some(score) = &answer.health_score {
            self = self.score(score);
        }
        self.notes(&answer.warnings);
        self
    }

    fn classification(&mut self, answer: &PanelClassification) {
        let set = answer.prediction_set.join(" | ");
        let range = format!(
            "{}; not ruled out at {:.0} %: {set}",
            interval(answer.interval.as_ref(), ""),
            100.0 * answer.prediction_set_coverage
        );
        self.row(
            &answer.task.replace('_', " "),
            format!("{} ({:.1} %)", answer.label, 100.0 * answer.probability),
            range,
            why(answer.explanation.as_ref()),
            safety(answer.safety.as_ref()),
            model(answer.model.as_ref()),
        );
    }

    fn biomarker(&mut self, answer: &BiomarkerResult) {
        let unit = answer.quantity.as_ref().map_or("", |quantity| quantity.unit.as_str());
        self.row(
            answer.quantity.as_ref().map_or("", |quantity| quantity.name.as_str()),
            format!("{} [{}]", quantity(answer.quantity.as_ref()), answer.interpretation),
            interval(answer.interval.as_ref(), unit),
            why(answer.explanation.as_ref()),
            safety(answer.safety.as_ref()),
            model(answer.model.as_ref()),
        );
    }

    fn anomaly(&mut self, answer: &AnomalyResult) {
        let found = if answer.anomalous { "unusual" } else { "as usual" };
        self.row(
            &format!("{}: unusual?", answer.task.replace('_', " ")),
            format!("{found}, score {:.3} (limit {:.3})", answer.score, answer.threshold),
            interval(answer.interval.as_ref(), ""),
            why(answer.explanation.as_ref()),
            safety(answer.safety.as_ref()),
            model(answer.model.as_ref()),
        );
    }

    /// A forecast: the first, middle and last horizon, told from `now` when that is known (Unix ms).
    pub(crate) fn forecast(mut self, answer: &PredictTrendResponse, now: Option<i64>) -> Self {
        let last = answer.forecast.len().saturating_sub(1);
        let mut shown = vec![0, last / 2, last];
        shown.dedup();
        let (origin, after) = match (now, answer.forecast.first()) {
            (Some(now), _) => (now, "ahead"),
            (None, first) => (first.map_or(0, |point| point.time_unix_ms), "after the first forecast"),
        };
        for index in shown {
            let Some(point) = answer.forecast.get(index) else { continue };
            let unit = point.quantity.as_ref().map_or("", |quantity| quantity.unit.as_str());
            let name = point.quantity.as_ref().map_or("value", |quantity| quantity.name.as_str());
            let minutes = (point.time_unix_ms - origin) / 60_000;
            self.row(
                &format!("{name}, {minutes} min {after}"),
                quantity(point.quantity.as_ref()),
                interval(point.interval.as_ref(), unit),
                if index == last { why(answer.explanation.as_ref()) } else { String::new() },
                if index == last { safety(answer.safety.as_ref()) } else { String::new() },
                if index == last { model(answer.model.as_ref()) } else { answer.method.clone() },
            );
        }
        self.notes(&answer.warnings);
        self
    }

    /// A health score and its parts.
    pub(crate) fn score(mut self, answer: &GetHealthScoreResponse) -> Self {
        let parts: Vec<String> =
            answer.categories.iter().map(|part| format!("{} {:+.1}", part.category, part.points)).collect();
        let score = answer.score.as_ref().map_or(0.0, |quantity| quantity.value);
        self.row(
            &format!("health score among {}", answer.reference_population),
            format!("{score:.0} of 100 ({})", parts.join(", ")),
            interval(answer.interval.as_ref(), ""),
            why(answer.explanation.as_ref()),
            safety(answer.safety.as_ref()),
            model(answer.model.as_ref()),
        );
        self.notes(&answer.warnings);
        self
    }

    /// A food on a photo.
    pub(crate) fn food(mut self, answer: &EstimateFoodCaloriesResponse) -> Self {
        let item = answer.item.as_ref();
        let label = item.map_or_else(|| unsure(&answer.candidates), food);
        self.row(
            "food on the photo",
            label,
            interval(item.and_then(|item| item.energy_interval.as_ref()), "kcal"),
            why(answer.explanation.as_ref()),
            safety(answer.safety.as_ref()),
            model(answer.model.as_ref()),
        );
        self.notes(&answer.warnings);
        self
    }

    /// Earlier sessions of the same shape.
    pub(crate) fn similar(mut self, answer: &FindSimilarSessionsResponse) -> Self {
        for session in &answer.sessions {
            let value = session.values.first();
            let unit = value.and_then(|value| value.quantity.as_ref()).map_or("", |quantity| &quantity.unit);
            self.row(
                &format!("earlier session, cartridge {}", session.cartridge_code),
                format!(
                    "similarity {:.4}; then {}",
                    session.similarity,
                    quantity(value.and_then(|value| value.quantity.as_ref()))
                ),
                interval(value.and_then(|value| value.interval.as_ref()), unit),
                String::new(),
                String::new(),
                model(value.and_then(|value| value.model.as_ref())),
            );
        }
        self
    }

    /// A finished measurement session.
    pub(crate) fn session(mut self, answer: &EndSessionResponse) -> Self {
        if let Some(measurement) = &answer.measurement {
            self.notes.push(format!(
                "measurement {}: {} packets, signal {}",
                measurement.id,
                measurement.packets,
                measurement.quality().as_str_name().trim_start_matches("SIGNAL_QUALITY_").to_lowercase()
            ));
        }
        match &answer.analysis {
            Some(analysis) => self.analysis(analysis),
            None => self,
        }
    }
}

fn food(item: &FoodItem) -> String {
    let default = if item.portion_is_default { ", default portion" } else { "" };
    format!(
        "{} ({:.0} %): {} for {}{default}",
        item.name,
        100.0 * item.confidence,
        quantity(item.energy.as_ref()),
        quantity(item.portion.as_ref())
    )
}

fn unsure(candidates: &[FoodItem]) -> String {
    let names: Vec<String> =
        candidates.iter().map(|item| format!("{} {:.0} %", item.name, 100.0 * item.confidence)).collect();
    format!("unsure; most likely: {}", names.join(", "))
}

fn quantity(quantity: Option<&Quantity>) -> String {
    quantity.map_or_else(String::new, |quantity| format!("{} {}", number(quantity.value), quantity.unit))
}

fn interval(interval: Option<&Interval>, unit: &str) -> String {
    interval.map_or_else(
        || "measured".to_owned(),
        |interval| {
            let (low, high) = (number(interval.low), number(interval.high));
            format!("{low} – {high} {unit} ({:.0} %)", 100.0 * interval.coverage).replace("  ", " ")
        },
    )
}

/// Three significant digits, without a needless exponent.
fn number(value: f64) -> String {
    let magnitude = value.abs();
    match magnitude {
        small if small < 1.0 => format!("{value:.3}"),
        medium if medium < 100.0 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

fn why(explanation: Option<&Explanation>) -> String {
    explanation.map_or_else(String::new, |explanation| {
        let shown = explanation.contributions.iter().take(REASONS_SHOWN);
        let parts: Vec<String> =
            shown.map(|part| format!("{} {:+.2}", part.feature, part.contribution)).collect();
        parts.join(", ")
    })
}

fn safety(verdict: Option<&SafetyVerdict>) -> String {
    verdict.map_or_else(String::new, |verdict| {
        let name = |text: &str, prefix: &str| text.trim_start_matches(prefix).to_lowercase();
        let risk = verdict.risk();
        let verdict = name(verdict.verdict().as_str_name(), "VERDICT_");
        if verdict == name(Verdict::Unspecified.as_str_name(), "VERDICT_") || risk == RiskLevel::Unspecified {
            return if verdict == "unspecified" { String::new() } else { verdict };
        }
        format!("{verdict}, risk {}", name(risk.as_str_name(), "RISK_LEVEL_"))
    })
}

fn model(model: Option<&ModelReference>) -> String {
    model.map_or_else(String::new, |model| {
        let synthetic = if model.trained_on_synthetic_data { " (synthetic training data)" } else { "" };
        format!("{} {}{synthetic}", model.name, model.version)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unsure_answer_names_the_candidates() {
        let candidate = FoodItem { name: "espresso".into(), confidence: 0.4, ..Default::default() };
        let answer =
            EstimateFoodCaloriesResponse { unsure: true, candidates: vec![candidate], ..Default::default() };
        let text = Shown::default().food(&answer).text();
        assert!(text.contains("unsure") && text.contains("espresso 40 %"), "{text}");
    }

    #[test]
    fn a_value_shows_unit_interval_and_synthetic_model() {
        let result = BiomarkerResult {
            quantity: Some(Quantity {
                value: 104.2,
                unit: "mg/dL".into(),
                name: "glucose".into(),
                ..Default::default()
            }),
            interval: Some(Interval { low: 97.4, high: 111.0, coverage: 0.9 }),
            model: Some(ModelReference {
                name: "sensor-value".into(),
                version: "v".into(),
                trained_on_synthetic_data: true,
                ..Default::default()
            }),
            ..Default::default()
        };
        let answer = AnalyzeMeasurementResponse { biomarkers: vec![result], ..Default::default() };
        let text = Shown::default().analysis(&answer).text();
        for part in ["104 mg/dL", "97.4 – 111 mg/dL (90 %)", "synthetic"] {
            assert!(text.contains(part), "`{part}` is missing in\n{text}");
        }
    }

    #[test]
    fn warnings_stand_below_the_table() {
        let warning = Warning { message: "no trend model".into(), ..Default::default() };
        let answer = AnalyzeMeasurementResponse { warnings: vec![warning], ..Default::default() };
        assert!(Shown::default().analysis(&answer).text().ends_with("! no trend model"));
    }
}
