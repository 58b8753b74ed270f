//! Writes the changes of a decided batch.

use diesel::prelude::*;
use domain::booking::{
    Booking, CancellationGuard, ChangedBooking, ChangedHold, EndedTenure, HeldGuard, Hold, HoldId, KeyName, NewClaim,
    NewOutboxEvent, PaymentKind, RemovedClaim, RowGuard, ShowGuard, StoredKey, UserGuard, WriteSet,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, SessionId};

use super::read::{counted_cancellations, lasting_session};
use crate::admin::{delete_block, insert_booking_event, insert_entry, put_block};
use crate::failure::Failure;
use crate::row::{claim_is_live, micros};
use crate::schema::{
    booking_seats, bookings, hold_seats, holds, idempotency_keys, outbox, seat_claims, seat_tenures, seats, shows,
    users,
};

/// Writes the fields in order. There is no other writer, so checked conditions hold until the commit.
pub(super) fn write_changes(connection: &mut SqliteConnection, changes: &WriteSet) -> Result<(), Failure> {
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
    let at = micros(*at);
    shows.iter().try_for_each(|guard| check_show(connection, guard))?;
    held.iter().try_for_each(|guard| check_held(connection, guard, at))?;
    cancellations.iter().try_for_each(|guard| check_cancellations(connection, guard, at))?;
    rows.iter().try_for_each(|guard| check_row(connection, guard, at))?;
    users.iter().try_for_each(|guard| check_user(connection, guard))?;
    sessions.iter().try_for_each(|id| check_session(connection, *id))?;
    keys.iter().try_for_each(|key| insert_key(connection, key, at))?;
    changed_holds.iter().try_for_each(|changed| change_hold(connection, changed))?;
    holds.iter().try_for_each(|hold| insert_hold(connection, hold))?;
    changed_bookings.iter().try_for_each(|changed| change_booking(connection, changed))?;
    bookings.iter().try_for_each(|booking| insert_booking(connection, booking))?;
    counted_cancellations.iter().try_for_each(|id| count_cancellation(connection, *id))?;
    removed_claims.iter().try_for_each(|removed| delete_claim(connection, removed))?;
    claims.iter().try_for_each(|claim| insert_claim(connection, claim))?;
    removed_blocks.iter().try_for_each(|place| delete_block(connection, *place))?;
    blocks.iter().try_for_each(|block| put_block(connection, block, at))?;
    tenures.iter().try_for_each(|ended| put_tenure(connection, ended))?;
    outbox.iter().try_for_each(|event| insert_event(connection, event, at))?;
    booking_events.iter().try_for_each(|event| insert_booking_event(connection, event, at))?;
    audit.iter().try_for_each(|entry| insert_entry(connection, entry, at))
}

/// Fails as stale unless exactly the expected number of rows was found.
fn as_read(rows: usize, expected: usize, stale: &'static str) -> Result<(), Failure> {
    if rows == expected { Ok(()) } else { Err(Failure::Stale(stale)) }
}

fn check_held(connection: &mut SqliteConnection, guard: &HeldGuard, at: i64) -> Result<(), Failure> {
    let held: i64 = hold_seats::table
        .inner_join(holds::table.on(holds::id.eq(hold_seats::hold_id)))
        .filter(holds::user_id.eq(guard.user_id.0))
        .filter(holds::expires_at.gt(at))
        .count()
        .get_result(connection)?;
    if held == guard.seats { Ok(()) } else { Err(Failure::Stale("a user holds other seats")) }
}

fn check_cancellations(connection: &mut SqliteConnection, guard: &CancellationGuard, at: i64) -> Result<(), Failure> {
    let cancelled: i64 = counted_cancellations(guard.user_id, at).count().get_result(connection)?;
    if cancelled == guard.bookings { Ok(()) } else { Err(Failure::Stale("a user has cancelled other bookings")) }
}

fn count_cancellation(connection: &mut SqliteConnection, id: BookingId) -> Result<(), Failure> {
    diesel::update(bookings::table.find(id.0)).set(bookings::counts_as_cancellation.eq(1)).execute(connection)?;
    Ok(())
}

fn put_tenure(connection: &mut SqliteConnection, ended: &EndedTenure) -> Result<(), Failure> {
    let EndedTenure { place, tenure } = ended;
    diesel::replace_into(seat_tenures::table)
        .values((
            seat_tenures::show_id.eq(place.show_id.0),
            seat_tenures::user_id.eq(place.user_id.0),
            seat_tenures::seat_id.eq(place.seat_id.0),
            seat_tenures::since.eq(micros(tenure.since)),
            seat_tenures::until.eq(micros(tenure.until)),
        ))
        .execute(connection)?;
    Ok(())
}

fn check_row(connection: &mut SqliteConnection, guard: &RowGuard, at: i64) -> Result<(), Failure> {
    let taken: Vec<i64> = seats::table
        .inner_join(seat_claims::table.on(seat_claims::seat_id.eq(seats::id)))
        .filter(seat_claims::show_id.eq(guard.show_id.0))
        .filter(seats::layout_id.eq(guard.layout_id.0))
        .filter(seats::row_label.eq(guard.row.as_str()))
        .filter(claim_is_live(at))
        .order(seats::id)
        .select(seats::id)
        .load(connection)?;
    let expected = guard.taken.iter().map(|seat| seat.0);
    if taken.into_iter().eq(expected) { Ok(()) } else { Err(Failure::Stale("a row has other seats taken")) }
}

fn change_hold(connection: &mut SqliteConnection, changed: &ChangedHold) -> Result<(), Failure> {
    let expected = holds::table.find(changed.id.as_str()).filter(holds::expires_at.eq(micros(changed.expires_at)));
    let rows = match changed.next {
        Some(next) => diesel::update(expected).set(holds::expires_at.eq(micros(next))).execute(connection)?,
        None => diesel::delete(expected).execute(connection)?,
    };
    as_read(rows, 1, "a hold is not there as it was")
}

fn insert_hold(connection: &mut SqliteConnection, hold: &Hold) -> Result<(), Failure> {
    diesel::insert_into(holds::table)
        .values((
            holds::id.eq(hold.id.as_str()),
            holds::user_id.eq(hold.user_id.0),
            holds::show_id.eq(hold.show_id.0),
            holds::created_at.eq(micros(hold.created_at)),
            holds::expires_at.eq(micros(hold.expires_at)),
        ))
        .execute(connection)?;
    for (position, seat) in (0_i64..).zip(&hold.seats) {
        diesel::insert_into(hold_seats::table)
            .values((
                hold_seats::hold_id.eq(hold.id.as_str()),
                hold_seats::seat_id.eq(seat.id.0),
                hold_seats::position.eq(position),
                hold_seats::category.eq(seat.category.as_str()),
                hold_seats::ticket_type.eq(seat.ticket_type.as_str()),
                hold_seats::price_minor.eq(seat.price_minor),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn change_booking(connection: &mut SqliteConnection, changed: &ChangedBooking) -> Result<(), Failure> {
    let ChangedBooking { status, old_seats, booking } = changed;
    let expected = bookings::table.find(booking.id.0).filter(bookings::status.eq(status.as_str()));
    let rows = diesel::update(expected)
        .set((
            bookings::status.eq(booking.status().as_str()),
            bookings::cancelled_at.eq(booking.state.cancelled_at().map(micros)),
        ))
        .execute(connection)?;
    as_read(rows, 1, "a booking is not there as it was")?;
    if old_seats.is_empty() {
        return Ok(());
    }
    let seats = old_seats.iter().map(|seat| seat.0);
    let old = booking_seats::table
        .filter(booking_seats::booking_id.eq(booking.id.0))
        .filter(booking_seats::seat_id.eq_any(seats));
    let rows = diesel::delete(old).execute(connection)?;
    as_read(rows, old_seats.len(), "a booking has other seats than it had")?;
    insert_booking_seats(connection, booking)
}

fn check_show(connection: &mut SqliteConnection, guard: &ShowGuard) -> Result<(), Failure> {
    let show: Option<(String, i64)> =
        shows::table.find(guard.show_id.0).select((shows::status, shows::version)).get_result(connection).optional()?;
    if show == Some((ShowStatus::Scheduled.as_str().to_owned(), guard.version)) {
        Ok(())
    } else {
        Err(Failure::Stale("a show was changed or cancelled"))
    }
}

fn check_user(connection: &mut SqliteConnection, guard: &UserGuard) -> Result<(), Failure> {
    let generation: Option<i64> =
        users::table.find(guard.user_id.0).select(users::session_generation).get_result(connection).optional()?;
    if generation == Some(guard.session_generation) {
        Ok(())
    } else {
        Err(Failure::Stale("the sessions of an account were ended"))
    }
}

fn check_session(connection: &mut SqliteConnection, id: SessionId) -> Result<(), Failure> {
    lasting_session(connection, id)?.map(drop).ok_or(Failure::Stale("a session was ended"))
}

fn insert_key(connection: &mut SqliteConnection, (name, key): &(KeyName, StoredKey), at: i64) -> Result<(), Failure> {
    diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::user_id.eq(name.user_id.0),
            idempotency_keys::scope.eq(name.scope.0.as_str()),
            idempotency_keys::key.eq(name.key.as_str()),
            idempotency_keys::fingerprint.eq(&key.fingerprint.0[..]),
            idempotency_keys::operation_id.eq(&key.operation_id.0[..]),
            idempotency_keys::booking_id.eq(key.subject.booking_id().map(|id| id.0)),
            idempotency_keys::hold_id.eq(key.subject.hold_id().map(HoldId::as_str)),
            idempotency_keys::show_id.eq(key.subject.show_id().map(|id| id.0)),
            idempotency_keys::answer.eq(key.body.as_deref()),
            idempotency_keys::created_at.eq(at),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_booking(connection: &mut SqliteConnection, booking: &Booking) -> Result<(), Failure> {
    diesel::insert_into(bookings::table)
        .values((
            bookings::id.eq(booking.id.0),
            bookings::reference.eq(booking.reference.as_str()),
            bookings::user_id.eq(booking.user_id.0),
            bookings::show_id.eq(booking.show_id.0),
            bookings::status.eq(booking.status().as_str()),
            bookings::currency.eq(booking.currency.code()),
            bookings::tax_basis_points.eq(i64::from(booking.tax_rate.basis_points())),
            bookings::booked_at.eq(micros(booking.booked_at)),
            bookings::cancelled_at.eq(booking.state.cancelled_at().map(micros)),
            bookings::channel.eq(booking.sale.channel()),
            bookings::payment_kind.eq(booking.sale.payment_kind().map(PaymentKind::as_str)),
        ))
        .execute(connection)?;
    insert_booking_seats(connection, booking)
}

fn insert_booking_seats(connection: &mut SqliteConnection, booking: &Booking) -> Result<(), Failure> {
    for (position, seat) in (0_i64..).zip(&booking.seats) {
        diesel::insert_into(booking_seats::table)
            .values((
                booking_seats::booking_id.eq(booking.id.0),
                booking_seats::seat_id.eq(seat.id.0),
                booking_seats::position.eq(position),
                booking_seats::category.eq(seat.category.as_str()),
                booking_seats::ticket_type.eq(seat.ticket_type.as_str()),
                booking_seats::price_minor.eq(seat.price_minor),
            ))
            .execute(connection)?;
    }
    Ok(())
}

fn delete_claim(connection: &mut SqliteConnection, removed: &RemovedClaim) -> Result<(), Failure> {
    let claim = &removed.claim;
    let expected = seat_claims::table
        .find((removed.show_id.0, removed.seat_id.0))
        .filter(seat_claims::status.eq(claim.status().as_str()))
        .filter(seat_claims::booking_id.is(claim.booking_id().map(|id| id.0)))
        .filter(seat_claims::hold_id.is(claim.hold_id().map(HoldId::as_str)))
        .filter(seat_claims::expires_at.is(claim.expires_at().map(micros)));
    as_read(diesel::delete(expected).execute(connection)?, 1, "a claim is not there as it was")
}

fn insert_claim(connection: &mut SqliteConnection, new: &NewClaim) -> Result<(), Failure> {
    let claim = &new.claim;
    diesel::insert_into(seat_claims::table)
        .values((
            seat_claims::show_id.eq(new.show_id.0),
            seat_claims::seat_id.eq(new.seat_id.0),
            seat_claims::layout_id.eq(new.layout_id.0),
            seat_claims::status.eq(claim.status().as_str()),
            seat_claims::user_id.eq(claim.user_id().map(|id| id.0)),
            seat_claims::booking_id.eq(claim.booking_id().map(|id| id.0)),
            seat_claims::hold_id.eq(claim.hold_id().map(HoldId::as_str)),
            seat_claims::expires_at.eq(claim.expires_at().map(micros)),
        ))
        .execute(connection)?;
    Ok(())
}

pub(crate) fn insert_event(connection: &mut SqliteConnection, event: &NewOutboxEvent, at: i64) -> Result<(), Failure> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::kind.eq(event.kind.as_str()),
            outbox::show_id.eq(event.show_id.0),
            outbox::booking_id.eq(event.booking_id.map(|id| id.0)),
            outbox::created_at.eq(at),
        ))
        .execute(connection)?;
    Ok(())
}
