//! Cases of the rate limiter.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use domain::limits::{Allowance, Limit, RateLimiter};

use crate::{RateLimiterFixture, SharedRateLimiterFixture};

const LIMIT: Limit = Limit { tries: 3, window: Duration::from_secs(60) };

fn allowance(allowed: bool, remaining: u32, seconds: u64) -> Allowance {
    Allowance { allowed, remaining, resets_in: Duration::from_secs(seconds) }
}

async fn count(limiter: &Arc<dyn RateLimiter>, name: &str) -> Allowance {
    limiter.count(name, LIMIT).await.unwrap()
}

/// A window begins with the first try, allows `tries` tries, and ends at the time given in `resets_in`.
pub async fn window_begins_with_the_first_try_and_allows_the_limit(fixture: &dyn RateLimiterFixture) {
    let limiter = fixture.limiter().await;
    assert_eq!(count(&limiter, "ana").await, allowance(true, 2, 60));
    fixture.pass(Duration::from_secs(20)).await;
    assert_eq!(count(&limiter, "ana").await, allowance(true, 1, 40));
    assert_eq!(count(&limiter, "ana").await, allowance(true, 0, 40));
    fixture.pass(Duration::from_secs(39)).await;
    assert_eq!(count(&limiter, "ana").await, allowance(false, 0, 1));
    fixture.pass(Duration::from_secs(1)).await;
    assert_eq!(count(&limiter, "ana").await, allowance(true, 2, 60));
}

/// Rejected tries do not lengthen the window.
pub async fn a_try_beyond_the_limit_does_not_lengthen_the_window(fixture: &dyn RateLimiterFixture) {
    let limiter = fixture.limiter().await;
    for _ in 0..10 {
        count(&limiter, "ana").await;
    }
    fixture.pass(Duration::from_secs(59)).await;
    assert_eq!(count(&limiter, "ana").await, allowance(false, 0, 1));
    fixture.pass(Duration::from_secs(1)).await;
    assert_eq!(count(&limiter, "ana").await, allowance(true, 2, 60));
}

/// Each name has its own counter.
pub async fn names_are_counted_apart(fixture: &dyn RateLimiterFixture) {
    let limiter = fixture.limiter().await;
    for _ in 0..5 {
        count(&limiter, "ana").await;
    }
    for other in ["ben", "an", "anaa", "", "ana:", "ANA", "añá"] {
        assert_eq!(count(&limiter, other).await, allowance(true, 2, 60), "{other}");
    }
    assert!(!count(&limiter, "ana").await.allowed);
}

/// A try is taken back only while its window lasts, and never more tries than were counted.
pub async fn a_try_is_taken_back_while_its_window_lasts(fixture: &dyn RateLimiterFixture) {
    let limiter = fixture.limiter().await;
    limiter.take_back("ana").await.unwrap();
    assert_eq!(count(&limiter, "ana").await, allowance(true, 2, 60));
    limiter.take_back("ana").await.unwrap();
    limiter.take_back("ana").await.unwrap();
    assert_eq!(count(&limiter, "ana").await, allowance(true, 2, 60));
    fixture.pass(Duration::from_secs(60)).await;
    limiter.take_back("ana").await.unwrap();
    assert_eq!(count(&limiter, "ana").await, allowance(true, 2, 60));
}

/// A limit of zero rejects even the first try.
pub async fn limit_of_zero_tries_rejects_every_try(fixture: &dyn RateLimiterFixture) {
    let limiter = fixture.limiter().await;
    let none = Limit { tries: 0, ..LIMIT };
    assert_eq!(limiter.count("ana", none).await.unwrap(), allowance(false, 0, 60));
}

/// Concurrent tries are each counted once, and exactly `tries` of them are allowed.
pub async fn concurrent_tries_are_all_counted(fixture: &dyn RateLimiterFixture) {
    let limiter = fixture.limiter().await;
    let limit = Limit { tries: 300, window: Duration::from_secs(60) };
    let some = |limiter: Arc<dyn RateLimiter>| {
        tokio::spawn(async move {
            let mut allowed = Vec::new();
            for _ in 0..20 {
                let allowance = limiter.count("ana", limit).await.unwrap();
                allowed.extend(allowance.allowed.then_some(allowance.remaining));
            }
            allowed
        })
    };
    let tasks: Vec<_> = (0..20).map(|_| some(limiter.clone())).collect();
    let mut allowed = Vec::new();
    for task in tasks {
        allowed.extend(task.await.unwrap());
    }
    assert_eq!(allowed.len(), 300);
    assert_eq!(allowed.into_iter().collect::<BTreeSet<_>>(), (0..300).collect());
}

/// Two limiters that share counters allow, together, as many tries as one limiter.
pub async fn shared_limiters_allow_the_limit_together(fixture: &dyn SharedRateLimiterFixture) {
    let (one, other) = (fixture.limiter().await, fixture.other_limiter().await);
    assert_eq!(count(&one, "ana").await, allowance(true, 2, 60));
    fixture.pass(Duration::from_secs(10)).await;
    assert_eq!(count(&other, "ana").await, allowance(true, 1, 60));
    assert_eq!(count(&one, "ana").await, allowance(true, 0, 50));
    // The limiters may time the window separately: `ana` is allowed again when either window ends.
    assert_eq!(count(&other, "ana").await, allowance(false, 0, 50));
    assert_eq!(count(&one, "ana").await, allowance(false, 0, 50));
    assert_eq!(count(&other, "ben").await, allowance(true, 2, 60));
}

/// Rejected tries at either limiter do not lengthen the window.
pub async fn rejected_tries_do_not_lengthen_the_window(fixture: &dyn SharedRateLimiterFixture) {
    let (one, other) = (fixture.limiter().await, fixture.other_limiter().await);
    for _ in 0..3 {
        assert!(count(&one, "ana").await.allowed);
    }
    for second in 0..60 {
        assert_eq!(count(&other, "ana").await, allowance(false, 0, 60 - second));
        assert_eq!(count(&one, "ana").await, allowance(false, 0, 60 - second));
        fixture.pass(Duration::from_secs(1)).await;
    }
    for _ in 0..2 {
        assert!(count(&other, "ana").await.allowed);
    }
    assert!(count(&one, "ana").await.allowed);
    assert!(!count(&one, "ana").await.allowed);
}

/// A try that is taken back at one limiter is available at the other.
pub async fn try_taken_back_at_one_limiter_is_available_at_the_other(fixture: &dyn SharedRateLimiterFixture) {
    let (one, other) = (fixture.limiter().await, fixture.other_limiter().await);
    for _ in 0..3 {
        assert!(count(&one, "ana").await.allowed);
    }
    assert!(!count(&other, "ana").await.allowed);
    one.take_back("ana").await.unwrap();
    assert!(count(&other, "ana").await.allowed);
    assert!(!count(&one, "ana").await.allowed);
}

/// Concurrent tries at both limiters never exceed the limit, and rejected tries use up none of it.
pub async fn concurrent_tries_at_both_limiters_stay_within_the_limit(fixture: &dyn SharedRateLimiterFixture) {
    let limiters = [fixture.limiter().await, fixture.other_limiter().await];
    let limit = Limit { tries: 50, window: Duration::from_secs(60) };
    let one =
        |limiter: Arc<dyn RateLimiter>| tokio::spawn(async move { limiter.count("ana", limit).await.unwrap().allowed });
    let tasks: Vec<_> = (0..100).map(|at| one(limiters[at % 2].clone())).collect();
    let mut allowed = 0;
    for task in tasks {
        allowed += u32::from(task.await.unwrap());
    }
    assert!(allowed <= 50, "{allowed}");
    while limiters[0].count("ana", limit).await.unwrap().allowed {
        allowed += 1;
    }
    assert_eq!(allowed, 50);
}
