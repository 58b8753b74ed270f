//! Parses rows fallibly, like any other input.

use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Integer, Text};
use domain::StoreError;
use domain::booking::{BookingState, BookingStatus, HoldId, Sale, SoldSeat};
use domain::error::with_sources;
use domain::ids::SeatId;
use domain::money::{Currency, TaxRate};
use domain::pricing::TicketTypeCode;
use domain::seating::CategoryPrice;

use crate::error::bad_row;

/// Parses each row into a type of the domain.
pub fn parse_all<Row, T>(rows: Vec<Row>, parse: impl Fn(Row) -> Result<T, StoreError>) -> Result<Vec<T>, StoreError> {
    rows.into_iter().map(parse).collect()
}

/// Returns the parsed row of a list, or logs the error and returns `None`: one bad row must not fail the whole list.
pub fn listed<T>(table: &'static str, id: impl std::fmt::Display, row: Result<T, StoreError>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(table, %id, error = with_sources(error), "row.left_out")).ok()
}

/// Parses a currency code.
pub fn currency(code: &str) -> Result<Currency, StoreError> {
    Currency::parse(code).map_err(bad_row)
}

/// Parses a tax rate in basis points.
pub fn tax_rate(points: i32) -> Result<TaxRate, StoreError> {
    TaxRate::from_basis_points(points).map_err(bad_row)
}

/// Parses a hold id.
pub fn hold_id(text: &str) -> Result<HoldId, StoreError> {
    HoldId::parse(text).map_err(bad_row)
}

/// Parses the code of a ticket type.
pub fn ticket_type(code: &str) -> Result<TicketTypeCode, StoreError> {
    TicketTypeCode::parse(code).map_err(bad_row)
}

/// Returns the prices of a show from their columns.
pub fn category_prices(
    categories: Vec<String>,
    ticket_types: Vec<String>,
    prices: Vec<i64>,
) -> Result<Vec<CategoryPrice>, StoreError> {
    let rows = categories.into_iter().zip(ticket_types).zip(prices);
    rows.map(|((category, code), minor)| Ok(CategoryPrice { category, ticket_type: ticket_type(&code)?, minor }))
        .collect()
}

/// Parses the state of a booking.
pub fn booking_state(status: &str, cancelled_at: Option<DateTime<Utc>>) -> Result<BookingState, StoreError> {
    let status = BookingStatus::parse(status).map_err(bad_row)?;
    BookingState::from_stored(status, cancelled_at).map_err(bad_row)
}

/// Parses where a booking was sold, and how it was paid.
pub fn sale(channel: &str, payment_kind: Option<&str>) -> Result<Sale, StoreError> {
    Sale::from_stored(channel, payment_kind).map_err(bad_row)
}

/// The seats of a hold or a booking: one array for each column, in the order of the seats.
#[derive(QueryableByName)]
pub struct SoldSeatColumns {
    #[diesel(sql_type = Array<BigInt>)]
    pub seat_ids: Vec<i64>,
    #[diesel(sql_type = Array<Text>)]
    pub seat_rows: Vec<String>,
    #[diesel(sql_type = Array<Integer>)]
    pub seat_numbers: Vec<i32>,
    #[diesel(sql_type = Array<Text>)]
    pub seat_categories: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    pub seat_ticket_types: Vec<String>,
    #[diesel(sql_type = Array<BigInt>)]
    pub seat_prices: Vec<i64>,
}

impl SoldSeatColumns {
    /// Returns the seats. Fails if there are none.
    pub fn seats(self) -> Result<Vec<SoldSeat>, StoreError> {
        if self.seat_ids.is_empty() {
            return Err(bad_row("a hold or a booking without seats"));
        }
        let places = self.seat_ids.into_iter().zip(self.seat_rows).zip(self.seat_numbers);
        let tickets = self.seat_categories.into_iter().zip(self.seat_ticket_types).zip(self.seat_prices);
        let seat = |(((id, row), number), ((category, code), price_minor)): (_, ((_, String), _))| {
            let ticket_type = ticket_type(&code)?;
            Ok(SoldSeat { id: SeatId(id), row, number, category, ticket_type, price_minor })
        };
        places.zip(tickets).map(seat).collect()
    }
}

/// The SQL of [`SoldSeatColumns`], from the rows of `$of` (`booking_seats` or `hold_seats`) that meet a condition.
macro_rules! sold_seat_columns {
    ($of:literal, $condition:literal) => {
        concat!(
            "SELECT coalesce(array_agg(sold.seat_id ORDER BY sold.position), '{}') AS seat_ids,
                coalesce(array_agg(seats.row_label ORDER BY sold.position), '{}') AS seat_rows,
                coalesce(array_agg(seats.number ORDER BY sold.position), '{}') AS seat_numbers,
                coalesce(array_agg(sold.category ORDER BY sold.position), '{}') AS seat_categories,
                coalesce(array_agg(sold.ticket_type ORDER BY sold.position), '{}') AS seat_ticket_types,
                coalesce(array_agg(sold.price_minor ORDER BY sold.position), '{}') AS seat_prices
            FROM ",
            $of,
            " AS sold JOIN seats ON seats.id = sold.seat_id WHERE ",
            $condition
        )
    };
}

/// The domain's `Claim::is_live` as SQL, for a claim `c`.
macro_rules! claim_is_live {
    () => {
        "(c.status <> 'held' OR c.expires_at > now())"
    };
}

pub(crate) use {claim_is_live, sold_seat_columns};
