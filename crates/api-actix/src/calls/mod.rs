//! The calls of the API, by feature: their declarations, requests, views and handlers. To add one, add it to the `calls!` table of its
//! feature.

pub mod account;
pub mod admin;
pub mod answers;
pub mod booking;
pub mod catalog;
mod commands;
pub mod docs;
pub mod holds;
pub mod identity;
pub mod operations;
pub mod pricing;
pub mod seating;

use actix_web::http::StatusCode;
use actix_web::web;
use chrono::{DateTime, SecondsFormat, Utc};
use utoipa::openapi::schema::{Object, ObjectBuilder, Type};

use crate::http::call::Call;
use crate::http::problem::Problem;

/// Returns every call, in the order in which the router tries their paths.
pub fn all() -> Vec<Call> {
    let features = [
        identity::calls(),
        account::calls(),
        catalog::calls(),
        seating::calls(),
        pricing::calls(),
        booking::calls(),
        holds::calls(),
        admin::calls(),
        operations::calls(),
        operations::liveness::calls(),
        operations::measured::calls(),
        docs::calls(),
    ];
    features.into_iter().flatten().collect()
}

/// Routes all calls, except for the metrics where those have a port of their own.
pub fn configure(config: &mut web::ServiceConfig, has_metrics: bool) {
    let calls = all().into_iter().filter(|call| has_metrics || call.declaration.path != operations::METRICS_PATH);
    route(config, calls);
    docs::route_files(config);
    config.default_service(web::to(not_found));
}

/// Routes what the port for the metrics answers.
pub fn configure_metrics_port(config: &mut web::ServiceConfig) {
    route(config, operations::measured::calls().into_iter().chain(operations::liveness::calls()));
    config.default_service(web::to(not_found));
}

fn route(config: &mut web::ServiceConfig, calls: impl Iterator<Item = Call>) {
    // The calls of one path are one resource, so that another method is answered 405 with all of them in `Allow`.
    let mut resources: Vec<(&'static str, actix_web::Resource)> = Vec::new();
    for call in calls {
        let path = call.declaration.path;
        let (others, resource) = match resources.iter().position(|(known, _)| *known == path) {
            Some(at) => (at, resources.remove(at).1),
            None => (resources.len(), web::resource(path)),
        };
        resources.insert(others, (path, resource.route(call.route())));
    }
    for (_, resource) in resources {
        config.service(resource);
    }
}

async fn not_found() -> Result<web::Bytes, Problem> {
    Err(Problem::of_status(StatusCode::NOT_FOUND))
}

/// Returns the schema of a text that is one of a few.
fn one_of<const N: usize>(texts: [&'static str; N]) -> Object {
    ObjectBuilder::new().schema_type(Type::String).enum_values(Some(texts)).build()
}

/// Formats an instant for the wire: RFC 3339, UTC, milliseconds.
fn instant(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
