//! What is checked after the storm: owners, rows, keys and the seat map.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::ids::ShowId;
use domain::seating::{SeatAvailability, SeatClaim};
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::Value;

use super::*;
use crate::harness::{Call, TestApp};

impl Storm {
    /// Asserts that no seat had two owners at a time, by the answers that they got. Returns the number of seats with a new owner after an
    /// expired hold.
    pub(super) fn check_owners(&mut self, blocked: Vec<Owned>) -> u64 {
        let far = DateTime::<Utc>::MAX_UTC;
        let mut owned = blocked;
        for client in &mut self.clients {
            let (holds, bookings) = (client.holds.clone(), client.bookings.clone());
            for hold in holds {
                client.own(&hold.seats, hold.since, hold.expires_at, true);
            }
            for booking in bookings.iter().filter(|booking| booking.is_live && booking.is_sure) {
                client.own(&booking.seats, booking.since, far, false);
            }
            owned.append(&mut client.owned);
        }
        // An ownership that ended before its answer came proves nothing.
        owned.retain(|owned| owned.from < owned.until);
        owned.sort_by_key(|owned| (owned.seat, owned.from));
        let mut taken_over = 0;
        for (at, one) in owned.iter().enumerate() {
            let same_seat = owned[at + 1..].iter().take_while(|other| other.seat == one.seat);
            for other in same_seat.clone().filter(|other| other.client != one.client) {
                assert!(other.from >= one.until, "one seat, two owners: {one:?}, {other:?}");
            }
            let next = same_seat.clone().find(|other| other.from >= one.until);
            taken_over += u64::from(one.ran_out && next.is_some_and(|next| next.client != one.client));
        }
        taken_over
    }

    /// Asserts what must be true of the store at every moment.
    pub(super) async fn check_store(&self, app: &TestApp) {
        let (show, now) = (self.place.show, app.backend.instant(0));
        let broken = [
            (
                "seats in two live bookings",
                format!(
                    "SELECT count(*) FROM (SELECT 1 FROM bookings b JOIN booking_seats s ON s.booking_id = b.id \
                    WHERE b.{LIVE} GROUP BY b.show_id, s.seat_id HAVING count(*) > 1) AS twice"
                ),
            ),
            (
                "claims of bookings that are not live, or have other seats",
                format!(
                    "SELECT count(*) FROM seat_claims c WHERE c.status = 'booked' AND NOT EXISTS (SELECT 1 \
                    FROM bookings b JOIN booking_seats s ON s.booking_id = b.id WHERE b.id = c.booking_id AND b.{LIVE} \
                    AND b.show_id = c.show_id AND b.user_id = c.user_id AND s.seat_id = c.seat_id)"
                ),
            ),
            (
                "seats of live bookings without their claims",
                format!(
                    "SELECT count(*) FROM bookings b JOIN booking_seats s ON s.booking_id = b.id WHERE b.{LIVE} \
                    AND NOT EXISTS (SELECT 1 FROM seat_claims c WHERE c.show_id = b.show_id AND c.seat_id = s.seat_id \
                    AND c.status = 'booked' AND c.booking_id = b.id)"
                ),
            ),
            (
                "claims of no hold",
                "SELECT count(*) FROM seat_claims c WHERE c.status = 'held' AND NOT EXISTS (SELECT 1 FROM holds h \
                WHERE h.id = c.hold_id AND h.user_id = c.user_id AND h.show_id = c.show_id \
                AND h.expires_at = c.expires_at)"
                    .to_owned(),
            ),
            (
                "claims of nobody",
                format!(
                    "SELECT count(*) FROM seat_claims WHERE show_id = {show} AND user_id IS NULL AND status <> 'blocked'"
                ),
            ),
            (
                "blocked seats without a reason",
                format!(
                    "SELECT count(*) FROM seat_claims c WHERE c.show_id = {show} AND c.status = 'blocked' AND NOT EXISTS \
                    (SELECT 1 FROM seat_blocks b WHERE b.show_id = c.show_id AND b.seat_id = c.seat_id)"
                ),
            ),
            (
                "users who hold too many seats",
                format!(
                    "SELECT count(*) FROM (SELECT 1 FROM seat_claims WHERE status = 'held' AND expires_at > {now} \
                    GROUP BY show_id, user_id HAVING count(*) > {SEATS_MAX}) AS greedy"
                ),
            ),
        ];
        assert_none(app, &broken, self.seed).await;
    }

    /// Asserts what else must be true of the store.
    pub(super) async fn check_all_of_store(&self, app: &TestApp) {
        self.check_store(app).await;
        let broken = [
            (
                "bookings without seats, or with too many",
                format!(
                    "SELECT count(*) FROM bookings b WHERE (SELECT count(*) FROM booking_seats s \
                    WHERE s.booking_id = b.id) NOT BETWEEN 1 AND {SEATS_MAX}"
                ),
            ),
            (
                "bookings that no key has made, or several",
                "SELECT count(*) FROM bookings b WHERE (SELECT count(*) FROM idempotency_keys k \
                WHERE k.booking_id = b.id AND k.user_id = b.user_id AND k.scope = 'POST /api/bookings') <> 1"
                    .to_owned(),
            ),
            (
                "bookings that nobody is told of",
                "SELECT count(*) FROM bookings b WHERE NOT EXISTS (SELECT 1 FROM outbox o WHERE o.booking_id = b.id)"
                    .to_owned(),
            ),
        ];
        assert_none(app, &broken, self.seed).await;
    }

    /// Asserts that each key that has booked is in the store with the booking that it was answered with.
    pub(super) async fn check_keys(&self, app: &TestApp) {
        for client in &self.clients {
            let rows: Vec<_> = client.booked.iter().map(|(key, id)| format!("('{key}', {id})")).collect();
            if rows.is_empty() {
                continue;
            }
            let kept = format!(
                "SELECT count(*) FROM idempotency_keys WHERE user_id = {} AND scope = 'POST /api/bookings' \
                AND (key, booking_id) IN (VALUES {})",
                client.user.id,
                rows.join(", ")
            );
            assert_eq!(app.backend.count(&kept).await, i64::try_from(rows.len()).unwrap(), "{:?}", client.booked);
        }
    }

    /// Asserts that a server's seat map is what the tables say. Holds run out meanwhile, and another server's news take a second:
    /// so it is looked at until the tables stood still.
    pub(super) async fn check_map(&self, app: &TestApp, server: usize) {
        let authority = &self.place.authorities[server];
        let path = format!("/api/shows/{}/seats", self.place.show);
        let client = &self.clients[0];
        let mut last = None;
        for _ in 0..TRIES_MAX {
            let before = self.statuses(app).await;
            let map = Call::new(&client.http, authority, Method::GET, &path).send().await.ok(200).list();
            let status = |seat: &Value| {
                let name = seat["status"].as_str().unwrap().to_owned();
                (name != "available").then(|| (seat["id"].as_i64().unwrap(), name))
            };
            let map: BTreeMap<_, _> = map.iter().filter_map(status).collect();
            let after = self.statuses(app).await;
            if before == map && map == after {
                let booked = map.values().filter(|status| *status == "booked").count();
                let sql = format!(
                    "SELECT count(*) FROM seat_claims WHERE show_id = {} AND status = 'booked'",
                    self.place.show
                );
                assert_eq!(app.backend.count(&sql).await, i64::try_from(booked).unwrap());
                return;
            }
            last = Some((map, after));
            tokio::time::sleep(3 * PAUSE).await;
        }
        panic!("the map of {authority} is not what the tables say: {last:?}");
    }

    /// What seats are not free, and why, by the tables.
    pub(super) async fn statuses(&self, app: &TestApp) -> BTreeMap<i64, String> {
        let seating = app.backend.stores().seating.seating(ShowId(self.place.show)).await.unwrap().unwrap();
        let status = |claim: &SeatClaim| (claim.seat_id.0, SeatAvailability::from(claim.status).as_str().to_owned());
        seating.claims.iter().map(status).collect()
    }
}
