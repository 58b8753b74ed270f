//! The replay cache of idempotency keys, in Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::booking::{Fingerprint, HoldId, KeyName, Replay, ReplayCache, Subject};
use domain::clock::Clock;
use domain::ids::{BookingId, ShowId};
use fred::interfaces::KeysInterface as _;
use fred::types::Expiration;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::mpsc;

use crate::connection::Redis;
use crate::seal::{MAC_BYTES, Mac, ServerKey};

/// The version of the entry format. An entry of another version is treated as missing.
const VERSION: u8 = 2;
/// The most bytes of an entry without the response: version, fingerprint, expiry, the length and the name of the subject, MAC.
const FRAME_BYTES: usize = 1 + 32 + 8 + 1 + MADE_MAX + MAC_BYTES;
/// The longest name of a subject: a hold's id, which has up to 46 characters, and a letter.
const MADE_MAX: usize = 47;
/// The longest response that is cached. Longer ones are read from the store.
const BODY_MAX: usize = 64 * 1024;
/// The maximum number of entries that wait to be written. Further entries are dropped.
const WAITING_MAX: usize = 1024;
/// The maximum number of concurrent writes.
const WRITTEN_AT_ONCE: usize = 32;

/// Caches responses in Redis, for all servers that have the same secret.
///
/// An entry is stored under a MAC of its key's full name, so that Redis learns neither users nor keys. The entry carries a MAC over that
/// name, the fingerprint, the subject, the expiry and the response. So only the servers can create or change an entry, move it to another
/// name, or extend its life.
pub struct RedisReplayCache {
    redis: Arc<Redis>,
    key: ServerKey,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    waiting: mpsc::Sender<Entry>,
}

/// An entry to write.
struct Entry {
    name: String,
    value: Vec<u8>,
}

impl RedisReplayCache {
    /// Caches responses for `ttl`. Requires an async runtime, on which entries are written in the background.
    pub fn new(redis: Arc<Redis>, key: ServerKey, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let (waiting, entries) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(redis.clone(), entries, i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        Self { redis, key, ttl, clock, waiting }
    }

    /// Returns the Redis key of an entry.
    fn name(&self, key: &KeyName) -> String {
        format!("movie-booking:replay:{}", named(self.key.mac("replay name"), key).hex())
    }

    /// Returns the MAC of an entry, over everything before the MAC.
    fn mac(&self, key: &KeyName, content: &[u8]) -> Mac {
        named(self.key.mac("replay entry"), key).text(content)
    }

    fn seal(&self, key: &KeyName, replay: &Replay) -> Vec<u8> {
        let Replay { fingerprint, subject, body } = replay;
        let subject = match subject {
            Subject::Booking(id) => format!("b{id}"),
            Subject::Hold(id) => format!("h{}", id.as_str()),
            Subject::Show(id) => format!("s{id}"),
        };
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        let expires = self.clock.now().timestamp_millis().saturating_add(ttl);
        let mut value = Vec::with_capacity(FRAME_BYTES + body.len());
        value.push(VERSION);
        value.extend_from_slice(&fingerprint.0);
        value.extend_from_slice(&expires.to_be_bytes());
        // Names of subjects are shorter than that.
        value.push(u8::try_from(subject.len()).unwrap_or_default());
        value.extend_from_slice(subject.as_bytes());
        value.extend_from_slice(body);
        let mac = self.mac(key, &value).bytes();
        value.extend_from_slice(&mac);
        value
    }

    fn open(&self, key: &KeyName, value: &[u8]) -> Option<Replay> {
        let (content, mac) = value.split_last_chunk::<MAC_BYTES>()?;
        if !self.mac(key, content).is(mac) {
            return None;
        }
        let rest = content.strip_prefix(&[VERSION])?;
        let (fingerprint, rest) = rest.split_first_chunk::<32>()?;
        let (expires, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first()?;
        let (subject, body) = rest.split_at_checked(usize::from(*length))?;
        if i64::from_be_bytes(*expires) <= self.clock.now().timestamp_millis() {
            return None;
        }
        let subject = match str::from_utf8(subject).ok()?.split_at_checked(1)? {
            ("b", id) => Subject::Booking(BookingId(id.parse().ok()?)),
            ("h", id) => Subject::Hold(HoldId::parse(id).ok()?),
            ("s", id) => Subject::Show(ShowId(id.parse().ok()?)),
            _ => return None,
        };
        Some(Replay { fingerprint: Fingerprint(*fingerprint), subject, body: body.into() })
    }
}

#[async_trait]
impl ReplayCache for RedisReplayCache {
    async fn recall(&self, key: &KeyName) -> Option<Replay> {
        let name = self.name(key);
        // Reads a bounded range: a value that is longer than any entry was not written by a server with the secret.
        let read = self.redis.call(async |client| client.getrange(name, 0, FRAME_BYTES + BODY_MAX).await).await;
        let value: Vec<u8> = read.ok()?;
        self.open(key, &value)
    }

    async fn remember(&self, key: &KeyName, replay: &Replay) {
        if replay.body.len() <= BODY_MAX {
            let entry = Entry { name: self.name(key), value: self.seal(key, replay) };
            // If the queue is full, the entry is dropped: the store has it.
            let _ = self.waiting.try_send(entry);
        }
    }
}

/// Adds the full name of a key to a MAC.
fn named(mac: Mac, key: &KeyName) -> Mac {
    mac.number(key.user_id.0).text(key.scope.0.as_bytes()).text(key.key.as_str().as_bytes())
}

/// Writes entries until the queue is closed.
async fn write(redis: Arc<Redis>, entries: mpsc::Receiver<Entry>, ttl_ms: i64) {
    let entries = stream::unfold(entries, async |mut entries| Some((entries.recv().await?, entries)));
    let write_one = async |Entry { name, value }: Entry| {
        let set = redis.call(async |client| {
            client.set::<(), _, _>(name, value.as_slice(), Some(Expiration::PX(ttl_ms)), None, false).await
        });
        // An entry that was not written is read from the store.
        let _ = set.await;
    };
    entries.for_each_concurrent(WRITTEN_AT_ONCE, write_one).await;
}
