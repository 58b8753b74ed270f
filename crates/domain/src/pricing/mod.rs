//! Prices: ticket types, price lists with their rules, and the tax in a price.
//!
//! A show has a price for each pair of a seat category and a ticket type that it sells. The server computes prices; clients never do.

mod price_list;
mod tax;
mod ticket_type;

pub use price_list::{MissingPrices, PRICE_MAX_MINOR, PriceList, PriceListError, PricePlace, PriceRule};
pub use tax::tax_included;
pub use ticket_type::{
    TicketType, TicketTypeCode, TicketTypeCodeError, TicketTypeError, TicketTypeNames, is_language_tag,
};
