//! Reads prices with their ticket types.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use domain::StoreError;
use domain::admin::ChangeError;
use domain::ids::{PriceListId, ShowId, TheatreId, TicketTypeId};
use domain::page::{Filling, PageRequest};
use domain::pricing::{
    ManagedPriceList, ManagedTicketType, OfferedPrice, OfferedPrices, PriceListCursor, PriceListFilter, PriceStore,
    TicketType, TicketTypeCursor,
};
use stored_json::{parsed_names, parsed_price_list};

use crate::error::bad_row;
use crate::rows::{currency, listed, ticket_type};
use crate::schema::{price_lists, ticket_types};
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

// A show without prices is one row without a price.
statement!(ReadShowPrices: Untyped = "
    SELECT s.currency, p.category, p.price_minor, p.id, p.code, p.names, p.needs_proof, p.position
    FROM shows s
    LEFT JOIN (
        SELECT p.show_id, p.category, p.price_minor, t.id, t.code, t.names, t.needs_proof, t.position
        FROM show_prices p JOIN ticket_types t ON t.code = p.ticket_type
    ) p ON p.show_id = s.id
    WHERE s.id = $1");

macro_rules! ticket_type_columns {
    () => {
        "SELECT id, code, names, needs_proof, position, retired_at, version FROM ticket_types "
    };
}

statement!(ListTicketTypes: Untyped = concat!(ticket_type_columns!(), "
    WHERE ($1::integer IS NULL OR (position, code) > ($1, $2 COLLATE \"C\"))
      AND ($3::text IS NULL OR position($3 IN coalesce(search_folded, lower(code || chr(10) || names))) > 0)
    ORDER BY position, code
    LIMIT $4"));
statement!(OneTicketType: Untyped = concat!(ticket_type_columns!(), "WHERE id = $1"));

#[derive(QueryableByName)]
#[diesel(table_name = ticket_types)]
struct TicketTypeRow {
    id: i64,
    code: String,
    names: String,
    needs_proof: bool,
    position: i32,
    retired_at: Option<DateTime<Utc>>,
    version: i64,
}

macro_rules! price_list_columns {
    () => {
        "SELECT id, theatre_id, name, currency, content, retired_at, version FROM price_lists "
    };
}

statement!(ListPriceLists: Untyped = concat!(price_list_columns!(), "
    WHERE ($1::text IS NULL OR (name, id) > ($1 COLLATE \"C\", $2::bigint))
      AND ($3::text IS NULL OR position($3 IN name_folded) > 0)
      AND ($4::bigint[] IS NULL OR theatre_id = ANY ($4))
    ORDER BY name, id
    LIMIT $5"));
statement!(OnePriceList: Untyped = concat!(price_list_columns!(), "WHERE id = $1"));

#[derive(QueryableByName)]
#[diesel(table_name = price_lists)]
struct PriceListRow {
    id: i64,
    theatre_id: i64,
    name: String,
    currency: String,
    content: String,
    retired_at: Option<DateTime<Utc>>,
    version: i64,
}

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
        let [first, ..] = rows.as_slice() else { return Ok(None) };
        let currency = currency(&first.currency)?;
        let prices = rows.into_iter().filter_map(|row| price(row).transpose()).collect::<Result<_, _>>()?;
        Ok(Some(OfferedPrices { currency, prices }))
    }

    async fn ticket_types(
        &self,
        search: Option<String>,
        page: &PageRequest<TicketTypeCursor>,
    ) -> Result<Vec<ManagedTicketType>, StoreError> {
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<TicketTypeRow> = self
                .load(bind!(
                    ListTicketTypes,
                    Nullable<Integer> = page.after.as_ref().map(|place| place.position),
                    Nullable<Text> = page.after.as_ref().map(|place| place.code.as_str().to_owned()),
                    Nullable<Text> = search.clone(),
                    BigInt = page.rows(),
                ))
                .await?;
            // Infallible: a constraint checks the form of codes.
            let place = |row: &TicketTypeRow| TicketTypeCursor {
                position: row.position,
                code: ticket_type(&row.code).unwrap_or_default(),
            };
            filling.add(rows, place, |row| listed("ticket_types", row.id, managed(row)));
        }
        Ok(filling.into_items())
    }

    async fn ticket_type(&self, id: TicketTypeId) -> Result<Option<ManagedTicketType>, StoreError> {
        let row: Option<TicketTypeRow> = self.first(bind!(OneTicketType, BigInt = id.0)).await?;
        row.map(managed).transpose()
    }

    async fn price_lists(
        &self,
        filter: &PriceListFilter,
        page: &PageRequest<PriceListCursor>,
    ) -> Result<Vec<ManagedPriceList>, StoreError> {
        let theatres = filter.theatres.as_ref().map(|ids| ids.iter().map(|id| id.0).collect::<Vec<_>>());
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<PriceListRow> = self
                .load(bind!(
                    ListPriceLists,
                    Nullable<Text> = page.after.as_ref().map(|place| place.name.clone()),
                    Nullable<BigInt> = page.after.as_ref().map(|place| place.id.0),
                    Nullable<Text> = filter.search.clone(),
                    Nullable<Array<BigInt>> = theatres.clone(),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &PriceListRow| PriceListCursor { name: row.name.clone(), id: PriceListId(row.id) };
            filling.add(rows, place, |row| listed("price_lists", row.id, price_list(row)));
        }
        Ok(filling.into_items())
    }

    async fn price_list(&self, id: PriceListId) -> Result<Option<ManagedPriceList>, StoreError> {
        let row: Option<PriceListRow> = self.first(bind!(OnePriceList, BigInt = id.0)).await?;
        row.map(price_list).transpose()
    }
}

fn managed(row: TicketTypeRow) -> Result<ManagedTicketType, StoreError> {
    Ok(ManagedTicketType {
        id: TicketTypeId(row.id),
        code: ticket_type(&row.code)?,
        names: parsed_names(&row.names).map_err(bad_row)?,
        needs_proof: row.needs_proof,
        position: row.position,
        retired_at: row.retired_at,
        version: row.version,
    })
}

/// Reads one ticket type in a transaction.
pub(crate) async fn ticket_type_by_id(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<ManagedTicketType, WriteFailure<ChangeError>> {
    Ok(managed(bind!(OneTicketType, BigInt = id).get_result(connection).await?)?)
}

fn price_list(row: PriceListRow) -> Result<ManagedPriceList, StoreError> {
    let list = parsed_price_list(TheatreId(row.theatre_id), currency(&row.currency)?, &row.content).map_err(bad_row)?;
    Ok(ManagedPriceList {
        id: PriceListId(row.id),
        name: row.name,
        list,
        retired_at: row.retired_at,
        version: row.version,
    })
}

/// Reads one price list in a transaction.
pub(crate) async fn price_list_by_id(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<ManagedPriceList, WriteFailure<ChangeError>> {
    Ok(price_list(bind!(OnePriceList, BigInt = id).get_result(connection).await?)?)
}

statement!(AllTicketTypes: Untyped = ticket_type_columns!());
statement!(AllPriceLists: Untyped = price_list_columns!());

/// Reads all ticket types, also retired ones.
pub(crate) async fn all_ticket_types<E>(
    connection: &mut AsyncPgConnection,
) -> Result<Vec<ManagedTicketType>, WriteFailure<E>> {
    let rows: Vec<TicketTypeRow> = bind!(AllTicketTypes).load(connection).await?;
    Ok(rows.into_iter().map(managed).collect::<Result<_, _>>()?)
}

/// Reads all price lists, also retired ones.
pub(crate) async fn all_price_lists<E>(
    connection: &mut AsyncPgConnection,
) -> Result<Vec<ManagedPriceList>, WriteFailure<E>> {
    let rows: Vec<PriceListRow> = bind!(AllPriceLists).load(connection).await?;
    Ok(rows.into_iter().map(price_list).collect::<Result<_, _>>()?)
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
        names: parsed_names(&names).map_err(bad_row)?,
        needs_proof: needs_proof.unwrap_or_default(),
        position: position.unwrap_or_default(),
    };
    Ok(Some(OfferedPrice { category, ticket_type, minor }))
}
