//! The box office: its account, blocked seats, and the history of bookings.

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::admin::{BlockRecord, BlockedSeat, BoxOfficeAccount, CounterStore};
use domain::booking::{BookingEvent, EventActor, NewBlock, NewBookingEvent};
use domain::identity::{Email, Role};
use domain::ids::{BookingId, SeatId, ShowId, UserId};
use domain::seating::ClaimStatus;
use domain::text::fold;
use stored_json::{parsed_fields, stored_fields};

use crate::failure::Failure;
use crate::row::{instant, parsed, small};
use crate::schema::{booking_events, seat_blocks, seat_claims, seats, theatres, users};
use crate::store::SqliteStore;

/// A blocked seat, and its reason, member of staff and time.
type BlockedRow = (i64, String, i64, Option<(String, i64, i64)>);

#[derive(Queryable, Selectable)]
#[diesel(table_name = booking_events)]
struct EventRow {
    at: i64,
    kind: String,
    actor: String,
    actor_id: Option<i64>,
    reason: Option<String>,
    details: String,
}

impl TryFrom<EventRow> for BookingEvent {
    type Error = Failure;

    fn try_from(row: EventRow) -> Result<Self, Failure> {
        let actor = EventActor::from_stored(&row.actor, row.actor_id.map(UserId)).ok_or(Failure::BadRow("actor"))?;
        Ok(Self {
            at: instant(row.at, "at")?,
            kind: row.kind,
            actor: Some(actor),
            reason: row.reason,
            details: parsed(parsed_fields(&row.details), "details")?,
        })
    }
}

#[async_trait]
impl CounterStore for SqliteStore {
    async fn customer(&self, email: &Email) -> Result<Option<UserId>, StoreError> {
        let folded = email.folded().to_owned();
        let found = self.read(move |connection| {
            // A deleted account has no address that can be parsed.
            let account = users::table.filter(users::email_folded.eq(folded)).select(users::id);
            Ok(account.get_result(connection).optional()?.map(UserId))
        });
        Ok(found.await?)
    }

    async fn box_office(&self, account: &BoxOfficeAccount) -> Result<Option<UserId>, StoreError> {
        let (account, clock) = (account.clone(), self.clock());
        // There is one writer, so no other call creates an account meanwhile.
        let found = self.write(move |connection| {
            let theatre = theatres::table.find(account.theatre_id.0);
            let row: Option<Option<i64>> =
                theatre.select(theatres::box_office_user_id).get_result(connection).optional()?;
            let Some(existing) = row else { return Ok(None) };
            if let Some(id) = existing {
                return Ok(Some(UserId(id)));
            }
            let (email, now) = (account.email(), clock.now());
            let id: i64 = diesel::insert_into(users::table)
                .values((
                    users::name.eq(BoxOfficeAccount::NAME),
                    users::name_folded.eq(fold(BoxOfficeAccount::NAME)),
                    users::email.eq(&email),
                    users::email_folded.eq(fold(&email)),
                    users::password_hash.eq(BoxOfficeAccount::PASSWORD_HASH),
                    users::role.eq(Role::Customer.as_str()),
                    users::created_at.eq(now),
                    users::disabled_at.eq(now),
                ))
                .returning(users::id)
                .get_result(connection)?;
            diesel::update(theatre).set(theatres::box_office_user_id.eq(id)).execute(connection)?;
            Ok(Some(UserId(id)))
        });
        Ok(found.await?)
    }

    async fn blocked_seats(&self, show: ShowId) -> Result<Vec<BlockedSeat>, StoreError> {
        let found = self.read(move |connection| {
            let record = (seat_blocks::reason, seat_blocks::blocked_by, seat_blocks::blocked_at);
            let same_seat =
                seat_blocks::show_id.eq(seat_claims::show_id).and(seat_blocks::seat_id.eq(seat_claims::seat_id));
            let rows: Vec<BlockedRow> = seat_claims::table
                .inner_join(seats::table.on(seats::id.eq(seat_claims::seat_id)))
                .left_join(seat_blocks::table.on(same_seat))
                .filter(seat_claims::show_id.eq(show.0))
                .filter(seat_claims::status.eq(ClaimStatus::Blocked.as_str()))
                .order(seats::id)
                .select((seats::id, seats::row_label, seats::number, record.nullable()))
                .load(connection)?;
            rows.into_iter().map(blocked_seat).collect()
        });
        Ok(found.await?)
    }

    async fn booking_events(&self, id: BookingId) -> Result<Vec<BookingEvent>, StoreError> {
        let found = self.read(move |connection| {
            let rows: Vec<EventRow> = booking_events::table
                .filter(booking_events::booking_id.eq(id.0))
                .order(booking_events::id)
                .select(EventRow::as_select())
                .load(connection)?;
            rows.into_iter().map(BookingEvent::try_from).collect()
        });
        Ok(found.await?)
    }
}

fn blocked_seat((id, row, number, stored): BlockedRow) -> Result<BlockedSeat, Failure> {
    let record = |(reason, by, since)| -> Result<BlockRecord, Failure> {
        Ok(BlockRecord { reason, since: instant(since, "blocked_at")?, by: UserId(by) })
    };
    let record = stored.map(record).transpose()?;
    Ok(BlockedSeat { seat_id: SeatId(id), row, number: small(number, "number")?, record })
}

/// Deletes the reason of a seat that is blocked no more.
pub(crate) fn delete_block(connection: &mut SqliteConnection, (show, seat): (ShowId, SeatId)) -> Result<(), Failure> {
    diesel::delete(seat_blocks::table.find((show.0, seat.0))).execute(connection)?;
    Ok(())
}

/// Writes why a seat is blocked, in place of an earlier reason.
pub(crate) fn put_block(connection: &mut SqliteConnection, block: &NewBlock, at: i64) -> Result<(), Failure> {
    diesel::replace_into(seat_blocks::table)
        .values((
            seat_blocks::show_id.eq(block.show_id.0),
            seat_blocks::seat_id.eq(block.seat_id.0),
            seat_blocks::reason.eq(&block.reason),
            seat_blocks::blocked_by.eq(block.blocked_by.0),
            seat_blocks::blocked_at.eq(at),
        ))
        .execute(connection)?;
    Ok(())
}

/// Writes an event of a booking.
pub(crate) fn insert_booking_event(
    connection: &mut SqliteConnection,
    event: &NewBookingEvent,
    at: i64,
) -> Result<(), Failure> {
    let NewBookingEvent { booking_id, kind, actor, reason, details } = event;
    diesel::insert_into(booking_events::table)
        .values((
            booking_events::booking_id.eq(booking_id.0),
            booking_events::at.eq(at),
            booking_events::kind.eq(kind.as_str()),
            booking_events::actor.eq(actor.as_str()),
            booking_events::actor_id.eq(actor.user_id().map(|id| id.0)),
            booking_events::reason.eq(reason.as_deref()),
            booking_events::details.eq(stored_fields(details)),
        ))
        .execute(connection)?;
    Ok(())
}
