//! PostgreSQL: the port contracts, the schema, lost connections, and TLS.

#![expect(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod conditions;
mod connecting;
mod contracts;
mod faults;
mod migrations;
mod pair;
mod pgbouncer;
mod plans;
mod proxy;
mod server;
mod tls;
