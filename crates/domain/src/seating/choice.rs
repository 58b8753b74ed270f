//! Choosing seats: the best seats for a number of people, the gaps that a selection leaves, and alternatives.
//!
//! All functions are pure and exact. They run in the committer, between two commits, so they must also be fast: a row is scanned once,
//! whatever its seats are, and rows are combined only if no single row has enough seats.
//!
//! A love seat is taken whole or not at all. A half whose other half is taken cannot be sold, so it counts as taken.

use std::borrow::Cow;
use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;

use super::{FocalPoint, Layout, Seat, Section};
use crate::ids::SeatId;

/// The most seats that [`best_seats`] and [`alternatives`] search for. The cost of a search grows with this number.
pub const QUANTITY_MAX: usize = 100;

/// The most groups that [`alternatives`] returns.
const ALTERNATIVES_MAX: usize = 3;

/// The criteria for the best seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatWish {
    /// The number of seats, 1 to [`QUANTITY_MAX`].
    pub quantity: usize,
    /// Only seats of this category.
    pub category: Option<String>,
    /// `true` for accessible seats only, `false` for other seats only.
    pub accessible: Option<bool>,
}

impl SeatWish {
    /// Returns whether a seat satisfies the wish.
    fn fits(&self, seat: &Seat) -> bool {
        self.category.as_ref().is_none_or(|category| *category == seat.category)
            && self.accessible.is_none_or(|accessible| accessible == seat.accessible)
    }
}

/// Returns the best free seats that fit `wish`, by row, then number; `None` if no section has enough of them. All are in one section, and no
/// love seat is split.
///
/// Of two selections the better one is spread over fewer rows; if equal, leaves fewer single seats; then has fewer groups of neighbours;
/// then uses fewer accessible seats, because those who need one cannot take another; then is nearer to the best view
/// of its section; then has the smaller ids.
///
/// If the wish excludes seats of a row, the result may leave a gap that [`forbidden_gaps`] refuses, because other seats of that row would
/// have left none.
pub fn best_seats(layout: &Layout, taken: &HashSet<SeatId>, wish: &SeatWish) -> Option<Vec<SeatId>> {
    let quantity = wish.quantity;
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        return None;
    }
    let taken = unavailable(layout, taken);
    let wanted = |seat: &Seat| {
        let partner = layout.partner(seat.id).and_then(|partner| layout.seat(partner));
        wish.fits(seat) && partner.is_none_or(|partner| wish.fits(partner))
    };
    let mut search = Search::new(layout, &taken);
    let mut best: Option<(usize, Picks)> = None;
    for section in layout.sections() {
        search.focus = Focus::of(layout, section);
        let Some((rows, picks)) = search.section(&section.name, quantity, wanted) else { continue };
        best = match best {
            Some((fewer, best)) if fewer < rows => Some((fewer, best)),
            Some((same, best)) if same == rows => search.better(Some(best), Some(picks)).map(|better| (same, better)),
            _ => Some((rows, picks)),
        };
    }
    let (_, best) = best?;
    let best: HashSet<SeatId> = search.seats(best.last).into_iter().collect();
    Some(layout.seats().iter().map(|seat| seat.id).filter(|id| best.contains(id)).collect())
}

/// Returns the gaps for which a selection is refused if gaps are forbidden; empty if the selection is allowed.
///
/// Each row is judged separately. The gaps of a row are excused if every choice of the same number of free seats in this row, together or
/// apart, leaves a gap. Otherwise the last seats of a row could not be sold. So if a selection is refused, another selection of the same
/// size is always allowed. Choices that split a love seat do not count, and a love seat is never a gap.
pub fn forbidden_gaps(layout: &Layout, taken: &HashSet<SeatId>, seats: &[SeatId]) -> Vec<SeatId> {
    let taken = unavailable(layout, taken);
    let chosen: HashSet<SeatId> = seats.iter().copied().collect();
    let mut forbidden = Vec::new();
    for row in layout.rows().filter(|row| row.iter().any(|seat| chosen.contains(&seat.id))) {
        let row = line(row);
        let gaps = row_gaps(&row, &taken, &chosen);
        let quantity = row.iter().filter(|seat| chosen.contains(&seat.id) && !taken.contains(&seat.id)).count();
        if !gaps.is_empty() && can_leave_no_gap(layout, &taken, &row, quantity) {
            forbidden.extend(gaps);
        }
    }
    forbidden
}

/// Returns up to three disjoint groups of `quantity` free neighbours, the best first, each by number. No love seat is split. If `forbid_gaps`
/// is set, [`forbidden_gaps`] allows each of them.
///
/// `near` are the requested seats. The better group leaves fewer gaps; if equal, its number of accessible seats is closer to that of
/// `near`; then it is nearer to the centre of `near` (or to the best view of its section if `near` is
/// empty); then it has the smaller ids.
pub fn alternatives(
    layout: &Layout,
    taken: &HashSet<SeatId>,
    quantity: usize,
    near: &[SeatId],
    forbid_gaps: bool,
) -> Vec<Vec<SeatId>> {
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        return Vec::new();
    }
    let near: Vec<&Seat> = near.iter().filter_map(|id| layout.seat(*id)).collect();
    let accessible_wanted = accessible(near.iter().copied());
    let taken = unavailable(layout, taken);
    let amid = Focus::amid(&near);
    let views: Vec<_> = layout.sections().iter().map(|section| (section, Focus::of(layout, section))).collect();
    let mut groups = Vec::new();
    for row in layout.rows() {
        let of_row = |(section, _): &&(&Section, Focus)| row.first().is_some_and(|seat| seat.section == section.name);
        let view = || views.iter().find(of_row).map(|(_, focus)| focus);
        let Some(focus) = amid.as_ref().or_else(view) else { continue };
        let row = line(row);
        let mut gap_is_excused = None;
        for group in blocks(&row).flat_map(|block| block.windows(quantity)) {
            if group.iter().any(|seat| taken.contains(&seat.id)) {
                continue;
            }
            let mut by_number: Vec<&Seat> = group.to_vec();
            by_number.sort_by_key(|seat| seat.number);
            let group_ids: Vec<SeatId> = by_number.iter().map(|seat| seat.id).collect();
            if !layout.missing_halves(&group_ids).is_empty() {
                continue;
            }
            let gaps = row_gaps(&row, &taken, &group_ids.iter().copied().collect()).len();
            if gaps > 0
                && forbid_gaps
                && !*gap_is_excused.get_or_insert_with(|| !can_leave_no_gap(layout, &taken, &row, quantity))
            {
                continue;
            }
            let accessible_off = accessible(group.iter().copied()).abs_diff(accessible_wanted);
            let distance = group.iter().fold(0_i64, |sum, seat| sum.saturating_add(focus.distance(seat)));
            let mut seats = group_ids.clone();
            seats.sort_unstable();
            groups.push((gaps, accessible_off, distance, seats, group_ids));
        }
    }
    groups.sort_unstable_by(|a, b| (a.0, a.1, a.2, &a.3).cmp(&(b.0, b.1, b.2, &b.3)));
    let mut offered = HashSet::new();
    let mut found = Vec::new();
    for (_, _, _, seats, group) in groups {
        if found.len() < ALTERNATIVES_MAX && seats.iter().all(|id| !offered.contains(id)) {
            offered.extend(seats);
            found.push(group);
        }
    }
    found
}

/// Returns the number of accessible seats.
fn accessible<'seat>(seats: impl IntoIterator<Item = &'seat Seat>) -> usize {
    seats.into_iter().filter(|seat| seat.accessible).count()
}

/// Returns the taken seats, and the halves of love seats whose other half is taken.
fn unavailable<'taken>(layout: &Layout, taken: &'taken HashSet<SeatId>) -> Cow<'taken, HashSet<SeatId>> {
    let halves: Vec<SeatId> = taken.iter().filter_map(|seat| layout.partner(*seat)).collect();
    if halves.iter().all(|half| taken.contains(half)) {
        return Cow::Borrowed(taken);
    }
    Cow::Owned(taken.iter().copied().chain(halves).collect())
}

/// Returns the seats of a row as they stand, from the left. Their numbers may be in another order.
fn line(row: &[Seat]) -> Vec<&Seat> {
    let mut line: Vec<&Seat> = row.iter().collect();
    line.sort_by_key(|seat| (seat.x, seat.y));
    line
}

/// Returns the blocks of a row: its seats between aisles.
fn blocks<'row, 'seat>(row: &'row [&'seat Seat]) -> impl Iterator<Item = &'row [&'seat Seat]> {
    row.chunk_by(|a, b| a.is_beside(b))
}

/// Splits neighbours at the borders between seats `within` a set and other seats. Each part is returned with whether it is in the set.
fn parts<'row, 'seat>(
    seats: &'row [&'seat Seat],
    within: &HashSet<SeatId>,
) -> impl Iterator<Item = (&'row [&'seat Seat], bool)> {
    seats
        .chunk_by(|a, b| within.contains(&a.id) == within.contains(&b.id))
        .map(|part| (part, part.first().is_some_and(|seat| within.contains(&seat.id))))
}

/// Returns the single seats of a row that a selection newly leaves: free seats with no free neighbour on either side (a taken or selected
/// seat, an aisle or the end of the row is not free) that had one before.
fn row_gaps(row: &[&Seat], taken: &HashSet<SeatId>, chosen: &HashSet<SeatId>) -> Vec<SeatId> {
    if !row.iter().any(|seat| chosen.contains(&seat.id)) {
        return Vec::new();
    }
    let mut gaps = Vec::new();
    for (free, is_taken) in blocks(row).flat_map(|block| parts(block, taken)) {
        if is_taken || free.len() < 2 {
            continue;
        }
        for (left, is_chosen) in parts(free, chosen) {
            if let ([seat], false) = (left, is_chosen) {
                gaps.push(seat.id);
            }
        }
    }
    gaps
}

/// Returns whether `quantity` free seats of a row can be chosen so that no single seat is newly left and no love seat is split.
fn can_leave_no_gap(layout: &Layout, taken: &HashSet<SeatId>, row: &[&Seat], quantity: usize) -> bool {
    let best = Search::new(layout, taken).row(row, quantity, |_| true).pop().flatten();
    best.is_some_and(|picks| picks.gaps == 0)
}

/// A point to which seats should be near.
struct Focus {
    /// The factor by which its coordinates and those of seats are multiplied, so that they are integers.
    scale: i64,
    x: i64,
    y: i64,
}

impl Focus {
    /// The factor of the points of best view: the middle between two seats and thirds of a row are integers.
    const VIEW_SCALE: i64 = 6;

    /// Returns the point with the best view of a section: its focal point, or the middle of its width, and two thirds of the way to its last
    /// row.
    fn of(layout: &Layout, section: &Section) -> Self {
        if let Some(FocalPoint { x, y }) = section.focus {
            return Self {
                scale: Self::VIEW_SCALE,
                x: Self::VIEW_SCALE * i64::from(x),
                y: Self::VIEW_SCALE * i64::from(y),
            };
        }
        let bounds = |of: fn(&Seat) -> i32| {
            let all = || layout.seats().iter().filter(|seat| seat.section == section.name).map(of);
            (i64::from(all().min().unwrap_or_default()), i64::from(all().max().unwrap_or_default()))
        };
        let (left, right) = bounds(|seat| seat.x);
        let (front, back) = bounds(|seat| seat.y);
        Self { scale: Self::VIEW_SCALE, x: 3 * (left + right), y: 2 * front + 4 * back }
    }

    /// Returns the centre of some seats; `None` if there are none.
    fn amid(seats: &[&Seat]) -> Option<Self> {
        let scale = i64::try_from(seats.len()).ok().filter(|count| *count > 0)?;
        let sum = |of: fn(&Seat) -> i32| seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(of(seat).into()));
        Some(Self { scale, x: sum(|seat| seat.x), y: sum(|seat| seat.y) })
    }

    /// Returns the square of a seat's distance, scaled.
    fn distance(&self, seat: &Seat) -> i64 {
        let square = |at: i32, focus: i64| {
            let off = i64::from(at).saturating_mul(self.scale).saturating_sub(focus);
            off.saturating_mul(off)
        };
        square(seat.x, self.x).saturating_add(square(seat.y, self.y))
    }
}

/// The cost of a choice among the scanned seats, in the order of [`best_seats`] without the rows, and the seats themselves.
///
/// The cost is additive over seats and rows. If one of two choices of equally many seats is better, it stays better when the same is added
/// to both. So the best choice for each number of seats is enough to find the best of all.
#[derive(Clone, Copy, Default)]
struct Picks {
    gaps: usize,
    groups: usize,
    accessible: usize,
    distance: i64,
    /// The seat chosen last, as an index into [`Search::links`].
    last: Option<usize>,
}

impl Picks {
    /// Returns the cost without the seats.
    fn cost(&self) -> (usize, usize, usize, i64) {
        (self.gaps, self.groups, self.accessible, self.distance)
    }

    /// Returns the same choice with one more gap.
    fn and_gap(mut self) -> Self {
        self.gaps += 1;
        self
    }
}

/// The best choices of one number of seats, by the state of the seat scanned last, because the cost of the next seat depends on it.
#[derive(Clone, Copy, Default)]
struct Ends {
    /// The last seat is unavailable: a taken seat, an aisle or the beginning of the row.
    wall: Option<Picks>,
    chosen: Option<Picks>,
    /// The last seat is free and follows a wall. If a wall follows too, it was single before.
    single_by_wall: Option<Picks>,
    /// The last seat is free and follows a chosen one.
    single_by_chosen: Option<Picks>,
    /// The last seat is free and follows a free one.
    room: Option<Picks>,
}

/// A chosen seat and the seat chosen before it, as an index into [`Search::links`].
struct Link {
    seat: SeatId,
    before: Option<usize>,
}

/// A search for the best seats.
struct Search<'show> {
    layout: &'show Layout,
    /// Without lone halves of love seats, see [`unavailable`].
    taken: &'show HashSet<SeatId>,
    focus: Focus,
    links: Vec<Link>,
}

impl<'show> Search<'show> {
    fn new(layout: &'show Layout, taken: &'show HashSet<SeatId>) -> Self {
        Self { layout, taken, focus: Focus { scale: 1, x: 0, y: 0 }, links: Vec::new() }
    }

    /// Returns the best choice of `quantity` seats of a section that are `wanted`, with its number of rows.
    fn section(
        &mut self,
        name: &str,
        quantity: usize,
        wanted: impl Fn(&Seat) -> bool + Copy,
    ) -> Option<(usize, Picks)> {
        // The rows with the most seats first.
        let mut rows: Vec<(usize, Vec<&Seat>)> = Vec::new();
        for row in self.layout.rows().filter(|row| row.first().is_some_and(|seat| seat.section == name)) {
            let free = row.iter().filter(|seat| wanted(seat) && !self.taken.contains(&seat.id)).count();
            rows.push((free, line(row)));
        }
        rows.sort_by_key(|(free, _)| Reverse(*free));
        let mut found = 0;
        let rows_before = rows.iter().take_while(|(free, _)| {
            found += free;
            found < quantity
        });
        let rows_needed = rows_before.count() + 1;
        if rows_needed > rows.len() {
            return None;
        }
        if rows_needed == 1 {
            let mut best = None;
            for (_, row) in rows.iter().take_while(|(free, _)| *free >= quantity) {
                let picks = self.row(row, quantity, wanted).pop().flatten();
                best = self.better(best, picks);
            }
            if let Some(best) = best {
                return Some((1, best));
            }
        }
        let rows: Vec<_> = rows.into_iter().map(|(_, row)| self.row(&row, quantity, wanted)).collect();
        let best = self.combined(&rows, rows_needed, quantity).map(|picks| (rows_needed, picks));
        // An odd number of seats may need one row more, because love seats are even: three of `(oo)(oo)` and `o` are in two rows.
        best.or_else(|| self.combined(&rows, rows_needed + 1, quantity).map(|picks| (rows_needed + 1, picks)))
    }

    /// Returns the best choices of 0, 1, … `most` free seats of a row, as they stand, that are `wanted`.
    fn row(&mut self, row: &[&Seat], most: usize, wanted: impl Fn(&Seat) -> bool) -> Vec<Option<Picks>> {
        let mut counts = vec![Ends::default(); most + 1];
        if let Some(none) = counts.first_mut() {
            none.wall = Some(Picks::default());
        }
        for block in blocks(row) {
            let mut rest = block.iter();
            while let Some(seat) = rest.next() {
                if self.taken.contains(&seat.id) {
                    self.wall(&mut counts);
                } else if let Some(partner) = self.layout.partner(seat.id) {
                    // The halves are neighbours, and both or neither are taken.
                    match rest.next().filter(|other| other.id == partner) {
                        Some(other) => self.free_pair(&mut counts, [seat, other], wanted(seat)),
                        None => self.wall(&mut counts),
                    }
                } else {
                    self.free(&mut counts, seat, wanted(seat));
                }
            }
            self.wall(&mut counts);
        }
        counts.into_iter().map(|ends| ends.wall).collect()
    }

    /// Extends all choices by an unavailable position.
    fn wall(&self, counts: &mut [Ends]) {
        for ends in counts {
            let single = ends.single_by_chosen.map(Picks::and_gap);
            let wall = [ends.wall, ends.chosen, ends.single_by_wall, single, ends.room];
            let wall = wall.into_iter().fold(None, |best, other| self.better(best, other));
            *ends = Ends { wall, ..Ends::default() };
        }
    }

    /// Extends all choices by a free seat, which is left free or, if it is wanted, chosen.
    fn free(&mut self, counts: &mut [Ends], seat: &Seat, wanted: bool) {
        let distance = self.focus.distance(seat);
        let mut fewer = Ends::default();
        for ends in counts {
            let left = *ends;
            *ends = Ends {
                wall: None,
                chosen: if wanted { self.chosen(&fewer, seat, distance) } else { None },
                single_by_wall: left.wall,
                single_by_chosen: left.chosen,
                room: self.better(left.room, self.better(left.single_by_wall, left.single_by_chosen)),
            };
            fewer = left;
        }
    }

    /// Extends all choices by a free love seat, which is left free or, if it is wanted, chosen whole.
    fn free_pair(&mut self, counts: &mut [Ends], [first, second]: [&Seat; 2], wanted: bool) {
        let distances = [first, second].map(|seat| self.focus.distance(seat));
        // The choices of two seats fewer, and of one seat fewer.
        let mut fewer = [Ends::default(); 2];
        for ends in counts {
            let left = *ends;
            let [two_fewer, one_fewer] = fewer;
            let [of_first, of_second] = distances;
            let chosen = if wanted { self.chosen(&two_fewer, first, of_first) } else { None };
            let chosen = self.chosen(&Ends { chosen, ..Ends::default() }, second, of_second);
            let any = [left.wall, left.chosen, left.single_by_wall, left.single_by_chosen, left.room];
            let room = any.into_iter().fold(None, |best, other| self.better(best, other));
            *ends = Ends { chosen, room, ..Ends::default() };
            fewer = [one_fewer, left];
        }
    }

    /// Returns the best choice that ends with `seat`, given the choices of one seat fewer.
    fn chosen(&mut self, fewer: &Ends, seat: &Seat, distance: i64) -> Option<Picks> {
        let new_group = |picks: Option<Picks>| picks.map(|picks| Picks { groups: picks.groups + 1, ..picks });
        let apart = self.better(new_group(fewer.wall), new_group(fewer.room));
        let single = self.better(fewer.single_by_wall, fewer.single_by_chosen).map(Picks::and_gap);
        let best = self.better(fewer.chosen, self.better(apart, new_group(single)))?;
        let last = Some(self.links.len());
        self.links.push(Link { seat: seat.id, before: best.last });
        Some(Picks {
            accessible: best.accessible + usize::from(seat.accessible),
            distance: best.distance.saturating_add(distance),
            last,
            ..best
        })
    }

    /// Returns the better of two choices of equally many seats.
    fn better(&self, a: Option<Picks>, b: Option<Picks>) -> Option<Picks> {
        let (Some(first), Some(second)) = (&a, &b) else { return a.or(b) };
        let order = first.cost().cmp(&second.cost()).then_with(|| self.compare_seats(first.last, second.last));
        if order == Ordering::Greater { b } else { a }
    }

    /// Compares the seats of two choices of equally many seats, each in ascending order.
    fn compare_seats(&self, mut a: Option<usize>, mut b: Option<usize>) -> Ordering {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        // Two choices are equal before a shared link, so the seats before it need not be compared.
        while a != b {
            if let Some(link) = a.and_then(|place| self.links.get(place)) {
                of_a.push(link.seat);
                a = link.before;
            }
            if let Some(link) = b.and_then(|place| self.links.get(place)) {
                of_b.push(link.seat);
                b = link.before;
            }
        }
        of_a.sort_unstable();
        of_b.sort_unstable();
        of_a.cmp(&of_b)
    }

    /// Returns the seats of a choice.
    fn seats(&self, last: Option<usize>) -> Vec<SeatId> {
        let link = |place: Option<usize>| place.and_then(|place| self.links.get(place));
        std::iter::successors(link(last), |chosen| link(chosen.before)).map(|chosen| chosen.seat).collect()
    }

    /// Returns the best choice of `quantity` seats in exactly `most` of the `rows`, given the best choices of each row.
    fn combined(&mut self, rows: &[Vec<Option<Picks>>], most: usize, quantity: usize) -> Option<Picks> {
        // The best choices in the scanned rows, by the number of used rows, then by the number of chosen seats.
        let mut best = vec![vec![None; quantity + 1]; most + 1];
        if let Some(none) = best.first_mut().and_then(|counts| counts.first_mut()) {
            *none = Some(Picks::default());
        }
        for row in rows {
            // In descending order, so that a row is not added to a choice that already has it.
            for used in (1..=most).rev() {
                let (with_fewer, with_these) = best.split_at_mut(used);
                let (Some(fewer), Some(these)) = (with_fewer.last(), with_these.first_mut()) else { continue };
                for (count, best) in these.iter_mut().enumerate().skip(1) {
                    // One seat of this row and the others of earlier rows, two seats and the others, …
                    for (of_row, before) in row.iter().skip(1).zip(fewer.iter().take(count).rev()) {
                        if let (Some(of_row), Some(before)) = (of_row, before) {
                            *best = self.better_of_both(*best, before, of_row);
                        }
                    }
                }
            }
        }
        best.pop()?.pop()?
    }

    /// Returns the better of `best` and of the union of two choices in different rows.
    fn better_of_both(&mut self, best: Option<Picks>, before: &Picks, of_row: &Picks) -> Option<Picks> {
        let mut both = Picks {
            gaps: before.gaps + of_row.gaps,
            groups: before.groups + of_row.groups,
            accessible: before.accessible + of_row.accessible,
            distance: before.distance.saturating_add(of_row.distance),
            last: before.last,
        };
        if best.is_some_and(|best| best.cost() < both.cost()) {
            return best;
        }
        for seat in self.seats(of_row.last) {
            let before = both.last;
            both.last = Some(self.links.len());
            self.links.push(Link { seat, before });
        }
        self.better(best, Some(both))
    }
}

#[cfg(test)]
pub(super) mod tests;
