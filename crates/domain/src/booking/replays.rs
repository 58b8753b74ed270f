//! A place that is faster than the store for what idempotency keys remember, as a port.

use std::sync::Arc;

use async_trait::async_trait;

use super::command::{Fingerprint, KeyName, Scope};
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

/// The line of commits that a store's data continues: another one after a failover to a server that had not received every commit,
/// or after a restored backup. What was committed in one history may be missing in another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History(pub Arc<str>);

impl History {
    /// The name under which an answer of this history is cached.
    pub fn name(&self, key: &KeyName) -> KeyName {
        let scope = if self.0.is_empty() { key.scope.0.clone() } else { format!("{} {}", self.0, key.scope.0) };
        KeyName { scope: Scope(scope), ..key.clone() }
    }
}

/// Knows the history of a store.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait HistorySource: Send + Sync {
    /// The history that the newest connection to the store has seen.
    fn history(&self) -> History;
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
