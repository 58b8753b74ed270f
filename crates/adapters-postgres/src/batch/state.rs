//! Reading a batch: rows of every kind become the state that is decided on.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::StoreError;
use domain::booking::{
    BatchState, Booking, BookingState, ClaimRow, Fingerprint, Hold, HoldId, IdempotencyKey, KeyName, KeyRow, Made,
    Scope, ShowOffer, SoldSeat, StoredAnswer, UserRow,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use domain::money::Currency;
use domain::random::{OperationId, Reference};
use domain::seating::ClaimStatus;

use crate::error::bad_row;
use crate::rows::{booking_state, currency, hold_id};

/// A row of the read, as `ReadColumns` has its columns.
pub(super) type ReadRow = (
    i16,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<i64>,
    Option<DateTime<Utc>>,
    Option<DateTime<Utc>>,
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

/// The parts of a batch's state that come in rows of their own, until all rows are there.
#[derive(Default)]
struct Parts {
    prices: Vec<(ShowId, String, i64)>,
    hold_seats: HashMap<HoldId, Vec<(i64, SoldSeat)>>,
    bookings: Vec<BookingPart>,
    booking_seats: HashMap<BookingId, Vec<(i64, SoldSeat)>>,
}

/// A booking without its seats, and without what its show says.
struct BookingPart {
    id: BookingId,
    reference: Reference,
    user_id: UserId,
    show_id: ShowId,
    state: BookingState,
    currency: Currency,
    booked_at: DateTime<Utc>,
}

/// The state that these rows are.
pub(super) fn batch_state(rows: Vec<ReadRow>) -> Result<BatchState, StoreError> {
    let mut state = BatchState::at(DateTime::UNIX_EPOCH);
    let mut parts = Parts::default();
    for row in rows {
        add(&mut state, &mut parts, row)?;
    }
    for (show_id, category, price_minor) in parts.prices {
        if let Some(show) = state.shows.get_mut(&show_id) {
            show.prices.insert(category, price_minor);
        }
    }
    for (id, seats) in parts.hold_seats {
        if let Some(hold) = state.holds.get_mut(&id) {
            hold.seats = in_order(seats);
        }
    }
    for BookingPart { id, reference, user_id, show_id, state: of_booking, currency, booked_at } in parts.bookings {
        // Whoever names a booking names its show.
        let Some(show) = state.shows.get(&show_id) else { continue };
        let booking = Booking {
            id,
            reference,
            user_id,
            show_id,
            seats: in_order(parts.booking_seats.remove(&id).unwrap_or_default()),
            state: of_booking,
            currency,
            booked_at,
            movie_title: show.movie_title.clone(),
            theatre_name: show.theatre_name.clone(),
            hall_name: show.hall_name.clone(),
            start_time: show.start_time,
        };
        state.bookings.insert(id, booking);
    }
    Ok(state)
}

fn in_order(mut seats: Vec<(i64, SoldSeat)>) -> Vec<SoldSeat> {
    seats.sort_by_key(|(position, _)| *position);
    seats.into_iter().map(|(_, seat)| seat).collect()
}

fn add(state: &mut BatchState, parts: &mut Parts, row: ReadRow) -> Result<(), StoreError> {
    let (kind, a, b, c, d, at, then, late, t1, t2, t3, t4, t5, b1, b2, b3) = row;
    let missing = || bad_row(format!("a row of kind {kind} lacks a column"));
    let (text, number) = (|text: Option<String>| text.ok_or_else(missing), |id: Option<i64>| id.ok_or_else(missing));
    let instant = |at: Option<DateTime<Utc>>| at.ok_or_else(missing);
    match kind {
        0 => state.now = instant(at)?,
        1 => {
            let key = IdempotencyKey::from_stored(text(t2)?);
            let name = KeyName { user_id: UserId(number(a)?), scope: Scope(text(t1)?), key };
            let row = KeyRow {
                fingerprint: Fingerprint(fixed(&b1.ok_or_else(missing)?)?),
                operation_id: OperationId(fixed(&b2.ok_or_else(missing)?)?),
                made: Made::from_stored(b.map(BookingId), hold_id(t3)?).ok_or_else(missing)?,
                answer: b3.map(|body| StoredAnswer { body: body.into() }),
            };
            state.keys.insert(name, row);
        }
        2 => {
            state.users.insert(UserId(number(a)?), UserRow { session_generation: number(b)? });
        }
        3 => {
            let offer = ShowOffer {
                layout_id: LayoutId(number(b)?),
                status: ShowStatus::parse(&text(t1)?).map_err(bad_row)?,
                start_time: instant(at)?,
                sales_open_at: then,
                sales_close_at: late,
                currency: currency(&text(t2)?)?,
                prices: HashMap::new(),
                movie_title: text(t3)?,
                theatre_name: text(t4)?,
                hall_name: text(t5)?,
            };
            state.shows.insert(ShowId(number(a)?), offer);
        }
        4 => parts.prices.push((ShowId(number(a)?), text(t1)?, number(b)?)),
        5 => {
            let status = ClaimStatus::parse(&text(t1)?).map_err(bad_row)?;
            let claim = ClaimRow::from_stored(status, c.map(UserId), d.map(BookingId), hold_id(t2)?.zip(at));
            state.claims.insert((ShowId(number(a)?), SeatId(number(b)?)), claim.map_err(bad_row)?);
        }
        6 => {
            let id = hold_id(t1)?.ok_or_else(missing)?;
            let hold = Hold {
                id: id.clone(),
                user_id: UserId(number(a)?),
                show_id: ShowId(number(b)?),
                seats: Vec::new(),
                currency: currency(&text(t2)?)?,
                created_at: instant(at)?,
                expires_at: instant(then)?,
            };
            state.holds.insert(id, hold);
        }
        7 => {
            let (id, seat_number) = (SeatId(number(a)?), i32::try_from(number(c)?).map_err(bad_row)?);
            let seat =
                SoldSeat { id, row: text(t3)?, number: seat_number, category: text(t2)?, price_minor: number(b)? };
            let hold_id = hold_id(t1)?.ok_or_else(missing)?;
            parts.hold_seats.entry(hold_id).or_default().push((number(d)?, seat));
        }
        8 => parts.bookings.push(BookingPart {
            id: BookingId(number(a)?),
            reference: Reference::parse(&text(t1)?).map_err(bad_row)?,
            user_id: UserId(number(b)?),
            show_id: ShowId(number(c)?),
            state: booking_state(&text(t2)?, then)?,
            currency: currency(&text(t3)?)?,
            booked_at: instant(at)?,
        }),
        9 => {
            let (id, seat_number) = (SeatId(number(b)?), text(t3)?.parse().map_err(bad_row)?);
            let seat =
                SoldSeat { id, row: text(t2)?, number: seat_number, category: text(t1)?, price_minor: number(c)? };
            parts.booking_seats.entry(BookingId(number(a)?)).or_default().push((number(d)?, seat));
        }
        10 => {
            state.sessions.insert(SessionId(number(a)?), UserId(number(b)?));
        }
        _ => return Err(missing()),
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| bad_row(format!("{} bytes where {N} belong", bytes.len())))
}
