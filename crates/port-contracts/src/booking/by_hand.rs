//! Direct calls of the port that committers write to: changes between the read and the write.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use domain::booking::{BatchStore, Claim, Command, ReadSet, ShowOffer, Snapshot, StoredUser, WriteError, WriteSet};
use domain::catalog::ShowStatus;
use domain::identity::{Caller, Email};
use domain::ids::{BookingId, SeatId, ShowId, UserId};
use domain::money::{Currency, TaxRate};
use domain::seating::CategoryPrice;
use futures::future::join_all;

use crate::Fixture;
use crate::tools::{RULES, SIMPLE, Tally, UniqueRandom, book, decided, key_of, prepare, sell, tally};
use crate::world::{
    ALPHA, STALKER, World, block, cancel_show, customer, customers, hold, hold_id, in_session, layout_id, now,
    on_command_line, password_hash,
};

fn store(fixture: &dyn Fixture) -> &dyn BatchStore {
    fixture.stores().batches[0].as_ref()
}

async fn changes(fixture: &dyn Fixture, commands: &[Command]) -> WriteSet {
    let decision = decided(fixture.stores(), &RULES, &UniqueRandom::new(), commands).await;
    assert!(decision.outcomes.iter().all(Result::is_ok), "{:?}", decision.outcomes);
    decision.changes
}

/// Checks that the write is refused as stale and changes nothing.
async fn must_be_stale(fixture: &dyn Fixture, changes: &WriteSet) {
    let before = everything(fixture).await;
    let written = store(fixture).write(changes).await;
    assert!(matches!(written, Err(WriteError::Stale(_))), "{written:?}");
    assert_eq!(everything(fixture).await, before);
}

async fn everything(fixture: &dyn Fixture) -> (Tally, i64) {
    (tally(fixture).await, fixture.count("SELECT count(*) FROM seat_claims").await)
}

fn named(commands: &[Command]) -> ReadSet {
    let prepared: Vec<_> =
        commands.iter().map(|command| prepare(command, BookingId(1), &UniqueRandom::new())).collect();
    ReadSet::by(&prepared, &RULES)
}

async fn end_sessions(fixture: &dyn Fixture, caller: Caller) {
    let user = fixture.stores().users.by_id(caller.user_id).await.unwrap().unwrap();
    let email = Email::parse(&user.email).unwrap();
    fixture.stores().users.reset_password(&email, &password_hash("second"), &on_command_line()).await.unwrap().unwrap();
}

/// A read returns committed rows unchanged, including started or cancelled shows and expired holds, and no row that was not named.
pub async fn read_returns_exactly_the_named_rows(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let first = book(callers[0], world.soon, &[row[0], row[1]], "k");
    let made = changes(fixture, &[first.clone(), book(callers[1], world.soon, &row[6..7], "k")]).await;
    store(fixture).write(&made).await.unwrap();
    hold(fixture, world.soon, row[2], callers[0], "over", -60).await;
    block(fixture, world.soon, row[3]).await;
    block(fixture, world.soon, row[7]).await;
    cancel_show(fixture, world.soon).await;
    let mut nobody = callers[1];
    nobody.user_id = UserId(987_654);
    let asked = named(&[
        first.clone(),
        book(nobody, world.soon, &[row[2], row[3], row[4], world.beta[0].id], "new"),
        book(callers[0], ShowId(987_654), &row[..1], "new"),
    ]);
    let state = store(fixture).read(&asked).await.unwrap();
    let wrote = made.keys.iter().find(|(name, _)| *name == key_of(&first)).unwrap();
    assert_eq!(state.keys.into_iter().collect::<Vec<_>>(), std::slice::from_ref(wrote));
    let user = StoredUser { session_generation: callers[0].session_generation };
    assert_eq!(state.users.into_iter().collect::<Vec<_>>(), [(callers[0].user_id, user)]);
    let show = ShowOffer {
        version: 1,
        layout_id: layout_id(fixture, world.soon).await,
        status: ShowStatus::Cancelled,
        start_time: world.base + TimeDelta::hours(3),
        end_time: world.base + TimeDelta::hours(5),
        sales_open_at: None,
        sales_close_at: None,
        currency: Currency::parse("EUR").unwrap(),
        tax_rate: TaxRate::parse("7.00").unwrap(),
        prices: [CategoryPrice::adult("standard", 1250), CategoryPrice::adult("premium", 1600)].into_iter().collect(),
        movie_title: STALKER.into(),
        theatre_name: ALPHA.into(),
        hall_name: "Main".into(),
    };
    assert_eq!(state.shows.into_iter().collect::<Vec<_>>(), [(world.soon, show)]);
    assert!(state.holds.is_empty() && state.bookings.is_empty());
    let booked = |caller: &Caller| Claim::Booked { booking_id: booking_of(&made, caller), user_id: caller.user_id };
    assert_eq!(state.claims.len(), 4, "{:?}", state.claims);
    assert_eq!(state.claims[&(world.soon, row[0])], booked(&callers[0]));
    assert_eq!(state.claims[&(world.soon, row[1])], booked(&callers[0]));
    assert_eq!(state.claims[&(world.soon, row[3])], Claim::Blocked);
    let over = &state.claims[&(world.soon, row[2])];
    assert_eq!((over.hold_id(), over.user_id()), (Some(&hold_id(world.soon, "over")), Some(callers[0].user_id)));
    let ago = state.now - over.expires_at().unwrap();
    assert!((55..120).contains(&ago.num_seconds()), "it ran out a minute ago: {ago}");
}

fn booking_of(made: &WriteSet, caller: &Caller) -> BookingId {
    made.bookings.iter().find(|booking| booking.user_id == caller.user_id).unwrap().id
}

/// An empty read returns only the time; committers use it to check whether the store responds.
pub async fn empty_read_returns_the_time(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let mut last = now() - TimeDelta::seconds(60);
    for _ in 0..3 {
        let state = store(fixture).read(&ReadSet::default()).await.unwrap();
        let at = state.now;
        assert_eq!(state, Snapshot { history: state.history.clone(), ..Snapshot::at(at) });
        assert!(at >= last, "the clock goes backwards: {at} after {last}");
        last = at;
    }
    assert!((last - now()).num_seconds() < 60);
}

/// A written batch is visible to the next read of every committer. The time of a booking is the time of the read it was decided by.
pub async fn written_batch_is_visible_at_once(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let commands: Vec<_> = (0..8).map(|n| book(callers[n % 2], world.soon, &row[n..=n], &format!("{n}"))).collect();
    let made = changes(fixture, &commands).await;
    store(fixture).write(&made).await.unwrap();
    for store in &fixture.stores().batches {
        let state = store.read(&named(&commands)).await.unwrap();
        assert_eq!((state.keys.len(), state.claims.len()), (8, 8));
        assert!(state.now >= made.at);
    }
    for booking in &made.bookings {
        let found = fixture.stores().bookings.booking(booking.user_id, booking.id).await.unwrap();
        assert_eq!(found.as_ref(), Some(booking));
        assert_eq!(booking.booked_at, made.at);
    }
}

/// A show that is cancelled between read and write takes no booking.
pub async fn a_show_cancelled_before_the_write_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let made = changes(fixture, &[book(ana, world.soon, &world.row(0)[..2], "k")]).await;
    cancel_show(fixture, world.soon).await;
    must_be_stale(fixture, &made).await;
}

/// A password reset between read and write ends the session for this write too.
pub async fn a_session_ended_before_the_write_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let commands = [book(callers[0], world.soon, &row[..1], "k"), book(callers[1], world.soon, &row[1..2], "k")];
    let made = changes(fixture, &commands).await;
    end_sessions(fixture, callers[1]).await;
    must_be_stale(fixture, &made).await;
    // The same for a single ended session.
    let bearer = in_session(fixture, callers[0], 1).await;
    let made = changes(fixture, &[Command { bearer, ..commands[0].clone() }]).await;
    assert!(fixture.stores().sessions.end_one(callers[0].user_id, bearer.session_id.unwrap()).await.unwrap());
    must_be_stale(fixture, &made).await;
}

/// A second batch with the same key is stale.
pub async fn write_of_an_existing_key_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let first = changes(fixture, &[book(ana, world.soon, &world.row(0)[..1], "k")]).await;
    let second = changes(fixture, &[book(ana, world.later, &[world.beta[0].id], "k")]).await;
    store(fixture).write(&first).await.unwrap();
    must_be_stale(fixture, &second).await;
    // Repeating the same write, as after an unknown outcome that was in fact committed.
    must_be_stale(fixture, &first).await;
    // A key without its answer still exists.
    fixture.execute("UPDATE idempotency_keys SET answer = NULL").await;
    must_be_stale(fixture, &second).await;
}

/// A seat that a booking, a hold or the house claims between read and write makes the batch stale.
pub async fn write_of_a_claimed_seat_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let booked = changes(fixture, &[book(callers[0], world.soon, &row[..3], "k")]).await;
    let late = changes(fixture, &[book(callers[1], world.soon, &[row[3], row[2]], "k")]).await;
    store(fixture).write(&booked).await.unwrap();
    must_be_stale(fixture, &late).await;
    for (seat, seconds) in [(5, 60), (6, -60)] {
        let late = changes(fixture, &[book(callers[1], world.soon, &[row[4], row[seat]], "k")]).await;
        hold(fixture, world.soon, row[seat], callers[0], &format!("hold {seat}"), seconds).await;
        must_be_stale(fixture, &late).await;
    }
    let late = changes(fixture, &[book(callers[1], world.soon, &[row[4], row[7]], "k")]).await;
    block(fixture, world.soon, row[7]).await;
    must_be_stale(fixture, &late).await;
}

/// A failover may reserve the same block of ids twice. A used id is reported as `UsedId`, and nothing is written.
pub async fn used_generated_id_is_reported(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let first = changes(fixture, &[book(callers[0], world.soon, &row[..1], "k")]).await;
    let second = changes(fixture, &[book(callers[1], world.soon, &row[1..2], "k")]).await;
    store(fixture).write(&first).await.unwrap();
    let (mut used_id, mut used_reference) = (second.clone(), second);
    used_id.bookings[0].id = first.bookings[0].id;
    used_reference.bookings[0].reference = first.bookings[0].reference.clone();
    for changes in [used_id, used_reference] {
        let before = everything(fixture).await;
        let written = store(fixture).write(&changes).await;
        assert!(matches!(written, Err(WriteError::UsedId(_))), "{written:?}");
        assert_eq!(everything(fixture).await, before);
    }
}

/// A batch that replaces an expired hold is stale if the hold has been extended, replaced or deleted since the read.
pub async fn a_hold_that_changed_before_the_write_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let place = |seat: SeatId| format!("show_id = {} AND seat_id = {seat}", world.soon);
    let updates = [
        format!("UPDATE seat_claims SET expires_at = {} WHERE {}", fixture.instant(60), place(row[0])),
        format!(
            "UPDATE seat_claims SET hold_id = '{}' WHERE {}",
            hold_id(world.soon, "another").as_str(),
            place(row[1])
        ),
        format!("DELETE FROM seat_claims WHERE {}", place(row[2])),
        format!("UPDATE seat_claims SET status = 'blocked', hold_id = NULL, expires_at = NULL WHERE {}", place(row[3])),
    ];
    for (index, update) in updates.iter().enumerate() {
        hold(fixture, world.soon, row[index], callers[0], &format!("hold {index}"), -60).await;
        let made = changes(fixture, &[book(callers[1], world.soon, &[row[9], row[index]], "k")]).await;
        assert_eq!(made.removed_claims.len(), 1);
        fixture.execute(update).await;
        must_be_stale(fixture, &made).await;
    }
    hold(fixture, world.soon, row[4], callers[0], "unchanged", -60).await;
    let made = changes(fixture, &[book(callers[1], world.soon, &[row[9], row[4]], "k")]).await;
    store(fixture).write(&made).await.unwrap();
}

/// A batch is written completely or not at all.
pub async fn one_stale_command_fails_its_whole_batch(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 4).await;
    let row = world.row(0);
    let commands = [
        book(callers[0], world.soon, &row[..2], "k"),
        book(callers[1], world.later, &[world.beta[0].id], "k"),
        book(callers[2], world.soon, &row[2..4], "k"),
        book(callers[3], world.tomorrow, &[world.small[0].id], "k"),
    ];
    let made = changes(fixture, &commands).await;
    block(fixture, world.soon, row[3]).await;
    must_be_stale(fixture, &made).await;
    // Decided again, the remaining commands succeed.
    let decision = decided(fixture.stores(), &RULES, &UniqueRandom::new(), &commands).await;
    store(fixture).write(&decision.changes).await.unwrap();
    assert_eq!(tally(fixture).await.bookings, 3);
}

/// Two servers concurrently write the same key for different seats.
pub async fn of_two_concurrent_writes_of_one_key_one_succeeds(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    for round in 0..10 {
        let key = format!("{round}");
        let one = changes(fixture, &[book(ana, world.soon, &[world.main[round].id], &key)]).await;
        let other = changes(fixture, &[book(ana, world.later, &[world.beta[round].id], &key)]).await;
        one_is_written(fixture, [&one, &other]).await;
    }
    assert_eq!(tally(fixture).await.bookings, 10);
}

/// Two servers concurrently write overlapping seats for different callers.
pub async fn of_two_concurrent_writes_of_one_seat_one_succeeds(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    for round in 0..10 {
        let (a, b, c) = (world.main[round].id, world.main[20 + round].id, world.main[40 + round].id);
        let one = changes(fixture, &[book(callers[0], world.soon, &[a, b], &format!("{round}"))]).await;
        let other = changes(fixture, &[book(callers[1], world.soon, &[c, b], &format!("{round}"))]).await;
        one_is_written(fixture, [&one, &other]).await;
    }
    let after = Tally { bookings: 10, booking_seats: 20, claims: 20, keys: 10, outbox: 10 };
    assert_eq!(tally(fixture).await, after);
}

async fn one_is_written(fixture: &dyn Fixture, both: [&WriteSet; 2]) {
    let stores = fixture.stores().batches.iter().cycle();
    let written = join_all(both.into_iter().zip(stores).map(|(changes, store)| store.write(changes))).await;
    let stale = written.iter().filter(|outcome| matches!(outcome, Err(WriteError::Stale(_)))).count();
    let done = written.iter().filter(|outcome| outcome.is_ok()).count();
    assert_eq!((done, stale), (1, 1), "{written:?}");
}

/// Concurrent reservations return disjoint blocks, also while bookings are created.
pub async fn reserved_booking_ids_are_disjoint(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let stores = fixture.stores().batches.iter().cycle().take(40);
    let reserve = join_all(stores.map(|store| store.reserve_booking_ids()));
    let command = book(ana, world.soon, &world.row(0)[..1], "k");
    let book = sell(fixture.stores(), SIMPLE, async |sellers| crate::tools::booked(&sellers.submit(command).await).0);
    let (blocks, booked) = futures::join!(reserve, book);
    let mut ids = BTreeSet::from([booked.0]);
    for block in blocks {
        let block = block.unwrap();
        assert!(block.count >= 1 && block.first >= 1, "{block:?}");
        for id in block.first..block.first + i64::from(block.count) {
            assert!(ids.insert(id), "{id} is reserved twice");
        }
    }
}
