//! Booking seats, and one's bookings.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::booking::{BookRequest, BookSeats, Booking, BookingFilter, BookingStatus, Fingerprint, When};
use domain::ids::{BookingId, SeatId, ShowId};
use domain::page::Page;
use domain::seating::SeatSelection;
use serde_json::Value;

use super::identity::{private, unread};
use super::{Answer, PageParameters, next_link};
use crate::cursor::Cursor as _;
use crate::fields::Fields;
use crate::json::fingerprint;
use crate::problem::Problem;
use crate::request::{caller, idempotency_key, path_id, query, receive, scope};
use crate::served::in_span;
use crate::state::AppState;
use crate::views::{BookBody, BookedView, BookingView, ProblemView};

/// Book seats, all or none. A retry with the same key books nothing more, and is answered the same.
#[utoipa::path(post, path = "/api/bookings", tag = "booking", security(("bearer" = [])), params(
    ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters; new for each booking, the same for its retries")),
    request_body = BookBody, responses(
    (status = 201, description = "The booking; with `Idempotent-Replayed: true` if an earlier request made it", body = BookedView<'_>),
    (status = 400, description = "`idempotency_key_missing`, `idempotency_key_invalid`, `malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`show_not_found`, `seat_not_found`, `hold_not_found`", body = ProblemView),
    (status = 409, description = "`sales_closed`, `seat_unavailable` with the lost `seat_ids`", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`, `too_many_seats`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same key tells", body = ProblemView)))]
pub async fn book(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = receive(payload).await;
    let caller = caller(&request)?;
    let key = idempotency_key(&request)?;
    let body = body.json(&request)?;
    let fingerprint = Fingerprint(fingerprint(&body));
    let book = book_seats(body, state.settings.max_seats_per_booking)?;
    let asked = BookRequest { caller, scope: scope(&request), key, fingerprint, book };
    let answer = in_span("booking.commit", state.booking.book(asked)).await?;
    let mut response = HttpResponse::Created();
    response.insert_header((header::LOCATION, format!("/api/bookings/{}", answer.booking_id))).insert_header(private());
    if answer.replayed {
        response.insert_header((HeaderName::from_static("idempotent-replayed"), HeaderValue::from_static("true")));
    }
    Ok(response.content_type("application/json").body(answer.body.to_vec()))
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
    let caller = caller(&request)?;
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
    let Page { items, next } = state.booking.history(&caller, &filter, &part).await?;
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
    let caller = caller(&request)?;
    let id = BookingId(path_id(&request, "booking_id")?);
    let booking: Booking = state.booking.booking(&caller, id).await?;
    Ok(HttpResponse::Ok().insert_header(private()).json(BookingView::from(&booking)))
}

/// What is to be booked: exactly one of `seat_id`, `seat_ids` and `hold_id`.
fn book_seats(body: Value, seats_max: usize) -> Result<BookSeats, Problem> {
    let mut fields = Fields::of(body)?;
    let ways: Vec<_> = ["seat_id", "seat_ids", "hold_id"].into_iter().filter(|name| fields.has(name)).collect();
    let (show_id, seats) = match ways.as_slice() {
        ["seat_id"] => (fields.id("show_id"), fields.id("seat_id").map(|id| vec![id])),
        ["seat_ids"] => (fields.id("show_id"), fields.ids("seat_ids")),
        ["hold_id"] => {
            fields.text("hold_id", |_| Ok(()));
            fields.finish()?;
            // Holds can't be made in this version, so whichever it is, it is not there.
            return Err(Problem::hold_not_found());
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
    let seats = SeatSelection::parse(seats.into_iter().map(SeatId).collect(), seats_max)?;
    Ok(BookSeats { show_id: ShowId(show_id), seats })
}
