//! Movies, theatres and shows.

use chrono::{Days, NaiveDate, SecondsFormat, TimeDelta};
use chrono_tz::Tz;
use domain::seed::SeedPlan;
use port_contracts::Fixture as _;
use port_contracts::world::{ALPHA, AMELIE, BETA, STALKER, cancel_show, movie};
use serde_json::Value;

use crate::harness::{NOBODY, TestApp};

on_both_stores!(
    movies_are_a_bare_array_by_title,
    movies_are_searched_in_any_script,
    movies_are_filtered_by_genre_language_and_theatre,
    movie_is_read_by_id,
    shows_of_a_movie_are_its_upcoming_shows,
    a_movie_without_shows_is_an_empty_list,
    shows_are_listed_by_start,
    shows_are_filtered,
    a_date_is_a_day_by_the_clock_of_the_theatre,
    show_is_read_by_id,
    cancelled_show_is_found_but_not_listed,
    theatres_have_their_halls,
    theatre_is_read_by_id,
    lists_come_in_pages,
    cursor_is_valid_only_for_its_list,
    filter_without_matches_returns_an_empty_list,
);

async fn movies_are_a_bare_array_by_title(app: &TestApp) {
    let answer = app.get("/api/movies").send().await.ok(200).snapshot("movies");
    assert_eq!(answer.column("title"), [AMELIE, STALKER]);
    assert_eq!(answer.next_page(), None);
}

async fn titles(app: &TestApp, query: &str) -> Vec<Value> {
    app.get(&format!("/api/movies?{query}")).send().await.ok(200).column("title")
}

async fn movies_are_searched_in_any_script(app: &TestApp) {
    for (search, found) in [
        ("search=%D1%81%D1%82%D0%B0%D0%BB%D0%9A%D0%95%D0%A0", &[STALKER][..]),
        ("search=AM%C3%89LIE", &[AMELIE]),
        ("search=waitress+in+PARIS", &[AMELIE]),
        ("search=%D0%B7%D0%BE%D0%BD%D1%83", &[STALKER]),
        ("search=%25", &[]),
        ("search=_", &[]),
        ("search=%27%3B--", &[]),
        ("search=", &[AMELIE, STALKER]),
    ] {
        assert_eq!(titles(app, search).await, found, "{search}");
    }
}

async fn movies_are_filtered_by_genre_language_and_theatre(app: &TestApp) {
    let theatre = theatre_ids(app).await;
    for (query, found) in [
        ("genre=sci-fi".to_owned(), &[STALKER][..]),
        ("genre=Sci".to_owned(), &[]),
        ("language=FRENCH".to_owned(), &[AMELIE]),
        ("language=French&genre=Drama".to_owned(), &[]),
        (format!("theatre_id={}", theatre.alpha), &[AMELIE, STALKER]),
        // Amélie was shown there yesterday only, and the filter is for upcoming shows.
        (format!("theatre_id={}", theatre.beta), &[STALKER]),
        (format!("theatre_id={NOBODY}"), &[]),
    ] {
        assert_eq!(titles(app, &query).await, found, "{query}");
    }
}

struct TheatreIds {
    alpha: i64,
    beta: i64,
}

async fn theatre_ids(app: &TestApp) -> TheatreIds {
    let theatres = app.get("/api/theatres").send().await.ok(200).list();
    let id = |name: &str| theatres.iter().find(|theatre| theatre["name"] == name).unwrap()["id"].as_i64().unwrap();
    TheatreIds { alpha: id(ALPHA), beta: id(BETA) }
}

async fn movie_id(app: &TestApp, title: &str) -> i64 {
    let movies = app.get("/api/movies").send().await.ok(200).list();
    movies.iter().find(|movie| movie["title"] == title).unwrap()["id"].as_i64().unwrap()
}

async fn movie_is_read_by_id(app: &TestApp) {
    let id = movie_id(app, AMELIE).await;
    let one = app.get(&format!("/api/movies/{id}")).send().await.ok(200).snapshot("movie");
    assert_eq!(one.json(), app.get("/api/movies").send().await.list()[0]);
    let none = app.get(&format!("/api/movies/{NOBODY}")).send().await;
    none.problem(404, "movie_not_found").snapshot("movie_not_found");
}

async fn shows_of_a_movie_are_its_upcoming_shows(app: &TestApp) {
    let id = movie_id(app, STALKER).await;
    let answer = app.get(&format!("/api/movies/{id}/shows")).send().await.ok(200).snapshot("movie_shows");
    assert_eq!(answer.column("id"), [app.world.soon.0, app.world.later.0]);
    let all = app.get(&format!("/api/movies/{id}/shows?include_past=true")).send().await.ok(200);
    assert_eq!(all.column("id"), [app.world.started.0, app.world.soon.0, app.world.later.0]);
    let none = app.get(&format!("/api/movies/{NOBODY}/shows")).send().await;
    none.problem(404, "movie_not_found").snapshot("movie_not_found");
}

async fn a_movie_without_shows_is_an_empty_list(app: &TestApp) {
    let movies = vec![movie("Solaris", "An ocean that thinks.", &["Drama"], "Russian")];
    app.backend.stores().seeder.seed(&SeedPlan { movies, ..SeedPlan::default() }).await.unwrap();
    let id = movie_id(app, "Solaris").await;
    let answer = app.get(&format!("/api/movies/{id}/shows")).send().await.ok(200);
    assert_eq!(answer.text(), "[]");
}

async fn show_ids(app: &TestApp, query: &str) -> Vec<i64> {
    let shows = app.get(&format!("/api/shows?{query}")).send().await.ok(200);
    shows.column("id").iter().map(|id| id.as_i64().unwrap()).collect()
}

/// Sorts ids in ascending order, the order in which shows with the same start are listed.
fn together<const N: usize>(mut ids: [i64; N]) -> [i64; N] {
    ids.sort_unstable();
    ids
}

async fn shows_are_listed_by_start(app: &TestApp) {
    let world = &app.world;
    let answer = app.get("/api/shows").send().await.ok(200);
    let [first, second] = together([world.soon.0, world.beside.0]);
    assert_eq!(answer.column("id"), [first, second, world.tomorrow.0, world.later.0]);
    let starts = answer.column("start_time");
    let expected = world.base + TimeDelta::hours(3);
    assert_eq!(starts[0], expected.to_rfc3339_opts(SecondsFormat::Millis, true));
    let theatre = theatre_ids(app).await.alpha;
    let movie = movie_id(app, AMELIE).await;
    app.get(&format!("/api/shows?theatre_id={theatre}&movie_id={movie}")).send().await.ok(200).snapshot("shows");
}

async fn shows_are_filtered(app: &TestApp) {
    let world = &app.world;
    let theatre = theatre_ids(app).await;
    let amelie = movie_id(app, AMELIE).await;
    let at = |hours: i64| (world.base + TimeDelta::hours(hours)).to_rfc3339_opts(SecondsFormat::Secs, true);
    let [first, second] = together([world.soon.0, world.beside.0]);
    for (query, found) in [
        (format!("movie_id={amelie}"), vec![world.beside.0, world.tomorrow.0]),
        (format!("movie_id={amelie}&include_past=true"), vec![world.yesterday.0, world.beside.0, world.tomorrow.0]),
        (format!("theatre_id={}", theatre.beta), vec![world.later.0]),
        (format!("theatre_id={}&movie_id={amelie}", theatre.beta), vec![]),
        (format!("from={}", at(50)), vec![world.tomorrow.0, world.later.0]),
        (format!("to={}", at(50)), vec![first, second]),
        (format!("from={}&to={}", at(-2), at(3)), vec![world.started.0]),
        (format!("from={}&to={}", at(3), at(3)), vec![]),
        ("include_past=false".to_owned(), vec![first, second, world.tomorrow.0, world.later.0]),
        (
            "include_past=true".to_owned(),
            vec![world.yesterday.0, world.started.0, first, second, world.tomorrow.0, world.later.0],
        ),
    ] {
        assert_eq!(show_ids(app, &query).await, found, "{query}");
    }
    // The same instant in another UTC offset.
    let start = world.base + TimeDelta::hours(50);
    let elsewhere = start.with_timezone(&chrono_tz::Asia::Tokyo).to_rfc3339().replace('+', "%2B");
    assert_eq!(show_ids(app, &format!("from={elsewhere}")).await, [world.tomorrow.0, world.later.0]);
}

/// The shows of the world: id, title, time zone of the theatre, hours from its base.
fn schedule(app: &TestApp) -> [(i64, &'static str, Tz, i64); 6] {
    let world = &app.world;
    let (berlin, tokyo) = (chrono_tz::Europe::Berlin, chrono_tz::Asia::Tokyo);
    [
        (world.started.0, STALKER, berlin, -1),
        (world.soon.0, STALKER, berlin, 3),
        (world.beside.0, AMELIE, berlin, 3),
        (world.tomorrow.0, AMELIE, berlin, 50),
        (world.later.0, STALKER, tokyo, 100),
        (world.yesterday.0, AMELIE, tokyo, -30),
    ]
}

async fn a_date_is_a_day_by_the_clock_of_the_theatre(app: &TestApp) {
    let base = app.world.base;
    let today: NaiveDate = base.date_naive();
    for offset in 0..10 {
        let day = today.checked_sub_days(Days::new(3)).unwrap().checked_add_days(Days::new(offset)).unwrap();
        let on_day: Vec<_> = schedule(app)
            .into_iter()
            .filter(|(.., zone, hours)| (base + TimeDelta::hours(*hours)).with_timezone(zone).date_naive() == day)
            .collect();
        let mut shows: Vec<_> = on_day.iter().map(|(id, ..)| *id).collect();
        shows.sort_unstable();
        let mut found = show_ids(app, &format!("date={day}")).await;
        found.sort_unstable();
        assert_eq!(found, shows, "the shows of {day}");
        let mut movies: Vec<_> = on_day.iter().map(|(_, title, ..)| *title).collect();
        movies.sort_unstable();
        movies.dedup();
        assert_eq!(titles(app, &format!("date={day}")).await, movies, "the movies of {day}");
    }
}

async fn show_is_read_by_id(app: &TestApp) {
    let id = app.world.later.0;
    let one = app.get(&format!("/api/shows/{id}")).send().await.ok(200).snapshot("show").json();
    assert_eq!((one["price_from"].as_str(), one["currency"].as_str()), (Some("1900"), Some("JPY")));
    let started = app.get(&format!("/api/shows/{}", app.world.started)).send().await.ok(200).json();
    assert_eq!((started["price_from"].as_str(), started["currency"].as_str()), (Some("12.50"), Some("EUR")));
    let none = app.get(&format!("/api/shows/{NOBODY}")).send().await;
    none.problem(404, "show_not_found").snapshot("show_not_found");
}

async fn cancelled_show_is_found_but_not_listed(app: &TestApp) {
    let show = app.world.tomorrow;
    cancel_show(&app.backend, show).await;
    let one = app.get(&format!("/api/shows/{show}")).send().await.ok(200).json();
    assert_eq!(one["status"], "cancelled");
    assert!(!show_ids(app, "include_past=true").await.contains(&show.0));
    let movie = movie_id(app, AMELIE).await;
    let of_movie = app.get(&format!("/api/movies/{movie}/shows")).send().await.ok(200);
    assert_eq!(of_movie.column("id"), [app.world.beside.0]);
}

async fn theatres_have_their_halls(app: &TestApp) {
    let answer = app.get("/api/theatres").send().await.ok(200).snapshot("theatres");
    assert_eq!(answer.column("name"), [ALPHA, BETA]);
}

async fn theatre_is_read_by_id(app: &TestApp) {
    let id = theatre_ids(app).await.beta;
    app.get(&format!("/api/theatres/{id}")).send().await.ok(200).snapshot("theatre");
    let none = app.get(&format!("/api/theatres/{NOBODY}")).send().await;
    none.problem(404, "theatre_not_found").snapshot("theatre_not_found");
}

/// Returns the ids of all pages, with one item a page.
async fn ids_page_by_page(app: &TestApp, list: &str) -> Vec<Value> {
    let mut ids = Vec::new();
    let mut next = Some(format!("{list}limit=1"));
    while let Some(path) = next {
        let page = app.get(&path).send().await.ok(200);
        assert!(page.list().len() <= 1, "{page:?}");
        next = page.next_page();
        ids.extend(page.column("id"));
    }
    ids
}

async fn lists_come_in_pages(app: &TestApp) {
    let stalker = movie_id(app, STALKER).await;
    for list in [
        "/api/movies?".to_owned(),
        "/api/theatres?".to_owned(),
        "/api/shows?".to_owned(),
        "/api/shows?include_past=true&".to_owned(),
        "/api/shows?from=2001-01-01T00:00:00%2B02:00&".to_owned(),
        format!("/api/movies/{stalker}/shows?include_past=true&"),
    ] {
        let whole = app.get(&list).send().await.ok(200).column("id");
        assert!(whole.len() > 1, "{list}");
        assert_eq!(ids_page_by_page(app, &list).await, whole, "{list}");
    }
    app.get("/api/movies?limit=1").send().await.ok(200).snapshot("movies_first_page");
    // A page that is exactly full is the last one if no more items exist.
    assert_eq!(app.get("/api/movies?limit=2").send().await.ok(200).next_page(), None);
}

async fn cursor_is_valid_only_for_its_list(app: &TestApp) {
    let next = app.get("/api/movies?limit=1").send().await.ok(200).next_page().unwrap();
    let cursor = next.split_once("cursor=").unwrap().1;
    for list in ["/api/shows", "/api/theatres"] {
        let mistakes = app.get(&format!("{list}?cursor={cursor}")).send().await.mistakes();
        assert_eq!(mistakes, ["cursor invalid"], "{list}");
    }
}

async fn filter_without_matches_returns_an_empty_list(app: &TestApp) {
    for path in [
        "/api/movies?search=nothing+like+this",
        "/api/movies?date=1999-01-01",
        "/api/shows?date=9999-12-31",
        "/api/shows?to=0001-01-01T00:00:00Z",
        "/api/shows?movie_id=9223372036854775807",
        "/api/shows?theatre_id=9223372036854775807&date=2026-01-01",
    ] {
        let answer = app.get(path).send().await.ok(200);
        assert_eq!(answer.text(), "[]", "{path}");
    }
}
