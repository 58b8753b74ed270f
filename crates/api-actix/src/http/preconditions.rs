//! Conditional requests.

use actix_web::HttpRequest;
use actix_web::http::header::{self, EntityTag, Header as _, IfMatch, IfNoneMatch as IfNoneMatchHeader};
use domain::admin::Precondition;
use utoipa::openapi::Required;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::call::{Input, Operation, Received};
use super::problem::{Code, Problem};

/// The `If-None-Match` header, which the response depends on ([`client_has`]).
pub struct IfNoneMatch;

impl Input for IfNoneMatch {
    fn describe(operation: &mut Operation) {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new()
            .name("If-None-Match")
            .parameter_in(ParameterIn::Header)
            .description(Some("The tags of the bodies that the client has, or `*`. A malformed value is ignored"))
            .schema(Some(schema));
        operation.parameters.push(parameter.build());
        let not_modified = ResponseBuilder::new().description("The client has the current body").build();
        operation.responses.push((304, not_modified));
    }

    fn read(_: &Received) -> Result<Self, Problem> {
        Ok(Self)
    }
}

/// The `If-Match` header of a change that requires it: the versions of the object that the change is meant for (RFC 9110, 13.1.1).
pub struct RequiredIfMatch(pub Precondition);

/// The `If-Match` header of a change that does not require it. Without it, any version matches.
pub struct OptionalIfMatch(pub Precondition);

impl Input for RequiredIfMatch {
    fn describe(operation: &mut Operation) {
        describe_if_match(operation, Required::True);
        operation.codes.push(Code::PreconditionRequired);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        if_match(&received.request)?.map(Self).ok_or_else(|| {
            let detail =
                "Send If-Match with the ETag of the object that you have read, so that no other change is lost.";
            Problem::new(Code::PreconditionRequired, detail)
        })
    }
}

impl Input for OptionalIfMatch {
    fn describe(operation: &mut Operation) {
        describe_if_match(operation, Required::False);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        Ok(Self(if_match(&received.request)?.unwrap_or(Precondition::Any)))
    }
}

fn describe_if_match(operation: &mut Operation, required: Required) {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    let parameter = ParameterBuilder::new()
        .name("If-Match")
        .parameter_in(ParameterIn::Header)
        .description(Some("The object's `ETag`, or `*` for any version"))
        .required(required)
        .schema(Some(schema));
    operation.parameters.push(parameter.build());
    operation.codes.extend([Code::PreconditionFailed, Code::ValidationFailed]);
}

/// Reads `If-Match`. A weak tag, and a tag that this server does not give, match no version.
fn if_match(request: &HttpRequest) -> Result<Option<Precondition>, Problem> {
    if !request.headers().contains_key(header::IF_MATCH) {
        return Ok(None);
    }
    Ok(Some(match IfMatch::parse(request) {
        Ok(IfMatch::Any) => Precondition::Any,
        Ok(IfMatch::Items(tags)) if !tags.is_empty() => {
            let version = |tag: &EntityTag| tag.tag().parse().ok().filter(|version| version_tag(*version) == *tag);
            Precondition::Versions(tags.iter().filter_map(version).collect())
        }
        _ => return Err(Problem::field("If-Match", "invalid", "must be * or a list of entity tags, like \"3\"")),
    }))
}

/// Returns the tag of an object's version.
pub fn version_tag(version: i64) -> EntityTag {
    EntityTag::new_strong(version.to_string())
}

/// Returns whether the client has the body with this tag (RFC 9110, 13.1.2): tags are compared weakly, and `*` matches any.
pub fn client_has(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatchHeader::parse(request) {
        Ok(IfNoneMatchHeader::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatchHeader::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}
