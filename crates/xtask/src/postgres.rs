//! A PostgreSQL server for a while: in a temporary folder, on a port of its own, of whatever version is installed.

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

/// The server's superuser. It needs no password, but listens on this machine only.
pub const SUPERUSER: &str = "booking";
/// Enough for all tests at once, each with pools of its own.
pub const CONNECTIONS_MAX: u32 = 300;
/// What a server for tests is set to: nobody needs what is in it after the machine failed.
const FORGETFUL: [&str; 2] = ["fsync=off", "full_page_writes=off"];
/// How often a port is picked: another program may take it before the server does.
const STARTS_MAX: usize = 5;
/// How long a server may take to start, or to stop.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where PostgreSQL's programs are.
#[derive(Clone, Debug)]
pub struct PostgresPrograms(PathBuf);

impl PostgresPrograms {
    /// Finds them, or as root on a system with apt-get installs them.
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

    /// On PATH, where Debian keeps them (newest first), or where `pg_config` says.
    fn find() -> Option<Self> {
        let on_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
        let configured = read(Command::new("pg_config").arg("--bindir")).ok().map(PathBuf::from);
        let mut folders = on_path.into_iter().chain(debian_folders()).chain(configured);
        folders.find_map(|folder| Self::in_folder(&folder))
    }

    /// The programs that this folder has, or has links to: only beside the real `postgres` are all the others.
    fn in_folder(folder: &Path) -> Option<Self> {
        let folder = folder.join("postgres").canonicalize().ok()?.parent()?.to_owned();
        let complete = ["initdb", "postgres", "psql"].iter().all(|program| folder.join(program).is_file());
        complete.then_some(Self(folder))
    }

    fn command(&self, program: &str) -> Command {
        Command::new(self.0.join(program))
    }

    /// PostgreSQL's own benchmark. Some systems have it in a package of its own.
    pub fn pgbench(&self) -> Result<Command, Failure> {
        if self.0.join("pgbench").is_file() {
            return Ok(self.command("pgbench"));
        }
        Err("there is no `pgbench` beside `postgres`: install `postgresql-contrib`".to_owned())
    }
}

/// `/usr/lib/postgresql/<version>/bin`, newest first.
fn debian_folders() -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir("/usr/lib/postgresql") else { return Vec::new() };
    let version = |folder: &Path| folder.file_name()?.to_str()?.parse::<u32>().ok();
    let folders = entries.filter_map(Result::ok).map(|entry| entry.path());
    let mut versions: Vec<_> = folders.filter_map(|folder| Some((version(&folder)?, folder.join("bin")))).collect();
    versions.sort_unstable_by(|a, b| b.cmp(a));
    versions.into_iter().map(|(_, folder)| folder).collect()
}

/// A user that may run a server. PostgreSQL refuses to be run by root.
#[derive(Clone, Copy, Debug)]
struct Account {
    user: u32,
    group: u32,
}

impl Account {
    /// Another user than root if we are root; nobody else otherwise.
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

/// A running server. It is stopped, and its folder removed, when this is dropped.
pub struct PostgresServer {
    process: Child,
    port: u16,
    version: String,
    /// Dropped last, when nothing writes to it any more.
    _folder: TempDir,
}

impl PostgresServer {
    /// Makes an empty cluster and starts a server on it that is good for tests: it loses everything if the machine fails.
    pub fn start(programs: &PostgresPrograms) -> Result<Self, Failure> {
        Self::start_with(programs, &FORGETFUL)
    }

    /// Makes an empty cluster and starts a server on it with these settings, each like `fsync=on`.
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
        // From here on the server is stopped whatever goes wrong.
        let mut server = Self { process, port, version: String::new(), _folder: folder };
        let cluster = Cluster { programs, account, folder: server._folder.path(), settings };
        server.version = cluster.ask_who_answers(port)?;
        Ok(server)
    }

    /// Where the server is, for its superuser.
    pub fn url(&self) -> String {
        self.database_url("postgres")
    }

    /// Makes an empty database. Where it is, for the superuser.
    pub fn create_database(&self, programs: &PostgresPrograms, name: &str) -> Result<String, Failure> {
        self.ask(programs, "postgres", &format!("CREATE DATABASE {name}"))?;
        Ok(self.database_url(name))
    }

    /// Where a database is, for the superuser.
    pub fn database_url(&self, name: &str) -> String {
        format!("postgres://{SUPERUSER}@127.0.0.1:{}/{name}", self.port)
    }

    /// Runs one statement in a database; what it answers, columns with `|` between them.
    pub fn ask(&self, programs: &PostgresPrograms, database: &str, statement: &str) -> Result<String, Failure> {
        let mut psql = programs.command("psql");
        psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement]);
        read(psql.arg(self.database_url(database)))
    }

    /// The server's version.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for PostgresServer {
    fn drop(&mut self) {
        stop(&mut self.process);
    }
}

/// Ends clients and server (`INT`); if that takes too long, at once (`QUIT`); at last by force.
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

/// What became of a server that was started.
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

    /// One of PostgreSQL's programs, run by who may run it.
    fn command(&self, program: &str) -> Command {
        let mut command = self.programs.command(program);
        // In a group of its own: an interrupt at the terminal is for us, who then stop the server in order.
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

    /// Starts the server; its process and its port.
    fn start(&self) -> Result<(Child, u16), Failure> {
        let mut log = String::new();
        for _ in 0..STARTS_MAX {
            check_interrupted()?;
            let port = free_port().map_err(|error| format!("cannot find a free port: {error}"))?;
            let mut process = self.spawn(port)?;
            match self.wait_until_ready(&mut process, port) {
                Ok(Started::Ready) => return Ok((process, port)),
                // Most likely somebody else was faster to take the port.
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

    /// Makes sure that the server that answers is the one that was started; its version.
    fn ask_who_answers(&self, port: u16) -> Result<String, Failure> {
        let ask = |question: &str| {
            let mut psql = self.command("psql");
            psql.args(["--no-psqlrc", "--tuples-only", "--no-align", "--host", "127.0.0.1", "--username", SUPERUSER]);
            psql.args(["--port", &port.to_string(), "--dbname", "postgres", "--command", question]);
            read(&mut psql)
        };
        let (answers, ours) = (PathBuf::from(ask("SHOW data_directory")?), self.data());
        // The folder for temporary files may be a link.
        if answers.canonicalize().unwrap_or(answers) != ours.canonicalize().unwrap_or(ours) {
            return Err(format!("another PostgreSQL than the one just started answers on port {port}: try again"));
        }
        ask("SHOW server_version")
    }

    fn read_log(&self) -> String {
        fs::read_to_string(self.log()).unwrap_or_else(|error| format!("(its log cannot be read: {error})"))
    }
}

/// Whether `postmaster.pid` says that this process listens on this port. Its lines are the process, the data folder, the time
/// of the start, the port, the socket's folder, the address, the shared memory and the state.
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
