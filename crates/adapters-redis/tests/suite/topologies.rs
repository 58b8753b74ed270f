//! Tests of TLS, Sentinels and clusters.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use adapters_redis::testing::{Role, TestRedis};
use adapters_redis::{Redis, RedisSettings};
use domain::health::Dependency as _;
use port_contracts::replays::{key, replay};
use port_contracts::tools::SetClock;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tempfile::TempDir;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use crate::support::{RealTimer, SECRET, Server, until};

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Returns the TLS configuration of a server for `localhost`, with a certificate signed by the authority.
fn server_config(authority: &CertifiedIssuer<'static, KeyPair>) -> ServerConfig {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap()
}

/// Starts a proxy that speaks TLS in front of a Redis.
async fn tls_proxy(redis: &TestRedis, config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (acceptor, server) = (TlsAcceptor::from(Arc::new(config)), redis.authority());
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let Ok(mut encrypted) = acceptor.accept(client).await else { return };
                let mut plain = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut encrypted, &mut plain).await;
            });
        }
    });
    address
}

fn pem(folder: &TempDir, name: &str, authority: &CertifiedIssuer<'static, KeyPair>) -> PathBuf {
    let path = folder.path().join(name);
    std::fs::write(&path, authority.pem()).unwrap();
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_for_this_host_by_a_known_authority() {
    let redis = TestRedis::start().await.unwrap();
    let (ours, other) = (authority(), authority());
    let port = tls_proxy(&redis, server_config(&ours)).await.port();
    let folder = tempfile::tempdir().unwrap();
    let (ours, other) = (pem(&folder, "ours.pem", &ours), pem(&folder, "other.pem", &other));
    let connect = |url: String, authorities: &PathBuf| {
        let settings = RedisSettings::parse(&url, Some(authorities)).unwrap();
        Server::on(Redis::connect(&settings, Arc::new(RealTimer)), SECRET, Arc::new(SetClock::new()))
    };
    let server = connect(format!("rediss://localhost:{port}"), &ours);
    server.assert_works("tls").await;
    let strangers = [
        connect(format!("rediss://localhost:{port}"), &other),
        connect(format!("rediss://127.0.0.1:{port}"), &ours),
        // A server without TLS.
        connect(format!("rediss://localhost:{}", redis.port()), &ours),
        Server::at(&format!("redis://localhost:{port}")),
    ];
    // Enough time for a few attempts to connect.
    tokio::time::sleep(Duration::from_secs(2)).await;
    for stranger in strangers {
        assert!(stranger.redis.check().await.is_err());
        stranger.assert_does_without("stranger").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_is_needed_where_redis_has_one() {
    let redis = TestRedis::start().await.unwrap();
    redis.command::<()>("CONFIG", &[b"SET", b"requirepass", b"p@ss/word"]).await.unwrap();
    let at = |credentials: &str| Server::at(&format!("redis://{credentials}{}", redis.authority()));
    at(":p%40ss%2Fword@").assert_works("right").await;
    at("default:p%40ss%2Fword@").assert_works("with a user").await;
    let strangers = [at(""), at(":wrong@")];
    tokio::time::sleep(Duration::from_secs(1)).await;
    for stranger in strangers {
        assert!(stranger.redis.check().await.is_err());
        stranger.assert_does_without("stranger").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn databases_are_apart() {
    let redis = TestRedis::start().await.unwrap();
    let (first, third) = (Server::at(&redis.url()), Server::at(&format!("{}/3", redis.url())));
    let (name, kept) = (key(1, "POST /api/bookings", "k"), replay(1, 1, b"answer"));
    third.until_well().await;
    third.remember(&name, &kept).await;
    first.until_well().await;
    assert_eq!(first.recall(&name).await, None);
    assert!(redis.keys().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_used() {
    let mut cluster = TestRedis::start_as(Role::Cluster).await.unwrap();
    let server = Server::at(&cluster.url());
    for name in ["one", "two", "three", "four", "five"] {
        server.assert_works(name).await;
    }
    assert_eq!(cluster.keys().await.unwrap().len(), 10);
    cluster.stop().await;
    server.assert_does_without("without").await;
    cluster.start_again().await.unwrap();
    server.assert_works("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_address_of_a_single_server_does_without_it() {
    let redis = TestRedis::start().await.unwrap();
    let server = Server::at(&format!("redis-cluster://{}", redis.authority()));
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(server.redis.check().await.is_err());
    server.assert_does_without("single").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sentinels_tell_where_the_server_is() {
    let mut redis = TestRedis::start().await.unwrap();
    let mut sentinel = TestRedis::start_as(Role::Sentinel { port: redis.port() }).await.unwrap();
    let server = Server::at(&sentinel.url());
    server.assert_works("first").await;
    // Without the Sentinel, an existing connection continues to work.
    sentinel.stop().await;
    server.assert_works("second").await;
    redis.stop().await;
    server.assert_does_without("without").await;
    redis.start_again().await.unwrap();
    assert!(server.redis.check().await.is_err(), "nobody tells where it is");
    sentinel.start_again().await.unwrap();
    server.assert_works("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_server_is_used_once_the_sentinels_say_so() {
    let first = TestRedis::start().await.unwrap();
    let second = TestRedis::start().await.unwrap();
    let port = first.port().to_string();
    second.command::<()>("REPLICAOF", &[b"127.0.0.1", port.as_bytes()]).await.unwrap();
    let is_synchronised = async || {
        let info: String = second.command("INFO", &[b"replication"]).await.unwrap();
        info.contains("master_link_status:up")
    };
    until("the replica does not come up", is_synchronised).await;
    let sentinel = TestRedis::start_as(Role::Sentinel { port: first.port() }).await.unwrap();
    let server = Server::at(&sentinel.url());
    let (name, kept) = (key(1, "POST /api/bookings", "k"), replay(1, 1, b"answer"));
    server.until_well().await;
    server.remember(&name, &kept).await;
    // The Sentinel learns of replicas from their server, every ten seconds.
    until("the Sentinel does not fail over", async || {
        sentinel.command::<()>("SENTINEL", &[b"FAILOVER", b"main"]).await.is_ok()
    })
    .await;
    // A server closes its connections when its role changes. A Sentinel may abort a failover on a busy machine: ask for another one.
    let is_promoted = async || {
        let _ = sentinel.command::<()>("SENTINEL", &[b"FAILOVER", b"main"]).await;
        let info = second.command::<String>("INFO", &[b"replication"]).await;
        info.is_ok_and(|info| info.contains("role:master"))
    };
    until("the replica is not promoted", is_promoted).await;
    drop(first);
    server.assert_works("after the fail-over").await;
    until("what was remembered is lost", async || server.recall(&name).await.as_ref() == Some(&kept)).await;
}
