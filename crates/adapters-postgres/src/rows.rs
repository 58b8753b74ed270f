//! Reading rows fallibly: what the database holds is parsed like any other input.

use chrono::{DateTime, Utc};
use domain::StoreError;
use domain::booking::{BookingState, BookingStatus, HoldId, SoldSeat};
use domain::error::with_sources;
use domain::ids::SeatId;
use domain::money::Currency;

use crate::error::bad_row;

/// Turns each row into what the domain calls it.
pub fn parse_all<Row, T>(rows: Vec<Row>, parse: impl Fn(Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(parse).collect()
}

/// What a row of a list is, or `None` and a line in the log if it is not as it should be: one bad row must not take a list down.
pub fn listed<T>(table: &'static str, id: impl std::fmt::Display, row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(table, %id, error = with_sources(error), "row.left_out")).ok()
}

/// A currency's letters.
pub fn currency(code: &str) -> Result<Currency, StoreError> {
    Currency::parse(code).map_err(bad_row)
}

/// A hold's id.
pub fn hold_id(text: &str) -> Result<HoldId, StoreError> {
    HoldId::parse(text).map_err(bad_row)
}

/// What has become of a booking.
pub fn booking_state(status: &str, cancelled_at: Option<DateTime<Utc>>) -> Result<BookingState, StoreError> {
    let status = BookingStatus::parse(status).map_err(bad_row)?;
    BookingState::from_stored(status, cancelled_at).map_err(bad_row)
}

/// Reads the seats of a hold or a booking from their columns.
pub fn sold_seats(
    ids: Vec<i64>,
    rows: Vec<String>,
    numbers: Vec<i32>,
    categories: Vec<String>,
    prices: Vec<i64>,
) -> Result<Vec<SoldSeat>, StoreError> {
    if ids.is_empty() {
        return Err(bad_row("a hold or a booking without seats"));
    }
    let columns = ids.into_iter().zip(rows).zip(numbers).zip(categories).zip(prices);
    let seat = |((((id, row), number), category), price_minor)| SoldSeat {
        id: SeatId(id),
        row,
        number,
        category,
        price_minor,
    };
    Ok(columns.map(seat).collect())
}
