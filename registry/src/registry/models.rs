//! Registered models: making, finding, describing, renaming, removing.

use std::collections::BTreeMap;

use store::StoreError;

use super::{Act, MAKERS, Registry};
use crate::{
    error::RegistryError,
    store::{labels, models as table, search::Place},
    versions::{Model, Query, name_checked, tag_checked},
};

impl Registry {
    /// Makes a model.
    ///
    /// # Errors
    /// A name that is taken or cannot be one, a caller who may not, or the database.
    pub async fn model_create(
        &self,
        act: Act<'_>,
        name: &str,
        description: &str,
        tags: &BTreeMap<String, String>,
    ) -> Result<Model, RegistryError> {
        act.needs_on(name, "make models", MAKERS)?;
        let name = name_checked(name)?;
        tags.iter().try_for_each(|(key, value)| tag_checked(key, value))?;
        let model = Model {
            name: name.to_owned(),
            description: description.to_owned(),
            user: act.by.name.clone(),
            policy: String::new(),
            created_ms: act.at_ms,
            updated_ms: act.at_ms,
            tags: tags.clone(),
            aliases: BTreeMap::new(),
        };
        let new = model.clone();
        let written = self
            .change(act.event("model.create", name, "", ""), move |open| {
                Box::pin(async move { Ok(table::insert(open, &new).await?) })
            })
            .await;
        written.map_err(|error| taken(error, name))?;
        Ok(model)
    }

    /// The model of that name.
    ///
    /// # Errors
    /// None, or the database.
    pub async fn model(&self, name: &str) -> Result<Model, RegistryError> {
        let found = table::get(&self.database, name).await?;
        found.ok_or_else(|| RegistryError::NotFound(format!("registered model `{name}`")))
    }

    /// Models that the query asks for.
    ///
    /// # Errors
    /// A query about what models do not have, or the database.
    pub async fn models(&self, query: &Query) -> Result<Vec<Model>, RegistryError> {
        table::search(&self.database, query).await
    }

    /// Describes a model.
    ///
    /// # Errors
    /// None of that name, a caller who may not, or the database.
    pub async fn model_describe(
        &self,
        act: Act<'_>,
        name: &str,
        description: &str,
    ) -> Result<Model, RegistryError> {
        act.needs_on(name, "describe models", MAKERS)?;
        self.model(name).await?;
        let (own, description) = (name.to_owned(), description.to_owned());
        self.change(act.event("model.describe", name, "", ""), move |open| {
            Box::pin(async move { Ok(table::update(open, &own, Some(&description), None, act.at_ms).await?) })
        })
        .await?;
        self.model(name).await
    }

    /// Gives a model without versions another name; once there are versions, their files, answers and audit carry it.
    ///
    /// # Errors
    /// None of that name, a name that is taken, versions, a caller who may not, or the database.
    pub async fn model_rename(&self, act: Act<'_>, old: &str, new: &str) -> Result<Model, RegistryError> {
        act.needs_on(old, "rename models", MAKERS)?;
        act.needs_on(new, "rename models", MAKERS)?;
        let new = name_checked(new)?;
        self.model(old).await?;
        let (from, to) = (old.to_owned(), new.to_owned());
        let event = act.event("model.rename", old, "", &format!("to `{new}`"));
        let renamed = self
            .change(event, move |open| {
                Box::pin(async move {
                    without_versions(table::last_number(open, &from).await?, &from, "renamed")?;
                    Ok(table::rename(open, &from, &to, act.at_ms).await?)
                })
            })
            .await;
        renamed.map_err(|error| taken(error, new))?;
        self.model(new).await
    }

    /// Removes a model. Its versions must be deleted first; the audit keeps what they were.
    ///
    /// # Errors
    /// None of that name, versions, a caller who may not, or the database.
    pub async fn model_delete(&self, act: Act<'_>, name: &str) -> Result<(), RegistryError> {
        act.needs_on(name, "delete models", MAKERS)?;
        self.model(name).await?;
        let left = crate::store::versions::of_model(&self.database, name).await?.len();
        if left > 0 {
            let text = format!("registered model `{name}` has {left} versions: delete them first");
            return Err(RegistryError::Conflict(text));
        }
        let own = name.to_owned();
        self.change(act.event("model.delete", name, "", ""), move |open| {
            Box::pin(async move { Ok(table::delete(open, &own).await?) })
        })
        .await
    }

    /// Writes a tag of a model, or takes it off.
    ///
    /// # Errors
    /// None of that name, a tag that is none, a caller who may not, or the database.
    pub async fn model_tag(
        &self,
        act: Act<'_>,
        name: &str,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), RegistryError> {
        act.needs_on(name, "tag models", MAKERS)?;
        tag_checked(key, value.unwrap_or_default())?;
        self.model(name).await?;
        Ok(labels::change(&self.database, Place::Models.kind(), name, 0, key, value).await?)
    }
}

fn without_versions(count: i64, name: &str, what: &str) -> Result<(), RegistryError> {
    if count == 0 {
        return Ok(());
    }
    Err(RegistryError::Conflict(format!(
        "registered model `{name}` has had {count} versions and cannot be {what}: make a new one instead"
    )))
}

/// A name that is taken is the caller's matter.
fn taken(error: RegistryError, name: &str) -> RegistryError {
    if matches!(error, RegistryError::Store(StoreError::Unique { .. })) {
        return RegistryError::Exists(format!("registered model `{name}`"));
    }
    error
}
