//! Policies, the steps of a release that is under way, and pins.

use super::{Act, MAKERS, Registry, lifecycle::checked_move};
use crate::{
    error::RegistryError,
    policy::Policy,
    principal::Role,
    release::{Pin, Release},
    state::State,
    store::{models, releases as table, versions},
    versions::{LIVE, Version},
};

/// Longest type of a cartridge, in bytes.
const CARTRIDGE_BYTES_MAX: usize = 64;

impl Registry {
    /// The policy of a model.
    ///
    /// # Errors
    /// None of that name, a policy that another version of this program wrote, or the database.
    pub async fn policy(&self, model: &str) -> Result<Policy, RegistryError> {
        Policy::read(&self.model(model).await?.policy)
    }

    /// The policies that were set, by model; every other one is the default.
    ///
    /// # Errors
    /// A policy that another version of this program wrote, or the database.
    pub async fn policies(&self) -> Result<Vec<(String, Policy)>, RegistryError> {
        let set = models::policies(&self.database).await?.into_iter();
        set.map(|(model, text)| Policy::read(&text).map(|policy| (model, policy))).collect()
    }

    /// Gives a model another policy. Whoever uploads does not loosen what is asked of their uploads: it takes an admin.
    ///
    /// # Errors
    /// None of that name, a policy that cannot be, a caller who may not, or the database.
    pub async fn policy_set(&self, act: Act<'_>, model: &str, text: &str) -> Result<Policy, RegistryError> {
        act.needs_on(model, "set policies", &[Role::Admin])?;
        let policy = Policy::read(text)?;
        self.model(model).await?;
        let (own, text) = (model.to_owned(), text.to_owned());
        self.change(act.event("model.policy", model, "", &one_line(&text)), move |open| {
            Box::pin(async move { Ok(models::update(open, &own, None, Some(&text), act.at_ms).await?) })
        })
        .await?;
        Ok(policy)
    }

    /// Releases an approved version. Without a word how far, the careful way: callers are moved step by step where they
    /// have a version to be moved from.
    ///
    /// # Errors
    /// A step that is none of a release; otherwise as [`Registry::step`].
    pub async fn promote(
        &self,
        act: Act<'_>,
        model: &str,
        number: i64,
        to: Option<State>,
    ) -> Result<Version, RegistryError> {
        let has_live = self.model(model).await?.aliases.contains_key(LIVE);
        let to = to.unwrap_or(if has_live { State::Canary } else { State::Live });
        if !matches!(to, State::Shadow | State::Canary | State::Live) {
            return Err(RegistryError::invalid("to", "expected shadow, canary or live"));
        }
        self.step(act, model, number, to, "promoted").await?;
        self.version(model, number).await
    }

    /// Takes back what is being released, or else the live version; gives back the version of which that tells most: the
    /// one taken out of its release, or the one that is live again.
    ///
    /// # Errors
    /// Nothing to take back, or nothing to go back to; a caller who may not; or the database.
    pub async fn take_back(&self, act: Act<'_>, model: &str) -> Result<Version, RegistryError> {
        match self.release(model).await? {
            Some(release) => self.release_back(act, &release).await,
            None => Ok(self.rollback(act, model).await?.1),
        }
    }

    /// Every release under way, by model.
    ///
    /// # Errors
    /// The database.
    pub async fn releases(&self) -> Result<Vec<Release>, RegistryError> {
        Ok(table::all(&self.database).await?)
    }

    /// The release of a model that is under way.
    ///
    /// # Errors
    /// The database.
    pub async fn release(&self, model: &str) -> Result<Option<Release>, RegistryError> {
        Ok(self.releases().await?.into_iter().find(|release| release.model == model))
    }

    /// Moves the share of a canary on. Of several replicas that want it, one does it.
    ///
    /// # Errors
    /// A release that is no longer where `at` says ([`RegistryError::Conflict`]), a caller who may not, or the database.
    pub async fn release_widen(&self, act: Act<'_>, at: &Release, share: u8) -> Result<(), RegistryError> {
        act.needs_on(&at.model, "release versions", MAKERS)?;
        let version = self.version(&at.model, at.number).await?;
        let reason = self.policy(&at.model).await?.tell(State::Canary, share);
        let detail = format!("{} % -> {share} %", at.share);
        let event = act.event("release.step", &version.subject(), &version.digest, &detail);
        let at = at.clone();
        self.change(event, move |open| {
            Box::pin(async move {
                if table::locked(open, &at.model).await?.as_ref() != Some(&at) {
                    return Err(moved_on(&at));
                }
                let next = Release { share, since_ms: act.at_ms, ..at };
                table::put(open, &next).await?;
                let Release { model, number, .. } = &next;
                Ok(versions::set_state(open, model, *number, State::Canary, &reason, act.at_ms).await?)
            })
        })
        .await
    }

    /// Takes the version of a release back; the live one answers everybody again. Of several replicas that want it,
    /// one does it.
    ///
    /// # Errors
    /// A version that is in shadow or canary no more ([`RegistryError::Conflict`]), a caller who may not, or the
    /// database.
    pub async fn release_back(&self, act: Act<'_>, at: &Release) -> Result<Version, RegistryError> {
        act.needs_on(&at.model, "roll back", MAKERS)?;
        let version = self.version(&at.model, at.number).await?;
        let event = act.event("release.rollback", &version.subject(), &version.digest, "");
        let (at, reason) = (at.clone(), format!("rolled back: {}", act.why));
        let (model, number) = (at.model.clone(), at.number);
        self.change(event, move |open| {
            Box::pin(async move {
                let state = versions::state_locked(open, &at.model, at.number).await?.map(|found| found.0);
                if !matches!(state, Some(State::Shadow | State::Canary)) {
                    return Err(moved_on(&at));
                }
                checked_move(open, &at.model, at.number, State::RolledBack).await?;
                versions::set_state(open, &at.model, at.number, State::RolledBack, &reason, act.at_ms)
                    .await?;
                Ok(table::end(open, &at.model, at.number).await?)
            })
        })
        .await?;
        self.version(&model, number).await
    }

    /// Every pin, by model and cartridge.
    ///
    /// # Errors
    /// The database.
    pub async fn pins(&self) -> Result<Vec<Pin>, RegistryError> {
        Ok(table::pins(&self.database).await?)
    }

    /// Lets an approved version answer for one type of cartridge, whatever is live.
    ///
    /// # Errors
    /// A version that is not there, was not approved or answers nobody; a caller who may not; or the database.
    pub async fn pin(&self, act: Act<'_>, pin: &Pin) -> Result<(), RegistryError> {
        act.needs_on(&pin.model, "pin versions", MAKERS)?;
        if pin.cartridge.is_empty() || pin.cartridge.len() > CARTRIDGE_BYTES_MAX {
            return Err(RegistryError::invalid("cartridge", "has 1 to 64 bytes, such as 01:01"));
        }
        let version = self.version(&pin.model, pin.number).await?;
        self.needs_approval(&version).await?;
        if !version.state.is_served() || version.state == State::RolledBack {
            let (subject, state) = (version.subject(), version.state.code());
            return Err(RegistryError::Conflict(format!(
                "version {subject} is {state} and cannot be pinned"
            )));
        }
        let event = act.event(
            "version.pin",
            &version.subject(),
            &version.digest,
            &format!("cartridge {}", pin.cartridge),
        );
        let pin = pin.clone();
        self.change(event, move |open| Box::pin(async move { Ok(table::pin(open, &pin).await?) })).await
    }

    /// Lets the live version answer for a type of cartridge again.
    ///
    /// # Errors
    /// A pin that is not there, a caller who may not, or the database.
    pub async fn unpin(&self, act: Act<'_>, model: &str, cartridge: &str) -> Result<(), RegistryError> {
        act.needs_on(model, "pin versions", MAKERS)?;
        let (own, kind) = (model.to_owned(), cartridge.to_owned());
        self.change(act.event("model.unpin", model, "", &format!("cartridge {cartridge}")), move |open| {
            Box::pin(async move {
                if table::unpin(open, &own, &kind).await? {
                    return Ok(());
                }
                Err(RegistryError::NotFound(format!("pin of `{own}` for cartridge {kind}")))
            })
        })
        .await
    }

    /// Refuses a version that nobody but its maker has approved.
    pub(super) async fn needs_approval(&self, version: &Version) -> Result<(), RegistryError> {
        let Version { model, number, .. } = version;
        if !self.approvals(model, *number).await?.is_empty() {
            return Ok(());
        }
        let text = format!(
            "version {} has not been approved by anybody but its maker (`manpasik models approve {model} {number}`)",
            version.subject()
        );
        Err(RegistryError::Forbidden(text))
    }
}

fn moved_on(at: &Release) -> RegistryError {
    let Release { model, number, share, .. } = at;
    RegistryError::Conflict(format!("the release of version {model}/{number} is no longer at {share} %"))
}

/// A policy as the audit keeps it.
fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.collect::<Vec<_>>().join("; ")
}
