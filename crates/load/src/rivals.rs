//! Competition for one show: how often committers conflict on its rows if one committer takes the show's commands, and if all of them do.

use std::iter;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use adapters_auth::{OsRandom, TokioTimer};
use adapters_local::CachedLayouts;
use api_actix::calls::answers::JsonAnswers;
use api_actix::settings;
use api_actix::wiring::stores::{OpenStore, Purpose};
use clap::ValueEnum;
use domain::booking::{
    Action, Answer, BatchStore, BookingMeter, Command, CommandError, CommandQueue, CommitterLimits, CommitterParts,
    Fingerprint, HoldSeats, RetryReason, Success, WantedSeats, command_queue,
};
use domain::error::with_sources;
use domain::identity::{Bearer, Caller, Role};
use domain::ids::{SeatId, SessionId, ShowId, UserId};
use domain::seating::{SeatSelection, SeatWish};
use serde_json::json;

use crate::Failure;

/// The show that all users want.
const SHOW: ShowId = ShowId(1);
/// The number of seats that each user wants.
const SEATS: usize = 2;
/// The maximum number of commands that wait for one committer.
const QUEUE_MAX: usize = 1024;
/// The maximum number of commands of a batch.
const BATCH_MAX: usize = 64;
/// The size of the cache of layouts, in bytes.
const CACHE_BYTES: u64 = 1 << 20;

/// The seats that the users want.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Wanted {
    /// The best seats, which are the same for all users.
    Best,
    /// Different seats for each user.
    Own,
}

/// Counts the batches, and the batches that are run again.
#[derive(Default)]
struct Count {
    batches: AtomicU64,
    reruns: AtomicU64,
}

impl BookingMeter for Count {
    fn batch(&self, _commands: usize) {
        self.batches.fetch_add(1, Ordering::Relaxed);
    }

    fn rerun(&self, _why: RetryReason) {
        self.reruns.fetch_add(1, Ordering::Relaxed);
    }
}

/// Holds and releases seats of one show for some time, as several concurrent users. Returns the measurements as JSON.
///
/// If `together`, all commands of the show go to one committer; otherwise they go to the committers in turn.
pub async fn compete(rivals: u64, seconds: Duration, wanted: Wanted, together: bool) -> Result<String, Failure> {
    let config = settings::load(None).map_err(|errors| errors.to_string())?.config;
    let store = OpenStore::open(&config, Purpose::Administer).await.map_err(|error| with_sources(&error))?;
    let count = Arc::new(Count::default());
    let parts = CommitterParts {
        rules: config.rules,
        layouts: Arc::new(CachedLayouts::new(store.ports.layouts.clone(), CACHE_BYTES)),
        encoder: Arc::new(JsonAnswers),
        random: Arc::new(OsRandom),
        timer: Arc::new(TokioTimer),
        meter: count.clone(),
    };
    let limits = CommitterLimits { queue_max: QUEUE_MAX, batch_max: BATCH_MAX, timeout: config.values.request_timeout };
    let batches = store.ports.batches.clone();
    let groups: Vec<Vec<Arc<dyn BatchStore>>> =
        if together { vec![batches] } else { batches.into_iter().map(|store| vec![store]).collect() };
    let mut queues = Vec::new();
    for stores in groups {
        let (queue, committers) = command_queue(stores, &parts, limits);
        committers.into_iter().for_each(|committer| drop(tokio::spawn(committer.run())));
        queues.push(Arc::new(queue));
    }
    let until = Instant::now() + seconds;
    let turns = queues.iter().cycle();
    let users =
        (1..=rivals).zip(turns).map(|(user, queue)| tokio::spawn(rival(Arc::clone(queue), user, wanted, until)));
    let mut held = Tally::default();
    for user in users.collect::<Vec<_>>() {
        held = held.plus(user.await.map_err(|error| format!("a rival stopped: {error}"))??);
    }
    let read = |figure: &AtomicU64| figure.load(Ordering::Relaxed);
    Ok(json!({
        "held": held.held,
        "overloaded": held.overloaded,
        "batches": read(&count.batches),
        "reruns": read(&count.reruns),
    })
    .to_string())
}

/// The outcomes of the requested holds.
#[derive(Clone, Copy, Default)]
struct Tally {
    held: u64,
    overloaded: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self { held: self.held + other.held, overloaded: self.overloaded + other.overloaded }
    }
}

async fn rival(queue: Arc<CommandQueue>, user: u64, wanted: Wanted, until: Instant) -> Result<Tally, Failure> {
    let id = i64::try_from(user).map_err(|error| error.to_string())?;
    let caller = Caller { user_id: UserId(id), role: Role::Customer, session_generation: 1 };
    let bearer = Bearer { caller, session_id: Some(SessionId(id)) };
    let seats = match wanted {
        Wanted::Best => WantedSeats::Best(SeatWish { quantity: SEATS, category: None, accessible: None }),
        Wanted::Own => {
            let own = (1..=SEATS).filter_map(|seat| i64::try_from(seat).ok()).map(|seat| SeatId(id * 2 - 2 + seat));
            let own = SeatSelection::parse(own.collect(), SEATS);
            WantedSeats::These(own.map_err(|error| format!("the seats cannot be chosen: {error:?}"))?.into())
        }
    };
    let command = |action| Command { bearer, key: None, fingerprint: Fingerprint([0; 32]), action };
    let mut tally = Tally::default();
    for _ in iter::repeat(()).take_while(|()| Instant::now() < until) {
        let hold = Action::Hold(HoldSeats { show_id: SHOW, seats: seats.clone() });
        let subject = match queue.submit(command(hold)).await {
            Ok(Success::Answered(Answer { subject, .. })) => subject,
            Ok(other) => return Err(format!("a hold was answered by {other:?}")),
            Err(CommandError::Overloaded) => {
                tally.overloaded += 1;
                continue;
            }
            Err(error) => return Err(format!("a hold failed: {error}")),
        };
        tally.held += 1;
        let id = subject.hold_id().ok_or("a hold has made no hold")?.clone();
        // A release that comes too late does no harm: the hold has expired.
        match queue.submit(command(Action::Release(id))).await {
            Ok(_) | Err(CommandError::Overloaded) => {}
            Err(error) => return Err(format!("a release failed: {error}")),
        }
    }
    Ok(tally)
}
