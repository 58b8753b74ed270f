//! Reads the database of the Express API that this system replaces.
//!
//! Its tables and columns are found by the names that such databases use; case and underscores do not matter (`show_id`, `showId`). All values
//! are read as text and parsed here, so that an unexpected type is a skipped row and not a failure.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, NaiveDate, NaiveDateTime, TimeZone as _, Utc};
use diesel::QueryableByName;
use diesel::sql_types::{Array, Nullable, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl as _, SimpleAsyncConnection as _};
use domain::catalog::{
    Certificate, Description, Duration, Genres, LanguageName, Location, MovieDetails, PlaceName, PosterUrl,
    ReleaseDate, Title,
};
use domain::former::{
    FormerBooking, FormerMovie, FormerSeat, FormerShow, FormerSource, FormerTerms, FormerTheatre, FormerUser,
    SkippedRow,
};
use domain::identity::{Email, Name, PasswordHash};
use domain::money::Money;
use domain::seating::RowName;
use thiserror::Error;

use crate::connect_error::ConnectError;
use crate::settings::PostgresSettings;

/// What the source may not say.
#[derive(Clone, Copy, Debug)]
pub struct ExpressTerms {
    pub former: FormerTerms,
    /// The price of shows without one, in minor units.
    pub price_minor: Option<i64>,
    /// The duration of movies without one.
    pub duration: Duration,
    /// Returns why a password hash would not be accepted at a login.
    pub check_hash: fn(&str) -> Result<(), String>,
}

/// The reason why the source was not read.
#[derive(Debug, Error)]
pub enum ExpressError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the source cannot be read")]
    Query(#[from] diesel::result::Error),
    /// Tables or columns are missing. Lists all of them.
    #[error(
        "the source does not have the expected tables: {}. docs/express.md lists the accepted names; a view in the schema `public` can rename",
        .0.join("; ")
    )]
    Schema(Vec<String>),
    #[error("the shows of the source have no price: give one with --price")]
    NoPrice,
}

/// A column of a table: its meaning, and the accepted names without underscores in lower case.
struct Column {
    names: &'static [&'static str],
    required: bool,
}

const fn required(names: &'static [&'static str]) -> Column {
    Column { names, required: true }
}

const fn optional(names: &'static [&'static str]) -> Column {
    Column { names, required: false }
}

/// A table: the accepted names, and the columns in the order in which the parser takes them.
struct Table {
    names: &'static [&'static str],
    columns: &'static [Column],
}

const USERS: Table = Table {
    names: &["users", "user"],
    columns: &[
        required(&["id", "userid"]),
        optional(&["name", "username", "fullname"]),
        required(&["email", "emailaddress"]),
        required(&["password", "passwordhash", "hashedpassword"]),
    ],
};
const MOVIES: Table = Table {
    names: &["movies", "movie"],
    columns: &[
        required(&["id", "movieid"]),
        required(&["title", "name"]),
        optional(&["description", "synopsis", "overview"]),
        optional(&["durationminutes", "duration", "runtime", "durationmins"]),
        optional(&["genre", "genres"]),
        optional(&["language"]),
        optional(&["certificate", "agerating"]),
        optional(&["posterurl", "poster", "imageurl"]),
        optional(&["releasedate", "releasedon"]),
    ],
};
const THEATRES: Table = Table {
    names: &["theatres", "theaters", "theatre", "theater", "cinemas"],
    columns: &[
        required(&["id", "theatreid", "theaterid", "cinemaid"]),
        required(&["name"]),
        optional(&["location", "address", "city"]),
    ],
};
const SHOWS: Table = Table {
    names: &["shows", "showtimes", "screenings", "show", "showtime"],
    columns: &[
        required(&["id", "showid", "showtimeid"]),
        required(&["movieid"]),
        required(&["theatreid", "theaterid", "cinemaid"]),
        required(&["starttime", "showtime", "startsat", "startat", "time"]),
        optional(&["endtime", "endsat", "endat"]),
        optional(&["price", "ticketprice"]),
    ],
};
const SEATS: Table = Table {
    names: &["seats", "seat", "showseats"],
    columns: &[
        required(&["id", "seatid"]),
        required(&["showid", "showtimeid", "screeningid"]),
        required(&["seatnumber", "number", "seatno", "label"]),
        optional(&["row", "rowlabel", "seatrow", "rowname", "rownumber"]),
        optional(&["status", "seatstatus"]),
        optional(&["isbooked", "booked", "isreserved"]),
        optional(&["isavailable", "available"]),
    ],
};
const BOOKINGS: Table = Table {
    names: &["bookings", "booking", "reservations"],
    columns: &[
        required(&["id", "bookingid"]),
        required(&["userid"]),
        required(&["seatid"]),
        optional(&["bookedat", "createdat", "bookingtime", "bookingdate", "timestamp"]),
        optional(&["status", "bookingstatus"]),
        optional(&["price", "amount", "totalprice"]),
    ],
};

/// Returns a name as it is compared.
fn plain(name: &str) -> String {
    name.chars().filter(|character| *character != '_').flat_map(char::to_lowercase).collect()
}

#[derive(QueryableByName)]
struct ColumnRow {
    #[diesel(sql_type = Text)]
    table_name: String,
    #[diesel(sql_type = Text)]
    column_name: String,
    #[diesel(sql_type = Text)]
    data_type: String,
}

#[derive(QueryableByName)]
struct Cells {
    #[diesel(sql_type = Array<Nullable<Text>>)]
    cells: Vec<Option<String>>,
}

impl Cells {
    /// Returns a value without surrounding white space. Empty texts are no value.
    fn get(&self, index: usize) -> Option<&str> {
        self.cells.get(index).and_then(Option::as_deref).map(str::trim).filter(|text| !text.is_empty())
    }

    fn id(&self, index: usize) -> Result<i64, String> {
        let text = self.get(index).unwrap_or_default();
        text.parse().map_err(|_| format!("the id `{text}` is not an integer"))
    }
}

/// Returns the query of a table, or what is missing in the source.
fn query(table: &Table, found: &[ColumnRow]) -> Result<String, String> {
    let shown = |names: &[&str]| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" or ");
    let chosen = table.names.iter().find_map(|name| found.iter().find(|row| plain(&row.table_name) == *name));
    let Some(chosen) = chosen else { return Err(format!("no table {}", shown(table.names))) };
    let of_table: Vec<_> = found.iter().filter(|row| row.table_name == chosen.table_name).collect();
    let mut cells = Vec::with_capacity(table.columns.len());
    let mut missing = Vec::new();
    for column in table.columns {
        let row = column.names.iter().find_map(|name| of_table.iter().find(|row| plain(&row.column_name) == *name));
        match row {
            Some(row) => cells.push(cell(row)),
            None if column.required => missing.push(shown(column.names)),
            None => cells.push("NULL".to_owned()),
        }
    }
    if !missing.is_empty() {
        return Err(format!("the table `{}` has no column {}", chosen.table_name, missing.join(", and none ")));
    }
    Ok(format!(
        "SELECT ARRAY[{}]::text[] AS cells FROM public.{} ORDER BY {}",
        cells.join(", "),
        quoted(&chosen.table_name),
        of_table
            .iter()
            .find(|row| table.columns.first().is_some_and(|id| id.names.contains(&plain(&row.column_name).as_str())))
            .map_or_else(|| "1".to_owned(), |row| quoted(&row.column_name)),
    ))
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Returns the expression of a column's value as text.
fn cell(row: &ColumnRow) -> String {
    let name = quoted(&row.column_name);
    match row.data_type.as_str() {
        "timestamp with time zone" => {
            format!("to_char({name} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')")
        }
        "timestamp without time zone" => format!("to_char({name}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"),
        "date" => format!("to_char({name}, 'YYYY-MM-DD')"),
        "ARRAY" => format!("array_to_string({name}, ',')"),
        _ => format!("{name}::text"),
    }
}

/// Reads a source in one read-only snapshot.
pub async fn read_express(settings: &PostgresSettings, terms: &ExpressTerms) -> Result<FormerSource, ExpressError> {
    let mut connection = settings.establish_one().await?;
    connection
        .batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL statement_timeout = 0")
        .await?;
    let source = read(&mut connection, terms).await;
    // Nothing was written: a failure of this changes nothing.
    let _ = connection.batch_execute("ROLLBACK").await;
    source
}

async fn read(connection: &mut AsyncPgConnection, terms: &ExpressTerms) -> Result<FormerSource, ExpressError> {
    let columns: Vec<ColumnRow> = diesel::sql_query(
        "SELECT table_name::text AS table_name, column_name::text AS column_name, data_type::text AS data_type
         FROM information_schema.columns WHERE table_schema = 'public' ORDER BY table_name, ordinal_position",
    )
    .load(connection)
    .await?;
    let (mut queries, mut missing) = (Vec::new(), Vec::new());
    for table in [&USERS, &MOVIES, &THEATRES, &SHOWS, &SEATS, &BOOKINGS] {
        match query(table, &columns) {
            Ok(query) => queries.push(query),
            Err(error) => missing.push(error),
        }
    }
    if !missing.is_empty() {
        return Err(ExpressError::Schema(missing));
    }
    let mut tables = Vec::with_capacity(queries.len());
    for query in queries {
        tables.push(diesel::sql_query(query).load::<Cells>(connection).await?);
    }
    let mut tables = tables.into_iter();
    let mut next = || tables.next().unwrap_or_default();
    let mut parser = Parser { terms, skipped: Vec::new() };
    let users = parser.all("users", &next(), Parser::user);
    let (movies, theatres, shows, seats, bookings) = (next(), next(), next(), next(), next());
    let theatres = parser.all("theatres", &theatres, Parser::theatre);
    if terms.price_minor.is_none() && shows.iter().any(|show| show.get(5).is_none()) {
        return Err(ExpressError::NoPrice);
    }
    let mut shows = parser.all("shows", &shows, Parser::show);
    let first = shows.iter().map(|show| (show.movie_id, show.start_time));
    let mut first_days: HashMap<i64, NaiveDate> = HashMap::new();
    for (movie_id, start) in first {
        let day = start.with_timezone(&terms.former.timezone).date_naive();
        let first = first_days.entry(movie_id).or_insert(day);
        *first = day.min(*first);
    }
    let movies = parser.all("movies", &movies, |parser, row| parser.movie(row, &first_days));
    parser.add_seats(&mut shows, &seats);
    let bookings = parser.all("bookings", &bookings, Parser::booking);
    let skipped = parser.skipped;
    Ok(FormerSource { terms: terms.former, users, movies, theatres, shows, bookings, skipped })
}

struct Parser<'a> {
    terms: &'a ExpressTerms,
    skipped: Vec<SkippedRow>,
}

impl Parser<'_> {
    /// Parses all rows of a table, and notes those that are invalid.
    fn all<T>(
        &mut self,
        table: &'static str,
        rows: &[Cells],
        parse: impl Fn(&Self, &Cells) -> Result<T, String>,
    ) -> Vec<T> {
        let mut parsed = Vec::with_capacity(rows.len());
        for row in rows {
            match parse(self, row) {
                Ok(item) => parsed.push(item),
                Err(reason) => self.skipped.push(SkippedRow::new(table, row.get(0).unwrap_or("?"), reason)),
            }
        }
        parsed
    }

    fn user(&self, row: &Cells) -> Result<FormerUser, String> {
        let email =
            Email::parse(row.get(2).unwrap_or_default()).map_err(|error| format!("its e-mail address {error}"))?;
        // Without a name, the part of the address before the @.
        let local = email.as_str().split('@').next().unwrap_or_default();
        let name = Name::parse(row.get(1).unwrap_or(local)).map_err(|error| format!("its name {error}"))?;
        let hash = row.get(3).unwrap_or_default();
        (self.terms.check_hash)(hash)?;
        Ok(FormerUser { id: row.id(0)?, name, email, password_hash: PasswordHash(hash.to_owned()) })
    }

    fn movie(&self, row: &Cells, first_days: &HashMap<i64, NaiveDate>) -> Result<FormerMovie, String> {
        let id = row.id(0)?;
        let duration = match row.get(3) {
            None => self.terms.duration,
            Some(text) => minutes(text).ok_or_else(|| format!("its duration `{text}` is not a number of minutes"))?,
        };
        let genres: Vec<_> =
            row.get(4).into_iter().flat_map(|text| text.split([',', '/', '|'])).map(str::trim).collect();
        let release_date = row
            .get(8)
            .and_then(|text| text.get(..10))
            .and_then(|text| text.parse().ok())
            .or_else(|| first_days.get(&id).copied())
            .and_then(|date| ReleaseDate::parse(date).ok());
        let release_date = match release_date {
            Some(date) => date,
            None => ReleaseDate::parse(NaiveDate::default()).map_err(|error| format!("its release date {error}"))?,
        };
        let details = MovieDetails {
            title: Title::parse(row.get(1).unwrap_or_default()).map_err(|error| format!("its title {error}"))?,
            description: Description::parse(row.get(2).unwrap_or_default())
                .map_err(|error| format!("its description {error}"))?,
            duration,
            genres: Genres::parse(&genres).map_err(|error| format!("its genre {error}"))?,
            language: LanguageName::parse(row.get(5).unwrap_or("Unknown"))
                .map_err(|error| format!("its language {error}"))?,
            certificate: Certificate::parse(row.get(6).unwrap_or_default())
                .map_err(|error| format!("its certificate {error}"))?,
            // A path within the former site is no address.
            poster_url: row.get(7).and_then(|text| PosterUrl::parse(text).ok()),
            release_date,
        };
        Ok(FormerMovie { id, details })
    }

    fn theatre(&self, row: &Cells) -> Result<FormerTheatre, String> {
        let name = PlaceName::parse(row.get(1).unwrap_or_default()).map_err(|error| format!("its name {error}"))?;
        let location =
            Location::parse(row.get(2).unwrap_or_default()).map_err(|error| format!("its location {error}"))?;
        Ok(FormerTheatre { id: row.id(0)?, name, location })
    }

    fn show(&self, row: &Cells) -> Result<FormerShow, String> {
        let price = row.get(5).map(|text| self.price(text)).transpose()?;
        Ok(FormerShow {
            id: row.id(0)?,
            movie_id: row.id(1)?,
            theatre_id: row.id(2)?,
            start_time: self.instant(row.get(3).unwrap_or_default())?,
            end_time: row.get(4).map(|text| self.instant(text)).transpose()?,
            price_minor: price.or(self.terms.price_minor).ok_or("it has no price")?,
            seats: Vec::new(),
        })
    }

    fn booking(&self, row: &Cells) -> Result<FormerBooking, String> {
        let status = row.get(4).unwrap_or("confirmed").to_lowercase();
        if !["confirmed", "booked", "paid", "success", "completed", "active"].contains(&status.as_str()) {
            return Err(format!("its status is `{status}`"));
        }
        Ok(FormerBooking {
            id: row.id(0)?,
            user_id: row.id(1)?,
            seat_id: row.id(2)?,
            booked_at: row.get(3).map(|text| self.instant(text)).transpose()?,
            price_minor: row.get(5).map(|text| self.price(text)).transpose()?,
        })
    }

    /// Adds the seats to their shows.
    fn add_seats(&mut self, shows: &mut [FormerShow], rows: &[Cells]) {
        let by_id: HashMap<i64, usize> = shows.iter().enumerate().map(|(index, show)| (show.id, index)).collect();
        let mut places = BTreeSet::new();
        for row in rows {
            let added = seat(row).and_then(|(show_id, seat)| {
                let index = by_id.get(&show_id).ok_or("its show was not imported")?;
                let show = shows.get_mut(*index).ok_or("its show was not imported")?;
                if !places.insert((show_id, seat.row.as_str().to_owned(), seat.number)) {
                    return Err("its show has another seat with this row and number".to_owned());
                }
                show.seats.push(seat);
                Ok(())
            });
            if let Err(reason) = added {
                self.skipped.push(SkippedRow::new("seats", row.get(0).unwrap_or("?"), reason));
            }
        }
    }

    /// Parses an amount. Decimals that are zeros beyond those of the currency are accepted: numeric columns print them.
    fn price(&self, text: &str) -> Result<i64, String> {
        let short = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text };
        let money = Money::parse(short, self.terms.former.currency).map_err(|error| format!("its price {error}"))?;
        Ok(money.minor)
    }

    /// Parses an instant. Times without an offset are local times of the theatres.
    fn instant(&self, text: &str) -> Result<DateTime<Utc>, String> {
        if let Ok(instant) = DateTime::parse_from_rfc3339(text) {
            return Ok(instant.to_utc());
        }
        let formats = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"];
        let local = formats.iter().find_map(|format| NaiveDateTime::parse_from_str(text, format).ok());
        let local = local.ok_or_else(|| format!("`{text}` is not a date and a time"))?;
        let instant = self.terms.former.timezone.from_local_datetime(&local).earliest();
        instant.map(|instant| instant.to_utc()).ok_or_else(|| format!("the local time {local} does not exist"))
    }
}

/// Parses a number of minutes like `142`, `142.0` or `142 min`.
fn minutes(text: &str) -> Option<Duration> {
    let digits = text.split(|character: char| !character.is_ascii_digit()).next()?;
    Duration::parse(digits.parse().ok()?).ok()
}

/// Returns the id of the show, and the seat.
fn seat(row: &Cells) -> Result<(i64, FormerSeat), String> {
    let number = row.get(2).unwrap_or_default();
    let (letters, digits) = match row.get(3) {
        Some(name) => (name, number.strip_prefix(name).unwrap_or(number)),
        None => {
            let border = number.find(|character: char| character.is_ascii_digit()).unwrap_or(number.len());
            number.split_at_checked(border).unwrap_or((number, ""))
        }
    };
    let letters = letters.trim_end_matches(['-', ' ']);
    // Seats without a row are in one.
    let name = if letters.is_empty() { "A" } else { letters };
    let name = RowName::parse(name).map_err(|error| format!("its row {error}"))?;
    let parsed: Option<i32> = digits.trim_start_matches(['-', ' ']).parse().ok().filter(|number| *number > 0);
    let parsed = parsed.ok_or_else(|| format!("`{number}` has no positive seat number"))?;
    let yes = |index| row.get(index).map(|text| matches!(text.to_lowercase().as_str(), "true" | "t" | "1" | "yes"));
    let is_free = |status: &str| {
        ["available", "free", "open", "not booked", "false", "f", "0"].contains(&status.to_lowercase().as_str())
    };
    let taken = row.get(4).is_some_and(|status| !is_free(status)) || yes(5) == Some(true) || yes(6) == Some(false);
    Ok((row.id(1)?, FormerSeat { id: row.id(0)?, row: name, number: parsed, taken }))
}
