//! Holds, what becomes of them, and what becomes of bookings afterwards: by the rules, and all mixed.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::TimeDelta;
use proptest::prelude::*;

use super::counter_tests::{block, cash, correct, unblock};
use super::decide_tests::{
    OPEN, OTHER, acting, command, commit, decide_by, decide_in, layout, layouts, layouts_with_love_seats, new_state,
    now, place, prepare_nth, selection,
};
use super::*;
use crate::ids::{BookingId, LayoutId, SeatId, ShowId, UserId};
use crate::seating::{CategoryPrice, Layout, SeatWish, gaps_left};

/// A store that commits each command by itself, on a clock that the test moves.
pub(super) struct House {
    pub(super) rules: Rules,
    layouts: HashMap<LayoutId, Arc<Layout>>,
    pub(super) state: Snapshot,
    next: i64,
}

impl House {
    pub(super) fn new() -> Self {
        Self { rules: Rules::default(), layouts: layouts(), state: new_state(), next: 0 }
    }

    pub(super) fn with_love_seats() -> Self {
        Self { layouts: layouts_with_love_seats(), ..Self::new() }
    }

    pub(super) fn forbidding_gaps() -> Self {
        Self { rules: Rules { seat_gaps: SeatGapRule::Forbid, ..Rules::default() }, ..Self::new() }
    }

    /// Does what a user asks for without a key.
    pub(super) fn ask(&mut self, user: i64, action: Action) -> Result<Success, Refusal> {
        self.submit(acting(user, action, ""))
    }

    pub(super) fn submit(&mut self, command: Command) -> Result<Success, Refusal> {
        self.next += 1;
        let prepared = [prepare_nth(command, self.next)];
        let Decision { changes, mut outcomes } = decide_in(&self.layouts, &self.rules, &self.state, &prepared);
        assert!(outcomes[0].is_ok() || changes.is_empty());
        commit(&changes, &mut self.state);
        outcomes.remove(0)
    }

    pub(super) fn hold(&mut self, user: i64, seats: &[i64]) -> Result<HoldId, Refusal> {
        made(self.ask(user, hold_seats(seats))?).hold_id().cloned().ok_or_else(|| panic!("no hold"))
    }

    pub(super) fn book(&mut self, user: i64, seats: &[i64]) -> ShowBooking {
        let answer = self.submit(command(user, OPEN, seats, &format!("{}", self.next))).unwrap();
        ShowBooking { show_id: ShowId(OPEN), booking_id: made(answer).booking_id().unwrap() }
    }

    pub(super) fn pass(&mut self, time: TimeDelta) {
        self.state.now += time;
    }

    pub(super) fn show(&mut self) -> &mut ShowOffer {
        self.state.shows.get_mut(&ShowId(OPEN)).unwrap()
    }

    /// Returns the live claims of the show by seat: whose they are, and what.
    pub(super) fn claims(&self) -> Vec<(i64, i64, &'static str)> {
        let live = self.state.claims.iter().filter(|(_, claim)| claim.is_live(self.state.now));
        let mut claims: Vec<_> = live
            .map(|((_, seat), claim)| (seat.0, claim.user_id().unwrap_or(UserId(0)).0, claim.status().as_str()))
            .collect();
        claims.sort_unstable();
        claims
    }
}

pub(super) fn made(answer: Success) -> Subject {
    match answer {
        Success::Answered(Answer { subject, .. }) | Success::AnswerDeleted(subject) => subject,
    }
}

fn hold_seats(seats: &[i64]) -> Action {
    hold_seats_of(OPEN, seats)
}

fn hold_seats_of(show: i64, seats: &[i64]) -> Action {
    Action::Hold(HoldSeats { show_id: ShowId(show), seats: WantedSeats::These(selection(seats).into()) })
}

pub(super) fn best(quantity: usize) -> Action {
    let wish = SeatWish { quantity, category: None, accessible: None };
    Action::Hold(HoldSeats { show_id: ShowId(OPEN), seats: WantedSeats::Best(wish) })
}

pub(super) fn seats(ids: &[i64]) -> Vec<SeatId> {
    ids.iter().copied().map(SeatId).collect()
}

pub(super) fn unavailable(ids: &[i64], hold_id: Option<HoldId>) -> Refusal {
    Refusal::SeatUnavailable { seat_ids: seats(ids), hold_id }
}

#[test]
fn a_hold_keeps_its_seats_for_its_owner_to_book_once() {
    let mut house = House::new();
    let hold = house.hold(1, &[3, 2]).unwrap();
    let kept = house.state.holds[&hold].clone();
    assert_eq!((kept.created_at, kept.expires_at), (now(), now() + TimeDelta::minutes(10)));
    assert_eq!(
        (kept.seats.iter().map(|seat| seat.id.0).collect::<Vec<_>>(), kept.total().to_string()),
        (vec![3, 2], "25.00".into())
    );
    assert_eq!(house.claims(), [(2, 1, "held"), (3, 1, "held")]);
    assert_eq!(house.hold(2, &[1, 2]), Err(unavailable(&[2], None)));
    assert_eq!(house.submit(command(2, OPEN, &[3], "k")), Err(unavailable(&[3], None)));
    // The refusal names the owner's own hold.
    assert_eq!(house.submit(command(1, OPEN, &[3, 4], "k")), Err(unavailable(&[3], Some(hold.clone()))));
    assert_eq!(house.ask(2, Action::Redeem(hold.clone())), Err(Refusal::HoldNotFound));
    assert_eq!(house.ask(2, Action::Extend(hold.clone())), Err(Refusal::HoldNotFound));
    assert_eq!(house.ask(2, Action::Release(hold.clone())), Err(Refusal::HoldNotFound));
    // The price is that of the hold.
    house.show().prices.set(CategoryPrice::adult("standard", 9999));
    let booking = made(house.submit(acting(1, Action::Redeem(hold.clone()), "redeem")).unwrap()).booking_id().unwrap();
    let booking = &house.state.bookings[&booking];
    assert_eq!((booking.total().to_string(), booking.seats.clone()), ("25.00".into(), kept.seats));
    assert_eq!(house.claims(), [(2, 1, "booked"), (3, 1, "booked")]);
    assert!(house.state.holds.is_empty());
    for action in [Action::Redeem, Action::Extend, Action::Release] {
        assert_eq!(house.ask(1, action(hold.clone())), Err(Refusal::HoldNotFound));
    }
    let again = house.submit(acting(1, Action::Redeem(hold), "redeem"));
    assert!(matches!(again, Ok(Success::Answered(Answer { replayed: true, .. }))), "{again:?}");
}

#[test]
fn a_hold_is_over_at_its_very_instant() {
    let mut house = House::new();
    let hold = house.hold(1, &[1]).unwrap();
    house.pass(TimeDelta::minutes(10) - TimeDelta::microseconds(1));
    assert_eq!(house.hold(2, &[1]), Err(unavailable(&[1], None)));
    house.pass(TimeDelta::microseconds(1));
    assert_eq!(house.ask(1, Action::Redeem(hold.clone())), Err(Refusal::HoldExpired));
    assert_eq!(house.ask(1, Action::Extend(hold.clone())), Err(Refusal::HoldExpired));
    assert_eq!(house.ask(1, Action::Release(hold.clone())), Err(Refusal::HoldNotFound));
    let other = house.hold(2, &[1, 2]).unwrap();
    assert_eq!(house.claims(), [(1, 2, "held"), (2, 2, "held")]);
    assert_eq!(house.ask(1, Action::Redeem(hold)), Err(Refusal::HoldExpired));
    assert!(house.ask(2, Action::Release(other)).is_ok());
    assert_eq!(house.claims(), []);
    assert!(house.hold(1, &[1]).is_ok());
}

#[test]
fn a_hold_lasts_thirty_minutes_at_most_and_never_beyond_the_sale() {
    let mut house = House::new();
    let hold = house.hold(1, &[1, 2]).unwrap();
    let expires = |house: &House| (house.state.holds[&hold].expires_at - now()).num_minutes();
    assert_eq!(expires(&house), 10);
    for (wait, expected) in [(5, 15), (9, 24), (9, 30), (1, 30)] {
        house.pass(TimeDelta::minutes(wait));
        assert!(house.ask(1, Action::Extend(hold.clone())).is_ok());
        assert_eq!(expires(&house), expected);
    }
    assert!(house.claims().iter().all(|(_, user, status)| (*user, *status) == (1, "held")));
    house.show().sales_close_at = Some(now() + TimeDelta::minutes(27));
    let short = house.hold(2, &[9]).unwrap();
    assert_eq!((house.state.holds[&short].expires_at - now()).num_minutes(), 27);
    house.pass(TimeDelta::minutes(3));
    assert_eq!(house.ask(2, Action::Redeem(short)), Err(Refusal::HoldExpired));
    assert_eq!(house.ask(1, Action::Redeem(hold)), Err(Refusal::SalesClosed));
}

#[test]
fn show_sales_open_and_close_on_time() {
    let mut house = House::new();
    let open_at = now() + TimeDelta::minutes(5);
    house.show().sales_open_at = Some(open_at);
    house.show().sales_close_at = Some(now() + TimeDelta::minutes(20));
    assert_eq!(house.hold(1, &[1]), Err(Refusal::SalesNotOpen { open_at }));
    assert_eq!(house.submit(command(1, OPEN, &[1], "k")), Err(Refusal::SalesNotOpen { open_at }));
    house.pass(TimeDelta::minutes(5));
    assert!(house.submit(command(1, OPEN, &[1], "k")).is_ok());
    house.pass(TimeDelta::minutes(15));
    assert_eq!(house.submit(command(1, OPEN, &[2], "l")), Err(Refusal::SalesClosed));
    assert_eq!(house.ask(1, best(1)), Err(Refusal::SalesClosed));
    // A show whose sale would end after it began is sold until then.
    house.show().sales_close_at = Some(now() + TimeDelta::hours(5));
    assert!(house.submit(command(1, OPEN, &[2], "l")).is_ok());
    house.pass(TimeDelta::minutes(40));
    assert_eq!(house.submit(command(1, OPEN, &[3], "m")), Err(Refusal::SalesClosed));
}

#[test]
fn a_caller_holds_as_many_seats_of_a_show_as_a_booking_may_have() {
    let mut house = House::new();
    let first = house.hold(1, &[1, 2, 3, 4, 5, 6]).unwrap();
    assert_eq!(house.hold(1, &[11, 12, 13, 14, 15]), Err(Refusal::TooManyHeld { held: 6, max: 10 }));
    assert_eq!(house.ask(1, best(5)), Err(Refusal::TooManyHeld { held: 6, max: 10 }));
    assert!(house.hold(1, &[11, 12, 13, 14]).is_ok());
    assert!(house.hold(2, &[21]).is_ok());
    assert_eq!(house.hold(1, &[31]), Err(Refusal::TooManyHeld { held: 10, max: 10 }));
    assert!(house.ask(1, Action::Release(first)).is_ok());
    assert!(house.hold(1, &[31]).is_ok());
    house.pass(TimeDelta::minutes(10));
    assert!(house.ask(1, best(10)).is_ok());
}

#[test]
fn a_caller_holds_a_limited_number_of_seats_over_all_shows() {
    let mut house = House::new();
    house.rules.held_seats_max = 12;
    let first = house.hold(1, &[1, 2]).unwrap();
    house.pass(TimeDelta::minutes(4));
    assert!(house.ask(1, hold_seats_of(OTHER, &[1, 2, 3, 4, 5, 6, 7])).is_ok());
    house.pass(TimeDelta::minutes(1));
    let limit = |held, retry_in| Err(Refusal::HeldSeatsLimit { held, max: 12, retry_in });
    // Of 9 two run out in five minutes, and the other seven four minutes later.
    assert_eq!(house.ask(1, hold_seats(&[11, 12, 13, 14])), limit(9, TimeDelta::minutes(5)));
    assert_eq!(house.ask(1, best(6)), limit(9, TimeDelta::minutes(9)));
    // Whatever else stands in the way comes first.
    house.hold(2, &[11]).unwrap();
    assert_eq!(house.ask(1, hold_seats(&[11, 12, 13, 14])), Err(unavailable(&[11], None)));
    assert!(house.ask(1, hold_seats(&[12, 13, 14])).is_ok());
    assert!(house.ask(1, Action::Extend(first.clone())).is_ok(), "a hold that is extended holds no more seats");
    assert_eq!(house.ask(1, hold_seats(&[21])), limit(12, TimeDelta::minutes(9)));
    // A hold that is booked counts no longer.
    assert!(house.ask(1, Action::Redeem(first)).is_ok());
    assert!(house.ask(1, hold_seats(&[21, 22])).is_ok());
    assert_eq!(house.ask(1, hold_seats(&[23])), limit(12, TimeDelta::minutes(9)));
    house.pass(TimeDelta::minutes(9));
    assert!(house.ask(1, hold_seats(&[23])).is_ok());
}

fn used_up(ids: &[i64], minutes: i64) -> Refusal {
    Refusal::SeatHoldTimeUsed { seat_ids: seats(ids), retry_in: TimeDelta::minutes(minutes) }
}

impl House {
    /// Holds seats, and returns in how many minutes the hold runs out.
    fn hold_for(&mut self, user: i64, ids: &[i64]) -> Result<i64, Refusal> {
        let hold = self.hold(user, ids)?;
        Ok((self.state.holds[&hold].expires_at - self.state.now).num_minutes())
    }

    fn release_all(&mut self, user: i64) {
        let mine = |hold: &&Hold| hold.user_id == UserId(user) && hold.is_live(self.state.now);
        let mine: Vec<_> = self.state.holds.values().filter(mine).map(|hold| hold.id.clone()).collect();
        for hold in mine {
            self.ask(user, Action::Release(hold)).unwrap();
        }
    }
}

#[test]
fn a_seat_that_is_released_and_held_again_is_held_thirty_minutes_in_all() {
    let mut house = House::new();
    house.rules.hold_ttl = TimeDelta::minutes(20);
    house.show().start_time = now() + TimeDelta::hours(9);
    let mut left = Vec::new();
    for _ in 0..6 {
        left.push(house.hold_for(1, &[1]).unwrap());
        house.pass(TimeDelta::minutes(5));
        house.release_all(1);
    }
    assert_eq!(left, [20, 20, 20, 15, 10, 5]);
    assert_eq!(house.hold(1, &[1]), Err(used_up(&[1], 10)));
    // The limit does not apply to other users, other seats or the same seat at another show.
    assert_eq!(house.hold_for(2, &[1]), Ok(20));
    house.release_all(2);
    assert!(house.ask(1, hold_seats_of(OTHER, &[1])).is_ok());
    assert_eq!(house.hold_for(1, &[2]), Ok(20));
    // A hold of several seats ends with the first that must.
    house.pass(TimeDelta::minutes(10) - TimeDelta::microseconds(1));
    let refused = Refusal::SeatHoldTimeUsed { seat_ids: seats(&[1]), retry_in: TimeDelta::microseconds(1) };
    assert_eq!(house.hold(1, &[3, 1]), Err(refused));
    house.pass(TimeDelta::microseconds(1));
    house.release_all(1);
    assert_eq!(house.hold_for(1, &[1, 2]), Ok(20));
    house.pass(TimeDelta::minutes(10));
    house.release_all(1);
    assert_eq!(house.hold_for(1, &[3, 2]), Ok(10), "the second seat was held for twenty minutes");
}

#[test]
fn a_seat_whose_hold_ran_out_and_is_held_again_is_held_thirty_minutes_in_all() {
    let mut house = House::new();
    let hold = house.hold(1, &[1]).unwrap();
    house.pass(TimeDelta::minutes(9));
    assert!(house.ask(1, Action::Extend(hold)).is_ok());
    house.pass(TimeDelta::minutes(14));
    let hold = house.hold(1, &[1]).unwrap();
    let ends = house.state.holds[&hold].expires_at;
    assert_eq!((ends - now()).num_minutes(), 30, "nineteen minutes, four between, and the seven that are left");
    // Nor does it last longer by being extended.
    assert!(house.ask(1, Action::Extend(hold.clone())).is_ok());
    assert_eq!(house.state.holds[&hold].expires_at, ends);
    house.pass(TimeDelta::minutes(16));
    assert_eq!(house.hold(1, &[1]), Err(used_up(&[1], 1)));
    house.pass(TimeDelta::minutes(1));
    assert_eq!(house.hold_for(1, &[1]), Ok(10));
}

#[test]
fn a_seat_that_was_booked_and_cancelled_counts_from_its_hold() {
    let mut house = House::new();
    house.show().start_time = now() + TimeDelta::hours(9);
    let hold = house.hold(1, &[1, 2]).unwrap();
    house.pass(TimeDelta::minutes(8));
    let booking_id = made(house.ask(1, Action::Redeem(hold)).unwrap()).booking_id().unwrap();
    house.pass(TimeDelta::minutes(17));
    let booking = ShowBooking { show_id: ShowId(OPEN), booking_id };
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    house.pass(TimeDelta::minutes(2));
    assert_eq!(house.hold_for(1, &[1]), Ok(3));
    house.pass(TimeDelta::minutes(3));
    assert_eq!(house.hold(1, &[1, 2]), Err(used_up(&[1, 2], 10)));
    // Without a hold before it, a booking counts from its own beginning, and it can be made again at any time.
    let booking = house.book(1, &[3]);
    house.pass(TimeDelta::minutes(29));
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    assert_eq!(house.hold_for(1, &[3]), Ok(1));
    house.release_all(1);
    house.pass(TimeDelta::minutes(1));
    assert_eq!(house.hold(1, &[3]), Err(used_up(&[3], 9)));
    house.book(1, &[3]);
}

#[test]
fn a_seat_that_was_changed_for_another_counts_from_its_booking() {
    let mut house = House::new();
    let booking = house.book(1, &[1, 2]);
    house.pass(TimeDelta::minutes(25));
    assert!(house.ask(1, Action::Change(booking, selection(&[2, 3]))).is_ok());
    assert_eq!(house.hold_for(1, &[1]), Ok(5));
    house.pass(TimeDelta::minutes(5));
    assert_eq!(house.hold(1, &[1]), Err(used_up(&[1], 10)));
    // A booking takes it all the same.
    assert!(house.ask(1, Action::Change(booking, selection(&[1, 3]))).is_ok());
}

#[test]
fn the_best_seats_are_those_that_can_be_held_for_longest() {
    let mut house = House::new();
    let held = |house: &mut House, quantity| -> Result<(Vec<i64>, i64), Refusal> {
        let id = made(house.ask(1, best(quantity))?).hold_id().cloned().unwrap();
        let hold = &house.state.holds[&id];
        let ids = hold.seats.iter().map(|seat| seat.id.0).collect();
        Ok((ids, (hold.expires_at - house.state.now).num_minutes()))
    };
    // All but a few are the house's.
    for seat in (1..=100).filter(|seat| ![10, 11, 20].contains(seat)) {
        house.state.claims.insert(place(seat), Claim::Blocked);
    }
    assert_eq!(held(&mut house, 2), Ok((vec![10, 11], 10)));
    house.pass(TimeDelta::minutes(9));
    house.release_all(1);
    assert_eq!(held(&mut house, 2), Ok((vec![10, 11], 10)), "they last a whole time yet");
    house.pass(TimeDelta::minutes(9));
    house.release_all(1);
    house.pass(TimeDelta::minutes(5));
    assert_eq!(held(&mut house, 1), Ok((vec![20], 10)), "seven minutes are left of the others");
    house.release_all(1);
    assert_eq!(held(&mut house, 2), Ok((vec![10, 11], 7)));
    house.pass(TimeDelta::minutes(7));
    assert_eq!(held(&mut house, 2), Err(used_up(&[10, 11], 10)));
    assert_eq!(held(&mut house, 4), Err(unavailable(&[], None)));
    assert_eq!(held(&mut house, 1), Ok((vec![20], 10)));
}

#[test]
fn a_caller_cancels_a_limited_number_of_bookings_a_day() {
    let mut house = House::new();
    house.rules.cancellations_max = 2;
    house.show().start_time = now() + TimeDelta::days(9);
    let bookings = [1, 2, 3, 4].map(|seat| house.book(1, &[seat]));
    assert!(house.ask(1, Action::Cancel(bookings[0])).is_ok());
    house.pass(TimeDelta::hours(3));
    assert!(house.ask(1, Action::Cancel(bookings[1])).is_ok());
    let limit = |retry_in| Err(Refusal::CancellationLimit { max: 2, retry_in });
    assert_eq!(house.ask(1, Action::Cancel(bookings[2])), limit(TimeDelta::hours(21)));
    assert_eq!(house.claims(), [(3, 1, "booked"), (4, 1, "booked")]);
    // One that is cancelled already is answered, and other callers have limits of their own.
    assert!(house.ask(1, Action::Cancel(bookings[0])).is_ok());
    let other = house.book(2, &[9]);
    assert!(house.ask(2, Action::Cancel(other)).is_ok());
    // A show that does not take place has no limit, and its cancellations count for nothing.
    house.show().status = crate::catalog::ShowStatus::Cancelled;
    assert!(house.ask(1, Action::Cancel(bookings[3])).is_ok());
    house.show().status = crate::catalog::ShowStatus::Scheduled;
    house.pass(TimeDelta::hours(21) - TimeDelta::microseconds(1));
    assert_eq!(house.ask(1, Action::Cancel(bookings[2])), limit(TimeDelta::microseconds(1)));
    house.pass(TimeDelta::microseconds(1));
    assert!(house.ask(1, Action::Cancel(bookings[2])).is_ok());
}

#[test]
fn cancellations_of_one_batch_count_together() {
    let mut house = House::new();
    house.rules.cancellations_max = 2;
    house.show().start_time = now() + TimeDelta::days(1);
    let bookings = [1, 2, 3].map(|seat| house.book(1, &[seat]));
    let prepared: Vec<_> =
        (50..).zip(bookings).map(|(nth, booking)| prepare_nth(acting(1, Action::Cancel(booking), ""), nth)).collect();
    let Decision { changes, outcomes } = decide_by(&house.rules, &house.state, &prepared);
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 2, "{outcomes:?}");
    assert_eq!(changes.cancellations, [CancellationGuard { user_id: UserId(1), bookings: 0 }]);
    assert_eq!(changes.counted_cancellations, bookings[..2].iter().map(|at| at.booking_id).collect::<Vec<_>>());
}

#[test]
fn the_best_seats_are_picked_anew_for_each_command_of_a_batch() {
    let state = new_state();
    let prepared: Vec<_> = (1..=3).map(|user| prepare_nth(acting(user, best(2), ""), user)).collect();
    let Decision { changes, outcomes } = decide_by(&Rules::default(), &state, &prepared);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((changes.holds.len(), changes.claims.len()), (3, 6));
    assert!(changes.rows.is_empty(), "the best seats are best for all");
    assert_eq!(
        changes.held.iter().map(|guard| (guard.user_id.0, guard.seats)).collect::<Vec<_>>(),
        [(1, 0), (2, 0), (3, 0)]
    );
    let mut state = state;
    for seat in 1..=100 {
        state.claims.insert(place(seat), Claim::Blocked);
    }
    let none = decide_by(&Rules::default(), &state, &prepared[..1]);
    assert_eq!(none.outcomes, [Err(unavailable(&[], None))]);
}

#[test]
fn claims_of_other_shows_and_expired_holds_do_not_take_the_best_seats() {
    let best_of = |state: &Snapshot| {
        let changes = decide_by(&Rules::default(), state, &[prepare_nth(acting(1, best(2), ""), 1)]).changes;
        changes.holds[0].seats.iter().map(|seat| seat.id).collect::<Vec<_>>()
    };
    let mut state = new_state();
    let expected = best_of(&state);
    state.claims.insert((ShowId(OTHER), expected[0]), Claim::Blocked);
    let hold_id = HoldId::parse(&format!("{OPEN}-{}", "0".repeat(26))).unwrap();
    let expired = Claim::Held { hold_id, user_id: UserId(2), expires_at: state.now };
    state.claims.insert((ShowId(OPEN), expected[1]), expired);
    assert_eq!(best_of(&state), expected);
    state.claims.insert((ShowId(OPEN), expected[1]), Claim::Blocked);
    assert_ne!(best_of(&state), expected);
}

#[test]
fn booking_that_is_changed_and_changed_back_in_one_batch_is_not_written() {
    let mut house = House::new();
    let booking = house.book(1, &[1, 2]);
    let change = |ids: &[i64]| acting(1, Action::Change(booking, selection(ids)), "");
    let prepared: Vec<_> =
        (50..).zip([change(&[3, 4]), change(&[1, 2])]).map(|(nth, command)| prepare_nth(command, nth)).collect();
    let Decision { changes, outcomes } = decide_by(&house.rules, &house.state, &prepared);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert_eq!((changes.changed_bookings, changes.claims, changes.removed_claims), (vec![], vec![], vec![]));
    assert_eq!(changes.keys.len(), 2, "both commands are remembered");
}

#[test]
fn a_selection_that_leaves_a_single_seat_is_refused_where_the_house_forbids_it() {
    let mut house = House::forbidding_gaps();
    assert_eq!(house.submit(command(1, OPEN, &[2, 3], "k")), Err(Refusal::SeatsLeaveGap { seat_ids: seats(&[1]) }));
    assert_eq!(house.hold(1, &[98, 99]), Err(Refusal::SeatsLeaveGap { seat_ids: seats(&[100]) }));
    let booking = house.book(1, &[1, 2]);
    assert_eq!(house.hold(2, &[4, 5]), Err(Refusal::SeatsLeaveGap { seat_ids: seats(&[3]) }));
    // Its own old seats are free in the same moment: what they leave is looked at as well.
    let change = |ids: &[i64]| Action::Change(booking, selection(ids));
    assert_eq!(house.ask(1, change(&[2, 3])), Err(Refusal::SeatsLeaveGap { seat_ids: seats(&[1]) }));
    assert!(house.ask(1, change(&[3, 4])).is_ok());
    let mut off = House::new();
    assert!(off.hold(1, &[2, 3]).is_ok());
}

#[test]
fn a_love_seat_is_booked_held_and_changed_to_whole_or_not_at_all() {
    let split = |ids: &[i64]| Err(Refusal::SeatsSplitPair { seat_ids: seats(ids) });
    let mut house = House::with_love_seats();
    assert_eq!(house.submit(command(1, OPEN, &[1], "k")).map(|_| ()), split(&[2]));
    // The missing halves come in the order of the request.
    assert_eq!(house.hold(1, &[6, 20, 4, 3, 1]).map(|_| ()), split(&[5, 2]));
    // Complete is found before taken: the selection is wrong whatever is taken.
    house.state.claims.insert(place(2), Claim::Blocked);
    assert_eq!(house.submit(command(1, OPEN, &[1], "k")).map(|_| ()), split(&[2]));
    assert_eq!(house.submit(command(1, OPEN, &[1, 2], "k")).map(|_| ()), Err(unavailable(&[2], None)));
    let hold = house.hold(1, &[4, 3]).unwrap();
    assert!(house.ask(1, Action::Redeem(hold)).is_ok());
    let booking = house.book(2, &[20, 21]);
    let change = |ids: &[i64]| Action::Change(booking, selection(ids));
    assert_eq!(house.ask(2, change(&[5, 20])).map(|_| ()), split(&[6]));
    assert!(house.ask(2, change(&[5, 6])).is_ok());
    assert_eq!(house.ask(2, change(&[5, 22])).map(|_| ()), split(&[6]));
    assert!(house.ask(2, change(&[22, 23])).is_ok());
    assert_eq!(
        house.claims(),
        [(2, 0, "blocked"), (3, 1, "booked"), (4, 1, "booked"), (22, 2, "booked"), (23, 2, "booked")]
    );
}

#[test]
fn the_best_seats_split_no_love_seat() {
    let mut house = House::with_love_seats();
    for seat in 1..=100 {
        if !(7..=11).contains(&seat) {
            house.state.claims.insert(place(seat), Claim::Blocked);
        }
    }
    let hold = made(house.ask(1, best(1)).unwrap()).hold_id().cloned().unwrap();
    assert_eq!(house.state.holds[&hold].seats.iter().map(|seat| seat.id).collect::<Vec<_>>(), seats(&[11]));
    assert_eq!(house.ask(2, best(1)).map(|_| ()), Err(unavailable(&[], None)));
    let hold = made(house.ask(2, best(4)).unwrap()).hold_id().cloned().unwrap();
    assert_eq!(house.state.holds[&hold].seats.len(), 4);
}

#[test]
fn rows_are_guarded_as_they_were_read() {
    let mut state = new_state();
    state.claims.insert(place(50), Claim::Blocked);
    let rules = Rules { seat_gaps: SeatGapRule::Forbid, ..Rules::default() };
    let prepared: Vec<_> =
        [(1, [1, 2]), (2, [3, 4])].map(|(user, ids)| prepare_nth(command(user, OPEN, &ids, "k"), user)).into();
    let changes = decide_by(&rules, &state, &prepared).changes;
    assert_eq!(changes.bookings.len(), 2);
    let guard = |guard: &RowGuard| (guard.row.clone(), guard.taken.clone());
    assert_eq!(changes.rows.iter().map(guard).collect::<Vec<_>>(), [("A".to_owned(), seats(&[50]))]);
}

#[test]
fn a_cancelled_booking_frees_its_seats_and_stays() {
    let mut house = House::new();
    house.show().start_time = now() + TimeDelta::hours(3);
    let booking = house.book(1, &[1, 2]);
    assert_eq!(house.ask(2, Action::Cancel(booking)), Err(Refusal::BookingNotFound));
    let nobodys = ShowBooking { booking_id: BookingId(77), ..booking };
    assert_eq!(house.ask(1, Action::Cancel(nobodys)), Err(Refusal::BookingNotFound));
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    assert_eq!(house.claims(), []);
    let cancelled = house.state.bookings[&booking.booking_id].clone();
    assert_eq!((cancelled.status(), cancelled.state.cancelled_at()), (BookingStatus::Cancelled, Some(now())));
    assert_eq!(cancelled.seats.len(), 2, "its accounting stays");
    // Again, later, when it could not be any more: as it is.
    house.book(2, &[2]);
    house.pass(TimeDelta::hours(2));
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    assert_eq!(house.state.bookings[&booking.booking_id], cancelled);
    assert_eq!(house.claims(), [(2, 2, "booked")]);
    assert_eq!(house.ask(1, Action::Change(booking, selection(&[5, 6]))), Err(Refusal::NotChangeable));
}

#[test]
fn a_booking_can_be_cancelled_until_so_long_before_its_show() {
    let mut house = House::new();
    house.show().start_time = now() + TimeDelta::hours(3);
    let booking = house.book(1, &[1]);
    house.pass(TimeDelta::hours(1));
    assert_eq!(house.ask(1, Action::Cancel(booking)), Err(Refusal::NotCancellable));
    house.pass(-TimeDelta::microseconds(1));
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    // A show that does not take place has no cutoff.
    let booking = house.book(1, &[2]);
    house.pass(TimeDelta::hours(1));
    house.show().status = crate::catalog::ShowStatus::Cancelled;
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
}

#[test]
fn a_booking_is_given_as_many_other_seats_at_the_price_it_was_sold() {
    let mut house = House::new();
    let booking = house.book(1, &[95, 5]);
    house.book(2, &[7]);
    let held = house.hold(1, &[8]).unwrap();
    let change = |ids: &[i64]| Action::Change(booking, selection(ids));
    assert_eq!(house.ask(2, change(&[1, 2])), Err(Refusal::BookingNotFound));
    assert_eq!(house.ask(1, change(&[1])), Err(Refusal::WrongSeatCount { seats: 2 }));
    assert_eq!(house.ask(1, change(&[1, 101])), Err(Refusal::SeatNotFound { seat_ids: seats(&[101]) }));
    assert_eq!(house.ask(1, change(&[1, 7])), Err(unavailable(&[7], None)));
    assert_eq!(house.ask(1, change(&[8, 7])), Err(unavailable(&[8, 7], Some(held))));
    let refused = house.ask(1, change(&[96, 97])).unwrap_err();
    let Refusal::PriceDiffers { sold, asked } = refused else { panic!("{refused:?}") };
    assert_eq!((sold.to_string(), asked.to_string()), ("28.50".into(), "32.00".into()));
    assert_eq!(house.claims().iter().filter(|(_, user, _)| *user == 1).count(), 3, "a refusal changes nothing");
    // One of the old seats, and a cheaper one: the price stays.
    assert!(house.ask(1, change(&[5, 6])).is_ok());
    let changed = &house.state.bookings[&booking.booking_id];
    let sold: Vec<_> = changed.seats.iter().map(|seat| (seat.id.0, seat.category.as_str(), seat.price_minor)).collect();
    assert_eq!(
        (sold, changed.total().to_string()),
        (vec![(5, "standard", 1250), (6, "standard", 1600)], "28.50".into())
    );
    assert_eq!(house.claims(), [(5, 1, "booked"), (6, 1, "booked"), (7, 2, "booked"), (8, 1, "held")]);
    assert!(house.submit(command(3, OPEN, &[95], "k")).is_ok());
    // Prices have risen: what it keeps is no dearer, and the same seats again change nothing.
    house.show().prices.set(CategoryPrice::adult("standard", 5000));
    assert!(matches!(house.ask(1, change(&[5, 9])), Err(Refusal::PriceDiffers { .. })));
    let before = house.state.bookings.clone();
    assert!(house.ask(1, change(&[5, 6])).is_ok());
    assert_eq!(house.state.bookings, before);
}

#[test]
fn what_had_nothing_to_do_is_remembered_only_by_a_clients_key() {
    let mut house = House::new();
    house.show().start_time = now() + TimeDelta::hours(3);
    let booking = house.book(1, &[1]);
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    let keys = house.state.keys.len();
    assert!(house.ask(1, Action::Cancel(booking)).is_ok());
    assert_eq!(house.state.keys.len(), keys);
    assert!(house.submit(acting(1, Action::Cancel(booking), "again")).is_ok());
    assert_eq!(house.state.keys.len(), keys + 1);
}

#[test]
fn a_command_without_a_key_is_known_by_its_run() {
    let mut house = House::new();
    let hold = house.hold(1, &[1]).unwrap();
    let prepared = [prepare_nth(acting(1, Action::Release(hold), ""), 50)];
    let first = decide_by(&house.rules, &house.state, &prepared);
    commit(&first.changes, &mut house.state);
    // The outcome was not known: the same run finds what it has written.
    let again = decide_by(&house.rules, &house.state, &prepared);
    assert_eq!((again.outcomes, again.changes.is_empty()), (first.outcomes, true));
    assert_eq!(prepared[0].key.scope.0, PreparedCommand::OWN_SCOPE);
}

/// What a random caller asks for. Numbers stand for holds and bookings that are there by then.
#[derive(Clone, Debug)]
enum Ask {
    Book(Vec<i64>),
    Hold(i64, Vec<i64>),
    Best(usize),
    OnHold(u8, usize),
    Cancel(usize),
    Change(usize, Vec<i64>),
    Sell(Vec<i64>),
    House(bool, Vec<i64>),
    Correct(usize, Vec<i64>),
}

fn any_ask() -> impl Strategy<Value = (i64, u8, Ask)> {
    let some = || prop::sample::subsequence((1_i64..=12).collect::<Vec<_>>(), 1..=3);
    let ask = prop_oneof![
        some().prop_map(Ask::Book),
        (OPEN..=OTHER, some()).prop_map(|(show, seats)| Ask::Hold(show, seats)),
        (1_usize..=4).prop_map(Ask::Best),
        (0..3_u8, 0..8_usize).prop_map(|(what, which)| Ask::OnHold(what, which)),
        (0..8_usize).prop_map(Ask::Cancel),
        (0..8_usize, some()).prop_map(|(which, seats)| Ask::Change(which, seats)),
        some().prop_map(Ask::Sell),
        (any::<bool>(), some()).prop_map(|(block, seats)| Ask::House(block, seats)),
        (0..8_usize, some()).prop_map(|(which, seats)| Ask::Correct(which, seats)),
    ];
    (1_i64..=3, 0..12_u8, ask)
}

/// Returns the commands of random callers. Ids are those that the commands before would get if all were granted.
fn commands_of(asked: &[(i64, u8, Ask)]) -> Vec<PreparedCommand> {
    let mut prepared: Vec<PreparedCommand> = Vec::new();
    for ((user, key, ask), number) in asked.iter().zip(1..) {
        let earlier = |which: usize| prepared.get(which).map_or(BookingId(99), |at| at.drawn.booking_id);
        let hold_of = |which: usize| {
            prepared
                .get(which)
                .map_or_else(|| prepare_nth(acting(1, best(1), ""), 99).drawn.hold_id, |at| at.drawn.hold_id.clone())
        };
        let booking = |which| ShowBooking { show_id: ShowId(OPEN), booking_id: earlier(which) };
        let action = match ask {
            Ask::Book(ids) => Action::Book(BookSeats { show_id: ShowId(OPEN), seats: selection(ids).into() }),
            Ask::Hold(show, ids) => hold_seats_of(*show, ids),
            Ask::Best(quantity) => best(*quantity),
            Ask::OnHold(0, which) => Action::Redeem(hold_of(*which)),
            Ask::OnHold(1, which) => Action::Extend(hold_of(*which)),
            Ask::OnHold(_, which) => Action::Release(hold_of(*which)),
            Ask::Cancel(which) => Action::Cancel(booking(*which)),
            Ask::Change(which, ids) => Action::Change(booking(*which), selection(ids)),
            Ask::Sell(ids) => cash(ids),
            Ask::House(true, ids) => block(ids),
            Ask::House(false, ids) => unblock(ids),
            Ask::Correct(which, ids) => correct(booking(*which), *user, ids),
        };
        // Some have a key, and some of those the same.
        let key = if *key < 6 { String::new() } else { format!("k{key}") };
        prepared.push(prepare_nth(acting(*user, action, &key), number));
    }
    prepared
}

/// What is always so, whatever was asked.
fn check(state: &Snapshot, rules: &Rules) {
    let mut seats_of: HashMap<(ShowId, SeatId), usize> = HashMap::new();
    let live = state.bookings.values().filter(|booking| booking.state.is_live());
    for (seat, booking) in live.flat_map(|booking| booking.seats.iter().map(move |seat| (seat, booking))) {
        *seats_of.entry((booking.show_id, seat.id)).or_default() += 1;
        assert_eq!(state.claims.get(&(booking.show_id, seat.id)).and_then(Claim::booking_id), Some(booking.id));
    }
    for hold in state.holds.values().filter(|hold| hold.is_live(state.now)) {
        for seat in &hold.seats {
            *seats_of.entry((hold.show_id, seat.id)).or_default() += 1;
            assert_eq!(state.claims.get(&(hold.show_id, seat.id)).and_then(Claim::hold_id), Some(&hold.id));
        }
        let mine = || state.holds.values().filter(|other| other.user_id == hold.user_id && other.is_live(state.now));
        let here = mine().filter(|other| other.show_id == hold.show_id);
        assert!(here.map(|other| other.seats.len()).sum::<usize>() <= rules.seats_max);
        assert!(mine().map(|other| other.seats.len()).sum::<usize>() <= rules.held_seats_max);
        assert!(hold.expires_at - hold.created_at <= Hold::LIFE_MAX);
    }
    assert!(seats_of.values().all(|owners| *owners == 1), "a seat has two owners: {seats_of:?}");
    let owned = |claim: &&Claim| **claim != Claim::Blocked && claim.is_live(state.now);
    let live = state.claims.values().filter(owned).count();
    assert_eq!(live, seats_of.len(), "a claim without an owner");
    let day = |at: &&chrono::DateTime<chrono::Utc>| **at + Rules::CANCELLATIONS_COUNTED > state.now;
    assert!(state.cancellations.values().all(|times| times.iter().filter(day).count() <= rules.cancellations_max));
}

/// What a bystander sees of who keeps which seat from when until when, with gaps that are too short to count.
#[derive(Default)]
struct Watch(HashMap<(ShowId, UserId, SeatId), Tenure>);

impl Watch {
    /// Looks after a batch, and checks that no seat is held for longer than one may.
    fn look(&mut self, state: &Snapshot) {
        let holds = state.holds.values().filter(|hold| hold.is_live(state.now));
        let held = holds.flat_map(|hold| {
            let (until, place) = (hold.expires_at, (hold.show_id, hold.user_id));
            hold.seats.iter().map(move |seat| (place, seat.id, Tenure { since: hold.created_at, until }))
        });
        let bookings = state.bookings.values().filter(|booking| booking.state.is_live());
        let booked = bookings.flat_map(|booking| {
            let (since, place) = (booking.booked_at, (booking.show_id, booking.user_id));
            let tenure = Tenure { since, until: chrono::DateTime::<chrono::Utc>::MAX_UTC };
            booking.seats.iter().map(move |seat| (place, seat.id, tenure))
        });
        let kept: HashMap<_, _> =
            held.chain(booked).map(|((show, user), seat, tenure)| ((show, user, seat), tenure)).collect();
        for (place, before) in &mut self.0 {
            if !kept.contains_key(place) {
                before.until = before.until.min(state.now);
            }
        }
        for (place, mut tenure) in kept {
            if let Some(before) = self.0.get(&place).filter(|before| before.until > tenure.since - Tenure::GAP) {
                tenure.since = tenure.since.min(before.since);
            }
            let is_held = state.claims[&(place.0, place.2)].expires_at().is_some();
            assert!(!is_held || tenure.until - tenure.since <= Hold::LIFE_MAX, "{place:?}: {tenure:?}");
            self.0.insert(place, tenure);
        }
    }
}

proptest! {
    /// Whatever is asked in whatever order, no hold and no booking has half a love seat.
    #[test]
    fn no_love_seat_has_two_owners(asked in prop::collection::vec(any_ask(), 1..12)) {
        let (layouts, mut state) = (layouts_with_love_seats(), new_state());
        for prepared in commands_of(&asked) {
            let decision = decide_in(&layouts, &Rules::default(), &state, &[prepared]);
            commit(&decision.changes, &mut state);
        }
        let live = state.bookings.values().filter(|booking| booking.state.is_live());
        let bookings = live.map(|booking| (booking.show_id, &booking.seats));
        for (show_id, sold) in bookings.chain(state.holds.values().map(|hold| (hold.show_id, &hold.seats))) {
            let ids: Vec<SeatId> = sold.iter().map(|seat| seat.id).collect();
            let layout = &layouts[&state.shows[&show_id].layout_id];
            prop_assert_eq!(layout.missing_halves(&ids), []);
        }
    }
}

proptest! {
    /// Whatever is asked in whatever order: what is decided together is what is decided one by one, and every seat has one
    /// owner at most.
    #[test]
    fn any_commands_keep_the_invariants_and_equal_one_by_one(
        asked in prop::collection::vec(any_ask(), 0..30),
        cuts in prop::collection::vec((0..12_usize, 0..12_i64), 0..8),
        forbid in any::<bool>(),
    ) {
        let seat_gaps = if forbid { SeatGapRule::Forbid } else { SeatGapRule::Off };
        let rules = Rules {
            seat_gaps,
            seats_max: 5,
            held_seats_max: 7,
            cancellation_cutoff: TimeDelta::zero(),
            cancellations_max: 2,
            ..Rules::default()
        };
        let prepared = commands_of(&asked);
        let (mut together, mut alone) = (new_state(), new_state());
        let mut rest = &prepared[..];
        let mut cuts = cuts;
        let mut watch = Watch::default();
        cuts.push((30, 0));
        for (size, minutes) in cuts {
            let (batch, later) = rest.split_at(size.min(rest.len()));
            rest = later;
            let decision = decide_by(&rules, &together, batch);
            commit(&decision.changes, &mut together);
            for (command, outcome) in batch.iter().zip(&decision.outcomes) {
                let one = decide_by(&rules, &alone, std::slice::from_ref(command));
                prop_assert_eq!(&one.outcomes[..], std::slice::from_ref(outcome));
                commit(&one.changes, &mut alone);
            }
            prop_assert_eq!(&together, &alone);
            check(&together, &rules);
            watch.look(&together);
            together.now += TimeDelta::minutes(minutes);
            alone.now = together.now;
        }
    }

    /// Who is refused because of a gap has another selection of as many seats in that row.
    #[test]
    fn no_selection_is_refused_for_a_gap_without_another(
        blocked in prop::collection::btree_set(1_i64..=100, 0..95),
        wanted in prop::sample::subsequence((1_i64..=100).collect::<Vec<_>>(), 1..=4),
    ) {
        let mut house = House::forbidding_gaps();
        for seat in &blocked {
            house.state.claims.insert(place(*seat), Claim::Blocked);
        }
        if let Err(Refusal::SeatsLeaveGap { .. }) = house.hold(1, &wanted) {
            let taken = blocked.iter().copied().map(SeatId).collect();
            let wish = SeatWish { quantity: wanted.len(), category: None, accessible: None };
            let other = crate::seating::best_seats(&layout(OPEN), &taken, &wish).unwrap();
            prop_assert_eq!(gaps_left(&layout(OPEN), &taken, &other), []);
            prop_assert!(house.hold(2, &other.iter().map(|seat| seat.0).collect::<Vec<_>>()).is_ok());
        }
    }
}
