//! The tables of a file, and the time of the last write.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable, Text};

use crate::failure::Failure;

/// Returns the newest time of writing in the most frequently written tables. Each is found at the end of a key, because ids, and rows of
/// tables without one, are in the order of writing.
pub(crate) fn newest_instant(connection: &mut SqliteConnection) -> Result<Option<i64>, Failure> {
    #[derive(QueryableByName)]
    struct Newest {
        #[diesel(sql_type = Nullable<BigInt>)]
        at: Option<i64>,
    }
    if !has_table(connection, "outbox")? {
        return Ok(None);
    }
    // Booking ids are reserved in blocks, so the highest id need not be the newest booking.
    let newest: Newest = diesel::sql_query(
        "SELECT max(at) AS at FROM (
            SELECT max(booked_at) AS at FROM (SELECT booked_at FROM bookings ORDER BY id DESC LIMIT 256)
            UNION ALL SELECT * FROM (SELECT created_at FROM outbox ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT * FROM (SELECT created_at FROM users ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT * FROM (SELECT created_at FROM sessions ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT * FROM (SELECT created_at FROM theatres ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT * FROM (SELECT created_at FROM shows ORDER BY id DESC LIMIT 1)
            UNION ALL SELECT * FROM (SELECT created_at FROM holds ORDER BY rowid DESC LIMIT 1)
            UNION ALL SELECT * FROM (SELECT created_at FROM idempotency_keys ORDER BY rowid DESC LIMIT 1))",
    )
    .get_result(connection)?;
    Ok(newest.at)
}

pub(crate) fn has_table(connection: &mut SqliteConnection, name: &str) -> Result<bool, Failure> {
    #[derive(QueryableByName)]
    struct Found {
        #[diesel(sql_type = BigInt)]
        tables: i64,
    }
    let found: Found =
        diesel::sql_query("SELECT count(*) AS tables FROM sqlite_master WHERE type = 'table' AND name = ?")
            .bind::<Text, _>(name)
            .get_result(connection)?;
    Ok(found.tables > 0)
}
