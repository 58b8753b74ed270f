//! Reading a batch: rows of every kind become the state that is decided on.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use domain::StoreError;
use domain::booking::{
    Booking, BookingState, Claim, Fingerprint, Hold, HoldId, IdempotencyKey, KeyName, Scope, ShowOffer, Snapshot,
    SoldSeat, StoredAnswer, StoredKey, StoredUser, Subject, Tenure, TenureKey,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use domain::money::Currency;
use domain::random::{OperationId, Reference};
use domain::seating::ClaimStatus;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;

use crate::error::bad_row;
use crate::rows::{booking_state, currency, hold_id};

/// A row of the batch read: a kind and sixteen columns, of which each kind uses some. The table in `statements.rs` has them.
struct ReadRow<'row>(&'row Row);

impl<'row> ReadRow<'row> {
    /// The index of the first of the columns of each type.
    const NUMBERS: usize = 1;
    const INSTANTS: usize = 5;
    const TEXTS: usize = 8;
    const BYTES: usize = 13;

    fn optional<T: FromSql<'row>>(&self, column: usize) -> Result<Option<T>, StoreError> {
        self.0.try_get(column).map_err(bad_row)
    }

    fn required<T: FromSql<'row>>(&self, column: usize) -> Result<T, StoreError> {
        self.optional(column)?.ok_or_else(|| bad_row(format!("a row of the batch read lacks column {column}")))
    }

    fn kind(&self) -> Result<i16, StoreError> {
        self.required(0)
    }

    fn number(&self, at: usize) -> Result<i64, StoreError> {
        self.required(Self::NUMBERS + at)
    }

    fn optional_number(&self, at: usize) -> Result<Option<i64>, StoreError> {
        self.optional(Self::NUMBERS + at)
    }

    fn instant(&self, at: usize) -> Result<DateTime<Utc>, StoreError> {
        self.required(Self::INSTANTS + at)
    }

    fn optional_instant(&self, at: usize) -> Result<Option<DateTime<Utc>>, StoreError> {
        self.optional(Self::INSTANTS + at)
    }

    fn text(&self, at: usize) -> Result<&'row str, StoreError> {
        self.required(Self::TEXTS + at)
    }

    fn hold_id(&self, at: usize) -> Result<HoldId, StoreError> {
        hold_id(self.text(at)?)
    }

    fn optional_hold_id(&self, at: usize) -> Result<Option<HoldId>, StoreError> {
        let text: Option<&str> = self.optional(Self::TEXTS + at)?;
        text.map(hold_id).transpose()
    }

    fn bytes(&self, at: usize) -> Result<&'row [u8], StoreError> {
        self.required(Self::BYTES + at)
    }

    fn optional_bytes(&self, at: usize) -> Result<Option<&'row [u8]>, StoreError> {
        self.optional(Self::BYTES + at)
    }
}

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
pub(super) fn batch_state(rows: &[Row]) -> Result<Snapshot, StoreError> {
    let mut state = Snapshot::at(DateTime::UNIX_EPOCH);
    let mut parts = Parts::default();
    for row in rows {
        add(&mut state, &mut parts, &ReadRow(row))?;
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
    if state.holds.values().any(|hold| hold.seats.is_empty()) {
        return Err(bad_row("a hold without seats"));
    }
    for BookingPart { id, reference, user_id, show_id, state: of_booking, currency, booked_at } in parts.bookings {
        // Whoever names a booking names its show.
        let Some(show) = state.shows.get(&show_id) else { continue };
        let booking = Booking {
            id,
            reference,
            user_id,
            show_id,
            seats: in_order(parts.booking_seats.remove(&id).ok_or_else(|| bad_row("a booking without seats"))?),
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

fn add(state: &mut Snapshot, parts: &mut Parts, row: &ReadRow<'_>) -> Result<(), StoreError> {
    match row.kind()? {
        0 => state.now = row.instant(0)?,
        1 => {
            let name = KeyName {
                user_id: UserId(row.number(0)?),
                scope: Scope(row.text(0)?.to_owned()),
                key: IdempotencyKey::from_stored(row.text(1)?.to_owned()),
            };
            let booking_id = row.optional_number(1)?.map(BookingId);
            let made = Subject::from_stored(booking_id, row.optional_hold_id(2)?);
            let key = StoredKey {
                fingerprint: Fingerprint(fixed(row.bytes(0)?)?),
                operation_id: OperationId(fixed(row.bytes(1)?)?),
                made: made.ok_or_else(|| bad_row("a key is of a booking or of a hold"))?,
                answer: row.optional_bytes(2)?.map(|body| StoredAnswer { body: body.into() }),
            };
            state.keys.insert(name, key);
        }
        2 => {
            state.users.insert(UserId(row.number(0)?), StoredUser { session_generation: row.number(1)? });
        }
        3 => {
            let offer = ShowOffer {
                layout_id: LayoutId(row.number(1)?),
                status: ShowStatus::parse(row.text(0)?).map_err(bad_row)?,
                start_time: row.instant(0)?,
                sales_open_at: row.optional_instant(1)?,
                sales_close_at: row.optional_instant(2)?,
                currency: currency(row.text(1)?)?,
                prices: HashMap::new(),
                movie_title: row.text(2)?.to_owned(),
                theatre_name: row.text(3)?.to_owned(),
                hall_name: row.text(4)?.to_owned(),
            };
            state.shows.insert(ShowId(row.number(0)?), offer);
        }
        4 => parts.prices.push((ShowId(row.number(0)?), row.text(0)?.to_owned(), row.number(1)?)),
        5 => {
            let status = ClaimStatus::parse(row.text(0)?).map_err(bad_row)?;
            let user_id = row.optional_number(2)?.map(UserId);
            let booking_id = row.optional_number(3)?.map(BookingId);
            let hold = row.optional_hold_id(1)?.zip(row.optional_instant(0)?);
            let claim = Claim::from_stored(status, user_id, booking_id, hold).map_err(bad_row)?;
            state.claims.insert((ShowId(row.number(0)?), SeatId(row.number(1)?)), claim);
        }
        6 => {
            let id = row.hold_id(0)?;
            let hold = Hold {
                id: id.clone(),
                user_id: UserId(row.number(0)?),
                show_id: ShowId(row.number(1)?),
                seats: Vec::new(),
                currency: currency(row.text(1)?)?,
                created_at: row.instant(0)?,
                expires_at: row.instant(1)?,
            };
            state.holds.insert(id, hold);
        }
        7 => {
            let seat = SoldSeat {
                id: SeatId(row.number(0)?),
                row: row.text(2)?.to_owned(),
                number: i32::try_from(row.number(2)?).map_err(bad_row)?,
                category: row.text(1)?.to_owned(),
                price_minor: row.number(1)?,
            };
            parts.hold_seats.entry(row.hold_id(0)?).or_default().push((row.number(3)?, seat));
        }
        8 => parts.bookings.push(BookingPart {
            id: BookingId(row.number(0)?),
            reference: Reference::parse(row.text(0)?).map_err(bad_row)?,
            user_id: UserId(row.number(1)?),
            show_id: ShowId(row.number(2)?),
            state: booking_state(row.text(1)?, row.optional_instant(1)?)?,
            currency: currency(row.text(2)?)?,
            booked_at: row.instant(0)?,
        }),
        9 => {
            let seat = SoldSeat {
                id: SeatId(row.number(1)?),
                row: row.text(1)?.to_owned(),
                number: row.text(2)?.parse().map_err(bad_row)?,
                category: row.text(0)?.to_owned(),
                price_minor: row.number(2)?,
            };
            parts.booking_seats.entry(BookingId(row.number(0)?)).or_default().push((row.number(3)?, seat));
        }
        10 => {
            state.sessions.insert(SessionId(row.number(0)?), UserId(row.number(1)?));
        }
        11 => {
            let place = TenureKey {
                show_id: ShowId(row.number(0)?),
                user_id: UserId(row.number(1)?),
                seat_id: SeatId(row.number(2)?),
            };
            state.tenures.insert(place, Tenure { since: row.instant(0)?, until: row.instant(1)? });
        }
        12 => state.cancellations.entry(UserId(row.number(0)?)).or_default().push(row.instant(0)?),
        kind => return Err(bad_row(format!("a row of the batch read is of the unknown kind {kind}"))),
    }
    Ok(())
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| bad_row(format!("{} bytes where {N} belong", bytes.len())))
}
