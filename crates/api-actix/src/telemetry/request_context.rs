//! The request that a task serves: its ids, for log lines, and its span, for the parts of it that take time.

use std::future::Future;
use std::sync::Arc;

use actix_web::http::header::HeaderMap;
use actix_web::http::{Method, StatusCode};
use adapters_auth::Argon2Passwords;
use async_trait::async_trait;
use domain::identity::{Password, PasswordHash, PasswordHasher, PasswordHasherError, PasswordMatch, Requester};
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags, TraceId, TraceState, Tracer as _,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{IdGenerator as _, RandomIdGenerator, SdkTracer, Span};

use crate::telemetry::traces::Traces;

tokio::task_local! {
    static CURRENT: Arc<RequestContext>;
}

/// A request that is being served.
pub struct RequestContext {
    /// Identifies the request in the log and in problems.
    pub request_id: String,
    /// The caller's trace, or a new one.
    pub trace_id: TraceId,
    /// `None` if traces are not exported.
    span: Option<RequestSpan>,
}

/// The span of a request. Dropping it ends it.
struct RequestSpan {
    tracer: SdkTracer,
    context: Context,
}

impl RequestContext {
    /// Begins a request. Continues the trace of a valid `traceparent`.
    pub fn begin(request_id: String, method: &Method, headers: &HeaderMap, traces: Option<&Traces>) -> Self {
        let caller = caller_span(headers);
        let Some(traces) = traces else {
            let trace_id =
                caller.map_or_else(|| RandomIdGenerator::default().new_trace_id(), |caller| caller.trace_id());
            return Self { request_id, trace_id, span: None };
        };
        let parent = match caller {
            Some(caller) => Context::new().with_remote_span_context(caller),
            None => Context::new(),
        };
        let tracer = traces.tracer().clone();
        let span =
            tracer.build_with_context(tracer.span_builder(span_method(method)).with_kind(SpanKind::Server), &parent);
        let context = Context::new().with_span(span);
        Self {
            request_id,
            trace_id: context.span().span_context().trace_id(),
            span: Some(RequestSpan { tracer, context }),
        }
    }

    /// Runs `work` as this request: its log lines have the request's ids, and [`in_span`] creates parts of the request's span.
    pub async fn scope<T>(self: Arc<Self>, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }

    /// Ends the span, with what the response says.
    pub fn end(&self, method: &Method, route: Option<&str>, status: StatusCode) {
        let Some(RequestSpan { context, .. }) = &self.span else { return };
        let span = context.span();
        if !span.is_recording() {
            return;
        }
        let method = span_method(method);
        span.set_attribute(KeyValue::new("http.request.method", if method == "HTTP" { "_OTHER" } else { method }));
        span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
        if let Some(route) = route {
            span.update_name(format!("{method} {route}"));
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if status.is_server_error() {
            span.set_attribute(KeyValue::new("error.type", status.as_u16().to_string()));
            span.set_status(Status::error(""));
        }
        span.end();
    }

    fn child(&self, name: &'static str) -> Option<Span> {
        let RequestSpan { tracer, context } = self.span.as_ref()?;
        Some(tracer.start_with_context(name, context))
    }
}

/// Calls `work` with the request that the current task serves; with `None` outside of a request.
pub fn current_request<T>(work: impl FnOnce(Option<&RequestContext>) -> T) -> T {
    match CURRENT.try_with(Arc::clone) {
        Ok(request) => work(Some(&request)),
        Err(_) => work(None),
    }
}

/// Runs `work` as a part of the current request, with a span of this name in its trace.
pub async fn in_span<T>(name: &'static str, work: impl Future<Output = T>) -> T {
    let span = current_request(|request| request?.child(name));
    let outcome = work.await;
    // Ends the span. A caller that disconnects while `work` runs drops this future, which ends it too.
    drop(span);
    outcome
}

/// Returns the method in the name of a span: from a fixed set, because clients can send any method.
fn span_method(method: &Method) -> &'static str {
    match crate::telemetry::metrics::method_label(method) {
        "other" => "HTTP",
        known => known,
    }
}

/// Returns the caller's span, by a valid `traceparent` header (W3C Trace Context, level 1). `tracestate` is ignored.
///
/// OpenTelemetry's `TraceContextPropagator` is not used: it accepts ids and flags with too few digits or a sign, which must not
/// continue a trace, and it exports the caller's `tracestate`.
fn caller_span(headers: &HeaderMap) -> Option<SpanContext> {
    let mut given = headers.get_all("traceparent");
    let text = given.next()?.to_str().ok().filter(|_| given.next().is_none())?;
    let is_hex = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let mut part = |length: usize| parts.next().filter(|part| part.len() == length && is_hex(part));
    let (version, trace_id, span_id, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
    // A later version may have more parts.
    if version == "ff" || version == "00" && parts.next().is_some() {
        return None;
    }
    let sampled = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?) & TraceFlags::SAMPLED;
    let (trace_id, span_id) = (TraceId::from_hex(trace_id).ok()?, SpanId::from_hex(span_id).ok()?);
    let caller = SpanContext::new(trace_id, span_id, sampled, true, TraceState::NONE);
    caller.is_valid().then_some(caller)
}

/// Hashes passwords, each in a span of the current request.
pub struct TracedPasswords(pub Argon2Passwords);

#[async_trait]
impl PasswordHasher for TracedPasswords {
    async fn hash(&self, requester: &Requester, password: &Password) -> Result<PasswordHash, PasswordHasherError> {
        in_span("password.hash", self.0.hash(requester, password)).await
    }

    async fn verify<'a>(
        &self,
        requester: &Requester,
        password: &Password,
        hash: Option<&'a PasswordHash>,
    ) -> Result<PasswordMatch, PasswordHasherError> {
        in_span("password.verify", self.0.verify(requester, password, hash)).await
    }
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

    fn headers(values: &[&str]) -> HeaderMap {
        let name = HeaderName::from_static("traceparent");
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| headers.append(name.clone(), HeaderValue::from_str(value).unwrap()));
        headers
    }

    fn trace_id(values: &[&str]) -> Option<String> {
        caller_span(&headers(values)).map(|caller| caller.trace_id().to_string())
    }

    #[test]
    fn a_valid_traceparent_is_continued() {
        for (version, more) in [("00", ""), ("01", ""), ("cc", "-what-comes-later")] {
            let given = format!("{version}-{TRACE}-00f067aa0ba902b7-01{more}");
            let caller = caller_span(&headers(&[&given])).expect(&given);
            assert_eq!(caller.trace_id().to_string(), TRACE);
            assert_eq!(caller.span_id().to_string(), "00f067aa0ba902b7");
            assert!(caller.is_sampled() && caller.is_remote());
        }
        assert!(!caller_span(&headers(&[&format!("00-{TRACE}-00f067aa0ba902b7-02")])).unwrap().is_sampled());
    }

    #[test]
    fn invalid_traceparent_is_ignored() {
        let valid = format!("00-{TRACE}-00f067aa0ba902b7-01");
        assert_eq!(trace_id(&[&valid]).as_deref(), Some(TRACE));
        let wrong = [
            String::new(),
            "00".to_owned(),
            format!("ff-{TRACE}-00f067aa0ba902b7-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{}-00f067aa0ba902b7-01", TRACE.to_uppercase()),
            format!("00-{TRACE}-00f067aa0ba902b7"),
            format!("00-{TRACE}-00f067aa0ba902b7-01-more"),
            format!("00-{TRACE}-00f067aa0ba902b7-1"),
            format!("00-{}-00f067aa0ba902b7-01", &TRACE[1..]),
            format!("00-+{}-00f067aa0ba902b7-01", &TRACE[1..]),
            format!(" {valid}"),
            valid.replace('-', "_"),
        ];
        for given in wrong {
            assert_eq!(trace_id(&[&given]), None, "{given:?}");
        }
        assert_eq!(trace_id(&[&valid, &valid]), None, "two headers");
        assert_eq!(trace_id(&[]), None);
    }

    #[tokio::test]
    async fn request_is_current_while_it_is_served() {
        let current_id = || current_request(|request| Some(request?.request_id.clone()));
        assert_eq!(current_id(), None);
        let served = RequestContext::begin("an-id".to_owned(), &Method::GET, &headers(&[]), None);
        assert_ne!(served.trace_id, TraceId::INVALID);
        let other = RequestContext::begin("an-id".to_owned(), &Method::GET, &headers(&[]), None);
        assert_ne!(served.trace_id, other.trace_id, "each has a trace of its own");
        let inside = Arc::new(served).scope(async { in_span("a part", async { current_id() }).await });
        assert_eq!(inside.await.as_deref(), Some("an-id"));
        assert_eq!(current_id(), None);
    }
}
