//! Plans of layouts: how people describe a hall, as rows or as a drawing in text. A plan becomes seats, or a list of all its mistakes.
//!
//! `docs/layouts.md` documents both forms.

mod rows;
mod text;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use thiserror::Error;

pub use self::rows::{RowPlan, SectionPlan};
use super::{FocalPoint, Layout, RowName, SeatSeed, Section};
use crate::text::{TextError, fold, shown_line};

/// The most seats of a layout.
pub const SEATS_MAX: usize = 2_000;
/// The greatest number of a seat.
pub const NUMBER_MAX: i32 = 9_999;
/// The greatest width of a hall, in seat widths.
pub const WIDTH_MAX: i32 = 200;
/// The greatest depth of a hall, in seat depths.
pub const DEPTH_MAX: i32 = 200;
/// The most sections of a layout. Halls have a handful.
pub const SECTIONS_MAX: usize = 50;
/// The most categories of a layout: a drawing has a letter for the seats and one for the love seats of each.
pub const CATEGORIES_MAX: usize = 13;
/// The maximum length of the name of a section.
pub const SECTION_NAME_MAX: usize = 50;
/// The maximum length of the name of a category.
pub const CATEGORY_NAME_MAX: usize = 100;
/// The maximum length of a text plan in bytes: more than the longest drawing of [`SEATS_MAX`] seats.
pub const TEXT_MAX: usize = 1 << 20;
/// The most mistakes that are reported at once, so that the report of a wrong file stays readable.
pub const MISTAKES_MAX: usize = 100;

/// A description of a hall.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LayoutPlan {
    /// The rows, from the screen backwards. `sections` has the focal points.
    Rows { rows: Vec<RowPlan>, sections: Vec<SectionPlan> },
    /// A drawing, a line for each row.
    Text(String),
}

/// The seats of a plan, numbered and placed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlannedLayout {
    /// Ordered by row, then number.
    pub seats: Vec<SeatSeed>,
    /// The sections that have a name or a focal point, ordered by name.
    pub sections: Vec<Section>,
}

/// A part of a plan.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PlanPlace {
    /// The whole plan.
    Plan,
    /// A character of a text plan. Lines and columns are counted from 1, columns in characters.
    Text { line: usize, column: usize },
    /// A member of a row. Rows are counted from 0.
    Row { index: usize, member: &'static str },
    /// A member of a section. Sections are counted from 0.
    Section { index: usize, member: &'static str },
}

impl fmt::Display for PlanPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plan => f.write_str("plan"),
            Self::Text { line, column } => write!(f, "line {line}, column {column}"),
            Self::Row { index, member } => write!(f, "rows[{index}].{member}"),
            Self::Section { index, member } => write!(f, "sections[{index}].{member}"),
        }
    }
}

/// A mistake of a plan.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanMistake {
    pub place: PlanPlace,
    pub problem: PlanProblem,
}

impl fmt::Display for PlanMistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.problem)
    }
}

/// What is wrong with a plan.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PlanProblem {
    #[error("The plan has no seats. Add at least one.")]
    NoSeats,
    #[error("The plan has more than {SEATS_MAX} seats. Divide the hall into several.")]
    TooManySeats,
    #[error("The plan is longer than {TEXT_MAX} bytes. Remove what is not part of the drawing.")]
    TextTooLong,
    #[error("The plan has more mistakes than the {MISTAKES_MAX} before. Correct these first.")]
    MoreMistakes,
    #[error("The name of the row {0}.")]
    RowName(TextError),
    #[error("Rows {row} and {other} are too similar to distinguish. Rename one of them.")]
    RowsAlike { row: RowName, other: RowName },
    #[error(
        "Row {row} is in two sections, {section:?} and {other:?}. Rename it in one of them, for example to {section:?} and its letter."
    )]
    RowInTwoSections { row: RowName, section: String, other: String },
    #[error("The row has no seats. Remove it, or skip fewer numbers.")]
    RowWithoutSeats,
    #[error("The name of the section {0}.")]
    SectionName(TextError),
    #[error("Sections {name:?} and {other:?} are too similar to distinguish. Write the name in one way.")]
    SectionsAlike { name: String, other: String },
    #[error("Section {name:?} is described twice. Describe it once.")]
    SectionRepeated { name: String },
    #[error("Section {name:?} has no seats. Remove it, or name it in a row.")]
    SectionWithoutSeats { name: String },
    #[error("The plan has more than {SECTIONS_MAX} sections.")]
    TooManySections,
    #[error("The focal point is not in the hall. Give x from 1 to {WIDTH_MAX} and y from 1 to {DEPTH_MAX}.")]
    FocusOutside,
    #[error("A focal point is two numbers, like `focus 10,12`.")]
    FocusMalformed,
    #[error("The section has two focal points. Keep one.")]
    FocusRepeated,
    #[error("The name of the category {0}.")]
    Category(TextError),
    #[error("The plan has more than {CATEGORIES_MAX} categories.")]
    TooManyCategories,
    #[error("A category has a letter from a to z and a name, like `category s = standard` or `love l = premium`.")]
    CategoryMalformed,
    #[error("The letter {letter} has two meanings. Choose another one for this category.")]
    LetterRepeated { letter: char },
    #[error("The letter {letter} has no category. Add a line like `category {letter} = standard` above.")]
    LetterUnknown { letter: char },
    #[error("{symbol:?} is no part of a drawing. Write letters for seats, and `_`, `.` or spaces for other places.")]
    SymbolUnknown { symbol: char },
    #[error(
        "The line is no part of a plan. Write a row like `A | sss_sss`, or `category`, `love`, `section`, `focus` or `#`."
    )]
    LineUnknown,
    #[error("The quoted name has no end. Add `\"` after it.")]
    QuoteOpen,
    #[error("The options of the row have no end. Add `]` before the `|`.")]
    OptionsOpen,
    #[error("The row has no drawing. Write `|` and the seats after its name.")]
    BarMissing,
    #[error("{option:?} is no option. Use `from right`, `depth 5` or `numbers 1-4 9`.")]
    OptionUnknown { option: String },
    #[error("The row has two numberings. Keep one of `from right` and `numbers`.")]
    OptionRepeated,
    #[error("The row has {numbers} numbers and {seats} seats. Give as many numbers as seats.")]
    NumbersDiffer { numbers: usize, seats: usize },
    #[error("{number} is no number of a seat. Use 1 to {NUMBER_MAX}.")]
    NumberOutside { number: i64 },
    #[error("The row has no seat {number}. Use a number between `from` and `to` that is not skipped.")]
    NumberUnknown { number: i32 },
    #[error("Seat {number} of row {row} is there twice, first at {first}. Give one of them another number.")]
    SeatRepeated { row: RowName, number: i32, first: PlanPlace },
    #[error("Seats {row} {number} and {other_row} {other_number} are on one place. Move one of them.")]
    PlaceTaken { row: RowName, number: i32, other_row: RowName, other_number: i32 },
    #[error("Seats {number} and {other} of row {row} are behind each other. Give one of them another row.")]
    SeatsBehind { row: RowName, number: i32, other: i32 },
    #[error(
        "The place is outside the hall, which is at most {WIDTH_MAX} seats wide and {DEPTH_MAX} deep. Move the seat."
    )]
    PlaceOutside,
    #[error("Seats {first} and {second} are no love seat, because they are not side by side. Choose neighbours.")]
    PairApart { first: i32, second: i32 },
    #[error("Seat {number} is in two love seats. Remove it from one of them.")]
    PairRepeated { number: i32 },
    #[error(
        "A love seat is two letters side by side, and this letter is alone. Draw the other half, or use the letter of a seat."
    )]
    PairAlone,
}

impl PlanProblem {
    /// Returns the stable name of the problem.
    pub fn code(&self) -> &'static str {
        match self {
            Self::NoSeats => "no_seats",
            Self::TooManySeats => "too_many_seats",
            Self::TextTooLong => "text_too_long",
            Self::MoreMistakes => "more_mistakes",
            Self::RowName(_) => "row_name_invalid",
            Self::RowsAlike { .. } => "rows_alike",
            Self::RowInTwoSections { .. } => "row_in_two_sections",
            Self::RowWithoutSeats => "row_without_seats",
            Self::SectionName(_) => "section_name_invalid",
            Self::SectionsAlike { .. } => "sections_alike",
            Self::SectionRepeated { .. } => "section_repeated",
            Self::SectionWithoutSeats { .. } => "section_without_seats",
            Self::TooManySections => "too_many_sections",
            Self::FocusOutside => "focus_outside",
            Self::FocusMalformed => "focus_malformed",
            Self::FocusRepeated => "focus_repeated",
            Self::Category(_) => "category_invalid",
            Self::TooManyCategories => "too_many_categories",
            Self::CategoryMalformed => "category_malformed",
            Self::LetterRepeated { .. } => "letter_repeated",
            Self::LetterUnknown { .. } => "letter_unknown",
            Self::SymbolUnknown { .. } => "symbol_unknown",
            Self::LineUnknown => "line_unknown",
            Self::QuoteOpen => "quote_open",
            Self::OptionsOpen => "options_open",
            Self::BarMissing => "bar_missing",
            Self::OptionUnknown { .. } => "option_unknown",
            Self::OptionRepeated => "option_repeated",
            Self::NumbersDiffer { .. } => "numbers_differ",
            Self::NumberOutside { .. } => "number_outside",
            Self::NumberUnknown { .. } => "number_unknown",
            Self::SeatRepeated { .. } => "seat_repeated",
            Self::PlaceTaken { .. } => "place_taken",
            Self::SeatsBehind { .. } => "seats_behind",
            Self::PlaceOutside => "place_outside",
            Self::PairApart { .. } => "pair_apart",
            Self::PairRepeated { .. } => "pair_repeated",
            Self::PairAlone => "pair_alone",
        }
    }
}

impl LayoutPlan {
    /// Returns the seats, or all mistakes in the order of the plan: at least one, at most [`MISTAKES_MAX`] and a note that there are more.
    pub fn seats(&self) -> Result<PlannedLayout, Vec<PlanMistake>> {
        let mut drawing = Drawing::default();
        match self {
            Self::Rows { rows, sections } => rows::draw(rows, sections, &mut drawing),
            Self::Text(text) => text::draw(text, &mut drawing),
        }
        drawing.finish()
    }
}

impl PlannedLayout {
    /// Returns the seats as a text plan that describes exactly them; `None` if they cannot be drawn: a stored layout may have more than 26
    /// kinds of seats, a love seat on a bend, or places outside the limits. The seats of a plan can be drawn.
    pub fn to_text(&self) -> Option<String> {
        text::print(self)
    }
}

impl From<&Layout> for PlannedLayout {
    /// Returns the seats of a layout without their ids.
    fn from(layout: &Layout) -> Self {
        let seats = layout.seats().iter().map(|seat| SeatSeed {
            row: seat.row.clone(),
            number: seat.number,
            category: seat.category.clone(),
            accessible: seat.accessible,
            x: seat.x,
            y: seat.y,
            section: seat.section.clone(),
            pair: seat.pair,
        });
        let says_something = |section: &&Section| !section.name.is_empty() || section.focus.is_some();
        let mut planned = Self {
            seats: seats.collect(),
            sections: layout.sections().iter().filter(says_something).cloned().collect(),
        };
        planned.number_pairs();
        planned
    }
}

impl PlannedLayout {
    /// Numbers the love seats from 1 in the order of their first seats.
    fn number_pairs(&mut self) {
        let mut numbers: HashMap<i32, i32> = HashMap::new();
        for seat in &mut self.seats {
            if let Some(pair) = seat.pair {
                let next = i32::try_from(numbers.len()).unwrap_or(i32::MAX).saturating_add(1);
                seat.pair = Some(*numbers.entry(pair).or_insert(next));
            }
        }
    }
}

/// A seat with its place in the plan.
struct DrawnSeat {
    seat: SeatSeed,
    place: PlanPlace,
}

/// A section with its place in the plan.
struct DrawnSection {
    focus: Option<FocalPoint>,
    place: PlanPlace,
}

/// What has been read of a plan.
#[derive(Default)]
struct Drawing {
    seats: Vec<DrawnSeat>,
    /// The described sections, by name.
    sections: BTreeMap<String, DrawnSection>,
    /// The number of love seats so far.
    pairs: i32,
    /// Whether seats were left out because there are too many.
    is_full: bool,
    mistakes: Vec<PlanMistake>,
}

impl Drawing {
    fn mistake(&mut self, place: PlanPlace, problem: PlanProblem) {
        self.mistakes.push(PlanMistake { place, problem });
    }

    /// Adds a seat, unless there are too many.
    fn add(&mut self, seat: SeatSeed, place: PlanPlace) {
        self.is_full |= self.seats.len() >= SEATS_MAX;
        if !self.is_full {
            self.seats.push(DrawnSeat { seat, place });
        }
    }

    /// Returns the number of another love seat.
    fn next_pair(&mut self) -> i32 {
        self.pairs = self.pairs.saturating_add(1);
        self.pairs
    }

    /// Parses the name of a row, or reports why it is none.
    fn row_name(&mut self, text: &str, place: &PlanPlace) -> Option<RowName> {
        RowName::parse(text).map_err(|error| self.mistake(place.clone(), PlanProblem::RowName(error))).ok()
    }

    /// Parses the name of a section, or reports why it is none. An empty one is the main section.
    fn section_name(&mut self, text: &str, place: &PlanPlace) -> Option<String> {
        let name = shown_line(text, 0, SECTION_NAME_MAX);
        name.map_err(|error| self.mistake(place.clone(), PlanProblem::SectionName(error))).ok()
    }

    /// Parses the name of a category, or reports why it is none.
    fn category(&mut self, text: &str, place: &PlanPlace) -> Option<String> {
        let name = shown_line(text, 1, CATEGORY_NAME_MAX);
        name.map_err(|error| self.mistake(place.clone(), PlanProblem::Category(error))).ok()
    }

    /// Returns a point, or reports that it is outside the hall.
    fn focal_point(&mut self, x: i64, y: i64, place: &PlanPlace) -> Option<FocalPoint> {
        let within = |at: i64, max: i32| i32::try_from(at).ok().filter(|at| (1..=max).contains(at));
        if let (Some(x), Some(y)) = (within(x, WIDTH_MAX), within(y, DEPTH_MAX)) {
            return Some(FocalPoint { x, y });
        }
        self.mistake(place.clone(), PlanProblem::FocusOutside);
        None
    }

    /// Returns whether a number is one of a seat; otherwise reports it.
    fn check_number(&mut self, number: i64, place: &PlanPlace) -> Option<i32> {
        let fits = i32::try_from(number).ok().filter(|number| (1..=NUMBER_MAX).contains(number));
        if fits.is_none() {
            self.mistake(place.clone(), PlanProblem::NumberOutside { number });
        }
        fits
    }

    /// Checks the seats together, and returns them in order.
    fn finish(mut self) -> Result<PlannedLayout, Vec<PlanMistake>> {
        if self.is_full {
            self.mistake(PlanPlace::Plan, PlanProblem::TooManySeats);
        } else if self.seats.is_empty() && self.mistakes.is_empty() {
            self.mistake(PlanPlace::Plan, PlanProblem::NoSeats);
        }
        self.check_seats();
        self.check_rows();
        self.check_sections();
        if !self.mistakes.is_empty() {
            return Err(self.report());
        }
        let mut seats: Vec<SeatSeed> = self.seats.into_iter().map(|drawn| drawn.seat).collect();
        seats.sort_by(|a, b| a.row.cmp(&b.row).then(a.number.cmp(&b.number)));
        let named: BTreeSet<&str> = seats.iter().map(|seat| seat.section.as_str()).collect();
        let focus = |name: &str| self.sections.get(name).and_then(|section| section.focus);
        let sections = named.into_iter().map(|name| Section { name: name.to_owned(), focus: focus(name) });
        let sections = sections.filter(|section| !section.name.is_empty() || section.focus.is_some()).collect();
        let mut planned = PlannedLayout { seats, sections };
        planned.number_pairs();
        Ok(planned)
    }

    /// Reports seats with the same number or place, and seats outside the hall.
    fn check_seats(&mut self) {
        let mut mistakes = Vec::new();
        let mut numbers: HashMap<(&RowName, i32), &PlanPlace> = HashMap::new();
        let mut places: HashMap<(i32, i32), &SeatSeed> = HashMap::new();
        let mut columns: HashMap<(&RowName, i32), i32> = HashMap::new();
        for DrawnSeat { seat, place } in &self.seats {
            let (row, number) = (&seat.row, seat.number);
            let mut mistake = |problem| mistakes.push(PlanMistake { place: place.clone(), problem });
            if let Some(first) = numbers.insert((row, number), place) {
                mistake(PlanProblem::SeatRepeated { row: row.clone(), number, first: first.clone() });
            }
            if !(1..=WIDTH_MAX).contains(&seat.x) || !(1..=DEPTH_MAX).contains(&seat.y) {
                mistake(PlanProblem::PlaceOutside);
            }
            if let Some(other) = places.insert((seat.x, seat.y), seat) {
                let (other_row, other_number) = (other.row.clone(), other.number);
                mistake(PlanProblem::PlaceTaken { row: row.clone(), number, other_row, other_number });
            } else if let Some(other) = columns.insert((row, seat.x), number) {
                mistake(PlanProblem::SeatsBehind { row: row.clone(), number, other });
            }
        }
        self.mistakes.append(&mut mistakes);
    }

    /// Reports rows that look alike or are in two sections, and too many categories.
    fn check_rows(&mut self) {
        let mut mistakes = Vec::new();
        let mut rows: BTreeMap<&RowName, (&DrawnSeat, bool)> = BTreeMap::new();
        let mut categories = BTreeSet::new();
        for drawn in &self.seats {
            let DrawnSeat { seat, place } = drawn;
            let (first, is_reported) = rows.entry(&seat.row).or_insert((drawn, false));
            if first.seat.section != seat.section && !*is_reported {
                *is_reported = true;
                let (section, other) = (seat.section.clone(), first.seat.section.clone());
                let problem = PlanProblem::RowInTwoSections { row: seat.row.clone(), section, other };
                mistakes.push(PlanMistake { place: place.clone(), problem });
            }
            if categories.insert(&seat.category) && categories.len() == CATEGORIES_MAX + 1 {
                mistakes.push(PlanMistake { place: place.clone(), problem: PlanProblem::TooManyCategories });
            }
        }
        // Names that are alike need not be neighbours in the order: "a" and "A" are of two kinds.
        let mut folded: HashMap<String, &RowName> = HashMap::new();
        let mut before: Option<&RowName> = None;
        for (row, (first, _)) in &rows {
            let same = folded.insert(fold(row.as_str()), row);
            if let Some(other) = same.or(before.filter(|before| before.is_like(row))) {
                let problem = PlanProblem::RowsAlike { row: (*row).clone(), other: other.clone() };
                mistakes.push(PlanMistake { place: first.place.clone(), problem });
            }
            before = Some(row);
        }
        self.mistakes.append(&mut mistakes);
    }

    /// Reports sections without seats, sections that look alike, and too many of them.
    fn check_sections(&mut self) {
        let mut mistakes = Vec::new();
        let mut used: BTreeMap<&str, &PlanPlace> = BTreeMap::new();
        for DrawnSeat { seat, place } in &self.seats {
            used.entry(&seat.section).or_insert(place);
        }
        for (name, section) in &self.sections {
            // The seats of a section may be missing because of another mistake.
            if !used.contains_key(name.as_str()) && self.mistakes.is_empty() {
                let problem = PlanProblem::SectionWithoutSeats { name: name.clone() };
                mistakes.push(PlanMistake { place: section.place.clone(), problem });
            }
        }
        let mut folded: HashMap<String, &str> = HashMap::new();
        for (index, (name, place)) in used.into_iter().enumerate() {
            if let Some(other) = folded.insert(fold(name), name) {
                let (name, other) = (name.to_owned(), other.to_owned());
                mistakes
                    .push(PlanMistake { place: place.clone(), problem: PlanProblem::SectionsAlike { name, other } });
            }
            if index == SECTIONS_MAX {
                mistakes.push(PlanMistake { place: place.clone(), problem: PlanProblem::TooManySections });
            }
        }
        self.mistakes.append(&mut mistakes);
    }

    /// Returns the mistakes in the order of the plan. A row that overlaps another one is one mistake, not one for each seat.
    fn report(self) -> Vec<PlanMistake> {
        let mut mistakes = self.mistakes;
        mistakes.sort_by(|a, b| a.place.cmp(&b.place));
        let mut reported = BTreeSet::new();
        mistakes.retain(|PlanMistake { place, problem }| {
            let is_whole_row = matches!(place, PlanPlace::Row { member: "from", .. });
            !is_whole_row || reported.insert((place.clone(), problem.code()))
        });
        if mistakes.len() > MISTAKES_MAX {
            mistakes.truncate(MISTAKES_MAX);
            mistakes.push(PlanMistake { place: PlanPlace::Plan, problem: PlanProblem::MoreMistakes });
        }
        mistakes
    }
}

#[cfg(test)]
mod tests;
