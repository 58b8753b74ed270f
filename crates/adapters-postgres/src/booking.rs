//! Reading holds and bookings.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz};
use domain::StoreError;
use domain::booking::{
    Booking, BookingCursor, BookingFilter, BookingStore, HOLDS_LISTED_MAX, Hold, HoldId, HoldStore, When,
};
use domain::ids::{BookingId, ShowId, UserId};
use domain::page::{Filling, PageRequest};
use domain::random::Reference;

use crate::error::bad_row;
use crate::rows::{booking_state, currency, hold_id, listed, sold_seats};
use crate::statement::{bind, statement};
use crate::store::PostgresStore;

type BookingColumns = (
    BigInt,
    Text,
    BigInt,
    Text,
    Text,
    Timestamptz,
    Nullable<Timestamptz>,
    Text,
    Text,
    Text,
    Timestamptz,
    Array<BigInt>,
    Array<Text>,
    Array<Integer>,
    Array<Text>,
    Array<BigInt>,
);
type BookingRow = (
    i64,
    String,
    i64,
    String,
    String,
    DateTime<Utc>,
    Option<DateTime<Utc>>,
    String,
    String,
    String,
    DateTime<Utc>,
    Vec<i64>,
    Vec<String>,
    Vec<i32>,
    Vec<String>,
    Vec<i64>,
);

macro_rules! booking_columns {
    ($page:literal) => {
        concat!(
            "WITH page AS (SELECT b.* FROM bookings b JOIN shows s ON s.id = b.show_id ",
            $page,
            ")
            SELECT b.id, b.reference, b.show_id, b.status, b.currency, b.booked_at, b.cancelled_at, m.title, t.name,
                h.name, s.start_time, sold.seat_ids, sold.row_labels, sold.numbers, sold.categories, sold.prices
            FROM page b
            JOIN shows s ON s.id = b.show_id
            JOIN movies m ON m.id = s.movie_id
            JOIN theatres t ON t.id = s.theatre_id
            JOIN halls h ON h.id = s.hall_id
            CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(bs.seat_id ORDER BY bs.position), '{}') AS seat_ids,
                    coalesce(array_agg(seats.row_label ORDER BY bs.position), '{}') AS row_labels,
                    coalesce(array_agg(seats.number ORDER BY bs.position), '{}') AS numbers,
                    coalesce(array_agg(bs.category ORDER BY bs.position), '{}') AS categories,
                    coalesce(array_agg(bs.price_minor ORDER BY bs.position), '{}') AS prices
                FROM booking_seats bs JOIN seats ON seats.id = bs.seat_id WHERE bs.booking_id = b.id
            ) sold
            ORDER BY b.booked_at DESC, b.id DESC"
        )
    };
}

statement!(ListBookings: BookingColumns = booking_columns!("
    WHERE b.user_id = $1
      AND ($2::text IS NULL OR b.status = $2)
      AND ($3::boolean IS NULL OR (s.start_time > now()) = $3)
      AND ($4::timestamptz IS NULL OR (b.booked_at, b.id) < ($4, $5::bigint))
    ORDER BY b.booked_at DESC, b.id DESC
    LIMIT $6"));
statement!(OneBooking: BookingColumns = booking_columns!("WHERE b.user_id = $1 AND b.id = $2"));

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
            let place = |row: &BookingRow| BookingCursor { booked_at: row.5, id: BookingId(row.0) };
            filling.add(rows, place, |row| listed("bookings", row.0, booking(user_id, row)));
        }
        Ok(filling.into_items())
    }

    async fn booking(&self, user_id: UserId, id: BookingId) -> Result<Option<Booking>, StoreError> {
        let rows: Vec<BookingRow> = self.load(bind!(OneBooking, BigInt = user_id.0, BigInt = id.0)).await?;
        rows.into_iter().next().map(|row| booking(user_id, row)).transpose()
    }
}

fn booking(user_id: UserId, row: BookingRow) -> Result<Booking, StoreError> {
    let (id, reference, show_id, status, code, booked_at, cancelled_at, movie_title, theatre_name, hall_name, ..) = row;
    let (start_time, seat_ids, row_labels, numbers, categories, prices) =
        (row.10, row.11, row.12, row.13, row.14, row.15);
    Ok(Booking {
        id: BookingId(id),
        reference: Reference::parse(&reference).map_err(bad_row)?,
        user_id,
        show_id: ShowId(show_id),
        seats: sold_seats(seat_ids, row_labels, numbers, categories, prices)?,
        state: booking_state(&status, cancelled_at)?,
        currency: currency(&code)?,
        booked_at,
        movie_title,
        theatre_name,
        hall_name,
        start_time,
    })
}

statement!(ListHolds: (
    Text, BigInt, Text, Timestamptz, Timestamptz, Array<BigInt>, Array<Text>, Array<Integer>, Array<Text>, Array<BigInt>
) = "
    SELECT h.id, h.show_id, s.currency, h.created_at, h.expires_at, kept.seat_ids, kept.row_labels, kept.numbers,
        kept.categories, kept.prices
    FROM holds h
    JOIN shows s ON s.id = h.show_id
    CROSS JOIN LATERAL (
        SELECT coalesce(array_agg(hs.seat_id ORDER BY hs.position), '{}') AS seat_ids,
            coalesce(array_agg(seats.row_label ORDER BY hs.position), '{}') AS row_labels,
            coalesce(array_agg(seats.number ORDER BY hs.position), '{}') AS numbers,
            coalesce(array_agg(hs.category ORDER BY hs.position), '{}') AS categories,
            coalesce(array_agg(hs.price_minor ORDER BY hs.position), '{}') AS prices
        FROM hold_seats hs JOIN seats ON seats.id = hs.seat_id WHERE hs.hold_id = h.id
    ) kept
    WHERE h.user_id = $1 AND ($2::text IS NULL OR h.id = $2) AND h.expires_at > now()
    ORDER BY h.expires_at, h.id
    LIMIT $3");

type HoldRow =
    (String, i64, String, DateTime<Utc>, DateTime<Utc>, Vec<i64>, Vec<String>, Vec<i32>, Vec<String>, Vec<i64>);

#[async_trait]
impl HoldStore for PostgresStore {
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError> {
        let rows: Vec<HoldRow> = self
            .load(bind!(ListHolds, BigInt = user_id.0, Nullable<Text> = None::<String>, BigInt = HOLDS_LISTED_MAX))
            .await?;
        // Named by its owner and show: a hold's id is secret.
        let named = |row: &HoldRow| format!("of user {user_id}, show {}", row.1);
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
    let (id, show_id, code, created_at, expires_at, seat_ids, row_labels, numbers, categories, prices) = row;
    Ok(Hold {
        id: hold_id(&id)?,
        user_id,
        show_id: ShowId(show_id),
        seats: sold_seats(seat_ids, row_labels, numbers, categories, prices)?,
        currency: currency(&code)?,
        created_at,
        expires_at,
    })
}
