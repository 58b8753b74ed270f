//! The ports' contract, inside one process.

mod contracts;
