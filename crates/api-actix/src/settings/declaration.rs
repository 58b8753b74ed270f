//! The `settings!` macro, and what the text of a setting may be.

use std::borrow::Cow;
use std::time::Duration;

use humantime::parse_duration;
use secrecy::SecretString;

use crate::settings::mistakes::Mistakes;
use crate::settings::sources::Given;

/// A setting, for lists of them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Setting {
    /// The name in the environment.
    pub name: &'static str,
    /// The heading of the list that it belongs to.
    pub group: &'static str,
    /// The default as text; empty without a default.
    pub default: &'static str,
    /// The texts that are allowed, as the end of a sentence: `1 to 64`.
    pub allowed: Cow<'static, str>,
    /// Its effect, in sentences.
    pub help: &'static str,
    /// When its value may be shown.
    pub shown: Shown,
}

/// When the value of a setting may be shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Shown {
    /// In the report of a mistake, and by `check-config`.
    Always,
    /// By `check-config` only: a value that is refused may hold a secret, a value that is accepted does not.
    OnceChecked,
    /// Never.
    Never,
}

/// Returns `None` for a text that is not allowed.
type Parse<T> = dyn Fn(&str) -> Option<T>;

/// Reads the text of a setting. Text that is missing is read as empty text.
pub(super) struct Parser<T> {
    allowed: Cow<'static, str>,
    shown: Shown,
    parse: Box<Parse<T>>,
}

impl<T: 'static> Parser<T> {
    /// Returns a parser of what `allowed` describes. `parse` returns `None` for other text.
    pub fn new(allowed: impl Into<Cow<'static, str>>, parse: impl Fn(&str) -> Option<T> + 'static) -> Self {
        Self { allowed: allowed.into(), shown: Shown::Always, parse: Box::new(parse) }
    }

    /// Describes what is allowed in other words.
    pub fn allowed(self, allowed: &'static str) -> Self {
        Self { allowed: allowed.into(), ..self }
    }

    pub fn shown(self, shown: Shown) -> Self {
        Self { shown, ..self }
    }

    /// Accepts a missing setting.
    pub fn optional(self) -> Parser<Option<T>> {
        let Self { allowed, shown, parse } = self;
        let parse = move |text: &str| if text.is_empty() { Some(None) } else { parse(text).map(Some) };
        Parser { allowed, shown, parse: Box::new(parse) }
    }
}

/// Any text. Its meaning is checked together with other settings.
pub(super) fn text(allowed: &'static str) -> Parser<String> {
    Parser::new(allowed, |text| Some(text.to_owned()))
}

/// Text that is never shown.
pub(super) fn secret(allowed: &'static str) -> Parser<SecretString> {
    Parser::new(allowed, |text| Some(text.into())).shown(Shown::Never)
}

/// Returns a whole number.
pub(super) fn integer<T: TryFrom<u64> + 'static>(min: u64, max: u64) -> Parser<T> {
    Parser::new(format!("{min} to {max}"), move |text| {
        let number: u64 = text.parse().ok()?;
        if (min..=max).contains(&number) { number.try_into().ok() } else { None }
    })
}

/// Returns a time. A number without a unit is seconds.
pub(super) fn duration(allowed: &'static str, min: Duration, max: Duration) -> Parser<Duration> {
    Parser::new(allowed, move |text| {
        let parsed = text.parse().map(Duration::from_secs).ok().or_else(|| parse_duration(text).ok())?;
        (min..=max).contains(&parsed).then_some(parsed)
    })
}

/// Returns one of several words, each with its meaning.
pub(super) fn choice<T: Copy + 'static, const N: usize>(choices: [(&'static str, T); N]) -> Parser<T> {
    Parser::new(choices.map(|(word, _)| word).join(" or "), move |text| {
        choices.iter().find(|(word, _)| *word == text).map(|(_, meaning)| *meaning)
    })
}

/// Describes a setting by what its declaration says.
pub(super) fn setting<T>(
    name: &'static str,
    group: &'static str,
    default: &'static str,
    help: &'static str,
    parser: &Parser<T>,
) -> Setting {
    Setting { name, group, default, allowed: parser.allowed.clone(), help: help.trim(), shown: parser.shown }
}

/// Reads a setting: the given text, else the default. A mistake in the given text is reported, and the default stands in for it while
/// the other settings are checked. `None` if the default itself is wrong.
pub(super) fn read<T>(
    name: &'static str,
    default: &'static str,
    parser: &Parser<T>,
    given: &Given,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let text = given.text(name).unwrap_or(default);
    (parser.parse)(text).or_else(|| {
        mistakes.refuse(name, text);
        (parser.parse)(default)
    })
}

/// Declares the settings: `struct Values` with a field for each, and [`SETTINGS`](super::SETTINGS), which lists them. The doc comment of a
/// setting is its help. A field without `pub` is for `combined.rs` alone.
macro_rules! settings {
    ($($group:literal: {$(
        $(#[doc = $help:literal])+
        $name:ident as $visibility:vis $field:ident: $type:ty = $parser:expr $(, default $default:literal)?;
    )+})+) => {
        /// The values of the settings, each checked by itself.
        #[derive(Clone, Debug)]
        pub struct Values {$($(
            $(#[doc = $help])+
            $visibility $field: $type,
        )+)+}

        impl Values {
            /// Reads every setting. `None` after a mistake that leaves a setting without a value.
            fn read(given: &Given, mistakes: &mut Mistakes) -> Option<Self> {
                $($(
                    let $field = read(stringify!($name), concat!($($default)?), &$parser, given, mistakes);
                )+)+
                Some(Self {$($( $field: $field?, )+)+})
            }
        }

        /// Every setting, in the order of its declaration.
        pub static SETTINGS: LazyLock<Vec<Setting>> = LazyLock::new(|| vec![$($(
            setting::<$type>(stringify!($name), $group, concat!($($default)?), concat!($($help),+), &$parser),
        )+)+]);
    };
}
pub(super) use settings;
