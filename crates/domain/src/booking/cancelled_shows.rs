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

    /// Returns live bookings of a show with their owners, by id: at most `max` after the given one.
    async fn live_bookings(
        &self,
        show: ShowId,
        after: Option<BookingId>,
        max: u32,
    ) -> Result<Vec<(BookingId, UserId)>, StoreError>;

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
    /// Cancels all live bookings of a cancelled show, and marks the show as finished. Returns the number of bookings that were live.
    ///
    /// Any number of calls, also of several servers, may run at once: each booking is cancelled once. A booking that cannot be cancelled is
    /// left, and the others are cancelled; then the first failure is returned, and the show stays unfinished.
    pub async fn finish(&self, show: ShowId) -> Result<usize, CommandError> {
        let (mut done, mut after, mut failure) = (0, None, None);
        // No booking is added to a cancelled show, so one pass by id reads all of them.
        loop {
            let live = self.store.live_bookings(show, after, STEP).await.map_err(CommandError::Store)?;
            let Some((last, _)) = live.last() else { break };
            after = Some(*last);
            let cancelled = live.into_iter().map(|(booking_id, customer)| self.cancel(show, booking_id, customer));
            for outcome in join_all(cancelled).await {
                match outcome {
                    Ok(()) => done += 1,
                    Err(error) => failure = failure.or(Some(error)),
                }
            }
        }
        match failure {
            Some(error) => Err(error),
            None => self.store.finish(show).await.map(|()| done).map_err(CommandError::Store),
        }
    }

    /// Finishes every cancelled show that is not finished. A show that fails does not keep the others from being finished; the first failure
    /// is returned after them.
    pub async fn finish_all(&self) -> Result<usize, CommandError> {
        let (mut done, mut failure) = (0, None);
        for show in self.store.unfinished().await.map_err(CommandError::Store)? {
            match self.finish(show).await {
                Ok(bookings) => done += bookings,
                Err(error) => failure = failure.or(Some(error)),
            }
        }
        failure.map_or(Ok(done), Err)
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

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::booking::committer_tests::{Bench, LIMITS};
    use crate::booking::decide_tests::TestEncoder;
    use crate::booking::{
        History, MockBatchStore, MockBookingStore, MockHistorySource, MockHoldStore, MockReplayCache, NoMeter,
    };
    use crate::identity::MockSessionStore;

    /// Returns the use case on a queue that takes no command.
    fn overloaded(store: MockCancelledShowStore) -> CancelledShows {
        let (queue, committer) = Bench::new().queue(MockBatchStore::new(), LIMITS);
        drop(committer);
        let mut history = MockHistorySource::new();
        history.expect_history().returning(History::default);
        let booking = BookingService {
            queue,
            bookings: Arc::new(MockBookingStore::new()),
            holds: Arc::new(MockHoldStore::new()),
            sessions: Arc::new(MockSessionStore::new()),
            encoder: Arc::new(TestEncoder),
            replays: Arc::new(MockReplayCache::new()),
            history: Arc::new(history),
            meter: Arc::new(NoMeter),
        };
        CancelledShows { store: Arc::new(store), booking: Arc::new(booking) }
    }

    #[test]
    fn show_with_a_failure_stays_unfinished_and_keeps_no_other_show_from_being_finished() {
        let mut store = MockCancelledShowStore::new();
        store.expect_unfinished().times(1).returning(|| Ok(vec![ShowId(1), ShowId(2), ShowId(3)]));
        store.expect_live_bookings().times(4).returning(|show, after, _| match (show.0, after) {
            (1, None) => Ok(vec![(BookingId(10), UserId(1)), (BookingId(11), UserId(2))]),
            (1, Some(BookingId(11))) | (3, None) => Ok(Vec::new()),
            (2, None) => Err(StoreError::unavailable("no connection")),
            other => panic!("read again: {other:?}"),
        });
        store.expect_finish().withf(|show| *show == ShowId(3)).times(1).returning(|_| Ok(()));
        let outcome = block_on(overloaded(store).finish_all());
        assert!(matches!(outcome, Err(CommandError::Overloaded)), "{outcome:?}");
    }
}
