//! The `Idempotency-Key` header.

use actix_web::HttpMessage as _;
use actix_web::http::header::HeaderMap;
use domain::admin::{ChangeKey, ChangeOrigin, ChangeRequest};
use domain::booking::{CommandRequest, Fingerprint, IdempotencyKey, KeyName, Scope};
use domain::identity::Bearer;
use utoipa::openapi::Required;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::call::{Input, Operation, Received};
use super::json::fingerprint;
use super::problem::{Code, Problem};
use super::request::ClientAddress;
use super::session::{Command, authenticated};
use crate::telemetry::request_context::current_request;

const HEADER: &str = "Idempotency-Key";

/// What makes two requests of a caller the same: the key, what it belongs to, and the digest of the body.
pub struct RequestKey {
    key: Option<IdempotencyKey>,
    scope: Scope,
    fingerprint: Fingerprint,
}

impl RequestKey {
    /// Returns the request for a command of this caller.
    pub fn command<Action>(self, Command(bearer): Command, action: Action) -> CommandRequest<Action> {
        CommandRequest { bearer, scope: self.scope, key: self.key, fingerprint: self.fingerprint, action }
    }

    /// Returns the request for a change by this caller.
    fn change(self, bearer: Bearer, origin: ChangeOrigin) -> ChangeRequest {
        let Self { key, scope, fingerprint } = self;
        let name = |key| KeyName { user_id: bearer.caller.user_id, scope, key };
        ChangeRequest { bearer, key: key.map(|key| ChangeKey { name: name(key), fingerprint }), origin }
    }

    fn read(received: &Received, key: Option<IdempotencyKey>) -> Self {
        // A body that is no JSON is refused when it is read.
        let fingerprint = received.json(false).map(fingerprint).unwrap_or_default();
        Self { key, scope: Scope(received.scope()), fingerprint: Fingerprint(fingerprint) }
    }
}

/// A key that must be sent.
pub struct RequiredKey(pub RequestKey);

/// A key that can be sent.
pub struct OptionalKey(pub RequestKey);

/// A key that is checked for its form and has no effect: repeating the call changes nothing more.
pub struct UnusedKey;

impl Input for RequiredKey {
    fn describe(operation: &mut Operation) {
        describe(operation, Required::True, "New for each request, and the same for its retries");
        operation.codes.extend([Code::IdempotencyKeyMissing, Code::IdempotencyKeyReused]);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        let key = given(received.request.headers())?.ok_or_else(|| {
            let detail = "Send an Idempotency-Key header: a text of your own, new for each request and the same for its retries.";
            Problem::new(Code::IdempotencyKeyMissing, detail)
        })?;
        Ok(Self(RequestKey::read(received, Some(key))))
    }
}

impl Input for OptionalKey {
    fn describe(operation: &mut Operation) {
        describe(operation, Required::False, "With a key, a retry gets the same answer, byte for byte");
        operation.codes.push(Code::IdempotencyKeyReused);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        let key = given(received.request.headers())?;
        Ok(Self(RequestKey::read(received, key)))
    }
}

/// A change by staff, with the key if one was sent.
impl Input for ChangeRequest {
    fn describe(operation: &mut Operation) {
        OptionalKey::describe(operation);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        let OptionalKey(key) = OptionalKey::read(received)?;
        Ok(key.change(authenticated(received)?, origin(received)))
    }
}

/// A change by staff that is idempotent without a key.
pub struct UnkeyedChange(pub ChangeRequest);

impl Input for UnkeyedChange {
    fn describe(operation: &mut Operation) {
        UnusedKey::describe(operation);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        UnusedKey::read(received)?;
        let bearer = authenticated(received)?;
        Ok(Self(ChangeRequest { bearer, key: None, origin: origin(received) }))
    }
}

/// Returns where a request came from.
fn origin(received: &Received) -> ChangeOrigin {
    let request_id = current_request(|request| request.map(|request| request.request_id.clone()));
    let ClientAddress(address) = received.request.extensions().get().copied().unwrap_or_default();
    ChangeOrigin {
        request_id: request_id.unwrap_or_default(),
        address: address.map(|address| address.to_string()).unwrap_or_default(),
    }
}

/// A change by staff that needs a key.
pub struct KeyedChange(pub ChangeRequest);

impl Input for KeyedChange {
    fn describe(operation: &mut Operation) {
        RequiredKey::describe(operation);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        RequiredKey::read(received)?;
        ChangeRequest::read(received).map(Self)
    }
}

impl Input for UnusedKey {
    fn describe(operation: &mut Operation) {
        describe(operation, Required::False, "Checked for its form. The call is idempotent without it");
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        given(received.request.headers()).map(|_| Self)
    }
}

fn describe(operation: &mut Operation, required: Required, description: &str) {
    let schema = ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(1))
        .max_length(Some(IdempotencyKey::MAX))
        .pattern(Some("^[!-~]+$"));
    let parameter = ParameterBuilder::new().name(HEADER).parameter_in(ParameterIn::Header).schema(Some(schema));
    operation.parameters.push(parameter.required(required).description(Some(description)).build());
    operation.codes.push(Code::IdempotencyKeyInvalid);
}

fn given(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, Problem> {
    let invalid = |detail| Problem::new(Code::IdempotencyKeyInvalid, detail);
    let mut values = headers.get_all(HEADER);
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
