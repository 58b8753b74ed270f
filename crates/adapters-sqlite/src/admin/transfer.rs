//! Imports and exports of the catalog.

use std::collections::HashMap;

use async_trait::async_trait;
use diesel::prelude::*;
use diesel::sqlite::Sqlite;
use domain::admin::{Authority, Change, ChangeError, Changed, Edit, NewLayout};
use domain::catalog::{HallDetails, ShowStatus, Theatre};
use domain::ids::{LayoutId, TheatreId};
use domain::pricing::PriceListDetails;
use domain::seating::{CategoryPrice, PlannedLayout};
use domain::transfer::{
    Document, ExportError, ImportActor, ImportError, ImportPlan, ImportReport, ImportSteps, NewHall, NewListing,
    PlannedShow, ShowWindow, StoredCatalog, StoredHall, StoredShow, TransferStore,
};

use super::catalog::{edit_hall, edit_movie, edit_theatre};
use super::pricing::{edit_price_list, edit_ticket_type};
use super::shows::found;
use super::users::member;
use super::{Undone, insert_entry, layouts};
use crate::catalog::{all_halls, all_movies, all_theatres};
use crate::failure::Failure;
use crate::pricing::{all_price_lists, all_ticket_types};
use crate::row::{currency, instant, micros, ticket_type};
use crate::schema::{halls, layouts as layout_versions, movies, show_prices, shows, theatres};
use crate::seating::layout;
use crate::seed::{Stage, add_show};
use crate::store::SqliteStore;
use crate::workers::in_transaction;

#[async_trait]
impl TransferStore for SqliteStore {
    async fn import(&self, plan: &ImportPlan, actor: &ImportActor) -> Result<ImportReport, ImportError> {
        let (plan, actor, clock) = (plan.clone(), actor.clone(), self.clock());
        let outcome = self.on_writer(move |connection| {
            let imported = in_transaction(connection, |connection| imported(connection, &plan, &actor, clock.now()));
            match imported {
                Ok(answer) => Ok(answer),
                Err(Undone::Refused(error)) => Ok(Err(error.into())),
                Err(Undone::Failed(failure)) => Err(failure),
            }
        });
        outcome.await.map_err(|failure| ImportError::Store(failure.into()))?
    }

    async fn export(&self) -> Result<Document, ExportError> {
        let found = self.read(|connection| Ok((catalog(connection)?, stored_shows(connection, None)?)));
        let (catalog, shows) = found.await.map_err(|failure| ExportError::Store(failure.into()))?;
        catalog.export(&shows)
    }
}

/// Decides and writes an import. Mistakes are found before anything is written. There is no other writer, so what is read here holds until
/// the commit.
fn imported(
    connection: &mut SqliteConnection,
    plan: &ImportPlan,
    actor: &ImportActor,
    now: i64,
) -> Result<Result<ImportReport, ImportError>, Undone> {
    if let ImportActor::Staff(request) = actor {
        let member = member(connection, &request.bearer)?.ok_or(ChangeError::SessionEnded)?;
        if !member.has(Authority::Admin) {
            return Err(ChangeError::Forbidden.into());
        }
    }
    let planned = plan.objects(&catalog(connection)?);
    let shows = match planned.window() {
        Some(window) => stored_shows(connection, Some(window))?,
        None => Vec::new(),
    };
    let steps = match planned.shows(&shows) {
        Ok(steps) => steps,
        Err(mistakes) => return Ok(Err(ImportError::Invalid(mistakes))),
    };
    let report = steps.report;
    if !plan.is_dry_run {
        Writer { connection, actor, now, theatres: HashMap::new() }.write(steps)?;
    }
    Ok(Ok(report))
}

/// Writes the objects of an import.
struct Writer<'a> {
    connection: &'a mut SqliteConnection,
    actor: &'a ImportActor,
    now: i64,
    /// The ids of theatres by name.
    theatres: HashMap<String, TheatreId>,
}

impl Writer<'_> {
    fn write(mut self, steps: ImportSteps) -> Result<(), Undone> {
        let ImportSteps { report: _, ticket_types, movies, theatres, halls, price_lists, shows } = steps;
        for edit in ticket_types {
            let changed = Changed::TicketType(edit_ticket_type(self.connection, &edit, self.now)?);
            self.record(&Change::TicketType(edit), &changed)?;
        }
        for details in movies {
            let edit = Edit::Create(details);
            let changed = Changed::Movie(edit_movie(self.connection, &edit, self.now)?);
            self.record(&Change::Movie(edit), &changed)?;
        }
        for details in theatres {
            let edit = Edit::Create(details);
            let theatre = edit_theatre(self.connection, &edit, self.now)?;
            self.theatres.insert(theatre.name.clone(), theatre.id);
            self.record(&Change::Theatre(edit), &Changed::Theatre(theatre))?;
        }
        for NewHall { theatre, name, layout } in halls {
            let edit = Edit::Create(HallDetails { theatre_id: self.theatre(theatre.as_str())?, name });
            let hall = edit_hall(self.connection, &edit, self.now)?;
            self.record(&Change::Hall(edit), &Changed::Hall(hall.clone()))?;
            if let Some(plan) = layout {
                let new = NewLayout { hall, plan };
                let changed = Changed::Layout(layouts::add(self.connection, &new, self.now)?);
                self.record(&Change::Layout(new), &changed)?;
            }
        }
        for NewListing { theatre, details } in price_lists {
            let PriceListDetails { name, list } = details;
            let list = list.of_theatre(self.theatre(theatre.as_str())?);
            let edit = Edit::Create(PriceListDetails { name, list });
            let changed = Changed::PriceList(edit_price_list(self.connection, &edit, self.now)?);
            self.record(&Change::PriceList(edit), &changed)?;
        }
        self.shows(&shows)
    }

    /// Inserts shows, as a seed does.
    fn shows(&mut self, shows: &[PlannedShow]) -> Result<(), Undone> {
        if shows.is_empty() {
            return Ok(());
        }
        let stage = Stage::read(self.connection)?;
        for PlannedShow { show, sales_open_at, sales_close_at } in shows {
            let id = add_show(self.connection, &stage, show, self.now)?.ok_or(ChangeError::Stale)?;
            if sales_open_at.is_some() || sales_close_at.is_some() {
                let hall = halls::table
                    .inner_join(theatres::table.on(theatres::id.eq(halls::theatre_id)))
                    .filter(theatres::name.eq(&show.theatre_name))
                    .filter(halls::name.eq(&show.hall_name))
                    .select(halls::id)
                    .first::<i64>(self.connection)?;
                let row = shows::table
                    .filter(shows::hall_id.eq(hall))
                    .filter(shows::start_time.eq(micros(show.start_time)))
                    .filter(shows::status.eq(ShowStatus::Scheduled.as_str()));
                diesel::update(row)
                    .set((
                        shows::sales_open_at.eq(sales_open_at.map(micros)),
                        shows::sales_close_at.eq(sales_close_at.map(micros)),
                    ))
                    .execute(self.connection)?;
            }
            if let ImportActor::Staff(request) = self.actor {
                let added = Changed::Show(found(self.connection, id, self.now)?);
                insert_entry(self.connection, &request.entry(added.created()), self.now)?;
            }
        }
        Ok(())
    }

    /// Returns the id of a theatre, also of one that is not of this import.
    fn theatre(&mut self, name: &str) -> Result<TheatreId, Undone> {
        if let Some(id) = self.theatres.get(name) {
            return Ok(*id);
        }
        let id = theatres::table.filter(theatres::name.eq(name)).select(theatres::id).first(self.connection)?;
        self.theatres.insert(name.to_owned(), TheatreId(id));
        Ok(TheatreId(id))
    }

    /// Writes the entry of a change to the audit log. An entry has the user who made the change; the command line has none.
    fn record(&mut self, change: &Change, changed: &Changed) -> Result<(), Undone> {
        if let ImportActor::Staff(request) = self.actor {
            for record in change.records(changed) {
                insert_entry(self.connection, &request.entry(record), self.now)?;
            }
        }
        Ok(())
    }
}

/// Reads the catalog without its shows.
fn catalog(connection: &mut SqliteConnection) -> Result<StoredCatalog, Failure> {
    let ids: Vec<(i64, i64)> = layout_versions::table
        .select((layout_versions::hall_id, layout_versions::id))
        .order(layout_versions::version)
        .load(connection)?;
    // Versions are read in ascending order, so the newest one overwrites the others.
    let newest: HashMap<i64, i64> = ids.into_iter().collect();
    let mut halls = Vec::new();
    for hall in all_halls(connection)? {
        let layout = match newest.get(&hall.id.0) {
            Some(id) => layout(connection, LayoutId(*id))?.as_ref().map(PlannedLayout::from),
            None => None,
        };
        halls.push(StoredHall { hall, layout });
    }
    let theatres: Vec<Theatre> = all_theatres(connection)?;
    Ok(StoredCatalog {
        ticket_types: all_ticket_types(connection)?,
        movies: all_movies(connection)?,
        theatres,
        halls,
        price_lists: all_price_lists(connection)?,
    })
}

#[derive(Queryable)]
struct ShowRow {
    id: i64,
    names: (String, String, String),
    times: (i64, i64, i64, Option<i64>, Option<i64>),
    facts: (String, String, String, String),
}

/// Reads the shows that occupy their halls within a window, or all of them.
fn stored_shows(connection: &mut SqliteConnection, window: Option<ShowWindow>) -> Result<Vec<StoredShow>, Failure> {
    let mut query = shows::table
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .select((
            shows::id,
            (movies::title, theatres::name, halls::name),
            (shows::start_time, shows::end_time, shows::hall_free_at, shows::sales_open_at, shows::sales_close_at),
            (shows::format, shows::language, shows::currency, shows::status),
        ))
        .into_boxed::<Sqlite>();
    let mut of_shows = show_prices::table
        .inner_join(shows::table.on(shows::id.eq(show_prices::show_id)))
        .select((show_prices::show_id, show_prices::category, show_prices::ticket_type, show_prices::price_minor))
        .into_boxed::<Sqlite>();
    if let Some(ShowWindow { from, to }) = window {
        let (from, to) = (micros(from), micros(to));
        query = query.filter(shows::hall_free_at.gt(from).and(shows::start_time.lt(to)));
        of_shows = of_shows.filter(shows::hall_free_at.gt(from).and(shows::start_time.lt(to)));
    }
    let mut prices: HashMap<i64, Vec<CategoryPrice>> = HashMap::new();
    let price_rows: Vec<(i64, String, String, i64)> = of_shows.load(connection)?;
    for (show, category, code, minor) in price_rows {
        let price = CategoryPrice { category, ticket_type: ticket_type(&code)?, minor };
        prices.entry(show).or_default().push(price);
    }
    let rows: Vec<ShowRow> = query.load(connection)?;
    let show = |row: ShowRow| {
        let ((movie, theatre, hall), (start, end, free, open, close)) = (row.names, row.times);
        let (format, language, code, status) = row.facts;
        Ok(StoredShow {
            movie,
            theatre,
            hall,
            start_time: instant(start, "start_time")?,
            end_time: instant(end, "end_time")?,
            hall_free_at: instant(free, "hall_free_at")?,
            format,
            language,
            currency: currency(&code)?,
            is_cancelled: status == ShowStatus::Cancelled.as_str(),
            sales_open_at: open.map(|at| instant(at, "sales_open_at")).transpose()?,
            sales_close_at: close.map(|at| instant(at, "sales_close_at")).transpose()?,
            prices: prices.remove(&row.id).unwrap_or_default(),
        })
    };
    rows.into_iter().map(show).collect()
}
