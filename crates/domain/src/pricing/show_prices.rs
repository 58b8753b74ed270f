//! The prices of one show.

use std::collections::HashMap;

use super::{TicketType, TicketTypeCode};
use crate::money::Currency;
use crate::seating::CategoryPrice;

/// The prices of a show in minor units, by category and ticket type.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ShowPrices(HashMap<String, Vec<(TicketTypeCode, i64)>>);

impl ShowPrices {
    /// Returns a price; `None` if the show does not sell this ticket type for this category.
    pub fn get(&self, category: &str, ticket_type: &TicketTypeCode) -> Option<i64> {
        let prices = self.0.get(category)?;
        prices.iter().find(|(known, _)| known == ticket_type).map(|(_, minor)| *minor)
    }

    /// Returns whether a category has a price for any ticket type.
    pub fn has_category(&self, category: &str) -> bool {
        self.0.contains_key(category)
    }

    /// Adds or replaces a price.
    pub fn set(&mut self, price: CategoryPrice) {
        // A show has a handful of ticket types.
        let prices = self.0.entry(price.category).or_default();
        match prices.iter_mut().find(|(known, _)| *known == price.ticket_type) {
            Some((_, minor)) => *minor = price.minor,
            None => prices.push((price.ticket_type, price.minor)),
        }
    }
}

impl FromIterator<CategoryPrice> for ShowPrices {
    fn from_iter<Prices: IntoIterator<Item = CategoryPrice>>(prices: Prices) -> Self {
        let mut all = Self::default();
        prices.into_iter().for_each(|price| all.set(price));
        all
    }
}

/// A price of a show, with its ticket type.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedPrice {
    pub category: String,
    pub ticket_type: TicketType,
    /// In minor units of the show's currency.
    pub minor: i64,
}

/// All prices of a show.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OfferedPrices {
    pub currency: Currency,
    pub prices: Vec<OfferedPrice>,
}

impl OfferedPrices {
    /// Orders the prices by category, then by the position of the ticket type, then by its code.
    pub fn sort(&mut self) {
        self.prices.sort_by(|a, b| {
            let key = |price: &OfferedPrice| (price.ticket_type.position, price.ticket_type.code.clone());
            a.category.cmp(&b.category).then_with(|| key(a).cmp(&key(b)))
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_belongs_to_a_category_and_a_ticket_type() {
        let child = TicketTypeCode::parse("child").unwrap();
        let mut prices: ShowPrices = [
            CategoryPrice::adult("standard", 1200),
            CategoryPrice { ticket_type: child.clone(), ..CategoryPrice::adult("standard", 800) },
            CategoryPrice::adult("premium", 1600),
        ]
        .into_iter()
        .collect();
        assert_eq!(prices.get("standard", &TicketTypeCode::ADULT), Some(1200));
        assert_eq!(prices.get("standard", &child), Some(800));
        assert_eq!(prices.get("premium", &child), None);
        assert_eq!(prices.get("box", &TicketTypeCode::ADULT), None);
        assert!(prices.has_category("premium") && !prices.has_category("box"));
        prices.set(CategoryPrice::adult("standard", 1300));
        assert_eq!(prices.get("standard", &TicketTypeCode::ADULT), Some(1300));
    }
}
