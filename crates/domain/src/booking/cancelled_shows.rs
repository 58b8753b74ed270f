//! The bookings of cancelled shows.
//!
//! Staff cancel a show in one transaction: from then on it takes no booking, and its bookings are still live. They are cancelled one by one
//! through the committer, many in a transaction. A crash loses nothing: what is left to do is what the store says of shows and bookings.

use std::sync::Arc;

use async_trait::async_trait;
use futures::future::join_all;

use super::command::{Action, BookingOfCancelledShow, Fingerprint, Scope, ShowBooking};
use super::queue::CommandError;
use super::service::{BookingService, CommandRequest};
use crate::error::StoreError;
use crate::identity::{Bearer, Caller, Role};
use crate::ids::{BookingId, ShowId, UserId};

/// The number of bookings that are queued at once, so that the queue has room for customers.
const STEP: u32 = 100;

/// Reads which bookings of cancelled shows are live.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait CancelledShowStore: Send + Sync {
    /// Returns shows that staff have cancelled and that are not finished, the first to be cancelled first; at most 100.
    async fn unfinished(&self) -> Result<Vec<ShowId>, StoreError>;

    /// Returns live bookings of a show with their owners, by id, at most `max`.
    async fn live_bookings(&self, show: ShowId, max: u32) -> Result<Vec<(BookingId, UserId)>, StoreError>;

    /// Marks a cancelled show as finished. MUST do nothing if the show has a live booking or is not cancelled.
    async fn finish(&self, show: ShowId) -> Result<(), StoreError>;
}

/// Cancels the bookings of cancelled shows.
#[derive(Clone)]
pub struct CancelledShows {
    pub store: Arc<dyn CancelledShowStore>,
    pub booking: Arc<BookingService>,
}

impl CancelledShows {
    /// Cancels all live bookings of a cancelled show, and marks the show as finished. Returns the number of bookings that this call cancelled.
    ///
    /// Any number of calls, also of several servers, may run at once: each booking is cancelled once.
    pub async fn finish(&self, show: ShowId) -> Result<usize, CommandError> {
        let mut done = 0;
        loop {
            let live = self.store.live_bookings(show, STEP).await.map_err(CommandError::Store)?;
            if live.is_empty() {
                self.store.finish(show).await.map_err(CommandError::Store)?;
                return Ok(done);
            }
            let cancelled = live.into_iter().map(|(booking_id, customer)| self.cancel(show, booking_id, customer));
            for outcome in join_all(cancelled).await {
                outcome?;
                done += 1;
            }
        }
    }

    /// Finishes every cancelled show that is not finished. A failure ends the run; the next one continues.
    pub async fn finish_all(&self) -> Result<usize, CommandError> {
        let mut done = 0;
        for show in self.store.unfinished().await.map_err(CommandError::Store)? {
            done += self.finish(show).await?;
        }
        Ok(done)
    }

    async fn cancel(&self, show_id: ShowId, booking_id: BookingId, customer: UserId) -> Result<(), CommandError> {
        let booking = ShowBooking { show_id, booking_id };
        let request = CommandRequest {
            // The action needs no session.
            bearer: Bearer {
                caller: Caller { user_id: customer, role: Role::Customer, session_generation: 0 },
                session_id: None,
            },
            scope: Scope(String::new()),
            key: None,
            fingerprint: Fingerprint([0; 32]),
            action: Action::CancelWithShow(BookingOfCancelledShow { booking, customer }),
        };
        self.booking.execute(request).await.map(drop)
    }
}
