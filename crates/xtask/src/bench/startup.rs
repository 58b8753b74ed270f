//! Time from the start of the server to its first response.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::http;
use crate::process::send;

/// Number of starts. The median of several starts is more reliable than one start.
const RUNS: usize = 5;

/// Measures the time from a server's start to its first response, in a new directory and in an existing one.
pub fn run(binary: &Path) -> Result<(), Failure> {
    let (mut new, mut again) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
        new.push(start(binary, folder.path())?);
        again.push(start(binary, folder.path())?);
    }
    println!("start to first answer, embedded store, median of {RUNS}:");
    println!("  new directory (migrated, seeded)  {} ms", median(new).as_millis());
    println!("  the same directory again          {} ms", median(again).as_millis());
    Ok(())
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

/// Starts the server in a folder, requests the movies, and stops the server.
fn start(binary: &Path, folder: &Path) -> Result<Duration, Failure> {
    let explain = |error: std::io::Error| format!("cannot measure {}: {error}", binary.display());
    let started = Instant::now();
    let mut server = Command::new(binary)
        .current_dir(folder)
        .env_clear()
        .env("PORT", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(explain)?;
    let mut greeting = String::new();
    if let Some(output) = server.stdout.take() {
        BufReader::new(output).read_line(&mut greeting).map_err(explain)?;
    }
    let answered = ask(greeting.trim());
    let took = started.elapsed();
    send("TERM", &server.id().to_string());
    server.wait().map_err(explain)?;
    answered.map(|()| took)
}

/// Requests the movies from the server with this start-up line.
fn ask(greeting: &str) -> Result<(), Failure> {
    let (_, address) =
        greeting.rsplit_once("http://").ok_or_else(|| format!("no address in the greeting {greeting:?}"))?;
    http::get(address, "/api/movies", &[])?.expect(200).map(|_| ())
}
