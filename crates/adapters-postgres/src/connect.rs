//! Reaching PostgreSQL: settings, connections, the pool, and the rule that a lost connection is tried once more.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use async_trait::async_trait;
use deadpool::Runtime;
use diesel::IntoSql as _;
use diesel::result::ConnectionError;
use diesel::sql_types::Integer;
use diesel_async::methods::LoadQuery;
use diesel_async::pooled_connection::deadpool::{Object, Pool};
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use domain::StoreError;
use domain::health::{Degradation, Dependency, PoolUse};
use futures::FutureExt as _;
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::error::{is_connection_lost, store_error};
use crate::tls::{Verification, client_config};

/// How long a call to the database may take, waiting for a connection included.
pub const CALL_MAX: Duration = Duration::from_secs(5);
/// How long a connection may take to be made.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long `/readyz` waits.
const CHECK_MAX: Duration = Duration::from_secs(2);

/// What every connection is set to. A statement that takes longer has lost its caller; a lock that is not to be had in a
/// second is held by someone who is stuck.
const OPTIONS: &str = "-c statement_timeout=5000 -c lock_timeout=1000 -c idle_in_transaction_session_timeout=10000";
/// What a committer's connection is set to besides: with PostgreSQL's defaults small batches are planned again at each execution,
/// and a plan made while tables were empty scans them for ever after.
const COMMITTER_OPTIONS: &str =
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off";

/// Settings that can't work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The URL can't be read.
    #[error("not a PostgreSQL URL like postgres://user:password@host:5432/database: {0}")]
    Url(String),
    /// The TLS settings can't be used.
    #[error("{0}")]
    Tls(String),
}

/// Why the database can't be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// It can't be reached, or refuses us.
    #[error("PostgreSQL cannot be reached: {0}")]
    Unreachable(String),
    /// It acknowledges commits before they are on disk.
    #[error(
        "PostgreSQL runs with synchronous_commit=off: an acknowledged booking could be lost. Set it to on for this database or role"
    )]
    AsynchronousCommit,
    /// The pool can't be built.
    #[error("the connection pool cannot be built: {0}")]
    Pool(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tls {
    Never,
    IfOffered,
    Always(Verification),
}

/// Where the database is and how it is reached.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    config: Config,
    tls: Tls,
    root_cert: Option<PathBuf>,
    pool_size: usize,
}

impl PostgresSettings {
    /// Reads a URL. `sslmode` is `disable`, `prefer` (as without), `require`, `verify-ca` or `verify-full`, and `sslrootcert` the path of
    /// a PEM file of certificate authorities, with the meaning that libpq gives them.
    pub fn parse(url: &str, pool_size: usize) -> Result<Self, SettingsError> {
        let (url, mode, root_cert) = split_tls(url);
        let mut config = Config::from_str(&url).map_err(|error| SettingsError::Url(error.to_string()))?;
        let root_cert = root_cert.map(PathBuf::from);
        let tls = match (mode.as_deref(), &root_cert) {
            (Some("disable"), _) => Tls::Never,
            (None | Some("prefer" | "allow"), _) => Tls::IfOffered,
            (Some("require"), None) => Tls::Always(Verification::Nothing),
            (Some("require"), Some(_)) | (Some("verify-ca"), _) => Tls::Always(Verification::Authority),
            (Some("verify-full"), _) => Tls::Always(Verification::AuthorityAndHost),
            (Some(other), _) => {
                let allowed = "disable, prefer, require, verify-ca or verify-full";
                return Err(SettingsError::Tls(format!("sslmode is {other}, but must be {allowed}")));
            }
        };
        config.ssl_mode(match tls {
            Tls::Never => SslMode::Disable,
            Tls::IfOffered => SslMode::Prefer,
            Tls::Always(_) => SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_MAX);
        }
        // A server that went away without a word is noticed.
        config.tcp_user_timeout(CALL_MAX).keepalives_idle(Duration::from_secs(30));
        let settings = Self { config, tls, root_cert, pool_size };
        settings.connector()?;
        Ok(settings)
    }

    /// The same database server, another database.
    #[must_use]
    pub fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    fn connector(&self) -> Result<Option<MakeRustlsConnect>, SettingsError> {
        let verification = match self.tls {
            Tls::Never => return Ok(None),
            Tls::IfOffered => Verification::Nothing,
            Tls::Always(verification) => verification,
        };
        Ok(Some(MakeRustlsConnect::new(client_config(verification, self.root_cert.as_deref())?)))
    }

    /// A connection, with `more` options than those that every connection has.
    async fn establish(&self, more: &str) -> Result<AsyncPgConnection, ConnectionError> {
        let mut config = self.config.clone();
        let own = config.get_options().unwrap_or_default();
        let options = format!("{OPTIONS} {more} {own}");
        config.options(options.trim());
        let bad = |error: &dyn std::fmt::Display| ConnectionError::BadConnection(error.to_string());
        let connect = async {
            match self.connector().map_err(|error| bad(&error))? {
                None => {
                    let (client, connection) = config.connect(NoTls).await.map_err(|error| bad(&with_cause(&error)))?;
                    AsyncPgConnection::try_from_client_and_connection(client, connection).await
                }
                Some(tls) => {
                    let (client, connection) = config.connect(tls).await.map_err(|error| bad(&with_cause(&error)))?;
                    AsyncPgConnection::try_from_client_and_connection(client, connection).await
                }
            }
        };
        timeout(CONNECT_MAX, connect).await.map_err(|_| bad(&"no answer in time"))?
    }

    /// A connection for a committer.
    pub(crate) async fn establish_for_committer(&self) -> Result<AsyncPgConnection, ConnectionError> {
        self.establish(COMMITTER_OPTIONS).await
    }

    /// A connection for one job.
    pub(crate) async fn establish_one(&self) -> Result<AsyncPgConnection, ConnectError> {
        self.establish("").await.map_err(|error| ConnectError::Unreachable(error.to_string()))
    }
}

/// An error with what is behind it, in one line: `error connecting to server: Connection refused`.
fn with_cause(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Takes `sslmode` and `sslrootcert` out of a URL's query: the client library knows only some of their values.
fn split_tls(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut mode, mut root_cert, mut others) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => root_cert = Some(percent_decoded(value)),
            _ => others.push(pair),
        }
    }
    let base = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (base, mode, root_cert)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let escaped = match (byte, ahead.next(), ahead.next()) {
            (b'%', Some(high), Some(low)) => {
                std::str::from_utf8(&[high, low]).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        if escaped.is_some() {
            rest = ahead;
        }
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Every store port but [`domain::booking::BatchStore`], on a pool of connections. Cheap to clone.
#[derive(Clone)]
pub struct PostgresStore {
    pool: Pool<AsyncPgConnection>,
    settings: PostgresSettings,
}

impl PostgresStore {
    /// Reaches the database once, checks that it keeps what it acknowledges, and makes a pool for it.
    pub async fn connect(settings: PostgresSettings) -> Result<Self, ConnectError> {
        let store = Self::unconnected(settings)?;
        let mut connection = store.settings.establish_one().await?;
        let unreachable = |error: diesel::result::Error| ConnectError::Unreachable(error.to_string());
        let setting: String =
            diesel::select(diesel::dsl::sql::<diesel::sql_types::Text>("current_setting('synchronous_commit')"))
                .get_result(&mut connection)
                .await
                .map_err(unreachable)?;
        if setting == "off" { Err(ConnectError::AsynchronousCommit) } else { Ok(store) }
    }

    fn unconnected(settings: PostgresSettings) -> Result<Self, ConnectError> {
        let for_pool = settings.clone();
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        // The default asks the server at each checkout: a round trip for nothing.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |_| {
            let settings = for_pool.clone();
            async move { settings.establish("").await }.boxed()
        });
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CALL_MAX))
            .create_timeout(Some(CONNECT_MAX))
            .recycle_timeout(Some(CONNECT_MAX))
            .build()
            .map_err(|error| ConnectError::Pool(error.to_string()))?;
        Ok(Self { pool, settings })
    }

    /// How the database is reached.
    pub fn settings(&self) -> &PostgresSettings {
        &self.settings
    }

    /// The rows of a query. A connection that turns out to be lost is thrown away, and another one tried once: nothing
    /// was written.
    pub(crate) async fn load<Row, Q>(&self, query: Q) -> Result<Vec<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        for last_try in [false, true] {
            let mut connection = self.checkout().await?;
            let error = match timeout(CALL_MAX, query.clone().load(&mut *connection)).await {
                Ok(Ok(rows)) => return Ok(rows),
                Ok(Err(error)) if !is_connection_lost(&error) => return Err(store_error(error)),
                Ok(Err(error)) => store_error(error),
                Err(elapsed) => StoreError::unavailable(elapsed),
            };
            drop(Object::take(connection));
            if last_try {
                return Err(error);
            }
        }
        Err(StoreError::unavailable("no connection stays"))
    }

    /// The first row of a query, if it has any.
    pub(crate) async fn first<Row, Q>(&self, query: Q) -> Result<Option<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        Ok(self.load(query).await?.into_iter().next())
    }

    /// Begins a transaction, on a connection that has just answered: a write is not tried again, because one whose
    /// connection was lost may be written.
    pub(crate) async fn begin(&self) -> Result<Transaction, StoreError> {
        let connection = self.answering().await?;
        let mut transaction = Transaction { connection: Some(connection) };
        match within(async { Ok(transaction.connection()?.batch_execute("BEGIN").await?) }).await {
            Ok(()) => Ok(transaction),
            Err(WriteFailure::Query(error)) => Err(store_error(error)),
            Err(WriteFailure::Refused(error) | WriteFailure::Store(error)) => Err(error),
        }
    }

    async fn answering(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        for _ in 0..=self.pool.status().size {
            let mut connection = self.checkout().await?;
            match timeout(CONNECT_MAX, connection.batch_execute("SELECT 1")).await {
                Ok(Ok(())) => return Ok(connection),
                Ok(Err(_)) | Err(_) => drop(Object::take(connection)),
            }
        }
        Err(StoreError::unavailable("no connection answers"))
    }

    async fn checkout(&self) -> Result<Object<AsyncPgConnection>, StoreError> {
        self.pool.get().await.map_err(|error| StoreError::unavailable(with_cause(&error)))
    }
}

/// A transaction on a connection of the pool. Dropped before it is finished it takes the connection with it: what is in the
/// middle of something is nobody else's.
pub(crate) struct Transaction {
    connection: Option<Object<AsyncPgConnection>>,
}

impl Transaction {
    /// The connection.
    pub(crate) fn connection(&mut self) -> Result<&mut AsyncPgConnection, StoreError> {
        self.connection.as_deref_mut().ok_or_else(|| StoreError::internal("the transaction is over"))
    }

    /// Commits a success, and rolls anything else back.
    pub(crate) async fn finish<T, E: From<StoreError>>(mut self, outcome: Result<T, WriteFailure<E>>) -> Result<T, E> {
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
pub(crate) async fn within<T, E>(
    part: impl Future<Output = Result<T, WriteFailure<E>>> + Send,
) -> Result<T, WriteFailure<E>> {
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

    async fn check(&self) -> Result<Vec<Degradation>, StoreError> {
        let asked = self.load::<i32, _>(diesel::select(1_i32.into_sql::<Integer>()));
        timeout(CHECK_MAX, asked).await.map_err(StoreError::unavailable)?.map(|_| Vec::new())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_settings_are_taken_out_of_the_url() {
        let (url, mode, root) =
            split_tls("postgres://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fetc%2Fmy%20ca.pem");
        assert_eq!(url, "postgres://u@h/d?application_name=x");
        assert_eq!(mode.as_deref(), Some("verify-full"));
        assert_eq!(root.as_deref(), Some("/etc/my ca.pem"));
        assert_eq!(split_tls("postgres://u@h/d"), ("postgres://u@h/d".to_owned(), None, None));
    }

    #[test]
    fn mistakes_are_told() {
        assert!(matches!(PostgresSettings::parse("http://x", 4), Err(SettingsError::Url(_))));
        let error = PostgresSettings::parse("postgres://u@h/d?sslmode=verify", 4).unwrap_err();
        assert!(error.to_string().contains("verify-full"), "{error}");
        let error =
            PostgresSettings::parse("postgres://u@h/d?sslmode=verify-ca&sslrootcert=/no/such.pem", 4).unwrap_err();
        assert!(error.to_string().contains("/no/such.pem"), "{error}");
    }
}
