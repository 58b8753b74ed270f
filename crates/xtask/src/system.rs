//! The capabilities of this machine, and the installation of packages by `.ci/install`.

use std::env;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use crate::Failure;
use crate::process::{read, run, run_by_line, script};

/// Returns whether this process runs as root.
pub fn is_root() -> Result<bool, Failure> {
    Ok(read(Command::new("id").arg("-u"))? == "0")
}

/// Returns whether `.ci/install` can install packages: as root, on a system with apt-get.
pub fn can_install() -> Result<bool, Failure> {
    // Callers say what to do instead, so the script's message is discarded.
    run_by_line(script("install").arg("--check").stderr(Stdio::null()), |_| {})
}

/// Installs Debian packages.
pub fn install(packages: &[&str]) -> Result<(), Failure> {
    run(script("install").args(packages))
}

/// Returns the path of a program on PATH. Links are not resolved, because some programs depend on their name.
pub fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Returns a port without a listener.
pub fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Returns the result of a script of `.ci` in which functions of bash replace programs such as `id`, `apt-get` and `docker`.
#[cfg(test)]
pub fn run_with_functions(functions: &str, name: &str, arguments: &[&str]) -> Result<String, Failure> {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), functions).unwrap();
    // bash reads this file before the script.
    read(script(name).args(arguments).env("BASH_ENV", file.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const APT_GET: &str = r#"apt-get() { echo "apt-get $* ($DEBIAN_FRONTEND, run level $RUNLEVEL)"; }"#;

    #[test]
    fn packages_are_installed_from_new_lists_without_starting_servers() {
        let functions = format!("id() {{ echo 0; }}\n{APT_GET}");
        let output = run_with_functions(&functions, "install", &["jq", "haproxy"]).unwrap();
        let expected = [
            "apt-get update --quiet (noninteractive, run level 1)",
            "apt-get install --yes --no-install-recommends --quiet jq haproxy (noninteractive, run level 1)",
        ];
        assert_eq!(output.lines().collect::<Vec<_>>(), expected);
        assert_eq!(run_with_functions(&functions, "install", &["--check"]).unwrap(), "");
    }

    #[test]
    fn packages_are_not_installed_without_root_or_apt_get() {
        let user = format!("id() {{ echo 1000; }}\n{APT_GET}");
        // `command -v` finds no program in this PATH. bash runs by its absolute path.
        let other_system = "id() { echo 0; }\nPATH=/nowhere";
        for (functions, reason) in [(user.as_str(), "only root"), (other_system, "there is no apt-get")] {
            for argument in ["jq", "--check"] {
                let failure = run_with_functions(functions, "install", &[argument]).unwrap_err();
                assert!(failure.contains(reason), "{failure}");
            }
        }
    }

    #[test]
    fn failed_update_of_the_lists_is_a_failure() {
        let functions = "id() { echo 0; }\napt-get() { [ \"$1\" != update ]; }";
        assert!(run_with_functions(functions, "install", &["jq"]).is_err());
    }

    #[test]
    fn a_free_port_can_be_listened_on() {
        assert!(TcpListener::bind(("127.0.0.1", free_port().unwrap())).is_ok());
    }

    #[test]
    fn programs_are_found_by_their_names() {
        assert!(on_path("sh").unwrap().ends_with("sh"));
        assert_eq!(on_path("no-such-program-anywhere"), None);
    }
}
