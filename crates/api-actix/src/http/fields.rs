//! Reading the members of a body and the parameters of a query: every mistake is told, not only the first.

use std::collections::HashMap;

use actix_web::web;
use chrono::{DateTime, NaiveDate, Utc};
use domain::page::{PageLimit, PageRequest};
use domain::text::TextError;
use serde_json::{Map, Value};

use crate::http::cursor::Cursor;
use crate::http::problem::{FieldError, Problem};

/// The mistakes so far.
#[derive(Default)]
pub struct Mistakes(Vec<FieldError>);

impl Mistakes {
    /// Adds a mistake.
    pub fn add(&mut self, field: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), code, message: message.into() });
    }

    fn add_text(&mut self, field: &str, error: &TextError) {
        let code = match error {
            TextError::TooShort { .. } => "too_short",
            TextError::TooLong { .. } => "too_long",
            TextError::ControlCharacter | TextError::HiddenCharacter(_) => "invalid_character",
            TextError::Blank => "too_short",
            TextError::NotAnEmail => "invalid",
        };
        self.add(field, code, error.to_string());
    }
}

/// The members of a body. Those that are not asked for are ignored; `null` is as if it were not there.
pub struct Fields {
    members: Map<String, Value>,
    mistakes: Mistakes,
}

impl Fields {
    /// The members of a JSON object; anything else is a mistake.
    pub fn of(body: Value) -> Result<Self, Problem> {
        match body {
            Value::Object(members) => Ok(Self { members, mistakes: Mistakes::default() }),
            _ => Err(Problem::field("body", "wrong_type", "must be a JSON object")),
        }
    }

    /// The mistakes, to add others.
    pub fn mistakes(&mut self) -> &mut Mistakes {
        &mut self.mistakes
    }

    /// Whether a member is there.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// A text that must be there, parsed.
    pub fn text<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, TextError>) -> Option<T> {
        match self.members.get(name) {
            None | Some(Value::Null) => self.mistakes.add(name, "required", "is required"),
            Some(Value::String(text)) => match parse(text) {
                Ok(value) => return Some(value),
                Err(error) => self.mistakes.add_text(name, &error),
            },
            Some(_) => self.mistakes.add(name, "wrong_type", "must be a string"),
        }
        None
    }

    /// A text that may be there, parsed.
    pub fn text_if_given<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, TextError>) -> Option<T> {
        if self.has(name) { self.text(name, parse) } else { None }
    }

    /// An id that must be there.
    pub fn id(&mut self, name: &str) -> Option<i64> {
        match self.members.get(name) {
            None | Some(Value::Null) => {
                self.mistakes.add(name, "required", "is required");
                None
            }
            Some(value) => {
                let value = value.clone();
                self.check_id(name, &value)
            }
        }
    }

    /// A list of ids that must be there.
    pub fn ids(&mut self, name: &str) -> Option<Vec<i64>> {
        let Some(Value::Array(items)) = self.members.get(name) else {
            self.mistakes.add(name, "wrong_type", "must be a list of integers");
            return None;
        };
        let items = items.clone();
        let ids = items.iter().enumerate().map(|(at, item)| self.check_id(&format!("{name}[{at}]"), item));
        // Every item is looked at, so that every mistake is told.
        let ids: Vec<_> = ids.collect();
        ids.into_iter().collect()
    }

    /// A list of ids that must be there, told as missing if it is not.
    pub fn required_ids(&mut self, name: &str) -> Option<Vec<i64>> {
        if self.has(name) {
            return self.ids(name);
        }
        self.mistakes.add(name, "required", "is required");
        None
    }

    /// A count that must be there: an integer from 1.
    pub fn count(&mut self, name: &str) -> Option<usize> {
        self.id(name).map(|count| usize::try_from(count).unwrap_or(usize::MAX))
    }

    /// `true` or `false`, if it is there.
    pub fn flag(&mut self, name: &str) -> Option<bool> {
        let value = self.members.get(name).filter(|value| !value.is_null())?;
        let flag = value.as_bool();
        if flag.is_none() {
            self.mistakes.add(name, "wrong_type", "must be true or false");
        }
        flag
    }

    fn check_id(&mut self, field: &str, value: &Value) -> Option<i64> {
        match (value.as_i64(), value.is_u64()) {
            (Some(id), _) if id > 0 => return Some(id),
            (Some(_), _) | (None, true) => {
                self.mistakes.add(field, "out_of_range", "must be an integer from 1 to 9223372036854775807");
            }
            (None, false) => self.mistakes.add(field, "wrong_type", "must be an integer"),
        }
        None
    }

    /// The end: the mistakes, if there were any.
    pub fn finish(self) -> Result<(), Problem> {
        if self.mistakes.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.mistakes.0)) }
    }
}

/// The parameters of a query. Those that are not asked for are ignored.
pub struct Query {
    parameters: HashMap<String, Vec<String>>,
    mistakes: Mistakes,
}

impl Query {
    /// Reads a query string.
    pub fn of(text: &str) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| Problem::field("query", "invalid", "must be a query string like limit=10&cursor=…"))?;
        let mut parameters: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in pairs.into_inner() {
            parameters.entry(name).or_default().push(value);
        }
        Ok(Self { parameters, mistakes: Mistakes::default() })
    }

    fn parsed<T>(&mut self, name: &str, message: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        match self.parameters.get(name).map(Vec::as_slice) {
            None | Some([]) => {}
            Some([value]) => match parse(value) {
                Some(parsed) => return Some(parsed),
                None => self.mistakes.add(name, "invalid", message),
            },
            Some(_) => self.mistakes.add(name, "repeated", "must be given once"),
        }
        None
    }

    /// A line of text of at most 200 characters. An empty one is as if it were not there.
    pub fn text(&mut self, name: &str) -> Option<String> {
        let value = self.parsed(name, "", |text| Some(text.to_owned()))?;
        match domain::text::check_line(&value, 0, 200) {
            Ok(()) => Some(value).filter(|value| !value.is_empty()),
            Err(error) => {
                self.mistakes.add_text(name, &error);
                None
            }
        }
    }

    /// An id.
    pub fn id(&mut self, name: &str) -> Option<i64> {
        self.parsed(name, "must be an integer from 1 to 9223372036854775807", parse_id)
    }

    /// `true` or `false`; `false` if it is not there.
    pub fn flag(&mut self, name: &str) -> bool {
        self.parsed(name, "must be true or false", |text| text.parse().ok()).unwrap_or(false)
    }

    /// A day.
    pub fn date(&mut self, name: &str) -> Option<NaiveDate> {
        // Exactly ten characters: the parser alone would let +2026-1-2 pass.
        let parse = |text: &str| text.parse().ok().filter(|_| text.len() == 10 && text.is_ascii());
        self.parsed(name, "must be a date like 2026-12-24", parse)
    }

    /// An instant.
    pub fn instant(&mut self, name: &str) -> Option<DateTime<Utc>> {
        // A plus sign in a query is a space.
        let parse = |text: &str| DateTime::parse_from_rfc3339(&text.replace(' ', "+")).ok().map(|at| at.to_utc());
        self.parsed(name, "must be a time by RFC 3339, like 2026-12-24T20:15:00Z", parse)
    }

    /// One of a few words.
    pub fn one_of<T>(&mut self, name: &str, message: &str, parse: impl FnOnce(&str) -> Option<T>) -> Option<T> {
        self.parsed(name, message, parse)
    }

    /// `limit` and `cursor`.
    pub fn page<Place: Cursor>(&mut self) -> PageRequest<Place> {
        let limit =
            self.parsed("limit", "must be an integer from 1 to 100", |text| PageLimit::parse(text.parse().ok()?));
        let after = self.parsed("cursor", "must be taken from the Link header of the page before", Place::decode);
        PageRequest { limit: limit.unwrap_or(PageLimit::DEFAULT), after }
    }

    /// The end: the mistakes, if there were any.
    pub fn finish(self) -> Result<(), Problem> {
        if self.mistakes.0.is_empty() { Ok(()) } else { Err(Problem::fields(self.mistakes.0)) }
    }
}

/// An id in a path or a query: digits alone, so that each thing has one address.
pub fn parse_id(text: &str) -> Option<i64> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|id: &i64| digits && *id > 0)
}

#[cfg(test)]
mod tests {
    use domain::identity::{Email, Name};
    use serde_json::json;

    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let mut fields =
            Fields::of(json!({"name": 1, "show_id": 1.5, "seat_ids": [1, "2", -3, 18446744073709551615_u64]})).unwrap();
        fields.text("name", Name::parse);
        fields.text("email", Email::parse);
        fields.id("show_id");
        fields.ids("seat_ids");
        let codes: Vec<_> = fields.mistakes.0.iter().map(|error| (error.field.as_str(), error.code)).collect();
        assert_eq!(
            codes,
            [
                ("name", "wrong_type"),
                ("email", "required"),
                ("show_id", "wrong_type"),
                ("seat_ids[1]", "wrong_type"),
                ("seat_ids[2]", "out_of_range"),
                ("seat_ids[3]", "out_of_range"),
            ]
        );
    }

    #[test]
    fn ids_have_one_spelling() {
        assert_eq!(parse_id("42"), Some(42));
        for wrong in ["", "0", "-1", "+1", "042", "1.0", "1e3", "９", "9223372036854775808", "a"] {
            assert_eq!(parse_id(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn queries_are_read_strictly() {
        let mut query =
            Query::of("date=2026-02-30&from=2026-01-01T00:00:00%2B01:00&to=x&limit=0&theatre_id=1&theatre_id=2")
                .unwrap();
        assert_eq!(query.date("date"), None);
        assert_eq!(query.instant("from").unwrap().to_rfc3339(), "2025-12-31T23:00:00+00:00");
        assert_eq!(query.instant("to"), None);
        assert_eq!(query.id("theatre_id"), None);
        let _: PageRequest<domain::catalog::ShowCursor> = query.page();
        let fields: Vec<_> = query.mistakes.0.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, ["date", "to", "theatre_id", "limit"]);
    }
}
