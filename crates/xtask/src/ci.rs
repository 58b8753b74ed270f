//! Everything that a change must pass.

use std::time::Instant;

use crate::Failure;
use crate::process::{cargo, read, run as run_command};
use crate::{api, purity, rollout, test};

type Step = fn() -> Result<(), Failure>;

/// In the order of what fails soonest.
const STEPS: [(&str, Step); 8] = [
    ("format", format),
    ("clippy", clippy),
    ("documentation", documentation),
    ("dependencies", dependencies),
    ("purity", purity::run),
    ("api", api::run),
    ("test", || test::run(&[])),
    ("rollout", || rollout::run(None)),
];

/// Runs each step, and stops at the first that fails.
pub fn run() -> Result<(), Failure> {
    let began = Instant::now();
    for (name, step) in STEPS {
        println!("\n== {name} ==");
        let step_began = Instant::now();
        step().map_err(|failure| format!("{name}: {failure}"))?;
        println!("== {name}: passed in {:.1} s ==", step_began.elapsed().as_secs_f64());
    }
    println!("\nAll {} steps passed in {:.1} s.", STEPS.len(), began.elapsed().as_secs_f64());
    Ok(())
}

fn format() -> Result<(), Failure> {
    run_command(&mut cargo(&["fmt", "--all", "--check"])).map_err(|failure| format!("{failure}; run `cargo fmt --all`"))
}

fn clippy() -> Result<(), Failure> {
    run_command(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<(), Failure> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Licences, sources and banned crates. Advisories are left out: they need the network, and come
/// in when nobody changed anything.
fn dependencies() -> Result<(), Failure> {
    if read(&mut cargo(&["deny", "--version"])).is_err() {
        println!("cargo-deny is missing: it is installed now, which takes some minutes, once");
        run_command(&mut cargo(&["install", "cargo-deny", "--locked"]))?;
    }
    run_command(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}
