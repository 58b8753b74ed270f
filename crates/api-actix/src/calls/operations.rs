//! Whether the process lives, whether it can do its work, and what it has done.

use std::collections::BTreeMap;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use domain::error::with_sources;
use futures::future::join_all;

use super::Answer;
use crate::calls::views::{HealthView, ProblemView};
use crate::http::middleware::Rendered;
use crate::http::problem::Problem;
use crate::telemetry::metrics;
use crate::wiring::state::AppState;

const NO_STORE: (header::HeaderName, HeaderValue) = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));

/// The process lives.
#[utoipa::path(get, path = "/healthz", tag = "operations", responses(
    (status = 200, description = "It does", body = HealthView)))]
pub async fn healthz() -> Answer {
    let alive = HealthView { status: "ok", dependencies: BTreeMap::new(), warnings: Vec::new() };
    Ok(HttpResponse::Ok().insert_header(NO_STORE).json(alive))
}

/// The server can do its work: each dependency by name.
#[utoipa::path(get, path = "/readyz", tag = "operations", responses(
    (status = 200, description = "Everything that is needed can be reached; `degraded` where something else is gone",
        body = HealthView),
    (status = 503, description = "Something that is needed is gone, or the server is stopping", body = HealthView)))]
pub async fn readyz(state: Data<AppState>) -> Answer {
    let checks = state.dependencies.iter().map(|dependency| async move {
        let checked = dependency.check().await;
        if let Err(error) = &checked {
            tracing::warn!(dependency = dependency.name(), error = with_sources(error), "dependency.unavailable");
        }
        (dependency, checked)
    });
    let checked = join_all(checks).await;
    let is_ready =
        !state.is_stopping() && checked.iter().all(|(dependency, checked)| checked.is_ok() || !dependency.is_needed());
    let is_well = checked.iter().all(|(_, checked)| checked.as_ref().is_ok_and(Vec::is_empty));
    let status = match (is_ready, is_well) {
        (false, _) => "unavailable",
        (true, false) => "degraded",
        (true, true) => "ok",
    };
    let state_of = |is_ok| if is_ok { "ok" } else { "unavailable" };
    let mut dependencies: BTreeMap<_, _> =
        checked.iter().map(|(dependency, checked)| (dependency.name(), state_of(checked.is_ok()))).collect();
    let degradations: Vec<_> = checked.into_iter().filter_map(|(_, checked)| checked.ok()).flatten().collect();
    dependencies.extend(degradations.iter().map(|degradation| (degradation.name, degradation.state)));
    let mut warnings: Vec<_> = degradations.into_iter().map(|degradation| degradation.message).collect();
    // The server works all the same, so these change no status.
    warnings.extend(state.proxy_warnings.sentences());
    let mut response = if is_ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let mut response = response.insert_header(NO_STORE).json(HealthView { status, dependencies, warnings });
    response.extensions_mut().insert(Rendered);
    Ok(response)
}

/// What the server has done and how busy it is, for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "operations", responses(
    (status = 200, description = "The metrics, in the text format of OpenMetrics", body = String, content_type = "application/openmetrics-text"),
    (status = 404, description = "`not_found`: `METRICS_PORT` has them", body = ProblemView)))]
pub async fn metrics(state: Data<AppState>) -> Answer {
    let text = state.metrics.encode(&state.readings()).map_err(Problem::internal)?;
    Ok(HttpResponse::Ok().insert_header(NO_STORE).content_type(metrics::CONTENT_TYPE).body(text))
}
