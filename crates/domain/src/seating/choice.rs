//! Choosing seats: the best ones for a number of people, what a selection leaves to others, and what to offer instead.
//!
//! Everything here is pure and exact. It runs in the committer, between two commits, so that it must be fast too: a row is
//! gone through once, whatever its seats are, and rows are only combined where one alone has too few seats.

use std::cmp::{Ordering, Reverse};
use std::collections::HashSet;

use super::{Layout, Seat};
use crate::ids::SeatId;

/// The most seats that [`best_seats`] and [`alternatives`] look for: what a search costs grows with it.
pub const QUANTITY_MAX: usize = 100;

/// The most groups that [`alternatives`] finds.
const ALTERNATIVES_MAX: usize = 3;

/// What is wanted of the best seats.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatWish {
    /// How many, 1 to [`QUANTITY_MAX`].
    pub quantity: usize,
    /// Only seats of this category.
    pub category: Option<String>,
    /// Only accessible seats, or none of them.
    pub accessible: Option<bool>,
}

impl SeatWish {
    /// Returns whether a seat is one of those that are wanted.
    fn fits(&self, seat: &Seat) -> bool {
        self.category.as_ref().is_none_or(|category| *category == seat.category)
            && self.accessible.is_none_or(|accessible| accessible == seat.accessible)
    }
}

/// Returns the best free seats that fit `wish`, by row, then number; `None` if there are not enough of them.
///
/// Of two selections the better one is spread over fewer rows; if equal, leaves fewer single seats; then has fewer groups of neighbours;
/// then uses fewer accessible seats, because those who need one cannot take another; then is nearer to where one sees best; then has the
/// smaller ids.
///
/// Where the wish leaves out seats of a row, this may leave a gap for which [`forbidden_gaps`] would refuse it: other seats
/// of that row would have left none.
pub fn best_seats(layout: &Layout, taken: &HashSet<SeatId>, wish: &SeatWish) -> Option<Vec<SeatId>> {
    let quantity = wish.quantity;
    if !(1..=QUANTITY_MAX).contains(&quantity) {
        return None;
    }
    let wanted = |seat: &Seat| wish.fits(seat);
    // The rows with the most seats first.
    let mut rows: Vec<(usize, &[Seat])> = Vec::new();
    for row in layout.rows() {
        let free = row.iter().filter(|seat| wanted(seat) && !taken.contains(&seat.id)).count();
        rows.push((free, row));
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

    let mut search = Search::new(layout, taken);
    let best = if rows_needed == 1 {
        let mut best = None;
        for (_, row) in rows.into_iter().take_while(|(free, _)| *free >= quantity) {
            let picks = search.row(row, quantity, wanted).pop().flatten();
            best = search.better(best, picks);
        }
        best
    } else {
        let rows: Vec<_> = rows.into_iter().map(|(_, row)| search.row(row, quantity, wanted)).collect();
        search.combined(&rows, rows_needed, quantity)
    };
    let best: HashSet<SeatId> = search.seats(best?.last).into_iter().collect();
    Some(layout.seats().iter().map(|seat| seat.id).filter(|id| best.contains(id)).collect())
}

/// Returns the gaps for which a selection is refused where no gaps may be left; none if it is allowed.
///
/// Each row is judged alone. A gap is excused where as many free seats of its row as the selection has there can't be chosen,
/// together or apart, without leaving one: somebody must be able to buy the last seats. So another selection of that size is
/// always allowed where one is refused.
pub fn forbidden_gaps(layout: &Layout, taken: &HashSet<SeatId>, seats: &[SeatId]) -> Vec<SeatId> {
    let chosen: HashSet<SeatId> = seats.iter().copied().collect();
    let mut forbidden = Vec::new();
    for row in layout.rows() {
        let gaps = row_gaps(row, taken, &chosen);
        let quantity = row.iter().filter(|seat| chosen.contains(&seat.id) && !taken.contains(&seat.id)).count();
        if !gaps.is_empty() && can_leave_no_gap(layout, taken, row, quantity) {
            forbidden.extend(gaps);
        }
    }
    forbidden
}

/// Up to three groups of `quantity` free neighbours, none of them sharing a seat, the best first; where `forbid_gaps` is set
/// only such as [`forbidden_gaps`] allows.
///
/// `near` are the seats that were wanted. Among groups that leave as many gaps those are better that have as many accessible
/// seats as were wanted, then those nearer to the middle of what was wanted (without `near`, to where one sees best), then
/// the ones with smaller ids.
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
    let focus = Focus::amid(&near).unwrap_or_else(|| Focus::of(layout));
    let mut groups = Vec::new();
    for row in layout.rows() {
        let mut gap_is_excused = None;
        for group in blocks(row).flat_map(|block| block.windows(quantity)) {
            if group.iter().any(|seat| taken.contains(&seat.id)) {
                continue;
            }
            let mut seats: Vec<SeatId> = group.iter().map(|seat| seat.id).collect();
            let gaps = row_gaps(row, taken, &seats.iter().copied().collect()).len();
            if gaps > 0
                && forbid_gaps
                && !*gap_is_excused.get_or_insert_with(|| !can_leave_no_gap(layout, taken, row, quantity))
            {
                continue;
            }
            let accessible_off = accessible(group).abs_diff(accessible_wanted);
            let distance = group.iter().fold(0_i64, |sum, seat| sum.saturating_add(focus.distance(seat)));
            seats.sort_unstable();
            groups.push((gaps, accessible_off, distance, seats, group));
        }
    }
    groups.sort_unstable_by(|a, b| (a.0, a.1, a.2, &a.3).cmp(&(b.0, b.1, b.2, &b.3)));
    let mut offered = HashSet::new();
    let mut found = Vec::new();
    for (_, _, _, seats, group) in groups {
        if found.len() < ALTERNATIVES_MAX && seats.iter().all(|id| !offered.contains(id)) {
            offered.extend(seats);
            found.push(group.iter().map(|seat| seat.id).collect());
        }
    }
    found
}

/// Returns how many of them are accessible.
fn accessible<'seat>(seats: impl IntoIterator<Item = &'seat Seat>) -> usize {
    seats.into_iter().filter(|seat| seat.accessible).count()
}

/// Returns a row's seats between aisles.
fn blocks(row: &[Seat]) -> impl Iterator<Item = &[Seat]> {
    row.chunk_by(Seat::is_beside)
}

/// Neighbours cut where those `within` a set meet the others, each part with whether it is in the set.
fn parts<'row>(seats: &'row [Seat], within: &HashSet<SeatId>) -> impl Iterator<Item = (&'row [Seat], bool)> {
    seats
        .chunk_by(|a, b| within.contains(&a.id) == within.contains(&b.id))
        .map(|part| (part, part.first().is_some_and(|seat| within.contains(&seat.id))))
}

/// Returns the single seats of a row that a selection newly leaves: free ones with no free neighbour on either side (a taken or selected
/// seat, an aisle or the end of the row is not free) that had one before.
fn row_gaps(row: &[Seat], taken: &HashSet<SeatId>, chosen: &HashSet<SeatId>) -> Vec<SeatId> {
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

/// Returns whether `quantity` free seats of a row can be chosen so that no single one is newly left.
fn can_leave_no_gap(layout: &Layout, taken: &HashSet<SeatId>, row: &[Seat], quantity: usize) -> bool {
    let best = Search::new(layout, taken).row(row, quantity, |_| true).pop().flatten();
    best.is_some_and(|picks| picks.gaps == 0)
}

/// A point that seats should be near to.
struct Focus {
    /// What its coordinates and those of seats are multiplied by, so that they are integers.
    scale: i64,
    x: i64,
    y: i64,
}

impl Focus {
    /// Where one sees best.
    fn of(layout: &Layout) -> Self {
        let bounds = |of: fn(&Seat) -> i32| {
            let all = || layout.seats().iter().map(of);
            (i64::from(all().min().unwrap_or_default()), i64::from(all().max().unwrap_or_default()))
        };
        let (left, right) = bounds(|seat| seat.x);
        let (front, back) = bounds(|seat| seat.y);
        Self { scale: 6, x: 3 * (left + right), y: 2 * front + 4 * back }
    }

    /// Returns the middle of some seats.
    fn amid(seats: &[&Seat]) -> Option<Self> {
        let scale = i64::try_from(seats.len()).ok().filter(|count| *count > 0)?;
        let sum = |of: fn(&Seat) -> i32| seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(of(seat).into()));
        Some(Self { scale, x: sum(|seat| seat.x), y: sum(|seat| seat.y) })
    }

    /// Returns the square of a seat's distance.
    fn distance(&self, seat: &Seat) -> i64 {
        let square = |at: i32, focus: i64| {
            let off = i64::from(at).saturating_mul(self.scale).saturating_sub(focus);
            off.saturating_mul(off)
        };
        square(seat.x, self.x).saturating_add(square(seat.y, self.y))
    }
}

/// What a choice among seats that were gone through costs, in the order of [`best_seats`] but for rows, and the seats themselves.
/// All of it adds up over seats and rows, and of two choices of as many seats the better stays the better whatever is added
/// to both. That is why keeping the best for each number of seats is enough to find the best of all.
#[derive(Clone, Copy, Default)]
struct Picks {
    gaps: usize,
    groups: usize,
    accessible: usize,
    distance: i64,
    /// The seat chosen last, as a place in [`Search::links`].
    last: Option<usize>,
}

impl Picks {
    /// Returns all but the seats.
    fn cost(&self) -> (usize, usize, usize, i64) {
        (self.gaps, self.groups, self.accessible, self.distance)
    }

    /// Returns the same with one gap more.
    fn and_gap(mut self) -> Self {
        self.gaps += 1;
        self
    }
}

/// The best choices of one number of seats, by what the seat gone through last has become: that decides what the next one
/// may cost.
#[derive(Clone, Copy, Default)]
struct Ends {
    /// Nothing that can be had: taken, an aisle, the beginning.
    wall: Option<Picks>,
    chosen: Option<Picks>,
    /// Left, after a wall: it was single before if a wall follows too.
    single_by_wall: Option<Picks>,
    /// Left, after a chosen one.
    single_by_chosen: Option<Picks>,
    /// Left, as the one before.
    room: Option<Picks>,
}

/// A chosen seat and, as a place in [`Search::links`], the one chosen before it.
struct Link {
    seat: SeatId,
    before: Option<usize>,
}

/// A search for the best seats.
struct Search<'show> {
    taken: &'show HashSet<SeatId>,
    focus: Focus,
    links: Vec<Link>,
}

impl<'show> Search<'show> {
    fn new(layout: &Layout, taken: &'show HashSet<SeatId>) -> Self {
        Self { taken, focus: Focus::of(layout), links: Vec::new() }
    }

    /// Returns the best choices of 0, 1, … `most` free seats of a row that are `wanted`.
    fn row(&mut self, row: &[Seat], most: usize, wanted: impl Fn(&Seat) -> bool) -> Vec<Option<Picks>> {
        let mut counts = vec![Ends::default(); most + 1];
        if let Some(none) = counts.first_mut() {
            none.wall = Some(Picks::default());
        }
        for block in blocks(row) {
            for seat in block {
                if self.taken.contains(&seat.id) {
                    self.wall(&mut counts);
                } else {
                    self.free(&mut counts, seat, wanted(seat));
                }
            }
            self.wall(&mut counts);
        }
        counts.into_iter().map(|ends| ends.wall).collect()
    }

    /// Goes on over something that can't be had.
    fn wall(&self, counts: &mut [Ends]) {
        for ends in counts {
            let single = ends.single_by_chosen.map(Picks::and_gap);
            let wall = [ends.wall, ends.chosen, ends.single_by_wall, single, ends.room];
            let wall = wall.into_iter().fold(None, |best, other| self.better(best, other));
            *ends = Ends { wall, ..Ends::default() };
        }
    }

    /// Goes on over a free seat: leaves it or, if it is wanted, chooses it.
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

    /// Returns the best choice that ends with `seat`, after those of one seat fewer.
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

    /// Returns the better of two choices of as many seats.
    fn better(&self, a: Option<Picks>, b: Option<Picks>) -> Option<Picks> {
        let (Some(first), Some(second)) = (&a, &b) else { return a.or(b) };
        let order = first.cost().cmp(&second.cost()).then_with(|| self.compare_seats(first.last, second.last));
        if order == Ordering::Greater { b } else { a }
    }

    /// Compares the seats of two choices of as many seats, each in ascending order.
    fn compare_seats(&self, mut a: Option<usize>, mut b: Option<usize>) -> Ordering {
        let (mut of_a, mut of_b) = (Vec::new(), Vec::new());
        // What comes before a link that both share is the same, and the same in both decides nothing.
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

    /// Returns the best choice of `quantity` seats in exactly `most` of the `rows`, given the best of each row.
    fn combined(&mut self, rows: &[Vec<Option<Picks>>], most: usize, quantity: usize) -> Option<Picks> {
        // The best in the rows gone through, by how many of them are used, then by how many seats are chosen.
        let mut best = vec![vec![None; quantity + 1]; most + 1];
        if let Some(none) = best.first_mut().and_then(|counts| counts.first_mut()) {
            *none = Some(Picks::default());
        }
        for row in rows {
            // From many to few: a row is not added to a choice that has it already.
            for used in (1..=most).rev() {
                let (with_fewer, with_these) = best.split_at_mut(used);
                let (Some(fewer), Some(these)) = (with_fewer.last(), with_these.first_mut()) else { continue };
                for (count, best) in these.iter_mut().enumerate().skip(1) {
                    // One seat of this row and the others of those before, two and the others, …
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

    /// Returns the better of `best` and of two choices in different rows together.
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
