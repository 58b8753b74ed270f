//! The connection pool, transactions on it, and retries after a lost connection.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::sql_types::Timestamptz;
use diesel_async::methods::LoadQuery;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use domain::StoreError;
use domain::booking::{History, HistorySource};
use domain::error::with_sources;
use domain::health::{Degradation, Dependency, PoolUse};
use tokio::time::{Instant, timeout, timeout_at};

use crate::durability::{OBSERVED_EVERY, Observe, Observed, ServerState};
use crate::error::{condition, store_error};
use crate::settings::PostgresSettings;
use crate::statement::{bind, statement};
use crate::timeouts::{CALL_MAX, CONNECT_MAX};

/// The time limit of a check by `/readyz`.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// Every store port except [`domain::booking::BatchStore`], on a connection pool. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool<AsyncPgConnection>,
    settings: PostgresSettings,
    server: Arc<ServerState>,
}

impl PostgresStore {
    /// Creates a store on a pool that was built with these settings.
    pub(crate) fn new(pool: Pool<AsyncPgConnection>, settings: PostgresSettings, server: Arc<ServerState>) -> Self {
        Self { pool, settings, server }
    }

    /// Returns the last reported state of the server.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        &self.server
    }

    /// Checks the server every second until all clones of the store are dropped, so that a change is noticed, logged and measured without
    /// any request.
    pub(crate) fn keep_watch(&self) {
        let (pool, settings, server) = (self.pool.clone(), self.settings.clone(), Arc::downgrade(&self.server));
        let (pool, settings) = (pool.weak(), settings);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(OBSERVED_EVERY).await;
                let (Some(pool), Some(server)) = (pool.upgrade(), server.upgrade()) else { return };
                let store = Self { pool, settings: settings.clone(), server };
                // The check records its result; the readiness check reports it.
                let _ = timeout(CHECK_MAX, store.writable()).await;
            }
        });
    }

    /// Returns the address of the database and the options of connecting.
    pub fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// Returns the rows of a query. If the connection is lost or cannot write, discards it and tries another one, which is safe because
    /// nothing was written.
    pub(crate) async fn load<Row, Q>(&self, query: Q) -> Result<Vec<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        let mut tries = 0;
        loop {
            let mut connection = self.checkout().await?;
            // The other idle connections may be in the same state. A new connection is not, unless the server itself still is.
            let (error, tries_max) = match timeout(CALL_MAX, query.clone().load(&mut *connection)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if !condition(&error).drops_connection() => return Err(store_error(error)),
                Ok(Err(error)) => (store_error(error), self.pool.status().size + 1),
                Err(elapsed) => (StoreError::unavailable(elapsed), 2),
            };
            drop(Object::take(connection));
            tries += 1;
            if tries >= tries_max {
                return Err(error);
            }
        }
    }

    /// Returns the first row of a query, if there is one.
    pub(crate) async fn first<Row, Q>(&self, query: Q) -> Result<Option<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        Ok(self.load(query).await?.into_iter().next())
    }

    /// Runs `part` in a transaction, on a connection that was just checked for writing. Commits on success, and rolls back otherwise. A
    /// write is not retried, because it may be committed even if its connection was lost.
    pub(crate) async fn transact<T, E, F>(&self, part: F) -> Result<T, E>
    where
        E: From<StoreError>,
        for<'c> F: AsyncFnOnce(&'c mut AsyncPgConnection) -> Result<T, WriteFailure<E>>
            + AsyncPart<&'c mut AsyncPgConnection, Result<T, WriteFailure<E>>, Running: Send>
            + Send,
    {
        let mut transaction = Transaction { connection: Some(self.writable().await?) };
        let begun = within::<_, E>(async { Ok(transaction.connection()?.batch_execute("BEGIN").await?) }).await;
        begun.map_err(WriteFailure::into_error)?;
        let outcome = within(part(transaction.connection()?)).await;
        transaction.finish(outcome).await
    }

    /// Begins a read-only transaction in which all statements see one snapshot. Each statement has its own time limit.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, StoreError> {
        let mut failure = StoreError::unavailable("no connection answers");
        for _ in 0..=self.pool.status().size {
            let mut transaction = Transaction { connection: Some(self.checkout().await?) };
            let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";
            match timeout(CALL_MAX, transaction.connection()?.batch_execute(begin)).await {
                Ok(Ok(())) => return Ok(Snapshot { transaction, statement_max: CALL_MAX }),
                Ok(Err(error)) if !condition(&error).drops_connection() => return Err(store_error(error)),
                Ok(Err(error)) => failure = store_error(error),
                Err(elapsed) => failure = StoreError::unavailable(elapsed),
            }
        }
        Err(failure)
    }

    /// Returns a connection that can write. Discards connections that cannot write or do not answer: a session that was opened while the
    /// server was read-only stays read-only.
    async fn writable(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        let mut failure = StoreError::unavailable("no connection answers");
        for _ in 0..=self.pool.status().size {
            let mut connection = self.checkout().await?;
            match timeout(CONNECT_MAX, bind!(Observe).get_result::<Observed>(&mut *connection)).await {
                Ok(Ok(observed)) => match self.server.note(observed) {
                    Ok(_) => return Ok(connection),
                    Err(error) => failure = error,
                },
                Ok(Err(error)) => failure = store_error(error),
                Err(elapsed) => failure = StoreError::unavailable(elapsed),
            }
            drop(Object::take(connection));
        }
        Err(failure)
    }

    async fn checkout(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        self.pool.get().await.map_err(|error| StoreError::unavailable(with_sources(&error)))
    }
}

/// A closure that returns a future whose type can be bounded.
pub(crate) trait AsyncPart<Argument, Output>: FnOnce(Argument) -> Self::Running {
    /// The returned future.
    type Running: Future<Output = Output>;
}

impl<F, Running, Argument, Output> AsyncPart<Argument, Output> for F
where
    F: FnOnce(Argument) -> Running,
    Running: Future<Output = Output>,
{
    type Running = Running;
}

/// A transaction on a pooled connection. If it is dropped before it is finished, the connection is not returned to the pool, because it may
/// be inside a transaction.
struct Transaction {
    connection: Option<Object<AsyncPgConnection>>,
}

impl Transaction {
    /// Returns the connection. Fails if the transaction has ended.
    fn connection(&mut self) -> Result<&mut AsyncPgConnection, StoreError> {
        self.connection.as_deref_mut().ok_or_else(|| StoreError::internal("the transaction is over"))
    }

    /// Commits on success, and rolls back otherwise.
    async fn finish<T, E: From<StoreError>>(mut self, outcome: Result<T, WriteFailure<E>>) -> Result<T, E> {
        let end = if outcome.is_ok() { "COMMIT" } else { "ROLLBACK" };
        let ended =
            within(async { Ok::<_, WriteFailure<StoreError>>(self.connection()?.batch_execute(end).await?) }).await;
        match (outcome, ended) {
            (Ok(value), Ok(())) => {
                drop(self.connection.take());
                Ok(value)
            }
            (Err(failure), Ok(())) => {
                drop(self.connection.take());
                Err(failure.into_error())
            }
            (Ok(_), Err(failure)) => Err(failure.into_error().into()),
            (Err(failure), Err(_)) => Err(failure.into_error()),
        }
    }
}

impl Drop for Transaction {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

/// A read-only transaction that sees one snapshot.
pub(crate) struct Snapshot {
    transaction: Transaction,
    /// The time limit of a statement.
    statement_max: Duration,
}

impl Snapshot {
    /// Changes settings and the time limit of each statement for the rest of the transaction.
    pub(crate) async fn set(&mut self, settings: &str, statement_max: Duration) -> Result<(), StoreError> {
        self.statement_max = statement_max;
        let settings = format!("SET LOCAL statement_timeout = {}; {settings}", statement_max.as_millis());
        let set = timeout(CALL_MAX, self.transaction.connection()?.batch_execute(&settings)).await;
        set.map_err(StoreError::unavailable)?.map_err(store_error)
    }

    /// Returns the rows of a query.
    pub(crate) async fn load<Row, Q>(&mut self, query: Q) -> Result<Vec<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Send + 'static,
        Row: Send + 'static,
    {
        let rows = timeout(self.statement_max, query.load(self.transaction.connection()?)).await;
        rows.map_err(StoreError::unavailable)?.map_err(store_error)
    }

    /// Ends the transaction. Without it, the connection is discarded.
    pub(crate) async fn finish(self) -> Result<(), StoreError> {
        self.transaction.finish::<(), StoreError>(Ok(())).await
    }
}

/// Runs a part of a transaction within [`CALL_MAX`].
async fn within<T, E>(part: impl Future<Output = Result<T, WriteFailure<E>>> + Send) -> Result<T, WriteFailure<E>> {
    match timeout(CALL_MAX, part).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(WriteFailure::Store(StoreError::unavailable(elapsed))),
    }
}

/// The reason why a transaction was rolled back.
pub(crate) enum WriteFailure<E> {
    /// The port refused the change.
    Refused(E),
    /// A query failed.
    Query(diesel::result::Error),
    /// The store failed or a row could not be parsed.
    Store(StoreError),
}

impl<E: From<StoreError>> WriteFailure<E> {
    fn into_error(self) -> E {
        match self {
            Self::Refused(error) => error,
            Self::Query(error) => store_error(error).into(),
            Self::Store(error) => error.into(),
        }
    }
}

impl<E> From<StoreError> for WriteFailure<E> {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl<E> From<diesel::result::Error> for WriteFailure<E> {
    fn from(error: diesel::result::Error) -> Self {
        Self::Query(error)
    }
}

impl HistorySource for PostgresStore {
    fn history(&self) -> History {
        self.server.history()
    }
}

statement!(DatabaseClock: Timestamptz = "SELECT clock_timestamp()");

/// The largest tolerated difference between the clocks of the database and of this server.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::minutes(5);

/// Returns the warning for an operator if the clocks differ too much. Holds and shows use the database's clock, access tokens the server's.
fn clock_difference(database: DateTime<Utc>, server: DateTime<Utc>) -> Option<Degradation> {
    if (database - server).abs() <= CLOCKS_APART_MAX {
        return None;
    }
    let show = |instant: DateTime<Utc>| instant.format("%Y-%m-%dT%H:%M:%SZ");
    let message = format!(
        "the database's clock says {}, this server's clock says {}: correct the one that is wrong",
        show(database),
        show(server)
    );
    Some(Degradation { name: "clock", state: "differs", message })
}

#[async_trait]
impl Dependency for PostgresStore {
    fn name(&self) -> &'static str {
        "postgresql"
    }

    fn pools(&self) -> Vec<PoolUse> {
        let status = self.pool.status();
        let in_use = status.size.saturating_sub(status.available);
        vec![PoolUse { name: "postgresql", size_max: status.max_size, in_use, waiting: status.waiting }]
    }

    fn is_replicated(&self) -> Option<bool> {
        self.server.is_replicated()
    }

    async fn check(&self) -> Result<Vec<Degradation>, StoreError> {
        let deadline = Instant::now() + CHECK_MAX;
        let mut connection = timeout_at(deadline, self.writable()).await.map_err(StoreError::unavailable)??;
        let answer = timeout_at(deadline, bind!(DatabaseClock).load(&mut *connection)).await;
        let instants: Vec<DateTime<Utc>> = match answer.map_err(StoreError::unavailable) {
            Ok(Ok(instants)) => instants,
            Ok(Err(error)) => return Err(store_error(error)),
            Err(late) => {
                // The connection may still receive the answer, so it is not returned to the pool.
                drop(Object::take(connection));
                return Err(late);
            }
        };
        let difference =
            instants.into_iter().next().and_then(|database| clock_difference(database, SystemTime::now().into()));
        Ok(self.server.degradations().into_iter().chain(difference).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_more_than_five_minutes_apart_are_reported() {
        let server: DateTime<Utc> = "2026-11-27T09:00:00Z".parse().unwrap();
        for minutes in [-5, 0, 5] {
            assert_eq!(clock_difference(server + TimeDelta::minutes(minutes), server), None);
        }
        for minutes in [-6, 6] {
            let found = clock_difference(server + TimeDelta::minutes(minutes), server).unwrap();
            assert_eq!((found.name, found.state), ("clock", "differs"));
            assert!(found.message.contains("server's clock says 2026-11-27T09:00:00Z"), "{}", found.message);
        }
    }
}
