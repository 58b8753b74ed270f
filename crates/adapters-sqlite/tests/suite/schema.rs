//! The migrations, and that `src/schema.rs` matches them.

use std::fmt::Write as _;
use std::path::Path;

use adapters_sqlite::{SchemaError, SchemaState, SqliteStore};

use crate::support::Database;

const DUMP: &str = "SELECT type || ' ' || name || ': ' || coalesce(sql, '') FROM sqlite_master \
                    WHERE name NOT LIKE 'sqlite%' ORDER BY type, name";

#[tokio::test]
async fn up_down_and_up_again_is_the_same() {
    let database = Database::migrated().await;
    let dump = database.texts(DUMP);
    assert!(dump.len() > 20, "{dump:?}");
    let all = database.store.revert_all_migrations().await.unwrap();
    assert!(all > 1, "{all}");
    let left = "SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite%' AND name NOT LIKE '%diesel%'";
    assert_eq!(database.texts(left), Vec::<String>::new());
    assert_eq!(database.store.migrate().await.unwrap(), all);
    assert_eq!(database.texts(DUMP), dump);
}

/// Returns the SQL of all migrations before the one of this name, in their order.
fn migrations_before(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../migrations/sqlite");
    let mut folders: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|folder| folder.file_name().unwrap().to_str().unwrap() < name);
    folders.sort();
    folders.iter().map(|folder| std::fs::read_to_string(folder.join("up.sql")).unwrap()).collect()
}

/// The table of seats is made again, because SQLite changes no CHECK.
#[tokio::test]
async fn seats_keep_their_ids_claims_and_sequence_when_their_table_is_made_again() {
    let name = "2026-11-28-000001_real_halls";
    let up = include_str!("../../../../migrations/sqlite/2026-11-28-000001_real_halls/up.sql");
    let down = include_str!("../../../../migrations/sqlite/2026-11-28-000001_real_halls/down.sql");
    let database = Database::new();
    std::fs::File::create(database.file()).unwrap();
    database.execute(&migrations_before(name));
    database.execute(
        "INSERT INTO movies (title, description, duration_minutes, genres, language, certificate, release_date, \
             search_folded, genres_folded, language_folded, created_at, updated_at) \
         VALUES ('M', '', 90, '[]', 'English', '12', '2026-01-01', 'm', '[]', 'english', 0, 0); \
         INSERT INTO theatres (name, location, timezone, created_at) VALUES ('T', '', 'UTC', 0); \
         INSERT INTO halls (theatre_id, name, created_at) VALUES (1, 'A', 0); \
         INSERT INTO layouts (hall_id, version, seats_total, created_at) VALUES (1, 1, 2, 0); \
         INSERT INTO seats (id, layout_id, row_label, number, category, accessible, x, y) \
         VALUES (7, 1, 'AA', 1, 'standard', 1, 1, 2), (3, 1, 'A', 1, 'premium', 0, 1, 1), (99, 1, 'B', 1, 'standard', 0, 5, 5); \
         DELETE FROM seats WHERE id = 99; \
         INSERT INTO shows (movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, format, \
             language, currency, status, created_at) \
         VALUES (1, 1, 1, 1, 100, 199, 200, '2D', 'English', 'EUR', 'scheduled', 0); \
         INSERT INTO seat_claims (show_id, seat_id, layout_id, status) VALUES (1, 7, 1, 'blocked');",
    );
    let columns = "id || ' ' || layout_id || row_label || number || category || accessible || x || y";
    let rows = format!("SELECT {columns} FROM seats ORDER BY id");
    let sequence = "SELECT seq FROM sqlite_sequence WHERE name = 'seats'";
    let (seats, schema) = (database.texts(&rows), database.texts(DUMP));
    assert_eq!((seats.len(), database.count(sequence)), (2, 99));
    let in_transaction = |sql: &str| database.try_execute(&format!("BEGIN IMMEDIATE; {sql} COMMIT;"));
    for _ in 0..2 {
        in_transaction(up).unwrap();
        assert_eq!((database.texts(&rows), database.count(sequence)), (seats.clone(), 99));
        assert_eq!(database.texts("SELECT \"table\" FROM pragma_foreign_key_check"), Vec::<String>::new());
        assert!(database.try_execute("DELETE FROM seats WHERE id = 7").is_err(), "the claim refers to it");
        in_transaction(down).unwrap();
        assert_eq!((database.texts(&rows), database.count(sequence)), (seats.clone(), 99));
        assert_eq!(database.texts(DUMP), schema);
    }
    in_transaction(up).unwrap();
    // What the release before writes, then what only this one can.
    let insert = "INSERT INTO seats (layout_id, row_label, number, category, accessible, x, y) VALUES";
    database.execute(&format!("{insert} (1, 'B', 1, 'standard', 0, 1, 3)"));
    assert_eq!(database.count("SELECT max(id) FROM seats WHERE section = '' AND pair IS NULL"), 100);
    database.execute(&format!("{insert} (1, 'Loge 3', 1, 'standard', 0, 1, 4)"));
    assert!(database.try_execute(&format!("{insert} (1, '', 1, 'standard', 0, 1, 5)")).is_err());
    assert!(in_transaction(down).is_err(), "the former schema has no such row");
}

#[tokio::test]
async fn a_store_is_older_then_current_then_newer_and_a_newer_one_is_refused() {
    let database = Database::new();
    assert!(database.store.schema_state().await.is_err(), "there is no file");
    std::fs::File::create(database.file()).unwrap();
    assert_eq!(database.store.schema_state().await.unwrap(), SchemaState::Older);
    assert!(matches!(database.store.check_schema().await, Err(SchemaError::Older)));
    assert!(database.store.migrate().await.unwrap() > 0);
    assert_eq!(database.store.migrate().await.unwrap(), 0);
    database.store.check_schema().await.unwrap();
    database.execute("INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231000001')");
    assert_eq!(database.store.schema_state().await.unwrap(), SchemaState::Newer);
    for refused in [database.store.check_schema().await, database.store.migrate().await.map(|_| ())] {
        let error = refused.unwrap_err();
        assert!(matches!(error, SchemaError::Newer));
        assert!(error.to_string().contains("use the program that migrated it"), "{error}");
    }
}

#[tokio::test]
async fn two_that_migrate_at_once_migrate_once() {
    let database = Database::new();
    let stores: Vec<_> = (0..4).map(|_| SqliteStore::open(&database.file()).unwrap()).collect();
    let runs = futures::future::join_all(stores.iter().map(SqliteStore::migrate)).await;
    assert_eq!(runs.into_iter().map(Result::unwrap).filter(|run| *run > 0).count(), 1);
}

#[tokio::test]
async fn only_its_owner_may_read_the_file() {
    use std::os::unix::fs::PermissionsExt as _;
    let database = Database::migrated().await;
    assert_eq!(std::fs::metadata(database.file()).unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test]
async fn shows_never_overlap_in_a_hall() {
    let database = Database::migrated().await;
    database.execute(
        "INSERT INTO movies (title, description, duration_minutes, genres, language, certificate, release_date, \
             search_folded, genres_folded, language_folded, created_at, updated_at) \
         VALUES ('M', '', 90, '[]', 'English', '12', '2026-01-01', 'm', '[]', 'english', 0, 0); \
         INSERT INTO theatres (name, location, timezone, created_at) VALUES ('T', '', 'UTC', 0); \
         INSERT INTO halls (theatre_id, name, created_at) VALUES (1, 'A', 0), (1, 'B', 0); \
         INSERT INTO layouts (hall_id, version, seats_total, created_at) VALUES (1, 1, 1, 0), (2, 1, 1, 0);",
    );
    let show = |hall: i64, start: i64, free: i64, status: &str| {
        database.try_execute(&format!(
            "INSERT INTO shows (movie_id, theatre_id, hall_id, layout_id, start_time, end_time, hall_free_at, format, \
                 language, currency, status, created_at) \
             VALUES (1, 1, {hall}, {hall}, {start}, {free} - 1, {free}, '2D', 'English', 'EUR', '{status}', 0)"
        ))
    };
    show(1, 100, 200, "scheduled").unwrap();
    show(1, 300, 400, "scheduled").unwrap();
    for (start, free) in [(50, 101), (100, 200), (120, 150), (199, 250), (50, 500), (250, 301), (150, 350)] {
        let refused = show(1, start, free, "scheduled").unwrap_err();
        assert!(refused.to_string().contains("shows_never_overlap"), "{start} to {free}: {refused}");
    }
    // After the first show, in another hall, or cancelled.
    show(1, 200, 300, "scheduled").unwrap();
    show(2, 100, 200, "scheduled").unwrap();
    show(1, 100, 200, "cancelled").unwrap();
    for moved in [
        "UPDATE shows SET status = 'scheduled' WHERE status = 'cancelled'",
        "UPDATE shows SET hall_free_at = 201 WHERE hall_id = 1 AND start_time = 100 AND status = 'scheduled'",
        "UPDATE shows SET hall_id = 1, layout_id = 1 WHERE hall_id = 2",
    ] {
        assert!(database.try_execute(moved).is_err(), "{moved}");
    }
    database.execute("UPDATE shows SET format = '3D'");
}

/// More than a style check: the query builder relies on this file.
#[tokio::test]
async fn the_query_builder_knows_the_tables_as_they_are() {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/schema.rs");
    let printed = printed_schema(&Database::migrated().await);
    if std::env::var_os("UPDATE_SCHEMA").is_some() {
        std::fs::write(&committed, &printed).unwrap();
    }
    let text = std::fs::read_to_string(&committed).unwrap();
    assert!(
        text == printed,
        "src/schema.rs is not what the migrations make; UPDATE_SCHEMA=1 cargo test -p adapters-sqlite writes it"
    );
}

fn printed_schema(database: &Database) -> String {
    let mut text = String::from(
        "//! The tables of the migrated database, as diesel's query builder knows them. Written by a test of this crate,\n\
         //! `tests/suite/schema.rs`, which says how when they differ.\n",
    );
    let tables = database.texts(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name NOT LIKE '%diesel%' \
         ORDER BY name",
    );
    for table in &tables {
        let key = database.texts(&format!("SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk"));
        let columns = database.texts(&format!(
            "SELECT name || ' -> ' || CASE WHEN \"notnull\" OR pk > 0 THEN typed ELSE 'Nullable<' || typed || '>' END \
             FROM (SELECT *, CASE type WHEN 'INTEGER' THEN 'BigInt' WHEN 'TEXT' THEN 'Text' WHEN 'BLOB' THEN 'Binary' \
                 ELSE 'Unknown' END AS typed FROM pragma_table_info('{table}')) ORDER BY cid"
        ));
        writeln!(text, "\ndiesel::table! {{\n    {table} ({}) {{", key.join(", ")).unwrap();
        columns.iter().for_each(|column| writeln!(text, "        {column},").unwrap());
        text.push_str("    }\n}\n");
    }
    text.push_str("\ndiesel::allow_tables_to_appear_in_same_query!(\n");
    tables.iter().for_each(|table| writeln!(text, "    {table},").unwrap());
    text.push_str(");\n");
    text
}
