//! The files of imports and exports: a [`Document`] as TOML or JSON, which have the same members. `docs/import.md` documents them.
//!
//! Not in the domain, which knows no formats. Both the command line and the API read and write these files.

mod node;
mod read;
mod write;

use domain::transfer::{Document, ImportMistake};

use self::node::Node;

/// A format of files.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Format {
    Toml,
    Json,
}

impl Format {
    /// Returns the format of a text. A JSON document is an object, so it begins with a brace, with which no TOML document begins.
    pub fn of_text(text: &str) -> Self {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        if text.trim_start().starts_with('{') { Self::Json } else { Self::Toml }
    }
}

/// The most mistakes that are reported at once, so that the report of a wrong file stays readable.
pub const MISTAKES_MAX: usize = 500;

/// A mistake of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileMistake {
    /// The path of the value, like `theatres[0].halls[1].plan`; empty for the whole file.
    pub path: String,
    /// The line on which the value begins, from 1.
    pub line: usize,
    /// What is wrong, for programs.
    pub code: &'static str,
    /// What is wrong, for people: a predicate, like `is required`.
    pub message: String,
}

impl std::fmt::Display for FileMistake {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, line, message, .. } = self;
        let path = if path.is_empty() { "the file" } else { path };
        write!(f, "line {line}: {path} {message}")
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct CatalogFile {
    /// Its content. What is invalid is left out.
    pub document: Document,
    /// The mistakes of its values.
    pub mistakes: Vec<FileMistake>,
    root: Node,
}

impl CatalogFile {
    /// Reads a file. Returns the mistakes of its syntax, if there are any: what follows them cannot be read.
    pub fn parse(text: &str, format: Format) -> Result<Self, Vec<FileMistake>> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let root = match format {
            Format::Toml => node::from_toml(text)?,
            Format::Json => node::from_json(text)?,
        };
        let (document, mistakes) = read::document(&root);
        Ok(Self { document, mistakes, root })
    }

    /// Returns all mistakes, those of the values and those that an import has found, in the order of the file. At most [`MISTAKES_MAX`], and
    /// a note that there are more.
    pub fn report(self, found: Vec<ImportMistake>) -> Vec<FileMistake> {
        let Self { mut mistakes, root, .. } = self;
        mistakes.extend(found.into_iter().map(|ImportMistake { path, reason }| {
            let line = root.line_of(&path);
            FileMistake { path, line, code: reason.code(), message: reason.to_string() }
        }));
        mistakes.sort_by_key(|mistake| mistake.line);
        if mistakes.len() > MISTAKES_MAX {
            let line = mistakes.get(MISTAKES_MAX).map_or(1, |next| next.line);
            mistakes.truncate(MISTAKES_MAX);
            let message = format!("has more mistakes than the {MISTAKES_MAX} before; correct these first");
            mistakes.push(FileMistake { path: String::new(), line, code: "more_mistakes", message });
        }
        mistakes
    }
}

/// Returns a document as a file. The same document always gives the same bytes.
pub fn print(document: &Document, format: Format) -> String {
    let root = write::document(document);
    match format {
        Format::Toml => node::to_toml(&root),
        Format::Json => node::to_json(&root),
    }
}

#[cfg(test)]
mod tests;
