//! The document of a store.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, LocalResult, NaiveDateTime, TimeDelta, TimeZone as _, Utc};
use chrono_tz::Tz;
use thiserror::Error;

use super::document::{
    DayRef, Document, HallDraft, NamedPriceList, PriceSource, ShowFormat, ShowTerms, ShowsDraft, StartRef,
    TheatreDraft, Unread,
};
use super::plan::{StoredCatalog, StoredHall};
use super::shows::StoredShow;
use crate::catalog::{LanguageName, Minutes, Movie, MovieChange, PlaceName, Theatre, TheatreChange, Title};
use crate::error::StoreError;
use crate::ids::TheatreId;
use crate::money::{Currency, Money};
use crate::pricing::{ManagedPriceList, PriceDraft, PriceRule, PriceRuleDraft, TicketTypeChange, TicketTypeCode};
use crate::seating::{CategoryPrice, PlannedLayout};

/// The reason why a store cannot be exported.
#[derive(Debug, Clone, Error)]
pub enum ExportError {
    /// Its seats cannot be written as a text plan ([`PlannedLayout::to_text`]).
    #[error("the hall {hall:?} of {theatre:?} cannot be drawn as a plan; give it a layout that can, or retire it")]
    Undrawable { theatre: String, hall: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the shows of an entry have in common, in the order of entries.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Group<'stored> {
    theatre: &'stored str,
    hall: &'stored str,
    movie: &'stored str,
    format: &'stored str,
    language: &'stored str,
    minutes: i32,
    cleaning_minutes: i32,
    sales_open_at: Option<DateTime<Utc>>,
    sales_close_minutes: i32,
    prices: Vec<(&'stored str, &'stored TicketTypeCode, i64)>,
}

/// What is exported of a theatre, for its shows.
struct Exported<'stored> {
    theatre: &'stored Theatre,
    /// The categories of each hall.
    halls: HashMap<&'stored str, BTreeSet<&'stored str>>,
}

impl StoredCatalog {
    /// Returns the document of this catalog and these shows, in its canonical order.
    ///
    /// Retired objects are left out, and so are prices for retired ticket types. Of the shows, those are left out that are cancelled, that
    /// belong to a retired object, whose currency is not that of their theatre, or that have no price for adults in a category of the newest
    /// layout of their hall.
    pub fn export(&self, shows: &[StoredShow]) -> Result<Document, ExportError> {
        let mut ticket_types: Vec<_> = self.ticket_types.iter().filter(|known| known.retired_at.is_none()).collect();
        ticket_types.sort_by_key(|known| (known.position, &known.code));
        let codes: BTreeSet<&TicketTypeCode> = ticket_types.iter().map(|known| &known.code).collect();
        let mut movies: Vec<_> = self.movies.iter().filter(|movie| movie.retired_at.is_none()).collect();
        movies.sort_by_key(|movie| &movie.title);
        let mut theatres: Vec<_> = self.theatres.iter().filter(|theatre| theatre.retired_at.is_none()).collect();
        theatres.sort_by_key(|theatre| &theatre.name);

        let mut exported = HashMap::new();
        let mut drafts = Vec::new();
        for theatre in theatres {
            let mut halls: Vec<&StoredHall> = self.halls.iter().filter(|known| is_open_in(known, theatre.id)).collect();
            halls.sort_by_key(|known| &known.hall.name);
            if let Some(undrawable) = halls.iter().find(|known| known.layout.as_ref().is_some_and(is_undrawable)) {
                let (theatre, hall) = (theatre.name.clone(), undrawable.hall.name.clone());
                return Err(ExportError::Undrawable { theatre, hall });
            }
            let of_hall = |known: &&'_ StoredHall| -> HallDraft {
                HallDraft {
                    name: Some(PlaceName::from_stored(known.hall.name.clone())),
                    layout: Some(known.layout.clone()),
                }
            };
            let is_listed =
                |managed: &&ManagedPriceList| managed.retired_at.is_none() && managed.list.theatre_id() == theatre.id;
            let mut lists: Vec<_> = self.price_lists.iter().filter(is_listed).collect();
            lists.sort_by_key(|managed| &managed.name);
            drafts.push(TheatreDraft {
                theatre: Unread {
                    name: Some(PlaceName::from_stored(theatre.name.clone())),
                    content: Some(TheatreChange::default().apply(theatre)),
                },
                currency: Some(theatre.currency),
                halls: halls.iter().map(of_hall).collect(),
                price_lists: lists.into_iter().filter_map(|managed| price_list(managed, &codes)).collect(),
            });
            let halls = halls.into_iter().map(|known| (known.hall.name.as_str(), categories(known)));
            exported.insert(theatre.name.as_str(), Exported { theatre, halls: halls.collect() });
        }
        let by_title: HashMap<&str, &Movie> = movies.iter().map(|movie| (movie.title.as_str(), *movie)).collect();
        Ok(Document {
            ticket_types: ticket_types
                .into_iter()
                .map(|known| Unread {
                    name: Some(known.code.clone()),
                    content: Some(TicketTypeChange::default().apply(known)),
                })
                .collect(),
            movies: movies
                .into_iter()
                .map(|movie| Unread {
                    name: Some(Title::from_stored(movie.title.clone())),
                    content: Some(MovieChange::default().apply(movie)),
                })
                .collect(),
            theatres: drafts,
            programmes: Vec::new(),
            shows: entries(shows, &by_title, &exported, &codes),
        })
    }
}

fn is_open_in(known: &StoredHall, theatre: TheatreId) -> bool {
    known.hall.theatre_id == theatre && known.hall.retired_at.is_none()
}

fn is_undrawable(layout: &PlannedLayout) -> bool {
    layout.to_text().is_none()
}

fn categories(known: &StoredHall) -> BTreeSet<&str> {
    known.layout.iter().flat_map(|layout| &layout.seats).map(|seat| seat.category.as_str()).collect()
}

fn price_list(
    managed: &ManagedPriceList,
    codes: &BTreeSet<&TicketTypeCode>,
) -> Option<Unread<PlaceName, NamedPriceList>> {
    let currency = managed.list.currency();
    let drafts = |prices: &[CategoryPrice]| -> Vec<PriceDraft> {
        let sold = prices.iter().filter(|price| codes.contains(&price.ticket_type));
        sold.map(|price| draft(&price.category, &price.ticket_type, price.minor, currency)).collect()
    };
    let rule = |rule: &PriceRule| PriceRuleDraft {
        name: rule.name.clone(),
        weekdays: rule.weekdays,
        from_date: rule.from_date,
        to_date: rule.to_date,
        from_time: rule.from_time,
        to_time: rule.to_time,
        prices: drafts(&rule.prices),
    };
    let prices = drafts(&managed.list.base());
    let rules = managed.list.rules().iter().map(rule).collect();
    // A list needs a price. One that has prices for retired ticket types alone is of no use.
    (!prices.is_empty()).then(|| Unread {
        name: Some(PlaceName::from_stored(managed.name.clone())),
        content: Some(NamedPriceList { prices, rules }),
    })
}

fn draft(category: &str, ticket_type: &TicketTypeCode, minor: i64, currency: Currency) -> PriceDraft {
    let price = Money::new(minor, currency).to_string();
    PriceDraft { category: category.to_owned(), ticket_type: ticket_type.clone(), price }
}

/// Returns the entries of shows: those that differ in nothing but their starts are one entry.
fn entries(
    shows: &[StoredShow],
    movies: &HashMap<&str, &Movie>,
    theatres: &HashMap<&str, Exported<'_>>,
    codes: &BTreeSet<&TicketTypeCode>,
) -> Vec<Option<ShowsDraft>> {
    let mut groups: BTreeMap<Group<'_>, BTreeSet<DateTime<Utc>>> = BTreeMap::new();
    for show in shows.iter().filter(|show| !show.is_cancelled && movies.contains_key(show.movie.as_str())) {
        let Some(Exported { theatre, halls }) = theatres.get(show.theatre.as_str()) else { continue };
        let Some(categories) = halls.get(show.hall.as_str()) else { continue };
        let sold =
            |price: &&CategoryPrice| categories.contains(price.category.as_str()) && codes.contains(&price.ticket_type);
        let sold = show.prices.iter().filter(sold);
        let mut prices: Vec<_> = sold.map(|price| (price.category.as_str(), &price.ticket_type, price.minor)).collect();
        prices.sort_unstable();
        let has_price = |category: &&str| prices.iter().any(|(priced, code, _)| priced == category && code.is_adult());
        if show.currency != theatre.currency || categories.is_empty() || !categories.iter().all(has_price) {
            continue;
        }
        let closes_before = show.sales_close_at.map_or(TimeDelta::zero(), |close| show.start_time - close);
        let group = Group {
            theatre: &show.theatre,
            hall: &show.hall,
            movie: &show.movie,
            format: &show.format,
            language: &show.language,
            minutes: minutes(show.end_time - show.start_time),
            cleaning_minutes: minutes(show.hall_free_at - show.end_time),
            sales_open_at: show.sales_open_at,
            sales_close_minutes: minutes(closes_before),
            prices,
        };
        groups.entry(group).or_default().insert(show.start_time);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    // Within a hall, by the first show.
    groups.sort_by(|(a, a_starts), (b, b_starts)| {
        (a.theatre, a.hall, a_starts.first()).cmp(&(b.theatre, b.hall, b_starts.first()))
    });
    let entry = |(group, starts): (Group<'_>, BTreeSet<DateTime<Utc>>)| {
        let (theatre, movie) = (theatres.get(group.theatre)?.theatre, movies.get(group.movie)?);
        let given =
            |(category, code, minor): &(&str, &TicketTypeCode, i64)| draft(category, code, *minor, theatre.currency);
        let differs = |minutes: i32, usual: i32| (minutes != usual).then_some(minutes);
        let terms = ShowTerms {
            movie: Title::from_stored(group.movie.to_owned()),
            theatre: PlaceName::from_stored(group.theatre.to_owned()),
            hall: PlaceName::from_stored(group.hall.to_owned()),
            format: ShowFormat::from_stored(group.format.to_owned()),
            language: (group.language != movie.language).then(|| LanguageName::from_stored(group.language.to_owned())),
            duration: differs(group.minutes, movie.duration_minutes).map(Minutes::from_stored),
            cleaning: differs(group.cleaning_minutes, theatre.cleaning_minutes).map(Minutes::from_stored),
            prices: PriceSource::Given(group.prices.iter().map(given).collect()),
            sales_open: group.sales_open_at.map(|open| local(theatre.timezone, open)),
            sales_close: differs(group.sales_close_minutes, 0).map(Minutes::from_stored),
        };
        let starts = starts.into_iter().map(|start| local(theatre.timezone, start));
        Some(ShowsDraft { terms, starts: starts.collect() })
    };
    groups.into_iter().map(entry).filter(Option::is_some).collect()
}

/// Returns whole minutes, rounded up: a store may have shows with seconds from before there were programmes.
fn minutes(duration: TimeDelta) -> i32 {
    let seconds = duration.num_seconds();
    i32::try_from(seconds.div_euclid(60) + i64::from(seconds.rem_euclid(60) > 0)).unwrap_or(i32::MAX)
}

/// Returns the local time of an instant, with its offset if the local time exists twice and the second one is meant.
fn local(timezone: Tz, at: DateTime<Utc>) -> StartRef {
    let zoned = at.with_timezone(&timezone);
    let local: NaiveDateTime = zoned.naive_local();
    let is_second =
        matches!(timezone.from_local_datetime(&local), LocalResult::Ambiguous(first, _) if first.to_utc() != at);
    let offset = (local - at.naive_utc()).num_seconds();
    let offset = is_second.then(|| i32::try_from(offset).unwrap_or_default());
    StartRef { day: DayRef::Date(local.date()), time: local.time(), offset }
}
