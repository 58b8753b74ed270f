//! The known sites of accounts, shared between servers.

use std::sync::Arc;
use std::time::Duration;

use adapters_redis::testing::TestRedis;
use domain::limits::ClientNetwork;
use port_contracts::tools::SetClock;

use crate::support::{SECRET, Server, only_key, set, value};

const ACCOUNT: &str = "ana@example.org";

fn site(last: u8) -> ClientNetwork {
    ClientNetwork::V4([192, 0, last, 0].into())
}

async fn server(redis: &TestRedis, secret: &[u8], clock: &Arc<SetClock>) -> Server {
    let server = Server::patient(&redis.url(), secret, clock.clone());
    server.until_well().await;
    server
}

#[tokio::test(flavor = "multi_thread")]
async fn site_is_known_to_all_servers_until_it_expires() {
    let redis = TestRedis::start().await.unwrap();
    let clock = Arc::new(SetClock::new());
    let (one, other) = (server(&redis, SECRET, &clock).await, server(&redis, SECRET, &clock).await);
    let stranger = server(&redis, b"another secret of these tests, 0123456789", &clock).await;
    assert!(!other.sites.is_known(ACCOUNT, site(1)).await);
    one.sites.remember(ACCOUNT, site(1)).await;
    for known in [&one, &other] {
        assert!(known.sites.is_known(ACCOUNT, site(1)).await);
        assert!(!known.sites.is_known(ACCOUNT, site(2)).await);
        assert!(!known.sites.is_known("eve@example.org", site(1)).await);
    }
    assert!(!stranger.sites.is_known(ACCOUNT, site(1)).await);
    clock.pass(Duration::from_secs(24 * 3600 - 1));
    assert!(other.sites.is_known(ACCOUNT, site(1)).await);
    clock.pass(Duration::from_secs(1));
    assert!(!other.sites.is_known(ACCOUNT, site(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn site_counts_only_as_a_server_wrote_it() {
    let redis = TestRedis::start().await.unwrap();
    let clock = Arc::new(SetClock::new());
    let (one, other) = (server(&redis, SECRET, &clock).await, server(&redis, SECRET, &clock).await);
    one.sites.remember(ACCOUNT, site(1)).await;
    let key = only_key(&redis).await;
    let genuine = value(&redis, &key).await;
    for at in 0..genuine.len() {
        let mut forged = genuine.clone();
        forged[at] ^= 1;
        set(&redis, &key, &forged).await;
        assert!(!other.sites.is_known(ACCOUNT, site(1)).await, "byte {at}");
    }
    for forged in [&genuine[1..], &genuine[..genuine.len() - 1], &[&genuine[..], b"x"].concat(), b"", b"1"] {
        set(&redis, &key, forged).await;
        assert!(!other.sites.is_known(ACCOUNT, site(1)).await, "{} bytes", forged.len());
    }
    one.sites.remember("eve@example.org", site(1)).await;
    let another = redis.keys().await.unwrap().into_iter().find(|found| *found != key).unwrap();
    set(&redis, &another, &genuine).await;
    assert!(!other.sites.is_known("eve@example.org", site(1)).await);
    set(&redis, &key, &genuine).await;
    assert!(other.sites.is_known(ACCOUNT, site(1)).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn server_without_its_redis_knows_what_it_saw_itself() {
    let mut redis = TestRedis::start().await.unwrap();
    let server = Server::at(&redis.url());
    server.until_well().await;
    redis.stop().await;
    server.sites.remember(ACCOUNT, site(1)).await;
    assert!(server.sites.is_known(ACCOUNT, site(1)).await);
    assert!(!server.sites.is_known(ACCOUNT, site(2)).await);
}
