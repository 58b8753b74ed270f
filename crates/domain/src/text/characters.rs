//! Characters that are not accepted in stored text, by their Unicode properties.

use icu_properties::props::{
    BidiControl, BinaryProperty as _, DefaultIgnorableCodePoint, Emoji, EmojiModifier, EnumeratedProperty as _,
    ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, IndicSyllabicCategory, JoiningType,
    NoncharacterCodePoint, PrependedConcatenationMark, UnifiedIdeograph, VariationSelector,
};

const ZERO_WIDTH_NON_JOINER: char = '\u{200C}';
const ZERO_WIDTH_JOINER: char = '\u{200D}';
/// The variation selector of emoji style.
const EMOJI_STYLE: char = '\u{FE0F}';
/// The variation selector of text style.
const TEXT_STYLE: char = '\u{FE0E}';
/// Turns a digit into a keycap emoji: `1`, emoji style, keycap.
const KEYCAP: char = '\u{20E3}';
/// Characters that show nothing, although no property says so: Braille and hieroglyphic blanks, a musical null, a Khitan filler, and the
/// object replacement character.
const BLANKS: [char; 6] = ['\u{2800}', '\u{13441}', '\u{13442}', '\u{16FE4}', '\u{1D159}', '\u{FFFC}'];

/// Returns whether a character is invisible, reorders its neighbours, breaks the line, or has no meaning outside one system.
///
/// Joiners and variation selectors are hidden too: whether they are misplaced depends on their neighbours ([`first_misplaced`]).
pub fn is_hidden(character: char) -> bool {
    let category = GeneralCategory::for_char(character);
    let is_format = category == GeneralCategory::Format && !PrependedConcatenationMark::for_char(character);
    let has_no_meaning = matches!(
        category,
        GeneralCategory::Control
            | GeneralCategory::LineSeparator
            | GeneralCategory::ParagraphSeparator
            | GeneralCategory::PrivateUse
    );
    is_format
        || has_no_meaning
        || DefaultIgnorableCodePoint::for_char(character)
        || BidiControl::for_char(character)
        || NoncharacterCodePoint::for_char(character)
        || BLANKS.contains(&character)
}

/// Returns whether a character is unassigned in this program's version of Unicode.
pub fn is_unassigned(character: char) -> bool {
    GeneralCategory::for_char(character) == GeneralCategory::Unassigned
}

/// Returns whether a character shows something by itself.
pub fn is_visible(character: char) -> bool {
    let shows = GeneralCategoryGroup::Letter
        .union(GeneralCategoryGroup::Number)
        .union(GeneralCategoryGroup::Punctuation)
        .union(GeneralCategoryGroup::Symbol);
    let category = GeneralCategory::for_char(character);
    // A character of a later version of Unicode is shown at least as a box.
    (shows.contains(category) || category == GeneralCategory::Unassigned) && !is_hidden(character)
}

/// Returns the first hidden character, except for joiners and variation selectors where they change what is shown: between the parts of an
/// emoji, between letters of a script that joins letters or forms conjuncts, and after a character that has variants.
pub fn first_misplaced(text: &str) -> Option<char> {
    let characters: Vec<_> = text.chars().collect();
    let has_place = |at: usize, character: char| {
        let (before, after) = characters.split_at_checked(at)?;
        let previous = *before.last()?;
        let next = after.get(1).copied();
        let has_place = match character {
            ZERO_WIDTH_JOINER => joins_emoji(before, next?) || joins_letters(before, next?),
            ZERO_WIDTH_NON_JOINER => joins_letters(before, next?),
            _ => VariationSelector::for_char(character) && has_variants(previous, character, next),
        };
        has_place.then_some(())
    };
    let mut hidden = characters.iter().copied().enumerate().filter(|(_, character)| is_hidden(*character));
    hidden.find(|(at, character)| has_place(*at, *character).is_none()).map(|(_, character)| character)
}

fn joins_emoji(before: &[char], next: char) -> bool {
    let decorates = |character: &&char| **character == EMOJI_STYLE || EmojiModifier::for_char(**character);
    let base = before.iter().rev().find(|character| !decorates(character));
    base.is_some_and(|base| ExtendedPictographic::for_char(*base)) && ExtendedPictographic::for_char(next)
}

fn joins_letters(before: &[char], next: char) -> bool {
    let is_plain_mark = |character: char| {
        GeneralCategory::for_char(character) == GeneralCategory::NonspacingMark && !shapes_neighbours(character)
    };
    let base = before.iter().rev().find(|character| !is_plain_mark(**character));
    base.is_some_and(|base| shapes_neighbours(*base)) && shapes_neighbours(next)
}

/// Returns whether a character belongs to a script whose letters change with their neighbours.
fn shapes_neighbours(character: char) -> bool {
    let is_of_a_word =
        GeneralCategoryGroup::Letter.union(GeneralCategoryGroup::Mark).contains(GeneralCategory::for_char(character));
    let joins = !matches!(JoiningType::for_char(character), JoiningType::NonJoining | JoiningType::Transparent);
    let conjoins = IndicSyllabicCategory::for_char(character) != IndicSyllabicCategory::Other;
    // Some Arabic letters, such as hamza, join no neighbour but occur in words whose letters join.
    is_of_a_word && (joins || conjoins || matches!(character, '\u{620}'..='\u{6FF}'))
}

fn has_variants(base: char, selector: char, next: Option<char>) -> bool {
    match selector {
        // A digit is an emoji only as a keycap.
        EMOJI_STYLE | TEXT_STYLE if base.is_ascii() => selector == EMOJI_STYLE && next == Some(KEYCAP),
        EMOJI_STYLE | TEXT_STYLE => Emoji::for_char(base),
        _ => UnifiedIdeograph::for_char(base) || shapes_neighbours(base),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_characters_are_found_by_their_properties() {
        let hidden = "\u{0}\u{7f}\u{85}\u{ad}\u{34f}\u{61c}\u{115f}\u{1160}\u{17b4}\u{17b5}\u{180e}\u{200b}\u{200e}\u{200f}\
            \u{2028}\u{2029}\u{202a}\u{202e}\u{2060}\u{2063}\u{2066}\u{2069}\u{206a}\u{2800}\u{3164}\u{e000}\u{f8ff}\u{fdd0}\
            \u{feff}\u{ffa0}\u{fff9}\u{fffc}\u{fffe}\u{13430}\u{13441}\u{16fe4}\u{1bca0}\u{1d159}\u{1d173}\u{e0001}\u{e0041}\
            \u{e007f}\u{e0fff}\u{f0000}\u{10ffff}";
        for character in hidden.chars() {
            assert!(is_hidden(character), "{character:?}");
            assert!(!is_visible(character), "{character:?}");
            assert_eq!(first_misplaced(&format!("a{character}b")), Some(character), "{character:?}");
        }
    }

    #[test]
    fn text_of_the_world_has_nothing_hidden() {
        for text in [
            "Ana Núñez",
            "O’Brien-Smith, Jr.",
            "李小龍",
            "김연아",
            "ひろし　やまだ",
            "نجيب محفوظ",
            "משה",
            "ᚁᚂ",
            "\u{600}12",
            "🎬🇵🇱👍🏽",
            "a\u{301}\u{323}",
            "\u{378}",
        ] {
            assert_eq!(first_misplaced(text), None, "{text:?}");
        }
    }

    #[test]
    fn joiners_stay_where_they_join() {
        for text in [
            "می\u{200c}خواهم",
            "جزء\u{200c}ها",
            "کتاب\u{64f}\u{200c}ها",
            "👩\u{200d}👩\u{200d}👧",
            "👩🏽\u{200d}🚀",
            "❤\u{fe0f}\u{200d}🔥",
            "श्री\u{200c}मान",
            "ශ්\u{200d}රී",
            "ক্\u{200d}ষ",
            "র\u{200d}্য",
        ] {
            assert_eq!(first_misplaced(text), None, "{text:?}");
        }
        for joiner in ['\u{200c}', '\u{200d}'] {
            for text in ["J", "aJ", "Ja", "aJb", "1J2", "a\u{301}Jb", "سJ", "Jس", "س Jس", "سJJس", "سJa", "李J李"]
            {
                let text = text.replace('J', &joiner.to_string());
                assert_eq!(first_misplaced(&text), Some(joiner), "{text:?}");
            }
        }
        for text in ["👩\u{200c}👧", "👩\u{200c}", "👩\u{200d}", "👩\u{200d}a", "👩\u{200d}\u{200d}👧"] {
            assert!(first_misplaced(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn variation_selectors_stay_after_what_has_variants() {
        for text in ["❤\u{fe0f}", "☎\u{fe0e}", "1\u{fe0f}\u{20e3}", "葛\u{e0100}城", "ᠮ\u{180b}ᠣ"] {
            assert_eq!(first_misplaced(text), None, "{text:?}");
        }
        for text in ["\u{fe0f}", "a\u{fe0f}", "1\u{fe0f}", "❤\u{fe0f}\u{fe0f}", "a\u{e0100}", "a\u{180b}", " \u{fe0f}"]
        {
            assert!(first_misplaced(text).is_some(), "{text:?}");
        }
    }

    #[test]
    fn marks_and_spaces_alone_show_nothing() {
        for character in ['a', '李', '7', '-', '🎬', '\u{378}'] {
            assert!(is_visible(character), "{character:?}");
        }
        for character in [' ', '\u{a0}', '\u{3000}', '\u{301}', '\u{20dd}', '\u{fe0f}'] {
            assert!(!is_visible(character), "{character:?}");
        }
    }
}
