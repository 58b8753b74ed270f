//! What is not kept for ever: how long it is kept, and how it is taken away beside those who book.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::booking::{PreparedCommand, Tenure};
use crate::error::StoreError;
use crate::ids::BookingId;

/// How many rows one step takes away at most: nobody who books waits longer than a step takes.
pub const STEP_ROWS_MAX: u32 = 1_000;
/// How many steps a run has at most for each thing: ten million rows, more than come in between two runs.
const STEPS_MAX: u32 = 10_000;

/// How long events are kept. Nothing reads them yet; whoever will must have read them within this time, a weekend's outage
/// included.
pub const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long refresh tokens are kept after they ran out. They are worth nothing by then; but a clock that runs ahead for a while
/// must not end everybody's sessions, and a misuse can be looked into for a week.
pub const REFRESH_TOKENS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// How long holds are kept after they ran out: who comes back to one within a day is told that it ran out, not that it never was.
pub const HOLDS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// What can be swept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetentionRule {
    /// The answers that idempotency keys remember, by when the key was made, some with their keys ([`key_goes_with_its_answer`]).
    Answers,
    /// Holds, by when they ran out, with their seats and with those of their claims that nobody has taken over.
    Holds,
    /// Tenures that a command ended, by when it did: they count for [`Tenure::COUNTED`].
    Tenures,
    /// Events that others were to be told of, by when they were written.
    Events,
    /// Refresh tokens, by when they ran out. A session goes with its last token.
    RefreshTokens,
}

impl RetentionRule {
    /// Returns the name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Answers => "answers",
            Self::Holds => "holds",
            Self::Tenures => "tenures",
            Self::Events => "events",
            Self::RefreshTokens => "refresh_tokens",
        }
    }
}

/// Returns whether a key is deleted together with its answer.
///
/// A client's key of a booking stays: a late retry still gets the booking and makes no second one. A key of a hold does not have to,
/// because the hold is over by then, and no client sends a key of the scope [`PreparedCommand::OWN_SCOPE`].
pub fn key_goes_with_its_answer(scope: &str, booking: Option<BookingId>) -> bool {
    booking.is_none() || scope == PreparedCommand::OWN_SCOPE
}

/// Takes away what is not kept any longer.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Takes away what is older than `keep` by the store's clock, the oldest first, `rows_max` rows at most, in one short
    /// transaction of its own. Tells how many rows it was; a session that goes with its last token is not counted.
    ///
    /// MUST take away nothing that is younger, and leave what it is part of as it was. Several may sweep at once, and MUST NOT wait
    /// for each other. Fewer than `rows_max` rows mean that no more are left, or that another caller is at them. Of events only
    /// the `rows_max` that were written first are looked at.
    async fn sweep(&self, what: RetentionRule, keep: Duration, rows_max: u32) -> Result<u32, StoreError>;
}

/// How long one thing is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    pub what: RetentionRule,
    /// How long.
    pub keep: Duration,
}

/// What a run did about one thing.
#[derive(Debug)]
pub struct Swept {
    /// What was to be swept.
    pub what: RetentionRule,
    /// How many rows were, before the failure if there was one.
    pub rows: u64,
    /// Why it was not all.
    pub failure: Option<StoreError>,
}

/// Sweeps by rules. Steps are small, and nothing is held in between.
#[derive(Clone)]
pub struct RetentionService {
    /// Where the rows are.
    pub store: Arc<dyn RetentionStore>,
    /// What is kept how long.
    pub rules: Vec<Rule>,
}

impl RetentionService {
    /// Returns the rules of this system. Answers are kept for `idempotency_ttl`.
    pub fn new(store: Arc<dyn RetentionStore>, idempotency_ttl: Duration) -> Self {
        let rules = vec![
            Rule { what: RetentionRule::Answers, keep: idempotency_ttl },
            Rule { what: RetentionRule::Holds, keep: HOLDS_KEPT },
            Rule { what: RetentionRule::Tenures, keep: Tenure::COUNTED.to_std().unwrap_or(HOLDS_KEPT) },
            Rule { what: RetentionRule::Events, keep: EVENTS_KEPT },
            Rule { what: RetentionRule::RefreshTokens, keep: REFRESH_TOKENS_KEPT },
        ];
        Self { store, rules }
    }

    /// Sweeps by each rule until nothing is left, and tells what it did, rule by rule. A failure ends its rule alone.
    pub async fn run(&self) -> Vec<Swept> {
        let mut swept = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            swept.push(self.sweep(*rule).await);
        }
        swept
    }

    async fn sweep(&self, Rule { what, keep }: Rule) -> Swept {
        let mut rows = 0;
        for _ in 0..STEPS_MAX {
            match self.store.sweep(what, keep, STEP_ROWS_MAX).await {
                Ok(step) => {
                    rows += u64::from(step);
                    if step < STEP_ROWS_MAX {
                        break;
                    }
                }
                Err(failure) => return Swept { what, rows, failure: Some(failure) },
            }
        }
        Swept { what, rows, failure: None }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::executor::block_on;

    use super::*;

    const TTL: Duration = Duration::from_secs(24 * 3600);

    /// What was swept, how many rows, and whether that failed.
    type Told = (RetentionRule, u64, bool);

    /// Runs over a store in which this many rows of each kind are old, and one kind fails from its second step on.
    fn run(old: [u64; 5], failing: Option<RetentionRule>) -> (Vec<Told>, Vec<(RetentionRule, Duration)>) {
        let calls = Arc::new(Mutex::new(Vec::new()));
        let (asked, left) = (Arc::clone(&calls), Mutex::new(old));
        let mut store = MockRetentionStore::new();
        store.expect_sweep().returning(move |what, keep, rows_max| {
            let mut asked = asked.lock().unwrap();
            let again = asked.iter().any(|(known, _)| *known == what);
            asked.push((what, keep));
            if again && failing == Some(what) {
                return Err(StoreError::unavailable("gone"));
            }
            let index = [
                RetentionRule::Answers,
                RetentionRule::Holds,
                RetentionRule::Tenures,
                RetentionRule::Events,
                RetentionRule::RefreshTokens,
            ]
            .iter()
            .position(|at| *at == what)
            .unwrap();
            let left = &mut left.lock().unwrap()[index];
            let step = (*left).min(u64::from(rows_max));
            *left -= step;
            Ok(u32::try_from(step).unwrap())
        });
        let swept = block_on(RetentionService::new(Arc::new(store), TTL).run());
        let calls = calls.lock().unwrap().clone();
        (swept.into_iter().map(|swept| (swept.what, swept.rows, swept.failure.is_some())).collect(), calls)
    }

    #[test]
    fn each_rule_is_run_until_a_step_is_not_full() {
        let (swept, calls) = run([2_500, 30, 7, 0, 1_000], None);
        let expected = [
            (RetentionRule::Answers, 2_500, false),
            (RetentionRule::Holds, 30, false),
            (RetentionRule::Tenures, 7, false),
            (RetentionRule::Events, 0, false),
            (RetentionRule::RefreshTokens, 1_000, false),
        ];
        assert_eq!(swept, expected);
        let answers = [(RetentionRule::Answers, TTL); 3];
        let tokens = [(RetentionRule::RefreshTokens, REFRESH_TOKENS_KEPT); 2];
        assert_eq!(
            calls,
            [
                &answers[..],
                &[
                    (RetentionRule::Holds, HOLDS_KEPT),
                    (RetentionRule::Tenures, Duration::from_secs(40 * 60)),
                    (RetentionRule::Events, EVENTS_KEPT)
                ],
                &tokens
            ]
            .concat()
        );
    }

    #[test]
    fn a_failure_ends_its_rule_alone_and_what_was_done_before_it_counts() {
        let (swept, _) = run([1_500, 5, 6, 10, 20], Some(RetentionRule::Answers));
        assert_eq!(
            swept,
            [
                (RetentionRule::Answers, 1_000, true),
                (RetentionRule::Holds, 5, false),
                (RetentionRule::Tenures, 6, false),
                (RetentionRule::Events, 10, false),
                (RetentionRule::RefreshTokens, 20, false)
            ]
        );
    }

    #[test]
    fn a_run_ends_however_much_there_is() {
        let (swept, _) = run([u64::MAX, 0, 0, 0, 0], None);
        assert_eq!(swept[0], (RetentionRule::Answers, u64::from(STEP_ROWS_MAX) * u64::from(STEPS_MAX), false));
    }
}
