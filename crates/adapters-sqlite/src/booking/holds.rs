//! Reads holds.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::booking::{HOLDS_LISTED_MAX, Hold, HoldId, HoldStore, SoldSeat};
use domain::ids::{SeatId, ShowId, UserId};

use crate::failure::Failure;
use crate::row::{currency, hold_id, instant, listed, small, ticket_type};
use crate::schema::{hold_seats, holds, seats, shows};
use crate::store::SqliteStore;

#[async_trait]
impl HoldStore for SqliteStore {
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError> {
        let clock = self.clock();
        let live = move |connection: &mut SqliteConnection| {
            let rows = hold_rows(connection, WhichHolds::List { user_id, now: clock.now() })?;
            let mut found = Vec::new();
            for (row, currency) in rows {
                // Logged by owner and show, because the id of a hold is secret.
                let named = format!("of user {}, show {}", row.user_id, row.show_id);
                let seats = seats_of_hold(connection, &row.id)?;
                found.extend(listed("holds", named, hold(row, &currency, seats)));
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

/// Selects the holds to read.
pub(super) enum WhichHolds<'a> {
    /// One hold of any user, live or expired.
    One(&'a HoldId),
    /// A user's live holds, the first to expire first; [`HOLDS_LISTED_MAX`] at most.
    List { user_id: UserId, now: i64 },
    /// A user's holds that expire after an instant, on one show or on all shows.
    OfUser { user_id: UserId, show_id: Option<ShowId>, after: i64 },
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = holds)]
struct HoldRow {
    id: String,
    user_id: i64,
    show_id: i64,
    created_at: i64,
    expires_at: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = seats)]
struct SeatRow {
    id: i64,
    row_label: String,
    number: i64,
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = hold_seats)]
struct HeldSeatRow {
    category: String,
    ticket_type: String,
    price_minor: i64,
}

/// Reads holds. A bad row is an error, because a decision must not be made without it.
pub(super) fn holds_of(connection: &mut SqliteConnection, which: WhichHolds<'_>) -> Result<Vec<Hold>, Failure> {
    let rows = hold_rows(connection, which)?;
    rows.into_iter()
        .map(|(row, currency)| {
            let seats = seats_of_hold(connection, &row.id)?;
            hold(row, &currency, seats)
        })
        .collect()
}

/// Reads the rows of holds, each with the currency of its show.
fn hold_rows(connection: &mut SqliteConnection, which: WhichHolds<'_>) -> Result<Vec<(HoldRow, String)>, Failure> {
    let mut query = holds::table
        .inner_join(shows::table.on(shows::id.eq(holds::show_id)))
        .select((HoldRow::as_select(), shows::currency))
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

fn hold(row: HoldRow, code: &str, seats: Vec<(SeatRow, HeldSeatRow)>) -> Result<Hold, Failure> {
    if seats.is_empty() {
        return Err(Failure::BadRow("hold_seats"));
    }
    let seat = |(seat, held): (SeatRow, HeldSeatRow)| -> Result<SoldSeat, Failure> {
        Ok(SoldSeat {
            id: SeatId(seat.id),
            row: seat.row_label,
            number: small(seat.number, "number")?,
            category: held.category,
            ticket_type: ticket_type(&held.ticket_type)?,
            price_minor: held.price_minor,
        })
    };
    Ok(Hold {
        seats: seats.into_iter().map(seat).collect::<Result<_, _>>()?,
        id: hold_id(&row.id)?,
        user_id: UserId(row.user_id),
        show_id: ShowId(row.show_id),
        currency: currency(code)?,
        created_at: instant(row.created_at, "created_at")?,
        expires_at: instant(row.expires_at, "expires_at")?,
    })
}

fn seats_of_hold(connection: &mut SqliteConnection, id: &str) -> Result<Vec<(SeatRow, HeldSeatRow)>, Failure> {
    let rows = hold_seats::table
        .inner_join(seats::table.on(seats::id.eq(hold_seats::seat_id)))
        .filter(hold_seats::hold_id.eq(id))
        .select((SeatRow::as_select(), HeldSeatRow::as_select()))
        .order(hold_seats::position)
        .load(connection)?;
    Ok(rows)
}
