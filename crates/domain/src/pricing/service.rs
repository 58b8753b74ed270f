//! The use cases of prices.

use std::sync::Arc;

use thiserror::Error;

use super::{OfferedPrices, PriceStore};
use crate::error::StoreError;
use crate::ids::ShowId;

/// The reason why the prices of a show cannot be read.
#[derive(Debug, Clone, Error)]
pub enum ShowPricesError {
    #[error("there is no such show")]
    ShowNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Reads prices.
pub struct PricingService {
    pub store: Arc<dyn PriceStore>,
}

impl PricingService {
    /// Returns the prices of a show, ordered by category, then by the position of the ticket type.
    pub async fn show_prices(&self, show_id: ShowId) -> Result<OfferedPrices, ShowPricesError> {
        let mut offered = self.store.show_prices(show_id).await?.ok_or(ShowPricesError::ShowNotFound)?;
        offered.sort();
        Ok(offered)
    }
}

#[cfg(test)]
mod tests {
    use futures::executor::block_on;

    use super::*;
    use crate::money::Currency;
    use crate::pricing::{MockPriceStore, OfferedPrice, TicketType, TicketTypeCode, TicketTypeNames};

    fn price(category: &str, code: &str, position: i32) -> OfferedPrice {
        let ticket_type = TicketType {
            id: None,
            code: TicketTypeCode::parse(code).unwrap(),
            names: TicketTypeNames::parse([("en".to_owned(), code.to_owned())]).unwrap(),
            needs_proof: false,
            position,
        };
        OfferedPrice { category: category.into(), ticket_type, minor: 1 }
    }

    #[test]
    fn prices_are_ordered_by_category_then_by_the_position_of_the_ticket_type() {
        let mut store = MockPriceStore::new();
        store.expect_show_prices().returning(|_| {
            let prices = vec![
                price("standard", "child", 2),
                price("standard", "adult", 0),
                price("box", "senior", 1),
                price("standard", "baby", 2),
                price("box", "adult", 0),
            ];
            Ok(Some(OfferedPrices { currency: Currency::parse("EUR").unwrap(), prices }))
        });
        let pricing = PricingService { store: Arc::new(store) };
        let found = block_on(pricing.show_prices(ShowId(1))).unwrap();
        let order: Vec<_> =
            found.prices.iter().map(|price| (price.category.as_str(), price.ticket_type.code.as_str())).collect();
        let expected =
            [("box", "adult"), ("box", "senior"), ("standard", "adult"), ("standard", "baby"), ("standard", "child")];
        assert_eq!(order, expected);
    }

    #[test]
    fn an_unknown_show_has_no_prices() {
        let mut store = MockPriceStore::new();
        store.expect_show_prices().returning(|_| Ok(None));
        let pricing = PricingService { store: Arc::new(store) };
        assert!(matches!(block_on(pricing.show_prices(ShowId(1))), Err(ShowPricesError::ShowNotFound)));
    }
}
