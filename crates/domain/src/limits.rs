//! The port of rate limits, and the client network by which they count.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use async_trait::async_trait;

use crate::StoreError;

/// The source of a request as rate limits count it: an IPv4 address, or an IPv6 /64, because the owner of a /64 can use any of its
/// addresses.
///
/// An IPv4 address inside an IPv6 address counts as that IPv4 address: mapped (`::ffff:192.0.2.1`), or translated by NAT64
/// (`64:ff9b::192.0.2.1`, RFC 6052), where all of IPv4 would otherwise share one /64.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientNetwork {
    V4(Ipv4Addr),
    /// The first address of an IPv6 /64.
    V6(Ipv6Addr),
    /// The source is unknown.
    Unknown,
}

impl ClientNetwork {
    /// The prefix of NAT64 (RFC 6052, 2.1).
    const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

    /// Returns the network of an address.
    pub fn of(address: IpAddr) -> Self {
        let v6 = match address.to_canonical() {
            IpAddr::V4(v4) => return Self::V4(v4),
            IpAddr::V6(v6) => v6,
        };
        let [a, b, c, d, e, f, g, h] = v6.segments();
        if [a, b, c, d, e, f] == Self::NAT64 {
            let ([w, x], [y, z]) = (g.to_be_bytes(), h.to_be_bytes());
            return Self::V4(Ipv4Addr::new(w, x, y, z));
        }
        Self::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
    }
}

impl ClientNetwork {
    /// Returns the network in which a client usually stays when its address changes: the /24 of an IPv4 address, and the same /64 in IPv6.
    pub fn site(self) -> Self {
        match self {
            Self::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self::V4(Ipv4Addr::new(a, b, c, 0))
            }
            other => other,
        }
    }
}

impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(address) => address.fmt(f),
            Self::V6(first) => write!(f, "{first}/64"),
            Self::Unknown => f.write_str("unknown"),
        }
    }
}

/// A rate limit: the allowed tries in a window of time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Limit {
    /// The tries allowed in a window.
    pub tries: u32,
    /// The length of a window. It begins with the first try.
    pub window: Duration,
}

/// The result of counting a try.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Allowance {
    /// Whether the try is within the limit.
    pub allowed: bool,
    /// The number of further tries in the window.
    pub remaining: u32,
    /// The time until the window ends and tries are allowed again.
    pub resets_in: Duration,
}

impl Allowance {
    /// Returns the result for the `tries`-th try of a window.
    pub fn of(limit: Limit, tries: u32, resets_in: Duration) -> Self {
        Self { allowed: tries <= limit.tries, remaining: limit.tries.saturating_sub(tries), resets_in }
    }
}

/// The count of one name on one server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Tally {
    /// The tries in the present window.
    pub tries: u32,
    /// The time until the window ends.
    pub resets_in: Duration,
    /// Increases with every change of any tally of this server. Of two tallies, the one with the greater value is the later.
    pub change: u64,
}

/// Counts tries by name on one server. Limits that servers share are computed from the tallies of all servers.
#[async_trait]
pub trait TryCounter: Send + Sync {
    /// Counts a try in the live window, or in a new one of this length if there is none.
    async fn add(&self, name: &str, window: Duration) -> Tally;

    /// Takes back one try. Returns `None` if there is no live window.
    async fn subtract(&self, name: &str) -> Option<Tally>;
}

/// Counts tries by name, in windows of time. Counts belong to one server, or to all servers together if they share a Redis.
#[cfg_attr(feature = "mock", mockall::automock)]
#[async_trait]
pub trait RateLimiter: Send + Sync {
    /// Counts a try by `name`. A try beyond the limit is counted too, but does not extend the window.
    async fn count(&self, name: &str, limit: Limit) -> Result<Allowance, StoreError>;

    /// Takes back one try by `name`, if its window is live.
    async fn take_back(&self, name: &str) -> Result<(), StoreError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> String {
        ClientNetwork::of(address.parse().unwrap()).to_string()
    }

    #[test]
    fn ipv6_addresses_count_by_their_64() {
        assert_eq!(network("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(network("2001:db8:1:2:ffff:ffff:ffff:ffff"), "2001:db8:1:2::/64");
        assert_ne!(network("2001:db8:1:3::1"), "2001:db8:1:2::/64");
        assert_eq!(network("::1"), "::/64");
    }

    #[test]
    fn ipv4_addresses_count_alone_however_they_are_written() {
        for written in ["192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "64:ff9b::192.0.2.1"] {
            assert_eq!(network(written), "192.0.2.1", "{written}");
        }
        assert_eq!(network("192.0.2.2"), "192.0.2.2");
        assert_eq!(ClientNetwork::Unknown.to_string(), "unknown");
    }

    #[test]
    fn site_of_an_ipv4_address_is_its_24() {
        let site = |address: &str| ClientNetwork::of(address.parse().unwrap()).site();
        assert_eq!(site("192.0.2.1"), site("192.0.2.255"));
        assert_ne!(site("192.0.2.1"), site("192.0.3.1"));
        assert_eq!(site("2001:db8:1:2::3"), site("2001:db8:1:2::4"));
        assert_ne!(site("2001:db8:1:2::3"), site("2001:db8:1:3::3"));
    }
}
