//! The rules of ticket booking for a chain of cinemas, free of I/O.
//!
//! This crate has no database, no HTTP, no wire format, no async runtime and no clock of its own. All of these enter through **ports**:
//! small traits that the adapter crates implement. The doc comment of each port is its contract; the crate `port-contracts` tests that
//! contract.
//!
//! The modules are features, named the same in every layer: [`identity`], [`catalog`], [`pricing`], [`seating`], [`booking`], [`admin`],
//! [`reports`] and [`transfer`].
//! The central function is [`booking::decide()`]: it takes the committed state and a batch of commands, and returns the responses and the
//! writes. No other part of the system makes these decisions.

pub mod admin;
pub mod booking;
pub mod catalog;
pub mod clock;
pub mod error;
pub mod former;
pub mod health;
pub mod identity;
pub mod ids;
pub mod limits;
pub mod money;
pub mod page;
pub mod pricing;
pub mod random;
pub mod reports;
pub mod retention;
pub mod seating;
pub mod seed;
pub mod stores;
pub mod text;
pub mod transfer;

pub use error::StoreError;
