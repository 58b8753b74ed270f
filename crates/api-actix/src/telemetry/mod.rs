//! Logging: structured, to standard error, with the ids of the request that is being served. Nothing that is written here makes a
//! request or the end of the process wait (`sink.rs`).

pub mod metrics;
pub mod request_context;
pub mod sink;
pub mod traces;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fmt;
use std::io::{self, IsTerminal as _, Write};
use std::panic::PanicHookInfo;
use std::sync::OnceLock;
use std::time::Duration;

use serde::Serialize;
use tracing::{Event, Subscriber};
use tracing_serde::fields::{AsMap as _, SerializeFieldMap};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{Format, Full, Writer};
use tracing_subscriber::fmt::time::{FormatTime as _, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::settings::{Config, LogFormat};
use crate::telemetry::request_context::current_request;
use crate::telemetry::sink::{QUEUE_BYTES_MAX, Sink};

/// The parts of this program: they log no secrets at any level.
const OWN: [&str; 8] = [
    "movie_booking",
    "api_actix",
    "domain",
    "adapters_auth",
    "adapters_local",
    "adapters_postgres",
    "adapters_redis",
    "adapters_sqlite",
];

/// Standard output and standard error of this process, once [`init`] has run.
static OUTPUT: OnceLock<Output> = OnceLock::new();

struct Output {
    stdout: Sink,
    stderr: Sink,
}

/// Writes `text` to standard output; a reader that has gone is no failure. Does not block while a server runs.
pub fn print(text: &str) {
    match OUTPUT.get() {
        Some(output) => output.stdout.push(text.as_bytes().to_vec()),
        None => drop(io::stdout().write_all(text.as_bytes())),
    }
}

/// Writes a line to standard error, as [`print()`] does to standard output.
pub fn print_error(line: &str) {
    let line = format!("{line}\n").into_bytes();
    match OUTPUT.get() {
        Some(output) => output.stderr.push(line),
        None => drop(io::stderr().write_all(&line)),
    }
}

/// Returns the number of lines that standard output and standard error did not accept in time.
pub fn lines_dropped() -> u64 {
    OUTPUT.get().map_or(0, |output| output.stdout.dropped() + output.stderr.dropped())
}

/// Writes what is queued. To be called last. Gives up an output that accepts nothing for as long as `patience`.
pub fn flush(patience: Duration) {
    if let Some(output) = OUTPUT.get() {
        output.stdout.flush(patience);
        output.stderr.flush(patience);
    }
}

/// Sends the log to standard error, and panics to the log. From now on [`print()`] and [`print_error`] do not block. Does nothing if a
/// log is set up already. Fails if the system starts no thread.
pub fn init(config: &Config) -> io::Result<()> {
    let report = |lines| tracing::warn!(lines, "log.lines_dropped");
    let stdout = Sink::start("stdout", io::stdout(), QUEUE_BYTES_MAX, report)?;
    let stderr = Sink::start("stderr", io::stderr(), QUEUE_BYTES_MAX, report)?;
    let lines_to = ToSink(stderr.clone());
    if OUTPUT.set(Output { stdout, stderr }).is_err() {
        return Ok(());
    }
    // The default hook writes to standard error directly, and would block a thread that panics.
    std::panic::set_hook(Box::new(log_panic));
    // Other libraries log the values they send to the database, or headers, below this level.
    let cap =
        Targets::new().with_default(LevelFilter::INFO).with_targets(OWN.map(|target| (target, LevelFilter::TRACE)));
    let filter =
        EnvFilter::try_new(with_quiet_framework(&config.values.log_filter)).unwrap_or_else(|_| EnvFilter::new("info"));
    // An event that cannot be formatted would be reported on standard error directly.
    let lines = tracing_subscriber::fmt::layer().log_internal_errors(false).with_writer(lines_to);
    let lines = match config.values.log_format {
        LogFormat::Pretty => {
            let ansi = io::stderr().is_terminal();
            // The line is built in memory, where the format cannot find out whether colours are wanted.
            lines.with_ansi(ansi).event_format(PrettyFormat(Format::default().with_ansi(ansi))).boxed()
        }
        LogFormat::Json => lines.event_format(JsonFormat).boxed(),
    };
    let _ = tracing_subscriber::registry().with(lines.with_filter(cap)).with(filter).try_init();
    Ok(())
}

/// Hands each line to a queue.
struct ToSink(Sink);

impl<'a> MakeWriter<'a> for ToSink {
    type Writer = LineToSink<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineToSink(&self.0)
    }
}

/// Takes a line by one call of `write_all`, which is how the log hands it over.
struct LineToSink<'a>(&'a Sink);

impl Write for LineToSink<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line.to_vec());
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let reason = panic.payload_as_str().unwrap_or("(unknown)");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("(unnamed)");
    let location = panic.location().map(ToString::to_string).unwrap_or_default();
    // Captured where RUST_BACKTRACE asks for it.
    let backtrace = Backtrace::capture();
    let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| tracing::field::display(&backtrace));
    tracing::error!(thread, location, reason, backtrace, "panic");
}

/// Returns the filter with the web framework at `warn`, unless the filter names it. At `info` it reports each start in several lines of its
/// own, before the address that the server listens on.
fn with_quiet_framework(filter: &str) -> String {
    if filter.contains("actix") { filter.to_owned() } else { format!("{filter},actix_server=warn") }
}

/// A log line for machines. It also has every field of the event.
#[derive(Serialize)]
struct JsonLine<'a> {
    timestamp: String,
    level: &'a str,
    #[serde(flatten)]
    fields: SerializeFieldMap<'a, Event<'a>>,
    target: &'a str,
    #[serde(flatten)]
    request: Option<RequestIds<'a>>,
}

/// The ids of the request during which a line is written.
#[derive(Serialize)]
struct RequestIds<'a> {
    request_id: &'a str,
    trace_id: String,
}

/// Writes each event as a [`JsonLine`].
struct JsonFormat;

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let line = current_request(|request| {
            serde_json::to_string(&JsonLine {
                timestamp,
                level: event.metadata().level().as_str(),
                fields: event.field_map(),
                target: event.metadata().target(),
                request: request.map(|it| RequestIds { request_id: &it.request_id, trace_id: it.trace_id.to_string() }),
            })
        });
        writeln!(writer, "{}", line.map_err(|_| fmt::Error)?)
    }
}

/// Writes each event as `tracing-subscriber` does for people, and after it the ids of the request.
struct PrettyFormat(Format<Full, SystemTime>);

impl<S, N> FormatEvent<S, N> for PrettyFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        current_request(|request| {
            let Some(request) = request else { return self.0.format_event(context, writer, event) };
            let mut line = String::new();
            self.0.format_event(context, Writer::new(&mut line), event)?;
            let (line, id, trace_id) = (line.trim_end_matches('\n'), &request.request_id, request.trace_id);
            writeln!(writer, "{line} request_id={id:?} trace_id={trace_id}")
        })
    }
}
