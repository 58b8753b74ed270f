//! Prices: ticket types, price lists with their rules, and the tax in a price.
//!
//! A show has a price for each pair of a seat category and a ticket type that it sells. The server computes prices; clients never do.

mod draft;
mod managed;
mod ports;
mod price_list;
mod service;
mod show_prices;
mod tax;
mod ticket_type;

pub use draft::{
    ManagedPriceList, PriceDraft, PriceListChange, PriceListCursor, PriceListDetails, PriceListDraft, PriceListFilter,
    PriceListMistake, PriceMistakeReason, PriceRuleDraft, PriceTerms, PricesAt, check_prices,
};
pub use managed::{
    ManagedTicketType, TicketTypeChange, TicketTypeCursor, TicketTypeDetails, TicketTypePosition, search_folded,
};
#[cfg(feature = "mock")]
pub use ports::MockPriceStore;
pub use ports::PriceStore;
pub use price_list::{
    MissingPrices, PRICE_MAX_MINOR, PriceList, PriceListError, PricePlace, PriceRule, PriceRuleName, parse_weekday,
    weekday_name,
};
pub use service::{PricingService, ShowPricesError};
pub use show_prices::{OfferedPrice, OfferedPrices, ShowPrices};
pub use tax::tax_included;
pub use ticket_type::{
    TicketType, TicketTypeCode, TicketTypeCodeError, TicketTypeError, TicketTypeNames, is_language_tag,
};
