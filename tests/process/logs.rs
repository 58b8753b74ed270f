//! The program's output: it is useful, it contains no secrets, and an unread log blocks nothing.

use std::io::{BufRead as _, BufReader, Read as _, Write as _, pipe};
use std::net::TcpStream;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::{DATABASE_PASSWORD, JWT_SECRET, Kind, Server, Site};

const PASSWORD: &str = "S3cret pass-word of ana";
const WRONG_PASSWORD: &str = "Wr0ng pass-word of ana";
const KEY: &str = "key-that-nobody-else-may-know-4711";
const SEARCH: &str = "what-ana-looks-for";

/// Runs every flow, and returns the secrets that were used.
async fn use_everything(server: &Server) -> Vec<String> {
    let client = &server.client;
    let mut secrets: Vec<String> = [PASSWORD, WRONG_PASSWORD, KEY, SEARCH].map(str::to_owned).into();
    let mut keep = |answer: &Value| {
        for name in ["token", "refresh_token"] {
            secrets.push(answer[name].as_str().unwrap().to_owned());
        }
    };
    let register = json!({"name": "Ana", "email": "ana@example.org", "password": PASSWORD});
    let registered = client.post("/api/auth/register", &register).await.expect(201);
    keep(&registered);
    client.post("/api/auth/register", &register).await.expect(409);
    client.post("/api/auth/register", &json!({"name": PASSWORD, "email": PASSWORD, "password": 1})).await.expect(400);
    let signed_in = client.login("ana@example.org", PASSWORD).await.expect(200);
    keep(&signed_in);
    client.login("ana@example.org", WRONG_PASSWORD).await.expect(401);
    client.login("nobody@example.org", WRONG_PASSWORD).await.expect(401);
    let refresh = json!({"refresh_token": signed_in["refresh_token"]});
    let refreshed = client.post("/api/auth/refresh", &refresh).await.expect(200);
    keep(&refreshed);
    client.post("/api/auth/refresh", &refresh).await.expect(401);
    client.post("/api/auth/logout", &json!({"refresh_token": refreshed["refresh_token"]})).await.expect(204);
    // The other session has ended.
    client.get_as(signed_in["token"].as_str().unwrap(), "/api/me").await.expect(401);
    let token = registered["token"].as_str().unwrap();

    client.get_as(token, "/api/me").await.expect(200);
    client.get("/api/me").await.expect(401);
    client.get_as(&format!("{token}x"), "/api/me").await.expect(401);
    client.get(&format!("/api/movies?search={SEARCH}")).await.expect(200);
    client.get(&format!("/api/movies?date={SEARCH}")).await.expect(400);
    client.get(&format!("/{SEARCH}")).await.expect(404);
    client.get_as(token, "/api/theatres").await.expect(200);
    let show = client.shows(1).await[0];
    let seats = client.free_seats(show).await;
    client.get_as(token, &format!("/api/shows/{show}")).await.expect(200);
    client.get_as(token, &format!("/api/shows/{show}/seats")).await.expect(200);

    client.book(token, KEY, seats[0]).await.expect(201);
    assert!(client.book(token, KEY, seats[0]).await.replayed());
    client.book(token, KEY, seats[1]).await.expect(422);
    client.book(token, &format!("{KEY}-2"), seats[0]).await.expect(409);
    client.book(token, &"k".repeat(256), seats[0]).await.expect(400);
    client.book("no-token", KEY, seats[0]).await.expect(401);
    client.get_as(token, "/api/bookings").await.expect(200);
    client.get_as(token, "/api/bookings/1").await;

    let raw = |body: String| client.request("POST", "/api/auth/login").body(body);
    let raw_json = |body: String| raw(body).header("content-type", "application/json");
    client.send(raw_json(format!("{{\"password\":\"{PASSWORD}\""))).await.expect(400);
    client.send(raw_json(format!("{{\"{PASSWORD}\":1,\"{PASSWORD}\":2}}"))).await.expect(400);
    client
        .send(raw_json(format!("{{\"password\":\"{PASSWORD}\",\"x\":\"{}\"}}", "y".repeat(80_000))))
        .await
        .expect(413);
    client.send(raw(PASSWORD.to_owned()).header("content-type", "text/plain")).await.expect(415);
    for (method, body) in [
        ("PATCH", json!({"password": PASSWORD, "current_password": WRONG_PASSWORD})),
        ("PATCH", json!({"email": PASSWORD, "password": 1, "current_password": PASSWORD})),
        ("DELETE", json!({"current_password": WRONG_PASSWORD})),
    ] {
        let status = client.send(client.request(method, "/api/me").bearer_auth(token).json(&body)).await.status;
        assert!(matches!(status, 400 | 403), "{method}: {status}");
    }
    client.get_as(token, "/api/me/sessions").await.expect(200);
    client.get_as(token, "/api/me/export").await.expect(200);
    client.send(client.request("PUT", "/api/me").bearer_auth(token)).await.expect(405);
    secrets
}

async fn no_secret_is_logged(kind: Kind, format: &str) {
    let site = Site::of(kind).await.with("RUST_LOG", "trace").with("LOG_FORMAT", format);
    let server = site.serve();
    let mut secrets = use_everything(&server).await;
    match kind {
        Kind::Embedded => {
            secrets.push(std::fs::read_to_string(site.path("data/jwt-secret")).unwrap().trim().to_owned());
            for role in ["customer", "admin"] {
                let (email, password) = server.demo_account(role);
                server.client.login(&email, &password).await.expect(200);
                secrets.push(password);
            }
        }
        Kind::Postgres => {
            secrets.extend([JWT_SECRET, DATABASE_PASSWORD].map(str::to_owned));
            // Database errors must not reveal its password either.
            site.database.as_ref().unwrap().take_down().await.unwrap();
            server.client.get("/readyz").await.expect(503);
            server.client.get("/api/movies").await.expect(503);
            server.client.login("ana@example.org", PASSWORD).await.expect(503);
            site.database.as_ref().unwrap().bring_up().await.unwrap();
            server.client.get("/api/movies").await.expect(200);
        }
    }
    server.signal("TERM");
    let greeting = server.greeting.clone();
    let ended = server.ended(Duration::from_secs(12));
    let written = format!("{}{}", ended.stdout.strip_prefix(&greeting).unwrap(), ended.stderr);
    assert!(written.contains("request.done") && written.contains("/api/auth/login"), "{written}");
    for secret in secrets {
        let found = written.lines().find(|line| line.contains(&secret));
        assert_eq!(found, None, "{secret} is in the log");
    }
    assert!(!written.contains('\u{1b}'), "colours for a file");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_at_any_level_embedded() {
    no_secret_is_logged(Kind::Embedded, "pretty").await;
    no_secret_is_logged(Kind::Embedded, "json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_logged_at_any_level_postgres() {
    no_secret_is_logged(Kind::Postgres, "pretty").await;
    no_secret_is_logged(Kind::Postgres, "json").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn json_logs_are_one_object_a_line_with_the_request_id() {
    let server = Site::embedded().with("LOG_FORMAT", "json").serve();
    let request = server.client.request("GET", "/api/movies/999999").header("x-request-id", "the-id-of-a-test");
    server.client.send(request).await.expect(404);
    let drawn = server.client.get("/healthz").await.headers["x-request-id"].to_str().unwrap().to_owned();
    let ended = server.stop();
    let lines: Vec<Value> = ended.stderr.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let by_id = |id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap_or_else(|| panic!("{lines:#?}"));
    let line = by_id("the-id-of-a-test");
    assert_eq!(line["message"], "request.done");
    assert_eq!((&line["method"], &line["status"]), (&json!("GET"), &json!(404)));
    assert_eq!(line["route"], "/api/movies/{movie_id}");
    assert!(line["micros"].is_u64());
    assert_eq!(by_id(&drawn)["route"], "/healthz");
    assert!(lines.iter().all(|line| line["timestamp"].is_string() && line["level"].is_string()));
}

/// A server whose standard output and standard error are pipes. It is killed when it is dropped.
struct Piped(Child);

impl Drop for Piped {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Piped {
    fn terminate(&self) {
        assert!(Command::new("kill").args(["-s", "TERM", &self.0.id().to_string()]).status().unwrap().success());
    }

    /// Waits until the process has ended, and returns its exit code.
    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(60) {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("it does not end");
    }
}

/// Sends requests one after another over one connection, each with an id of the maximum length, which appears in its log line.
fn chat(address: &str, requests: usize) {
    let mut connection = TcpStream::connect(address).unwrap();
    connection.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let mut replies = BufReader::new(connection.try_clone().unwrap());
    let request = format!("GET /healthz HTTP/1.1\r\nHost: test\r\nX-Request-Id: {}\r\n\r\n", "i".repeat(128));
    for _ in 0..requests {
        connection.write_all(request.as_bytes()).unwrap();
        let (mut head, mut length) = (String::new(), 0);
        while !head.ends_with("\r\n\r\n") {
            assert_ne!(replies.read_line(&mut head).unwrap(), 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        for line in head.to_ascii_lowercase().lines() {
            if let Some(value) = line.strip_prefix("content-length: ") {
                length = value.parse().unwrap();
            }
        }
        replies.read_exact(&mut vec![0; length]).unwrap();
    }
}

/// Returns the number of dropped log lines, by `/metrics`.
fn lines_dropped(metrics: &str) -> u64 {
    let line = metrics.lines().find_map(|line| line.strip_prefix("log_lines_dropped_total "));
    line.unwrap_or_else(|| panic!("{metrics}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_log_blocks_neither_requests_nor_the_stop() {
    let site = Site::embedded().with("RUST_LOG", "trace").with("RATE_LIMIT", "off");
    let ((greeting, stdout), (log, stderr)) = (pipe().unwrap(), pipe().unwrap());
    let mut server = Piped(site.command(&["serve"]).stdout(stdout).stderr(stderr).spawn().unwrap());
    let mut greeting = BufReader::new(greeting);
    let mut first = String::new();
    greeting.read_line(&mut first).unwrap();
    let base = first.trim().strip_prefix("movie-booking listens on ").unwrap().to_owned();
    let address = base.strip_prefix("http://").unwrap().to_owned();
    let get = async |path: &str| {
        let client = crate::harness::http_client().timeout(Duration::from_secs(60)).build().unwrap();
        client.get(format!("{base}{path}")).send().await.unwrap().text().await.unwrap()
    };
    // This is more than the pipe and the queue hold, 4 MiB. Further lines are dropped, and requests are still answered.
    let began = Instant::now();
    while lines_dropped(&get("/metrics").await) == 0 {
        assert!(began.elapsed() < Duration::from_secs(300), "no line is dropped");
        let chats = (0..4).map(|_| {
            let address = address.clone();
            tokio::task::spawn_blocking(move || chat(&address, 1000))
        });
        futures::future::join_all(chats).await.into_iter().for_each(|chat| chat.unwrap());
    }
    assert!(get("/healthz").await.contains("ok"));
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    drop(log);
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_log_lines_are_reported_once_the_log_is_read_again() {
    let site = Site::embedded().with("RATE_LIMIT", "off").with("LOG_FORMAT", "json");
    let ((greeting, stdout), (log, stderr)) = (pipe().unwrap(), pipe().unwrap());
    let mut server = Piped(site.command(&["serve"]).stdout(stdout).stderr(stderr).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(greeting).read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("movie-booking listens on http://").unwrap().to_owned();
    let metrics = async || {
        let client = crate::harness::http_client().timeout(Duration::from_secs(60)).build().unwrap();
        client.get(format!("http://{address}/metrics")).send().await.unwrap().text().await.unwrap()
    };
    let began = Instant::now();
    while lines_dropped(&metrics().await) == 0 {
        assert!(began.elapsed() < Duration::from_secs(300), "no line is dropped");
        let chats = (0..4).map(|_| {
            let address = address.clone();
            tokio::task::spawn_blocking(move || chat(&address, 1000))
        });
        futures::future::join_all(chats).await.into_iter().for_each(|chat| chat.unwrap());
    }
    let dropped = lines_dropped(&metrics().await);
    let reader = std::thread::spawn(move || {
        let lines = BufReader::new(log).lines().map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
        lines.collect::<Vec<_>>()
    });
    // Lines written from now on appear, including the last ones of the process.
    server.terminate();
    assert_eq!(server.ended(), Some(0));
    let lines = reader.join().unwrap();
    let reported: u64 = lines
        .iter()
        .filter(|line| line["message"] == "log.lines_dropped")
        .map(|line| line["lines"].as_u64().unwrap())
        .sum();
    assert!(reported >= dropped, "{reported} of {dropped}");
    assert!(lines.iter().any(|line| line["message"] == "server.stopping"), "the end is in the log");
}

#[test]
fn closed_output_does_not_end_the_server() {
    let site = Site::embedded();
    let ((greeting, stdout), (log, stderr)) = (pipe().unwrap(), pipe().unwrap());
    let mut server = Piped(site.command(&["serve"]).stdout(stdout).stderr(stderr).spawn().unwrap());
    let mut first = String::new();
    BufReader::new(greeting).read_line(&mut first).unwrap();
    drop(log);
    chat(first.trim().strip_prefix("movie-booking listens on http://").unwrap(), 100);
    server.terminate();
    assert_eq!(server.ended(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn untrusted_proxy_is_logged_once_with_the_setting() {
    let server = Site::embedded().with("LOG_FORMAT", "json").serve();
    for _ in 0..3 {
        let request = server.client.request("GET", "/healthz").header("x-forwarded-for", "198.51.100.7");
        server.client.send(request).await.expect(200);
    }
    let ended = server.stop();
    let lines = ended.stderr.lines().map(|line| -> Value { serde_json::from_str(line).expect(line) });
    let warnings: Vec<_> = lines.filter(|line| line["message"] == "proxy.not_believed").collect();
    assert_eq!(warnings.len(), 1, "{warnings:#?}");
    assert_eq!((&warnings[0]["level"], &warnings[0]["proxy"]), (&json!("WARN"), &json!("127.0.0.1")));
    let advice = warnings[0]["advice"].as_str().unwrap();
    assert!(advice.contains("add 127.0.0.1 to TRUSTED_PROXIES"), "{advice}");
}
