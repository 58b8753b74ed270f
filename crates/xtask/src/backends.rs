//! PostgreSQL and Redis for the tests: in containers if an engine is available, otherwise as installed programs.

use std::env;
use std::path::PathBuf;

use crate::Failure;
use crate::containers::Containers;
use crate::engine::Engine;
use crate::images::TestImages;
use crate::postgres::{PostgresPrograms, PostgresServer};
use crate::process::check_interrupted;
use crate::redis::{self, RedisServer};

/// The variable that selects the backends.
const TEST_BACKENDS: &str = "TEST_BACKENDS";

/// The requested backends.
#[derive(Clone, Debug)]
pub enum Wanted {
    /// Containers if available, otherwise programs.
    Any,
    /// Containers only.
    Containers,
    /// Containers of these images, which exist locally.
    ContainersOf(TestImages),
    /// Installed programs only.
    Binaries,
}

impl Wanted {
    /// Parses `TEST_BACKENDS`.
    pub fn from_environment() -> Result<Self, Failure> {
        Self::parse(&env::var(TEST_BACKENDS).unwrap_or_default())
    }

    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "" => Ok(Self::Any),
            "containers" => Ok(Self::Containers),
            "binaries" => Ok(Self::Binaries),
            other => {
                Err(format!("{TEST_BACKENDS} is {other:?}: it must be `containers` or `binaries`, or not be there"))
            }
        }
    }
}

/// Running servers. Dropping this stops them and removes their data.
pub enum Backends {
    Containers(Box<Containers>, TestImages),
    Binaries { postgres: PostgresServer, redis: RedisServer, redis_program: PathBuf },
}

impl Backends {
    /// Starts the servers. Prints a line if the choice is unexpected.
    pub fn start(wanted: &Wanted) -> Result<Self, Failure> {
        match wanted {
            Wanted::Any => Self::containers().or_else(|reason| {
                check_interrupted()?;
                println!("no containers, so installed programs are used: {reason}");
                Self::binaries()
            }),
            Wanted::Containers => Self::containers(),
            Wanted::ContainersOf(images) => Self::containers_of(images),
            Wanted::Binaries => Self::binaries(),
        }
    }

    fn containers() -> Result<Self, Failure> {
        Engine::find()?;
        Self::containers_of(&TestImages::pulled()?)
    }

    fn containers_of(images: &TestImages) -> Result<Self, Failure> {
        Ok(Self::Containers(Box::new(Containers::start(images)?), images.clone()))
    }

    fn binaries() -> Result<Self, Failure> {
        let (programs, redis_program) = (PostgresPrograms::find_or_install()?, redis::find_or_install()?);
        let postgres = PostgresServer::start(&programs)?;
        let redis = RedisServer::start(&redis_program)?;
        Ok(Self::Binaries { postgres, redis, redis_program })
    }

    /// Returns the environment variables by which tests find the servers.
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::Containers(containers, images) => vec![
                (TEST_BACKENDS, "containers".to_owned()),
                ("TEST_DATABASE_URL", containers.postgres_url.clone()),
                ("TEST_REDIS_URL", containers.redis_url.clone()),
                // For tests that start their own servers.
                ("TEST_REDIS_IMAGE", images.redis.clone()),
                ("TEST_CONTAINER_LABEL", containers.label.clone()),
                ("POSTGRES_IMAGE", images.postgres.clone()),
                ("REDIS_IMAGE", images.redis.clone()),
            ],
            Self::Binaries { postgres, redis, redis_program } => vec![
                (TEST_BACKENDS, "binaries".to_owned()),
                ("TEST_DATABASE_URL", postgres.url()),
                ("TEST_REDIS_URL", redis.url()),
                ("TEST_REDIS_SERVER", redis_program.display().to_string()),
            ],
        }
    }

    /// Returns a description of each server, one per line.
    pub fn describe(&self) -> Vec<String> {
        match self {
            Self::Containers(containers, images) => vec![
                format!("PostgreSQL {}, in a container of {}", containers.postgres_version, images.postgres),
                format!("Redis {}, in a container of {}", containers.redis_version, images.redis),
            ],
            Self::Binaries { postgres, redis, redis_program } => vec![
                format!("PostgreSQL {}, as it is installed", postgres.version()),
                format!("Redis {}, as it is installed: {}", redis.version(), redis_program.display()),
            ],
        }
    }
}

/// Returns the programs that a test needs. If they are missing, returns `None` if the tests run in containers, and panics otherwise.
#[cfg(test)]
pub fn needed<T>(found: Result<T, Failure>) -> Option<T> {
    match (found, env::var(TEST_BACKENDS).as_deref()) {
        (Ok(programs), _) => Some(programs),
        (Err(reason), Ok("containers")) => {
            println!("not tried, because the tests run in containers here: {reason}");
            None
        }
        (Err(reason), _) => panic!("{reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::ask;
    use crate::redis::{field, info};

    #[test]
    fn backends_are_wanted_by_name() {
        assert!(matches!(Wanted::parse(""), Ok(Wanted::Any)));
        assert!(matches!(Wanted::parse("containers"), Ok(Wanted::Containers)));
        assert!(matches!(Wanted::parse("binaries"), Ok(Wanted::Binaries)));
        assert!(Wanted::parse("container").unwrap_err().contains("TEST_BACKENDS"));
    }

    /// Uses the backends of this test run, so each kind can be tested.
    #[test]
    fn servers_start_answer_and_leave_nothing_behind() {
        let backends = Backends::start(&Wanted::from_environment().unwrap()).unwrap();
        let variables = backends.variables();
        let value = |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| value.clone());
        assert!(value("TEST_DATABASE_URL").unwrap().starts_with("postgres://booking@127.0.0.1:"));
        let redis = value("TEST_REDIS_URL").unwrap();
        let port = redis.strip_prefix("redis://127.0.0.1:").unwrap().parse().unwrap();
        assert!(field(&info(port).unwrap(), "redis_version").is_ok());
        let described = backends.describe();
        assert!(described[0].starts_with("PostgreSQL 1") && described[1].starts_with("Redis "), "{described:?}");
        let containers = || {
            let label = value("TEST_CONTAINER_LABEL")?;
            Some(ask(&["ps", "--all", "--quiet", "--filter", &format!("label={label}")]).unwrap().lines().count())
        };
        match value(TEST_BACKENDS).unwrap().as_str() {
            "containers" => assert_eq!(containers(), Some(2)),
            "binaries" => assert!(value("TEST_REDIS_SERVER").unwrap().ends_with("redis-server")),
            other => panic!("{other}"),
        }
        drop(backends);
        assert!(info(port).is_err());
        assert!(matches!(containers(), None | Some(0)));
    }
}
