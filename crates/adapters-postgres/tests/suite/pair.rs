//! A primary and a streaming standby: promotions with and without lost commits, and durability that changes while the server runs.

use std::sync::Arc;
use std::time::Duration;

use adapters_postgres::testing::TestDatabase;
use adapters_postgres::{ConnectError, Durability, PostgresSettings, PostgresStore};
use domain::StoreError;
use domain::booking::{BatchStore, HistorySource as _, ReadSet};
use domain::health::Dependency as _;
use domain::identity::UserStore as _;
use port_contracts::Fixture as _;
use port_contracts::tools::{RULES, SIMPLE, UniqueRandom, book, booked, decided, sell, tally};
use port_contracts::world::{World, customer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_postgres::NoTls;

use crate::conditions::wait_until_replayed;
use crate::contracts::fixture_on;
use crate::server::Server;

/// An address that forwards to the current primary, like a proxy or a floating address.
struct Route {
    address: String,
    target: watch::Sender<String>,
}

impl Route {
    async fn to(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (target, targets) = watch::channel(server.address());
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let target = targets.borrow().clone();
                tokio::spawn(async move {
                    let Ok(mut server) = TcpStream::connect(target).await else { return };
                    let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                });
            }
        });
        Self { address, target }
    }

    fn switch_to(&self, server: &Server) {
        self.target.send(server.address()).unwrap();
    }

    fn database(&self) -> TestDatabase {
        TestDatabase { name: "postgres".to_owned(), url: format!("postgres://booking@{}/postgres", self.address) }
    }
}

async fn primary(settings: &[&str]) -> Server {
    let server = Server::start(settings);
    let store = PostgresStore::connect(PostgresSettings::parse(&server.database().url, 1).unwrap()).await.unwrap();
    store.migrate().await.unwrap();
    server
}

async fn execute(server: &Server, sql: &str) {
    let (client, connection) = tokio_postgres::connect(&server.database().url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client.batch_execute(sql).await.unwrap();
}

/// Waits until a condition is true, however slow the machine is.
async fn until(mut happened: impl AsyncFnMut() -> bool) {
    while !happened().await {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn is_streaming(primary: &Server) -> bool {
    let (client, connection) = tokio_postgres::connect(&primary.database().url, NoTls).await.unwrap();
    tokio::spawn(connection);
    let counted = client.query_one("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'", &[]).await;
    counted.unwrap().get::<_, i64>(0) == 1
}

/// A failover that loses commits changes the history, so that no cached answer is replayed. A committer discards its block of ids, because
/// the new primary allocates it again.
#[tokio::test(flavor = "multi_thread")]
async fn lossy_failover_changes_the_history_and_discards_reserved_ids() {
    let mut old = primary(&[]).await;
    let route = Route::to(&old).await;
    let fixture = fixture_on(route.database()).await;
    let world = World::build(&fixture).await;
    let caller = customer(&fixture).await;
    let mut standby = old.standby("standby");
    wait_until_replayed(&old, &standby).await;
    standby.stop_in_order();
    let commands: Vec<_> =
        world.main.iter().take(2).map(|seat| book(caller, world.soon, &[seat.id], &seat.id.to_string())).collect();
    sell(&fixture.stores, SIMPLE, async |sellers| {
        // This booking is acknowledged and then lost.
        let (lost, ..) = booked(&sellers.submit(commands[0].clone()).await);
        let before = fixture.store.history();
        assert!(!before.0.is_empty());
        old.kill();
        standby.restart();
        standby.promote();
        route.switch_to(&standby);
        // The first session on the new primary observes the change.
        until(async || fixture.store.by_id(caller.user_id).await.is_ok()).await;
        let after = fixture.store.history();
        assert_ne!(before, after);
        let key = commands[0].key.as_ref().unwrap();
        assert_ne!(before.name(key), after.name(key));
        let store = &fixture.stores.batches[0];
        until(async || store.read(&ReadSet::default()).await.is_ok()).await;
        assert_eq!(store.read(&ReadSet::default()).await.unwrap().history, after);
        assert_eq!(fixture.count("SELECT count(*) FROM bookings").await, 0);
        // Another server books with ids of the block that was allocated before.
        let rival = decided(&fixture.stores, &RULES, &UniqueRandom::new(), &commands[1..]).await.changes;
        assert_eq!(rival.bookings[0].id, lost, "the new primary does not know that the block was given out");
        store.write(&rival).await.unwrap();
        let (again, _, replayed) = booked(&sellers.submit(commands[0].clone()).await);
        assert!(!replayed && again.0 >= lost.0 + 64, "{again:?} is of the block of {lost:?}");
    })
    .await;
    assert_eq!(tally(&fixture).await.bookings, 2);
}

/// A barrier waits like a commit: without its standby, the primary does not confirm the rows that it shows.
#[tokio::test(flavor = "multi_thread")]
async fn barrier_waits_for_the_standby() {
    let old = primary(&[]).await;
    let fixture = fixture_on(old.database()).await;
    let mut standby = old.standby("standby");
    until(async || is_streaming(&old).await).await;
    execute(&old, "ALTER SYSTEM SET synchronous_standby_names = 'standby'").await;
    execute(&old, "SELECT pg_reload_conf()").await;
    let store = &fixture.stores.batches[0];
    until(async || store.confirm().await.is_ok()).await;
    standby.kill();
    until(async || !is_streaming(&old).await).await;
    let confirmed = store.confirm().await;
    assert!(matches!(confirmed, Err(StoreError::Unavailable(_))), "{confirmed:?}");
    // Committed rows can still be read.
    store.read(&ReadSet::default()).await.unwrap();
    standby.restart();
    until(async || store.confirm().await.is_ok()).await;
}

/// A planned switchover loses nothing, and bookings continue at the new primary.
#[tokio::test(flavor = "multi_thread")]
async fn bookings_go_on_after_a_promotion() {
    let mut old = primary(&[]).await;
    let route = Route::to(&old).await;
    let fixture = fixture_on(route.database()).await;
    let world = World::build(&fixture).await;
    let caller = customer(&fixture).await;
    let standby = old.standby("standby");
    let commands: Vec<_> =
        world.main.iter().take(10).map(|seat| book(caller, world.soon, &[seat.id], &seat.id.to_string())).collect();
    sell(&fixture.stores, SIMPLE, async |sellers| {
        for command in &commands[..5] {
            booked(&sellers.submit(command.clone()).await);
        }
        wait_until_replayed(&old, &standby).await;
        old.kill();
        standby.promote();
        route.switch_to(&standby);
        for command in &commands {
            until(async || sellers.submit(command.clone()).await.is_ok()).await;
        }
    })
    .await;
    assert_eq!(tally(&fixture).await.bookings, 10);
}

async fn replicated(server: &Server) -> Result<PostgresStore, ConnectError> {
    let settings = PostgresSettings::parse(&server.database().url, 2).unwrap();
    PostgresStore::connect(settings.with_durability(Durability::Replicated)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn weak_synchronous_commit_is_refused_at_the_start() {
    let server = primary(&[]).await;
    for (setting, local, replicated_too) in [
        ("off", false, false),
        ("local", true, false),
        ("remote_write", true, false),
        ("on", true, true),
        ("remote_apply", true, true),
    ] {
        execute(&server, &format!("ALTER DATABASE postgres SET synchronous_commit = {setting}")).await;
        let settings = PostgresSettings::parse(&server.database().url, 1).unwrap();
        assert_eq!(PostgresStore::connect(settings).await.is_ok(), local, "{setting}");
        assert_eq!(replicated(&server).await.is_ok(), replicated_too, "{setting}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_replication_degrades_readiness_until_it_is_back() {
    let server = primary(&[]).await;
    let store = replicated(&server).await.unwrap();
    assert_eq!(store.is_replicated(), Some(false));
    let found = store.check().await.unwrap();
    assert_eq!(found.iter().map(|found| (found.name, found.state)).collect::<Vec<_>>(), [("replication", "none")]);
    let standby = server.standby("standby");
    until(async || is_streaming(&server).await).await;
    execute(&server, "ALTER SYSTEM SET synchronous_standby_names = 'standby'").await;
    execute(&server, "SELECT pg_reload_conf()").await;
    // The periodic check observes the change without a request.
    until(async || store.is_replicated() == Some(true)).await;
    assert_eq!(store.check().await.unwrap(), []);
    drop(standby);
    execute(&server, "ALTER SYSTEM RESET synchronous_standby_names").await;
    execute(&server, "SELECT pg_reload_conf()").await;
    until(async || store.is_replicated() == Some(false)).await;
    // A store that does not require replication is healthy without it.
    let settings = PostgresSettings::parse(&server.database().url, 1).unwrap();
    let local = PostgresStore::connect(settings).await.unwrap();
    assert_eq!((local.is_replicated(), local.check().await.unwrap()), (None, Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn synchronous_commit_that_is_turned_off_while_serving_stops_writes() {
    let server = primary(&[]).await;
    let fixture = fixture_on(server.database()).await;
    let world = World::build(&fixture).await;
    let caller = customer(&fixture).await;
    let store: Arc<dyn BatchStore> = fixture.stores.batches[0].clone();
    store.reserve_booking_ids().await.unwrap();
    fixture.store.check().await.unwrap();
    execute(&server, "ALTER SYSTEM SET synchronous_commit = off").await;
    execute(&server, "SELECT pg_reload_conf()").await;
    until(async || matches!(store.reserve_booking_ids().await, Err(StoreError::Unavailable(_)))).await;
    until(async || matches!(fixture.store.check().await, Err(StoreError::Unavailable(_)))).await;
    execute(&server, "ALTER SYSTEM RESET synchronous_commit").await;
    execute(&server, "SELECT pg_reload_conf()").await;
    until(async || fixture.store.check().await.is_ok()).await;
    let command = book(caller, world.soon, &[world.main[0].id], "k");
    sell(&fixture.stores, SIMPLE, async |sellers| booked(&sellers.submit(command.clone()).await)).await;
}
