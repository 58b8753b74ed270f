//! A storm: many clients who hold, book, cancel and change the seats of one show, with and without ticket types, while staff block seats, all at once and at random, break off, and
//! come again. Every answer must be one that the contract allows for what its client knows, and what is left must be whole.
//!
//! `STORM_SEED` draws the same actions again (not the same order among clients: that is the machine's). `STORM_SECONDS` makes
//! it longer or shorter; on a slow machine it goes on until everything has succeeded often enough to mean something.

mod aftermath;
mod client;
mod house;
mod responses;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use chrono::{DateTime, TimeDelta, Utc};
use domain::pricing::TicketTypeCode;
use domain::seating::{CategoryPrice, RowName};
use domain::seed::{HallSeed, SeatSeed, SeedPlan};
use futures::FutureExt as _;
use port_contracts::Fixture as _;
use port_contracts::world::{STALKER, show, show_id, theatre, ticket_type};
use reqwest::Method;
use serde_json::{Value, json};

use self::house::House;
use crate::harness::{Answer, TestApp, User, http_client};

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
/// The prices for children.
const CHILD_PRICES: [(&str, i64); 2] = [("standard", 800), ("premium", 1000)];
/// How long a storm lasts unless `STORM_SECONDS` says otherwise.
const SECONDS: u64 = 20;
/// How long it may last: a case that takes much longer counts as hung.
const SECONDS_MAX: u64 = 40;
/// How many times as long it goes on, on a slow machine, until everything has succeeded often enough.
const PATIENCE: u32 = 3;
/// How often everything must have succeeded in that time.
const SUCCESSES_MIN: u64 = 30;
/// The number of free seats below which clients choose none: nearly every selection would lose.
const FREE_MIN: usize = 30;
/// What must have.
const NEEDED: [&str; 14] = [
    "hold by seats",
    "hold by quantity",
    "extend",
    "release",
    "redeem",
    "book by seats",
    "book with ticket types",
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
/// The number of lines of a client's log that a failure shows.
const LOG_MAX: usize = 60;

/// A live booking, in SQL.
const LIVE: &str = "status IN ('pending_payment', 'confirmed')";

async fn a_storm_leaves_everything_whole(app: &TestApp) {
    Storm::new(app, vec![app.authority.clone()]).await.rage(app, true).await;
}

/// No client waits for holds to expire.
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

    /// Returns `count` of them, in any order.
    fn draw(&mut self, from: &[i64], count: usize) -> Vec<i64> {
        let mut left = from.to_vec();
        (0..count.min(left.len())).map(|_| left.swap_remove(self.below(left.len()))).collect()
    }
}

/// Returns a number from the environment.
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a number, not {text}")))
}

/// A seat of the show.
struct Seat {
    category: String,
    accessible: bool,
    price: i64,
    child_price: i64,
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

    /// Returns the ticket type for which clients book a seat with ticket types.
    fn ticket_type(seat: i64) -> &'static str {
        if seat % 2 == 0 { "child" } else { "adult" }
    }

    /// Returns the price of seats with ticket types.
    fn ticket_price(&self, seats: &[i64]) -> i64 {
        let price = |seat: &i64| match Self::ticket_type(*seat) {
            "child" => self.seats[seat].child_price,
            _ => self.seats[seat].price,
        };
        seats.iter().map(price).sum()
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
    HoldBest {
        quantity: usize,
        category: Option<&'static str>,
        accessible: Option<bool>,
    },
    Extend(String),
    Release(String),
    Redeem(String),
    Book(Vec<i64>),
    /// With the ticket types of [`Place::ticket_type`].
    BookTickets(Vec<i64>),
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
            Self::BookTickets(_) => "book with ticket types",
            Self::Cancel(_) => "cancel",
            Self::Change(..) => "change seats",
        }
    }

    /// Returns the call, and the status of its success.
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
            Self::BookTickets(seats) => {
                let ticket = |seat: &i64| json!({ "seat_id": seat, "ticket_type": Place::ticket_type(*seat) });
                let seats: Vec<_> = seats.iter().map(ticket).collect();
                (Method::POST, "/api/bookings".to_owned(), Some(json!({ "show_id": show, "seats": seats })), 201)
            }
            Self::Cancel(booking) => (Method::POST, format!("/api/bookings/{booking}/cancel"), None, 200),
            Self::Change(booking, seats) => {
                (Method::POST, format!("/api/bookings/{booking}/seats"), Some(json!({ "seat_ids": seats })), 200)
            }
        }
    }

    /// Returns how many seats it is about to hold.
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
    /// Whether it has ticket types. A change keeps those of the seats that it replaces.
    has_tickets: bool,
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
    /// The ids of all holds from answers.
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
    /// `None` while it runs.
    house: Option<House>,
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
        let house = Some(House::new(app, &place, dice.next()).await);
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
        Self { clients: clients.collect(), house, place, seconds, seed }
    }

    async fn rage(mut self, app: &TestApp, holds_run_out: bool) {
        println!("STORM_SEED={} STORM_SECONDS={}", self.seed, self.seconds);
        let clients = std::mem::take(&mut self.clients).into_iter().map(|client| tokio::spawn(ride_out(client)));
        let clients: Vec<_> = clients.collect();
        let house = tokio::spawn(self.house.take().unwrap().run());
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
        let (house, blocked) = house.await.unwrap();
        let taken_over = self.check_owners(blocked);
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
        house.cancel(app).await;
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
}

/// Asserts that nothing of this is in the store.
async fn assert_none(app: &TestApp, broken: &[(&str, String)], seed: u64) {
    for (what, sql) in broken {
        assert_eq!(app.backend.count(sql).await, 0, "{what} (STORM_SEED={seed}): {sql}");
    }
}

/// Runs a client, and stops the others if it fails.
async fn ride_out(mut client: Client) -> (Client, Result<(), Box<dyn Any + Send>>) {
    let outcome = AssertUnwindSafe(client.run()).catch_unwind().await;
    if outcome.is_err() {
        client.place.is_broken.store(true, Ordering::Relaxed);
    }
    (client, outcome)
}

/// Returns a show in three days, in a hall of a hundred seats: ten rows of ten, an aisle in the middle, three rows premium.
async fn hot_show(app: &TestApp) -> (i64, BTreeMap<i64, Seat>) {
    let seat = |row: u16, y: i32, number: i32| SeatSeed {
        row: RowName::letters(row),
        number,
        category: if (6..9).contains(&y) { "premium" } else { "standard" }.into(),
        accessible: y == 1 && number <= 2,
        x: number + i32::from(number > 5),
        y,
        section: String::new(),
        pair: None,
    };
    let rows = (0..10).zip(1..);
    let seats = rows.flat_map(|(row, y)| (1..=10).map(move |number| seat(row, y, number))).collect();
    let hall = HallSeed { name: "Storm".into(), seats, sections: Vec::new() };
    let mut hot = show(app.world.base, "storm", STALKER, "Storm", "Storm", 72);
    let child = TicketTypeCode::parse("child").unwrap();
    let child =
        |(category, minor): (&str, i64)| CategoryPrice { category: category.into(), ticket_type: child.clone(), minor };
    hot.prices.extend(CHILD_PRICES.map(child));
    let plan = SeedPlan {
        ticket_types: vec![ticket_type("child", 10)],
        theatres: vec![theatre("Storm", chrono_tz::Europe::Berlin, vec![hall])],
        shows: vec![hot],
        ..SeedPlan::default()
    };
    assert_eq!(app.backend.stores().seeder.seed(&plan).await.unwrap().shows, 1);
    let show = show_id(&app.backend, "storm").await;
    let read = |seat: Value| {
        let category = seat["category"].as_str().unwrap().to_owned();
        let of = |prices: &[(&str, i64)]| prices.iter().find(|(name, _)| *name == category).unwrap().1;
        let (price, child_price) = (of(&PRICES), of(&CHILD_PRICES));
        let accessible = seat["accessible"] == true;
        (seat["id"].as_i64().unwrap(), Seat { category, accessible, price, child_price })
    };
    let seats: BTreeMap<_, _> = app.seats(show.0, None).await.into_iter().map(read).collect();
    assert_eq!(seats.len(), 100);
    (show.0, seats)
}
