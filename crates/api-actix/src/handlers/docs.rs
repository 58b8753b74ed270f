//! The OpenAPI document, and pages to browse it that name no other host.

use std::sync::{Arc, OnceLock};

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use utoipa_swagger_ui::{Config, SwaggerFile};

use super::Answer;
use crate::openapi;
use crate::problem::Problem;

/// What the pages may load: what this server has. They can't be framed.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
    connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

/// This document.
#[utoipa::path(get, path = "/api/openapi.json", tag = "operations", responses(
    (status = 200, description = "The OpenAPI document", body = serde_json::Value)))]
pub async fn document() -> Answer {
    static DOCUMENT: OnceLock<String> = OnceLock::new();
    let text = DOCUMENT.get_or_init(openapi::to_json);
    Ok(HttpResponse::Ok().content_type("application/json").body(text.as_str()))
}

/// Pages to browse this document.
#[utoipa::path(get, path = "/docs", tag = "operations", responses(
    (status = 301, description = "They are below `/docs/`")))]
pub async fn redirect() -> Answer {
    let mut response = HttpResponse::MovedPermanently();
    Ok(unframed(&mut response).insert_header((header::LOCATION, "/docs/")).finish())
}

/// A file of the pages.
pub async fn file(request: HttpRequest) -> Answer {
    let path = request.match_info().get("file").unwrap_or_default();
    // The validator would be another host's.
    let config = Config::from("/api/openapi.json").validator_url("none").use_base_layout();
    let found = utoipa_swagger_ui::serve(path, Arc::new(config)).map_err(Problem::internal)?;
    let SwaggerFile { bytes, content_type, .. } =
        found.ok_or_else(|| Problem::of_status(actix_web::http::StatusCode::NOT_FOUND))?;
    let mut response = HttpResponse::Ok();
    Ok(unframed(&mut response).content_type(content_type).body(bytes.into_owned()))
}

/// What no other page may show inside itself.
fn unframed(response: &mut HttpResponseBuilder) -> &mut HttpResponseBuilder {
    response
        .insert_header((header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")))
        .insert_header((header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)))
}
