//! Documents as values of a file.

use chrono::{NaiveDate, NaiveTime, Weekday, WeekdaySet};
use domain::catalog::{LanguageName, Minutes, MovieDetails, PlaceName, PosterUrl, TheatreDetails};
use domain::pricing::{PriceDraft, PriceRuleDraft, PriceRuleName, TicketTypeDetails, weekday_name};
use domain::seating::PlannedLayout;
use domain::transfer::{
    Document, HallDraft, NamedPriceList, PriceSource, ProgrammeDraft, ShowTerms, ShowsDraft, StartRef, TheatreDraft,
    Unread, time_text,
};

use crate::node::{Node, Value};

/// A table, member by member.
#[derive(Default)]
struct Table(Vec<(String, Node)>);

impl Table {
    fn with(mut self, name: &str, value: Value) -> Self {
        self.0.push((name.to_owned(), value.node()));
        self
    }

    fn text(self, name: &str, value: impl Into<String>) -> Self {
        self.with(name, Value::Text(value.into()))
    }

    fn some_text(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.text(name, value),
            None => self,
        }
    }

    fn integer(self, name: &str, value: impl Into<i64>) -> Self {
        self.with(name, Value::Integer(value.into()))
    }

    fn some_integer(self, name: &str, value: Option<i32>) -> Self {
        match value {
            Some(value) => self.integer(name, value),
            None => self,
        }
    }

    /// Adds a list, unless it is empty.
    fn list(self, name: &str, items: impl IntoIterator<Item = Value>) -> Self {
        let items: Vec<_> = items.into_iter().map(Value::node).collect();
        if items.is_empty() { self } else { self.with(name, Value::List(items)) }
    }

    fn value(self) -> Value {
        Value::Table(self.0)
    }
}

pub(crate) fn document(document: &Document) -> Node {
    let Document { ticket_types, movies, theatres, programmes, shows } = document;
    let contents = ticket_types.iter().filter_map(|item| item.content.as_ref());
    let movies = movies.iter().filter_map(|item| item.content.as_ref());
    Table::default()
        .list("ticket_types", contents.map(ticket_type))
        .list("movies", movies.map(movie))
        .list("theatres", theatres.iter().filter_map(theatre))
        .list("programmes", programmes.iter().flatten().map(programme))
        .list("shows", shows.iter().flatten().map(show))
        .value()
        .node()
}

fn ticket_type(details: &TicketTypeDetails) -> Value {
    let names = details.names.iter().fold(Table::default(), |names, (tag, name)| names.text(tag, name));
    Table::default()
        .text("code", details.code.as_str())
        .with("names", names.value())
        .with("needs_proof", Value::Boolean(details.needs_proof))
        .integer("order", details.position)
        .value()
}

fn movie(details: &MovieDetails) -> Value {
    let genres = details.genres.as_slice().iter().map(|genre| Value::Text(genre.clone()));
    Table::default()
        .text("title", details.title.as_str())
        .text("description", details.description.as_str())
        .integer("duration_minutes", details.duration.minutes())
        .list("genres", genres)
        .text("language", details.language.as_str())
        .text("certificate", details.certificate.as_str())
        .some_text("poster_url", details.poster_url.as_ref().map(PosterUrl::as_str))
        .text("release_date", details.release_date.date().to_string())
        .value()
}

fn theatre(draft: &TheatreDraft) -> Option<Value> {
    let TheatreDetails { name, location, timezone, currency, tax_rate, cleaning_time } =
        draft.theatre.content.as_ref()?;
    let table = Table::default()
        .text("name", name.as_str())
        .text("location", location.as_str())
        .text("timezone", timezone.name())
        .text("currency", currency.code())
        .text("tax_rate", tax_rate.to_string())
        .integer("cleaning_minutes", cleaning_time.minutes())
        .list("halls", draft.halls.iter().filter_map(hall))
        .list("price_lists", draft.price_lists.iter().filter_map(price_list));
    Some(table.value())
}

fn hall(draft: &HallDraft) -> Option<Value> {
    let name = draft.name.as_ref()?.as_str();
    // An export has checked that every layout can be drawn.
    let plan = draft.layout.iter().flatten().find_map(PlannedLayout::to_text);
    Some(Table::default().text("name", name).some_text("plan", plan).value())
}

fn price_list(draft: &Unread<PlaceName, NamedPriceList>) -> Option<Value> {
    let (name, NamedPriceList { prices: base, rules }) = (draft.name.as_ref()?, draft.content.as_ref()?);
    let table = Table::default().text("name", name.as_str()).list("prices", prices(base));
    Some(table.list("rules", rules.iter().map(rule)).value())
}

fn prices(prices: &[PriceDraft]) -> impl Iterator<Item = Value> + use<'_> {
    prices.iter().map(|PriceDraft { category, ticket_type, price }| {
        let table = Table::default().text("category", category).text("ticket_type", ticket_type.as_str());
        table.text("price", price).value()
    })
}

fn rule(rule: &PriceRuleDraft) -> Value {
    let date = |date: Option<NaiveDate>| date.map(|date| date.to_string());
    let time = |time: Option<NaiveTime>| time.map(time_text);
    Table::default()
        .some_text("name", rule.name.as_ref().map(PriceRuleName::as_str))
        .list("weekdays", weekdays(rule.weekdays))
        .some_text("from_date", date(rule.from_date))
        .some_text("to_date", date(rule.to_date))
        .some_text("from_time", time(rule.from_time))
        .some_text("to_time", time(rule.to_time))
        .list("prices", prices(&rule.prices))
        .value()
}

/// Returns the days of a set; none for every day, which is the default.
fn weekdays(days: WeekdaySet) -> Vec<Value> {
    let is_every_day = days == WeekdaySet::ALL;
    let days = days.iter(Weekday::Mon).filter(|_| !is_every_day);
    days.map(|day| Value::Text(weekday_name(day).to_owned())).collect()
}

fn terms(terms: &ShowTerms) -> Table {
    let ShowTerms { movie, theatre, hall, format, language, duration, cleaning, prices: _, sales_open, sales_close } =
        terms;
    let table = Table::default()
        .text("movie", movie.as_str())
        .text("theatre", theatre.as_str())
        .text("hall", hall.as_str())
        .text("format", format.as_str())
        .some_text("language", language.as_ref().map(LanguageName::as_str))
        .some_integer("duration_minutes", duration.map(Minutes::minutes))
        .some_integer("cleaning_minutes", cleaning.map(Minutes::minutes))
        .some_text("sales_open_at", sales_open.map(StartRef::to_text))
        .some_integer("sales_close_minutes", sales_close.map(Minutes::minutes));
    match &terms.prices {
        PriceSource::List(name) => table.text("price_list", name.as_str()),
        PriceSource::Given(given) => table.list("prices", prices(given)),
    }
}

fn programme(draft: &ProgrammeDraft) -> Value {
    let ProgrammeDraft { terms: of_all, first_day, last_day, weekdays: days, times, alternation } = draft;
    let table = terms(of_all)
        .text("first_day", first_day.to_text())
        .text("last_day", last_day.to_text())
        .list("weekdays", weekdays(*days))
        .list("times", times.iter().map(|time| Value::Text(time_text(*time))));
    match alternation {
        Some(alternation) => {
            table.integer("every_weeks", alternation.weeks).text("weeks_from", alternation.from.to_string()).value()
        }
        None => table.value(),
    }
}

fn show(draft: &ShowsDraft) -> Value {
    let starts = draft.starts.iter().map(|start| Value::Text(start.to_text()));
    terms(&draft.terms).list("starts", starts).value()
}
