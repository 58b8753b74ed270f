//! Changes of movies, theatres and halls.

use diesel::dsl::exists;
use diesel::prelude::*;
use domain::admin::{ChangeRefusal, Edit, ObjectKind};
use domain::catalog::{Hall, HallDetails, Movie, MovieDetails, ShowStatus, Theatre, TheatreDetails};
use domain::ids::{HallId, MovieId, TheatreId};
use domain::text::fold;

use super::pricing::check_no_price_lists;
use super::{Undone, guarded, name_taken};
use crate::catalog::{hall, movie, theatre};
use crate::failure::Failure;
use crate::schema::{halls, movies, shows, theatres};

/// The unique constraints of names, as SQLite reports them.
const TITLE: &str = "movies.title";
const THEATRE_NAME: &str = "theatres.name";
const HALL_NAME: &str = "halls.theatre_id, halls.name";

/// Returns an error if the object has a scheduled show that has not ended.
fn check_unused(connection: &mut SqliteConnection, kind: ObjectKind, id: i64, now: i64) -> Result<(), Undone> {
    let upcoming = shows::table
        .filter(shows::status.eq(ShowStatus::Scheduled.as_str()))
        .filter(shows::end_time.gt(now))
        .select(shows::id)
        .into_boxed();
    let of_object = match kind {
        ObjectKind::Movie => upcoming.filter(shows::movie_id.eq(id)),
        ObjectKind::Theatre => upcoming.filter(shows::theatre_id.eq(id)),
        ObjectKind::Hall => upcoming.filter(shows::hall_id.eq(id)),
        ObjectKind::Layout
        | ObjectKind::User
        | ObjectKind::TicketType
        | ObjectKind::PriceList
        | ObjectKind::Booking
        | ObjectKind::Show => return Ok(()),
    };
    let used: Option<i64> = of_object.first(connection).optional()?;
    if used.is_some() { Err(ChangeRefusal::InUse(kind).into()) } else { Ok(()) }
}

/// The columns that a movie's details set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = movies, treat_none_as_null = true)]
struct MovieValues {
    title: String,
    description: String,
    duration_minutes: i64,
    genres: String,
    language: String,
    certificate: String,
    poster_url: Option<String>,
    release_date: String,
    search_folded: String,
    genres_folded: String,
    language_folded: String,
    updated_at: i64,
}

impl MovieValues {
    fn new(details: &MovieDetails, now: i64) -> Self {
        let genres = details.genres.as_slice();
        let genres_folded: Vec<String> = genres.iter().map(|genre| fold(genre)).collect();
        Self {
            title: details.title.as_str().to_owned(),
            description: details.description.as_str().to_owned(),
            duration_minutes: i64::from(details.duration.minutes()),
            genres: serde_json::json!(genres).to_string(),
            language: details.language.as_str().to_owned(),
            certificate: details.certificate.as_str().to_owned(),
            poster_url: details.poster_url.as_ref().map(|url| url.as_str().to_owned()),
            release_date: details.release_date.date().to_string(),
            search_folded: details.search_folded(),
            genres_folded: serde_json::json!(genres_folded).to_string(),
            language_folded: fold(details.language.as_str()),
            updated_at: now,
        }
    }
}

pub(super) fn edit_movie(
    connection: &mut SqliteConnection,
    edit: &Edit<MovieDetails, Movie>,
    now: i64,
) -> Result<Movie, Undone> {
    let raised = movies::version.eq(movies::version + 1);
    let id = match edit {
        Edit::Create(details) => diesel::insert_into(movies::table)
            .values((MovieValues::new(details, now), movies::created_at.eq(now)))
            .returning(movies::id)
            .get_result(connection)
            .map_err(name_taken(TITLE))?,
        Edit::Update { before, after } => {
            let row = movies::table.find(before.id.0).filter(movies::version.eq(before.version));
            let values = (MovieValues::new(after, now), raised);
            guarded(diesel::update(row).set(values).execute(connection).map_err(name_taken(TITLE))?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let id = before.id.0;
            let row = movies::table.find(id).filter(movies::version.eq(before.version));
            if before.retired_at.is_none() {
                let values = (movies::retired_at.eq(now), movies::updated_at.eq(now), raised);
                guarded(diesel::update(row).set(values).execute(connection)?)?;
                check_unused(connection, ObjectKind::Movie, id, now)?;
            }
            id
        }
    };
    Ok(movie(connection, MovieId(id))?.ok_or(Failure::Stale("the movie is missing"))?)
}

/// The columns that a theatre's details set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = theatres)]
struct TheatreValues {
    name: String,
    name_folded: String,
    location: String,
    timezone: &'static str,
    currency: String,
    tax_basis_points: i64,
    cleaning_minutes: i64,
}

impl TheatreValues {
    fn new(details: &TheatreDetails) -> Self {
        Self {
            name: details.name.as_str().to_owned(),
            name_folded: fold(details.name.as_str()),
            location: details.location.as_str().to_owned(),
            timezone: details.timezone.name(),
            currency: details.currency.code().to_owned(),
            tax_basis_points: i64::from(details.tax_rate.basis_points()),
            cleaning_minutes: i64::from(details.cleaning_time.minutes()),
        }
    }
}

pub(super) fn edit_theatre(
    connection: &mut SqliteConnection,
    edit: &Edit<TheatreDetails, Theatre>,
    now: i64,
) -> Result<Theatre, Undone> {
    let raised = theatres::version.eq(theatres::version + 1);
    let id = match edit {
        Edit::Create(details) => diesel::insert_into(theatres::table)
            .values((TheatreValues::new(details), theatres::created_at.eq(now)))
            .returning(theatres::id)
            .get_result(connection)
            .map_err(name_taken(THEATRE_NAME))?,
        Edit::Update { before, after } => {
            let id = before.id.0;
            let row = theatres::table.find(id).filter(theatres::version.eq(before.version));
            let values = (TheatreValues::new(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).map_err(name_taken(THEATRE_NAME))?)?;
            if after.needs_no_shows(before) {
                check_unused(connection, ObjectKind::Theatre, id, now)?;
            }
            if after.needs_no_price_lists(before) {
                check_no_price_lists(connection, id)?;
            }
            id
        }
        Edit::Retire(before) => {
            let id = before.id.0;
            let row = theatres::table.find(id).filter(theatres::version.eq(before.version));
            if before.retired_at.is_none() {
                guarded(diesel::update(row).set((theatres::retired_at.eq(now), raised)).execute(connection)?)?;
                check_unused(connection, ObjectKind::Theatre, id, now)?;
            }
            id
        }
    };
    Ok(theatre(connection, TheatreId(id))?.ok_or(Failure::Stale("the theatre is missing"))?)
}

pub(super) fn edit_hall(
    connection: &mut SqliteConnection,
    edit: &Edit<HallDetails, Hall>,
    now: i64,
) -> Result<Hall, Undone> {
    let raised = halls::version.eq(halls::version + 1);
    let named = |details: &HallDetails| {
        let name = details.name.as_str();
        (halls::name.eq(name.to_owned()), halls::name_folded.eq(fold(name)))
    };
    let id = match edit {
        Edit::Create(details) => {
            let theatre = details.theatre_id.0;
            let open = theatres::table.find(theatre).filter(theatres::retired_at.is_null());
            if !diesel::select(exists(open)).get_result::<bool>(connection)? {
                return Err(ChangeRefusal::TheatreNotFound.into());
            }
            diesel::insert_into(halls::table)
                .values((halls::theatre_id.eq(theatre), named(details), halls::created_at.eq(now)))
                .returning(halls::id)
                .get_result(connection)
                .map_err(name_taken(HALL_NAME))?
        }
        Edit::Update { before, after } => {
            let row = halls::table.find(before.id.0).filter(halls::version.eq(before.version));
            let values = (named(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).map_err(name_taken(HALL_NAME))?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let id = before.id.0;
            let row = halls::table.find(id).filter(halls::version.eq(before.version));
            if before.retired_at.is_none() {
                guarded(diesel::update(row).set((halls::retired_at.eq(now), raised)).execute(connection)?)?;
                check_unused(connection, ObjectKind::Hall, id, now)?;
            }
            id
        }
    };
    Ok(hall(connection, HallId(id))?.ok_or(Failure::Stale("the hall is missing"))?)
}
