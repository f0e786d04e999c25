//! Versions: registering, finding, describing, tagging, deleting, and the free aliases.

use store::StoreError;

use super::{Act, MAKERS, Registry};
use crate::{
    artifacts::{self, Artifact},
    error::RegistryError,
    state::State,
    store::{artifacts as files, labels, models, search::Place, versions as table},
    versions::{self, NewVersion, Query, Version, alias_checked, is_reserved, subject, tag_checked},
};

impl Registry {
    /// Registers the files of a folder as a new version: they are sealed under the version's own folder, where
    /// nobody writes, and the version waits for the gates.
    ///
    /// # Errors
    /// A model or files that are not there, a caller who may not, or the database.
    pub async fn version_create(&self, act: Act<'_>, new: &NewVersion) -> Result<Version, RegistryError> {
        act.needs_on(&new.model, "register versions", MAKERS)?;
        self.model(&new.model).await?;
        new.tags.iter().try_for_each(|(key, value)| tag_checked(key, value))?;
        let found = self.artifacts.below(&new.folder).await?;
        if found.is_empty() {
            return Err(RegistryError::invalid("source", format!("`{}` holds no files", new.source)));
        }
        let digest = artifacts::digest(&new.folder, &found);
        let fresh = Version {
            model: new.model.clone(),
            number: 0,
            version_id: None,
            family: None,
            state: State::Draft,
            reason: "waits for its gates".to_owned(),
            source: new.source.clone(),
            run_id: new.run_id.clone(),
            logged_id: new.logged_id.clone(),
            user: act.by.name.clone(),
            description: new.description.clone(),
            digest: digest.clone(),
            created_ms: act.at_ms,
            updated_ms: act.at_ms,
            tags: new.tags.clone(),
            aliases: Vec::new(),
        };
        // Two at once may want the same number: the later one takes the next.
        for _ in 0..TRIES {
            match self.version_insert(act, fresh.clone(), &new.folder, &found).await {
                Err(RegistryError::Store(StoreError::Unique { .. })) => {}
                other => return other,
            }
        }
        Err(RegistryError::Store(StoreError::Busy))
    }

    async fn version_insert(
        &self,
        act: Act<'_>,
        mut fresh: Version,
        folder: &str,
        found: &[Artifact],
    ) -> Result<Version, RegistryError> {
        let (from, found) = (folder.to_owned(), found.to_vec());
        let next = table::next_number(&self.database, &fresh.model).await?;
        fresh.number = next;
        let event = act.event(CREATED, &fresh.subject(), &fresh.digest, &format!("from {}", fresh.source));
        self.change(event, move |open| {
            Box::pin(async move {
                let to = fresh.folder();
                let seal = |file: Artifact| Artifact {
                    path: format!("{to}{}", file.path.get(from.len()..).unwrap_or_default()),
                    ..file
                };
                let sealed: Vec<Artifact> = found.into_iter().map(seal).collect();
                table::insert(open, &fresh).await?;
                files::put_all(open, &sealed, act.at_ms).await?;
                models::update(open, &fresh.model, None, None, act.at_ms).await?;
                Ok(fresh)
            })
        })
        .await
    }

    /// The version of that number.
    ///
    /// # Errors
    /// None, or the database.
    pub async fn version(&self, model: &str, number: i64) -> Result<Version, RegistryError> {
        let found = table::get(&self.database, model, number).await?;
        found
            .ok_or_else(|| RegistryError::NotFound(format!("version {number} of registered model `{model}`")))
    }

    /// Versions of a model, the oldest first.
    ///
    /// # Errors
    /// The database.
    pub async fn versions_of(&self, model: &str) -> Result<Vec<Version>, RegistryError> {
        table::of_model(&self.database, model).await
    }

    /// Versions that the query asks for.
    ///
    /// # Errors
    /// A query about what versions do not have, or the database.
    pub async fn versions(&self, query: &Query) -> Result<Vec<Version>, RegistryError> {
        table::search(&self.database, query).await
    }

    /// Versions of any model in one of `states`.
    ///
    /// # Errors
    /// The database.
    pub async fn versions_in(&self, states: &[State]) -> Result<Vec<Version>, RegistryError> {
        table::in_states(&self.database, states).await
    }

    /// Describes a version.
    ///
    /// # Errors
    /// None of that number, a caller who may not, or the database.
    pub async fn version_describe(
        &self,
        act: Act<'_>,
        model: &str,
        number: i64,
        description: &str,
    ) -> Result<Version, RegistryError> {
        act.needs_on(model, "describe versions", MAKERS)?;
        let old = self.version(model, number).await?;
        let (own, text) = (model.to_owned(), description.to_owned());
        self.change(act.event("version.describe", &old.subject(), &old.digest, ""), move |open| {
            Box::pin(async move { Ok(table::describe(open, &own, number, &text, act.at_ms).await?) })
        })
        .await?;
        self.version(model, number).await
    }

    /// Writes a tag of a version, or takes it off.
    ///
    /// # Errors
    /// None of that number, a tag that is none, a caller who may not, or the database.
    pub async fn version_tag(
        &self,
        act: Act<'_>,
        model: &str,
        number: i64,
        key: &str,
        value: Option<&str>,
    ) -> Result<(), RegistryError> {
        act.needs_on(model, "tag versions", MAKERS)?;
        tag_checked(key, value.unwrap_or_default())?;
        self.version(model, number).await?;
        Ok(labels::change(&self.database, Place::Versions.kind(), model, number, key, value).await?)
    }

    /// Deletes a version that answers nobody. Its number is not given again, its files go with the next sweep, and
    /// the audit keeps what it was.
    ///
    /// # Errors
    /// None of that number, one that serves, a caller who may not, or the database.
    pub async fn version_delete(&self, act: Act<'_>, model: &str, number: i64) -> Result<(), RegistryError> {
        act.needs_on(model, "delete versions", MAKERS)?;
        let old = self.version(model, number).await?;
        if matches!(old.state, State::Live | State::Canary | State::Shadow | State::Validating) {
            let text = format!("version {} is {}: it cannot be deleted", old.subject(), old.state.code());
            return Err(RegistryError::Conflict(text));
        }
        if let Some(pin) =
            self.pins().await?.into_iter().find(|pin| pin.model == model && pin.number == number)
        {
            let text =
                format!("version {} is pinned to cartridge {}: unpin it first", old.subject(), pin.cartridge);
            return Err(RegistryError::Conflict(text));
        }
        let own = model.to_owned();
        let folders = [old.folder(), format!("{}.bundle", old.folder())];
        self.change(act.event("version.delete", &old.subject(), &old.digest, ""), move |open| {
            Box::pin(async move {
                table::delete(open, &own, number, act.at_ms).await?;
                models::delete_aliases(open, &own, number).await?;
                for folder in &folders {
                    files::delete_in(open, folder).await?;
                }
                Ok(())
            })
        })
        .await
    }

    /// Points an alias to a version. `live` is moved only to a version that passed its gates and was approved, and
    /// then as a release to everybody at once.
    ///
    /// # Errors
    /// The alias `live` for a version that lacks something, which is named; an alias that cannot be one; none of
    /// that number; a caller who may not; or the database.
    pub async fn alias_set(
        &self,
        act: Act<'_>,
        model: &str,
        alias: &str,
        number: i64,
    ) -> Result<(), RegistryError> {
        act.needs_on(model, "set aliases", MAKERS)?;
        let version = self.version(model, number).await?;
        if is_reserved(alias) {
            return match self.missing_for_live(&version).await? {
                Some(missing) => Err(RegistryError::Forbidden(missing)),
                None if version.state == State::Live => Ok(()),
                None => self.step(act, model, number, State::Live, "set live").await,
            };
        }
        let alias = alias_checked(alias)?;
        let (own, name) = (model.to_owned(), alias.to_owned());
        let event = act.event("alias.set", &version.subject(), &version.digest, &format!("`{alias}`"));
        self.change(event, move |open| {
            Box::pin(async move { Ok(models::set_alias(open, &own, &name, number).await?) })
        })
        .await
    }

    /// Takes a free alias away; one that is not there is fine.
    ///
    /// # Errors
    /// The alias `live`, a caller who may not, or the database.
    pub async fn alias_delete(&self, act: Act<'_>, model: &str, alias: &str) -> Result<(), RegistryError> {
        act.needs_on(model, "delete aliases", MAKERS)?;
        self.model(model).await?;
        if is_reserved(alias) {
            let text = format!("alias `{alias}` of `{model}` is moved by releases only: roll back instead");
            return Err(RegistryError::Forbidden(text));
        }
        let (own, name) = (model.to_owned(), alias.to_owned());
        self.change(act.event("alias.delete", model, "", &format!("`{alias}`")), move |open| {
            Box::pin(async move { Ok(models::delete_alias(open, &own, &name).await?) })
        })
        .await?;
        Ok(())
    }

    /// The version an alias points to.
    ///
    /// # Errors
    /// No such alias, or the database.
    pub async fn alias(&self, model: &str, alias: &str) -> Result<Version, RegistryError> {
        let missing = || RegistryError::NotFound(format!("alias `{alias}` of registered model `{model}`"));
        let name = if is_reserved(alias) { versions::LIVE } else { alias };
        let number = models::alias(&self.database, model, name).await?.ok_or_else(missing)?;
        table::get(&self.database, model, number).await?.ok_or_else(missing)
    }

    /// What a version still lacks to become live, as a sentence.
    async fn missing_for_live(&self, version: &Version) -> Result<Option<String>, RegistryError> {
        let mut missing = Vec::new();
        match models::last_report(&self.database, &version.model, version.number).await? {
            None => missing.push("its gates have not run".to_owned()),
            Some(report) if !report.has_passed() => missing.push(format!("it failed {}", report.failures())),
            Some(_) => {}
        }
        if self.approvals(&version.model, version.number).await?.is_empty() {
            let how = format!("manpasik models approve {} {}", version.model, version.number);
            missing.push(format!("nobody but its maker has approved it (`{how}`)"));
        }
        let subject = subject(&version.model, version.number);
        Ok((!missing.is_empty()).then(|| format!("version {subject} cannot be live: {}", missing.join("; "))))
    }
}

/// What the audit calls registering a version.
pub(super) const CREATED: &str = "version.create";
/// Tries for a number that somebody else may take at the same moment.
const TRIES: usize = 16;
