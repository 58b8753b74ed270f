//! Movies, theatres and shows.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::QueryableByName;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _};
use domain::StoreError;
use domain::admin::ChangeError;
use domain::catalog::{
    CatalogStore, DayWindow, Hall, HallCursor, HallFilter, HallSummary, Movie, MovieCursor, MovieFilter, Show,
    ShowCursor, ShowFilter, ShowStatus, Theatre, TheatreCursor, TheatreFilter,
};
use domain::ids::{HallId, MovieId, ShowId, TheatreId};
use domain::money::{Money, TaxRate};
use domain::page::{Filling, PageRequest};

use crate::error::bad_row;
use crate::rows::{currency, listed};
use crate::schema::{halls, movies, shows, theatres};
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

#[derive(QueryableByName)]
#[diesel(table_name = movies)]
struct MovieRow {
    id: i64,
    title: String,
    description: String,
    duration_minutes: i32,
    genres: Vec<String>,
    language: String,
    certificate: String,
    poster_url: Option<String>,
    #[diesel(sql_type = Nullable<Date>)]
    release_date: Option<NaiveDate>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    retired_at: Option<DateTime<Utc>>,
    version: i64,
}

// A date out of range (`infinity` is a date in PostgreSQL) would fail the whole statement.
macro_rules! movie_columns {
    () => {
        "SELECT m.id, m.title, m.description, m.duration_minutes, m.genres, m.language, m.certificate, m.poster_url, \
         CASE WHEN m.release_date BETWEEN '0001-01-01' AND '9999-12-31' THEN m.release_date END AS release_date, m.created_at, m.updated_at, \
         m.retired_at, m.version FROM movies m "
    };
}

statement!(ListMovies: Untyped = concat!(movie_columns!(), "
    WHERE ($1::text IS NULL OR position($1 IN m.search_folded) > 0)
      AND ($2::text IS NULL OR m.genres_folded @> ARRAY[$2])
      AND ($3::text IS NULL OR m.language_folded = $3)
      AND ($4::bigint IS NULL OR EXISTS (
            SELECT 1 FROM shows s
            WHERE s.movie_id = m.id AND s.theatre_id = $4 AND s.status = 'scheduled' AND s.start_time > now()))
      AND ($5::bigint[] IS NULL OR EXISTS (
            SELECT 1 FROM unnest($5, $6::timestamptz[], $7::timestamptz[]) AS during (theatre_id, from_time, to_time)
            JOIN shows s ON s.theatre_id = during.theatre_id
                AND s.start_time >= during.from_time AND s.start_time < during.to_time
            WHERE s.movie_id = m.id AND s.status = 'scheduled'))
      AND ($8::text IS NULL OR (m.title, m.id) > ($8 COLLATE \"C\", $9::bigint))
      AND ($10 OR m.retired_at IS NULL)
    ORDER BY m.title, m.id
    LIMIT $11"));
statement!(OneMovie: Untyped = concat!(movie_columns!(), "WHERE m.id = $1"));

#[derive(QueryableByName)]
#[diesel(table_name = shows)]
pub(crate) struct ShowRow {
    pub(crate) id: i64,
    pub(crate) movie_id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) movie_title: String,
    pub(crate) theatre_id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) theatre_name: String,
    pub(crate) hall_id: i64,
    #[diesel(sql_type = Text)]
    pub(crate) hall_name: String,
    pub(crate) start_time: DateTime<Utc>,
    pub(crate) end_time: DateTime<Utc>,
    pub(crate) format: String,
    pub(crate) language: String,
    pub(crate) currency: String,
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(crate) price_from: Option<i64>,
    #[diesel(sql_type = Integer)]
    pub(crate) seats_total: i32,
    #[diesel(sql_type = BigInt)]
    pub(crate) seats_available: i64,
    pub(crate) status: String,
}

// Selects the page first, so claims are counted only for its shows, each by a range scan of the primary key.
macro_rules! show_columns {
    ($page:literal) => {
        $crate::catalog::show_columns!($page, "", "")
    };
    // With more columns, and joins for them.
    ($page:literal, $columns:literal, $joins:literal) => {
        concat!(
            "WITH page AS (SELECT s.* FROM shows s ",
            $page,
            ")
            SELECT s.id, s.movie_id, m.title AS movie_title, s.theatre_id, t.name AS theatre_name, s.hall_id,
                h.name AS hall_name, s.start_time, s.end_time,
                s.format, s.language, s.currency,
                (SELECT min(p.price_minor) FROM show_prices p WHERE p.show_id = s.id AND p.ticket_type = 'adult')
                    AS price_from,
                l.seats_total,
                l.seats_total - (SELECT count(*) FROM seat_claims c WHERE c.show_id = s.id AND ",
            $crate::rows::claim_is_live!(),
            ") AS seats_available,
                s.status",
            $columns,
            "
            FROM page s
            JOIN movies m ON m.id = s.movie_id
            JOIN theatres t ON t.id = s.theatre_id
            JOIN halls h ON h.id = s.hall_id
            JOIN layouts l ON l.id = s.layout_id ",
            $joins,
            "
            ORDER BY s.start_time, s.id"
        )
    };
}
pub(crate) use show_columns;

statement!(ListShows: Untyped = show_columns!("
    WHERE s.status = 'scheduled'
      AND ($1::bigint IS NULL OR s.movie_id = $1)
      AND ($2::bigint IS NULL OR s.theatre_id = $2)
      AND ($3::bigint[] IS NULL OR EXISTS (
            SELECT 1 FROM unnest($3, $4::timestamptz[], $5::timestamptz[]) AS during (theatre_id, from_time, to_time)
            WHERE during.theatre_id = s.theatre_id
                AND s.start_time >= during.from_time AND s.start_time < during.to_time))
      AND ($6::timestamptz IS NULL OR s.start_time >= $6)
      AND ($7::timestamptz IS NULL OR s.start_time < $7)
      AND (NOT $8 OR s.start_time > now())
      AND ($9::timestamptz IS NULL OR (s.start_time, s.id) > ($9, $10::bigint))
    ORDER BY s.start_time, s.id
    LIMIT $11"));
statement!(OneShow: Untyped = show_columns!("WHERE s.id = $1"));

#[derive(QueryableByName)]
#[diesel(table_name = theatres)]
struct TheatreRow {
    id: i64,
    name: String,
    location: String,
    timezone: String,
    currency: String,
    tax_basis_points: i32,
    cleaning_minutes: i32,
    retired_at: Option<DateTime<Utc>>,
    version: i64,
    #[diesel(sql_type = Array<BigInt>)]
    hall_ids: Vec<i64>,
    #[diesel(sql_type = Array<Text>)]
    hall_names: Vec<String>,
    #[diesel(sql_type = Array<Integer>)]
    hall_seats: Vec<i32>,
}

macro_rules! theatre_columns {
    () => {
        "SELECT t.id, t.name, t.location, t.timezone, t.currency, t.tax_basis_points, t.cleaning_minutes, t.retired_at,
            t.version,
            coalesce(array_agg(h.id ORDER BY h.name, h.id) FILTER (WHERE h.id IS NOT NULL), '{}') AS hall_ids,
            coalesce(array_agg(h.name::text ORDER BY h.name, h.id) FILTER (WHERE h.id IS NOT NULL), '{}') AS hall_names,
            coalesce(array_agg(h.seats_total ORDER BY h.name, h.id) FILTER (WHERE h.id IS NOT NULL), '{}') AS hall_seats
        FROM theatres t
        LEFT JOIN LATERAL (
            SELECT h.id, h.name, coalesce((SELECT l.seats_total FROM layouts l WHERE l.hall_id = h.id
                ORDER BY l.version DESC LIMIT 1), 0) AS seats_total
            FROM halls h WHERE h.theatre_id = t.id AND h.retired_at IS NULL
        ) h ON true "
    };
}

statement!(ListTheatres: Untyped = concat!(theatre_columns!(), "
    WHERE ($1::text IS NULL OR (t.name, t.id) > ($1 COLLATE \"C\", $2::bigint))
      AND ($3::text IS NULL OR position($3 IN coalesce(t.name_folded, lower(t.name))) > 0)
      AND ($4::bigint[] IS NULL OR t.id = ANY ($4))
      AND ($5 OR t.retired_at IS NULL)
    GROUP BY t.id
    ORDER BY t.name, t.id
    LIMIT $6"));
statement!(OneTheatre: Untyped = concat!(theatre_columns!(), "WHERE t.id = $1 GROUP BY t.id"));

#[derive(QueryableByName)]
#[diesel(table_name = halls)]
struct HallRow {
    id: i64,
    theatre_id: i64,
    name: String,
    #[diesel(sql_type = Integer)]
    seats_total: i32,
    retired_at: Option<DateTime<Utc>>,
    version: i64,
}

macro_rules! hall_columns {
    () => {
        "SELECT h.id, h.theatre_id, h.name, h.retired_at, h.version,
            coalesce((SELECT l.seats_total FROM layouts l WHERE l.hall_id = h.id ORDER BY l.version DESC LIMIT 1), 0)
                AS seats_total
        FROM halls h "
    };
}

statement!(ListHalls: Untyped = concat!(hall_columns!(), "
    WHERE ($1::text IS NULL OR (h.name, h.id) > ($1 COLLATE \"C\", $2::bigint))
      AND ($3::text IS NULL OR position($3 IN coalesce(h.name_folded, lower(h.name))) > 0)
      AND ($4::bigint[] IS NULL OR h.theatre_id = ANY ($4))
    ORDER BY h.name, h.id
    LIMIT $5"));
statement!(OneHall: Untyped = concat!(hall_columns!(), "WHERE h.id = $1"));

/// Reads one movie in a transaction.
pub(crate) async fn movie_by_id(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Movie, WriteFailure<ChangeError>> {
    Ok(movie(bind!(OneMovie, BigInt = id).get_result(connection).await?)?)
}

/// Reads one theatre in a transaction.
pub(crate) async fn theatre_by_id(
    connection: &mut AsyncPgConnection,
    id: i64,
) -> Result<Theatre, WriteFailure<ChangeError>> {
    Ok(theatre(bind!(OneTheatre, BigInt = id).get_result(connection).await?)?)
}

/// Reads one hall in a transaction.
pub(crate) async fn hall_by_id(connection: &mut AsyncPgConnection, id: i64) -> Result<Hall, WriteFailure<ChangeError>> {
    Ok(hall(bind!(OneHall, BigInt = id).get_result(connection).await?))
}

statement!(AllMovies: Untyped = movie_columns!());
statement!(AllTheatres: Untyped = concat!(theatre_columns!(), "GROUP BY t.id"));
statement!(AllHalls: Untyped = hall_columns!());

/// Reads all movies, also retired ones.
pub(crate) async fn all_movies<E>(connection: &mut AsyncPgConnection) -> Result<Vec<Movie>, WriteFailure<E>> {
    let rows: Vec<MovieRow> = bind!(AllMovies).load(connection).await?;
    Ok(rows.into_iter().map(movie).collect::<Result<_, _>>()?)
}

/// Reads all theatres, also retired ones.
pub(crate) async fn all_theatres<E>(connection: &mut AsyncPgConnection) -> Result<Vec<Theatre>, WriteFailure<E>> {
    let rows: Vec<TheatreRow> = bind!(AllTheatres).load(connection).await?;
    Ok(rows.into_iter().map(theatre).collect::<Result<_, _>>()?)
}

/// Reads all halls, also retired ones.
pub(crate) async fn all_halls<E>(connection: &mut AsyncPgConnection) -> Result<Vec<Hall>, WriteFailure<E>> {
    let rows: Vec<HallRow> = bind!(AllHalls).load(connection).await?;
    Ok(rows.into_iter().map(hall).collect())
}

#[async_trait]
impl CatalogStore for PostgresStore {
    async fn movies(&self, filter: &MovieFilter, page: &PageRequest<MovieCursor>) -> Result<Vec<Movie>, StoreError> {
        let (theatres, from, to) = window_columns(filter.shown_during.as_deref());
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<MovieRow> = self
                .load(bind!(
                    ListMovies,
                    Nullable<Text> = filter.search.clone(),
                    Nullable<Text> = filter.genre.clone(),
                    Nullable<Text> = filter.language.clone(),
                    Nullable<BigInt> = filter.shown_in.map(|id| id.0),
                    Nullable<Array<BigInt>> = theatres.clone(),
                    Nullable<Array<Timestamptz>> = from.clone(),
                    Nullable<Array<Timestamptz>> = to.clone(),
                    Nullable<Text> = page.after.as_ref().map(|place| place.title.clone()),
                    Nullable<BigInt> = page.after.as_ref().map(|place| place.id.0),
                    Bool = filter.retired,
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &MovieRow| MovieCursor { title: row.title.clone(), id: MovieId(row.id) };
            filling.add(rows, place, |row| listed("movies", row.id, movie(row)));
        }
        Ok(filling.into_items())
    }

    async fn movie(&self, id: MovieId) -> Result<Option<Movie>, StoreError> {
        let rows: Vec<MovieRow> = self.load(bind!(OneMovie, BigInt = id.0)).await?;
        rows.into_iter().next().map(movie).transpose()
    }

    async fn shows(&self, filter: &ShowFilter, page: &PageRequest<ShowCursor>) -> Result<Vec<Show>, StoreError> {
        let (theatres, from, to) = window_columns(filter.during.as_deref());
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<ShowRow> = self
                .load(bind!(
                    ListShows,
                    Nullable<BigInt> = filter.movie_id.map(|id| id.0),
                    Nullable<BigInt> = filter.theatre_id.map(|id| id.0),
                    Nullable<Array<BigInt>> = theatres.clone(),
                    Nullable<Array<Timestamptz>> = from.clone(),
                    Nullable<Array<Timestamptz>> = to.clone(),
                    Nullable<Timestamptz> = filter.from,
                    Nullable<Timestamptz> = filter.to,
                    Bool = filter.upcoming,
                    Nullable<Timestamptz> = page.after.map(|place| place.start_time),
                    Nullable<BigInt> = page.after.map(|place| place.id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &ShowRow| ShowCursor { start_time: row.start_time, id: ShowId(row.id) };
            filling.add(rows, place, |row| listed("shows", row.id, show(row)));
        }
        Ok(filling.into_items())
    }

    async fn show(&self, id: ShowId) -> Result<Option<Show>, StoreError> {
        let rows: Vec<ShowRow> = self.load(bind!(OneShow, BigInt = id.0)).await?;
        rows.into_iter().next().map(show).transpose()
    }

    async fn theatres(
        &self,
        filter: &TheatreFilter,
        page: &PageRequest<TheatreCursor>,
    ) -> Result<Vec<Theatre>, StoreError> {
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<TheatreRow> = self
                .load(bind!(
                    ListTheatres,
                    Nullable<Text> = page.after.as_ref().map(|place| place.name.clone()),
                    Nullable<BigInt> = page.after.as_ref().map(|place| place.id.0),
                    Nullable<Text> = filter.search.clone(),
                    Nullable<Array<BigInt>> = theatre_ids(filter.among.as_deref()),
                    Bool = filter.retired,
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &TheatreRow| TheatreCursor { name: row.name.clone(), id: TheatreId(row.id) };
            filling.add(rows, place, |row| listed("theatres", row.id, theatre(row)));
        }
        Ok(filling.into_items())
    }

    async fn theatre(&self, id: TheatreId) -> Result<Option<Theatre>, StoreError> {
        let rows: Vec<TheatreRow> = self.load(bind!(OneTheatre, BigInt = id.0)).await?;
        rows.into_iter().next().map(theatre).transpose()
    }

    async fn halls(&self, filter: &HallFilter, page: &PageRequest<HallCursor>) -> Result<Vec<Hall>, StoreError> {
        let rows: Vec<HallRow> = self
            .load(bind!(
                ListHalls,
                Nullable<Text> = page.after.as_ref().map(|place| place.name.clone()),
                Nullable<BigInt> = page.after.as_ref().map(|place| place.id.0),
                Nullable<Text> = filter.search.clone(),
                Nullable<Array<BigInt>> = theatre_ids(filter.theatres.as_deref()),
                BigInt = page.rows(),
            ))
            .await?;
        Ok(rows.into_iter().map(hall).collect())
    }

    async fn hall(&self, id: HallId) -> Result<Option<Hall>, StoreError> {
        let row: Option<HallRow> = self.first(bind!(OneHall, BigInt = id.0)).await?;
        Ok(row.map(hall))
    }
}

pub(crate) fn theatre_ids(ids: Option<&[TheatreId]>) -> Option<Vec<i64>> {
    ids.map(|ids| ids.iter().map(|id| id.0).collect())
}

fn hall(row: HallRow) -> Hall {
    Hall {
        id: HallId(row.id),
        theatre_id: TheatreId(row.theatre_id),
        name: row.name,
        seats_total: i64::from(row.seats_total),
        retired_at: row.retired_at,
        version: row.version,
    }
}

pub(crate) type WindowColumns = (Option<Vec<i64>>, Option<Vec<DateTime<Utc>>>, Option<Vec<DateTime<Utc>>>);

/// Returns the windows as columns.
pub(crate) fn window_columns(windows: Option<&[DayWindow]>) -> WindowColumns {
    let Some(windows) = windows else { return (None, None, None) };
    (
        Some(windows.iter().map(|window| window.theatre_id.0).collect()),
        Some(windows.iter().map(|window| window.from).collect()),
        Some(windows.iter().map(|window| window.to).collect()),
    )
}

fn movie(row: MovieRow) -> Result<Movie, StoreError> {
    Ok(Movie {
        id: MovieId(row.id),
        title: row.title,
        description: row.description,
        duration_minutes: row.duration_minutes,
        genres: row.genres,
        language: row.language,
        certificate: row.certificate,
        poster_url: row.poster_url,
        release_date: row.release_date.ok_or_else(|| bad_row("a release date out of range"))?,
        created_at: row.created_at,
        updated_at: row.updated_at,
        retired_at: row.retired_at,
        version: row.version,
    })
}

pub(crate) fn show(row: ShowRow) -> Result<Show, StoreError> {
    let price_from = row.price_from.ok_or_else(|| bad_row("a show without prices"))?;
    Ok(Show {
        id: ShowId(row.id),
        movie_id: MovieId(row.movie_id),
        movie_title: row.movie_title,
        theatre_id: TheatreId(row.theatre_id),
        theatre_name: row.theatre_name,
        hall_id: HallId(row.hall_id),
        hall_name: row.hall_name,
        start_time: row.start_time,
        end_time: row.end_time,
        format: row.format,
        language: row.language,
        price_from: Money::new(price_from, currency(&row.currency)?),
        seats_total: i64::from(row.seats_total),
        seats_available: row.seats_available,
        status: ShowStatus::parse(&row.status).map_err(bad_row)?,
    })
}

fn theatre(row: TheatreRow) -> Result<Theatre, StoreError> {
    let halls = row.hall_ids.into_iter().zip(row.hall_names).zip(row.hall_seats);
    Ok(Theatre {
        id: TheatreId(row.id),
        name: row.name,
        location: row.location,
        timezone: row.timezone.parse::<Tz>().map_err(|error| bad_row(error.to_string()))?,
        currency: currency(&row.currency)?,
        tax_rate: TaxRate::from_basis_points(row.tax_basis_points).map_err(bad_row)?,
        cleaning_minutes: row.cleaning_minutes,
        retired_at: row.retired_at,
        version: row.version,
        halls: halls
            .map(|((id, name), seats)| HallSummary { id: HallId(id), name, seats_total: i64::from(seats) })
            .collect(),
    })
}
