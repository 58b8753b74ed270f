//! User-supplied text: validation and comparison.

mod characters;

use caseless::Caseless as _;
use thiserror::Error;
use unicode_normalization::UnicodeNormalization as _;

use self::characters::{first_misplaced, is_hidden, is_unassigned, is_visible};

/// The reason why a text was refused. Lengths are counted in Unicode code points.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TextError {
    #[error("must have at least {min} characters")]
    TooShort {
        /// The minimum number of characters.
        min: usize,
    },
    #[error("must have at most {max} characters")]
    TooLong {
        /// The maximum number of characters.
        max: usize,
    },
    /// The text contains a control character, such as NUL, or a line break.
    #[error("must not contain control characters or line breaks")]
    ControlCharacter,
    /// The text contains a character that is invisible, reorders text, or has no meaning outside one system.
    #[error("must not contain U+{code:04X}, which is invisible, reorders text or has no meaning", code = u32::from(*.0))]
    HiddenCharacter(char),
    /// The text has no visible character.
    #[error("must have a visible character")]
    Blank,
    #[error("must be an e-mail address, like ana@example.org")]
    NotAnEmail,
}

/// Checks that `text` has `min` to `max` characters.
pub fn check_length(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    // A code point has at most four bytes, so a very long text need not be counted to its end.
    let characters = if text.len() > max.saturating_mul(4) { max + 1 } else { text.chars().count() };
    match characters {
        short if short < min => Err(TextError::TooShort { min }),
        long if long > max => Err(TextError::TooLong { max }),
        _ => Ok(()),
    }
}

/// Returns whether a character is a control character or ends a line.
fn is_control(character: char) -> bool {
    character.is_control() || is_line_separator(character)
}

fn is_line_separator(character: char) -> bool {
    matches!(character, '\u{2028}' | '\u{2029}')
}

/// Checks a line of text that is only compared: `min` to `max` characters, no control characters or line breaks.
pub fn check_line(text: &str, min: usize, max: usize) -> Result<(), TextError> {
    check_length(text, min, max)?;
    if text.chars().any(is_control) { Err(TextError::ControlCharacter) } else { Ok(()) }
}

/// Removes white space around `text`, except for line and paragraph separators: these are not typed by accident, so the check that follows
/// reports them.
pub fn trim(text: &str) -> &str {
    text.trim_matches(|character: char| character.is_whitespace() && !is_line_separator(character))
}

/// Parses a line of text that is stored and shown: surrounding white space removed, in Unicode normalization form C, `min` to `max`
/// characters, at least one of them visible, no control characters or line breaks, and no hidden characters.
///
/// Hidden characters are default-ignorable characters, bidirectional controls, blank letters, private-use characters and noncharacters.
/// Joiners and variation selectors are accepted where they change what is shown: U+200C in Persian, U+200D in an emoji, but neither in `an`
/// U+200D `a`, nor at an end. Unassigned characters are accepted, because a later version of Unicode may assign them.
pub fn shown_line(text: &str, min: usize, max: usize) -> Result<String, TextError> {
    let text = trim(text);
    // In form C, a character is composed of at most four.
    check_length(text, 0, max.saturating_mul(4)).map_err(|_| TextError::TooLong { max })?;
    let text: String = text.nfc().collect();
    check_line(&text, min, max)?;
    if let Some(character) = first_misplaced(&text) {
        return Err(TextError::HiddenCharacter(character));
    }
    if min > 0 && !text.chars().any(is_visible) { Err(TextError::Blank) } else { Ok(text) }
}

/// Parses a text of several lines that is stored and shown: `min` to `max` characters under the rules of [`shown_line`] for each line. Lines
/// end in U+000A; white space at their ends is removed.
pub fn shown_text(text: &str, min: usize, max: usize) -> Result<String, TextError> {
    check_length(text, 0, max.saturating_mul(4)).map_err(|_| TextError::TooLong { max })?;
    let lines: Result<Vec<_>, _> = trim(text).lines().map(|line| shown_line(line, 0, max)).collect();
    let text = lines?.join("\n");
    check_length(&text, min, max)?;
    if min > 0 && !text.chars().any(is_visible) { Err(TextError::Blank) } else { Ok(text) }
}

/// A line of text of `MIN` to `MAX` characters that is stored and shown, under the rules of [`shown_line`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Line<const MIN: usize, const MAX: usize>(String);

impl<const MIN: usize, const MAX: usize> Line<MIN, MAX> {
    /// Parses a line.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        shown_line(text, MIN, MAX).map(Self)
    }

    /// Returns the line.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a line that a store has kept.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

impl<const MAX: usize> Default for Line<0, MAX> {
    fn default() -> Self {
        Self(String::new())
    }
}

/// A text of at most `MAX` characters, possibly of several lines, under the rules of [`shown_text`].
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Prose<const MAX: usize>(String);

impl<const MAX: usize> Prose<MAX> {
    /// Parses a text.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        shown_text(text, 0, MAX).map(Self)
    }

    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns a text that a store has kept.
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// Checks that `text` can serve as an identifier that people type: no hidden characters at any position, and no unassigned ones, because a
/// later version of Unicode may compare them differently.
pub fn check_typeable(text: &str) -> Result<(), TextError> {
    let wrong = text.chars().find(|character| is_hidden(*character) || is_unassigned(*character));
    wrong.map_or(Ok(()), |character| Err(TextError::HiddenCharacter(character)))
}

/// Prepares a password by the OpaqueString profile (RFC 8265, 4.2): other spaces become U+0020, and the text is in Unicode normalization
/// form C, so that it does not depend on the keyboard. Case and width are kept. Unlike the profile, this accepts any character, including
/// control characters.
pub fn opaque(text: &str) -> String {
    let is_other_space = |character: char| character.is_whitespace() && !character.is_ascii() && !is_control(character);
    text.chars().map(|character| if is_other_space(character) { ' ' } else { character }).nfc().collect()
}

/// Folds `text` for comparison: two texts that differ only in case, in any script, or in the encoding of their accents fold to the same
/// text. By Unicode's default caseless matching (The Unicode Standard, 3.13, D145).
///
/// Stores keep the folded text in a separate column, because databases fold differently, or only ASCII.
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
    fn passwords_are_prepared_by_the_opaque_string_profile() {
        for (typed, prepared) in [
            ("passwo\u{308}rt", "passw\u{f6}rt"),
            ("\u{1112}\u{1161}\u{11ab}", "\u{d55c}"),
            ("\u{212b}", "\u{c5}"),
            ("a\u{a0}b\u{3000}c\u{2000}d\u{1680}", "a b c d "),
            ("  spaces  ", "  spaces  "),
            // Neither case nor width is mapped, and no character is removed.
            ("Ｐａｓｓ Pass ﬁ", "Ｐａｓｓ Pass ﬁ"),
            ("a\0\t\n\u{85}\u{2028}\u{200b}\u{ad}", "a\0\t\n\u{85}\u{2028}\u{200b}\u{ad}"),
        ] {
            assert_eq!(opaque(typed), prepared, "{typed:?}");
            assert_eq!(opaque(prepared), prepared, "{prepared:?}");
        }
    }

    #[test]
    fn shown_lines_are_normalised_before_they_are_measured() {
        assert_eq!(shown_line(" Ame\u{301}lie ", 1, 6).as_deref(), Ok("Am\u{e9}lie"));
        assert_eq!(shown_line("Ame\u{301}lies", 1, 6), Err(TextError::TooLong { max: 6 }));
        assert_eq!(shown_line("", 0, 6).as_deref(), Ok(""));
        assert_eq!(shown_line(&format!("{}Ana", " ".repeat(1_000)), 1, 6).as_deref(), Ok("Ana"));
        assert_eq!(shown_line(&"x".repeat(1_000_000), 1, 6), Err(TextError::TooLong { max: 6 }));
    }

    #[test]
    fn texts_keep_their_lines() {
        assert_eq!(shown_text(" One\r\n\n  two \n", 1, 20).as_deref(), Ok("One\n\ntwo"));
        assert_eq!(shown_text("", 0, 20).as_deref(), Ok(""));
        assert_eq!(shown_text("a\tb", 0, 20), Err(TextError::ControlCharacter));
        assert_eq!(shown_text("a\u{200b}b", 0, 20), Err(TextError::HiddenCharacter('\u{200b}')));
        assert_eq!(shown_text(&"ab\n".repeat(7), 0, 19), Err(TextError::TooLong { max: 19 }));
        assert_eq!(shown_text(&"x".repeat(1_000_000), 0, 5), Err(TextError::TooLong { max: 5 }));
    }

    #[test]
    fn shown_lines_have_something_to_show() {
        for blank in ["\u{301}", "\u{301} \u{301}", "\u{20dd}"] {
            assert_eq!(shown_line(blank, 1, 100), Err(TextError::Blank), "{blank:?}");
        }
        for empty in ["", "  ", "\u{a0}\u{3000}"] {
            assert_eq!(shown_line(empty, 1, 100), Err(TextError::TooShort { min: 1 }), "{empty:?}");
        }
    }

    #[test]
    fn line_separators_are_reported_even_at_the_ends() {
        for wrong in ["Ana\u{2028}", "\u{2029}Ana", "A\u{2028}na"] {
            assert_eq!(shown_line(wrong, 1, 100), Err(TextError::ControlCharacter), "{wrong:?}");
        }
        assert_eq!(shown_line("\u{3000}Ana\r\n", 1, 100).as_deref(), Ok("Ana"));
    }

    #[test]
    fn a_line_has_no_control_characters() {
        for wrong in ["a\0b", "a\nb", "a\u{7f}b", "a\u{85}b", "a\u{2028}b", "a\u{2029}b"] {
            assert_eq!(check_line(wrong, 1, 100), Err(TextError::ControlCharacter), "{wrong:?}");
        }
    }
}
