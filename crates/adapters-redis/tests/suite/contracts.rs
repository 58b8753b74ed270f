//! The contracts of the ports, on Redis.

use std::sync::Arc;
use std::time::Duration;

use adapters_redis::testing::TestRedis;
use adapters_redis::{Redis, RedisReplayCache, ServerKey};
use async_trait::async_trait;
use domain::booking::ReplayCache;
use domain::limits::RateLimiter;
use port_contracts::tools::SetClock;
use port_contracts::{RateLimiterFixture, ReplayCacheFixture, SharedRateLimiterFixture};

use crate::support::{RealTimer, SECRET, Server, settings};

/// The adapters of one server, on a separate Redis.
struct Shared {
    redis: TestRedis,
    clock: Arc<SetClock>,
}

async fn make_shared() -> Shared {
    Shared { redis: TestRedis::start().await.unwrap(), clock: Arc::new(SetClock::new()) }
}

impl Shared {
    async fn server(&self) -> Server {
        let server = Server::patient(&self.redis.url(), SECRET, self.clock.clone());
        server.until_well().await;
        server
    }
}

#[async_trait]
impl ReplayCacheFixture for Shared {
    async fn cache(&self, ttl: Duration) -> Arc<dyn ReplayCache> {
        let redis = Redis::connect_patiently(&settings(&self.redis.url()), Arc::new(RealTimer));
        Server::on(redis.clone(), SECRET, self.clock.clone()).until_well().await;
        Arc::new(RedisReplayCache::new(redis, ServerKey::derive(SECRET), ttl, self.clock.clone()))
    }
}

#[async_trait]
impl RateLimiterFixture for Shared {
    async fn limiter(&self) -> Arc<dyn RateLimiter> {
        self.server().await.limiter
    }

    async fn pass(&self, time: Duration) {
        self.clock.pass(time);
    }
}

#[async_trait]
impl SharedRateLimiterFixture for Shared {
    async fn other_limiter(&self) -> Arc<dyn RateLimiter> {
        self.server().await.limiter
    }
}

port_contracts::replay_cache_tests!(make_shared);
port_contracts::rate_limiter_tests!(make_shared);
port_contracts::shared_rate_limiter_tests!(make_shared);
