//! Drafts of price lists in requests: how they are read, and their schemas. Amounts stay texts here: their currency is that of the theatre.

use chrono::{DateTime, NaiveDate, NaiveDateTime, NaiveTime, Utc, Weekday, WeekdaySet};
use domain::money::AmountError;
use domain::pricing::{
    PriceDraft, PriceList, PriceListMistake, PriceMistakeReason, PriceRuleDraft, PriceRuleName, TicketTypeCode,
    parse_weekday, weekday_name,
};
use serde_json::{Map, Value};
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat};

use super::body::{Findings, JsonValue, object};
use super::mistakes::Mistake;
use super::problem::{FieldError, Problem};
use super::query::ParameterValue;
use super::values::{Category, known, read_text, text};

/// An amount in major units, as it was sent.
struct AmountText(String);

impl JsonValue for AmountText {
    fn schema() -> Schema {
        text().pattern(Some("^[0-9]+([.][0-9]+)?$")).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let message = "must be a string like \"12.50\"";
        let read = value.as_str().ok_or_else(|| Mistake::new("wrong_type", message));
        findings.mistakes.take(at, read).map(|text| Self(text.to_owned()))
    }
}

/// The members of an object in a list.
struct Members<'body> {
    members: &'body Map<String, Value>,
    at: String,
}

impl<'body> Members<'body> {
    fn of(value: &'body Value, at: String, findings: &mut Findings<'_>) -> Option<Self> {
        let read = value.as_object().ok_or_else(|| Mistake::new("wrong_type", "must be an object"));
        findings.mistakes.take(&at, read).map(|members| Self { members, at })
    }

    fn read<T: JsonValue>(&self, name: &str, findings: &mut Findings<'_>) -> Option<T> {
        let at = format!("{}.{name}", self.at);
        match self.members.get(name).filter(|value| !value.is_null()) {
            Some(value) => T::read(value, &at, findings),
            None => {
                let absent = T::absent();
                if absent.is_none() {
                    findings.mistakes.add(at, Mistake::new("required", "is required"));
                }
                absent
            }
        }
    }
}

/// Reads a list of at most `max` items. Every item is read, so that every mistake is reported.
fn read_list<T>(
    value: &Value,
    at: &str,
    max: usize,
    findings: &mut Findings<'_>,
    mut read: impl FnMut(&Value, String, &mut Findings<'_>) -> Option<T>,
) -> Option<Vec<T>> {
    let items = match value.as_array() {
        None => Err(Mistake::new("wrong_type", "must be a list")),
        Some(items) if items.len() > max => Err(Mistake::new("too_many", format!("must have at most {max} items"))),
        Some(items) => Ok(items),
    };
    let items = findings.mistakes.take(at, items)?;
    let items: Vec<_> =
        items.iter().enumerate().map(|(number, item)| read(item, format!("{at}[{number}]"), findings)).collect();
    items.into_iter().collect()
}

/// Prices by category and ticket type.
pub struct PriceDrafts(pub Vec<PriceDraft>);

impl JsonValue for PriceDrafts {
    fn schema() -> Schema {
        let price = object("The price of seats of a category for a ticket type")
            .member::<Category>("category", "", Some("standard".into()))
            .member::<TicketTypeCode>("ticket_type", "The code of a ticket type", Some("adult".into()))
            .member::<AmountText>(
                "price",
                "In major units, with at most as many decimals as the currency has",
                Some("12.50".into()),
            );
        ArrayBuilder::new().items(price.items()).max_items(Some(PriceList::PRICES_MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_list(value, at, PriceList::PRICES_MAX, findings, |item, at, findings| {
            let members = Members::of(item, at, findings)?;
            let category = members.read("category", findings).map(|Category(name)| name);
            let ticket_type = members.read("ticket_type", findings);
            let price = members.read("price", findings).map(|AmountText(text)| text);
            Some(PriceDraft { category: category?, ticket_type: ticket_type?, price: price? })
        })
        .map(Self)
    }
}

/// The rules of a price list, in their order.
pub struct RuleDrafts(pub Vec<PriceRuleDraft>);

impl JsonValue for RuleDrafts {
    fn schema() -> Schema {
        let rule = object(
            "Other prices on certain days, at certain times. All conditions must hold; an absent one always holds",
        )
        .member::<Option<PriceRuleName>>("name", "For people: 1 to 100 characters", Some("Weekend".into()))
        .member::<Option<Weekdays>>(
            "weekdays",
            "The days of the week; all if it is absent",
            Some(serde_json::json!(["fri", "sat"])),
        )
        .member::<Option<Date>>("from_date", "The first date, inclusive", None)
        .member::<Option<Date>>("to_date", "The last date, inclusive", None)
        .member::<Option<Time>>("from_time", "The beginning of the hours, inclusive", Some("17:00".into()))
        .member::<Option<Time>>(
            "to_time",
            "The end of the hours, exclusive. An end before the beginning is on the next day",
            Some("02:00".into()),
        )
        .member::<Option<PriceDrafts>>("prices", "The prices that differ from the base prices", None);
        ArrayBuilder::new().items(rule.items()).max_items(Some(PriceList::RULES_MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_list(value, at, PriceList::RULES_MAX, findings, |item, at, findings| {
            let members = Members::of(item, at, findings)?;
            let name = members.read::<Option<PriceRuleName>>("name", findings);
            let weekdays = members.read::<Option<Weekdays>>("weekdays", findings);
            let from_date = members.read::<Option<Date>>("from_date", findings);
            let to_date = members.read::<Option<Date>>("to_date", findings);
            let from_time = members.read::<Option<Time>>("from_time", findings);
            let to_time = members.read::<Option<Time>>("to_time", findings);
            let prices = members.read::<Option<PriceDrafts>>("prices", findings);
            Some(PriceRuleDraft {
                name: name?,
                weekdays: weekdays?.unwrap_or_default().0,
                from_date: from_date?.map(|Date(date)| date),
                to_date: to_date?.map(|Date(date)| date),
                from_time: from_time?.map(|Time(time)| time),
                to_time: to_time?.map(|Time(time)| time),
                prices: prices?.map_or_else(Vec::new, |PriceDrafts(prices)| prices),
            })
        })
        .map(Self)
    }
}

/// Days of the week; all by default.
pub struct Weekdays(pub WeekdaySet);

impl Default for Weekdays {
    fn default() -> Self {
        Self(WeekdaySet::ALL)
    }
}

impl JsonValue for Weekdays {
    fn schema() -> Schema {
        let names = WeekdaySet::ALL.iter(Weekday::Mon).map(weekday_name);
        let day = text().enum_values(Some(names.collect::<Vec<_>>()));
        ArrayBuilder::new().items(day).min_items(Some(1)).max_items(Some(7)).unique_items(true).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let days = read_list(value, at, 7, findings, |item, at, findings| {
            read_text(item, &at, findings, |text| {
                let message = "must be one of mon, tue, wed, thu, fri, sat, sun";
                parse_weekday(text).ok_or_else(|| Mistake::new("invalid", message))
            })
        })?;
        let mut set = WeekdaySet::EMPTY;
        let repeated = days.into_iter().position(|day| !set.insert(day));
        if let Some(number) = repeated {
            findings.mistakes.add(format!("{at}[{number}]"), Mistake::new("repeated", "repeats an earlier day"));
            return None;
        }
        Some(Self(set))
    }
}

/// A date.
pub struct Date(pub NaiveDate);

impl JsonValue for Date {
    fn schema() -> Schema {
        known(KnownFormat::Date).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| <NaiveDate as ParameterValue>::parse(text).map(Self))
    }
}

/// A time of day, in minutes.
struct Time(NaiveTime);

impl JsonValue for Time {
    fn schema() -> Schema {
        text().pattern(Some("^([01][0-9]|2[0-3]):[0-5][0-9]$")).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| parse_time(text).map(Self))
    }
}

fn parse_time(text: &str) -> Result<NaiveTime, Mistake> {
    // Exactly five characters: chrono's parser alone accepts 7:5.
    let parsed = NaiveTime::parse_from_str(text, "%H:%M").ok().filter(|_| text.len() == 5 && text.is_ascii());
    parsed.ok_or_else(|| Mistake::new("invalid", "must be a time of day like 17:00"))
}

/// Times of day, in minutes.
pub struct Times(pub Vec<NaiveTime>);

impl Times {
    /// The maximum number: a show each half hour.
    const MAX: usize = 48;
}

impl JsonValue for Times {
    fn schema() -> Schema {
        let time = text().pattern(Some("^([01][0-9]|2[0-3]):[0-5][0-9]$"));
        ArrayBuilder::new().items(time).min_items(Some(1)).max_items(Some(Self::MAX)).unique_items(true).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let times = read_list(value, at, Self::MAX, findings, |item, at, findings| Time::read(item, &at, findings))?;
        Some(Self(times.into_iter().map(|Time(time)| time).collect()))
    }
}

/// An instant (RFC 3339).
pub struct Instant(pub DateTime<Utc>);

impl JsonValue for Instant {
    fn schema() -> Schema {
        known(KnownFormat::DateTime).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| <DateTime<Utc> as ParameterValue>::parse(text).map(Self))
    }
}

/// An instant (RFC 3339), or an empty text, which stands for none.
pub struct SalesOpening(pub Option<DateTime<Utc>>);

impl JsonValue for SalesOpening {
    fn schema() -> Schema {
        text().into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        if value.as_str() == Some("") {
            Some(Self(None))
        } else {
            Instant::read(value, at, findings).map(|Instant(at)| Self(Some(at)))
        }
    }
}

/// A date and a time of day, local to a theatre.
pub struct LocalTime(pub NaiveDateTime);

impl JsonValue for LocalTime {
    fn schema() -> Schema {
        <Self as ParameterValue>::schema()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, <Self as ParameterValue>::parse)
    }
}

impl ParameterValue for LocalTime {
    fn schema() -> Schema {
        text().pattern(Some("^[0-9]{4}-[0-9]{2}-[0-9]{2}T([01][0-9]|2[0-3]):[0-5][0-9]$")).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let mistake = || Mistake::new("invalid", "must be a local time like 2026-12-24T20:00");
        let (date, time) = text.split_once('T').ok_or_else(mistake)?;
        let date = <NaiveDate as ParameterValue>::parse(date).map_err(|_| mistake())?;
        Ok(Self(date.and_time(parse_time(time).map_err(|_| mistake())?)))
    }
}

/// Returns the problem of an invalid price list, with all mistakes.
pub fn invalid_prices(mistakes: Vec<PriceListMistake>) -> Problem {
    let field =
        |PriceListMistake { field, reason }| FieldError { field, code: code(&reason), message: reason.to_string() };
    Problem::fields(mistakes.into_iter().map(field).collect())
}

fn code(reason: &PriceMistakeReason) -> &'static str {
    match reason {
        PriceMistakeReason::Amount(error) => match error {
            AmountError::Negative | AmountError::TooLarge => "out_of_range",
            AmountError::Malformed { .. } | AmountError::TooManyDecimals { .. } => "invalid",
        },
        PriceMistakeReason::TooHigh(_) => "out_of_range",
        PriceMistakeReason::UnknownTicketType => "unknown",
        PriceMistakeReason::RetiredTicketType => "retired",
        PriceMistakeReason::Repeated => "repeated",
        PriceMistakeReason::Empty => "too_few",
        PriceMistakeReason::TooMany { .. } => "too_many",
        PriceMistakeReason::DatesReversed | PriceMistakeReason::NoHours | PriceMistakeReason::Other(_) => "invalid",
    }
}
