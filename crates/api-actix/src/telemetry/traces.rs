//! Traces, sent to an OpenTelemetry collector (OTLP over HTTP) where one is configured.
//!
//! Spans are created by name, where a request is served (`request_context.rs`). Spans and log lines of libraries, which may hold secrets,
//! are not exported.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::error::with_sources;
use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{Protocol, WithExportConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{
    BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData, SpanExporter,
};
use thiserror::Error;

/// The most spans that wait to be sent. Further ones are dropped.
const QUEUE_MAX: usize = 4096;
/// The most spans in one export.
const BATCH_MAX: usize = 512;
/// The longest time that a span waits to be sent.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// The longest time of an export, including retries.
const SEND_MAX: Duration = Duration::from_secs(5);
/// The longest time of the last export, when the server stops.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// The export of traces.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceSettings {
    /// The collector: `http://host:4318`.
    pub endpoint: String,
    /// The name of this service in traces.
    pub service_name: String,
    /// The share of the traces that begin here to export, from 0 to 1. A caller's trace follows the caller's decision.
    pub kept: f64,
}

/// The reason why traces cannot be exported.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TracesError(String);

/// Creates spans, and exports them from a thread of its own.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Starts the export, without contacting the collector. Blocks while the system's certificates are read.
    pub fn start(settings: &TraceSettings) -> Result<Self, TracesError> {
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", settings.endpoint.trim_end_matches('/')))
            .with_timeout(SEND_MAX)
            .build()
            .map_err(|error| TracesError(error.to_string()))?;
        Ok(Self::to(OneWarning { exporter, fails: AtomicBool::new(false) }, settings))
    }

    fn to(exporter: impl SpanExporter + 'static, settings: &TraceSettings) -> Self {
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE_MAX)
            .with_max_export_batch_size(BATCH_MAX)
            .with_scheduled_delay(SEND_EVERY)
            .build();
        let resource = Resource::builder_empty()
            .with_service_name(settings.service_name.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")))
            .build();
        let provider = SdkTracerProvider::builder()
            .with_span_processor(BatchSpanProcessor::builder(exporter).with_batch_config(batches).build())
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(settings.kept))))
            .with_resource(resource)
            .build();
        let tracer = provider.tracer("movie-booking");
        Self { provider, tracer }
    }

    pub fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    /// Exports the remaining spans, within `FLUSH_MAX`, and stops.
    pub async fn stop(self) {
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_MAX)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("traces.not_flushed");
        }
    }
}

/// Exports by another exporter. Logs one line when the collector begins to fail, and one when it is back, not one for each export.
#[derive(Debug)]
struct OneWarning<E> {
    exporter: E,
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for OneWarning<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        match (&exported, self.fails.swap(exported.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => tracing::warn!(error = with_sources(error), "traces.lost"),
            (Ok(()), true) => tracing::info!("traces.taken_again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn shutdown(&self) -> OTelSdkResult {
        self.exporter.shutdown()
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
