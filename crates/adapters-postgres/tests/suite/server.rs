//! Dedicated servers for a test, which can have settings that tests on the shared server cannot change, form a pair of primary and standby,
//! and be promoted, killed and restarted. They listen on loopback, on ports that the system picks.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use adapters_postgres::testing::TestDatabase;
use tempfile::TempDir;

/// The time limit for a server to start, stop or be promoted.
const PATIENCE: Duration = Duration::from_secs(60);
/// The number of ports to try, because another program may take a port before the server does.
const STARTS_MAX: usize = 5;
const SUPERUSER: &str = "booking";

/// A running server. Dropping it ends its processes and deletes its files.
pub struct Server {
    process: Child,
    port: u16,
    environment: Vec<(String, PathBuf)>,
    folder: TempDir,
}

impl Server {
    /// Starts a new cluster with these settings, each in the form `fsync=off`.
    pub fn start(settings: &[&str]) -> Self {
        Self::start_in("C", Vec::new(), settings)
    }

    /// Starts a new cluster with messages in another language. The locale is compiled for it.
    pub fn start_in_german() -> Self {
        let locales = folder_of_account();
        let target = locales.path().join("de_DE.UTF-8");
        let compiled = Command::new("localedef").args(["-i", "de_DE", "-f", "UTF-8"]).arg(&target).output();
        let compiled = compiled.expect("`localedef` is missing: install the package `libc-bin`");
        assert!(
            target.join("LC_MESSAGES").exists(),
            "no German locale could be compiled, is the package `locales` installed? {}",
            String::from_utf8_lossy(&compiled.stderr)
        );
        run(Command::new("chmod").args(["-R", "a+rX"]).arg(locales.path()));
        Self::start_in("de_DE.UTF-8", vec![("LOCPATH".to_owned(), locales.keep())], &[])
    }

    fn start_in(messages: &str, environment: Vec<(String, PathBuf)>, settings: &[&str]) -> Self {
        let folder = folder_of_account();
        let mut initdb = program("initdb", folder.path());
        initdb.envs(environment.clone());
        initdb.args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        initdb.arg(format!("--lc-messages={messages}")).arg("--pgdata").arg(folder.path().join("data"));
        run(&mut initdb);
        let settings = settings.iter().map(|setting| format!("{setting}\n")).collect::<String>();
        append(&folder.path().join("data/postgresql.conf"), &settings);
        append(&folder.path().join("data/pg_hba.conf"), "host replication all 127.0.0.1/32 trust\n");
        Self::launch(folder, environment)
    }

    /// Starts a standby that streams from this server under this name.
    pub fn standby(&self, name: &str) -> Self {
        let folder = folder_of_account();
        let mut backup = program("pg_basebackup", folder.path());
        backup.args(["--write-recovery-conf", "--checkpoint=fast", "--no-sync", "--pgdata"]);
        backup.arg(folder.path().join("data")).arg("--dbname");
        run(backup.arg(format!("host=127.0.0.1 port={} user={SUPERUSER} application_name={name}", self.port)));
        Self::launch(folder, Vec::new())
    }

    fn launch(folder: TempDir, environment: Vec<(String, PathBuf)>) -> Self {
        for _ in 0..STARTS_MAX {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut process = spawn(folder.path(), port, &environment);
            if is_ready(&mut process, folder.path(), port) {
                return Self { process, port, environment, folder };
            }
        }
        panic!("PostgreSQL does not start: {}", fs::read_to_string(folder.path().join("log")).unwrap_or_default());
    }

    /// Returns the database `postgres`, for the superuser.
    pub fn database(&self) -> TestDatabase {
        TestDatabase { name: "postgres".to_owned(), url: self.url_of("postgres") }
    }

    /// Returns the URL of another database, for the superuser.
    pub fn url_of(&self, name: &str) -> String {
        format!("postgres://{SUPERUSER}@{}/{name}", self.address())
    }

    /// Returns the address on which the server listens.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Promotes a standby to a primary.
    pub fn promote(&self) {
        let mut promote = program("pg_ctl", self.folder.path());
        run(promote.args(["promote", "--wait", "--pgdata"]).arg(self.folder.path().join("data")));
    }

    /// Ends all processes at once, like a power failure.
    pub fn kill(&mut self) {
        // SIGQUIT ends the child processes too, and nothing more is written.
        self.stop("QUIT");
    }

    /// Stops the server with a fast shutdown.
    pub fn stop_in_order(&mut self) {
        self.stop("INT");
    }

    /// Restarts the server on the same port. Stops it first if it runs.
    pub fn restart(&mut self) {
        if self.process.try_wait().unwrap().is_none() {
            self.stop("INT");
        }
        self.process = spawn(self.folder.path(), self.port, &self.environment);
        assert!(is_ready(&mut self.process, self.folder.path(), self.port), "it does not start again");
    }

    fn stop(&mut self, signal: &str) {
        let _ = Command::new("kill").args(["-s", signal, &self.process.id().to_string()]).status();
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            if self.process.try_wait().unwrap().is_some() {
                return;
            }
            sleep(Duration::from_millis(20));
        }
        panic!("PostgreSQL does not stop");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Ok(None) = self.process.try_wait() {
            let _ = Command::new("kill").args(["-s", "QUIT", &self.process.id().to_string()]).status();
            let _ = self.process.wait();
        }
        for (_, folder) in &self.environment {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

/// Returns the directory of PostgreSQL's programs: on PATH, from `pg_config`, or the newest one in Debian's directories.
fn programs() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let configured = Command::new("pg_config").arg("--bindir").output().ok();
    let configured = configured.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    let mut debian: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect())
        .unwrap_or_default();
    let version = |folder: &PathBuf| folder.parent()?.file_name()?.to_str()?.parse::<u32>().ok();
    debian.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    let mut folders = std::env::split_paths(&path).chain(configured).chain(debian);
    let found = folders.find_map(|folder| {
        let folder = folder.join("postgres").canonicalize().ok()?.parent()?.to_owned();
        ["initdb", "pg_basebackup", "pg_ctl"].iter().all(|name| folder.join(name).is_file()).then_some(folder)
    });
    found.expect("PostgreSQL's server is not installed: these tests start servers of their own")
}

/// Returns the user and group that run servers if the tests run as root, because PostgreSQL refuses to run as root.
fn account() -> Option<(u32, u32)> {
    let id = |arguments: &[&str]| -> Option<u32> {
        let output = Command::new("id").args(arguments).output().ok()?;
        String::from_utf8_lossy(&output.stdout).trim().parse().ok()
    };
    if id(&["-u"]) != Some(0) {
        return None;
    }
    let account = ["postgres", "nobody"].into_iter().find_map(|name| Some((id(&["-u", name])?, id(&["-g", name])?)));
    assert!(account.is_some(), "root cannot run PostgreSQL, and there is no user `postgres` or `nobody`");
    account
}

fn folder_of_account() -> TempDir {
    let folder = tempfile::Builder::new().prefix("booking-server-").tempdir().unwrap();
    if let Some((user, group)) = account() {
        chown(folder.path(), Some(user), Some(group)).unwrap();
    }
    folder
}

fn program(name: &str, folder: &Path) -> Command {
    let mut command = Command::new(programs().join(name));
    // A separate process group, so that an interrupt at the terminal reaches only the tests.
    command.current_dir(folder).stdin(Stdio::null()).process_group(0);
    if let Some((user, group)) = account() {
        command.gid(group).uid(user);
    }
    command
}

fn run(command: &mut Command) {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn append(path: &Path, text: &str) {
    let content = fs::read_to_string(path).unwrap();
    fs::write(path, format!("{content}\n{text}")).unwrap();
}

fn spawn(folder: &Path, port: u16, environment: &[(String, PathBuf)]) -> Child {
    let log = fs::File::create(folder.join("log")).unwrap();
    let mut postgres = program("postgres", folder);
    postgres.envs(environment.iter().cloned()).arg("-D").arg(folder.join("data"));
    for setting in [
        "listen_addresses=127.0.0.1".to_owned(),
        format!("port={port}"),
        format!("unix_socket_directories={}", folder.display()),
        "fsync=off".to_owned(),
    ] {
        postgres.args(["-c", &setting]);
    }
    postgres.stdout(log.try_clone().unwrap()).stderr(log).spawn().unwrap()
}

/// Waits until `postmaster.pid` reports this process ready on this port. Returns `false` if the process ended because its port was taken.
fn is_ready(process: &mut Child, folder: &Path, port: u16) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if process.try_wait().unwrap().is_some() {
            return false;
        }
        let state = fs::read_to_string(folder.join("data/postmaster.pid")).unwrap_or_default();
        let lines: Vec<_> = state.lines().map(str::trim).collect();
        if let [first, _, _, fourth, _, _, _, state, ..] = lines.as_slice()
            && *first == process.id().to_string()
            && *fourth == port.to_string()
            && ["ready", "standby"].contains(state)
        {
            return true;
        }
        sleep(Duration::from_millis(20));
    }
    panic!("PostgreSQL is not ready: {}", fs::read_to_string(folder.join("log")).unwrap_or_default());
}
