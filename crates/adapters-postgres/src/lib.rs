//! Every store port of the domain on PostgreSQL, with diesel, diesel-async and deadpool.
//!
//! [`PostgresStore`] reads and writes through a small pool. Each [`PostgresBatchStore`] has a dedicated connection that is tuned for its
//! committer. Each method of a port is one transaction, and no port exposes transactions.

mod admin;
mod batch;
mod booking;
mod catalog;
mod connect;
mod connect_error;
mod durability;
mod error;
mod express;
mod former;
mod identity;
mod migrations;
mod parameters;
mod pricing;
mod reports;
mod retention;
mod rows;
mod schema;
mod seating;
mod seed;
mod session;
mod settings;
mod statement;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
mod timeouts;
mod tls;

pub use batch::PostgresBatchStore;
pub use connect_error::ConnectError;
pub use durability::Durability;
pub use express::{ExpressError, ExpressTerms, read_express};
pub use migrations::{MigrateError, SchemaState};
pub use parameters::SettingsError;
pub use settings::PostgresSettings;
pub use store::PostgresStore;
pub use tls::TlsError;
