//! Imports data of the API that this system replaces.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_trait::async_trait;
use diesel::prelude::*;
use domain::StoreError;
use domain::booking::BookingStatus;
use domain::catalog::{PosterUrl, ShowStatus};
use domain::former::{
    FormerImported, FormerImporter, FormerKind, FormerPlan, FormerSource, FormerState, FormerTheatre, FormerUser,
    HallRef, KnownHall, KnownShow, LayoutRef, PlannedBooking, PlannedSeat, PlannedShow, plan,
};
use domain::identity::Role;
use domain::money::Currency;
use domain::pricing::TicketTypeCode;
use domain::random::Random;
use domain::text::fold;

use crate::failure::Failure;
use crate::row::{instant, micros};
use crate::schema::{
    booking_seats, bookings, express_imports, halls, id_blocks, layouts, movies, seat_claims, seats, show_prices,
    shows, theatres, users,
};
use crate::seed::add_layout;
use crate::store::SqliteStore;

#[async_trait]
impl FormerImporter for SqliteStore {
    async fn import_former(
        &self,
        source: &FormerSource,
        random: Arc<dyn Random>,
    ) -> Result<FormerImported, StoreError> {
        let (source, clock) = (source.clone(), self.clock());
        let imported = self.write(move |connection| {
            let planned = plan(&source, state(connection)?, random.as_ref());
            write(connection, &planned, clock.now())?;
            Ok(FormerImported::of(planned))
        });
        Ok(imported.await?)
    }
}

fn state(connection: &mut SqliteConnection) -> Result<FormerState, Failure> {
    let mut state = FormerState::default();
    let rows: Vec<(String, i64, i64)> = express_imports::table
        .select((express_imports::kind, express_imports::old_id, express_imports::new_id))
        .load(connection)?;
    for (kind, old_id, new_id) in rows {
        if let Some(kind) = FormerKind::parse(&kind) {
            state.imported.insert((kind, old_id), new_id);
        }
    }
    let known: Vec<(String, i64)> = users::table.select((users::email_folded, users::id)).load(connection)?;
    state.users = known.into_iter().collect();
    let known: Vec<(String, i64)> = movies::table.select((movies::title, movies::id)).load(connection)?;
    state.movies = known.into_iter().collect();
    let known: Vec<(String, i64)> = theatres::table.select((theatres::name, theatres::id)).load(connection)?;
    state.theatres = known.into_iter().collect();
    let known: Vec<i64> = shows::table.select(shows::id).load(connection)?;
    state.shows = known.into_iter().collect();
    let of_kind = |wanted: FormerKind| -> BTreeSet<i64> {
        state.imported.iter().filter(|((kind, _), _)| *kind == wanted).map(|(_, id)| *id).collect()
    };
    let (theatre_ids, show_ids) = (of_kind(FormerKind::Theatre), of_kind(FormerKind::Show));
    for theatre_id in theatre_ids {
        state.halls.extend(known_halls(connection, theatre_id)?);
    }
    for show_id in show_ids {
        let show: Option<(i64, String)> =
            shows::table.find(show_id).select((shows::layout_id, shows::status)).first(connection).optional()?;
        let Some((layout_id, status)) = show else { continue };
        let is_scheduled = status == ShowStatus::Scheduled.as_str();
        state.imported_shows.insert(show_id, KnownShow { layout_id, is_scheduled });
        let claimed: Vec<(String, i32)> = seat_claims::table
            .inner_join(seats::table.on(seats::id.eq(seat_claims::seat_id)))
            .filter(seat_claims::show_id.eq(show_id))
            .select((seats::row_label, diesel::dsl::sql::<diesel::sql_types::Integer>("seats.number")))
            .load(connection)?;
        state.claims.extend(claimed.into_iter().map(|(row, number)| (show_id, row, number)));
    }
    Ok(state)
}

fn known_halls(connection: &mut SqliteConnection, theatre_id: i64) -> Result<Vec<KnownHall>, Failure> {
    let of_theatre: Vec<(i64, String)> = halls::table
        .filter(halls::theatre_id.eq(theatre_id))
        .filter(halls::retired_at.is_null())
        .order(halls::id)
        .select((halls::id, halls::name))
        .load(connection)?;
    let mut known = Vec::with_capacity(of_theatre.len());
    for (id, name) in of_theatre {
        let layout_id: i64 = layouts::table
            .filter(layouts::hall_id.eq(id))
            .order(layouts::version.desc())
            .select(layouts::id)
            .first(connection)?;
        let of_layout: Vec<(String, i32)> = seats::table
            .filter(seats::layout_id.eq(layout_id))
            .select((seats::row_label, diesel::dsl::sql::<diesel::sql_types::Integer>("seats.number")))
            .load(connection)?;
        let times: Vec<(i64, i64)> = shows::table
            .filter(shows::hall_id.eq(id))
            .filter(shows::status.ne(ShowStatus::Cancelled.as_str()))
            .select((shows::start_time, shows::hall_free_at))
            .load(connection)?;
        let busy = times
            .into_iter()
            .map(|(start, free)| Ok((instant(start, "start_time")?, instant(free, "hall_free_at")?)))
            .collect::<Result<_, Failure>>()?;
        known.push(KnownHall { id, theatre_id, name, layout_id, seats: of_layout.into_iter().collect(), busy });
    }
    Ok(known)
}

fn write(connection: &mut SqliteConnection, plan: &FormerPlan, now: i64) -> Result<(), Failure> {
    let currency = plan.terms.currency;
    plan.users.iter().try_for_each(|user| insert_user(connection, user, now))?;
    for movie in &plan.movies {
        let details = &movie.details;
        let genres = details.genres.as_slice();
        let genres_folded: Vec<String> = genres.iter().map(|genre| fold(genre)).collect();
        diesel::insert_into(movies::table)
            .values((
                movies::id.eq(movie.id),
                movies::title.eq(details.title.as_str()),
                movies::description.eq(details.description.as_str()),
                movies::duration_minutes.eq(i64::from(details.duration.minutes())),
                movies::genres.eq(serde_json::json!(genres).to_string()),
                movies::language.eq(details.language.as_str()),
                movies::certificate.eq(details.certificate.as_str()),
                movies::poster_url.eq(details.poster_url.as_ref().map(PosterUrl::as_str)),
                movies::release_date.eq(details.release_date.date().to_string()),
                movies::search_folded.eq(details.search_folded()),
                movies::genres_folded.eq(serde_json::json!(genres_folded).to_string()),
                movies::language_folded.eq(fold(details.language.as_str())),
                movies::created_at.eq(now),
                movies::updated_at.eq(now),
            ))
            .execute(connection)?;
    }
    for FormerTheatre { id, name, location } in &plan.theatres {
        diesel::insert_into(theatres::table)
            .values((
                theatres::id.eq(id),
                theatres::name.eq(name.as_str()),
                theatres::name_folded.eq(fold(name.as_str())),
                theatres::location.eq(location.as_str()),
                theatres::timezone.eq(plan.terms.timezone.name()),
                theatres::currency.eq(currency.code()),
                theatres::cleaning_minutes.eq(0),
                theatres::created_at.eq(now),
            ))
            .execute(connection)?;
    }
    let mut new_halls = Vec::with_capacity(plan.halls.len());
    for hall in &plan.halls {
        let hall_id: i64 = diesel::insert_into(halls::table)
            .values((
                halls::theatre_id.eq(hall.theatre_id),
                halls::name.eq(&hall.name),
                halls::name_folded.eq(fold(&hall.name)),
                halls::created_at.eq(now),
            ))
            .returning(halls::id)
            .get_result(connection)?;
        new_halls.push((hall_id, add_layout(connection, (hall_id, 1), &hall.seats, &[], now)?));
    }
    plan.shows.iter().try_for_each(|show| insert_show(connection, show, &new_halls, currency, now))?;
    let mut places = Places { new_halls, seats: HashMap::new() };
    for seat in &plan.blocked {
        insert_claim(connection, &mut places, seat, None)?;
    }
    let count = i64::try_from(plan.bookings.len()).unwrap_or(i64::MAX);
    let next: i64 = diesel::update(id_blocks::table.find("bookings"))
        .set(id_blocks::next.eq(id_blocks::next + count))
        .returning(id_blocks::next)
        .get_result(connection)?;
    for (id, booking) in (next.saturating_sub(count)..).zip(&plan.bookings) {
        insert_booking(connection, &mut places, booking, (id, currency), now)?;
        remember(connection, FormerKind::Booking, booking.former_id, id)?;
    }
    plan.imported.iter().try_for_each(|(kind, old_id, new_id)| remember(connection, *kind, *old_id, *new_id))
}

fn insert_user(connection: &mut SqliteConnection, user: &FormerUser, now: i64) -> Result<(), Failure> {
    diesel::insert_into(users::table)
        .values((
            users::id.eq(user.id),
            users::name.eq(user.name.as_str()),
            users::name_folded.eq(fold(user.name.as_str())),
            users::email.eq(user.email.as_str()),
            users::email_folded.eq(user.email.folded()),
            users::password_hash.eq(&user.password_hash.0),
            users::role.eq(Role::Customer.as_str()),
            users::created_at.eq(now),
        ))
        .execute(connection)?;
    Ok(())
}

fn insert_show(
    connection: &mut SqliteConnection,
    show: &PlannedShow,
    new_halls: &[(i64, i64)],
    currency: Currency,
    now: i64,
) -> Result<(), Failure> {
    let (hall_id, layout_id) = match show.hall {
        HallRef::Known { hall_id, layout_id } => (hall_id, layout_id),
        HallRef::New(index) => *new_halls.get(index).ok_or(Failure::Stale("a planned hall is missing"))?,
    };
    diesel::insert_into(shows::table)
        .values((
            shows::id.eq(show.id),
            shows::movie_id.eq(show.movie_id),
            shows::theatre_id.eq(show.theatre_id),
            shows::hall_id.eq(hall_id),
            shows::layout_id.eq(layout_id),
            shows::start_time.eq(micros(show.start_time)),
            shows::end_time.eq(micros(show.end_time)),
            shows::hall_free_at.eq(micros(show.end_time)),
            shows::format.eq("2D"),
            shows::language.eq(&show.language),
            shows::currency.eq(currency.code()),
            shows::created_at.eq(now),
        ))
        .execute(connection)?;
    // A known hall may have other categories by now, each with the price of the source.
    let categories: Vec<String> =
        seats::table.filter(seats::layout_id.eq(layout_id)).select(seats::category).distinct().load(connection)?;
    for category in categories {
        diesel::insert_into(show_prices::table)
            .values((
                show_prices::show_id.eq(show.id),
                show_prices::category.eq(category),
                show_prices::ticket_type.eq(TicketTypeCode::ADULT.as_str()),
                show_prices::price_minor.eq(show.price_minor),
            ))
            .execute(connection)?;
    }
    Ok(())
}

/// The ids and categories of a layout's seats, by row and number.
type SeatsByPlace = HashMap<(String, i32), (i64, String)>;

/// The seats' ids and categories by layout, read once for each layout.
struct Places {
    /// The ids of the new halls and their layouts.
    new_halls: Vec<(i64, i64)>,
    seats: HashMap<i64, SeatsByPlace>,
}

impl Places {
    /// Returns the layout's id, the seat's id and its category.
    fn find(&mut self, connection: &mut SqliteConnection, seat: &PlannedSeat) -> Result<(i64, i64, String), Failure> {
        let layout_id = match seat.layout {
            LayoutRef::Known(id) => id,
            LayoutRef::New(index) => self.new_halls.get(index).ok_or(Failure::Stale("a planned hall is missing"))?.1,
        };
        let of_layout = match self.seats.entry(layout_id) {
            Entry::Occupied(read) => read.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(seats_by_place(connection, layout_id)?),
        };
        let found = of_layout.get(&(seat.row.clone(), seat.number)).cloned();
        let (id, category) = found.ok_or(Failure::Stale("the layout of an imported show has other seats now"))?;
        Ok((layout_id, id, category))
    }
}

fn seats_by_place(connection: &mut SqliteConnection, layout_id: i64) -> Result<SeatsByPlace, Failure> {
    let rows: Vec<(String, i32, i64, String)> = seats::table
        .filter(seats::layout_id.eq(layout_id))
        .select((
            seats::row_label,
            diesel::dsl::sql::<diesel::sql_types::Integer>("seats.number"),
            seats::id,
            seats::category,
        ))
        .load(connection)?;
    let by_place = rows.into_iter().map(|(row, number, id, category)| ((row, number), (id, category)));
    Ok(by_place.collect())
}

fn insert_claim(
    connection: &mut SqliteConnection,
    places: &mut Places,
    seat: &PlannedSeat,
    owner: Option<(i64, i64)>,
) -> Result<(i64, String), Failure> {
    let (layout_id, seat_id, category) = places.find(connection, seat)?;
    diesel::insert_into(seat_claims::table)
        .values((
            seat_claims::show_id.eq(seat.show_id),
            seat_claims::seat_id.eq(seat_id),
            seat_claims::layout_id.eq(layout_id),
            seat_claims::status.eq(if owner.is_some() { "booked" } else { "blocked" }),
            seat_claims::user_id.eq(owner.map(|(user_id, _)| user_id)),
            seat_claims::booking_id.eq(owner.map(|(_, booking_id)| booking_id)),
        ))
        .execute(connection)?;
    Ok((seat_id, category))
}

fn insert_booking(
    connection: &mut SqliteConnection,
    places: &mut Places,
    booking: &PlannedBooking,
    (id, currency): (i64, Currency),
    now: i64,
) -> Result<(), Failure> {
    diesel::insert_into(bookings::table)
        .values((
            bookings::id.eq(id),
            bookings::reference.eq(booking.reference.as_str()),
            bookings::user_id.eq(booking.user_id),
            bookings::show_id.eq(booking.seat.show_id),
            bookings::status.eq(BookingStatus::Confirmed.as_str()),
            bookings::currency.eq(currency.code()),
            // Not later than now: the store's clock never goes backwards.
            bookings::booked_at.eq(booking.booked_at.map_or(now, |at| micros(at).min(now))),
        ))
        .execute(connection)?;
    let (seat_id, category) = insert_claim(connection, places, &booking.seat, Some((booking.user_id, id)))?;
    diesel::insert_into(booking_seats::table)
        .values((
            booking_seats::booking_id.eq(id),
            booking_seats::seat_id.eq(seat_id),
            booking_seats::position.eq(0),
            booking_seats::category.eq(category),
            booking_seats::ticket_type.eq(TicketTypeCode::ADULT.as_str()),
            booking_seats::price_minor.eq(booking.price_minor),
        ))
        .execute(connection)?;
    Ok(())
}

fn remember(connection: &mut SqliteConnection, kind: FormerKind, old_id: i64, new_id: i64) -> Result<(), Failure> {
    diesel::insert_into(express_imports::table)
        .values((
            express_imports::kind.eq(kind.as_str()),
            express_imports::old_id.eq(old_id),
            express_imports::new_id.eq(new_id),
        ))
        .execute(connection)?;
    Ok(())
}
