//! The known sites of accounts, in Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::clock::Clock;
use domain::identity::KnownSites;
use domain::limits::ClientNetwork;
use fred::interfaces::KeysInterface as _;
use fred::types::Expiration;

use crate::connection::Redis;
use crate::seal::{MAC_BYTES, Mac, ServerKey};

/// The number of bytes of an entry: its expiry and a MAC.
const ENTRY_BYTES: usize = 8 + MAC_BYTES;

/// The known sites of accounts, shared by all servers that have the same secret and the same Redis, and also kept in this process.
///
/// An entry is stored under a MAC of account and site, so that Redis learns neither. It carries a MAC over both and the expiry, so that no
/// other program can create one. A malicious Redis can hide entries, or return those that have not expired.
pub struct RedisKnownSites {
    redis: Arc<Redis>,
    key: ServerKey,
    own: Arc<dyn KnownSites>,
    ttl: Duration,
    clock: Arc<dyn Clock>,
}

impl RedisKnownSites {
    /// Shares the sites of `own` for `ttl`.
    pub fn new(
        redis: Arc<Redis>,
        key: ServerKey,
        own: Arc<dyn KnownSites>,
        ttl: Duration,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { redis, key, own, ttl, clock }
    }

    fn name(&self, account: &str, site: ClientNetwork) -> String {
        let name = self.key.mac("site name").text(account.as_bytes()).text(site.to_string().as_bytes());
        format!("movie-booking:site:{}", name.hex())
    }

    fn mac(&self, account: &str, site: ClientNetwork, expires: i64) -> Mac {
        self.key.mac("site").text(account.as_bytes()).text(site.to_string().as_bytes()).number(expires)
    }
}

#[async_trait]
impl KnownSites for RedisKnownSites {
    async fn remember(&self, account: &str, site: ClientNetwork) {
        self.own.remember(account, site).await;
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        let expires = self.clock.now().timestamp_millis().saturating_add(ttl);
        let mut entry = expires.to_be_bytes().to_vec();
        entry.extend_from_slice(&self.mac(account, site, expires).bytes());
        let name = self.name(account, site);
        // If this fails, this server still knows the site.
        let _ = self
            .redis
            .call(async |client| {
                client.set::<(), _, _>(name, entry.as_slice(), Some(Expiration::PX(ttl)), None, false).await
            })
            .await;
    }

    async fn is_known(&self, account: &str, site: ClientNetwork) -> bool {
        if self.own.is_known(account, site).await {
            return true;
        }
        let name = self.name(account, site);
        // One byte more than an entry has: a longer value is invalid.
        let read = self.redis.call(async |client| client.getrange::<Vec<u8>, _>(name, 0, ENTRY_BYTES).await).await;
        let Ok(entry) = read else { return false };
        let Some((expires, mac)) = entry.split_first_chunk::<8>() else { return false };
        let expires = i64::from_be_bytes(*expires);
        expires > self.clock.now().timestamp_millis() && self.mac(account, site, expires).is(mac)
    }
}
