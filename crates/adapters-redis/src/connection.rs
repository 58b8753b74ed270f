//! The one connection to Redis, or to each node of a cluster: bounded in time and number, and never waited for.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::StoreError;
use domain::clock::Timer;
use domain::health::{Degradation, Dependency};
use fred::clients::Client;
use fred::clients::WithOptions;
use fred::error::Error;
use fred::interfaces::{ClientLike as _, EventInterface as _};
use fred::types::ConnectHandle;
use fred::types::config::{
    ConnectionConfig, Options, PerformanceConfig, ReconnectPolicy, TcpConfig, UnresponsiveConfig,
};
use thiserror::Error as ThisError;
use tokio::sync::Semaphore;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::AbortHandle;

use crate::breaker::Breaker;
use crate::settings::RedisSettings;

/// How long a command may take. Longer costs every request that much whenever Redis is slow.
const COMMAND_MAX: Duration = Duration::from_millis(25);
/// How many calls may wait for an answer at once. More than that are refused.
const IN_FLIGHT_MAX: usize = 256;
/// After how long without an answer the connection itself is given up. Less than what the breaker waits between two tries, or
/// each of them would restart the wait.
const UNRESPONSIVE_AFTER: Duration = Duration::from_millis(500);
/// How often it is looked for that.
const UNRESPONSIVE_INTERVAL: Duration = Duration::from_millis(100);
/// How long connecting may take, TLS included, and each command that sets a connection up.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// How long it is waited before connecting again: this at first, doubled each time up to the second.
const RECONNECT_AFTER_MS: (u32, u32) = (50, 2_000);
/// What is added at random, so that servers don't all come at once.
const RECONNECT_JITTER_MS: u32 = 100;
/// How long it is waited where the client has given up for good, as it does for answers that it takes for mistakes in its
/// settings.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// What became of the calls to Redis since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedisReport {
    /// Whether the circuit breaker is open: calls are refused without asking Redis.
    pub open: bool,
    /// How many calls Redis has answered.
    pub succeeded: u64,
    /// How many it has not, or not in time, or by an error.
    pub failed: u64,
    /// How many were not made: the breaker was open, or too many were under way.
    pub refused: u64,
}

/// Why a call has no answer.
#[derive(Debug, ThisError)]
pub(crate) enum CallError {
    /// It was not made.
    #[error("Redis has failed too often to be asked now, or too many wait for it")]
    Refused,
    /// It has failed. What Redis says is left out: it may repeat what it was sent.
    #[error("Redis has not answered as it should: {}", class(.0))]
    Failed(Error),
}

/// Redis, or what is left of it.
pub struct Redis {
    client: WithOptions<Client>,
    breaker: Breaker,
    in_flight: Semaphore,
    keeper: AbortHandle,
}

impl Redis {
    /// Begins to connect, and goes on trying for as long as this value lives. Nobody waits for it: calls fail at once until there is
    /// a connection. Needs an async runtime.
    pub fn connect(settings: &RedisSettings, timer: Arc<dyn Timer>) -> Arc<Self> {
        Self::connect_within(settings, timer, COMMAND_MAX)
    }

    /// Returns the same, for tests of what is shared: a machine that is busy with other tests may be slower than any server should be.
    #[cfg(feature = "testing")]
    pub fn connect_patiently(settings: &RedisSettings, timer: Arc<dyn Timer>) -> Arc<Self> {
        Self::connect_within(settings, timer, Duration::from_secs(10))
    }

    fn connect_within(settings: &RedisSettings, timer: Arc<dyn Timer>, command_max: Duration) -> Arc<Self> {
        let (delay_min, delay_max) = RECONNECT_AFTER_MS;
        let mut policy = ReconnectPolicy::new_exponential(0, delay_min, delay_max, 2);
        policy.set_jitter(RECONNECT_JITTER_MS);
        let performance = PerformanceConfig { default_command_timeout: command_max, ..PerformanceConfig::default() };
        let connection = ConnectionConfig {
            connection_timeout: CONNECT_MAX,
            internal_command_timeout: CONNECT_MAX,
            max_command_attempts: 1,
            max_redirections: 1,
            max_command_buffer_len: 2 * IN_FLIGHT_MAX,
            unresponsive: UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE_AFTER.max(command_max)),
                interval: UNRESPONSIVE_INTERVAL,
            },
            reconnect_on_auth_error: true,
            tcp: TcpConfig { nodelay: Some(true), ..TcpConfig::default() },
            ..ConnectionConfig::default()
        };
        let client = Client::new(settings.config.clone(), Some(performance), Some(connection), Some(policy));
        let keeper = tokio::spawn(keep_connected(client.clone())).abort_handle();
        // Without a connection a command fails at once. It is never sent twice.
        let options = Options {
            max_attempts: Some(1),
            max_redirections: Some(1),
            timeout: Some(command_max),
            fail_fast: true,
            ..Options::default()
        };
        let client = client.with_options(&options);
        Arc::new(Self { client, breaker: Breaker::new(timer), in_flight: Semaphore::new(IN_FLIGHT_MAX), keeper })
    }

    /// What became of the calls so far.
    pub fn report(&self) -> RedisReport {
        let (succeeded, failed, refused) = self.breaker.counts();
        RedisReport { open: self.breaker.is_open(), succeeded, failed, refused }
    }

    /// Sends one command, if the breaker lets it.
    pub(crate) async fn call<T>(
        &self,
        command: impl AsyncFnOnce(&WithOptions<Client>) -> Result<T, Error>,
    ) -> Result<T, CallError> {
        let Ok(_place) = self.in_flight.try_acquire() else {
            self.breaker.count_refused();
            return Err(CallError::Refused);
        };
        let attempt = self.breaker.attempt().ok_or(CallError::Refused)?;
        match command(&self.client).await {
            Ok(answer) => {
                if attempt.succeeded() {
                    tracing::info!("redis.breaker_closed");
                }
                Ok(answer)
            }
            Err(error) => {
                // Somebody has put another type of value at this very key: Redis itself is well.
                let is_well = error.details().starts_with("WRONGTYPE");
                if is_well {
                    attempt.succeeded();
                } else if attempt.failed() {
                    tracing::warn!(error = class(&error), "redis.breaker_opened");
                }
                Err(CallError::Failed(error))
            }
        }
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

#[async_trait]
impl Dependency for Redis {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn is_needed(&self) -> bool {
        false
    }

    async fn check(&self) -> Result<Vec<Degradation>, StoreError> {
        let answer: String =
            self.call(async |client| client.ping(None).await).await.map_err(StoreError::unavailable)?;
        if answer == "PONG" {
            Ok(Vec::new())
        } else {
            Err(StoreError::unavailable("Redis does not answer what it is asked"))
        }
    }
}

/// The client's own task, which ends with whoever holds it.
struct Connection(ConnectHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_connected(client: Client) {
    let (mut connected, mut failed) = (client.reconnect_rx(), client.error_rx());
    let mut connection = Connection(client.connect());
    // The last failure that was logged: an outage is not logged once for every try.
    let mut logged = None;
    loop {
        tokio::select! {
            event = connected.recv() => match event {
                Ok(server) => {
                    logged = None;
                    tracing::info!(host = &*server.host, port = server.port, "redis.connected");
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => connected = client.reconnect_rx(),
            },
            event = failed.recv() => match event {
                Ok((error, _)) => {
                    let class = class(&error);
                    if logged.as_ref() != Some(&class) {
                        tracing::warn!(error = class, "redis.not_connected");
                        logged = Some(class);
                    }
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => failed = client.error_rx(),
            },
            _ = &mut connection.0 => {
                tokio::time::sleep(RESTART_AFTER).await;
                connection = Connection(client.connect());
            }
        }
    }
}

/// What kind of failure it is, and the code that Redis gave it. Not the whole text: Redis may repeat a command in it, and with it
/// what nobody else may know.
fn class(error: &Error) -> String {
    let is_code =
        |word: &&str| word.len() > 1 && word.len() <= 20 && word.bytes().all(|byte| byte.is_ascii_uppercase());
    let code = error.details().split(' ').next().filter(is_code);
    code.map_or_else(|| error.kind().to_str().to_owned(), |code| format!("{}, {code}", error.kind().to_str()))
}

#[cfg(test)]
mod tests {
    use fred::error::ErrorKind;

    use super::*;

    #[test]
    fn what_redis_repeats_is_not_shown() {
        let shown = |details: &'static str| class(&Error::new(ErrorKind::Unknown, details));
        assert_eq!(shown("ERR unknown command 'AUTH', with args beginning with: 'secret'"), "Unknown Error, ERR");
        assert_eq!(shown("LOADING Redis is loading"), "Unknown Error, LOADING");
        assert_eq!(shown("secret"), "Unknown Error");
        let failed = CallError::Failed(Error::new(ErrorKind::Auth, "WRONGPASS secret"));
        assert!(!failed.to_string().contains("secret") && failed.to_string().ends_with("WRONGPASS"), "{failed}");
    }
}
