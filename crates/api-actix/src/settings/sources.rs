//! Reads the text of settings: from the environment, `.env` and a TOML file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Error, ErrorKind};
use std::path::{Path, PathBuf};

use crate::settings::dotenv::{self, Line};
use crate::settings::known;
use crate::settings::mistakes::Mistakes;

/// The origin of a setting.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Source {
    Environment,
    /// A line of a `.env` file or of the file of `--config`.
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

/// The text of the settings, before it is checked.
#[derive(Clone, Default)]
pub(super) struct Given {
    texts: BTreeMap<&'static str, (String, Source)>,
    files: Vec<String>,
}

impl Given {
    /// Reads the environment, `.env` in the current directory or the nearest one above, and `file`, in this order of precedence.
    pub fn read(file: Option<&Path>, mistakes: &mut Mistakes) -> Self {
        let mut given = Self::default();
        if let Some(path) = file {
            given.read_toml(path, mistakes);
        }
        given.read_dotenv(mistakes);
        given.read_environment(mistakes);
        given
    }

    /// Returns the texts of settings by name, as if they came from the environment.
    pub fn from_values(values: BTreeMap<&'static str, String>) -> Self {
        let mut given = Self::default();
        values.into_iter().for_each(|(name, text)| given.add(name, text, Source::Environment));
        given
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts.get(name).map(|(text, _)| text.as_str())
    }

    pub fn source(&self, name: &str) -> Option<&Source> {
        self.texts.get(name).map(|(_, source)| source)
    }

    pub fn has(&self, name: &str) -> bool {
        self.texts.contains_key(name)
    }

    /// Returns the files that were read.
    pub fn files(&self) -> &[String] {
        &self.files
    }

    /// Removes the line breaks at the end of each text and the blanks around it, which files and `$(cat …)` leave there. A setting
    /// without text is not given.
    pub fn trim(&mut self, mistakes: &mut Mistakes) {
        self.texts.retain(|&name, (text, _)| {
            let without_breaks = text.trim_end_matches(['\r', '\n']);
            let trimmed = without_breaks.trim();
            // A blank may be part of a password, so it is neither removed nor kept silently.
            if name == "DB_PASSWORD" && trimmed != without_breaks {
                mistakes.add(
                    name,
                    format!(
                        "{name} begins or ends with a blank: remove it, or write the password into DATABASE_URL, with %20 for the blank."
                    ),
                );
            }
            // Without this check the embedded store would silently use its own secret instead.
            if name.starts_with("JWT_SECRET") && trimmed.is_empty() && !without_breaks.is_empty() {
                mistakes.add(
                    name,
                    format!("{name} consists of blanks: it must be random. `openssl rand -base64 48` makes one."),
                );
            }
            *text = trimmed.to_owned();
            !text.is_empty()
        });
    }

    /// Adds the text of a setting, in place of text from a source of lower precedence. Ignores other names.
    fn add(&mut self, name: &str, text: String, source: Source) {
        if let Some(setting) = known(name) {
            self.texts.insert(setting.name, (text, source));
        }
    }

    fn read_environment(&mut self, mistakes: &mut Mistakes) {
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            match (value.into_string(), known(name)) {
                (Ok(value), _) => self.add(name, value, Source::Environment),
                (Err(_), Some(setting)) => mistakes.add_unnamed(format!("{} is not UTF-8.", setting.name)),
                (Err(_), None) => {}
            }
        }
    }

    fn read_dotenv(&mut self, mistakes: &mut Mistakes) {
        let path = match nearest_dotenv() {
            Ok(Some(path)) => path,
            Ok(None) => return,
            Err(error) => return mistakes.add_unnamed(format!(".env cannot be read: {error}.")),
        };
        let file = path.display().to_string();
        let text = match read_text(&path) {
            Ok(text) => text,
            Err(error) => return mistakes.add_unnamed(format!("{file} cannot be read: {error}.")),
        };
        for line in dotenv::parse(&text) {
            match line {
                Ok(Line { number, name, value }) => {
                    self.add(&name, value, Source::Line { file: file.clone(), line: number });
                }
                Err(error) => mistakes.add_unnamed(format!("{file} cannot be read: {error}.")),
            }
        }
        self.files.push(file);
    }

    pub(super) fn read_toml(&mut self, path: &Path, mistakes: &mut Mistakes) {
        let file = path.display().to_string();
        let text = match read_text(path) {
            Ok(text) => text,
            Err(error) => return mistakes.add_unnamed(format!("{file} cannot be read: {error}.")),
        };
        let line_of = |offset: usize| text.get(..offset).unwrap_or_default().matches('\n').count() + 1;
        let table: BTreeMap<String, toml::Spanned<toml::Value>> = match toml::from_str(&text) {
            Ok(table) => table,
            Err(error) => {
                // Not the error's own text: that shows the line, which may hold a secret.
                let line = line_of(error.span().map_or(0, |span| span.start));
                return mistakes.add_unnamed(format!("{file} is not TOML: line {line}: {}.", error.message()));
            }
        };
        for (name, value) in table {
            let line = line_of(value.span().start);
            let Some(text) = toml_text(value.into_inner()) else {
                mistakes.add_unnamed(format!(
                    "{name} in {file}, line {line}, must be a string, a number or a list of strings."
                ));
                continue;
            };
            let upper = name.to_uppercase();
            if name == name.to_lowercase() && known(&upper).is_some() {
                self.add(&upper, text, Source::Line { file: file.clone(), line });
            } else {
                mistakes.add_unnamed(format!("{name} in {file} is not a setting (line {line})."));
            }
        }
        self.files.push(file);
    }
}

/// Returns a value of a TOML file, as it would be written in the environment.
fn toml_text(value: toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(flag) => Some(if flag { "on" } else { "off" }.to_owned()),
        toml::Value::Array(items) => {
            let texts: Option<Vec<_>> = items.iter().map(toml::Value::as_str).collect();
            Some(texts?.join(","))
        }
        _ => None,
    }
}

/// Reads UTF-8 text, with or without a byte order mark. The error does not show the content of the file.
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

/// Returns the nearest `.env` file, from the current directory upwards. A directory of that name (a Python environment) is passed over.
fn nearest_dotenv() -> std::io::Result<Option<PathBuf>> {
    let directory = std::env::current_dir()?;
    for directory in directory.ancestors() {
        let path = directory.join(".env");
        match std::fs::metadata(&path) {
            // Not only a regular file: a secrets manager may provide a pipe.
            Ok(metadata) if !metadata.is_dir() => return Ok(Some(path)),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(Error::new(error.kind(), format!("{}: {error}", path.display()))),
        }
    }
    Ok(None)
}
