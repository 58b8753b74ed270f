//! Settings: from the environment, a `.env` file and a TOML file, in this order of precedence.
//!
//! Every setting has one name, upper-case in the environment (`DATABASE_URL`) and lower-case in the file (`database_url`).
//! All mistakes are told at once, by name, with what is allowed. [`SETTINGS`] lists them all.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use actix_web::http::Uri;
use adapters_postgres::PostgresSettings;
use adapters_redis::{RedisSettings, SettingsError};
use chrono::TimeDelta;
use domain::booking::{Hold, Rules, SeatGapRule};
use domain::identity::IdentityTtl;
use domain::limits::Limit;
use ipnet::IpNet;
use secrecy::SecretString;

use crate::traces::TraceSettings;

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
    pub trusted_proxies: Vec<IpNet>,
    /// What the house allows.
    pub rules: Rules,
    /// How long the answer of an idempotency key is given again to the byte.
    pub idempotency_ttl: Duration,
    /// How long a request may take.
    pub request_timeout: Duration,
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
    /// What is allowed.
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
    setting("HOST", "127.0.0.1", "an IP address", "The address to listen on; 0.0.0.0 for every one of this machine."),
    secret(
        "DATABASE_URL",
        "",
        "postgres://user:password@host:5432/database?sslmode=…&sslrootcert=…",
        "PostgreSQL. Without it and DB_HOST the embedded store is used. sslmode: disable, prefer, require, verify-ca or verify-full.",
    ),
    setting("DB_HOST", "", "a host name", "PostgreSQL by parts, instead of DATABASE_URL."),
    setting("DB_PORT", "5432", "1 to 65535", "With DB_HOST."),
    setting("DB_NAME", "", "a database's name", "With DB_HOST; needed."),
    setting("DB_USER", "", "a role's name", "With DB_HOST; needed."),
    secret("DB_PASSWORD", "", "a password", "With DB_HOST."),
    setting("DB_SSLMODE", "prefer", "disable, prefer, require, verify-ca or verify-full", "With DB_HOST: as sslmode."),
    setting("DB_SSLROOTCERT", "", "a PEM file of certificate authorities", "With DB_HOST: as sslrootcert."),
    setting(
        "DB_POOL_SIZE",
        "8",
        "1 to 200",
        "Connections for reading. More than the database has cores for makes it slower.",
    ),
    setting("DATA_DIR", "./data", "a directory", "Where the embedded store is."),
    secret(
        "REDIS_URL",
        "",
        "redis://user:password@host:6379/0, redis-sentinel://host:26379?sentinelServiceName=…&node=host:port or redis-cluster://host:6379?node=host:port; rediss instead of redis for TLS",
        "Redis, shared by servers: answers of retries, and limits. Without it each server keeps them for itself.",
    ),
    setting(
        "REDIS_SSLROOTCERT",
        "",
        "a PEM file of certificate authorities",
        "Whom to trust for a rediss address. Without it those whom the system trusts.",
    ),
    secret(
        "JWT_SECRET",
        "",
        "at least 32 bytes",
        "Signs access tokens. Needed with PostgreSQL; made and kept with the embedded store.",
    ),
    secret(
        "JWT_SECRET_PREVIOUS",
        "",
        "at least 32 bytes",
        "What signed them before: tokens signed by it are good until they expire.",
    ),
    setting("ACCESS_TOKEN_TTL", "1h", DURATION, "How long an access token works."),
    setting("REFRESH_TOKEN_TTL", "30d", DURATION, "How long a refresh token works."),
    setting(
        "CORS_ORIGINS",
        "http://localhost:5173",
        "origins like https://example.org, separated by commas",
        "Which pages may call from a browser.",
    ),
    setting(
        "TRUSTED_PROXIES",
        "",
        "addresses or networks like 10.0.0.0/8, separated by commas",
        "Whose X-Forwarded-For is believed. Too many, and callers choose their own address.",
    ),
    setting(
        "HOLD_TTL",
        "10min",
        "a time from 1s to 30min",
        "How long a hold keeps its seats, from when it was made or extended.",
    ),
    setting(
        "CANCELLATION_CUTOFF",
        "2h",
        "a time like 0s, 90min or 2d",
        "Until how long before its show a booking can be cancelled.",
    ),
    setting(
        "MAX_SEATS_PER_BOOKING",
        "10",
        "1 to 100",
        "How many seats a booking may have, and all live holds of a caller on one show together.",
    ),
    setting(
        "SEAT_GAP_RULE",
        "off",
        "off or forbid",
        "Whether a selection may leave a single seat empty between taken ones or at an aisle.",
    ),
    setting("IDEMPOTENCY_TTL", "24h", "a time of at least 24h", "How long an answer is given again to the byte."),
    setting("REQUEST_TIMEOUT", "10s", DURATION, "How long a request may take."),
    setting(
        "COMMIT_BATCH_MAX",
        "64",
        "1 to 64",
        "How many bookings that wait are committed together at most. With 1 each is a commit of its own: under load that is several times slower.",
    ),
    setting("SEATMAP_CACHE_MB", "64", "1 to 65536", "Memory for seat maps, in MiB."),
    setting("RATE_LIMIT", "on", "on or off", "Whether requests and failed logins are limited."),
    setting(
        "RATE_LIMIT_PER_MINUTE",
        "600",
        "1 to 1000000",
        "Requests a minute of each caller, or of each address without one.",
    ),
    setting(
        "RATE_LIMIT_AUTH_FAILURES_PER_MINUTE",
        "10",
        "1 to 1000000",
        "Failed logins a minute of each account from each address.",
    ),
    setting(
        "METRICS_PORT",
        "",
        "0 to 65535, not PORT; 0 lets the system pick",
        "A port on HOST for /metrics and /healthz alone. Without it /metrics is on PORT, for everybody who reaches it.",
    ),
    secret(
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "",
        "http://host:4318 or https://host, without user or query",
        "An OpenTelemetry collector that takes traces by OTLP over HTTP. Without it none are exported.",
    ),
    setting("OTEL_SERVICE_NAME", "movie-booking", "a name", "What traces call this service."),
    setting(
        "OTEL_TRACES_SAMPLER_ARG",
        "1",
        "0 to 1",
        "Which part of the traces is exported. Who continues a caller's trace does as the caller does.",
    ),
    setting("LOG_FORMAT", "pretty", "pretty or json", "How log lines look."),
    setting(
        "RUST_LOG",
        "info",
        "a filter like info or debug",
        "What is logged. Other libraries than this program's own parts never log more than info: some would log secrets.",
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

/// The settings of this process: its environment, `.env` in its directory, and `file`.
pub fn load(file: Option<&Path>) -> Result<Config, ConfigErrors> {
    let mut errors = Vec::new();
    let mut values = BTreeMap::new();
    if let Some(path) = file {
        read_toml(path, &mut values, &mut errors);
    }
    match dotenvy::dotenv_iter() {
        Ok(lines) => {
            for line in lines {
                match line {
                    Ok((name, value)) => add(&mut values, &name, value),
                    Err(error) => errors.push(format!(".env cannot be read: {}.", without_text(&error))),
                }
            }
        }
        Err(error) if error.not_found() => {}
        Err(error) => errors.push(format!(".env cannot be read: {error}")),
    }
    for (name, value) in std::env::vars_os() {
        let Some(name) = name.to_str() else { continue };
        match value.into_string() {
            Ok(value) => add(&mut values, name, value),
            Err(_) if is_known(name) => errors.push(format!("{name} is not UTF-8.")),
            Err(_) => {}
        }
    }
    check(values, errors)
}

/// Checks settings by name. What is empty is as if it were not there.
pub fn check(values: BTreeMap<&'static str, String>, mut errors: Vec<String>) -> Result<Config, ConfigErrors> {
    let mut reader = Reader { values, errors: Vec::new() };
    let store = reader.store();
    let jwt_secret = reader.signing_secret("JWT_SECRET");
    let needs_secret = matches!(store, Some(StoreConfig::Postgres(_))) && jwt_secret.is_none();
    if needs_secret && !reader.values.contains_key("JWT_SECRET") {
        reader.errors.push(
            "JWT_SECRET is missing: with PostgreSQL it must be given, at least 32 bytes, the same for every server."
                .to_owned(),
        );
    }
    let config = Config {
        host: reader.parsed("HOST"),
        port: reader.parsed("PORT"),
        store: store.unwrap_or_else(|| StoreConfig::Embedded { data_dir: PathBuf::new() }),
        redis: reader.redis(),
        jwt_secret,
        jwt_secret_previous: reader.signing_secret("JWT_SECRET_PREVIOUS"),
        ttl: IdentityTtl {
            access_token: reader.duration("ACCESS_TOKEN_TTL", Duration::from_secs(1)),
            refresh_token: reader.duration("REFRESH_TOKEN_TTL", Duration::from_secs(1)),
        },
        cors_origins: reader.origins(),
        trusted_proxies: reader.networks(),
        rules: reader.rules(),
        idempotency_ttl: reader.duration("IDEMPOTENCY_TTL", Duration::from_secs(24 * 3600)),
        request_timeout: reader.duration("REQUEST_TIMEOUT", Duration::from_secs(1)),
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

/// Every setting with its value, secrets hidden, for `check-config`.
pub fn describe(config: &Config) -> String {
    let store = match &config.store {
        StoreConfig::Embedded { data_dir } => format!("embedded, in {}", data_dir.display()),
        StoreConfig::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let redis = config.redis.as_ref().map_or_else(|| "none: each server for itself".to_owned(), ToString::to_string);
    let limits = config.rate_limits.map_or_else(
        || "off".to_owned(),
        |limits| {
            format!(
                "{} requests and {} failed logins a minute",
                limits.requests.tries, limits.authentication_failures.tries
            )
        },
    );
    let lines = [
        format!("listens on        {}:{}", config.host, config.port),
        format!("store             {store}"),
        format!("Redis             {redis}"),
        format!("access tokens     {}", humantime::format_duration(config.ttl.access_token)),
        format!("refresh tokens    {}", humantime::format_duration(config.ttl.refresh_token)),
        format!("CORS origins      {}", config.cors_origins.join(", ")),
        format!("rate limits       {limits}"),
        format!("request timeout   {}", humantime::format_duration(config.request_timeout)),
        format!("seats a booking   {}", config.rules.seats_max),
        format!("bookings a commit {}", config.commit_batch_max),
        format!(
            "metrics           {}",
            config.metrics_port.map_or("/metrics".to_owned(), |port| format!("port {port}"))
        ),
        format!("traces            {}", config.traces.as_ref().map_or("not exported", |traces| &traces.endpoint)),
    ];
    lines.join("\n")
}

/// What is wrong with `.env`, without the line that it is wrong in: a secret may be in it.
fn without_text(error: &dotenvy::Error) -> String {
    match error {
        dotenvy::Error::LineParse(..) => "a line is not NAME=value, or its quotes do not end".to_owned(),
        other => other.to_string(),
    }
}

fn is_known(name: &str) -> bool {
    SETTINGS.iter().any(|setting| setting.name == name)
}

fn add(values: &mut BTreeMap<&'static str, String>, name: &str, value: String) {
    if let Some(setting) = SETTINGS.iter().find(|setting| setting.name == name) {
        if value.trim().is_empty() {
            values.remove(setting.name);
        } else {
            values.insert(setting.name, value);
        }
    }
}

fn read_toml(path: &Path, values: &mut BTreeMap<&'static str, String>, errors: &mut Vec<String>) {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) => return errors.push(format!("{} cannot be read: {error}.", path.display())),
    };
    let table: toml::Table = match text.parse() {
        Ok(table) => table,
        Err(error) => {
            // Not the error's own text: that shows the line, and a secret may be in it.
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            return errors.push(format!("{} is not TOML: line {line}: {}.", path.display(), error.message()));
        }
    };
    for (name, value) in table {
        let value = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Boolean(flag) => if flag { "on" } else { "off" }.to_owned(),
            toml::Value::Array(items) if items.iter().all(toml::Value::is_str) => {
                items.iter().filter_map(toml::Value::as_str).collect::<Vec<_>>().join(",")
            }
            _ => {
                errors.push(format!("{name} in {} must be a string, a number or a list of strings.", path.display()));
                continue;
            }
        };
        let upper = name.to_uppercase();
        if name == name.to_lowercase() && is_known(&upper) {
            add(values, &upper, value);
        } else {
            errors.push(format!("{name} in {} is not a setting.", path.display()));
        }
    }
}

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
        if text.len() < 32 {
            self.errors.push(format!("{name} has {} bytes, but must have at least 32.", text.len()));
            return None;
        }
        Some(text.into())
    }

    fn store(&mut self) -> Option<StoreConfig> {
        let pool_size = self.number("DB_POOL_SIZE", 1, 200);
        let (name, url) = match (self.values.get("DATABASE_URL").cloned(), self.values.contains_key("DB_HOST")) {
            (Some(_), true) => {
                self.errors.push("DATABASE_URL and DB_HOST are both given: give one of them.".to_owned());
                return None;
            }
            (Some(url), false) => ("DATABASE_URL", url),
            (None, true) => ("DB_HOST", self.url_of_parts()?),
            (None, false) => {
                self.parts_need_a_host();
                return Some(StoreConfig::Embedded { data_dir: self.text("DATA_DIR").unwrap_or_default().into() });
            }
        };
        match PostgresSettings::parse(&url, pool_size) {
            Ok(settings) => Some(StoreConfig::Postgres(Box::new(settings))),
            Err(error) => {
                self.errors.push(format!("{name}: {error}."));
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
        let parts = ["DB_NAME", "DB_USER", "DB_PASSWORD", "DB_PORT", "DB_SSLMODE", "DB_SSLROOTCERT"];
        if let Some(part) = parts.into_iter().find(|part| self.values.contains_key(part)) {
            self.errors.push(format!("{part} is given without DB_HOST: give DB_HOST too, or none of them."));
        }
    }

    fn url_of_parts(&mut self) -> Option<String> {
        let port = self.parsed_by("DB_PORT", 0_u16, |text| text.parse().ok().filter(|port| *port > 0));
        let mut needed = |name: &'static str| {
            let value = self.values.get(name).cloned();
            if value.is_none() {
                self.errors.push(format!("{name} is missing: DB_HOST needs it."));
            }
            value
        };
        let (host, user, database) = (needed("DB_HOST"), needed("DB_USER"), needed("DB_NAME"));
        let (host, user, database) = (host?, user?, database?);
        let password = self.values.get("DB_PASSWORD").map(|password| format!(":{}", escaped(password)));
        let mode = self.text("DB_SSLMODE").unwrap_or_default();
        let root_cert = self.values.get("DB_SSLROOTCERT").map(|file| format!("&sslrootcert={}", escaped(file)));
        Some(format!(
            "postgres://{}{}@{host}:{port}/{}?sslmode={}{}",
            escaped(&user),
            password.unwrap_or_default(),
            escaped(&database),
            mode.trim(),
            root_cert.unwrap_or_default()
        ))
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

    fn networks(&mut self) -> Vec<IpNet> {
        let text = self.text("TRUSTED_PROXIES").unwrap_or_default();
        let parse = |part: &str| part.parse::<IpNet>().ok().or_else(|| part.parse::<IpAddr>().ok().map(IpNet::from));
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        match parts.map(parse).collect() {
            Some(networks) => networks,
            None => {
                self.refuse("TRUSTED_PROXIES", &text);
                Vec::new()
            }
        }
    }

    fn rate_limits(&mut self) -> Option<RateLimits> {
        let on = self.one_of("RATE_LIMIT", &[("on", true), ("off", false)]);
        let window = Duration::from_secs(60);
        let requests = Limit { tries: self.number("RATE_LIMIT_PER_MINUTE", 1, 1_000_000), window };
        let failures = Limit { tries: self.number("RATE_LIMIT_AUTH_FAILURES_PER_MINUTE", 1, 1_000_000), window };
        on.then_some(RateLimits { requests, authentication_failures: failures })
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
        Rules {
            seats_max: self.number("MAX_SEATS_PER_BOOKING", 1, 100),
            // Both are years at most.
            hold_ttl: TimeDelta::from_std(hold_ttl).unwrap_or_default(),
            cancellation_cutoff: TimeDelta::from_std(cutoff).unwrap_or_default(),
            seat_gaps: self.one_of("SEAT_GAP_RULE", &[("off", SeatGapRule::Off), ("forbid", SeatGapRule::Forbid)]),
        }
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

/// As a part of a URL: what is neither a letter nor a digit is percent-encoded.
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |mut escaped, byte| {
        if byte.is_ascii_alphanumeric() {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    fn checked(values: &[(&'static str, &str)]) -> Result<Config, ConfigErrors> {
        check(values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect(), Vec::new())
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
            ("JWT_SECRET", "short"),
            ("ACCESS_TOKEN_TTL", "soon"),
            ("REFRESH_TOKEN_TTL", "0s"),
            ("CORS_ORIGINS", "localhost"),
            ("TRUSTED_PROXIES", "10.0.0.0/33"),
            ("HOLD_TTL", "-1"),
            ("MAX_SEATS_PER_BOOKING", "101"),
            ("SEAT_GAP_RULE", "maybe"),
            ("IDEMPOTENCY_TTL", "23h"),
            ("REQUEST_TIMEOUT", "1"),
            ("COMMIT_BATCH_MAX", "65"),
            ("SEATMAP_CACHE_MB", "0"),
            ("RATE_LIMIT", "yes"),
            ("RATE_LIMIT_PER_MINUTE", "0"),
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
        for (name, wrong) in [("HOLD_TTL", "31min"), ("HOLD_TTL", "0s"), ("SEAT_GAP_RULE", "on")] {
            let ConfigErrors(errors) = checked(&[(name, wrong)]).unwrap_err();
            assert!(errors.len() == 1 && errors[0].starts_with(name), "{errors:?}");
        }
    }

    #[test]
    fn redis_is_shown_without_its_password_and_mistakes_in_it_too() {
        let config = checked(&[("REDIS_URL", "redis://ana:Pa55word@cache.example/1")]).unwrap();
        let shown = describe(&config);
        assert!(shown.contains("Redis             a server at cache.example:6379"), "{shown}");
        assert!(!shown.contains("Pa55word") && !format!("{config:?}").contains("Pa55word"), "{shown}");
        assert!(describe(&checked(&[]).unwrap()).contains("Redis             none"));
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
        let (mut values, mut errors) = (BTreeMap::new(), Vec::new());
        read_toml(&path, &mut values, &mut errors);
        assert_eq!(values.get("PORT").map(String::as_str), Some("4000"));
        assert_eq!(values.get("CORS_ORIGINS").map(String::as_str), Some("http://a,https://b"));
        assert_eq!(errors.len(), 2, "{errors:?}");
        assert!(errors.iter().any(|error| error.starts_with("prot in")), "{errors:?}");
    }
}
