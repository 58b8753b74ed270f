//! Runs the tests with all their dependencies.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::backends::{Backends, Wanted};
use crate::process::{cargo, list, metadata, read, run_by_line, text};
use crate::proxies;
use crate::system::{can_install, install};
use crate::tally::Tally;

/// The minimum number of tests. Each change that adds tests raises it, so that no test is lost unnoticed.
const TESTS_MIN: Minimum = Minimum { file: "crates/xtask/tests.min", text: include_str!("../tests.min") };
/// The minimum number of tests through proxies.
const PROXIES_MIN: Minimum = Minimum { file: "crates/xtask/proxies.min", text: include_str!("../proxies.min") };
/// The HTTP suite: the cases of `on_both_stores!` and `on_postgres!`. The targets are those of the whole workspace, so no other build is
/// needed.
const HTTP_SUITE: [&str; 6] = ["--test", "integration", "--", "sqlite::", "postgres::", "--skip=process::"];
/// The proxies of the HTTP suite.
const PROXIES: &str = "nginx haproxy pgbouncer";
/// The duration of each storm through proxies, in seconds. The whole suite has longer storms.
const PROXIED_STORM_SECONDS: &str = "8";

/// The suite to run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Suite {
    /// All tests. HTTP tests connect to the server directly.
    Whole,
    /// The HTTP tests: on SQLite through nginx, on PostgreSQL through HAProxy and PgBouncer.
    ThroughProxies,
}

impl Suite {
    fn minimum(self) -> Minimum {
        match self {
            Self::Whole => TESTS_MIN,
            Self::ThroughProxies => PROXIES_MIN,
        }
    }

    /// Returns `cargo test` with these arguments, or for all tests of the suite without arguments.
    fn command(self, arguments: &[String]) -> Command {
        match self {
            Self::Whole => test_command(arguments),
            Self::ThroughProxies => {
                let all = HTTP_SUITE.map(str::to_owned);
                let mut command = test_command(if arguments.is_empty() { &all } else { arguments });
                command.env("TEST_PROXIES", PROXIES).env("STORM_SECONDS", PROXIED_STORM_SECONDS);
                command
            }
        }
    }
}

/// A file that contains a number of tests.
#[derive(Clone, Copy, Debug)]
struct Minimum {
    file: &'static str,
    text: &'static str,
}

impl Minimum {
    fn number(self) -> Result<u32, Failure> {
        self.text.trim().parse().map_err(|error| format!("{} must hold one number: {error}", self.file))
    }
}

/// The results of the tests, and the backends they ran on.
pub struct Report {
    tally: Tally,
    backends: Vec<String>,
    verdict: Result<(), Failure>,
}

impl Report {
    /// Prints the report. The last line is the number of tests.
    pub fn print(&self) {
        println!();
        self.backends.iter().for_each(|backend| println!("{backend}"));
        println!("ignored: {}", self.tally.ignored);
        println!("{} passed, {} failed", self.tally.passed, self.tally.failed);
    }

    /// Returns an error unless all checks passed.
    pub fn verdict(&self) -> Result<(), Failure> {
        self.verdict.clone()
    }
}

/// Runs the tests on the backends that `TEST_BACKENDS` selects. With `arguments`, runs only the tests that they select.
pub fn run_and_report(suite: Suite, arguments: &[String]) -> Result<(), Failure> {
    let wanted = Wanted::from_environment()?;
    let server = build_server(&[])?;
    let report = run(suite, arguments, &wanted, &server)?;
    report.print();
    report.verdict()
}

/// Installs locale sources if possible: one test starts a server that reports errors in German.
fn ensure_locales() -> Result<(), Failure> {
    if Path::new("/usr/share/i18n/locales/de_DE").is_file() || !can_install()? {
        return Ok(());
    }
    install(&["locales"])
}

/// Runs the tests; process tests use the binary `server`. With `arguments`, runs only the tests that they select.
pub fn run(suite: Suite, arguments: &[String], wanted: &Wanted, server: &Path) -> Result<Report, Failure> {
    let minimum = suite.minimum();
    minimum.number()?;
    let proxies = proxies::find_or_install()?;
    ensure_locales()?;
    let backends = Backends::start(wanted)?;
    let mut command = suite.command(arguments);
    command.envs(proxies).envs(backends.variables()).env("MOVIE_BOOKING_BIN", server);
    let mut tally = Tally::default();
    let succeeded = run_by_line(&mut command, |line| {
        // Ignores write errors: the reader may have closed the pipe (`| head`), and the tests must continue.
        let _ = writeln!(io::stdout(), "{line}");
        tally.add_line(line);
    })?;
    let mut used = backends.describe();
    drop(backends);
    used.extend(sqlite_version().map(|version| format!("SQLite {version}")));
    used.push(read(Command::new("rustc").arg("--version")).unwrap_or_else(|failure| failure));
    let verdict = verdict(succeeded, tally, arguments.is_empty().then_some(minimum));
    Ok(Report { tally, backends: used, verdict })
}

/// Returns `cargo test` for the workspace, or for the packages that the arguments name.
pub fn test_command(arguments: &[String]) -> Command {
    let mut command = cargo(&["test", "--no-fail-fast"]);
    let names_package = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    if !arguments.iter().any(names_package) {
        command.arg("--workspace");
    }
    command.args(arguments);
    command
}

/// Checks the results. `minimum` is given if the whole suite ran.
fn verdict(succeeded: bool, tally: Tally, minimum: Option<Minimum>) -> Result<(), Failure> {
    if tally.failed > 0 {
        return Err(format!("tests failed: {}", tally.failed));
    }
    if !succeeded {
        return Err("`cargo test` failed though no test did: see above for what does not build or crashed".to_owned());
    }
    let Some(minimum) = minimum else { return Ok(()) };
    if tally.ignored > 0 {
        return Err(format!("tests are ignored: {}; mend or remove them", tally.ignored));
    }
    let number = minimum.number()?;
    if tally.passed < number {
        return Err(format!(
            "{} tests passed, but {} says {number}: some got lost, or the number must be lowered on purpose",
            tally.passed, minimum.file
        ));
    }
    Ok(())
}

/// Builds the server, which the HTTP tests run. Returns its path.
pub fn build_server(arguments: &[&str]) -> Result<PathBuf, Failure> {
    build_binary("api-actix", "movie-booking", arguments)
}

/// Builds a program of a package. Returns its path.
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

/// Returns the path of the binary if this is cargo's message about the program.
fn executable(message: &str, program: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(message).ok()?;
    let target = message.get("target")?;
    let is_program = text(target, "name") == program && list(target, "kind").iter().any(|kind| kind == "bin");
    let executable = message.get("executable")?.as_str()?;
    is_program.then(|| PathBuf::from(executable))
}

/// Returns the version of the built-in SQLite, from its header.
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
        let minimum = Some(Minimum { file: "tests.min", text: "60\n" });
        assert!(verdict(true, tally(60, 0, 0), minimum).is_ok());
        for (succeeded, tally) in [
            (true, tally(59, 0, 0)),
            (true, tally(60, 1, 0)),
            (true, tally(60, 0, 1)),
            (false, tally(60, 0, 0)),
            (false, tally(60, 1, 0)),
        ] {
            assert!(verdict(succeeded, tally, minimum).is_err(), "{succeeded} {tally:?}");
        }
    }

    #[test]
    fn a_choice_of_tests_may_be_small_but_must_pass() {
        assert!(verdict(true, tally(1, 0, 0), None).is_ok());
        assert!(verdict(false, tally(1, 1, 0), None).is_err());
    }

    #[test]
    fn the_minimum_of_each_suite_is_a_number() {
        for suite in [Suite::Whole, Suite::ThroughProxies] {
            assert!(suite.minimum().number().unwrap() > 0);
        }
        assert!(Minimum { file: "tests.min", text: "many" }.number().unwrap_err().starts_with("tests.min must hold"));
    }

    #[test]
    fn the_suite_through_proxies_runs_the_http_tests_alone() {
        let words = |suite: Suite, arguments: &[String]| {
            let command = suite.command(arguments);
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            (words.join(" "), command.get_envs().any(|(name, value)| name == "TEST_PROXIES" && value.is_some()))
        };
        let all =
            "test --no-fail-fast --workspace --test integration -- sqlite:: postgres:: --skip=process::".to_owned();
        assert_eq!(words(Suite::ThroughProxies, &[]), (all, true));
        let some = "test --no-fail-fast --workspace limits".to_owned();
        assert_eq!(words(Suite::ThroughProxies, &["limits".to_owned()]), (some.clone(), true));
        assert_eq!(words(Suite::Whole, &["limits".to_owned()]), (some, false));
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
