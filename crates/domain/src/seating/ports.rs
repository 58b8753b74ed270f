//! What seat maps need of a store.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Layout, ShowSeating};
use crate::error::StoreError;
use crate::ids::{LayoutId, ShowId};

/// Reads what changes from sale to sale.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SeatingStore: Send + Sync {
    /// Returns a show's prices and the claims that hold now, as committed: who was just answered that a seat is theirs
    /// sees it. Claims MUST NOT include holds that ran out by the store's clock.
    async fn seating(&self, show_id: ShowId) -> Result<Option<ShowSeating>, StoreError>;
}

/// Reads layouts. A layout that a show uses never changes, so it may be kept.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait LayoutStore: Send + Sync {
    /// Returns one layout.
    async fn layout(&self, id: LayoutId) -> Result<Option<Arc<Layout>>, StoreError>;
}
