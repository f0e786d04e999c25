//! Logged models: what clients of MLflow 3 make before they register anything.

use std::collections::BTreeMap;

use uuid::Uuid;

use super::Registry;
use crate::{
    error::RegistryError,
    logged::{Logged, LoggedMetric, LoggedStatus, NewLogged},
    store::{labels, logged as table, search::Place},
    versions::{Query, tag_checked},
};

impl Registry {
    /// Begins a logged model, whose files come next.
    ///
    /// # Errors
    /// An experiment that is not there, tags that are none, or the database.
    pub async fn logged_create(&self, new: &NewLogged, now_ms: i64) -> Result<Logged, RegistryError> {
        let experiment = self.runs.experiment(new.experiment).await;
        experiment.map_err(|error| RegistryError::NotFound(error.to_string()))?;
        for (key, value) in new.tags.iter().chain(&new.params) {
            tag_checked(key, value)?;
        }
        let id = format!("m-{}", Uuid::new_v4().simple());
        let name = if new.name.is_empty() { format!("model-{}", &id[2..10]) } else { new.name.clone() };
        let logged = Logged {
            id,
            experiment: new.experiment,
            name,
            model_type: new.model_type.clone(),
            run_id: new.run_id.clone(),
            status: LoggedStatus::Pending,
            created_ms: now_ms,
            updated_ms: now_ms,
            params: new.params.clone(),
            tags: new.tags.clone(),
            metrics: Vec::new(),
        };
        let row = logged.clone();
        self.database
            .transaction(move |open| {
                Box::pin(async move { Ok::<_, RegistryError>(table::insert(open, &row).await?) })
            })
            .await?;
        Ok(logged)
    }

    /// The logged model of that id.
    ///
    /// # Errors
    /// None, or the database.
    pub async fn logged(&self, id: &str) -> Result<Logged, RegistryError> {
        let found = table::get(&self.database, id).await?;
        found.ok_or_else(|| RegistryError::NotFound(format!("logged model `{id}`")))
    }

    /// Logged models of some experiments (none: of all) that the query asks for.
    ///
    /// # Errors
    /// A query about what they do not have, or the database.
    pub async fn logged_search(
        &self,
        experiments: &[i64],
        query: &Query,
    ) -> Result<Vec<Logged>, RegistryError> {
        table::search(&self.database, experiments, query).await
    }

    /// Writes how the upload of one stands.
    ///
    /// # Errors
    /// None of that id, or the database.
    pub async fn logged_status(
        &self,
        id: &str,
        status: LoggedStatus,
        now_ms: i64,
    ) -> Result<Logged, RegistryError> {
        self.logged(id).await?;
        table::set_status(&self.database, id, status, now_ms).await?;
        self.logged(id).await
    }

    /// Deletes one; versions made of it keep their own files.
    ///
    /// # Errors
    /// None of that id, or the database.
    pub async fn logged_delete(&self, id: &str, now_ms: i64) -> Result<(), RegistryError> {
        let logged = self.logged(id).await?;
        table::delete(&self.database, id, now_ms).await?;
        self.artifacts.delete(&logged.folder()).await?;
        Ok(())
    }

    /// Writes tags of one.
    ///
    /// # Errors
    /// None of that id, tags that are none, or the database.
    pub async fn logged_tag(
        &self,
        id: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Logged, RegistryError> {
        tags.iter().try_for_each(|(key, value)| tag_checked(key, value))?;
        self.logged(id).await?;
        table::label(&self.database, Place::Logged.kind(), id, tags).await?;
        self.logged(id).await
    }

    /// Takes a tag off one.
    ///
    /// # Errors
    /// None of that id, or the database.
    pub async fn logged_untag(&self, id: &str, key: &str) -> Result<(), RegistryError> {
        self.logged(id).await?;
        Ok(labels::change(&self.database, Place::Logged.kind(), id, 0, key, None).await?)
    }

    /// Writes settings of one.
    ///
    /// # Errors
    /// None of that id, settings that are none, or the database.
    pub async fn logged_params(
        &self,
        id: &str,
        params: &BTreeMap<String, String>,
    ) -> Result<(), RegistryError> {
        params.iter().try_for_each(|(key, value)| tag_checked(key, value))?;
        self.logged(id).await?;
        Ok(table::label(&self.database, table::PARAMS, id, params).await?)
    }

    /// Notes figures measured on one.
    ///
    /// # Errors
    /// None of that id, or the database.
    pub async fn logged_metrics(&self, id: &str, metrics: &[LoggedMetric]) -> Result<(), RegistryError> {
        self.logged(id).await?;
        Ok(table::add_metrics(&self.database, id, metrics).await?)
    }
}
