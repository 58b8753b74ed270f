//! Real nginx and HAProxy between a client and servers, with the configuration blocks of `docs/operating/proxies.md`.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Sends the HTTP suite through the listed proxies. Set by `cargo xtask test --through-proxies`.
const TEST_PROXIES: &str = "TEST_PROXIES";
/// The source address of proxies. Clients have another one, so that a server can distinguish them.
pub const PROXY_ADDRESS: &str = "127.0.0.2";

const DOCUMENT: &str = include_str!("../docs/operating/proxies.md");
/// The server addresses in the document.
const DOCUMENTED_SERVERS: [&str; 2] = ["10.0.0.11:3000", "10.0.0.12:3000"];
/// The attempts to find a port: another program may take it before the proxy does.
const STARTS_MAX: usize = 5;
/// The longest time a proxy may take to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns whether the HTTP suite goes through proxies.
pub fn are_wanted() -> bool {
    std::env::var_os(TEST_PROXIES).is_some()
}

/// Returns whether PgBouncer is among them.
pub fn is_pooler_wanted() -> bool {
    std::env::var(TEST_PROXIES).is_ok_and(|names| names.split_whitespace().any(|name| name == "pgbouncer"))
}

/// A proxy for HTTP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    Nginx,
    HAProxy,
}

impl Kind {
    fn language(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::HAProxy => "haproxy",
        }
    }

    /// Returns the first block of the document in the proxy's language.
    pub fn documented(self) -> &'static str {
        let fence = format!("```{}\n", self.language());
        let (_, rest) = DOCUMENT.split_once(&fence).expect("the document has a block");
        rest.split_once("```").expect("the block ends").0
    }

    /// Returns the documented configuration for these servers.
    pub fn configuration(self, servers: &[&str]) -> Configuration {
        assert!((1..=DOCUMENTED_SERVERS.len()).contains(&servers.len()));
        let mut text = String::new();
        for line in self.documented().lines() {
            match DOCUMENTED_SERVERS.iter().position(|documented| line.contains(documented)) {
                Some(at) => {
                    let Some(server) = servers.get(at) else { continue };
                    text += &line.replace(DOCUMENTED_SERVERS[at], server);
                }
                None => text += line,
            }
            text.push('\n');
        }
        for server in servers {
            assert!(text.contains(server), "the block names {DOCUMENTED_SERVERS:?}");
        }
        Configuration { kind: self, text }
    }
}

/// A configuration to start a proxy with.
#[derive(Clone)]
pub struct Configuration {
    kind: Kind,
    text: String,
}

impl Configuration {
    /// Replaces the text in one place.
    #[must_use]
    pub fn with(mut self, documented: &str, other: &str) -> Self {
        assert_eq!(self.text.matches(documented).count(), 1, "{documented:?} is in the block once");
        self.text = self.text.replace(documented, other);
        self
    }

    /// Starts the proxy.
    pub fn start(&self) -> Proxy {
        Proxy::start(|port, folder| self.command(port, folder))
    }

    fn command(&self, port: u16, folder: &TempDir) -> Command {
        let file = folder.path().join("conf");
        let own = self.clone();
        match self.kind {
            Kind::Nginx => {
                let server = own.with("listen 80;", &format!("listen 127.0.0.1:{port};")).text;
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|what| format!("{what}_temp_path {what};\n"))
                    .concat();
                let text = format!(
                    "daemon off;\nmaster_process off;\npid pid;\nevents {{ worker_connections 1024; }}\nhttp {{\naccess_log off;\n\
                    {temporary}proxy_bind {PROXY_ADDRESS};\n{server}}}\n"
                );
                fs::write(&file, text).unwrap();
                let mut nginx = program("TEST_NGINX", "nginx");
                nginx.arg("-p").arg(folder.path()).args(["-e", "stderr", "-c"]).arg(file);
                nginx
            }
            Kind::HAProxy => {
                let own = own.with("bind :80\n", &format!("bind 127.0.0.1:{port}\n"));
                let own = own.with("defaults\n", &format!("defaults\n    source {PROXY_ADDRESS}\n"));
                fs::write(&file, format!("global\n    maxconn 1000\n{}", own.text)).unwrap();
                let mut haproxy = program("TEST_HAPROXY", "haproxy");
                haproxy.arg("-db").arg("-f").arg(file);
                haproxy
            }
        }
    }
}

/// Returns a program: the one named by the variable, else the one on the path or in the directories for system programs.
fn program(variable: &str, name: &str) -> Command {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&path).chain(["/usr/sbin".into()]).map(|folder| folder.join(name));
    let found =
        std::env::var_os(variable).map(PathBuf::from).or_else(|| on_path.into_iter().find(|file| file.is_file()));
    Command::new(found.unwrap_or_else(|| panic!("{name} is not installed: `cargo xtask test` installs it as root")))
}

/// Picks a port outside the range of ephemeral ports, so that no server with an arbitrary port gets it.
fn port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 10_000).unwrap();
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 10_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// A running proxy. It is killed when it is dropped.
pub struct Proxy {
    /// The address it listens on, as `127.0.0.1:4711`.
    pub authority: String,
    process: Child,
    _folder: TempDir,
}

impl Proxy {
    /// Starts the command of a program that listens on the given loopback port, with its files in the given folder.
    fn start(command: impl Fn(u16, &TempDir) -> Command) -> Self {
        let mut log = String::new();
        for _ in 0..STARTS_MAX {
            let (port, folder) = (port(), tempfile::tempdir().unwrap());
            let mut command = command(port, &folder);
            let file = fs::File::create(folder.path().join("log")).unwrap();
            command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
            let process = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
            let mut proxy = Self { authority: format!("127.0.0.1:{port}"), process, _folder: folder };
            if proxy.listens() {
                return proxy;
            }
            log = proxy.log();
        }
        panic!("the proxy does not start: {log}");
    }

    /// Waits until the program listens. Returns false if it has ended.
    fn listens(&mut self) -> bool {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let connected = TcpStream::connect(&self.authority).is_ok();
            if self.process.try_wait().unwrap().is_some() {
                return false;
            }
            if connected {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("the proxy does not listen: {}", self.log());
    }

    /// Returns the log of the program.
    pub fn log(&self) -> String {
        fs::read_to_string(self._folder.path().join("log")).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
