//! The box office: its account, blocked seats, and the history of bookings.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Integer, Nullable, Text, Timestamptz, Untyped};
use diesel_async::RunQueryDsl;
use domain::StoreError;
use domain::admin::{BlockRecord, BlockedSeat, BoxOfficeAccount, CounterStore};
use domain::booking::{BookingEvent, EventActor};
use domain::identity::{Email, Role};
use domain::ids::{BookingId, SeatId, ShowId, UserId};
use domain::text::fold;
use stored_json::parsed_fields;

use crate::error::bad_row;
use crate::rows::parse_all;
use crate::schema::{booking_events, theatres, users};
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

statement!(BlockedSeats: Untyped = "
    SELECT c.seat_id, s.row_label, s.number, b.reason, b.blocked_by, b.blocked_at
    FROM seat_claims c
    JOIN seats s ON s.id = c.seat_id
    LEFT JOIN seat_blocks b ON b.show_id = c.show_id AND b.seat_id = c.seat_id
    WHERE c.show_id = $1 AND c.status = 'blocked'
    ORDER BY c.seat_id");
statement!(BookingEvents: Untyped = "
    SELECT at, kind, actor, actor_id, reason, details FROM booking_events WHERE booking_id = $1 ORDER BY id");

#[derive(QueryableByName)]
struct BlockedRow {
    #[diesel(sql_type = BigInt)]
    seat_id: i64,
    #[diesel(sql_type = Text)]
    row_label: String,
    #[diesel(sql_type = Integer)]
    number: i32,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Nullable<BigInt>)]
    blocked_by: Option<i64>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    blocked_at: Option<DateTime<Utc>>,
}

impl From<BlockedRow> for BlockedSeat {
    fn from(row: BlockedRow) -> Self {
        let stored = row.reason.zip(row.blocked_at).zip(row.blocked_by);
        let record = stored.map(|((reason, since), by)| BlockRecord { reason, since, by: UserId(by) });
        Self { seat_id: SeatId(row.seat_id), row: row.row_label, number: row.number, record }
    }
}

#[derive(QueryableByName)]
#[diesel(table_name = booking_events)]
struct EventRow {
    at: DateTime<Utc>,
    kind: String,
    actor: String,
    actor_id: Option<i64>,
    reason: Option<String>,
    details: String,
}

fn event(row: EventRow) -> Result<BookingEvent, StoreError> {
    let actor = EventActor::from_stored(&row.actor, row.actor_id.map(UserId));
    Ok(BookingEvent {
        at: row.at,
        kind: row.kind,
        actor: Some(actor.ok_or_else(|| bad_row("an event whose actor has another id"))?),
        reason: row.reason,
        details: parsed_fields(&row.details).map_err(bad_row)?,
    })
}

#[async_trait]
impl CounterStore for PostgresStore {
    async fn customer(&self, email: &Email) -> Result<Option<UserId>, StoreError> {
        // A deleted account has no address that can be parsed.
        let account = users::table.filter(users::email_folded.eq(email.folded().to_owned())).select(users::id);
        Ok(self.first(account).await?.map(UserId))
    }

    async fn box_office(&self, account: &BoxOfficeAccount) -> Result<Option<UserId>, StoreError> {
        let theatre = theatres::table.find(account.theatre_id.0);
        let known: Option<Option<i64>> = self.first(theatre.select(theatres::box_office_user_id)).await?;
        match known {
            None => return Ok(None),
            Some(Some(id)) => return Ok(Some(UserId(id))),
            Some(None) => {}
        }
        let created: Result<Option<UserId>, StoreError> = self
            .transact(async |connection| {
                // The lock makes concurrent calls wait, and see the account.
                let row: Option<Option<i64>> = theatre
                    .select(theatres::box_office_user_id)
                    .for_no_key_update()
                    .get_result(connection)
                    .await
                    .optional()?;
                let Some(existing) = row else { return Ok(None) };
                if let Some(id) = existing {
                    return Ok::<_, WriteFailure<StoreError>>(Some(UserId(id)));
                }
                let email = account.email();
                let id: i64 = diesel::insert_into(users::table)
                    .values((
                        users::name.eq(BoxOfficeAccount::NAME),
                        users::name_folded.eq(fold(BoxOfficeAccount::NAME)),
                        users::email.eq(&email),
                        users::email_folded.eq(fold(&email)),
                        users::password_hash.eq(BoxOfficeAccount::PASSWORD_HASH),
                        users::role.eq(Role::Customer.as_str()),
                        users::disabled_at.eq(diesel::dsl::now),
                    ))
                    .returning(users::id)
                    .get_result(connection)
                    .await?;
                diesel::update(theatre).set(theatres::box_office_user_id.eq(id)).execute(connection).await?;
                Ok(Some(UserId(id)))
            })
            .await;
        created
    }

    async fn blocked_seats(&self, show: ShowId) -> Result<Vec<BlockedSeat>, StoreError> {
        let rows: Vec<BlockedRow> = self.load(bind!(BlockedSeats, BigInt = show.0)).await?;
        Ok(rows.into_iter().map(BlockedSeat::from).collect())
    }

    async fn booking_events(&self, id: BookingId) -> Result<Vec<BookingEvent>, StoreError> {
        let rows: Vec<EventRow> = self.load(bind!(BookingEvents, BigInt = id.0)).await?;
        parse_all(rows, event)
    }
}
