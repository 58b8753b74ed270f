//! Opens the stores, connects the services with their adapters, and runs the server.

mod retention;
pub mod server;
pub mod state;
pub mod stores;
