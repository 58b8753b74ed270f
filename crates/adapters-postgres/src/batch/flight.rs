//! The statements that write a batch, in lock order.

use chrono::{DateTime, Utc};
use domain::booking::{
    Booking, CancellationGuard, ChangedBooking, ChangedHold, EndedTenure, HeldGuard, Hold, HoldId, KeyName,
    NewAuditEntry, NewBlock, NewBookingEvent, NewClaim, NewOutboxEvent, PaymentKind, RemovedClaim, RowGuard, Rules,
    ShowGuard, SoldSeat, StoredKey, UserGuard, WriteSet,
};
use domain::ids::{SeatId, SessionId, ShowId};
use stored_json::stored_fields;

use super::link::{Bound, Parameters, parameters};
use super::statements::Statement::*;

/// Returns the statements between `BEGIN` and `COMMIT` that write these changes, in the order in which they are sent.
pub(super) fn script(changes: &WriteSet) -> Vec<Bound<'_>> {
    // Destructured by name: a new field does not compile until it is written.
    let WriteSet {
        at,
        shows,
        held,
        cancellations,
        rows,
        users,
        sessions,
        keys,
        changed_holds,
        holds,
        changed_bookings,
        bookings,
        counted_cancellations,
        removed_claims,
        claims,
        removed_blocks,
        blocks,
        tenures,
        outbox,
        booking_events,
        audit,
    } = changes;
    let mut script = Vec::with_capacity(16);
    if !held.is_empty() || !cancellations.is_empty() || !rows.is_empty() {
        script.push(lock_names(changes));
    }
    if !shows.is_empty() {
        script.push(lock_shows(shows));
    }
    if !held.is_empty() {
        script.push(check_held(held, at));
    }
    if !cancellations.is_empty() {
        script.push(check_cancellations(cancellations, at));
    }
    if !rows.is_empty() {
        script.push(check_rows(rows, at));
    }
    script.push(check_callers(users, sessions));
    script.push(insert_keys(keys, at));
    if !changed_holds.is_empty() {
        script.extend(change_holds(changed_holds));
    }
    if !holds.is_empty() {
        script.push(insert_holds(holds, at));
        script.push(insert_hold_seats(holds));
    }
    if !changed_bookings.is_empty() {
        script.extend(change_bookings(changed_bookings));
    }
    if !bookings.is_empty() {
        script.push(insert_bookings(bookings, at));
    }
    if !counted_cancellations.is_empty() {
        script.push((CountCancellations, parameters![column(counted_cancellations, |id| id.0)]));
    }
    if !removed_claims.is_empty() {
        script.push(delete_claims(removed_claims));
    }
    if !claims.is_empty() {
        script.push(insert_claims(claims));
    }
    let with_new_seats = changed_bookings.iter().filter(|changed| !changed.old_seats.is_empty());
    let sold: Vec<_> = bookings.iter().chain(with_new_seats.map(|changed| &changed.booking)).collect();
    if !sold.is_empty() {
        script.push(insert_booking_seats(&sold));
    }
    if !removed_blocks.is_empty() {
        script.push(delete_blocks(removed_blocks));
    }
    if !blocks.is_empty() {
        script.push(put_blocks(blocks, at));
    }
    if !tenures.is_empty() {
        script.push(put_tenures(tenures, at));
    }
    if !outbox.is_empty() {
        script.push(insert_outbox(outbox, at));
    }
    if !booking_events.is_empty() {
        script.push(insert_booking_events(booking_events, at));
    }
    if !audit.is_empty() {
        script.push(insert_audit(audit, at));
    }
    script
}

/// Returns one value of each item, as an array parameter.
fn column<'a, Item, Value>(items: &'a [Item], value: impl Fn(&'a Item) -> Value) -> Vec<Value> {
    items.iter().map(value).collect()
}

/// Locks, until the commit, the accounts whose limits are checked and the rows whose seats are checked.
fn lock_names(changes: &WriteSet) -> Bound<'_> {
    let limited = changes.held.iter().map(|guard| guard.user_id);
    let limited = limited.chain(changes.cancellations.iter().map(|guard| guard.user_id));
    let accounts = limited.map(|user_id| format!("account {user_id}"));
    // Servers of the previous release lock an account's holds show by show. Locking this name as well makes both releases exclude each
    // other.
    let held = changes.holds.iter().map(|hold| format!("held {} {}", hold.show_id, hold.user_id));
    let rows = changes.rows.iter().map(|guard| format!("row {} {}", guard.show_id, guard.row));
    (LockNames, parameters![accounts.chain(held).chain(rows).collect::<Vec<_>>()])
}

fn lock_shows(shows: &[ShowGuard]) -> Bound<'_> {
    (LockShows, parameters![column(shows, |guard| guard.show_id.0), column(shows, |guard| guard.version)])
}

fn check_held<'a>(held: &'a [HeldGuard], at: &'a DateTime<Utc>) -> Bound<'a> {
    (CheckHeld, parameters![column(held, |guard| guard.user_id.0), column(held, |guard| guard.seats), at])
}

fn check_cancellations<'a>(cancellations: &'a [CancellationGuard], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(cancellations, |guard| guard.user_id.0),
        column(cancellations, |guard| guard.bookings),
        at,
        Rules::CANCELLATIONS_COUNTED.num_seconds(),
    ];
    (CheckCancellations, parameters)
}

fn check_rows<'a>(rows: &'a [RowGuard], at: &'a DateTime<Utc>) -> Bound<'a> {
    let taken = |guard: &RowGuard| guard.taken.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let parameters = parameters![
        column(rows, |guard| guard.show_id.0),
        column(rows, |guard| guard.layout_id.0),
        column(rows, |guard| guard.row.as_str()),
        column(rows, taken),
        at,
    ];
    (CheckRows, parameters)
}

fn check_callers<'a>(users: &'a [UserGuard], sessions: &'a [SessionId]) -> Bound<'a> {
    let parameters = parameters![
        column(users, |guard| guard.user_id.0),
        column(users, |guard| guard.session_generation),
        column(sessions, |session| session.0),
    ];
    (CheckCallers, parameters)
}

fn insert_keys<'a>(keys: &'a [(KeyName, StoredKey)], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(keys, |(name, _)| name.user_id.0),
        column(keys, |(name, _)| name.scope.0.as_str()),
        column(keys, |(name, _)| name.key.as_str()),
        column(keys, |(_, key)| key.fingerprint.0.as_slice()),
        column(keys, |(_, key)| key.operation_id.0.as_slice()),
        column(keys, |(_, key)| key.subject.booking_id().map(|id| id.0)),
        column(keys, |(_, key)| key.subject.hold_id().map(HoldId::as_str)),
        column(keys, |(_, key)| key.subject.show_id().map(|id| id.0)),
        column(keys, |(_, key)| key.body.as_deref()),
        at,
    ];
    (InsertKeys, parameters)
}

/// Locks all holds in order, then deletes some and extends the others.
fn change_holds(holds: &[ChangedHold]) -> Vec<Bound<'_>> {
    let lock = parameters![column(holds, |hold| hold.id.as_str()), column(holds, |hold| hold.expires_at)];
    let mut bound: Vec<Bound<'_>> = vec![(LockHolds, lock)];
    let gone: Vec<_> = holds.iter().filter(|hold| hold.next.is_none()).map(|hold| hold.id.as_str()).collect();
    if !gone.is_empty() {
        bound.push((DeleteHolds, parameters![gone]));
    }
    let longer = holds.iter().filter_map(|hold| Some((hold.id.as_str(), hold.next?)));
    let (ids, instants): (Vec<_>, Vec<_>) = longer.unzip();
    if !ids.is_empty() {
        bound.push((ExtendHolds, parameters![ids, instants]));
    }
    bound
}

fn insert_holds<'a>(holds: &'a [Hold], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(holds, |hold| hold.id.as_str()),
        column(holds, |hold| hold.user_id.0),
        column(holds, |hold| hold.show_id.0),
        column(holds, |hold| hold.expires_at),
        at,
    ];
    (InsertHolds, parameters)
}

/// Returns the seats of each item, with the item's id and the seats' positions, as array parameters.
fn seats<'a, Id>(of: impl Iterator<Item = (Id, &'a [SoldSeat])>) -> Parameters<'a>
where
    Id: tokio_postgres::types::ToSql + Sync + Send + Copy + 'a,
{
    let (mut owners, mut ids, mut positions) = (Vec::new(), Vec::new(), Vec::new());
    let (mut categories, mut ticket_types, mut prices) = (Vec::new(), Vec::new(), Vec::new());
    for (owner, seats) in of {
        for (position, seat) in (0_i16..).zip(seats) {
            owners.push(owner);
            ids.push(seat.id.0);
            positions.push(position);
            categories.push(seat.category.as_str());
            ticket_types.push(seat.ticket_type.as_str());
            prices.push(seat.price_minor);
        }
    }
    parameters![owners, ids, positions, categories, ticket_types, prices]
}

fn insert_hold_seats(holds: &[Hold]) -> Bound<'_> {
    (InsertHoldSeats, seats(holds.iter().map(|hold| (hold.id.as_str(), hold.seats.as_slice()))))
}

fn insert_booking_seats<'a>(bookings: &[&'a Booking]) -> Bound<'a> {
    (InsertBookingSeats, seats(bookings.iter().map(|booking| (booking.id.0, booking.seats.as_slice()))))
}

/// Locks all bookings in order, then updates them, and deletes the old seats of those whose seats change.
fn change_bookings(bookings: &[ChangedBooking]) -> Vec<Bound<'_>> {
    let lock = parameters![
        column(bookings, |changed| changed.booking.id.0),
        column(bookings, |changed| changed.status.as_str()),
    ];
    let update = parameters![
        column(bookings, |changed| changed.booking.id.0),
        column(bookings, |changed| changed.booking.status().as_str()),
        column(bookings, |changed| changed.booking.state.cancelled_at()),
    ];
    let mut bound: Vec<Bound<'_>> = vec![(LockBookings, lock), (UpdateBookings, update)];
    let old = bookings.iter().flat_map(|changed| changed.old_seats.iter().map(|seat| (changed.booking.id.0, seat.0)));
    let (ids, seats): (Vec<i64>, Vec<i64>) = old.unzip();
    if !ids.is_empty() {
        bound.push((DeleteBookingSeats, parameters![ids, seats]));
    }
    bound
}

fn insert_bookings<'a>(bookings: &'a [Booking], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(bookings, |booking| booking.id.0),
        column(bookings, |booking| booking.reference.as_str()),
        column(bookings, |booking| booking.user_id.0),
        column(bookings, |booking| booking.show_id.0),
        column(bookings, |booking| booking.status().as_str()),
        column(bookings, |booking| booking.currency.code()),
        column(bookings, |booking| booking.state.cancelled_at()),
        column(bookings, |booking| booking.sale.channel()),
        column(bookings, |booking| booking.sale.payment_kind().map(PaymentKind::as_str)),
        column(bookings, |booking| booking.tax_rate.basis_points()),
        at,
    ];
    (InsertBookings, parameters)
}

fn delete_claims(claims: &[RemovedClaim]) -> Bound<'_> {
    let parameters = parameters![
        column(claims, |removed| removed.show_id.0),
        column(claims, |removed| removed.seat_id.0),
        column(claims, |removed| removed.claim.status().as_str()),
        column(claims, |removed| removed.claim.booking_id().map(|id| id.0)),
        column(claims, |removed| removed.claim.hold_id().map(HoldId::as_str)),
        column(claims, |removed| removed.claim.expires_at()),
    ];
    (DeleteClaims, parameters)
}

fn insert_claims(claims: &[NewClaim]) -> Bound<'_> {
    let parameters = parameters![
        column(claims, |new| new.show_id.0),
        column(claims, |new| new.seat_id.0),
        column(claims, |new| new.layout_id.0),
        column(claims, |new| new.claim.status().as_str()),
        column(claims, |new| new.claim.user_id().map(|id| id.0)),
        column(claims, |new| new.claim.booking_id().map(|id| id.0)),
        column(claims, |new| new.claim.hold_id().map(HoldId::as_str)),
        column(claims, |new| new.claim.expires_at()),
    ];
    (InsertClaims, parameters)
}

fn delete_blocks(places: &[(ShowId, SeatId)]) -> Bound<'_> {
    (DeleteBlocks, parameters![column(places, |(show, _)| show.0), column(places, |(_, seat)| seat.0)])
}

fn put_blocks<'a>(blocks: &'a [NewBlock], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(blocks, |block| block.show_id.0),
        column(blocks, |block| block.seat_id.0),
        column(blocks, |block| block.reason.as_str()),
        column(blocks, |block| block.blocked_by.0),
        at,
    ];
    (PutBlocks, parameters)
}

/// Writes tenures that end at the instant of the batch.
fn put_tenures<'a>(tenures: &'a [EndedTenure], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(tenures, |ended| ended.place.show_id.0),
        column(tenures, |ended| ended.place.user_id.0),
        column(tenures, |ended| ended.place.seat_id.0),
        column(tenures, |ended| ended.tenure.since),
        at,
    ];
    (PutTenures, parameters)
}

fn insert_outbox<'a>(outbox: &'a [NewOutboxEvent], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(outbox, |event| event.kind.as_str()),
        column(outbox, |event| event.show_id.0),
        column(outbox, |event| event.booking_id.map(|id| id.0)),
        at,
    ];
    (InsertOutbox, parameters)
}

fn insert_booking_events<'a>(events: &'a [NewBookingEvent], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(events, |event| event.booking_id.0),
        column(events, |event| event.kind.as_str()),
        column(events, |event| event.actor.as_str()),
        column(events, |event| event.actor.user_id().map(|id| id.0)),
        column(events, |event| event.reason.as_deref()),
        column(events, |event| stored_fields(&event.details)),
        at,
    ];
    (InsertBookingEvents, parameters)
}

fn insert_audit<'a>(audit: &'a [NewAuditEntry], at: &'a DateTime<Utc>) -> Bound<'a> {
    let parameters = parameters![
        column(audit, |entry| entry.actor_id.0),
        column(audit, |entry| entry.record.action.as_str()),
        column(audit, |entry| entry.record.object_kind.as_str()),
        column(audit, |entry| entry.record.object_id),
        column(audit, |entry| entry.record.theatre_id.map(|id| id.0)),
        column(audit, |entry| stored_fields(&entry.record.before)),
        column(audit, |entry| stored_fields(&entry.record.after)),
        column(audit, |entry| entry.origin.request_id.as_str()),
        column(audit, |entry| entry.origin.address.as_str()),
        at,
    ];
    (InsertAudit, parameters)
}
