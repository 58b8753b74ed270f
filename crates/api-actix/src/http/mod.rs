//! What all calls have in common: how requests are read, how problems are reported, what happens around each call.

pub mod client_address;
pub mod cursor;
pub mod fields;
pub mod json;
pub mod media;
pub mod middleware;
pub mod openapi;
pub mod problem;
pub mod request;
