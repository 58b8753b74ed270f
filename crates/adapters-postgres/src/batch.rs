//! The booking path: one statement reads a batch, one flight writes it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::methods::LoadQuery;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::booking::{
    BatchState, BatchStore, Booking, BookingIdBlock, BookingState, ChangedBooking, ChangedHold, Changes, ClaimRow,
    Fingerprint, HeldGuard, Hold, HoldId, IdempotencyKey, KeyName, KeyRow, Made, Named, NewClaim, NewKey,
    NewOutboxEvent, RemovedClaim, RowGuard, Scope, ShowGuard, ShowOffer, SoldSeat, StoredAnswer, UserGuard, UserRow,
    WriteError,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use domain::money::Currency;
use domain::random::{OperationId, Reference};
use domain::seating::ClaimStatus;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::connect::{PostgresSettings, PostgresStore};
use crate::error::{bad_row, is_connection_lost, store_error};
use crate::rows::{booking_state, currency, hold_id};
use crate::statement::{bind, statement};

/// How long a read or a write may take, a new connection included.
const BATCH_MAX: Duration = Duration::from_millis(4_500);
/// How many booking ids are reserved at once.
const ID_BLOCK: i64 = 64;

/// The booking path of one committer, on a connection of its own outside the pool.
pub struct PostgresBatchStore {
    settings: PostgresSettings,
    connection: Mutex<Option<AsyncPgConnection>>,
}

impl PostgresStore {
    /// A batch store on the same database, for one committer. It connects at its first use, and again whenever its connection is lost.
    pub fn batch_store(&self) -> PostgresBatchStore {
        PostgresBatchStore { settings: self.settings().clone(), connection: Mutex::new(None) }
    }
}

statement!(ReserveIds: BigInt = "SELECT nextval('booking_id_blocks')");

// What is named comes first and its rows are looked up one by one: a subquery with OFFSET 0, or with FOR UPDATE, is no join that
// PostgreSQL may turn round. Where tables were analysed while they were empty it would else read all of an index for each batch
// (measured: 900 bookings a second instead of 4 000). Arrays come in lock order, and so their rows are locked.
//
// Each row says by `kind` what it is, and uses the columns it needs. One statement is one snapshot and one round trip.
type ReadColumns = (
    SmallInt,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Timestamptz>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Text>,
    Nullable<Binary>,
    Nullable<Binary>,
    Nullable<Binary>,
);

/// What every batch reads, and what more some do.
macro_rules! read_batch {
    ($($more:literal),*) => {
        concat!(
            "
    SELECT 0::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint,
        now(), NULL::timestamptz, NULL::timestamptz,
        NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::bytea, NULL::bytea, NULL::bytea
    UNION ALL
    SELECT 1::smallint, k.user_id, k.booking_id, NULL, NULL, NULL, NULL, NULL, k.scope, k.key, k.hold_id, NULL, NULL,
        k.fingerprint, k.operation_id, k.answer
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS named (user_id, scope, key)
    CROSS JOIN LATERAL (
        SELECT * FROM idempotency_keys k
        WHERE k.user_id = named.user_id AND k.scope = named.scope AND k.key = named.key OFFSET 0
    ) k
    UNION ALL
    SELECT 2::smallint, u.id, u.session_generation, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($4::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM users u WHERE u.id = named.id OFFSET 0) u
    UNION ALL
    SELECT 3::smallint, s.id, s.layout_id, NULL, NULL, s.start_time, s.sales_open_at, s.sales_close_at,
        s.status, s.currency, m.title, t.name, h.name, NULL, NULL, NULL
    FROM unnest($5::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM shows s WHERE s.id = named.id OFFSET 0) s
    CROSS JOIN LATERAL (SELECT m.title FROM movies m WHERE m.id = s.movie_id OFFSET 0) m
    CROSS JOIN LATERAL (SELECT t.name FROM theatres t WHERE t.id = s.theatre_id OFFSET 0) t
    CROSS JOIN LATERAL (SELECT h.name FROM halls h WHERE h.id = s.hall_id OFFSET 0) h
    UNION ALL
    SELECT 4::smallint, p.show_id, p.price_minor, NULL, NULL, NULL, NULL, NULL, p.category, NULL, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($5::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM show_prices p WHERE p.show_id = named.id OFFSET 0) p
    UNION ALL
    SELECT 5::smallint, c.show_id, c.seat_id, c.user_id, c.booking_id, c.expires_at, NULL, NULL, c.status, c.hold_id,
        NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($6::bigint[], $7::bigint[]) AS named (show_id, seat_id)
    CROSS JOIN LATERAL (
        SELECT * FROM seat_claims c WHERE c.show_id = named.show_id AND c.seat_id = named.seat_id OFFSET 0
    ) c
    UNION ALL
    SELECT 10::smallint, s.id, s.user_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($8::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM sessions s WHERE s.id = named.id AND s.ended_at IS NULL OFFSET 0) s"
            $(, $more)*
        )
    };
}

// A batch that books seats by their ids names nothing else.
statement!(ReadBatch: ReadColumns = read_batch!());
statement!(ReadWholeBatch: ReadColumns = read_batch!("
    UNION ALL
    SELECT 5::smallint, c.show_id, c.seat_id, c.user_id, c.booking_id, c.expires_at, NULL, NULL, c.status, c.hold_id,
        NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($9::bigint[]) AS named (show_id)
    CROSS JOIN LATERAL (SELECT * FROM seat_claims c WHERE c.show_id = named.show_id OFFSET 0) c
    UNION ALL
    SELECT 6::smallint, h.user_id, h.show_id, NULL, NULL, h.created_at, h.expires_at, NULL, h.id, s.currency, NULL, NULL,
        NULL, NULL, NULL, NULL
    FROM unnest($10::text[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM holds h WHERE h.id = named.id OFFSET 0) h
    CROSS JOIN LATERAL (SELECT s.currency FROM shows s WHERE s.id = h.show_id OFFSET 0) s
    UNION ALL
    SELECT 7::smallint, hs.seat_id, hs.price_minor, seats.number::bigint, hs.position::bigint, NULL, NULL, NULL,
        hs.hold_id, hs.category, seats.row_label, NULL, NULL, NULL, NULL, NULL
    FROM unnest($10::text[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM hold_seats hs WHERE hs.hold_id = named.id OFFSET 0) hs
    CROSS JOIN LATERAL (SELECT * FROM seats WHERE seats.id = hs.seat_id OFFSET 0) seats
    UNION ALL
    SELECT 6::smallint, h.user_id, h.show_id, NULL, NULL, h.created_at, h.expires_at, NULL, h.id, s.currency, NULL, NULL,
        NULL, NULL, NULL, NULL
    FROM unnest($11::bigint[], $12::bigint[]) AS named (show_id, user_id)
    CROSS JOIN LATERAL (
        SELECT * FROM holds h
        WHERE h.user_id = named.user_id AND h.show_id = named.show_id AND h.expires_at > now() OFFSET 0
    ) h
    CROSS JOIN LATERAL (SELECT s.currency FROM shows s WHERE s.id = h.show_id OFFSET 0) s
    WHERE h.id <> ALL ($10::text[])
    UNION ALL
    SELECT 7::smallint, hs.seat_id, hs.price_minor, seats.number::bigint, hs.position::bigint, NULL, NULL, NULL,
        hs.hold_id, hs.category, seats.row_label, NULL, NULL, NULL, NULL, NULL
    FROM unnest($11::bigint[], $12::bigint[]) AS named (show_id, user_id)
    CROSS JOIN LATERAL (
        SELECT * FROM holds h
        WHERE h.user_id = named.user_id AND h.show_id = named.show_id AND h.expires_at > now() OFFSET 0
    ) h
    CROSS JOIN LATERAL (SELECT * FROM hold_seats hs WHERE hs.hold_id = h.id OFFSET 0) hs
    CROSS JOIN LATERAL (SELECT * FROM seats WHERE seats.id = hs.seat_id OFFSET 0) seats
    WHERE h.id <> ALL ($10::text[])
    UNION ALL
    SELECT 8::smallint, b.id, b.user_id, b.show_id, NULL, b.booked_at, b.cancelled_at, NULL, b.reference, b.status,
        b.currency, NULL, NULL, NULL, NULL, NULL
    FROM unnest($13::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM bookings b WHERE b.id = named.id OFFSET 0) b
    UNION ALL
    SELECT 9::smallint, bs.booking_id, bs.seat_id, bs.price_minor, bs.position::bigint, NULL, NULL, NULL,
        bs.category, seats.row_label, seats.number::text, NULL, NULL, NULL, NULL, NULL
    FROM unnest($13::bigint[]) AS named (id)
    CROSS JOIN LATERAL (SELECT * FROM booking_seats bs WHERE bs.booking_id = named.id OFFSET 0) bs
    CROSS JOIN LATERAL (SELECT * FROM seats WHERE seats.id = bs.seat_id OFFSET 0) seats"));

// Prepared like the others, and not sent as plain text: a statement that must be prepared first waits for the server, and a
// plain COMMIT would pass it by.
statement!(Begin: () = "BEGIN ISOLATION LEVEL READ COMMITTED");
statement!(Commit: () = "COMMIT");
// The statements of a flight, in lock order. `must` and violated constraints abort all of them.
statement!(LockNames: () = "SELECT lock_names($1::text[])");
// The status is looked at behind the fence: with it PostgreSQL may take the index over shows that never overlap, which knows no ids.
statement!(LockShows: () = "
    SELECT must((
        SELECT count(*) FROM unnest($1::bigint[]) AS named (id)
        CROSS JOIN LATERAL (SELECT s.status FROM shows s WHERE s.id = named.id FOR SHARE) s
        WHERE s.status = 'scheduled'
    ) = cardinality($1::bigint[]))");
statement!(CheckHeld: () = "
    SELECT must(NOT EXISTS (
        SELECT 1 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS named (show_id, user_id, seats)
        WHERE named.seats <> (
            SELECT count(*)
            FROM (
                SELECT h.id FROM holds h
                WHERE h.user_id = named.user_id AND h.show_id = named.show_id AND h.expires_at > $4 OFFSET 0
            ) h
            CROSS JOIN LATERAL (SELECT 1 FROM hold_seats hs WHERE hs.hold_id = h.id OFFSET 0) hs)))");
statement!(CheckRows: () = "
    SELECT must(NOT EXISTS (
        SELECT 1
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[]) AS named (show_id, layout_id, row_label, taken)
        WHERE named.taken <> (
            SELECT coalesce(string_agg(c.seat_id::text, ' ' ORDER BY c.seat_id), '')
            FROM (
                SELECT id FROM seats
                WHERE seats.layout_id = named.layout_id AND seats.row_label = named.row_label OFFSET 0
            ) seats
            CROSS JOIN LATERAL (
                SELECT c.seat_id FROM seat_claims c
                WHERE c.show_id = named.show_id AND c.seat_id = seats.id
                    AND (c.expires_at IS NULL OR c.expires_at > $5) OFFSET 0
            ) c)))");
statement!(CheckCallers: () = "
    SELECT must(
        (SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS named (id, session_generation)
        CROSS JOIN LATERAL (
            SELECT 1 FROM users u WHERE u.id = named.id AND u.session_generation = named.session_generation OFFSET 0
        ) u) = cardinality($1::bigint[])
        AND (SELECT count(*) FROM unnest($3::bigint[]) AS named (id)
        CROSS JOIN LATERAL (SELECT 1 FROM sessions s WHERE s.id = named.id AND s.ended_at IS NULL OFFSET 0) s)
            = cardinality($3::bigint[]))");
statement!(InsertKeys: () = "
    INSERT INTO idempotency_keys
        (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, created_at)
    SELECT user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer, $9
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[], $8::bytea[])
        AS new (user_id, scope, key, fingerprint, operation_id, booking_id, hold_id, answer)
    ORDER BY user_id, scope, key");
statement!(LockHolds: () = "
    SELECT must((SELECT count(*) FROM (
        SELECT 1 FROM unnest($1::text[], $2::timestamptz[]) AS expected (id, expires_at)
        CROSS JOIN LATERAL (
            SELECT 1 FROM holds h WHERE h.id = expected.id AND h.expires_at = expected.expires_at FOR UPDATE
        ) h
    ) locked) = cardinality($1::text[]))");
statement!(DeleteHolds: () = "DELETE FROM holds WHERE id = ANY ($1::text[])");
statement!(ExtendHolds: () = "
    UPDATE holds h SET expires_at = next.expires_at
    FROM unnest($1::text[], $2::timestamptz[]) AS next (id, expires_at)
    WHERE h.id = next.id AND h.id = ANY ($1::text[])");
statement!(InsertHolds: () = "
    INSERT INTO holds (id, user_id, show_id, created_at, expires_at)
    SELECT id, user_id, show_id, $5, expires_at
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::timestamptz[]) AS new (id, user_id, show_id, expires_at)
    ORDER BY id");
statement!(InsertHoldSeats: () = "
    INSERT INTO hold_seats (hold_id, seat_id, position, category, price_minor)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[])");
statement!(LockBookings: () = "
    SELECT must((SELECT count(*) FROM (
        SELECT 1 FROM unnest($1::bigint[], $2::text[]) AS expected (id, status)
        CROSS JOIN LATERAL (
            SELECT 1 FROM bookings b WHERE b.id = expected.id AND b.status = expected.status FOR UPDATE
        ) b
    ) locked) = cardinality($1::bigint[]))");
statement!(UpdateBookings: () = "
    UPDATE bookings b SET status = next.status, cancelled_at = next.cancelled_at
    FROM unnest($1::bigint[], $2::text[], $3::timestamptz[]) AS next (id, status, cancelled_at)
    WHERE b.id = next.id AND b.id = ANY ($1::bigint[])");
statement!(DeleteBookingSeats: () = "
    WITH deleted AS (
        DELETE FROM booking_seats bs USING unnest($1::bigint[], $2::bigint[]) AS expected (booking_id, seat_id)
        WHERE bs.booking_id = expected.booking_id AND bs.seat_id = expected.seat_id
            AND bs.booking_id = ANY ($1::bigint[])
        RETURNING 1
    )
    SELECT must((SELECT count(*) FROM deleted) = cardinality($1::bigint[]))");
statement!(InsertBookings: () = "
    INSERT INTO bookings (id, reference, user_id, show_id, status, currency, cancelled_at, booked_at)
    SELECT id, reference, user_id, show_id, status, currency, cancelled_at, $8
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::timestamptz[])
        AS new (id, reference, user_id, show_id, status, currency, cancelled_at)
    ORDER BY id");
statement!(DeleteClaims: () = "
    WITH locked AS MATERIALIZED (
        SELECT c.ctid
        FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[], $5::text[], $6::timestamptz[])
            AS expected (show_id, seat_id, status, booking_id, hold_id, expires_at)
        CROSS JOIN LATERAL (
            SELECT c.ctid FROM seat_claims c
            WHERE c.show_id = expected.show_id AND c.seat_id = expected.seat_id AND c.status = expected.status
                AND c.booking_id IS NOT DISTINCT FROM expected.booking_id
                AND c.hold_id IS NOT DISTINCT FROM expected.hold_id
                AND c.expires_at IS NOT DISTINCT FROM expected.expires_at
            FOR UPDATE
        ) c
    ), deleted AS (
        DELETE FROM seat_claims c WHERE c.ctid = ANY (ARRAY(SELECT ctid FROM locked)) RETURNING 1
    )
    SELECT must((SELECT count(*) FROM deleted) = cardinality($1::bigint[]))");
statement!(InsertClaims: () = "
    INSERT INTO seat_claims (show_id, seat_id, layout_id, status, user_id, booking_id, hold_id, expires_at)
    SELECT show_id, seat_id, layout_id, status, user_id, booking_id, hold_id, expires_at
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[],
            $8::timestamptz[])
        AS new (show_id, seat_id, layout_id, status, user_id, booking_id, hold_id, expires_at)
    ORDER BY show_id, seat_id");
statement!(InsertBookingSeats: () = "
    INSERT INTO booking_seats (booking_id, seat_id, position, category, price_minor)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::text[], $5::bigint[])");
statement!(InsertOutbox: () = "
    INSERT INTO outbox (kind, show_id, booking_id, created_at)
    SELECT kind, show_id, booking_id, $4
    FROM unnest($1::text[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS new (kind, show_id, booking_id, position)
    ORDER BY position");

#[async_trait]
impl BatchStore for PostgresBatchStore {
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError> {
        let rows: Vec<i64> = self.load(bind!(ReserveIds)).await?;
        let block = rows.into_iter().next().ok_or_else(|| bad_row("a sequence has no next value"))?;
        let count = u32::try_from(ID_BLOCK).map_err(bad_row)?;
        Ok(BookingIdBlock { first: (block - 1) * ID_BLOCK + 1, count })
    }

    async fn read(&self, named: &Named) -> Result<BatchState, StoreError> {
        let Named { keys, users, sessions, shows, whole_shows, seats, holds, holders, bookings } = named;
        let seats_only = whole_shows.is_empty() && holds.is_empty() && holders.is_empty() && bookings.is_empty();
        let key_users: Vec<i64> = keys.iter().map(|key| key.user_id.0).collect();
        let key_scopes: Vec<String> = keys.iter().map(|key| key.scope.0.clone()).collect();
        let key_texts: Vec<String> = keys.iter().map(|key| key.key.as_str().to_owned()).collect();
        let user_ids: Vec<i64> = users.iter().map(|user| user.0).collect();
        let session_ids: Vec<i64> = sessions.iter().map(|session| session.0).collect();
        let show_ids: Vec<i64> = shows.iter().map(|show| show.0).collect();
        let seat_shows: Vec<i64> = seats.iter().map(|(show, _)| show.0).collect();
        let seat_ids: Vec<i64> = seats.iter().map(|(_, seat)| seat.0).collect();
        let rows: Vec<ReadRow> = if seats_only {
            self.load(bind!(
                ReadBatch,
                Array<BigInt> = key_users,
                Array<Text> = key_scopes,
                Array<Text> = key_texts,
                Array<BigInt> = user_ids,
                Array<BigInt> = show_ids,
                Array<BigInt> = seat_shows,
                Array<BigInt> = seat_ids,
                Array<BigInt> = session_ids,
            ))
            .await?
        } else {
            self.load(bind!(
                ReadWholeBatch,
                Array<BigInt> = key_users,
                Array<Text> = key_scopes,
                Array<Text> = key_texts,
                Array<BigInt> = user_ids,
                Array<BigInt> = show_ids,
                Array<BigInt> = seat_shows,
                Array<BigInt> = seat_ids,
                Array<BigInt> = session_ids,
                Array<BigInt> = whole_shows.iter().map(|show| show.0).collect::<Vec<_>>(),
                Array<Text> = holds.iter().map(|hold| hold.as_str().to_owned()).collect::<Vec<_>>(),
                Array<BigInt> = holders.iter().map(|(show, _)| show.0).collect::<Vec<_>>(),
                Array<BigInt> = holders.iter().map(|(_, user)| user.0).collect::<Vec<_>>(),
                Array<BigInt> = bookings.iter().map(|booking| booking.0).collect::<Vec<_>>(),
            ))
            .await?
        };
        batch_state(rows)
    }

    async fn write(&self, changes: &Changes) -> Result<(), WriteError> {
        let mut slot = self.connected().await?;
        let Some(connection) = slot.as_ref() else { return Err(StoreError::unavailable("not connected").into()) };
        let verdict = match timeout(BATCH_MAX, flight(connection, changes)).await {
            Ok(results) => verdict(results),
            Err(elapsed) => Err(WriteError::Unknown(Arc::new(elapsed))),
        };
        if matches!(verdict, Err(WriteError::Unknown(_))) {
            // Whatever it still does, it does for itself.
            *slot = None;
        }
        verdict
    }
}

impl PostgresBatchStore {
    async fn connected(&self) -> Result<MutexGuard<'_, Option<AsyncPgConnection>>, StoreError> {
        let mut slot = self.connection.lock().await;
        if slot.is_none() {
            *slot = Some(self.settings.establish_for_committer().await.map_err(StoreError::unavailable)?);
        }
        Ok(slot)
    }

    /// Reads. A connection that turns out to be lost is replaced once: nothing was written.
    async fn load<Row, Q>(&self, query: Q) -> Result<Vec<Row>, StoreError>
    where
        Q: LoadQuery<'static, AsyncPgConnection, Row> + Clone + Send + 'static,
        Row: Send + 'static,
    {
        let tries = async {
            for last_try in [false, true] {
                let mut slot = self.connected().await?;
                let Some(connection) = slot.as_mut() else { break };
                match query.clone().load(connection).await {
                    Ok(value) => return Ok(value),
                    Err(error) if is_connection_lost(&error) => {
                        *slot = None;
                        if last_try {
                            return Err(store_error(error));
                        }
                    }
                    Err(error) => return Err(store_error(error)),
                }
            }
            Err(StoreError::unavailable("no connection stays"))
        };
        match timeout(BATCH_MAX, tries).await {
            Ok(outcome) => outcome,
            Err(elapsed) => {
                *self.connection.lock().await = None;
                Err(StoreError::unavailable(elapsed))
            }
        }
    }
}

/// Sends `BEGIN`, every statement and `COMMIT` without waiting in between.
///
/// `join_all` polls so few futures in their order, and a statement is sent when its future is first polled. One that must be
/// prepared first holds the connection's statement cache meanwhile, and the others wait for it in their order.
async fn flight(mut connection: &AsyncPgConnection, changes: &Changes) -> Vec<QueryResult<usize>> {
    // Every field by name: one that is added is written, or this does not compile.
    let Changes {
        at,
        shows,
        held,
        rows,
        users,
        sessions,
        keys,
        changed_holds,
        holds,
        changed_bookings,
        bookings,
        removed_claims,
        claims,
        outbox,
    } = changes;
    let (at, connection) = (*at, &mut connection);
    let mut flight: Vec<Sent<'_>> = Vec::with_capacity(16);
    flight.push(bind!(Begin).execute(connection).boxed());
    if !held.is_empty() || !rows.is_empty() {
        flight.push(lock_names(connection, held, rows));
    }
    if !shows.is_empty() {
        flight.push(lock_shows(connection, shows));
    }
    if !held.is_empty() {
        flight.push(check_held(connection, held, at));
    }
    if !rows.is_empty() {
        flight.push(check_rows(connection, rows, at));
    }
    flight.push(check_callers(connection, users, sessions));
    flight.push(insert_keys(connection, keys, at));
    if !changed_holds.is_empty() {
        flight.extend(change_holds(connection, changed_holds));
    }
    if !holds.is_empty() {
        flight.push(insert_holds(connection, holds, at));
        flight.push(insert_hold_seats(connection, holds));
    }
    if !changed_bookings.is_empty() {
        flight.extend(change_bookings(connection, changed_bookings));
    }
    if !bookings.is_empty() {
        flight.push(insert_bookings(connection, bookings, at));
    }
    if !removed_claims.is_empty() {
        flight.push(delete_claims(connection, removed_claims));
    }
    if !claims.is_empty() {
        flight.push(insert_claims(connection, claims));
    }
    let with_new_seats = changed_bookings.iter().filter(|changed| !changed.old_seats.is_empty());
    let sold: Vec<_> = bookings.iter().chain(with_new_seats.map(|changed| &changed.booking)).collect();
    if !sold.is_empty() {
        flight.push(insert_booking_seats(connection, &sold));
    }
    if !outbox.is_empty() {
        flight.push(insert_outbox(connection, outbox, at));
    }
    flight.push(bind!(Commit).execute(connection).boxed());
    join_all(flight).await
}

/// A statement that is sent when it is first polled.
type Sent<'flight> = BoxFuture<'flight, QueryResult<usize>>;

/// One value of each item, as a parameter.
fn column<Item, Value>(items: &[Item], value: impl Fn(&Item) -> Value) -> Vec<Value> {
    items.iter().map(value).collect()
}

/// Whose holds on which show, and which rows, nobody else may change until the commit.
fn lock_names<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    held: &[HeldGuard],
    rows: &[RowGuard],
) -> Sent<'flight> {
    let held = held.iter().map(|guard| format!("held {} {}", guard.show_id, guard.user_id));
    let rows = rows.iter().map(|guard| format!("row {} {}", guard.show_id, guard.row));
    bind!(LockNames, Array<Text> = held.chain(rows).collect::<Vec<_>>()).execute(connection).boxed()
}

fn check_held<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    held: &[HeldGuard],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    bind!(
        CheckHeld,
        Array<BigInt> = column(held, |guard| guard.show_id.0),
        Array<BigInt> = column(held, |guard| guard.user_id.0),
        Array<BigInt> = column(held, |guard| guard.seats),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

fn check_rows<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    rows: &[RowGuard],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    let taken = |guard: &RowGuard| guard.taken.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    bind!(
        CheckRows,
        Array<BigInt> = column(rows, |guard| guard.show_id.0),
        Array<BigInt> = column(rows, |guard| guard.layout_id.0),
        Array<Text> = column(rows, |guard| guard.row.clone()),
        Array<Text> = column(rows, taken),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

/// Locks all of them in their order, then ends some and lets others last longer.
fn change_holds<'flight>(connection: &mut &'flight AsyncPgConnection, holds: &[ChangedHold]) -> Vec<Sent<'flight>> {
    let lock = bind!(
        LockHolds,
        Array<Text> = column(holds, |hold| hold.id.as_str().to_owned()),
        Array<Timestamptz> = column(holds, |hold| hold.expires_at),
    );
    let mut sent = vec![lock.execute(connection).boxed()];
    let gone: Vec<_> =
        holds.iter().filter(|hold| hold.next.is_none()).map(|hold| hold.id.as_str().to_owned()).collect();
    if !gone.is_empty() {
        sent.push(bind!(DeleteHolds, Array<Text> = gone).execute(connection).boxed());
    }
    let longer = holds.iter().filter_map(|hold| Some((hold.id.as_str().to_owned(), hold.next?)));
    let (ids, instants): (Vec<String>, Vec<DateTime<Utc>>) = longer.unzip();
    if !ids.is_empty() {
        let extend = bind!(ExtendHolds, Array<Text> = ids, Array<Timestamptz> = instants);
        sent.push(extend.execute(connection).boxed());
    }
    sent
}

fn insert_holds<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    holds: &[Hold],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    bind!(
        InsertHolds,
        Array<Text> = column(holds, |hold| hold.id.as_str().to_owned()),
        Array<BigInt> = column(holds, |hold| hold.user_id.0),
        Array<BigInt> = column(holds, |hold| hold.show_id.0),
        Array<Timestamptz> = column(holds, |hold| hold.expires_at),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

fn insert_hold_seats<'flight>(connection: &mut &'flight AsyncPgConnection, holds: &[Hold]) -> Sent<'flight> {
    let kept = |hold: &'_ Hold| -> Vec<(String, i16, SoldSeat)> {
        (0_i16..).zip(&hold.seats).map(|(at, seat)| (hold.id.as_str().to_owned(), at, seat.clone())).collect()
    };
    let kept: Vec<_> = holds.iter().flat_map(kept).collect();
    bind!(
        InsertHoldSeats,
        Array<Text> = column(&kept, |(hold, ..)| hold.clone()),
        Array<BigInt> = column(&kept, |(.., seat)| seat.id.0),
        Array<SmallInt> = column(&kept, |(_, position, _)| *position),
        Array<Text> = column(&kept, |(.., seat)| seat.category.clone()),
        Array<BigInt> = column(&kept, |(.., seat)| seat.price_minor),
    )
    .execute(connection)
    .boxed()
}

/// Locks all of them in their order, then changes them, and takes the seats away of those that get others.
fn change_bookings<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    bookings: &[ChangedBooking],
) -> Vec<Sent<'flight>> {
    let lock = bind!(
        LockBookings,
        Array<BigInt> = column(bookings, |changed| changed.booking.id.0),
        Array<Text> = column(bookings, |changed| changed.status.as_str()),
    );
    let update = bind!(
        UpdateBookings,
        Array<BigInt> = column(bookings, |changed| changed.booking.id.0),
        Array<Text> = column(bookings, |changed| changed.booking.status().as_str()),
        Array<Nullable<Timestamptz>> = column(bookings, |changed| changed.booking.state.cancelled_at()),
    );
    let mut sent = vec![lock.execute(connection).boxed(), update.execute(connection).boxed()];
    let old = bookings.iter().flat_map(|changed| changed.old_seats.iter().map(|seat| (changed.booking.id.0, seat.0)));
    let (ids, seats): (Vec<i64>, Vec<i64>) = old.unzip();
    if !ids.is_empty() {
        let delete = bind!(DeleteBookingSeats, Array<BigInt> = ids, Array<BigInt> = seats);
        sent.push(delete.execute(connection).boxed());
    }
    sent
}

fn lock_shows<'flight>(connection: &mut &'flight AsyncPgConnection, shows: &[ShowGuard]) -> Sent<'flight> {
    bind!(LockShows, Array<BigInt> = column(shows, |guard| guard.show_id.0)).execute(connection).boxed()
}

fn check_callers<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    users: &[UserGuard],
    sessions: &[SessionId],
) -> Sent<'flight> {
    bind!(
        CheckCallers,
        Array<BigInt> = column(users, |guard| guard.user_id.0),
        Array<BigInt> = column(users, |guard| guard.session_generation),
        Array<BigInt> = column(sessions, |session| session.0),
    )
    .execute(connection)
    .boxed()
}

fn insert_keys<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    keys: &[NewKey],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    bind!(
        InsertKeys,
        Array<BigInt> = column(keys, |key| key.name.user_id.0),
        Array<Text> = column(keys, |key| key.name.scope.0.clone()),
        Array<Text> = column(keys, |key| key.name.key.as_str().to_owned()),
        Array<Binary> = column(keys, |key| key.fingerprint.0.to_vec()),
        Array<Binary> = column(keys, |key| key.operation_id.0.to_vec()),
        Array<Nullable<BigInt>> = column(keys, |key| key.made.booking_id().map(|id| id.0)),
        Array<Nullable<Text>> = column(keys, |key| key.made.hold_id().map(|id| id.as_str().to_owned())),
        Array<Binary> = column(keys, |key| key.answer.to_vec()),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

fn insert_bookings<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    bookings: &[Booking],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    bind!(
        InsertBookings,
        Array<BigInt> = column(bookings, |booking| booking.id.0),
        Array<Text> = column(bookings, |booking| booking.reference.as_str().to_owned()),
        Array<BigInt> = column(bookings, |booking| booking.user_id.0),
        Array<BigInt> = column(bookings, |booking| booking.show_id.0),
        Array<Text> = column(bookings, |booking| booking.status().as_str()),
        Array<Text> = column(bookings, |booking| booking.currency.code().to_owned()),
        Array<Nullable<Timestamptz>> = column(bookings, |booking| booking.state.cancelled_at()),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

fn delete_claims<'flight>(connection: &mut &'flight AsyncPgConnection, claims: &[RemovedClaim]) -> Sent<'flight> {
    bind!(
        DeleteClaims,
        Array<BigInt> = column(claims, |removed| removed.show_id.0),
        Array<BigInt> = column(claims, |removed| removed.seat_id.0),
        Array<Text> = column(claims, |removed| removed.claim.status().as_str()),
        Array<Nullable<BigInt>> = column(claims, |removed| removed.claim.booking_id().map(|id| id.0)),
        Array<Nullable<Text>> = column(claims, |removed| removed.claim.hold_id().map(|id| id.as_str().to_owned())),
        Array<Nullable<Timestamptz>> = column(claims, |removed| removed.claim.expires_at()),
    )
    .execute(connection)
    .boxed()
}

fn insert_claims<'flight>(connection: &mut &'flight AsyncPgConnection, claims: &[NewClaim]) -> Sent<'flight> {
    bind!(
        InsertClaims,
        Array<BigInt> = column(claims, |new| new.show_id.0),
        Array<BigInt> = column(claims, |new| new.seat_id.0),
        Array<BigInt> = column(claims, |new| new.layout_id.0),
        Array<Text> = column(claims, |new| new.claim.status().as_str()),
        Array<Nullable<BigInt>> = column(claims, |new| new.claim.user_id().map(|id| id.0)),
        Array<Nullable<BigInt>> = column(claims, |new| new.claim.booking_id().map(|id| id.0)),
        Array<Nullable<Text>> = column(claims, |new| new.claim.hold_id().map(|id| id.as_str().to_owned())),
        Array<Nullable<Timestamptz>> = column(claims, |new| new.claim.expires_at()),
    )
    .execute(connection)
    .boxed()
}

fn insert_booking_seats<'flight>(connection: &mut &'flight AsyncPgConnection, bookings: &[&Booking]) -> Sent<'flight> {
    let sold: Vec<_> = bookings
        .iter()
        .flat_map(|booking| (0_i16..).zip(&booking.seats).map(|(position, seat)| (booking.id, position, seat)))
        .collect();
    bind!(
        InsertBookingSeats,
        Array<BigInt> = column(&sold, |(booking, ..)| booking.0),
        Array<BigInt> = column(&sold, |(.., seat)| seat.id.0),
        Array<SmallInt> = column(&sold, |(_, position, _)| *position),
        Array<Text> = column(&sold, |(.., seat)| seat.category.clone()),
        Array<BigInt> = column(&sold, |(.., seat)| seat.price_minor),
    )
    .execute(connection)
    .boxed()
}

fn insert_outbox<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    outbox: &[NewOutboxEvent],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    bind!(
        InsertOutbox,
        Array<Text> = column(outbox, |event| event.kind.as_str()),
        Array<BigInt> = column(outbox, |event| event.show_id.0),
        Array<Nullable<BigInt>> = column(outbox, |event| event.booking_id.map(|id| id.0)),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

/// What became of a flight. The COMMIT of an aborted transaction answers without an error, so success means that
/// every statement succeeded.
fn verdict(mut results: Vec<QueryResult<usize>>) -> Result<(), WriteError> {
    let commit = results.pop();
    if let Some(error) = results.into_iter().find_map(Result::err) {
        return Err(refused_or_unknown(error));
    }
    match commit {
        Some(Ok(_)) => Ok(()),
        Some(Err(error)) => Err(WriteError::Unknown(Arc::new(error))),
        None => Err(StoreError::internal("an empty flight").into()),
    }
}

/// The first error of a flight before its COMMIT. If the server refused a statement, nothing can be committed any more. If the
/// connection was lost, what was sent may still be on its way.
fn refused_or_unknown(error: Error) -> WriteError {
    if is_connection_lost(&error) {
        return WriteError::Unknown(Arc::new(error));
    }
    match &error {
        Error::DatabaseError(
            DatabaseErrorKind::UniqueViolation
            | DatabaseErrorKind::ForeignKeyViolation
            | DatabaseErrorKind::SerializationFailure
            // Deadlocks and lock time-outs: diesel does not tell them from others. Those who are no rivals will come again, and
            // end as overload after so many runs.
            | DatabaseErrorKind::Unknown,
            information,
        ) => {
            tracing::debug!(message = information.message(), "booking.batch.stale");
            WriteError::Stale(Arc::new(error))
        }
        _ => WriteError::Store(StoreError::internal(error)),
    }
}

type ReadRow = (
    i16,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

/// The parts of a batch's state that come in rows of their own, until all rows are there.
#[derive(Default)]
struct Parts {
    prices: Vec<(ShowId, String, i64)>,
    hold_seats: HashMap<HoldId, Vec<(i64, SoldSeat)>>,
    bookings: Vec<BookingPart>,
    booking_seats: HashMap<BookingId, Vec<(i64, SoldSeat)>>,
}

/// A booking without its seats, and without what its show says.
struct BookingPart {
    id: BookingId,
    reference: Reference,
    user_id: UserId,
    show_id: ShowId,
    state: BookingState,
    currency: Currency,
    booked_at: DateTime<Utc>,
}

fn batch_state(rows: Vec<ReadRow>) -> Result<BatchState, StoreError> {
    let mut state = BatchState::at(DateTime::UNIX_EPOCH);
    let mut parts = Parts::default();
    for row in rows {
        add(&mut state, &mut parts, row)?;
    }
    for (show_id, category, price_minor) in parts.prices {
        if let Some(show) = state.shows.get_mut(&show_id) {
            show.prices.insert(category, price_minor);
        }
    }
    for (id, seats) in parts.hold_seats {
        if let Some(hold) = state.holds.get_mut(&id) {
            hold.seats = in_order(seats);
        }
    }
    for BookingPart { id, reference, user_id, show_id, state: of_booking, currency, booked_at } in parts.bookings {
        // Whoever names a booking names its show.
        let Some(show) = state.shows.get(&show_id) else { continue };
        let booking = Booking {
            id,
            reference,
            user_id,
            show_id,
            seats: in_order(parts.booking_seats.remove(&id).unwrap_or_default()),
            state: of_booking,
            currency,
            booked_at,
            movie_title: show.movie_title.clone(),
            theatre_name: show.theatre_name.clone(),
            hall_name: show.hall_name.clone(),
            start_time: show.start_time,
        };
        state.bookings.insert(id, booking);
    }
    Ok(state)
}

fn in_order(mut seats: Vec<(i64, SoldSeat)>) -> Vec<SoldSeat> {
    seats.sort_by_key(|(position, _)| *position);
    seats.into_iter().map(|(_, seat)| seat).collect()
}

fn add(state: &mut BatchState, parts: &mut Parts, row: ReadRow) -> Result<(), StoreError> {
    let (kind, a, b, c, d, at, then, late, t1, t2, t3, t4, t5, b1, b2, b3) = row;
    let missing = || bad_row(format!("a row of kind {kind} lacks a column"));
    let (text, number) = (|text: Option<String>| text.ok_or_else(missing), |id: Option<i64>| id.ok_or_else(missing));
    let instant = |at: Option<DateTime<Utc>>| at.ok_or_else(missing);
    match kind {
        0 => state.now = instant(at)?,
        1 => {
            let key = IdempotencyKey::from_stored(text(t2)?);
            let name = KeyName { user_id: UserId(number(a)?), scope: Scope(text(t1)?), key };
            let row = KeyRow {
                fingerprint: Fingerprint(fixed(&b1.ok_or_else(missing)?)?),
                operation_id: OperationId(fixed(&b2.ok_or_else(missing)?)?),
                made: Made::from_stored(b.map(BookingId), hold_id(t3)?).ok_or_else(missing)?,
                answer: b3.map(|body| StoredAnswer { body: body.into() }),
            };
            state.keys.insert(name, row);
        }
        2 => {
            state.users.insert(UserId(number(a)?), UserRow { session_generation: number(b)? });
        }
        3 => {
            let offer = ShowOffer {
                layout_id: LayoutId(number(b)?),
                status: ShowStatus::parse(&text(t1)?).map_err(bad_row)?,
                start_time: instant(at)?,
                sales_open_at: then,
                sales_close_at: late,
                currency: currency(&text(t2)?)?,
                prices: HashMap::new(),
                movie_title: text(t3)?,
                theatre_name: text(t4)?,
                hall_name: text(t5)?,
            };
            state.shows.insert(ShowId(number(a)?), offer);
        }
        4 => parts.prices.push((ShowId(number(a)?), text(t1)?, number(b)?)),
        5 => {
            let status = ClaimStatus::parse(&text(t1)?).map_err(bad_row)?;
            let claim = ClaimRow::from_stored(status, c.map(UserId), d.map(BookingId), hold_id(t2)?.zip(at));
            state.claims.insert((ShowId(number(a)?), SeatId(number(b)?)), claim.map_err(bad_row)?);
        }
        6 => {
            let id = hold_id(t1)?.ok_or_else(missing)?;
            let hold = Hold {
                id: id.clone(),
                user_id: UserId(number(a)?),
                show_id: ShowId(number(b)?),
                seats: Vec::new(),
                currency: currency(&text(t2)?)?,
                created_at: instant(at)?,
                expires_at: instant(then)?,
            };
            state.holds.insert(id, hold);
        }
        7 => {
            let (id, seat_number) = (SeatId(number(a)?), i32::try_from(number(c)?).map_err(bad_row)?);
            let seat =
                SoldSeat { id, row: text(t3)?, number: seat_number, category: text(t2)?, price_minor: number(b)? };
            let hold_id = hold_id(t1)?.ok_or_else(missing)?;
            parts.hold_seats.entry(hold_id).or_default().push((number(d)?, seat));
        }
        8 => parts.bookings.push(BookingPart {
            id: BookingId(number(a)?),
            reference: Reference::parse(&text(t1)?).map_err(bad_row)?,
            user_id: UserId(number(b)?),
            show_id: ShowId(number(c)?),
            state: booking_state(&text(t2)?, then)?,
            currency: currency(&text(t3)?)?,
            booked_at: instant(at)?,
        }),
        9 => {
            let (id, seat_number) = (SeatId(number(b)?), text(t3)?.parse().map_err(bad_row)?);
            let seat =
                SoldSeat { id, row: text(t2)?, number: seat_number, category: text(t1)?, price_minor: number(c)? };
            parts.booking_seats.entry(BookingId(number(a)?)).or_default().push((number(d)?, seat));
        }
        10 => {
            state.sessions.insert(SessionId(number(a)?), UserId(number(b)?));
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| bad_row(format!("{} bytes where {N} belong", bytes.len())))
}

/// Every statement of the booking path with the types of its parameters, for tests of how PostgreSQL runs them.
#[cfg(feature = "testing")]
pub const BOOKING_STATEMENTS: &[(&str, &[&str])] = {
    use crate::statement::Statement;

    const AT: &str = "timestamptz";
    const IDS: &str = "bigint[]";
    const TEXTS: &str = "text[]";
    const BYTES: &str = "bytea[]";
    const INSTANTS: &str = "timestamptz[]";
    const PLACES: &str = "smallint[]";
    &[
        (ReserveIds::SQL, &[]),
        (ReadBatch::SQL, &[IDS, TEXTS, TEXTS, IDS, IDS, IDS, IDS, IDS]),
        (ReadWholeBatch::SQL, &[IDS, TEXTS, TEXTS, IDS, IDS, IDS, IDS, IDS, IDS, TEXTS, IDS, IDS, IDS]),
        (Begin::SQL, &[]),
        (LockNames::SQL, &[TEXTS]),
        (LockShows::SQL, &[IDS]),
        (CheckHeld::SQL, &[IDS, IDS, IDS, AT]),
        (CheckRows::SQL, &[IDS, IDS, TEXTS, TEXTS, AT]),
        (CheckCallers::SQL, &[IDS, IDS, IDS]),
        (InsertKeys::SQL, &[IDS, TEXTS, TEXTS, BYTES, BYTES, IDS, TEXTS, BYTES, AT]),
        (LockHolds::SQL, &[TEXTS, INSTANTS]),
        (DeleteHolds::SQL, &[TEXTS]),
        (ExtendHolds::SQL, &[TEXTS, INSTANTS]),
        (InsertHolds::SQL, &[TEXTS, IDS, IDS, INSTANTS, AT]),
        (InsertHoldSeats::SQL, &[TEXTS, IDS, PLACES, TEXTS, IDS]),
        (LockBookings::SQL, &[IDS, TEXTS]),
        (UpdateBookings::SQL, &[IDS, TEXTS, INSTANTS]),
        (DeleteBookingSeats::SQL, &[IDS, IDS]),
        (InsertBookings::SQL, &[IDS, TEXTS, IDS, IDS, TEXTS, TEXTS, INSTANTS, AT]),
        (DeleteClaims::SQL, &[IDS, IDS, TEXTS, IDS, TEXTS, INSTANTS]),
        (InsertClaims::SQL, &[IDS, IDS, IDS, TEXTS, IDS, IDS, TEXTS, INSTANTS]),
        (InsertBookingSeats::SQL, &[IDS, IDS, PLACES, TEXTS, IDS]),
        (InsertOutbox::SQL, &[TEXTS, IDS, IDS, AT]),
        (Commit::SQL, &[]),
    ]
};

#[cfg(feature = "testing")]
impl PostgresBatchStore {
    /// Runs a query of one text column named `line` on the committer's own connection, for tests.
    pub async fn lines(&self, query: &str) -> Result<Vec<String>, StoreError> {
        #[derive(diesel::QueryableByName)]
        struct Row {
            #[diesel(sql_type = Text)]
            line: String,
        }
        let mut slot = self.connected().await?;
        let Some(connection) = slot.as_mut() else { return Err(StoreError::unavailable("not connected")) };
        let rows: Vec<Row> = diesel::sql_query(query).load(connection).await.map_err(store_error)?;
        Ok(rows.into_iter().map(|row| row.line).collect())
    }
}
