//! A committer's dedicated connection, with the statements of the booking path prepared on it.

use std::iter;
use std::task::Poll;
use std::time::Instant;

use domain::StoreError;
use domain::booking::History;
use futures::future::ready;
use futures::{FutureExt as _, TryStreamExt as _, poll};
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Row};

use super::statements::{Prepared, Statement};
use crate::durability::{OBSERVED_EVERY, ServerState, observe};
use crate::error::{Condition, DriverError};
use crate::settings::PostgresSettings;

/// The parameters of a statement, in order.
pub(super) type Parameters<'a> = Vec<Box<dyn ToSql + Sync + Send + 'a>>;
/// A statement with its parameters.
pub(super) type Bound<'a> = (Statement, Parameters<'a>);

/// Boxes the parameters of a statement: `parameters![ids, names]`.
macro_rules! parameters {
    ($($value:expr),* $(,)?) => {{
        let parameters: $crate::batch::link::Parameters<'_> = vec![$(Box::new($value)),*];
        parameters
    }};
}
pub(super) use parameters;

/// The reason why a transaction did not succeed.
#[derive(Debug)]
pub(super) enum TransactionError {
    /// The server rejected a statement. The transaction has ended, and nothing is committed.
    NotCommitted(DriverError),
    /// A statement was not sent, so `COMMIT` was not sent either. Nothing is committed, but the connection may be inside the transaction.
    Unsent(DriverError),
    /// The outcome is unknown: the transaction may be committed now or shortly.
    Unknown(DriverError),
}

/// A connection with every statement of the booking path prepared.
pub(super) struct Link {
    client: Client,
    prepared: Prepared,
    /// The history that the session continues.
    history: History,
    observed_at: Instant,
}

impl Link {
    /// Connects, and prepares the statements in one round trip.
    pub(super) async fn connect(settings: &PostgresSettings, server: &ServerState) -> Result<Self, StoreError> {
        let client = settings.establish_for_committer().await.map_err(StoreError::unavailable)?;
        let prepared = Prepared::on(&client).await.map_err(|error| {
            let error = DriverError(error);
            error.condition().failure(error)
        })?;
        let mut link = Self { client, prepared, history: History::default(), observed_at: Instant::now() };
        link.observe(server).await?;
        Ok(link)
    }

    /// Queries the state of the server. Fails if the server does not answer or must not be written to.
    async fn observe(&mut self, server: &ServerState) -> Result<(), StoreError> {
        let observed = observe(&self.client).await.map_err(|error| error.condition().failure(error))?;
        self.history = server.note(observed)?;
        self.observed_at = Instant::now();
        Ok(())
    }

    /// Returns whether the session can still be used. Checks the server once a second, because its settings can change during a session.
    /// Also `false` if another session has observed another history.
    pub(super) async fn is_fit(&mut self, server: &ServerState) -> bool {
        self.history == server.history()
            && (self.observed_at.elapsed() < OBSERVED_EVERY || self.observe(server).await.is_ok())
    }

    /// Returns the connection, for statements outside the booking path.
    #[cfg(feature = "testing")]
    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    /// Sends all statements in a pipeline, and returns the rows of each.
    pub(super) async fn rows(&self, script: &[Bound<'_>]) -> Result<Vec<Vec<Row>>, DriverError> {
        let mut sent = Vec::with_capacity(script.len());
        for (statement, parameters) in script {
            let mut request = self.rows_of(*statement, parameters).boxed();
            // A request is sent when it is first polled.
            match poll!(&mut request) {
                Poll::Ready(outcome) => sent.push(ready(outcome).boxed()),
                Poll::Pending => sent.push(request),
            }
        }
        let mut rows = Vec::with_capacity(sent.len());
        for request in sent {
            rows.push(request.await?);
        }
        Ok(rows)
    }

    async fn rows_of(&self, statement: Statement, parameters: &Parameters<'_>) -> Result<Vec<Row>, DriverError> {
        let parameters = parameters.iter().map(|parameter| -> &(dyn ToSql + Sync) { parameter.as_ref() });
        let rows = self.client.query_raw(self.prepared.get(statement), parameters).await.map_err(DriverError)?;
        rows.try_collect().await.map_err(DriverError)
    }

    /// Sends `BEGIN`, every statement and `COMMIT` in a pipeline.
    ///
    /// PostgreSQL answers the `COMMIT` of an aborted transaction without an error. Success therefore means that every statement succeeded.
    pub(super) async fn transact(&self, script: Vec<Bound<'_>>) -> Result<(), TransactionError> {
        let bare = |statement| iter::once((statement, Vec::new()));
        let mut sent = Vec::with_capacity(script.len() + 2);
        for (statement, parameters) in bare(Statement::Begin).chain(script).chain(bare(Statement::Commit)) {
            let mut request = self.client.execute_raw(self.prepared.get(statement), parameters).boxed();
            // A request is sent when it is first polled, and the server may have answered by then. An error without a SQLSTATE means that
            // the request was not sent or that the connection was lost, so `COMMIT` must not follow.
            match poll!(&mut request) {
                Poll::Ready(Err(error)) if error.code().is_none() && statement != Statement::Commit => {
                    return Err(TransactionError::Unsent(DriverError(error)));
                }
                Poll::Ready(outcome) => sent.push((statement, ready(outcome).boxed())),
                Poll::Pending => sent.push((statement, request)),
            }
        }
        for (statement, request) in sent {
            request.await.map_err(|error| failure(statement, DriverError(error)))?;
        }
        Ok(())
    }
}

/// Classifies the failure of a statement after all statements were sent.
fn failure(statement: Statement, error: DriverError) -> TransactionError {
    let is_refused = error.0.code().is_some();
    // With these errors COMMIT fails because of a concurrent transaction, and writes nothing. Other errors may arrive after the commit.
    let is_conflict = error.condition() == Condition::Conflict || error.violated_key().is_some();
    match statement {
        Statement::Commit if is_conflict => TransactionError::NotCommitted(error),
        Statement::Commit => TransactionError::Unknown(error),
        _ if is_refused => TransactionError::NotCommitted(error),
        _ => TransactionError::Unknown(error),
    }
}
