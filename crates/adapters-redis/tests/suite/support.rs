//! The ports of a server on Redis, and functions that wait for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters_local::{LocalKnownSites, LocalRateLimiter};
use adapters_redis::testing::TestRedis;
use adapters_redis::{Redis, RedisKnownSites, RedisRateLimiter, RedisReplayCache, RedisSettings, ServerKey};
use async_trait::async_trait;
use domain::booking::{KeyName, Replay, ReplayCache};
use domain::clock::Timer;
use domain::health::Dependency as _;
use domain::identity::KnownSites;
use domain::limits::{Limit, RateLimiter};
use port_contracts::replays::{key, replay};
use port_contracts::tools::{SetClock, UniqueRandom};

/// The secret that the servers share.
pub const SECRET: &[u8] = b"a secret of these tests, 0123456789abcdef";
/// Three tries a minute.
pub const LIMIT: Limit = Limit { tries: 3, window: Duration::from_secs(60) };
/// The timeout of every wait.
const PATIENCE: Duration = Duration::from_secs(30);
/// The interval of polling.
const PAUSE: Duration = Duration::from_millis(10);
/// The maximum duration of a call, whatever Redis does: the timeout of 25 ms, and the delay of a machine that is busy with other tests.
const CALL_MAX: Duration = Duration::from_secs(1);

/// The system's timer.
pub struct RealTimer;

#[async_trait]
impl Timer for RealTimer {
    fn instant(&self) -> Instant {
        Instant::now()
    }

    async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

/// The ports of one server on a Redis.
pub struct Server {
    pub redis: Arc<Redis>,
    /// Caches responses for a day.
    pub cache: Arc<dyn ReplayCache>,
    pub limiter: Arc<dyn RateLimiter>,
    /// The known sites of accounts, for a day.
    pub sites: Arc<dyn KnownSites>,
}

impl Server {
    /// Returns a server with the shared secret.
    pub fn at(url: &str) -> Self {
        Self::on(Redis::connect(&settings(url), Arc::new(RealTimer)), SECRET, Arc::new(SetClock::new()))
    }

    /// Returns a server with its own secret and clock, and a long timeout of commands.
    pub fn patient(url: &str, secret: &[u8], clock: Arc<SetClock>) -> Self {
        Self::on(Redis::connect_patiently(&settings(url), Arc::new(RealTimer)), secret, clock)
    }

    /// Returns a server on this connection.
    pub fn on(redis: Arc<Redis>, secret: &[u8], clock: Arc<SetClock>) -> Self {
        let key = ServerKey::derive(secret);
        let day = Duration::from_secs(24 * 3600);
        let cache = Arc::new(RedisReplayCache::new(redis.clone(), key.clone(), day, clock.clone()));
        let own_sites = Arc::new(LocalKnownSites::default());
        let sites = Arc::new(RedisKnownSites::new(redis.clone(), key.clone(), own_sites, day, clock.clone()));
        let own = Arc::new(LocalRateLimiter::new(clock.clone()));
        let limiter = Arc::new(RedisRateLimiter::new(redis.clone(), key, own, clock, &UniqueRandom::new()));
        Self { redis, cache, limiter, sites }
    }

    /// Waits until Redis responds.
    pub async fn until_well(&self) {
        let answered = async {
            while self.redis.check().await.is_err() {
                tokio::time::sleep(PAUSE).await;
            }
        };
        tokio::time::timeout(PATIENCE, answered).await.expect("Redis does not answer");
    }

    /// Stores a response, and waits until it can be read.
    pub async fn remember(&self, key: &KeyName, replay: &Replay) {
        let remembered = async || {
            self.cache.remember(key, replay).await;
            self.recall(key).await.as_ref() == Some(replay)
        };
        until("nothing is remembered", remembered).await;
    }

    /// Reads a response, within the maximum duration of a call.
    pub async fn recall(&self, key: &KeyName) -> Option<Replay> {
        in_time(self.cache.recall(key)).await
    }

    /// Counts a try, within the maximum duration of a call. Returns whether it is allowed.
    pub async fn count(&self, name: &str) -> bool {
        in_time(self.limiter.count(name, LIMIT)).await.unwrap().allowed
    }

    /// Asserts that responses are cached and tries are counted.
    pub async fn assert_works(&self, name: &str) {
        self.until_well().await;
        let (key, replay) = (key(1, "POST /api/bookings", name), replay(1, 1, name.as_bytes()));
        self.remember(&key, &replay).await;
        for allowed in [true, true, true, false] {
            assert_eq!(self.count(name).await, allowed);
        }
        // Without a call the breaker does not close.
        let is_closed = async || self.redis.check().await.is_ok() && !self.redis.report().open;
        until("the breaker stays open", is_closed).await;
    }

    /// Asserts that no response is cached and that this server's own count decides, within the maximum duration of each call.
    pub async fn assert_does_without(&self, name: &str) {
        let (key, replay) = (key(1, "POST /api/bookings", name), replay(1, 1, name.as_bytes()));
        in_time(self.cache.remember(&key, &replay)).await;
        for allowed in [true, true, true, false, false] {
            assert_eq!(self.recall(&key).await, None);
            assert_eq!(self.count(name).await, allowed);
        }
        in_time(self.limiter.take_back(name)).await.unwrap();
    }
}

/// Parses an address without TLS.
pub fn settings(url: &str) -> RedisSettings {
    RedisSettings::parse(url, None).unwrap()
}

async fn in_time<T>(call: impl Future<Output = T>) -> T {
    tokio::time::timeout(CALL_MAX, call).await.expect("a call hangs")
}

/// Waits until the condition holds.
pub async fn until(otherwise: &str, is_so: impl AsyncFn() -> bool) {
    let waited = async {
        while !is_so().await {
            tokio::time::sleep(PAUSE).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, waited).await.is_ok(), "{otherwise}");
}

/// Returns the only key of Redis.
pub async fn only_key(redis: &TestRedis) -> String {
    let keys = redis.keys().await.unwrap();
    assert_eq!(keys.len(), 1, "{keys:?}");
    keys[0].clone()
}

/// Returns the bytes stored under a key.
pub async fn value(redis: &TestRedis, key: &str) -> Vec<u8> {
    redis.command("GET", &[key.as_bytes()]).await.unwrap()
}

/// Stores bytes under a key.
pub async fn set(redis: &TestRedis, key: &str, value: &[u8]) {
    redis.command::<()>("SET", &[key.as_bytes(), value]).await.unwrap();
}
