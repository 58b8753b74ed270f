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
    BatchState, BatchStore, Booking, BookingIdBlock, Changes, ClaimRow, ExpectedHold, Fingerprint, IdempotencyKey,
    KeyName, KeyRow, Named, NewClaim, NewKey, NewOutboxEvent, Scope, SeatOffer, ShowGuard, ShowOffer, StoredAnswer,
    UserGuard, UserRow, WriteError,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, ShowId, UserId};
use domain::random::OperationId;
use domain::seating::ClaimStatus;
use futures::future::{BoxFuture, FutureExt as _, join_all};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use crate::connect::{PostgresSettings, PostgresStore};
use crate::error::{bad_row, is_connection_lost, store_error};
use crate::rows::currency;
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

// Each row says by `kind` what it is, and uses the columns it needs. One statement is one snapshot and one round trip.
type ReadColumns = (
    SmallInt,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<BigInt>,
    Nullable<BigInt>,
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

statement!(ReadBatch: ReadColumns = "
    SELECT 0::smallint, NULL::bigint, NULL::bigint, NULL::bigint, NULL::bigint, now(),
        NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::bytea, NULL::bytea, NULL::bytea
    UNION ALL
    SELECT 1::smallint, k.user_id, k.booking_id, NULL, NULL, NULL, k.scope, k.key, NULL, NULL, NULL,
        k.fingerprint, k.operation_id, k.answer
    FROM unnest($1::bigint[], $2::text[], $3::text[]) AS named (user_id, scope, key)
    JOIN idempotency_keys k ON k.user_id = named.user_id AND k.scope = named.scope AND k.key = named.key
    UNION ALL
    SELECT 2::smallint, u.id, u.session_generation, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($4::bigint[]) AS named (id) JOIN users u ON u.id = named.id
    UNION ALL
    SELECT 3::smallint, s.id, s.layout_id, NULL, NULL, s.start_time, s.status, s.currency, m.title, t.name, h.name,
        NULL, NULL, NULL
    FROM unnest($5::bigint[]) AS named (id)
    JOIN shows s ON s.id = named.id
    JOIN movies m ON m.id = s.movie_id
    JOIN theatres t ON t.id = s.theatre_id
    JOIN halls h ON h.id = s.hall_id
    UNION ALL
    SELECT 4::smallint, s.id, seats.id, p.price_minor, seats.number::bigint, NULL, seats.row_label, seats.category,
        NULL, NULL, NULL, NULL, NULL, NULL
    FROM unnest($6::bigint[], $7::bigint[]) AS named (show_id, seat_id)
    JOIN shows s ON s.id = named.show_id
    JOIN seats ON seats.layout_id = s.layout_id AND seats.id = named.seat_id
    JOIN show_prices p ON p.show_id = s.id AND p.category = seats.category
    UNION ALL
    SELECT 5::smallint, c.show_id, c.seat_id, NULL, NULL, c.expires_at, c.status, c.hold_id, NULL, NULL, NULL,
        NULL, NULL, NULL
    FROM unnest($6::bigint[], $7::bigint[]) AS named (show_id, seat_id)
    JOIN seat_claims c ON c.show_id = named.show_id AND c.seat_id = named.seat_id");

// Prepared like the others, and not sent as plain text: a statement that must be prepared first waits for the server, and a
// plain COMMIT would pass it by.
statement!(Begin: () = "BEGIN ISOLATION LEVEL READ COMMITTED");
statement!(Commit: () = "COMMIT");
// The statements of a flight, in lock order. `must` and violated constraints abort all of them.
statement!(LockShows: () = "
    SELECT must((SELECT count(*) FROM (
        SELECT 1 FROM shows WHERE id = ANY ($1::bigint[]) AND status = 'scheduled' ORDER BY id FOR SHARE
    ) locked) = cardinality($1::bigint[]))");
statement!(CheckUsers: () = "
    SELECT must((SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS named (id, session_generation)
        JOIN users u ON u.id = named.id AND u.session_generation = named.session_generation) = cardinality($1::bigint[]))");
statement!(InsertKeys: () = "
    INSERT INTO idempotency_keys (user_id, scope, key, fingerprint, operation_id, booking_id, answer, created_at)
    SELECT user_id, scope, key, fingerprint, operation_id, booking_id, answer, $8
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[], $5::bytea[], $6::bigint[], $7::bytea[])
        AS new (user_id, scope, key, fingerprint, operation_id, booking_id, answer)
    ORDER BY user_id, scope, key");
statement!(InsertBookings: () = "
    INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at)
    SELECT id, reference, user_id, show_id, status, currency, $7
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::text[], $6::text[])
        AS new (id, reference, user_id, show_id, status, currency)
    ORDER BY id");
statement!(DeleteExpiredHolds: () = "
    WITH locked AS (
        SELECT c.show_id, c.seat_id
        FROM unnest($1::bigint[], $2::bigint[], $3::text[]) AS expected (show_id, seat_id, hold_id)
        JOIN seat_claims c ON c.show_id = expected.show_id AND c.seat_id = expected.seat_id
        WHERE c.status = 'held' AND c.hold_id = expected.hold_id AND c.expires_at <= $4
        ORDER BY c.show_id, c.seat_id
        FOR UPDATE OF c
    ), deleted AS (
        DELETE FROM seat_claims c USING locked
        WHERE c.show_id = locked.show_id AND c.seat_id = locked.seat_id
        RETURNING 1
    )
    SELECT must((SELECT count(*) FROM deleted) = cardinality($1::bigint[]))");
statement!(InsertClaims: () = "
    INSERT INTO seat_claims (show_id, seat_id, layout_id, status, user_id, booking_id)
    SELECT show_id, seat_id, layout_id, 'booked', user_id, booking_id
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS new (show_id, seat_id, layout_id, user_id, booking_id)
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
        let rows: Vec<ReadRow> = self
            .load(bind!(
                ReadBatch,
                Array<BigInt> = named.keys.iter().map(|key| key.user_id.0).collect::<Vec<_>>(),
                Array<Text> = named.keys.iter().map(|key| key.scope.0.clone()).collect::<Vec<_>>(),
                Array<Text> = named.keys.iter().map(|key| key.key.as_str().to_owned()).collect::<Vec<_>>(),
                Array<BigInt> = named.users.iter().map(|user| user.0).collect::<Vec<_>>(),
                Array<BigInt> = named.shows.iter().map(|show| show.0).collect::<Vec<_>>(),
                Array<BigInt> = named.seats.iter().map(|(show, _)| show.0).collect::<Vec<_>>(),
                Array<BigInt> = named.seats.iter().map(|(_, seat)| seat.0).collect::<Vec<_>>(),
            ))
            .await?;
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
    let Changes { at, shows, users, keys, bookings, expired_holds, claims, outbox } = changes;
    let connection = &mut connection;
    let mut flight = Vec::with_capacity(10);
    flight.push(bind!(Begin).execute(connection).boxed());
    flight.push(lock_shows(connection, shows));
    flight.push(check_users(connection, users));
    flight.push(insert_keys(connection, keys, *at));
    flight.push(insert_bookings(connection, bookings, *at));
    if !expired_holds.is_empty() {
        flight.push(delete_expired_holds(connection, expired_holds, *at));
    }
    flight.push(insert_claims(connection, claims));
    flight.push(insert_booking_seats(connection, bookings));
    flight.push(insert_outbox(connection, outbox, *at));
    flight.push(bind!(Commit).execute(connection).boxed());
    join_all(flight).await
}

/// A statement that is sent when it is first polled.
type Sent<'flight> = BoxFuture<'flight, QueryResult<usize>>;

/// One value of each item, as a parameter.
fn column<Item, Value>(items: &[Item], value: impl Fn(&Item) -> Value) -> Vec<Value> {
    items.iter().map(value).collect()
}

fn lock_shows<'flight>(connection: &mut &'flight AsyncPgConnection, shows: &[ShowGuard]) -> Sent<'flight> {
    bind!(LockShows, Array<BigInt> = column(shows, |guard| guard.show_id.0)).execute(connection).boxed()
}

fn check_users<'flight>(connection: &mut &'flight AsyncPgConnection, users: &[UserGuard]) -> Sent<'flight> {
    bind!(
        CheckUsers,
        Array<BigInt> = column(users, |guard| guard.user_id.0),
        Array<BigInt> = column(users, |guard| guard.session_generation),
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
        Array<BigInt> = column(keys, |key| key.booking_id.0),
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
        Array<Text> = column(bookings, |booking| booking.status.as_str()),
        Array<Text> = column(bookings, |booking| booking.currency.code().to_owned()),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

fn delete_expired_holds<'flight>(
    connection: &mut &'flight AsyncPgConnection,
    holds: &[ExpectedHold],
    at: DateTime<Utc>,
) -> Sent<'flight> {
    bind!(
        DeleteExpiredHolds,
        Array<BigInt> = column(holds, |hold| hold.show_id.0),
        Array<BigInt> = column(holds, |hold| hold.seat_id.0),
        Array<Text> = column(holds, |hold| hold.hold_id.clone()),
        Timestamptz = at,
    )
    .execute(connection)
    .boxed()
}

fn insert_claims<'flight>(connection: &mut &'flight AsyncPgConnection, claims: &[NewClaim]) -> Sent<'flight> {
    bind!(
        InsertClaims,
        Array<BigInt> = column(claims, |claim| claim.show_id.0),
        Array<BigInt> = column(claims, |claim| claim.seat_id.0),
        Array<BigInt> = column(claims, |claim| claim.layout_id.0),
        Array<BigInt> = column(claims, |claim| claim.user_id.0),
        Array<BigInt> = column(claims, |claim| claim.booking_id.0),
    )
    .execute(connection)
    .boxed()
}

fn insert_booking_seats<'flight>(connection: &mut &'flight AsyncPgConnection, bookings: &[Booking]) -> Sent<'flight> {
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
        Array<BigInt> = column(outbox, |event| event.booking_id.0),
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
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<String>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
    Option<Vec<u8>>,
);

fn batch_state(rows: Vec<ReadRow>) -> Result<BatchState, StoreError> {
    let mut state = BatchState {
        now: DateTime::UNIX_EPOCH,
        keys: HashMap::new(),
        users: HashMap::new(),
        shows: HashMap::new(),
        seats: HashMap::new(),
        claims: HashMap::new(),
    };
    for row in rows {
        add(&mut state, row)?;
    }
    Ok(state)
}

fn add(state: &mut BatchState, row: ReadRow) -> Result<(), StoreError> {
    match row {
        (0, .., Some(now), _, _, _, _, _, _, _, _) => state.now = now,
        (1, Some(user), Some(booking), .., Some(scope), Some(key), _, _, _, Some(print), Some(operation), answer) => {
            let name = KeyName { user_id: UserId(user), scope: Scope(scope), key: IdempotencyKey::from_stored(key) };
            let row = KeyRow {
                fingerprint: Fingerprint(fixed(&print)?),
                operation_id: OperationId(fixed(&operation)?),
                booking_id: BookingId(booking),
                answer: answer.map(|body| StoredAnswer { body: body.into() }),
            };
            state.keys.insert(name, row);
        }
        (2, Some(user), Some(session_generation), ..) => {
            state.users.insert(UserId(user), UserRow { session_generation });
        }
        (
            3,
            Some(show),
            Some(layout),
            _,
            _,
            Some(start),
            Some(status),
            Some(code),
            Some(movie),
            Some(theatre),
            Some(hall),
            ..,
        ) => {
            let offer = ShowOffer {
                layout_id: LayoutId(layout),
                status: ShowStatus::parse(&status).map_err(bad_row)?,
                start_time: start,
                currency: currency(&code)?,
                movie_title: movie,
                theatre_name: theatre,
                hall_name: hall,
            };
            state.shows.insert(ShowId(show), offer);
        }
        (4, Some(show), Some(seat), Some(price_minor), Some(number), _, Some(row), Some(category), ..) => {
            let number = i32::try_from(number).map_err(bad_row)?;
            state.seats.insert((ShowId(show), SeatId(seat)), SeatOffer { row, number, category, price_minor });
        }
        (5, Some(show), Some(seat), _, _, expires_at, Some(status), hold_id, ..) => {
            let status = ClaimStatus::parse(&status).map_err(bad_row)?;
            state.claims.insert((ShowId(show), SeatId(seat)), ClaimRow { status, hold_id, expires_at });
        }
        (kind, ..) => return Err(bad_row(format!("a row of kind {kind} lacks a column"))),
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| bad_row(format!("{} bytes where {N} belong", bytes.len())))
}
