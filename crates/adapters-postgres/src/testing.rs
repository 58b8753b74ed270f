//! Separate databases for tests: each test program migrates one template, and each test clones it. Also starts a PgBouncer for tests.

use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Stdio};
use std::str::FromStr as _;
use std::time::{SystemTime, UNIX_EPOCH};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tempfile::TempDir;
use tokio::sync::OnceCell;
use tokio_postgres::Config;
use tokio_postgres::config::Host;

pub use crate::batch::BOOKING_STATEMENTS;
use crate::settings::PostgresSettings;
use crate::store::PostgresStore;

/// The variable with the URL of the test server. `cargo xtask test` starts a server and sets the variable.
pub const TEST_DATABASE_URL: &str = "TEST_DATABASE_URL";

/// The variable with the name of a database on that server to clone, instead of a template that this program migrates. `cargo xtask
/// rollout` sets it to a database that a later release has migrated.
pub const TEST_DATABASE_TEMPLATE: &str = "TEST_DATABASE_TEMPLATE";

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A database of one test.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// The name of the database on the server.
    pub name: String,
    pub url: String,
}

type TestResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl TestDatabase {
    /// Creates a database with the schema and no rows.
    pub async fn create() -> TestResult<Self> {
        let template = TEMPLATE.get_or_try_init(make_template).await?;
        Self::create_from(Some(template)).await
    }

    /// Creates a database without a schema.
    pub async fn create_empty() -> TestResult<Self> {
        Self::create_from(None).await
    }

    /// Creates another database on the same server with these options of `CREATE DATABASE`.
    pub async fn sibling(&self, options: &str) -> TestResult<Self> {
        let name = unique_name("test");
        execute(&server_url()?, &format!("CREATE DATABASE {name} {options}")).await?;
        Ok(Self { url: database_url(&name)?, name })
    }

    async fn create_from(template: Option<&String>) -> TestResult<Self> {
        let name = unique_name("test");
        let from = template.map(|template| format!(" TEMPLATE {template}")).unwrap_or_default();
        execute(&server_url()?, &format!("CREATE DATABASE {name}{from}")).await?;
        Ok(Self { url: database_url(&name)?, name })
    }

    /// Runs SQL on the database.
    pub async fn execute(&self, sql: &str) -> TestResult<()> {
        execute(&self.url, sql).await
    }

    /// Rejects new connections and terminates the existing ones, so that the database is unavailable.
    pub async fn take_down(&self) -> TestResult<()> {
        let server = server_url()?;
        execute(&server, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name)).await?;
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name);
        execute(&server, &end).await
    }

    /// Accepts connections again.
    pub async fn bring_up(&self) -> TestResult<()> {
        execute(&server_url()?, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS true", self.name)).await
    }
}

async fn make_template() -> TestResult<String> {
    if let Ok(given) = std::env::var(TEST_DATABASE_TEMPLATE) {
        return Ok(given);
    }
    let name = unique_name("template");
    execute(&server_url()?, &format!("CREATE DATABASE {name}")).await?;
    let store = PostgresStore::connect(PostgresSettings::parse(&database_url(&name)?, 1)?).await?;
    store.migrate().await?;
    Ok(name)
}

fn server_url() -> TestResult<String> {
    std::env::var(TEST_DATABASE_URL).map_err(|_| {
        format!("{TEST_DATABASE_URL} is not set: run the tests by `cargo xtask test`, which starts a server").into()
    })
}

/// Returns the server's URL with another database.
fn database_url(name: &str) -> TestResult<String> {
    let url = server_url()?;
    let (base, query) = url.split_once('?').map_or((url.as_str(), None), |(base, query)| (base, Some(query)));
    let (server, _) = base.rsplit_once('/').ok_or("the test database's URL ends in /DATABASE")?;
    Ok(query.map_or_else(|| format!("{server}/{name}"), |query| format!("{server}/{name}?{query}")))
}

/// Returns a name that is unique among concurrent tests: it contains the process id, the time and a count.
fn unique_name(what: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("{what}_{}_{time}_{count}", std::process::id())
}

async fn execute(url: &str, sql: &str) -> TestResult<()> {
    let mut connection: AsyncPgConnection = PostgresSettings::parse(url, 1)?.establish_one().await?;
    // Creating a database takes longer than the program's statement timeout.
    connection.batch_execute("SET statement_timeout = '60s'; SET lock_timeout = '60s'").await?;
    connection.batch_execute(sql).await?;
    Ok(())
}

/// The time when PgBouncer returns a server connection to its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolMode {
    /// When the client disconnects.
    Session,
    /// At the end of each transaction.
    Transaction,
}

/// A PgBouncer in front of the test server, on its own port. It is stopped when this is dropped.
#[derive(Debug)]
pub struct PgBouncer {
    process: Child,
    port: u16,
    folder: TempDir,
}

impl PgBouncer {
    /// Starts the installed `pgbouncer`. It serves every database of the test server by its own name, and accepts every password.
    /// `settings` are additional lines of the section `[pgbouncer]`, such as `default_pool_size = 2`.
    pub fn start(mode: PoolMode, settings: &[&str]) -> TestResult<Self> {
        let server = Config::from_str(&server_url()?)?;
        let user = server.get_user().unwrap_or("booking");
        let Some(Host::Tcp(host)) = server.get_hosts().first() else {
            return Err("the test server has no host".into());
        };
        let port = server.get_ports().first().copied().unwrap_or(5432);
        // Another program may take the port before PgBouncer does, so several ports are tried.
        for _ in 0..5 {
            let listen_port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
            let mode = match mode {
                PoolMode::Session => "session",
                PoolMode::Transaction => "transaction",
            };
            let configuration = format!(
                "[databases]\n* = host={host} port={port}\n\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
                 listen_port = {listen_port}\nunix_socket_dir =\nauth_type = trust\nauth_file = users.txt\n\
                 pool_mode = {mode}\nmax_client_conn = 500\ndefault_pool_size = 50\n{}\n",
                settings.join("\n")
            );
            let folder = tempfile::Builder::new().prefix("booking-pgbouncer-").tempdir()?;
            std::fs::write(folder.path().join("pgbouncer.ini"), configuration)?;
            std::fs::write(folder.path().join("users.txt"), format!("\"{user}\" \"\"\n"))?;
            let log = std::fs::File::create(folder.path().join("log"))?;
            let mut command = std::process::Command::new("pgbouncer");
            // Debian installs it in a directory that is only on the PATH of administrators.
            let path = std::env::var("PATH").unwrap_or_default();
            command.env("PATH", format!("{path}:/usr/sbin")).current_dir(folder.path()).arg("pgbouncer.ini");
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            if let Some((user, group)) = other_account()? {
                chown(folder.path(), Some(user), Some(group))?;
                command.uid(user).gid(group);
            }
            let process = command.spawn().map_err(|error| format!("pgbouncer does not start: {error}"))?;
            let mut bouncer = Self { process, port: listen_port, folder };
            if bouncer.listens()? {
                return Ok(bouncer);
            }
        }
        Err("pgbouncer does not get a port to listen on".into())
    }

    /// Returns the URL of a database through PgBouncer.
    pub fn url(&self, database: &TestDatabase) -> TestResult<String> {
        let server = Config::from_str(&database.url)?;
        Ok(format!("postgres://{}@127.0.0.1:{}/{}", server.get_user().unwrap_or("booking"), self.port, database.name))
    }

    /// Returns the port that PgBouncer listens on, at 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Waits until PgBouncer listens. Returns `false` if it exits first.
    fn listens(&mut self) -> TestResult<bool> {
        for _ in 0..1_000 {
            if self.process.try_wait()?.is_some() {
                return Ok(false);
            }
            if std::net::TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return Ok(true);
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
        Err(format!("pgbouncer does not listen:\n{log}").into())
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns a user and a group other than root if the tests run as root, because PgBouncer refuses to run as root.
fn other_account() -> TestResult<Option<(u32, u32)>> {
    let id = |arguments: &[&str]| -> TestResult<u32> {
        let output = std::process::Command::new("id").args(arguments).output()?;
        Ok(String::from_utf8(output.stdout)?.trim().parse()?)
    };
    if id(&["-u"])? != 0 {
        return Ok(None);
    }
    Ok(Some((id(&["-u", "nobody"])?, id(&["-g", "nobody"])?)))
}
