//! Why a connection was not made, and whether a retry can help.

use std::fmt::Display;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::error::SqlState;

use crate::error::with_cause;

/// Why the database cannot be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// No server answers.
    #[error("PostgreSQL cannot be reached: {0}")]
    Unreachable(String),
    /// A server answers, but cannot do its work at the moment: it starts, is a standby, or has no free connection.
    #[error("PostgreSQL is not ready: {0}")]
    NotReady(String),
    /// It became neither reachable nor ready in time.
    #[error("{cause} (waited {} s; DB_START_TIMEOUT sets how long)", waited.as_secs())]
    NotInTime {
        /// How long was waited.
        waited: Duration,
        /// Why the last attempt failed.
        cause: Box<ConnectError>,
    },
    /// It refuses the connection, and will go on doing so.
    #[error("PostgreSQL refuses the connection: {0}")]
    Refused(String),
    /// It acknowledges commits before they are on disk.
    #[error(
        "PostgreSQL runs with synchronous_commit=off: an acknowledged booking could be lost. Set it to on for this database or role"
    )]
    AsynchronousCommit,
    /// Its commits are acknowledged before they are replicated, which they must be.
    #[error(
        "PostgreSQL runs with synchronous_commit={setting}, but DB_DURABILITY is replicated: set it to on or remote_apply for this \
         database or role"
    )]
    NotReplicated {
        /// The value of the setting.
        setting: String,
    },
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
    /// The database cannot store every text.
    #[error(
        "the database {database} has the encoding {encoding}, but must have UTF8. Create another one: \
         CREATE DATABASE name ENCODING 'UTF8' TEMPLATE template0"
    )]
    Encoding {
        /// Its name.
        database: String,
        encoding: String,
    },
    /// The server is too old.
    #[error("PostgreSQL is version {0}, but must be 15 or later")]
    Version(String),
    /// What is between this program and the server does not keep a session for each connection.
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
    /// Returns whether it may be otherwise in a moment, with the same settings.
    pub fn may_pass(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::NotReady(_))
    }
}

/// What a failed login or an unreachable server means for an attempt.
pub(crate) fn connect_error(error: &tokio_postgres::Error, place: &dyn Display) -> ConnectError {
    let Some(refusal) = error.as_db_error() else {
        let text = format!("{place}: {}", with_cause(error));
        // TLS, passwords and what the library does not support. Without an error of the system a retry ends in the same way.
        return if is_lasting(error) { ConnectError::Refused(text) } else { ConnectError::Unreachable(text) };
    };
    let message = refusal.message();
    let text = |advice: &str| format!("{place}: {message}{advice}");
    // PgBouncer says all in English, with a SQLSTATE that stands for any mistake of a client.
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
            // What rustls reports: a certificate or a protocol that does not fit.
            return error.kind() == std::io::ErrorKind::InvalidData;
        }
        cause = error.source();
    }
    !error.is_closed()
}
