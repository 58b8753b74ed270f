//! Shows: how staff add, change, cancel and read them.

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::admin::{
    ChangeError, ChangeRefusal, ManagedShow, NewShows, ShowCancellation, ShowDetails, ShowEdit, ShowOverlap,
    StaffShowFilter, StaffShowStore,
};
use domain::booking::{CancelledShowStore, NewOutboxEvent, OutboxKind};
use domain::catalog::{ShowCursor, ShowStatus};
use domain::ids::{BookingId, LayoutId, ShowId, UserId};
use domain::page::{Filling, PageRequest};
use domain::seating::ClaimStatus;

use super::counter::insert_booking_event;
use super::{Undone, guarded};
use crate::booking::insert_event;
use crate::catalog::{ShowRow, Which, shows_with_names};
use crate::failure::Failure;
use crate::pricing::prices_of;
use crate::row::{instant, listed, micros, parsed};
use crate::schema::{halls, movies, price_lists, seat_claims, show_cancellations, show_prices, shows, theatres};
use crate::seed::insert_show_prices;
use crate::store::SqliteStore;

/// Layout, end of cleaning, opening and closing of sales, version.
type Terms = (i64, i64, Option<i64>, Option<i64>, i64);
/// When the show was cancelled, and why.
type Cancelled = (i64, String);

fn managed(connection: &mut SqliteConnection, row: ShowRow) -> Result<ManagedShow, Failure> {
    let id = row.id();
    let (terms, timezone, cancelled): (Terms, String, Option<Cancelled>) = shows::table
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .left_join(show_cancellations::table.on(show_cancellations::show_id.eq(shows::id)))
        .filter(shows::id.eq(id.0))
        .select((
            (shows::layout_id, shows::hall_free_at, shows::sales_open_at, shows::sales_close_at, shows::version),
            theatres::timezone,
            (show_cancellations::cancelled_at, show_cancellations::reason).nullable(),
        ))
        .first(connection)?;
    let (layout_id, hall_free_at, open_at, close_at, version) = terms;
    let cancellation =
        |(at, reason): Cancelled| Ok::<_, Failure>(ShowCancellation { at: instant(at, "cancelled_at")?, reason });
    Ok(ManagedShow {
        show: row.try_into()?,
        timezone: parsed(timezone.parse(), "timezone")?,
        layout_id: LayoutId(layout_id),
        hall_free_at: instant(hall_free_at, "hall_free_at")?,
        sales_open_at: open_at.map(|at| instant(at, "sales_open_at")).transpose()?,
        sales_close_at: close_at.map(|at| instant(at, "sales_close_at")).transpose()?,
        prices: prices_of(connection, id)?,
        cancellation: cancelled.map(cancellation).transpose()?,
        version,
    })
}

fn managed_show(connection: &mut SqliteConnection, id: ShowId, now: i64) -> Result<Option<ManagedShow>, Failure> {
    let row = shows_with_names(connection, Which::One(id), now)?.pop();
    row.map(|row| managed(connection, row)).transpose()
}

#[async_trait]
impl StaffShowStore for SqliteStore {
    async fn staff_shows(
        &self,
        filter: &StaffShowFilter,
        page: &PageRequest<ShowCursor>,
    ) -> Result<Vec<ManagedShow>, StoreError> {
        let (filter, mut filling, clock) = (filter.clone(), Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = shows_with_names(connection, Which::StaffPage(filter.clone(), page), now)?;
                filling.add(rows, ShowRow::place, |row| listed("shows", row.id().0, managed(connection, row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn staff_show(&self, id: ShowId) -> Result<Option<ManagedShow>, StoreError> {
        let clock = self.clock();
        Ok(self.read(move |connection| managed_show(connection, id, clock.now())).await?)
    }
}

#[async_trait]
impl CancelledShowStore for SqliteStore {
    async fn unfinished(&self) -> Result<Vec<ShowId>, StoreError> {
        let found = self.read(|connection| {
            let ids: Vec<i64> = show_cancellations::table
                .filter(show_cancellations::bookings_cancelled_at.is_null())
                .order((show_cancellations::cancelled_at, show_cancellations::show_id))
                .limit(100)
                .select(show_cancellations::show_id)
                .load(connection)?;
            Ok(ids.into_iter().map(ShowId).collect())
        });
        Ok(found.await?)
    }

    async fn live_bookings(
        &self,
        show: ShowId,
        after: Option<BookingId>,
        max: u32,
    ) -> Result<Vec<(BookingId, UserId)>, StoreError> {
        let found = self.read(move |connection| {
            let rows: Vec<(Option<i64>, Option<i64>)> = booked(show)
                .filter(seat_claims::booking_id.gt(after.map_or(i64::MIN, |id| id.0)))
                .select((seat_claims::booking_id, seat_claims::user_id))
                .distinct()
                .order(seat_claims::booking_id)
                .limit(i64::from(max))
                .load(connection)?;
            let ids = rows.into_iter().filter_map(|(booking, user)| Some((BookingId(booking?), UserId(user?))));
            Ok(ids.collect())
        });
        Ok(found.await?)
    }

    async fn finish(&self, show: ShowId) -> Result<(), StoreError> {
        let clock = self.clock();
        let finished = self.write(move |connection| {
            // A cancelled show gets no booking, so a show without booked seats stays so.
            let live: i64 = booked(show).count().get_result(connection)?;
            if live == 0 {
                let row = show_cancellations::table.find(show.0);
                diesel::update(row.filter(show_cancellations::bookings_cancelled_at.is_null()))
                    .set(show_cancellations::bookings_cancelled_at.eq(clock.now()))
                    .execute(connection)?;
            }
            Ok(())
        });
        Ok(finished.await?)
    }
}

#[diesel::dsl::auto_type]
fn booked(show: ShowId) -> _ {
    let id: i64 = show.0;
    let status: &'static str = ClaimStatus::Booked.as_str();
    seat_claims::table.filter(seat_claims::show_id.eq(id)).filter(seat_claims::status.eq(status))
}

/// Adds shows to a hall. There is no other writer, so what is read here holds until the commit.
pub(super) fn add(connection: &mut SqliteConnection, new: &NewShows, now: i64) -> Result<Vec<ManagedShow>, Undone> {
    let NewShows { movie, theatre, hall, layout_id, price_list, format, language, sales_open_at, shows: added } = new;
    let versions = (
        movies::table.find(movie.id.0).select(movies::version).first(connection).optional()?,
        theatres::table.find(theatre.id.0).select(theatres::version).first(connection).optional()?,
        halls::table.find(hall.id.0).select(halls::version).first(connection).optional()?,
        price_lists::table.find(price_list.id.0).select(price_lists::version).first(connection).optional()?,
    );
    let read = (movie.version, theatre.version, hall.version, price_list.version);
    if versions != (Some(read.0), Some(read.1), Some(read.2), Some(read.3)) {
        return Err(ChangeError::Stale.into());
    }
    let spans: Vec<_> =
        added.iter().map(|show| (micros(show.start.start_time), micros(show.start.hall_free_at))).collect();
    check_overlaps(connection, hall.id.0, &spans, None)?;
    let mut ids = Vec::with_capacity(added.len());
    for show in added {
        let id: i64 = diesel::insert_into(shows::table)
            .values((
                (shows::movie_id.eq(movie.id.0), shows::theatre_id.eq(theatre.id.0), shows::hall_id.eq(hall.id.0)),
                (shows::layout_id.eq(layout_id.0), shows::currency.eq(theatre.currency.code())),
                (shows::format.eq(format.as_str()), shows::language.eq(language.as_str())),
                (shows::start_time.eq(micros(show.start.start_time)), shows::end_time.eq(micros(show.start.end_time))),
                shows::hall_free_at.eq(micros(show.start.hall_free_at)),
                shows::sales_open_at.eq(sales_open_at.map(micros)),
                shows::sales_close_at.eq(show.sales_close_at.map(micros)),
                shows::created_at.eq(now),
            ))
            .returning(shows::id)
            .get_result(connection)?;
        insert_show_prices(connection, id, &show.prices)?;
        ids.push(ShowId(id));
    }
    ids.into_iter().map(|id| found(connection, id, now)).collect()
}

pub(super) fn found(connection: &mut SqliteConnection, id: ShowId, now: i64) -> Result<ManagedShow, Undone> {
    Ok(managed_show(connection, id, now)?.ok_or(Failure::Stale("the show is missing"))?)
}

/// Returns an error if other shows are in the hall at these times.
fn check_overlaps(
    connection: &mut SqliteConnection,
    hall: i64,
    spans: &[(i64, i64)],
    except: Option<i64>,
) -> Result<(), Undone> {
    let mut overlaps = Vec::new();
    for (start, free_at) in spans {
        let others: Vec<(i64, String, i64, i64)> = shows::table
            .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
            .filter(shows::hall_id.eq(hall))
            // A literal, not a parameter: SQLite uses the partial index only if the query contains the exact condition of the index.
            .filter(diesel::dsl::sql::<diesel::sql_types::Bool>("shows.status <> 'cancelled'"))
            .filter(shows::start_time.lt(free_at))
            .filter(shows::hall_free_at.gt(start))
            .filter(shows::id.ne(except.unwrap_or_default()))
            .select((shows::id, movies::title, shows::start_time, shows::hall_free_at))
            .order(shows::start_time)
            .load(connection)?;
        for (id, other_title, other_start, other_free_at) in others {
            overlaps.push(ShowOverlap {
                start_time: instant(*start, "start_time")?,
                other: ShowId(id),
                other_title,
                other_start: instant(other_start, "start_time")?,
                other_hall_free_at: instant(other_free_at, "hall_free_at")?,
            });
        }
        if overlaps.len() >= ShowOverlap::LISTED_MAX {
            break;
        }
    }
    overlaps.truncate(ShowOverlap::LISTED_MAX);
    if overlaps.is_empty() { Ok(()) } else { Err(ChangeError::ShowsOverlap(overlaps).into()) }
}

pub(super) fn edit(
    connection: &mut SqliteConnection,
    edit: &ShowEdit,
    by: UserId,
    now: i64,
) -> Result<ManagedShow, Undone> {
    let id = match edit {
        ShowEdit::Create(new) => {
            let added = add(connection, new, now)?.pop();
            return Ok(added.ok_or(Failure::Stale("a show was not added"))?);
        }
        ShowEdit::Update { before, after } => {
            update(connection, before, after, by, now)?;
            before.show.id
        }
        ShowEdit::Cancel { before, reason } => {
            let id = before.show.id;
            if before.cancellation.is_none() {
                let row = shows::table.find(id.0).filter(shows::version.eq(before.version));
                let values = (shows::status.eq(ShowStatus::Cancelled.as_str()), shows::version.eq(shows::version + 1));
                guarded(diesel::update(row).set(values).execute(connection)?)?;
                diesel::insert_into(show_cancellations::table)
                    .values((
                        show_cancellations::show_id.eq(id.0),
                        show_cancellations::cancelled_at.eq(now),
                        show_cancellations::reason.eq(reason),
                    ))
                    .execute(connection)?;
            }
            id
        }
    };
    found(connection, id, now)
}

fn update(
    connection: &mut SqliteConnection,
    before: &ManagedShow,
    after: &ShowDetails,
    by: UserId,
    now: i64,
) -> Result<(), Undone> {
    let (id, moves) = (before.show.id, after.moves(before));
    let span = (micros(after.start_time), micros(after.hall_free_at));
    if moves {
        check_overlaps(connection, before.show.hall_id.0, &[span], Some(id.0))?;
    }
    let row = shows::table.find(id.0).filter(shows::version.eq(before.version));
    let values = (
        (shows::start_time.eq(span.0), shows::end_time.eq(micros(after.end_time)), shows::hall_free_at.eq(span.1)),
        (shows::format.eq(after.format.as_str()), shows::language.eq(after.language.as_str())),
        shows::sales_open_at.eq(after.sales_open_at.map(micros)),
        shows::sales_close_at.eq(after.sales_close_at.map(micros)),
        shows::version.eq(shows::version + 1),
    );
    guarded(diesel::update(row).set(values).execute(connection)?)?;
    if after.prices != before.prices {
        diesel::delete(show_prices::table.filter(show_prices::show_id.eq(id.0))).execute(connection)?;
        insert_show_prices(connection, id.0, &after.prices)?;
    }
    if !moves {
        return Ok(());
    }
    let live: Vec<Option<i64>> =
        booked(id).select(seat_claims::booking_id).distinct().order(seat_claims::booking_id).load(connection)?;
    if !live.is_empty() && !after.notify {
        return Err(ChangeRefusal::ShowHasBookings.into());
    }
    for booking_id in live.into_iter().flatten().map(BookingId) {
        insert_booking_event(connection, &after.moved(before, booking_id, by), now)?;
        let booking_id = Some(booking_id);
        insert_event(connection, &NewOutboxEvent { kind: OutboxKind::BookingMoved, show_id: id, booking_id }, now)?;
    }
    Ok(())
}
