//! The store's clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// The present instant in microseconds since the Unix epoch. It stands still where the machine's clock goes back: a hold that
/// ran out stays so, and nothing is older than what was written before it.
#[derive(Debug, Default)]
pub(crate) struct StoreClock {
    newest: AtomicI64,
}

impl StoreClock {
    /// The present instant.
    pub(crate) fn now(&self) -> i64 {
        let elapsed = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.at_least(i64::try_from(elapsed.as_micros()).unwrap_or(i64::MAX))
    }

    /// The present instant, which is not before `instant`.
    pub(crate) fn at_least(&self, instant: i64) -> i64 {
        self.newest.fetch_max(instant, Ordering::AcqRel).max(instant)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_never_goes_back() {
        let clock = StoreClock::default();
        let now = clock.now();
        let later = clock.at_least(now + 60_000_000);
        assert_eq!(later, now + 60_000_000);
        assert!(clock.now() >= later);
        assert!(clock.at_least(now) >= later);
    }
}
