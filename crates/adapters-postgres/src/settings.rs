//! The address of PostgreSQL and the options of connecting: interprets libpq's parameters.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use tokio_postgres::Config;
use tokio_postgres::config::{ChannelBinding, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::durability::Durability;
use crate::parameters::{self, Parameters, SettingsError};
use crate::timeouts::{CALL_MAX, CONNECT_MAX};
use crate::tls::{Verification, client_config};

/// The longest `connect_timeout`, in seconds.
const CONNECT_TIMEOUT_MAX: u64 = 60;
/// The name of this program in PostgreSQL unless `application_name` is given.
const APPLICATION_NAME: &str = "movie-booking";

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tls {
    Never,
    IfOffered,
    Always(Verification),
}

/// The capability that a server must have to be used.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Target {
    /// Any server.
    Any,
    /// A server that is not a standby.
    Primary,
    /// A server that is not a standby, and whose transactions may write.
    ReadWrite,
}

/// One of the candidate servers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Server {
    /// A host name, an address, or the directory of a Unix socket. Empty if only an address is given.
    pub(crate) host: String,
    /// The address to connect to, instead of resolving the name.
    pub(crate) address: Option<IpAddr>,
    pub(crate) port: u16,
}

impl Server {
    /// Returns whether the host is the directory of a Unix socket.
    pub(crate) fn is_socket(&self) -> bool {
        self.host.starts_with('/')
    }
}

/// The address of the database and the options of connecting.
#[derive(Clone, Debug)]
pub struct PostgresSettings {
    /// The options that are common to all servers.
    pub(crate) config: Config,
    pub(crate) servers: Vec<Server>,
    pub(crate) target: Target,
    /// The time limit of connecting to one address, including the login.
    pub(crate) connect_timeout: Duration,
    /// Names of the server settings that `options` sets. They take precedence over those that this program sets.
    pub(crate) own_options: Vec<String>,
    tls: Tls,
    root_cert: Option<PathBuf>,
    pub(crate) pool_size: usize,
    pub(crate) durability: Durability,
}

impl PostgresSettings {
    /// Parses a connection string in one of libpq's forms: `postgres://user:password@host:5432/database?sslmode=require` or `host=… user=…
    /// password=… dbname=… sslmode=require`. A parameter has libpq's meaning, or is an error.
    pub fn parse(text: &str, pool_size: usize) -> Result<Self, SettingsError> {
        Self::from_parameters(parameters::parse(text)?, pool_size)
    }

    /// Parses individual parameters with libpq's names. Brackets around an IPv6 address are left out.
    pub fn from_parts<'a>(
        parts: impl IntoIterator<Item = (&'a str, &'a str)>,
        pool_size: usize,
    ) -> Result<Self, SettingsError> {
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        Self::from_parameters(parts.into_iter().map(own).collect(), pool_size)
    }

    /// Sets how durable commits must be. The default requires a commit to be on the disk of the primary.
    #[must_use]
    pub fn with_durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }

    fn from_parameters(parameters: Parameters, pool_size: usize) -> Result<Self, SettingsError> {
        let after_password = parameters.iter().skip_while(|(name, _)| name != "password").nth(1);
        let mut given = Given { after_password: after_password.map(|(name, _)| name.clone()), parameters };
        let servers = given.servers()?;
        let (tls, root_cert) = given.tls(&servers)?;
        let mut config = Config::new();
        config.ssl_mode(match tls {
            Tls::Never => SslMode::Disable,
            Tls::IfOffered => SslMode::Prefer,
            Tls::Always(_) => SslMode::Require,
        });
        if let Some(user) = given.take("user") {
            config.user(user);
        }
        if let Some(password) = given.take_raw("password") {
            config.password(password);
        }
        if let Some(name) = given.take("dbname") {
            config.dbname(name);
        }
        let fallback = given.take("fallback_application_name");
        let application_name = given.take("application_name").or(fallback);
        config.application_name(application_name.unwrap_or_else(|| APPLICATION_NAME.to_owned()));
        given.channel_binding(&mut config)?;
        given.keepalives(&mut config)?;
        let seconds = given.number("connect_timeout", 1, CONNECT_TIMEOUT_MAX)?;
        let several = servers.len() > 1;
        let mut settings = Self {
            target: given.target(several)?,
            connect_timeout: seconds.map_or(CONNECT_MAX, Duration::from_secs),
            own_options: Vec::new(),
            config,
            servers,
            tls,
            root_cert,
            pool_size,
            durability: Durability::default(),
        };
        if let Some(options) = given.take("options") {
            settings.own_options = option_names(&options);
            settings.config.options(options);
        }
        given.only("load_balance_hosts", &["disable"])?;
        given.only("client_encoding", &["UTF8", "UTF-8", "auto", "utf8", "utf-8"])?;
        given.only("gssencmode", &["disable", "prefer"])?;
        given.only("sslnegotiation", &["postgres"])?;
        given.nothing_is_left()?;
        settings.connector()?;
        Ok(settings)
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

/// Parameters that are not yet interpreted.
struct Given {
    parameters: Parameters,
    /// The name of the parameter after the password. It is a part of the password if a character in it was not encoded.
    after_password: Option<String>,
}

impl Given {
    /// Removes and returns the raw value of a parameter, if it is given.
    fn take_raw(&mut self, name: &str) -> Option<String> {
        let at = self.parameters.iter().position(|(given, _)| given == name)?;
        Some(self.parameters.remove(at).1)
    }

    /// Removes and returns the value of a parameter, if it is given and not empty. libpq treats an empty value as missing.
    fn take(&mut self, name: &str) -> Option<String> {
        self.take_raw(name).filter(|value| !value.is_empty())
    }

    fn number(&mut self, name: &str, min: u64, max: u64) -> Result<Option<u64>, SettingsError> {
        let Some(text) = self.take(name) else { return Ok(None) };
        match text.trim().parse() {
            Ok(number) if (min..=max).contains(&number) => Ok(Some(number)),
            _ => Err(SettingsError::parameter(name, format!("must be a number from {min} to {max}"))),
        }
    }

    /// Checks a parameter of which only values without effect are supported.
    fn only(&mut self, name: &str, allowed: &[&str]) -> Result<(), SettingsError> {
        match self.take(name) {
            Some(value) if !allowed.contains(&value.as_str()) => {
                let allowed = allowed.first().copied().unwrap_or_default();
                Err(SettingsError::parameter(name, format!("is not supported but as {allowed}: leave it out")))
            }
            _ => Ok(()),
        }
    }

    fn servers(&mut self) -> Result<Vec<Server>, SettingsError> {
        let list = |text: Option<String>| -> Vec<String> {
            text.map(|text| text.split(',').map(|part| part.trim().to_owned()).collect()).unwrap_or_default()
        };
        let (hosts, addresses, ports) = (list(self.take("host")), list(self.take("hostaddr")), list(self.take("port")));
        let count = hosts.len().max(addresses.len());
        if count == 0 {
            let advice = "is missing: name one, as in postgres://user:password@localhost/database, or the directory of a \
                          Unix socket, as in postgres:///database?host=/var/run/postgresql";
            return Err(SettingsError::parameter("host", advice));
        }
        for (name, values) in [("host", &hosts), ("hostaddr", &addresses)] {
            if !values.is_empty() && values.len() != count {
                return Err(SettingsError::parameter(name, "must have as many values as host and hostaddr each"));
            }
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(SettingsError::parameter("port", "must be one for all hosts, or one for each of them"));
        }
        let server = |at: usize| {
            let host = hosts.get(at).map_or(Ok(String::new()), |host| host_name(host))?;
            let address = addresses.get(at).map(|text| text.parse()).transpose();
            let address = address
                .map_err(|_| SettingsError::parameter("hostaddr", "must be an IP address: give a name as host"))?;
            let port = match ports.get(at).or(ports.first()).map_or("", String::as_str) {
                "" => Some(5432),
                text => text.parse().ok().filter(|port| *port > 0),
            };
            let port = port.ok_or_else(|| SettingsError::parameter("port", "must be a number from 1 to 65535"))?;
            Ok(Server { host, address, port })
        };
        (0..count).map(server).collect()
    }

    fn tls(&mut self, servers: &[Server]) -> Result<(Tls, Option<PathBuf>), SettingsError> {
        let (mode, root_cert) = (self.take("sslmode"), self.take("sslrootcert"));
        let wrong = |problem: String| Err(SettingsError::parameter("sslmode", problem));
        let system = root_cert.as_deref() == Some("system");
        let mode = mode.or_else(|| system.then(|| "verify-full".to_owned()));
        let tls = match (mode.as_deref(), &root_cert) {
            (Some("disable"), _) => Tls::Never,
            // `allow` would begin without TLS. `prefer` meets its requirements as well.
            (None | Some("prefer" | "allow"), _) => Tls::IfOffered,
            (Some("verify-full"), _) => Tls::Always(Verification::AuthorityAndHost),
            (Some("require" | "verify-ca"), _) if system => {
                return wrong("must be verify-full with sslrootcert=system, because anyone can get a certificate of a public authority".to_owned());
            }
            (Some("require"), None) => Tls::Always(Verification::Nothing),
            (Some("require" | "verify-ca"), _) => Tls::Always(Verification::Authority),
            (Some(other), _) => {
                let allowed = "disable, prefer, require, verify-ca or verify-full";
                return wrong(format!("is {other}, but must be {allowed}"));
            }
        };
        if root_cert.is_some() && !matches!(tls, Tls::Always(_)) {
            let problem = "has an effect only with sslmode verify-full, verify-ca or require: set one of them";
            return Err(SettingsError::parameter("sslrootcert", problem));
        }
        if servers.iter().any(Server::is_socket) {
            if matches!(tls, Tls::Always(_)) {
                let problem =
                    "asks for TLS, which PostgreSQL does not offer on a Unix socket: leave it out, or name a host";
                return wrong(problem.to_owned());
            }
            if servers.iter().all(Server::is_socket) {
                return Ok((Tls::Never, None));
            }
        }
        if tls == Tls::Always(Verification::AuthorityAndHost) && servers.iter().any(|server| server.host.is_empty()) {
            return wrong("is verify-full, which needs the name of the host besides hostaddr".to_owned());
        }
        Ok((tls, root_cert.filter(|_| !system).map(PathBuf::from)))
    }

    fn target(&mut self, several: bool) -> Result<Target, SettingsError> {
        match self.take("target_session_attrs").as_deref() {
            // Only one of several servers accepts writes, which bookings need.
            None if several => Ok(Target::ReadWrite),
            None | Some("any") => Ok(Target::Any),
            Some("primary") => Ok(Target::Primary),
            Some("read-write") => Ok(Target::ReadWrite),
            Some(_) => {
                let problem = "must be read-write, primary or any: this program writes";
                Err(SettingsError::parameter("target_session_attrs", problem))
            }
        }
    }

    fn channel_binding(&mut self, config: &mut Config) -> Result<(), SettingsError> {
        let binding = match self.take("channel_binding").as_deref() {
            None | Some("prefer") => ChannelBinding::Prefer,
            Some("disable") => ChannelBinding::Disable,
            Some("require") => ChannelBinding::Require,
            Some(_) => {
                return Err(SettingsError::parameter("channel_binding", "must be disable, prefer or require"));
            }
        };
        config.channel_binding(binding);
        Ok(())
    }

    /// Configures TCP keepalives, which detect a server that disappears without closing the connection.
    fn keepalives(&mut self, config: &mut Config) -> Result<(), SettingsError> {
        const DAY: u64 = 24 * 3600;
        let on = self.number("keepalives", 0, 1)?;
        config.keepalives(on != Some(0));
        config.keepalives_idle(Duration::from_secs(self.number("keepalives_idle", 1, DAY)?.unwrap_or(30)));
        if let Some(seconds) = self.number("keepalives_interval", 1, DAY)? {
            config.keepalives_interval(Duration::from_secs(seconds));
        }
        // The first name is libpq's, the second that of the Rust library.
        for name in ["keepalives_count", "keepalives_retries"] {
            if let Some(count) = self.number(name, 1, 100)? {
                config.keepalives_retries(u32::try_from(count).unwrap_or(u32::MAX));
            }
        }
        let unacknowledged = self.number("tcp_user_timeout", 1, DAY * 1000)?;
        config.tcp_user_timeout(unacknowledged.map_or(CALL_MAX, Duration::from_millis));
        Ok(())
    }

    fn nothing_is_left(&self) -> Result<(), SettingsError> {
        let Some((name, _)) = self.parameters.first() else { return Ok(()) };
        let is_name = name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"_.-".contains(&byte));
        let is_suspect = self.after_password.as_ref() == Some(name) && advice(name) == NO_ADVICE;
        if !is_name || is_suspect {
            let problem =
                "a parameter is not known; if it is a part of a password, percent-encode & as %26 and = as %3D";
            return Err(SettingsError::Syntax(problem.to_owned()));
        }
        Err(SettingsError::parameter(name, format!("is not supported: {}", advice(name))))
    }
}

/// Checks and returns a host in a form that can be connected to.
fn host_name(text: &str) -> Result<String, SettingsError> {
    let wrong = |problem: &str| Err(SettingsError::parameter("host", problem));
    if text.starts_with('/') {
        return Ok(text.to_owned());
    }
    if let Some(address) = text.strip_prefix('[') {
        return match address.strip_suffix(']') {
            Some(address) if address.parse::<IpAddr>().is_ok() => Ok(address.to_owned()),
            _ => wrong("must have only an IPv6 address in brackets: give the port by itself"),
        };
    }
    if text.parse::<IpAddr>().is_ok() {
        return Ok(text.to_owned());
    }
    if text.contains("://") {
        return wrong("must be the name of a host, not a URL: give a URL as DATABASE_URL");
    }
    if text.contains(':') {
        return wrong("must be a name or an address without a port: give the port by itself");
    }
    let is_part = |character: char| character.is_alphanumeric() || "-._".contains(character);
    if text.is_empty() || !text.chars().all(is_part) {
        return wrong("must be a host name, an IP address or the directory of a Unix socket");
    }
    Ok(text.to_owned())
}

/// Returns the names of the settings in `-c name=value --name=value`.
fn option_names(options: &str) -> Vec<String> {
    let mut words = options.split_whitespace();
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        let assignment = match word.strip_prefix("-c").or_else(|| word.strip_prefix("--")) {
            Some("") => words.next().unwrap_or_default(),
            Some(assignment) => assignment,
            None => continue,
        };
        let name = assignment.split_once('=').map_or(assignment, |(name, _)| name);
        names.push(name.replace('-', "_").to_ascii_lowercase());
    }
    names
}

/// Returns the alternative to an unsupported parameter.
fn advice(name: &str) -> &'static str {
    match name {
        "schema" | "currentSchema" | "search_path" => {
            "set it on the role, by ALTER ROLE … SET search_path = …, or give options=-c%20search_path%3D…"
        }
        "pgbouncer" | "statement_cache_size" | "prepareThreshold" | "prepared_statements" => {
            "leave it out; PgBouncer in session mode needs no parameter"
        }
        "ssl" | "requiressl" | "tls" | "sslMode" | "ssl_mode" => "give sslmode=require or, better, sslmode=verify-full",
        "sslcert" | "sslkey" | "sslpassword" | "sslcertmode" => {
            "client certificates are not; log in with a password, and leave it out"
        }
        "connection_limit" | "pool_size" | "max_connections" | "pool_timeout" | "pool" => {
            "leave it out, and set DB_POOL_SIZE"
        }
        "statement_timeout" | "lock_timeout" | "idle_in_transaction_session_timeout" => {
            "it is set for every connection; to set another value give options=-c%20NAME%3DVALUE"
        }
        "passfile" | "service" | "servicefile" => "give every parameter here, the password too",
        _ => NO_ADVICE,
    }
}

const NO_ADVICE: &str = "leave it out";

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> PostgresSettings {
        PostgresSettings::parse(text, 4).unwrap()
    }

    fn refused(text: &str) -> String {
        PostgresSettings::parse(text, 4).unwrap_err().to_string()
    }

    #[test]
    fn every_form_of_a_connection_string_asks_for_the_same_tls() {
        for text in [
            "postgres://u:p%3Fw@h/d?sslmode=require",
            "postgresql://u:p@h/d?application_name=x&sslmode=require",
            "host=h user=u password=p?w dbname=d sslmode=require",
            "host='h' sslmode = 'require' user=u",
        ] {
            let settings = parse(text);
            assert_eq!(settings.tls, Tls::Always(Verification::Nothing), "{text}");
            assert_eq!(settings.config.get_ssl_mode(), SslMode::Require, "{text}");
        }
        let parts = [("host", "h"), ("user", "u"), ("password", "p?w"), ("sslmode", "require")];
        assert_eq!(PostgresSettings::from_parts(parts, 4).unwrap().tls, Tls::Always(Verification::Nothing));
    }

    #[test]
    fn parameters_have_effect() {
        let settings = parse(
            "postgres://u:p@h/d?connect_timeout=7&keepalives_idle=11&keepalives_interval=12&keepalives_count=13&\
             tcp_user_timeout=1500&application_name=a&channel_binding=require&target_session_attrs=primary&\
             options=-c%20Statement-Timeout%3D1%20--lock_timeout%3D2",
        );
        let config = &settings.config;
        assert_eq!(settings.connect_timeout, Duration::from_secs(7));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(11));
        assert_eq!(config.get_keepalives_interval(), Some(Duration::from_secs(12)));
        assert_eq!(config.get_keepalives_retries(), Some(13));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
        assert_eq!(config.get_application_name(), Some("a"));
        assert_eq!(config.get_channel_binding(), ChannelBinding::Require);
        assert_eq!(settings.target, Target::Primary);
        assert_eq!(settings.own_options, ["statement_timeout", "lock_timeout"]);
        assert!(!parse("postgres://h/d?keepalives=0").config.get_keepalives());
        assert_eq!(parse("postgres://h/d?fallback_application_name=b").config.get_application_name(), Some("b"));
        assert_eq!(parse("postgres://h/d").config.get_application_name(), Some("movie-booking"));
    }

    #[test]
    fn several_hosts_are_searched_for_the_one_that_can_be_written_to() {
        let settings = parse("postgres://h1:1,h2:2/d");
        assert_eq!(settings.target, Target::ReadWrite);
        let servers: Vec<_> = settings.servers.iter().map(|server| (server.host.as_str(), server.port)).collect();
        assert_eq!(servers, [("h1", 1), ("h2", 2)]);
        assert_eq!(parse("postgres://h1,h2/d?target_session_attrs=any").target, Target::Any);
        assert_eq!(parse("postgres://h1/d").target, Target::Any);
        assert_eq!(parse("host=h1,h2 port=7").servers.iter().filter(|server| server.port == 7).count(), 2);
        for (text, name) in [
            ("host=h1,h2,h3 port=1,2", "port"),
            ("host=h1,h2 hostaddr=127.0.0.1", "hostaddr"),
            ("host=h1,,h2", "host"),
            ("hostaddr=h1", "hostaddr"),
        ] {
            assert!(refused(text).starts_with(name), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn hosts_are_names_addresses_and_socket_directories() {
        for (host, expected) in
            [("db", "db"), ("::1", "::1"), ("[::1]", "::1"), ("127.0.0.1", "127.0.0.1"), ("/run/x", "/run/x")]
        {
            let settings = PostgresSettings::from_parts([("host", host), ("user", "u")], 4).unwrap();
            assert_eq!(settings.servers, [Server { host: expected.to_owned(), address: None, port: 5432 }], "{host}");
        }
        for (host, advice) in [
            ("db:5433", "port"),
            ("postgres://db/d", "DATABASE_URL"),
            ("[::1]:5433", "port"),
            ("[::1", "brackets"),
            ("d b", "host name"),
            ("", "/var/run/postgresql"),
            ("@abstract", "host name"),
        ] {
            let error = PostgresSettings::from_parts([("host", host)], 4).unwrap_err().to_string();
            assert!(error.starts_with("host ") && error.contains(advice), "{host}: {error}");
        }
        assert!(refused("postgresql:///d").contains("localhost"), "{}", refused("postgresql:///d"));
    }

    #[test]
    fn tls_that_cannot_be_had_as_it_was_asked_for_is_rejected() {
        for (text, name) in [
            ("postgres://h/d?sslmode=verify", "sslmode"),
            ("host=/run/x sslmode=require", "sslmode"),
            ("host=/run/x,h sslmode=verify-full", "sslmode"),
            ("hostaddr=127.0.0.1 sslmode=verify-full", "sslmode"),
            ("postgres://h/d?sslrootcert=system&sslmode=require", "sslmode"),
            ("postgres://h/d?sslrootcert=/ca.pem", "sslrootcert"),
            ("postgres://h/d?sslrootcert=/ca.pem&sslmode=prefer", "sslrootcert"),
            ("postgres://h/d?sslrootcert=/ca.pem&sslmode=disable", "sslrootcert"),
        ] {
            assert!(refused(text).starts_with(&format!("{name} ")), "{text}: {}", refused(text));
        }
        assert!(refused("postgres://h/d?sslmode=verify-ca&sslrootcert=/no/such.pem").contains("/no/such.pem"));
        assert_eq!(parse("host=/run/x sslmode=prefer").tls, Tls::Never);
    }

    #[test]
    fn parameters_without_effect_are_rejected_by_name() {
        for name in [
            "schema",
            "pgbouncer",
            "sslcert",
            "sslkey",
            "ssl",
            "connection_limit",
            "statement_timeout",
            "passfile",
            "service",
            "requirepeer",
            "krbsrvname",
            "replication",
            "sslcrl",
            "min_protocol_version",
            "sslmod",
        ] {
            for text in [format!("postgres://u@h/d?{name}=x"), format!("host=h {name}=x")] {
                assert!(
                    refused(&text).starts_with(&format!("{name} is not supported: ")),
                    "{text}: {}",
                    refused(&text)
                );
            }
        }
        for (text, name) in [
            ("postgres://h/d?connect_timeout=0", "connect_timeout"),
            ("postgres://h/d?connect_timeout=2s", "connect_timeout"),
            ("postgres://h/d?keepalives=yes", "keepalives"),
            ("postgres://h/d?target_session_attrs=read-only", "target_session_attrs"),
            ("postgres://h/d?load_balance_hosts=random", "load_balance_hosts"),
            ("postgres://h/d?client_encoding=LATIN1", "client_encoding"),
            ("postgres://h/d?gssencmode=require", "gssencmode"),
            ("postgres://h/d?sslnegotiation=direct", "sslnegotiation"),
            ("postgres://h/d?channel_binding=yes", "channel_binding"),
            ("postgres://h:0/d", "port"),
            ("postgres://h:secret/d", "port"),
        ] {
            assert!(refused(text).starts_with(&format!("{name} ")), "{text}: {}", refused(text));
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let settings = parse("postgres://u:Pa55word@h/d");
        assert!(!format!("{settings:?}").contains("Pa55word"));
        for text in [
            "postgres://u:x?Pa55word@h/d",
            "postgres://h/d?password=x&Pa55word=y",
            "postgres://u:Pa55word",
            "host=h password=x Pa55word=",
            "host=h password=Pa55 word=Pa55",
            "postgres://h/d?password=Pa55&word=y",
            "host=h password=x Pa55word",
            "postgres://u:Pa55word@h/d?sslmode=verify",
        ] {
            assert!(!refused(text).contains("Pa55") && !refused(text).contains("word is"), "{text}: {}", refused(text));
        }
    }
}
