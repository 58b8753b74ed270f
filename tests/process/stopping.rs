//! Stopping the process while it works.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::storm::{Outcome, Storm};
use super::support::{Kind, Server, Site};

/// The longest time to stop.
const STOP_MAX: Duration = Duration::from_secs(10);

/// A request whose second half has not been sent.
struct HalfSent(TcpStream, &'static str);

impl HalfSent {
    fn send(server: &Server) -> Self {
        let (first, second) =
            (r#"{"name":"Half","email":"half@example.org","#, r#""password":"correct horse battery"}"#);
        let mut stream = TcpStream::connect(server.address()).unwrap();
        let length = first.len() + second.len();
        let head = "POST /api/auth/register HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
        write!(stream, "{head}\r\ncontent-length: {length}\r\n\r\n{first}").unwrap();
        Self(stream, second)
    }

    /// Sends the rest, and returns everything received until the server closes the connection.
    fn finish(self) -> String {
        let Self(mut stream, second) = self;
        stream.set_read_timeout(Some(STOP_MAX)).unwrap();
        stream.write_all(second.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }
}

/// Opens a connection that has received its response and is kept open by the client.
fn idle_connection(server: &Server) -> TcpStream {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let mut answer = [0; 4096];
    assert!(stream.read(&mut answer).unwrap() > 0);
    stream
}

async fn accepted_requests_are_answered_before_the_stop(kind: Kind, signal: &str) {
    let site = Site::of(kind).await.with("RATE_LIMIT", "off");
    let server = if signal == "HUP" { site.serve_on_terminal() } else { site.serve() };
    server.client.sign_up("ana@example.org").await;
    let storm = Storm::begin(&server.client).await;
    storm.until_booked(30).await;
    // Slow requests: password hashing takes time, and the requests wait for each other.
    let logins: Vec<_> = (0..6)
        .map(|_| {
            let client = server.client.clone();
            tokio::spawn(async move { client.login("ana@example.org", "correct horse battery").await })
        })
        .collect();
    let half_sent = HalfSent::send(&server);
    let _idle = idle_connection(&server);
    tokio::time::sleep(Duration::from_millis(100)).await;

    let told = Instant::now();
    server.signal(signal);
    while TcpStream::connect(server.address()).is_ok() {
        assert!(told.elapsed() < Duration::from_secs(60), "new connections are accepted");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let answer = half_sent.finish();
    assert!(answer.starts_with("HTTP/1.1 201 ") && answer.contains("half@example.org"), "{answer}");
    for login in logins {
        login.await.unwrap().expect(200);
    }
    let calm = storm.calm().await;
    for asked in &calm.tries {
        let Outcome::Unanswered(error) = &asked.outcome else { continue };
        // A connection that was still in the backlog of the socket was not accepted, nor was a request that a busy machine had not read yet.
        assert!(asked.sent + Duration::from_millis(250) > told || error.is_connect(), "{error:?}");
    }
    let address = server.address().to_owned();
    let ended = server.ended(STOP_MAX.saturating_sub(told.elapsed()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(TcpStream::connect(address).is_err());

    let server = site.serve();
    calm.check(&server.client).await;
    server.client.login("half@example.org", "correct horse battery").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_accepted_before_a_sigterm_are_answered_embedded() {
    accepted_requests_are_answered_before_the_stop(Kind::Embedded, "TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_accepted_before_a_sigterm_are_answered_postgres() {
    accepted_requests_are_answered_before_the_stop(Kind::Postgres, "TERM").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_accepted_before_a_sigint_are_answered_embedded() {
    accepted_requests_are_answered_before_the_stop(Kind::Embedded, "INT").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_accepted_before_a_sighup_are_answered_embedded() {
    accepted_requests_are_answered_before_the_stop(Kind::Embedded, "HUP").await;
}

/// `nohup` starts a process with SIGHUP ignored, so that it survives the end of its terminal.
#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_server_under_nohup_survives_a_sighup() {
    let server = Site::embedded().serve_under("nohup", &[]);
    server.signal("HUP");
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.client.get("/healthz").await.expect(200);
    assert_eq!(server.stop().code, Some(0));
}

/// A client that has sent half of a request must not prevent the server from stopping.
#[tokio::test(flavor = "multi_thread")]
async fn client_with_an_incomplete_request_does_not_delay_the_stop() {
    let server = Site::embedded().serve();
    let _half_sent = HalfSent::send(&server);
    tokio::time::sleep(Duration::from_millis(100)).await;
    let ended = {
        server.signal("TERM");
        server.ended(STOP_MAX + Duration::from_secs(2))
    };
    assert_eq!(ended.code, Some(0), "{ended:?}");
}

/// Without open requests the server stops without waiting.
#[tokio::test(flavor = "multi_thread")]
async fn an_idle_server_stops_at_once() {
    for site in [Site::embedded(), Site::postgres().await] {
        let server = site.serve();
        server.client.post("/api/auth/login", &json!({})).await.expect(400);
        let token = server.client.sign_up("ana@example.org").await;
        let show = server.client.shows(1).await[0];
        let seat = server.client.free_seats(show).await[0];
        server.client.book(&token, "key", seat).await.expect(201);
        let told = Instant::now();
        server.signal("TERM");
        assert_eq!(server.ended(STOP_MAX).code, Some(0));
        println!("stopped in {:?}", told.elapsed());
        if site.database.is_none() {
            // The write-ahead log is merged into the database file, so a copy of that file is a backup of a stopped server.
            assert!(!site.path("data/movie-booking.db-wal").exists());
        }
    }
}

/// A supervisor may stop the server as soon as it reads that the server listens.
#[test]
fn server_stopped_right_after_its_start_exits_cleanly() {
    let site = Site::embedded();
    for signal in ["TERM", "INT", "HUP"].repeat(6) {
        let server = site.serve_on_terminal();
        server.signal(signal);
        let ended = server.ended(STOP_MAX);
        assert_eq!(ended.code, Some(0), "{signal}: {ended:?}");
    }
}
