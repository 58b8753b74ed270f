//! A Redis that is down, slow or returns invalid data: calls return in time, and recover once it does.

use std::time::Duration;

use adapters_redis::testing::{Fault, FaultyProxy, TestRedis};
use domain::health::Dependency as _;
use port_contracts::replays::{key, replay};

use crate::support::{Server, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_server_starts_without_redis_and_uses_it_once_it_is_there() {
    let mut redis = TestRedis::start().await.unwrap();
    redis.stop().await;
    let server = Server::at(&redis.url());
    server.assert_does_without("before").await;
    assert!(server.redis.check().await.is_err());
    redis.start_again().await.unwrap();
    server.assert_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_stops_and_comes_back_empty_is_used_again() {
    let mut redis = TestRedis::start().await.unwrap();
    let server = Server::at(&redis.url());
    for round in 0..3 {
        let name = format!("round-{round}");
        server.assert_works(&name).await;
        redis.stop().await;
        server.assert_does_without(&format!("without-{round}")).await;
        redis.start_again().await.unwrap();
        server.until_well().await;
        assert_eq!(server.recall(&key(1, "POST /api/bookings", &name)).await, None, "it came back empty");
        // The server keeps its own counts.
        assert!(!server.count(&name).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_breaker_opens_refuses_without_asking_and_closes_again() {
    let redis = TestRedis::start().await.unwrap();
    let proxy = FaultyProxy::start(redis.port()).await.unwrap();
    let server = Server::at(&proxy.url());
    server.assert_works("before").await;
    proxy.set(Fault::Late(Duration::from_secs(5)));
    let name = key(1, "POST /api/bookings", "key");
    until("the breaker does not open", async || {
        server.recall(&name).await;
        server.redis.report().open
    })
    .await;
    let before = server.redis.report();
    assert!(before.failed >= 3, "{before:?}");
    for _ in 0..1_000 {
        assert_eq!(server.recall(&name).await, None);
    }
    let after = server.redis.report();
    assert!(after.refused >= before.refused + 900, "{before:?} {after:?}");
    proxy.set(Fault::None);
    server.assert_works("after").await;
    assert!(server.redis.report().succeeded > after.succeeded);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_takes_five_seconds_a_command_keeps_nobody_waiting() {
    let redis = TestRedis::start().await.unwrap();
    let proxy = FaultyProxy::start(redis.port()).await.unwrap();
    let server = Server::at(&proxy.url());
    server.assert_works("before").await;
    proxy.set(Fault::Late(Duration::from_secs(5)));
    server.assert_does_without("meanwhile").await;
    // The client closes the connection and recovers on a new one.
    let before = proxy.commands();
    until("the connection is not given up", async || {
        server.recall(&key(1, "POST /api/bookings", "key")).await;
        proxy.commands() > before
    })
    .await;
    proxy.set(Fault::None);
    server.assert_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_errors_or_nonsense_are_none() {
    let redis = TestRedis::start().await.unwrap();
    let proxy = FaultyProxy::start(redis.port()).await.unwrap();
    let server = Server::at(&proxy.url());
    for (at, answer) in [
        "-ERR unknown command\r\n",
        "-LOADING Redis is loading the dataset in memory\r\n",
        "-READONLY You can't write against a read only replica.\r\n",
        "-NOAUTH Authentication required.\r\n",
        "-ERR This instance has cluster support disabled\r\n",
        "-MOVED 1 127.0.0.1:1\r\n",
        "-CLUSTERDOWN Hash slot not served\r\n",
        "-\r\n",
        "+OK\r\n",
        ":1\r\n",
        "$-1\r\n",
        "$3\r\nabc\r\n",
        "*2\r\n$3\r\nabc\r\n:7\r\n",
        "*-1\r\n",
        "nonsense\r\n",
        "\u{0}\u{1}\u{2}\r\n",
        // Never ends.
        "$1000000\r\nabc",
    ]
    .into_iter()
    .enumerate()
    {
        server.assert_works(&format!("before-{at}")).await;
        proxy.set(Fault::Answer(answer.as_bytes().to_vec()));
        server.assert_does_without(&format!("meanwhile-{at}")).await;
        proxy.set(Fault::None);
    }
    server.assert_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_cut_off_are_none() {
    let redis = TestRedis::start().await.unwrap();
    let proxy = FaultyProxy::start(redis.port()).await.unwrap();
    let server = Server::at(&proxy.url());
    server.assert_works("before").await;
    let (name, kept) = (key(1, "POST /api/bookings", "key"), replay(1, 1, &[7; 10_000]));
    server.remember(&name, &kept).await;
    proxy.set(Fault::Cut);
    for _ in 0..20 {
        assert_eq!(server.recall(&name).await, None);
    }
    server.assert_does_without("meanwhile").await;
    proxy.set(Fault::None);
    server.until_well().await;
    until("it is not recalled", async || server.recall(&name).await.as_ref() == Some(&kept)).await;
    server.assert_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_callers_at_once_are_all_answered_while_redis_is_frozen() {
    let redis = TestRedis::start().await.unwrap();
    let proxy = FaultyProxy::start(redis.port()).await.unwrap();
    let server = Server::at(&proxy.url());
    server.assert_works("before").await;
    proxy.set(Fault::Late(Duration::from_secs(5)));
    let name = key(1, "POST /api/bookings", "key");
    let recalled = futures::future::join_all((0..1_000).map(|_| server.recall(&name))).await;
    assert!(recalled.iter().all(Option::is_none));
    let report = server.redis.report();
    // The number of concurrent calls is bounded, whatever their callers.
    assert!(report.refused >= 700, "{report:?}");
    proxy.set(Fault::None);
    server.assert_works("after").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_ends_with_its_server() {
    let redis = TestRedis::start().await.unwrap();
    let clients = async || {
        let list: String = redis.command("CLIENT", &[b"LIST"]).await.unwrap();
        list.lines().count()
    };
    let server = Server::at(&redis.url());
    server.until_well().await;
    assert_eq!(clients().await, 2, "it, and who asks");
    drop(server);
    until("it stays connected", async || clients().await == 1).await;
}
