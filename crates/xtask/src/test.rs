//! Runs the tests with all their dependencies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::Failure;
use crate::backends::{Backends, Wanted};
use crate::process::{cargo, list, metadata, read, run as run_command, run_by_line, text};
use crate::proxies;
use crate::system::{can_install, install};

/// The HTTP suite: the cases of `on_both_stores!` and `on_postgres!`. Built as for the whole workspace, which has been built before.
const HTTP_SUITE: [&str; 7] = ["--test", "integration", "--", "sqlite::", "postgres::", "--skip", "process::"];
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
    /// Returns the run of the tests that `arguments` select, or of all tests of the suite.
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

/// The number of tests that passed and failed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Counts {
    passed: u32,
    failed: u32,
}

impl Counts {
    /// Reads the counts of the JUnit report, whose root element has them.
    fn parse(report: &str) -> Option<Self> {
        let (_, root) = report.split_once("<testsuites ")?;
        let (root, _) = root.split_once('>')?;
        let number = |name: &str| root.split_once(&format!(" {name}=\""))?.1.split_once('"')?.0.parse::<u32>().ok();
        let failed = number("failures")? + number("errors")?;
        Some(Self { passed: number("tests")?.checked_sub(failed)?, failed })
    }
}

/// The results of the tests, and the backends they ran on.
pub struct Report {
    counts: Counts,
    backends: Vec<String>,
    verdict: Result<(), Failure>,
}

impl Report {
    /// Prints the report. The last line is the number of tests.
    pub fn print(&self) {
        println!();
        self.backends.iter().for_each(|backend| println!("{backend}"));
        println!("{} passed, {} failed", self.counts.passed, self.counts.failed);
    }

    /// Returns an error unless all checks passed.
    pub fn verdict(&self) -> Result<(), Failure> {
        self.verdict.clone()
    }
}

/// Runs the tests on the backends that `TEST_BACKENDS` wants; with `arguments`, those that `cargo nextest run` selects by them.
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

/// Runs the tests, those of the process on the binary `server`; with `arguments`, those that `cargo nextest run` selects by them.
pub fn run(suite: Suite, arguments: &[String], wanted: &Wanted, server: &Path) -> Result<Report, Failure> {
    let report = find_or_install_nextest()?;
    if report.is_file() {
        fs::remove_file(&report).map_err(|error| format!("cannot delete {}: {error}", report.display()))?;
    }
    let proxies = proxies::find_or_install()?;
    ensure_locales()?;
    let backends = Backends::start(wanted)?;
    let mut command = suite.command(arguments);
    command.envs(proxies).envs(backends.variables()).env("MOVIE_BOOKING_BIN", server);
    let outcome = run_command(&mut command);
    let mut used = backends.describe();
    drop(backends);
    used.extend(sqlite_version().map(|version| format!("SQLite {version}")));
    used.push(read(Command::new("rustc").arg("--version")).unwrap_or_else(|failure| failure));
    let counts = fs::read_to_string(&report).ok().and_then(|report| Counts::parse(&report)).unwrap_or_default();
    Ok(Report { counts, backends: used, verdict: verdict(outcome, counts) })
}

/// Installs cargo-nextest if it is missing. Returns the file of its report.
fn find_or_install_nextest() -> Result<PathBuf, Failure> {
    if read(&mut cargo(&["nextest", "--version"])).is_err() {
        println!("cargo-nextest is missing: it is installed now, which takes some minutes, once");
        run_command(&mut cargo(&["install", "cargo-nextest", "--locked"]))?;
    }
    Ok(Path::new(text(&metadata(&["--no-deps"])?, "target_directory")).join("nextest/default/junit.xml"))
}

/// Returns the run of all tests, or of those that `arguments` of `cargo nextest run` select. Ignored tests run as well, so that none is
/// forgotten.
pub fn test_command(arguments: &[String]) -> Command {
    let mut command = cargo(&["nextest", "run", "--no-fail-fast", "--run-ignored", "all"]);
    let names_package = |argument: &String| argument.starts_with("-p") || argument.starts_with("--package");
    if !arguments.iter().any(names_package) {
        command.arg("--workspace");
    }
    command.args(arguments);
    command
}

fn verdict(outcome: Result<(), Failure>, counts: Counts) -> Result<(), Failure> {
    match (outcome, counts) {
        (_, Counts { failed, .. }) if failed > 0 => Err(format!("tests failed: {failed}")),
        (Err(failure), _) => Err(failure),
        (Ok(()), Counts { passed: 0, .. }) => Err("no test ran".to_owned()),
        (Ok(()), _) => Ok(()),
    }
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

    #[test]
    fn counts_are_in_the_root_of_the_report() {
        let report = |failures| {
            format!(
                r#"<?xml version="1.0"?>\n<testsuites name="nextest-run" tests="60" failures="{failures}" errors="1" time="2.5"><x/>"#
            )
        };
        assert_eq!(Counts::parse(&report(2)), Some(Counts { passed: 57, failed: 3 }));
        for broken in ["", "<testsuites>", r#"<testsuites name="x" tests="many">"#] {
            assert_eq!(Counts::parse(broken), None, "{broken}");
        }
    }

    #[test]
    fn run_passes_when_some_tests_passed_and_none_failed() {
        let counts = |passed, failed| Counts { passed, failed };
        assert!(verdict(Ok(()), counts(60, 0)).is_ok());
        for (outcome, counts) in [
            (Ok(()), counts(0, 0)),
            (Ok(()), counts(60, 1)),
            (Err("it does not compile".to_owned()), counts(0, 0)),
            (Err("a process crashed".to_owned()), counts(60, 0)),
        ] {
            assert!(verdict(outcome.clone(), counts).is_err(), "{outcome:?} {counts:?}");
        }
    }

    #[test]
    fn the_suite_through_proxies_runs_the_http_tests_alone() {
        let words = |suite: Suite, arguments: &[String]| {
            let command = suite.command(arguments);
            let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
            (words.join(" "), command.get_envs().any(|(name, value)| name == "TEST_PROXIES" && value.is_some()))
        };
        let all =
            "nextest run --no-fail-fast --run-ignored all --workspace --test integration -- sqlite:: postgres:: --skip process::".to_owned();
        assert_eq!(words(Suite::ThroughProxies, &[]), (all, true));
        let some = "nextest run --no-fail-fast --run-ignored all --workspace limits".to_owned();
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
        assert_eq!(command(&[]), "nextest run --no-fail-fast --run-ignored all --workspace");
        assert_eq!(command(&["booking"]), "nextest run --no-fail-fast --run-ignored all --workspace booking");
        assert_eq!(command(&["-p", "domain"]), "nextest run --no-fail-fast --run-ignored all -p domain");
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
