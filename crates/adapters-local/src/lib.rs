//! What a server that stands alone keeps in its own memory: counts of tries, layouts, answers of idempotency keys, and which
//! sessions it has just found to last.
//!
//! Everything here is bounded, and may be lost at any time: it makes things fast or fair, never correct.

pub mod booking;
pub mod identity;
pub mod limits;
pub mod seating;

pub use booking::LocalReplayCache;
pub use identity::{GuardedSessions, LocalKnownSites, SITE_TTL};
pub use limits::LocalRateLimiter;
pub use seating::CachedLayouts;
