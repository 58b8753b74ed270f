//! What idempotency keys remember, in Redis.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use domain::booking::{Fingerprint, HoldId, KeyName, Replay, ReplayCache, Subject};
use domain::clock::Clock;
use domain::ids::BookingId;
use fred::interfaces::KeysInterface as _;
use fred::types::Expiration;
use futures::StreamExt as _;
use futures::stream;
use tokio::sync::mpsc;

use crate::connection::Redis;
use crate::seal::{MAC_BYTES, Mac, ServerKey};

/// The form of the entries. One of another form is as if it were not there.
const VERSION: u8 = 2;
/// What an entry has besides the response: version, fingerprint, expiry, the length of what was made and what it is, MAC.
const FRAME_BYTES: usize = 1 + 32 + 8 + 1 + MADE_MAX + MAC_BYTES;
/// The longest name of what was made: a hold's id, which has up to 46 characters, and a letter.
const MADE_MAX: usize = 47;
/// The longest answer that is remembered. Longer ones are read from the store.
const BODY_MAX: usize = 64 * 1024;
/// How many entries wait to be written at most. More than that are forgotten.
const WAITING_MAX: usize = 1024;
/// How many are written at once.
const WRITTEN_AT_ONCE: usize = 32;

/// Remembers answers in Redis, for all servers that have the same secret.
///
/// An entry stands under a MAC of its key's full name, so Redis learns neither users nor keys; and it carries a MAC over that name,
/// the fingerprint, what was made, the instant it expires and the answer, so nobody else can make one, change one, put one in
/// another's place or make one last longer.
pub struct RedisReplayCache {
    redis: Arc<Redis>,
    key: ServerKey,
    ttl: Duration,
    clock: Arc<dyn Clock>,
    waiting: mpsc::Sender<Entry>,
}

/// What is written.
struct Entry {
    name: String,
    value: Vec<u8>,
}

impl RedisReplayCache {
    /// Remembers answers for `ttl`. Needs an async runtime, where entries are written while their callers go on.
    pub fn new(redis: Arc<Redis>, key: ServerKey, ttl: Duration, clock: Arc<dyn Clock>) -> Self {
        let (waiting, entries) = mpsc::channel(WAITING_MAX);
        tokio::spawn(write(redis.clone(), entries, i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX)));
        Self { redis, key, ttl, clock, waiting }
    }

    /// Where the entry of a key stands.
    fn name(&self, key: &KeyName) -> String {
        format!("movie-booking:replay:{}", named(self.key.mac("replay name"), key).hex())
    }

    /// What authenticates the entry of a key: all of it before the MAC.
    fn mac(&self, key: &KeyName, content: &[u8]) -> Mac {
        named(self.key.mac("replay entry"), key).text(content)
    }

    fn seal(&self, key: &KeyName, replay: &Replay) -> Vec<u8> {
        let Replay { fingerprint, subject, body } = replay;
        let subject = match subject {
            Subject::Booking(id) => format!("b{id}"),
            Subject::Hold(id) => format!("h{}", id.as_str()),
        };
        let ttl = i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX);
        let expires = self.clock.now().timestamp_millis().saturating_add(ttl);
        let mut value = Vec::with_capacity(FRAME_BYTES + body.len());
        value.push(VERSION);
        value.extend_from_slice(&fingerprint.0);
        value.extend_from_slice(&expires.to_be_bytes());
        // Ids are shorter than that.
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
            _ => return None,
        };
        Some(Replay { fingerprint: Fingerprint(*fingerprint), subject, body: body.into() })
    }
}

#[async_trait]
impl ReplayCache for RedisReplayCache {
    async fn recall(&self, key: &KeyName) -> Option<Replay> {
        let name = self.name(key);
        // Not all of it, whatever there is: what is longer than any entry was written by nobody who may.
        let read = self.redis.call(async |client| client.getrange(name, 0, FRAME_BYTES + BODY_MAX).await).await;
        let value: Vec<u8> = read.ok()?;
        self.open(key, &value)
    }

    async fn remember(&self, key: &KeyName, replay: &Replay) {
        if replay.body.len() <= BODY_MAX {
            let entry = Entry { name: self.name(key), value: self.seal(key, replay) };
            // Where too many wait already this one is forgotten: the store has it.
            let _ = self.waiting.try_send(entry);
        }
    }
}

/// Adds a key's full name.
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
        // What is not written is read from the store.
        let _ = set.await;
    };
    entries.for_each_concurrent(WRITTEN_AT_ONCE, write_one).await;
}
