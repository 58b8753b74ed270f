//! Rate limits.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use crate::harness::{Answer, PASSWORD, TestApp, User};

on_both_stores!(
    requests_of_an_address_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    every_spelling_of_a_path_is_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    pages_and_metrics_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    requests_are_counted_for_each_caller with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    forwarded_addresses_from_untrusted_peers_are_ignored with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5"],
    forwarded_addresses_from_a_trusted_proxy_are_used
        with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5", "TRUSTED_PROXIES" = "127.0.0.1"],
    requests_of_an_ipv6_64_are_limited_together
        with ["RATE_LIMIT" = "on", "RATE_LIMIT_PER_MINUTE" = "5", "TRUSTED_PROXIES" = "::ffff:127.0.0.0/104"],
    failed_logins_of_an_ipv6_64_are_limited_together with
        ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3", "TRUSTED_PROXIES" = "::ffff:127.0.0.1"],
    sign_ups_of_an_address_are_limited
        with ["RATE_LIMIT" = "on", "SIGN_UPS_PER_HOUR" = "3", "TRUSTED_PROXIES" = "127.0.0.1"],
    untrusted_proxy_is_a_warning,
    proxy_that_sets_another_header_is_a_warning with ["TRUSTED_PROXIES" = "127.0.0.0/8"],
    guesses_from_many_addresses_are_limited_for_each_account with
        ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3", "TRUSTED_PROXIES" = "127.0.0.1"],
    guesses_at_many_accounts_are_limited_for_each_address with
        ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3", "TRUSTED_PROXIES" = "127.0.0.1"],
    guesses_do_not_lock_a_session_out with
        ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3", "TRUSTED_PROXIES" = "127.0.0.1"],
    login_flood_does_not_starve_an_honest_login with [
        "RATE_LIMIT" = "on",
        "RATE_LIMIT_PER_MINUTE" = "1000000",
        "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "1000000",
        "TRUSTED_PROXIES" = "127.0.0.1"
    ],
    failed_logins_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    concurrent_failed_logins_are_limited with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    logins_that_succeed_are_not_counted with ["RATE_LIMIT" = "on", "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE" = "3"],
    nothing_is_limited_if_limits_are_off,
);

/// Returns the remaining tries and the seconds until they are renewed.
fn allowance(answer: &Answer) -> (u64, u64) {
    let text = answer.header("ratelimit").unwrap_or_else(|| panic!("{answer:?}"));
    let numbers = text.strip_prefix("\"default\";r=").and_then(|rest| rest.split_once(";t="));
    let (remaining, seconds) = numbers.unwrap_or_else(|| panic!("{text}"));
    (remaining.parse().unwrap(), seconds.parse().unwrap())
}

/// Uses up the five requests of a minute with `call`, and checks that the sixth is refused.
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
    app.connect_directly("proxies may change how a path is spelled");
    use_up_five(async || app.get("/api/movies").send().await).await;
    app.get("/api/shows").send().await.problem(429, "rate_limited").snapshot("rate_limited");
    // An invalid token is counted as the address.
    refused(app.me("nonsense").await);
    refused(app.get("/api/nothing").send().await);
    for path in ["/", "/docs/", "/docs/swagger-ui.css", "/metrics", "/nothing", "/%61pi/movies", "//api/movies"] {
        refused(app.get(path).send().await);
    }
    // Health checks are never limited.
    for path in ["/healthz", "/readyz"] {
        let answer = app.get(path).send().await.ok(200);
        assert_eq!(answer.header("ratelimit"), None, "{path}");
    }
}

/// Every spelling of a path counts, and none reaches a handler by an alternative spelling.
async fn every_spelling_of_a_path_is_limited(app: &TestApp) {
    app.connect_directly("proxies may change how a path is spelled");
    let before = app.rows("users").await;
    use_up_five(async || app.get("/%61pi/movies").send().await).await;
    let new = json!({ "name": "Ana", "email": "ana@example.org", "password": PASSWORD });
    for path in ["/%61pi/auth/register", "//api/auth/register", "/api/auth/regist%65r", "/api/auth/register"] {
        refused(app.post(path).json(&new).send().await);
    }
    assert_eq!(app.rows("users").await, before);
}

/// Pages and metrics count as well, because they cost more than most calls.
async fn pages_and_metrics_are_limited(app: &TestApp) {
    let mut paths = ["/docs/", "/metrics", "/", "/docs/index.css", "/docs"].into_iter().cycle();
    let mut next = || paths.next().unwrap();
    for _ in 0..5 {
        let answer = app.get(next()).send().await;
        assert!(matches!(answer.status, 200 | 301 | 302), "{answer:?}");
    }
    refused(app.get(next()).send().await);
}

async fn requests_are_counted_for_each_caller(app: &TestApp) {
    let (one, other) = (app.sign_up().await, app.sign_up().await);
    use_up_five(async || app.get("/api/bookings").by(&one).send().await).await;
    app.get("/api/bookings").by(&other).send().await.ok(200);
    let anonymous = app.get("/api/movies").send().await.ok(200);
    assert_eq!(allowance(&anonymous).0, 2, "two sign-ups and this one came from the address");
    // Error responses carry the limits too.
    let missing = app.get("/api/bookings/1").by(&other).send().await.problem(404, "booking_not_found");
    assert_eq!(allowance(&missing).0, 3);
}

async fn forwarded_addresses_from_untrusted_peers_are_ignored(app: &TestApp) {
    for number in 0..5 {
        app.get("/api/movies").header("x-forwarded-for", format!("192.0.2.{number}")).send().await.ok(200);
    }
    refused(app.get("/api/movies").header("x-forwarded-for", "192.0.2.99").send().await);
}

async fn forwarded_addresses_from_a_trusted_proxy_are_used(app: &TestApp) {
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
    // An IPv4 address and its IPv6-mapped form are the same address.
    use_up_five(async || from("192.0.2.1".to_owned()).await).await;
    refused(from("::ffff:192.0.2.1".to_owned()).await);
    refused(from("[::ffff:c000:201]:4711".to_owned()).await);
}

/// Logs in from an address that the case's trusted proxy reports.
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
    // The password confirmation of a change has the same limit.
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
    // An invalid form is not counted. A taken address is.
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

/// Returns the warnings of `/readyz`.
async fn warnings(app: &TestApp) -> Vec<String> {
    let ready = app.get("/readyz").send().await.ok(200).json();
    assert_eq!(ready["status"], "ok", "{ready}");
    serde_json::from_value(ready["warnings"].clone()).unwrap()
}

async fn untrusted_proxy_is_a_warning(app: &TestApp) {
    app.connect_directly("the case is the proxy");
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
    app.connect_directly("the case is the proxy");
    app.get("/api/movies").header("x-forwarded-for", "198.51.100.7").send().await.ok(200);
    assert_eq!(warnings(app).await, Vec::<String>::new());
    app.get("/api/movies").header("x-real-ip", "198.51.100.7").send().await.ok(200);
    let warnings = warnings(app).await;
    assert!(warnings.len() == 1 && warnings[0].contains("let it set X-Forwarded-For"), "{warnings:?}");
}

/// Signs up from an address that the case's trusted proxy reports.
async fn register_from(app: &TestApp, address: &str, email: &str) -> User {
    let body = json!({ "name": "Ana", "email": email, "password": PASSWORD });
    app.post("/api/auth/register").header("x-forwarded-for", address).json(&body).send().await.user()
}

async fn guesses_from_many_addresses_are_limited_for_each_account(app: &TestApp) {
    let known = register_from(app, "203.0.113.5", "ana@example.org").await;
    // Unknown accounts are limited in the same way.
    for email in [known.email.as_str(), "nobody@example.org"] {
        for number in 0..9 {
            let address = format!("198.51.{number}.1");
            login_from(app, &address, email, "wrong password").await.problem(401, "invalid_credentials");
        }
        for password in ["wrong password", PASSWORD] {
            let refused = login_from(app, "198.51.100.1", email, password).await.problem(429, "rate_limited");
            let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=60).contains(&wait), "{refused:?}");
            refused.snapshot("too_many_failed_logins_of_an_account");
        }
    }
    // Other accounts are not limited at these addresses, nor is the owner at an address that used the account before.
    let other = register_from(app, "198.51.0.1", "eve@example.org").await;
    login_from(app, "198.51.1.1", &other.email, PASSWORD).await.ok(200);
    for address in ["203.0.113.5", "203.0.113.77"] {
        login_from(app, address, &known.email, PASSWORD).await.ok(200);
    }
    // That network has its own limit as well.
    for _ in 0..3 {
        login_from(app, "203.0.113.5", &known.email, "wrong password").await.problem(401, "invalid_credentials");
    }
    login_from(app, "203.0.113.5", &known.email, PASSWORD).await.problem(429, "rate_limited");
    // Continuing a session marks its network as known.
    let moved = json!({ "refresh_token": known.refresh_token });
    let call = app.post("/api/auth/refresh").header("x-forwarded-for", "192.0.2.9");
    call.json(&moved).send().await.ok(200);
    login_from(app, "192.0.2.10", &known.email, PASSWORD).await.ok(200);
}

async fn guesses_at_many_accounts_are_limited_for_each_address(app: &TestApp) {
    let known = register_from(app, "2001:db8:0:1::5", "ana@example.org").await;
    let stranger = register_from(app, "203.0.113.5", "eve@example.org").await;
    for number in 0..15 {
        let (address, email) = (format!("2001:db8:0:1::{number}"), format!("a{number}@example.org"));
        login_from(app, &address, &email, "wrong password").await.problem(401, "invalid_credentials");
    }
    for email in ["a99@example.org", stranger.email.as_str()] {
        let refused = login_from(app, "2001:db8:0:1::99", email, PASSWORD).await;
        refused.problem(429, "rate_limited");
    }
    login_from(app, "2001:db8:0:1::99", &known.email, PASSWORD).await.ok(200);
    login_from(app, "2001:db8:0:2::1", &stranger.email, PASSWORD).await.ok(200);
}

async fn guesses_do_not_lock_a_session_out(app: &TestApp) {
    let user = register_from(app, "203.0.113.5", "ana@example.org").await;
    for number in 0..9 {
        let address = format!("198.51.{number}.1");
        login_from(app, &address, &user.email, "wrong password").await.problem(401, "invalid_credentials");
    }
    login_from(app, "192.0.2.1", &user.email, PASSWORD).await.problem(429, "rate_limited");
    // The owner is logged in and at a new address.
    let change = |address: &str, current: &str| {
        let body = json!({ "email": "ana.costa@example.org", "current_password": current });
        app.call(reqwest::Method::PATCH, "/api/me").by(&user).header("x-forwarded-for", address).json(&body).send()
    };
    change("192.0.2.1", PASSWORD).await.ok(200);
    // A stolen token allows no more guesses than a login, from any number of addresses.
    let mut body = json!({ "email": "eve@example.org" });
    body["current_password"] = "wrong password".into();
    let mut statuses = Vec::new();
    for number in 0..10 {
        let call = app.call(reqwest::Method::PATCH, "/api/me").by(&user);
        let call = call.header("x-forwarded-for", format!("198.51.100.{number}")).json(&body);
        statuses.push(call.send().await.status);
    }
    assert_eq!(statuses, [&[403; 9][..], &[429]].concat());
}

/// A hundred clients at four addresses send failing logins as fast as they can, and one at a fifth address logs in now and then.
async fn login_flood_does_not_starve_an_honest_login(app: &TestApp) {
    const CLIENTS: usize = 100;
    const LOGINS: usize = 10;
    let user = register_from(app, "203.0.113.5", "ana@example.org").await;
    let over = AtomicBool::new(false);
    let (failed, refused) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let flood = join_all((0..CLIENTS).map(async |client| {
        let (address, email) = (format!("198.51.100.{}", client % 4), format!("a{client}@example.org"));
        while !over.load(Ordering::Relaxed) {
            let answer = login_from(app, &address, &email, "wrong password").await;
            if answer.status == 503 {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                refused.fetch_add(1, Ordering::Relaxed);
                // More clients than places in the queue keep it full.
                tokio::time::sleep(Duration::from_millis(20)).await;
            } else {
                answer.problem(401, "invalid_credentials");
                failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }));
    let honest = async {
        // Wait until the queue is full.
        while refused.load(Ordering::Relaxed) < CLIENTS {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut succeeded = 0;
        for _ in 0..LOGINS {
            let answer = login_from(app, "203.0.113.5", &user.email, PASSWORD).await;
            succeeded += usize::from(answer.status == 200);
        }
        over.store(true, Ordering::Relaxed);
        succeeded
    };
    let (_, succeeded) = futures::join!(flood, honest);
    assert_eq!(succeeded, LOGINS, "{failed:?} failed, {refused:?} refused");
    assert!(failed.load(Ordering::Relaxed) > 0);
}

async fn failed_logins_are_limited(app: &TestApp) {
    let user = app.sign_up().await;
    for email in [user.email.as_str(), "nobody@example.org"] {
        for _ in 0..3 {
            app.login(email, "wrong password").await.problem(401, "invalid_credentials");
        }
        // In any spelling of the address, and with the right password too: a guesser must not learn of a hit.
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

async fn concurrent_failed_logins_are_limited(app: &TestApp) {
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

async fn nothing_is_limited_if_limits_are_off(app: &TestApp) {
    for _ in 0..20 {
        app.login("nobody@example.org", "wrong password").await.problem(401, "invalid_credentials");
    }
    assert_eq!(app.get("/api/movies").send().await.ok(200).header("ratelimit"), None);
}
