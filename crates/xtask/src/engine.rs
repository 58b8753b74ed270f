//! The container engine: a running one, or one that is installed and started temporarily.

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

/// The longest time for a short command of the engine, such as a query or stopping a container.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Returns a command `docker` with arguments. It uses the engine of `DOCKER_HOST`, otherwise that of the default socket.
pub fn docker(arguments: &[&str]) -> Command {
    let mut docker = Command::new("docker");
    docker.args(arguments);
    docker
}

/// Returns the output of a short `docker` command. Fails if the command fails.
pub fn ask(arguments: &[&str]) -> Result<String, Failure> {
    read_within(&mut docker(arguments), PATIENCE)
}

/// Like `ask`, but also works after an interrupt. For cleaning up.
pub fn clean_up(arguments: &[&str]) -> Result<String, Failure> {
    read(&mut docker(arguments))
}

/// A running engine. Dropping it stops the engine if this process started it.
pub struct Engine {
    version: String,
    _started: Option<Daemon>,
}

impl Engine {
    /// Finds a running engine. The error says why none responds.
    pub fn find() -> Result<Self, Failure> {
        let version = ask(&["version", "--format", "{{.Server.Version}}"])?;
        Ok(Self { version, _started: None })
    }

    /// Finds a running engine, or starts one. As root on a system with apt-get, installs it first if necessary.
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
            // The installation may have started it.
            if let Ok(engine) = Self::find() {
                return Ok(engine);
            }
        }
        let daemon = Daemon::start()?;
        Ok(Self { _started: Some(daemon), ..Self::find()? })
    }

    /// Returns a description of the engine.
    pub fn describe(&self) -> String {
        let storage = ask(&["info", "--format", "{{.Driver}}"]).unwrap_or_else(|failure| failure);
        format!("container engine {}, storage {storage}", self.version)
    }
}

/// An engine that this process started.
struct Daemon {
    process: Child,
    log: NamedTempFile,
}

impl Daemon {
    /// Starts the engine on the default socket and waits until it responds. The engine selects a supported storage driver itself.
    fn start() -> Result<Self, Failure> {
        println!("no container engine answers: starting `dockerd`");
        let explain = |error: std::io::Error| format!("cannot start `dockerd`: {error}");
        let log = NamedTempFile::with_prefix("booking-dockerd-").map_err(explain)?;
        let mut dockerd = Command::new("dockerd");
        let (stdout, stderr) = (log.reopen().map_err(explain)?, log.reopen().map_err(explain)?);
        // A separate process group: this process receives a terminal interrupt and stops the engine cleanly.
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
