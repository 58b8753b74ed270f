//! Connections on raw sockets: request framing, the order of responses, and malformed requests.

use std::time::{Duration, Instant};

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::TestApp;

on_both_stores!(
    pipelined_head_changes_no_other_response,
    a_pipelined_head_keeps_the_body_of_a_booking,
    pipelined_requests_are_answered_in_order,
    requests_may_arrive_in_any_pieces,
    malformed_requests_are_refused_with_a_problem,
    malformed_chunks_end_the_connection,
    expect_100_continue_is_answered,
    upgrade_requests_are_answered_and_the_connection_closed,
    client_that_is_still_sending_reads_the_refusal,
    client_that_sends_extra_bytes_reads_the_response,
    late_requests_are_refused_with_a_problem,
    idle_connections_end_after_keep_alive with ["KEEP_ALIVE" = "1s"],
);

/// A response, read by its framing.
#[derive(Debug)]
struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Response {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    fn is_problem(&self, status: u16, code: &str) {
        assert_eq!((self.status, self.header("content-type")), (status, Some("application/problem+json")), "{self:?}");
        let problem = self.json();
        assert_eq!((&problem["code"], &problem["status"]), (&json!(code), &json!(status)), "{self:?}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        assert!(!problem["detail"].as_str().unwrap().is_empty() && self.header("date").is_some(), "{self:?}");
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
    }
}

/// A client connection that frames the responses and keeps the bytes that follow.
struct Client {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn connect(app: &TestApp) -> Self {
        Self { stream: TcpStream::connect(app.direct()).await.unwrap(), read: Vec::new() }
    }

    async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    async fn more(&mut self) -> bool {
        self.stream.read_buf(&mut self.read).await.unwrap() > 0
    }

    /// Reads the next response, which has no body if the request was HEAD.
    async fn response(&mut self, is_head: bool) -> Response {
        let end = loop {
            if let Some(end) = self.read.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end;
            }
            assert!(self.more().await, "{:?}", String::from_utf8_lossy(&self.read));
        };
        let head = String::from_utf8(self.read.drain(..end + 4).collect()).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let start = lines.next().unwrap();
        assert!(start.starts_with("HTTP/1.1 "), "{start:?}");
        let status = start[9..12].parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let headers: Vec<_> = headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
        let mut response = Response { status, headers, body: Vec::new() };
        let length = response.header("content-length").map_or(0, |length| length.parse().unwrap());
        if !is_head && status >= 200 {
            while self.read.len() < length {
                assert!(self.more().await, "{response:?}");
            }
            response.body = self.read.drain(..length).collect();
        }
        response
    }

    /// Checks that the server closes the connection after everything has been read.
    async fn is_closed(&mut self) {
        assert!(!self.more().await, "{:?}", String::from_utf8_lossy(&self.read));
        assert_eq!(String::from_utf8_lossy(&self.read), "");
    }
}

fn request(method: &str, path: &str) -> String {
    format!("{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n")
}

fn with_body(path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    )
}

async fn pipelined_head_changes_no_other_response(app: &TestApp) {
    let mut client = Client::connect(app).await;
    for _ in 0..8 {
        let (get, head, last) = (request("GET", "/readyz"), request("HEAD", "/healthz"), request("GET", "/healthz"));
        client.send(get + &head + &last).await;
        assert_eq!(client.response(false).await.json()["status"], "ok");
        let head = client.response(true).await;
        assert!((head.status, head.header("content-length").is_some()) == (200, true), "{head:?}");
        assert_eq!(client.response(false).await.json()["status"], "ok");
    }
}

async fn a_pipelined_head_keeps_the_body_of_a_booking(app: &TestApp) {
    let user = app.sign_up().await;
    for at in 0..8 {
        let mut client = Client::connect(app).await;
        let headers = format!("Authorization: Bearer {}\r\nIdempotency-Key: k-{at}\r\n", user.token);
        let body = json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 }).to_string();
        client.send(with_body("/api/bookings", &headers, &body) + &request("HEAD", "/api/movies")).await;
        let booked = client.response(false).await;
        assert_eq!((booked.status, &booked.json()["message"]), (201, &json!("Booking successful!")));
        assert_eq!(client.response(true).await.status, 200);
    }
}

async fn pipelined_requests_are_answered_in_order(app: &TestApp) {
    let mut client = Client::connect(app).await;
    let calls = ["/healthz", "/api/nothing", "/api/movies?limit=1", "/docs/swagger-ui.css", "/api/movies?limit=x"];
    let calls: Vec<_> = calls.into_iter().cycle().take(40).zip(["GET", "HEAD", "GET"].into_iter().cycle()).collect();
    let text: String = calls.iter().map(|(path, method)| request(method, path)).collect();
    client.send(text + "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    for (path, method) in calls {
        let response = client.response(method == "HEAD").await;
        let status = match path {
            "/api/nothing" => 404,
            "/api/movies?limit=x" => 400,
            _ => 200,
        };
        assert_eq!(response.status, status, "{method} {path}");
        assert_eq!(response.body.is_empty(), method == "HEAD", "{method} {path}");
    }
    assert_eq!(client.response(false).await.status, 200);
    client.is_closed().await;
}

async fn requests_may_arrive_in_any_pieces(app: &TestApp) {
    let chunked = "POST /api/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
        Transfer-Encoding: chunked\r\n\r\n11;name=\"va\r\n{\"refresh_token\":\r\n4\r\n\"x\"}\r\n0\r\nTrailer: x\r\n\r\n";
    let text = format!("\r\n{chunked}{}{}", with_body("/api/auth/refresh", "", "{}"), request("GET", "/healthz"));
    let exchange = async |pieces: Vec<&[u8]>| {
        let mut client = Client::connect(app).await;
        client.stream.set_nodelay(true).unwrap();
        for piece in &pieces {
            client.send(piece).await;
            tokio::task::yield_now().await;
        }
        let statuses = [client.response(false).await, client.response(false).await, client.response(false).await];
        assert_eq!(statuses.map(|response| response.status), [401, 400, 200], "{} pieces", pieces.len());
    };
    let bytes = text.as_bytes();
    exchange(bytes.chunks(1).collect()).await;
    let places: Vec<_> = (1..bytes.len()).collect();
    for places in places.chunks(50) {
        join_all(places.iter().map(|&at| exchange(vec![&bytes[..at], &bytes[at..]]))).await;
    }
}

async fn malformed_requests_are_refused_with_a_problem(app: &TestApp) {
    let many = "A: b\r\n".repeat(96);
    let long = "x".repeat(40_000);
    let cases = [
        ("NONSENSE\r\n\r\n".to_owned(), 400, "malformed_request"),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(), 400, "malformed_request"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400, "malformed_request"),
        ("GET /healthz HTTP/1.1\r\n\r\n".to_owned(), 400, "malformed_request"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), 400, "malformed_request"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nContent-Length: 1, 1\r\n\r\nx".to_owned(), 400, "malformed_request"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: gzip\r\n\r\n".to_owned(), 400, "malformed_request"),
        (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\nX: {long}\r\n\r\n"), 431, "headers_too_large"),
        (format!("GET / HTTP/1.1\r\nHost: x\r\n{many}\r\n"), 431, "headers_too_large"),
    ];
    for (text, status, code) in cases {
        // Alone, and after requests that are answered first.
        for before in [0, 2] {
            let mut client = Client::connect(app).await;
            client.send(request("GET", "/readyz").repeat(before) + &text).await;
            for _ in 0..before {
                assert_eq!(client.response(false).await.status, 200);
            }
            client.response(false).await.is_problem(status, code);
            client.is_closed().await;
        }
    }
    let metrics = app.get("/metrics").send().await.ok(200).text().to_owned();
    for (status, count) in [(400, 14), (431, 6)] {
        let line = format!(
            "http_request_duration_seconds_count{{method=\"other\",route=\"(none)\",status=\"{status}\"}} {count}\n"
        );
        assert!(metrics.contains(&line), "{line}{metrics}");
    }
}

async fn malformed_chunks_end_the_connection(app: &TestApp) {
    for chunks in ["x\r\n", "2\r\n{}x\r\n0\r\n\r\n", "2\r\n{}\r\n-1\r\n", "2\n{}\r\n0\r\n\r\n"] {
        let mut client = Client::connect(app).await;
        let head = "POST /api/auth/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n\
            Transfer-Encoding: chunked\r\n\r\n";
        client.send(format!("{head}{chunks}GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")).await;
        client.response(false).await.is_problem(400, "malformed_json");
        client.is_closed().await;
    }
}

async fn expect_100_continue_is_answered(app: &TestApp) {
    let mut client = Client::connect(app).await;
    let whole = with_body("/api/auth/refresh", "Expect: 100-continue\r\n", "{\"refresh_token\":\"x\"}");
    let (head, body) = whole.split_once("\r\n\r\n").unwrap();
    client.send(format!("{head}\r\n\r\n")).await;
    assert_eq!(client.response(false).await.status, 100);
    client.send(body.to_owned() + &request("GET", "/healthz")).await;
    assert_eq!(client.response(false).await.status, 401);
    assert_eq!(client.response(false).await.status, 200);
}

async fn upgrade_requests_are_answered_and_the_connection_closed(app: &TestApp) {
    // The bytes that follow are not HTTP: they are not read as a request, and the connection ends.
    for (start, status) in [
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 200),
        ("POST /api/auth/login HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n", 415),
        ("CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 404),
    ] {
        let began = Instant::now();
        let mut client = Client::connect(app).await;
        client.send(start.to_owned() + &request("GET", "/api/movies")).await;
        while client.more().await {}
        let all = String::from_utf8_lossy(&client.read);
        assert!(all.starts_with(&format!("HTTP/1.1 {status} ")) && all.matches("HTTP/1.1").count() == 1, "{all}");
        assert!(began.elapsed() < Duration::from_secs(8), "{start}");
    }
    let mut client = Client::connect(app).await;
    client
        .send("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: upgrade, http2-settings\r\nUpgrade: h2c\r\n\r\n")
        .await;
    assert_eq!(client.response(false).await.status, 200);
}

async fn client_that_is_still_sending_reads_the_refusal(app: &TestApp) {
    let mut client = Client::connect(app).await;
    client.send(format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}", "x".repeat(200_000))).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    client.send("x".repeat(50_000)).await;
    client.response(false).await.is_problem(431, "headers_too_large");
    client.is_closed().await;
}

async fn client_that_sends_extra_bytes_reads_the_response(app: &TestApp) {
    let mut client = Client::connect(app).await;
    let last = "GET /api/movies HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    client.send(last.to_owned() + &request("GET", "/healthz").repeat(2_000)).await;
    let response = client.response(false).await;
    assert_eq!((response.status, response.json().is_array()), (200, true));
    client.is_closed().await;
}

async fn late_requests_are_refused_with_a_problem(app: &TestApp) {
    let late = async |before: &str, text: &str| {
        let mut client = Client::connect(app).await;
        client.send(before).await;
        if !before.is_empty() {
            assert_eq!(client.response(false).await.status, 200);
        }
        let began = Instant::now();
        client.send(text).await;
        client.response(false).await.is_problem(408, "request_timeout");
        client.is_closed().await;
        assert!(began.elapsed() > Duration::from_secs(5), "{text:?}: {:?}", began.elapsed());
    };
    let half = "GET /healthz HTTP/1.1\r\nHost: x\r\n";
    let first = request("GET", "/healthz");
    futures::join!(late("", half), late("", "G"), late("", ""), late(&first, half));
}

async fn idle_connections_end_after_keep_alive(app: &TestApp) {
    let mut client = Client::connect(app).await;
    for _ in 0..2 {
        client.send(request("GET", "/healthz")).await;
        assert_eq!(client.response(false).await.status, 200);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let began = Instant::now();
    client.is_closed().await;
    assert!(began.elapsed() > Duration::from_millis(500), "{:?}", began.elapsed());
}
