//! Password hashing with Argon2id, with a bounded number of threads and a bounded queue.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB, on purpose. A storm of logins must not occupy all cores, because bookings would
//! wait, and must not fill the memory. So a fixed number of hashes runs, a fixed number waits, and further ones are refused. It must not
//! lock out other callers either: networks take turns, and those with the most entries in the queue are refused first.
//!
//! Accounts that were imported from the former API have bcrypt hashes. They are accepted, and reported as outdated, so that the service
//! replaces them by Argon2id.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::available_parallelism;

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use domain::identity::{Password, PasswordHash, PasswordHasher, PasswordHasherError, PasswordMatch, Requester};
use tokio::sync::oneshot;

use crate::bcrypt_hash::{BcryptHash, burn};
use crate::fair_queue::{FairQueue, Ticket};

/// The default number of callers that wait for a worker. More would wait longer than clients do.
const WAITING_DEFAULT: usize = 64;

/// The hash with which a password is compared if the account does not exist, so that this takes as long. No known password matches it. Its
/// parameters are those of [`argon2id`]; a test checks this.
const HASH_OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3MgYWNjb3VudA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Returns Argon2id with 19 MiB, two passes and one lane: the minimum that OWASP's cheat sheet recommends, and the crate's default.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// Hashes passwords on the runtime's blocking threads, with a bounded concurrency.
///
/// Requires a Tokio runtime.
#[derive(Clone)]
pub struct Argon2Passwords(Arc<Shared>);

struct Shared {
    workers_max: usize,
    /// The highest cost of a bcrypt hash that was compared; 0 for none. From then on each wrong password costs that much as well, so that the
    /// time does not reveal which accounts have such a hash. A store without them, which is the usual one, pays nothing.
    bcrypt_cost: AtomicU32,
    state: Mutex<State>,
}

/// Invariant: if a worker is free, the queue is empty.
struct State {
    running: usize,
    queue: FairQueue<oneshot::Sender<Turn>>,
}

/// The load of password hashing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordLoad {
    /// The number of callers that wait for a worker.
    pub waiting: usize,
    /// The number of passwords that are being hashed.
    pub running: usize,
}

/// A worker. Dropping it passes it to the next caller in the queue.
struct Turn {
    shared: Option<Arc<Shared>>,
}

/// A caller in the queue. Dropping it removes the caller from the queue.
struct Waiting<'a> {
    shared: &'a Shared,
    ticket: Ticket,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code under the lock can leave it in an invalid state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(mut shared) = self.shared.take() else { return };
        loop {
            let next = {
                let mut state = shared.lock();
                let next = state.queue.pop();
                if next.is_none() {
                    state.running = state.running.saturating_sub(1);
                }
                next
            };
            let Some(next) = next else { return };
            // If the caller was dropped meanwhile, the worker is returned and passed to the next one.
            let Err(mut returned) = next.send(Self { shared: Some(shared) }) else { return };
            let Some(still) = returned.shared.take() else { return };
            shared = still;
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let left = self.shared.lock().queue.remove(&self.ticket);
        drop(left);
    }
}

impl Default for Argon2Passwords {
    /// Uses half the cores, at least one, with at most 64 waiting callers.
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self::new(NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN), WAITING_DEFAULT)
    }
}

impl Argon2Passwords {
    /// Hashes up to `workers` passwords at once, with at most `waiting` callers in the queue.
    pub fn new(workers: NonZeroUsize, waiting: usize) -> Self {
        let state = State { running: 0, queue: FairQueue::new(waiting) };
        Self(Arc::new(Shared { workers_max: workers.get(), bcrypt_cost: AtomicU32::new(0), state: Mutex::new(state) }))
    }

    /// Returns the present load.
    pub fn load(&self) -> PasswordLoad {
        let state = self.0.lock();
        PasswordLoad { waiting: state.queue.len(), running: state.running }
    }

    /// Runs `work` when a worker is free.
    ///
    /// A caller that is dropped while it waits leaves the queue. Once `work` runs it cannot be stopped, so the worker is freed when `work`
    /// ends, not when the caller is dropped. Otherwise callers that disconnect would start more work than there are workers.
    async fn run<T: Send + 'static>(
        &self,
        requester: &Requester,
        work: impl FnOnce() -> Result<T, PasswordHasherError> + Send + 'static,
    ) -> Result<T, PasswordHasherError> {
        let turn = self.turn(requester).await?;
        let worked = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        worked.await.map_err(|error| PasswordHasherError::Internal(Arc::new(error)))?
    }

    async fn turn(&self, requester: &Requester) -> Result<Turn, PasswordHasherError> {
        let (turn, evicted, waiting) = {
            let mut state = self.0.lock();
            if state.running < self.0.workers_max {
                state.running += 1;
                return Ok(Turn { shared: Some(Arc::clone(&self.0)) });
            }
            let (sender, turn) = oneshot::channel();
            let (ticket, evicted) = state.queue.push(requester, sender);
            (turn, evicted, Waiting { shared: &self.0, ticket })
        };
        // Dropping the sender notifies the evicted caller, which may be this one.
        drop(evicted);
        let turn = turn.await.map_err(|_| PasswordHasherError::Overloaded);
        drop(waiting);
        turn
    }
}

#[async_trait]
impl PasswordHasher for Argon2Passwords {
    async fn hash(&self, requester: &Requester, password: &Password) -> Result<PasswordHash, PasswordHasherError> {
        let password = password.clone();
        self.run(requester, move || {
            let hash = argon2id().hash_password(password.reveal().as_bytes()).map_err(internal)?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    async fn verify<'a>(
        &self,
        requester: &Requester,
        password: &Password,
        hash: Option<&'a PasswordHash>,
    ) -> Result<PasswordMatch, PasswordHasherError> {
        let password = password.clone();
        let hash = hash.cloned();
        let shared = Arc::clone(&self.0);
        self.run(requester, move || compare(&shared, &password, hash.as_ref())).await
    }
}

/// Compares a password with a hash, or with no account's.
fn compare(
    shared: &Shared,
    password: &Password,
    hash: Option<&PasswordHash>,
) -> Result<PasswordMatch, PasswordHasherError> {
    let bcrypt = match hash.and_then(|hash| BcryptHash::parse(&hash.0)) {
        Some(parsed) => Some(parsed.map_err(|error| PasswordHasherError::Internal(Arc::new(error)))?),
        None => None,
    };
    let Some(bcrypt) = bcrypt else {
        let matched = compare_argon2id(password, hash)?;
        let cost = shared.bcrypt_cost.load(Ordering::Relaxed);
        if matched == PasswordMatch::No && cost > 0 {
            forms(password).for_each(|form| burn(form, cost));
        }
        return Ok(matched);
    };
    let cost = bcrypt.cost().max(shared.bcrypt_cost.fetch_max(bcrypt.cost(), Ordering::Relaxed));
    // All forms are always computed, so that the time does not reveal which form matched.
    let matched = forms(password).fold(false, |matched, form| bcrypt.matches(form) | matched);
    if matched {
        return Ok(PasswordMatch::Outdated);
    }
    if bcrypt.cost() < cost {
        forms(password).for_each(|form| burn(form, cost));
    }
    compare_argon2id(password, None)
}

/// Returns the texts that the caller may have meant: the prepared password and, if it is another text, the password as typed.
fn forms(password: &Password) -> impl Iterator<Item = &str> {
    std::iter::once(password.reveal()).chain(password.reveal_typed())
}

fn compare_argon2id(password: &Password, hash: Option<&PasswordHash>) -> Result<PasswordMatch, PasswordHasherError> {
    let stored = hash.map_or(HASH_OF_NOBODY, |hash| &hash.0);
    let is_prepared = matches(password.reveal(), stored)?;
    // Always computed if there is another form, so that the time does not reveal which form matched.
    let is_typed = password.reveal_typed().map_or(Ok(false), |typed| matches(typed, stored))?;
    Ok(match (hash, is_prepared, is_typed) {
        (Some(_), true, _) => PasswordMatch::Prepared,
        (Some(_), false, true) => PasswordMatch::Outdated,
        _ => PasswordMatch::No,
    })
}

fn matches(password: &str, hash: &str) -> Result<bool, PasswordHasherError> {
    match argon2id().verify_password(password.as_bytes(), hash) {
        Ok(()) => Ok(true),
        Err(password_hash::Error::PasswordInvalid) => Ok(false),
        Err(error) => Err(internal(error)),
    }
}

fn internal(error: password_hash::Error) -> PasswordHasherError {
    PasswordHasherError::Internal(Arc::new(error))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use domain::limits::ClientNetwork;

    use super::*;

    fn one_worker(waiting: usize) -> Argon2Passwords {
        Argon2Passwords::new(NonZeroUsize::MIN, waiting)
    }

    fn ana() -> Requester {
        Requester { network: ClientNetwork::V4([192, 0, 2, 1].into()), account: "ana@example.org".into() }
    }

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    /// Returns the parameters of a hash: the part before the salt (algorithm, version and parameters), and the lengths of salt and digest.
    fn cost(hash: &str) -> (String, usize, usize) {
        let parts: Vec<_> = hash.split('$').collect();
        (parts[1..4].join("$"), parts[4].len(), parts[5].len())
    }

    #[tokio::test]
    async fn a_password_is_the_hashed_one_or_it_is_not() {
        let passwords = one_worker(4);
        let hash = passwords.hash(&ana(), &password(" pass\0word パ ")).await.unwrap();
        for (attempt, matched) in [
            (" pass\0word パ ", PasswordMatch::Prepared),
            (" pass\0word ハ\u{309a} ", PasswordMatch::Prepared),
            ("\u{a0}pass\0word\u{3000}パ ", PasswordMatch::Prepared),
            (" pass\0word パ", PasswordMatch::No),
            (" pass\0word ﾊﾟ ", PasswordMatch::No),
            ("", PasswordMatch::No),
        ] {
            let attempt = Password::attempt(attempt).unwrap();
            assert_eq!(passwords.verify(&ana(), &attempt, Some(&hash)).await.unwrap(), matched, "{}", attempt.reveal());
        }
    }

    #[tokio::test]
    async fn hash_of_a_password_as_it_was_typed_matches_that_text_alone() {
        let passwords = one_worker(4);
        let typed = "passwo\u{308}rter";
        let old = PasswordHash(argon2id().hash_password(typed.as_bytes()).unwrap().to_string());
        assert_eq!(passwords.verify(&ana(), &password(typed), Some(&old)).await.unwrap(), PasswordMatch::Outdated);
        assert_eq!(
            passwords.verify(&ana(), &password("passw\u{f6}rter"), Some(&old)).await.unwrap(),
            PasswordMatch::No
        );
        assert_eq!(passwords.verify(&ana(), &password(typed), None).await.unwrap(), PasswordMatch::No);
    }

    #[tokio::test]
    async fn bcrypt_hash_matches_its_password_and_is_outdated() {
        let passwords = one_worker(4);
        let old = PasswordHash(crate::bcrypt_hash::tests::hash_of("passwo\u{308}rter", 4));
        for (attempt, matched) in [
            ("passwo\u{308}rter", PasswordMatch::Outdated),
            ("passw\u{f6}rter", PasswordMatch::No),
            ("Passwo\u{308}rter", PasswordMatch::No),
        ] {
            let verified = passwords.verify(&ana(), &password(attempt), Some(&old)).await.unwrap();
            assert_eq!(verified, matched, "{attempt}");
        }
        let composed = PasswordHash(crate::bcrypt_hash::tests::hash_of("passw\u{f6}rter", 4));
        let verified = passwords.verify(&ana(), &password("passwo\u{308}rter"), Some(&composed)).await;
        assert_eq!(verified.unwrap(), PasswordMatch::Outdated);
    }

    #[tokio::test]
    async fn wrong_passwords_cost_a_bcrypt_hash_once_there_is_one() {
        let passwords = one_worker(4);
        let cost = || passwords.0.bcrypt_cost.load(Ordering::Relaxed);
        let fresh = passwords.hash(&ana(), &password("password1")).await.unwrap();
        passwords.verify(&ana(), &password("password2"), Some(&fresh)).await.unwrap();
        assert_eq!(cost(), 0);
        for (stored, highest) in [(5, 5), (4, 5), (6, 6)] {
            let old = PasswordHash(crate::bcrypt_hash::tests::hash_of("password1", stored));
            let verified = passwords.verify(&ana(), &password("password2"), Some(&old)).await.unwrap();
            assert_eq!((verified, cost()), (PasswordMatch::No, highest));
        }
        let verified = async |hash| passwords.verify(&ana(), &password("password2"), hash).await.unwrap();
        assert_eq!((verified(None).await, verified(Some(&fresh)).await), (PasswordMatch::No, PasswordMatch::No));
        let verified = passwords.verify(&ana(), &password("password1"), Some(&fresh)).await;
        assert_eq!(verified.unwrap(), PasswordMatch::Prepared);
    }

    #[tokio::test]
    async fn bcrypt_hash_of_a_hostile_cost_is_a_failure_without_computation() {
        let hash = crate::bcrypt_hash::tests::hash_of("password1", 4).replacen("$04$", "$31$", 1);
        let verified = one_worker(4).verify(&ana(), &password("password1"), Some(&PasswordHash(hash))).await;
        assert!(matches!(verified, Err(PasswordHasherError::Internal(_))), "{verified:?}");
    }

    #[tokio::test]
    async fn each_hash_has_a_salt_of_its_own() {
        let passwords = one_worker(4);
        let one = passwords.hash(&ana(), &password("password1")).await.unwrap();
        assert_ne!(one, passwords.hash(&ana(), &password("password1")).await.unwrap());
    }

    #[tokio::test]
    async fn who_has_no_account_is_refused_at_the_cost_of_a_fresh_hash() {
        let passwords = one_worker(4);
        let fresh = passwords.hash(&ana(), &password("password1")).await.unwrap();
        assert_eq!(cost(HASH_OF_NOBODY), cost(&fresh.0));
        assert_eq!(cost(HASH_OF_NOBODY).0, "argon2id$v=19$m=19456,t=2,p=1");
        assert_eq!(passwords.verify(&ana(), &password("password1"), None).await.unwrap(), PasswordMatch::No);
    }

    #[tokio::test]
    async fn a_damaged_hash_is_a_failure_and_not_a_wrong_password() {
        for damaged in ["", "password1", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA"] {
            let verified =
                one_worker(4).verify(&ana(), &password("password1"), Some(&PasswordHash(damaged.into()))).await;
            assert!(
                matches!(verified, Ok(PasswordMatch::No) | Err(PasswordHasherError::Internal(_))),
                "{damaged}: {verified:?}"
            );
        }
        let verified =
            one_worker(4).verify(&ana(), &password("password1"), Some(&PasswordHash("password1".into()))).await;
        assert!(matches!(verified, Err(PasswordHasherError::Internal(_))), "{verified:?}");
    }

    /// Occupies the worker until it is released.
    async fn busy(passwords: &Argon2Passwords) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (go_on, wait) = mpsc::channel::<()>();
        let (started, has_started) = oneshot::channel();
        let passwords = passwords.clone();
        let task = tokio::spawn(async move {
            let work = move || {
                started.send(()).unwrap();
                let _ = wait.recv();
                Ok(())
            };
            passwords.run(&ana(), work).await.unwrap();
        });
        has_started.await.unwrap();
        (go_on, task)
    }

    async fn until(condition: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while !condition() {
            assert!(Instant::now() < deadline, "it didn't happen within ten seconds");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    #[tokio::test]
    async fn who_would_wait_beyond_the_bound_is_refused_at_once() {
        let passwords = one_worker(1);
        let (go_on, busy) = busy(&passwords).await;
        let waiting = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.verify(&ana(), &password("password1"), None).await }
        });
        until(|| passwords.load() == PasswordLoad { waiting: 1, running: 1 }).await;
        let refused = passwords.hash(&ana(), &password("password1")).await;
        assert!(matches!(refused, Err(PasswordHasherError::Overloaded)), "{refused:?}");
        assert_eq!(passwords.load(), PasswordLoad { waiting: 1, running: 1 });
        go_on.send(()).unwrap();
        busy.await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), PasswordMatch::No, "the waiting caller had its turn");
        until(|| passwords.load() == PasswordLoad { waiting: 0, running: 0 }).await;
    }

    #[tokio::test]
    async fn caller_of_a_full_queue_is_refused_for_one_with_less_in_it() {
        let passwords = one_worker(2);
        let (go_on, busy) = busy(&passwords).await;
        let verify = |requester: Requester| {
            let passwords = passwords.clone();
            tokio::spawn(async move { passwords.verify(&requester, &password("password1"), None).await })
        };
        let mut flood = Vec::new();
        for waiting in 1..=2 {
            flood.push(verify(ana()));
            until(|| passwords.load().waiting == waiting).await;
        }
        let other = Requester { network: ClientNetwork::V4([192, 0, 2, 2].into()), ..ana() };
        let honest = verify(other);
        let evicted = flood.pop().unwrap().await.unwrap();
        assert!(matches!(evicted, Err(PasswordHasherError::Overloaded)), "{evicted:?}");
        assert_eq!(passwords.load(), PasswordLoad { waiting: 2, running: 1 });
        go_on.send(()).unwrap();
        busy.await.unwrap();
        assert_eq!(honest.await.unwrap().unwrap(), PasswordMatch::No);
        assert_eq!(flood.pop().unwrap().await.unwrap().unwrap(), PasswordMatch::No);
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_gives_up_its_place_but_never_a_worker_that_still_works() {
        let passwords = one_worker(1);
        let (go_on, busy) = busy(&passwords).await;
        let waiting = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.verify(&ana(), &password("password1"), None).await }
        });
        until(|| passwords.load() == PasswordLoad { waiting: 1, running: 1 }).await;
        waiting.abort();
        until(|| passwords.load() == PasswordLoad { waiting: 0, running: 1 }).await;
        busy.abort();
        assert!(busy.await.unwrap_err().is_cancelled());
        assert_eq!(passwords.load().running, 1, "the work outlives its caller");
        go_on.send(()).unwrap();
        until(|| passwords.load() == PasswordLoad { waiting: 0, running: 0 }).await;
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
    async fn no_more_run_at_once_than_there_are_workers() {
        let passwords = Argon2Passwords::new(NonZeroUsize::new(3).unwrap(), 100);
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let (passwords, now, most) = (passwords.clone(), Arc::clone(&now), Arc::clone(&most));
                let work = move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    std::thread::sleep(Duration::from_millis(2));
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok(())
                };
                tokio::spawn(async move { passwords.run(&ana(), work).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn work_that_panics_is_a_failure_and_gives_its_turn_back() {
        let passwords = one_worker(0);
        let outcome = passwords.run::<()>(&ana(), || panic!("on purpose")).await;
        assert!(matches!(outcome, Err(PasswordHasherError::Internal(_))), "{outcome:?}");
        until(|| passwords.load() == PasswordLoad { waiting: 0, running: 0 }).await;
    }
}
