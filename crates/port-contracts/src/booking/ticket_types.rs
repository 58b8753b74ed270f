//! Cases of ticket types in holds and bookings.

use domain::booking::{Action, BookSeats, HoldSeats, Refusal, ShowBooking, SoldSeat, WantedSeats};
use domain::ids::{SeatId, ShowId};

use crate::Fixture;
use crate::tools::{MODES, SIMPLE, booked, command, held, refused, selection, sell, tickets};
use crate::world::{World, customer, hold, hold_id, sell_to};

fn book(show_id: ShowId, seats: &[(SeatId, &str)]) -> Action {
    Action::Book(BookSeats { show_id, seats: tickets(seats) })
}

fn hold_these(show_id: ShowId, seats: &[(SeatId, &str)]) -> Action {
    Action::Hold(HoldSeats { show_id, seats: WantedSeats::These(tickets(seats)) })
}

fn sold(seats: &[SoldSeat]) -> Vec<(SeatId, &str, i64)> {
    seats.iter().map(|seat| (seat.id, seat.ticket_type.as_str(), seat.price_minor)).collect()
}

/// Ticket types and their prices are stored with a hold, with the booking that redeems it, and with the booking after a change.
pub async fn ticket_types_are_stored_with_holds_and_bookings(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (show_id, stores) = (world.soon, fixture.stores());
    for category in ["standard", "premium"] {
        sell_to(fixture, show_id, category, "child", 800).await;
        sell_to(fixture, show_id, category, "student", 1000).await;
    }
    for (index, mode) in MODES.into_iter().enumerate() {
        let (ana, row) = (customer(fixture).await, world.row(index));
        sell(stores, mode, async |sellers| {
            let wanted = [(row[1], "child"), (row[0], "adult")];
            let (held_id, body, _) = held(&sellers.submit(command(ana, hold_these(show_id, &wanted), "")).await);
            let found = stores.holds.hold(ana.user_id, &held_id).await.unwrap().unwrap();
            let adult = if found.seats[1].category == "premium" { 1600 } else { 1250 };
            assert_eq!(sold(&found.seats), [(row[1], "child", 800), (row[0], "adult", adult)], "{mode:?}");
            assert_eq!(format!("{found:?}").as_bytes(), &body[..]);
            assert_eq!(stores.holds.holds(ana.user_id).await.unwrap(), [found]);
            let others = tickets(&[(row[0], "student"), (row[1], "child")]);
            let (booking_id, ..) = booked(&sellers.submit(command(ana, Action::RedeemAs(held_id, others), "k")).await);
            let booking = stores.bookings.booking(ana.user_id, booking_id).await.unwrap().unwrap();
            assert_eq!(sold(&booking.seats), [(row[1], "child", 800), (row[0], "student", 1000)], "{mode:?}");
            let place = ShowBooking { show_id, booking_id };
            let change = Action::Change(place, selection(&[row[5], row[1]]));
            booked(&sellers.submit(command(ana, change, "")).await);
            let booking = stores.bookings.booking(ana.user_id, booking_id).await.unwrap().unwrap();
            assert_eq!(sold(&booking.seats), [(row[5], "student", 1000), (row[1], "child", 800)], "{mode:?}");
            let (booking_id, ..) =
                booked(&sellers.submit(command(ana, book(show_id, &[(row[9], "child")]), "l")).await);
            let booking = stores.bookings.booking(ana.user_id, booking_id).await.unwrap().unwrap();
            assert_eq!(sold(&booking.seats), [(row[9], "child", 800)], "{mode:?}");
        })
        .await;
    }
}

/// A ticket type that the show does not sell for a seat is refused, and nothing is stored.
pub async fn a_ticket_type_without_a_price_is_refused(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    sell_to(fixture, world.soon, "standard", "child", 800).await;
    let (standard, premium) = (world.main[0].id, world.main[59].id);
    let refusal = sell(fixture.stores(), SIMPLE, async |sellers| {
        let wanted = [(standard, "child"), (premium, "child")];
        refused(&sellers.submit(command(ana, book(world.soon, &wanted), "k")).await)
    })
    .await;
    assert_eq!(refusal, Refusal::TicketTypeNotSold { seat_ids: vec![premium] });
    assert_eq!(fixture.count("SELECT count(*) FROM bookings").await, 0);
}

/// Rows that are written without ticket types, as the previous release does, are for adults.
pub async fn seats_of_the_previous_release_are_for_adults(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let seat = world.main[0].id;
    hold(fixture, world.soon, seat, ana, "old", 600).await;
    // Written by two statements, which PostgreSQL runs at two instants. A redemption requires that both expire at the same one.
    let expiry = "SELECT h.expires_at FROM holds h WHERE h.id = seat_claims.hold_id";
    fixture.execute(&format!("UPDATE seat_claims SET expires_at = ({expiry}) WHERE hold_id IS NOT NULL")).await;
    let prices = "INSERT INTO show_prices (show_id, category, price_minor) VALUES";
    fixture.execute(&format!("{prices} ({}, 'box', 2000)", world.soon)).await;
    let booking = sell(fixture.stores(), SIMPLE, async |sellers| {
        let (id, ..) = booked(&sellers.submit(command(ana, Action::Redeem(hold_id(world.soon, "old")), "k")).await);
        fixture.stores().bookings.booking(ana.user_id, id).await.unwrap().unwrap()
    })
    .await;
    assert_eq!(sold(&booking.seats), [(seat, "adult", 1250)]);
    let seating = fixture.stores().seating.seating(world.soon).await.unwrap().unwrap();
    assert!(seating.prices.iter().all(|price| price.ticket_type.is_adult()));
}
