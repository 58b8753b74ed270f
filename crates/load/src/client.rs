//! HTTP clients that book, each on its own connection, all on one thread, so that they take little CPU time from the server.

use std::cell::RefCell;
use std::io::Write as _;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use adapters_auth::{JwtAccessTokens, SystemClock};
use domain::identity::{AccessTokens as _, Bearer, Caller, Role};
use domain::ids::{SessionId, UserId};
use secrecy::SecretString;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::Failure;
use crate::plan::{Booking, USERS, booking};
use crate::samples::percentile;

/// The time before the measurement, in which the server warms up.
const WARM_UP: Duration = Duration::from_secs(1);
/// The timeout of a response.
const PATIENCE: Duration = Duration::from_secs(30);
/// The lifetime of a token: longer than any measurement.
const TOKEN_TTL: Duration = Duration::from_secs(3_600);
/// The size of the read buffer, which is larger than any response.
const ANSWER_MAX: usize = 16 * 1024;

/// The state that the clients share.
struct Bench {
    /// One for each user.
    tokens: Vec<String>,
    measured_from: Instant,
    measured_until: Instant,
    progress: RefCell<Progress>,
}

#[derive(Default)]
struct Progress {
    next: u64,
    /// The number of responses with status 201, inside and outside the measurement.
    booked: u64,
    /// The durations of the requests that were answered during the measurement.
    times: Vec<Duration>,
}

/// Books for the given time, and returns the result as JSON.
pub async fn book(address: SocketAddr, connections: u64, seconds: Duration) -> Result<String, Failure> {
    let tokens = tokens()?;
    let measured_from = Instant::now() + WARM_UP;
    let bench = Rc::new(Bench {
        tokens,
        measured_from,
        measured_until: measured_from + seconds,
        progress: RefCell::new(Progress::default()),
    });
    let clients: Vec<_> =
        (0..connections).map(|_| tokio::task::spawn_local(serve_one(Rc::clone(&bench), address))).collect();
    for client in clients {
        client.await.map_err(|error| format!("a client stopped: {error}"))??;
    }
    let Progress { booked, times, .. } = &mut *bench.progress.borrow_mut();
    let measured = u32::try_from(times.len()).map_err(|error| error.to_string())?;
    let result = json!({
        "booked": booked,
        "rate": f64::from(measured) / seconds.as_secs_f64(),
        "p50_ms": percentile(times, 500),
        "p99_ms": percentile(times, 990),
    });
    Ok(result.to_string())
}

/// Returns a token for each user, in the session that `fill` has opened. Tokens are signed here as the server signs them, because a
/// thousand logins would take minutes of hashing.
fn tokens() -> Result<Vec<String>, Failure> {
    let secret =
        std::env::var("JWT_SECRET").map_err(|_| "JWT_SECRET is not set: it must be the server's".to_owned())?;
    let issuer = JwtAccessTokens::new(&SecretString::from(secret), &[], Arc::new(SystemClock));
    let issuer = issuer.map_err(|error| format!("JWT_SECRET cannot be used: {error}"))?;
    let ids = 1..=i64::try_from(USERS).unwrap_or_default();
    ids.map(|id| {
        let caller = Caller { user_id: UserId(id), role: Role::Customer, session_generation: 1 };
        issuer.issue(&Bearer { caller, session_id: Some(SessionId(id)) }, TOKEN_TTL).map_err(|error| error.to_string())
    })
    .collect()
}

/// Runs one client, which books one seat after the other until the time is over.
async fn serve_one(bench: Rc<Bench>, address: SocketAddr) -> Result<(), Failure> {
    let explain = |error: std::io::Error| format!("{address} does not answer: {error}");
    let mut connection = TcpStream::connect(address).await.map_err(explain)?;
    connection.set_nodelay(true).map_err(explain)?;
    let (mut request, mut body, mut answer) = (Vec::new(), Vec::new(), vec![0; ANSWER_MAX]);
    while Instant::now() < bench.measured_until {
        let number = {
            let mut progress = bench.progress.borrow_mut();
            progress.next += 1;
            progress.next - 1
        };
        let wanted = booking(number).ok_or("all seats are sold: measure for fewer seconds")?;
        write_request(&mut request, &mut body, &bench.tokens, number, wanted).map_err(explain)?;
        let sent = Instant::now();
        let exchanged = tokio::time::timeout(PATIENCE, exchange(&mut connection, &request, &mut answer)).await;
        let answer = exchanged.map_err(|_| format!("no answer in {} s", PATIENCE.as_secs()))?.map_err(explain)?;
        let answered = Instant::now();
        if !answer.starts_with(b"HTTP/1.1 201 ") {
            return Err(format!("201 expected for {wanted:?}, not {}", String::from_utf8_lossy(answer)));
        }
        let mut progress = bench.progress.borrow_mut();
        progress.booked += 1;
        if answered >= bench.measured_from && answered < bench.measured_until {
            progress.times.push(answered.duration_since(sent));
        }
    }
    Ok(())
}

fn write_request(
    request: &mut Vec<u8>,
    body: &mut Vec<u8>,
    tokens: &[String],
    number: u64,
    wanted: Booking,
) -> std::io::Result<()> {
    let Booking { user, show, seat } = wanted;
    let token = usize::try_from(user.0 - 1).ok().and_then(|index| tokens.get(index)).map_or("", String::as_str);
    body.clear();
    write!(body, "{{\"show_id\":{show},\"seat_id\":{seat}}}")?;
    request.clear();
    write!(
        request,
        "POST /api/bookings HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\nIdempotency-Key: bench-{number}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    )?;
    request.extend_from_slice(body);
    Ok(())
}

/// Sends a request and reads the whole response.
async fn exchange<'answer>(
    connection: &mut TcpStream,
    request: &[u8],
    answer: &'answer mut [u8],
) -> std::io::Result<&'answer [u8]> {
    connection.write_all(request).await?;
    let mut length = 0;
    loop {
        let read = connection.read(answer.get_mut(length..).unwrap_or_default()).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        length += read;
        if is_whole(answer.get(..length).unwrap_or_default()) {
            return Ok(answer.get(..length).unwrap_or_default());
        }
    }
}

/// Returns whether a response is complete: a head, and as many bytes of body as it announces.
fn is_whole(answer: &[u8]) -> bool {
    let Some(head) = answer.windows(4).position(|window| window == b"\r\n\r\n") else { return false };
    let lines = answer.get(..head).unwrap_or_default().split(|byte| *byte == b'\n');
    let mut lengths = lines.filter_map(|line| {
        let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    lengths.next().is_none_or(|length| answer.len() >= head + 4 + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_whole_with_its_last_byte() {
        let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 3\r\nx: y\r\n\r\nabc";
        for length in 0..answer.len() {
            assert!(!is_whole(&answer[..length]), "{length}");
        }
        assert!(is_whole(answer));
        assert!(is_whole(b"HTTP/1.1 204 No Content\r\n\r\n"));
    }

    #[test]
    fn a_request_has_a_key_of_its_own_and_its_users_token() {
        let (mut request, mut body) = (Vec::new(), Vec::new());
        let tokens = ["first".to_owned(), "second".to_owned()];
        write_request(&mut request, &mut body, &tokens, 2_001, booking(2_001).unwrap()).unwrap();
        let request = String::from_utf8(request).unwrap();
        assert!(request.contains("\r\nAuthorization: Bearer second\r\nIdempotency-Key: bench-2001\r\n"), "{request}");
        assert!(request.ends_with("\r\nContent-Length: 27\r\n\r\n{\"show_id\":2,\"seat_id\":202}"), "{request}");
    }
}
