//! Data of the API that this system replaces, and how it becomes data of this one.
//!
//! A source is imported in one transaction of the target. [`plan`] decides everything; the stores read a [`FormerState`] and write a
//! [`FormerPlan`]. Every imported row is remembered by its kind and its former id, so that a second import adds only what is new.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use async_trait::async_trait;
use chrono::{DateTime, TimeDelta, Utc};
use chrono_tz::Tz;

use crate::catalog::{Duration, Location, MovieDetails, PlaceName};
use crate::error::StoreError;
use crate::identity::{Email, Name, PasswordHash};
use crate::money::Currency;
use crate::random::{Random, Reference};
use crate::seating::{RowName, SeatSeed};

/// The category of all imported seats.
pub const CATEGORY: &str = "standard";

/// A kind of rows of the former API that are remembered.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum FormerKind {
    User,
    Movie,
    Theatre,
    Show,
    Booking,
}

impl FormerKind {
    /// All kinds, in the order in which they are imported.
    pub const ALL: [Self; 5] = [Self::User, Self::Movie, Self::Theatre, Self::Show, Self::Booking];

    /// Returns the name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Movie => "movie",
            Self::Theatre => "theatre",
            Self::Show => "show",
            Self::Booking => "booking",
        }
    }

    /// Parses a name of the store.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

/// A customer. The password's hash is kept as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerUser {
    pub id: i64,
    pub name: Name,
    pub email: Email,
    pub password_hash: PasswordHash,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerMovie {
    pub id: i64,
    pub details: MovieDetails,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerTheatre {
    pub id: i64,
    pub name: PlaceName,
    pub location: Location,
}

/// A show with its own seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerShow {
    pub id: i64,
    pub movie_id: i64,
    pub theatre_id: i64,
    pub start_time: DateTime<Utc>,
    /// `None` if the source does not say it: the movie's duration counts.
    pub end_time: Option<DateTime<Utc>>,
    pub price_minor: i64,
    pub seats: Vec<FormerSeat>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerSeat {
    pub id: i64,
    pub row: RowName,
    pub number: i32,
    /// Whether it cannot be sold.
    pub taken: bool,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerBooking {
    pub id: i64,
    pub user_id: i64,
    pub seat_id: i64,
    /// `None` if the source does not say it: the time of the import counts.
    pub booked_at: Option<DateTime<Utc>>,
    /// `None` if the source does not say it: the show's price counts.
    pub price_minor: Option<i64>,
}

/// What is the same for all theatres of the source.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FormerTerms {
    pub timezone: Tz,
    pub currency: Currency,
}

/// A row that is not imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SkippedRow {
    /// The table of the source.
    pub table: &'static str,
    /// The former id as the source has it.
    pub id: String,
    /// A clause without a period.
    pub reason: String,
}

impl SkippedRow {
    /// Returns a skipped row.
    pub fn new(table: &'static str, id: impl ToString, reason: impl Into<String>) -> Self {
        Self { table, id: id.to_string(), reason: reason.into() }
    }
}

/// The valid rows of a source, each list by id, and the others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerSource {
    pub terms: FormerTerms,
    pub users: Vec<FormerUser>,
    pub movies: Vec<FormerMovie>,
    pub theatres: Vec<FormerTheatre>,
    pub shows: Vec<FormerShow>,
    pub bookings: Vec<FormerBooking>,
    pub skipped: Vec<SkippedRow>,
}

/// A hall of the target.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownHall {
    pub id: i64,
    pub theatre_id: i64,
    pub name: String,
    /// The newest layout.
    pub layout_id: i64,
    /// The rows and numbers of the layout's seats.
    pub seats: BTreeSet<(String, i32)>,
    /// When shows that are not cancelled occupy it, with the cleaning.
    pub busy: Vec<(DateTime<Utc>, DateTime<Utc>)>,
}

/// A show of the target that was imported.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownShow {
    pub layout_id: i64,
    pub is_scheduled: bool,
}

/// The state of the target before an import.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FormerState {
    /// The ids of the rows that were imported before.
    pub imported: HashMap<(FormerKind, i64), i64>,
    /// All users by their folded addresses.
    pub users: HashMap<String, i64>,
    /// All movies by their titles.
    pub movies: HashMap<String, i64>,
    /// All theatres by their names.
    pub theatres: HashMap<String, i64>,
    /// The ids of all shows.
    pub shows: HashSet<i64>,
    /// The halls of the theatres that were imported before, without retired ones.
    pub halls: Vec<KnownHall>,
    /// The imported shows.
    pub imported_shows: HashMap<i64, KnownShow>,
    /// The claimed seats of the imported shows: show, row and number.
    pub claims: HashSet<(i64, String, i32)>,
}

/// A hall of a planned show.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum HallRef {
    /// A layout of the target.
    Known { hall_id: i64, layout_id: i64 },
    /// The hall with this index in [`FormerPlan::halls`].
    New(usize),
}

impl HallRef {
    /// Returns the layout in which the show's seats are.
    pub fn layout(self) -> LayoutRef {
        match self {
            Self::Known { layout_id, .. } => LayoutRef::Known(layout_id),
            Self::New(index) => LayoutRef::New(index),
        }
    }
}

/// The layout of a planned seat.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum LayoutRef {
    /// A layout of the target.
    Known(i64),
    /// That of the hall with this index in [`FormerPlan::halls`].
    New(usize),
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedHall {
    pub theatre_id: i64,
    pub name: String,
    pub seats: Vec<SeatSeed>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedShow {
    pub id: i64,
    pub movie_id: i64,
    pub theatre_id: i64,
    pub hall: HallRef,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    pub language: String,
    pub price_minor: i64,
}

/// A seat of a planned or imported show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedSeat {
    pub show_id: i64,
    pub layout: LayoutRef,
    pub row: String,
    pub number: i32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedBooking {
    pub former_id: i64,
    pub reference: Reference,
    pub user_id: i64,
    pub seat: PlannedSeat,
    pub booked_at: Option<DateTime<Utc>>,
    pub price_minor: i64,
}

/// The rows to write. `users`, `movies` and `theatres` have their new ids.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FormerPlan {
    pub terms: FormerTerms,
    pub users: Vec<FormerUser>,
    pub movies: Vec<FormerMovie>,
    pub theatres: Vec<FormerTheatre>,
    pub halls: Vec<PlannedHall>,
    pub shows: Vec<PlannedShow>,
    pub bookings: Vec<PlannedBooking>,
    /// Seats that are taken without a booking. They are blocked.
    pub blocked: Vec<PlannedSeat>,
    /// The former and the new ids of the rows to remember. Those of bookings are known when they are written.
    pub imported: Vec<(FormerKind, i64, i64)>,
    pub skipped: Vec<SkippedRow>,
}

/// The result of an import.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct FormerImported {
    pub users: usize,
    pub movies: usize,
    pub theatres: usize,
    pub halls: usize,
    pub shows: usize,
    pub bookings: usize,
    pub blocked: usize,
    /// The rows that have another id than before.
    pub renumbered: usize,
    pub skipped: Vec<SkippedRow>,
}

impl FormerImported {
    /// Returns the result of writing a plan.
    pub fn of(plan: FormerPlan) -> Self {
        Self {
            users: plan.users.len(),
            movies: plan.movies.len(),
            theatres: plan.theatres.len(),
            halls: plan.halls.len(),
            shows: plan.shows.len(),
            bookings: plan.bookings.len(),
            blocked: plan.blocked.len(),
            renumbered: plan.imported.iter().filter(|(_, former, new)| former != new).count(),
            skipped: plan.skipped,
        }
    }
}

/// Imports sources.
#[async_trait]
pub trait FormerImporter: Send + Sync {
    /// Reads the state, plans and writes the plan, in one transaction, and remembers what was imported. Concurrent imports run in turn.
    async fn import_former(
        &self,
        source: &FormerSource,
        random: std::sync::Arc<dyn Random>,
    ) -> Result<FormerImported, StoreError>;
}

/// Gives rows their former ids if these are free, and otherwise the next free ones.
struct Ids {
    used: HashSet<i64>,
    next: i64,
}

impl Ids {
    fn new(used: HashSet<i64>, former: impl Iterator<Item = i64>) -> Self {
        let highest = used.iter().copied().chain(former).max().unwrap_or(0);
        Self { used, next: highest.saturating_add(1) }
    }

    fn take(&mut self, former: i64) -> i64 {
        if former > 0 && self.used.insert(former) {
            return former;
        }
        let id = self.next;
        self.next = self.next.saturating_add(1);
        self.used.insert(id);
        id
    }
}

/// Plans an import.
///
/// - A user with the address of an existing one, and a movie with the title of an existing one, is that one.
/// - A theatre whose name is taken gets its former id appended to the name.
/// - A show gets the first hall of its theatre that has the same seats and is free; otherwise a new hall.
/// - A booking gets its seat unless it is claimed. Seats that are taken without a booking are blocked.
pub fn plan(source: &FormerSource, mut state: FormerState, random: &dyn Random) -> FormerPlan {
    let mut plan = FormerPlan {
        terms: source.terms,
        users: Vec::new(),
        movies: Vec::new(),
        theatres: Vec::new(),
        halls: Vec::new(),
        shows: Vec::new(),
        bookings: Vec::new(),
        blocked: Vec::new(),
        imported: Vec::new(),
        skipped: source.skipped.clone(),
    };
    plan_users(source, &mut state, &mut plan);
    plan_movies(source, &mut state, &mut plan);
    plan_theatres(source, &mut state, &mut plan);
    let new_shows = plan_shows(source, &mut state, &mut plan);
    plan_claims(source, state, &new_shows, random, &mut plan);
    plan
}

fn remember(state: &mut FormerState, plan: &mut FormerPlan, kind: FormerKind, former: i64, new: i64) {
    state.imported.insert((kind, former), new);
    plan.imported.push((kind, former, new));
}

fn plan_users(source: &FormerSource, state: &mut FormerState, plan: &mut FormerPlan) {
    let mut ids = Ids::new(state.users.values().copied().collect(), source.users.iter().map(|user| user.id));
    for user in &source.users {
        if state.imported.contains_key(&(FormerKind::User, user.id)) {
            continue;
        }
        let id = match state.users.get(user.email.folded()) {
            Some(id) => {
                let reason = "an account with this address exists already; its bookings are added to that account";
                plan.skipped.push(SkippedRow::new("users", user.id, reason));
                *id
            }
            None => {
                let id = ids.take(user.id);
                state.users.insert(user.email.folded().to_owned(), id);
                plan.users.push(FormerUser { id, ..user.clone() });
                id
            }
        };
        remember(state, plan, FormerKind::User, user.id, id);
    }
}

fn plan_movies(source: &FormerSource, state: &mut FormerState, plan: &mut FormerPlan) {
    let mut ids = Ids::new(state.movies.values().copied().collect(), source.movies.iter().map(|movie| movie.id));
    for movie in &source.movies {
        if state.imported.contains_key(&(FormerKind::Movie, movie.id)) {
            continue;
        }
        let title = movie.details.title.as_str();
        let id = match state.movies.get(title) {
            Some(id) => {
                let reason = "a movie with this title exists already; its shows are added to that movie";
                plan.skipped.push(SkippedRow::new("movies", movie.id, reason));
                *id
            }
            None => {
                let id = ids.take(movie.id);
                state.movies.insert(title.to_owned(), id);
                plan.movies.push(FormerMovie { id, ..movie.clone() });
                id
            }
        };
        remember(state, plan, FormerKind::Movie, movie.id, id);
    }
}

fn plan_theatres(source: &FormerSource, state: &mut FormerState, plan: &mut FormerPlan) {
    let mut ids = Ids::new(state.theatres.values().copied().collect(), source.theatres.iter().map(|each| each.id));
    for theatre in &source.theatres {
        if state.imported.contains_key(&(FormerKind::Theatre, theatre.id)) {
            continue;
        }
        let mut name = theatre.name.clone();
        if state.theatres.contains_key(name.as_str()) {
            match PlaceName::parse(&format!("{} ({})", name.as_str(), theatre.id)) {
                Ok(longer) if !state.theatres.contains_key(longer.as_str()) => name = longer,
                _ => {
                    let reason = "a theatre with this name exists already; rename one of them";
                    plan.skipped.push(SkippedRow::new("theatres", theatre.id, reason));
                    continue;
                }
            }
        }
        let id = ids.take(theatre.id);
        state.theatres.insert(name.as_str().to_owned(), id);
        plan.theatres.push(FormerTheatre { id, name, location: theatre.location.clone() });
        remember(state, plan, FormerKind::Theatre, theatre.id, id);
    }
}

/// A hall of the target or of the plan, while shows are planned.
struct Candidate {
    hall: HallRef,
    theatre_id: i64,
    seats: BTreeSet<(String, i32)>,
    busy: BTreeMap<DateTime<Utc>, DateTime<Utc>>,
}

impl Candidate {
    /// Shows of a hall do not overlap, so only the last one that begins before the end can be in the way.
    fn is_free(&self, start: DateTime<Utc>, end: DateTime<Utc>) -> bool {
        self.busy.range(..end).next_back().is_none_or(|(_, busy_until)| *busy_until <= start)
    }
}

/// Returns the halls of the new shows by the shows' new ids.
fn plan_shows(source: &FormerSource, state: &mut FormerState, plan: &mut FormerPlan) -> HashMap<i64, HallRef> {
    let mut ids = Ids::new(state.shows.clone(), source.shows.iter().map(|show| show.id));
    let durations: HashMap<i64, (Duration, String)> = source
        .movies
        .iter()
        .map(|movie| (movie.id, (movie.details.duration, movie.details.language.as_str().to_owned())))
        .collect();
    let mut names: HashSet<(i64, String)> =
        state.halls.iter().map(|hall| (hall.theatre_id, hall.name.clone())).collect();
    let mut candidates: Vec<Candidate> = state
        .halls
        .drain(..)
        .map(|hall| Candidate {
            hall: HallRef::Known { hall_id: hall.id, layout_id: hall.layout_id },
            theatre_id: hall.theatre_id,
            seats: hall.seats,
            busy: hall.busy.into_iter().collect(),
        })
        .collect();
    let mut new_shows = HashMap::new();
    let mut by_start: Vec<_> = source.shows.iter().collect();
    by_start.sort_by_key(|show| (show.start_time, show.id));
    for show in by_start {
        if state.imported.contains_key(&(FormerKind::Show, show.id)) {
            continue;
        }
        let skipped = |reason: &str| SkippedRow::new("shows", show.id, reason);
        let movie = state.imported.get(&(FormerKind::Movie, show.movie_id)).copied().zip(durations.get(&show.movie_id));
        let Some((movie_id, (duration, language))) = movie else {
            plan.skipped.push(skipped("its movie was not imported"));
            continue;
        };
        let Some(theatre_id) = state.imported.get(&(FormerKind::Theatre, show.theatre_id)).copied() else {
            plan.skipped.push(skipped("its theatre was not imported"));
            continue;
        };
        if show.seats.is_empty() {
            plan.skipped.push(skipped("it has no valid seats"));
            continue;
        }
        let length = TimeDelta::minutes(i64::from(duration.minutes()));
        let end_time = show.end_time.filter(|end| *end > show.start_time).unwrap_or(show.start_time + length);
        let seats: BTreeSet<_> = show.seats.iter().map(|seat| (seat.row.as_str().to_owned(), seat.number)).collect();
        let found = candidates.iter().position(|candidate| {
            candidate.theatre_id == theatre_id
                && candidate.seats == seats
                && candidate.is_free(show.start_time, end_time)
        });
        let found = found.unwrap_or_else(|| {
            let name =
                (1..).map(|number: u32| format!("Hall {number}")).find(|name| names.insert((theatre_id, name.clone())));
            let seeds = layout(&show.seats);
            plan.halls.push(PlannedHall { theatre_id, name: name.unwrap_or_default(), seats: seeds });
            let hall = HallRef::New(plan.halls.len().saturating_sub(1));
            candidates.push(Candidate { hall, theatre_id, seats, busy: BTreeMap::new() });
            candidates.len().saturating_sub(1)
        });
        let Some(candidate) = candidates.get_mut(found) else { continue };
        candidate.busy.insert(show.start_time, end_time);
        let (id, hall) = (ids.take(show.id), candidate.hall);
        plan.shows.push(PlannedShow {
            id,
            movie_id,
            theatre_id,
            hall,
            start_time: show.start_time,
            end_time,
            language: language.clone(),
            price_minor: show.price_minor,
        });
        new_shows.insert(id, hall);
        remember(state, plan, FormerKind::Show, show.id, id);
    }
    new_shows
}

/// Returns a plain layout: rows in their natural order from the screen, each seat at its number.
fn layout(seats: &[FormerSeat]) -> Vec<SeatSeed> {
    let rows: BTreeSet<&RowName> = seats.iter().map(|seat| &seat.row).collect();
    let mut placed = Vec::with_capacity(seats.len());
    for (y, row) in (0_i32..).zip(rows) {
        let numbers: BTreeSet<i32> = seats.iter().filter(|seat| seat.row == *row).map(|seat| seat.number).collect();
        placed.extend(numbers.into_iter().map(|number| SeatSeed {
            row: row.clone(),
            number,
            category: CATEGORY.to_owned(),
            accessible: false,
            x: number,
            y,
            section: String::new(),
            pair: None,
        }));
    }
    placed
}

fn plan_claims(
    source: &FormerSource,
    state: FormerState,
    new_shows: &HashMap<i64, HallRef>,
    random: &dyn Random,
    plan: &mut FormerPlan,
) {
    let FormerState { imported, mut claims, imported_shows, .. } = state;
    let mut seats: HashMap<i64, (PlannedSeat, i64, bool)> = HashMap::new();
    for show in &source.shows {
        let Some(show_id) = imported.get(&(FormerKind::Show, show.id)).copied() else { continue };
        let known = imported_shows.get(&show_id).map(|known| (LayoutRef::Known(known.layout_id), known.is_scheduled));
        let new = new_shows.get(&show_id).map(|hall| (hall.layout(), true));
        let Some((layout, is_sold)) = new.or(known) else { continue };
        for seat in &show.seats {
            let planned = PlannedSeat { show_id, layout, row: seat.row.as_str().to_owned(), number: seat.number };
            seats.insert(seat.id, (planned, show.price_minor, is_sold));
        }
    }
    for booking in &source.bookings {
        if imported.contains_key(&(FormerKind::Booking, booking.id)) {
            continue;
        }
        let mut skip = |reason: &str| plan.skipped.push(SkippedRow::new("bookings", booking.id, reason));
        let Some(user_id) = imported.get(&(FormerKind::User, booking.user_id)).copied() else {
            skip("its user was not imported");
            continue;
        };
        let Some((seat, price, is_sold)) = seats.get(&booking.seat_id) else {
            skip("its seat or show was not imported");
            continue;
        };
        if !is_sold {
            skip("its show is cancelled in this system");
            continue;
        }
        if !claims.insert((seat.show_id, seat.row.clone(), seat.number)) {
            skip("its seat is taken by another booking");
            continue;
        }
        plan.bookings.push(PlannedBooking {
            former_id: booking.id,
            reference: Reference::draw(random),
            user_id,
            seat: seat.clone(),
            booked_at: booking.booked_at,
            price_minor: booking.price_minor.unwrap_or(*price),
        });
    }
    // Only seats of new shows: those of earlier imports are sold and freed here since.
    for seat in source.shows.iter().flat_map(|show| &show.seats).filter(|seat| seat.taken) {
        let Some((seat, _, _)) = seats.get(&seat.id) else { continue };
        let is_new = new_shows.contains_key(&seat.show_id);
        if is_new && claims.insert((seat.show_id, seat.row.clone(), seat.number)) {
            plan.blocked.push(seat.clone());
        }
    }
}

#[cfg(test)]
mod tests;
