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

/// Why a command has no answer.
#[derive(Debug, Clone, Error)]
pub enum CommandError {
    /// It was refused; nothing was written.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// Too many commands wait, or its turn did not come in time; nothing was written.
    #[error("too many commands wait")]
    Overloaded,
    /// The store failed; nothing was written.
    #[error(transparent)]
    Store(StoreError),
    /// It may be written. The same key tells.
    #[error("it is not known whether the command was written")]
    OutcomeUnknown,
}

/// How much waits, how much travels together, and for how long.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CommitterLimits {
    /// How many commands wait for one committer at most. One more is refused at once.
    pub queue_max: usize,
    /// How many commands are committed together at most.
    pub batch_max: usize,
    /// How long a command may take from its arrival.
    pub timeout: Duration,
}

pub(super) type Outcome = Result<Success, CommandError>;

/// Where a command is: waiting, then taken by the committer or abandoned by its caller, in one atomic step.
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

/// Where commands are handed in. One lane for each committer. A show's commands always take the same lane, so that the committers of a
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
    /// Makes a queue with so many lanes.
    pub(super) fn new(lanes: usize, timer: Arc<dyn Timer>, limits: CommitterLimits) -> (Self, Vec<Lane>) {
        let waiting = Arc::new(AtomicUsize::new(0));
        // The channel has room for one more than its buffer for each sender.
        let channels = (0..lanes).map(|_| mpsc::channel(limits.queue_max.saturating_sub(1)));
        let (senders, receivers): (Vec<_>, Vec<_>) = channels.unzip();
        let lanes = receivers.into_iter().map(|entries| Lane { entries, waiting: Arc::clone(&waiting) }).collect();
        let senders = senders.into_iter().map(Mutex::new).collect();
        (Self { lanes: senders, waiting, timer, timeout: limits.timeout }, lanes)
    }

    /// Hands in a command and waits for its answer.
    ///
    /// A command that still waits when its time is over is abandoned, and has written nothing. One that was taken is
    /// awaited: only the committer knows what became of it. Dropping the future cancels nothing.
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
        // Nobody panics while holding it, and a sender has no state to be left half done.
        let mut sender = lane.lock().unwrap_or_else(PoisonError::into_inner);
        // Counted before it can be taken, or the count could go below nothing.
        self.waiting.fetch_add(1, Ordering::Relaxed);
        sender.try_send(entry).map_err(|_| {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            CommandError::Overloaded
        })
    }

    /// How many commands wait for a committer.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// The committer is gone without an answer.
fn lost(phase: &Phase) -> Outcome {
    if phase.abandon() { Err(CommandError::Overloaded) } else { Err(CommandError::OutcomeUnknown) }
}
