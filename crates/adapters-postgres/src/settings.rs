//! Where PostgreSQL is and how it is reached.

use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;

use thiserror::Error;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::connect::CONNECT_MAX;
use crate::store::CALL_MAX;
use crate::tls::{Verification, client_config};

/// Settings that can't work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The URL can't be read.
    #[error("not a PostgreSQL URL like postgres://user:password@host:5432/database: {0}")]
    Url(String),
    /// The TLS settings can't be used.
    #[error("{0}")]
    Tls(String),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tls {
    Never,
    IfOffered,
    Always(Verification),
}

/// Where the database is and how it is reached.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    pub(crate) config: Config,
    tls: Tls,
    root_cert: Option<PathBuf>,
    pub(crate) pool_size: usize,
}

impl PostgresSettings {
    /// Reads a URL. `sslmode` is `disable`, `prefer` (as without), `require`, `verify-ca` or `verify-full`, and `sslrootcert` the path of
    /// a PEM file of certificate authorities, with the meaning that libpq gives them.
    pub fn parse(url: &str, pool_size: usize) -> Result<Self, SettingsError> {
        let (url, mode, root_cert) = split_tls(url);
        let mut config = Config::from_str(&url).map_err(|error| SettingsError::Url(error.to_string()))?;
        let root_cert = root_cert.map(PathBuf::from);
        let tls = match (mode.as_deref(), &root_cert) {
            (Some("disable"), _) => Tls::Never,
            (None | Some("prefer" | "allow"), _) => Tls::IfOffered,
            (Some("require"), None) => Tls::Always(Verification::Nothing),
            (Some("require"), Some(_)) | (Some("verify-ca"), _) => Tls::Always(Verification::Authority),
            (Some("verify-full"), _) => Tls::Always(Verification::AuthorityAndHost),
            (Some(other), _) => {
                let allowed = "disable, prefer, require, verify-ca or verify-full";
                return Err(SettingsError::Tls(format!("sslmode is {other}, but must be {allowed}")));
            }
        };
        config.ssl_mode(match tls {
            Tls::Never => SslMode::Disable,
            Tls::IfOffered => SslMode::Prefer,
            Tls::Always(_) => SslMode::Require,
        });
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT_MAX);
        }
        // A server that went away without a word is noticed.
        config.tcp_user_timeout(CALL_MAX).keepalives_idle(Duration::from_secs(30));
        let settings = Self { config, tls, root_cert, pool_size };
        settings.connector()?;
        Ok(settings)
    }

    /// The same database server, another database.
    #[must_use]
    pub fn with_database(mut self, name: &str) -> Self {
        self.config.dbname(name);
        self
    }

    pub(crate) fn connector(&self) -> Result<Option<MakeRustlsConnect>, SettingsError> {
        let verification = match self.tls {
            Tls::Never => return Ok(None),
            Tls::IfOffered => Verification::Nothing,
            Tls::Always(verification) => verification,
        };
        Ok(Some(MakeRustlsConnect::new(client_config(verification, self.root_cert.as_deref())?)))
    }
}

/// Takes `sslmode` and `sslrootcert` out of a URL's query: the client library knows only some of their values.
fn split_tls(url: &str) -> (String, Option<String>, Option<String>) {
    let Some((base, query)) = url.split_once('?') else { return (url.to_owned(), None, None) };
    let (mut mode, mut root_cert, mut others) = (None, None, Vec::new());
    for pair in query.split('&') {
        match pair.split_once('=') {
            Some(("sslmode", value)) => mode = Some(value.to_owned()),
            Some(("sslrootcert", value)) => root_cert = Some(percent_decoded(value)),
            _ => others.push(pair),
        }
    }
    let base = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
    (base, mode, root_cert)
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let mut ahead = rest.clone();
        let escaped = match (byte, ahead.next(), ahead.next()) {
            (b'%', Some(high), Some(low)) => {
                std::str::from_utf8(&[high, low]).ok().and_then(|digits| u8::from_str_radix(digits, 16).ok())
            }
            _ => None,
        };
        if escaped.is_some() {
            rest = ahead;
        }
        bytes.push(escaped.unwrap_or(byte));
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_settings_are_taken_out_of_the_url() {
        let (url, mode, root) =
            split_tls("postgres://u@h/d?sslmode=verify-full&application_name=x&sslrootcert=%2Fetc%2Fmy%20ca.pem");
        assert_eq!(url, "postgres://u@h/d?application_name=x");
        assert_eq!(mode.as_deref(), Some("verify-full"));
        assert_eq!(root.as_deref(), Some("/etc/my ca.pem"));
        assert_eq!(split_tls("postgres://u@h/d"), ("postgres://u@h/d".to_owned(), None, None));
    }

    #[test]
    fn mistakes_are_told() {
        assert!(matches!(PostgresSettings::parse("http://x", 4), Err(SettingsError::Url(_))));
        let error = PostgresSettings::parse("postgres://u@h/d?sslmode=verify", 4).unwrap_err();
        assert!(error.to_string().contains("verify-full"), "{error}");
        let error =
            PostgresSettings::parse("postgres://u@h/d?sslmode=verify-ca&sslrootcert=/no/such.pem", 4).unwrap_err();
        assert!(error.to_string().contains("/no/such.pem"), "{error}");
    }
}
