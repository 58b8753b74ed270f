//! The tests, with all they need.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::backends::{Backends, Wanted};
use crate::process::{cargo, list, metadata, read, run_by_line, text};
use crate::tally::Tally;

/// How many tests must pass at least: raised with each change that adds some, so that none gets lost.
const TESTS_MIN: &str = include_str!("../tests.min");

/// What became of the tests, and on what they ran.
pub struct Report {
    tally: Tally,
    backends: Vec<String>,
    verdict: Result<(), Failure>,
}

impl Report {
    /// Tells it: the last line is the number of tests.
    pub fn print(&self) {
        println!();
        self.backends.iter().for_each(|backend| println!("{backend}"));
        println!("ignored: {}", self.tally.ignored);
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
    }

    /// Whether all is well.
    pub fn verdict(&self) -> Result<(), Failure> {
        self.verdict.clone()
    }
}

/// Runs the tests on the backends that `TEST_BACKENDS` wants; with `arguments`, those that `cargo test` chooses by them.
pub fn run_and_report(arguments: &[String]) -> Result<(), Failure> {
    let report = run(arguments, &Wanted::from_environment()?)?;
    report.print();
    report.verdict()
}

/// Runs the tests; with `arguments`, those that `cargo test` chooses by them.
pub fn run(arguments: &[String], wanted: &Wanted) -> Result<Report, Failure> {
    let tests_min = tests_min()?;
    // First what fails soonest.
    let backends = Backends::start(wanted)?;
    let server_binary = build_server(&[])?;
    let mut command = test_command(arguments);
    command.envs(backends.variables()).env("MOVIE_BOOKING_BIN", &server_binary);
    let mut tally = Tally::default();
    let succeeded = run_by_line(&mut command, |line| {
        // Nobody may read on (`| head`), which must not end the tests half-way.
        let _ = writeln!(io::stdout(), "{line}");
        tally.add_line(line);
    })?;
    let mut used = backends.describe();
    drop(backends);
    used.extend(sqlite_version().map(|version| format!("SQLite {version}")));
    used.push(read(Command::new("rustc").arg("--version")).unwrap_or_else(|failure| failure));
    let verdict = verdict(succeeded, tally, arguments.is_empty().then_some(tests_min));
    Ok(Report { tally, backends: used, verdict })
}

fn tests_min() -> Result<u32, Failure> {
    TESTS_MIN.trim().parse().map_err(|error| format!("crates/xtask/tests.min must hold one number: {error}"))
}

/// `cargo test` of the workspace, or of the packages that are named.
pub fn test_command(arguments: &[String]) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast"]);
    let names_package = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    if !arguments.iter().any(names_package) {
        command.arg("--workspace");
    }
    command.args(arguments);
    command
}

/// Whether all is well. `tests_min` is given where the whole suite ran.
fn verdict(succeeded: bool, tally: Tally, tests_min: Option<u32>) -> Result<(), Failure> {
    if tally.failed > 0 {
        return Err(format!("tests failed: {}", tally.failed));
    }
    if !succeeded {
        return Err("`cargo test` failed though no test did: see above for what does not build or crashed".to_owned());
    }
    let Some(tests_min) = tests_min else { return Ok(()) };
    if tally.ignored > 0 {
        return Err(format!("tests are ignored: {}; mend or remove them", tally.ignored));
    }
    if tally.passed < tests_min {
        return Err(format!(
            "{} tests passed, but crates/xtask/tests.min says {tests_min}: some got lost, or the number must be lowered on purpose",
            tally.passed
        ));
    }
    Ok(())
}

/// Builds the server, which the tests over HTTP run. Where it is.
pub fn build_server(arguments: &[&str]) -> Result<PathBuf, Failure> {
    build_binary("api-actix", "movie-booking", arguments)
}

/// Builds a program of a package. Where it is.
pub fn build_binary(package: &str, program: &str, arguments: &[&str]) -> Result<PathBuf, Failure> {
    let mut build = cargo(&["build", "-p", package, "--message-format", "json-render-diagnostics"]);
    build.args(arguments);
    let mut binary = None;
    let succeeded = run_by_line(&mut build, |line| binary = executable(line, program).or(binary.take()))?;
    if !succeeded {
        return Err(format!("{package} does not build: see above"));
    }
    binary.ok_or_else(|| format!("cargo built no binary `{program}`: does {package} still have it?"))
}

/// The program's binary, if this is cargo's message about it.
fn executable(message: &str, program: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let is_program = text(target, "name") == program && list(target, "kind").iter().any(|kind| kind == "bin");
    let executable = message.get("executable")?.as_str()?;
    is_program.then(|| PathBuf::from(executable))
}

/// The version of the SQLite that is built in, as its header says.
fn sqlite_version() -> Option<String> {
    let metadata = metadata(&[]).ok()?;
    let package = list(&metadata, "packages").iter().find(|package| text(package, "name") == "libsqlite3-sys")?;
    let header = Path::new(text(package, "manifest_path")).parent()?.join("sqlite3/sqlite3.h");
    let header = fs::read_to_string(header).ok()?;
    let line = header.lines().find(|line| line.starts_with("#define SQLITE_VERSION "))?;
    line.split('"').nth(1).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tally(passed: u32, failed: u32, ignored: u32) -> Tally {
        Tally { passed, failed, ignored }
    }

    #[test]
    fn all_is_well_when_enough_passed_and_nothing_else_happened() {
        assert!(verdict(true, tally(60, 0, 0), Some(60)).is_ok());
        for (succeeded, tally) in [
            (true, tally(59, 0, 0)),
            (true, tally(60, 1, 0)),
            (true, tally(60, 0, 1)),
            (false, tally(60, 0, 0)),
            (false, tally(60, 1, 0)),
        ] {
            assert!(verdict(succeeded, tally, Some(60)).is_err(), "{succeeded} {tally:?}");
        }
    }

    #[test]
    fn a_choice_of_tests_may_be_small_but_must_pass() {
        assert!(verdict(true, tally(1, 0, 0), None).is_ok());
        assert!(verdict(false, tally(1, 1, 0), None).is_err());
    }

    #[test]
    fn the_number_of_tests_is_a_number() {
        assert!(tests_min().unwrap() > 0);
    }

    #[test]
    fn a_package_chosen_by_name_is_not_overruled() {
        let command = |arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
            let command = test_command(&arguments);
            command.get_args().map(|argument| argument.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(command(&[]), "test --no-fail-fast --workspace");
        assert_eq!(command(&["booking"]), "test --no-fail-fast --workspace booking");
        assert_eq!(command(&["-p", "domain"]), "test --no-fail-fast -p domain");
    }

    #[test]
    fn the_servers_binary_is_found_in_cargos_messages() {
        let message = |name: &str, kind: &str| {
            format!(r#"{{"target":{{"name":"{name}","kind":["{kind}"]}},"executable":"/target/{name}"}}"#)
        };
        let executable = |message: &str| executable(message, "movie-booking");
        assert_eq!(executable(&message("movie-booking", "bin")), Some("/target/movie-booking".into()));
        assert_eq!(executable(&message("movie-booking", "test")), None);
        assert_eq!(executable(&message("build-script-build", "custom-build")), None);
        assert_eq!(executable(r#"{"target":{"name":"movie-booking","kind":["bin"]},"executable":null}"#), None);
        assert_eq!(executable("no JSON"), None);
    }
}
