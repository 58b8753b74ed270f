//! Reads a batch with typed statements. Only the statements that the batch needs are sent, together and in one snapshot.

use chrono::{DateTime, Utc};
use domain::StoreError;
use domain::booking::{
    Booking, Claim, Fingerprint, Hold, HoldId, IdempotencyKey, KeyName, ReadSet, Rules, Scope, ShowOffer, Snapshot,
    SoldSeat, StoredKey, StoredUser, Subject, Tenure, TenureKey,
};
use domain::catalog::ShowStatus;
use domain::ids::{BookingId, LayoutId, SeatId, SessionId, ShowId, UserId};
use domain::random::{OperationId, Reference};
use domain::seating::ClaimStatus;
use tokio_postgres::Row;

use super::link::{Bound, parameters};
use super::statements::Statement::{self, *};
use crate::error::bad_row;
use crate::rows::{SoldSeatColumns, booking_state, category_prices, currency, hold_id, sale, tax_rate};

/// Returns the read-only transaction that reads the rows named by a batch, with only the statements that it needs.
pub(super) fn script(named: &ReadSet) -> Vec<Bound<'_>> {
    // Destructured by name: a new field does not compile until it is read.
    let ReadSet { keys, users, sessions, shows, whole_shows, seats, holds, holders, tenants, bookings, cancellers } =
        named;
    let mut script: Vec<Bound<'_>> = vec![(BeginRead, Vec::new()), (ReadClock, Vec::new())];
    if !keys.is_empty() {
        let columns = parameters![
            column(keys, |key| key.user_id.0),
            column(keys, |key| key.scope.0.as_str()),
            column(keys, |key| key.key.as_str()),
        ];
        script.push((ReadKeys, columns));
    }
    if !users.is_empty() {
        script.push((ReadUsers, parameters![column(users, |user| user.0)]));
    }
    if !sessions.is_empty() {
        script.push((ReadSessions, parameters![column(sessions, |session| session.0)]));
    }
    if !shows.is_empty() {
        script.push((ReadShows, parameters![column(shows, |show| show.0)]));
    }
    if !seats.is_empty() {
        let columns = parameters![column(seats, |(show, _)| show.0), column(seats, |(_, seat)| seat.0)];
        script.push((ReadSeatClaims, columns));
    }
    if !whole_shows.is_empty() {
        script.push((ReadShowClaims, parameters![column(whole_shows, |show| show.0)]));
    }
    if !holds.is_empty() || !holders.is_empty() || !tenants.is_empty() {
        let columns = parameters![
            column(holds, HoldId::as_str),
            column(holders, |user| user.0),
            column(tenants, |(show, _)| show.0),
            column(tenants, |(_, user)| user.0),
            Tenure::COUNTED.num_seconds(),
        ];
        script.push((ReadHolds, columns));
    }
    if !tenants.is_empty() {
        let columns = parameters![
            column(tenants, |(show, _)| show.0),
            column(tenants, |(_, user)| user.0),
            Tenure::COUNTED.num_seconds(),
        ];
        script.push((ReadTenures, columns));
    }
    // Read after the shows, because a booking takes its title from its show.
    if !bookings.is_empty() {
        script.push((ReadBookings, parameters![column(bookings, |booking| booking.0)]));
    }
    if !cancellers.is_empty() {
        let counted = Rules::CANCELLATIONS_COUNTED.num_seconds();
        script.push((ReadCancellations, parameters![column(cancellers, |user| user.0), counted]));
    }
    script.push((Commit, Vec::new()));
    script
}

/// Returns one value of each item, as an array parameter.
fn column<'a, Item: 'a, Value>(
    items: impl IntoIterator<Item = &'a Item>,
    value: impl Fn(&'a Item) -> Value,
) -> Vec<Value> {
    items.into_iter().map(value).collect()
}

/// Declares the row types of the statements. Each field has the name of its column.
macro_rules! rows {
    ($($Row:ident { $($column:ident: $Type:ty),+ $(,)? })+) => {$(
        struct $Row {
            $($column: $Type,)+
        }

        impl TryFrom<&Row> for $Row {
            type Error = StoreError;

            fn try_from(row: &Row) -> Result<Self, StoreError> {
                Ok(Self { $($column: row.try_get(stringify!($column)).map_err(bad_row)?,)+ })
            }
        }
    )+};
}

rows! {
    KeyRow {
        user_id: i64,
        scope: String,
        key: String,
        fingerprint: Vec<u8>,
        operation_id: Vec<u8>,
        booking_id: Option<i64>,
        hold_id: Option<String>,
        show_id: Option<i64>,
        answer: Option<Vec<u8>>,
    }
    UserRow { id: i64, session_generation: i64 }
    SessionRow { id: i64, user_id: i64 }
    ShowRow {
        id: i64,
        version: i64,
        layout_id: i64,
        status: String,
        start_time: DateTime<Utc>,
        end_time: DateTime<Utc>,
        sales_open_at: Option<DateTime<Utc>>,
        sales_close_at: Option<DateTime<Utc>>,
        currency: String,
        tax_basis_points: i32,
        movie_title: String,
        theatre_name: String,
        hall_name: String,
        categories: Vec<String>,
        ticket_types: Vec<String>,
        prices: Vec<i64>,
    }
    ClaimRow {
        show_id: i64,
        seat_id: i64,
        status: String,
        user_id: Option<i64>,
        booking_id: Option<i64>,
        hold_id: Option<String>,
        expires_at: Option<DateTime<Utc>>,
    }
    HoldRow {
        id: String,
        user_id: i64,
        show_id: i64,
        created_at: DateTime<Utc>,
        expires_at: DateTime<Utc>,
        currency: String,
    }
    TenureRow { show_id: i64, user_id: i64, seat_id: i64, since: DateTime<Utc>, until: DateTime<Utc> }
    BookingRow {
        id: i64,
        reference: String,
        user_id: i64,
        show_id: i64,
        status: String,
        cancelled_at: Option<DateTime<Utc>>,
        currency: String,
        tax_basis_points: Option<i32>,
        booked_at: DateTime<Utc>,
        channel: String,
        payment_kind: Option<String>,
    }
    CancellationRow { user_id: i64, cancelled_at: DateTime<Utc> }
    SoldSeatRows {
        seat_ids: Option<Vec<i64>>,
        seat_rows: Option<Vec<String>>,
        seat_numbers: Option<Vec<i32>>,
        seat_categories: Option<Vec<String>>,
        seat_ticket_types: Option<Vec<String>>,
        seat_prices: Option<Vec<i64>>,
    }
}

/// Adds the rows of a statement to the snapshot.
pub(super) fn add(snapshot: &mut Snapshot, statement: Statement, rows: &[Row]) -> Result<(), StoreError> {
    for row in rows {
        match statement {
            ReadClock => snapshot.now = row.try_get("now").map_err(bad_row)?,
            ReadKeys => {
                let (name, key) = key(row.try_into()?)?;
                snapshot.keys.insert(name, key);
            }
            ReadUsers => {
                let UserRow { id, session_generation } = row.try_into()?;
                snapshot.users.insert(UserId(id), StoredUser { session_generation });
            }
            ReadSessions => {
                let SessionRow { id, user_id } = row.try_into()?;
                snapshot.sessions.insert(SessionId(id), UserId(user_id));
            }
            ReadShows => {
                let (id, offer) = offer(row.try_into()?)?;
                snapshot.shows.insert(id, offer);
            }
            ReadSeatClaims | ReadShowClaims => {
                let (place, claim) = claim(row.try_into()?)?;
                snapshot.claims.insert(place, claim);
            }
            ReadHolds => {
                let hold = hold(row.try_into()?, SoldSeatRows::try_from(row)?.seats()?)?;
                snapshot.holds.insert(hold.id.clone(), hold);
            }
            ReadTenures => {
                let TenureRow { show_id, user_id, seat_id, since, until } = row.try_into()?;
                let key = TenureKey { show_id: ShowId(show_id), user_id: UserId(user_id), seat_id: SeatId(seat_id) };
                snapshot.tenures.insert(key, Tenure { since, until });
            }
            ReadBookings => {
                let booking = booking(row.try_into()?, SoldSeatRows::try_from(row)?.seats()?, snapshot)?;
                snapshot.bookings.extend(booking.map(|booking| (booking.id, booking)));
            }
            ReadCancellations => {
                let CancellationRow { user_id, cancelled_at } = row.try_into()?;
                snapshot.cancellations.entry(UserId(user_id)).or_default().push(cancelled_at);
            }
            other => return Err(StoreError::internal(format!("{other:?} reads no part of a batch"))),
        }
    }
    Ok(())
}

fn key(row: KeyRow) -> Result<(KeyName, StoredKey), StoreError> {
    let name =
        KeyName { user_id: UserId(row.user_id), scope: Scope(row.scope), key: IdempotencyKey::from_stored(row.key) };
    let hold_id = row.hold_id.as_deref().map(hold_id).transpose()?;
    let subject = Subject::from_stored(row.booking_id.map(BookingId), hold_id, row.show_id.map(ShowId));
    let key = StoredKey {
        fingerprint: Fingerprint(fixed(&row.fingerprint)?),
        operation_id: OperationId(fixed(&row.operation_id)?),
        subject: subject.ok_or_else(|| bad_row("a key belongs to a booking, a hold or a show"))?,
        body: row.answer.map(Into::into),
    };
    Ok((name, key))
}

fn fixed<const N: usize>(bytes: &[u8]) -> Result<[u8; N], StoreError> {
    bytes.try_into().map_err(|_| bad_row(format!("{} bytes instead of {N}", bytes.len())))
}

fn offer(row: ShowRow) -> Result<(ShowId, ShowOffer), StoreError> {
    let offer = ShowOffer {
        version: row.version,
        layout_id: LayoutId(row.layout_id),
        status: ShowStatus::parse(&row.status).map_err(bad_row)?,
        start_time: row.start_time,
        end_time: row.end_time,
        sales_open_at: row.sales_open_at,
        sales_close_at: row.sales_close_at,
        currency: currency(&row.currency)?,
        tax_rate: tax_rate(row.tax_basis_points)?,
        prices: category_prices(row.categories, row.ticket_types, row.prices)?.into_iter().collect(),
        movie_title: row.movie_title,
        theatre_name: row.theatre_name,
        hall_name: row.hall_name,
    };
    Ok((ShowId(row.id), offer))
}

fn claim(row: ClaimRow) -> Result<((ShowId, SeatId), Claim), StoreError> {
    let status = ClaimStatus::parse(&row.status).map_err(bad_row)?;
    let hold = row.hold_id.as_deref().map(hold_id).transpose()?.zip(row.expires_at);
    let claim = Claim::from_stored(status, row.user_id.map(UserId), row.booking_id.map(BookingId), hold);
    Ok(((ShowId(row.show_id), SeatId(row.seat_id)), claim.map_err(bad_row)?))
}

impl SoldSeatRows {
    /// Returns the seats, in their order.
    fn seats(self) -> Result<Vec<SoldSeat>, StoreError> {
        // An aggregate over no rows is NULL, which means no seats.
        let columns = SoldSeatColumns {
            seat_ids: self.seat_ids.unwrap_or_default(),
            seat_rows: self.seat_rows.unwrap_or_default(),
            seat_numbers: self.seat_numbers.unwrap_or_default(),
            seat_categories: self.seat_categories.unwrap_or_default(),
            seat_ticket_types: self.seat_ticket_types.unwrap_or_default(),
            seat_prices: self.seat_prices.unwrap_or_default(),
        };
        columns.seats()
    }
}

fn hold(row: HoldRow, seats: Vec<SoldSeat>) -> Result<Hold, StoreError> {
    Ok(Hold {
        id: hold_id(&row.id)?,
        user_id: UserId(row.user_id),
        show_id: ShowId(row.show_id),
        seats,
        currency: currency(&row.currency)?,
        created_at: row.created_at,
        expires_at: row.expires_at,
    })
}

/// Returns the booking, or `None` if the batch does not name its show.
fn booking(row: BookingRow, seats: Vec<SoldSeat>, snapshot: &Snapshot) -> Result<Option<Booking>, StoreError> {
    let show_id = ShowId(row.show_id);
    let Some(show) = snapshot.shows.get(&show_id) else { return Ok(None) };
    let booking = Booking {
        id: BookingId(row.id),
        reference: Reference::parse(&row.reference).map_err(bad_row)?,
        user_id: UserId(row.user_id),
        show_id,
        seats,
        state: booking_state(&row.status, row.cancelled_at)?,
        sale: sale(&row.channel, row.payment_kind.as_deref())?,
        currency: currency(&row.currency)?,
        tax_rate: row.tax_basis_points.map_or(Ok(show.tax_rate), tax_rate)?,
        booked_at: row.booked_at,
        movie_title: show.movie_title.clone(),
        theatre_name: show.theatre_name.clone(),
        hall_name: show.hall_name.clone(),
        start_time: show.start_time,
    };
    Ok(Some(booking))
}
