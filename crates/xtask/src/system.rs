//! The capabilities of this machine, and the installation of packages.

use std::env;
use std::io;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use crate::Failure;
use crate::process::{read, run};

/// Returns whether this process runs as root.
pub fn is_root() -> Result<bool, Failure> {
    Ok(read(Command::new("id").arg("-u"))? == "0")
}

/// Returns whether packages can be installed: as root, on a system with apt-get.
pub fn can_install() -> Result<bool, Failure> {
    Ok(is_root()? && read(Command::new("apt-get").arg("--version")).is_ok())
}

/// Installs Debian packages.
pub fn install(packages: &[&str]) -> Result<(), Failure> {
    // Once per run: the package lists do not change during a run.
    static UPDATED: OnceLock<()> = OnceLock::new();
    if UPDATED.get().is_none() {
        run(apt_get(&["update"]).arg("--quiet"))?;
        UPDATED.get_or_init(|| ());
    }
    run(apt_get(&["install", "--yes", "--no-install-recommends", "--quiet"]).args(packages))
}

fn apt_get(arguments: &[&str]) -> Command {
    let mut command = Command::new("apt-get");
    // This run level prevents a package from starting its server.
    command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").env("RUNLEVEL", "1");
    command
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

#[cfg(test)]
mod tests {
    use super::*;

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
