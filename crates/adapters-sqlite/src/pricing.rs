//! Reads prices with their ticket types.

use async_trait::async_trait;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::ids::{PriceListId, ShowId, TheatreId, TicketTypeId};
use domain::page::{Filling, PageRequest};
use domain::pricing::{
    ManagedPriceList, ManagedTicketType, OfferedPrice, OfferedPrices, PriceListCursor, PriceListFilter, PriceStore,
    TicketType, TicketTypeCursor,
};
use domain::seating::CategoryPrice;
use stored_json::{parsed_names, parsed_price_list};

use crate::failure::Failure;
use crate::row::{currency, instant, listed, parsed, small, ticket_type};
use crate::schema::{price_lists, show_prices, shows, ticket_types};
use crate::store::SqliteStore;

#[async_trait]
impl PriceStore for SqliteStore {
    async fn show_prices(&self, show_id: ShowId) -> Result<Option<OfferedPrices>, StoreError> {
        Ok(self.read(move |connection| offered_prices(connection, show_id)).await?)
    }

    async fn ticket_types(
        &self,
        search: Option<String>,
        page: &PageRequest<TicketTypeCursor>,
    ) -> Result<Vec<ManagedTicketType>, StoreError> {
        let mut filling = Filling::of(page);
        let found = self.read(move |connection| {
            while let Some(page) = filling.next() {
                let rows = ticket_types_page(connection, search.clone(), page)?;
                filling.add(rows, place_of, |row| {
                    listed("ticket_types", row.ticket_type.id, ManagedTicketType::try_from(row))
                });
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn ticket_type(&self, id: TicketTypeId) -> Result<Option<ManagedTicketType>, StoreError> {
        Ok(self.read(move |connection| managed_ticket_type(connection, id)).await?)
    }

    async fn price_lists(
        &self,
        filter: &PriceListFilter,
        page: &PageRequest<PriceListCursor>,
    ) -> Result<Vec<ManagedPriceList>, StoreError> {
        let (filter, mut filling) = (filter.clone(), Filling::of(page));
        let found = self.read(move |connection| {
            while let Some(page) = filling.next() {
                let rows = price_lists_page(connection, filter.clone(), page)?;
                let place = |row: &PriceListRow| PriceListCursor { name: row.name.clone(), id: PriceListId(row.id) };
                filling.add(rows, place, |row| listed("price_lists", row.id, ManagedPriceList::try_from(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn price_list(&self, id: PriceListId) -> Result<Option<ManagedPriceList>, StoreError> {
        Ok(self.read(move |connection| managed_price_list(connection, id)).await?)
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
            names: parsed(parsed_names(&row.names), "names")?,
            needs_proof: row.needs_proof != 0,
            position: small(row.position, "position")?,
        })
    }
}

/// A ticket type with what only staff see.
#[derive(Queryable, Selectable)]
#[diesel(table_name = ticket_types)]
struct ManagedTicketTypeRow {
    #[diesel(embed)]
    ticket_type: TicketTypeRow,
    retired_at: Option<i64>,
    version: i64,
}

impl TryFrom<ManagedTicketTypeRow> for ManagedTicketType {
    type Error = Failure;

    fn try_from(row: ManagedTicketTypeRow) -> Result<Self, Failure> {
        let id = TicketTypeId(row.ticket_type.id);
        let TicketType { id: _, code, names, needs_proof, position } = row.ticket_type.try_into()?;
        let retired_at = row.retired_at.map(|at| instant(at, "retired_at")).transpose()?;
        Ok(Self { id, code, names, needs_proof, position, retired_at, version: row.version })
    }
}

/// Returns the place of a row in the list. Infallible: a constraint checks the form of codes, and
/// positions have 32 bits.
fn place_of(row: &ManagedTicketTypeRow) -> TicketTypeCursor {
    TicketTypeCursor {
        position: i32::try_from(row.ticket_type.position).unwrap_or(i32::MAX),
        code: ticket_type(&row.ticket_type.code).unwrap_or_default(),
    }
}

fn ticket_types_page(
    connection: &mut SqliteConnection,
    search: Option<String>,
    page: PageRequest<TicketTypeCursor>,
) -> Result<Vec<ManagedTicketTypeRow>, Failure> {
    let limit = page.rows();
    let mut query = ticket_types::table.select(ManagedTicketTypeRow::as_select()).into_boxed::<Sqlite>();
    if let Some(part) = search {
        let found = sql::<Bool>("instr(coalesce(ticket_types.search_folded, lower(code || char(10) || names)), ");
        query = query.filter(found.bind::<Text, _>(part).sql(") > 0"));
    }
    if let Some(TicketTypeCursor { position, code }) = page.after {
        let position = i64::from(position);
        let behind = ticket_types::position.eq(position).and(ticket_types::code.gt(code.as_str().to_owned()));
        query = query.filter(ticket_types::position.gt(position).or(behind));
    }
    Ok(query.order((ticket_types::position, ticket_types::code)).limit(limit).load(connection)?)
}

/// Reads one ticket type.
pub(crate) fn managed_ticket_type(
    connection: &mut SqliteConnection,
    id: TicketTypeId,
) -> Result<Option<ManagedTicketType>, Failure> {
    let row = ticket_types::table.find(id.0).select(ManagedTicketTypeRow::as_select()).get_result(connection);
    row.optional()?.map(ManagedTicketType::try_from).transpose()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = price_lists)]
struct PriceListRow {
    id: i64,
    theatre_id: i64,
    name: String,
    currency: String,
    content: String,
    retired_at: Option<i64>,
    version: i64,
}

impl TryFrom<PriceListRow> for ManagedPriceList {
    type Error = Failure;

    fn try_from(row: PriceListRow) -> Result<Self, Failure> {
        let list = parsed_price_list(TheatreId(row.theatre_id), currency(&row.currency)?, &row.content);
        let list = list.map_err(|error| {
            tracing::error!(id = row.id, %error, "price_list.unreadable");
            Failure::BadRow("content")
        })?;
        let retired_at = row.retired_at.map(|at| instant(at, "retired_at")).transpose()?;
        Ok(Self { id: PriceListId(row.id), name: row.name, list, retired_at, version: row.version })
    }
}

fn price_lists_page(
    connection: &mut SqliteConnection,
    filter: PriceListFilter,
    page: PageRequest<PriceListCursor>,
) -> Result<Vec<PriceListRow>, Failure> {
    let limit = page.rows();
    let mut query = price_lists::table.select(PriceListRow::as_select()).into_boxed::<Sqlite>();
    if let Some(theatres) = filter.theatres {
        query = query.filter(price_lists::theatre_id.eq_any(theatres.into_iter().map(|id| id.0)));
    }
    if let Some(part) = filter.search {
        query = query.filter(sql::<Bool>("instr(price_lists.name_folded, ").bind::<Text, _>(part).sql(") > 0"));
    }
    if let Some(PriceListCursor { name, id }) = page.after {
        let behind = price_lists::name.eq(name.clone()).and(price_lists::id.gt(id.0));
        query = query.filter(price_lists::name.gt(name).or(behind));
    }
    Ok(query.order((price_lists::name, price_lists::id)).limit(limit).load(connection)?)
}

/// Reads one price list.
pub(crate) fn managed_price_list(
    connection: &mut SqliteConnection,
    id: PriceListId,
) -> Result<Option<ManagedPriceList>, Failure> {
    let row = price_lists::table.find(id.0).select(PriceListRow::as_select()).get_result(connection);
    row.optional()?.map(ManagedPriceList::try_from).transpose()
}

/// Reads all ticket types, also retired ones.
pub(crate) fn all_ticket_types(connection: &mut SqliteConnection) -> Result<Vec<ManagedTicketType>, Failure> {
    let rows: Vec<ManagedTicketTypeRow> =
        ticket_types::table.select(ManagedTicketTypeRow::as_select()).load(connection)?;
    rows.into_iter().map(ManagedTicketType::try_from).collect()
}

/// Reads all price lists, also retired ones.
pub(crate) fn all_price_lists(connection: &mut SqliteConnection) -> Result<Vec<ManagedPriceList>, Failure> {
    let rows: Vec<PriceListRow> = price_lists::table.select(PriceListRow::as_select()).load(connection)?;
    rows.into_iter().map(ManagedPriceList::try_from).collect()
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
