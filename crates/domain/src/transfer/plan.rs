//! What an import adds to a store: ticket types, movies, theatres, halls and price lists.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use chrono::{DateTime, Utc};
use chrono_tz::Tz;

use super::document::{Document, HallDraft, NamedPriceList, TheatreDraft, Unread};
use super::mistake::{ImportMistake, ImportMistakeReason};
use super::shows::Candidate;
use crate::admin::Edit;
use crate::catalog::{
    Hall, LanguageName, Movie, MovieChange, MovieDetails, PlaceName, Theatre, TheatreChange, TheatreDetails, Title,
};
use crate::ids::TheatreId;
use crate::money::Currency;
use crate::pricing::{
    ManagedPriceList, ManagedTicketType, PriceList, PriceListDetails, PriceListDraft, PriceTerms, TicketTypeChange,
    TicketTypeCode, TicketTypeDetails,
};
use crate::seating::PlannedLayout;

/// What an import does with objects of the store that have the name of one of the document, but other content.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ImportMode {
    /// They are mistakes, and nothing is imported.
    #[default]
    Strict,
    /// They stay as they are. Shows that do not fit to them, or whose hall is occupied, are skipped.
    Keep,
}

/// A document to import.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ImportPlan {
    pub document: Document,
    /// Days that the document counts from today are counted from the day of this instant, by the clock of each theatre.
    pub now: DateTime<Utc>,
    pub mode: ImportMode,
    /// Whether nothing is to be written.
    pub is_dry_run: bool,
}

/// A hall of a store with the seats of its newest layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredHall {
    pub hall: Hall,
    pub layout: Option<PlannedLayout>,
}

/// The catalog of a store without its shows, including retired objects.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct StoredCatalog {
    pub ticket_types: Vec<ManagedTicketType>,
    pub movies: Vec<Movie>,
    pub theatres: Vec<Theatre>,
    pub halls: Vec<StoredHall>,
    pub price_lists: Vec<ManagedPriceList>,
}

/// The numbers of objects of a kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Count {
    pub added: usize,
    /// Those that exist with the same content.
    pub unchanged: usize,
    /// Those that were left out because the store has others ([`ImportMode::Keep`]).
    pub skipped: usize,
}

/// What an import has done, or would do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ImportReport {
    pub ticket_types: Count,
    pub movies: Count,
    pub theatres: Count,
    pub halls: Count,
    pub price_lists: Count,
    pub shows: Count,
}

/// A hall to add to a theatre.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewHall {
    pub theatre: PlaceName,
    pub name: PlaceName,
    pub layout: Option<PlannedLayout>,
}

/// A price list to add to a theatre. Its theatre's id is known only when the theatre is stored ([`PriceList::of_theatre`]).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewListing {
    pub theatre: PlaceName,
    pub details: PriceListDetails,
}

/// The objects that an import adds, and the shows that it wants to add.
#[derive(Debug)]
pub struct PlannedObjects {
    pub(super) mode: ImportMode,
    pub(super) mistakes: Vec<ImportMistake>,
    pub(super) report: ImportReport,
    pub(super) ticket_types: Vec<Edit<TicketTypeDetails, ManagedTicketType>>,
    pub(super) movies: Vec<MovieDetails>,
    pub(super) theatres: Vec<TheatreDetails>,
    pub(super) halls: Vec<NewHall>,
    pub(super) price_lists: Vec<NewListing>,
    pub(super) shows: Vec<Candidate>,
}

impl ImportPlan {
    /// Compares the document with what a store has, and plans its shows.
    pub fn objects(&self, stored: &StoredCatalog) -> PlannedObjects {
        let mut planner = Planner::new(self, stored);
        planner.ticket_types();
        planner.movies();
        planner.theatres();
        planner.programmes();
        planner.shows();
        planner.planned
    }
}

/// What shows need to know of a movie.
pub(super) struct MovieTerms {
    pub(super) minutes: i32,
    pub(super) language: LanguageName,
}

/// What shows need to know of a theatre. A `None` value is the name of an object without known content: its mistake is reported elsewhere, or
/// it is retired.
#[derive(Default)]
pub(super) struct TheatreTerms {
    pub(super) place: Option<TheatrePlace>,
    /// The categories of each hall.
    pub(super) halls: HashMap<PlaceName, Option<BTreeSet<String>>>,
    pub(super) lists: HashMap<PlaceName, Option<PriceList>>,
}

/// Time zone, currency and cleaning time of a theatre.
#[derive(Clone, Copy)]
pub(super) struct TheatrePlace {
    pub(super) timezone: Tz,
    pub(super) currency: Currency,
    pub(super) cleaning_minutes: i32,
}

/// Compares a document with a store.
pub(super) struct Planner<'plan> {
    pub(super) plan: &'plan ImportPlan,
    stored: &'plan StoredCatalog,
    pub(super) planned: PlannedObjects,
    /// The ticket types of both, and whether each is retired.
    pub(super) codes: BTreeMap<TicketTypeCode, bool>,
    pub(super) movies_by_title: HashMap<Title, Option<MovieTerms>>,
    pub(super) theatres_by_name: HashMap<PlaceName, TheatreTerms>,
}

/// How an object of the document relates to the store.
enum Match {
    New,
    Same,
    /// The store has another one, which stays.
    Kept,
    /// A mistake was reported.
    Wrong,
}

impl<'plan> Planner<'plan> {
    fn new(plan: &'plan ImportPlan, stored: &'plan StoredCatalog) -> Self {
        let planned = PlannedObjects {
            mode: plan.mode,
            mistakes: Vec::new(),
            report: ImportReport::default(),
            ticket_types: Vec::new(),
            movies: Vec::new(),
            theatres: Vec::new(),
            halls: Vec::new(),
            price_lists: Vec::new(),
            shows: Vec::new(),
        };
        let codes = stored.ticket_types.iter().map(|known| (known.code.clone(), known.retired_at.is_some()));
        let movie = |movie: &Movie| {
            let terms = MovieTerms {
                minutes: movie.duration_minutes,
                language: LanguageName::from_stored(movie.language.clone()),
            };
            (Title::from_stored(movie.title.clone()), movie.retired_at.is_none().then_some(terms))
        };
        let mut theatres_by_name: HashMap<PlaceName, TheatreTerms> = HashMap::new();
        let mut names = HashMap::new();
        for theatre in &stored.theatres {
            let name = PlaceName::from_stored(theatre.name.clone());
            names.insert(theatre.id, name.clone());
            let place = TheatrePlace {
                timezone: theatre.timezone,
                currency: theatre.currency,
                cleaning_minutes: theatre.cleaning_minutes,
            };
            let place = theatre.retired_at.is_none().then_some(place);
            theatres_by_name.insert(name, TheatreTerms { place, ..TheatreTerms::default() });
        }
        for StoredHall { hall, layout } in &stored.halls {
            let theatre = names.get(&hall.theatre_id).and_then(|name| theatres_by_name.get_mut(name));
            if let Some(theatre) = theatre {
                let categories = hall.retired_at.is_none().then(|| categories(layout.as_ref()));
                theatre.halls.insert(PlaceName::from_stored(hall.name.clone()), categories);
            }
        }
        for managed in &stored.price_lists {
            let theatre = names.get(&managed.list.theatre_id()).and_then(|name| theatres_by_name.get_mut(name));
            if let Some(theatre) = theatre {
                let list = managed.retired_at.is_none().then(|| managed.list.clone());
                theatre.lists.insert(PlaceName::from_stored(managed.name.clone()), list);
            }
        }
        Self {
            plan,
            stored,
            planned,
            codes: codes.collect(),
            movies_by_title: stored.movies.iter().map(movie).collect(),
            theatres_by_name,
        }
    }

    pub(super) fn mistake(&mut self, path: impl Into<String>, reason: ImportMistakeReason) {
        self.planned.mistakes.push(ImportMistake { path: path.into(), reason });
    }

    /// Compares an object with the one of the same name. `differences` returns the fields in which they differ.
    fn compare(&mut self, path: &str, kind: &'static str, stored: Option<(bool, Vec<&'static str>)>) -> Match {
        let is_strict = self.plan.mode == ImportMode::Strict;
        match stored {
            None => Match::New,
            Some((false, fields)) if fields.is_empty() => Match::Same,
            Some(_) if !is_strict => Match::Kept,
            Some((true, _)) => {
                self.mistake(path, ImportMistakeReason::Retired { kind });
                Match::Wrong
            }
            Some((false, fields)) => {
                let fields = fields.into_iter().map(str::to_owned).collect();
                self.mistake(path, ImportMistakeReason::NameTaken { kind, fields });
                Match::Wrong
            }
        }
    }

    /// Reports a name that the document has already.
    fn check_repeated<Name: Eq + Hash + Clone>(
        &mut self,
        seen: &mut HashMap<Name, String>,
        name: &Name,
        path: &str,
    ) -> bool {
        let first = seen.insert(name.clone(), path.to_owned());
        if let Some(first) = first.clone() {
            self.mistake(path, ImportMistakeReason::Repeated { first });
        }
        first.is_some()
    }

    fn ticket_types(&mut self) {
        let mut seen = HashMap::new();
        for (index, Unread { name, content }) in self.plan.document.ticket_types.iter().enumerate() {
            let path = format!("ticket_types[{index}].code");
            let Some(code) = name else { continue };
            let is_repeated = self.check_repeated(&mut seen, code, &path);
            let (stored, plan) = (self.stored, self.plan);
            let known = stored.ticket_types.iter().find(|known| known.code == *code);
            self.codes.entry(code.clone()).or_insert(false);
            let Some(details) = content.as_ref().filter(|_| !is_repeated) else { continue };
            let differences = |known: &ManagedTicketType| {
                let before = TicketTypeChange::default().apply(known);
                let fields = [
                    ("names", before.names != details.names),
                    ("needs_proof", before.needs_proof != details.needs_proof),
                    ("order", before.position != details.position),
                ];
                (known.retired_at.is_some(), differing(fields))
            };
            // Every store has this type from its beginning. Until staff change it, it is that of the document.
            let is_untouched = |known: &&ManagedTicketType| known.code.is_adult() && known.version == 1;
            if let Some(before) = known.filter(is_untouched).filter(|known| !differences(known).1.is_empty())
                && plan.mode == ImportMode::Strict
            {
                let edit = Edit::Update { before: before.clone(), after: details.clone() };
                self.planned.ticket_types.push(edit);
                self.planned.report.ticket_types.added += 1;
                continue;
            }
            let found = self.compare(&path, "ticket type", known.map(differences));
            if count(&mut self.planned.report.ticket_types, &found) {
                self.planned.ticket_types.push(Edit::Create(details.clone()));
            }
        }
    }

    fn movies(&mut self) {
        let mut seen = HashMap::new();
        let known: HashMap<&str, &Movie> =
            self.stored.movies.iter().map(|movie| (movie.title.as_str(), movie)).collect();
        for (index, Unread { name, content }) in self.plan.document.movies.iter().enumerate() {
            let path = format!("movies[{index}].title");
            let Some(title) = name else { continue };
            let is_repeated = self.check_repeated(&mut seen, title, &path);
            let Some(details) = content.as_ref().filter(|_| !is_repeated) else {
                self.movies_by_title.entry(title.clone()).or_insert(None);
                continue;
            };
            let differences = |movie: &&Movie| {
                let before = MovieChange::default().apply(movie);
                let fields = [
                    ("description", before.description != details.description),
                    ("duration_minutes", before.duration != details.duration),
                    ("genres", before.genres != details.genres),
                    ("language", before.language != details.language),
                    ("certificate", before.certificate != details.certificate),
                    ("poster_url", before.poster_url != details.poster_url),
                    ("release_date", before.release_date != details.release_date),
                ];
                (movie.retired_at.is_some(), differing(fields))
            };
            let found = self.compare(&path, "movie", known.get(title.as_str()).map(differences));
            if matches!(found, Match::Wrong) {
                // The shows that are planned with it are not checked against another movie.
                self.movies_by_title.insert(title.clone(), None);
            }
            if count(&mut self.planned.report.movies, &found) {
                let terms = MovieTerms { minutes: details.duration.minutes(), language: details.language.clone() };
                self.movies_by_title.insert(title.clone(), Some(terms));
                self.planned.movies.push(details.clone());
            }
        }
    }

    fn theatres(&mut self) {
        let plan = self.plan;
        let mut seen = HashMap::new();
        for (index, draft) in plan.document.theatres.iter().enumerate() {
            let at = format!("theatres[{index}]");
            let name = draft.theatre.name.as_ref();
            let is_repeated = name.is_some_and(|name| self.check_repeated(&mut seen, name, &format!("{at}.name")));
            let mut terms = name.and_then(|name| self.theatres_by_name.remove(name)).unwrap_or_default();
            let known = name.and_then(|name| self.stored.theatres.iter().find(|known| known.name == name.as_str()));
            if let Some(details) = draft.theatre.content.as_ref().filter(|_| !is_repeated) {
                self.theatre(&at, details, known, &mut terms);
            }
            self.halls(&at, draft, known, &mut terms);
            self.price_lists(&at, draft, known, &mut terms);
            if let Some(name) = name {
                self.theatres_by_name.insert(name.clone(), terms);
            }
        }
    }

    fn theatre(&mut self, at: &str, details: &TheatreDetails, known: Option<&Theatre>, terms: &mut TheatreTerms) {
        let differences = |theatre: &Theatre| {
            let before = TheatreChange::default().apply(theatre);
            let fields = [
                ("location", before.location != details.location),
                ("timezone", before.timezone != details.timezone),
                ("currency", before.currency != details.currency),
                ("tax_rate", before.tax_rate != details.tax_rate),
                ("cleaning_minutes", before.cleaning_time != details.cleaning_time),
            ];
            (theatre.retired_at.is_some(), differing(fields))
        };
        let found = self.compare(&format!("{at}.name"), "theatre", known.map(differences));
        if matches!(found, Match::New) {
            terms.place = Some(TheatrePlace {
                timezone: details.timezone,
                currency: details.currency,
                cleaning_minutes: details.cleaning_time.minutes(),
            });
            self.planned.theatres.push(details.clone());
        }
        count(&mut self.planned.report.theatres, &found);
    }

    fn halls(&mut self, at: &str, draft: &TheatreDraft, known: Option<&Theatre>, terms: &mut TheatreTerms) {
        let mut seen = HashMap::new();
        for (index, HallDraft { name, layout }) in draft.halls.iter().enumerate() {
            let path = format!("{at}.halls[{index}].name");
            let Some(name) = name else { continue };
            let is_repeated = self.check_repeated(&mut seen, name, &path);
            let Some(layout) = layout.as_ref().filter(|_| !is_repeated) else {
                terms.halls.insert(name.clone(), None);
                continue;
            };
            let stored = known.and_then(|theatre| {
                let is_it =
                    |known: &&StoredHall| known.hall.theatre_id == theatre.id && known.hall.name == name.as_str();
                self.stored.halls.iter().find(is_it)
            });
            let differences =
                |known: &StoredHall| (known.hall.retired_at.is_some(), differing([("plan", known.layout != *layout)]));
            let found = self.compare(&path, "hall", stored.map(differences));
            if matches!(found, Match::Wrong) {
                terms.halls.insert(name.clone(), None);
            }
            // A hall cannot be added to a retired theatre; its mistake is reported, or the theatre is skipped.
            let found = if known.is_some() && terms.place.is_none() { skipped(found) } else { found };
            if count(&mut self.planned.report.halls, &found)
                && let Some(theatre) = draft.theatre.name.clone()
            {
                terms.halls.insert(name.clone(), Some(categories(layout.as_ref())));
                self.planned.halls.push(NewHall { theatre, name: name.clone(), layout: layout.clone() });
            }
        }
    }

    fn price_lists(&mut self, at: &str, draft: &TheatreDraft, known: Option<&Theatre>, terms: &mut TheatreTerms) {
        let mut seen = HashMap::new();
        for (index, Unread { name, content }) in draft.price_lists.iter().enumerate() {
            let at = format!("{at}.price_lists[{index}]");
            let path = format!("{at}.name");
            let is_repeated = name.as_ref().is_some_and(|name| self.check_repeated(&mut seen, name, &path));
            let details = content.as_ref().and_then(|content| {
                let currency = terms.place.map(|place| place.currency);
                let currency = currency.or(draft.currency);
                self.checked_list(&at, name.as_ref(), content, currency?)
            });
            let (Some(name), Some(details)) = (name.as_ref(), details.filter(|_| !is_repeated)) else {
                if let Some(name) = name {
                    terms.lists.entry(name.clone()).or_insert(None);
                }
                continue;
            };
            let stored = known.and_then(|theatre| {
                let of_theatre = |known: &&ManagedPriceList| known.list.theatre_id() == theatre.id;
                self.stored.price_lists.iter().filter(of_theatre).find(|known| known.name == name.as_str())
            });
            let differences = |known: &ManagedPriceList| {
                let fields = [
                    ("prices", known.list.base() != details.list.base()),
                    ("rules", known.list.rules() != details.list.rules()),
                    ("currency", known.list.currency() != details.list.currency()),
                ];
                (known.retired_at.is_some(), differing(fields))
            };
            let found = self.compare(&path, "price list", stored.map(differences));
            if matches!(found, Match::Wrong) {
                terms.lists.insert(name.clone(), None);
            }
            let found = if known.is_some() && terms.place.is_none() { skipped(found) } else { found };
            if count(&mut self.planned.report.price_lists, &found)
                && let Some(theatre) = draft.theatre.name.clone()
            {
                terms.lists.insert(name.clone(), Some(details.list.clone()));
                self.planned.price_lists.push(NewListing { theatre, details });
            }
        }
    }

    fn checked_list(
        &mut self,
        at: &str,
        name: Option<&PlaceName>,
        content: &NamedPriceList,
        currency: Currency,
    ) -> Option<PriceListDetails> {
        let name = name.cloned().unwrap_or_else(|| PlaceName::from_stored(String::new()));
        let NamedPriceList { prices, rules } = content.clone();
        // The theatre may not be stored yet.
        let draft = PriceListDraft { theatre_id: TheatreId(0), name, prices, rules };
        let terms = PriceTerms { currency, ticket_types: self.codes.clone() };
        let report = |mistakes: Vec<crate::pricing::PriceListMistake>| {
            for mistake in mistakes {
                self.mistake(format!("{at}.{}", mistake.field), ImportMistakeReason::Price(mistake.reason));
            }
        };
        draft.check(&terms).map_err(report).ok()
    }
}

/// Counts an object, and returns whether it is to be added.
fn count(count: &mut Count, found: &Match) -> bool {
    match found {
        Match::New => count.added += 1,
        Match::Same => count.unchanged += 1,
        Match::Kept => count.skipped += 1,
        Match::Wrong => {}
    }
    matches!(found, Match::New)
}

fn skipped(found: Match) -> Match {
    if matches!(found, Match::New) { Match::Kept } else { found }
}

fn differing<const N: usize>(fields: [(&'static str, bool); N]) -> Vec<&'static str> {
    fields.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
}

fn categories(layout: Option<&PlannedLayout>) -> BTreeSet<String> {
    layout.into_iter().flat_map(|layout| &layout.seats).map(|seat| seat.category.clone()).collect()
}
