//! `/metrics`: the format is valid, events move the right series, and no client can add series.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use api_actix::telemetry::metrics::CONTENT_TYPE;
use futures::future::join_all;
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::json;

use crate::harness::{NOBODY, PASSWORD, TestApp, User};

on_both_stores!(
    every_series_exists_before_the_first_event,
    each_outcome_of_a_booking_moves_its_count,
    requests_are_counted_by_route_and_status,
    no_request_creates_a_series,
    disconnected_callers_are_no_longer_in_flight,
    metrics_need_no_token_and_are_not_cached,
);

mod on_postgres_alone {
    use super::*;

    on_postgres_without_pooler!(metrics_report_an_unreachable_database);
}

/// A series: its name with its labels, as written in the text.
type Series = String;

/// A response of `/metrics`, parsed by the rules of OpenMetrics.
#[derive(Clone, Debug)]
pub struct Scrape {
    /// The type of each family.
    pub types: BTreeMap<String, String>,
    /// The value of each series.
    pub samples: BTreeMap<Series, f64>,
}

impl Scrape {
    /// Parses a text strictly: every family is described before its samples and is contiguous, no series is repeated, buckets only grow,
    /// and the end marker is present.
    #[track_caller]
    pub fn parse(text: &str) -> Self {
        let body = text.strip_suffix("# EOF\n").unwrap_or_else(|| panic!("no end: {text}"));
        let (mut types, mut samples) = (BTreeMap::new(), BTreeMap::new());
        let mut helped = BTreeSet::new();
        let mut family = String::new();
        for line in body.lines() {
            if let Some(help) = line.strip_prefix("# HELP ") {
                let (name, help) = help.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(helped.insert(name.to_owned()), "described twice: {line}");
                assert!(help.ends_with('.') && !help.ends_with(".."), "{line}");
                continue;
            }
            if let Some(kind) = line.strip_prefix("# TYPE ") {
                let (name, kind) = kind.split_once(' ').unwrap_or_else(|| panic!("{line}"));
                assert!(matches!(kind, "counter" | "gauge" | "histogram" | "info"), "{line}");
                assert!(helped.contains(name), "not described: {line}");
                assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "twice: {line}");
                family = name.to_owned();
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
            let (name, labels) = split_series(series);
            let suffixes: &[&str] = match types.get(&family).map(String::as_str) {
                Some("counter") => &["_total"],
                Some("histogram") => &["_bucket", "_sum", "_count"],
                Some("info") => &["_info"],
                _ => &[""],
            };
            let suffix = name.strip_prefix(family.as_str());
            assert!(suffix.is_some_and(|suffix| suffixes.contains(&suffix)), "{line} is not of {family}");
            assert_eq!(labels.contains_key("le"), suffix == Some("_bucket"), "{line}");
            assert!(samples.insert(series.to_owned(), value).is_none(), "twice: {line}");
        }
        let scrape = Self { types, samples };
        scrape.check_histograms();
        scrape
    }

    /// Checks that the buckets of each histogram never decrease, and that the last one equals the count.
    #[track_caller]
    fn check_histograms(&self) {
        let mut rows: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
        for (series, value) in &self.samples {
            let (name, mut labels) = split_series(series);
            let Some(bound) = labels.remove("le") else { continue };
            let row = format!("{} {labels:?}", name.strip_suffix("_bucket").unwrap());
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap() };
            rows.entry(row).or_default().push((bound, *value));
        }
        for (row, mut buckets) in rows {
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{row}: {buckets:?}");
            assert_eq!(buckets.last().unwrap().0, f64::INFINITY, "{row}");
        }
    }

    /// Returns the value of a series. Panics if it does not exist.
    #[track_caller]
    pub fn value(&self, series: &str) -> f64 {
        *self.samples.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.samples))
    }

    /// Returns the number of requests counted with these labels.
    pub fn requests(&self, method: &str, route: &str, status: u16) -> f64 {
        let labels = format!("{{method=\"{method}\",route=\"{route}\",status=\"{status}\"}}");
        self.samples.get(&format!("http_request_duration_seconds_count{labels}")).copied().unwrap_or_default()
    }

    fn outcome(&self, outcome: &str) -> f64 {
        self.value(&format!("booking_commands_total{{action=\"book\",outcome=\"{outcome}\"}}"))
    }

    fn names(&self) -> BTreeSet<Series> {
        self.samples.keys().cloned().collect()
    }
}

/// Splits a series into its name and labels.
#[track_caller]
fn split_series(series: &str) -> (&str, BTreeMap<String, String>) {
    let is_name =
        |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    let Some((name, labels)) = series.split_once('{') else {
        assert!(is_name(series), "{series}");
        return (series, BTreeMap::new());
    };
    let labels = labels.strip_suffix('}').unwrap_or_else(|| panic!("{series}"));
    // None of our label values contains a quote or a comma.
    let label = |label: &str| {
        let (name, value) = label.split_once('=').unwrap_or_else(|| panic!("{series}"));
        let value = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        let value = value.filter(|value| !value.contains(['"', '\\'])).unwrap_or_else(|| panic!("{series}"));
        assert!(is_name(name), "{series}");
        (name.to_owned(), value.to_owned())
    };
    assert!(is_name(name), "{series}");
    (name, labels.split(',').map(label).collect())
}

async fn scrape(app: &TestApp) -> Scrape {
    let answer = app.get("/metrics").send().await.ok(200);
    assert_eq!(answer.header("content-type"), Some(CONTENT_TYPE));
    Scrape::parse(answer.text())
}

const OUTCOMES: [&str; 8] = [
    "conflict",
    "done",
    "outcome_unknown",
    "overloaded",
    "refused",
    "replayed_from_cache",
    "replayed_from_store",
    "unavailable",
];

async fn every_series_exists_before_the_first_event(app: &TestApp) {
    let scrape = scrape(app).await;
    for outcome in OUTCOMES {
        assert_eq!(scrape.outcome(outcome), 0.0, "{outcome}");
    }
    for reason in ["stale", "unknown_outcome"] {
        assert_eq!(scrape.value(&format!("booking_reruns_total{{reason=\"{reason}\"}}")), 0.0);
    }
    let idle = ["booking_queue_length", "password_hashing_waiting", "password_hashing_running"];
    idle.iter().for_each(|gauge| assert_eq!(scrape.value(gauge), 0.0, "{gauge}"));
    for histogram in ["booking_queue_wait_seconds", "booking_batch_size"] {
        assert_eq!(scrape.value(&format!("{histogram}_count")), 0.0);
    }
    // The scrape itself is in flight.
    assert_eq!(scrape.value("http_requests_in_flight"), 1.0);
    let pools: &[&str] = if app.is_on_postgres() { &["postgresql"] } else { &["sqlite_readers", "sqlite_writer"] };
    for pool in pools {
        assert!(scrape.value(&format!("pool_connections_max{{pool=\"{pool}\"}}")) >= 1.0);
        assert_eq!(scrape.value(&format!("pool_connections_in_use{{pool=\"{pool}\"}}")), 0.0);
        assert_eq!(scrape.value(&format!("pool_waiting{{pool=\"{pool}\"}}")), 0.0);
    }
    assert!(scrape.samples.keys().any(|series| series.starts_with("build_info{version=\"")));
    assert!(scrape.value("process_start_time_seconds") > 1.7e9);
    if cfg!(target_os = "linux") {
        assert!(scrape.value("process_resident_memory_bytes") > 1e6);
        assert!(scrape.value("process_cpu_seconds_total") >= 0.0);
        assert!(scrape.value("process_open_fds") > 3.0);
    }
    assert!(!scrape.types.keys().any(|name| name.starts_with("redis")), "there is no Redis");
}

fn seat(app: &TestApp, at: usize) -> serde_json::Value {
    json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 })
}

async fn each_outcome_of_a_booking_moves_its_count(app: &TestApp) {
    let (ana, bo) = (app.sign_up().await, app.sign_up().await);
    app.book(&ana, "first", &seat(app, 0)).await.ok(201);
    app.book(&ana, "second", &seat(app, 1)).await.ok(201);
    app.book(&ana, "first", &seat(app, 0)).await.ok(201);
    for key in ["one", "two", "three"] {
        app.book(&bo, key, &seat(app, 0)).await.problem(409, "seat_unavailable");
    }
    app.book(&ana, "first", &seat(app, 2)).await.problem(422, "idempotency_key_reused");
    let nowhere = json!({ "show_id": NOBODY, "seat_id": 1 });
    app.book(&ana, "nowhere", &nowhere).await.problem(404, "show_not_found");
    // Refused before it becomes a booking command, so it is not counted.
    app.book(&ana, "bad", &json!({})).await.problem(400, "validation_failed");
    let scrape = scrape(app).await;
    let expected = [("done", 2.0), ("replayed_from_cache", 1.0), ("conflict", 3.0), ("refused", 2.0)];
    for outcome in OUTCOMES {
        let count = expected.iter().find(|(name, _)| *name == outcome).map_or(0.0, |(_, count)| *count);
        assert_eq!(scrape.outcome(outcome), count, "{outcome}");
    }
    // The replay did not enter the queue.
    assert_eq!(scrape.value("booking_queue_wait_seconds_count"), 7.0);
    assert_eq!(scrape.value("booking_batch_size_sum"), 7.0);
    assert_eq!(scrape.value("booking_queue_length"), 0.0);
}

async fn requests_are_counted_by_route_and_status(app: &TestApp) {
    let show = app.world.soon;
    for id in [show.0, show.0, NOBODY] {
        app.get(&format!("/api/shows/{id}")).send().await;
    }
    app.get(&format!("/api/shows/{show}/seats?x=1")).send().await.ok(200);
    app.call(Method::HEAD, "/api/movies").send().await.ok(200);
    app.call(Method::DELETE, "/api/movies").send().await.problem(405, "method_not_allowed");
    app.get("/api/movies?limit=0").send().await.problem(400, "validation_failed");
    app.post("/api/auth/login").json(&json!({})).send().await.problem(400, "validation_failed");
    app.get("/docs/index.html").send().await.ok(200);
    let scrape = scrape(app).await;
    let expected = [
        ("GET", "/api/shows/{show_id}", 200, 2.0),
        ("GET", "/api/shows/{show_id}", 404, 1.0),
        ("GET", "/api/shows/{show_id}/seats", 200, 1.0),
        ("HEAD", "/api/movies", 200, 1.0),
        ("DELETE", "/api/movies", 405, 1.0),
        ("GET", "/api/movies", 400, 1.0),
        ("POST", "/api/auth/login", 400, 1.0),
        ("GET", "/docs/{file:.*}", 200, 1.0),
        ("GET", "/metrics", 200, 0.0),
    ];
    for (method, route, status, count) in expected {
        assert_eq!(scrape.requests(method, route, status), count, "{method} {route} {status}");
    }
    let labels = "method=\"GET\",route=\"/api/shows/{show_id}\",status=\"200\"";
    let bucket = |bound: &str| {
        let series = format!("http_request_duration_seconds_bucket{{le=\"{bound}\",{labels}}}");
        scrape.value(&series)
    };
    assert_eq!(bucket("+Inf"), 2.0);
    let sum = scrape.value(&format!("http_request_duration_seconds_sum{{{labels}}}"));
    assert!(sum > 0.0 && sum < 60.0, "{sum}");
}

/// Values that only one client sends (tokens, addresses, ids, paths, methods) create no series.
async fn no_request_creates_a_series(app: &TestApp) {
    app.connect_directly("nginx refuses methods with digits");
    let user = app.sign_up().await;
    let round = async |from: usize, count: usize| {
        for at in from..from + count {
            let odd = Method::from_bytes(format!("BREW{at}").as_bytes()).unwrap();
            let calls = [
                app.get(&format!("/nothing-{at}")),
                app.get(&format!("/api/nothing/{at}/here")),
                app.get(&format!("/api/shows/{}", 1_000_000 + at)),
                app.get(&format!("/api/shows/{at}x")),
                app.get(&format!("/api/movies?search=word{at}")),
                app.get("/api/me").token(&format!("{}{at}", user.token)),
                app.call(odd.clone(), "/api/movies"),
                app.call(odd, &format!("/nothing-{at}")),
            ];
            join_all(calls.map(crate::harness::Call::send)).await;
        }
        scrape(app).await
    };
    // The first scrape adds the series of `/metrics` itself, so its names are not compared.
    round(0, 1).await;
    let before = round(1, 1).await;
    let after = round(2, 200).await;
    assert_eq!(after.names().symmetric_difference(&before.names()).collect::<Vec<_>>(), Vec::<&String>::new());
    let labels: BTreeSet<_> = after
        .samples
        .keys()
        .map(|series| split_series(series).1)
        .filter_map(|mut labels| Some((labels.remove("method")?, labels.remove("route")?, labels.remove("status")?)))
        .collect();
    let label = |method: &str, route: &str, status: &str| (method.to_owned(), route.to_owned(), status.to_owned());
    assert!(labels.contains(&label("GET", "(none)", "404")), "{labels:?}");
    assert!(labels.contains(&label("other", "/api/movies", "405")), "{labels:?}");
    assert!(labels.contains(&label("other", "(none)", "404")), "{labels:?}");
    assert_eq!(after.requests("GET", "/api/shows/{show_id}", 404), 202.0);
}

/// Waits until the metrics meet a condition.
async fn until(app: &TestApp, is_so: impl Fn(&Scrape) -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let scrape = scrape(app).await;
        if is_so(&scrape) {
            return;
        }
        assert!(Instant::now() < deadline, "{scrape:#?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Password hashing is slow, so many requests wait and are in flight. Then their clients disconnect.
async fn disconnected_callers_are_no_longer_in_flight(app: &TestApp) {
    let hashing =
        |scrape: &Scrape| ["waiting", "running"].map(|what| scrape.value(&format!("password_hashing_{what}")));
    let body = |at: usize| json!({ "name": "Eve", "email": format!("eve{at}@example.org"), "password": PASSWORD });
    let calls: Vec<_> = (0..30).map(|at| tokio::spawn(app.post("/api/auth/register").json(&body(at)).send())).collect();
    until(app, |scrape| scrape.value("http_requests_in_flight") >= 6.0 && hashing(scrape).iter().all(|it| *it >= 1.0))
        .await;
    for call in calls {
        call.abort();
    }
    until(app, |scrape| scrape.value("http_requests_in_flight") == 1.0 && hashing(scrape) == [0.0, 0.0]).await;
}

async fn metrics_need_no_token_and_are_not_cached(app: &TestApp) {
    let answer = app.get("/metrics").send().await.ok(200);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let head = app.call(Method::HEAD, "/metrics").send().await.ok(200);
    assert!(head.bytes.is_empty() && head.header("content-type") == Some(CONTENT_TYPE), "{head:?}");
    app.post("/metrics").send().await.problem(405, "method_not_allowed");
    let user = app.sign_up().await;
    app.book(&user, "a-key-of-mine", &seat(app, 0)).await.ok(201);
    let text = app.get("/metrics").send().await.ok(200).text().to_owned();
    for secret in [&user.token, &user.email, "a-key-of-mine", "example.org"] {
        assert!(!text.contains(secret), "{secret} is in the metrics");
    }
}

async fn metrics_report_an_unreachable_database(app: &TestApp) {
    let user = app.sign_up().await;
    let refused = async |user: &User, key: &str| app.book(user, key, &seat(app, 0)).await.problem(503, "unavailable");
    app.backend.break_backend().await;
    refused(&user, "one").await;
    refused(&user, "two").await;
    app.get("/api/movies").send().await.problem(503, "unavailable");
    let broken = scrape(app).await;
    assert_eq!(broken.outcome("unavailable"), 2.0);
    assert_eq!(broken.requests("POST", "/api/bookings", 503), 2.0);
    assert_eq!(broken.requests("GET", "/api/movies", 503), 1.0);
    app.backend.database().bring_up().await.unwrap();
    app.book(&user, "one", &seat(app, 0)).await.ok(201);
    assert_eq!(scrape(app).await.outcome("done"), 1.0);
    assert_eq!(scrape(app).await.value("pool_connections_in_use{pool=\"postgresql\"}"), 0.0);
}
