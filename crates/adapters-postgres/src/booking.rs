//! Reads holds and bookings.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Untyped};
use domain::StoreError;
use domain::admin::{StaffBooking, StaffBookingFilter, StaffBookingStore};
use domain::booking::{
    Booking, BookingCursor, BookingFilter, BookingStore, HOLDS_LISTED_MAX, Hold, HoldId, HoldStore, When,
};
use domain::ids::{BookingId, ShowId, TheatreId, UserId};
use domain::page::{Filling, PageRequest};
use domain::random::Reference;

use crate::catalog::window_columns;
use crate::error::bad_row;
use crate::rows::{SoldSeatColumns, booking_state, currency, hold_id, listed, sale, sold_seat_columns, tax_rate};
use crate::schema::{bookings, holds};
use crate::statement::{bind, statement};
use crate::store::PostgresStore;

#[derive(QueryableByName)]
#[diesel(table_name = bookings)]
struct BookingRow {
    id: i64,
    reference: String,
    user_id: i64,
    show_id: i64,
    status: String,
    currency: String,
    booked_at: DateTime<Utc>,
    cancelled_at: Option<DateTime<Utc>>,
    channel: String,
    payment_kind: Option<String>,
    #[diesel(sql_type = Integer)]
    tax_basis_points: i32,
    #[diesel(sql_type = Text)]
    movie_title: String,
    #[diesel(sql_type = Text)]
    theatre_name: String,
    #[diesel(sql_type = Text)]
    hall_name: String,
    #[diesel(sql_type = Timestamptz)]
    start_time: DateTime<Utc>,
    #[diesel(embed)]
    seats: SoldSeatColumns,
}

macro_rules! booking_columns {
    ($page:literal) => {
        concat!(
            "WITH page AS (SELECT b.* FROM bookings b JOIN shows s ON s.id = b.show_id ",
            $page,
            ")
            SELECT b.id, b.reference, b.user_id, b.show_id, b.status, b.currency, b.booked_at, b.cancelled_at,
                b.channel, b.payment_kind, coalesce(b.tax_basis_points, t.tax_basis_points) AS tax_basis_points,
                m.title AS movie_title, t.name AS theatre_name, h.name AS hall_name, s.start_time, sold.*
            FROM page b
            JOIN shows s ON s.id = b.show_id
            JOIN movies m ON m.id = s.movie_id
            JOIN theatres t ON t.id = s.theatre_id
            JOIN halls h ON h.id = s.hall_id
            CROSS JOIN LATERAL (",
            sold_seat_columns!("booking_seats", "sold.booking_id = b.id"),
            ") sold
            ORDER BY b.booked_at DESC, b.id DESC"
        )
    };
}

statement!(ListBookings: Untyped = booking_columns!("
    WHERE b.user_id = $1
      AND ($2::text IS NULL OR b.status = $2)
      AND ($3::boolean IS NULL OR (s.start_time > now()) = $3)
      AND ($4::timestamptz IS NULL OR (b.booked_at, b.id) < ($4, $5::bigint))
    ORDER BY b.booked_at DESC, b.id DESC
    LIMIT $6"));
statement!(OneBooking: Untyped = booking_columns!("WHERE b.user_id = $1 AND b.id = $2"));

#[async_trait]
impl BookingStore for PostgresStore {
    async fn bookings(
        &self,
        user_id: UserId,
        filter: &BookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<Booking>, StoreError> {
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<BookingRow> = self
                .load(bind!(
                    ListBookings,
                    BigInt = user_id.0,
                    Nullable<Text> = filter.status.map(|status| status.as_str().to_owned()),
                    Nullable<Bool> = filter.when.map(|when| when == When::Upcoming),
                    Nullable<Timestamptz> = page.after.map(|place| place.booked_at),
                    Nullable<BigInt> = page.after.map(|place| place.id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &BookingRow| BookingCursor { booked_at: row.booked_at, id: BookingId(row.id) };
            filling.add(rows, place, |row| listed("bookings", row.id, booking(row)));
        }
        Ok(filling.into_items())
    }

    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError> {
        let rows: Vec<BookingRow> = self.load(bind!(OneBooking, BigInt = user_id.0, BigInt = id.0)).await?;
        rows.into_iter().next().map(booking).transpose()
    }
}

fn booking(row: BookingRow) -> Result<Booking, StoreError> {
    Ok(Booking {
        id: BookingId(row.id),
        reference: Reference::parse(&row.reference).map_err(bad_row)?,
        user_id: UserId(row.user_id),
        show_id: ShowId(row.show_id),
        seats: row.seats.seats()?,
        state: booking_state(&row.status, row.cancelled_at)?,
        sale: sale(&row.channel, row.payment_kind.as_deref())?,
        currency: currency(&row.currency)?,
        tax_rate: tax_rate(row.tax_basis_points)?,
        booked_at: row.booked_at,
        movie_title: row.movie_title,
        theatre_name: row.theatre_name,
        hall_name: row.hall_name,
        start_time: row.start_time,
    })
}

// The customer and the theatre of a booking.
macro_rules! staff_booking_columns {
    ($page:literal) => {
        concat!(
            "SELECT found.*, u.name AS customer_name, u.email AS customer_email, s.theatre_id FROM (",
            booking_columns!($page),
            ") found JOIN users u ON u.id = found.user_id JOIN shows s ON s.id = found.show_id
            ORDER BY found.booked_at DESC, found.id DESC"
        )
    };
}

statement!(ListStaffBookings: Untyped = staff_booking_columns!("
    JOIN users u ON u.id = b.user_id
    WHERE ($1::text IS NULL OR position($1 IN coalesce(u.name_folded, lower(u.name))) > 0
        OR position($1 IN u.email_folded) > 0 OR b.reference = $2)
      AND ($3::bigint IS NULL OR b.show_id = $3)
      AND ($4::text IS NULL OR b.status = $4)
      AND ($5::bigint[] IS NULL OR s.theatre_id = ANY ($5))
      AND ($6::bigint[] IS NULL OR EXISTS (
            SELECT 1 FROM unnest($6, $7::timestamptz[], $8::timestamptz[]) AS during (theatre_id, from_time, to_time)
            WHERE during.theatre_id = s.theatre_id
                AND s.start_time >= during.from_time AND s.start_time < during.to_time))
      AND ($9::timestamptz IS NULL OR (b.booked_at, b.id) < ($9, $10::bigint))
    ORDER BY b.booked_at DESC, b.id DESC
    LIMIT $11"));
statement!(OneStaffBooking: Untyped = staff_booking_columns!("WHERE b.id = $1"));

#[derive(QueryableByName)]
struct StaffBookingRow {
    #[diesel(embed)]
    booking: BookingRow,
    #[diesel(sql_type = Text)]
    customer_name: String,
    #[diesel(sql_type = Text)]
    customer_email: String,
    #[diesel(sql_type = BigInt)]
    theatre_id: i64,
}

fn staff_booking(row: StaffBookingRow) -> Result<StaffBooking, StoreError> {
    Ok(StaffBooking {
        booking: booking(row.booking)?,
        theatre_id: TheatreId(row.theatre_id),
        customer_name: row.customer_name,
        customer_email: row.customer_email,
    })
}

#[async_trait]
impl StaffBookingStore for PostgresStore {
    async fn staff_bookings(
        &self,
        filter: &StaffBookingFilter,
        page: &PageRequest<BookingCursor>,
    ) -> Result<Vec<StaffBooking>, StoreError> {
        let StaffBookingFilter { search, reference, show_id, during, status, theatres } = filter;
        let theatres = theatres.as_ref().map(|ids| ids.iter().map(|id| id.0).collect::<Vec<_>>());
        let (window_theatres, from, to) = window_columns(during.as_deref());
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<StaffBookingRow> = self
                .load(bind!(
                    ListStaffBookings,
                    Nullable<Text> = search.clone(),
                    Nullable<Text> = reference.clone(),
                    Nullable<BigInt> = show_id.map(|id| id.0),
                    Nullable<Text> = status.map(|status| status.as_str().to_owned()),
                    Nullable<Array<BigInt>> = theatres.clone(),
                    Nullable<Array<BigInt>> = window_theatres.clone(),
                    Nullable<Array<Timestamptz>> = from.clone(),
                    Nullable<Array<Timestamptz>> = to.clone(),
                    Nullable<Timestamptz> = page.after.map(|place| place.booked_at),
                    Nullable<BigInt> = page.after.map(|place| place.id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &StaffBookingRow| BookingCursor {
                booked_at: row.booking.booked_at,
                id: BookingId(row.booking.id),
            };
            filling.add(rows, place, |row| listed("bookings", row.booking.id, staff_booking(row)));
        }
        Ok(filling.into_items())
    }

    async fn staff_booking(&self, id: BookingId) -> Result<Option<StaffBooking>, StoreError> {
        let row: Option<StaffBookingRow> = self.first(bind!(OneStaffBooking, BigInt = id.0)).await?;
        row.map(staff_booking).transpose()
    }
}

statement!(ListHolds: Untyped = concat!("
    SELECT h.id, h.show_id, s.currency, h.created_at, h.expires_at, kept.*
    FROM holds h
    JOIN shows s ON s.id = h.show_id
    CROSS JOIN LATERAL (", sold_seat_columns!("hold_seats", "sold.hold_id = h.id"), ") kept
    WHERE h.user_id = $1 AND ($2::text IS NULL OR h.id = $2) AND h.expires_at > now()
    ORDER BY h.expires_at, h.id
    LIMIT $3"));

#[derive(QueryableByName)]
#[diesel(table_name = holds)]
struct HoldRow {
    id: String,
    show_id: i64,
    #[diesel(sql_type = Text)]
    currency: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    #[diesel(embed)]
    seats: SoldSeatColumns,
}

#[async_trait]
impl HoldStore for PostgresStore {
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError> {
        let rows: Vec<HoldRow> = self
            .load(bind!(ListHolds, BigInt = user_id.0, Nullable<Text> = None::<String>, BigInt = HOLDS_LISTED_MAX))
            .await?;
        // Logged by owner and show, because the id of a hold is secret.
        let named = |row: &HoldRow| format!("of user {user_id}, show {}", row.show_id);
        Ok(rows.into_iter().filter_map(|row| listed("holds", named(&row), hold(user_id, row))).collect())
    }

    async fn hold(&self, user_id: UserId, id: &HoldId) -> Result<Option<Hold>, StoreError> {
        let one = Some(id.as_str().to_owned());
        let row: Option<HoldRow> =
            self.first(bind!(ListHolds, BigInt = user_id.0, Nullable<Text> = one, BigInt = HOLDS_LISTED_MAX)).await?;
        row.map(|row| hold(user_id, row)).transpose()
    }
}

fn hold(user_id: UserId, row: HoldRow) -> Result<Hold, StoreError> {
    Ok(Hold {
        id: hold_id(&row.id)?,
        user_id,
        show_id: ShowId(row.show_id),
        seats: row.seats.seats()?,
        currency: currency(&row.currency)?,
        created_at: row.created_at,
        expires_at: row.expires_at,
    })
}
