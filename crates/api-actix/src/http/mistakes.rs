//! The mistakes of a request, all of them, not only the first.

use domain::text::TextError;

use super::problem::{FieldError, Problem};

/// What is wrong with one field: a code for programs, and a predicate for people.
pub struct Mistake {
    pub code: &'static str,
    pub message: String,
}

impl Mistake {
    /// Returns a mistake, like `("required", "is required")`.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<TextError> for Mistake {
    fn from(error: TextError) -> Self {
        let code = match error {
            TextError::TooShort { .. } | TextError::Blank => "too_short",
            TextError::TooLong { .. } => "too_long",
            TextError::ControlCharacter | TextError::HiddenCharacter(_) => "invalid_character",
            TextError::NotAnEmail => "invalid",
        };
        Self::new(code, error.to_string())
    }
}

/// The mistakes found so far.
#[derive(Default)]
pub struct Mistakes(Vec<FieldError>);

impl Mistakes {
    /// Adds a mistake of a field.
    pub fn add(&mut self, field: impl Into<String>, mistake: Mistake) {
        self.0.push(FieldError { field: field.into(), code: mistake.code, message: mistake.message });
    }

    /// Returns the value, or records why there is none.
    pub fn take<T>(&mut self, field: &str, read: Result<T, Mistake>) -> Option<T> {
        read.map_err(|mistake| self.add(field, mistake)).ok()
    }

    /// Returns what was read if there is no mistake.
    pub fn finish<T>(self, read: Option<T>) -> Result<T, Problem> {
        match read {
            _ if !self.0.is_empty() => Err(Problem::fields(self.0)),
            Some(read) => Ok(read),
            None => Err(Problem::internal("a field was not read, and no mistake was recorded")),
        }
    }
}
