//! A server continues while another release migrates its database.

use super::storm::{Outcome, Storm};
use super::support::Site;

/// The statements that a migration may run under a running release: they add columns and empty tables, and build indexes without blocking
/// writes.
const EXPANDING: [&str; 8] = [
    "ALTER TABLE bookings ADD COLUMN note text",
    "CREATE INDEX CONCURRENTLY bookings_with_note ON bookings (id) WHERE note IS NOT NULL",
    "ALTER TABLE seat_claims ADD COLUMN note text",
    "ALTER TABLE idempotency_keys ADD COLUMN note text, ADD COLUMN made_by text NOT NULL DEFAULT 'before'",
    "ALTER TABLE users ADD COLUMN note text",
    "ALTER TABLE shows ADD COLUMN note text",
    "CREATE TABLE notes (id bigint PRIMARY KEY, booking_id bigint REFERENCES bookings)",
    "CREATE INDEX CONCURRENTLY seat_claims_with_note ON seat_claims (seat_id) WHERE note IS NOT NULL",
];

#[tokio::test(flavor = "multi_thread")]
async fn server_continues_while_its_database_is_migrated() {
    let site = Site::postgres().await.with("RATE_LIMIT", "off");
    let server = site.serve();
    let storm = Storm::over(&server.client, 50).await;
    storm.until_booked(30).await;
    assert!(site.run(&["migrate"], "").succeeded().starts_with("0 migrations run"));
    let database = site.database.as_ref().unwrap();
    for statement in EXPANDING {
        let booked = storm.booked();
        database.execute(statement).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
        // Prepared statements and list queries are used again on the changed table.
        storm.until_booked(booked + 10).await;
        server.client.get("/api/movies").await.expect(200);
        server.client.get("/api/shows").await.expect(200);
    }
    // Record a migration as a newer release does. From here on the schema is newer than this program.
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231235959')").await.unwrap();
    storm.until_booked(storm.booked() + 10).await;
    server.client.get("/readyz").await.expect(200);
    let calm = storm.calm().await;
    assert!(calm.tries.iter().all(|asked| matches!(asked.outcome, Outcome::Answered(_))));
    // Every response was a booking or a lost seat, and every booking is stored.
    calm.check(&server.client).await;
    assert_eq!(server.stop().code, Some(0));
    // The running server continued, but a new one refuses to start.
    assert!(site.run(&["serve"], "").failed(1).contains("use the program that migrated it"));
}
