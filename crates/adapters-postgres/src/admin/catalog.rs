//! Changes of movies, theatres and halls.

use chrono::NaiveDate;
use diesel::dsl::now;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::admin::{ChangeRefusal, Edit, ObjectKind};
use domain::catalog::{Hall, HallDetails, Movie, MovieDetails, Theatre, TheatreDetails};
use domain::text::fold;

use super::pricing::check_no_price_lists;
use super::{Failure, guarded, name_taken, refused};
use crate::catalog::{hall_by_id, movie_by_id, theatre_by_id};
use crate::schema::{halls, movies, theatres};
use crate::statement::{bind, statement};

const TITLE: &str = "movies_title_unique";
const THEATRE_NAME: &str = "theatres_name_unique";
const HALL_NAME: &str = "halls_name_unique";

statement!(IsUsed: Bool = "
    SELECT EXISTS (SELECT 1 FROM shows WHERE status = 'scheduled' AND end_time > now()
        AND CASE $1 WHEN 'movie' THEN movie_id WHEN 'theatre' THEN theatre_id WHEN 'hall' THEN hall_id END = $2)");

/// Returns an error if the object has a scheduled show that has not ended. The object's row is locked, so that a concurrent new show, which
/// locks it as well, is seen here or sees the change.
async fn check_unused(connection: &mut AsyncPgConnection, kind: ObjectKind, id: i64) -> Result<(), Failure> {
    let is_used: bool = bind!(IsUsed, Text = kind.as_str(), BigInt = id).get_result(connection).await?;
    if is_used { Err(refused(ChangeRefusal::InUse(kind))) } else { Ok(()) }
}

/// The columns that a movie's details set.
#[derive(AsChangeset, Insertable)]
#[diesel(table_name = movies, treat_none_as_null = true)]
struct MovieValues {
    title: String,
    description: String,
    duration_minutes: i32,
    genres: Vec<String>,
    language: String,
    certificate: String,
    poster_url: Option<String>,
    release_date: NaiveDate,
    search_folded: String,
    genres_folded: Vec<String>,
    language_folded: String,
}

impl MovieValues {
    fn new(details: &MovieDetails) -> Self {
        let genres = details.genres.as_slice();
        Self {
            title: details.title.as_str().to_owned(),
            description: details.description.as_str().to_owned(),
            duration_minutes: details.duration.minutes(),
            genres: genres.to_vec(),
            language: details.language.as_str().to_owned(),
            certificate: details.certificate.as_str().to_owned(),
            poster_url: details.poster_url.as_ref().map(|url| url.as_str().to_owned()),
            release_date: details.release_date.date(),
            search_folded: details.search_folded(),
            genres_folded: genres.iter().map(|genre| fold(genre)).collect(),
            language_folded: fold(details.language.as_str()),
        }
    }
}

pub(super) async fn edit_movie(
    connection: &mut AsyncPgConnection,
    edit: &Edit<MovieDetails, Movie>,
) -> Result<Movie, Failure> {
    let raised = (movies::version.eq(movies::version + 1), movies::updated_at.eq(now));
    let id = match edit {
        Edit::Create(details) => diesel::insert_into(movies::table)
            .values(MovieValues::new(details))
            .returning(movies::id)
            .get_result(connection)
            .await
            .map_err(name_taken(TITLE))?,
        Edit::Update { before, after } => {
            let row = movies::table.find(before.id.0).filter(movies::version.eq(before.version));
            let values = (MovieValues::new(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).await.map_err(name_taken(TITLE))?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let id = before.id.0;
            let row = movies::table.find(id).filter(movies::version.eq(before.version));
            if before.retired_at.is_none() {
                guarded(diesel::update(row).set((movies::retired_at.eq(now), raised)).execute(connection).await?)?;
                check_unused(connection, ObjectKind::Movie, id).await?;
            }
            id
        }
    };
    movie_by_id(connection, id).await
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
    tax_basis_points: i32,
    cleaning_minutes: i32,
}

impl TheatreValues {
    fn new(details: &TheatreDetails) -> Self {
        Self {
            name: details.name.as_str().to_owned(),
            name_folded: fold(details.name.as_str()),
            location: details.location.as_str().to_owned(),
            timezone: details.timezone.name(),
            currency: details.currency.code().to_owned(),
            tax_basis_points: details.tax_rate.basis_points(),
            cleaning_minutes: details.cleaning_time.minutes(),
        }
    }
}

pub(super) async fn edit_theatre(
    connection: &mut AsyncPgConnection,
    edit: &Edit<TheatreDetails, Theatre>,
) -> Result<Theatre, Failure> {
    let raised = theatres::version.eq(theatres::version + 1);
    let id = match edit {
        Edit::Create(details) => diesel::insert_into(theatres::table)
            .values(TheatreValues::new(details))
            .returning(theatres::id)
            .get_result(connection)
            .await
            .map_err(name_taken(THEATRE_NAME))?,
        Edit::Update { before, after } => {
            let id = before.id.0;
            let row = theatres::table.find(id).filter(theatres::version.eq(before.version));
            let values = (TheatreValues::new(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).await.map_err(name_taken(THEATRE_NAME))?)?;
            if after.needs_no_shows(before) {
                check_unused(connection, ObjectKind::Theatre, id).await?;
            }
            if after.needs_no_price_lists(before) {
                check_no_price_lists(connection, id).await?;
            }
            id
        }
        Edit::Retire(before) => {
            let id = before.id.0;
            let row = theatres::table.find(id).filter(theatres::version.eq(before.version));
            if before.retired_at.is_none() {
                guarded(diesel::update(row).set((theatres::retired_at.eq(now), raised)).execute(connection).await?)?;
                check_unused(connection, ObjectKind::Theatre, id).await?;
            }
            id
        }
    };
    theatre_by_id(connection, id).await
}

pub(super) async fn edit_hall(
    connection: &mut AsyncPgConnection,
    edit: &Edit<HallDetails, Hall>,
) -> Result<Hall, Failure> {
    let raised = halls::version.eq(halls::version + 1);
    let named = |details: &HallDetails| {
        let name = details.name.as_str();
        (halls::name.eq(name.to_owned()), halls::name_folded.eq(fold(name)))
    };
    let id = match edit {
        Edit::Create(details) => {
            let theatre = details.theatre_id.0;
            let open: Option<i64> = theatres::table
                .find(theatre)
                .filter(theatres::retired_at.is_null())
                .select(theatres::id)
                .for_share()
                .first(connection)
                .await
                .optional()?;
            if open.is_none() {
                return Err(refused(ChangeRefusal::TheatreNotFound));
            }
            diesel::insert_into(halls::table)
                .values((halls::theatre_id.eq(theatre), named(details)))
                .returning(halls::id)
                .get_result(connection)
                .await
                .map_err(name_taken(HALL_NAME))?
        }
        Edit::Update { before, after } => {
            let row = halls::table.find(before.id.0).filter(halls::version.eq(before.version));
            let values = (named(after), raised);
            guarded(diesel::update(row).set(values).execute(connection).await.map_err(name_taken(HALL_NAME))?)?;
            before.id.0
        }
        Edit::Retire(before) => {
            let id = before.id.0;
            let row = halls::table.find(id).filter(halls::version.eq(before.version));
            if before.retired_at.is_none() {
                guarded(diesel::update(row).set((halls::retired_at.eq(now), raised)).execute(connection).await?)?;
                check_unused(connection, ObjectKind::Hall, id).await?;
            }
            id
        }
    };
    hall_by_id(connection, id).await
}
