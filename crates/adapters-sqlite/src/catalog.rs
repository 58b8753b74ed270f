//! The catalog: movies, theatres and shows.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::sqlite::Sqlite;
use domain::StoreError;
use domain::admin::StaffShowFilter;
use domain::catalog::{
    CatalogStore, DayWindow, Hall, HallCursor, HallFilter, HallSummary, Movie, MovieCursor, MovieFilter, Show,
    ShowCursor, ShowFilter, ShowStatus, Theatre, TheatreCursor, TheatreFilter,
};
use domain::ids::{HallId, MovieId, ShowId, TheatreId};
use domain::money::{Money, TaxRate};
use domain::page::{Filling, PageRequest};

use crate::failure::Failure;
use crate::row::{currency, instant, listed, micros, parsed, small};
use crate::schema::{halls, layouts, movies, shows, theatres};
use crate::store::SqliteStore;

#[async_trait]
impl CatalogStore for SqliteStore {
    async fn movies(&self, filter: &MovieFilter, page: &PageRequest<MovieCursor>) -> Result<Vec<Movie>, StoreError> {
        if is_nothing(filter.shown_during.as_deref()) {
            return Ok(Vec::new());
        }
        let (filter, mut filling, clock) = (filter.clone(), Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = movies_page(connection, filter.clone(), page, now)?;
                let place = |row: &MovieRow| MovieCursor { title: row.title.clone(), id: MovieId(row.id) };
                filling.add(rows, place, |row| listed("movies", row.id, Movie::try_from(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn movie(&self, id: MovieId) -> Result<Option<Movie>, StoreError> {
        Ok(self.read(move |connection| movie(connection, id)).await?)
    }

    async fn shows(&self, filter: &ShowFilter, page: &PageRequest<ShowCursor>) -> Result<Vec<Show>, StoreError> {
        if is_nothing(filter.during.as_deref()) {
            return Ok(Vec::new());
        }
        let (filter, mut filling, clock) = (filter.clone(), Filling::of(page), self.clock());
        let found = self.read(move |connection| {
            let now = clock.now();
            while let Some(page) = filling.next() {
                let rows = shows_with_names(connection, Which::Page(filter.clone(), page), now)?;
                filling.add(rows, ShowRow::place, |row| listed("shows", row.names.0, Show::try_from(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn show(&self, id: ShowId) -> Result<Option<Show>, StoreError> {
        let clock = self.clock();
        let found = self.read(move |connection| {
            let now = clock.now();
            shows_with_names(connection, Which::One(id), now)?.pop().map(Show::try_from).transpose()
        });
        Ok(found.await?)
    }

    async fn theatres(
        &self,
        filter: &TheatreFilter,
        page: &PageRequest<TheatreCursor>,
    ) -> Result<Vec<Theatre>, StoreError> {
        let (filter, mut filling) = (filter.clone(), Filling::of(page));
        let found = self.read(move |connection| {
            while let Some(page) = filling.next() {
                let rows = theatres_page(connection, filter.clone(), page)?;
                let mut halls_of = halls_of(connection, &rows)?;
                let place = |row: &TheatreRow| TheatreCursor { name: row.name.clone(), id: TheatreId(row.id) };
                filling.add(rows, place, |row| listed("theatres", row.id, with_halls(row, &mut halls_of)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn theatre(&self, id: TheatreId) -> Result<Option<Theatre>, StoreError> {
        Ok(self.read(move |connection| theatre(connection, id)).await?)
    }

    async fn halls(&self, filter: &HallFilter, page: &PageRequest<HallCursor>) -> Result<Vec<Hall>, StoreError> {
        let (filter, mut filling) = (filter.clone(), Filling::of(page));
        let found = self.read(move |connection| {
            while let Some(page) = filling.next() {
                let rows = halls_page(connection, filter.clone(), page)?;
                let place = |row: &HallRow| HallCursor { name: row.hall.name.clone(), id: HallId(row.hall.id) };
                filling.add(rows, place, |row| listed("halls", row.hall.id, Hall::try_from(row)));
            }
            Ok(filling.into_items())
        });
        Ok(found.await?)
    }

    async fn hall(&self, id: HallId) -> Result<Option<Hall>, StoreError> {
        Ok(self.read(move |connection| hall(connection, id)).await?)
    }
}

/// Reads one movie.
pub(crate) fn movie(connection: &mut SqliteConnection, id: MovieId) -> Result<Option<Movie>, Failure> {
    let row = movies::table.find(id.0).select(MovieRow::as_select()).get_result(connection).optional()?;
    row.map(Movie::try_from).transpose()
}

/// Reads one theatre with its halls.
pub(crate) fn theatre(connection: &mut SqliteConnection, id: TheatreId) -> Result<Option<Theatre>, Failure> {
    let rows: Vec<TheatreRow> = theatres::table.find(id.0).select(TheatreRow::as_select()).load(connection)?;
    let mut halls_of = halls_of(connection, &rows)?;
    rows.into_iter().next().map(|row| with_halls(row, &mut halls_of)).transpose()
}

/// Reads one hall.
pub(crate) fn hall(connection: &mut SqliteConnection, id: HallId) -> Result<Option<Hall>, Failure> {
    let row: Option<HallRow> =
        halls::table.find(id.0).select((HallColumns::as_select(), seats_total())).get_result(connection).optional()?;
    row.map(Hall::try_from).transpose()
}

/// Reads all movies, also retired ones.
pub(crate) fn all_movies(connection: &mut SqliteConnection) -> Result<Vec<Movie>, Failure> {
    let rows: Vec<MovieRow> = movies::table.select(MovieRow::as_select()).load(connection)?;
    rows.into_iter().map(Movie::try_from).collect()
}

/// Reads all theatres, also retired ones.
pub(crate) fn all_theatres(connection: &mut SqliteConnection) -> Result<Vec<Theatre>, Failure> {
    let rows: Vec<TheatreRow> = theatres::table.select(TheatreRow::as_select()).load(connection)?;
    rows.into_iter().map(|row| with_halls(row, &mut HallsOf::new())).collect()
}

/// Reads all halls, also retired ones.
pub(crate) fn all_halls(connection: &mut SqliteConnection) -> Result<Vec<Hall>, Failure> {
    let rows: Vec<HallRow> = halls::table.select((HallColumns::as_select(), seats_total())).load(connection)?;
    rows.into_iter().map(Hall::try_from).collect()
}

/// Returns whether the list of windows is given but empty, so that no show can match.
fn is_nothing(windows: Option<&[DayWindow]>) -> bool {
    windows.is_some_and(<[_]>::is_empty)
}

/// Returns the windows as a JSON array of `[theatre, from, to]`, which is one parameter for any number of windows.
pub(crate) fn windows_json(windows: &[DayWindow]) -> String {
    let rows: Vec<_> =
        windows.iter().map(|window| (window.theatre_id.0, micros(window.from), micros(window.to))).collect();
    serde_json::json!(rows).to_string()
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = movies)]
struct MovieRow {
    id: i64,
    title: String,
    description: String,
    duration_minutes: i64,
    genres: String,
    language: String,
    certificate: String,
    poster_url: Option<String>,
    release_date: String,
    created_at: i64,
    updated_at: i64,
    retired_at: Option<i64>,
    version: i64,
}

impl TryFrom<MovieRow> for Movie {
    type Error = Failure;

    fn try_from(row: MovieRow) -> Result<Self, Failure> {
        Ok(Self {
            id: MovieId(row.id),
            title: row.title,
            description: row.description,
            duration_minutes: small(row.duration_minutes, "duration_minutes")?,
            genres: parsed(serde_json::from_str(&row.genres), "genres")?,
            language: row.language,
            certificate: row.certificate,
            poster_url: row.poster_url,
            release_date: parsed(row.release_date.parse::<NaiveDate>(), "release_date")?,
            created_at: instant(row.created_at, "created_at")?,
            updated_at: instant(row.updated_at, "updated_at")?,
            retired_at: row.retired_at.map(|at| instant(at, "retired_at")).transpose()?,
            version: row.version,
        })
    }
}

fn movies_page(
    connection: &mut SqliteConnection,
    filter: MovieFilter,
    page: PageRequest<MovieCursor>,
    now: i64,
) -> Result<Vec<MovieRow>, Failure> {
    let limit = page.rows();
    let MovieFilter { search, genre, language, shown_in, shown_during, retired } = filter;
    let mut query = movies::table.select(MovieRow::as_select()).into_boxed::<Sqlite>();
    if !retired {
        query = query.filter(movies::retired_at.is_null());
    }
    if let Some(part) = search {
        query = query.filter(sql::<Bool>("instr(movies.search_folded, ").bind::<Text, _>(part).sql(") > 0"));
    }
    if let Some(genre) = genre {
        let listed = sql::<Bool>("EXISTS (SELECT 1 FROM json_each(movies.genres_folded) AS genre WHERE genre.value = ");
        query = query.filter(listed.bind::<Text, _>(genre).sql(")"));
    }
    if let Some(language) = language {
        query = query.filter(movies::language_folded.eq(language));
    }
    if let Some(theatre) = shown_in {
        let upcoming = shows::table
            .filter(shows::movie_id.eq(movies::id))
            .filter(shows::theatre_id.eq(theatre.0))
            .filter(shows::status.eq(ShowStatus::Scheduled.as_str()))
            .filter(shows::start_time.gt(now));
        query = query.filter(diesel::dsl::exists(upcoming));
    }
    if let Some(windows) = shown_during {
        let during = sql::<Bool>("EXISTS (SELECT 1 FROM shows, json_each(")
            .bind::<Text, _>(windows_json(&windows))
            .sql(") AS during WHERE shows.movie_id = movies.id AND shows.status = 'scheduled'")
            .sql(" AND shows.theatre_id = json_extract(during.value, '$[0]')")
            .sql(" AND shows.start_time >= json_extract(during.value, '$[1]')")
            .sql(" AND shows.start_time < json_extract(during.value, '$[2]'))");
        query = query.filter(during);
    }
    if let Some(MovieCursor { title, id }) = page.after {
        let behind = movies::title.eq(title.clone()).and(movies::id.gt(id.0));
        query = query.filter(movies::title.gt(title).or(behind));
    }
    Ok(query.order((movies::title, movies::id)).limit(limit).load(connection)?)
}

/// A show, with its columns in the order of [`shows_with_names`].
#[derive(Queryable)]
pub(crate) struct ShowRow {
    names: (i64, i64, String, i64, String, i64, String),
    facts: (i64, i64, String, String, String, String),
    counts: (i64, Option<i64>, i64),
}

impl ShowRow {
    pub(crate) fn id(&self) -> ShowId {
        ShowId(self.names.0)
    }

    /// Returns the show's position in a list. An invalid start sorts last, and the show is left out.
    pub(crate) fn place(&self) -> ShowCursor {
        let start_time = instant(self.facts.0, "start_time").unwrap_or(DateTime::<Utc>::MAX_UTC);
        ShowCursor { start_time, id: ShowId(self.names.0) }
    }
}

impl TryFrom<ShowRow> for Show {
    type Error = Failure;

    fn try_from(row: ShowRow) -> Result<Self, Failure> {
        let (id, movie_id, movie_title, theatre_id, theatre_name, hall_id, hall_name) = row.names;
        let (start_time, end_time, format, language, code, status) = row.facts;
        let (seats_total, price_from, seats_claimed) = row.counts;
        let price_from = price_from.ok_or(Failure::BadRow("price_minor"))?;
        Ok(Self {
            id: ShowId(id),
            movie_id: MovieId(movie_id),
            movie_title,
            theatre_id: TheatreId(theatre_id),
            theatre_name,
            hall_id: HallId(hall_id),
            hall_name,
            start_time: instant(start_time, "start_time")?,
            end_time: instant(end_time, "end_time")?,
            format,
            language,
            price_from: Money::new(price_from, currency(&code)?),
            seats_total,
            seats_available: seats_total.saturating_sub(seats_claimed),
            status: parsed(ShowStatus::parse(&status), "status")?,
        })
    }
}

/// Selects the shows to read.
pub(crate) enum Which {
    One(ShowId),
    Page(ShowFilter, PageRequest<ShowCursor>),
    StaffPage(StaffShowFilter, PageRequest<ShowCursor>),
}

/// Reads shows with the names, prices and counts of a list. The counts use keys that begin with the show.
pub(crate) fn shows_with_names(
    connection: &mut SqliteConnection,
    which: Which,
    now: i64,
) -> Result<Vec<ShowRow>, Failure> {
    let price_from = sql::<Nullable<BigInt>>(
        "(SELECT min(price.price_minor) FROM show_prices AS price \
          WHERE price.show_id = shows.id AND price.ticket_type = 'adult')",
    );
    let seats_claimed = sql::<BigInt>(
        "(SELECT count(*) FROM seat_claims AS claim \
          WHERE claim.show_id = shows.id AND (claim.expires_at IS NULL OR claim.expires_at > ",
    )
    .bind::<BigInt, _>(now)
    .sql("))");
    let mut query = shows::table
        .inner_join(movies::table.on(movies::id.eq(shows::movie_id)))
        .inner_join(theatres::table.on(theatres::id.eq(shows::theatre_id)))
        .inner_join(halls::table.on(halls::id.eq(shows::hall_id)))
        .inner_join(layouts::table.on(layouts::id.eq(shows::layout_id)))
        .select((
            (shows::id, shows::movie_id, movies::title, shows::theatre_id, theatres::name, shows::hall_id, halls::name),
            (shows::start_time, shows::end_time, shows::format, shows::language, shows::currency, shows::status),
            (layouts::seats_total, price_from, seats_claimed),
        ))
        .into_boxed::<Sqlite>();
    match which {
        Which::One(id) => query = query.filter(shows::id.eq(id.0)),
        Which::Page(filter, page) => {
            let limit = page.rows();
            let (from, to) = bounds(&filter, &page, now);
            query = query.filter(shows::status.eq(ShowStatus::Scheduled.as_str()));
            query = query.filter(shows::start_time.ge(from)).filter(shows::start_time.lt(to));
            if let Some(movie) = filter.movie_id {
                query = query.filter(shows::movie_id.eq(movie.0));
            }
            if let Some(theatre) = filter.theatre_id {
                query = query.filter(shows::theatre_id.eq(theatre.0));
            }
            if let Some(windows) = filter.during {
                query = query.filter(starts_during(&windows));
            }
            if let Some(ShowCursor { start_time, id }) = page.after {
                let start = micros(start_time);
                let behind = shows::start_time.eq(start).and(shows::id.gt(id.0));
                query = query.filter(shows::start_time.gt(start).or(behind));
            }
            query = query.order((shows::start_time, shows::id)).limit(limit);
        }
        Which::StaffPage(filter, page) => {
            let limit = page.rows();
            if filter.upcoming {
                query = query.filter(shows::end_time.gt(now));
            }
            if let Some(theatres) = filter.theatres {
                query = query.filter(shows::theatre_id.eq_any(theatres.into_iter().map(|id| id.0)));
            }
            if let Some(movie) = filter.movie_id {
                query = query.filter(shows::movie_id.eq(movie.0));
            }
            if let Some(hall) = filter.hall_id {
                query = query.filter(shows::hall_id.eq(hall.0));
            }
            if let Some(status) = filter.status {
                query = query.filter(shows::status.eq(status.as_str()));
            }
            if let Some(search) = filter.search {
                query = query.filter(sql::<Bool>("instr(movies.search_folded, ").bind::<Text, _>(search).sql(") > 0"));
            }
            if let Some(windows) = filter.during {
                query = query.filter(starts_during(&windows));
            }
            if let Some(ShowCursor { start_time, id }) = page.after {
                let start = micros(start_time);
                let behind = shows::start_time.eq(start).and(shows::id.gt(id.0));
                query = query.filter(shows::start_time.gt(start).or(behind));
            }
            query = query.order((shows::start_time, shows::id)).limit(limit);
        }
    }
    Ok(query.load(connection)?)
}

/// Returns the condition that a show starts in one of the windows.
pub(crate) fn starts_during(windows: &[DayWindow]) -> SqlLiteral<Bool> {
    // The JSON has numbers only, so it can be a part of the text.
    let windows = windows_json(windows);
    sql(&format!(
        "EXISTS (SELECT 1 FROM json_each('{windows}') AS during WHERE shows.theatre_id = json_extract(during.value, '$[0]') \
          AND shows.start_time >= json_extract(during.value, '$[1]') AND shows.start_time < json_extract(during.value, '$[2]'))"
    ))
}

/// Returns the interval in which the shows of the page can start, given all filters. The index can use it.
fn bounds(filter: &ShowFilter, page: &PageRequest<ShowCursor>, now: i64) -> (i64, i64) {
    let windows = filter.during.as_deref().unwrap_or_default();
    let from = [
        filter.from.map(micros),
        filter.upcoming.then(|| now.saturating_add(1)),
        windows.iter().map(|window| micros(window.from)).min(),
        page.after.map(|place| micros(place.start_time)),
    ];
    let to = [filter.to.map(micros), windows.iter().map(|window| micros(window.to)).max()];
    (from.into_iter().flatten().max().unwrap_or(i64::MIN), to.into_iter().flatten().min().unwrap_or(i64::MAX))
}

fn theatres_page(
    connection: &mut SqliteConnection,
    filter: TheatreFilter,
    page: PageRequest<TheatreCursor>,
) -> Result<Vec<TheatreRow>, Failure> {
    let limit = page.rows();
    let TheatreFilter { search, among, retired } = filter;
    let mut query = theatres::table.select(TheatreRow::as_select()).into_boxed::<Sqlite>();
    if !retired {
        query = query.filter(theatres::retired_at.is_null());
    }
    if let Some(part) = search {
        let found = sql::<Bool>("instr(coalesce(theatres.name_folded, lower(theatres.name)), ");
        query = query.filter(found.bind::<Text, _>(part).sql(") > 0"));
    }
    if let Some(among) = among {
        query = query.filter(theatres::id.eq_any(among.into_iter().map(|id| id.0)));
    }
    if let Some(TheatreCursor { name, id }) = page.after {
        let behind = theatres::name.eq(name.clone()).and(theatres::id.gt(id.0));
        query = query.filter(theatres::name.gt(name).or(behind));
    }
    Ok(query.order((theatres::name, theatres::id)).limit(limit).load(connection)?)
}

fn halls_page(
    connection: &mut SqliteConnection,
    filter: HallFilter,
    page: PageRequest<HallCursor>,
) -> Result<Vec<HallRow>, Failure> {
    let limit = page.rows();
    let HallFilter { theatres, search } = filter;
    let mut query = halls::table.select((HallColumns::as_select(), seats_total())).into_boxed::<Sqlite>();
    if let Some(theatres) = theatres {
        query = query.filter(halls::theatre_id.eq_any(theatres.into_iter().map(|id| id.0)));
    }
    if let Some(part) = search {
        let found = sql::<Bool>("instr(coalesce(halls.name_folded, lower(halls.name)), ");
        query = query.filter(found.bind::<Text, _>(part).sql(") > 0"));
    }
    if let Some(HallCursor { name, id }) = page.after {
        let behind = halls::name.eq(name.clone()).and(halls::id.gt(id.0));
        query = query.filter(halls::name.gt(name).or(behind));
    }
    Ok(query.order((halls::name, halls::id)).limit(limit).load(connection)?)
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = halls)]
struct HallColumns {
    id: i64,
    theatre_id: i64,
    name: String,
    retired_at: Option<i64>,
    version: i64,
}

/// A hall with the number of its seats.
#[derive(Queryable)]
struct HallRow {
    hall: HallColumns,
    seats_total: i64,
}

impl TryFrom<HallRow> for Hall {
    type Error = Failure;

    fn try_from(HallRow { hall, seats_total }: HallRow) -> Result<Self, Failure> {
        Ok(Self {
            id: HallId(hall.id),
            theatre_id: TheatreId(hall.theatre_id),
            name: hall.name,
            seats_total,
            retired_at: hall.retired_at.map(|at| instant(at, "retired_at")).transpose()?,
            version: hall.version,
        })
    }
}

/// The number of seats of a hall's newest layout.
fn seats_total() -> SqlLiteral<BigInt> {
    sql("coalesce((SELECT layout.seats_total FROM layouts AS layout WHERE layout.hall_id = halls.id \
          ORDER BY layout.version DESC LIMIT 1), 0)")
}

#[derive(Queryable, Selectable)]
#[diesel(table_name = theatres)]
struct TheatreRow {
    id: i64,
    name: String,
    location: String,
    timezone: String,
    currency: String,
    tax_basis_points: i64,
    cleaning_minutes: i64,
    retired_at: Option<i64>,
    version: i64,
}

/// The halls of each theatre, ordered by name, then id.
type HallsOf = HashMap<i64, Vec<HallSummary>>;

fn halls_of(connection: &mut SqliteConnection, rows: &[TheatreRow]) -> Result<HallsOf, Failure> {
    let ids: Vec<i64> = rows.iter().map(|row| row.id).collect();
    let found: Vec<(i64, i64, String, i64)> = halls::table
        .filter(halls::theatre_id.eq_any(ids))
        .filter(halls::retired_at.is_null())
        .select((halls::theatre_id, halls::id, halls::name, seats_total()))
        .order((halls::theatre_id, halls::name, halls::id))
        .load(connection)?;
    let mut halls_of = HallsOf::new();
    for (theatre_id, id, name, seats_total) in found {
        halls_of.entry(theatre_id).or_default().push(HallSummary { id: HallId(id), name, seats_total });
    }
    Ok(halls_of)
}

fn with_halls(row: TheatreRow, halls_of: &mut HallsOf) -> Result<Theatre, Failure> {
    let tax_basis_points = small(row.tax_basis_points, "tax_basis_points")?;
    Ok(Theatre {
        id: TheatreId(row.id),
        name: row.name,
        location: row.location,
        timezone: parsed(row.timezone.parse(), "timezone")?,
        currency: currency(&row.currency)?,
        tax_rate: parsed(TaxRate::from_basis_points(tax_basis_points), "tax_basis_points")?,
        cleaning_minutes: small(row.cleaning_minutes, "cleaning_minutes")?,
        retired_at: row.retired_at.map(|at| instant(at, "retired_at")).transpose()?,
        version: row.version,
        halls: halls_of.remove(&row.id).unwrap_or_default(),
    })
}
