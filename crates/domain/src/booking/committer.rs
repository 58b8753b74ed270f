//! The committer, which reads, decides and writes batches of commands: repeated runs, deadlines and unknown outcomes, the same for every
//! store and without an async runtime.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::channel::oneshot;

use super::command::{GeneratedIds, PreparedCommand};
use super::decide::{Policy, Success, decide};
use super::history::History;
use super::meter::{BookingMeter, RetryReason};
use super::ports::{AnswerEncoder, BatchStore, BookingIdBlock, WriteError};
use super::queue::{CommandError, CommandQueue, CommitterLimits, Entry, Lane, Outcome};
use super::refusal::Refusal;
use super::rules::Rules;
use super::snapshot::{ReadSet, Snapshot};
use crate::clock::Timer;
use crate::error::StoreError;
use crate::ids::{BookingId, LayoutId, ShowId};
use crate::random::Random;
use crate::seating::{Layout, LayoutStore};

/// How often a batch is run before its commands are run one by one.
const RUNS_TOGETHER: u32 = 3;
/// How often a command is run by itself before the response is `overloaded`.
const RUNS_ALONE: u32 = 20;
/// The longest pause before a single command is run again.
const PAUSE_AFTER_STALE: Duration = Duration::from_millis(8);
/// The pause before the outcome of a write is asked for again.
const PAUSE_AFTER_UNKNOWN: Duration = Duration::from_millis(50);

/// The parts that all committers share.
#[derive(Clone)]
pub struct CommitterParts {
    /// The rules of this cinema.
    pub rules: Rules,
    pub layouts: Arc<dyn LayoutStore>,
    pub encoder: Arc<dyn AnswerEncoder>,
    /// The source of operation ids, hold ids and references.
    pub random: Arc<dyn Random>,
    pub timer: Arc<dyn Timer>,
    pub meter: Arc<dyn BookingMeter>,
}

/// A command that the committer has taken. The committer finds out its outcome even if the caller has gone away.
struct Taken {
    prepared: PreparedCommand,
    deadline: Instant,
    reply: oneshot::Sender<Outcome>,
    /// Whether it was part of a write with an unknown outcome.
    sent: bool,
}

impl Taken {
    fn answer(self, outcome: Outcome) {
        // The caller may have hung up. The command stays written, and a retry with its key returns the answer.
        let _ = self.reply.send(outcome);
    }

    /// Fails a command that has no time or no run left.
    fn give_up(self) {
        let error = if self.sent { CommandError::OutcomeUnknown } else { CommandError::Overloaded };
        self.answer(Err(error));
    }
}

/// The reason why a batch must run again.
enum RunError {
    /// A row has changed since it was read, or the outcome of the write is unknown.
    Again { unknown: Option<Vec<bool>> },
    /// A generated id is in use already, or may be since the store's history has changed; nothing was written.
    UsedId,
    /// The store failed before anything was written.
    Store(StoreError),
}

/// Takes commands from the queue and commits them: read, decide, write.
pub struct Committer {
    lane: Lane,
    batch_max: usize,
    runner: BatchRunner,
}

/// Returns a queue, and a committer for each of `stores`, which the caller must run. The committers end when the queue is dropped and each
/// command in it has its outcome.
pub fn command_queue(
    stores: Vec<Arc<dyn BatchStore>>,
    parts: &CommitterParts,
    limits: CommitterLimits,
) -> (CommandQueue, Vec<Committer>) {
    let (queue, lanes) = CommandQueue::new(stores.len(), Arc::clone(&parts.timer), limits);
    let committer = |(lane, store)| {
        let runner = BatchRunner { store, parts: parts.clone(), ids: None, history: None };
        Committer { lane, batch_max: limits.batch_max, runner }
    };
    (queue, lanes.into_iter().zip(stores).map(committer).collect())
}

impl Committer {
    /// Commits commands until the queue is dropped.
    pub async fn run(self) {
        let Self { lane, batch_max, mut runner } = self;
        let mut batches = pin!(lane.batches(batch_max));
        while let Some(batch) = batches.next().await {
            runner.settle(batch).await;
        }
    }
}

struct BatchRunner {
    store: Arc<dyn BatchStore>,
    parts: CommitterParts,
    ids: Option<BookingIdBlock>,
    /// The history that the last batch was read in.
    history: Option<History>,
}

impl BatchRunner {
    /// Gives each command of a batch its outcome.
    async fn settle(&mut self, batch: Vec<Entry>) {
        let mut taken = Vec::with_capacity(batch.len());
        let mut no_ids = None;
        for entry in batch {
            let now = self.parts.timer.instant();
            if entry.deadline <= now || !entry.take() {
                // The caller has received this response already, or receives it now.
                let _ = entry.reply.send(Err(CommandError::Overloaded));
                continue;
            }
            self.parts.meter.taken(now.saturating_duration_since(entry.handed_in));
            let drawn = match &no_ids {
                None => self.draw(entry.command.show_id()).await,
                // The commands behind it do not wait for the store to fail again.
                Some(error) => Err(StoreError::clone(error)),
            };
            match drawn {
                Ok(drawn) => taken.push(Taken {
                    prepared: PreparedCommand::new(entry.command, drawn),
                    deadline: entry.deadline,
                    reply: entry.reply,
                    sent: false,
                }),
                Err(error) => {
                    no_ids = Some(error.clone());
                    let _ = entry.reply.send(Err(CommandError::Store(error)));
                }
            }
        }
        if !taken.is_empty() {
            self.parts.meter.batch(taken.len());
        }
        let alone = taken.len() <= 1;
        let left = self.run_repeatedly(taken, if alone { RUNS_ALONE } else { RUNS_TOGETHER }).await;
        for command in left {
            for hopeless in if alone { vec![command] } else { self.run_repeatedly(vec![command], RUNS_ALONE).await } {
                hopeless.give_up();
            }
        }
    }

    /// Runs a batch until each command has its outcome, `runs` times at most. Returns the commands that have none.
    async fn run_repeatedly(&mut self, mut batch: Vec<Taken>, runs: u32) -> Vec<Taken> {
        for _ in 0..runs {
            batch = self.drop_late(batch);
            if batch.is_empty() {
                break;
            }
            match self.run_once(&batch).await {
                Ok(outcomes) => {
                    batch.into_iter().zip(outcomes).for_each(|(taken, outcome)| taken.answer(outcome));
                    return Vec::new();
                }
                Err(RunError::Again { unknown }) => {
                    self.parts.meter.rerun(if unknown.is_some() {
                        RetryReason::UnknownOutcome
                    } else {
                        RetryReason::Stale
                    });
                    if unknown.is_none() && batch.len() == 1 {
                        self.pause_at_random().await;
                    }
                    if let Some(sent) = unknown {
                        batch.iter_mut().zip(sent).for_each(|(taken, sent)| taken.sent |= sent);
                        batch = self.wait_until_reachable(batch).await;
                    }
                }
                Err(RunError::UsedId) => {
                    self.parts.meter.rerun(RetryReason::Stale);
                    if self.draw_again(&mut batch).await.is_err() {
                        batch = self.wait_until_reachable(batch).await;
                    }
                }
                // The earlier write may still be committed: ask until the deadline.
                Err(RunError::Store(_)) if batch.iter().any(|taken| taken.sent) => {
                    batch = self.wait_until_reachable(batch).await;
                }
                // One command may cause the failure. Run by themselves, the others succeed.
                Err(RunError::Store(StoreError::Internal(_))) if batch.len() > 1 => return batch,
                Err(RunError::Store(error)) => {
                    batch.into_iter().for_each(|taken| taken.answer(Err(CommandError::Store(error.clone()))));
                    return Vec::new();
                }
            }
        }
        batch
    }

    async fn run_once(&mut self, batch: &[Taken]) -> Result<Vec<Outcome>, RunError> {
        let commands: Vec<_> = batch.iter().map(|taken| taken.prepared.clone()).collect();
        let state = self.store.read(&ReadSet::by(&commands, &self.parts.rules)).await.map_err(RunError::Store)?;
        let earlier = self.history.replace(state.history.clone());
        if earlier.is_some_and(|earlier| earlier != state.history) {
            return Err(RunError::UsedId);
        }
        let CommitterParts { rules, encoder, .. } = &self.parts;
        let used: Vec<_> = commands.iter().map(|command| state.keys.contains_key(&command.key)).collect();
        let layouts = self.layouts(&state).await.map_err(RunError::Store)?;
        let house = Policy { rules, layouts: &layouts, encoder: encoder.as_ref() };
        let decision = decide(state, &commands, house);
        if !decision.changes.is_empty() {
            self.store.write(&decision.changes).await.map_err(|error| match error {
                WriteError::Stale(_) => RunError::Again { unknown: None },
                WriteError::UsedId(_) => RunError::UsedId,
                WriteError::Unknown(_) => {
                    let sent = decision.outcomes.iter().map(|outcome| matches!(outcome, Ok(Success::Answered(_))));
                    RunError::Again { unknown: Some(sent.collect()) }
                }
                WriteError::Store(error) => RunError::Store(error),
            })?;
        } else if batch.iter().any(|taken| taken.sent) || replays_read(&used, &decision.outcomes) {
            // A batch that writes is committed after everything that it has read. A batch of replays writes nothing, so it must check
            // that what it has read would survive a failover.
            self.store.confirm().await.map_err(RunError::Store)?;
        }
        Ok(batch.iter().zip(decision.outcomes).map(|(taken, outcome)| trusted(taken, outcome)).collect())
    }

    /// Returns the layouts of the shows that were read.
    async fn layouts(&self, state: &Snapshot) -> Result<HashMap<LayoutId, Arc<Layout>>, StoreError> {
        let mut layouts = HashMap::new();
        for id in state.shows.values().map(|show| show.layout_id) {
            if let Place::Vacant(place) = layouts.entry(id) {
                let layout = self.parts.layouts.layout(id).await?;
                place.insert(layout.ok_or_else(|| StoreError::internal(format!("layout {id} is missing")))?);
            }
        }
        Ok(layouts)
    }

    /// Pauses at random. Two commands that compete for the same best seats could otherwise livelock.
    async fn pause_at_random(&self) {
        let mut drawn = [0_u8];
        self.parts.random.fill(&mut drawn);
        let [drawn] = drawn;
        self.parts.timer.sleep(PAUSE_AFTER_STALE * u32::from(drawn % 32) / 32).await;
    }

    /// Waits until the store answers again. Returns the commands that have time left.
    async fn wait_until_reachable(&self, mut batch: Vec<Taken>) -> Vec<Taken> {
        loop {
            self.parts.timer.sleep(PAUSE_AFTER_UNKNOWN).await;
            batch = self.drop_late(batch);
            if batch.is_empty() || self.store.read(&ReadSet::default()).await.is_ok() {
                return batch;
            }
        }
    }

    fn drop_late(&self, batch: Vec<Taken>) -> Vec<Taken> {
        let now = self.parts.timer.instant();
        let (late, timely): (Vec<_>, Vec<_>) = batch.into_iter().partition(|taken| taken.deadline <= now);
        late.into_iter().for_each(Taken::give_up);
        timely
    }

    /// Generates all ids of a batch again, from a new block: after a failover, another server may have reserved the old one. The operation
    /// id stays, because an earlier write with it may still be committed.
    async fn draw_again(&mut self, batch: &mut [Taken]) -> Result<(), StoreError> {
        self.ids = None;
        for Taken { prepared, .. } in batch {
            let drawn = self.draw(prepared.command.show_id()).await?;
            prepared.drawn = GeneratedIds { operation_id: prepared.drawn.operation_id, ..drawn };
        }
        Ok(())
    }

    async fn draw(&mut self, show_id: ShowId) -> Result<GeneratedIds, StoreError> {
        let block = match self.ids.take().filter(|block| block.count > 0) {
            Some(block) => block,
            None => self.store.reserve_booking_ids().await?,
        };
        self.ids = Some(BookingIdBlock { first: block.first + 1, count: block.count.saturating_sub(1) });
        Ok(GeneratedIds::draw(show_id, BookingId(block.first), self.parts.random.as_ref()))
    }
}

/// Returns whether a command is a replay of a key that was read, not of an earlier command of the same batch.
fn replays_read(used: &[bool], outcomes: &[Result<Success, Refusal>]) -> bool {
    used.iter().zip(outcomes).any(|(used, outcome)| *used && outcome.is_ok())
}

/// Returns the outcome that the caller may receive. After a write with an unknown outcome, a refusal is certain only if committed rows
/// prevent that write from being committed later. A seat of another user, a key of another request, and a deleted hold do; a show that has
/// started or a hold that has expired meanwhile do not.
fn trusted(taken: &Taken, outcome: Result<Success, Refusal>) -> Outcome {
    match outcome {
        Ok(success) => Ok(success),
        Err(refusal @ (Refusal::SeatUnavailable { .. } | Refusal::KeyReused | Refusal::HoldNotFound)) => {
            Err(CommandError::Refused(refusal))
        }
        Err(_) if taken.sent => Err(CommandError::OutcomeUnknown),
        Err(refusal) => Err(CommandError::Refused(refusal)),
    }
}
