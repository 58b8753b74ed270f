//! Full disks, and databases that are missing or from a future release: the error messages, and the recovery.

use std::path::{Path, PathBuf};
use std::process::Command;

use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};
use serde_json::json;

use super::support::Site;

/// A file system of a few megabytes. It is unmounted when it is dropped.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// Returns `None` and prints a line if the user may not mount file systems. Panics for root, and so in CI.
    fn mount(megabytes: u32) -> Option<Self> {
        let directory = tempfile::tempdir().unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "none"]).arg(directory.path()).output();
        if mounted.as_ref().is_ok_and(|mounted| mounted.status.success()) {
            return Some(Self(directory));
        }
        let identity = Command::new("id").arg("-u").output().unwrap();
        assert_ne!(identity.stdout.trim_ascii(), b"0", "root cannot mount: {mounted:?}");
        println!("skipped: only root mounts a small disk");
        None
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes a file until the disk is full.
    fn fill(&self) -> PathBuf {
        let path = self.path().join("filler");
        let mut file = std::fs::File::create(&path).unwrap();
        while std::io::Write::write_all(&mut file, &[0; 4096]).is_ok() {}
        path
    }

    fn names(&self) -> Vec<String> {
        names(self.path())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").args(["-l"]).arg(self.path()).status();
    }
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_makes_the_server_unavailable_until_space_is_freed() {
    let Some(disk) = SmallDisk::mount(24) else { return };
    let site = Site::embedded().with("DATA_DIR", disk.path().join("data").to_str().unwrap()).with("RATE_LIMIT", "off");
    let server = site.serve();
    let client = &server.client;
    client.get("/readyz").await.expect(200);
    let (email, password) = server.demo_account("customer");
    let filler = disk.fill();
    // Whether or not a write has already failed.
    for _ in 0..3 {
        let ready = client.get("/readyz").await.expect(503);
        assert_eq!(
            (&ready["status"], &ready["dependencies"]["sqlite"]),
            (&json!("unavailable"), &json!("unavailable"))
        );
        client.login(&email, &password).await;
    }
    client.get("/api/movies").await.expect(200);
    client.get("/healthz").await.expect(200);
    std::fs::remove_file(filler).unwrap();
    client.get("/readyz").await.expect(200);
    client.login(&email, &password).await.expect(200);
    let log = server.stop().stderr;
    assert!(log.contains("store.cannot_be_written") && log.contains("store.can_be_written_again"), "{log}");
    assert!(log.contains("No space left on device"), "{log}");
    assert!(!disk.names().iter().any(|name| name.contains("probe")), "a trial leaves nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn backup_to_a_full_disk_reports_target_and_cause_and_leaves_no_file() {
    let Some(disk) = SmallDisk::mount(1) else { return };
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    disk.fill();
    let target = disk.path().join("copy.db");
    let told = site.run(&["backup", target.to_str().unwrap()], "").failed(1);
    assert!(told.contains(&format!("{} cannot be written: No space left on device", target.display())), "{told}");
    assert_eq!(disk.names(), ["filler"]);
    // A backup to another disk succeeds.
    site.run(&["backup", "copy.db"], "").succeeded();
}

#[test]
fn backup_beyond_a_size_limit_reports_target_and_cause_and_leaves_no_file() {
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    // A resource limit of the process stands in for a full disk or a quota. The signal is ignored, so that the write fails with an error.
    let mut command = Command::new("sh");
    command.args(["-c", "trap '' XFSZ; ulimit -f 512; exec \"$0\" backup copy.db"]).arg(super::support::binary());
    let ended = command.current_dir(site.directory.path()).env_clear().output().unwrap();
    let told = String::from_utf8(ended.stderr).unwrap();
    assert_eq!(ended.status.code(), Some(1), "{told}");
    assert!(told.contains("copy.db cannot be written: File too large"), "{told}");
    assert!(
        !names(site.directory.path()).iter().any(|name| name.contains("copy")),
        "{:?}",
        names(site.directory.path())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_database_is_reported_and_not_replaced() {
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    let (database, kept) = (site.path("data/movie-booking.db"), site.path("kept.db"));
    std::fs::copy(&database, &kept).unwrap();
    for is_emptied in [false, true] {
        if is_emptied {
            std::fs::write(&database, "").unwrap();
        } else {
            std::fs::remove_file(&database).unwrap();
        }
        for command in [&["serve"][..], &["migrate"], &["seed"], &["admin", "create", "--email", "a@example.org"]] {
            let told = site.run(command, "a good password\n").failed(1);
            assert!(told.contains("movie-booking.db is missing or empty"), "{command:?}: {told}");
            assert!(told.contains("Restore it") && told.contains("To begin with a new store"), "{told}");
        }
        assert!(std::fs::metadata(&database).map_or(0, |found| found.len()) == 0, "nothing was made");
    }
    // Any single one of these files is enough evidence that a database existed.
    for trace in ["jwt-secret", "demo-accounts.toml", "database-made"] {
        let other = Site::embedded();
        std::fs::create_dir(other.path("data")).unwrap();
        std::fs::copy(site.path("data").join(trace), other.path("data").join(trace)).unwrap();
        let told = other.run(&["serve"], "").failed(1);
        assert!(told.contains(&format!("{trace} next to it")), "{told}");
    }
    std::fs::rename(&kept, &database).unwrap();
    site.serve().client.get("/readyz").await.expect(200);
}

#[tokio::test(flavor = "multi_thread")]
async fn store_with_future_instants_is_refused_and_can_be_accepted() {
    let site = Site::embedded();
    assert_eq!(site.serve().stop().code, Some(0));
    let file = site.path("data/movie-booking.db");
    let later = |minutes: i64| {
        let mut connection = SqliteConnection::establish(file.to_str().unwrap()).unwrap();
        let at = chrono::Utc::now().timestamp_micros() + minutes * 60_000_000;
        connection.batch_execute(&format!("UPDATE users SET created_at = {at}")).unwrap();
    };
    later(4);
    assert_eq!(site.serve().stop().code, Some(0));
    later(365 * 24 * 60);
    let told = site.run(&["serve"], "").failed(1);
    let day = (chrono::Utc::now() + chrono::TimeDelta::days(365)).format("%Y-%m-%d").to_string();
    let today = chrono::Utc::now().format("%Y-%m-").to_string();
    assert!(told.contains(&day) && told.contains(&today) && told.contains("accept-clock"), "{told}");
    site.run(&["backup", "before.db"], "").succeeded();
    let shown = site.run(&["accept-clock"], "").succeeded();
    assert!(shown.contains("users  2") && shown.contains("--confirm"), "{shown}");
    site.run(&["serve"], "").failed(1);
    let done = site.run(&["accept-clock", "--confirm"], "").succeeded();
    assert!(done.contains("Dated now") && done.contains("users  2"), "{done}");
    let server = site.serve();
    server.client.get("/readyz").await.expect(200);
    assert!(site.run(&["accept-clock", "--confirm"], "").failed(1).contains("another server"));
    assert_eq!(server.stop().code, Some(0));
    assert!(site.run(&["accept-clock"], "").succeeded().contains("nothing in the store is dated later"));
}
