//! PostgreSQL's own benchmark on the server's schema: one booking and one commit per transaction, each of a different seat.

use std::fs;
use std::path::Path;

use crate::Failure;
use crate::bench::table::Figures;
use crate::postgres::PostgresPrograms;
use crate::process::{check_interrupted, read};

/// The number of the first measured booking. Lower numbers are for warming up.
const MEASURED_FROM: u64 = 100_000;
/// The share of transactions whose times are logged. Logging all of them would slow pgbench down.
const SAMPLED: &str = "0.1";

/// A way to book in one transaction.
pub struct Shape {
    pub name: &'static str,
    pub script: String,
}

/// Returns both shapes: everything in one statement, and a pipeline with one statement for each table.
pub fn shapes() -> [Shape; 2] {
    let [keys, bookings, seats, claims, outbox] = INSERTS;
    let one = format!(
        "{NUMBERS}WITH u AS (SELECT id FROM users WHERE id = :user AND session_generation = 1),\n\
         k AS ({keys}), b AS ({bookings}), s AS ({seats}), c AS ({claims})\n{outbox};\n"
    );
    // The pipeline has no common table expression `u`, so each statement selects the user itself.
    let alone = |insert: &str| insert.replace("FROM u", "FROM users WHERE id = :user AND session_generation = 1");
    let inserts: String = INSERTS.iter().map(|insert| format!("{};\n", alone(insert))).collect();
    let several = format!("{NUMBERS}\\startpipeline\nBEGIN;\n{inserts}COMMIT;\n\\endpipeline\n");
    [
        Shape { name: "pgbench, one statement", script: one },
        Shape { name: "pgbench, BEGIN to COMMIT pipelined", script: several },
    ]
}

/// Computes the user, the show and the seat of a booking as `load` does, so that both book the same seats of the same shows.
const NUMBERS: &str = "\
\\set n :n + 1
\\set k :first + :n * :clients + :client_id
\\set user :k % 1000 + 1
\\set show :k % 2000 + 1
\\set layout :k % 20 + 1
\\set seat (:k % 20) * 200 + :k / 2000 + 1
";

/// The rows of a booking. `u` is the user, or empty if the session has ended.
const INSERTS: [&str; 5] = [
    "INSERT INTO idempotency_keys (user_id, scope, key, fingerprint, operation_id, booking_id, answer, created_at) \
     SELECT id, 'POST /api/bookings', 'bench-' || :k::bigint, :fingerprint::bytea, :operation::bytea, :k::bigint, \
     :answer::bytea, now() FROM u",
    "INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at) \
     SELECT :k::bigint, upper(lpad(to_hex(:k::bigint), 10, '0')), id, :show::bigint, 'confirmed', 'EUR', now() FROM u",
    "INSERT INTO booking_seats (booking_id, seat_id, position, category, price_minor) \
     SELECT :k::bigint, :seat::bigint, 0, 'standard', 1250 FROM u",
    "INSERT INTO seat_claims (show_id, seat_id, layout_id, status, user_id, booking_id) \
     SELECT :show::bigint, :seat::bigint, :layout::bigint, 'booked', id, :k::bigint FROM u",
    "INSERT INTO outbox (kind, show_id, booking_id, created_at) SELECT 'booked', :show::bigint, :k::bigint, now() FROM u",
];

/// The parameters of a run of pgbench.
pub struct Bench<'a> {
    pub programs: &'a PostgresPrograms,
    pub url: &'a str,
    pub folder: &'a Path,
    pub seconds: u64,
}

impl Bench<'_> {
    /// Measures a shape with this number of clients. Returns the figures and the number of bookings, including those for warming up.
    pub fn run(&self, shape: &Shape, clients: u32) -> Result<(Figures, u64), Failure> {
        let warm = self.once(shape, clients, 0, 1)?;
        let measured = self.once(shape, clients, MEASURED_FROM, self.seconds)?;
        let (p50_ms, p99_ms) = self.percentiles()?;
        Ok((Figures { rate: measured.rate, p50_ms, p99_ms }, warm.transactions + measured.transactions))
    }

    fn once(&self, shape: &Shape, clients: u32, first: u64, seconds: u64) -> Result<Outcome, Failure> {
        check_interrupted()?;
        let explain = |error: std::io::Error| format!("cannot write for pgbench: {error}");
        let script = self.folder.join("script");
        fs::write(&script, &shape.script).map_err(explain)?;
        for log in self.logs()? {
            fs::remove_file(log).map_err(explain)?;
        }
        let answer = "x".repeat(600);
        let mut pgbench = self.programs.pgbench()?;
        pgbench.current_dir(self.folder).args(["--no-vacuum", "--protocol", "prepared", "--jobs", "1"]);
        pgbench.args(["--client", &clients.to_string(), "--time", &seconds.to_string(), "--file"]).arg(&script);
        pgbench.args(["--log", "--log-prefix", "times", "--sampling-rate", SAMPLED]);
        for (name, value) in [
            ("n", "-1"),
            ("clients", &clients.to_string()),
            ("first", &first.to_string()),
            ("fingerprint", &"f".repeat(32)),
            ("operation", &"o".repeat(16)),
            ("answer", &answer),
        ] {
            pgbench.args(["--define", &format!("{name}={value}")]);
        }
        Outcome::parse(&read(pgbench.arg(self.url))?)
    }

    /// Returns the log files of the last run.
    fn logs(&self) -> Result<Vec<std::path::PathBuf>, Failure> {
        let explain = |error: std::io::Error| format!("cannot read what pgbench wrote: {error}");
        let files = fs::read_dir(self.folder).map_err(explain)?.filter_map(Result::ok).map(|entry| entry.path());
        let is_log = |file: &std::path::PathBuf| {
            file.file_name().is_some_and(|name| name.to_string_lossy().starts_with("times."))
        };
        Ok(files.filter(is_log).collect())
    }

    fn percentiles(&self) -> Result<(f64, f64), Failure> {
        let mut times = Vec::new();
        for log in self.logs()? {
            let text = fs::read_to_string(&log).map_err(|error| format!("cannot read what pgbench wrote: {error}"))?;
            times.extend(text.lines().filter_map(microseconds));
        }
        times.sort_unstable();
        let at = |of_hundred: usize| {
            let time = times.get(times.len() * of_hundred / 100).copied().unwrap_or_default();
            f64::from(time) / 1_000.0
        };
        Ok((at(50), at(99)))
    }
}

/// Returns the duration of a transaction from a line of pgbench's log: the third number.
fn microseconds(line: &str) -> Option<u32> {
    line.split(' ').nth(2)?.parse().ok()
}

/// The summary that pgbench prints at its end.
#[derive(Debug, PartialEq)]
struct Outcome {
    rate: f64,
    transactions: u64,
}

impl Outcome {
    fn parse(text: &str) -> Result<Self, Failure> {
        let after = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
        let first = |rest: &str| rest.split([' ', '/']).next().unwrap_or_default().to_owned();
        let transactions =
            after("number of transactions actually processed: ").and_then(|rest| first(rest).parse().ok());
        let rate = after("tps = ").and_then(|rest| first(rest).parse().ok());
        match (transactions, rate) {
            (Some(transactions), Some(rate)) => Ok(Self { rate, transactions }),
            _ => Err(format!("pgbench ended with something else than its figures:\n{text}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pgbenchs_figures_are_read() {
        let text = "transaction type: script\nnumber of transactions actually processed: 4711\n\
                    number of failed transactions: 0 (0.000%)\nlatency average = 0.5 ms\n\
                    tps = 1234.567890 (without initial connection time)\n";
        assert_eq!(Outcome::parse(text), Ok(Outcome { rate: 1234.56789, transactions: 4711 }));
        assert!(Outcome::parse("aborted").is_err());
        assert_eq!(microseconds("0 199 2241 0 1175850568 995598"), Some(2241));
        assert_eq!(microseconds("0 199"), None);
    }

    #[test]
    fn both_shapes_write_the_same_rows_in_one_transaction() {
        for Shape { name, script } in shapes() {
            for table in ["idempotency_keys", "bookings", "booking_seats", "seat_claims", "outbox"] {
                assert_eq!(script.matches(&format!("INSERT INTO {table} (")).count(), 1, "{name}: {table}");
            }
        }
        let [one, several] = shapes();
        assert_eq!(one.script.matches(';').count(), 1);
        assert!(several.script.contains("BEGIN;") && several.script.contains("COMMIT;\n\\endpipeline"));
        assert!(!several.script.contains("FROM u\n") && !several.script.contains("FROM u;"));
    }
}
