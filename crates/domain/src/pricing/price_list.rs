//! Price lists: base prices, and rules for certain days and times.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use chrono::Datelike as _;
use chrono::{Days, NaiveDate, NaiveDateTime, NaiveTime, Weekday, WeekdaySet};
use thiserror::Error;

use super::TicketTypeCode;
use crate::ids::TheatreId;
use crate::money::Currency;
use crate::seating::CategoryPrice;
use crate::text::{Line, TextError, check_line};

/// The maximum price in minor units: 100 000.00 in EUR, 10 000 000 in JPY. A higher one is a slip of the keyboard, and ten thousand of them
/// still fit into an amount by far.
pub const PRICE_MAX_MINOR: i64 = 10_000_000;

/// The name of a rule of a price list.
pub type PriceRuleName = Line<1, 100>;

const WEEKDAYS: [(Weekday, &str); 7] = [
    (Weekday::Mon, "mon"),
    (Weekday::Tue, "tue"),
    (Weekday::Wed, "wed"),
    (Weekday::Thu, "thu"),
    (Weekday::Fri, "fri"),
    (Weekday::Sat, "sat"),
    (Weekday::Sun, "sun"),
];

/// Returns the name of a weekday in the store and on the wire, like `mon`.
pub fn weekday_name(day: Weekday) -> &'static str {
    WEEKDAYS.iter().find(|(known, _)| *known == day).map_or("", |(_, name)| name)
}

/// Parses the name of a weekday.
pub fn parse_weekday(name: &str) -> Option<Weekday> {
    WEEKDAYS.iter().find(|(_, known)| *known == name).map(|(day, _)| *day)
}

/// A rule of a price list: other prices on certain days, at certain times. All conditions must hold. An absent condition always holds.
///
/// Dates and times are local to the theatre. If the hours cross midnight, they belong to the day on which they begin: the hours 22:00 to
/// 02:00 on Fridays include Saturday at 01:30, and not Friday at 01:30. The same holds for the dates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceRule {
    /// For people. Not unique.
    pub name: Option<PriceRuleName>,
    /// The days of the week.
    pub weekdays: WeekdaySet,
    /// The first date, inclusive.
    pub from_date: Option<NaiveDate>,
    /// The last date, inclusive.
    pub to_date: Option<NaiveDate>,
    /// The inclusive beginning of the hours; `None` is midnight at the beginning of the day.
    pub from_time: Option<NaiveTime>,
    /// The exclusive end of the hours; `None` is midnight at the end of the day. An end before the beginning is on the next day.
    pub to_time: Option<NaiveTime>,
    /// The prices that differ from the base prices. A rule without prices keeps the base prices, and later rules do not apply.
    pub prices: Vec<CategoryPrice>,
}

impl PriceRule {
    /// Returns whether the rule applies to a show that begins at this local time.
    pub fn applies(&self, local: NaiveDateTime) -> bool {
        let (today, time) = (local.date(), local.time());
        let from = self.from_time.unwrap_or(NaiveTime::MIN);
        match self.to_time {
            None => time >= from && self.is_on(today),
            Some(to) if from < to => time >= from && time < to && self.is_on(today),
            Some(_) if time >= from => self.is_on(today),
            Some(to) => time < to && today.checked_sub_days(Days::new(1)).is_some_and(|day| self.is_on(day)),
        }
    }

    fn is_on(&self, day: NaiveDate) -> bool {
        self.weekdays.contains(day.weekday())
            && self.from_date.is_none_or(|from| day >= from)
            && self.to_date.is_none_or(|to| day <= to)
    }
}

/// A part of a price list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum PricePlace {
    Base,
    /// The index of a rule, from 0.
    Rule(usize),
}

impl fmt::Display for PricePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("the base prices"),
            Self::Rule(index) => write!(f, "rule {}", index.saturating_add(1)),
        }
    }
}

/// The reason why a price list is invalid.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PriceListError {
    #[error("a price list has at least one base price")]
    NoPrices,
    #[error("{place} have {asked} prices; at most {max} are possible")]
    TooManyPrices {
        place: PricePlace,
        asked: usize,
        /// The maximum.
        max: usize,
    },
    #[error("there are {asked} rules; at most {max} are possible")]
    TooManyRules {
        asked: usize,
        /// The maximum.
        max: usize,
    },
    #[error("a category of {place} {error}")]
    Category { place: PricePlace, error: TextError },
    #[error("{place}: the price of {category} for {ticket_type} is {minor} minor units; it must be from 0 to {max}", max = PRICE_MAX_MINOR)]
    PriceOutOfRange { place: PricePlace, category: String, ticket_type: TicketTypeCode, minor: i64 },
    #[error("{place}: {category} has two prices for {ticket_type}; remove one")]
    Repeated { place: PricePlace, category: String, ticket_type: TicketTypeCode },
    #[error("{place} applies on no weekday; name at least one")]
    NoWeekdays { place: PricePlace },
    #[error("{place} ends on {to}, before it begins on {from}")]
    DatesReversed { place: PricePlace, from: NaiveDate, to: NaiveDate },
    #[error("{place} begins and ends at {time}; leave out both times for the whole day")]
    NoHours { place: PricePlace, time: NaiveTime },
}

/// The error of a price list that a hall cannot use: some pairs of a category and a ticket type have no base price.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the price list has no base price for {}; add them", list(.0))]
pub struct MissingPrices(pub Vec<(String, TicketTypeCode)>);

fn list(missing: &[(String, TicketTypeCode)]) -> String {
    missing.iter().map(|(category, ticket_type)| format!("{category}/{ticket_type}")).collect::<Vec<_>>().join(", ")
}

/// Prices by category and ticket type, in minor units.
type Prices = BTreeMap<(String, TicketTypeCode), i64>;

/// A price list of a theatre: base prices, and rules in their order. Immutable and valid.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceList {
    theatre_id: TheatreId,
    currency: Currency,
    base: Prices,
    rules: Vec<PriceRule>,
}

impl PriceList {
    /// The maximum number of rules. Every show of a programme is compared with each of them.
    pub const RULES_MAX: usize = 50;
    /// The maximum number of prices of the base, and of each rule.
    pub const PRICES_MAX: usize = 500;
    /// The maximum length of a category's name.
    const CATEGORY_MAX: usize = 100;

    /// Returns a valid price list, or everything that is wrong with it.
    ///
    /// `currency` is the currency of the theatre. A rule can price a pair that has no base price: such tickets are sold only when the rule
    /// applies.
    pub fn new(
        theatre_id: TheatreId,
        currency: Currency,
        base: Vec<CategoryPrice>,
        rules: Vec<PriceRule>,
    ) -> Result<Self, Vec<PriceListError>> {
        let mut errors = Vec::new();
        if base.is_empty() {
            errors.push(PriceListError::NoPrices);
        }
        if rules.len() > Self::RULES_MAX {
            // The rules are not checked one by one: the report would have no end.
            return Err(vec![PriceListError::TooManyRules { asked: rules.len(), max: Self::RULES_MAX }]);
        }
        check_prices(&base, PricePlace::Base, &mut errors);
        for (index, rule) in rules.iter().enumerate() {
            let place = PricePlace::Rule(index);
            if rule.weekdays.is_empty() {
                errors.push(PriceListError::NoWeekdays { place });
            }
            if let (Some(from), Some(to)) = (rule.from_date, rule.to_date)
                && from > to
            {
                errors.push(PriceListError::DatesReversed { place, from, to });
            }
            let begins = rule.from_time.unwrap_or(NaiveTime::MIN);
            if let Some(time) = rule.to_time.filter(|ends| *ends == begins) {
                errors.push(PriceListError::NoHours { place, time });
            }
            check_prices(&rule.prices, place, &mut errors);
        }
        if !errors.is_empty() {
            return Err(errors);
        }
        let base = base.into_iter().map(|price| ((price.category, price.ticket_type), price.minor)).collect();
        Ok(Self { theatre_id, currency, base, rules })
    }

    /// Returns the theatre that it belongs to.
    pub fn theatre_id(&self) -> TheatreId {
        self.theatre_id
    }

    /// Returns the same list for another theatre with this currency.
    #[must_use]
    pub fn of_theatre(self, theatre_id: TheatreId) -> Self {
        Self { theatre_id, ..self }
    }

    /// Returns the currency of all its prices.
    pub fn currency(&self) -> Currency {
        self.currency
    }

    /// Returns the base prices, ordered by category, then ticket type.
    pub fn base(&self) -> Vec<CategoryPrice> {
        listed(self.base.clone())
    }

    /// Returns the rules, the first to be tried first.
    pub fn rules(&self) -> &[PriceRule] {
        &self.rules
    }

    /// Returns the index of the first rule that applies to a show that begins at this local time.
    pub fn rule_index_at(&self, local: NaiveDateTime) -> Option<usize> {
        self.rules.iter().position(|rule| rule.applies(local))
    }

    /// Returns the first rule that applies to a show that begins at this local time.
    pub fn rule_at(&self, local: NaiveDateTime) -> Option<&PriceRule> {
        self.rules.get(self.rule_index_at(local)?)
    }

    /// Returns the prices of a show that begins at this time, local to the theatre: those of the first rule that applies, and the base
    /// prices for the pairs that this rule does not name. Ordered by category, then ticket type.
    ///
    /// For example, a list has the base prices standard/adult 12.00 and standard/child 8.00, and two rules:
    ///
    /// 1. Tuesdays: standard/adult 7.00;
    /// 2. every day until 17:00: standard/adult 9.00, standard/child 6.00.
    ///
    /// | show | rule | adult | child |
    /// | --- | --- | --- | --- |
    /// | Monday, 20:00 | none | 12.00 | 8.00 |
    /// | Monday, 15:00 | 2 | 9.00 | 6.00 |
    /// | Tuesday, 20:00 | 1 | 7.00 | 8.00: rule 1 does not name it |
    /// | Tuesday, 15:00 | 1, the first of both | 7.00 | 8.00: rule 2 is not tried |
    pub fn prices_at(&self, local: NaiveDateTime) -> Vec<CategoryPrice> {
        let mut prices = self.base.clone();
        for price in self.rule_at(local).map(|rule| rule.prices.as_slice()).unwrap_or_default() {
            prices.insert((price.category.clone(), price.ticket_type.clone()), price.minor);
        }
        listed(prices)
    }

    /// Checks that each of a hall's categories has a base price for adults. Without it, some seats of the hall could not be sold at times
    /// without a rule.
    pub fn check_covers<'a>(&self, categories: impl IntoIterator<Item = &'a str>) -> Result<(), MissingPrices> {
        let needed = categories.into_iter().collect::<BTreeSet<_>>().into_iter();
        let pairs = needed.map(|category| (category.to_owned(), TicketTypeCode::ADULT));
        let missing: Vec<_> = pairs.filter(|pair| !self.base.contains_key(pair)).collect();
        if missing.is_empty() { Ok(()) } else { Err(MissingPrices(missing)) }
    }

    /// Returns the categories of the list that are none of these, ordered by name. If these are the categories of all halls of the theatre,
    /// the others are spelled wrongly.
    pub fn unknown_categories<'a>(&self, categories: impl IntoIterator<Item = &'a str>) -> Vec<&str> {
        let known: BTreeSet<&str> = categories.into_iter().collect();
        let of_rules = self.rules.iter().flat_map(|rule| &rule.prices).map(|price| price.category.as_str());
        let named: BTreeSet<&str> = self.base.keys().map(|(category, _)| category.as_str()).chain(of_rules).collect();
        named.into_iter().filter(|category| !known.contains(category)).collect()
    }

    /// Returns all ticket types that the list names, ordered by code.
    pub fn ticket_types(&self) -> BTreeSet<&TicketTypeCode> {
        let of_rules = self.rules.iter().flat_map(|rule| &rule.prices).map(|price| &price.ticket_type);
        self.base.keys().map(|(_, ticket_type)| ticket_type).chain(of_rules).collect()
    }
}

fn listed(prices: Prices) -> Vec<CategoryPrice> {
    let prices = prices.into_iter();
    prices.map(|((category, ticket_type), minor)| CategoryPrice { category, ticket_type, minor }).collect()
}

fn check_prices(prices: &[CategoryPrice], place: PricePlace, errors: &mut Vec<PriceListError>) {
    if prices.len() > PriceList::PRICES_MAX {
        errors.push(PriceListError::TooManyPrices { place, asked: prices.len(), max: PriceList::PRICES_MAX });
        return;
    }
    let mut seen = BTreeSet::new();
    for price in prices {
        let (category, ticket_type) = (&price.category, &price.ticket_type);
        if let Err(error) = check_line(category, 1, PriceList::CATEGORY_MAX) {
            errors.push(PriceListError::Category { place, error });
        }
        if !(0..=PRICE_MAX_MINOR).contains(&price.minor) {
            let (category, ticket_type) = (category.clone(), ticket_type.clone());
            errors.push(PriceListError::PriceOutOfRange { place, category, ticket_type, minor: price.minor });
        }
        if !seen.insert((category, ticket_type)) {
            let (category, ticket_type) = (category.clone(), ticket_type.clone());
            errors.push(PriceListError::Repeated { place, category, ticket_type });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(category: &str, ticket_type: &str, minor: i64) -> CategoryPrice {
        CategoryPrice { category: category.into(), ticket_type: TicketTypeCode::parse(ticket_type).unwrap(), minor }
    }

    fn always(prices: Vec<CategoryPrice>) -> PriceRule {
        let (from_date, to_date, from_time, to_time) = (None, None, None, None);
        PriceRule { name: None, weekdays: WeekdaySet::ALL, from_date, to_date, from_time, to_time, prices }
    }

    fn on(weekday: Weekday, from: &str, to: &str) -> PriceRule {
        let time = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
        PriceRule {
            weekdays: WeekdaySet::single(weekday),
            from_time: time(from),
            to_time: time(to),
            ..always(Vec::new())
        }
    }

    fn at(text: &str) -> NaiveDateTime {
        NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M").unwrap()
    }

    fn list_of(base: Vec<CategoryPrice>, rules: Vec<PriceRule>) -> Result<PriceList, Vec<PriceListError>> {
        PriceList::new(TheatreId(1), Currency::parse("EUR").unwrap(), base, rules)
    }

    fn errors(base: Vec<CategoryPrice>, rules: Vec<PriceRule>) -> Vec<String> {
        list_of(base, rules).unwrap_err().iter().map(ToString::to_string).collect()
    }

    /// The example of [`PriceList::prices_at`]. 2026-11-30 is a Monday.
    #[test]
    fn first_rule_that_applies_sets_the_prices() {
        let tuesday = PriceRule { prices: vec![price("standard", "adult", 700)], ..on(Weekday::Tue, "", "") };
        let matinee = PriceRule {
            to_time: Some("17:00:00".parse().unwrap()),
            ..always(vec![price("standard", "adult", 900), price("standard", "child", 600)])
        };
        let base = vec![price("standard", "child", 800), price("standard", "adult", 1200)];
        let list = list_of(base, vec![tuesday, matinee]).unwrap();
        for (start, adult, child) in [
            ("2026-11-30 20:00", 1200, 800),
            ("2026-11-30 15:00", 900, 600),
            ("2026-12-01 20:00", 700, 800),
            ("2026-12-01 15:00", 700, 800),
            ("2026-11-30 16:59", 900, 600),
            ("2026-11-30 17:00", 1200, 800),
        ] {
            let expected = [price("standard", "adult", adult), price("standard", "child", child)];
            assert_eq!(list.prices_at(at(start)), expected, "{start}");
        }
    }

    #[test]
    fn weekdays_read_as_they_are_written() {
        for day in WeekdaySet::ALL.iter(Weekday::Mon) {
            assert_eq!(parse_weekday(weekday_name(day)), Some(day));
        }
        assert!(parse_weekday("Mon").is_none() && parse_weekday("monday").is_none());
    }

    #[test]
    fn hours_across_midnight_belong_to_the_day_on_which_they_begin() {
        let rule = on(Weekday::Fri, "22:00:00", "02:00:00");
        // 2026-12-04 is a Friday.
        for (start, applies) in [
            ("2026-12-04 21:59", false),
            ("2026-12-04 22:00", true),
            ("2026-12-05 01:59", true),
            ("2026-12-05 02:00", false),
            ("2026-12-04 01:30", false),
            ("2026-12-05 22:00", false),
        ] {
            assert_eq!(rule.applies(at(start)), applies, "{start}");
        }
    }

    #[test]
    fn dates_of_hours_across_midnight_are_those_of_their_beginning() {
        let day: NaiveDate = "2026-12-04".parse().unwrap();
        let rule = PriceRule { from_date: Some(day), to_date: Some(day), ..on(Weekday::Fri, "22:00:00", "02:00:00") };
        assert!(rule.applies(at("2026-12-05 01:00")) && !rule.applies(at("2026-12-11 22:00")));
        assert!(!rule.applies(at("2026-12-04 01:00")));
    }

    #[test]
    fn hours_have_an_inclusive_beginning_and_an_exclusive_end() {
        let until = on(Weekday::Mon, "", "12:00:00");
        assert!(until.applies(at("2026-11-30 00:00")) && until.applies(at("2026-11-30 11:59")));
        assert!(!until.applies(at("2026-11-30 12:00")));
        let from = on(Weekday::Mon, "20:00:00", "");
        assert!(from.applies(at("2026-11-30 20:00")) && from.applies(at("2026-11-30 23:59")));
        assert!(!from.applies(at("2026-11-30 19:59")) && !from.applies(at("2026-12-01 00:00")));
        // An end at midnight is the end of the day.
        let evening = on(Weekday::Mon, "20:00:00", "00:00:00");
        assert!(evening.applies(at("2026-11-30 23:59")) && !evening.applies(at("2026-12-01 00:00")));
    }

    #[test]
    fn dates_are_inclusive() {
        let date = |text: &str| Some(text.parse::<NaiveDate>().unwrap());
        let holidays = PriceRule { from_date: date("2026-12-24"), to_date: date("2027-01-01"), ..always(Vec::new()) };
        assert!(holidays.applies(at("2026-12-24 00:00")) && holidays.applies(at("2027-01-01 23:59")));
        assert!(!holidays.applies(at("2026-12-23 23:59")) && !holidays.applies(at("2027-01-02 00:00")));
        let from = PriceRule { to_date: None, ..holidays.clone() };
        assert!(from.applies(at("2099-01-01 12:00")));
        let until = PriceRule { from_date: None, ..holidays };
        assert!(until.applies(at("1999-01-01 12:00")));
    }

    #[test]
    fn a_rule_without_prices_keeps_the_base_prices() {
        let cheap = always(vec![price("standard", "adult", 100)]);
        let list = list_of(vec![price("standard", "adult", 1200)], vec![on(Weekday::Sat, "", ""), cheap]).unwrap();
        assert_eq!(list.prices_at(at("2026-12-05 20:00")), [price("standard", "adult", 1200)]);
        assert_eq!(list.prices_at(at("2026-12-06 20:00")), [price("standard", "adult", 100)]);
    }

    #[test]
    fn a_rule_can_sell_a_ticket_type_that_has_no_base_price() {
        let seniors = PriceRule { prices: vec![price("standard", "senior", 500)], ..on(Weekday::Wed, "", "") };
        let list = list_of(vec![price("standard", "adult", 1200)], vec![seniors]).unwrap();
        assert_eq!(list.prices_at(at("2026-12-01 15:00")).len(), 1);
        assert_eq!(
            list.prices_at(at("2026-12-02 15:00")),
            [price("standard", "adult", 1200), price("standard", "senior", 500)]
        );
        let codes: Vec<_> = list.ticket_types().into_iter().map(TicketTypeCode::as_str).collect();
        assert_eq!(codes, ["adult", "senior"]);
    }

    #[test]
    fn prices_are_from_zero_to_the_maximum() {
        assert!(list_of(vec![price("a", "adult", 0), price("b", "adult", PRICE_MAX_MINOR)], Vec::new()).is_ok());
        assert_eq!(
            errors(vec![price("a", "adult", -1)], vec![always(vec![price("a", "child", PRICE_MAX_MINOR + 1)])]),
            [
                "the base prices: the price of a for adult is -1 minor units; it must be from 0 to 10000000",
                "rule 1: the price of a for child is 10000001 minor units; it must be from 0 to 10000000",
            ]
        );
    }

    #[test]
    fn every_mistake_of_a_list_is_reported() {
        let twice = vec![price("a", "adult", 1), price("a", "child", 1), price("a", "adult", 2)];
        let (from_date, to_date) = ("2026-12-02".parse().ok(), "2026-12-01".parse().ok());
        let never = PriceRule { weekdays: WeekdaySet::EMPTY, from_date, to_date, ..always(Vec::new()) };
        let no_hours = on(Weekday::Mon, "", "00:00:00");
        let repeated = always(vec![price("a", "adult", 1), price("a", "adult", 1), price("", "adult", 1)]);
        assert_eq!(
            errors(twice, vec![never, no_hours, repeated]),
            [
                "the base prices: a has two prices for adult; remove one",
                "rule 1 applies on no weekday; name at least one",
                "rule 1 ends on 2026-12-01, before it begins on 2026-12-02",
                "rule 2 begins and ends at 00:00:00; leave out both times for the whole day",
                "rule 3: a has two prices for adult; remove one",
                "a category of rule 3 must have at least 1 characters",
            ]
        );
        assert_eq!(list_of(Vec::new(), Vec::new()), Err(vec![PriceListError::NoPrices]));
    }

    #[test]
    fn rules_and_prices_are_limited() {
        let base = || vec![price("a", "adult", 1)];
        assert!(list_of(base(), vec![always(Vec::new()); 50]).is_ok());
        assert_eq!(
            list_of(base(), vec![always(Vec::new()); 51]),
            Err(vec![PriceListError::TooManyRules { asked: 51, max: 50 }])
        );
        let prices = |count: i64| (0..count).map(|number| price(&format!("c{number}"), "adult", 1)).collect();
        assert!(list_of(prices(500), Vec::new()).is_ok());
        assert_eq!(
            list_of(prices(501), Vec::new()),
            Err(vec![PriceListError::TooManyPrices { place: PricePlace::Base, asked: 501, max: 500 }])
        );
    }

    #[test]
    fn every_category_of_a_hall_needs_a_base_price_for_adults() {
        let base = vec![price("standard", "adult", 1), price("premium", "child", 1), price("box", "adult", 1)];
        // A price of a rule does not count: it does not always apply.
        let list = list_of(base, vec![always(vec![price("premium", "adult", 1)])]).unwrap();
        assert_eq!(list.check_covers(["standard", "box", "standard"]), Ok(()));
        let missing = list.check_covers(["standard", "premium", "love"]).unwrap_err();
        assert_eq!(missing.0, [("love".into(), TicketTypeCode::ADULT), ("premium".into(), TicketTypeCode::ADULT)]);
        assert_eq!(missing.to_string(), "the price list has no base price for love/adult, premium/adult; add them");
    }

    #[test]
    fn categories_that_no_hall_has_are_found() {
        let base = vec![price("standard", "adult", 1), price("standart", "child", 1)];
        let list = list_of(base, vec![always(vec![price("premuim", "adult", 1)])]).unwrap();
        assert_eq!(list.unknown_categories(["standard", "premium"]), ["premuim", "standart"]);
        assert!(list.unknown_categories(["standard", "standart", "premuim"]).is_empty());
    }
}
