//! Holding seats for some minutes.

use actix_web::http::StatusCode;
use actix_web::web::{Data, Payload};
use actix_web::{HttpRequest, HttpResponse};
use domain::booking::{Action, CommandRequest, Fingerprint, Hold, HoldId, HoldSeats, Refusal, Scope, WantedSeats};
use domain::ids::ShowId;
use domain::seating::{SeatSelectionError, SeatWish};
use domain::text::check_line;
use serde_json::Value;

use super::Answer;
use super::booking::{answered, run, selection};
use super::identity::{private, unread};
use crate::calls::views::{HoldBody, HoldView, ProblemView};
use crate::http::fields::Fields;
use crate::http::json::fingerprint;
use crate::http::problem::Problem;
use crate::http::request::{Operation, bearer, idempotency_key, idempotency_key_if_given, path_id, receive};
use crate::wiring::state::AppState;

/// Hold seats for some minutes: these, or the best together. Nobody else can book or hold them meanwhile.
#[utoipa::path(post, path = "/api/shows/{show_id}/holds", tag = "booking", security(("bearer" = [])), params(
    ("show_id" = i64, Path),
    ("Idempotency-Key" = String, Header, description = "1 to 255 visible ASCII characters; new for each hold, the same for its retries")),
    request_body = HoldBody, responses(
    (status = 201, description = "The hold; with `Idempotent-Replayed: true` if an earlier request made it", body = HoldView<'_>),
    (status = 400, description = "`idempotency_key_missing`, `idempotency_key_invalid`, `malformed_json`, `validation_failed`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`show_not_found`, `seat_not_found`", body = ProblemView),
    (status = 409, description = "`sales_closed`; `seat_unavailable` with the lost `seat_ids` and, for several seats, `alternatives`; with no `seat_ids` where not as many are left", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`, `seats_leave_gap`; `too_many_seats`: also those that are held already count", body = ProblemView),
    (status = 429, description = "`rate_limited`; `held_seats_limit`: too many seats over all shows; `seat_hold_time_used` with `seat_ids`: seats that the caller had for 30 minutes in all, and let go of within the last 10. With `Retry-After`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same key tells", body = ProblemView)))]
pub async fn make(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    let body = receive(payload).await;
    let bearer = bearer(&request)?;
    let key = idempotency_key(&request)?;
    let show_id = ShowId(path_id(&request, "show_id")?);
    let body = body.json(&request)?;
    let fingerprint = Fingerprint(fingerprint(&body));
    let seats = wanted(body, state.settings.rules.seats_max)?;
    let action = Action::Hold(HoldSeats { show_id, seats });
    let scope = Operation::Hold(show_id).scope();
    let asked = CommandRequest { bearer, scope, key: Some(key), fingerprint, action };
    answered(StatusCode::CREATED, run(&state, asked).await?)
}

/// The caller's live holds, those that run out first in front: a hundred at most.
#[utoipa::path(get, path = "/api/holds", tag = "booking", security(("bearer" = [])), responses(
    (status = 200, description = "The holds", body = Vec<HoldView<'_>>),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn holds(request: HttpRequest, state: Data<AppState>) -> Answer {
    let holds = state.booking.holds(&bearer(&request)?).await?;
    let views: Vec<_> = holds.iter().map(HoldView::from).collect();
    Ok(HttpResponse::Ok().insert_header(private()).json(views))
}

/// One of the caller's live holds.
#[utoipa::path(get, path = "/api/holds/{hold_id}", tag = "booking", security(("bearer" = [])), params(("hold_id" = String, Path)), responses(
    (status = 200, description = "The hold", body = HoldView<'_>),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`hold_not_found`: there is none, it ran out, or it is someone else's", body = ProblemView),
    (status = 503, description = "`unavailable`", body = ProblemView)))]
pub async fn hold(request: HttpRequest, state: Data<AppState>) -> Answer {
    let bearer = bearer(&request)?;
    let hold: Hold = state.booking.hold(&bearer, &path_hold_id(&request)?).await?;
    Ok(HttpResponse::Ok().insert_header(private()).json(HoldView::from(&hold)))
}

/// Let a hold last longer: `HOLD_TTL` from now, but never more than 30 minutes in all.
#[utoipa::path(post, path = "/api/holds/{hold_id}/extend", tag = "booking", security(("bearer" = [])), params(
    ("hold_id" = String, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "With one, a retry is answered the same to the byte")), responses(
    (status = 200, description = "The hold", body = HoldView<'_>),
    (status = 400, description = "`idempotency_key_invalid`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`hold_not_found`: there is none, or it is someone else's", body = ProblemView),
    (status = 409, description = "`hold_expired`, `sales_closed`", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same request tells", body = ProblemView)))]
pub async fn extend(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    on_hold(request, payload, state, |id| Operation::ExtendHold(id).scope(), Action::Extend).await
}

/// Give a hold's seats back.
#[utoipa::path(delete, path = "/api/holds/{hold_id}", tag = "booking", security(("bearer" = [])), params(
    ("hold_id" = String, Path),
    ("Idempotency-Key" = Option<String>, Header, description = "With one, a retry is answered the same")), responses(
    (status = 204, description = "The seats are free again"),
    (status = 400, description = "`idempotency_key_invalid`", body = ProblemView),
    (status = 401, description = "`unauthenticated`", body = ProblemView),
    (status = 404, description = "`hold_not_found`: there is none, it ran out, or it is someone else's", body = ProblemView),
    (status = 422, description = "`idempotency_key_reused`", body = ProblemView),
    (status = 503, description = "`unavailable`, `overloaded`; `outcome_unknown`: the same request tells", body = ProblemView)))]
pub async fn release(request: HttpRequest, payload: Payload, state: Data<AppState>) -> Answer {
    on_hold(request, payload, state, |id| Operation::ReleaseHold(id).scope(), Action::Release).await
}

/// Runs a command that asks for nothing but a hold.
async fn on_hold(
    request: HttpRequest,
    payload: Payload,
    state: Data<AppState>,
    scope: impl FnOnce(&HoldId) -> Scope,
    action: impl FnOnce(HoldId) -> Action,
) -> Answer {
    // Nothing in it is asked for; it is read so that the client gets to read the answer.
    drop(receive(payload).await);
    let bearer = bearer(&request)?;
    let key = idempotency_key_if_given(&request)?;
    let id = path_hold_id(&request)?;
    let (scope, action) = (scope(&id), action(id));
    let fingerprint = Fingerprint(fingerprint(&Value::Null));
    let asked = CommandRequest { bearer, scope, key, fingerprint, action };
    answered(StatusCode::OK, run(&state, asked).await?)
}

fn path_hold_id(request: &HttpRequest) -> Result<HoldId, Problem> {
    parse_hold_id(request.match_info().get("hold_id").unwrap_or_default())
}

/// A hold's id. A text that is none is the id of no hold.
pub fn parse_hold_id(text: &str) -> Result<HoldId, Problem> {
    HoldId::parse(text).map_err(|_| Refusal::HoldNotFound.into())
}

/// What is to be held: `seat_ids`, or `quantity` with what narrows it.
fn wanted(body: Value, seats_max: usize) -> Result<WantedSeats, Problem> {
    let mut fields = Fields::of(body)?;
    match (fields.has("seat_ids"), fields.has("quantity")) {
        (true, false) => {
            for narrows in ["category", "accessible"] {
                if fields.has(narrows) {
                    fields.mistakes().add(narrows, "conflict", "must be given with quantity alone");
                }
            }
            let seats = fields.ids("seat_ids");
            fields.finish()?;
            Ok(WantedSeats::These(selection(seats.ok_or_else(unread)?, seats_max)?))
        }
        (false, true) => {
            let quantity = fields.count("quantity");
            let category = fields.text_if_given("category", |text| check_line(text, 1, 100).map(|()| text.to_owned()));
            let accessible = fields.flag("accessible");
            fields.finish()?;
            let quantity = quantity.ok_or_else(unread)?;
            if quantity > seats_max {
                return Err(SeatSelectionError::TooMany { asked: quantity, max: seats_max }.into());
            }
            Ok(WantedSeats::Best(SeatWish { quantity, category, accessible }))
        }
        (true, true) => {
            for name in ["seat_ids", "quantity"] {
                fields.mistakes().add(name, "conflict", "must be given alone: seat_ids or quantity");
            }
            fields.finish()?;
            Err(unread())
        }
        (false, false) => {
            fields.mistakes().add("seat_ids", "required", "is required, or quantity");
            fields.finish()?;
            Err(unread())
        }
    }
}
