//! Applies seed plans.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Integer, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::StoreError;
use domain::catalog::movie_search_folded;
use domain::pricing::{TicketType, search_folded};
use domain::seating::{CategoryPrice, SeatSeed, Section};
use domain::seed::{MovieSeed, SeedPlan, Seeded, Seeder, ShowSeed, TheatreSeed};
use domain::text::fold;
use stored_json::stored_names;

use crate::identity::insert_user_if_new;
use crate::migrations::{LOCK_PAUSE, try_schema_lock};
use crate::schema::{halls, layouts, movies, theatres, ticket_types};
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

statement!(IsUsed: Bool = "SELECT EXISTS (SELECT 1 FROM movies) OR EXISTS (SELECT 1 FROM theatres)");
statement!(InsertSeats: () = "
    INSERT INTO seats (layout_id, row_label, number, category, accessible, x, y, section, pair)
    SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::text[], $5::boolean[], $6::integer[], $7::integer[], $8::text[],
        $9::integer[])");
statement!(InsertSections: () = "
    INSERT INTO layout_sections (layout_id, name, focus_x, focus_y)
    SELECT $1, * FROM unnest($2::text[], $3::integer[], $4::integer[])");
statement!(ReadHalls: Untyped = "
    SELECT t.name AS theatre_name, h.name AS hall_name, t.id AS theatre_id, h.id AS hall_id, l.id AS layout_id,
        array(SELECT DISTINCT s.category FROM seats s WHERE s.layout_id = l.id) AS categories
    FROM theatres t
    JOIN halls h ON h.theatre_id = t.id
    JOIN LATERAL (SELECT id FROM layouts WHERE hall_id = h.id ORDER BY version DESC LIMIT 1) l ON true");
// A cancelled show stays cancelled: its slot in the plan is not filled again.
statement!(InsertShows: (BigInt, BigInt, Timestamptz) = "
    INSERT INTO shows (movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, format, language,
        currency)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::timestamptz[], $6::timestamptz[],
        $7::timestamptz[], $8::text[], $9::text[], $10::text[])
        AS new (movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, format, language, currency)
    WHERE NOT EXISTS (SELECT 1 FROM shows s WHERE s.hall_id = new.hall_id AND s.start_time = new.start_time)
    ORDER BY start_time, hall_id
    ON CONFLICT DO NOTHING
    RETURNING id, hall_id, start_time");
statement!(InsertPrices: () = "
    INSERT INTO show_prices (show_id, category, ticket_type, price_minor)
    SELECT * FROM unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[])");

type Failure = WriteFailure<StoreError>;

#[async_trait]
impl Seeder for PostgresStore {
    async fn seed(&self, plan: &SeedPlan) -> Result<Seeded, StoreError> {
        self.transact(async |connection| {
            // A concurrent seeder runs after this one, and then finds nothing to add.
            while !try_schema_lock(connection, "pg_try_advisory_xact_lock").await? {
                tokio::time::sleep(LOCK_PAUSE).await;
            }
            let mut seeded = Seeded::default();
            for user in &plan.users {
                seeded.users += usize::from(insert_user_if_new(connection, user).await?.is_some());
            }
            for ticket_type in &plan.ticket_types {
                seeded.ticket_types += insert_ticket_type(connection, ticket_type).await?;
            }
            for movie in &plan.movies {
                seeded.movies += insert_movie(connection, movie).await?;
            }
            for theatre in &plan.theatres {
                let (new_theatres, new_halls) = insert_theatre(connection, theatre).await?;
                seeded.theatres += new_theatres;
                seeded.halls += new_halls;
            }
            seeded.shows = insert_shows(connection, &plan.shows).await?.len();
            Ok(seeded)
        })
        .await
    }

    async fn is_empty(&self) -> Result<bool, StoreError> {
        let used = self.first(bind!(IsUsed)).await?;
        Ok(used == Some(false))
    }
}

async fn insert_movie(connection: &mut AsyncPgConnection, movie: &MovieSeed) -> Result<usize, Failure> {
    let inserted = diesel::insert_into(movies::table)
        .values((
            movies::title.eq(&movie.title),
            movies::description.eq(&movie.description),
            movies::duration_minutes.eq(movie.duration_minutes),
            movies::genres.eq(&movie.genres),
            movies::language.eq(&movie.language),
            movies::certificate.eq(&movie.certificate),
            movies::release_date.eq(movie.release_date),
            movies::search_folded.eq(movie_search_folded(&movie.title, &movie.description)),
            movies::genres_folded.eq(movie.genres.iter().map(|genre| fold(genre)).collect::<Vec<_>>()),
            movies::language_folded.eq(fold(&movie.language)),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(inserted)
}

async fn insert_ticket_type(connection: &mut AsyncPgConnection, new: &TicketType) -> Result<usize, Failure> {
    let inserted = diesel::insert_into(ticket_types::table)
        .values((
            ticket_types::code.eq(new.code.as_str()),
            ticket_types::names.eq(stored_names(&new.names)),
            ticket_types::needs_proof.eq(new.needs_proof),
            ticket_types::position.eq(new.position),
            ticket_types::search_folded.eq(search_folded(&new.code, &new.names)),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    Ok(inserted)
}

async fn insert_theatre(connection: &mut AsyncPgConnection, theatre: &TheatreSeed) -> Result<(usize, usize), Failure> {
    let inserted = diesel::insert_into(theatres::table)
        .values((
            theatres::name.eq(&theatre.name),
            theatres::name_folded.eq(fold(&theatre.name)),
            theatres::location.eq(&theatre.location),
            theatres::timezone.eq(theatre.timezone.name()),
            theatres::currency.eq(theatre.currency.code()),
            theatres::tax_basis_points.eq(theatre.tax_rate.basis_points()),
            theatres::cleaning_minutes.eq(theatre.cleaning_minutes),
        ))
        .on_conflict_do_nothing()
        .execute(connection)
        .await?;
    let theatre_id: i64 =
        theatres::table.filter(theatres::name.eq(&theatre.name)).select(theatres::id).first(connection).await?;
    let mut new_halls = 0;
    for hall in &theatre.halls {
        let hall_id: Option<i64> = diesel::insert_into(halls::table)
            .values((
                halls::theatre_id.eq(theatre_id),
                halls::name.eq(&hall.name),
                halls::name_folded.eq(fold(&hall.name)),
            ))
            .on_conflict_do_nothing()
            .returning(halls::id)
            .get_result(connection)
            .await
            .optional()?;
        if let Some(hall_id) = hall_id {
            insert_layout(connection, (hall_id, 1), &hall.seats, &hall.sections).await?;
            new_halls += 1;
        }
    }
    Ok((inserted, new_halls))
}

/// Inserts a layout of a hall, with this version, and returns its id.
pub(crate) async fn insert_layout<E: Send>(
    connection: &mut AsyncPgConnection,
    (hall_id, version): (i64, i32),
    seats: &[SeatSeed],
    sections: &[Section],
) -> Result<i64, WriteFailure<E>> {
    let seats_total = i32::try_from(seats.len()).map_err(|error| WriteFailure::Store(StoreError::internal(error)))?;
    let layout_id: i64 = diesel::insert_into(layouts::table)
        .values((layouts::hall_id.eq(hall_id), layouts::version.eq(version), layouts::seats_total.eq(seats_total)))
        .returning(layouts::id)
        .get_result(connection)
        .await?;
    bind!(
        InsertSeats,
        BigInt = layout_id,
        Array<Text> = seats.iter().map(|seat| seat.row.as_str()).collect::<Vec<_>>(),
        Array<Integer> = seats.iter().map(|seat| seat.number).collect::<Vec<_>>(),
        Array<Text> = seats.iter().map(|seat| seat.category.as_str()).collect::<Vec<_>>(),
        Array<Bool> = seats.iter().map(|seat| seat.accessible).collect::<Vec<_>>(),
        Array<Integer> = seats.iter().map(|seat| seat.x).collect::<Vec<_>>(),
        Array<Integer> = seats.iter().map(|seat| seat.y).collect::<Vec<_>>(),
        Array<Text> = seats.iter().map(|seat| seat.section.as_str()).collect::<Vec<_>>(),
        Array<Nullable<Integer>> = seats.iter().map(|seat| seat.pair).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    if sections.is_empty() {
        return Ok(layout_id);
    }
    bind!(
        InsertSections,
        BigInt = layout_id,
        Array<Text> = sections.iter().map(|section| section.name.as_str()).collect::<Vec<_>>(),
        Array<Nullable<Integer>> = sections.iter().map(|section| section.focus.map(|focus| focus.x)).collect::<Vec<_>>(),
        Array<Nullable<Integer>> = sections.iter().map(|section| section.focus.map(|focus| focus.y)).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(layout_id)
}

#[derive(QueryableByName)]
struct HallRow {
    #[diesel(sql_type = Text)]
    theatre_name: String,
    #[diesel(sql_type = Text)]
    hall_name: String,
    #[diesel(sql_type = BigInt)]
    theatre_id: i64,
    #[diesel(sql_type = BigInt)]
    hall_id: i64,
    #[diesel(sql_type = BigInt)]
    layout_id: i64,
    #[diesel(sql_type = Array<Text>)]
    categories: Vec<String>,
}

/// A hall of the store with its newest layout.
struct Hall {
    theatre_id: i64,
    id: i64,
    layout_id: i64,
    categories: HashSet<String>,
}

/// A show of the plan with the ids of the rows that it names.
struct Planned<'plan> {
    seed: &'plan ShowSeed,
    movie_id: i64,
    hall: &'plan Hall,
}

pub(crate) async fn insert_shows(connection: &mut AsyncPgConnection, shows: &[ShowSeed]) -> Result<Vec<i64>, Failure> {
    if shows.is_empty() {
        return Ok(Vec::new());
    }
    let titles: Vec<(String, i64)> = movies::table.select((movies::title, movies::id)).load(connection).await?;
    let titles: HashMap<_, _> = titles.into_iter().collect();
    let codes: Vec<String> = ticket_types::table.select(ticket_types::code).load(connection).await?;
    let ticket_types: HashSet<_> = codes.into_iter().collect();
    let rows: Vec<HallRow> = bind!(ReadHalls).load(connection).await?;
    let halls: HashMap<_, _> = rows
        .into_iter()
        .map(|HallRow { theatre_name, hall_name, theatre_id, hall_id, layout_id, categories }| {
            let hall = Hall { theatre_id, id: hall_id, layout_id, categories: categories.into_iter().collect() };
            ((theatre_name, hall_name), hall)
        })
        .collect();
    let planned: Vec<_> = shows
        .iter()
        .filter_map(|seed| {
            let hall = halls.get(&(seed.theatre_name.clone(), seed.hall_name.clone()))?;
            let movie_id = *titles.get(&seed.movie_title)?;
            let is_known = |price: &CategoryPrice| ticket_types.contains(price.ticket_type.as_str());
            let is_complete = seed.prices.iter().all(is_known) && seed.covers(&hall.categories);
            is_complete.then_some(Planned { seed, movie_id, hall })
        })
        .collect();
    let inserted: Vec<(i64, i64, DateTime<Utc>)> = bind!(
        InsertShows,
        Array<BigInt> = planned.iter().map(|show| show.movie_id).collect::<Vec<_>>(),
        Array<BigInt> = planned.iter().map(|show| show.hall.theatre_id).collect::<Vec<_>>(),
        Array<BigInt> = planned.iter().map(|show| show.hall.id).collect::<Vec<_>>(),
        Array<BigInt> = planned.iter().map(|show| show.hall.layout_id).collect::<Vec<_>>(),
        Array<Timestamptz> = planned.iter().map(|show| show.seed.start_time).collect::<Vec<_>>(),
        Array<Timestamptz> = planned.iter().map(|show| show.seed.end_time).collect::<Vec<_>>(),
        Array<Timestamptz> = planned.iter().map(|show| show.seed.hall_free_at).collect::<Vec<_>>(),
        Array<Text> = planned.iter().map(|show| show.seed.format.as_str()).collect::<Vec<_>>(),
        Array<Text> = planned.iter().map(|show| show.seed.language.as_str()).collect::<Vec<_>>(),
        Array<Text> = planned.iter().map(|show| show.seed.currency.code()).collect::<Vec<_>>(),
    )
    .load(connection)
    .await?;
    insert_prices(connection, &planned, &inserted).await?;
    Ok(inserted.into_iter().map(|(id, _, _)| id).collect())
}

async fn insert_prices(
    connection: &mut AsyncPgConnection,
    planned: &[Planned<'_>],
    inserted: &[(i64, i64, DateTime<Utc>)],
) -> Result<(), Failure> {
    let ids: HashMap<_, _> = inserted.iter().map(|(id, hall_id, start)| ((*hall_id, *start), *id)).collect();
    let mut priced = HashSet::new();
    let prices: Vec<_> = planned
        .iter()
        .filter_map(|show| Some((*ids.get(&(show.hall.id, show.seed.start_time))?, show)))
        .filter(|(show_id, _)| priced.insert(*show_id))
        .flat_map(|(show_id, show)| {
            let of_the_hall = show.seed.prices.iter().filter(|price| show.hall.categories.contains(&price.category));
            of_the_hall.map(move |price| (show_id, price))
        })
        .collect();
    insert_show_prices(connection, &prices).await
}

/// Inserts prices of shows.
pub(crate) async fn insert_show_prices<E: Send>(
    connection: &mut AsyncPgConnection,
    prices: &[(i64, &CategoryPrice)],
) -> Result<(), WriteFailure<E>> {
    bind!(
        InsertPrices,
        Array<BigInt> = prices.iter().map(|(show_id, _)| *show_id).collect::<Vec<_>>(),
        Array<Text> = prices.iter().map(|(_, price)| price.category.as_str()).collect::<Vec<_>>(),
        Array<Text> = prices.iter().map(|(_, price)| price.ticket_type.as_str()).collect::<Vec<_>>(),
        Array<BigInt> = prices.iter().map(|(_, price)| price.minor).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
