//! Cases of the lists of movies, theatres and shows.

use chrono::{DateTime, TimeDelta, Utc};
use domain::StoreError;
use domain::catalog::{
    CatalogService, DayWindow, Movie, MovieCursor, MovieFilter, MovieQuery, Show, ShowCursor, ShowFilter, ShowQuery,
    ShowStatus, Theatre, TheatreCursor, TheatreFilter,
};
use domain::ids::{MovieId, ShowId, TheatreId};
use domain::money::{Currency, Money};
use domain::seed::SeedPlan;
use domain::text::fold;

use crate::Fixture;
use crate::tools::{SIMPLE, book, booked, first_page, paged, sell};
use crate::world::{
    ALPHA, AMELIE, BETA, STALKER, World, block, cancel_show, customer, hold, movie, now, plan, sell_to, show,
    small_hall, theatre,
};

async fn movies(fixture: &dyn Fixture, filter: &MovieFilter) -> Vec<Movie> {
    let list = async |page: &_| fixture.stores().catalog.movies(filter, page).await.unwrap();
    paged(list, |movie| MovieCursor { title: movie.title.clone(), id: movie.id }).await
}

async fn titles(fixture: &dyn Fixture, filter: &MovieFilter) -> Vec<String> {
    movies(fixture, filter).await.into_iter().map(|movie| movie.title).collect()
}

async fn shows(fixture: &dyn Fixture, filter: &ShowFilter) -> Vec<Show> {
    let list = async |page: &_| fixture.stores().catalog.shows(filter, page).await.unwrap();
    paged(list, |show| ShowCursor { start_time: show.start_time, id: show.id }).await
}

/// Returns the formats of the matching shows, which identify them in the world.
async fn formats(fixture: &dyn Fixture, filter: &ShowFilter) -> Vec<String> {
    shows(fixture, filter).await.into_iter().map(|show| show.format).collect()
}

async fn one_show(fixture: &dyn Fixture, id: ShowId) -> Show {
    fixture.stores().catalog.show(id).await.unwrap().unwrap()
}

async fn theatre_id(fixture: &dyn Fixture, name: &str) -> TheatreId {
    TheatreId(fixture.count(&format!("SELECT id FROM theatres WHERE name = '{name}'")).await)
}

async fn movie_id(fixture: &dyn Fixture, title: &str) -> MovieId {
    MovieId(fixture.count(&format!("SELECT id FROM movies WHERE title = '{title}'")).await)
}

async fn seed(fixture: &dyn Fixture, plan: SeedPlan) {
    fixture.stores().seeder.seed(&plan).await.unwrap();
}

fn search(text: &str) -> MovieFilter {
    MovieFilter { search: Some(fold(text)), ..MovieFilter::default() }
}

/// Titles are ordered by code point, whatever the locale of the store.
pub async fn movies_are_ordered_by_title_and_paged(fixture: &dyn Fixture) {
    let mut names = ["Zebra", "apple", "Éclair", "Apple", "日本", "A b", "A-b", "Ab", "𝔄", "10", "9"];
    seed(fixture, SeedPlan { movies: names.map(|name| movie(name, "", &[], "en")).into(), ..SeedPlan::default() })
        .await;
    names.sort_unstable();
    assert_eq!(titles(fixture, &MovieFilter::default()).await, names);
}

/// A movie has every stored field, in a list and found by its id.
pub async fn movie_has_every_stored_field(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let [amelie, stalker] = &movies(fixture, &MovieFilter::default()).await[..] else { panic!("two movies") };
    assert_eq!((amelie.title.as_str(), stalker.title.as_str()), (AMELIE, STALKER));
    let asked = movie(STALKER, "Писатель идёт в Зону.", &["Drama", "Sci-Fi"], "Russian");
    assert_eq!(
        (&stalker.description, &stalker.genres, &stalker.language),
        (&asked.description, &asked.genres, &asked.language)
    );
    assert_eq!((stalker.duration_minutes, stalker.certificate.as_str()), (122, "PG-13"));
    assert_eq!((stalker.poster_url.as_deref(), stalker.release_date), (None, asked.release_date));
    for at in [stalker.created_at, stalker.updated_at] {
        assert!((at - now()).num_seconds().abs() < 60, "made now: {at}");
    }
    let found = fixture.stores().catalog.movie(stalker.id).await.unwrap();
    assert_eq!(found.as_ref(), Some(stalker));
    fixture.execute("UPDATE movies SET poster_url = 'https://example.org/a.png' WHERE title = 'Amélie'").await;
    let found = fixture.stores().catalog.movie(amelie.id).await.unwrap().unwrap();
    assert_eq!(found.poster_url.as_deref(), Some("https://example.org/a.png"));
}

/// Characters that are special in LIKE patterns, regular expressions or quoting match literally.
pub async fn search_matches_special_characters_literally(fixture: &dyn Fixture) {
    let described = [("100% Wolf", "x_y"), ("100 Wolves", "xzy"), (r"C:\dir", "it's (a) \"quote\""), ("Plain", "a.b")];
    let movies = described.map(|(title, text)| movie(title, text, &[], "en"));
    seed(fixture, SeedPlan { movies: movies.into(), ..SeedPlan::default() }).await;
    for (text, found) in [
        ("100%", &["100% Wolf"][..]),
        ("%", &["100% Wolf"]),
        ("x_y", &["100% Wolf"]),
        ("_", &["100% Wolf"]),
        (r"\", &[r"C:\dir"]),
        (r":\d", &[r"C:\dir"]),
        ("it's", &[r"C:\dir"]),
        ("\"quote\"", &[r"C:\dir"]),
        ("(a)", &[r"C:\dir"]),
        (".", &["Plain"]),
        ("100", &["100 Wolves", "100% Wolf"]),
        ("wol", &["100 Wolves", "100% Wolf"]),
        ("100%w", &[]),
        ("'; --", &[]),
    ] {
        assert_eq!(titles(fixture, &search(text)).await, found, "{text}");
    }
}

/// Search ignores case in titles and in descriptions.
pub async fn search_ignores_case_in_any_script(fixture: &dyn Fixture) {
    World::build(fixture).await;
    for (text, found) in [
        ("СТАЛКЕР", &[STALKER][..]),
        ("алк", &[STALKER]),
        ("зону", &[STALKER]),
        ("AMÉLIE", &[AMELIE]),
        ("ame\u{301}lie", &[AMELIE]),
        ("WAITRESS", &[AMELIE]),
        ("Amelie", &[]),
    ] {
        assert_eq!(titles(fixture, &search(text)).await, found, "{text}");
    }
}

/// A part of a genre or language does not match, and no character of them is special.
pub async fn genre_and_language_match_completely(fixture: &dyn Fixture) {
    let made = [
        movie("One", "", &["Drama", "Sci-Fi, \"hard\""], "English"),
        movie("Two", "", &["Sci-Fi", "DRAMA"], "Русский"),
        movie("Three", "", &[], "English (US)"),
    ];
    seed(fixture, SeedPlan { movies: made.into(), ..SeedPlan::default() }).await;
    for (genre, found) in [
        ("drama", &["One", "Two"][..]),
        ("Sci-Fi", &["Two"]),
        ("sci-fi, \"HARD\"", &["One"]),
        ("dram", &[]),
        ("dram_", &[]),
        ("%", &[]),
        ("", &[]),
    ] {
        let filter = MovieFilter { genre: Some(fold(genre)), ..MovieFilter::default() };
        assert_eq!(titles(fixture, &filter).await, found, "{genre}");
    }
    for (language, found) in [("ENGLISH", &["One"][..]), ("русский", &["Two"]), ("engl", &[]), ("english%", &[])]
    {
        let filter = MovieFilter { language: Some(fold(language)), ..MovieFilter::default() };
        assert_eq!(titles(fixture, &filter).await, found, "{language}");
    }
}

/// Only shows that are scheduled and have not started count for `shown_in`.
pub async fn movies_of_a_theatre_have_an_upcoming_show(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let shown_in = async |name: &str| {
        let filter = MovieFilter { shown_in: Some(theatre_id(fixture, name).await), ..MovieFilter::default() };
        titles(fixture, &filter).await
    };
    assert_eq!(shown_in(ALPHA).await, [AMELIE, STALKER]);
    // Beta showed Amélie yesterday, and not again.
    assert_eq!(shown_in(BETA).await, [STALKER]);
    cancel_show(fixture, world.soon).await;
    // Alpha's other show of Stalker has already started.
    assert_eq!(shown_in(ALPHA).await, [AMELIE]);
    let nowhere = MovieFilter { shown_in: Some(TheatreId(987_654)), ..MovieFilter::default() };
    assert!(titles(fixture, &nowhere).await.is_empty());
}

fn window(theatre_id: TheatreId, from: DateTime<Utc>, minutes: i64) -> DayWindow {
    DayWindow { theatre_id, from, to: from + TimeDelta::minutes(minutes) }
}

/// A window includes its first instant, excludes its last, and applies to one theatre.
pub async fn movies_are_filtered_by_windows(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (alpha, beta) = (theatre_id(fixture, ALPHA).await, theatre_id(fixture, BETA).await);
    let during = async |windows: &[DayWindow]| {
        let filter = MovieFilter { shown_during: Some(windows.to_vec()), ..MovieFilter::default() };
        titles(fixture, &filter).await
    };
    let (soon, later, past) =
        (world.base + TimeDelta::hours(3), world.base + TimeDelta::hours(100), world.base - TimeDelta::hours(30));
    assert!(during(&[]).await.is_empty());
    assert_eq!(during(&[window(alpha, soon, 1)]).await, [AMELIE, STALKER]);
    assert!(during(&[window(alpha, soon - TimeDelta::minutes(1), 1)]).await.is_empty());
    assert!(during(&[window(beta, soon, 1)]).await.is_empty());
    // `shown_during` includes past shows.
    assert_eq!(during(&[window(beta, past, 1)]).await, [AMELIE]);
    assert_eq!(
        during(&[window(beta, later, 1), window(beta, past, 1), window(alpha, past, 1)]).await,
        [AMELIE, STALKER]
    );
    cancel_show(fixture, world.beside).await;
    assert_eq!(during(&[window(alpha, soon, 1)]).await, [STALKER]);
}

/// A movie must match all given filters.
pub async fn movie_filters_are_combined(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let alpha = theatre_id(fixture, ALPHA).await;
    let all = MovieFilter {
        search: Some(fold("Paris")),
        genre: Some(fold("Comedy")),
        language: Some(fold("French")),
        shown_in: Some(alpha),
        shown_during: Some(vec![window(alpha, world.base + TimeDelta::hours(3), 1)]),
        retired: false,
    };
    assert_eq!(titles(fixture, &all).await, [AMELIE]);
    for wrong in [
        MovieFilter { search: Some(fold("Зону")), ..all.clone() },
        MovieFilter { genre: Some(fold("Drama")), ..all.clone() },
        MovieFilter { language: Some(fold("Russian")), ..all.clone() },
        MovieFilter { shown_in: Some(theatre_id(fixture, BETA).await), ..all.clone() },
        MovieFilter { shown_during: Some(Vec::new()), ..all.clone() },
    ] {
        assert!(titles(fixture, &wrong).await.is_empty(), "{wrong:?}");
    }
}

/// Shows that start together are ordered by id.
pub async fn shows_are_ordered_by_start_and_paged(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let listed: Vec<_> = shows(fixture, &ShowFilter::default()).await.iter().map(|show| show.id).collect();
    let mut together = [world.soon, world.beside];
    together.sort_unstable();
    assert_eq!(listed, [world.yesterday, world.started, together[0], together[1], world.tomorrow, world.later]);
}

/// A show has every stored field, in a list and found by its id, with the price of the cheapest seat.
pub async fn show_has_every_stored_field(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let euros = Currency::parse("EUR").unwrap();
    let theatre_id = theatre_id(fixture, ALPHA).await;
    let hall_id =
        fixture.count(&format!("SELECT id FROM halls WHERE name = 'Main' AND theatre_id = {theatre_id}")).await;
    let soon = one_show(fixture, world.soon).await;
    let expected = Show {
        id: world.soon,
        movie_id: movie_id(fixture, STALKER).await,
        movie_title: STALKER.into(),
        theatre_id,
        theatre_name: ALPHA.into(),
        hall_id: domain::ids::HallId(hall_id),
        hall_name: "Main".into(),
        start_time: world.base + TimeDelta::hours(3),
        end_time: world.base + TimeDelta::hours(5),
        format: "soon".into(),
        language: "Japanese (English subtitles)".into(),
        price_from: Money::new(1250, euros),
        seats_total: 60,
        seats_available: 60,
        status: ShowStatus::Scheduled,
    };
    assert_eq!(soon, expected);
    for listed in shows(fixture, &ShowFilter::default()).await {
        assert_eq!(one_show(fixture, listed.id).await, listed);
    }
    let later = one_show(fixture, world.later).await;
    assert_eq!(later.price_from, Money::new(1900, Currency::parse("JPY").unwrap()));
    fixture
        .execute(&format!(
            "UPDATE show_prices SET price_minor = 990 WHERE show_id = {} AND category = 'premium'",
            world.soon
        ))
        .await;
    assert_eq!(one_show(fixture, world.soon).await.price_from, Money::new(990, euros));
    // The price for a child is not the price of the show.
    sell_to(fixture, world.soon, "standard", "child", 500).await;
    assert_eq!(one_show(fixture, world.soon).await.price_from, Money::new(990, euros));
}

/// A cancelled show is not listed, but is found by its id.
pub async fn cancelled_show_is_not_listed_but_is_found_by_id(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    cancel_show(fixture, world.soon).await;
    let every_filter = [
        ShowFilter::default(),
        ShowFilter { upcoming: true, ..ShowFilter::default() },
        ShowFilter { movie_id: Some(movie_id(fixture, STALKER).await), ..ShowFilter::default() },
        ShowFilter { theatre_id: Some(theatre_id(fixture, ALPHA).await), ..ShowFilter::default() },
    ];
    for filter in every_filter {
        let listed = formats(fixture, &filter).await;
        assert!(!listed.contains(&"soon".to_owned()) && !listed.is_empty(), "{filter:?}: {listed:?}");
    }
    let found = one_show(fixture, world.soon).await;
    assert_eq!((found.id, found.status), (world.soon, ShowStatus::Cancelled));
}

/// `from` is inclusive and `to` is exclusive.
pub async fn show_filters_by_movie_theatre_and_start(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let all = ShowFilter::default();
    let stalker = Some(movie_id(fixture, STALKER).await);
    let alpha = Some(theatre_id(fixture, ALPHA).await);
    let (soon, tomorrow) = (Some(world.base + TimeDelta::hours(3)), Some(world.base + TimeDelta::hours(50)));
    let just_after_soon = soon.map(|at| at + TimeDelta::microseconds(1));
    let mut together = formats(fixture, &ShowFilter { from: soon, to: just_after_soon, ..all.clone() }).await;
    together.sort_unstable();
    assert_eq!(together, ["beside", "soon"]);
    for (filter, found) in [
        (ShowFilter { movie_id: stalker, ..all.clone() }, &["started", "soon", "later"][..]),
        (ShowFilter { movie_id: stalker, theatre_id: alpha, ..all.clone() }, &["started", "soon"]),
        (ShowFilter { movie_id: Some(MovieId(987_654)), ..all.clone() }, &[]),
        (ShowFilter { theatre_id: Some(TheatreId(987_654)), ..all.clone() }, &[]),
        (ShowFilter { from: just_after_soon, ..all.clone() }, &["tomorrow", "later"]),
        (ShowFilter { from: tomorrow, ..all.clone() }, &["tomorrow", "later"]),
        (ShowFilter { to: soon, ..all.clone() }, &["yesterday", "started"]),
        (ShowFilter { from: tomorrow, to: tomorrow, ..all.clone() }, &[]),
        (ShowFilter { from: just_after_soon, to: tomorrow, ..all.clone() }, &[]),
        (ShowFilter { movie_id: stalker, theatre_id: alpha, from: soon, to: tomorrow, ..all }, &["soon"]),
    ] {
        assert_eq!(formats(fixture, &filter).await, found, "{filter:?}");
    }
}

/// A window applies to one theatre. An empty list of windows matches no show.
pub async fn shows_are_filtered_by_windows(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (alpha, beta) = (theatre_id(fixture, ALPHA).await, theatre_id(fixture, BETA).await);
    let at = |hours| world.base + TimeDelta::hours(hours);
    for (windows, found) in [
        (vec![], &[][..]),
        (vec![window(alpha, at(50), 1)], &["tomorrow"]),
        (vec![window(beta, at(50), 1)], &[]),
        (vec![window(alpha, at(49), 60)], &[]),
        (vec![window(beta, at(100), 1), window(beta, at(-30), 1)], &["yesterday", "later"]),
        // Overlapping windows list a show once.
        (vec![window(alpha, at(49), 120), window(alpha, at(50), 120)], &["tomorrow"]),
    ] {
        let filter = ShowFilter { during: Some(windows), ..ShowFilter::default() };
        assert_eq!(formats(fixture, &filter).await, found, "{filter:?}");
    }
    let both =
        ShowFilter { during: Some(vec![window(alpha, at(50), 1)]), theatre_id: Some(beta), ..ShowFilter::default() };
    assert!(formats(fixture, &both).await.is_empty());
}

/// Upcoming shows are those that start after the store's current time, in addition to the other filters.
pub async fn upcoming_shows_have_not_started(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let upcoming = ShowFilter { upcoming: true, ..ShowFilter::default() };
    let mut listed = formats(fixture, &upcoming).await;
    assert_eq!(listed.split_off(2), ["tomorrow", "later"]);
    let past = ShowFilter { to: Some(world.base), ..upcoming.clone() };
    assert!(formats(fixture, &past).await.is_empty());
    let beta = ShowFilter { theatre_id: Some(theatre_id(fixture, BETA).await), ..upcoming };
    assert_eq!(formats(fixture, &beta).await, ["later"]);
}

/// Booked, held and blocked seats are not available. The seats of a hold are available as soon as it expires.
pub async fn seats_available_excludes_live_claims(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let row = world.row(0);
    let outcome =
        sell(fixture.stores(), SIMPLE, async |sellers| sellers.submit(book(ana, world.soon, &row[..3], "k")).await)
            .await;
    booked(&outcome);
    hold(fixture, world.soon, row[3], ana, "live", 600).await;
    hold(fixture, world.soon, row[4], ana, "over", -1).await;
    block(fixture, world.soon, row[5]).await;
    let soon = one_show(fixture, world.soon).await;
    assert_eq!((soon.seats_total, soon.seats_available), (60, 55));
    for listed in shows(fixture, &ShowFilter::default()).await {
        let taken = if listed.id == world.soon { 5 } else { 0 };
        assert_eq!(listed.seats_available, listed.seats_total - taken, "{}", listed.format);
    }
    fixture
        .execute(&format!(
            "UPDATE seat_claims SET expires_at = {} WHERE hold_id = '{}'",
            fixture.instant(-1),
            crate::world::hold_id(world.soon, "live").as_str()
        ))
        .await;
    assert_eq!(one_show(fixture, world.soon).await.seats_available, 56);
}

/// Theatres and halls are ordered by name, by code point.
pub async fn theatres_have_their_halls_in_order_and_are_paged(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let halls = ["b", "B", "10", "9"].map(small_hall).to_vec();
    let more = vec![theatre("alpha", chrono_tz::UTC, halls), theatre("Ω", chrono_tz::UTC, Vec::new())];
    seed(fixture, SeedPlan { theatres: more, ..SeedPlan::default() }).await;
    let list = async |page: &_| fixture.stores().catalog.theatres(&TheatreFilter::default(), page).await.unwrap();
    let theatres = paged(list, |theatre| TheatreCursor { name: theatre.name.clone(), id: theatre.id }).await;
    let halls = |theatre: &Theatre| -> Vec<_> {
        theatre.halls.iter().map(|hall| (hall.name.clone(), hall.seats_total)).collect()
    };
    let names: Vec<_> = theatres.iter().map(|theatre| theatre.name.as_str()).collect();
    assert_eq!(names, [ALPHA, BETA, "alpha", "Ω"]);
    assert_eq!(halls(&theatres[0]), [("Main".to_owned(), 60), ("Small".to_owned(), 5)]);
    assert_eq!(halls(&theatres[2]), ["10", "9", "B", "b"].map(|name| (name.to_owned(), 5)));
    assert!(theatres[3].halls.is_empty());
    assert_eq!((theatres[1].timezone, theatres[1].location.as_str()), (chrono_tz::Asia::Tokyo, "Main street of Beta"));
    for listed in theatres {
        assert_eq!(fixture.stores().catalog.theatre(listed.id).await.unwrap(), Some(listed));
    }
}

/// A new layout changes the seat count of its hall, not that of shows with the old layout.
pub async fn hall_has_the_seats_of_its_newest_layout(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let hall = fixture.count(&format!("SELECT hall_id FROM shows WHERE id = {}", world.soon)).await;
    let made = fixture.instant(0);
    let layouts = "INSERT INTO layouts (hall_id, version, seats_total, created_at) VALUES";
    fixture.execute(&format!("{layouts} ({hall}, 3, 7, {made})")).await;
    fixture.execute(&format!("{layouts} ({hall}, 2, 99, {made})")).await;
    let theatre = fixture.stores().catalog.theatre(theatre_id(fixture, ALPHA).await).await.unwrap().unwrap();
    let seats: Vec<_> = theatre.halls.iter().map(|hall| hall.seats_total).collect();
    assert_eq!(seats, [7, 5]);
    let soon = one_show(fixture, world.soon).await;
    assert_eq!((soon.seats_total, soon.seats_available), (60, 60));
}

/// An unknown id is not found, in an empty store and in one with rows.
pub async fn unknown_ids_are_not_found(fixture: &dyn Fixture) {
    let catalog = &fixture.stores().catalog;
    assert!(movies(fixture, &MovieFilter::default()).await.is_empty());
    assert!(shows(fixture, &ShowFilter::default()).await.is_empty());
    assert!(catalog.theatres(&TheatreFilter::default(), &first_page(1)).await.unwrap().is_empty());
    seed(fixture, plan(now())).await;
    seed(fixture, SeedPlan { shows: vec![show(now(), "again", AMELIE, ALPHA, "Small", 500)], ..SeedPlan::default() })
        .await;
    for id in [i64::MIN, -1, 0, 987_654, i64::MAX] {
        assert_eq!(catalog.movie(MovieId(id)).await.unwrap(), None);
        assert_eq!(catalog.show(ShowId(id)).await.unwrap(), None);
        assert_eq!(catalog.theatre(TheatreId(id)).await.unwrap(), None);
    }
}

/// A theatre with an unknown time zone is left out of lists, and reading it by id fails.
pub async fn theatre_with_an_unknown_time_zone_is_not_listed(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let (alpha, beta) = (theatre_id(fixture, ALPHA).await, theatre_id(fixture, BETA).await);
    fixture.execute("UPDATE theatres SET timezone = 'Mars/Olympus' WHERE name = 'Alpha'").await;
    let catalog = &fixture.stores().catalog;
    let listed = catalog.theatres(&TheatreFilter::default(), &first_page(10)).await.unwrap();
    assert_eq!(listed.iter().map(|theatre| theatre.id).collect::<Vec<_>>(), [beta]);
    assert!(matches!(catalog.theatre(alpha).await, Err(StoreError::Internal(_))));
    assert!(catalog.theatre(beta).await.unwrap().is_some());
    // A search by date needs the time zones of all theatres.
    let service = CatalogService { store: catalog.clone() };
    let date = |theatre_id| ShowQuery { date: Some(now().date_naive()), theatre_id, ..ShowQuery::default() };
    service.shows(date(None), &first_page(10)).await.unwrap();
    assert_eq!(service.shows(date(Some(alpha)), &first_page(10)).await.unwrap().items, []);
    let movies = MovieQuery { date: Some(now().date_naive()), ..MovieQuery::default() };
    service.movies(movies, &first_page(10)).await.unwrap();
    // Lists that need no time zone still contain the theatre's shows.
    assert_eq!(shows(fixture, &ShowFilter::default()).await.len(), 6);
}

/// Invalid rows do not shorten a page, and the list continues after them.
pub async fn page_is_filled_despite_invalid_rows(fixture: &dyn Fixture) {
    let names: Vec<String> = (10..40).map(|number| format!("Theatre {number}")).collect();
    let theatres = names.iter().map(|name| theatre(name, chrono_tz::UTC, Vec::new())).collect();
    seed(fixture, SeedPlan { theatres, ..SeedPlan::default() }).await;
    fixture.execute("UPDATE theatres SET timezone = 'nowhere' WHERE name LIKE '%_1' OR name LIKE '% 2_'").await;
    let list = async |page: &_| fixture.stores().catalog.theatres(&TheatreFilter::default(), page).await.unwrap();
    let listed = paged(list, |theatre| TheatreCursor { name: theatre.name.clone(), id: theatre.id }).await;
    let good = names.iter().filter(|name| !name.ends_with('1') && !name.contains(" 2"));
    assert_eq!(listed.iter().map(|theatre| &theatre.name).collect::<Vec<_>>(), good.collect::<Vec<_>>());
    assert_eq!(list(&first_page(5)).await.len(), 6, "five, and one that says that there are more");
}

/// A show without prices is left out of lists, and reading it by id or booking it fails.
pub async fn show_without_prices_is_not_listed(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    fixture.execute(&format!("DELETE FROM show_prices WHERE show_id = {}", world.soon)).await;
    let listed: Vec<_> = shows(fixture, &ShowFilter::default()).await.iter().map(|show| show.id).collect();
    assert_eq!(listed.len(), 5);
    assert!(!listed.contains(&world.soon));
    assert!(matches!(fixture.stores().catalog.show(world.soon).await, Err(StoreError::Internal(_))));
    let caller = customer(fixture).await;
    let seats = world.row(0);
    let outcome = sell(fixture.stores(), SIMPLE, async |sellers| {
        sellers.submit(book(caller, world.soon, &seats[..1], "unpriced")).await
    });
    assert!(outcome.await.is_err(), "nothing is sold without a price");
}

/// A hall without a layout is listed with zero seats.
pub async fn a_hall_without_a_layout_has_no_seats(fixture: &dyn Fixture) {
    seed(fixture, SeedPlan { theatres: vec![theatre("Empty", chrono_tz::UTC, Vec::new())], ..SeedPlan::default() })
        .await;
    let id = theatre_id(fixture, "Empty").await;
    let made = fixture.instant(0);
    fixture.execute(&format!("INSERT INTO halls (theatre_id, name, created_at) VALUES ({id}, 'Bare', {made})")).await;
    let [theatre] = &fixture.stores().catalog.theatres(&TheatreFilter::default(), &first_page(10)).await.unwrap()[..]
    else {
        panic!("one theatre")
    };
    assert_eq!(theatre.halls.iter().map(|hall| hall.seats_total).collect::<Vec<_>>(), [0]);
}
