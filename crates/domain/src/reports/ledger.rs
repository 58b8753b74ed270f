//! Rows of the ledger, as stores return them.

use chrono::{DateTime, Utc};

use crate::booking::BookingStatus;
use crate::ids::{BookingId, MovieId, ShowId, TheatreId};
use crate::money::{Currency, TaxRate};
use crate::pricing::{TicketTypeCode, tax_included};

/// Returns whether the seats of a booking with this status are sold.
pub fn counts_as_sold(status: BookingStatus) -> bool {
    match status {
        BookingStatus::Confirmed => true,
        // Not paid: its seats are kept, and its money is not there.
        BookingStatus::PendingPayment | BookingStatus::Expired => false,
        BookingStatus::Cancelled | BookingStatus::Refunded => false,
    }
}

/// Returns whether the seats of a booking with this status count as cancelled.
pub fn counts_as_cancelled(status: BookingStatus) -> bool {
    match status {
        BookingStatus::Cancelled | BookingStatus::Refunded => true,
        BookingStatus::PendingPayment | BookingStatus::Confirmed | BookingStatus::Expired => false,
    }
}

/// The payment kind of a ticket that costs nothing, whatever its price.
const COMPLIMENTARY: &str = "complimentary";

/// Returns the amount that a ticket with this price brings in.
fn gross_minor(price_minor: i64, payment_kind: Option<&str>) -> i64 {
    if payment_kind == Some(COMPLIMENTARY) { 0 } else { price_minor }
}

/// A show of a report.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ReportShow {
    pub id: ShowId,
    pub movie_id: MovieId,
    pub movie_title: String,
    pub theatre_id: TheatreId,
    pub hall_name: String,
    pub start_time: DateTime<Utc>,
    /// Whether the show is cancelled.
    pub is_cancelled: bool,
    /// The number of seats of its layout.
    pub seats_total: i64,
}

/// The number of booked seats of a show whose bookings have one status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeatCount {
    pub show_id: ShowId,
    pub status: BookingStatus,
    pub seats: i64,
}

/// Tickets of a show that are equal in all that matters to revenue.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SoldTickets {
    pub show_id: ShowId,
    pub status: BookingStatus,
    /// `online` or `box_office`.
    pub channel: String,
    /// The payment kind of a sale at the box office.
    pub payment_kind: Option<String>,
    pub ticket_type: TicketTypeCode,
    pub currency: Currency,
    /// The price of one ticket.
    pub price_minor: i64,
    /// The rate at the time of the sale; `None` for bookings of former releases.
    pub tax_rate: Option<TaxRate>,
    /// The number of tickets.
    pub tickets: i64,
}

impl SoldTickets {
    /// Returns the gross amount and the tax in it. The tax is computed and rounded for each ticket, as tickets state it.
    ///
    /// `present` is the rate of the theatre, which applies to tickets without a rate.
    pub fn gross_and_tax(&self, present: TaxRate) -> (i64, i64) {
        let gross = gross_minor(self.price_minor, self.payment_kind.as_deref());
        let tax = tax_of(gross, self.tax_rate.unwrap_or(present));
        (gross.saturating_mul(self.tickets), tax.saturating_mul(self.tickets))
    }
}

fn tax_of(gross: i64, rate: TaxRate) -> i64 {
    // Infallible: rates are not negative.
    tax_included(gross, u32::try_from(rate.basis_points()).unwrap_or_default())
}

/// The position of a seat in the list of booked seats, which is ordered by show, booking and position in the booking.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct BookedSeatPlace {
    pub show_id: ShowId,
    pub booking_id: BookingId,
    pub position: i64,
}

/// A seat of a booking, with its customer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookedSeat {
    pub place: BookedSeatPlace,
    pub reference: String,
    pub status: BookingStatus,
    pub channel: String,
    pub payment_kind: Option<String>,
    pub booked_at: DateTime<Utc>,
    /// The part of the hall; empty for the main one.
    pub section: String,
    pub row: String,
    pub number: i64,
    pub category: String,
    pub ticket_type: TicketTypeCode,
    pub currency: Currency,
    pub price_minor: i64,
    /// The rate at the time of the sale; `None` for bookings of former releases.
    pub tax_rate: Option<TaxRate>,
    pub customer_name: String,
    pub customer_email: String,
}

impl BookedSeat {
    /// Returns the gross amount and the tax in it, as [`SoldTickets::gross_and_tax`] does for one ticket.
    pub fn gross_and_tax(&self, present: TaxRate) -> (i64, i64) {
        let gross = gross_minor(self.price_minor, self.payment_kind.as_deref());
        (gross, tax_of(gross, self.tax_rate.unwrap_or(present)))
    }
}
