//! Taking away what is not kept any longer.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::StoreError;
use domain::retention::{RetentionStore, Sweep};

use crate::failure::Failure;
use crate::schema::{refresh_tokens, sessions};
use crate::store::SqliteStore;

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn sweep(&self, what: Sweep, keep: Duration, rows_max: u32) -> Result<u32, StoreError> {
        let clock = self.clock();
        let kept = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let swept = self.write(move |connection| {
            let (before, rows_max) = (clock.now().saturating_sub(kept), i64::from(rows_max));
            match what {
                Sweep::Answers => forget_answers(connection, before, rows_max),
                Sweep::Events => delete_events(connection, before, rows_max),
                Sweep::RefreshTokens => delete_tokens(connection, before, rows_max),
            }
        });
        u32::try_from(swept.await?).map_err(StoreError::internal)
    }
}

fn forget_answers(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let sql = "UPDATE idempotency_keys SET answer = NULL WHERE rowid IN (
        SELECT rowid FROM idempotency_keys WHERE answer IS NOT NULL AND created_at < ? ORDER BY created_at LIMIT ?)";
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(before).bind::<BigInt, _>(rows_max).execute(connection)?)
}

/// Ids are in the order of writing, so the oldest rows are found by the primary key: an index over the time would cost each
/// booking an entry.
fn delete_events(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let sql = "DELETE FROM outbox WHERE id IN (
        SELECT id FROM (SELECT id, created_at FROM outbox ORDER BY id LIMIT ?) WHERE created_at < ?)";
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(rows_max).bind::<BigInt, _>(before).execute(connection)?)
}

fn delete_tokens(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let old: Vec<(Vec<u8>, i64)> = refresh_tokens::table
        .filter(refresh_tokens::expires_at.lt(before))
        .order(refresh_tokens::expires_at)
        .limit(rows_max)
        .select((refresh_tokens::token_hash, refresh_tokens::session_id))
        .load(connection)?;
    let (hashes, of_sessions): (Vec<Vec<u8>>, BTreeSet<i64>) = old.into_iter().unzip();
    let deleted =
        diesel::delete(refresh_tokens::table.filter(refresh_tokens::token_hash.eq_any(hashes))).execute(connection)?;
    let has_tokens = exists(refresh_tokens::table.filter(refresh_tokens::session_id.eq(sessions::id)));
    let over = sessions::table.filter(sessions::id.eq_any(of_sessions)).filter(diesel::dsl::not(has_tokens));
    diesel::delete(over).execute(connection)?;
    Ok(deleted)
}
