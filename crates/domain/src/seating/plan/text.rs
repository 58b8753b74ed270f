//! Plans as text: a drawing with a line for each row.
//!
//! ```text
//! category s = standard
//! love l = premium
//! A              | sss_sss
//! B [from right] | sss_sss
//! |
//! section Balcony
//! focus 4,5
//! Loge 1         | _ll_ll_
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt::Write as _;

use super::{
    DEPTH_MAX, Drawing, DrawnSection, MISTAKES_MAX, NUMBER_MAX, PlanPlace, PlanProblem, PlannedLayout, SEATS_MAX,
    TEXT_MAX, WIDTH_MAX,
};
use crate::seating::{RowName, SeatSeed};

/// The first words of lines that are no rows.
const KEYWORDS: [&str; 4] = ["category", "love", "section", "focus"];

/// The meaning of a letter.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Kind {
    category: String,
    is_love: bool,
}

/// A letter of a drawing.
struct Cell {
    x: i32,
    column: usize,
    kind: Kind,
    accessible: bool,
    pair: Option<i32>,
}

/// The options of a row.
#[derive(Default)]
struct Options {
    from_right: bool,
    depth: Option<i32>,
    /// The numbers from the left, with the column of the option.
    numbers: Option<(Vec<i32>, usize)>,
}

/// Reads a text plan, line by line.
struct Reader<'drawing> {
    drawing: &'drawing mut Drawing,
    line: usize,
    kinds: BTreeMap<char, Kind>,
    section: Option<String>,
    focused: HashSet<String>,
    y: i32,
}

pub(super) fn draw(text: &str, drawing: &mut Drawing) {
    if text.len() > TEXT_MAX {
        drawing.mistake(PlanPlace::Plan, PlanProblem::TextTooLong);
        return;
    }
    let mut reader = Reader {
        drawing,
        line: 0,
        kinds: BTreeMap::new(),
        section: Some(String::new()),
        focused: HashSet::new(),
        y: 0,
    };
    for line in text.lines() {
        if reader.drawing.mistakes.len() > MISTAKES_MAX {
            return;
        }
        reader.line += 1;
        reader.read(line.trim_end());
    }
}

/// Returns the column at which `rest`, the end of `line`, begins.
fn column(line: &str, rest: &str) -> usize {
    line.chars().count().saturating_sub(rest.chars().count()) + 1
}

/// Parses the text after the opening quote of a name. Returns the name and the rest; `None` without a closing quote. Two quotes stand for one.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(after) => {
                name.push('"');
                rest = after;
            }
            None => return Some((name, after)),
        }
    }
}

impl Reader<'_> {
    fn at(&self, column: usize) -> PlanPlace {
        PlanPlace::Text { line: self.line, column }
    }

    fn mistake(&mut self, column: usize, problem: PlanProblem) {
        let place = self.at(column);
        self.drawing.mistake(place, problem);
    }

    fn read(&mut self, line: &str) {
        let content = line.trim_start();
        let (word, rest) = content.split_once(char::is_whitespace).unwrap_or((content, ""));
        let rest = rest.trim_start();
        let column = column(line, rest);
        match word {
            "" => {}
            "category" => self.kind(rest, false, column),
            "love" => self.kind(rest, true, column),
            "section" => self.section(rest, column),
            "focus" => self.focus(rest, column),
            _ if word.starts_with('#') => {}
            _ => self.row(line),
        }
    }

    /// Reads `s = standard`.
    fn kind(&mut self, text: &str, is_love: bool, column: usize) {
        let Some((letter, name)) = text.split_once('=') else {
            return self.mistake(column, PlanProblem::CategoryMalformed);
        };
        let mut letters = letter.trim().chars();
        let (Some(letter @ 'a'..='z'), None) = (letters.next(), letters.next()) else {
            return self.mistake(column, PlanProblem::CategoryMalformed);
        };
        let place = self.at(column);
        let Some(category) = self.drawing.category(name, &place) else { return };
        if self.kinds.insert(letter, Kind { category, is_love }).is_some() {
            self.mistake(column, PlanProblem::LetterRepeated { letter });
        }
    }

    /// Reads the name of the section of the next rows.
    fn section(&mut self, text: &str, column: usize) {
        let place = self.at(column);
        self.section = self.drawing.section_name(text, &place);
        if let Some(name) = self.section.clone().filter(|name| !name.is_empty()) {
            self.drawing.sections.entry(name).or_insert(DrawnSection { focus: None, place });
        }
    }

    /// Reads `10,12`, the focal point of the section.
    fn focus(&mut self, text: &str, column: usize) {
        let number = |text: &str| text.trim().parse::<i64>().ok();
        let Some((Some(x), Some(y))) = text.split_once(',').map(|(x, y)| (number(x), number(y))) else {
            return self.mistake(column, PlanProblem::FocusMalformed);
        };
        let place = self.at(column);
        let focus = self.drawing.focal_point(x, y, &place);
        let Some(name) = self.section.clone() else { return };
        if !self.focused.insert(name.clone()) {
            return self.mistake(column, PlanProblem::FocusRepeated);
        }
        self.drawing.sections.entry(name).or_insert(DrawnSection { focus: None, place }).focus = focus;
    }

    /// Reads a row.
    fn row(&mut self, line: &str) {
        let content = line.trim_start();
        let name_column = column(line, content);
        let (name, rest) = if let Some(text) = content.strip_prefix('"') {
            let Some(found) = quoted(text) else { return self.mistake(name_column, PlanProblem::QuoteOpen) };
            found
        } else {
            let Some((name, rest)) = content.find(['[', '|']).and_then(|end| content.split_at_checked(end)) else {
                return self.mistake(name_column, PlanProblem::LineUnknown);
            };
            (name.to_owned(), rest)
        };
        let rest = rest.trim_start();
        let (options, rest) = match rest.strip_prefix('[') {
            None => (Options::default(), rest),
            Some(inner) => {
                let Some((inner, rest)) = inner.split_once(']') else {
                    return self.mistake(column(line, rest), PlanProblem::OptionsOpen);
                };
                (self.options(inner, column(line, rest).saturating_sub(inner.chars().count() + 1)), rest)
            }
        };
        let rest = rest.trim_start();
        let Some(places) = rest.strip_prefix('|') else {
            return self.mistake(column(line, rest), PlanProblem::BarMissing);
        };
        // The space after the bar is for the eye.
        let places = places.strip_prefix(' ').unwrap_or(places);
        self.y = options.depth.unwrap_or(self.y.saturating_add(1));
        let cells = self.cells(places, column(line, places));
        if cells.is_empty() {
            return;
        }
        let place = self.at(name_column);
        let Some(row) = self.drawing.row_name(&name, &place) else { return };
        let count = i32::try_from(cells.len()).unwrap_or(i32::MAX);
        let numbers = match options.numbers {
            Some((numbers, column)) if numbers.len() != cells.len() => {
                return self.mistake(column, PlanProblem::NumbersDiffer { numbers: numbers.len(), seats: cells.len() });
            }
            Some((numbers, _)) => numbers,
            None if options.from_right => (1..=count).rev().collect(),
            None => (1..=count).collect(),
        };
        let Some(section) = self.section.clone() else { return };
        for (cell, number) in cells.into_iter().zip(numbers) {
            let seat = SeatSeed {
                row: row.clone(),
                number,
                category: cell.kind.category,
                accessible: cell.accessible,
                x: cell.x,
                y: self.y,
                section: section.clone(),
                pair: cell.pair,
            };
            let place = self.at(cell.column);
            self.drawing.add(seat, place);
        }
    }

    /// Reads the options of a row, like `from right, depth 5`.
    fn options(&mut self, text: &str, column: usize) -> Options {
        let mut options = Options::default();
        let mut next_column = column;
        for option in text.split(',') {
            let column = next_column + option.chars().take_while(|character| character.is_whitespace()).count();
            next_column += option.chars().count() + 1;
            let (word, rest) = option.trim().split_once(char::is_whitespace).unwrap_or((option.trim(), ""));
            let depth = || rest.trim().parse::<i32>().ok().filter(|depth| (1..=DEPTH_MAX).contains(depth));
            match word {
                "from" if rest.trim() == "right" => {
                    if options.from_right || options.numbers.is_some() {
                        self.mistake(column, PlanProblem::OptionRepeated);
                    }
                    options.from_right = true;
                }
                "depth" => match depth() {
                    Some(_) if options.depth.is_some() => self.mistake(column, PlanProblem::OptionRepeated),
                    Some(depth) => options.depth = Some(depth),
                    None => self.mistake(column, PlanProblem::PlaceOutside),
                },
                "numbers" => {
                    if options.from_right || options.numbers.is_some() {
                        self.mistake(column, PlanProblem::OptionRepeated);
                    }
                    options.numbers = self.numbers(rest, column).map(|numbers| (numbers, column));
                }
                _ => self.mistake(column, PlanProblem::OptionUnknown { option: option.trim().to_owned() }),
            }
        }
        options
    }

    /// Reads the numbers of a row from the left, like `1-4 9 13-11`.
    fn numbers(&mut self, text: &str, column: usize) -> Option<Vec<i32>> {
        let place = self.at(column);
        let mut numbers = Vec::new();
        for part in text.split_whitespace() {
            let (from, to) = part.split_once('-').unwrap_or((part, part));
            let (Ok(from), Ok(to)) = (from.parse::<i64>(), to.parse::<i64>()) else {
                self.mistake(column, PlanProblem::OptionUnknown { option: format!("numbers {part}") });
                return None;
            };
            let (from, to) = (self.drawing.check_number(from, &place)?, self.drawing.check_number(to, &place)?);
            if from <= to {
                numbers.extend(from..=to);
            } else {
                numbers.extend((to..=from).rev());
            }
            // More numbers than any row has seats.
            if numbers.len() > SEATS_MAX {
                break;
            }
        }
        Some(numbers)
    }

    /// Reads the seats of a drawing that begins at a column.
    fn cells(&mut self, places: &str, first_column: usize) -> Vec<Cell> {
        let mut cells: Vec<Cell> = Vec::new();
        // The left half of a love seat.
        let mut half: Option<usize> = None;
        for ((x, column), symbol) in (1..).zip(first_column..).zip(places.chars()) {
            let letter = symbol.to_ascii_lowercase();
            match self.kinds.get(&letter).cloned() {
                _ if matches!(symbol, '_' | '.' | ' ') => {}
                _ if x > WIDTH_MAX => {
                    // The other seats of the line are outside as well.
                    self.mistake(column, PlanProblem::PlaceOutside);
                    break;
                }
                None if letter.is_ascii_lowercase() => self.mistake(column, PlanProblem::LetterUnknown { letter }),
                None => self.mistake(column, PlanProblem::SymbolUnknown { symbol }),
                Some(kind) => {
                    let mut cell = Cell { x, column, accessible: symbol.is_ascii_uppercase(), pair: None, kind };
                    if cell.kind.is_love {
                        let left = half.take().and_then(|left| cells.get_mut(left)).filter(|left| left.x == x - 1);
                        match left {
                            Some(left) => {
                                let pair = self.drawing.next_pair();
                                left.pair = Some(pair);
                                cell.pair = Some(pair);
                            }
                            None => half = Some(cells.len()),
                        }
                    }
                    cells.push(cell);
                }
            }
        }
        let alone = cells.iter().filter(|cell| cell.kind.is_love && cell.pair.is_none()).map(|cell| cell.column);
        for column in alone.collect::<Vec<_>>() {
            self.mistake(column, PlanProblem::PairAlone);
        }
        cells
    }
}

/// Returns the canonical text plan of some seats: the categories by name, then the rows from the screen backwards.
pub(super) fn print(layout: &PlannedLayout) -> Option<String> {
    let kind = |seat: &SeatSeed| Kind { category: seat.category.clone(), is_love: seat.pair.is_some() };
    let kinds: BTreeSet<Kind> = layout.seats.iter().map(kind).collect();
    let letters = letters(kinds)?;
    // The parts of rows that stand at one depth, from the screen and from the left.
    let mut lines: BTreeMap<(i32, &RowName), Vec<&SeatSeed>> = BTreeMap::new();
    for seat in &layout.seats {
        let is_inside = (1..=WIDTH_MAX).contains(&seat.x) && (1..=DEPTH_MAX).contains(&seat.y);
        if !is_inside || !(1..=NUMBER_MAX).contains(&seat.number) {
            return None;
        }
        lines.entry((seat.y, &seat.row)).or_default().push(seat);
    }
    let mut lines: Vec<_> = lines.into_iter().collect();
    for (_, seats) in &mut lines {
        seats.sort_by_key(|seat| seat.x);
    }
    lines.sort_by_key(|((y, _), seats)| (*y, seats.first().map(|seat| seat.x)));

    let mut text = String::new();
    for (kind, letter) in &letters {
        let word = if kind.is_love { "love" } else { "category" };
        writeln!(text, "{word} {letter} = {}", kind.category).ok()?;
    }
    let heads: Vec<(bool, String)> = heads(&lines);
    let width = heads.iter().map(|(_, head)| head.chars().count()).max().unwrap_or_default();
    let focus = |name: &str| layout.sections.iter().find(|section| section.name == name)?.focus;
    let mut focused = HashSet::new();
    let (mut section, mut last_y) = ("", 0);
    for (((y, _), seats), (is_deep, head)) in lines.iter().zip(heads) {
        let first = seats.first()?;
        if first.section != section {
            section = &first.section;
            writeln!(text, "{}", format!("section {section}").trim_end()).ok()?;
        }
        if focused.insert(section)
            && let Some(focus) = focus(section)
        {
            writeln!(text, "focus {},{}", focus.x, focus.y).ok()?;
        }
        if !is_deep {
            // An aisle across the hall.
            (last_y + 1..*y).for_each(|_| text.push_str("|\n"));
        }
        last_y = *y;
        writeln!(text, "{head:width$} | {}", places(seats, &letters)?).ok()?;
    }
    Some(text)
}

/// Chooses a letter for each kind, if possible one of its name; `l` for love seats. `None` if there are more kinds than letters.
fn letters(kinds: BTreeSet<Kind>) -> Option<BTreeMap<Kind, char>> {
    let mut letters: BTreeMap<Kind, char> = BTreeMap::new();
    let mut free: BTreeSet<char> = ('a'..='z').collect();
    // Love seats keep their letter from other kinds, unless several kinds need it.
    let mut kinds: Vec<Kind> = kinds.into_iter().collect();
    kinds.sort_by_key(|kind| !kind.is_love);
    for kind in kinds {
        let name = kind.category.to_ascii_lowercase();
        let wanted: Vec<char> = if kind.is_love { vec!['l'] } else { name.chars().collect() };
        let own = wanted.into_iter().find(|letter| free.contains(letter));
        let letter = own.or_else(|| free.first().copied())?;
        free.remove(&letter);
        letters.insert(kind, letter);
    }
    Some(letters)
}

/// Returns the text before the bar of each line, and whether it gives the depth.
fn heads(lines: &[((i32, &RowName), Vec<&SeatSeed>)]) -> Vec<(bool, String)> {
    let mut last_y = 0;
    let head = |((y, row), seats): &((i32, &RowName), Vec<&SeatSeed>)| {
        // A few empty lines are an aisle; more are easier to read as a number.
        let is_deep = !(last_y + 1..=last_y + 3).contains(y);
        last_y = *y;
        let mut options = Vec::new();
        let numbers: Vec<i32> = seats.iter().map(|seat| seat.number).collect();
        let count = i32::try_from(numbers.len()).unwrap_or(i32::MAX);
        if is_deep {
            options.push(format!("depth {y}"));
        }
        if numbers.iter().copied().eq((1..=count).rev()) && count > 1 {
            options.push("from right".to_owned());
        } else if !numbers.iter().copied().eq(1..=count) {
            options.push(format!("numbers {}", ranges(&numbers)));
        }
        let mut head = row_head(row);
        if !options.is_empty() {
            head.push_str(&format!(" [{}]", options.join(", ")));
        }
        (is_deep, head)
    };
    lines.iter().map(head).collect()
}

/// Returns the name of a row, in quotes if it would be read as something else.
fn row_head(row: &RowName) -> String {
    let name = row.as_str();
    let word = name.split_whitespace().next().unwrap_or_default();
    if KEYWORDS.contains(&word) || name.starts_with('#') || name.contains(['|', '[', '"']) {
        format!("\"{}\"", name.replace('"', "\"\""))
    } else {
        name.to_owned()
    }
}

/// Returns numbers as ranges, like `1-4 9 13-11`.
fn ranges(numbers: &[i32]) -> String {
    let mut ranges: Vec<(i32, i32)> = Vec::new();
    for number in numbers.iter().copied() {
        match ranges.last_mut() {
            Some((from, to)) if *from <= *to && number == *to + 1 => *to = number,
            Some((from, to)) if *from >= *to && number == *to - 1 => *to = number,
            _ => ranges.push((number, number)),
        }
    }
    let text = |(from, to): (i32, i32)| match from.abs_diff(to) {
        0 => format!("{from}"),
        1 => format!("{from} {to}"),
        _ => format!("{from}-{to}"),
    };
    ranges.into_iter().map(text).collect::<Vec<_>>().join(" ")
}

/// Returns the drawing of the seats of one line, which are ordered from the left. `None` if two are on one place, or a love seat is not two
/// letters side by side.
fn places(seats: &[&SeatSeed], letters: &BTreeMap<Kind, char>) -> Option<String> {
    let mut text = String::new();
    let mut next_x = 1;
    let mut half: Option<(i32, i32)> = None;
    for seat in seats {
        let kind = Kind { category: seat.category.clone(), is_love: seat.pair.is_some() };
        let letter = *letters.get(&kind)?;
        if seat.x < next_x {
            return None;
        }
        half = match (half, seat.pair) {
            (None, None) => None,
            (None, Some(pair)) => Some((pair, seat.x)),
            (Some(left), Some(pair)) if left == (pair, seat.x - 1) => None,
            _ => return None,
        };
        (next_x..seat.x).for_each(|_| text.push('_'));
        text.push(if seat.accessible { letter.to_ascii_uppercase() } else { letter });
        next_x = seat.x + 1;
    }
    half.is_none().then_some(text)
}
