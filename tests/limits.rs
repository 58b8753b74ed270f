//! How often something may be asked.

use futures::future::join_all;
use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestApp};

on_both_stores!(
    requests_of_an_address_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    requests_are_counted_for_each_caller with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    addresses_that_anybody_claims_are_not_believed with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    addresses_that_a_trusted_proxy_tells_are_believed
        with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5", "TRUSTED_PROXIES" = "127.0.0.1"],
    requests_of_an_ipv6_64_are_limited_together
        with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5", "TRUSTED_PROXIES" = "::ffff:127.0.0.0/104"],
    failed_logins_of_an_ipv6_64_are_limited_together with
        ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3", "TRUSTED_PROXIES" = "::ffff:127.0.0.1"],
    sign_ups_of_an_address_are_limited
        with ["RATE_LIMIT" = "on", "SIGN_UPS_PER_HOUR" = "3", "TRUSTED_PROXIES" = "127.0.0.1"],
    proxy_that_is_not_trusted_is_a_warning,
    proxy_that_sets_another_header_is_a_warning with ["TRUSTED_PROXIES" = "127.0.0.0/8"],
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

async fn requests_of_an_ipv6_64_are_limited_together(app: &TestApp) {
    let from = |address: String| app.get("/api/movies").header("x-forwarded-for", address).send();
    let last = std::cell::Cell::new(0);
    use_up_five(async || {
        last.set(last.get() + 1);
        from(format!("2001:db8:0:1:{}::{}", last.get(), last.get())).await
    })
    .await;
    from("2001:db8:0:2::1".to_owned()).await.ok(200);
    // An IPv4 address is the same one in IPv6.
    use_up_five(async || from("192.0.2.1".to_owned()).await).await;
    refused(from("::ffff:192.0.2.1".to_owned()).await);
    refused(from("[::ffff:c000:201]:4711".to_owned()).await);
}

/// Logs in from an address that the trusted proxy of the case tells.
async fn login_from(app: &TestApp, address: &str, email: &str, password: &str) -> Answer {
    let body = json!({ "email": email, "password": password });
    app.post("/api/auth/login").header("x-forwarded-for", address).json(&body).send().await
}

async fn failed_logins_of_an_ipv6_64_are_limited_together(app: &TestApp) {
    let user = app.sign_up().await;
    for last in 1..=3 {
        let address = format!("2001:db8:0:1::{last}");
        login_from(app, &address, &user.email, "wrong password").await.problem(401, "invalid_credentials");
    }
    let refused = login_from(app, "2001:db8:0:1:ffff::", &user.email, "wrong password").await;
    refused.problem(429, "rate_limited");
    let other = login_from(app, "2001:db8:0:2::1", &user.email, "wrong password").await;
    other.problem(401, "invalid_credentials");
    // The same limit for a password that is asked for again.
    let change = json!({ "password": "another password", "current_password": PASSWORD });
    let call = app.call(reqwest::Method::PATCH, "/api/me").by(&user).header("x-forwarded-for", "2001:db8:0:1::9");
    call.json(&change).send().await.problem(429, "rate_limited");
}

async fn sign_ups_of_an_address_are_limited(app: &TestApp) {
    let register = |address: &str, email: &str, name: &str| {
        let body = json!({ "name": name, "email": email, "password": PASSWORD });
        app.post("/api/auth/register").header("x-forwarded-for", address).json(&body).send()
    };
    let (one, another) = ("2001:db8:0:1::1", "2001:db8:0:1:f::2");
    register(one, "a@example.org", "Ana").await.ok(201);
    // A mistake in the form is not counted; a taken address is.
    register(one, "b@example.org", "").await.problem(400, "validation_failed");
    register(another, "a@example.org", "Ana").await.problem(409, "email_taken");
    register(another, "b@example.org", "Ana").await.ok(201);
    for (address, email) in [(one, "c@example.org"), (another, "a@example.org")] {
        let refused = register(address, email, "Ana").await.problem(429, "too_many_sign_ups");
        let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait), "{refused:?}");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"default\";q=3;w=3600"));
        refused.snapshot("too_many_sign_ups");
    }
    assert_eq!(app.rows("users").await, 2);
    register("2001:db8:0:2::1", "c@example.org", "Ana").await.ok(201);
    login_from(app, one, "a@example.org", PASSWORD).await.ok(200);
}

/// What `/readyz` warns of.
async fn warnings(app: &TestApp) -> Vec<String> {
    let ready = app.get("/readyz").send().await.ok(200).json();
    assert_eq!(ready["status"], "ok", "{ready}");
    serde_json::from_value(ready["warnings"].clone()).unwrap()
}

async fn proxy_that_is_not_trusted_is_a_warning(app: &TestApp) {
    app.get("/api/movies").send().await.ok(200);
    assert_eq!(warnings(app).await, Vec::<String>::new());
    for (name, value) in [("x-forwarded-for", "198.51.100.7"), ("forwarded", "for=198.51.100.7"), ("x-real-ip", "::1")]
    {
        app.get("/api/movies").header(name, value).send().await.ok(200);
        let warnings = warnings(app).await;
        assert!(warnings.len() == 1 && warnings[0].contains("add 127.0.0.1 to TRUSTED_PROXIES"), "{warnings:?}");
    }
}

async fn proxy_that_sets_another_header_is_a_warning(app: &TestApp) {
    app.get("/api/movies").header("x-forwarded-for", "198.51.100.7").send().await.ok(200);
    assert_eq!(warnings(app).await, Vec::<String>::new());
    app.get("/api/movies").header("x-real-ip", "198.51.100.7").send().await.ok(200);
    let warnings = warnings(app).await;
    assert!(warnings.len() == 1 && warnings[0].contains("let it set X-Forwarded-For"), "{warnings:?}");
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
