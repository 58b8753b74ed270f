//! Bookings.

use actix_web::web::Data;
use domain::booking::{Action, BookSeats, BookingAction, BookingCursor, BookingFilter, BookingStatus, HoldId, When};
use domain::ids::{BookingId, SeatId, ShowId};
use domain::page::PageRequest;
use domain::seating::{SeatSelection, TicketSelection};
use utoipa::openapi::Schema;
use utoipa::openapi::schema::OneOfBuilder;

use super::answers::{BookedView, BookingView};
use super::commands::{execute, with_alternatives};
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
        or [ShowNotFound, SeatNotFound, HoldNotFound, SalesClosed, HoldExpired, SeatUnavailable, SeatsLeaveGap, SeatsSplitPair, TooManySeats,
            TicketTypeNotSold, Overloaded, OutcomeUnknown, Unavailable];

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
    /// As many seats as before; the old ones are free in the same moment. Ticket types and prices stay as sold, and seats that cost more
    /// are refused.
    POST "/api/bookings/{booking_id}/seats" => change_seats: "The booking on its new seats",
        or [BookingNotFound, SeatNotFound, SalesClosed, Conflict, SeatUnavailable, SeatsLeaveGap, SeatsSplitPair, TooManySeats, TicketTypeNotSold,
            PriceDiffers, Overloaded, OutcomeUnknown, Unavailable];
}

/// What to book: seats of a show, or the seats of a hold.
pub enum BookRequest {
    Seats(BookSeats),
    Hold(HoldId),
    HoldAs(HoldId, TicketSelection),
}

impl JsonBody for BookRequest {
    const NAME: &'static str = "Book";

    fn schema() -> Schema {
        let seat = object("One seat of a show")
            .member::<ShowId>("show_id", "", Some(1.into()))
            .member::<SeatId>("seat_id", "", Some(1.into()))
            .without("seat_ids")
            .without("seats")
            .without("hold_id");
        let seats = object("Several seats of a show for adults, all or none")
            .member::<ShowId>("show_id", "", None)
            .member::<SeatSelection>("seat_ids", "", None)
            .without("seat_id")
            .without("seats")
            .without("hold_id");
        let tickets = object("Several seats of a show with their ticket types, all or none")
            .member::<ShowId>("show_id", "", None)
            .member::<TicketSelection>("seats", "", None)
            .without("seat_id")
            .without("seat_ids")
            .without("hold_id");
        let hold = object("The seats of one of the caller's holds, at its prices")
            .member::<HoldId>("hold_id", "", None)
            .member::<Option<TicketSelection>>(
                "seats",
                "The seats of the hold, with other ticket types. A seat that keeps its ticket type keeps its price",
                None,
            )
            .without("seat_id")
            .without("seat_ids");
        let ways = [seat, seats, hold, tickets].into_iter();
        ways.fold(OneOfBuilder::new(), |one_of, way| one_of.item(way.schema())).build().into()
    }

    fn read(body: &mut BodyReader<'_>) -> Option<Self> {
        let ways = ["seat_id", "seat_ids", "seats", "hold_id"].into_iter();
        let ways: Vec<_> = ways.filter(|name| body.has(name)).collect();
        match ways.as_slice() {
            ["hold_id"] => return body.member("hold_id").map(Self::Hold),
            ["seats", "hold_id"] => {
                let (hold_id, tickets) = (body.member("hold_id"), body.member("seats"));
                return Some(Self::HoldAs(hold_id?, tickets?));
            }
            _ => {}
        }
        let show_id = body.member("show_id");
        let seats = match ways.as_slice() {
            ["seat_id"] => {
                let seat = body.member("seat_id").and_then(|seat: SeatId| SeatSelection::parse(vec![seat], 1).ok());
                seat.map(TicketSelection::from)
            }
            ["seat_ids"] => body.member("seat_ids").map(|seats: SeatSelection| seats.into()),
            ["seats"] => body.member("seats"),
            [] => {
                body.mistake("seat_id", Mistake::new("required", "is required, or seat_ids, or seats, or hold_id"));
                None
            }
            several => {
                let message = "must be given alone: one of seat_id, seat_ids, seats and hold_id, or hold_id with seats";
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

async fn book(
    command: Command,
    RequiredKey(key): RequiredKey,
    Body(request): Body<BookRequest>,
    state: Data<AppState>,
) -> Result<CreatedByCommand<BookedView>, Problem> {
    let action = match request {
        BookRequest::Seats(seats) => Action::Book(seats),
        BookRequest::Hold(hold_id) => Action::Redeem(hold_id),
        BookRequest::HoldAs(hold_id, tickets) => Action::RedeemAs(hold_id, tickets),
    };
    Ok(execute(&state, key.command(command, action)).await?.into())
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
