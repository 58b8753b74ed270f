//! Starting and stopping the server.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use actix_cors::Cors;
use actix_web::App;
use actix_web::dev::{Server, ServerHandle};
use actix_web::http::header::{self, HeaderName};
use actix_web::middleware::{Compress, from_fn};
use actix_web::web::Data;
use adapters_auth::{
    Argon2Passwords, JwtAccessTokens, JwtSecretError, OsRandom, RandomRefreshTokens, SystemClock, TokioTimer,
};
use adapters_local::{CachedLayouts, GuardedSessions, LocalKnownSites, LocalRateLimiter, LocalReplayCache, SITE_TTL};
use adapters_redis::{Redis, RedisKnownSites, RedisRateLimiter, RedisReplayCache, ServerKey};
use domain::admin::AdminService;
use domain::booking::{
    AnswerEncoder, BookingMeter, BookingService, CancelledShows, Committer, CommitterLimits, CommitterParts,
    ReplayCache, command_queue,
};
use domain::catalog::CatalogService;
use domain::error::with_sources;
use domain::health::Dependency;
use domain::identity::{AuthenticationLimit, IdentityService, IdentityTtl, KnownSites, PasswordHasher, SignUpLimit};
use domain::limits::RateLimiter;
use domain::pricing::PricingService;
use domain::reports::ReportService;
use domain::retention::RetentionService;
use domain::seating::SeatingService;
use domain::transfer::{TransferService, TransferStore};
use futures::future::join_all;
use secrecy::{ExposeSecret as _, SecretString};
use thiserror::Error;
use tokio::task::JoinHandle as Task;

use crate::calls;
use crate::calls::admin::JsonObjects;
use crate::calls::answers::JsonAnswers;
use crate::connection::{self, Serving};
use crate::demo::seeding::{SeedError, add_accounts, top_up};
use crate::http::client_address::ProxyWarnings;
use crate::http::middleware::{envelope, identify, leave_short_bodies};
use crate::settings::Config;
use crate::settings::secrets::{DemoAccounts, jwt_secret};
use crate::telemetry::metrics::Metrics;
use crate::telemetry::request_context::TracedPasswords;
use crate::telemetry::traces::{Traces, TracesError};
use crate::wiring::retention::keep_swept;
use crate::wiring::state::{AppState, HttpSettings};
use crate::wiring::stores::{OpenStore, Purpose, StoreStartError};

/// How many commands wait for one committer at most.
const QUEUE_MAX: usize = 1024;
/// How much memory the answers of idempotency keys may take where there is no Redis: some ten thousand answers.
const REPLAY_CACHE_BYTES: u64 = 16 * 1024 * 1024;
/// How long what was accepted may take once the server stops: ten seconds, less what ending takes.
const STOP_MAX_SECONDS: u64 = 9;
/// How often a demo store is topped up with shows.
const TOP_UP_EVERY: Duration = Duration::from_secs(3600);
/// How often a server looks for bookings of cancelled shows. The call that cancels a show cancels them at once; this is for what a stopped
/// server has left.
const CANCELLED_SHOWS_EVERY: Duration = Duration::from_secs(30);

/// The reason why the server did not start.
#[derive(Debug, Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] StoreStartError),
    #[error("the demo data cannot be written: {0}")]
    Seed(#[from] SeedError),
    #[error(
        "{address} cannot be listened on: {source}. Set {setting} or HOST to something else, or stop what is there"
    )]
    Listen {
        /// The setting that names the port.
        setting: &'static str,
        address: SocketAddr,
        source: io::Error,
    },
    #[error("JWT_SECRET cannot be used: {0}")]
    Secret(#[from] JwtSecretError),
    #[error("traces cannot be exported: {0}. Look at OTEL_EXPORTER_OTLP_ENDPOINT and the other OTEL_ settings")]
    Traces(#[from] TracesError),
    #[error("the server cannot start: {0}")]
    System(#[from] io::Error),
}

/// A server that listens.
pub struct RunningServer {
    pub address: SocketAddr,
    /// The address of `METRICS_PORT`, if it is set.
    pub metrics_address: Option<SocketAddr>,
    /// The demo accounts of a demo store.
    pub demo_accounts: Option<DemoAccounts>,
    listener: Listener,
    metrics_listener: Option<Listener>,
    committers: Vec<JoinHandle<()>>,
    background: Vec<Task<()>>,
    state: Data<AppState>,
    store: OpenStore,
}

/// A listening port.
struct Listener {
    address: SocketAddr,
    handle: ServerHandle,
    server: Task<io::Result<()>>,
}

impl Listener {
    fn new(server: Server, address: SocketAddr) -> Self {
        Self { address, handle: server.handle(), server: tokio::spawn(server) }
    }

    /// Stops accepting connections, and ends: after the accepted requests if `graceful`, else at once.
    async fn stop(self, graceful: bool) -> io::Result<()> {
        self.handle.stop(graceful).await;
        self.server.await.map_err(io::Error::other)?
    }
}

/// Opens the store, wires the services and listens. Needs a multi-threaded runtime.
pub async fn start(config: &Config, purpose: Purpose) -> Result<RunningServer, StartError> {
    let store = OpenStore::open(config, purpose).await?;
    let passwords = Argon2Passwords::default();
    let demo_accounts = if config.values.demo_data { prepare_demo(&store, &passwords).await? } else { None };
    let (mut state, committers) = wire(config, &store, passwords)?;
    state.traces = start_traces(config).await?;
    let state = Data::new(state);
    let committers = committers.into_iter().enumerate().map(run_committer).collect::<io::Result<Vec<_>>>()?;
    // Metrics first: a server that responds already must not end because the other port is taken.
    let metrics_listener =
        config.values.metrics_port.map(|port| listen_for_metrics(config, port, &state)).transpose()?;
    let listener = listen(config, &state)?;
    let retention = RetentionService::new(
        Arc::clone(&store.ports.retention),
        config.values.idempotency_ttl,
        config.values.audit_ttl,
    );
    let mut background = vec![keep_swept(retention, OsRandom), keep_shows_cancelled(state.cancelled_shows.clone())];
    background.extend(demo_accounts.is_some().then(|| keep_topped_up(Arc::clone(&store.ports.transfer))));
    Ok(RunningServer {
        address: listener.address,
        metrics_address: metrics_listener.as_ref().map(|listener| listener.address),
        demo_accounts,
        listener,
        metrics_listener,
        committers,
        background,
        state,
        store,
    })
}

impl RunningServer {
    /// Serves until `stop` completes, and stops.
    pub async fn run_until(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        stop.await;
        tracing::info!("server.stopping");
        self.stop().await
    }

    /// Stops accepting requests, finishes the accepted ones, and ends.
    pub async fn stop(self) -> io::Result<()> {
        self.state.stopping.store(true, Ordering::Relaxed);
        // Each refers to the store until it has ended.
        self.background.iter().for_each(Task::abort);
        join_all(self.background).await;
        let outcome = self.listener.stop(true).await;
        // Until here the metrics show the server ending.
        let outcome = match self.metrics_listener {
            Some(listener) => outcome.and(listener.stop(false).await),
            None => outcome,
        };
        if let Some(traces) = self.state.traces.clone() {
            traces.stop().await;
        }
        // Dropping the last sender of the queue: the committers answer what is in it, and end.
        drop(self.state);
        let (committers, store) = (self.committers, self.store);
        let ended = tokio::task::spawn_blocking(move || {
            committers.into_iter().for_each(|thread| drop(thread.join()));
            // A serving thread may still be closing the store, which the end of the process would interrupt.
            store.close();
        });
        let _ = tokio::time::timeout(Duration::from_secs(STOP_MAX_SECONDS), ended).await;
        outcome
    }
}

/// Seeds an unused embedded store, and tops up one that was seeded.
async fn prepare_demo(store: &OpenStore, passwords: &dyn PasswordHasher) -> Result<Option<DemoAccounts>, StartError> {
    let Some(directory) = &store.data_dir else { return Ok(None) };
    if let Some(accounts) = DemoAccounts::load(directory)? {
        // The store is empty if the first start was interrupted before the import. The accounts come first.
        if store.ports.seeder.is_empty().await.map_err(SeedError::from)? {
            add_accounts(store.ports.seeder.as_ref(), passwords, &accounts).await?;
        }
        top_up(&store.ports.transfer).await?;
        return Ok(Some(accounts));
    }
    if !store.ports.seeder.is_empty().await.map_err(SeedError::from)? {
        return Ok(None);
    }
    let accounts = DemoAccounts::draw();
    accounts.keep(directory)?;
    add_accounts(store.ports.seeder.as_ref(), passwords, &accounts).await?;
    top_up(&store.ports.transfer).await?;
    Ok(Some(accounts))
}

fn keep_topped_up(transfer: Arc<dyn TransferStore>) -> Task<()> {
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(TOP_UP_EVERY).await;
            match top_up(&transfer).await {
                Ok(report) => tracing::info!(shows = report.shows.added, "demo.topped_up"),
                Err(error) => tracing::warn!(error = with_sources(&error), "demo.not_topped_up"),
            }
        }
    })
}

/// Cancels the bookings of cancelled shows that a server has left when it stopped.
fn keep_shows_cancelled(shows: CancelledShows) -> Task<()> {
    tokio::spawn(async move {
        loop {
            match shows.finish_all().await {
                Ok(0) => {}
                Ok(bookings) => tracing::info!(bookings, "shows.bookings_cancelled"),
                Err(error) => tracing::warn!(error = with_sources(&error), "shows.bookings_left"),
            }
            tokio::time::sleep(CANCELLED_SHOWS_EVERY).await;
        }
    })
}

/// Starts the export of traces, if it is configured.
async fn start_traces(config: &Config) -> Result<Option<Traces>, StartError> {
    let Some(settings) = config.traces.clone() else { return Ok(None) };
    let started = tokio::task::spawn_blocking(move || Traces::start(&settings)).await;
    Ok(Some(started.map_err(io::Error::other)??))
}

fn wire(
    config: &Config,
    store: &OpenStore,
    passwords: Argon2Passwords,
) -> Result<(AppState, Vec<Committer>), StartError> {
    let random = Arc::new(OsRandom);
    let timer = Arc::new(TokioTimer);
    let secret = signing_secret(config, store)?;
    let Shared { limiter, sites, replays, redis } = share(config, &secret);
    let encoder: Arc<dyn AnswerEncoder> = Arc::new(JsonAnswers);
    let previous: Vec<_> = config.values.jwt_secret_previous.iter().cloned().collect();
    let metrics = Arc::new(Metrics::default());
    let meter: Arc<dyn BookingMeter> = metrics.clone();
    let mut dependencies = vec![store.ports.dependency.clone()];
    dependencies.extend(redis.clone().map(|redis| -> Arc<dyn Dependency> { redis }));
    let cache_bytes = config.values.seatmap_cache_mb * 1024 * 1024;
    let layouts = Arc::new(CachedLayouts::new(store.ports.layouts.clone(), cache_bytes));
    let parts = CommitterParts {
        rules: config.rules,
        layouts: layouts.clone(),
        encoder: encoder.clone(),
        random: random.clone(),
        timer: timer.clone(),
        meter: meter.clone(),
    };
    let limits = CommitterLimits {
        queue_max: QUEUE_MAX,
        batch_max: config.values.commit_batch_max,
        timeout: config.values.request_timeout,
    };
    let (queue, committers) = command_queue(store.ports.batches.clone(), &parts, limits);
    let guard = Arc::new(GuardedSessions::new(store.ports.sessions.clone(), timer.clone()));
    let booking = Arc::new(BookingService {
        queue,
        bookings: store.ports.bookings.clone(),
        holds: store.ports.holds.clone(),
        sessions: store.ports.sessions.clone(),
        encoder,
        replays,
        history: store.ports.history.clone(),
        meter,
    });
    let state = AppState {
        admin: AdminService {
            staff: store.ports.staff.clone(),
            changes: store.ports.changes.clone(),
            audit: store.ports.audit.clone(),
            bookings: store.ports.staff_bookings.clone(),
            counter: store.ports.counter.clone(),
            catalog: store.ports.catalog.clone(),
            layout_versions: store.ports.layout_versions.clone(),
            layouts: store.ports.layouts.clone(),
            prices: store.ports.prices.clone(),
            shows: store.ports.staff_shows.clone(),
            guard: guard.clone(),
            encoder: Arc::new(JsonObjects),
        },
        reports: ReportService { reports: store.ports.reports.clone(), catalog: store.ports.catalog.clone() },
        transfer: TransferService::new(store.ports.transfer.clone(), Arc::new(SystemClock)),
        identity: IdentityService {
            users: store.ports.users.clone(),
            sessions: store.ports.sessions.clone(),
            guard: guard.clone(),
            passwords: Arc::new(TracedPasswords(passwords.clone())),
            access_tokens: Arc::new(JwtAccessTokens::new(&secret, &previous, Arc::new(SystemClock))?),
            refresh_tokens: Arc::new(RandomRefreshTokens),
            failures: limiter.clone(),
            sites,
            limit: AuthenticationLimit(config.rate_limits.map(|limits| limits.authentication_failures)),
            sign_up_limit: SignUpLimit(config.rate_limits.map(|limits| limits.sign_ups)),
            ttl: IdentityTtl {
                access_token: config.values.access_token_ttl,
                refresh_token: config.values.refresh_token_ttl,
            },
        },
        catalog: CatalogService { store: store.ports.catalog.clone() },
        pricing: PricingService { store: store.ports.prices.clone() },
        seating: SeatingService { seating: store.ports.seating.clone(), layouts },
        cancelled_shows: CancelledShows { store: store.ports.cancelled_shows.clone(), booking: booking.clone() },
        booking,
        limiter,
        dependencies,
        random,
        metrics,
        passwords,
        redis,
        traces: None,
        proxy_warnings: ProxyWarnings::default(),
        settings: HttpSettings {
            rules: config.rules,
            trusted_proxies: config.values.trusted_proxies.clone(),
            rate_limits: config.rate_limits,
        },
        stopping: AtomicBool::new(false),
    };
    Ok((state, committers))
}

/// What servers share through Redis. Without Redis each server has its own.
struct Shared {
    limiter: Arc<dyn RateLimiter>,
    sites: Arc<dyn KnownSites>,
    replays: Arc<dyn ReplayCache>,
    redis: Option<Arc<Redis>>,
}

fn share(config: &Config, secret: &SecretString) -> Shared {
    let timer = Arc::new(TokioTimer);
    let own = Arc::new(LocalRateLimiter::new(timer.clone()));
    let own_sites = Arc::new(LocalKnownSites::default());
    let Some(settings) = &config.redis else {
        let replays = Arc::new(LocalReplayCache::new(REPLAY_CACHE_BYTES, config.values.idempotency_ttl));
        return Shared { limiter: own, sites: own_sites, replays, redis: None };
    };
    let clock = Arc::new(SystemClock);
    let key = ServerKey::derive(secret.expose_secret().as_bytes());
    let redis = Redis::connect(settings, timer);
    let replays = RedisReplayCache::new(redis.clone(), key.clone(), config.values.idempotency_ttl, clock.clone());
    let sites = RedisKnownSites::new(redis.clone(), key.clone(), own_sites, SITE_TTL, clock.clone());
    let limiter = RedisRateLimiter::new(redis.clone(), key, own, clock, &OsRandom);
    Shared { limiter: Arc::new(limiter), sites: Arc::new(sites), replays: Arc::new(replays), redis: Some(redis) }
}

fn signing_secret(config: &Config, store: &OpenStore) -> Result<SecretString, StartError> {
    match (&config.values.jwt_secret, &store.data_dir) {
        (Some(secret), _) => Ok(secret.clone()),
        (None, Some(directory)) => Ok(jwt_secret(directory)?),
        (None, None) => Err(JwtSecretError::TooShort { length: 0 }.into()),
    }
}

/// Starts a committer on a thread and a runtime of its own: it waits for its store only.
fn run_committer((number, committer): (usize, Committer)) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name(format!("committer-{number}")).spawn(move || runtime.block_on(committer.run()))
}

fn listen(config: &Config, state: &Data<AppState>) -> Result<Listener, StartError> {
    let address = SocketAddr::new(config.values.host, config.values.port);
    let app_state = state.clone();
    let origins = config.values.cors_origins.clone();
    let has_metrics = config.values.metrics_port.is_none();
    let application = move || {
        // The last one that is added is the first one that a request meets.
        App::new()
            .app_data(app_state.clone())
            .configure(|app| calls::configure(app, has_metrics))
            .wrap(from_fn(identify))
            .wrap(from_fn(leave_short_bodies))
            .wrap(Compress::default())
            .wrap(cors(&origins))
            .wrap(from_fn(envelope))
    };
    let open = || -> io::Result<Listener> {
        let listener = connection::listen(address)?;
        let address = listener.local_addr()?;
        let serving = Serving {
            workers: None,
            keep_alive: config.values.keep_alive,
            stop_max_seconds: STOP_MAX_SECONDS,
            state: state.clone(),
        };
        Ok(Listener::new(connection::serve(listener, serving, application)?, address))
    };
    open().map_err(|source| StartError::Listen { setting: "PORT", address, source })
}

/// Listens on a port for the metrics only.
fn listen_for_metrics(config: &Config, port: u16, state: &Data<AppState>) -> Result<Listener, StartError> {
    let address = SocketAddr::new(config.values.host, port);
    let app_state = state.clone();
    let application = move || {
        App::new()
            .app_data(app_state.clone())
            .configure(calls::configure_metrics_port)
            .wrap(from_fn(identify))
            .wrap(from_fn(leave_short_bodies))
            .wrap(Compress::default())
            .wrap(from_fn(envelope))
    };
    let open = || -> io::Result<Listener> {
        let listener = connection::listen(address)?;
        let address = listener.local_addr()?;
        let serving = Serving {
            workers: Some(1),
            keep_alive: config.values.keep_alive,
            stop_max_seconds: STOP_MAX_SECONDS,
            state: state.clone(),
        };
        Ok(Listener::new(connection::serve(listener, serving, application)?, address))
    };
    open().map_err(|source| StartError::Listen { setting: "METRICS_PORT", address, source })
}

fn cors(origins: &[String]) -> Cors {
    let exposed = [
        header::ETAG,
        header::LINK,
        header::LOCATION,
        header::RETRY_AFTER,
        HeaderName::from_static("ratelimit"),
        HeaderName::from_static("ratelimit-policy"),
        HeaderName::from_static("idempotent-replayed"),
        HeaderName::from_static("x-request-id"),
    ];
    let cors = Cors::default()
        .allowed_methods(["GET", "HEAD", "POST", "PATCH", "DELETE"])
        .allow_any_header()
        .expose_headers(exposed)
        .block_on_origin_mismatch(false)
        .max_age(3600);
    origins.iter().fold(cors, |cors, origin| cors.allowed_origin(origin))
}

/// Completes at the signal to stop: SIGTERM, Ctrl-C, or SIGHUP when the terminal closes. Signals count from now on,
/// not only from when the future is awaited.
pub fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        // `nohup` starts a process with SIGHUP ignored, so that it outlives its terminal. A handler would end that.
        let mut hangup = if ignores_hangup() { None } else { Some(signal(SignalKind::hangup())?) };
        Ok(async move {
            let hung_up = async {
                match &mut hangup {
                    Some(hangup) => drop(hangup.recv().await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
                () = hung_up => {}
            }
        })
    }
    #[cfg(not(unix))]
    Ok(async { drop(tokio::signal::ctrl_c().await) })
}

/// Returns whether the process was started with SIGHUP ignored. Known on Linux only.
#[cfg(unix)]
fn ignores_hangup() -> bool {
    #[cfg(target_os = "linux")]
    {
        // Signal 1 is the lowest bit of the mask.
        let status = procfs::process::Process::myself().and_then(|process| process.status());
        status.is_ok_and(|status| status.sigign & 1 != 0)
    }
    #[cfg(not(target_os = "linux"))]
    false
}
