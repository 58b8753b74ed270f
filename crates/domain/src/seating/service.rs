//! The service of seat maps.

use std::collections::HashMap;
use std::sync::Arc;

use thiserror::Error;

use super::{CategoryPrice, Layout, LayoutStore, Seat, SeatAvailability, SeatingStore, ShowSeating, alternatives};
use crate::error::StoreError;
use crate::ids::{SeatId, ShowId, UserId};
use crate::money::{Currency, Money};

/// The reason why there is no seat map.
#[derive(Debug, Clone, Error)]
pub enum SeatMapError {
    #[error("there is no such show")]
    ShowNotFound,
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The seats of a show with their prices and availability.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SeatMap {
    layout: Arc<Layout>,
    seating: ShowSeating,
}

/// A seat of a show.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SeatOnMap<'map> {
    pub seat: &'map Seat,
    pub availability: SeatAvailability,
    pub price: Money,
    /// Whether the caller has the claim of the seat.
    pub mine: bool,
    /// The other half, if the seat is half a love seat.
    pub partner: Option<SeatId>,
}

impl SeatMap {
    /// Returns the seat map of a show's seating and layout. `None` if a seat's category has no price for adults, or the layout is not the
    /// show's.
    pub fn new(layout: Arc<Layout>, seating: ShowSeating) -> Option<Self> {
        let is_price =
            |price: &CategoryPrice, seat: &Seat| price.ticket_type.is_adult() && price.category == seat.category;
        let priced = |seat: &Seat| seating.prices.iter().any(|price| is_price(price, seat));
        (layout.id() == seating.layout_id && layout.seats().iter().all(priced)).then_some(Self { layout, seating })
    }

    /// Returns the currency of the prices.
    pub fn currency(&self) -> Currency {
        self.seating.currency
    }

    /// Returns up to three groups of neighbouring free seats, each with as many seats as `wanted`, the nearest to these first.
    pub fn alternatives(&self, wanted: &[SeatId], forbid_gaps: bool) -> Vec<Vec<SeatId>> {
        let taken = self.seating.claims.iter().map(|claim| claim.seat_id).collect();
        alternatives(&self.layout, &taken, wanted.len(), wanted, forbid_gaps)
    }

    /// Returns the seats as `caller` sees them, ordered by row, then number.
    pub fn seats_for(&self, caller: Option<UserId>) -> impl Iterator<Item = SeatOnMap<'_>> {
        let claims: HashMap<_, _> = self.seating.claims.iter().map(|claim| (claim.seat_id, claim)).collect();
        // The map shows prices for adults.
        let adult = self.seating.prices.iter().filter(|price| price.ticket_type.is_adult());
        let prices: HashMap<_, _> = adult.map(|price| (price.category.as_str(), price.minor)).collect();
        let currency = self.seating.currency;
        self.layout.seats().iter().map(move |seat| {
            let claim = claims.get(&seat.id);
            SeatOnMap {
                seat,
                availability: claim.map_or(SeatAvailability::Available, |claim| claim.status.into()),
                price: Money::new(prices.get(seat.category.as_str()).copied().unwrap_or_default(), currency),
                partner: self.layout.partner(seat.id),
                mine: caller.is_some() && claim.is_some_and(|claim| claim.user_id == caller),
            }
        })
    }
}

/// Reads seat maps.
pub struct SeatingService {
    pub seating: Arc<dyn SeatingStore>,
    pub layouts: Arc<dyn LayoutStore>,
}

impl SeatingService {
    /// Returns the present seat map of a show.
    pub async fn seat_map(&self, show_id: ShowId) -> Result<SeatMap, SeatMapError> {
        let seating = self.seating.seating(show_id).await?.ok_or(SeatMapError::ShowNotFound)?;
        let layout_id = seating.layout_id;
        let missing = || StoreError::internal(format!("layout {layout_id} of show {show_id} is missing or unpriced"));
        let layout = self.layouts.layout(layout_id).await?.ok_or_else(missing)?;
        Ok(SeatMap::new(layout, seating).ok_or_else(missing)?)
    }

    /// Returns alternatives to seats that are not available: up to three groups of as many neighbouring seats.
    pub async fn alternatives(
        &self,
        show_id: ShowId,
        wanted: &[SeatId],
        forbid_gaps: bool,
    ) -> Result<Vec<Vec<SeatId>>, SeatMapError> {
        Ok(self.seat_map(show_id).await?.alternatives(wanted, forbid_gaps))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::LayoutId;
    use crate::pricing::TicketTypeCode;
    use crate::seating::{CategoryPrice, ClaimStatus, RowName, SeatClaim};

    fn map(claims: Vec<SeatClaim>) -> SeatMap {
        let seat = |number: i32| Seat {
            id: SeatId(i64::from(number)),
            row: RowName::letters(0),
            number,
            category: "standard".into(),
            accessible: false,
            x: number,
            y: 1,
            section: String::new(),
            pair: None,
        };
        let layout = Arc::new(Layout::new(LayoutId(1), (1..=4).map(seat).collect()).unwrap());
        let seating = ShowSeating {
            show_id: ShowId(1),
            layout_id: LayoutId(1),
            currency: Currency::parse("EUR").unwrap(),
            prices: vec![CategoryPrice::adult("standard", 1250)],
            claims,
        };
        SeatMap::new(layout, seating).unwrap()
    }

    fn claim(seat: i64, status: ClaimStatus, user: Option<i64>) -> SeatClaim {
        SeatClaim { seat_id: SeatId(seat), status, user_id: user.map(UserId) }
    }

    #[test]
    fn callers_see_their_own_seats_as_theirs_and_the_houses_as_booked() {
        let map = map(vec![
            claim(1, ClaimStatus::Booked, Some(7)),
            claim(2, ClaimStatus::Held, Some(8)),
            claim(3, ClaimStatus::Blocked, None),
        ]);
        let seen = |caller: Option<i64>| -> Vec<_> {
            map.seats_for(caller.map(UserId)).map(|seat| (seat.availability.as_str(), seat.mine)).collect()
        };
        assert_eq!(seen(Some(7)), [("booked", true), ("held", false), ("booked", false), ("available", false)]);
        assert_eq!(seen(Some(8)), [("booked", false), ("held", true), ("booked", false), ("available", false)]);
        assert_eq!(seen(None), [("booked", false), ("held", false), ("booked", false), ("available", false)]);
    }

    #[test]
    fn a_seat_map_shows_prices_for_adults() {
        let mut map = map(Vec::new());
        let child = CategoryPrice {
            ticket_type: TicketTypeCode::parse("child").unwrap(),
            ..CategoryPrice::adult("standard", 800)
        };
        map.seating.prices.push(child);
        let map = SeatMap::new(map.layout.clone(), map.seating.clone()).unwrap();
        assert!(map.seats_for(None).all(|seat| seat.price.minor == 1250));
    }

    #[test]
    fn a_seat_without_a_price_for_adults_is_no_seat_map() {
        let mut map = map(Vec::new());
        map.seating.prices[0].ticket_type = TicketTypeCode::parse("child").unwrap();
        assert_eq!(SeatMap::new(map.layout.clone(), map.seating.clone()), None);
        map.seating.prices.clear();
        assert_eq!(SeatMap::new(map.layout.clone(), map.seating.clone()), None);
    }
}
