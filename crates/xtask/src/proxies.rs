//! The additional programs that tests need: nginx, HAProxy and PgBouncer, which tests run between a client, the server and the database,
//! and jq, which the README uses.

use std::path::PathBuf;

use crate::Failure;
use crate::system::{can_install, install, on_path};

/// A program, its Debian package, and the variable that passes its path to the tests.
const PROGRAMS: [(&str, &str, &str); 4] = [
    ("nginx", "nginx-light", "TEST_NGINX"),
    ("haproxy", "haproxy", "TEST_HAPROXY"),
    ("pgbouncer", "pgbouncer", "TEST_PGBOUNCER"),
    ("jq", "jq", "TEST_JQ"),
];

/// Finds the programs. As root on a system with apt-get, installs missing ones. Returns the variables for the tests.
pub fn find_or_install() -> Result<Vec<(&'static str, PathBuf)>, Failure> {
    let missing: Vec<_> = PROGRAMS.iter().filter(|(program, ..)| find(program).is_none()).collect();
    if !missing.is_empty() {
        let packages: Vec<_> = missing.iter().map(|(_, package, _)| *package).collect();
        let advice = format!("the tests need these programs: install {}", packages.join(", "));
        if !can_install()? {
            return Err(advice);
        }
        println!("installing the packages {}", packages.join(", "));
        install(&packages).map_err(|failure| format!("{failure}; {advice}"))?;
    }
    let found = PROGRAMS.iter().map(|(program, package, variable)| {
        let file = find(program).ok_or_else(|| format!("no `{program}` though {package} is installed"))?;
        Ok((*variable, file))
    });
    found.collect()
}

/// Searches PATH and the folders of administrative programs, which are not on every user's PATH.
fn find(program: &str) -> Option<PathBuf> {
    on_path(program).or_else(|| Some(PathBuf::from("/usr/sbin").join(program)).filter(|file| file.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_found_and_named_by_a_variable() {
        let found = find_or_install().unwrap();
        assert_eq!(found.len(), PROGRAMS.len());
        for ((program, _, _), (variable, file)) in PROGRAMS.iter().zip(found) {
            assert!(file.ends_with(program) && file.is_file(), "{variable}={}", file.display());
        }
    }
}
