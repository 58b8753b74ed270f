//! Bookings a second: PostgreSQL's own benchmark with one commit per booking, and the server over HTTP, on the same schema, rows and
//! machine.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::Failure;
use crate::bench::database::Database;
use crate::bench::pgbench::{self, shapes};
use crate::bench::served::Programs;
use crate::bench::table::{Figures, Table, ratio};
use crate::process::read;
use crate::random::random_hex;

/// Number of rounds. The machine's speed changes within minutes, so each round measures every way to book once.
pub const ROUNDS: usize = 3;
/// Numbers of clients for pgbench.
const PGBENCH_CLIENTS: [u32; 5] = [1, 8, 16, 32, 64];
/// Numbers of connections to the server.
const CONNECTIONS: [u32; 2] = [1, 64];
/// Maximum numbers of bookings that the server commits together.
const BATCHES: [u32; 2] = [1, 64];
/// Number of writes that measure the current speed of the disk.
const SYNCED_WRITES: usize = 100;
/// The file or folder of the filled embedded store, and that of the measured copy.
const FILLED: &str = "filled";
const MEASURED: &str = "measured";

/// Measures this server and another one in turn on PostgreSQL, and prints the ratio of their medians.
pub fn compare(server: &Path, other: &Path, load: &Path, seconds: u64) -> Result<(), Failure> {
    let secret = random_hex();
    let bench = |server| Bench { programs: Programs { server, load, secret: &secret }, seconds };
    let (this, other) = (bench(server), bench(other));
    let database = Database::start(&this.programs)?;
    let (mut of_this, mut of_other) = (Table::default(), Table::default());
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}: this server, then the other");
        this.measure_server(&database, &mut of_this)?;
        other.measure_server(&database, &mut of_other)?;
    }
    println!("\nmedians of {ROUNDS} rounds, {seconds} s each after 1 s to warm up; this server to the other:\n");
    for clients in CONNECTIONS {
        for batch_max in BATCHES {
            let name = name("PostgreSQL", batch_max);
            let rates = [&of_this, &of_other].map(|table| table.rate(&name, clients).unwrap_or_default());
            let [this, other] = rates;
            println!("{name}, {clients}: {this:.0}/s to {other:.0}/s, {:.2}", ratio(this, other));
        }
    }
    Ok(())
}

/// Measures all ways to book, and prints the table and the targets.
pub fn run(server: &Path, load: &Path, seconds: u64) -> Result<(), Failure> {
    let secret = random_hex();
    let bench = Bench { programs: Programs { server, load, secret: &secret }, seconds };
    let database = Database::start(&bench.programs)?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let embedded = folder.path().join(FILLED);
    bench.programs.fill(("DATA_DIR", &embedded.to_string_lossy()))?;
    let mut table = Table::default();
    for round in 1..=ROUNDS {
        println!("round {round} of {ROUNDS}; a write that is synced takes {:.2} ms", synced_write_ms(folder.path())?);
        bench.measure_pgbench(&database, folder.path(), &mut table)?;
        bench.measure_server(&database, &mut table)?;
        bench.measure_embedded(&embedded, folder.path(), &mut table)?;
    }
    let best = table.best("pgbench");
    println!("\nmedians of {ROUNDS} rounds, {seconds} s each after 1 s to warm up:\n\n{}\n", table.markdown(best));
    aims(&table, best).iter().for_each(|aim| println!("{aim}"));
    Ok(())
}

/// Returns the name of a way to book over HTTP.
fn name(store: &str, batch_max: u32) -> String {
    let together = if batch_max == 1 { "each a commit" } else { "committed together" };
    format!("HTTP, {store}, {together}")
}

/// Returns each target, the measured value, and whether the target is met.
fn aims(table: &Table, best: f64) -> Vec<String> {
    let rate =
        |store: &str, batch_max: u32, clients: u32| table.rate(&name(store, batch_max), clients).unwrap_or_default();
    let aim = |what: &str, reached: f64, wanted: f64| {
        let verdict = if reached >= wanted { "met" } else { "not met" };
        format!("{what}: {reached:.2}, aim {wanted:.2}: {verdict}")
    };
    vec![
        aim("64 connections, PostgreSQL, to pgbench's best", ratio(rate("PostgreSQL", 64, 64), best), 1.5),
        aim(
            "1 connection, PostgreSQL, committed together to each a commit",
            ratio(rate("PostgreSQL", 64, 1), rate("PostgreSQL", 1, 1)),
            1.0,
        ),
        aim("64 connections, embedded to PostgreSQL", ratio(rate("embedded", 64, 64), rate("PostgreSQL", 64, 64)), 1.0),
    ]
}

struct Bench<'a> {
    programs: Programs<'a>,
    seconds: u64,
}

impl Bench<'_> {
    fn measure_pgbench(&self, database: &Database, folder: &Path, table: &mut Table) -> Result<(), Failure> {
        for clients in PGBENCH_CLIENTS {
            for shape in shapes() {
                let url = database.fresh()?;
                let pgbench = pgbench::Bench { programs: &database.programs, url: &url, folder, seconds: self.seconds };
                let (figures, booked) = pgbench.run(&shape, clients)?;
                database.check_rows(booked)?;
                add(table, shape.name, clients, figures);
            }
        }
        Ok(())
    }

    fn measure_server(&self, database: &Database, table: &mut Table) -> Result<(), Failure> {
        for clients in CONNECTIONS {
            for batch_max in BATCHES {
                let url = database.fresh()?;
                let (figures, booked) = self.programs.run(("DATABASE_URL", &url), batch_max, clients, self.seconds)?;
                database.check_rows(booked)?;
                add(table, &name("PostgreSQL", batch_max), clients, figures);
            }
        }
        Ok(())
    }

    fn measure_embedded(&self, filled: &Path, folder: &Path, table: &mut Table) -> Result<(), Failure> {
        for clients in CONNECTIONS {
            for batch_max in BATCHES {
                let copy = folder.join(MEASURED);
                copy_files(filled, &copy).map_err(|error| format!("cannot copy the embedded store: {error}"))?;
                let store = ("DATA_DIR", copy.to_string_lossy());
                let (figures, _) = self.programs.run((store.0, &store.1), batch_max, clients, self.seconds)?;
                add(table, &name("embedded", batch_max), clients, figures);
            }
        }
        Ok(())
    }
}

fn add(table: &mut Table, name: &str, clients: u32, figures: Figures) {
    println!("  {name}, {clients}: {:.0}/s", figures.rate);
    table.add(name, clients, figures);
}

/// Returns the median time in milliseconds to write and sync eight kilobytes: the time that each commit waits for the disk.
fn synced_write_ms(folder: &Path) -> Result<f64, Failure> {
    let explain = |error: std::io::Error| format!("cannot write to {}: {error}", folder.display());
    let mut file = fs::File::create(folder.join("synced")).map_err(explain)?;
    let mut times = Vec::new();
    for _ in 0..SYNCED_WRITES {
        let started = Instant::now();
        file.write_all(&[0; 8192]).and_then(|()| file.sync_data()).map_err(explain)?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    let median = times.get(times.len() / 2).copied().unwrap_or_default();
    Ok(median.as_secs_f64() * 1_000.0)
}

/// Replaces a folder by copies of another folder's files, and syncs them to disk.
fn copy_files(from: &Path, to: &Path) -> Result<(), Failure> {
    let explain = |error: std::io::Error| error.to_string();
    if to.exists() {
        fs::remove_dir_all(to).map_err(explain)?;
    }
    fs::create_dir(to).map_err(explain)?;
    for entry in fs::read_dir(from).map_err(explain)? {
        let entry = entry.map_err(explain)?;
        fs::copy(entry.path(), to.join(entry.file_name())).map_err(explain)?;
    }
    read(Command::new("sync").arg(to)).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_aim_is_met_when_it_is_reached() {
        let mut table = Table::default();
        let figures = |rate: f64| Figures { rate, p50_ms: 1.0, p99_ms: 2.0 };
        table.add("pgbench", 8, figures(100.0));
        table.add(&name("PostgreSQL", 64), 64, figures(150.0));
        table.add(&name("PostgreSQL", 1), 1, figures(50.0));
        table.add(&name("PostgreSQL", 64), 1, figures(49.0));
        table.add(&name("embedded", 64), 64, figures(300.0));
        let aims = aims(&table, table.best("pgbench"));
        let met: Vec<_> = aims.iter().map(|aim| !aim.ends_with("not met")).collect();
        assert_eq!(met, [true, false, true], "{aims:?}");
    }

    #[test]
    fn a_copy_has_the_same_files_and_nothing_from_before() {
        let folder = tempfile::tempdir().unwrap();
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        for made in [&from, &to] {
            fs::create_dir(made).unwrap();
        }
        fs::write(from.join("new"), "new").unwrap();
        fs::write(to.join("old"), "old").unwrap();
        copy_files(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(to.join("new")).unwrap(), "new");
        assert!(!to.join("old").exists());
    }
}
