//! Reads the rows that a batch names.

use chrono::TimeDelta;
use diesel::prelude::*;
use domain::booking::{
    Claim, Fingerprint, KeyName, ReadSet, Rules, ShowOffer, Snapshot, StoredKey, StoredUser, Subject, Tenure, TenureKey,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use domain::random::OperationId;
use domain::seating::ClaimStatus;

use super::bookings::one_booking;
use super::holds::{WhichHolds, holds_of};
use crate::failure::Failure;
use crate::pricing::prices_of;
use crate::row::{currency, hold_id, instant, parsed, tax_rate};
use crate::schema::{
    bookings, halls, idempotency_keys, movies, seat_claims, seat_tenures, sessions, shows, theatres, users,
};

/// Reads each named row by its key.
///
/// Uses `get_result`, never `first`: that adds a `LIMIT ?`, and SQLite plans a statement again whenever a value is bound to its limit.
/// Planning took two fifths of the writer's time.
pub(super) fn batch_state(connection: &mut SqliteConnection, named: ReadSet, now: i64) -> Result<Snapshot, Failure> {
    let mut state = Snapshot::at(instant(now, "now")?);
    let ReadSet {
        keys,
        users,
        sessions: session_ids,
        shows,
        whole_shows,
        seats,
        holds: hold_ids,
        holders,
        tenants,
        bookings: booking_ids,
        cancellers,
    } = named;
    for name in keys {
        if let Some(row) = key_row(connection, &name)? {
            state.keys.insert(name, row);
        }
    }
    for id in users {
        let generation: Option<i64> =
            users::table.find(id.0).select(users::session_generation).get_result(connection).optional()?;
        if let Some(session_generation) = generation {
            state.users.insert(id, StoredUser { session_generation });
        }
    }
    for id in session_ids {
        if let Some(user_id) = lasting_session(connection, id)? {
            state.sessions.insert(id, user_id);
        }
    }
    for id in shows {
        if let Some(offer) = show_offer(connection, id)? {
            state.shows.insert(id, offer);
        }
    }
    for (show_id, seat_id) in seats {
        if let Some(claim) = claim_row(connection, show_id, seat_id)? {
            state.claims.insert((show_id, seat_id), claim);
        }
    }
    for show_id in whole_shows {
        for (seat_id, claim) in claims_of(connection, show_id)? {
            state.claims.insert((show_id, seat_id), claim);
        }
    }
    for id in hold_ids {
        let found = holds_of(connection, WhichHolds::One(&id))?;
        state.holds.extend(found.into_iter().map(|hold| (hold.id.clone(), hold)));
    }
    for user_id in holders {
        let found = holds_of(connection, WhichHolds::OfUser { user_id, show_id: None, after: now })?;
        state.holds.extend(found.into_iter().map(|hold| (hold.id.clone(), hold)));
    }
    let counted = now.saturating_sub(length(Tenure::COUNTED));
    for (show_id, user_id) in tenants {
        let found = holds_of(connection, WhichHolds::OfUser { user_id, show_id: Some(show_id), after: counted })?;
        state.holds.extend(found.into_iter().map(|hold| (hold.id.clone(), hold)));
        state.tenures.extend(tenures_of(connection, show_id, user_id, counted)?);
    }
    for id in booking_ids {
        let found = one_booking(connection, None, id, now)?;
        state.bookings.extend(found.into_iter().map(|booking| (booking.id, booking)));
    }
    for user_id in cancellers {
        let times: Vec<Option<i64>> =
            counted_cancellations(user_id, now).select(bookings::cancelled_at).load(connection)?;
        let times = times.into_iter().flatten().map(|at| instant(at, "cancelled_at")).collect::<Result<_, _>>()?;
        state.cancellations.insert(user_id, times);
    }
    Ok(state)
}

/// Converts a duration to the unit in which instants are stored.
pub(super) fn length(time: TimeDelta) -> i64 {
    time.num_microseconds().unwrap_or(i64::MAX)
}

/// Reads a user's tenures of a show's seats that a command ended after an instant.
fn tenures_of(
    connection: &mut SqliteConnection,
    show_id: ShowId,
    user_id: UserId,
    after: i64,
) -> Result<Vec<(TenureKey, Tenure)>, Failure> {
    let rows: Vec<(i64, i64, i64)> = seat_tenures::table
        .filter(seat_tenures::show_id.eq(show_id.0))
        .filter(seat_tenures::user_id.eq(user_id.0))
        .filter(seat_tenures::until.gt(after))
        .select((seat_tenures::seat_id, seat_tenures::since, seat_tenures::until))
        .load(connection)?;
    let tenure = |(seat, since, until)| -> Result<_, Failure> {
        let place = TenureKey { show_id, user_id, seat_id: SeatId(seat) };
        Ok((place, Tenure { since: instant(since, "since")?, until: instant(until, "until")? }))
    };
    rows.into_iter().map(tenure).collect()
}

/// Selects the bookings whose cancellations count towards their owner's limit at an instant.
#[diesel::dsl::auto_type(no_type_alias)]
pub(super) fn counted_cancellations(user_id: UserId, now: i64) -> _ {
    let user: i64 = user_id.0;
    let after: i64 = now.saturating_sub(length(Rules::CANCELLATIONS_COUNTED));
    bookings::table
        .filter(bookings::user_id.eq(user))
        .filter(bookings::cancelled_at.gt(after))
        .filter(bookings::counts_as_cancellation.eq(1_i64))
}

/// Returns the user of a session that has not ended.
pub(super) fn lasting_session(connection: &mut SqliteConnection, id: SessionId) -> Result<Option<UserId>, Failure> {
    let lasting = sessions::table.find(id.0).filter(sessions::ended_at.is_null());
    Ok(lasting.select(sessions::user_id).get_result(connection).optional()?.map(UserId))
}

/// Fingerprint, operation id, booking, hold, show and answer.
type KeyColumns = (Vec<u8>, Vec<u8>, Option<i64>, Option<String>, Option<i64>, Option<Vec<u8>>);

fn key_row(connection: &mut SqliteConnection, name: &KeyName) -> Result<Option<StoredKey>, Failure> {
    let row: Option<KeyColumns> = idempotency_keys::table
        .find((name.user_id.0, name.scope.0.as_str(), name.key.as_str()))
        .select((
            idempotency_keys::fingerprint,
            idempotency_keys::operation_id,
            idempotency_keys::booking_id,
            idempotency_keys::hold_id,
            idempotency_keys::show_id,
            idempotency_keys::answer,
        ))
        .get_result(connection)
        .optional()?;
    let Some((fingerprint, operation_id, booking, hold, show, answer)) = row else { return Ok(None) };
    let hold = hold.as_deref().map(hold_id).transpose()?;
    Ok(Some(StoredKey {
        fingerprint: Fingerprint(parsed(fingerprint.try_into(), "fingerprint")?),
        operation_id: OperationId(parsed(operation_id.try_into(), "operation_id")?),
        subject: Subject::from_stored(booking.map(BookingId), hold, show.map(ShowId))
            .ok_or(Failure::BadRow("booking_id"))?,
        body: answer.map(Into::into),
    }))
}

/// A show without the names that are printed on a ticket.
type StoredShow = (i64, i64, String, i64, i64, Option<i64>, Option<i64>, String);

fn show_offer(connection: &mut SqliteConnection, id: ShowId) -> Result<Option<ShowOffer>, Failure> {
    let row: Option<(StoredShow, (String, String, String, i64))> = shows::table
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .filter(shows::id.eq(id.0))
        .select((
            (
                shows::version,
                shows::layout_id,
                shows::status,
                shows::start_time,
                shows::end_time,
                shows::sales_open_at,
                shows::sales_close_at,
                shows::currency,
            ),
            (movies::title, theatres::name, halls::name, theatres::tax_basis_points),
        ))
        .get_result(connection)
        .optional()?;
    let Some((show, (movie_title, theatre_name, hall_name, points))) = row else { return Ok(None) };
    let (version, layout_id, status, start_time, end_time, open_at, close_at, code) = show;
    Ok(Some(ShowOffer {
        version,
        layout_id: LayoutId(layout_id),
        status: parsed(ShowStatus::parse(&status), "status")?,
        start_time: instant(start_time, "start_time")?,
        end_time: instant(end_time, "end_time")?,
        sales_open_at: open_at.map(|at| instant(at, "sales_open_at")).transpose()?,
        sales_close_at: close_at.map(|at| instant(at, "sales_close_at")).transpose()?,
        currency: currency(&code)?,
        tax_rate: tax_rate(points)?,
        prices: prices_of(connection, id)?.into_iter().collect(),
        movie_title,
        theatre_name,
        hall_name,
    }))
}

/// Status, user, booking, hold and expiry.
type StoredClaim = (String, Option<i64>, Option<i64>, Option<String>, Option<i64>);

const CLAIM: (
    seat_claims::status,
    seat_claims::user_id,
    seat_claims::booking_id,
    seat_claims::hold_id,
    seat_claims::expires_at,
) = (seat_claims::status, seat_claims::user_id, seat_claims::booking_id, seat_claims::hold_id, seat_claims::expires_at);

fn claim_row(connection: &mut SqliteConnection, show_id: ShowId, seat_id: SeatId) -> Result<Option<Claim>, Failure> {
    let row: Option<StoredClaim> =
        seat_claims::table.find((show_id.0, seat_id.0)).select(CLAIM).get_result(connection).optional()?;
    row.map(claim).transpose()
}

fn claims_of(connection: &mut SqliteConnection, show_id: ShowId) -> Result<Vec<(SeatId, Claim)>, Failure> {
    let rows: Vec<(i64, StoredClaim)> = seat_claims::table
        .filter(seat_claims::show_id.eq(show_id.0))
        .select((seat_claims::seat_id, CLAIM))
        .load(connection)?;
    rows.into_iter().map(|(seat, row)| Ok((SeatId(seat), claim(row)?))).collect()
}

fn claim((status, user, booking, hold, expires_at): StoredClaim) -> Result<Claim, Failure> {
    let status = parsed(ClaimStatus::parse(&status), "status")?;
    let hold = hold.as_deref().map(hold_id).transpose()?;
    let expires_at = expires_at.map(|at| instant(at, "expires_at")).transpose()?;
    let row = Claim::from_stored(status, user.map(UserId), booking.map(BookingId), hold.zip(expires_at));
    parsed(row, "seat_claims")
}
