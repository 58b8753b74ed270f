//! PostgreSQL and Redis in containers, for the duration of the tests.

use std::collections::HashMap;

use testcontainers::bollard::models::PortBinding;
use testcontainers::core::{ContainerPort, ExecCommand, IntoContainerPort as _};
use testcontainers::runners::SyncRunner as _;
use testcontainers::{Container, ContainerRequest, GenericImage, ImageExt as _};
use tokio_postgres::NoTls;

use crate::Failure;
use crate::engine::{PATIENCE, clean_up};
use crate::images::TestImages;
use crate::postgres::{CONNECTIONS_MAX, SUPERUSER};
use crate::process::until;
use crate::random::random_hex;
use crate::redis::{field, info};
use crate::server_image::last_lines;

/// The label of all containers that a test run starts.
const LABEL: &str = "movie-booking.tests";

/// Both servers. Dropping this removes the containers and their data.
pub struct Containers {
    pub postgres_url: String,
    pub postgres_version: String,
    pub redis_url: String,
    pub redis_version: String,
    /// The label of this run's containers.
    pub label: String,
    // Dropped in this order: the second field removes containers that the first one missed.
    _servers: [Container<GenericImage>; 2],
    _leftovers: Leftovers,
}

impl Containers {
    /// Starts both servers and waits until they respond.
    pub fn start(images: &TestImages) -> Result<Self, Failure> {
        let run = random_hex();
        let leftovers = Leftovers { label: format!("{LABEL}={run}") };
        let postgres = start(postgres(images, &run), &run)?;
        let redis = start(redis(images), &run)?;
        let (postgres_url, postgres_version) =
            postgres_answers(&postgres, &run).map_err(with_log("PostgreSQL", &postgres))?;
        let (redis_url, redis_version) = redis_answers(&redis).map_err(with_log("Redis", &redis))?;
        Ok(Self {
            postgres_url,
            postgres_version,
            redis_url,
            redis_version,
            label: leftovers.label.clone(),
            _servers: [postgres, redis],
            _leftovers: leftovers,
        })
    }
}

/// Removes the remaining containers with the label: those of a failed start, or of killed tests.
struct Leftovers {
    label: String,
}

impl Drop for Leftovers {
    fn drop(&mut self) {
        let found = clean_up(&["ps", "--all", "--quiet", "--filter", &format!("label={}", self.label)]);
        let removed = found.and_then(|found| match found.split_whitespace().collect::<Vec<_>>() {
            none if none.is_empty() => Ok(String::new()),
            ids => clean_up(&[&["rm", "--force", "--volumes"], ids.as_slice()].concat()),
        });
        if let Err(failure) = removed {
            eprintln!("warning: containers with the label {} may be left: {failure}", self.label);
        }
    }
}

const POSTGRES_PORT: u16 = 5432;
const REDIS_PORT: u16 = 6379;

fn postgres(images: &TestImages, run: &str) -> ContainerRequest<GenericImage> {
    let mut command = vec!["postgres".to_owned()];
    for setting in [
        format!("max_connections={CONNECTIONS_MAX}"),
        // Identifies the server that responds.
        format!("cluster_name={run}"),
        // The data need not survive a crash of the machine.
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
    ] {
        command.extend(["-c".to_owned(), setting]);
    }
    image(&images.postgres, POSTGRES_PORT.tcp())
        .with_env_var("POSTGRES_USER", SUPERUSER)
        .with_env_var("POSTGRES_DB", "postgres")
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_env_var("POSTGRES_INITDB_ARGS", "--encoding=UTF8 --locale=C --no-sync")
        .with_cmd(command)
}

fn redis(images: &TestImages) -> ContainerRequest<GenericImage> {
    image(&images.redis, REDIS_PORT.tcp()).with_cmd(["redis-server", "--save", "", "--appendonly", "no"])
}

/// Returns a request for a container whose port is published on loopback only, on a port that the system chooses.
fn image(name: &str, port: ContainerPort) -> ContainerRequest<GenericImage> {
    let (name, tag) = name_and_tag(name);
    GenericImage::new(name, tag).with_exposed_port(port).with_host_config_modifier(move |host| {
        let loopback = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
        host.publish_all_ports = Some(false);
        host.port_bindings = Some(HashMap::from([(port.to_string(), Some(vec![loopback]))]));
    })
}

/// Splits `postgres:17` into `postgres` and `17`. The port of a registry is not a tag. A digest counts as a tag.
fn name_and_tag(image: &str) -> (&str, &str) {
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (image, "latest"),
    }
}

fn start(request: ContainerRequest<GenericImage>, run: &str) -> Result<Container<GenericImage>, Failure> {
    let request = request.with_label(LABEL, run).with_startup_timeout(PATIENCE);
    request.start().map_err(|error| format!("a container does not start: {error}"))
}

/// Waits until PostgreSQL responds, and checks that it is the started server. Returns its URL and version.
fn postgres_answers(container: &Container<GenericImage>, run: &str) -> Result<(String, String), Failure> {
    let url = format!("postgres://{SUPERUSER}@127.0.0.1:{}/postgres", port(container, POSTGRES_PORT)?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start a runtime: {error}"))?;
    // The temporary server that initialises a new cluster does not listen on TCP. A server that responds here is the final one.
    let (name, version) = until(PATIENCE, || {
        is_running(container)?;
        let question = "SELECT current_setting('cluster_name'), current_setting('server_version')";
        let asked = runtime.block_on(async { tokio::time::timeout(PATIENCE, ask_postgres(&url, question)).await });
        asked.map_err(|_| "no answer".to_owned())?.map_err(|error| error.to_string())
    })?;
    if name != run {
        return Err(format!("another PostgreSQL than the one just started answers at {url}: try again"));
    }
    Ok((url, version))
}

async fn ask_postgres(url: &str, question: &str) -> Result<(String, String), tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_one(question, &[]).await;
    connection.abort();
    let row = row?;
    Ok((row.try_get(0)?, row.try_get(1)?))
}

/// Waits until Redis responds, and checks that it is the started server. Returns its URL and version.
fn redis_answers(container: &Container<GenericImage>) -> Result<(String, String), Failure> {
    let port = port(container, REDIS_PORT)?;
    let outside = until(PATIENCE, || {
        is_running(container)?;
        info(port)
    })?;
    let asked = container.exec(ExecCommand::new(["redis-cli", "info", "server"]));
    let inside =
        asked.and_then(|mut asked| asked.stdout_to_vec()).map_err(|error| format!("cannot ask Redis: {error}"))?;
    if field(&outside, "run_id")? != field(&String::from_utf8_lossy(&inside), "run_id")? {
        return Err(format!("another Redis than the one just started answers on port {port}: try again"));
    }
    Ok((format!("redis://127.0.0.1:{port}"), field(&outside, "redis_version")?.to_owned()))
}

fn port(container: &Container<GenericImage>, port: u16) -> Result<u16, Failure> {
    container.get_host_port_ipv4(port.tcp()).map_err(|error| format!("a container's port is not published: {error}"))
}

fn is_running(container: &Container<GenericImage>) -> Result<(), Failure> {
    match container.is_running() {
        Ok(true) => Ok(()),
        Ok(false) => Err("the container has ended".to_owned()),
        Err(error) => Err(format!("cannot follow the container: {error}")),
    }
}

/// Appends the last log lines of the container to a failure.
fn with_log(what: &str, container: &Container<GenericImage>) -> impl FnOnce(Failure) -> Failure {
    let log = last_lines(container.id());
    move |failure| format!("{what} does not answer from its container, {failure}; {log}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_name_and_a_tag() {
        for (image, name, tag) in [
            ("postgres:17-bookworm", "postgres", "17-bookworm"),
            ("movie-booking-test-redis", "movie-booking-test-redis", "latest"),
            ("registry.example:5000/team/redis", "registry.example:5000/team/redis", "latest"),
            ("registry.example:5000/team/redis:7", "registry.example:5000/team/redis", "7"),
            ("redis@sha256:0123", "redis@sha256", "0123"),
        ] {
            assert_eq!(name_and_tag(image), (name, tag));
        }
    }
}
