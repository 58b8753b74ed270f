//! Fills a new store through the server's ports.

use adapters_auth::{RandomRefreshTokens, SystemClock};
use api_actix::settings;
use api_actix::wiring::stores::{OpenStore, Purpose};
use chrono::{DateTime, Duration, NaiveDate, SubsecRound as _, Utc};
use chrono_tz::Tz;
use domain::StoreError;
use domain::clock::Clock as _;
use domain::error::with_sources;
use domain::identity::{Email, Name, NewRefreshToken, NewUser, PasswordHash, RefreshTokens as _, Role};
use domain::ids::{SessionId, UserId};
use domain::money::{Currency, TaxRate};
use domain::seating::{CategoryPrice, RowName};
use domain::seed::{HallSeed, MovieSeed, SeatSeed, SeedPlan, ShowSeed, TheatreSeed};

use crate::Failure;
use crate::plan::{HALLS, ROWS, SEATS_OF_ROW, SHOWS, USERS};

const MOVIE: &str = "A Night at the Box Office";
const THEATRE: &str = "Central";
const CATEGORY: &str = "standard";
/// The lifetime of sessions: longer than any measurement.
const SESSION_TTL: std::time::Duration = std::time::Duration::from_secs(30 * 24 * 3_600);
/// The time between the starts of two shows in one hall.
const HOURS: i32 = 4;

/// Fills the store of the settings, and returns the numbers of its shows and users.
pub async fn fill() -> Result<String, Failure> {
    let config = settings::load(None).map_err(|errors| errors.to_string())?.config;
    let store = OpenStore::open(&config, Purpose::Administer).await.map_err(|error| with_sources(&error))?;
    let seeder = &store.ports.seeder;
    if !seeder.is_empty().await.map_err(|error| with_sources(&error))? {
        return Err("the store is not a new one: the ids in it would be others than those that are booked".to_owned());
    }
    let plan = plan(SystemClock.now())?;
    let seeded = seeder.seed(&plan).await.map_err(|error| with_sources(&error))?;
    if (seeded.users, seeded.shows) != (plan.users.len(), plan.shows.len()) {
        return Err(format!("not everything was added, but {seeded:?}"));
    }
    open_sessions(&store).await.map_err(|error| with_sources(&error))?;
    Ok(format!("{} shows, {} users", seeded.shows, seeded.users))
}

/// Opens a session for each user, in the order of their ids, so that each session has the id of its user.
async fn open_sessions(store: &OpenStore) -> Result<(), StoreError> {
    for number in 1..=USERS {
        let id = UserId(i64::try_from(number).map_err(StoreError::internal)?);
        let user = store.ports.users.by_id(id).await?;
        let user = user.ok_or_else(|| StoreError::internal(format!("user {id} was not added")))?;
        let token = NewRefreshToken { hash: RandomRefreshTokens.digest(&RandomRefreshTokens.draw()), ttl: SESSION_TTL };
        let opened = store.ports.sessions.open(&user, &token).await?;
        if opened != Some(SessionId(id.0)) {
            return Err(StoreError::internal(format!("user {id} has session {opened:?}")));
        }
    }
    Ok(())
}

fn plan(now: DateTime<Utc>) -> Result<SeedPlan, Failure> {
    let currency = Currency::parse("EUR").map_err(|error| error.to_string())?;
    // Far enough in the future to be on sale during any measurement. Whole seconds, because every store keeps these exactly.
    let first_start = now.trunc_subsecs(0) + Duration::days(2);
    Ok(SeedPlan {
        users: (1..=USERS).map(user).collect::<Result<_, _>>()?,
        ticket_types: Vec::new(),
        movies: vec![MovieSeed {
            title: MOVIE.to_owned(),
            description: "Everybody wants a seat.".to_owned(),
            duration_minutes: 120,
            genres: vec!["Comedy".to_owned()],
            language: "English".to_owned(),
            certificate: "PG".to_owned(),
            release_date: NaiveDate::default(),
        }],
        theatres: vec![TheatreSeed {
            name: THEATRE.to_owned(),
            location: "1 Main Street".to_owned(),
            timezone: Tz::UTC,
            currency,
            tax_rate: TaxRate::ZERO,
            cleaning_minutes: 15,
            halls: (0..HALLS).map(hall).collect(),
        }],
        shows: (0..SHOWS).map(|number| show(number, first_start, currency)).collect(),
    })
}

fn user(number: u64) -> Result<NewUser, Failure> {
    let explain = |error: &dyn std::fmt::Display| format!("user {number} is refused: {error}");
    Ok(NewUser {
        name: Name::parse(&format!("User {number}")).map_err(|error| explain(&error))?,
        email: Email::parse(&format!("user{number}@example.org")).map_err(|error| explain(&error))?,
        // No password has this hash: users do not log in, because tokens are signed by the load program.
        password_hash: PasswordHash("none".to_owned()),
        role: Role::Customer,
    })
}

fn hall(number: u64) -> HallSeed {
    let rows = (1..).zip((0..).map(RowName::letters)).take(usize::try_from(ROWS).unwrap_or_default());
    let seats = rows.flat_map(|(y, row)| {
        let numbers = (1..).take(usize::try_from(SEATS_OF_ROW).unwrap_or_default());
        numbers.map(move |number| SeatSeed {
            row: row.clone(),
            number,
            category: CATEGORY.to_owned(),
            accessible: false,
            x: number,
            y,
            section: String::new(),
            pair: None,
        })
    });
    HallSeed { name: hall_name(number), seats: seats.collect(), sections: Vec::new() }
}

fn hall_name(number: u64) -> String {
    format!("Hall {:02}", number + 1)
}

fn show(number: u64, first_start: DateTime<Utc>, currency: Currency) -> ShowSeed {
    let slot = i32::try_from(number / HALLS).unwrap_or(i32::MAX);
    let start_time = first_start + Duration::hours(i64::from(HOURS) * i64::from(slot));
    ShowSeed {
        movie_title: MOVIE.to_owned(),
        theatre_name: THEATRE.to_owned(),
        hall_name: hall_name(number % HALLS),
        start_time,
        end_time: start_time + Duration::hours(2),
        hall_free_at: start_time + Duration::hours(3),
        format: "2D".to_owned(),
        language: "English".to_owned(),
        currency,
        prices: vec![CategoryPrice::adult(CATEGORY, 1_250)],
    }
}
