//! Reads layouts and the free seats of a show.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::ids::{LayoutId, SeatId, ShowId, UserId};
use domain::seating::{
    ClaimStatus, FocalPoint, Layout, LayoutStore, RowName, Seat, SeatClaim, SeatingStore, Section, ShowSeating,
};

use crate::failure::Failure;
use crate::pricing::prices_of;
use crate::row::{claim_is_live, currency, listed, parsed, small};
use crate::schema::{layout_sections, seat_claims, seats, shows};
use crate::store::SqliteStore;

#[async_trait]
impl SeatingStore for SqliteStore {
    async fn seating(&self, show_id: ShowId) -> Result<Option<ShowSeating>, StoreError> {
        let clock = self.clock();
        Ok(self.read(move |connection| show_seating(connection, show_id, clock.now())).await?)
    }
}

fn show_seating(connection: &mut SqliteConnection, show_id: ShowId, now: i64) -> Result<Option<ShowSeating>, Failure> {
    let show: Option<(i64, String)> =
        shows::table.find(show_id.0).select((shows::layout_id, shows::currency)).get_result(connection).optional()?;
    let Some((layout_id, code)) = show else { return Ok(None) };
    let claims: Vec<(i64, String, Option<i64>)> = seat_claims::table
        .filter(seat_claims::show_id.eq(show_id.0))
        .filter(claim_is_live(now))
        .select((seat_claims::seat_id, seat_claims::status, seat_claims::user_id))
        .order(seat_claims::seat_id)
        .load(connection)?;
    let claim = |(seat_id, status, user_id): (i64, String, Option<i64>)| {
        let status = parsed(ClaimStatus::parse(&status), "status")?;
        Ok(SeatClaim { seat_id: SeatId(seat_id), status, user_id: user_id.map(UserId) })
    };
    Ok(Some(ShowSeating {
        show_id,
        layout_id: LayoutId(layout_id),
        currency: currency(&code)?,
        prices: prices_of(connection, show_id)?,
        claims: claims.into_iter().map(claim).collect::<Result<_, Failure>>()?,
    }))
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = seats)]
struct SeatRow {
    id: i64,
    row_label: String,
    number: i64,
    category: String,
    accessible: i64,
    x: i64,
    y: i64,
    section: String,
    pair: Option<i64>,
}

impl TryFrom<SeatRow> for Seat {
    type Error = Failure;

    fn try_from(row: SeatRow) -> Result<Self, Failure> {
        Ok(Self {
            id: SeatId(row.id),
            row: parsed(RowName::parse(&row.row_label), "row_label")?,
            number: small(row.number, "number")?,
            category: row.category,
            accessible: row.accessible != 0,
            x: small(row.x, "x")?,
            y: small(row.y, "y")?,
            section: row.section,
            pair: row.pair.map(|pair| small(pair, "pair")).transpose()?,
        })
    }
}

/// Returns the sections of a layout that are stored: those with a focal point.
fn sections(connection: &mut SqliteConnection, id: LayoutId) -> Result<Vec<Section>, Failure> {
    let rows: Vec<(String, Option<i64>, Option<i64>)> = layout_sections::table
        .filter(layout_sections::layout_id.eq(id.0))
        .select((layout_sections::name, layout_sections::focus_x, layout_sections::focus_y))
        .load(connection)?;
    let section = |(name, x, y): (String, Option<i64>, Option<i64>)| {
        let focus = match x.zip(y) {
            Some((x, y)) => Some(FocalPoint { x: small(x, "focus_x")?, y: small(y, "focus_y")? }),
            None => None,
        };
        Ok(Section { name, focus })
    };
    rows.into_iter().map(section).collect()
}

#[async_trait]
impl LayoutStore for SqliteStore {
    async fn layout(&self, id: LayoutId) -> Result<Option<Arc<Layout>>, StoreError> {
        Ok(self.read(move |connection| layout(connection, id)).await?.map(Arc::new))
    }
}

/// Reads one layout.
pub(crate) fn layout(connection: &mut SqliteConnection, id: LayoutId) -> Result<Option<Layout>, Failure> {
    let rows: Vec<SeatRow> =
        seats::table.filter(seats::layout_id.eq(id.0)).select(SeatRow::as_select()).load(connection)?;
    // A layout has at least one seat, so one without seats does not exist.
    if rows.is_empty() {
        return Ok(None);
    }
    // A bad seat is left out of the layout, so it cannot be sold.
    let seats = rows.into_iter().filter_map(|row| listed("seats", row.id, Seat::try_from(row))).collect();
    let sections = sections(connection, id)?;
    Ok(Some(parsed(Layout::with_sections(id, seats, sections), "layout_id")?))
}
