//! What every handler can reach.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adapters_auth::Argon2Passwords;
use adapters_redis::Redis;
use domain::booking::{BookingService, Rules};
use domain::catalog::CatalogService;
use domain::health::Dependency;
use domain::identity::IdentityService;
use domain::limits::RateLimiter;
use domain::random::{OperationId, Random};
use domain::seating::SeatingService;

use crate::http::client_address::{ProxyWarnings, TrustedProxies};
use crate::settings::RateLimits;
use crate::telemetry;
use crate::telemetry::metrics::{Metrics, Readings};
use crate::telemetry::traces::Traces;

/// Settings that handlers need.
pub struct HttpSettings {
    /// What the house allows.
    pub rules: Rules,
    /// Whose `X-Forwarded-For` is believed.
    pub trusted_proxies: TrustedProxies,
    /// How often something may be asked.
    pub rate_limits: Option<RateLimits>,
}

/// The services, wired.
pub struct AppState {
    /// Accounts and sessions.
    pub identity: IdentityService,
    /// Movies, theatres and shows.
    pub catalog: CatalogService,
    /// Seat maps.
    pub seating: SeatingService,
    pub booking: BookingService,
    /// Counts requests.
    pub limiter: Arc<dyn RateLimiter>,
    /// What the server depends on, needed or not.
    pub dependencies: Vec<Arc<dyn Dependency>>,
    /// Draws request ids.
    pub random: Arc<dyn Random>,
    /// What is counted.
    pub metrics: Arc<Metrics>,
    /// What hashes passwords, to tell how busy it is.
    pub passwords: Argon2Passwords,
    /// Redis, to tell what it was used for, where there is one.
    pub redis: Option<Arc<Redis>>,
    /// Where spans go, if they are exported.
    pub traces: Option<Traces>,
    /// Proxies whose clients are taken for one.
    pub proxy_warnings: ProxyWarnings,
    pub settings: HttpSettings,
    /// Whether the server is stopping.
    pub stopping: AtomicBool,
}

impl AppState {
    /// An id for a request that has none.
    pub fn draw_request_id(&self) -> String {
        format!("{:?}", OperationId::draw(self.random.as_ref()))
    }

    /// What the metrics tell besides what they count.
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

    /// Whether the server is stopping.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
