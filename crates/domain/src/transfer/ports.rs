//! The port of imports and exports.

use async_trait::async_trait;
use thiserror::Error;

use super::{Document, ExportError, ImportMistake, ImportPlan, ImportReport};
use crate::admin::{ChangeError, ChangeRequest};
use crate::error::StoreError;

/// Who imports.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ImportActor {
    /// An administrator, by a request. Its key is not used: an import is repeatable without one.
    Staff(ChangeRequest),
    /// The operator, on the command line. There is no user, so the audit log gets no entries.
    CommandLine,
}

/// The reason why nothing was imported.
#[derive(Debug, Clone, Error)]
pub enum ImportError {
    #[error("the session has ended")]
    SessionEnded,
    #[error("only an administrator can import")]
    Forbidden,
    /// All mistakes, in the order of the document: at least one.
    #[error("the file has mistakes")]
    Invalid(Vec<ImportMistake>),
    /// The store was changed concurrently.
    #[error("the store was changed concurrently; import the file again")]
    Stale,
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<ChangeError> for ImportError {
    /// Returns the error of a change that is a part of an import. The import was decided from what was committed, so a refusal is the effect
    /// of a concurrent change.
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::SessionEnded => Self::SessionEnded,
            ChangeError::Forbidden => Self::Forbidden,
            ChangeError::Store(error) => Self::Store(error),
            ChangeError::KeyReused
            | ChangeError::NotFound(_)
            | ChangeError::PreconditionFailed
            | ChangeError::Stale
            | ChangeError::InvalidPrices(_)
            | ChangeError::InvalidShows(_)
            | ChangeError::ShowsOverlap(_)
            | ChangeError::Refused(_) => Self::Stale,
        }
    }
}

/// Imports and exports documents.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait TransferStore: Send + Sync {
    /// Adds the objects of the plan that the store does not have, with an entry in the audit log for each object if a member of staff imports them, atomically.
    ///
    /// MUST change nothing, and return, in this order:
    /// - `SessionEnded` if the session of a member of staff has ended, and `Forbidden` if they are not an administrator;
    /// - `Invalid` if [`ImportPlan::objects`] or [`super::PlannedObjects::shows`] finds mistakes, from what is committed;
    /// - `Stale` if a concurrent change makes a written object invalid.
    ///
    /// A dry run changes nothing, and returns the same report or error.
    async fn import(&self, plan: &ImportPlan, actor: &ImportActor) -> Result<ImportReport, ImportError>;

    /// Returns the catalog as one document, as committed at one instant ([`super::StoredCatalog::export`]).
    async fn export(&self) -> Result<Document, ExportError>;
}
