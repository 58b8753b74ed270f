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
    /// Returns `Unavailable` with its cause.
    pub fn unavailable(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Unavailable(Arc::from(cause.into()))
    }

    /// Returns `Internal` with its cause.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Internal(Arc::from(cause.into()))
    }
}

/// Returns an error with its causes, in one line. A cause that an error already names in its own text is not repeated.
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
