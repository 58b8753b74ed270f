//! The types of claims and selections.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::ids::{LayoutId, SeatId, ShowId, UserId};
use crate::money::Currency;
use crate::pricing::TicketTypeCode;

/// The price of a seat category for a ticket type, in minor units of the currency of its show or price list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CategoryPrice {
    pub category: String,
    pub ticket_type: TicketTypeCode,
    pub minor: i64,
}

impl CategoryPrice {
    /// Returns the price of a category for adults.
    pub fn adult(category: impl Into<String>, minor: i64) -> Self {
        Self { category: category.into(), ticket_type: TicketTypeCode::ADULT, minor }
    }
}

/// The reason why a seat is not free.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClaimStatus {
    /// Kept for a user for some minutes.
    Held,
    Booked,
    /// Kept by the cinema.
    Blocked,
}

/// The error of a text that is not the status of a claim.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a claim's status is held, booked or blocked")]
pub struct ClaimStatusError;

impl ClaimStatus {
    /// Returns the name in the store.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Booked => "booked",
            Self::Blocked => "blocked",
        }
    }

    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, ClaimStatusError> {
        match text {
            "held" => Ok(Self::Held),
            "booked" => Ok(Self::Booked),
            "blocked" => Ok(Self::Blocked),
            _ => Err(ClaimStatusError),
        }
    }
}

/// A live claim. An expired hold is not a live claim.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeatClaim {
    pub seat_id: SeatId,
    pub status: ClaimStatus,
    /// The owner; `None` if the cinema has blocked the seat.
    pub user_id: Option<UserId>,
}

/// A show's prices and claims, as committed at one instant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ShowSeating {
    pub show_id: ShowId,
    /// The show's layout.
    pub layout_id: LayoutId,
    pub currency: Currency,
    /// The price of each category and ticket type.
    pub prices: Vec<CategoryPrice>,
    /// The live claims.
    pub claims: Vec<SeatClaim>,
}

/// The public availability of a seat. Blocked seats are reported as booked, so that they cannot be distinguished from sold ones.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SeatAvailability {
    Available,
    /// Held by a user. The seat may become available again soon.
    Held,
    /// Sold, or blocked by the cinema.
    Booked,
}

impl SeatAvailability {
    /// Returns the name in responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Held => "held",
            Self::Booked => "booked",
        }
    }
}

impl From<ClaimStatus> for SeatAvailability {
    fn from(status: ClaimStatus) -> Self {
        match status {
            ClaimStatus::Held => Self::Held,
            ClaimStatus::Booked | ClaimStatus::Blocked => Self::Booked,
        }
    }
}

/// The seats of one request: at least one, without duplicates, at most as many as a booking may have. They are in the order of the request:
/// the first one is the booking's `seat_id`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatSelection(Vec<SeatId>);

/// The reason why seats are not a valid selection.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SeatSelectionError {
    #[error("at least one seat must be chosen")]
    Empty,
    #[error("seat {seat_id} is chosen twice")]
    Repeated {
        /// The first duplicate.
        seat_id: SeatId,
    },
    /// More seats than a booking may have.
    #[error("at most {max} seats can be booked together; {asked} were chosen")]
    TooMany {
        asked: usize,
        /// The maximum.
        max: usize,
    },
}

impl SeatSelection {
    /// Parses the seats of a request. `max` is the maximum for a booking.
    pub fn parse(seats: Vec<SeatId>, max: usize) -> Result<Self, SeatSelectionError> {
        if seats.is_empty() {
            return Err(SeatSelectionError::Empty);
        }
        let mut seen = BTreeSet::new();
        if let Some(seat_id) = seats.iter().copied().find(|seat| !seen.insert(*seat)) {
            return Err(SeatSelectionError::Repeated { seat_id });
        }
        if seats.len() > max {
            return Err(SeatSelectionError::TooMany { asked: seats.len(), max });
        }
        Ok(Self(seats))
    }

    /// Returns the seats in the order of the request.
    pub fn seats(&self) -> &[SeatId] {
        &self.0
    }
}

/// The seats of one request, each with its ticket type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TicketSelection {
    seats: SeatSelection,
    /// One for each seat, in their order.
    ticket_types: Vec<TicketTypeCode>,
}

impl TicketSelection {
    /// Parses the seats of a request. `max` is the maximum for a booking.
    pub fn parse(tickets: Vec<(SeatId, TicketTypeCode)>, max: usize) -> Result<Self, SeatSelectionError> {
        let (seats, ticket_types) = tickets.into_iter().unzip();
        Ok(Self { seats: SeatSelection::parse(seats, max)?, ticket_types })
    }

    /// Returns the seats in the order of the request.
    pub fn seats(&self) -> &[SeatId] {
        self.seats.seats()
    }

    /// Returns the seats without their ticket types.
    pub fn selection(&self) -> &SeatSelection {
        &self.seats
    }

    /// Returns the seats with their ticket types, in the order of the request.
    pub fn tickets(&self) -> impl Iterator<Item = (SeatId, &TicketTypeCode)> {
        self.seats.seats().iter().copied().zip(&self.ticket_types)
    }
}

impl From<SeatSelection> for TicketSelection {
    /// Returns tickets for adults.
    fn from(seats: SeatSelection) -> Self {
        let ticket_types = vec![TicketTypeCode::ADULT; seats.seats().len()];
        Self { seats, ticket_types }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_selection_refuses_none_twice_and_too_many() {
        let parse = |ids: &[i64], max| SeatSelection::parse(ids.iter().copied().map(SeatId).collect(), max);
        assert_eq!(parse(&[], 10), Err(SeatSelectionError::Empty));
        assert_eq!(parse(&[3, 1, 3, 1], 10), Err(SeatSelectionError::Repeated { seat_id: SeatId(3) }));
        assert_eq!(parse(&[1, 2, 3], 2), Err(SeatSelectionError::TooMany { asked: 3, max: 2 }));
        assert!(parse(&[1, 2], 2).is_ok());
    }

    #[test]
    fn tickets_keep_the_order_of_their_seats() {
        let child = TicketTypeCode::parse("child").unwrap();
        let parse = |tickets: &[(i64, &TicketTypeCode)]| {
            TicketSelection::parse(tickets.iter().map(|(id, code)| (SeatId(*id), (*code).clone())).collect(), 2)
        };
        let tickets = parse(&[(2, &child), (1, &TicketTypeCode::ADULT)]).unwrap();
        assert_eq!(tickets.seats(), [SeatId(2), SeatId(1)]);
        let listed: Vec<_> = tickets.tickets().collect();
        assert_eq!(listed, [(SeatId(2), &child), (SeatId(1), &TicketTypeCode::ADULT)]);
        assert_eq!(parse(&[(2, &child), (2, &child)]), Err(SeatSelectionError::Repeated { seat_id: SeatId(2) }));
        let adults = TicketSelection::from(tickets.selection().clone());
        assert!(adults.tickets().all(|(_, code)| code.is_adult()) && adults.seats() == tickets.seats());
    }

    proptest! {
        #[test]
        fn a_selection_keeps_the_seats_and_their_order(ids in prop::collection::vec(0_i64..50, 0..15)) {
            let seats: Vec<_> = ids.iter().copied().map(SeatId).collect();
            let distinct = ids.iter().collect::<BTreeSet<_>>().len();
            match SeatSelection::parse(seats.clone(), 10) {
                Ok(selection) => {
                    prop_assert_eq!(selection.seats(), &seats[..]);
                    prop_assert!((1..=10).contains(&seats.len()) && distinct == seats.len());
                }
                Err(SeatSelectionError::Empty) => prop_assert!(seats.is_empty()),
                Err(SeatSelectionError::Repeated { .. }) => prop_assert!(distinct < seats.len()),
                Err(SeatSelectionError::TooMany { .. }) => prop_assert!(seats.len() > 10),
            }
        }
    }
}
