//! The README's tour, run exactly as written.

use std::process::Command;

use super::support::{Kind, Site};

/// The server address in the README.
const BASE: &str = "http://127.0.0.1:3000";

/// The address of a running server to run the tour against. `cargo xtask ci` sets it for docker/compose.yaml.
const TOUR_BASE: &str = "TOUR_BASE";

/// Returns the shell blocks of the README that are marked `run`.
fn tour() -> String {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("```sh run\n").skip(1);
    blocks.map(|block| block.split("```").next().unwrap()).collect()
}

async fn the_tour_works(kind: Kind) {
    let site = Site::of(kind).await;
    let server = site.serve();
    the_tour_works_at(&server.client.base);
}

fn the_tour_works_at(base: &str) {
    let script = tour();
    assert!(script.contains(BASE), "{script}");
    let script = script.replace(BASE, base);
    let directory = tempfile::tempdir().unwrap();
    // As pasted into a shell, but stopped at the first command that fails.
    let output =
        Command::new("bash").args(["-euo", "pipefail", "-c", &script]).current_dir(directory.path()).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert_eq!(stdout.matches("Booking successful!").count(), 2, "{stdout}");
    let replayed = stdout.lines().filter(|line| line.to_ascii_lowercase().starts_with("idempotent-replayed: true"));
    assert_eq!(replayed.count(), 1, "{stdout}");
    let after = stdout.rsplit("Booking successful!").next().unwrap();
    assert!(after.contains(r#""status":"confirmed""#), "the history is not shown: {stdout}");
}

#[tokio::test(flavor = "multi_thread")]
async fn readme_tour_works_embedded() {
    match std::env::var(TOUR_BASE) {
        Ok(base) => the_tour_works_at(&base),
        Err(_) => the_tour_works(Kind::Embedded).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn readme_tour_works_postgres() {
    the_tour_works(Kind::Postgres).await;
}
