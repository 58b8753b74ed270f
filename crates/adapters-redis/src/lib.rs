//! What servers share through Redis: answers of idempotency keys, counts of tries, and from where accounts are used.
//!
//! Redis is never trusted and never needed. What is read from it counts only if it carries a MAC by a key that Redis does not
//! know; whatever is slow, broken or odd is as if it were not there. Calls are bounded: 25 ms each, none while disconnected, none
//! for a second after some failures in a row.

pub mod booking;
mod breaker;
pub mod connection;
pub mod identity;
pub mod limits;
pub mod seal;
pub mod settings;
#[cfg(feature = "testing")]
pub mod testing;

pub use booking::RedisReplayCache;
pub use connection::{Redis, RedisReport};
pub use identity::RedisKnownSites;
pub use limits::RedisRateLimiter;
pub use seal::ServerKey;
pub use settings::{RedisSettings, SettingsError};
