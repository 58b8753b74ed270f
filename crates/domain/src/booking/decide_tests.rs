//! The rules, one by one and all together.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;

use super::*;
use crate::catalog::ShowStatus;
use crate::identity::{Bearer, Caller, Role};
use crate::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use crate::money::{Currency, TaxRate};
use crate::random::{OperationId, Random, Reference};
use crate::seating::{CategoryPrice, Layout, RowName, Seat, SeatSelection};

/// A show that is for sale.
pub(super) const OPEN: i64 = 1;
pub(super) const OTHER: i64 = 2;
const CANCELLED: i64 = 3;
const STARTED: i64 = 4;
const SEATS: i64 = 100;

pub(super) struct TestEncoder;

impl AnswerEncoder for TestEncoder {
    fn encode_booked(&self, booking: &Booking) -> Vec<u8> {
        format!("{booking:?}").into_bytes()
    }

    fn encode_booking(&self, booking: &Booking) -> Vec<u8> {
        format!("now {booking:?}").into_bytes()
    }

    fn encode_sale(&self, booking: &Booking) -> Vec<u8> {
        format!("sold {booking:?}").into_bytes()
    }

    fn encode_blocks(&self, show_id: ShowId, blocked: &[SeatId]) -> Vec<u8> {
        format!("{show_id} {blocked:?}").into_bytes()
    }

    fn encode_hold(&self, hold: &Hold) -> Vec<u8> {
        format!("{hold:?}").into_bytes()
    }
}

/// Returns the layouts of the shows: a hundred seats in one row, no aisle.
pub(super) fn layouts() -> HashMap<LayoutId, Arc<Layout>> {
    [OPEN, OTHER, CANCELLED, STARTED].map(|show| (LayoutId(show * 10), Arc::new(layout(show)))).into()
}

/// Returns the same layouts, with love seats of the seats 1 and 2, 3 and 4 … 9 and 10 of each.
pub(super) fn layouts_with_love_seats() -> HashMap<LayoutId, Arc<Layout>> {
    let with_pairs = |(id, layout): (LayoutId, Arc<Layout>)| {
        let mut seats = layout.seats().to_vec();
        for seat in seats.iter_mut().filter(|seat| seat.number <= 10) {
            seat.pair = Some((seat.number + 1) / 2);
        }
        (id, Arc::new(Layout::new(id, seats).unwrap()))
    };
    layouts().into_iter().map(with_pairs).collect()
}

pub(super) fn layout(show: i64) -> Layout {
    let seat = |id: i64| Seat {
        id: SeatId(id),
        row: RowName::letters(0),
        number: i32::try_from(id).unwrap(),
        category: if id > 90 { "premium".into() } else { "standard".into() },
        accessible: false,
        x: i32::try_from(id).unwrap(),
        y: 1,
        section: String::new(),
        pair: None,
    };
    Layout::new(LayoutId(show * 10), (1..=SEATS).map(seat).collect()).unwrap()
}

/// Bytes that tell which draw they are of.
struct Nth(i64);

impl Random for Nth {
    fn fill(&self, bytes: &mut [u8]) {
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from((self.0 >> (5 * index.min(12))) & 31).unwrap();
        }
    }
}

pub(super) fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

/// Five users, four shows of a hundred seats, nothing sold.
pub(super) fn new_state() -> Snapshot {
    let show = |id: i64| ShowOffer {
        version: 1,
        layout_id: LayoutId(id * 10),
        status: if id == CANCELLED { ShowStatus::Cancelled } else { ShowStatus::Scheduled },
        start_time: now() + if id == STARTED { TimeDelta::zero() } else { TimeDelta::hours(1) },
        end_time: now() + TimeDelta::hours(3),
        sales_open_at: None,
        sales_close_at: None,
        currency: Currency::parse("EUR").unwrap(),
        tax_rate: TaxRate::parse("19").unwrap(),
        prices: [CategoryPrice::adult("standard", 1250), CategoryPrice::adult("premium", 1600)].into_iter().collect(),
        movie_title: format!("Movie {id}"),
        theatre_name: "Theatre".into(),
        hall_name: "Hall".into(),
    };
    Snapshot {
        users: (1..=5).map(|id| (UserId(id), StoredUser { session_generation: 7 })).collect(),
        shows: [OPEN, OTHER, CANCELLED, STARTED].into_iter().map(|id| (ShowId(id), show(id))).collect(),
        ..Snapshot::at(now())
    }
}

/// Returns a command of a user for seats of a show. The digest is of the show and the seats.
pub(super) fn command(user: i64, show: i64, seats: &[i64], key: &str) -> Command {
    let mut fingerprint = [0; 32];
    for (place, value) in fingerprint.iter_mut().zip(std::iter::once(&show).chain(seats)) {
        *place = u8::try_from(*value).unwrap();
    }
    let action = Action::Book(BookSeats { show_id: ShowId(show), seats: selection(seats).into() });
    Command { fingerprint: Fingerprint(fingerprint), ..acting(user, action, key) }
}

pub(super) fn selection(seats: &[i64]) -> SeatSelection {
    SeatSelection::parse(seats.iter().copied().map(SeatId).collect(), 10).unwrap()
}

/// Returns a command of a user. An empty `key` means no key.
pub(super) fn acting(user: i64, action: Action, key: &str) -> Command {
    let user_id = UserId(user);
    let mut fingerprint = [0_u8; 32];
    for (place, byte) in (0..32).cycle().zip(format!("{action:?}").bytes()) {
        fingerprint[place] = byte.wrapping_add(fingerprint[place].wrapping_mul(31));
    }
    let scope = Scope("POST /api/bookings".into());
    Command {
        bearer: Bearer { caller: Caller { user_id, role: Role::Customer, session_generation: 7 }, session_id: None },
        key: (!key.is_empty()).then(|| KeyName { user_id, scope, key: IdempotencyKey::parse(key).unwrap() }),
        fingerprint: Fingerprint(fingerprint),
        action,
    }
}

/// Returns the key of a command.
pub(super) fn key_of(command: &Command) -> KeyName {
    command.key.clone().unwrap()
}

/// Returns the commands with what is drawn for them: booking 1, 2, …
fn prepare(commands: impl IntoIterator<Item = Command>) -> Vec<PreparedCommand> {
    commands.into_iter().zip(1..).map(|(command, id)| prepare_nth(command, id)).collect()
}

/// Returns a command with the draw of this number: its booking has that id.
pub(super) fn prepare_nth(command: Command, id: i64) -> PreparedCommand {
    let drawn = GeneratedIds::draw(command.show_id(), BookingId(id), &Nth(id));
    PreparedCommand::new(command, drawn)
}

/// Decides by these rules.
pub(super) fn decide_by(rules: &Rules, state: &Snapshot, prepared: &[PreparedCommand]) -> Decision {
    decide_in(&layouts(), rules, state, prepared)
}

/// Decides by these rules, in these layouts.
pub(super) fn decide_in(
    layouts: &HashMap<LayoutId, Arc<Layout>>,
    rules: &Rules,
    state: &Snapshot,
    prepared: &[PreparedCommand],
) -> Decision {
    decide(state.clone(), prepared, Policy { rules, layouts, encoder: &TestEncoder })
}

fn decide_prepared(state: &Snapshot, prepared: &[PreparedCommand]) -> Decision {
    decide_by(&Rules::default(), state, prepared)
}

fn decide_all(state: &Snapshot, commands: impl IntoIterator<Item = Command>) -> Decision {
    decide_prepared(state, &prepare(commands))
}

fn outcome(state: &Snapshot, command: Command) -> Result<Success, Refusal> {
    let mut prepared = prepare([command]);
    // Another run than those that have written.
    prepared[0].drawn.operation_id = OperationId([255; 16]);
    let decision = decide_prepared(state, &prepared);
    assert_eq!(decision.changes.is_empty(), decision.outcomes[0].is_err());
    decision.outcomes[0].clone()
}

pub(super) fn place(seat: i64) -> (ShowId, SeatId) {
    (ShowId(OPEN), SeatId(seat))
}

pub(super) fn booked_claim() -> Claim {
    Claim::Booked { booking_id: BookingId(999), user_id: UserId(999) }
}

/// A hold.
fn held(id: i64, seconds: i64) -> Claim {
    let expires_at = now() + TimeDelta::seconds(seconds);
    Claim::Held { hold_id: HoldId::draw(ShowId(OPEN), &Nth(id)), user_id: UserId(999), expires_at }
}

fn unavailable(seats: &[i64]) -> Result<Success, Refusal> {
    Err(Refusal::SeatUnavailable { seat_ids: seats.iter().copied().map(SeatId).collect(), hold_id: None })
}

/// Commits changes as a store must: what they expect is checked.
pub(super) fn commit(changes: &WriteSet, state: &mut Snapshot) {
    for guard in &changes.shows {
        assert_eq!(state.shows[&guard.show_id].status, ShowStatus::Scheduled);
    }
    for guard in &changes.users {
        assert_eq!(state.users[&guard.user_id].session_generation, guard.session_generation);
    }
    assert!(changes.sessions.iter().all(|session| state.sessions.contains_key(session)));
    for guard in &changes.held {
        let mine = |hold: &&Hold| hold.user_id == guard.user_id && hold.is_live(changes.at);
        let seats: usize = state.holds.values().filter(mine).map(|hold| hold.seats.len()).sum();
        assert_eq!(i64::try_from(seats).unwrap(), guard.seats);
    }
    for guard in &changes.cancellations {
        let times = state.cancellations.get(&guard.user_id).map(Vec::as_slice).unwrap_or_default();
        let counted = times.iter().filter(|at| **at + Rules::CANCELLATIONS_COUNTED > changes.at).count();
        assert_eq!(i64::try_from(counted).unwrap(), guard.bookings);
    }
    for ended in &changes.tenures {
        state.tenures.insert(ended.place, ended.tenure);
    }
    for guard in &changes.rows {
        let taken = (1..=SEATS)
            .map(SeatId)
            .filter(|seat| state.claims.get(&(guard.show_id, *seat)).is_some_and(|claim| claim.is_live(changes.at)));
        assert_eq!(taken.collect::<Vec<_>>(), guard.taken);
    }
    for changed in &changes.changed_holds {
        let hold = state.holds.remove(&changed.id).unwrap();
        assert_eq!(hold.expires_at, changed.expires_at);
        if let Some(expires_at) = changed.next {
            state.holds.insert(changed.id.clone(), Hold { expires_at, ..hold });
        }
    }
    for hold in &changes.holds {
        assert_eq!(state.holds.insert(hold.id.clone(), hold.clone()), None);
    }
    for changed in &changes.changed_bookings {
        let before = state.bookings.insert(changed.booking.id, changed.booking.clone()).unwrap();
        assert_eq!(before.status(), changed.status);
        let seats: Vec<_> = before.seats.iter().map(|seat| seat.id).collect();
        assert!(changed.old_seats == seats || changed.old_seats.is_empty() && before.seats == changed.booking.seats);
    }
    for booking in &changes.bookings {
        assert_eq!(state.bookings.insert(booking.id, booking.clone()), None);
    }
    for id in &changes.counted_cancellations {
        let booking = &state.bookings[id];
        state.cancellations.entry(booking.user_id).or_default().extend(booking.state.cancelled_at());
    }
    for removed in &changes.removed_claims {
        let before = state.claims.remove(&(removed.show_id, removed.seat_id));
        assert_eq!(before.as_ref(), Some(&removed.claim));
    }
    for new in &changes.claims {
        let before = state.claims.insert((new.show_id, new.seat_id), new.claim.clone());
        assert_eq!(before, None, "a seat claimed twice");
    }
    for (name, key) in &changes.keys {
        let before = state.keys.insert(name.clone(), key.clone());
        assert_eq!(before, None, "a key used twice");
    }
}

#[test]
fn a_booking_is_answered_and_written_whole() {
    let state = new_state();
    let asked = command(2, OPEN, &[9, 3, 5], "k");
    let Decision { changes, outcomes } = decide_all(&state, [asked.clone()]);
    let [booking] = &changes.bookings[..] else { panic!("one booking: {changes:?}") };
    let body: Arc<[u8]> = TestEncoder.encode_booked(booking).into();
    assert_eq!(
        outcomes,
        [Ok(Success::Answered(Answer { subject: made(1), body: Arc::clone(&body), replayed: false }))]
    );
    let sold: Vec<_> = booking.seats.iter().map(|seat| (seat.id.0, seat.number, seat.price_minor)).collect();
    assert_eq!(sold, [(9, 9, 1250), (3, 3, 1250), (5, 5, 1250)], "in the order they were asked for");
    assert_eq!(
        (booking.user_id, booking.show_id, booking.status()),
        (UserId(2), ShowId(OPEN), BookingStatus::Confirmed)
    );
    assert_eq!((booking.booked_at, changes.at), (now(), now()));
    assert_eq!(booking.reference, Reference::draw(&Nth(1)));
    let [(name, key)] = &changes.keys[..] else { panic!("one key: {changes:?}") };
    assert_eq!((name, key.fingerprint, &key.subject), (&key_of(&asked), asked.fingerprint, &made(1)));
    assert_eq!((key.operation_id, &key.body), (OperationId::draw(&Nth(1)), &Some(body)));
    let claim = |seat| NewClaim {
        show_id: ShowId(OPEN),
        seat_id: SeatId(seat),
        layout_id: LayoutId(10),
        claim: Claim::Booked { booking_id: BookingId(1), user_id: UserId(2) },
    };
    assert_eq!(changes.claims, [3, 5, 9].map(claim), "in lock order");
    assert_eq!(changes.shows, [ShowGuard { show_id: ShowId(OPEN), version: 1 }]);
    assert_eq!(changes.users, [UserGuard { user_id: UserId(2), session_generation: 7 }]);
    let told =
        NewOutboxEvent { kind: OutboxKind::BookingConfirmed, show_id: ShowId(OPEN), booking_id: Some(BookingId(1)) };
    assert_eq!((&changes.outbox[..], &changes.removed_claims[..]), (&[told][..], &[][..]));
}

#[test]
fn each_refusal_writes_nothing() {
    let mut state = new_state();
    state.claims.insert(place(1), booked_claim());
    let refused = |command| outcome(&state, command).unwrap_err();
    assert_eq!(refused(command(9, OPEN, &[2], "k")), Refusal::SessionEnded);
    let mut ended = command(2, OPEN, &[2], "k");
    for generation in [6, 8] {
        ended.bearer.caller.session_generation = generation;
        assert_eq!(refused(ended.clone()), Refusal::SessionEnded);
    }
    assert_eq!(refused(command(2, 99, &[2], "k")), Refusal::ShowNotFound);
    let seat_ids = vec![SeatId(102), SeatId(101)];
    assert_eq!(refused(command(2, OPEN, &[102, 2, 101], "k")), Refusal::SeatNotFound { seat_ids });
    assert_eq!(refused(command(2, CANCELLED, &[2], "k")), Refusal::SalesClosed);
    assert_eq!(refused(command(2, STARTED, &[2], "k")), Refusal::SalesClosed);
    assert_eq!(outcome(&state, command(2, OPEN, &[3, 1, 2], "k")), unavailable(&[1]));
}

#[test]
fn a_session_must_be_the_callers_own_and_last() {
    let mut state = new_state();
    state.sessions = [(SessionId(5), UserId(2)), (SessionId(6), UserId(3))].into();
    let in_session = |id| {
        let mut asked = command(2, OPEN, &[2], "k");
        asked.bearer.session_id = Some(SessionId(id));
        asked
    };
    assert_eq!(decide_all(&state, [in_session(5)]).changes.sessions, [SessionId(5)]);
    for id in [6, 7] {
        assert_eq!(outcome(&state, in_session(id)), Err(Refusal::SessionEnded), "{id}");
    }
}

#[test]
fn a_show_is_for_sale_until_the_instant_it_starts() {
    let mut state = new_state();
    state.now = now() + TimeDelta::hours(1) - TimeDelta::microseconds(1);
    assert!(outcome(&state, command(1, OPEN, &[1], "k")).is_ok());
    state.now += TimeDelta::microseconds(1);
    assert_eq!(outcome(&state, command(1, OPEN, &[1], "k")), Err(Refusal::SalesClosed));
}

#[test]
fn errors_are_found_in_their_order() {
    let mut state = new_state();
    let used = decide_all(&state, [command(1, OPEN, &[1], "used")]).changes;
    commit(&used, &mut state);
    state.claims.insert((ShowId(CANCELLED), SeatId(1)), booked_claim());
    state.claims.insert((ShowId(STARTED), SeatId(1)), booked_claim());
    // Each command has every fault of those below it.
    let mut ended = command(1, 99, &[101, 1], "used");
    ended.bearer.caller.session_generation = 1;
    assert_eq!(outcome(&state, ended), Err(Refusal::SessionEnded));
    assert_eq!(outcome(&state, command(1, 99, &[101, 1], "used")), Err(Refusal::KeyReused));
    assert_eq!(outcome(&state, command(1, 99, &[101, 1], "k")), Err(Refusal::ShowNotFound));
    let seat_ids = vec![SeatId(101)];
    assert_eq!(outcome(&state, command(1, CANCELLED, &[101, 1], "k")), Err(Refusal::SeatNotFound { seat_ids }));
    assert_eq!(outcome(&state, command(1, CANCELLED, &[2, 1], "k")), Err(Refusal::SalesClosed));
    assert_eq!(outcome(&state, command(1, STARTED, &[2, 1], "k")), Err(Refusal::SalesClosed));
    assert_eq!(outcome(&state, command(1, OPEN, &[2, 1], "k")), unavailable(&[1]));
}

#[test]
fn a_used_key_answers_its_bytes_again_whatever_has_become_of_the_show() {
    let mut state = new_state();
    let asked = command(1, OPEN, &[1], "k");
    let first = decide_all(&state, [asked.clone()]);
    commit(&first.changes, &mut state);
    let again = |state: &Snapshot| {
        let prepared = prepare([command(2, OPEN, &[2], "k"), asked.clone()]);
        let decision = decide_prepared(state, &prepared[1..]);
        assert!(decision.changes.is_empty());
        decision.outcomes[0].clone()
    };
    let body = first.changes.keys[0].1.body.clone().unwrap();
    let replay = Ok(Success::Answered(Answer { subject: made(1), body, replayed: true }));
    assert_eq!(again(&state), replay);
    state.shows.get_mut(&ShowId(OPEN)).unwrap().status = ShowStatus::Cancelled;
    assert_eq!(again(&state), replay);
    state.shows.clear();
    assert_eq!(again(&state), replay);
    state.keys.values_mut().for_each(|row| row.body = None);
    assert_eq!(again(&state), Ok(Success::AnswerDeleted(made(1))));
    state.users.clear();
    assert_eq!(again(&state), Err(Refusal::SessionEnded));
}

#[test]
fn a_key_of_this_very_run_is_its_first_answer_even_if_the_session_has_ended() {
    let mut state = new_state();
    let asked = command(1, OPEN, &[1], "k");
    let first = decide_all(&state, [asked.clone()]);
    commit(&first.changes, &mut state);
    state.users.clear();
    let again = decide_all(&state, [asked]);
    assert_eq!(again.outcomes, first.outcomes);
    assert!(again.changes.is_empty());
}

#[test]
fn the_same_key_twice_in_a_batch() {
    let mut state = new_state();
    state.claims.insert(place(1), booked_claim());
    let decision = decide_all(
        &state,
        [
            command(1, OPEN, &[1], "k"),
            // The first was refused: this one is decided for itself.
            command(1, OPEN, &[2], "k"),
            // Accepted: a replay, or another request.
            command(1, OPEN, &[2], "k"),
            command(1, OPEN, &[1], "k"),
            // Another's key, and another path's.
            command(2, OPEN, &[3], "k"),
            Command {
                key: Some(KeyName { scope: Scope("POST /api/holds".into()), ..key_of(&command(1, OPEN, &[4], "k")) }),
                ..command(1, OPEN, &[4], "k")
            },
        ],
    );
    assert_eq!(decision.outcomes[0], unavailable(&[1]));
    let Ok(Success::Answered(Answer { subject: Subject::Booking(BookingId(2)), body, replayed: false })) =
        &decision.outcomes[1]
    else {
        panic!("{:?}", decision.outcomes)
    };
    let replay = Success::Answered(Answer { subject: made(2), body: Arc::clone(body), replayed: true });
    assert_eq!(decision.outcomes[2], Ok(replay));
    assert_eq!(decision.outcomes[3], Err(Refusal::KeyReused));
    assert!(decision.outcomes[4].is_ok() && decision.outcomes[5].is_ok());
    assert_eq!(decision.changes.bookings.len(), 3);
    assert_eq!(decision.changes.keys.len(), 3);
}

#[test]
fn a_seat_is_refused_because_of_an_accepted_command_before_it_only() {
    let mut state = new_state();
    state.claims.insert(place(5), booked_claim());
    let decision = decide_all(
        &state,
        [
            // Refused because of a committed row: it takes no seat from those behind it.
            command(1, OPEN, &[5, 1, 2], "a"),
            command(2, OPEN, &[1, 2], "b"),
            command(3, OPEN, &[4, 2, 3, 1], "c"),
            command(3, OPEN, &[3, 4], "d"),
            // The same seats of another show are other seats.
            command(4, OTHER, &[1, 2], "e"),
        ],
    );
    assert_eq!(decision.outcomes[0], unavailable(&[5]));
    assert!(decision.outcomes[1].is_ok());
    assert_eq!(decision.outcomes[2], unavailable(&[2, 1]), "in the order they were asked for");
    assert!(decision.outcomes[3].is_ok() && decision.outcomes[4].is_ok());
}

#[test]
fn a_hold_keeps_its_seat_until_the_instant_it_runs_out() {
    let mut state = new_state();
    state.claims.insert(place(1), held(1, 0));
    state.claims.insert(place(2), held(2, 1));
    state.claims.insert(place(3), Claim::Blocked);
    assert_eq!(outcome(&state, command(1, OPEN, &[2], "k")), unavailable(&[2]));
    assert_eq!(outcome(&state, command(1, OPEN, &[3, 1], "k")), unavailable(&[3]));
    let decision = decide_all(&state, [command(1, OPEN, &[4, 1], "k"), command(2, OPEN, &[1], "k")]);
    assert!(decision.outcomes[0].is_ok());
    assert_eq!(decision.outcomes[1], unavailable(&[1]));
    let over = RemovedClaim { show_id: ShowId(OPEN), seat_id: SeatId(1), claim: held(1, 0) };
    assert_eq!(decision.changes.removed_claims, [over]);
}

#[test]
fn changes_are_in_lock_order_and_guards_are_there_once() {
    let mut state = new_state();
    state.claims.insert(place(8), held(2, -1));
    state.claims.insert(place(2), held(1, -1));
    let mut prepared = prepare([
        command(3, OTHER, &[7, 1], "z"),
        command(1, OPEN, &[8, 2], "y"),
        command(3, OPEN, &[3], "a"),
        command(1, OTHER, &[2], "x"),
    ]);
    for (command, id) in prepared.iter_mut().zip([40, 20, 30, 10]) {
        command.drawn.booking_id = BookingId(id);
    }
    let changes = decide_prepared(&state, &prepared).changes;
    assert_eq!(changes.shows, [OPEN, OTHER].map(|id| ShowGuard { show_id: ShowId(id), version: 1 }));
    assert_eq!(changes.users.iter().map(|user| user.user_id.0).collect::<Vec<_>>(), [1, 3]);
    let keys: Vec<_> = changes.keys.iter().map(|(name, _)| (name.user_id.0, name.key.as_str())).collect();
    assert_eq!(keys, [(1, "x"), (1, "y"), (3, "a"), (3, "z")]);
    assert_eq!(changes.bookings.iter().map(|booking| booking.id.0).collect::<Vec<_>>(), [10, 20, 30, 40]);
    assert_eq!(changes.removed_claims.iter().map(|claim| claim.seat_id.0).collect::<Vec<_>>(), [2, 8]);
    let claims: Vec<_> = changes.claims.iter().map(|claim| (claim.show_id.0, claim.seat_id.0)).collect();
    assert_eq!(claims, [(OPEN, 2), (OPEN, 3), (OPEN, 8), (OTHER, 1), (OTHER, 2), (OTHER, 7)]);
    assert_eq!(changes.outbox.iter().map(|event| event.booking_id.unwrap().0).collect::<Vec<_>>(), [40, 20, 30, 10]);
}

#[test]
fn sixty_four_mixed_commands_at_once() {
    let state = new_state();
    let mixed = |n: i64| match n % 4 {
        0 | 1 => command(1 + n % 5, OPEN, &[n + 1, n + 2], &format!("{n}")),
        2 => command(1 + n % 5, OTHER, &[1], &format!("{n}")),
        _ => command(1 + n % 5, CANCELLED, &[1], &format!("{n}")),
    };
    let decision = decide_all(&state, (0..64).map(mixed));
    let booked: Vec<_> =
        (0..64).zip(&decision.outcomes).filter(|(_, outcome)| outcome.is_ok()).map(|(n, _)| n).collect();
    // Of two neighbours in the show the first wins; of the other show's seat 1 the first caller.
    let expected: Vec<_> = (0..64).filter(|n| n % 4 == 0 || *n == 2).collect();
    assert_eq!(booked, expected);
    assert_eq!(decision.changes.bookings.len(), 17);
    commit(&decision.changes, &mut state.clone());
}

fn any_command() -> impl Strategy<Value = Command> {
    let seats = prop::sample::subsequence((1_i64..=8).collect::<Vec<_>>(), 1..=4).prop_shuffle();
    (1_i64..=6, 1_i64..=5, seats, 0..5, prop::bool::weighted(0.05)).prop_map(|(user, show, mut seats, key, far)| {
        if far {
            seats.push(SEATS + 1);
        }
        command(user, show, &seats, &format!("{key}"))
    })
}

fn any_state() -> impl Strategy<Value = Snapshot> {
    prop::collection::vec(0..6_u8, 8).prop_map(|kinds| {
        let mut state = new_state();
        for (kind, seat) in kinds.into_iter().zip(1..) {
            let claim = match kind {
                0 => booked_claim(),
                1 => held(seat, 1),
                2 => held(seat, -1),
                _ => continue,
            };
            state.claims.insert(place(seat), claim);
        }
        state
    })
}

/// Returns a booking as made by a command.
fn made(id: i64) -> Subject {
    Subject::Booking(BookingId(id))
}

proptest! {
    /// A batch is nothing but its commands one after the other, and no seat or key of it is taken twice.
    #[test]
    fn a_batch_is_its_commands_one_by_one(state in any_state(), commands in prop::collection::vec(any_command(), 0..40)) {
        let prepared = prepare(commands);
        let together = decide_prepared(&state, &prepared);
        let mut committed = state.clone();
        for (command, outcome) in prepared.iter().zip(&together.outcomes) {
            let one = decide_prepared(&committed, std::slice::from_ref(command));
            prop_assert_eq!(&one.outcomes[..], std::slice::from_ref(outcome));
            prop_assert_eq!(one.changes.is_empty(), !matches!(outcome, Ok(Success::Answered(Answer { replayed: false, .. }))));
            commit(&one.changes, &mut committed);
        }
        // What is committed together is what is committed one by one.
        let mut at_once = state;
        commit(&together.changes, &mut at_once);
        prop_assert_eq!(at_once, committed);
    }
}
