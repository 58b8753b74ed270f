//! Cases of shows that staff add, change and cancel.

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, TimeDelta, Utc};
use domain::admin::{
    AuditFilter, Change, ChangeAnswer, ChangeError, ChangeRefusal, Edit, ManagedShow, NewShows, ObjectKind, Schedule,
    ShowChange, ShowEdit, ShowFormat, ShowParts, ShowSurroundings, ShowsDraft, StaffShowFilter,
};
use domain::booking::{
    Action, BookingOfCancelledShow, BookingStatus, Command, CommandError, Refusal, ShowBooking, WriteError,
};
use domain::catalog::{MovieFilter, ShowCursor, ShowStatus};
use domain::identity::{Bearer, Caller};
use domain::ids::{BookingId, HallId, PriceListId, ShowId};
use domain::pricing::{ManagedPriceList, PriceList, PriceListDetails, PriceTerms, TicketTypeCode};
use domain::seating::CategoryPrice;
use futures::FutureExt as _;
use futures::future::join_all;

use crate::Fixture;
use crate::admin::{admin, apply, entries, hall, refused};
use crate::tools::{MODES, RULES, SIMPLE, UniqueRandom, book, booked, command, decided, first_page, paged, sell};
use crate::world::{AMELIE, World, cancel_show, customer, customers};

/// The objects that new shows of Alpha's small hall need.
struct Parts {
    admin: Bearer,
    hall: HallId,
    list: PriceListId,
}

impl Parts {
    async fn build(fixture: &dyn Fixture) -> Self {
        let admin = admin(fixture).await;
        let hall = HallId(fixture.count("SELECT id FROM halls WHERE name = 'Small'").await);
        let theatre = crate::admin::hall(fixture, hall.0).await.theatre_id;
        let currency = fixture.stores().catalog.theatre(theatre).await.unwrap().unwrap().currency;
        let list = PriceList::new(theatre, currency, vec![CategoryPrice::adult("standard", 900)], Vec::new()).unwrap();
        let details = PriceListDetails { name: domain::catalog::PlaceName::parse("New").unwrap(), list };
        let list = apply(fixture, admin, &Change::PriceList(Edit::Create(details))).await.unwrap();
        Self { admin, hall, list: PriceListId(list.object_id) }
    }

    async fn list(&self, fixture: &dyn Fixture) -> ManagedPriceList {
        fixture.stores().prices.price_list(self.list).await.unwrap().unwrap()
    }

    /// Returns shows that begin these numbers of hours after the world.
    async fn shows(&self, fixture: &dyn Fixture, world: &World, hours: &[i64]) -> NewShows {
        let stores = fixture.stores();
        let filter = MovieFilter { search: Some(AMELIE.to_lowercase()), ..MovieFilter::default() };
        let movie = stores.catalog.movies(&filter, &first_page(1)).await.unwrap().remove(0);
        let hall = hall(fixture, self.hall.0).await;
        let theatre = stores.catalog.theatre(hall.theatre_id).await.unwrap().unwrap();
        let newest = stores.layout_versions.layout_versions(self.hall, &first_page(1)).await.unwrap().remove(0);
        let layout = stores.layouts.layout(newest.id).await.unwrap().unwrap();
        let terms = PriceTerms { currency: theatre.currency, ticket_types: [(TicketTypeCode::ADULT, false)].into() };
        let mut all: Option<NewShows> = None;
        for hours in hours {
            let start = world.base + TimeDelta::hours(*hours);
            let draft = ShowsDraft {
                movie_id: movie.id,
                hall_id: hall.id,
                price_list_id: self.list,
                schedule: Schedule::Once(start.with_timezone(&theatre.timezone).naive_local()),
                duration: Some(domain::catalog::Duration::parse(60).unwrap()),
                format: ShowFormat::parse("2D").unwrap(),
                language: None,
                sales_open_at: None,
                sales_close: None,
            };
            let price_list = self.list(fixture).await;
            let (movie, theatre, hall, terms) = (movie.clone(), theatre.clone(), hall.clone(), terms.clone());
            let parts = ShowParts { movie, theatre, hall, layout: &layout, price_list, terms };
            let planned = draft.plan(parts, world.base).unwrap();
            match &mut all {
                Some(all) => all.shows.extend(planned.shows),
                None => all = Some(planned),
            }
        }
        all.unwrap()
    }

    async fn add(&self, fixture: &dyn Fixture, new: NewShows) -> Result<ChangeAnswer, ChangeError> {
        apply(fixture, self.admin, &Change::Programme(new)).await
    }

    /// Changes a show as it is now.
    async fn change(&self, fixture: &dyn Fixture, id: ShowId, change: ShowChange) -> Result<ChangeAnswer, ChangeError> {
        let before = show(fixture, id).await;
        let stores = fixture.stores();
        let theatre = stores.catalog.theatre(before.show.theatre_id).await.unwrap().unwrap();
        let layout = stores.layouts.layout(before.layout_id).await.unwrap().unwrap();
        let terms = PriceTerms { currency: theatre.currency, ticket_types: [(TicketTypeCode::ADULT, false)].into() };
        let around = ShowSurroundings { theatre, layout: &layout, terms, price_list: Some(self.list(fixture).await) };
        let after = change.apply(&before, &around, crate::world::now()).unwrap();
        apply(fixture, self.admin, &Change::Show(ShowEdit::Update { before, after })).await
    }

    async fn cancel(&self, fixture: &dyn Fixture, id: ShowId) -> Result<ChangeAnswer, ChangeError> {
        let (before, reason) = (show(fixture, id).await, "No projector".to_owned());
        apply(fixture, self.admin, &Change::Show(ShowEdit::Cancel { before, reason })).await
    }
}

async fn show(fixture: &dyn Fixture, id: ShowId) -> ManagedShow {
    fixture.stores().staff_shows.staff_show(id).await.unwrap().unwrap()
}

async fn all_shows(fixture: &dyn Fixture, filter: &StaffShowFilter) -> Vec<ManagedShow> {
    let list = async |page: &_| fixture.stores().staff_shows.staff_shows(filter, page).await.unwrap();
    paged(list, |found: &ManagedShow| ShowCursor { start_time: found.show.start_time, id: found.show.id }).await
}

fn moved(world: &World, before: &ManagedShow, hours: i64, notify: bool) -> ShowChange {
    let start = world.base + TimeDelta::hours(hours);
    let start = Some(start.with_timezone(&before.timezone).naive_local());
    ShowChange { start, notify, ..ShowChange::default() }
}

/// Returns an overlap as the start of the new show and the id of the other one.
#[track_caller]
fn overlaps(outcome: Result<ChangeAnswer, ChangeError>) -> Vec<(DateTime<Utc>, ShowId)> {
    match outcome {
        Err(ChangeError::ShowsOverlap(found)) => found.iter().map(|one| (one.start_time, one.other)).collect(),
        other => panic!("no overlap: {other:?}"),
    }
}

/// New shows have their times, prices and the layout, and an audit entry each. If one of them overlaps another show, cleaning included, none
/// is added, and the others are listed.
pub async fn shows_are_added_all_or_none(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let new = parts.shows(fixture, &world, &[300, 310, 320]).await;
    let answer = parts.add(fixture, new.clone()).await.unwrap();
    let filter = StaffShowFilter { hall_id: Some(parts.hall), upcoming: true, ..StaffShowFilter::default() };
    let found: Vec<_> =
        all_shows(fixture, &filter).await.into_iter().filter(|found| found.show.format == "2D").collect();
    assert_eq!((found.len(), answer.object_id, answer.version), (3, found[0].show.id.0, 1));
    for (found, new) in found.iter().zip(&new.shows) {
        let times = (found.show.start_time, found.show.end_time, found.hall_free_at);
        assert_eq!(times, (new.start.start_time, new.start.end_time, new.start.hall_free_at));
        assert_eq!(
            (&found.prices, found.show.status),
            (&vec![CategoryPrice::adult("standard", 900)], ShowStatus::Scheduled)
        );
        assert_eq!(
            (found.version, found.layout_id, &found.cancellation),
            (1, world_layout(fixture, &world).await, &None)
        );
    }
    let log = AuditFilter { object_kind: Some(ObjectKind::Show), ..AuditFilter::default() };
    assert_eq!(entries(fixture, &log).await.len(), 3);
    // The second begins while the hall is cleaned after the show at 310.
    let mut late = parts.shows(fixture, &world, &[330, 311]).await;
    late.shows[1].start.start_time -= TimeDelta::seconds(1);
    let start = late.shows[1].start.start_time;
    assert_eq!(overlaps(parts.add(fixture, late).await), [(start, found[1].show.id)]);
    assert_eq!(all_shows(fixture, &filter).await.iter().filter(|found| found.show.format == "2D").count(), 3);
    assert_eq!(entries(fixture, &log).await.len(), 3);
    // A cancelled show is not in the way.
    parts.cancel(fixture, found[1].show.id).await.unwrap();
    parts.add(fixture, parts.shows(fixture, &world, &[310]).await).await.unwrap();
}

async fn world_layout(fixture: &dyn Fixture, world: &World) -> domain::ids::LayoutId {
    crate::world::layout_id(fixture, world.beside).await
}

/// New shows are stale if the movie, the theatre, the hall or the price list was changed since it was read.
pub async fn new_shows_need_the_versions_that_were_read(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    for table in ["movies", "theatres", "halls", "price_lists"] {
        let new = parts.shows(fixture, &world, &[300]).await;
        fixture.execute(&format!("UPDATE {table} SET version = version + 1")).await;
        let outcome = parts.add(fixture, new).await;
        assert!(matches!(outcome, Err(ChangeError::Stale)), "{table}: {outcome:?}");
    }
    parts.add(fixture, parts.shows(fixture, &world, &[300]).await).await.unwrap();
}

/// Of concurrent shows that overlap, one is added.
pub async fn concurrent_shows_do_not_overlap(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let mut all = Vec::new();
    for hours in [[300, 310], [310, 300], [300, 320], [310, 320]] {
        let mut new = parts.shows(fixture, &world, &hours).await;
        new.shows.sort_by_key(|show| show.start.start_time);
        all.push(new);
    }
    let outcomes = join_all(all.into_iter().map(|new| parts.add(fixture, new))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1, "{outcomes:?}");
    for outcome in outcomes.into_iter().filter(Result::is_err) {
        overlaps(outcome);
    }
}

async fn live_statuses(fixture: &dyn Fixture, show: ShowId, status: BookingStatus) -> i64 {
    let status = status.as_str();
    fixture.count(&format!("SELECT count(*) FROM bookings WHERE show_id = {show} AND status = '{status}'")).await
}

async fn events(fixture: &dyn Fixture, kind: &str) -> i64 {
    fixture.count(&format!("SELECT count(*) FROM outbox WHERE kind = '{kind}'")).await
}

async fn sell_seats(fixture: &dyn Fixture, world: &World, show: ShowId, callers: &[Caller]) -> Vec<BookingId> {
    sell(fixture.stores(), MODES[0], async |sellers| {
        let sales = callers.iter().zip(&world.small).map(|(caller, seat)| book(*caller, show, &[seat.id], "k"));
        sellers.submit_all(sales.collect()).await.iter().map(|outcome| booked(outcome).0).collect()
    })
    .await
}

/// A show with bookings moves only with a notice, which is one event for each booking. A show moves nowhere where another one is.
pub async fn show_with_bookings_moves_with_a_notice(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let before = show(fixture, world.tomorrow).await;
    sell_seats(fixture, &world, world.tomorrow, &customers(fixture, 3).await).await;
    let outcome = parts.change(fixture, world.tomorrow, moved(&world, &before, 60, false)).await;
    refused(outcome, ChangeRefusal::ShowHasBookings);
    assert_eq!((show(fixture, world.tomorrow).await.version, events(fixture, "booking_moved").await), (1, 0));
    parts.change(fixture, world.tomorrow, moved(&world, &before, 60, true)).await.unwrap();
    let after = show(fixture, world.tomorrow).await;
    assert_eq!((after.version, after.show.start_time), (2, world.base + TimeDelta::hours(60)));
    assert_eq!(after.show.end_time - after.show.start_time, before.show.end_time - before.show.start_time);
    assert_eq!(events(fixture, "booking_moved").await, 3);
    // Itself is not in its way, and neither is the place where it was.
    parts.change(fixture, world.tomorrow, moved(&world, &before, 61, true)).await.unwrap();
    let outcome = parts.change(fixture, world.tomorrow, moved(&world, &before, 3, true)).await;
    assert_eq!(overlaps(outcome), [(world.base + TimeDelta::hours(3), world.beside)]);
    // Other fields need no notice.
    let format = ShowChange { format: Some(ShowFormat::parse("3D").unwrap()), ..ShowChange::default() };
    parts.change(fixture, world.tomorrow, format).await.unwrap();
    assert_eq!(
        (show(fixture, world.tomorrow).await.show.format, events(fixture, "booking_moved").await),
        ("3D".into(), 6)
    );
}

/// New prices replace the prices of a show. What is sold keeps its price.
pub async fn new_prices_count_for_what_is_not_sold(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let callers = customers(fixture, 2).await;
    sell_seats(fixture, &world, world.tomorrow, &callers[..1]).await;
    let sold = "SELECT price_minor FROM booking_seats ORDER BY booking_id DESC LIMIT 1";
    let former = fixture.count(sold).await;
    let change = ShowChange { prices: Some(domain::admin::NewPrices::Of(parts.list)), ..ShowChange::default() };
    parts.change(fixture, world.tomorrow, change).await.unwrap();
    assert_eq!(show(fixture, world.tomorrow).await.prices, [CategoryPrice::adult("standard", 900)]);
    assert_eq!(fixture.count(sold).await, former);
    sell(fixture.stores(), SIMPLE, async |sellers| {
        booked(&sellers.submit(book(callers[1], world.tomorrow, &[world.small[1].id], "k")).await)
    })
    .await;
    assert_eq!((former != 900, fixture.count(sold).await), (true, 900));
}

/// A sale that was decided before its show was changed or cancelled, and is written after it, is stale.
pub async fn sale_decided_before_a_change_of_its_show_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let ana = customer(fixture).await;
    let decide = async || {
        let sale = book(ana, world.tomorrow, &[world.small[0].id], "k");
        decided(fixture.stores(), &RULES, &UniqueRandom::new(), &[sale]).await.changes
    };
    let early = decide().await;
    let change = ShowChange { prices: Some(domain::admin::NewPrices::Of(parts.list)), ..ShowChange::default() };
    parts.change(fixture, world.tomorrow, change).await.unwrap();
    let later = decide().await;
    parts.cancel(fixture, world.tomorrow).await.unwrap();
    for changes in [early, later] {
        let written = fixture.stores().batches[0].write(&changes).await;
        assert!(matches!(written, Err(WriteError::Stale(_))), "{written:?}");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM bookings").await, 0);
}

fn cancel_with_show(show_id: ShowId, (booking_id, customer): (BookingId, domain::ids::UserId)) -> Command {
    let owner = Caller { user_id: customer, role: domain::identity::Role::Customer, session_generation: 0 };
    let booking = ShowBooking { show_id, booking_id };
    command(owner, Action::CancelWithShow(BookingOfCancelledShow { booking, customer }), "")
}

/// A cancelled show is not booked any more. Its bookings are listed until each is cancelled, with one event each, however often that is
/// asked; then the show is finished.
pub async fn bookings_of_a_cancelled_show_are_cancelled_once(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let stores = fixture.stores();
    let callers = customers(fixture, 4).await;
    let ids = sell_seats(fixture, &world, world.tomorrow, &callers).await;
    // Bookings of customers whose sessions have ended are cancelled as well.
    fixture.execute("UPDATE users SET session_generation = session_generation + 1").await;
    let early = sell(stores, SIMPLE, async |sellers| {
        sellers.submit(cancel_with_show(world.tomorrow, (ids[0], callers[0].user_id))).await
    });
    assert!(matches!(early.await, Err(CommandError::Refused(Refusal::NotCancellable))));
    assert_eq!(stores.cancelled_shows.unfinished().await.unwrap(), []);

    let admin = Parts { admin: admin(fixture).await, ..parts };
    admin.cancel(fixture, world.tomorrow).await.unwrap();
    let found = show(fixture, world.tomorrow).await;
    assert_eq!((found.show.status, found.version), (ShowStatus::Cancelled, 2));
    assert_eq!(found.cancellation.unwrap().reason, "No projector");
    admin.cancel(fixture, world.tomorrow).await.unwrap();
    assert_eq!(show(fixture, world.tomorrow).await.version, 2);
    assert_eq!(stores.cancelled_shows.unfinished().await.unwrap(), [world.tomorrow]);
    // The bookings are live, and none is added.
    stores.cancelled_shows.finish(world.tomorrow).await.unwrap();
    assert_eq!(stores.cancelled_shows.unfinished().await.unwrap(), [world.tomorrow]);
    let late = customer(fixture).await;
    let refusal = sell(stores, SIMPLE, async |sellers| {
        sellers.submit(book(late, world.tomorrow, &[world.small[4].id], "k")).await
    });
    assert!(matches!(refusal.await, Err(CommandError::Refused(Refusal::SalesClosed))));

    assert_eq!(stores.cancelled_shows.live_bookings(world.tomorrow, None, 3).await.unwrap().len(), 3);
    let live = stores.cancelled_shows.live_bookings(world.tomorrow, None, 100).await.unwrap();
    let rest = stores.cancelled_shows.live_bookings(world.tomorrow, Some(live[1].0), 100).await.unwrap();
    assert_eq!(rest, live[2..]);
    let owners: Vec<_> = callers.iter().map(|caller| caller.user_id).collect();
    let mut expected: Vec<_> = ids.iter().copied().zip(owners).collect();
    expected.sort_unstable();
    assert_eq!(live, expected);
    sell(stores, MODES[MODES.len() - 1], async |sellers| {
        let twice = live.iter().chain(&live).map(|booking| cancel_with_show(world.tomorrow, *booking));
        for outcome in sellers.submit_all(twice.collect()).await {
            booked(&outcome);
        }
    })
    .await;
    assert_eq!(live_statuses(fixture, world.tomorrow, BookingStatus::Cancelled).await, 4);
    assert_eq!(
        (events(fixture, "booking_cancelled").await, fixture.count("SELECT count(*) FROM seat_claims").await),
        (4, 0)
    );
    // The cinema's own cancellation does not count towards a customer's limit.
    assert_eq!(stores.cancelled_shows.live_bookings(world.tomorrow, None, 100).await.unwrap(), []);
    stores.cancelled_shows.finish(world.tomorrow).await.unwrap();
    assert_eq!(stores.cancelled_shows.unfinished().await.unwrap(), []);
    assert_eq!(stores.cancelled_shows.live_bookings(ShowId(987_654), None, 1).await.unwrap(), []);
    stores.cancelled_shows.finish(ShowId(987_654)).await.unwrap();
}

/// While a show is cancelled, each sale is either committed before, and its booking listed, or refused.
pub async fn sales_and_cancellations_of_shows_exclude_each_other(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let parts = Parts::build(fixture).await;
    let hours: Vec<_> = (0..12).map(|number| 300 + 3 * number).collect();
    parts.add(fixture, parts.shows(fixture, &world, &hours).await).await.unwrap();
    let filter = StaffShowFilter { hall_id: Some(parts.hall), ..StaffShowFilter::default() };
    let shows = all_shows(fixture, &filter).await.into_iter().filter(|found| found.show.format == "2D");
    let callers = customers(fixture, 2).await;
    for (round, found) in shows.enumerate() {
        let id = found.show.id;
        let sales = sell(fixture.stores(), MODES[round % MODES.len()], async |sellers| {
            let sales = callers
                .iter()
                .zip(&world.small)
                .map(|(caller, seat)| book(*caller, id, &[seat.id], &format!("{round}")));
            sellers.submit_all(sales.collect()).await
        });
        let (outcomes, cancelled) = futures::future::join(sales, parts.cancel(fixture, id)).await;
        cancelled.unwrap();
        let sold = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        for outcome in outcomes.iter().filter(|outcome| outcome.is_err()) {
            assert!(matches!(outcome, Err(CommandError::Refused(Refusal::SalesClosed))), "{outcome:?}");
        }
        assert_eq!(fixture.stores().cancelled_shows.live_bookings(id, None, 100).await.unwrap().len(), sold);
    }
}

/// Shows are listed by start, with every filter, cancelled ones included.
pub async fn shows_are_listed_for_staff(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    cancel_show(fixture, world.soon).await;
    let ids = async |filter: StaffShowFilter| -> Vec<ShowId> {
        all_shows(fixture, &filter).await.iter().map(|found| found.show.id).collect()
    };
    let all = [world.yesterday, world.started, world.soon, world.beside, world.tomorrow, world.later];
    let mut found = ids(StaffShowFilter::default()).await;
    found[2..4].sort_unstable();
    let mut expected = all;
    expected[2..4].sort_unstable();
    assert_eq!(found, expected);
    let upcoming = ids(StaffShowFilter { upcoming: true, ..StaffShowFilter::default() }).await;
    assert_eq!((upcoming.len(), upcoming[0]), (5, world.started));
    let status = |status| StaffShowFilter { status: Some(status), ..StaffShowFilter::default() };
    assert_eq!(ids(status(ShowStatus::Cancelled)).await, [world.soon]);
    assert_eq!(ids(status(ShowStatus::Scheduled)).await.len(), 5);
    let later = show(fixture, world.later).await.show;
    assert_eq!(
        ids(StaffShowFilter { theatres: Some(vec![later.theatre_id]), ..StaffShowFilter::default() }).await,
        [world.yesterday, world.later]
    );
    assert_eq!(ids(StaffShowFilter { theatres: Some(Vec::new()), ..StaffShowFilter::default() }).await, []);
    assert_eq!(
        ids(StaffShowFilter { hall_id: Some(later.hall_id), upcoming: true, ..StaffShowFilter::default() }).await,
        [world.later]
    );
    let movie = show(fixture, world.tomorrow).await.show.movie_id;
    let of_movie = ids(StaffShowFilter { movie_id: Some(movie), ..StaffShowFilter::default() }).await;
    assert_eq!(of_movie, [world.yesterday, world.beside, world.tomorrow]);
    assert_eq!(ids(StaffShowFilter { search: Some("amél".into()), ..StaffShowFilter::default() }).await, of_movie);
    assert_eq!(ids(StaffShowFilter { search: Some("%".into()), ..StaffShowFilter::default() }).await, []);
    let window = domain::catalog::DayWindow {
        theatre_id: later.theatre_id,
        from: later.start_time,
        to: later.start_time + TimeDelta::seconds(1),
    };
    assert_eq!(ids(StaffShowFilter { during: Some(vec![window]), ..StaffShowFilter::default() }).await, [world.later]);
    assert_eq!(ids(StaffShowFilter { during: Some(Vec::new()), ..StaffShowFilter::default() }).await, []);
    for id in [i64::MIN, 0, 987_654, i64::MAX] {
        assert_eq!(fixture.stores().staff_shows.staff_show(ShowId(id)).await.unwrap(), None);
    }
}

/// The ports of shows report an unreachable store.
pub async fn shows_report_an_unreachable_store(fixture: &dyn Fixture) {
    World::build(fixture).await;
    fixture.break_backend().await;
    let (shows, cancelled) = (&fixture.stores().staff_shows, &fixture.stores().cancelled_shows);
    let (filter, page) = (StaffShowFilter::default(), first_page(1));
    let outcomes = [
        AssertUnwindSafe(shows.staff_shows(&filter, &page)).map(|outcome| outcome.is_err()).boxed(),
        AssertUnwindSafe(shows.staff_show(ShowId(1))).map(|outcome| outcome.is_err()).boxed(),
        AssertUnwindSafe(cancelled.unfinished()).map(|outcome| outcome.is_err()).boxed(),
        AssertUnwindSafe(cancelled.live_bookings(ShowId(1), None, 1)).map(|outcome| outcome.is_err()).boxed(),
        AssertUnwindSafe(cancelled.finish(ShowId(1))).map(|outcome| outcome.is_err()).boxed(),
    ];
    assert_eq!(join_all(outcomes).await, [true; 5]);
}
