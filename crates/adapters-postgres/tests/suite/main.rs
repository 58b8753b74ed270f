//! PostgreSQL: the ports' contract, the schema, lost connections, TLS.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod contracts;
mod faults;
mod migrations;
mod pgbouncer;
mod plans;
mod proxy;
mod tls;
