//! Checks that the tests in `docs/operating/faults.md` exist.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::Path;

use crate::process::root;

const DOCUMENT: &str = "docs/operating/faults.md";

/// Returns the tests in the last column of the table.
fn named_tests(document: &str) -> BTreeSet<&str> {
    let rows = document.lines().filter_map(|line| line.strip_suffix('|')).skip(2);
    let cells = rows.filter_map(|row| row.rsplit('|').next());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect()
}

/// Returns the text of all source files of a folder.
fn sources(folder: &Path) -> io::Result<String> {
    let mut text = String::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            text += &sources(&path)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            text += &fs::read_to_string(&path)?;
        }
    }
    Ok(text)
}

#[test]
fn every_test_that_the_table_of_faults_names_exists() {
    let document = fs::read_to_string(root().join(DOCUMENT)).unwrap();
    let named = named_tests(&document);
    assert!(!named.is_empty(), "{DOCUMENT} names no test");
    let text = sources(&root().join("crates")).unwrap() + &sources(&root().join("tests")).unwrap();
    let missing: Vec<_> = named.into_iter().filter(|name| !text.contains(&format!("fn {name}("))).collect();
    assert!(missing.is_empty(), "{DOCUMENT} names tests that do not exist: {missing:?}");
}

#[test]
fn tests_are_read_from_the_last_column() {
    let table = "| fault | test |\n| --- | --- |\n| `a` | `one`, `two` |\n| b | `three` |\n\nNo `row`.\n";
    assert_eq!(named_tests(table), BTreeSet::from(["one", "two", "three"]));
}
