//! Limits on how often something may be tried, as a port.

use std::time::Duration;

use async_trait::async_trait;

use crate::StoreError;

/// How many tries a window of time allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// The tries a window allows.
    pub tries: u32,
    /// How long a window lasts. It begins with the first try.
    pub window: Duration,
}

/// What became of a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Whether the try is within the limit.
    pub allowed: bool,
    /// How many more tries the window allows.
    pub remaining: u32,
    /// How long until the window ends, and tries are allowed again.
    pub resets_in: Duration,
}

impl Allowance {
    /// What becomes of a try that is the `tries`-th of its window.
    pub fn of(limit: Limit, tries: u32, resets_in: Duration) -> Self {
        Self { allowed: tries <= limit.tries, remaining: limit.tries.saturating_sub(tries), resets_in }
    }
}

/// What one server has counted by a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The tries in the present window.
    pub tries: u32,
    /// How long until the window ends.
    pub resets_in: Duration,
    /// Grows with every change of any tally of this server: of two, the one with the greater is the later.
    pub change: u64,
}

/// Counts tries by name for one server alone. A limit that servers share is made of what each of them has counted.
#[async_trait]
pub trait TryCounter: Send + Sync {
    /// Counts a try, in the window that lasts, else in a new one of this length.
    async fn add(&self, name: &str, window: Duration) -> Tally;

    /// Takes back one try. `None` if no window lasts.
    async fn subtract(&self, name: &str) -> Option<Tally>;
}

/// Counts tries by name, in windows of time. What is counted where is the business of one server where it stands
/// alone, and of all of them together where they share a Redis.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Counts a try by `name`. A try beyond the limit is counted too, and changes nothing more: the
    /// window still ends when it would have.
    async fn count(&self, name: &str, limit: Limit) -> Result<Allowance, StoreError>;

    /// Takes back one try by `name`, if its window lasts.
    async fn take_back(&self, name: &str) -> Result<(), StoreError>;
}
