//! A server process that a recipe starts.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use crate::Failure;
use crate::process::send;

/// A running server. Dropping it stops the server.
pub struct Server {
    process: Child,
    /// The address, like `127.0.0.1:4711`.
    pub address: String,
}

impl Server {
    /// Starts the server with piped standard output, and waits for its address.
    pub fn start(command: &mut Command) -> Result<Self, Failure> {
        let explain = |error: std::io::Error| format!("the server cannot be started: {error}");
        let process = command.stdin(Stdio::null()).spawn().map_err(explain)?;
        // From here on, dropping `server` stops the process after any error.
        let mut server = Self { process, address: String::new() };
        let mut greeting = String::new();
        if let Some(output) = server.process.stdout.take() {
            BufReader::new(output).read_line(&mut greeting).map_err(explain)?;
        }
        let address = greeting.trim().rsplit_once("http://").map(|(_, address)| address.to_owned());
        server.address = address.ok_or_else(|| format!("no address in the server's greeting {greeting:?}"))?;
        Ok(server)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        send("TERM", &self.process.id().to_string());
        let _ = self.process.wait();
    }
}
