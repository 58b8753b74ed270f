//! Every store port on one SQLite file: the embedded default, for one server process and nothing to install.
//!
//! A thread owns the connection that writes, a few own those that read ([`SqliteStore`]); both work jobs off bounded
//! queues. Nobody is answered before the commit is on the disk. A store that a newer program has migrated is refused
//! ([`SchemaError::Newer`]).

mod booking;
mod catalog;
mod clock;
mod dates;
mod disk;
mod failure;
mod health;
mod identity;
mod migrations;
mod retention;
mod row;
#[rustfmt::skip]
mod schema;
mod seating;
mod seed;
mod serve_lock;
mod store;
mod workers;
mod written;

// Bundled: the library is built with this program, the same everywhere.
use libsqlite3_sys as _;

pub use clock::ClockError;
pub use dates::Redated;
pub use migrations::{SchemaError, SchemaState};
pub use serve_lock::{ServeLock, ServeLockError};
pub use store::{BackupError, OpenError, SqliteStore};
