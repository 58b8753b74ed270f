//! A small world to sell in: two movies, two theatres in different time zones, halls with aisles, six shows.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use domain::admin::ChangeOrigin;
use domain::booking::HoldId;
use domain::identity::{Bearer, Caller, Email, Name, NewRefreshToken, NewUser, PasswordHash, RefreshTokenHash, Role};
use domain::ids::{LayoutId, SeatId, ShowId};
use domain::money::{Currency, TaxRate};
use domain::pricing::{TicketType, TicketTypeCode, TicketTypeNames};
use domain::seating::{CategoryPrice, LayoutPlan, PlannedLayout, RowName, Seat};
use domain::seed::{HallSeed, MovieSeed, SeatSeed, SeedPlan, ShowSeed, TheatreSeed};

use crate::Fixture;

/// The movie of `started`, `soon` and `later`.
pub const STALKER: &str = "Сталкер";
/// The movie of `beside`, `tomorrow` and `yesterday`.
pub const AMELIE: &str = "Amélie";
/// The theatre in Berlin, with the halls `Main` and `Small`.
pub const ALPHA: &str = "Alpha";
/// The theatre in Tokyo, with the hall `Main`.
pub const BETA: &str = "Beta";
/// The rows of a `Main` hall, of ten seats each, with an aisle in the middle. `Z` and `AA` are premium.
pub const ROWS: [&str; 6] = ["A", "B", "C", "D", "Z", "AA"];
/// The number of seats of a row of a `Main` hall.
pub const ROW: usize = 10;

/// The ids of the rows of the world.
#[derive(Clone, Debug)]
pub struct World {
    /// The time at which the world was created, in whole seconds.
    pub base: DateTime<Utc>,
    /// In Alpha's Main hall: began an hour ago and ends in an hour.
    pub started: ShowId,
    /// In Alpha's Main hall, begins in three hours.
    pub soon: ShowId,
    /// In Alpha's Small hall, begins at the same time as `soon`.
    pub beside: ShowId,
    /// In Alpha's Small hall, begins in fifty hours.
    pub tomorrow: ShowId,
    /// In Beta's Main hall, begins in a hundred hours.
    pub later: ShowId,
    /// In Beta's Main hall, began thirty hours ago.
    pub yesterday: ShowId,
    /// The seats of Alpha's Main hall, row by row.
    pub main: Vec<Seat>,
    /// The seats of Alpha's Small hall.
    pub small: Vec<Seat>,
    /// The seats of Beta's Main hall.
    pub beta: Vec<Seat>,
}

impl World {
    /// Fills an empty store with [`plan`] and reads the ids.
    pub async fn build(fixture: &dyn Fixture) -> Self {
        let base = now();
        fixture.stores().seeder.seed(&plan(base)).await.unwrap();
        let show = async |format| show_id(fixture, format).await;
        let soon = show("soon").await;
        let beside = show("beside").await;
        let later = show("later").await;
        Self {
            base,
            started: show("started").await,
            soon,
            beside,
            tomorrow: show("tomorrow").await,
            later,
            yesterday: show("yesterday").await,
            main: seats_of(fixture, soon).await,
            small: seats_of(fixture, beside).await,
            beta: seats_of(fixture, later).await,
        }
    }

    /// Returns the seats of one row of Alpha's Main hall.
    pub fn row(&self, row: usize) -> Vec<SeatId> {
        ids(&self.main[row * ROW..(row + 1) * ROW])
    }
}

/// Returns the current time in whole seconds, a precision that every store keeps.
pub fn now() -> DateTime<Utc> {
    DateTime::<Utc>::from(SystemTime::now()).trunc_subsecs(0)
}

/// Returns the ids of the seats.
pub fn ids(seats: &[Seat]) -> Vec<SeatId> {
    seats.iter().map(|seat| seat.id).collect()
}

/// Returns the id of the show with this format: in this world each show has its own format.
pub async fn show_id(fixture: &dyn Fixture, format: &str) -> ShowId {
    ShowId(fixture.count(&format!("SELECT id FROM shows WHERE format = '{format}'")).await)
}

/// Returns the layout of a show.
pub async fn layout_id(fixture: &dyn Fixture, show: ShowId) -> LayoutId {
    LayoutId(fixture.count(&format!("SELECT layout_id FROM shows WHERE id = {show}")).await)
}

async fn seats_of(fixture: &dyn Fixture, show: ShowId) -> Vec<Seat> {
    let layout = fixture.stores().layouts.layout(layout_id(fixture, show).await).await.unwrap().unwrap();
    layout.seats().to_vec()
}

/// Returns the origin of a change on the command line.
pub fn on_command_line() -> ChangeOrigin {
    ChangeOrigin::command_line("run-1")
}

/// A password hash in the format that stores receive.
pub fn password_hash(text: &str) -> PasswordHash {
    PasswordHash(format!("$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ${text}"))
}

/// A user to be created, with this address.
pub fn new_user(email: &str) -> NewUser {
    NewUser {
        name: Name::parse("Ana Núñez").unwrap(),
        email: Email::parse(email).unwrap(),
        password_hash: password_hash("first"),
        role: Role::Customer,
    }
}

/// Signs up a new customer.
pub async fn customer(fixture: &dyn Fixture) -> Caller {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let email = format!("customer{}@example.org", NEXT.fetch_add(1, Ordering::Relaxed));
    fixture.stores().users.create(&new_user(&email), None).await.unwrap().user.caller()
}

/// Signs up `count` new customers.
pub async fn customers(fixture: &dyn Fixture, count: usize) -> Vec<Caller> {
    let mut callers = Vec::new();
    for _ in 0..count {
        callers.push(customer(fixture).await);
    }
    callers
}

/// The refresh token with this number, valid for an hour.
pub fn token(number: u8) -> NewRefreshToken {
    NewRefreshToken { hash: RefreshTokenHash([number; 32]), ttl: Duration::from_secs(3_600) }
}

/// Opens a session of the caller, with the refresh token of this number.
pub async fn in_session(fixture: &dyn Fixture, caller: Caller, number: u8) -> Bearer {
    let user = fixture.stores().users.by_id(caller.user_id).await.unwrap().unwrap();
    let session_id = fixture.stores().sessions.open(&user, &token(number)).await.unwrap();
    assert!(session_id.is_some(), "no session was opened");
    Bearer { caller, session_id }
}

/// Returns a valid hold id of the show, derived from `name`.
pub fn hold_id(show: ShowId, name: &str) -> HoldId {
    let drawn = name.to_uppercase().replace(['I', 'L', 'O', 'U', ' ', '-'], "0");
    HoldId::parse(&format!("{show}-{drawn:0>26}")).unwrap()
}

/// Stores a hold of one seat for a user, which ends `seconds` from now.
pub async fn hold(fixture: &dyn Fixture, show: ShowId, seat: SeatId, user: Caller, name: &str, seconds: i64) {
    let hold = hold_id(show, name);
    let hold_id = hold.as_str();
    let (layout, user) = (layout_id(fixture, show).await, user.user_id);
    let (made, ends) = (fixture.instant(seconds - 600), fixture.instant(seconds));
    let holds = "INSERT INTO holds (id, user_id, show_id, created_at, expires_at) VALUES";
    fixture.execute(&format!("{holds} ('{hold_id}', {user}, {show}, {made}, {ends})")).await;
    let seats = "INSERT INTO hold_seats (hold_id, seat_id, position, category, price_minor)";
    fixture.execute(&format!("{seats} SELECT '{hold_id}', id, 0, category, 1250 FROM seats WHERE id = {seat}")).await;
    let claims = "INSERT INTO seat_claims (show_id, seat_id, layout_id, status, user_id, hold_id, expires_at) VALUES";
    fixture.execute(&format!("{claims} ({show}, {seat}, {layout}, 'held', {user}, '{hold_id}', {ends})")).await;
}

/// Returns a ticket type with a name in English and in German.
pub fn ticket_type(code: &str, position: i32) -> TicketType {
    let names = [("en", format!("English {code}")), ("de", format!("German {code}"))];
    TicketType {
        id: None,
        code: TicketTypeCode::parse(code).unwrap(),
        names: TicketTypeNames::parse(names.map(|(tag, name)| (tag.to_owned(), name))).unwrap(),
        needs_proof: position % 2 == 1,
        position,
    }
}

/// Adds the ticket type `code` if it is missing, and a price for it to a show.
pub async fn sell_to(fixture: &dyn Fixture, show: ShowId, category: &str, code: &str, minor: i64) {
    let plan = SeedPlan { ticket_types: vec![ticket_type(code, 1)], ..SeedPlan::default() };
    fixture.stores().seeder.seed(&plan).await.unwrap();
    let prices = "INSERT INTO show_prices (show_id, category, ticket_type, price_minor) VALUES";
    fixture.execute(&format!("{prices} ({show}, '{category}', '{code}', {minor})")).await;
}

/// Blocks a seat for the house.
pub async fn block(fixture: &dyn Fixture, show: ShowId, seat: SeatId) {
    let layout = layout_id(fixture, show).await;
    let claims = "INSERT INTO seat_claims (show_id, seat_id, layout_id, status) VALUES";
    fixture.execute(&format!("{claims} ({show}, {seat}, {layout}, 'blocked')")).await;
}

/// Cancels a show.
pub async fn cancel_show(fixture: &dyn Fixture, show: ShowId) {
    fixture.execute(&format!("UPDATE shows SET status = 'cancelled' WHERE id = {show}")).await;
}

/// The seed plan of [`World::build`].
pub fn plan(base: DateTime<Utc>) -> SeedPlan {
    SeedPlan {
        users: Vec::new(),
        ticket_types: Vec::new(),
        movies: vec![
            movie(STALKER, "Писатель идёт в Зону.", &["Drama", "Sci-Fi"], "Russian"),
            movie(AMELIE, "A waitress in Paris.", &["Comedy", "Romance"], "French"),
        ],
        theatres: vec![
            theatre(BETA, chrono_tz::Asia::Tokyo, vec![main_hall()]),
            theatre(ALPHA, chrono_tz::Europe::Berlin, vec![small_hall("Small"), main_hall()]),
        ],
        shows: vec![
            show(base, "tomorrow", AMELIE, ALPHA, "Small", 50),
            show(base, "started", STALKER, ALPHA, "Main", -1),
            show(base, "soon", STALKER, ALPHA, "Main", 3),
            show(base, "beside", AMELIE, ALPHA, "Small", 3),
            show(base, "later", STALKER, BETA, "Main", 100),
            show(base, "yesterday", AMELIE, BETA, "Main", -30),
        ],
    }
}

/// Returns a movie.
pub fn movie(title: &str, description: &str, genres: &[&str], language: &str) -> MovieSeed {
    MovieSeed {
        title: title.into(),
        description: description.into(),
        duration_minutes: 122,
        genres: genres.iter().copied().map(String::from).collect(),
        language: language.into(),
        certificate: "PG-13".into(),
        release_date: "2001-04-25".parse().unwrap(),
    }
}

/// Returns a theatre.
pub fn theatre(name: &str, timezone: chrono_tz::Tz, halls: Vec<HallSeed>) -> TheatreSeed {
    TheatreSeed {
        name: name.into(),
        location: format!("Main street of {name}"),
        timezone,
        currency: Currency::parse("EUR").unwrap(),
        tax_rate: TaxRate::parse("7.00").unwrap(),
        cleaning_minutes: 15,
        halls,
    }
}

fn seat(row: &str, number: i32, y: i32, category: &str) -> SeatSeed {
    let aisle = i32::from(number > 5);
    let accessible = row == "A" && number == 1;
    SeatSeed {
        row: RowName::parse(row).unwrap(),
        number,
        category: category.into(),
        accessible,
        x: number + aisle,
        y,
        section: String::new(),
        pair: None,
    }
}

/// A hall of six rows of ten seats, listed in reverse order.
pub fn main_hall() -> HallSeed {
    let mut seats = Vec::new();
    let mut rows: Vec<_> = ROWS.into_iter().zip(1..).collect();
    rows.reverse();
    for (row, y) in rows {
        let category = if row.starts_with('Z') || row.len() > 1 { "premium" } else { "standard" };
        seats.extend((1..=10).rev().map(|number| seat(row, number, y, category)));
    }
    HallSeed { name: "Main".into(), seats, sections: Vec::new() }
}

/// A hall with one row of five seats.
pub fn small_hall(name: &str) -> HallSeed {
    let seats = (1..=5).map(|number| seat("A", number, 1, "standard")).collect();
    HallSeed { name: name.into(), seats, sections: Vec::new() }
}

/// A hall with numbered and named rows, numbers from the right, love seats, and sections with and without a focal point.
pub fn real_hall() -> HallSeed {
    let text = "category s = standard\ncategory p = premium\nlove l = premium\nfocus 4,2\n\
        10 [from right] | sS_spp\n2 | ssssss\nAA [numbers 1-3 14] | llss\nsection Balcony\nfocus 3,9\n\
        Loge 10 | ll_ll\nLoge 2 | Ll\nsection Gallery\nЛожа 1 [depth 20] | s\n";
    let PlannedLayout { seats, sections } = LayoutPlan::Text(text.into()).seats().unwrap();
    HallSeed { name: "Real".into(), seats, sections }
}

/// A show that begins `hours` after `base`, takes two hours, and is followed by half an hour of cleaning. Beta charges yen, Alpha euros.
pub fn show(base: DateTime<Utc>, format: &str, movie: &str, theatre: &str, hall: &str, hours: i64) -> ShowSeed {
    let start_time = base + TimeDelta::hours(hours);
    let (currency, standard, premium) = if theatre == BETA { ("JPY", 1900, 2600) } else { ("EUR", 1250, 1600) };
    let price = |category: &str, minor| CategoryPrice::adult(category, minor);
    ShowSeed {
        movie_title: movie.into(),
        theatre_name: theatre.into(),
        hall_name: hall.into(),
        start_time,
        end_time: start_time + TimeDelta::hours(2),
        hall_free_at: start_time + TimeDelta::minutes(150),
        format: format.into(),
        language: "Japanese (English subtitles)".into(),
        currency: Currency::parse(currency).unwrap(),
        prices: vec![price("premium", premium), price("standard", standard)],
    }
}
