//! The metrics of this server, in the text format of OpenMetrics.
//!
//! Counts and times are recorded as things happen ([`Metrics`]). The state of queues and pools is read at each scrape ([`Readings`]).
//! Nothing that a client sends creates a series: methods and routes are from fixed sets.

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use actix_web::http::{Method, StatusCode};
use adapters_auth::PasswordLoad;
use adapters_redis::RedisReport;
use domain::booking::{Action, BookingMeter, CommandResult, RetryReason};
use domain::health::PoolUse;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::{encode_eof, encode_registry};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

/// The content type of [`Metrics::encode`]'s text.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Upper bounds of times, in seconds: from half a millisecond, which is a seat map, to ten seconds, which is `REQUEST_TIMEOUT`.
const SECONDS: [f64; 14] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];
/// Upper bounds of the sizes of batches.
const BATCH_SIZES: [f64; 7] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0];

/// A gauge that is never negative.
type Level = Gauge<u64, AtomicU64>;

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct RequestLabels {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct CommandLabels {
    action: &'static str,
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct PoolLabels {
    pool: &'static str,
}

/// The state that is read at each scrape.
#[derive(Clone, PartialEq, Debug)]
pub struct Readings {
    /// The number of commands that wait for a committer.
    pub queue_length: usize,
    /// The use of the connections to the store.
    pub pools: Vec<PoolUse>,
    /// Whether commits of the database are replicated; `None` with `DB_DURABILITY=local`.
    pub replicated: Option<bool>,
    /// The load of password hashing.
    pub passwords: PasswordLoad,
    /// The use of Redis; `None` without Redis.
    pub redis: Option<RedisReport>,
    /// Log lines that were dropped, because they were not read in time.
    pub log_lines_dropped: u64,
}

/// The counts and times of one server. Recording waits for nothing but another recording.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Histogram, fn() -> Histogram>,
    in_flight: Level,
    commands: Family<CommandLabels, Counter>,
    reruns: Family<ReasonLabels, Counter>,
    queue_wait: Histogram,
    batch_size: Histogram,
}

impl Default for Metrics {
    /// Returns the metrics of a server that starts now. A metric is declared here, once.
    fn default() -> Self {
        let mut registry = Registry::default();
        let to = &mut registry;
        let requests: Family<RequestLabels, Histogram, fn() -> Histogram> = registered(
            to,
            "http_request_duration_seconds",
            "Time from a request's head to its answer's head, by method, route template and status",
            Family::new_with_constructor(|| Histogram::new(SECONDS)),
        );
        let in_flight = registered(to, "http_requests_in_flight", "Requests that are being answered", Level::default());
        let commands: Family<CommandLabels, Counter> = registered(
            to,
            "booking_commands",
            "Requests that write to claims, by action and by what they were answered",
            Family::default(),
        );
        let reruns: Family<ReasonLabels, Counter> =
            registered(to, "booking_reruns", "Batches that were run again, by reason", Family::default());
        let queue_wait = registered(
            to,
            "booking_queue_wait_seconds",
            "Time that commands waited for a committer",
            Histogram::new(SECONDS),
        );
        let batch_size =
            registered(to, "booking_batch_size", "Commands that were taken together", Histogram::new(BATCH_SIZES));
        to.register("build", "The running version", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        to.register(
            "process_start_time_seconds",
            "When the server was started, in seconds since 1970",
            ConstGauge::new(since_epoch.as_secs_f64()),
        );
        // Series are created at the start: a rate over a new one would miss its first count.
        for action in Action::NAMES {
            for what in CommandResult::ALL {
                drop(commands.get_or_create(&CommandLabels { action, outcome: what.as_str() }));
            }
        }
        for why in RetryReason::ALL {
            drop(reruns.get_or_create(&ReasonLabels { reason: why.as_str() }));
        }
        Self { registry, requests, in_flight, commands, reruns, queue_wait, batch_size }
    }
}

/// Registers a metric, and returns it for recording.
fn registered<M: Metric + Clone>(to: &mut Registry, name: &str, help: &str, metric: M) -> M {
    to.register(name, help, metric.clone());
    metric
}

impl Metrics {
    /// Counts a request as in flight until the guard is dropped.
    pub fn begin_request(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Records a response. `route` is the template of the path, if it has one.
    pub fn request_done(&self, method: &Method, route: Option<String>, status: StatusCode, took: Duration) {
        let route = route.unwrap_or_else(|| NO_ROUTE.to_owned());
        let labels = RequestLabels { method: method_label(method), route, status: status.as_u16() };
        self.requests.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// Counts bytes that were refused before they were a request: they have no method and no route.
    pub fn request_refused(&self, status: StatusCode) {
        let labels = RequestLabels { method: OTHER_METHOD, route: NO_ROUTE.to_owned(), status: status.as_u16() };
        self.requests.get_or_create(&labels).observe(0.0);
    }

    /// Returns every metric that a server can have, at zero, for the reference page.
    pub fn reference() -> Result<String, fmt::Error> {
        let readings = Readings {
            queue_length: 0,
            pools: vec![PoolUse { name: "sqlite_readers", size_max: 0, in_use: 0, waiting: 0 }],
            replicated: Some(true),
            passwords: PasswordLoad { waiting: 0, running: 0 },
            redis: Some(RedisReport { open: false, succeeded: 0, failed: 0, refused: 0 }),
            log_lines_dropped: 0,
        };
        Self::default().encode(&readings)
    }

    /// Writes all metrics as text of [`CONTENT_TYPE`].
    pub fn encode(&self, readings: &Readings) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode_registry(&mut text, &self.registry)?;
        encode_registry(&mut text, &readings.registry())?;
        encode_eof(&mut text)?;
        Ok(text)
    }
}

/// The route of paths without a template.
pub const NO_ROUTE: &str = "(none)";
/// The label of unknown methods.
const OTHER_METHOD: &str = "other";

/// Returns the label of a method: itself if it is a common one, else `other`.
pub fn method_label(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    KNOWN.into_iter().find(|known| *known == method.as_str()).unwrap_or(OTHER_METHOD)
}

/// A request in flight.
#[derive(Debug)]
pub struct InFlight(Level);

impl Drop for InFlight {
    /// The response was created, or the client has disconnected.
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl BookingMeter for Metrics {
    fn settled(&self, action: &'static str, what: CommandResult) {
        self.commands.get_or_create(&CommandLabels { action, outcome: what.as_str() }).inc();
    }

    fn taken(&self, waited: Duration) {
        self.queue_wait.observe(waited.as_secs_f64());
    }

    fn batch(&self, commands: usize) {
        // A larger batch than fits would be above the last bound anyway.
        self.batch_size.observe(u32::try_from(commands).unwrap_or(u32::MAX).into());
    }

    fn rerun(&self, why: RetryReason) {
        self.reruns.get_or_create(&ReasonLabels { reason: why.as_str() }).inc();
    }
}

impl Readings {
    /// Returns the readings as metrics. Created for each scrape, so that the registry keeps nothing alive that it measures.
    fn registry(&self) -> Registry {
        let mut to = Registry::default();
        to.register("booking_queue_length", "Commands that wait for a committer", ConstGauge::new(self.queue_length));
        self.register_pools(&mut to);
        if let Some(replicated) = self.replicated {
            let help = "1 while commits wait for a synchronous standby, as DB_DURABILITY=replicated asks for";
            to.register("database_replicated", help, ConstGauge::new(u32::from(replicated)));
        }
        to.register(
            "password_hashing_waiting",
            "Callers that wait for a password to be hashed",
            ConstGauge::new(self.passwords.waiting),
        );
        to.register(
            "password_hashing_running",
            "Passwords that are being hashed",
            ConstGauge::new(self.passwords.running),
        );
        to.register(
            "log_lines_dropped",
            "Lines of standard error and standard output that were dropped because they were not read or written in time",
            ConstCounter::new(self.log_lines_dropped),
        );
        if let Some(redis) = &self.redis {
            let open = u32::from(redis.open);
            to.register("redis_breaker_open", "1 while Redis is left alone after failures", ConstGauge::new(open));
            let commands: Family<OutcomeLabels, Counter> = Family::default();
            let outcomes = [("succeeded", redis.succeeded), ("failed", redis.failed), ("refused", redis.refused)];
            for (outcome, count) in outcomes {
                commands.get_or_create(&OutcomeLabels { outcome }).inc_by(count);
            }
            to.register("redis_commands", "Commands to Redis, by what became of them", commands);
        }
        if let Some(process) = ProcessReport::now() {
            process.register(&mut to);
        }
        to
    }

    fn register_pools(&self, to: &mut Registry) {
        let [max, in_use, waiting]: [Family<PoolLabels, Level>; 3] = Default::default();
        let level = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        for pool in &self.pools {
            let labels = PoolLabels { pool: pool.name };
            max.get_or_create(&labels).set(level(pool.size_max));
            in_use.get_or_create(&labels).set(level(pool.in_use));
            waiting.get_or_create(&labels).set(level(pool.waiting));
        }
        to.register("pool_connections_max", "Connections that a pool may have", max);
        to.register("pool_connections_in_use", "Connections of a pool that are being used", in_use);
        to.register("pool_waiting", "Calls that wait for a connection of a pool", waiting);
    }
}

/// The use of resources by this process.
struct ProcessReport {
    resident_memory_bytes: u64,
    cpu: Duration,
    open_fds: usize,
}

impl ProcessReport {
    #[cfg(target_os = "linux")]
    fn now() -> Option<Self> {
        use procfs::WithCurrentSystemInfo as _;
        let process = procfs::process::Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let ticks = stat.utime.saturating_add(stat.stime);
        let millis = ticks.saturating_mul(1000).checked_div(procfs::ticks_per_second())?;
        Some(Self {
            resident_memory_bytes: stat.rss_bytes().get(),
            cpu: Duration::from_millis(millis),
            open_fds: process.fd_count().ok()?,
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn now() -> Option<Self> {
        None
    }

    fn register(&self, to: &mut Registry) {
        to.register(
            "process_resident_memory_bytes",
            "Memory of the process that is in RAM",
            ConstGauge::new(self.resident_memory_bytes),
        );
        to.register(
            "process_cpu_seconds",
            "Time that the process had a processor",
            ConstCounter::new(self.cpu.as_secs_f64()),
        );
        to.register("process_open_fds", "Files and sockets that the process has open", ConstGauge::new(self.open_fds));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn readings(redis: Option<RedisReport>) -> Readings {
        let pool = |name, in_use| PoolUse { name, size_max: 8, in_use, waiting: 3 };
        Readings {
            queue_length: 7,
            pools: vec![pool("one", 1), pool("two", 2)],
            replicated: None,
            passwords: PasswordLoad { waiting: 5, running: 1 },
            redis,
            log_lines_dropped: 6,
        }
    }

    #[track_caller]
    fn assert_has(text: &str, lines: &[&str]) {
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn replication_is_measured_where_it_is_asked_for() {
        let text = |replicated| Metrics::default().encode(&Readings { replicated, ..readings(None) }).unwrap();
        assert_has(&text(Some(true)), &["database_replicated 1"]);
        assert_has(&text(Some(false)), &["database_replicated 0"]);
        assert!(!text(None).contains("database_replicated"));
    }

    #[test]
    fn a_method_that_nobody_defines_is_no_label() {
        for known in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"] {
            assert_eq!(method_label(&known.parse().unwrap()), known);
        }
        for odd in ["get", "BREW", "TRACE", "CONNECT", "GETT", "G", "PROPFIND"] {
            assert_eq!(method_label(&odd.parse().unwrap()), "other", "{odd}");
        }
    }

    #[test]
    fn a_request_counts_in_every_bucket_that_is_long_enough_for_it() {
        let metrics = Metrics::default();
        for millis in [0, 1, 3, 20_000] {
            let route = Some("/api/shows/{show_id}".to_owned());
            metrics.request_done(&Method::GET, route, StatusCode::OK, Duration::from_millis(millis));
        }
        metrics.request_done(&Method::TRACE, None, StatusCode::NOT_FOUND, Duration::ZERO);
        let text = metrics.encode(&readings(None)).unwrap();
        let bucket = |le: &str, count: u32| {
            format!(
                "http_request_duration_seconds_bucket{{le=\"{le}\",method=\"GET\",route=\"/api/shows/{{show_id}}\",status=\"200\"}} {count}"
            )
        };
        let expected = [("0.0005", 1), ("0.001", 2), ("0.0025", 2), ("0.005", 3), ("10.0", 3), ("+Inf", 4)];
        assert_has(&text, &expected.map(|(le, count)| bucket(le, count)).each_ref().map(String::as_str));
        assert_has(
            &text,
            &[
                "http_request_duration_seconds_count{method=\"GET\",route=\"/api/shows/{show_id}\",status=\"200\"} 4",
                "http_request_duration_seconds_count{method=\"other\",route=\"(none)\",status=\"404\"} 1",
                "# EOF",
            ],
        );
    }

    #[test]
    fn every_outcome_and_reason_is_there_before_it_happens() {
        let metrics = Metrics::default();
        let count = |text: &str, what: &str, expected: u32| assert_has(text, &[&format!("{what} {expected}")]);
        for (round, expected) in [(0, 0), (1, 1), (2, 2)] {
            let text = metrics.encode(&readings(None)).unwrap();
            for what in CommandResult::ALL {
                for action in Action::NAMES {
                    let series = format!("booking_commands_total{{action=\"{action}\",outcome=\"{}\"}}", what.as_str());
                    count(&text, &series, expected);
                    metrics.settled(action, what);
                }
            }
            for why in RetryReason::ALL {
                count(&text, &format!("booking_reruns_total{{reason=\"{}\"}}", why.as_str()), expected);
                metrics.rerun(why);
            }
            count(&text, "booking_queue_wait_seconds_count", round);
            count(&text, "booking_batch_size_bucket{le=\"2.0\"}", round);
            metrics.taken(Duration::from_millis(1));
            metrics.batch(2);
        }
    }

    #[test]
    fn a_request_is_in_flight_until_it_is_dropped() {
        let metrics = Metrics::default();
        let (first, second) = (metrics.begin_request(), metrics.begin_request());
        drop(first);
        assert_has(&metrics.encode(&readings(None)).unwrap(), &["http_requests_in_flight 1"]);
        drop(second);
        assert_has(&metrics.encode(&readings(None)).unwrap(), &["http_requests_in_flight 0"]);
    }

    #[test]
    fn what_has_a_state_is_read_when_it_is_asked_for() {
        let metrics = Metrics::default();
        let text = metrics.encode(&readings(None)).unwrap();
        assert_has(
            &text,
            &[
                "booking_queue_length 7",
                "pool_connections_max{pool=\"one\"} 8",
                "pool_connections_in_use{pool=\"two\"} 2",
                "pool_waiting{pool=\"one\"} 3",
                "password_hashing_waiting 5",
                "password_hashing_running 1",
                "log_lines_dropped_total 6",
                concat!("build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            ],
        );
        assert!(!text.contains("redis"), "there is no Redis:\n{text}");
        let redis = RedisReport { open: true, succeeded: 1, failed: 2, refused: 3 };
        let text = metrics.encode(&readings(Some(redis))).unwrap();
        assert_has(
            &text,
            &[
                "redis_breaker_open 1",
                "redis_commands_total{outcome=\"succeeded\"} 1",
                "redis_commands_total{outcome=\"failed\"} 2",
                "redis_commands_total{outcome=\"refused\"} 3",
            ],
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_has_memory_and_open_files() {
        let process = ProcessReport::now().unwrap();
        assert!(process.resident_memory_bytes > 1_000_000, "{}", process.resident_memory_bytes);
        assert!(process.open_fds >= 3, "{}", process.open_fds);
    }
}
