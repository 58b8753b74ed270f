//! The ports of seat maps.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Layout, ShowSeating};
use crate::error::StoreError;
use crate::ids::{LayoutId, ShowId};

/// Reads the part of a seat map that changes with every sale.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait SeatingStore: Send + Sync {
    /// Returns a show's prices and live claims. MUST return committed state: a caller whose claim was acknowledged sees it. Claims MUST NOT
    /// include holds that have expired by the store's clock.
    async fn seating(&self, show_id: ShowId) -> Result<Option<ShowSeating>, StoreError>;
}

/// Reads layouts. A layout that a show uses never changes, so it may be cached.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait LayoutStore: Send + Sync {
    /// Returns one layout.
    async fn layout(&self, id: LayoutId) -> Result<Option<Arc<Layout>>, StoreError>;
}
