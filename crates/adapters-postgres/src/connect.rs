//! Connects to the database, checks each connection, and builds the pool.

use std::fmt::Display;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use deadpool::Runtime;
use diesel::result::ConnectionError;
use diesel_async::AsyncPgConnection;
use diesel_async::pooled_connection::deadpool::Pool;
use diesel_async::pooled_connection::{AsyncDieselConnectionManager, ManagerConfig, RecyclingMethod};
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use tokio_postgres::tls::{MakeTlsConnect, TlsConnect, TlsStream};
use tokio_postgres::{Client, Config, Connection, NoTls, Socket};

use crate::connect_error::{ConnectError, connect_error};
use crate::durability::{ServerState, observe};
use crate::error::DriverError;
use crate::session::{self, Role};
use crate::settings::{PostgresSettings, Server};
use crate::store::PostgresStore;
use crate::timeouts::{CALL_MAX, CONNECT_MAX};

/// The time after which an unanswered address is tried in parallel with the next one. An unreachable host does not answer at all, and a
/// caller must not wait for the whole `connect_timeout`.
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(500);
/// The pause before a database that was not ready is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(250);
/// The interval at which an unready database is logged.
const REPORT_EVERY: Duration = Duration::from_secs(1);

impl PostgresSettings {
    /// Returns a connection that is set up for its role. A task drives it until the client is dropped.
    async fn client(&self, role: Role) -> Result<Client, ConnectError> {
        let mut attempts = Vec::with_capacity(self.servers.len());
        for server in &self.servers {
            attempts.push(self.client_of_server(server, role).boxed());
        }
        race(attempts).await.map_err(combined)
    }

    async fn client_of_server(&self, server: &Server, role: Role) -> Result<Client, ConnectError> {
        let mut config = self.config.clone();
        config.port(server.port);
        if server.is_socket() {
            config.host_path(&server.host).ssl_mode(tokio_postgres::config::SslMode::Disable);
            return self.client_of_address(config, role, server.host.clone()).await;
        }
        let addresses = match server.address.or_else(|| server.host.parse().ok()) {
            Some(address) => vec![address],
            None => self.addresses(server).await?,
        };
        let mut attempts = Vec::with_capacity(addresses.len());
        for address in addresses {
            let mut config = config.clone();
            config.hostaddr(address);
            let host = if server.host.is_empty() { address.to_string() } else { server.host.clone() };
            config.host(&host);
            attempts.push(self.client_of_address(config, role, format!("{host} port {}", server.port)).boxed());
        }
        race(attempts).await.map_err(combined)
    }

    async fn addresses(&self, server: &Server) -> Result<Vec<IpAddr>, ConnectError> {
        let failed = |cause: &dyn Display| ConnectError::Unreachable(format!("{}: {cause}", server.host));
        let found = timeout(self.connect_timeout, tokio::net::lookup_host((server.host.as_str(), server.port))).await;
        let found = found.map_err(|_| failed(&"its name is not resolved in time"))?;
        let addresses: Vec<_> = found.map_err(|error| failed(&error))?.map(|address| address.ip()).collect();
        if addresses.is_empty() { Err(failed(&"its name has no address")) } else { Ok(addresses) }
    }

    /// Connects to one address, within `connect_timeout`.
    async fn client_of_address(&self, config: Config, role: Role, place: String) -> Result<Client, ConnectError> {
        let connect = async {
            let tls = self.connector().map_err(|error| ConnectError::Refused(error.to_string()))?;
            let client = match tls {
                None => driven_client(&config, NoTls).await,
                Some(tls) => driven_client(&config, tls).await,
            };
            let client = client.map_err(|error| connect_error(&error, &place))?;
            session::set_up(&client, self, role).await.map_err(|error| error.at(&place))?;
            Ok(client)
        };
        match timeout(self.connect_timeout, connect).await {
            Ok(connected) => connected,
            Err(_) => {
                let seconds = self.connect_timeout.as_secs();
                Err(ConnectError::Unreachable(format!("{place}: no answer within {seconds} s (connect_timeout)")))
            }
        }
    }

    /// Connects for a committer.
    pub(crate) async fn establish_for_committer(&self) -> Result<Client, ConnectError> {
        self.client(Role::Committer).await
    }

    /// Connects for the pool or for one job. After the connection is lost, every query fails as closed, whatever error the server sent
    /// last.
    pub(crate) async fn establish_one(&self) -> Result<AsyncPgConnection, ConnectError> {
        let client = self.client(Role::Any).await?;
        AsyncPgConnection::try_from(client).await.map_err(|error| ConnectError::Unreachable(error.to_string()))
    }
}

impl PostgresStore {
    /// Connects once, checks that acknowledged commits are durable, and builds a pool. The server may be a standby.
    pub async fn connect(settings: PostgresSettings) -> Result<Self, ConnectError> {
        Self::connect_as(settings, Role::Any).await
    }

    async fn connect_as(settings: PostgresSettings, role: Role) -> Result<Self, ConnectError> {
        let store = Self::unconnected(settings)?;
        let settings = store.settings();
        let first = settings.client(role).await?;
        // A pooler that shares sessions gives the second connection the session of the first, or moves the first to another session.
        let apart = match settings.client(role).await {
            Ok(second) => session::check_apart(&first, &second).await,
            // If no second connection is available at the moment, the check is skipped: the set-up of each later connection detects a
            // shared session.
            Err(error) if error.may_pass() => Ok(()),
            Err(error) => Err(error),
        };
        if let Err(error) = apart {
            session::clean_up(&first).await;
            return Err(error);
        }
        let observed = observe(&first).await.map_err(|error| ConnectError::Unreachable(error.to_string()))?;
        if store.server().durability().refuses(&observed.synchronous_commit) {
            return Err(ConnectError::NotReplicated { setting: observed.synchronous_commit });
        }
        // A server that rejects writes now may accept them shortly; the readiness check reports it.
        let _ = store.server().note(observed);
        store.keep_watch();
        Ok(store)
    }

    /// Connects like [`PostgresStore::connect`], but the database must accept writes. Waits at most `patience` for a database that is
    /// unreachable or not ready, and logs the cause every second.
    pub async fn connect_within(settings: PostgresSettings, patience: Duration) -> Result<Self, ConnectError> {
        let began = Instant::now();
        let deadline = began + patience;
        let mut report_at = began;
        let mut cause = ConnectError::Unreachable("no answer yet".to_owned());
        loop {
            let attempt = Self::connect_as(settings.clone(), Role::Writer);
            tokio::pin!(attempt);
            loop {
                tokio::select! {
                    connected = timeout_at(deadline.max(began + CONNECT_MAX), &mut attempt) => {
                        match connected {
                            Ok(Err(error)) if error.may_pass() => cause = error,
                            Ok(outcome) => return outcome,
                            Err(_) => {}
                        }
                        break;
                    }
                    () = sleep_until(report_at.max(began + REPORT_EVERY)) => {
                        report_waiting(&cause, deadline);
                        report_at = Instant::now() + REPORT_EVERY;
                    }
                }
            }
            if Instant::now() + RETRY_PAUSE >= deadline {
                let waited = began.elapsed();
                let in_vain = patience > Duration::ZERO;
                return Err(if in_vain { ConnectError::NotInTime { waited, cause: Box::new(cause) } } else { cause });
            }
            if Instant::now() >= report_at {
                report_waiting(&cause, deadline);
                report_at = Instant::now() + REPORT_EVERY;
            }
            sleep(RETRY_PAUSE).await;
        }
    }

    fn unconnected(settings: PostgresSettings) -> Result<Self, ConnectError> {
        let server = ServerState::new(settings.durability);
        let (for_pool, for_observing) = (settings.clone(), Arc::clone(&server));
        let mut config = ManagerConfig::<AsyncPgConnection>::default();
        // The default method queries the server at each checkout, which costs a needless round trip.
        config.recycling_method = RecyclingMethod::Fast;
        config.custom_setup = Box::new(move |_| {
            let (settings, server) = (for_pool.clone(), Arc::clone(&for_observing));
            async move {
                let bad = |error: &dyn Display| ConnectionError::BadConnection(error.to_string());
                let client = settings.client(Role::Any).await.map_err(|error| bad(&error))?;
                let observed = observe(&client).await.map_err(|error| bad(&error))?;
                // A connection that cannot write can still read. Writes check the server again.
                let _ = server.note(observed);
                AsyncPgConnection::try_from(client).await
            }
            .boxed()
        });
        // Each address has its own time limit, including the last one.
        let create_max = settings.servers.iter().fold(settings.connect_timeout, |sum, _| sum + NEXT_ADDRESS_AFTER);
        let manager = AsyncDieselConnectionManager::new_with_config("", config);
        let pool = Pool::builder(manager)
            .max_size(settings.pool_size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(CALL_MAX))
            .create_timeout(Some(create_max))
            .recycle_timeout(Some(CONNECT_MAX))
            .build()
            .map_err(|error| ConnectError::Pool(error.to_string()))?;
        Ok(Self::new(pool, settings, server))
    }
}

fn report_waiting(cause: &ConnectError, deadline: Instant) {
    let left = deadline.saturating_duration_since(Instant::now()).as_secs();
    tracing::warn!("waiting up to {left} s more for the database: {cause}");
}

/// Returns the first success. Starts the next attempt when an attempt fails, or when none has finished for [`NEXT_ADDRESS_AFTER`]. Running
/// attempts continue in parallel.
async fn race<T, E>(attempts: Vec<BoxFuture<'_, Result<T, E>>>) -> Result<T, Vec<E>> {
    let (mut waiting, mut running, mut errors) = (attempts.into_iter(), FuturesUnordered::new(), Vec::new());
    loop {
        match waiting.next() {
            Some(attempt) => running.push(attempt),
            None if running.is_empty() => return Err(errors),
            None => {}
        }
        match timeout(NEXT_ADDRESS_AFTER, running.next()).await {
            Ok(Some(Ok(success))) => return Ok(success),
            Ok(Some(Err(error))) => errors.push(error),
            Ok(None) | Err(_) => {}
        }
    }
}

/// Combines the errors of all addresses into one. An error that a retry cannot fix takes precedence, then one that a server returned.
fn combined(errors: Vec<ConnectError>) -> ConnectError {
    let (mut not_ready, mut texts) = (false, Vec::<String>::new());
    for error in errors {
        match error {
            ConnectError::NotReady(text) => {
                not_ready = true;
                texts.push(text);
            }
            ConnectError::Unreachable(text) => texts.push(text),
            lasting => return lasting,
        }
    }
    texts.dedup();
    let text = texts.join("; ");
    if not_ready { ConnectError::NotReady(text) } else { ConnectError::Unreachable(text) }
}

async fn driven_client<T>(config: &Config, tls: T) -> Result<Client, tokio_postgres::Error>
where
    T: MakeTlsConnect<Socket>,
    T::Stream: TlsStream + Unpin + Send + 'static,
    T::TlsConnect: TlsConnect<Socket>,
{
    config.connect(tls).await.map(driven)
}

/// Drives a connection in a separate task until its client is dropped or the server closes it.
fn driven<T>((client, connection): (Client, Connection<Socket, T>)) -> Client
where
    T: TlsStream + Unpin + Send + 'static,
{
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(error = %DriverError(error), "postgresql.connection.lost");
        }
    });
    client
}
