//! The names of rows, and their natural order.

use std::cmp::Ordering;
use std::fmt;

use crate::text::{TextError, fold, shown_line};

/// The name of a row: a number (`12`), letters (`AA`) or words (`Loge 3`), of 1 to 20 characters.
///
/// The order is the natural one: numbers, then letters, then words. Numbers are compared by value, so 2 comes before 10. Letters are one to
/// three capital letters, and shorter ones come first, so Z comes before AA. Words are compared without case, and numbers in them by value,
/// so Loge 2 comes before Loge 10. Names that are still equal are compared as text, so that the order is total.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RowName(String);

/// The kinds of names, in their order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Number,
    Letters,
    Words,
}

/// A part of a name.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Chunk<'name> {
    /// Digits without leading zeros. The longer number is the greater one.
    Number(usize, &'name str),
    Text(&'name str),
}

impl RowName {
    /// The maximum number of characters.
    pub const LENGTH_MAX: usize = 20;

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        shown_line(text, 1, Self::LENGTH_MAX).map(Self)
    }

    /// Returns the letters of the row with this index: `A` is 0, `Z` 25, `AA` 26.
    pub fn letters(index: u16) -> Self {
        let mut letters = Vec::new();
        let mut rest = u32::from(index) + 1;
        while rest > 0 {
            rest -= 1;
            letters.push(char::from_u32(u32::from('A') + rest % 26).unwrap_or('A'));
            rest /= 26;
        }
        Self(letters.into_iter().rev().collect())
    }

    /// Returns the number of a row as its name.
    pub fn number(number: u16) -> Self {
        Self(number.to_string())
    }

    /// Returns the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether people cannot tell the names apart: they are equal except for case or leading zeros.
    pub fn is_like(&self, other: &Self) -> bool {
        self.natural_cmp(other).is_eq() || fold(&self.0) == fold(&other.0)
    }

    fn kind(&self) -> Kind {
        let bytes = self.0.as_bytes();
        if bytes.iter().all(u8::is_ascii_digit) {
            Kind::Number
        } else if bytes.len() <= 3 && bytes.iter().all(u8::is_ascii_uppercase) {
            Kind::Letters
        } else {
            Kind::Words
        }
    }

    fn natural_cmp(&self, other: &Self) -> Ordering {
        let kind = self.kind();
        kind.cmp(&other.kind()).then_with(|| match kind {
            Kind::Number => Chunk::number(&self.0).cmp(&Chunk::number(&other.0)),
            Kind::Letters => (self.0.len(), &self.0).cmp(&(other.0.len(), &other.0)),
            Kind::Words => chunks(&fold(&self.0)).cmp(chunks(&fold(&other.0))),
        })
    }
}

impl<'name> Chunk<'name> {
    fn number(digits: &'name str) -> Self {
        let digits = digits.trim_start_matches('0');
        Self::Number(digits.len(), digits)
    }
}

/// Splits a name at the borders of its numbers.
fn chunks(name: &str) -> impl Iterator<Item = Chunk<'_>> {
    let mut rest = name;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let is_number = first.is_ascii_digit();
        let end = rest.find(|character: char| character.is_ascii_digit() != is_number).unwrap_or(rest.len());
        let (chunk, after) = rest.split_at_checked(end)?;
        rest = after;
        Some(if is_number { Chunk::number(chunk) } else { Chunk::Text(chunk) })
    })
}

impl Ord for RowName {
    fn cmp(&self, other: &Self) -> Ordering {
        // Most compared seats are in one row.
        if self.0 == other.0 { Ordering::Equal } else { self.natural_cmp(other).then_with(|| self.0.cmp(&other.0)) }
    }
}

impl PartialOrd for RowName {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl fmt::Display for RowName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl PartialEq<str> for RowName {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for RowName {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> RowName {
        RowName::parse(text).unwrap()
    }

    #[test]
    fn names_are_in_natural_order() {
        let ordered = [
            "0",
            "01",
            "1",
            "2",
            "10",
            "100",
            "99999999999999999999",
            "A",
            "B",
            "Z",
            "AA",
            "AB",
            "ZZ",
            "AAA",
            "1A",
            "2A",
            "10A",
            "a",
            "AAAA",
            "Balcony A",
            "balcony A",
            "Balcony B",
            "Box 9",
            "Loge",
            "Loge 02",
            "Loge 2",
            "Loge 3",
            "Loge 10",
            "Loge 10a",
            "Éa",
            "Ложа 2",
            "Ложа 10",
        ];
        let names: Vec<_> = ordered.into_iter().map(name).collect();
        let mut sorted = names.clone();
        sorted.reverse();
        sorted.sort();
        assert_eq!(sorted, names);
    }

    #[test]
    fn former_names_keep_their_order() {
        let letters: Vec<_> = (0..1_000).map(|index| RowName::letters(index).as_str().to_owned()).collect();
        let mut before = letters.clone();
        before.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        assert_eq!(letters, before);
        let mut now: Vec<_> = letters.iter().rev().map(|text| name(text)).collect();
        now.sort();
        assert_eq!(now.iter().map(RowName::as_str).collect::<Vec<_>>(), before);
        let some = [0, 25, 26, 27, 701, 702].map(|index| RowName::letters(index).to_string());
        assert_eq!(some, ["A", "Z", "AA", "AB", "ZZ", "AAA"]);
        assert_eq!(RowName::number(12), name("12"));
    }

    #[test]
    fn names_are_lines_of_at_most_twenty_characters() {
        assert_eq!(name(" Loge 3 "), "Loge 3");
        assert_eq!(RowName::parse(" "), Err(TextError::TooShort { min: 1 }));
        assert_eq!(RowName::parse(&"Я".repeat(21)), Err(TextError::TooLong { max: 20 }));
        assert_eq!(name(&"Я".repeat(20)).as_str().chars().count(), 20);
        assert_eq!(RowName::parse("A\nB"), Err(TextError::ControlCharacter));
        assert!(RowName::parse("A\u{202e}B").is_err());
    }

    #[test]
    fn names_that_look_alike_are_recognised() {
        for (a, b) in [("1", "01"), ("Loge 3", "LOGE 3"), ("Loge 3", "Loge 03"), ("a", "A"), ("Straße", "STRASSE")] {
            assert!(name(a).is_like(&name(b)), "{a} {b}");
        }
        for (a, b) in [("1", "10"), ("A", "AA"), ("Loge 3", "Loge 4"), ("1", "1A")] {
            assert!(!name(a).is_like(&name(b)), "{a} {b}");
        }
    }

    proptest! {
        #[test]
        fn the_order_is_total(texts in prop::collection::vec("[0-2aAbB ]{1,4}|[A-B]{1,4}|[0-2]{1,3}", 3)) {
            let names: Vec<_> = texts.iter().filter_map(|text| RowName::parse(text).ok()).collect();
            let [a, b, c] = names.as_slice() else { return Ok(()) };
            prop_assert_eq!(a.cmp(b), b.cmp(a).reverse());
            prop_assert_eq!(a == b, a.cmp(b).is_eq());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
