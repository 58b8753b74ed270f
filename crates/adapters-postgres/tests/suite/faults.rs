//! Connections that are lost during a booking: every reported outcome is true, and a retry settles an unknown one.

use std::sync::Arc;

use adapters_postgres::{PostgresSettings, PostgresStore};
use diesel_async::{AsyncConnection as _, AsyncPgConnection, SimpleAsyncConnection as _};
use domain::booking::{BatchStore, Command, CommandError, WriteError};
use port_contracts::tools::{MODES, Outcome, RULES, UniqueRandom, book, decided, sell, tally};
use port_contracts::world::{World, customer};
use port_contracts::{Fixture, Stores};

use crate::contracts::{PostgresFixture, make_fixture};
use crate::proxy::{Cut, Proxy};

/// Returns cuts after each of the first messages, in both directions. Each side sends about two messages to establish a connection, and one
/// for each read and each write.
fn plan() -> Vec<Cut> {
    (0..12).flat_map(|after| [Cut::Answer(after), Cut::Request(after)]).collect()
}

/// Returns the same ports, with the committers' connections through the proxy.
async fn through(proxy: &Proxy, fixture: &PostgresFixture) -> Stores {
    let url = fixture.database.url.clone();
    let (before, after) = url.split_once('@').unwrap();
    let (_, path) = after.split_once('/').unwrap();
    let settings = PostgresSettings::parse(&format!("{before}@{}/{path}?sslmode=disable", proxy.address), 2).unwrap();
    // The pool is not used: only the committers' connections are cut.
    let store = PostgresStore::connect(settings).await.unwrap();
    let batch = || -> Arc<dyn BatchStore> { Arc::new(store.batch_store()) };
    Stores { batches: vec![batch(), batch()], ..fixture.stores.clone() }
}

fn server_of(fixture: &PostgresFixture) -> String {
    let (_, after) = fixture.database.url.split_once('@').unwrap();
    after.split_once('/').unwrap().0.to_owned()
}

/// Returns whether the command's key is stored, which means that it has booked.
async fn is_stored(fixture: &PostgresFixture, command: &Command) -> bool {
    let key = command.key.as_ref().unwrap().key.as_str();
    fixture.count(&format!("SELECT count(*) FROM idempotency_keys WHERE key = '{key}'")).await == 1
}

async fn check(fixture: &PostgresFixture, command: &Command, outcome: &Outcome) {
    match outcome {
        Ok(_) => assert!(is_stored(fixture, command).await, "acknowledged and lost"),
        Err(CommandError::Store(_) | CommandError::Overloaded) => {
            assert!(!is_stored(fixture, command).await, "said to have written nothing, and booked");
        }
        Err(CommandError::OutcomeUnknown) => {}
        Err(CommandError::Refused(refusal)) => panic!("nobody else wants the seat: {refusal:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_of_a_booking_is_true_wherever_the_connection_breaks() {
    for mode in [MODES[0], MODES[3]] {
        let fixture = make_fixture().await;
        let world = World::build(&fixture).await;
        let caller = customer(&fixture).await;
        let mut cuts = plan();
        // The two connections that are checked at the start are not cut.
        cuts.splice(0..0, [Cut::Answer(u64::MAX); 2]);
        let planned = u64::try_from(cuts.len()).unwrap();
        let proxy = Proxy::start(server_of(&fixture), cuts).await;
        let stores = through(&proxy, &fixture).await;
        let commands: Vec<_> = world
            .main
            .iter()
            .take(60)
            .enumerate()
            .map(|(at, seat)| book(caller, world.soon, &[seat.id], &format!("key-{at}")))
            .collect();
        sell(&stores, mode, async |sellers| {
            for commands in commands.chunks(4) {
                let outcomes = sellers.submit_all(commands.to_vec()).await;
                for (command, outcome) in commands.iter().zip(&outcomes) {
                    check(&fixture, command, outcome).await;
                    let mut tries = 0;
                    while sellers.submit(command.clone()).await.is_err() {
                        tries += 1;
                        assert!(tries < 100, "a retry never settles it");
                    }
                }
            }
        })
        .await;
        assert!(proxy.connections() > planned, "only {} connections of {planned} were cut", proxy.connections());
        let tally = tally(&fixture).await;
        let sold = i64::try_from(commands.len()).unwrap();
        assert_eq!((tally.bookings, tally.claims, tally.keys, tally.outbox), (sold, sold, sold, sold));
    }
}

/// A rival holds a lock indefinitely. A batch that needs it waits no longer than `lock_timeout`, writes nothing, and is retried. So two
/// servers cannot wait for each other any longer either.
#[tokio::test(flavor = "multi_thread")]
async fn a_lock_that_is_kept_is_waited_for_no_longer_than_the_lock_timeout() {
    let fixture = make_fixture().await;
    let world = World::build(&fixture).await;
    let caller = customer(&fixture).await;
    let wanted = [book(caller, world.soon, &[world.main[0].id], "k")];
    let store = &fixture.stores.batches[0];
    let changes = decided(&fixture.stores, &RULES, &UniqueRandom::new(), &wanted).await.changes;
    let mut rival = AsyncPgConnection::establish(&fixture.database.url).await.unwrap();
    rival.batch_execute(&format!("BEGIN; SELECT 1 FROM shows WHERE id = {} FOR UPDATE", world.soon)).await.unwrap();
    // The rival still holds the lock when this returns.
    let written = store.write(&changes).await;
    assert!(
        matches!(&written, Err(WriteError::Stale(cause)) if cause.to_string().contains("SQLSTATE 55P03")),
        "{written:?}"
    );
    assert_eq!(tally(&fixture).await.bookings, 0);
    rival.batch_execute("ROLLBACK").await.unwrap();
    store.write(&changes).await.unwrap();
    assert_eq!(tally(&fixture).await.bookings, 1);
}
