//! Reports of many rows.

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;

use super::support::Site;
use crate::harness::http_client;

/// The numbers of bookings, and of seats of each.
const BOOKINGS: usize = 250_000;
const SEATS: usize = 4;

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_a_million_rows_needs_bounded_memory() {
    let server = Site::embedded().with("RATE_LIMIT", "off").with("RUST_LOG", "warn").with("DATA_DIR", "data");
    let file = server.path("data/movie-booking.db");
    let server = server.serve();
    let (email, password) = server.demo_account("admin");
    let login = server.client.login(&email, &password).await.expect(200);
    let token = login["token"].as_str().unwrap();
    let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    // 5000 shows of yesterday, cancelled so that they may overlap, with 50 bookings each.
    connection
        .batch_execute(&format!(
            "PRAGMA busy_timeout = 30000; BEGIN IMMEDIATE;
             CREATE TEMP TABLE n AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {BOOKINGS}) SELECT i FROM n;
             INSERT INTO shows (format, status, movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at,
                 language, currency, created_at)
             SELECT 'many', 'cancelled', movie_id, theatre_id, hall_id, layout_id, created_at - 86400000000,
                 created_at - 86300000000, created_at - 86300000000, language, currency, created_at
             FROM (SELECT * FROM shows ORDER BY id LIMIT 1), n WHERE n.i <= 5000;
             INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at)
             SELECT 1000000 + i, substr(10000000000 + i, 2), (SELECT min(id) FROM users),
                 (SELECT min(id) FROM shows WHERE format = 'many') + i % 5000, 'confirmed', 'EUR', 1700000000000000 FROM n;
             INSERT INTO booking_seats (booking_id, seat_id, position, category, price_minor)
             SELECT b.id, (SELECT min(id) FROM seats) + p.i - 1, p.i - 1, 'standard', 1250
             FROM bookings b, n p WHERE b.id > 1000000 AND p.i <= {SEATS};
             COMMIT;"
        ))
        .unwrap();
    let day = diesel::sql_query(
        "SELECT date(min(start_time) / 1000000, 'unixepoch') AS day FROM shows WHERE format = 'many'",
    );
    let Day { day } = day.get_result(&mut connection).unwrap();
    drop(connection);
    let first: chrono::NaiveDate = day.parse().unwrap();
    let (from, to) = (first.pred_opt().unwrap(), first.succ_opt().unwrap());
    let path = |days: &str| format!("{}/api/admin/reports/bookings.csv?{days}", server.client.base);
    let client = http_client().build().unwrap();
    let small = client.get(path("from=2001-01-01")).bearer_auth(token).send().await.unwrap();
    assert_eq!(small.text().await.unwrap().lines().count(), 1);
    let before = server.usage().memory;
    let mut response = client.get(path(&format!("from={from}&to={to}"))).bearer_auth(token).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let (mut bytes, mut lines, mut peak) = (0, 0, 0);
    while let Some(chunk) = response.chunk().await.unwrap() {
        if bytes / (4 << 20) != (bytes + chunk.len()) / (4 << 20) {
            peak = peak.max(server.usage().memory);
        }
        bytes += chunk.len();
        lines += chunk.iter().filter(|byte| **byte == b'\n').count();
    }
    assert_eq!(lines, BOOKINGS * SEATS + 1);
    assert!(bytes > 100 << 20, "{bytes} bytes");
    let grown = peak.saturating_sub(before);
    println!("{} MiB in {lines} lines; memory grew by {} MiB", bytes >> 20, grown >> 20);
    // The pages of SQLite, the shows, two parts, and what the allocator keeps.
    assert!(grown < 100_000_000, "{grown} bytes more for a file of {bytes} bytes");
    assert_eq!(server.stop().code, Some(0));
}

#[derive(QueryableByName)]
struct Day {
    #[diesel(sql_type = diesel::sql_types::Text)]
    day: String,
}
