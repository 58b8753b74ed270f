//! Load for measurements, as `cargo xtask bench` runs it: `load fill` fills a store, `load book` books in it over HTTP,
//! `load rivals` lets users compete for the seats of one show.
//!
//! A program of its own, because it must be an optimised one: what a client wastes is missing to the server beside it.

mod client;
mod fill;
mod plan;
mod rivals;
mod samples;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;

/// What went wrong, in words that tell the reader what to do.
type Failure = String;

/// Load for measurements: `cargo xtask bench` runs it.
#[derive(Parser)]
enum Job {
    /// Fills the new store that the server's settings in the environment name: shows, seats and users, nothing booked.
    Fill,
    /// Books a new seat with each request, and prints how fast that was as JSON. Fails unless every answer is 201.
    ///
    /// Tokens are signed by the JWT_SECRET of the environment, which must be the server's.
    Book {
        /// Where the server listens.
        #[arg(long)]
        address: SocketAddr,
        /// How many connections, each with one request at a time.
        #[arg(long)]
        connections: u64,
        /// How long is measured.
        #[arg(long)]
        seconds: u64,
    },
    /// Holds and releases seats of one show, as several users at once, in the filled PostgreSQL store. Prints the number of holds, batches
    /// and reruns as JSON.
    Rivals {
        /// How many users.
        #[arg(long)]
        users: u64,
        /// How long is measured.
        #[arg(long)]
        seconds: u64,
        /// Which seats they want.
        #[arg(long, value_enum)]
        wanted: rivals::Wanted,
        /// Whether all commands of the show go to one committer. Otherwise they go to all committers in turn.
        #[arg(long)]
        together: bool,
    },
}

fn main() -> ExitCode {
    match run(Job::parse()) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(job: Job) -> Result<String, Failure> {
    match job {
        // Migrations want a runtime that may block.
        Job::Fill => built(&mut Builder::new_multi_thread())?.block_on(fill::fill()),
        Job::Rivals { users, seconds, wanted, together } => {
            let competing = rivals::compete(users, Duration::from_secs(seconds), wanted, together);
            built(&mut Builder::new_multi_thread())?.block_on(competing)
        }
        Job::Book { address, connections, seconds } => {
            let booked = client::book(address, connections, Duration::from_secs(seconds));
            LocalSet::new().block_on(&built(&mut Builder::new_current_thread())?, booked)
        }
    }
}

fn built(builder: &mut Builder) -> Result<Runtime, Failure> {
    builder.enable_all().build().map_err(|error| format!("there is no runtime: {error}"))
}
