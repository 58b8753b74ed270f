//! A circuit breaker: after some consecutive failures calls are refused for a while, then one call probes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::clock::Timer;

/// The number of consecutive failures that opens the breaker.
pub(crate) const FAILURES_MAX: u32 = 3;
/// The time for which an open breaker refuses calls before one call may probe.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(1);

/// Decides whether a call is allowed.
pub(crate) struct Breaker {
    state: Mutex<State>,
    succeeded: AtomicU64,
    failed: AtomicU64,
    refused: AtomicU64,
    timer: Arc<dyn Timer>,
}

enum State {
    /// Every call is allowed. `failures` calls have failed since the last success.
    Closed { failures: u32 },
    /// No call is allowed until then.
    Open { until: Instant },
    /// One call probes; all others are refused.
    Probing,
}

/// Permission for one call. Dropped without a result, it counts neither as a success nor as a failure.
pub(crate) struct Attempt<'a> {
    breaker: &'a Breaker,
    is_probe: bool,
    has_result: bool,
}

impl Breaker {
    pub(crate) fn new(timer: Arc<dyn Timer>) -> Self {
        let zero = || AtomicU64::new(0);
        let state = Mutex::new(State::Closed { failures: 0 });
        Self { state, succeeded: zero(), failed: zero(), refused: zero(), timer }
    }

    /// Returns permission for a call. If it is refused, counts the refusal and returns `None`.
    pub(crate) fn attempt(&self) -> Option<Attempt<'_>> {
        let mut state = self.lock();
        let is_probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if until <= self.timer.instant() => true,
            State::Open { .. } | State::Probing => {
                drop(state);
                self.count_refused();
                return None;
            }
        };
        if is_probe {
            *state = State::Probing;
        }
        Some(Attempt { breaker: self, is_probe, has_result: false })
    }

    /// Counts a call that was refused for another reason.
    pub(crate) fn count_refused(&self) {
        self.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns whether calls are refused. This includes the time of a probe.
    pub(crate) fn is_open(&self) -> bool {
        !matches!(*self.lock(), State::Closed { .. })
    }

    /// Returns the numbers of calls that succeeded, failed and were refused.
    pub(crate) fn counts(&self) -> (u64, u64, u64) {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        (count(&self.succeeded), count(&self.failed), count(&self.refused))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can leave it in an invalid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(&self) -> State {
        State::Open { until: self.timer.instant() + OPEN_FOR }
    }
}

impl Attempt<'_> {
    /// Records a success. Returns whether it closed the breaker.
    pub(crate) fn succeeded(mut self) -> bool {
        self.has_result = true;
        self.breaker.succeeded.fetch_add(1, Ordering::Relaxed);
        let mut state = self.breaker.lock();
        // The result of a call that began before the breaker opened is out of date.
        if self.is_probe || matches!(*state, State::Closed { .. }) {
            *state = State::Closed { failures: 0 };
        }
        self.is_probe
    }

    /// Records a failure. Returns whether it opened a closed breaker.
    pub(crate) fn failed(mut self) -> bool {
        self.has_result = true;
        self.breaker.failed.fetch_add(1, Ordering::Relaxed);
        let mut state = self.breaker.lock();
        match *state {
            State::Closed { failures } if failures + 1 < FAILURES_MAX => {
                *state = State::Closed { failures: failures + 1 };
                false
            }
            State::Closed { .. } => {
                *state = self.breaker.open();
                true
            }
            State::Probing if self.is_probe => {
                *state = self.breaker.open();
                false
            }
            State::Open { .. } | State::Probing => false,
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.is_probe && !self.has_result {
            // The probe was cancelled: the next call probes.
            *self.breaker.lock() = State::Open { until: self.breaker.timer.instant() };
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    /// A timer that stands still until a test moves it.
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

    fn breaker() -> (Arc<SetTimer>, Breaker) {
        let timer = Arc::new(SetTimer { start: Instant::now(), passed: Mutex::default() });
        (timer.clone(), Breaker::new(timer))
    }

    fn fail(breaker: &Breaker, times: u32) {
        for _ in 0..times {
            breaker.attempt().unwrap().failed();
        }
    }

    #[test]
    fn some_failures_in_a_row_open_it() {
        let (_, breaker) = breaker();
        fail(&breaker, FAILURES_MAX - 1);
        breaker.attempt().unwrap().succeeded();
        fail(&breaker, FAILURES_MAX - 1);
        assert!(!breaker.is_open());
        assert!(breaker.attempt().unwrap().failed(), "this one opened it");
        assert!(breaker.is_open());
        assert!(breaker.attempt().is_none());
        assert_eq!(breaker.counts(), (1, u64::from(2 * FAILURES_MAX - 1), 1));
    }

    #[tokio::test]
    async fn one_tries_after_a_second_and_closes_it_for_all() {
        let (timer, breaker) = breaker();
        fail(&breaker, FAILURES_MAX);
        timer.sleep(OPEN_FOR - Duration::from_millis(1)).await;
        assert!(breaker.attempt().is_none());
        timer.sleep(Duration::from_millis(1)).await;
        let probe = breaker.attempt().unwrap();
        assert!(breaker.attempt().is_none(), "one is enough");
        assert!(breaker.is_open());
        assert!(probe.succeeded(), "this one closed it");
        assert!(!breaker.is_open());
        // A success resets the count of failures.
        fail(&breaker, FAILURES_MAX - 1);
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn a_probe_that_fails_opens_it_for_another_second() {
        let (timer, breaker) = breaker();
        fail(&breaker, FAILURES_MAX);
        for _ in 0..3 {
            timer.sleep(OPEN_FOR).await;
            assert!(!breaker.attempt().unwrap().failed());
            assert!(breaker.attempt().is_none());
        }
    }

    #[tokio::test]
    async fn a_probe_that_is_given_up_leaves_it_to_the_next() {
        let (timer, breaker) = breaker();
        fail(&breaker, FAILURES_MAX);
        timer.sleep(OPEN_FOR).await;
        drop(breaker.attempt().unwrap());
        assert!(breaker.attempt().unwrap().succeeded());
        // If the breaker is closed, a cancelled call changes nothing.
        drop(breaker.attempt().unwrap());
        assert!(!breaker.is_open());
    }

    #[tokio::test]
    async fn who_began_before_it_opened_changes_nothing() {
        let (timer, breaker) = breaker();
        let (slow, slower) = (breaker.attempt().unwrap(), breaker.attempt().unwrap());
        fail(&breaker, FAILURES_MAX);
        assert!(!slow.succeeded());
        assert!(breaker.is_open());
        timer.sleep(OPEN_FOR).await;
        let probe = breaker.attempt().unwrap();
        assert!(!slower.failed());
        probe.succeeded();
        assert!(!breaker.is_open());
    }
}
