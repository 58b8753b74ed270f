use chrono::TimeDelta;
use domain::booking::Rules;
use secrecy::ExposeSecret as _;

use super::sources::Source;
use super::*;
use crate::telemetry::traces::TraceSettings;

fn checked(values: &[(&'static str, &str)]) -> Result<Config, ConfigErrors> {
    check(values.iter().map(|(name, value)| (*name, (*value).to_owned())).collect())
}

/// Returns a row of `check-config`, by its columns.
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
        for setting in SETTINGS.iter() {
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
        assert_eq!(config.values.jwt_secret.unwrap().expose_secret(), secret);
    }
    let parts = |password| {
        let parts = [("DB_HOST", "db"), ("DB_NAME", "b"), ("DB_USER", "u"), ("DB_PASSWORD", password)];
        checked(&[&parts[..], &[("JWT_SECRET", secret)]].concat())
    };
    parts("Pa55word\r\n").unwrap();
    for password in [" Pa55word", "Pa55word ", "Pa55word\t\n"] {
        let ConfigErrors(errors) = parts(password).unwrap_err();
        assert!(errors.len() == 1 && errors[0].starts_with("DB_PASSWORD begins or ends with a blank"), "{errors:?}");
    }
}

#[test]
fn a_secret_without_entropy_is_refused_with_a_way_to_make_one() {
    let weak =
        ["0".repeat(64), "ab".repeat(40), "password".repeat(8), "1234567".repeat(9), " x".repeat(20), " ".repeat(40)];
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
    assert_eq!((config.values.host.to_string(), config.values.port), ("127.0.0.1".to_owned(), 3000));
    assert!(matches!(config.store, StoreConfig::Embedded { data_dir } if data_dir == Path::new("./data")));
    assert_eq!(config.values.access_token_ttl, Duration::from_secs(3600));
    assert_eq!(config.values.refresh_token_ttl, Duration::from_secs(30 * 24 * 3600));
    assert_eq!(config.values.cors_origins, ["http://localhost:5173"]);
    assert_eq!(config.rules, Rules::default());
    assert_eq!(config.values.commit_batch_max, 64);
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
        ("DEMO_DATA", "yes"),
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
    assert_eq!(config.values.jwt_secret.unwrap().expose_secret(), secret);
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
        assert_eq!(checked(&[("COMMIT_BATCH_MAX", given)]).unwrap().values.commit_batch_max, expected);
    }
    for given in ["0", "65", "-1", "all"] {
        let ConfigErrors(errors) = checked(&[("COMMIT_BATCH_MAX", given)]).unwrap_err();
        assert_eq!(errors, [format!("COMMIT_BATCH_MAX is {given}, but must be 1 to 64.")]);
    }
}

#[test]
fn metrics_have_a_port_of_their_own_or_none() {
    assert_eq!(checked(&[]).unwrap().values.metrics_port, None);
    assert_eq!(checked(&[("METRICS_PORT", "0"), ("PORT", "0")]).unwrap().values.metrics_port, Some(0));
    assert_eq!(checked(&[("METRICS_PORT", "9464")]).unwrap().values.metrics_port, Some(9464));
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
    for wrong in
        ["collector:4318", "grpc://collector", "http://", "http://u:secret@collector", "http://c/?key=secret", "/v1"]
    {
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
    let given = Given::from_values([("REDIS_URL", "redis://ana:Pa55word@cache.example/1".to_owned())].into());
    let loaded = check_given(given, Mistakes::default()).unwrap();
    let (shown, config) = (describe(&loaded), loaded.config);
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
    std::fs::write(&path, "port = 4000\ncors_origins = [\"http://a\", \"https://b\"]\nprot = 1\nPORT = 2\n").unwrap();
    let (mut given, mut mistakes) = (Given::default(), Mistakes::default());
    given.read_toml(&path, &mut mistakes);
    let line = |line| Source::Line { file: path.display().to_string(), line };
    assert_eq!((given.source("PORT"), given.source("CORS_ORIGINS")), (Some(&line(1)), Some(&line(2))));
    assert_eq!(given.text("PORT"), Some("4000"));
    assert_eq!(given.text("CORS_ORIGINS"), Some("http://a,https://b"));
    let ConfigErrors(errors) = mistakes.into_errors(&given).unwrap();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert!(errors.iter().any(|error| error.starts_with("prot in") && error.contains("line 3")), "{errors:?}");
}

#[test]
fn settings_have_names_defaults_and_help() {
    checked(&[]).unwrap();
    for (setting, index) in SETTINGS.iter().zip(0..) {
        assert!(!SETTINGS[..index].iter().any(|other| other.name == setting.name), "{}", setting.name);
        assert!(setting.name.bytes().all(|byte| matches!(byte, b'A'..=b'Z' | b'_')), "{}", setting.name);
        assert!(setting.help.ends_with('.') && !setting.help.contains("  "), "{}: {}", setting.name, setting.help);
    }
}

#[test]
fn check_config_shows_every_value_that_is_not_secret() {
    let secret = "0123456789012345678901234567890123456789";
    let values = [("JWT_SECRET", secret), ("MAX_SEATS_PER_BOOKING", "30"), ("PORT", " 8080 \n"), ("RUST_LOG", "debug")];
    let given = Given::from_values(values.map(|(name, text)| (name, text.to_owned())).into());
    let shown = describe(&check_given(given, Mistakes::default()).unwrap());
    for (name, value, source) in [
        ("JWT_SECRET", "set", "environment"),
        ("JWT_SECRET_PREVIOUS", "(none)", "default"),
        ("MAX_SEATS_PER_BOOKING", "30", "environment"),
        ("MAX_HELD_SEATS", "30", "default"),
        ("PORT", "8080", "environment"),
        ("RUST_LOG", "debug", "environment"),
        ("KEEP_ALIVE", "75s", "default"),
    ] {
        assert_eq!(row(&shown, name), [name, value, source], "{shown}");
    }
    assert!(!shown.contains(secret), "{shown}");
}
