//! Cases of the replay cache of idempotency keys.

use std::sync::Arc;
use std::time::Duration;

use domain::booking::{Fingerprint, HoldId, IdempotencyKey, KeyName, Replay, ReplayCache, Scope, Subject};
use domain::ids::{BookingId, UserId};

use crate::ReplayCacheFixture;

/// Longer than any case takes.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// The interval between two looks at the cache.
const PAUSE: Duration = Duration::from_millis(5);

/// The full name of a key.
pub fn key(user: i64, scope: &str, key: &str) -> KeyName {
    KeyName { user_id: UserId(user), scope: Scope(scope.to_owned()), key: IdempotencyKey::from_stored(key.to_owned()) }
}

/// An answer with a fingerprint of 32 times this byte.
pub fn replay(fingerprint: u8, booking: i64, body: &[u8]) -> Replay {
    Replay {
        fingerprint: Fingerprint([fingerprint; 32]),
        subject: Subject::Booking(BookingId(booking)),
        body: Arc::from(body),
    }
}

/// Stores the answer and waits until it can be recalled: `remember` of the port returns before that.
pub async fn remember(cache: &dyn ReplayCache, key: &KeyName, replay: &Replay) {
    cache.remember(key, replay).await;
    while cache.recall(key).await.as_ref() != Some(replay) {
        tokio::time::sleep(PAUSE).await;
    }
}

/// The fingerprint, the booking and every byte of the answer are recalled.
pub async fn remembered_answer_is_recalled_byte_for_byte(fixture: &dyn ReplayCacheFixture) {
    let cache = fixture.cache(LONG).await;
    let ana = key(7, "POST /api/bookings", "key-1");
    assert_eq!(cache.recall(&ana).await, None);
    let every_byte: Vec<u8> = (0..=255).collect();
    let kept = replay(200, i64::MAX, &every_byte);
    remember(cache.as_ref(), &ana, &kept).await;
    for _ in 0..3 {
        assert_eq!(cache.recall(&ana).await.as_ref(), Some(&kept));
    }
    // The hold id with the largest possible show id.
    let subject = Subject::Hold(HoldId::parse(&format!("{}-7Q2XK0M4ZD7Q2XK0M4ZD7Q2XK0", i64::MAX)).unwrap());
    let held = Replay { subject, ..kept };
    remember(cache.as_ref(), &ana, &held).await;
}

/// An entry is not recalled for another user, scope or key, nor for a name that consists of the same characters split differently.
pub async fn answer_is_recalled_only_for_its_key(fixture: &dyn ReplayCacheFixture) {
    let cache = fixture.cache(LONG).await;
    let names = [
        key(7, "POST /api/bookings", "key-1"),
        key(8, "POST /api/bookings", "key-1"),
        key(-7, "POST /api/bookings", "key-1"),
        key(7, "POST /api/holds", "key-1"),
        key(7, "POST /api/bookings", "key-2"),
        key(7, "POST /api/bookings", "key-11"),
        key(7, "POST /api/bookings", "key-"),
        key(7, "POST /api/bookingsk", "ey-1"),
        key(7, "POST /api/booking", "skey-1"),
        key(7, "", "POST /api/bookingskey-1"),
        key(77, "POST /api/bookings", "key-1"),
        key(1, "23", "4"),
        key(12, "3", "4"),
        key(1, "2", "34"),
        key(1, "a:b", "c"),
        key(1, "a", "b:c"),
    ];
    for (at, name) in names.iter().enumerate() {
        assert_eq!(cache.recall(name).await, None, "{at}: {name:?}");
        let body = format!("answer {at}");
        remember(cache.as_ref(), name, &replay(1, 100 + i64::try_from(at).unwrap(), body.as_bytes())).await;
    }
    for (at, name) in names.iter().enumerate() {
        assert_eq!(*cache.recall(name).await.unwrap().body, *format!("answer {at}").as_bytes(), "{at}: {name:?}");
    }
}

/// The last stored answer is recalled.
pub async fn later_answer_replaces_the_first(fixture: &dyn ReplayCacheFixture) {
    let cache = fixture.cache(LONG).await;
    let ana = key(7, "POST /api/bookings", "key-1");
    for round in 0..5 {
        let kept = replay(round, i64::from(round), format!("answer {round}").as_bytes());
        remember(cache.as_ref(), &ana, &kept).await;
    }
    assert_eq!(cache.recall(&ana).await.unwrap().subject, Subject::Booking(BookingId(4)));
}

/// An expired answer is not recalled.
pub async fn answer_expires(fixture: &dyn ReplayCacheFixture) {
    let cache = fixture.cache(Duration::from_secs(1)).await;
    let ana = key(7, "POST /api/bookings", "key-1");
    let kept = replay(1, 1, b"answer");
    remember(cache.as_ref(), &ana, &kept).await;
    while let Some(found) = cache.recall(&ana).await {
        assert_eq!(found, kept);
        tokio::time::sleep(PAUSE).await;
    }
}

/// An empty answer is kept, and so is one of 64 KiB.
pub async fn answers_of_every_size_are_kept_completely(fixture: &dyn ReplayCacheFixture) {
    let cache = fixture.cache(LONG).await;
    for size in [0_u8, 1, 31, 32, 33, 64, 255] {
        let name = key(7, "POST /api/bookings", &format!("small-{size}"));
        remember(cache.as_ref(), &name, &replay(size, 1, &vec![size; size.into()])).await;
    }
    for size in [1_000, 16_384, 65_536] {
        let name = key(7, "POST /api/bookings", &format!("large-{size}"));
        let body: Vec<u8> = (0..size).map(|at| u8::try_from(at % 251).unwrap()).collect();
        remember(cache.as_ref(), &name, &replay(1, 1, &body)).await;
    }
    // This is larger than any real answer. It is kept whole or not at all.
    let huge = replay(1, 1, &vec![1; 3_000_000]);
    let name = key(7, "POST /api/bookings", "huge");
    cache.remember(&name, &huge).await;
    assert!(cache.recall(&name).await.is_none_or(|found| found == huge));
}

/// Concurrent callers store and recall their own answers.
pub async fn concurrent_callers_recall_their_own_answers(fixture: &dyn ReplayCacheFixture) {
    let cache = fixture.cache(LONG).await;
    let one = async |user: i64| {
        for number in 0..10 {
            let name = key(user, "POST /api/bookings", &format!("key-{number}"));
            remember(cache.as_ref(), &name, &replay(1, 100 * user + number, b"answer")).await;
        }
    };
    futures::future::join_all((0..16).map(one)).await;
    for user in 0..16 {
        for number in 0..10 {
            let name = key(user, "POST /api/bookings", &format!("key-{number}"));
            assert_eq!(cache.recall(&name).await.unwrap().subject, Subject::Booking(BookingId(100 * user + number)));
        }
    }
}
