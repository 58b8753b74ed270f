//! Many callers compete for few seats: a seat is sold once, and a request gets all of its seats or none.

use std::collections::HashMap;

use futures::future::join_all;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, User};

on_both_stores!(
    hundred_requests_for_one_seat_create_one_booking,
    overlapping_selections_are_all_or_nothing,
    selections_in_opposite_order_do_not_deadlock,
    every_seat_of_a_hall_is_sold_once,
);

/// Splits the responses to competing requests into bookings and refusals for lost seats.
fn divide(answers: Vec<Answer>) -> (Vec<Value>, Vec<Answer>) {
    let (won, lost): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    let lost = lost.into_iter().map(|answer| answer.problem(409, "seat_unavailable")).collect();
    (won.iter().map(Answer::booking).collect(), lost)
}

async fn hundred_requests_for_one_seat_create_one_booking(app: &TestApp) {
    let users = app.sign_up_many(10).await;
    let (show, seat) = (app.world.soon.0, app.world.main[7].id.0);
    let body = json!({ "show_id": show, "seat_id": seat });
    let keys: Vec<_> = (0..100).map(|number| format!("key-{number}")).collect();
    let answers = join_all(keys.iter().enumerate().map(|(at, key)| app.book(&users[at % 10], key, &body))).await;
    let (won, lost) = divide(answers);
    assert_eq!((won.len(), lost.len()), (1, 99));
    for answer in lost {
        assert_eq!(answer.json()["seat_ids"], json!([seat]));
    }
    assert_eq!(app.rows("bookings").await, 1);
    assert_eq!(app.seats_available(show).await, 59);
    let owner = users.iter().find(|user| won[0]["user_id"] == user.id).unwrap();
    assert_eq!(app.seat(show, seat, Some(owner)).await["mine"], true);
}

/// Returns each booked seat of the show with its owner.
async fn owners(app: &TestApp, show: i64, users: &[User]) -> HashMap<i64, i64> {
    let mut owners = HashMap::new();
    for user in users {
        for seat in app.seats(show, Some(user)).await.iter().filter(|seat| seat["mine"] == true) {
            let before = owners.insert(seat["id"].as_i64().unwrap(), user.id);
            assert_eq!(before, None, "a seat has one owner");
        }
    }
    owners
}

async fn overlapping_selections_are_all_or_nothing(app: &TestApp) {
    let users = app.sign_up_many(5).await;
    let shows = [(app.world.soon.0, &app.world.main), (app.world.later.0, &app.world.beta)];
    let mut expected: HashMap<(i64, i64), i64> = HashMap::new();
    for (show, hall) in shows {
        for (round, group) in hall.chunks(5).enumerate() {
            let ids: Vec<_> = group.iter().map(|seat| seat.id.0).collect();
            let selections: Vec<_> = (0..5).map(|at| [ids[at], ids[(at + 2) % 5], ids[(at + 4) % 5]]).collect();
            let key = format!("{show}-{round}");
            let requests = users
                .iter()
                .zip(&selections)
                .map(async |(user, seats)| app.book(user, &key, &json!({ "show_id": show, "seat_ids": seats })).await);
            let (won, lost) = divide(join_all(requests).await);
            // Any two of these selections share a seat.
            assert_eq!((won.len(), lost.len()), (1, 4), "round {round}");
            let user = won[0]["user_id"].as_i64().unwrap();
            let sold: Vec<_> = won[0]["seat_ids"].as_array().unwrap().iter().map(|id| id.as_i64().unwrap()).collect();
            for answer in lost {
                let taken = answer.json()["seat_ids"].as_array().unwrap().clone();
                assert!(!taken.is_empty() && taken.iter().all(|id| sold.contains(&id.as_i64().unwrap())), "{answer:?}");
            }
            expected.extend(sold.into_iter().map(|seat| ((show, seat), user)));
        }
    }
    let mut found = HashMap::new();
    for (show, _) in shows {
        found.extend(owners(app, show, &users).await.into_iter().map(|(seat, user)| ((show, seat), user)));
    }
    assert_eq!(found, expected);
    assert_eq!(app.rows("bookings").await, 24);
    assert_eq!(app.rows("seat_claims").await, 72);
}

async fn selections_in_opposite_order_do_not_deadlock(app: &TestApp) {
    let users = app.sign_up_many(2).await;
    let show = app.world.soon.0;
    for (round, group) in app.world.main.chunks(6).enumerate() {
        let forth: Vec<_> = group.iter().map(|seat| seat.id.0).collect();
        let back: Vec<_> = forth.iter().rev().copied().collect();
        let key = format!("key-{round}");
        let there = json!({ "show_id": show, "seat_ids": forth });
        let here = json!({ "show_id": show, "seat_ids": back });
        let (one, other) = futures::join!(app.book(&users[0], &key, &there), app.book(&users[1], &key, &here));
        let (won, lost) = divide(vec![one, other]);
        assert_eq!((won.len(), lost.len()), (1, 1));
    }
    assert_eq!(app.seats_available(show).await, 0);
}

/// Many callers want every seat of the small hall. Each seat is sold exactly once.
async fn every_seat_of_a_hall_is_sold_once(app: &TestApp) {
    let users = app.sign_up_many(6).await;
    for show in [app.world.beside.0, app.world.tomorrow.0] {
        let wanted: Vec<_> =
            users.iter().flat_map(|user| app.world.small.iter().map(move |seat| (user, seat.id.0))).collect();
        let requests = wanted.iter().map(async |(user, seat)| {
            app.book(user, &format!("{show}-{seat}"), &json!({ "show_id": show, "seat_id": seat })).await
        });
        let (won, lost) = divide(join_all(requests).await);
        assert_eq!((won.len(), lost.len()), (5, 25));
        assert_eq!(app.seats_available(show).await, 0);
        assert_eq!(owners(app, show, &users).await.len(), 5);
    }
}
