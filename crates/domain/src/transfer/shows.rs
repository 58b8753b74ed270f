//! The shows of an import.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, LocalResult, NaiveDate, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;

use super::document::{PriceSource, ProgrammeDraft, ShowTerms, ShowsDraft, StartRef};
use super::mistake::{ImportMistake, ImportMistakeReason};
use super::plan::{ImportMode, ImportReport, NewHall, NewListing, PlannedObjects, Planner, TheatrePlace};
use crate::admin::Edit;
use crate::catalog::{Minutes, MovieDetails, PlaceName, Programme, ProgrammeError, TheatreDetails};
use crate::ids::TheatreId;
use crate::money::Currency;
use crate::pricing::{
    ManagedTicketType, MissingPrices, PriceDraft, PriceList, PriceListDraft, PriceTerms, TicketTypeCode,
    TicketTypeDetails,
};
use crate::seating::CategoryPrice;
use crate::seed::ShowSeed;

/// The most shows of a document. They are written in one transaction.
const SHOWS_MAX: usize = 50_000;

/// A show of a store, with the names of the objects to which it refers.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredShow {
    pub movie: String,
    pub theatre: String,
    pub hall: String,
    pub start_time: DateTime<Utc>,
    pub end_time: DateTime<Utc>,
    pub hall_free_at: DateTime<Utc>,
    pub format: String,
    pub language: String,
    pub currency: Currency,
    pub is_cancelled: bool,
    pub sales_open_at: Option<DateTime<Utc>>,
    pub sales_close_at: Option<DateTime<Utc>>,
    /// In any order.
    pub prices: Vec<CategoryPrice>,
}

/// A show to add.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedShow {
    pub show: ShowSeed,
    pub sales_open_at: Option<DateTime<Utc>>,
    pub sales_close_at: Option<DateTime<Utc>>,
}

/// A show of the document.
#[derive(Debug)]
pub(super) struct Candidate {
    /// The path of the entry.
    path: String,
    timezone: Tz,
    planned: PlannedShow,
}

impl Candidate {
    fn local(&self) -> NaiveDateTime {
        self.planned.show.start_time.with_timezone(&self.timezone).naive_local()
    }

    fn place(&self) -> (&str, &str) {
        (&self.planned.show.theatre_name, &self.planned.show.hall_name)
    }
}

/// The time from the first to the last show of an import. Only shows of the store that occupy a hall within it matter.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ShowWindow {
    /// The first start.
    pub from: DateTime<Utc>,
    /// The last time at which a hall is free again.
    pub to: DateTime<Utc>,
}

/// What an import writes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportSteps {
    pub report: ImportReport,
    pub ticket_types: Vec<Edit<TicketTypeDetails, ManagedTicketType>>,
    pub movies: Vec<MovieDetails>,
    pub theatres: Vec<TheatreDetails>,
    pub halls: Vec<NewHall>,
    pub price_lists: Vec<NewListing>,
    /// Ordered by theatre, hall and start. They do not overlap.
    pub shows: Vec<PlannedShow>,
}

impl PlannedObjects {
    /// Returns the time within which the shows of the store are needed; `None` if there are no shows to add.
    pub fn window(&self) -> Option<ShowWindow> {
        let from = self.shows.iter().map(|show| show.planned.show.start_time).min()?;
        let to = self.shows.iter().map(|show| show.planned.show.hall_free_at).max()?;
        Some(ShowWindow { from, to })
    }

    /// Compares the shows with those of the store that begin before the end of [`Self::window`] and end, with the cleaning, after its
    /// beginning. Returns what is to be written, or all mistakes.
    pub fn shows(mut self, stored: &[StoredShow]) -> Result<ImportSteps, Vec<ImportMistake>> {
        let mut halls: BTreeMap<(&str, &str), Vec<&StoredShow>> = BTreeMap::new();
        for show in stored {
            halls.entry((&show.theatre, &show.hall)).or_default().push(show);
        }
        for shows in halls.values_mut() {
            shows.sort_by_key(|show| show.start_time);
        }
        let mut candidates = std::mem::take(&mut self.shows);
        candidates
            .sort_by(|a, b| a.place().cmp(&b.place()).then(a.planned.show.start_time.cmp(&b.planned.show.start_time)));
        let mut shows: Vec<PlannedShow> = Vec::new();
        let mut before: Option<&Candidate> = None;
        for candidate in &candidates {
            if let Some(other) = before.filter(|other| {
                other.place() == candidate.place()
                    && candidate.planned.show.start_time < other.planned.show.hall_free_at
            }) {
                let (start, other_start) = (candidate.local(), other.local());
                let reason = ImportMistakeReason::Overlap { start, other: other.path.clone(), other_start };
                self.mistakes.push(ImportMistake { path: candidate.path.clone(), reason });
            }
            // A long show can overlap several that follow it.
            let is_last = |other: &&Candidate| {
                other.place() == candidate.place()
                    && other.planned.show.hall_free_at > candidate.planned.show.hall_free_at
            };
            before = before.filter(is_last).or(Some(candidate));
            let of_hall = halls.get(&candidate.place()).map(Vec::as_slice).unwrap_or_default();
            match compare(candidate, of_hall) {
                Ok(true) => self.report.shows.unchanged += 1,
                Ok(false) => {
                    self.report.shows.added += 1;
                    shows.push(candidate.planned.clone());
                }
                Err(_) if self.mode == ImportMode::Keep => self.report.shows.skipped += 1,
                Err(reason) => self.mistakes.push(ImportMistake { path: candidate.path.clone(), reason }),
            }
        }
        if !self.mistakes.is_empty() {
            return Err(self.mistakes);
        }
        Ok(ImportSteps {
            report: self.report,
            ticket_types: self.ticket_types,
            movies: self.movies,
            theatres: self.theatres,
            halls: self.halls,
            price_lists: self.price_lists,
            shows,
        })
    }
}

/// Returns whether the store has exactly this show. `stored` are the shows of its hall, ordered by their starts.
fn compare(candidate: &Candidate, stored: &[&StoredShow]) -> Result<bool, ImportMistakeReason> {
    let Candidate { planned: PlannedShow { show, sales_open_at, sales_close_at }, .. } = candidate;
    let start = candidate.local();
    let at_start = stored.iter().filter(|other| other.start_time == show.start_time);
    if let Some(other) = at_start.clone().find(|other| !other.is_cancelled) {
        let fields = [
            ("movie", other.movie != show.movie_title),
            ("duration_minutes", other.end_time != show.end_time),
            ("cleaning_minutes", other.hall_free_at != show.hall_free_at),
            ("format", other.format != show.format),
            ("language", other.language != show.language),
            ("prices", other.currency != show.currency || sorted(&other.prices) != sorted(&show.prices)),
            ("sales_open_at", other.sales_open_at != *sales_open_at),
            ("sales_close_minutes", other.sales_close_at != *sales_close_at),
        ];
        let fields: Vec<_> =
            fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name.to_owned()).collect();
        return if fields.is_empty() { Ok(true) } else { Err(ImportMistakeReason::ShowDiffers { start, fields }) };
    }
    if at_start.count() > 0 {
        return Err(ImportMistakeReason::ShowCancelled { start });
    }
    // Shows of a hall do not overlap, so the last one that begins before this one ends is the only one to compare.
    let earlier = stored.partition_point(|other| other.start_time < show.hall_free_at);
    let others = stored.get(..earlier).unwrap_or_default().iter().rev();
    match others.clone().find(|other| !other.is_cancelled).filter(|other| other.hall_free_at > show.start_time) {
        None => Ok(false),
        Some(other) => {
            let other_start = other.start_time.with_timezone(&candidate.timezone).naive_local();
            Err(ImportMistakeReason::Occupied { start, movie: other.movie.clone(), other_start })
        }
    }
}

fn sorted(prices: &[CategoryPrice]) -> BTreeSet<(&str, &TicketTypeCode, i64)> {
    prices.iter().map(|price| (price.category.as_str(), &price.ticket_type, price.minor)).collect()
}

/// The start of a show, with the local time that the document gives.
struct Start {
    local: NaiveDateTime,
    at: DateTime<Utc>,
}

/// The prices of the shows of an entry.
enum Prices {
    List(PriceList),
    Given(Vec<CategoryPrice>),
}

/// The objects that the terms of shows name.
struct Parts {
    place: TheatrePlace,
    duration: TimeDelta,
    cleaning: TimeDelta,
    language: String,
    categories: BTreeSet<String>,
    prices: Prices,
}

impl Planner<'_> {
    pub(super) fn programmes(&mut self) {
        let plan = self.plan;
        for (index, draft) in plan.document.programmes.iter().enumerate() {
            let Some(ProgrammeDraft { terms, first_day, last_day, weekdays, times, alternation }) = draft else {
                continue;
            };
            let path = format!("programmes[{index}]");
            let parts = self.parts(&path, terms);
            let Some(parts) = parts else { continue };
            let today = self.today(parts.place);
            let (Some(first), Some(last)) = (first_day.date(today), last_day.date(today)) else {
                self.mistake(format!("{path}.first_day"), ImportMistakeReason::OutsideCalendar);
                continue;
            };
            let programme = Programme {
                first_day: first,
                last_day: last,
                weekdays: *weekdays,
                local_times: times.clone(),
                duration: parts.duration,
                cleaning: parts.cleaning,
            };
            let starts = match programme.starts(parts.place.timezone) {
                Ok(starts) => starts,
                Err(error) => {
                    let member = match &error {
                        ProgrammeError::DaysReversed { .. } | ProgrammeError::TooLong { .. } => "last_day",
                        ProgrammeError::NoWeekdays | ProgrammeError::NoShows { .. } => "weekdays",
                        ProgrammeError::OutsideCalendar => "first_day",
                        ProgrammeError::NoTimes
                        | ProgrammeError::RepeatedTime { .. }
                        | ProgrammeError::NonexistentTimes(_)
                        | ProgrammeError::Overlap { .. }
                        | ProgrammeError::TooManyShows { .. } => "times",
                        ProgrammeError::Duration => "duration_minutes",
                    };
                    self.mistake(format!("{path}.{member}"), error.into());
                    continue;
                }
            };
            let is_selected = |day: NaiveDate| alternation.is_none_or(|alternation| alternation.includes(day));
            let starts = starts.into_iter().filter(|start| is_selected(start.local.date()));
            let starts = starts.map(|start| Start { local: start.local, at: start.start_time });
            self.add_shows(&path, terms, &parts, starts.collect());
        }
    }

    pub(super) fn shows(&mut self) {
        let plan = self.plan;
        for (index, draft) in plan.document.shows.iter().enumerate() {
            let Some(ShowsDraft { terms, starts }) = draft else { continue };
            let path = format!("shows[{index}]");
            let parts = self.parts(&path, terms);
            let Some(parts) = parts else { continue };
            let mut found = Vec::new();
            for (index, start) in starts.iter().enumerate() {
                match self.instant(parts.place, start) {
                    Ok(start) => found.push(start),
                    Err(reason) => self.mistake(format!("{path}.starts[{index}]"), reason),
                }
            }
            self.add_shows(&path, terms, &parts, found);
        }
    }

    fn today(&self, place: TheatrePlace) -> NaiveDate {
        self.plan.now.with_timezone(&place.timezone).date_naive()
    }

    fn instant(&self, place: TheatrePlace, start: &StartRef) -> Result<Start, ImportMistakeReason> {
        let local = start.local(self.today(place)).ok_or(ImportMistakeReason::OutsideCalendar)?;
        let (first, second) = match place.timezone.from_local_datetime(&local) {
            LocalResult::Single(only) => (only, only),
            LocalResult::Ambiguous(first, second) => (first, second),
            LocalResult::None => return Err(ImportMistakeReason::NonexistentTime),
        };
        let at = match start.offset {
            None => first.to_utc(),
            Some(offset) => {
                let at = local.and_utc().checked_sub_signed(TimeDelta::seconds(offset.into()));
                let is_one = |at: &DateTime<Utc>| [first.to_utc(), second.to_utc()].contains(at);
                at.filter(is_one).ok_or(ImportMistakeReason::WrongOffset)?
            }
        };
        Ok(Start { local, at })
    }

    /// Returns the objects that the terms name. Reports all names of nothing; `None` if one is missing.
    fn parts(&mut self, path: &str, terms: &ShowTerms) -> Option<Parts> {
        let mut unknown: Vec<(&str, ImportMistakeReason)> = Vec::new();
        let movie = self.movies_by_title.get(&terms.movie);
        if movie.is_none() {
            unknown.push(("movie", ImportMistakeReason::Unknown { kind: "movie" }));
        }
        let theatre = self.theatres_by_name.get(&terms.theatre);
        let hall = theatre.and_then(|theatre| theatre.halls.get(&terms.hall));
        match (theatre, hall) {
            (None, _) => unknown.push(("theatre", ImportMistakeReason::Unknown { kind: "theatre" })),
            (Some(_), None) => unknown.push(("hall", ImportMistakeReason::Unknown { kind: "hall of the theatre" })),
            (Some(_), Some(Some(categories))) if categories.is_empty() => {
                unknown.push(("hall", ImportMistakeReason::NoSeats));
            }
            (Some(_), Some(_)) => {}
        }
        let place = theatre.and_then(|theatre| theatre.place);
        let categories = hall.cloned().flatten().filter(|categories| !categories.is_empty());
        let list = match &terms.prices {
            PriceSource::List(name) => {
                let list = theatre.map(|theatre| theatre.lists.get(name));
                if list == Some(None) {
                    unknown.push(("price_list", ImportMistakeReason::Unknown { kind: "price list of the theatre" }));
                }
                list.flatten().cloned().flatten().map(Prices::List)
            }
            PriceSource::Given(_) => None,
        };
        let movie = movie.and_then(Option::as_ref).map(|movie| (movie.minutes, movie.language.clone()));
        for (member, reason) in unknown {
            self.mistake(format!("{path}.{member}"), reason);
        }
        let prices = match (&terms.prices, place, &categories) {
            (PriceSource::Given(drafts), Some(place), categories) => {
                self.given_prices(path, drafts, place.currency, categories.as_ref())
            }
            _ => list,
        };
        let (minutes, language) = movie?;
        let (place, categories, prices) = (place?, categories?, prices?);
        if let Prices::List(list) = &prices
            && let Err(missing) = list.check_covers(categories.iter().map(String::as_str))
        {
            self.missing(&format!("{path}.price_list"), missing);
            return None;
        }
        let duration = TimeDelta::minutes(terms.duration.map_or(minutes, Minutes::minutes).into());
        let cleaning = terms.cleaning.map_or(place.cleaning_minutes, Minutes::minutes);
        let cleaning = TimeDelta::minutes(cleaning.into());
        let language = terms.language.clone().unwrap_or(language).as_str().to_owned();
        Some(Parts { place, duration, cleaning, language, categories, prices })
    }

    /// Reports missing prices. With objects of the store that stay as they are, the shows are skipped instead.
    fn missing(&mut self, path: &str, missing: MissingPrices) {
        if self.plan.mode == ImportMode::Strict {
            self.mistake(path, missing.into());
        }
    }

    fn given_prices(
        &mut self,
        path: &str,
        drafts: &[PriceDraft],
        currency: Currency,
        categories: Option<&BTreeSet<String>>,
    ) -> Option<Prices> {
        let name = PlaceName::from_stored(String::new());
        let draft = PriceListDraft { theatre_id: TheatreId(0), name, prices: drafts.to_vec(), rules: Vec::new() };
        let checked = draft.check(&PriceTerms { currency, ticket_types: self.codes.clone() });
        let list = match checked {
            Ok(details) => Some(details.list),
            Err(mistakes) => {
                for mistake in mistakes {
                    self.mistake(format!("{path}.{}", mistake.field), ImportMistakeReason::Price(mistake.reason));
                }
                None
            }
        };
        let categories = categories?;
        let mut is_known = true;
        for (index, draft) in drafts.iter().enumerate() {
            if !categories.contains(&draft.category) {
                is_known = false;
                let categories = categories.iter().cloned().collect();
                let reason = ImportMistakeReason::UnknownCategory { categories };
                self.mistake(format!("{path}.prices[{index}].category"), reason);
            }
        }
        let list = list?;
        if let Err(missing) = list.check_covers(categories.iter().map(String::as_str)) {
            self.missing(&format!("{path}.prices"), missing);
            return None;
        }
        is_known.then(|| Prices::Given(list.base()))
    }

    fn add_shows(&mut self, path: &str, terms: &ShowTerms, parts: &Parts, starts: Vec<Start>) {
        if self.planned.shows.len().saturating_add(starts.len()) > SHOWS_MAX {
            self.mistake(path, ImportMistakeReason::TooManyShows { max: SHOWS_MAX });
            return;
        }
        let sales_open_at = match terms.sales_open.map(|open| self.instant(parts.place, &open)).transpose() {
            Ok(open) => open.map(|open| open.at),
            Err(reason) => return self.mistake(format!("{path}.sales_open_at"), reason),
        };
        let closes_before = terms.sales_close.map_or(0, |close| i64::from(close.minutes()));
        for Start { local, at } in starts {
            let end = at.checked_add_signed(parts.duration);
            let free = end.and_then(|end| end.checked_add_signed(parts.cleaning));
            let close = at.checked_sub_signed(TimeDelta::minutes(closes_before));
            let (Some(end_time), Some(hall_free_at), Some(close)) = (end, free, close) else {
                return self.mistake(path, ImportMistakeReason::OutsideCalendar);
            };
            if sales_open_at.is_some_and(|open| open >= close) {
                let reason = ImportMistakeReason::SalesReversed { start: local };
                return self.mistake(format!("{path}.sales_open_at"), reason);
            }
            let prices = match &parts.prices {
                Prices::List(list) => list.prices_at(local),
                Prices::Given(prices) => prices.clone(),
            };
            let prices = prices.into_iter().filter(|price| parts.categories.contains(&price.category)).collect();
            let show = ShowSeed {
                movie_title: terms.movie.as_str().to_owned(),
                theatre_name: terms.theatre.as_str().to_owned(),
                hall_name: terms.hall.as_str().to_owned(),
                start_time: at,
                end_time,
                hall_free_at,
                format: terms.format.as_str().to_owned(),
                language: parts.language.clone(),
                currency: parts.place.currency,
                prices,
            };
            let sales_close_at = (closes_before > 0).then_some(close);
            let planned = PlannedShow { show, sales_open_at, sales_close_at };
            let timezone = parts.place.timezone;
            self.planned.shows.push(Candidate { path: path.to_owned(), timezone, planned });
        }
    }
}
