//! Shows as staff plan, change and cancel them.

use std::collections::BTreeSet;

use chrono::{
    DateTime, LocalResult, NaiveDate, NaiveDateTime, NaiveTime, SecondsFormat, TimeDelta, TimeZone as _, Utc,
    WeekdaySet,
};
use chrono_tz::Tz;
use thiserror::Error;

use crate::booking::{BookingEventKind, EventActor, NewBookingEvent};
use crate::catalog::{
    DayWindow, Duration, Hall, LanguageName, Minutes, Movie, Programme, ProgrammeError, ProgrammeStart, Show,
    ShowStatus, Theatre,
};
use crate::ids::{BookingId, HallId, LayoutId, MovieId, PriceListId, ShowId, TheatreId, UserId};
use crate::money::Currency;
use crate::pricing::{
    ManagedPriceList, MissingPrices, PriceDraft, PriceListMistake, PriceTerms, TicketTypeCode, check_prices,
};
use crate::seating::{CategoryPrice, Layout};
use crate::text::Line;

/// The format of a show: `2D`, `3D`, `IMAX`.
pub type ShowFormat = Line<1, 50>;
/// How long before a show its sale ends: at most a week.
pub type SalesClosing = Minutes<0, 10_080>;

/// When and why a show was cancelled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowCancellation {
    pub at: DateTime<Utc>,
    pub reason: String,
}

/// A show as staff see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagedShow {
    pub show: Show,
    /// The time zone of the theatre.
    pub timezone: Tz,
    pub layout_id: LayoutId,
    /// When the hall is clean, and the next show may begin.
    pub hall_free_at: DateTime<Utc>,
    /// When sales open; `None` if they are open from the beginning.
    pub sales_open_at: Option<DateTime<Utc>>,
    /// When sales close, if that is before the show begins.
    pub sales_close_at: Option<DateTime<Utc>>,
    /// By category, then ticket type.
    pub prices: Vec<CategoryPrice>,
    /// `None` unless staff have cancelled the show.
    pub cancellation: Option<ShowCancellation>,
    /// Increased by every change.
    pub version: i64,
}

impl ManagedShow {
    /// Returns the local time of the theatre at which the show begins.
    pub fn local_start(&self) -> NaiveDateTime {
        self.show.start_time.with_timezone(&self.timezone).naive_local()
    }

    /// Returns whether the local time at which the show begins exists twice, because clocks go back.
    pub fn start_is_ambiguous(&self) -> bool {
        matches!(self.timezone.from_local_datetime(&self.local_start()), LocalResult::Ambiguous(..))
    }

    /// Returns the currency of the prices.
    pub fn currency(&self) -> Currency {
        self.show.price_from.currency
    }

    fn closes_before(&self) -> TimeDelta {
        self.sales_close_at.map_or(TimeDelta::zero(), |close_at| self.show.start_time - close_at)
    }
}

/// When shows begin, in the local time of the theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Schedule {
    /// One show.
    Once(NaiveDateTime),
    /// The same local times on many days. The duration and the cleaning time are those of the shows.
    Programme { first_day: NaiveDate, last_day: NaiveDate, weekdays: WeekdaySet, times: Vec<NaiveTime> },
}

/// Shows that staff want to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowsDraft {
    pub movie_id: MovieId,
    pub hall_id: HallId,
    pub price_list_id: PriceListId,
    pub schedule: Schedule,
    /// `None` is the duration of the movie.
    pub duration: Option<Duration>,
    pub format: ShowFormat,
    /// `None` is the language of the movie.
    pub language: Option<LanguageName>,
    pub sales_open_at: Option<DateTime<Utc>>,
    /// `None` closes sales when the show begins.
    pub sales_close: Option<SalesClosing>,
}

/// The objects that a draft of shows names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowParts<'parts> {
    pub movie: Movie,
    pub theatre: Theatre,
    pub hall: Hall,
    /// The newest layout of the hall.
    pub layout: &'parts Layout,
    pub price_list: ManagedPriceList,
    pub terms: PriceTerms,
}

/// A show to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewShow {
    pub start: ProgrammeStart,
    pub sales_close_at: Option<DateTime<Utc>>,
    pub prices: Vec<CategoryPrice>,
}

/// Shows to add to a hall, all or none. The movie, the theatre, the hall and the price list must have these versions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewShows {
    pub movie: Movie,
    pub theatre: Theatre,
    pub hall: Hall,
    /// The newest layout of the hall: another layout would have changed the hall's version.
    pub layout_id: LayoutId,
    pub price_list: ManagedPriceList,
    pub format: ShowFormat,
    pub language: LanguageName,
    pub sales_open_at: Option<DateTime<Utc>>,
    /// In the order of their starts. They do not overlap.
    pub shows: Vec<NewShow>,
}

/// What is wrong with shows: a predicate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ShowMistakeReason {
    #[error("is invalid: {0}")]
    Programme(#[from] ProgrammeError),
    #[error("must be in the future; these shows would begin in the past: {}", times(.0))]
    Past(Vec<NaiveDateTime>),
    #[error("must be a price list of the hall's theatre")]
    OtherTheatre,
    #[error("is invalid: {0}")]
    MissingPrices(#[from] MissingPrices),
    #[error("must be before sales close; for the show at {} they would not open", .0.format("%Y-%m-%d %H:%M"))]
    OpensTooLate(NaiveDateTime),
}

fn times(times: &[NaiveDateTime]) -> String {
    times.iter().map(|time| time.format("%Y-%m-%d %H:%M").to_string()).collect::<Vec<_>>().join(", ")
}

/// A mistake in a request for shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowMistake {
    /// The member of the request.
    pub field: &'static str,
    pub reason: ShowMistakeReason,
}

fn mistake(field: &'static str, reason: impl Into<ShowMistakeReason>) -> ShowMistake {
    ShowMistake { field, reason: reason.into() }
}

/// The number of shows that a message lists.
const LISTED_MAX: usize = 20;

impl Schedule {
    fn programme(&self, duration: TimeDelta, cleaning: TimeDelta) -> Programme {
        match self {
            Self::Once(at) => Programme {
                first_day: at.date(),
                last_day: at.date(),
                weekdays: WeekdaySet::ALL,
                local_times: vec![at.time()],
                duration,
                cleaning,
            },
            Self::Programme { first_day, last_day, weekdays, times } => Programme {
                first_day: *first_day,
                last_day: *last_day,
                weekdays: *weekdays,
                local_times: times.clone(),
                duration,
                cleaning,
            },
        }
    }

    /// Returns the member of the request that an error is about.
    fn field_of(&self, error: &ProgrammeError) -> &'static str {
        match (self, error) {
            (_, ProgrammeError::Duration) => "duration_minutes",
            (Self::Once(_), _) => self.times_field(),
            (
                _,
                ProgrammeError::DaysReversed { .. }
                | ProgrammeError::TooLong { .. }
                | ProgrammeError::TooManyShows { .. },
            ) => "last_day",
            (_, ProgrammeError::OutsideCalendar) => "first_day",
            (_, ProgrammeError::NoWeekdays | ProgrammeError::NoShows { .. }) => "weekdays",
            (
                _,
                ProgrammeError::NoTimes
                | ProgrammeError::RepeatedTime { .. }
                | ProgrammeError::NonexistentTimes(_)
                | ProgrammeError::Overlap { .. },
            ) => self.times_field(),
        }
    }

    fn times_field(&self) -> &'static str {
        match self {
            Self::Once(_) => "start_time",
            Self::Programme { .. } => "times",
        }
    }

    /// Returns the starts of the shows in a time zone, all of them after `now`.
    fn starts(
        &self,
        timezone: Tz,
        duration: TimeDelta,
        cleaning: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Vec<ProgrammeStart>, ShowMistake> {
        let starts = self.programme(duration, cleaning).starts(timezone);
        let starts = starts.map_err(|error| mistake(self.field_of(&error), error))?;
        let past: Vec<_> = starts.iter().filter(|start| start.start_time <= now).take(LISTED_MAX).collect();
        if past.is_empty() {
            return Ok(starts);
        }
        let past = past.into_iter().map(|start| start.local).collect();
        Err(mistake(self.times_field(), ShowMistakeReason::Past(past)))
    }
}

/// Returns when the sale of a show ends, if that is before it begins.
fn sales_close_at(start: DateTime<Utc>, before: TimeDelta) -> Option<DateTime<Utc>> {
    (before > TimeDelta::zero()).then(|| start.checked_sub_signed(before)).flatten()
}

/// Checks that sales open before they close.
fn check_sales(
    open_at: Option<DateTime<Utc>>,
    start: &ProgrammeStart,
    close_at: Option<DateTime<Utc>>,
) -> Result<(), ShowMistake> {
    let opens_late = open_at.is_some_and(|open_at| open_at >= close_at.unwrap_or(start.start_time));
    if opens_late { Err(mistake("sales_open_at", ShowMistakeReason::OpensTooLate(start.local))) } else { Ok(()) }
}

impl ShowsDraft {
    /// Returns the shows, or everything that is wrong with them. Each show gets the prices that the list has for its local time, for the
    /// categories of the hall, without retired ticket types.
    pub fn plan(&self, parts: ShowParts<'_>, now: DateTime<Utc>) -> Result<NewShows, Vec<ShowMistake>> {
        let ShowParts { movie, theatre, hall, layout, price_list, terms } = parts;
        let mut mistakes = Vec::new();
        let list = &price_list.list;
        let categories: BTreeSet<&str> = layout.seats().iter().map(|seat| seat.category.as_str()).collect();
        if list.theatre_id() != theatre.id {
            mistakes.push(mistake("price_list_id", ShowMistakeReason::OtherTheatre));
        } else if let Err(missing) = list.check_covers(categories.iter().copied()) {
            mistakes.push(mistake("price_list_id", missing));
        }
        let duration = TimeDelta::minutes(i64::from(self.duration.map_or(movie.duration_minutes, Duration::minutes)));
        let cleaning = TimeDelta::minutes(i64::from(theatre.cleaning_minutes));
        let starts = self.schedule.starts(theatre.timezone, duration, cleaning, now).unwrap_or_else(|found| {
            mistakes.push(found);
            Vec::new()
        });
        let is_sold = |price: &CategoryPrice| {
            categories.contains(price.category.as_str()) && terms.ticket_types.get(&price.ticket_type) == Some(&false)
        };
        let before = TimeDelta::minutes(self.sales_close.map_or(0, |closing| i64::from(closing.minutes())));
        let show = |start: ProgrammeStart| NewShow {
            sales_close_at: sales_close_at(start.start_time, before),
            prices: list.prices_at(start.local).into_iter().filter(is_sold).collect(),
            start,
        };
        let shows: Vec<_> = starts.into_iter().map(show).collect();
        let checked = shows.iter().map(|show| check_sales(self.sales_open_at, &show.start, show.sales_close_at));
        mistakes.extend(checked.filter_map(Result::err).take(1));
        if !mistakes.is_empty() {
            return Err(mistakes);
        }
        let language = self.language.clone().unwrap_or_else(|| LanguageName::from_stored(movie.language.clone()));
        let (layout_id, sales_open_at, format) = (layout.id(), self.sales_open_at, self.format.clone());
        Ok(NewShows { movie, theatre, hall, layout_id, price_list, format, language, sales_open_at, shows })
    }
}

/// New prices of a show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum NewPrices {
    /// Those of a list at the time of the show.
    Of(PriceListId),
    These(Vec<PriceDraft>),
}

/// A change of a show. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShowChange {
    pub start: Option<NaiveDateTime>,
    pub duration: Option<Duration>,
    pub format: Option<ShowFormat>,
    pub language: Option<LanguageName>,
    /// `Some(None)` opens sales at once.
    pub sales_open_at: Option<Option<DateTime<Utc>>>,
    pub sales_close: Option<SalesClosing>,
    pub prices: Option<NewPrices>,
    /// Whether a show with bookings may move: each booking then has an event.
    pub notify: bool,
}

/// What staff set of a show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowDetails {
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    pub hall_free_at: DateTime<Utc>,
    pub format: ShowFormat,
    pub language: LanguageName,
    pub sales_open_at: Option<DateTime<Utc>>,
    pub sales_close_at: Option<DateTime<Utc>>,
    pub prices: Vec<CategoryPrice>,
    /// Whether a show with bookings may move: each booking then has an event.
    pub notify: bool,
}

impl ShowDetails {
    /// Returns whether the show begins or ends at another time.
    pub fn moves(&self, before: &ManagedShow) -> bool {
        (self.start_time, self.end_time) != (before.show.start_time, before.show.end_time)
    }

    /// Returns the event of a booking whose show moves.
    pub fn moved(&self, before: &ManagedShow, booking: BookingId, by: UserId) -> NewBookingEvent {
        let time = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::AutoSi, true);
        NewBookingEvent::new(booking, BookingEventKind::Moved, EventActor::Staff(by))
            .with("start_time_before", time(before.show.start_time))
            .with("start_time_after", time(self.start_time))
    }
}

/// What a change of a show is checked against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowSurroundings<'parts> {
    pub theatre: Theatre,
    /// The layout of the show.
    pub layout: &'parts Layout,
    pub terms: PriceTerms,
    /// The list of [`NewPrices::Of`].
    pub price_list: Option<ManagedPriceList>,
}

/// The reason why a change of a show is invalid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShowChangeError {
    Shows(Vec<ShowMistake>),
    Prices(Vec<PriceListMistake>),
}

impl ShowChange {
    /// Returns the details of the show after the change. Prices that stay are not checked again: their ticket types may be retired by now.
    pub fn apply(
        self,
        before: &ManagedShow,
        around: &ShowSurroundings<'_>,
        now: DateTime<Utc>,
    ) -> Result<ShowDetails, ShowChangeError> {
        let one = |found: ShowMistake| ShowChangeError::Shows(vec![found]);
        let show = &before.show;
        let duration = self.duration.map(|duration| TimeDelta::minutes(i64::from(duration.minutes())));
        let start = if self.start.is_some() || duration.is_some() {
            let schedule = Schedule::Once(self.start.unwrap_or_else(|| before.local_start()));
            let duration = duration.unwrap_or(show.end_time - show.start_time);
            let cleaning = TimeDelta::minutes(i64::from(around.theatre.cleaning_minutes));
            let starts = schedule.starts(before.timezone, duration, cleaning, now).map_err(one)?;
            // A show that begins at the second of two equal local times stays there, unless it gets another time.
            let moved = |start: &ProgrammeStart| {
                let shift = show.start_time - start.start_time;
                let stays = self.start.is_none_or(|local| local == before.local_start());
                let by = if stays { shift } else { TimeDelta::zero() };
                let (start_time, end_time) = (start.start_time + by, start.end_time + by);
                ProgrammeStart { start_time, end_time, hall_free_at: start.hall_free_at + by, ..*start }
            };
            starts.first().map(moved)
        } else {
            None
        };
        let start = start.unwrap_or(ProgrammeStart {
            local: before.local_start(),
            start_time: show.start_time,
            end_time: show.end_time,
            hall_free_at: before.hall_free_at,
            ambiguous: false,
        });
        let closes_before = self.sales_close.map(|closing| TimeDelta::minutes(i64::from(closing.minutes())));
        let sales_close_at = sales_close_at(start.start_time, closes_before.unwrap_or_else(|| before.closes_before()));
        let sales_open_at = self.sales_open_at.unwrap_or(before.sales_open_at);
        check_sales(sales_open_at, &start, sales_close_at).map_err(one)?;
        let prices = new_prices(self.prices, before, around, start.local)?;
        Ok(ShowDetails {
            start_time: start.start_time,
            end_time: start.end_time,
            hall_free_at: start.hall_free_at,
            format: self.format.unwrap_or_else(|| ShowFormat::from_stored(show.format.clone())),
            language: self.language.unwrap_or_else(|| LanguageName::from_stored(show.language.clone())),
            sales_open_at,
            sales_close_at,
            prices,
            notify: self.notify,
        })
    }
}

fn new_prices(
    prices: Option<NewPrices>,
    before: &ManagedShow,
    around: &ShowSurroundings<'_>,
    local: NaiveDateTime,
) -> Result<Vec<CategoryPrice>, ShowChangeError> {
    let one = |found: ShowMistake| ShowChangeError::Shows(vec![found]);
    let categories: BTreeSet<&str> = around.layout.seats().iter().map(|seat| seat.category.as_str()).collect();
    let (field, prices) = match (prices, &around.price_list) {
        (None, _) => return Ok(before.prices.clone()),
        (Some(NewPrices::These(drafts)), _) => {
            let mut terms = around.terms.clone();
            // A retired ticket type that the show sells may stay.
            terms.ticket_types.extend(before.prices.iter().map(|price| (price.ticket_type.clone(), false)));
            ("prices", check_prices(drafts, &terms).map_err(ShowChangeError::Prices)?)
        }
        (Some(NewPrices::Of(_)), Some(list)) if list.list.theatre_id() == before.show.theatre_id => {
            let mut prices = list.list.prices_at(local);
            prices.retain(|price| around.terms.ticket_types.get(&price.ticket_type) == Some(&false));
            ("price_list_id", prices)
        }
        (Some(NewPrices::Of(_)), _) => return Err(one(mistake("price_list_id", ShowMistakeReason::OtherTheatre))),
    };
    let prices: Vec<_> = prices.into_iter().filter(|price| categories.contains(price.category.as_str())).collect();
    let has_price =
        |category: &&str| prices.iter().any(|price| price.category == *category && price.ticket_type.is_adult());
    let missing = categories.iter().copied().filter(|category| !has_price(category));
    let missing: Vec<_> = missing.map(|category| (category.to_owned(), TicketTypeCode::ADULT)).collect();
    if missing.is_empty() { Ok(prices) } else { Err(one(mistake(field, MissingPrices(missing)))) }
}

/// A show that does not let another one take place in its hall.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShowOverlap {
    /// The start of the show that was to be added or moved.
    pub start_time: DateTime<Utc>,
    /// The show in its way.
    pub other: ShowId,
    pub other_title: String,
    pub other_start: DateTime<Utc>,
    /// The end of the other show, with cleaning.
    pub other_hall_free_at: DateTime<Utc>,
}

impl ShowOverlap {
    /// The maximum number of overlaps that a response lists.
    pub const LISTED_MAX: usize = 100;
}

/// What is done to a show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ShowEdit {
    /// Adds one show.
    Create(NewShows),
    /// Replaces the details of the show, which must have the version of `before`.
    Update { before: ManagedShow, after: ShowDetails },
    /// Cancels the show, which must have the version of `before`. Nothing is booked from then on.
    Cancel { before: ManagedShow, reason: String },
}

/// Selects shows. A show must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StaffShowFilter {
    /// Only shows of these theatres.
    pub theatres: Option<Vec<TheatreId>>,
    pub movie_id: Option<MovieId>,
    pub hall_id: Option<HallId>,
    pub status: Option<ShowStatus>,
    /// A substring of the movie's title or description, folded.
    pub search: Option<String>,
    /// Only shows that start in one of these windows.
    pub during: Option<Vec<DayWindow>>,
    /// Only shows that have not ended, by the store's clock.
    pub upcoming: bool,
}

/// A query for shows.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StaffShowQuery {
    pub theatre_id: Option<TheatreId>,
    pub movie_id: Option<MovieId>,
    pub hall_id: Option<HallId>,
    pub status: Option<ShowStatus>,
    /// A part of the movie's title or description. Case is ignored.
    pub search: Option<String>,
    /// Only shows on that day, in the time zone of the show's theatre.
    pub date: Option<NaiveDate>,
    /// Includes shows that have ended. A query with `date` includes them in any case.
    pub include_past: bool,
}

#[cfg(test)]
mod tests {
    use chrono_tz::Europe::Berlin;

    use super::*;
    use crate::catalog::PlaceName;
    use crate::ids::SeatId;
    use crate::money::{Currency, Money, TaxRate};
    use crate::pricing::{PriceList, PriceRule};
    use crate::seating::{RowName, Seat};

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    fn utc(text: &str) -> DateTime<Utc> {
        at(text).and_utc()
    }

    fn now() -> DateTime<Utc> {
        utc("2026-09-01 12:00")
    }

    fn eur() -> Currency {
        Currency::parse("EUR").unwrap()
    }

    fn code(text: &str) -> TicketTypeCode {
        TicketTypeCode::parse(text).unwrap()
    }

    fn price(category: &str, ticket_type: &str, minor: i64) -> CategoryPrice {
        CategoryPrice { ticket_type: code(ticket_type), ..CategoryPrice::adult(category, minor) }
    }

    fn theatre() -> Theatre {
        Theatre {
            id: TheatreId(1),
            name: "Alpha".into(),
            location: String::new(),
            timezone: Berlin,
            currency: eur(),
            tax_rate: TaxRate::from_basis_points(700).unwrap(),
            cleaning_minutes: 15,
            retired_at: None,
            version: 1,
            halls: Vec::new(),
        }
    }

    /// A hall with a standard and a premium seat.
    fn layout() -> Layout {
        let seat = |id: i64, category: &str| Seat {
            id: SeatId(id),
            row: RowName::letters(0),
            number: i32::try_from(id).unwrap(),
            category: category.into(),
            accessible: false,
            x: i32::try_from(id).unwrap(),
            y: 0,
            section: String::new(),
            pair: None,
        };
        Layout::new(LayoutId(5), vec![seat(1, "standard"), seat(2, "premium")]).unwrap()
    }

    fn terms() -> PriceTerms {
        let types = [("adult", false), ("child", false), ("student", true)];
        PriceTerms { currency: eur(), ticket_types: types.map(|(text, retired)| (code(text), retired)).into() }
    }

    fn list(theatre: i64, prices: Vec<CategoryPrice>, rules: Vec<PriceRule>) -> ManagedPriceList {
        let list = PriceList::new(TheatreId(theatre), eur(), prices, rules).unwrap();
        ManagedPriceList { id: PriceListId(1), name: "Standard".into(), list, retired_at: None, version: 1 }
    }

    fn prices() -> Vec<CategoryPrice> {
        vec![
            price("box", "adult", 5_000),
            price("premium", "adult", 1_600),
            price("standard", "adult", 1_200),
            price("standard", "child", 800),
            price("standard", "student", 1_000),
        ]
    }

    fn draft(schedule: Schedule) -> ShowsDraft {
        ShowsDraft {
            movie_id: MovieId(1),
            hall_id: HallId(1),
            price_list_id: PriceListId(1),
            schedule,
            duration: None,
            format: ShowFormat::parse("2D").unwrap(),
            language: None,
            sales_open_at: None,
            sales_close: None,
        }
    }

    fn plan(draft: &ShowsDraft, price_list: ManagedPriceList) -> Result<NewShows, Vec<ShowMistake>> {
        let movie = Movie {
            id: MovieId(1),
            title: "Playtime".into(),
            description: String::new(),
            duration_minutes: 124,
            genres: Vec::new(),
            language: "French".into(),
            certificate: String::new(),
            poster_url: None,
            release_date: "1967-12-16".parse().unwrap(),
            created_at: now(),
            updated_at: now(),
            retired_at: None,
            version: 1,
        };
        let hall = Hall {
            id: HallId(1),
            theatre_id: TheatreId(1),
            name: PlaceName::parse("Main").unwrap().as_str().into(),
            seats_total: 2,
            retired_at: None,
            version: 1,
        };
        let layout = layout();
        draft.plan(ShowParts { movie, theatre: theatre(), hall, layout: &layout, price_list, terms: terms() }, now())
    }

    fn managed(start: DateTime<Utc>) -> ManagedShow {
        let show = Show {
            id: ShowId(1),
            movie_id: MovieId(1),
            movie_title: "Playtime".into(),
            theatre_id: TheatreId(1),
            theatre_name: "Alpha".into(),
            hall_id: HallId(1),
            hall_name: "Main".into(),
            start_time: start,
            end_time: start + TimeDelta::minutes(124),
            format: "2D".into(),
            language: "French".into(),
            price_from: Money::new(1_200, eur()),
            seats_total: 2,
            seats_available: 2,
            status: ShowStatus::Scheduled,
        };
        ManagedShow {
            hall_free_at: show.end_time + TimeDelta::minutes(15),
            show,
            timezone: Berlin,
            layout_id: LayoutId(5),
            sales_open_at: None,
            sales_close_at: Some(start - TimeDelta::minutes(30)),
            prices: vec![price("premium", "adult", 1_600), price("standard", "adult", 1_200)],
            cancellation: None,
            version: 1,
        }
    }

    fn change(before: &ManagedShow, change: ShowChange) -> Result<ShowDetails, ShowChangeError> {
        let layout = layout();
        let price_list = Some(list(1, prices(), Vec::new()));
        change.apply(
            before,
            &ShowSurroundings { theatre: theatre(), layout: &layout, terms: terms(), price_list },
            now(),
        )
    }

    #[test]
    fn show_gets_the_prices_of_the_hall_without_retired_ticket_types() {
        let new = plan(&draft(Schedule::Once(at("2026-12-24 20:00"))), list(1, prices(), Vec::new())).unwrap();
        let [show] = &new.shows[..] else { panic!("one show: {new:?}") };
        assert_eq!(
            show.prices,
            [price("premium", "adult", 1_600), price("standard", "adult", 1_200), price("standard", "child", 800)]
        );
        assert_eq!((show.start.start_time, show.start.end_time), (utc("2026-12-24 19:00"), utc("2026-12-24 21:04")));
        assert_eq!((show.start.hall_free_at, show.sales_close_at), (utc("2026-12-24 21:19"), None));
        assert_eq!((new.language.as_str(), new.layout_id), ("French", LayoutId(5)));
    }

    #[test]
    fn every_mistake_of_new_shows_is_named() {
        let mut asked = draft(Schedule::Once(at("2026-03-29 02:30")));
        let foreign = list(2, prices(), Vec::new());
        let fields = |found: Vec<ShowMistake>| found.iter().map(|mistake| mistake.field).collect::<Vec<_>>();
        assert_eq!(fields(plan(&asked, foreign).unwrap_err()), ["price_list_id", "start_time"]);
        asked.schedule = Schedule::Once(at("2026-09-01 13:59"));
        let partial = list(1, vec![price("standard", "adult", 1)], Vec::new());
        let found = plan(&asked, partial).unwrap_err();
        assert_eq!(fields(found.clone()), ["price_list_id", "start_time"]);
        let texts: Vec<_> = found.iter().map(|mistake| mistake.reason.to_string()).collect();
        assert!(texts[0].contains("premium/adult") && texts[1].contains("2026-09-01 13:59"), "{texts:?}");
        asked.schedule = Schedule::Once(at("2026-09-01 14:01"));
        assert!(plan(&asked, list(1, prices(), Vec::new())).is_ok());
    }

    #[test]
    fn sales_open_before_they_close() {
        let mut asked = draft(Schedule::Once(at("2026-12-24 20:00")));
        asked.sales_close = SalesClosing::parse(60).ok();
        asked.sales_open_at = Some(utc("2026-12-24 17:59"));
        let new = plan(&asked, list(1, prices(), Vec::new())).unwrap();
        assert_eq!(
            (new.sales_open_at, new.shows[0].sales_close_at),
            (asked.sales_open_at, Some(utc("2026-12-24 18:00")))
        );
        asked.sales_open_at = Some(utc("2026-12-24 18:00"));
        assert_eq!(plan(&asked, list(1, prices(), Vec::new())).unwrap_err()[0].field, "sales_open_at");
    }

    #[test]
    fn moved_show_keeps_its_duration_and_the_closing_of_its_sales() {
        let before = managed(utc("2026-12-24 19:00"));
        let after =
            change(&before, ShowChange { start: Some(at("2026-12-25 21:00")), ..ShowChange::default() }).unwrap();
        assert_eq!((after.start_time, after.end_time), (utc("2026-12-25 20:00"), utc("2026-12-25 22:04")));
        assert_eq!(
            (after.hall_free_at, after.sales_close_at),
            (utc("2026-12-25 22:19"), Some(utc("2026-12-25 19:30")))
        );
        assert!(after.moves(&before) && after.prices == before.prices);
        let same = change(&before, ShowChange::default()).unwrap();
        assert!(!same.moves(&before));
        assert_eq!(same.hall_free_at, before.hall_free_at);
    }

    #[test]
    fn show_at_the_second_of_two_equal_local_times_stays_there() {
        // 02:30 is at 00:30 and at 01:30 UTC.
        let before = managed(utc("2026-10-25 01:30"));
        assert!(before.start_is_ambiguous());
        let longer = ShowChange { duration: Duration::parse(100).ok(), ..ShowChange::default() };
        let after = change(&before, longer).unwrap();
        assert_eq!((after.start_time, after.end_time), (utc("2026-10-25 01:30"), utc("2026-10-25 03:10")));
        let elsewhere = ShowChange { start: Some(at("2026-10-25 02:15")), ..ShowChange::default() };
        assert_eq!(change(&before, elsewhere).unwrap().start_time, utc("2026-10-25 00:15"));
    }

    #[test]
    fn new_prices_cover_the_hall() {
        let before = managed(utc("2026-12-24 19:00"));
        let of_list = ShowChange { prices: Some(NewPrices::Of(PriceListId(1))), ..ShowChange::default() };
        assert_eq!(change(&before, of_list).unwrap().prices.len(), 3);
        let these = |drafts: &[(&str, &str, &str)]| {
            let drafts = drafts.iter().map(|(category, ticket_type, price)| PriceDraft {
                category: (*category).into(),
                ticket_type: code(ticket_type),
                price: (*price).into(),
            });
            ShowChange { prices: Some(NewPrices::These(drafts.collect())), ..ShowChange::default() }
        };
        let both = [("standard", "adult", "5"), ("premium", "adult", "6")];
        assert_eq!(change(&before, these(&both)).unwrap().prices.len(), 2);
        assert!(matches!(change(&before, these(&both[..1])), Err(ShowChangeError::Shows(_))));
        assert!(matches!(change(&before, these(&[("standard", "student", "5")])), Err(ShowChangeError::Prices(_))));
        // A show that sells a retired ticket type can keep it.
        let mut selling = before.clone();
        selling.prices.push(price("standard", "student", 1_000));
        let with_student = [both[0], both[1], ("standard", "student", "9")];
        assert_eq!(change(&selling, these(&with_student)).unwrap().prices.len(), 3);
    }
}
