//! The booking path: one statement reads a batch, one pipelined transaction writes it.

mod flight;
mod link;
mod state;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::StoreError;
use domain::booking::{BatchStore, BookingIdBlock, HoldId, ReadSet, Rules, Snapshot, Tenure, WriteError, WriteSet};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, timeout_at};
use tokio_postgres::Row;

use self::flight::{Bound, script};
use self::link::{Link, TransactionError, parameters};
use self::state::batch_state;
#[cfg(feature = "testing")]
pub use self::statements::BOOKING_STATEMENTS;
use self::statements::Statement;
use crate::durability::ServerState;
use crate::error::{Condition, DriverError, bad_row};
use crate::settings::PostgresSettings;
use crate::store::PostgresStore;

/// How long a read or a write may take, a new connection included.
const BATCH_MAX: Duration = Duration::from_millis(4_500);
/// How many booking ids are reserved at once.
const ID_BLOCK: i64 = 64;
/// The constraints that a concurrent transaction makes a batch violate: it took the key or the seat, or deleted the row referred to.
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
/// The constraints that an id violates which was generated for the batch and is in use already.
const GENERATED: [&str; 3] = ["bookings_pkey", "bookings_reference_unique", "holds_pkey"];

/// The booking path of one committer, on a connection of its own outside the pool.
pub struct PostgresBatchStore {
    settings: PostgresSettings,
    server: Arc<ServerState>,
    link: Mutex<Option<Link>>,
}

impl PostgresStore {
    /// A batch store on the same database, for one committer. It connects at its first use, and again whenever its connection is lost.
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
        let rows = self.query((Statement::ReserveIds, Vec::new())).await?;
        let row = rows.first().ok_or_else(|| bad_row("a sequence has no next value"))?;
        let block: i64 = row.try_get(0).map_err(bad_row)?;
        let count = u32::try_from(ID_BLOCK).map_err(bad_row)?;
        Ok(BookingIdBlock { first: (block - 1) * ID_BLOCK + 1, count })
    }

    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError> {
        // Every field by name: one that is added is read, or this does not compile.
        let ReadSet { keys, users, sessions, shows, whole_shows, seats, holds, holders, tenants, bookings, cancellers } =
            named;
        let seats_only = whole_shows.is_empty()
            && holds.is_empty()
            && holders.is_empty()
            && tenants.is_empty()
            && bookings.is_empty()
            && cancellers.is_empty();
        let mut parameters = parameters![
            column(keys, |key| key.user_id.0),
            column(keys, |key| key.scope.0.as_str()),
            column(keys, |key| key.key.as_str()),
            column(users, |user| user.0),
            column(shows, |show| show.0),
            column(seats, |(show, _)| show.0),
            column(seats, |(_, seat)| seat.0),
            column(sessions, |session| session.0),
        ];
        if seats_only {
            return self.state_of((Statement::ReadBatch, parameters)).await;
        }
        parameters.extend(parameters![
            column(whole_shows, |show| show.0),
            column(holds, HoldId::as_str),
            column(holders, |user| user.0),
            column(tenants, |(show, _)| show.0),
            column(tenants, |(_, user)| user.0),
            column(bookings, |booking| booking.0),
            column(cancellers, |user| user.0),
            Tenure::COUNTED.num_seconds(),
            Rules::CANCELLATIONS_COUNTED.num_seconds(),
        ]);
        self.state_of((Statement::ReadWholeBatch, parameters)).await
    }

    async fn confirm(&self) -> Result<(), StoreError> {
        self.query((Statement::Confirm, Vec::new())).await.map(drop)
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
                    // Whatever the connection still does, it does for itself.
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
            // Nothing was written, and another connection may do better.
            if last_try || !error.condition().drops_connection() {
                return Err(write_error(error));
            }
            last_try = true;
        }
    }
}

/// One value of each item, as a parameter.
fn column<'a, Item: 'a, Value>(
    items: impl IntoIterator<Item = &'a Item>,
    value: impl Fn(&'a Item) -> Value,
) -> Vec<Value> {
    items.into_iter().map(value).collect()
}

/// Why a batch was not written, of which nothing is committed.
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

    /// Reads a batch.
    async fn state_of(&self, bound: Bound<'_>) -> Result<Snapshot, StoreError> {
        let rows = self.query(bound).await?;
        Ok(Snapshot { history: self.server.history(), ..batch_state(&rows)? })
    }

    /// Reads. A connection that turns out to be lost is replaced once: nothing was written.
    async fn query(&self, bound: Bound<'_>) -> Result<Vec<Row>, StoreError> {
        let deadline = Instant::now() + BATCH_MAX;
        let mut last_try = false;
        loop {
            let mut slot = self.connected(deadline).await?;
            let Some(link) = slot.as_ref() else { return Err(StoreError::unavailable("not connected")) };
            let error = match timeout_at(deadline, link.query(&bound)).await {
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
    /// Runs a query of one text column on the committer's own connection, for tests.
    pub async fn lines(&self, query: &str) -> Result<Vec<String>, StoreError> {
        let slot = self.connected(Instant::now() + BATCH_MAX).await?;
        let Some(link) = slot.as_ref() else { return Err(StoreError::unavailable("not connected")) };
        let rows = link.client().query(query, &[]).await.map_err(StoreError::internal)?;
        rows.iter().map(|row| row.try_get(0).map_err(bad_row)).collect()
    }

    /// The names of the constraints by which a write tells conflicts and used ids from mistakes, for tests.
    pub const EXPECTED_CONSTRAINTS: [&'static [&'static str]; 2] = [&CONTESTED, &GENERATED];
}
