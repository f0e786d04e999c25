//! Predictions in the registry: written in batches, labelled with outcomes, counted, and forgotten in time.

use std::collections::BTreeMap;

use super::{Act, Registry};
use crate::{
    audit::Event,
    error::RegistryError,
    predictions::{Accuracies, Accuracy, DriftWindow, Payload, Prediction},
    principal::Role,
    store::predictions as table,
};

/// Rows read at a time.
const ROWS_PER_READ: u64 = 1_000;
/// Who may say how something came out.
const LABELLERS: &[Role] = &[Role::MedicalStaff, Role::Researcher, Role::DataScientist, Role::Admin];
/// Longest outcome, in characters.
const OUTCOME_CHARS_MAX: usize = 200;

impl Registry {
    /// Writes what was answered, in one transaction.
    ///
    /// # Errors
    /// The database.
    pub async fn predictions_write(
        &self,
        predictions: Vec<Prediction>,
        payloads: Vec<Payload>,
    ) -> Result<(), RegistryError> {
        self.database
            .transaction(move |open| {
                Box::pin(async move { Ok(table::write(open, &predictions, &payloads).await?) })
            })
            .await
    }

    /// The newest predictions first; of one model, if given.
    ///
    /// # Errors
    /// The database.
    pub async fn predictions(
        &self,
        model: Option<&str>,
        limit: u64,
    ) -> Result<Vec<Prediction>, RegistryError> {
        Ok(table::list(&self.database, model, false, 0, limit).await?)
    }

    /// The parts of a prediction.
    ///
    /// # Errors
    /// None of that id, or the database.
    pub async fn prediction(&self, id: &str) -> Result<Vec<Prediction>, RegistryError> {
        let parts = table::get(&self.database, id).await?;
        if parts.is_empty() {
            let text =
                format!("prediction `{id}` (rows are written within a second, and go after their time)");
            return Err(RegistryError::NotFound(text));
        }
        Ok(parts)
    }

    /// What was kept of the request and the answer, encrypted.
    ///
    /// # Errors
    /// The database.
    pub async fn prediction_payload(&self, id: &str) -> Result<Option<Payload>, RegistryError> {
        Ok(table::payload(&self.database, id).await?)
    }

    /// Says how a prediction came out; of which model, where several answered.
    ///
    /// # Errors
    /// None of that id or model, several of which none is named, an outcome that is none, a caller who may not, or the
    /// database.
    pub async fn prediction_label(
        &self,
        act: Act<'_>,
        id: &str,
        model: Option<&str>,
        outcome: &str,
    ) -> Result<Prediction, RegistryError> {
        act.needs("label predictions", LABELLERS)?;
        if outcome.trim().is_empty() || outcome.chars().count() > OUTCOME_CHARS_MAX {
            let reason = format!("must be a class or a value of 1 to {OUTCOME_CHARS_MAX} characters");
            return Err(RegistryError::invalid("outcome", reason));
        }
        let parts = self.prediction(id).await?;
        let names: Vec<String> = parts.iter().map(|part| part.model.clone()).collect();
        let mut of_model = parts.into_iter().filter(|part| model.is_none_or(|model| part.model == model));
        let (Some(found), None) = (of_model.next(), of_model.next()) else {
            let reason = format!("must be one of those that answered {id}: {}", names.join(", "));
            return Err(RegistryError::invalid("model", reason));
        };
        let (id, part, at_ms, outcome) = (found.id.clone(), found.part, act.at_ms, outcome.trim().to_owned());
        let labelled = Prediction { outcome: Some(outcome.clone()), ..found };
        let event = act.event(
            "prediction.label",
            &format!("{}/{id}", labelled.model),
            &labelled.input_sha256,
            &outcome,
        );
        self.change(event, move |open| {
            Box::pin(async move { Ok(table::label(open, &id, part, &outcome, at_ms).await?) })
        })
        .await?;
        Ok(labelled)
    }

    /// How well the versions of a model did on predictions whose outcome is known, for everybody and by cohort.
    ///
    /// # Errors
    /// The database.
    pub async fn accuracy(&self, model: &str) -> Result<Accuracies, RegistryError> {
        let mut figures: BTreeMap<(String, String), Accuracy> = BTreeMap::new();
        let mut offset = 0;
        loop {
            let rows = table::list(&self.database, Some(model), true, offset, ROWS_PER_READ).await?;
            for row in &rows {
                figures.entry((row.version.clone(), String::new())).or_default().add(row);
                if !row.cohort.is_empty() {
                    figures.entry((row.version.clone(), row.cohort.clone())).or_default().add(row);
                }
            }
            offset += rows.len() as u64;
            if (rows.len() as u64) < ROWS_PER_READ {
                return Ok(figures);
            }
        }
    }

    /// Keeps a closed window of drift.
    ///
    /// # Errors
    /// The database.
    pub async fn drift_add(&self, window: &DriftWindow) -> Result<(), RegistryError> {
        Ok(table::add_window(&self.database, window).await?)
    }

    /// Notes in the audit that an alarm of drift began, or is over, and why.
    ///
    /// # Errors
    /// The database.
    pub async fn drift_note(
        &self,
        (model, version): (&str, &str),
        alarm: bool,
        why: String,
        at_ms: i64,
    ) -> Result<(), RegistryError> {
        let event = Event {
            at_ms,
            who: "drift".into(),
            action: if alarm { "drift.alarm" } else { "drift.over" }.into(),
            subject: format!("{model}/{version}"),
            digest: String::new(),
            why,
        };
        self.change(event, |_| Box::pin(async { Ok(()) })).await
    }

    /// Windows of a model, the newest first.
    ///
    /// # Errors
    /// The database.
    pub async fn drift(&self, model: &str, limit: u64) -> Result<Vec<DriftWindow>, RegistryError> {
        Ok(table::windows(&self.database, model, limit).await?)
    }

    /// Forgets predictions and windows of drift of before `before_ms`, about `rows_max` predictions at most; how many. A
    /// sweep that found something stands in the audit.
    ///
    /// # Errors
    /// A caller who may not, or the database.
    pub async fn predictions_forget(
        &self,
        act: Act<'_>,
        before_ms: i64,
        rows_max: u64,
    ) -> Result<u64, RegistryError> {
        act.needs("forget predictions", &[Role::Admin])?;
        let event = act.event("retention.predictions", "predictions", "", &format!("of before {before_ms}"));
        self.database
            .transaction(move |open| {
                Box::pin(async move {
                    let gone = table::forget(open, before_ms, rows_max).await?;
                    let windows = table::forget_windows(open, before_ms).await?;
                    if gone + windows > 0 {
                        let why = format!("{}: {gone} rows, {windows} windows of drift", event.why);
                        crate::store::audit::append(open, Event { why, ..event }).await?;
                    }
                    Ok(gone)
                })
            })
            .await
    }
}
