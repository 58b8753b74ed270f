//! The adapter on real files: the ports' contracts, its schema, its locks, and what it does when the file fails.
#![expect(clippy::unwrap_used, reason = "these are tests: what is not as it should be must stop them")]

mod contracts;
mod faults;
mod locks;
mod schema;
mod support;
