//! Passwords hashed by Argon2id, on few threads and with few in the queue.
//!
//! A hash takes tens of milliseconds of a core and 19 MiB, on purpose. A storm of logins must therefore neither take all
//! the cores, so that bookings wait, nor pile up in memory: a fixed number is worked on, a fixed number waits,
//! and the rest is refused at once.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread::available_parallelism;

use argon2::password_hash::{self, PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use async_trait::async_trait;
use domain::identity::{Password, PasswordHash, PasswordHasher, PasswordHasherError, PasswordMatch};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How many callers wait for a worker by default. More would only wait longer than clients do.
const WAITING_DEFAULT: usize = 64;

/// What a password is compared with where there is no account, so that it takes as long. Nobody knows a password of it; its
/// parameters are those of [`argon2id`], and a test sees to it that they stay so.
const HASH_OF_NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$bm9ib2R5J3MgYWNjb3VudA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// Argon2id with 19 MiB, two passes and one lane: the least that OWASP's cheat sheet recommends, and the crate's default.
fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

/// Hashes passwords on the runtime's blocking threads, only so many at once.
///
/// Must be used inside a Tokio runtime.
#[derive(Clone, Debug)]
pub struct Argon2Passwords {
    /// Who is inside: worked on or waiting.
    places: Arc<Semaphore>,
    /// Who is worked on.
    workers: Arc<Semaphore>,
    places_max: usize,
    workers_max: usize,
}

/// How busy the hashing of passwords is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PasswordLoad {
    /// How many callers wait for a worker.
    pub waiting: usize,
    /// How many passwords are worked on.
    pub running: usize,
}

/// A caller's place, and a worker. Free again when dropped.
struct Turn {
    _place: OwnedSemaphorePermit,
    _worker: OwnedSemaphorePermit,
}

impl Default for Argon2Passwords {
    /// Works on half the cores, at least one, with 64 waiting.
    fn default() -> Self {
        let cores = available_parallelism().map_or(1, NonZeroUsize::get);
        Self::new(NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN), WAITING_DEFAULT)
    }
}

impl Argon2Passwords {
    /// Hashes `workers` passwords at once while at most `waiting` callers wait.
    pub fn new(workers: NonZeroUsize, waiting: usize) -> Self {
        let workers = workers.get().min(Semaphore::MAX_PERMITS);
        let places = workers.saturating_add(waiting).min(Semaphore::MAX_PERMITS);
        Self {
            places: Arc::new(Semaphore::new(places)),
            workers: Arc::new(Semaphore::new(workers)),
            places_max: places,
            workers_max: workers,
        }
    }

    /// How many wait and how many are worked on, now.
    pub fn load(&self) -> PasswordLoad {
        let running = self.workers_max.saturating_sub(self.workers.available_permits());
        let inside = self.places_max.saturating_sub(self.places.available_permits());
        PasswordLoad { waiting: inside.saturating_sub(running), running }
    }

    /// Runs `work` when it is its turn.
    ///
    /// A caller that goes away while it waits gives up its place. Once the work runs nothing stops it, so the turn goes
    /// with it: it ends with the work, not with the caller, or callers that hang up would
    /// start more work than there are workers.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, PasswordHasherError> + Send + 'static,
    ) -> Result<T, PasswordHasherError> {
        let turn = self.turn().await?;
        let worked = tokio::task::spawn_blocking(move || {
            let outcome = work();
            drop(turn);
            outcome
        });
        worked.await.map_err(|error| PasswordHasherError::Internal(Arc::new(error)))?
    }

    async fn turn(&self) -> Result<Turn, PasswordHasherError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| PasswordHasherError::Overloaded)?;
        let worker = Arc::clone(&self.workers).acquire_owned().await;
        let worker = worker.map_err(|error| PasswordHasherError::Internal(Arc::new(error)))?;
        Ok(Turn { _place: place, _worker: worker })
    }
}

#[async_trait]
impl PasswordHasher for Argon2Passwords {
    async fn hash(&self, password: &Password) -> Result<PasswordHash, PasswordHasherError> {
        let password = password.clone();
        self.run(move || {
            let hash = argon2id().hash_password(password.reveal().as_bytes()).map_err(internal)?;
            Ok(PasswordHash(hash.to_string()))
        })
        .await
    }

    async fn verify<'a>(
        &self,
        password: &Password,
        hash: Option<&'a PasswordHash>,
    ) -> Result<PasswordMatch, PasswordHasherError> {
        let password = password.clone();
        let hash = hash.cloned();
        self.run(move || {
            let stored = hash.as_ref().map_or(HASH_OF_NOBODY, |hash| &hash.0);
            let is_prepared = matches(password.reveal(), stored)?;
            // Always, if there is another form: the time must not tell which one matched.
            let is_typed = password.reveal_typed().map_or(Ok(false), |typed| matches(typed, stored))?;
            Ok(match (&hash, is_prepared, is_typed) {
                (Some(_), true, _) => PasswordMatch::Prepared,
                (Some(_), false, true) => PasswordMatch::Typed,
                _ => PasswordMatch::No,
            })
        })
        .await
    }
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

    use super::*;

    fn one_worker(waiting: usize) -> Argon2Passwords {
        Argon2Passwords::new(NonZeroUsize::MIN, waiting)
    }

    fn password(text: &str) -> Password {
        Password::parse(text).unwrap()
    }

    /// Everything before the salt: algorithm, version and parameters; and the lengths of salt and digest.
    fn cost(hash: &str) -> (String, usize, usize) {
        let parts: Vec<_> = hash.split('$').collect();
        (parts[1..4].join("$"), parts[4].len(), parts[5].len())
    }

    #[tokio::test]
    async fn a_password_is_the_hashed_one_or_it_is_not() {
        let passwords = one_worker(4);
        let hash = passwords.hash(&password(" pass\0word パ ")).await.unwrap();
        for (attempt, matched) in [
            (" pass\0word パ ", PasswordMatch::Prepared),
            (" pass\0word ハ\u{309a} ", PasswordMatch::Prepared),
            ("\u{a0}pass\0word\u{3000}パ ", PasswordMatch::Prepared),
            (" pass\0word パ", PasswordMatch::No),
            (" pass\0word ﾊﾟ ", PasswordMatch::No),
            ("", PasswordMatch::No),
        ] {
            let attempt = Password::attempt(attempt).unwrap();
            assert_eq!(passwords.verify(&attempt, Some(&hash)).await.unwrap(), matched, "{}", attempt.reveal());
        }
    }

    #[tokio::test]
    async fn hash_of_a_password_as_it_was_typed_matches_that_text_alone() {
        let passwords = one_worker(4);
        let typed = "passwo\u{308}rter";
        let old = PasswordHash(argon2id().hash_password(typed.as_bytes()).unwrap().to_string());
        assert_eq!(passwords.verify(&password(typed), Some(&old)).await.unwrap(), PasswordMatch::Typed);
        assert_eq!(passwords.verify(&password("passw\u{f6}rter"), Some(&old)).await.unwrap(), PasswordMatch::No);
        assert_eq!(passwords.verify(&password(typed), None).await.unwrap(), PasswordMatch::No);
    }

    #[tokio::test]
    async fn each_hash_has_a_salt_of_its_own() {
        let passwords = one_worker(4);
        let one = passwords.hash(&password("password1")).await.unwrap();
        assert_ne!(one, passwords.hash(&password("password1")).await.unwrap());
    }

    #[tokio::test]
    async fn who_has_no_account_is_refused_at_the_cost_of_a_fresh_hash() {
        let passwords = one_worker(4);
        let fresh = passwords.hash(&password("password1")).await.unwrap();
        assert_eq!(cost(HASH_OF_NOBODY), cost(&fresh.0));
        assert_eq!(cost(HASH_OF_NOBODY).0, "argon2id$v=19$m=19456,t=2,p=1");
        assert_eq!(passwords.verify(&password("password1"), None).await.unwrap(), PasswordMatch::No);
    }

    #[tokio::test]
    async fn a_damaged_hash_is_a_failure_and_not_a_wrong_password() {
        for damaged in ["", "password1", "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0c2FsdA"] {
            let verified = one_worker(4).verify(&password("password1"), Some(&PasswordHash(damaged.into()))).await;
            assert!(
                matches!(verified, Ok(PasswordMatch::No) | Err(PasswordHasherError::Internal(_))),
                "{damaged}: {verified:?}"
            );
        }
        let verified = one_worker(4).verify(&password("password1"), Some(&PasswordHash("password1".into()))).await;
        assert!(matches!(verified, Err(PasswordHasherError::Internal(_))), "{verified:?}");
    }

    /// Keeps the worker busy until told to go on.
    async fn busy(passwords: &Argon2Passwords) -> (mpsc::Sender<()>, tokio::task::JoinHandle<()>) {
        let (go_on, wait) = mpsc::channel::<()>();
        let (started, has_started) = tokio::sync::oneshot::channel();
        let passwords = passwords.clone();
        let task = tokio::spawn(async move {
            let work = move || {
                started.send(()).unwrap();
                let _ = wait.recv();
                Ok(())
            };
            passwords.run(work).await.unwrap();
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
            async move { passwords.verify(&password("password1"), None).await }
        });
        until(|| passwords.places.available_permits() == 0).await;
        let refused = passwords.hash(&password("password1")).await;
        assert!(matches!(refused, Err(PasswordHasherError::Overloaded)), "{refused:?}");
        assert_eq!(passwords.load(), PasswordLoad { waiting: 1, running: 1 });
        go_on.send(()).unwrap();
        busy.await.unwrap();
        assert_eq!(waiting.await.unwrap().unwrap(), PasswordMatch::No, "the waiting caller had its turn");
        until(|| passwords.places.available_permits() == 2).await;
        assert_eq!(passwords.load(), PasswordLoad { waiting: 0, running: 0 });
    }

    #[tokio::test]
    async fn a_caller_that_goes_away_gives_up_its_place_but_never_a_worker_that_still_works() {
        let passwords = one_worker(1);
        let (go_on, busy) = busy(&passwords).await;
        let waiting = tokio::spawn({
            let passwords = passwords.clone();
            async move { passwords.verify(&password("password1"), None).await }
        });
        until(|| passwords.places.available_permits() == 0).await;
        waiting.abort();
        until(|| passwords.places.available_permits() == 1).await;
        busy.abort();
        assert!(busy.await.unwrap_err().is_cancelled());
        assert_eq!(passwords.workers.available_permits(), 0, "the work outlives its caller");
        go_on.send(()).unwrap();
        until(|| passwords.workers.available_permits() == 1 && passwords.places.available_permits() == 2).await;
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
                tokio::spawn(async move { passwords.run(work).await })
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
        let outcome = passwords.run::<()>(|| panic!("on purpose")).await;
        assert!(matches!(outcome, Err(PasswordHasherError::Internal(_))), "{outcome:?}");
        until(|| passwords.places.available_permits() == 1 && passwords.workers.available_permits() == 1).await;
    }
}
