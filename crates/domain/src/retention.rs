//! Retention: how long rows are kept, and how they are deleted concurrently with bookings.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::booking::{PreparedCommand, Tenure};
use crate::error::StoreError;
use crate::ids::BookingId;

/// The maximum number of rows that one step deletes, so that a booking waits no longer than one short step takes.
pub const STEP_ROWS_MAX: u32 = 1_000;
/// The maximum number of steps of a run for each rule: ten million rows, more than are added between two runs.
const STEPS_MAX: u32 = 10_000;

/// The retention of events. Nothing reads them yet; a future consumer has this time to read them, including a weekend's outage.
pub const EVENTS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The retention of expired refresh tokens. They are useless by then, but a clock that temporarily runs ahead must not end all sessions,
/// and a misuse can be investigated for a week.
pub const REFRESH_TOKENS_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);
/// The retention of expired holds: within a day, a client gets the error for an expired hold instead of that for an unknown one.
pub const HOLDS_KEPT: Duration = Duration::from_secs(24 * 3600);

/// The kind of rows to delete.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum RetentionRule {
    /// The responses stored with idempotency keys, by the creation of the key; some with their keys ([`key_goes_with_its_answer`]).
    Answers,
    /// Holds, by their expiry, with their seats and with those of their claims that no other hold or booking has taken over.
    Holds,
    /// Tenures that a command ended, by their end. They count for [`Tenure::COUNTED`].
    Tenures,
    /// Events of the outbox, by the time at which they were written.
    Events,
    /// Refresh tokens, by their expiry. A session is deleted with its last token.
    RefreshTokens,
    /// Idempotency keys of changes by staff, by their creation, with their answers.
    StaffKeys,
    /// Entries of the audit log, by their time. The store refuses to delete them in any other way.
    Audit,
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
            Self::StaffKeys => "staff_keys",
            Self::Audit => "audit",
        }
    }
}

/// Returns whether a key is deleted together with its response.
///
/// A client's key of a booking stays: a late retry still gets the booking instead of creating a second one. A key of a hold need not stay,
/// because the hold has ended by then. A key of the scope [`PreparedCommand::OWN_SCOPE`] need not stay either, because no client sends one.
pub fn key_goes_with_its_answer(scope: &str, booking: Option<BookingId>) -> bool {
    booking.is_none() || scope == PreparedCommand::OWN_SCOPE
}

/// Deletes rows whose retention has ended.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RetentionStore: Send + Sync {
    /// Deletes rows older than `keep` by the store's clock, the oldest first, at most `rows_max`, in one short transaction of its own.
    /// Returns the number of deleted rows, without the sessions that are deleted with their last token.
    ///
    /// MUST NOT delete younger rows, and MUST leave the rows that they are part of unchanged. Concurrent sweeps MUST NOT wait for each
    /// other. A result of fewer than `rows_max` rows means that no more are left, or that a concurrent sweep has them. For events, only the
    /// `rows_max` that were written first are considered.
    async fn sweep(&self, what: RetentionRule, keep: Duration, rows_max: u32) -> Result<u32, StoreError>;
}

/// The retention of one kind of rows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rule {
    pub what: RetentionRule,
    pub keep: Duration,
}

/// The result of a run for one rule.
#[derive(Debug)]
pub struct Swept {
    pub what: RetentionRule,
    /// The number of deleted rows, including those before a failure.
    pub rows: u64,
    /// The failure that ended the rule early.
    pub failure: Option<StoreError>,
}

/// Deletes rows by the rules, in small steps. No lock is held between steps.
#[derive(Clone)]
pub struct RetentionService {
    pub store: Arc<dyn RetentionStore>,
    pub rules: Vec<Rule>,
}

impl RetentionService {
    /// Returns a service with the rules of this system. Responses are kept for `idempotency_ttl`, and the audit log for `audit_ttl`.
    pub fn new(store: Arc<dyn RetentionStore>, idempotency_ttl: Duration, audit_ttl: Duration) -> Self {
        let rules = vec![
            Rule { what: RetentionRule::Answers, keep: idempotency_ttl },
            Rule { what: RetentionRule::Holds, keep: HOLDS_KEPT },
            Rule { what: RetentionRule::Tenures, keep: Tenure::COUNTED.to_std().unwrap_or(HOLDS_KEPT) },
            Rule { what: RetentionRule::Events, keep: EVENTS_KEPT },
            Rule { what: RetentionRule::RefreshTokens, keep: REFRESH_TOKENS_KEPT },
            Rule { what: RetentionRule::StaffKeys, keep: idempotency_ttl },
            Rule { what: RetentionRule::Audit, keep: audit_ttl },
        ];
        Self { store, rules }
    }

    /// Deletes by each rule until no rows are left, and returns the results in the order of the rules. A failure ends only its own rule.
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
    const AUDIT_TTL: Duration = Duration::from_secs(730 * 24 * 3600);

    /// The rule, the number of rows, and whether it failed.
    type Told = (RetentionRule, u64, bool);

    /// Runs over a store with these numbers of old rows of each kind. One kind fails from its second step on.
    fn run(old: [u64; 7], failing: Option<RetentionRule>) -> (Vec<Told>, Vec<(RetentionRule, Duration)>) {
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
                RetentionRule::StaffKeys,
                RetentionRule::Audit,
            ]
            .iter()
            .position(|at| *at == what)
            .unwrap();
            let left = &mut left.lock().unwrap()[index];
            let step = (*left).min(u64::from(rows_max));
            *left -= step;
            Ok(u32::try_from(step).unwrap())
        });
        let swept = block_on(RetentionService::new(Arc::new(store), TTL, AUDIT_TTL).run());
        let calls = calls.lock().unwrap().clone();
        (swept.into_iter().map(|swept| (swept.what, swept.rows, swept.failure.is_some())).collect(), calls)
    }

    #[test]
    fn each_rule_is_run_until_a_step_is_not_full() {
        let (swept, calls) = run([2_500, 30, 7, 0, 1_000, 3, 4], None);
        let expected = [
            (RetentionRule::Answers, 2_500, false),
            (RetentionRule::Holds, 30, false),
            (RetentionRule::Tenures, 7, false),
            (RetentionRule::Events, 0, false),
            (RetentionRule::RefreshTokens, 1_000, false),
            (RetentionRule::StaffKeys, 3, false),
            (RetentionRule::Audit, 4, false),
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
                &tokens,
                &[(RetentionRule::StaffKeys, TTL), (RetentionRule::Audit, AUDIT_TTL)]
            ]
            .concat()
        );
    }

    #[test]
    fn a_failure_ends_its_rule_alone_and_what_was_done_before_it_counts() {
        let (swept, _) = run([1_500, 5, 6, 10, 20, 30, 40], Some(RetentionRule::Answers));
        assert_eq!(
            swept,
            [
                (RetentionRule::Answers, 1_000, true),
                (RetentionRule::Holds, 5, false),
                (RetentionRule::Tenures, 6, false),
                (RetentionRule::Events, 10, false),
                (RetentionRule::RefreshTokens, 20, false),
                (RetentionRule::StaffKeys, 30, false),
                (RetentionRule::Audit, 40, false)
            ]
        );
    }

    #[test]
    fn a_run_ends_however_much_there_is() {
        let (swept, _) = run([u64::MAX, 0, 0, 0, 0, 0, 0], None);
        assert_eq!(swept[0], (RetentionRule::Answers, u64::from(STEP_ROWS_MAX) * u64::from(STEPS_MAX), false));
    }
}
