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
    /// Whether a seat is one of those that are wanted.
    fn fits(&self, seat: &Seat) -> bool {
        self.category.as_ref().is_none_or(|category| *category == seat.category)
            && self.accessible.is_none_or(|accessible| accessible == seat.accessible)
    }
}

/// How good a selection is: smaller is better. The first difference decides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct SelectionRank {
    /// How many rows it is spread over.
    pub rows: usize,
    /// How many single seats it leaves, as [`gaps_left`] says: hardly anybody buys those.
    pub single_gaps: usize,
    /// How many groups of neighbours it falls into.
    pub groups: usize,
    /// How many accessible seats it uses: who needs one can't take another.
    pub accessible: usize,
    /// The sum of the squares of its seats' distances, in sixths of a seat, from where one sees best: the middle of the
    /// hall's width, and two thirds of the way to the last row, where a screen fills the view and its edges are still seen.
    pub distance: i64,
    /// Its seats, in ascending order, so that of two selections one is always better.
    pub seats: Vec<SeatId>,
}

/// How good a selection of free seats is while `taken` ones can't be had. `None` if a seat is not of the layout.
pub fn rank(layout: &Layout, taken: &HashSet<SeatId>, seats: &[SeatId]) -> Option<SelectionRank> {
    let chosen: HashSet<SeatId> = seats.iter().copied().collect();
    let focus = Focus::of(layout);
    let mut rank = SelectionRank {
        rows: 0,
        single_gaps: gaps_left(layout, taken, seats).len(),
        groups: 0,
        accessible: 0,
        distance: 0,
        seats: chosen.iter().copied().collect(),
    };
    rank.seats.sort_unstable();
    for id in &rank.seats {
        let seat = layout.seat(*id)?;
        rank.accessible += usize::from(seat.accessible);
        rank.distance = rank.distance.saturating_add(focus.distance(seat));
    }
    for row in layout.rows() {
        let groups = blocks(row).flat_map(|block| parts(block, &chosen)).filter(|(_, is_chosen)| *is_chosen).count();
        rank.rows += usize::from(groups > 0);
        rank.groups += groups;
    }
    Some(rank)
}

/// The best selection by [`rank`] of free seats as `wish` wants them, by row, then number. `None` if so many are not left.
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
    rows.retain(|(free, _)| *free > 0);
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

/// The single seats that a selection newly leaves, by row, then number: free ones with no free neighbour on either side
/// (what isn't free is taken, selected, an aisle or the end of the row) that had one before.
pub fn gaps_left(layout: &Layout, taken: &HashSet<SeatId>, seats: &[SeatId]) -> Vec<SeatId> {
    let chosen: HashSet<SeatId> = seats.iter().copied().collect();
    layout.rows().flat_map(|row| row_gaps(row, taken, &chosen)).collect()
}

/// The gaps for which a selection is refused where no gaps may be left; none if it is allowed.
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

/// How many of them are accessible.
fn accessible<'seat>(seats: impl IntoIterator<Item = &'seat Seat>) -> usize {
    seats.into_iter().filter(|seat| seat.accessible).count()
}

/// A row's seats between aisles.
fn blocks(row: &[Seat]) -> impl Iterator<Item = &[Seat]> {
    row.chunk_by(Seat::is_beside)
}

/// Neighbours cut where those `within` a set meet the others, each part with whether it is in the set.
fn parts<'row>(seats: &'row [Seat], within: &HashSet<SeatId>) -> impl Iterator<Item = (&'row [Seat], bool)> {
    seats
        .chunk_by(|a, b| within.contains(&a.id) == within.contains(&b.id))
        .map(|part| (part, part.first().is_some_and(|seat| within.contains(&seat.id))))
}

/// The single seats of a row that a selection newly leaves.
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

/// Whether `quantity` free seats of a row can be chosen so that no single one is newly left.
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

    /// The middle of some seats.
    fn amid(seats: &[&Seat]) -> Option<Self> {
        let scale = i64::try_from(seats.len()).ok().filter(|count| *count > 0)?;
        let sum = |of: fn(&Seat) -> i32| seats.iter().fold(0_i64, |sum, seat| sum.saturating_add(of(seat).into()));
        Some(Self { scale, x: sum(|seat| seat.x), y: sum(|seat| seat.y) })
    }

    /// The square of a seat's distance.
    fn distance(&self, seat: &Seat) -> i64 {
        let square = |at: i32, focus: i64| {
            let off = i64::from(at).saturating_mul(self.scale).saturating_sub(focus);
            off.saturating_mul(off)
        };
        square(seat.x, self.x).saturating_add(square(seat.y, self.y))
    }
}

/// What a choice among seats that were gone through costs: what [`SelectionRank`] has but for rows, and the seats themselves.
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
    /// All but the seats.
    fn cost(&self) -> (usize, usize, usize, i64) {
        (self.gaps, self.groups, self.accessible, self.distance)
    }

    /// The same with one gap more.
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

    /// The best choices of 0, 1, … `most` free seats of a row that are `wanted`.
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

    /// The best choice that ends with `seat`, after those of one seat fewer.
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

    /// The better of two choices of as many seats.
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

    /// The seats of a choice.
    fn seats(&self, last: Option<usize>) -> Vec<SeatId> {
        let link = |place: Option<usize>| place.and_then(|place| self.links.get(place));
        std::iter::successors(link(last), |chosen| link(chosen.before)).map(|chosen| chosen.seat).collect()
    }

    /// The best choice of `quantity` seats in exactly `most` of the `rows`, given the best of each row.
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

    /// The better of `best` and of two choices in different rows together.
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
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::ids::LayoutId;

    /// A hall from a drawing, a line for each row from the screen backwards: `o` and `p` are free seats (standard, premium),
    /// `w` accessible, `x` taken, `.` is no seat. Upper-case letters are free seats too, chosen. Seats have the ids 1, 2, …
    struct Hall {
        drawing: Vec<String>,
        layout: Layout,
        taken: HashSet<SeatId>,
        chosen: Vec<SeatId>,
    }

    impl Hall {
        fn draw(drawing: &[&str]) -> Self {
            let mut seats = Vec::new();
            let (mut taken, mut chosen) = (HashSet::new(), Vec::new());
            for ((row, y), line) in ('A'..).zip(1..).zip(drawing) {
                let places = (1..).zip(line.chars()).filter(|(_, symbol)| *symbol != '.');
                for (number, (x, symbol)) in (1..).zip(places) {
                    let id = SeatId(i64::try_from(seats.len()).unwrap() + 1);
                    if symbol == 'x' {
                        taken.insert(id);
                    }
                    if symbol.is_ascii_uppercase() {
                        chosen.push(id);
                    }
                    let symbol = symbol.to_ascii_lowercase();
                    let category = if symbol == 'p' { "premium" } else { "standard" }.into();
                    seats.push(Seat { id, row: row.into(), number, category, accessible: symbol == 'w', x, y });
                }
            }
            let drawing = drawing.iter().map(ToString::to_string).collect();
            Self { drawing, layout: Layout::new(LayoutId(1), seats).unwrap(), taken, chosen }
        }

        /// The drawing with an asterisk on each of these seats.
        fn marked(&self, seats: &[SeatId]) -> Vec<String> {
            let mut id = 0;
            let mut mark = |symbol: char| {
                id += i64::from(symbol != '.');
                if symbol != '.' && seats.contains(&SeatId(id)) { '*' } else { symbol }
            };
            self.drawing.iter().map(|line| line.chars().map(&mut mark).collect()).collect()
        }

        fn best(&self, wish: &SeatWish) -> Option<Vec<String>> {
            best_seats(&self.layout, &self.taken, wish).map(|seats| self.marked(&seats))
        }

        fn gaps(&self) -> Vec<String> {
            self.marked(&gaps_left(&self.layout, &self.taken, &self.chosen))
        }

        fn forbidden(&self) -> Vec<String> {
            self.marked(&forbidden_gaps(&self.layout, &self.taken, &self.chosen))
        }

        fn alternatives(&self, quantity: usize, forbid_gaps: bool) -> Vec<Vec<String>> {
            let found = alternatives(&self.layout, &self.taken, quantity, &self.chosen, forbid_gaps);
            found.iter().map(|seats| self.marked(seats)).collect()
        }

        fn free(&self) -> impl Iterator<Item = &Seat> {
            self.layout.seats().iter().filter(|seat| !self.taken.contains(&seat.id))
        }
    }

    fn wish(quantity: usize) -> SeatWish {
        SeatWish { quantity, category: None, accessible: None }
    }

    #[track_caller]
    fn best(drawing: &[&str], wish: &SeatWish, expected: &[&str]) {
        assert_eq!(Hall::draw(drawing).best(wish).unwrap(), expected);
    }

    #[test]
    fn the_best_seats_are_in_the_middle_two_thirds_back() {
        best(&["ooooo", "ooooo", "ooooo", "ooooo"], &wish(1), &["ooooo", "ooooo", "oo*oo", "ooooo"]);
        best(&["oooooo", "oooooo", "oooooo", "oooooo"], &wish(2), &["oooooo", "oooooo", "oo**oo", "oooooo"]);
    }

    #[test]
    fn one_row_is_better_than_two_even_with_an_aisle_or_a_gap() {
        best(&["xx.xx.oo", "oo.oo.xx", "ox.xx.xx"], &wish(3), &["xx.xx.oo", "o*.**.xx", "ox.xx.xx"]);
        best(&["oooo", "xxoo"], &wish(3), &["***o", "xxoo"]);
    }

    #[test]
    fn no_single_seat_is_left_where_that_can_be_helped() {
        // In the middle two would leave one on either side.
        best(&["oooo"], &wish(2), &["**oo"]);
        // Apart without one rather than together with one.
        best(&["oxooo.o"], &wish(2), &["*x*oo.o"]);
    }

    #[test]
    fn a_couple_is_not_split_where_two_are_free_together() {
        best(&["ooxo", "xoxo"], &wish(2), &["**xo", "xoxo"]);
        best(&["xoxo.oo"], &wish(2), &["xoxo.**"]);
        best(&["xoxo.xo"], &wish(2), &["x*x*.xo"]);
    }

    #[test]
    fn accessible_seats_are_kept_for_those_who_need_them() {
        best(&["oo.ww.oo"], &wish(2), &["**.ww.oo"]);
        let asked = |accessible| SeatWish { accessible: Some(accessible), ..wish(1) };
        best(&["oo.ww.oo"], &asked(true), &["oo.*w.oo"]);
        best(&["ww", "oo"], &SeatWish { quantity: 2, ..asked(false) }, &["ww", "**"]);
        assert_eq!(Hall::draw(&["ww.o"]).best(&SeatWish { quantity: 2, ..asked(false) }), None);
    }

    #[test]
    fn only_the_category_that_is_wanted_is_chosen() {
        let premium = |quantity| SeatWish { category: Some("premium".into()), ..wish(quantity) };
        best(&["ooo", "ppp", "ooo", "ooo"], &premium(2), &["ooo", "**p", "ooo", "ooo"]);
        assert_eq!(Hall::draw(&["ooo", "ppp"]).best(&premium(4)), None);
    }

    #[test]
    fn as_few_rows_as_can_be_are_combined() {
        best(&["oox", "oox", "xxo"], &wish(4), &["**x", "**x", "xxo"]);
        best(&["xox", "xoo", "oox", "xxo"], &wish(3), &["xox", "xoo", "**x", "xx*"]);
        best(&["ox", "xo", "oo"], &wish(4), &["*x", "x*", "**"]);
    }

    #[test]
    fn nothing_is_found_where_too_few_are_free_or_the_quantity_is_out_of_bounds() {
        let hall = Hall::draw(&["oxo", "xxo"]);
        assert!(hall.best(&wish(3)).is_some());
        for quantity in [0, 4, QUANTITY_MAX + 1, usize::MAX] {
            assert_eq!(hall.best(&wish(quantity)), None);
        }
        let line = "o".repeat(QUANTITY_MAX + 1);
        assert!(Hall::draw(&[&line]).best(&wish(QUANTITY_MAX)).is_some());
        assert_eq!(Hall::draw(&[&line]).best(&wish(QUANTITY_MAX + 1)), None);
    }

    #[test]
    fn the_best_seats_come_by_row_then_number() {
        let seats = best_seats(&Hall::draw(&["oo", "oo"]).layout, &HashSet::new(), &wish(4)).unwrap();
        assert_eq!(seats, [1, 2, 3, 4].map(SeatId));
    }

    #[test]
    fn a_rank_tells_what_a_selection_costs() {
        let hall = Hall::draw(&["OoW.o", "OOxxo", "ooooo"]);
        let rank = rank(&hall.layout, &hall.taken, &hall.chosen).unwrap();
        // The middle is at x = 3 and, of the rows 1 to 3, y = 7/3; in sixths: 18 and 14.
        let distance =
            [(1, 1), (3, 1), (1, 2), (2, 2)].map(|(x, y): (i64, i64)| (6 * x - 18).pow(2) + (6 * y - 14).pow(2));
        let expected = SelectionRank {
            rows: 2,
            single_gaps: 1,
            groups: 3,
            accessible: 1,
            distance: distance.iter().sum(),
            seats: [1, 3, 5, 6].map(SeatId).into(),
        };
        assert_eq!(rank, expected);
        assert_eq!(super::rank(&hall.layout, &hall.taken, &[SeatId(1), SeatId(99)]), None);
    }

    #[test]
    fn a_gap_is_a_single_seat_that_had_a_free_neighbour_before() {
        let gaps = |line| Hall::draw(&[line]).gaps().concat();
        assert_eq!(gaps("oOOo"), "*OO*");
        assert_eq!(gaps("ooOO"), "ooOO");
        assert_eq!(gaps("xoOx"), "x*Ox");
        // Single before: nobody's fault.
        assert_eq!(gaps("oxOO"), "oxOO");
        // An aisle is a wall on both sides.
        assert_eq!(gaps("oO.o.Oo"), "*O.o.O*");
        assert_eq!(gaps("OoOooO"), "O*OooO");
        assert_eq!(gaps("oo.oo"), "oo.oo");
    }

    #[test]
    fn a_gap_is_forbidden_where_the_row_has_other_seats_that_leave_none() {
        let forbidden = |line| Hall::draw(&[line]).forbidden().concat();
        assert_eq!(forbidden("oOOo"), "*OO*");
        assert_eq!(forbidden("ooOO"), "ooOO");
        // Two of three always leave one.
        assert_eq!(forbidden("OOo"), "OOo");
        assert_eq!(forbidden("OoO"), "OoO");
        // Not where the aisle has two more.
        assert_eq!(forbidden("OOo.oo"), "OO*.oo");
        // The first of two.
        assert_eq!(forbidden("xOox"), "xOox");
        assert_eq!(forbidden("xOox.o"), "xO*x.o");
    }

    #[test]
    fn each_row_is_judged_alone() {
        let hall = Hall::draw(&["OOo", "oOOo", "oooo"]);
        assert_eq!(hall.gaps(), ["OO*", "*OO*", "oooo"]);
        assert_eq!(hall.forbidden(), ["OOo", "*OO*", "oooo"]);
    }

    #[test]
    fn seats_that_are_none_of_the_hall_or_taken_leave_no_gap() {
        let hall = Hall::draw(&["oxoo"]);
        let seats = [SeatId(2), SeatId(99)];
        assert_eq!(gaps_left(&hall.layout, &hall.taken, &seats), []);
        assert_eq!(forbidden_gaps(&hall.layout, &hall.taken, &seats), []);
        assert_eq!(alternatives(&hall.layout, &hall.taken, 2, &seats, false), [[SeatId(3), SeatId(4)]]);
    }

    #[test]
    fn alternatives_are_together_and_near_to_what_was_wanted() {
        // What was wanted is free here, so that it would be offered itself: it is what is nearest to it.
        let hall = Hall::draw(&["oo.OO.oo", "oo.oo.oo", "xo.xo.xo", "ox.xx.oo"]);
        let expected = [
            ["oo.**.oo", "oo.oo.oo", "xo.xo.xo", "ox.xx.oo"],
            ["oo.OO.oo", "oo.**.oo", "xo.xo.xo", "ox.xx.oo"],
            ["**.OO.oo", "oo.oo.oo", "xo.xo.xo", "ox.xx.oo"],
        ];
        assert_eq!(hall.alternatives(2, false), expected);
        let none: Vec<Vec<String>> = Vec::new();
        assert_eq!(hall.alternatives(3, false), none);
        assert_eq!(hall.alternatives(0, false), none);
        assert_eq!(hall.alternatives(QUANTITY_MAX + 1, false), none);
    }

    #[test]
    fn alternatives_share_no_seat_and_leave_few_gaps() {
        let hall = Hall::draw(&["oooooo"]);
        assert_eq!(hall.alternatives(2, false), [["oo**oo"], ["**oooo"], ["oooo**"]]);
        assert_eq!(Hall::draw(&["xOOo.ooxx"]).alternatives(2, false), [["xOOo.**xx"], ["x**o.ooxx"]]);
        assert_eq!(Hall::draw(&["xOOo.ooxx"]).alternatives(2, true), [["xOOo.**xx"]]);
        assert_eq!(Hall::draw(&["xOOo.oxxx"]).alternatives(2, true).len(), 0);
        assert_eq!(Hall::draw(&["xOOo"]).alternatives(2, true), [["x**o"]]);
    }

    #[test]
    fn alternatives_are_as_accessible_as_what_was_wanted() {
        assert_eq!(Hall::draw(&["ww", "OO", "oo"]).alternatives(2, false)[1], ["ww", "OO", "**"]);
        assert_eq!(
            Hall::draw(&["oo", "WW", "oo", "oo", "ww"]).alternatives(2, false)[1],
            ["oo", "WW", "oo", "oo", "**"]
        );
    }

    /// A hall of at most twelve seats, its rows of any length.
    fn halls() -> impl Strategy<Value = Hall> {
        let places =
            prop::collection::vec(prop::sample::select(&['o', 'o', 'o', 'o', 'p', 'w', 'x', 'x', '.'][..]), 1..9);
        prop::collection::vec(places, 1..5).prop_filter_map("no seats, or too many", |rows| {
            let seats = rows.iter().flatten().filter(|symbol| **symbol != '.').count();
            let rows: Vec<String> = rows.into_iter().map(String::from_iter).collect();
            let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
            (1..=12).contains(&seats).then(|| Hall::draw(&rows))
        })
    }

    impl std::fmt::Debug for Hall {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            self.drawing.fmt(f)
        }
    }

    fn wishes() -> impl Strategy<Value = SeatWish> {
        let category = prop::option::weighted(0.3, prop::sample::select(&["standard", "premium"][..]));
        (1_usize..8, category, prop::option::weighted(0.3, any::<bool>())).prop_map(
            |(quantity, category, accessible)| SeatWish { quantity, category: category.map(Into::into), accessible },
        )
    }

    /// Every choice of `quantity` of the seats.
    fn choices(seats: &[SeatId], quantity: usize) -> Vec<Vec<SeatId>> {
        match seats {
            _ if quantity == 0 => vec![Vec::new()],
            [] => Vec::new(),
            [first, others @ ..] => {
                let mut with = choices(others, quantity - 1);
                with.iter_mut().for_each(|chosen| chosen.push(*first));
                with.extend(choices(others, quantity));
                with
            }
        }
    }

    /// The same hall, the numbers counted from the right and the ids mixed, so that nothing depends on their order.
    fn mixed(hall: &Hall, factor: i64) -> Hall {
        let id = |id: SeatId| SeatId(id.0 * factor % 101);
        let mut seats = hall.layout.seats().to_vec();
        for seat in &mut seats {
            seat.id = id(seat.id);
            seat.number = 100 - seat.number;
        }
        Hall {
            drawing: hall.drawing.clone(),
            layout: Layout::new(LayoutId(1), seats).unwrap(),
            taken: hall.taken.iter().copied().map(id).collect(),
            chosen: hall.chosen.iter().copied().map(id).collect(),
        }
    }

    /// The gaps by the rule's words, seat by seat.
    fn gaps_by_the_words(hall: &Hall, chosen: &[SeatId]) -> BTreeSet<SeatId> {
        let seats = hall.layout.seats();
        let single = |seat: &Seat, is_free: &dyn Fn(SeatId) -> bool| {
            is_free(seat.id) && !seats.iter().any(|other| other.is_beside(seat) && is_free(other.id))
        };
        let before = |id: SeatId| !hall.taken.contains(&id);
        let after = |id: SeatId| before(id) && !chosen.contains(&id);
        seats.iter().filter(|seat| single(seat, &after) && !single(seat, &before)).map(|seat| seat.id).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn no_other_selection_is_better_than_the_best(hall in halls(), wish in wishes(), factor in 1_i64..101) {
            let hall = mixed(&hall, factor);
            let fitting: Vec<_> = hall.free().filter(|seat| wish.fits(seat)).map(|seat| seat.id).collect();
            let ranked = choices(&fitting, wish.quantity).into_iter();
            let expected = ranked.map(|seats| rank(&hall.layout, &hall.taken, &seats).unwrap()).min();
            let best = best_seats(&hall.layout, &hall.taken, &wish);
            prop_assert_eq!(best.map(|seats| rank(&hall.layout, &hall.taken, &seats).unwrap()), expected);
        }

        #[test]
        fn gaps_are_what_the_words_say(hall in halls(), mask in any::<u16>()) {
            let chosen: Vec<_> = hall.free().map(|seat| seat.id).filter(|id| mask >> id.0 & 1 == 1).collect();
            let gaps: BTreeSet<_> = gaps_left(&hall.layout, &hall.taken, &chosen).into_iter().collect();
            prop_assert_eq!(gaps, gaps_by_the_words(&hall, &chosen));
        }

        #[test]
        fn a_gap_is_forbidden_exactly_where_its_row_has_a_selection_without(hall in halls(), mask in any::<u16>()) {
            let chosen: Vec<_> = hall.free().map(|seat| seat.id).filter(|id| mask >> id.0 & 1 == 1).collect();
            let mut expected = BTreeSet::new();
            for row in hall.layout.rows() {
                let free: Vec<_> = row.iter().map(|seat| seat.id).filter(|id| !hall.taken.contains(id)).collect();
                let of_row: Vec<_> = free.iter().copied().filter(|id| chosen.contains(id)).collect();
                let others = choices(&free, of_row.len());
                if let Some(other) = others.iter().find(|other| gaps_by_the_words(&hall, other).is_empty()) {
                    expected.extend(gaps_by_the_words(&hall, &of_row));
                    // What may be had instead is allowed itself.
                    prop_assert_eq!(forbidden_gaps(&hall.layout, &hall.taken, other), []);
                }
            }
            let forbidden: BTreeSet<_> = forbidden_gaps(&hall.layout, &hall.taken, &chosen).into_iter().collect();
            prop_assert_eq!(forbidden, expected);
        }

        #[test]
        fn the_best_seats_are_allowed_unless_the_wish_leaves_seats_out(hall in halls(), quantity in 1_usize..8) {
            if let Some(best) = best_seats(&hall.layout, &hall.taken, &wish(quantity)) {
                prop_assert_eq!(forbidden_gaps(&hall.layout, &hall.taken, &best), []);
            }
        }

        #[test]
        fn alternatives_are_free_together_apart_from_each_other_and_the_best(
            hall in halls(),
            quantity in 1_usize..4,
            forbid_gaps: bool,
        ) {
            let found = alternatives(&hall.layout, &hall.taken, quantity, &[], forbid_gaps);
            let allowed = |seats: &[SeatId]| !forbid_gaps || forbidden_gaps(&hall.layout, &hall.taken, seats).is_empty();
            let ids: Vec<_> = hall.free().map(|seat| seat.id).collect();
            let mut groups: Vec<_> = choices(&ids, quantity)
                .into_iter()
                .filter(|seats| allowed(seats))
                .filter_map(|seats| rank(&hall.layout, &hall.taken, &seats))
                .filter(|rank| rank.rows == 1 && rank.groups == 1)
                .collect();
            groups.sort();
            // The best, then the best of those that share no seat with it, and so on.
            for seats in &found {
                let best = groups.first().map(|rank| rank.seats.clone());
                prop_assert_eq!(best.as_ref(), Some(seats));
                groups.retain(|rank| rank.seats.iter().all(|seat| !seats.contains(seat)));
            }
            prop_assert!(found.len() == ALTERNATIVES_MAX || groups.is_empty());
        }
    }
}
