//! Movies, theatres and shows.

use async_trait::async_trait;
use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Nullable, Text, Timestamptz};
use domain::StoreError;
use domain::catalog::{
    CatalogStore, DayWindow, HallSummary, Movie, MovieCursor, MovieFilter, Show, ShowCursor, ShowFilter, ShowStatus,
    Theatre, TheatreCursor,
};
use domain::ids::{HallId, MovieId, ShowId, TheatreId};
use domain::money::Money;
use domain::page::{Filling, PageRequest};

use crate::error::bad_row;
use crate::rows::{currency, listed};
use crate::statement::{bind, statement};
use crate::store::PostgresStore;

type MovieColumns =
    (BigInt, Text, Text, Integer, Array<Text>, Text, Text, Nullable<Text>, Nullable<Date>, Timestamptz, Timestamptz);
type MovieRow = (
    i64,
    String,
    String,
    i32,
    Vec<String>,
    String,
    String,
    Option<String>,
    Option<NaiveDate>,
    DateTime<Utc>,
    DateTime<Utc>,
);

// A date that is out of range (`infinity` is one for PostgreSQL) would fail the whole statement.
macro_rules! movie_columns {
    () => {
        "SELECT m.id, m.title, m.description, m.duration_minutes, m.genres, m.language, m.certificate, m.poster_url, \
         CASE WHEN m.release_date BETWEEN '0001-01-01' AND '9999-12-31' THEN m.release_date END, m.created_at, m.updated_at \
         FROM movies m "
    };
}

statement!(ListMovies: MovieColumns = concat!(movie_columns!(), "
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
    ORDER BY m.title, m.id
    LIMIT $10"));
statement!(OneMovie: MovieColumns = concat!(movie_columns!(), "WHERE m.id = $1"));

type ShowColumns = (
    BigInt,
    BigInt,
    Text,
    BigInt,
    Text,
    BigInt,
    Text,
    Timestamptz,
    Timestamptz,
    Text,
    Text,
    Text,
    Nullable<BigInt>,
    Integer,
    BigInt,
    Text,
);
type ShowRow = (
    i64,
    i64,
    String,
    i64,
    String,
    i64,
    String,
    DateTime<Utc>,
    DateTime<Utc>,
    String,
    String,
    String,
    Option<i64>,
    i32,
    i64,
    String,
);

// The page is cut first; only its shows have their claims counted, each by a range of the primary key.
macro_rules! show_columns {
    ($page:literal) => {
        concat!(
            "WITH page AS (SELECT s.* FROM shows s ",
            $page,
            ")
            SELECT s.id, s.movie_id, m.title, s.theatre_id, t.name, s.hall_id, h.name, s.start_time, s.end_time,
                s.format, s.language, s.currency,
                (SELECT min(p.price_minor) FROM show_prices p WHERE p.show_id = s.id),
                l.seats_total,
                l.seats_total - (SELECT count(*) FROM seat_claims c WHERE c.show_id = s.id
                    AND (c.status <> 'held' OR c.expires_at > now())),
                s.status
            FROM page s
            JOIN movies m ON m.id = s.movie_id
            JOIN theatres t ON t.id = s.theatre_id
            JOIN halls h ON h.id = s.hall_id
            JOIN layouts l ON l.id = s.layout_id
            ORDER BY s.start_time, s.id"
        )
    };
}

statement!(ListShows: ShowColumns = show_columns!("
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
statement!(OneShow: ShowColumns = show_columns!("WHERE s.id = $1"));

type TheatreColumns = (BigInt, Text, Text, Text, Array<BigInt>, Array<Text>, Array<Integer>);
type TheatreRow = (i64, String, String, String, Vec<i64>, Vec<String>, Vec<i32>);

macro_rules! theatre_columns {
    () => {
        "SELECT t.id, t.name, t.location, t.timezone,
            coalesce(array_agg(h.id ORDER BY h.name, h.id) FILTER (WHERE h.id IS NOT NULL), '{}'),
            coalesce(array_agg(h.name::text ORDER BY h.name, h.id) FILTER (WHERE h.id IS NOT NULL), '{}'),
            coalesce(array_agg(h.seats_total ORDER BY h.name, h.id) FILTER (WHERE h.id IS NOT NULL), '{}')
        FROM theatres t
        LEFT JOIN LATERAL (
            SELECT h.id, h.name, coalesce((SELECT l.seats_total FROM layouts l WHERE l.hall_id = h.id
                ORDER BY l.version DESC LIMIT 1), 0) AS seats_total
            FROM halls h WHERE h.theatre_id = t.id
        ) h ON true "
    };
}

statement!(ListTheatres: TheatreColumns = concat!(theatre_columns!(), "
    WHERE ($1::text IS NULL OR (t.name, t.id) > ($1 COLLATE \"C\", $2::bigint))
    GROUP BY t.id
    ORDER BY t.name, t.id
    LIMIT $3"));
statement!(OneTheatre: TheatreColumns = concat!(theatre_columns!(), "WHERE t.id = $1 GROUP BY t.id"));

#[async_trait]
impl CatalogStore for PostgresStore {
    async fn movies(&self, filter: &MovieFilter, page: &PageRequest<MovieCursor>) -> Result<Vec<Movie>, StoreError> {
        let (theatres, from, to) = columns_of(filter.shown_during.as_deref());
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
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &MovieRow| MovieCursor { title: row.1.clone(), id: MovieId(row.0) };
            filling.add(rows, place, |row| listed("movies", row.0, movie(row)));
        }
        Ok(filling.into_items())
    }

    async fn movie(&self, id: MovieId) -> Result<Option<Movie>, StoreError> {
        let rows: Vec<MovieRow> = self.load(bind!(OneMovie, BigInt = id.0)).await?;
        rows.into_iter().next().map(movie).transpose()
    }

    async fn shows(&self, filter: &ShowFilter, page: &PageRequest<ShowCursor>) -> Result<Vec<Show>, StoreError> {
        let (theatres, from, to) = columns_of(filter.during.as_deref());
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
            let place = |row: &ShowRow| ShowCursor { start_time: row.7, id: ShowId(row.0) };
            filling.add(rows, place, |row| listed("shows", row.0, show(row)));
        }
        Ok(filling.into_items())
    }

    async fn show(&self, id: ShowId) -> Result<Option<Show>, StoreError> {
        let rows: Vec<ShowRow> = self.load(bind!(OneShow, BigInt = id.0)).await?;
        rows.into_iter().next().map(show).transpose()
    }

    async fn theatres(&self, page: &PageRequest<TheatreCursor>) -> Result<Vec<Theatre>, StoreError> {
        let mut filling = Filling::of(page);
        while let Some(page) = filling.next() {
            let rows: Vec<TheatreRow> = self
                .load(bind!(
                    ListTheatres,
                    Nullable<Text> = page.after.as_ref().map(|place| place.name.clone()),
                    Nullable<BigInt> = page.after.as_ref().map(|place| place.id.0),
                    BigInt = page.rows(),
                ))
                .await?;
            let place = |row: &TheatreRow| TheatreCursor { name: row.1.clone(), id: TheatreId(row.0) };
            filling.add(rows, place, |row| listed("theatres", row.0, theatre(row)));
        }
        Ok(filling.into_items())
    }

    async fn theatre(&self, id: TheatreId) -> Result<Option<Theatre>, StoreError> {
        let rows: Vec<TheatreRow> = self.load(bind!(OneTheatre, BigInt = id.0)).await?;
        rows.into_iter().next().map(theatre).transpose()
    }
}

type WindowColumns = (Option<Vec<i64>>, Option<Vec<DateTime<Utc>>>, Option<Vec<DateTime<Utc>>>);

fn columns_of(windows: Option<&[DayWindow]>) -> WindowColumns {
    let Some(windows) = windows else { return (None, None, None) };
    (
        Some(windows.iter().map(|window| window.theatre_id.0).collect()),
        Some(windows.iter().map(|window| window.from).collect()),
        Some(windows.iter().map(|window| window.to).collect()),
    )
}

fn movie(row: MovieRow) -> Result<Movie, StoreError> {
    let (
        id,
        title,
        description,
        duration_minutes,
        genres,
        language,
        certificate,
        poster_url,
        release_date,
        made,
        changed,
    ) = row;
    Ok(Movie {
        id: MovieId(id),
        title,
        description,
        duration_minutes,
        genres,
        language,
        certificate,
        poster_url,
        release_date: release_date.ok_or_else(|| bad_row("a release date out of range"))?,
        created_at: made,
        updated_at: changed,
    })
}

fn show(row: ShowRow) -> Result<Show, StoreError> {
    let (id, movie_id, movie_title, theatre_id, theatre_name, hall_id, hall_name, start_time, end_time, ..) = row;
    let (format, language, code, price_from, seats_total, seats_available, status) =
        (row.9, row.10, row.11, row.12, row.13, row.14, row.15);
    Ok(Show {
        id: ShowId(id),
        movie_id: MovieId(movie_id),
        movie_title,
        theatre_id: TheatreId(theatre_id),
        theatre_name,
        hall_id: HallId(hall_id),
        hall_name,
        start_time,
        end_time,
        format,
        language,
        price_from: Money::new(price_from.ok_or_else(|| bad_row("a show without prices"))?, currency(&code)?),
        seats_total: i64::from(seats_total),
        seats_available,
        status: ShowStatus::parse(&status).map_err(bad_row)?,
    })
}

fn theatre((id, name, location, timezone, hall_ids, hall_names, seats): TheatreRow) -> Result<Theatre, StoreError> {
    let halls = hall_ids.into_iter().zip(hall_names).zip(seats);
    Ok(Theatre {
        id: TheatreId(id),
        name,
        location,
        timezone: timezone.parse::<Tz>().map_err(|error| bad_row(error.to_string()))?,
        halls: halls
            .map(|((id, name), seats)| HallSummary { id: HallId(id), name, seats_total: i64::from(seats) })
            .collect(),
    })
}
