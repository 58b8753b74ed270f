//! TLS to PostgreSQL: each `sslmode` checks what it promises. A proxy terminates TLS in front of the real server.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use adapters_postgres::testing::TestDatabase;
use adapters_postgres::{ConnectError, PostgresSettings, PostgresStore};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// Returns the configuration of a server for `localhost`, whose certificate the authority signed.
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

/// Accepts a client's TLS request like PostgreSQL, and forwards the decrypted traffic. A client without TLS is not served.
async fn tls_proxy(server: String, config: ServerConfig) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let mut wish = [0; 8];
                client.read_exact(&mut wish).await.unwrap();
                if wish != [0, 0, 0, 8, 4, 210, 22, 47] {
                    return;
                }
                client.write_all(b"S").await.unwrap();
                let Ok(mut encrypted) = acceptor.accept(client).await else { return };
                let mut plain = TcpStream::connect(server).await.unwrap();
                let _ = copy_bidirectional(&mut encrypted, &mut plain).await;
            });
        }
    });
    address
}

struct Fixture {
    database: TestDatabase,
    port: u16,
    folder: tempfile::TempDir,
}

impl Fixture {
    async fn start() -> Self {
        let database = TestDatabase::create().await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let (ours, other) = (authority(), authority());
        std::fs::write(folder.path().join("ca.pem"), ours.pem()).unwrap();
        std::fs::write(folder.path().join("other.pem"), other.pem()).unwrap();
        let (_, rest) = database.url.split_once('@').unwrap();
        let server = rest.split_once('/').unwrap().0.to_owned();
        let port = tls_proxy(server, server_config(&ours)).await.port();
        Self { database, port, folder }
    }

    fn file(&self, name: &str) -> String {
        let path: &Path = &self.folder.path().join(name);
        format!("&sslrootcert={}", path.display())
    }

    async fn connect(&self, host: &str, mode: &str, root_cert: &str) -> Result<(), ConnectError> {
        let (before, _) = self.database.url.split_once('@').unwrap();
        let url = format!("{before}@{host}:{}/{}?sslmode={mode}{root_cert}", self.port, self.database.name);
        PostgresStore::connect(PostgresSettings::parse(&url, 1).unwrap()).await.map(|_| ())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_mode_checks_what_it_says() {
    let fixture = Fixture::start().await;
    let (ours, other) = (fixture.file("ca.pem"), fixture.file("other.pem"));
    for (host, mode, root_cert, connects) in [
        ("localhost", "verify-full", ours.as_str(), true),
        ("127.0.0.1", "verify-full", &ours, false),
        ("localhost", "verify-full", &other, false),
        ("localhost", "verify-full", "", false),
        ("127.0.0.1", "verify-ca", &ours, true),
        ("localhost", "verify-ca", &other, false),
        ("127.0.0.1", "require", "", true),
        ("127.0.0.1", "require", &ours, true),
        ("127.0.0.1", "require", &other, false),
        ("127.0.0.1", "prefer", "", true),
        // This server accepts no connection without TLS.
        ("127.0.0.1", "disable", "", false),
    ] {
        let connected = fixture.connect(host, mode, root_cert).await;
        assert_eq!(connected.is_ok(), connects, "{host} {mode} {root_cert}: {connected:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_insists_on_tls_never_talks_without_it() {
    // The test server has no TLS.
    let database = TestDatabase::create().await.unwrap();
    for (mode, connects) in [("require", false), ("verify-ca", false), ("prefer", true), ("disable", true)] {
        let settings = PostgresSettings::parse(&format!("{}?sslmode={mode}", database.url), 1);
        let connected = match settings {
            Ok(settings) => PostgresStore::connect(settings).await.is_ok(),
            // A system without CA certificates cannot verify any certificate.
            Err(_) => false,
        };
        assert_eq!(connected, connects, "{mode}");
    }
}

/// Every form of a connection string that requires TLS gets it, or fails to connect.
#[tokio::test(flavor = "multi_thread")]
async fn tls_is_required_by_every_form_of_a_connection_string() {
    let fixture = Fixture::start().await;
    let (_, rest) = fixture.database.url.split_once('@').unwrap();
    let plain_port: u16 = rest.split_once('/').unwrap().0.rsplit_once(':').unwrap().1.parse().unwrap();
    let name = &fixture.database.name;
    for (port, connects) in [(fixture.port, true), (plain_port, false)] {
        for text in [
            format!("host=127.0.0.1 port={port} user=booking password=p?w dbname={name} sslmode=require"),
            format!("postgres://booking:p%3Fw@127.0.0.1:{port}/{name}?sslmode=require"),
            format!("postgresql:///{name}?host=127.0.0.1&port={port}&user=booking&sslmode=require"),
            format!("postgres://booking@nowhere.invalid:{port}/{name}?hostaddr=127.0.0.1&sslmode=require"),
        ] {
            let connected = PostgresStore::connect(PostgresSettings::parse(&text, 1).unwrap()).await.map(|_| ());
            assert_eq!(connected.is_ok(), connects, "{text}: {connected:?}");
            assert!(connects || matches!(connected, Err(ConnectError::Refused(_))), "{text}: {connected:?}");
        }
        let port = port.to_string();
        let parts =
            [("host", "127.0.0.1"), ("port", &port), ("user", "booking"), ("dbname", name), ("sslmode", "require")];
        let connected = PostgresStore::connect(PostgresSettings::from_parts(parts, 1).unwrap()).await.map(|_| ());
        assert_eq!(connected.is_ok(), connects, "{connected:?}");
    }
}
