//! The use cases of imports and exports.

use std::sync::Arc;

use super::{Document, ExportError, ImportActor, ImportError, ImportMode, ImportPlan, ImportReport, TransferStore};
use crate::clock::Clock;

/// Imports and exports the catalog.
#[derive(Clone)]
pub struct TransferService {
    store: Arc<dyn TransferStore>,
    clock: Arc<dyn Clock>,
}

impl TransferService {
    /// Returns a service on this store. The clock gives the day of an import.
    pub fn new(store: Arc<dyn TransferStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }

    /// Imports a document, all or none.
    pub async fn import(
        &self,
        document: Document,
        mode: ImportMode,
        is_dry_run: bool,
        actor: &ImportActor,
    ) -> Result<ImportReport, ImportError> {
        let plan = ImportPlan { document, now: self.clock.now(), mode, is_dry_run };
        self.store.import(&plan, actor).await
    }

    /// Exports the catalog.
    pub async fn export(&self) -> Result<Document, ExportError> {
        self.store.export().await
    }
}
