//! Killing the process while it works.

use super::storm::{Outcome, Storm};
use super::support::{Kind, Site};

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
        std::thread::sleep(std::time::Duration::from_millis(milliseconds));
        drop(starting);
        let server = site.serve();
        for role in ["customer", "admin"] {
            let (email, password) = server.demo_account(role);
            assert_eq!(server.client.login(&email, &password).await.expect(200)["role"], role);
        }
        assert_eq!(server.client.shows(1).await.len(), 1);
    }
}
