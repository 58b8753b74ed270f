//! Making connections, and the pool of them.

use std::time::Duration;

use deadpool::Runtime;
use diesel::result::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use futures::FutureExt as _;
use thiserror::Error;
use tokio::time::timeout;
use tokio_postgres::tls::TlsStream;
use tokio_postgres::{Client, Connection, NoTls, Socket};

use crate::error::DriverError;
use crate::settings::PostgresSettings;
use crate::store::{CALL_MAX, PostgresStore};

/// How long a connection may take to be made.
pub const CONNECT_MAX: Duration = Duration::from_secs(3);

/// What every connection is set to. A statement that takes longer has lost its caller; a lock that is not to be had in a
/// second is held by someone who is stuck.
const OPTIONS: &str = "-c statement_timeout=5000 -c lock_timeout=1000 -c idle_in_transaction_session_timeout=10000";
/// What a committer's connection is set to besides: with PostgreSQL's defaults small batches are planned again at each execution,
/// and a plan made while tables were empty scans them for ever after.
const COMMITTER_OPTIONS: &str =
    "-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c enable_hashjoin=off -c enable_mergejoin=off";

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
    /// Its errors are not in English. diesel passes on most of them by their text alone, so they could not be told apart.
    #[error(
        "PostgreSQL reports errors in another language (lc_messages = '{setting}'), and the server must tell them apart. Run: \
         ALTER DATABASE \"{database}\" SET lc_messages = 'C'"
    )]
    MessageLanguage {
        /// The value of the setting.
        setting: String,
        /// The name of the database.
        database: String,
    },
    /// The pool can't be built.
    #[error("the connection pool cannot be built: {0}")]
    Pool(String),
}

impl PostgresSettings {
    /// A connection, with `more` options than those that every connection has. A task drives it until the client is dropped.
    async fn client(&self, more: &str) -> Result<Client, ConnectionError> {
        let mut config = self.config.clone();
        let own = config.get_options().unwrap_or_default();
        let options = format!("{OPTIONS} {more} {own}");
        config.options(options.trim());
        let bad = |error: &dyn std::fmt::Display| ConnectionError::BadConnection(error.to_string());
        let connect = async {
            match self.connector().map_err(|error| bad(&error))? {
                None => Ok(driven(config.connect(NoTls).await.map_err(|error| bad(&with_cause(&error)))?)),
                Some(tls) => Ok(driven(config.connect(tls).await.map_err(|error| bad(&with_cause(&error)))?)),
            }
        };
        timeout(CONNECT_MAX, connect).await.map_err(|_| bad(&"no answer in time"))?
    }

    /// A connection of the pool. Once it is lost every query fails as closed, whatever the server's last words were.
    async fn establish(&self) -> Result<AsyncPgConnection, ConnectionError> {
        AsyncPgConnection::try_from(self.client("").await?).await
    }

    /// A connection for a committer.
    pub(crate) async fn establish_for_committer(&self) -> Result<Client, ConnectionError> {
        self.client(COMMITTER_OPTIONS).await
    }

    /// A connection for one job.
    pub(crate) async fn establish_one(&self) -> Result<AsyncPgConnection, ConnectError> {
        self.establish().await.map_err(|error| ConnectError::Unreachable(error.to_string()))
    }
}

impl PostgresStore {
    /// Reaches the database once, checks that it keeps what it acknowledges, and makes a pool for it.
    pub async fn connect(settings: PostgresSettings) -> Result<Self, ConnectError> {
        let store = Self::unconnected(settings)?;
        let client = store.settings().client("").await.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        let unreachable = |error| ConnectError::Unreachable(DriverError(error).to_string());
        let asked = "SELECT current_setting('synchronous_commit'), current_setting('lc_messages'), current_database()";
        let row = client.query_one(asked, &[]).await.map_err(unreachable)?;
        let (durability, setting, database): (String, String, String) = (row.get(0), row.get(1), row.get(2));
        if durability == "off" {
            return Err(ConnectError::AsynchronousCommit);
        }
        if !is_english(&setting) {
            return Err(ConnectError::MessageLanguage { setting, database });
        }
        Ok(store)
    }

    fn unconnected(settings: PostgresSettings) -> Result<Self, ConnectError> {
        let for_pool = settings.clone();
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        // The default asks the server at each checkout: a round trip for nothing.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |_| {
            let settings = for_pool.clone();
            async move { settings.establish().await }.boxed()
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
        Ok(Self::new(pool, settings))
    }
}

/// Whether a locale's messages are in English. An empty one is the environment's of the server, which nobody here knows.
fn is_english(lc_messages: &str) -> bool {
    let language = lc_messages.split(['_', '.', '@', '-']).next().unwrap_or_default().to_ascii_lowercase();
    ["c", "posix", "en", "english"].contains(&language.as_str())
}

/// Drives a connection in a task of its own until its client is dropped or the server closes it.
fn driven<T>((client, connection): (Client, Connection<Socket, T>)) -> Client
where
    T: TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %DriverError(error), "postgresql.connection.lost");
        }
    });
    client
}

/// An error with what is behind it, in one line: `error connecting to server: Connection refused`.
pub(crate) fn with_cause(error: &dyn std::error::Error) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_locales_are_known_by_their_names() {
        for english in
            ["C", "C.UTF-8", "POSIX", "en_US.utf8", "en_GB", "en", "en-US-x-icu", "English_United States.1252"]
        {
            assert!(is_english(english), "{english}");
        }
        for other in ["", "de_DE.UTF-8", "fr", "eno_XX", "cs_CZ", "zh_CN.utf8"] {
            assert!(!is_english(other), "{other}");
        }
    }
}
