//! Cases of the limits of one account: held seats, the time a seat is held, and cancellations.

use chrono::TimeDelta;
use domain::booking::{Action, Command, Hold, HoldId, HoldSeats, Refusal, Rules, ShowBooking, WantedSeats, WriteError};
use domain::identity::Caller;
use domain::ids::{BookingId, SeatId, ShowId};

use crate::Fixture;
use crate::tools::{
    MODES, Mode, Outcome, RULES, SIMPLE, UniqueRandom, book, booked, command, decided, held, refused, selection, sell,
};
use crate::world::{World, cancel_show, customer, customers, ids};

/// Two servers that share nothing but the store.
const TWO_SERVERS: Mode = MODES[5];

async fn submit(fixture: &dyn Fixture, command: Command) -> Outcome {
    sell(fixture.stores(), SIMPLE, async |sellers| sellers.submit(command).await).await
}

async fn submit_all(fixture: &dyn Fixture, mode: Mode, commands: Vec<Command>) -> Vec<Outcome> {
    sell(fixture.stores(), mode, async |sellers| sellers.submit_all(commands).await).await
}

fn hold_these(caller: Caller, show_id: ShowId, seats: &[SeatId]) -> Command {
    command(caller, Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(selection(seats).into()) }), "")
}

fn on_hold(caller: Caller, action: fn(HoldId) -> Action, id: &HoldId) -> Command {
    command(caller, action(id.clone()), "")
}

/// The limit counts the seats of all shows, also for concurrent holds at several servers.
pub async fn a_caller_holds_a_limited_number_of_seats_over_all_shows(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let rules = Rules { held_seats_max: 7, ..RULES };
    let (soon, later) = (ids(&world.main), ids(&world.beta));
    for (index, mode) in MODES.into_iter().enumerate() {
        let mode = Mode { rules, ..mode };
        let callers = customers(fixture, 2).await;
        // Eight holds of two seats are requested, of which three fit the limit of seven seats.
        let places = [(world.soon, &soon[8 * index..]), (world.later, &later[8 * index..])];
        let asked = places.iter().flat_map(|(show, seats)| {
            seats.chunks(2).take(4).map(|seats| hold_these(callers[0], *show, seats)).collect::<Vec<_>>()
        });
        let outcomes = submit_all(fixture, mode, asked.collect()).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{mode:?}: {outcomes:?}");
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            let Refusal::HeldSeatsLimit { held: 6, max: 7, retry_in } = refused(outcome) else {
                panic!("{mode:?}: {outcome:?}")
            };
            assert!(TimeDelta::zero() < retry_in && retry_in <= RULES.hold_ttl, "{retry_in}");
        }
        let holds = fixture.stores().holds.holds(callers[0].user_id).await.unwrap();
        assert_eq!(holds.iter().map(|hold| hold.seats.len()).sum::<usize>(), 6);
        // Extending creates no new hold, a booking frees the held seats, and other callers have their own limits.
        let extend = submit_all(fixture, mode, vec![on_hold(callers[0], Action::Extend, &holds[0].id)]).await;
        held(&extend[0]);
        let more = hold_these(callers[0], world.tomorrow, &ids(&world.small)[..2]);
        let refusal = refused(&submit_all(fixture, mode, vec![more.clone()]).await[0]);
        assert!(matches!(refusal, Refusal::HeldSeatsLimit { .. }), "{refusal:?}");
        booked(&submit(fixture, on_hold(callers[0], Action::Redeem, &holds[1].id)).await);
        let (id, ..) = held(&submit_all(fixture, mode, vec![more]).await[0]);
        submit(fixture, on_hold(callers[0], Action::Release, &id)).await.unwrap();
        let other = hold_these(callers[1], world.tomorrow, &ids(&world.small)[..2]);
        let (id, ..) = held(&submit_all(fixture, mode, vec![other]).await[0]);
        submit(fixture, on_hold(callers[1], Action::Release, &id)).await.unwrap();
    }
}

/// The way in which an account gives up a seat.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum LetGo {
    Release,
    RunOut,
    RedeemAndCancel,
    Cancel,
    Change,
}

impl LetGo {
    const ALL: [Self; 5] = [Self::Release, Self::RunOut, Self::RedeemAndCancel, Self::Cancel, Self::Change];

    /// Makes the account take the first seat `minutes` ago and give it up now.
    async fn run(self, fixture: &dyn Fixture, caller: Caller, world: &World, seats: &[SeatId], minutes: i64) {
        let began = fixture.instant(-60 * minutes);
        let user = caller.user_id;
        if matches!(self, Self::Cancel | Self::Change) {
            let (booking_id, ..) = booked(&submit(fixture, book(caller, world.soon, &seats[..1], "")).await);
            fixture.execute(&format!("UPDATE bookings SET booked_at = {began} WHERE id = {booking_id}")).await;
            let booking = ShowBooking { show_id: world.soon, booking_id };
            let action = match self {
                Self::Cancel => Action::Cancel(booking),
                _ => Action::Change(booking, selection(&seats[1..2])),
            };
            booked(&submit(fixture, command(caller, action, "")).await);
            return;
        }
        let (id, ..) = held(&submit(fixture, hold_these(caller, world.soon, &seats[..1])).await);
        let place = format!("show_id = {} AND user_id = {user}", world.soon);
        fixture.execute(&format!("UPDATE holds SET created_at = {began} WHERE {place}")).await;
        match self {
            Self::Release => _ = held(&submit(fixture, on_hold(caller, Action::Release, &id)).await),
            Self::RedeemAndCancel => {
                let (booking_id, ..) = booked(&submit(fixture, on_hold(caller, Action::Redeem, &id)).await);
                let cancel = Action::Cancel(ShowBooking { show_id: world.soon, booking_id });
                booked(&submit(fixture, command(caller, cancel, "")).await);
            }
            _ => {
                let over = fixture.instant(-1);
                for table in ["holds", "seat_claims"] {
                    let over =
                        format!("UPDATE {table} SET expires_at = {over} WHERE expires_at IS NOT NULL AND {place}");
                    fixture.execute(&over).await;
                }
            }
        }
    }
}

/// However the seat was given up, one account holds the same seat for thirty minutes at most in total, on every server.
pub async fn seat_hold_time_continues_if_a_released_seat_is_held_again(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, way) in LetGo::ALL.into_iter().enumerate() {
        let (ana, bo) = (customer(fixture).await, customer(fixture).await);
        let row = world.row(index);
        way.run(fixture, ana, &world, &row, 25).await;
        let again = |caller| submit_all(fixture, TWO_SERVERS, vec![hold_these(caller, world.soon, &row[..1])]);
        let time = async |caller: Caller| -> (Hold, TimeDelta) {
            let (id, ..) = held(&again(caller).await[0]);
            let hold = fixture.stores().holds.hold(caller.user_id, &id).await.unwrap().unwrap();
            let time = hold.expires_at - hold.created_at;
            (hold, time)
        };
        let (hold, left) = time(ana).await;
        // The case itself takes less than a minute.
        assert!((4 * 60..=5 * 60).contains(&left.num_seconds()), "{way:?}: {left}");
        // Extending does not lengthen the time either.
        held(&submit(fixture, on_hold(ana, Action::Extend, &hold.id)).await);
        let extended = fixture.stores().holds.hold(ana.user_id, &hold.id).await.unwrap();
        assert_eq!(extended, Some(hold.clone()), "{way:?}");
        held(&submit(fixture, on_hold(ana, Action::Release, &hold.id)).await);
        // The time of another account is counted separately.
        let (hold, full) = time(bo).await;
        assert_eq!(full, RULES.hold_ttl, "{way:?}");
        held(&submit(fixture, on_hold(bo, Action::Release, &hold.id)).await);
        // The same six minutes later, and after the time no longer counts.
        let past = |minutes: i64| {
            let (since, until) = (fixture.instant(-60 * (minutes + 25)), fixture.instant(-60 * minutes));
            format!("UPDATE seat_tenures SET since = {since}, until = {until} WHERE user_id = {}", ana.user_id)
        };
        let over = fixture.instant(-6 * 60);
        let holds = format!("UPDATE holds SET expires_at = {over} WHERE user_id = {}", ana.user_id);
        fixture.execute(&holds).await;
        fixture.execute(&past(6)).await;
        let Refusal::SeatHoldTimeUsed { seat_ids, retry_in } = refused(&again(ana).await[0]) else { panic!("{way:?}") };
        assert_eq!(seat_ids, row[..1], "{way:?}");
        assert!((3 * 60..=4 * 60).contains(&retry_in.num_seconds()), "{way:?}: {retry_in}");
        fixture.execute(&past(11)).await;
        fixture.execute(&format!("DELETE FROM holds WHERE user_id = {}", ana.user_id)).await;
        assert_eq!(time(ana).await.1, RULES.hold_ttl, "{way:?}");
    }
}

/// The limit also applies to an account that alternates between two shows.
pub async fn alternating_holds_keep_no_seat_longer_than_thirty_minutes(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let places = [(world.soon, world.main[0].id), (world.later, world.beta[0].id)];
    for round in 0..12 {
        for (show, seat) in places {
            let outcome = submit_all(fixture, TWO_SERVERS, vec![hold_these(ana, show, &[seat])]).await.remove(0);
            // Eight holds of four minutes exceed thirty minutes.
            if round >= 8 {
                assert!(matches!(refused(&outcome), Refusal::SeatHoldTimeUsed { .. }), "{round}: {outcome:?}");
            } else {
                submit(fixture, on_hold(ana, Action::Release, &held(&outcome).0)).await.unwrap();
            }
        }
        // Move the beginning of each tenure back, as if each hold had lasted four minutes.
        let began = fixture.instant(-4 * 60 * (round + 1));
        fixture.execute(&format!("UPDATE seat_tenures SET since = {began}")).await;
    }
}

fn cancel(caller: Caller, show_id: ShowId, booking_id: BookingId) -> Command {
    command(caller, Action::Cancel(ShowBooking { show_id, booking_id }), "")
}

/// The limit counts the cancellations of one day over all shows, also for concurrent ones at several servers.
pub async fn a_caller_cancels_a_limited_number_of_bookings_a_day(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let rules = Rules { cancellations_max: 3, ..RULES };
    for (index, mode) in MODES.into_iter().enumerate() {
        let mode = Mode { rules, ..mode };
        let ana = customer(fixture).await;
        let mut bookings = Vec::new();
        for n in 0..8 {
            let (show, seats) = if n % 2 == 0 { (world.soon, &world.main) } else { (world.later, &world.beta) };
            let (id, ..) = booked(&submit(fixture, book(ana, show, &[seats[8 * index + n].id], "")).await);
            bookings.push((show, id));
        }
        let asked = bookings.iter().map(|(show, id)| cancel(ana, *show, *id)).collect();
        let outcomes = submit_all(fixture, mode, asked).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{mode:?}: {outcomes:?}");
        let day = Rules::CANCELLATIONS_COUNTED;
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            let Refusal::CancellationLimit { max: 3, retry_in } = refused(outcome) else { panic!("{outcome:?}") };
            assert!(day - TimeDelta::minutes(2) < retry_in && retry_in <= day, "{retry_in}");
        }
        let left: Vec<_> =
            bookings.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_err()).map(|(at, _)| *at).collect();
        // After a day the cancellations no longer count.
        let over = fixture.instant(-24 * 3600);
        let age = format!("UPDATE bookings SET cancelled_at = {over} WHERE user_id = {}", ana.user_id);
        fixture.execute(&format!("{age} AND cancelled_at IS NOT NULL")).await;
        let asked = left.iter().map(|(show, id)| cancel(ana, *show, *id)).collect();
        let outcomes = submit_all(fixture, mode, asked).await;
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 3, "{mode:?}: {outcomes:?}");
    }
}

/// Cancellations by the house, and cancellations of bookings of a cancelled show, do not count.
pub async fn cancellations_by_the_house_are_not_counted(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let mode = Mode { rules: Rules { cancellations_max: 1, ..RULES }, ..SIMPLE };
    let ana = customer(fixture).await;
    let mut bookings = Vec::new();
    for seat in &world.main[..3] {
        bookings.push(booked(&submit(fixture, book(ana, world.soon, &[seat.id], "")).await).0);
    }
    let (other, ..) = booked(&submit(fixture, book(ana, world.later, &[world.beta[0].id], "")).await);
    // The house cancels with SQL, not through the program.
    let house =
        format!("UPDATE bookings SET status = 'cancelled', cancelled_at = booked_at WHERE id = {}", bookings[0]);
    fixture.execute(&house).await;
    cancel_show(fixture, world.soon).await;
    for booking in &bookings[1..] {
        booked(&submit_all(fixture, mode, vec![cancel(ana, world.soon, *booking)]).await[0]);
    }
    booked(&submit_all(fixture, mode, vec![cancel(ana, world.later, other)]).await[0]);
    let (last, ..) = booked(&submit(fixture, book(ana, world.later, &[world.beta[1].id], "")).await);
    let refusal = refused(&submit_all(fixture, mode, vec![cancel(ana, world.later, last)]).await[0]);
    assert!(matches!(refusal, Refusal::CancellationLimit { max: 1, .. }), "{refusal:?}");
}

/// A batch is stale if the rows that its limits were computed from have changed since the read, on any show.
pub async fn limits_that_changed_before_the_write_are_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let (soon, ..) = booked(&submit(fixture, book(ana, world.soon, &[world.main[0].id], "")).await);
    let (later, ..) = booked(&submit(fixture, book(ana, world.later, &[world.beta[0].id], "")).await);
    let asked = [
        (hold_these(ana, world.soon, &[world.main[1].id]), hold_these(ana, world.later, &[world.beta[1].id])),
        (cancel(ana, world.soon, soon), cancel(ana, world.later, later)),
    ];
    for (late, first) in asked {
        let decision = decided(fixture.stores(), &RULES, &UniqueRandom::new(), &[late]).await;
        assert!(decision.outcomes[0].is_ok(), "{:?}", decision.outcomes);
        submit(fixture, first).await.unwrap();
        let rows = "SELECT (SELECT count(*) FROM holds) + (SELECT count(*) FROM bookings WHERE status = 'cancelled')";
        let before = fixture.count(rows).await;
        let written = fixture.stores().batches[0].write(&decision.changes).await;
        assert!(matches!(written, Err(WriteError::Stale(_))), "{written:?}");
        assert_eq!(fixture.count(rows).await, before);
    }
}
