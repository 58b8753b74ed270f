use proptest::prelude::*;

use super::*;
use crate::ids::{LayoutId, SeatId};

/// The first example of the document.
fn example() -> &'static str {
    let page = include_str!("../../../../../docs/layouts.md");
    page.split_once("```text\n").and_then(|(_, rest)| rest.split_once("```")).unwrap().0
}

fn planned(text: &str) -> PlannedLayout {
    match LayoutPlan::Text(text.into()).seats() {
        Ok(planned) => planned,
        Err(mistakes) => panic!("{}", listed(&mistakes).join("\n")),
    }
}

fn listed(mistakes: &[PlanMistake]) -> Vec<String> {
    mistakes.iter().map(|mistake| format!("{} {}", mistake.place, mistake.problem.code())).collect()
}

fn mistakes(text: &str) -> Vec<String> {
    listed(&LayoutPlan::Text(text.into()).seats().unwrap_err())
}

/// Reads a drawing of standard seats (`s`), premium seats (`p`) and love seats (`l`, `m`).
fn mistakes_of_rows(rows: &str) -> Vec<String> {
    mistakes(&format!("category s = standard\ncategory p = premium\nlove l = love\nlove m = premium\n{rows}"))
}

fn row(row: &str, from: i32, to: i32) -> RowPlan {
    RowPlan {
        row: row.into(),
        from,
        to,
        category: "standard".into(),
        aisles_after: Vec::new(),
        accessible: Vec::new(),
        skip: Vec::new(),
        pairs: Vec::new(),
        section: String::new(),
        x: None,
        y: None,
    }
}

fn rows(rows: Vec<RowPlan>) -> Result<PlannedLayout, Vec<PlanMistake>> {
    LayoutPlan::Rows { rows, sections: Vec::new() }.seats()
}

fn wrong(plans: Vec<RowPlan>) -> Vec<String> {
    listed(&rows(plans).unwrap_err())
}

/// Returns the places of the seats, by number.
fn places(planned: &PlannedLayout) -> Vec<(String, i32, i32)> {
    planned.seats.iter().map(|seat| (format!("{}{}", seat.row, seat.number), seat.x, seat.y)).collect()
}

fn place(name: &str, x: i32, y: i32) -> (String, i32, i32) {
    (name.into(), x, y)
}

/// Returns the layout of a plan, as a store would read it.
fn stored(planned: &PlannedLayout) -> Layout {
    let seats = (1..).map(SeatId).zip(&planned.seats).map(|(id, seat)| seat.with_id(id));
    Layout::with_sections(LayoutId(1), seats.collect(), planned.sections.clone()).unwrap()
}

#[test]
fn a_drawing_becomes_numbered_and_placed_seats() {
    let planned =
        planned("category s = standard\ncategory p = premium\n\nA | ss_Sp\n\n# an aisle\n|\n B [from right]| sp\n");
    assert_eq!(
        places(&planned),
        [
            place("A1", 1, 1),
            place("A2", 2, 1),
            place("A3", 4, 1),
            place("A4", 5, 1),
            place("B1", 2, 3),
            place("B2", 1, 3)
        ]
    );
    let kinds: Vec<_> = planned.seats.iter().map(|seat| (seat.category.as_str(), seat.accessible)).collect();
    let (standard, premium) = (("standard", false), ("premium", false));
    assert_eq!(kinds, [standard, standard, ("standard", true), premium, premium, standard]);
    assert_eq!(planned.sections, []);
}

#[test]
fn the_example_of_the_document_is_a_hall() {
    let planned = planned(example());
    let names: BTreeSet<&str> = planned.seats.iter().map(|seat| seat.section.as_str()).collect();
    assert_eq!(names.into_iter().collect::<Vec<_>>(), ["", "Balcony"]);
    assert!(planned.seats.iter().any(|seat| seat.pair.is_some()) && planned.seats.iter().any(|seat| seat.accessible));
    assert_eq!(planned.to_text().as_deref(), Some(example()), "the example is canonical");
}

#[test]
fn love_seats_are_letters_two_by_two() {
    let planned = planned("love l = love\ncategory s = standard\nB | llLl_ll\nA | sll\n");
    let pairs: Vec<_> = planned.seats.iter().map(|seat| seat.pair).collect();
    assert_eq!(pairs, [None, Some(1), Some(1), Some(2), Some(2), Some(3), Some(3), Some(4), Some(4)]);
    assert!(stored(&planned).has_pairs());
}

#[test]
fn numbers_skip_and_run_in_any_direction() {
    let planned = planned("category s = standard\n12 [numbers 1-3 5 9-8] | sss_sss\n2 [depth 9] | s\n");
    assert_eq!(
        places(&planned),
        [
            place("21", 1, 9),
            place("121", 1, 1),
            place("122", 2, 1),
            place("123", 3, 1),
            place("125", 5, 1),
            place("128", 7, 1),
            place("129", 6, 1)
        ]
    );
}

#[test]
fn sections_have_names_and_focal_points() {
    let planned = planned("category s = s\nfocus 1,1\nA|s\nsection Upper balcony\nLoge 3|s\nfocus 2,7\nsection\nB|s\n");
    let sections: Vec<_> = planned.seats.iter().map(|seat| (seat.row.as_str(), seat.section.as_str())).collect();
    assert_eq!(sections, [("A", ""), ("B", ""), ("Loge 3", "Upper balcony")]);
    let section = |name: &str, x, y| Section { name: name.into(), focus: Some(FocalPoint { x, y }) };
    assert_eq!(planned.sections, [section("", 1, 1), section("Upper balcony", 2, 7)]);
}

#[test]
fn quoted_names_may_be_anything() {
    let planned = planned("category s = s\n\"section 1\"|s\n\"say \"\"|[\"\"\"[from right]|s\n  \"#1\" | s\n");
    let mut names: Vec<_> = planned.seats.iter().map(|seat| seat.row.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["#1", "say \"|[\"", "section 1"]);
    let text = planned.to_text().unwrap();
    assert_eq!(LayoutPlan::Text(text).seats().as_ref(), Ok(&planned));
}

#[test]
fn rows_become_numbered_and_placed_seats() {
    let first = RowPlan { aisles_after: vec![3], accessible: vec![4], skip: vec![2], ..row("A", 1, 4) };
    let premium = RowPlan { category: "premium".into(), pairs: vec![(6, 5)], ..row("A", 6, 5) };
    let planned =
        rows(vec![first, premium, row("B", 1, 1), RowPlan { x: Some(5), y: Some(9), ..row("C", 7, 7) }]).unwrap();
    assert_eq!(
        places(&planned),
        [
            place("A1", 1, 1),
            place("A3", 2, 1),
            place("A4", 4, 1),
            place("A5", 6, 1),
            place("A6", 5, 1),
            place("B1", 1, 2),
            place("C7", 5, 9)
        ]
    );
    let [a1, _, a4, a5, a6, ..] = planned.seats.as_slice() else { panic!("{planned:?}") };
    assert_eq!((a1.accessible, a4.accessible, a5.category.as_str()), (false, true, "premium"));
    assert_eq!((a1.pair, a5.pair, a6.pair), (None, Some(1), Some(1)));
}

#[test]
fn a_focal_point_of_rows_is_named_by_section() {
    let focus = Some(FocalPoint { x: 2, y: 3 });
    let sections = vec![SectionPlan { name: "Balcony".into(), focus }];
    let balcony = RowPlan { section: "Balcony".into(), ..row("B", 1, 2) };
    let plan = LayoutPlan::Rows { rows: vec![row("A", 1, 2), balcony.clone()], sections: sections.clone() };
    assert_eq!(plan.seats().unwrap().sections, [Section { name: "Balcony".into(), focus }]);
    let plan = LayoutPlan::Rows { rows: vec![row("A", 1, 2)], sections: sections.clone() };
    assert_eq!(listed(&plan.seats().unwrap_err()), ["sections[0].name section_without_seats"]);
    let twice = [sections.clone(), vec![SectionPlan { name: " Balcony".into(), focus: None }]].concat();
    let plan = LayoutPlan::Rows { rows: vec![balcony.clone()], sections: twice };
    assert_eq!(listed(&plan.seats().unwrap_err()), ["sections[1].name section_repeated"]);
    let outside = vec![SectionPlan { name: "Balcony".into(), focus: Some(FocalPoint { x: 201, y: 1 }) }];
    let plan = LayoutPlan::Rows { rows: vec![balcony], sections: outside };
    assert_eq!(listed(&plan.seats().unwrap_err()), ["sections[0].focus focus_outside"]);
}

#[test]
fn mistakes_of_rows_are_named() {
    assert_eq!(wrong(Vec::new()), ["plan no_seats"]);
    assert_eq!(wrong(vec![row("", 1, 2)]), ["rows[0].row row_name_invalid"]);
    assert_eq!(wrong(vec![RowPlan { category: "\0".into(), ..row("A", 1, 2) }]), ["rows[0].category category_invalid"]);
    let section = RowPlan { section: "x".repeat(51), ..row("A", 1, 2) };
    assert_eq!(wrong(vec![section]), ["rows[0].section section_name_invalid"]);
    assert_eq!(wrong(vec![row("A", 0, 10_000)]), ["rows[0].from number_outside", "rows[0].to number_outside"]);
    assert_eq!(wrong(vec![row("A", i32::MIN, i32::MAX)]).len(), 2);
    let lists = RowPlan {
        aisles_after: vec![3],
        accessible: vec![0, 9],
        skip: vec![2, 8],
        pairs: vec![(1, 2), (1, 7)],
        ..row("A", 1, 3)
    };
    let expected = [
        "rows[0].accessible number_unknown",
        "rows[0].accessible number_unknown",
        "rows[0].pairs number_unknown",
        "rows[0].pairs number_unknown",
        "rows[0].skip number_unknown",
    ];
    assert_eq!(wrong(vec![lists]), expected);
    assert_eq!(wrong(vec![RowPlan { skip: vec![1, 2], ..row("A", 2, 1) }]), ["rows[0].skip row_without_seats"]);
    // Overlapping rows are one mistake.
    let overlap = wrong(vec![row("A", 1, 9), row("B", 1, 2), row("A", 15, 5)]);
    assert_eq!(overlap, ["rows[2].from seat_repeated"]);
    let on_one_place = vec![row("A", 1, 9), RowPlan { x: Some(9), y: Some(1), ..row("B", 1, 2) }];
    assert_eq!(wrong(on_one_place), ["rows[1].from place_taken"]);
    let behind = vec![row("A", 1, 2), RowPlan { x: Some(1), y: Some(2), ..row("A", 3, 4) }];
    assert_eq!(wrong(behind), ["rows[1].from seats_behind"]);
    let outside = vec![
        row("A", 1, 201),
        RowPlan { y: Some(0), ..row("B", 1, 1) },
        RowPlan { x: Some(i32::MAX), ..row("C", 1, 2) },
    ];
    let expected = ["rows[0].from place_outside", "rows[1].from place_outside", "rows[2].from place_outside"];
    assert_eq!(&wrong(outside)[..3], expected);
    let apart = RowPlan { aisles_after: vec![2], pairs: vec![(2, 3), (4, 4), (5, 6), (6, 7)], ..row("A", 1, 9) };
    assert_eq!(
        wrong(vec![apart]),
        ["rows[0].pairs pair_apart", "rows[0].pairs pair_apart", "rows[0].pairs pair_repeated"]
    );
    for (one, other) in [("A", "a"), ("Loge 1", "LOGE 01"), ("1", "01")] {
        assert_eq!(wrong(vec![row(one, 1, 1), row("B", 1, 1), row(other, 2, 2)]).len(), 1, "{one} {other}");
    }
    let two_sections = vec![row("A", 1, 1), RowPlan { section: "Balcony".into(), ..row("A", 2, 9) }];
    assert_eq!(wrong(two_sections), ["rows[1].from row_in_two_sections"]);
    let alike = vec![
        RowPlan { section: "Balcony".into(), ..row("A", 1, 1) },
        RowPlan { section: "balcony".into(), ..row("B", 1, 1) },
    ];
    assert_eq!(wrong(alike), ["rows[1].from sections_alike"]);
}

#[test]
fn the_limits_are_those_of_the_constants() {
    let hall = |rows: u16, seats| -> Vec<_> {
        (0..rows).map(|index| row(RowName::letters(index).as_str(), 1, seats)).collect()
    };
    assert_eq!(rows(hall(20, 100)).unwrap().seats.len(), SEATS_MAX);
    assert_eq!(rows(hall(200, 10)).unwrap().seats.len(), SEATS_MAX);
    let one_more = [hall(20, 100), vec![row("Z", 1, 1)]].concat();
    assert_eq!(wrong(one_more), ["plan too_many_seats"]);
    assert_eq!(wrong(hall(201, 1)), ["rows[200].from place_outside"]);
    assert_eq!(rows(vec![row("A", NUMBER_MAX, NUMBER_MAX - 199)]).unwrap().seats.len(), 200);
    let category =
        |index: u16| RowPlan { category: format!("category {index}"), ..row(RowName::letters(index).as_str(), 1, 1) };
    assert!(rows((0..13).map(category).collect()).is_ok());
    assert_eq!(wrong((0..15).map(category).collect()), ["rows[13].from too_many_categories"]);
    let section =
        |index: u16| RowPlan { section: format!("{index:02}"), ..row(RowName::letters(index).as_str(), 1, 1) };
    assert!(rows((0..50).map(section).collect()).is_ok());
    assert_eq!(wrong((0..51).map(section).collect()), ["rows[50].from too_many_sections"]);
    assert_eq!(mistakes(&" ".repeat(TEXT_MAX + 1)), ["plan text_too_long"]);
    let line = format!("A | {}", "s".repeat(200));
    assert!(LayoutPlan::Text(format!("category s = s\n{line}")).seats().is_ok());
    assert_eq!(mistakes_of_rows(&format!("{line}ss")), ["line 5, column 205 place_outside"]);
}

#[test]
fn mistakes_of_drawings_are_named() {
    assert_eq!(mistakes(""), ["plan no_seats"]);
    assert_eq!(mistakes("category s = standard\n|\n# A | s\n"), ["plan no_seats"]);
    for (rows, expected) in [
        ("A ss", "line 5, column 1 line_unknown"),
        ("  A | s1s", "line 5, column 8 symbol_unknown"),
        ("A | s\ts", "line 5, column 6 symbol_unknown"),
        ("A | sés", "line 5, column 6 symbol_unknown"),
        ("A | sXs", "line 5, column 6 letter_unknown"),
        ("A | sl", "line 5, column 6 pair_alone"),
        ("A | lll", "line 5, column 7 pair_alone"),
        ("A | l_l", "line 5, column 5 pair_alone"),
        ("\"A | s", "line 5, column 1 quote_open"),
        ("A [from right | s", "line 5, column 3 options_open"),
        ("A [from right] s", "line 5, column 16 bar_missing"),
        ("A [from right, from left] | s", "line 5, column 16 option_unknown"),
        ("A [from right, numbers 1] | s", "line 5, column 16 option_repeated"),
        ("A [depth 1, depth 2] | s", "line 5, column 13 option_repeated"),
        ("A [depth 201] | s", "line 5, column 4 place_outside"),
        ("A [numbers 1-x] | s", "line 5, column 4 option_unknown"),
        ("A [numbers 0-1] | ss", "line 5, column 4 number_outside"),
        ("A [numbers 1-9999 1-9999] | ss", "line 5, column 4 numbers_differ"),
        ("A [numbers 1-3] | ss", "line 5, column 4 numbers_differ"),
        ("A [numbers 1 1] | ss", "line 5, column 20 seat_repeated"),
        ("A | s\nA | _s", "line 6, column 6 seat_repeated"),
        ("A | s\nA [numbers 2] | s", "line 6, column 17 seats_behind"),
        ("A | s\nB [depth 1] | s", "line 6, column 15 place_taken"),
        ("| s", "line 5, column 1 row_name_invalid"),
        ("focus 1", "line 5, column 7 focus_malformed"),
        ("focus 0,1\nA | s", "line 5, column 7 focus_outside"),
        ("focus 1,1\nfocus 1,1\nA | s", "line 6, column 7 focus_repeated"),
        ("A | s\nsection Balcony\n", "line 6, column 9 section_without_seats"),
        ("A | s\nsection Balcony\nB | s\nA | __s", "line 8, column 7 row_in_two_sections"),
        ("category s = other\nA | s", "line 5, column 10 letter_repeated"),
        ("category S = other\nA | s", "line 5, column 10 category_malformed"),
        ("category = other\nA | s", "line 5, column 10 category_malformed"),
        ("love q\nA | s", "line 5, column 6 category_malformed"),
        ("love q =\nA | s", "line 5, column 6 category_invalid"),
    ] {
        let found = mistakes_of_rows(rows);
        assert!(found.iter().any(|mistake| mistake == expected), "{rows:?}: {found:?}");
    }
}

#[test]
fn all_mistakes_are_reported_in_the_order_of_the_plan() {
    let found = mistakes_of_rows("A | s1l\nfocus\nB [depth 1] | s\n");
    let expected = [
        "line 5, column 6 symbol_unknown",
        "line 5, column 7 pair_alone",
        "line 6, column 6 focus_malformed",
        "line 7, column 15 place_taken",
    ];
    assert_eq!(found, expected);
    let many = mistakes(&"A | 123\n".repeat(1_000));
    assert_eq!((many.len(), many.last().map(String::as_str)), (101, Some("plan more_mistakes")));
}

#[test]
fn a_mistake_says_where_it_is_and_what_to_do() {
    let found = LayoutPlan::Text("category s = s\nA | s\nA [numbers 1] | _s".into()).seats().unwrap_err();
    let texts: Vec<_> = found.iter().map(ToString::to_string).collect();
    let expected = "line 3, column 18: Seat 1 of row A is there twice, first at line 2, column 5. Give one of them another number.";
    assert_eq!(texts, [expected]);
    let found = rows(vec![row(&"A".repeat(21), 1, 1)]).unwrap_err();
    assert_eq!(found[0].to_string(), "rows[0].row: The name of the row must have at most 20 characters.");
}

#[test]
fn layouts_that_cannot_be_drawn_have_no_text() {
    let planned = planned("love l = love\nA | ll\n");
    assert!(planned.to_text().is_some());
    let with = |change: fn(&mut SeatSeed)| {
        let mut planned = planned.clone();
        change(planned.seats.first_mut().unwrap());
        planned.to_text()
    };
    assert_eq!(with(|seat| seat.x = 0), None);
    assert_eq!(with(|seat| seat.y = 2), None);
    assert_eq!(with(|seat| seat.x = 2), None);
    assert_eq!(with(|seat| seat.pair = None), None);
    assert_eq!(with(|seat| seat.number = 10_000), None);
    let mut many = planned.clone();
    many.seats = (1..=27)
        .map(|x| SeatSeed { number: x, x, category: x.to_string(), pair: None, ..planned.seats[0].clone() })
        .collect();
    assert_eq!(many.to_text(), None);
}

/// The numbers of a row, from the left.
#[derive(Clone, Copy, Debug)]
enum Numbering {
    Left,
    Right,
    OddAndEven,
    Skipping,
}

impl Numbering {
    fn number(self, index: usize, count: usize) -> i32 {
        let (index, count) = (i32::try_from(index).unwrap(), i32::try_from(count).unwrap());
        match self {
            Self::Left => index + 1,
            Self::Right => count - index,
            Self::OddAndEven => {
                if 2 * index < count {
                    2 * (count / 2 - index) + 1
                } else {
                    2 * index + 2
                }
            }
            Self::Skipping => index * 3 + 1 + index / 4,
        }
    }
}

const NAMES: [&str; 14] =
    ["A", "Z", "AA", "1", "12", "Loge 3", "Ложа 10", "section 1", "love", "#", "a|b", "say \"x\"", "[", "Box  ] 7"];

/// Halls with rows side by side, curved rows, all kinds of numbers, love seats and sections.
fn halls() -> impl Strategy<Value = PlannedLayout> {
    let cell = prop::sample::select(&["s", "s", "S", "v", "V", "_", "_", "ll", "lL", "mm", "M_"][..]);
    let numbering =
        prop::sample::select(&[Numbering::Left, Numbering::Right, Numbering::OddAndEven, Numbering::Skipping][..]);
    let row = (prop::collection::vec(cell, 1..9), numbering, 0..4_i32, 0..6_i32, any::<bool>());
    let names = Just(NAMES.to_vec()).prop_shuffle();
    let focus = prop::option::of((1..20, 1..20).prop_map(|(x, y)| FocalPoint { x, y }));
    (prop::collection::vec(row, 1..12), names, focus.clone(), focus).prop_filter_map(
        "no seats",
        |(rows, names, main, upper)| {
            let mut seats = Vec::new();
            let (mut y, mut x) = (0, 0);
            let mut pair = 0;
            for ((cells, numbering, step, left, is_bent), name) in rows.into_iter().zip(names) {
                // No step: side by side.
                x = if step == 0 && y > 0 { x + left } else { left };
                y += if y == 0 { step + 1 } else { step };
                let cells: Vec<char> = cells.concat().chars().collect();
                let count = cells.iter().filter(|symbol| **symbol != '_' && **symbol != 'M').count();
                let mut halves = 0;
                let mut index = 0;
                for symbol in cells {
                    x += 1;
                    let category = match symbol {
                        's' | 'S' => "standard",
                        'v' | 'V' => "vip seats = best",
                        'l' | 'L' => "standard",
                        'm' => "couch",
                        _ => continue,
                    };
                    let is_love = matches!(symbol, 'l' | 'L' | 'm');
                    if is_love {
                        pair += i32::from(halves % 2 == 0);
                        halves += 1;
                    }
                    seats.push(SeatSeed {
                        row: RowName::parse(name).unwrap(),
                        number: numbering.number(index, count),
                        category: category.into(),
                        accessible: symbol.is_ascii_uppercase(),
                        x,
                        // Behind the hall, so that it is not on another row.
                        y: if is_bent && index == 0 && !is_love { y + 100 } else { y },
                        section: if y % 2 == 0 { "Upper | balcony".into() } else { String::new() },
                        pair: is_love.then_some(pair),
                    });
                    index += 1;
                }
            }
            seats.sort_by(|a, b| a.row.cmp(&b.row).then(a.number.cmp(&b.number)));
            let used = |name: &str| seats.iter().any(|seat| seat.section == name);
            let mut sections = Vec::new();
            if used("") && main.is_some() {
                sections.push(Section { name: String::new(), focus: main });
            }
            if used("Upper | balcony") {
                sections.push(Section { name: "Upper | balcony".into(), focus: upper });
            }
            let mut planned = PlannedLayout { seats, sections };
            planned.number_pairs();
            (!planned.seats.is_empty()).then_some(planned)
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn a_printed_plan_is_read_as_the_same_seats(hall in halls()) {
        let text = hall.to_text().unwrap();
        let read = LayoutPlan::Text(text.clone()).seats();
        prop_assert_eq!(read.map_err(|mistakes| listed(&mistakes)), Ok(hall.clone()), "{}", text);
        prop_assert_eq!(&PlannedLayout::from(&stored(&hall)), &hall);
    }

    #[test]
    fn any_text_is_a_plan_or_has_mistakes(
        lines in prop::collection::vec("[sSlLpx_ .]{0,9}|[A-C\"]{1,2} ?(\\[(from right|depth [0-9]{1,3}|numbers [0-9 -]{1,5})[,\\]])? ?\\| ?[sSllLL_]{0,8}|section [AB]?|focus [0-9],[0-9]", 0..8)
    ) {
        let text = format!("category s = standard\nlove l = love\n{}", lines.join("\n"));
        match (LayoutPlan::Text(text)).seats() {
            Ok(planned) => {
                let text = planned.to_text().unwrap();
                prop_assert_eq!(LayoutPlan::Text(text.clone()).seats().map_err(|mistakes| listed(&mistakes)), Ok(planned.clone()));
                prop_assert_eq!(LayoutPlan::Text(text.clone()).seats().unwrap().to_text(), Some(text));
                prop_assert_eq!(&PlannedLayout::from(&stored(&planned)), &planned);
            }
            Err(mistakes) => prop_assert!(!mistakes.is_empty() && mistakes.len() <= MISTAKES_MAX + 1),
        }
    }

    #[test]
    fn any_text_at_all_is_read_without_a_panic(text in "\\PC{0,200}|[sA|\\[\\]\"#=\\n ,0-9-]{0,200}") {
        let _ = LayoutPlan::Text(text).seats();
    }

    #[test]
    fn rows_become_a_layout_or_have_mistakes(
        plans in prop::collection::vec(
            ("[A-C]|Loge [0-9]", 0..12_i32, 0..12_i32, prop::collection::vec(0..12_i32, 0..3), any::<[bool; 2]>()), 0..5),
    ) {
        let plans = plans.into_iter().map(|(name, from, to, list, [is_upper, has_pair])| RowPlan {
            aisles_after: list.iter().copied().skip(1).collect(),
            skip: list.iter().copied().take(1).collect(),
            pairs: if has_pair { vec![(from, if from < to { from + 1 } else { from - 1 })] } else { Vec::new() },
            section: if is_upper { "Upper".into() } else { String::new() },
            ..row(&name, from, to)
        });
        if let Ok(planned) = rows(plans.collect()) {
            prop_assert_eq!(&PlannedLayout::from(&stored(&planned)), &planned);
            let text = planned.to_text().unwrap();
            prop_assert_eq!(LayoutPlan::Text(text).seats().map_err(|mistakes| listed(&mistakes)), Ok(planned));
        }
    }
}
