//! Layouts of halls.

use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::dsl::max;
use diesel::prelude::*;
use diesel::result::Error;
use diesel::sql_types::{Array, BigInt, Integer, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::admin::{
    AddedLayout, ChangeError, ChangeRefusal, LayoutCursor, LayoutVersion, LayoutVersionStore, NewLayout, UpcomingShow,
};
use domain::ids::{HallId, LayoutId, ShowId, TheatreId};
use domain::page::PageRequest;
use domain::pricing::TicketTypeCode;

use super::{Failure, refused};
use crate::error::{Condition, condition};
use crate::rows::claim_is_live;
use crate::schema::{halls, layouts, seat_claims, shows};
use crate::seating::layout_by_id;
use crate::seed::insert_layout;
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

macro_rules! version_columns {
    () => {
        "SELECT l.id, l.hall_id, h.theatre_id, l.version, l.seats_total, l.created_at,
            (SELECT count(*) FROM shows s WHERE s.hall_id = l.hall_id AND s.layout_id = l.id
                AND s.status = 'scheduled' AND s.end_time > now()) AS used_by_shows
        FROM layouts l
        JOIN halls h ON h.id = l.hall_id "
    };
}

statement!(ListVersions: Untyped = concat!(version_columns!(), "
    WHERE l.hall_id = $1 AND ($2::bigint IS NULL OR l.version < $2)
    ORDER BY l.version DESC
    LIMIT $3"));
statement!(OneVersion: Untyped = concat!(version_columns!(), "WHERE l.id = $1"));
// Bookings have no index of their shows, so this reads all bookings. It runs before any show is locked.
statement!(ReadBooked: BigInt = "
    SELECT s.id FROM shows s
    WHERE s.hall_id = $1 AND s.status = 'scheduled' AND s.start_time > now()
      AND s.id IN (SELECT b.show_id FROM bookings b)");
// Every sale locks its show in share mode until its commit: the sales that this waits for are seen by the next statement.
statement!(LockUpcoming: BigInt = "
    SELECT s.id FROM shows s
    WHERE s.hall_id = $1 AND s.status = 'scheduled' AND s.start_time > now()
    ORDER BY s.id
    FOR UPDATE");
statement!(ReadClaimed: BigInt = concat!("
    SELECT DISTINCT c.show_id FROM seat_claims c WHERE c.show_id = ANY ($1) AND ", claim_is_live!()));
statement!(ReadCategories: (BigInt, Text) = "
    SELECT p.show_id, p.category FROM show_prices p WHERE p.show_id = ANY ($1) AND p.ticket_type = $2");

#[derive(QueryableByName)]
struct VersionRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    hall_id: i64,
    #[diesel(sql_type = BigInt)]
    theatre_id: i64,
    #[diesel(sql_type = Integer)]
    version: i32,
    #[diesel(sql_type = Integer)]
    seats_total: i32,
    #[diesel(sql_type = Timestamptz)]
    created_at: DateTime<Utc>,
    #[diesel(sql_type = BigInt)]
    used_by_shows: i64,
}

impl From<VersionRow> for LayoutVersion {
    fn from(row: VersionRow) -> Self {
        Self {
            id: LayoutId(row.id),
            hall_id: HallId(row.hall_id),
            theatre_id: TheatreId(row.theatre_id),
            version: i64::from(row.version),
            seats_total: i64::from(row.seats_total),
            created_at: row.created_at,
            used_by_shows: row.used_by_shows,
        }
    }
}

#[async_trait]
impl LayoutVersionStore for PostgresStore {
    async fn layout_versions(
        &self,
        hall: HallId,
        page: &PageRequest<LayoutCursor>,
    ) -> Result<Vec<LayoutVersion>, StoreError> {
        let before = page.after.map(|LayoutCursor { version }| version);
        let query = bind!(ListVersions, BigInt = hall.0, Nullable<BigInt> = before, BigInt = page.rows());
        let rows: Vec<VersionRow> = self.load(query).await?;
        Ok(rows.into_iter().map(LayoutVersion::from).collect())
    }

    async fn layout_version(&self, id: LayoutId) -> Result<Option<LayoutVersion>, StoreError> {
        let row: Option<VersionRow> = self.first(bind!(OneVersion, BigInt = id.0)).await?;
        Ok(row.map(LayoutVersion::from))
    }
}

/// Adds a layout to a hall. The hall's row stays locked, so that concurrent layouts of the hall follow each other.
pub(super) async fn add(connection: &mut AsyncPgConnection, new: &NewLayout) -> Result<AddedLayout, Failure> {
    let hall_id = new.hall.id.0;
    let open = halls::table.find(hall_id).filter(halls::retired_at.is_null());
    if diesel::update(open).set(halls::version.eq(halls::version + 1)).execute(connection).await? == 0 {
        return Err(refused(ChangeRefusal::HallRetired));
    }
    let newest: Option<i32> = layouts::table
        .filter(layouts::hall_id.eq(hall_id))
        .select(max(layouts::version))
        .get_result(connection)
        .await?;
    let next = newest.unwrap_or(0).saturating_add(1);
    let id = insert_layout(connection, (hall_id, next), &new.plan.seats, &new.plan.sections).await?;

    let used = new.shared_by(lock_upcoming_shows(connection, hall_id).await?);
    let updated: Vec<i64> = used.updated.iter().map(|id| id.0).collect();
    // The claims of these shows have expired. They refer to seats of the former layout.
    diesel::delete(seat_claims::table.filter(seat_claims::show_id.eq_any(&updated)))
        .execute(connection)
        .await
        .map_err(retried)?;
    diesel::update(shows::table.filter(shows::id.eq_any(&updated)))
        .set((shows::layout_id.eq(id), shows::version.eq(shows::version + 1)))
        .execute(connection)
        .await?;

    let row: VersionRow = bind!(OneVersion, BigInt = id).get_result(connection).await?;
    let layout = layout_by_id(connection, LayoutId(id)).await?;
    Ok(AddedLayout { version: row.into(), layout, shows: used })
}

async fn lock_upcoming_shows(connection: &mut AsyncPgConnection, hall_id: i64) -> Result<Vec<UpcomingShow>, Failure> {
    let booked: Vec<i64> = bind!(ReadBooked, BigInt = hall_id).load(connection).await?;
    let ids: Vec<i64> = bind!(LockUpcoming, BigInt = hall_id).load(connection).await.map_err(retried)?;
    let claimed: Vec<i64> = bind!(ReadClaimed, Array<BigInt> = &ids).load(connection).await?;
    let with_sales: HashSet<i64> = booked.into_iter().chain(claimed).collect();
    let prices: Vec<(i64, String)> =
        bind!(ReadCategories, Array<BigInt> = &ids, Text = TicketTypeCode::ADULT.as_str()).load(connection).await?;
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

/// Has the change computed again if a sale and this change waited for each other.
pub(super) fn retried(error: Error) -> Failure {
    match condition(&error) {
        Condition::Conflict => WriteFailure::Refused(ChangeError::Stale),
        _ => WriteFailure::Query(error),
    }
}
