//! The history of commits that a store continues.

use std::sync::Arc;

use super::command::{KeyName, Scope};

/// The history of commits that a store continues. It changes after a failover to a server that had not received every commit, and after a
/// restored backup. A commit of one history may be missing in another.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct History(pub Arc<str>);

impl History {
    /// Returns the name under which an answer of this history is cached.
    pub fn name(&self, key: &KeyName) -> KeyName {
        let scope = if self.0.is_empty() { key.scope.0.clone() } else { format!("{} {}", self.0, key.scope.0) };
        KeyName { scope: Scope(scope), ..key.clone() }
    }
}

/// Knows the history of a store.
#[cfg_attr(feature = "mock", mockall::automock)]
pub trait HistorySource: Send + Sync {
    /// Returns the history that the newest connection to the store has seen.
    fn history(&self) -> History;
}
