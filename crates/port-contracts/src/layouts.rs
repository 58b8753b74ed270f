//! Cases of new layouts: their versions, and the shows that get them.

use std::panic::AssertUnwindSafe;

use domain::admin::{
    AuditFilter, Change, ChangeAnswer, ChangeRefusal, Edit, Fields, LayoutCursor, LayoutVersion, NewLayout, ObjectKind,
};
use domain::booking::{CommandError, Refusal, WriteError};
use domain::identity::Bearer;
use domain::ids::{HallId, LayoutId, SeatId, ShowId};
use domain::seating::{LayoutPlan, PlannedLayout};
use domain::seed::SeedPlan;
use futures::FutureExt as _;
use futures::future::{join, join_all};

use crate::Fixture;
use crate::admin::{admin, apply, entries, hall, refused};
use crate::tools::{MODES, RULES, SIMPLE, UniqueRandom, book, booked, decided, first_page, paged, sell};
use crate::world::{ALPHA, AMELIE, World, block, customer, customers, hold, layout_id, sell_to, show, show_id};

/// Six standard seats, two of them a love seat, and a focal point.
const PLAN: &str = "category s = standard\nlove l = standard\nfocus 2,1\n2 | ss\n10 [from right] | ss_ll\n";

fn planned(text: &str) -> PlannedLayout {
    LayoutPlan::Text(text.to_owned()).seats().unwrap()
}

async fn small_hall(fixture: &dyn Fixture) -> i64 {
    fixture.count("SELECT id FROM halls WHERE name = 'Small'").await
}

async fn add(fixture: &dyn Fixture, bearer: Bearer, hall_id: i64, text: &str) -> ChangeAnswer {
    let change = Change::Layout(NewLayout { hall: hall(fixture, hall_id).await, plan: planned(text) });
    apply(fixture, bearer, &change).await.unwrap()
}

async fn versions(fixture: &dyn Fixture, hall_id: i64) -> Vec<LayoutVersion> {
    let stores = fixture.stores();
    let list = async |page: &_| stores.layout_versions.layout_versions(HallId(hall_id), page).await.unwrap();
    paged(list, |layout: &LayoutVersion| LayoutCursor { version: layout.version }).await
}

/// Returns the ids that the encoded answer lists, which is debug text: `updated: [ShowId(3), ShowId(4)]`.
fn listed(answer: &ChangeAnswer, name: &str) -> Vec<ShowId> {
    let text = String::from_utf8(answer.body.to_vec()).unwrap();
    let (_, rest) = text.rsplit_once(&format!("{name}: [")).unwrap();
    let (list, _) = rest.split_once(']').unwrap();
    let id = |item: &str| item.trim_matches(|letter: char| !letter.is_ascii_digit()).parse().ok().map(ShowId);
    list.split(',').filter_map(id).collect()
}

/// A new layout has the seats and sections of its plan and the next version. The hall has its seats and a higher version, and the audit log
/// has the plan.
pub async fn a_layout_is_the_next_version_of_its_hall(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let (admin, hall_id) = (admin(fixture).await, small_hall(fixture).await);
    let before = hall(fixture, hall_id).await;
    let added = add(fixture, admin, hall_id, PLAN).await;
    assert_eq!(added.version, 2);
    let id = LayoutId(added.object_id);
    let layout = fixture.stores().layouts.layout(id).await.unwrap().unwrap();
    assert_eq!(PlannedLayout::from(&*layout), planned(PLAN));
    let after = hall(fixture, hall_id).await;
    assert_eq!((after.seats_total, after.version), (6, before.version + 1));
    let version = fixture.stores().layout_versions.layout_version(id).await.unwrap().unwrap();
    assert_eq!((version.id, version.hall_id, version.theatre_id), (id, after.id, after.theatre_id));
    assert_eq!((version.version, version.seats_total, version.used_by_shows), (2, 6, 2));
    let log = entries(fixture, &AuditFilter { object_kind: Some(ObjectKind::Layout), ..AuditFilter::default() }).await;
    let [entry] = &log[..] else { panic!("one entry: {log:?}") };
    assert_eq!((entry.object_id, entry.theatre_id, &entry.before), (id.0, Some(after.theatre_id), &Fields::default()));
    let fields = Fields::default().with("hall_id", hall_id.to_string()).with("version", "2").with("seats_total", "6");
    assert_eq!(entry.after, fields.with("plan", planned(PLAN).to_text().unwrap()));
    assert_eq!(planned(entry.after.0["plan"].as_str()), planned(PLAN));
}

/// The layouts of a hall are ordered by version, newest first, and paged, each with the number of its shows that have not ended.
pub async fn layouts_are_listed_newest_first_and_paged(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (admin, hall_id) = (admin(fixture).await, small_hall(fixture).await);
    block(fixture, world.beside, world.small[0].id).await;
    for _ in 0..4 {
        add(fixture, admin, hall_id, PLAN).await;
    }
    let found: Vec<_> =
        versions(fixture, hall_id).await.iter().map(|layout| (layout.version, layout.used_by_shows)).collect();
    assert_eq!(found, [(5, 1), (4, 0), (3, 0), (2, 0), (1, 1)]);
    assert_eq!(versions(fixture, 987_654).await, []);
    for id in [i64::MIN, 0, 987_654, i64::MAX] {
        assert_eq!(fixture.stores().layout_versions.layout_version(LayoutId(id)).await.unwrap(), None);
    }
}

/// Upcoming shows without sales get the new layout. Shows that have or had a booking, a live hold or a blocked seat, and shows without a
/// price for adults in some category keep theirs, and so do shows that have started or are cancelled. Claims of expired holds do not count.
pub async fn shows_without_sales_get_the_new_layout(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (admin, ana, hall_id) = (admin(fixture).await, customer(fixture).await, small_hall(fixture).await);
    let names = ["free", "expired", "booked", "cancelled-booking", "held", "blocked", "cancelled", "started-2"];
    let hours = [60, 64, 68, 72, 76, 80, 84, -1];
    let shows = names.iter().zip(hours).map(|(name, hours)| show(world.base, name, AMELIE, ALPHA, "Small", hours));
    let mut plan = SeedPlan { shows: shows.collect(), ..SeedPlan::default() };
    plan.shows.push(show(world.base, "unpriced", AMELIE, ALPHA, "Small", 88));
    assert_eq!(fixture.stores().seeder.seed(&plan).await.unwrap().shows, names.len() + 1);
    let id = async |name: &str| show_id(fixture, name).await;
    let seats: Vec<SeatId> = world.small.iter().map(|seat| seat.id).collect();
    sell(fixture.stores(), SIMPLE, async |sellers| {
        booked(&sellers.submit(book(ana, id("booked").await, &seats[..1], "a")).await);
        booked(&sellers.submit(book(ana, id("cancelled-booking").await, &seats[..1], "b")).await);
    })
    .await;
    let show = id("cancelled-booking").await;
    fixture.execute(&format!("DELETE FROM seat_claims WHERE show_id = {show}")).await;
    hold(fixture, id("held").await, seats[0], ana, "live", 300).await;
    hold(fixture, id("expired").await, seats[0], ana, "expired", -1).await;
    block(fixture, id("blocked").await, seats[0]).await;
    fixture.execute("UPDATE shows SET status = 'cancelled' WHERE format = 'cancelled'").await;
    let unpriced = id("unpriced").await;
    sell_to(fixture, unpriced, "standard", "child", 500).await;
    fixture.execute(&format!("DELETE FROM show_prices WHERE show_id = {unpriced} AND ticket_type = 'adult'")).await;

    let answer = add(fixture, admin, hall_id, PLAN).await;
    let (mut updated, mut kept) = (vec![world.tomorrow, world.beside], vec![unpriced]);
    for name in ["free", "expired"] {
        updated.push(id(name).await);
    }
    for name in ["booked", "cancelled-booking", "held", "blocked"] {
        kept.push(id(name).await);
    }
    updated.sort_unstable();
    kept.sort_unstable();
    assert_eq!((listed(&answer, "updated"), listed(&answer, "kept")), (updated.clone(), kept.clone()));
    assert_eq!(listed(&answer, "without_prices"), [unpriced]);
    let new = LayoutId(answer.object_id);
    for show in updated {
        assert_eq!(layout_id(fixture, show).await, new);
        let seating = fixture.stores().seating.seating(show).await.unwrap().unwrap();
        assert_eq!((seating.layout_id, seating.claims), (new, Vec::new()));
    }
    kept.extend([id("cancelled").await, id("started-2").await, world.started]);
    for show in kept {
        assert_ne!(layout_id(fixture, show).await, new);
    }
    // Seats of the new layout can be booked, those of the former one cannot.
    let new_seat = fixture.stores().layouts.layout(new).await.unwrap().unwrap().seats()[0].id;
    sell(fixture.stores(), SIMPLE, async |sellers| {
        let outcome = sellers.submit(book(ana, world.tomorrow, &seats[..1], "c")).await;
        assert!(matches!(outcome, Err(CommandError::Refused(Refusal::SeatNotFound { .. }))), "{outcome:?}");
        booked(&sellers.submit(book(ana, world.tomorrow, &[new_seat], "d")).await);
    })
    .await;
}

/// A retired hall gets no layout, and nothing is changed.
pub async fn retired_hall_gets_no_layout(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let (admin, hall_id) = (admin(fixture).await, small_hall(fixture).await);
    fixture.execute("UPDATE shows SET status = 'cancelled'").await;
    let before = hall(fixture, hall_id).await;
    apply(fixture, admin, &Change::Hall(Edit::Retire(before.clone()))).await.unwrap();
    let outcome = apply(fixture, admin, &Change::Layout(NewLayout { hall: before, plan: planned(PLAN) })).await;
    refused(outcome, ChangeRefusal::HallRetired);
    assert_eq!(versions(fixture, hall_id).await.len(), 1);
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, 1);
}

/// Ten concurrent layouts of a hall get ten versions.
pub async fn concurrent_layouts_of_a_hall_follow_each_other(fixture: &dyn Fixture) {
    World::build(fixture).await;
    let (admin, hall_id) = (admin(fixture).await, small_hall(fixture).await);
    let answers = join_all((0..10).map(|_| add(fixture, admin, hall_id, PLAN))).await;
    let mut found: Vec<_> = answers.iter().map(|answer| answer.version).collect();
    found.sort_unstable();
    assert_eq!(found, (2..12).collect::<Vec<_>>());
    let newest = versions(fixture, hall_id).await[0].id;
    for show in ["beside", "tomorrow"] {
        assert_eq!(layout_id(fixture, show_id(fixture, show).await).await, newest);
    }
}

/// While layouts change, each show is either sold and keeps its layout, or gets the new one and sells none of the former seats.
pub async fn sales_and_layouts_exclude_each_other(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (admin, hall_id) = (admin(fixture).await, small_hall(fixture).await);
    let names: Vec<_> = (0..24_i64).map(|number| format!("race {number}")).collect();
    let shows = names.iter().zip(0..).map(|(name, at)| show(world.base, name, AMELIE, ALPHA, "Small", 60 + 3 * at));
    let plan = SeedPlan { shows: shows.collect(), ..SeedPlan::default() };
    assert_eq!(fixture.stores().seeder.seed(&plan).await.unwrap().shows, names.len());
    let callers = customers(fixture, names.len()).await;
    for (round, (name, caller)) in names.iter().zip(callers).enumerate() {
        let show = show_id(fixture, name).await;
        let before = layout_id(fixture, show).await;
        let seat = fixture.stores().layouts.layout(before).await.unwrap().unwrap().seats()[0].id;
        let mode = MODES[round % MODES.len()];
        let sale = sell(fixture.stores(), mode, async |sellers| sellers.submit(book(caller, show, &[seat], "k")).await);
        let (outcome, answer) = join(sale, add(fixture, admin, hall_id, PLAN)).await;
        let after = layout_id(fixture, show).await;
        match outcome {
            Ok(_) => {
                assert_eq!((after, listed(&answer, "kept").contains(&show)), (before, true));
            }
            Err(CommandError::Refused(Refusal::SeatNotFound { .. })) => {
                assert_eq!((after.0, listed(&answer, "updated").contains(&show)), (answer.object_id, true));
            }
            other => panic!("neither sold nor refused: {other:?}"),
        }
    }
    let astray = "SELECT count(*) FROM seat_claims c JOIN shows s ON s.id = c.show_id JOIN seats p ON p.id = c.seat_id \
        WHERE c.layout_id <> s.layout_id OR p.layout_id <> s.layout_id";
    assert_eq!(fixture.count(astray).await, 0);
}

/// A sale of a seat of the former layout that was decided before the layout changed, and is written after it, is stale.
pub async fn sale_decided_before_a_new_layout_is_stale(fixture: &dyn Fixture) {
    let world = World::build(fixture).await;
    let (admin, ana, hall_id) = (admin(fixture).await, customer(fixture).await, small_hall(fixture).await);
    let command = book(ana, world.tomorrow, &[world.small[0].id], "k");
    let decision = decided(fixture.stores(), &RULES, &UniqueRandom::new(), &[command]).await;
    let answer = add(fixture, admin, hall_id, PLAN).await;
    assert!(listed(&answer, "updated").contains(&world.tomorrow));
    let written = fixture.stores().batches[0].write(&decision.changes).await;
    assert!(matches!(written, Err(WriteError::Stale(_))), "{written:?}");
    for table in ["bookings", "seat_claims", "idempotency_keys"] {
        assert_eq!(fixture.count(&format!("SELECT count(*) FROM {table}")).await, 0, "{table}");
    }
}

/// The port of layout versions reports an unreachable store.
pub async fn layout_versions_report_an_unreachable_store(fixture: &dyn Fixture) {
    World::build(fixture).await;
    fixture.break_backend().await;
    let store = &fixture.stores().layout_versions;
    let page = first_page(1);
    let outcomes = [
        AssertUnwindSafe(store.layout_versions(HallId(1), &page)).map(|outcome| outcome.is_err()).boxed(),
        AssertUnwindSafe(store.layout_version(LayoutId(1))).map(|outcome| outcome.is_err()).boxed(),
    ];
    assert_eq!(join_all(outcomes).await, [true, true]);
}
