//! Who shows a token, remembered for a moment, so that neither the database nor a signature is asked at every call. Within
//! that moment (`auth.token_cache_ms`) a token that was ended still counts.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use registry::{Principal, Registry};

use super::signed::Signed;
use crate::{app::recorder::now_ms, mlflow};

/// Tokens remembered at a time; more and the oldest answers are forgotten.
const HOLDERS_MAX: usize = 4_096;

/// Who shows a token, or why it does not count.
pub(super) type Holder = Result<Arc<Principal>, &'static str>;

/// Holders of tokens that were shown lately, and when it was asked who they are.
pub(super) struct Holders {
    registry: Registry,
    signed: Option<Signed>,
    patience: Duration,
    known: RwLock<HashMap<String, (Instant, Holder)>>,
}

impl Holders {
    /// Of the registry's own tokens, and of `signed` ones.
    pub(super) fn new(registry: Registry, signed: Option<Signed>, patience: Duration) -> Self {
        Self { registry, signed, patience, known: RwLock::default() }
    }

    /// Who shows `token` now, or did within the patience.
    pub(super) async fn of(&self, token: &str) -> anyhow::Result<Holder> {
        if let Some(holder) = self.remembered(token) {
            return Ok(holder);
        }
        let asked = Instant::now();
        let holder = match &self.signed {
            Some(signed) if Signed::is_one(token) => signed.of(token, now_ms() as f64 / 1e3).await?,
            Some(_) | None => {
                let holder = self.registry.token_holder(token, now_ms()).await?;
                holder.map(Arc::new).ok_or(mlflow::NOBODY)
            }
        };
        self.remember(token, asked, holder.clone());
        Ok(holder)
    }

    fn remembered(&self, token: &str) -> Option<Holder> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (asked, holder) = known.get(token)?;
        (asked.elapsed() < self.patience).then(|| holder.clone())
    }

    fn remember(&self, token: &str, asked: Instant, holder: Holder) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= HOLDERS_MAX {
            known.retain(|_, (asked, _)| asked.elapsed() < self.patience);
        }
        if known.len() >= HOLDERS_MAX {
            known.clear();
        }
        known.insert(token.to_owned(), (asked, holder));
    }
}
