//! The adapter on real files: the port contracts, the schema, the locks, and failures of the file.
#![expect(clippy::unwrap_used, reason = "these are tests: what is not as it should be must stop them")]

mod contracts;
mod faults;
mod locks;
mod schema;
mod support;
