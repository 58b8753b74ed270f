//! Tests of Redis: the contracts of the ports, faults, TLS, Sentinels and clusters.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "tests and their helpers fail by panicking"
)]

mod contracts;
mod faults;
mod forgeries;
mod sites;
mod support;
mod topologies;
