//! Cases of holds, and of cancelling and changing bookings, on the store's own clock.

use chrono::TimeDelta;
use domain::booking::{
    Action, BookingStatus, Command, Hold, HoldId, HoldSeats, Refusal, Rules, SeatGapRule, ShowBooking, WantedSeats,
};
use domain::identity::Caller;
use domain::ids::{BookingId, SeatId, ShowId};
use domain::retention::RetentionRule;
use domain::seating::SeatWish;

use crate::Fixture;
use crate::tools::{
    MODES, Mode, Outcome, RULES, SIMPLE, UniqueRandom, book, booked, command, decided, held, refused, selection, sell,
};
use crate::world::{World, block, cancel_show, customer, customers, hold, hold_id, now};

async fn submit(fixture: &dyn Fixture, command: Command) -> Outcome {
    submit_by(fixture, SIMPLE, command).await
}

async fn submit_by(fixture: &dyn Fixture, mode: Mode, command: Command) -> Outcome {
    sell(fixture.stores(), mode, async |sellers| sellers.submit(command).await).await
}

/// A command, without a key, to hold these seats.
fn hold_these(caller: Caller, show_id: ShowId, seats: &[SeatId]) -> Command {
    command(caller, Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(selection(seats).into()) }), "")
}

fn hold_best(caller: Caller, show_id: ShowId, wish: SeatWish) -> Command {
    command(caller, Action::Hold(HoldSeats { show_id, seats: WantedSeats::Best(wish) }), "")
}

fn best(quantity: usize) -> SeatWish {
    SeatWish { quantity, category: None, accessible: None }
}

/// Checks that every claim belongs to a hold or booking, and that every live hold and booking has its claims.
async fn check_owners(fixture: &dyn Fixture) {
    let orphans = "SELECT count(*) FROM seat_claims c WHERE
        c.status = 'held' AND NOT EXISTS (
            SELECT 1 FROM holds h JOIN hold_seats hs ON hs.hold_id = h.id
            WHERE h.id = c.hold_id AND hs.seat_id = c.seat_id AND h.user_id = c.user_id AND h.show_id = c.show_id
                AND h.expires_at = c.expires_at)
        OR c.status = 'booked' AND NOT EXISTS (
            SELECT 1 FROM bookings b JOIN booking_seats bs ON bs.booking_id = b.id
            WHERE b.id = c.booking_id AND bs.seat_id = c.seat_id AND b.user_id = c.user_id AND b.status = 'confirmed')";
    assert_eq!(fixture.count(orphans).await, 0, "claims without their owner");
    let unclaimed = format!(
        "SELECT (SELECT count(*) FROM booking_seats bs JOIN bookings b ON b.id = bs.booking_id
            WHERE b.status = 'confirmed' AND NOT EXISTS (SELECT 1 FROM seat_claims c
                WHERE c.show_id = b.show_id AND c.seat_id = bs.seat_id AND c.booking_id = b.id))
        + (SELECT count(*) FROM hold_seats hs JOIN holds h ON h.id = hs.hold_id
            WHERE h.expires_at > {} AND NOT EXISTS (SELECT 1 FROM seat_claims c
                WHERE c.show_id = h.show_id AND c.seat_id = hs.seat_id AND c.hold_id = h.id))",
        fixture.instant(0)
    );
    assert_eq!(fixture.count(&unclaimed).await, 0, "owners without their claims");
}

/// A hold is stored as it was answered, and its seats are unavailable to others.
pub async fn hold_is_stored_completely(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let callers = customers(fixture, 2).await;
        let (ana, bo) = (callers[0], callers[1]);
        // In no order, and from a standard and a premium row.
        let seats = [world.main[50 + index].id, world.main[20 + index].id, world.main[index].id];
        let (id, body, _) = held(&submit_by(fixture, mode, hold_these(ana, world.soon, &seats)).await);
        let stores = fixture.stores();
        let found = stores.holds.hold(ana.user_id, &id).await.unwrap().unwrap();
        assert_eq!(format!("{found:?}").as_bytes(), &body[..], "{mode:?}");
        assert_eq!(found.seats.iter().map(|seat| seat.id).collect::<Vec<_>>(), seats);
        assert_eq!((found.total().to_string(), found.expires_at - found.created_at), ("41.00".into(), RULES.hold_ttl));
        assert_eq!(stores.holds.holds(ana.user_id).await.unwrap(), [found]);
        assert_eq!(stores.holds.hold(bo.user_id, &id).await.unwrap(), None);
        assert!(stores.holds.holds(bo.user_id).await.unwrap().is_empty());
        let lost = refused(&submit_by(fixture, mode, book(bo, world.soon, &seats[1..], "k")).await);
        assert_eq!(lost, Refusal::SeatUnavailable { seat_ids: seats[1..].to_vec(), hold_id: None });
        let own = refused(&submit_by(fixture, mode, book(ana, world.soon, &seats[1..], "k")).await);
        assert_eq!(own, Refusal::SeatUnavailable { seat_ids: seats[1..].to_vec(), hold_id: Some(id) });
        check_owners(fixture).await;
    }
}

/// A hold is redeemed once, by its owner. A retry returns the same bytes, and afterwards the hold is deleted.
pub async fn a_hold_is_redeemed_once(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let callers = customers(fixture, 2).await;
        let row = world.row(index);
        let (id, ..) = held(&submit(fixture, hold_these(callers[0], world.soon, &row[..3])).await);
        let redeem = |caller, key: &str| command(caller, Action::Redeem(id.clone()), key);
        assert_eq!(refused(&submit(fixture, redeem(callers[1], "k")).await), Refusal::HoldNotFound);
        // Concurrent commands at every queue, with four keys, create one booking.
        let asked: Vec<_> = (0..12).map(|n| redeem(callers[0], &format!("k{}", n % 4))).collect();
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        let made: Vec<_> = outcomes.iter().filter(|outcome| outcome.is_ok()).map(booked).collect();
        assert_eq!(made.len(), 3, "{mode:?}: {outcomes:?}");
        assert!(made.iter().all(|(id, body, _)| (id, body) == (&made[0].0, &made[0].1)));
        assert_eq!(made.iter().filter(|(.., replayed)| !replayed).count(), 1);
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(refused(outcome), Refusal::HoldNotFound);
        }
        let booking = fixture.stores().bookings.booking(callers[0].user_id, made[0].0).await.unwrap().unwrap();
        assert_eq!(booking.seats.iter().map(|seat| seat.id).collect::<Vec<_>>(), row[..3]);
        assert_eq!(fixture.stores().holds.hold(callers[0].user_id, &id).await.unwrap(), None);
        check_owners(fixture).await;
    }
    assert_eq!(fixture.count("SELECT count(*) FROM hold_seats").await, 0);
}

/// By the store's clock: an expired hold cannot be redeemed or extended, and its seats are free.
pub async fn expired_hold_is_reported_as_expired_until_it_is_swept(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    for (index, name) in ["one", "two"].into_iter().enumerate() {
        hold(fixture, world.soon, row[index], callers[0], name, -1).await;
    }
    let (one, two) = (hold_id(world.soon, "one"), hold_id(world.soon, "two"));
    let ask = async |action| submit(fixture, command(callers[0], action, "")).await;
    assert_eq!(refused(&ask(Action::Redeem(one.clone())).await), Refusal::HoldExpired);
    assert_eq!(refused(&ask(Action::Extend(one.clone())).await), Refusal::HoldExpired);
    assert_eq!(refused(&ask(Action::Release(one.clone())).await), Refusal::HoldNotFound);
    assert_eq!(fixture.stores().holds.hold(callers[0].user_id, &one).await.unwrap(), None);
    assert!(fixture.stores().holds.holds(callers[0].user_id).await.unwrap().is_empty());
    let taken_over = held(&submit(fixture, hold_these(callers[1], world.soon, &row[..1])).await).0;
    // A sweep deletes holds that expired long enough ago, with their claims. Claims that another hold has taken over stay.
    let sweep = async |kept: u64| {
        let kept = std::time::Duration::from_secs(kept);
        fixture.stores().retention.sweep(RetentionRule::Holds, kept, 100).await.unwrap()
    };
    assert_eq!(sweep(3_600).await, 0);
    assert_eq!(sweep(0).await, 2);
    for gone in [one, two] {
        assert_eq!(refused(&ask(Action::Redeem(gone)).await), Refusal::HoldNotFound);
    }
    assert_eq!(fixture.count("SELECT count(*) FROM hold_seats").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM seat_claims").await, 1);
    assert!(fixture.stores().holds.hold(callers[1].user_id, &taken_over).await.unwrap().is_some());
    check_owners(fixture).await;
}

/// Extending a hold extends its claims, to thirty minutes after its creation at most.
pub async fn a_hold_is_extended_and_released(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let ana = customer(fixture).await;
        let row = world.row(index);
        let (id, ..) = held(&submit_by(fixture, mode, hold_these(ana, world.soon, &row[..2])).await);
        let find = async || fixture.stores().holds.hold(ana.user_id, &id).await.unwrap();
        let made = find().await.unwrap();
        let age = |minutes: i64| {
            let (at, ends) = (fixture.instant(-60 * minutes), fixture.instant(60));
            let holds = format!("UPDATE holds SET created_at = {at}, expires_at = {ends} WHERE id = '{}'", id.as_str());
            (
                holds,
                format!(
                    "UPDATE seat_claims SET expires_at = (SELECT expires_at FROM holds WHERE id = '{0}') WHERE hold_id = '{0}'",
                    id.as_str()
                ),
            )
        };
        for minutes in [5, 25] {
            let (holds, claims) = age(minutes);
            fixture.execute(&holds).await;
            fixture.execute(&claims).await;
            let before = now();
            let (_, body, _) = held(&submit_by(fixture, mode, command(ana, Action::Extend(id.clone()), "")).await);
            let after = now() + TimeDelta::seconds(1);
            let longer = find().await.unwrap();
            assert_eq!(format!("{longer:?}").as_bytes(), &body[..]);
            // The hold lasts from the extension, which lies between `before` and `after`, and never longer than thirty minutes in total.
            let ends = |extended_at| (longer.created_at + Hold::LIFE_MAX).min(extended_at + RULES.hold_ttl);
            let expected = ends(before)..=ends(after);
            assert!(expected.contains(&longer.expires_at), "{mode:?}: {longer:?}, not in {expected:?}");
            check_owners(fixture).await;
        }
        assert_eq!(find().await.unwrap().seats, made.seats);
        let (_, body, _) = held(&submit_by(fixture, mode, command(ana, Action::Release(id.clone()), "")).await);
        assert!(body.is_empty() && find().await.is_none());
        booked(&submit_by(fixture, mode, book(ana, world.soon, &row[..2], "k")).await);
        check_owners(fixture).await;
    }
}

/// The limit is that of one show, also for concurrent holds at several servers.
pub async fn a_caller_holds_no_more_than_a_booking_may_have(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let ana = customer(fixture).await;
        let row = world.row(index);
        // Five holds of three seats are requested, of which three fit.
        let asked = (0..5).map(|n| match n {
            0..3 => hold_these(ana, world.soon, &row[3 * n..3 * n + 3]),
            _ => hold_best(ana, world.soon, best(3)),
        });
        let asked = asked.collect();
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        let granted = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(granted, 3, "{mode:?}: {outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            // The best seats may overlap with another of these holds.
            assert!(matches!(refused(outcome), Refusal::TooManyHeld { .. } | Refusal::SeatUnavailable { .. }));
        }
        let holds = fixture.stores().holds.holds(ana.user_id).await.unwrap();
        assert_eq!(holds.iter().map(|hold| hold.seats.len()).sum::<usize>(), 9);
        check_owners(fixture).await;
        fixture.execute(&format!("DELETE FROM seat_claims WHERE show_id = {}", world.soon)).await;
        fixture.execute("DELETE FROM holds").await;
    }
}

/// The best seats are the best of all free seats of the hall. A caller that loses them gets the next best.
pub async fn best_seats_are_each_held_once(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for mode in MODES {
        let callers = customers(fixture, 20).await;
        let asked = callers.iter().map(|caller| hold_best(*caller, world.soon, best(3))).collect();
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        // Rows consist of two blocks of five: a block has room for three adjacent seats once, and the rest of each row for pairs.
        let mut seats = Vec::new();
        for (caller, outcome) in callers.iter().zip(&outcomes) {
            let id: HoldId = held(outcome).0;
            let hold = fixture.stores().holds.hold(caller.user_id, &id).await.unwrap().unwrap();
            assert_eq!(hold.seats.len(), 3);
            seats.extend(hold.seats.into_iter().map(|seat| seat.id));
        }
        seats.sort_unstable();
        seats.dedup();
        assert_eq!(seats.len(), 60, "{mode:?}");
        let none = refused(&submit_by(fixture, mode, hold_best(callers[0], world.soon, best(1))).await);
        assert_eq!(none, Refusal::SeatUnavailable { seat_ids: Vec::new(), hold_id: None });
        fixture.execute(&format!("DELETE FROM seat_claims WHERE show_id = {}", world.soon)).await;
        fixture.execute("DELETE FROM holds").await;
    }
    let ana = customer(fixture).await;
    let premium = SeatWish { category: Some("premium".into()), ..best(4) };
    let (id, ..) = held(&submit(fixture, hold_best(ana, world.soon, premium)).await);
    let hold = fixture.stores().holds.hold(ana.user_id, &id).await.unwrap().unwrap();
    assert!(hold.seats.iter().all(|seat| seat.category == "premium" && seat.row == hold.seats[0].row), "{hold:?}");
    let none = SeatWish { category: Some("balcony".into()), ..best(1) };
    let none = refused(&submit(fixture, hold_best(ana, world.soon, none)).await);
    assert_eq!(none, Refusal::SeatUnavailable { seat_ids: Vec::new(), hold_id: None });
}

/// Also if two servers are concurrently asked for selections that together leave a gap.
pub async fn seat_gaps_are_refused_if_the_house_forbids_them(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let rules = Rules { seat_gaps: SeatGapRule::Forbid, ..RULES };
    for (index, mode) in MODES.into_iter().enumerate() {
        let mode = Mode { rules, ..mode };
        let callers = customers(fixture, 2).await;
        let row = world.row(index);
        // In a block of five, the first two and the last two leave the middle seat.
        let asked = vec![book(callers[0], world.soon, &row[..2], "k"), book(callers[1], world.soon, &row[3..5], "k")];
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        let (done, lost): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(Result::is_ok);
        assert_eq!((done.len(), lost.len()), (1, 1), "{mode:?}: {lost:?}");
        assert_eq!(refused(&lost[0]), Refusal::SeatsLeaveGap { seat_ids: vec![row[2]] });
    }
}

/// Of concurrent cancellations of a booking one takes effect. The seats are freed, and the seats and prices of the booking stay recorded.
pub async fn a_cancelled_booking_frees_its_seats(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let callers = customers(fixture, 2).await;
        let row = world.row(index);
        let (booking_id, ..) = booked(&submit(fixture, book(callers[0], world.soon, &row[..2], "k")).await);
        let booking = ShowBooking { show_id: world.soon, booking_id };
        let cancel = |caller| command(caller, Action::Cancel(booking), "");
        assert_eq!(refused(&submit_by(fixture, mode, cancel(callers[1])).await), Refusal::BookingNotFound);
        let asked = (0..6).map(|_| cancel(callers[0])).collect();
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        let bodies: Vec<_> = outcomes.iter().map(|outcome| booked(outcome).1).collect();
        assert!(bodies.iter().all(|body| *body == bodies[0]), "{mode:?}");
        let found = fixture.stores().bookings.booking(callers[0].user_id, booking_id).await.unwrap().unwrap();
        assert_eq!((found.status(), found.seats.len()), (BookingStatus::Cancelled, 2));
        assert!(found.state.cancelled_at().unwrap() >= found.booked_at);
        let told =
            format!("SELECT count(*) FROM outbox WHERE kind = 'booking_cancelled' AND booking_id = {booking_id}");
        assert_eq!(fixture.count(&told).await, 1);
        booked(&submit_by(fixture, mode, book(callers[1], world.soon, &row[..2], "k")).await);
        check_owners(fixture).await;
    }
    // A booking cannot be cancelled within two hours before its show, unless the show is cancelled.
    let ana = customer(fixture).await;
    let (booking_id, ..) = booked(&submit(fixture, book(ana, world.later, &[world.beta[0].id], "k")).await);
    let cancel = command(ana, Action::Cancel(ShowBooking { show_id: world.later, booking_id }), "");
    let start = fixture.instant(7_190);
    fixture.execute(&format!("UPDATE shows SET start_time = {start} WHERE id = {}", world.later)).await;
    assert_eq!(refused(&submit(fixture, cancel.clone()).await), Refusal::NotCancellable);
    cancel_show(fixture, world.later).await;
    booked(&submit(fixture, cancel).await);
}

/// A change frees the old seats and takes the new ones atomically, or changes nothing.
pub async fn booking_changes_its_seats_atomically(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let callers = customers(fixture, 2).await;
        let row = world.row(index);
        let mut bookings = Vec::new();
        for (caller, seats) in callers.iter().zip([&row[..2], &row[2..4]]) {
            let (booking_id, ..) = booked(&submit(fixture, book(*caller, world.soon, seats, "k")).await);
            bookings.push(ShowBooking { show_id: world.soon, booking_id });
        }
        let change =
            |who: usize, seats: &[SeatId]| command(callers[who], Action::Change(bookings[who], selection(seats)), "");
        let seats_of = async |who: usize| -> Vec<SeatId> {
            let found = fixture.stores().bookings.booking(callers[who].user_id, bookings[who].booking_id).await;
            found.unwrap().unwrap().seats.iter().map(|seat| seat.id).collect()
        };
        let lost = refused(&submit_by(fixture, mode, change(0, &[row[0], row[2]])).await);
        assert_eq!(lost, Refusal::SeatUnavailable { seat_ids: vec![row[2]], hold_id: None });
        assert_eq!(seats_of(0).await, row[..2]);
        booked(&submit_by(fixture, mode, change(0, &[row[5], row[1]])).await);
        assert_eq!(seats_of(0).await, [row[5], row[1]]);
        booked(&submit_by(fixture, mode, change(1, &[row[0], row[3]])).await);
        check_owners(fixture).await;
        // Concurrent changes of one booking to two places, at every queue, leave it completely at one of them.
        let asked = (0..4).map(|n| change(0, &if n % 2 == 0 { [row[6], row[7]] } else { [row[8], row[9]] })).collect();
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        assert!(outcomes.iter().all(Result::is_ok), "{mode:?}: {outcomes:?}");
        let at = seats_of(0).await;
        assert!(at == row[6..8] || at == row[8..10], "{mode:?}: {at:?}");
        // A concurrent change and cancellation take effect one after the other.
        let cancel = command(callers[0], Action::Cancel(bookings[0]), "");
        let asked = vec![change(0, &[row[4], row[5]]), cancel];
        let outcomes = sell(fixture.stores(), mode, async |sellers| sellers.submit_all(asked).await).await;
        assert!(outcomes[1].is_ok(), "{mode:?}: {outcomes:?}");
        if outcomes[0].is_err() {
            assert_eq!(refused(&outcomes[0]), Refusal::NotChangeable);
        }
        check_owners(fixture).await;
        let claims = format!("SELECT count(*) FROM seat_claims WHERE booking_id = {}", bookings[0].booking_id);
        assert_eq!(fixture.count(&claims).await, 0);
    }
    let nobodys = ShowBooking { show_id: world.soon, booking_id: BookingId(987_654) };
    let ana = customer(fixture).await;
    let change = command(ana, Action::Change(nobodys, selection(&world.row(0)[..1])), "");
    assert_eq!(refused(&submit(fixture, change).await), Refusal::BookingNotFound);
}

/// A batch is stale if the holds, bookings or rows of seats it expects have changed since the read.
pub async fn rows_changed_before_the_write_are_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let (id, ..) = held(&submit(fixture, hold_these(callers[0], world.soon, &row[..2])).await);
    let (booking_id, ..) = booked(&submit(fixture, book(callers[0], world.soon, &row[2..4], "k")).await);
    let booking = ShowBooking { show_id: world.soon, booking_id };
    let forbid = Rules { seat_gaps: SeatGapRule::Forbid, ..RULES };
    let by = |action, rules| (command(callers[0], action, ""), rules);
    let asked = [
        (by(Action::Redeem(id.clone()), RULES), by(Action::Extend(id.clone()), RULES)),
        (by(Action::Release(id.clone()), RULES), by(Action::Extend(id.clone()), RULES)),
        (by(Action::Extend(id.clone()), RULES), by(Action::Extend(id.clone()), RULES)),
        (
            by(Action::Change(booking, selection(&row[4..6])), RULES),
            by(Action::Change(booking, selection(&row[5..7])), RULES),
        ),
        // Claims of kept seats are not touched, so the change is detected by the seats of the booking.
        (
            by(Action::Change(booking, selection(&[row[5], row[8]])), RULES),
            by(Action::Change(booking, selection(&[row[7], row[6]])), RULES),
        ),
        (by(Action::Cancel(booking), RULES), by(Action::Change(booking, selection(&row[8..10])), RULES)),
        // Another hold of the caller, and another seat of the row.
        (
            (hold_these(callers[0], world.soon, &world.row(1)[..2]), RULES),
            (hold_these(callers[0], world.soon, &world.row(2)[..2]), RULES),
        ),
        (
            (book(callers[1], world.soon, &world.row(3)[..2], "k"), forbid),
            (hold_these(callers[0], world.soon, &world.row(3)[3..5]), RULES),
        ),
    ];
    for (index, ((late, rules), (first, _))) in asked.into_iter().enumerate() {
        let decision = decided(fixture.stores(), &rules, &UniqueRandom::new(), &[late]).await;
        assert!(decision.outcomes[0].is_ok(), "{index}: {:?}", decision.outcomes);
        submit(fixture, first).await.unwrap();
        let written = fixture.stores().batches[0].write(&decision.changes).await;
        assert!(matches!(written, Err(domain::booking::WriteError::Stale(_))), "{index}: {written:?}");
        check_owners(fixture).await;
    }
}

/// Sales open and close at the show's own times, by the store's clock.
pub async fn sales_open_and_close_at_the_times_of_the_show(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let set = async |column: &str, seconds: i64| {
        let at = fixture.instant(seconds);
        fixture.execute(&format!("UPDATE shows SET {column} = {at} WHERE id = {}", world.soon)).await;
    };
    set("sales_open_at", 60).await;
    let early = refused(&submit(fixture, book(ana, world.soon, &world.row(0)[..1], "k")).await);
    assert!(matches!(early, Refusal::SalesNotOpen { .. }), "{early:?}");
    set("sales_open_at", -1).await;
    set("sales_close_at", 60).await;
    let (id, ..) = held(&submit(fixture, hold_these(ana, world.soon, &world.row(0)[..1])).await);
    let hold = fixture.stores().holds.hold(ana.user_id, &id).await.unwrap().unwrap();
    assert!((hold.expires_at - hold.created_at).num_seconds() <= 60, "a hold ends with the sale");
    set("sales_close_at", -1).await;
    let late = book(ana, world.soon, &world.row(0)[1..2], "k");
    assert_eq!(refused(&submit(fixture, late).await), Refusal::SalesClosed);
    block(fixture, world.soon, world.row(0)[2]).await;
    assert_eq!(refused(&submit(fixture, hold_best(ana, world.soon, best(1))).await), Refusal::SalesClosed);
}

/// Two servers are repeatedly asked for the same seats in opposite order: no deadlock occurs, no command has to be retried by its caller,
/// and each seat is sold once.
pub async fn opposite_selections_at_two_servers_do_not_deadlock(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 8).await;
    let mode = Mode { queues: 2, committers: 1, batch_max: 8, rules: RULES };
    let outcomes = sell(fixture.stores(), mode, async |sellers| {
        let mut outcomes = Vec::new();
        for round in 0..12 {
            let (soon, later) = (world.row(round % 6), world.beta[10 * (round % 6)..][..10].iter().map(|seat| seat.id));
            let later: Vec<SeatId> = later.collect();
            let commands = callers.iter().enumerate().flat_map(|(n, caller)| {
                let mut seats = [soon[n], soon[n + 1], soon[n + 2]];
                let mut others = [later[n], later[n + 1]];
                if n % 2 == 1 {
                    seats.reverse();
                    others.reverse();
                }
                let key = format!("{round}-{n}");
                let both =
                    [book(*caller, world.soon, &seats, &key), book(*caller, world.later, &others, &format!("l{key}"))];
                if n % 2 == 1 {
                    both
                } else {
                    let [a, b] = both;
                    [b, a]
                }
            });
            outcomes.extend(sellers.submit_all(commands.collect()).await);
        }
        outcomes
    })
    .await;
    for outcome in &outcomes {
        if outcome.is_err() {
            assert!(matches!(refused(outcome), Refusal::SeatUnavailable { .. }), "{outcome:?}");
        }
    }
    check_owners(fixture).await;
}
