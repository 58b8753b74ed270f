//! Documents from the values of a file. Every mistake of a value is reported, and what is invalid is left out.

use std::fmt::Display;

use chrono::{NaiveDate, NaiveTime, WeekdaySet};
use domain::catalog::{
    Certificate, Description, Genres, GenresError, LanguageName, Location, Minutes, MovieDetails, PlaceName, PosterUrl,
    ReleaseDate, Theatre, TheatreDetails, Title, time_zone,
};
use domain::money::{Currency, TaxRate};
use domain::pricing::{
    PriceDraft, PriceRuleDraft, PriceRuleName, TicketTypeCode, TicketTypeDetails, TicketTypeNames, TicketTypePosition,
    parse_weekday,
};
use domain::seating::{LayoutPlan, PlanMistake, PlanPlace, PlannedLayout};
use domain::transfer::{
    Alternation, DayRef, Document, HallDraft, NamedPriceList, PriceSource, ProgrammeDraft, ShowFormat, ShowTerms,
    ShowsDraft, StartRef, TheatreDraft, Unread, parse_time,
};

use crate::FileMistake;
use crate::node::{Node, Value};

pub(crate) fn document(root: &Node) -> (Document, Vec<FileMistake>) {
    let mut mistakes = Vec::new();
    let mut fields = Fields::of(root, String::new(), &mut mistakes);
    let document = Document {
        ticket_types: fields.items("ticket_types", ticket_type),
        movies: fields.items("movies", movie),
        theatres: fields.items("theatres", theatre),
        programmes: fields.items("programmes", programme),
        shows: fields.items("shows", shows),
    };
    fields.finish();
    if mistakes.is_empty() && document == Document::default() {
        let message = "has nothing to import; it needs one of ticket_types, movies, theatres, programmes and shows";
        mistakes.push(FileMistake { path: String::new(), line: 1, code: "empty", message: message.to_owned() });
    }
    (document, mistakes)
}

/// The members of a table. Those that are not read are mistakes.
struct Fields<'file> {
    path: String,
    line: usize,
    /// Empty if the value is not a table.
    members: &'file [(String, Node)],
    known: Vec<&'static str>,
    mistakes: &'file mut Vec<FileMistake>,
}

impl<'file> Fields<'file> {
    fn of(node: &'file Node, path: String, mistakes: &'file mut Vec<FileMistake>) -> Self {
        let members = match &node.value {
            Value::Table(members) => members.as_slice(),
            _ => {
                let (path, message) = (path.clone(), "must be a table or an object with members".to_owned());
                mistakes.push(FileMistake { path, line: node.line, code: "wrong_type", message });
                &[]
            }
        };
        Self { path, line: node.line, members, known: Vec::new(), mistakes }
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    fn report(&mut self, path: String, line: usize, code: &'static str, message: impl Into<String>) {
        self.mistakes.push(FileMistake { path, line, code, message: message.into() });
    }

    fn mistake(&mut self, name: &str, node: &Node, code: &'static str, message: impl Into<String>) {
        let path = self.path_of(name);
        self.report(path, node.line, code, message);
    }

    /// Returns a member that is present.
    fn member(&mut self, name: &'static str) -> Option<&'file Node> {
        self.known.push(name);
        let found = self.members.iter().find(|(known, _)| known == name).map(|(_, node)| node);
        found.filter(|node| node.value != Value::Null)
    }

    fn is_given(&self, name: &str) -> bool {
        self.members.iter().any(|(known, node)| known == name && node.value != Value::Null)
    }

    /// Reads a member: `None` after a mistake, `Some(None)` if it is absent.
    fn optional<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Node) -> Result<T, (&'static str, String)>,
    ) -> Option<Option<T>> {
        let Some(node) = self.member(name) else { return Some(None) };
        match read(node) {
            Ok(value) => Some(Some(value)),
            Err((code, message)) => {
                self.mistake(name, node, code, message);
                None
            }
        }
    }

    /// Reads a member that must be present.
    fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(&Node) -> Result<T, (&'static str, String)>,
    ) -> Option<T> {
        let found = self.optional(name, read)?;
        if found.is_none() {
            let (path, line) = (self.path_of(name), self.line);
            self.report(path, line, "required", "is required");
        }
        found
    }

    fn text<T, E: Display>(&mut self, name: &'static str, parse: impl FnOnce(&str) -> Result<T, E>) -> Option<T> {
        self.required(name, |node| text(node, parse))
    }

    fn optional_text<T, E: Display>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<Option<T>> {
        self.optional(name, |node| text(node, parse))
    }

    fn minutes<const MIN: i32, const MAX: i32>(&mut self, name: &'static str) -> Option<Option<Minutes<MIN, MAX>>> {
        self.optional(name, |node| integer(node, Minutes::parse))
    }

    /// Reads a list of tables. An absent one is empty.
    fn items<T>(&mut self, name: &'static str, read: impl Fn(&mut Fields<'_>) -> T) -> Vec<T> {
        let Some(node) = self.member(name) else { return Vec::new() };
        let Value::List(items) = &node.value else {
            self.mistake(name, node, "wrong_type", "must be a list");
            return Vec::new();
        };
        let path = self.path_of(name);
        let mut found = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            let mut fields = Fields::of(item, format!("{path}[{index}]"), self.mistakes);
            found.push(read(&mut fields));
            fields.finish();
        }
        found
    }

    /// Reads a list of texts. `None` after a mistake, `Some(None)` if it is absent.
    fn texts<T>(&mut self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Option<Option<Vec<T>>> {
        let Some(node) = self.member(name) else { return Some(None) };
        let Value::List(items) = &node.value else {
            self.mistake(name, node, "wrong_type", "must be a list of texts");
            return None;
        };
        let mut found = Vec::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            match text(item, &parse) {
                Ok(value) => found.push(value),
                Err((code, message)) => {
                    let path = format!("{}[{index}]", self.path_of(name));
                    self.report(path, item.line, code, message);
                }
            }
        }
        (found.len() == items.len()).then_some(Some(found))
    }

    /// Reports members that were not read: a mistyped name would be left out unnoticed otherwise.
    fn finish(self) {
        let Self { path, members, known, mistakes, .. } = self;
        for (name, node) in members.iter().filter(|(name, _)| !known.contains(&name.as_str())) {
            // The names of a mistyped file can be long.
            let name: String = name.chars().take(50).collect();
            let path = if path.is_empty() { name } else { format!("{path}.{name}") };
            let message = format!("is no member; the members are {}", known.join(", "));
            mistakes.push(FileMistake { path, line: node.line, code: "unknown_member", message });
        }
    }
}

fn text<T, E: Display>(node: &Node, parse: impl FnOnce(&str) -> Result<T, E>) -> Result<T, (&'static str, String)> {
    match &node.value {
        Value::Text(value) => parse(value).map_err(|error| ("invalid", error.to_string())),
        _ => Err(("wrong_type", "must be a text".to_owned())),
    }
}

fn integer<T, E: Display>(node: &Node, parse: impl FnOnce(i64) -> Result<T, E>) -> Result<T, (&'static str, String)> {
    match &node.value {
        Value::Integer(value) => parse(*value).map_err(|error| ("out_of_range", error.to_string())),
        _ => Err(("wrong_type", "must be an integer".to_owned())),
    }
}

fn boolean(node: &Node) -> Result<bool, (&'static str, String)> {
    match &node.value {
        Value::Boolean(value) => Ok(*value),
        _ => Err(("wrong_type", "must be true or false".to_owned())),
    }
}

fn date(text: &str) -> Result<NaiveDate, String> {
    match DayRef::parse(text) {
        Some(DayRef::Date(date)) => Ok(date),
        _ => Err("must be a date like 2026-12-24".to_owned()),
    }
}

fn day(text: &str) -> Result<DayRef, String> {
    DayRef::parse(text)
        .ok_or_else(|| "must be a date like 2026-12-24, or a number of days from today like +14 or -3".to_owned())
}

fn start(text: &str) -> Result<StartRef, String> {
    StartRef::parse(text).ok_or_else(|| {
        "must be a local time like 2026-12-24T20:00 or +1T20:00, where needed with its offset like 2026-10-25T02:30+01:00"
            .to_owned()
    })
}

fn time(text: &str) -> Result<NaiveTime, String> {
    parse_time(text).ok_or_else(|| "must be a time of day like 20:00".to_owned())
}

fn ticket_type(fields: &mut Fields<'_>) -> Unread<TicketTypeCode, TicketTypeDetails> {
    let code = fields.text("code", TicketTypeCode::parse);
    let names = fields.required("names", |node| {
        let Value::Table(members) = &node.value else {
            return Err(("wrong_type", "must be a table with a name for each language".to_owned()));
        };
        let mut names = Vec::new();
        for (tag, name) in members {
            names.push((tag.clone(), text(name, |name| Ok::<_, String>(name.to_owned()))?));
        }
        TicketTypeNames::parse(names).map_err(|error| ("invalid", format!("is invalid: {error}")))
    });
    let needs_proof = fields.optional("needs_proof", boolean).map(Option::unwrap_or_default);
    let position = fields.optional("order", |node| integer(node, TicketTypePosition::parse));
    let position = position.map(|position| position.map_or(0, TicketTypePosition::number));
    let content = match (code.clone(), names, needs_proof, position) {
        (Some(code), Some(names), Some(needs_proof), Some(position)) => {
            Some(TicketTypeDetails { code, names, needs_proof, position })
        }
        _ => None,
    };
    Unread { name: code, content }
}

fn movie(fields: &mut Fields<'_>) -> Unread<Title, MovieDetails> {
    let title = fields.text("title", Title::parse);
    let description = fields.optional_text("description", Description::parse).map(Option::unwrap_or_default);
    let duration = fields.required("duration_minutes", |node| integer(node, Minutes::parse));
    let genres = genres(fields);
    let language = fields.text("language", LanguageName::parse);
    let certificate = fields.optional_text("certificate", Certificate::parse).map(Option::unwrap_or_default);
    let poster_url = fields.optional_text("poster_url", PosterUrl::parse);
    let release_date =
        fields.text("release_date", |text| ReleaseDate::parse(date(text)?).map_err(|error| error.to_string()));
    let content = (|| {
        Some(MovieDetails {
            title: title.clone()?,
            description: description?,
            duration: duration?,
            genres: genres?,
            language: language?,
            certificate: certificate?,
            poster_url: poster_url?,
            release_date: release_date?,
        })
    })();
    Unread { name: title, content }
}

fn genres(fields: &mut Fields<'_>) -> Option<Genres> {
    let node = fields.member("genres");
    fields.known.pop();
    let texts = fields.texts("genres", |text| Ok(text.to_owned()))?.unwrap_or_default();
    let parsed = Genres::parse(&texts.iter().map(String::as_str).collect::<Vec<_>>());
    parsed
        .map_err(|error| {
            let at = match &error {
                GenresError::Genre { at, .. } | GenresError::Repeated { at } => format!("genres[{at}]"),
                GenresError::TooMany => "genres".to_owned(),
            };
            if let Some(node) = node {
                fields.mistake(&at, node, "invalid", error.to_string());
            }
        })
        .ok()
}

fn theatre(fields: &mut Fields<'_>) -> TheatreDraft {
    let name = fields.text("name", PlaceName::parse);
    let location = fields.optional_text("location", Location::parse).map(Option::unwrap_or_default);
    let timezone = fields.text("timezone", time_zone);
    let sentence = |error: String| format!("is invalid: {error}");
    let currency = fields.text("currency", |text| Currency::parse(text).map_err(|error| sentence(error.to_string())));
    let tax_rate =
        fields.optional_text("tax_rate", |text| TaxRate::parse(text).map_err(|error| sentence(error.to_string())));
    let cleaning_time = fields.minutes("cleaning_minutes");
    let halls = fields.items("halls", hall);
    let price_lists = fields.items("price_lists", price_list);
    let content = (|| {
        Some(TheatreDetails {
            name: name.clone()?,
            location: location?,
            timezone: timezone?,
            currency: currency?,
            tax_rate: tax_rate?.unwrap_or(TaxRate::ZERO),
            cleaning_time: cleaning_time?.unwrap_or(Theatre::CLEANING_TIME),
        })
    })();
    TheatreDraft { theatre: Unread { name, content }, currency, halls, price_lists }
}

fn hall(fields: &mut Fields<'_>) -> HallDraft {
    let name = fields.text("name", PlaceName::parse);
    HallDraft { name, layout: layout(fields) }
}

fn layout(fields: &mut Fields<'_>) -> Option<Option<PlannedLayout>> {
    let Some(node) = fields.member("plan") else { return Some(None) };
    let Value::Text(plan) = &node.value else {
        fields.mistake("plan", node, "wrong_type", "must be a text");
        return None;
    };
    let report = |mistakes: Vec<PlanMistake>| {
        for PlanMistake { place, problem } in mistakes {
            let (line, at) = match &place {
                PlanPlace::Text { line, .. } => {
                    // Where the text is not written line by line, its lines are not those of the file.
                    let below = line.saturating_sub(1).saturating_add(node.text_below);
                    let line = if node.text_below > 0 { node.line.saturating_add(below) } else { node.line };
                    (line, format!(" at {place}"))
                }
                _ => (node.line, String::new()),
            };
            let path = fields.path_of("plan");
            let sentence = problem.to_string();
            let sentence = sentence.trim_end_matches('.');
            fields.report(path, line, problem.code(), format!("is invalid{at}: {sentence}"));
        }
    };
    LayoutPlan::Text(plan.clone()).seats().map_err(report).ok().map(Some)
}

fn price_list(fields: &mut Fields<'_>) -> Unread<PlaceName, NamedPriceList> {
    let name = fields.text("name", PlaceName::parse);
    if !fields.is_given("prices") {
        let (path, line) = (fields.path_of("prices"), fields.line);
        fields.report(path, line, "required", "is required");
    }
    let prices = prices(fields);
    let rules = fields.items("rules", rule);
    let rules: Option<Vec<_>> = rules.into_iter().collect();
    // An absent list is a mistake already.
    let content = prices.filter(|prices| !prices.is_empty() || fields.is_given("prices")).zip(rules);
    Unread { name, content: content.map(|(prices, rules)| NamedPriceList { prices, rules }) }
}

fn prices(fields: &mut Fields<'_>) -> Option<Vec<PriceDraft>> {
    let found = fields.items("prices", |fields| {
        let category = fields.text("category", |text| Ok::<_, String>(text.to_owned()));
        let ticket_type = fields.optional_text("ticket_type", TicketTypeCode::parse).map(Option::unwrap_or_default);
        let price = fields.text("price", |text| Ok::<_, String>(text.to_owned()));
        Some(PriceDraft { category: category?, ticket_type: ticket_type?, price: price? })
    });
    found.into_iter().collect()
}

fn rule(fields: &mut Fields<'_>) -> Option<PriceRuleDraft> {
    let name = fields.optional_text("name", PriceRuleName::parse);
    let weekdays = weekdays(fields);
    let (from_date, to_date) = (fields.optional_text("from_date", date), fields.optional_text("to_date", date));
    let (from_time, to_time) = (fields.optional_text("from_time", time), fields.optional_text("to_time", time));
    let prices = prices(fields);
    Some(PriceRuleDraft {
        name: name?,
        weekdays: weekdays?,
        from_date: from_date?,
        to_date: to_date?,
        from_time: from_time?,
        to_time: to_time?,
        prices: prices?,
    })
}

fn weekdays(fields: &mut Fields<'_>) -> Option<WeekdaySet> {
    let parse =
        |text: &str| parse_weekday(text).ok_or_else(|| "must be one of mon, tue, wed, thu, fri, sat, sun".to_owned());
    let days = fields.texts("weekdays", parse)?;
    Some(days.map_or(WeekdaySet::ALL, |days| days.into_iter().collect()))
}

fn terms(fields: &mut Fields<'_>) -> Option<ShowTerms> {
    let movie = fields.text("movie", Title::parse);
    let (theatre, hall) = (fields.text("theatre", PlaceName::parse), fields.text("hall", PlaceName::parse));
    let format = fields.text("format", ShowFormat::parse);
    let language = fields.optional_text("language", LanguageName::parse);
    let (duration, cleaning) = (fields.minutes("duration_minutes"), fields.minutes("cleaning_minutes"));
    let sales_open = fields.optional_text("sales_open_at", start);
    let sales_close = fields.minutes("sales_close_minutes");
    let list = fields.optional_text("price_list", PlaceName::parse);
    let given = prices(fields);
    let prices = match (list, fields.is_given("prices")) {
        (Some(None), true) => given.map(PriceSource::Given),
        (Some(Some(list)), false) => Some(PriceSource::List(list)),
        (None, false) => None,
        (Some(None), false) => {
            let (path, line) = (fields.path_of("price_list"), fields.line);
            fields.report(path, line, "required", "is required, or prices");
            None
        }
        (Some(Some(_)) | None, true) => {
            let (path, line) = (fields.path_of("prices"), fields.line);
            fields.report(path, line, "conflict", "must not be given with price_list; keep one of both");
            None
        }
    };
    Some(ShowTerms {
        movie: movie?,
        theatre: theatre?,
        hall: hall?,
        format: format?,
        language: language?,
        duration: duration?,
        cleaning: cleaning?,
        prices: prices?,
        sales_open: sales_open?,
        sales_close: sales_close?,
    })
}

fn programme(fields: &mut Fields<'_>) -> Option<ProgrammeDraft> {
    let terms = terms(fields);
    let (first_day, last_day) = (fields.text("first_day", day), fields.text("last_day", day));
    let weekdays = weekdays(fields);
    let times = required_texts(fields, "times", time);
    let every_weeks = fields.optional("every_weeks", |node| {
        let fits = |weeks: i64| {
            let message = format!("must be an integer from 1 to {}", Alternation::WEEKS_MAX);
            if (1..=Alternation::WEEKS_MAX).contains(&weeks) { Ok(weeks) } else { Err(message) }
        };
        integer(node, fits)
    });
    let weeks_from = fields.optional_text("weeks_from", date);
    let alternation = match (every_weeks?, weeks_from?) {
        (Some(weeks), Some(from)) => Some(Alternation { weeks, from }),
        (None, None) => None,
        (given, _) => {
            let (name, other) =
                if given.is_some() { ("weeks_from", "every_weeks") } else { ("every_weeks", "weeks_from") };
            let (path, line) = (fields.path_of(name), fields.line);
            fields.report(path, line, "required", format!("is required with {other}"));
            return None;
        }
    };
    Some(ProgrammeDraft {
        terms: terms?,
        first_day: first_day?,
        last_day: last_day?,
        weekdays: weekdays?,
        times: times?,
        alternation,
    })
}

fn shows(fields: &mut Fields<'_>) -> Option<ShowsDraft> {
    let terms = terms(fields);
    let starts = required_texts(fields, "starts", start);
    Some(ShowsDraft { terms: terms?, starts: starts? })
}

/// Reads a list of texts that must be present.
fn required_texts<T>(
    fields: &mut Fields<'_>,
    name: &'static str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Option<Vec<T>> {
    let found = fields.texts(name, parse)?;
    if found.is_none() {
        let (path, line) = (fields.path_of(name), fields.line);
        fields.report(path, line, "required", "is required");
    }
    found
}
