//! Liveness, readiness and metrics.

use std::collections::BTreeMap;
use std::marker::PhantomData;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use domain::error::with_sources;
use futures::future::join_all;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{Object, Type};

use super::one_of;
use crate::http::call::{Operation, calls};
use crate::http::middleware::OwnErrorBody;
use crate::http::problem::Problem;
use crate::http::reply::{Content, Json, Rendered, Reply, describe};
use crate::http::session::Anyone;
use crate::telemetry::metrics::CONTENT_TYPE;
use crate::wiring::state::AppState;

/// The path of the metrics.
pub const METRICS_PATH: &str = "/metrics";

calls! { "operations"
    /// Whether the server can serve requests.
    ///
    /// Each dependency by name. 503 if a required one is unavailable, or the server is stopping.
    GET "/readyz" => readyz: "All required dependencies are available; `degraded` if an optional one is not";
}

/// Liveness, which the port for the metrics has as well.
pub mod liveness {
    use super::*;

    calls! { "operations"
        /// Whether the process is alive.
        GET "/healthz" => healthz: "It is";
    }
}

/// Metrics, which can have a port of their own.
pub mod measured {
    use super::*;

    calls! { "operations"
        /// Metrics for Prometheus.
        GET "/metrics" => metrics: "The metrics, in the text format of OpenMetrics", or [NotFound];
    }
}

/// Whether the server can serve requests.
#[derive(Serialize, ToSchema)]
#[schema(as = Health)]
pub struct HealthView {
    /// `degraded`: an optional dependency is unavailable. `unavailable`: a required one is, or the server is stopping.
    #[schema(schema_with = health)]
    pub status: &'static str,
    /// Each dependency by name: `ok` or `unavailable`; and each defect of one that still works, like `replication`: `none`.
    pub dependencies: BTreeMap<&'static str, &'static str>,
    /// What the operator should correct, one sentence each.
    pub warnings: Vec<String>,
}

fn health() -> Object {
    one_of(["ok", "degraded", "unavailable"])
}

async fn healthz(_: Anyone) -> Result<Json<HealthView>, Problem> {
    Ok(Json::secret(HealthView { status: "ok", dependencies: BTreeMap::new(), warnings: Vec::new() }))
}

/// 200 or 503 with the same body.
pub struct Readiness {
    is_ready: bool,
    view: HealthView,
}

impl Reply for Readiness {
    fn describe(operation: &mut Operation) {
        describe::<HealthView>(operation, StatusCode::OK, |response| response);
        describe::<HealthView>(operation, StatusCode::SERVICE_UNAVAILABLE, |response| {
            response.description("A required dependency is unavailable, or the server is stopping")
        });
    }

    fn render(self, request: &HttpRequest) -> Result<HttpResponse, Problem> {
        let mut response = Json::secret(self.view).render(request)?;
        if !self.is_ready {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            response.extensions_mut().insert(OwnErrorBody);
        }
        Ok(response)
    }
}

async fn readyz(_: Anyone, state: Data<AppState>) -> Result<Readiness, Problem> {
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
    // The server works all the same, so these do not change the status.
    warnings.extend(state.proxy_warnings.sentences());
    Ok(Readiness { is_ready, view: HealthView { status, dependencies, warnings } })
}

/// The text format of OpenMetrics.
pub struct OpenMetrics;

impl Content for OpenMetrics {
    const MEDIA_TYPE: Option<(&'static str, Type)> = Some(("application/openmetrics-text", Type::String));
}

async fn metrics(_: Anyone, state: Data<AppState>) -> Result<Rendered<200, OpenMetrics>, Problem> {
    let text = state.metrics.encode(&state.readings()).map_err(Problem::internal)?;
    let no_store = (header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    let response = HttpResponse::Ok().insert_header(no_store).content_type(CONTENT_TYPE).body(text);
    Ok(Rendered(response, PhantomData))
}
