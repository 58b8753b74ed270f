//! Classifies PostgreSQL's errors by SQLSTATE: what they mean for callers and for the connection.

use std::fmt;

use diesel::result::{DatabaseErrorInformation, DatabaseErrorKind, Error};
use domain::StoreError;
use tokio_postgres::error::SqlState;

/// The meaning of an error, and the reaction to it. `docs/operating/postgresql.md` has the table for operators.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Condition {
    /// A conflict with a concurrent transaction: a deadlock, a serialization failure, or a lock timeout.
    Conflict,
    /// The connection is lost, or the server closes it: a shutdown, a crash, a start, or a terminated session.
    Disconnected,
    /// This session cannot write, because of a standby or `default_transaction_read_only`. Another session may be able to.
    ReadOnly,
    /// The server lacks disk, memory, connections or time for this statement.
    Exhausted,
    /// A bug in this program, in the schema or in its permissions, or damaged data. A retry does not help.
    Mistake,
}

impl Condition {
    /// Classifies a SQLSTATE.
    pub fn of(code: &SqlState) -> Self {
        match *code {
            SqlState::T_R_SERIALIZATION_FAILURE | SqlState::T_R_DEADLOCK_DETECTED | SqlState::LOCK_NOT_AVAILABLE => {
                Self::Conflict
            }
            SqlState::READ_ONLY_SQL_TRANSACTION => Self::ReadOnly,
            SqlState::ADMIN_SHUTDOWN
            | SqlState::CRASH_SHUTDOWN
            | SqlState::CANNOT_CONNECT_NOW
            | SqlState::DATABASE_DROPPED
            | SqlState::IDLE_SESSION_TIMEOUT
            | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Self::Disconnected,
            SqlState::QUERY_CANCELED | SqlState::IO_ERROR => Self::Exhausted,
            _ => match code.code() {
                // transaction_timeout, which PostgreSQL 17 introduced.
                "25P04" => Self::Disconnected,
                // Class 08: connection exceptions.
                code if code.starts_with("08") => Self::Disconnected,
                // Class 53: insufficient resources.
                code if code.starts_with("53") => Self::Exhausted,
                _ => Self::Mistake,
            },
        }
    }

    /// Returns whether the connection must not be used again.
    pub fn drops_connection(self) -> bool {
        matches!(self, Self::Disconnected | Self::ReadOnly)
    }

    /// Returns the error of a call that wrote nothing.
    pub fn failure(self, error: impl std::error::Error + Send + Sync + 'static) -> StoreError {
        match self {
            Self::Mistake => StoreError::internal(error),
            Self::Conflict | Self::Disconnected | Self::ReadOnly | Self::Exhausted => StoreError::unavailable(error),
        }
    }
}

/// An error of tokio-postgres that displays its message and SQLSTATE. The library's own text is only `db error`.
#[derive(Debug)]
pub struct DriverError(pub tokio_postgres::Error);

impl DriverError {
    /// Classifies the error. An error without a SQLSTATE means a lost connection or a protocol error.
    pub fn condition(&self) -> Condition {
        match self.0.code() {
            Some(code) => Condition::of(code),
            None if self.is_disconnect() => Condition::Disconnected,
            None => Condition::Mistake,
        }
    }

    fn is_disconnect(&self) -> bool {
        use std::error::Error as _;
        self.0.is_closed() || self.0.source().is_some_and(<dyn std::error::Error>::is::<std::io::Error>)
    }

    /// Returns the name of the violated constraint if it is a unique or a foreign key.
    pub fn violated_key(&self) -> Option<&str> {
        let error = self.0.as_db_error()?;
        let is_key = [SqlState::UNIQUE_VIOLATION, SqlState::FOREIGN_KEY_VIOLATION].contains(error.code());
        error.constraint().filter(|_| is_key)
    }
}

impl fmt::Display for DriverError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_db_error() {
            Some(error) => write!(f, "{} (SQLSTATE {})", error.message(), error.code().code()),
            None => self.0.fmt(f),
        }
    }
}

impl std::error::Error for DriverError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        // The message of a database error is displayed already.
        if self.0.as_db_error().is_some() { None } else { std::error::Error::source(&self.0) }
    }
}

/// SQLSTATEs by PostgreSQL's English message, because diesel hides them: diesel-async keeps eight of them and drops the others. `connect`
/// refuses a server that reports in another language. Only errors other than [`Condition::Mistake`] need an entry.
const BY_MESSAGE: [(&str, SqlState); 15] = [
    ("deadlock detected", SqlState::T_R_DEADLOCK_DETECTED),
    ("canceling statement due to lock timeout", SqlState::LOCK_NOT_AVAILABLE),
    ("could not obtain lock on", SqlState::LOCK_NOT_AVAILABLE),
    ("canceling statement due to", SqlState::QUERY_CANCELED),
    ("due to administrator command", SqlState::ADMIN_SHUTDOWN),
    ("because of crash of another server process", SqlState::CRASH_SHUTDOWN),
    ("due to unexpected postmaster exit", SqlState::CRASH_SHUTDOWN),
    ("the database system is", SqlState::CANNOT_CONNECT_NOW),
    ("terminating connection due to", SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT),
    ("too many connections", SqlState::TOO_MANY_CONNECTIONS),
    ("too many clients already", SqlState::TOO_MANY_CONNECTIONS),
    ("remaining connection slots", SqlState::TOO_MANY_CONNECTIONS),
    ("No space left on device", SqlState::DISK_FULL),
    ("out of memory", SqlState::OUT_OF_MEMORY),
    ("out of shared memory", SqlState::OUT_OF_MEMORY),
];

fn state_by_message(message: &str) -> Option<SqlState> {
    BY_MESSAGE.iter().find(|(part, _)| message.contains(part)).map(|(_, code)| code.clone())
}

/// Classifies an error that diesel returned.
pub fn condition(error: &Error) -> Condition {
    let (kind, information) = match error {
        Error::DatabaseError(kind, information) => (kind, information),
        Error::BrokenTransactionManager => return Condition::Disconnected,
        _ => return Condition::Mistake,
    };
    let code = match kind {
        DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection => return Condition::Disconnected,
        DatabaseErrorKind::SerializationFailure => Some(SqlState::T_R_SERIALIZATION_FAILURE),
        DatabaseErrorKind::ReadOnlyTransaction => Some(SqlState::READ_ONLY_SQL_TRANSACTION),
        DatabaseErrorKind::Unknown => state_by_message(DatabaseErrorInformation::message(information.as_ref())),
        // Violated constraints. A caller that expects one has checked for it before.
        _ => None,
    };
    code.map_or(Condition::Mistake, |code| Condition::of(&code))
}

/// Returns the error of a call that wrote nothing.
pub fn store_error(error: Error) -> StoreError {
    condition(&error).failure(error)
}

/// Returns the error for a stored row that this program cannot have written.
pub fn bad_row(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::internal(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_the_server_are_classified_by_sqlstate() {
        for (condition, codes) in [
            (Condition::Conflict, &["40001", "40P01", "55P03"][..]),
            (Condition::ReadOnly, &["25006"]),
            (
                Condition::Disconnected,
                &["57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04", "08006", "08003"],
            ),
            (Condition::Exhausted, &["53100", "53200", "53300", "53400", "57014", "58030"]),
            (Condition::Mistake, &["42703", "42P01", "42501", "23505", "23514", "22P02", "XX000", "XX001", "25P02"]),
        ] {
            for code in codes {
                assert_eq!(Condition::of(&SqlState::from_code(code)), condition, "{code}");
            }
        }
    }

    #[test]
    fn states_that_diesel_hides_are_known_by_their_english_message() {
        let of =
            |message: &str| condition(&Error::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())));
        for (message, expected) in [
            ("deadlock detected", Condition::Conflict),
            ("canceling statement due to lock timeout", Condition::Conflict),
            ("canceling statement due to statement timeout", Condition::Exhausted),
            ("canceling statement due to user request", Condition::Exhausted),
            ("terminating connection due to administrator command", Condition::Disconnected),
            ("terminating connection because of crash of another server process", Condition::Disconnected),
            ("terminating connection due to idle-in-transaction timeout", Condition::Disconnected),
            ("the database system is shutting down", Condition::Disconnected),
            ("sorry, too many clients already", Condition::Exhausted),
            ("too many connections for role \"app\"", Condition::Exhausted),
            ("could not write to file \"x\": No space left on device", Condition::Exhausted),
            ("out of shared memory", Condition::Exhausted),
            ("column \"timeout\" does not exist", Condition::Mistake),
            ("permission denied for table users", Condition::Mistake),
        ] {
            assert_eq!(of(message), expected, "{message}");
        }
    }
}
