//! Cases of prices.

use domain::ids::ShowId;
use domain::money::Currency;
use domain::pricing::TicketType;

use crate::Fixture;
use crate::world::{World, sell_to, ticket_type};

/// A show has each of its prices, with the ticket type as it is stored.
pub async fn show_prices_have_their_ticket_types(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    sell_to(fixture, world.soon, "standard", "child", 800).await;
    sell_to(fixture, world.tomorrow, "standard", "child", 700).await;
    let retired = fixture.instant(-60);
    fixture.execute(&format!("UPDATE ticket_types SET retired_at = {retired} WHERE code = 'child'")).await;
    let offered = fixture.stores().prices.show_prices(world.soon).await.unwrap().unwrap();
    assert_eq!(offered.currency, Currency::parse("EUR").unwrap());
    let mut prices: Vec<_> = offered
        .prices
        .iter()
        .map(|price| (price.category.as_str(), price.ticket_type.code.as_str(), price.minor))
        .collect();
    prices.sort_unstable();
    assert_eq!(prices, [("premium", "adult", 1600), ("standard", "adult", 1250), ("standard", "child", 800)]);
    for price in &offered.prices {
        let found = &price.ticket_type;
        assert!(found.id.is_some_and(|id| id.0 > 0));
        if found.code.is_adult() {
            assert_eq!((found.names.in_language([]), found.needs_proof, found.position), ("Adult", false, 0));
        } else {
            assert_eq!(TicketType { id: None, ..found.clone() }, ticket_type("child", 1));
        }
    }
}

/// A show without prices exists, and has none.
pub async fn a_show_without_prices_has_an_empty_list(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    fixture.execute(&format!("DELETE FROM show_prices WHERE show_id = {}", world.soon)).await;
    let offered = fixture.stores().prices.show_prices(world.soon).await.unwrap().unwrap();
    assert_eq!((offered.currency, offered.prices), (Currency::parse("EUR").unwrap(), Vec::new()));
}

/// An unknown show is not found.
pub async fn an_unknown_show_has_no_price_list(fixture: &dyn Fixture) {
    assert_eq!(fixture.stores().prices.show_prices(ShowId(987_654)).await.unwrap(), None);
}
