//! The errors of connecting, and whether a retry can help.

use std::fmt::Display;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::SqlState;

use domain::error::with_sources;

/// The reason why the database cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No server answers.
    #[error("PostgreSQL cannot be reached: {0}")]
    Unreachable(String),
    /// A server answers, but is not ready: it is starting, is a standby, or has no free connection.
    #[error("PostgreSQL is not ready: {0}")]
    NotReady(String),
    /// The database did not become reachable and ready in time.
    #[error("{cause} (waited {} s; DB_START_TIMEOUT sets how long)", waited.as_secs())]
    NotInTime {
        /// The time waited.
        waited: Duration,
        /// The error of the last attempt.
        cause: Box<ConnectError>,
    },
    /// The server refuses the connection, and a retry does not help.
    #[error("PostgreSQL refuses the connection: {0}")]
    Refused(String),
    /// The server acknowledges commits before they are on disk.
    #[error(
        "PostgreSQL runs with synchronous_commit=off: an acknowledged booking could be lost. Set it to on for this database or role"
    )]
    AsynchronousCommit,
    /// The server acknowledges commits before they are replicated, although replication is required.
    #[error(
        "PostgreSQL runs with synchronous_commit={setting}, but DB_DURABILITY is replicated: set it to on or remote_apply for this \
         database or role"
    )]
    NotReplicated {
        /// The value of `synchronous_commit`.
        setting: String,
    },
    /// The server reports errors in a language other than English. diesel exposes most errors only by their text, so they could not be
    /// distinguished.
    #[error(
        "PostgreSQL reports errors in another language (lc_messages = '{setting}'), and the server must tell them apart. Run: \
         ALTER DATABASE \"{database}\" SET lc_messages = 'C'"
    )]
    MessageLanguage {
        /// The value of `lc_messages`.
        setting: String,
        database: String,
    },
    /// The encoding of the database cannot represent every text.
    #[error(
        "the database {database} has the encoding {encoding}, but must have UTF8. Create another one: \
         CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// The name of the database.
        database: String,
        encoding: String,
    },
    /// The server is too old.
    #[error("PostgreSQL is version {0}, but must be 15 or later")]
    Version(String),
    /// A pooler between this program and the server does not keep one session for each connection.
    #[error(
        "a connection pooler shares PostgreSQL sessions between connections ({0}). Set pool_mode=session and \
         server_reset_query=DISCARD ALL for this database in PgBouncer, or connect to PostgreSQL directly"
    )]
    Pooler(&'static str),
    /// The pool cannot be built.
    #[error("the connection pool cannot be built: {0}")]
    Pool(String),
}

impl ConnectError {
    /// Returns whether a retry with the same settings may succeed.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::NotReady(_))
    }
}

/// Classifies a failed login or an unreachable server.
pub(crate) fn connect_error(error: &tokio_postgres::Error, place: &dyn Display) -> ConnectError {
    let Some(refusal) = error.as_db_error() else {
        let text = format!("{place}: {}", with_sources(error));
        // Errors of TLS, of passwords and of features that the library does not support. Unless the operating system caused the error, a
        // retry fails in the same way.
        return if is_lasting(error) { ConnectError::Refused(text) } else { ConnectError::Unreachable(text) };
    };
    let message = refusal.message();
    let text = |advice: &str| format!("{place}: {message}{advice}");
    // PgBouncer reports every error in English, with a SQLSTATE that stands for any client error.
    if message.contains("unsupported startup parameter") {
        return ConnectError::Refused(text(
            ". Leave `options` out of the connection string: PgBouncer does not pass it on. Set its settings by ALTER ROLE",
        ));
    }
    if message.contains("no such database") {
        return ConnectError::Refused(text(". Add it to the section [databases] of PgBouncer"));
    }
    if ["password authentication failed", "SASL authentication failed", "no such user"]
        .iter()
        .any(|text| message.contains(text))
    {
        return ConnectError::Refused(text(". Check the user and the password"));
    }
    match refusal.code() {
        &SqlState::INVALID_PASSWORD => ConnectError::Refused(text(". Check the user and the password")),
        &SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            ConnectError::Refused(text(". Check the user, sslmode, and the server's pg_hba.conf"))
        }
        &SqlState::INVALID_CATALOG_NAME => ConnectError::Refused(text(
            ". Check its name, or create it: CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0",
        )),
        code if ["0A", "22", "42"].iter().any(|class| code.code().starts_with(class)) => {
            ConnectError::Refused(text(""))
        }
        _ => ConnectError::NotReady(text("")),
    }
}

fn is_lasting(error: &tokio_postgres::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>() {
            // rustls reports a bad certificate or an unsupported protocol as this kind.
            return error.kind() == std::io::ErrorKind::InvalidData;
        }
        cause = error.source();
    }
    !error.is_closed()
}
