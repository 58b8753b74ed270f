//! The contracts of the ports, in one process.

use std::sync::Arc;
use std::time::Duration;

use adapters_local::{LocalRateLimiter, LocalReplayCache};
use async_trait::async_trait;
use domain::booking::ReplayCache;
use domain::limits::RateLimiter;
use port_contracts::tools::SetClock;
use port_contracts::{RateLimiterFixture, ReplayCacheFixture};

/// The adapters in memory.
struct Memory {
    clock: Arc<SetClock>,
}

async fn make_memory() -> Memory {
    Memory { clock: Arc::new(SetClock::new()) }
}

#[async_trait]
impl ReplayCacheFixture for Memory {
    async fn cache(&self, ttl: Duration) -> Arc<dyn ReplayCache> {
        Arc::new(LocalReplayCache::new(16 * 1024 * 1024, ttl))
    }
}

#[async_trait]
impl RateLimiterFixture for Memory {
    async fn limiter(&self) -> Arc<dyn RateLimiter> {
        Arc::new(LocalRateLimiter::new(self.clock.clone()))
    }

    async fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }
}

port_contracts::replay_cache_tests!(make_memory);
port_contracts::rate_limiter_tests!(make_memory);
