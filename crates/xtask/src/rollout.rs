//! Checks that the previous release works on the current schema, because its servers run during an upgrade.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::postgres::{PostgresPrograms, PostgresServer};
use crate::process::{cargo, metadata, read, root, run as run_command, text};
use crate::test::build_server;

/// The database that the current code migrates and that the tests of the previous release clone.
const TEMPLATE: &str = "rollout_template";
/// The variable that passes the database's name to these tests, and the file in which they read it.
const TEMPLATE_VARIABLE: &str = "TEST_DATABASE_TEMPLATE";
const TESTING: &str = "crates/adapters-postgres/src/testing.rs";
/// The migration requires a secret but does not use it.
const SECRET: &str = "signs nothing, because nothing is served here";

/// Runs the store contract of the release `from` (default: the newest tag `v…`) on databases that the binary `server` has migrated
/// (default: built from the current code).
pub fn run(from: Option<&str>, server: Option<&Path>) -> Result<(), Failure> {
    let from = match from {
        Some(from) => from.to_owned(),
        None => match newest_release()? {
            Some(tag) => tag,
            None => {
                println!("skipped: there is no earlier release, which would have a tag like v0.1.0");
                return Ok(());
            }
        },
    };
    let old = Checkout::new(&from)?;
    // The old tests would otherwise migrate their own database and pass.
    if !fs::read_to_string(old.folder().join(TESTING)).is_ok_and(|text| text.contains(TEMPLATE_VARIABLE)) {
        println!(
            "skipped: the tests of {from} cannot be run on another schema than their own; those of later releases can"
        );
        return Ok(());
    }
    let programs = PostgresPrograms::find_or_install()?;
    let server_binary = server.map_or_else(|| build_server(&[]), |server| Ok(server.to_owned()))?;
    let metadata = metadata(&["--no-deps"])?;
    let postgres = PostgresServer::start(&programs)?;
    let database = postgres.create_database(&programs, TEMPLATE)?;
    let mut migrate = Command::new(server_binary);
    // Prevents a developer's .env from being read.
    migrate
        .arg("migrate")
        .env_clear()
        .env("DATABASE_URL", database)
        .env("JWT_SECRET", SECRET)
        .current_dir(old.folder());
    println!("this tree's schema: {}", read(&mut migrate)?);

    println!("the stores of {from} on it:");
    let mut command =
        cargo(&["nextest", "run", "--no-fail-fast", "-p", "adapters-postgres", "--test", "suite", "contracts::"]);
    command.current_dir(old.folder()).env("CARGO_TARGET_DIR", text(&metadata, "target_directory"));
    command.env("TEST_DATABASE_URL", postgres.url()).env(TEMPLATE_VARIABLE, TEMPLATE);
    let outcome = run_command(&mut command);
    drop(postgres);
    outcome.map_err(|failure| {
        format!(
            "{from} does not work on this tree's schema: its servers would fail while new ones come. Expand the schema now, and contract \
             it a release later ({failure})"
        )
    })?;
    println!("{from} passes its contract cases on this tree's schema");
    Ok(())
}

/// Returns the tag of the newest release, by version.
fn newest_release() -> Result<Option<String>, Failure> {
    let tags = read(git().args(["tag", "--list", "v[0-9]*", "--sort=-version:refname"]))?;
    Ok(tags.lines().next().map(str::to_owned))
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(root());
    git
}

/// A checkout of an old commit in a temporary folder. Dropping it removes the folder.
struct Checkout(tempfile::TempDir);

impl Checkout {
    fn new(reference: &str) -> Result<Self, Failure> {
        let explain = |error: io::Error| format!("cannot make a temporary folder: {error}");
        let folder = tempfile::Builder::new().prefix("booking-rollout-").tempdir().map_err(explain)?;
        run_command(git().args(["worktree", "add", "--quiet", "--detach"]).arg(folder.path()).arg(reference))?;
        Ok(Self(folder))
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        if let Err(failure) = read(git().args(["worktree", "remove", "--force"]).arg(self.folder())) {
            eprintln!("warning: {failure}; `git worktree prune` forgets it");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// If the checkout had the current commit, the test would prove nothing.
    #[test]
    fn an_old_tree_is_checked_out_and_taken_away() {
        if read(git().args(["rev-parse", "HEAD"])).is_err() {
            println!("skipped: this is no git repository");
            return;
        }
        let checkout = Checkout::new("HEAD").unwrap();
        let folder = checkout.folder().to_owned();
        assert!(folder.join("Cargo.toml").is_file());
        drop(checkout);
        assert!(!folder.exists());
        let left = read(git().args(["worktree", "list"])).unwrap();
        assert!(!left.contains(folder.to_str().unwrap()), "{left}");
        assert!(Checkout::new("no-such-release").is_err());
    }
}
