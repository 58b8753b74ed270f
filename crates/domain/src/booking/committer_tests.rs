//! The committer on a store and a clock that each test controls.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::TimeDelta;
use futures::FutureExt as _;
use futures::channel::oneshot;
use futures::executor::{LocalPool, block_on};
use futures::future::{join, join_all};
use futures::task::LocalSpawnExt as _;

use super::decide_tests::{OPEN, TestEncoder, booked_claim, command, commit, layouts, new_state, place};
use super::*;
use crate::clock::Timer;
use crate::error::StoreError;
use crate::ids::ShowId;
use crate::pricing::ShowPrices;
use crate::random::{OperationId, Random};
use crate::seating::MockLayoutStore;

const TIMEOUT: Duration = Duration::from_secs(10);
pub(super) const LIMITS: CommitterLimits = CommitterLimits { queue_max: 100, batch_max: 64, timeout: TIMEOUT };

type Outcome = Result<Success, CommandError>;

/// A clock that only [`VirtualTimer::advance`] and short sleeps move.
struct VirtualTimer {
    start: Instant,
    passed: Mutex<Duration>,
    sleepers: Mutex<Vec<(Duration, oneshot::Sender<()>)>>,
}

impl VirtualTimer {
    fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now(), passed: Mutex::default(), sleepers: Mutex::default() })
    }

    fn passed(&self) -> Duration {
        *self.passed.lock().unwrap()
    }

    fn advance(&self, duration: Duration) {
        *self.passed.lock().unwrap() += duration;
        let now = self.passed();
        for (_, wake) in self.sleepers.lock().unwrap().extract_if(.., |(at, _)| *at <= now) {
            let _ = wake.send(());
        }
    }
}

#[async_trait]
impl Timer for VirtualTimer {
    fn instant(&self) -> Instant {
        self.start + self.passed()
    }

    async fn sleep(&self, duration: Duration) {
        if duration < Duration::from_secs(1) {
            return self.advance(duration);
        }
        let (wake, woken) = oneshot::channel();
        self.sleepers.lock().unwrap().push((self.passed() + duration, wake));
        let _ = woken.await;
    }
}

#[derive(Default)]
struct Counter(AtomicU64);

impl Random for Counter {
    fn fill(&self, bytes: &mut [u8]) {
        let number = self.0.fetch_add(1, Ordering::Relaxed);
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::try_from((number >> (5 * index.min(12))) & 31).unwrap();
        }
    }
}

/// What the store was asked.
#[derive(Default)]
struct Seen {
    /// How many keys each read named, but for those that named nothing.
    reads: Vec<usize>,
    /// What was to be written.
    writes: Vec<WriteSet>,
    /// How often ids were reserved.
    blocks: u32,
    /// How often what was read was confirmed.
    confirmations: u32,
}

/// A committed state, what was asked of it, and a clock.
#[derive(Clone)]
pub(super) struct Bench {
    timer: Arc<VirtualTimer>,
    pub(super) state: Arc<Mutex<Snapshot>>,
    seen: Arc<Mutex<Seen>>,
    random: Arc<Counter>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self {
            timer: VirtualTimer::new(),
            state: Arc::new(Mutex::new(new_state())),
            seen: Arc::default(),
            random: Arc::default(),
        }
    }

    /// Returns a store whose reads fail if `read` says so, and whose `n`-th write (from 0) does what `write` says.
    fn store(
        &self,
        mut read: impl FnMut(&ReadSet) -> Option<StoreError> + Send + 'static,
        mut write: impl FnMut(usize, &WriteSet, &mut Snapshot) -> Result<(), WriteError> + Send + 'static,
    ) -> MockBatchStore {
        let mut store = MockBatchStore::new();
        let Self { state, seen, .. } = self.clone();
        store.expect_read().returning(move |named| {
            if !named.keys.is_empty() {
                seen.lock().unwrap().reads.push(named.keys.len());
            }
            read(named).map_or_else(|| Ok(state.lock().unwrap().clone()), Err)
        });
        let Self { state, seen, .. } = self.clone();
        store.expect_write().returning(move |changes| {
            let mut seen = seen.lock().unwrap();
            seen.writes.push(changes.clone());
            write(seen.writes.len() - 1, changes, &mut state.lock().unwrap())
        });
        let seen = Arc::clone(&self.seen);
        store.expect_confirm().returning(move || {
            seen.lock().unwrap().confirmations += 1;
            Ok(())
        });
        let seen = Arc::clone(&self.seen);
        store.expect_reserve_booking_ids().returning(move || {
            let mut seen = seen.lock().unwrap();
            seen.blocks += 1;
            Ok(BookingIdBlock { first: i64::from(seen.blocks) * 100, count: 3 })
        });
        store
    }

    /// Returns a store whose reads succeed.
    pub(super) fn writing(
        &self,
        write: impl FnMut(usize, &WriteSet, &mut Snapshot) -> Result<(), WriteError> + Send + 'static,
    ) -> MockBatchStore {
        self.store(|_| None, write)
    }

    pub(super) fn queue(&self, store: impl BatchStore + 'static, limits: CommitterLimits) -> (CommandQueue, Committer) {
        let (queue, mut committers) = command_queue(vec![Arc::new(store)], &self.parts(), limits);
        (queue, committers.remove(0))
    }

    fn parts(&self) -> CommitterParts {
        let mut store = MockLayoutStore::new();
        store.expect_layout().returning(|id| Ok(layouts().remove(&id)));
        CommitterParts {
            rules: Rules::default(),
            layouts: Arc::new(store),
            encoder: Arc::new(TestEncoder),
            random: self.random.clone(),
            timer: self.timer.clone(),
            meter: Arc::new(NoMeter),
        }
    }

    /// Hands in all commands at once, works them off together, and ends.
    fn serve(&self, store: MockBatchStore, commands: Vec<Command>) -> Vec<Outcome> {
        self.serve_in_turn(store, LIMITS, vec![commands])
    }

    /// Returns the same, one group of commands after the other.
    fn serve_in_turn(&self, store: MockBatchStore, limits: CommitterLimits, groups: Vec<Vec<Command>>) -> Vec<Outcome> {
        let (queue, committer) = self.queue(store, limits);
        let callers = async move {
            let mut outcomes = Vec::new();
            for commands in groups {
                outcomes.extend(join_all(commands.into_iter().map(|command| queue.submit(command))).await);
            }
            outcomes
        };
        block_on(join(callers, committer.run())).0
    }

    fn reads(&self) -> Vec<usize> {
        self.seen.lock().unwrap().reads.clone()
    }

    fn confirmations(&self) -> u32 {
        self.seen.lock().unwrap().confirmations
    }

    fn writes(&self) -> Vec<WriteSet> {
        self.seen.lock().unwrap().writes.clone()
    }
}

fn done(changes: &WriteSet, state: &mut Snapshot) -> Result<(), WriteError> {
    commit(changes, state);
    Ok(())
}

pub(super) fn stale() -> Result<(), WriteError> {
    Err(WriteError::Stale(Arc::from(Box::from("stale"))))
}

fn unknown() -> Result<(), WriteError> {
    Err(WriteError::Unknown(Arc::from(Box::from("unknown"))))
}

fn down() -> StoreError {
    StoreError::unavailable("down")
}

/// Returns a command of user 1 for one seat, with a key of its own.
pub(super) fn seat(number: i64) -> Command {
    command(1, OPEN, &[number], &format!("seat-{number}"))
}

/// What became of it, in a word.
fn word(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(Success::Answered(Answer { replayed: false, .. })) => "booked",
        Ok(Success::Answered(Answer { replayed: true, .. })) => "replayed",
        Ok(Success::AnswerDeleted(_)) => "long ago",
        Err(CommandError::Refused(Refusal::SeatUnavailable { .. })) => "taken",
        Err(CommandError::Refused(_)) => "refused",
        Err(CommandError::Overloaded) => "overloaded",
        Err(CommandError::Store(StoreError::Unavailable(_))) => "down",
        Err(CommandError::Store(StoreError::Internal(_))) => "broken",
        Err(CommandError::OutcomeUnknown) => "unknown",
    }
}

fn words(outcomes: &[Outcome]) -> Vec<&'static str> {
    outcomes.iter().map(word).collect()
}

#[test]
fn what_waits_together_is_written_together() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| done(changes, state));
    let outcomes = bench.serve(store, vec![seat(1), seat(2), seat(1), command(2, OPEN, &[2], "late")]);
    assert_eq!(words(&outcomes), ["booked", "booked", "replayed", "taken"]);
    assert_eq!((bench.reads(), bench.writes().len()), (vec![3], 1));
    assert_eq!(bench.timer.passed(), Duration::ZERO, "an idle system adds no delay");
}

#[test]
fn refusals_write_nothing() {
    let bench = Bench::new();
    bench.state.lock().unwrap().claims.insert(place(1), booked_claim());
    let store = bench.writing(|_, _, _| stale());
    assert_eq!(words(&bench.serve(store, vec![seat(1), command(2, 99, &[1], "k")])), ["taken", "refused"]);
    assert!(bench.writes().is_empty());
}

#[test]
fn used_id_discards_the_block_and_generates_new_ids() {
    let bench = Bench::new();
    let store = bench.writing(|call, changes, state| match call {
        0 => Err(WriteError::UsedId(Arc::from(Box::from("bookings_pkey")))),
        _ => done(changes, state),
    });
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2)])), ["booked", "booked"]);
    let writes = bench.writes();
    let ids = |changes: &WriteSet| changes.bookings.iter().map(|booking| booking.id.0).collect::<Vec<_>>();
    assert_eq!((ids(&writes[0]), ids(&writes[1])), (vec![100, 101], vec![200, 201]), "of the next block");
    let references =
        |changes: &WriteSet| changes.bookings.iter().map(|booking| booking.reference.clone()).collect::<Vec<_>>();
    assert_ne!(references(&writes[0]), references(&writes[1]));
    let operations = |changes: &WriteSet| changes.keys.iter().map(|(_, key)| key.operation_id).collect::<Vec<_>>();
    assert_eq!(operations(&writes[0]), operations(&writes[1]), "it is the same run of the commands");
}

#[test]
fn replay_that_was_read_is_confirmed_before_it_is_answered() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| done(changes, state));
    let outcomes = bench.serve_in_turn(store, LIMITS, vec![vec![seat(1), seat(1)], vec![seat(1)]]);
    assert_eq!(words(&outcomes), ["booked", "replayed", "replayed"]);
    assert_eq!(bench.confirmations(), 1, "the first two are committed by themselves");
    // A batch that writes is committed behind what it has read.
    let store = bench.writing(|_, changes, state| done(changes, state));
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2)])), ["replayed", "booked"]);
    assert_eq!(bench.confirmations(), 1);
}

#[test]
fn replay_that_cannot_be_confirmed_is_unavailable() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| done(changes, state));
    assert_eq!(words(&bench.serve(store, vec![seat(1)])), ["booked"]);
    let mut store = MockBatchStore::new();
    let state = bench.state.clone();
    store.expect_read().returning(move |_| Ok(state.lock().unwrap().clone()));
    store.expect_reserve_booking_ids().returning(|| Ok(BookingIdBlock { first: 900, count: 3 }));
    store.expect_confirm().returning(|| Err(down()));
    assert_eq!(words(&bench.serve(store, vec![seat(1)])), ["down"]);
}

#[test]
fn found_write_of_unknown_outcome_is_confirmed_before_it_is_answered() {
    for confirmed in [true, false] {
        let bench = Bench::new();
        let mut store = MockBatchStore::new();
        let state = bench.state.clone();
        store.expect_read().returning(move |_| Ok(state.lock().unwrap().clone()));
        store.expect_reserve_booking_ids().returning(|| Ok(BookingIdBlock { first: 900, count: 3 }));
        let state = bench.state.clone();
        store.expect_write().times(1).returning(move |changes| {
            commit(changes, &mut state.lock().unwrap());
            unknown()
        });
        let mut calls = 0;
        store.expect_confirm().returning(move || {
            calls += 1;
            if confirmed && calls == 3 { Ok(()) } else { Err(down()) }
        });
        let expected = if confirmed { "booked" } else { "unknown" };
        assert_eq!(words(&bench.serve(store, vec![seat(1)])), [expected]);
    }
}

#[test]
fn another_history_discards_the_block_of_ids() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| {
        commit(changes, state);
        state.history = History(Arc::from("promoted"));
        Ok(())
    });
    let outcomes = bench.serve_in_turn(store, LIMITS, vec![vec![seat(1)], vec![seat(2)]]);
    assert_eq!(words(&outcomes), ["booked", "booked"]);
    let ids: Vec<_> = bench.writes().iter().map(|changes| changes.bookings[0].id.0).collect();
    assert_eq!(ids, [100, 200], "the second of another block");
}

#[test]
fn after_a_conflict_all_is_read_and_decided_again() {
    let bench = Bench::new();
    let store = bench.writing(|call, changes, state| {
        if call == 0 {
            // A rival was faster.
            state.claims.insert(place(2), booked_claim());
            return stale();
        }
        done(changes, state)
    });
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2), seat(3)])), ["booked", "taken", "booked"]);
    assert_eq!(bench.reads(), [3, 3]);
    let writes = bench.writes();
    assert_eq!((writes[0].bookings.len(), writes[1].bookings.len()), (3, 2));
    assert_eq!(writes[0].bookings[0].reference, writes[1].bookings[0].reference, "drawn once");
    assert_eq!(writes[0].keys[0].1.operation_id, writes[1].keys[0].1.operation_id, "drawn once");
}

#[test]
fn after_three_conflicts_commands_are_run_one_by_one() {
    let bench = Bench::new();
    let store = bench.writing(|call, changes, state| if call < 3 { stale() } else { done(changes, state) });
    let commands = vec![seat(1), seat(2), command(2, OPEN, &[1], "late"), seat(3)];
    assert_eq!(words(&bench.serve(store, commands)), ["booked", "booked", "taken", "booked"]);
    assert_eq!(bench.reads(), [4, 4, 4, 1, 1, 1, 1], "in the order of their arrival");
}

#[test]
fn conflicts_without_end_are_given_up_having_written_nothing() {
    let bench = Bench::new();
    let store = bench.writing(|_, _, _| stale());
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2)])), ["overloaded", "overloaded"]);
    assert_eq!(bench.writes().len(), 3 + 20 + 20);
}

#[test]
fn a_rival_with_the_same_key_makes_a_replay() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| {
        let mut rivals = changes.clone();
        rivals.keys[0].1.operation_id = OperationId([255; 16]);
        rivals.keys[0].1.body = Some(Arc::from(&b"the rival's bytes"[..]));
        commit(&rivals, state);
        stale()
    });
    let outcomes = bench.serve(store, vec![seat(1)]);
    let Ok(Success::Answered(Answer { body, replayed: true, .. })) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(&body[..], b"the rival's bytes");
}

#[test]
fn an_unknown_outcome_that_was_written_is_the_first_answer() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| {
        commit(changes, state);
        // Meanwhile the sale has closed, and the session has ended.
        state.now += TimeDelta::hours(2);
        state.users.clear();
        unknown()
    });
    let outcomes = bench.serve(store, vec![seat(1)]);
    let written = bench.writes();
    assert_eq!(written.len(), 1);
    let Ok(Success::Answered(Answer { body, replayed: false, subject })) = &outcomes[0] else { panic!("{outcomes:?}") };
    assert_eq!(
        (Some(body), subject.booking_id()),
        (written[0].keys[0].1.body.as_ref(), Some(written[0].bookings[0].id))
    );
}

#[test]
fn an_unknown_outcome_that_was_not_written_is_written_again_as_it_was() {
    let bench = Bench::new();
    let store = bench.writing(|call, changes, state| if call == 0 { unknown() } else { done(changes, state) });
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2)])), ["booked", "booked"]);
    let writes = bench.writes();
    assert_eq!(writes.len(), 2);
    assert_eq!(writes[0], writes[1], "the same ids, references and bytes");
}

#[test]
fn after_an_unknown_outcome_only_what_a_rival_has_is_refused() {
    type Meanwhile = fn(&mut Snapshot, &WriteSet);
    let cases: [(&str, Meanwhile); 6] = [
        ("unknown", |state, _| state.now += TimeDelta::hours(2)),
        ("unknown", |state, _| state.users.clear()),
        ("unknown", |state, _| state.shows.clear()),
        ("unknown", |state, _| state.shows.values_mut().for_each(|show| show.prices = ShowPrices::default())),
        ("taken", |state, _| _ = state.claims.insert(place(1), booked_claim())),
        ("refused", |state, changes| {
            let mut rivals = changes.clone();
            rivals.keys[0].1.operation_id = OperationId([255; 16]);
            rivals.keys[0].1.fingerprint = Fingerprint([255; 32]);
            commit(&rivals, state);
        }),
    ];
    for (index, (expected, meanwhile)) in cases.into_iter().enumerate() {
        let bench = Bench::new();
        let store = bench.writing(move |_, changes, state| {
            meanwhile(state, changes);
            unknown()
        });
        assert_eq!(words(&bench.serve(store, vec![seat(1)])), [expected], "case {index}");
        assert_eq!(bench.writes().len(), 1, "case {index}");
    }
}

#[test]
fn who_was_not_sent_is_refused_though_the_outcome_of_others_is_unknown() {
    let bench = Bench::new();
    let store = bench.writing(|_, _, state| {
        state.now += TimeDelta::hours(2);
        unknown()
    });
    // The second was refused in the first run, so nothing of it was sent.
    let outcomes = bench.serve(store, vec![seat(1), command(2, 99, &[1], "k")]);
    assert_eq!(words(&outcomes), ["unknown", "refused"]);
}

#[test]
fn an_outcome_that_stays_unknown_until_the_deadline_is_told_so() {
    let bench = Bench::new();
    let timer = Arc::clone(&bench.timer);
    let gone = Arc::new(Mutex::new(false));
    let is_gone = Arc::clone(&gone);
    let read = move |_: &ReadSet| (*is_gone.lock().unwrap() && timer.passed() < TIMEOUT).then(down);
    let store = bench.store(read, move |call, changes, state| {
        *gone.lock().unwrap() = call == 0;
        if call == 0 { unknown() } else { done(changes, state) }
    });
    let groups = vec![vec![seat(1), command(2, 99, &[1], "k")], vec![seat(2)]];
    // A command that was not sent has booked nothing, and its outcome says so.
    assert_eq!(words(&bench.serve_in_turn(store, LIMITS, groups)), ["unknown", "overloaded", "booked"]);
    assert!(bench.timer.passed() >= TIMEOUT && bench.timer.passed() < TIMEOUT + Duration::from_secs(1));
    assert_eq!(bench.writes().len(), 2);
}

#[test]
fn an_outcome_that_is_unknown_again_and_again_is_told_so() {
    let bench = Bench::new();
    let store = bench.writing(|_, _, _| unknown());
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2)])), ["unknown", "unknown"]);
    assert!(bench.timer.passed() > Duration::ZERO, "it pauses before it asks again");
}

#[test]
fn a_store_that_is_down_after_an_unknown_outcome_is_asked_again() {
    let bench = Bench::new();
    let store = bench.writing(|call, changes, state| match call {
        0 => unknown(),
        1 => Err(WriteError::Store(down())),
        _ => done(changes, state),
    });
    assert_eq!(words(&bench.serve(store, vec![seat(1)])), ["booked"]);
}

#[test]
fn a_store_that_is_down_fails_what_was_asked_and_works_again_later() {
    let bench = Bench::new();
    let mut asked = 0;
    let read = move |_: &ReadSet| {
        asked += 1;
        (asked == 1).then(down)
    };
    let store = bench.store(
        read,
        |call, changes, state| {
            if call == 0 { Err(WriteError::Store(down())) } else { done(changes, state) }
        },
    );
    let groups = vec![vec![seat(1), seat(2)], vec![seat(1), seat(2)], vec![seat(1), seat(2)]];
    let outcomes = bench.serve_in_turn(store, LIMITS, groups);
    assert_eq!(words(&outcomes), ["down", "down", "down", "down", "booked", "booked"]);
}

#[test]
fn without_ids_a_command_fails_and_the_next_one_works() {
    let bench = Bench::new();
    let mut store = MockBatchStore::new();
    let mut asked = 0;
    store.expect_reserve_booking_ids().returning(move || {
        asked += 1;
        if asked == 1 { Err(down()) } else { Ok(BookingIdBlock { first: 1, count: 100 }) }
    });
    let state = Arc::clone(&bench.state);
    store.expect_read().returning(move |_| Ok(state.lock().unwrap().clone()));
    store.expect_write().returning(|_| Ok(()));
    assert_eq!(words(&bench.serve_in_turn(store, LIMITS, vec![vec![seat(1)], vec![seat(1)]])), ["down", "booked"]);
}

#[test]
fn what_the_store_cannot_stand_fails_by_itself() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| {
        if changes.claims.iter().any(|claim| claim.seat_id.0 == 2) {
            return Err(WriteError::Store(StoreError::internal("poison")));
        }
        done(changes, state)
    });
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2), seat(3)])), ["booked", "broken", "booked"]);
    assert_eq!(bench.reads(), [3, 1, 1, 1]);
    let bench = Bench::new();
    let poison = |named: &ReadSet| named.seats.contains(&place(2)).then(|| StoreError::internal("poison"));
    let store = bench.store(poison, |_, changes, state| done(changes, state));
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2), seat(3)])), ["booked", "broken", "booked"]);
}

#[test]
fn batches_grow_to_their_limit_and_no_further() {
    for (batch_max, expected) in [(4, vec![4, 4, 2]), (1, vec![1; 10]), (10, vec![10]), (64, vec![10])] {
        let bench = Bench::new();
        let store = bench.writing(|_, changes, state| done(changes, state));
        let commands = (1..=10).map(seat).collect();
        let outcomes = bench.serve_in_turn(store, CommitterLimits { batch_max, ..LIMITS }, vec![commands]);
        assert_eq!(words(&outcomes), ["booked"; 10]);
        assert_eq!(bench.reads(), expected, "at most {batch_max}");
    }
}

#[test]
fn ids_are_taken_from_blocks_each_once() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| done(changes, state));
    let groups = vec![(1..=5).map(seat).collect(), (6..=7).map(seat).collect()];
    bench.serve_in_turn(store, LIMITS, groups);
    let ids: Vec<_> = bench.writes().iter().flat_map(|changes| &changes.bookings).map(|booking| booking.id.0).collect();
    assert_eq!(ids, [100, 101, 102, 200, 201, 202, 300]);
    assert_eq!(bench.seen.lock().unwrap().blocks, 3);
}

/// A queue whose callers, committer and clock are stepped by the test.
struct Steps {
    pool: LocalPool,
    queue: Option<Rc<CommandQueue>>,
}

type Slot = Rc<RefCell<Option<Outcome>>>;

impl Steps {
    fn new(queue: CommandQueue) -> Self {
        Self { pool: LocalPool::new(), queue: Some(Rc::new(queue)) }
    }

    /// Returns a caller who waits; what it is answered shows in the slot.
    fn submit(&mut self, command: Command) -> Slot {
        let (queue, slot) = (Rc::clone(self.queue.as_ref().unwrap()), Slot::default());
        let answer = Rc::clone(&slot);
        let caller = async move { *answer.borrow_mut() = Some(queue.submit(command).await) };
        self.pool.spawner().spawn_local(caller).unwrap();
        self.pool.run_until_stalled();
        slot
    }

    fn start(&mut self, committer: Committer) {
        self.pool.spawner().spawn_local(committer.run()).unwrap();
        self.pool.run_until_stalled();
    }
}

fn answered(slot: &Slot) -> Option<&'static str> {
    slot.borrow().as_ref().map(word)
}

#[test]
fn a_deadline_before_it_was_taken_is_overload_and_nothing_is_read() {
    let bench = Bench::new();
    let (queue, committer) = bench.queue(MockBatchStore::new(), LIMITS);
    let mut steps = Steps::new(queue);
    let slot = steps.submit(seat(1));
    bench.timer.advance(TIMEOUT - Duration::from_millis(1));
    steps.pool.run_until_stalled();
    assert_eq!(answered(&slot), None);
    bench.timer.advance(Duration::from_millis(1));
    steps.pool.run_until_stalled();
    assert_eq!(answered(&slot), Some("overloaded"));
    // Nor when the committer comes to it: a mock that expects nothing panics at whatever it is asked.
    steps.start(committer);
}

#[test]
fn a_committer_that_comes_too_late_reads_nothing() {
    let bench = Bench::new();
    let (queue, committer) = bench.queue(MockBatchStore::new(), LIMITS);
    let mut submitted = Box::pin(queue.submit(seat(1)));
    assert!(poll_once(&mut submitted).is_none());
    bench.timer.advance(TIMEOUT);
    assert!(poll_once(&mut Box::pin(committer.run())).is_none());
    assert_eq!(word(&block_on(submitted)), "overloaded");
}

/// What a future is ready with now, if anything.
fn poll_once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    future.now_or_never()
}

/// A store whose write waits for the test.
struct Gate {
    store: MockBatchStore,
    opened: Mutex<Option<oneshot::Receiver<()>>>,
}

#[async_trait]
impl BatchStore for Gate {
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError> {
        self.store.reserve_booking_ids().await
    }

    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError> {
        self.store.read(named).await
    }

    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError> {
        let opened = self.opened.lock().unwrap().take();
        if let Some(opened) = opened {
            let _ = opened.await;
        }
        self.store.write(changes).await
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        self.store.confirm().await
    }
}

fn gated(bench: &Bench) -> (oneshot::Sender<()>, Gate) {
    let (open, opened) = oneshot::channel();
    let store = bench.writing(|_, changes, state| done(changes, state));
    (open, Gate { store, opened: Mutex::new(Some(opened)) })
}

#[test]
fn a_command_that_was_taken_is_awaited_whatever_the_time() {
    let bench = Bench::new();
    let (open, gate) = gated(&bench);
    let (queue, committer) = bench.queue(gate, LIMITS);
    let mut steps = Steps::new(queue);
    steps.start(committer);
    let taken = steps.submit(seat(1));
    let waiting = steps.submit(seat(2));
    bench.timer.advance(TIMEOUT * 3);
    steps.pool.run_until_stalled();
    assert_eq!((answered(&taken), answered(&waiting)), (None, Some("overloaded")));
    open.send(()).unwrap();
    steps.pool.run_until_stalled();
    assert_eq!(answered(&taken), Some("booked"));
    assert_eq!(bench.reads(), [1], "the abandoned one was never run");
}

#[test]
fn a_deadline_between_two_runs_ends_them() {
    let bench = Bench::new();
    let timer = Arc::clone(&bench.timer);
    let store = bench.writing(move |_, _, _| {
        timer.advance(TIMEOUT);
        stale()
    });
    assert_eq!(words(&bench.serve(store, vec![seat(1), seat(2)])), ["overloaded", "overloaded"]);
    assert_eq!(bench.reads(), [2]);
}

#[test]
fn a_caller_who_hangs_up_cancels_nothing() {
    let bench = Bench::new();
    let (open, gate) = gated(&bench);
    let (queue, committer) = bench.queue(gate, LIMITS);
    let mut submitted = Box::pin(queue.submit(seat(1)));
    let mut running = Box::pin(committer.run());
    assert!(poll_once(&mut submitted).is_none());
    assert!(poll_once(&mut running).is_none());
    drop(submitted);
    open.send(()).unwrap();
    drop(queue);
    block_on(running);
    assert_eq!(bench.state.lock().unwrap().claims.len(), 1);
}

#[test]
fn a_full_queue_refuses_at_once_and_takes_again_when_it_is_worked_off() {
    for queue_max in [1, 2, 5] {
        let bench = Bench::new();
        let store = bench.writing(|_, changes, state| done(changes, state));
        let (queue, committer) = bench.queue(store, CommitterLimits { queue_max, ..LIMITS });
        let mut steps = Steps::new(queue);
        let slots: Vec<_> = (1..=8).map(|number| steps.submit(seat(number))).collect();
        let refused: Vec<_> = slots.iter().map(|slot| answered(slot).is_some()).collect();
        assert_eq!(refused, (1..=8).map(|number| number > queue_max).collect::<Vec<_>>(), "room for {queue_max}");
        assert_eq!(answered(&slots[7]), Some("overloaded"));
        steps.start(committer);
        assert!(slots[..queue_max].iter().all(|slot| answered(slot) == Some("booked")));
        let later = steps.submit(seat(9));
        assert_eq!(answered(&later), Some("booked"));
    }
}

#[test]
fn a_dropped_queue_answers_what_was_handed_in_and_the_committer_ends() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| done(changes, state));
    let (queue, committer) = bench.queue(store, CommitterLimits { batch_max: 2, ..LIMITS });
    let mut steps = Steps::new(queue);
    let slots: Vec<_> = (1..=5).map(|number| steps.submit(seat(number))).collect();
    steps.queue = None;
    steps.start(committer);
    assert!(slots.iter().all(|slot| answered(slot) == Some("booked")));
    steps.pool.run();
}

#[test]
fn a_committer_that_is_gone_is_told_by_what_it_may_have_done() {
    let bench = Bench::new();
    let (_open, gate) = gated(&bench);
    let (queue, committer) = bench.queue(gate, LIMITS);
    let mut taken = Box::pin(queue.submit(seat(1)));
    let mut waiting = Box::pin(queue.submit(seat(2)));
    let mut running = Box::pin(committer.run());
    assert!(poll_once(&mut taken).is_none());
    assert!(poll_once(&mut running).is_none());
    assert!(poll_once(&mut waiting).is_none());
    drop(running);
    assert_eq!(word(&block_on(taken)), "unknown");
    assert_eq!(word(&block_on(waiting)), "overloaded");
    assert_eq!(word(&block_on(queue.submit(seat(3)))), "overloaded");
}

#[test]
fn a_shows_commands_always_take_the_same_lane() {
    let bench = Bench::new();
    let lanes: Vec<Bench> =
        (0..2).map(|_| Bench { seen: Arc::default(), state: Bench::new().state, ..bench.clone() }).collect();
    let store =
        |lane: &Bench| -> Arc<dyn BatchStore> { Arc::new(lane.writing(|_, changes, state| done(changes, state))) };
    let (queue, committers) = command_queue(lanes.iter().map(store).collect(), &bench.parts(), LIMITS);
    let commands = (1..=8).map(|number| command(1, 1 + number % 2, &[number], &format!("{number}")));
    let callers = async move { join_all(commands.map(|command| queue.submit(command))).await };
    let running = join_all(committers.into_iter().map(Committer::run));
    assert_eq!(words(&block_on(join(callers, running)).0), ["booked"; 8]);
    for (lane, show) in lanes.iter().zip([2, 1]) {
        let writes = lane.writes();
        assert_eq!((writes.len(), writes[0].bookings.len()), (1, 4));
        assert!(writes[0].bookings.iter().all(|booking| booking.show_id == ShowId(show)));
    }
}

#[test]
fn queue_counts_the_commands_that_wait() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| done(changes, state));
    let (queue, committer) = bench.queue(store, CommitterLimits { queue_max: 2, ..LIMITS });
    let mut steps = Steps::new(queue);
    let waiting = |steps: &Steps| steps.queue.as_ref().unwrap().waiting();
    assert_eq!(waiting(&steps), 0);
    for (number, expected) in [(1, 1), (2, 2), (3, 2)] {
        steps.submit(seat(number));
        assert_eq!(waiting(&steps), expected, "after command {number}");
    }
    steps.start(committer);
    assert_eq!(waiting(&steps), 0);
}

/// Counts what the committer measures.
#[derive(Default)]
struct Measured {
    batches: Mutex<Vec<usize>>,
    reruns: Mutex<Vec<RetryReason>>,
}

impl BookingMeter for Measured {
    fn batch(&self, commands: usize) {
        self.batches.lock().unwrap().push(commands);
    }

    fn rerun(&self, why: RetryReason) {
        self.reruns.lock().unwrap().push(why);
    }
}

#[test]
fn batches_are_measured_unless_each_command_came_too_late() {
    let bench = Bench::new();
    let store: Arc<dyn BatchStore> = Arc::new(bench.writing(|_, changes, state| done(changes, state)));
    let meter = Arc::new(Measured::default());
    let parts = CommitterParts { meter: meter.clone(), ..bench.parts() };
    let (queue, mut committers) = command_queue(vec![store], &parts, LIMITS);
    let mut running = Box::pin(committers.remove(0).run());
    let mut late = Box::pin(queue.submit(seat(1)));
    assert!(poll_once(&mut late).is_none());
    bench.timer.advance(TIMEOUT);
    assert!(poll_once(&mut running).is_none());
    let mut timely = Box::pin(join(queue.submit(seat(2)), queue.submit(seat(3))));
    assert!(poll_once(&mut timely).is_none());
    assert!(poll_once(&mut running).is_none());
    assert_eq!(*meter.batches.lock().unwrap(), [2]);
}

#[test]
fn single_command_pauses_before_it_is_run_again_after_a_change_and_a_batch_does_not() {
    let paused = |commands: Vec<Command>, first: fn() -> Result<(), WriteError>| {
        let bench = Bench::new();
        let store = bench.writing(move |call, changes, state| if call == 0 { first() } else { done(changes, state) });
        let meter = Arc::new(Measured::default());
        let parts = CommitterParts { meter: meter.clone(), ..bench.parts() };
        let (queue, mut committers) = command_queue(vec![Arc::new(store)], &parts, LIMITS);
        let callers = async move { join_all(commands.into_iter().map(|command| queue.submit(command))).await };
        let outcomes = block_on(join(callers, committers.remove(0).run())).0;
        assert!(outcomes.iter().all(|outcome| word(outcome) == "booked"), "{outcomes:?}");
        (bench.timer.passed(), meter.reruns.lock().unwrap().clone())
    };
    let (pause, reruns) = paused(vec![seat(1)], stale);
    assert!(pause > Duration::ZERO && pause < Duration::from_millis(8), "{pause:?}");
    assert_eq!(reruns, [RetryReason::Stale]);
    assert_eq!(paused(vec![seat(1), seat(2)], stale), (Duration::ZERO, vec![RetryReason::Stale]));
    let (pause, reruns) = paused(vec![seat(1)], unknown);
    assert_eq!((pause, reruns), (Duration::from_millis(50), vec![RetryReason::UnknownOutcome]), "one pause only");
}
