//! Running other programs, so that none is left behind when this one is interrupted.

use std::env;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use serde_json::Value;
use tokio::runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::Failure;

/// Whether somebody asked us to stop.
static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process group that runs now.
static RUNNING: Mutex<Option<u32>> = Mutex::new(None);

/// From now on an interrupt ends the program that runs, and not this one: that one then cleans up and
/// fails by itself.
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

/// Fails if somebody asked us to stop.
pub fn check_interrupted() -> Result<(), Failure> {
    if INTERRUPTED.load(Ordering::SeqCst) { Err("interrupted".to_owned()) } else { Ok(()) }
}

fn lock_running() -> MutexGuard<'static, Option<u32>> {
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sends a signal to a process, or to a group where its number is negative. Best effort: it may be gone already.
pub fn send(signal: &str, process: &str) {
    let kill = Command::new("kill").args(["-s", signal, "--", process]).stderr(Stdio::null()).status();
    if let Err(error) = kill {
        eprintln!("warning: cannot send SIG{signal} to {process}: {error}");
    }
}

/// The root of the workspace.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

/// The cargo that runs us, at the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).current_dir(root());
    cargo
}

/// Runs a program to its end; it writes where we write. Fails if it fails.
pub fn run(command: &mut Command) -> Result<(), Failure> {
    finish(command, Stdio::inherit(), |_| {}).and_then(|success| fail_unless(success, command))
}

/// Runs a program to its end and gives each line it writes to `on_line`, as it comes. Whether it succeeded.
pub fn run_by_line(command: &mut Command, on_line: impl FnMut(&str)) -> Result<bool, Failure> {
    finish(command, Stdio::piped(), on_line)
}

/// Runs a program to its end; what it wrote. Fails if it fails.
pub fn read(command: &mut Command) -> Result<String, Failure> {
    let output = command.stdin(Stdio::null()).output().map_err(|error| cannot_run(command, &error))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    Err(format!("`{}` failed: {}", shown(command), complaint.trim()))
}

/// What cargo knows of the workspace.
pub fn metadata(arguments: &[&str]) -> Result<Value, Failure> {
    let text = read(cargo(&["metadata", "--format-version", "1"]).args(arguments))?;
    serde_json::from_str(&text).map_err(|error| format!("`cargo metadata` wrote what is no JSON: {error}"))
}

/// The members of an array in JSON; none if it is not there.
pub fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// A text in JSON; empty if it is not there.
pub fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn finish(command: &mut Command, stdout: Stdio, on_line: impl FnMut(&str)) -> Result<bool, Failure> {
    // A group of its own, so that an interrupt ends all that it started.
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

/// The command as somebody would type it.
fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program());
    let name = program.file_name().unwrap_or(program.as_os_str());
    let words = std::iter::once(name).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
