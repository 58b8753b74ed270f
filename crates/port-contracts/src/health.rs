//! Every port reports an unreachable store, and does so in time.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::StoreError;
use domain::booking::{BookingFilter, CommandError, ReadSet, WriteError};
use domain::catalog::{MovieFilter, ShowFilter, TheatreFilter};
use domain::identity::{AccountChange, AnonymiseError, Bearer, ChangeAccountError, CreatedUser, UserStoreError};
use domain::ids::{BookingId, LayoutId, MovieId, PriceListId, SessionId, ShowId, TheatreId, TicketTypeId, UserId};
use domain::pricing::PriceListFilter;
use domain::seed::SeedPlan;
use futures::future::{join, join_all};

use crate::Fixture;
use crate::tools::{RULES, SIMPLE, UniqueRandom, book, booked, decided, first_page, sell};
use crate::world::{World, customer, new_user, on_command_line, password_hash, token};

/// The longest time a call to an unreachable store may take.
const PATIENCE: Duration = Duration::from_secs(15);

async fn gone<T: std::fmt::Debug>(what: &str, call: impl Future<Output = Result<T, StoreError>>) {
    match tokio::time::timeout(PATIENCE, call).await {
        Ok(Err(StoreError::Unavailable(_))) => {}
        other => panic!("{what} of a store that is gone: {other:?}"),
    }
}

/// The check has a name, succeeds within two seconds, and fails within three if the store is unreachable.
pub async fn reachable_store_passes_its_check(fixture: &dyn Fixture) {
    let dependency = &fixture.stores().dependency;
    assert!(!dependency.name().is_empty());
    tokio::time::timeout(Duration::from_secs(2), dependency.check()).await.expect("in two seconds").unwrap();
    fixture.break_backend().await;
    let checked = tokio::time::timeout(Duration::from_secs(3), dependency.check()).await.expect("in two seconds");
    assert!(matches!(checked, Err(StoreError::Unavailable(_))), "{checked:?}");
}

/// No connection of a pool is in use while the store is idle, and some are in use under load.
pub async fn pools_report_their_use(fixture: &dyn Fixture) {
    let stores = fixture.stores();
    let in_use = || stores.dependency.pools().iter().map(|pool| pool.in_use).sum::<usize>();
    // A worker returns its result before it counts itself as free, so the idle state needs a wait.
    let is_calm = async {
        while in_use() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, is_calm).await.expect("connections that nobody uses are free");
    let pools = stores.dependency.pools();
    let names: BTreeSet<_> = pools.iter().map(|pool| pool.name).collect();
    assert!(!pools.is_empty() && names.len() == pools.len(), "{pools:?}");
    assert!(pools.iter().all(|pool| pool.size_max > 0 && pool.in_use == 0 && pool.waiting == 0), "{pools:?}");
    let seen = AtomicBool::new(false);
    let reading = async {
        while !seen.load(Ordering::Relaxed) {
            let reads = (0..20).map(|_| stores.catalog.theatre(TheatreId(1)));
            join_all(reads).await.into_iter().for_each(|read| drop(read.unwrap()));
        }
    };
    let watching = async {
        while in_use() == 0 {
            tokio::task::yield_now().await;
        }
        let pools = stores.dependency.pools();
        assert!(pools.iter().all(|pool| pool.in_use <= pool.size_max), "{pools:?}");
        seen.store(true, Ordering::Relaxed);
    };
    let calm = async {
        while in_use() > 0 || stores.dependency.pools().iter().any(|pool| pool.waiting > 0) {
            tokio::task::yield_now().await;
        }
    };
    let used = async {
        join(reading, watching).await;
        calm.await;
    };
    tokio::time::timeout(PATIENCE, used).await.expect("connections are used, and given back");
}

/// Every method of the identity ports reports an unreachable store.
pub async fn accounts_and_sessions_report_an_unreachable_store(fixture: &dyn Fixture) {
    let (users, sessions) = (&fixture.stores().users, &fixture.stores().sessions);
    let ana = new_user("ana@example.org");
    let CreatedUser { user, session_id } = users.create(&ana, Some(&token(1))).await.unwrap();
    let (id, bearer) = (user.id, Bearer { caller: user.caller(), session_id });
    fixture.break_backend().await;
    for session in [None, Some(&token(2))] {
        gone("create", async {
            users.create(&new_user("eve@example.org"), session).await.map_err(|error| match error {
                UserStoreError::Store(error) => error,
                UserStoreError::EmailTaken => StoreError::internal("taken"),
            })
        })
        .await;
    }
    gone("by_email", users.by_email(&ana.email)).await;
    gone("by_id", users.by_id(id)).await;
    gone("account", users.account(id)).await;
    gone("change", async {
        users.change(&bearer, &AccountChange::default()).await.map_err(|error| match error {
            ChangeAccountError::Store(error) => error,
            other => StoreError::internal(other),
        })
    })
    .await;
    gone("anonymise", async {
        users.anonymise(&bearer).await.map_err(|error| match error {
            AnonymiseError::Store(error) => error,
            other => StoreError::internal(other),
        })
    })
    .await;
    gone("create_by_operator", async {
        users.create_by_operator(&new_user("eve@example.org"), &on_command_line()).await.map_err(|error| match error {
            UserStoreError::Store(error) => error,
            other @ UserStoreError::EmailTaken => StoreError::internal(other),
        })
    })
    .await;
    gone("reset_password", users.reset_password(&ana.email, &password_hash("second"), &on_command_line())).await;
    gone("open", sessions.open(&user, &token(3))).await;
    gone("rotate", sessions.rotate(&token(1).hash, &token(4))).await;
    gone("end", sessions.end(&token(1).hash)).await;
    gone("end_one", sessions.end_one(id, SessionId(1))).await;
    gone("sessions", sessions.sessions(id, &first_page(1))).await;
    gone("lasts", sessions.lasts(&bearer)).await;
}

/// Every method of the read ports and of the seeder reports an unreachable store.
pub async fn reading_reports_an_unreachable_store(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let stores = fixture.stores();
    stores.catalog.movies(&MovieFilter::default(), &first_page(1)).await.unwrap();
    fixture.break_backend().await;
    gone("movies", stores.catalog.movies(&MovieFilter::default(), &first_page(1))).await;
    gone("movie", stores.catalog.movie(MovieId(1))).await;
    gone("shows", stores.catalog.shows(&ShowFilter::default(), &first_page(1))).await;
    gone("show", stores.catalog.show(ShowId(1))).await;
    gone("theatres", stores.catalog.theatres(&TheatreFilter::default(), &first_page(1))).await;
    gone("theatre", stores.catalog.theatre(TheatreId(1))).await;
    gone("seating", stores.seating.seating(ShowId(1))).await;
    gone("show_prices", stores.prices.show_prices(ShowId(1))).await;
    gone("ticket_types", stores.prices.ticket_types(None, &first_page(1))).await;
    gone("ticket_type", stores.prices.ticket_type(TicketTypeId(1))).await;
    gone("price_lists", stores.prices.price_lists(&PriceListFilter::default(), &first_page(1))).await;
    gone("price_list", stores.prices.price_list(PriceListId(1))).await;
    gone("layout", stores.layouts.layout(LayoutId(987_654))).await;
    gone("bookings", stores.bookings.bookings(UserId(1), &BookingFilter::default(), &first_page(1))).await;
    gone("booking", stores.bookings.booking(UserId(1), BookingId(1))).await;
    gone("seed", stores.seeder.seed(&SeedPlan { users: vec![new_user("eve@example.org")], ..SeedPlan::default() }))
        .await;
    gone("is_empty", stores.seeder.is_empty()).await;
}

/// The port that committers write to reports an unreachable store, called directly and through a queue.
pub async fn selling_reports_an_unreachable_store(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let ana = customer(fixture).await;
    let command = |seat: usize| book(ana, world.soon, &[world.main[seat].id], &format!("k{seat}"));
    let mut decisions = Vec::new();
    for seat in 0..fixture.stores().batches.len() {
        decisions.push(decided(fixture.stores(), &RULES, &UniqueRandom::new(), &[command(seat)]).await);
    }
    let outcome = sell(fixture.stores(), SIMPLE, async |sellers| {
        booked(&sellers.submit(command(20)).await);
        fixture.break_backend().await;
        tokio::time::timeout(PATIENCE, sellers.submit(command(21))).await
    })
    .await;
    assert!(matches!(outcome, Ok(Err(CommandError::Store(StoreError::Unavailable(_))))), "{outcome:?}");
    for (store, decision) in fixture.stores().batches.iter().zip(decisions) {
        gone("reserve_booking_ids", store.reserve_booking_ids()).await;
        gone("read", store.read(&ReadSet::default())).await;
        let written = tokio::time::timeout(PATIENCE, store.write(&decision.changes)).await;
        let unavailable = matches!(written, Ok(Err(WriteError::Store(StoreError::Unavailable(_)))));
        assert!(unavailable, "write to a store that is gone: {written:?}");
    }
}
