//! How often something may be asked.

use futures::future::join_all;

use crate::harness::{Answer, PASSWORD, TestApp};

on_both_stores!(
    requests_of_an_address_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    requests_are_counted_for_each_caller with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    addresses_that_anybody_claims_are_not_believed with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    addresses_that_a_trusted_proxy_tells_are_believed
        with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5", "TRUSTED_PROXIES" = "127.0.0.1"],
    failed_logins_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    failed_logins_at_once_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    logins_that_succeed_are_not_counted with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    nothing_is_limited_where_limits_are_off,
);

/// How many more tries the answer allows, and in how many seconds they are renewed.
fn allowance(answer: &Answer) -> (u64, u64) {
    let text = answer.header("ratelimit").unwrap_or_else(|| panic!("{answer:?}"));
    let numbers = text.strip_prefix("\"default\";r=").and_then(|rest| rest.split_once(";t="));
    let (remaining, seconds) = numbers.unwrap_or_else(|| panic!("{text}"));
    (remaining.parse().unwrap(), seconds.parse().unwrap())
}

/// Uses up the five requests of a minute by `call`, and checks that the sixth is refused.
async fn use_up_five(call: impl AsyncFn() -> Answer) {
    for remaining in (0..5).rev() {
        let answer = call().await;
        assert_ne!(answer.status, 429, "{answer:?}");
        let (left, seconds) = allowance(&answer);
        assert_eq!(left, remaining);
        assert!((1..=60).contains(&seconds), "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=5;w=60"));
    }
    refused(call().await);
}

#[track_caller]
fn refused(answer: Answer) {
    let answer = answer.problem(429, "rate_limited");
    let (left, seconds) = allowance(&answer);
    assert_eq!(left, 0);
    let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!((1..=60).contains(&wait) && wait == seconds, "{answer:?}");
}

async fn requests_of_an_address_are_limited(app: &TestApp) {
    use_up_five(async || app.get("/api/movies").send().await).await;
    app.get("/api/shows").send().await.problem(429, "rate_limited").snapshot("rate_limited");
    // A token that is none does not make another caller.
    refused(app.me("nonsense").await);
    refused(app.get("/api/nothing").send().await);
    // Whoever looks after the server is not kept out.
    for path in ["/healthz", "/readyz", "/docs/"] {
        let answer = app.get(path).send().await.ok(200);
        assert_eq!(answer.header("ratelimit"), None, "{path}");
    }
}

async fn requests_are_counted_for_each_caller(app: &TestApp) {
    let (one, other) = (app.sign_up().await, app.sign_up().await);
    use_up_five(async || app.get("/api/bookings").by(&one).send().await).await;
    app.get("/api/bookings").by(&other).send().await.ok(200);
    let anonymous = app.get("/api/movies").send().await.ok(200);
    assert_eq!(allowance(&anonymous).0, 2, "two sign-ups and this one came from the address");
    // Errors tell the limits too.
    let missing = app.get("/api/bookings/1").by(&other).send().await.problem(404, "booking_not_found");
    assert_eq!(allowance(&missing).0, 3);
}

async fn addresses_that_anybody_claims_are_not_believed(app: &TestApp) {
    for number in 0..5 {
        app.get("/api/movies").header("x-forwarded-for", format!("192.0.2.{number}")).send().await.ok(200);
    }
    refused(app.get("/api/movies").header("x-forwarded-for", "192.0.2.99").send().await);
}

async fn addresses_that_a_trusted_proxy_tells_are_believed(app: &TestApp) {
    let from = |address: &str| app.get("/api/movies").header("x-forwarded-for", address).send();
    use_up_five(async || from("192.0.2.1").await).await;
    from("192.0.2.2").await.ok(200);
    refused(from("198.51.100.1, 192.0.2.1").await);
}

async fn failed_logins_are_limited(app: &TestApp) {
    let user = app.sign_up().await;
    for email in [user.email.as_str(), "nobody@example.org"] {
        for _ in 0..3 {
            app.login(email, "wrong password").await.problem(401, "invalid_credentials");
        }
        // However the address is written, and even with the right password: whoever guesses must not learn of a hit.
        for (email, password) in [(email.to_owned(), PASSWORD), (email.to_uppercase(), "wrong password")] {
            let answer = app.login(&email, password).await.problem(429, "rate_limited");
            let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{answer:?}");
            assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=60"));
            assert_eq!(allowance(&answer).0, 0);
            answer.snapshot("too_many_failed_logins");
        }
    }
    let other = app.sign_up().await;
    app.login(&other.email, PASSWORD).await.ok(200);
    app.me(&user.token).await.ok(200);
}

async fn failed_logins_at_once_are_limited(app: &TestApp) {
    let user = app.sign_up().await;
    let answers = join_all((0..20).map(|_| app.login(&user.email, "wrong password"))).await;
    let tried = answers.iter().filter(|answer| answer.status == 401).count();
    assert_eq!(tried, 3, "{answers:?}");
    assert!(answers.iter().all(|answer| matches!(answer.status, 401 | 429)), "{answers:?}");
}

async fn logins_that_succeed_are_not_counted(app: &TestApp) {
    let user = app.sign_up().await;
    for _ in 0..10 {
        app.login(&user.email, PASSWORD).await.ok(200);
    }
    app.login(&user.email, "wrong password").await.problem(401, "invalid_credentials");
    app.login(&user.email, PASSWORD).await.ok(200);
}

async fn nothing_is_limited_where_limits_are_off(app: &TestApp) {
    for _ in 0..20 {
        app.login("nobody@example.org", "wrong password").await.problem(401, "invalid_credentials");
    }
    assert_eq!(app.get("/api/movies").send().await.ok(200).header("ratelimit"), None);
}
