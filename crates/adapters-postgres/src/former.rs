//! Imports data of the API that this system replaces.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use diesel::QueryableByName;
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Bool, Date, Integer, Nullable, Text, Timestamptz, Untyped};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection as _};
use domain::StoreError;
use domain::booking::BookingStatus;
use domain::catalog::PosterUrl;
use domain::former::{
    FormerImported, FormerImporter, FormerKind, FormerPlan, FormerSource, FormerState, HallRef, KnownHall, KnownShow,
    LayoutRef, PlannedBooking, PlannedSeat, plan,
};
use domain::identity::Role;
use domain::pricing::TicketTypeCode;
use domain::random::Random;
use domain::text::fold;

use crate::batch::ID_BLOCK;
use crate::error::{bad_row, store_error};
use crate::migrations::{LOCK_PAUSE, try_schema_lock};
use crate::schema::{express_imports, halls, movies, theatres, users};
use crate::seed::insert_layout;
use crate::statement::{bind, statement};
use crate::store::{PostgresStore, WriteFailure};

type Failure = WriteFailure<StoreError>;

/// The most rows of one statement.
const CHUNK: usize = 5_000;

statement!(ReadShows: BigInt = "SELECT id FROM shows");
statement!(ReadHalls: Untyped = "
    SELECT h.id, h.theatre_id, h.name, l.id AS layout_id
    FROM halls h
    JOIN LATERAL (SELECT id FROM layouts WHERE hall_id = h.id ORDER BY version DESC LIMIT 1) l ON true
    WHERE h.retired_at IS NULL AND h.theatre_id IN (SELECT new_id FROM express_imports WHERE kind = 'theatre')
    ORDER BY h.id");
statement!(ReadSeats: (BigInt, Text, Integer, BigInt, Text) = "
    SELECT layout_id, row_label, number, id, category FROM seats WHERE layout_id = ANY ($1)");
statement!(ReadBusy: (BigInt, Timestamptz, Timestamptz) = "
    SELECT hall_id, start_time, hall_free_at FROM shows WHERE status <> 'cancelled' AND hall_id = ANY ($1)");
statement!(ReadImportedShows: (BigInt, BigInt, Bool) = "
    SELECT id, layout_id, status = 'scheduled' FROM shows
    WHERE id IN (SELECT new_id FROM express_imports WHERE kind = 'show')");
statement!(ReadClaims: (BigInt, Text, Integer) = "
    SELECT c.show_id, s.row_label, s.number FROM seat_claims c JOIN seats s ON s.id = c.seat_id
    WHERE c.show_id IN (SELECT new_id FROM express_imports WHERE kind = 'show')");
statement!(InsertUsers: () = "
    INSERT INTO users (id, name, name_folded, email, email_folded, password_hash, role) OVERRIDING SYSTEM VALUE
    SELECT *, $7 FROM unnest($1::bigint[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[])");
statement!(InsertMovie: () = "
    INSERT INTO movies (id, title, description, duration_minutes, genres, language, certificate, poster_url, release_date,
        search_folded, genres_folded, language_folded) OVERRIDING SYSTEM VALUE
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)");
statement!(InsertTheatre: () = "
    INSERT INTO theatres (id, name, name_folded, location, timezone, currency, cleaning_minutes) OVERRIDING SYSTEM VALUE
    VALUES ($1, $2, $3, $4, $5, $6, 0)");
statement!(InsertShows: () = "
    INSERT INTO shows (id, movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, format, language,
        currency) OVERRIDING SYSTEM VALUE
    SELECT id, movie_id, theatre_id, hall_id, layout_id, start_time, end_time, end_time, '2D', language, $9
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::timestamptz[],
        $7::timestamptz[], $8::text[])
        AS new (id, movie_id, theatre_id, hall_id, layout_id, start_time, end_time, language)");
// A known hall may have other categories by now, each with the price of the source.
statement!(InsertPrices: () = "
    INSERT INTO show_prices (show_id, category, ticket_type, price_minor)
    SELECT new.id, seats.category, $3, new.price
    FROM unnest($1::bigint[], $2::bigint[]) AS new (id, price)
    JOIN shows ON shows.id = new.id
    JOIN LATERAL (SELECT DISTINCT category FROM seats WHERE layout_id = shows.layout_id) seats ON true");
statement!(InsertBookings: () = "
    INSERT INTO bookings (id, reference, user_id, show_id, status, currency, booked_at)
    SELECT id, reference, user_id, show_id, $6, $7, least(coalesce(booked_at, now()), now())
    FROM unnest($1::bigint[], $2::text[], $3::bigint[], $4::bigint[], $5::timestamptz[])
        AS new (id, reference, user_id, show_id, booked_at)");
statement!(InsertBookingSeats: () = "
    INSERT INTO booking_seats (booking_id, seat_id, position, category, ticket_type, price_minor)
    SELECT booking_id, seat_id, 0, category, $5, price
    FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::bigint[]) AS new (booking_id, seat_id, category, price)");
statement!(InsertClaims: () = "
    INSERT INTO seat_claims (show_id, seat_id, layout_id, status, user_id, booking_id)
    SELECT show_id, seat_id, layout_id, CASE WHEN booking_id IS NULL THEN 'blocked' ELSE 'booked' END, user_id, booking_id
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
        AS new (show_id, seat_id, layout_id, user_id, booking_id)");
statement!(ReserveIds: BigInt = "
    SELECT nextval('booking_id_blocks') FROM generate_series(1, $1)");
statement!(Remember: () = "
    INSERT INTO express_imports (kind, old_id, new_id)
    SELECT * FROM unnest($1::text[], $2::bigint[], $3::bigint[])");

/// Continues the ids of each table after the highest one, and never before a value that was given out.
const CONTINUE_IDS: &str = "
    SELECT setval(s, greatest((SELECT max(id) FROM users), nextval(s))) FROM pg_get_serial_sequence('users', 'id') s;
    SELECT setval(s, greatest((SELECT max(id) FROM movies), nextval(s))) FROM pg_get_serial_sequence('movies', 'id') s;
    SELECT setval(s, greatest((SELECT max(id) FROM theatres), nextval(s)))
        FROM pg_get_serial_sequence('theatres', 'id') s;
    SELECT setval(s, greatest((SELECT max(id) FROM shows), nextval(s))) FROM pg_get_serial_sequence('shows', 'id') s;";

#[async_trait]
impl FormerImporter for PostgresStore {
    async fn import_former(
        &self,
        source: &FormerSource,
        random: Arc<dyn Random>,
    ) -> Result<FormerImported, StoreError> {
        // On a connection of its own: a large import takes longer than the limits of other statements.
        let mut connection = self.settings().establish_one().await.map_err(StoreError::unavailable)?;
        let begin = "BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0";
        connection.batch_execute(begin).await.map_err(store_error)?;
        // If this fails, the connection is closed, and the transaction is rolled back with it.
        let imported = import(&mut connection, source, random.as_ref()).await.map_err(|failure| match failure {
            WriteFailure::Refused(error) | WriteFailure::Store(error) => error,
            WriteFailure::Query(error) => store_error(error),
        })?;
        connection.batch_execute("COMMIT").await.map_err(store_error)?;
        Ok(imported)
    }
}

async fn import(
    connection: &mut AsyncPgConnection,
    source: &FormerSource,
    random: &dyn Random,
) -> Result<FormerImported, Failure> {
    // A concurrent import runs after this one, and then finds nothing to add.
    while !try_schema_lock(connection, "pg_try_advisory_xact_lock").await? {
        tokio::time::sleep(LOCK_PAUSE).await;
    }
    let planned = plan(source, state(connection).await?, random);
    write(connection, &planned).await?;
    connection.batch_execute(CONTINUE_IDS).await?;
    Ok(FormerImported::of(planned))
}

#[derive(QueryableByName)]
struct HallRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    theatre_id: i64,
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = BigInt)]
    layout_id: i64,
}

async fn state(connection: &mut AsyncPgConnection) -> Result<FormerState, Failure> {
    let mut state = FormerState::default();
    let rows: Vec<(String, i64, i64)> = express_imports::table
        .select((express_imports::kind, express_imports::old_id, express_imports::new_id))
        .load(connection)
        .await?;
    for (kind, old_id, new_id) in rows {
        if let Some(kind) = FormerKind::parse(&kind) {
            state.imported.insert((kind, old_id), new_id);
        }
    }
    let known: Vec<(String, i64)> = users::table.select((users::email_folded, users::id)).load(connection).await?;
    state.users = known.into_iter().collect();
    let known: Vec<(String, i64)> = movies::table.select((movies::title, movies::id)).load(connection).await?;
    state.movies = known.into_iter().collect();
    let known: Vec<(String, i64)> = theatres::table.select((theatres::name, theatres::id)).load(connection).await?;
    state.theatres = known.into_iter().collect();
    let known: Vec<i64> = bind!(ReadShows).load(connection).await?;
    state.shows = known.into_iter().collect();
    let rows: Vec<HallRow> = bind!(ReadHalls).load(connection).await?;
    let (hall_ids, layout_ids): (Vec<i64>, Vec<i64>) = rows.iter().map(|row| (row.id, row.layout_id)).unzip();
    let mut seats: HashMap<i64, Vec<(String, i32)>> = HashMap::new();
    let of_layouts: Vec<(i64, String, i32, i64, String)> =
        bind!(ReadSeats, Array<BigInt> = layout_ids).load(connection).await?;
    for (layout_id, row, number, _, _) in of_layouts {
        seats.entry(layout_id).or_default().push((row, number));
    }
    let mut busy: HashMap<i64, Vec<_>> = HashMap::new();
    let times: Vec<(i64, DateTime<Utc>, DateTime<Utc>)> =
        bind!(ReadBusy, Array<BigInt> = hall_ids).load(connection).await?;
    for (hall_id, start, free) in times {
        busy.entry(hall_id).or_default().push((start, free));
    }
    state.halls = rows
        .into_iter()
        .map(|HallRow { id, theatre_id, name, layout_id }| KnownHall {
            id,
            theatre_id,
            name,
            layout_id,
            seats: seats.remove(&layout_id).unwrap_or_default().into_iter().collect(),
            busy: busy.remove(&id).unwrap_or_default(),
        })
        .collect();
    let known: Vec<(i64, i64, bool)> = bind!(ReadImportedShows).load(connection).await?;
    state.imported_shows =
        known.into_iter().map(|(id, layout_id, is_scheduled)| (id, KnownShow { layout_id, is_scheduled })).collect();
    let claims: Vec<(i64, String, i32)> = bind!(ReadClaims).load(connection).await?;
    state.claims = claims.into_iter().collect();
    Ok(state)
}

async fn write(connection: &mut AsyncPgConnection, plan: &FormerPlan) -> Result<(), Failure> {
    for users in plan.users.chunks(CHUNK) {
        bind!(
            InsertUsers,
            Array<BigInt> = users.iter().map(|user| user.id).collect::<Vec<_>>(),
            Array<Text> = users.iter().map(|user| user.name.as_str()).collect::<Vec<_>>(),
            Array<Text> = users.iter().map(|user| fold(user.name.as_str())).collect::<Vec<_>>(),
            Array<Text> = users.iter().map(|user| user.email.as_str()).collect::<Vec<_>>(),
            Array<Text> = users.iter().map(|user| user.email.folded()).collect::<Vec<_>>(),
            Array<Text> = users.iter().map(|user| user.password_hash.0.as_str()).collect::<Vec<_>>(),
            Text = Role::Customer.as_str(),
        )
        .execute(connection)
        .await?;
    }
    for movie in &plan.movies {
        let details = &movie.details;
        let genres = details.genres.as_slice();
        bind!(
            InsertMovie,
            BigInt = movie.id,
            Text = details.title.as_str(),
            Text = details.description.as_str(),
            Integer = details.duration.minutes(),
            Array<Text> = genres,
            Text = details.language.as_str(),
            Text = details.certificate.as_str(),
            Nullable<Text> = details.poster_url.as_ref().map(PosterUrl::as_str),
            Date = details.release_date.date(),
            Text = details.search_folded(),
            Array<Text> = genres.iter().map(|genre| fold(genre)).collect::<Vec<_>>(),
            Text = fold(details.language.as_str()),
        )
        .execute(connection)
        .await?;
    }
    for theatre in &plan.theatres {
        bind!(
            InsertTheatre,
            BigInt = theatre.id,
            Text = theatre.name.as_str(),
            Text = fold(theatre.name.as_str()),
            Text = theatre.location.as_str(),
            Text = plan.terms.timezone.name(),
            Text = plan.terms.currency.code(),
        )
        .execute(connection)
        .await?;
    }
    let mut new_halls = Vec::with_capacity(plan.halls.len());
    for hall in &plan.halls {
        let hall_id: i64 = diesel::insert_into(halls::table)
            .values((
                halls::theatre_id.eq(hall.theatre_id),
                halls::name.eq(&hall.name),
                halls::name_folded.eq(fold(&hall.name)),
            ))
            .returning(halls::id)
            .get_result(connection)
            .await?;
        new_halls.push((hall_id, insert_layout(connection, (hall_id, 1), &hall.seats, &[]).await?));
    }
    write_shows(connection, plan, &new_halls).await?;
    write_claims(connection, plan, &new_halls).await?;
    for imported in plan.imported.chunks(CHUNK) {
        remember(connection, imported).await?;
    }
    Ok(())
}

fn missing() -> Failure {
    WriteFailure::Store(bad_row("a planned hall is missing"))
}

async fn write_shows(
    connection: &mut AsyncPgConnection,
    plan: &FormerPlan,
    new_halls: &[(i64, i64)],
) -> Result<(), Failure> {
    for shows in plan.shows.chunks(CHUNK) {
        let halls = shows.iter().map(|show| match show.hall {
            HallRef::Known { hall_id, layout_id } => Ok((hall_id, layout_id)),
            HallRef::New(index) => new_halls.get(index).copied().ok_or_else(missing),
        });
        let halls: Vec<(i64, i64)> = halls.collect::<Result<_, Failure>>()?;
        bind!(
            InsertShows,
            Array<BigInt> = shows.iter().map(|show| show.id).collect::<Vec<_>>(),
            Array<BigInt> = shows.iter().map(|show| show.movie_id).collect::<Vec<_>>(),
            Array<BigInt> = shows.iter().map(|show| show.theatre_id).collect::<Vec<_>>(),
            Array<BigInt> = halls.iter().map(|(hall_id, _)| *hall_id).collect::<Vec<_>>(),
            Array<BigInt> = halls.iter().map(|(_, layout_id)| *layout_id).collect::<Vec<_>>(),
            Array<Timestamptz> = shows.iter().map(|show| show.start_time).collect::<Vec<_>>(),
            Array<Timestamptz> = shows.iter().map(|show| show.end_time).collect::<Vec<_>>(),
            Array<Text> = shows.iter().map(|show| show.language.as_str()).collect::<Vec<_>>(),
            Text = plan.terms.currency.code(),
        )
        .execute(connection)
        .await?;
        bind!(
            InsertPrices,
            Array<BigInt> = shows.iter().map(|show| show.id).collect::<Vec<_>>(),
            Array<BigInt> = shows.iter().map(|show| show.price_minor).collect::<Vec<_>>(),
            Text = TicketTypeCode::ADULT.as_str(),
        )
        .execute(connection)
        .await?;
    }
    Ok(())
}

/// A seat with the ids of the target.
struct Place {
    show_id: i64,
    seat_id: i64,
    layout_id: i64,
    category: String,
}

/// Returns the seats' ids, read once for each layout.
async fn places(
    connection: &mut AsyncPgConnection,
    seats: &[&PlannedSeat],
    new_halls: &[(i64, i64)],
) -> Result<Vec<Place>, Failure> {
    let layouts = seats.iter().map(|seat| match seat.layout {
        LayoutRef::Known(id) => Ok(id),
        LayoutRef::New(index) => new_halls.get(index).map(|(_, layout_id)| *layout_id).ok_or_else(missing),
    });
    let layouts: Vec<i64> = layouts.collect::<Result<_, Failure>>()?;
    let rows: Vec<(i64, String, i32, i64, String)> =
        bind!(ReadSeats, Array<BigInt> = layouts.clone()).load(connection).await?;
    let ids: HashMap<(i64, String, i32), (i64, String)> =
        rows.into_iter().map(|(layout, row, number, id, category)| ((layout, row, number), (id, category))).collect();
    let placed = seats.iter().zip(layouts).map(|(seat, layout_id)| {
        let found = ids.get(&(layout_id, seat.row.clone(), seat.number)).cloned();
        let (seat_id, category) =
            found.ok_or_else(|| WriteFailure::Store(bad_row("the layout of an imported show has other seats now")))?;
        Ok(Place { show_id: seat.show_id, seat_id, layout_id, category })
    });
    placed.collect()
}

async fn insert_claims(
    connection: &mut AsyncPgConnection,
    places: &[Place],
    owners: &[Option<(i64, i64)>],
) -> Result<(), Failure> {
    bind!(
        InsertClaims,
        Array<BigInt> = places.iter().map(|place| place.show_id).collect::<Vec<_>>(),
        Array<BigInt> = places.iter().map(|place| place.seat_id).collect::<Vec<_>>(),
        Array<BigInt> = places.iter().map(|place| place.layout_id).collect::<Vec<_>>(),
        Array<Nullable<BigInt>> = owners.iter().map(|owner| owner.map(|(user_id, _)| user_id)).collect::<Vec<_>>(),
        Array<Nullable<BigInt>> = owners.iter().map(|owner| owner.map(|(_, id)| id)).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn write_claims(
    connection: &mut AsyncPgConnection,
    plan: &FormerPlan,
    new_halls: &[(i64, i64)],
) -> Result<(), Failure> {
    for blocked in plan.blocked.chunks(CHUNK) {
        let places = places(connection, &blocked.iter().collect::<Vec<_>>(), new_halls).await?;
        let owners = vec![None; places.len()];
        insert_claims(connection, &places, &owners).await?;
    }
    for bookings in plan.bookings.chunks(CHUNK) {
        write_bookings(connection, plan, bookings, new_halls).await?;
    }
    Ok(())
}

async fn write_bookings(
    connection: &mut AsyncPgConnection,
    plan: &FormerPlan,
    new: &[PlannedBooking],
    new_halls: &[(i64, i64)],
) -> Result<(), Failure> {
    let count = i64::try_from(new.len()).map_err(|error| WriteFailure::Store(StoreError::internal(error)))?;
    let blocks: Vec<i64> = bind!(ReserveIds, BigInt = count.div_euclid(ID_BLOCK) + 1).load(connection).await?;
    let ids = blocks.into_iter().flat_map(|block| (block - 1) * ID_BLOCK + 1..=block * ID_BLOCK);
    let ids: Vec<i64> = ids.take(new.len()).collect();
    let places = places(connection, &new.iter().map(|booking| &booking.seat).collect::<Vec<_>>(), new_halls).await?;
    bind!(
        InsertBookings,
        Array<BigInt> = ids.clone(),
        Array<Text> = new.iter().map(|booking| booking.reference.as_str()).collect::<Vec<_>>(),
        Array<BigInt> = new.iter().map(|booking| booking.user_id).collect::<Vec<_>>(),
        Array<BigInt> = new.iter().map(|booking| booking.seat.show_id).collect::<Vec<_>>(),
        Array<Nullable<Timestamptz>> = new.iter().map(|booking| booking.booked_at).collect::<Vec<_>>(),
        Text = BookingStatus::Confirmed.as_str(),
        Text = plan.terms.currency.code(),
    )
    .execute(connection)
    .await?;
    bind!(
        InsertBookingSeats,
        Array<BigInt> = ids.clone(),
        Array<BigInt> = places.iter().map(|place| place.seat_id).collect::<Vec<_>>(),
        Array<Text> = places.iter().map(|place| place.category.as_str()).collect::<Vec<_>>(),
        Array<BigInt> = new.iter().map(|booking| booking.price_minor).collect::<Vec<_>>(),
        Text = TicketTypeCode::ADULT.as_str(),
    )
    .execute(connection)
    .await?;
    let owners: Vec<_> = new.iter().zip(&ids).map(|(booking, id)| Some((booking.user_id, *id))).collect();
    insert_claims(connection, &places, &owners).await?;
    let imported: Vec<_> =
        new.iter().zip(&ids).map(|(booking, id)| (FormerKind::Booking, booking.former_id, *id)).collect();
    remember(connection, &imported).await
}

async fn remember(connection: &mut AsyncPgConnection, imported: &[(FormerKind, i64, i64)]) -> Result<(), Failure> {
    bind!(
        Remember,
        Array<Text> = imported.iter().map(|(kind, _, _)| kind.as_str()).collect::<Vec<_>>(),
        Array<BigInt> = imported.iter().map(|(_, old_id, _)| *old_id).collect::<Vec<_>>(),
        Array<BigInt> = imported.iter().map(|(_, _, new_id)| *new_id).collect::<Vec<_>>(),
    )
    .execute(connection)
    .await?;
    Ok(())
}
