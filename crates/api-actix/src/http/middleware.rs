//! What happens around every request. From the outside in: [`envelope`] (id, problems, headers, log), CORS, compression, [`identify`]
//! (who calls, and how often).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix_web::body::{BodySize, BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::http::{ConnectionType, Method, StatusCode};
use actix_web::middleware::Next;
use actix_web::{Error, HttpMessage as _, web};
use domain::limits::{Allowance, ClientNetwork, Limit};

use crate::http::client_address::source;
use crate::http::media::{accepts_csv, accepts_json};
use crate::http::problem::{Problem, rate_limit_headers};
use crate::http::request::{Authorization, ClientAddress, authorization, is_canonical_path};
use crate::telemetry::metrics::NO_ROUTE;
use crate::telemetry::request_context::RequestContext;
use crate::wiring::state::AppState;

/// The header that a request is known by, in the log and in problems.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The smallest body that compression makes shorter by more than its headers.
const COMPRESS_MIN: u64 = 1024;

/// Returns a request's id: the client's, if it is 1 to 128 visible ASCII characters, else one of ours.
fn request_id(headers: &HeaderMap, state: &AppState) -> String {
    let given = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok());
    given
        .filter(|id| (1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()))
        .map_or_else(|| state.draw_request_id(), str::to_owned)
}

/// Returns the outermost layer: id, trace, problems, headers, log line and metrics.
pub async fn envelope(
    mut request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    let Some(state) = request.app_data::<web::Data<AppState>>().cloned() else {
        return Err(Problem::internal("no state").into());
    };
    // Counted until it is dropped: whether it is answered or its client goes away.
    let _in_flight = state.metrics.begin_request();
    let method = request.method().clone();
    let id = request_id(request.headers(), &state);
    let served = Arc::new(RequestContext::begin(id, &method, request.headers(), state.traces.as_ref()));
    if method == Method::HEAD {
        // HEAD works wherever GET does. The server sends no body, because it knows what was asked.
        request.head_mut().method = Method::GET;
    }
    let answered = async {
        let response = next.call(request).await?.map_into_boxed_body();
        let mut response = with_problem(response, &served.request_id);
        set_headers(&mut response, &served.request_id, &state);
        done(&response, &method, &served, &state, started.elapsed());
        Ok(response)
    };
    Arc::clone(&served).scope(answered).await
}

/// Records a response: a log line, a count and the end of its span. Without query, body and headers, which can be confidential.
fn done(response: &ServiceResponse, method: &Method, served: &RequestContext, state: &AppState, took: Duration) {
    let route = response.request().match_pattern();
    let status = response.status();
    log(method, route.as_deref(), status, took);
    served.end(method, route.as_deref(), status);
    state.metrics.request_done(method, route, status, took);
}

/// Replaces whatever the error's body is by the problem's.
fn with_problem(response: ServiceResponse, id: &str) -> ServiceResponse {
    let status = response.status();
    if !status.is_client_error() && !status.is_server_error() {
        return response;
    }
    let own = response.response().error().and_then(|error| error.as_error::<Problem>()).cloned();
    if own.is_none() && response.response().extensions().get::<OwnErrorBody>().is_some() {
        return response;
    }
    let is_preflight = response.request().method() == Method::OPTIONS && status == StatusCode::BAD_REQUEST;
    let problem = own.unwrap_or_else(|| match is_preflight {
        true => Problem::new(
            crate::http::problem::Code::Forbidden,
            "This origin, method or header is not allowed: see CORS_ORIGINS.",
        ),
        false => Problem::of_status(status),
    });
    if let Some(cause) = problem.cause() {
        tracing::error!(code = problem.code().as_str(), cause, "request.failed");
    }
    response.map_body(|head, _| {
        head.status = problem.code().status();
        head.headers.remove(header::CONTENT_ENCODING);
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        for (name, value) in problem.headers() {
            head.headers.insert(name.clone(), value.clone());
        }
        if let Some(allow) = with_head(&head.headers) {
            head.headers.insert(header::ALLOW, allow);
        }
        BoxBody::new(problem.body(id))
    })
}

/// Marks a response of an error status whose body is no problem, like that of `/readyz`.
#[derive(Clone, Copy)]
pub struct OwnErrorBody;

/// Where GET is allowed HEAD is too.
fn with_head(headers: &HeaderMap) -> Option<HeaderValue> {
    let allow = headers.get(header::ALLOW)?.to_str().ok()?;
    let methods: Vec<_> = allow.split(',').map(str::trim).collect();
    let missing = methods.contains(&"GET") && !methods.contains(&"HEAD");
    missing.then(|| HeaderValue::from_str(&format!("{allow}, HEAD")).ok()).flatten()
}

fn set_headers(response: &mut ServiceResponse, id: &str, state: &AppState) {
    if state.is_stopping() {
        // An open connection would delay the stop.
        response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
    }
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if let Ok(value) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, value);
    }
    // The mark of a body that is not worth compressing.
    if headers.get(header::CONTENT_ENCODING).is_some_and(|encoding| encoding == "identity") {
        headers.remove(header::CONTENT_ENCODING);
    }
}

fn log(method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
    let (route, status) = (route.unwrap_or(NO_ROUTE), status.as_u16());
    let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
    tracing::info!(method = method.as_str(), route, status, micros, "request.done");
}

/// Keeps short bodies from being compressed.
pub async fn leave_short_bodies(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<impl MessageBody>, Error> {
    let mut response = next.call(request).await?;
    let short = matches!(response.response().body().size(), BodySize::None | BodySize::Sized(..COMPRESS_MIN));
    if short && !response.headers().contains_key(header::CONTENT_ENCODING) {
        response.headers_mut().insert(header::CONTENT_ENCODING, HeaderValue::from_static("identity"));
    }
    Ok(response)
}

/// Reads the caller from the token, and counts the calls of each caller, or of each network without a valid token.
pub async fn identify(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<web::Data<AppState>>().cloned() else {
        return Err(Problem::internal("no state").into());
    };
    let who = authorization(request.headers(), state.identity.access_tokens.as_ref());
    let address = client_address(&request, &state);
    let network = address.map_or(ClientNetwork::Unknown, ClientNetwork::of);
    let counted = match count(&request, &state, &who, network).await {
        Ok(counted) => counted,
        Err(problem) => return Ok(request.error_response(problem)),
    };
    request.extensions_mut().insert(network);
    request.extensions_mut().insert(ClientAddress(address));
    let mut response = route(request, next, who).await?;
    if let Some((limit, allowance)) = counted {
        for (name, value) in rate_limit_headers(limit, allowance) {
            // A problem of the call, such as too many failed logins, has its own limit.
            if !response.headers().contains_key(&name) {
                response.headers_mut().insert(name, value);
            }
        }
    }
    Ok(response)
}

/// Passes on a request whose path has one spelling and whose client accepts the type of the response.
async fn route(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
    who: Authorization,
) -> Result<ServiceResponse<BoxBody>, Error> {
    if !is_canonical_path(request.path()) {
        return Ok(request.error_response(Problem::of_status(StatusCode::NOT_FOUND)));
    }
    request.extensions_mut().insert(who);
    if !is_acceptable(&request) {
        return Ok(request.error_response(Problem::of_status(StatusCode::NOT_ACCEPTABLE)));
    }
    Ok(next.call(request).await?.map_into_boxed_body())
}

/// Returns the address that a request comes from. Handlers find it among the request's extensions.
fn client_address(request: &ServiceRequest, state: &AppState) -> Option<IpAddr> {
    let peer = request.peer_addr()?;
    let source = source(peer, request.headers(), &state.settings.trusted_proxies);
    if let Some((proxy, defect)) = source.defect {
        state.proxy_warnings.note(proxy, defect);
    }
    Some(source.address)
}

async fn count(
    request: &ServiceRequest,
    state: &AppState,
    who: &Authorization,
    network: ClientNetwork,
) -> Result<Option<(Limit, Allowance)>, Problem> {
    let Some(limits) = state.settings.rate_limits.filter(|_| !is_watched(request.path())) else {
        return Ok(None);
    };
    let name = match who {
        Authorization::Known(bearer) => format!("user:{}", bearer.caller.user_id),
        _ => format!("address:{network}"),
    };
    match state.limiter.count(&name, limits.requests).await {
        Ok(allowance) if allowance.allowed => Ok(Some((limits.requests, allowance))),
        Ok(allowance) => {
            Err(Problem::rate_limited("Too many requests. Wait and try again.", limits.requests, allowance))
        }
        // Without the limiter nothing is limited.
        Err(_) => Ok(None),
    }
}

/// Returns whether a path is polled by monitoring: its requests are not limited.
pub fn is_watched(path: &str) -> bool {
    matches!(path, "/healthz" | "/readyz")
}

/// Returns whether a path belongs to the API, whose responses are JSON.
pub fn is_api(path: &str) -> bool {
    path.starts_with("/api/")
}

fn is_acceptable(request: &ServiceRequest) -> bool {
    let (path, headers) = (request.path(), request.headers());
    // A client of a file may accept the file alone; problems of such a call are JSON all the same.
    !is_api(path) || accepts_json(headers) || (path.ends_with(".csv") && accepts_csv(headers))
}
