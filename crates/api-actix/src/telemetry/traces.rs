//! Traces, sent to an OpenTelemetry collector (OTLP over HTTP) where one is configured.
//!
//! Spans are made by name, where a request is served (`served.rs`): no library's own spans or log lines
//! are exported, so nothing that they know can leave by this way.

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

/// How many spans wait to be sent at most. One more is lost.
const QUEUE_MAX: usize = 4096;
/// How many spans are sent together at most.
const BATCH_MAX: usize = 512;
/// How long a span waits to be sent, unless there are enough to send.
const SEND_EVERY: Duration = Duration::from_secs(1);
/// How long sending may take, tries and all.
const SEND_MAX: Duration = Duration::from_secs(5);
/// How long what is left may take to be sent when the server stops.
const FLUSH_MAX: Duration = Duration::from_secs(1);

/// Where traces go.
#[derive(Clone, PartialEq, Debug)]
pub struct TraceSettings {
    /// The collector: `http://host:4318`.
    pub endpoint: String,
    /// What this service is called.
    pub service_name: String,
    /// Which part of the traces that begin here is kept, from 0 to 1. Who continues a trace keeps what its caller keeps.
    pub kept: f64,
}

/// Traces cannot be exported.
#[derive(Debug, Error)]
#[error("{0}")]
pub struct TracesError(String);

/// Makes spans, and sends them from a thread of its own.
#[derive(Clone, Debug)]
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

impl Traces {
    /// Begins to export. Does not ask whether the collector is there. Blocks while the system's certificates are read.
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

    /// What makes spans.
    pub fn tracer(&self) -> &SdkTracer {
        &self.tracer
    }

    /// Sends what is left, for a second at most, and nothing more.
    pub async fn stop(self) {
        let flushed = tokio::task::spawn_blocking(move || self.provider.shutdown_with_timeout(FLUSH_MAX)).await;
        if !matches!(flushed, Ok(Ok(()))) {
            tracing::warn!("traces.not_flushed");
        }
    }
}

/// Exports as another exporter does, and logs when the collector fails and when it is back: a line each, not one for each try.
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
