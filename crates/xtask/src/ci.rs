//! The checks that every change must pass.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::Failure;
use crate::backends::Wanted;
use crate::engine::Engine;
use crate::images::{self, TestImages};
use crate::process::{cargo, check_interrupted, read, run as run_command};
use crate::server_image::ServerImage;
use crate::test::{Report, Suite, build_server};
use crate::{api, compose, purity, rollout, schemathesis, test};

/// Time budget for all steps, on two cores and from a clean state. Exceeding it is a warning.
const BUDGET: Duration = Duration::from_secs(40 * 60);
/// Time limit for all steps. The speed of shared machines varies by a factor of three. Exceeding the limit is a failure.
const LIMIT: Duration = Duration::from_secs(75 * 60);

/// A step and its time budget. Exceeding the budget is a warning.
struct Step {
    name: &'static str,
    budget_seconds: u64,
    run: fn(&mut Ci) -> Result<Outcome, Failure>,
}

/// The result of a step that did not fail.
#[derive(PartialEq, Eq, Debug)]
enum Outcome {
    Passed,
    /// The step cannot run on this machine, with the reason.
    Skipped(String),
}

const fn step(name: &'static str, budget_seconds: u64, run: fn(&mut Ci) -> Result<Outcome, Failure>) -> Step {
    Step { name, budget_seconds, run }
}

/// Ordered by how early a failure shows. All steps but the server's build use one target folder and one profile, to save builds. The
/// server is built once, for release: the tests run the same binary as the image, and no second build with other features is needed.
const STEPS: [Step; 15] = [
    step("format", 15, |_| format().map(passed)),
    step("clippy", 420, |_| clippy().map(passed)),
    step("documentation", 120, |_| documentation().map(passed)),
    step("dependencies", 120, |_| dependencies().map(passed)),
    step("purity", 15, |_| purity::run().map(passed)),
    step("api", 15, |_| api::run().map(passed)),
    step("engine", 90, Ci::engine),
    step("images", 180, Ci::images),
    step("release", 345, Ci::release),
    step("test", 600, Ci::test),
    step("schemathesis", 240, Ci::schemathesis),
    step("proxies", 180, Ci::proxies),
    step("rollout", 120, Ci::rollout),
    step("image", 60, Ci::image),
    step("compose", 105, Ci::compose),
];

/// The state that steps share.
#[derive(Default)]
struct Ci {
    report: Option<Report>,
    image: Option<ServerImage>,
    images: Option<TestImages>,
    base: Option<String>,
    server: Option<PathBuf>,
    // The last field, so an engine that this run started is stopped last.
    engine: Option<Engine>,
}

/// Runs the steps and stops at the first failure.
pub fn run() -> Result<(), Failure> {
    let began = Instant::now();
    let mut ci = Ci::default();
    let outcome = ci.run_steps();
    // Stopping the engine is part of the measured time.
    ci.engine = None;
    ci.print();
    let skipped = outcome?;
    let passed = STEPS.len() - skipped;
    println!("{}", total(passed, skipped, began.elapsed())?);
    Ok(())
}

/// Returns the last line of the run. Fails if the run exceeded the time limit.
fn total(passed: usize, skipped: usize, took: Duration) -> Result<String, Failure> {
    let (seconds, budget) = (took.as_secs_f64(), BUDGET.as_secs());
    if took > LIMIT {
        return Err(format!("all passed, but in {seconds:.1} s: more than the limit of {} s", LIMIT.as_secs()));
    }
    let skipped = if skipped == 0 { String::new() } else { format!(", {skipped} skipped") };
    let warning = if took > BUDGET { "warning: slower than the budget: " } else { "" };
    Ok(format!("{warning}{passed} steps passed{skipped}, in {seconds:.1} s (budget {budget} s)."))
}

/// Returns the line for a step that did not fail, and a warning if it exceeded its budget.
fn told(step: &Step, outcome: &Outcome, took: Duration) -> (String, Option<String>) {
    let Step { name, budget_seconds, .. } = step;
    if let Outcome::Skipped(reason) = outcome {
        return (format!("== {name}: SKIPPED: {reason} =="), None);
    }
    let seconds = took.as_secs_f64();
    let warning = (took > Duration::from_secs(*budget_seconds))
        .then(|| format!("warning: {name} took {seconds:.1} s, more than its budget of {budget_seconds} s"));
    (format!("== {name}: passed in {seconds:.1} s (budget {budget_seconds} s) =="), warning)
}

fn passed((): ()) -> Outcome {
    Outcome::Passed
}

impl Ci {
    /// Returns the number of skipped steps.
    fn run_steps(&mut self) -> Result<usize, Failure> {
        let mut skipped = 0;
        for step in &STEPS {
            println!("\n== {} ==", step.name);
            let began = Instant::now();
            let outcome = (step.run)(self).map_err(|failure| format!("{}: {failure}", step.name))?;
            let (line, warning) = told(step, &outcome, began.elapsed());
            println!("{line}");
            warning.into_iter().for_each(|warning| println!("{warning}"));
            skipped += usize::from(outcome != Outcome::Passed);
        }
        Ok(skipped)
    }

    fn print(&self) {
        println!();
        if let Some(image) = &self.image {
            println!("{}", image.describe());
        }
        if let Some(report) = &self.report {
            report.print();
        }
    }

    fn engine(&mut self) -> Result<Outcome, Failure> {
        let wanted = Wanted::from_environment()?;
        if matches!(wanted, Wanted::Binaries) {
            return Ok(Outcome::Skipped("TEST_BACKENDS is binaries".to_owned()));
        }
        match Engine::find_or_start() {
            Ok(engine) => {
                println!("{}", engine.describe());
                self.engine = Some(engine);
                Ok(Outcome::Passed)
            }
            Err(reason) => {
                check_interrupted()?;
                if matches!(wanted, Wanted::Containers) { Err(reason) } else { Ok(Outcome::Skipped(reason)) }
            }
        }
    }

    fn images(&mut self) -> Result<Outcome, Failure> {
        if self.engine.is_none() {
            return Ok(without_engine());
        }
        let base = images::base()?;
        let images = TestImages::pulled_or_made(&base)?;
        println!("base {base}, PostgreSQL {}, Redis {}", images.postgres, images.redis);
        (self.base, self.images) = (Some(base), Some(images));
        Ok(Outcome::Passed)
    }

    fn backends(&self) -> Wanted {
        self.images.clone().map_or(Wanted::Binaries, Wanted::ContainersOf)
    }

    fn release(&mut self) -> Result<Outcome, Failure> {
        self.server = Some(build_server(&["--release"])?);
        Ok(Outcome::Passed)
    }

    fn server(&self) -> Result<&Path, Failure> {
        self.server.as_deref().ok_or_else(|| "the step `release` did not run".to_owned())
    }

    fn test(&mut self) -> Result<Outcome, Failure> {
        let report = test::run(Suite::Whole, &[], &self.backends(), self.server()?)?;
        self.report.insert(report).verdict().map(passed)
    }

    fn schemathesis(&mut self) -> Result<Outcome, Failure> {
        schemathesis::run(Some(self.server()?)).map(passed)
    }

    fn proxies(&mut self) -> Result<Outcome, Failure> {
        test::run(Suite::ThroughProxies, &[], &self.backends(), self.server()?)?.verdict().map(passed)
    }

    fn rollout(&mut self) -> Result<Outcome, Failure> {
        rollout::run(None, self.server.as_deref()).map(passed)
    }

    fn image(&mut self) -> Result<Outcome, Failure> {
        let Some(base) = &self.base else { return Ok(without_engine()) };
        let image = ServerImage::make(base, self.server()?)?;
        let image = self.image.insert(image);
        println!("{}", image.describe());
        image.check_size()?;
        image.check_it_works().map(passed)
    }

    fn compose(&mut self) -> Result<Outcome, Failure> {
        match (&self.image, &self.images) {
            (Some(image), Some(images)) => compose::run(image.name, images).map(passed),
            _ => Ok(without_engine()),
        }
    }
}

fn without_engine() -> Outcome {
    Outcome::Skipped("there is no container engine".to_owned())
}

fn format() -> Result<(), Failure> {
    run_command(&mut cargo(&["fmt", "--all", "--check"])).map_err(|failure| format!("{failure}; run `cargo fmt --all`"))
}

fn clippy() -> Result<(), Failure> {
    run_command(&mut cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn documentation() -> Result<(), Failure> {
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--document-private-items"]);
    run_command(doc.env("RUSTDOCFLAGS", "-D warnings"))
}

/// Checks licences, sources and banned crates. Advisories are not checked: they need the network, and they can fail without a change.
fn dependencies() -> Result<(), Failure> {
    if read(&mut cargo(&["deny", "--version"])).is_err() {
        println!("cargo-deny is missing: it is installed now, which takes some minutes, once");
        run_command(&mut cargo(&["install", "cargo-deny", "--locked"]))?;
    }
    run_command(&mut cargo(&["deny", "check", "bans", "licenses", "sources"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_tells_its_time_and_its_budget() {
        let step = step("test", 300, |_| Ok(Outcome::Passed));
        let (line, warning) = told(&step, &Outcome::Passed, Duration::from_millis(61_200));
        assert_eq!((line.as_str(), warning), ("== test: passed in 61.2 s (budget 300 s) ==", None));
        let (_, warning) = told(&step, &Outcome::Passed, Duration::from_secs(301));
        assert!(warning.unwrap().starts_with("warning: test took 301.0 s"));
        let (line, warning) = told(&step, &Outcome::Skipped("no engine".to_owned()), Duration::from_secs(301));
        assert_eq!((line.as_str(), warning), ("== test: SKIPPED: no engine ==", None));
    }

    #[test]
    fn slow_run_warns_beyond_the_budget_and_fails_beyond_the_limit() {
        assert_eq!(total(10, 0, Duration::from_secs(2400)).unwrap(), "10 steps passed, in 2400.0 s (budget 2400 s).");
        assert!(total(7, 3, Duration::from_secs(1)).unwrap().starts_with("7 steps passed, 3 skipped, in 1.0 s"));
        assert!(
            total(10, 0, Duration::from_secs(2401)).unwrap().starts_with("warning: slower than the budget: 10 steps")
        );
        assert!(total(10, 0, Duration::from_secs(4501)).unwrap_err().contains("limit of 4500 s"));
    }

    #[test]
    fn without_an_engine_nothing_needs_one() {
        let mut ci = Ci::default();
        for step in [Ci::images, Ci::image, Ci::compose] {
            assert_eq!(step(&mut ci).unwrap(), without_engine());
        }
    }
}
