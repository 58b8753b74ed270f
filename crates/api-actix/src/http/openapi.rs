//! The OpenAPI document, built from the declarations of the calls.

use std::collections::{BTreeMap, BTreeSet};

use actix_web::http::Method;
use serde_json::json;
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::info::InfoBuilder;
use utoipa::openapi::path::{HttpMethod, OperationBuilder, PathItem, PathsBuilder};
use utoipa::openapi::response::{Response, ResponseBuilder, ResponsesBuilder};
use utoipa::openapi::schema::{AllOfBuilder, ComponentsBuilder, ObjectBuilder, Type};
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::tag::TagBuilder;
use utoipa::openapi::{LicenseBuilder, OpenApi, OpenApiBuilder, Ref, Schema, ServerBuilder};

use super::call::{Call, Operation};
use super::middleware::{is_api, is_watched};
use super::problem::{Code, ProblemView};
use super::reply::reference_to;
use crate::calls;

/// The name of the security scheme.
pub const BEARER: &str = "bearer";

const DESCRIPTION: &str = "Look up movies and shows, see seat maps, and hold and book seats. A seat is never sold twice. Errors are \
    problem details (RFC 9457) with a stable `code`. Lists are bare arrays; the next page is in the `Link` header.";

const TAGS: [(&str, &str); 6] = [
    ("identity", "Accounts and sessions"),
    ("catalog", "Movies, shows and theatres"),
    ("seating", "Seat maps"),
    ("booking", "Holds and bookings"),
    ("staff", "The work of the cinema's staff. The role that a call needs is in its security requirement"),
    ("operations", "Health, metrics and documentation"),
];

/// Returns the document as it is served and committed.
pub fn to_json() -> String {
    // Strings, numbers and maps can always be written as JSON.
    document(&calls::all()).to_pretty_json().unwrap_or_default() + "\n"
}

fn document(calls: &[Call]) -> OpenApi {
    let mut schemas = BTreeMap::new();
    let mut paths = PathsBuilder::new();
    for call in calls {
        let mut operation = call.operation();
        let responses = responses(call, &mut operation);
        schemas.extend(std::mem::take(&mut operation.schemas));
        let item =
            PathItem::new(http_method(&call.declaration.method), described(call, operation).responses(responses));
        paths = paths.path(call.declaration.path, item);
    }
    let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("JWT").build();
    let components =
        ComponentsBuilder::new().schemas_from_iter(schemas).security_scheme(BEARER, SecurityScheme::Http(scheme));
    let tags = TAGS.map(|(name, description)| TagBuilder::new().name(name).description(Some(description)).build());
    OpenApiBuilder::new()
        .info(
            InfoBuilder::new()
                .title("Movie booking")
                .version(env!("CARGO_PKG_VERSION"))
                .description(Some(DESCRIPTION))
                .license(Some(LicenseBuilder::new().name("MIT OR Apache-2.0").build())),
        )
        .servers(Some([ServerBuilder::new().url("/").build()]))
        .paths(paths)
        .components(Some(components.build()))
        .tags(Some(tags))
        .build()
}

fn described(call: &Call, operation: Operation) -> OperationBuilder {
    let declaration = &call.declaration;
    let (summary, description) = summary_and_description(declaration.documentation);
    let securities = (!operation.securities.is_empty()).then_some(operation.securities);
    let parameters = (!operation.parameters.is_empty()).then_some(operation.parameters);
    OperationBuilder::new()
        .tag(declaration.tag)
        .summary(Some(summary))
        .description(description)
        .operation_id(Some(declaration.name))
        .parameters(parameters)
        .request_body(operation.body)
        .securities(securities)
}

fn http_method(method: &Method) -> HttpMethod {
    match *method {
        Method::POST => HttpMethod::Post,
        Method::PUT => HttpMethod::Put,
        Method::PATCH => HttpMethod::Patch,
        Method::DELETE => HttpMethod::Delete,
        _ => HttpMethod::Get,
    }
}

/// Splits a doc comment: the first paragraph, without its last full stop, and the others.
fn summary_and_description(documentation: &str) -> (String, Option<String>) {
    let lines: Vec<_> = documentation.lines().map(str::trim).collect();
    let mut paragraphs =
        lines.split(|line| line.is_empty()).filter(|lines| !lines.is_empty()).map(|lines| lines.join(" "));
    let summary = paragraphs.next().unwrap_or_default();
    let description: Vec<_> = paragraphs.collect();
    (summary, (!description.is_empty()).then(|| description.join("\n\n")))
}

/// Joins the responses of a call: those of its reply, and a problem for each status of its codes.
fn responses(call: &Call, operation: &mut Operation) -> ResponsesBuilder {
    let mut codes: BTreeMap<u16, BTreeSet<Code>> = BTreeMap::new();
    let of_handler = std::mem::take(&mut operation.codes);
    for code in of_handler.into_iter().chain(of_middleware(call.declaration.path)) {
        codes.entry(code.status().as_u16()).or_default().insert(code);
    }
    let problem = reference_to::<ProblemView>(operation);
    let mut responses: BTreeMap<u16, Response> =
        codes.into_iter().map(|(status, codes)| (status, problem_response(status, &codes, &problem))).collect();
    for (status, response) in std::mem::take(&mut operation.responses) {
        let merged = match responses.remove(&status) {
            // A status that is a problem at times and the reply at others, as 503 of `/readyz`.
            Some(problem) => {
                let mut response = response;
                response.content.extend(problem.content);
                response
            }
            None => response,
        };
        responses.insert(status, merged);
    }
    ResponsesBuilder::new()
        .responses_from_iter(responses.into_iter().map(|(status, response)| (status.to_string(), response)))
}

/// Returns the codes that a call has because of what surrounds it.
fn of_middleware(path: &str) -> Vec<Code> {
    let mut codes = vec![Code::Internal];
    if is_api(path) {
        codes.push(Code::NotAcceptable);
    }
    if !is_watched(path) {
        codes.push(Code::RateLimited);
    }
    codes
}

fn problem_response(status: u16, codes: &BTreeSet<Code>, problem: &Ref) -> Response {
    let lines: Vec<_> = codes.iter().map(|code| format!("`{}`: {}", code.as_str(), code.description())).collect();
    let names = codes.iter().map(|code| json!(code.as_str()));
    let code = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names));
    let schema = AllOfBuilder::new().item(problem.clone()).item(ObjectBuilder::new().property("code", code));
    let content = ContentBuilder::new().schema(Some(Schema::AllOf(schema.build()))).build();
    let response = ResponseBuilder::new().description(lines.join("\n\n")).content("application/problem+json", content);
    let header = |description: &str, kind| {
        let schema = ObjectBuilder::new().schema_type(kind);
        HeaderBuilder::new().schema(Some(schema)).description(Some(description)).build()
    };
    match status {
        401 if codes.contains(&Code::Unauthenticated) => {
            response.header("WWW-Authenticate", header("`Bearer`", Type::String))
        }
        429 | 503 => response.header("Retry-After", header("Seconds to wait before a retry", Type::Integer)),
        _ => response,
    }
    .build()
}
