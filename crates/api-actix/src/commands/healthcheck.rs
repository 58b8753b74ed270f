//! Asks the server of this configuration, on this machine, whether it can do its work.

use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use thiserror::Error;

/// The longest time for the whole response.
const TIME_MAX: Duration = Duration::from_secs(5);
/// The most bytes of a response that are read: that of `/readyz` is far shorter.
const ANSWER_BYTES_MAX: usize = 8 * 1024;

/// The reason why the server is not healthy.
#[derive(Debug, Error)]
pub enum Unhealthy {
    #[error("PORT is 0, so the system picks the port: set PORT to ask the server")]
    PortUnknown,
    #[error("{address} does not answer: {source}")]
    Silent { address: SocketAddr, source: io::Error },
    #[error("{address} is not ready: {answer}")]
    NotReady { address: SocketAddr, answer: String },
}

/// Requests `/readyz` of the server that listens on `host` and `port`, and returns its response as one line. A server on every address
/// is asked on loopback.
pub fn ask(host: IpAddr, port: u16) -> Result<String, Unhealthy> {
    if port == 0 {
        return Err(Unhealthy::PortUnknown);
    }
    let address = SocketAddr::new(reachable(host), port);
    let answer = exchange(address).map_err(|source| Unhealthy::Silent { address, source })?;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
    let status = head.split(' ').nth(1).unwrap_or_default();
    // One line, whatever program answers.
    let said = body.lines().next().unwrap_or_default();
    match (head.starts_with("HTTP/1.1 "), status) {
        (true, "200") => Ok(format!("{address} is ready: {said}")),
        (true, _) => Err(Unhealthy::NotReady { address, answer: format!("{status} {said}") }),
        (false, _) => Err(Unhealthy::NotReady { address, answer: "its answer is not HTTP".to_owned() }),
    }
}

/// Returns an address on which a server that listens on `host` can be reached from its own machine.
fn reachable(host: IpAddr) -> IpAddr {
    match host {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        host => host,
    }
}

fn exchange(address: SocketAddr) -> io::Result<String> {
    let deadline = Instant::now() + TIME_MAX;
    let left = || match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::Error::from(io::ErrorKind::TimedOut)),
        left => Ok(left),
    };
    let mut connection = TcpStream::connect_timeout(&address, TIME_MAX)?;
    connection.set_write_timeout(Some(left()?))?;
    let request = format!("GET /readyz HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    connection.write_all(request.as_bytes())?;
    let (mut answer, mut chunk) = (Vec::new(), [0; 1024]);
    while answer.len() < ANSWER_BYTES_MAX {
        connection.set_read_timeout(Some(left()?))?;
        match connection.read(&mut chunk) {
            Ok(0) => break,
            Ok(read) => answer.extend(chunk.iter().take(read)),
            // The name that the system gives to a read that timed out.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(io::ErrorKind::TimedOut.into()),
            Err(error) => return Err(error),
        }
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_server_on_every_address_is_asked_on_loopback() {
        for (host, asked) in
            [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("10.1.2.3", "10.1.2.3")]
        {
            assert_eq!(reachable(host.parse().unwrap()).to_string(), asked);
        }
    }

    /// Returns the result for a server with this response.
    fn result_of(answer: &'static str) -> Result<String, Unhealthy> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = std::thread::spawn(move || {
            let (mut connection, _) = listener.accept().unwrap();
            let mut request = [0; 1024];
            let read = connection.read(&mut request).unwrap();
            assert!(request[..read].starts_with(b"GET /readyz HTTP/1.1\r\n"));
            connection.write_all(answer.as_bytes()).unwrap();
        });
        let said = ask([127, 0, 0, 1].into(), port);
        server.join().unwrap();
        said
    }

    #[test]
    fn only_200_is_healthy_and_the_result_is_one_line() {
        let ready = result_of("HTTP/1.1 200 OK\r\ncontent-length: 11\r\n\r\n{\"a\":1}\nmore").unwrap();
        assert!(ready.ends_with(" is ready: {\"a\":1}"), "{ready}");
        for (answer, reason) in [
            (
                "HTTP/1.1 503 Service Unavailable\r\n\r\n{\"status\":\"unavailable\"}",
                "503 {\"status\":\"unavailable\"}",
            ),
            ("HTTP/1.1 404 Not Found\r\n\r\n", "404"),
            ("220 mail.example ESMTP\r\n", "not HTTP"),
            ("", "not HTTP"),
        ] {
            let unhealthy = result_of(answer).unwrap_err().to_string();
            assert!(unhealthy.contains("is not ready") && unhealthy.contains(reason), "{unhealthy}");
        }
    }

    #[test]
    fn a_missing_server_is_not_healthy() {
        assert!(matches!(ask([127, 0, 0, 1].into(), 0), Err(Unhealthy::PortUnknown)));
        let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        assert!(matches!(ask([127, 0, 0, 1].into(), gone), Err(Unhealthy::Silent { .. })));
    }

    #[test]
    fn a_silent_server_times_out() {
        // The system accepts connections; no program answers.
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let unhealthy = ask([127, 0, 0, 1].into(), listener.local_addr().unwrap().port()).unwrap_err();
        assert!(matches!(unhealthy, Unhealthy::Silent { .. }), "{unhealthy}");
    }
}
