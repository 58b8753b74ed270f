//! Checks that dependencies point inward only (hexagonal architecture).

use std::collections::BTreeSet;

use serde_json::Value;

use crate::Failure;
use crate::process::{cargo, list, metadata, read, text};

/// Technologies that the domain must not depend on.
const TECHNOLOGY: [&str; 8] =
    ["diesel", "diesel-async", "tokio", "tokio-postgres", "actix-web", "fred", "libsqlite3-sys", "reqwest"];
/// A known dependency of the domain. If the list lacks it, the list is incomplete and proves nothing.
const KNOWN: &str = "chrono";
/// Packages that can depend on adapters: the server that wires them, its tests and these recipes.
const MAY_KNOW_ADAPTERS: [&str; 4] = ["api-actix", "integration-tests", "load", "xtask"];

/// Checks all rules and prints the results.
pub fn run() -> Result<(), Failure> {
    let mut offences = domain_offences()?;
    offences.extend(adapter_offences(&metadata(&["--no-deps"])?));
    if offences.is_empty() { Ok(()) } else { Err(offences.join("\nerror: ")) }
}

fn domain_offences() -> Result<Vec<Failure>, Failure> {
    let whole = metadata(&[])?;
    let graph: BTreeSet<&str> = list(&whole, "packages").iter().map(|package| text(package, "name")).collect();
    let tree = ["tree", "-e", "normal", "-p", "domain", "--all-features", "--target", "all"];
    let listing = read(cargo(&tree).args(["--prefix", "none", "--format", "{p}"]))?;
    let used: BTreeSet<&str> = listing.lines().filter_map(|line| line.split(' ').next()).collect();
    if !used.contains(KNOWN) {
        return Err(format!("`cargo tree` does not list {KNOWN}, which domain depends on: it cannot be relied on"));
    }
    let mut offences = Vec::new();
    for name in TECHNOLOGY {
        if used.contains(name) {
            offences.push(format!("domain depends on {name}; see `cargo tree -e normal -p domain -i {name}`"));
        } else if graph.contains(name) {
            println!("domain does not depend on {name}");
        } else {
            println!("skipped: nothing in the workspace depends on {name} yet");
        }
    }
    Ok(offences)
}

/// Returns the packages that depend on an adapter without permission. Development dependencies are permitted: the tests of an adapter can
/// use other adapters.
fn adapter_offences(metadata: &Value) -> Vec<Failure> {
    let packages = list(metadata, "packages");
    let packages = packages.iter().filter(|package| !MAY_KNOW_ADAPTERS.contains(&text(package, "name")));
    let mut offences = Vec::new();
    for package in packages {
        let name = text(package, "name");
        let in_tests = |dependency: &&Value| text(dependency, "kind") == "dev";
        let dependencies = list(package, "dependencies").iter().filter(|dependency| !in_tests(dependency));
        let adapters: Vec<_> = dependencies
            .map(|dependency| text(dependency, "name"))
            .filter(|name| name.starts_with("adapters-"))
            .collect();
        if adapters.is_empty() {
            println!("{name} does not depend on an adapter");
        }
        offences.extend(adapters.iter().map(|adapter| {
            format!("{name} depends on {adapter}; only {} may know an adapter", MAY_KNOW_ADAPTERS.join(", "))
        }));
    }
    offences
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_the_server_may_know_adapters_and_tests_may_anywhere() {
        let adapter = |kind: Value| json!([{"name": "adapters-local", "kind": kind}, {"name": "tokio", "kind": null}]);
        let metadata = json!({"packages": [
            {"name": "api-actix", "dependencies": adapter(Value::Null)},
            {"name": "adapters-sqlite", "dependencies": adapter(json!("dev"))},
            {"name": "domain", "dependencies": adapter(Value::Null)},
            {"name": "adapters-auth", "dependencies": adapter(json!("build"))},
        ]});
        let offences = adapter_offences(&metadata);
        assert_eq!(offences.len(), 2);
        assert!(offences[0].starts_with("domain depends on adapters-local"));
        assert!(offences[1].starts_with("adapters-auth depends on adapters-local"));
    }
}
