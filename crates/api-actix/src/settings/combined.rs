//! Settings whose meaning depends on each other.

use std::path::PathBuf;
use std::time::Duration;

use adapters_postgres::{PostgresSettings, SettingsError as PostgresError};
use adapters_redis::{RedisSettings, SettingsError as RedisError};
use chrono::TimeDelta;
use domain::booking::Rules;
use domain::limits::Limit;
use secrecy::{ExposeSecret as _, SecretString};

use crate::settings::Values;
use crate::settings::mistakes::Mistakes;
use crate::settings::secrets::weakness;
use crate::settings::sources::Given;
use crate::telemetry::traces::TraceSettings;

/// The settings, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// The settings that stand alone.
    pub values: Values,
    /// The store of the bookings.
    pub store: StoreConfig,
    /// The Redis that servers share.
    pub redis: Option<RedisSettings>,
    /// The rules of booking.
    pub rules: Rules,
    /// The rate limits; `None` switches them off.
    pub rate_limits: Option<RateLimits>,
    /// The export of traces; `None` switches it off.
    pub traces: Option<TraceSettings>,
}

/// The store of the bookings.
#[derive(Clone, Debug)]
pub enum StoreConfig {
    /// The embedded store.
    Embedded {
        /// Its directory.
        data_dir: PathBuf,
    },
    /// PostgreSQL.
    Postgres(Box<PostgresSettings>),
}

/// The rate limits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RateLimits {
    /// Requests of each user, or of each address for requests without a token.
    pub requests: Limit,
    /// Failed logins for each account from each address.
    pub authentication_failures: Limit,
    /// Sign-ups from each address.
    pub sign_ups: Limit,
}

impl Config {
    /// Combines the values. `None` after a mistake that leaves no store.
    pub(super) fn combine(values: Values, given: &Given, mistakes: &mut Mistakes) -> Option<Self> {
        let store = store(&values, given, mistakes);
        check_secrets(&values, store.as_ref(), mistakes);
        check_metrics_port(&values, mistakes);
        let (redis, rules) = (redis(&values, mistakes), rules(&values, given, mistakes));
        Some(Self { store: store?, redis, rules, rate_limits: rate_limits(&values), traces: traces(&values), values })
    }
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

fn store(values: &Values, given: &Given, mistakes: &mut Mistakes) -> Option<StoreConfig> {
    let settings = match (&values.database_url, &values.db_host) {
        (Some(_), Some(_)) => {
            mistakes.add("DATABASE_URL", "DATABASE_URL and DB_HOST are both given: give one of them.".to_owned());
            return None;
        }
        (Some(url), None) => postgres_by_url(url, values, mistakes)?,
        (None, Some(_)) => postgres_by_parts(values, mistakes)?,
        (None, None) => {
            if let Some((part, _)) = DATABASE_PARTS.into_iter().find(|(part, _)| given.has(part)) {
                mistakes.add(
                    part,
                    format!("{part} is given without DB_HOST: give DB_HOST too, or remove every DB_ setting."),
                );
            }
            return Some(StoreConfig::Embedded { data_dir: values.data_dir.clone() });
        }
    };
    Some(StoreConfig::Postgres(Box::new(settings.with_durability(values.db_durability))))
}

fn postgres_by_url(url: &SecretString, values: &Values, mistakes: &mut Mistakes) -> Option<PostgresSettings> {
    let settings = PostgresSettings::parse(url.expose_secret(), values.db_pool_size).map_err(|error| match error {
        PostgresError::Parameter { .. } | PostgresError::Tls(_) => format!("DATABASE_URL: {error}."),
        PostgresError::Syntax(problem) => format!("DATABASE_URL cannot be read: {problem}."),
    });
    settings.map_err(|text| mistakes.add("DATABASE_URL", text)).ok()
}

fn postgres_by_parts(values: &Values, mistakes: &mut Mistakes) -> Option<PostgresSettings> {
    let needed = [("DB_USER", &values.db_user), ("DB_NAME", &values.db_name)];
    for (name, _) in needed.into_iter().filter(|(_, value)| value.is_none()) {
        mistakes.add(name, format!("{name} is missing: DB_HOST needs it."));
    }
    if needed.iter().any(|(_, value)| value.is_none()) {
        return None;
    }
    let texts = [
        values.db_host.as_deref(),
        Some(values.db_port.as_str()),
        values.db_name.as_deref(),
        values.db_user.as_deref(),
        values.db_password.as_ref().map(SecretString::expose_secret),
        Some(values.db_sslmode.as_str()),
        values.db_sslrootcert.as_deref(),
    ];
    let parts = DATABASE_PARTS.into_iter().zip(texts).filter_map(|((_, parameter), text)| Some((parameter, text?)));
    let settings = PostgresSettings::from_parts(parts, values.db_pool_size).map_err(|error| match error {
        PostgresError::Parameter { name, problem } => {
            let part = DATABASE_PARTS.into_iter().find(|(_, parameter)| *parameter == name);
            let part = part.map_or("DB_HOST", |(part, _)| part);
            (part, format!("{part} {problem}."))
        }
        PostgresError::Tls(problem) => ("DB_SSLROOTCERT", format!("DB_SSLROOTCERT: {problem}.")),
        PostgresError::Syntax(problem) => ("DB_HOST", format!("DB_HOST: {problem}.")),
    });
    settings.map_err(|(part, text)| mistakes.add(part, text)).ok()
}

fn redis(values: &Values, mistakes: &mut Mistakes) -> Option<RedisSettings> {
    let Some(url) = &values.redis_url else {
        if values.redis_sslrootcert.is_some() {
            let text = "REDIS_SSLROOTCERT is given without REDIS_URL: give REDIS_URL too, or neither.";
            mistakes.add("REDIS_SSLROOTCERT", text.to_owned());
        }
        return None;
    };
    let settings = RedisSettings::parse(url.expose_secret(), values.redis_sslrootcert.as_deref()).map_err(|error| {
        let name = match error {
            RedisError::NoTls | RedisError::Authorities { .. } => "REDIS_SSLROOTCERT",
            _ => "REDIS_URL",
        };
        (name, format!("{name}: {error}."))
    });
    settings.map_err(|(name, text)| mistakes.add(name, text)).ok()
}

/// Checks the secrets that sign access tokens.
fn check_secrets(values: &Values, store: Option<&StoreConfig>, mistakes: &mut Mistakes) {
    let secrets = [("JWT_SECRET", &values.jwt_secret), ("JWT_SECRET_PREVIOUS", &values.jwt_secret_previous)];
    for (name, secret) in secrets {
        if let Some(weakness) = secret.as_ref().and_then(|secret| weakness(secret.expose_secret())) {
            mistakes.add(name, format!("{name} {weakness}. `openssl rand -base64 48` makes one."));
        }
    }
    if values.jwt_secret.is_none() && matches!(store, Some(StoreConfig::Postgres(_))) {
        let text = "JWT_SECRET is missing: with PostgreSQL it must be given, at least 32 bytes, the same for every server. \
                    `openssl rand -base64 48` makes one.";
        mistakes.add("JWT_SECRET", text.to_owned());
    }
}

fn check_metrics_port(values: &Values, mistakes: &mut Mistakes) {
    let Some(port) = values.metrics_port else { return };
    if port != 0 && port == values.port && !mistakes.concern("PORT") {
        mistakes.refuse("METRICS_PORT", &port.to_string());
    }
}

fn rules(values: &Values, given: &Given, mistakes: &mut Mistakes) -> Rules {
    // Both times are at most ten years.
    let time = |duration| TimeDelta::from_std(duration).unwrap_or_default();
    Rules {
        seats_max: values.seats_per_booking_max,
        held_seats_max: held_seats_max(values, given, mistakes),
        hold_ttl: time(values.hold_ttl),
        cancellation_cutoff: time(values.cancellation_cutoff),
        cancellations_max: values.cancellations_per_day,
        seat_gaps: values.seat_gap_rule,
    }
}

/// At least as many as a booking may have: a lower limit would forbid holds that could become a booking.
fn held_seats_max(values: &Values, given: &Given, mistakes: &mut Mistakes) -> usize {
    let (held_max, seats_max) = (values.held_seats_max, values.seats_per_booking_max);
    let is_known = !mistakes.concern("MAX_HELD_SEATS") && !mistakes.concern("MAX_SEATS_PER_BOOKING");
    if held_max < seats_max && given.has("MAX_HELD_SEATS") && is_known {
        let text = format!(
            "MAX_HELD_SEATS is {held_max}, less than MAX_SEATS_PER_BOOKING ({seats_max}): raise the one, or lower the other."
        );
        mistakes.add("MAX_HELD_SEATS", text);
    }
    held_max.max(seats_max)
}

fn rate_limits(values: &Values) -> Option<RateLimits> {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3600));
    values.rate_limit.then_some(RateLimits {
        requests: Limit { tries: values.rate_limit_per_minute, window: minute },
        authentication_failures: Limit { tries: values.rate_limit_auth_failures_per_minute, window: minute },
        sign_ups: Limit { tries: values.sign_ups_per_hour, window: hour },
    })
}

fn traces(values: &Values) -> Option<TraceSettings> {
    Some(TraceSettings {
        endpoint: values.otlp_endpoint.clone()?,
        service_name: values.otel_service_name.clone(),
        kept: values.otel_traces_sampler_arg,
    })
}
