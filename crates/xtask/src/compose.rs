//! docker/compose.yaml, as users start it: refused without secrets, healthy, and nothing lost by a restart.

use std::io::{self, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::Failure;
use crate::engine::ask;
use crate::http::{Response, get, post};
use crate::images::TestImages;
use crate::process::{read, read_within, root, run_by_line, until};
use crate::random::random_hex;
use crate::server_image::{last_lines, wait_until_healthy};
use crate::system::{can_install, free_port, install};
use crate::tally::Tally;
use crate::test::test_command;

const FILE: &str = "docker/compose.yaml";
/// How long Compose may take for anything.
const PATIENCE: Duration = Duration::from_secs(180);
/// The test that runs the README's tour; with `TOUR_BASE`, against the server there.
const TOUR: &str = "process::tour::readme_tour_works_embedded";

/// Starts all of the file with these images, tries it out, and removes it.
pub fn run(server_image: &str, images: &TestImages) -> Result<(), Failure> {
    let compose = Compose::new(server_image, images)?;
    compose.check_that_secrets_are_needed()?;
    let outcome = compose.try_out();
    if outcome.is_err() {
        compose.ids().unwrap_or_default().iter().for_each(|id| println!("{id}: {}", last_lines(id)));
    }
    outcome
}

/// A project of Compose. All of it is removed when this is dropped.
struct Compose {
    program: &'static [&'static str],
    project: String,
    port: u16,
    variables: Vec<(&'static str, String)>,
}

/// A booking that must not get lost.
struct Booked {
    token: String,
    key: String,
    request: Value,
    reference: String,
}

impl Compose {
    fn new(server_image: &str, images: &TestImages) -> Result<Self, Failure> {
        let port = free_port().map_err(|error| format!("cannot find a free port: {error}"))?;
        let variables = vec![
            ("MOVIE_BOOKING_IMAGE", server_image.to_owned()),
            ("POSTGRES_IMAGE", images.postgres.clone()),
            ("REDIS_IMAGE", images.redis.clone()),
            ("PORT", port.to_string()),
            ("JWT_SECRET", random_hex()),
            ("DB_PASSWORD", random_hex()),
            ("REDIS_PASSWORD", random_hex()),
        ];
        let project = format!("movie-booking-ci-{}", std::process::id());
        Ok(Self { program: find_or_install()?, project, port, variables })
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("");
        if let [program, first @ ..] = self.program {
            command = Command::new(program);
            command.args(first);
        }
        command.args(["--file", FILE, "--project-name", &self.project]).args(arguments);
        command.envs(self.variables.iter().cloned()).current_dir(root());
        command
    }

    fn run(&self, arguments: &[&str]) -> Result<String, Failure> {
        read_within(&mut self.command(arguments), PATIENCE)
    }

    fn ids(&self) -> Result<Vec<String>, Failure> {
        Ok(self.run(&["ps", "--quiet"])?.lines().map(str::to_owned).collect())
    }

    /// Without a secret nothing starts, and it is said how to make one.
    fn check_that_secrets_are_needed(&self) -> Result<(), Failure> {
        for secret in ["JWT_SECRET", "DB_PASSWORD", "REDIS_PASSWORD"] {
            match read_within(self.command(&["config"]).env(secret, ""), PATIENCE) {
                Err(told) if told.contains(&format!(": {secret} is missing. docker/.env.example")) => {}
                Err(told) => return Err(format!("{FILE} without {secret} does not say how to make it: {told}")),
                Ok(_) => return Err(format!("{FILE} is fine without {secret}")),
            }
        }
        Ok(())
    }

    fn try_out(&self) -> Result<(), Failure> {
        self.up()?;
        self.check_that_only_the_server_is_published()?;
        let seeded = self.run(&["exec", "-T", "server", "movie-booking", "seed", "--demo"])?;
        println!("{}", seeded.lines().next().unwrap_or_default());
        self.take_the_tour()?;
        let booked = self.book()?;
        self.run(&["restart", "postgres", "server"])?;
        self.check_that_it_is_kept(&booked, "a restart of PostgreSQL and the server")?;
        self.run(&["down"])?;
        self.up()?;
        self.check_that_it_is_kept(&booked, "`down` and `up`")
    }

    fn up(&self) -> Result<(), Failure> {
        self.run(&["up", "--detach", "--no-build"])?;
        let ids = self.ids()?;
        if ids.len() != 3 {
            return Err(format!("three containers are expected, not {}", ids.len()));
        }
        wait_until_healthy(&ids.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn check_that_only_the_server_is_published(&self) -> Result<(), Failure> {
        let ids = self.ids()?;
        let published = ids.iter().map(|id| ask(&["port", id])).collect::<Result<Vec<_>, _>>()?;
        let published: Vec<_> = published.into_iter().filter(|ports| !ports.is_empty()).collect();
        let expected = format!("3000/tcp -> {}", self.address());
        if published == [expected.as_str()] {
            Ok(())
        } else {
            Err(format!("{expected} is expected, not {published:?}"))
        }
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Runs the test that runs the README's tour, against this server.
    fn take_the_tour(&self) -> Result<(), Failure> {
        // The same targets as for all tests, so that nothing is built again: cargo picks features by them.
        let mut test = test_command(&["--", "--exact", TOUR].map(str::to_owned));
        test.env("TOUR_BASE", format!("http://{}", self.address()));
        let mut tally = Tally::default();
        let succeeded = run_by_line(&mut test, |line| {
            let _ = writeln!(io::stdout(), "{line}");
            tally.add_line(line);
        })?;
        match (succeeded, tally.passed) {
            (true, 1) => Ok(()),
            (true, _) => Err(format!("there is no test {TOUR}")),
            (false, _) => Err("the README's tour does not work".to_owned()),
        }
    }

    fn book(&self) -> Result<Booked, Failure> {
        let (address, key) = (self.address(), random_hex());
        let account = json!({ "name": "Ana", "email": format!("{key}@example.org"), "password": random_hex() });
        let registered = post(&address, "/api/auth/register", &[], &account)?.expect(201)?.json()?;
        let token = registered.get("token").and_then(Value::as_str).ok_or("registering gives no token")?.to_owned();
        let list = |path: &str| get(&address, path, &[])?.expect(200)?.json();
        let first = |list: &Value| list.get(0).and_then(|item| item.get("id")?.as_i64()).ok_or("a list is empty");
        let movie = first(&list("/api/movies?limit=1")?)?;
        let show = first(&list(&format!("/api/movies/{movie}/shows?limit=1"))?)?;
        let seats = list(&format!("/api/shows/{show}/seats"))?;
        let is_free = |seat: &&Value| seat.get("status").and_then(Value::as_str) == Some("available");
        let seat = seats.as_array().and_then(|seats| seats.iter().find(is_free)?.get("id")?.as_i64());
        let request = json!({ "show_id": show, "seat_id": seat.ok_or("no seat is free")? });
        let mut booked = Booked { token, key, request, reference: String::new() };
        let answer = self.send(&booked)?.expect(201)?.json()?;
        let reference = answer.get("booking").and_then(|booking| booking.get("reference")?.as_str());
        booked.reference = reference.ok_or("a booking has no reference")?.to_owned();
        Ok(booked)
    }

    fn send(&self, booked: &Booked) -> Result<Response, Failure> {
        let token = format!("Bearer {}", booked.token);
        let headers = [("Authorization", token.as_str()), ("Idempotency-Key", &booked.key)];
        post(&self.address(), "/api/bookings", &headers, &booked.request)
    }

    /// The booking is in its owner's history, and its key still gives the first answer.
    fn check_that_it_is_kept(&self, booked: &Booked, after: &str) -> Result<(), Failure> {
        let token = format!("Bearer {}", booked.token);
        let headers = [("Authorization", token.as_str())];
        let history = until(PATIENCE, || get(&self.address(), "/api/bookings", &headers)?.expect(200))?;
        if history.body.matches(&booked.reference).count() != 1 {
            return Err(format!("after {after} the booking {} is not there: {}", booked.reference, history.body));
        }
        let replay = self.send(booked)?.expect(201)?;
        if replay.header("Idempotent-Replayed") != "true" || !replay.body.contains(&booked.reference) {
            return Err(format!("after {after} the booking's key books again: {}", replay.body));
        }
        println!("the booking {} is there after {after}", booked.reference);
        Ok(())
    }
}

impl Drop for Compose {
    fn drop(&mut self) {
        // Also when somebody has interrupted.
        let mut down = self.command(&["down", "--volumes", "--remove-orphans"]);
        if let Err(failure) = read(down.stderr(Stdio::null())) {
            eprintln!("warning: containers of the project {} may be left: {failure}", self.project);
        }
    }
}

/// The plugin, or the program of its own that came before it; as root on a system with apt-get that one is installed.
fn find_or_install() -> Result<&'static [&'static str], Failure> {
    const PLUGIN: &[&str] = &["docker", "compose"];
    const PROGRAM: &[&str] = &["docker-compose"];
    if ask(&["compose", "version"]).is_ok() {
        return Ok(PLUGIN);
    }
    let is_there = || read(Command::new("docker-compose").arg("--version")).is_ok();
    if is_there() {
        return Ok(PROGRAM);
    }
    if !can_install()? {
        return Err("there is no `docker compose`: install Docker Compose".to_owned());
    }
    println!("there is no `docker compose`: installing the package `docker-compose`");
    install(&["docker-compose"])?;
    if is_there() { Ok(PROGRAM) } else { Err("no `docker-compose` though it was just installed".to_owned()) }
}
