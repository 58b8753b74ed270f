//! The recipes of the project, for development and CI: `cargo xtask --help`.

mod api;
mod backends;
mod bench;
mod breaks;
mod ci;
mod compose;
mod containers;
mod engine;
#[cfg(test)]
mod faults;
mod http;
mod images;
mod postgres;
mod process;
mod proxies;
mod purity;
mod random;
mod redis;
mod rollout;
mod schemathesis;
mod server;
mod server_image;
mod system;
mod test;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::test::Suite;

/// An error message that says what to do.
type Failure = String;

/// The recipes of this project.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    recipe: Recipe,
}

#[derive(Subcommand)]
enum Recipe {
    /// Runs all tests, on a PostgreSQL and a Redis server that are started for this run.
    ///
    /// Uses containers if an engine is available, otherwise installed programs; `TEST_BACKENDS=containers` or `binaries` selects one of
    /// them. Also fails if a test was ignored, or if fewer tests ran than `crates/xtask/tests.min` requires.
    Test {
        /// Runs only the HTTP suite, through proxies. Fails if fewer tests ran than `crates/xtask/proxies.min` requires.
        #[arg(long)]
        through_proxies: bool,
        /// Arguments for `cargo test`, after `--`. With arguments, the number of tests is not checked.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Checks that the domain depends on no technology, and that only the server depends on adapters.
    Purity,
    /// Compares the API with that of the last release. CHANGELOG.md must announce changes that break clients.
    Api,
    /// Tests the server against its OpenAPI document with Schemathesis: on both stores, as a customer, as an administrator and without a
    /// token. Installs the pinned version from PyPI into the target folder.
    Schemathesis,
    /// Runs the last release's store contract on the current schema: its servers must work during an upgrade.
    Rollout {
        /// The tag of the release, or any other commit. Default: the newest tag like v0.1.0.
        #[arg(long, value_name = "REF")]
        from: Option<String>,
    },
    /// Measures the figures of docs/measurements.md, on a release build. A timing is printed and never causes a failure.
    Bench {
        /// The part to measure. Default: everything.
        #[arg(value_enum)]
        part: Option<bench::Part>,
        /// The time to measure each way to book, in seconds.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=20))]
        seconds: u64,
        /// The binary of another version. Only bookings on PostgreSQL are measured, with both binaries in turn.
        #[arg(long, value_name = "BINARY")]
        against: Option<PathBuf>,
    },
    /// Runs all checks that a change must pass, ordered by how early a failure shows.
    Ci,
}

fn main() -> ExitCode {
    let recipe = Arguments::parse().recipe;
    let outcome = process::watch_interrupts().and_then(|()| match recipe {
        Recipe::Test { through_proxies, arguments } => {
            let suite = if through_proxies { Suite::ThroughProxies } else { Suite::Whole };
            test::run_and_report(suite, &arguments)
        }
        Recipe::Purity => purity::run(),
        Recipe::Api => api::run(),
        Recipe::Schemathesis => schemathesis::run(None),
        Recipe::Rollout { from } => rollout::run(from.as_deref(), None),
        Recipe::Bench { part, seconds, against } => bench::run(part, seconds, against.as_deref()),
        Recipe::Ci => ci::run(),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}
