//! Cases of reading bookings and holds.

use domain::StoreError;
use domain::booking::{Action, Booking, BookingCursor, BookingFilter, BookingStatus, ShowBooking, When};
use domain::identity::Caller;
use domain::ids::{BookingId, UserId};

use crate::Fixture;
use crate::tools::{SIMPLE, book, booked, command, paged, sell};
use crate::world::{World, customer, customers, hold};

async fn history(fixture: &dyn Fixture, caller: Caller, filter: BookingFilter) -> Vec<Booking> {
    let list = async |page: &_| fixture.stores().bookings.bookings(caller.user_id, &filter, page).await.unwrap();
    paged(list, |booking| BookingCursor { booked_at: booking.booked_at, id: booking.id }).await
}

async fn ids(fixture: &dyn Fixture, caller: Caller, filter: BookingFilter) -> Vec<BookingId> {
    history(fixture, caller, filter).await.iter().map(|booking| booking.id).collect()
}

/// Books `count` seats, each by itself, in Alpha's Main hall, or in Beta's if `beta` is set.
async fn bookings(fixture: &dyn Fixture, world: &World, caller: Caller, beta: bool, count: usize) -> Vec<BookingId> {
    let (show, seats) = if beta { (world.later, &world.beta) } else { (world.soon, &world.main) };
    sell(fixture.stores(), SIMPLE, async |sellers| {
        let mut made = Vec::new();
        for seat in &seats[..count] {
            made.push(booked(&sellers.submit(book(caller, show, &[seat.id], &format!("{show} {}", seat.id))).await).0);
        }
        made
    })
    .await
}

/// Bookings are ordered by their time, newest first; of two with the same time, the larger id is first.
pub async fn a_history_is_newest_first_and_paged(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    assert!(history(fixture, callers[0], BookingFilter::default()).await.is_empty());
    let mut made = bookings(fixture, &world, callers[0], false, 5).await;
    bookings(fixture, &world, callers[1], true, 2).await;
    made.sort_unstable();
    // The third is the newest, the second and the fourth have the same time, the fifth is the oldest.
    let ages = [50_i64, 30, 10, 30, 90];
    let times: Vec<_> = ages.iter().map(|age| fixture.instant(-age)).collect();
    for (id, time) in made.iter().zip(&times) {
        fixture.execute(&format!("UPDATE bookings SET booked_at = {time} WHERE id = {id}")).await;
    }
    let tied = format!(
        "UPDATE bookings SET booked_at = (SELECT b.booked_at FROM bookings b WHERE b.id = {}) WHERE id = {}",
        made[1], made[3]
    );
    fixture.execute(&tied).await;
    let expected = [made[2], made[3], made[1], made[0], made[4]];
    let listed = history(fixture, callers[0], BookingFilter::default()).await;
    assert_eq!(listed.iter().map(|booking| booking.id).collect::<Vec<_>>(), expected);
    for booking in listed {
        assert_eq!(fixture.stores().bookings.booking(callers[0].user_id, booking.id).await.unwrap(), Some(booking));
    }
}

/// Upcoming and past are judged by the store's clock. Both filters must match.
pub async fn a_history_is_filtered_by_time_and_status(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let mut upcoming = bookings(fixture, &world, ana, false, 3).await;
    let mut past = bookings(fixture, &world, ana, true, 3).await;
    let (start, end) = (fixture.instant(-7200), fixture.instant(-60));
    fixture
        .execute(&format!(
            "UPDATE shows SET start_time = {start}, end_time = {end}, hall_free_at = {end} WHERE id = {}",
            world.later
        ))
        .await;
    for (id, status) in [(upcoming[0], "cancelled"), (past[1], "cancelled"), (past[2], "refunded")] {
        let at = fixture.instant(-30);
        fixture.execute(&format!("UPDATE bookings SET status = '{status}', cancelled_at = {at} WHERE id = {id}")).await;
    }
    let filter = |when, status| BookingFilter { when, status };
    let (cancelled, confirmed) = (Some(BookingStatus::Cancelled), Some(BookingStatus::Confirmed));
    let list = async |when, status| {
        let mut listed = ids(fixture, ana, filter(when, status)).await;
        listed.sort_unstable();
        listed
    };
    assert_eq!(list(Some(When::Upcoming), cancelled).await, [upcoming[0]]);
    assert_eq!(list(Some(When::Past), cancelled).await, [past[1]]);
    assert_eq!(list(Some(When::Past), confirmed).await, [past[0]]);
    assert_eq!(list(None, Some(BookingStatus::Refunded)).await, [past[2]]);
    assert_eq!(list(None, Some(BookingStatus::PendingPayment)).await, []);
    let mut both = vec![upcoming[0], past[1]];
    both.sort_unstable();
    assert_eq!(list(None, cancelled).await, both);
    upcoming.sort_unstable();
    past.sort_unstable();
    assert_eq!(list(Some(When::Upcoming), None).await, upcoming);
    assert_eq!(list(Some(When::Past), None).await, past);
    for booking in history(fixture, ana, filter(None, None)).await {
        assert_eq!(booking.state.cancelled_at().is_some(), booking.status() != BookingStatus::Confirmed, "{booking:?}");
    }
}

/// A booking of another user is not found, like an unknown one.
pub async fn booking_is_visible_only_to_its_owner(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let made = bookings(fixture, &world, callers[0], false, 1).await;
    let find = async |user, id| fixture.stores().bookings.booking(user, id).await.unwrap();
    assert_eq!(find(callers[0].user_id, made[0]).await.map(|booking| booking.user_id), Some(callers[0].user_id));
    assert_eq!(find(callers[1].user_id, made[0]).await, None);
    assert!(history(fixture, callers[1], BookingFilter::default()).await.is_empty());
    for id in [BookingId(made[0].0 + 1_000_000), BookingId(-1), BookingId(0), BookingId(i64::MAX)] {
        assert_eq!(find(callers[0].user_id, id).await, None);
    }
    assert_eq!(find(UserId(987_654), made[0]).await, None);
}

/// A booking without seats is left out of lists, reading it by id fails, and no command on it succeeds.
pub async fn booking_with_an_invalid_row_is_not_listed(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let caller = customers(fixture, 1).await[0];
    let made = bookings(fixture, &world, caller, false, 3).await;
    fixture.execute(&format!("DELETE FROM booking_seats WHERE booking_id = {}", made[1])).await;
    let mut listed: Vec<_> =
        history(fixture, caller, BookingFilter::default()).await.into_iter().map(|booking| booking.id).collect();
    listed.sort_unstable();
    assert_eq!(listed, [made[0], made[2]]);
    let stores = fixture.stores();
    assert!(matches!(stores.bookings.booking(caller.user_id, made[1]).await, Err(StoreError::Internal(_))));
    assert!(stores.bookings.booking(caller.user_id, made[0]).await.unwrap().is_some());
    let cancel = command(caller, Action::Cancel(ShowBooking { show_id: world.soon, booking_id: made[1] }), "");
    let outcome = sell(stores, SIMPLE, async |sellers| sellers.submit(cancel).await).await;
    assert!(outcome.is_err(), "{outcome:?}");
}

/// A hold without seats is left out of lists, and reading it by id fails.
pub async fn hold_with_an_invalid_row_is_not_listed(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let caller = customers(fixture, 1).await[0];
    let seats = world.row(0);
    for (index, name) in ["first", "second"].into_iter().enumerate() {
        hold(fixture, world.soon, seats[index], caller, name, 600).await;
    }
    let live = async || fixture.stores().holds.holds(caller.user_id).await.unwrap();
    let before: Vec<_> = live().await.into_iter().map(|hold| hold.id).collect();
    assert_eq!(before.len(), 2);
    fixture.execute(&format!("DELETE FROM hold_seats WHERE hold_id = '{}'", before[0].as_str())).await;
    assert_eq!(live().await.into_iter().map(|hold| hold.id).collect::<Vec<_>>(), before[1..]);
    let alone = fixture.stores().holds.hold(caller.user_id, &before[0]).await;
    assert!(matches!(alone, Err(StoreError::Internal(_))), "{alone:?}");
}
