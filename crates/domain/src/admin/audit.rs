//! The audit log: who changed what, when, and from where.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use thiserror::Error;

use crate::ids::{AuditId, TheatreId, UserId};

/// The kind of an object that staff change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum ObjectKind {
    Movie,
    Theatre,
    Hall,
    Layout,
    User,
    TicketType,
    PriceList,
    Show,
    Booking,
}

/// The error of a text that is not a kind of object.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("must be one of {}", ObjectKind::ALL.map(ObjectKind::as_str).join(", "))]
pub struct ObjectKindError;

impl ObjectKind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Movie,
        Self::Theatre,
        Self::Hall,
        Self::Layout,
        Self::User,
        Self::TicketType,
        Self::PriceList,
        Self::Show,
        Self::Booking,
    ];

    /// Returns the name in the store and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Movie => "movie",
            Self::Theatre => "theatre",
            Self::Hall => "hall",
            Self::Layout => "layout",
            Self::User => "user",
            Self::TicketType => "ticket_type",
            Self::PriceList => "price_list",
            Self::Show => "show",
            Self::Booking => "booking",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ObjectKindError> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or(ObjectKindError)
    }
}

/// What was done to an object.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum AuditAction {
    Create,
    Update,
    Retire,
    Cancel,
    /// A sale at the box office.
    Sell,
    /// Seats of a show were blocked for the house.
    Block,
    /// Blocked seats of a show were released.
    Unblock,
}

impl AuditAction {
    /// Returns the name in the store and in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Retire => "retire",
            Self::Cancel => "cancel",
            Self::Sell => "sell",
            Self::Block => "block",
            Self::Unblock => "unblock",
        }
    }
}

/// The values of an object by the names of its fields. Fields without a value are absent.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Fields(pub BTreeMap<String, String>);

impl Fields {
    /// Returns the fields with this value added.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Returns the fields with this value added if there is one.
    #[must_use]
    pub fn with_some(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Reduces two states of an object to the fields in which they differ.
    pub fn differences(before: Self, after: Self) -> (Self, Self) {
        let kept = |fields: &Self, other: &Self| {
            let differs = |(name, value): &(&String, &String)| other.0.get(*name) != Some(*value);
            Self(fields.0.iter().filter(differs).map(|(name, value)| (name.clone(), value.clone())).collect())
        };
        (kept(&before, &after), kept(&after, &before))
    }
}

/// An entry of the audit log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AuditEntry {
    pub id: AuditId,
    pub at: DateTime<Utc>,
    /// The member of staff who made the change.
    pub actor_id: UserId,
    /// One of [`AuditAction`], or an action of a later version.
    pub action: String,
    /// One of [`ObjectKind`], or a kind of a later version.
    pub object_kind: String,
    pub object_id: i64,
    /// The theatre that the object belongs to, if it belongs to one.
    pub theatre_id: Option<TheatreId>,
    /// The changed fields before the change; empty for a new object.
    pub before: Fields,
    /// The changed fields after the change.
    pub after: Fields,
    /// The id of the request, as in the log.
    pub request_id: String,
    /// The client's address.
    pub address: String,
}

/// Selects entries. An entry must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    pub object_kind: Option<ObjectKind>,
    pub object_id: Option<i64>,
    pub actor_id: Option<UserId>,
    /// The inclusive earliest time.
    pub from: Option<DateTime<Utc>>,
    /// The exclusive latest time.
    pub to: Option<DateTime<Utc>>,
    /// Only entries of objects of these theatres.
    pub theatres: Option<Vec<TheatreId>>,
}

/// The position of an entry in the audit log, which is ordered newest first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AuditCursor(pub AuditId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_are_kept() {
        let before = Fields::default().with("name", "A").with("city", "Bonn").with("old", "x");
        let after = Fields::default().with("name", "B").with("city", "Bonn").with_some("new", Some("y"));
        let (before, after) = Fields::differences(before, after.with_some("none", None::<String>));
        assert_eq!(before, Fields::default().with("name", "A").with("old", "x"));
        assert_eq!(after, Fields::default().with("name", "B").with("new", "y"));
    }

    #[test]
    fn kinds_read_as_they_are_written() {
        for kind in ObjectKind::ALL {
            assert_eq!(ObjectKind::parse(kind.as_str()), Ok(kind));
        }
        assert_eq!(ObjectKind::parse("password"), Err(ObjectKindError));
    }
}
