//! Runs other programs and leaves none behind after an interrupt.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;

/// The folder of the scripts that install packages and make images.
const SCRIPTS: &str = ".ci";
/// Whether an interrupt was received.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process group that currently runs.
static RUNNING: Mutex<Option<u32>> = Mutex::new(None);

/// Installs handlers for SIGINT and SIGTERM. A signal terminates the running program, not this process. This process then cleans up and
/// fails.
pub fn watch_interrupts() -> Result<(), Failure> {
    let explain = |error: io::Error| format!("cannot listen for interrupts: {error}");
    let runtime = runtime::Builder::new_current_thread().enable_all().build().map_err(explain)?;
    let entered = runtime.enter();
    let mut interrupt = signal(SignalKind::interrupt()).map_err(explain)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(explain)?;
    drop(entered);
    thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                let running = lock_running();
                INTERRUPTED.store(true, Ordering::SeqCst);
                if let Some(group) = *running {
                    send("TERM", &format!("-{group}"));
                }
            }
        });
    });
    Ok(())
}

/// Fails after an interrupt.
pub fn check_interrupted() -> Result<(), Failure> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err("interrupted".to_owned()) } else { Ok(()) }
}

fn lock_running() -> MutexGuard<'static, Option<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to a process, or to a group if the number is negative. Best effort: the process may already have ended.
pub fn send(signal: &str, process: &str) {
    let kill = Command::new("kill").args(["-s", signal, "--", process]).stderr(Stdio::null()).status();
    if let Err(error) = kill {
        eprintln!("warning: cannot send SIG{signal} to {process}: {error}");
    }
}

/// Returns the root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// Returns a command for a script of `.ci`. The scripts install packages and make images.
pub fn script(name: &str) -> Command {
    Command::new(root().join(SCRIPTS).join(name))
}

/// Returns a command for the cargo that started this process, at the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    cargo
}

/// Runs a program to its end with inherited output. Fails if the program fails.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    finish(command, Stdio::inherit(), |_| {}).and_then(|success| fail_unless(success, command))
}

/// Runs a program to its end and passes each line of its output to `on_line`. Returns whether the program succeeded.
pub fn run_by_line(command: &mut Command, on_line: impl FnMut(&str)) -> Result<bool, Failure> {
    finish(command, Stdio::piped(), on_line)
}

/// Runs a program to its end and returns its output. Fails if the program fails.
pub fn read(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_run(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` failed: {}", shown(command), complaint.trim()))
}

/// Runs a program for at most `patience` and returns its output, which must be a few lines. Fails if the program fails. Terminates the
/// program after the timeout or an interrupt, and fails.
pub fn read_within(command: &mut Command, patience: Duration) -> Result<String, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
    let mut child = command.spawn().map_err(|error| cannot_run(command, &error))?;
    let deadline = Instant::now() + patience;
    while matches!(child.try_wait(), Ok(None)) {
        let outcome = check_interrupted();
        if outcome.is_err() || Instant::now() > deadline {
            send("TERM", &format!("-{}", child.id()));
            let _ = child.wait();
            outcome?;
            return Err(format!("`{}` was not done after {} s", shown(command), patience.as_secs()));
        }
        thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().map_err(|error| cannot_run(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    Err(format!("`{}` failed: {}", shown(command), String::from_utf8_lossy(&output.stderr).trim()))
}

/// Repeats `ask` until it succeeds, the timeout passes, or an interrupt arrives. After the timeout, returns the last failure.
pub fn until<T>(patience: Duration, mut ask: impl FnMut() -> Result<T, Failure>) -> Result<T, Failure> {
    let deadline = Instant::now() + patience;
    loop {
        check_interrupted()?;
        match ask() {
            Ok(answer) => return Ok(answer),
            Err(failure) if Instant::now() > deadline => {
                return Err(format!("not after {} s: {failure}", patience.as_secs()));
            }
            Err(_) => thread::sleep(Duration::from_millis(50)),
        }
    }
}

/// Returns the metadata of the workspace.
pub fn metadata(arguments: &[&str]) -> Result<Value, Failure> {
    let text = read(cargo(&["metadata", "--format-version", "1"]).args(arguments))?;
    serde_json::from_str(&text).map_err(|error| format!("`cargo metadata` wrote what is no JSON: {error}"))
}

/// Returns the members of an array in JSON. Empty if the key is missing.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Returns a text in JSON. Empty if the key is missing.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn finish(command: &mut Command, stdout: Stdio, on_line: impl FnMut(&str)) -> Result<bool, Failure> {
    // A separate process group: an interrupt then terminates the program and its children.
    command.stdin(Stdio::null()).stdout(stdout).process_group(0);
    let mut child = {
        let mut running = lock_running();
        check_interrupted()?;
        let child = command.spawn().map_err(|error| cannot_run(command, &error))?;
        *running = Some(child.id());
        child
    };
    let read = read_lines(&mut child, on_line);
    let ended = child.wait();
    *lock_running() = None;
    check_interrupted()?;
    let cannot_follow = |error: io::Error| format!("cannot follow `{}`: {error}", shown(command));
    read.map_err(cannot_follow)?;
    Ok(ended.map_err(cannot_follow)?.success())
}

fn read_lines(child: &mut Child, mut on_line: impl FnMut(&str)) -> io::Result<()> {
    let Some(stdout) = child.stdout.take() else { return Ok(()) };
    let mut stdout = BufReader::new(stdout);
    let mut line = Vec::new();
    while stdout.read_until(b'\n', &mut line)? > 0 {
        on_line(String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']));
        line.clear();
    }
    Ok(())
}

fn fail_unless(success: bool, command: &Command) -> Result<(), Failure> {
    if success { Ok(()) } else { Err(format!("`{}` failed", shown(command))) }
}

fn cannot_run(command: &Command, error: &io::Error) -> Failure {
    format!("cannot run `{}`: {error}", shown(command))
}

/// Returns the command as typed in a shell. Only a script keeps its folder: `install` alone would be another program.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let root = root();
    let script = program.strip_prefix(&root).ok().filter(|path| path.starts_with(SCRIPTS)).map(Path::as_os_str);
    let name = script.or(program.file_name()).unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_read_and_ended_when_its_time_is_over() {
        let sh = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        assert_eq!(read_within(&mut sh("echo yes"), Duration::from_secs(30)).unwrap(), "yes");
        assert!(
            read_within(&mut sh("echo no >&2; exit 3"), Duration::from_secs(30)).unwrap_err().ends_with("failed: no")
        );
        let late = read_within(&mut sh("sleep 600"), Duration::from_millis(50)).unwrap_err();
        assert!(late.contains("was not done"), "{late}");
    }

    #[test]
    fn failure_of_a_script_names_its_folder() {
        assert_eq!(shown(script("install").arg("jq")), ".ci/install jq");
        assert_eq!(shown(Command::new("/usr/bin/install").arg("jq")), "install jq");
    }

    #[test]
    fn scripts_without_arguments_print_their_usage() {
        for name in ["install", "base-image", "test-image", "server-image"] {
            let failure = read(&mut script(name)).unwrap_err();
            assert!(failure.contains(&format!("usage: .ci/{name} ")), "{failure}");
        }
    }

    #[test]
    fn what_takes_a_while_is_asked_for_again() {
        let mut asked = 0;
        let ask = || {
            asked += 1;
            if asked == 3 { Ok(asked) } else { Err("not yet".to_owned()) }
        };
        assert_eq!(until(Duration::from_secs(30), ask), Ok(3));
        let failure = until(Duration::ZERO, || Err::<(), _>("never".to_owned())).unwrap_err();
        assert!(failure.ends_with("never"), "{failure}");
    }
}
