//! Logging: structured, to standard error, with the ids of the request that is being served.

use std::fmt;
use std::io::IsTerminal as _;

use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::config::{Config, LogFormat};
use crate::served::{Served, with_served};

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

/// Sends the log to standard error. Does nothing if a log is set up already.
pub fn init(config: &Config) {
    // Other libraries log the values they send to the database, or headers, below this level.
    let cap =
        Targets::new().with_default(LevelFilter::INFO).with_targets(OWN.map(|target| (target, LevelFilter::TRACE)));
    let filter = EnvFilter::try_new(&config.log_filter).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match config.log_format {
        LogFormat::Pretty => {
            let ansi = std::io::stderr().is_terminal();
            // The line is put together before it is written: its format must be told that it may have colours.
            lines
                .with_ansi(ansi)
                .event_format(WithIds { line: format::format().with_ansi(ansi), add: add_pretty })
                .boxed()
        }
        LogFormat::Json => {
            let line = format::format().json().flatten_event(true);
            lines.json().event_format(WithIds { line, add: add_json }).boxed()
        }
    };
    let _ = tracing_subscriber::registry().with(lines.with_filter(cap)).with(filter).try_init();
}

/// Lines as another format writes them, with `request_id` and `trace_id` at the end of those that are written while a
/// request is served.
struct WithIds<F> {
    line: F,
    add: fn(&mut String, &Served) -> fmt::Result,
}

impl<S, N, F> FormatEvent<S, N> for WithIds<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut writer: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let with_ids = with_served(|served| {
            let mut line = String::new();
            self.line.format_event(context, Writer::new(&mut line), event)?;
            line.truncate(line.trim_end_matches('\n').len());
            (self.add)(&mut line, served)?;
            Ok(line)
        });
        match with_ids {
            Some(line) => writeln!(writer, "{}", line?),
            None => self.line.format_event(context, writer, event),
        }
    }
}

fn add_pretty(line: &mut String, served: &Served) -> fmt::Result {
    use fmt::Write as _;
    write!(line, " request_id={:?} trace_id={}", served.request_id, served.trace_id)
}

/// Into the object that the line is.
fn add_json(line: &mut String, served: &Served) -> fmt::Result {
    use fmt::Write as _;
    let request_id = serde_json::to_string(&served.request_id).map_err(|_| fmt::Error)?;
    line.truncate(line.strip_suffix('}').ok_or(fmt::Error)?.len());
    write!(line, ",\"request_id\":{request_id},\"trace_id\":\"{}\"}}", served.trace_id)
}
