//! Compares the search for seats with every possible selection in small halls.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::ids::LayoutId;
use crate::seating::RowName;

/// The rank of a selection: smaller is better. The first difference decides.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct SelectionRank {
    /// The number of rows.
    rows: usize,
    /// The number of single seats that it leaves, as in [`gaps_left`]. Single seats rarely sell.
    single_gaps: usize,
    /// The number of groups of neighbours.
    groups: usize,
    /// The number of accessible seats that it uses: those who need one cannot take another.
    accessible: usize,
    /// The sum of the squares of its seats' distances, in sixths of a seat, from the best view of its section: its focal
    /// point, or the middle of its width, and two thirds of the way to its last row, where a screen fills the view and its edges are still visible.
    distance: i64,
    /// Its seats in ascending order, so that two selections are never equal.
    seats: Vec<SeatId>,
}

/// The oracle of the search: returns the rank of a selection of free seats, with the `taken` seats unavailable. `None` if a seat is not in
/// the layout, a love seat is split, or the seats are in several sections.
fn rank(layout: &Layout, taken: &HashSet<SeatId>, seats: &[SeatId]) -> Option<SelectionRank> {
    let chosen: HashSet<SeatId> = seats.iter().copied().collect();
    if chosen.iter().any(|seat| layout.partner(*seat).is_some_and(|partner| !chosen.contains(&partner))) {
        return None;
    }
    let name = &layout.seat(*seats.first()?)?.section;
    let focus = Focus::of(layout, layout.sections().iter().find(|section| section.name == *name)?);
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
        let seat = layout.seat(*id).filter(|seat| seat.section == *name)?;
        rank.accessible += usize::from(seat.accessible);
        rank.distance = rank.distance.saturating_add(focus.distance(seat));
    }
    for row in layout.rows() {
        let row = line(row);
        let groups = blocks(&row).flat_map(|block| parts(block, &chosen)).filter(|(_, is_chosen)| *is_chosen).count();
        rank.rows += usize::from(groups > 0);
        rank.groups += groups;
    }
    Some(rank)
}

/// Returns the single seats that a selection newly leaves, ordered by row, then number: free seats with no free neighbour on either side (a
/// taken or selected seat, an aisle or the end of the row is not free) that had one before.
pub(crate) fn gaps_left(layout: &Layout, taken: &HashSet<SeatId>, seats: &[SeatId]) -> Vec<SeatId> {
    let chosen: HashSet<SeatId> = seats.iter().copied().collect();
    let taken = unavailable(layout, taken);
    layout.rows().flat_map(|row| row_gaps(&line(row), &taken, &chosen)).collect()
}

/// A hall from a drawing, one line for each row, the nearest to the screen first: `o` and `p` are free seats (standard, premium), `w` is
/// accessible, `x` is taken, `.` is no seat. `l` is a half of a free love seat, `t` a taken half: the letters of a row `lltl` are two love
/// seats. Upper-case letters are free seats that are chosen. Seats have the ids 1, 2, … The lines after `=` are another section.
struct Hall {
    drawing: Vec<String>,
    layout: Layout,
    taken: HashSet<SeatId>,
    chosen: Vec<SeatId>,
}

impl Hall {
    fn draw(drawing: &[&str]) -> Self {
        Self::draw_focused(drawing, Vec::new())
    }

    fn draw_focused(drawing: &[&str], sections: Vec<Section>) -> Self {
        let mut seats: Vec<Seat> = Vec::new();
        let (mut taken, mut chosen) = (HashSet::new(), Vec::new());
        let mut section = String::new();
        let mut halves = 0;
        for ((row, y), line) in (0..).map(RowName::letters).zip(1..).zip(drawing) {
            if *line == "=" {
                section.push('B');
                continue;
            }
            let places = (1..).zip(line.chars()).filter(|(_, symbol)| *symbol != '.');
            for (number, (x, symbol)) in (1..).zip(places) {
                let id = SeatId(i64::try_from(seats.len()).unwrap() + 1);
                if matches!(symbol, 'x' | 't') {
                    taken.insert(id);
                }
                if symbol.is_ascii_uppercase() {
                    chosen.push(id);
                }
                let symbol = symbol.to_ascii_lowercase();
                let category = if symbol == 'p' { "premium" } else { "standard" }.into();
                let pair = matches!(symbol, 'l' | 't').then(|| {
                    halves += 1;
                    (halves + 1) / 2
                });
                let accessible = symbol == 'w';
                let (row, section) = (row.clone(), section.clone());
                seats.push(Seat { id, row, number, category, accessible, x, y, section, pair });
            }
        }
        let drawing = drawing.iter().map(ToString::to_string).collect();
        let layout = Layout::with_sections(LayoutId(1), seats, sections).unwrap();
        Self { drawing, layout, taken, chosen }
    }

    /// Returns the drawing with an asterisk on each of these seats.
    fn marked(&self, seats: &[SeatId]) -> Vec<String> {
        let mut id = 0;
        let mut mark = |symbol: char| {
            let is_seat = !matches!(symbol, '.' | '=');
            id += i64::from(is_seat);
            if is_seat && seats.contains(&SeatId(id)) { '*' } else { symbol }
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
        let taken = unavailable(&self.layout, &self.taken).into_owned();
        self.layout.seats().iter().filter(move |seat| !taken.contains(&seat.id))
    }

    /// Returns these seats without lone halves of love seats.
    fn whole(&self, seats: impl Iterator<Item = SeatId>) -> Vec<SeatId> {
        let seats: Vec<_> = seats.collect();
        let is_whole = |seat: &SeatId| self.layout.partner(*seat).is_none_or(|partner| seats.contains(&partner));
        seats.iter().copied().filter(is_whole).collect()
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
    // Counted from the first row that has seats.
    best(&[".....", "ooooo", "ooooo", "ooooo", "ooooo"], &wish(1), &[".....", "ooooo", "ooooo", "oo*oo", "ooooo"]);
}

#[test]
fn one_row_is_better_than_two_even_with_an_aisle_or_a_gap() {
    best(&["xx.xx.oo", "oo.oo.xx", "ox.xx.xx"], &wish(3), &["xx.xx.oo", "o*.**.xx", "ox.xx.xx"]);
    best(&["oooo", "xxoo"], &wish(3), &["***o", "xxoo"]);
}

#[test]
fn no_single_seat_is_left_where_that_can_be_helped() {
    // In the middle, two seats would leave one on either side.
    best(&["oooo"], &wish(2), &["**oo"]);
    // Apart without a gap is better than together with one.
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
fn of_equally_good_rows_those_with_the_smaller_ids_are_chosen() {
    // The second and the fourth row are equally far from the third one, which is best.
    let hall = mixed(&Hall::draw(&["o", "o", "o", "o"]), 100);
    let ids: Vec<_> = hall.layout.seats().iter().map(|seat| seat.id.0).collect();
    assert_eq!(ids, [100, 99, 98, 97]);
    assert_eq!(best_seats(&hall.layout, &hall.taken, &wish(2)).unwrap(), [98, 97].map(SeatId));
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
    let found = rank(&hall.layout, &hall.taken, &hall.chosen).unwrap();
    // The middle is at x = 3 and, of the rows 1 to 3, y = 7/3; in sixths: 18 and 14.
    let distance = [(1, 1), (3, 1), (1, 2), (2, 2)].map(|(x, y): (i64, i64)| (6 * x - 18).pow(2) + (6 * y - 14).pow(2));
    let expected = SelectionRank {
        rows: 2,
        single_gaps: 1,
        groups: 3,
        accessible: 1,
        distance: distance.iter().sum(),
        seats: [1, 3, 5, 6].map(SeatId).into(),
    };
    assert_eq!(found, expected);
    assert_eq!(rank(&hall.layout, &hall.taken, &[SeatId(1), SeatId(99)]), None);
}

#[test]
fn a_gap_is_a_single_seat_that_had_a_free_neighbour_before() {
    let gaps = |line| Hall::draw(&[line]).gaps().concat();
    assert_eq!(gaps("oOOo"), "*OO*");
    assert_eq!(gaps("ooOO"), "ooOO");
    assert_eq!(gaps("xoOx"), "x*Ox");
    // The seat was single before, so it is not a new gap.
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
    // Two of three seats always leave one.
    assert_eq!(forbidden("OOo"), "OOo");
    assert_eq!(forbidden("OoO"), "OoO");
    // Not excused if the other side of the aisle has two more seats.
    assert_eq!(forbidden("OOo.oo"), "OO*.oo");
    // One of two seats always leaves one.
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
    // The wanted seats are free here and nearest to themselves, so they are the first alternative.
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
    assert_eq!(Hall::draw(&["oo", "WW", "oo", "oo", "ww"]).alternatives(2, false)[1], ["oo", "WW", "oo", "oo", "**"]);
}

#[test]
fn a_love_seat_is_chosen_whole_or_not_at_all() {
    // One person gets the worse seat.
    best(&["ll.o"], &wish(1), &["ll.*"]);
    assert_eq!(Hall::draw(&["llll"]).best(&wish(1)), None);
    assert_eq!(Hall::draw(&["llll"]).best(&wish(3)), None);
    best(&["oollo"], &wish(2), &["**llo"]);
    best(&["oollo"], &wish(3), &["oo***"]);
    best(&["ollo"], &wish(3), &["***o"]);
    // The half that is left of a love seat is not sold.
    assert_eq!(Hall::draw(&["ltxo"]).best(&wish(2)), None);
    best(&["ltxo", "lltt"], &wish(2), &["ltxo", "**tt"]);
    // Three are in two rows, although one row has four seats.
    best(&["llll", "o"], &wish(3), &["**ll", "*"]);
    // A love seat fits only as a whole.
    let mut hall = Hall::draw(&["ll.oo"]);
    let mut seats = hall.layout.seats().to_vec();
    seats[0].category = "premium".into();
    hall.layout = Layout::new(LayoutId(1), seats).unwrap();
    let standard = SeatWish { category: Some("standard".into()), ..wish(2) };
    assert_eq!(hall.best(&standard).unwrap(), ["ll.**"]);
}

#[test]
fn a_love_seat_is_no_gap() {
    let gaps = |line| Hall::draw(&[line]).gaps().concat();
    assert_eq!(gaps("OllO"), "OllO");
    assert_eq!(gaps("oLLo"), "*LL*");
    // The left half of a love seat that is half taken is no free neighbour.
    assert_eq!(gaps("oltO"), "oltO");
    let forbidden = |line| Hall::draw(&[line]).forbidden().concat();
    // Two other seats would have left none.
    assert_eq!(forbidden("oLLo"), "*LL*");
    // Any choice of two leaves the single seat alone, because love seats are not split.
    assert_eq!(forbidden("oLL"), "oLL");
}

#[test]
fn alternatives_split_no_love_seat() {
    assert_eq!(Hall::draw(&["oLLo.oo"]).alternatives(2, false), [["oLLo.**"], ["o**o.oo"]]);
    assert_eq!(Hall::draw(&["OOO", "llo"]).alternatives(3, false), [["***", "llo"], ["OOO", "***"]]);
    let none: Vec<Vec<String>> = Vec::new();
    assert_eq!(Hall::draw(&["llll"]).alternatives(1, false), none);
}

#[test]
fn the_best_seats_are_in_one_section_near_to_its_focal_point() {
    // The balcony has the best view in its own middle, two thirds back.
    best(&["xxx", "xxx", "=", "ooooo", "ooooo"], &wish(1), &["xxx", "xxx", "=", "ooooo", "oo*oo"]);
    // Two seats of one row, although both sections have three.
    best(&["ox", "=", "oo"], &wish(2), &["ox", "=", "**"]);
    assert_eq!(Hall::draw(&["oo", "=", "oo"]).best(&wish(3)), None);
    let focus = |name: &str, x, y| Section { name: name.into(), focus: Some(FocalPoint { x, y }) };
    let drawing = ["xxxx", "xxxx", "=", "oooo", "oooo"];
    let hall = Hall::draw_focused(&drawing, vec![focus("B", 4, 4), focus("", 1, 1)]);
    assert_eq!(hall.best(&wish(1)).unwrap(), ["xxxx", "xxxx", "=", "ooo*", "oooo"]);
    assert_eq!(hall.alternatives(1, false)[0], ["xxxx", "xxxx", "=", "ooo*", "oooo"]);
}

#[test]
fn seats_are_together_as_they_stand() {
    // The odd numbers are on the left of the aisle, the even ones on the right.
    let mut seats = Hall::draw(&["ooo.ooo"]).layout.seats().to_vec();
    for (seat, number) in seats.iter_mut().zip([5, 3, 1, 2, 4, 6]) {
        seat.number = number;
    }
    let layout = Layout::new(LayoutId(1), seats).unwrap();
    let taken = HashSet::from([SeatId(1), SeatId(6)]);
    assert_eq!(best_seats(&layout, &taken, &wish(2)).unwrap(), [3, 2].map(SeatId));
    assert_eq!(alternatives(&layout, &taken, 2, &[], false), [[3, 2].map(SeatId), [4, 5].map(SeatId)]);
    assert_eq!(gaps_left(&layout, &taken, &[SeatId(3)]), [SeatId(2)]);
}

/// A hall of at most twelve seats, with rows of any length, love seats, and up to three sections with or without a focal point.
fn halls() -> impl Strategy<Value = Hall> {
    let symbols = &["o", "o", "o", "o", "p", "w", "x", "x", ".", "ll", "ll", "lt", "tt"][..];
    let places = prop::collection::vec(prop::sample::select(symbols), 1..8).prop_map(|symbols| symbols.concat());
    let line = prop_oneof![8 => places, 1 => Just("=".to_owned())];
    let focus = prop::option::of((0..9, 0..6).prop_map(|(x, y)| FocalPoint { x, y }));
    let halls = (prop::collection::vec(line, 1..5), prop::array::uniform3(focus));
    halls.prop_filter_map("no seats, or too many", |(rows, [main, balcony, gallery])| {
        let seats = rows.iter().flat_map(|row| row.chars()).filter(|symbol| !matches!(symbol, '.' | '=')).count();
        let rows: Vec<&str> = rows.iter().map(String::as_str).collect();
        let names = ["", "B", "BB"].map(String::from).into_iter();
        let sections = names.zip([main, balcony, gallery]).map(|(name, focus)| Section { name, focus }).collect();
        (1..=12).contains(&seats).then(|| Hall::draw_focused(&rows, sections))
    })
}

impl std::fmt::Debug for Hall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.drawing.fmt(f)
    }
}

fn wishes() -> impl Strategy<Value = SeatWish> {
    let category = prop::option::weighted(0.3, prop::sample::select(&["standard", "premium"][..]));
    (1_usize..8, category, prop::option::weighted(0.3, any::<bool>())).prop_map(|(quantity, category, accessible)| {
        SeatWish { quantity, category: category.map(Into::into), accessible }
    })
}

/// Returns every choice of `quantity` of the seats.
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

/// Returns the same hall with other numbers and shuffled ids, so that no result depends on their order.
fn mixed(hall: &Hall, factor: i64) -> Hall {
    let id = |id: SeatId| SeatId(id.0 * factor % 101);
    let mut seats = hall.layout.seats().to_vec();
    for seat in &mut seats {
        seat.id = id(seat.id);
        seat.number = seat.number * 37 % 101;
    }
    Hall {
        drawing: hall.drawing.clone(),
        layout: Layout::with_sections(LayoutId(1), seats, hall.layout.sections().to_vec()).unwrap(),
        taken: hall.taken.iter().copied().map(id).collect(),
        chosen: hall.chosen.iter().copied().map(id).collect(),
    }
}

/// Computes the gaps by the literal rule, seat by seat.
fn gaps_by_the_words(hall: &Hall, chosen: &[SeatId]) -> BTreeSet<SeatId> {
    let seats = hall.layout.seats();
    let single = |seat: &Seat, is_free: &dyn Fn(SeatId) -> bool| {
        is_free(seat.id) && !seats.iter().any(|other| other.is_beside(seat) && is_free(other.id))
    };
    let half_taken = |id| hall.layout.partner(id).is_some_and(|partner| hall.taken.contains(&partner));
    let before = |id: SeatId| !hall.taken.contains(&id) && !half_taken(id);
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
        let expected = ranked.filter_map(|seats| rank(&hall.layout, &hall.taken, &seats)).min();
        let best = best_seats(&hall.layout, &hall.taken, &wish);
        prop_assert_eq!(best.map(|seats| rank(&hall.layout, &hall.taken, &seats).unwrap()), expected);
    }

    #[test]
    fn gaps_are_what_the_words_say(hall in halls(), mask in any::<u16>()) {
        let chosen = hall.whole(hall.free().map(|seat| seat.id).filter(|id| mask >> id.0 & 1 == 1));
        let gaps: BTreeSet<_> = gaps_left(&hall.layout, &hall.taken, &chosen).into_iter().collect();
        prop_assert_eq!(gaps, gaps_by_the_words(&hall, &chosen));
    }

    #[test]
    fn a_gap_is_forbidden_exactly_where_its_row_has_a_selection_without(hall in halls(), mask in any::<u16>()) {
        let chosen = hall.whole(hall.free().map(|seat| seat.id).filter(|id| mask >> id.0 & 1 == 1));
        let mut expected = BTreeSet::new();
        for row in hall.layout.rows() {
            let free: Vec<_> = hall.free().filter(|seat| row.contains(seat)).map(|seat| seat.id).collect();
            let of_row: Vec<_> = free.iter().copied().filter(|id| chosen.contains(id)).collect();
            let others = choices(&free, of_row.len());
            let mut others = others.iter().filter(|other| hall.layout.missing_halves(other).is_empty());
            if let Some(other) = others.find(|other| gaps_by_the_words(&hall, other).is_empty()) {
                expected.extend(gaps_by_the_words(&hall, &of_row));
                // The alternative selection is itself allowed.
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
