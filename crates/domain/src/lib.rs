//! The rules of a cinema chain's ticket booking, with nothing of the outside in it.
//!
//! This crate knows no database, no HTTP, no wire format, no async runtime and no clock of its own:
//! all of these come in through **ports**, small traits that the adapter crates implement. Each port's
//! doc comment is its contract; the crate `port-contracts` is that contract as tests.
//!
//! The modules are features, named the same in every layer: [`identity`], [`catalog`], [`seating`]
//! and [`booking`]. The heart is [`booking::decide()`]: given what is committed and what is asked, it says what
//! is answered and what is written, and nothing else in the system may decide that.

pub mod booking;
pub mod catalog;
pub mod clock;
pub mod error;
pub mod health;
pub mod identity;
pub mod ids;
pub mod limits;
pub mod money;
pub mod page;
pub mod random;
pub mod retention;
pub mod seating;
pub mod seed;
pub mod stores;
pub mod text;

pub use error::StoreError;
