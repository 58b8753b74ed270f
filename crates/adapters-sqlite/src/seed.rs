//! Applies seed plans.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use diesel::dsl::{exists, sql};
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Text};
use domain::StoreError;
use domain::catalog::movie_search_folded;
use domain::ids::ShowId;
use domain::pricing::{TicketType, search_folded};
use domain::seating::{CategoryPrice, Section};
use domain::seed::{HallSeed, MovieSeed, SeatSeed, SeedPlan, Seeded, Seeder, ShowSeed, TheatreSeed};
use domain::text::fold;
use stored_json::stored_names;

use crate::failure::Failure;
use crate::identity::insert_user;
use crate::row::micros;
use crate::schema::{
    halls, layout_sections, layouts, movies, seats, show_prices, shows, theatres, ticket_types, users,
};
use crate::store::SqliteStore;

#[async_trait]
impl Seeder for SqliteStore {
    async fn seed(&self, plan: &SeedPlan) -> Result<Seeded, StoreError> {
        let (plan, clock) = (plan.clone(), self.clock());
        Ok(self.write(move |connection| apply(connection, &plan, clock.now())).await?)
    }

    async fn is_empty(&self) -> Result<bool, StoreError> {
        let is_used = self.read(|connection| {
            let movie: Option<i64> = movies::table.select(movies::id).first(connection).optional()?;
            let theatre: Option<i64> = theatres::table.select(theatres::id).first(connection).optional()?;
            Ok(movie.is_some() || theatre.is_some())
        });
        Ok(!is_used.await?)
    }
}

fn apply(connection: &mut SqliteConnection, plan: &SeedPlan, now: i64) -> Result<Seeded, Failure> {
    let SeedPlan { users, ticket_types, movies, theatres, shows } = plan;
    let mut seeded = Seeded::default();
    for user in users {
        let known = users::table.filter(users::email_folded.eq(user.email.folded()));
        if !diesel::select(exists(known)).get_result::<bool>(connection)? {
            insert_user(connection, user, now)?;
            seeded.users += 1;
        }
    }
    for ticket_type in ticket_types {
        seeded.ticket_types += add_ticket_type(connection, ticket_type, now)?;
    }
    for movie in movies {
        seeded.movies += add_movie(connection, movie, now)?;
    }
    for theatre in theatres {
        add_theatre(connection, theatre, now, &mut seeded)?;
    }
    let stage = Stage::read(connection)?;
    for show in shows {
        seeded.shows += usize::from(add_show(connection, &stage, show, now)?.is_some());
    }
    Ok(seeded)
}

fn add_ticket_type(connection: &mut SqliteConnection, new: &TicketType, now: i64) -> Result<usize, Failure> {
    let added = diesel::insert_into(ticket_types::table)
        .values((
            ticket_types::code.eq(new.code.as_str()),
            ticket_types::names.eq(stored_names(&new.names)),
            ticket_types::needs_proof.eq(i64::from(new.needs_proof)),
            ticket_types::position.eq(i64::from(new.position)),
            ticket_types::search_folded.eq(search_folded(&new.code, &new.names)),
            ticket_types::created_at.eq(now),
            ticket_types::updated_at.eq(now),
        ))
        .on_conflict(ticket_types::code)
        .do_nothing()
        .execute(connection)?;
    Ok(added)
}

fn add_movie(connection: &mut SqliteConnection, movie: &MovieSeed, now: i64) -> Result<usize, Failure> {
    let genres_folded: Vec<String> = movie.genres.iter().map(|genre| fold(genre)).collect();
    let added = diesel::insert_into(movies::table)
        .values((
            movies::title.eq(&movie.title),
            movies::description.eq(&movie.description),
            movies::duration_minutes.eq(i64::from(movie.duration_minutes)),
            movies::genres.eq(serde_json::json!(movie.genres).to_string()),
            movies::language.eq(&movie.language),
            movies::certificate.eq(&movie.certificate),
            movies::release_date.eq(movie.release_date.to_string()),
            movies::search_folded.eq(movie_search_folded(&movie.title, &movie.description)),
            movies::genres_folded.eq(serde_json::json!(genres_folded).to_string()),
            movies::language_folded.eq(fold(&movie.language)),
            movies::created_at.eq(now),
            movies::updated_at.eq(now),
        ))
        .on_conflict(movies::title)
        .do_nothing()
        .execute(connection)?;
    Ok(added)
}

fn add_theatre(
    connection: &mut SqliteConnection,
    theatre: &TheatreSeed,
    now: i64,
    seeded: &mut Seeded,
) -> Result<(), Failure> {
    seeded.theatres += diesel::insert_into(theatres::table)
        .values((
            theatres::name.eq(&theatre.name),
            theatres::name_folded.eq(fold(&theatre.name)),
            theatres::location.eq(&theatre.location),
            theatres::timezone.eq(theatre.timezone.name()),
            theatres::currency.eq(theatre.currency.code()),
            theatres::tax_basis_points.eq(i64::from(theatre.tax_rate.basis_points())),
            theatres::cleaning_minutes.eq(i64::from(theatre.cleaning_minutes)),
            theatres::created_at.eq(now),
        ))
        .on_conflict(theatres::name)
        .do_nothing()
        .execute(connection)?;
    let theatre_id: i64 =
        theatres::table.filter(theatres::name.eq(&theatre.name)).select(theatres::id).first(connection)?;
    for hall in &theatre.halls {
        seeded.halls += add_hall(connection, theatre_id, hall, now)?;
    }
    Ok(())
}

fn add_hall(connection: &mut SqliteConnection, theatre_id: i64, hall: &HallSeed, now: i64) -> Result<usize, Failure> {
    let hall_id: Option<i64> = diesel::insert_into(halls::table)
        .values((
            halls::theatre_id.eq(theatre_id),
            halls::name.eq(&hall.name),
            halls::name_folded.eq(fold(&hall.name)),
            halls::created_at.eq(now),
        ))
        .on_conflict((halls::theatre_id, halls::name))
        .do_nothing()
        .returning(halls::id)
        .get_result(connection)
        .optional()?;
    let Some(hall_id) = hall_id else { return Ok(0) };
    add_layout(connection, (hall_id, 1), &hall.seats, &hall.sections, now)?;
    Ok(1)
}

/// Inserts a layout of a hall, with this version, and returns its id.
pub(crate) fn add_layout(
    connection: &mut SqliteConnection,
    (hall_id, version): (i64, i64),
    seats: &[SeatSeed],
    sections: &[Section],
    now: i64,
) -> Result<i64, Failure> {
    let layout_id: i64 = diesel::insert_into(layouts::table)
        .values((
            layouts::hall_id.eq(hall_id),
            layouts::version.eq(version),
            layouts::seats_total.eq(i64::try_from(seats.len()).unwrap_or(i64::MAX)),
            layouts::created_at.eq(now),
        ))
        .returning(layouts::id)
        .get_result(connection)?;
    add_seats(connection, layout_id, seats)?;
    for section in sections {
        diesel::insert_into(layout_sections::table)
            .values((
                layout_sections::layout_id.eq(layout_id),
                layout_sections::name.eq(&section.name),
                layout_sections::focus_x.eq(section.focus.map(|focus| i64::from(focus.x))),
                layout_sections::focus_y.eq(section.focus.map(|focus| i64::from(focus.y))),
            ))
            .execute(connection)?;
    }
    Ok(layout_id)
}

/// Inserts all seats of a layout in one statement with one parameter, regardless of their number.
fn add_seats(connection: &mut SqliteConnection, layout_id: i64, seats: &[SeatSeed]) -> Result<(), Failure> {
    let rows: Vec<_> = seats
        .iter()
        .map(|seat| {
            let accessible = i32::from(seat.accessible);
            (seat.row.as_str(), seat.number, &seat.category, accessible, seat.x, seat.y, &seat.section, seat.pair)
        })
        .collect();
    diesel::sql_query(
        "INSERT INTO seats (layout_id, row_label, number, category, accessible, x, y, section, pair) \
         SELECT ?, json_extract(seat.value, '$[0]'), json_extract(seat.value, '$[1]'), json_extract(seat.value, '$[2]'), \
             json_extract(seat.value, '$[3]'), json_extract(seat.value, '$[4]'), json_extract(seat.value, '$[5]'), \
             json_extract(seat.value, '$[6]'), json_extract(seat.value, '$[7]') \
         FROM json_each(?) AS seat ORDER BY seat.key",
    )
    .bind::<BigInt, _>(layout_id)
    .bind::<Text, _>(serde_json::json!(rows).to_string())
    .execute(connection)?;
    Ok(())
}

/// The stored rows that shows refer to. They are read once, because a plan has many shows.
pub(crate) struct Stage {
    movies: HashMap<String, i64>,
    /// Halls by the name of their theatre and their own name.
    halls: HashMap<(String, String), StagedHall>,
    /// The codes of the ticket types.
    ticket_types: HashSet<String>,
}

struct StagedHall {
    theatre_id: i64,
    hall_id: i64,
    /// The newest layout.
    layout_id: i64,
    /// The categories of the layout's seats.
    categories: HashSet<String>,
}

impl Stage {
    pub(crate) fn read(connection: &mut SqliteConnection) -> Result<Self, Failure> {
        let titles: Vec<(String, i64)> = movies::table.select((movies::title, movies::id)).load(connection)?;
        let of_layouts: Vec<(i64, String)> =
            seats::table.select((seats::layout_id, seats::category)).distinct().load(connection)?;
        let mut categories: HashMap<i64, HashSet<String>> = HashMap::new();
        for (layout_id, category) in of_layouts {
            categories.entry(layout_id).or_default().insert(category);
        }
        let versions: Vec<(String, String, i64, i64, i64)> = layouts::table
            .inner_join(halls::table.on(halls::id.eq(layouts::hall_id)))
            .inner_join(theatres::table.on(theatres::id.eq(halls::theatre_id)))
            .select((theatres::name, halls::name, theatres::id, halls::id, layouts::id))
            .order(layouts::version)
            .load(connection)?;
        let mut halls = HashMap::new();
        for (theatre, hall, theatre_id, hall_id, layout_id) in versions {
            let categories = categories.remove(&layout_id).unwrap_or_default();
            // Versions are read in ascending order, so the newest one overwrites the others.
            halls.insert((theatre, hall), StagedHall { theatre_id, hall_id, layout_id, categories });
        }
        let codes: Vec<String> = ticket_types::table.select(ticket_types::code).load(connection)?;
        Ok(Self { movies: titles.into_iter().collect(), halls, ticket_types: codes.into_iter().collect() })
    }
}

/// Inserts the show if possible, and returns the number of inserted shows.
pub(crate) fn add_show(
    connection: &mut SqliteConnection,
    stage: &Stage,
    show: &ShowSeed,
    now: i64,
) -> Result<Option<ShowId>, Failure> {
    let Some(movie_id) = stage.movies.get(&show.movie_title).copied() else { return Ok(None) };
    let place = (show.theatre_name.clone(), show.hall_name.clone());
    let Some(hall) = stage.halls.get(&place) else { return Ok(None) };
    let is_known = |price: &CategoryPrice| stage.ticket_types.contains(price.ticket_type.as_str());
    let is_complete = show.prices.iter().all(is_known) && show.covers(&hall.categories);
    if !is_complete || is_taken(connection, hall.hall_id, show)? {
        return Ok(None);
    }
    let show_id: i64 = diesel::insert_into(shows::table)
        .values((
            shows::movie_id.eq(movie_id),
            shows::theatre_id.eq(hall.theatre_id),
            shows::hall_id.eq(hall.hall_id),
            shows::layout_id.eq(hall.layout_id),
            shows::start_time.eq(micros(show.start_time)),
            shows::end_time.eq(micros(show.end_time)),
            shows::hall_free_at.eq(micros(show.hall_free_at)),
            shows::format.eq(&show.format),
            shows::language.eq(&show.language),
            shows::currency.eq(show.currency.code()),
            shows::created_at.eq(now),
        ))
        .returning(shows::id)
        .get_result(connection)?;
    insert_show_prices(
        connection,
        show_id,
        show.prices.iter().filter(|price| hall.categories.contains(&price.category)),
    )?;
    Ok(Some(ShowId(show_id)))
}

/// Inserts prices of a show.
pub(crate) fn insert_show_prices<'price>(
    connection: &mut SqliteConnection,
    show_id: i64,
    prices: impl IntoIterator<Item = &'price CategoryPrice>,
) -> Result<(), Failure> {
    for price in prices {
        diesel::insert_into(show_prices::table)
            .values((
                show_prices::show_id.eq(show_id),
                show_prices::category.eq(&price.category),
                show_prices::ticket_type.eq(price.ticket_type.as_str()),
                show_prices::price_minor.eq(price.minor),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// Returns whether the show exists already, or another show occupies the hall at its time. Shows of a hall do not overlap, so among those
/// that begin before this one ends, the last to begin is the last to end. Checking that one is enough.
fn is_taken(connection: &mut SqliteConnection, hall_id: i64, show: &ShowSeed) -> Result<bool, Failure> {
    let same = shows::table.filter(shows::start_time.eq(micros(show.start_time))).filter(shows::hall_id.eq(hall_id));
    if diesel::select(exists(same)).get_result::<bool>(connection)? {
        return Ok(true);
    }
    let free_at: Option<i64> = shows::table
        .filter(shows::hall_id.eq(hall_id))
        // A literal, not a parameter: SQLite uses the partial index only if the query contains the exact condition of the index.
        .filter(sql::<Bool>("shows.status <> 'cancelled'"))
        .filter(shows::start_time.lt(micros(show.hall_free_at)))
        .select(shows::hall_free_at)
        .order(shows::start_time.desc())
        .first(connection)
        .optional()?;
    Ok(free_at.is_some_and(|free_at| free_at > micros(show.start_time)))
}
