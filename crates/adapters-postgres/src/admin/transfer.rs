//! Imports and exports of the catalog.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use domain::StoreError;
use domain::admin::{Authority, Change, ChangeError, Changed, Edit, NewLayout};
use domain::catalog::HallDetails;
use domain::ids::{LayoutId, TheatreId};
use domain::pricing::PriceListDetails;
use domain::seating::PlannedLayout;
use domain::seed::ShowSeed;
use domain::transfer::{
    Document, ExportError, ImportActor, ImportError, ImportPlan, ImportReport, ImportSteps, NewHall, NewListing,
    PlannedShow, ShowWindow, StoredCatalog, StoredHall, StoredShow, TransferStore,
};

use super::audit::insert_entry;
use super::catalog::{edit_hall, edit_movie, edit_theatre};
use super::pricing::{edit_price_list, edit_ticket_type};
use super::shows::managed_shows;
use super::users::lock_member;
use super::{Failure, layouts};
use crate::catalog::{all_halls, all_movies, all_theatres};
use crate::migrations::{LOCK_PAUSE, try_schema_lock};
use crate::pricing::{all_price_lists, all_ticket_types};
use crate::rows::{category_prices, currency, parse_all};
use crate::schema::theatres;
use crate::seating::layout_by_id;
use crate::seed::insert_shows;
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

statement!(NewestLayouts: (BigInt, BigInt) = "
    SELECT DISTINCT ON (hall_id) hall_id, id FROM layouts ORDER BY hall_id, version DESC");
// No show takes two days with its cleaning.
statement!(ReadShows: Untyped = "
    SELECT m.title AS movie, t.name AS theatre, h.name AS hall, s.start_time, s.end_time, s.hall_free_at, s.format,
        s.language, s.currency, s.status = 'cancelled' AS is_cancelled, s.sales_open_at, s.sales_close_at,
        coalesce(p.categories, '{}') AS categories, coalesce(p.ticket_types, '{}') AS ticket_types,
        coalesce(p.prices, '{}') AS prices
    FROM shows s
    JOIN movies m ON m.id = s.movie_id
    JOIN theatres t ON t.id = s.theatre_id
    JOIN halls h ON h.id = s.hall_id
    LEFT JOIN LATERAL (
        SELECT array_agg(category) AS categories, array_agg(ticket_type) AS ticket_types, array_agg(price_minor) AS prices
        FROM show_prices WHERE show_id = s.id
    ) p ON true
    WHERE $1::timestamptz IS NULL
       OR (s.start_time > $1 - interval '2 days' AND s.hall_free_at > $1 AND s.start_time < $2)");
statement!(SetSales: () = "
    UPDATE shows SET sales_open_at = sales.open_at, sales_close_at = sales.close_at
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::timestamptz[])
        AS sales (theatre, hall, start_time, open_at, close_at)
    JOIN theatres t ON t.name = sales.theatre
    JOIN halls h ON h.theatre_id = t.id AND h.name = sales.hall
    WHERE shows.hall_id = h.id AND shows.start_time = sales.start_time AND shows.status = 'scheduled'");

/// Excludes concurrent changes of the catalog, so that what is read holds until the commit. Reads and sales go on.
const LOCK: &str = "LOCK TABLE ticket_types, movies, theatres, halls, layouts, price_lists IN SHARE ROW EXCLUSIVE MODE";
/// An export reads from one snapshot. To be executed first in a transaction.
const SNAPSHOT: &str = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY";

#[async_trait]
impl TransferStore for PostgresStore {
    async fn import(&self, plan: &ImportPlan, actor: &ImportActor) -> Result<ImportReport, ImportError> {
        let imported: Result<_, ChangeError> = self
            .transact(async |connection| {
                // A concurrent import or seed runs before this one, or after it.
                while !try_schema_lock(connection, "pg_try_advisory_xact_lock").await? {
                    tokio::time::sleep(LOCK_PAUSE).await;
                }
                imported(connection, plan, actor).await
            })
            .await;
        imported?
    }

    async fn export(&self) -> Result<Document, ExportError> {
        let found: Result<_, StoreError> = self
            .transact(async |connection| {
                connection.batch_execute(SNAPSHOT).await?;
                Ok((catalog(connection).await?, stored_shows(connection, None).await?))
            })
            .await;
        let (catalog, shows) = found?;
        catalog.export(&shows)
    }
}

/// Decides and writes an import. Mistakes are found before anything is written.
async fn imported(
    connection: &mut AsyncPgConnection,
    plan: &ImportPlan,
    actor: &ImportActor,
) -> Result<Result<ImportReport, ImportError>, Failure> {
    if let ImportActor::Staff(request) = actor {
        let member = lock_member(connection, &request.bearer).await?;
        let member = member.ok_or(WriteFailure::Refused(ChangeError::SessionEnded))?;
        if !member.has(Authority::Admin) {
            return Err(WriteFailure::Refused(ChangeError::Forbidden));
        }
    }
    connection.batch_execute(LOCK).await?;
    let planned = plan.objects(&catalog(connection).await?);
    let shows = match planned.window() {
        Some(window) => stored_shows(connection, Some(window)).await?,
        None => Vec::new(),
    };
    let steps = match planned.shows(&shows) {
        Ok(steps) => steps,
        Err(mistakes) => return Ok(Err(ImportError::Invalid(mistakes))),
    };
    let report = steps.report;
    if !plan.is_dry_run {
        Writer { connection, actor, theatres: HashMap::new() }.write(steps).await?;
    }
    Ok(Ok(report))
}

/// Writes the objects of an import.
struct Writer<'a> {
    connection: &'a mut AsyncPgConnection,
    actor: &'a ImportActor,
    /// The ids of theatres by name.
    theatres: HashMap<String, TheatreId>,
}

impl Writer<'_> {
    async fn write(mut self, steps: ImportSteps) -> Result<(), Failure> {
        let ImportSteps { report: _, ticket_types, movies, theatres, halls, price_lists, shows } = steps;
        for edit in ticket_types {
            let changed = Changed::TicketType(edit_ticket_type(self.connection, &edit).await?);
            self.record(&Change::TicketType(edit), &changed).await?;
        }
        for details in movies {
            let edit = Edit::Create(details);
            let changed = Changed::Movie(edit_movie(self.connection, &edit).await?);
            self.record(&Change::Movie(edit), &changed).await?;
        }
        for details in theatres {
            let edit = Edit::Create(details);
            let theatre = edit_theatre(self.connection, &edit).await?;
            self.theatres.insert(theatre.name.clone(), theatre.id);
            self.record(&Change::Theatre(edit), &Changed::Theatre(theatre)).await?;
        }
        for NewHall { theatre, name, layout } in halls {
            let theatre_id = self.theatre(theatre.as_str()).await?;
            let edit = Edit::Create(HallDetails { theatre_id, name });
            let hall = edit_hall(self.connection, &edit).await?;
            self.record(&Change::Hall(edit), &Changed::Hall(hall.clone())).await?;
            if let Some(plan) = layout {
                let new = NewLayout { hall, plan };
                let changed = Changed::Layout(layouts::add(self.connection, &new).await?);
                self.record(&Change::Layout(new), &changed).await?;
            }
        }
        for NewListing { theatre, details } in price_lists {
            let PriceListDetails { name, list } = details;
            let list = list.of_theatre(self.theatre(theatre.as_str()).await?);
            let edit = Edit::Create(PriceListDetails { name, list });
            let changed = Changed::PriceList(edit_price_list(self.connection, &edit).await?);
            self.record(&Change::PriceList(edit), &changed).await?;
        }
        self.shows(shows).await
    }

    /// Inserts shows, as a seed does.
    async fn shows(&mut self, shows: Vec<PlannedShow>) -> Result<(), Failure> {
        let limited = shows.iter().filter(|show| show.sales_open_at.is_some() || show.sales_close_at.is_some());
        let limited: Vec<PlannedShow> = limited.cloned().collect();
        let seeds: Vec<ShowSeed> = shows.into_iter().map(|show| show.show).collect();
        let inserted = insert_shows(self.connection, &seeds).await.map_err(|failure| match failure {
            WriteFailure::Refused(error) | WriteFailure::Store(error) => WriteFailure::Store(error),
            WriteFailure::Query(error) => WriteFailure::Query(error),
        })?;
        if inserted.len() != seeds.len() {
            return Err(WriteFailure::Refused(ChangeError::Stale));
        }
        bind!(
            SetSales,
            Array<Text> = limited.iter().map(|show| show.show.theatre_name.as_str()).collect::<Vec<_>>(),
            Array<Text> = limited.iter().map(|show| show.show.hall_name.as_str()).collect::<Vec<_>>(),
            Array<Timestamptz> = limited.iter().map(|show| show.show.start_time).collect::<Vec<_>>(),
            Array<Nullable<Timestamptz>> = limited.iter().map(|show| show.sales_open_at).collect::<Vec<_>>(),
            Array<Nullable<Timestamptz>> = limited.iter().map(|show| show.sales_close_at).collect::<Vec<_>>(),
        )
        .execute(self.connection)
        .await?;
        if let ImportActor::Staff(request) = self.actor {
            for show in managed_shows(self.connection, &inserted).await? {
                insert_entry(self.connection, &request.entry(Changed::Show(show).created())).await?;
            }
        }
        Ok(())
    }

    /// Returns the id of a theatre, also of one that is not of this import.
    async fn theatre(&mut self, name: &str) -> Result<TheatreId, Failure> {
        if let Some(id) = self.theatres.get(name) {
            return Ok(*id);
        }
        let id = theatres::table.filter(theatres::name.eq(name)).select(theatres::id).first(self.connection).await?;
        self.theatres.insert(name.to_owned(), TheatreId(id));
        Ok(TheatreId(id))
    }

    /// Writes the entry of a change to the audit log. An entry has the user who made the change; the command line has none.
    async fn record(&mut self, change: &Change, changed: &Changed) -> Result<(), Failure> {
        if let ImportActor::Staff(request) = self.actor {
            for record in change.records(changed) {
                insert_entry(self.connection, &request.entry(record)).await?;
            }
        }
        Ok(())
    }
}

/// Reads the catalog without its shows.
async fn catalog<E: From<StoreError> + Send>(
    connection: &mut AsyncPgConnection,
) -> Result<StoredCatalog, WriteFailure<E>> {
    let newest: Vec<(i64, i64)> = bind!(NewestLayouts).load(connection).await?;
    let newest: HashMap<i64, i64> = newest.into_iter().collect();
    let mut halls = Vec::new();
    for hall in all_halls(connection).await? {
        let layout = match newest.get(&hall.id.0) {
            Some(id) => Some(PlannedLayout::from(&layout_by_id(connection, LayoutId(*id)).await?)),
            None => None,
        };
        halls.push(StoredHall { hall, layout });
    }
    Ok(StoredCatalog {
        ticket_types: all_ticket_types(connection).await?,
        movies: all_movies(connection).await?,
        theatres: all_theatres(connection).await?,
        halls,
        price_lists: all_price_lists(connection).await?,
    })
}

#[derive(QueryableByName)]
struct ShowRow {
    #[diesel(sql_type = Text)]
    movie: String,
    #[diesel(sql_type = Text)]
    theatre: String,
    #[diesel(sql_type = Text)]
    hall: String,
    #[diesel(sql_type = Timestamptz)]
    start_time: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    end_time: DateTime<Utc>,
    #[diesel(sql_type = Timestamptz)]
    hall_free_at: DateTime<Utc>,
    #[diesel(sql_type = Text)]
    format: String,
    #[diesel(sql_type = Text)]
    language: String,
    #[diesel(sql_type = Text)]
    currency: String,
    #[diesel(sql_type = Bool)]
    is_cancelled: bool,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    sales_open_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Nullable<Timestamptz>)]
    sales_close_at: Option<DateTime<Utc>>,
    #[diesel(sql_type = Array<Text>)]
    categories: Vec<String>,
    #[diesel(sql_type = Array<Text>)]
    ticket_types: Vec<String>,
    #[diesel(sql_type = Array<BigInt>)]
    prices: Vec<i64>,
}

/// Reads the shows that occupy their halls within a window, or all of them.
async fn stored_shows<E: From<StoreError> + Send>(
    connection: &mut AsyncPgConnection,
    window: Option<ShowWindow>,
) -> Result<Vec<StoredShow>, WriteFailure<E>> {
    let rows: Vec<ShowRow> = bind!(
        ReadShows,
        Nullable<Timestamptz> = window.map(|window| window.from),
        Nullable<Timestamptz> = window.map(|window| window.to),
    )
    .load(connection)
    .await?;
    let shows = parse_all(rows, |row| {
        Ok(StoredShow {
            movie: row.movie,
            theatre: row.theatre,
            hall: row.hall,
            start_time: row.start_time,
            end_time: row.end_time,
            hall_free_at: row.hall_free_at,
            format: row.format,
            language: row.language,
            currency: currency(&row.currency)?,
            is_cancelled: row.is_cancelled,
            sales_open_at: row.sales_open_at,
            sales_close_at: row.sales_close_at,
            prices: category_prices(row.categories, row.ticket_types, row.prices)?,
        })
    });
    Ok(shows?)
}
