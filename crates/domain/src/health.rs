//! Whether what we depend on can be reached, as a port.

use async_trait::async_trait;

use crate::StoreError;

/// How a pool of connections is used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PoolUse {
    /// What it is called, the same for every server: `postgresql`, `sqlite_readers`, …
    pub name: &'static str,
    /// How many connections it may have.
    pub size_max: usize,
    /// How many are being used.
    pub in_use: usize,
    /// How many calls wait for one.
    pub waiting: usize,
}

/// A defect that leaves a dependency usable: the server answers `degraded`, and an operator should act.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Degradation {
    /// The name under which `/readyz` lists it: `replication`, `clock`, …
    pub name: &'static str,
    /// The state that `/readyz` shows under that name: `none`, `behind`, …
    pub state: &'static str,
    /// What is wrong and what to do, for an operator.
    pub message: String,
}

/// Something the server depends on.
#[async_trait]
pub trait Dependency: Send + Sync {
    /// What `/readyz` calls it: `postgresql`, `sqlite`, …
    fn name(&self) -> &'static str;

    /// Returns whether the server is of no use without it. What is not needed makes a server slower when it is gone.
    fn is_needed(&self) -> bool {
        true
    }

    /// How its pools of connections are used, each with its name. Empty if it has none.
    fn pools(&self) -> Vec<PoolUse> {
        Vec::new()
    }

    /// Returns whether commits are replicated before they are acknowledged; `None` where this is not asked for.
    fn is_replicated(&self) -> Option<bool> {
        None
    }

    /// Checks that the dependency can do its work, and returns the defects that it can work with. MUST end within two seconds.
    async fn check(&self) -> Result<Vec<Degradation>, StoreError>;
}
