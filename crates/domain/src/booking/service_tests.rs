//! Where the answer of a request comes from: the replay cache or the store.

use std::sync::{Arc, Mutex};

use futures::executor::block_on;
use futures::future::join;
use mockall::predicate::always;

use super::committer_tests::{Bench, LIMITS, seat, stale};
use super::decide_tests::{OPEN, TestEncoder, booked_claim, command, commit, key_of, place};
use super::*;
use crate::identity::MockSessionStore;
use crate::ids::BookingId;

/// Records the results that are counted.
#[derive(Default)]
struct Told(Mutex<Vec<CommandResult>>);

impl BookingMeter for Told {
    fn settled(&self, action: &'static str, what: CommandResult) {
        assert_eq!(action, "book");
        self.0.lock().unwrap().push(what);
    }
}

/// What one request came to.
struct RequestContext {
    outcome: Result<Answer, CommandError>,
    told: Vec<CommandResult>,
    remembered: Vec<(KeyName, Replay)>,
}

/// Serves a request: the cache knows `known`, sessions of this generation last.
fn serve(
    bench: &Bench,
    store: MockBatchStore,
    known: Option<Replay>,
    generation: i64,
    command: Command,
) -> RequestContext {
    serve_in(bench, store, known, generation, command, ["1", "1", "1"])
}

/// The same, while the store's history is asked for and found to be these.
fn serve_in(
    bench: &Bench,
    store: MockBatchStore,
    known: Option<Replay>,
    generation: i64,
    command: Command,
    histories: [&'static str; 3],
) -> RequestContext {
    let first = History(Arc::from(histories[0]));
    let mut asked = 0;
    let mut history = MockHistorySource::new();
    history.expect_history().returning(move || {
        asked += 1;
        History(Arc::from(*histories.get(asked - 1).unwrap_or(&histories[2])))
    });
    let (queue, committer) = bench.queue(store, LIMITS);
    let remembered = Arc::new(Mutex::new(Vec::new()));
    let mut replays = MockReplayCache::new();
    replays.expect_recall().with(mockall::predicate::eq(first.name(&key_of(&command)))).times(1).return_const(known);
    let notes = Arc::clone(&remembered);
    replays.expect_remember().with(always(), always()).returning(move |key, replay| {
        notes.lock().unwrap().push((key.clone(), replay.clone()));
    });
    let mut sessions = MockSessionStore::new();
    sessions.expect_lasts().returning(move |bearer| Ok(bearer.caller.session_generation == generation));
    let told = Arc::new(Told::default());
    let service = BookingService {
        queue,
        bookings: Arc::new(MockBookingStore::new()),
        holds: Arc::new(MockHoldStore::new()),
        sessions: Arc::new(sessions),
        encoder: Arc::new(TestEncoder),
        replays: Arc::new(replays),
        history: Arc::new(history),
        meter: told.clone(),
    };
    let KeyName { scope, key, .. } = key_of(&command);
    let Command { bearer, fingerprint, action, .. } = command;
    let request = CommandRequest { bearer, scope, key: Some(key), fingerprint, action };
    let asked = async move { service.execute(request).await };
    let (outcome, ()) = block_on(join(asked, committer.run()));
    let (told, remembered) = (told.0.lock().unwrap().clone(), remembered.lock().unwrap().clone());
    RequestContext { outcome, told, remembered }
}

fn known(command: &Command) -> Replay {
    Replay {
        fingerprint: command.fingerprint,
        subject: Subject::Booking(BookingId(41)),
        body: Arc::from(&b"the first answer"[..]),
    }
}

#[test]
fn replay_of_another_history_is_not_answered_from_the_cache() {
    let bench = Bench::new();
    // The session is looked up on a connection to the server that took over.
    let retry = seat(1);
    let store = bench.writing(|_, changes, state| {
        commit(changes, state);
        Ok(())
    });
    let served = serve_in(&bench, store, Some(known(&retry)), 7, retry, ["1", "2", "2"]);
    let answer = served.outcome.unwrap();
    assert!(!answer.replayed, "the booking was lost, and is made again");
    assert_eq!(served.told, [CommandResult::Done]);
}

#[test]
fn answer_is_not_cached_if_the_history_changed_meanwhile() {
    let bench = Bench::new();
    let store = bench.writing(|_, changes, state| {
        commit(changes, state);
        Ok(())
    });
    let served = serve_in(&bench, store, None, 7, seat(1), ["1", "1", "2"]);
    assert!(!served.outcome.unwrap().replayed);
    assert_eq!(served.remembered, []);
}

#[test]
fn cached_name_depends_on_the_history() {
    let key = key_of(&seat(1));
    let named = |history: &str| History(Arc::from(history)).name(&key);
    assert_ne!(named("1"), named("2"));
    assert_ne!(named("1"), named(""));
    assert_eq!(named("1"), named("1"));
}

#[test]
fn a_retry_that_the_cache_knows_asks_the_store_for_nothing_but_the_session() {
    let bench = Bench::new();
    let retry = seat(1);
    let served = serve(&bench, MockBatchStore::new(), Some(known(&retry)), 7, retry);
    let answer = served.outcome.unwrap();
    assert_eq!(
        (answer.subject, &answer.body[..], answer.replayed),
        (Subject::Booking(BookingId(41)), &b"the first answer"[..], true)
    );
    assert_eq!(served.told, [CommandResult::ReplayedFromCache]);
    assert!(served.remembered.is_empty());
}

#[test]
fn a_key_in_the_cache_opens_nothing_to_a_session_that_has_ended() {
    let bench = Bench::new();
    let retry = seat(1);
    let served = serve(&bench, MockBatchStore::new(), Some(known(&retry)), 8, retry);
    assert!(matches!(served.outcome, Err(CommandError::Refused(Refusal::SessionEnded))));
    assert_eq!(served.told, [CommandResult::Refused]);
}

#[test]
fn another_request_with_a_key_that_the_cache_knows_is_for_the_store_to_judge() {
    let bench = Bench::new();
    let other = command(1, OPEN, &[2], "seat-1");
    let store = bench.writing(|_, changes, state| {
        commit(changes, state);
        Ok(())
    });
    // The store knows nothing of the key: the cache had it from elsewhere, and does not decide.
    let served = serve(&bench, store, Some(known(&seat(1))), 7, other);
    assert!(!served.outcome.unwrap().replayed);
    assert_eq!(served.told, [CommandResult::Done]);
}

#[test]
fn what_was_committed_is_remembered_and_nothing_else() {
    let bench = Bench::new();
    let written = |bench: &Bench| {
        bench.writing(|_, changes, state| {
            commit(changes, state);
            Ok(())
        })
    };
    let first = serve(&bench, written(&bench), None, 7, seat(1));
    let answer = first.outcome.unwrap();
    let replay =
        Replay { fingerprint: seat(1).fingerprint, subject: answer.subject.clone(), body: Arc::clone(&answer.body) };
    assert_eq!(first.remembered, [(History(Arc::from("1")).name(&key_of(&seat(1))), replay)]);

    let again = serve(&bench, written(&bench), None, 7, seat(1));
    assert_eq!(
        (again.outcome.unwrap(), again.told),
        (Answer { replayed: true, ..answer }, vec![CommandResult::ReplayedFromStore])
    );
    assert!(again.remembered.is_empty(), "nobody has told how old it is");

    bench.state.lock().unwrap().claims.insert(place(3), booked_claim());
    let refused = serve(&bench, written(&bench), None, 7, seat(3));
    assert_eq!(refused.told, [CommandResult::Conflict]);
    assert!(refused.remembered.is_empty());

    let unwritten = serve(&bench, bench.writing(|_, _, _| stale()), None, 7, seat(4));
    assert_eq!(unwritten.told, [CommandResult::Overloaded]);
    assert!(unwritten.remembered.is_empty());
}
