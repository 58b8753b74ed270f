//! Booking seats and looking at one's bookings.

use std::sync::Arc;

use thiserror::Error;

use super::command::{Action, BookSeats, Command, Fingerprint, IdempotencyKey, KeyName, Scope};
use super::committer::{CommandError, CommandQueue};
use super::decide::Answer;
use super::ports::{AnswerEncoder, BookingFilter, BookingPlace, BookingStore};
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
}

impl BookingService {
    /// Books seats, all or none, once for each key.
    pub async fn book(&self, request: BookRequest) -> Result<BookedAnswer, CommandError> {
        let BookRequest { caller, scope, key, fingerprint, book } = request;
        let key = KeyName { user_id: caller.user_id, scope, key };
        match self.queue.submit(Command { caller, key, fingerprint, action: Action::Book(book) }).await? {
            Answer::Booked { booking_id, body, replayed } => Ok(BookedAnswer { booking_id, body, replayed }),
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
        let user = self.users.by_id(caller.user_id).await?;
        let live = user.is_some_and(|user| user.session_generation == caller.session_generation);
        if live { Ok(()) } else { Err(ReadBookingError::SessionEnded) }
    }
}
