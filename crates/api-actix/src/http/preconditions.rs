//! Conditional requests.

use actix_web::HttpRequest;
use actix_web::http::header::{self, EntityTag, Header as _, IfNoneMatch as IfNoneMatchHeader};
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::response::ResponseBuilder;
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::call::{Input, Operation, Received};
use super::problem::Problem;

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

/// Returns whether the client has the body with this tag (RFC 9110, 13.1.2): tags are compared weakly, and `*` matches any.
pub fn client_has(request: &HttpRequest, tag: &EntityTag) -> bool {
    match IfNoneMatchHeader::parse(request) {
        Ok(IfNoneMatchHeader::Any) => request.headers().contains_key(header::IF_NONE_MATCH),
        Ok(IfNoneMatchHeader::Items(known)) => known.iter().any(|known| known.weak_eq(tag)),
        Err(_) => false,
    }
}
