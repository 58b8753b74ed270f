//! Reads prices with their ticket types.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::ids::{ShowId, TicketTypeId};
use domain::pricing::{OfferedPrice, OfferedPrices, PriceStore, TicketType, TicketTypeNames};
use domain::seating::CategoryPrice;

use crate::failure::Failure;
use crate::row::{currency, parsed, small, ticket_type};
use crate::schema::{show_prices, shows, ticket_types};
use crate::store::SqliteStore;

#[async_trait]
impl PriceStore for SqliteStore {
    async fn show_prices(&self, show_id: ShowId) -> Result<Option<OfferedPrices>, StoreError> {
        Ok(self.read(move |connection| offered_prices(connection, show_id)).await?)
    }
}

fn offered_prices(connection: &mut SqliteConnection, show_id: ShowId) -> Result<Option<OfferedPrices>, Failure> {
    let code: Option<String> =
        shows::table.find(show_id.0).select(shows::currency).get_result(connection).optional()?;
    let Some(code) = code else { return Ok(None) };
    let rows: Vec<(String, i64, TicketTypeRow)> = show_prices::table
        .inner_join(ticket_types::table.on(ticket_types::code.eq(show_prices::ticket_type)))
        .filter(show_prices::show_id.eq(show_id.0))
        .select((show_prices::category, show_prices::price_minor, TicketTypeRow::as_select()))
        .load(connection)?;
    let price = |(category, minor, row)| Ok(OfferedPrice { category, ticket_type: TicketType::try_from(row)?, minor });
    let prices = rows.into_iter().map(price).collect::<Result<_, Failure>>()?;
    Ok(Some(OfferedPrices { currency: currency(&code)?, prices }))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = ticket_types)]
struct TicketTypeRow {
    id: i64,
    code: String,
    names: String,
    needs_proof: i64,
    position: i64,
}

impl TryFrom<TicketTypeRow> for TicketType {
    type Error = Failure;

    fn try_from(row: TicketTypeRow) -> Result<Self, Failure> {
        Ok(Self {
            id: Some(TicketTypeId(row.id)),
            code: ticket_type(&row.code)?,
            names: parsed_names(&row.names)?,
            needs_proof: row.needs_proof != 0,
            position: small(row.position, "position")?,
        })
    }
}

/// Reads the prices of a show, ordered by category, then ticket type.
pub(crate) fn prices_of(connection: &mut SqliteConnection, show_id: ShowId) -> Result<Vec<CategoryPrice>, Failure> {
    let rows: Vec<(String, String, i64)> = show_prices::table
        .filter(show_prices::show_id.eq(show_id.0))
        .select((show_prices::category, show_prices::ticket_type, show_prices::price_minor))
        .order((show_prices::category, show_prices::ticket_type))
        .load(connection)?;
    let price = |(category, code, minor): (_, String, _)| {
        Ok(CategoryPrice { category, ticket_type: ticket_type(&code)?, minor })
    };
    rows.into_iter().map(price).collect()
}

/// Parses the stored names of a ticket type: a JSON object.
pub(crate) fn parsed_names(stored: &str) -> Result<TicketTypeNames, Failure> {
    let names: BTreeMap<String, String> = parsed(serde_json::from_str(stored), "names")?;
    parsed(TicketTypeNames::parse(names), "names")
}

/// Returns the names of a ticket type as they are stored.
pub(crate) fn stored_names(names: &TicketTypeNames) -> String {
    let names: BTreeMap<&str, &str> = names.iter().collect();
    serde_json::json!(names).to_string()
}
