//! The contracts of the ports, in one process.

mod contracts;
