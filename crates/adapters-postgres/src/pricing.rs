//! Reads prices with their ticket types.

use std::collections::BTreeMap;

use async_trait::async_trait;
use diesel::QueryableByName;
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text, Untyped};
use domain::StoreError;
use domain::ids::{ShowId, TicketTypeId};
use domain::pricing::{OfferedPrice, OfferedPrices, PriceStore, TicketType, TicketTypeNames};

use crate::error::bad_row;
use crate::rows::{currency, ticket_type};
use crate::statement::{bind, statement};
use crate::store::PostgresStore;

// A show without prices is one row without a price.
statement!(ReadShowPrices: Untyped = "
    SELECT s.currency, p.category, p.price_minor, p.id, p.code, p.names, p.needs_proof, p.position
    FROM shows s
    LEFT JOIN (
        SELECT p.show_id, p.category, p.price_minor, t.id, t.code, t.names, t.needs_proof, t.position
        FROM show_prices p JOIN ticket_types t ON t.code = p.ticket_type
    ) p ON p.show_id = s.id
    WHERE s.id = $1");

#[derive(QueryableByName)]
struct PriceRow {
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Nullable<Text>)]
    category: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    price_minor: Option<i64>,
    #[diesel(sql_type = Nullable<BigInt>)]
    id: Option<i64>,
    #[diesel(sql_type = Nullable<Text>)]
    code: Option<String>,
    #[diesel(sql_type = Nullable<Text>)]
    names: Option<String>,
    #[diesel(sql_type = Nullable<Bool>)]
    needs_proof: Option<bool>,
    #[diesel(sql_type = Nullable<Integer>)]
    position: Option<i32>,
}

#[async_trait]
impl PriceStore for PostgresStore {
    async fn show_prices(&self, show_id: ShowId) -> Result<Option<OfferedPrices>, StoreError> {
        let rows: Vec<PriceRow> = self.load(bind!(ReadShowPrices, BigInt = show_id.0)).await?;
        let Some(first) = rows.first() else { return Ok(None) };
        let currency = currency(&first.currency)?;
        let prices = rows.into_iter().filter_map(|row| price(row).transpose()).collect::<Result<_, _>>()?;
        Ok(Some(OfferedPrices { currency, prices }))
    }
}

/// Returns the price of a row, if it has one.
fn price(row: PriceRow) -> Result<Option<OfferedPrice>, StoreError> {
    let PriceRow { category, price_minor, id, code, names, needs_proof, position, .. } = row;
    let (Some(category), Some(minor)) = (category, price_minor) else { return Ok(None) };
    let (Some(id), Some(code), Some(names)) = (id, code, names) else {
        return Err(bad_row("a price without a ticket type"));
    };
    let ticket_type = TicketType {
        id: Some(TicketTypeId(id)),
        code: ticket_type(&code)?,
        names: parsed_names(&names)?,
        needs_proof: needs_proof.unwrap_or_default(),
        position: position.unwrap_or_default(),
    };
    Ok(Some(OfferedPrice { category, ticket_type, minor }))
}

/// Parses the stored names of a ticket type: a JSON object.
pub fn parsed_names(stored: &str) -> Result<TicketTypeNames, StoreError> {
    let names: BTreeMap<String, String> = serde_json::from_str(stored).map_err(bad_row)?;
    TicketTypeNames::parse(names).map_err(bad_row)
}

/// Returns the names of a ticket type as they are stored.
pub fn stored_names(names: &TicketTypeNames) -> String {
    let names: BTreeMap<&str, &str> = names.iter().collect();
    serde_json::json!(names).to_string()
}
