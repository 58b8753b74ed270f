//! A place that is faster than the store for what idempotency keys remember, as a port.

use std::sync::Arc;

use async_trait::async_trait;

use super::command::{Fingerprint, KeyName};
use super::snapshot::Subject;

/// What a key remembers of the request that succeeded by it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replay {
    /// The digest of the request.
    pub fingerprint: Fingerprint,
    /// What was made or changed.
    pub subject: Subject,
    /// The body of the response.
    pub body: Arc<[u8]>,
}

/// Remembers answers for the time that a key's answer is given again to the byte.
///
/// It makes retries cheap and decides nothing: the key is a row of the command's own transaction, and whoever finds nothing here
/// asks the store. So it has no errors: what is slow, broken, empty or not as it was written is `None`.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait ReplayCache: Send + Sync {
    /// What the key remembers.
    ///
    /// MUST be `None` unless it is to the byte what [`remember`](Self::remember) was given for this very key, whoever else can
    /// write where it is kept; MUST end within 50 milliseconds.
    async fn recall(&self, key: &KeyName) -> Option<Replay>;

    /// Remembers what was committed. May forget it at any time. MUST NOT make the caller wait for longer than 50 milliseconds.
    async fn remember(&self, key: &KeyName, replay: &Replay);
}
