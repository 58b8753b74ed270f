//! The domain's values in requests: how each is read, and its schema, which accepts the same values.
//!
//! A schema is wider than its parser where it cannot express the rule. Two formats are our own:
//!
//! - `display-name`: a line that shows something and has no hidden characters ([`domain::text::shown_line`]);
//! - `cursor`: a text from the `Link` header of the previous page.
//!
//! Lengths count code points after Unicode normalization.

use std::collections::BTreeSet;

use chrono::{DateTime, NaiveDate, Utc};
use chrono_tz::Tz;
use domain::admin::ObjectKind;
use domain::booking::{BookingStatus, HoldId, Override, PaymentKind, Refusal, When};
use domain::catalog::{Genres, GenresError, Minutes, PosterUrl, ReleaseDate, ShowStatus, time_zone};
use domain::identity::{Email, Name, Password, RefreshToken, Role};
use domain::ids::{
    BookingId, HallId, LayoutId, MovieId, PriceListId, SeatId, SessionId, ShowId, TheatreId, TicketTypeId, UserId,
};
use domain::money::{Currency, TaxRate};
use domain::pricing::{TicketTypeCode, TicketTypeError, TicketTypeNames, TicketTypePosition};
use domain::seating::{SeatSelection, SeatSelectionError, TicketSelection};
use domain::text::{Line, Prose, check_length, check_line};
use serde_json::Value;
use utoipa::openapi::Schema;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaFormat, Type};

use super::body::{Findings, JsonValue, object};
use super::mistakes::Mistake;
use super::problem::{Code, Problem};
use super::query::{ParameterValue, PathValue};

/// The longest text that can be a refresh token.
const REFRESH_TOKEN_MAX: usize = 512;
/// The longest text of a filter.
const FILTER_MAX: usize = 200;
/// The longest name of a seat category.
const CATEGORY_MAX: usize = 100;
const ID: &str = "must be an integer from 1 to 9223372036854775807";

pub(super) fn text() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

pub(super) fn known(format: KnownFormat) -> ObjectBuilder {
    text().format(Some(SchemaFormat::KnownFormat(format)))
}

/// Names a format of our own, for rules that a schema cannot express.
fn custom(format: &str) -> SchemaFormat {
    SchemaFormat::Custom(format.to_owned())
}

fn of_length(min: usize, max: usize) -> ObjectBuilder {
    text().min_length(Some(min)).max_length(Some(max))
}

/// Returns a text without control characters and line breaks, as [`check_line`] accepts it.
fn line(min: usize, max: usize) -> Schema {
    of_length(min, max).pattern(Some(r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029]*$")).into()
}

fn id() -> Object {
    let format = SchemaFormat::KnownFormat(KnownFormat::Int64);
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .format(Some(format))
        .minimum(Some(1))
        .maximum(Some(i64::MAX))
        .build()
}

/// Reads a string with a parser of the domain.
pub(super) fn read_text<T>(
    value: &Value,
    at: &str,
    findings: &mut Findings<'_>,
    parse: impl FnOnce(&str) -> Result<T, Mistake>,
) -> Option<T> {
    let read = value.as_str().ok_or_else(|| Mistake::new("wrong_type", "must be a string")).and_then(parse);
    findings.mistakes.take(at, read)
}

fn read_id(value: &Value) -> Result<i64, Mistake> {
    match integer(value) {
        Some(Some(id)) if id > 0 => Ok(id),
        Some(_) => Err(Mistake::new("out_of_range", ID)),
        None => Err(Mistake::new("wrong_type", "must be an integer")),
    }
}

/// Returns the integer that a number stands for, or `Some(None)` if it does not fit. As in JSON Schema, `36.0` is the integer 36.
pub fn integer(value: &Value) -> Option<Option<i64>> {
    match value.as_f64()? {
        _ if value.is_i64() || value.is_u64() => Some(value.as_i64()),
        float if float.fract() == 0.0 => Some(format!("{float:.0}").parse().ok()),
        _ => None,
    }
}

/// Reads an id of a path or a query: digits alone, so that each resource has one path.
fn parse_id(text: &str) -> Option<i64> {
    let is_canonical = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|id: &i64| is_canonical && *id > 0)
}

macro_rules! ids {
    ($($Id:ident in path as $name:literal),+ $(,)?) => {$(
        impl JsonValue for $Id {
            fn schema() -> Schema {
                id().into()
            }

            fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
                findings.mistakes.take(at, read_id(value)).map(Self)
            }
        }

        impl ParameterValue for $Id {
            fn schema() -> Schema {
                id().into()
            }

            fn parse(text: &str) -> Result<Self, Mistake> {
                parse_id(text).map(Self).ok_or_else(|| Mistake::new("invalid", ID))
            }
        }

        impl PathValue for $Id {
            const NAME: &'static str = $name;

            fn schema() -> Schema {
                id().into()
            }

            fn parse(text: &str) -> Result<Self, Problem> {
                parse_id(text).map(Self).ok_or_else(|| Problem::field($name, "invalid", ID))
            }
        }
    )+};
}

ids! {
    BookingId in path as "booking_id",
    HallId in path as "hall_id",
    LayoutId in path as "layout_id",
    MovieId in path as "movie_id",
    PriceListId in path as "price_list_id",
    SeatId in path as "seat_id",
    SessionId in path as "session_id",
    ShowId in path as "show_id",
    TheatreId in path as "theatre_id",
    TicketTypeId in path as "ticket_type_id",
    UserId in path as "user_id",
}

impl JsonValue for Name {
    fn schema() -> Schema {
        of_length(1, Self::MAX).format(Some(custom("display-name"))).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Ok(Self::parse(text)?))
    }
}

/// A line of text that is shown.
impl<const MIN: usize, const MAX: usize> JsonValue for Line<MIN, MAX> {
    fn schema() -> Schema {
        of_length(MIN, MAX).format(Some(custom("display-name"))).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Ok(Self::parse(text)?))
    }
}

/// A text of several lines that is shown.
impl<const MAX: usize> JsonValue for Prose<MAX> {
    fn schema() -> Schema {
        of_length(0, MAX).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Ok(Self::parse(text)?))
    }
}

impl<const MIN: i32, const MAX: i32> JsonValue for Minutes<MIN, MAX> {
    fn schema() -> Schema {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(MIN)).maximum(Some(MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let number = integer(value).ok_or_else(|| Mistake::new("wrong_type", "must be an integer"));
        let parse = |number: Option<i64>| {
            Self::parse(number.unwrap_or(i64::MAX)).map_err(|error| Mistake::new("out_of_range", error.to_string()))
        };
        findings.mistakes.take(at, number.and_then(parse))
    }
}

impl JsonValue for Genres {
    fn schema() -> Schema {
        ArrayBuilder::new().items(of_length(1, Self::GENRE_MAX)).max_items(Some(Self::MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let texts: Option<Vec<_>> = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        let Some(texts) = texts else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of strings"));
            return None;
        };
        let (place, mistake) = match Self::parse(&texts) {
            Ok(genres) => return Some(genres),
            Err(error @ GenresError::TooMany) => (at.to_owned(), Mistake::new("too_many", error.to_string())),
            Err(GenresError::Genre { at: number, source }) => (format!("{at}[{number}]"), source.into()),
            Err(error @ GenresError::Repeated { at: number }) => {
                (format!("{at}[{number}]"), Mistake::new("repeated", error.to_string()))
            }
        };
        findings.mistakes.add(place, mistake);
        None
    }
}

/// The address of a picture; `None` for an empty text.
pub struct OptionalPosterUrl(pub Option<PosterUrl>);

impl JsonValue for OptionalPosterUrl {
    fn schema() -> Schema {
        text().max_length(Some(PosterUrl::MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let url = read_text(value, at, findings, |text| match text {
            "" => Ok(None),
            text => PosterUrl::parse(text).map(Some).map_err(invalid),
        })?;
        Some(Self(url))
    }
}

impl JsonValue for ReleaseDate {
    fn schema() -> Schema {
        known(KnownFormat::Date).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Self::parse(<NaiveDate as ParameterValue>::parse(text)?).map_err(invalid))
    }
}

impl JsonValue for Tz {
    fn schema() -> Schema {
        text().examples(["Europe/Berlin"]).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| time_zone(text).map_err(invalid))
    }
}

impl JsonValue for Currency {
    fn schema() -> Schema {
        text().pattern(Some("^[A-Z]{3}$")).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let message = "must be three upper-case letters of ISO 4217, like EUR";
        read_text(value, at, findings, |text| Self::parse(text).map_err(|_| Mistake::new("invalid", message)))
    }
}

impl JsonValue for TaxRate {
    fn schema() -> Schema {
        text().pattern(Some("^[0-9]{1,2}([.][0-9]{1,2})?$")).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let message = "must be a percentage from 0.00 to 50.00 with at most two decimals, like 7.00";
        read_text(value, at, findings, |text| Self::parse(text).map_err(|_| Mistake::new("invalid", message)))
    }
}

impl JsonValue for Role {
    fn schema() -> Schema {
        text().enum_values(Some(["customer", "staff", "admin"])).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, ParameterValue::parse)
    }
}

impl ParameterValue for Role {
    fn schema() -> Schema {
        <Self as JsonValue>::schema()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        Self::parse(text).map_err(|_| Mistake::new("invalid", "must be customer, staff or admin"))
    }
}

/// The most theatres that a member of staff works for.
const THEATRES_MAX: usize = 1_000;

/// The theatres that a member of staff works for. Repeated ids count once.
impl JsonValue for BTreeSet<TheatreId> {
    fn schema() -> Schema {
        ArrayBuilder::new().items(id()).max_items(Some(THEATRES_MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(items) = value.as_array().filter(|items| items.len() <= THEATRES_MAX) else {
            let message = format!("must be a list of at most {THEATRES_MAX} integers");
            findings.mistakes.add(at, Mistake::new("wrong_type", message));
            return None;
        };
        let read = |(number, item)| TheatreId::read(item, &format!("{at}[{number}]"), findings);
        let ids: Vec<_> = items.iter().enumerate().map(read).collect();
        ids.into_iter().collect()
    }
}

impl ParameterValue for ObjectKind {
    fn schema() -> Schema {
        text().enum_values(Some(Self::ALL.map(Self::as_str))).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        Self::parse(text).map_err(invalid)
    }
}

/// The id of an object of any kind.
pub struct ObjectId(pub i64);

impl ParameterValue for ObjectId {
    fn schema() -> Schema {
        id().into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        parse_id(text).map(Self).ok_or_else(|| Mistake::new("invalid", ID))
    }
}

/// Returns the mistake of an invalid value, whose error is a predicate.
fn invalid(error: impl std::error::Error) -> Mistake {
    Mistake::new("invalid", error.to_string())
}

impl JsonValue for Email {
    fn schema() -> Schema {
        known(KnownFormat::Email).max_length(Some(Self::MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Ok(Self::parse(text)?))
    }
}

impl JsonValue for Password {
    fn schema() -> Schema {
        of_length(Self::MIN, Self::MAX).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Ok(Self::parse(text)?))
    }
}

/// Any text: an attempt to match a stored secret.
impl JsonValue for String {
    fn schema() -> Schema {
        text().into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Ok(text.to_owned()))
    }
}

impl JsonValue for RefreshToken {
    fn schema() -> Schema {
        of_length(1, REFRESH_TOKEN_MAX).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| {
            check_length(text, 1, REFRESH_TOKEN_MAX)?;
            Ok(Self(text.to_owned()))
        })
    }
}

/// The name of a seat category.
pub struct Category(pub String);

impl JsonValue for Category {
    fn schema() -> Schema {
        line(1, CATEGORY_MAX)
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| {
            check_line(text, 1, CATEGORY_MAX)?;
            Ok(Self(text.to_owned()))
        })
    }
}

impl JsonValue for bool {
    fn schema() -> Schema {
        ObjectBuilder::new().schema_type(Type::Boolean).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let mistake = || Mistake::new("wrong_type", "must be true or false");
        findings.mistakes.take(at, value.as_bool().ok_or_else(mistake))
    }
}

/// A number of seats: at least one.
pub struct Quantity(pub usize);

impl JsonValue for Quantity {
    fn schema() -> Schema {
        id().into()
    }

    /// Refuses more than [`domain::booking::Rules::seats_max`].
    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let asked = findings.mistakes.take(at, read_id(value))?;
        let (asked, max) = (usize::try_from(asked).unwrap_or(usize::MAX), findings.rules.seats_max);
        if asked > max {
            findings.refusal = Some(SeatSelectionError::TooMany { asked, max }.into());
        }
        Some(Self(asked))
    }
}

impl JsonValue for SeatSelection {
    fn schema() -> Schema {
        ArrayBuilder::new().items(id()).min_items(Some(1)).unique_items(true).into()
    }

    /// Refuses more than [`domain::booking::Rules::seats_max`].
    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_seats(value, at, findings, findings.rules.seats_max)
    }
}

/// At most `MAX` seats.
pub struct ManySeats<const MAX: usize>(pub SeatSelection);

impl<const MAX: usize> JsonValue for ManySeats<MAX> {
    fn schema() -> Schema {
        <SeatSelection as JsonValue>::schema()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_seats(value, at, findings, MAX).map(Self)
    }
}

fn read_seats(value: &Value, at: &str, findings: &mut Findings<'_>, max: usize) -> Option<SeatSelection> {
    let Some(items) = value.as_array() else {
        findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of integers"));
        return None;
    };
    // Every item is read, so that every mistake is reported.
    let items = items.iter().enumerate().map(|(number, item)| SeatId::read(item, &format!("{at}[{number}]"), findings));
    let items: Vec<_> = items.collect();
    let seats = SeatSelection::parse(items.into_iter().collect::<Option<_>>()?, max);
    seats.map_err(|error| report_selection(error, at, findings)).ok()
}

/// Records why seats are not a valid selection.
fn report_selection(error: SeatSelectionError, at: &str, findings: &mut Findings<'_>) {
    match error {
        SeatSelectionError::Empty => {
            findings.mistakes.add(at, Mistake::new("too_few", "must have at least one seat"));
        }
        SeatSelectionError::Repeated { seat_id } => {
            findings.mistakes.add(at, Mistake::new("repeated", format!("has seat {seat_id} twice")));
        }
        error @ SeatSelectionError::TooMany { .. } => findings.refusal = Some(error.into()),
    }
}

impl JsonValue for TicketTypeCode {
    fn schema() -> Schema {
        text().pattern(Some("^[a-z0-9_]{1,30}$")).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| {
            let message = "must have 1 to 30 characters, each a to z, 0 to 9 or _";
            Self::parse(text).map_err(|_| Mistake::new("invalid", message))
        })
    }
}

/// The names of a ticket type, by language tag.
impl JsonValue for TicketTypeNames {
    fn schema() -> Schema {
        let name = of_length(1, Self::NAME_MAX).format(Some(custom("display-name")));
        ObjectBuilder::new().schema_type(Type::Object).additional_properties(Some(name)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(members) = value.as_object() else {
            let message = "must be an object with a name for each language tag, like {\"en\": \"Child\"}";
            findings.mistakes.add(at, Mistake::new("wrong_type", message));
            return None;
        };
        if members.len() > Self::LANGUAGES_MAX {
            findings.mistakes.add(at, names_mistake(TicketTypeError::TooManyNames { max: Self::LANGUAGES_MAX }));
            return None;
        }
        // Each name on its own first, so that every mistake is reported.
        let name = |(tag, name): (&String, &Value)| {
            let place = format!("{at}.{tag}");
            let name = read_text(name, &place, findings, |text| Ok(text.to_owned()))?;
            let checked = Self::parse([(tag.clone(), name.clone())]).map_err(names_mistake);
            findings.mistakes.take(&place, checked).map(|_| (tag.clone(), name))
        };
        let names: Vec<_> = members.iter().map(name).collect();
        let names: Vec<_> = names.into_iter().collect::<Option<_>>()?;
        findings.mistakes.take(at, Self::parse(names).map_err(names_mistake))
    }
}

fn names_mistake(error: TicketTypeError) -> Mistake {
    match error {
        TicketTypeError::NoName => Mistake::new("too_few", "must have a name in at least one language"),
        TicketTypeError::TooManyNames { max } => {
            Mistake::new("too_many", format!("must have names in at most {max} languages"))
        }
        TicketTypeError::NotALanguage { .. } => {
            Mistake::new("invalid", "must be named by a language tag like en or pt-BR")
        }
        TicketTypeError::RepeatedLanguage { tag } => Mistake::new("repeated", format!("has two names for {tag}")),
        TicketTypeError::Name { error, .. } => error.into(),
    }
}

impl JsonValue for TicketTypePosition {
    fn schema() -> Schema {
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(Self::MAX)).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let number = integer(value).ok_or_else(|| Mistake::new("wrong_type", "must be an integer"));
        let parse = |number: Option<i64>| {
            Self::parse(number.unwrap_or(i64::MAX)).map_err(|error| Mistake::new("out_of_range", error.to_string()))
        };
        findings.mistakes.take(at, number.and_then(parse))
    }
}

/// Seats with their ticket types. The ticket type of a seat is `adult` if it is absent.
impl JsonValue for TicketSelection {
    fn schema() -> Schema {
        let ticket = object("A seat with its ticket type")
            .member::<SeatId>("seat_id", "", Some(1.into()))
            .member::<Option<TicketTypeCode>>(
                "ticket_type",
                "The code of a ticket type that the show sells; `adult` if it is absent",
                Some("adult".into()),
            );
        ArrayBuilder::new().items(ticket.items()).min_items(Some(1)).into()
    }

    /// Refuses more than [`domain::booking::Rules::seats_max`].
    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_tickets(value, at, findings, findings.rules.seats_max)
    }
}

/// At most `MAX` seats with their ticket types.
pub struct ManyTickets<const MAX: usize>(pub TicketSelection);

impl<const MAX: usize> JsonValue for ManyTickets<MAX> {
    fn schema() -> Schema {
        <TicketSelection as JsonValue>::schema()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_tickets(value, at, findings, MAX).map(Self)
    }
}

fn read_tickets(value: &Value, at: &str, findings: &mut Findings<'_>, max: usize) -> Option<TicketSelection> {
    let Some(items) = value.as_array() else {
        findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of objects"));
        return None;
    };
    let items = items.iter().enumerate().map(|(number, item)| read_ticket(item, &format!("{at}[{number}]"), findings));
    let items: Vec<_> = items.collect();
    let tickets = TicketSelection::parse(items.into_iter().collect::<Option<_>>()?, max);
    tickets.map_err(|error| report_selection(error, at, findings)).ok()
}

impl JsonValue for PaymentKind {
    fn schema() -> Schema {
        text().enum_values(Some(Self::ALL.map(Self::as_str))).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        read_text(value, at, findings, |text| Self::parse(text).map_err(invalid))
    }
}

/// The rules that a sale may break. Repeated ones count once.
impl JsonValue for BTreeSet<Override> {
    fn schema() -> Schema {
        ArrayBuilder::new().items(text().enum_values(Some(Override::ALL.map(Override::as_str)))).into()
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let Some(items) = value.as_array() else {
            findings.mistakes.add(at, Mistake::new("wrong_type", "must be a list of strings"));
            return None;
        };
        let read = |(number, item)| {
            read_text(item, &format!("{at}[{number}]"), findings, |text| Override::parse(text).map_err(invalid))
        };
        let rules: Vec<_> = items.iter().enumerate().map(read).collect();
        rules.into_iter().collect()
    }
}

fn read_ticket(item: &Value, at: &str, findings: &mut Findings<'_>) -> Option<(SeatId, TicketTypeCode)> {
    let Some(members) = item.as_object() else {
        findings.mistakes.add(at, Mistake::new("wrong_type", "must be an object with seat_id and ticket_type"));
        return None;
    };
    let given = |name: &str| members.get(name).filter(|value| !value.is_null());
    let seat_at = format!("{at}.seat_id");
    let seat_id = match given("seat_id") {
        Some(value) => SeatId::read(value, &seat_at, findings),
        None => {
            findings.mistakes.add(&seat_at, Mistake::new("required", "is required"));
            None
        }
    };
    let ticket_type = match given("ticket_type") {
        Some(value) => TicketTypeCode::read(value, &format!("{at}.ticket_type"), findings),
        None => Some(TicketTypeCode::ADULT),
    };
    seat_id.zip(ticket_type)
}

impl JsonValue for HoldId {
    fn schema() -> Schema {
        text().into()
    }

    /// Refuses a malformed id as that of an unknown hold.
    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        let text = read_text(value, at, findings, |text| Ok(text.to_owned()))?;
        Self::parse(&text).map_err(|_| findings.refusal = Some(Refusal::HoldNotFound.into())).ok()
    }
}

impl PathValue for HoldId {
    const NAME: &'static str = "hold_id";
    const CODE: Code = Code::HoldNotFound;

    fn schema() -> Schema {
        text().into()
    }

    /// Refuses a malformed id as that of an unknown hold.
    fn parse(text: &str) -> Result<Self, Problem> {
        Self::parse(text).map_err(|_| Refusal::HoldNotFound.into())
    }
}

/// The text of a filter, one line. An empty text filters nothing.
pub struct FilterText(String);

impl FilterText {
    /// Returns the text, unless it is empty.
    pub fn into_filter(self) -> Option<String> {
        Some(self.0).filter(|text| !text.is_empty())
    }
}

impl ParameterValue for FilterText {
    fn schema() -> Schema {
        line(0, FILTER_MAX)
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        check_line(text, 0, FILTER_MAX)?;
        Ok(Self(text.to_owned()))
    }
}

impl ParameterValue for bool {
    fn schema() -> Schema {
        ObjectBuilder::new().schema_type(Type::Boolean).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        text.parse().map_err(|_| Mistake::new("invalid", "must be true or false"))
    }
}

impl ParameterValue for NaiveDate {
    fn schema() -> Schema {
        known(KnownFormat::Date).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        // Exactly ten characters: chrono's parser alone accepts +2026-1-2.
        let parsed = text.parse().ok().filter(|_| text.len() == 10 && text.is_ascii());
        parsed.ok_or_else(|| Mistake::new("invalid", "must be a date like 2026-12-24"))
    }
}

impl ParameterValue for DateTime<Utc> {
    fn schema() -> Schema {
        known(KnownFormat::DateTime).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        // A plus sign in a query is a space.
        let parsed = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
        let message = "must be a time by RFC 3339, like 2026-12-24T20:15:00Z";
        parsed.map(|at| at.to_utc()).map_err(|_| Mistake::new("invalid", message))
    }
}

impl ParameterValue for When {
    fn schema() -> Schema {
        text().enum_values(Some(["upcoming", "past"])).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        match text {
            "upcoming" => Ok(Self::Upcoming),
            "past" => Ok(Self::Past),
            _ => Err(Mistake::new("invalid", "must be upcoming or past")),
        }
    }
}

impl ParameterValue for ShowStatus {
    fn schema() -> Schema {
        let names = [Self::Scheduled, Self::Cancelled].map(Self::as_str);
        text().enum_values(Some(names)).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        Self::parse(text).map_err(|_| Mistake::new("invalid", "must be one of scheduled, cancelled"))
    }
}

impl ParameterValue for BookingStatus {
    fn schema() -> Schema {
        text().enum_values(Some(Self::ALL.map(Self::as_str))).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let message = "must be pending_payment, confirmed, cancelled, expired or refunded";
        Self::parse(text).map_err(|_| Mistake::new("invalid", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_read_as_json_schema_defines_them() {
        let read = |text: &str| integer(&serde_json::from_str(text).unwrap());
        assert_eq!(read("36"), Some(Some(36)));
        assert_eq!(read("36.0"), Some(Some(36)));
        assert_eq!(read("-3.6e1"), Some(Some(-36)));
        assert_eq!(read("18446744073709551615"), Some(None));
        assert_eq!(read("1e300"), Some(None));
        assert_eq!(read("1.5"), None);
        assert_eq!(read("\"1\""), None);
    }

    #[test]
    fn ids_have_one_spelling() {
        assert_eq!(parse_id("42"), Some(42));
        for wrong in ["", "0", "-1", "+1", "042", "1.0", "1e3", "９", "9223372036854775808", "a"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }
}
