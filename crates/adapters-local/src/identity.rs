//! The live sessions and the known sites of accounts, cached in the memory of this process.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use domain::StoreError;
use domain::clock::Timer;
use domain::identity::{Bearer, KnownSites, SessionGuard, SessionStore};
use domain::ids::{SessionId, UserId};
use domain::limits::ClientNetwork;
use moka::future::{Cache, CacheBuilder};
use moka::policy::EvictionPolicy;

/// The time for which a result of the store is used. A session that another server has ended may be accepted for this long.
const WORD: Duration = Duration::from_secs(1);
/// The time for which an ended session is recorded. It is longer than the store may take to answer a read that began before the end, plus
/// the time for which that result is used.
const ENDS: Duration = Duration::from_secs(60);
/// The maximum number of entries of each cache: about twenty megabytes. An evicted entry is read from the store again.
const ENTRIES_MAX: u64 = 100_000;

/// The time for which the site of a login is known: long enough for an owner who uses an account once a month.
pub const SITE_TTL: Duration = Duration::from_secs(35 * 24 * 3600);

/// The known sites of accounts, until this process ends. Only a login of the owner adds an entry, so that attackers cannot evict entries
/// with failed attempts.
pub struct LocalKnownSites(Cache<(String, ClientNetwork), ()>);

impl Default for LocalKnownSites {
    fn default() -> Self {
        Self(recent(SITE_TTL).build())
    }
}

#[async_trait]
impl KnownSites for LocalKnownSites {
    async fn remember(&self, account: &str, site: ClientNetwork) {
        self.0.insert((account.to_owned(), site), ()).await;
    }

    async fn is_known(&self, account: &str, site: ClientNetwork) -> bool {
        self.0.get(&(account.to_owned(), site)).await.is_some()
    }
}

/// A result of the store, and when the read began.
#[derive(Clone, Copy)]
struct Word {
    lasts: bool,
    asked: Instant,
}

/// Checks whether sessions are live, and reads each from the store at most once a second.
///
/// A session that this server has ended is refused at once. The end is recorded separately, so that the result of a read that began before
/// the end cannot revive the session. Sessions never restart and generations never decrease, so a recorded end stays valid.
pub struct GuardedSessions {
    store: Arc<dyn SessionStore>,
    timer: Arc<dyn Timer>,
    words: Cache<Bearer, Word>,
    ended: Cache<SessionId, ()>,
    /// The lowest generation of each user's sessions that may be live.
    generations: Cache<UserId, i64>,
}

impl GuardedSessions {
    /// Returns a guard of the sessions of `store`.
    pub fn new(store: Arc<dyn SessionStore>, timer: Arc<dyn Timer>) -> Self {
        Self {
            store,
            timer,
            // The timer decides how long a result is used; this expiry only frees memory.
            words: recent(ENDS).build(),
            ended: recent(ENDS).build(),
            generations: recent(ENDS).build(),
        }
    }
}

/// Returns a cache that evicts an entry after `time`, and the least recently used ones. The default policy does not fit, because it admits
/// a new entry only if it is used more often than the present ones.
fn recent<K, V>(time: Duration) -> CacheBuilder<K, V, Cache<K, V>>
where
    K: Eq + std::hash::Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    Cache::builder().max_capacity(ENTRIES_MAX).eviction_policy(EvictionPolicy::lru()).time_to_live(time)
}

impl GuardedSessions {
    /// Returns whether this server has ended the bearer's session. Does not read the store.
    async fn is_known_to_have_ended(&self, bearer: &Bearer) -> bool {
        let caller = bearer.caller;
        if self.generations.get(&caller.user_id).await.is_some_and(|lowest| caller.session_generation < lowest) {
            return true;
        }
        match bearer.session_id {
            Some(session) => self.ended.contains_key(&session),
            None => false,
        }
    }
}

#[async_trait]
impl SessionGuard for GuardedSessions {
    async fn lasts(&self, bearer: &Bearer) -> Result<bool, StoreError> {
        if self.is_known_to_have_ended(bearer).await {
            return Ok(false);
        }
        let asked = self.timer.instant();
        if let Some(word) = self.words.get(bearer).await
            && asked.saturating_duration_since(word.asked) < WORD
        {
            return Ok(word.lasts);
        }
        let lasts = self.store.lasts(bearer).await?;
        self.words.insert(*bearer, Word { lasts, asked }).await;
        // This server may have ended the session during the read.
        Ok(lasts && !self.is_known_to_have_ended(bearer).await)
    }

    async fn ended(&self, session: SessionId) {
        self.ended.insert(session, ()).await;
    }

    async fn ended_before(&self, user: UserId, generation: i64) {
        // The higher of two concurrent ends wins, in whatever order they arrive.
        self.generations
            .entry(user)
            .and_upsert_with(|known| {
                let known = known.map_or(generation, moka::Entry::into_value);
                std::future::ready(known.max(generation))
            })
            .await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Mutex, OnceLock};

    use domain::identity::{Caller, MockSessionStore, Role};
    use futures::FutureExt as _;
    use port_contracts::tools::SetClock;

    use super::*;

    fn bearer(user: i64, generation: i64, session: Option<i64>) -> Bearer {
        let caller = Caller { user_id: UserId(user), role: Role::Customer, session_generation: generation };
        Bearer { caller, session_id: session.map(SessionId) }
    }

    /// Returns a guard of a store with this result, and the bearers that were read from it.
    fn guard(lasts: &Arc<AtomicBool>) -> (GuardedSessions, Arc<SetClock>, Arc<Mutex<Vec<Bearer>>>) {
        let (asked, clock) = (Arc::new(Mutex::new(Vec::new())), Arc::new(SetClock::new()));
        let (told, answer) = (Arc::clone(&asked), Arc::clone(lasts));
        let mut store = MockSessionStore::new();
        store.expect_lasts().returning(move |bearer| {
            told.lock().unwrap().push(*bearer);
            Ok(answer.load(Ordering::SeqCst))
        });
        (GuardedSessions::new(Arc::new(store), clock.clone()), clock, asked)
    }

    #[tokio::test]
    async fn the_store_is_asked_once_a_second_for_each_session() {
        let lasts = Arc::new(AtomicBool::new(true));
        let (guard, clock, asked) = guard(&lasts);
        let (one, other) = (bearer(1, 1, Some(10)), bearer(1, 1, Some(11)));
        for bearer in [one, other, one, other, one] {
            assert!(guard.lasts(&bearer).await.unwrap());
        }
        assert_eq!(*asked.lock().unwrap(), [one, other]);
        clock.pass(Duration::from_millis(999));
        lasts.store(false, Ordering::SeqCst);
        assert!(guard.lasts(&one).await.unwrap());
        clock.pass(Duration::from_millis(1));
        assert!(!guard.lasts(&one).await.unwrap(), "another server has ended it, a second ago at most");
        assert!(!guard.lasts(&one).await.unwrap());
        assert_eq!(asked.lock().unwrap().len(), 3);
    }

    #[tokio::test]
    async fn what_this_server_has_ended_is_over_at_once() {
        let lasts = Arc::new(AtomicBool::new(true));
        let (guard, _, _) = guard(&lasts);
        let (one, other, nameless) = (bearer(1, 1, Some(10)), bearer(1, 1, Some(11)), bearer(1, 1, None));
        for bearer in [one, other, nameless] {
            assert!(guard.lasts(&bearer).await.unwrap());
        }
        guard.ended(SessionId(10)).await;
        assert!(!guard.lasts(&one).await.unwrap());
        assert!(guard.lasts(&other).await.unwrap() && guard.lasts(&nameless).await.unwrap());
    }

    #[tokio::test]
    async fn an_ended_generation_is_over_at_once_and_a_later_one_lasts() {
        let lasts = Arc::new(AtomicBool::new(true));
        let (guard, _, _) = guard(&lasts);
        assert!(guard.lasts(&bearer(1, 1, Some(10))).await.unwrap());
        guard.ended_before(UserId(1), 3).await;
        // A late message does not revert the generation.
        guard.ended_before(UserId(1), 2).await;
        for (generation, known) in [(1, false), (2, false), (3, true), (4, true)] {
            for session in [Some(10), None] {
                assert_eq!(guard.lasts(&bearer(1, generation, session)).await.unwrap(), known, "{generation}");
            }
        }
        assert!(guard.lasts(&bearer(2, 1, Some(20))).await.unwrap(), "another user");
    }

    #[tokio::test]
    async fn an_answer_from_before_the_end_brings_nothing_back() {
        let itself: Arc<OnceLock<GuardedSessions>> = Arc::default();
        let guard = Arc::clone(&itself);
        let mut store = MockSessionStore::new();
        // The session ends here while the store is returning that it is live.
        store.expect_lasts().returning(move |_| {
            guard.get().unwrap().ended(SessionId(10)).now_or_never().unwrap();
            Ok(true)
        });
        let guard = itself.get_or_init(|| GuardedSessions::new(Arc::new(store), Arc::new(SetClock::new())));
        assert!(!guard.lasts(&bearer(1, 1, Some(10))).await.unwrap());
        assert!(!guard.lasts(&bearer(1, 1, Some(10))).await.unwrap());
    }

    #[tokio::test]
    async fn a_store_that_is_down_says_nothing_of_a_session() {
        let mut store = MockSessionStore::new();
        store.expect_lasts().times(2).returning(|_| Err(StoreError::unavailable("down")));
        let guard = GuardedSessions::new(Arc::new(store), Arc::new(SetClock::new()));
        for _ in 0..2 {
            assert!(matches!(guard.lasts(&bearer(1, 1, Some(10))).await, Err(StoreError::Unavailable(_))));
        }
        guard.ended(SessionId(10)).await;
        assert!(!guard.lasts(&bearer(1, 1, Some(10))).await.unwrap(), "what has ended is known without it");
    }
}
