//! The project's recipes, the same on a developer's machine and in CI: `cargo xtask --help`.

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

/// What went wrong, in words that tell the reader what to do.
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
    /// Runs all tests, on a PostgreSQL and a Redis server of their own that are started and stopped here.
    ///
    /// In containers where an engine answers, else by the programs that are installed; `TEST_BACKENDS=containers` or `binaries`
    /// wants one of them. Fails too if a test was ignored, or if fewer ran than `crates/xtask/tests.min` says.
    Test {
        /// Runs the HTTP suite alone, through proxies. Fails if fewer tests ran than
        /// `crates/xtask/proxies.min` says.
        #[arg(long)]
        through_proxies: bool,
        /// Arguments for `cargo test`, after `--`. With any, the number of tests is not compared.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Proves that the domain depends on no technology, and that nobody but the server depends on an adapter.
    Purity,
    /// Compares the API with that of the last release: what breaks clients, CHANGELOG.md must announce.
    Api,
    /// Tests the server against its OpenAPI document with Schemathesis: on both stores, as a customer, as an administrator and without a
    /// token. Installs the pinned version from PyPI into the target folder.
    Schemathesis,
    /// Runs the last release's store contract on this tree's schema: its servers go on while new ones come.
    Rollout {
        /// The release's tag, or any other commit. The newest tag like v0.1.0 if it is not given.
        #[arg(long, value_name = "REF")]
        from: Option<String>,
    },
    /// Measures the figures of docs/measurements.md, on a release build. A timing is printed, and never a failure.
    Bench {
        /// What is measured. Everything if it is not given.
        #[arg(value_enum)]
        part: Option<bench::Part>,
        /// How long each way to book is measured, in seconds.
        #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u64).range(1..=20))]
        seconds: u64,
        /// The binary of another version: only bookings on PostgreSQL are measured, by both in turns.
        #[arg(long, value_name = "BINARY")]
        against: Option<PathBuf>,
    },
    /// Runs everything that a change must pass, in the order of what fails soonest.
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
