//! The HTTP API, its configuration and command line, and the wiring of the domain with its adapters.
//!
//! The only crate that knows everybody. Handlers parse, call the domain and render; [`problem`] has every error, [`config`] every
//! setting, [`server`] starts and stops it all.

pub mod cli;
pub mod client_address;
pub mod config;
mod connection;
mod cursor;
pub mod demo;
mod dotenv;
mod fields;
mod handlers;
mod healthcheck;
mod json;
mod media;
pub mod metrics;
mod middleware;
pub mod openapi;
pub mod problem;
mod request;
mod retention;
pub mod secrets;
pub mod seeding;
mod served;
pub mod server;
mod sink;
mod state;
pub mod stores;
pub mod telemetry;
pub mod traces;
mod views;
