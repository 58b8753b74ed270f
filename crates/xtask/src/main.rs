//! The project's recipes, the same on a developer's machine and in CI: `cargo xtask --help`.

mod backends;
mod bench;
mod ci;
mod compose;
mod containers;
mod engine;
mod http;
mod images;
mod postgres;
mod process;
mod purity;
mod random;
mod redis;
mod server_image;
mod system;
mod tally;
mod test;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

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
        /// Arguments for `cargo test`, after `--`. With any, the number of tests is not compared.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Proves that the domain depends on no technology, and that nobody but the server depends on an adapter.
    Purity,
    /// Measures the figures that DOCUMENTATION.md gives, on a release build.
    Bench,
    /// Runs everything that a change must pass, in the order of what fails soonest.
    Ci,
}

fn main() -> ExitCode {
    let recipe = Arguments::parse().recipe;
    let outcome = process::watch_interrupts().and_then(|()| match recipe {
        Recipe::Test { arguments } => test::run_and_report(&arguments),
        Recipe::Purity => purity::run(),
        Recipe::Bench => bench::run(),
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
