//! What a start waits for.

use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta};
use domain::money::Currency;
use domain::seating::CategoryPrice;
use domain::seed::{HallSeed, MovieSeed, SeatSeed, SeedPlan, Seeder as _, ShowSeed, TheatreSeed};

use crate::support::{Database, micros_from_now};

fn hall(name: String, rows: i32, per_row: i32) -> HallSeed {
    let seat = |y: i32, x: i32| SeatSeed {
        row: char::from(b'A' + u8::try_from(y).unwrap()).to_string(),
        number: x + 1,
        category: if y < 4 { "standard" } else { "premium" }.to_owned(),
        accessible: y == 0,
        x,
        y,
    };
    HallSeed { name, seats: (0..rows).flat_map(|y| (0..per_row).map(move |x| seat(y, x))).collect() }
}

fn demo() -> SeedPlan {
    let movie = |number: i32| MovieSeed {
        title: format!("Movie {number}"),
        description: "About something.".repeat(10),
        duration_minutes: 120,
        genres: vec!["Drama".into(), "Comedy".into()],
        language: "English".into(),
        certificate: "12".into(),
        release_date: "2026-01-01".parse().unwrap(),
    };
    let mut halls: Vec<_> = (1..7).map(|number| hall(format!("Hall {number}"), 10, 15)).collect();
    halls.push(hall("Hall 7".into(), 20, 25));
    let begin = DateTime::from_timestamp_micros(micros_from_now(3_600)).unwrap();
    let price = |category: &str, minor| CategoryPrice { category: category.to_owned(), minor };
    let show = |number: i32| {
        let start_time = begin + TimeDelta::hours(i64::from(number / 7) * 3);
        ShowSeed {
            movie_title: format!("Movie {}", number % 20),
            theatre_name: "Grand".into(),
            hall_name: format!("Hall {}", number % 7 + 1),
            start_time,
            end_time: start_time + TimeDelta::hours(2),
            hall_free_at: start_time + TimeDelta::minutes(140),
            format: "2D".into(),
            language: "English".into(),
            currency: Currency::parse("EUR").unwrap(),
            prices: vec![price("standard", 1_200), price("premium", 1_500), price("box", 3_000)],
        }
    };
    let theatre = TheatreSeed { name: "Grand".into(), location: "Here".into(), timezone: chrono_tz::UTC, halls };
    SeedPlan {
        users: Vec::new(),
        movies: (0..20).map(movie).collect(),
        theatres: vec![theatre],
        shows: (0..600).map(show).collect(),
    }
}

#[tokio::test]
async fn a_demo_is_seeded_at_once() {
    let database = Database::migrated().await;
    let plan = demo();
    let begun = Instant::now();
    let seeded = database.store.seed(&plan).await.unwrap();
    let elapsed = begun.elapsed();
    assert_eq!((seeded.halls, seeded.shows), (7, 600));
    println!("seeded in {elapsed:?}");
    // Generous: this is an unoptimised program beside other tests. Optimised it takes a twentieth of this.
    assert!(elapsed < Duration::from_secs(3), "{elapsed:?}");
    assert_eq!(database.store.seed(&plan).await.unwrap(), domain::seed::Seeded::default());
}
