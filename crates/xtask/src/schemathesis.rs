//! Tests a server against its own OpenAPI document with Schemathesis, on both stores, for each kind of caller.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::Failure;
use crate::postgres::{PostgresPrograms, PostgresServer};
use crate::process::{check_interrupted, read, root, run as run_command};
use crate::random::random_hex;
use crate::server::Server;
use crate::test::build_server;

/// The folder with the settings, the custom formats, and the pinned versions.
const CONFIGURATION: &str = ".ci/schemathesis";

/// The callers. The demo data has an account for each caller but the anonymous one.
const CALLERS: [Option<&str>; 3] = [Some("customer"), Some("admin"), None];

/// Runs all phases on the embedded store and on PostgreSQL, for each caller. Builds the server if none is given.
pub fn run(server: Option<&Path>) -> Result<(), Failure> {
    let server = server.map_or_else(|| build_server(&[]), |server| Ok(server.to_owned()))?;
    let tool = install()?;
    let folder = tempfile::tempdir().map_err(|error| format!("cannot create a temporary folder: {error}"))?;
    let data = folder.path().join("data").display().to_string();
    test_on(&tool, &server, "the embedded store", ("DATA_DIR", &data))?;

    let programs = PostgresPrograms::find_or_install()?;
    let postgres = PostgresServer::start(&programs)?;
    let url = postgres.create_database(&programs, "schemathesis")?;
    test_on(&tool, &server, "PostgreSQL", ("DATABASE_URL", &url))
}

/// Installs the pinned version into the target folder if it is missing. Returns the path of the program.
fn install() -> Result<PathBuf, Failure> {
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    let environment = target.join("schemathesis");
    let program = environment.join("bin/schemathesis");
    let requirements = root().join(CONFIGURATION).join("requirements.txt");
    let wanted = fs::read_to_string(&requirements).map_err(|error| format!("{}: {error}", requirements.display()))?;
    let installed = environment.join("installed.txt");
    if fs::read_to_string(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(program);
    }
    run_command(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))
        .map_err(|error| format!("{error}: install Python 3 with its module `venv` (Debian: python3-venv)"))?;
    let mut pip = Command::new(environment.join("bin/pip"));
    run_command(pip.args(["install", "--quiet", "--disable-pip-version-check", "--requirement"]).arg(&requirements))?;
    fs::write(&installed, wanted).map_err(|error| format!("{}: {error}", installed.display()))?;
    Ok(program)
}

fn test_on(tool: &Path, server: &Path, name: &str, (setting, value): (&str, &str)) -> Result<(), Failure> {
    let secret = random_hex();
    let command = || {
        let mut command = Command::new(server);
        command.env_clear().current_dir("/").env("JWT_SECRET", &secret).env(setting, value);
        command
    };
    read(command().arg("migrate"))?;
    let accounts = read(command().args(["seed", "--demo"]))?;
    let mut serve = command();
    serve.envs([("PORT", "0"), ("RATE_LIMIT", "off"), ("RUST_LOG", "warn")]);
    let server = Server::start(serve.stdout(Stdio::piped()))?;
    for caller in CALLERS {
        check_interrupted()?;
        println!("on {name}, as {}:", caller.unwrap_or("an anonymous caller"));
        let mut schemathesis = Command::new(tool);
        schemathesis
            .current_dir(root().join(CONFIGURATION))
            // Prevents bytecode folders in the checkout.
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .args(["--config-file", "schemathesis.toml", "run", "--no-color"])
            .arg(format!("http://{}/api/openapi.json", server.address));
        if let Some(caller) = caller {
            let (email, password) = account(&accounts, caller)?;
            schemathesis.env("CALLER_EMAIL", email).env("CALLER_PASSWORD", password);
        }
        run_command(&mut schemathesis)?;
    }
    Ok(())
}

/// Finds a demo account in the output of `seed --demo`: `Demo customer: customer@demo.example  <password>`.
fn account<'text>(printed: &'text str, caller: &str) -> Result<(&'text str, &'text str), Failure> {
    let line = printed.lines().find_map(|line| line.strip_prefix("Demo ")?.strip_prefix(caller)?.strip_prefix(':'));
    let mut words = line.unwrap_or_default().split_whitespace();
    words.next().zip(words.next()).ok_or_else(|| format!("`seed --demo` printed no account of a demo {caller}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_accounts_are_found() {
        let printed =
            "Added 14 movies.\nDemo customer: customer@demo.example  secret\nDemo admin:    admin@demo.example  other";
        assert_eq!(account(printed, "admin"), Ok(("admin@demo.example", "other")));
        assert!(account(printed, "staff").is_err());
    }
}
