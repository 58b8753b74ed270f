//! Booking seats and looking at one's bookings.

use std::sync::Arc;

use thiserror::Error;

use super::command::{Action, BookSeats, Command, Fingerprint, IdempotencyKey, KeyName, Scope};
use super::committer::{CommandError, CommandQueue};
use super::decide::{Answer, Refusal};
use super::meter::{BookingMeter, Settled};
use super::ports::{AnswerEncoder, BookingFilter, BookingPlace, BookingStore};
use super::replays::{Replay, ReplayCache};
use super::types::Booking;
use crate::error::StoreError;
use crate::identity::{Caller, UserStore};
use crate::ids::BookingId;
use crate::page::{Page, PageRequest};

/// A request to book seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookRequest {
    /// Who asks.
    pub caller: Caller,
    /// What the key was sent with: method and path.
    pub scope: Scope,
    /// The client's key.
    pub key: IdempotencyKey,
    /// The digest of the request.
    pub fingerprint: Fingerprint,
    /// The seats.
    pub book: BookSeats,
}

/// The answer to a booking.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct BookedAnswer {
    /// The booking.
    pub booking_id: BookingId,
    /// The bytes of the answer's body.
    pub body: Arc<[u8]>,
    /// Whether an earlier request with the same key made the booking.
    pub replayed: bool,
}

/// Why no booking was shown.
#[derive(Debug, Clone, Error)]
pub enum ReadBookingError {
    /// The session of the access token was ended, or the account is gone.
    #[error("the session has ended")]
    SessionEnded,
    /// The caller has no such booking.
    #[error("there is no such booking")]
    NotFound,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Bookings.
pub struct BookingService {
    /// Where commands are handed in.
    pub queue: CommandQueue,
    /// Where bookings are read.
    pub bookings: Arc<dyn BookingStore>,
    /// Where a reader's session is looked up.
    pub users: Arc<dyn UserStore>,
    /// Writes the answers.
    pub encoder: Arc<dyn AnswerEncoder>,
    /// Knows the answers of retries without asking the store.
    pub replays: Arc<dyn ReplayCache>,
    /// Is told what becomes of each request.
    pub meter: Arc<dyn BookingMeter>,
}

impl BookingService {
    /// Books seats, all or none, once for each key.
    pub async fn book(&self, request: BookRequest) -> Result<BookedAnswer, CommandError> {
        let BookRequest { caller, scope, key, fingerprint, book } = request;
        let key = KeyName { user_id: caller.user_id, scope, key };
        let outcome = match self.replay(&caller, &key, fingerprint).await {
            Ok(Some(answer)) => Ok((answer, Settled::ReplayedFromCache)),
            Ok(None) => {
                let answer = self.run(Command { caller, key, fingerprint, action: Action::Book(book) }).await;
                answer.map(|answer| {
                    let settled = if answer.replayed { Settled::ReplayedFromStore } else { Settled::Booked };
                    (answer, settled)
                })
            }
            Err(error) => Err(error),
        };
        self.meter.settled(match &outcome {
            Ok((_, settled)) => *settled,
            Err(error) => failed(error),
        });
        outcome.map(|(answer, _)| answer)
    }

    /// The answer of an earlier request with this key, if the replay cache has it. A key opens nothing by itself: the
    /// caller's session must last.
    async fn replay(
        &self,
        caller: &Caller,
        key: &KeyName,
        fingerprint: Fingerprint,
    ) -> Result<Option<BookedAnswer>, CommandError> {
        // Another request with the same key is for the store to refuse.
        let Some(replay) = self.replays.recall(key).await.filter(|replay| replay.fingerprint == fingerprint) else {
            return Ok(None);
        };
        if !self.has_session(caller).await.map_err(CommandError::Store)? {
            return Err(CommandError::Refused(Refusal::SessionEnded));
        }
        Ok(Some(BookedAnswer { booking_id: replay.booking_id, body: replay.body, replayed: true }))
    }

    async fn run(&self, command: Command) -> Result<BookedAnswer, CommandError> {
        let (caller, key, fingerprint) = (command.caller, command.key.clone(), command.fingerprint);
        match self.queue.submit(command).await? {
            Answer::Booked { booking_id, body, replayed } => {
                // Committed, so never before it is true. A replay is left out: how old its answer is nobody has told.
                if !replayed {
                    let replay = Replay { fingerprint, booking_id, body: Arc::clone(&body) };
                    self.replays.remember(&key, &replay).await;
                }
                Ok(BookedAnswer { booking_id, body, replayed })
            }
            Answer::BookedLongAgo { booking_id } => {
                let booking = self.bookings.booking(caller.user_id, booking_id).await.map_err(CommandError::Store)?;
                let gone = || StoreError::internal(format!("booking {booking_id} of a used key is gone"));
                let booking = booking.ok_or_else(gone).map_err(CommandError::Store)?;
                let body = self.encoder.encode_booking(&booking).into();
                Ok(BookedAnswer { booking_id, body, replayed: true })
            }
        }
    }

    /// A page of the caller's bookings, newest first.
    pub async fn history(
        &self,
        caller: &Caller,
        filter: &BookingFilter,
        page: &PageRequest<BookingPlace>,
    ) -> Result<Page<Booking, BookingPlace>, ReadBookingError> {
        self.check_session(caller).await?;
        let rows = self.bookings.bookings(caller.user_id, filter, page).await?;
        Ok(page.cut(rows, |booking| BookingPlace { booked_at: booking.booked_at, id: booking.id }))
    }

    /// One of the caller's bookings.
    pub async fn booking(&self, caller: &Caller, id: BookingId) -> Result<Booking, ReadBookingError> {
        self.check_session(caller).await?;
        self.bookings.booking(caller.user_id, id).await?.ok_or(ReadBookingError::NotFound)
    }

    async fn check_session(&self, caller: &Caller) -> Result<(), ReadBookingError> {
        if self.has_session(caller).await? { Ok(()) } else { Err(ReadBookingError::SessionEnded) }
    }

    async fn has_session(&self, caller: &Caller) -> Result<bool, StoreError> {
        let user = self.users.by_id(caller.user_id).await?;
        Ok(user.is_some_and(|user| user.session_generation == caller.session_generation))
    }
}

/// What is measured of a request that has failed.
fn failed(error: &CommandError) -> Settled {
    match error {
        CommandError::Refused(Refusal::SeatUnavailable { .. }) => Settled::Conflict,
        CommandError::Refused(_) => Settled::Refused,
        CommandError::Overloaded => Settled::Overloaded,
        CommandError::Store(_) => Settled::Unavailable,
        CommandError::OutcomeUnknown => Settled::OutcomeUnknown,
    }
}
