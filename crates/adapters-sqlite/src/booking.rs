//! The booking path's reads and writes, and the history.

use std::collections::HashMap;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::booking::{
    BatchState, BatchStore, Booking, BookingFilter, BookingIdBlock, BookingPlace, BookingStatus, BookingStore, Changes,
    ClaimRow, ExpectedHold, Fingerprint, KeyName, KeyRow, Named, NewClaim, NewKey, NewOutboxEvent, SeatOffer,
    ShowGuard, ShowOffer, SoldSeat, StoredAnswer, UserGuard, UserRow, When, WriteError,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, ShowId, UserId};
use domain::page::PageRequest;
use domain::random::{OperationId, Reference};
use domain::seating::ClaimStatus;

use crate::failure::{Failure, write_error};
use crate::row::{currency, instant, micros, parsed, small};
use crate::schema::{
    booking_seats, bookings, halls, id_blocks, idempotency_keys, movies, outbox, seat_claims, seats, show_prices,
    shows, theatres, users,
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

    async fn read(&self, named: &Named) -> Result<BatchState, StoreError> {
        let (named, clock) = (named.clone(), self.clock());
        Ok(self.read_on_writer(move |connection| batch_state(connection, named, clock.now())).await?)
    }

    async fn write(&self, changes: &Changes) -> Result<(), WriteError> {
        let (changes, clock) = (changes.clone(), self.clock());
        let written = self.write(move |connection| write_changes(connection, &changes, clock.now()));
        written.await.map_err(write_error)
    }
}

/// Reads each row that is named by its key.
fn batch_state(connection: &mut SqliteConnection, named: Named, now: i64) -> Result<BatchState, Failure> {
    let mut state = BatchState {
        now: instant(now, "now")?,
        keys: HashMap::new(),
        users: HashMap::new(),
        shows: HashMap::new(),
        seats: HashMap::new(),
        claims: HashMap::new(),
    };
    let Named { keys, users, shows, seats } = named;
    for name in keys {
        if let Some(row) = key_row(connection, &name)? {
            state.keys.insert(name, row);
        }
    }
    for id in users {
        let generation: Option<i64> =
            users::table.find(id.0).select(users::session_generation).first(connection).optional()?;
        if let Some(session_generation) = generation {
            state.users.insert(id, UserRow { session_generation });
        }
    }
    for id in shows {
        if let Some(offer) = show_offer(connection, id)? {
            state.shows.insert(id, offer);
        }
    }
    for (show_id, seat_id) in seats {
        if let Some(offer) = seat_offer(connection, show_id, seat_id)? {
            state.seats.insert((show_id, seat_id), offer);
        }
        if let Some(claim) = claim_row(connection, show_id, seat_id)? {
            state.claims.insert((show_id, seat_id), claim);
        }
    }
    Ok(state)
}

/// Fingerprint, operation id, booking and answer.
type StoredKey = (Vec<u8>, Vec<u8>, i64, Option<Vec<u8>>);

fn key_row(connection: &mut SqliteConnection, name: &KeyName) -> Result<Option<KeyRow>, Failure> {
    let row: Option<StoredKey> = idempotency_keys::table
        .find((name.user_id.0, name.scope.0.as_str(), name.key.as_str()))
        .select((
            idempotency_keys::fingerprint,
            idempotency_keys::operation_id,
            idempotency_keys::booking_id,
            idempotency_keys::answer,
        ))
        .first(connection)
        .optional()?;
    let Some((fingerprint, operation_id, booking_id, answer)) = row else { return Ok(None) };
    Ok(Some(KeyRow {
        fingerprint: Fingerprint(parsed(fingerprint.try_into(), "fingerprint")?),
        operation_id: OperationId(parsed(operation_id.try_into(), "operation_id")?),
        booking_id: BookingId(booking_id),
        answer: answer.map(|body| StoredAnswer { body: body.into() }),
    }))
}

fn show_offer(connection: &mut SqliteConnection, id: ShowId) -> Result<Option<ShowOffer>, Failure> {
    let row: Option<(i64, String, i64, String, String, String, String)> = shows::table
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .filter(shows::id.eq(id.0))
        .select((
            shows::layout_id,
            shows::status,
            shows::start_time,
            shows::currency,
            movies::title,
            theatres::name,
            halls::name,
        ))
        .first(connection)
        .optional()?;
    let Some((layout_id, status, start_time, code, movie_title, theatre_name, hall_name)) = row else {
        return Ok(None);
    };
    Ok(Some(ShowOffer {
        layout_id: LayoutId(layout_id),
        status: parsed(ShowStatus::parse(&status), "status")?,
        start_time: instant(start_time, "start_time")?,
        currency: currency(&code)?,
        movie_title,
        theatre_name,
        hall_name,
    }))
}

/// A seat of the show's layout whose category has a price.
fn seat_offer(
    connection: &mut SqliteConnection,
    show_id: ShowId,
    seat_id: SeatId,
) -> Result<Option<SeatOffer>, Failure> {
    let priced = show_prices::show_id.eq(shows::id).and(show_prices::category.eq(seats::category));
    let row: Option<(String, i64, String, i64)> = shows::table
        .inner_join(seats::table.on(seats::layout_id.eq(shows::layout_id)))
        .inner_join(show_prices::table.on(priced))
        .filter(shows::id.eq(show_id.0))
        .filter(seats::id.eq(seat_id.0))
        .select((seats::row_label, seats::number, seats::category, show_prices::price_minor))
        .first(connection)
        .optional()?;
    let Some((row, number, category, price_minor)) = row else { return Ok(None) };
    Ok(Some(SeatOffer { row, number: small(number, "number")?, category, price_minor }))
}

fn claim_row(connection: &mut SqliteConnection, show_id: ShowId, seat_id: SeatId) -> Result<Option<ClaimRow>, Failure> {
    let row: Option<(String, Option<String>, Option<i64>)> = seat_claims::table
        .find((show_id.0, seat_id.0))
        .select((seat_claims::status, seat_claims::hold_id, seat_claims::expires_at))
        .first(connection)
        .optional()?;
    let Some((status, hold_id, expires_at)) = row else { return Ok(None) };
    Ok(Some(ClaimRow {
        status: parsed(ClaimStatus::parse(&status), "status")?,
        hold_id,
        expires_at: expires_at.map(|expires_at| instant(expires_at, "expires_at")).transpose()?,
    }))
}

/// Writes in the order of the fields. Nobody else writes meanwhile: what is checked stays so until the commit.
fn write_changes(connection: &mut SqliteConnection, changes: &Changes, now: i64) -> Result<(), Failure> {
    // All of them, so that a field that is added is written too.
    let Changes { at, shows, users, keys, bookings, expired_holds, claims, outbox } = changes;
    let at = micros(*at);
    shows.iter().try_for_each(|guard| check_show(connection, guard))?;
    users.iter().try_for_each(|guard| check_user(connection, guard))?;
    keys.iter().try_for_each(|key| insert_key(connection, key, at))?;
    bookings.iter().try_for_each(|booking| insert_booking(connection, booking))?;
    expired_holds.iter().try_for_each(|hold| delete_expired(connection, hold, now))?;
    claims.iter().try_for_each(|claim| insert_claim(connection, claim))?;
    outbox.iter().try_for_each(|event| insert_event(connection, event, at))
}

fn check_show(connection: &mut SqliteConnection, guard: &ShowGuard) -> Result<(), Failure> {
    let status: Option<String> =
        shows::table.find(guard.show_id.0).select(shows::status).first(connection).optional()?;
    if status.as_deref() == Some(ShowStatus::Scheduled.as_str()) {
        Ok(())
    } else {
        Err(Failure::Stale("a show does not take place any more"))
    }
}

fn check_user(connection: &mut SqliteConnection, guard: &UserGuard) -> Result<(), Failure> {
    let generation: Option<i64> =
        users::table.find(guard.user_id.0).select(users::session_generation).first(connection).optional()?;
    if generation == Some(guard.session_generation) {
        Ok(())
    } else {
        Err(Failure::Stale("the sessions of an account were ended"))
    }
}

fn insert_key(connection: &mut SqliteConnection, key: &NewKey, at: i64) -> Result<(), Failure> {
    diesel::insert_into(idempotency_keys::table)
        .values((
            idempotency_keys::user_id.eq(key.name.user_id.0),
            idempotency_keys::scope.eq(key.name.scope.0.as_str()),
            idempotency_keys::key.eq(key.name.key.as_str()),
            idempotency_keys::fingerprint.eq(&key.fingerprint.0[..]),
            idempotency_keys::operation_id.eq(&key.operation_id.0[..]),
            idempotency_keys::booking_id.eq(key.booking_id.0),
            idempotency_keys::answer.eq(&key.answer[..]),
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
            bookings::status.eq(booking.status.as_str()),
            bookings::currency.eq(booking.currency.code()),
            bookings::booked_at.eq(micros(booking.booked_at)),
            bookings::cancelled_at.eq(booking.cancelled_at.map(micros)),
        ))
        .execute(connection)?;
    for (position, seat) in (1_i64..).zip(&booking.seats) {
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

fn delete_expired(connection: &mut SqliteConnection, hold: &ExpectedHold, now: i64) -> Result<(), Failure> {
    let expired = seat_claims::table
        .find((hold.show_id.0, hold.seat_id.0))
        .filter(seat_claims::status.eq(ClaimStatus::Held.as_str()))
        .filter(seat_claims::hold_id.eq(hold.hold_id.as_str()))
        .filter(seat_claims::expires_at.le(now));
    let deleted = diesel::delete(expired).execute(connection)?;
    if deleted == 1 { Ok(()) } else { Err(Failure::Stale("a hold that ran out is not there as it was")) }
}

fn insert_claim(connection: &mut SqliteConnection, claim: &NewClaim) -> Result<(), Failure> {
    diesel::insert_into(seat_claims::table)
        .values((
            seat_claims::show_id.eq(claim.show_id.0),
            seat_claims::seat_id.eq(claim.seat_id.0),
            seat_claims::layout_id.eq(claim.layout_id.0),
            seat_claims::status.eq(ClaimStatus::Booked.as_str()),
            seat_claims::user_id.eq(claim.user_id.0),
            seat_claims::booking_id.eq(claim.booking_id.0),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_event(connection: &mut SqliteConnection, event: &NewOutboxEvent, at: i64) -> Result<(), Failure> {
    diesel::insert_into(outbox::table)
        .values((
            outbox::kind.eq(event.kind.as_str()),
            outbox::show_id.eq(event.show_id.0),
            outbox::booking_id.eq(event.booking_id.0),
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
        page: &PageRequest<BookingPlace>,
    ) -> Result<Vec<Booking>, StoreError> {
        let (which, clock) = (Which::Page(*filter, page.clone()), self.clock());
        Ok(self.read(move |connection| bookings_of(connection, user_id, which, clock.now())).await?)
    }

    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError> {
        let clock = self.clock();
        let found = self.read(move |connection| bookings_of(connection, user_id, Which::One(id), clock.now()));
        Ok(found.await?.pop())
    }
}

/// Which of a user's bookings are read.
enum Which {
    One(BookingId),
    Page(BookingFilter, PageRequest<BookingPlace>),
}

/// A booking without its seats. In the order of [`bookings_of`].
#[derive(Queryable)]
struct BookingRow {
    booking: (i64, String, i64, i64, String, String, i64, Option<i64>),
    names: (String, String, String, i64),
}

fn bookings_of(
    connection: &mut SqliteConnection,
    user_id: UserId,
    which: Which,
    now: i64,
) -> Result<Vec<Booking>, Failure> {
    let booking = (bookings::id, bookings::reference, bookings::user_id, bookings::show_id, bookings::status);
    let (id, reference, user, show, status) = booking;
    let mut query = bookings::table
        .inner_join(shows::table.on(shows::id.eq(bookings::show_id)))
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .filter(bookings::user_id.eq(user_id.0))
        .select((
            (id, reference, user, show, status, bookings::currency, bookings::booked_at, bookings::cancelled_at),
            (movies::title, theatres::name, halls::name, shows::start_time),
        ))
        .into_boxed::<Sqlite>();
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
            if let Some(BookingPlace { booked_at, id }) = page.after {
                let at = micros(booked_at);
                let behind = bookings::booked_at.eq(at).and(bookings::id.lt(id.0));
                query = query.filter(bookings::booked_at.lt(at).or(behind));
            }
            query = query.order((bookings::booked_at.desc(), bookings::id.desc())).limit(page.rows());
        }
    }
    let rows: Vec<BookingRow> = query.load(connection)?;
    with_seats(connection, rows)
}

fn with_seats(connection: &mut SqliteConnection, rows: Vec<BookingRow>) -> Result<Vec<Booking>, Failure> {
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
    let mut seats_of: HashMap<i64, Vec<SoldSeat>> = HashMap::new();
    for (booking_id, id, row, number, category, price_minor) in sold {
        let seat = SoldSeat { id: SeatId(id), row, number: small(number, "number")?, category, price_minor };
        seats_of.entry(booking_id).or_default().push(seat);
    }
    rows.into_iter()
        .map(|row| {
            let seats = seats_of.remove(&row.booking.0).ok_or(Failure::BadRow("booking_seats"))?;
            booking(row, seats)
        })
        .collect()
}

fn booking(row: BookingRow, seats: Vec<SoldSeat>) -> Result<Booking, Failure> {
    let (id, reference, user_id, show_id, status, code, booked_at, cancelled_at) = row.booking;
    let (movie_title, theatre_name, hall_name, start_time) = row.names;
    Ok(Booking {
        id: BookingId(id),
        reference: parsed(Reference::parse(&reference), "reference")?,
        user_id: UserId(user_id),
        show_id: ShowId(show_id),
        seats,
        status: parsed(BookingStatus::parse(&status), "status")?,
        currency: currency(&code)?,
        booked_at: instant(booked_at, "booked_at")?,
        cancelled_at: cancelled_at.map(|at| instant(at, "cancelled_at")).transpose()?,
        movie_title,
        theatre_name,
        hall_name,
        start_time: instant(start_time, "start_time")?,
    })
}
