//! Tokens: how callers show who they are. The secret half is told once and kept as a hash.
//!
//! A token reads `mps_<id>_<secret>`: the id finds the row, the secret is 32 random bytes, so a plain SHA-256 of it
//! cannot be guessed back and a slow hash would only slow down every call.

use std::collections::BTreeSet;

use sha2::{Digest, Sha256};
use store::StoreError;
use uuid::Uuid;

use super::{Act, Registry};
use crate::{
    error::RegistryError,
    principal::{LOCAL, Principal, Role, Scope},
    store::{entity::token, tokens as table},
};

const PREFIX: &str = "mps";

/// A token as it is told once.
#[derive(Clone, PartialEq, Eq)]
pub struct NewToken {
    /// What the caller sends.
    pub secret: String,
    /// What is kept.
    pub info: TokenInfo,
}

/// What is known of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenInfo {
    /// The half that is no secret.
    pub id: String,
    /// Name of its holder.
    pub name: String,
    /// What the holder may do.
    pub roles: BTreeSet<Role>,
    /// With which models.
    pub models: Scope,
    /// ms since the Unix epoch.
    pub created_ms: i64,
    /// ms since the Unix epoch; none: never.
    pub expires_ms: Option<i64>,
    /// ms since the Unix epoch, once it was ended.
    pub revoked_ms: Option<i64>,
}

impl Registry {
    /// Makes a token for `name`, who may do so much with `models`.
    ///
    /// # Errors
    /// A name that is taken or cannot be one, no role, a caller who is no admin, or the database.
    pub async fn token_create(
        &self,
        act: Act<'_>,
        name: &str,
        roles: &BTreeSet<Role>,
        models: &Scope,
        expires_ms: Option<i64>,
    ) -> Result<NewToken, RegistryError> {
        act.needs("make tokens", &[Role::Admin])?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '@');
        if name.is_empty() || name.len() > 100 || !name.chars().all(fits) || name == LOCAL {
            let reason = "has 1 to 100 letters, digits and `._-@`, and is not `local`";
            return Err(RegistryError::invalid("name", reason));
        }
        if roles.is_empty() {
            return Err(RegistryError::invalid("roles", "at least one is needed"));
        }
        let id = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let half = || Uuid::new_v4().simple().to_string();
        let secret = format!("{}{}", half(), half());
        let codes: Vec<&str> = roles.iter().map(|role| role.code()).collect();
        let row = token::Model {
            id: id.clone(),
            name: name.to_owned(),
            hash: hash(&secret),
            roles: codes.join(","),
            created_ms: act.at_ms,
            expires_ms,
            revoked_ms: None,
            models: models.to_string(),
        };
        let info = info(&row)?;
        let within = if models.is_all() { String::new() } else { format!(" of {models}") };
        let event = act.event("token.create", name, "", &format!("{}{within}", codes.join(",")));
        let written = self
            .change(event, move |open| Box::pin(async move { Ok(table::insert(open, row).await?) }))
            .await;
        match written {
            Err(RegistryError::Store(StoreError::Unique { .. })) => {
                Err(RegistryError::Exists(format!("token of `{name}`")))
            }
            other => other.map(|()| NewToken { secret: format!("{PREFIX}_{id}_{secret}"), info }),
        }
    }

    /// Ends the token of `name`.
    ///
    /// # Errors
    /// None of that name, a caller who is no admin, or the database.
    pub async fn token_revoke(&self, act: Act<'_>, name: &str) -> Result<(), RegistryError> {
        act.needs("revoke tokens", &[Role::Admin])?;
        let row = table::by_name(&self.database, name).await?;
        let row = row.ok_or_else(|| RegistryError::NotFound(format!("token of `{name}`")))?;
        self.change(act.event("token.revoke", name, "", ""), move |open| {
            Box::pin(async move { Ok(table::revoke(open, &row.id, act.at_ms).await?) })
        })
        .await
    }

    /// Every token, without its secret.
    ///
    /// # Errors
    /// The database.
    pub async fn tokens(&self) -> Result<Vec<TokenInfo>, RegistryError> {
        table::list(&self.database).await?.iter().map(info).collect()
    }

    /// Who holds `secret` at `now_ms`; nobody, when it is none, has ended or was never made.
    ///
    /// # Errors
    /// The database.
    pub async fn token_holder(&self, secret: &str, now_ms: i64) -> Result<Option<Principal>, RegistryError> {
        let mut parts = secret.splitn(3, '_');
        let (Some(PREFIX), Some(id), Some(rest)) = (parts.next(), parts.next(), parts.next()) else {
            return Ok(None);
        };
        let Some(row) = table::get(&self.database, id).await? else { return Ok(None) };
        // Hashes are compared: how long that takes tells nothing of the secret.
        let is_over = row.revoked_ms.is_some() || row.expires_ms.is_some_and(|end| end <= now_ms);
        if is_over || row.hash != hash(rest) {
            return Ok(None);
        }
        let TokenInfo { name, roles, models, .. } = info(&row)?;
        Ok(Some(Principal::of_token(&name, roles).within(models)))
    }
}

fn hash(secret: &str) -> String {
    hex::encode(Sha256::digest(secret.as_bytes()))
}

fn info(row: &token::Model) -> Result<TokenInfo, RegistryError> {
    let roles: Option<BTreeSet<Role>> = row.roles.split(',').map(Role::read).collect();
    let roles = roles.ok_or_else(|| {
        RegistryError::invalid(
            "roles",
            format!("token of `{}` has an unknown role in `{}`", row.name, row.roles),
        )
    })?;
    let models = Scope::of(row.models.split(',').filter(|entry| !entry.is_empty()));
    Ok(TokenInfo {
        id: row.id.clone(),
        name: row.name.clone(),
        roles,
        models: models.map_err(|reason| RegistryError::invalid("models", reason))?,
        created_ms: row.created_ms,
        expires_ms: row.expires_ms,
        revoked_ms: row.revoked_ms,
    })
}
