//! Proves that the release before works on this tree's schema: its servers go on while the new ones come.

use std::fs;
use std::io;
use std::path::Path;
use std::process::Command;

use crate::Failure;
use crate::postgres::{PostgresPrograms, PostgresServer};
use crate::process::{cargo, metadata, read, root, run as run_command, text};
use crate::test::build_server;

/// The database that this tree migrates, and that the old release's tests clone.
const TEMPLATE: &str = "rollout_template";
/// What tells those tests its name, and where they look for it.
const TEMPLATE_VARIABLE: &str = "TEST_DATABASE_TEMPLATE";
const TESTING: &str = "crates/adapters-postgres/src/testing.rs";
/// What the migration needs to start, and uses for nothing.
const SECRET: &str = "signs nothing, because nothing is served here";

/// Runs the store contract of the release `from` (the newest tag `v…` without it) on databases that this tree has migrated, by its
/// binary `server` (built here without it).
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
    // Its tests would migrate a database of their own, and pass.
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
    // Settings of a developer's .env stay out of it.
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

/// The newest tag of a release, by its version.
fn newest_release() -> Result<Option<String>, Failure> {
    let tags = read(git().args(["tag", "--list", "v[0-9]*", "--sort=-version:refname"]))?;
    Ok(tags.lines().next().map(str::to_owned))
}

fn git() -> Command {
    let mut git = Command::new("git");
    git.current_dir(root());
    git
}

/// An old tree in a temporary folder. Taken away again when this is dropped.
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

    /// A tree without a commit of its own would prove nothing.
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
