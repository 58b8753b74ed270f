//! Reports of a chain over ten million booked seats: over HTTP, on PostgreSQL and on the embedded store.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use crate::Failure;
use crate::bench::served::{Programs, Store};
use crate::http;
use crate::postgres::{PostgresPrograms, PostgresServer};
use crate::process::{check_interrupted, read};
use crate::random::random_hex;
use crate::server::Server;
use crate::system::install;

/// Settings of PostgreSQL. The data is generated, so a crash may lose it.
const SETTINGS: [&str; 5] =
    ["fsync=off", "full_page_writes=off", "shared_buffers=512MB", "max_wal_size=2GB", "maintenance_work_mem=256MB"];
/// The database.
const DATABASE: &str = "chain";
/// How often each report is read, after once to warm up.
const READS: usize = 5;
/// The longest time of the report of a month, in milliseconds.
const MONTH_MAX_MS: f64 = 2_000.0;
/// The number of shows in a year: 156 in each of 800 halls.
const SHOWS: usize = 124_800;
/// The number of bookings of a show, with 1 to 4 seats.
const BOOKINGS_OF_SHOW: usize = 32;

/// Measures both stores.
pub fn run(server: &Path) -> Result<(), Failure> {
    let secret = random_hex();
    let programs = Programs { server, load: server, secret: &secret };
    on_postgres(&programs)?;
    on_sqlite(&programs)
}

fn on_postgres(programs: &Programs<'_>) -> Result<(), Failure> {
    let found = PostgresPrograms::find_or_install()?;
    let postgres = PostgresServer::start_with(&found, &SETTINGS)?;
    let url = postgres.create_database(&found, DATABASE)?;
    read(programs.command(programs.server, ("DATABASE_URL", &url)).arg("migrate"))?;
    println!("PostgreSQL {}: generating {} bookings", postgres.version(), SHOWS * BOOKINGS_OF_SHOW);
    let ask = |sql: &str| postgres.ask(&found, DATABASE, sql);
    // Without checks of foreign keys, which take minutes.
    ask(&format!("SET session_replication_role = replica; {}", Dialect::POSTGRES.chain()))?;
    ask("VACUUM ANALYZE")?;
    println!("{} booked seats", ask("SELECT count(*) FROM booking_seats")?);
    measure(programs, ("DATABASE_URL", &url), |sql| ask(sql).map(drop))
}

fn on_sqlite(programs: &Programs<'_>) -> Result<(), Failure> {
    if read(Command::new("sqlite3").arg("--version")).is_err() {
        install(&["sqlite3"])?;
    }
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let path = folder.path().to_string_lossy().into_owned();
    let store = ("DATA_DIR", path.as_str());
    read(programs.command(programs.server, store).arg("migrate"))?;
    let file = folder.path().join("movie-booking.db");
    println!("embedded store: generating {} bookings", SHOWS * BOOKINGS_OF_SHOW);
    let ask = |sql: &str| {
        let script = folder.path().join("script.sql");
        fs::write(&script, sql).map_err(|error| format!("cannot write a script: {error}"))?;
        read(Command::new("sqlite3").arg("-bail").arg(&file).arg(format!(".read '{}'", script.display())))
    };
    ask(&format!("PRAGMA cache_size = -400000; PRAGMA synchronous = OFF; BEGIN; {} COMMIT;", Dialect::SQLITE.chain()))?;
    ask("ANALYZE;")?;
    println!("{} booked seats", ask("SELECT count(*) FROM booking_seats;")?.trim());
    measure(programs, store, |sql| ask(&format!("PRAGMA busy_timeout = 5000; {sql};")).map(drop))
}

/// Reads each report, and prints the median and the longest time.
fn measure(
    programs: &Programs<'_>,
    store: Store<'_>,
    execute: impl Fn(&str) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut command = programs.command(programs.server, store);
    command.envs([("PORT", "0"), ("RATE_LIMIT", "off"), ("RUST_LOG", "warn")]).stdout(Stdio::piped());
    let server = Server::start(&mut command)?;
    let account = json!({ "name": "Ana", "email": "ana@example.org", "password": "correct horse battery" });
    let answer = http::post(&server.address, "/api/auth/register", &[], &account)?;
    let token = answer.expect(201)?.json()?.get("token").and_then(Value::as_str).map(str::to_owned);
    let bearer = format!("Bearer {}", token.ok_or("no token")?);
    execute("UPDATE users SET role = 'admin' WHERE email = 'ana@example.org'")?;
    let mut is_slow = false;
    println!("\n| report | rows | median (ms) | longest (ms) |\n| --- | --- | --- | --- |");
    for (name, query) in [
        ("occupancy of a month, by day", "occupancy?from=2026-03-01&to=2026-03-31&by=day"),
        ("occupancy of a month, by theatre", "occupancy?from=2026-03-01&to=2026-03-31&by=theatre"),
        ("revenue of a month, by day", "revenue?from=2026-03-01&to=2026-03-31&by=day"),
        ("revenue of a month, by movie", "revenue?from=2026-03-01&to=2026-03-31&by=movie"),
        ("revenue of a month, by ticket type", "revenue?from=2026-03-01&to=2026-03-31&by=ticket_type"),
        ("revenue of a day, by show", "revenue?from=2026-03-01&to=2026-03-01&by=show"),
        ("revenue of a theatre's month, by show", "revenue?from=2026-03-01&to=2026-03-31&by=show&theatre_id=1"),
        ("revenue of the year, by channel", "revenue?from=2026-01-01&to=2026-12-31&by=channel"),
    ] {
        let (mut times, mut rows) = (Vec::new(), 0);
        for read in 0..=READS {
            check_interrupted()?;
            let began = Instant::now();
            let path = format!("/api/admin/reports/{query}");
            let report = http::get(&server.address, &path, &[("authorization", &bearer)])?.expect(200)?.json()?;
            if read > 0 {
                times.push(began.elapsed().as_secs_f64() * 1_000.0);
            }
            rows = report.get("rows").and_then(Value::as_array).map_or(0, Vec::len);
        }
        times.sort_by(f64::total_cmp);
        let (median, longest) = (times.get(READS / 2).copied(), times.last().copied());
        println!("| {name} | {rows} | {:.0} | {:.0} |", median.unwrap_or_default(), longest.unwrap_or_default());
        is_slow |= name.contains("month") && longest.unwrap_or_default() > MONTH_MAX_MS;
    }
    println!("\nmonths within {} s: {}\n", MONTH_MAX_MS / 1_000.0, if is_slow { "NO" } else { "yes" });
    Ok(())
}

/// What differs between the stores.
struct Dialect {
    /// Begins the script.
    begin: &'static str,
    /// An instant of Unix seconds is this, the expression, and `instant_end`.
    instant: &'static str,
    instant_end: &'static str,
    empty_list: &'static str,
}

impl Dialect {
    const POSTGRES: Self = Self {
        begin: "CREATE TEMP TABLE n AS SELECT i FROM generate_series(0, 124799) AS series (i); ANALYZE n;",
        instant: "to_timestamp(",
        instant_end: ")",
        empty_list: "'{}'",
    };
    const SQLITE: Self = Self {
        begin: "CREATE TEMP TABLE n (i INTEGER PRIMARY KEY); WITH RECURSIVE numbers(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM numbers WHERE i < 124799) INSERT INTO n SELECT i FROM numbers;",
        instant: "1000000 * (",
        instant_end: ")",
        empty_list: "'[]'",
    };

    fn instant(&self, seconds: &str) -> String {
        format!("{}{seconds}{}", self.instant, self.instant_end)
    }

    /// Returns the script of a chain: 100 theatres with 8 halls of 200 seats, whose shows are spread over 2026. Tickets are sold in the
    /// ten days before a show, and stored in the order of the sale, so that the bookings of a show are scattered.
    fn chain(&self) -> String {
        let Self { begin, empty_list, .. } = self;
        let (now, show) = (self.instant("1767225600"), "1767225600 + (i / 800) * 202154 + (i % 5) * 3600");
        let (start, end) = (self.instant(show), self.instant(&format!("{show} + 7200")));
        let booked = self.instant("sold_at");
        let of_show = BOOKINGS_OF_SHOW;
        format!(
            "{begin}
             INSERT INTO users (name, email, email_folded, password_hash, role, created_at)
                 SELECT 'C' || i, 'c' || i || '@example.org', 'c' || i || '@example.org', 'x', 'customer', {now} FROM n WHERE i < 1000 ORDER BY i;
             INSERT INTO movies (title, description, duration_minutes, genres, language, certificate, release_date, search_folded,
                 genres_folded, language_folded, created_at, updated_at)
                 SELECT 'Movie ' || i, '', 120, {empty_list}, 'English', '', '2026-01-01', '', {empty_list}, 'english', {now}, {now}
                 FROM n WHERE i < 200;
             INSERT INTO theatres (name, location, timezone, tax_basis_points, created_at)
                 SELECT 'Theatre ' || i, 'Berlin', 'Europe/Berlin', 700, {now} FROM n WHERE i < 100 ORDER BY i;
             INSERT INTO halls (theatre_id, name, created_at) SELECT 1 + i / 8, 'Hall ' || (i % 8), {now} FROM n WHERE i < 800 ORDER BY i;
             INSERT INTO layouts (hall_id, version, seats_total, created_at) SELECT 1 + i, 1, 200, {now} FROM n WHERE i < 800 ORDER BY i;
             INSERT INTO shows (movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, format, language, currency,
                 created_at)
                 SELECT 1 + (i * 7) % 200, 1 + (i % 800) / 8, 1 + i % 800, 1 + i % 800, {start}, {end}, {end}, '2D', 'English', 'EUR',
                     {now} FROM n ORDER BY i;
             INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at, cancelled_at, channel, tax_basis_points)
                 SELECT number, substr(CAST(10000000000 + number AS text), 2), 1 + number % 1000, show_id,
                     CASE WHEN number % 20 = 0 THEN 'cancelled' ELSE 'confirmed' END, 'EUR', {booked},
                     CASE WHEN number % 20 = 0 THEN {booked} END,
                     CASE WHEN number % 4 = 0 THEN 'box_office' ELSE 'online' END, 700
                 FROM (SELECT row_number() OVER (ORDER BY sold_at) AS number, show_id, sold_at FROM (
                     SELECT shows.i + 1 AS show_id,
                         1767225600 + (shows.i / 800) * 202154 - (shows.i * {of_show} + sales.i) % 10000 * 7919 % 10000 * 86 AS sold_at
                     FROM n AS shows, n AS sales WHERE sales.i < {of_show}) AS unordered) AS ordered;
             INSERT INTO booking_seats (booking_id, seat_id, position, category, price_minor, ticket_type)
                 SELECT bookings.id, p.i + 1 + bookings.id % 190, p.i, 'standard', CASE WHEN p.i < 2 THEN 1250 ELSE 900 END,
                     CASE WHEN p.i < 2 THEN 'adult' ELSE 'child' END
                 FROM bookings, n AS p WHERE p.i < 4 AND p.i < 1 + (bookings.id * 31) % 4 ORDER BY bookings.id;"
        )
    }
}
