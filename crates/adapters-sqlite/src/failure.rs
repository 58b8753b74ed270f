//! The failures of a connection, and their meaning for callers.

use diesel::ConnectionError;
use diesel::result::{DatabaseErrorKind, Error as DieselError};
use domain::StoreError;
use domain::booking::WriteError;
use thiserror::Error;

/// The reason why a job has no result. Contains no values of statements or rows.
#[derive(Debug, Error)]
pub(crate) enum Failure {
    /// The connection could not be opened.
    #[error("the database can't be opened")]
    Connect(#[source] ConnectionError),
    /// The database file does not exist, or no longer exists.
    #[error("the database file is missing")]
    FileMissing(#[source] std::io::Error),
    /// The disk cannot be written.
    #[error("the disk of the database cannot be written")]
    Disk(#[source] std::io::Error),
    /// A statement failed. The transaction is rolled back.
    #[error("a statement failed")]
    Statement(#[from] DieselError),
    /// All statements succeeded, but the commit failed.
    #[error("the commit failed")]
    Commit(#[source] DieselError),
    /// A row is not in the form that this program writes.
    #[error("a stored row has a bad {0}")]
    BadRow(&'static str),
    /// A row has changed since it was read.
    #[error("{0}")]
    Stale(&'static str),
    /// A migration failed. All migrations are rolled back.
    #[error("a migration failed")]
    Migration(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Too many jobs are waiting.
    #[error("too many jobs wait for the database")]
    QueueFull,
    /// The job was not started in time.
    #[error("the job's turn did not come in time")]
    Late,
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
    /// The worker panicked or ended during the job.
    #[error("the worker ended before it answered")]
    Lost,
}

/// The state of a connection after a failure.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum ConnectionFate {
    /// The connection is unaffected.
    Keep,
    /// A transaction may be open and must be rolled back.
    Settle,
    /// The file or the disk failed, so the connection must be reopened.
    Reopen,
}

/// The kind of an SQLite error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Trouble {
    /// A row exists already, or a referenced row does not exist.
    Conflict,
    /// Another process holds the lock.
    Busy,
    /// The disk is full.
    Full,
    /// The file cannot be read or written.
    Disk,
    /// Any other error: a bug or damaged data.
    Other,
}

/// The kinds by the beginning of the message, which is SQLite's own text (`sqlite3_errstr`). diesel only passes on the codes of
/// constraints.
const WORDS: [(&str, Trouble); 9] = [
    ("database is locked", Trouble::Busy),
    ("database table is locked", Trouble::Busy),
    ("database schema is locked", Trouble::Busy),
    ("database or disk is full", Trouble::Full),
    ("disk I/O error", Trouble::Disk),
    ("unable to open database file", Trouble::Disk),
    ("file is not a database", Trouble::Disk),
    ("attempt to write a readonly database", Trouble::Disk),
    ("locking protocol", Trouble::Disk),
];

fn trouble(error: &DieselError) -> Trouble {
    match error {
        DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation | DatabaseErrorKind::ForeignKeyViolation, _) => {
            Trouble::Conflict
        }
        DieselError::DatabaseError(_, information) => {
            let message = information.message();
            WORDS.iter().find(|(words, _)| message.starts_with(words)).map_or(Trouble::Other, |(_, trouble)| *trouble)
        }
        DieselError::RollbackErrorOnCommit { commit_error, .. } => trouble(commit_error),
        _ => Trouble::Other,
    }
}

impl Failure {
    /// Returns the reason why migrations failed: the error of the statement, if it is known.
    pub(crate) fn migration(error: Box<dyn std::error::Error + Send + Sync>) -> Self {
        match error.downcast::<DieselError>() {
            Ok(error) => Self::Statement(*error),
            Err(error) => Self::Migration(error),
        }
    }

    /// Returns whether a unique constraint over this one column (`table.column`) was violated.
    pub(crate) fn is_duplicate_of(&self, column: &str) -> bool {
        let Self::Statement(DieselError::DatabaseError(DatabaseErrorKind::UniqueViolation, information)) = self else {
            return false;
        };
        information.message().strip_prefix("UNIQUE constraint failed: ") == Some(column)
    }

    /// Returns whether another connection holds the lock.
    pub(crate) fn is_busy(&self) -> bool {
        matches!(self, Self::Statement(error) | Self::Commit(error) if trouble(error) == Trouble::Busy)
    }

    /// Formats the failure with its cause, in one line.
    pub(crate) fn with_cause(&self) -> String {
        match std::error::Error::source(self) {
            Some(cause) => format!("{self}: {cause}"),
            None => self.to_string(),
        }
    }

    /// Returns whether the file or its disk could not be written. The next write then fails as well, unless an operator intervenes.
    pub(crate) fn is_of_the_disk(&self) -> bool {
        match self {
            Self::Connect(_) | Self::FileMissing(_) | Self::Disk(_) => true,
            Self::Statement(error) | Self::Commit(error) => matches!(trouble(error), Trouble::Full | Trouble::Disk),
            _ => false,
        }
    }

    /// Returns the state of the connection after this failure.
    pub(crate) fn aftermath(&self) -> ConnectionFate {
        match self {
            Self::Connect(_)
            | Self::FileMissing(_)
            | Self::Disk(_)
            | Self::QueueFull
            | Self::Late
            | Self::Closed
            | Self::Lost => ConnectionFate::Keep,
            Self::BadRow(_) | Self::Stale(_) => ConnectionFate::Settle,
            Self::Statement(error) if matches!(trouble(error), Trouble::Conflict | Trouble::Busy | Trouble::Full) => {
                ConnectionFate::Settle
            }
            // The connection's cached pages may be damaged.
            Self::Statement(_) | Self::Commit(_) | Self::Migration(_) => ConnectionFate::Reopen,
        }
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        let unavailable = match &failure {
            Failure::Connect(_)
            | Failure::FileMissing(_)
            | Failure::Disk(_)
            | Failure::QueueFull
            | Failure::Late
            | Failure::Closed => true,
            Failure::Statement(error) | Failure::Commit(error) => {
                matches!(trouble(error), Trouble::Busy | Trouble::Full | Trouble::Disk)
            }
            Failure::BadRow(_) | Failure::Stale(_) | Failure::Migration(_) | Failure::Lost => false,
        };
        if unavailable { Self::unavailable(failure) } else { Self::internal(failure) }
    }
}

/// The columns of ids that are generated for a batch.
const GENERATED: [&str; 3] = ["bookings.id", "bookings.reference", "holds.id"];

/// Classifies the failure of a batch's write.
pub(crate) fn write_error(failure: Failure) -> WriteError {
    let cause = |failure: Failure| -> domain::error::Cause { std::sync::Arc::new(failure) };
    match &failure {
        Failure::Stale(_) => WriteError::Stale(cause(failure)),
        _ if GENERATED.iter().any(|column| failure.is_duplicate_of(column)) => WriteError::UsedId(cause(failure)),
        Failure::Statement(error) if matches!(trouble(error), Trouble::Conflict | Trouble::Busy) => {
            WriteError::Stale(cause(failure))
        }
        // A commit that finds the disk full or the file locked is rolled back. After any other failure during the commit, the next reader
        // of the file may find it committed.
        Failure::Commit(error) if trouble(error) == Trouble::Busy => WriteError::Stale(cause(failure)),
        Failure::Commit(error) if trouble(error) != Trouble::Full => WriteError::Unknown(cause(failure)),
        Failure::Lost => WriteError::Unknown(cause(failure)),
        _ => WriteError::Store(failure.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(kind: DatabaseErrorKind, message: &str) -> Failure {
        Failure::Statement(DieselError::DatabaseError(kind, Box::new(message.to_owned())))
    }

    fn commit(message: &str) -> Failure {
        Failure::Commit(DieselError::DatabaseError(DatabaseErrorKind::Unknown, Box::new(message.to_owned())))
    }

    #[test]
    fn what_may_pass_is_unavailable_and_damage_is_internal() {
        for words in ["database is locked", "disk I/O error", "unable to open database file", "file is not a database"]
        {
            let error = StoreError::from(statement(DatabaseErrorKind::Unknown, words));
            assert!(matches!(error, StoreError::Unavailable(_)), "{words}");
        }
        for words in ["database disk image is malformed", "no such table: users", "shows_never_overlap"] {
            let error = StoreError::from(statement(DatabaseErrorKind::Unknown, words));
            assert!(matches!(error, StoreError::Internal(_)), "{words}");
        }
    }

    #[test]
    fn a_batch_is_unknown_only_if_its_commit_may_be_found_whole() {
        assert!(matches!(write_error(commit("disk I/O error")), WriteError::Unknown(_)));
        assert!(matches!(write_error(Failure::Lost), WriteError::Unknown(_)));
        assert!(matches!(write_error(commit("database is locked")), WriteError::Stale(_)));
        assert!(matches!(write_error(commit("database or disk is full")), WriteError::Store(_)));
        let full = statement(DatabaseErrorKind::Unknown, "database or disk is full");
        assert!(matches!(write_error(full), WriteError::Store(StoreError::Unavailable(_))));
        let twice = statement(DatabaseErrorKind::UniqueViolation, "UNIQUE constraint failed: seat_claims.show_id");
        assert!(matches!(write_error(twice), WriteError::Stale(_)));
        let used = statement(DatabaseErrorKind::UniqueViolation, "UNIQUE constraint failed: bookings.id");
        assert!(matches!(write_error(used), WriteError::UsedId(_)));
        assert!(matches!(write_error(Failure::Late), WriteError::Store(StoreError::Unavailable(_))));
    }

    #[test]
    fn a_duplicate_is_known_by_its_column() {
        let failure = statement(DatabaseErrorKind::UniqueViolation, "UNIQUE constraint failed: users.email_folded");
        assert!(failure.is_duplicate_of("users.email_folded"));
        assert!(!failure.is_duplicate_of("users.email"));
    }
}
