//! A storm: many clients who hold, book, cancel and change the seats of one show, all at once and at random, break off, and
//! come again. Every answer must be one that the contract allows for what its client knows, and what is left must be whole.
//!
//! `STORM_SEED` draws the same actions again (not the same order among clients: that is the machine's). `STORM_SECONDS` makes
//! it longer or shorter; on a slow machine it goes on until everything has succeeded often enough to mean something.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use domain::ids::ShowId;
use domain::seating::{SeatAvailability, SeatClaim};
use domain::seed::{HallSeed, SeatSeed, SeedPlan};
use futures::FutureExt as _;
use futures::future::join_all;
use port_contracts::Fixture as _;
use port_contracts::world::{STALKER, show, show_id, theatre};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;

use crate::harness::{Answer, Call, TestApp, User, http_client};

mod sqlite {
    on_both_stores!(@tests Sqlite
        a_storm_leaves_everything_whole
            [("HOLD_TTL", "2s"), ("MAX_SEATS_PER_BOOKING", "4"), ("CANCELLATIONS_PER_DAY", "1000")]
        a_storm_of_long_holds_leaves_everything_whole
            [("MAX_SEATS_PER_BOOKING", "4"), ("CANCELLATIONS_PER_DAY", "1000")]
    );
}

mod postgres {
    on_both_stores!(@tests Postgres
        a_storm_leaves_everything_whole
            [("HOLD_TTL", "2s"), ("MAX_SEATS_PER_BOOKING", "4"), ("CANCELLATIONS_PER_DAY", "1000")]
        a_storm_over_two_servers_leaves_everything_whole
            [("HOLD_TTL", "2s"), ("MAX_SEATS_PER_BOOKING", "4"), ("CANCELLATIONS_PER_DAY", "1000")]
    );
}

/// How many clients there are, each a user.
const CLIENTS: usize = 64;
/// What `MAX_SEATS_PER_BOOKING` is set to: few, so that many want more.
const SEATS_MAX: usize = 4;
/// What the seats of each category cost, in cents.
const PRICES: [(&str, i64); 2] = [("standard", 1250), ("premium", 1600)];
/// How long a storm lasts unless `STORM_SECONDS` says otherwise.
const SECONDS: u64 = 20;
/// How long it may last: a case that takes much longer counts as hung.
const SECONDS_MAX: u64 = 40;
/// How many times as long it goes on, on a slow machine, until everything has succeeded often enough.
const PATIENCE: u32 = 3;
/// How often everything must have succeeded in that time.
const SUCCESSES_MIN: u64 = 30;
/// How many seats are to be free for somebody to want any: else nearly every selection would lose.
const FREE_MIN: usize = 30;
/// What must have.
const NEEDED: [&str; 13] = [
    "hold by seats",
    "hold by quantity",
    "extend",
    "release",
    "redeem",
    "book by seats",
    "cancel",
    "change seats",
    "retry",
    "key for another",
    "three at once",
    "hang up",
    "seat map",
];
/// How often a request is sent again until it is known what became of it.
const TRIES_MAX: usize = 40;
/// How long one waits before that, and how long an answer may take before it counts as none.
const PAUSE: Duration = Duration::from_millis(50);
const SILENCE: Duration = Duration::from_secs(15);
/// How many requests whose outcome a client has not learned it leaves behind.
const UNLEARNED_MAX: usize = 2;
/// How many successes a client remembers, to send them again.
const DONE_MAX: usize = 50;
/// How many lines of a client's log are told when it fails.
const LOG_MAX: usize = 60;

/// A live booking, in SQL.
const LIVE: &str = "status IN ('pending_payment', 'confirmed')";

async fn a_storm_leaves_everything_whole(app: &TestApp) {
    Storm::new(app, vec![app.authority.clone()]).await.rage(app, true).await;
}

/// Where nobody waits for holds to run out.
async fn a_storm_of_long_holds_leaves_everything_whole(app: &TestApp) {
    Storm::new(app, vec![app.authority.clone()]).await.rage(app, false).await;
}

async fn a_storm_over_two_servers_leaves_everything_whole(app: &TestApp) {
    let other = app.another_server().await;
    let authorities = vec![app.authority.clone(), other.address.to_string()];
    Storm::new(app, authorities).await.rage(app, true).await;
    other.stop().await.unwrap();
}

/// SplitMix64: all that a storm needs of chance.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(end).unwrap()).unwrap()
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// So many of them, in any order.
    fn draw(&mut self, from: &[i64], count: usize) -> Vec<i64> {
        let mut left = from.to_vec();
        (0..count.min(left.len())).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}

/// A number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// A seat of the show.
struct Seat {
    category: String,
    accessible: bool,
    price: i64,
}

/// What all clients know.
struct Place {
    show: i64,
    authorities: Vec<String>,
    seats: BTreeMap<i64, Seat>,
    /// When no new action is begun, if enough has succeeded by then, and when in any case.
    ends: Instant,
    ends_at_last: Instant,
    /// How often everything must succeed.
    successes_min: u64,
    /// How often everything has.
    successes: Mutex<BTreeMap<&'static str, u64>>,
    /// Whether a client has failed.
    is_broken: AtomicBool,
}

impl Place {
    fn price(&self, seats: &[i64]) -> i64 {
        seats.iter().map(|seat| self.seats[seat].price).sum()
    }

    fn is_over(&self) -> bool {
        let now = Instant::now();
        let is_time = now >= self.ends_at_last || (now >= self.ends && self.rare().is_empty());
        is_time || self.is_broken.load(Ordering::Relaxed)
    }

    /// What has not succeeded often enough to mean something.
    fn rare(&self) -> Vec<(&'static str, u64)> {
        let successes = self.successes.lock().unwrap();
        let times = |name: &&'static str| (*name, successes.get(name).copied().unwrap_or_default());
        NEEDED.iter().map(times).filter(|(_, times)| *times < self.successes_min).collect()
    }
}

/// What a client asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
enum Action {
    HoldSeats(Vec<i64>),
    HoldBest { quantity: usize, category: Option<&'static str>, accessible: Option<bool> },
    Extend(String),
    Release(String),
    Redeem(String),
    Book(Vec<i64>),
    Cancel(i64),
    Change(i64, Vec<i64>),
}

impl Action {
    fn name(&self) -> &'static str {
        match self {
            Self::HoldSeats(_) => "hold by seats",
            Self::HoldBest { .. } => "hold by quantity",
            Self::Extend(_) => "extend",
            Self::Release(_) => "release",
            Self::Redeem(_) => "redeem",
            Self::Book(_) => "book by seats",
            Self::Cancel(_) => "cancel",
            Self::Change(..) => "change seats",
        }
    }

    /// The call, and the status of its success.
    fn call(&self, show: i64) -> (Method, String, Option<Value>, u16) {
        match self {
            Self::HoldSeats(seats) => {
                (Method::POST, format!("/api/shows/{show}/holds"), Some(json!({ "seat_ids": seats })), 201)
            }
            Self::HoldBest { quantity, category, accessible } => {
                let mut body = json!({ "quantity": quantity });
                if let Some(category) = category {
                    body["category"] = json!(category);
                }
                if let Some(accessible) = accessible {
                    body["accessible"] = json!(accessible);
                }
                (Method::POST, format!("/api/shows/{show}/holds"), Some(body), 201)
            }
            Self::Extend(hold) => (Method::POST, format!("/api/holds/{hold}/extend"), None, 200),
            Self::Release(hold) => (Method::DELETE, format!("/api/holds/{hold}"), None, 204),
            Self::Redeem(hold) => (Method::POST, "/api/bookings".to_owned(), Some(json!({ "hold_id": hold })), 201),
            Self::Book(seats) => {
                let body = match seats[..] {
                    [seat] => json!({ "show_id": show, "seat_id": seat }),
                    _ => json!({ "show_id": show, "seat_ids": seats }),
                };
                (Method::POST, "/api/bookings".to_owned(), Some(body), 201)
            }
            Self::Cancel(booking) => (Method::POST, format!("/api/bookings/{booking}/cancel"), None, 200),
            Self::Change(booking, seats) => {
                (Method::POST, format!("/api/bookings/{booking}/seats"), Some(json!({ "seat_ids": seats })), 200)
            }
        }
    }

    /// How many seats it is about to hold.
    fn holds(&self) -> usize {
        match self {
            Self::HoldSeats(seats) => seats.len(),
            Self::HoldBest { quantity, .. } => *quantity,
            _ => 0,
        }
    }
}

/// A client's hold, as it knows it.
#[derive(Clone, Debug)]
struct Hold {
    id: String,
    seats: Vec<i64>,
    total: i64,
    expires_at: DateTime<Utc>,
    /// Since when its seats are surely the client's.
    since: DateTime<Utc>,
    /// Whether it is left to run out.
    is_abandoned: bool,
    /// Whether it was written last by the server whose seat maps the client looks at: on those it is at once.
    is_here: bool,
}

/// A client's booking, as it knows it.
#[derive(Clone, Debug)]
struct Booking {
    id: i64,
    seats: Vec<i64>,
    total: i64,
    since: DateTime<Utc>,
    is_live: bool,
    is_here: bool,
    /// False after a request to change it that may yet be served, though a later one with its key was refused.
    is_sure: bool,
}

/// What a request is about. Nothing else is done with it until the request's outcome is known.
#[derive(Debug)]
enum Subject {
    Nothing,
    Hold(Hold),
    Booking(Booking),
}

/// A request, from when it is thought of until its outcome is known.
#[derive(Debug)]
struct Asked {
    action: Action,
    subject: Subject,
    key: String,
    /// When it was sent first.
    sent_at: DateTime<Utc>,
    /// Whether it may have succeeded without an answer: then the answer may be a replay.
    maybe_done: bool,
    /// Whether it may still be on its way: then it may succeed later though its retry is refused.
    maybe_late: bool,
    /// Whether another server than the client's own may have served it.
    maybe_elsewhere: bool,
}

/// A success, to be had again.
struct Done {
    method: Method,
    path: String,
    body: Option<Value>,
    key: String,
    answer: Answer,
}

/// A time in which a seat was surely a client's.
#[derive(Debug)]
struct Owned {
    client: usize,
    seat: i64,
    from: DateTime<Utc>,
    until: DateTime<Utc>,
    ran_out: bool,
}

/// How often something was tried, and what came of it.
#[derive(Clone, Copy, Default)]
struct Count {
    tried: u64,
    succeeded: u64,
    refused: u64,
}

struct Client {
    number: usize,
    user: User,
    place: Arc<Place>,
    http: reqwest::Client,
    dice: Dice,
    keys: usize,
    holds: Vec<Hold>,
    bookings: Vec<Booking>,
    unlearned: VecDeque<Asked>,
    done: Vec<Done>,
    /// Of each key that has booked, the booking.
    booked: BTreeMap<String, i64>,
    /// Keys of requests that may have succeeded though their retries were refused.
    late: BTreeSet<String>,
    /// How many seats such requests may hold.
    late_holds: usize,
    /// Ids of all holds it has been told of.
    hold_ids: BTreeSet<String>,
    owned: Vec<Owned>,
    /// Seats that were free when it looked last.
    seen_free: Vec<i64>,
    counts: BTreeMap<&'static str, Count>,
    log: VecDeque<String>,
}

fn ids(list: &Value) -> Vec<i64> {
    let id = |item: &Value| item.as_i64().or_else(|| item["id"].as_i64());
    let found = list.as_array().and_then(|items| items.iter().map(id).collect());
    found.unwrap_or_else(|| panic!("no list of ids: {list}"))
}

fn sorted(mut ids: Vec<i64>) -> Vec<i64> {
    ids.sort_unstable();
    ids
}

fn cents(money: &Value) -> i64 {
    let text = money.as_str().unwrap_or_else(|| panic!("no money: {money}"));
    let (whole, part) = text.split_once('.').unwrap_or_else(|| panic!("no cents: {text}"));
    assert_eq!(part.len(), 2, "{text}");
    whole.parse::<i64>().unwrap() * 100 + part.parse::<i64>().unwrap()
}

fn instant(time: &Value) -> DateTime<Utc> {
    let parsed = time.as_str().and_then(|text| DateTime::parse_from_rfc3339(text).ok());
    parsed.unwrap_or_else(|| panic!("no time: {time}")).to_utc()
}

/// What an instant on the wire, cut to milliseconds, may differ from what is in the store, and clocks of one machine.
fn slack() -> TimeDelta {
    TimeDelta::seconds(1)
}

impl Client {
    /// Does one thing after the other until the storm is over, and learns what became of all of them.
    async fn run(&mut self) {
        self.look().await;
        while !self.place.is_over() {
            self.act().await;
        }
        while let Some(asked) = self.unlearned.pop_front() {
            self.learn(asked).await;
        }
    }

    fn note(&mut self, line: String) {
        if self.log.len() == LOG_MAX {
            self.log.pop_front();
        }
        self.log.push_back(format!("{} {line}", Utc::now().format("%H:%M:%S%.3f")));
    }

    fn count(&mut self, name: &'static str) -> &mut Count {
        self.counts.entry(name).or_default()
    }

    fn count_success(&mut self, name: &'static str) {
        self.count(name).succeeded += 1;
        *self.place.successes.lock().unwrap().entry(name).or_default() += 1;
    }

    async fn act(&mut self) {
        let is_full = self.unlearned.len() == UNLEARNED_MAX;
        if is_full || (!self.unlearned.is_empty() && self.dice.one_in(4)) {
            let asked = self.unlearned.pop_front().unwrap();
            return self.learn(asked).await;
        }
        let roll = self.dice.below(100);
        if roll < 6 {
            return self.look().await;
        }
        if roll < 13 && !self.done.is_empty() {
            return self.repeat().await;
        }
        let Some(asked) = self.think() else { return self.look().await };
        match self.dice.below(24) {
            0 | 1 => self.hang_up(asked).await,
            2 | 3 => self.send_at_once(asked).await,
            _ => self.send(asked).await,
        }
    }

    /// Decides what to do next. `None`: to look, and wait for better times.
    fn think(&mut self) -> Option<Asked> {
        let now = Utc::now();
        if let Some(at) = self.holds.iter().position(|hold| hold.expires_at + slack() < now) {
            // It surely ran out: that must be told.
            return Some(self.about_hold(at, Action::Redeem));
        }
        let hold = self.holds.iter().position(|hold| !hold.is_abandoned);
        let live: Vec<_> = (0..self.bookings.len()).filter(|at| self.bookings[*at].is_live).collect();
        // With more it would keep what all want.
        if live.len() >= 2 {
            return Some(self.about_booking(live[0], |booking| Action::Cancel(booking.id)));
        }
        let is_crowded = self.seen_free.len() < FREE_MIN;
        if is_crowded && !self.dice.one_in(3) {
            return match (hold, live.first().copied()) {
                (Some(at), _) if self.dice.one_in(2) => Some(self.about_hold(at, Action::Release)),
                (_, Some(at)) if self.dice.one_in(2) => Some(self.about_change(at)),
                (_, Some(at)) if self.dice.one_in(2) => {
                    Some(self.about_booking(at, |booking| Action::Cancel(booking.id)))
                }
                _ => None,
            };
        }
        let asked = match (self.dice.below(100), hold, live.first().copied()) {
            (0..16, _, _) => {
                let seats = self.choose_seats();
                self.asked(Action::HoldSeats(seats), Subject::Nothing)
            }
            (16..27, Some(at), _) => self.about_hold(at, Action::Extend),
            (27..36, Some(at), _) => self.about_hold(at, Action::Release),
            (36..50, Some(at), _) => self.about_hold(at, Action::Redeem),
            (50..64, _, _) => {
                let seats = self.choose_seats();
                self.asked(Action::Book(seats), Subject::Nothing)
            }
            (64..76, _, Some(at)) => self.about_booking(at, |booking| Action::Cancel(booking.id)),
            (76..90, _, Some(at)) => self.about_change(at),
            // A cancelled booking can be cancelled again.
            (90..92, _, _) if live.len() < self.bookings.len() => {
                let at = self.bookings.iter().position(|booking| !booking.is_live).unwrap();
                self.about_booking(at, |booking| Action::Cancel(booking.id))
            }
            // Who gets any seats there are leaves none to those who want certain ones.
            _ if is_crowded => return None,
            _ => {
                let quantity = self.choose_count();
                let category = match self.dice.below(8) {
                    0 => Some("standard"),
                    1 => Some("premium"),
                    _ => None,
                };
                let accessible = self.dice.one_in(8).then(|| self.dice.one_in(4));
                self.asked(Action::HoldBest { quantity, category, accessible }, Subject::Nothing)
            }
        };
        Some(asked)
    }

    fn asked(&mut self, action: Action, subject: Subject) -> Asked {
        self.keys += 1;
        Asked {
            action,
            subject,
            key: format!("key-{}", self.keys),
            sent_at: Utc::now(),
            maybe_done: false,
            maybe_late: false,
            maybe_elsewhere: false,
        }
    }

    fn about_hold(&mut self, at: usize, action: impl FnOnce(String) -> Action) -> Asked {
        let hold = self.holds.remove(at);
        let action = action(hold.id.clone());
        self.asked(action, Subject::Hold(hold))
    }

    fn about_booking(&mut self, at: usize, action: impl FnOnce(&Booking) -> Action) -> Asked {
        let booking = self.bookings.remove(at);
        let action = action(&booking);
        self.asked(action, Subject::Booking(booking))
    }

    /// Other seats for a booking: all of them, or one.
    fn about_change(&mut self, at: usize) -> Asked {
        let old = self.bookings[at].seats.clone();
        let kept = if self.dice.one_in(2) { old[..old.len() - 1].to_vec() } else { Vec::new() };
        let mut seats = self.draw_seats(old.len() - kept.len(), &old);
        seats.extend(kept);
        self.about_booking(at, |booking| Action::Change(booking.id, seats))
    }

    /// How many seats to want: mostly one, now and then too many.
    fn choose_count(&mut self) -> usize {
        match self.dice.below(40) {
            0 => SEATS_MAX + 1,
            1..24 => 1,
            24..34 => 2,
            _ => 3,
        }
    }

    fn choose_seats(&mut self) -> Vec<i64> {
        let count = self.choose_count();
        self.draw_seats(count, &[])
    }

    /// Seats that were free a moment ago, more often than not, or any.
    fn draw_seats(&mut self, count: usize, but: &[i64]) -> Vec<i64> {
        let fits = |seats: Vec<i64>| seats.into_iter().filter(|seat| !but.contains(seat)).collect::<Vec<_>>();
        let mut from = fits(self.seen_free.clone());
        if from.len() < count || self.dice.one_in(8) {
            from = fits(self.place.seats.keys().copied().collect());
        }
        self.dice.draw(&from, count)
    }

    fn home(&self) -> usize {
        self.number % self.place.authorities.len()
    }

    /// Sends a request once. `None`: no answer.
    async fn attempt(&self, action: &Action, key: &str, server: usize) -> Option<Answer> {
        let (method, path, body, _) = action.call(self.place.show);
        self.try_send(server, method, &path, body.as_ref(), Some(key)).await
    }

    async fn try_send(
        &self,
        server: usize,
        method: Method,
        path: &str,
        body: Option<&Value>,
        key: Option<&str>,
    ) -> Option<Answer> {
        let mut call = Call::new(&self.http, &self.place.authorities[server], method, path).by(&self.user);
        if let Some(key) = key {
            call = call.key(key);
        }
        if let Some(body) = body {
            call = call.json(body);
        }
        call.try_send().await.ok()
    }

    /// Sends a request until it is answered by more than "later".
    async fn settle(&mut self, asked: &mut Asked) -> Answer {
        for _ in 0..TRIES_MAX {
            let answer = self.attempt(&asked.action, &asked.key, self.home()).await;
            if let Some(answer) = self.definite(asked, answer) {
                return answer;
            }
            tokio::time::sleep(PAUSE).await;
        }
        panic!("nobody tells what became of {asked:?}");
    }

    /// An answer that tells what became of the request.
    fn definite(&mut self, asked: &mut Asked, answer: Option<Answer>) -> Option<Answer> {
        let Some(answer) = answer else {
            self.note(format!("{}: no answer", asked.key));
            self.count("no answer").tried += 1;
            (asked.maybe_done, asked.maybe_late) = (true, true);
            return None;
        };
        let code = code(&answer);
        self.note(format!(
            "{}: {} {code} {}",
            asked.key,
            answer.status,
            answer.header("idempotent-replayed").is_some()
        ));
        match (answer.status, code.as_str()) {
            (503, "unavailable" | "overloaded" | "outcome_unknown") => {
                self.count("503").tried += 1;
                asked.maybe_done = true;
                asked.maybe_late |= code == "outcome_unknown";
                None
            }
            (409, "request_in_flight") => {
                self.count("request_in_flight").tried += 1;
                asked.maybe_done = true;
                None
            }
            _ => Some(answer),
        }
    }

    /// Sends a request and takes in what is answered.
    async fn send(&mut self, mut asked: Asked) {
        self.note(format!("{}: {:?}", asked.key, asked.action));
        let before = Utc::now();
        asked.sent_at = before;
        let answer = self.settle(&mut asked).await;
        self.take_in(asked, answer, before);
    }

    /// Sends a request thrice at once.
    async fn send_at_once(&mut self, mut asked: Asked) {
        self.note(format!("{}: {:?}, thrice", asked.key, asked.action));
        let (before, home) = (Utc::now(), self.home());
        asked.sent_at = before;
        asked.maybe_elsewhere = self.place.authorities.len() > 1;
        let servers = [home, self.place.authorities.len() - 1 - home, home];
        let answers = join_all(servers.map(|server| self.attempt(&asked.action, &asked.key, server))).await;
        let (_, _, _, success) = asked.action.call(self.place.show);
        let mut made: Vec<Answer> = Vec::new();
        let mut is_certain = true;
        for answer in answers {
            match self.definite(&mut asked, answer) {
                Some(answer) if answer.status == success => made.push(answer),
                Some(answer) => self.check_refusal(&asked, &answer, before),
                None => is_certain = false,
            }
        }
        let fresh = made.iter().filter(|answer| !is_replay(answer)).count();
        assert!(fresh <= 1, "it was done {fresh} times: {made:?}");
        assert!(!is_certain || fresh == usize::from(!made.is_empty()), "a replay of nothing: {made:?}");
        for pair in made.windows(2) {
            assert_eq!(pair[0].bytes, pair[1].bytes, "one key, two answers: {made:?}");
        }
        self.count("three at once").tried += 1;
        asked.maybe_done |= !made.is_empty();
        let again = self.settle(&mut asked).await;
        if let Some(first) = made.first() {
            self.count_success("three at once");
            assert_replay(first, &again);
        }
        self.take_in(asked, again, before);
    }

    /// Sends a request, or a part of it, and hangs up without waiting for an answer.
    async fn hang_up(&mut self, mut asked: Asked) {
        let (method, path, body, _) = asked.action.call(self.place.show);
        let authority = &self.place.authorities[self.home()];
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {authority}\r\nAuthorization: Bearer {}\r\nIdempotency-Key: {}\r\n",
            self.user.token, asked.key
        );
        if !body.is_empty() {
            request += "Content-Type: application/json\r\n";
        }
        request += &format!("Content-Length: {}\r\n\r\n{body}", body.len());
        let is_whole = body.is_empty() || !self.dice.one_in(4);
        let sent = if is_whole { request.len() } else { request.len() - 1 - self.dice.below(body.len()) };
        asked.sent_at = Utc::now();
        (asked.maybe_done, asked.maybe_late) = (is_whole, is_whole);
        let mut connection = TcpStream::connect(authority).await.unwrap();
        connection.write_all(&request.as_bytes()[..sent]).await.unwrap();
        if self.dice.one_in(2) {
            tokio::time::sleep(Duration::from_millis(self.dice.next() % 30)).await;
        }
        drop(connection);
        self.note(format!("{}: {:?}, hung up after {sent} of {} bytes", asked.key, asked.action, request.len()));
        self.count("hang up").tried += 1;
        self.unlearned.push_back(asked);
    }

    /// Learns what became of a request that was not waited for.
    async fn learn(&mut self, mut asked: Asked) {
        let before = Utc::now();
        let is_whole = asked.maybe_done;
        let answer = self.settle(&mut asked).await;
        let (_, _, _, success) = asked.action.call(self.place.show);
        if is_whole && answer.status == success {
            self.count_success("hang up");
            if is_replay(&answer) {
                self.count_success("hang up, found done");
            }
        }
        self.take_in(asked, answer, before);
    }

    /// Sends again what has succeeded: the same answer to the byte, on every server. Another request with its key is refused.
    async fn repeat(&mut self) {
        let done = &self.done[self.dice.below(self.done.len())];
        let mut body = done.body.clone();
        let is_other = body.is_some() && self.dice.one_in(4);
        if let (Some(body), true) = (&mut body, is_other) {
            body["note"] = json!("another request");
        }
        let server = self.dice.below(self.place.authorities.len());
        let (method, path, key) = (done.method.clone(), done.path.clone(), done.key.clone());
        let first = done.answer.clone();
        let name = if is_other { "key for another" } else { "retry" };
        self.note(format!("{key}: {name} of {method} {path}"));
        for _ in 0..TRIES_MAX {
            let answer = self.try_send(server, method.clone(), &path, body.as_ref(), Some(&key)).await;
            // Both are known to be done; so an answer like "later" has no meaning for either, but may be.
            let Some(answer) = answer.filter(|answer| answer.status != 503) else {
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if is_other {
                answer.problem(422, "idempotency_key_reused");
            } else {
                assert_replay(&first, &answer);
            }
            self.count(name).tried += 1;
            self.count_success(name);
            return;
        }
        panic!("{name} of {key} is never answered");
    }

    /// Looks at the seat map: what is surely the client's own must be on it.
    async fn look(&mut self) {
        self.count("seat map").tried += 1;
        let path = format!("/api/shows/{}/seats", self.place.show);
        let Some(answer) = self.try_send(self.home(), Method::GET, &path, None, None).await else { return };
        let after = Utc::now();
        if answer.status == 503 {
            return;
        }
        let map = answer.ok(200).list();
        let map: HashMap<i64, &Value> = map.iter().map(|seat| (seat["id"].as_i64().unwrap(), seat)).collect();
        assert_eq!(map.len(), self.place.seats.len());
        let mine = |seats: &[i64], status: &str, what: &dyn std::fmt::Debug| {
            for seat in seats {
                let seen = map[seat];
                assert_eq!((&seen["status"], &seen["mine"]), (&json!(status), &json!(true)), "{seen} of {what:?}");
            }
        };
        for booking in self.bookings.iter().filter(|booking| booking.is_live && booking.is_here && booking.is_sure) {
            mine(&booking.seats, "booked", booking);
        }
        for hold in self.holds.iter().filter(|hold| hold.is_here && hold.expires_at > after) {
            mine(&hold.seats, "held", hold);
        }
        let free = map.iter().filter(|(_, seat)| seat["status"] == "available").map(|(id, _)| *id);
        self.seen_free = sorted(free.collect());
        self.count_success("seat map");
    }

    /// Takes in what became of a request that was sent, the last time at `before`.
    fn take_in(&mut self, asked: Asked, answer: Answer, before: DateTime<Utc>) {
        let (method, path, body, success) = asked.action.call(self.place.show);
        let name = asked.action.name();
        self.count(name).tried += 1;
        if answer.status != success {
            self.check_refusal(&asked, &answer, before);
            self.count(name).refused += 1;
            return self.refused(asked);
        }
        assert!(asked.maybe_done || !is_replay(&answer), "a replay of what was never sent: {answer:?}");
        self.count_success(name);
        let done = Done { method, path, body, key: asked.key.clone(), answer: answer.clone() };
        if self.done.len() < DONE_MAX {
            self.done.push(done);
        } else {
            let at = self.dice.below(DONE_MAX);
            self.done[at] = done;
        }
        self.succeeded(asked, &answer);
    }

    fn own(&mut self, seats: &[i64], from: DateTime<Utc>, until: DateTime<Utc>, ran_out: bool) {
        let client = self.number;
        self.owned.extend(seats.iter().map(|seat| Owned { client, seat: *seat, from, until, ran_out }));
    }

    fn succeeded(&mut self, asked: Asked, answer: &Answer) {
        let after = Utc::now();
        let is_here = !asked.maybe_elsewhere;
        match (asked.action, asked.subject) {
            (action @ (Action::HoldSeats(_) | Action::HoldBest { .. }), _) => {
                let hold = self.read_hold(&answer.json(), after, is_here);
                match action {
                    Action::HoldSeats(seats) => assert_eq!(sorted(hold.seats.clone()), sorted(seats)),
                    Action::HoldBest { quantity, category, accessible } => {
                        assert_eq!(hold.seats.len(), quantity, "{answer:?}");
                        for seat in hold.seats.iter().map(|seat| &self.place.seats[seat]) {
                            assert!(category.is_none_or(|category| seat.category == category), "{answer:?}");
                            assert!(accessible.is_none_or(|accessible| seat.accessible == accessible), "{answer:?}");
                        }
                    }
                    _ => unreachable!(),
                }
                assert!(hold.seats.len() <= SEATS_MAX, "{answer:?}");
                assert!(self.hold_ids.insert(hold.id.clone()), "a hold's id is there twice: {answer:?}");
                let surely = |hold: &&Hold| hold.expires_at > after;
                let others: usize = self.holds.iter().filter(surely).map(|hold| hold.seats.len()).sum();
                // One that ran out before its answer came may have been beside the others for none of its life.
                if hold.expires_at > after {
                    assert!(others + hold.seats.len() <= SEATS_MAX, "{others} are held already: {answer:?}");
                }
                let is_abandoned = self.dice.one_in(8);
                self.holds.push(Hold { is_abandoned, ..hold });
            }
            (Action::Extend(_), Subject::Hold(hold)) => {
                assert!(hold.expires_at + slack() > asked.sent_at, "{hold:?} had run out: {answer:?}");
                let extended = self.read_hold(&answer.json(), after, is_here);
                assert_eq!((&extended.id, &extended.seats, extended.total), (&hold.id, &hold.seats, hold.total));
                assert!(extended.expires_at >= hold.expires_at, "{hold:?} became {extended:?}");
                let is_abandoned = self.dice.one_in(8);
                self.holds.push(Hold { since: hold.since, is_abandoned, ..extended });
            }
            (Action::Release(_), Subject::Hold(hold)) => {
                let until = asked.sent_at.min(hold.expires_at);
                self.own(&hold.seats, hold.since, until, false);
            }
            (Action::Redeem(_), Subject::Hold(hold)) => {
                assert!(hold.expires_at + slack() > asked.sent_at, "{hold:?} had run out: {answer:?}");
                let booking = self.read_booking(&answer.booking(), "confirmed", hold.since, is_here);
                assert_eq!(sorted(booking.seats.clone()), sorted(hold.seats.clone()), "{answer:?}");
                assert_eq!(booking.total, hold.total, "{answer:?}");
                self.made(asked.key, booking);
            }
            (Action::Book(seats), _) => {
                let booking = self.read_booking(&answer.booking(), "confirmed", after, is_here);
                assert_eq!(booking.seats, seats, "{answer:?}");
                assert_eq!(booking.total, self.place.price(&seats), "{answer:?}");
                self.made(asked.key, booking);
            }
            (Action::Cancel(_), Subject::Booking(booking)) => {
                let cancelled = self.read_booking(&answer.json(), "cancelled", booking.since, is_here);
                assert_eq!((cancelled.id, cancelled.total), (booking.id, booking.total), "{answer:?}");
                if booking.is_sure {
                    assert_eq!(cancelled.seats, booking.seats, "{answer:?}");
                    if booking.is_live {
                        self.own(&booking.seats, booking.since, asked.sent_at, false);
                    }
                }
                self.bookings.push(Booking { is_live: false, ..cancelled });
            }
            (Action::Change(_, seats), Subject::Booking(booking)) => {
                let changed = self.read_booking(&answer.json(), "confirmed", after, is_here);
                assert_eq!((changed.id, changed.total), (booking.id, booking.total), "{answer:?}");
                assert_eq!(sorted(changed.seats.clone()), sorted(seats), "{answer:?}");
                assert!(self.place.price(&changed.seats) <= booking.total, "dearer for nothing: {answer:?}");
                if booking.is_sure {
                    self.own(&booking.seats, booking.since, asked.sent_at, false);
                }
                // A change that may come late may come after this one too.
                self.bookings.push(Booking { is_sure: booking.is_sure, ..changed });
            }
            (action, subject) => panic!("{action:?} about {subject:?}"),
        }
    }

    fn made(&mut self, key: String, booking: Booking) {
        assert!(self.booked.values().all(|id| *id != booking.id), "two keys, one booking: {booking:?}");
        self.booked.insert(key, booking.id);
        self.bookings.push(booking);
    }

    fn read_hold(&self, hold: &Value, since: DateTime<Utc>, is_here: bool) -> Hold {
        let seats = ids(&hold["seats"]);
        let total = cents(&hold["total"]);
        assert_eq!(hold["show_id"], self.place.show, "{hold}");
        assert_eq!(hold["currency"], "EUR", "{hold}");
        assert_eq!(seats.iter().collect::<BTreeSet<_>>().len(), seats.len(), "{hold}");
        assert_eq!(total, self.place.price(&seats), "{hold}");
        let id = hold["id"].as_str().unwrap().to_owned();
        Hold { id, seats, total, expires_at: instant(&hold["expires_at"]), since, is_abandoned: false, is_here }
    }

    fn read_booking(&self, booking: &Value, status: &str, since: DateTime<Utc>, is_here: bool) -> Booking {
        let seats = ids(&booking["seat_ids"]);
        assert_eq!(booking["status"], status, "{booking}");
        assert_eq!((&booking["user_id"], &booking["show_id"]), (&json!(self.user.id), &json!(self.place.show)));
        assert_eq!((&booking["seat_id"], &ids(&booking["seats"])), (&json!(seats[0]), &seats), "{booking}");
        let (id, total) = (booking["id"].as_i64().unwrap(), cents(&booking["total"]));
        Booking { id, seats, total, since, is_live: true, is_here, is_sure: true }
    }

    /// Whether a request can have been refused so, for what the client knows. `before` is when it was sent last.
    fn check_refusal(&self, asked: &Asked, answer: &Answer, before: DateTime<Utc>) {
        let after = Utc::now();
        let code = code(answer);
        let allowed = match (&asked.action, &asked.subject) {
            (Action::HoldSeats(seats), _) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => seats.len() <= SEATS_MAX && self.may_be_lost(seats, answer),
                (422, "too_many_seats") => self.may_be_too_many(seats.len(), before),
                _ => false,
            },
            (Action::HoldBest { quantity, .. }, _) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => *quantity <= SEATS_MAX && answer.json()["seat_ids"] == json!([]),
                (422, "too_many_seats") => self.may_be_too_many(*quantity, before),
                _ => false,
            },
            (Action::Book(seats), _) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => seats.len() <= SEATS_MAX && self.may_be_lost(seats, answer),
                (422, "too_many_seats") => seats.len() > SEATS_MAX,
                _ => false,
            },
            (Action::Extend(_) | Action::Redeem(_), Subject::Hold(hold)) => {
                let told = matches!((answer.status, code.as_str()), (409, "hold_expired") | (404, "hold_not_found"));
                told && hold.expires_at <= after
            }
            (Action::Release(_), Subject::Hold(hold)) => {
                (answer.status, code.as_str()) == (404, "hold_not_found") && hold.expires_at <= after
            }
            (Action::Change(_, seats), Subject::Booking(booking)) => match (answer.status, code.as_str()) {
                (409, "seat_unavailable") => self.may_be_lost(seats, answer),
                (422, "price_differs") => {
                    let dearer = |(new, old): (&i64, &i64)| self.place.price(&[*new]) > self.place.price(&[*old]);
                    !booking.is_sure
                        || self.place.price(seats) > booking.total
                        || seats.iter().zip(&booking.seats).any(dearer)
                }
                _ => false,
            },
            _ => false,
        };
        assert!(allowed, "{asked:?} can't be refused like this: {answer:?}");
    }

    /// Whether these seats can have been refused as taken: by whomever, so that only the answer's form is to be checked.
    fn may_be_lost(&self, seats: &[i64], answer: &Answer) -> bool {
        let problem = answer.json();
        let lost = ids(&problem["seat_ids"]);
        let is_my_hold = match problem.get("hold_id").and_then(Value::as_str) {
            // Of a hold whose making was never learned it is told here first.
            Some(id) => self.hold_ids.contains(id) || !self.late.is_empty() || !self.unlearned.is_empty(),
            None => true,
        };
        let alternatives = problem.get("alternatives").and_then(Value::as_array);
        let offered: Vec<i64> = alternatives.into_iter().flatten().flat_map(ids).collect();
        let alternatives = alternatives.map_or(0, Vec::len);
        !lost.is_empty()
            && lost.iter().all(|seat| seats.contains(seat))
            && is_my_hold
            && alternatives <= 3
            && offered.len() == alternatives * seats.len()
            && offered.iter().collect::<BTreeSet<_>>().len() == offered.len()
            && offered.iter().all(|seat| self.place.seats.contains_key(seat))
    }

    /// Whether so many more may have been too many at any moment since `before`.
    fn may_be_too_many(&self, wanted: usize, before: DateTime<Utc>) -> bool {
        let may_live = |hold: &&Hold| hold.expires_at + slack() > before;
        let known: usize = self.holds.iter().filter(may_live).map(|hold| hold.seats.len()).sum();
        let asked = self.unlearned.iter().map(|asked| match &asked.subject {
            Subject::Hold(hold) => hold.seats.len(),
            _ => asked.action.holds(),
        });
        wanted + known + asked.sum::<usize>() + self.late_holds > SEATS_MAX
    }

    fn refused(&mut self, asked: Asked) {
        if asked.maybe_late {
            self.late.insert(asked.key);
            self.late_holds += asked.action.holds();
        }
        match asked.subject {
            Subject::Nothing => {}
            // It ran out: nothing else can be refused about it.
            Subject::Hold(hold) => {
                self.count("ran out").tried += 1;
                self.count_success("ran out");
                self.own(&hold.seats, hold.since, hold.expires_at, true);
            }
            Subject::Booking(booking) => {
                if asked.maybe_late && booking.is_sure {
                    self.own(&booking.seats, booking.since, asked.sent_at, false);
                }
                let is_sure = booking.is_sure && !asked.maybe_late;
                self.bookings.push(Booking { is_sure, ..booking });
            }
        }
    }

    /// All pages of a list of one's own.
    async fn list(&self, server: usize, first: &str) -> Vec<Value> {
        let mut items = Vec::new();
        let mut next = Some(first.to_owned());
        while let Some(path) = next {
            let answer = self.try_send(server, Method::GET, &path, None, None).await.unwrap().ok(200);
            items.extend(answer.list());
            next = answer.next_page();
        }
        items
    }

    /// Asserts that what the client knows is what the server tells of it.
    async fn check(&self, app: &TestApp, server: usize) {
        let history = self.list(server, "/api/bookings?limit=100").await;
        let history: BTreeMap<i64, Value> =
            history.into_iter().map(|booking| (booking["id"].as_i64().unwrap(), booking)).collect();
        assert_eq!(self.bookings.len(), self.booked.len());
        for booking in &self.bookings {
            let told = history.get(&booking.id).unwrap_or_else(|| panic!("{booking:?} is lost"));
            if booking.is_sure {
                let status = if booking.is_live { "confirmed" } else { "cancelled" };
                assert_eq!((&told["status"], &ids(&told["seat_ids"])), (&json!(status), &booking.seats), "{told}");
                assert_eq!(cents(&told["total"]), booking.total, "{told}");
            }
        }
        for id in history.keys().filter(|id| self.booked.values().all(|known| known != *id)) {
            // A request that was given up has come late. Nothing else can have made it.
            let keys = self.late.iter().map(|key| format!("'{key}'")).collect::<Vec<_>>().join(", ");
            assert!(!keys.is_empty(), "nobody has booked {id}");
            let made = format!(
                "SELECT count(*) FROM idempotency_keys WHERE user_id = {} AND booking_id = {id} AND key IN ({keys}) \
                AND scope = 'POST /api/bookings'",
                self.user.id
            );
            assert_eq!(app.backend.count(&made).await, 1, "nobody has booked {id}");
        }
        let holds = self.list(server, "/api/holds").await;
        let after = Utc::now();
        let holds: BTreeMap<&str, &Value> = holds.iter().map(|hold| (hold["id"].as_str().unwrap(), hold)).collect();
        for hold in self.holds.iter().filter(|hold| hold.expires_at > after) {
            let told = holds.get(hold.id.as_str()).unwrap_or_else(|| panic!("{hold:?} is lost"));
            assert_eq!((ids(&told["seats"]), instant(&told["expires_at"])), (hold.seats.clone(), hold.expires_at));
        }
        let strange = holds.keys().filter(|id| self.holds.iter().all(|hold| hold.id != **id)).count();
        assert!(strange <= self.late.len(), "{strange} holds that nobody has made: {holds:?}");
    }
}

fn code(answer: &Answer) -> String {
    if answer.status < 400 {
        return String::new();
    }
    answer.json()["code"].as_str().unwrap_or_default().to_owned()
}

fn is_replay(answer: &Answer) -> bool {
    answer.header("idempotent-replayed") == Some("true")
}

#[track_caller]
fn assert_replay(first: &Answer, again: &Answer) {
    assert_eq!((again.status, is_replay(again)), (first.status, true), "{again:?} instead of {first:?}");
    assert_eq!(again.bytes, first.bytes, "{again:?} instead of {first:?}");
}

struct Storm {
    place: Arc<Place>,
    clients: Vec<Client>,
    seconds: u64,
    seed: u64,
}

impl Storm {
    async fn new(app: &TestApp, authorities: Vec<String>) -> Self {
        let clock = || SystemTime::UNIX_EPOCH.elapsed().unwrap().as_nanos() % 1_000_000_000_000;
        let seed = setting("STORM_SEED").unwrap_or_else(|| u64::try_from(clock()).unwrap());
        let seconds = setting("STORM_SECONDS").unwrap_or(SECONDS).clamp(1, SECONDS_MAX);
        let users = app.sign_up_many(CLIENTS).await;
        let (show, seats) = hot_show(app).await;
        let (began, lasts) = (Instant::now(), Duration::from_secs(seconds));
        let place = Arc::new(Place {
            show,
            authorities,
            seats,
            ends: began + lasts,
            ends_at_last: began + PATIENCE * lasts,
            successes_min: (SUCCESSES_MIN * seconds / SECONDS).clamp(1, SUCCESSES_MIN),
            successes: Mutex::default(),
            is_broken: AtomicBool::new(false),
        });
        let mut dice = Dice(seed);
        let clients = users.into_iter().enumerate().map(|(number, user)| Client {
            number,
            user,
            place: place.clone(),
            http: http_client().timeout(SILENCE).build().unwrap(),
            dice: Dice(dice.next()),
            keys: 0,
            holds: Vec::new(),
            bookings: Vec::new(),
            unlearned: VecDeque::new(),
            done: Vec::new(),
            booked: BTreeMap::new(),
            late: BTreeSet::new(),
            late_holds: 0,
            hold_ids: BTreeSet::new(),
            owned: Vec::new(),
            seen_free: Vec::new(),
            counts: BTreeMap::new(),
            log: VecDeque::new(),
        });
        Self { clients: clients.collect(), place, seconds, seed }
    }

    async fn rage(mut self, app: &TestApp, holds_run_out: bool) {
        println!("STORM_SEED={} STORM_SECONDS={}", self.seed, self.seconds);
        let clients = std::mem::take(&mut self.clients).into_iter().map(|client| tokio::spawn(ride_out(client)));
        let clients: Vec<_> = clients.collect();
        // What must be true afterwards must be true at every moment.
        while !self.place.is_over() {
            self.check_store(app).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let mut failure = None;
        for client in clients {
            let (client, outcome) = client.await.unwrap();
            if let Err(panic) = outcome {
                let log = client.log.iter().map(String::as_str).collect::<Vec<_>>().join("\n");
                println!("client {} of the storm with STORM_SEED={} failed:\n{log}", client.number, self.seed);
                failure = Some(panic);
            }
            self.clients.push(client);
        }
        if let Some(panic) = failure {
            std::panic::resume_unwind(panic);
        }
        let taken_over = self.check_owners();
        self.report(taken_over, holds_run_out);
        self.check_all_of_store(app).await;
        self.check_keys(app).await;
        for client in &self.clients {
            for server in 0..self.place.authorities.len() {
                client.check(app, server).await;
            }
        }
        for server in 0..self.place.authorities.len() {
            self.check_map(app, server).await;
        }
    }

    /// Prints what was done, and asserts that everything was done often enough to mean something.
    fn report(&self, taken_over: u64, holds_run_out: bool) {
        let mut all: BTreeMap<&str, Count> = BTreeMap::new();
        for (name, count) in self.clients.iter().flat_map(|client| &client.counts) {
            let sum = all.entry(name).or_default();
            sum.tried += count.tried;
            sum.succeeded += count.succeeded;
            sum.refused += count.refused;
        }
        println!("| action | times | succeeded | refused |");
        for (name, count) in &all {
            println!("| {name} | {} | {} | {} |", count.tried, count.succeeded, count.refused);
        }
        println!("| seats of holds that ran out, had by others | {taken_over} | {taken_over} | |");
        let rare = self.place.rare();
        assert!(rare.is_empty(), "that these succeeded so rarely means nothing: {rare:?}");
        let found = all.get("hang up, found done").copied().unwrap_or_default().succeeded;
        assert!(found > 0, "whoever hung up was never served");
        if holds_run_out {
            assert!(taken_over > 0, "no seat of a hold that ran out was had by another");
        }
    }

    /// Asserts that no seat was two clients' at a time, by what they were told. How many seats were had after a hold had run out.
    fn check_owners(&mut self) -> u64 {
        let far = DateTime::<Utc>::MAX_UTC;
        let mut owned: Vec<Owned> = Vec::new();
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
        // What was over before it was told of proves nothing.
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
    async fn check_store(&self, app: &TestApp) {
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
                format!("SELECT count(*) FROM seat_claims WHERE show_id = {show} AND user_id IS NULL"),
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
    async fn check_all_of_store(&self, app: &TestApp) {
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
    async fn check_keys(&self, app: &TestApp) {
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
    async fn check_map(&self, app: &TestApp, server: usize) {
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
    async fn statuses(&self, app: &TestApp) -> BTreeMap<i64, String> {
        let seating = app.backend.stores().seating.seating(ShowId(self.place.show)).await.unwrap().unwrap();
        let status = |claim: &SeatClaim| (claim.seat_id.0, SeatAvailability::from(claim.status).as_str().to_owned());
        seating.claims.iter().map(status).collect()
    }
}

/// Asserts that nothing of this is in the store.
async fn assert_none(app: &TestApp, broken: &[(&str, String)], seed: u64) {
    for (what, sql) in broken {
        assert_eq!(app.backend.count(sql).await, 0, "{what} (STORM_SEED={seed}): {sql}");
    }
}

/// Lets a client run, and tells the others if it fails.
async fn ride_out(mut client: Client) -> (Client, Result<(), Box<dyn Any + Send>>) {
    let outcome = AssertUnwindSafe(client.run()).catch_unwind().await;
    if outcome.is_err() {
        client.place.is_broken.store(true, Ordering::Relaxed);
    }
    (client, outcome)
}

/// A show in three days, in a hall of a hundred seats: ten rows of ten, an aisle in the middle, three rows premium.
async fn hot_show(app: &TestApp) -> (i64, BTreeMap<i64, Seat>) {
    let seat = |row: char, y: i32, number: i32| SeatSeed {
        row: row.into(),
        number,
        category: if (6..9).contains(&y) { "premium" } else { "standard" }.into(),
        accessible: y == 1 && number <= 2,
        x: number + i32::from(number > 5),
        y,
    };
    let rows = ('A'..='J').zip(1..);
    let seats = rows.flat_map(|(row, y)| (1..=10).map(move |number| seat(row, y, number))).collect();
    let hall = HallSeed { name: "Storm".into(), seats };
    let plan = SeedPlan {
        theatres: vec![theatre("Storm", chrono_tz::Europe::Berlin, vec![hall])],
        shows: vec![show(app.world.base, "storm", STALKER, "Storm", "Storm", 72)],
        ..SeedPlan::default()
    };
    assert_eq!(app.backend.stores().seeder.seed(&plan).await.unwrap().shows, 1);
    let show = show_id(&app.backend, "storm").await;
    let read = |seat: Value| {
        let category = seat["category"].as_str().unwrap().to_owned();
        let price = PRICES.iter().find(|(name, _)| *name == category).unwrap().1;
        (seat["id"].as_i64().unwrap(), Seat { category, accessible: seat["accessible"] == true, price })
    };
    let seats: BTreeMap<_, _> = app.seats(show.0, None).await.into_iter().map(read).collect();
    assert_eq!(seats.len(), 100);
    (show.0, seats)
}
