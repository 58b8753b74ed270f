//! The address of Redis, and the settings of the connection.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fred::types::config::{Config, TlsConfig, TlsConnector, TlsHostMapping};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use thiserror::Error;

/// The accepted forms of an address, for error messages.
pub const ADDRESS_FORMS: &str = "redis://[user:password@]host[:port][/database], \
    redis-sentinel://[user:password@]host[:port][/database]?sentinelServiceName=name[&node=host:port]… or \
    redis-cluster://[user:password@]host[:port][?node=host:port]…, with rediss for TLS, and special characters percent-encoded";

/// The accepted schemes, each with the equivalent scheme without TLS.
const SCHEMES: [(&str, &str, bool); 6] = [
    ("redis", "redis", false),
    ("rediss", "redis", true),
    ("redis-sentinel", "redis-sentinel", false),
    ("rediss-sentinel", "redis-sentinel", true),
    ("redis-cluster", "redis-cluster", false),
    ("rediss-cluster", "redis-cluster", true),
];

/// The reason why an address is invalid. Never shows the address, because it may contain a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// Not an address.
    #[error("it must be {ADDRESS_FORMS}")]
    Address,
    /// The address of Sentinels has no service name.
    #[error("an address of Sentinels must end in ?sentinelServiceName= and the name that they know the server by")]
    ServiceName,
    /// A file of certificate authorities is given without TLS.
    #[error("a file of certificate authorities is for addresses that begin with rediss")]
    NoTls,
    /// The file of certificate authorities cannot be used.
    #[error("{}: {reason}", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        reason: String,
    },
    #[error("this system has no certificate authorities to check the server's certificate by: name a file of them")]
    NoAuthorities,
    #[error("TLS cannot be set up: {0}")]
    Tls(String),
}

/// A parsed address with its settings. Never prints a password.
#[derive(Clone)]
pub struct RedisSettings {
    pub(crate) config: Config,
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisSettings({self})")
    }
}

impl fmt::Display for RedisSettings {
    /// Writes the kind of server and its address, without user and password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let server = &self.config.server;
        let kind = match (server.is_sentinel(), server.is_clustered()) {
            (true, _) => "Sentinels",
            (_, true) => "a cluster",
            _ => "a server",
        };
        let hosts: Vec<_> = server.hosts().iter().map(|server| format!("{}:{}", server.host, server.port)).collect();
        let tls = if self.config.uses_tls() { ", with TLS" } else { "" };
        write!(f, "{kind} at {}{tls}", hosts.join(", "))
    }
}

impl RedisSettings {
    /// Parses an address. `authorities` is a PEM file of the trusted certificate authorities, for addresses with TLS. Without it, the
    /// system's certificate authorities are trusted.
    pub fn parse(url: &str, authorities: Option<&Path>) -> Result<Self, SettingsError> {
        let (scheme, rest) = url.split_once("://").ok_or(SettingsError::Address)?;
        let known = SCHEMES.iter().find(|(known, ..)| *known == scheme).ok_or(SettingsError::Address)?;
        let (_, plain_scheme, uses_tls) = *known;
        if plain_scheme == "redis-sentinel" && !rest.contains("sentinelServiceName=") {
            return Err(SettingsError::ServiceName);
        }
        // Parsed without TLS, because the client would set it up with the process's default provider of cryptography.
        let parsed = Config::from_url(&format!("{plain_scheme}://{rest}"));
        let mut config = parsed.map_err(|_| SettingsError::Address)?;
        if config.server.hosts().iter().any(|server| server.host.is_empty() || server.port == 0) {
            return Err(SettingsError::Address);
        }
        // The first connection is retried like all later ones, so that a server can start without its Redis.
        config.fail_fast = false;
        config.tls = match (uses_tls, authorities) {
            (true, _) => Some(tls(authorities)?),
            (false, None) => None,
            (false, Some(_)) => return Err(SettingsError::NoTls),
        };
        Ok(Self { config })
    }
}

fn tls(authorities: Option<&Path>) -> Result<TlsConfig, SettingsError> {
    let roots = match authorities {
        Some(path) => read_authorities(path)?,
        None => {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            roots
        }
    };
    if roots.is_empty() {
        return Err(SettingsError::NoAuthorities);
    }
    let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| SettingsError::Tls(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    // The nodes of a cluster name each other by address, but their certificates are for the given host name.
    Ok(TlsConfig { connector: TlsConnector::from(config), hostnames: TlsHostMapping::DefaultHost })
}

fn read_authorities(path: &Path) -> Result<RootCertStore, SettingsError> {
    let wrong = |reason: String| SettingsError::Authorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() { Err(wrong("there is no certificate in it".to_owned())) } else { Ok(roots) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, SettingsError> {
        RedisSettings::parse(url, None).map(|settings| settings.to_string())
    }

    #[test]
    fn addresses_of_every_form_are_taken() {
        for (url, expected) in [
            ("redis://cache", "a server at cache:6379"),
            ("redis://user:p%40ss@cache:7000/3", "a server at cache:7000"),
            ("redis://:secret@[::1]:7000", "a server at [::1]:7000"),
            ("redis-cluster://a:1?node=b:2", "a cluster at b:2, a:1"),
            ("redis-sentinel://:secret@a?sentinelServiceName=main&node=b:2", "Sentinels at b:2, a:26379"),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(expected), "{url}");
        }
    }

    #[test]
    fn credentials_and_databases_are_read() {
        let config = RedisSettings::parse("redis://user:p%40ss@cache/3", None).unwrap().config;
        assert_eq!((config.username.as_deref(), config.password.as_deref()), (Some("user"), Some("p@ss")));
        assert_eq!(config.database, Some(3));
        assert!(!config.fail_fast);
    }

    #[test]
    fn mistakes_are_told_without_the_address() {
        for (url, expected) in [
            ("", SettingsError::Address),
            ("cache:6379", SettingsError::Address),
            ("http://:secret@cache", SettingsError::Address),
            ("valkey://:secret@cache", SettingsError::Address),
            ("redis+unix:///secret.sock", SettingsError::Address),
            ("redis://", SettingsError::Address),
            ("redis://:secret@", SettingsError::Address),
            ("redis://:secret@cache:0", SettingsError::Address),
            ("redis://:secret@cache:65536", SettingsError::Address),
            ("redis://:secret@cache/first", SettingsError::Address),
            ("redis-cluster://:secret@cache?node=secret", SettingsError::Address),
            ("redis-sentinel://:secret@cache", SettingsError::ServiceName),
        ] {
            let error = shown(url).unwrap_err();
            assert_eq!(error, expected, "{url}");
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    #[test]
    fn files_of_authorities_are_for_tls_and_must_have_some() {
        let folder = tempfile::tempdir().unwrap();
        let empty = folder.path().join("empty.pem");
        std::fs::write(&empty, "nothing").unwrap();
        let parse = |url: &str, path: &Path| RedisSettings::parse(url, Some(path)).unwrap_err();
        assert_eq!(parse("redis://cache", &empty), SettingsError::NoTls);
        for path in [empty, folder.path().join("missing.pem")] {
            let error = parse("rediss://cache", &path);
            assert!(error.to_string().starts_with(path.to_str().unwrap()), "{error}");
        }
    }

    #[test]
    fn no_password_is_printed() {
        let settings = RedisSettings::parse("redis://user:secret@cache", None).unwrap();
        let printed = format!("{settings} {settings:?}");
        assert!(!printed.contains("secret") && !printed.contains("user"), "{printed}");
    }
}
