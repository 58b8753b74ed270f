//! The state of the server as a session reports it: whether it accepts writes, how durable its commits are, and its history.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use diesel::QueryableByName;
use diesel::sql_types::{Bool, Text, Untyped};
use domain::StoreError;
use domain::booking::History;
use domain::health::Degradation;
use tokio_postgres::{Client, Row};

use crate::error::DriverError;
use crate::statement::statement;

/// The maximum age of a session's report, after which the session is queried again.
pub(crate) const OBSERVED_EVERY: Duration = Duration::from_secs(1);

/// How durable a commit must be before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Durability {
    /// On the disk of the primary. A failover to an asynchronous standby may lose it.
    #[default]
    Local,
    /// On the disk of a synchronous standby as well.
    Replicated,
}

impl Durability {
    /// Returns whether this value of `synchronous_commit` is too weak.
    pub(crate) fn refuses(self, synchronous_commit: &str) -> bool {
        match self {
            Self::Local => synchronous_commit == "off",
            Self::Replicated => ["off", "local", "remote_write"].contains(&synchronous_commit),
        }
    }
}

// A standby knows no current position in the log, and so no history that it could be asked for.
statement!(Observe: Untyped = "
    SELECT NOT pg_is_in_recovery() AND NOT current_setting('transaction_read_only')::boolean AS can_write,
        current_setting('synchronous_commit') AS synchronous_commit,
        current_setting('synchronous_standby_names') <> '' AS has_standbys,
        CASE WHEN pg_is_in_recovery() THEN '' ELSE
            (SELECT system_identifier::text FROM pg_control_system())
            || ':' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) END AS history");

/// The row of [`Observe`].
#[derive(QueryableByName)]
pub(crate) struct Observed {
    #[diesel(sql_type = Bool)]
    pub(crate) can_write: bool,
    #[diesel(sql_type = Text)]
    pub(crate) synchronous_commit: String,
    /// Whether commits wait for standbys.
    #[diesel(sql_type = Bool)]
    pub(crate) has_standbys: bool,
    /// Empty on a standby.
    #[diesel(sql_type = Text)]
    pub(crate) history: String,
}

/// Queries a session.
pub(crate) async fn observe(client: &Client) -> Result<Observed, DriverError> {
    use crate::statement::Statement as _;
    let observed = |row: Row| {
        Ok(Observed {
            can_write: row.try_get("can_write")?,
            synchronous_commit: row.try_get("synchronous_commit")?,
            has_standbys: row.try_get("has_standbys")?,
            history: row.try_get("history")?,
        })
    };
    client.query_one(Observe::SQL, &[]).await.and_then(observed).map_err(DriverError)
}

/// The reason why a server must not be written to.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
enum Refusal {
    #[error("PostgreSQL accepts no writes: it is a standby, or default_transaction_read_only is on")]
    ReadOnly,
    #[error("PostgreSQL runs with synchronous_commit={0}, which DB_DURABILITY does not allow: set it to on")]
    NotDurable(String),
}

/// The last reported state of the server, shared by all connections to it.
#[derive(Debug)]
pub(crate) struct ServerState {
    durability: Durability,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    history: History,
    refusal: Option<Refusal>,
    /// Whether commits wait for a standby. `None` before the first session, and if replication is not required.
    replicated: Option<bool>,
}

impl ServerState {
    pub(crate) fn new(durability: Durability) -> Arc<Self> {
        Arc::new(Self { durability, known: Mutex::default() })
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Returns the history that the newest session has observed.
    pub(crate) fn history(&self) -> History {
        self.known().history.clone()
    }

    /// Returns whether commits are replicated, if replication is required.
    pub(crate) fn is_replicated(&self) -> Option<bool> {
        self.known().replicated
    }

    /// Stores a session's report, logs what has changed, and returns the history that the session continues. Fails if the session must not
    /// write.
    pub(crate) fn note(&self, observed: Observed) -> Result<History, StoreError> {
        let Observed { can_write, synchronous_commit, has_standbys, history } = observed;
        let refusal = if !can_write {
            Some(Refusal::ReadOnly)
        } else if self.durability.refuses(&synchronous_commit) {
            Some(Refusal::NotDurable(synchronous_commit))
        } else {
            None
        };
        let mut known = self.known();
        if !history.is_empty() && *known.history.0 != *history {
            let earlier = std::mem::replace(&mut known.history, History(history.into()));
            if !earlier.0.is_empty() {
                tracing::warn!(earlier = %earlier.0, now = %known.history.0, "postgresql.history.changed");
            }
        }
        if known.refusal != refusal {
            match &refusal {
                Some(refusal) => tracing::error!(%refusal, "postgresql.not_writable"),
                None => tracing::info!("postgresql.writable"),
            }
            known.refusal.clone_from(&refusal);
        }
        if self.durability == Durability::Replicated && can_write && known.replicated != Some(has_standbys) {
            if !has_standbys {
                tracing::error!("postgresql.not_replicated");
            } else if known.replicated.is_some() {
                tracing::info!("postgresql.replicated");
            }
            known.replicated = Some(has_standbys);
        }
        match refusal {
            Some(refusal) => Err(StoreError::unavailable(refusal)),
            None => Ok(known.history.clone()),
        }
    }

    /// Returns the defects with which the server is still usable.
    pub(crate) fn degradations(&self) -> Vec<Degradation> {
        let unreplicated = self.is_replicated() == Some(false);
        let none = || {
            Degradation {
            name: "replication",
            state: "none",
            message: "Commits are not replicated: synchronous_standby_names of PostgreSQL is empty, but DB_DURABILITY is replicated."
                .to_owned(),
        }
        };
        unreplicated.then(none).into_iter().collect()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        // No code panics while it holds the lock, so a poisoned value is consistent.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
