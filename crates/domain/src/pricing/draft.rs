//! Price lists as staff write them, and as they are stored.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc, WeekdaySet};
use thiserror::Error;

use super::{PRICE_MAX_MINOR, PriceList, PriceListError, PricePlace, PriceRule, PriceRuleName, TicketTypeCode};
use crate::catalog::PlaceName;
use crate::ids::{PriceListId, TheatreId};
use crate::money::{AmountError, Currency, Money};
use crate::seating::CategoryPrice;

/// A price list as staff see it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ManagedPriceList {
    pub id: PriceListId,
    pub name: String,
    pub list: PriceList,
    /// When it was retired: no new show uses it. The currency of its theatre can differ from then on.
    pub retired_at: Option<DateTime<Utc>>,
    /// Increased by every change.
    pub version: i64,
}

/// What staff set of a price list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceListDetails {
    /// Unique in the theatre.
    pub name: PlaceName,
    pub list: PriceList,
}

/// Selects price lists. A list must satisfy every given condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PriceListFilter {
    /// Only lists of these theatres.
    pub theatres: Option<Vec<TheatreId>>,
    /// A substring of the name, folded.
    pub search: Option<String>,
}

/// The position of a price list in the list of price lists, which is ordered by name (by code point), then id.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceListCursor {
    pub name: String,
    pub id: PriceListId,
}

/// The prices of a list at a time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PricesAt {
    /// Local to the theatre.
    pub at: chrono::NaiveDateTime,
    pub currency: Currency,
    /// The index and the name of the rule that applies.
    pub rule: Option<(usize, Option<PriceRuleName>)>,
    /// Ordered by category, then ticket type.
    pub prices: Vec<CategoryPrice>,
}

/// A price as staff write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceDraft {
    pub category: String,
    pub ticket_type: TicketTypeCode,
    /// An amount in major units, for [`Money::parse`].
    pub price: String,
}

/// A rule as staff write it. All conditions must hold, as in [`PriceRule`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceRuleDraft {
    pub name: Option<PriceRuleName>,
    pub weekdays: WeekdaySet,
    pub from_date: Option<NaiveDate>,
    pub to_date: Option<NaiveDate>,
    pub from_time: Option<NaiveTime>,
    pub to_time: Option<NaiveTime>,
    pub prices: Vec<PriceDraft>,
}

/// A price list as staff write it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceListDraft {
    pub theatre_id: TheatreId,
    pub name: PlaceName,
    pub prices: Vec<PriceDraft>,
    pub rules: Vec<PriceRuleDraft>,
}

/// Changes of a price list. A `None` field stays unchanged.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct PriceListChange {
    pub name: Option<PlaceName>,
    pub prices: Option<Vec<PriceDraft>>,
    pub rules: Option<Vec<PriceRuleDraft>>,
}

/// What drafts are checked against.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PriceTerms {
    pub currency: Currency,
    /// All ticket types, and whether each is retired.
    pub ticket_types: BTreeMap<TicketTypeCode, bool>,
}

/// A mistake in a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceListMistake {
    /// The path of the field, like `rules[0].prices[3].price`.
    pub field: String,
    pub reason: PriceMistakeReason,
}

/// What is wrong with a field of a draft: a predicate.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PriceMistakeReason {
    #[error(transparent)]
    Amount(#[from] AmountError),
    #[error("must be at most {}", .0)]
    TooHigh(Money),
    #[error("is no ticket type; add it first")]
    UnknownTicketType,
    #[error("is a retired ticket type")]
    RetiredTicketType,
    #[error("repeats an earlier price of this category for this ticket type")]
    Repeated,
    #[error("must have at least one item")]
    Empty,
    #[error("must have at most {max} items")]
    TooMany {
        /// The maximum.
        max: usize,
    },
    #[error("must not be before from_date")]
    DatesReversed,
    #[error("must differ from from_time; leave out both for the whole day")]
    NoHours,
    /// Another rule of price lists.
    #[error("is invalid: {0}")]
    Other(PriceListError),
}

impl PriceListDraft {
    /// Returns the details of the list, or everything that is wrong with it.
    pub fn check(self, terms: &PriceTerms) -> Result<PriceListDetails, Vec<PriceListMistake>> {
        let mut check = Check { terms, mistakes: Vec::new() };
        let (base, rules) = (check.prices("prices", self.prices), check.rules(self.rules));
        let list = check.finish(self.theatre_id, base, rules)?;
        Ok(PriceListDetails { name: self.name, list })
    }
}

impl PriceListChange {
    /// Returns the details of the list after the change, or everything that is wrong with it. Prices that stay are not checked again: their
    /// ticket types may be retired by now.
    pub fn apply(
        self,
        before: &ManagedPriceList,
        terms: &PriceTerms,
    ) -> Result<PriceListDetails, Vec<PriceListMistake>> {
        let mut check = Check { terms, mistakes: Vec::new() };
        let base = self.prices.map_or_else(|| before.list.base(), |prices| check.prices("prices", prices));
        let rules = self.rules.map_or_else(|| before.list.rules().to_vec(), |rules| check.rules(rules));
        let list = check.finish(before.list.theatre_id(), base, rules)?;
        Ok(PriceListDetails { name: self.name.unwrap_or_else(|| PlaceName::from_stored(before.name.clone())), list })
    }
}

/// Returns the prices, or everything that is wrong with them. The fields are those of a member `prices`.
pub fn check_prices(drafts: Vec<PriceDraft>, terms: &PriceTerms) -> Result<Vec<CategoryPrice>, Vec<PriceListMistake>> {
    let mut check = Check { terms, mistakes: Vec::new() };
    let prices = check.prices("prices", drafts);
    // A list without a theatre: only its prices are checked.
    check.finish(TheatreId(0), prices, Vec::new()).map(|list| list.base())
}

/// A check of a draft, with the mistakes found so far.
struct Check<'terms> {
    terms: &'terms PriceTerms,
    mistakes: Vec<PriceListMistake>,
}

impl Check<'_> {
    fn mistake(&mut self, field: String, reason: PriceMistakeReason) {
        self.mistakes.push(PriceListMistake { field, reason });
    }

    /// Parses prices. An invalid amount counts as zero, and a repeated pair is left out, so that the check continues.
    fn prices(&mut self, at: &str, drafts: Vec<PriceDraft>) -> Vec<CategoryPrice> {
        if drafts.len() > PriceList::PRICES_MAX {
            // The prices are not checked one by one: the report would have no end.
            self.mistake(at.to_owned(), PriceMistakeReason::TooMany { max: PriceList::PRICES_MAX });
            return drafts.into_iter().take(1).map(|draft| price(draft, 0)).collect();
        }
        let (mut prices, mut seen) = (Vec::new(), BTreeSet::new());
        for (index, draft) in drafts.into_iter().enumerate() {
            let place = format!("{at}[{index}]");
            match self.terms.ticket_types.get(&draft.ticket_type) {
                None => self.mistake(format!("{place}.ticket_type"), PriceMistakeReason::UnknownTicketType),
                Some(true) => self.mistake(format!("{place}.ticket_type"), PriceMistakeReason::RetiredTicketType),
                Some(false) => {}
            }
            let minor = self.amount(&draft.price).unwrap_or_else(|reason| {
                self.mistake(format!("{place}.price"), reason);
                0
            });
            if seen.insert((draft.category.clone(), draft.ticket_type.clone())) {
                prices.push(price(draft, minor));
            } else {
                self.mistake(place, PriceMistakeReason::Repeated);
            }
        }
        prices
    }

    fn amount(&self, text: &str) -> Result<i64, PriceMistakeReason> {
        let max = PriceMistakeReason::TooHigh(Money::new(PRICE_MAX_MINOR, self.terms.currency));
        let amount = Money::parse(text, self.terms.currency)?;
        if amount.minor > PRICE_MAX_MINOR { Err(max) } else { Ok(amount.minor) }
    }

    fn rules(&mut self, drafts: Vec<PriceRuleDraft>) -> Vec<PriceRule> {
        if drafts.len() > PriceList::RULES_MAX {
            self.mistake("rules".to_owned(), PriceMistakeReason::TooMany { max: PriceList::RULES_MAX });
            return Vec::new();
        }
        let rule = |(index, draft): (usize, PriceRuleDraft)| {
            let PriceRuleDraft { name, weekdays, from_date, to_date, from_time, to_time, prices } = draft;
            let prices = self.prices(&format!("rules[{index}].prices"), prices);
            PriceRule { name, weekdays, from_date, to_date, from_time, to_time, prices }
        };
        drafts.into_iter().enumerate().map(rule).collect()
    }

    fn finish(
        mut self,
        theatre_id: TheatreId,
        base: Vec<CategoryPrice>,
        rules: Vec<PriceRule>,
    ) -> Result<PriceList, Vec<PriceListMistake>> {
        let list = PriceList::new(theatre_id, self.terms.currency, base, rules);
        if let Err(errors) = &list {
            self.mistakes.extend(errors.iter().map(mistake_of));
        }
        list.ok().filter(|_| self.mistakes.is_empty()).ok_or(self.mistakes)
    }
}

fn price(draft: PriceDraft, minor: i64) -> CategoryPrice {
    CategoryPrice { category: draft.category, ticket_type: draft.ticket_type, minor }
}

/// Returns the mistake of a draft that is an error of the list.
fn mistake_of(error: &PriceListError) -> PriceListMistake {
    let of_rule = |place: &PricePlace, member: &str| match place {
        PricePlace::Base => member.to_owned(),
        PricePlace::Rule(index) => format!("rules[{index}].{member}"),
    };
    let (field, reason) = match error {
        PriceListError::NoPrices => ("prices".to_owned(), PriceMistakeReason::Empty),
        PriceListError::TooManyRules { max, .. } => ("rules".to_owned(), PriceMistakeReason::TooMany { max: *max }),
        PriceListError::TooManyPrices { place, max, .. } => {
            (of_rule(place, "prices"), PriceMistakeReason::TooMany { max: *max })
        }
        PriceListError::NoWeekdays { place } => (of_rule(place, "weekdays"), PriceMistakeReason::Empty),
        PriceListError::DatesReversed { place, .. } => (of_rule(place, "to_date"), PriceMistakeReason::DatesReversed),
        PriceListError::NoHours { place, .. } => (of_rule(place, "to_time"), PriceMistakeReason::NoHours),
        PriceListError::Category { place, .. }
        | PriceListError::PriceOutOfRange { place, .. }
        | PriceListError::Repeated { place, .. } => {
            (of_rule(place, "prices"), PriceMistakeReason::Other(error.clone()))
        }
    };
    PriceListMistake { field, reason }
}

#[cfg(test)]
mod tests {
    use chrono::Weekday;

    use super::*;

    fn code(text: &str) -> TicketTypeCode {
        TicketTypeCode::parse(text).unwrap()
    }

    fn terms() -> PriceTerms {
        let ticket_types = [("adult", false), ("child", false), ("student", true)];
        let ticket_types = ticket_types.map(|(text, is_retired)| (code(text), is_retired)).into();
        PriceTerms { currency: Currency::parse("EUR").unwrap(), ticket_types }
    }

    fn draft(category: &str, ticket_type: &str, price: &str) -> PriceDraft {
        PriceDraft { category: category.into(), ticket_type: code(ticket_type), price: price.into() }
    }

    fn rule(prices: Vec<PriceDraft>) -> PriceRuleDraft {
        let (from_date, to_date, from_time, to_time) = (None, None, None, None);
        PriceRuleDraft { name: None, weekdays: WeekdaySet::ALL, from_date, to_date, from_time, to_time, prices }
    }

    fn list(prices: Vec<PriceDraft>, rules: Vec<PriceRuleDraft>) -> Result<PriceListDetails, Vec<PriceListMistake>> {
        let name = PlaceName::parse("Standard").unwrap();
        PriceListDraft { theatre_id: TheatreId(1), name, prices, rules }.check(&terms())
    }

    fn mistakes(prices: Vec<PriceDraft>, rules: Vec<PriceRuleDraft>) -> Vec<String> {
        let mistakes = list(prices, rules).unwrap_err().into_iter();
        mistakes.map(|mistake| format!("{} {}", mistake.field, mistake.reason)).collect()
    }

    #[test]
    fn amounts_are_in_the_currency_of_the_theatre() {
        let found =
            list(vec![draft("a", "adult", "12.5")], vec![rule(vec![draft("a", "child", "100000.00")])]).unwrap();
        assert_eq!(found.list.base(), [CategoryPrice::adult("a", 1250)]);
        assert_eq!(found.list.rules()[0].prices[0].minor, PRICE_MAX_MINOR);
    }

    #[test]
    fn every_mistake_of_a_draft_is_named() {
        let (from_date, to_date) = ("2026-12-02".parse().ok(), "2026-12-01".parse().ok());
        let never = PriceRuleDraft { weekdays: WeekdaySet::EMPTY, from_date, to_date, ..rule(Vec::new()) };
        let time = NaiveTime::from_hms_opt(17, 0, 0);
        let no_hours = PriceRuleDraft {
            weekdays: WeekdaySet::single(Weekday::Mon),
            from_time: time,
            to_time: time,
            ..rule(vec![draft("a", "student", "1e2")])
        };
        let prices = vec![
            draft("a", "adult", "-1"),
            draft("a", "adult", "1"),
            draft("a", "senior", "1.005"),
            draft("b", "adult", "100000.01"),
        ];
        assert_eq!(
            mistakes(prices, vec![never, no_hours]),
            [
                "prices[0].price must not be negative",
                "prices[1] repeats an earlier price of this category for this ticket type",
                "prices[2].ticket_type is no ticket type; add it first",
                "prices[2].price must have at most 2 decimals in EUR",
                "prices[3].price must be at most 100000.00",
                "rules[1].prices[0].ticket_type is a retired ticket type",
                "rules[1].prices[0].price must be an amount of EUR in digits, like 12.50",
                "rules[0].weekdays must have at least one item",
                "rules[0].to_date must not be before from_date",
                "rules[1].to_time must differ from from_time; leave out both for the whole day",
            ]
        );
    }

    #[test]
    fn numbers_of_rules_and_prices_are_limited() {
        let one = || vec![draft("a", "adult", "1")];
        assert_eq!(mistakes(Vec::new(), Vec::new()), ["prices must have at least one item"]);
        assert!(list(one(), vec![rule(Vec::new()); 50]).is_ok());
        assert_eq!(mistakes(one(), vec![rule(Vec::new()); 51]), ["rules must have at most 50 items"]);
        let many = |count: usize| (0..count).map(|number| draft(&format!("c{number}"), "adult", "1")).collect();
        assert!(list(many(500), Vec::new()).is_ok());
        assert_eq!(mistakes(many(501), Vec::new()), ["prices must have at most 500 items"]);
        assert_eq!(mistakes(one(), vec![rule(many(501))]), ["rules[0].prices must have at most 500 items"]);
    }

    #[test]
    fn prices_that_stay_keep_their_retired_ticket_types() {
        let details = list(vec![draft("a", "adult", "1")], vec![rule(vec![draft("a", "child", "1")])]).unwrap();
        let (id, name) = (PriceListId(1), "Standard".to_owned());
        let before = ManagedPriceList { id, name, list: details.list, retired_at: None, version: 1 };
        let mut later = terms();
        later.ticket_types.insert(code("child"), true);
        let change = PriceListChange { prices: Some(vec![draft("a", "adult", "2")]), ..PriceListChange::default() };
        let after = change.apply(&before, &later).unwrap();
        assert_eq!(
            (after.list.base(), after.list.rules()),
            (vec![CategoryPrice::adult("a", 200)], before.list.rules())
        );
        let change =
            PriceListChange { rules: Some(vec![rule(vec![draft("a", "child", "1")])]), ..PriceListChange::default() };
        assert_eq!(change.apply(&before, &later).unwrap_err().len(), 1);
    }
}
