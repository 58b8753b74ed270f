//! Text that people type, and how it is compared.

use caseless::Caseless as _;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;

/// Why a text was refused. Lengths count Unicode code points.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    /// Shorter than allowed.
    #[error("must have at least {min} characters")]
    TooShort {
        /// The fewest characters allowed.
        min: usize,
    },
    /// Longer than allowed.
    #[error("must have at most {max} characters")]
    TooLong {
        /// The most characters allowed.
        max: usize,
    },
    /// Has a control character in it, such as NUL or a line break.
    #[error("must not contain control characters")]
    ControlCharacter,
    /// Is not an e-mail address.
    #[error("must be an e-mail address, like ana@example.org")]
    NotAnEmail,
}

/// Checks that `text` has `min` to `max` characters.
pub fn check_length(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    // Each code point has at most four bytes: a very long text is not counted to its end.
    let characters = if text.len() > max.saturating_mul(4) { max + 1 } else { text.chars().count() };
    match characters {
        short if short < min => Err(TextError::TooShort { min }),
        long if long > max => Err(TextError::TooLong { max }),
        _ => Ok(()),
    }
}

/// Checks a line of text: `min` to `max` characters, none of them a control character.
pub fn check_line(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    check_length(text, min, max)?;
    if text.chars().any(char::is_control) { Err(TextError::ControlCharacter) } else { Ok(()) }
}

/// Folds `text` for comparison: two texts that differ only in case, in any script, or in how their
/// accents are encoded fold to the same. By Unicode's default caseless matching (The Unicode Standard, 3.13, D145).
///
/// Stores keep the folded text in a column of its own, because databases fold differently or ASCII only.
pub fn fold(text: &str) -> String {
    text.nfd().default_case_fold().nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folding_ignores_case_in_any_script() {
        for (a, b) in [
            ("Amélie", "AMÉLIE"),
            ("Ame\u{301}lie", "amélie"),
            ("STRASSE", "straße"),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς"),
            ("Сталкер", "СТАЛКЕР"),
        ] {
            assert_eq!(fold(a), fold(b), "{a} {b}");
        }
        assert_ne!(fold("Amelie"), fold("Amélie"));
    }

    #[test]
    fn lengths_count_code_points() {
        assert_eq!(check_length("日本語", 3, 3), Ok(()));
        assert_eq!(check_length("日本", 3, 3), Err(TextError::TooShort { min: 3 }));
        assert_eq!(check_length("日本語だ", 3, 3), Err(TextError::TooLong { max: 3 }));
        assert_eq!(check_length(&"x".repeat(1_000_000), 0, 100), Err(TextError::TooLong { max: 100 }));
    }

    #[test]
    fn a_line_has_no_control_characters() {
        for wrong in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b"] {
            assert_eq!(check_line(wrong, 1, 100), Err(TextError::ControlCharacter), "{wrong:?}");
        }
    }
}
