//! Bookings as staff see them.

use chrono::NaiveDate;

use crate::booking::{Booking, BookingStatus};
use crate::catalog::DayWindow;
use crate::ids::{ShowId, TheatreId};

/// A booking with its customer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StaffBooking {
    pub booking: Booking,
    pub theatre_id: TheatreId,
    pub customer_name: String,
    pub customer_email: String,
}

/// A query for bookings.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StaffBookingQuery {
    /// A part of the customer's name or e-mail address, or a whole reference. Case is ignored.
    pub search: Option<String>,
    pub show_id: Option<ShowId>,
    /// Only bookings of shows on that day, in the time zone of the show's theatre.
    pub date: Option<NaiveDate>,
    pub status: Option<BookingStatus>,
}

/// Selects bookings. A booking must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StaffBookingFilter {
    /// A substring of the customer's name or e-mail address, folded.
    pub search: Option<String>,
    /// With `search`: the reference that the text can be. A booking with this reference satisfies the search as well.
    pub reference: Option<String>,
    pub show_id: Option<ShowId>,
    /// Only bookings of shows that start in one of these windows.
    pub during: Option<Vec<DayWindow>>,
    pub status: Option<BookingStatus>,
    /// Only bookings of shows in these theatres.
    pub theatres: Option<Vec<TheatreId>>,
}
