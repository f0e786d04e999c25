//! "Have I looked like this before?": which earlier sessions of a user have a sweep of the same shape.
//!
//! The vector service says which sessions are near; what is answered of them comes from the rows of this module, where
//! the owner is checked once more.

mod convert;

use std::collections::HashMap;

use clinical::cartridge::Cartridge;
use clinical::fingerprint::Fingerprint;
use uuid::Uuid;

pub(super) use self::convert::{answer, query};
use super::calls::Core;
use super::fingerprints::{Wanted, has_shape};
use super::rules::identifier;
use super::session::Measurement;
use super::store::Found;
use crate::kernel::{Limits, ServiceError};

/// Similar to what.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Like {
    /// A finished session of the user.
    Session(Uuid),
    /// A sweep, as many channels as its cartridge has.
    Channels(Vec<f32>),
}

/// What is asked for, every field checked.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SimilarQuery {
    user_id: String,
    like: Like,
    k: usize,
    wanted: Wanted,
}

impl SimilarQuery {
    /// Checks what was asked for; no `k` is the default.
    pub(super) fn check(
        user_id: String,
        like: Like,
        k: u32,
        wanted: Wanted,
        limits: &Limits,
    ) -> Result<Self, ServiceError> {
        identifier("user_id", &user_id, limits)?;
        if k > limits.similar_max {
            let reason = format!("{k} is too many: at most {}", limits.similar_max);
            return Err(ServiceError::invalid("k", reason));
        }
        if let (Some(from), Some(to)) = (wanted.from_ms, wanted.to_ms)
            && from >= to
        {
            let reason = format!("{to} is not after from_unix_ms {from}: the window is empty");
            return Err(ServiceError::invalid("to_unix_ms", reason));
        }
        let k = if k == 0 { limits.similar_default } else { k };
        Ok(Self { user_id, like, k: k as usize, wanted })
    }
}

/// A session and how near it is.
pub(super) type Similar = (Measurement, f64);

impl Core {
    /// Sessions of the user that are similar, nearest first.
    pub(super) async fn similar(&self, query: SimilarQuery) -> Result<Vec<Similar>, ServiceError> {
        let SimilarQuery { user_id, like, k, wanted } = query;
        let (own, channels) = match like {
            Like::Session(id) => (Some(id), self.sweep(&user_id, id).await?),
            Like::Channels(channels) => (None, channels),
        };
        let field = if own.is_some() { "session_id" } else { "channels.values" };
        let fingerprint = fingerprint(field, &channels)?;
        fits(wanted.cartridge, channels.len())?;
        // One more, as the session itself is the nearest of all.
        let nearest = self.fingerprints.nearest(&user_id, fingerprint, k + 1, wanted).await;
        let nearest = nearest.map_err(unavailable)?;
        let nearest: Vec<_> = nearest.into_iter().filter(|(id, _)| Some(*id) != own).take(k).collect();
        self.described(&user_id, nearest).await
    }

    /// The sweep of a finished session of the user. Somebody else's session is not told apart from none.
    async fn sweep(&self, user_id: &str, id: Uuid) -> Result<Vec<f32>, ServiceError> {
        let unknown = || ServiceError::NotFound { what: format!("session {id} of this user") };
        if let Some(running) = self.sessions.get(id) {
            let own = running.lock().await.session.new.user_id == user_id;
            return Err(if own { super::rules::Status::Active.refusal() } else { unknown() });
        }
        match self.store.find(id).await? {
            Some(Found::Ended(found)) if found.session.new.user_id == user_id => Ok(found.ended.channels),
            Some(Found::Ended(_) | Found::Running) | None => Err(unknown()),
        }
    }

    async fn described(
        &self,
        user_id: &str,
        nearest: Vec<(Uuid, f64)>,
    ) -> Result<Vec<Similar>, ServiceError> {
        let ids: Vec<Uuid> = nearest.iter().map(|(id, _)| *id).collect();
        let found = self.store.ended(user_id, &ids).await?;
        let mut found: HashMap<Uuid, Measurement> =
            found.into_iter().map(|measurement| (measurement.session.id, measurement)).collect();
        let described = |(id, similarity)| Some((found.remove(&id)?, similarity));
        Ok(nearest.into_iter().filter_map(described).collect())
    }
}

fn fingerprint(field: &str, channels: &[f32]) -> Result<Fingerprint, ServiceError> {
    if !has_shape(channels.len()) {
        let reason = format!("{} channels have no shape to compare: 88 are the fewest", channels.len());
        return Err(ServiceError::invalid(field, reason));
    }
    Fingerprint::new(channels).map_err(|error| ServiceError::invalid(field, error.to_string()))
}

/// Refuses a cartridge whose sweeps have another length: nothing could ever be found.
fn fits(cartridge: Option<&Cartridge>, channels: usize) -> Result<(), ServiceError> {
    match cartridge.filter(|cartridge| cartridge.channels() != channels) {
        None => Ok(()),
        Some(cartridge) => {
            let (code, has) = (cartridge.code, cartridge.channels());
            let reason = format!("{code} has {has} channels, the sweep has {channels}: they do not compare");
            Err(ServiceError::invalid("cartridge_code", reason))
        }
    }
}

fn unavailable(status: tonic::Status) -> ServiceError {
    let reason = "similar sessions cannot be found now: try again".to_owned();
    ServiceError::Unavailable { reason, source: Some(Box::new(status)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(error: &ServiceError) -> &str {
        let ServiceError::Invalid { field, .. } = error else {
            panic!("expected a wrong field, got {error}")
        };
        field
    }

    #[test]
    fn a_question_is_bounded_and_its_window_not_empty() {
        let limits = Limits::default();
        let ask = |k, from_ms, to_ms| {
            let wanted = Wanted { from_ms, to_ms, cartridge: None };
            SimilarQuery::check("u".to_owned(), Like::Channels(vec![]), k, wanted, &limits)
        };
        assert_eq!(ask(0, None, None).map(|query| query.k).ok(), Some(10));
        assert_eq!(ask(100, Some(1), Some(2)).map(|query| query.k).ok(), Some(100));
        assert_eq!(field(&ask(101, None, None).expect_err("too many")), "k");
        assert_eq!(field(&ask(1, Some(2), Some(2)).expect_err("empty")), "to_unix_ms");
    }

    #[test]
    fn what_has_no_shape_is_refused_with_its_field() {
        for channels in [vec![0.0; 88], vec![f32::NAN; 88], vec![1.0; 8], vec![1.0; 87], vec![]] {
            let refused = fingerprint("channels.values", &channels).expect_err("no shape");
            assert_eq!(field(&refused), "channels.values");
        }
        let basic = Cartridge::parse("01:01").ok();
        assert!(fits(basic, 88).is_ok() && fits(None, 896).is_ok());
        assert_eq!(field(&fits(basic, 896).expect_err("another length")), "cartridge_code");
    }
}
