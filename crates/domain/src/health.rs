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

/// Something the server depends on.
#[async_trait]
pub trait Dependency: Send + Sync {
    /// What `/readyz` calls it: `postgresql`, `sqlite`, …
    fn name(&self) -> &'static str;

    /// Whether the server is of no use without it. What is not needed makes a server slower when it is gone.
    fn is_needed(&self) -> bool {
        true
    }

    /// How its pools of connections are used, each with its name. Empty if it has none.
    fn pools(&self) -> Vec<PoolUse> {
        Vec::new()
    }

    /// Asks the dependency for an answer. MUST end within two seconds.
    async fn check(&self) -> Result<(), StoreError>;
}
