//! A temporary PostgreSQL server: in a temporary folder, on its own port, of the installed version.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::Failure;
use crate::process::{check_interrupted, read, send};
use crate::system::{can_install, free_port, install, is_root};

/// The superuser of the server. It needs no password, because the server listens on loopback only.
pub const SUPERUSER: &str = "booking";
/// Enough for all tests at once, each with its own pools.
pub const CONNECTIONS_MAX: u32 = 300;
/// Settings for tests: the data need not survive a crash of the machine.
const FORGETFUL: [&str; 2] = ["fsync=off", "full_page_writes=off"];
/// Maximum number of ports to try: another program may take the port before the server does.
const STARTS_MAX: usize = 5;
/// The longest time for a start or a stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// The folder of PostgreSQL's programs.
#[derive(Clone, Debug)]
pub struct PostgresPrograms(PathBuf);

impl PostgresPrograms {
    /// Finds the programs. As root on a system with apt-get, installs them if they are missing.
    pub fn find_or_install() -> Result<Self, Failure> {
        if let Some(found) = Self::find() {
            return Ok(found);
        }
        let advice = "PostgreSQL is not installed: install its server package (`postgresql` on Debian and Ubuntu, \
                      `postgresql-server` and `postgresql-contrib` on Fedora, `postgresql` with Homebrew)";
        if !can_install()? {
            return Err(format!("{advice}, or put the folder of `initdb`, `postgres` and `psql` on PATH"));
        }
        println!("PostgreSQL is not installed: installing the package `postgresql`");
        install(&["postgresql"]).map_err(|failure| format!("{failure}; {advice}"))?;
        Self::find()
            .ok_or_else(|| format!("no `initdb`, `postgres` and `psql` though they were just installed; {advice}"))
    }

    /// Searches PATH, Debian's folders (newest first), and the folder that `pg_config` reports.
    fn find() -> Option<Self> {
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let configured = read(Command::new("pg_config").arg("--bindir")).ok().map(PathBuf::from);
        let mut folders = on_path.into_iter().chain(debian_folders()).chain(configured);
        folders.find_map(|folder| Self::in_folder(&folder))
    }

    /// Returns the programs of this folder. Links are resolved, because only the folder of the real `postgres` has all programs.
    fn in_folder(folder: &Path) -> Option<Self> {
        let folder = folder.join("postgres").canonicalize().ok()?.parent()?.to_owned();
        let complete = ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file());
        complete.then_some(Self(folder))
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.0.join(program))
    }

    /// Returns a command that runs pgbench. Some systems have it in a separate package.
    pub fn pgbench(&self) -> Result<Command, Failure> {
        if self.0.join("pgbench").is_file() {
            return Ok(self.command("pgbench"));
        }
        Err("there is no `pgbench` beside `postgres`: install `postgresql-contrib`".to_owned())
    }
}

/// Returns the folders `/usr/lib/postgresql/<version>/bin`, newest first.
fn debian_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut versions: Vec<_> = folders.filter_map(|folder| Some((version(&folder)?, folder.join("bin")))).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// A user that can run a server. PostgreSQL refuses to run as root.
#[derive(Clone, Copy, Debug)]
struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Returns another user if this process runs as root, otherwise `None`.
    fn needed() -> Result<Option<Self>, Failure> {
        if !is_root()? {
            return Ok(None);
        }
        let account = ["postgres", "nobody"].into_iter().find_map(Self::named);
        account.map(Some).ok_or_else(|| {
            "PostgreSQL cannot be run by root, and there is no user `postgres` or `nobody`: run this as another user"
                .to_owned()
        })
    }

    fn named(name: &str) -> Option<Self> {
        let id = |option: &str| read(Command::new("id").args([option, name])).ok()?.parse().ok();
        Some(Self { user: id("-u")?, group: id("-g")? })
    }
}

/// A running server. Dropping it stops the server and removes its folder.
pub struct PostgresServer {
    process: Child,
    port: u16,
    version: String,
    /// The last field, so it is dropped when the server no longer writes to it.
    _folder: TempDir,
}

impl PostgresServer {
    /// Creates an empty cluster and starts a server for tests on it. The data does not survive a crash of the machine.
    pub fn start(programs: &PostgresPrograms) -> Result<Self, Failure> {
        Self::start_with(programs, &FORGETFUL)
    }

    /// Creates an empty cluster and starts a server on it with these settings, each like `fsync=on`.
    pub fn start_with(programs: &PostgresPrograms, settings: &[&str]) -> Result<Self, Failure> {
        let account = Account::needed()?;
        let explain = |error: io::Error| format!("cannot make a temporary folder for PostgreSQL: {error}");
        let folder = tempfile::Builder::new().prefix("booking-postgres-").tempdir().map_err(explain)?;
        if let Some(account) = account {
            chown(folder.path(), Some(account.user), Some(account.group)).map_err(explain)?;
        }
        let cluster = Cluster { programs, account, folder: folder.path(), settings };
        cluster.create()?;
        let (process, port) = cluster.start()?;
        // From here on, dropping `server` stops the process after any error.
        let mut server = Self { process, port, version: String::new(), _folder: folder };
        let cluster = Cluster { programs, account, folder: server._folder.path(), settings };
        server.version = cluster.ask_who_answers(port)?;
        Ok(server)
    }

    /// Returns the URL of the server, for its superuser.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// Creates an empty database. Returns its URL, for the superuser.
    pub fn create_database(&self, programs: &PostgresPrograms, name: &str) -> Result<String, Failure> {
        self.ask(programs, "postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.database_url(name))
    }

    /// Returns the URL of a database, for the superuser.
    pub fn database_url(&self, name: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs one statement in a database. Returns its result, with `|` between columns.
    pub fn ask(&self, programs: &PostgresPrograms, database: &str, statement: &str) -> Result<String, Failure> {
        let mut psql = programs.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement]);
        read(psql.arg(self.database_url(database)))
    }

    /// Returns the version of the server.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

/// Stops the server and disconnects clients (`INT`). After a timeout, stops it immediately (`QUIT`), then kills it.
fn stop(process: &mut Child) {
    for signal in ["INT", "QUIT"] {
        send(signal, &process.id().to_string());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match process.try_wait() {
                Ok(None) => sleep(Duration::from_millis(20)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
    }
    eprintln!("warning: PostgreSQL does not stop, and is killed");
    let _ = process.kill();
    let _ = process.wait();
}

/// The files of a server.
struct Cluster<'a> {
    programs: &'a PostgresPrograms,
    account: Option<Account>,
    folder: &'a Path,
    settings: &'a [&'a str],
}

/// The outcome of a start.
enum Started {
    Ready,
    Exited(ExitStatus),
}

impl Cluster<'_> {
    fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("log")
    }

    /// Returns a command for one of PostgreSQL's programs, run by a permitted user.
    fn command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        // A separate process group: this process receives a terminal interrupt and stops the server cleanly.
        command.current_dir(self.folder).stdin(Stdio::null()).process_group(0);
        if let Some(account) = self.account {
            command.gid(account.group).uid(account.user);
        }
        command
    }

    fn create(&self) -> Result<(), Failure> {
        let mut initdb = self.command("initdb");
        initdb.args(["--username", SUPERUSER, "--auth", "trust", "--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        read(initdb.arg("--pgdata").arg(self.data())).map(|_| ())
    }

    /// Starts the server. Returns its process and its port.
    fn start(&self) -> Result<(Child, u16), Failure> {
        let mut log = String::new();
        for _ in 0..STARTS_MAX {
            check_interrupted()?;
            let port = free_port().map_err(|error| format!("cannot find a free port: {error}"))?;
            let mut process = self.spawn(port)?;
            match self.wait_until_ready(&mut process, port) {
                Ok(Started::Ready) => return Ok((process, port)),
                // Probably another process took the port.
                Ok(Started::Exited(status)) => log = format!("{status}\n{}", self.read_log()),
                Err(failure) => {
                    stop(&mut process);
                    return Err(failure);
                }
            }
        }
        Err(format!("PostgreSQL did not start in {STARTS_MAX} tries; the last ended with {log}"))
    }

    fn spawn(&self, port: u16) -> Result<Child, Failure> {
        let explain = |error: io::Error| format!("cannot start PostgreSQL: {error}");
        let log = fs::File::create(self.log()).map_err(explain)?;
        let errors = log.try_clone().map_err(explain)?;
        let mut postgres = self.command("postgres");
        postgres.arg("-D").arg(self.data()).stdout(log).stderr(errors);
        for setting in [
            "listen_addresses=127.0.0.1".to_owned(),
            format!("port={port}"),
            format!("unix_socket_directories={}", self.folder.display()),
            format!("max_connections={CONNECTIONS_MAX}"),
        ] {
            postgres.args(["-c", &setting]);
        }
        for setting in self.settings {
            postgres.args(["-c", setting]);
        }
        postgres.spawn().map_err(explain)
    }

    fn wait_until_ready(&self, process: &mut Child, port: u16) -> Result<Started, Failure> {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            check_interrupted()?;
            let exited = process.try_wait().map_err(|error| format!("cannot follow PostgreSQL: {error}"))?;
            if let Some(status) = exited {
                return Ok(Started::Exited(status));
            }
            let state = fs::read_to_string(self.data().join("postmaster.pid")).unwrap_or_default();
            if says_ready(&state, process.id(), port) {
                return Ok(Started::Ready);
            }
            sleep(Duration::from_millis(20));
        }
        Err(format!("PostgreSQL was not ready after {} s:\n{}", PATIENCE.as_secs(), self.read_log()))
    }

    /// Checks that the server that responds is the started one. Returns its version.
    fn ask_who_answers(&self, port: u16) -> Result<String, Failure> {
        let ask = |question: &str| {
            let mut psql = self.command("psql");
            psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--host", "127.0.0.1", "--username", SUPERUSER]);
            psql.args(["--port", &port.to_string(), "--dbname", "postgres", "--command", question]);
            read(&mut psql)
        };
        let (answers, ours) = (PathBuf::from(ask("SHOW data_directory")?), self.data());
        // The temporary folder can be a link.
        if answers.canonicalize().unwrap_or(answers) != ours.canonicalize().unwrap_or(ours) {
            return Err(format!("another PostgreSQL than the one just started answers on port {port}: try again"));
        }
        ask("SHOW server_version")
    }

    fn read_log(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }
}

/// Returns whether `postmaster.pid` shows that this process is ready on this port. The lines of the file are the process, the data
/// folder, the start time, the port, the socket's folder, the address, the shared memory and the state.
fn says_ready(state: &str, process: u32, port: u16) -> bool {
    let lines: Vec<_> = state.lines().map(str::trim).collect();
    let [first, _, _, fourth, _, _, _, state, ..] = lines.as_slice() else { return false };
    *first == process.to_string() && *fourth == port.to_string() && *state == "ready"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::needed;

    #[test]
    fn a_server_is_ready_when_its_own_file_says_so() {
        let state = "4711\n/tmp/data\n1700000000\n5433\n/tmp\n127.0.0.1\n 123 4\nready   \n";
        assert!(says_ready(state, 4711, 5433));
        assert!(!says_ready(state, 4712, 5433));
        assert!(!says_ready(state, 4711, 5432));
        assert!(!says_ready(&state.replace("ready", "starting"), 4711, 5433));
        assert!(!says_ready("4711\n/tmp/data\n", 4711, 5433));
        assert!(!says_ready("", 4711, 5433));
    }

    #[test]
    fn a_server_starts_answers_and_leaves_nothing_behind() {
        let Some(programs) = needed(PostgresPrograms::find_or_install()) else { return };
        let server = PostgresServer::start(&programs).unwrap();
        let (process, folder) = (server.process.id().to_string(), server._folder.path().to_owned());
        let alive = || read(Command::new("kill").args(["-s", "0", &process])).is_ok();
        assert!(alive() && folder.exists());
        assert!(server.version().starts_with(|first: char| first.is_ascii_digit()), "{}", server.version());
        assert!(server.url().starts_with("postgres://booking@127.0.0.1:"));
        drop(server);
        assert!(!alive() && !folder.exists());
    }

    #[test]
    fn the_programs_are_found_through_a_link_and_only_where_all_are() {
        let real = tempfile::tempdir().unwrap();
        let links = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(real.path().join("postgres"), links.path().join("postgres")).unwrap();
        for program in ["initdb", "postgres", "psql"] {
            assert!(PostgresPrograms::in_folder(links.path()).is_none());
            fs::write(real.path().join(program), "").unwrap();
        }
        let found = PostgresPrograms::in_folder(links.path()).unwrap();
        assert_eq!(found.0, real.path().canonicalize().unwrap());
    }
}
