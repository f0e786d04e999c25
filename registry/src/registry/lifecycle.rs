//! Steps of a version's life: gates, approval, and the moves between states.

use super::{Act, MAKERS, Registry};
use crate::{
    error::RegistryError,
    gates::{CHANGE, Gate, Report},
    release::Release,
    state::State,
    store::{labels, models, releases, search::Place, versions as table},
    versions::{Approval, LIVE, Version, subject},
};

/// Tag of a version that says of what class its change is, and whether that was agreed on beforehand.
const CHANGE_TAG: &str = "manpasik.change";

/// Name of the gate that tells versions apart.
const IDENTITY: &str = "identity";

/// What the gates learned of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// `MPS-...`.
    pub version_id: String,
    /// Its family.
    pub family: String,
}

impl Registry {
    /// Takes a version into its gates.
    ///
    /// # Errors
    /// A version that is not there or stands elsewhere, or the database.
    pub async fn gates_begin(
        &self,
        act: Act<'_>,
        model: &str,
        number: i64,
    ) -> Result<Version, RegistryError> {
        self.step(act, model, number, State::Validating, "the gates are looking at it").await?;
        self.version(model, number).await
    }

    /// Writes what the gates found, and moves the version to staged or rejected.
    ///
    /// # Errors
    /// A version that is not in its gates, or the database.
    pub async fn gates_end(
        &self,
        act: Act<'_>,
        model: &str,
        number: i64,
        report: &Report,
        identity: Option<&Identity>,
    ) -> Result<Version, RegistryError> {
        let passed = report.has_passed() && identity.is_some();
        let (next, reason) = if passed {
            (State::Staged, "passed its gates; answers by its number".to_owned())
        } else {
            (State::Rejected, report.failures())
        };
        let (own, report, identity) = (model.to_owned(), report.clone(), identity.cloned());
        let action = if passed { "gates.pass" } else { "gates.fail" };
        let event = act.event(action, &subject(model, number), &report.digest, &report.failures());
        self.change(event, move |open| {
            Box::pin(async move {
                checked_move(open, &own, number, next).await?;
                models::add_report(open, &own, number, &report).await?;
                if let Some(identity) = identity {
                    let Identity { version_id, family } = identity;
                    table::set_identity(open, &own, number, &version_id, &family, act.at_ms).await?;
                }
                if let Some(change) = report.gates.iter().find(|gate| gate.name == CHANGE) {
                    let tag = [(CHANGE_TAG.to_owned(), change.detail.clone())].into();
                    labels::write(open, Place::Versions.kind(), &own, number, &tag).await?;
                }
                Ok(table::set_state(open, &own, number, next, &reason, act.at_ms).await?)
            })
        })
        .await?;
        self.version(model, number).await
    }

    /// The gate that refuses a version whose identifier another one answers by.
    ///
    /// # Errors
    /// The database.
    pub async fn twin_gate(&self, version: &Version, identity: &Identity) -> Result<Gate, RegistryError> {
        let id = &identity.version_id;
        let all = self.versions_of(&version.model).await?;
        let twin = all.into_iter().find(|other| {
            let same = other.version_id.as_ref() == Some(id);
            same && other.number != version.number && other.state.is_served()
        });
        Ok(match twin {
            Some(twin) => {
                let (twin, state) = (twin.subject(), twin.state.code());
                let text = format!(
                    "{id} is {twin} already, which is {state}: give what differs a version of its own"
                );
                Gate::failed(IDENTITY, text)
            }
            None => Gate::passed(IDENTITY, format!("{id} is no other version")),
        })
    }

    /// What the gates found last.
    ///
    /// # Errors
    /// The database.
    pub async fn report(&self, model: &str, number: i64) -> Result<Option<Report>, RegistryError> {
        models::last_report(&self.database, model, number).await
    }

    /// A second person says yes to a version that passed its gates.
    ///
    /// While no token is asked for there is one principal, who may approve; the audit says that nobody showed one.
    ///
    /// # Errors
    /// A version that is not there or did not pass, its own maker, a caller who may not, or the database.
    pub async fn approve(&self, act: Act<'_>, model: &str, number: i64) -> Result<Approval, RegistryError> {
        act.needs_on(model, "approve versions", MAKERS)?;
        let version = self.version(model, number).await?;
        if !version.state.is_served() {
            let text = format!(
                "version {} is {} ({}): only one that passed its gates can be approved",
                version.subject(),
                version.state.code(),
                version.reason
            );
            return Err(RegistryError::Conflict(text));
        }
        if act.by.authenticated && act.by.name == version.user {
            let text = format!("{} made version {} and cannot approve it", act.by.name, version.subject());
            return Err(RegistryError::Forbidden(text));
        }
        let yes = Approval {
            who: act.by.name.clone(),
            why: act.why.to_owned(),
            digest: version.digest.clone(),
            at_ms: act.at_ms,
        };
        let detail = if act.by.authenticated { "" } else { "without a token: maker and checker may be one" };
        let event = act.event("version.approve", &version.subject(), &version.digest, detail);
        let (own, written) = (model.to_owned(), yes.clone());
        self.change(event, move |open| {
            Box::pin(async move { Ok(models::approve(open, &own, number, &written).await?) })
        })
        .await?;
        Ok(yes)
    }

    /// Every yes to the bytes a version has.
    ///
    /// # Errors
    /// None of that number, or the database.
    pub async fn approvals(&self, model: &str, number: i64) -> Result<Vec<Approval>, RegistryError> {
        let digest = self.version(model, number).await?.digest;
        let all = models::approvals(&self.database, model, number).await?;
        Ok(all.into_iter().filter(|yes| yes.digest == digest).collect())
    }

    /// Moves a version to `next`, and with it the alias `live` and the version that was live before. In shadow and
    /// canary it starts with the first share of the policy, which then says why it stands there.
    ///
    /// # Errors
    /// A version that is not there, was not approved where that is needed, or may not move so; a caller who may not;
    /// or the database.
    pub async fn step(
        &self,
        act: Act<'_>,
        model: &str,
        number: i64,
        next: State,
        reason: &str,
    ) -> Result<(), RegistryError> {
        act.needs_on(model, "release versions", MAKERS)?;
        let version = self.version(model, number).await?;
        let is_release = matches!(next, State::Shadow | State::Canary | State::Live);
        if is_release {
            self.needs_approval(&version).await?;
        }
        let policy = self.policy(model).await?;
        let before = models::alias(&self.database, model, LIVE).await?.filter(|live| *live != number);
        let detail = format!("{} -> {}", version.state.code(), next.code());
        let event = act.event("version.move", &version.subject(), &version.digest, &detail);
        let (own, reason) = (model.to_owned(), reason.to_owned());
        self.change(event, move |open| {
            Box::pin(async move {
                checked_move(open, &own, number, next).await?;
                if is_release {
                    no_other_release(open, &own, number).await?;
                }
                releases::end(open, &own, number).await?;
                if matches!(next, State::Shadow | State::Canary) {
                    let share = policy.first_share(next);
                    let release = Release { model: own.clone(), number, share, since_ms: act.at_ms };
                    releases::put(open, &release).await?;
                    let reason = policy.tell(next, share);
                    return Ok(table::set_state(open, &own, number, next, &reason, act.at_ms).await?);
                }
                table::set_state(open, &own, number, next, &reason, act.at_ms).await?;
                if next == State::Live {
                    models::set_alias(open, &own, LIVE, number).await?;
                    if let Some(before) = before {
                        let why = format!("version {number} took its place");
                        table::set_state(open, &own, before, State::Deprecated, &why, act.at_ms).await?;
                    }
                }
                Ok(())
            })
        })
        .await
    }

    /// Takes a live version back, and puts the one before it in its place in the same step.
    ///
    /// # Errors
    /// No live version, none to go back to, a caller who may not, or the database.
    pub async fn rollback(&self, act: Act<'_>, model: &str) -> Result<(Version, Version), RegistryError> {
        act.needs_on(model, "roll back", MAKERS)?;
        let live = self.alias(model, LIVE).await?;
        let older = self.versions_of(model).await?;
        let back = older
            .into_iter()
            .filter(|version| version.state == State::Deprecated)
            .max_by_key(|version| version.updated_ms)
            .ok_or_else(|| {
                RegistryError::Conflict(format!("`{model}` has no earlier version to go back to"))
            })?;
        let detail = format!("{} -> {}", live.number, back.number);
        let event = act.event("model.rollback", model, &back.digest, &detail);
        let (own, from, to, why) = (model.to_owned(), live.number, back.number, act.why.to_owned());
        self.change(event, move |open| {
            Box::pin(async move {
                checked_move(open, &own, from, State::RolledBack).await?;
                checked_move(open, &own, to, State::Live).await?;
                let reason =
                    if why.is_empty() { "rolled back".to_owned() } else { format!("rolled back: {why}") };
                table::set_state(open, &own, from, State::RolledBack, &reason, act.at_ms).await?;
                let reason = format!("put back in place of version {from}");
                table::set_state(open, &own, to, State::Live, &reason, act.at_ms).await?;
                Ok(models::set_alias(open, &own, LIVE, to).await?)
            })
        })
        .await?;
        Ok((self.version(model, live.number).await?, self.version(model, back.number).await?))
    }
}

/// Refuses a release beside another one of the same model.
async fn no_other_release(open: &store::Transaction, model: &str, number: i64) -> Result<(), RegistryError> {
    match releases::locked(open, model).await? {
        Some(other) if other.number != number => Err(RegistryError::Conflict(format!(
            "version {} is being released: wait for it, or take it back (`manpasik models rollback {model}`)",
            subject(model, other.number)
        ))),
        Some(_) | None => Ok(()),
    }
}

/// Refuses a move that the states do not allow, as they are within this transaction.
pub(super) async fn checked_move(
    open: &store::Transaction,
    model: &str,
    number: i64,
    next: State,
) -> Result<(), RegistryError> {
    let found = table::state_locked(open, model, number).await?;
    let (state, _) =
        found.ok_or_else(|| RegistryError::NotFound(format!("version {}", subject(model, number))))?;
    if state.allows(next) {
        return Ok(());
    }
    let may: Vec<&str> = state.followers().iter().map(|state| state.code()).collect();
    Err(RegistryError::Conflict(format!(
        "version {} is {} and cannot become {}; it can become {}",
        subject(model, number),
        state.code(),
        next.code(),
        may.join(", ")
    )))
}
