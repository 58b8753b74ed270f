//! Logging: structured, to standard error, with the request's id.

use std::io::IsTerminal as _;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, fmt};

use crate::config::{Config, LogFormat};

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
    let lines = fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal());
    let lines = match config.log_format {
        LogFormat::Pretty => lines.boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    let _ = tracing_subscriber::registry().with(lines.with_filter(cap)).with(filter).try_init();
}
