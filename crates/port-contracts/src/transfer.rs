//! Cases of imports and exports.

use catalog_file::{CatalogFile, Format, print};
use domain::StoreError;
use domain::admin::{AuditFilter, ChangeOrigin, ChangeRequest};
use domain::identity::{Bearer, Role};
use domain::seed::SeedPlan;
use domain::transfer::{Count, Document, ImportActor, ImportError, ImportMode, ImportPlan, ImportReport};
use futures::future::join_all;

use crate::Fixture;
use crate::admin::admin;
use crate::tools::first_page;
use crate::world::{customer, plan as seed_plan};

/// The example of `docs/import.md`.
const EXAMPLE: &str = include_str!("../../../docs/import.toml");
/// The tables that an import writes, those first that refer to others.
const TABLES: [&str; 10] = [
    "show_prices",
    "shows",
    "layout_sections",
    "seats",
    "layouts",
    "halls",
    "price_lists",
    "theatres",
    "movies",
    "ticket_types",
];

fn document(text: &str) -> Document {
    let file = CatalogFile::parse(text, Format::Toml).unwrap();
    assert_eq!(file.mistakes, []);
    file.document
}

fn plan(text: &str) -> ImportPlan {
    let now = "2026-11-28T12:00:00Z".parse().unwrap();
    ImportPlan { document: document(text), now, mode: ImportMode::Strict, is_dry_run: false }
}

async fn import(fixture: &dyn Fixture, plan: &ImportPlan) -> Result<ImportReport, ImportError> {
    fixture.stores().transfer.import(plan, &ImportActor::CommandLine).await
}

async fn export(fixture: &dyn Fixture) -> String {
    print(&fixture.stores().transfer.export().await.unwrap(), Format::Toml)
}

async fn rows(fixture: &dyn Fixture) -> Vec<i64> {
    let mut rows = Vec::new();
    for table in TABLES.iter().chain(&["audit_log"]) {
        rows.push(fixture.count(&format!("SELECT count(*) FROM {table}")).await);
    }
    rows
}

fn counts(report: &ImportReport, count: fn(Count) -> usize) -> [usize; 6] {
    let ImportReport { ticket_types, movies, theatres, halls, price_lists, shows } = *report;
    [ticket_types, movies, theatres, halls, price_lists, shows].map(count)
}

fn added(report: &ImportReport) -> [usize; 6] {
    counts(report, |count| count.added)
}

/// Returns the paths and codes of the mistakes.
#[track_caller]
fn mistakes(outcome: Result<ImportReport, ImportError>) -> Vec<String> {
    match outcome {
        Err(ImportError::Invalid(mistakes)) => {
            mistakes.iter().map(|mistake| format!("{} {}", mistake.path, mistake.reason.code())).collect()
        }
        other => panic!("{other:?}"),
    }
}

const WHOLE: [usize; 6] = [1, 2, 1, 2, 1, 33];

/// An import adds what the store does not have, so a repeated one adds nothing.
pub async fn repeated_import_adds_nothing(fixture: &dyn Fixture) {
    let plan = plan(EXAMPLE);
    let dry = ImportPlan { is_dry_run: true, ..plan.clone() };
    let before = rows(fixture).await;
    assert_eq!(added(&import(fixture, &dry).await.unwrap()), WHOLE);
    assert_eq!(rows(fixture).await, before);

    let first = import(fixture, &plan).await.unwrap();
    assert_eq!((added(&first), counts(&first, |count| count.unchanged)), (WHOLE, [0; 6]));
    let after = rows(fixture).await;
    let again = import(fixture, &plan).await.unwrap();
    assert_eq!((added(&again), counts(&again, |count| count.unchanged)), ([0; 6], WHOLE));
    assert_eq!(rows(fixture).await, after);
    let limited = "SELECT count(*) FROM shows WHERE sales_open_at IS NOT NULL OR sales_close_at IS NOT NULL";
    assert_eq!(fixture.count(limited).await, 5);
}

/// The export of a store, imported into an empty one, gives the same export.
pub async fn export_imports_into_an_empty_store_with_the_same_export(fixture: &dyn Fixture) {
    fixture.stores().seeder.seed(&seed_plan("2026-11-28T12:00:00Z".parse().unwrap())).await.unwrap();
    fixture.execute("UPDATE ticket_types SET names = '{\"de\":\"Erwachsene\"}' WHERE code = 'adult'").await;
    // The seed has a movie with the other title.
    import(fixture, &plan(&EXAMPLE.replace("Amélie", "Mirror"))).await.unwrap();
    let exported = export(fixture).await;
    let all = rows(fixture).await;
    let same = import(fixture, &plan(&exported)).await.unwrap();
    assert_eq!(added(&same), [0; 6]);
    for table in TABLES {
        let kept = if table == "ticket_types" { " WHERE code <> 'adult'" } else { "" };
        fixture.execute(&format!("DELETE FROM {table}{kept}")).await;
    }
    fixture.execute("UPDATE ticket_types SET names = '{\"en\":\"Adult\"}' WHERE code = 'adult'").await;
    import(fixture, &plan(&exported)).await.unwrap();
    assert_eq!(export(fixture).await, exported);
    assert_eq!(rows(fixture).await[5..], all[5..]);
}

/// Objects with other content are mistakes, and nothing is imported. They stay as they are if the import keeps them.
pub async fn objects_with_other_content_are_refused_or_kept(fixture: &dyn Fixture) {
    import(fixture, &plan(EXAMPLE)).await.unwrap();
    let other = EXAMPLE
        .replacen("duration_minutes = 122", "duration_minutes = 123", 1)
        .replacen("location = \"Berlin\"", "location = \"Bonn\"", 1)
        .replacen("A | SS_ssssssss", "A | SS_sssssss", 1)
        .replacen("price = \"12.50\"", "price = \"13.50\"", 1)
        .replacen("Child (under 14)", "Child", 1)
        .replacen("format = \"2D\"", "format = \"3D\"", 1);
    let before = rows(fixture).await;
    let other = plan(&other);
    let found = mistakes(import(fixture, &other).await);
    let objects = [
        "ticket_types[0].code name_taken",
        "movies[0].title name_taken",
        "theatres[0].name name_taken",
        "theatres[0].halls[0].name name_taken",
        "theatres[0].price_lists[0].name name_taken",
    ];
    assert_eq!(found, objects);
    assert_eq!(rows(fixture).await, before);

    let kept = ImportPlan { mode: ImportMode::Keep, ..other };
    let report = import(fixture, &kept).await.unwrap();
    assert_eq!(added(&report), [0; 6]);
    assert_eq!(counts(&report, |count| count.skipped), [1, 1, 1, 1, 1, 28]);
    assert_eq!(rows(fixture).await, before);
}

/// A show whose hall is occupied, or that differs from the one at its time, or that was cancelled, is refused.
pub async fn shows_of_the_store_are_not_overlapped(fixture: &dyn Fixture) {
    import(fixture, &plan(EXAMPLE)).await.unwrap();
    let before = rows(fixture).await;
    let of_show = |start: &str, format: &str| {
        let text = format!(
            "[[shows]]\nmovie = \"Das Boot\"\ntheatre = \"Lichtburg\"\nhall = \"Saal 1\"\nformat = \"{format}\"\n\
             price_list = \"Standard\"\nstarts = [\"{start}\"]\n"
        );
        plan(&text)
    };
    let found = import(fixture, &of_show("2026-12-24T17:00", "2D")).await;
    assert_eq!(mistakes(found), ["shows[0] show_overlap"]);
    let found = import(fixture, &of_show("2026-12-24T15:00", "3D")).await;
    assert_eq!(mistakes(found), ["shows[0] show_exists"]);
    fixture.execute("UPDATE shows SET status = 'cancelled' WHERE sales_open_at IS NOT NULL").await;
    let found = import(fixture, &of_show("2026-12-24T15:00", "3D")).await;
    assert_eq!(mistakes(found), ["shows[0] show_cancelled"]);
    let kept = ImportPlan { mode: ImportMode::Keep, ..of_show("2026-12-24T15:00", "3D") };
    assert_eq!(import(fixture, &kept).await.unwrap().shows.skipped, 1);
    assert_eq!(rows(fixture).await, before);
    let report = import(fixture, &of_show("2026-12-24T17:00", "2D")).await.unwrap();
    assert_eq!(report.shows.added, 1);
}

/// Objects that are retired, and cancelled shows, are left out of an export. Their names stay taken.
pub async fn retired_objects_are_left_out(fixture: &dyn Fixture) {
    import(fixture, &plan(EXAMPLE)).await.unwrap();
    let at = fixture.instant(0);
    fixture.execute(&format!("UPDATE movies SET retired_at = {at} WHERE title = 'Das Boot'")).await;
    fixture.execute(&format!("UPDATE halls SET retired_at = {at} WHERE name = 'Saal 2'")).await;
    fixture.execute(&format!("UPDATE ticket_types SET retired_at = {at} WHERE code = 'child'")).await;
    let exported = export(fixture).await;
    for absent in ["Das Boot", "Saal 2", "child"] {
        assert!(!exported.contains(absent), "{absent}");
    }
    assert!(exported.contains("Amélie") && exported.contains("Saal 1"), "{exported}");
    let found = mistakes(import(fixture, &plan(EXAMPLE)).await);
    assert!(found.contains(&"movies[1].title retired".to_owned()), "{found:?}");
    assert!(found.contains(&"theatres[0].halls[1].name retired".to_owned()), "{found:?}");
}

/// Of concurrent imports, one adds the objects.
pub async fn concurrent_imports_add_each_object_once(fixture: &dyn Fixture) {
    let plan = plan(EXAMPLE);
    let reports = join_all((0..3).map(|_| import(fixture, &plan))).await;
    let mut reports: Vec<_> = reports.into_iter().map(|report| added(&report.unwrap())).collect();
    reports.sort_unstable();
    assert_eq!(reports, [[0; 6], [0; 6], WHOLE]);
}

/// Only an administrator imports. Each object other than shows has an entry in the audit log, unless the import has no user.
pub async fn imports_by_administrators_are_audited(fixture: &dyn Fixture) {
    let of = |bearer: Bearer| {
        let origin = ChangeOrigin { request_id: "request-1".into(), address: "192.0.2.7".into() };
        ImportActor::Staff(ChangeRequest { bearer, key: None, origin })
    };
    let plan = plan(EXAMPLE);
    let caller = customer(fixture).await;
    let before = rows(fixture).await;
    let store = &fixture.stores().transfer;
    let refused = store.import(&plan, &of(Bearer { caller, session_id: None })).await;
    assert!(matches!(refused, Err(ImportError::Forbidden)), "{refused:?}");
    let boss = admin(fixture).await;
    fixture.execute(&format!("UPDATE users SET role = 'staff' WHERE id = {}", boss.caller.user_id)).await;
    let refused = store.import(&plan, &of(boss)).await;
    assert!(matches!(refused, Err(ImportError::Forbidden)), "{refused:?}");
    assert_eq!(rows(fixture).await, before);

    fixture
        .execute(&format!("UPDATE users SET role = '{}' WHERE id = {}", Role::Admin.as_str(), boss.caller.user_id))
        .await;
    store.import(&plan, &of(boss)).await.unwrap();
    let entries = fixture.stores().audit.entries(&AuditFilter::default(), &first_page(100)).await.unwrap();
    // A ticket type, two movies, a theatre, two halls with a layout each, a price list, and the shows.
    let shows = fixture.count("SELECT count(*) FROM shows").await;
    assert!(shows > 0);
    assert_eq!(i64::try_from(entries.len()).unwrap(), 9 + shows);
    assert!(entries.iter().all(|entry| entry.action == "create" && entry.actor_id == boss.caller.user_id));
}

/// Both methods report an unreachable store.
pub async fn transfers_report_an_unreachable_store(fixture: &dyn Fixture) {
    fixture.stores().seeder.seed(&SeedPlan::default()).await.unwrap();
    fixture.break_backend().await;
    let imported = import(fixture, &plan(EXAMPLE)).await;
    assert!(matches!(imported, Err(ImportError::Store(StoreError::Unavailable(_)))), "{imported:?}");
    let exported = fixture.stores().transfer.export().await;
    assert!(exported.is_err(), "{exported:?}");
}
