//! The store's clock.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use domain::clock::Clock;
use domain::health::Degradation;
use thiserror::Error;

/// The largest lag of the system's clock behind the store's. A larger lag is an error, and an operator must decide which clock is wrong.
/// Small clock corrections, and two machines that share a backup, stay within it.
pub(crate) const LEAD_MAX: TimeDelta = TimeDelta::minutes(5);

/// The advice to correct or accept the system's clock.
const WAY_OUT: &str = "If the system's clock is wrong, correct it. If it is right, stop the server and run `movie-booking accept-clock`, \
                       which shows what is dated later, and dates it now if told so";

/// A clock that follows the system's clock while that advances.
///
/// It never goes back: an expired hold stays expired, and no row is older than an earlier one. It never stops either: while the system's
/// clock is behind, this clock advances at nine tenths of the system's speed until they meet. A hold of ten minutes then lasts eleven, and
/// a step back of five minutes is compensated in fifty.
pub(crate) struct StoreClock {
    system: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Clone, Copy)]
struct State {
    /// The last reading of this clock when the system's clock was not behind it, and the time of that reading.
    anchor: (i64, Instant),
    /// The newest stored instant, if it is too far ahead to continue from.
    stored_ahead: Option<i64>,
    /// Whether the lag of the system's clock has been logged.
    is_reported: bool,
}

/// The system's clock is too far behind the stored instants.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error(
    "the system's clock says {}, but the store has entries of {}, {} later. {way_out}",
    show(*.system), show(*.stored), lead(*.stored - *.system), way_out = WAY_OUT
)]
pub struct ClockError {
    /// The reading of the system's clock.
    pub system: DateTime<Utc>,
    /// The newest instant in the store.
    pub stored: DateTime<Utc>,
}

fn show(instant: DateTime<Utc>) -> impl fmt::Display {
    instant.format("%Y-%m-%dT%H:%M:%SZ")
}

/// Formats a duration in the largest unit of which it has at least two.
fn lead(time: TimeDelta) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (days @ 2.., ..) => format!("{days} days"),
        (_, hours @ 2.., _) => format!("{hours} hours"),
        (.., minutes) => format!("{minutes} minutes"),
    }
}

fn micros(instant: DateTime<Utc>) -> i64 {
    instant.timestamp_micros()
}

fn instant(micros: i64) -> DateTime<Utc> {
    // An instant out of range is displayed as the latest representable one.
    DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl StoreClock {
    pub(crate) fn new(system: Arc<dyn Clock>) -> Self {
        let anchor = (micros(system.now()), Instant::now());
        Self { system, state: Mutex::new(State { anchor, stored_ahead: None, is_reported: false }) }
    }

    /// Returns the present instant, in microseconds since the Unix epoch.
    pub(crate) fn now(&self) -> i64 {
        self.at(micros(self.system.now()), Instant::now())
    }

    /// Returns the present instant for these readings of the system's clock and the process's clock.
    fn at(&self, system: i64, process: Instant) -> i64 {
        let mut state = self.lock();
        let now = state.advance(system, process);
        let is_behind = now.saturating_sub(system) > LEAD_MAX.num_microseconds().unwrap_or(i64::MAX);
        let changed = is_behind != std::mem::replace(&mut state.is_reported, is_behind);
        drop(state);
        if changed && is_behind {
            let error = ClockError { system: instant(system), stored: instant(now) };
            tracing::error!(%error, "clock.went_back");
        } else if changed {
            tracing::info!("clock.is_right_again");
        }
        now
    }

    /// Continues from the newest stored instant, unless that is too far ahead. Then this clock does not jump, and only records the instant.
    pub(crate) fn continue_from(&self, stored: i64) {
        let now = self.now();
        let mut state = self.lock();
        if stored.saturating_sub(now) > LEAD_MAX.num_microseconds().unwrap_or(i64::MAX) {
            state.stored_ahead = Some(stored);
        } else {
            state.stored_ahead = None;
            if stored > now {
                state.anchor = (stored, Instant::now());
            }
        }
    }

    /// Fails if the store contains instants that are too far ahead.
    pub(crate) fn check(&self) -> Result<(), ClockError> {
        let state = *self.lock();
        let system = self.system.now();
        state.stored_ahead.map_or(Ok(()), |stored| Err(ClockError { system, stored: instant(stored) }))
    }

    /// Returns the problem with the clocks, for an operator.
    pub(crate) fn degradation(&self) -> Option<Degradation> {
        let now = instant(self.now());
        let system = self.system.now();
        let behind = (now - system > LEAD_MAX).then_some(ClockError { system, stored: now });
        let error = behind.or(self.check().err())?;
        Some(Degradation { name: "clock", state: "behind", message: error.to_string() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn advance(&mut self, system: i64, process: Instant) -> i64 {
        let (said, at) = self.anchor;
        let passed = i64::try_from(process.saturating_duration_since(at).as_micros()).unwrap_or(i64::MAX);
        let slowly = said.saturating_add(passed.saturating_sub(passed / 10));
        if system >= slowly {
            self.anchor = (system, process.max(at));
            system
        } else {
            slowly
        }
    }
}

/// The clock of the operating system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from(std::time::SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: i64 = 1_000_000;
    const MINUTE: i64 = 60 * SECOND;
    const START: i64 = 1_800_000_000 * SECOND;

    /// A store's clock at an instant that the test chooses.
    struct Trial {
        clock: StoreClock,
        began: Instant,
    }

    impl Trial {
        fn new() -> Self {
            struct Stopped;
            impl Clock for Stopped {
                fn now(&self) -> DateTime<Utc> {
                    instant(START)
                }
            }
            let clock = StoreClock::new(Arc::new(Stopped));
            let began = clock.lock().anchor.1;
            Self { clock, began }
        }

        /// Returns the reading when the system's clock is at `START + system` and the process has run for `seconds`.
        fn at(&self, system: i64, seconds: u64) -> i64 {
            self.clock.at(START + system, self.began + Duration::from_secs(seconds)) - START
        }
    }

    #[test]
    fn it_follows_the_systems_clock_forward() {
        let trial = Trial::new();
        assert_eq!(trial.at(10 * SECOND, 10), 10 * SECOND);
        // The machine was suspended.
        assert_eq!(trial.at(90 * MINUTE, 20), 90 * MINUTE);
        assert_eq!(trial.at(90 * MINUTE + SECOND, 21), 90 * MINUTE + SECOND);
        assert!(!trial.clock.lock().is_reported);
    }

    #[test]
    fn a_step_back_neither_goes_back_nor_stands_still_and_is_made_up() {
        let trial = Trial::new();
        assert_eq!(trial.at(100 * SECOND, 100), 100 * SECOND);
        let back = |seconds: i64| 100 * SECOND - 3 * MINUTE + seconds * SECOND;
        assert_eq!(trial.at(back(0), 100), 100 * SECOND);
        assert_eq!(trial.at(back(10), 110), 109 * SECOND);
        assert_eq!(trial.at(back(1000), 1100), 1000 * SECOND);
        // Half an hour later the clocks have met.
        assert_eq!(trial.at(back(1800), 1900), back(1800));
        assert_eq!(trial.at(back(1810), 1910), back(1810));
        assert!(!trial.clock.lock().is_reported);
    }

    #[test]
    fn a_step_back_of_an_hour_is_reported_and_freezes_nothing() {
        let trial = Trial::new();
        assert_eq!(trial.at(100 * SECOND, 100), 100 * SECOND);
        assert_eq!(trial.at(100 * SECOND - 60 * MINUTE, 100), 100 * SECOND);
        assert!(trial.clock.lock().is_reported);
        // A hold of nine seconds lasts ten.
        assert_eq!(trial.at(110 * SECOND - 60 * MINUTE, 110), 109 * SECOND);
        assert_eq!(trial.at(120 * SECOND, 120), 120 * SECOND);
        assert!(!trial.clock.lock().is_reported);
    }

    #[test]
    fn it_is_asked_often_without_losing_time() {
        let trial = Trial::new();
        let microsecond = Duration::from_micros(1);
        let mut process = trial.began;
        for _ in 0..1_000_000 {
            process += microsecond;
            trial.clock.at(START - MINUTE, process);
        }
        assert_eq!(trial.clock.at(START - MINUTE, process) - START, SECOND - SECOND / 10);
    }

    #[test]
    fn it_goes_on_from_what_is_stored_unless_that_is_more_than_five_minutes_ahead() {
        let trial = Trial::new();
        trial.clock.continue_from(START + 4 * MINUTE);
        assert!(trial.clock.now() >= START + 4 * MINUTE);
        assert_eq!(trial.clock.check(), Ok(()));
        assert_eq!(trial.clock.degradation(), None);

        let trial = Trial::new();
        trial.clock.continue_from(START + 365 * 24 * 60 * MINUTE);
        assert!(trial.clock.now() < START + MINUTE, "a wrong instant is not believed");
        let error = trial.clock.check().unwrap_err();
        assert_eq!(
            error.to_string().split(". ").next().unwrap(),
            "the system's clock says 2027-01-15T08:00:00Z, but the store has entries of 2028-01-15T08:00:00Z, 365 days later"
        );
        assert!(error.to_string().contains("accept-clock"), "{error}");
        let degradation = trial.clock.degradation().unwrap();
        assert_eq!((degradation.name, degradation.state), ("clock", "behind"));
        // The file was replaced by one with correct instants.
        trial.clock.continue_from(START);
        assert_eq!((trial.clock.check(), trial.clock.degradation()), (Ok(()), None));
    }
}
