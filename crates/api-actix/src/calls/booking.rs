//! Bookings.

use actix_web::web::Data;
use domain::booking::{
    Action, Answer, AnswerEncoder, BookSeats, Booking, BookingAction, BookingCursor, BookingFilter, BookingStatus,
    CommandError, CommandRequest, Hold, HoldId, HoldSeats, Refusal, SeatGapRule, SoldSeat, WantedSeats, When,
};
use domain::ids::{BookingId, SeatId, ShowId};
use domain::money::{Currency, Money};
use domain::page::PageRequest;
use domain::seating::SeatSelection;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{Object, OneOfBuilder};

use super::holds::HoldView;
use super::{instant, one_of};
use crate::http::body::{Body, BodyReader, JsonBody, body, object};
use crate::http::call::calls;
use crate::http::keys::{OptionalKey, RequiredKey};
use crate::http::mistakes::Mistake;
use crate::http::problem::Problem;
use crate::http::query::{Path, Query, parameters};
use crate::http::reply::{ChangedByCommand, CreatedByCommand, Json, Page};
use crate::http::session::{Caller, Command};
use crate::telemetry::request_context::in_span;
use crate::wiring::state::AppState;

calls! { "booking"
    /// Book seats, all or none.
    ///
    /// A retry with the same key books nothing more, and gets the same answer.
    POST "/api/bookings" => book: "The booking",
        or [ShowNotFound, SeatNotFound, HoldNotFound, SalesClosed, HoldExpired, SeatUnavailable, SeatsLeaveGap, TooManySeats,
            Overloaded, OutcomeUnknown, Unavailable];

    /// List your bookings, newest first.
    GET "/api/bookings" => history: "A page of bookings", or [Unavailable];

    /// Get one of your bookings.
    GET "/api/bookings/{booking_id}" => booking: "The booking", or [BookingNotFound, Unavailable];

    /// Cancel a booking: its seats are free again.
    ///
    /// Cancelling a cancelled booking changes nothing.
    POST "/api/bookings/{booking_id}/cancel" => cancel: "The cancelled booking",
        or [BookingNotFound, BookingNotCancellable, CancellationLimit, Overloaded, OutcomeUnknown, Unavailable];

    /// Move a booking to other seats.
    ///
    /// As many seats as before; the old ones are free in the same moment. Prices stay as sold, and seats that cost more are refused.
    POST "/api/bookings/{booking_id}/seats" => change_seats: "The booking on its new seats",
        or [BookingNotFound, SeatNotFound, SalesClosed, Conflict, SeatUnavailable, SeatsLeaveGap, TooManySeats, PriceDiffers,
            Overloaded, OutcomeUnknown, Unavailable];
}

/// What to book: seats of a show, or the seats of a hold.
pub enum BookRequest {
    Seats(BookSeats),
    Hold(HoldId),
}

impl JsonBody for BookRequest {
    const NAME: &'static str = "Book";

    fn schema() -> Schema {
        let seat = object("One seat of a show")
            .member::<ShowId>("show_id", "", Some(1.into()))
            .member::<SeatId>("seat_id", "", Some(1.into()))
            .without("seat_ids")
            .without("hold_id");
        let seats = object("Several seats of a show, all or none")
            .member::<ShowId>("show_id", "", None)
            .member::<SeatSelection>("seat_ids", "", None)
            .without("seat_id")
            .without("hold_id");
        let hold = object("The seats of one of the caller's holds, at its prices")
            .member::<HoldId>("hold_id", "", None)
            .without("seat_id")
            .without("seat_ids");
        OneOfBuilder::new().item(seat.schema()).item(seats.schema()).item(hold.schema()).build().into()
    }

    fn read(body: &mut BodyReader<'_>) -> Option<Self> {
        let ways: Vec<_> = ["seat_id", "seat_ids", "hold_id"].into_iter().filter(|name| body.has(name)).collect();
        if ways == ["hold_id"] {
            return body.member("hold_id").map(Self::Hold);
        }
        let show_id = body.member("show_id");
        let seats = match ways.as_slice() {
            ["seat_id"] => body.member("seat_id").and_then(|seat: SeatId| SeatSelection::parse(vec![seat], 1).ok()),
            ["seat_ids"] => body.member("seat_ids"),
            [] => {
                body.mistake("seat_id", Mistake::new("required", "is required, or seat_ids, or hold_id"));
                None
            }
            several => {
                let message = "must be given alone: one of seat_id, seat_ids and hold_id";
                several.iter().for_each(|name| body.mistake(name, Mistake::new("conflict", message)));
                None
            }
        };
        Some(Self::Seats(BookSeats { show_id: show_id?, seats: seats? }))
    }
}

body! {
    /// Other seats for a booking.
    pub struct ChangeSeats as "ChangeSeats" {
        /// As many as the booking has.
        pub seat_ids: SeatSelection,
    }
}

parameters! {
    /// Which bookings.
    pub struct HistoryParameters {
        /// Whether the show has started.
        pub when: Option<When>,
        /// Only bookings with this status.
        pub status: Option<BookingStatus>,
    }
}

/// A seat of a hold or a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = SoldSeat)]
pub struct SoldSeatView {
    id: i64,
    row: String,
    number: i32,
    category: String,
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

/// Encodes the answers that keys remember.
pub struct JsonAnswers;

impl AnswerEncoder for JsonAnswers {
    fn encode_booked(&self, booking: &Booking) -> Vec<u8> {
        to_json(&BookedView { message: "Booking successful!", booking: booking.into() })
    }

    fn encode_booking(&self, booking: &Booking) -> Vec<u8> {
        to_json(&BookingView::from(booking))
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

async fn book(
    command: Command,
    RequiredKey(key): RequiredKey,
    Body(request): Body<BookRequest>,
    state: Data<AppState>,
) -> Result<CreatedByCommand<BookedView>, Problem> {
    let action = match request {
        BookRequest::Seats(seats) => Action::Book(seats),
        BookRequest::Hold(hold_id) => Action::Redeem(hold_id),
    };
    Ok(run(&state, key.command(command, action)).await?.into())
}

/// Runs a command. A refusal of seats that cannot be had names others.
pub async fn run(state: &AppState, request: CommandRequest) -> Result<Answer, Problem> {
    let wanted = match &request.action {
        Action::Book(book) => Some((book.show_id, book.seats.clone())),
        Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(seats) }) => Some((*show_id, seats.clone())),
        _ => None,
    };
    match in_span("booking.commit", state.booking.execute(request)).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(with_alternatives(state, error, wanted).await),
    }
}

/// Adds free seats to a refusal of seats that were chosen one by one.
async fn with_alternatives(state: &AppState, error: CommandError, wanted: Option<(ShowId, SeatSelection)>) -> Problem {
    let several = |seats: &SeatSelection| seats.seats().len() > 1;
    let asked = match (&error, wanted) {
        (CommandError::Refused(Refusal::SeatUnavailable { .. }), Some((show_id, seats))) if several(&seats) => {
            Some((show_id, seats))
        }
        (CommandError::Refused(Refusal::SeatsLeaveGap { .. }), Some(wanted)) => Some(wanted),
        _ => None,
    };
    let problem = Problem::from(error);
    let Some((show_id, seats)) = asked else { return problem };
    let forbid_gaps = state.settings.rules.seat_gaps == SeatGapRule::Forbid;
    // The refusal stands whether or not the store can list alternatives.
    match state.seating.alternatives(show_id, seats.seats(), forbid_gaps).await {
        Ok(groups) => {
            let ids = |group: &Vec<SeatId>| group.iter().map(|seat| Value::from(seat.0)).collect::<Value>();
            problem.with("alternatives", groups.iter().map(ids).collect())
        }
        Err(_) => problem,
    }
}

async fn history(
    Caller(bearer): Caller,
    Query((HistoryParameters { when, status }, page)): Query<(HistoryParameters, PageRequest<BookingCursor>)>,
    state: Data<AppState>,
) -> Result<Page<BookingView>, Problem> {
    let bookings = state.booking.history(&bearer, &BookingFilter { when, status }, &page).await?;
    Ok(Page::new(bookings, |booking| BookingView::from(&booking)).private())
}

async fn booking(
    Caller(bearer): Caller,
    Path(id): Path<BookingId>,
    state: Data<AppState>,
) -> Result<Json<BookingView>, Problem> {
    Ok(Json::private(BookingView::from(&state.booking.booking(&bearer, id).await?)))
}

async fn cancel(
    command: Command,
    OptionalKey(key): OptionalKey,
    Path(id): Path<BookingId>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<BookingView>, Problem> {
    let request = key.command(command, BookingAction::Cancel(id));
    Ok(in_span("booking.commit", state.booking.execute_on_booking(request)).await?.into())
}

async fn change_seats(
    command: Command,
    OptionalKey(key): OptionalKey,
    Path(id): Path<BookingId>,
    Body(ChangeSeats { seat_ids: seats }): Body<ChangeSeats>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<BookingView>, Problem> {
    let bearer = command.0;
    let request = key.command(command, BookingAction::Change(id, seats.clone()));
    match in_span("booking.commit", state.booking.execute_on_booking(request)).await {
        Ok(answer) => Ok(answer.into()),
        Err(error) => {
            let booking = state.booking.booking(&bearer, id).await.ok();
            Err(with_alternatives(&state, error, booking.map(|booking| (booking.show_id, seats))).await)
        }
    }
}
