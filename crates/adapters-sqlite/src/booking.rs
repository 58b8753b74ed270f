//! The booking path's reads and writes, and the history.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::booking::{
    BatchStore, Booking, BookingCursor, BookingFilter, BookingIdBlock, BookingState, BookingStatus, BookingStore,
    CancellationGuard, ChangedBooking, ChangedHold, Claim, EndedTenure, Fingerprint, HOLDS_LISTED_MAX, HeldGuard,
    History, HistorySource, Hold, HoldId, HoldStore, KeyName, NewClaim, NewOutboxEvent, ReadSet, RemovedClaim,
    RowGuard, Rules, ShowGuard, ShowOffer, Snapshot, SoldSeat, StoredKey, StoredUser, Subject, Tenure, TenureKey,
    UserGuard, When, WriteError, WriteSet,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use domain::page::{Filling, PageRequest};
use domain::random::{OperationId, Reference};
use domain::seating::ClaimStatus;

use crate::failure::{Failure, write_error};
use crate::row::{currency, hold_id, instant, listed, micros, parsed, small};
use crate::schema::{
    booking_seats, bookings, halls, hold_seats, holds, id_blocks, idempotency_keys, movies, outbox, seat_claims,
    seat_tenures, seats, sessions, show_prices, shows, theatres, users,
};
use crate::store::SqliteStore;

/// How many ids are reserved at once: each block costs a commit.
const ID_BLOCK: u32 = 64;

#[async_trait]
impl BatchStore for SqliteStore {
    async fn reserve_booking_ids(&self) -> Result<BookingIdBlock, StoreError> {
        let reserved = self.write(|connection| {
            let next: i64 = diesel::update(id_blocks::table.find("bookings"))
                .set(id_blocks::next.eq(id_blocks::next + i64::from(ID_BLOCK)))
                .returning(id_blocks::next)
                .get_result(connection)?;
            Ok(BookingIdBlock { first: next.saturating_sub(i64::from(ID_BLOCK)), count: ID_BLOCK })
        });
        Ok(reserved.await?)
    }

    async fn read(&self, named: &ReadSet) -> Result<Snapshot, StoreError> {
        let (named, clock) = (named.clone(), self.clock());
        Ok(self.read_on_writer(move |connection| batch_state(connection, named, clock.now())).await?)
    }

    async fn write(&self, changes: &WriteSet) -> Result<(), WriteError> {
        let changes = changes.clone();
        let written = self.write(move |connection| write_changes(connection, &changes));
        written.await.map_err(write_error)
    }

    /// What another connection sees is on the disk: a commit is acknowledged behind its fsync, and there is one writer.
    async fn confirm(&self) -> Result<(), StoreError> {
        Ok(())
    }
}

impl HistorySource for SqliteStore {
    /// One file, one server: there is no other server to take over.
    fn history(&self) -> History {
        History::default()
    }
}

/// Reads each row that is named by its key.
///
/// By `get_result` and never by `first`: that adds a `LIMIT ?`, and SQLite plans a statement anew whenever a value is bound to its
/// limit. It took two fifths of the writer's time.
fn batch_state(connection: &mut SqliteConnection, named: ReadSet, now: i64) -> Result<Snapshot, Failure> {
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

/// A length of time in the unit in which instants are kept.
fn length(time: TimeDelta) -> i64 {
    time.num_microseconds().unwrap_or(i64::MAX)
}

/// A user's tenures of a show's seats that a command ended after an instant.
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

/// The bookings whose cancellations count towards their owner's limit at an instant.
#[diesel::dsl::auto_type(no_type_alias)]
fn counted_cancellations(user_id: UserId, now: i64) -> _ {
    let user: i64 = user_id.0;
    let after: i64 = now.saturating_sub(length(Rules::CANCELLATIONS_COUNTED));
    bookings::table
        .filter(bookings::user_id.eq(user))
        .filter(bookings::cancelled_at.gt(after))
        .filter(bookings::counts_as_cancellation.eq(1_i64))
}

/// Whose session it is, if it lasts.
fn lasting_session(connection: &mut SqliteConnection, id: SessionId) -> Result<Option<UserId>, Failure> {
    let lasting = sessions::table.find(id.0).filter(sessions::ended_at.is_null());
    Ok(lasting.select(sessions::user_id).get_result(connection).optional()?.map(UserId))
}

/// Fingerprint, operation id, booking, hold and answer.
type KeyColumns = (Vec<u8>, Vec<u8>, Option<i64>, Option<String>, Option<Vec<u8>>);

fn key_row(connection: &mut SqliteConnection, name: &KeyName) -> Result<Option<StoredKey>, Failure> {
    let row: Option<KeyColumns> = idempotency_keys::table
        .find((name.user_id.0, name.scope.0.as_str(), name.key.as_str()))
        .select((
            idempotency_keys::fingerprint,
            idempotency_keys::operation_id,
            idempotency_keys::booking_id,
            idempotency_keys::hold_id,
            idempotency_keys::answer,
        ))
        .get_result(connection)
        .optional()?;
    let Some((fingerprint, operation_id, booking, hold, answer)) = row else { return Ok(None) };
    let hold = hold.as_deref().map(hold_id).transpose()?;
    Ok(Some(StoredKey {
        fingerprint: Fingerprint(parsed(fingerprint.try_into(), "fingerprint")?),
        operation_id: OperationId(parsed(operation_id.try_into(), "operation_id")?),
        subject: Subject::from_stored(booking.map(BookingId), hold).ok_or(Failure::BadRow("booking_id"))?,
        body: answer.map(Into::into),
    }))
}

/// A show without the names that a ticket shows.
type StoredShow = (i64, String, i64, Option<i64>, Option<i64>, String);

fn show_offer(connection: &mut SqliteConnection, id: ShowId) -> Result<Option<ShowOffer>, Failure> {
    let row: Option<(StoredShow, (String, String, String))> = shows::table
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .filter(shows::id.eq(id.0))
        .select((
            (
                shows::layout_id,
                shows::status,
                shows::start_time,
                shows::sales_open_at,
                shows::sales_close_at,
                shows::currency,
            ),
            (movies::title, theatres::name, halls::name),
        ))
        .get_result(connection)
        .optional()?;
    let Some((show, (movie_title, theatre_name, hall_name))) = row else { return Ok(None) };
    let (layout_id, status, start_time, open_at, close_at, code) = show;
    let prices: Vec<(String, i64)> = show_prices::table
        .filter(show_prices::show_id.eq(id.0))
        .select((show_prices::category, show_prices::price_minor))
        .load(connection)?;
    Ok(Some(ShowOffer {
        layout_id: LayoutId(layout_id),
        status: parsed(ShowStatus::parse(&status), "status")?,
        start_time: instant(start_time, "start_time")?,
        sales_open_at: open_at.map(|at| instant(at, "sales_open_at")).transpose()?,
        sales_close_at: close_at.map(|at| instant(at, "sales_close_at")).transpose()?,
        currency: currency(&code)?,
        prices: prices.into_iter().collect(),
        movie_title,
        theatre_name,
        hall_name,
    }))
}

/// Status, user, booking, hold, and when it runs out.
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

/// Writes in the order of the fields. Nobody else writes meanwhile: what is checked stays so until the commit.
fn write_changes(connection: &mut SqliteConnection, changes: &WriteSet) -> Result<(), Failure> {
    // All of them, so that a field that is added is written too.
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
        tenures,
        outbox,
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
    tenures.iter().try_for_each(|ended| put_tenure(connection, ended))?;
    outbox.iter().try_for_each(|event| insert_event(connection, event, at))
}

/// Whether exactly what was read was there.
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
        .filter(seat_claims::expires_at.is_null().or(seat_claims::expires_at.gt(at)))
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
    let status: Option<String> =
        shows::table.find(guard.show_id.0).select(shows::status).get_result(connection).optional()?;
    if status.as_deref() == Some(ShowStatus::Scheduled.as_str()) {
        Ok(())
    } else {
        Err(Failure::Stale("a show does not take place any more"))
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
            bookings::booked_at.eq(micros(booking.booked_at)),
            bookings::cancelled_at.eq(booking.state.cancelled_at().map(micros)),
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

fn insert_event(connection: &mut SqliteConnection, event: &NewOutboxEvent, at: i64) -> Result<(), Failure> {
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

#[async_trait]
impl BookingStore for SqliteStore {
    async fn bookings(
        &self,
        user_id: UserId,
        filter: &BookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<Booking>, StoreError> {
        let (filter, mut filling, clock) = (*filter, Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = bookings_of(connection, Some(user_id), Which::Page(filter, page), now)?;
                let mut seats_of = seats_of(connection, &rows)?;
                filling
                    .add(rows, BookingRow::place, |row| listed("bookings", row.booking.0, booking(row, &mut seats_of)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError> {
        let clock = self.clock();
        Ok(self.read(move |connection| one_booking(connection, Some(user_id), id, clock.now())).await?)
    }
}

/// Which bookings are read.
enum Which {
    One(BookingId),
    Page(BookingFilter, PageRequest<BookingCursor>),
}

/// A booking without its seats. In the order of [`bookings_of`].
#[derive(Queryable)]
struct BookingRow {
    booking: (i64, String, i64, i64, String, String, i64, Option<i64>),
    names: (String, String, String, i64),
}

/// One booking, whoever's it is unless a user is given.
fn one_booking(
    connection: &mut SqliteConnection,
    user_id: Option<UserId>,
    id: BookingId,
    now: i64,
) -> Result<Option<Booking>, Failure> {
    let rows = bookings_of(connection, user_id, Which::One(id), now)?;
    let mut seats_of = seats_of(connection, &rows)?;
    rows.into_iter().next().map(|row| booking(row, &mut seats_of)).transpose()
}

impl BookingRow {
    /// Where it is in the list. A time that is no instant is before all others, and is left out.
    fn place(&self) -> BookingCursor {
        let booked_at = instant(self.booking.6, "booked_at").unwrap_or(DateTime::<Utc>::MAX_UTC);
        BookingCursor { booked_at, id: BookingId(self.booking.0) }
    }
}

fn bookings_of(
    connection: &mut SqliteConnection,
    user_id: Option<UserId>,
    which: Which,
    now: i64,
) -> Result<Vec<BookingRow>, Failure> {
    let booking = (bookings::id, bookings::reference, bookings::user_id, bookings::show_id, bookings::status);
    let (id, reference, user, show, status) = booking;
    let mut query = bookings::table
        .inner_join(shows::table.on(shows::id.eq(bookings::show_id)))
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .select((
            (id, reference, user, show, status, bookings::currency, bookings::booked_at, bookings::cancelled_at),
            (movies::title, theatres::name, halls::name, shows::start_time),
        ))
        .into_boxed::<Sqlite>();
    if let Some(user_id) = user_id {
        query = query.filter(bookings::user_id.eq(user_id.0));
    }
    match which {
        Which::One(id) => query = query.filter(bookings::id.eq(id.0)),
        Which::Page(BookingFilter { when, status }, page) => {
            match when {
                Some(When::Upcoming) => query = query.filter(shows::start_time.gt(now)),
                Some(When::Past) => query = query.filter(shows::start_time.le(now)),
                None => {}
            }
            if let Some(status) = status {
                query = query.filter(bookings::status.eq(status.as_str()));
            }
            if let Some(BookingCursor { booked_at, id }) = page.after {
                let at = micros(booked_at);
                let behind = bookings::booked_at.eq(at).and(bookings::id.lt(id.0));
                query = query.filter(bookings::booked_at.lt(at).or(behind));
            }
            query = query.order((bookings::booked_at.desc(), bookings::id.desc())).limit(page.rows());
        }
    }
    Ok(query.load(connection)?)
}

/// The seats of each of the bookings. A seat that is not as it should be spoils its booking alone.
type SeatsOf = HashMap<i64, Result<Vec<SoldSeat>, Failure>>;

fn seats_of(connection: &mut SqliteConnection, rows: &[BookingRow]) -> Result<SeatsOf, Failure> {
    let ids: Vec<i64> = rows.iter().map(|row| row.booking.0).collect();
    let sold: Vec<(i64, i64, String, i64, String, i64)> = booking_seats::table
        .inner_join(seats::table.on(seats::id.eq(booking_seats::seat_id)))
        .filter(booking_seats::booking_id.eq_any(ids))
        .select((
            booking_seats::booking_id,
            seats::id,
            seats::row_label,
            seats::number,
            booking_seats::category,
            booking_seats::price_minor,
        ))
        .order((booking_seats::booking_id, booking_seats::position))
        .load(connection)?;
    let mut seats_of = SeatsOf::new();
    for (booking_id, id, row, number, category, price_minor) in sold {
        let seats = seats_of.entry(booking_id).or_insert_with(|| Ok(Vec::new()));
        match small(number, "number") {
            Ok(number) => {
                let seat = SoldSeat { id: SeatId(id), row, number, category, price_minor };
                let _ = seats.as_mut().map(|seats| seats.push(seat));
            }
            Err(failure) => *seats = Err(failure),
        }
    }
    Ok(seats_of)
}

fn booking(row: BookingRow, seats_of: &mut SeatsOf) -> Result<Booking, Failure> {
    let seats = seats_of.remove(&row.booking.0).ok_or(Failure::BadRow("booking_seats"))??;
    let (id, reference, user_id, show_id, status, code, booked_at, cancelled_at) = row.booking;
    let (movie_title, theatre_name, hall_name, start_time) = row.names;
    let status = parsed(BookingStatus::parse(&status), "status")?;
    let cancelled_at = cancelled_at.map(|at| instant(at, "cancelled_at")).transpose()?;
    Ok(Booking {
        id: BookingId(id),
        reference: parsed(Reference::parse(&reference), "reference")?,
        user_id: UserId(user_id),
        show_id: ShowId(show_id),
        seats,
        state: parsed(BookingState::from_stored(status, cancelled_at), "cancelled_at")?,
        currency: currency(&code)?,
        booked_at: instant(booked_at, "booked_at")?,
        movie_title,
        theatre_name,
        hall_name,
        start_time: instant(start_time, "start_time")?,
    })
}

#[async_trait]
impl HoldStore for SqliteStore {
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError> {
        let clock = self.clock();
        let live = move |connection: &mut SqliteConnection| {
            let rows = hold_rows(connection, WhichHolds::List { user_id, now: clock.now() })?;
            let mut found = Vec::new();
            for row in rows {
                // Named by its owner and show: a hold's id is secret.
                let named = format!("of user {}, show {}", row.1, row.2);
                let seats = seats_of_hold(connection, &row.0)?;
                found.extend(listed("holds", named, hold(row, seats)));
            }
            Ok(found)
        };
        Ok(self.read(live).await?)
    }

    async fn hold(&self, user_id: UserId, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        let (id, clock) = (id.clone(), self.clock());
        let found = self.read(move |connection| {
            let now = instant(clock.now(), "now")?;
            let found = holds_of(connection, WhichHolds::One(&id))?.pop();
            Ok(found.filter(|hold| hold.user_id == user_id && hold.is_live(now)))
        });
        Ok(found.await?)
    }
}

/// Which holds are read.
enum WhichHolds<'a> {
    /// This one, whoever's it is and whether or not it has run out.
    One(&'a HoldId),
    /// A user's live ones, those that run out first in front, [`HOLDS_LISTED_MAX`] at most.
    List { user_id: UserId, now: i64 },
    /// All of a user's that run out after an instant, on one show or on all.
    OfUser { user_id: UserId, show_id: Option<ShowId>, after: i64 },
}

/// Id, user, show, currency, when it was made and when it runs out.
type HoldRow = (String, i64, i64, String, i64, i64);

/// The holds; a bad row of one is an error: what is decided by them must not be decided without it.
fn holds_of(connection: &mut SqliteConnection, which: WhichHolds<'_>) -> Result<Vec<Hold>, Failure> {
    let rows = hold_rows(connection, which)?;
    rows.into_iter()
        .map(|row| {
            let seats = seats_of_hold(connection, &row.0)?;
            hold(row, seats)
        })
        .collect()
}

fn hold_rows(connection: &mut SqliteConnection, which: WhichHolds<'_>) -> Result<Vec<HoldRow>, Failure> {
    let mut query = holds::table
        .inner_join(shows::table.on(shows::id.eq(holds::show_id)))
        .select((holds::id, holds::user_id, holds::show_id, shows::currency, holds::created_at, holds::expires_at))
        .into_boxed::<Sqlite>();
    query = match which {
        WhichHolds::One(id) => query.filter(holds::id.eq(id.as_str().to_owned())),
        WhichHolds::List { user_id, now } => {
            let live = query.filter(holds::user_id.eq(user_id.0)).filter(holds::expires_at.gt(now));
            live.order((holds::expires_at, holds::id)).limit(HOLDS_LISTED_MAX)
        }
        WhichHolds::OfUser { user_id, show_id, after } => {
            query = query.filter(holds::user_id.eq(user_id.0)).filter(holds::expires_at.gt(after));
            match show_id {
                Some(show_id) => query.filter(holds::show_id.eq(show_id.0)),
                None => query,
            }
        }
    };
    Ok(query.load(connection)?)
}

fn hold(row: HoldRow, seats: Vec<StoredSeat>) -> Result<Hold, Failure> {
    let (id, user_id, show_id, code, created_at, expires_at) = row;
    if seats.is_empty() {
        return Err(Failure::BadRow("hold_seats"));
    }
    let seat = |(id, row, number, category, price_minor)| -> Result<SoldSeat, Failure> {
        Ok(SoldSeat { id: SeatId(id), row, number: small(number, "number")?, category, price_minor })
    };
    Ok(Hold {
        seats: seats.into_iter().map(seat).collect::<Result<_, _>>()?,
        id: hold_id(&id)?,
        user_id: UserId(user_id),
        show_id: ShowId(show_id),
        currency: currency(&code)?,
        created_at: instant(created_at, "created_at")?,
        expires_at: instant(expires_at, "expires_at")?,
    })
}

/// Id, row, number, category and price.
type StoredSeat = (i64, String, i64, String, i64);

fn seats_of_hold(connection: &mut SqliteConnection, id: &str) -> Result<Vec<StoredSeat>, Failure> {
    let rows = hold_seats::table
        .inner_join(seats::table.on(seats::id.eq(hold_seats::seat_id)))
        .filter(hold_seats::hold_id.eq(id))
        .select((seats::id, seats::row_label, seats::number, hold_seats::category, hold_seats::price_minor))
        .order(hold_seats::position)
        .load(connection)?;
    Ok(rows)
}
