//! The types of layouts, seats, claims and selections.

use std::collections::{BTreeSet, HashMap};

use thiserror::Error;

use crate::ids::{LayoutId, SeatId, ShowId, UserId};
use crate::money::Currency;
use crate::pricing::TicketTypeCode;

/// A seat of a hall's layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seat {
    pub id: SeatId,
    /// The letters of the row: `A` … `Z`, `AA` …
    pub row: String,
    /// The number in the row. [`Seat::is_beside`] defines which seats are neighbours.
    pub number: i32,
    /// The price depends on it: `standard`, `premium`, …
    pub category: String,
    /// Whether it is intended for people in a wheelchair and their companions.
    pub accessible: bool,
    /// The position from the left, in seat widths. A gap is an aisle.
    pub x: i32,
    /// The position from the screen, in seat depths.
    pub y: i32,
}

impl Seat {
    /// Returns whether two seats are neighbours: consecutive numbers of one row, one seat width apart. A wider step in `x` is an aisle,
    /// across which the numbers continue.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.row == other.row && self.number.abs_diff(other.number) == 1 && self.x.abs_diff(other.x) == 1
    }
}

/// One version of a hall's seats, ordered by row (`A` … `Z`, `AA` …), then number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    id: LayoutId,
    seats: Vec<Seat>,
    /// The index of each seat in `seats`.
    places: HashMap<SeatId, usize>,
}

/// The reason why seats are not a valid layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// There are no seats.
    #[error("a layout has at least one seat")]
    Empty,
    #[error("seat {row}{number} is there twice")]
    Repeated { row: String, number: i32 },
}

impl Layout {
    /// Returns a layout of these seats, which may be in any order.
    pub fn new(id: LayoutId, mut seats: Vec<Seat>) -> Result<Self, LayoutError> {
        if seats.is_empty() {
            return Err(LayoutError::Empty);
        }
        // Shorter names come first: Z before AA.
        seats.sort_by(|a, b| (a.row.len(), &a.row, a.number).cmp(&(b.row.len(), &b.row, b.number)));
        for pair in seats.windows(2) {
            if let [a, b] = pair
                && (&a.row, a.number) == (&b.row, b.number)
            {
                return Err(LayoutError::Repeated { row: a.row.clone(), number: a.number });
            }
        }
        let places = seats.iter().enumerate().map(|(place, seat)| (seat.id, place)).collect();
        Ok(Self { id, seats, places })
    }

    /// Returns the layout's id.
    pub fn id(&self) -> LayoutId {
        self.id
    }

    /// Returns the seats, ordered by row, then number.
    pub fn seats(&self) -> &[Seat] {
        &self.seats
    }

    /// Returns a seat by its id; `None` if this layout does not have it.
    pub fn seat(&self, id: SeatId) -> Option<&Seat> {
        self.places.get(&id).and_then(|place| self.seats.get(*place))
    }

    /// Returns the rows, the nearest to the screen first, each with its seats ordered by number.
    pub fn rows(&self) -> impl Iterator<Item = &[Seat]> {
        self.seats.chunk_by(|a, b| a.row == b.row)
    }
}

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

    fn seat(id: i64, row: &str, number: i32) -> Seat {
        Seat {
            id: SeatId(id),
            row: row.into(),
            number,
            category: "standard".into(),
            accessible: false,
            x: number,
            y: 1,
        }
    }

    #[test]
    fn seats_are_ordered_by_row_then_number() {
        let seats = vec![seat(1, "AA", 1), seat(2, "B", 10), seat(3, "B", 9), seat(4, "A", 2)];
        let layout = Layout::new(LayoutId(1), seats).unwrap();
        let order: Vec<_> = layout.seats().iter().map(|seat| seat.id.0).collect();
        assert_eq!(order, [4, 3, 2, 1]);
        let rows: Vec<_> = layout.rows().map(<[Seat]>::len).collect();
        assert_eq!(rows, [1, 2, 1]);
    }

    #[test]
    fn a_seat_is_found_by_its_id() {
        let layout = Layout::new(LayoutId(1), vec![seat(7, "B", 1), seat(8, "A", 1), seat(9, "A", 2)]).unwrap();
        let name = |id| layout.seat(SeatId(id)).map(|seat| format!("{}{}", seat.row, seat.number));
        assert_eq!([name(7), name(8), name(9)], ["B1", "A1", "A2"].map(|name| Some(name.into())));
        assert_eq!(name(10), None);
    }

    #[test]
    fn neighbours_are_in_one_row_with_consecutive_numbers_and_no_aisle_between() {
        let at = |row, number, x| Seat { x, ..seat(1, row, number) };
        assert!(at("A", 1, 1).is_beside(&at("A", 2, 2)));
        assert!(at("A", 2, 2).is_beside(&at("A", 1, 1)));
        // Numbered from the right.
        assert!(at("A", 1, 9).is_beside(&at("A", 2, 8)));
        assert!(!at("A", 1, 1).is_beside(&at("A", 2, 3)));
        assert!(!at("A", 1, 1).is_beside(&at("A", 3, 2)));
        assert!(!at("A", 1, 1).is_beside(&at("B", 2, 2)));
        assert!(!at("A", 1, 1).is_beside(&at("A", 1, 1)));
    }

    #[test]
    fn a_layout_has_seats_and_each_once() {
        assert_eq!(Layout::new(LayoutId(1), Vec::new()), Err(LayoutError::Empty));
        let twice = vec![seat(1, "A", 1), seat(2, "A", 1)];
        assert_eq!(Layout::new(LayoutId(1), twice), Err(LayoutError::Repeated { row: "A".into(), number: 1 }));
    }

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
