//! The history of a booking.

use chrono::{DateTime, Utc};

use super::types::{Booking, SoldSeat};
use crate::admin::Fields;
use crate::ids::{BookingId, UserId};
use crate::money::{Currency, Money};

/// What happened to a booking. Stores keep it as a text, so a later version can add kinds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BookingEventKind {
    /// Sold. Only a sale at the box office is stored as an event; a sale online is derived from the booking.
    Booked,
    /// It got other seats or ticket types.
    SeatsChanged,
    /// Its show begins or ends at another time.
    Moved,
    Cancelled,
}

impl BookingEventKind {
    /// Returns the name in the store and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::SeatsChanged => "seats_changed",
            Self::Moved => "moved",
            Self::Cancelled => "cancelled",
        }
    }
}

/// Who caused an event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventActor {
    /// The owner of the booking.
    Customer(UserId),
    /// A member of staff.
    Staff(UserId),
    /// The program, on its own.
    System,
}

impl EventActor {
    /// The names of all kinds of actors.
    pub const NAMES: [&'static str; 3] = ["customer", "staff", "system"];

    /// Returns the name of its kind in the store and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer(_) => "customer",
            Self::Staff(_) => "staff",
            Self::System => "system",
        }
    }

    /// Returns the user, if it is one.
    pub fn user_id(self) -> Option<UserId> {
        match self {
            Self::Customer(id) | Self::Staff(id) => Some(id),
            Self::System => None,
        }
    }

    /// Returns the actor that a store has kept; `None` for one that cannot be.
    pub fn from_stored(name: &str, user_id: Option<UserId>) -> Option<Self> {
        match (name, user_id) {
            ("customer", Some(id)) => Some(Self::Customer(id)),
            ("staff", Some(id)) => Some(Self::Staff(id)),
            ("system", None) => Some(Self::System),
            _ => None,
        }
    }
}

/// An event of a booking, to be written in the transaction of its cause.
///
/// `reason` is a text of staff. `details` MUST NOT have personal data of the customer: they outlive a deleted account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewBookingEvent {
    pub booking_id: BookingId,
    pub kind: BookingEventKind,
    pub actor: EventActor,
    pub reason: Option<String>,
    pub details: Fields,
}

impl NewBookingEvent {
    /// Returns an event without reason and details.
    pub fn new(booking_id: BookingId, kind: BookingEventKind, actor: EventActor) -> Self {
        Self { booking_id, kind, actor, reason: None, details: Fields::default() }
    }

    /// Returns the event with this reason.
    #[must_use]
    pub fn because(self, reason: Option<&str>) -> Self {
        Self { reason: reason.map(str::to_owned), ..self }
    }

    /// Returns the event with this value added to its details.
    #[must_use]
    pub fn with(self, name: &str, value: impl Into<String>) -> Self {
        Self { details: self.details.with(name, value), ..self }
    }
}

/// Something that happened to a booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookingEvent {
    pub at: DateTime<Utc>,
    /// One of [`BookingEventKind`], or a kind of a later version.
    pub kind: String,
    /// `None` if it is not known: the event was derived from the booking.
    pub actor: Option<EventActor>,
    pub reason: Option<String>,
    pub details: Fields,
}

impl BookingEvent {
    /// Returns the whole history of a booking, oldest first: its stored events, and those that only its row has.
    ///
    /// An online sale has no stored event, and bookings that were cancelled by an earlier version have none of their cancellation.
    pub fn history(booking: &Booking, mut stored: Vec<Self>) -> Vec<Self> {
        let lacks = |stored: &[Self], kind: BookingEventKind| stored.iter().all(|event| event.kind != kind.as_str());
        let derived = |at, kind: BookingEventKind, actor| Self {
            at,
            kind: kind.as_str().to_owned(),
            actor,
            reason: None,
            details: Fields::default(),
        };
        if lacks(&stored, BookingEventKind::Booked) {
            let actor = booking.sale.payment_kind().is_none().then_some(EventActor::Customer(booking.user_id));
            let mut booked = derived(booking.booked_at, BookingEventKind::Booked, actor);
            booked.details = sale_details(booking);
            stored.insert(0, booked);
        }
        if let Some(at) = booking.state.cancelled_at()
            && lacks(&stored, BookingEventKind::Cancelled)
        {
            stored.push(derived(at, BookingEventKind::Cancelled, None));
        }
        // Stable: events of one instant stay in the order in which they were written.
        stored.sort_by_key(|event| event.at);
        stored
    }
}

/// Returns the details of a sale.
pub(super) fn sale_details(booking: &Booking) -> Fields {
    Fields::default()
        .with("channel", booking.sale.channel())
        .with_some("payment_kind", booking.sale.payment_kind().map(super::counter::PaymentKind::as_str))
}

/// Returns seats for the audit log and the history, like `A 1 adult 12.50; A 2 child 8.00`.
pub(super) fn seats_text(seats: &[SoldSeat], currency: Currency) -> String {
    let text = |seat: &SoldSeat| {
        let price = Money::new(seat.price_minor, currency);
        format!("{} {} {} {price}", seat.row, seat.number, seat.ticket_type)
    };
    seats.iter().map(text).collect::<Vec<_>>().join("; ")
}
