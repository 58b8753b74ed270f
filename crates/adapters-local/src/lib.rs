//! What a server that stands alone keeps in its own memory: counts of tries, and layouts.
//!
//! Everything here is bounded, and may be lost at any time: it makes things fast or fair, never correct.
#![deny(missing_docs)]

pub mod limits;
pub mod seating;

pub use limits::LocalRateLimiter;
pub use seating::CachedLayouts;
