//! What cases sell with: an encoder, randomness, a timer, and committers in several arrangements.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use domain::booking::{
    Action, Answer, AnswerEncoder, BookSeats, Booking, Command, CommandError, CommandQueue, CommitterLimits,
    CommitterParts, Decision, Fingerprint, GeneratedIds, Hold, HoldId, IdempotencyKey, KeyName, NoMeter, Policy,
    PreparedCommand, ReadSet, Refusal, Rules, Scope, SeatGapRule, Subject, Success, command_queue, decide,
};
use domain::clock::{Clock, Timer};
use domain::identity::{Bearer, Caller};
use domain::ids::{BookingId, SeatId, ShowId};
use domain::page::{PageLimit, PageRequest};
use domain::random::Random;
use domain::seating::SeatSelection;
use futures::future::join_all;

use crate::{Fixture, Stores};

/// Writes a booking with all its fields, so that what is stored can be compared with what was answered.
pub struct TestEncoder;

impl AnswerEncoder for TestEncoder {
    fn encode_booked(&self, booking: &Booking) -> Vec<u8> {
        format!("{booking:?}").into_bytes()
    }

    fn encode_booking(&self, booking: &Booking) -> Vec<u8> {
        format!("now {booking:?}").into_bytes()
    }

    fn encode_hold(&self, hold: &Hold) -> Vec<u8> {
        format!("{hold:?}").into_bytes()
    }
}

/// Never the same bytes twice: a counter that begins anywhere, five bits a byte, which is what a reference keeps of one.
pub struct UniqueRandom(AtomicU64);

impl UniqueRandom {
    /// Returns a source that begins anywhere.
    pub fn new() -> Self {
        Self(AtomicU64::new(RandomState::new().hash_one(0)))
    }
}

impl Default for UniqueRandom {
    fn default() -> Self {
        Self::new()
    }
}

impl Random for UniqueRandom {
    fn fill(&self, bytes: &mut [u8]) {
        let mut rest = self.0.fetch_add(1, Ordering::Relaxed);
        for byte in bytes {
            *byte = u8::try_from(rest & 31).unwrap();
            rest >>= 5;
        }
    }
}

/// Waits as tokio does.
pub struct TokioTimer;

#[async_trait]
impl Timer for TokioTimer {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// What becomes of a command.
pub type Outcome = Result<Success, CommandError>;

/// An arrangement of committers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// How many queues, as many servers beside each other would have: they write to the same shows.
    pub queues: usize,
    /// How many committers each queue has: shows are divided between them.
    pub committers: usize,
    /// How many commands travel together.
    pub batch_max: usize,
    /// What the house allows.
    pub rules: Rules,
}

const fn mode(queues: usize, committers: usize, batch_max: usize) -> Mode {
    Mode { queues, committers, batch_max, rules: RULES }
}

/// What the houses of the cases allow.
pub const RULES: Rules = Rules {
    seats_max: 10,
    held_seats_max: 20,
    hold_ttl: TimeDelta::minutes(10),
    cancellation_cutoff: TimeDelta::hours(2),
    cancellations_max: 10,
    seat_gaps: SeatGapRule::Off,
};

/// One committer, everything together.
pub const SIMPLE: Mode = mode(1, 1, 64);
/// The arrangements that races are run in.
pub const MODES: [Mode; 6] = [mode(1, 1, 1), SIMPLE, mode(1, 2, 1), mode(1, 2, 64), mode(2, 1, 1), mode(2, 1, 64)];

/// Queues that are being worked off.
pub struct Sellers {
    queues: Vec<CommandQueue>,
}

impl Sellers {
    /// Hands in a command.
    pub async fn submit(&self, command: Command) -> Outcome {
        self.queues[0].submit(command).await
    }

    /// Hands in all commands at once, in turn to each queue.
    pub async fn submit_all(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let queues = self.queues.iter().cycle();
        join_all(queues.zip(commands).map(|(queue, command)| queue.submit(command))).await
    }
}

/// Runs `work` while committers work off what it hands in; returns when they have ended.
pub async fn sell<T>(stores: &Stores, mode: Mode, work: impl AsyncFnOnce(&Sellers) -> T) -> T {
    let parts = CommitterParts {
        rules: mode.rules,
        layouts: stores.layouts.clone(),
        encoder: Arc::new(TestEncoder),
        random: Arc::new(UniqueRandom::new()),
        timer: Arc::new(TokioTimer),
        meter: Arc::new(NoMeter),
    };
    let limits = CommitterLimits { queue_max: 1024, batch_max: mode.batch_max, timeout: Duration::from_secs(30) };
    let mut batches = stores.batches.iter().cycle().cloned();
    let mut sellers = Sellers { queues: Vec::new() };
    let mut running = Vec::new();
    for _ in 0..mode.queues {
        let lanes = batches.by_ref().take(mode.committers).collect();
        let (queue, committers) = command_queue(lanes, &parts, limits);
        sellers.queues.push(queue);
        running.extend(committers.into_iter().map(|committer| tokio::spawn(committer.run())));
    }
    let result = work(&sellers).await;
    drop(sellers);
    for committer in running {
        committer.await.expect("a committer panicked");
    }
    result
}

/// Returns the key of a command. Panics if it has none.
pub fn key_of(command: &Command) -> KeyName {
    command.key.clone().expect("a command with a key")
}

/// Seats that are asked for together.
pub fn selection(seats: &[SeatId]) -> SeatSelection {
    SeatSelection::parse(seats.to_vec(), 100).unwrap()
}

/// Returns a command to book seats.
pub fn book(caller: Caller, show_id: ShowId, seats: &[SeatId], key: &str) -> Command {
    command(caller, Action::Book(BookSeats { show_id, seats: selection(seats) }), key)
}

/// Returns a command. Another action has another fingerprint. Spaces, which no key has, become dashes; an empty key is none.
pub fn command(caller: Caller, action: Action, key: &str) -> Command {
    let text = match &action {
        Action::Redeem(id) | Action::Extend(id) | Action::Release(id) => format!("{} {}", action.name(), id.as_str()),
        other => format!("{other:?}"),
    };
    let scope = match &action {
        Action::Book(_) | Action::Redeem(_) => "POST /api/bookings".to_owned(),
        other => format!("POST {}", other.name()),
    };
    let mut fingerprint = [0_u8; 32];
    for (index, byte) in text.bytes().enumerate() {
        let place = &mut fingerprint[index % 32];
        *place = place.wrapping_mul(31).wrapping_add(byte);
    }
    let key = (!key.is_empty()).then(|| KeyName {
        user_id: caller.user_id,
        scope: Scope(scope),
        key: IdempotencyKey::parse(&key.replace(|c: char| c.is_whitespace(), "-")).unwrap(),
    });
    Command { bearer: Bearer { caller, session_id: None }, key, fingerprint: Fingerprint(fingerprint), action }
}

/// Returns the booking, its answer's bytes, and whether it was a replay. Panics if there is none.
pub fn booked(outcome: &Outcome) -> (BookingId, Arc<[u8]>, bool) {
    match outcome {
        Ok(Success::Answered(Answer { subject: Subject::Booking(id), body, replayed })) => {
            (*id, Arc::clone(body), *replayed)
        }
        other => panic!("not booked: {other:?}"),
    }
}

/// Returns the hold, its answer's bytes, and whether it was a replay. Panics if there is none.
pub fn held(outcome: &Outcome) -> (HoldId, Arc<[u8]>, bool) {
    match outcome {
        Ok(Success::Answered(Answer { subject: Subject::Hold(id), body, replayed })) => {
            (id.clone(), Arc::clone(body), *replayed)
        }
        other => panic!("not held: {other:?}"),
    }
}

/// Returns the refusal. Panics if there is none.
pub fn refused(outcome: &Outcome) -> Refusal {
    match outcome {
        Err(CommandError::Refused(refusal)) => refusal.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Reads and decides commands by hand, as a committer does, and leaves the write to the case.
pub async fn decided(stores: &Stores, rules: &Rules, random: &dyn Random, commands: &[Command]) -> Decision {
    let store = &stores.batches[0];
    let mut prepared = Vec::new();
    for command in commands {
        let block = store.reserve_booking_ids().await.unwrap();
        prepared.push(prepare(command, BookingId(block.first), random));
    }
    let state = store.read(&ReadSet::by(&prepared, rules)).await.unwrap();
    let mut layouts = HashMap::new();
    for id in state.shows.values().map(|show| show.layout_id) {
        layouts.insert(id, stores.layouts.layout(id).await.unwrap().unwrap());
    }
    decide(state, &prepared, Policy { rules, layouts: &layouts, encoder: &TestEncoder })
}

/// Returns a command with what is drawn for it.
pub fn prepare(command: &Command, booking_id: BookingId, random: &dyn Random) -> PreparedCommand {
    PreparedCommand::new(command.clone(), GeneratedIds::draw(command.show_id(), booking_id, random))
}

/// How many rows a sale has left.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    pub bookings: i64,
    pub booking_seats: i64,
    /// Claims of bookings.
    pub claims: i64,
    pub keys: i64,
    /// Events for others.
    pub outbox: i64,
}

/// Counts what has been sold.
pub async fn tally(fixture: &dyn Fixture) -> Tally {
    Tally {
        bookings: fixture.count("SELECT count(*) FROM bookings").await,
        booking_seats: fixture.count("SELECT count(*) FROM booking_seats").await,
        claims: fixture.count("SELECT count(*) FROM seat_claims WHERE status = 'booked'").await,
        keys: fixture.count("SELECT count(*) FROM idempotency_keys").await,
        outbox: fixture.count("SELECT count(*) FROM outbox").await,
    }
}

/// Returns a page of `items` items, from the beginning.
pub fn first_page<Place>(items: i64) -> PageRequest<Place> {
    PageRequest { limit: PageLimit::parse(items).unwrap(), after: None }
}

/// Walks a list with pages of 1, 2 and 100 items; each must give the same. A store answers one row more than the page has,
/// if there is one.
pub async fn paged<Item, Place>(
    list: impl AsyncFn(&PageRequest<Place>) -> Vec<Item>,
    place: impl Fn(&Item) -> Place,
) -> Vec<Item>
where
    Item: PartialEq + std::fmt::Debug,
{
    let whole = list(&first_page(100)).await;
    for items in [1, 2] {
        let mut page = first_page(items);
        let mut walked = Vec::new();
        loop {
            let rows = list(&page).await;
            let left = whole.len() - walked.len();
            assert_eq!(rows.len(), left.min(page.limit.items() + 1), "rows of a page of {items}");
            let cut = page.cut(rows, &place);
            walked.extend(cut.items);
            match cut.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
        assert_eq!(walked, whole, "pages of {items} against one big page");
    }
    whole
}

/// Clocks that stand still until they are moved.
pub struct SetClock {
    start: (Instant, DateTime<Utc>),
    passed: Mutex<Duration>,
}

impl SetClock {
    /// Clocks that show any instant, to the second.
    pub fn new() -> Self {
        let start = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        Self { start: (Instant::now(), start), passed: Mutex::default() }
    }

    /// Moves them.
    pub fn pass(&self, time: Duration) {
        *self.passed.lock().unwrap() += time;
    }
}

impl Default for SetClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SetClock {
    fn now(&self) -> DateTime<Utc> {
        self.start.1 + *self.passed.lock().unwrap()
    }
}

#[async_trait]
impl Timer for SetClock {
    fn instant(&self) -> Instant {
        self.start.0 + *self.passed.lock().unwrap()
    }

    async fn sleep(&self, duration: Duration) {
        self.pass(duration);
    }
}
