//! The booking path: one pipelined transaction reads a batch, and another writes it.

mod flight;
mod link;
mod read;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::DateTime;
use domain::StoreError;
use domain::booking::{BatchStore, BookingIdBlock, ReadSet, Snapshot, WriteError, WriteSet};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;

use self::flight::script;
use self::link::{Bound, Link, TransactionError};
#[cfg(feature = "testing")]
pub use self::statements::BOOKING_STATEMENTS;
use self::statements::Statement;
use crate::durability::ServerState;
use crate::error::{Condition, DriverError, bad_row};
use crate::settings::PostgresSettings;
use crate::store::PostgresStore;

/// The time limit of a read or a write, including a new connection.
const BATCH_MAX: Duration = Duration::from_millis(4_500);
/// The number of booking ids that are reserved at once.
pub(crate) const ID_BLOCK: i64 = 64;
/// The constraints that a batch violates because of a concurrent transaction, which took the key or the seat, or deleted the referenced
/// row.
const CONTESTED: [&str; 10] = [
    "idempotency_keys_pkey",
    "seat_claims_pkey",
    "holds_user_id_fkey",
    "holds_show_id_fkey",
    "hold_seats_hold_id_fkey",
    "bookings_user_id_fkey",
    "booking_seats_booking_id_fkey",
    "seat_claims_of_booking",
    "seat_claims_layout_of_show",
    "seat_claims_seat_of_layout",
];
/// The constraints that a batch violates if an id generated for it is in use already.
const GENERATED: [&str; 3] = ["bookings_pkey", "bookings_reference_unique", "holds_pkey"];

/// The booking path of one committer, on a dedicated connection outside the pool.
pub struct PostgresBatchStore {
    settings: PostgresSettings,
    server: Arc<ServerState>,
    link: Mutex<Option<Link>>,
}

impl PostgresStore {
    /// Returns a batch store on the same database, for one committer. It connects at first use, and reconnects when its connection is lost.
    pub fn batch_store(&self) -> PostgresBatchStore {
        PostgresBatchStore {
            settings: self.settings().clone(),
            server: Arc::clone(self.server()),
            link: Mutex::new(None),
        }
    }
}

#[async_trait]
impl BatchStore for PostgresBatchStore {
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError> {
        let rows = self.rows(&[(Statement::ReserveIds, Vec::new())]).await?;
        let row = rows.iter().flatten().next().ok_or_else(|| bad_row("a sequence has no next value"))?;
        let block: i64 = row.try_get(0).map_err(bad_row)?;
        let count = u32::try_from(ID_BLOCK).map_err(bad_row)?;
        Ok(BookingIdBlock { first: (block - 1) * ID_BLOCK + 1, count })
    }

    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError> {
        let script = read::script(named);
        let rows = self.rows(&script).await?;
        let mut snapshot = Snapshot { history: self.server.history(), ..Snapshot::at(DateTime::UNIX_EPOCH) };
        for ((statement, _), rows) in script.iter().zip(&rows) {
            read::add(&mut snapshot, *statement, rows)?;
        }
        Ok(snapshot)
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        self.rows(&[(Statement::Confirm, Vec::new())]).await.map(drop)
    }

    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError> {
        let deadline = Instant::now() + BATCH_MAX;
        let mut last_try = false;
        loop {
            let mut slot = self.connected(deadline).await?;
            let Some(link) = slot.as_ref() else { return Err(StoreError::unavailable("not connected").into()) };
            let outcome = match timeout_at(deadline, link.transact(script(changes))).await {
                Ok(outcome) => outcome,
                Err(elapsed) => {
                    // The outcome is unknown. The connection is dropped, because it may still execute the batch.
                    *slot = None;
                    return Err(WriteError::Unknown(Arc::new(elapsed)));
                }
            };
            let error = match outcome {
                Ok(()) => return Ok(()),
                Err(TransactionError::NotCommitted(error)) => {
                    if error.condition().drops_connection() {
                        *slot = None;
                    }
                    error
                }
                Err(TransactionError::Unsent(error)) => {
                    *slot = None;
                    error
                }
                Err(TransactionError::Unknown(error)) => {
                    *slot = None;
                    return Err(WriteError::Unknown(Arc::new(error)));
                }
            };
            // Nothing was written, and another connection may succeed.
            if last_try || !error.condition().drops_connection() {
                return Err(write_error(error));
            }
            last_try = true;
        }
    }
}

/// Classifies the error of a batch of which nothing is committed.
fn write_error(error: DriverError) -> WriteError {
    match error.violated_key() {
        Some(key) if CONTESTED.contains(&key) => return WriteError::Stale(Arc::new(error)),
        Some(key) if GENERATED.contains(&key) => return WriteError::UsedId(Arc::new(error)),
        _ => {}
    }
    match error.condition() {
        Condition::Conflict => WriteError::Stale(Arc::new(error)),
        condition => WriteError::Store(condition.failure(error)),
    }
}

impl PostgresBatchStore {
    async fn connected(&self, deadline: Instant) -> Result<MutexGuard<'_, Option<Link>>, StoreError> {
        let mut slot = self.link.lock().await;
        if let Some(link) = slot.as_mut() {
            let checked = timeout_at(deadline, link.is_fit(&self.server)).await;
            if !checked.is_ok_and(|is_fit| is_fit) {
                *slot = None;
            }
        }
        if slot.is_none() {
            let connecting = timeout_at(deadline, Link::connect(&self.settings, &self.server));
            *slot = Some(connecting.await.map_err(StoreError::unavailable)??);
        }
        Ok(slot)
    }

    /// Returns the rows of each statement. Replaces a lost connection once, which is safe because nothing was written.
    async fn rows(&self, script: &[Bound<'_>]) -> Result<Vec<Vec<Row>>, StoreError> {
        let deadline = Instant::now() + BATCH_MAX;
        let mut last_try = false;
        loop {
            let mut slot = self.connected(deadline).await?;
            let Some(link) = slot.as_ref() else { return Err(StoreError::unavailable("not connected")) };
            let error = match timeout_at(deadline, link.rows(script)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) => error,
                Err(elapsed) => {
                    *slot = None;
                    return Err(StoreError::unavailable(elapsed));
                }
            };
            let condition = error.condition();
            if condition.drops_connection() {
                *slot = None;
            }
            if last_try || !condition.drops_connection() {
                return Err(condition.failure(error));
            }
            last_try = true;
        }
    }
}

#[cfg(feature = "testing")]
impl PostgresBatchStore {
    /// Runs a query of one text column on the committer's connection, for tests.
    pub async fn lines(&self, query: &str) -> Result<Vec<String>, StoreError> {
        let slot = self.connected(Instant::now() + BATCH_MAX).await?;
        let Some(link) = slot.as_ref() else { return Err(StoreError::unavailable("not connected")) };
        let rows = link.client().query(query, &[]).await.map_err(StoreError::internal)?;
        rows.iter().map(|row| row.try_get(0).map_err(bad_row)).collect()
    }

    /// The names of the constraints by which a write distinguishes conflicts and used ids from mistakes, for tests.
    pub const EXPECTED_CONSTRAINTS: [&'static [&'static str]; 2] = [&CONTESTED, &GENERATED];
}
