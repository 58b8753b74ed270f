//! Plans as rows: each with its first and last number, and the numbers of its aisles, accessible seats and love seats.

use std::collections::btree_map::Entry;
use std::collections::{BTreeSet, HashMap};

use super::{Drawing, DrawnSection, MISTAKES_MAX, PlanPlace, PlanProblem};
use crate::seating::{FocalPoint, RowName, SeatSeed};

/// A row, or the next part of one: plans with the same row are joined from the left, for example if a row has two categories.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RowPlan {
    /// The name of the row.
    pub row: String,
    /// The number of the leftmost seat. If it is greater than `to`, the seats are numbered from the right.
    pub from: i32,
    /// The number of the rightmost seat.
    pub to: i32,
    pub category: String,
    /// The numbers of the seats to the right of which there is an aisle, one seat wide.
    pub aisles_after: Vec<i32>,
    /// The numbers of the seats for people in a wheelchair and their companions.
    pub accessible: Vec<i32>,
    /// Numbers that no seat has. They take no place.
    pub skip: Vec<i32>,
    /// The love seats: two neighbours each.
    pub pairs: Vec<(i32, i32)>,
    /// The section; empty for the main section.
    pub section: String,
    /// The position of the leftmost seat, in seat widths; by default 1, or the next place of a row that is continued.
    pub x: Option<i32>,
    /// The position from the screen, in seat depths; by default one behind the row before, or that of the row that is continued.
    pub y: Option<i32>,
}

/// The focal point of a section.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SectionPlan {
    /// Empty for the main section.
    pub name: String,
    pub focus: Option<FocalPoint>,
}

/// The end of a row so far.
struct RowEnd {
    /// The next free place, behind the aisle if there is one.
    next_x: i32,
    y: i32,
}

pub(super) fn draw(rows: &[RowPlan], sections: &[SectionPlan], drawing: &mut Drawing) {
    for (index, section) in sections.iter().enumerate() {
        let place = PlanPlace::Section { index, member: "name" };
        let focus_place = PlanPlace::Section { index, member: "focus" };
        let focus = section.focus.and_then(|FocalPoint { x, y }| drawing.focal_point(x.into(), y.into(), &focus_place));
        let Some(name) = drawing.section_name(&section.name, &place) else { continue };
        match drawing.sections.entry(name) {
            Entry::Vacant(entry) => {
                entry.insert(DrawnSection { focus, place });
            }
            Entry::Occupied(entry) => {
                let name = entry.key().clone();
                drawing.mistake(place, PlanProblem::SectionRepeated { name });
            }
        }
    }
    let mut ends: HashMap<RowName, RowEnd> = HashMap::new();
    let mut last_y = 0;
    for (index, plan) in rows.iter().enumerate() {
        if drawing.is_full || drawing.mistakes.len() > MISTAKES_MAX {
            return;
        }
        draw_row(plan, index, &mut ends, &mut last_y, drawing);
    }
}

fn draw_row(
    plan: &RowPlan,
    index: usize,
    ends: &mut HashMap<RowName, RowEnd>,
    last_y: &mut i32,
    drawing: &mut Drawing,
) {
    let at = |member| PlanPlace::Row { index, member };
    let row = drawing.row_name(&plan.row, &at("row"));
    let category = drawing.category(&plan.category, &at("category"));
    let section = drawing.section_name(&plan.section, &at("section"));
    let from = drawing.check_number(plan.from.into(), &at("from"));
    let to = drawing.check_number(plan.to.into(), &at("to"));
    let (Some(from), Some(to)) = (from, to) else { return };
    let in_range = |number: &i32| (from.min(to)..=from.max(to)).contains(number);
    for number in plan.skip.iter().filter(|number| !in_range(number)) {
        drawing.mistake(at("skip"), PlanProblem::NumberUnknown { number: *number });
    }
    let skipped: BTreeSet<i32> = plan.skip.iter().copied().collect();
    let mut numbers: Vec<i32> = (from.min(to)..=from.max(to)).filter(|number| !skipped.contains(number)).collect();
    if from > to {
        numbers.reverse();
    }
    if numbers.is_empty() {
        drawing.mistake(at("skip"), PlanProblem::RowWithoutSeats);
    }
    let known: BTreeSet<i32> = numbers.iter().copied().collect();
    for (member, listed) in [("aisles_after", &plan.aisles_after), ("accessible", &plan.accessible)] {
        for number in listed.iter().filter(|number| !known.contains(number)) {
            drawing.mistake(at(member), PlanProblem::NumberUnknown { number: *number });
        }
    }
    let aisles: BTreeSet<i32> = plan.aisles_after.iter().copied().collect();
    let accessible: BTreeSet<i32> = plan.accessible.iter().copied().collect();

    let end = row.as_ref().and_then(|row| ends.get(row));
    let mut x = plan.x.or(end.map(|end| end.next_x)).unwrap_or(1);
    let y = plan.y.or(end.map(|end| end.y)).unwrap_or(last_y.saturating_add(1));
    *last_y = if end.is_some() { y.max(*last_y) } else { y };
    let mut places: HashMap<i32, i32> = HashMap::new();
    for number in &numbers {
        places.insert(*number, x);
        x = x.saturating_add(if aisles.contains(number) { 2 } else { 1 });
    }
    let pairs = pairs(plan, &places, &at("pairs"), drawing);
    let (Some(row), Some(category), Some(section)) = (row, category, section) else { return };
    ends.insert(row.clone(), RowEnd { next_x: x, y });
    for number in numbers {
        let seat = SeatSeed {
            row: row.clone(),
            number,
            category: category.clone(),
            accessible: accessible.contains(&number),
            x: places.get(&number).copied().unwrap_or_default(),
            y,
            section: section.clone(),
            pair: pairs.get(&number).copied(),
        };
        drawing.add(seat, at("from"));
    }
}

/// Returns the love seat of each of its seats.
fn pairs(plan: &RowPlan, places: &HashMap<i32, i32>, at: &PlanPlace, drawing: &mut Drawing) -> HashMap<i32, i32> {
    let mut pairs = HashMap::new();
    for (first, second) in plan.pairs.iter().copied() {
        let unknown: Vec<i32> = [first, second].into_iter().filter(|number| !places.contains_key(number)).collect();
        for number in &unknown {
            drawing.mistake(at.clone(), PlanProblem::NumberUnknown { number: *number });
        }
        let (Some(left), Some(right)) = (places.get(&first), places.get(&second)) else { continue };
        if left.abs_diff(*right) != 1 {
            drawing.mistake(at.clone(), PlanProblem::PairApart { first, second });
            continue;
        }
        let pair = drawing.next_pair();
        for number in [first, second] {
            if pairs.insert(number, pair).is_some() {
                drawing.mistake(at.clone(), PlanProblem::PairRepeated { number });
            }
        }
    }
    pairs
}
