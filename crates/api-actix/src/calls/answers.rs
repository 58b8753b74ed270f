//! The JSON of bookings and holds, which idempotency keys remember.

use domain::booking::{AnswerEncoder, Booking, BookingStatus, Hold, PaymentKind, Sale, SoldSeat};
use domain::ids::{SeatId, ShowId};
use domain::money::{Currency, Money};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};

use super::{instant, one_of};

/// A seat of a hold or a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = SoldSeat)]
pub struct SoldSeatView {
    id: i64,
    row: String,
    number: i32,
    category: String,
    /// The code of the ticket type.
    #[schema(example = "adult")]
    ticket_type: String,
    /// As it was held or sold, in major units.
    price: String,
}

impl SoldSeatView {
    /// Renders the seats of a hold or a booking.
    pub fn list(seats: &[SoldSeat], currency: Currency) -> Vec<Self> {
        let view = |seat: &SoldSeat| Self {
            id: seat.id.0,
            row: seat.row.clone(),
            number: seat.number,
            category: seat.category.clone(),
            ticket_type: seat.ticket_type.as_str().to_owned(),
            price: Money::new(seat.price_minor, currency).to_string(),
        };
        seats.iter().map(view).collect()
    }
}

/// A booking.
#[derive(Serialize, ToSchema)]
#[schema(as = Booking)]
pub struct BookingView {
    id: i64,
    /// What is printed on the ticket.
    #[schema(example = "7Q2XK0M4ZD")]
    reference: String,
    user_id: i64,
    show_id: i64,
    /// The first seat.
    seat_id: Option<i64>,
    seat_ids: Vec<i64>,
    seats: Vec<SoldSeatView>,
    #[schema(schema_with = booking_status)]
    status: &'static str,
    /// In major units.
    total: String,
    /// ISO 4217.
    currency: String,
    /// The percentage of the tax that `total` includes, at the time of the sale.
    #[schema(example = "19.00")]
    tax_rate: String,
    /// The tax in `total`: the sum of the tax of each seat.
    tax_included: String,
    #[schema(format = DateTime)]
    booked_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    cancelled_at: Option<String>,
    movie_title: String,
    theatre_name: String,
    hall_name: String,
    #[schema(format = DateTime)]
    start_time: String,
}

impl From<&Booking> for BookingView {
    fn from(booking: &Booking) -> Self {
        Self {
            id: booking.id.0,
            reference: booking.reference.as_str().to_owned(),
            user_id: booking.user_id.0,
            show_id: booking.show_id.0,
            seat_id: booking.seats.first().map(|seat| seat.id.0),
            seat_ids: booking.seats.iter().map(|seat| seat.id.0).collect(),
            seats: SoldSeatView::list(&booking.seats, booking.currency),
            status: booking.status().as_str(),
            total: booking.total().to_string(),
            currency: booking.currency.code().to_owned(),
            tax_rate: booking.tax_rate.to_string(),
            tax_included: booking.tax().to_string(),
            booked_at: instant(booking.booked_at),
            cancelled_at: booking.state.cancelled_at().map(instant),
            movie_title: booking.movie_title.clone(),
            theatre_name: booking.theatre_name.clone(),
            hall_name: booking.hall_name.clone(),
            start_time: instant(booking.start_time),
        }
    }
}

/// The answer to a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = Booked)]
pub struct BookedView {
    /// For people.
    #[schema(example = "Booking successful!")]
    message: &'static str,
    booking: BookingView,
}

/// A sale at the box office.
#[derive(Serialize, ToSchema)]
#[schema(as = BoxOfficeSale)]
pub struct SaleView {
    #[serde(flatten)]
    booking: BookingView,
    #[schema(schema_with = channel)]
    channel: &'static str,
    #[schema(schema_with = payment_kind)]
    payment_kind: Option<&'static str>,
}

impl From<&Booking> for SaleView {
    fn from(booking: &Booking) -> Self {
        Self {
            booking: booking.into(),
            channel: booking.sale.channel(),
            payment_kind: booking.sale.payment_kind().map(PaymentKind::as_str),
        }
    }
}

/// The schema of a channel.
pub fn channel() -> Object {
    one_of(Sale::CHANNELS)
}

/// The schema of a payment kind: `null` for an online sale.
pub fn payment_kind() -> Object {
    let kinds = PaymentKind::ALL.map(|kind| Some(kind.as_str())).into_iter().chain([None]);
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .enum_values(Some(kinds.collect::<Vec<_>>()))
        .build()
}

/// The seats of a show that are blocked for the house.
#[derive(Serialize, ToSchema)]
#[schema(as = BlockedSeats)]
pub struct BlocksView {
    show_id: i64,
    /// All blocked seats of the show, ordered by id.
    seat_ids: Vec<i64>,
}

/// Encodes the answers that keys remember.
pub struct JsonAnswers;

impl AnswerEncoder for JsonAnswers {
    fn encode_booked(&self, booking: &Booking) -> Vec<u8> {
        to_json(&BookedView { message: "Booking successful!", booking: booking.into() })
    }

    fn encode_booking(&self, booking: &Booking) -> Vec<u8> {
        to_json(&BookingView::from(booking))
    }

    fn encode_sale(&self, booking: &Booking) -> Vec<u8> {
        to_json(&SaleView::from(booking))
    }

    fn encode_blocks(&self, show_id: ShowId, blocked: &[SeatId]) -> Vec<u8> {
        to_json(&BlocksView { show_id: show_id.0, seat_ids: blocked.iter().map(|seat| seat.0).collect() })
    }

    fn encode_hold(&self, hold: &Hold) -> Vec<u8> {
        to_json(&HoldView::from(hold))
    }
}

fn to_json(view: &impl Serialize) -> Vec<u8> {
    // Strings and numbers in structs can always be written as JSON.
    serde_json::to_vec(view).unwrap_or_default()
}

fn booking_status() -> Object {
    one_of(BookingStatus::ALL.map(BookingStatus::as_str))
}

/// Seats that are held for the caller for some minutes.
#[derive(Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldView {
    /// Unguessable.
    #[schema(example = "1-7Q2XK0M4ZD7Q2XK0M4ZD7Q2XK0")]
    id: String,
    show_id: i64,
    seats: Vec<SoldSeatView>,
    /// What the booking will cost, in major units.
    total: String,
    /// ISO 4217.
    currency: String,
    /// From then on the seats are free.
    #[schema(format = DateTime)]
    expires_at: String,
}

impl From<&Hold> for HoldView {
    fn from(hold: &Hold) -> Self {
        Self {
            id: hold.id.as_str().to_owned(),
            show_id: hold.show_id.0,
            seats: SoldSeatView::list(&hold.seats, hold.currency),
            total: hold.total().to_string(),
            currency: hold.currency.code().to_owned(),
            expires_at: instant(hold.expires_at),
        }
    }
}
