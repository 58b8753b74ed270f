//! A proxy between the program and PostgreSQL that cuts connections on purpose.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// The point at which a connection is cut: after this number of messages of one side. The next message is lost.
#[derive(Clone, Copy, Debug)]
pub enum Cut {
    /// The program's next request is lost.
    Request(u64),
    /// The server's next answer is lost, although the request was executed.
    Answer(u64),
}

/// A proxy that cuts each connection at the next point of a plan, and cuts no more connections after the plan's end.
pub struct Proxy {
    /// The address on which the proxy listens.
    pub address: SocketAddr,
    used: Arc<AtomicU64>,
}

impl Proxy {
    /// Starts a proxy in front of `server` with a plan.
    pub async fn start(server: String, plan: Vec<Cut>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let used = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&used);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let at = usize::try_from(counter.fetch_add(1, Ordering::Relaxed)).unwrap();
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, plan.get(at).copied()));
            }
        });
        Self { address, used }
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, cut: Option<Cut>) {
    let (requests, answers) = match cut {
        None => (u64::MAX, u64::MAX),
        Some(Cut::Request(after)) => (after, u64::MAX),
        Some(Cut::Answer(after)) => (u64::MAX, after),
    };
    let (mut from_client, mut to_client) = client.split();
    let (mut from_server, mut to_server) = server.split();
    tokio::select! {
        () = pump(&mut from_client, &mut to_server, requests) => {}
        () = pump(&mut from_server, &mut to_client, answers) => {}
    }
}

/// Forwards `messages` messages, then returns.
async fn pump(
    from: &mut (impl tokio::io::AsyncRead + Unpin),
    to: &mut (impl tokio::io::AsyncWrite + Unpin),
    messages: u64,
) {
    let mut buffer = vec![0; 64 * 1024];
    for _ in 0..=messages {
        let Ok(length @ 1..) = from.read(&mut buffer).await else { return };
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
    // The next message is read and discarded.
    let _ = from.read(&mut buffer).await;
}
