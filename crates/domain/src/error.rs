//! What can go wrong in a store, as far as callers can act on it.

use std::error::Error;
use std::sync::Arc;

use thiserror::Error as ThisError;

/// The cause of a failure, for the log alone. Shared, because one failure can fail a whole batch.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A store's call that failed. Nothing was written.
#[derive(Debug, Clone, ThisError)]
pub enum StoreError {
    /// The store cannot be reached, or is too busy to answer in time. Trying again later helps.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// The store answered something that this program does not expect: a bug or damaged data.
    #[error("the store failed")]
    Internal(#[source] Cause),
}

impl StoreError {
    /// The store is unavailable, because of `cause`.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// The store failed, because of `cause`.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }
}
