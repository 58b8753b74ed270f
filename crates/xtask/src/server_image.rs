//! The image of the server, built from a binary by `.ci/server-image`: its size, and whether it works in a restricted container.

use std::path::Path;
use std::time::Duration;

use crate::Failure;
use crate::engine::{ask, clean_up, docker};
use crate::http;
use crate::process::{run, script, until};

/// The largest permitted difference in size between the image and its base.
const ABOVE_BASE_MAX_BYTES: u64 = 48_000_000;
/// The name of the image in CI.
const NAME: &str = "movie-booking:ci";
/// The user of the image, as in docker/Dockerfile.
const USER: &str = "10001:10001";
/// The longest time for a server to become healthy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A built image.
pub struct ServerImage {
    pub name: &'static str,
    above_base_bytes: u64,
    base: String,
}

impl ServerImage {
    /// Packages the release build `binary` on a base image, and measures its size.
    pub fn make(base: &str, binary: &Path) -> Result<Self, Failure> {
        run(script("server-image").args([NAME, base]).arg(binary))?;
        let above_base_bytes = size(NAME)?.saturating_sub(size(base)?);
        Ok(Self { name: NAME, above_base_bytes, base: base.to_owned() })
    }

    /// Fails if the image is too large.
    pub fn check_size(&self) -> Result<(), Failure> {
        if self.above_base_bytes < ABOVE_BASE_MAX_BYTES {
            return Ok(());
        }
        Err(format!("{}, but must be less than {} MB", self.describe(), ABOVE_BASE_MAX_BYTES / 1_000_000))
    }

    /// Returns the name and size of the image.
    pub fn describe(&self) -> String {
        format!("image {}: {} MB above its base {}", self.name, megabytes(self.above_base_bytes), self.base)
    }

    /// Runs the image with its embedded store. Only its volume is writable, and it has no unnecessary privileges.
    pub fn check_it_works(&self) -> Result<(), Failure> {
        let user = ask(&["image", "inspect", "--format", "{{.Config.User}}", self.name])?;
        if user != USER {
            return Err(format!("the image runs as {user:?}, not as {USER}"));
        }
        let confined = ["--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"];
        let options =
            [&["run", "--detach", "--publish", "127.0.0.1::3000"], confined.as_slice(), &[self.name]].concat();
        let container = Container(ask(&options)?);
        let id = container.0.as_str();
        wait_until_healthy(&[id]).map_err(|failure| format!("{failure}; {}", last_lines(id)))?;
        let address = ask(&["port", id, "3000"])?;
        let movies = http::get(&address, "/api/movies", &[])?.expect(200)?.json()?;
        if movies.as_array().is_none_or(Vec::is_empty) {
            return Err(format!("there are no movies: {movies}"));
        }
        let health = ask(&["exec", id, "movie-booking", "healthcheck"])?;
        println!("read-only, without capabilities: {health}");
        // The server is process 1 and must handle the signal itself.
        ask(&["stop", "--time", "20", id])?;
        let code = ask(&["inspect", "--format", "{{.State.ExitCode}}", id])?;
        if code == "0" {
            Ok(())
        } else {
            Err(format!("the server ended with {code} when it was told to stop; {}", last_lines(id)))
        }
    }
}

fn size(image: &str) -> Result<u64, Failure> {
    let size = ask(&["image", "inspect", "--format", "{{.Size}}", image])?;
    size.parse().map_err(|error| format!("{image} has a size of {size:?}: {error}"))
}

/// Returns the size in megabytes with one digit, rounded up.
fn megabytes(bytes: u64) -> String {
    let tenths = bytes.div_ceil(100_000);
    format!("{}.{}", tenths / 10, tenths % 10)
}

/// Waits until these containers are healthy.
pub fn wait_until_healthy(ids: &[&str]) -> Result<(), Failure> {
    until(PATIENCE, || {
        let inspect = ["inspect", "--format", "{{.Config.Image}} {{.State.Status}} {{.State.Health.Status}}"];
        let states = ask(&[inspect.as_slice(), ids].concat())?;
        let healthy = states.lines().filter(|state| state.ends_with(" running healthy")).count();
        if healthy == ids.len() { Ok(()) } else { Err(states) }
    })
}

/// Returns the last log lines of a container.
pub fn last_lines(id: &str) -> String {
    // Programs write to both outputs.
    let logs = docker(&["logs", "--tail", "20", id]).output();
    logs.map_or_else(
        |error| format!("its log cannot be read: {error}"),
        |logs| format!("it wrote:\n{}{}", String::from_utf8_lossy(&logs.stdout), String::from_utf8_lossy(&logs.stderr)),
    )
}

/// A container. Dropping it removes the container.
struct Container(String);

impl Drop for Container {
    fn drop(&mut self) {
        if let Err(failure) = clean_up(&["rm", "--force", "--volumes", &self.0]) {
            eprintln!("warning: a container is left: {failure}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::run_with_functions;

    #[test]
    fn image_is_built_from_the_binary_and_the_licence_alone() {
        let docker =
            r#"docker() { cat "$4" > /dev/null; echo "${*:5:6}"; ls "${@: -1}"; cat "${@: -1}/movie-booking"; }"#;
        let binary = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(binary.path(), "the binary").unwrap();
        let arguments = ["name", "base", binary.path().to_str().unwrap()];
        let output = run_with_functions(docker, "server-image", &arguments).unwrap();
        let expected =
            ["--target packaged --tag name --build-arg BASE_IMAGE=base", "LICENSE", "movie-booking", "the binary"];
        assert_eq!(output.lines().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn an_image_must_be_smaller_than_the_limit() {
        let image = |above_base_bytes| ServerImage { name: NAME, above_base_bytes, base: "base".to_owned() };
        assert!(image(39_999_999).check_size().is_ok());
        let failure = image(48_000_000).check_size().unwrap_err();
        assert!(failure.contains("48.0 MB above its base base") && failure.contains("less than 48 MB"), "{failure}");
        assert_eq!(megabytes(31_234_567), "31.3");
        assert_eq!(megabytes(100_000), "0.1");
    }
}
