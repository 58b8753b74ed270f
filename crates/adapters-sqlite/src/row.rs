//! Converts stored values. Rows are parsed like any other input.

use std::time::Duration;

use chrono::{DateTime, Utc};
use diesel::prelude::*;
use domain::booking::HoldId;
use domain::money::{Currency, TaxRate};
use domain::pricing::TicketTypeCode;

use crate::failure::Failure;
use crate::schema::seat_claims;

/// Returns an instant in its stored form: microseconds since the Unix epoch.
pub(crate) fn micros(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros()
}

/// Returns the instant `ttl` after `now`, both in stored form.
pub(crate) fn after(now: i64, ttl: Duration) -> i64 {
    now.saturating_add(i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX))
}

/// Parses a stored instant.
pub(crate) fn instant(micros: i64, column: &'static str) -> Result<DateTime<Utc>, Failure> {
    DateTime::from_timestamp_micros(micros).ok_or(Failure::BadRow(column))
}

/// Parses a stored number that must fit into 32 bits.
pub(crate) fn small(number: i64, column: &'static str) -> Result<i32, Failure> {
    i32::try_from(number).map_err(|_| Failure::BadRow(column))
}

/// Parses a stored currency.
pub(crate) fn currency(code: &str) -> Result<Currency, Failure> {
    parsed(Currency::parse(code), "currency")
}

/// Parses a stored tax rate.
pub(crate) fn tax_rate(points: i64) -> Result<TaxRate, Failure> {
    parsed(TaxRate::from_basis_points(small(points, "tax_basis_points")?), "tax_basis_points")
}

/// Converts a parse error to that of a bad `column`.
pub(crate) fn parsed<T, E>(outcome: Result<T, E>, column: &'static str) -> Result<T, Failure> {
    outcome.map_err(|_| Failure::BadRow(column))
}

/// Parses the stored code of a ticket type.
pub(crate) fn ticket_type(code: &str) -> Result<TicketTypeCode, Failure> {
    parsed(TicketTypeCode::parse(code), "ticket_type")
}

/// Parses the stored id of a hold.
pub(crate) fn hold_id(text: &str) -> Result<HoldId, Failure> {
    parsed(HoldId::parse(text), "hold_id")
}

/// Returns the parsed row of a list, or logs the error and returns `None`: one bad row must not fail the whole list.
pub(crate) fn listed<T>(table: &'static str, id: impl std::fmt::Display, row: Result<T, Failure>) -> Option<T> {
    row.inspect_err(|error| tracing::error!(table, %id, %error, "row.left_out")).ok()
}

/// The domain's `Claim::is_live` as a condition.
#[diesel::dsl::auto_type(no_type_alias)]
pub(crate) fn claim_is_live(now: i64) -> _ {
    seat_claims::expires_at.is_null().or(seat_claims::expires_at.gt(now))
}
