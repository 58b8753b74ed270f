//! A program that can write to Redis can neither forge a response nor cause false rejections.

use std::sync::Arc;
use std::time::Duration;

use adapters_redis::testing::TestRedis;
use adapters_redis::{Redis, RedisReplayCache, ServerKey};
use domain::booking::{KeyName, ReplayCache as _};
use port_contracts::replays::{key, remember, replay};
use port_contracts::tools::SetClock;

use crate::support::{LIMIT, RealTimer, SECRET, Server, only_key, set, settings, until, value};

async fn patient(redis: &TestRedis) -> Server {
    with_secret(redis, SECRET).await
}

async fn with_secret(redis: &TestRedis, secret: &[u8]) -> Server {
    let server = Server::patient(&redis.url(), secret, Arc::new(SetClock::new()));
    server.until_well().await;
    server
}

fn name(of: &str) -> KeyName {
    key(1, "POST /api/bookings", of)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_counts_only_as_it_was_written() {
    let redis = TestRedis::start().await.unwrap();
    let server = patient(&redis).await;
    let kept = replay(7, 42, b"the answer");
    server.remember(&name("k"), &kept).await;
    let key = only_key(&redis).await;
    let genuine = value(&redis, &key).await;
    for at in 0..genuine.len() {
        for bit in [1, 0x80] {
            let mut forged = genuine.clone();
            forged[at] ^= bit;
            set(&redis, &key, &forged).await;
            assert_eq!(server.recall(&name("k")).await, None, "bit {bit} of byte {at}");
        }
    }
    let longer = [&genuine[..], b"x"].concat();
    let twice = [&genuine[..], &genuine[..]].concat();
    let huge = vec![b'x'; 5_000_000];
    for forged in [&genuine[..genuine.len() - 1], &genuine[1..], &longer, &twice, b"", b"{}", &huge] {
        set(&redis, &key, forged).await;
        assert_eq!(server.recall(&name("k")).await, None, "{} bytes", forged.len());
    }
    set(&redis, &key, &genuine).await;
    assert_eq!(server.recall(&name("k")).await, Some(kept));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_counts_only_at_its_place() {
    let redis = TestRedis::start().await.unwrap();
    let server = patient(&redis).await;
    server.remember(&name("one"), &replay(1, 1, b"one")).await;
    let one = only_key(&redis).await;
    server.remember(&name("other"), &replay(2, 2, b"other")).await;
    let keys = redis.keys().await.unwrap();
    let other = keys.iter().find(|key| **key != one).unwrap();
    redis.command::<()>("COPY", &[one.as_bytes(), other.as_bytes(), b"REPLACE"]).await.unwrap();
    assert_eq!(server.recall(&name("other")).await, None);
    assert_eq!(server.recall(&name("one")).await, Some(replay(1, 1, b"one")));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_another_secret_is_not_found_nor_believed() {
    let redis = TestRedis::start().await.unwrap();
    let (server, stranger) = (patient(&redis).await, with_secret(&redis, b"another secret").await);
    stranger.remember(&name("k"), &replay(1, 1, b"theirs")).await;
    assert_eq!(server.recall(&name("k")).await, None);
    let theirs = only_key(&redis).await;
    server.remember(&name("k"), &replay(2, 2, b"ours")).await;
    let keys = redis.keys().await.unwrap();
    let ours = keys.iter().find(|key| **key != theirs).unwrap();
    redis.command::<()>("COPY", &[theirs.as_bytes(), ours.as_bytes(), b"REPLACE"]).await.unwrap();
    assert_eq!(server.recall(&name("k")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn values_of_another_type_are_none_and_redis_is_still_used() {
    let redis = TestRedis::start().await.unwrap();
    let server = patient(&redis).await;
    server.remember(&name("k"), &replay(1, 1, b"answer")).await;
    let key = only_key(&redis).await;
    // On a slow machine, a write that timed out can still arrive.
    until("an entry is still as it was remembered", async || {
        redis.command::<()>("DEL", &[key.as_bytes()]).await.unwrap();
        redis.command::<()>("HSET", &[key.as_bytes(), b"a", b"b"]).await.unwrap();
        server.recall(&name("k")).await.is_none()
    })
    .await;
    for _ in 0..20 {
        assert_eq!(server.recall(&name("k")).await, None);
    }
    assert!(!server.redis.report().open, "{:?}", server.redis.report());
    // A new write replaces it.
    server.remember(&name("k"), &replay(2, 2, b"again")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_somebody_makes_last_is_still_forgotten_in_time() {
    let redis = TestRedis::start().await.unwrap();
    let clock = Arc::new(SetClock::new());
    let connection = Redis::connect_patiently(&settings(&redis.url()), Arc::new(RealTimer));
    Server::on(connection.clone(), SECRET, clock.clone()).until_well().await;
    let hour = Duration::from_secs(3600);
    let cache = RedisReplayCache::new(connection, ServerKey::derive(SECRET), hour, clock.clone());
    remember(&cache, &name("k"), &replay(1, 1, b"answer")).await;
    redis.command::<()>("PERSIST", &[only_key(&redis).await.as_bytes()]).await.unwrap();
    clock.pass(hour - Duration::from_millis(1));
    assert!(cache.recall(&name("k")).await.is_some());
    clock.pass(Duration::from_millis(1));
    assert_eq!(cache.recall(&name("k")).await, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_learns_neither_keys_nor_names() {
    let redis = TestRedis::start().await.unwrap();
    let server = patient(&redis).await;
    server.remember(&key(4_711, "POST /api/bookings", "a-key-of-ana"), &replay(1, 1, b"answer")).await;
    server.count("ana@example.org").await;
    let keys = redis.keys().await.unwrap();
    assert_eq!(keys.len(), 2, "{keys:?}");
    for key in &keys {
        let dump: Vec<u8> = redis.command("DUMP", &[key.as_bytes()]).await.unwrap();
        let all = format!("{key} {}", String::from_utf8_lossy(&dump));
        for secret in ["4711", "api/bookings", "a-key-of-ana", "ana@example.org"] {
            assert!(!all.contains(secret), "{secret} is in {all}");
        }
        let ttl: i64 = redis.command("PTTL", &[key.as_bytes()]).await.unwrap();
        assert!(ttl > 0, "{key} expires: {ttl}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_that_nobody_has_counted_refuse_nobody() {
    let redis = TestRedis::start().await.unwrap();
    let (one, other) = (patient(&redis).await, patient(&redis).await);
    let stranger = with_secret(&redis, b"another secret").await;
    // Three tries of each name, by the same servers as below.
    for _ in 0..3 {
        assert!(one.count("ben").await);
    }
    let bens = only_key(&redis).await;
    for _ in 0..3 {
        assert!(stranger.count("ana").await);
    }
    let strangers = redis.keys().await.unwrap().into_iter().find(|key| *key != bens).unwrap();
    assert!(other.count("ana").await);
    let keys = redis.keys().await.unwrap();
    let anas = keys.iter().find(|key| **key != bens && **key != strangers).unwrap();
    let server = "0123456789abcdef0123456789abcdef";
    let mac = "00".repeat(32);
    let forged = format!("9 1000000 9000000000000 {mac}");
    // All these counts are ignored: after its own first try two more are allowed.
    let anas = anas.as_bytes();
    let forgeries: [(&str, &[&[u8]]); 7] = [
        ("COPY", &[bens.as_bytes(), anas, b"REPLACE"]),
        ("COPY", &[strangers.as_bytes(), anas, b"REPLACE"]),
        ("HSET", &[anas, server.as_bytes(), forged.as_bytes()]),
        ("HSET", &[anas, server.as_bytes(), b"-1 -1 -1 -1"]),
        ("HSET", &[anas, server.as_bytes(), &[0xff; 160]]),
        ("HSET", &[anas, &[0xff; 32], forged.as_bytes()]),
        ("SET", &[anas, b"1000000"]),
    ];
    let lists = [("DEL", &[anas][..]), ("LPUSH", &[anas, b"9"])];
    for forgery in forgeries.iter().map(std::slice::from_ref).chain([&lists[..]]) {
        for (name, arguments) in forgery {
            redis.command::<()>(name, arguments).await.unwrap();
        }
        for expected in [1, 0] {
            let allowance = other.limiter.count("ana", LIMIT).await.unwrap();
            assert_eq!((allowance.allowed, allowance.remaining), (true, expected), "{forgery:?}");
        }
        assert!(!other.count("ana").await);
        other.limiter.take_back("ana").await.unwrap();
        other.limiter.take_back("ana").await.unwrap();
    }
    assert!(!other.redis.report().open);
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_survive_whoever_fills_them_up() {
    let redis = TestRedis::start().await.unwrap();
    let (one, other) = (patient(&redis).await, patient(&redis).await);
    assert!(one.count("ana").await);
    let key = only_key(&redis).await;
    for at in 0..300 {
        let server = format!("{at:032}");
        redis.command::<()>("HSET", &[key.as_bytes(), server.as_bytes(), b"nonsense"]).await.unwrap();
    }
    // All counts are deleted, and counting restarts.
    assert!(one.count("ana").await);
    assert!(other.count("ana").await);
    assert!(!other.count("ana").await);
    let fields: u32 = redis.command("HLEN", &[key.as_bytes()]).await.unwrap();
    assert_eq!(fields, 2);
}
