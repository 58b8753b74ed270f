//! Holds: seats that are kept for a caller for some minutes.

use actix_web::web::Data;
use domain::booking::{Action, HoldId, HoldSeats, WantedSeats};
use domain::ids::ShowId;
use domain::seating::{SeatSelection, SeatWish, TicketSelection};
use utoipa::openapi::Schema;
use utoipa::openapi::schema::OneOfBuilder;

use super::answers::HoldView;
use super::commands::execute;
use crate::http::body::{Body, BodyReader, JsonBody, object};
use crate::http::call::calls;
use crate::http::keys::{OptionalKey, RequiredKey};
use crate::http::mistakes::Mistake;
use crate::http::problem::Problem;
use crate::http::query::Path;
use crate::http::reply::{ChangedByCommand, CreatedByCommand, DoneByCommand, Json, Page};
use crate::http::session::{Caller, Command};
use crate::http::values::{Category, Quantity};
use crate::wiring::state::AppState;

calls! { "booking"
    /// Hold seats for some minutes.
    ///
    /// Either the given seats, or the best seats together, which are for adults. Until the hold expires, no other caller can hold or book them.
    POST "/api/shows/{show_id}/holds" => make: "The hold",
        or [ShowNotFound, SeatNotFound, SalesClosed, SeatUnavailable, SeatsLeaveGap, SeatsSplitPair, TooManySeats, TicketTypeNotSold,
            HeldSeatsLimit, SeatHoldTimeUsed, Overloaded, OutcomeUnknown, Unavailable];

    /// List your live holds.
    ///
    /// At most a hundred, the first to expire first.
    GET "/api/holds" => holds: "The holds", or [Unavailable];

    /// Get one of your live holds.
    GET "/api/holds/{hold_id}" => hold: "The hold", or [Unavailable];

    /// Extend a hold.
    ///
    /// It expires `HOLD_TTL` from now, but never more than 30 minutes after its creation.
    POST "/api/holds/{hold_id}/extend" => extend: "The hold",
        or [HoldExpired, SalesClosed, Overloaded, OutcomeUnknown, Unavailable];

    /// Release a hold: its seats are free again.
    DELETE "/api/holds/{hold_id}" => release: "The seats are free", or [Overloaded, OutcomeUnknown, Unavailable];
}

/// The seats to hold.
pub struct HoldRequest(WantedSeats);

impl JsonBody for HoldRequest {
    const NAME: &'static str = "HoldSeats";

    fn schema() -> Schema {
        let these = object("These seats for adults, all or none")
            .member::<SeatSelection>("seat_ids", "", None)
            .without("seats")
            .without("quantity")
            .without("category")
            .without("accessible");
        let tickets = object("These seats with their ticket types, all or none")
            .member::<TicketSelection>("seats", "", None)
            .without("seat_ids")
            .without("quantity")
            .without("category")
            .without("accessible");
        let best = object(
            "The best seats together: in as few rows as possible, with as few single empty seats as possible, as near as possible to the \
            hall's best spot",
        )
        .member::<Quantity>("quantity", "", Some(2.into()))
        .member::<Option<Category>>("category", "Only seats of this category", None)
        .member::<Option<bool>>("accessible", "Only accessible seats, or only others", None)
        .without("seat_ids")
        .without("seats");
        let ways = [these, best, tickets].into_iter();
        ways.fold(OneOfBuilder::new(), |one_of, way| one_of.item(way.schema())).build().into()
    }

    fn read(body: &mut BodyReader<'_>) -> Option<Self> {
        let ways: Vec<_> = ["seat_ids", "seats", "quantity"].into_iter().filter(|name| body.has(name)).collect();
        match ways.as_slice() {
            [given @ ("seat_ids" | "seats")] => {
                for name in ["category", "accessible"] {
                    if body.has(name) {
                        body.mistake(name, Mistake::new("conflict", "must be given with quantity alone"));
                    }
                }
                let seats = match *given {
                    "seats" => body.member("seats"),
                    _ => body.member("seat_ids").map(|seats: SeatSelection| seats.into()),
                };
                seats.map(|seats| Self(WantedSeats::These(seats)))
            }
            ["quantity"] => {
                let quantity = body.member("quantity");
                let category = body.member::<Option<Category>>("category");
                let accessible = body.member("accessible");
                let Quantity(quantity) = quantity?;
                let category = category?.map(|category| category.0);
                Some(Self(WantedSeats::Best(SeatWish { quantity, category, accessible: accessible? })))
            }
            [] => {
                body.mistake("seat_ids", Mistake::new("required", "is required, or seats, or quantity"));
                None
            }
            several => {
                let message = "must be given alone: one of seat_ids, seats and quantity";
                several.iter().for_each(|name| body.mistake(name, Mistake::new("conflict", message)));
                None
            }
        }
    }
}

async fn make(
    command: Command,
    RequiredKey(key): RequiredKey,
    Path(show_id): Path<ShowId>,
    Body(HoldRequest(seats)): Body<HoldRequest>,
    state: Data<AppState>,
) -> Result<CreatedByCommand<HoldView>, Problem> {
    let action = Action::Hold(HoldSeats { show_id, seats });
    Ok(execute(&state, key.command(command, action)).await?.into())
}

async fn holds(Caller(bearer): Caller, state: Data<AppState>) -> Result<Page<HoldView>, Problem> {
    Ok(Page::whole(state.booking.holds(&bearer).await?.iter().map(HoldView::from).collect()).private())
}

async fn hold(
    Caller(bearer): Caller,
    Path(id): Path<HoldId>,
    state: Data<AppState>,
) -> Result<Json<HoldView>, Problem> {
    Ok(Json::private(HoldView::from(&state.booking.hold(&bearer, &id).await?)))
}

async fn extend(
    command: Command,
    OptionalKey(key): OptionalKey,
    Path(id): Path<HoldId>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<HoldView>, Problem> {
    Ok(execute(&state, key.command(command, Action::Extend(id))).await?.into())
}

async fn release(
    command: Command,
    OptionalKey(key): OptionalKey,
    Path(id): Path<HoldId>,
    state: Data<AppState>,
) -> Result<DoneByCommand, Problem> {
    Ok(DoneByCommand(execute(&state, key.command(command, Action::Release(id))).await?))
}
