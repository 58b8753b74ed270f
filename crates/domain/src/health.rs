//! The port of dependencies and their health.

use async_trait::async_trait;

use crate::StoreError;

/// The use of a pool of connections.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolUse {
    /// The name of the pool, the same on every server: `postgresql`, `sqlite_readers`, …
    pub name: &'static str,
    /// The maximum number of connections.
    pub size_max: usize,
    /// The number of connections in use.
    pub in_use: usize,
    /// The number of calls that wait for a connection.
    pub waiting: usize,
}

/// A defect that leaves a dependency usable: the server reports `degraded`, and an operator should act.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Degradation {
    /// The name in `/readyz`: `replication`, `clock`, …
    pub name: &'static str,
    /// The state in `/readyz` under that name: `none`, `behind`, …
    pub state: &'static str,
    /// The defect and its remedy, for an operator.
    pub message: String,
}

/// A dependency of the server.
#[async_trait]
pub trait Dependency: Send + Sync {
    /// Returns the name in `/readyz`: `postgresql`, `sqlite`, …
    fn name(&self) -> &'static str;

    /// Returns whether the server cannot work without it. Without a dependency that is not needed, the server is only slower.
    fn is_needed(&self) -> bool {
        true
    }

    /// Returns the use of its pools of connections. Empty if it has none.
    fn pools(&self) -> Vec<PoolUse> {
        Vec::new()
    }

    /// Returns whether commits are replicated before they are acknowledged; `None` if replication is not configured.
    fn is_replicated(&self) -> Option<bool> {
        None
    }

    /// Checks that the dependency works, and returns the defects with which it can still work. MUST end within two seconds.
    async fn check(&self) -> Result<Vec<Degradation>, StoreError>;
}
