//! What PostgreSQL's errors mean for callers.

use diesel::result::{DatabaseErrorKind, Error};
use domain::StoreError;

/// Whether the connection is gone, so that another one may do better.
pub fn is_connection_lost(error: &Error) -> bool {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UnableToSendCommand | DatabaseErrorKind::ClosedConnection, _)
        | Error::BrokenTransactionManager => true,
        // The server is shutting down or starting up. Its SQLSTATE (57P01 to 57P03) does not get through diesel.
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => {
            let message = information.message();
            message.contains("administrator command")
                || message.contains("the database system is")
                || message.contains("crash of another server process")
        }
        _ => false,
    }
}

/// The failure of a call that wrote nothing.
pub fn store_error(error: Error) -> StoreError {
    let busy = match &error {
        Error::DatabaseError(DatabaseErrorKind::SerializationFailure, _) => true,
        Error::DatabaseError(DatabaseErrorKind::Unknown, information) => is_contention(information.message()),
        _ => false,
    };
    if busy || is_connection_lost(&error) { StoreError::unavailable(error) } else { StoreError::internal(error) }
}

/// Whether a message tells of rivals or of a full machine rather than of a mistake: deadlocks, lock and statement time-outs, and
/// resources (classes 40, 53, 55 and 57), whose SQLSTATE does not get through diesel.
fn is_contention(message: &str) -> bool {
    ["deadlock detected", "timeout", "too many", "remaining connection slots", "No space left", "out of memory"]
        .iter()
        .any(|part| message.contains(part))
}

/// A row that is not as this program writes them.
pub fn bad_row(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> StoreError {
    StoreError::internal(error)
}
