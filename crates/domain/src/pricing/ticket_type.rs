//! Ticket types: adult, child, and others.

use std::borrow::{Borrow, Cow};
use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::ids::TicketTypeId;
use crate::text::{TextError, shown_line};

/// The code of a ticket type, like `adult` or `child`: 1 to 30 characters of `a-z`, `0-9` and `_`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TicketTypeCode(Cow<'static, str>);

/// The error for an invalid code.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a ticket type's code has 1 to 30 characters, each a to z, 0 to 9 or _")]
pub struct TicketTypeCodeError;

impl TicketTypeCode {
    /// The default ticket type. It always exists.
    pub const ADULT: Self = Self(Cow::Borrowed("adult"));
    /// The maximum length.
    pub const MAX: usize = 30;

    /// Parses a code.
    pub fn parse(text: &str) -> Result<Self, TicketTypeCodeError> {
        // The default is not allocated: nearly all seats of a batch have it.
        if text == Self::ADULT.as_str() {
            return Ok(Self::ADULT);
        }
        let is_known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        let fits = (1..=Self::MAX).contains(&text.len()) && text.bytes().all(is_known);
        if fits { Ok(Self(Cow::Owned(text.to_owned()))) } else { Err(TicketTypeCodeError) }
    }

    /// Returns the code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it is the default ticket type.
    pub fn is_adult(&self) -> bool {
        *self == Self::ADULT
    }
}

impl Default for TicketTypeCode {
    fn default() -> Self {
        Self::ADULT
    }
}

impl Borrow<str> for TicketTypeCode {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Debug for TicketTypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for TicketTypeCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Returns whether `text` has the form of a language tag (BCP 47): subtags of 1 to 8 letters or digits, separated by hyphens, the first of
/// 2 to 8 letters; at most 35 characters.
pub fn is_language_tag(text: &str) -> bool {
    /// The length that RFC 5646 (4.4.1) recommends to support.
    const MAX: usize = 35;
    let mut subtags = text.split('-');
    let is_language =
        |first: &str| (2..=8).contains(&first.len()) && first.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_subtag =
        |subtag: &str| (1..=8).contains(&subtag.len()) && subtag.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text.len() <= MAX && subtags.next().is_some_and(is_language) && subtags.all(is_subtag)
}

/// The names of a ticket type: one for each language tag. At least one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketTypeNames(BTreeMap<String, String>);

/// The reason why names are invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TicketTypeError {
    #[error("a ticket type has a name in at least one language")]
    NoName,
    #[error("a ticket type has names in at most {max} languages")]
    TooManyNames {
        /// The maximum.
        max: usize,
    },
    #[error("{tag:?} is not a language tag like en or pt-BR")]
    NotALanguage { tag: String },
    #[error("there are two names for the language {tag}")]
    RepeatedLanguage { tag: String },
    #[error("the name in {tag} {error}")]
    Name { tag: String, error: TextError },
}

impl TicketTypeNames {
    /// The maximum length of a name.
    pub const NAME_MAX: usize = 50;
    /// The maximum number of languages. More are a mistake: no theatre has so many.
    pub const LANGUAGES_MAX: usize = 20;
    /// The language of callers who ask for none.
    pub const DEFAULT_LANGUAGE: &'static str = "en";

    /// Parses names. Tags are compared without case, and kept in lower case.
    pub fn parse(names: impl IntoIterator<Item = (String, String)>) -> Result<Self, TicketTypeError> {
        let mut parsed = BTreeMap::new();
        for (tag, name) in names {
            if !is_language_tag(&tag) {
                return Err(TicketTypeError::NotALanguage { tag });
            }
            let name = shown_line(&name, 1, Self::NAME_MAX)
                .map_err(|error| TicketTypeError::Name { tag: tag.clone(), error })?;
            if parsed.insert(tag.to_ascii_lowercase(), name).is_some() {
                return Err(TicketTypeError::RepeatedLanguage { tag });
            }
            if parsed.len() > Self::LANGUAGES_MAX {
                return Err(TicketTypeError::TooManyNames { max: Self::LANGUAGES_MAX });
            }
        }
        if parsed.is_empty() { Err(TicketTypeError::NoName) } else { Ok(Self(parsed)) }
    }

    /// Returns the names by language tag.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(tag, name)| (tag.as_str(), name.as_str()))
    }

    /// Returns the name in the first of these languages that has one; otherwise the one in English; otherwise the first one by tag.
    ///
    /// A language is looked up by RFC 4647 (3.4): `de-AT` finds a name in `de-at`, then one in `de`.
    pub fn in_language<'a>(&self, languages: impl IntoIterator<Item = &'a str>) -> &str {
        let found = languages.into_iter().find_map(|language| self.lookup(language));
        found
            .or_else(|| self.lookup(Self::DEFAULT_LANGUAGE))
            .or_else(|| self.0.values().next().map(String::as_str))
            // Infallible: there is at least one name.
            .unwrap_or_default()
    }

    fn lookup(&self, language: &str) -> Option<&str> {
        let language = language.to_ascii_lowercase();
        let mut range = language.as_str();
        loop {
            if let Some(name) = self.0.get(range) {
                return Some(name);
            }
            // A single letter or digit begins an extension, and is removed together with it.
            range = range.rsplit_once('-')?.0;
            while let Some((rest, single)) = range.rsplit_once('-').filter(|(_, last)| last.len() == 1) {
                debug_assert_eq!(single.len(), 1);
                range = rest;
            }
        }
    }
}

/// A ticket type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketType {
    /// `None` until it is stored.
    pub id: Option<TicketTypeId>,
    pub code: TicketTypeCode,
    pub names: TicketTypeNames,
    /// Whether the visitor must show a proof at the entrance, like a student card.
    pub needs_proof: bool,
    /// The position in lists. Types of the same position are ordered by code.
    pub position: i32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[(&str, &str)]) -> Result<TicketTypeNames, TicketTypeError> {
        TicketTypeNames::parse(names.iter().map(|(tag, name)| ((*tag).to_owned(), (*name).to_owned())))
    }

    #[test]
    fn a_code_has_1_to_30_lower_case_letters_digits_and_underscores() {
        for code in ["adult", "child", "student_26", "_", &"x".repeat(30)] {
            assert_eq!(TicketTypeCode::parse(code).unwrap().as_str(), code);
        }
        for wrong in ["", "Adult", "a b", "a-b", "ä", &"x".repeat(31)] {
            assert_eq!(TicketTypeCode::parse(wrong), Err(TicketTypeCodeError), "{wrong}");
        }
    }

    #[test]
    fn adult_is_the_default_code() {
        assert_eq!(TicketTypeCode::parse("adult"), Ok(TicketTypeCode::ADULT));
        assert_eq!(TicketTypeCode::default(), TicketTypeCode::ADULT);
        assert!(TicketTypeCode::ADULT.is_adult() && !TicketTypeCode::parse("child").unwrap().is_adult());
    }

    #[test]
    fn language_tags_have_the_form_of_bcp_47() {
        for tag in ["en", "de-AT", "zh-Hant-TW", "sl-rozaj-biske", "de-u-co-phonebk", "en-1994"] {
            assert!(is_language_tag(tag), "{tag}");
        }
        for wrong in ["", "e", "en-", "-en", "en_US", "1en", "en-toolongsubtag", "*", "ñu", &"en-".repeat(20)] {
            assert!(!is_language_tag(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_found_in_the_first_language_that_has_one() {
        let names =
            names(&[("en", "Adult"), ("de", "Erwachsene"), ("de-AT", "Vollpreis"), ("pt-BR", "Inteira")]).unwrap();
        assert_eq!(names.in_language(["de-AT"]), "Vollpreis");
        assert_eq!(names.in_language(["de-CH"]), "Erwachsene");
        assert_eq!(names.in_language(["DE-u-co-phonebk"]), "Erwachsene");
        assert_eq!(names.in_language(["fr", "pt-br"]), "Inteira");
        assert_eq!(names.in_language(["fr"]), "Adult");
        assert_eq!(names.in_language([]), "Adult");
    }

    #[test]
    fn a_name_in_the_first_language_stands_in_for_english() {
        let names = names(&[("fr", "Adulte"), ("de", "Erwachsene")]).unwrap();
        assert_eq!(names.in_language(["ja"]), "Erwachsene");
    }

    #[test]
    fn names_are_shown_lines_one_for_each_language() {
        assert_eq!(names(&[]), Err(TicketTypeError::NoName));
        assert_eq!(names(&[("english!", "A")]), Err(TicketTypeError::NotALanguage { tag: "english!".into() }));
        assert_eq!(names(&[("en", "A"), ("EN", "B")]), Err(TicketTypeError::RepeatedLanguage { tag: "EN".into() }));
        let blank = names(&[("en", " ")]);
        assert!(matches!(blank, Err(TicketTypeError::Name { .. })), "{blank:?}");
        assert!(names(&[("en", &"x".repeat(51))]).is_err());
        let many = (0..=20).map(|number| (format!("en-x{number}"), "A".to_owned()));
        assert_eq!(TicketTypeNames::parse(many), Err(TicketTypeError::TooManyNames { max: 20 }));
    }
}
