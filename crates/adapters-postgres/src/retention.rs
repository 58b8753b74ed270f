//! Deletes data whose retention period has passed.

use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Interval, SmallInt, Text, Untyped};
use diesel_async::RunQueryDsl as _;
use domain::StoreError;
use domain::ids::BookingId;
use domain::retention::{RetentionRule, RetentionStore, key_goes_with_its_answer};

use crate::schema::idempotency_keys;
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

// Skips rows that another server has locked, so a sweep waits for no other server.
statement!(ReadOldKeys: Untyped = "
    SELECT user_id, scope, key, booking_id FROM idempotency_keys
    WHERE answer IS NOT NULL AND created_at < now() - $1 ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED");
statement!(DeleteKeys: () = "
    DELETE FROM idempotency_keys AS k USING unnest($1::bigint[], $2::text[], $3::text[]) AS old (user_id, scope, key)
    WHERE k.user_id = old.user_id AND k.scope = old.scope AND k.key = old.key");
statement!(DeleteAnswers: () = "
    UPDATE idempotency_keys AS k SET answer = NULL
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS old (user_id, scope, key)
    WHERE k.user_id = old.user_id AND k.scope = old.scope AND k.key = old.key");

#[derive(QueryableByName)]
#[diesel(table_name = idempotency_keys)]
struct OldKeyRow {
    user_id: i64,
    scope: String,
    key: String,
    booking_id: Option<i64>,
}

// Deletes expired holds, and their claims unless they were taken over. Locks holds before claims, in the same order as bookings.
statement!(DeleteHolds: BigInt = "
    WITH old AS MATERIALIZED (
        SELECT id, show_id FROM holds WHERE expires_at < now() - $1 ORDER BY expires_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), claims AS MATERIALIZED (
        SELECT c.show_id, c.seat_id
        FROM old JOIN hold_seats hs ON hs.hold_id = old.id
        JOIN seat_claims c ON c.show_id = old.show_id AND c.seat_id = hs.seat_id AND c.hold_id = old.id
        ORDER BY c.show_id, c.seat_id FOR UPDATE OF c
    ), freed AS (
        DELETE FROM seat_claims AS c USING claims WHERE c.show_id = claims.show_id AND c.seat_id = claims.seat_id
    ), swept AS (DELETE FROM holds USING old WHERE holds.id = old.id RETURNING 1)
    SELECT count(*) FROM swept");

// PostgreSQL rechecks the condition on a concurrently updated row once it is locked.
statement!(DeleteTenures: BigInt = "
    WITH old AS MATERIALIZED (
        SELECT show_id, user_id, seat_id FROM seat_tenures WHERE until < now() - $1
        ORDER BY until LIMIT $2 FOR UPDATE SKIP LOCKED
    ), swept AS (
        DELETE FROM seat_tenures AS t USING old
        WHERE t.show_id = old.show_id AND t.user_id = old.user_id AND t.seat_id = old.seat_id RETURNING 1
    )
    SELECT count(*) FROM swept");

statement!(DeleteStaffKeys: BigInt = "
    WITH old AS MATERIALIZED (
        SELECT user_id, scope, key FROM staff_keys WHERE created_at < now() - $1
        ORDER BY created_at LIMIT $2 FOR UPDATE SKIP LOCKED
    ), swept AS (
        DELETE FROM staff_keys AS k USING old
        WHERE k.user_id = old.user_id AND k.scope = old.scope AND k.key = old.key RETURNING 1
    )
    SELECT count(*) FROM swept");

// A trigger refuses to delete an entry that is younger than this says. Returns no row if a concurrent sweep has locked it.
statement!(AllowDeletion: SmallInt = "
    UPDATE audit_retention SET delete_before = greatest(delete_before, now() - $1)
    WHERE id = (SELECT id FROM audit_retention FOR UPDATE SKIP LOCKED) RETURNING id");
statement!(DeleteEntries: BigInt = "
    WITH old AS MATERIALIZED (SELECT id FROM audit_log WHERE at < now() - $1 ORDER BY at, id LIMIT $2),
    swept AS (DELETE FROM audit_log AS a USING old WHERE a.id = old.id RETURNING 1)
    SELECT count(*) FROM swept");

// Ids are in the order of writing, so the oldest rows are found by the primary key. An index over the time would add an index entry to each
// booking.
statement!(DeleteEvents: BigInt = "
    WITH oldest AS MATERIALIZED (SELECT id, created_at FROM outbox ORDER BY id LIMIT $2),
    old AS MATERIALIZED (
        SELECT id FROM outbox WHERE id IN (SELECT id FROM oldest WHERE created_at < now() - $1) FOR UPDATE SKIP LOCKED
    ), swept AS (DELETE FROM outbox USING old WHERE outbox.id = old.id RETURNING 1)
    SELECT count(*) FROM swept");

// Locks the sessions first. Without the lock, two sweeps that each delete one of a session's last two tokens would both leave the session.
statement!(DeleteTokens: BigInt = "
    WITH old AS MATERIALIZED (
        SELECT token_hash, session_id FROM refresh_tokens WHERE expires_at < now() - $1 ORDER BY expires_at LIMIT $2
    ), mine AS MATERIALIZED (
        SELECT id FROM sessions WHERE id IN (SELECT session_id FROM old) FOR UPDATE SKIP LOCKED
    )
    DELETE FROM refresh_tokens AS t USING old JOIN mine ON mine.id = old.session_id WHERE t.token_hash = old.token_hash
    RETURNING t.session_id");

// A separate statement, because only a later statement sees that the tokens are deleted.
statement!(DeleteSessions: () = "
    DELETE FROM sessions AS s
    WHERE s.id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM refresh_tokens AS t WHERE t.session_id = s.id)");

#[async_trait]
impl RetentionStore for PostgresStore {
    async fn sweep(&self, what: RetentionRule, keep: Duration, rows_max: u32) -> Result<u32, StoreError> {
        let keep = TimeDelta::from_std(keep).map_err(StoreError::internal)?;
        let rows_max = i64::from(rows_max);
        let swept: Option<i64> = match what {
            RetentionRule::Answers => Some(self.delete_answers(keep, rows_max).await?),
            RetentionRule::Holds => self.first(bind!(DeleteHolds, Interval = keep, BigInt = rows_max)).await?,
            RetentionRule::Tenures => self.first(bind!(DeleteTenures, Interval = keep, BigInt = rows_max)).await?,
            RetentionRule::Events => self.first(bind!(DeleteEvents, Interval = keep, BigInt = rows_max)).await?,
            RetentionRule::RefreshTokens => Some(self.delete_tokens(keep, rows_max).await?),
            RetentionRule::StaffKeys => self.first(bind!(DeleteStaffKeys, Interval = keep, BigInt = rows_max)).await?,
            RetentionRule::Audit => Some(self.delete_entries(keep, rows_max).await?),
        };
        u32::try_from(swept.unwrap_or_default()).map_err(StoreError::internal)
    }
}

impl PostgresStore {
    async fn delete_answers(&self, keep: TimeDelta, rows_max: i64) -> Result<i64, StoreError> {
        self.transact(async |connection| {
            let old = bind!(ReadOldKeys, Interval = keep, BigInt = rows_max).load::<OldKeyRow>(connection).await?;
            let count = i64::try_from(old.len()).map_err(|error| WriteFailure::Store(StoreError::internal(error)))?;
            let (keys, answers): (Vec<_>, Vec<_>) =
                old.into_iter().partition(|row| key_goes_with_its_answer(&row.scope, row.booking_id.map(BookingId)));
            let columns = |rows: Vec<OldKeyRow>| {
                let rows = rows.into_iter().map(|row| ((row.user_id, row.scope), row.key));
                let ((users, scopes), keys): ((Vec<_>, Vec<_>), Vec<_>) = rows.unzip();
                (users, scopes, keys)
            };
            let (users, scopes, keys) = columns(keys);
            let delete = bind!(DeleteKeys, Array<BigInt> = users, Array<Text> = scopes, Array<Text> = keys);
            delete.execute(connection).await?;
            let (users, scopes, keys) = columns(answers);
            let delete = bind!(DeleteAnswers, Array<BigInt> = users, Array<Text> = scopes, Array<Text> = keys);
            delete.execute(connection).await?;
            Ok(count)
        })
        .await
    }

    async fn delete_entries(&self, keep: TimeDelta, rows_max: i64) -> Result<i64, StoreError> {
        self.transact(async |connection| {
            let allowed: Vec<i16> = bind!(AllowDeletion, Interval = keep).load(connection).await?;
            if allowed.is_empty() {
                return Ok(0);
            }
            Ok(bind!(DeleteEntries, Interval = keep, BigInt = rows_max).get_result(connection).await?)
        })
        .await
    }

    async fn delete_tokens(&self, keep: TimeDelta, rows_max: i64) -> Result<i64, StoreError> {
        self.transact(async |connection| {
            let sessions: Vec<i64> = bind!(DeleteTokens, Interval = keep, BigInt = rows_max).load(connection).await?;
            let count =
                i64::try_from(sessions.len()).map_err(|error| WriteFailure::Store(StoreError::internal(error)))?;
            if count > 0 {
                bind!(DeleteSessions, Array<BigInt> = sessions).execute(connection).await?;
            }
            Ok(count)
        })
        .await
    }
}
