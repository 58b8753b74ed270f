//! The images that containers are made of: pulled, or made here where no registry can be reached.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::engine::{ask, docker};
use crate::process::{check_interrupted, read_within, root, run};
use crate::system::{can_install, install, on_path};

/// How long a pull may take.
const PULL_MAX: Duration = Duration::from_secs(300);
/// Who makes the images of the tests.
const TEST_IMAGES: &str = "docker/test-images";
/// What is made where no base can be pulled.
const MADE_BASE: &str = "movie-booking-base:bookworm";
/// The release of Debian that it is made of.
const DEBIAN: &str = "bookworm";

/// An image that somebody may choose.
struct Choice {
    /// The variable to choose it by.
    variable: &'static str,
    /// What it is otherwise.
    default: &'static str,
}

const BASE: Choice = Choice { variable: "BASE_IMAGE", default: "debian:bookworm-slim" };
const POSTGRES: Choice = Choice { variable: "POSTGRES_IMAGE", default: "postgres:17-bookworm" };
const REDIS: Choice = Choice { variable: "REDIS_IMAGE", default: "redis:7-bookworm" };

impl Choice {
    /// What was chosen, if somebody chose.
    fn chosen(&self) -> Option<String> {
        env::var(self.variable).ok().filter(|image| !image.is_empty())
    }

    /// The image that was chosen, or the default one: here already, or pulled.
    fn pulled(&self) -> Result<String, Failure> {
        let image = self.chosen().unwrap_or_else(|| self.default.to_owned());
        if !is_here(&image) {
            println!("pulling {image}");
            read_within(&mut docker(&["pull", "--quiet", &image]), PULL_MAX)?;
        }
        Ok(image)
    }

    /// As `pulled`; where the default one cannot be had, what `make` makes. An image that was chosen is not replaced.
    fn pulled_or(&self, make: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
        let failure = match self.pulled() {
            Ok(image) => return Ok(image),
            Err(failure) => failure,
        };
        check_interrupted()?;
        if self.chosen().is_some() {
            return Err(format!("the image of {} cannot be had: {failure}", self.variable));
        }
        println!("{} cannot be pulled ({failure}): another one is made", self.default);
        make()
    }
}

fn is_here(image: &str) -> bool {
    ask(&["image", "inspect", "--format", "{{.Id}}", image]).is_ok()
}

/// The images that the tests need.
#[derive(Clone, Debug)]
pub struct TestImages {
    pub postgres: String,
    pub redis: String,
}

impl TestImages {
    /// Those of `POSTGRES_IMAGE` and `REDIS_IMAGE`, else the official ones; pulled if they are not here.
    pub fn pulled() -> Result<Self, Failure> {
        Ok(Self { postgres: POSTGRES.pulled()?, redis: REDIS.pulled()? })
    }

    /// The same; where the official ones cannot be had, those of `docker/test-images`.
    pub fn pulled_or_made(base: &str) -> Result<Self, Failure> {
        let postgres = POSTGRES.pulled_or(|| make("postgres", base))?;
        let redis = REDIS.pulled_or(|| make("redis", base))?;
        Ok(Self { postgres, redis })
    }
}

/// The base of the server's image: `BASE_IMAGE`, else Debian's; made of packages where that cannot be pulled.
pub fn base() -> Result<String, Failure> {
    BASE.pulled_or(make_base)
}

/// Builds `docker/test-images/<what>.Dockerfile`.
fn make(what: &str, base: &str) -> Result<String, Failure> {
    let (name, file) = (format!("movie-booking-test-{what}"), format!("{TEST_IMAGES}/{what}.Dockerfile"));
    let mut build = docker(&["build", "--quiet", "--file", &file, "--tag", &name]);
    build.args(["--build-arg", &format!("BASE_IMAGE={base}"), TEST_IMAGES]).current_dir(root());
    run(&mut build)?;
    Ok(name)
}

/// Debian's smallest system, of its packages.
fn make_base() -> Result<String, Failure> {
    if is_here(MADE_BASE) {
        return Ok(MADE_BASE.to_owned());
    }
    if !can_install()? {
        return Err("no base image can be pulled, and making one needs root and apt-get: set BASE_IMAGE".to_owned());
    }
    if on_path("debootstrap").is_none() {
        install(&["debootstrap", "debian-archive-keyring"])?;
    }
    let folder = tempfile::tempdir().map_err(|error| format!("cannot make a temporary folder: {error}"))?;
    let (system, archive) = (folder.path().join("system"), folder.path().join("system.tar"));
    println!("making {MADE_BASE} of Debian's packages");
    run_quietly(Command::new("debootstrap").args(["--variant=minbase", DEBIAN]).arg(&system), folder.path())?;
    // What was downloaded is installed by now.
    run(Command::new("chroot").arg(&system).args(["apt-get", "clean"]))?;
    run(Command::new("tar").arg("-C").arg(&system).arg("-cf").arg(&archive).arg("."))?;
    run(docker(&["import", "--change", "CMD [\"bash\"]"]).arg(&archive).arg(MADE_BASE))?;
    Ok(MADE_BASE.to_owned())
}

/// Runs a program that tells too much; what it told is shown if it fails.
fn run_quietly(command: &mut Command, folder: &Path) -> Result<(), Failure> {
    let log = folder.join("log");
    let explain = |error: std::io::Error| format!("cannot write {}: {error}", log.display());
    command.stderr(std::fs::File::create(&log).map_err(explain)?);
    let mut told = Vec::new();
    let succeeded = crate::process::run_by_line(command, |line| told.push(line.to_owned()))?;
    if succeeded {
        return Ok(());
    }
    told.extend(std::fs::read_to_string(&log).map_err(explain)?.lines().map(str::to_owned));
    let last = told.get(told.len().saturating_sub(20)..).unwrap_or_default().join("\n");
    Err(format!("`{}` failed:\n{last}", command.get_program().to_string_lossy()))
}
