//! The ports of prices.

use async_trait::async_trait;

use super::OfferedPrices;
use crate::error::StoreError;
use crate::ids::ShowId;

/// Reads prices.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PriceStore: Send + Sync {
    /// Returns all prices of a show, in any order, each with its ticket type, retired or not. Returns `None` for an unknown show.
    async fn show_prices(&self, show_id: ShowId) -> Result<Option<OfferedPrices>, StoreError>;
}
