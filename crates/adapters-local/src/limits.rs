//! Counts of tries, in the memory of this process.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::StoreError;
use domain::clock::Timer;
use domain::limits::{Allowance, Limit, RateLimiter, Tally, TryCounter};
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

/// The maximum number of counted names: about twenty megabytes. Beyond it, the name with the least recent try is evicted.
const NAMES_MAX: u64 = 100_000;

/// Counts tries by name in fixed windows, which begin with the first try. Each name MUST be used with one limit only.
pub struct LocalRateLimiter {
    counters: Cache<String, Arc<Counter>>,
    changes: AtomicU64,
    timer: Arc<dyn Timer>,
}

/// The tries of one name.
struct Counter {
    /// The length of its windows.
    window: Duration,
    current: Mutex<Window>,
}

struct Window {
    began: Instant,
    tries: u32,
}

impl Window {
    /// Returns the remaining time of the window; `None` if it has ended.
    fn remaining(&self, length: Duration, now: Instant) -> Option<Duration> {
        let remaining = length.saturating_sub(now.saturating_duration_since(self.began));
        (!remaining.is_zero()).then_some(remaining)
    }
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Window> {
        // No code under the lock can leave a window in an invalid state.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Evicts a counter that was unused for the length of a window: its window has ended by then.
struct WhenIdle;

impl Expiry<String, Arc<Counter>> for WhenIdle {
    fn expire_after_create(&self, _: &String, counter: &Arc<Counter>, _: Instant) -> Option<Duration> {
        Some(counter.window)
    }

    fn expire_after_read(
        &self,
        _: &String,
        counter: &Arc<Counter>,
        _: Instant,
        _: Option<Duration>,
        _: Instant,
    ) -> Option<Duration> {
        Some(counter.window)
    }
}

impl LocalRateLimiter {
    /// Returns a limiter whose windows follow `timer`.
    pub fn new(timer: Arc<dyn Timer>) -> Self {
        Self::with_capacity(NAMES_MAX, timer)
    }

    /// MUST be called under the window's lock, so that its changes are numbered in their order.
    fn tally(&self, window: &Window, resets_in: Duration) -> Tally {
        Tally { tries: window.tries, resets_in, change: self.changes.fetch_add(1, Ordering::Relaxed) + 1 }
    }

    fn with_capacity(names_max: u64, timer: Arc<dyn Timer>) -> Self {
        // The default policy does not fit, because it admits a new name only if it is used more often than the present ones: a caller could
        // fill the cache to keep itself or others from being counted.
        let counters = Cache::builder().max_capacity(names_max).eviction_policy(EvictionPolicy::lru());
        Self { counters: counters.expire_after(WhenIdle).build(), changes: AtomicU64::new(0), timer }
    }
}

#[async_trait]
impl TryCounter for LocalRateLimiter {
    async fn add(&self, name: &str, window: Duration) -> Tally {
        let began = || Mutex::new(Window { began: self.timer.instant(), tries: 0 });
        let fresh = async { Arc::new(Counter { window, current: began() }) };
        let counter = self.counters.get_with_by_ref(name, fresh).await;
        let mut window = counter.lock();
        // Read under the lock. Otherwise a try could be older than the window in which it is counted.
        let now = self.timer.instant();
        let resets_in = window.remaining(counter.window, now).unwrap_or_else(|| {
            *window = Window { began: now, tries: 0 };
            counter.window
        });
        window.tries = window.tries.saturating_add(1);
        self.tally(&window, resets_in)
    }

    async fn subtract(&self, name: &str) -> Option<Tally> {
        let counter = self.counters.get(name).await?;
        let mut window = counter.lock();
        let resets_in = window.remaining(counter.window, self.timer.instant())?;
        window.tries = window.tries.saturating_sub(1);
        Some(self.tally(&window, resets_in))
    }
}

#[async_trait]
impl RateLimiter for LocalRateLimiter {
    async fn count(&self, name: &str, limit: Limit) -> Result<Allowance, StoreError> {
        let Tally { tries, resets_in, change: _ } = self.add(name, limit.window).await;
        Ok(Allowance::of(limit, tries, resets_in))
    }

    async fn take_back(&self, name: &str) -> Result<(), StoreError> {
        self.subtract(name).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { tries: 3, window: Duration::from_secs(60) };

    /// The system's timer.
    struct RealTimer;

    #[async_trait]
    impl Timer for RealTimer {
        fn instant(&self) -> Instant {
            Instant::now()
        }

        async fn sleep(&self, duration: Duration) {
            tokio::time::sleep(duration).await;
        }
    }

    #[tokio::test]
    async fn changes_are_numbered_in_their_order() {
        let limiter = LocalRateLimiter::new(Arc::new(RealTimer));
        let first = limiter.add("ana", LIMIT.window).await;
        let second = limiter.add("ben", LIMIT.window).await;
        let third = limiter.subtract("ana").await.unwrap();
        assert!(first.change < second.change && second.change < third.change);
        assert_eq!((first.tries, second.tries, third.tries), (1, 1, 0));
        assert_eq!(limiter.subtract("nobody").await, None);
    }

    #[tokio::test]
    async fn only_so_many_names_are_kept_and_new_ones_are_counted_always() {
        let limiter = LocalRateLimiter::with_capacity(10, Arc::new(RealTimer));
        for name in 0..1_000 {
            limiter.count(&name.to_string(), LIMIT).await.unwrap();
        }
        limiter.counters.run_pending_tasks().await;
        assert!(limiter.counters.entry_count() <= 10);
        assert_eq!(limiter.count("new", LIMIT).await.unwrap().remaining, 2);
        limiter.counters.run_pending_tasks().await;
        assert_eq!(limiter.count("new", LIMIT).await.unwrap().remaining, 1);
    }

    #[tokio::test]
    async fn who_stays_away_for_a_window_is_forgotten() {
        let limiter = LocalRateLimiter::new(Arc::new(RealTimer));
        let limit = Limit { tries: 3, window: Duration::from_millis(20) };
        limiter.count("ana", limit).await.unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
        limiter.counters.run_pending_tasks().await;
        assert!(!limiter.counters.contains_key("ana"));
    }
}
