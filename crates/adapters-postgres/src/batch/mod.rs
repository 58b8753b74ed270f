//! The booking path: one statement reads a batch, one flight writes it.

mod flight;
mod state;
mod statements;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use diesel::sql_types::{Array, BigInt, Text};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::booking::{BatchState, BatchStore, BookingIdBlock, Changes, Named, WriteError};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use self::flight::{flight, verdict};
use self::state::{ReadRow, batch_state};
#[cfg(feature = "testing")]
pub use self::statements::BOOKING_STATEMENTS;
use self::statements::{ReadBatch, ReadWholeBatch, ReserveIds};
use crate::error::{bad_row, is_connection_lost, store_error};
use crate::settings::PostgresSettings;
use crate::statement::bind;
use crate::store::PostgresStore;

/// How long a read or a write may take, a new connection included.
const BATCH_MAX: Duration = Duration::from_millis(4_500);
/// How many booking ids are reserved at once.
const ID_BLOCK: i64 = 64;

/// The booking path of one committer, on a connection of its own outside the pool.
pub struct PostgresBatchStore {
    settings: PostgresSettings,
    connection: Mutex<Option<AsyncPgConnection>>,
}

impl PostgresStore {
    /// A batch store on the same database, for one committer. It connects at its first use, and again whenever its connection is lost.
    pub fn batch_store(&self) -> PostgresBatchStore {
        PostgresBatchStore { settings: self.settings().clone(), connection: Mutex::new(None) }
    }
}

#[async_trait]
impl BatchStore for PostgresBatchStore {
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError> {
        let rows: Vec<i64> = self.load(bind!(ReserveIds)).await?;
        let block = rows.into_iter().next().ok_or_else(|| bad_row("a sequence has no next value"))?;
        let count = u32::try_from(ID_BLOCK).map_err(bad_row)?;
        Ok(BookingIdBlock { first: (block - 1) * ID_BLOCK + 1, count })
    }

    async fn read(&self, named: &Named) -> Result<BatchState, StoreError> {
        let Named { keys, users, sessions, shows, whole_shows, seats, holds, holders, bookings } = named;
        let seats_only = whole_shows.is_empty() && holds.is_empty() && holders.is_empty() && bookings.is_empty();
        let key_users: Vec<i64> = keys.iter().map(|key| key.user_id.0).collect();
        let key_scopes: Vec<String> = keys.iter().map(|key| key.scope.0.clone()).collect();
        let key_texts: Vec<String> = keys.iter().map(|key| key.key.as_str().to_owned()).collect();
        let user_ids: Vec<i64> = users.iter().map(|user| user.0).collect();
        let session_ids: Vec<i64> = sessions.iter().map(|session| session.0).collect();
        let show_ids: Vec<i64> = shows.iter().map(|show| show.0).collect();
        let seat_shows: Vec<i64> = seats.iter().map(|(show, _)| show.0).collect();
        let seat_ids: Vec<i64> = seats.iter().map(|(_, seat)| seat.0).collect();
        let rows: Vec<ReadRow> = if seats_only {
            self.load(bind!(
                ReadBatch,
                Array<BigInt> = key_users,
                Array<Text> = key_scopes,
                Array<Text> = key_texts,
                Array<BigInt> = user_ids,
                Array<BigInt> = show_ids,
                Array<BigInt> = seat_shows,
                Array<BigInt> = seat_ids,
                Array<BigInt> = session_ids,
            ))
            .await?
        } else {
            self.load(bind!(
                ReadWholeBatch,
                Array<BigInt> = key_users,
                Array<Text> = key_scopes,
                Array<Text> = key_texts,
                Array<BigInt> = user_ids,
                Array<BigInt> = show_ids,
                Array<BigInt> = seat_shows,
                Array<BigInt> = seat_ids,
                Array<BigInt> = session_ids,
                Array<BigInt> = whole_shows.iter().map(|show| show.0).collect::<Vec<_>>(),
                Array<Text> = holds.iter().map(|hold| hold.as_str().to_owned()).collect::<Vec<_>>(),
                Array<BigInt> = holders.iter().map(|(show, _)| show.0).collect::<Vec<_>>(),
                Array<BigInt> = holders.iter().map(|(_, user)| user.0).collect::<Vec<_>>(),
                Array<BigInt> = bookings.iter().map(|booking| booking.0).collect::<Vec<_>>(),
            ))
            .await?
        };
        batch_state(rows)
    }

    async fn write(&self, changes: &Changes) -> Result<(), WriteError> {
        let mut slot = self.connected().await?;
        let Some(connection) = slot.as_ref() else { return Err(StoreError::unavailable("not connected").into()) };
        let verdict = match timeout(BATCH_MAX, flight(connection, changes)).await {
            Ok(results) => verdict(results),
            Err(elapsed) => Err(WriteError::Unknown(Arc::new(elapsed))),
        };
        if matches!(verdict, Err(WriteError::Unknown(_))) {
            // Whatever it still does, it does for itself.
            *slot = None;
        }
        verdict
    }
}

impl PostgresBatchStore {
    async fn connected(&self) -> Result<MutexGuard<'_, Option<AsyncPgConnection>>, StoreError> {
        let mut slot = self.connection.lock().await;
        if slot.is_none() {
            *slot = Some(self.settings.establish_for_committer().await.map_err(StoreError::unavailable)?);
        }
        Ok(slot)
    }

    /// Reads. A connection that turns out to be lost is replaced once: nothing was written.
    async fn load<Row, Q>(&self, query: Q) -> Result<Vec<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        let tries = async {
            for last_try in [false, true] {
                let mut slot = self.connected().await?;
                let Some(connection) = slot.as_mut() else { break };
                match query.clone().load(connection).await {
                    Ok(value) => return Ok(value),
                    Err(error) if is_connection_lost(&error) => {
                        *slot = None;
                        if last_try {
                            return Err(store_error(error));
                        }
                    }
                    Err(error) => return Err(store_error(error)),
                }
            }
            Err(StoreError::unavailable("no connection stays"))
        };
        match timeout(BATCH_MAX, tries).await {
            Ok(outcome) => outcome,
            Err(elapsed) => {
                *self.connection.lock().await = None;
                Err(StoreError::unavailable(elapsed))
            }
        }
    }
}

#[cfg(feature = "testing")]
impl PostgresBatchStore {
    /// Runs a query of one text column named `line` on the committer's own connection, for tests.
    pub async fn lines(&self, query: &str) -> Result<Vec<String>, StoreError> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            line: String,
        }
        let mut slot = self.connected().await?;
        let Some(connection) = slot.as_mut() else { return Err(StoreError::unavailable("not connected")) };
        let rows: Vec<Row> = diesel::sql_query(query).load(connection).await.map_err(store_error)?;
        Ok(rows.into_iter().map(|row| row.line).collect())
    }
}
