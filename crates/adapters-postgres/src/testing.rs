//! Databases of their own for tests: a migrated template is made once for each test program, and cloned for each test.

use std::time::{SystemTime, UNIX_EPOCH};

use diesel_async::{AsyncPgConnection, SimpleAsyncConnection as _};
use tokio::sync::OnceCell;

pub use crate::batch::BOOKING_STATEMENTS;
use crate::settings::PostgresSettings;
use crate::store::PostgresStore;

/// Where the server for tests is: `cargo xtask test` starts one and sets it.
pub const TEST_DATABASE_URL: &str = "TEST_DATABASE_URL";

/// The name of a database on that server to clone instead of one that this program migrates: `cargo xtask rollout` sets it to one
/// that a later release has migrated.
pub const TEST_DATABASE_TEMPLATE: &str = "TEST_DATABASE_TEMPLATE";

static TEMPLATE: OnceCell<String> = OnceCell::const_new();

/// A database of its own.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    /// Its name on the server.
    pub name: String,
    /// Its URL.
    pub url: String,
}

type TestResult<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

impl TestDatabase {
    /// A new database with the schema and no rows.
    pub async fn create() -> TestResult<Self> {
        let template = TEMPLATE.get_or_try_init(make_template).await?;
        Self::create_from(Some(template)).await
    }

    /// A new database without a schema.
    pub async fn create_empty() -> TestResult<Self> {
        Self::create_from(None).await
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

    /// Lets nobody connect any more, and ends the connections there are: the database is gone for its users.
    pub async fn take_down(&self) -> TestResult<()> {
        let server = server_url()?;
        execute(&server, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS false", self.name)).await?;
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'", self.name);
        execute(&server, &end).await
    }

    /// Lets everybody connect again.
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

/// The server's URL with another database.
fn database_url(name: &str) -> TestResult<String> {
    let url = server_url()?;
    let (base, query) = url.split_once('?').map_or((url.as_str(), None), |(base, query)| (base, Some(query)));
    let (server, _) = base.rsplit_once('/').ok_or("the test database's URL ends in /DATABASE")?;
    Ok(query.map_or_else(|| format!("{server}/{name}"), |query| format!("{server}/{name}?{query}")))
}

/// Unique among all that run at once: by the process, the time and a count.
fn unique_name(what: &str) -> String {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let count = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_nanos());
    format!("{what}_{}_{time}_{count}", std::process::id())
}

async fn execute(url: &str, sql: &str) -> TestResult<()> {
    let mut connection: AsyncPgConnection = PostgresSettings::parse(url, 1)?.establish_one().await?;
    // Making a database takes longer than a statement of the program may.
    connection.batch_execute("SET statement_timeout = '60s'; SET lock_timeout = '60s'").await?;
    connection.batch_execute(sql).await?;
    Ok(())
}
