//! State that servers share through Redis: responses of idempotency keys, counts of tries, and the known sites of accounts.
//!
//! Redis is neither trusted nor required. A value from Redis is used only if it carries a MAC by a key that Redis does not know; a slow or
//! failed call or an invalid value counts as a missing value. Calls are bounded: 25 ms each, none while disconnected, and none for a second
//! after some consecutive failures.

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
