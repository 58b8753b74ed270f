//! The mistakes in the settings.

use thiserror::Error;

use crate::settings::declaration::Shown;
use crate::settings::known;
use crate::settings::sources::{Given, Source};

/// Every mistake in the settings, one line each.
#[derive(Debug, PartialEq, Eq, Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigErrors(pub Vec<String>);

/// The mistakes found so far.
#[derive(Default)]
pub(super) struct Mistakes(Vec<Mistake>);

struct Mistake {
    /// The setting, unless a whole file is wrong.
    setting: Option<&'static str>,
    text: String,
}

impl Mistakes {
    /// Adds a mistake in a setting. The text begins with its name.
    pub fn add(&mut self, setting: &'static str, text: String) {
        self.0.push(Mistake { setting: Some(setting), text });
    }

    /// Adds a mistake in a file, or in a part of it that is not a setting.
    pub fn add_unnamed(&mut self, text: String) {
        self.0.push(Mistake { setting: None, text });
    }

    /// Adds that the text of a setting is not allowed.
    pub fn refuse(&mut self, name: &'static str, text: &str) {
        let Some(setting) = known(name) else { return };
        let shown = if setting.shown == Shown::Always { text } else { "what was given" };
        self.add(name, format!("{name} is {shown}, but must be {}.", setting.allowed));
    }

    /// Returns whether there is a mistake in this setting.
    pub fn concern(&self, name: &str) -> bool {
        self.0.iter().any(|mistake| mistake.setting == Some(name))
    }

    /// Returns the mistakes as lines, each with the file and the line that the setting comes from; `None` if there are none.
    pub fn into_errors(self, given: &Given) -> Option<ConfigErrors> {
        let located = self.0.into_iter().map(|Mistake { setting, text }| {
            match setting.and_then(|setting| given.source(setting)) {
                Some(source @ Source::Line { .. }) => format!("{text} ({source})"),
                Some(Source::Environment) | None => text,
            }
        });
        let errors: Vec<_> = located.collect();
        (!errors.is_empty()).then_some(ConfigErrors(errors))
    }
}
