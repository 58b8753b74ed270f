//! Cases of layouts and seat claims.

use domain::ids::{LayoutId, SeatId, ShowId};
use domain::money::Currency;
use domain::pricing::TicketTypeCode;
use domain::seating::{CategoryPrice, ClaimStatus, PlannedLayout, SeatClaim, ShowSeating};
use domain::seed::SeedPlan;

use crate::Fixture;
use crate::tools::{SIMPLE, book, booked, sell};
use crate::world::{ROW, ROWS, World, block, customer, hold, layout_id, real_hall, sell_to, theatre};

async fn seating(fixture: &dyn Fixture, show: ShowId) -> ShowSeating {
    fixture.stores().seating.seating(show).await.unwrap().unwrap()
}

async fn claims(fixture: &dyn Fixture, show: ShowId) -> Vec<SeatClaim> {
    let mut claims = seating(fixture, show).await.claims;
    claims.sort_by_key(|claim| claim.seat_id);
    claims
}

/// A confirmed booking is visible as claims at once, together with the prices of the show.
pub async fn booking_is_visible_at_once(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let mut seats = world.row(2)[..2].to_vec();
    let empty = seating(fixture, world.soon).await;
    assert_eq!((empty.show_id, empty.layout_id), (world.soon, layout_id(fixture, world.soon).await));
    assert_eq!((empty.currency, empty.claims), (Currency::parse("EUR").unwrap(), vec![]));
    let mut prices = empty.prices;
    prices.sort_by_key(|price| price.minor);
    let price = |category: &str, minor| CategoryPrice::adult(category, minor);
    assert_eq!(prices, [price("standard", 1250), price("premium", 1600)]);
    sell_to(fixture, world.soon, "standard", "child", 800).await;
    let child = CategoryPrice { ticket_type: TicketTypeCode::parse("child").unwrap(), ..price("standard", 800) };
    let with_child = seating(fixture, world.soon).await.prices;
    assert_eq!((with_child.len(), with_child.contains(&child)), (3, true), "{with_child:?}");
    let seen = sell(fixture.stores(), SIMPLE, async |sellers| {
        booked(&sellers.submit(book(ana, world.soon, &seats, "k")).await);
        claims(fixture, world.soon).await
    })
    .await;
    seats.sort_unstable();
    let claim =
        |seat_id: &SeatId| SeatClaim { seat_id: *seat_id, status: ClaimStatus::Booked, user_id: Some(ana.user_id) };
    assert_eq!(seen, seats.iter().map(claim).collect::<Vec<_>>());
}

/// A live hold is a claim of its user. An expired hold is no claim, although its row still exists.
pub async fn expired_hold_claims_no_seats(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    hold(fixture, world.soon, world.main[0].id, ana, "live", 600).await;
    hold(fixture, world.soon, world.main[1].id, ana, "over", -1).await;
    let live = SeatClaim { seat_id: world.main[0].id, status: ClaimStatus::Held, user_id: Some(ana.user_id) };
    assert_eq!(claims(fixture, world.soon).await, [live]);
}

/// A seat blocked by the house is claimed without a user.
pub async fn blocked_seat_has_no_owner(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    block(fixture, world.soon, world.main[7].id).await;
    let blocked = SeatClaim { seat_id: world.main[7].id, status: ClaimStatus::Blocked, user_id: None };
    assert_eq!(claims(fixture, world.soon).await, [blocked]);
}

/// Two shows with the same layout have separate claims.
pub async fn claims_belong_to_one_show(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    block(fixture, world.started, world.main[0].id).await;
    assert_eq!(claims(fixture, world.started).await.len(), 1);
    assert_eq!(claims(fixture, world.soon).await, []);
    assert_eq!(layout_id(fixture, world.started).await, layout_id(fixture, world.soon).await);
}

/// A layout contains every seat with every field, in order: row `Z` before `AA`, number `9` before `10`.
pub async fn a_layout_has_its_seats_in_order(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let id = layout_id(fixture, world.soon).await;
    let layout = fixture.stores().layouts.layout(id).await.unwrap().unwrap();
    assert_eq!((layout.id(), layout.seats().len()), (id, ROWS.len() * ROW));
    let expected = ROWS.iter().zip(1..).flat_map(|(row, y)| (1..=10).map(move |number| (*row, number, y)));
    for (seat, (row, number, y)) in layout.seats().iter().zip(expected) {
        let x = if number > 5 { number + 1 } else { number };
        assert_eq!((seat.row.as_str(), seat.number, seat.x, seat.y), (row, number, x, y));
        assert_eq!(seat.category, if ["Z", "AA"].contains(&row) { "premium" } else { "standard" });
        assert_eq!(seat.accessible, (row, number) == ("A", 1));
    }
    let mut ids: Vec<_> = layout.seats().iter().chain(&world.small).chain(&world.beta).map(|seat| seat.id).collect();
    let seats = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((seats, ids.len()), (125, 125), "ids are unique over all layouts");
}

/// A layout of a plan is read as it was seeded: natural order of the rows, numbers from the right, sections with and without a focal point,
/// love seats. A hall without sections has only the main one, without a focal point.
pub async fn a_layout_has_its_rows_sections_and_love_seats(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let hall = real_hall();
    let planned = PlannedLayout { seats: hall.seats.clone(), sections: hall.sections.clone() };
    let theatres = vec![theatre("Gamma", chrono_tz::UTC, vec![hall])];
    fixture.stores().seeder.seed(&SeedPlan { theatres, ..SeedPlan::default() }).await.unwrap();
    let id = fixture.count("SELECT l.id FROM layouts l JOIN halls h ON h.id = l.hall_id WHERE h.name = 'Real'").await;
    let layout = fixture.stores().layouts.layout(LayoutId(id)).await.unwrap().unwrap();
    assert_eq!(PlannedLayout::from(&*layout), planned);
    let rows: Vec<_> = layout.rows().filter_map(|row| row.first()).map(|seat| seat.row.as_str()).collect();
    assert_eq!(rows, ["2", "10", "AA", "Loge 2", "Loge 10", "Ложа 1"]);
    assert_eq!(layout.seats().iter().filter(|seat| layout.partner(seat.id).is_some()).count(), 8);
    let former = fixture.stores().layouts.layout(layout_id(fixture, world.soon).await).await.unwrap().unwrap();
    assert_eq!(PlannedLayout::from(&*former).sections, []);
    assert!(former.seats().iter().all(|seat| seat.section.is_empty() && seat.pair.is_none()));
}

/// An unknown show has no seating, and an unknown layout is not found.
pub async fn unknown_show_and_layout_are_not_found(fixture: &dyn Fixture) {
    World::build(fixture).await;
    for id in [i64::MIN, -1, 0, 987_654, i64::MAX] {
        assert_eq!(fixture.stores().seating.seating(ShowId(id)).await.unwrap(), None);
        assert_eq!(fixture.stores().layouts.layout(LayoutId(id)).await.unwrap(), None);
    }
}
