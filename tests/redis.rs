//! A server with Redis in every state: Redis makes the server faster, and never changes an answer.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use adapters_redis::testing::{Fault, FaultyProxy, TestRedis};
use api_actix::settings;
use api_actix::wiring::server::start;
use api_actix::wiring::stores::Purpose;
use domain::seed::SeedPlan;
use futures::FutureExt as _;
use futures::future::join_all;
use port_contracts::Fixture as _;
use port_contracts::world::{ALPHA, STALKER, show};
use serde_json::{Value, json};

use crate::harness::{self, Answer, Call, JWT_SECRET, PASSWORD, StoreKind, TestApp, User};

/// The number of concurrent clients of a storm.
const CLIENTS: usize = 16;
/// The number of shows of sixty seats in which they book.
const SHOWS: i64 = 60;
/// The duration of each phase of a storm, from the moment Redis is in the state of the phase.
const PHASE: Duration = Duration::from_millis(2_500);
/// The longest time a booking may take, whatever the state of Redis. The stalls of the machine itself are added.
const BOOKING_MAX: Duration = Duration::from_secs(1);
/// The longest time a test waits for anything else.
const PATIENCE: Duration = Duration::from_secs(30);

/// Creates `sqlite::case` and `postgres::case` for each `async fn case(app: &TestApp, redis: &mut Beside)`.
macro_rules! with_redis {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            with_redis!(@tests Sqlite $($case)*);
        }
        mod postgres {
            with_redis!(@tests Postgres $($case)*);
        }
    };
    (@tests $store:ident $($case:ident)*) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $case() {
            super::run(crate::harness::StoreKind::$store, super::$case).await;
        }
    )*};
}

with_redis!(
    storm_is_answered_correctly_and_in_time_in_every_state_of_redis,
    failed_logins_are_limited_without_redis_too,
    a_server_without_its_redis_is_degraded_and_serves,
);

/// A Redis server and the proxy in front of it.
struct Beside {
    redis: TestRedis,
    proxy: FaultyProxy,
}

async fn run(kind: StoreKind, case: impl AsyncFnOnce(&TestApp, &mut Beside)) {
    let redis = TestRedis::start().await.unwrap();
    let proxy = FaultyProxy::start(redis.port()).await.unwrap();
    let url = proxy.url();
    let settings = [
        ("REDIS_URL", url.as_str()),
        ("RATE_LIMIT", "on"),
        ("RATE_LIMIT_PER_MINUTE", "100000"),
        ("RATE_LIMIT_AUTH_FAILURES_PER_MINUTE", "3"),
        ("TRUSTED_PROXIES", "127.0.0.1"),
    ];
    let mut beside = Beside { redis, proxy };
    harness::run(kind, &settings, async |app| {
        until_ready(app, "ok").await;
        case(app, &mut beside).await;
    })
    .await;
}

/// Waits until `/readyz` reports this status. The status code is 200 all the time.
async fn until_ready(app: &TestApp, status: &str) -> Answer {
    let began = Instant::now();
    loop {
        let answer = app.get("/readyz").send().await.ok(200);
        if answer.json()["status"] == status {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "never {status}: {answer:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn a_server_without_its_redis_is_degraded_and_serves(app: &TestApp, beside: &mut Beside) {
    let user = app.sign_up().await;
    let body = |at: usize| json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 });
    let first = app.book(&user, "k", &body(0)).await.ok(201);
    for round in 1..3 {
        beside.redis.stop().await;
        let degraded = until_ready(app, "degraded").await.json();
        assert_eq!(degraded["dependencies"]["redis"], "unavailable");
        assert_eq!(degraded["dependencies"].as_object().unwrap().len(), 2);
        assert!(degraded["dependencies"].as_object().unwrap().values().any(|status| status == "ok"), "{degraded}");
        let again = app.book(&user, "k", &body(0)).await.ok(201);
        assert_eq!(
            (again.bytes, again.headers["idempotent-replayed"].to_str().unwrap()),
            (first.bytes.clone(), "true")
        );
        app.book(&user, &format!("k{round}"), &body(round)).await.ok(201);
        app.login(&user.email, PASSWORD).await.ok(200);
        beside.redis.start_again().await.unwrap();
        assert_eq!(until_ready(app, "ok").await.json()["dependencies"]["redis"], "ok");
    }
}

async fn failed_logins_are_limited_without_redis_too(app: &TestApp, beside: &mut Beside) {
    let users = app.sign_up_many(3).await;
    let use_up = async |user: &User| {
        for _ in 0..3 {
            app.login(&user.email, "wrong password").await.problem(401, "invalid_credentials");
        }
        app.login(&user.email, PASSWORD).await.problem(429, "rate_limited");
    };
    use_up(&users[0]).await;
    beside.redis.stop().await;
    // The failures counted before still count.
    app.login(&users[0].email, PASSWORD).await.problem(429, "rate_limited");
    use_up(&users[1]).await;
    beside.redis.start_again().await.unwrap();
    until_ready(app, "ok").await;
    app.login(&users[0].email, PASSWORD).await.problem(429, "rate_limited");
    app.login(&users[1].email, PASSWORD).await.problem(429, "rate_limited");
    beside.proxy.set(Fault::Late(Duration::from_secs(5)));
    use_up(&users[2]).await;
}

/// A booking that was acknowledged.
struct Made {
    key: String,
    body: Value,
    answer: Vec<u8>,
}

/// A client that sends one booking request after the other.
struct Client<'a> {
    app: &'a TestApp,
    user: User,
    number: usize,
    made: Vec<Made>,
}

/// The observations of a phase of a storm.
#[derive(Default)]
struct Seen {
    took: Mutex<Vec<Duration>>,
    is_over: AtomicBool,
}

/// Measures stalls of the machine, of its processor and its disk, which other tests use too.
struct Stalls {
    longest_micros: Arc<AtomicU64>,
    is_over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Stalls {
    fn measure() -> Self {
        let (longest_micros, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (longest, over) = (longest_micros.clone(), is_over.clone());
        let thread = std::thread::spawn(move || {
            let pause = Duration::from_millis(10);
            let mut file = tempfile::tempfile().unwrap();
            while !over.load(Ordering::Relaxed) {
                let began = Instant::now();
                std::thread::sleep(pause);
                file.write_all(b"x").unwrap();
                file.sync_all().unwrap();
                let stall = began.elapsed().saturating_sub(pause);
                longest.fetch_max(u64::try_from(stall.as_micros()).unwrap(), Ordering::Relaxed);
            }
        });
        Self { longest_micros, is_over, thread: Some(thread) }
    }

    /// Returns the longest stall since the last call.
    fn longest(&self) -> Duration {
        Duration::from_micros(self.longest_micros.swap(0, Ordering::Relaxed))
    }
}

impl Drop for Stalls {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::Relaxed);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// The seats that are not booked yet.
struct Places {
    shows: Vec<i64>,
    seats: Vec<i64>,
    next: AtomicUsize,
}

impl Places {
    async fn make(app: &TestApp) -> Self {
        let stores = app.backend.stores();
        let format = |number: i64| format!("storm-{number}");
        let shows =
            (0..SHOWS).map(|number| show(app.world.base, &format(number), STALKER, ALPHA, "Main", 200 + 3 * number));
        let plan = SeedPlan { shows: shows.collect(), ..SeedPlan::default() };
        assert_eq!(stores.seeder.seed(&plan).await.unwrap().shows, usize::try_from(SHOWS).unwrap());
        let mut shows = Vec::new();
        for number in 0..SHOWS {
            let id = format!("SELECT id FROM shows WHERE format = '{}'", format(number));
            shows.push(app.backend.count(&id).await);
        }
        let seats = app.world.main.iter().map(|seat| seat.id.0).collect();
        Self { shows, seats, next: AtomicUsize::new(0) }
    }

    /// Takes a free seat, as the body of a request. Returns `None` if all are booked.
    fn draw(&self) -> Option<Value> {
        let at = self.next.fetch_add(1, Ordering::Relaxed);
        let (show, seat) = (self.shows.get(at % self.shows.len())?, self.seats.get(at / self.shows.len())?);
        Some(json!({ "show_id": show, "seat_id": seat }))
    }
}

impl Client<'_> {
    /// Books until the phase ends: new seats, repeated requests, taken seats and reused keys. Checks every answer.
    async fn book(&mut self, places: &Places, seen: &Seen) {
        let mut round = 0;
        while !seen.is_over.load(Ordering::Relaxed) {
            round += 1;
            if let Some(body) = places.draw() {
                let key = format!("client-{}-{}", self.number, self.made.len());
                let first = self.send(seen, &key, &body).await.ok(201);
                assert_eq!(first.header("idempotent-replayed"), None, "{first:?}");
                self.made.push(Made { key, body, answer: first.bytes });
                for _ in 0..3 {
                    self.again(seen, self.made.len() - 1).await;
                }
            }
            // In about half the cases, a booking of an earlier phase.
            let at = (round * 7_919) % self.made.len();
            self.again(seen, at).await;
            let made = &self.made[at];
            let rival = format!("rival-{}", made.key);
            self.send(seen, &rival, &made.body).await.problem(409, "seat_unavailable");
            let mut other = made.body.clone();
            other["seat_ids"] = json!([other["seat_id"].take()]);
            other.as_object_mut().unwrap().remove("seat_id");
            self.send(seen, &made.key, &other).await.problem(422, "idempotency_key_reused");
        }
    }

    /// Retries a request: the answer is the same, byte for byte.
    async fn again(&self, seen: &Seen, at: usize) {
        let made = &self.made[at];
        let again = self.send(seen, &made.key, &made.body).await.ok(201);
        assert_eq!(again.header("idempotent-replayed"), Some("true"), "{again:?}");
        assert_eq!(again.bytes, made.answer, "{again:?}");
    }

    async fn send(&self, seen: &Seen, key: &str, body: &Value) -> Answer {
        let began = Instant::now();
        let answer = self.app.book(&self.user, key, body).await;
        seen.took.lock().unwrap().push(began.elapsed());
        answer
    }
}

/// Returns the counters of Redis: commands that read an answer, and keys that were not found. `None` if it does not respond.
async fn reads(redis: &TestRedis) -> Option<(u64, u64)> {
    let info: String = redis.command("INFO", &[b"everything"]).await.ok()?;
    let number = |name: &str| {
        let (_, rest) = info.split_once(name)?;
        rest.split(|character: char| !character.is_ascii_digit()).next()?.parse().ok()
    };
    Some((number("cmdstat_getrange:calls=").unwrap_or(0), number("keyspace_misses:")?))
}

/// Overwrites every key: answers by other answers, by ones with a flipped bit, by made-up ones and by other types; counters by millions.
const FORGE: &str = r#"
local keys, forged, last = redis.call('KEYS', '*'), 0, false
for at, key in ipairs(keys) do
  local kind = redis.call('TYPE', key).ok
  if kind == 'hash' then
    local count = '9007199254740991 5000000 9007199254740991 ' .. string.rep('0', 64)
    for _, server in ipairs(redis.call('HKEYS', key)) do redis.call('HSET', key, server, count) end
    redis.call('HSET', key, string.rep('f', 32), count)
  elseif kind == 'string' then
    local value = redis.call('GET', key)
    if at % 4 == 0 and last then redis.call('SET', key, last)
    elseif at % 4 == 1 then
      local place = 1 + at % #value
      local flipped = string.char((string.byte(value, place) + 128) % 256)
      redis.call('SET', key, string.sub(value, 1, place - 1) .. flipped .. string.sub(value, place + 1))
    elseif at % 4 == 2 then
      redis.call('SET', key, string.sub(value, 1, 49) .. ARGV[1] .. string.sub(value, -32))
    else
      redis.call('DEL', key)
      redis.call('HSET', key, 'message', ARGV[1])
    end
    last = value
  end
  forged = forged + 1
end
return forged
"#;

/// Overwrites entries during the phase, and until [`FORGED_MIN`] have been overwritten.
async fn forge(redis: &TestRedis) {
    let made_up =
        r#"{"message":"Booking successful!","booking":{"id":1,"reference":"0000000000","status":"confirmed"}}"#;
    let (mut forged, began) = (0, Instant::now());
    while began.elapsed() < PHASE || forged < FORGED_MIN {
        assert!(began.elapsed() < PATIENCE, "{forged} forged entries are not many");
        let arguments = [FORGE.as_bytes(), b"0", made_up.as_bytes()];
        forged += redis.command::<usize>("EVAL", &arguments).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// The least number of entries to overwrite.
const FORGED_MIN: usize = 1_000;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Well,
    Stopped,
    Empty,
    Frozen,
    Errors,
    Forged,
}

/// Brings Redis into a state and keeps it there for the duration of the phase. Returns how many answers were found in it.
async fn enter(app: &TestApp, beside: &mut Beside, phase: Phase, before: Option<(u64, u64)>) -> Option<u64> {
    match phase {
        Phase::Well => beside.proxy.set(Fault::None),
        Phase::Stopped => beside.redis.stop().await,
        Phase::Empty => beside.redis.start_again().await.unwrap(),
        Phase::Frozen => beside.proxy.set(Fault::Late(Duration::from_secs(5))),
        Phase::Errors => beside.proxy.set(Fault::Answer(b"-ERR not today\r\n".to_vec())),
        Phase::Forged => {
            beside.proxy.set(Fault::None);
            forge(&beside.redis).await;
            return found(before, reads(&beside.redis).await);
        }
    }
    let is_used = matches!(phase, Phase::Well | Phase::Empty);
    if is_used {
        until_ready(app, "ok").await;
    }
    let began = Instant::now();
    loop {
        tokio::time::sleep(PHASE).await;
        let found = found(before, reads(&beside.redis).await);
        if !is_used || found > Some(0) {
            return found;
        }
        assert!(began.elapsed() < PATIENCE, "{phase:?}: Redis is never used");
    }
}

async fn storm_is_answered_correctly_and_in_time_in_every_state_of_redis(app: &TestApp, beside: &mut Beside) {
    let places = Places::make(app).await;
    let users = app.sign_up_many(CLIENTS).await;
    let client = |(number, user)| Client { app, user, number, made: Vec::new() };
    let mut clients: Vec<_> = users.into_iter().enumerate().map(client).collect();
    let stalls = Stalls::measure();
    println!("| Redis | requests | p50 ms | p99 ms | slowest ms | answers found in Redis |");
    for phase in [Phase::Well, Phase::Stopped, Phase::Empty, Phase::Frozen, Phase::Errors, Phase::Forged, Phase::Well] {
        let before = reads(&beside.redis).await;
        let seen = Seen::default();
        let storm = join_all(clients.iter_mut().map(|client| client.book(&places, &seen)));
        let change = async {
            // The state changes while the clients book.
            let found = AssertUnwindSafe(enter(app, beside, phase, before)).catch_unwind().await;
            seen.is_over.store(true, Ordering::Relaxed);
            found.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        let (_, found) = futures::join!(storm, change);
        let (slowest, stall) = (report(phase, &seen, found), stalls.longest());
        assert!(slowest < BOOKING_MAX + stall, "{phase:?}: {slowest:?}, while the machine stood still for {stall:?}");
    }
    until_ready(app, "ok").await;
    let made: usize = clients.iter().map(|client| client.made.len()).sum();
    let made = i64::try_from(made).unwrap();
    for table in ["bookings", "booking_seats", "seat_claims", "idempotency_keys", "outbox"] {
        assert_eq!(app.rows(table).await, made, "{table}");
    }
}

/// Returns a lower bound of the reads that found an answer: all reads minus the keys that were not found.
fn found(before: Option<(u64, u64)>, after: Option<(u64, u64)>) -> Option<u64> {
    let (reads, misses) = after?;
    // A restarted Redis counts from zero.
    let (reads_before, misses_before) = before.filter(|before| before.0 <= reads).unwrap_or_default();
    Some((reads - reads_before).saturating_sub(misses.saturating_sub(misses_before)))
}

/// Prints the observations of a phase, and returns the duration of its slowest booking.
fn report(phase: Phase, seen: &Seen, found: Option<u64>) -> Duration {
    let mut took = std::mem::take(&mut *seen.took.lock().unwrap());
    took.sort_unstable();
    let at = |hundredths: usize| took[(took.len() - 1) * hundredths / 100].as_secs_f64() * 1_000.0;
    let found = found.map_or_else(|| "none".to_owned(), |found| found.to_string());
    println!("| {phase:?} | {} | {:.1} | {:.1} | {:.1} | {found} |", took.len(), at(50), at(99), at(100));
    took[took.len() - 1]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_servers_share_limits_and_answers() {
    run(StoreKind::Postgres, async |app, beside| {
        let values = BTreeMap::from([
            ("PORT", "0".to_owned()),
            ("JWT_SECRET", JWT_SECRET.to_owned()),
            ("DATABASE_URL", app.backend.database().url.clone()),
            ("REDIS_URL", beside.proxy.url()),
            ("RATE_LIMIT_AUTH_FAILURES_PER_MINUTE", "3".to_owned()),
            ("TRUSTED_PROXIES", "127.0.0.1".to_owned()),
        ]);
        let config = settings::check(values).unwrap();
        let other = start(&config, Purpose::Serve).await.unwrap();
        let authority = other.address.to_string();
        // On a machine that is busy with other tests Redis may be too slow now and then. Some rounds must show that limits and answers
        // are shared, and no round may show the contrary.
        let (mut limits, mut answers) = (0, 0);
        for round in 0..10 {
            let email = format!("nobody{round}@example.org");
            let body = json!({ "email": email, "password": "wrong password" });
            // Each round uses its own address, because addresses have a limit over all accounts.
            let address = format!("192.0.2.{round}");
            let login = |call: Call| call.header("x-forwarded-for", &address).json(&body).send();
            let here = async || login(app.post("/api/auth/login")).await.status;
            let there = async || login(app.post_at(&authority, "/api/auth/login")).await.status;
            let statuses = [here().await, there().await, here().await, there().await, here().await];
            assert_eq!(statuses[..3], [401, 401, 401]);
            limits += u32::from(statuses[3..] == [429, 429]);

            let user = app.sign_up().await;
            let body = json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[round].id.0 });
            let first = app.book(&user, "k", &body).await.ok(201);
            let before = reads(&beside.redis).await;
            let again = app.post_at(&authority, "/api/bookings").by(&user).key("k").json(&body).send().await.ok(201);
            assert_eq!(again.bytes, first.bytes);
            assert_eq!(again.header("idempotent-replayed"), Some("true"));
            answers += found(before, reads(&beside.redis).await).unwrap();
        }
        other.stop().await.unwrap();
        assert!(limits > 0, "no limit was shared");
        assert!(answers > 0, "no answer was shared");
    })
    .await;
}
