//! The pool of connections, transactions on it, and the rule that a lost connection is tried once more.

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
use domain::health::{Degradation, Dependency, PoolUse};
use tokio::time::{Instant, timeout, timeout_at};

use crate::durability::{OBSERVED_EVERY, Observe, Observed, ServerState};
use crate::error::{condition, store_error, with_cause};
use crate::settings::PostgresSettings;
use crate::statement::{bind, statement};
use crate::timeouts::{CALL_MAX, CONNECT_MAX};

/// How long `/readyz` waits.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// Every store port but [`domain::booking::BatchStore`], on a pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool<AsyncPgConnection>,
    settings: PostgresSettings,
    server: Arc<ServerState>,
}

impl PostgresStore {
    /// Returns a store on a pool that was made with these settings.
    pub(crate) fn new(pool: Pool<AsyncPgConnection>, settings: PostgresSettings, server: Arc<ServerState>) -> Self {
        Self { pool, settings, server }
    }

    /// What is known about the server.
    pub(crate) fn server(&self) -> &Arc<ServerState> {
        &self.server
    }

    /// Looks at the server every second until all users of the store are gone, so that a change is noticed, logged and measured
    /// while nobody asks for anything.
    pub(crate) fn keep_watch(&self) {
        let (pool, settings, server) = (self.pool.clone(), self.settings.clone(), Arc::downgrade(&self.server));
        let (pool, settings) = (pool.weak(), settings);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(OBSERVED_EVERY).await;
                let (Some(pool), Some(server)) = (pool.upgrade(), server.upgrade()) else { return };
                let store = Self { pool, settings: settings.clone(), server };
                // What it finds is noted; readiness tells who asks.
                let _ = timeout(CHECK_MAX, store.writable()).await;
            }
        });
    }

    /// How the database is reached.
    pub fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// Returns the rows of a query. A connection that is lost, or on which nothing can be written, is thrown away, and another one tried:
    /// nothing was written.
    pub(crate) async fn load<Row, Q>(&self, query: Q) -> Result<Vec<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        let mut tries = 0;
        loop {
            let mut connection = self.checkout().await?;
            // The other idle connections may be in the same state; a new one is not, unless the server still is.
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

    /// Returns the first row of a query, if it has any.
    pub(crate) async fn first<Row, Q>(&self, query: Q) -> Result<Option<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        Ok(self.load(query).await?.into_iter().next())
    }

    /// Runs `part` in a transaction, on a connection that has just answered that it can write. Commits a success and rolls anything else
    /// back. A write is not tried again, because one whose connection was lost may be written.
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

    /// Returns a connection that can write. Those that cannot, or do not answer, are thrown away: a session that was opened while the
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
        self.pool.get().await.map_err(|error| StoreError::unavailable(with_cause(&error)))
    }
}

/// A closure that returns a future, whose type can be bounded here.
pub(crate) trait AsyncPart<Argument, Output>: FnOnce(Argument) -> Self::Running {
    /// The future.
    type Running: Future<Output = Output>;
}

impl<F, Running, Argument, Output> AsyncPart<Argument, Output> for F
where
    F: FnOnce(Argument) -> Running,
    Running: Future<Output = Output>,
{
    type Running = Running;
}

/// A transaction on a connection of the pool. Dropped before it is finished it takes the connection with it: what is in the
/// middle of something is nobody else's.
struct Transaction {
    connection: Option<Object<AsyncPgConnection>>,
}

impl Transaction {
    /// Returns the connection.
    fn connection(&mut self) -> Result<&mut AsyncPgConnection, StoreError> {
        self.connection.as_deref_mut().ok_or_else(|| StoreError::internal("the transaction is over"))
    }

    /// Commits a success, and rolls anything else back.
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

/// Runs a part of a transaction, for as long as a call may take.
async fn within<T, E>(part: impl Future<Output = Result<T, WriteFailure<E>>> + Send) -> Result<T, WriteFailure<E>> {
    match timeout(CALL_MAX, part).await {
        Ok(outcome) => outcome,
        Err(elapsed) => Err(WriteFailure::Store(StoreError::unavailable(elapsed))),
    }
}

/// Why a transaction was rolled back.
pub(crate) enum WriteFailure<E> {
    /// A rule of the port.
    Refused(E),
    /// The database.
    Query(diesel::result::Error),
    /// A row that can't be read.
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

/// How far the clocks of the database and of this server may be apart.
const CLOCKS_APART_MAX: TimeDelta = TimeDelta::minutes(5);

/// What to tell an operator of clocks that are too far apart: holds and shows go by the database's, access tokens by the server's.
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
                // It may still be answering.
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
