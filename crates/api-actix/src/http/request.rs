//! What a request says: who calls, with which key, which body. Each function refuses in the order of the contract when
//! handlers call them in it: caller, key, body.

use std::time::Duration;

use actix_web::HttpMessage as _;
use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use actix_web::web::Payload;
use domain::StoreError;
use domain::booking::{HoldId, IdempotencyKey, Scope};
use domain::identity::{AccessTokens, Bearer, Caller};
use domain::ids::{BookingId, ShowId};
use domain::limits::ClientNetwork;
use futures::StreamExt as _;
use serde_json::Value;

use crate::http::fields::{Fields, Query, parse_id};
use crate::http::json;
use crate::http::media::is_json_body;
use crate::http::problem::{Code, Problem};

/// The largest body that makes sense: a few hundred seats.
const BODY_MAX: usize = 64 * 1024;
/// How much of a body that is too large is read and thrown away, so that the client gets to read the answer.
const DISCARD_MAX: usize = 16 * 1024 * 1024;
/// How long a body may take to arrive.
const BODY_TIME_MAX: Duration = Duration::from_secs(10);

/// What the request's `Authorization` says. Worked out once, by the middleware.
#[derive(Clone, Debug)]
pub enum Authorization {
    /// Nothing.
    Anonymous,
    /// Something that is no valid token.
    Invalid,
    /// A valid token, whose session has ended.
    Ended,
    /// A valid token, of which the store could not tell whether its session lasts.
    Unproven(StoreError),
    /// A valid token.
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

/// The caller, where the call is public: a token that isn't valid is ignored.
pub fn caller_if_known(request: &HttpRequest) -> Option<Caller> {
    match request.extensions().get::<Authorization>() {
        Some(Authorization::Known(bearer)) => Some(bearer.caller),
        _ => None,
    }
}

/// The caller, where there must be one.
pub fn caller(request: &HttpRequest) -> Result<Caller, Problem> {
    bearer(request).map(|bearer| bearer.caller)
}

/// The caller and the session it calls in, where there must be one.
pub fn bearer(request: &HttpRequest) -> Result<Bearer, Problem> {
    match request.extensions().get::<Authorization>() {
        Some(Authorization::Known(bearer)) => Ok(*bearer),
        Some(Authorization::Ended) => Err(Problem::session_ended()),
        Some(Authorization::Unproven(error)) => Err(error.clone().into()),
        _ => Err(Problem::unauthenticated()),
    }
}

/// The network that the request comes from: wrong passwords and sign-ups are counted by it.
pub fn client_network(request: &HttpRequest) -> ClientNetwork {
    request.extensions().get().copied().unwrap_or(ClientNetwork::Unknown)
}

/// The `Idempotency-Key`, where there must be one.
pub fn idempotency_key(request: &HttpRequest) -> Result<IdempotencyKey, Problem> {
    idempotency_key_if_given(request)?.ok_or_else(|| {
        Problem::new(
            Code::IdempotencyKeyMissing,
            "Send an Idempotency-Key header: a text of your own, new for each booking and the same for its retries.",
        )
    })
}

/// The `Idempotency-Key`, where there may be one.
pub fn idempotency_key_if_given(request: &HttpRequest) -> Result<Option<IdempotencyKey>, Problem> {
    let invalid = |detail| Problem::new(Code::IdempotencyKeyInvalid, detail);
    let mut values = request.headers().get_all("idempotency-key");
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => Err(invalid("Send one Idempotency-Key header, not several.")),
        (Some(value), None) => value
            .to_str()
            .ok()
            .and_then(|text| IdempotencyKey::parse(text).ok())
            .map(Some)
            .ok_or_else(|| invalid("An Idempotency-Key has 1 to 255 visible ASCII characters.")),
    }
}

/// An operation that takes an idempotency key, with the ids in its path.
pub enum Operation<'a> {
    /// Book seats.
    Book,
    /// Cancel a booking.
    CancelBooking(BookingId),
    /// Give a booking other seats.
    ChangeSeats(BookingId),
    /// Hold seats of a show.
    Hold(ShowId),
    /// Extend a hold.
    ExtendHold(&'a HoldId),
    /// Release a hold.
    ReleaseHold(&'a HoldId),
}

impl Operation<'_> {
    /// The scope of a key: method and path, built from the parsed ids. The path as the client spelled it is never part of it,
    /// because two spellings would make two scopes. Stored keys have this form: it must not change.
    pub fn scope(&self) -> Scope {
        Scope(match self {
            Self::Book => "POST /api/bookings".to_owned(),
            Self::CancelBooking(id) => format!("POST /api/bookings/{id}/cancel"),
            Self::ChangeSeats(id) => format!("POST /api/bookings/{id}/seats"),
            Self::Hold(show_id) => format!("POST /api/shows/{show_id}/holds"),
            Self::ExtendHold(id) => format!("POST /api/holds/{}/extend", id.as_str()),
            Self::ReleaseHold(id) => format!("DELETE /api/holds/{}", id.as_str()),
        })
    }
}

/// Whether a path is the only spelling of itself: it has no encoded unreserved character (RFC 3986, 2.3), no empty segment and no
/// dot segment. The router decodes paths; code that compares the path itself does not. On a canonical path both see the same.
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

/// A body as it arrived.
pub struct Body(Result<Vec<u8>, Problem>);

/// Reads the body before anything is judged: who is answered while still sending may never read the answer.
pub async fn receive(payload: Payload) -> Body {
    let read = tokio::time::timeout(BODY_TIME_MAX, read_body(payload)).await;
    let late = || Problem::new(Code::RequestTimeout, "The body did not arrive in time. Send it again.");
    Body(read.unwrap_or_else(|_| Err(late())))
}

impl Body {
    /// The body as JSON.
    pub fn json(self, request: &HttpRequest) -> Result<Value, Problem> {
        check_media_type(request.headers())?;
        json::parse(&self.0?)
            .map_err(|error| Problem::new(Code::MalformedJson, format!("The body is not JSON: {error}.")))
    }

    /// The body as JSON. None at all is an object without members: clients that send none with DELETE are told what is missing.
    pub fn json_if_any(self, request: &HttpRequest) -> Result<Value, Problem> {
        match &self.0 {
            Ok(bytes) if bytes.is_empty() => Ok(Value::Object(serde_json::Map::new())),
            _ => self.json(request),
        }
    }
}

/// The members of a JSON body.
pub async fn fields(request: &HttpRequest, payload: Payload) -> Result<Fields, Problem> {
    Fields::of(receive(payload).await.json(request)?)
}

/// The parameters of the query.
pub fn query(request: &HttpRequest) -> Result<Query, Problem> {
    Query::of(request.query_string())
}

/// An id of the path.
pub fn path_id(request: &HttpRequest, name: &str) -> Result<i64, Problem> {
    let text = request.match_info().get(name).unwrap_or_default();
    parse_id(text).ok_or_else(|| Problem::field(name, "invalid", "must be an integer from 1 to 9223372036854775807"))
}

async fn read_body(mut payload: Payload) -> Result<Vec<u8>, Problem> {
    let mut bytes = Vec::new();
    let mut seen = 0_usize;
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|_| Problem::new(Code::MalformedJson, "The body broke off before its end."))?;
        seen = seen.saturating_add(chunk.len());
        if seen > DISCARD_MAX {
            break;
        }
        if seen <= BODY_MAX {
            bytes.extend_from_slice(&chunk);
        }
    }
    if seen > BODY_MAX {
        return Err(Problem::new(Code::PayloadTooLarge, format!("The body has more than {BODY_MAX} bytes.")));
    }
    Ok(bytes)
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail| Err(Problem::new(Code::UnsupportedMediaType, detail));
    let mut encodings = headers.get_all(header::CONTENT_ENCODING);
    if !encodings.all(|encoding| encoding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        return unsupported("Send the body without a Content-Encoding.");
    }
    if is_json_body(headers) {
        Ok(())
    } else {
        unsupported("Send the body as JSON in UTF-8, with one Content-Type: application/json.")
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

    #[test]
    fn scopes_are_those_of_normally_spelled_requests() {
        let hold = HoldId::parse("7-0123456789ABCDEFGHJKMNPQRS").unwrap();
        let scopes = [
            (Operation::Book, "POST /api/bookings"),
            (Operation::CancelBooking(BookingId(3)), "POST /api/bookings/3/cancel"),
            (Operation::ChangeSeats(BookingId(3)), "POST /api/bookings/3/seats"),
            (Operation::Hold(ShowId(7)), "POST /api/shows/7/holds"),
            (Operation::ExtendHold(&hold), "POST /api/holds/7-0123456789ABCDEFGHJKMNPQRS/extend"),
            (Operation::ReleaseHold(&hold), "DELETE /api/holds/7-0123456789ABCDEFGHJKMNPQRS"),
        ];
        for (operation, scope) in scopes {
            assert_eq!(operation.scope().0, scope);
        }
    }
}
