//! Every store port on one SQLite file: the embedded default, for one server process and without installation.
//!
//! One thread owns the connection that writes, and several own the connections that read ([`SqliteStore`]). All take jobs from bounded
//! queues. A write is acknowledged only after its commit is on disk. A store that a newer program has migrated is refused
//! ([`SchemaError::Newer`]).

mod admin;
mod booking;
mod catalog;
mod clock;
mod dates;
mod disk;
mod failure;
mod former;
mod health;
mod identity;
mod migrations;
mod pricing;
mod reports;
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

// The `bundled` feature builds the library with this program, so its version is the same everywhere.
use libsqlite3_sys as _;

pub use clock::ClockError;
pub use dates::Redated;
pub use migrations::{SchemaError, SchemaState};
pub use serve_lock::{ServeLock, ServeLockError};
pub use store::{BackupError, OpenError, SqliteStore};
