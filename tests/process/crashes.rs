//! Killing the process while it works.

use std::time::{Duration, Instant};

use serde_json::json;

use super::storm::{Outcome, Storm};
use super::support::{Client, Kind, Site};

async fn kill_in_a_storm_loses_no_acknowledged_booking(kind: Kind) {
    let site = Site::of(kind).await.with("RATE_LIMIT", "off");
    let server = site.serve();
    let storm = Storm::begin(&server.client).await;
    storm.until_booked(80).await;
    server.kill();
    let calm = storm.calm().await;
    let unanswered = calm.tries.iter().filter(|asked| matches!(asked.outcome, Outcome::Unanswered(_))).count();
    assert!(unanswered > 0, "nobody was waiting for an answer");
    let server = site.serve();
    calm.check(&server.client).await;
    assert_eq!(server.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_in_a_storm_loses_no_acknowledged_booking_embedded() {
    kill_in_a_storm_loses_no_acknowledged_booking(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_in_a_storm_loses_no_acknowledged_booking_postgres() {
    kill_in_a_storm_loses_no_acknowledged_booking(Kind::Postgres).await;
}

/// A first start that is killed at any point is completed by the next one.
#[tokio::test(flavor = "multi_thread")]
async fn killed_first_start_is_completed_by_the_next() {
    for milliseconds in [5, 20, 60, 120, 200, 300] {
        let site = Site::embedded();
        let starting = site.begin_to_serve(&[]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        drop(starting);
        let server = site.serve();
        for role in ["customer", "admin"] {
            let (email, password) = server.demo_account(role);
            assert_eq!(server.client.login(&email, &password).await.expect(200)["role"], role);
        }
        assert_eq!(server.client.shows(1).await.len(), 1);
    }
}

/// A server that is killed while it cancels the bookings of a show leaves each booking live or cancelled. The next server cancels the rest,
/// each booking once.
async fn killed_cancellation_of_a_show_is_completed(kind: Kind) {
    // Each booking is cancelled in a transaction of its own, so that the kill comes between them.
    let site = Site::of(kind).await.with("RATE_LIMIT", "off").with("COMMIT_BATCH_MAX", "1");
    let (email, password) = ("boss@example.org", "correct horse battery");
    site.run(&["admin", "create", "--email", email], password).succeeded();
    let server = site.serve();
    let client = server.client.clone();
    let customer = client.sign_up("ana@example.org").await;
    let show = client.shows(1).await[0];
    let places = client.free_seats(show).await;
    let (free, places) = places.split_last().unwrap();
    for (number, place) in places.iter().enumerate() {
        client.book(&customer, &format!("k{number}"), *place).await.expect(201);
    }
    let boss = client.login(email, password).await.expect(200)["token"].as_str().unwrap().to_owned();
    let cancel = client
        .request("POST", &format!("/api/admin/shows/{show}/cancel"))
        .bearer_auth(&boss)
        .json(&json!({ "reason": "The projector is broken" }));
    let cancelling = tokio::spawn({
        let client = client.clone();
        async move { client.try_send(cancel).await }
    });
    let cancelled = async |client: &Client| {
        let bookings = client.history(&customer).await;
        bookings.iter().filter(|booking| booking["status"] == "cancelled").count()
    };
    while cancelled(&client).await == 0 {}
    server.kill();
    drop(cancelling.await);

    let server = site.serve();
    let began = Instant::now();
    while cancelled(&server.client).await < places.len() {
        if began.elapsed() > Duration::from_secs(120) {
            panic!("some bookings were not cancelled: {}", server.stop().stderr);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let show_now = server.client.get(&format!("/api/shows/{show}")).await.expect(200);
    assert_eq!((&show_now["status"], &show_now["seats_available"]), (&json!("cancelled"), &show_now["seats_total"]));
    assert_eq!(site.count("outbox WHERE kind = 'booking_cancelled'").await, i64::try_from(places.len()).unwrap());
    server.client.book(&customer, "late", *free).await.expect(409);
    assert_eq!(server.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_cancellation_of_a_show_is_completed_embedded() {
    killed_cancellation_of_a_show_is_completed(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_cancellation_of_a_show_is_completed_postgres() {
    killed_cancellation_of_a_show_is_completed(Kind::Postgres).await;
}
