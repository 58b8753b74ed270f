//! A temporary Redis server: in a temporary folder, on its own port, of the installed version.

use std::fs;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fred::interfaces::ClientLike as _;
use fred::types::InfoKind;
use fred::types::config::{Config, ServerConfig};
use tempfile::TempDir;

use crate::Failure;
use crate::process::until;
use crate::system::{can_install, free_port, install, on_path};

/// Maximum number of ports to try: another program may take the port before the server does.
const STARTS_MAX: usize = 5;
/// The longest time for a start or a response.
const PATIENCE: Duration = Duration::from_secs(30);

/// Finds `redis-server`. As root on a system with apt-get, installs it if it is missing.
pub fn find_or_install() -> Result<PathBuf, Failure> {
    if let Some(program) = on_path("redis-server") {
        return Ok(program);
    }
    let advice = "Redis is not installed: install its server (`redis-server` on Debian and Ubuntu, `redis` elsewhere)";
    if !can_install()? {
        return Err(format!("{advice}, or put the folder of `redis-server` on PATH"));
    }
    println!("Redis is not installed: installing the package `redis-server`");
    install(&["redis-server"]).map_err(|failure| format!("{failure}; {advice}"))?;
    on_path("redis-server").ok_or_else(|| format!("no `redis-server` though it was just installed; {advice}"))
}

/// A running server. Dropping it kills the server and removes its folder, because its data is not needed.
pub struct RedisServer {
    process: Child,
    port: u16,
    version: String,
    /// The last field, so it is dropped when the server no longer writes to it.
    _folder: TempDir,
}

impl RedisServer {
    /// Starts a server without persistence and waits until it responds.
    pub fn start(program: &Path) -> Result<Self, Failure> {
        let mut last = String::new();
        for _ in 0..STARTS_MAX {
            let explain = |error: io::Error| format!("cannot start Redis: {error}");
            let folder = tempfile::Builder::new().prefix("booking-redis-").tempdir().map_err(explain)?;
            let port = free_port().map_err(explain)?;
            let log = folder.path().join("log");
            let mut redis = Command::new(program);
            redis.args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
            redis.args(["--daemonize", "no", "--dir"]).arg(folder.path());
            // A separate process group: this process receives a terminal interrupt and stops the server.
            redis.stdin(Stdio::null()).stdout(fs::File::create(&log).map_err(explain)?).process_group(0);
            let process = redis.spawn().map_err(explain)?;
            // From here on, dropping `server` stops the process after any error.
            let mut server = Self { process, port, version: String::new(), _folder: folder };
            match server.answers()? {
                Some(version) => {
                    server.version = version;
                    return Ok(server);
                }
                None => last = fs::read_to_string(&log).unwrap_or_default(),
            }
        }
        Err(format!("Redis did not start in {STARTS_MAX} tries; the last wrote {last}"))
    }

    /// Waits until the started server responds, and no other. Returns its version, or `None` if it has ended.
    fn answers(&mut self) -> Result<Option<String>, Failure> {
        let (own, port) = (self.process.id().to_string(), self.port);
        let said = until(PATIENCE, || match self.process.try_wait() {
            Ok(None) => info(port).map(Some),
            Ok(Some(_)) => Ok(None),
            Err(error) => Err(format!("cannot follow Redis: {error}")),
        })?;
        // If another process took the port, this server is about to end.
        said.filter(|said| field(said, "process_id") == Ok(&own))
            .map(|said| field(&said, "redis_version").map(str::to_owned))
            .transpose()
    }

    /// Returns the URL of the server.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Returns the version of the server.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Returns the server information of the Redis server on this port.
pub fn info(port: u16) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask(port)).await });
    let answer = asked.map_err(|_| "no answer".to_owned()).and_then(|asked| asked.map_err(|error| error.to_string()));
    answer.map_err(|error| format!("Redis does not answer on port {port}: {error}"))
}

async fn ask(port: u16) -> Result<String, fred::error::Error> {
    let config = Config { server: ServerConfig::new_centralized("127.0.0.1", port), ..Config::default() };
    let client = fred::types::Builder::from_config(config).build()?;
    client.init().await?;
    let info = client.info(Some(InfoKind::Server)).await;
    client.quit().await?;
    info
}

/// Returns the value of a line `name:value` in Redis's information.
pub fn field<'a>(info: &'a str, name: &str) -> Result<&'a str, Failure> {
    let value = info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    value.map(str::trim).ok_or_else(|| format!("Redis does not tell its {name}: {info:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backends::needed;

    #[test]
    fn a_server_starts_answers_and_leaves_nothing_behind() {
        let Some(program) = needed(find_or_install()) else { return };
        let server = RedisServer::start(&program).unwrap();
        let (port, folder) = (server.port, server._folder.path().to_owned());
        assert!(server.version().starts_with(|first: char| first.is_ascii_digit()), "{}", server.version());
        assert_eq!(server.url(), format!("redis://127.0.0.1:{port}"));
        assert!(info(port).is_ok() && folder.exists());
        drop(server);
        assert!(info(port).is_err() && !folder.exists());
    }

    #[test]
    fn a_field_is_a_whole_line() {
        let info = "$60\r\n# Server\r\nredis_version:7.0.15\r\nrun_id:ab12\r\n";
        assert_eq!(field(info, "redis_version"), Ok("7.0.15"));
        assert_eq!(field(info, "run_id"), Ok("ab12"));
        assert!(field(info, "run").is_err() && field(info, "id").is_err());
    }
}
