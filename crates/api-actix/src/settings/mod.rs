//! Settings: from the environment, a `.env` file and a TOML file, in this order of precedence.
//!
//! Every setting has one name, upper-case in the environment (`DATABASE_URL`) and lower-case in the file (`database_url`). To add one,
//! declare it in the table of this file and use its field of [`Values`]. `--help`, `check-config` and the reference page list what
//! [`SETTINGS`] has. All mistakes are reported at once, each with the name, what is allowed, and the line of the file.
//!
//! `sources` reads the text, `declaration` turns it into [`Values`], and `combined` into the [`Config`], which joins settings whose
//! meaning depends on each other.

mod combined;
mod declaration;
pub mod dotenv;
mod listing;
mod mistakes;
pub mod secrets;
mod sources;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use actix_web::http::Uri;
use adapters_postgres::Durability;
use domain::booking::{Hold, SeatGapRule};
use secrecy::SecretString;
use tracing_subscriber::EnvFilter;

use crate::http::client_address::TrustedProxies;
pub use crate::settings::combined::{Config, RateLimits, StoreConfig};
use crate::settings::declaration::{Parser, choice, duration, integer, read, secret, setting, settings, text};
pub use crate::settings::declaration::{Setting, Shown};
pub use crate::settings::listing::{describe, help};
pub use crate::settings::mistakes::ConfigErrors;
use crate::settings::mistakes::Mistakes;
use crate::settings::sources::Given;

settings! {
    "Server": {
        /// The port to listen on.
        PORT as pub port: u16 = integer(0, 65_535).allowed("0 to 65535; 0 lets the system pick"), default "3000";
        /// The address to listen on. 0.0.0.0 listens on all addresses of the machine.
        HOST as pub host: IpAddr = Parser::new("an IP address", |text| text.parse().ok()), default "127.0.0.1";
        /// The origins whose pages may call the API from a browser.
        CORS_ORIGINS as pub cors_origins: Vec<String> = origins(), default "http://localhost:5173";
        /// The proxies whose X-Forwarded-For is trusted. If it is too wide, clients can forge their address. If it is too narrow,
        /// all clients behind a proxy share one limit.
        TRUSTED_PROXIES as pub trusted_proxies: TrustedProxies =
            Parser::new("addresses or networks like 10.0.0.0/8, separated by commas", TrustedProxies::parse);
        /// The longest time a request may take.
        REQUEST_TIMEOUT as pub request_timeout: Duration = lifetime(), default "10s";
        /// How long an idle connection stays open. It must be longer than the load balancer's own time-out, otherwise requests
        /// are lost occasionally.
        KEEP_ALIVE as pub keep_alive: Duration = lifetime(), default "75s";
        /// The memory for cached layouts of seat maps, in MiB.
        SEATMAP_CACHE_MB as pub seatmap_cache_mb: u64 = integer(1, 65_536), default "64";
    }
    "Store": {
        /// The PostgreSQL database. Without it and without DB_HOST the embedded store is used. docs/operating/postgresql.md lists
        /// the parameters; any other is an error.
        DATABASE_URL as database_url: Option<SecretString> = secret(
            "postgres://user:password@host:5432/database?sslmode=…&sslrootcert=… or host=… user=… password=… dbname=… sslmode=…",
        ).optional();
        /// The PostgreSQL server, instead of DATABASE_URL. The DB_ settings need no percent-encoding.
        DB_HOST as db_host: Option<String> =
            text("a host name, an IP address or the directory of a Unix socket; several are separated by commas").optional();
        /// With DB_HOST: the port.
        DB_PORT as db_port: String =
            text("1 to 65535; one for all hosts, or one for each, separated by commas"), default "5432";
        /// With DB_HOST: required.
        DB_NAME as db_name: Option<String> = text("a database's name").optional();
        /// With DB_HOST: required.
        DB_USER as db_user: Option<String> = text("a role's name").optional();
        /// With DB_HOST: the role's password.
        DB_PASSWORD as db_password: Option<SecretString> = secret("a password").optional();
        /// With DB_HOST: as sslmode.
        DB_SSLMODE as db_sslmode: String = text("disable, prefer, require, verify-ca or verify-full"), default "prefer";
        /// With DB_HOST: as sslrootcert.
        DB_SSLROOTCERT as db_sslrootcert: Option<String> = text("a PEM file of certificate authorities").optional();
        /// The number of connections for reading. More connections than the database has cores make it slower.
        DB_POOL_SIZE as db_pool_size: usize = integer(1, 200), default "8";
        /// How long the start waits while PostgreSQL is unreachable, starting or read-only.
        DB_START_TIMEOUT as pub db_start_timeout: Duration =
            duration("a time from 0s to 1h", Duration::ZERO, Duration::from_secs(3600)), default "30s";
        /// Where a booking must be stored before it is acknowledged: on the database's disk, or on a synchronous standby as well.
        DB_DURABILITY as db_durability: Durability =
            choice([("local", Durability::Local), ("replicated", Durability::Replicated)]), default "local";
        /// The directory of the embedded store.
        DATA_DIR as data_dir: PathBuf = Parser::new("a directory", |text| Some(text.into())), default "./data";
        /// Whether a new embedded store gets demo data when the server starts.
        DEMO_DATA as pub demo_data: bool = choice([("on", true), ("off", false)]), default "on";
        /// The most bookings in one commit. With 1 each booking is a commit of its own, which is several times slower under load.
        COMMIT_BATCH_MAX as pub commit_batch_max: usize = integer(1, 64), default "64";
    }
    "Redis": {
        /// The Redis that servers share for replayed responses and rate limits. Without it each server keeps its own.
        REDIS_URL as redis_url: Option<SecretString> = secret(
            "redis://user:password@host:6379/0, redis-sentinel://host:26379?sentinelServiceName=…&node=host:port or redis-cluster://host:6379?node=host:port; rediss instead of redis for TLS",
        ).optional();
        /// The authorities to trust for a rediss address. Without it the system's authorities are trusted.
        REDIS_SSLROOTCERT as redis_sslrootcert: Option<PathBuf> =
            Parser::new("a PEM file of certificate authorities", |text| Some(text.into())).optional();
    }
    "Sessions": {
        /// Signs access tokens. Required with PostgreSQL; with the embedded store it is generated and kept in DATA_DIR.
        JWT_SECRET as pub jwt_secret: Option<SecretString> =
            secret("at least 32 random bytes, as `openssl rand -base64 48` prints them").optional();
        /// The previous secret. Tokens signed with it stay valid until they expire.
        JWT_SECRET_PREVIOUS as pub jwt_secret_previous: Option<SecretString> = secret("as JWT_SECRET").optional();
        /// How long an access token is valid.
        ACCESS_TOKEN_TTL as pub access_token_ttl: Duration = lifetime(), default "1h";
        /// How long a refresh token is valid.
        REFRESH_TOKEN_TTL as pub refresh_token_ttl: Duration = lifetime(), default "30d";
    }
    "Booking rules": {
        /// How long a hold keeps its seats after it was created or extended.
        HOLD_TTL as hold_ttl: Duration =
            duration("a time from 1s to 30min", Duration::from_secs(1), Hold::LIFE_MAX.to_std().unwrap_or_default()),
            default "10min";
        /// How long before the show a booking can last be cancelled.
        CANCELLATION_CUTOFF as cancellation_cutoff: Duration =
            duration("a time like 0s, 90min or 2d", Duration::ZERO, TIME_MAX), default "2h";
        /// The most seats of a booking, and of all live holds of a user on one show.
        MAX_SEATS_PER_BOOKING as seats_per_booking_max: usize = integer(1, 100), default "10";
        /// The most seats that a user can hold over all shows. The default grows with MAX_SEATS_PER_BOOKING.
        MAX_HELD_SEATS as held_seats_max: usize =
            // 100 holds are what `GET /api/holds` lists.
            integer(1, 100).allowed("1 to 100, and at least MAX_SEATS_PER_BOOKING"), default "20";
        /// The most bookings that a user can cancel within 24 hours. Bookings of cancelled shows do not count.
        CANCELLATIONS_PER_DAY as cancellations_per_day: usize = integer(1, 1_000), default "10";
        /// Whether a selection may leave a single seat empty between taken ones or at an aisle.
        SEAT_GAP_RULE as seat_gap_rule: SeatGapRule =
            choice([("off", SeatGapRule::Off), ("forbid", SeatGapRule::Forbid)]), default "off";
        /// How long a retry with the same key gets the same bytes.
        IDEMPOTENCY_TTL as pub idempotency_ttl: Duration =
            duration("a time of at least 24h", Duration::from_secs(24 * 3600), TIME_MAX), default "24h";
        /// How long the audit log of the staff's changes is kept.
        AUDIT_TTL as pub audit_ttl: Duration =
            duration("a time of at least 24h", Duration::from_secs(24 * 3600), TIME_MAX), default "730d";
    }
    "Rate limits": {
        /// Whether requests, failed logins and sign-ups are limited.
        RATE_LIMIT as rate_limit: bool = choice([("on", true), ("off", false)]), default "on";
        /// Requests a minute of each user, or of each network without a valid token.
        RATE_LIMIT_PER_MINUTE as rate_limit_per_minute: u32 = integer(1, 1_000_000), default "600";
        /// Failed logins a minute of each account from each network. Three times as many for an account, and five times as many
        /// for a network, unless the account was used from that network before.
        RATE_LIMIT_AUTH_FAILURES_PER_MINUTE as rate_limit_auth_failures_per_minute: u32 = integer(1, 1_000_000), default "10";
        /// Sign-ups an hour of each network, failed ones included. An IPv6 address counts by its /64.
        SIGN_UPS_PER_HOUR as sign_ups_per_hour: u32 = integer(1, 1_000_000), default "60";
    }
    "Logs, metrics and traces": {
        /// The format of log lines.
        LOG_FORMAT as pub log_format: LogFormat =
            choice([("pretty", LogFormat::Pretty), ("json", LogFormat::Json)]), default "pretty";
        /// What is logged. Libraries never log more than info, because some would log secrets.
        RUST_LOG as pub log_filter: String = Parser::new("a filter like info or debug", |text| {
            EnvFilter::try_new(text).is_ok().then(|| text.to_owned())
        }), default "info";
        /// A port on HOST for /metrics and /healthz only. Without it /metrics is on PORT, open to every client that reaches it.
        METRICS_PORT as pub metrics_port: Option<u16> =
            integer(0, 65_535).allowed("0 to 65535, not PORT; 0 lets the system pick").optional();
        /// The OpenTelemetry collector for traces, by OTLP over HTTP. Without it no traces are exported.
        OTEL_EXPORTER_OTLP_ENDPOINT as otlp_endpoint: Option<String> = collector().optional();
        /// The service's name in traces.
        OTEL_SERVICE_NAME as otel_service_name: String = text("a name"), default "movie-booking";
        /// The share of traces to export. A trace that a caller has started follows the caller's decision.
        OTEL_TRACES_SAMPLER_ARG as otel_traces_sampler_arg: f64 = Parser::new("0 to 1", |text| {
            text.parse().ok().filter(|share| (0.0..=1.0).contains(share))
        }), default "1";
    }
}

/// Ten years: a longer time is a typing mistake, and dates must not overflow.
const TIME_MAX: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

fn lifetime() -> Parser<Duration> {
    duration("a time like 90s, 15min, 1h or 30d, at least 1s", Duration::from_secs(1), TIME_MAX)
}

fn origins() -> Parser<Vec<String>> {
    let is_origin = |origin: &String| {
        let host = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        host.is_some_and(|host| !host.is_empty() && !host.contains(['/', '?', '#', ' ', '*']))
    };
    Parser::new("origins like https://example.org, separated by commas", move |text| {
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        let origins: Vec<_> = parts.map(str::to_owned).collect();
        origins.iter().all(is_origin).then_some(origins)
    })
}

/// Returns the address of a collector. A user, a password or a query could hold a secret, and the address is shown.
fn collector() -> Parser<String> {
    let is_collector = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    };
    let parser = Parser::new("http://host:4318 or https://host, without user or query", move |text| {
        text.parse().is_ok_and(|uri| is_collector(&uri)).then(|| text.to_owned())
    });
    parser.shown(Shown::OnceChecked)
}

/// The format of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// A JSON object a line, for machines.
    Json,
}

/// The checked settings, and where each of them came from.
#[derive(Clone)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    given: Given,
}

/// Reads the settings of this process: the environment, `.env` in the current directory or the nearest one above, and `file`.
pub fn load(file: Option<&Path>) -> Result<Loaded, ConfigErrors> {
    let mut mistakes = Mistakes::default();
    let given = Given::read(file, &mut mistakes);
    check_given(given, mistakes)
}

/// Checks settings by name. Blank text is the same as a missing setting.
pub fn check(values: BTreeMap<&'static str, String>) -> Result<Config, ConfigErrors> {
    Ok(check_given(Given::from_values(values), Mistakes::default())?.config)
}

fn check_given(mut given: Given, mut mistakes: Mistakes) -> Result<Loaded, ConfigErrors> {
    given.trim(&mut mistakes);
    let config = Values::read(&given, &mut mistakes).map(|values| Config::combine(values, &given, &mut mistakes));
    match (config, mistakes.into_errors(&given)) {
        (Some(Some(config)), None) => Ok(Loaded { config, given }),
        (_, errors) => Err(errors.unwrap_or(ConfigErrors(Vec::new()))),
    }
}

/// Returns the setting of this name in the environment.
fn known(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}
