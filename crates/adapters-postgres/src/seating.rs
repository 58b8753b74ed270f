//! Reads layouts and the claims on a show's seats.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Nullable, Text, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::ids::{LayoutId, SeatId, ShowId, UserId};
use domain::seating::{
    ClaimStatus, FocalPoint, Layout, LayoutStore, RowName, Seat, SeatClaim, SeatingStore, Section, ShowSeating,
};

use crate::error::bad_row;
use crate::rows::{category_prices, claim_is_live, currency, parse_all};
use crate::schema::{layout_sections, seats, shows};
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

// One statement, so prices and claims are of the same instant. The cost grows with the show's claims, not with its seats.
statement!(ReadSeating: Untyped = concat!("
    SELECT s.layout_id, s.currency, prices.*, claims.*
    FROM shows s
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(p.category), '{}') AS categories,
            coalesce(array_agg(p.ticket_type), '{}') AS ticket_types, coalesce(array_agg(p.price_minor), '{}') AS prices
        FROM show_prices p WHERE p.show_id = s.id
    ) prices
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(c.seat_id), '{}') AS seat_ids, coalesce(array_agg(c.status), '{}') AS statuses,
            coalesce(array_agg(c.user_id), '{}') AS user_ids
        FROM seat_claims c WHERE c.show_id = s.id AND ", claim_is_live!(), "
    ) claims
    WHERE s.id = $1"));

#[derive(QueryableByName)]
#[diesel(table_name = shows)]
struct SeatingRow {
    layout_id: i64,
    currency: String,
    #[diesel(sql_type = Array<Text>)]
    categories: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    ticket_types: Vec<String>,
    #[diesel(sql_type = Array<BigInt>)]
    prices: Vec<i64>,
    #[diesel(sql_type = Array<BigInt>)]
    seat_ids: Vec<i64>,
    #[diesel(sql_type = Array<Text>)]
    statuses: Vec<String>,
    #[diesel(sql_type = Array<Nullable<BigInt>>)]
    user_ids: Vec<Option<i64>>,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = seats)]
struct SeatRow {
    id: i64,
    row_label: String,
    number: i32,
    category: String,
    accessible: bool,
    x: i32,
    y: i32,
    section: String,
    pair: Option<i32>,
}

#[async_trait]
impl SeatingStore for PostgresStore {
    async fn seating(&self, show_id: ShowId) -> Result<Option<ShowSeating>, StoreError> {
        let rows: Vec<SeatingRow> = self.load(bind!(ReadSeating, BigInt = show_id.0)).await?;
        rows.into_iter().next().map(|row| seating(show_id, row)).transpose()
    }
}

#[async_trait]
impl LayoutStore for PostgresStore {
    async fn layout(&self, id: LayoutId) -> Result<Option<Arc<Layout>>, StoreError> {
        let rows: Vec<SeatRow> =
            self.load(seats::table.filter(seats::layout_id.eq(id.0)).select(SeatRow::as_select())).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        // Read after the seats, which are written in the same transaction and do not change.
        let sections = layout_sections::table.filter(layout_sections::layout_id.eq(id.0)).select((
            layout_sections::name,
            layout_sections::focus_x,
            layout_sections::focus_y,
        ));
        let sections: Vec<SectionColumns> = self.load(sections).await?;
        Ok(Some(Arc::new(layout(id, rows, sections)?)))
    }
}

/// Name and focal point of a section.
type SectionColumns = (String, Option<i32>, Option<i32>);

/// Reads one layout in a transaction. It must exist.
pub(crate) async fn layout_by_id<E: From<StoreError>>(
    connection: &mut AsyncPgConnection,
    id: LayoutId,
) -> Result<Layout, WriteFailure<E>> {
    let query = seats::table.filter(seats::layout_id.eq(id.0)).select(SeatRow::as_select());
    let rows: Vec<SeatRow> = RunQueryDsl::load(query, connection).await?;
    let query = layout_sections::table.filter(layout_sections::layout_id.eq(id.0)).select((
        layout_sections::name,
        layout_sections::focus_x,
        layout_sections::focus_y,
    ));
    let sections: Vec<SectionColumns> = RunQueryDsl::load(query, connection).await?;
    Ok(layout(id, rows, sections)?)
}

fn layout(id: LayoutId, rows: Vec<SeatRow>, sections: Vec<SectionColumns>) -> Result<Layout, StoreError> {
    let seats = parse_all(rows, |row| {
        Ok(Seat {
            id: SeatId(row.id),
            row: RowName::parse(&row.row_label).map_err(bad_row)?,
            number: row.number,
            category: row.category,
            accessible: row.accessible,
            x: row.x,
            y: row.y,
            section: row.section,
            pair: row.pair,
        })
    })?;
    let section = |(name, x, y): SectionColumns| Section { name, focus: x.zip(y).map(|(x, y)| FocalPoint { x, y }) };
    Layout::with_sections(id, seats, sections.into_iter().map(section).collect()).map_err(bad_row)
}

fn seating(show_id: ShowId, row: SeatingRow) -> Result<ShowSeating, StoreError> {
    let claims = row.seat_ids.into_iter().zip(row.statuses).zip(row.user_ids).collect();
    Ok(ShowSeating {
        show_id,
        layout_id: LayoutId(row.layout_id),
        currency: currency(&row.currency)?,
        prices: category_prices(row.categories, row.ticket_types, row.prices)?,
        claims: parse_all(claims, |((seat_id, status), user_id)| {
            Ok(SeatClaim {
                seat_id: SeatId(seat_id),
                status: ClaimStatus::parse(&status).map_err(bad_row)?,
                user_id: user_id.map(UserId),
            })
        })?,
    })
}
