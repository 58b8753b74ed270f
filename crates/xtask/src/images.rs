//! Container images: pulled, or built locally if no registry can be reached.

use std::env;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Failure;
use crate::engine::{ask, docker};
use crate::process::{check_interrupted, read_within, root, run};
use crate::system::{can_install, install, on_path};

/// The longest time for a pull.
const PULL_MAX: Duration = Duration::from_secs(300);
/// The folder of the Dockerfiles for the test images.
const TEST_IMAGES: &str = "docker/test-images";
/// The name of the base image that is built if none can be pulled.
const MADE_BASE: &str = "movie-booking-base:bookworm";
/// The Debian release of that image.
const DEBIAN: &str = "bookworm";

/// An image that an environment variable can select.
struct Choice {
    /// The variable that selects the image.
    variable: &'static str,
    /// The image without the variable.
    default: &'static str,
}

const BASE: Choice = Choice { variable: "BASE_IMAGE", default: "debian:bookworm-slim" };
const POSTGRES: Choice = Choice { variable: "POSTGRES_IMAGE", default: "postgres:17-bookworm" };
const REDIS: Choice = Choice { variable: "REDIS_IMAGE", default: "redis:7-bookworm" };

impl Choice {
    /// Returns the selected image, if any.
    fn chosen(&self) -> Option<String> {
        env::var(self.variable).ok().filter(|image| !image.is_empty())
    }

    /// Returns the selected or default image. Pulls it if it is missing.
    fn pulled(&self) -> Result<String, Failure> {
        let image = self.chosen().unwrap_or_else(|| self.default.to_owned());
        if !is_here(&image) {
            println!("pulling {image}");
            read_within(&mut docker(&["pull", "--quiet", &image]), PULL_MAX)?;
        }
        Ok(image)
    }

    /// Like `pulled`, but builds the image with `make` if the default image cannot be pulled. A selected image is never replaced.
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

/// The images for the tests.
#[derive(Clone, Debug)]
pub struct TestImages {
    pub postgres: String,
    pub redis: String,
}

impl TestImages {
    /// Returns the images of `POSTGRES_IMAGE` and `REDIS_IMAGE`, otherwise the official ones. Pulls missing images.
    pub fn pulled() -> Result<Self, Failure> {
        Ok(Self { postgres: POSTGRES.pulled()?, redis: REDIS.pulled()? })
    }

    /// Like `pulled`, but builds the images of `docker/test-images` if the official ones cannot be pulled.
    pub fn pulled_or_made(base: &str) -> Result<Self, Failure> {
        let postgres = POSTGRES.pulled_or(|| make("postgres", base))?;
        let redis = REDIS.pulled_or(|| make("redis", base))?;
        Ok(Self { postgres, redis })
    }
}

/// Returns the base of the server's image: `BASE_IMAGE`, otherwise Debian's image. Builds it from packages if it cannot be pulled.
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

/// Builds a minimal Debian image from packages.
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
    // The downloaded packages are installed and no longer needed.
    run(Command::new("chroot").arg(&system).args(["apt-get", "clean"]))?;
    run(Command::new("tar").arg("-C").arg(&system).arg("-cf").arg(&archive).arg("."))?;
    run(docker(&["import", "--change", "CMD [\"bash\"]"]).arg(&archive).arg(MADE_BASE))?;
    Ok(MADE_BASE.to_owned())
}

/// Runs a program without printing its output. Shows the last lines if the program fails.
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
