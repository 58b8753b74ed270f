//! The container engine: the one that answers, or one that is installed and started for a while.

use std::env;
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tempfile::NamedTempFile;

use crate::Failure;
use crate::process::{check_interrupted, read, read_within, send};
use crate::system::{can_install, install, on_path};

/// How long the engine may take for what is done at once: a question, the end of a container.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// `docker` with arguments. It asks the engine of `DOCKER_HOST`, else that of the default socket.
pub fn docker(arguments: &[&str]) -> Command {
    let mut docker = Command::new("docker");
    docker.args(arguments);
    docker
}

/// What `docker` says at once. Fails if it fails.
pub fn ask(arguments: &[&str]) -> Result<String, Failure> {
    read_within(&mut docker(arguments), PATIENCE)
}

/// The same for cleaning up, which goes on when somebody has interrupted.
pub fn clean_up(arguments: &[&str]) -> Result<String, Failure> {
    read(&mut docker(arguments))
}

/// An engine that answers. One that was started here is stopped when this is dropped.
pub struct Engine {
    version: String,
    _started: Option<Daemon>,
}

impl Engine {
    /// The engine that answers; otherwise why none does.
    pub fn find() -> Result<Self, Failure> {
        let version = ask(&["version", "--format", "{{.Server.Version}}"])?;
        Ok(Self { version, _started: None })
    }

    /// The engine that answers; where none does, as root on a system with apt-get, one that is installed if need be, and started.
    pub fn find_or_start() -> Result<Self, Failure> {
        let reason = match Self::find() {
            Ok(engine) => return Ok(engine),
            Err(reason) => reason,
        };
        check_interrupted()?;
        if env::var_os("DOCKER_HOST").is_some() {
            return Err(format!("no container engine answers at DOCKER_HOST: {reason}"));
        }
        if on_path("dockerd").is_none() || on_path("docker").is_none() {
            if !can_install()? {
                return Err(format!("{reason}; installing an engine needs root and apt-get"));
            }
            println!("there is no container engine: installing the package `docker.io`");
            install(&["docker.io"])?;
            // The package may have started it.
            if let Ok(engine) = Self::find() {
                return Ok(engine);
            }
        }
        let daemon = Daemon::start()?;
        Ok(Self { _started: Some(daemon), ..Self::find()? })
    }

    /// What is told of it.
    pub fn describe(&self) -> String {
        let storage = ask(&["info", "--format", "{{.Driver}}"]).unwrap_or_else(|failure| failure);
        format!("container engine {}, storage {storage}", self.version)
    }
}

/// An engine that we started.
struct Daemon {
    process: Child,
    log: NamedTempFile,
}

impl Daemon {
    /// Starts it on the default socket, and waits until it answers. It finds out by itself which storage this machine can do.
    fn start() -> Result<Self, Failure> {
        println!("no container engine answers: starting `dockerd`");
        let explain = |error: std::io::Error| format!("cannot start `dockerd`: {error}");
        let log = NamedTempFile::with_prefix("booking-dockerd-").map_err(explain)?;
        let mut dockerd = Command::new("dockerd");
        let (stdout, stderr) = (log.reopen().map_err(explain)?, log.reopen().map_err(explain)?);
        // In a group of its own: an interrupt at the terminal is for us, who then stop it in order.
        dockerd.stdin(Stdio::null()).stdout(stdout).stderr(stderr).process_group(0);
        let mut daemon = Self { process: dockerd.spawn().map_err(explain)?, log };
        let deadline = Instant::now() + PATIENCE;
        loop {
            check_interrupted()?;
            if Engine::find().is_ok() {
                return Ok(daemon);
            }
            if let Ok(Some(status)) = daemon.process.try_wait() {
                return Err(format!("`dockerd` ended with {status}:\n{}", daemon.last_lines()));
            }
            if Instant::now() > deadline {
                return Err(format!(
                    "`dockerd` does not answer after {} s:\n{}",
                    PATIENCE.as_secs(),
                    daemon.last_lines()
                ));
            }
            sleep(Duration::from_millis(100));
        }
    }

    fn last_lines(&self) -> String {
        let log =
            fs::read_to_string(self.log.path()).unwrap_or_else(|error| format!("(its log cannot be read: {error})"));
        let lines: Vec<_> = log.lines().collect();
        lines.get(lines.len().saturating_sub(10)..).unwrap_or_default().join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        send("TERM", &self.process.id().to_string());
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            match self.process.try_wait() {
                Ok(None) => sleep(Duration::from_millis(50)),
                Ok(Some(_)) | Err(_) => return,
            }
        }
        eprintln!("warning: `dockerd` does not stop, and is killed");
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
