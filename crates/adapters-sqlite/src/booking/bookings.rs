//! Reads bookings.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::admin::{StaffBooking, StaffBookingFilter, StaffBookingStore};
use domain::booking::{
    Booking, BookingCursor, BookingFilter, BookingState, BookingStatus, BookingStore, Sale, SoldSeat, When,
};
use domain::ids::{BookingId, SeatId, ShowId, TheatreId, UserId};
use domain::page::{Filling, PageRequest};
use domain::random::Reference;

use crate::catalog::starts_during;
use crate::failure::Failure;
use crate::row::{currency, instant, listed, micros, parsed, small, tax_rate, ticket_type};
use crate::schema::{booking_seats, bookings, halls, movies, seats, shows, theatres, users};
use crate::store::SqliteStore;

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

#[async_trait]
impl StaffBookingStore for SqliteStore {
    async fn staff_bookings(
        &self,
        filter: &StaffBookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<StaffBooking>, StoreError> {
        let (filter, mut filling, clock) = (filter.clone(), Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = bookings_of(connection, None, Which::OfStaff(filter.clone(), page), now)?;
                let mut seats_of = seats_of(connection, &rows)?;
                let mut customers = customers_of(connection, &rows)?;
                filling.add(rows, BookingRow::place, |row| {
                    listed("bookings", row.booking.0, staff_booking(row, &mut seats_of, &mut customers))
                });
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn staff_booking(&self, id: BookingId) -> Result<Option<StaffBooking>, StoreError> {
        let clock = self.clock();
        let found = self.read(move |connection| {
            let rows = bookings_of(connection, None, Which::One(id), clock.now())?;
            let mut seats_of = seats_of(connection, &rows)?;
            let mut customers = customers_of(connection, &rows)?;
            rows.into_iter().next().map(|row| staff_booking(row, &mut seats_of, &mut customers)).transpose()
        });
        Ok(found.await?)
    }
}

/// The theatre of each booking, and the name and the address of its customer.
type CustomersOf = HashMap<i64, (i64, String, String)>;

fn customers_of(connection: &mut SqliteConnection, rows: &[BookingRow]) -> Result<CustomersOf, Failure> {
    let ids: Vec<i64> = rows.iter().map(|row| row.booking.0).collect();
    let found: Vec<(i64, (i64, String, String))> = bookings::table
        .inner_join(users::table.on(users::id.eq(bookings::user_id)))
        .inner_join(shows::table.on(shows::id.eq(bookings::show_id)))
        .filter(bookings::id.eq_any(ids))
        .select((bookings::id, (shows::theatre_id, users::name, users::email)))
        .load(connection)?;
    Ok(found.into_iter().collect())
}

fn staff_booking(
    row: BookingRow,
    seats_of: &mut SeatsOf,
    customers: &mut CustomersOf,
) -> Result<StaffBooking, Failure> {
    let customer = customers.remove(&row.booking.0).ok_or(Failure::BadRow("user_id"))?;
    let (theatre_id, customer_name, customer_email) = customer;
    let booking = booking(row, seats_of)?;
    Ok(StaffBooking { booking, theatre_id: TheatreId(theatre_id), customer_name, customer_email })
}

/// Selects the bookings to read.
enum Which {
    One(BookingId),
    Page(BookingFilter, PageRequest<BookingCursor>),
    OfStaff(StaffBookingFilter, PageRequest<BookingCursor>),
}

/// A booking without its seats, with its columns in the order of [`bookings_of`].
#[derive(Queryable)]
struct BookingRow {
    booking: (i64, String, i64, i64, String, String, i64, Option<i64>),
    sale: (String, Option<String>),
    names: (String, String, String, i64),
    /// The rate of the sale, and that of the theatre.
    tax: (Option<i64>, i64),
}

/// Reads one booking; of any user unless `user_id` is given.
pub(super) fn one_booking(
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
    /// Returns the booking's position in the list. An invalid time sorts first, and the booking is left out.
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
            (bookings::channel, bookings::payment_kind),
            (movies::title, theatres::name, halls::name, shows::start_time),
            (bookings::tax_basis_points, theatres::tax_basis_points),
        ))
        .into_boxed::<Sqlite>();
    if let Some(user_id) = user_id {
        query = query.filter(bookings::user_id.eq(user_id.0));
    }
    let page = match which {
        Which::One(id) => {
            query = query.filter(bookings::id.eq(id.0));
            None
        }
        Which::Page(BookingFilter { when, status }, page) => {
            match when {
                Some(When::Upcoming) => query = query.filter(shows::start_time.gt(now)),
                Some(When::Past) => query = query.filter(shows::start_time.le(now)),
                None => {}
            }
            if let Some(status) = status {
                query = query.filter(bookings::status.eq(status.as_str()));
            }
            Some(page)
        }
        Which::OfStaff(filter, page) => {
            let StaffBookingFilter { search, reference, show_id, during, status, theatres } = filter;
            if let Some(part) = search {
                let found = sql::<Bool>("(EXISTS (SELECT 1 FROM users WHERE users.id = bookings.user_id AND (instr(coalesce(users.name_folded, lower(users.name)), ")
                    .bind::<Text, _>(part.clone())
                    .sql(") > 0 OR instr(users.email_folded, ")
                    .bind::<Text, _>(part)
                    .sql(") > 0)) OR bookings.reference = ")
                    .bind::<Nullable<Text>, _>(reference)
                    .sql(")");
                query = query.filter(found);
            }
            if let Some(show) = show_id {
                query = query.filter(bookings::show_id.eq(show.0));
            }
            if let Some(status) = status {
                query = query.filter(bookings::status.eq(status.as_str()));
            }
            if let Some(theatres) = theatres {
                query = query.filter(shows::theatre_id.eq_any(theatres.into_iter().map(|id| id.0)));
            }
            if let Some(windows) = during {
                query = query.filter(starts_during(&windows));
            }
            Some(page)
        }
    };
    if let Some(page) = page {
        if let Some(BookingCursor { booked_at, id }) = page.after {
            let at = micros(booked_at);
            let behind = bookings::booked_at.eq(at).and(bookings::id.lt(id.0));
            query = query.filter(bookings::booked_at.lt(at).or(behind));
        }
        query = query.order((bookings::booked_at.desc(), bookings::id.desc())).limit(page.rows());
    }
    Ok(query.load(connection)?)
}

/// The seats of each booking. A bad seat row spoils only its own booking.
type SeatsOf = HashMap<i64, Result<Vec<SoldSeat>, Failure>>;

fn seats_of(connection: &mut SqliteConnection, rows: &[BookingRow]) -> Result<SeatsOf, Failure> {
    let ids: Vec<i64> = rows.iter().map(|row| row.booking.0).collect();
    let sold: Vec<(i64, i64, String, i64, String, String, i64)> = booking_seats::table
        .inner_join(seats::table.on(seats::id.eq(booking_seats::seat_id)))
        .filter(booking_seats::booking_id.eq_any(ids))
        .select((
            booking_seats::booking_id,
            seats::id,
            seats::row_label,
            seats::number,
            booking_seats::category,
            booking_seats::ticket_type,
            booking_seats::price_minor,
        ))
        .order((booking_seats::booking_id, booking_seats::position))
        .load(connection)?;
    let mut seats_of = SeatsOf::new();
    for (booking_id, id, row, number, category, code, price_minor) in sold {
        let seats = seats_of.entry(booking_id).or_insert_with(|| Ok(Vec::new()));
        match small(number, "number").and_then(|number| Ok((number, ticket_type(&code)?))) {
            Ok((number, ticket_type)) => {
                let seat = SoldSeat { id: SeatId(id), row, number, category, ticket_type, price_minor };
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
    let (channel, payment_kind) = row.sale;
    let status = parsed(BookingStatus::parse(&status), "status")?;
    let cancelled_at = cancelled_at.map(|at| instant(at, "cancelled_at")).transpose()?;
    Ok(Booking {
        id: BookingId(id),
        reference: parsed(Reference::parse(&reference), "reference")?,
        user_id: UserId(user_id),
        show_id: ShowId(show_id),
        seats,
        state: parsed(BookingState::from_stored(status, cancelled_at), "cancelled_at")?,
        sale: parsed(Sale::from_stored(&channel, payment_kind.as_deref()), "payment_kind")?,
        currency: currency(&code)?,
        tax_rate: tax_rate(row.tax.0.unwrap_or(row.tax.1))?,
        booked_at: instant(booked_at, "booked_at")?,
        movie_title,
        theatre_name,
        hall_name,
        start_time: instant(start_time, "start_time")?,
    })
}
