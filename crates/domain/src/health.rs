//! Whether what we depend on can be reached, as a port.

use async_trait::async_trait;

use crate::StoreError;

/// Something the server depends on.
#[async_trait]
pub trait Dependency: Send + Sync {
    /// What `/readyz` calls it: `postgresql`, `sqlite`, …
    fn name(&self) -> &'static str;

    /// Asks the dependency for an answer. MUST end within two seconds.
    async fn check(&self) -> Result<(), StoreError>;
}
