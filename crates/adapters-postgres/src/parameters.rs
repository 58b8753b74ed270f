//! Parses connection strings in libpq's two forms into parameters with libpq's names. [`crate::settings`] interprets them.

use percent_encoding::percent_decode_str;

use thiserror::Error;

use crate::tls::TlsError;

/// Settings that cannot work.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SettingsError {
    /// The text is not a connection string. The message does not contain the text.
    #[error("{0}")]
    Syntax(String),
    /// A parameter or its value is not supported.
    #[error("{name} {problem}")]
    Parameter {
        /// The parameter, by libpq's name.
        name: String,
        /// The problem, and the remedy.
        problem: String,
    },
    /// TLS cannot be set up.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl SettingsError {
    pub(crate) fn parameter(name: &str, problem: impl Into<String>) -> Self {
        Self::Parameter { name: name.to_owned(), problem: problem.into() }
    }
}

/// Parameters by libpq's names, in order.
pub(crate) type Parameters = Vec<(String, String)>;

const SCHEMES: [&str; 2] = ["postgres://", "postgresql://"];
const RESERVED: &str = "the user, the password or a parameter contains a character with a meaning of its own in URLs: \
     percent-encode ? as %3F, / as %2F, # as %23, @ as %40 and & as %26";

/// Parses `postgres://…`, `postgresql://…` or `host=… dbname=…`. No error contains a value, because it may be a part of a password.
pub(crate) fn parse(text: &str) -> Result<Parameters, SettingsError> {
    let text = text.trim();
    let parameters = match SCHEMES.iter().find_map(|scheme| text.strip_prefix(scheme)) {
        Some(rest) if rest.contains(char::is_control) => Err(syntax("it contains a line break or a control character")),
        Some(rest) => parse_url(rest),
        None if text.starts_with("jdbc:") => Err(syntax(
            "it is a JDBC URL: leave out `jdbc:`, and give the user as postgres://user:password@host:5432/database",
        )),
        None if text.split_once('=').map_or(text, |(before, _)| before).contains("://") || !text.contains('=') => {
            Err(syntax("it must begin with postgres:// or postgresql://, or have the form host=… user=… dbname=…"))
        }
        None => parse_pairs(text),
    }?;
    for (at, (name, _)) in parameters.iter().enumerate() {
        if parameters.iter().skip(at + 1).any(|(other, _)| other == name) {
            return Err(SettingsError::parameter(name, "is given twice: give it once"));
        }
    }
    Ok(parameters)
}

fn syntax(problem: &str) -> SettingsError {
    SettingsError::Syntax(problem.to_owned())
}

/// Parses the text after the scheme: `user:password@host:port,host:port/database?name=value&name=value`.
fn parse_url(rest: &str) -> Result<Parameters, SettingsError> {
    let (authority, tail) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (path, query) = tail.split_once('?').unwrap_or((tail, ""));
    // In `user:pa?ss@host/db?sslmode=require` the host could be mistaken for a parameter, and the parameter for a value.
    if rest.contains('#') || tail.contains('@') || query.contains('?') {
        return Err(syntax(RESERVED));
    }
    let mut parameters = Parameters::new();
    // A host contains no @, so the last one ends the password.
    let (login, hosts) = authority.rsplit_once('@').map_or((None, authority), |(login, hosts)| (Some(login), hosts));
    if let Some(login) = login {
        let (user, password) = login.split_once(':').map_or((login, None), |(user, password)| (user, Some(password)));
        if !user.is_empty() {
            parameters.push(("user".to_owned(), decoded(user)?));
        }
        if let Some(password) = password {
            parameters.push(("password".to_owned(), decoded(password)?));
        }
    }
    if !hosts.is_empty() {
        let (names, ports): (Vec<String>, Vec<String>) =
            hosts.split(',').map(split_host).collect::<Result<Vec<_>, _>>()?.into_iter().unzip();
        parameters.push(("host".to_owned(), names.join(",")));
        if ports.iter().any(|port| !port.is_empty()) {
            parameters.push(("port".to_owned(), ports.join(",")));
        }
    }
    let database = path.strip_prefix('/').unwrap_or_default();
    if database.contains('/') {
        return Err(syntax(
            "there is more than the name of a database after the host: percent-encode a / in it as %2F",
        ));
    }
    if !database.is_empty() {
        parameters.push(("dbname".to_owned(), decoded(database)?));
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(syntax("what follows the ? must be parameters of the form name=value, separated by &"));
        };
        parameters.push((decoded(name)?, decoded(value)?));
    }
    Ok(parameters)
}

/// Splits a host from its port, which may be empty.
fn split_host(text: &str) -> Result<(String, String), SettingsError> {
    let (host, port) = match text.strip_prefix('[').map(|rest| rest.split_once(']')) {
        Some(Some((address, after))) => {
            let port = if after.is_empty() { Some("") } else { after.strip_prefix(':') };
            let port = port.ok_or_else(|| syntax("only a port may follow an address in brackets, as in [::1]:5432"))?;
            (address, port)
        }
        Some(None) => return Err(syntax("the bracket before an IPv6 address is not closed, as in [::1]:5432")),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    if port.contains(':') {
        return Err(syntax("an IPv6 address must be in brackets, as in [::1]:5432"));
    }
    Ok((decoded(host)?, port.to_owned()))
}

/// Replaces percent-escapes. A % that begins no escape is an error.
fn decoded(text: &str) -> Result<String, SettingsError> {
    let is_escape = |rest: &str| rest.len() >= 2 && rest.bytes().take(2).all(|byte| byte.is_ascii_hexdigit());
    if !text.split('%').skip(1).all(is_escape) {
        return Err(syntax("a % in it is not followed by two hexadecimal digits: percent-encode it as %25"));
    }
    match percent_decode_str(text).decode_utf8() {
        Ok(decoded) if decoded.contains('\0') => Err(syntax("it contains a NUL character")),
        Ok(decoded) => Ok(decoded.into_owned()),
        Err(_) => Err(syntax("it is not UTF-8 once percent-escapes are replaced")),
    }
}

/// Parses `name = value` pairs separated by blanks. A value with blanks is in single quotes, and `\` escapes the next character.
fn parse_pairs(text: &str) -> Result<Parameters, SettingsError> {
    let mut parameters = Parameters::new();
    let mut rest = text.chars().peekable();
    loop {
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        let mut name = String::new();
        while let Some(character) = rest.next_if(|character| !character.is_whitespace() && *character != '=') {
            name.push(character);
        }
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        match rest.next() {
            None if name.is_empty() => return Ok(parameters),
            Some('=') if !name.is_empty() => {}
            _ => {
                return Err(syntax(
                    "it must be name=value pairs: put a value that contains blanks in single quotes, as in password='two words'",
                ));
            }
        }
        while rest.next_if(|character| character.is_whitespace()).is_some() {}
        let quoted = rest.next_if_eq(&'\'').is_some();
        let mut value = String::new();
        loop {
            match rest.next() {
                Some('\'') if quoted => break,
                None if quoted => return Err(syntax("a single quote is not closed")),
                None => break,
                Some(character) if character.is_whitespace() && !quoted => break,
                Some('\\') => value.extend(rest.next()),
                Some(character) => value.push(character),
            }
        }
        if value.contains('\0') {
            return Err(syntax("it contains a NUL character"));
        }
        parameters.push((name, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        let shown = parse(text).unwrap().into_iter().map(|(name, value)| format!("{name}={value}"));
        shown.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn both_forms_give_the_same_parameters() {
        for (text, parameters) in [
            ("postgres://u:p@h:1/d?sslmode=require", "user=u password=p host=h port=1 dbname=d sslmode=require"),
            ("postgresql://u@h/d", "user=u host=h dbname=d"),
            ("postgres://h1:1,h2,[::1]:3/d", "host=h1,h2,::1 port=1,,3 dbname=d"),
            ("postgres://[::1]/d", "host=::1 dbname=d"),
            ("postgres://u:%3F%2F%23%40%25%C3%9F:x@h/d", "user=u password=?/#@%ß:x host=h dbname=d"),
            // The last @ ends the password, because a host contains none.
            ("postgres://u:p@ss@h/d", "user=u password=p@ss host=h dbname=d"),
            ("postgres://u:@h/d", "user=u password= host=h dbname=d"),
            ("postgres://%2Fvar%2Frun/d", "host=/var/run dbname=d"),
            ("postgresql:///d?host=/var/run&user=u", "dbname=d host=/var/run user=u"),
            ("postgresql:///d", "dbname=d"),
            ("postgres://h", "host=h"),
            ("postgres://h?user=u", "host=h user=u"),
            ("postgres://u@h/d?options=-c%20geqo%3Doff", "user=u host=h dbname=d options=-c geqo=off"),
            ("  postgres://u@h/d\n", "user=u host=h dbname=d"),
            ("host=h user=u sslmode=require", "host=h user=u sslmode=require"),
            ("host = h  user= 'a b' password='it\\'s \\\\' dbname =d\n", "host=h user=a b password=it's \\ dbname=d"),
            ("password=pa?ss@#/ host=h", "password=pa?ss@#/ host=h"),
            ("password='' host=h", "password= host=h"),
        ] {
            assert_eq!(read(text), parameters, "{text}");
        }
    }

    #[test]
    fn ambiguous_and_malformed_strings_are_rejected_without_showing_them() {
        for (text, advice) in [
            ("postgres://u:sec?ret@h/d?sslmode=require", "%3F"),
            ("postgres://u:sec/ret@h/d?sslmode=require", "%2F"),
            ("postgres://u:sec#ret@h/d?sslmode=require", "%23"),
            ("postgres://u:x@sec/ret@h/d", "%40"),
            ("postgres://u@h/d?password=sec@ret", "%40"),
            ("postgres://u@h/d?application_name=secret?sslmode=require", "%3F"),
            ("postgres://u:sec%ret@h/d", "%25"),
            ("postgres://u:%00secret@h/d", "NUL"),
            ("postgres://u:%FFsecret@h/d", "UTF-8"),
            ("postgres://u:sec\nret@h/d", "line break"),
            ("postgres://u@h/d/secret", "%2F"),
            ("postgres://u@h/d?secret", "name=value"),
            ("postgres://u@::1:5432/d", "[::1]"),
            ("postgres://u@[::1/d", "not closed"),
            ("postgres://u@[::1]secret/d", "port"),
            ("jdbc:postgresql://secret/d", "jdbc:"),
            ("http://secret", "postgres://"),
            ("postgresql+asyncpg://secret/d?a=b", "postgres://"),
            ("secret", "postgres://"),
            ("", "postgres://"),
            ("host=h password=secret two", "single quotes"),
            ("host=h password='secret", "not closed"),
            ("postgres://u@h/d?sslmode=disable&sslmode=require", "sslmode is given twice"),
            ("host=h host=g", "host is given twice"),
            ("postgres://u@h/d?user=x", "user is given twice"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(advice), "{text:?}: {error}");
            assert!(!error.contains("sec") && !error.contains("ret"), "{text:?}: {error}");
        }
    }
}
