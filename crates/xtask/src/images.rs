//! Container images: pulled, or built by scripts of `.ci` if no registry can be reached.

use std::env;
use std::time::Duration;

use crate::Failure;
use crate::engine::{ask, docker};
use crate::process::{check_interrupted, read_within, run, script};

/// The longest time for a pull.
const PULL_MAX: Duration = Duration::from_secs(300);
/// The name of the base image that is built if none can be pulled. The tag is its Debian release.
const MADE_BASE: &str = "movie-booking-base:bookworm";

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

/// Builds an image of `docker/test-images`.
fn make(what: &str, base: &str) -> Result<String, Failure> {
    let name = format!("movie-booking-test-{what}");
    run(script("test-image").args([what, &name, base]))?;
    Ok(name)
}

/// Builds a minimal Debian image from packages.
fn make_base() -> Result<String, Failure> {
    if is_here(MADE_BASE) {
        return Ok(MADE_BASE.to_owned());
    }
    println!("making {MADE_BASE} of Debian's packages");
    run(script("base-image").arg(MADE_BASE)).map_err(|failure| {
        format!("no base image can be pulled, and making one needs root and apt-get: set BASE_IMAGE ({failure})")
    })?;
    Ok(MADE_BASE.to_owned())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::system::run_with_functions;

    /// Replaces the programs of `.ci/base-image`: debootstrap creates a system of one file.
    const PROGRAMS: &str = r#"
        id() { echo 0; }
        debootstrap() { echo "installing $2"; mkdir "$3"; echo "$2" > "$3/release"; }
        chroot() { echo "in the system: ${*:2}"; }
        docker() { echo "docker $1 $2 $3 ${*:5}:"; tar -xOf "$4" ./release; }
    "#;

    /// Runs `.ci/base-image`. Fails if it leaves a temporary file.
    fn base_image(functions: &str, name: &str) -> Result<String, Failure> {
        let temporary = tempfile::tempdir().unwrap();
        let functions = format!("export TMPDIR='{}'\n{functions}", temporary.path().display());
        let outcome = run_with_functions(&functions, "base-image", &[name]);
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
        outcome
    }

    #[test]
    fn base_image_is_the_debian_release_of_its_tag() {
        let output = base_image(PROGRAMS, MADE_BASE).unwrap();
        let expected = [
            "in the system: apt-get clean",
            "docker import --change CMD [\"bash\"] movie-booking-base:bookworm:",
            "bookworm",
        ];
        assert_eq!(output.lines().collect::<Vec<_>>(), expected);
        assert!(base_image(PROGRAMS, "movie-booking-base").unwrap_err().contains("usage"));
    }

    #[test]
    fn missing_debootstrap_is_installed() {
        let missing = r#"
            command() { [ "$2" != debootstrap ] && builtin command "$@"; }
            apt-get() { echo "apt-get $*"; }
        "#;
        let output = base_image(&format!("{PROGRAMS}{missing}"), MADE_BASE).unwrap();
        assert!(output.contains(" debootstrap debian-archive-keyring\n"), "{output}");
    }

    #[test]
    fn failed_base_image_shows_the_last_lines_and_imports_nothing() {
        let failing = format!("{PROGRAMS}\ndebootstrap() {{ seq 100; echo 'no such release' >&2; return 1; }}");
        let failure = base_image(&failing, MADE_BASE).unwrap_err();
        assert!(failure.contains("\n99\n100\nno such release\n") && !failure.contains("\n81\n"), "{failure}");
        assert!(failure.ends_with("cannot make Debian bookworm: see above"), "{failure}");
        let broken = format!("{PROGRAMS}\ntar() {{ return 1; }}\ndocker() {{ echo imported >&2; }}");
        assert!(!base_image(&broken, MADE_BASE).unwrap_err().contains("imported"));
        let user = format!("{PROGRAMS}\nid() {{ echo 1000; }}");
        assert!(base_image(&user, MADE_BASE).unwrap_err().contains("only root"));
    }

    #[test]
    fn test_images_are_built_from_existing_files_on_the_base() {
        let docker = r#"docker() { cat "$4" > /dev/null; echo "$PWD: docker $*"; }"#;
        for what in ["postgres", "redis"] {
            let output = run_with_functions(docker, "test-image", &[what, "name", "base"]).unwrap();
            let command =
                format!("docker build --quiet --file {what}.Dockerfile --tag name --build-arg BASE_IMAGE=base .");
            assert!(output.ends_with(&format!("docker/test-images: {command}")), "{output}");
        }
        assert!(run_with_functions(docker, "test-image", &["mysql", "name", "base"]).is_err());
    }
}
