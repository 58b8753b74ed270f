//! The README's tour, run as it is written.

use std::path::Path;
use std::process::Command;

use super::support::{Kind, Site};

/// Where the README says the server is.
const BASE: &str = "http://127.0.0.1:3000";

/// Names a server that was started by somebody else, to run the tour against: `cargo xtask ci` does, for docker/compose.yaml.
const TOUR_BASE: &str = "TOUR_BASE";

/// The shell blocks of the README that follow a line `<!-- tour -->`.
fn tour() -> String {
    let readme = include_str!("../../README.md");
    let blocks = readme.split("<!-- tour -->\n```sh\n").skip(1);
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
    // As it is pasted, but ended by the first command that fails.
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
async fn the_readmes_tour_works_embedded() {
    match std::env::var(TOUR_BASE) {
        Ok(base) => the_tour_works_at(&base),
        Err(_) => the_tour_works(Kind::Embedded).await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_readmes_tour_works_postgres() {
    the_tour_works(Kind::Postgres).await;
}

/// What the README says of settings is what the program has.
#[test]
fn the_readme_names_settings_with_their_defaults() {
    let readme = include_str!("../../README.md");
    let rows: Vec<_> =
        readme.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 4).collect();
    let mut named = 0;
    for row in rows {
        let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        let Some(setting) = api_actix::settings::SETTINGS.iter().find(|setting| setting.name == cells[0]) else {
            continue;
        };
        named += 1;
        let default = if setting.default.is_empty() { "none" } else { setting.default };
        assert_eq!(cells[1], default, "{row}");
    }
    assert!(named >= 8, "{named}");
}

/// The documentation has every setting and every code of a problem, with its status.
#[test]
fn the_documentation_is_complete() {
    let documentation = include_str!("../../DOCUMENTATION.md");
    for setting in api_actix::settings::SETTINGS {
        assert!(documentation.contains(&format!("| `{}` |", setting.name)), "{}", setting.name);
    }
    for code in api_actix::http::problem::Code::ALL {
        let row = format!("| {} | `{}` |", code.status().as_u16(), code.as_str());
        assert!(documentation.contains(&row), "{row}");
    }
}

/// The sources of the workspace.
fn sources(folder: &Path, text: &mut String) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, text);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text.push_str(&std::fs::read_to_string(path).unwrap());
        }
    }
}

/// Each test that the documentation names is there.
#[test]
fn the_documentation_names_tests_that_exist() {
    let documentation = include_str!("../../DOCUMENTATION.md");
    let section = documentation.split("\n## What went wrong before").nth(1).unwrap().split("\n## ").next().unwrap();
    let mut text = String::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    ["crates", "tests"].iter().for_each(|folder| sources(&root.join(folder), &mut text));
    let mut named = 0;
    for row in section.lines().filter(|line| line.starts_with("| ") && line.contains('`')) {
        let tests = row.trim_end_matches(" |").rsplit(" | ").next().unwrap();
        for name in tests.split('`').skip(1).step_by(2) {
            assert!(text.contains(&format!("fn {name}(")), "{name}");
            named += 1;
        }
    }
    assert!(named >= 20, "{named}");
}
