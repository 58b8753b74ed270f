//! Starting the binary, sending requests to it, and cleaning up.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adapters_postgres::testing::TestDatabase;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::http_client;

/// The longest time for anything that is not measured.
const PATIENCE: Duration = Duration::from_secs(60);
/// The interval at which a process is checked for its end.
const PAUSE: Duration = Duration::from_millis(5);
/// The secret that signs access tokens, if a test sets it.
pub const JWT_SECRET: &str = "a-secret-of-the-tests-that-has-more-than-32-bytes";
/// A password in the database's URL. The test server trusts all connections, so it never asks for the password.
pub const DATABASE_PASSWORD: &str = "Database-Pa55word-of-the-tests";

/// Returns the path of the binary: `MOVIE_BOOKING_BIN`, else the one built together with the tests.
pub fn binary() -> PathBuf {
    if let Some(path) = std::env::var_os("MOVIE_BOOKING_BIN") {
        return path.into();
    }
    let own = std::env::current_exe().expect("the tests know where they are");
    let folder = own.parent().and_then(Path::parent).expect("the tests are in target/<profile>/deps");
    let path = folder.join("movie-booking");
    assert!(path.is_file(), "{} is not there: run `cargo build -p api-actix` first", path.display());
    path
}

/// The output of a process so far.
#[derive(Clone, Default)]
struct Written(Arc<(Mutex<String>, Condvar)>);

impl Written {
    fn collect(&self, mut stream: impl Read + Send + 'static) -> JoinHandle<()> {
        let written = self.clone();
        std::thread::spawn(move || {
            let mut chunk = [0; 64 * 1024];
            while let Ok(read @ 1..) = stream.read(&mut chunk) {
                let (text, news) = &*written.0;
                text.lock().unwrap().push_str(&String::from_utf8_lossy(&chunk[..read]));
                news.notify_all();
            }
        })
    }

    fn text(&self) -> String {
        self.0.0.lock().unwrap().clone()
    }

    /// Waits briefly for output, and returns whether a whole line exists.
    fn has_line(&self) -> bool {
        let (text, news) = &*self.0;
        let (text, _) = news.wait_timeout_while(text.lock().unwrap(), PAUSE, |text| !text.ends_with('\n')).unwrap();
        text.ends_with('\n')
    }
}

/// A process that has ended.
#[derive(Debug)]
pub struct Ended {
    /// The exit code; `None` if a signal ended it.
    pub code: Option<i32>,
    /// The standard output.
    pub stdout: String,
    /// The standard error.
    pub stderr: String,
}

impl Ended {
    /// Asserts success, and returns the standard output.
    #[track_caller]
    pub fn succeeded(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.stdout
    }

    /// Asserts a failure with this code, and returns the standard error.
    #[track_caller]
    pub fn failed(self, code: i32) -> String {
        assert_eq!(self.code, Some(code), "{self:?}");
        self.stderr
    }
}

/// A process that is killed when it is dropped.
struct Running {
    child: Child,
    stdout: Written,
    stderr: Written,
    readers: Vec<JoinHandle<()>>,
}

impl Running {
    fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let (stdout, stderr) = (Written::default(), Written::default());
        let readers = vec![stdout.collect(child.stdout.take().unwrap()), stderr.collect(child.stderr.take().unwrap())];
        Self { child, stdout, stderr, readers }
    }

    /// Waits until the process has ended and all its output is read.
    fn wait(&mut self, patience: Duration) -> Option<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < patience {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.readers.drain(..).for_each(|reader| reader.join().unwrap());
                return Some(status);
            }
            std::thread::sleep(PAUSE);
        }
        None
    }

    #[track_caller]
    fn ended(&mut self, patience: Duration) -> Ended {
        let status = self.wait(patience);
        let (stdout, stderr) = (self.stdout.text(), self.stderr.text());
        let status = status.unwrap_or_else(|| panic!("still running after {patience:?}: {stdout}{stderr}"));
        Ended { code: status.code(), stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The kind of store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// SQLite, in the directory.
    Embedded,
    /// PostgreSQL, in a separate database.
    Postgres,
}

/// The directory in which the program is started, and its settings.
pub struct Site {
    /// The current directory of the program.
    pub directory: Arc<TempDir>,
    /// The database, if the store is PostgreSQL.
    pub database: Option<TestDatabase>,
    settings: Vec<(String, String)>,
    below: PathBuf,
}

impl Site {
    /// Creates an empty directory in which only the port is set.
    pub fn embedded() -> Self {
        let directory = Arc::new(tempfile::tempdir().unwrap());
        Self { directory, database: None, settings: vec![("PORT".into(), "0".into())], below: PathBuf::new() }
    }

    /// Creates a database without a schema.
    pub async fn empty_postgres() -> Self {
        Self::on(TestDatabase::create_empty().await.unwrap())
    }

    /// Creates a database with the schema and the demo data.
    pub async fn postgres() -> Self {
        let site = Self::on(TestDatabase::create().await.unwrap());
        site.run(&["seed"], "").succeeded();
        site
    }

    /// Uses a database unchanged.
    pub fn on(database: TestDatabase) -> Self {
        let url = database.url.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1);
        let site = Self { database: Some(database), ..Self::embedded() };
        site.with("DATABASE_URL", &url).with("JWT_SECRET", JWT_SECRET)
    }

    /// Creates a store with demo data.
    pub async fn of(kind: Kind) -> Self {
        match kind {
            Kind::Embedded => Self::embedded(),
            Kind::Postgres => Self::postgres().await,
        }
    }

    /// Adds a setting, or replaces its value.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Removes a setting.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        self.settings.retain(|(known, _)| known != name);
        self
    }

    /// Keeps the settings, and starts the program in a subdirectory.
    #[must_use]
    pub fn in_directory(&self, name: &str) -> Self {
        let (directory, settings) = (Arc::clone(&self.directory), self.settings.clone());
        Self { directory, database: None, settings, below: name.into() }
    }

    /// Returns a path in the directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Starts a server through another program, such as `nohup`, and waits until it listens.
    #[track_caller]
    pub fn serve_under(&self, program: &str, arguments: &[&str]) -> Server {
        let mut command = Command::new(program);
        command.args(arguments).arg(binary()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.settings.iter().cloned()).current_dir(self.directory.path());
        Starting { running: Running::start(command), directory: Arc::clone(&self.directory) }.listening()
    }

    /// Starts a server that receives SIGHUP, even if these tests run with SIGHUP ignored.
    #[track_caller]
    pub fn serve_on_terminal(&self) -> Server {
        self.serve_under("env", &["--default-signal=HUP"])
    }

    /// Returns the command for the program with its settings.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(binary());
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
            .envs(self.settings.iter().cloned())
            .current_dir(self.directory.path().join(&self.below))
            .args(arguments);
        command
    }

    /// Runs a command to its end, with `input` on its standard input.
    #[track_caller]
    pub fn run(&self, arguments: &[&str], input: &str) -> Ended {
        let mut running = Running::start(self.command(arguments));
        // A command that reads no input may have ended already.
        let _ = running.child.stdin.take().unwrap().write_all(input.as_bytes());
        running.ended(PATIENCE)
    }

    /// Starts a server, and waits until it listens.
    #[track_caller]
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts a server with arguments, and waits until it listens.
    #[track_caller]
    pub fn serve_with(&self, arguments: &[&str]) -> Server {
        self.begin_to_serve(arguments).listening()
    }

    /// Starts a server without waiting until it listens.
    pub fn begin_to_serve(&self, arguments: &[&str]) -> Starting {
        Starting { running: Running::start(self.command(arguments)), directory: Arc::clone(&self.directory) }
    }
}

/// A server that may not listen yet.
pub struct Starting {
    running: Running,
    directory: Arc<TempDir>,
}

impl Starting {
    /// Waits until the server listens.
    #[track_caller]
    pub fn listening(self) -> Server {
        let Self { mut running, directory } = self;
        let began = Instant::now();
        // The greeting is written at once: if its first line has arrived, the others have too.
        while !running.stdout.has_line() {
            if running.child.try_wait().unwrap().is_some() || began.elapsed() > PATIENCE {
                panic!("the server does not start: {:?}", running.ended(PATIENCE));
            }
        }
        let greeting = running.stdout.text();
        let first = greeting.lines().next().unwrap();
        let base = first.strip_prefix("movie-booking listens on ").unwrap_or_else(|| panic!("{greeting}")).to_owned();
        assert!(base.starts_with("http://127.0.0.1:"), "{greeting}");
        Server { running, greeting, client: Client::new(base), _directory: directory }
    }
}

/// The resources that a process uses.
#[cfg(target_os = "linux")]
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// The processor time.
    pub cpu: Duration,
    /// The resident memory, in bytes.
    pub memory: u64,
    /// The open files and sockets.
    pub files: usize,
}

/// A server that listens. It is killed when it is dropped.
pub struct Server {
    running: Running,
    /// The output when it started to listen.
    pub greeting: String,
    /// A client of this server.
    pub client: Client,
    // The server needs its directory until it ends, even if the test drops the [`Site`].
    _directory: Arc<TempDir>,
}

impl Server {
    /// Returns the address, as `127.0.0.1:port`.
    pub fn address(&self) -> &str {
        self.client.base.strip_prefix("http://").unwrap()
    }

    /// Returns the resources that the server uses.
    #[cfg(target_os = "linux")]
    pub fn usage(&self) -> Usage {
        let folder = PathBuf::from(format!("/proc/{}", self.running.child.id()));
        let stat = std::fs::read_to_string(folder.join("stat")).unwrap();
        // The fields after the name in brackets: the state is the third field, and times in user and system mode are the 14th and 15th.
        let fields: Vec<_> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
        let ticks: u64 = fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum();
        let status = std::fs::read_to_string(folder.join("status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        let resident: u64 = resident.trim().trim_end_matches(" kB").parse().unwrap();
        let files = std::fs::read_dir(folder.join("fd")).unwrap().count();
        Usage { cpu: Duration::from_millis(ticks * 10), memory: resident * 1024, files }
    }

    /// Sends the server a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.running.child.id().to_string()]).status().unwrap();
        assert!(status.success());
    }

    /// Waits until the server has ended.
    #[track_caller]
    pub fn ended(mut self, patience: Duration) -> Ended {
        self.running.ended(patience)
    }

    /// Stops the server with SIGTERM.
    #[track_caller]
    pub fn stop(self) -> Ended {
        self.signal("TERM");
        self.ended(Duration::from_secs(15))
    }

    /// Kills the server at once, like a power failure.
    pub fn kill(mut self) {
        self.running.child.kill().unwrap();
        self.running.child.wait().unwrap();
    }

    /// Returns address and password of a demo account, from the greeting.
    #[track_caller]
    pub fn demo_account(&self, role: &str) -> (String, String) {
        let prefix = format!("  demo {role} ");
        let line = self.greeting.lines().find_map(|line| line.strip_prefix(&prefix));
        let mut words = line.unwrap_or_else(|| panic!("{}", self.greeting)).split_whitespace();
        (words.next().unwrap().to_owned(), words.next().unwrap().to_owned())
    }
}

/// A response.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

impl Reply {
    /// Returns the body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// Asserts the status, and returns the body as JSON.
    #[track_caller]
    pub fn expect(&self, status: u16) -> Value {
        assert_eq!(self.status, status, "{self:?}");
        if self.text.is_empty() { Value::Null } else { self.json() }
    }

    /// Returns whether an earlier request with the same key created the booking.
    pub fn replayed(&self) -> bool {
        self.headers.get("idempotent-replayed").is_some_and(|value| value == "true")
    }
}

/// A show and one of its seats.
pub type Place = (i64, i64);

/// A client of a server.
#[derive(Clone)]
pub struct Client {
    /// `http://127.0.0.1:port`.
    pub base: String,
    http: reqwest::Client,
}

impl Client {
    /// Creates a client for `base`, such as `http://127.0.0.1:4711`.
    pub fn new(base: String) -> Self {
        Self { base, http: http_client().timeout(PATIENCE).build().unwrap() }
    }

    /// Creates a request for [`Client::send`] or [`Client::try_send`].
    pub fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.http.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    /// Sends a request. Panics without a response.
    pub async fn send(&self, request: reqwest::RequestBuilder) -> Reply {
        self.try_send(request).await.unwrap()
    }

    /// Sends a request that may fail to reach a server.
    pub async fn try_send(&self, request: reqwest::RequestBuilder) -> Result<Reply, reqwest::Error> {
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Reply { status, headers, text: response.text().await? })
    }

    /// Sends a GET without a token.
    pub async fn get(&self, path: &str) -> Reply {
        self.send(self.request("GET", path)).await
    }

    /// Sends a GET with this access token.
    pub async fn get_as(&self, token: &str, path: &str) -> Reply {
        self.send(self.request("GET", path).bearer_auth(token)).await
    }

    /// Sends a POST with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Reply {
        self.send(self.request("POST", path).json(body)).await
    }

    pub async fn login(&self, email: &str, password: &str) -> Reply {
        self.post("/api/auth/login", &json!({"email": email, "password": password})).await
    }

    /// Signs up, and returns the access token.
    pub async fn sign_up(&self, email: &str) -> String {
        let body = json!({"name": "Ana Costa", "email": email, "password": "correct horse battery"});
        let answer = self.post("/api/auth/register", &body).await.expect(201);
        answer["token"].as_str().unwrap().to_owned()
    }

    /// Creates a request to book one seat.
    pub fn booking(&self, token: &str, key: &str, (show_id, seat_id): Place) -> reqwest::RequestBuilder {
        let request = self.request("POST", "/api/bookings").bearer_auth(token).header("idempotency-key", key);
        request.json(&json!({"show_id": show_id, "seat_id": seat_id}))
    }

    /// Books one seat.
    pub async fn book(&self, token: &str, key: &str, place: Place) -> Reply {
        self.send(self.booking(token, key, place)).await
    }

    /// Returns shows that have not begun, the latest of a page, so that none begins during a test.
    pub async fn shows(&self, count: usize) -> Vec<i64> {
        let shows = self.get("/api/shows?limit=100").await.expect(200);
        shows.as_array().unwrap().iter().rev().take(count).map(|show| show["id"].as_i64().unwrap()).collect()
    }

    /// Returns the free seats of a show.
    pub async fn free_seats(&self, show: i64) -> Vec<Place> {
        let seats = self.get(&format!("/api/shows/{show}/seats")).await.expect(200);
        // Half a love seat is not sold alone.
        let is_free = |seat: &&Value| seat["status"] == "available" && seat["pair_seat_id"].is_null();
        let free = seats.as_array().unwrap().iter().filter(is_free);
        free.map(|seat| (show, seat["id"].as_i64().unwrap())).collect()
    }

    /// Returns all bookings of a user.
    pub async fn history(&self, token: &str) -> Vec<Value> {
        let mut bookings = Vec::new();
        let mut path = "/api/bookings?limit=100".to_owned();
        loop {
            let page = self.get_as(token, &path).await;
            bookings.extend(page.expect(200).as_array().unwrap().clone());
            let Some(link) = page.headers.get("link") else { return bookings };
            let link = link.to_str().unwrap();
            path = link.split(['<', '>']).nth(1).unwrap().to_owned();
        }
    }
}
