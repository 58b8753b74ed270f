//! What all calls have in common: how a call is declared, how requests are read, how responses and problems are rendered, and what
//! happens around each call.
//!
//! The way of a request: [`middleware`] (id, log line, problems, rate limits), [`call`] (arguments in order, handler, response).

pub mod body;
pub mod call;
pub mod client_address;
pub mod csv;
pub mod cursor;
pub mod json;
pub mod keys;
pub mod language;
pub mod media;
pub mod middleware;
pub mod mistakes;
pub mod openapi;
pub mod preconditions;
pub mod prices;
pub mod problem;
pub mod query;
pub mod reply;
pub mod request;
pub mod session;
pub mod values;
