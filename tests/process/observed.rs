//! Monitoring: metrics on a separate port, traces exported to a collector, and the same trace ids in the log.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as AnyValue;
use opentelemetry_proto::tonic::common::v1::{AnyValue as Wrapped, KeyValue};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;
use serde_json::{Value, json};

use super::support::{Server, Site};
use crate::metrics::Scrape;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

/// A collector on loopback, which stores what it receives and responds, or never responds.
struct Collector {
    endpoint: String,
    taken: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Collector {
    fn start(answers: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let taken = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&taken);
        // The thread ends with the test program.
        std::thread::spawn(move || {
            for connection in listener.incoming().map_while(Result::ok) {
                let kept = Arc::clone(&kept);
                std::thread::spawn(move || while take(&connection, &kept, answers).is_some() {});
            }
        });
        Self { endpoint, taken }
    }

    /// Returns everything received, unparsed.
    fn bytes(&self) -> Vec<u8> {
        self.taken.lock().unwrap().concat()
    }

    fn requests(&self) -> Vec<ExportTraceServiceRequest> {
        let taken = self.taken.lock().unwrap();
        taken.iter().map(|body| ExportTraceServiceRequest::decode(body.as_slice()).unwrap()).collect()
    }

    fn spans(&self) -> Vec<Span> {
        let scopes = self.requests().into_iter().flat_map(|request| request.resource_spans);
        scopes.flat_map(|of_resource| of_resource.scope_spans).flat_map(|of_scope| of_scope.spans).collect()
    }
}

/// Reads one request of a connection. Returns `None` at its end.
fn take(mut connection: &TcpStream, kept: &Mutex<Vec<Vec<u8>>>, answers: bool) -> Option<()> {
    let mut reader = BufReader::new(connection);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let head = head.to_ascii_lowercase();
    assert!(head.starts_with("post /v1/traces http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\ncontent-type: application/x-protobuf\r\n"), "{head}");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).expect("its length is told");
    let mut body = vec![0; length.parse().unwrap()];
    reader.read_exact(&mut body).ok()?;
    kept.lock().unwrap().push(body);
    if !answers {
        loop {
            std::thread::park();
        }
    }
    connection.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").ok()
}

fn attributes(of: &[KeyValue]) -> BTreeMap<&str, String> {
    let text = |value: &Option<Wrapped>| match value.as_ref().and_then(|value| value.value.as_ref()) {
        Some(AnyValue::StringValue(text)) => text.clone(),
        Some(AnyValue::IntValue(number)) => number.to_string(),
        other => panic!("{other:?}"),
    };
    of.iter().map(|pair| (pair.key.as_str(), text(&pair.value))).collect()
}

fn traced(server: &Server, method: &str, path: &str, sampled: bool) -> reqwest::RequestBuilder {
    let traceparent = format!("00-{TRACE}-{CALLER}-{:02}", u8::from(sampled));
    server.client.request(method, path).header("traceparent", traceparent)
}

fn log_lines(stderr: &str) -> Vec<Value> {
    stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_a_separate_port_if_one_is_set() {
    let server = Site::embedded().with("METRICS_PORT", "0").serve();
    let line = server.greeting.lines().find_map(|line| line.strip_prefix("  metrics         "));
    let metrics = line.unwrap_or_else(|| panic!("{}", server.greeting)).to_owned();
    let base = metrics.strip_suffix("/metrics").unwrap();
    assert_ne!(base, server.client.base);
    server.client.get("/api/movies").await.expect(200);
    assert_eq!(server.client.get("/metrics").await.expect(404)["code"], "not_found");
    let scrape = async || Scrape::parse(&reqwest::get(&metrics).await.unwrap().text().await.unwrap());
    let scraped = scrape().await;
    assert_eq!(scraped.requests("GET", "/api/movies", 200), 1.0);
    assert_eq!(scraped.requests("GET", "(none)", 404), 1.0);
    for (path, status) in [("/healthz", 200), ("/readyz", 404), ("/api/movies", 404), ("/docs/", 404)] {
        assert_eq!(reqwest::get(format!("{base}{path}")).await.unwrap().status().as_u16(), status, "{path}");
    }
    assert_eq!(scrape().await.requests("GET", "/healthz", 200), 1.0);
    let address = base.strip_prefix("http://").unwrap().to_owned();
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn metrics_port_in_use_is_reported_with_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let told = Site::embedded().with("METRICS_PORT", &address.port().to_string()).run(&[], "").failed(1);
    assert!(told.contains(&address.to_string()) && told.contains("Set METRICS_PORT or HOST"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn request_is_a_span_of_its_callers_trace_without_secrets() {
    let collector = Collector::start(true);
    let site = Site::embedded().with("LOG_FORMAT", "json").with("RUST_LOG", "trace");
    let server = site.with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint).serve();
    let (email, password, key) = ("ana.of.the.test@example.org", "S3cret pass-word of ana", "key-that-nobody-may-know");
    let register = json!({"name": "Ana Secret", "email": email, "password": password});
    let signed_in =
        server.client.send(traced(&server, "POST", "/api/auth/register", true).json(&register)).await.expect(201);
    let token = signed_in["token"].as_str().unwrap();
    let show = server.client.shows(1).await[0];
    let (_, seat) = server.client.free_seats(show).await[0];
    let book = traced(&server, "POST", "/api/bookings?of=a-query", true).bearer_auth(token);
    let book = book.header("idempotency-key", key).header("tracestate", "vendor=state-of-the-caller");
    let book = book.header("x-request-id", "an-id-of-the-test");
    server.client.send(book.json(&json!({"show_id": show, "seat_id": seat}))).await.expect(201);
    server.client.send(traced(&server, "GET", "/path-that-nobody-knows", true)).await.expect(404);
    server.client.send(traced(&server, "GET", "/api/movies", false)).await.expect(200);
    server.client.login(email, password).await.expect(200);
    let greeting = server.greeting.clone();
    let ended = server.stop();
    assert_eq!(ended.code, Some(0), "{ended:?}");

    let spans = collector.spans();
    let own = |name: &str| {
        let named =
            spans.iter().filter(|span| span.name == name && hex::encode(&span.trace_id) == TRACE).collect::<Vec<_>>();
        assert_eq!(named.len(), 1, "{name}: {spans:#?}");
        named[0]
    };
    let booked = own("POST /api/bookings");
    assert_eq!(hex::encode(&booked.parent_span_id), CALLER);
    assert_eq!(booked.kind(), opentelemetry_proto::tonic::trace::v1::span::SpanKind::Server);
    let expected =
        [("http.request.method", "POST"), ("http.response.status_code", "201"), ("http.route", "/api/bookings")];
    assert_eq!(attributes(&booked.attributes), expected.map(|(name, value)| (name, value.to_owned())).into());
    assert!(booked.events.is_empty() && booked.links.is_empty() && booked.trace_state.is_empty(), "{booked:?}");
    assert!(booked.start_time_unix_nano < booked.end_time_unix_nano);
    let committed = own("booking.commit");
    assert_eq!(committed.parent_span_id, booked.span_id);
    assert!(committed.attributes.is_empty());
    assert_eq!(own("password.hash").parent_span_id, own("POST /api/auth/register").span_id);
    let nowhere = attributes(&own("GET").attributes).get("http.response.status_code").cloned();
    assert_eq!(nowhere.as_deref(), Some("404"));
    assert!(!spans.iter().any(|span| span.name == "GET /api/movies"), "its caller does not keep it");
    // A request without a trace starts a new one.
    let login = spans.iter().find(|span| span.name == "POST /api/auth/login").unwrap();
    assert!(login.parent_span_id.is_empty() && hex::encode(&login.trace_id) != TRACE, "{login:?}");
    let names = ["movies", "shows", "login", "register", "bookings", "(none)"];
    for span in &spans {
        let known = span.name == "GET" || span.name.contains('.') || names.iter().any(|name| span.name.contains(name));
        assert!(known, "{}", span.name);
    }
    for request in collector.requests() {
        let resource =
            attributes(&request.resource_spans[0].resource.as_ref().unwrap().attributes).get("service.name").cloned();
        assert_eq!(resource.as_deref(), Some("movie-booking"));
    }

    let sent = String::from_utf8_lossy(&collector.bytes()).into_owned();
    assert!(sent.contains("/api/auth/register"));
    let refresh_token = signed_in["refresh_token"].as_str().unwrap();
    let query_and_more = ["a-query", "state-of-the-caller", "an-id-of-the-test", "path-that-nobody-knows", "Ana"];
    for secret in [token, refresh_token, email, password, key].into_iter().chain(query_and_more) {
        assert!(!sent.contains(secret), "{secret} was exported");
    }

    let lines = log_lines(&ended.stderr);
    let line = lines.iter().find(|line| line["request_id"] == "an-id-of-the-test").expect("it is in the log");
    assert_eq!((&line["message"], &line["trace_id"]), (&json!("request.done"), &json!(TRACE)));
    let logged = lines.iter().find(|line| line["route"] == "/api/auth/login").unwrap();
    assert_eq!(logged["trace_id"], hex::encode(&login.trace_id).as_str());
    assert!(!greeting.contains("traces"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_configured_part_of_the_traces_is_exported() {
    let collector = Collector::start(true);
    let site = Site::embedded().with("OTEL_EXPORTER_OTLP_ENDPOINT", &collector.endpoint).with("LOG_FORMAT", "json");
    let server = site.with("OTEL_TRACES_SAMPLER_ARG", "0").with("OTEL_SERVICE_NAME", "box-office").serve();
    for _ in 0..20 {
        server.client.get("/api/movies").await.expect(200);
    }
    // The caller sampled its trace, so the server exports it as well.
    server.client.send(traced(&server, "GET", "/api/theatres", true)).await.expect(200);
    let ended = server.stop();
    let spans = collector.spans();
    assert_eq!(spans.iter().map(|span| span.name.as_str()).collect::<Vec<_>>(), ["GET /api/theatres"]);
    let service = attributes(&collector.requests()[0].resource_spans[0].resource.as_ref().unwrap().attributes)
        .get("service.name")
        .cloned();
    assert_eq!(service.as_deref(), Some("box-office"));
    let ids: std::collections::BTreeSet<_> = log_lines(&ended.stderr)
        .iter()
        .filter(|line| line["message"] == "request.done")
        .map(|line| line["trace_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(ids.len(), 21, "each request has a trace of its own, exported or not");
}

/// This needs no collector. A line without the ids of the request would come from a dependency.
#[tokio::test(flavor = "multi_thread")]
async fn every_log_line_of_a_request_has_its_ids() {
    for format in ["json", "pretty"] {
        let site = Site::embedded().with("LOG_FORMAT", format);
        let server = site.serve();
        std::fs::remove_file(site.path("data/movie-booking.db")).unwrap();
        let request = traced(&server, "GET", "/readyz", true).header("x-request-id", "the\"id\\of-a-test");
        server.client.send(request).await.expect(503);
        let ended = server.stop();
        let of_request: Vec<_> = ended.stderr.lines().filter(|line| line.contains("the\\\"id\\\\of-a-test")).collect();
        let messages = ["dependency.unavailable", "request.done"];
        assert_eq!(of_request.len(), 2, "{}", ended.stderr);
        for (line, message) in of_request.iter().zip(messages) {
            assert!(line.contains(message), "{line}");
            if format == "json" {
                let line: Value = serde_json::from_str(line).unwrap();
                assert_eq!((&line["trace_id"], &line["request_id"]), (&json!(TRACE), &json!("the\"id\\of-a-test")));
            } else {
                assert!(line.ends_with(&format!(" request_id=\"the\\\"id\\\\of-a-test\" trace_id={TRACE}")), "{line}");
            }
        }
    }
}

/// Spans are lost, but nothing else: no request waits, the log has one line about it, and stopping stays within its time limit.
async fn spans_alone_are_lost(endpoint: &str) {
    let site = Site::embedded().with("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint).with("LOG_FORMAT", "json");
    let server = site.with("RATE_LIMIT", "off").serve();
    let began = Instant::now();
    // Twice as many as the export queue holds.
    for _ in 0..90 {
        let round = (0..100).map(|_| server.client.get("/healthz"));
        for answer in futures::future::join_all(round).await {
            answer.expect(200);
        }
    }
    // Long enough for two export attempts.
    while began.elapsed() < Duration::from_secs(11) {
        server.client.get("/healthz").await.expect(200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let told = Instant::now();
    server.signal("TERM");
    let ended = server.ended(Duration::from_secs(10));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(told.elapsed() < Duration::from_secs(4), "{:?}", told.elapsed());
    let lost = log_lines(&ended.stderr).iter().filter(|line| line["message"] == "traces.lost").count();
    assert_eq!(lost, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn unresponsive_collector_loses_only_spans() {
    let collector = Collector::start(false);
    spans_alone_are_lost(&collector.endpoint).await;
    assert!(!collector.bytes().is_empty(), "it was tried");
}

#[tokio::test(flavor = "multi_thread")]
async fn unreachable_collector_loses_only_spans() {
    let gone = TcpListener::bind("127.0.0.1:0").map(|listener| listener.local_addr().unwrap()).unwrap();
    spans_alone_are_lost(&format!("http://{gone}")).await;
}
