//! Clients that compete for the seats of one show on PostgreSQL. All commands go to one committer, as in the server, or alternately to
//! both.

use std::path::Path;

use serde_json::Value;

use crate::Failure;
use crate::bench::booking::ROUNDS;
use crate::bench::database::Database;
use crate::bench::served::Programs;
use crate::bench::table::ratio;
use crate::process::{check_interrupted, read};
use crate::random::random_hex;

/// The number of competing users.
const USERS: &str = "64";

/// The result of one way to divide the commands.
#[derive(Default)]
struct Figures {
    held: u64,
    batches: u64,
    reruns: u64,
    overloaded: u64,
}

/// Measures both ways and prints the table.
pub fn run(server: &Path, load: &Path, seconds: u64) -> Result<(), Failure> {
    let secret = random_hex();
    let programs = Programs { server, load, secret: &secret };
    let database = Database::start(&programs)?;
    println!("\n{USERS} users hold and release 2 seats of one show; sums of {ROUNDS} rounds of {seconds} s in turns\n");
    println!("| seats | commands of the show | holds | to one committer | batches | run again | not in time |");
    println!("| --- | --- | --- | --- | --- | --- | --- |");
    for wanted in ["best", "own"] {
        let (mut together, mut apart) = (Figures::default(), Figures::default());
        for _ in 0..ROUNDS {
            compete(&database, &programs, seconds, (wanted, true), &mut together)?;
            compete(&database, &programs, seconds, (wanted, false), &mut apart)?;
        }
        for (way, figures) in [("to one committer", &together), ("to two in turn", &apart)] {
            let Figures { held, batches, reruns, overloaded } = figures;
            let [this, base] = [*held, together.held].map(|held| u32::try_from(held).map_or(0.0, f64::from));
            println!("| {wanted} | {way} | {held} | {:.2} | {batches} | {reruns} | {overloaded} |", ratio(this, base));
        }
    }
    Ok(())
}

fn compete(
    database: &Database,
    programs: &Programs<'_>,
    seconds: u64,
    (wanted, together): (&str, bool),
    sum: &mut Figures,
) -> Result<(), Failure> {
    check_interrupted()?;
    let url = database.fresh()?;
    let mut command = programs.command(programs.load, ("DATABASE_URL", &url));
    command.args(["rivals", "--users", USERS, "--wanted", wanted, "--seconds", &seconds.to_string()]);
    if together {
        command.arg("--together");
    }
    let measured = read(&mut command)?;
    let measured: Value = serde_json::from_str(&measured).map_err(|error| format!("`load` wrote no JSON: {error}"))?;
    let figure =
        |name: &str| measured.get(name).and_then(Value::as_u64).ok_or_else(|| format!("`load` wrote no {name}"));
    sum.held += figure("held")?;
    sum.batches += figure("batches")?;
    sum.reruns += figure("reruns")?;
    sum.overloaded += figure("overloaded")?;
    Ok(())
}
