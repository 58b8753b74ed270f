//! The box office: sales, house seats, corrections of bookings, and their history.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::web::Data;
use domain::admin::{BlockedSeat, ChangeRequest, StaffMember};
use domain::booking::{
    Action, BookingEvent, CorrectedSeats, CounterSale, EventActor, HouseSeats, Override, PaymentKind, SaleTerms,
};
use domain::identity::Email;
use domain::ids::{BookingId, ShowId};
use domain::seating::TicketSelection;
use domain::text::Line;
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{Object, OneOfBuilder};

use super::bookings::act_on;
use crate::calls::answers::{BlocksView, BookingView, SaleView};
use crate::calls::commands::execute;
use crate::calls::{instant, one_of};
use crate::http::body::{Body, BodyReader, Findings, JsonBody, JsonValue, ObjectSchema, body, object};
use crate::http::call::calls;
use crate::http::keys::KeyedChange;
use crate::http::mistakes::Mistake;
use crate::http::problem::{Code, Problem};
use crate::http::query::Path;
use crate::http::reply::{ChangedByCommand, Page, SoldByStaff};
use crate::http::session::Staff;
use crate::http::values::{ManySeats, ManyTickets};
use crate::wiring::state::AppState;

calls! { "staff"
    /// List the seats of a show that are blocked for the house.
    ///
    /// Ordered by id. A seat that was blocked outside the API has neither a reason nor a member of staff.
    GET "/api/admin/shows/{show_id}/blocks" => blocked_seats: "The blocked seats", or [ShowNotFound];

    /// Block seats for the house, all or none.
    ///
    /// Blocked seats are not sold, and the public seat map shows them as booked. Seats that are blocked already stay as they are.
    POST "/api/admin/shows/{show_id}/blocks" => block_seats: "All blocked seats of the show",
        or [ShowNotFound, SeatNotFound, SalesClosed, SeatUnavailable, SeatsSplitPair, TooManySeats, Overloaded, OutcomeUnknown];

    /// Release blocked seats, all or none.
    ///
    /// Seats that are free already stay as they are.
    DELETE "/api/admin/shows/{show_id}/blocks" => release_seats: "All seats of the show that are still blocked",
        or [ShowNotFound, SeatNotFound, SeatUnavailable, SeatsSplitPair, TooManySeats, Overloaded, OutcomeUnknown];

    /// Sell seats at the box office, all or none.
    ///
    /// Until the show ends, and also outside its sale times. Without a `customer`, the booking belongs to the box office. A retry with the
    /// same key sells nothing more, and gets the same answer.
    POST "/api/admin/shows/{show_id}/sales" => sell_at_box_office: "The booking",
        or [ShowNotFound, CustomerNotFound, SeatNotFound, SalesClosed, SeatUnavailable, SeatsLeaveGap, SeatsSplitPair, TooManySeats,
            TicketTypeNotSold, Overloaded, OutcomeUnknown];

    /// Correct the seats or ticket types of a customer's booking.
    ///
    /// As many seats as before, also after the show has begun. Prices stay as sold.
    POST "/api/admin/bookings/{booking_id}/seats" => correct_booking: "The corrected booking",
        or [BookingNotFound, SeatNotFound, SalesClosed, Conflict, SeatUnavailable, SeatsLeaveGap, SeatsSplitPair, TooManySeats,
            TicketTypeNotSold, Overloaded, OutcomeUnknown];

    /// List all that happened to a booking, oldest first.
    GET "/api/admin/bookings/{booking_id}/history" => booking_history: "The events", or [BookingNotFound];
}

body! {
    /// Seats to block for the house, or to release.
    pub struct HouseSeatsBody as "HouseSeats" {
        /// At most 2,000.
        pub seat_ids: ManySeats<{ HouseSeats::SEATS_MAX }>,
        /// For the audit log and for staff: 1 to 500 characters.
        #[example = "For the press"]
        pub reason: Line<1, 500>,
    }
}

type SaleSeats = ManySeats<{ CounterSale::SEATS_MAX }>;
type SaleTickets = ManyTickets<{ CounterSale::SEATS_MAX }>;

/// A sale at the box office.
pub struct SaleBody {
    seats: TicketSelection,
    customer: Option<SaleCustomer>,
    terms: SaleTerms,
}

/// The customer of a sale.
pub struct SaleCustomer(Email);

impl JsonValue for SaleCustomer {
    fn schema() -> Schema {
        object("The customer who gets the booking")
            .member::<Email>("email", "The address of the customer's account", Some("ana@example.org".into()))
            .schema()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(members) = value.as_object() else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be an object with email"));
            return None;
        };
        let at = format!("{at}.email");
        match members.get("email").filter(|email| !email.is_null()) {
            Some(email) => Email::read(email, &at, findings).map(Self),
            None => {
                findings.mistakes.add(&at, Mistake::new("required", "is required"));
                None
            }
        }
    }
}

impl JsonBody for SaleBody {
    const NAME: &'static str = "BoxOfficeSaleRequest";

    fn schema() -> Schema {
        let terms = |way: ObjectSchema| {
            way.member::<Option<SaleCustomer>>("customer", "", None)
                .member::<PaymentKind>("payment", "A complimentary sale costs nothing, and needs a reason", None)
                .member::<Option<BTreeSet<Override>>>(
                    "override",
                    "The rules that the sale may break. Needs a reason",
                    None,
                )
                .member::<Option<Line<1, 500>>>("reason", "For the audit log: 1 to 500 characters", None)
                .schema()
        };
        let seats = object("Seats for adults").member::<SaleSeats>("seat_ids", "", None).without("seats");
        let tickets =
            object("Seats with their ticket types").member::<SaleTickets>("seats", "", None).without("seat_ids");
        OneOfBuilder::new().item(terms(seats)).item(terms(tickets)).build().into()
    }

    fn read(body: &mut BodyReader<'_>) -> Option<Self> {
        let seats = seats_or_tickets(body).map(|seats| match seats {
            CorrectedSeats::Seats(seats) => seats.into(),
            CorrectedSeats::Tickets(tickets) => tickets,
        });
        let customer = body.member("customer");
        let payment = body.member("payment");
        let overrides: Option<Option<BTreeSet<Override>>> = body.member("override");
        let reason: Option<Option<Line<1, 500>>> = body.member("reason");
        let reason = reason?.map(|reason| reason.as_str().to_owned());
        let terms = SaleTerms::new(payment?, overrides?.unwrap_or_default(), reason);
        let terms = terms.map_err(|error| body.mistake("reason", Mistake::new("required", error.to_string())));
        Some(Self { seats: seats?, customer: customer?, terms: terms.ok()? })
    }
}

/// Other seats or ticket types for a booking.
pub struct CorrectionBody {
    seats: CorrectedSeats,
    reason: Line<1, 500>,
}

impl JsonBody for CorrectionBody {
    const NAME: &'static str = "Correction";

    fn schema() -> Schema {
        let because = |way: ObjectSchema| {
            way.member::<Line<1, 500>>("reason", "For the audit log: 1 to 500 characters", None).schema()
        };
        let seats = object("Other seats; a new seat has the ticket type of the seat that it replaces")
            .member::<SaleSeats>("seat_ids", "As many as the booking has", None)
            .without("seats");
        let tickets = object("Seats with their ticket types")
            .member::<SaleTickets>("seats", "As many as the booking has", None)
            .without("seat_ids");
        OneOfBuilder::new().item(because(seats)).item(because(tickets)).build().into()
    }

    fn read(body: &mut BodyReader<'_>) -> Option<Self> {
        let (seats, reason) = (seats_or_tickets(body), body.member("reason"));
        Some(Self { seats: seats?, reason: reason? })
    }
}

/// Reads `seat_ids` or `seats`, of which a body must have one.
fn seats_or_tickets(body: &mut BodyReader<'_>) -> Option<CorrectedSeats> {
    match (body.has("seat_ids"), body.has("seats")) {
        (true, false) => body.member("seat_ids").map(|ManySeats(seats): SaleSeats| CorrectedSeats::Seats(seats)),
        (false, true) => body.member("seats").map(|ManyTickets(seats): SaleTickets| CorrectedSeats::Tickets(seats)),
        (false, false) => {
            body.mistake("seats", Mistake::new("required", "is required, or seat_ids"));
            None
        }
        (true, true) => {
            let message = "must be given alone: one of seat_ids and seats";
            ["seat_ids", "seats"].iter().for_each(|name| body.mistake(name, Mistake::new("conflict", message)));
            None
        }
    }
}

/// A seat that is blocked for the house.
#[derive(Serialize, ToSchema)]
#[schema(as = BlockedSeat)]
pub struct BlockedSeatView {
    seat_id: i64,
    row: String,
    number: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = DateTime, nullable = false)]
    since: Option<String>,
    /// The member of staff who blocked it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    by: Option<i64>,
}

impl From<BlockedSeat> for BlockedSeatView {
    fn from(blocked: BlockedSeat) -> Self {
        let BlockedSeat { seat_id, row, number, record } = blocked;
        let (since, by) =
            (record.as_ref().map(|record| instant(record.since)), record.as_ref().map(|record| record.by.0));
        Self { seat_id: seat_id.0, row, number, reason: record.map(|record| record.reason), since, by }
    }
}

/// Something that happened to a booking.
#[derive(Serialize, ToSchema)]
#[schema(as = BookingEvent)]
pub struct BookingEventView {
    #[schema(format = DateTime)]
    at: String,
    /// `booked`, `seats_changed`, `cancelled`, or a kind of a later version.
    kind: String,
    /// Absent if it is not known: the booking was cancelled by an earlier version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = actor)]
    by: Option<&'static str>,
    /// The customer or the member of staff.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    actor_id: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reason: Option<String>,
    /// For example `channel`, or `seats_before` and `seats_after`.
    details: BTreeMap<String, String>,
}

fn actor() -> Object {
    one_of(EventActor::NAMES)
}

impl From<BookingEvent> for BookingEventView {
    fn from(event: BookingEvent) -> Self {
        let BookingEvent { at, kind, actor, reason, details } = event;
        Self {
            at: instant(at),
            kind,
            by: actor.map(EventActor::as_str),
            actor_id: actor.and_then(EventActor::user_id).map(|id| id.0),
            reason,
            details: details.0,
        }
    }
}

async fn blocked_seats(
    Staff(member): Staff,
    Path(id): Path<ShowId>,
    state: Data<AppState>,
) -> Result<Page<BlockedSeatView>, Problem> {
    let blocked = state.admin.blocked_seats(&member, id).await?;
    Ok(Page::whole(blocked.into_iter().map(BlockedSeatView::from).collect()).private())
}

async fn block_seats(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<ShowId>,
    Body(body): Body<HouseSeatsBody>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<BlocksView>, Problem> {
    let house = house_seats(&state, &member, &request, id, body).await?;
    Ok(execute(&state, request.command(Action::Block(house))).await?.into())
}

async fn release_seats(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<ShowId>,
    Body(body): Body<HouseSeatsBody>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<BlocksView>, Problem> {
    let house = house_seats(&state, &member, &request, id, body).await?;
    Ok(execute(&state, request.command(Action::Unblock(house))).await?.into())
}

/// Returns the seats of a request, of a show of the member's theatres.
async fn house_seats(
    state: &AppState,
    member: &StaffMember,
    request: &ChangeRequest,
    show_id: ShowId,
    body: HouseSeatsBody,
) -> Result<HouseSeats, Problem> {
    let HouseSeatsBody { seat_ids: ManySeats(seats), reason } = body;
    let theatre_id = state.admin.show(member, show_id).await?.show.theatre_id;
    let origin = request.origin.clone();
    Ok(HouseSeats { show_id, seats, reason: reason.as_str().to_owned(), origin, theatre_id })
}

async fn sell_at_box_office(
    Staff(member): Staff,
    KeyedChange(request): KeyedChange,
    Path(id): Path<ShowId>,
    Body(SaleBody { seats, customer, terms }): Body<SaleBody>,
    state: Data<AppState>,
) -> Result<SoldByStaff<SaleView>, Problem> {
    let theatre_id = state.admin.show(&member, id).await?.show.theatre_id;
    let email = customer.as_ref().map(|SaleCustomer(email)| email);
    let owner = state.admin.sale_owner(theatre_id, email).await?.ok_or_else(|| {
        Problem::new(
            Code::CustomerNotFound,
            "No account has this e-mail address. Sell without a customer, or correct the address.",
        )
    })?;
    let sale = CounterSale { show_id: id, seats, owner, terms, origin: request.origin.clone(), theatre_id };
    let answer = execute(&state, request.command(Action::Sell(sale))).await?;
    SoldByStaff::new(answer).ok_or_else(|| domain::StoreError::internal("a sale made no booking").into())
}

async fn correct_booking(
    Staff(member): Staff,
    request: ChangeRequest,
    Path(id): Path<BookingId>,
    Body(CorrectionBody { seats, reason }): Body<CorrectionBody>,
    state: Data<AppState>,
) -> Result<ChangedByCommand<BookingView>, Problem> {
    let (booking, act) = act_on(&state.admin.booking(&member, id).await?, &request, &reason);
    Ok(execute(&state, request.command(Action::Correct(booking, seats, act))).await?.into())
}

async fn booking_history(
    Staff(member): Staff,
    Path(id): Path<BookingId>,
    state: Data<AppState>,
) -> Result<Page<BookingEventView>, Problem> {
    let events = state.admin.booking_history(&member, id).await?;
    Ok(Page::whole(events.into_iter().map(BookingEventView::from).collect()).private())
}
