//! The product over HTTP, on both stores, with one module for each resource.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "these are tests: what is not as it should be must stop the case"
)]

#[macro_use]
mod harness;

mod account;
mod bad_input;
mod booking;
mod catalog;
mod clients;
mod connections;
mod counter;
mod documents;
mod holds;
mod idempotency;
mod identity;
mod imports;
mod layouts;
mod limits;
mod metrics;
mod observability;
mod openapi;
mod outages;
mod pricing;
mod process;
mod protocol;
mod proxies;
mod races;
mod redis;
mod reports;
mod seating;
mod shows;
mod staff;
mod storm;
mod ticket_types;
