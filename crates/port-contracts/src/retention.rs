//! Cases of retention: deleting rows that are no longer needed.

use std::time::Duration;

use domain::StoreError;
use domain::booking::{Action, Answer, HoldSeats, Success, WantedSeats};
use domain::identity::{Caller, Rotation, User};
use domain::retention::RetentionRule;
use domain::seating::SeatWish;
use futures::future::join_all;

use crate::Fixture;
use crate::tools::{SIMPLE, Tally, book, booked, command, held, selection, sell, tally};
use crate::world::{World, customer, customers, token};

/// The retention time of the cases, in seconds.
const KEPT: i64 = 3_600;

async fn sweep(fixture: &dyn Fixture, what: RetentionRule, rows_max: u32) -> u32 {
    fixture.stores().retention.sweep(what, Duration::from_secs(3_600), rows_max).await.unwrap()
}

async fn rows(fixture: &dyn Fixture, of: &str) -> i64 {
    fixture.count(&format!("SELECT count(*) FROM {of}")).await
}

async fn answers(fixture: &dyn Fixture) -> i64 {
    rows(fixture, "idempotency_keys WHERE answer IS NOT NULL").await
}

/// Books one seat of the show `soon` for each of `ages`, with the keys `k0`, `k1` …, and sets the age of its key and event, in seconds.
async fn sold(fixture: &dyn Fixture, caller: Caller, world: &World, ages: &[i64]) -> Tally {
    sell(fixture.stores(), SIMPLE, async |sellers| {
        for (index, age) in ages.iter().enumerate() {
            let command = book(caller, world.soon, &[world.main[index].id], &format!("k{index}"));
            let (booking_id, ..) = booked(&sellers.submit(command).await);
            for table in ["idempotency_keys", "outbox"] {
                let made = fixture.instant(-age);
                let sql = format!("UPDATE {table} SET created_at = {made} WHERE booking_id = {booking_id}");
                fixture.execute(&sql).await;
            }
        }
    })
    .await;
    tally(fixture).await
}

/// The bytes of an answer are deleted once they have reached the retention time. Key and booking stay, so a retry books nothing.
pub async fn old_answers_are_deleted_and_their_keys_stay(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let before = sold(fixture, ana, &world, &[KEPT + 60, KEPT - 60, 0, KEPT + 1]).await;
    assert_eq!(sweep(fixture, RetentionRule::Answers, 100).await, 2);
    assert_eq!(sweep(fixture, RetentionRule::Answers, 100).await, 0);
    assert_eq!((answers(fixture).await, tally(fixture).await), (2, before));
    let again = async |index: usize| {
        let command = book(ana, world.soon, &[world.main[index].id], &format!("k{index}"));
        sell(fixture.stores(), SIMPLE, async |sellers| sellers.submit(command).await).await.unwrap()
    };
    for forgotten in [0, 3] {
        assert!(matches!(again(forgotten).await, Success::AnswerDeleted(_)));
    }
    for kept in [1, 2] {
        assert!(matches!(again(kept).await, Success::Answered(Answer { replayed: true, .. })));
    }
    assert_eq!(tally(fixture).await, before);
}

/// The key of a hold, and a record without a client's key, are deleted with their answer: without it no client can ask for their result.
pub async fn keys_without_a_clients_booking_are_deleted_with_their_answers(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    sold(fixture, ana, &world, &[0]).await;
    let wish = SeatWish { quantity: 2, category: None, accessible: None };
    let hold = Action::Hold(HoldSeats { show_id: world.soon, seats: WantedSeats::Best(wish) });
    sell(fixture.stores(), SIMPLE, async |sellers| {
        let (id, ..) = held(&sellers.submit(command(ana, hold.clone(), "hold")).await);
        held(&sellers.submit(command(ana, Action::Extend(id.clone()), "")).await);
        booked(&sellers.submit(command(ana, Action::Redeem(id), "redeem")).await);
    })
    .await;
    assert_eq!(rows(fixture, "idempotency_keys").await, 4);
    fixture.execute(&format!("UPDATE idempotency_keys SET created_at = {}", fixture.instant(-KEPT - 60))).await;
    assert_eq!(sweep(fixture, RetentionRule::Answers, 100).await, 4);
    assert_eq!((rows(fixture, "idempotency_keys").await, answers(fixture).await), (2, 0));
    assert_eq!(
        rows(fixture, "idempotency_keys WHERE booking_id IS NOT NULL AND scope = 'POST /api/bookings'").await,
        2
    );
}

/// A step deletes the oldest rows, and at most `rows_max` of them.
pub async fn step_deletes_the_oldest_rows_and_is_bounded(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    sold(fixture, ana, &world, &[KEPT + 50, KEPT + 40, KEPT + 30, KEPT + 20, KEPT + 10]).await;
    for what in [RetentionRule::Answers, RetentionRule::Events] {
        assert_eq!(sweep(fixture, what, 2).await, 2, "{what:?}");
    }
    let older = fixture.instant(-KEPT - 35);
    assert_eq!(rows(fixture, &format!("outbox WHERE created_at < {older}")).await, 0);
    let older = format!("idempotency_keys WHERE answer IS NOT NULL AND created_at < {older}");
    assert_eq!((rows(fixture, &older).await, answers(fixture).await), (0, 3));
    for what in [RetentionRule::Answers, RetentionRule::Events] {
        let steps = [sweep(fixture, what, 2).await, sweep(fixture, what, 2).await, sweep(fixture, what, 2).await];
        assert_eq!(steps, [2, 1, 0], "{what:?}");
    }
}

/// Events are deleted once they have reached the retention time, and nothing else is.
pub async fn old_events_are_deleted_and_nothing_else(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let before = sold(fixture, ana, &world, &[KEPT + 60, KEPT + 30, KEPT - 60, 0]).await;
    assert_eq!(sweep(fixture, RetentionRule::Events, 100).await, 2);
    assert_eq!(sweep(fixture, RetentionRule::Events, 100).await, 0);
    assert_eq!((answers(fixture).await, tally(fixture).await), (4, Tally { outbox: 2, ..before }));
}

/// Tenures that a command ended are deleted by the time of their end. A tenure that has begun again since stays.
pub async fn tenures_are_deleted_once_they_no_longer_count(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    sell(fixture.stores(), SIMPLE, async |sellers| {
        for seats in world.main[..6].chunks(2) {
            let seats = WantedSeats::These(selection(&[seats[0].id, seats[1].id]).into());
            let hold = Action::Hold(HoldSeats { show_id: world.soon, seats });
            let (id, ..) = held(&sellers.submit(command(ana, hold, "")).await);
            held(&sellers.submit(command(ana, Action::Release(id), "")).await);
        }
    })
    .await;
    for (seats, seconds) in [(0..3, KEPT + 60), (3..5, KEPT - 60)] {
        for seat in &world.main[seats] {
            let until = fixture.instant(-seconds);
            fixture.execute(&format!("UPDATE seat_tenures SET until = {until} WHERE seat_id = {}", seat.id)).await;
        }
    }
    assert_eq!(sweep(fixture, RetentionRule::Tenures, 2).await, 2);
    assert_eq!(sweep(fixture, RetentionRule::Tenures, 2).await, 1);
    assert_eq!(sweep(fixture, RetentionRule::Tenures, 2).await, 0);
    assert_eq!(rows(fixture, "seat_tenures").await, 3);
}

async fn user(fixture: &dyn Fixture, caller: Caller) -> User {
    fixture.stores().users.by_id(caller.user_id).await.unwrap().unwrap()
}

/// Makes every refresh token expire `seconds` ago.
async fn run_out(fixture: &dyn Fixture, seconds: i64) {
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {}", fixture.instant(-seconds))).await;
}

/// A session lasts as long as one of its tokens is kept, and is deleted with the last one.
pub async fn session_is_deleted_with_its_last_token(fixture: &dyn Fixture) {
    let ana = customer(fixture).await;
    let sessions = &fixture.stores().sessions;
    // One session with only an expired token, and a second session with a used token.
    sessions.open(&user(fixture, ana).await, &token(1)).await.unwrap();
    sessions.open(&user(fixture, ana).await, &token(2)).await.unwrap();
    assert!(matches!(sessions.rotate(&token(2).hash, &token(3)).await.unwrap(), Rotation::Rotated { .. }));
    run_out(fixture, KEPT + 60).await;
    // The second session continues with its next token. A third one has a token that has expired but is still kept.
    fixture
        .execute(&format!("UPDATE refresh_tokens SET expires_at = {} WHERE used_at IS NULL AND session_id = (SELECT max(id) FROM sessions)", fixture.instant(600)))
        .await;
    sessions.open(&user(fixture, ana).await, &token(4)).await.unwrap();
    let newest = "session_id = (SELECT max(id) FROM sessions)";
    let just_over = fixture.instant(60 - KEPT);
    fixture.execute(&format!("UPDATE refresh_tokens SET expires_at = {just_over} WHERE {newest}")).await;
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (3, 4));

    assert_eq!(sweep(fixture, RetentionRule::RefreshTokens, 100).await, 2);
    assert_eq!(sweep(fixture, RetentionRule::RefreshTokens, 100).await, 0);
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (2, 2));
    assert!(matches!(sessions.rotate(&token(3).hash, &token(5)).await.unwrap(), Rotation::Rotated { .. }));
    for gone in [1, 2, 4] {
        assert_eq!(sessions.rotate(&token(gone).hash, &token(6)).await.unwrap(), Rotation::Refused);
    }
}

/// Concurrent sweeps delete every row once, and leave no session without tokens.
pub async fn concurrent_sweeps_delete_each_row_once(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    sold(fixture, ana, &world, &[KEPT + 60; 30]).await;
    let sessions = &fixture.stores().sessions;
    for number in 0..20 {
        sessions.open(&user(fixture, ana).await, &token(number)).await.unwrap();
        sessions.rotate(&token(number).hash, &token(100 + number)).await.unwrap();
    }
    run_out(fixture, KEPT + 60).await;
    for (what, rows) in [(RetentionRule::Answers, 30), (RetentionRule::Events, 30), (RetentionRule::RefreshTokens, 40)]
    {
        let mut swept = 0;
        // A sweep skips rows that another sweep has locked, and may find none. Repeat until all sweeps of a round find none.
        loop {
            let round: u32 = join_all((0..4).map(|_| sweep(fixture, what, 3))).await.into_iter().sum();
            swept += round;
            if round == 0 {
                break;
            }
        }
        assert_eq!(swept, rows, "{what:?}");
    }
    assert_eq!((answers(fixture).await, rows(fixture, "outbox").await), (0, 0));
    assert_eq!((rows(fixture, "sessions").await, rows(fixture, "refresh_tokens").await), (0, 0));
}

/// Concurrent sweeps change what a retry is answered, never what is booked.
pub async fn sweeping_during_retries_books_nothing_twice(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 4).await;
    let commands: Vec<_> = (0..40)
        .map(|index| book(callers[index % 4], world.soon, &[world.main[index].id], "k-".repeat(index + 1).as_str()))
        .collect();
    let retention = &fixture.stores().retention;
    sell(fixture.stores(), SIMPLE, async |sellers| {
        for _ in 0..5 {
            // With a retention time of zero an answer is deleted as soon as it is stored.
            let sweeps = join_all((0..8).map(|_| retention.sweep(RetentionRule::Answers, Duration::ZERO, 3)));
            let (outcomes, swept) = futures::join!(sellers.submit_all(commands.clone()), sweeps);
            assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
            assert!(swept.iter().all(Result::is_ok), "{swept:?}");
        }
    })
    .await;
    assert_eq!(tally(fixture).await, Tally { bookings: 40, booking_seats: 40, claims: 40, keys: 40, outbox: 40 });
}

/// A sweep of an unreachable store returns an error, not zero rows.
pub async fn sweeping_reports_an_unreachable_store(fixture: &dyn Fixture) {
    fixture.break_backend().await;
    for what in [
        RetentionRule::Answers,
        RetentionRule::Holds,
        RetentionRule::Tenures,
        RetentionRule::Events,
        RetentionRule::RefreshTokens,
    ] {
        let outcome = fixture.stores().retention.sweep(what, Duration::ZERO, 10).await;
        assert!(matches!(outcome, Err(StoreError::Unavailable(_))), "{what:?}: {outcome:?}");
    }
}
