//! Cases of the box office: sales, blocks, corrections, and the history of bookings.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::StoreError;
use domain::admin::{AuditFilter, BlockedSeat, BoxOfficeAccount, ChangeOrigin, UserFilter};
use domain::booking::{
    Action, Answer, BookingEvent, BookingEventKind, CorrectedSeats, CounterSale, EventActor, HouseSeats, Override,
    PaymentKind, Sale, SaleTerms, ShowBooking, StaffAct, Subject, Success,
};
use domain::identity::{Caller, Email};
use domain::ids::{BookingId, SeatId, ShowId, TheatreId, UserId};
use domain::retention::RetentionRule;
use domain::seating::TicketSelection;
use futures::future::join_all;

use crate::Fixture;
use crate::admin::admin;
use crate::tools::{MODES, Outcome, SIMPLE, TestEncoder, book, booked, command, first_page, selection, sell, tickets};
use crate::world::{ALPHA, World, block, customer, customers, sell_to};

fn origin() -> ChangeOrigin {
    ChangeOrigin { request_id: "request-1".into(), address: "192.0.2.7".into() }
}

async fn alpha(fixture: &dyn Fixture) -> TheatreId {
    TheatreId(fixture.count(&format!("SELECT id FROM theatres WHERE name = '{ALPHA}'")).await)
}

/// Returns the command of a sale by staff. The theatre is only for the audit log.
pub fn sale(show_id: ShowId, seats: TicketSelection, owner: UserId, payment: PaymentKind) -> Action {
    let overrides = BTreeSet::from([Override::SeatLimit]);
    let terms = SaleTerms::new(payment, overrides, Some("A school class".into())).unwrap();
    Action::Sell(CounterSale { show_id, seats, owner, terms, origin: origin(), theatre_id: TheatreId(1) })
}

/// Returns seats to block or to release by staff.
pub fn house(show_id: ShowId, seats: &[SeatId]) -> HouseSeats {
    let reason = "For the press".to_owned();
    HouseSeats { show_id, seats: selection(seats), reason, origin: origin(), theatre_id: TheatreId(1) }
}

/// Returns what the audit log records of an action for a customer.
pub fn act(customer: UserId) -> StaffAct {
    StaffAct { origin: origin(), theatre_id: TheatreId(1), customer, reason: "A wheelchair".into() }
}

async fn blocked(fixture: &dyn Fixture, show: ShowId) -> Vec<BlockedSeat> {
    fixture.stores().counter.blocked_seats(show).await.unwrap()
}

async fn events(fixture: &dyn Fixture, id: BookingId) -> Vec<BookingEvent> {
    fixture.stores().counter.booking_events(id).await.unwrap()
}

async fn run(fixture: &dyn Fixture, staff: Caller, action: Action) -> Outcome {
    sell(fixture.stores(), SIMPLE, async |sellers| sellers.submit(command(staff, action, "")).await).await
}

/// A sale at the box office belongs to its owner, and is stored with its channel, payment, audit entry and event.
pub async fn box_office_sale_is_stored_completely(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (ana, staff) = (customer(fixture).await, admin(fixture).await.caller);
    let row = world.row(0);
    for (number, payment) in PaymentKind::ALL.into_iter().enumerate() {
        let seats = selection(&row[2 * number..2 * number + 2]).into();
        let outcome = run(fixture, staff, sale(world.soon, seats, ana.user_id, payment)).await;
        let (id, body, _) = booked(&outcome);
        let booking = fixture.stores().bookings.booking(ana.user_id, id).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&body), String::from_utf8_lossy(&encoded(&booking)));
        assert_eq!(booking.sale, Sale::BoxOffice(payment));
        let total = if payment == PaymentKind::Complimentary { 0 } else { 2500 };
        assert_eq!(booking.total().minor, total);
        let found = fixture.stores().staff_bookings.staff_booking(id).await.unwrap().unwrap();
        assert_eq!(found.booking, booking);
        let all = fixture.stores().audit.entries(&AuditFilter::default(), &first_page(100)).await.unwrap();
        let entry = all.first().unwrap();
        let facts = (entry.actor_id, entry.action.as_str(), entry.object_kind.as_str(), entry.object_id);
        assert_eq!(facts, (staff.user_id, "sell", "booking", id.0));
        assert_eq!(entry.after.0["overrides"], "seat_limit");
        let [event] = &events(fixture, id).await[..] else { panic!("one event") };
        assert_eq!((event.at, event.kind.as_str()), (booking.booked_at, BookingEventKind::Booked.as_str()));
        assert_eq!(
            (event.actor, event.reason.as_deref()),
            (Some(EventActor::Staff(staff.user_id)), Some("A school class"))
        );
        assert_eq!(event.details.0["payment_kind"], payment.as_str());
    }
    // A booking of the previous release was sold online.
    let (id, ..) = booked(&run(fixture, ana, Action::Book(online(world.soon, row[8]))).await);
    assert!(events(fixture, id).await.is_empty());
    let booking = fixture.stores().bookings.booking(ana.user_id, id).await.unwrap().unwrap();
    assert_eq!(booking.sale, Sale::Online);
}

fn encoded(booking: &domain::booking::Booking) -> Vec<u8> {
    domain::booking::AnswerEncoder::encode_sale(&TestEncoder, booking)
}

fn online(show_id: ShowId, seat: SeatId) -> domain::booking::BookSeats {
    domain::booking::BookSeats { show_id, seats: selection(&[seat]).into() }
}

/// Of concurrent sales with one key, one sells something, and all get its answer.
pub async fn box_office_sale_is_made_once_for_its_key(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (ana, staff) = (customer(fixture).await, admin(fixture).await.caller);
    let action = sale(world.soon, selection(&world.row(0)[..3]).into(), ana.user_id, PaymentKind::Cash);
    for mode in [MODES[1], MODES[5]] {
        let commands = (0..10).map(|_| command(staff, action.clone(), "k")).collect();
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(commands).await).await;
        let answers: BTreeSet<_> = outcomes.iter().map(|outcome| (booked(outcome).0.0, booked(outcome).1)).collect();
        assert_eq!(answers.len(), 1, "{mode:?}");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM bookings").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, 1);
}

/// Of customers, cashiers and blocks that compete for one seat, one gets it.
pub async fn seat_is_sold_online_or_at_the_box_office_or_blocked(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (callers, staff) = (customers(fixture, 4).await, admin(fixture).await.caller);
    for (number, mode) in MODES.into_iter().enumerate() {
        let seat = world.main[number].id;
        let mut commands = Vec::new();
        for (index, caller) in callers.iter().enumerate() {
            let key = format!("{number}-{index}");
            commands.push(book(*caller, world.soon, &[seat], &key));
            let seats = selection(&[seat]).into();
            commands.push(command(staff, sale(world.soon, seats, caller.user_id, PaymentKind::Cash), &key));
        }
        commands.push(command(staff, Action::Block(house(world.soon, &[seat])), &format!("{number}")));
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(commands).await).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{mode:?} {outcomes:?}");
    }
    let claims = fixture.count("SELECT count(*) FROM seat_claims").await;
    assert_eq!(usize::try_from(claims).unwrap(), MODES.len());
}

/// The account of a theatre's box office is created once, is disabled, and is in no list of users.
pub async fn box_office_account_is_created_once_and_hidden(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let account = BoxOfficeAccount { theatre_id: alpha(fixture).await };
    let counter = &fixture.stores().counter;
    let created = join_all((0..10).map(|_| counter.box_office(&account))).await;
    let ids: BTreeSet<_> = created.into_iter().map(|id| id.unwrap().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    let id = *ids.first().unwrap();
    assert_eq!(counter.box_office(&account).await.unwrap(), Some(id));
    let stored = "SELECT count(*) FROM users WHERE role = 'customer' AND disabled_at IS NOT NULL";
    assert_eq!(fixture.count(&format!("{stored} AND id = {id} AND email = '{}'", account.email())).await, 1);
    let staff = &fixture.stores().staff;
    assert_eq!(staff.user(id).await.unwrap(), None);
    let search = UserFilter { search: Some("box office".into()), role: None };
    assert_eq!(staff.users(&search, &first_page(10)).await.unwrap(), []);
    let theatres = fixture.count("SELECT id FROM theatres WHERE box_office_user_id IS NULL").await;
    let other = BoxOfficeAccount { theatre_id: TheatreId(theatres) };
    assert_ne!(counter.box_office(&other).await.unwrap(), Some(id));
    let unknown = BoxOfficeAccount { theatre_id: TheatreId(987_654) };
    assert_eq!(counter.box_office(&unknown).await.unwrap(), None);
}

/// A customer is found by the address in any case, and not after the account was deleted.
pub async fn customer_is_found_by_the_address_in_any_case(fixture: &dyn Fixture) {
    let ana = customer(fixture).await;
    let address = fixture.texts(&format!("SELECT email FROM users WHERE id = {}", ana.user_id)).await.remove(0);
    let find = async |text: &str| fixture.stores().counter.customer(&Email::parse(text).unwrap()).await.unwrap();
    assert_eq!(find(&address.to_uppercase()).await, Some(ana.user_id));
    assert_eq!(find("nobody@example.org").await, None);
    let bearer = domain::identity::Bearer { caller: ana, session_id: None };
    fixture.stores().users.anonymise(&bearer).await.unwrap();
    assert_eq!(find(&address).await, None);
}

/// Blocked seats are listed with their reasons until they are released. A seat that was blocked outside the API has no reason.
pub async fn blocked_seats_are_listed_with_their_reasons(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let staff = admin(fixture).await.caller;
    let row = world.row(0);
    let outcome = run(fixture, staff, Action::Block(house(world.soon, &row[..2]))).await;
    assert!(matches!(&outcome, Ok(Success::Answered(Answer { subject: Subject::Show(id), .. })) if *id == world.soon));
    block(fixture, world.soon, row[4]).await;
    block(fixture, world.later, world.beta[0].id).await;
    let listed = blocked(fixture, world.soon).await;
    let mut expected = [row[0], row[1], row[4]];
    expected.sort_unstable();
    assert_eq!(listed.iter().map(|seat| seat.seat_id).collect::<Vec<_>>(), expected);
    let of = |id: SeatId| listed.iter().find(|seat| seat.seat_id == id).unwrap();
    let record = of(row[0]).record.as_ref().unwrap();
    assert_eq!((record.reason.as_str(), record.by), ("For the press", staff.user_id));
    assert!(record.since >= world.base);
    assert_eq!((of(row[4]).record.as_ref(), of(row[4]).row.as_str(), of(row[4]).number), (None, "A", 5));
    run(fixture, staff, Action::Unblock(house(world.soon, &[row[0], row[4], row[5]]))).await.unwrap();
    assert_eq!(blocked(fixture, world.soon).await.len(), 1);
    assert_eq!(fixture.count("SELECT count(*) FROM seat_blocks").await, 1);
    // A reason that a release left behind means nothing, and is replaced by the next block.
    fixture.execute("DELETE FROM seat_claims WHERE status = 'blocked'").await;
    assert_eq!(blocked(fixture, world.soon).await, []);
    let again = HouseSeats { reason: "For the crew".into(), ..house(world.soon, &[row[1]]) };
    run(fixture, staff, Action::Block(again)).await.unwrap();
    assert_eq!(blocked(fixture, world.soon).await[0].record.as_ref().unwrap().reason, "For the crew");
}

/// A key of a block is stored with its show, and is deleted with its answer.
pub async fn keys_of_blocks_are_deleted_with_their_answers(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let staff = admin(fixture).await.caller;
    let submit = async || {
        let block = command(staff, Action::Block(house(world.soon, &world.row(0)[..1])), "k");
        sell(fixture.stores(), SIMPLE, async |sellers| sellers.submit(block).await).await.unwrap()
    };
    let Success::Answered(first) = submit().await else { panic!("no answer") };
    let Success::Answered(again) = submit().await else { panic!("no answer") };
    assert_eq!((again.body, again.replayed), (first.body, true));
    let keys = format!("SELECT count(*) FROM idempotency_keys WHERE show_id = {}", world.soon);
    assert_eq!(fixture.count(&keys).await, 1);
    fixture.execute(&format!("UPDATE idempotency_keys SET created_at = {}", fixture.instant(-7_200))).await;
    let hour = Duration::from_secs(3_600);
    assert_eq!(fixture.stores().retention.sweep(RetentionRule::Answers, hour, 10).await.unwrap(), 1);
    assert_eq!(fixture.count(&keys).await, 0);
    assert_eq!(fixture.count("SELECT count(*) FROM seat_claims").await, 1);
}

/// Changes and cancellations, by customers and by staff, are events of their bookings, oldest first.
pub async fn changes_of_a_booking_are_its_events(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (ana, staff) = (customer(fixture).await, admin(fixture).await.caller);
    let (row, show_id) = (world.row(0), world.later);
    let row = if show_id == world.later { world.beta.iter().map(|seat| seat.id).collect() } else { row };
    sell_to(fixture, show_id, "standard", "child", 900).await;
    let (booking_id, ..) = booked(&run(fixture, ana, Action::Book(online(show_id, row[0]))).await);
    let place = ShowBooking { show_id, booking_id };
    run(fixture, ana, Action::Change(place, selection(&[row[1]]))).await.unwrap();
    let child = CorrectedSeats::Tickets(tickets(&[(row[1], "child")]));
    run(fixture, staff, Action::Correct(place, child.clone(), act(ana.user_id))).await.unwrap();
    // Nothing to change.
    run(fixture, staff, Action::Correct(place, child, act(ana.user_id))).await.unwrap();
    run(fixture, ana, Action::Cancel(place)).await.unwrap();
    let (by_staff, ..) = booked(&run(fixture, ana, Action::Book(online(show_id, row[2]))).await);
    let other = ShowBooking { show_id, booking_id: by_staff };
    run(fixture, staff, Action::CancelFor(other, act(ana.user_id))).await.unwrap();
    let found = events(fixture, booking_id).await;
    assert!(found.is_sorted_by_key(|event| event.at));
    let facts: Vec<_> = found.iter().map(|event| (event.kind.as_str(), event.actor, event.reason.as_deref())).collect();
    let (customer, staff) = (Some(EventActor::Customer(ana.user_id)), Some(EventActor::Staff(staff.user_id)));
    let expected = [
        ("seats_changed", customer, None),
        ("seats_changed", staff, Some("A wheelchair")),
        ("cancelled", customer, None),
    ];
    assert_eq!(facts, expected);
    let details = |number: usize, name: &str| found[number].details.0[name].clone();
    assert_eq!(details(0, "seats_after"), details(1, "seats_before"));
    assert!(details(1, "seats_after").contains("child"), "{found:?}");
    let cancelled: Vec<_> = events(fixture, by_staff).await;
    let [event] = &cancelled[..] else { panic!("one event: {cancelled:?}") };
    assert_eq!((event.kind.as_str(), event.actor), ("cancelled", staff));
    assert_eq!(events(fixture, BookingId(987_654)).await, []);
}

/// Every method of the box office's port reports an unreachable store.
pub async fn box_office_reports_an_unreachable_store(fixture: &dyn Fixture) {
    fixture.break_backend().await;
    let counter = &fixture.stores().counter;
    let unavailable = |outcome: Result<(), StoreError>| {
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{outcome:?}");
    };
    unavailable(counter.customer(&Email::parse("ana@example.org").unwrap()).await.map(drop));
    unavailable(counter.box_office(&BoxOfficeAccount { theatre_id: TheatreId(1) }).await.map(drop));
    unavailable(counter.blocked_seats(ShowId(1)).await.map(drop));
    unavailable(counter.booking_events(BookingId(1)).await.map(drop));
}
