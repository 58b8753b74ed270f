//! The rules of sales at the box office, blocks and corrections.

use chrono::TimeDelta;

use super::after_sale_tests::{House, made, seats, unavailable};
use super::decide_tests::{OPEN, acting, commit, decide_by, now, prepare_nth, selection};
use super::*;
use crate::admin::{AuditAction, ChangeOrigin, Fields, ObjectKind};
use crate::catalog::ShowStatus;
use crate::ids::{BookingId, SeatId, ShowId, TheatreId, UserId};
use crate::pricing::TicketTypeCode;
use crate::seating::{CategoryPrice, SeatSelection, TicketSelection};

/// The member of staff, and the owner of box-office sales.
const STAFF: i64 = 5;
const OWNER: i64 = 4;

fn origin() -> ChangeOrigin {
    ChangeOrigin { request_id: "request".into(), address: "192.0.2.7".into() }
}

fn sale(ids: &[i64], payment: PaymentKind, overrides: &[Override]) -> Action {
    let all = SeatSelection::parse(ids.iter().copied().map(SeatId).collect(), CounterSale::SEATS_MAX).unwrap();
    let overrides = overrides.iter().copied().collect();
    Action::Sell(CounterSale {
        show_id: ShowId(OPEN),
        seats: all.into(),
        owner: UserId(OWNER),
        terms: SaleTerms::new(payment, overrides, Some("A school class".into())).unwrap(),
        origin: origin(),
        theatre_id: TheatreId(8),
    })
}

pub(super) fn cash(ids: &[i64]) -> Action {
    sale(ids, PaymentKind::Cash, &[])
}

fn house_seats(ids: &[i64]) -> HouseSeats {
    let seats = SeatSelection::parse(ids.iter().copied().map(SeatId).collect(), HouseSeats::SEATS_MAX).unwrap();
    let (show_id, theatre_id) = (ShowId(OPEN), TheatreId(8));
    HouseSeats { show_id, seats, reason: "For the press".into(), origin: origin(), theatre_id }
}

pub(super) fn block(ids: &[i64]) -> Action {
    Action::Block(house_seats(ids))
}

pub(super) fn unblock(ids: &[i64]) -> Action {
    Action::Unblock(house_seats(ids))
}

fn act(customer: i64) -> StaffAct {
    let reason = "A wheelchair".to_owned();
    StaffAct { origin: origin(), theatre_id: TheatreId(8), customer: UserId(customer), reason }
}

pub(super) fn correct(booking: ShowBooking, customer: i64, ids: &[i64]) -> Action {
    Action::Correct(booking, CorrectedSeats::Seats(selection(ids)), act(customer))
}

fn retype(booking: ShowBooking, tickets: &[(i64, &str)]) -> Action {
    let ticket = |(id, code): &(i64, &str)| (SeatId(*id), TicketTypeCode::parse(code).unwrap());
    let tickets = TicketSelection::parse(tickets.iter().map(ticket).collect(), 10).unwrap();
    Action::Correct(booking, CorrectedSeats::Tickets(tickets), act(1))
}

fn body(outcome: Result<Success, Refusal>) -> String {
    match outcome {
        Ok(Success::Answered(answer)) => String::from_utf8(answer.body.to_vec()).unwrap(),
        other => panic!("no answer: {other:?}"),
    }
}

/// Returns the changes of one action by the member of staff.
fn changes(house: &House, action: Action) -> WriteSet {
    let prepared = [prepare_nth(acting(STAFF, action, ""), 70)];
    let decision = decide_by(&house.rules, &house.state, &prepared);
    assert!(decision.outcomes[0].is_ok(), "{decision:?}");
    decision.changes
}

fn sold(house: &House, answer: Success) -> Booking {
    house.state.bookings[&made(answer).booking_id().unwrap()].clone()
}

#[test]
fn box_office_sale_belongs_to_its_owner_and_is_audited() {
    let mut house = House::new();
    let written = changes(&house, sale(&[1, 91], PaymentKind::CardTerminal, &[Override::SeatGap]));
    let [booking] = &written.bookings[..] else { panic!("one booking: {written:?}") };
    assert_eq!((booking.user_id, booking.sale), (UserId(OWNER), Sale::BoxOffice(PaymentKind::CardTerminal)));
    assert_eq!(booking.total().minor, 2850);
    // The cashier's session is guarded, not the owner's.
    assert_eq!(written.users.iter().map(|guard| guard.user_id).collect::<Vec<_>>(), [UserId(STAFF)]);
    assert!(written.claims.iter().all(|new| new.claim.user_id() == Some(UserId(OWNER))));
    let [entry] = &written.audit[..] else { panic!("one entry: {written:?}") };
    assert_eq!((entry.actor_id, entry.record.action), (UserId(STAFF), AuditAction::Sell));
    assert_eq!((entry.record.object_kind, entry.record.object_id), (ObjectKind::Booking, 70));
    let expected = Fields::default()
        .with("channel", "box_office")
        .with("payment_kind", "card_terminal")
        .with("seats", "A 1 adult 12.50; A 91 adult 16.00")
        .with("overrides", "seat_gap")
        .with("show_id", "1")
        .with("user_id", "4")
        .with("reason", "A school class");
    assert_eq!(entry.record.after, expected);
    let [event] = &written.booking_events[..] else { panic!("one event: {written:?}") };
    assert_eq!((event.kind, event.actor), (BookingEventKind::Booked, EventActor::Staff(UserId(STAFF))));
    assert!(body(house.ask(STAFF, cash(&[2]))).starts_with("sold "));
    let online = changes(&house, Action::Book(BookSeats { show_id: ShowId(OPEN), seats: selection(&[3]).into() }));
    assert_eq!((online.bookings[0].sale, online.booking_events.len(), online.audit.len()), (Sale::Online, 0, 0));
}

#[test]
fn box_office_sells_from_before_the_sale_opens_until_the_show_ends() {
    let mut house = House::new();
    house.show().sales_open_at = Some(now() + TimeDelta::minutes(10));
    assert!(house.ask(STAFF, cash(&[1])).is_ok());
    house.show().sales_close_at = Some(now());
    house.pass(TimeDelta::minutes(179));
    assert!(house.ask(STAFF, cash(&[2])).is_ok());
    house.pass(TimeDelta::minutes(1));
    assert_eq!(house.ask(STAFF, cash(&[3])), Err(Refusal::SalesClosed));
    house.state.now = now();
    house.show().status = ShowStatus::Cancelled;
    assert_eq!(house.ask(STAFF, cash(&[3])), Err(Refusal::SalesClosed));
}

#[test]
fn box_office_keeps_the_rules_that_it_does_not_override() {
    let mut house = House::forbidding_gaps();
    assert_eq!(house.ask(STAFF, cash(&[2])), Err(Refusal::SeatsLeaveGap { seat_ids: seats(&[1]) }));
    assert!(house.ask(STAFF, sale(&[2], PaymentKind::Cash, &[Override::SeatGap])).is_ok());
    let eleven: Vec<i64> = (11..=21).collect();
    assert_eq!(house.ask(STAFF, cash(&eleven)), Err(Refusal::TooManySeats { asked: 11, max: 10 }));
    assert!(house.ask(STAFF, sale(&eleven, PaymentKind::Cash, &[Override::SeatLimit])).is_ok());
    assert_eq!(house.ask(STAFF, cash(&[2, 3])), Err(unavailable(&[2], None)));
    assert_eq!(house.ask(STAFF, cash(&[500])), Err(Refusal::SeatNotFound { seat_ids: seats(&[500]) }));
    let mut house = House::new();
    let hold = house.hold(1, &[7]).unwrap();
    assert_eq!(house.ask(STAFF, cash(&[7])), Err(unavailable(&[7], None)));
    let own = house.hold(STAFF, &[8]).unwrap();
    assert_eq!(house.ask(STAFF, cash(&[8])), Err(unavailable(&[8], Some(own))));
    house.ask(1, Action::Release(hold)).unwrap();
    assert!(house.ask(STAFF, cash(&[7])).is_ok());
    assert_eq!(House::with_love_seats().ask(STAFF, cash(&[1])), Err(Refusal::SeatsSplitPair { seat_ids: seats(&[2]) }));
}

#[test]
fn complimentary_seats_cost_nothing() {
    let mut house = House::new();
    let answer = house.ask(STAFF, sale(&[1, 91], PaymentKind::Complimentary, &[])).unwrap();
    let booking = sold(&house, answer);
    assert_eq!(booking.seats.iter().map(|seat| seat.price_minor).collect::<Vec<_>>(), [0, 0]);
}

#[test]
fn staff_cancel_what_the_box_office_sold() {
    let mut house = House::new();
    let answer = house.ask(STAFF, cash(&[1])).unwrap();
    let booking = ShowBooking { show_id: ShowId(OPEN), booking_id: made(answer).booking_id().unwrap() };
    assert_eq!(house.ask(STAFF, Action::Cancel(booking)), Err(Refusal::BookingNotFound));
    let written = changes(&house, Action::CancelFor(booking, act(OWNER)));
    let [event] = &written.booking_events[..] else { panic!("one event: {written:?}") };
    assert_eq!((event.kind, event.actor), (BookingEventKind::Cancelled, EventActor::Staff(UserId(STAFF))));
    assert_eq!(event.reason.as_deref(), Some("A wheelchair"));
    assert!(house.ask(STAFF, Action::CancelFor(booking, act(OWNER))).is_ok());
    assert!(house.claims().is_empty());
}

#[test]
fn seats_are_blocked_and_released_all_or_none() {
    let mut house = House::new();
    assert_eq!(body(house.ask(STAFF, block(&[3, 1]))), "1 [SeatId(1), SeatId(3)]");
    assert_eq!(house.claims(), [(1, 0, "blocked"), (3, 0, "blocked")]);
    // Blocked seats stay as they are.
    let written = changes(&house, block(&[1, 2]));
    assert_eq!(written.blocks.iter().map(|block| block.seat_id).collect::<Vec<_>>(), seats(&[2]));
    assert_eq!((written.blocks[0].blocked_by, written.blocks[0].reason.as_str()), (UserId(STAFF), "For the press"));
    assert_eq!(written.outbox[0].kind, OutboxKind::SeatsBlocked);
    assert_eq!(written.audit[0].record.after.0["blocked"], "A 2");
    assert!(changes(&house, block(&[1, 3])).is_empty());
    assert!(changes(&house, unblock(&[2])).is_empty());
    let refused = house.ask(1, Action::Book(BookSeats { show_id: ShowId(OPEN), seats: selection(&[3]).into() }));
    assert_eq!(refused, Err(unavailable(&[3], None)));
    house.book(1, &[4]);
    house.hold(1, &[5]).unwrap();
    assert_eq!(house.ask(STAFF, block(&[2, 4, 5])), Err(unavailable(&[4, 5], None)));
    assert_eq!(house.ask(STAFF, unblock(&[1, 4, 5])), Err(unavailable(&[4, 5], None)));
    let written = changes(&house, unblock(&[1, 2]));
    assert_eq!(written.removed_blocks, [(ShowId(OPEN), SeatId(1))]);
    assert_eq!((written.outbox[0].kind, written.shows.len()), (OutboxKind::SeatsReleased, 0));
    assert_eq!(body(house.ask(STAFF, unblock(&[1, 2]))), "1 [SeatId(3)]");
    // An expired hold does not keep its seat.
    house.pass(TimeDelta::minutes(11));
    assert_eq!(body(house.ask(STAFF, block(&[5]))), "1 [SeatId(3), SeatId(5)]");
}

#[test]
fn blocks_are_refused_for_unknown_seats_half_pairs_and_cancelled_shows() {
    let mut house = House::with_love_seats();
    for action in [block, unblock] {
        assert_eq!(house.ask(STAFF, action(&[500])), Err(Refusal::SeatNotFound { seat_ids: seats(&[500]) }));
        assert_eq!(house.ask(STAFF, action(&[3])), Err(Refusal::SeatsSplitPair { seat_ids: seats(&[4]) }));
    }
    assert!(house.ask(STAFF, block(&[3, 4])).is_ok());
    house.show().status = ShowStatus::Cancelled;
    assert_eq!(house.ask(STAFF, block(&[5, 6])), Err(Refusal::SalesClosed));
    // Seats of a cancelled show are released.
    assert!(house.ask(STAFF, unblock(&[3, 4])).is_ok());
    house.state.shows.clear();
    assert_eq!(house.ask(STAFF, unblock(&[3, 4])), Err(Refusal::ShowNotFound));
}

#[test]
fn a_seat_that_is_blocked_again_in_one_batch_gets_the_new_reason() {
    let mut house = House::new();
    house.ask(STAFF, block(&[1])).unwrap();
    let again = Action::Block(HouseSeats { reason: "For the crew".into(), ..house_seats(&[1]) });
    let prepared = [unblock(&[1]), again].map(|action| acting(STAFF, action, ""));
    let prepared: Vec<_> = prepared.into_iter().zip(50..).map(|(command, id)| prepare_nth(command, id)).collect();
    let Decision { changes, .. } = decide_by(&house.rules, &house.state, &prepared);
    assert_eq!((changes.removed_claims.len(), changes.claims.len()), (0, 0));
    assert_eq!((changes.removed_blocks.len(), changes.blocks[0].reason.as_str()), (1, "For the crew"));
    commit(&changes, &mut house.state);
    assert_eq!(house.claims(), [(1, 0, "blocked")]);
}

#[test]
fn staff_move_a_booking_after_the_show_began_at_the_prices_of_the_sale() {
    let mut house = House::new();
    let booking = house.book(1, &[1, 2]);
    house.pass(TimeDelta::hours(2));
    assert_eq!(house.ask(1, Action::Change(booking, selection(&[1, 91]))), Err(Refusal::SalesClosed));
    let written = changes(&house, correct(booking, 1, &[1, 91]));
    let [entry] = &written.audit[..] else { panic!("one entry: {written:?}") };
    assert_eq!(entry.record.action, AuditAction::Update);
    assert_eq!(entry.record.before.0["seats"], "A 1 adult 12.50; A 2 adult 12.50");
    assert_eq!(entry.record.after.0["seats"], "A 1 adult 12.50; A 91 adult 12.50");
    assert_eq!(entry.record.after.0["reason"], "A wheelchair");
    let [event] = &written.booking_events[..] else { panic!("one event: {written:?}") };
    assert_eq!((event.kind, event.actor), (BookingEventKind::SeatsChanged, EventActor::Staff(UserId(STAFF))));
    assert_eq!(event.details.0["seats_after"], entry.record.after.0["seats"]);
    assert_eq!(written.outbox[0].kind, OutboxKind::BookingChanged);
    house.ask(STAFF, correct(booking, 1, &[1, 91])).unwrap();
    assert_eq!(house.claims(), [(1, 1, "booked"), (91, 1, "booked")]);
    assert!(changes(&house, correct(booking, 1, &[1, 91])).is_empty());
}

#[test]
fn staff_change_ticket_types_without_changing_the_price() {
    let mut house = House::new();
    let booking = house.book(1, &[1, 2]);
    let not_sold = Refusal::TicketTypeNotSold { seat_ids: seats(&[2]) };
    assert_eq!(house.ask(STAFF, retype(booking, &[(1, "adult"), (2, "child")])), Err(not_sold));
    let code = |text: &str| TicketTypeCode::parse(text).unwrap();
    let price = |text: &str, minor| CategoryPrice { category: "standard".into(), ticket_type: code(text), minor };
    house.show().prices = [price("adult", 1300), price("child", 800)].into_iter().collect();
    house.ask(STAFF, retype(booking, &[(1, "adult"), (2, "child")])).unwrap();
    let tickets = |house: &House| -> Vec<(i64, String, i64)> {
        let seats = &house.state.bookings[&booking.booking_id].seats;
        seats.iter().map(|seat| (seat.id.0, seat.ticket_type.to_string(), seat.price_minor)).collect()
    };
    assert_eq!(tickets(&house), [(1, "adult".into(), 1250), (2, "child".into(), 1250)]);
    // Seats alone keep the ticket types of the seats that they replace.
    house.ask(STAFF, correct(booking, 1, &[1, 3])).unwrap();
    assert_eq!(tickets(&house), [(1, "adult".into(), 1250), (3, "child".into(), 1250)]);
}

#[test]
fn corrections_keep_the_rules_of_an_exchange() {
    let mut house = House::new();
    let booking = house.book(1, &[1, 2]);
    house.book(2, &[3]);
    house.ask(STAFF, block(&[4])).unwrap();
    let mut ask = |ids: &[i64], customer| house.ask(STAFF, correct(booking, customer, ids)).unwrap_err();
    assert_eq!(ask(&[1, 3], 1), unavailable(&[3], None));
    assert_eq!(ask(&[1, 4], 1), unavailable(&[4], None));
    assert_eq!(ask(&[1], 1), Refusal::WrongSeatCount { seats: 2 });
    assert_eq!(ask(&[1, 500], 1), Refusal::SeatNotFound { seat_ids: seats(&[500]) });
    assert_eq!(ask(&[1, 5], 2), Refusal::BookingNotFound);
    house.show().status = ShowStatus::Cancelled;
    assert_eq!(house.ask(STAFF, correct(booking, 1, &[1, 5])), Err(Refusal::SalesClosed));
    house.show().status = ShowStatus::Scheduled;
    house.ask(STAFF, Action::CancelFor(booking, act(1))).unwrap();
    assert_eq!(house.ask(STAFF, correct(booking, 1, &[1, 5])), Err(Refusal::NotChangeable));
    let mut house = House::forbidding_gaps();
    let booking = house.book(1, &[1, 2]);
    assert_eq!(house.ask(STAFF, correct(booking, 1, &[2, 3])), Err(Refusal::SeatsLeaveGap { seat_ids: seats(&[1]) }));
    let mut house = House::with_love_seats();
    let booking = house.book(1, &[1, 2]);
    assert_eq!(house.ask(STAFF, correct(booking, 1, &[3, 11])), Err(Refusal::SeatsSplitPair { seat_ids: seats(&[4]) }));
}

#[test]
fn customers_changes_and_cancellations_are_events() {
    let mut house = House::new();
    house.show().start_time = now() + TimeDelta::hours(3);
    let booking = house.book(1, &[1]);
    let events = |house: &House, action: Action| {
        let prepared = [prepare_nth(acting(1, action, ""), 70)];
        decide_by(&house.rules, &house.state, &prepared).changes.booking_events
    };
    let changed = events(&house, Action::Change(booking, selection(&[2])));
    assert_eq!((changed[0].kind, changed[0].actor), (BookingEventKind::SeatsChanged, EventActor::Customer(UserId(1))));
    let expected = Fields::default().with("seats_before", "A 1 adult 12.50").with("seats_after", "A 2 adult 12.50");
    assert_eq!(changed[0].details, expected);
    let cancelled = events(&house, Action::Cancel(booking));
    let facts = (cancelled[0].booking_id, cancelled[0].kind, cancelled[0].actor, cancelled[0].reason.clone());
    let actor = EventActor::Customer(UserId(1));
    assert_eq!(facts, (booking.booking_id, BookingEventKind::Cancelled, actor, None));
    house.ask(1, Action::Cancel(booking)).unwrap();
    assert!(events(&house, Action::Cancel(booking)).is_empty());
}

#[test]
fn history_has_the_sale_and_the_cancellation_of_bookings_without_events() {
    let mut house = House::new();
    house.show().start_time = now() + TimeDelta::hours(3);
    let made = house.book(1, &[1]);
    let online = house.state.bookings[&made.booking_id].clone();
    let history = BookingEvent::history(&online, Vec::new());
    let [booked] = &history[..] else { panic!("one event: {history:?}") };
    assert_eq!((booked.at, booked.kind.as_str()), (now(), "booked"));
    assert_eq!((booked.actor, booked.details.0["channel"].as_str()), (Some(EventActor::Customer(UserId(1))), "online"));
    house.pass(TimeDelta::minutes(1));
    house.ask(1, Action::Cancel(made)).unwrap();
    let cancelled = house.state.bookings[&made.booking_id].clone();
    let history = BookingEvent::history(&cancelled, Vec::new());
    let [_, event] = &history[..] else { panic!("two events: {history:?}") };
    assert_eq!((event.at, event.kind.as_str(), event.actor), (house.state.now, "cancelled", None));
    let stored = |at, kind: &str, actor| {
        let kind = kind.to_owned();
        BookingEvent { at, kind, actor: Some(actor), reason: None, details: Fields::default() }
    };
    let staff = EventActor::Staff(UserId(STAFF));
    let all = vec![stored(now(), "booked", staff), stored(house.state.now, "cancelled", staff)];
    assert_eq!(BookingEvent::history(&cancelled, all.clone()), all);
    // A kind of a later version is kept.
    let later = vec![stored(now() + TimeDelta::seconds(1), "rescheduled", EventActor::System)];
    let kinds: Vec<_> = BookingEvent::history(&cancelled, later).into_iter().map(|event| event.kind).collect();
    assert_eq!(kinds, ["booked", "rescheduled", "cancelled"]);
}

#[test]
fn a_key_of_a_sale_or_a_block_sells_and_blocks_once() {
    let mut house = House::new();
    for (action, key) in [(cash(&[1]), "sale"), (block(&[2]), "block")] {
        let first = body(house.submit(acting(STAFF, action.clone(), key)));
        let claims = house.claims();
        let Ok(Success::Answered(again)) = house.submit(acting(STAFF, action, key)) else { panic!("no answer") };
        assert_eq!((String::from_utf8(again.body.to_vec()).unwrap(), again.replayed), (first, true));
        assert_eq!(house.claims(), claims);
    }
    let other = house.submit(acting(STAFF, cash(&[9]), "sale"));
    assert_eq!(other, Err(Refusal::KeyReused));
    assert_eq!(house.state.bookings.keys().max(), Some(&BookingId(1)));
}
