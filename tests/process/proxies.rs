//! Servers behind real nginx and HAProxy, configured as in `docs/operating/proxies.md`.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::{Client, Kind as Store, Place, Reply, Server, Site};
use crate::proxies::{Configuration, Kind, PROXY_ADDRESS, Proxy};

/// The time for which a client repeats a request.
const PATIENCE: Duration = Duration::from_secs(60);

fn client(proxy: &Proxy) -> Client {
    Client::new(format!("http://{}", proxy.authority))
}

/// Returns the documented configuration, with three seconds for idle connections to servers. The tests' client closes its own earlier, so
/// no request meets a client connection that the proxy is closing.
fn closing_after_three_seconds(kind: Kind, servers: &[&str]) -> Configuration {
    let configuration = kind.configuration(servers);
    match kind {
        Kind::Nginx => configuration.with("keepalive_timeout 60s;", "keepalive_timeout 3s;"),
        Kind::HAProxy => configuration.with("timeout http-keep-alive 60s", "timeout http-keep-alive 3s"),
    }
}

/// Returns the number of connections from proxies to a server.
fn connections_to(server: &Server) -> usize {
    let port: u16 = server.address().rsplit_once(':').unwrap().1.parse().unwrap();
    let address = u32::from_le_bytes(PROXY_ADDRESS.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let (proxy, server) = (format!("{address:08X}:"), format!(":{port:04X}"));
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let established = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    established.filter(|row| row[1].starts_with(&proxy) && row[2].ends_with(&server) && row[3] == "01").count()
}

/// Returns free seats of several shows.
async fn places(client: &Client) -> Vec<Place> {
    let mut places = Vec::new();
    for show in client.shows(4).await {
        places.extend(client.free_seats(show).await);
    }
    places
}

/// Books at intervals around the times after which the proxy and the server close idle connections.
async fn no_request_meets_a_connection_that_is_being_closed(kind: Kind) {
    let server = Site::embedded().with("RATE_LIMIT", "off").with("KEEP_ALIVE", "4s").serve();
    let proxy = closing_after_three_seconds(kind, &[server.address()]).start();
    let client = client(&proxy);
    let token = client.sign_up("ana@example.org").await;
    assert!(kind == Kind::HAProxy || connections_to(&server) > 0, "the proxy keeps no connection");
    let places = places(&client).await;

    let began = Instant::now();
    let tasks =
        [300, 900, 1_000, 1_900, 2_900, 3_000, 3_900, 4_000, 4_100].into_iter().enumerate().map(|(task, pause)| {
            let (client, token, places) = (client.clone(), token.clone(), places.clone());
            tokio::spawn(async move {
                for number in 0.. {
                    let place = places[task * 40 + number];
                    client.book(&token, &format!("{task}-{number}"), place).await.expect(201);
                    if began.elapsed() > Duration::from_secs(10) {
                        return number + 1;
                    }
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                unreachable!("the loop has no end")
            })
        });
    let mut booked = 0;
    for task in tasks.collect::<Vec<_>>() {
        booked += task.await.unwrap();
    }
    assert_eq!(client.history(&token).await.len(), booked);
}

/// Checks directly which side closes first. The slow trickles meet that short moment only by chance.
#[tokio::test(flavor = "multi_thread")]
async fn proxies_close_idle_connections_before_the_server_does() {
    let server = Site::embedded().with("KEEP_ALIVE", "60s").serve();
    for kind in [Kind::Nginx, Kind::HAProxy] {
        let proxy = closing_after_three_seconds(kind, &[server.address()]).start();
        client(&proxy).get("/api/movies").await.expect(200);
        // HAProxy may close its connection together with the response.
        assert!(kind == Kind::HAProxy || connections_to(&server) > 0, "{kind:?} keeps no connection");
        let began = Instant::now();
        while connections_to(&server) > 0 {
            assert!(began.elapsed() < Duration::from_secs(30), "{kind:?} leaves closing to the server");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_trickle_of_bookings_through_nginx_gets_every_response() {
    no_request_meets_a_connection_that_is_being_closed(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_trickle_of_bookings_through_haproxy_gets_every_response() {
    no_request_meets_a_connection_that_is_being_closed(Kind::HAProxy).await;
}

/// Books a seat as a client should: repeats the request with its key until the response is final. Returns the number of requests.
async fn book_persistently(client: &Client, token: &str, key: &str, place: Place) -> usize {
    let began = Instant::now();
    for tries in 1.. {
        match client.try_send(client.booking(token, key, place)).await {
            Ok(reply) if reply.status < 500 => {
                reply.expect(201);
                return tries;
            }
            Ok(reply) => check_problem_of_proxy_or_server(&reply),
            Err(error) => println!("{key}: {error:?}"),
        }
        assert!(began.elapsed() < PATIENCE, "{key} has no final response");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    unreachable!("the loop has no end")
}

fn check_problem_of_proxy_or_server(reply: &Reply) {
    assert!(matches!(reply.status, 502..=504), "{reply:?}");
    assert_eq!(reply.headers["content-type"], "application/problem+json", "{reply:?}");
    assert!(reply.headers["retry-after"].to_str().unwrap().parse::<u32>().unwrap() > 0, "{reply:?}");
    let problem = reply.json();
    assert_eq!(problem["status"], reply.status, "{problem}");
    assert!(matches!(problem["code"].as_str(), Some("unavailable" | "outcome_unknown")), "{problem}");
    for name in ["type", "title", "detail", "message"] {
        assert!(problem[name].as_str().is_some_and(|text| !text.is_empty()), "{problem}");
    }
}

async fn a_server_is_replaced_under_load(kind: Kind) {
    let site = Site::of(Store::Postgres).await.with("RATE_LIMIT", "off");
    let (first, second) = (site.serve(), site.serve());
    let proxy = kind.configuration(&[first.address(), second.address()]).start();
    let client = client(&proxy);
    let places = places(&client).await;
    let (booked, tries) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let stopped = Arc::new(AtomicUsize::new(usize::MAX));
    let mut tokens = Vec::new();
    for task in 0..8 {
        tokens.push(client.sign_up(&format!("customer{task}@example.org")).await);
    }
    let tasks = tokens.iter().cloned().enumerate().map(|(task, token)| {
        let (client, places) = (client.clone(), places.clone());
        let (booked, tries, stopped) = (Arc::clone(&booked), Arc::clone(&tries), Arc::clone(&stopped));
        tokio::spawn(async move {
            for (number, place) in places.into_iter().skip(task).step_by(8).enumerate() {
                let sent = book_persistently(&client, &token, &format!("{task}-{number}"), place).await;
                tries.fetch_add(sent, Ordering::Relaxed);
                if booked.fetch_add(1, Ordering::Relaxed) >= stopped.load(Ordering::Relaxed).saturating_add(40) {
                    return;
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    let began = Instant::now();
    while booked.load(Ordering::Relaxed) < 40 {
        assert!(began.elapsed() < PATIENCE, "bookings are too slow");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    first.signal("TERM");
    let ended = tokio::task::spawn_blocking(move || first.ended(Duration::from_secs(15))).await.unwrap();
    assert_eq!(ended.code, Some(0), "{ended:?}");
    stopped.store(booked.load(Ordering::Relaxed), Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let (booked, tries) = (booked.load(Ordering::Relaxed), tries.load(Ordering::Relaxed));
    println!("{booked} bookings by {tries} requests");
    let mut found = 0;
    for token in &tokens {
        found += client.history(token).await.len();
    }
    assert_eq!(found, booked);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_stopped_under_load_behind_nginx_fails_no_client_that_retries() {
    a_server_is_replaced_under_load(Kind::Nginx).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn server_stopped_under_load_behind_haproxy_fails_no_client_that_retries() {
    a_server_is_replaced_under_load(Kind::HAProxy).await;
}

/// If the proxies checked `/readyz` instead of `/healthz`, they would remove every server and respond themselves.
#[tokio::test(flavor = "multi_thread")]
async fn problems_of_a_server_without_its_database_pass_through_proxies() {
    let site = Site::of(Store::Postgres).await;
    let server = site.serve();
    let database = site.database.as_ref().unwrap();
    let proxies = [
        Kind::Nginx.configuration(&[server.address()]).start(),
        Kind::HAProxy.configuration(&[server.address()]).with("inter 1s", "inter 50ms").start(),
    ];
    database.take_down().await.unwrap();
    // Enough time for many health checks.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    for proxy in &proxies {
        let reply = client(proxy).login("ana@example.org", "correct horse battery").await;
        assert_eq!(reply.expect(503)["code"], "unavailable", "{reply:?}");
        assert!(reply.headers.contains_key("retry-after") && reply.headers.contains_key("x-request-id"), "{reply:?}");
    }
    database.bring_up().await.unwrap();
    for proxy in &proxies {
        client(proxy).sign_up(&format!("{}@example.org", proxy.authority.replace(':', "-"))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_without_a_server_respond_with_problems() {
    // The listener is closed at once, so nothing listens on this port.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    for kind in [Kind::Nginx, Kind::HAProxy] {
        let proxy = kind.configuration(&[&nobody]).start();
        check_problem_of_proxy_or_server(&client(&proxy).get("/api/movies").await);
    }
}

/// Starts a server that reads requests and closes the connection instead of responding.
fn broken_server(requests: &Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let requests = Arc::clone(requests);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut head = [0; 4_096];
            let mut stream = stream.unwrap();
            let read = stream.read(&mut head).unwrap_or(0);
            if head[..read].starts_with(b"POST ") {
                requests.fetch_add(1, Ordering::SeqCst);
            } else {
                // Responds to HAProxy's health check.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
            }
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_send_a_post_once_even_if_the_server_closes_the_connection() {
    for kind in [Kind::Nginx, Kind::HAProxy] {
        let requests = Arc::new(AtomicUsize::new(0));
        let servers = [broken_server(&requests), broken_server(&requests)];
        let proxy = kind.configuration(&[&servers[0], &servers[1]]).start();
        let reply = client(&proxy).post("/api/bookings", &json!({ "show_id": 1, "seat_id": 1 })).await;
        check_problem_of_proxy_or_server(&reply);
        assert_eq!(reply.json()["code"], "outcome_unknown", "{reply:?}");
        assert_eq!(requests.load(Ordering::SeqCst), 1, "{kind:?}");
    }
}
