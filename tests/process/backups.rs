//! Backups of a store: they are complete and private, never replace an existing file, and a server can start on them.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use adapters_postgres::testing::TestDatabase;
use diesel::prelude::*;
use diesel::sql_types::Text;
use serde_json::json;

use super::storm::Storm;
use super::support::{Server, Site};

/// Returns the result of SQLite's integrity check, such as `ok`.
fn integrity(file: &Path) -> String {
    #[derive(QueryableByName)]
    struct Said {
        #[diesel(sql_type = Text)]
        integrity_check: String,
    }
    #[derive(QueryableByName)]
    struct Orphan {
        #[diesel(sql_type = Text)]
        table: String,
    }
    let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let orphans: Vec<Orphan> = diesel::sql_query("PRAGMA foreign_key_check").load(&mut connection).unwrap();
    let orphans: Vec<_> = orphans.into_iter().map(|orphan| orphan.table).collect();
    assert_eq!(orphans, Vec::<String>::new());
    diesel::sql_query("PRAGMA integrity_check").get_result::<Said>(&mut connection).unwrap().integrity_check
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

/// Books in a storm until the server is killed, and takes a copy in the middle. A server on the copy then has every booking acknowledged
/// before, and accepts new ones.
async fn drill(server: Server, copy: impl FnOnce(), restored: impl AsyncFnOnce() -> Site) {
    let storm = Storm::over(&server.client, 50).await;
    storm.until_booked(60).await;
    let began = Instant::now();
    copy();
    // Bookings continued during the copy, and continue after it.
    let booked = storm.booked();
    storm.until_booked(booked + 40).await;
    server.kill();
    let calm = storm.calm().await;
    let site = restored().await;
    let server = site.serve();
    calm.check_as_of(began, &server.client).await;
    let token = server.client.sign_up("after-the-restore@example.org").await;
    let show = server.client.shows(1).await[0];
    let seat = server.client.free_seats(show).await[0];
    server.client.book(&token, "after-the-restore", seat).await.expect(201);
    assert_eq!(server.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_taken_in_a_storm_is_restored_embedded() {
    let site = Site::embedded().with("RATE_LIMIT", "off");
    let backups = tempfile::tempdir().unwrap();
    let file = backups.path().join("cinema.db");
    let take = || {
        let told = site.run(&["backup", file.to_str().unwrap()], "").succeeded();
        let bytes = std::fs::metadata(&file).unwrap().len();
        assert!(told.contains(&format!("{}: {bytes} bytes", file.display())), "{told}");
        assert!(told.contains("jwt-secret") && told.contains("demo-accounts.toml"), "{told}");
    };
    drill(site.serve(), take, async || {
        assert_eq!(names(backups.path()), ["cinema.db"]);
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        let restored = Site::embedded().with("RATE_LIMIT", "off");
        std::fs::create_dir(restored.path("data")).unwrap();
        std::fs::copy(&file, restored.path("data/movie-booking.db")).unwrap();
        assert_eq!(integrity(&restored.path("data/movie-booking.db")), "ok");
        // The secret is stored separately from the backup. With it the storm's tokens stay valid.
        std::fs::copy(site.path("data/jwt-secret"), restored.path("data/jwt-secret")).unwrap();
        restored
    })
    .await;
}

/// A backup contains no secrets, and does not need them.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_restored_without_its_secret_ends_no_session() {
    let site = Site::embedded();
    let server = site.serve();
    let body = json!({"name": "Ana Costa", "email": "ana@example.org", "password": "correct horse battery"});
    let tokens = server.client.post("/api/auth/register", &body).await.expect(201);
    site.run(&["backup", "copy.db"], "").succeeded();
    let restored = Site::embedded();
    std::fs::create_dir(restored.path("data")).unwrap();
    std::fs::copy(site.path("copy.db"), restored.path("data/movie-booking.db")).unwrap();
    let server = restored.serve();
    assert!(!server.greeting.contains("demo customer"), "{}", server.greeting);
    let old = tokens["token"].as_str().unwrap();
    assert_eq!(server.client.get_as(old, "/api/me").await.expect(401)["code"], "unauthenticated");
    let refresh = json!({"refresh_token": tokens["refresh_token"]});
    let renewed = server.client.post("/api/auth/refresh", &refresh).await.expect(200);
    let new = renewed["token"].as_str().unwrap();
    assert_eq!(server.client.get_as(new, "/api/me").await.expect(200)["email"], "ana@example.org");
}

/// Finds `pg_dump` and `pg_restore` on PATH, or in the directory of the server that Debian uses.
fn postgres_program(name: &str) -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut installed: Vec<_> = installed.map(|version| version.path().join("bin")).collect();
    installed.sort();
    let folders = installed.into_iter().rev().chain(std::env::split_paths(&on_path));
    folders.map(|folder| folder.join(name)).find(|program| program.is_file())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dump_taken_in_a_storm_is_restored_postgres() {
    let (Some(dump), Some(restore)) = (postgres_program("pg_dump"), postgres_program("pg_restore")) else {
        println!("skipped: pg_dump and pg_restore are not on this machine");
        return;
    };
    let site = Site::postgres().await.with("RATE_LIMIT", "off");
    let url = site.database.as_ref().unwrap().url.clone();
    let backups = tempfile::tempdir().unwrap();
    let file = backups.path().join("cinema.dump");
    let run = |program: &Path, arguments: &[&str]| {
        let ended = Command::new(program).args(arguments).output().unwrap();
        assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    };
    let take = || run(&dump, &["--format=custom", "--file", file.to_str().unwrap(), &url]);
    drill(site.serve(), take, async || {
        let database = TestDatabase::create_empty().await.unwrap();
        run(&restore, &["--exit-on-error", "--no-owner", "--dbname", &database.url, file.to_str().unwrap()]);
        Site::on(database).with("RATE_LIMIT", "off")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_never_replaces_a_file() {
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    for (name, content) in [("kept.db", "something else"), ("empty.db", "")] {
        std::fs::write(site.path(name), content).unwrap();
        let told = site.run(&["backup", name], "").failed(1);
        assert!(told.contains(name) && told.contains("is there already"), "{told}");
        assert_eq!(std::fs::read_to_string(site.path(name)).unwrap(), content);
    }
    // A backup works without a running server too. The second one to the same file is refused.
    site.run(&["backup", "new.db"], "").succeeded();
    let first = std::fs::read(site.path("new.db")).unwrap();
    site.run(&["backup", "new.db"], "").failed(1);
    assert_eq!(std::fs::read(site.path("new.db")).unwrap(), first);
    assert!(!names(site.directory.path()).iter().any(|name| name.contains("unfinished")));
    let told = site.run(&["backup", "no/such/folder/new.db"], "").failed(1);
    assert!(told.contains("no/such/folder/new.db cannot be written"), "{told}");
    site.run(&["backup"], "").failed(2);
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_without_a_store_is_refused_and_creates_nothing() {
    let site = Site::embedded();
    let told = site.run(&["backup", "copy.db"], "").failed(1);
    assert!(told.contains("there is no store in ./data") && told.contains("DATA_DIR"), "{told}");
    assert_eq!(names(site.directory.path()), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_of_postgres_is_refused() {
    let site = Site::postgres().await;
    let told = site.run(&["backup", "copy.db"], "").failed(1);
    assert!(told.contains("pg_dump"), "{told}");
    assert!(!site.path("copy.db").exists());
}

/// However early the process is killed, the file is complete or does not exist.
#[tokio::test(flavor = "multi_thread")]
async fn killed_backup_leaves_a_complete_file_or_none() {
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    for milliseconds in [0, 2, 4, 8, 12, 16, 20, 30, 60] {
        let name = format!("copy-{milliseconds}.db");
        let starting = site.begin_to_serve(&["backup", &name]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        drop(starting);
        if site.path(&name).exists() {
            assert_eq!(integrity(&site.path(&name)), "ok", "{name}");
        }
    }
    site.run(&["backup", "copy.db"], "").succeeded();
    assert_eq!(integrity(&site.path("copy.db")), "ok");
}

/// Before a newer program migrates the store: the copy has the schema of the older program.
#[tokio::test(flavor = "multi_thread")]
async fn store_of_the_previous_release_is_copied_unchanged() {
    #[derive(QueryableByName)]
    struct Version {
        #[diesel(sql_type = Text)]
        version: String,
    }
    let versions = |file: PathBuf| {
        let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        let sql = "SELECT version FROM __diesel_schema_migrations ORDER BY version";
        let rows: Vec<Version> = diesel::sql_query(sql).load(&mut connection).unwrap();
        rows.into_iter().map(|row| row.version).collect::<Vec<_>>()
    };
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    let file = site.path("data/movie-booking.db");
    let newest = versions(file.clone()).pop().unwrap();
    let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
    let forget = diesel::sql_query("DELETE FROM __diesel_schema_migrations WHERE version = ?");
    assert_eq!(forget.bind::<Text, _>(&newest).execute(&mut connection).unwrap(), 1);
    site.run(&["backup", "copy.db"], "").succeeded();
    assert!(!versions(file.clone()).contains(&newest), "the store was migrated");
    assert_eq!(versions(site.path("copy.db")), versions(file));
}
