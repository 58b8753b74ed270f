//! Failures of a store, as far as callers can act on them.

use std::error::Error;
use std::sync::Arc;

use thiserror::Error as ThisError;

/// The cause of a failure, for the log only. Shared, because one failure can fail a whole batch.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// A failed call to a store. Nothing was written.
#[derive(Debug, Clone, ThisError)]
pub enum StoreError {
    /// The store cannot be reached, or is too busy to answer in time. A later retry may succeed.
    #[error("the store is unavailable")]
    Unavailable(#[source] Cause),
    /// The store returned a result that this program does not expect: a bug or damaged data.
    #[error("the store failed")]
    Internal(#[source] Cause),
}

impl StoreError {
    /// Returns `Unavailable` with this cause.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// Returns `Internal` with this cause.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }
}

/// Returns an error with its causes, in one line. A cause whose text is already part of the error's text is not repeated.
pub fn with_sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let own = error.to_string();
        if !text.contains(&own) {
            text.push_str(": ");
            text.push_str(&own);
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_shown_with_its_causes_each_once() {
        #[derive(Debug, ThisError)]
        #[error("{what}: {source}")]
        struct Outer {
            what: &'static str,
            source: StoreError,
        }
        let full = StoreError::unavailable("the disk is full");
        assert_eq!(with_sources(&full), "the store is unavailable: the disk is full");
        let outer = Outer { what: "no backup", source: full };
        assert_eq!(with_sources(&outer), "no backup: the store is unavailable: the disk is full");
    }
}
