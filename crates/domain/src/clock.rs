//! The ports of time: the present instant, and waiting.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};

/// The clock of the calendar. Rules about rows (a show has started, a hold has expired) use the store's clock instead.
pub trait Clock: Send + Sync {
    /// Returns the present instant in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// Waiting and deadlines, on a monotonic clock.
#[async_trait]
pub trait Timer: Send + Sync {
    /// Returns the present instant.
    fn instant(&self) -> Instant;

    /// Returns once `duration` has passed.
    async fn sleep(&self, duration: Duration);
}
