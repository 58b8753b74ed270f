//! Booking seats, and one's bookings.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::booking::{
    Action, BookSeats, Booking, BookingAction, BookingFilter, BookingStatus, CommandAnswer, CommandError,
    CommandRequest, Fingerprint, HoldSeats, Refusal, SeatGapRule, Subject, WantedSeats, When,
};
use domain::ids::{BookingId, SeatId, ShowId};
use domain::page::Page;
use domain::seating::SeatSelection;
use serde_json::Value;

use super::holds::parse_hold_id;
use super::identity::{private, unread};
use super::{Answer, PageParameters, next_link};
use crate::calls::views::{BookBody, BookedView, BookingView, ChangeSeatsBody, ProblemView};
use crate::http::cursor::Cursor as _;
use crate::http::fields::Fields;
use crate::http::json::fingerprint;
use crate::http::problem::Problem;
use crate::http::request::{Operation, bearer, idempotency_key, idempotency_key_if_given, path_id, query, receive};
use crate::telemetry::request_context::in_span;
use crate::wiring::state::AppState;

/// Book seats, all or none. A retry with the same key books nothing more, and is answered the same.
#[utoipa::path(post, path = "/api/bookings", tag = "booking", security(("bearer" = [])), params(
    ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters; new for each booking, the same for its retries")),
    request_body = BookBody, responses(
    (status = 201, description = "The booking; with `Idempotent-Replayed: true` if an earlier request made it", body = BookedView<'_>),
    (status = 400, description = "`idempotency_key_missing`, `idempotency_key_invalid`, `malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`show_not_found`, `seat_not_found`, `hold_not_found`", body = ProblemView),
    (status = 409, description = "`sales_closed`, `hold_expired`, `seat_unavailable` with the lost `seat_ids` and, for several seats, `alternatives`", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`, `seats_leave_gap`, `too_many_seats`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same key tells", body = ProblemView)))]
pub async fn book(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = receive(payload).await;
    let bearer = bearer(&request)?;
    let key = idempotency_key(&request)?;
    let body = body.json(&request)?;
    let fingerprint = Fingerprint(fingerprint(&body));
    let action = to_book(body, state.settings.rules.seats_max)?;
    let scope = Operation::Book.scope();
    let asked = CommandRequest { bearer, scope, key: Some(key), fingerprint, action };
    answered(StatusCode::CREATED, run(&state, asked).await?)
}

/// Runs a command; a refusal for seats that can't be had names others.
pub async fn run(state: &AppState, asked: CommandRequest) -> Result<CommandAnswer, Problem> {
    let wanted = match &asked.action {
        Action::Book(book) => Some((book.show_id, book.seats.clone())),
        Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(seats) }) => Some((*show_id, seats.clone())),
        _ => None,
    };
    match in_span("booking.commit", state.booking.run(asked)).await {
        Ok(answer) => Ok(answer),
        Err(error) => Err(with_alternatives(state, error, wanted).await),
    }
}

/// Where seats were refused that were chosen one by one: what else there is.
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
    // A refusal is a refusal, whether or not the store can be asked what else there is.
    match state.seating.alternatives(show_id, seats.seats(), forbid_gaps).await {
        Ok(groups) => {
            let ids = |group: &Vec<SeatId>| group.iter().map(|seat| Value::from(seat.0)).collect::<Value>();
            problem.with("alternatives", groups.iter().map(ids).collect())
        }
        Err(_) => problem,
    }
}

/// The answer to a command, the same each time; `status` is that of a success with a body.
pub fn answered(status: StatusCode, answer: CommandAnswer) -> Answer {
    let mut response = HttpResponse::build(if answer.body.is_empty() { StatusCode::NO_CONTENT } else { status });
    response.insert_header(private());
    if status == StatusCode::CREATED {
        let location = match &answer.made {
            Subject::Booking(id) => format!("/api/bookings/{id}"),
            Subject::Hold(id) => format!("/api/holds/{}", id.as_str()),
        };
        response.insert_header((header::LOCATION, location));
    }
    if answer.replayed {
        response.insert_header((HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true")));
    }
    if answer.body.is_empty() {
        return Ok(response.finish());
    }
    Ok(response.content_type("application/json").body(answer.body.to_vec()))
}

/// Cancel a booking: its seats are free again. A cancelled one stays as it is.
#[utoipa::path(post, path = "/api/bookings/{booking_id}/cancel", tag = "booking", security(("bearer" = [])), params(
    ("booking_id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "With one, a retry is answered the same to the byte")), responses(
    (status = 200, description = "The booking, cancelled", body = BookingView<'_>),
    (status = 400, description = "`idempotency_key_invalid`, `validation_failed`: the id is none", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`booking_not_found`: there is none, or it is someone else's", body = ProblemView),
    (status = 409, description = "`booking_not_cancellable`: the show is too near", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`", body = ProblemView),
    (status = 429, description = "`rate_limited`; `cancellation_limit`: too many bookings cancelled within 24 hours. With `Retry-After`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same request tells", body = ProblemView)))]
pub async fn cancel(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    // Nothing in it is asked for; it is read so that the client gets to read the answer.
    drop(receive(payload).await);
    let bearer = bearer(&request)?;
    let key = idempotency_key_if_given(&request)?;
    let id = BookingId(path_id(&request, "booking_id")?);
    let (scope, action) = (Operation::CancelBooking(id).scope(), BookingAction::Cancel(id));
    let fingerprint = Fingerprint(fingerprint(&Value::Null));
    let asked = CommandRequest { bearer, scope, key, fingerprint, action };
    answered(StatusCode::OK, in_span("booking.commit", state.booking.run_on_booking(asked)).await?)
}

/// Give a booking other seats, as many: the old ones are free in the same moment. Prices stay as sold; seats that cost more
/// are refused.
#[utoipa::path(post, path = "/api/bookings/{booking_id}/seats", tag = "booking", security(("bearer" = [])), params(
    ("booking_id" = i64, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "With one, a retry is answered the same to the byte")),
    request_body = ChangeSeatsBody, responses(
    (status = 200, description = "The booking on its new seats", body = BookingView<'_>),
    (status = 400, description = "`idempotency_key_invalid`, `malformed_json`, `validation_failed`; as many seats must be given as the booking has", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`booking_not_found`, `seat_not_found`", body = ProblemView),
    (status = 409, description = "`seat_unavailable` with the lost `seat_ids` and `alternatives`, `sales_closed`, `conflict`: it is not confirmed", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`, `price_differs`, `seats_leave_gap`, `too_many_seats`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same request tells", body = ProblemView)))]
pub async fn change_seats(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = receive(payload).await;
    let bearer = bearer(&request)?;
    let key = idempotency_key_if_given(&request)?;
    let id = BookingId(path_id(&request, "booking_id")?);
    let body = body.json(&request)?;
    let fingerprint = Fingerprint(fingerprint(&body));
    let mut fields = Fields::of(body)?;
    let seats = fields.required_ids("seat_ids");
    fields.finish()?;
    let seats = selection(seats.ok_or_else(unread)?, state.settings.rules.seats_max)?;
    let action = BookingAction::Change(id, seats.clone());
    let scope = Operation::ChangeSeats(id).scope();
    let asked = CommandRequest { bearer, scope, key, fingerprint, action };
    match in_span("booking.commit", state.booking.run_on_booking(asked)).await {
        Ok(answer) => answered(StatusCode::OK, answer),
        Err(error) => {
            let booking = state.booking.booking(&bearer, id).await.ok();
            Err(with_alternatives(&state, error, booking.map(|booking| (booking.show_id, seats))).await)
        }
    }
}

/// Seats that were asked for by their ids.
pub fn selection(seats: Vec<i64>, seats_max: usize) -> Result<SeatSelection, Problem> {
    Ok(SeatSelection::parse(seats.into_iter().map(SeatId).collect(), seats_max)?)
}

/// The caller's bookings, newest first.
#[utoipa::path(get, path = "/api/bookings", tag = "booking", security(("bearer" = [])), params(
    ("when" = Option<String>, Query, description = "`upcoming` or `past`: by whether the show has started"),
    ("status" = Option<String>, Query, description = "`pending_payment`, `confirmed`, `cancelled`, `expired` or `refunded`"), PageParameters), responses(
    (status = 200, description = "A page; the next one is in `Link`", body = Vec<BookingView<'_>>),
    (status = 400, description = "`validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn history(request: HttpRequest, state: Data<AppState>) -> Answer {
    let bearer = bearer(&request)?;
    let mut query = query(&request)?;
    let filter = BookingFilter {
        when: query.one_of("when", "must be upcoming or past", |text| match text {
            "upcoming" => Some(When::Upcoming),
            "past" => Some(When::Past),
            _ => None,
        }),
        status: query.one_of("status", "must be pending_payment, confirmed, cancelled, expired or refunded", |text| {
            BookingStatus::parse(text).ok()
        }),
    };
    let part = query.page();
    query.finish()?;
    let Page { items, next } = state.booking.history(&bearer, &filter, &part).await?;
    let mut response = HttpResponse::Ok();
    response.insert_header(private());
    if let Some(next) = next {
        response.insert_header((header::LINK, next_link(&request, &next.encode())));
    }
    Ok(response.json(items.iter().map(BookingView::from).collect::<Vec<_>>()))
}

/// One of the caller's bookings.
#[utoipa::path(get, path = "/api/bookings/{booking_id}", tag = "booking", security(("bearer" = [])), params(("booking_id" = i64, Path)), responses(
    (status = 200, description = "The booking", body = BookingView<'_>),
    (status = 400, description = "`validation_failed`: the id is none", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`booking_not_found`: there is none, or it is someone else's", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn booking(request: HttpRequest, state: Data<AppState>) -> Answer {
    let bearer = bearer(&request)?;
    let id = BookingId(path_id(&request, "booking_id")?);
    let booking: Booking = state.booking.booking(&bearer, id).await?;
    Ok(HttpResponse::Ok().insert_header(private()).json(BookingView::from(&booking)))
}

/// What is to be booked: exactly one of `seat_id`, `seat_ids` and `hold_id`.
fn to_book(body: Value, seats_max: usize) -> Result<Action, Problem> {
    let mut fields = Fields::of(body)?;
    let ways: Vec<_> = ["seat_id", "seat_ids", "hold_id"].into_iter().filter(|name| fields.has(name)).collect();
    let (show_id, seats) = match ways.as_slice() {
        ["seat_id"] => (fields.id("show_id"), fields.id("seat_id").map(|id| vec![id])),
        ["seat_ids"] => (fields.id("show_id"), fields.ids("seat_ids")),
        ["hold_id"] => {
            let hold_id = fields.text("hold_id", |text| Ok(text.to_owned()));
            fields.finish()?;
            return Ok(Action::Redeem(parse_hold_id(&hold_id.ok_or_else(unread)?)?));
        }
        [] => {
            fields.id("show_id");
            fields.mistakes().add("seat_id", "required", "is required, or seat_ids, or hold_id");
            (None, None)
        }
        several => {
            fields.id("show_id");
            for name in several {
                fields.mistakes().add(*name, "conflict", "must be given alone: one of seat_id, seat_ids and hold_id");
            }
            (None, None)
        }
    };
    fields.finish()?;
    let (Some(show_id), Some(seats)) = (show_id, seats) else { return Err(unread()) };
    Ok(Action::Book(BookSeats { show_id: ShowId(show_id), seats: selection(seats, seats_max)? }))
}
