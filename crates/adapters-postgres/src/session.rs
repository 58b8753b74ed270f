//! Sets up and checks every connection before it is used.
//!
//! Settings are changed by SQL after connecting, not by the start-up parameter `options`, which PgBouncer rejects or drops. They are read
//! back in another transaction, because a pooler that assigns a session to each transaction would lose them silently.

use std::collections::HashMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use crate::connect_error::{ConnectError, connect_error};
use crate::settings::{PostgresSettings, Target};

/// The oldest version that this program is tested with.
const VERSION_MIN: u32 = 150_000;

/// The limits of every connection, in milliseconds. The caller of a statement that takes longer has timed out; a lock that is not granted
/// within a second is held by a stuck session.
const LIMITS: [(&str, &str); 3] =
    [("statement_timeout", "5000"), ("lock_timeout", "1000"), ("idle_in_transaction_session_timeout", "10000")];
/// Additional settings of a committer's connection. With PostgreSQL's defaults, small batches are planned again at each execution, and a
/// plan made while tables were empty keeps scanning them.
const PLANNER: [(&str, &str); 4] = [
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
];
/// A custom setting that marks the session of a connection.
const MARK: &str = "movie_booking.connection";

/// The purpose of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Role {
    /// Reads, and writes if the server accepts them.
    Any,
    /// Requires a server that accepts writes.
    Writer,
    /// The booking path.
    Committer,
}

/// The reason why a session cannot be used.
pub(crate) enum SessionError {
    /// A query failed.
    Query(tokio_postgres::Error),
    /// The server or a pooler is unsuitable.
    Unfit(ConnectError),
}

impl SessionError {
    /// Converts the error to the error of connecting to `place`.
    pub(crate) fn at(self, place: &dyn Display) -> ConnectError {
        match self {
            Self::Query(error) => connect_error(&error, place),
            Self::Unfit(ConnectError::NotReady(text)) => ConnectError::NotReady(format!("{place}: {text}")),
            Self::Unfit(error) => error,
        }
    }
}

impl From<tokio_postgres::Error> for SessionError {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Query(error)
    }
}

impl From<ConnectError> for SessionError {
    fn from(error: ConnectError) -> Self {
        Self::Unfit(error)
    }
}

/// Sets up a new connection and checks its server, in two round trips.
pub(crate) async fn set_up(client: &Client, settings: &PostgresSettings, role: Role) -> Result<(), SessionError> {
    let mark = new_mark();
    let mut wanted: Vec<(&str, &str)> = LIMITS.to_vec();
    if role == Role::Committer {
        wanted.extend(PLANNER);
    }
    wanted.retain(|(name, _)| settings.own_options.iter().all(|own| own != name));
    wanted.push((MARK, &mark));
    // Settings that the server does not know are left out, because the planner settings need not exist.
    let values: Vec<_> = wanted.iter().map(|(name, value)| format!("('{name}', '{value}')")).collect();
    let sql = format!(
        "SELECT current_setting('server_version_num') AS version_number, current_setting('server_version') AS version,
             current_setting('server_encoding') AS encoding, current_setting('synchronous_commit') AS durability, current_setting('lc_messages') AS messages,
             current_setting('transaction_read_only') AS read_only, pg_is_in_recovery() AS standby,
             current_database() AS database, coalesce(current_setting('{MARK}', true), '') AS mark;
         SELECT wanted.name, set_config(wanted.name, wanted.value, false) AS setting
         FROM (VALUES {}) AS wanted (name, value)
         WHERE wanted.name = '{MARK}' OR EXISTS (SELECT FROM pg_settings known WHERE known.name = wanted.name)",
        values.join(", ")
    );
    let mut rows = client.simple_query(&sql).await?.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(row),
        _ => None,
    });
    let server = rows.next().map(|row| Described::from(&row)).unwrap_or_default();
    let set: HashMap<String, String> = rows.map(|row| (text(&row, "name"), text(&row, "setting"))).collect();
    if let Some((missing, _)) =
        LIMITS.iter().find(|(name, _)| settings.own_options.iter().all(|own| own != name) && !set.contains_key(*name))
    {
        return Err(ConnectError::Refused(format!("the server does not know the setting {missing}")).into());
    }
    server.check(settings.target, role)?;
    if !server.mark.is_empty() {
        clean_up(client).await;
        return Err(ConnectError::Pooler("a new connection has the session of another one").into());
    }
    read_back(client, &set).await
}

/// Reads the settings back in another transaction, by a prepared statement.
async fn read_back(client: &Client, set: &HashMap<String, String>) -> Result<(), SessionError> {
    let names: Vec<_> = set.keys().collect();
    let sql = "SELECT name, coalesce(current_setting(name, true), '') FROM unnest($1::text[]) AS name";
    // A pooler may execute the statement in another session than the one in which it was prepared.
    let lost = |error: tokio_postgres::Error| match error.code() {
        Some(&SqlState::INVALID_SQL_STATEMENT_NAME | &SqlState::DUPLICATE_PSTATEMENT) => {
            SessionError::Unfit(ConnectError::Pooler("prepared statements get lost"))
        }
        _ => SessionError::Query(error),
    };
    let statement = client.prepare(sql).await.map_err(lost)?;
    let rows = client.query(&statement, &[&names]).await.map_err(lost)?;
    for row in rows {
        let (name, setting): (String, String) = (row.try_get(0)?, row.try_get(1)?);
        if set.get(&name) != Some(&setting) {
            clean_up(client).await;
            return Err(ConnectError::Pooler("settings get lost between two statements").into());
        }
    }
    Ok(())
}

/// Checks that two connections have separate sessions and keep them.
pub(crate) async fn check_apart(first: &Client, second: &Client) -> Result<(), ConnectError> {
    let mut processes = Vec::with_capacity(4);
    // A pooler assigns either the most recently used session or each session in turn. Two different clients in a row detect the first case,
    // and the same client twice detects the second.
    for client in [first, second, first, first] {
        let answer = client.simple_query("SELECT pg_backend_pid() AS pid").await;
        let messages = answer.map_err(|error| connect_error(&error, &"a new connection"))?;
        processes.extend(messages.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(text(row, "pid")),
            _ => None,
        }));
    }
    match processes.as_slice() {
        [own, other, again, last] if own != other && own == again && own == last => Ok(()),
        _ => Err(ConnectError::Pooler("two connections have the same session")),
    }
}

/// Resets the settings, because a pooler would pass them on to other programs.
pub(crate) async fn clean_up(client: &Client) {
    let names = LIMITS.iter().chain(&PLANNER).map(|(name, _)| *name).chain([MARK]);
    let sql: Vec<_> = names.map(|name| format!("RESET {name}")).collect();
    if let Err(error) = client.batch_execute(&sql.join("; ")).await {
        tracing::debug!(%error, "postgresql.session.not_reset");
    }
}

/// Returns a text that is unique to this connection.
fn new_mark() -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("{}-{time}-{count}", std::process::id())
}

fn text(row: &SimpleQueryRow, column: &str) -> String {
    row.try_get(column).ok().flatten().unwrap_or_default().to_owned()
}

/// The server's description of itself.
#[derive(Default)]
struct Described {
    version_number: u32,
    version: String,
    encoding: String,
    durability: String,
    messages: String,
    read_only: bool,
    standby: bool,
    database: String,
    mark: String,
}

impl From<&SimpleQueryRow> for Described {
    fn from(row: &SimpleQueryRow) -> Self {
        Self {
            version_number: text(row, "version_number").parse().unwrap_or_default(),
            version: text(row, "version"),
            encoding: text(row, "encoding"),
            durability: text(row, "durability"),
            messages: text(row, "messages"),
            read_only: text(row, "read_only") == "on",
            standby: text(row, "standby") == "t",
            database: text(row, "database"),
            mark: text(row, "mark"),
        }
    }
}

impl Described {
    fn check(&self, target: Target, role: Role) -> Result<(), ConnectError> {
        if self.version_number < VERSION_MIN {
            return Err(ConnectError::Version(self.version.clone()));
        }
        if self.encoding != "UTF8" {
            return Err(ConnectError::Encoding { database: self.database.clone(), encoding: self.encoding.clone() });
        }
        if self.durability == "off" {
            return Err(ConnectError::AsynchronousCommit);
        }
        if !is_english(&self.messages) {
            let (setting, database) = (self.messages.clone(), self.database.clone());
            return Err(ConnectError::MessageLanguage { setting, database });
        }
        if self.standby && (role == Role::Writer || target != Target::Any) {
            return Err(ConnectError::NotReady("it is a standby, which cannot be written to".to_owned()));
        }
        if self.read_only && (role == Role::Writer || target == Target::ReadWrite) {
            let text = "it is read-only: see default_transaction_read_only of the server, the database and the role";
            return Err(ConnectError::NotReady(text.to_owned()));
        }
        Ok(())
    }
}

/// Returns whether a locale's messages are in English. An empty locale is that of the server's environment, which is unknown here.
fn is_english(lc_messages: &str) -> bool {
    let language = lc_messages.split(['_', '.', '@', '-']).next().unwrap_or_default().to_ascii_lowercase();
    ["c", "posix", "en", "english"].contains(&language.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn english_locales_are_known_by_their_names() {
        for english in
            ["C", "C.UTF-8", "POSIX", "en_US.utf8", "en_GB", "en", "en-US-x-icu", "English_United States.1252"]
        {
            assert!(is_english(english), "{english}");
        }
        for other in ["", "de_DE.UTF-8", "fr", "eno_XX", "cs_CZ", "zh_CN.utf8"] {
            assert!(!is_english(other), "{other}");
        }
    }

    fn server() -> Described {
        Described {
            version_number: 180_001,
            version: "18.1".to_owned(),
            encoding: "UTF8".to_owned(),
            durability: "on".to_owned(),
            messages: "C".to_owned(),
            ..Described::default()
        }
    }

    #[test]
    fn servers_before_version_15_are_rejected() {
        assert!(server().check(Target::ReadWrite, Role::Writer).is_ok());
        assert!(Described { version_number: 150_000, ..server() }.check(Target::Any, Role::Any).is_ok());
        let old = Described { version_number: 140_012, version: "14.12".to_owned(), ..server() };
        let error = old.check(Target::Any, Role::Any).unwrap_err().to_string();
        assert!(error.contains("14.12") && error.contains("15 or later"), "{error}");
    }

    #[test]
    fn a_connection_to_a_standby_is_used_only_where_any_server_will_do() {
        let standby = Described { standby: true, read_only: true, ..server() };
        assert!(standby.check(Target::Any, Role::Any).is_ok());
        for (target, role) in
            [(Target::Any, Role::Writer), (Target::Primary, Role::Any), (Target::ReadWrite, Role::Any)]
        {
            assert!(standby.check(target, role).unwrap_err().may_pass());
        }
        let read_only = Described { read_only: true, ..server() };
        assert!(read_only.check(Target::Primary, Role::Any).is_ok());
        assert!(read_only.check(Target::ReadWrite, Role::Any).unwrap_err().may_pass());
    }
}
