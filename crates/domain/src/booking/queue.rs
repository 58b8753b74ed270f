//! The queue of commands: bounded, one lane for each committer, and a command that waits can be abandoned.

use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use futures::channel::{mpsc, oneshot};
use futures::future::{Either, select};
use futures::stream::Stream;
use thiserror::Error;

use super::command::Command;
use super::decide::Success;
use super::refusal::Refusal;
use crate::clock::Timer;
use crate::error::StoreError;

/// The reason why a command has no answer.
#[derive(Debug, Clone, Error)]
pub enum CommandError {
    /// Refused. Nothing was written.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Too many commands wait, or the deadline passed before the committer took it. Nothing was written.
    #[error("too many commands wait")]
    Overloaded,
    /// The store failed. Nothing was written.
    #[error(transparent)]
    Store(StoreError),
    /// It may be written. A retry with the same key finds out.
    #[error("it is not known whether the command was written")]
    OutcomeUnknown,
}

/// The limits of the queue and of a batch.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitterLimits {
    /// The most commands that wait for one committer. One more is `Overloaded` at once.
    pub queue_max: usize,
    /// The most commands of a batch.
    pub batch_max: usize,
    /// The time from the arrival of a command to its deadline.
    pub timeout: Duration,
}

pub(super) type Outcome = Result<Success, CommandError>;

/// The state of a command: waiting, then either taken by the committer or abandoned by its caller. The change is atomic.
#[derive(Default)]
struct Phase(AtomicU8);

impl Phase {
    const WAITING: u8 = 0;
    const TAKEN: u8 = 1;
    const ABANDONED: u8 = 2;

    fn leave_waiting(&self, next: u8) -> bool {
        self.0.compare_exchange(Self::WAITING, next, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    fn take(&self) -> bool {
        self.leave_waiting(Self::TAKEN)
    }

    fn abandon(&self) -> bool {
        self.leave_waiting(Self::ABANDONED)
    }
}

/// A command in the queue.
pub(super) struct Entry {
    pub(super) command: Command,
    pub(super) handed_in: Instant,
    pub(super) deadline: Instant,
    phase: Arc<Phase>,
    pub(super) reply: oneshot::Sender<Outcome>,
}

impl Entry {
    /// Takes the command, unless its caller has abandoned it.
    pub(super) fn take(&self) -> bool {
        self.phase.take()
    }
}

/// The queue of commands. It has one lane for each committer. A show's commands always take the same lane, so that the committers of a
/// server do not compete for its rows.
pub struct CommandQueue {
    // One sender each, never cloned: each clone would make the bounded channel longer by one.
    lanes: Vec<Mutex<mpsc::Sender<Entry>>>,
    waiting: Arc<AtomicUsize>,
    timer: Arc<dyn Timer>,
    timeout: Duration,
}

/// The commands of one lane, as its committer takes them.
pub(super) struct Lane {
    entries: mpsc::Receiver<Entry>,
    waiting: Arc<AtomicUsize>,
}

impl Lane {
    /// Returns the commands that wait, `batch_max` at a time at most, without waiting for more of them: an idle system adds no delay.
    /// Ends when the queue is dropped.
    pub(super) fn batches(self, batch_max: usize) -> impl Stream<Item = Vec<Entry>> + Send {
        let waiting = self.waiting;
        self.entries.ready_chunks(batch_max.max(1)).inspect(move |batch| {
            waiting.fetch_sub(batch.len(), Ordering::Relaxed);
        })
    }
}

impl CommandQueue {
    /// Returns a queue with `lanes` lanes.
    pub(super) fn new(lanes: usize, timer: Arc<dyn Timer>, limits: CommitterLimits) -> (Self, Vec<Lane>) {
        let waiting = Arc::new(AtomicUsize::new(0));
        // The channel has room for one more than its buffer for each sender.
        let channels = (0..lanes).map(|_| mpsc::channel(limits.queue_max.saturating_sub(1)));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        let lanes = receivers.into_iter().map(|entries| Lane { entries, waiting: Arc::clone(&waiting) }).collect();
        let senders = senders.into_iter().map(Mutex::new).collect();
        (Self { lanes: senders, waiting, timer, timeout: limits.timeout }, lanes)
    }

    /// Enqueues a command and waits for its outcome.
    ///
    /// A command that still waits at its deadline is abandoned and has written nothing. A command that was taken is awaited, because only the
    /// committer knows its outcome. Dropping the future cancels nothing.
    pub async fn submit(&self, command: Command) -> Outcome {
        let (reply, answered) = oneshot::channel();
        let phase = Arc::new(Phase::default());
        let handed_in = self.timer.instant();
        let deadline = handed_in + self.timeout;
        self.hand_in(Entry { command, handed_in, deadline, phase: Arc::clone(&phase), reply })?;
        match select(answered, self.timer.sleep(self.timeout)).await {
            Either::Left((outcome, _)) => outcome.unwrap_or_else(|_| lost(&phase)),
            Either::Right(((), _)) if phase.abandon() => Err(CommandError::Overloaded),
            Either::Right(((), answered)) => answered.await.unwrap_or_else(|_| lost(&phase)),
        }
    }

    fn hand_in(&self, entry: Entry) -> Result<(), CommandError> {
        let lanes = i64::try_from(self.lanes.len()).unwrap_or(i64::MAX).max(1);
        let lane = usize::try_from(entry.command.show_id().0.rem_euclid(lanes)).unwrap_or_default();
        let lane = self.lanes.get(lane).ok_or(CommandError::Overloaded)?;
        // No code panics while it holds the lock, and a sender cannot be left in an invalid state.
        let mut sender = lane.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before it can be taken, or the count could underflow.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        sender.try_send(entry).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            CommandError::Overloaded
        })
    }

    /// Returns the number of waiting commands.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Returns the outcome of a command whose committer has ended without an answer.
fn lost(phase: &Phase) -> Outcome {
    if phase.abandon() { Err(CommandError::Overloaded) } else { Err(CommandError::OutcomeUnknown) }
}
