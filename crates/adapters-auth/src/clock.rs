//! The clocks of the operating system.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use domain::clock::{Clock, Timer};

/// The system's calendar clock.
#[derive(Clone, Copy, Default, Debug)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// Waits on the async runtime. Its instants follow the runtime's clock, so that a test that pauses the runtime's clock pauses both.
#[derive(Clone, Copy, Default, Debug)]
pub struct TokioTimer;

#[async_trait]
impl Timer for TokioTimer {
    fn instant(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}
