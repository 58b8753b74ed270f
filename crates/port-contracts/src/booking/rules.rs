//! Cases of sequential commands: the answers, and the rows they store.

use domain::booking::{AnswerEncoder as _, Fingerprint, Refusal, Scope, Subject, Success};
use domain::identity::{Bearer, Email};
use domain::ids::{SeatId, ShowId, UserId};

use crate::Fixture;
use crate::tools::{MODES, Outcome, SIMPLE, Tally, TestEncoder, book, booked, refused, sell, tally};
use crate::world::{
    ROW, World, block, cancel_show, customer, customers, hold, hold_id, in_session, on_command_line, password_hash,
};

async fn submit(fixture: &dyn Fixture, command: domain::booking::Command) -> Outcome {
    sell(fixture.stores(), SIMPLE, async |sellers| sellers.submit(command).await).await
}

/// A booking stores every row, and the bytes of its answer are those of the booking as read from the store, in every field.
pub async fn booking_is_stored_completely(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let ana = customer(fixture).await;
        let before = tally(fixture).await;
        // In no order, and from a standard and a premium row.
        let seats = [&world.main[50 + index], &world.main[20 + index], &world.main[index]];
        let command = book(ana, world.soon, &seats.map(|seat| seat.id), "a-key");
        let (id, body, replayed) =
            sell(fixture.stores(), mode, async |sellers| booked(&sellers.submit(command).await)).await;
        assert!(!replayed);
        let booking = fixture.stores().bookings.booking(ana.user_id, id).await.unwrap().unwrap();
        assert_eq!(String::from_utf8_lossy(&TestEncoder.encode_booked(&booking)), String::from_utf8_lossy(&body));
        let sold: Vec<_> =
            booking.seats.iter().map(|seat| (seat.id, seat.row.as_str(), seat.number, seat.price_minor)).collect();
        let prices = [1600, 1250, 1250];
        let asked: Vec<_> =
            seats.iter().zip(prices).map(|(seat, price)| (seat.id, seat.row.as_str(), seat.number, price)).collect();
        assert_eq!(sold, asked, "{mode:?}");
        assert_eq!(booking.total().to_string(), "41.00");
        let keys = format!(
            "SELECT count(*) FROM idempotency_keys WHERE user_id = {} AND scope = 'POST /api/bookings' AND key = 'a-key'
             AND booking_id = {id} AND length(answer) = {}",
            ana.user_id,
            body.len()
        );
        assert_eq!(fixture.count(&keys).await, 1);
        let outbox = format!(
            "SELECT count(*) FROM outbox WHERE kind = 'booking_confirmed' AND show_id = {} AND booking_id = {id}",
            world.soon
        );
        assert_eq!(fixture.count(&outbox).await, 1);
        let claims = format!(
            "SELECT count(*) FROM seat_claims WHERE status = 'booked' AND booking_id = {id} AND user_id = {} AND show_id = {}",
            ana.user_id, world.soon
        );
        assert_eq!(fixture.count(&claims).await, 3);
        let after = Tally {
            bookings: before.bookings + 1,
            booking_seats: before.booking_seats + 3,
            claims: before.claims + 3,
            keys: before.keys + 1,
            outbox: before.outbox + 1,
        };
        assert_eq!(tally(fixture).await, after, "{mode:?}");
    }
}

/// A replay returns the first answer, byte for byte, whatever has changed in the booking since.
pub async fn replay_returns_the_same_bytes(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let ana = customer(fixture).await;
        let command = book(ana, world.soon, &world.row(index)[..2], "k");
        let (id, body, _) =
            sell(fixture.stores(), mode, async |sellers| booked(&sellers.submit(command.clone()).await)).await;
        let sold = tally(fixture).await;
        fixture
            .execute(&format!("UPDATE bookings SET status = 'refunded', cancelled_at = booked_at WHERE id = {id}"))
            .await;
        // A new server, whose memory is empty.
        for _ in 0..2 {
            let again =
                sell(fixture.stores(), mode, async |sellers| booked(&sellers.submit(command.clone()).await)).await;
            assert_eq!(again, (id, body.clone(), true), "{mode:?}");
        }
        assert_eq!(tally(fixture).await, sold);
    }
}

/// A key stays bound to its first request, even if the other request would be refused anyway.
pub async fn a_key_with_another_request_is_refused(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let row = world.row(0);
    let first = book(ana, world.soon, &row[..1], "k");
    booked(&submit(fixture, first.clone()).await);
    let sold = tally(fixture).await;
    for (show, seats) in
        [(world.soon, &row[1..2]), (world.soon, &row[..1]), (world.later, &row[..1]), (ShowId(987_654), &row[..1])]
    {
        let other = domain::booking::Command { fingerprint: Fingerprint([9; 32]), ..book(ana, show, seats, "k") };
        assert_eq!(refused(&submit(fixture, other).await), Refusal::KeyReused);
    }
    assert_eq!(tally(fixture).await, sold);
    assert!(booked(&submit(fixture, first).await).2);
}

/// The same text of another user, for another path, or in another case is another key.
pub async fn a_key_belongs_to_its_user_and_scope(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let mut elsewhere = book(callers[0], world.soon, &row[2..3], "k");
    elsewhere.key.as_mut().unwrap().scope = Scope("POST /api/holds".into());
    let commands = [
        book(callers[0], world.soon, &row[..1], "k"),
        book(callers[1], world.soon, &row[1..2], "k"),
        elsewhere,
        book(callers[0], world.soon, &row[3..4], "K"),
        book(callers[0], world.soon, &row[4..5], "k'\"\\%"),
        // A key whose own characters look like a quoted string.
        book(callers[0], world.soon, &row[5..6], r#""\"k\"""#),
    ];
    for command in commands {
        assert!(!booked(&submit(fixture, command.clone()).await).2);
        assert!(booked(&submit(fixture, command).await).2);
    }
    assert_eq!(tally(fixture).await.bookings, 6);
}

/// A refusal stores nothing, so the same key may book something else.
pub async fn a_refusal_leaves_its_key_free(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    booked(&submit(fixture, book(callers[0], world.soon, &row[1..3], "k")).await);
    let sold = tally(fixture).await;
    let lost = refused(&submit(fixture, book(callers[1], world.soon, &[row[3], row[2], row[0], row[1]], "k")).await);
    assert_eq!(lost, Refusal::SeatUnavailable { seat_ids: vec![row[2], row[1]], hold_id: None });
    assert_eq!(tally(fixture).await, sold);
    assert!(!booked(&submit(fixture, book(callers[1], world.soon, &[row[3], row[0]], "k")).await).2);
}

/// A cancelled show is refused with `SalesClosed`.
pub async fn a_cancelled_show_takes_no_booking(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    cancel_show(fixture, world.soon).await;
    assert_eq!(refused(&submit(fixture, book(ana, world.soon, &world.row(0)[..1], "k")).await), Refusal::SalesClosed);
    assert_eq!(tally(fixture).await.bookings, 0);
}

/// Whether a show has started is judged by the store's clock.
pub async fn a_started_show_takes_no_booking(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    for (show, seat) in [(world.started, world.main[0].id), (world.yesterday, world.beta[0].id)] {
        assert_eq!(refused(&submit(fixture, book(ana, show, &[seat], "k")).await), Refusal::SalesClosed);
    }
    let start =
        |seconds| format!("UPDATE shows SET start_time = {} WHERE id = {}", fixture.instant(seconds), world.later);
    fixture.execute(&start(-1)).await;
    assert_eq!(refused(&submit(fixture, book(ana, world.later, &[world.beta[0].id], "k")).await), Refusal::SalesClosed);
    fixture.execute(&start(30)).await;
    booked(&submit(fixture, book(ana, world.later, &[world.beta[0].id], "k")).await);
}

/// Seats of other halls, unknown seats and unknown shows are not found.
pub async fn seats_of_another_hall_are_not_found(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let (own, others, nobodys) = (world.main[0].id, world.beta[0].id, SeatId(987_654));
    let outcome = submit(fixture, book(ana, world.soon, &[nobodys, own, others], "k")).await;
    assert_eq!(refused(&outcome), Refusal::SeatNotFound { seat_ids: vec![nobodys, others] });
    // Another show at the same time, in the theatre's other hall.
    let outcome = submit(fixture, book(ana, world.beside, &[own], "k")).await;
    assert_eq!(refused(&outcome), Refusal::SeatNotFound { seat_ids: vec![own] });
    for show in [ShowId(987_654), ShowId(0), ShowId(-1), ShowId(i64::MAX)] {
        assert_eq!(refused(&submit(fixture, book(ana, show, &[own], "k")).await), Refusal::ShowNotFound);
    }
    assert_eq!(tally(fixture).await.bookings, 0);
}

/// Any caller can take over the seats of an expired hold, together with free seats, in all modes.
pub async fn an_expired_hold_is_taken_over(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    for (index, mode) in MODES.into_iter().enumerate() {
        let callers = customers(fixture, 2).await;
        let row = world.row(index);
        hold(fixture, world.soon, row[1], callers[0], &format!("hold {index}"), -1).await;
        hold(fixture, world.soon, row[2], callers[1], &format!("own hold {index}"), -1).await;
        let command = book(callers[1], world.soon, &row[..3], "k");
        let (id, ..) = sell(fixture.stores(), mode, async |sellers| booked(&sellers.submit(command).await)).await;
        let claims = format!(
            "SELECT count(*) FROM seat_claims WHERE booking_id = {id} AND status = 'booked' AND hold_id IS NULL
             AND expires_at IS NULL AND user_id = {}",
            callers[1].user_id
        );
        assert_eq!(fixture.count(&claims).await, 3, "{mode:?}");
    }
}

/// Seats of a live hold cannot be booked, even by the holder, and neither can blocked seats.
pub async fn held_and_blocked_seats_cannot_be_booked(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    hold(fixture, world.soon, row[0], callers[0], "hold", 60).await;
    block(fixture, world.soon, row[1]).await;
    let own = hold_id(world.soon, "hold");
    for (caller, own) in callers.into_iter().zip([Some(own), None]) {
        let outcome = submit(fixture, book(caller, world.soon, &row[..3], "k")).await;
        assert_eq!(refused(&outcome), Refusal::SeatUnavailable { seat_ids: row[..2].to_vec(), hold_id: own });
    }
    assert_eq!(fixture.count("SELECT count(*) FROM seat_claims WHERE status IN ('held', 'blocked')").await, 2);
    assert_eq!(tally(fixture).await.bookings, 0);
    // The same seat in another show is independent.
    let ana = customer(fixture).await;
    fixture.execute(&format!("DELETE FROM seat_claims WHERE show_id = {}", world.soon)).await;
    hold(fixture, world.started, row[0], ana, "elsewhere", 60).await;
    booked(&submit(fixture, book(ana, world.soon, &row[..1], "k")).await);
}

/// Neither an ended session nor a deleted account books anything or gets a replay.
pub async fn an_ended_session_books_nothing(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let first = book(callers[0], world.soon, &row[..1], "k");
    booked(&submit(fixture, first.clone()).await);
    let sold = tally(fixture).await;
    let user = fixture.stores().users.by_id(callers[0].user_id).await.unwrap().unwrap();
    let email = Email::parse(&user.email).unwrap();
    let fresh = fixture
        .stores()
        .users
        .reset_password(&email, &password_hash("second"), &on_command_line())
        .await
        .unwrap()
        .unwrap();
    let mut nobody = callers[1];
    nobody.user_id = UserId(987_654);
    for command in
        [first.clone(), book(callers[0], world.soon, &row[1..2], "l"), book(nobody, world.soon, &row[1..2], "k")]
    {
        assert_eq!(refused(&submit(fixture, command).await), Refusal::SessionEnded);
    }
    assert_eq!(tally(fixture).await, sold);
    assert!(
        booked(
            &submit(
                fixture,
                domain::booking::Command { bearer: Bearer { caller: fresh.caller(), session_id: None }, ..first }
            )
            .await
        )
        .2
    );
    booked(&submit(fixture, book(callers[1], world.soon, &row[1..2], "k")).await);
}

/// A session that is ended individually books nothing, and the account's other sessions continue. Another user's session is invalid.
pub async fn individually_ended_session_books_nothing(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let callers = customers(fixture, 2).await;
    let row = world.row(0);
    let (first, second) = (in_session(fixture, callers[0], 1).await, in_session(fixture, callers[0], 2).await);
    let by = |bearer, seat: usize, key: &str| {
        let command = book(callers[0], world.soon, &row[seat..seat + 1], key);
        submit(fixture, domain::booking::Command { bearer, ..command })
    };
    booked(&by(first, 0, "k").await);
    assert!(fixture.stores().sessions.end_one(callers[0].user_id, first.session_id.unwrap()).await.unwrap());
    // A replay is refused as well.
    for (seat, key) in [(0, "k"), (1, "l")] {
        assert_eq!(refused(&by(first, seat, key).await), Refusal::SessionEnded);
    }
    let strange = Bearer { session_id: in_session(fixture, callers[1], 3).await.session_id, ..second };
    assert_eq!(refused(&by(strange, 1, "l").await), Refusal::SessionEnded);
    assert!(booked(&by(second, 0, "k").await).2);
    booked(&by(second, 1, "l").await);
    assert_eq!(tally(fixture).await.bookings, 2);
}

/// A key whose answer has been deleted still identifies its booking.
pub async fn key_without_its_answer_books_nothing_again(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let command = book(ana, world.soon, &world.row(0)[..ROW / 2], "k");
    let (booking_id, ..) = booked(&submit(fixture, command.clone()).await);
    let sold = tally(fixture).await;
    fixture.execute("UPDATE idempotency_keys SET answer = NULL").await;
    let outcome = submit(fixture, command).await.unwrap();
    assert_eq!(outcome, Success::AnswerDeleted(Subject::Booking(booking_id)));
    let other = book(ana, world.soon, &world.row(1)[..1], "k");
    assert_eq!(refused(&submit(fixture, other).await), Refusal::KeyReused);
    assert_eq!(tally(fixture).await, sold);
}
