//! The PostgreSQL server of the benchmark.

use std::thread::available_parallelism;

use crate::Failure;
use crate::bench::served::Programs;
use crate::postgres::{PostgresPrograms, PostgresServer};

/// Settings of PostgreSQL: a commit is on disk before it is acknowledged.
const DURABLE: [&str; 4] = ["fsync=on", "synchronous_commit=on", "full_page_writes=on", "shared_buffers=512MB"];
/// The template database, and the database that is measured.
const TEMPLATE: &str = "filled";
const DATABASE: &str = "measured";

/// A durable server with a filled database. Each measurement uses a copy of the database.
pub struct Database {
    /// The programs of PostgreSQL.
    pub programs: PostgresPrograms,
    postgres: PostgresServer,
}

impl Database {
    /// Starts the server, prints its settings, and fills the database.
    pub fn start(filled_by: &Programs<'_>) -> Result<Self, Failure> {
        let programs = PostgresPrograms::find_or_install()?;
        let postgres = PostgresServer::start_with(&programs, &DURABLE)?;
        let database = Self { programs, postgres };
        database.print_facts()?;
        let url = database.postgres.create_database(&database.programs, TEMPLATE)?;
        filled_by.fill(("DATABASE_URL", &url))?;
        database.postgres.ask(&database.programs, TEMPLATE, "ANALYZE")?;
        Ok(database)
    }

    /// Prints the environment of the benchmark. The settings are read from the server.
    fn print_facts(&self) -> Result<(), Failure> {
        let cores = available_parallelism().map_or(0, usize::from);
        println!("{cores} cores, shared by clients, server and database; PostgreSQL {}", self.postgres.version());
        for setting in ["fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "shared_buffers"] {
            let value = self.postgres.ask(&self.programs, "postgres", &format!("SHOW {setting}"))?;
            println!("  {setting} = {value}");
        }
        println!("  pgbench and server reach PostgreSQL over loopback TCP");
        Ok(())
    }

    /// Creates a copy of the filled database, on disk. Returns its URL.
    pub fn fresh(&self) -> Result<String, Failure> {
        let ask = |statement: &str| self.postgres.ask(&self.programs, "postgres", statement);
        ask(&format!("DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)"))?;
        ask(&format!("CREATE DATABASE {DATABASE} TEMPLATE {TEMPLATE}"))?;
        // Otherwise a checkpoint could start during the measurement.
        ask("CHECKPOINT")?;
        Ok(self.postgres.database_url(DATABASE))
    }

    /// Fails unless every booking has all its rows.
    pub fn check_rows(&self, booked: u64) -> Result<(), Failure> {
        for table in ["bookings", "booking_seats", "seat_claims", "idempotency_keys", "outbox"] {
            let rows = self.postgres.ask(&self.programs, DATABASE, &format!("SELECT count(*) FROM {table}"))?;
            if rows != booked.to_string() {
                return Err(format!("{booked} bookings were made, but {table} has {rows} rows"));
            }
        }
        Ok(())
    }
}
