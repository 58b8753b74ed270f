//! The server, as a release build, under bookings over HTTP.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::Failure;
use crate::bench::table::Figures;
use crate::http;
use crate::process::{check_interrupted, read};
use crate::server::Server;

/// The measured programs, and their common secret.
pub struct Programs<'a> {
    pub server: &'a Path,
    pub load: &'a Path,
    pub secret: &'a str,
}

/// The store of the server: the setting and its value.
pub type Store<'a> = (&'a str, &'a str);

impl Programs<'_> {
    /// Migrates and fills a new store.
    pub fn fill(&self, store: Store<'_>) -> Result<(), Failure> {
        read(self.command(self.server, store).arg("migrate"))?;
        read(self.command(self.load, store).arg("fill")).map(|_| ())
    }

    /// Starts a server on a filled store, books for this time, and stops the server. Fails unless every response is 201 and the server
    /// reports the same number of sold seats.
    pub fn run(&self, store: Store<'_>, batch_max: u32, clients: u32, seconds: u64) -> Result<(Figures, u64), Failure> {
        check_interrupted()?;
        let mut command = self.command(self.server, store);
        command.envs([("PORT", "0"), ("RATE_LIMIT", "off"), ("RUST_LOG", "warn")]);
        command.env("COMMIT_BATCH_MAX", batch_max.to_string()).stdout(Stdio::piped());
        let server = Server::start(&mut command)?;
        let mut load = self.command(self.load, store);
        load.args(["book", "--address", &server.address, "--connections", &clients.to_string()]);
        let outcome = read(load.args(["--seconds", &seconds.to_string()]))?;
        let outcome: Value =
            serde_json::from_str(&outcome).map_err(|error| format!("`load` wrote no JSON: {error}"))?;
        let figure =
            |name: &str| outcome.get(name).and_then(Value::as_f64).ok_or_else(|| format!("`load` tells no {name}"));
        let booked = outcome.get("booked").and_then(Value::as_u64).ok_or("`load` tells no booked")?;
        let figures = Figures { rate: figure("rate")?, p50_ms: figure("p50_ms")?, p99_ms: figure("p99_ms")? };
        let sold = seats_sold(&server)?;
        if sold == booked {
            Ok((figures, booked))
        } else {
            Err(format!("{booked} bookings were acknowledged, but {sold} seats are sold"))
        }
    }

    /// Returns a command that runs a program on a store.
    pub fn command(&self, program: &Path, (setting, value): Store<'_>) -> Command {
        let mut command = Command::new(program);
        command.env_clear().current_dir("/").env("JWT_SECRET", self.secret).env(setting, value);
        command
    }
}

/// Returns the number of unavailable seats of all shows.
fn seats_sold(server: &Server) -> Result<u64, Failure> {
    let mut sold = 0;
    let mut path = Some("/api/shows?limit=100".to_owned());
    while let Some(page) = path {
        let answer = http::get(&server.address, &page, &[])?.expect(200)?;
        let shows = answer.json()?;
        let number = |show: &Value, name: &str| show.get(name).and_then(Value::as_u64).unwrap_or_default();
        let shows = shows.as_array().map_or(&[][..], Vec::as_slice);
        sold += shows.iter().map(|show| number(show, "seats_total") - number(show, "seats_available")).sum::<u64>();
        path = answer.next_page();
    }
    Ok(sold)
}
