//! The connection to Redis, or to each node of a cluster. Calls are bounded in time and number, and never wait for a connection.

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

/// The timeout of a command. While Redis is slow, every request is delayed by this much.
const COMMAND_MAX: Duration = Duration::from_millis(25);
/// The maximum number of concurrent calls. Further calls are refused.
const IN_FLIGHT_MAX: usize = 256;
/// The time without a response after which the connection is closed. It is less than the time for which an open breaker refuses calls,
/// because each probe would otherwise restart the wait.
const UNRESPONSIVE_AFTER: Duration = Duration::from_millis(500);
/// The interval of the checks for an unresponsive connection.
const UNRESPONSIVE_INTERVAL: Duration = Duration::from_millis(100);
/// The timeout of connecting, including TLS, and of each command that sets up a connection.
const CONNECT_MAX: Duration = Duration::from_secs(2);
/// The delay before a reconnection: the first value at first, then doubled after each failure up to the second value.
const RECONNECT_AFTER_MS: (u32, u32) = (50, 2_000);
/// The random addition to the delay, so that servers do not reconnect at the same time.
const RECONNECT_JITTER_MS: u32 = 100;
/// The delay before the client is restarted if it has stopped reconnecting. It stops after responses that it takes for errors in its
/// settings.
const RESTART_AFTER: Duration = Duration::from_secs(2);

/// The outcomes of the calls to Redis since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RedisReport {
    /// Whether the circuit breaker is open: calls are refused without being sent.
    pub open: bool,
    /// The number of calls that Redis has answered.
    pub succeeded: u64,
    /// The number of calls that had no response, a late one or an error.
    pub failed: u64,
    /// The number of calls that were not sent: the breaker was open, or too many calls were running.
    pub refused: u64,
}

/// The reason why a call has no response.
#[derive(Debug, ThisError)]
pub(crate) enum CallError {
    /// The call was not sent.
    #[error("Redis has failed too often to be asked now, or too many wait for it")]
    Refused,
    /// The call failed. The error text of Redis is left out, because it may repeat the command.
    #[error("Redis has not answered as it should: {}", class(.0))]
    Failed(Error),
}

/// A client of Redis. Redis need not be available.
pub struct Redis {
    client: WithOptions<Client>,
    breaker: Breaker,
    in_flight: Semaphore,
    keeper: AbortHandle,
}

impl Redis {
    /// Begins to connect in the background, and retries as long as this value lives. Calls fail at once until there is a connection.
    /// Requires an async runtime.
    pub fn connect(settings: &RedisSettings, timer: Arc<dyn Timer>) -> Arc<Self> {
        Self::connect_within(settings, timer, COMMAND_MAX)
    }

    /// Connects with a long timeout, for tests of shared state: a machine that is busy with other tests may be slower than a server should
    /// be.
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
        // Without a connection, a command fails at once. It is never sent twice.
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

    /// Returns the outcomes of the calls so far.
    pub fn report(&self) -> RedisReport {
        let (succeeded, failed, refused) = self.breaker.counts();
        RedisReport { open: self.breaker.is_open(), succeeded, failed, refused }
    }

    /// Sends one command, if the breaker allows it.
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
                // Another program has stored a value of another type under this key: Redis itself works.
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

/// The client's task, which ends when this value is dropped.
struct Connection(ConnectHandle);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn keep_connected(client: Client) {
    let (mut connected, mut failed) = (client.reconnect_rx(), client.error_rx());
    let mut connection = Connection(client.connect());
    // The last failure that was logged, so that an outage is not logged for every attempt.
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

/// Returns the kind of a failure and the error code of Redis. The full text is left out, because Redis may repeat a command in it, and with
/// it confidential data.
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
