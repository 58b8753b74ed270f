//! Reads holds.

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::booking::{HOLDS_LISTED_MAX, Hold, HoldId, HoldStore, SoldSeat};
use domain::ids::{SeatId, ShowId, UserId};

use crate::failure::Failure;
use crate::row::{currency, hold_id, instant, listed, small};
use crate::schema::{hold_seats, holds, seats, shows};
use crate::store::SqliteStore;

#[async_trait]
impl HoldStore for SqliteStore {
    async fn holds(&self, user_id: UserId) -> Result<Vec<Hold>, StoreError> {
        let clock = self.clock();
        let live = move |connection: &mut SqliteConnection| {
            let rows = hold_rows(connection, WhichHolds::List { user_id, now: clock.now() })?;
            let mut found = Vec::new();
            for row in rows {
                // Logged by owner and show, because the id of a hold is secret.
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

/// Selects the holds to read.
pub(super) enum WhichHolds<'a> {
    /// One hold of any user, live or expired.
    One(&'a HoldId),
    /// A user's live holds, the first to expire first; [`HOLDS_LISTED_MAX`] at most.
    List { user_id: UserId, now: i64 },
    /// A user's holds that expire after an instant, on one show or on all shows.
    OfUser { user_id: UserId, show_id: Option<ShowId>, after: i64 },
}

/// Id, user, show, currency, time of creation and expiry.
type HoldRow = (String, i64, i64, String, i64, i64);

/// Reads holds. A bad row is an error, because a decision must not be made without it.
pub(super) fn holds_of(connection: &mut SqliteConnection, which: WhichHolds<'_>) -> Result<Vec<Hold>, Failure> {
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
