//! Settings: from the environment, a `.env` file and a TOML file, in this order of precedence.
//!
//! Every setting has one name, upper-case in the environment (`DATABASE_URL`) and lower-case in the file (`database_url`).
//! All mistakes are told at once, by name, with what is allowed, and with the line of the file. [`SETTINGS`] lists them all.

pub mod dotenv;
pub mod secrets;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::Uri;
use adapters_postgres::{Durability, PostgresSettings, SettingsError as PostgresError};
use adapters_redis::{RedisSettings, SettingsError};
use chrono::TimeDelta;
use domain::booking::{Hold, Rules, SeatGapRule};
use domain::identity::IdentityTtl;
use domain::limits::Limit;
use secrecy::SecretString;

use crate::http::client_address::TrustedProxies;
use crate::settings::dotenv::Line;
use crate::settings::secrets::weakness;
use crate::telemetry::traces::TraceSettings;

/// Where bookings are kept.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// The embedded store, in a directory.
    Embedded {
        /// The directory.
        data_dir: PathBuf,
    },
    /// PostgreSQL.
    Postgres(Box<PostgresSettings>),
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines: a JSON object a line.
    Json,
}

/// How often something may be asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimits {
    /// Requests of each caller, or of each address without one.
    pub requests: Limit,
    /// Failed logins of each account from each address.
    pub authentication_failures: Limit,
    /// Sign-ups of each address.
    pub sign_ups: Limit,
}

/// All settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address to listen on.
    pub host: IpAddr,
    /// The port to listen on; 0 lets the system pick.
    pub port: u16,
    /// Where bookings are kept.
    pub store: StoreConfig,
    /// How long a start waits for PostgreSQL.
    pub db_start_timeout: Duration,
    /// Redis, which servers share.
    pub redis: Option<RedisSettings>,
    /// What signs access tokens. Always there on PostgreSQL; made and kept on the embedded store where it is not given.
    pub jwt_secret: Option<SecretString>,
    /// What signed them before.
    pub jwt_secret_previous: Option<SecretString>,
    /// How long tokens work.
    pub ttl: IdentityTtl,
    /// Which pages may call from a browser.
    pub cors_origins: Vec<String>,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// What the house allows.
    pub rules: Rules,
    /// How long the answer of an idempotency key is given again to the byte.
    pub idempotency_ttl: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
    /// How long a connection stays open without a request.
    pub keep_alive: Duration,
    /// How many bookings are committed together at most.
    pub commit_batch_max: usize,
    /// How much memory layouts may take, in MiB.
    pub seatmap_cache_mb: u64,
    /// How often something may be asked; `None` switches limits off.
    pub rate_limits: Option<RateLimits>,
    /// A port for the metrics alone; 0 lets the system pick. `None`: they are on the port of everything else.
    pub metrics_port: Option<u16>,
    /// Where traces go; `None` keeps them in the log, as ids.
    pub traces: Option<TraceSettings>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// What is logged, as `RUST_LOG` says it.
    pub log_filter: String,
}

/// A setting: its name, what it is by default, what is allowed and what it is for.
pub struct Setting {
    /// The name in the environment.
    pub name: &'static str,
    /// What it is by default.
    pub default: &'static str,
    pub allowed: &'static str,
    /// What it is for, and what a wrong value costs.
    pub about: &'static str,
    secret: bool,
}

const fn setting(name: &'static str, default: &'static str, allowed: &'static str, about: &'static str) -> Setting {
    Setting { name, default, allowed, about, secret: false }
}

const fn secret(name: &'static str, default: &'static str, allowed: &'static str, about: &'static str) -> Setting {
    Setting { name, default, allowed, about, secret: true }
}

const DURATION: &str = "a time like 90s, 15min, 1h or 30d, at least 1s";

/// Every setting.
pub const SETTINGS: &[Setting] = &[
    setting("PORT", "3000", "0 to 65535; 0 lets the system pick", "The port to listen on."),
    setting(
        "HOST",
        "127.0.0.1",
        "an IP address",
        "The address to listen on. 0.0.0.0 listens on all addresses of the machine.",
    ),
    secret(
        "DATABASE_URL",
        "",
        "postgres://user:password@host:5432/database?sslmode=…&sslrootcert=… or host=… user=… password=… dbname=… sslmode=…",
        "The PostgreSQL database. Without it and without DB_HOST the embedded store is used. docs/operating/postgresql.md lists the parameters; any other is an error.",
    ),
    setting(
        "DB_HOST",
        "",
        "a host name, an IP address or the directory of a Unix socket; several are separated by commas",
        "The PostgreSQL server, instead of DATABASE_URL. The DB_ settings need no percent-encoding.",
    ),
    setting(
        "DB_PORT",
        "5432",
        "1 to 65535; one for all hosts, or one for each, separated by commas",
        "With DB_HOST: the port.",
    ),
    setting("DB_NAME", "", "a database's name", "With DB_HOST: required."),
    setting("DB_USER", "", "a role's name", "With DB_HOST: required."),
    secret("DB_PASSWORD", "", "a password", "With DB_HOST: the role's password."),
    setting("DB_SSLMODE", "prefer", "disable, prefer, require, verify-ca or verify-full", "With DB_HOST: as sslmode."),
    setting("DB_SSLROOTCERT", "", "a PEM file of certificate authorities", "With DB_HOST: as sslrootcert."),
    setting(
        "DB_POOL_SIZE",
        "8",
        "1 to 200",
        "The number of connections for reading. More connections than the database has cores make it slower.",
    ),
    setting(
        "DB_START_TIMEOUT",
        "30s",
        "a time from 0s to 1h",
        "How long the start waits while PostgreSQL is unreachable, starting or read-only.",
    ),
    setting(
        "DB_DURABILITY",
        "local",
        "local or replicated",
        "Where a booking must be stored before it is acknowledged: on the database's disk, or on a synchronous standby as well.",
    ),
    setting("DATA_DIR", "./data", "a directory", "The directory of the embedded store."),
    secret(
        "REDIS_URL",
        "",
        "redis://user:password@host:6379/0, redis-sentinel://host:26379?sentinelServiceName=…&node=host:port or redis-cluster://host:6379?node=host:port; rediss instead of redis for TLS",
        "The Redis that servers share for replayed responses and rate limits. Without it each server keeps its own.",
    ),
    setting(
        "REDIS_SSLROOTCERT",
        "",
        "a PEM file of certificate authorities",
        "The authorities to trust for a rediss address. Without it the system's authorities are trusted.",
    ),
    secret(
        "JWT_SECRET",
        "",
        "at least 32 random bytes, as `openssl rand -base64 48` prints them",
        "Signs access tokens. Required with PostgreSQL; with the embedded store it is generated and kept in DATA_DIR.",
    ),
    secret(
        "JWT_SECRET_PREVIOUS",
        "",
        "as JWT_SECRET",
        "The previous secret. Tokens signed with it stay valid until they expire.",
    ),
    setting("ACCESS_TOKEN_TTL", "1h", DURATION, "How long an access token is valid."),
    setting("REFRESH_TOKEN_TTL", "30d", DURATION, "How long a refresh token is valid."),
    setting(
        "CORS_ORIGINS",
        "http://localhost:5173",
        "origins like https://example.org, separated by commas",
        "The origins whose pages may call the API from a browser.",
    ),
    setting(
        "TRUSTED_PROXIES",
        "",
        "addresses or networks like 10.0.0.0/8, separated by commas",
        "The proxies whose X-Forwarded-For is trusted. If it is too wide, clients can forge their address. If it is too narrow, all clients behind a proxy share one limit.",
    ),
    setting(
        "HOLD_TTL",
        "10min",
        "a time from 1s to 30min",
        "How long a hold keeps its seats after it was created or extended.",
    ),
    setting(
        "CANCELLATION_CUTOFF",
        "2h",
        "a time like 0s, 90min or 2d",
        "How long before the show a booking can last be cancelled.",
    ),
    setting(
        "MAX_SEATS_PER_BOOKING",
        "10",
        "1 to 100",
        "The most seats of a booking, and of all live holds of a user on one show.",
    ),
    setting(
        "MAX_HELD_SEATS",
        "20",
        "1 to 100, and at least MAX_SEATS_PER_BOOKING",
        "The most seats that a user can hold over all shows. The default grows with MAX_SEATS_PER_BOOKING.",
    ),
    setting(
        "CANCELLATIONS_PER_DAY",
        "10",
        "1 to 1000",
        "The most bookings that a user can cancel within 24 hours. Bookings of cancelled shows do not count.",
    ),
    setting(
        "SEAT_GAP_RULE",
        "off",
        "off or forbid",
        "Whether a selection may leave a single seat empty between taken ones or at an aisle.",
    ),
    setting(
        "IDEMPOTENCY_TTL",
        "24h",
        "a time of at least 24h",
        "How long a retry with the same key gets the same bytes.",
    ),
    setting("REQUEST_TIMEOUT", "10s", DURATION, "The longest time a request may take."),
    setting(
        "KEEP_ALIVE",
        "75s",
        DURATION,
        "How long an idle connection stays open. It must be longer than the load balancer's own time-out, otherwise requests are lost occasionally.",
    ),
    setting(
        "COMMIT_BATCH_MAX",
        "64",
        "1 to 64",
        "The most bookings in one commit. With 1 each booking is a commit of its own, which is several times slower under load.",
    ),
    setting("SEATMAP_CACHE_MB", "64", "1 to 65536", "The memory for cached layouts of seat maps, in MiB."),
    setting("RATE_LIMIT", "on", "on or off", "Whether requests, failed logins and sign-ups are limited."),
    setting(
        "RATE_LIMIT_PER_MINUTE",
        "600",
        "1 to 1000000",
        "Requests a minute of each user, or of each network without a valid token.",
    ),
    setting(
        "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE",
        "10",
        "1 to 1000000",
        "Failed logins a minute of each account from each network. Three times as many for an account, and five times as many for a network, unless the account was used from that network before.",
    ),
    setting(
        "SIGN_UPS_PER_HOUR",
        "60",
        "1 to 1000000",
        "Sign-ups an hour of each network, failed ones included. An IPv6 address counts by its /64.",
    ),
    setting(
        "METRICS_PORT",
        "",
        "0 to 65535, not PORT; 0 lets the system pick",
        "A port on HOST for /metrics and /healthz only. Without it /metrics is on PORT, open to every client that reaches it.",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "http://host:4318 or https://host, without user or query",
        "The OpenTelemetry collector for traces, by OTLP over HTTP. Without it no traces are exported.",
    ),
    setting("OTEL_SERVICE_NAME", "movie-booking", "a name", "The service's name in traces."),
    setting(
        "OTEL_TRACES_SAMPLER_ARG",
        "1",
        "0 to 1",
        "The share of traces to export. A trace that a caller has started follows the caller's decision.",
    ),
    setting("LOG_FORMAT", "pretty", "pretty or json", "The format of log lines."),
    setting(
        "RUST_LOG",
        "info",
        "a filter like info or debug",
        "What is logged. Libraries never log more than info, because some would log secrets.",
    ),
];

/// Everything that is wrong with the settings.
#[derive(Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<String>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Where a setting came from.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Source {
    Environment,
    /// A `.env` file or the file of `--config`, as it is shown.
    Line {
        file: String,
        line: usize,
    },
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Environment => f.write_str("environment"),
            Self::Line { file, line } => write!(f, "{file}, line {line}"),
        }
    }
}

/// What was given, before it is checked.
#[derive(Default)]
struct Given {
    values: BTreeMap<&'static str, String>,
    sources: BTreeMap<&'static str, Source>,
    /// The files that were read.
    files: Vec<String>,
    errors: Vec<String>,
}

/// The checked settings, and where each of them came from.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    sources: BTreeMap<&'static str, Source>,
    files: Vec<String>,
    /// The values that were given, but for secrets.
    shown: BTreeMap<&'static str, String>,
}

/// The settings of this process: its environment, `.env` in its directory or the nearest one above, and `file`.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    let mut given = Given::default();
    if let Some(path) = file {
        given.read_toml(path);
    }
    given.read_dotenv();
    given.read_environment();
    let Given { values, sources, files, errors } = given;
    let shown =
        values.iter().filter(|(name, _)| !is_secret(name)).map(|(name, value)| (*name, value.clone())).collect();
    match check(values, errors) {
        Ok(config) => Ok(Loaded { config, sources, files, shown }),
        Err(ConfigErrors(errors)) => {
            Err(ConfigErrors(errors.into_iter().map(|error| located(error, &sources)).collect()))
        }
    }
}

/// Adds the line of the file to a mistake in a setting. Such a mistake begins with the setting's name.
fn located(error: String, sources: &BTreeMap<&'static str, Source>) -> String {
    let name = error.split([' ', ':']).next().unwrap_or_default();
    match sources.get(name) {
        Some(source @ Source::Line { .. }) => format!("{error} ({source})"),
        Some(Source::Environment) | None => error,
    }
}

/// Text that is UTF-8, with or without a byte order mark; or what is wrong with the file, without its content.
fn read_text(path: &Path) -> Result<String, String> {
    let bytes = std::fs::read(path).map_err(|error| error.to_string())?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text)),
        Err(error) => {
            let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            Err(format!("line {line}: it is not UTF-8"))
        }
    }
}

/// The nearest `.env` file, from the current directory upwards. A directory of that name (a Python environment) is not one.
fn nearest_dotenv() -> std::io::Result<Option<PathBuf>> {
    let directory = std::env::current_dir()?;
    for directory in directory.ancestors() {
        let path = directory.join(".env");
        match std::fs::metadata(&path) {
            // Neither a directory nor nothing: a file, or a pipe from a secrets manager.
            Ok(metadata) if !metadata.is_dir() => return Ok(Some(path)),
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(std::io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
    Ok(None)
}

impl Given {
    fn add(&mut self, name: &str, value: String, source: Source) {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
            if value.trim().is_empty() {
                self.values.remove(setting.name);
                self.sources.remove(setting.name);
            } else {
                self.values.insert(setting.name, value);
                self.sources.insert(setting.name, source);
            }
        }
    }

    fn read_environment(&mut self) {
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match value.into_string() {
                Ok(value) => self.add(name, value, Source::Environment),
                Err(_) if is_known(name) => self.errors.push(format!("{name} is not UTF-8.")),
                Err(_) => {}
            }
        }
    }

    fn read_dotenv(&mut self) {
        let path = match nearest_dotenv() {
            Ok(Some(path)) => path,
            Ok(None) => return,
            Err(error) => return self.errors.push(format!(".env cannot be read: {error}.")),
        };
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => return self.errors.push(format!("{} cannot be read: {error}.", path.display())),
        };
        let file = path.display().to_string();
        for line in dotenv::parse(&text) {
            match line {
                Ok(Line { number, name, value }) => {
                    self.add(&name, value, Source::Line { file: file.clone(), line: number });
                }
                Err(error) => self.errors.push(format!("{file} cannot be read: {error}.")),
            }
        }
        self.files.push(file);
    }

    fn read_toml(&mut self, path: &Path) {
        let file = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => return self.errors.push(format!("{file} cannot be read: {error}.")),
        };
        let line_of = |offset: usize| text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        let table: BTreeMap<String, toml::Spanned<toml::Value>> = match toml::from_str(&text) {
            Ok(table) => table,
            Err(error) => {
                // Not the error's own text: that shows the line, and a secret may be in it.
                let line = line_of(error.span().map_or(0, |span| span.start));
                return self.errors.push(format!("{file} is not TOML: line {line}: {}.", error.message()));
            }
        };
        for (name, value) in table {
            let line = line_of(value.span().start);
            let value = match value.into_inner() {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => if flag { "on" } else { "off" }.to_owned(),
                toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
                    items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
                }
                _ => {
                    self.errors.push(format!(
                        "{name} in {file}, line {line}, must be a string, a number or a list of strings."
                    ));
                    continue;
                }
            };
            let upper = name.to_uppercase();
            if name == name.to_lowercase() && is_known(&upper) {
                self.add(&upper, value, Source::Line { file: file.clone(), line });
            } else {
                self.errors.push(format!("{name} in {file} is not a setting (line {line})."));
            }
        }
        self.files.push(file);
    }
}

/// Checks settings by name. What is empty is as if it were not there.
pub fn check(values: BTreeMap<&'static str, String>, mut errors: Vec<String>) -> Result<Config, ConfigErrors> {
    let values =
        values.into_iter().filter_map(|(name, value)| Some((name, trimmed(name, &value, &mut errors)?))).collect();
    let mut reader = Reader { values, errors: Vec::new() };
    let store = reader.store();
    let jwt_secret = reader.signing_secret("JWT_SECRET");
    let needs_secret = matches!(store, Some(StoreConfig::Postgres(_))) && jwt_secret.is_none();
    if needs_secret && !reader.values.contains_key("JWT_SECRET") {
        reader.errors.push(
            "JWT_SECRET is missing: with PostgreSQL it must be given, at least 32 bytes, the same for every server. \
             `openssl rand -base64 48` makes one."
                .to_owned(),
        );
    }
    let config = Config {
        host: reader.parsed("HOST"),
        port: reader.parsed("PORT"),
        store: store.unwrap_or_else(|| StoreConfig::Embedded { data_dir: PathBuf::new() }),
        db_start_timeout: reader.duration_within("DB_START_TIMEOUT", Duration::ZERO, Duration::from_secs(3600)),
        redis: reader.redis(),
        jwt_secret,
        jwt_secret_previous: reader.signing_secret("JWT_SECRET_PREVIOUS"),
        ttl: IdentityTtl {
            access_token: reader.duration("ACCESS_TOKEN_TTL", Duration::from_secs(1)),
            refresh_token: reader.duration("REFRESH_TOKEN_TTL", Duration::from_secs(1)),
        },
        cors_origins: reader.origins(),
        trusted_proxies: reader.trusted_proxies(),
        rules: reader.rules(),
        idempotency_ttl: reader.duration("IDEMPOTENCY_TTL", Duration::from_secs(24 * 3600)),
        request_timeout: reader.duration("REQUEST_TIMEOUT", Duration::from_secs(1)),
        keep_alive: reader.duration("KEEP_ALIVE", Duration::from_secs(1)),
        commit_batch_max: reader.number("COMMIT_BATCH_MAX", 1, 64),
        seatmap_cache_mb: reader.number("SEATMAP_CACHE_MB", 1, 65_536),
        rate_limits: reader.rate_limits(),
        metrics_port: reader.metrics_port(),
        traces: reader.traces(),
        log_format: reader.one_of("LOG_FORMAT", &[("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]),
        log_filter: reader.log_filter(),
    };
    errors.append(&mut reader.errors);
    if errors.is_empty() { Ok(config) } else { Err(ConfigErrors(errors)) }
}

/// Every setting with its value and where it came from, secrets hidden, for `check-config`.
pub fn describe(loaded: &Loaded) -> String {
    let Loaded { config, sources, files, shown } = loaded;
    let store = match &config.store {
        StoreConfig::Embedded { data_dir } => format!("embedded, in {}", data_dir.display()),
        StoreConfig::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let files = if files.is_empty() { "none".to_owned() } else { files.join(" and ") };
    let mut rows = vec![["setting".to_owned(), "value".to_owned(), "source".to_owned()]];
    rows.extend(SETTINGS.iter().map(|setting| {
        let value = match (setting.name, sources.contains_key(setting.name)) {
            ("REDIS_URL", true) => config.redis.as_ref().map(ToString::to_string),
            // It was checked to hold no secret.
            ("OTEL_EXPORTER_OTLP_ENDPOINT", true) => config.traces.as_ref().map(|traces| traces.endpoint.clone()),
            (_, true) if setting.secret => Some("(hidden)".to_owned()),
            (name, true) => shown.get(name).map(|value| value.trim().to_owned()),
            ("JWT_SECRET", false) if matches!(config.store, StoreConfig::Embedded { .. }) => {
                Some("(kept in DATA_DIR)".to_owned())
            }
            (_, false) => (!setting.default.is_empty()).then(|| setting.default.to_owned()),
        };
        let source = sources.get(setting.name).map_or("default".to_owned(), ToString::to_string);
        [setting.name.to_owned(), value.unwrap_or_else(|| "(none)".to_owned()), source]
    }));
    format!("Store: {store}\nFiles: {files}\n\n{}", table(&rows))
}

/// Columns as wide as their longest text.
fn table(rows: &[[String; 3]]) -> String {
    let width = |column: usize| {
        rows.iter().filter_map(|row| row.get(column)).map(|text| text.chars().count()).max().unwrap_or_default()
    };
    let (first, second) = (width(0), width(1).min(40));
    let lines = rows.iter().map(|[name, value, source]| format!("{name:first$}  {value:second$}  {source}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name)
}

fn is_secret(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name && setting.secret)
}

/// The value without line breaks at its end and blanks around it, which files and `$(cat …)` leave there. `None` if nothing is left.
fn trimmed(name: &'static str, value: &str, errors: &mut Vec<String>) -> Option<String> {
    let without_breaks = value.trim_end_matches(['\r', '\n']);
    let trimmed = without_breaks.trim();
    // A blank may be part of a password, so it is neither dropped nor kept silently.
    if name == "DB_PASSWORD" && trimmed != without_breaks {
        errors.push(format!(
            "{name} begins or ends with a blank: remove it, or write the password into DATABASE_URL, with %20 for the blank."
        ));
    }
    // Without this a generated secret or none would take its place, and nobody would know.
    if name.starts_with("JWT_SECRET") && trimmed.is_empty() && !without_breaks.is_empty() {
        errors.push(format!("{name} consists of blanks: it must be random. `openssl rand -base64 48` makes one."));
    }
    (!trimmed.is_empty()).then(|| trimmed.to_owned())
}

/// The parts of the database's address, each with libpq's name for it.
const DATABASE_PARTS: [(&str, &str); 7] = [
    ("DB_HOST", "host"),
    ("DB_PORT", "port"),
    ("DB_NAME", "dbname"),
    ("DB_USER", "user"),
    ("DB_PASSWORD", "password"),
    ("DB_SSLMODE", "sslmode"),
    ("DB_SSLROOTCERT", "sslrootcert"),
];

struct Reader {
    values: BTreeMap<&'static str, String>,
    errors: Vec<String>,
}

impl Reader {
    /// The value, or the default where it has one.
    fn text(&self, name: &'static str) -> Option<String> {
        let default = SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.default);
        self.values.get(name).cloned().or_else(|| (!default.is_empty()).then(|| default.to_owned()))
    }

    fn refuse(&mut self, name: &'static str, value: &str) {
        let setting = SETTINGS.iter().find(|setting| setting.name == name);
        let allowed = setting.map_or("", |setting| setting.allowed);
        let shown = if setting.is_some_and(|setting| setting.secret) { "what was given" } else { value };
        self.errors.push(format!("{name} is {shown}, but must be {allowed}."));
    }

    fn parsed_by<T>(&mut self, name: &'static str, fallback: T, parse: impl Fn(&str) -> Option<T>) -> T {
        let text = self.text(name).unwrap_or_default();
        match parse(text.trim()) {
            Some(value) => value,
            None => {
                self.refuse(name, &text);
                fallback
            }
        }
    }

    fn parsed<T: std::str::FromStr + Fallback>(&mut self, name: &'static str) -> T {
        self.parsed_by(name, T::fallback(), |text| text.parse().ok())
    }

    fn number<T: TryFrom<u64> + Default>(&mut self, name: &'static str, min: u64, max: u64) -> T {
        self.parsed_by(name, T::default(), |text| {
            text.parse::<u64>()
                .ok()
                .filter(|number| (min..=max).contains(number))
                .and_then(|number| number.try_into().ok())
        })
    }

    fn duration(&mut self, name: &'static str, min: Duration) -> Duration {
        // Ten years: longer is a typing mistake, and dates must not overflow.
        self.duration_within(name, min, Duration::from_secs(10 * 365 * 24 * 3600))
    }

    fn duration_within(&mut self, name: &'static str, min: Duration, max: Duration) -> Duration {
        self.parsed_by(name, min, |text| {
            let parsed = text.parse().map(Duration::from_secs).ok().or_else(|| humantime::parse_duration(text).ok());
            parsed.filter(|duration| (min..=max).contains(duration))
        })
    }

    fn one_of<T: Copy>(&mut self, name: &'static str, choices: &[(&str, T)]) -> T {
        let found = self.text(name).unwrap_or_default();
        match choices.iter().find(|(choice, _)| *choice == found.trim()).or(choices.first()) {
            Some((choice, value)) => {
                if *choice != found.trim() {
                    self.refuse(name, &found);
                }
                *value
            }
            #[expect(clippy::unreachable, reason = "every caller gives choices")]
            None => unreachable!("{name} has no choices"),
        }
    }

    fn signing_secret(&mut self, name: &'static str) -> Option<SecretString> {
        let text = self.values.get(name)?.clone();
        match weakness(&text) {
            Some(weakness) => {
                self.errors.push(format!("{name} {weakness}. `openssl rand -base64 48` makes one."));
                None
            }
            None => Some(text.into()),
        }
    }

    fn store(&mut self) -> Option<StoreConfig> {
        let pool_size = self.number("DB_POOL_SIZE", 1, 200);
        let durability =
            self.one_of("DB_DURABILITY", &[("local", Durability::Local), ("replicated", Durability::Replicated)]);
        let settings = match (self.values.get("DATABASE_URL").cloned(), self.values.contains_key("DB_HOST")) {
            (Some(_), true) => {
                self.errors.push("DATABASE_URL and DB_HOST are both given: give one of them.".to_owned());
                return None;
            }
            (Some(url), false) => PostgresSettings::parse(&url, pool_size).map_err(|error| match error {
                PostgresError::Parameter { .. } | PostgresError::Tls(_) => format!("DATABASE_URL: {error}."),
                PostgresError::Syntax(problem) => format!("DATABASE_URL cannot be read: {problem}."),
            }),
            (None, true) => {
                let parts = self.database_parts()?;
                let named = parts.iter().map(|(_, parameter, value)| (*parameter, value.as_str()));
                PostgresSettings::from_parts(named, pool_size).map_err(|error| match error {
                    PostgresError::Parameter { name, problem } => {
                        let part = DATABASE_PARTS.iter().find(|(_, parameter)| *parameter == name);
                        format!("{} {problem}.", part.map_or("DB_HOST", |(part, _)| part))
                    }
                    PostgresError::Tls(problem) => format!("DB_SSLROOTCERT: {problem}."),
                    PostgresError::Syntax(problem) => format!("DB_HOST: {problem}."),
                })
            }
            (None, false) => {
                self.parts_need_a_host();
                return Some(StoreConfig::Embedded { data_dir: self.text("DATA_DIR").unwrap_or_default().into() });
            }
        };
        match settings {
            Ok(settings) => Some(StoreConfig::Postgres(Box::new(settings.with_durability(durability)))),
            Err(error) => {
                self.errors.push(error);
                None
            }
        }
    }

    fn redis(&mut self) -> Option<RedisSettings> {
        let authorities = self.values.get("REDIS_SSLROOTCERT").cloned();
        let Some(url) = self.values.get("REDIS_URL").cloned() else {
            if authorities.is_some() {
                self.errors
                    .push("REDIS_SSLROOTCERT is given without REDIS_URL: give REDIS_URL too, or neither.".to_owned());
            }
            return None;
        };
        match RedisSettings::parse(url.trim(), authorities.as_deref().map(|path| Path::new(path.trim()))) {
            Ok(settings) => Some(settings),
            Err(error) => {
                let name = match error {
                    SettingsError::NoTls | SettingsError::Authorities { .. } => "REDIS_SSLROOTCERT",
                    _ => "REDIS_URL",
                };
                self.errors.push(format!("{name}: {error}."));
                None
            }
        }
    }

    fn parts_need_a_host(&mut self) {
        let parts = DATABASE_PARTS.into_iter().map(|(part, _)| part);
        if let Some(part) = parts.into_iter().find(|part| self.values.contains_key(part)) {
            self.errors.push(format!("{part} is given without DB_HOST: give DB_HOST too, or none of them."));
        }
    }

    /// The parts of the database's address that are given, each with libpq's name for it.
    fn database_parts(&mut self) -> Option<Vec<(&'static str, &'static str, String)>> {
        for needed in ["DB_USER", "DB_NAME"] {
            if !self.values.contains_key(needed) {
                self.errors.push(format!("{needed} is missing: DB_HOST needs it."));
            }
        }
        let parts: Vec<_> = DATABASE_PARTS
            .into_iter()
            .filter_map(|(part, parameter)| Some((part, parameter, self.text(part)?)))
            .collect();
        let has = |name: &str| parts.iter().any(|(part, ..)| *part == name);
        (has("DB_USER") && has("DB_NAME")).then_some(parts)
    }

    fn origins(&mut self) -> Vec<String> {
        let text = self.text("CORS_ORIGINS").unwrap_or_default();
        let origins: Vec<_> =
            text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        let is_origin = |origin: &String| {
            let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
            host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '*']))
        };
        if !origins.iter().all(is_origin) {
            self.refuse("CORS_ORIGINS", &text);
        }
        origins
    }

    fn trusted_proxies(&mut self) -> TrustedProxies {
        self.parsed_by("TRUSTED_PROXIES", TrustedProxies::default(), TrustedProxies::parse)
    }

    fn rate_limits(&mut self) -> Option<RateLimits> {
        let on = self.one_of("RATE_LIMIT", &[("on", true), ("off", false)]);
        let window = Duration::from_secs(60);
        let requests = Limit { tries: self.number("RATE_LIMIT_PER_MINUTE", 1, 1_000_000), window };
        let failures = Limit { tries: self.number("RATE_LIMIT_AUTH_FAILURES_PER_MINUTE", 1, 1_000_000), window };
        let hour = Duration::from_secs(3600);
        let sign_ups = Limit { tries: self.number("SIGN_UPS_PER_HOUR", 1, 1_000_000), window: hour };
        on.then_some(RateLimits { requests, authentication_failures: failures, sign_ups })
    }

    fn metrics_port(&mut self) -> Option<u16> {
        let text = self.text("METRICS_PORT")?;
        let main = self.text("PORT").and_then(|text| text.trim().parse::<u16>().ok());
        let port = text.trim().parse::<u16>().ok().filter(|port| *port == 0 || Some(*port) != main);
        if port.is_none() {
            self.refuse("METRICS_PORT", &text);
        }
        port
    }

    fn traces(&mut self) -> Option<TraceSettings> {
        let kept = self.parsed_by("OTEL_TRACES_SAMPLER_ARG", 1.0, |text| {
            text.parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part))
        });
        let service_name = self.text("OTEL_SERVICE_NAME").unwrap_or_default();
        let text = self.text("OTEL_EXPORTER_OTLP_ENDPOINT")?;
        let endpoint = text.trim();
        // A user, a password or a query could hold a secret, and the address is shown.
        let is_collector = endpoint.parse::<Uri>().is_ok_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
                && uri.query().is_none()
        });
        if !is_collector {
            self.refuse("OTEL_EXPORTER_OTLP_ENDPOINT", &text);
        }
        Some(TraceSettings { endpoint: endpoint.to_owned(), service_name, kept })
    }

    fn log_filter(&mut self) -> String {
        let text = self.text("RUST_LOG").unwrap_or_default();
        if tracing_subscriber::EnvFilter::try_new(&text).is_err() {
            self.refuse("RUST_LOG", &text);
        }
        text
    }

    fn rules(&mut self) -> Rules {
        let life_max = Hold::LIFE_MAX.to_std().unwrap_or_default();
        let hold_ttl = self.duration_within("HOLD_TTL", Duration::from_secs(1), life_max);
        let cutoff = self.duration("CANCELLATION_CUTOFF", Duration::ZERO);
        let seats_max = self.number("MAX_SEATS_PER_BOOKING", 1, 100);
        Rules {
            seats_max,
            held_seats_max: self.held_seats_max(seats_max),
            // Both are years at most.
            hold_ttl: TimeDelta::from_std(hold_ttl).unwrap_or_default(),
            cancellation_cutoff: TimeDelta::from_std(cutoff).unwrap_or_default(),
            cancellations_max: self.number("CANCELLATIONS_PER_DAY", 1, 1_000),
            seat_gaps: self.one_of("SEAT_GAP_RULE", &[("off", SeatGapRule::Off), ("forbid", SeatGapRule::Forbid)]),
        }
    }

    /// No more than `GET /api/holds` lists. A limit below a booking's would forbid holds that a booking may be made of.
    fn held_seats_max(&mut self, seats_max: usize) -> usize {
        let held_max: usize = self.number("MAX_HELD_SEATS", 1, 100);
        if held_max >= seats_max {
            return held_max;
        }
        if held_max > 0 && self.values.contains_key("MAX_HELD_SEATS") {
            self.errors.push(format!(
                "MAX_HELD_SEATS is {held_max}, less than MAX_SEATS_PER_BOOKING ({seats_max}): raise the one, or lower the other."
            ));
        }
        seats_max
    }
}

/// What stands in for a value that could not be read, until the mistakes are told.
trait Fallback {
    fn fallback() -> Self;
}

impl Fallback for IpAddr {
    fn fallback() -> Self {
        Self::from([127, 0, 0, 1])
    }
}

impl Fallback for u16 {
    fn fallback() -> Self {
        0
    }
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn checked(values: &[(&'static str, &str)]) -> Result<Config, ConfigErrors> {
        check(values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), Vec::new())
    }

    /// A row of `check-config`, by its columns.
    #[track_caller]
    fn row<'a>(shown: &'a str, name: &str) -> Vec<&'a str> {
        let line = shown.lines().find(|line| line.split(' ').next() == Some(name)).expect(shown);
        line.split("  ").map(str::trim).filter(|column| !column.is_empty()).collect()
    }

    #[test]
    fn line_breaks_and_blanks_around_values_are_trimmed() {
        let secret = "0123456789012345678901234567890123456789";
        for (before, after) in [("", "\n"), ("", "\r\n"), (" ", " "), ("\t", "\n\n"), ("", " \n")] {
            let around = |value: &str| format!("{before}{value}{after}");
            for setting in SETTINGS {
                let value = match setting.name {
                    "JWT_SECRET" | "JWT_SECRET_PREVIOUS" => secret,
                    "REDIS_URL" => "redis://cache.example",
                    "OTEL_EXPORTER_OTLP_ENDPOINT" => "http://collector:4318",
                    "METRICS_PORT" => "9464",
                    _ => setting.default,
                };
                if setting.name.starts_with("DB_") || value.is_empty() {
                    continue;
                }
                let [plain, padded] = [value.to_owned(), around(value)].map(|value| {
                    let config = checked(&[(setting.name, &value)]);
                    format!("{:?}", config.unwrap_or_else(|errors| panic!("{}: {errors}", setting.name)))
                });
                assert_eq!(padded, plain, "{}", setting.name);
            }
            let config = checked(&[("JWT_SECRET", &around(secret))]).unwrap();
            assert_eq!(config.jwt_secret.unwrap().expose_secret(), secret);
        }
        let parts = |password| {
            let parts = [("DB_HOST", "db"), ("DB_NAME", "b"), ("DB_USER", "u"), ("DB_PASSWORD", password)];
            checked(&[&parts[..], &[("JWT_SECRET", secret)]].concat())
        };
        parts("Pa55word\r\n").unwrap();
        for password in [" Pa55word", "Pa55word ", "Pa55word\t\n"] {
            let ConfigErrors(errors) = parts(password).unwrap_err();
            assert!(
                errors.len() == 1 && errors[0].starts_with("DB_PASSWORD begins or ends with a blank"),
                "{errors:?}"
            );
        }
    }

    #[test]
    fn a_secret_without_entropy_is_refused_with_a_way_to_make_one() {
        let weak = [
            "0".repeat(64),
            "ab".repeat(40),
            "password".repeat(8),
            "1234567".repeat(9),
            " x".repeat(20),
            " ".repeat(40),
        ];
        for name in ["JWT_SECRET", "JWT_SECRET_PREVIOUS"] {
            for secret in &weak {
                let ConfigErrors(errors) = checked(&[(name, secret)]).unwrap_err();
                assert!(errors.len() == 1 && errors[0].starts_with(name), "{errors:?}");
                assert!(
                    errors[0].contains("openssl rand -base64 48")
                        && (secret.trim().is_empty() || !errors[0].contains(secret.trim())),
                    "{errors:?}"
                );
            }
        }
        let empty = [("DATABASE_URL", "postgres://u@db/b"), ("JWT_SECRET", "\n")];
        let ConfigErrors(errors) = checked(&empty).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with("JWT_SECRET is missing"), "{errors:?}");
    }

    #[test]
    fn nothing_given_is_the_embedded_store_on_port_3000() {
        let config = checked(&[]).unwrap();
        assert_eq!((config.host.to_string(), config.port), ("127.0.0.1".to_owned(), 3000));
        assert!(matches!(config.store, StoreConfig::Embedded { data_dir } if data_dir == Path::new("./data")));
        assert_eq!(config.ttl.access_token, Duration::from_secs(3600));
        assert_eq!(config.ttl.refresh_token, Duration::from_secs(30 * 24 * 3600));
        assert_eq!(config.cors_origins, ["http://localhost:5173"]);
        assert_eq!(config.rules, Rules::default());
        assert_eq!(config.commit_batch_max, 64);
        assert_eq!(config.rate_limits.unwrap().requests.tries, 600);
    }

    #[test]
    fn every_mistake_is_told_at_once_by_name() {
        let wrong = [
            ("PORT", "65536"),
            ("HOST", "localhost:80"),
            ("DATABASE_URL", "mysql://x"),
            ("DB_POOL_SIZE", "0"),
            ("DB_DURABILITY", "remote"),
            ("JWT_SECRET", "short"),
            ("ACCESS_TOKEN_TTL", "soon"),
            ("REFRESH_TOKEN_TTL", "0s"),
            ("CORS_ORIGINS", "localhost"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("HOLD_TTL", "-1"),
            ("MAX_SEATS_PER_BOOKING", "101"),
            ("MAX_HELD_SEATS", "101"),
            ("CANCELLATIONS_PER_DAY", "0"),
            ("SEAT_GAP_RULE", "maybe"),
            ("IDEMPOTENCY_TTL", "23h"),
            ("KEEP_ALIVE", "0s"),
            ("REQUEST_TIMEOUT", "1"),
            ("COMMIT_BATCH_MAX", "65"),
            ("SEATMAP_CACHE_MB", "0"),
            ("RATE_LIMIT", "yes"),
            ("RATE_LIMIT_PER_MINUTE", "0"),
            ("SIGN_UPS_PER_HOUR", "0"),
            ("LOG_FORMAT", "xml"),
            ("METRICS_PORT", "-1"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://user:short@collector:4318"),
            ("OTEL_TRACES_SAMPLER_ARG", "1.1"),
            ("RUST_LOG", "=,="),
            ("REDIS_URL", "http://x"),
        ];
        let ConfigErrors(errors) = checked(&wrong).unwrap_err();
        for (name, _) in wrong.iter().filter(|(name, _)| *name != "REQUEST_TIMEOUT") {
            assert_eq!(
                errors.iter().filter(|error| error.split([' ', ':']).next() == Some(name)).count(),
                1,
                "{name}: {errors:#?}"
            );
        }
        assert_eq!(errors.len(), wrong.len() - 1, "{errors:#?}");
        assert!(!errors.concat().contains("short"), "a secret is shown: {errors:#?}");
    }

    #[test]
    fn postgres_needs_a_secret_and_can_be_given_by_parts() {
        let parts = [("DB_HOST", "db"), ("DB_NAME", "b"), ("DB_USER", "u"), ("DB_PASSWORD", "p@:/ß")];
        let ConfigErrors(errors) = checked(&parts).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with("JWT_SECRET"), "{errors:?}");
        let secret = "0123456789012345678901234567890123456789";
        let config = checked(&[&parts[..], &[("JWT_SECRET", secret)]].concat()).unwrap();
        assert!(matches!(config.store, StoreConfig::Postgres(_)));
        assert_eq!(config.jwt_secret.unwrap().expose_secret(), secret);
        let tls = [("JWT_SECRET", secret), ("DB_SSLMODE", "verify-ca"), ("DB_SSLROOTCERT", "/no such/ca.pem")];
        let ConfigErrors(errors) = checked(&[&parts[..], &tls].concat()).unwrap_err();
        assert!(errors.len() == 1 && errors[0].contains("/no such/ca.pem"), "{errors:?}");
        let ConfigErrors(errors) = checked(&[("DB_HOST", "db"), ("JWT_SECRET", secret)]).unwrap_err();
        assert_eq!(errors.len(), 2, "{errors:?}");
        let ConfigErrors(errors) = checked(&[("DB_NAME", "b")]).unwrap_err();
        assert!(errors[0].contains("DB_HOST"), "{errors:?}");
    }

    #[test]
    fn a_commit_has_one_booking_at_least_and_sixty_four_at_most() {
        for (given, expected) in [("1", 1), ("64", 64)] {
            assert_eq!(checked(&[("COMMIT_BATCH_MAX", given)]).unwrap().commit_batch_max, expected);
        }
        for given in ["0", "65", "-1", "all"] {
            let ConfigErrors(errors) = checked(&[("COMMIT_BATCH_MAX", given)]).unwrap_err();
            assert_eq!(errors, [format!("COMMIT_BATCH_MAX is {given}, but must be 1 to 64.")]);
        }
    }

    #[test]
    fn metrics_have_a_port_of_their_own_or_none() {
        assert_eq!(checked(&[]).unwrap().metrics_port, None);
        assert_eq!(checked(&[("METRICS_PORT", "0"), ("PORT", "0")]).unwrap().metrics_port, Some(0));
        assert_eq!(checked(&[("METRICS_PORT", "9464")]).unwrap().metrics_port, Some(9464));
        for (port, metrics_port) in [("3000", "3000"), ("4000", "4000"), ("0", "65536"), ("0", "on")] {
            let ConfigErrors(errors) = checked(&[("PORT", port), ("METRICS_PORT", metrics_port)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with("METRICS_PORT is"), "{errors:?}");
        }
    }

    #[test]
    fn traces_go_to_a_collector_without_secrets_in_its_address() {
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        assert_eq!(checked(&[("OTEL_TRACES_SAMPLER_ARG", "0.5")]).unwrap().traces, None);
        let settings =
            [(ENDPOINT, "https://collector/otlp/"), ("OTEL_TRACES_SAMPLER_ARG", "0.25"), ("OTEL_SERVICE_NAME", "b")];
        let expected =
            TraceSettings { endpoint: "https://collector/otlp/".to_owned(), service_name: "b".to_owned(), kept: 0.25 };
        assert_eq!(checked(&settings).unwrap().traces, Some(expected));
        for wrong in [
            "collector:4318",
            "grpc://collector",
            "http://",
            "http://u:secret@collector",
            "http://c/?key=secret",
            "/v1",
        ] {
            let ConfigErrors(errors) = checked(&[(ENDPOINT, wrong)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(ENDPOINT), "{wrong}: {errors:?}");
            assert!(!errors[0].contains("secret"), "a secret is shown: {errors:?}");
        }
        for wrong in ["-0.1", "1.01", "NaN", "all"] {
            let ConfigErrors(errors) = checked(&[("OTEL_TRACES_SAMPLER_ARG", wrong)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with("OTEL_TRACES_SAMPLER_ARG is"), "{errors:?}");
        }
    }

    #[test]
    fn a_house_sets_its_rules() {
        let values = [("HOLD_TTL", "5min"), ("CANCELLATION_CUTOFF", "0s"), ("SEAT_GAP_RULE", "forbid")];
        let rules = Rules {
            hold_ttl: TimeDelta::minutes(5),
            cancellation_cutoff: TimeDelta::zero(),
            seat_gaps: SeatGapRule::Forbid,
            ..Rules::default()
        };
        assert_eq!(checked(&values).unwrap().rules, rules);
        // A house that lets a booking have more seats than can be held by default lets as many be held.
        let held_max = |values: &[_]| checked(values).map(|config| config.rules.held_seats_max);
        assert_eq!(held_max(&[("MAX_SEATS_PER_BOOKING", "30")]), Ok(30));
        assert_eq!(held_max(&[("MAX_SEATS_PER_BOOKING", "30"), ("MAX_HELD_SEATS", "30")]), Ok(30));
        assert_eq!(held_max(&[("MAX_SEATS_PER_BOOKING", "3")]), Ok(20));
        let ConfigErrors(errors) = held_max(&[("MAX_HELD_SEATS", "9")]).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with("MAX_HELD_SEATS is 9"), "{errors:?}");
        for (name, wrong) in [("HOLD_TTL", "31min"), ("HOLD_TTL", "0s"), ("SEAT_GAP_RULE", "on")] {
            let ConfigErrors(errors) = checked(&[(name, wrong)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(name), "{errors:?}");
        }
    }

    #[test]
    fn redis_is_shown_without_its_password_and_mistakes_in_it_too() {
        let config = checked(&[("REDIS_URL", "redis://ana:Pa55word@cache.example/1")]).unwrap();
        let sources = BTreeMap::from([("REDIS_URL", Source::Environment)]);
        let loaded = Loaded { config: config.clone(), sources, files: Vec::new(), shown: BTreeMap::new() };
        let shown = describe(&loaded);
        assert_eq!(row(&shown, "REDIS_URL"), ["REDIS_URL", "a server at cache.example:6379", "environment"], "{shown}");
        assert!(!shown.contains("Pa55word") && !format!("{config:?}").contains("Pa55word"), "{shown}");
        for (values, name) in [
            (vec![("REDIS_URL", "rediss://:Pa55word@")], "REDIS_URL: "),
            (vec![("REDIS_URL", "redis-sentinel://:Pa55word@cache")], "REDIS_URL: "),
            (vec![("REDIS_URL", "redis://:Pa55word@cache"), ("REDIS_SSLROOTCERT", "ca.pem")], "REDIS_SSLROOTCERT: "),
            (
                vec![("REDIS_URL", "rediss://:Pa55word@cache"), ("REDIS_SSLROOTCERT", "/no such/ca.pem")],
                "REDIS_SSLROOTCERT: ",
            ),
            (vec![("REDIS_SSLROOTCERT", "ca.pem")], "REDIS_SSLROOTCERT "),
        ] {
            let ConfigErrors(errors) = checked(&values).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(name), "{errors:?}");
            assert!(!errors[0].contains("Pa55word"), "{errors:?}");
        }
    }

    #[test]
    fn a_file_may_have_lower_case_names_and_no_others() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("c.toml");
        std::fs::write(&path, "port = 4000\ncors_origins = [\"http://a\", \"https://b\"]\nprot = 1\nPORT = 2\n")
            .unwrap();
        let mut given = Given::default();
        given.read_toml(&path);
        let Given { values, sources, errors, .. } = given;
        let line = |line| Source::Line { file: path.display().to_string(), line };
        assert_eq!((&sources["PORT"], &sources["CORS_ORIGINS"]), (&line(1), &line(2)));
        assert_eq!(values.get("PORT").map(String::as_str), Some("4000"));
        assert_eq!(values.get("CORS_ORIGINS").map(String::as_str), Some("http://a,https://b"));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors.iter().any(|error| error.starts_with("prot in") && error.contains("line 3")), "{errors:?}");
    }
}
