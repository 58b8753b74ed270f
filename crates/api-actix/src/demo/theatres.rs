//! The theatres, their halls and their prices.

use std::collections::BTreeSet;

use chrono_tz::Tz;
use domain::money::{Currency, CurrencyError, TaxRate};
use domain::seating::{RowName, Section};
use domain::seed::{HallSeed, SeatSeed, TheatreSeed};

/// A theatre, and what the schedule has to know about it.
pub(super) struct Theatre {
    pub(super) name: &'static str,
    /// Where it is.
    location: &'static str,
    /// The timezone of its days and clocks.
    pub(super) timezone: Tz,
    /// The language most of its visitors speak, in English.
    pub(super) language: &'static str,
    /// The letters of its currency.
    currency: &'static str,
    /// The rate of the tax on tickets, in hundredths of a percent.
    tax_basis_points: i32,
    /// What its tickets cost.
    pub(super) tariff: Tariff,
    pub(super) halls: &'static [Hall],
}

/// What tickets cost, in minor units.
pub(super) struct Tariff {
    /// A standard seat on a weekday before five.
    pub(super) matinee: i64,
    /// A standard seat on a weekday evening, or at the weekend before five.
    pub(super) regular: i64,
    /// A standard seat on the evening of a Friday, Saturday or Sunday.
    pub(super) peak: i64,
    /// What a premium seat costs more.
    premium: i64,
    /// What a seat in the front of the balcony costs more.
    loge: i64,
    /// What a recliner costs more.
    recliner: i64,
    /// What any seat costs more in 3D.
    pub(super) three_d: i64,
    /// What any seat costs more in IMAX.
    pub(super) imax: i64,
}

/// A hall, and what the schedule has to know about it.
pub(super) struct Hall {
    pub(super) name: &'static str,
    /// What can be shown there besides 2D.
    pub(super) screen: Screen,
    /// The local hours and minutes at which shows begin, unless the one before takes longer.
    pub(super) slots: &'static [(u32, u32)],
    /// How rows bend around the screen: this many seats from the middle, a seat stands one depth nearer to it; twice as
    /// many, two depths. 0 for straight rows.
    bend: i32,
    /// The names of its rows.
    names: Names,
    /// The number of rows before the balcony, if there is one.
    stalls: Option<u16>,
    /// The seats, a line for each row from the screen backwards, a character for each seat width from the left:
    /// `.` for no seat, and the letters of [`kind`]. An empty line is an aisle across the hall.
    seats: &'static str,
}

/// How rows are named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Names {
    /// `A` … `Z`, `AA` …
    Letters,
    /// `1`, `2` …
    Numbers,
}

/// What can be shown in a hall besides 2D.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Screen {
    /// Nothing else.
    Flat,
    /// 3D.
    ThreeD,
    /// IMAX.
    Imax,
}

/// What a seat's price depends on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Category {
    /// Any seat that isn't one of the others.
    Standard,
    /// A seat with the best view.
    Premium,
    /// A seat in the front of the balcony.
    Loge,
    /// A seat to lie back in.
    Recliner,
}

impl Category {
    /// Returns the name in the store and on the wire.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Premium => "premium",
            Self::Loge => "loge",
            Self::Recliner => "recliner",
        }
    }
}

impl Tariff {
    /// What a seat of `category` costs more than a standard one.
    pub(super) fn surcharge(&self, category: Category) -> i64 {
        match category {
            Category::Standard => 0,
            Category::Premium => self.premium,
            Category::Loge => self.loge,
            Category::Recliner => self.recliner,
        }
    }
}

impl Theatre {
    /// Returns the theatre as a plan has it.
    pub(super) fn seed(&self) -> Option<TheatreSeed> {
        Some(TheatreSeed {
            name: self.name.into(),
            location: self.location.into(),
            timezone: self.timezone,
            // A test has every currency and rate parse.
            currency: self.currency().ok()?,
            tax_rate: TaxRate::from_basis_points(self.tax_basis_points).ok()?,
            cleaning_minutes: super::schedule::CLEANING_MINUTES,
            halls: self.halls.iter().map(Hall::seed).collect(),
        })
    }

    /// Returns the currency of its prices.
    pub(super) fn currency(&self) -> Result<Currency, CurrencyError> {
        Currency::parse(self.currency)
    }
}

impl Hall {
    /// Returns the hall as a plan has it.
    fn seed(&self) -> HallSeed {
        let width = self.rows().map(|(_, row)| row.len()).max().and_then(|width| i32::try_from(width).ok());
        let middle = width.unwrap_or_default() + 1;
        // Doubled: the middle may be between two seats.
        let nearer = |x: i32| (2 * x - middle).abs().checked_div(2 * self.bend).unwrap_or_default();
        let furthest = nearer(1);
        let seats = self.rows().filter(|(_, row)| !row.is_empty()).zip(0..).flat_map(|((depth, row), index)| {
            let places = (1..).zip(row.chars()).filter_map(|(x, symbol)| Some((x, symbol, kind(symbol)?)));
            (1..).zip(places).map(move |(number, (x, symbol, (category, accessible)))| SeatSeed {
                row: self.names.row(index),
                number,
                category: category.as_str().into(),
                accessible,
                x,
                // Never below 1. All seats of the same `x` are moved alike: none stands on another.
                y: depth + furthest - nearer(x),
                section: self.section(index).into(),
                // The seats of a row are at most 26, and love seats begin at odd numbers.
                pair: (symbol == LOVE_SEAT).then(|| i32::from(index) * 13 + (number + 1) / 2),
            })
        });
        let balcony = self.stalls.map(|_| Section { name: BALCONY.into(), focus: None });
        HallSeed { name: self.name.into(), seats: seats.collect(), sections: balcony.into_iter().collect() }
    }

    /// Returns the section of the row with this index.
    fn section(&self, index: u16) -> &'static str {
        if self.stalls.is_some_and(|stalls| index >= stalls) { BALCONY } else { "" }
    }

    /// Returns the categories of its seats.
    pub(super) fn categories(&self) -> BTreeSet<Category> {
        self.seats.chars().filter_map(kind).map(|(category, _)| category).collect()
    }

    /// Returns the lines of the seats, each with its depth.
    fn rows(&self) -> impl Iterator<Item = (i32, &'static str)> {
        (1..).zip(self.seats.trim().lines().map(str::trim))
    }
}

impl Names {
    /// Returns the name of the row with this index.
    fn row(self, index: u16) -> RowName {
        match self {
            Self::Letters => RowName::letters(index),
            Self::Numbers => RowName::number(index.saturating_add(1)),
        }
    }
}

/// The name of the section upstairs.
const BALCONY: &str = "Balcony";

/// The letter of half a love seat. Two of them stand side by side.
const LOVE_SEAT: char = 'c';

/// Returns the category of the seat that a letter stands for, and whether it is accessible.
fn kind(letter: char) -> Option<(Category, bool)> {
    match letter {
        's' => Some((Category::Standard, false)),
        'w' => Some((Category::Standard, true)),
        'p' => Some((Category::Premium, false)),
        'l' => Some((Category::Loge, false)),
        'r' | LOVE_SEAT => Some((Category::Recliner, false)),
        'W' => Some((Category::Recliner, true)),
        _ => None,
    }
}

/// Four shows a day.
const FOUR: &[(u32, u32)] = &[(11, 0), (14, 0), (17, 15), (20, 30)];
/// Five shows a day, if they aren't long.
const FIVE: &[(u32, u32)] = &[(10, 30), (13, 15), (16, 0), (18, 45), (21, 30)];
/// Four shows a day, with time to sit by the fire in between.
const UNHURRIED: &[(u32, u32)] = &[(12, 0), (15, 0), (18, 0), (21, 0)];

/// The theatres. The schedule depends on the order of the halls.
pub(super) static THEATRES: [Theatre; 3] = [
    Theatre {
        name: "Lichtburg",
        location: "Lindenufer 18, 10969 Berlin, Germany",
        timezone: chrono_tz::Europe::Berlin,
        language: "German",
        currency: "EUR",
        tax_basis_points: 700,
        tariff: Tariff {
            matinee: 8_50,
            regular: 11_00,
            peak: 13_00,
            premium: 2_50,
            loge: 4_00,
            recliner: 6_50,
            three_d: 2_50,
            imax: 4_00,
        },
        halls: &[
            // Stalls from A to T, and a balcony from U to AB with a best view of its own.
            Hall {
                name: "Großer Saal",
                screen: Screen::ThreeD,
                slots: FOUR,
                bend: 6,
                names: Names::Letters,
                stalls: Some(20),
                seats: "
                    ....ss..ssssssss..ss....
                    ....ss..ssssssss..ss....
                    ....ss.ssssssssss.ss....
                    ....ss.ssssssssss.ss....
                    ...sss.ssssssssss.sss...
                    ...sss.ssssssssss.sss...
                    ..ssss.ssssssssss.ssss..
                    ..ssss.ssssssssss.ssss..
                    ..ssss.ssssssssss.ssss..
                    ..ssss.ssssssssss.ssss..
                    ..ssss.pppppppppp.ssss..
                    ..ssss.pppppppppp.ssss..
                    ..ssss.pppppppppp.ssss..
                    ..ssss.pppppppppp.ssss..
                    ..ssss.pppppppppp.ssss..
                    ..ssss.pppppppppp.ssss..
                    ..ssss.ssssssssss.ssss..
                    ..ssss.ssssssssss.ssss..
                    ..ssss.ssssssssss.ssss..
                    ....ww.ssssssssss.ww....


                    .lllll.llllllllll.lllll.
                    .lllll.llllllllll.lllll.
                    .sssss.ssssssssss.sssss.
                    .sssss.ssssssssss.sssss.
                    ssssss.ssssssssss.ssssss
                    ssssss.ssssssssss.ssssss
                    ssssss.ssssssssss.ssssss
                    ssssss.ssssssssss.ssssss
                ",
            },
            // The aisle is off the middle, and ends at the last row.
            Hall {
                name: "Kleiner Saal",
                screen: Screen::Flat,
                slots: FIVE,
                bend: 0,
                names: Names::Letters,
                stalls: None,
                seats: "
                    ww...ssssss..
                    ww..sssssss..
                    ....ssssssss.
                    ssss.ssssssss
                    ssss.ssssssss
                    ssss.ssssssss
                    pppp.pppppppp
                    pppp.pppppppp
                    pppp.pppppppp
                    sssssssssssss
                ",
            },
            Hall {
                name: "Kaminzimmer",
                screen: Screen::Flat,
                slots: UNHURRIED,
                bend: 0,
                names: Names::Numbers,
                stalls: None,
                seats: "
                    rr.rr.WW
                    rr.rr.rr
                    cc.cc.cc
                    cc.cc.cc
                ",
            },
        ],
    },
    Theatre {
        name: "Hudson Picture House",
        location: "481 Hudson Row, New York, NY 10014, USA",
        timezone: chrono_tz::America::New_York,
        language: "English",
        currency: "USD",
        tax_basis_points: 888,
        tariff: Tariff {
            matinee: 12_00,
            regular: 16_50,
            peak: 18_50,
            premium: 3_00,
            loge: 4_50,
            recliner: 7_00,
            three_d: 3_50,
            imax: 6_00,
        },
        halls: &[
            Hall {
                name: "Auditorium 1",
                screen: Screen::Imax,
                slots: FOUR,
                bend: 4,
                names: Names::Letters,
                stalls: None,
                seats: "
                    ........ssssssssss........
                    .......ssssssssssss.......
                    ...ss..ssssssssssss..ss...
                    ..sss.ssssssssssssss.sss..
                    ..sss.ssssssssssssss.sss..

                    .ww.w...ssssssssss...w.ww.
                    .ssss.ssssssssssssss.ssss.
                    .ssss.pppppppppppppp.ssss.
                    sssss.pppppppppppppp.sssss
                    sssss.pppppppppppppp.sssss
                    sssss.pppppppppppppp.sssss
                    sssss.ssssssssssssss.sssss
                    sssss.ssssssssssssss.sssss
                    sssss.rr.rr.rr.rr.rr.sssss
                ",
            },
            Hall {
                name: "Auditorium 2",
                screen: Screen::ThreeD,
                slots: FIVE,
                bend: 4,
                names: Names::Letters,
                stalls: None,
                seats: "
                    .ss..ssss..ss.
                    .ss.ssssss.ss.
                    sss.ssssss.sss
                    sss.ssssss.sss
                    ..W.rr..rr.W..
                    .rr.rr..rr.rr.
                    .rr.rr..rr.rr.
                ",
            },
        ],
    },
    Theatre {
        name: "Shinjuku Eigakan",
        location: "Shinjuku 3-chome, Shinjuku-ku, Tokyo 160-0022, Japan",
        timezone: chrono_tz::Asia::Tokyo,
        language: "Japanese",
        currency: "JPY",
        tax_basis_points: 1000,
        tariff: Tariff {
            matinee: 1_300,
            regular: 1_900,
            peak: 2_100,
            premium: 500,
            loge: 700,
            recliner: 1_500,
            three_d: 400,
            imax: 700,
        },
        halls: &[
            Hall {
                name: "Hall Sakura",
                screen: Screen::ThreeD,
                slots: FIVE,
                bend: 6,
                names: Names::Letters,
                stalls: None,
                seats: "
                    ..ss..sssssss..ss..
                    .sss.sssssssss.sss.
                    .sss.sssssssss.sss.
                    ssss.sssssssss.ssss
                    ssss.sssssssss.ssss

                    ww.w...sssss...w.ww
                    ssss.ppppppppp.ssss
                    ssss.ppppppppp.ssss
                    ssss.ppppppppp.ssss
                    ssss.ppppppppp.ssss
                    ssss.sssssssss.ssss
                    ssss.sssssssss.ssss
                    .sss.sssssssss.sss.
                ",
            },
            // The door takes the front corner.
            Hall {
                name: "Hall Kaede",
                screen: Screen::Flat,
                slots: FOUR,
                bend: 0,
                names: Names::Letters,
                stalls: None,
                seats: "
                    ...sssss.
                    ...ssssss
                    ss.ssssss
                    ss.ssssss
                    ss.pppppp
                    ss.pppppp
                    ss.ssssss
                    ww.ssssss
                ",
            },
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use domain::ids::{LayoutId, SeatId};
    use domain::seating::Layout;
    use domain::text::shown_line;

    use super::*;

    fn halls() -> Vec<HallSeed> {
        THEATRES.iter().flat_map(|theatre| theatre.seed().unwrap().halls).collect()
    }

    #[test]
    fn the_theatres_are_in_different_timezones_and_currencies() {
        let timezones: BTreeSet<_> = THEATRES.iter().map(|theatre| theatre.timezone.name()).collect();
        let digits: BTreeSet<_> = THEATRES.iter().map(|theatre| theatre.currency().unwrap().digits()).collect();
        assert_eq!(timezones.len(), 3);
        assert_eq!(digits, BTreeSet::from([0, 2]));
    }

    #[test]
    fn every_name_can_be_kept_and_is_there_once() {
        let mut names = BTreeSet::new();
        for theatre in THEATRES.iter().map(|theatre| theatre.seed().unwrap()) {
            assert_eq!(shown_line(&theatre.name, 1, 100).as_ref(), Ok(&theatre.name));
            assert_eq!(shown_line(&theatre.location, 1, 200).as_ref(), Ok(&theatre.location));
            for hall in &theatre.halls {
                assert_eq!(shown_line(&hall.name, 1, 100).as_ref(), Ok(&hall.name));
                assert!(names.insert((theatre.name.clone(), hall.name.clone())), "{}", hall.name);
            }
        }
    }

    #[test]
    fn the_halls_are_of_all_sizes() {
        let sizes: Vec<_> = halls().iter().map(|hall| hall.seats.len()).collect();
        assert_eq!(sizes, [500, 110, 24, 278, 64, 203, 59]);
        for hall in halls() {
            assert!(hall.seats.iter().any(|seat| seat.accessible), "{}", hall.name);
        }
    }

    #[test]
    fn plans_have_no_unknown_letters() {
        for hall in THEATRES.iter().flat_map(|theatre| theatre.halls) {
            let stray =
                hall.rows().flat_map(|(_, row)| row.chars()).find(|letter| *letter != '.' && kind(*letter).is_none());
            assert_eq!(stray, None, "{}", hall.name);
            let widths: BTreeSet<_> = hall.rows().map(|(_, row)| row.len()).filter(|width| *width > 0).collect();
            assert_eq!(widths.len(), 1, "{}", hall.name);
        }
    }

    #[test]
    fn every_seat_has_its_own_number_and_place() {
        for hall in halls() {
            let places: BTreeSet<_> = hall.seats.iter().map(|seat| (seat.x, seat.y)).collect();
            assert_eq!(places.len(), hall.seats.len(), "{}", hall.name);
            assert!(places.iter().all(|(x, y)| *x >= 1 && *y >= 1), "{}", hall.name);

            let mut rows: BTreeMap<&RowName, Vec<&SeatSeed>> = BTreeMap::new();
            for seat in &hall.seats {
                rows.entry(&seat.row).or_default().push(seat);
            }
            // By row, then number, as they come.
            assert!(rows.values().flatten().copied().eq(&hall.seats), "{}", hall.name);
            for seats in rows.values() {
                assert!((1..).zip(seats).all(|(number, seat)| seat.number == number), "{}", hall.name);
                assert!(seats.is_sorted_by_key(|seat| seat.x), "{}", hall.name);
            }
            // Further back on every column, row by row.
            let mut columns: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for seat in &hall.seats {
                columns.entry(seat.x).or_default().push(seat.y);
            }
            assert!(columns.values().all(|depths| depths.is_sorted()), "{}", hall.name);
        }
    }

    #[test]
    fn the_largest_hall_has_rows_beyond_z_that_bend_around_the_screen() {
        let hall = halls().into_iter().find(|hall| hall.seats.len() == 500).unwrap();
        let last: Vec<_> = hall.seats.iter().filter(|seat| seat.row == "AB").map(|seat| seat.y).collect();
        assert_eq!(last.len(), 22);
        assert_eq!(last.iter().max(), last.get(11));
        assert_eq!(last.first(), last.last());
        assert!(last.first() < last.get(11));
        assert!(!hall.seats.iter().any(|seat| seat.row == "AC"));
    }

    #[test]
    fn every_hall_is_a_layout_with_its_love_seats_and_sections() {
        let mut pairs = 0;
        let mut sections = BTreeSet::new();
        for hall in halls() {
            let seats = (1..).zip(&hall.seats).map(|(id, seat)| seat.with_id(SeatId(id)));
            let layout = Layout::with_sections(LayoutId(1), seats.collect(), hall.sections.clone()).unwrap();
            pairs += layout.seats().iter().filter(|seat| layout.partner(seat.id).is_some()).count();
            sections.extend(layout.sections().iter().map(|section| section.name.clone()));
        }
        assert_eq!(pairs, 12);
        assert_eq!(sections, BTreeSet::from([String::new(), BALCONY.into()]));
    }

    #[test]
    fn rows_of_one_hall_are_numbered() {
        let numbered = halls().into_iter().find(|hall| hall.seats.len() == 24).unwrap();
        let rows: BTreeSet<_> = numbered.seats.iter().map(|seat| seat.row.as_str()).collect();
        assert_eq!(rows, BTreeSet::from(["1", "2", "3", "4"]));
    }
}
