//! Writing a batch: all its statements in one pipelined flight.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use diesel::result::{DatabaseErrorKind, Error, QueryResult};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, SmallInt, Text, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::booking::{
    Booking, ChangedBooking, ChangedHold, Changes, HeldGuard, Hold, NewClaim, NewKey, NewOutboxEvent, RemovedClaim,
    RowGuard, ShowGuard, SoldSeat, UserGuard, WriteError,
};
use domain::ids::SessionId;
use futures::future::{BoxFuture, FutureExt as _, join_all};

use super::statements::*;
use crate::error::is_connection_lost;
use crate::statement::bind;

/// Sends `BEGIN`, every statement and `COMMIT` without waiting in between.
///
/// `join_all` polls so few futures in their order, and a statement is sent when its future is first polled. One that must be
/// prepared first holds the connection's statement cache meanwhile, and the others wait for it in their order.
pub(super) async fn flight(mut connection: &AsyncPgConnection, changes: &Changes) -> Vec<QueryResult<usize>> {
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
pub(super) fn verdict(mut results: Vec<QueryResult<usize>>) -> Result<(), WriteError> {
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
