//! Finds API changes that break clients: compares the committed OpenAPI document with the last released one. CHANGELOG.md must announce
//! each break.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::Failure;
use crate::breaks::{Finding, Findings, compare, operations};
use crate::process::root;

/// The document that is generated from the code; a test keeps it up to date.
const CURRENT: &str = "crates/api-actix/openapi.json";
/// The folder of released documents, each named by its version.
const RELEASED: &str = "docs/api";
/// The file that announces breaks.
const CHANGELOG: &str = "CHANGELOG.md";
/// The start of an announcement. The operations follow, each in backticks, then a colon and the description.
const ANNOUNCEMENT: &str = "- **Breaking:** ";

/// A version like 0.1.0.
type Version = (u64, u64, u64);

/// Compares the documents and prints the breaks.
pub fn run() -> Result<(), Failure> {
    let folder = root().join(RELEASED);
    let names = fs::read_dir(&folder).map_err(|error| format!("{RELEASED} cannot be read: {error}"))?;
    let names = names.filter_map(Result::ok).filter_map(|entry| entry.file_name().into_string().ok());
    let (version, name) = newest(names).ok_or_else(|| format!("{RELEASED} has no document like 0.1.0.json"))?;
    let released = read(&folder.join(&name))?;
    let current = read(&root().join(CURRENT))?;
    let changelog = fs::read_to_string(root().join(CHANGELOG)).map_err(|error| format!("{CHANGELOG}: {error}"))?;

    check_version(version, &released, &current)?;
    let findings = compare(&released, &current);
    for Finding { operation, what } in &findings.notes {
        println!("note: {operation}: {what}");
    }
    let announced = announced(&changelog);
    let told = judge(&findings, &announced, &operations(&released))?;
    println!("{told} since {RELEASED}/{name}");
    Ok(())
}

fn read(path: &Path) -> Result<Value, Failure> {
    let text = fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))?;
    serde_json::from_str(&text).map_err(|error| format!("{} is not JSON: {error}", path.display()))
}

/// Returns the newest of the files that are named by a version.
fn newest(names: impl Iterator<Item = String>) -> Option<(Version, String)> {
    names.filter_map(|name| Some((version(name.strip_suffix(".json")?)?, name))).max()
}

fn version(text: &str) -> Option<Version> {
    let mut numbers = text.split('.').map(|number| number.parse().ok());
    let version = (numbers.next()??, numbers.next()??, numbers.next()??);
    numbers.next().is_none().then_some(version)
}

/// Fails if a document differs from the released one but has the same version.
fn check_version(released_version: Version, released: &Value, current: &Value) -> Result<(), Failure> {
    let said = current.pointer("/info/version").and_then(Value::as_str).unwrap_or_default();
    let now = version(said).ok_or_else(|| format!("{CURRENT} has the version {said:?}, which is none like 0.1.0"))?;
    if now < released_version || now == released_version && current != released {
        return Err(format!(
            "version {said} is released, and the API has changed since: raise `version` in Cargo.toml and write {CURRENT} again"
        ));
    }
    Ok(())
}

/// Returns the operations whose breaks the Unreleased section announces.
fn announced(changelog: &str) -> BTreeSet<String> {
    let unreleased = changelog.lines().skip_while(|line| *line != "## [Unreleased]").skip(1);
    let lines =
        unreleased.take_while(|line| !line.starts_with("## ")).filter_map(|line| line.strip_prefix(ANNOUNCEMENT));
    lines
        .filter_map(|line| line.split_once("`:"))
        // Every second part is in backticks. The last part lacks its second backtick.
        .flat_map(|(operations, _)| operations.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>())
        .collect()
}

/// Fails unless each break is announced and each announcement names an operation of the last release.
fn judge<T>(
    findings: &Findings,
    announced: &BTreeSet<String>,
    released: &BTreeMap<String, T>,
) -> Result<String, Failure> {
    let mut offences: Vec<_> = announced
        .iter()
        .filter(|operation| !released.contains_key(*operation))
        .map(|operation| {
            format!("{CHANGELOG} announces a break of `{operation}`, which the last release does not have")
        })
        .collect();
    let silent = findings.breaks.iter().filter(|found| !announced.contains(&found.operation));
    offences.extend(silent.map(|Finding { operation, what }| {
        format!(
            "`{operation}`: {what}. This breaks clients: take it back, or announce it in {CHANGELOG} under Unreleased, as \
             {ANNOUNCEMENT}`{operation}`: what they must do"
        )
    }));
    if offences.is_empty() {
        Ok(match findings.breaks.len() {
            0 => "nothing that clients rely on has changed".to_owned(),
            count => format!("{count} breaks, all announced,"),
        })
    } else {
        Err(offences.join("\nerror: "))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_newest_document_is_the_one_of_the_highest_version() {
        let names =
            ["0.9.0.json", "0.10.0.json", "0.2.11.json", "README.md", "1.json", "0.11.0-rc.1.json", "0.1.0.0.json"];
        let found = newest(names.into_iter().map(str::to_owned));
        assert_eq!(found, Some(((0, 10, 0), "0.10.0.json".to_owned())));
        assert_eq!(newest(["README.md".to_owned()].into_iter()), None);
    }

    #[test]
    fn a_changed_document_has_a_version_of_its_own() {
        let document = |version: &str, paths: Value| json!({"info": {"version": version}, "paths": paths});
        let released = document("0.1.0", json!({}));
        assert!(check_version((0, 1, 0), &released, &released).is_ok());
        assert!(check_version((0, 1, 0), &released, &document("0.2.0", json!({"/a": {}}))).is_ok());
        assert!(check_version((0, 1, 0), &released, &document("0.1.0", json!({"/a": {}}))).is_err());
        assert!(check_version((0, 1, 0), &released, &document("0.0.9", json!({}))).is_err());
        assert!(check_version((0, 1, 0), &released, &json!({})).is_err());
    }

    #[test]
    fn announcements_are_read_from_the_unreleased_section_alone() {
        let changelog = "# Changelog\n\n- **Breaking:** `GET /before`: no\n\n## [Unreleased]\n\n### Changed\n\n\
            - **Breaking:** `GET /api/movies`: `search` is `q`: see there.\n- **Breaking:** `GET /a`, `POST /a/{id}`: both.\n\
            - Breaking: `GET /b`: not said as it must be.\n- **Breaking:** everything\n\n\
            ## [0.1.0] - 2026-11-22\n\n- **Breaking:** `GET /after`: no\n";
        let found = announced(changelog);
        assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), ["GET /a", "GET /api/movies", "POST /a/{id}"]);
        assert!(announced("").is_empty());
    }

    #[test]
    fn a_break_must_be_announced_and_an_announcement_must_mean_something() {
        let found = |operation: &str| Finding { operation: operation.to_owned(), what: "it is gone".to_owned() };
        let breaks = |operations: &[&str]| Findings {
            breaks: operations.iter().map(|operation| found(operation)).collect(),
            notes: BTreeSet::new(),
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let released = BTreeMap::from([("GET /a".to_owned(), ()), ("GET /b".to_owned(), ())]);
        assert!(judge(&breaks(&[]), &names(&[]), &released).is_ok());
        assert!(judge(&breaks(&["GET /a"]), &names(&["GET /a", "GET /b"]), &released).is_ok());
        let failure = judge(&breaks(&["GET /a", "GET /b"]), &names(&["GET /a"]), &released).unwrap_err();
        assert!(failure.contains("`GET /b`: it is gone") && !failure.contains("`GET /a`"), "{failure}");
        assert!(failure.contains("- **Breaking:** `GET /b`: "), "{failure}");
        let failure = judge(&breaks(&[]), &names(&["GET /c"]), &released).unwrap_err();
        assert!(failure.contains("`GET /c`, which the last release does not have"), "{failure}");
    }
}
