//! The ports of prices.

use async_trait::async_trait;

use super::{ManagedPriceList, ManagedTicketType, OfferedPrices, PriceListCursor, PriceListFilter, TicketTypeCursor};
use crate::error::StoreError;
use crate::ids::{PriceListId, ShowId, TicketTypeId};
use crate::page::PageRequest;

/// Reads prices.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait PriceStore: Send + Sync {
    /// Returns all prices of a show, in any order, each with its ticket type, retired or not. Returns `None` for an unknown show.
    async fn show_prices(&self, show_id: ShowId) -> Result<Option<OfferedPrices>, StoreError>;

    /// Returns the first [`PageRequest::rows`] ticket types after the given position, retired or not, ordered by position, then code. With
    /// `search`, a folded text, only those with this substring in their code or names. Invalid rows are left out and logged.
    async fn ticket_types(
        &self,
        search: Option<String>,
        page: &PageRequest<TicketTypeCursor>,
    ) -> Result<Vec<ManagedTicketType>, StoreError>;

    /// Returns one ticket type, retired or not.
    async fn ticket_type(&self, id: TicketTypeId) -> Result<Option<ManagedTicketType>, StoreError>;

    /// Returns the first [`PageRequest::rows`] price lists after the given position, retired or not, ordered by name, then id. Invalid rows are
    /// left out and logged.
    async fn price_lists(
        &self,
        filter: &PriceListFilter,
        page: &PageRequest<PriceListCursor>,
    ) -> Result<Vec<ManagedPriceList>, StoreError>;

    /// Returns one price list, retired or not.
    async fn price_list(&self, id: PriceListId) -> Result<Option<ManagedPriceList>, StoreError>;
}
