//! Redis servers of their own for tests, and a proxy that breaks the way to them.
//!
//! A server is a container of the image in `TEST_REDIS_IMAGE`, else the program in `TEST_REDIS_SERVER`, else `redis-server` of the
//! path. A container uses the network of this machine, so that one set of arguments does for both: the image's entrypoint must run
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

/// The image that servers are containers of.
pub const TEST_REDIS_IMAGE: &str = "TEST_REDIS_IMAGE";
/// A label for the containers, like `name=value`, by which they are removed whatever becomes of the test.
pub const TEST_CONTAINER_LABEL: &str = "TEST_CONTAINER_LABEL";
/// The program that servers are processes of.
pub const TEST_REDIS_SERVER: &str = "TEST_REDIS_SERVER";

/// How often it is tried to start a server: its port may be taken by another program meanwhile.
const STARTS_MAX: usize = 5;
/// How long it may take to answer.
const START_MAX: Duration = Duration::from_secs(30);

type TestError = Box<dyn std::error::Error + Send + Sync>;
type TestResult<T> = Result<T, TestError>;

/// What a server is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Role {
    /// A server by itself.
    Single,
    /// All of a cluster.
    Cluster,
    /// A Sentinel that knows the server at this port as `main`.
    Sentinel {
        /// The server's port.
        port: u16,
    },
}

/// A server of a test's own, on loopback, without persistence. It is gone when the value is.
pub struct TestRedis {
    port: u16,
    role: Role,
    running: Option<Running>,
}

/// A server that runs.
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
    /// Returns a server by itself, empty.
    pub async fn start() -> TestResult<Self> {
        Self::start_as(Role::Single).await
    }

    /// Returns a server for a role.
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

    /// Returns the address to give to the program.
    pub fn url(&self) -> String {
        let authority = self.authority();
        match self.role {
            Role::Single => format!("redis://{authority}"),
            Role::Cluster => format!("redis-cluster://{authority}"),
            Role::Sentinel { .. } => format!("redis-sentinel://{authority}?sentinelServiceName=main"),
        }
    }

    /// Kills the server: all that it kept is gone.
    pub async fn stop(&mut self) {
        let running = self.running.take();
        // A container takes seconds to be removed, which whoever runs beside this must not wait for.
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

    /// Sends one command, on a connection of its own.
    pub async fn command<R: FromValue>(&self, name: &str, arguments: &[&[u8]]) -> TestResult<R> {
        command(self.port, name, arguments).await
    }

    /// Returns every key that the server has.
    pub async fn keys(&self) -> TestResult<Vec<String>> {
        self.command("KEYS", &[b"*"]).await
    }
}

/// Returns a port of loopback that nobody has, for now.
fn free_port() -> TestResult<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

async fn run(port: u16, role: &Role) -> TestResult<Running> {
    // By its name it is known that who answers is this server, and not another program that has got the port.
    // Forty characters, as a Sentinel's has.
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
        // The bus between nodes has a port of its own, by default one that may be too high; nobody else is on it here.
        for (setting, value) in
            [("cluster-enabled", "yes"), ("cluster-port", "0"), ("cluster-announce-ip", "127.0.0.1")]
        {
            arguments.extend([format!("--{setting}"), value.to_owned()]);
        }
    }
    arguments
}

/// What a Sentinel reads, and writes to, in its own directory.
const SENTINEL_FILE: &str = "sentinel.conf";

/// Returns a Sentinel's file: it knows a server as `main`, and itself by its name.
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
    // By it whoever runs the tests finds what a killed test has left.
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

/// As random as the standard library: names of tests need no more.
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

/// What a proxy does to what passes through it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// Every answer comes so much later, one after the other.
    Late(Duration),
    /// Every command is answered with these bytes, and reaches nobody.
    Answer(Vec<u8>),
    /// Of each answer half is passed on, then the connection is cut.
    Cut,
}

/// A proxy before a server, which breaks what passes through it as it is told.
pub struct FaultyProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    accepting: tokio::task::JoinHandle<()>,
    commands: Arc<Mutex<u64>>,
}

impl FaultyProxy {
    /// Returns a proxy before the server at this port, which breaks nothing yet.
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

    /// Returns the address to give to the program.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// From now on it breaks this, on connections there are already too.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Returns how many commands have come.
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

/// Finds where commands end: each is an array of texts, which come after their lengths.
#[derive(Default)]
struct RequestReader {
    line: Vec<u8>,
    texts: u64,
    skip: usize,
}

impl RequestReader {
    /// Returns how many commands end in these bytes.
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
                    // The text and its line's end.
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
