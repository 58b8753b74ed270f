//! The memory of a single server: counts of tries, layouts, responses of idempotency keys, and recently checked sessions.
//!
//! All of it is bounded and may be lost at any time: it provides speed or fairness, and correctness never depends on it.

pub mod booking;
pub mod identity;
pub mod limits;
pub mod seating;

pub use booking::LocalReplayCache;
pub use identity::{GuardedSessions, LocalKnownSites, SITE_TTL};
pub use limits::LocalRateLimiter;
pub use seating::CachedLayouts;
