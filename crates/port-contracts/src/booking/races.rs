//! Many concurrent callers, in every arrangement of committers.

use std::collections::{BTreeMap, BTreeSet};

use domain::booking::{Answer, CommandError, Refusal, Subject, Success};
use domain::identity::Caller;
use domain::ids::{SeatId, ShowId};

use crate::Fixture;
use crate::tools::{MODES, Mode, Outcome, SIMPLE, Tally, book, booked, refused, sell, tally};
use crate::world::{World, customers, ids};

async fn submit_all(fixture: &dyn Fixture, mode: Mode, commands: Vec<domain::booking::Command>) -> Vec<Outcome> {
    sell(fixture.stores(), mode, async |sellers| sellers.submit_all(commands).await).await
}

/// The rows of `bookings` bookings with `seats` seats each.
fn sold(bookings: i64, seats: i64) -> Tally {
    Tally { bookings, booking_seats: bookings * seats, claims: bookings * seats, keys: bookings, outbox: bookings }
}

/// One large batch and many small ones store all bookings alike.
pub async fn forty_concurrent_bookings_are_all_stored(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 4).await;
    for (mode, show) in [(SIMPLE, world.soon), (MODES[5], world.later)] {
        let seats = if show == world.soon { &world.main } else { &world.beta };
        let commands: Vec<_> =
            (0..40).map(|n| book(callers[n % 4], show, &[seats[n].id], &format!("{show} {n}"))).collect();
        let outcomes = submit_all(fixture, mode, commands).await;
        let bookings: BTreeMap<_, _> =
            outcomes.iter().map(booked).map(|(id, body, replayed)| (id, (body, replayed))).collect();
        assert_eq!(bookings.len(), 40, "{mode:?}");
        assert!(bookings.values().all(|(_, replayed)| !replayed));
    }
    assert_eq!(tally(fixture).await, sold(80, 1));
    assert_eq!(fixture.count("SELECT count(DISTINCT reference) FROM bookings").await, 80);
}

/// One of fifty callers gets the seat, and the others are refused with `SeatUnavailable`.
pub async fn of_many_callers_of_one_seat_one_gets_it(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 50).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let seat = world.main[index].id;
        let commands =
            callers.iter().map(|caller| book(*caller, world.soon, &[seat], &format!("seat {seat}"))).collect();
        let outcomes = submit_all(fixture, mode, commands).await;
        let winners = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        assert_eq!(winners, 1, "{mode:?}: {outcomes:?}");
        for loser in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert_eq!(refused(loser), Refusal::SeatUnavailable { seat_ids: vec![seat], hold_id: None }, "{mode:?}");
        }
    }
    assert_eq!(tally(fixture).await, sold(6, 1));
}

/// Overlapping selections in every order, repeatedly: each command gets all of its seats or none, and fails for no other reason.
pub async fn overlapping_selections_are_all_or_nothing(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 8).await;
    for mode in MODES {
        for round in 0..8 {
            let row = world.row(round % 6);
            let backwards: Vec<_> = row.iter().rev().copied().collect();
            let wanted = [
                &row[..6],
                &backwards[..6],
                &row[4..],
                &backwards[4..],
                &row[2..8],
                &backwards[2..8],
                &row[..2],
                &backwards[..2],
            ];
            let commands = callers
                .iter()
                .zip(wanted)
                .map(|(caller, seats)| book(*caller, world.soon, seats, &format!("{mode:?} {round}")))
                .collect();
            let outcomes = submit_all(fixture, mode, commands).await;
            check_all_or_nothing(&outcomes, &wanted, mode);
            let won: usize =
                outcomes.iter().zip(wanted).filter(|(outcome, _)| outcome.is_ok()).map(|(_, seats)| seats.len()).sum();
            let claims = fixture.count("SELECT count(*) FROM seat_claims").await;
            assert_eq!(usize::try_from(claims).unwrap(), won, "{mode:?}");
            fixture.execute("DELETE FROM seat_claims").await;
        }
    }
    let after = tally(fixture).await;
    assert_eq!((after.bookings, after.bookings), (after.keys, after.outbox));
}

fn check_all_or_nothing(outcomes: &[Outcome], wanted: &[&[SeatId]], mode: Mode) {
    let won: Vec<_> = outcomes
        .iter()
        .zip(wanted)
        .filter(|(outcome, _)| outcome.is_ok())
        .flat_map(|(_, seats)| seats.iter())
        .collect();
    let distinct: BTreeSet<_> = won.iter().collect();
    assert_eq!(distinct.len(), won.len(), "a seat sold twice, {mode:?}");
    assert!(!won.is_empty(), "somebody wins, {mode:?}: {outcomes:?}");
    for (outcome, seats) in outcomes.iter().zip(wanted).filter(|(outcome, _)| outcome.is_err()) {
        let Refusal::SeatUnavailable { seat_ids, .. } = refused(outcome) else { panic!("{mode:?}: {outcome:?}") };
        let lost: Vec<_> = seats.iter().copied().filter(|seat| won.contains(&seat)).collect();
        assert!(
            !seat_ids.is_empty() && seat_ids.iter().all(|seat| lost.contains(seat)),
            "{mode:?}: {seat_ids:?} of {lost:?}"
        );
    }
}

/// Fifty concurrent requests that are identical, key included, create one booking.
pub async fn fifty_identical_requests_create_one_booking(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 1).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let command = book(callers[0], world.soon, &world.row(index)[..3], &format!("{index}"));
        let outcomes: Vec<_> = submit_all(fixture, mode, vec![command; 50]).await.iter().map(booked).collect();
        let (id, body, _) = &outcomes[0];
        assert!(outcomes.iter().all(|outcome| (&outcome.0, &outcome.1) == (id, body)), "{mode:?}");
        assert_eq!(outcomes.iter().filter(|outcome| !outcome.2).count(), 1, "{mode:?}: one is the first");
    }
    assert_eq!(tally(fixture).await, sold(6, 3));
}

/// A pseudo-random sequence that is the same in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

fn any_command(dice: &mut Dice, world: &World, callers: &[Caller], round: usize) -> domain::booking::Command {
    let (show, seats) = match dice.roll(8) {
        0 => (world.started, &world.main),
        1 => (ShowId(987_654), &world.main),
        2 => (world.later, &world.main),
        3 | 4 => (world.later, &world.beta),
        _ => (world.soon, &world.main),
    };
    let first = dice.roll(30);
    let mut wanted = ids(&seats[first..first + 1 + dice.roll(4)]);
    if dice.roll(2) == 0 {
        wanted.reverse();
    }
    // Few keys, so that some are repeated, with the same request or with another one.
    book(callers[dice.roll(callers.len())], show, &wanted, &format!("{round} {}", dice.roll(40)))
}

/// After many random commands the tables are consistent, and every acknowledged booking is stored.
pub async fn storm_creates_an_outbox_row_for_each_booking(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 5).await;
    let mut dice = Dice(42);
    let mut acknowledged = BTreeSet::new();
    for (round, mode) in MODES.into_iter().enumerate() {
        let commands = (0..100).map(|_| any_command(&mut dice, &world, &callers, round)).collect();
        for outcome in submit_all(fixture, mode, commands).await {
            match outcome {
                Ok(Success::Answered(Answer { subject: Subject::Booking(booking_id), .. })) => {
                    _ = acknowledged.insert(booking_id.0);
                }
                Err(CommandError::Refused(_)) => {}
                other => panic!("{mode:?}: {other:?}"),
            }
        }
    }
    let after = tally(fixture).await;
    let bookings = i64::try_from(acknowledged.len()).unwrap();
    assert_eq!(after, Tally { booking_seats: after.claims, claims: after.claims, ..sold(bookings, 1) });
    assert!(bookings > 6, "{after:?}");
    let related = "SELECT count(*) FROM bookings b
        JOIN outbox o ON o.booking_id = b.id AND o.show_id = b.show_id
        JOIN idempotency_keys k ON k.booking_id = b.id AND k.user_id = b.user_id
        WHERE b.status = 'confirmed'
        AND (SELECT count(*) FROM seat_claims c WHERE c.booking_id = b.id AND c.show_id = b.show_id AND c.user_id = b.user_id)
          = (SELECT count(*) FROM booking_seats s WHERE s.booking_id = b.id)";
    assert_eq!(fixture.count(related).await, after.bookings);
    let matched = "SELECT count(*) FROM booking_seats s JOIN seat_claims c ON c.booking_id = s.booking_id AND c.seat_id = s.seat_id";
    assert_eq!(fixture.count(matched).await, after.booking_seats);
}
