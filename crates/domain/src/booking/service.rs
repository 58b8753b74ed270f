//! The use cases of holds and bookings.

use std::sync::Arc;

use thiserror::Error;

use super::command::{Action, Command, Fingerprint, IdempotencyKey, KeyName, Scope, ShowBooking};

use super::decide::{Answer, Success};
use super::history::HistorySource;
use super::meter::{BookingMeter, CommandResult};
use super::ports::{AnswerEncoder, BookingCursor, BookingFilter, BookingStore, HoldStore};
use super::queue::{CommandError, CommandQueue};
use super::refusal::Refusal;
use super::replays::{Replay, ReplayCache};
use super::snapshot::Subject;
use super::types::{Booking, Hold, HoldId};
use crate::error::StoreError;
use crate::identity::{Bearer, SessionStore};
use crate::ids::{BookingId, UserId};
use crate::page::{Page, PageRequest};
use crate::seating::SeatSelection;

/// A request for a command.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandRequest<Asked = Action> {
    pub bearer: Bearer,
    /// The method and path of the request.
    pub scope: Scope,
    pub key: Option<IdempotencyKey>,
    pub fingerprint: Fingerprint,
    pub action: Asked,
}

/// An action on an existing booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum BookingAction {
    Cancel(BookingId),
    /// Exchange the seats for the same number of other seats.
    Change(BookingId, SeatSelection),
}

/// The reason why a booking or hold cannot be read.
#[derive(Debug, Clone, Error)]
pub enum ReadBookingError {
    /// The session has ended, or the account is deleted.
    #[error("the session has ended")]
    SessionEnded,
    /// The caller has no such booking.
    #[error("there is no such booking")]
    NotFound,
    /// The caller has no such live hold.
    #[error("there is no such hold")]
    HoldNotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The use cases of holds and bookings.
pub struct BookingService {
    pub queue: CommandQueue,
    pub bookings: Arc<dyn BookingStore>,
    pub holds: Arc<dyn HoldStore>,
    pub sessions: Arc<dyn SessionStore>,
    pub encoder: Arc<dyn AnswerEncoder>,
    pub replays: Arc<dyn ReplayCache>,
    pub history: Arc<dyn HistorySource>,
    pub meter: Arc<dyn BookingMeter>,
}

impl BookingService {
    /// Executes a command, all or nothing, once for each key.
    pub async fn execute(&self, request: CommandRequest) -> Result<Answer, CommandError> {
        let name = request.action.name();
        self.settle(name, request, async |action| Ok(action)).await
    }

    /// Executes an action on a booking of the caller, all or nothing, once for each key.
    pub async fn execute_on_booking(&self, request: CommandRequest<BookingAction>) -> Result<Answer, CommandError> {
        let name = match &request.action {
            BookingAction::Cancel(_) => "cancel",
            BookingAction::Change(..) => "change",
        };
        let bearer = request.bearer;
        self.settle(name, request, async |action| {
            let (BookingAction::Cancel(booking_id) | BookingAction::Change(booking_id, _)) = &action;
            // The show of a booking never changes, so it may be read before the command is queued.
            let booking_id = *booking_id;
            let booking = self.bookings.booking(bearer.caller.user_id, booking_id).await;
            let booking = booking.map_err(CommandError::Store)?;
            let Some(Booking { show_id, .. }) = booking else {
                let lasts = self.sessions.lasts(&bearer).await.map_err(CommandError::Store)?;
                let refusal = if lasts { Refusal::BookingNotFound } else { Refusal::SessionEnded };
                return Err(CommandError::Refused(refusal));
            };
            let booking = ShowBooking { show_id, booking_id };
            Ok(match action {
                BookingAction::Cancel(_) => Action::Cancel(booking),
                BookingAction::Change(_, seats) => Action::Change(booking, seats),
            })
        })
        .await
    }

    async fn settle<Asked>(
        &self,
        name: &'static str,
        request: CommandRequest<Asked>,
        action: impl AsyncFnOnce(Asked) -> Result<Action, CommandError>,
    ) -> Result<Answer, CommandError> {
        let CommandRequest { bearer, scope, key, fingerprint, action: asked } = request;
        let key = key.map(|key| KeyName { user_id: bearer.caller.user_id, scope, key });
        let outcome = match self.replay(&bearer, key.as_ref(), fingerprint).await {
            Ok(Some(answer)) => Ok((answer, CommandResult::ReplayedFromCache)),
            Ok(None) => match action(asked).await {
                Ok(action) => self.submit(Command { bearer, key, fingerprint, action }).await.map(|answer| {
                    let settled = if answer.replayed { CommandResult::ReplayedFromStore } else { CommandResult::Done };
                    (answer, settled)
                }),
                Err(error) => Err(error),
            },
            Err(error) => Err(error),
        };
        let settled = match &outcome {
            Ok((_, settled)) => *settled,
            Err(error) => failed(error),
        };
        self.meter.settled(name, settled);
        outcome.map(|(answer, _)| answer)
    }

    /// Returns the answer of an earlier request with this key from the replay cache, if the caller's session is live.
    async fn replay(
        &self,
        bearer: &Bearer,
        key: Option<&KeyName>,
        fingerprint: Fingerprint,
    ) -> Result<Option<Answer>, CommandError> {
        let Some(key) = key else { return Ok(None) };
        let history = self.history.history();
        // A different request with the same key is refused by the store.
        let found = self.replays.recall(&history.name(key)).await;
        let Some(replay) = found.filter(|replay| replay.fingerprint == fingerprint) else {
            return Ok(None);
        };
        if !self.sessions.lasts(bearer).await.map_err(CommandError::Store)? {
            return Err(CommandError::Refused(Refusal::SessionEnded));
        }
        // The store has just answered. If it failed over since the answer was cached, its history has changed.
        if self.history.history() != history {
            return Ok(None);
        }
        Ok(Some(Answer { subject: replay.subject, body: replay.body, replayed: true }))
    }

    async fn submit(&self, command: Command) -> Result<Answer, CommandError> {
        let Command { bearer, key, fingerprint, action } = command.clone();
        let history = self.history.history();
        match self.queue.submit(command).await? {
            Success::Answered(answer) => {
                // A replay is not cached, because its age is unknown. If the history changed during the command, it is unknown in which
                // history it was committed.
                if let Some(key) = key.filter(|_| !answer.replayed && self.history.history() == history) {
                    let (subject, body) = (answer.subject.clone(), Arc::clone(&answer.body));
                    self.replays.remember(&history.name(&key), &Replay { fingerprint, subject, body }).await;
                }
                Ok(answer)
            }
            Success::AnswerDeleted(subject) => {
                let body = self.body_of(bearer.caller.user_id, &action, &subject).await?.into();
                Ok(Answer { subject, body, replayed: true })
            }
        }
    }

    /// Returns the response to an action whose stored response is deleted: the booking or hold as it is now.
    async fn body_of(&self, user_id: UserId, action: &Action, subject: &Subject) -> Result<Vec<u8>, CommandError> {
        let user_id = match action {
            Action::CancelFor(_, act) | Action::Correct(_, _, act) => act.customer,
            Action::Sell(sale) => sale.owner,
            Action::CancelWithShow(booking) => booking.customer,
            _ => user_id,
        };
        match (subject, action) {
            (Subject::Hold(_), Action::Release(_)) => Ok(Vec::new()),
            (Subject::Hold(id), _) => {
                let hold = self.holds.hold(user_id, id).await.map_err(CommandError::Store)?;
                let hold = hold.ok_or(CommandError::Refused(Refusal::HoldNotFound))?;
                Ok(self.encoder.encode_hold(&hold))
            }
            // A key of a show is deleted with its answer.
            (Subject::Show(id), _) => {
                let gone = StoreError::internal(format!("the answer of a used key of show {id} is gone"));
                Err(CommandError::Store(gone))
            }
            (Subject::Booking(id), _) => {
                let booking = self.bookings.booking(user_id, *id).await.map_err(CommandError::Store)?;
                let gone = || StoreError::internal(format!("booking {id} of a used key is gone"));
                let booking = booking.ok_or_else(gone).map_err(CommandError::Store)?;
                Ok(match action {
                    Action::Book(_) | Action::Redeem(_) | Action::RedeemAs(..) => self.encoder.encode_booked(&booking),
                    Action::Sell(_) => self.encoder.encode_sale(&booking),
                    _ => self.encoder.encode_booking(&booking),
                })
            }
        }
    }

    /// Returns the caller's live holds, the first to expire first.
    pub async fn holds(&self, bearer: &Bearer) -> Result<Vec<Hold>, ReadBookingError> {
        self.check_session(bearer).await?;
        Ok(self.holds.holds(bearer.caller.user_id).await?)
    }

    /// Returns one of the caller's live holds.
    pub async fn hold(&self, bearer: &Bearer, id: &HoldId) -> Result<Hold, ReadBookingError> {
        self.check_session(bearer).await?;
        self.holds.hold(bearer.caller.user_id, id).await?.ok_or(ReadBookingError::HoldNotFound)
    }

    /// Returns a page of the caller's bookings, newest first.
    pub async fn history(
        &self,
        bearer: &Bearer,
        filter: &BookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Page<Booking, BookingCursor>, ReadBookingError> {
        self.check_session(bearer).await?;
        let rows = self.bookings.bookings(bearer.caller.user_id, filter, page).await?;
        Ok(page.cut(rows, |booking| BookingCursor { booked_at: booking.booked_at, id: booking.id }))
    }

    /// Returns one of the caller's bookings.
    pub async fn booking(&self, bearer: &Bearer, id: BookingId) -> Result<Booking, ReadBookingError> {
        self.check_session(bearer).await?;
        self.bookings.booking(bearer.caller.user_id, id).await?.ok_or(ReadBookingError::NotFound)
    }

    async fn check_session(&self, bearer: &Bearer) -> Result<(), ReadBookingError> {
        if self.sessions.lasts(bearer).await? { Ok(()) } else { Err(ReadBookingError::SessionEnded) }
    }
}

/// Returns the result of a failed command, for metrics.
fn failed(error: &CommandError) -> CommandResult {
    match error {
        CommandError::Refused(Refusal::SeatUnavailable { .. }) => CommandResult::Conflict,
        CommandError::Refused(_) => CommandResult::Refused,
        CommandError::Overloaded => CommandResult::Overloaded,
        CommandError::Store(_) => CommandResult::Unavailable,
        CommandError::OutcomeUnknown => CommandResult::OutcomeUnknown,
    }
}
