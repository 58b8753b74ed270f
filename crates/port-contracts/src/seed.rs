//! Cases of seeding: missing rows are added, existing rows stay unchanged.

use domain::catalog::{MovieFilter, TheatreFilter};
use domain::identity::{NewUser, Role};
use domain::ids::ShowId;
use domain::pricing::TicketTypeCode;
use domain::seating::CategoryPrice;
use domain::seed::{SeedPlan, Seeded, ShowSeed};
use futures::future::join_all;

use crate::Fixture;
use crate::tools::first_page;
use crate::world::{
    ALPHA, AMELIE, BETA, STALKER, World, cancel_show, main_hall, movie, new_user, now, password_hash, plan, show,
    show_id, small_hall, theatre, ticket_type,
};

async fn seed(fixture: &dyn Fixture, plan: &SeedPlan) -> Seeded {
    fixture.stores().seeder.seed(plan).await.unwrap()
}

async fn seed_shows(fixture: &dyn Fixture, shows: Vec<ShowSeed>) -> usize {
    let seeded = seed(fixture, &SeedPlan { shows, ..SeedPlan::default() }).await;
    assert_eq!(Seeded { shows: 0, ..seeded }, Seeded::default());
    seeded.shows
}

async fn rows(fixture: &dyn Fixture) -> [i64; 9] {
    let mut counts = [0; 9];
    let tables = ["users", "ticket_types", "movies", "theatres", "halls", "layouts", "seats", "shows", "show_prices"];
    for (count, table) in counts.iter_mut().zip(tables) {
        *count = fixture.count(&format!("SELECT count(*) FROM {table}")).await;
    }
    counts
}

fn child() -> TicketTypeCode {
    TicketTypeCode::parse("child").unwrap()
}

fn whole_plan() -> SeedPlan {
    let mut whole = plan(now());
    let child = CategoryPrice { ticket_type: child(), ..CategoryPrice::adult("standard", 800) };
    whole.shows[0].prices.push(child);
    let ticket_types = vec![ticket_type("child", 1), ticket_type("adult", 2), ticket_type("senior", 3)];
    SeedPlan { users: vec![new_user("ana@example.org")], ticket_types, ..whole }
}

const WHOLE: Seeded = Seeded { users: 1, ticket_types: 2, movies: 2, theatres: 2, halls: 3, shows: 6 };
/// One of the ticket types is made by a migration.
const WHOLE_ROWS: [i64; 9] = [1, 3, 2, 2, 3, 3, 125, 6, 11];

/// A store is empty until it has a movie or a theatre.
pub async fn a_new_store_is_empty(fixture: &dyn Fixture) {
    let seeder = &fixture.stores().seeder;
    assert!(seeder.is_empty().await.unwrap());
    assert_eq!(seed(fixture, &SeedPlan::default()).await, Seeded::default());
    seed(fixture, &SeedPlan { users: vec![new_user("ana@example.org")], ..SeedPlan::default() }).await;
    assert!(seeder.is_empty().await.unwrap(), "an administrator is made before anything else");
    let theatres = vec![theatre(ALPHA, chrono_tz::UTC, Vec::new())];
    seed(fixture, &SeedPlan { theatres, ..SeedPlan::default() }).await;
    assert!(!seeder.is_empty().await.unwrap());
}

/// The second application of a plan adds nothing.
pub async fn a_plan_applied_twice_adds_nothing(fixture: &dyn Fixture) {
    let plan = whole_plan();
    assert_eq!(seed(fixture, &plan).await, WHOLE);
    assert_eq!(rows(fixture).await, WHOLE_ROWS);
    assert_eq!(seed(fixture, &plan).await, Seeded::default());
    assert_eq!(rows(fixture).await, WHOLE_ROWS);
    let totals =
        "SELECT count(*) FROM layouts l WHERE seats_total = (SELECT count(*) FROM seats s WHERE s.layout_id = l.id)";
    assert_eq!(fixture.count(totals).await, 3);
}

/// Servers that start together add each row of a plan once.
pub async fn concurrent_plans_add_each_row_once(fixture: &dyn Fixture) {
    let plan = whole_plan();
    let mut added = join_all((0..4).map(|_| seed(fixture, &plan))).await;
    added.sort_by_key(|seeded| seeded.movies);
    assert_eq!(added, [Seeded::default(), Seeded::default(), Seeded::default(), WHOLE]);
    assert_eq!(rows(fixture).await, WHOLE_ROWS);
}

/// Existing rows are found by name: the other fields of a plan do not change them, and missing rows are added.
pub async fn existing_rows_stay_unchanged(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let catalog = &fixture.stores().catalog;
    let before = catalog.movies(&MovieFilter::default(), &first_page(100)).await.unwrap();
    let changed = SeedPlan {
        movies: vec![movie(STALKER, "Another.", &["Horror"], "English"), movie("Solaris", "", &["Drama"], "Russian")],
        theatres: vec![theatre(ALPHA, chrono_tz::UTC, vec![small_hall("Main"), small_hall("New")])],
        ..SeedPlan::default()
    };
    let added = Seeded { movies: 1, halls: 1, ..Seeded::default() };
    assert_eq!(seed(fixture, &changed).await, added);
    let after = catalog.movies(&MovieFilter::default(), &first_page(100)).await.unwrap();
    assert!(before.iter().all(|movie| after.contains(movie)), "{after:?}");
    let theatres = catalog.theatres(&TheatreFilter::default(), &first_page(100)).await.unwrap();
    assert_eq!(theatres[0].timezone, chrono_tz::Europe::Berlin);
    let halls: Vec<_> = theatres[0].halls.iter().map(|hall| (hall.name.as_str(), hall.seats_total)).collect();
    assert_eq!(halls, [("Main", 60), ("New", 5), ("Small", 5)]);
}

/// Ticket types are found by code. The one for adults exists in every store, and a plan does not change it.
pub async fn adult_ticket_type_exists_and_stays_unchanged(fixture: &dyn Fixture) {
    let read = "SELECT code || ' ' || names || ' ' || CAST(version AS text) FROM ticket_types ORDER BY position";
    assert_eq!(fixture.texts(read).await, [r#"adult {"en":"Adult"} 1"#]);
    let ticket_types = vec![ticket_type("adult", 5), ticket_type("child", 7)];
    let plan = SeedPlan { ticket_types, ..SeedPlan::default() };
    assert_eq!(seed(fixture, &plan).await, Seeded { ticket_types: 1, ..Seeded::default() });
    let child = r#"child {"de":"German child","en":"English child"} 1"#;
    assert_eq!(fixture.texts(read).await, [r#"adult {"en":"Adult"} 1"#, child]);
}

/// Shows of a hall do not overlap, cleaning time included. A cancelled show does not occupy its hall.
pub async fn shows_never_overlap_in_a_hall(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let at = |format, hall, hours| show(world.base, format, AMELIE, ALPHA, hall, hours);
    let minutes = |minutes, seed: ShowSeed| {
        let later = chrono::TimeDelta::minutes(minutes);
        ShowSeed {
            start_time: seed.start_time + later,
            end_time: seed.end_time + later,
            hall_free_at: seed.hall_free_at + later,
            ..seed
        }
    };
    // `soon` is in Main from 3 h to 5 h, and the hall is clean at 5:30 h.
    assert_eq!(seed_shows(fixture, vec![at("same start", "Main", 3)]).await, 0);
    assert_eq!(seed_shows(fixture, vec![at("during", "Main", 4)]).await, 0);
    assert_eq!(seed_shows(fixture, vec![minutes(29, at("cleaning", "Main", 5))]).await, 0);
    assert_eq!(seed_shows(fixture, vec![minutes(30, at("right after", "Main", 5))]).await, 1);
    // `tomorrow` is in Small from 50 h.
    assert_eq!(seed_shows(fixture, vec![minutes(31, at("not clean in time", "Small", 47))]).await, 0);
    assert_eq!(seed_shows(fixture, vec![minutes(30, at("just before", "Small", 47))]).await, 1);
    // If two shows of one plan overlap, the first one is added.
    assert_eq!(seed_shows(fixture, vec![at("first", "Small", 60), at("second", "Small", 61)]).await, 1);
    show_id(fixture, "first").await;
    cancel_show(fixture, world.tomorrow).await;
    assert_eq!(seed_shows(fixture, vec![minutes(10, at("instead", "Small", 50))]).await, 1);
}

/// A show that could not be sold is left out, and the others are added.
pub async fn shows_without_price_movie_or_hall_are_left_out(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let plan = SeedPlan { ticket_types: vec![ticket_type("child", 1)], ..SeedPlan::default() };
    assert_eq!(seed(fixture, &plan).await, Seeded { ticket_types: 1, ..Seeded::default() });
    let at = |format, hours| show(world.base, format, STALKER, BETA, "Main", hours);
    let mut unpriced = at("unpriced", 200);
    unpriced.prices.retain(|price| price.category == "standard");
    let mut enough = show(world.base, "enough", STALKER, ALPHA, "Small", 200);
    // A price of a category without seats in the hall is not stored, so it cannot become `price_from`.
    enough.prices.retain(|price| price.category == "standard");
    enough.prices.push(CategoryPrice::adult("nobody's", 1));
    let mut for_children = at("for children alone", 240);
    let is_standard = |price: &&mut CategoryPrice| price.category == "standard";
    for_children.prices.iter_mut().filter(is_standard).for_each(|price| price.ticket_type = child());
    let mut unknown = at("unknown ticket type", 250);
    let dog = TicketTypeCode::parse("dog").unwrap();
    unknown.prices.push(CategoryPrice { ticket_type: dog, ..CategoryPrice::adult("standard", 1) });
    let shows = vec![
        unpriced,
        for_children,
        unknown,
        ShowSeed { movie_title: "Nothing".into(), ..at("no movie", 210) },
        ShowSeed { theatre_name: "Nowhere".into(), ..at("no theatre", 220) },
        ShowSeed { hall_name: "Small".into(), ..at("no hall", 230) },
        enough,
    ];
    let before = rows(fixture).await;
    assert_eq!(seed_shows(fixture, shows).await, 1);
    assert!(show_id(fixture, "enough").await > ShowId(0));
    let mut after = rows(fixture).await;
    after[7] -= 1;
    after[8] -= 1;
    assert_eq!(after, before);
}

/// Seeded accounts are found with their roles and hashes. An existing address keeps its account.
pub async fn seeded_accounts_can_log_in(fixture: &dyn Fixture) {
    let admin = NewUser { role: Role::Admin, ..new_user("Admin@example.org") };
    let plan = SeedPlan {
        users: vec![admin.clone()],
        theatres: vec![theatre(BETA, chrono_tz::UTC, vec![main_hall()])],
        ..SeedPlan::default()
    };
    assert_eq!(seed(fixture, &plan).await.users, 1);
    let again = NewUser { password_hash: password_hash("other"), ..new_user("aDMIN@example.org") };
    let plan = SeedPlan { users: vec![again, new_user("eve@example.org")], ..SeedPlan::default() };
    assert_eq!(seed(fixture, &plan).await, Seeded { users: 1, ..Seeded::default() });
    let account = fixture.stores().users.by_email(&admin.email).await.unwrap().unwrap();
    assert_eq!((account.user.role, account.password_hash), (Role::Admin, admin.password_hash));
    assert_eq!(account.user.email, "Admin@example.org");
}
