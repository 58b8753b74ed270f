//! The replay cache of idempotency keys, in the memory of this process.

use std::mem::size_of;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::booking::{KeyName, Replay, ReplayCache};
use moka::future::Cache;

/// The approximate memory of an entry without its texts and its response, in bytes: the overhead of the cache and the allocator.
const ENTRY_BYTES: usize = 256;

/// Caches responses in a bounded number of bytes, and evicts the least used ones.
pub struct LocalReplayCache {
    kept: Cache<KeyName, Arc<Replay>>,
}

impl LocalReplayCache {
    /// Caches responses for `ttl`, in about `bytes_max` bytes.
    pub fn new(bytes_max: u64, ttl: Duration) -> Self {
        let weigh = |key: &KeyName, replay: &Arc<Replay>| bytes(key, replay);
        Self { kept: Cache::builder().max_capacity(bytes_max).weigher(weigh).time_to_live(ttl).build() }
    }
}

#[async_trait]
impl ReplayCache for LocalReplayCache {
    async fn recall(&self, key: &KeyName) -> Option<Replay> {
        Some(self.kept.get(key).await?.as_ref().clone())
    }

    async fn remember(&self, key: &KeyName, replay: &Replay) {
        self.kept.insert(key.clone(), Arc::new(replay.clone())).await;
    }
}

/// Returns the approximate size of an entry in bytes.
fn bytes(key: &KeyName, replay: &Replay) -> u32 {
    let texts = key.scope.0.len() + key.key.as_str().len();
    let whole = ENTRY_BYTES + size_of::<(KeyName, Replay)>() + texts + replay.body.len();
    u32::try_from(whole).unwrap_or(u32::MAX)
}
