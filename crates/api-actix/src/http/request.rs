//! What is read of every request: who calls, the path's spelling, the body.

use std::net::IpAddr;
use std::time::Duration;

use actix_web::HttpMessage as _;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Payload;
use domain::identity::{AccessTokens, Bearer};
use domain::limits::ClientNetwork;
use futures::StreamExt as _;
use serde_json::Value;

use super::call::{Input, Operation, Received};
use super::json;
use super::media::is_json_body;
use super::problem::{Code, Problem};

/// The most bytes of a body, unless its call says otherwise: enough for a few hundred seats.
pub const BODY_MAX: usize = 64 * 1024;
/// The most bytes of a too large body that are read and discarded, so that the client reads the response.
const DISCARD_MAX: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// The caller according to the `Authorization` header. The middleware reads it once for each request.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// There is no such header.
    Anonymous,
    /// The header has no valid token.
    Invalid,
    /// The header has a valid token. Its session may have ended.
    Known(Bearer),
}

/// Reads the `Authorization` header.
pub fn authorization(headers: &HeaderMap, tokens: &dyn AccessTokens) -> Authorization {
    let mut values = headers.get_all(header::AUTHORIZATION);
    match (values.next(), values.next()) {
        (None, _) => Authorization::Anonymous,
        (Some(value), None) => {
            let token = value.to_str().ok().and_then(|text| {
                let (scheme, token) = text.split_once(' ')?;
                scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
            });
            let bearer = token.and_then(|token| tokens.verify(token).ok());
            bearer.map_or(Authorization::Invalid, Authorization::Known)
        }
        (Some(_), Some(_)) => Authorization::Invalid,
    }
}

/// The client's network, by which wrong passwords and sign-ups are counted.
impl Input for ClientNetwork {
    fn describe(_: &mut Operation) {}

    fn read(received: &Received) -> Result<Self, Problem> {
        Ok(received.request.extensions().get().copied().unwrap_or(Self::Unknown))
    }
}

/// The client's address, for the audit log; `None` for a connection without addresses.
#[derive(Clone, Copy, Default)]
pub struct ClientAddress(pub Option<IpAddr>);

/// Returns whether a path is the only spelling of itself: it has no encoded unreserved character (RFC 3986, 2.3), no empty segment
/// and no dot segment. The router decodes paths; code that compares the path itself does not. On a canonical path both see the same.
pub fn is_canonical_path(path: &str) -> bool {
    // `OPTIONS *` and the authority of CONNECT have no segments; the router knows neither.
    let Some(segments) = path.strip_prefix('/') else { return path == "*" };
    // The index of the pages and the root end in a slash.
    let segments = if segments == "docs/" { "docs" } else { segments };
    let are_plain = segments.is_empty() || segments.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    let mut encoded =
        path.split('%').skip(1).map(|rest| rest.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok()));
    are_plain && !encoded.any(|byte| byte.is_some_and(is_unreserved))
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

/// Reads a body of at most `max` bytes.
pub async fn read_body(payload: Payload, max: usize) -> Result<Vec<u8>, Problem> {
    let late = || Problem::new(Code::RequestTimeout, "The body did not arrive in time. Send it again.");
    tokio::time::timeout(BODY_TIME_MAX, collect(payload, max)).await.unwrap_or_else(|_| Err(late()))
}

/// Reads a body and discards it.
pub async fn drain(payload: Payload) {
    drop(read_body(payload, BODY_MAX).await);
}

async fn collect(mut payload: Payload, max: usize) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut seen = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::MalformedJson, "The body broke off before its end."))?;
        seen = seen.saturating_add(chunk.len());
        if seen > DISCARD_MAX {
            break;
        }
        if seen <= max {
            bytes.extend_from_slice(&chunk);
        }
    }
    if seen > max {
        return Err(Problem::new(Code::PayloadTooLarge, format!("The body has more than {max} bytes.")));
    }
    Ok(bytes)
}

/// Reads JSON from a body.
pub fn read_json(headers: &HeaderMap, body: Result<&Vec<u8>, &Problem>) -> Result<Value, Problem> {
    check_media_type(headers)?;
    json::parse(body.map_err(Problem::clone)?)
        .map_err(|error| Problem::new(Code::MalformedJson, format!("The body is not JSON: {error}.")))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    check_encoding(headers)?;
    if is_json_body(headers) {
        Ok(())
    } else {
        let detail = "Send the body as JSON in UTF-8, with one Content-Type: application/json.";
        Err(Problem::new(Code::UnsupportedMediaType, detail))
    }
}

/// Refuses a body with a content encoding.
pub fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let mut encodings = headers.get_all(header::CONTENT_ENCODING);
    if encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        Ok(())
    } else {
        Err(Problem::new(Code::UnsupportedMediaType, "Send the body without a Content-Encoding."))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_spelling() {
        for good in [
            "/",
            "/docs/",
            "/docs/index.html",
            "/api/movies/1",
            "/api/holds/1-ABC",
            "/api/movies/%20",
            "/%C3%A4",
            "/%2F",
            "*",
        ] {
            assert!(is_canonical_path(good), "{good}");
        }
        for bad in [
            "",
            "//",
            "//api/movies",
            "/api//movies",
            "/api/movies/",
            "/docs//",
            "/%61pi/movies",
            "/api/shows/1/%68olds",
            "/api/%6d",
            "/api/%6D",
            "/api/%4a",
            "/a%2Db",
            "/a%2eb",
            "/a%5fb",
            "/a%7Eb",
            "/%30",
            "/./api",
            "/api/..",
            "/docs/../api",
        ] {
            assert!(!is_canonical_path(bad), "{bad}");
        }
    }
}
