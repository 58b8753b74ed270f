//! Clients that do not read, and clients that keep their connections open.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::support::{Server, Site};

/// The longest time to wait for the end of a connection, which the server ends after ten seconds.
const CLOSED_MAX: Duration = Duration::from_secs(60);

/// Connects a client that pipelines requests for a large file and reads nothing. `None` if it cannot connect.
fn greedy(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_nonblocking(true).unwrap();
    let requests = "GET /docs/swagger-ui.css HTTP/1.1\r\nHost: x\r\n\r\n".repeat(15_000);
    let mut rest = requests.as_bytes();
    let began = Instant::now();
    // Send as much as the socket buffers take. The server does not read all of it.
    while !rest.is_empty() && began.elapsed() < Duration::from_millis(50) {
        match (&stream).write(rest) {
            Ok(written) => rest = &rest[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::sleep(Duration::from_millis(1)),
            Err(error) => panic!("{error}"),
        }
    }
    stream
}

#[cfg(target_os = "linux")]
async fn clients_that_read_nothing_are_bounded(count: usize) {
    let server = Site::embedded().with("RATE_LIMIT", "off").with("RUST_LOG", "warn").serve();
    server.client.get("/docs/swagger-ui.css").await;
    let before = server.usage();
    let streams: Vec<_> = (0..count).map(|_| greedy(&server)).collect();
    // The responses that fit the socket buffers have been sent by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    let (began, busy) = (Instant::now(), server.usage());
    tokio::time::sleep(Duration::from_secs(2)).await;
    let after = server.usage();
    let share = (after.cpu - busy.cpu).as_secs_f64() / began.elapsed().as_secs_f64();
    let grown = after.memory.saturating_sub(before.memory);
    println!("{count}: {share:.3} cores, {} KiB", grown / 1024);
    // A busy loop would use a whole core.
    assert!(share < 0.5, "{share} cores for {count} clients that wait");
    let bound = u64::try_from(count).unwrap() * 200 * 1024 + 64 * 1024 * 1024;
    assert!(grown < bound, "{grown} bytes for {count} clients that read nothing");
    // Other clients are served.
    server.client.get("/healthz").await.expect(200);
    // All connections are closed, even if their clients still send.
    let began = Instant::now();
    while server.usage().files > before.files + 2 {
        assert!(began.elapsed() < CLOSED_MAX, "{} files, {} before", server.usage().files, before.files);
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    drop(streams);
    assert_eq!(server.stop().code, Some(0));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn one_client_that_reads_nothing_is_bounded() {
    clients_that_read_nothing_are_bounded(1).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn fifty_clients_that_read_nothing_are_bounded() {
    clients_that_read_nothing_are_bounded(50).await;
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_that_read_nothing_are_bounded() {
    clients_that_read_nothing_are_bounded(500).await;
}

/// A client that reads slowly but continuously gets its whole response.
#[tokio::test(flavor = "multi_thread")]
async fn slow_reader_gets_its_response() {
    let server = Site::embedded().serve();
    let whole = server.client.get("/docs/swagger-ui-bundle.js").await.text.len();
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
    let (mut read, mut buffer) = (0, vec![0; 40_000]);
    loop {
        let more = stream.read(&mut buffer).unwrap();
        if more == 0 {
            break;
        }
        read += more;
        // 12 s in total if each read is full.
        std::thread::sleep(Duration::from_millis(300));
    }
    assert!(read > whole, "{read} of {whole} bytes and a head");
}

/// Load balancers keep connections for a minute. By default the server keeps them longer.
#[test]
fn idle_connections_are_kept_and_end_when_the_server_stops() {
    let site = Site::embedded();
    let settings = site.run(&["check-config"], "").stdout;
    let setting = settings.lines().find(|line| line.starts_with("KEEP_ALIVE")).unwrap_or_else(|| panic!("{settings}"));
    assert!(setting.contains("75s"), "{setting}");
    let server = site.serve();
    let mut streams: Vec<_> = (0..20).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    let ask = |stream: &mut TcpStream| {
        write!(stream, "GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        let mut answer = [0; 4096];
        let length = stream.read(&mut answer).unwrap();
        assert!(answer[..length].starts_with(b"HTTP/1.1 200 "), "{:?}", String::from_utf8_lossy(&answer[..length]));
    };
    streams.iter_mut().for_each(ask);
    // Longer than the framework's own default.
    std::thread::sleep(Duration::from_secs(8));
    streams.iter_mut().for_each(ask);
    let told = Instant::now();
    assert_eq!(server.stop().code, Some(0));
    assert!(told.elapsed() < Duration::from_secs(5), "{:?}", told.elapsed());
    for mut stream in streams {
        assert!(matches!(stream.read(&mut [0; 16]), Ok(0)), "closed, not reset");
    }
}

/// A malformed request is not an error of the server, because any client can cause it at any time.
#[tokio::test(flavor = "multi_thread")]
async fn malformed_requests_are_no_errors_in_the_log() {
    let server = Site::embedded().serve();
    for text in [
        "NONSENSE\r\n\r\n",
        "GET / HTTP/1.1\r\n\r\n",
        "\u{16}\u{3}\u{1}\r\n\r\n",
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nx\r\n",
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\nx",
        "GET /healthz HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\n\r\nx",
    ] {
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream.write_all(text.as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.starts_with(b"HTTP/1.1 "), "{text:?}: {:?}", String::from_utf8_lossy(&answer));
    }
    // A client that disconnects before its response.
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
    drop(stream);
    let ended = server.stop();
    assert_eq!(ended.stderr.matches("request.refused").count(), 3, "{ended:?}");
    assert!(!ended.stderr.contains("ERROR") && !ended.stderr.contains("WARN"), "{ended:?}");
}
