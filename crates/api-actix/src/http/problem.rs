//! Error responses: problem details by RFC 9457, built here and nowhere else.
//!
//! Handlers return a [`Problem`]. The outermost middleware writes its body, because the request's id is known there. Causes go to the
//! log only.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, ResponseError};
use catalog_file::FileMistake;
use chrono::{DateTime, SecondsFormat, Utc};
use domain::StoreError;
use domain::admin::{Authority, ChangeError, ChangeRefusal, ObjectKind, ShowMistake, ShowMistakeReason, ShowOverlap};
use domain::booking::{CommandError, ReadBookingError, Refusal};
use domain::catalog::{MovieShowsError, ProgrammeError};
use domain::error::with_sources;
use domain::identity::{
    DeleteAccountError, EndSessionError, LoginError, PasswordHasherError, ProofError, RefreshError, RegisterError,
    TooManyFailures, UpdateProfileError, WhoAmIError,
};
use domain::ids::SeatId;
use domain::limits::{Allowance, Limit};
use domain::pricing::ShowPricesError;
use domain::seating::{SeatMapError, SeatSelectionError};
use domain::transfer::ExportError;
use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::prices::invalid_prices;

/// Declares the codes: one table for the program, the OpenAPI document and the reference page.
macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $status:literal, $code:literal, $title:literal;)*) => {
        /// What went wrong, for programs. A code never changes its meaning.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
        pub enum Code { $($(#[doc = $doc])+ $name,)* }

        impl Code {
            /// Every code.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Returns what the code means: one or two sentences.
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
            }

            fn parts(self) -> (u16, &'static str, &'static str) {
                match self { $(Self::$name => ($status, $code, $title),)* }
            }
        }
    };
}

codes! {
    /// The request is not HTTP/1.1, or its end is ambiguous. The connection is closed.
    MalformedRequest = 400, "malformed_request", "Malformed request";
    /// The body is not JSON: bad UTF-8, nested too deeply, or a member is repeated.
    MalformedJson = 400, "malformed_json", "Malformed JSON";
    /// The body, the query or the path is invalid. `errors` lists every invalid field.
    ValidationFailed = 400, "validation_failed", "Validation failed";
    /// The call needs an `Idempotency-Key` header.
    IdempotencyKeyMissing = 400, "idempotency_key_missing", "Idempotency key missing";
    /// The `Idempotency-Key` header is invalid.
    IdempotencyKeyInvalid = 400, "idempotency_key_invalid", "Idempotency key invalid";
    /// The token is missing, malformed, expired, or its session has ended.
    Unauthenticated = 401, "unauthenticated", "Not authenticated";
    /// The e-mail address or the password is wrong.
    InvalidCredentials = 401, "invalid_credentials", "Invalid credentials";
    /// The caller is not allowed to do this, or a required `current_password` is missing or wrong.
    Forbidden = 403, "forbidden", "Forbidden";
    /// An administrator has disabled the account.
    AccountDisabled = 403, "account_disabled", "Account disabled";
    /// The resource does not exist, or it belongs to another user.
    NotFound = 404, "not_found", "Not found";
    /// The show does not exist.
    ShowNotFound = 404, "show_not_found", "Show not found";
    /// The movie does not exist.
    MovieNotFound = 404, "movie_not_found", "Movie not found";
    /// The theatre does not exist.
    TheatreNotFound = 404, "theatre_not_found", "Theatre not found";
    /// The hall does not exist.
    HallNotFound = 404, "hall_not_found", "Hall not found";
    /// The layout does not exist.
    LayoutNotFound = 404, "layout_not_found", "Layout not found";
    /// The price list does not exist.
    PriceListNotFound = 404, "price_list_not_found", "Price list not found";
    /// The ticket type does not exist.
    TicketTypeNotFound = 404, "ticket_type_not_found", "Ticket type not found";
    /// The user does not exist, or the account was deleted.
    UserNotFound = 404, "user_not_found", "User not found";
    /// No account has this e-mail address.
    CustomerNotFound = 404, "customer_not_found", "Customer not found";
    /// Some seats do not belong to the show's hall. `seat_ids` lists them.
    SeatNotFound = 404, "seat_not_found", "Seat not found";
    /// The hold does not exist, was released or redeemed, or belongs to another user.
    HoldNotFound = 404, "hold_not_found", "Hold not found";
    /// The booking does not exist, or it belongs to another user.
    BookingNotFound = 404, "booking_not_found", "Booking not found";
    /// The path does not support the method. `Allow` lists the methods that it supports.
    MethodNotAllowed = 405, "method_not_allowed", "Method not allowed";
    /// The response is JSON, which the `Accept` header excludes.
    NotAcceptable = 406, "not_acceptable", "Not acceptable";
    /// The request did not arrive in time.
    RequestTimeout = 408, "request_timeout", "Request timeout";
    /// Some seats are taken. `seat_ids` lists them, `hold_id` is the caller's own hold of one of them, and `alternatives` has
    /// groups of free seats.
    SeatUnavailable = 409, "seat_unavailable", "Seat unavailable";
    /// Another account has this e-mail address.
    EmailTaken = 409, "email_taken", "Email taken";
    /// The current state does not allow this. `detail` says what to do.
    Conflict = 409, "conflict", "Conflict";
    /// The show is not on sale: not yet, not any more, or it is cancelled.
    SalesClosed = 409, "sales_closed", "Sales closed";
    /// The hold has expired, and its seats are free.
    HoldExpired = 409, "hold_expired", "Hold expired";
    /// The booking cannot be cancelled, or not any more.
    BookingNotCancellable = 409, "booking_not_cancellable", "Booking not cancellable";
    /// The movie has upcoming shows.
    MovieInUse = 409, "movie_in_use", "Movie in use";
    /// The theatre has upcoming shows, or its currency cannot change because it has price lists.
    TheatreInUse = 409, "theatre_in_use", "Theatre in use";
    /// The hall has upcoming shows.
    HallInUse = 409, "hall_in_use", "Hall in use";
    /// Other shows are in the hall at this time, cleaning included. `conflicts` lists them.
    ShowOverlap = 409, "show_overlap", "Show overlap";
    /// The show has bookings, and the request does not have `notify: true`.
    ShowHasBookings = 409, "show_has_bookings", "Show has bookings";
    /// Another object has this name.
    NameTaken = 409, "name_taken", "Name taken";
    /// The object was changed since it was read: its `ETag` is not one of `If-Match`.
    PreconditionFailed = 412, "precondition_failed", "Precondition failed";
    /// The body exceeds the size limit.
    PayloadTooLarge = 413, "payload_too_large", "Payload too large";
    /// The body must be JSON in UTF-8, without a content encoding.
    UnsupportedMediaType = 415, "unsupported_media_type", "Unsupported media type";
    /// The `Idempotency-Key` was used with another request.
    IdempotencyKeyReused = 422, "idempotency_key_reused", "Idempotency key reused";
    /// The request has more seats than a booking can have, or than a user can hold for one show. `max` is the limit.
    TooManySeats = 422, "too_many_seats", "Too many seats";
    /// The selection leaves single empty seats. `seat_ids` lists them, and `alternatives` has groups of free seats.
    SeatsLeaveGap = 422, "seats_leave_gap", "Seats leave a gap";
    /// The selection has half a love seat, which is sold whole. `seat_ids` lists the missing halves.
    SeatsSplitPair = 422, "seats_split_pair", "Seats split a love seat";
    /// The show does not sell some of the ticket types for the category of their seats. `seat_ids` lists these seats.
    TicketTypeNotSold = 422, "ticket_type_not_sold", "Ticket type not sold";
    /// The new seats cost more than the old ones.
    PriceDiffers = 422, "price_differs", "Price differs";
    /// The change needs an `If-Match` header.
    PreconditionRequired = 428, "precondition_required", "Precondition required";
    /// Too many requests, or too many failed logins.
    RateLimited = 429, "rate_limited", "Rate limited";
    /// Too many sign-ups from one network within an hour.
    TooManySignUps = 429, "too_many_sign_ups", "Too many sign-ups";
    /// The caller would hold more seats over all shows than a user can. `max` is the limit.
    HeldSeatsLimit = 429, "held_seats_limit", "Held seats limit";
    /// The caller has held some seats for as long as a user can. `seat_ids` lists them.
    SeatHoldTimeUsed = 429, "seat_hold_time_used", "Seat hold time used";
    /// The caller has cancelled as many bookings within 24 hours as a user can. `max` is the limit.
    CancellationLimit = 429, "cancellation_limit", "Cancellation limit";
    /// The request line and the headers exceed the size limit. The connection is closed.
    HeadersTooLarge = 431, "headers_too_large", "Headers too large";
    /// The server failed. The log has the cause under the request's id.
    Internal = 500, "internal", "Internal error";
    /// A dependency of the server cannot be reached.
    Unavailable = 503, "unavailable", "Unavailable";
    /// The server sheds load: too many requests are waiting.
    Overloaded = 503, "overloaded", "Overloaded";
    /// The booking may exist. Retry with the same key to find out.
    OutcomeUnknown = 503, "outcome_unknown", "Outcome unknown";
}

impl Code {
    /// Returns the HTTP status.
    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.parts().0).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Returns the name on the wire.
    pub fn as_str(self) -> &'static str {
        self.parts().1
    }

    /// Returns the problem's `title`.
    pub fn title(self) -> &'static str {
        self.parts().2
    }
}

/// An invalid field.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldError {
    /// Its name, or its path, like `seat_ids[2]`.
    pub field: String,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// What is wrong, for people: a predicate, like `is required`.
    pub message: String,
}

/// An error response.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    detail: Cow<'static, str>,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl Problem {
    /// Returns a problem. `detail` says what to do.
    pub fn new(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self { code, detail: detail.into(), members: Map::new(), headers: Vec::new(), cause: None }
    }

    /// Returns a problem with all invalid fields.
    pub fn fields(errors: Vec<FieldError>) -> Self {
        let names: Vec<_> = errors.iter().map(|error| format!("{} {}", error.field, error.message)).collect();
        let list = errors.iter().zip(&names).map(|(error, message)| {
            let view = FieldErrorView {
                field: error.field.clone(),
                code: error.code.to_owned(),
                message: message.clone(),
                line: None,
            };
            json!(view)
        });
        let list = Value::Array(list.collect());
        Self::new(Code::ValidationFailed, format!("{}.", names.join("; "))).with("errors", list)
    }

    /// Returns a problem with all mistakes of an imported file.
    pub fn file(mistakes: &[FileMistake]) -> Self {
        let view = |FileMistake { path, line, code, message }: &FileMistake| {
            let what = if path.is_empty() { "the file" } else { path };
            let (field, message) = (path.clone(), format!("{what} {message}"));
            json!(FieldErrorView { field, code: (*code).to_owned(), message, line: Some(*line) })
        };
        let first = mistakes.first().map(ToString::to_string).unwrap_or_default();
        let detail = match mistakes.len() {
            1 => format!("Nothing was imported. {first}."),
            count => format!("Nothing was imported. The file has {count} mistakes; the first: {first}."),
        };
        Self::new(Code::ValidationFailed, detail).with("errors", mistakes.iter().map(view).collect())
    }

    /// Returns a problem with one invalid field.
    pub fn field(field: impl Into<String>, code: &'static str, message: impl Into<String>) -> Self {
        Self::fields(vec![FieldError { field: field.into(), code, message: message.into() }])
    }

    /// Returns the problem of a caller without a valid token.
    pub fn unauthenticated() -> Self {
        Self::new(Code::Unauthenticated, "Log in and send the token as Authorization: Bearer <token>.")
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// Returns the problem of a caller whose session has ended.
    pub fn session_ended() -> Self {
        Self { detail: "The session has ended. Log in again.".into(), ..Self::unauthenticated() }
    }

    /// Returns the problem of a caller without this authority.
    pub fn not_staff(authority: Authority) -> Self {
        let detail = match authority {
            Authority::Staff => "Only the cinema's staff can do this. Log in with an account of staff.",
            Authority::Theatre(_) => "You do not work for this theatre. An administrator can assign it to you.",
            Authority::Admin => "Only an administrator can do this.",
        };
        Self::new(Code::Forbidden, detail)
    }

    /// Returns a refusal of too many requests.
    pub fn rate_limited(detail: &'static str, limit: Limit, allowance: Allowance) -> Self {
        Self::limited(Code::RateLimited, detail, limit, allowance)
    }

    fn limited(code: Code, detail: &'static str, limit: Limit, allowance: Allowance) -> Self {
        let mut problem = Self::new(code, detail).retry_after(allowance.resets_in);
        problem.headers.extend(rate_limit_headers(limit, allowance));
        problem
    }

    /// Adds a member.
    #[must_use]
    pub fn with(mut self, name: &str, value: Value) -> Self {
        self.members.insert(name.to_owned(), value);
        self
    }

    fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    fn retry_after(self, wait: Duration) -> Self {
        // Whole seconds, and never "at once".
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// Returns the cause, which only the log has.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Returns what is wrong and what to do, for people.
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Returns the code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Returns the headers that come with it.
    pub fn headers(&self) -> &[(HeaderName, HeaderValue)] {
        &self.headers
    }

    /// Returns the body.
    pub fn body(&self, request_id: &str) -> String {
        let mut body = Map::new();
        let code = self.code.as_str();
        body.insert("type".into(), format!("/problems/{}", code.replace('_', "-")).into());
        body.insert("title".into(), self.code.title().into());
        body.insert("status".into(), self.code.status().as_u16().into());
        body.insert("detail".into(), self.detail.as_ref().into());
        body.insert("message".into(), self.detail.as_ref().into());
        body.insert("code".into(), code.into());
        body.insert("request_id".into(), request_id.into());
        body.extend(self.members.clone());
        Value::Object(body).to_string()
    }

    /// Returns the problem for a status of the web framework.
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            404 => Self::new(Code::NotFound, "This path does not exist. GET /api/openapi.json lists all paths."),
            405 => Self::new(
                Code::MethodNotAllowed,
                "This path does not support this method. The Allow header lists the methods it supports.",
            ),
            406 => Self::new(
                Code::NotAcceptable,
                "The response is JSON, which the Accept header excludes. Send Accept: application/json.",
            ),
            408 => Self::new(Code::RequestTimeout, "The request did not arrive in time. Send it again."),
            413 => Self::new(Code::PayloadTooLarge, "The body is too large."),
            415 => Self::new(Code::UnsupportedMediaType, "Send the body as application/json."),
            _ if status.is_client_error() => Self::new(Code::ValidationFailed, "The request is not valid."),
            _ => Self::internal(format!("the web framework answered {status}")),
        }
    }

    /// Returns a problem for a failure of the server. Only the log has the cause.
    pub fn internal(cause: impl fmt::Display) -> Self {
        let mut problem =
            Self::new(Code::Internal, "The server failed. Report the request_id: the log has the cause under it.");
        problem.cause = Some(cause.to_string());
        problem
    }

    fn unavailable(code: Code, detail: &'static str, cause: Option<&dyn std::error::Error>) -> Self {
        let mut problem = Self::new(code, detail).retry_after(Duration::from_secs(1));
        problem.cause = cause.map(with_sources);
        problem
    }

    fn overloaded() -> Self {
        Self::unavailable(Code::Overloaded, "The server is overloaded and did nothing. Try again in a moment.", None)
    }
}

/// Returns the `RateLimit` headers (IETF httpapi draft "RateLimit header fields for HTTP").
pub fn rate_limit_headers(limit: Limit, allowance: Allowance) -> Vec<(HeaderName, HeaderValue)> {
    let seconds = allowance.resets_in.as_secs() + u64::from(allowance.resets_in.subsec_nanos() > 0);
    let policy = format!("\"default\";q={};w={}", limit.tries, limit.window.as_secs());
    let state = format!("\"default\";r={};t={seconds}", allowance.remaining);
    [("ratelimit-policy", policy), ("ratelimit", state)]
        .into_iter()
        .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)))
        .collect()
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code.as_str())
    }
}

impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.code.status()
    }

    /// Returns a response without a body, which the outermost middleware writes.
    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        for header in &self.headers {
            response.append_header(header.clone());
        }
        response.finish()
    }
}

/// An invalid field.
#[derive(Serialize, ToSchema)]
#[schema(as = FieldError)]
struct FieldErrorView {
    /// Its name, or its path, like `seat_ids[2]`.
    field: String,
    code: String,
    message: String,
    /// The line of an imported file.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, minimum = 1)]
    line: Option<usize>,
}

/// Problem details (RFC 9457). `message` repeats `detail`.
#[derive(ToSchema)]
#[schema(as = Problem)]
#[expect(dead_code, reason = "only its schema is used: `Problem::body` writes the members that a problem has")]
pub struct ProblemView {
    r#type: String,
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    detail: String,
    message: String,
    code: String,
    request_id: String,
    /// With `validation_failed`: every invalid field.
    #[schema(nullable = false)]
    errors: Option<Vec<FieldErrorView>>,
    /// The seats that the problem is about.
    #[schema(nullable = false)]
    seat_ids: Option<Vec<i64>>,
    /// With `seat_unavailable`: the caller's own hold, if it has some of those seats.
    #[schema(nullable = false)]
    hold_id: Option<String>,
    /// With `seat_unavailable` for several seats and with `seats_leave_gap`: up to three groups of as many free seats together.
    #[schema(nullable = false)]
    alternatives: Option<Vec<Vec<i64>>>,
    /// The limit that was exceeded.
    #[schema(nullable = false)]
    max: Option<u64>,
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Unavailable(_) => Self::unavailable(
                Code::Unavailable,
                "The server cannot reach its database and did nothing. Try again in a moment.",
                Some(&error),
            ),
            StoreError::Internal(_) => Self::internal(with_sources(&error)),
        }
    }
}

impl From<PasswordHasherError> for Problem {
    fn from(error: PasswordHasherError) -> Self {
        match &error {
            PasswordHasherError::Overloaded => Self::overloaded(),
            PasswordHasherError::Internal(_) => Self::internal(with_sources(&error)),
        }
    }
}

impl From<RegisterError> for Problem {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::EmailTaken => {
                Self::new(Code::EmailTaken, "An account with this e-mail address exists already. Log in instead.")
            }
            RegisterError::TooManySignUps { retry_in, limit } => Self::limited(
                Code::TooManySignUps,
                "Too many accounts were created from your network. Wait and try again.",
                limit,
                Allowance { allowed: false, remaining: 0, resets_in: retry_in },
            ),
            RegisterError::Password(error) => error.into(),
            RegisterError::Store(error) => error.into(),
        }
    }
}

impl From<LoginError> for Problem {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::InvalidCredentials => {
                Self::new(Code::InvalidCredentials, "The e-mail address or the password is wrong.")
                    .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
            }
            LoginError::Disabled => {
                Self::new(Code::AccountDisabled, "This account is disabled. Ask an administrator of the cinema.")
            }
            LoginError::TooManyFailures(error) => error.into(),
            LoginError::Password(error) => error.into(),
            LoginError::Store(error) => error.into(),
        }
    }
}

impl From<TooManyFailures> for Problem {
    fn from(TooManyFailures { retry_in, limit }: TooManyFailures) -> Self {
        Self::rate_limited(
            "Too many failed logins. Wait and try again.",
            limit,
            Allowance { allowed: false, remaining: 0, resets_in: retry_in },
        )
    }
}

impl From<ProofError> for Problem {
    fn from(error: ProofError) -> Self {
        match error {
            ProofError::SessionEnded => Self::session_ended(),
            ProofError::PasswordMissing => {
                Self::new(Code::Forbidden, "This change needs your password. Send it as current_password.")
            }
            ProofError::WrongPassword => Self::new(
                Code::Forbidden,
                "The current password is wrong, and nothing was changed. Send the password you log in with as current_password.",
            ),
            ProofError::TooManyFailures(error) => error.into(),
            ProofError::Password(error) => error.into(),
            ProofError::Store(error) => error.into(),
        }
    }
}

impl From<UpdateProfileError> for Problem {
    fn from(error: UpdateProfileError) -> Self {
        match error {
            UpdateProfileError::Unproven(error) => error.into(),
            UpdateProfileError::EmailTaken => Self::new(
                Code::EmailTaken,
                "Another account has this e-mail address, and nothing was changed. Choose another address.",
            ),
        }
    }
}

impl From<DeleteAccountError> for Problem {
    fn from(error: DeleteAccountError) -> Self {
        match error {
            DeleteAccountError::Unproven(error) => error.into(),
            DeleteAccountError::LastAdmin => Self::new(
                Code::Conflict,
                "This is the account of the only administrator. Create another administrator first (movie-booking admin create).",
            ),
        }
    }
}

impl From<EndSessionError> for Problem {
    fn from(error: EndSessionError) -> Self {
        match error {
            EndSessionError::NotFound => {
                Self::new(Code::NotFound, "This session does not exist, or it has already ended.")
            }
            EndSessionError::Store(error) => error.into(),
        }
    }
}

impl From<RefreshError> for Problem {
    fn from(error: RefreshError) -> Self {
        match error {
            RefreshError::Refused => Self {
                detail: "The refresh token is invalid or was already used. Log in again.".into(),
                ..Self::unauthenticated()
            },
            RefreshError::Store(error) => error.into(),
        }
    }
}

impl From<WhoAmIError> for Problem {
    fn from(error: WhoAmIError) -> Self {
        match error {
            WhoAmIError::SessionEnded => Self::session_ended(),
            WhoAmIError::Store(error) => error.into(),
        }
    }
}

impl From<MovieShowsError> for Problem {
    fn from(error: MovieShowsError) -> Self {
        match error {
            MovieShowsError::MovieNotFound => Self::new(Code::MovieNotFound, "This movie does not exist."),
            MovieShowsError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeError> for Problem {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::SessionEnded => Self::session_ended(),
            ChangeError::Forbidden => {
                Self::new(Code::Forbidden, "You do not work for this theatre, or only an administrator can do this.")
            }
            ChangeError::KeyReused => Refusal::KeyReused.into(),
            ChangeError::NotFound(kind) => match kind {
                ObjectKind::Movie => Self::new(Code::MovieNotFound, "This movie does not exist."),
                ObjectKind::Theatre => Self::new(Code::TheatreNotFound, "This theatre does not exist."),
                ObjectKind::Hall => Self::new(Code::HallNotFound, "This hall does not exist."),
                ObjectKind::Booking => Refusal::BookingNotFound.into(),
                ObjectKind::Show => Refusal::ShowNotFound.into(),
                ObjectKind::Layout => Self::new(Code::LayoutNotFound, "This layout does not exist."),
                ObjectKind::PriceList => Self::new(Code::PriceListNotFound, "This price list does not exist."),
                ObjectKind::TicketType => Self::new(Code::TicketTypeNotFound, "This ticket type does not exist."),
                ObjectKind::User => {
                    Self::new(Code::UserNotFound, "This user does not exist, or the account was deleted.")
                }
            },
            ChangeError::PreconditionFailed | ChangeError::Stale => Self::new(
                Code::PreconditionFailed,
                "The object was changed since you read it, and nothing was changed now. Read it again, and send If-Match with its ETag.",
            ),
            ChangeError::InvalidPrices(mistakes) => invalid_prices(mistakes),
            ChangeError::InvalidShows(mistakes) => invalid_shows(mistakes),
            ChangeError::ShowsOverlap(overlaps) => show_overlap(&overlaps),
            ChangeError::Refused(refusal) => refusal.into(),
            ChangeError::Store(error) => error.into(),
        }
    }
}

impl From<ExportError> for Problem {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Undrawable { .. } => Self::new(Code::Conflict, format!("Nothing was exported: {error}.")),
            ExportError::Store(error) => error.into(),
        }
    }
}

impl From<ChangeRefusal> for Problem {
    fn from(refusal: ChangeRefusal) -> Self {
        match refusal {
            ChangeRefusal::NameTaken => Self::new(
                Code::NameTaken,
                "Another object has this name, and nothing was changed. Choose another name.",
            ),
            ChangeRefusal::InUse(kind) => {
                let (code, what) = match kind {
                    ObjectKind::Movie => (Code::MovieInUse, "movie"),
                    ObjectKind::Theatre => (Code::TheatreInUse, "theatre"),
                    ObjectKind::Hall => (Code::HallInUse, "hall"),
                    ObjectKind::Layout => (Code::Conflict, "layout"),
                    ObjectKind::User => (Code::Conflict, "user"),
                    ObjectKind::Booking => (Code::Conflict, "booking"),
                    ObjectKind::Show => (Code::Conflict, "show"),
                    ObjectKind::TicketType => (Code::Conflict, "ticket type"),
                    ObjectKind::PriceList => (Code::Conflict, "price list"),
                };
                Self::new(code, format!("This {what} has upcoming shows. Cancel them, or wait until they have ended."))
            }
            ChangeRefusal::TheatreNotFound => {
                Self::new(Code::TheatreNotFound, "A theatre of the request does not exist, or it is retired.")
            }
            ChangeRefusal::HallRetired => {
                Self::new(Code::Conflict, "This hall is retired: it gets no layout and no show. Choose another hall.")
            }
            ChangeRefusal::HasPriceLists => Self::new(
                Code::TheatreInUse,
                "This theatre has price lists in its currency. Retire them before you change the currency.",
            ),
            ChangeRefusal::DefaultTicketType => Self::new(
                Code::Conflict,
                "adult is the ticket type of every seat for which a request names none. It can be changed, but not retired.",
            ),
            ChangeRefusal::MovieRetired => Self::new(
                Code::Conflict,
                "This movie is retired and gets no show. Add the movie again under another title.",
            ),
            ChangeRefusal::PriceListRetired => {
                Self::new(Code::Conflict, "This price list is retired. Choose another one.")
            }
            ChangeRefusal::HallWithoutSeats => {
                Self::new(Code::Conflict, "This hall has no seats. Add a layout to it first.")
            }
            ChangeRefusal::ShowStarted => {
                Self::new(Code::Conflict, "This show has begun and cannot be changed. It can still be cancelled.")
            }
            ChangeRefusal::ShowCancelled => {
                Self::new(Code::Conflict, "This show is cancelled and cannot be changed. Add another show.")
            }
            ChangeRefusal::ShowHasBookings => Self::new(
                Code::ShowHasBookings,
                "This show has bookings. Send notify: true to move it; each booking gets an event for the message to its customer.",
            ),
            ChangeRefusal::LastAdmin => Self::new(
                Code::Conflict,
                "This is the account of the only administrator. Make another user an administrator first.",
            ),
        }
    }
}

/// Returns the problem of invalid shows, with all mistakes.
fn invalid_shows(mistakes: Vec<ShowMistake>) -> Problem {
    let field = |ShowMistake { field, reason }: ShowMistake| {
        let code = match &reason {
            ShowMistakeReason::Past(_) | ShowMistakeReason::OpensTooLate(_) => "out_of_range",
            ShowMistakeReason::MissingPrices(_) => "missing_prices",
            ShowMistakeReason::OtherTheatre => "other_theatre",
            ShowMistakeReason::Programme(error) => match error {
                ProgrammeError::NonexistentTimes(_) => "nonexistent_time",
                ProgrammeError::RepeatedTime { .. } => "repeated",
                ProgrammeError::Overlap { .. } => "overlap",
                ProgrammeError::NoWeekdays | ProgrammeError::NoTimes | ProgrammeError::NoShows { .. } => "too_few",
                ProgrammeError::TooManyShows { .. } => "too_many",
                ProgrammeError::DaysReversed { .. }
                | ProgrammeError::TooLong { .. }
                | ProgrammeError::OutsideCalendar
                | ProgrammeError::Duration => "out_of_range",
            },
        };
        FieldError { field: field.to_owned(), code, message: reason.to_string() }
    };
    Problem::fields(mistakes.into_iter().map(field).collect())
}

fn show_overlap(overlaps: &[ShowOverlap]) -> Problem {
    let time = |at: &DateTime<Utc>| at.to_rfc3339_opts(SecondsFormat::AutoSi, true);
    let conflict = |overlap: &ShowOverlap| {
        json!({
            "start_time": time(&overlap.start_time),
            "show_id": overlap.other.0,
            "movie_title": overlap.other_title,
            "show_start_time": time(&overlap.other_start),
            "hall_free_at": time(&overlap.other_hall_free_at),
        })
    };
    let detail = "Other shows are in the hall at this time, cleaning included, and nothing was changed. Choose other times, or cancel these shows.";
    Problem::new(Code::ShowOverlap, detail).with("conflicts", overlaps.iter().map(conflict).collect())
}

impl From<SeatMapError> for Problem {
    fn from(error: SeatMapError) -> Self {
        match error {
            SeatMapError::ShowNotFound => Self::new(Code::ShowNotFound, "This show does not exist."),
            SeatMapError::Store(error) => error.into(),
        }
    }
}

impl From<ShowPricesError> for Problem {
    fn from(error: ShowPricesError) -> Self {
        match error {
            ShowPricesError::ShowNotFound => Refusal::ShowNotFound.into(),
            ShowPricesError::Store(error) => error.into(),
        }
    }
}

impl From<ReadBookingError> for Problem {
    fn from(error: ReadBookingError) -> Self {
        match error {
            ReadBookingError::SessionEnded => Self::session_ended(),
            ReadBookingError::NotFound => Refusal::BookingNotFound.into(),
            ReadBookingError::HoldNotFound => Refusal::HoldNotFound.into(),
            ReadBookingError::Store(error) => error.into(),
        }
    }
}

impl From<SeatSelectionError> for Problem {
    fn from(error: SeatSelectionError) -> Self {
        match &error {
            SeatSelectionError::Empty => Self::field("seat_ids", "too_few", "must have at least one seat"),
            SeatSelectionError::Repeated { seat_id } => {
                Self::field("seat_ids", "repeated", format!("has seat {seat_id} twice"))
            }
            SeatSelectionError::TooMany { max, .. } => {
                Self::new(Code::TooManySeats, format!("A booking can have at most {max} seats."))
                    .with("max", (*max).into())
            }
        }
    }
}

fn seat_list(seats: &[SeatId]) -> Value {
    seats.iter().map(|seat| Value::from(seat.0)).collect()
}

impl From<CommandError> for Problem {
    fn from(error: CommandError) -> Self {
        match error {
            CommandError::Refused(refusal) => refusal.into(),
            CommandError::Overloaded => Self::overloaded(),
            CommandError::Store(error) => error.into(),
            CommandError::OutcomeUnknown => Self::unavailable(
                Code::OutcomeUnknown,
                "The outcome is unknown: the request may have succeeded. Send it again with the same Idempotency-Key to get the result. Nothing is done twice.",
                None,
            ),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::SessionEnded => Self::session_ended(),
            Refusal::KeyReused => Self::new(
                Code::IdempotencyKeyReused,
                "This Idempotency-Key was used with another request. Use a new key for a new request.",
            ),
            Refusal::ShowNotFound => Self::new(Code::ShowNotFound, "This show does not exist."),
            Refusal::SeatNotFound { seat_ids } => {
                Self::new(Code::SeatNotFound, "Some seats do not belong to this show's hall. Choose seats of the show's seat map.")
                    .with("seat_ids", seat_list(&seat_ids))
            }
            Refusal::TicketTypeNotSold { seat_ids } => Self::new(
                Code::TicketTypeNotSold,
                "This show does not sell these ticket types for these seats. GET /api/shows/{show_id}/prices lists what it sells.",
            )
            .with("seat_ids", seat_list(&seat_ids)),
            Refusal::NotTheHeldSeats { seat_ids } => {
                let ids: Vec<_> = seat_ids.iter().map(ToString::to_string).collect();
                Self::field("seats", "other_seats", format!("must have exactly the seats of the hold: {}", ids.join(", ")))
            }
            Refusal::TooManySeats { asked, max } => SeatSelectionError::TooMany { asked, max }.into(),
            Refusal::SalesClosed => {
                Self::new(Code::SalesClosed, "This show is no longer on sale: its sale has ended, or it is cancelled.")
            }
            Refusal::SeatUnavailable { seat_ids, hold_id } => {
                let detail = match (&hold_id, seat_ids.is_empty()) {
                    (Some(_), _) => "You hold some of these seats yourself. Book or release your hold (hold_id).",
                    (None, true) => "There are not enough free seats. Ask for fewer, or choose seats of the show's seat map.",
                    (None, false) => "Seat is not available or does not exist.",
                };
                let problem = Self::new(Code::SeatUnavailable, detail).with("seat_ids", seat_list(&seat_ids));
                match hold_id {
                    Some(hold_id) => problem.with("hold_id", hold_id.as_str().into()),
                    None => problem,
                }
            }
            Refusal::HoldNotFound => {
                Self::new(Code::HoldNotFound, "This hold does not exist. It may have been released or booked.")
            }
            Refusal::BookingNotFound => Self::new(Code::BookingNotFound, "This booking does not exist."),
            Refusal::SalesNotOpen { open_at } => Self::new(
                Code::SalesClosed,
                format!(
                    "This show is not on sale yet. Its sale opens at {}.",
                    open_at.to_rfc3339_opts(SecondsFormat::Secs, true)
                ),
            ),
            Refusal::HoldExpired => {
                Self::new(Code::HoldExpired, "The hold has expired, and its seats are free. Hold seats again.")
            }
            Refusal::TooManyHeld { held, max } => Self::new(
                Code::TooManySeats,
                format!("You can hold at most {max} seats of a show, and you hold {held}. Book or release a hold first."),
            )
            .with("max", max.into()),
            Refusal::HeldSeatsLimit { held, max, retry_in } => Self::new(
                Code::HeldSeatsLimit,
                format!(
                    "You can hold at most {max} seats over all shows, and you hold {held}. Book or release a hold, or wait \
                    until one expires."
                ),
            )
            .with("max", max.into())
            .retry_after(retry_in.to_std().unwrap_or_default()),
            Refusal::SeatHoldTimeUsed { seat_ids, retry_in } => Self::new(
                Code::SeatHoldTimeUsed,
                "You have held these seats for the longest time allowed. Book them, choose other seats, or wait.",
            )
            .with("seat_ids", seat_list(&seat_ids))
            .retry_after(retry_in.to_std().unwrap_or_default()),
            Refusal::CancellationLimit { max, retry_in } => Self::new(
                Code::CancellationLimit,
                format!(
                    "You can cancel at most {max} bookings within 24 hours, and you have reached this limit. Wait and try again."
                ),
            )
            .with("max", max.into())
            .retry_after(retry_in.to_std().unwrap_or_default()),
            Refusal::SeatsLeaveGap { seat_ids } => Self::new(
                Code::SeatsLeaveGap,
                "This selection leaves a single empty seat. Choose seats that leave no single empty seat.",
            )
            .with("seat_ids", seat_list(&seat_ids)),
            Refusal::SeatsSplitPair { seat_ids } => Self::new(
                Code::SeatsSplitPair,
                "A love seat is sold whole. Add its other half, or choose other seats.",
            )
            .with("seat_ids", seat_list(&seat_ids)),
            Refusal::NotCancellable => {
                Self::new(Code::BookingNotCancellable, "This booking cannot be cancelled, or not any more: the show is too near.")
            }
            Refusal::NotChangeable => Self::new(Code::Conflict, "Only a confirmed booking can be moved to other seats."),
            Refusal::WrongSeatCount { seats } => {
                Self::field("seat_ids", "wrong_count", format!("must have {seats} seats, as many as the booking has"))
            }
            Refusal::PriceDiffers { sold, asked } => Self::new(
                Code::PriceDiffers,
                format!("These seats cost {asked}, more than the {sold} that was paid. Choose other seats, or make a new booking."),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_their_types_follow() {
        let mut names: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Code::ALL.len());
        let body: Value = serde_json::from_str(
            &Problem::from(Refusal::SeatUnavailable { seat_ids: vec![SeatId(7)], hold_id: None }).body("r"),
        )
        .unwrap();
        assert_eq!(body["type"], "/problems/seat-unavailable");
        assert_eq!(body["message"], body["detail"]);
        assert_eq!(body["seat_ids"], json!([7]));
    }

    #[test]
    fn causes_stay_inside() {
        let problem = Problem::from(StoreError::internal("secret table is missing"));
        assert!(!problem.body("r").contains("secret"));
        assert_eq!(problem.cause(), Some("the store failed: secret table is missing"));
    }
}
