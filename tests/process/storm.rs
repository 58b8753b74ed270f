//! Many concurrent bookings, and the properties that must hold afterwards, even if the server was killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::support::{Client, Place, Reply};

/// The number of users who book.
const USERS: usize = 3;
/// The number of concurrent requests of each user.
const REQUESTS_OF_USER: usize = 4;
/// The number of shows to book in.
const SHOWS: usize = 4;

/// The outcome of a request.
pub enum Outcome {
    /// The server responded.
    Answered(Reply),
    /// The server did not respond: the error of the client.
    Unanswered(reqwest::Error),
}

/// A request to book a seat.
pub struct Try {
    user: usize,
    key: String,
    place: Place,
    /// The time at which it was sent.
    pub sent: Instant,
    /// The time at which it ended.
    ended: Instant,
    pub outcome: Outcome,
}

/// Users who book random seats until the storm is stopped or the server ends.
pub struct Storm {
    tokens: Vec<String>,
    shows: Vec<i64>,
    tries: Arc<Mutex<Vec<Try>>>,
    booked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Storm {
    /// Starts a storm, with new users and shows that have no bookings.
    pub async fn begin(client: &Client) -> Self {
        Self::over(client, SHOWS).await
    }

    /// Starts a storm over `shows` shows: a long storm must not run out of seats.
    pub async fn over(client: &Client, shows: usize) -> Self {
        let shows = client.shows(shows).await;
        let mut places = Vec::new();
        for show in &shows {
            places.extend(client.free_seats(*show).await);
        }
        let mut tokens = Vec::new();
        for user in 0..USERS {
            tokens.push(client.sign_up(&format!("storm-{user}@example.org")).await);
        }
        let mut storm = Self {
            tokens,
            shows,
            tries: Arc::default(),
            booked: Arc::default(),
            over: Arc::default(),
            tasks: Vec::new(),
        };
        let places = Arc::new(places);
        for task in 0..USERS * REQUESTS_OF_USER {
            storm.tasks.push(storm.spawn(client.clone(), task, Arc::clone(&places)));
        }
        storm
    }

    fn spawn(&self, client: Client, task: usize, places: Arc<Vec<Place>>) -> JoinHandle<()> {
        let user = task % USERS;
        let token = self.tokens[user].clone();
        let (tries, booked, over) = (Arc::clone(&self.tries), Arc::clone(&self.booked), Arc::clone(&self.over));
        tokio::spawn(async move {
            let mut dice = task * 7_919 + 1;
            for number in 0.. {
                if over.load(Ordering::Relaxed) {
                    return;
                }
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let place = places[(dice >> 33) % places.len()];
                let key = format!("storm-{task}-{number}");
                let sent = Instant::now();
                let outcome = match client.try_send(client.booking(&token, &key, place)).await {
                    Ok(reply) => Outcome::Answered(reply),
                    Err(error) => Outcome::Unanswered(error),
                };
                let gone = matches!(outcome, Outcome::Unanswered(_));
                if matches!(&outcome, Outcome::Answered(reply) if reply.status == 201) {
                    booked.fetch_add(1, Ordering::Relaxed);
                }
                tries.lock().unwrap().push(Try { user, key, place, sent, ended: Instant::now(), outcome });
                if gone {
                    return;
                }
            }
        })
    }

    /// Waits until `count` bookings are acknowledged.
    pub async fn until_booked(&self, count: usize) {
        let began = Instant::now();
        while self.booked.load(Ordering::Relaxed) < count {
            assert!(began.elapsed() < Duration::from_secs(60), "the storm is too slow");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns the number of acknowledged bookings.
    pub fn booked(&self) -> usize {
        self.booked.load(Ordering::Relaxed)
    }

    /// Stops the storm, and waits until all requests have ended.
    pub async fn calm(mut self) -> Calm {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        let tries = std::mem::take(&mut *self.tries.lock().unwrap());
        Calm { tokens: self.tokens, shows: self.shows, tries }
    }
}

/// The requests of a storm that has ended.
pub struct Calm {
    tokens: Vec<String>,
    shows: Vec<i64>,
    /// Every request.
    pub tries: Vec<Try>,
}

impl Calm {
    /// Asserts, with a server on the same store, that acknowledged bookings are stored, that each key has created at most one booking,
    /// and that no seat is sold twice.
    pub async fn check(&self, client: &Client) {
        self.check_as_of(Instant::now(), client).await;
    }

    /// Asserts the same with a server on a copy of the store made after `copied`: bookings acknowledged after that may be missing.
    pub async fn check_as_of(&self, copied: Instant, client: &Client) {
        let before = self.histories(client).await;
        // The booking and the body of its answer, by key.
        let mut by_key = BTreeMap::new();
        for asked in &self.tries {
            let first = match &asked.outcome {
                Outcome::Answered(reply) if reply.status == 201 => (asked.ended < copied).then_some(reply),
                // A refusal books nothing and leaves the key free.
                Outcome::Answered(reply) => {
                    assert_eq!((reply.status, &reply.json()["code"]), (409, &Value::from("seat_unavailable")));
                    continue;
                }
                Outcome::Unanswered(_) => None,
            };
            if let Some(first) = first {
                let booking = &first.json()["booking"];
                assert_eq!(before.get(&id(booking)), Some(booking), "an acknowledged booking is lost");
            }
            let again = client.book(&self.tokens[asked.user], &asked.key, asked.place).await;
            match (first, again.status) {
                (Some(first), 201) => {
                    assert!(again.replayed());
                    assert_eq!(again.text, first.text);
                }
                (None, 201) => {
                    // The booking was written before the server ended, or is written now. From here on the answer stays the same.
                    let third = client.book(&self.tokens[asked.user], &asked.key, asked.place).await;
                    assert_eq!((third.status, third.replayed(), &third.text), (201, true, &again.text));
                    assert_eq!(again.replayed(), before.contains_key(&id(&again.json()["booking"])));
                }
                (None, 409) => continue,
                (first, _) => panic!("{:?} then {again:?}", first.map(|reply| &reply.text)),
            }
            by_key.insert(asked.key.clone(), id(&again.json()["booking"]));
        }
        let after = self.histories(client).await;
        let of_keys: BTreeSet<_> = by_key.values().copied().collect();
        assert_eq!(of_keys.len(), by_key.len(), "two keys have one booking");
        assert_eq!(of_keys, after.keys().copied().collect(), "a booking has no key, or the other way round");
        self.check_seats(client, &after).await;
    }

    async fn check_seats(&self, client: &Client, bookings: &BTreeMap<i64, Value>) {
        let mut sold = BTreeSet::new();
        for booking in bookings.values() {
            for seat in booking["seat_ids"].as_array().unwrap() {
                let place = (booking["show_id"].as_i64().unwrap(), seat.as_i64().unwrap());
                assert!(sold.insert(place), "{place:?} is sold twice");
            }
        }
        let mut on_maps = BTreeSet::new();
        for show in &self.shows {
            let seats = client.get(&format!("/api/shows/{show}/seats")).await.expect(200);
            let booked = seats.as_array().unwrap().iter().filter(|seat| seat["status"] == "booked");
            on_maps.extend(booked.map(|seat| (*show, seat["id"].as_i64().unwrap())));
        }
        assert_eq!(sold, on_maps);
    }

    async fn histories(&self, client: &Client) -> BTreeMap<i64, Value> {
        let mut bookings = BTreeMap::new();
        for token in &self.tokens {
            for booking in client.history(token).await {
                assert!(bookings.insert(id(&booking), booking).is_none());
            }
        }
        bookings
    }
}

fn id(booking: &Value) -> i64 {
    booking["id"].as_i64().unwrap()
}
