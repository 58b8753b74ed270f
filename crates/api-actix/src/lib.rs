//! The HTTP API, its settings and command line, and the wiring of the domain with its adapters.
//!
//! The only crate that knows all others. The way of a request: `connection` reads it, [`http`] checks and describes it, [`calls`]
//! answers it. The way of a start: [`commands`] reads the command line, [`settings`] the settings, [`wiring`] connects everything and
//! serves.

pub mod calls;
pub mod commands;
mod connection;
pub mod demo;
pub mod http;
pub mod settings;
pub mod telemetry;
pub mod wiring;
