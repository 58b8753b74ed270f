//! Shows: how staff add, change, cancel and read them.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use chrono_tz::Tz;
use diesel::QueryableByName;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::admin::{
    ChangeError, ChangeRefusal, ManagedShow, NewShows, ShowCancellation, ShowDetails, ShowEdit, ShowOverlap,
    StaffShowFilter, StaffShowStore,
};
use domain::booking::{CancelledShowStore, OutboxKind};
use domain::catalog::{ShowCursor, ShowStatus};
use domain::ids::{BookingId, LayoutId, ShowId, UserId};
use domain::page::{Filling, PageRequest};
use stored_json::stored_fields;

use super::layouts::retried;
use super::{Failure, guarded, refused};
use crate::catalog::{ShowRow, show, show_columns, theatre_ids, window_columns};
use crate::error::bad_row;
use crate::rows::{category_prices, listed};
use crate::schema::{booking_events, halls, movies, price_lists, show_cancellations, show_prices, shows, theatres};
use crate::seed::insert_show_prices;
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

/// The constraint that two shows in one hall do not overlap.
const NEVER_OVERLAP: &str = "shows_never_overlap";

macro_rules! managed_columns {
    ($page:literal) => {
        show_columns!(
            $page,
            ", t.timezone, s.layout_id, s.hall_free_at, s.sales_open_at, s.sales_close_at, s.version,
                gone.cancelled_at, gone.reason, p.categories, p.ticket_types, p.prices",
            "LEFT JOIN show_cancellations gone ON gone.show_id = s.id
            CROSS JOIN LATERAL (
                SELECT coalesce(array_agg(p.category ORDER BY p.category, p.ticket_type), '{}') AS categories,
                    coalesce(array_agg(p.ticket_type ORDER BY p.category, p.ticket_type), '{}') AS ticket_types,
                    coalesce(array_agg(p.price_minor ORDER BY p.category, p.ticket_type), '{}') AS prices
                FROM show_prices p WHERE p.show_id = s.id
            ) p"
        )
    };
}

statement!(ListManaged: Untyped = managed_columns!("
    WHERE ($1::bigint[] IS NULL OR s.theatre_id = ANY ($1))
      AND ($2::bigint IS NULL OR s.movie_id = $2)
      AND ($3::bigint IS NULL OR s.hall_id = $3)
      AND ($4::text IS NULL OR s.status = $4)
      AND ($5::text IS NULL OR EXISTS (
            SELECT 1 FROM movies m WHERE m.id = s.movie_id AND position($5 IN m.search_folded) > 0))
      AND ($6::bigint[] IS NULL OR EXISTS (
            SELECT 1 FROM unnest($6, $7::timestamptz[], $8::timestamptz[]) AS during (theatre_id, from_time, to_time)
            WHERE during.theatre_id = s.theatre_id
                AND s.start_time >= during.from_time AND s.start_time < during.to_time))
      AND (NOT $9 OR s.end_time > now())
      AND ($10::timestamptz IS NULL OR (s.start_time, s.id) > ($10, $11::bigint))
    ORDER BY s.start_time, s.id
    LIMIT $12"));
statement!(TheseManaged: Untyped = managed_columns!("WHERE s.id = ANY ($1)"));
statement!(FindOverlaps: Untyped = "
    SELECT new.start_time, s.id AS other_id, m.title AS other_title, s.start_time AS other_start,
        s.hall_free_at AS other_hall_free_at
    FROM unnest($2::timestamptz[], $3::timestamptz[]) AS new (start_time, hall_free_at)
    JOIN shows s ON s.hall_id = $1 AND s.status <> 'cancelled' AND s.id IS DISTINCT FROM $4::bigint
        AND tstzrange(s.start_time, s.hall_free_at) && tstzrange(new.start_time, new.hall_free_at)
    JOIN movies m ON m.id = s.movie_id
    ORDER BY new.start_time, s.start_time
    LIMIT $5");
statement!(InsertShows: (BigInt, Timestamptz) = "
    INSERT INTO shows (movie_id, theatre_id, hall_id, layout_id, format, language, currency, sales_open_at,
        start_time, end_time, hall_free_at, sales_close_at)
    SELECT $1, $2, $3, $4, $5, $6, $7, $8, new.*
    FROM unnest($9::timestamptz[], $10::timestamptz[], $11::timestamptz[], $12::timestamptz[])
        AS new (start_time, end_time, hall_free_at, sales_close_at)
    ORDER BY new.start_time
    RETURNING id, start_time");
statement!(LiveBookings: BigInt = "
    SELECT DISTINCT c.booking_id FROM seat_claims c WHERE c.show_id = $1 AND c.status = 'booked' ORDER BY c.booking_id");
statement!(InsertMoved: () = "
    INSERT INTO outbox (kind, show_id, booking_id, created_at)
    SELECT $1, $2, moved.booking_id, now() FROM unnest($3::bigint[]) WITH ORDINALITY AS moved (booking_id, position)
    ORDER BY position");
statement!(Unfinished: BigInt = "
    SELECT show_id FROM show_cancellations WHERE bookings_cancelled_at IS NULL ORDER BY cancelled_at, show_id LIMIT 100");
statement!(LiveOwners: (BigInt, BigInt) = "
    SELECT DISTINCT c.booking_id, c.user_id FROM seat_claims c
    WHERE c.show_id = $1 AND c.status = 'booked' AND ($2::bigint IS NULL OR c.booking_id > $2)
    ORDER BY c.booking_id LIMIT $3");
// A cancelled show gets no booking, so a show without booked seats stays so.
statement!(Finish: BigInt = "
    UPDATE show_cancellations SET bookings_cancelled_at = now()
    WHERE show_id = $1 AND bookings_cancelled_at IS NULL
      AND NOT EXISTS (SELECT 1 FROM seat_claims c WHERE c.show_id = $1 AND c.status = 'booked')
    RETURNING show_id");

#[derive(QueryableByName)]
#[diesel(table_name = shows)]
struct ManagedRow {
    #[diesel(embed)]
    show: ShowRow,
    #[diesel(sql_type = Text)]
    timezone: String,
    layout_id: i64,
    hall_free_at: DateTime<Utc>,
    sales_open_at: Option<DateTime<Utc>>,
    sales_close_at: Option<DateTime<Utc>>,
    version: i64,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    cancelled_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Text>)]
    reason: Option<String>,
    #[diesel(sql_type = Array<Text>)]
    categories: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    ticket_types: Vec<String>,
    #[diesel(sql_type = Array<BigInt>)]
    prices: Vec<i64>,
}

impl TryFrom<ManagedRow> for ManagedShow {
    type Error = StoreError;

    fn try_from(row: ManagedRow) -> Result<Self, StoreError> {
        let cancelled = |at| ShowCancellation { at, reason: row.reason.unwrap_or_default() };
        Ok(Self {
            show: show(row.show)?,
            timezone: row.timezone.parse::<Tz>().map_err(|error| bad_row(error.to_string()))?,
            layout_id: LayoutId(row.layout_id),
            hall_free_at: row.hall_free_at,
            sales_open_at: row.sales_open_at,
            sales_close_at: row.sales_close_at,
            prices: category_prices(row.categories, row.ticket_types, row.prices)?,
            cancellation: row.cancelled_at.map(cancelled),
            version: row.version,
        })
    }
}

#[derive(QueryableByName)]
struct OverlapRow {
    #[diesel(sql_type = Timestamptz)]
    start_time: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    other_id: i64,
    #[diesel(sql_type = Text)]
    other_title: String,
    #[diesel(sql_type = Timestamptz)]
    other_start: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    other_hall_free_at: DateTime<Utc>,
}

#[async_trait]
impl StaffShowStore for PostgresStore {
    async fn staff_shows(
        &self,
        filter: &StaffShowFilter,
        page: &PageRequest<ShowCursor>,
    ) -> Result<Vec<ManagedShow>, StoreError> {
        let (theatres, from, to) = window_columns(filter.during.as_deref());
        let among = theatre_ids(filter.theatres.as_deref());
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<ManagedRow> = self
                .load(bind!(
                    ListManaged,
                    Nullable<Array<BigInt>> = among.clone(),
                    Nullable<BigInt> = filter.movie_id.map(|id| id.0),
                    Nullable<BigInt> = filter.hall_id.map(|id| id.0),
                    Nullable<Text> = filter.status.map(|status| status.as_str().to_owned()),
                    Nullable<Text> = filter.search.clone(),
                    Nullable<Array<BigInt>> = theatres.clone(),
                    Nullable<Array<Timestamptz>> = from.clone(),
                    Nullable<Array<Timestamptz>> = to.clone(),
                    Bool = filter.upcoming,
                    Nullable<Timestamptz> = page.after.map(|place| place.start_time),
                    Nullable<BigInt> = page.after.map(|place| place.id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &ManagedRow| ShowCursor { start_time: row.show.start_time, id: ShowId(row.show.id) };
            filling.add(rows, place, |row| listed("shows", row.show.id, ManagedShow::try_from(row)));
        }
        Ok(filling.into_items())
    }

    async fn staff_show(&self, id: ShowId) -> Result<Option<ManagedShow>, StoreError> {
        let row: Option<ManagedRow> = self.first(bind!(TheseManaged, Array<BigInt> = vec![id.0])).await?;
        row.map(ManagedShow::try_from).transpose()
    }
}

#[async_trait]
impl CancelledShowStore for PostgresStore {
    async fn unfinished(&self) -> Result<Vec<ShowId>, StoreError> {
        let ids: Vec<i64> = self.load(bind!(Unfinished)).await?;
        Ok(ids.into_iter().map(ShowId).collect())
    }

    async fn live_bookings(
        &self,
        show: ShowId,
        after: Option<BookingId>,
        max: u32,
    ) -> Result<Vec<(BookingId, UserId)>, StoreError> {
        let after = after.map(|id| id.0);
        let query = bind!(LiveOwners, BigInt = show.0, Nullable<BigInt> = after, BigInt = i64::from(max));
        let rows: Vec<(i64, i64)> = self.load(query).await?;
        Ok(rows.into_iter().map(|(booking, user)| (BookingId(booking), UserId(user))).collect())
    }

    async fn finish(&self, show: ShowId) -> Result<(), StoreError> {
        self.first::<i64, _>(bind!(Finish, BigInt = show.0)).await.map(drop)
    }
}

/// Reads shows in a transaction, ordered by start.
pub(super) async fn managed_shows(
    connection: &mut AsyncPgConnection,
    ids: &[i64],
) -> Result<Vec<ManagedShow>, Failure> {
    let rows: Vec<ManagedRow> = bind!(TheseManaged, Array<BigInt> = ids).load(connection).await?;
    let shows: Result<Vec<_>, StoreError> = rows.into_iter().map(ManagedShow::try_from).collect();
    Ok(shows?)
}

/// Adds shows to a hall. The hall's row stays locked, so that concurrent shows of the hall follow each other; the other objects are locked
/// in share mode, so that they are not retired concurrently.
pub(super) async fn add(connection: &mut AsyncPgConnection, new: &NewShows) -> Result<Vec<ManagedShow>, Failure> {
    let NewShows { movie, theatre, hall, layout_id, price_list, format, language, sales_open_at, shows: added } = new;
    let movie_version = movies::table.find(movie.id.0).select(movies::version).for_share();
    let found: Option<i64> = movie_version.first(connection).await.optional()?;
    unchanged(found, movie.version)?;
    let theatre_version = theatres::table.find(theatre.id.0).select(theatres::version).for_share();
    let found: Option<i64> = theatre_version.first(connection).await.optional()?;
    unchanged(found, theatre.version)?;
    unchanged(lock_hall(connection, hall.id.0).await?, hall.version)?;
    let list_version = price_lists::table.find(price_list.id.0).select(price_lists::version).for_share();
    let found: Option<i64> = list_version.first(connection).await.optional()?;
    unchanged(found, price_list.version)?;

    let starts: Vec<_> = added.iter().map(|show| show.start.start_time).collect();
    let free_at: Vec<_> = added.iter().map(|show| show.start.hall_free_at).collect();
    check_overlaps(connection, hall.id.0, &starts, &free_at, None).await?;
    let inserted: Vec<(i64, DateTime<Utc>)> = bind!(
        InsertShows,
        BigInt = movie.id.0,
        BigInt = theatre.id.0,
        BigInt = hall.id.0,
        BigInt = layout_id.0,
        Text = format.as_str(),
        Text = language.as_str(),
        Text = theatre.currency.code(),
        Nullable<Timestamptz> = *sales_open_at,
        Array<Timestamptz> = &starts,
        Array<Timestamptz> = added.iter().map(|show| show.start.end_time).collect::<Vec<_>>(),
        Array<Timestamptz> = &free_at,
        Array<Nullable<Timestamptz>> = added.iter().map(|show| show.sales_close_at).collect::<Vec<_>>(),
    )
    .load(connection)
    .await
    .map_err(overlapped)?;
    let ids: HashMap<_, _> = inserted.iter().map(|(id, start)| (*start, *id)).collect();
    let prices = added.iter().filter_map(|show| Some((*ids.get(&show.start.start_time)?, show)));
    let prices: Vec<_> = prices.flat_map(|(id, show)| show.prices.iter().map(move |price| (id, price))).collect();
    insert_show_prices(connection, &prices).await?;
    managed_shows(connection, &inserted.iter().map(|(id, _)| *id).collect::<Vec<_>>()).await
}

/// Has the change computed again if a show that another transaction has added concurrently violates the constraint: an import or a seed does not
/// lock the hall. The next attempt finds that show, and names it.
fn overlapped(error: Error) -> Failure {
    match &error {
        Error::DatabaseError(_, information) if information.constraint_name() == Some(NEVER_OVERLAP) => {
            WriteFailure::Refused(ChangeError::Stale)
        }
        _ => retried(error),
    }
}

fn unchanged(found: Option<i64>, version: i64) -> Result<(), Failure> {
    if found == Some(version) { Ok(()) } else { Err(WriteFailure::Refused(ChangeError::Stale)) }
}

async fn lock_hall(connection: &mut AsyncPgConnection, hall: i64) -> Result<Option<i64>, Failure> {
    let version = halls::table.find(hall).select(halls::version).for_no_key_update();
    Ok(version.first(connection).await.optional()?)
}

/// Returns an error if other shows are in the hall at these times.
async fn check_overlaps(
    connection: &mut AsyncPgConnection,
    hall: i64,
    starts: &[DateTime<Utc>],
    free_at: &[DateTime<Utc>],
    except: Option<i64>,
) -> Result<(), Failure> {
    let max = i64::try_from(ShowOverlap::LISTED_MAX).unwrap_or(i64::MAX);
    let rows: Vec<OverlapRow> = bind!(
        FindOverlaps,
        BigInt = hall,
        Array<Timestamptz> = starts,
        Array<Timestamptz> = free_at,
        Nullable<BigInt> = except,
        BigInt = max,
    )
    .load(connection)
    .await?;
    let overlap = |row: OverlapRow| ShowOverlap {
        start_time: row.start_time,
        other: ShowId(row.other_id),
        other_title: row.other_title,
        other_start: row.other_start,
        other_hall_free_at: row.other_hall_free_at,
    };
    if rows.is_empty() {
        return Ok(());
    }
    Err(WriteFailure::Refused(ChangeError::ShowsOverlap(rows.into_iter().map(overlap).collect())))
}

pub(super) async fn edit(
    connection: &mut AsyncPgConnection,
    edit: &ShowEdit,
    by: UserId,
) -> Result<ManagedShow, Failure> {
    let id = match edit {
        ShowEdit::Create(new) => {
            let shows = add(connection, new).await?;
            return Ok(shows.into_iter().next().ok_or_else(|| bad_row("a show was not added"))?);
        }
        ShowEdit::Update { before, after } => {
            update(connection, before, after, by).await?;
            before.show.id.0
        }
        ShowEdit::Cancel { before, reason } => {
            let id = before.show.id.0;
            if before.cancellation.is_none() {
                let row = shows::table.find(id).filter(shows::version.eq(before.version));
                let values = (shows::status.eq(ShowStatus::Cancelled.as_str()), shows::version.eq(shows::version + 1));
                guarded(diesel::update(row).set(values).execute(connection).await.map_err(retried)?)?;
                diesel::insert_into(show_cancellations::table)
                    .values((show_cancellations::show_id.eq(id), show_cancellations::reason.eq(reason)))
                    .execute(connection)
                    .await?;
            }
            id
        }
    };
    let found = managed_shows(connection, &[id]).await?;
    Ok(found.into_iter().next().ok_or_else(|| bad_row("the show is missing"))?)
}

async fn update(
    connection: &mut AsyncPgConnection,
    before: &ManagedShow,
    after: &ShowDetails,
    by: UserId,
) -> Result<(), Failure> {
    let (id, moves) = (before.show.id.0, after.moves(before));
    if moves {
        lock_hall(connection, before.show.hall_id.0).await?;
        let hall = before.show.hall_id.0;
        check_overlaps(connection, hall, &[after.start_time], &[after.hall_free_at], Some(id)).await?;
    }
    let row = shows::table.find(id).filter(shows::version.eq(before.version));
    let values = (
        shows::start_time.eq(after.start_time),
        shows::end_time.eq(after.end_time),
        shows::hall_free_at.eq(after.hall_free_at),
        shows::format.eq(after.format.as_str()),
        shows::language.eq(after.language.as_str()),
        shows::sales_open_at.eq(after.sales_open_at),
        shows::sales_close_at.eq(after.sales_close_at),
        shows::version.eq(shows::version + 1),
    );
    guarded(diesel::update(row).set(values).execute(connection).await.map_err(overlapped)?)?;
    if after.prices != before.prices {
        diesel::delete(show_prices::table.filter(show_prices::show_id.eq(id))).execute(connection).await?;
        let prices: Vec<_> = after.prices.iter().map(|price| (id, price)).collect();
        insert_show_prices(connection, &prices).await?;
    }
    if !moves {
        return Ok(());
    }
    // The show is locked: every sale is either committed and seen here, or is decided again.
    let live: Vec<i64> = bind!(LiveBookings, BigInt = id).load(connection).await?;
    if !live.is_empty() && !after.notify {
        return Err(refused(ChangeRefusal::ShowHasBookings));
    }
    for booking in &live {
        let event = after.moved(before, BookingId(*booking), by);
        diesel::insert_into(booking_events::table)
            .values((
                booking_events::booking_id.eq(event.booking_id.0),
                booking_events::at.eq(now),
                booking_events::kind.eq(event.kind.as_str()),
                booking_events::actor.eq(event.actor.as_str()),
                booking_events::actor_id.eq(event.actor.user_id().map(|id| id.0)),
                booking_events::details.eq(stored_fields(&event.details)),
            ))
            .execute(connection)
            .await?;
    }
    bind!(InsertMoved, Text = OutboxKind::BookingMoved.as_str(), BigInt = id, Array<BigInt> = live)
        .execute(connection)
        .await?;
    Ok(())
}
