//! Layouts: the seats of halls, their sections and love seats.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use thiserror::Error;

use super::RowName;
use crate::ids::{LayoutId, SeatId};

/// A seat of a hall's layout.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Seat {
    pub id: SeatId,
    /// The name of the row: `A`, `12`, `Loge 3` …
    pub row: RowName,
    /// The number in the row. Numbers may skip, and run in any direction.
    pub number: i32,
    /// The price depends on it: `standard`, `premium`, …
    pub category: String,
    /// Whether it is intended for people in a wheelchair and their companions.
    pub accessible: bool,
    /// The position from the left, in seat widths. A gap is an aisle.
    pub x: i32,
    /// The position from the screen, in seat depths.
    pub y: i32,
    /// The section of the hall, for example `Balcony`; empty for the main section.
    pub section: String,
    /// The number of the love seat of which it is a half. Two seats of a layout with the same number are sold together only.
    pub pair: Option<i32>,
}

impl SeatSeed {
    /// Returns the seat with this id.
    pub fn with_id(&self, id: SeatId) -> Seat {
        Seat {
            id,
            row: self.row.clone(),
            number: self.number,
            category: self.category.clone(),
            accessible: self.accessible,
            x: self.x,
            y: self.y,
            section: self.section.clone(),
            pair: self.pair,
        }
    }
}

impl Seat {
    /// Returns whether two seats are neighbours: in one row, one seat width apart. A wider step in `x` is an aisle. In a curved row,
    /// neighbours may be one depth apart. Numbers do not matter: where a row has the odd numbers on the left, 1 and 3 are neighbours.
    pub fn is_beside(&self, other: &Self) -> bool {
        self.row == other.row && self.x.abs_diff(other.x) == 1 && self.y.abs_diff(other.y) <= 1
    }
}

/// A seat of a new layout: a seat without an id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatSeed {
    pub row: RowName,
    /// The number in the row.
    pub number: i32,
    /// The price depends on it.
    pub category: String,
    /// Whether it is intended for people in a wheelchair.
    pub accessible: bool,
    /// The position from the left, in seat widths.
    pub x: i32,
    /// The position from the screen, in seat depths.
    pub y: i32,
    /// The section; empty for the main section.
    pub section: String,
    /// The number of the love seat of which it is a half.
    pub pair: Option<i32>,
}

/// A point, in seat widths from the left and seat depths from the screen.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FocalPoint {
    pub x: i32,
    pub y: i32,
}

/// A part of a hall, such as a balcony.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Section {
    /// Empty for the main section.
    pub name: String,
    /// The point with the best view; `None` for the middle of the section's width, two thirds of the way to its last row.
    pub focus: Option<FocalPoint>,
}

/// One version of a hall's seats, ordered by row, then number.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Layout {
    id: LayoutId,
    seats: Vec<Seat>,
    /// The index of each seat in `seats`.
    places: HashMap<SeatId, usize>,
    sections: Vec<Section>,
    /// The other half of each half of a love seat.
    partners: HashMap<SeatId, SeatId>,
}

/// The reason why seats are not a valid layout.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LayoutError {
    /// There are no seats.
    #[error("a layout has at least one seat")]
    Empty,
    #[error("seat {row}{number} is there twice")]
    Repeated { row: RowName, number: i32 },
    #[error("row {row} is in two sections")]
    SplitRow { row: RowName },
    #[error("love seat {pair} is not two neighbouring seats")]
    BrokenPair { pair: i32 },
}

impl Layout {
    /// Returns a layout of these seats, which may be in any order, without focal points.
    pub fn new(id: LayoutId, seats: Vec<Seat>) -> Result<Self, LayoutError> {
        Self::with_sections(id, seats, Vec::new())
    }

    /// Returns a layout of these seats, which may be in any order. `sections` has the focal points: a section of seats that is missing in it
    /// has none, and a section without seats is left out.
    pub fn with_sections(id: LayoutId, mut seats: Vec<Seat>, sections: Vec<Section>) -> Result<Self, LayoutError> {
        if seats.is_empty() {
            return Err(LayoutError::Empty);
        }
        seats.sort_by(|a, b| a.row.cmp(&b.row).then(a.number.cmp(&b.number)));
        for seats in seats.windows(2) {
            if let [a, b] = seats
                && a.row == b.row
            {
                if a.number == b.number {
                    return Err(LayoutError::Repeated { row: a.row.clone(), number: a.number });
                }
                if a.section != b.section {
                    return Err(LayoutError::SplitRow { row: a.row.clone() });
                }
            }
        }
        let mut pairs: BTreeMap<i32, Vec<&Seat>> = BTreeMap::new();
        for seat in &seats {
            if let Some(pair) = seat.pair {
                pairs.entry(pair).or_default().push(seat);
            }
        }
        let mut partners = HashMap::new();
        for (pair, halves) in pairs {
            match halves.as_slice() {
                [a, b] if a.is_beside(b) => partners.extend([(a.id, b.id), (b.id, a.id)]),
                _ => return Err(LayoutError::BrokenPair { pair }),
            }
        }
        let names: BTreeSet<&str> = seats.iter().map(|seat| seat.section.as_str()).collect();
        let focus = |name: &str| sections.iter().find(|section| section.name == name).and_then(|section| section.focus);
        let sections = names.into_iter().map(|name| Section { name: name.to_owned(), focus: focus(name) }).collect();
        let places = seats.iter().enumerate().map(|(place, seat)| (seat.id, place)).collect();
        Ok(Self { id, seats, places, sections, partners })
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

    /// Returns the rows in their order, each with its seats ordered by number.
    pub fn rows(&self) -> impl Iterator<Item = &[Seat]> {
        self.seats.chunk_by(|a, b| a.row == b.row)
    }

    /// Returns the sections, ordered by name: at least one.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// Returns the other half of a love seat; `None` if the seat is not a half of one.
    pub fn partner(&self, id: SeatId) -> Option<SeatId> {
        self.partners.get(&id).copied()
    }

    /// Returns whether the layout has love seats.
    pub fn has_pairs(&self) -> bool {
        !self.partners.is_empty()
    }

    /// Returns the halves of love seats that a selection misses, in the order of the selection; empty if it splits none.
    pub fn missing_halves(&self, seats: &[SeatId]) -> Vec<SeatId> {
        seats.iter().filter_map(|seat| self.partner(*seat)).filter(|partner| !seats.contains(partner)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seat(id: i64, row: &str, number: i32) -> Seat {
        Seat {
            id: SeatId(id),
            row: RowName::parse(row).unwrap(),
            number,
            category: "standard".into(),
            accessible: false,
            x: number,
            y: 1,
            section: String::new(),
            pair: None,
        }
    }

    #[test]
    fn seats_are_ordered_by_row_then_number() {
        let seats = vec![
            seat(1, "AA", 1),
            seat(2, "B", 10),
            seat(3, "B", 9),
            seat(4, "A", 2),
            seat(5, "10", 1),
            seat(6, "2", 7),
            seat(7, "Loge 10", 1),
            seat(8, "Loge 9", 1),
        ];
        let layout = Layout::new(LayoutId(1), seats).unwrap();
        let order: Vec<_> = layout.seats().iter().map(|seat| seat.id.0).collect();
        assert_eq!(order, [6, 5, 4, 3, 2, 1, 8, 7]);
        let rows: Vec<_> = layout.rows().map(<[Seat]>::len).collect();
        assert_eq!(rows, [1, 1, 1, 2, 1, 1, 1]);
    }

    #[test]
    fn a_seat_is_found_by_its_id() {
        let layout = Layout::new(LayoutId(1), vec![seat(7, "B", 1), seat(8, "A", 1), seat(9, "A", 2)]).unwrap();
        let name = |id| layout.seat(SeatId(id)).map(|seat| format!("{}{}", seat.row, seat.number));
        assert_eq!([name(7), name(8), name(9)], ["B1", "A1", "A2"].map(|name| Some(name.into())));
        assert_eq!(name(10), None);
    }

    #[test]
    fn neighbours_are_in_one_row_without_an_aisle_between() {
        let at = |row, number, x| Seat { x, ..seat(1, row, number) };
        assert!(at("A", 1, 1).is_beside(&at("A", 2, 2)));
        assert!(at("A", 2, 2).is_beside(&at("A", 1, 1)));
        // Numbered from the right, and with numbers that skip.
        assert!(at("A", 1, 9).is_beside(&at("A", 2, 8)));
        assert!(at("A", 1, 1).is_beside(&at("A", 3, 2)));
        // A curved row.
        assert!(at("A", 1, 1).is_beside(&Seat { y: 2, ..at("A", 2, 2) }));
        assert!(!at("A", 1, 1).is_beside(&Seat { y: 3, ..at("A", 2, 2) }));
        assert!(!at("A", 1, 1).is_beside(&at("A", 2, 3)));
        assert!(!at("A", 1, 1).is_beside(&at("B", 2, 2)));
        assert!(!at("A", 1, 1).is_beside(&at("A", 1, 1)));
    }

    #[test]
    fn a_layout_has_seats_and_each_once() {
        assert_eq!(Layout::new(LayoutId(1), Vec::new()), Err(LayoutError::Empty));
        let twice = vec![seat(1, "A", 1), seat(2, "A", 1)];
        let row = RowName::letters(0);
        assert_eq!(Layout::new(LayoutId(1), twice), Err(LayoutError::Repeated { row: row.clone(), number: 1 }));
        let split = vec![seat(1, "A", 1), Seat { section: "Balcony".into(), ..seat(2, "A", 2) }];
        assert_eq!(Layout::new(LayoutId(1), split), Err(LayoutError::SplitRow { row }));
    }

    #[test]
    fn a_love_seat_is_two_neighbouring_seats() {
        let half = |id, number| Seat { pair: Some(7), ..seat(id, "A", number) };
        let layout = Layout::new(LayoutId(1), vec![seat(1, "A", 1), half(2, 2), half(3, 3)]).unwrap();
        assert_eq!([1, 2, 3].map(|id| layout.partner(SeatId(id))), [None, Some(SeatId(3)), Some(SeatId(2))]);
        assert!(layout.has_pairs());
        assert_eq!(layout.missing_halves(&[1, 2].map(SeatId)), [SeatId(3)]);
        assert_eq!(layout.missing_halves(&[3, 2].map(SeatId)), []);
        let broken = Err(LayoutError::BrokenPair { pair: 7 });
        for halves in [vec![half(1, 1)], vec![half(1, 1), half(2, 3)], vec![half(1, 1), half(2, 2), half(3, 3)]] {
            assert_eq!(Layout::new(LayoutId(1), halves), broken);
        }
    }

    #[test]
    fn sections_are_those_of_the_seats() {
        let focus = Some(FocalPoint { x: 3, y: 9 });
        let section = |name: &str, focus| Section { name: name.into(), focus };
        let seats = vec![seat(1, "A", 1), Seat { section: "Balcony".into(), ..seat(2, "B", 1) }];
        let given = vec![section("Balcony", focus), section("Loges", focus)];
        let layout = Layout::with_sections(LayoutId(1), seats.clone(), given).unwrap();
        assert_eq!(layout.sections(), [section("", None), section("Balcony", focus)]);
        let layout = Layout::new(LayoutId(1), seats).unwrap();
        assert_eq!(layout.sections(), [section("", None), section("Balcony", None)]);
    }
}
