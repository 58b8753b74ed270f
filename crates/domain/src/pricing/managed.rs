//! Ticket types as staff manage them.

use chrono::{DateTime, Utc};

use super::{TicketTypeCode, TicketTypeNames};
use crate::catalog::OutOfBounds;
use crate::ids::TicketTypeId;
use crate::text::fold;

/// A position in the list of ticket types: 0 to 999. No cinema has as many ticket types.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TicketTypePosition(i32);

impl TicketTypePosition {
    pub const MAX: i32 = 999;

    /// Parses a position.
    pub fn parse(position: i64) -> Result<Self, OutOfBounds> {
        let fits = |position: &i32| (0..=Self::MAX).contains(position);
        i32::try_from(position).ok().filter(fits).map(Self).ok_or(OutOfBounds { min: 0, max: Self::MAX })
    }

    /// Returns the number.
    pub fn number(self) -> i32 {
        self.0
    }
}

/// A ticket type as staff see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagedTicketType {
    pub id: TicketTypeId,
    pub code: TicketTypeCode,
    pub names: TicketTypeNames,
    pub needs_proof: bool,
    /// The position in lists. Types of the same position are ordered by code.
    pub position: i32,
    /// When it was retired: it is sold at no new show. Shows that sell it keep it.
    pub retired_at: Option<DateTime<Utc>>,
    /// Increased by every change.
    pub version: i64,
}

/// What staff set of a ticket type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketTypeDetails {
    /// Unique, and never changed: prices, holds and bookings refer to it.
    pub code: TicketTypeCode,
    pub names: TicketTypeNames,
    pub needs_proof: bool,
    pub position: i32,
}

impl TicketTypeDetails {
    /// Returns the folded text that searches look into.
    pub fn search_folded(&self) -> String {
        search_folded(&self.code, &self.names)
    }
}

/// Returns the folded text that searches for a ticket type look into: its code and its names.
pub fn search_folded(code: &TicketTypeCode, names: &TicketTypeNames) -> String {
    let texts: Vec<_> = [code.as_str()].into_iter().chain(names.iter().map(|(_, name)| name)).map(fold).collect();
    texts.join("\n")
}

/// Changes of a ticket type. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TicketTypeChange {
    pub names: Option<TicketTypeNames>,
    pub needs_proof: Option<bool>,
    pub position: Option<i32>,
}

impl TicketTypeChange {
    /// Returns the details of the ticket type after the change.
    pub fn apply(self, before: &ManagedTicketType) -> TicketTypeDetails {
        TicketTypeDetails {
            code: before.code.clone(),
            names: self.names.unwrap_or_else(|| before.names.clone()),
            needs_proof: self.needs_proof.unwrap_or(before.needs_proof),
            position: self.position.unwrap_or(before.position),
        }
    }
}

/// The position of a ticket type in the list of ticket types, which is ordered by position, then code.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketTypeCursor {
    pub position: i32,
    pub code: TicketTypeCode,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_0_to_999() {
        assert_eq!(TicketTypePosition::parse(999).unwrap().number(), 999);
        for wrong in [-1, 1_000, i64::MAX] {
            assert_eq!(TicketTypePosition::parse(wrong), Err(OutOfBounds { min: 0, max: 999 }), "{wrong}");
        }
    }

    #[test]
    fn searches_look_into_code_and_names() {
        let names = [("en", "Student"), ("de", "ERMÄSSIGT")].map(|(tag, name)| (tag.to_owned(), name.to_owned()));
        let names = TicketTypeNames::parse(names).unwrap();
        assert_eq!(search_folded(&TicketTypeCode::parse("student").unwrap(), &names), "student\nermässigt\nstudent");
    }
}
