//! The JSON texts that both SQL stores keep: values of the domain that are read and written as a whole, and never searched by a statement.
//!
//! Here rather than in each adapter, because the stores must agree. Not in the domain, which knows no formats.

mod price_list;

use std::collections::BTreeMap;

use domain::admin::Fields;
use domain::pricing::TicketTypeNames;
use thiserror::Error;

pub use price_list::{parsed_price_list, stored_price_list};

/// The error of a stored text that this program cannot have written.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a stored {what} is not valid: {why}")]
pub struct StoredJsonError {
    what: &'static str,
    why: String,
}

impl StoredJsonError {
    /// Returns a function that converts the errors of the value with this name.
    fn of<E: ToString>(what: &'static str) -> impl Fn(E) -> Self {
        move |error| Self { what, why: error.to_string() }
    }
}

/// Returns the fields of an audit entry as they are stored: a JSON object of texts.
pub fn stored_fields(fields: &Fields) -> String {
    serde_json::json!(fields.0).to_string()
}

/// Parses the stored fields of an audit entry.
pub fn parsed_fields(stored: &str) -> Result<Fields, StoredJsonError> {
    serde_json::from_str(stored).map(Fields).map_err(StoredJsonError::of("audit entry"))
}

/// Returns the names of a ticket type as they are stored: a JSON object with a name for each language.
pub fn stored_names(names: &TicketTypeNames) -> String {
    let names: BTreeMap<&str, &str> = names.iter().collect();
    serde_json::json!(names).to_string()
}

/// Parses the stored names of a ticket type.
pub fn parsed_names(stored: &str) -> Result<TicketTypeNames, StoredJsonError> {
    let names: BTreeMap<String, String> =
        serde_json::from_str(stored).map_err(StoredJsonError::of("ticket type's name"))?;
    TicketTypeNames::parse(names).map_err(StoredJsonError::of("ticket type's name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_names_read_as_they_are_written() {
        let fields = Fields::default().with("title", "\"Ä\"\n").with("retired", "true");
        assert_eq!(stored_fields(&fields), r#"{"retired":"true","title":"\"Ä\"\n"}"#);
        assert_eq!(parsed_fields(&stored_fields(&fields)), Ok(fields));
        let names = TicketTypeNames::parse([("de".into(), "Kind".into()), ("en".into(), "Child".into())]).unwrap();
        assert_eq!(stored_names(&names), r#"{"de":"Kind","en":"Child"}"#);
        assert_eq!(parsed_names(&stored_names(&names)), Ok(names));
    }

    #[test]
    fn other_texts_are_errors() {
        for wrong in ["", "[]", "{\"a\":1}", "null"] {
            assert!(parsed_fields(wrong).is_err() && parsed_names(wrong).is_err(), "{wrong}");
        }
        let error = parsed_names("{}").unwrap_err().to_string();
        assert!(error.starts_with("a stored ticket type's name is not valid: "), "{error}");
    }
}
