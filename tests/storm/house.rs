//! The house: a member of staff blocks seats and releases them during the storm, and cancels the show after it.

use chrono::Utc;
use reqwest::Method;
use serde_json::{Value, json};

use super::*;
use crate::harness::{Answer, Call, TestApp};

/// A member of staff of the show's theatre.
pub(super) struct House {
    place: Arc<Place>,
    user: User,
    http: reqwest::Client,
    dice: Dice,
    keys: usize,
}

impl House {
    pub(super) async fn new(app: &TestApp, place: &Arc<Place>, seed: u64) -> Self {
        let show = app.get(&format!("/api/shows/{}", place.show)).send().await.ok(200).json();
        let user = app.sign_up_staff(&[show["theatre_id"].as_i64().unwrap()]).await;
        let http = http_client().timeout(SILENCE).build().unwrap();
        Self { place: place.clone(), user, http, dice: Dice(seed), keys: 0 }
    }

    /// Blocks seats and releases them until the storm is over. Returns the times in which seats were surely blocked.
    pub(super) async fn run(mut self) -> (Self, Vec<Owned>) {
        let mut owned = Vec::new();
        while !self.place.is_over() {
            let free = self.free_seats().await;
            let count = 1 + self.dice.below(2);
            let chosen = self.dice.draw(&free, count);
            if chosen.is_empty() {
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            let body = json!({ "seat_ids": chosen, "reason": "For the director" });
            let blocked = self.send(Method::POST, "blocks", &body).await;
            let from = Utc::now();
            if blocked.status == 200 {
                let all = ids(&blocked.json()["seat_ids"]);
                assert_eq!(all, sorted(chosen.clone()), "{blocked:?}");
                tokio::time::sleep(Duration::from_millis(self.dice.next() % 60)).await;
                let until = Utc::now();
                let released = self.send(Method::DELETE, "blocks", &body).await.ok(200);
                assert_eq!(released.json()["seat_ids"], json!([]), "{released:?}");
                let seat = |seat: i64| Owned { client: CLIENTS, seat, from, until, ran_out: false };
                owned.extend(chosen.into_iter().map(seat));
            } else {
                let problem = blocked.problem(409, "seat_unavailable").json();
                assert!(ids(&problem["seat_ids"]).iter().all(|seat| chosen.contains(seat)), "{problem}");
            }
            tokio::time::sleep(Duration::from_millis(self.dice.next() % 100)).await;
        }
        assert!(!owned.is_empty(), "no seat was ever blocked");
        (self, owned)
    }

    /// Returns the seats that were free a moment ago.
    async fn free_seats(&self) -> Vec<i64> {
        let path = format!("/api/shows/{}/seats", self.place.show);
        let call = Call::new(&self.http, &self.place.authorities[0], Method::GET, &path);
        let Ok(answer) = call.try_send().await else { return Vec::new() };
        if answer.status != 200 {
            return Vec::new();
        }
        let map = answer.list();
        let free = map.iter().filter(|seat| seat["status"] == "available");
        free.map(|seat| seat["id"].as_i64().unwrap()).collect()
    }

    /// Sends a request until its outcome is known.
    async fn send(&mut self, method: Method, path: &str, body: &Value) -> Answer {
        self.keys += 1;
        let (path, key) = (format!("/api/admin/shows/{}/{path}", self.place.show), format!("house-{}", self.keys));
        for _ in 0..TRIES_MAX {
            let server = self.dice.below(self.place.authorities.len());
            let call = Call::new(&self.http, &self.place.authorities[server], method.clone(), &path);
            let answer = call.by(&self.user).key(&key).json(body).try_send().await;
            match answer {
                Ok(answer) if answer.status != 503 && code(&answer) != "request_in_flight" => return answer,
                _ => tokio::time::sleep(PAUSE).await,
            }
        }
        panic!("the outcome is still unknown: {method} {path} {body}");
    }

    /// Cancels the show. All its bookings are cancelled, each with one event, and its seats are free.
    pub(super) async fn cancel(mut self, app: &TestApp) {
        let reason = json!({ "reason": "The storm is over" });
        let cancelled = self.send(Method::POST, "cancel", &reason).await.ok(200).json();
        assert_eq!(cancelled["status"], "cancelled");
        let live = format!("SELECT count(*) FROM bookings WHERE show_id = {} AND {LIVE}", self.place.show);
        for _ in 0..TRIES_MAX {
            if app.backend.count(&live).await == 0 {
                break;
            }
            tokio::time::sleep(10 * PAUSE).await;
        }
        let none = [
            ("live bookings of a cancelled show", live),
            ("booked seats of a cancelled show", "SELECT count(*) FROM seat_claims WHERE status = 'booked'".to_owned()),
            (
                "cancellations without one event",
                "SELECT count(*) FROM bookings b WHERE b.status = 'cancelled' AND (SELECT count(*) FROM outbox o \
                WHERE o.booking_id = b.id AND o.kind = 'booking_cancelled') <> 1"
                    .to_owned(),
            ),
        ];
        assert_none(app, &none, 0).await;
        let seat = *self.place.seats.keys().next().unwrap();
        let late = json!({ "show_id": self.place.show, "seat_id": seat });
        app.book(&app.sign_up().await, "late", &late).await.problem(409, "sales_closed");
    }
}
