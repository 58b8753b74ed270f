//! Ticket types of bookings, holds, redeemed holds and changed bookings.

use super::after_sale_tests::{House, best, made, seats};
use super::decide_tests::{OPEN, selection};
use super::*;
use crate::ids::{SeatId, ShowId};
use crate::pricing::{ShowPrices, TicketTypeCode};
use crate::seating::{CategoryPrice, TicketSelection};

fn code(text: &str) -> TicketTypeCode {
    TicketTypeCode::parse(text).unwrap()
}

fn tickets(tickets: &[(i64, &str)]) -> TicketSelection {
    TicketSelection::parse(tickets.iter().map(|(id, text)| (SeatId(*id), code(text))).collect(), 10).unwrap()
}

/// A house whose show sells standard seats to children for 8.00 and to students for 10.00. Seats from 91 are premium: adults only.
fn house() -> House {
    let mut house = House::new();
    for (ticket_type, minor) in [("child", 800), ("student", 1000)] {
        let price = CategoryPrice { ticket_type: code(ticket_type), ..CategoryPrice::adult("standard", minor) };
        house.show().prices.set(price);
    }
    house
}

fn book(tickets: TicketSelection) -> Action {
    Action::Book(BookSeats { show_id: ShowId(OPEN), seats: tickets })
}

fn hold(tickets: TicketSelection) -> Action {
    Action::Hold(HoldSeats { show_id: ShowId(OPEN), seats: WantedSeats::These(tickets) })
}

fn held(house: &mut House, wanted: &[(i64, &str)]) -> HoldId {
    made(house.ask(1, hold(tickets(wanted))).unwrap()).hold_id().unwrap().clone()
}

fn sold(seats: &[SoldSeat]) -> Vec<(i64, &str, i64)> {
    seats.iter().map(|seat| (seat.id.0, seat.ticket_type.as_str(), seat.price_minor)).collect()
}

/// Does it, and returns the seats of the booking.
fn booked(house: &mut House, action: Action) -> Vec<(i64, String, i64)> {
    let id = made(house.ask(1, action).unwrap()).booking_id().unwrap();
    let seats = sold(&house.state.bookings[&id].seats).into_iter();
    seats.map(|(id, ticket_type, minor)| (id, ticket_type.to_owned(), minor)).collect()
}

fn listed(seats: &[(i64, &str, i64)]) -> Vec<(i64, String, i64)> {
    seats.iter().map(|(id, ticket_type, minor)| (*id, (*ticket_type).to_owned(), *minor)).collect()
}

#[test]
fn each_seat_of_a_booking_has_the_price_of_its_ticket_type() {
    let mut house = house();
    let seats = booked(&mut house, book(tickets(&[(3, "child"), (1, "adult"), (95, "adult"), (2, "student")])));
    assert_eq!(seats, listed(&[(3, "child", 800), (1, "adult", 1250), (95, "adult", 1600), (2, "student", 1000)]));
}

#[test]
fn seats_without_ticket_types_are_for_adults() {
    let mut house = house();
    assert_eq!(booked(&mut house, book(selection(&[2, 1]).into())), listed(&[(2, "adult", 1250), (1, "adult", 1250)]));
    let hold_id = made(house.ask(1, best(2)).unwrap()).hold_id().unwrap().clone();
    assert!(house.state.holds[&hold_id].seats.iter().all(|seat| seat.ticket_type.is_adult()));
}

#[test]
fn ticket_types_without_a_price_for_the_seat_are_refused() {
    let mut house = house();
    let wanted = [(95, "child"), (1, "child"), (2, "dog"), (3, "adult")];
    let refusal = Refusal::TicketTypeNotSold { seat_ids: seats(&[95, 2]) };
    assert_eq!(house.ask(1, book(tickets(&wanted))), Err(refusal.clone()));
    assert_eq!(house.ask(1, hold(tickets(&wanted))), Err(refusal));
    // Unknown seats are reported first.
    let unknown = tickets(&[(2, "dog"), (101, "adult")]);
    assert_eq!(house.ask(1, book(unknown)), Err(Refusal::SeatNotFound { seat_ids: seats(&[101]) }));
    assert!(house.state.bookings.is_empty() && house.state.holds.is_empty());
}

#[test]
fn best_seats_have_a_price_for_adults() {
    let mut house = House::new();
    let child = CategoryPrice { ticket_type: code("child"), ..CategoryPrice::adult("standard", 800) };
    house.show().prices = [child, CategoryPrice::adult("premium", 1600)].into_iter().collect();
    let hold_id = made(house.ask(1, best(3)).unwrap()).hold_id().unwrap().clone();
    assert!(house.state.holds[&hold_id].seats.iter().all(|seat| seat.category == "premium"));
    assert_eq!(house.ask(1, hold(selection(&[1]).into())), Err(Refusal::TicketTypeNotSold { seat_ids: seats(&[1]) }));
}

#[test]
fn a_hold_freezes_ticket_types_and_prices() {
    let mut house = house();
    let hold_id = held(&mut house, &[(2, "child"), (1, "adult")]);
    let expected = [(2, "child", 800), (1, "adult", 1250)];
    assert_eq!(sold(&house.state.holds[&hold_id].seats), expected);
    house.show().prices = ShowPrices::default();
    assert_eq!(booked(&mut house, Action::Redeem(hold_id)), listed(&expected));
}

#[test]
fn a_hold_is_redeemed_with_other_ticket_types() {
    let mut house = house();
    let hold_id = held(&mut house, &[(2, "adult"), (1, "child"), (3, "adult")]);
    for price in [
        CategoryPrice::adult("standard", 1500),
        CategoryPrice { ticket_type: code("student"), ..CategoryPrice::adult("standard", 1100) },
    ] {
        house.show().prices.set(price);
    }
    // In the order of the hold. Seat 3 stays as it is held; the others have today's prices.
    let wanted = tickets(&[(1, "adult"), (3, "adult"), (2, "student")]);
    let seats = booked(&mut house, Action::RedeemAs(hold_id.clone(), wanted));
    assert_eq!(seats, listed(&[(2, "student", 1100), (1, "adult", 1500), (3, "adult", 1250)]));
    assert!(house.state.holds.is_empty());
    let again = house.ask(1, Action::RedeemAs(hold_id, tickets(&[(1, "adult")])));
    assert_eq!(again, Err(Refusal::HoldNotFound));
}

#[test]
fn a_hold_is_redeemed_only_with_its_own_seats() {
    let mut house = house();
    let hold_id = held(&mut house, &[(2, "adult"), (1, "child")]);
    for other in [&[(2, "adult")][..], &[(2, "adult"), (3, "child")], &[(1, "adult"), (2, "adult"), (3, "adult")]] {
        let refused = house.ask(1, Action::RedeemAs(hold_id.clone(), tickets(other)));
        assert_eq!(refused, Err(Refusal::NotTheHeldSeats { seat_ids: seats(&[2, 1]) }), "{other:?}");
    }
    let not_sold = house.ask(1, Action::RedeemAs(hold_id.clone(), tickets(&[(1, "dog"), (2, "dog")])));
    assert_eq!(not_sold, Err(Refusal::TicketTypeNotSold { seat_ids: seats(&[1, 2]) }));
    let foreign = house.ask(2, Action::RedeemAs(hold_id.clone(), tickets(&[(1, "child"), (2, "child")])));
    assert_eq!(foreign, Err(Refusal::HoldNotFound));
    // The hold is as it was.
    assert_eq!(sold(&house.state.holds[&hold_id].seats), [(2, "adult", 1250), (1, "child", 800)]);
}

#[test]
fn changed_seats_keep_the_ticket_types_in_their_order() {
    let mut house = house();
    let made = made(house.ask(1, book(tickets(&[(1, "adult"), (2, "child"), (3, "student")]))).unwrap());
    let booking = ShowBooking { show_id: ShowId(OPEN), booking_id: made.booking_id().unwrap() };
    let change = |house: &mut House, ids: &[i64]| house.ask(1, Action::Change(booking, selection(ids)));
    // Seat 2 stays, whatever its position; 11 replaces 1, and 12 replaces 3.
    change(&mut house, &[11, 12, 2]).unwrap();
    let seats_now = |house: &House| listed(&sold(&house.state.bookings[&booking.booking_id].seats));
    assert_eq!(seats_now(&house), listed(&[(11, "adult", 1250), (12, "student", 1000), (2, "child", 800)]));
    // A category that is not sold to students and children.
    let refused = change(&mut house, &[91, 92, 93]);
    assert_eq!(refused, Err(Refusal::TicketTypeNotSold { seat_ids: seats(&[92, 93]) }));
    // Today's price of the same ticket type decides whether the new seats cost more.
    let dearer = CategoryPrice { ticket_type: code("child"), ..CategoryPrice::adult("standard", 900) };
    house.show().prices.set(dearer);
    let refused = change(&mut house, &[11, 12, 13]).unwrap_err();
    assert!(matches!(refused, Refusal::PriceDiffers { .. }), "{refused:?}");
    // A seat that is kept needs no price.
    house.show().prices = [CategoryPrice::adult("standard", 1250)].into_iter().collect();
    change(&mut house, &[14, 12, 2]).unwrap();
    assert_eq!(seats_now(&house), listed(&[(14, "adult", 1250), (12, "student", 1000), (2, "child", 800)]));
}
