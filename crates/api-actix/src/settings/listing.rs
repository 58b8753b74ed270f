//! The settings as text, for `check-config` and `--help`.

use crate::settings::declaration::{Setting, Shown};
use crate::settings::{Config, Loaded, SETTINGS, StoreConfig};

/// Returns every setting with its value and its source, for `check-config`. Secrets are shown as `set`.
pub fn describe(loaded: &Loaded) -> String {
    let Loaded { config, given } = loaded;
    let store = match &config.store {
        StoreConfig::Embedded { data_dir } => format!("embedded, in {}", data_dir.display()),
        StoreConfig::Postgres(_) => "PostgreSQL".to_owned(),
    };
    let files = if given.files().is_empty() { "none".to_owned() } else { given.files().join(" and ") };
    let mut rows = vec![["setting", "value", "source"].map(str::to_owned)];
    rows.extend(SETTINGS.iter().map(|setting| {
        let value = match given.text(setting.name) {
            Some(text) => given_value(setting, text, config),
            None => missing_value(setting, config),
        };
        let source = given.source(setting.name).map_or("default".to_owned(), ToString::to_string);
        [setting.name.to_owned(), value, source]
    }));
    format!("Store: {store}\nFiles: {files}\n\n{}", table(&rows))
}

fn given_value(setting: &Setting, text: &str, config: &Config) -> String {
    match (setting.shown, &config.redis) {
        (Shown::Always | Shown::OnceChecked, _) => text.to_owned(),
        (Shown::Never, Some(redis)) if setting.name == "REDIS_URL" => redis.to_string(),
        (Shown::Never, _) => "set".to_owned(),
    }
}

/// Returns the value of a setting that is not given.
fn missing_value(setting: &Setting, config: &Config) -> String {
    match (setting.name, &config.store) {
        ("JWT_SECRET", StoreConfig::Embedded { .. }) => "(kept in DATA_DIR)".to_owned(),
        ("MAX_HELD_SEATS", _) => config.rules.held_seats_max.to_string(),
        _ if setting.default.is_empty() => "(none)".to_owned(),
        _ => setting.default.to_owned(),
    }
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

/// Returns every setting with its help, for `--help`.
pub fn help() -> String {
    let mut text = String::from(
        "Settings come from the environment, from .env, and from the file of --config, in this order of precedence.\n\
         `movie-booking check-config` shows each value and its source.\n",
    );
    let mut group = "";
    for setting in SETTINGS.iter() {
        if group != setting.group {
            group = setting.group;
            text.push_str(&format!("\n{group}:\n"));
        }
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        text.push_str(&format!(
            "\n  {}\n      {}\n      Value: {}. Default: {default}\n",
            setting.name, setting.help, setting.allowed
        ));
    }
    text
}
