//! The port for a cache of the answers that idempotency keys remember.

use std::sync::Arc;

use async_trait::async_trait;

use super::command::{Fingerprint, KeyName};
use super::snapshot::Subject;

/// The cached answer of an idempotency key.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    pub fingerprint: Fingerprint,
    pub subject: Subject,
    /// The body of the response.
    pub body: Arc<[u8]>,
}

/// Caches answers, so that retries are cheap.
///
/// The key in the store decides; if the cache has no entry, the store is asked. So it has no errors: an entry that is slow, missing or
/// invalid is `None`.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ReplayCache: Send + Sync {
    /// Returns the cached answer.
    ///
    /// MUST return `None` unless the entry is exactly what [`remember`](Self::remember) stored for this key, even if others can write to the
    /// cache. MUST end within 50 milliseconds.
    async fn recall(&self, key: &KeyName) -> Option<Replay>;

    /// Stores a committed answer. May forget it at any time. MUST end within 50 milliseconds.
    async fn remember(&self, key: &KeyName, replay: &Replay);
}
