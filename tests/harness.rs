//! A real server in this process, on a port that the system picks and with its own store, and a client for the API.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use adapters_postgres::testing::{PgBouncer, PoolMode, TEST_DATABASE_URL, TestDatabase};
use api_actix::settings;
use api_actix::wiring::server::{RunningServer, start};
use api_actix::wiring::stores::{OpenStore, Purpose};
use chrono::{TimeDelta, Utc};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use domain::identity::{Caller, Role};
use domain::ids::UserId;
use futures::FutureExt as _;
use port_contracts::world::World;
use port_contracts::{Fixture, Stores};
use reqwest::Method;
use reqwest::header::HeaderMap;
use serde_json::{Map, Value, json};
use tempfile::TempDir;
use tokio_postgres::NoTls;

use crate::openapi;
use crate::proxies::{self, PROXY_ADDRESS, Proxy};

/// The secret that signs the access tokens of these servers.
pub const JWT_SECRET: &str = "a secret of these tests, 0123456789abcdef";
/// The password of every user.
pub const PASSWORD: &str = "correct horse battery";
/// An origin that is allowed by default.
pub const ORIGIN: &str = "http://localhost:5173";
/// An id that does not exist.
pub const NOBODY: i64 = i64::MAX;

/// The tables that requests can write to.
const WRITTEN_TABLES: [&str; 14] = [
    "users",
    "sessions",
    "refresh_tokens",
    "holds",
    "bookings",
    "booking_seats",
    "seat_claims",
    "idempotency_keys",
    "outbox",
    "movies",
    "theatres",
    "halls",
    "audit_log",
    "staff_keys",
];
/// The time after which a case counts as hung.
const PATIENCE: Duration = Duration::from_secs(180);

/// Creates `sqlite::case` and `postgres::case` for each `async fn case(app: &TestApp)`. Settings that differ from the defaults of the
/// tests follow the case: `case with ["RATE_LIMIT" = "on"]`.
macro_rules! on_both_stores {
    ($($case:ident $(with [$($name:literal = $value:literal),*])?),* $(,)?) => {
        mod sqlite {
            on_both_stores!(@tests Sqlite $($case [$($(($name, $value)),*)?])*);
        }
        mod postgres {
            on_both_stores!(@tests Postgres $($case [$($(($name, $value)),*)?])*);
        }
    };
    (@tests $store:ident $($case:ident $settings:tt)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            $crate::harness::run($crate::harness::StoreKind::$store, &$settings, super::$case).await;
        }
    )*};
}

/// Creates `postgres::case` only, for behaviour that needs a database server.
macro_rules! on_postgres {
    ($($case:ident),* $(,)?) => {
        mod postgres {
            on_both_stores!(@tests Postgres $($case [])*);
        }
    };
}

/// Creates `postgres::case` only, for cases that stop the database and expect it back at once. PgBouncer is bypassed: it refuses logins
/// for `server_login_retry` (15 s) after a failed one.
macro_rules! on_postgres_without_pooler {
    ($($case:ident),* $(,)?) => {
        mod postgres {$(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                $crate::harness::run_without_pooler(super::$case).await;
            }
        )*}
    };
}

/// The kind of store of a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum StoreKind {
    /// The embedded store.
    Sqlite,
    Postgres,
}

impl StoreKind {
    /// Returns the proxy in front of servers with this store, for test runs through proxies.
    fn proxy(self) -> proxies::Kind {
        match self {
            Self::Sqlite => proxies::Kind::Nginx,
            Self::Postgres => proxies::Kind::HAProxy,
        }
    }
}

/// Runs a case against its own server, and stops the server also if the case panics.
pub async fn run(kind: StoreKind, settings: &[(&'static str, &str)], case: impl AsyncFnOnce(&TestApp)) {
    run_on(TestApp::start(kind, settings, proxies::is_pooler_wanted()).await, case).await;
}

/// Runs a case against a server that connects to PostgreSQL directly.
pub async fn run_without_pooler(case: impl AsyncFnOnce(&TestApp)) {
    run_on(TestApp::start(StoreKind::Postgres, &[], false).await, case).await;
}

async fn run_on(app: TestApp, case: impl AsyncFnOnce(&TestApp)) {
    let outcome = AssertUnwindSafe(tokio::time::timeout(PATIENCE, case(&app))).catch_unwind().await;
    let backend = app.stop().await;
    match outcome {
        Ok(in_time) => in_time.expect("the case hangs"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
    backend.remove().await;
}

/// The location of a store. It is deleted with the case, or with the tests' database server.
enum Place {
    Directory(TempDir),
    Database(TestDatabase),
}

/// A store with access that bypasses the server.
pub struct Backend {
    place: Place,
    stores: Stores,
}

impl Backend {
    async fn open(place: Place, config: &settings::Config) -> Self {
        let open = OpenStore::open(config, Purpose::Administer).await.unwrap();
        let stores = open.ports;
        Self { place, stores }
    }

    /// Deletes the store. A directory is deleted when it is dropped.
    async fn remove(self) {
        if let Place::Database(database) = &self.place {
            let server = std::env::var(TEST_DATABASE_URL).unwrap();
            let sql = format!("DROP DATABASE {} WITH (FORCE)", database.name);
            postgres(&server).await.batch_execute(&sql).await.unwrap();
        }
    }

    /// Returns the PostgreSQL database. Panics on SQLite.
    pub fn database(&self) -> &TestDatabase {
        match &self.place {
            Place::Database(database) => database,
            Place::Directory(_) => panic!("the store is not PostgreSQL"),
        }
    }
}

/// Returns a builder for a client that neither decompresses bodies nor follows redirects, because cases check the raw responses.
pub fn http_client() -> reqwest::ClientBuilder {
    // The server closes a connection that was idle for five seconds, and one that never had a request after ten: a request that is sent
    // at that very moment gets no response.
    let idle_max = Duration::from_secs(2);
    let policy = reqwest::redirect::Policy::none();
    reqwest::Client::builder().no_gzip().no_brotli().redirect(policy).pool_idle_timeout(idle_max)
}

async fn postgres(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

fn sqlite(directory: &TempDir) -> SqliteConnection {
    let file = directory.path().join("movie-booking.db");
    let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    connection.batch_execute("PRAGMA busy_timeout = 30000").unwrap();
    connection
}

#[derive(QueryableByName)]
struct Counted {
    #[diesel(sql_type = diesel::sql_types::BigInt)]
    number: i64,
}

#[derive(QueryableByName)]
struct Line {
    #[diesel(sql_type = diesel::sql_types::Text)]
    text: String,
}

#[async_trait::async_trait]
impl Fixture for Backend {
    fn stores(&self) -> &Stores {
        &self.stores
    }

    async fn execute(&self, sql: &str) {
        match &self.place {
            Place::Database(database) => database.execute(sql).await.unwrap(),
            Place::Directory(directory) => sqlite(directory).batch_execute(sql).unwrap(),
        }
    }

    async fn count(&self, sql: &str) -> i64 {
        match &self.place {
            Place::Database(database) => postgres(&database.url).await.query_one(sql, &[]).await.unwrap().get(0),
            Place::Directory(directory) => {
                let named = diesel::sql_query(format!("SELECT ({sql}) AS number"));
                named.get_result::<Counted>(&mut sqlite(directory)).unwrap().number
            }
        }
    }

    async fn texts(&self, sql: &str) -> Vec<String> {
        match &self.place {
            Place::Database(database) => {
                let rows = postgres(&database.url).await.query(sql, &[]).await.unwrap();
                rows.iter().map(|row| row.get(0)).collect()
            }
            Place::Directory(directory) => {
                let named = diesel::sql_query(format!("WITH lines(text) AS ({sql}) SELECT text FROM lines"));
                let rows = named.load::<Line>(&mut sqlite(directory)).unwrap();
                rows.into_iter().map(|line| line.text).collect()
            }
        }
    }

    fn instant(&self, seconds: i64) -> String {
        match &self.place {
            Place::Database(_) => format!("(now() + interval '{seconds} seconds')"),
            Place::Directory(_) => (Utc::now() + TimeDelta::seconds(seconds)).timestamp_micros().to_string(),
        }
    }

    async fn break_backend(&self) {
        self.database().take_down().await.unwrap();
    }
}

/// A server whose store contains the world of the port contracts.
pub struct TestApp {
    /// The shows and seats in the store.
    pub world: World,
    /// Direct access to the store.
    pub backend: Backend,
    /// The address for clients, as `127.0.0.1:4711`: that of the server, or of the proxy in front of it.
    pub authority: String,
    client: reqwest::Client,
    // Stopped before the server, because it keeps connections.
    proxy: Option<Proxy>,
    server: RunningServer,
    is_direct: AtomicBool,
    signed_up: AtomicUsize,
    config: settings::Config,
    // Stopped last.
    _pooler: Option<PgBouncer>,
}

impl TestApp {
    /// Starts a server. Limits are off unless the settings enable them, because a case sends more requests than a person.
    async fn start(kind: StoreKind, settings: &[(&'static str, &str)], through_pooler: bool) -> Self {
        let mut values = BTreeMap::from([
            ("PORT", "0".to_owned()),
            ("RATE_LIMIT", "off".to_owned()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
        ]);
        let mut pooler = None;
        let place = match kind {
            StoreKind::Sqlite => {
                let directory = tempfile::tempdir().unwrap();
                values.insert("DATA_DIR", directory.path().to_str().unwrap().to_owned());
                Place::Directory(directory)
            }
            StoreKind::Postgres => {
                let database = TestDatabase::create().await.unwrap();
                let mut url = database.url.clone();
                if through_pooler {
                    let started = PgBouncer::start(PoolMode::Session, &[]).unwrap();
                    url = started.url(&database).unwrap();
                    pooler = Some(started);
                }
                values.insert("DATABASE_URL", url);
                Place::Database(database)
            }
        };
        values.extend(settings.iter().map(|(name, value)| (*name, (*value).to_owned())));
        if proxies::are_wanted() {
            let others = values.get("TRUSTED_PROXIES").map(|others| format!(",{others}")).unwrap_or_default();
            values.insert("TRUSTED_PROXIES", format!("{PROXY_ADDRESS}{others}"));
        }
        let config = settings::check(values).unwrap();
        let backend = Backend::open(place, &config).await;
        // The world is built before the server starts, which fills an empty embedded store with the demo data.
        let world = World::build(&backend).await;
        let server = start(&config, Purpose::Serve).await.unwrap();
        let direct = server.address.to_string();
        let proxy = proxies::are_wanted().then(|| kind.proxy().configuration(&[&direct]).start());
        Self {
            world,
            backend,
            authority: proxy.as_ref().map_or(direct, |proxy| proxy.authority.clone()),
            client: http_client().build().unwrap(),
            proxy,
            server,
            is_direct: AtomicBool::new(false),
            signed_up: AtomicUsize::new(0),
            config,
            _pooler: pooler,
        }
    }

    /// Stops the server. The store remains, for the inspection of a failed case.
    async fn stop(self) -> Backend {
        // Closes the client's connections, because the server waits for open ones.
        drop(self.client);
        drop(self.proxy);
        self.server.stop().await.unwrap();
        self.backend
    }

    /// Returns whether the store is PostgreSQL.
    pub fn is_on_postgres(&self) -> bool {
        matches!(self.backend.place, Place::Database(_))
    }

    /// Returns the address of the server itself, bypassing any proxy, for cases about connections.
    pub fn direct(&self) -> String {
        self.server.address.to_string()
    }

    /// Sends all further calls to the server itself, bypassing any proxy, because of `_reason`.
    pub fn connect_directly(&self, _reason: &str) {
        self.is_direct.store(true, Ordering::Relaxed);
    }

    /// Starts another server on the same store, with the same settings.
    pub async fn another_server(&self) -> RunningServer {
        start(&self.config, Purpose::Serve).await.unwrap()
    }

    /// Returns a call to another server on the same store.
    pub fn call_at(&self, authority: &str, method: Method, path: &str) -> Call {
        Call::new(&self.client, authority, method, path)
    }

    /// Returns a POST to another server on the same store.
    pub fn post_at(&self, authority: &str, path: &str) -> Call {
        self.call_at(authority, Method::POST, path)
    }

    /// Returns the URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.authority)
    }

    pub fn call(&self, method: Method, path: &str) -> Call {
        let authority = if self.is_direct.load(Ordering::Relaxed) { self.direct() } else { self.authority.clone() };
        Call::new(&self.client, &authority, method, path)
    }

    pub fn get(&self, path: &str) -> Call {
        self.call(Method::GET, path)
    }

    pub fn post(&self, path: &str) -> Call {
        self.call(Method::POST, path)
    }

    /// Signs up a new user.
    pub async fn sign_up(&self) -> User {
        let number = self.signed_up.fetch_add(1, Ordering::Relaxed);
        let email = format!("customer{number}@example.org");
        self.register("Ana Núñez", &email, PASSWORD).await.user()
    }

    /// Signs up a new administrator.
    pub async fn sign_up_admin(&self) -> User {
        let user = self.sign_up().await;
        self.set_role(&user, Role::Admin, &[]).await;
        user
    }

    /// Signs up a new member of staff of these theatres.
    pub async fn sign_up_staff(&self, theatres: &[i64]) -> User {
        let user = self.sign_up().await;
        self.set_role(&user, Role::Staff, theatres).await;
        user
    }

    async fn set_role(&self, user: &User, role: Role, theatres: &[i64]) {
        let (id, role) = (user.id, role.as_str());
        self.backend.execute(&format!("UPDATE users SET role = '{role}' WHERE id = {id}")).await;
        for theatre in theatres {
            let values = format!("({id}, {theatre})");
            self.backend.execute(&format!("INSERT INTO staff_theatres (user_id, theatre_id) VALUES {values}")).await;
        }
    }

    /// Signs up `count` new users.
    pub async fn sign_up_many(&self, count: usize) -> Vec<User> {
        futures::future::join_all((0..count).map(|_| self.sign_up())).await
    }

    /// Returns the user as the ports represent a caller.
    pub async fn caller(&self, user: &User) -> Caller {
        self.backend.stores().users.by_id(UserId(user.id)).await.unwrap().unwrap().caller()
    }

    /// Calls `POST /api/auth/register`.
    pub async fn register(&self, name: &str, email: &str, password: &str) -> Answer {
        let body = json!({ "name": name, "email": email, "password": password });
        self.post("/api/auth/register").json(&body).send().await
    }

    /// Calls `POST /api/auth/login`.
    pub async fn login(&self, email: &str, password: &str) -> Answer {
        self.post("/api/auth/login").json(&json!({ "email": email, "password": password })).send().await
    }

    /// Calls `POST /api/auth/refresh`.
    pub async fn refresh(&self, refresh_token: &str) -> Answer {
        self.post("/api/auth/refresh").json(&json!({ "refresh_token": refresh_token })).send().await
    }

    /// Calls `GET /api/me`.
    pub async fn me(&self, token: &str) -> Answer {
        self.get("/api/me").token(token).send().await
    }

    /// Calls `POST /api/bookings`.
    pub async fn book(&self, user: &User, key: &str, body: &Value) -> Answer {
        self.post("/api/bookings").by(user).key(key).json(body).send().await
    }

    /// Calls `GET /api/shows/{show_id}/seats`, and returns the seats.
    pub async fn seats(&self, show: i64, user: Option<&User>) -> Vec<Value> {
        let call = self.get(&format!("/api/shows/{show}/seats"));
        let call = match user {
            Some(user) => call.by(user),
            None => call,
        };
        call.send().await.ok(200).list()
    }

    /// Returns one seat of a show's seat map.
    pub async fn seat(&self, show: i64, seat: i64, user: Option<&User>) -> Value {
        self.seats(show, user).await.into_iter().find(|found| found["id"] == seat).expect("the seat is on the map")
    }

    /// Returns the number of available seats of a show.
    pub async fn seats_available(&self, show: i64) -> i64 {
        let answer = self.get(&format!("/api/shows/{show}")).send().await.ok(200);
        answer.json()["seats_available"].as_i64().unwrap()
    }

    /// Returns the number of rows of each table that requests can write to.
    pub async fn footprint(&self) -> Vec<(&'static str, i64)> {
        let mut counts = Vec::new();
        for table in WRITTEN_TABLES {
            counts.push((table, self.rows(table).await));
        }
        counts
    }

    /// Returns the number of rows of a table.
    pub async fn rows(&self, table: &str) -> i64 {
        self.backend.count(&format!("SELECT count(*) FROM {table}")).await
    }
}

/// A user with an account who is logged in.
#[derive(Clone, Debug)]
pub struct User {
    pub id: i64,
    pub email: String,
    /// The access token.
    pub token: String,
    pub refresh_token: String,
}

/// A request under construction.
pub struct Call {
    request: reqwest::RequestBuilder,
    method: Method,
    path: String,
}

impl Call {
    /// Creates a call that uses this client and its connections.
    pub fn new(client: &reqwest::Client, authority: &str, method: Method, path: &str) -> Self {
        let request = client.request(method.clone(), format!("http://{authority}{path}"));
        Self { request, method, path: path.to_owned() }
    }

    /// Adds a header. An existing header of the same name is kept.
    pub fn header(self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = reqwest::header::HeaderValue::from_bytes(value.as_ref()).unwrap();
        Self { request: self.request.header(name, value), ..self }
    }

    /// Adds an access token.
    pub fn token(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    /// Adds the access token of this user.
    pub fn by(self, user: &User) -> Self {
        self.token(&user.token)
    }

    /// Adds an idempotency key.
    pub fn key(self, key: &str) -> Self {
        self.header("idempotency-key", key)
    }

    /// Adds a JSON body.
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Adds a body with this content type.
    pub fn body(self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        let call = self.header("content-type", content_type);
        Self { request: call.request.body(body.into()), ..call }
    }

    /// Sends the request, and checks the properties common to all responses.
    pub async fn send(self) -> Answer {
        self.try_send().await.unwrap()
    }

    /// Sends the request, and returns an error if the connection breaks.
    pub async fn try_send(self) -> reqwest::Result<Answer> {
        let response = self.request.send().await?;
        let answer = Answer {
            method: self.method,
            path: self.path,
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            bytes: response.bytes().await?.to_vec(),
        };
        answer.check_every();
        Ok(answer)
    }
}

/// A response of the server.
#[derive(Clone)]
pub struct Answer {
    method: Method,
    path: String,
    pub status: u16,
    pub headers: HeaderMap,
    pub bytes: Vec<u8>,
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body: String = String::from_utf8_lossy(&self.bytes).chars().take(2_000).collect();
        write!(f, "{} {}: {} {:#?}\n{body}", self.method, self.path, self.status, self.headers)
    }
}

impl Answer {
    /// Returns the value of a header, or `None` if it is missing or repeated.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.get_all(name).iter();
        let value = values.next()?.to_str().ok();
        value.filter(|_| values.next().is_none())
    }

    /// Returns the items of a list header, in lower case, from all its lines.
    pub fn header_list(&self, name: &str) -> Vec<String> {
        let lines = self.headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_ascii_lowercase());
        let mut items: Vec<_> =
            lines.flat_map(|line| line.split(',').map(|item| item.trim().to_owned()).collect::<Vec<_>>()).collect();
        items.sort();
        items
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    /// Returns the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Returns the body as a JSON array.
    #[track_caller]
    pub fn list(&self) -> Vec<Value> {
        let Value::Array(items) = self.json() else { panic!("no array: {self:?}") };
        items
    }

    /// Returns one member of each item of the array.
    #[track_caller]
    pub fn column(&self, name: &str) -> Vec<Value> {
        self.list().iter().map(|item| item[name].clone()).collect()
    }

    /// Returns the response if it has this status. Panics otherwise.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// Returns the response if it is the problem with this status and code. Panics otherwise.
    #[track_caller]
    pub fn problem(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status, self.json()["code"].as_str()), (status, Some(code)), "{self:?}");
        self
    }

    /// Returns the invalid fields, each as `field code`.
    #[track_caller]
    pub fn mistakes(self) -> Vec<String> {
        let problem = self.problem(400, "validation_failed").json();
        let errors = problem["errors"].as_array().expect("each mistake is told").clone();
        let told = |error: &Value| {
            assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{error}");
            format!("{} {}", error["field"].as_str().unwrap(), error["code"].as_str().unwrap())
        };
        errors.iter().map(told).collect()
    }

    /// Returns the code of a problem.
    pub fn code(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.bytes).ok()?;
        body.get("code")?.as_str().map(str::to_owned)
    }

    /// Returns the user who signed up or logged in with this response.
    #[track_caller]
    pub fn user(&self) -> User {
        assert!(matches!(self.status, 200 | 201), "{self:?}");
        let body = self.json();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        User {
            id: body["id"].as_i64().unwrap(),
            email: text("email"),
            token: text("token"),
            refresh_token: text("refresh_token"),
        }
    }

    /// Returns the booking in the body.
    #[track_caller]
    pub fn booking(&self) -> Value {
        assert_eq!(self.status, 201, "{self:?}");
        self.json()["booking"].clone()
    }

    /// Returns the path of the next page.
    pub fn next_page(&self) -> Option<String> {
        let link = self.header("link")?;
        let (target, relation) = link.strip_prefix('<').unwrap().split_once('>').unwrap();
        assert_eq!(relation, "; rel=\"next\"", "{self:?}");
        Some(target.to_owned())
    }

    /// Checks the properties common to all responses.
    #[track_caller]
    fn check_every(&self) {
        assert_eq!(self.header("x-content-type-options"), Some("nosniff"), "{self:?}");
        assert!(self.header("x-request-id").is_some_and(|id| !id.is_empty()), "{self:?}");
        // nginx adds a `server` header.
        let is_nginx = proxies::are_wanted() && self.header("server") == Some("nginx");
        assert!(is_nginx || !self.headers.contains_key("server"), "{self:?}");
        assert!(!self.headers.contains_key("x-powered-by"), "{self:?}");
        let has_body = !self.bytes.is_empty();
        // A body of `/readyz` that reports an unready server is not a problem document.
        if self.status >= 400 && has_body && !self.path.starts_with("/readyz") {
            self.check_problem();
        }
        openapi::check(&self.method, &self.path, self);
    }

    #[track_caller]
    fn check_problem(&self) {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        let problem = self.json();
        let code = problem["code"].as_str().unwrap_or_else(|| panic!("no code: {self:?}"));
        assert_eq!(problem["type"], format!("/problems/{}", code.replace('_', "-")), "{self:?}");
        assert_eq!(problem["status"], self.status, "{self:?}");
        assert!(problem["title"].as_str().is_some_and(|title| !title.is_empty()), "{self:?}");
        assert!(problem["detail"].as_str().is_some_and(|detail| !detail.is_empty()), "{self:?}");
        assert_eq!(problem["message"], problem["detail"], "{self:?}");
        assert_eq!(problem["request_id"].as_str(), self.header("x-request-id"), "{self:?}");
        assert_eq!(problem.get("errors").is_some(), code == "validation_failed", "{self:?}");
        if code == "unauthenticated" {
            assert_eq!(self.header("www-authenticate"), Some("Bearer"), "{self:?}");
        }
        if matches!(self.status, 429 | 503) {
            let seconds = self.header("retry-after").and_then(|text| text.parse::<u32>().ok());
            assert!(seconds.is_some_and(|seconds| seconds > 0), "{self:?}");
        }
    }

    /// Compares status, headers and body with `snapshots/<name>.snap`. Values that differ between runs are replaced by their kind.
    #[track_caller]
    pub fn snapshot(self, name: &str) -> Self {
        let mut headers = Map::new();
        for header in SNAPSHOT_HEADERS {
            let values: Vec<_> = self.headers.get_all(header).iter().map(|value| value.to_str().unwrap()).collect();
            if !values.is_empty() {
                headers.insert(header.to_owned(), redact_header(header, &values.join(", ")).into());
            }
        }
        let mut whole = json!({ "status": self.status, "headers": headers });
        if !self.bytes.is_empty() {
            whole["body"] = redact(None, self.json());
        }
        let mut settings = insta::Settings::clone_current();
        settings.set_prepend_module_to_snapshot(false);
        settings.set_omit_expression(true);
        settings.set_sort_maps(true);
        settings.bind(|| insta::assert_json_snapshot!(name, whole));
        self
    }
}

/// The headers that are part of the contract.
const SNAPSHOT_HEADERS: [&str; 13] = [
    "allow",
    "cache-control",
    "content-encoding",
    "content-type",
    "etag",
    "idempotent-replayed",
    "link",
    "location",
    "ratelimit-policy",
    "retry-after",
    "vary",
    "www-authenticate",
    "x-content-type-options",
];

fn redact_header(name: &str, value: &str) -> String {
    match name {
        "etag" => {
            assert!(value.starts_with("W/\"") && value.ends_with('"'), "a weak tag: {value}");
            "[etag]".to_owned()
        }
        "link" => match value.split_once("cursor=") {
            Some((before, rest)) => format!("{before}cursor=[cursor]{}", rest.trim_start_matches(is_base64url)),
            None => value.to_owned(),
        },
        "location" if value.starts_with("/api/holds/") => "/api/holds/[hold_id]".to_owned(),
        "location" => value.replace(|character: char| character.is_ascii_digit(), "#"),
        "retry-after" => "[seconds]".to_owned(),
        _ => value.to_owned(),
    }
}

fn is_base64url(character: char) -> bool {
    character.is_ascii_alphanumeric() || matches!(character, '-' | '_')
}

/// Replaces values that differ between runs, and checks their form.
fn redact(name: Option<&str>, value: Value) -> Value {
    match (name.unwrap_or_default(), value) {
        (_, Value::Object(members)) => {
            members.into_iter().map(|(name, value)| (name.clone(), redact(Some(&name), value))).collect()
        }
        (name, Value::Array(items)) => items.into_iter().map(|item| redact(Some(name), item)).collect(),
        ("request_id", Value::String(_)) => "[request_id]".into(),
        ("reference", Value::String(text)) => {
            let crockford = |byte: u8| b"0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(&byte);
            assert!(text.len() == 10 && text.bytes().all(crockford), "a reference: {text}");
            "[reference]".into()
        }
        ("id" | "hold_id", Value::String(text)) => {
            assert!(domain::booking::HoldId::parse(&text).is_ok(), "a hold's id: {text}");
            "[hold_id]".into()
        }
        ("token" | "refresh_token", Value::String(_)) => "[token]".into(),
        (name, Value::Number(number)) if name == "id" || name.ends_with("_id") || name.ends_with("_ids") => {
            assert!(number.as_i64().is_some_and(|id| id > 0), "an id: {number}");
            "[id]".into()
        }
        (name, Value::String(text)) if name.ends_with("_at") || name.ends_with("_time") => {
            let is_time = chrono::DateTime::parse_from_rfc3339(&text).is_ok() && text.ends_with('Z');
            assert!(is_time, "a time in UTC: {text}");
            "[time]".into()
        }
        (_, value) => value,
    }
}
