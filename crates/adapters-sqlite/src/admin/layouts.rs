//! Layouts of halls.

use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use diesel::dsl::{max, sql};
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::BigInt;
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::admin::{
    AddedLayout, ChangeRefusal, LayoutCursor, LayoutVersion, LayoutVersionStore, NewLayout, UpcomingShow,
};
use domain::catalog::ShowStatus;
use domain::ids::{HallId, LayoutId, ShowId, TheatreId};
use domain::page::{Filling, PageRequest};
use domain::pricing::TicketTypeCode;

use super::Undone;
use crate::failure::Failure;
use crate::row::{claim_is_live, instant, listed};
use crate::schema::{bookings, halls, layouts, seat_claims, show_prices, shows};
use crate::seating::layout;
use crate::seed::add_layout;
use crate::store::SqliteStore;

#[derive(Queryable)]
struct VersionRow {
    id: i64,
    hall_id: i64,
    theatre_id: i64,
    version: i64,
    seats_total: i64,
    created_at: i64,
    used_by_shows: i64,
}

impl TryFrom<VersionRow> for LayoutVersion {
    type Error = Failure;

    fn try_from(row: VersionRow) -> Result<Self, Failure> {
        Ok(Self {
            id: LayoutId(row.id),
            hall_id: HallId(row.hall_id),
            theatre_id: TheatreId(row.theatre_id),
            version: row.version,
            seats_total: row.seats_total,
            created_at: instant(row.created_at, "created_at")?,
            used_by_shows: row.used_by_shows,
        })
    }
}

/// The number of scheduled shows with a layout that have not ended.
fn used_by_shows(now: i64) -> SqlLiteral<BigInt> {
    // The number is the only value, so nothing can be injected.
    sql(&format!(
        "(SELECT count(*) FROM shows AS show WHERE show.hall_id = layouts.hall_id AND show.layout_id = layouts.id \
         AND show.status = 'scheduled' AND show.end_time > {now})"
    ))
}

#[async_trait]
impl LayoutVersionStore for SqliteStore {
    async fn layout_versions(
        &self,
        hall: HallId,
        page: &PageRequest<LayoutCursor>,
    ) -> Result<Vec<LayoutVersion>, StoreError> {
        let (mut filling, clock) = (Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = versions(connection, Which::Page(hall, &page), now)?;
                let place = |row: &VersionRow| LayoutCursor { version: row.version };
                filling.add(rows, place, |row| listed("layouts", row.id, LayoutVersion::try_from(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn layout_version(&self, id: LayoutId) -> Result<Option<LayoutVersion>, StoreError> {
        let clock = self.clock();
        Ok(self.read(move |connection| version(connection, id, clock.now())).await?)
    }
}

/// Selects the layouts to read.
enum Which<'page> {
    One(LayoutId),
    Page(HallId, &'page PageRequest<LayoutCursor>),
}

fn versions(connection: &mut SqliteConnection, which: Which<'_>, now: i64) -> Result<Vec<VersionRow>, Failure> {
    let mut query = layouts::table
        .inner_join(halls::table.on(halls::id.eq(layouts::hall_id)))
        .select((
            layouts::id,
            layouts::hall_id,
            halls::theatre_id,
            layouts::version,
            layouts::seats_total,
            layouts::created_at,
            used_by_shows(now),
        ))
        .into_boxed::<Sqlite>();
    match which {
        Which::One(id) => query = query.filter(layouts::id.eq(id.0)),
        Which::Page(hall, page) => {
            query = query.filter(layouts::hall_id.eq(hall.0));
            if let Some(LayoutCursor { version }) = page.after {
                query = query.filter(layouts::version.lt(version));
            }
            query = query.order(layouts::version.desc()).limit(page.rows());
        }
    }
    Ok(query.load(connection)?)
}

/// Reads one layout.
fn version(connection: &mut SqliteConnection, id: LayoutId, now: i64) -> Result<Option<LayoutVersion>, Failure> {
    versions(connection, Which::One(id), now)?.pop().map(LayoutVersion::try_from).transpose()
}

/// Adds a layout to a hall. There is no other writer, so what is read here holds until the commit.
pub(super) fn add(connection: &mut SqliteConnection, new: &NewLayout, now: i64) -> Result<AddedLayout, Undone> {
    let hall_id = new.hall.id.0;
    let open = halls::table.find(hall_id).filter(halls::retired_at.is_null());
    if diesel::update(open).set(halls::version.eq(halls::version + 1)).execute(connection)? == 0 {
        return Err(ChangeRefusal::HallRetired.into());
    }
    let newest: Option<i64> =
        layouts::table.filter(layouts::hall_id.eq(hall_id)).select(max(layouts::version)).get_result(connection)?;
    let next = newest.unwrap_or(0).saturating_add(1);
    let id = add_layout(connection, (hall_id, next), &new.plan.seats, &new.plan.sections, now)?;

    let used = new.shared_by(upcoming_shows(connection, hall_id, now)?);
    let updated: Vec<i64> = used.updated.iter().map(|id| id.0).collect();
    // The claims of these shows have expired. They refer to seats of the former layout.
    diesel::delete(seat_claims::table.filter(seat_claims::show_id.eq_any(&updated))).execute(connection)?;
    diesel::update(shows::table.filter(shows::id.eq_any(&updated)))
        .set((shows::layout_id.eq(id), shows::version.eq(shows::version + 1)))
        .execute(connection)?;

    let id = LayoutId(id);
    let version = version(connection, id, now)?.ok_or(Failure::Stale("the layout is missing"))?;
    let layout = layout(connection, id)?.ok_or(Failure::Stale("the seats are missing"))?;
    Ok(AddedLayout { version, layout, shows: used })
}

fn upcoming_shows(connection: &mut SqliteConnection, hall_id: i64, now: i64) -> Result<Vec<UpcomingShow>, Failure> {
    let ids: Vec<i64> = shows::table
        .filter(shows::hall_id.eq(hall_id))
        .filter(shows::status.eq(ShowStatus::Scheduled.as_str()))
        .filter(shows::start_time.gt(now))
        .select(shows::id)
        .load(connection)?;
    let booked: Vec<i64> =
        bookings::table.filter(bookings::show_id.eq_any(&ids)).select(bookings::show_id).distinct().load(connection)?;
    let claimed: Vec<i64> = seat_claims::table
        .filter(seat_claims::show_id.eq_any(&ids))
        .filter(claim_is_live(now))
        .select(seat_claims::show_id)
        .distinct()
        .load(connection)?;
    let with_sales: HashSet<i64> = booked.into_iter().chain(claimed).collect();
    let prices: Vec<(i64, String)> = show_prices::table
        .filter(show_prices::show_id.eq_any(&ids))
        .filter(show_prices::ticket_type.eq(TicketTypeCode::ADULT.as_str()))
        .select((show_prices::show_id, show_prices::category))
        .load(connection)?;
    let mut categories_of: HashMap<i64, BTreeSet<String>> = HashMap::new();
    for (show, category) in prices {
        categories_of.entry(show).or_default().insert(category);
    }
    let show = |id: i64| UpcomingShow {
        id: ShowId(id),
        has_sales: with_sales.contains(&id),
        adult_categories: categories_of.remove(&id).unwrap_or_default(),
    };
    Ok(ids.into_iter().map(show).collect())
}
