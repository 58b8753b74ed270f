//! Counts of tries, in this process.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::StoreError;
use domain::clock::Timer;
use domain::limits::{Allowance, Limit, RateLimiter};
use moka::Expiry;
use moka::future::Cache;
use moka::policy::EvictionPolicy;

/// How many names are counted at once: some twenty megabytes. Beyond that, who tried least recently is forgotten.
const NAMES_MAX: u64 = 100_000;

/// Counts tries by name in fixed windows, which begin with the first try. A name is counted by one limit only.
pub struct LocalRateLimiter {
    counters: Cache<String, Arc<Counter>>,
    timer: Arc<dyn Timer>,
}

/// The tries by one name.
struct Counter {
    /// How long its windows last.
    window: Duration,
    current: Mutex<Window>,
}

/// A window of time.
struct Window {
    began: Instant,
    tries: u32,
}

impl Window {
    /// How long the window still lasts; `None` if it has ended.
    fn remaining(&self, length: Duration, now: Instant) -> Option<Duration> {
        let remaining = length.saturating_sub(now.saturating_duration_since(self.began));
        (!remaining.is_zero()).then_some(remaining)
    }
}

impl Counter {
    fn lock(&self) -> MutexGuard<'_, Window> {
        // Nothing under the lock can leave a window half changed.
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets a counter that nobody asked for as long as a window lasts: its window has ended by then.
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
    /// Counts in windows by `timer`.
    pub fn new(timer: Arc<dyn Timer>) -> Self {
        Self::with_capacity(NAMES_MAX, timer)
    }

    fn with_capacity(names_max: u64, timer: Arc<dyn Timer>) -> Self {
        // Not the default policy, which admits a new name only if it is asked for more often than those that
        // are there: whoever fills the cache could keep others, or himself, from being counted.
        let counters = Cache::builder().max_capacity(names_max).eviction_policy(EvictionPolicy::lru());
        Self { counters: counters.expire_after(WhenIdle).build(), timer }
    }
}

#[async_trait]
impl RateLimiter for LocalRateLimiter {
    async fn count(&self, name: &str, limit: Limit) -> Result<Allowance, StoreError> {
        let began = || Mutex::new(Window { began: self.timer.instant(), tries: 0 });
        let fresh = async { Arc::new(Counter { window: limit.window, current: began() }) };
        let counter = self.counters.get_with_by_ref(name, fresh).await;
        let mut window = counter.lock();
        // Asked under the lock, or a try could be older than the window it is counted in.
        let now = self.timer.instant();
        let resets_in = window.remaining(counter.window, now).unwrap_or_else(|| {
            *window = Window { began: now, tries: 0 };
            counter.window
        });
        window.tries = window.tries.saturating_add(1);
        Ok(Allowance {
            allowed: window.tries <= limit.tries,
            remaining: limit.tries.saturating_sub(window.tries),
            resets_in,
        })
    }

    async fn take_back(&self, name: &str) -> Result<(), StoreError> {
        if let Some(counter) = self.counters.get(name).await {
            let mut window = counter.lock();
            if window.remaining(counter.window, self.timer.instant()).is_some() {
                window.tries = window.tries.saturating_sub(1);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit { tries: 3, window: Duration::from_secs(60) };

    /// A timer that stands still until it is moved.
    struct SetTimer {
        start: Instant,
        passed: Mutex<Duration>,
    }

    #[async_trait]
    impl Timer for SetTimer {
        fn instant(&self) -> Instant {
            self.start + *self.passed.lock().unwrap()
        }

        async fn sleep(&self, duration: Duration) {
            *self.passed.lock().unwrap() += duration;
        }
    }

    fn timer() -> Arc<SetTimer> {
        Arc::new(SetTimer { start: Instant::now(), passed: Mutex::default() })
    }

    fn allowance(allowed: bool, remaining: u32, seconds: u64) -> Allowance {
        Allowance { allowed, remaining, resets_in: Duration::from_secs(seconds) }
    }

    #[tokio::test]
    async fn a_window_begins_with_the_first_try_and_allows_so_many() {
        let timer = timer();
        let limiter = LocalRateLimiter::new(timer.clone());
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 2, 60));
        timer.sleep(Duration::from_secs(20)).await;
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 1, 40));
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 0, 40));
        timer.sleep(Duration::from_secs(39)).await;
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(false, 0, 1));
        timer.sleep(Duration::from_secs(1)).await;
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 2, 60));
    }

    #[tokio::test]
    async fn a_try_beyond_the_limit_does_not_lengthen_the_window() {
        let timer = timer();
        let limiter = LocalRateLimiter::new(timer.clone());
        for _ in 0..10 {
            limiter.count("ana", LIMIT).await.unwrap();
        }
        timer.sleep(Duration::from_secs(59)).await;
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(false, 0, 1));
        timer.sleep(Duration::from_secs(1)).await;
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 2, 60));
    }

    #[tokio::test]
    async fn names_are_counted_apart() {
        let limiter = LocalRateLimiter::new(timer());
        for _ in 0..5 {
            limiter.count("ana", LIMIT).await.unwrap();
        }
        assert_eq!(limiter.count("ben", LIMIT).await.unwrap(), allowance(true, 2, 60));
        assert!(!limiter.count("ana", LIMIT).await.unwrap().allowed);
    }

    #[tokio::test]
    async fn a_try_is_taken_back_while_its_window_lasts() {
        let timer = timer();
        let limiter = LocalRateLimiter::new(timer.clone());
        limiter.take_back("ana").await.unwrap();
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 2, 60));
        limiter.take_back("ana").await.unwrap();
        limiter.take_back("ana").await.unwrap();
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 2, 60));
        timer.sleep(Duration::from_secs(60)).await;
        limiter.take_back("ana").await.unwrap();
        assert_eq!(limiter.count("ana", LIMIT).await.unwrap(), allowance(true, 2, 60));
    }

    #[tokio::test]
    async fn a_limit_of_no_tries_allows_none() {
        let limiter = LocalRateLimiter::new(timer());
        let none = Limit { tries: 0, ..LIMIT };
        assert_eq!(limiter.count("ana", none).await.unwrap(), allowance(false, 0, 60));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 8)]
    async fn tries_made_at_once_are_all_counted() {
        let limiter = Arc::new(LocalRateLimiter::new(timer()));
        let limit = Limit { tries: 500, window: Duration::from_secs(60) };
        let tasks: Vec<_> = (0..20)
            .map(|_| {
                let limiter = Arc::clone(&limiter);
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    for _ in 0..50 {
                        seen.push(limiter.count("ana", limit).await.unwrap());
                    }
                    seen
                })
            })
            .collect();
        let mut seen = Vec::new();
        for task in tasks {
            seen.extend(task.await.unwrap());
        }
        let mut remaining: Vec<_> = seen.iter().filter(|seen| seen.allowed).map(|seen| seen.remaining).collect();
        remaining.sort_unstable();
        assert_eq!(remaining, (0..500).collect::<Vec<_>>());
        assert_eq!(seen.len(), 1_000);
    }

    #[tokio::test]
    async fn only_so_many_names_are_kept_and_new_ones_are_counted_always() {
        let limiter = LocalRateLimiter::with_capacity(10, timer());
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
        let limiter = LocalRateLimiter::new(timer());
        let limit = Limit { tries: 3, window: Duration::from_millis(20) };
        limiter.count("ana", limit).await.unwrap();
        tokio::time::sleep(Duration::from_millis(40)).await;
        limiter.counters.run_pending_tasks().await;
        assert!(!limiter.counters.contains_key("ana"));
    }
}
