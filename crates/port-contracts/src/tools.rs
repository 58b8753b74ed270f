//! Tools to sell in a case: an encoder, randomness, a timer, and committers in several arrangements.

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
use domain::pricing::TicketTypeCode;
use domain::random::Random;
use domain::seating::{SeatSelection, TicketSelection};
use futures::future::join_all;

use crate::{Fixture, Stores};

/// Encodes a booking with all its fields, so that a stored booking can be compared with its answer.
pub struct TestEncoder;

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

/// A random source that never repeats its bytes: a counter, in five bits for each byte, because a reference keeps five bits of a byte.
pub struct UniqueRandom(AtomicU64);

impl UniqueRandom {
    /// Creates a source whose counter begins at a random value.
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

/// A timer that uses tokio's clock.
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

/// The result of a command.
pub type Outcome = Result<Success, CommandError>;

/// An arrangement of committers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mode {
    /// The number of queues. Several queues stand for several servers: all write to the same shows.
    pub queues: usize,
    /// The number of committers of each queue. The shows are divided between them.
    pub committers: usize,
    /// The most commands of a batch.
    pub batch_max: usize,
    /// The rules that the committers apply.
    pub rules: Rules,
}

const fn mode(queues: usize, committers: usize, batch_max: usize) -> Mode {
    Mode { queues, committers, batch_max, rules: RULES }
}

/// The default rules of the cases.
pub const RULES: Rules = Rules {
    seats_max: 10,
    held_seats_max: 20,
    hold_ttl: TimeDelta::minutes(10),
    cancellation_cutoff: TimeDelta::hours(2),
    cancellations_max: 10,
    seat_gaps: SeatGapRule::Off,
};

/// One committer that takes up to 64 commands in a batch.
pub const SIMPLE: Mode = mode(1, 1, 64);
/// The arrangements in which races are run.
pub const MODES: [Mode; 6] = [mode(1, 1, 1), SIMPLE, mode(1, 2, 1), mode(1, 2, 64), mode(2, 1, 1), mode(2, 1, 64)];

/// Queues whose commands are processed by running committers.
pub struct Sellers {
    queues: Vec<CommandQueue>,
}

impl Sellers {
    /// Submits a command to the first queue.
    pub async fn submit(&self, command: Command) -> Outcome {
        self.queues[0].submit(command).await
    }

    /// Submits all commands concurrently, distributed over the queues in turn.
    pub async fn submit_all(&self, commands: Vec<Command>) -> Vec<Outcome> {
        let queues = self.queues.iter().cycle();
        join_all(queues.zip(commands).map(|(queue, command)| queue.submit(command))).await
    }
}

/// Runs `work` while committers process the commands it submits. Returns when the committers have ended.
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

/// Creates a seat selection.
pub fn selection(seats: &[SeatId]) -> SeatSelection {
    SeatSelection::parse(seats.to_vec(), 100).unwrap()
}

/// Creates a ticket selection: each seat with the code of its ticket type.
pub fn tickets(tickets: &[(SeatId, &str)]) -> TicketSelection {
    let ticket = |(seat, code): &(SeatId, &str)| (*seat, TicketTypeCode::parse(code).unwrap());
    TicketSelection::parse(tickets.iter().map(ticket).collect(), 100).unwrap()
}

/// Creates a command to book seats.
pub fn book(caller: Caller, show_id: ShowId, seats: &[SeatId], key: &str) -> Command {
    command(caller, Action::Book(BookSeats { show_id, seats: selection(seats).into() }), key)
}

/// Creates a command. Different actions have different fingerprints. Whitespace, which keys cannot contain, becomes a dash; an empty
/// `key` means no key.
pub fn command(caller: Caller, action: Action, key: &str) -> Command {
    let text = match &action {
        Action::Redeem(id) | Action::Extend(id) | Action::Release(id) => format!("{} {}", action.name(), id.as_str()),
        other => format!("{other:?}"),
    };
    let scope = match &action {
        Action::Book(_) | Action::Redeem(_) | Action::RedeemAs(..) => "POST /api/bookings".to_owned(),
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

/// Returns the booking's id, the bytes of its answer, and whether it was a replay. Panics if the outcome is not a booking.
pub fn booked(outcome: &Outcome) -> (BookingId, Arc<[u8]>, bool) {
    match outcome {
        Ok(Success::Answered(Answer { subject: Subject::Booking(id), body, replayed })) => {
            (*id, Arc::clone(body), *replayed)
        }
        other => panic!("not booked: {other:?}"),
    }
}

/// Returns the hold's id, the bytes of its answer, and whether it was a replay. Panics if the outcome is not a hold.
pub fn held(outcome: &Outcome) -> (HoldId, Arc<[u8]>, bool) {
    match outcome {
        Ok(Success::Answered(Answer { subject: Subject::Hold(id), body, replayed })) => {
            (id.clone(), Arc::clone(body), *replayed)
        }
        other => panic!("not held: {other:?}"),
    }
}

/// Returns the refusal. Panics if the outcome is not a refusal.
pub fn refused(outcome: &Outcome) -> Refusal {
    match outcome {
        Err(CommandError::Refused(refusal)) => refusal.clone(),
        other => panic!("not refused: {other:?}"),
    }
}

/// Reads and decides commands as a committer does, and leaves the write to the case.
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

/// Pairs a command with its generated ids.
pub fn prepare(command: &Command, booking_id: BookingId, random: &dyn Random) -> PreparedCommand {
    PreparedCommand::new(command.clone(), GeneratedIds::draw(command.show_id(), booking_id, random))
}

/// The number of rows that sales have created.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    pub bookings: i64,
    pub booking_seats: i64,
    /// Claims of bookings only.
    pub claims: i64,
    pub keys: i64,
    /// Events in the outbox.
    pub outbox: i64,
}

/// Counts the rows that sales have created.
pub async fn tally(fixture: &dyn Fixture) -> Tally {
    Tally {
        bookings: fixture.count("SELECT count(*) FROM bookings").await,
        booking_seats: fixture.count("SELECT count(*) FROM booking_seats").await,
        claims: fixture.count("SELECT count(*) FROM seat_claims WHERE status = 'booked'").await,
        keys: fixture.count("SELECT count(*) FROM idempotency_keys").await,
        outbox: fixture.count("SELECT count(*) FROM outbox").await,
    }
}

/// Requests the first page, of `items` items.
pub fn first_page<Place>(items: i64) -> PageRequest<Place> {
    PageRequest { limit: PageLimit::parse(items).unwrap(), after: None }
}

/// Walks a list in pages of 1, 2 and 100 items; all must give the same list. A store returns one row more than the page size if more rows
/// exist.
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

/// Clocks that move only by [`Self::pass`].
pub struct SetClock {
    start: (Instant, DateTime<Utc>),
    passed: Mutex<Duration>,
}

impl SetClock {
    /// Creates clocks that show a fixed instant, in whole seconds.
    pub fn new() -> Self {
        let start = DateTime::from_timestamp(2_000_000_000, 0).unwrap();
        Self { start: (Instant::now(), start), passed: Mutex::default() }
    }

    /// Advances the clocks.
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
