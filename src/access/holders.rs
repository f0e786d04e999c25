//! Who holds a token, remembered for a moment, so that the database is not asked at every call. Within that moment
//! (`auth.token_cache_ms`) a token that was ended still counts.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, Instant},
};

use registry::{Principal, Registry, RegistryError};

use crate::app::recorder::now_ms;

/// Tokens remembered at a time; more and the oldest answers are forgotten.
const HOLDERS_MAX: usize = 4_096;

/// When it was asked who holds a token, and who does, if anybody.
type Asked = (Instant, Option<Arc<Principal>>);

/// Holders of tokens that were shown lately.
pub(super) struct Holders {
    registry: Registry,
    patience: Duration,
    known: RwLock<HashMap<String, Asked>>,
}

impl Holders {
    pub(super) fn new(registry: Registry, patience: Duration) -> Self {
        Self { registry, patience, known: RwLock::default() }
    }

    /// Who holds `token` now, or did within the patience.
    pub(super) async fn of(&self, token: &str) -> Result<Option<Arc<Principal>>, RegistryError> {
        if let Some(holder) = self.remembered(token) {
            return Ok(holder);
        }
        let asked = Instant::now();
        let holder = self.registry.token_holder(token, now_ms()).await?.map(Arc::new);
        self.remember(token, asked, holder.clone());
        Ok(holder)
    }

    fn remembered(&self, token: &str) -> Option<Option<Arc<Principal>>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let (asked, holder) = known.get(token)?;
        (asked.elapsed() < self.patience).then(|| holder.clone())
    }

    fn remember(&self, token: &str, asked: Instant, holder: Option<Arc<Principal>>) {
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
