//! Deletes data whose retention period has passed.

use std::collections::BTreeSet;
use std::time::Duration;

use async_trait::async_trait;
use diesel::dsl::exists;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use domain::StoreError;
use domain::ids::BookingId;
use domain::retention::{RetentionRule, RetentionStore, key_goes_with_its_answer};

use crate::failure::Failure;
use crate::schema::{audit_retention, hold_seats, holds, idempotency_keys, refresh_tokens, seat_claims, sessions};
use crate::store::SqliteStore;

#[async_trait]
impl RetentionStore for SqliteStore {
    async fn sweep(&self, what: RetentionRule, keep: Duration, rows_max: u32) -> Result<u32, StoreError> {
        let clock = self.clock();
        let kept = i64::try_from(keep.as_micros()).unwrap_or(i64::MAX);
        let swept = self.write(move |connection| {
            let (before, rows_max) = (clock.now().saturating_sub(kept), i64::from(rows_max));
            match what {
                RetentionRule::Answers => delete_answers(connection, before, rows_max),
                RetentionRule::Events => delete_events(connection, before, rows_max),
                RetentionRule::Holds => delete_holds(connection, before, rows_max),
                RetentionRule::Tenures => delete_tenures(connection, before, rows_max),
                RetentionRule::RefreshTokens => delete_tokens(connection, before, rows_max),
                RetentionRule::StaffKeys => delete_staff_keys(connection, before, rows_max),
                RetentionRule::Audit => delete_entries(connection, before, rows_max),
            }
        });
        u32::try_from(swept.await?).map_err(StoreError::internal)
    }
}

/// Deletes the oldest answers, and the keys of some of them.
fn delete_answers(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let old: Vec<(i64, String, String, Option<i64>)> = idempotency_keys::table
        .filter(idempotency_keys::answer.is_not_null())
        .filter(idempotency_keys::created_at.lt(before))
        .order(idempotency_keys::created_at)
        .limit(rows_max)
        .select((
            idempotency_keys::user_id,
            idempotency_keys::scope,
            idempotency_keys::key,
            idempotency_keys::booking_id,
        ))
        .load(connection)?;
    for (user_id, scope, key, booking_id) in &old {
        let row = idempotency_keys::table.find((user_id, scope.as_str(), key.as_str()));
        if key_goes_with_its_answer(scope, booking_id.map(BookingId)) {
            diesel::delete(row).execute(connection)?;
        } else {
            diesel::update(row).set(idempotency_keys::answer.eq(None::<Vec<u8>>)).execute(connection)?;
        }
    }
    Ok(old.len())
}

/// Deletes expired holds, and their claims unless they were taken over.
fn delete_holds(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let old: Vec<(String, i64)> = holds::table
        .filter(holds::expires_at.lt(before))
        .order(holds::expires_at)
        .limit(rows_max)
        .select((holds::id, holds::show_id))
        .load(connection)?;
    for (id, show_id) in &old {
        let seats: Vec<i64> = hold_seats::table
            .filter(hold_seats::hold_id.eq(id.as_str()))
            .select(hold_seats::seat_id)
            .load(connection)?;
        let claims = seat_claims::table
            .filter(seat_claims::show_id.eq(show_id))
            .filter(seat_claims::seat_id.eq_any(seats))
            .filter(seat_claims::hold_id.eq(id.as_str()));
        diesel::delete(claims).execute(connection)?;
        diesel::delete(holds::table.find(id.as_str())).execute(connection)?;
    }
    Ok(old.len())
}

fn delete_staff_keys(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let sql = "DELETE FROM staff_keys WHERE (user_id, scope, key) IN (
        SELECT user_id, scope, key FROM staff_keys WHERE created_at < ? ORDER BY created_at LIMIT ?)";
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(before).bind::<BigInt, _>(rows_max).execute(connection)?)
}

/// Deletes entries of the audit log. A trigger refuses to delete an entry that is younger than `audit_retention` says.
fn delete_entries(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let earlier = audit_retention::table.filter(audit_retention::delete_before.lt(before));
    diesel::update(earlier).set(audit_retention::delete_before.eq(before)).execute(connection)?;
    let sql = "DELETE FROM audit_log WHERE id IN (SELECT id FROM audit_log WHERE at < ? ORDER BY at, id LIMIT ?)";
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(before).bind::<BigInt, _>(rows_max).execute(connection)?)
}

fn delete_tenures(connection: &mut SqliteConnection, before: i64, rows_max: i64) -> Result<usize, Failure> {
    let sql = "DELETE FROM seat_tenures WHERE (show_id, user_id, seat_id) IN (
        SELECT show_id, user_id, seat_id FROM seat_tenures WHERE until < ? ORDER BY until LIMIT ?)";
    Ok(diesel::sql_query(sql).bind::<BigInt, _>(before).bind::<BigInt, _>(rows_max).execute(connection)?)
}

/// Deletes the oldest events. Ids are in the order of writing, so they are found by the primary key. An index over the time would add an
/// index entry to each booking.
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
