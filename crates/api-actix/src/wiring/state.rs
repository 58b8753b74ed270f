//! What every handler can reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adapters_auth::Argon2Passwords;
use adapters_redis::Redis;
use domain::admin::AdminService;
use domain::booking::{BookingService, CancelledShows, Rules};
use domain::catalog::CatalogService;
use domain::health::Dependency;
use domain::identity::IdentityService;
use domain::limits::RateLimiter;
use domain::pricing::PricingService;
use domain::random::{OperationId, Random};
use domain::reports::ReportService;
use domain::seating::SeatingService;
use domain::transfer::TransferService;

use crate::http::client_address::{ProxyWarnings, TrustedProxies};
use crate::settings::RateLimits;
use crate::telemetry;
use crate::telemetry::metrics::{Metrics, Readings};
use crate::telemetry::traces::Traces;

/// The settings that handlers need.
pub struct HttpSettings {
    pub rules: Rules,
    pub trusted_proxies: TrustedProxies,
    pub rate_limits: Option<RateLimits>,
}

/// The services, and what else handlers need.
pub struct AppState {
    pub identity: IdentityService,
    pub catalog: CatalogService,
    pub seating: SeatingService,
    pub pricing: PricingService,
    pub booking: Arc<BookingService>,
    pub cancelled_shows: CancelledShows,
    pub admin: AdminService,
    pub reports: ReportService,
    pub transfer: TransferService,
    pub limiter: Arc<dyn RateLimiter>,
    /// The dependencies that `/readyz` reports, required or not.
    pub dependencies: Vec<Arc<dyn Dependency>>,
    pub random: Arc<dyn Random>,
    pub metrics: Arc<Metrics>,
    /// The hashing of passwords, for its load in the metrics.
    pub passwords: Argon2Passwords,
    /// Redis, for its use in the metrics.
    pub redis: Option<Arc<Redis>>,
    /// The export of traces, if it is on.
    pub traces: Option<Traces>,
    pub proxy_warnings: ProxyWarnings,
    pub settings: HttpSettings,
    pub stopping: AtomicBool,
}

impl AppState {
    /// Creates an id for a request without one.
    pub fn draw_request_id(&self) -> String {
        format!("{:?}", OperationId::draw(self.random.as_ref()))
    }

    /// Reads the state that is not counted as it changes.
    pub fn readings(&self) -> Readings {
        Readings {
            queue_length: self.booking.queue.waiting(),
            pools: self.dependencies.iter().flat_map(|dependency| dependency.pools()).collect(),
            replicated: self.dependencies.iter().find_map(|dependency| dependency.is_replicated()),
            passwords: self.passwords.load(),
            redis: self.redis.as_ref().map(|redis| redis.report()),
            log_lines_dropped: telemetry::lines_dropped(),
        }
    }

    /// Returns whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
