//! Many who book at once, and what must be true of them afterwards, whatever became of the server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::JoinHandle;

use super::support::{Client, Place, Reply};

/// How many users book.
const USERS: usize = 3;
/// How many requests of each user are under way at once.
const REQUESTS_OF_USER: usize = 4;
/// In how many shows.
const SHOWS: usize = 4;

/// What became of a request.
pub enum Outcome {
    /// It was answered.
    Answered(Reply),
    /// It was not, and this is what the client saw.
    Unanswered(reqwest::Error),
}

/// A request to book a seat.
pub struct Try {
    user: usize,
    key: String,
    place: Place,
    /// When it was sent.
    pub sent: Instant,
    /// When it had ended.
    ended: Instant,
    /// What became of it.
    pub outcome: Outcome,
}

/// Users who book seats at random until they are told to stop, or the server is gone.
pub struct Storm {
    tokens: Vec<String>,
    shows: Vec<i64>,
    tries: Arc<Mutex<Vec<Try>>>,
    booked: Arc<AtomicUsize>,
    over: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Storm {
    /// Begins, with users of their own and shows that nobody has booked.
    pub async fn begin(client: &Client) -> Self {
        Self::over(client, SHOWS).await
    }

    /// Returns the same over so many shows: a storm that goes on for long must not run out of seats.
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

    /// Waits until so many bookings are acknowledged.
    pub async fn until_booked(&self, count: usize) {
        let began = Instant::now();
        while self.booked.load(Ordering::Relaxed) < count {
            assert!(began.elapsed() < Duration::from_secs(60), "the storm is too slow");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Returns how many bookings are acknowledged.
    pub fn booked(&self) -> usize {
        self.booked.load(Ordering::Relaxed)
    }

    /// Waits until all requests have ended.
    pub async fn calm(mut self) -> Calm {
        self.over.store(true, Ordering::Relaxed);
        for task in self.tasks.drain(..) {
            task.await.unwrap();
        }
        let tries = std::mem::take(&mut *self.tries.lock().unwrap());
        Calm { tokens: self.tokens, shows: self.shows, tries }
    }
}

/// What a storm has left.
pub struct Calm {
    tokens: Vec<String>,
    shows: Vec<i64>,
    /// Every request.
    pub tries: Vec<Try>,
}

impl Calm {
    /// Asserts of a server on the same store that what was acknowledged is there, that each key has made one booking at most,
    /// and that no seat is sold twice.
    pub async fn check(&self, client: &Client) {
        self.check_as_of(Instant::now(), client).await;
    }

    /// The same of a server on the store as it was at some later moment than `copied`: what was acknowledged after that may be lost.
    pub async fn check_as_of(&self, copied: Instant, client: &Client) {
        let before = self.histories(client).await;
        // By key: the booking, and the body of its answer.
        let mut by_key = BTreeMap::new();
        for asked in &self.tries {
            let first = match &asked.outcome {
                Outcome::Answered(reply) if reply.status == 201 => (asked.ended < copied).then_some(reply),
                // Nothing was booked, and the key is free.
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
                    // Written before the server was gone, or now; from here on it is the same.
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
