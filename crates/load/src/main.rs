//! Load for measurements, run by `cargo xtask bench`: `load fill` fills a store, `load book` books in it over HTTP, `load rivals` lets
//! users compete for the seats of one show.
//!
//! This is a separate program because it must be optimised: the CPU time that a client wastes is not available to the server on the same
//! machine.

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

/// The error and its remedy, for the user of the program.
type Failure = String;

/// Load for measurements. Run by `cargo xtask bench`.
#[derive(Parser)]
enum Job {
    /// Fills a new store with shows, seats and users, without bookings. The store is set by the server's settings in the environment.
    Fill,
    /// Books a new seat with each request, and prints the throughput and the durations as JSON. Fails unless every response has status 201.
    ///
    /// Tokens are signed with the JWT_SECRET of the environment, which must be the server's.
    Book {
        /// The address of the server.
        #[arg(long)]
        address: SocketAddr,
        /// The number of connections, each with one request at a time.
        #[arg(long)]
        connections: u64,
        /// The length of the measurement, in seconds.
        #[arg(long)]
        seconds: u64,
    },
    /// Holds and releases seats of one show in the filled PostgreSQL store, as several concurrent users. Prints the number of holds,
    /// batches and reruns as JSON.
    Rivals {
        /// The number of users.
        #[arg(long)]
        users: u64,
        /// The length of the measurement, in seconds.
        #[arg(long)]
        seconds: u64,
        /// The seats that the users want.
        #[arg(long, value_enum)]
        wanted: rivals::Wanted,
        /// Sends all commands of the show to one committer. Otherwise they go to all committers in turn.
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
        // Migrations need a runtime that may block.
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
