//! Separate Redis servers for tests, and a proxy that injects faults.
//!
//! A server is a container of the image in `TEST_REDIS_IMAGE`, else the program in `TEST_REDIS_SERVER`, else `redis-server` from the path.
//! A container uses the host's network, so that containers and processes have the same arguments: the image's entrypoint must run
//! `redis-server` with the arguments of its command.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use domain::random::{OperationId, Random};
use fred::interfaces::ClientLike as _;
use fred::types::config::{Config, ServerConfig};
use fred::types::{Builder, ClusterHash, CustomCommand, FromValue, Value};
use tempfile::TempDir;
use testcontainers::CopyTargetOptions;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerAsync, GenericImage, ImageExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// The image of the servers' containers.
pub const TEST_REDIS_IMAGE: &str = "TEST_REDIS_IMAGE";
/// A label for the containers, as `name=value`. It identifies them for removal if a test is killed.
pub const TEST_CONTAINER_LABEL: &str = "TEST_CONTAINER_LABEL";
/// The program of the servers' processes.
pub const TEST_REDIS_SERVER: &str = "TEST_REDIS_SERVER";

/// The maximum number of attempts to start a server: another program may take its port meanwhile.
const STARTS_MAX: usize = 5;
/// The timeout of its first response.
const START_MAX: Duration = Duration::from_secs(30);

type TestError = Box<dyn std::error::Error + Send + Sync>;
type TestResult<T> = Result<T, TestError>;

/// The role of a server.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// A standalone server.
    Single,
    /// The only node of a cluster.
    Cluster,
    /// A Sentinel that monitors the server at this port as `main`.
    Sentinel {
        /// The port of the monitored server.
        port: u16,
    },
}

/// A server for one test, on loopback, without persistence. Dropping it stops the server.
pub struct TestRedis {
    port: u16,
    role: Role,
    running: Option<Running>,
}

/// A running server.
enum Running {
    Process { child: Child, _folder: TempDir },
    Container { _container: Box<ContainerAsync<GenericImage>> },
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Self::Process { child, .. } = self {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl TestRedis {
    /// Starts a standalone, empty server.
    pub async fn start() -> TestResult<Self> {
        Self::start_as(Role::Single).await
    }

    /// Starts a server with a role.
    pub async fn start_as(role: Role) -> TestResult<Self> {
        let mut failure = TestError::from("not tried");
        for _ in 0..STARTS_MAX {
            let port = free_port()?;
            match run(port, &role).await {
                Ok(running) => return Ok(Self { port, role, running: Some(running) }),
                Err(error) => failure = error,
            }
        }
        Err(failure)
    }

    /// Returns the server's port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's host and port.
    pub fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Returns the address for the settings.
    pub fn url(&self) -> String {
        let authority = self.authority();
        match self.role {
            Role::Single => format!("redis://{authority}"),
            Role::Cluster => format!("redis-cluster://{authority}"),
            Role::Sentinel { .. } => format!("redis-sentinel://{authority}?sentinelServiceName=main"),
        }
    }

    /// Kills the server. Its data is lost.
    pub async fn stop(&mut self) {
        let running = self.running.take();
        // Removing a container takes seconds, so it must not block the other tasks of this thread.
        let _ = tokio::task::spawn_blocking(move || drop(running)).await;
    }

    /// Starts the server again at the same port, empty.
    pub async fn start_again(&mut self) -> TestResult<()> {
        self.stop().await;
        let mut failure = TestError::from("not tried");
        for _ in 0..STARTS_MAX {
            match run(self.port, &self.role).await {
                Ok(running) => {
                    self.running = Some(running);
                    return Ok(());
                }
                Err(error) => failure = error,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Err(failure)
    }

    /// Sends one command on a new connection.
    pub async fn command<R: FromValue>(&self, name: &str, arguments: &[&[u8]]) -> TestResult<R> {
        tokio::time::timeout(START_MAX / 4, command(self.port, name, arguments)).await?
    }

    /// Returns all keys of the server.
    pub async fn keys(&self) -> TestResult<Vec<String>> {
        self.command("KEYS", &[b"*"]).await
    }
}

/// Returns a port of loopback that is free at present.
fn free_port() -> TestResult<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn run(port: u16, role: &Role) -> TestResult<Running> {
    // The name proves that the response is from this server, not from another program that has taken the port. Forty characters, like the
    // id of a Sentinel.
    let name = format!("{:?}{port:08}", OperationId::draw(&Noise));
    let running = match std::env::var(TEST_REDIS_IMAGE) {
        Ok(image) => run_container(&image, port, role, &name).await?,
        Err(_) => run_process(port, role, &name)?,
    };
    tokio::time::timeout(START_MAX, answers(port, role, &name)).await.map_err(|_| "Redis does not start")?;
    if *role == Role::Cluster {
        command::<Value>(port, "CLUSTER", &[b"ADDSLOTSRANGE", b"0", b"16383"]).await?;
        let info = async || command::<String>(port, "CLUSTER", &[b"INFO"]).await;
        let is_ok = async || info().await.is_ok_and(|info| info.contains("cluster_state:ok"));
        let ready = async {
            while !is_ok().await {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(START_MAX, ready).await.map_err(|_| "the cluster does not start")?;
    }
    Ok(running)
}

async fn answers(port: u16, role: &Role, name: &str) {
    let ask = async || match role {
        Role::Sentinel { .. } => command::<String>(port, "SENTINEL", &[b"MYID"]).await,
        Role::Single | Role::Cluster => {
            let setting: (String, String) = command(port, "CONFIG", &[b"GET", b"appendfilename"]).await?;
            Ok(setting.1)
        }
    };
    while ask().await.ok().as_deref() != Some(name) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn arguments(port: u16, role: &Role, name: &str) -> Vec<String> {
    let mut arguments = Vec::new();
    if matches!(role, Role::Sentinel { .. }) {
        arguments.extend([SENTINEL_FILE.to_owned(), "--sentinel".to_owned()]);
        return arguments;
    }
    for (setting, value) in
        [("port", port.to_string().as_str()), ("bind", "127.0.0.1"), ("save", ""), ("appendfilename", name)]
    {
        arguments.extend([format!("--{setting}"), value.to_owned()]);
    }
    if *role == Role::Cluster {
        // The bus between nodes has its own port, whose default may be too high. This cluster has no other nodes.
        for (setting, value) in
            [("cluster-enabled", "yes"), ("cluster-port", "0"), ("cluster-announce-ip", "127.0.0.1")]
        {
            arguments.extend([format!("--{setting}"), value.to_owned()]);
        }
    }
    arguments
}

/// The configuration file of a Sentinel, which the Sentinel also writes to, in its own directory.
const SENTINEL_FILE: &str = "sentinel.conf";

/// Returns the configuration of a Sentinel: it monitors a server as `main`, and its own id is `name`.
fn sentinel_file(port: u16, master: u16, name: &str) -> String {
    format!(
        "port {port}\nbind 127.0.0.1\nsentinel myid {name}\nsentinel monitor main 127.0.0.1 {master} 1\n\
        sentinel down-after-milliseconds main 2000\n"
    )
}

fn run_process(port: u16, role: &Role, name: &str) -> TestResult<Running> {
    let program = std::env::var(TEST_REDIS_SERVER).unwrap_or_else(|_| "redis-server".to_owned());
    let folder = tempfile::tempdir()?;
    if let Role::Sentinel { port: master } = role {
        std::fs::write(folder.path().join(SENTINEL_FILE), sentinel_file(port, *master, name))?;
    }
    let mut command = Command::new(&program);
    command.args(arguments(port, role, name)).current_dir(folder.path());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().map_err(|error| format!("{program} cannot be started ({error}): install Redis"))?;
    Ok(Running::Process { child, _folder: folder })
}

async fn run_container(image: &str, port: u16, role: &Role, name: &str) -> TestResult<Running> {
    let (image, tag) = match image.rsplit_once(':') {
        Some((image, tag)) if !tag.contains('/') => (image, tag),
        _ => (image, "latest"),
    };
    let mut request = GenericImage::new(image, tag).with_network("host").with_cmd(arguments(port, role, name));
    // The label identifies containers that a killed test has left.
    if let Ok(label) = std::env::var(TEST_CONTAINER_LABEL)
        && let Some((name, value)) = label.split_once('=')
    {
        request = request.with_label(name, value);
    }
    if let Role::Sentinel { port: master } = role {
        let file = CopyTargetOptions::new(format!("/data/{SENTINEL_FILE}")).with_mode(0o666);
        request = request.with_working_dir("/data").with_copy_to(file, sentinel_file(port, *master, name).into_bytes());
    }
    Ok(Running::Container { _container: Box::new(request.start().await?) })
}

async fn command<R: FromValue>(port: u16, name: &str, arguments: &[&[u8]]) -> TestResult<R> {
    let config = Config { server: ServerConfig::new_centralized("127.0.0.1", port), ..Config::default() };
    let client = Builder::from_config(config).build()?;
    let connection = client.init().await?;
    let arguments = arguments.iter().map(|argument| Value::from(Box::<[u8]>::from(*argument))).collect();
    let answer = client.custom(CustomCommand::new(name, ClusterHash::FirstKey, false), arguments).await;
    client.quit().await?;
    connection.await??;
    Ok(answer?)
}

/// Randomness from the standard library, which is enough for the names of tests.
struct Noise;

impl Random for Noise {
    fn fill(&self, bytes: &mut [u8]) {
        use std::hash::{BuildHasher as _, RandomState};
        let state = RandomState::new();
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = state.hash_one(at).to_be_bytes()[0];
        }
    }
}

/// The fault that a proxy injects.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    None,
    /// Delays every response by this time, one after the other.
    Late(Duration),
    /// Answers every command with these bytes, without passing it on.
    Answer(Vec<u8>),
    /// Passes on half of each response, then closes the connection.
    Cut,
}

/// A proxy in front of a server that injects faults.
pub struct FaultyProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: tokio::task::JoinHandle<()>,
    commands: Arc<Mutex<u64>>,
}

impl FaultyProxy {
    /// Starts a proxy in front of the server at this port, without a fault.
    pub async fn start(port: u16) -> TestResult<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let (fault, seen) = watch::channel(Fault::None);
        let commands = Arc::new(Mutex::new(0));
        let counted = commands.clone();
        let accepting = tokio::spawn(async move {
            // Connections end with the proxy.
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, port, seen.clone(), counted.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, fault, accepting, commands })
    }

    /// Returns the address for the settings.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Injects this fault from now on, also on existing connections.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Returns the number of received commands.
    pub fn commands(&self) -> u64 {
        *self.commands.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for FaultyProxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn pass(
    mut client: TcpStream,
    port: u16,
    fault: watch::Receiver<Fault>,
    commands: Arc<Mutex<u64>>,
) -> std::io::Result<()> {
    let (mut from_client, mut to_client) = client.split();
    let mut server = TcpStream::connect(("127.0.0.1", port)).await?;
    let (mut from_server, mut to_server) = server.split();
    let (mut request, mut answer) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut reader = RequestReader::default();
    loop {
        tokio::select! {
            read = from_client.read(&mut request) => {
                let bytes = request.get(..read?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                let come = reader.commands(bytes);
                *commands.lock().unwrap_or_else(PoisonError::into_inner) += come;
                let now = fault.borrow().clone();
                match now {
                    Fault::Answer(instead) => {
                        for _ in 0..come {
                            to_client.write_all(&instead).await?;
                        }
                    }
                    Fault::None | Fault::Late(_) | Fault::Cut => to_server.write_all(bytes).await?,
                }
            }
            read = from_server.read(&mut answer) => {
                let bytes = answer.get(..read?).unwrap_or_default();
                if bytes.is_empty() {
                    return Ok(());
                }
                let now = fault.borrow().clone();
                match now {
                    Fault::None | Fault::Answer(_) => to_client.write_all(bytes).await?,
                    Fault::Late(time) => {
                        tokio::time::sleep(time).await;
                        to_client.write_all(bytes).await?;
                    }
                    Fault::Cut => {
                        to_client.write_all(bytes.get(..bytes.len() / 2).unwrap_or_default()).await?;
                        return Ok(());
                    }
                }
            }
        }
    }
}

/// Counts the commands of a stream: each is an array of texts, which are preceded by their lengths.
#[derive(Default)]
struct RequestReader {
    line: Vec<u8>,
    texts: u64,
    skip: usize,
}

impl RequestReader {
    /// Returns the number of commands that end in these bytes.
    fn commands(&mut self, bytes: &[u8]) -> u64 {
        let mut ended = 0;
        for byte in bytes {
            if self.skip > 0 {
                self.skip -= 1;
                if self.skip == 0 {
                    self.texts = self.texts.saturating_sub(1);
                    ended += u64::from(self.texts == 0);
                }
                continue;
            }
            self.line.push(*byte);
            if *byte == b'\n' {
                let line = std::mem::take(&mut self.line);
                let text = String::from_utf8_lossy(&line);
                let number = text.get(1..).and_then(|number| number.trim().parse::<usize>().ok()).unwrap_or(0);
                match line.first() {
                    Some(b'*') => self.texts = u64::try_from(number).unwrap_or(0),
                    // The text and its line ending.
                    _ => self.skip = number + 2,
                }
            }
        }
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_counted_wherever_they_are_torn() {
        let bytes = b"*1\r\n$4\r\nPING\r\n*2\r\n$3\r\nGET\r\n$6\r\n*1\r\n$0\r\n*1\r\n$4\r\nPING\r\n";
        for at in 0..bytes.len() {
            let mut reader = RequestReader::default();
            let (one, other) = bytes.split_at(at);
            assert_eq!(reader.commands(one) + reader.commands(other), 3, "torn at {at}");
        }
    }
}
