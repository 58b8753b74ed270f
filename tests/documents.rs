//! The documents: reference pages are those generated from the code, links have targets, named tests exist, and marked commands run
//! (`process::tour`).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use api_actix::commands;
use api_actix::http::problem::Code;
use api_actix::settings::SETTINGS;
use api_actix::telemetry::metrics::Metrics;

/// The most words of a page that is read from top to bottom.
const PAGE_WORDS_MAX: usize = 3_000;
/// The most bytes of DOCUMENTATION.md.
const OVERVIEW_BYTES_MAX: usize = 16 * 1024;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Compares a generated page with the committed one. `UPDATE_REFERENCE=1` writes it.
fn check_reference(name: &str, title: &str, introduction: &str, body: &str) {
    let note = "<!-- Generated from the code: change the code, and run the tests with UPDATE_REFERENCE=1. -->";
    let page = format!("# {title}\n\n{note}\n\n{introduction}\n\n{}\n", body.trim_end());
    let path = root().join("docs/reference").join(name);
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, &page).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/reference/{name} is not what the code says: run this test with UPDATE_REFERENCE=1"
    );
}

/// Escapes a text for a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ").replace('<', "&lt;")
}

#[test]
fn errors_page_matches_the_code() {
    let rows = Code::ALL.iter().map(|code| {
        format!(
            "| {} | `{}` | {} | {} |\n",
            code.status().as_u16(),
            code.as_str(),
            code.title(),
            cell(code.description())
        )
    });
    let introduction = "Every error response is `application/problem+json` (RFC 9457). Its members are `type`, `title`, `status`, `detail`, \
        `message` (the same text as `detail`), `code`, `request_id`, and those that the description of the code names. A code never \
        changes its meaning.\n\n\
        401 has `WWW-Authenticate`, 405 has `Allow`, 429 and 503 have `Retry-After`, and 429 has the `RateLimit` headers. A 500 says \
        nothing about its cause: the log has it under the same `request_id`, which is also in the `X-Request-Id` header.";
    let table = format!("| status | code | title | meaning |\n| --- | --- | --- | --- |\n{}", rows.collect::<String>());
    check_reference("errors.md", "Error codes", introduction, &table);
}

#[test]
fn settings_page_matches_the_code() {
    let introduction = "Settings come from the environment, then from `.env` in the current directory or one above it, then from the TOML \
        file of `--config`: the first source that has a setting wins. In the file, names are lower-case (`port = 8080`), and unknown \
        names are errors. An empty value counts as absent. All errors are reported at once, one a line, and the program exits with 2. \
        `movie-booking check-config` prints each setting with its value and its source, without secrets.\n\n\
        [The format of `.env`](../operating/settings.md) · [parameters of PostgreSQL](../operating/postgresql.md)";
    let mut tables = String::new();
    for group in SETTINGS.chunk_by(|one, next| one.group == next.group) {
        let head = "| setting | default | allowed | purpose |\n| --- | --- | --- | --- |\n";
        tables.push_str(&format!("## {}\n\n{head}", group[0].group));
        for setting in group {
            let default = if setting.default.is_empty() { "none".to_owned() } else { format!("`{}`", setting.default) };
            let (allowed, help) = (cell(&setting.allowed), cell(setting.help));
            tables.push_str(&format!("| `{}` | {default} | {allowed} | {help} |\n", setting.name));
        }
        tables.push('\n');
    }
    check_reference("settings.md", "Settings", introduction, &tables);
}

#[test]
fn command_line_page_matches_the_code() {
    let help = commands::reference().into_iter();
    let body: String = help.map(|(command, help)| format!("## {command}\n\n```text\n{help}\n```\n\n")).collect();
    let introduction = "The exit code is 0 after success, 2 after an error in the settings or arguments, and 1 after any other failure, which is \
        reported in one line. `admin` reads the password from the prompt, or from the first line of standard input. `seed`, `admin` and \
        `backup` can run while a server runs.";
    check_reference("command-line.md", "Command line", introduction, &body);
}

#[test]
fn metrics_page_matches_the_code() {
    let text = Metrics::reference().unwrap();
    let described = |mark: &str| -> BTreeMap<String, String> {
        let lines = text.lines().filter_map(|line| line.strip_prefix(mark)?.split_once(' '));
        lines.map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    };
    let kinds = described("# TYPE ");
    let rows = described("# HELP ").into_iter().map(|(name, help)| {
        let kind = &kinds[&name];
        let suffix = if kind == "counter" { "_total" } else { "" };
        format!("| `{name}{suffix}` | {kind} | {} |\n", cell(&help))
    });
    let rows: String = rows.collect();
    let introduction = "`GET /metrics` has these metrics in the text format of OpenMetrics, for Prometheus. Each server counts for itself, \
        from its start. [What to watch, and the alerts](../operating/observability.md)";
    let table = format!("| metric | type | meaning |\n| --- | --- | --- |\n{rows}");
    check_reference("metrics.md", "Metrics", introduction, &table);
}

/// Returns the Markdown files of the repository.
fn pages() -> Vec<PathBuf> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && name != ".git" {
                collect(&path, found);
            } else if name.ends_with(".md") {
                found.push(path);
            }
        }
    }
    let mut found = Vec::new();
    collect(&root(), &mut found);
    found.sort();
    found
}

/// Returns the lines of a page that are not in a code block.
fn prose(text: &str) -> Vec<&str> {
    let mut is_code = false;
    let is_prose = |line: &&str| {
        if line.trim_start().starts_with("```") {
            is_code = !is_code;
            return false;
        }
        !is_code && !line.starts_with("    ")
    };
    text.lines().filter(is_prose).collect()
}

/// Returns the anchors of a page's headings, as GitHub generates them.
fn anchors(text: &str) -> BTreeSet<String> {
    let headings = prose(text).into_iter().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| -> String {
        let kept = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = kept.chars().filter(|character| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_'));
        kept.map(|character| if character == ' ' { '-' } else { character }).collect()
    };
    headings.map(anchor).collect()
}

/// Returns the targets of the links in a text: the parts between `](` and `)`.
fn links(text: &str) -> Vec<String> {
    let targets = prose(text).into_iter().flat_map(|line| line.split("](").skip(1));
    targets.filter_map(|rest| rest.split(')').next()).map(str::to_owned).collect()
}

#[test]
fn every_relative_link_has_a_target() {
    let mut checked = 0;
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for link in links(&text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            assert!(target.exists(), "{}: {link} leads to no file", page.display());
            if !anchor.is_empty() {
                let found = anchors(&fs::read_to_string(&target).unwrap());
                assert!(found.contains(anchor), "{}: {link} leads to no heading", page.display());
            }
            checked += 1;
        }
    }
    assert!(checked > 50, "{checked}");
}

#[test]
fn pages_are_short_enough_to_read() {
    let overview = fs::read(root().join("DOCUMENTATION.md")).unwrap();
    assert!(overview.len() <= OVERVIEW_BYTES_MAX, "DOCUMENTATION.md has {} bytes", overview.len());
    for page in pages().into_iter().filter(|page| page.starts_with(root().join("docs"))) {
        let words = fs::read_to_string(&page).unwrap().split_whitespace().count();
        let is_reference = page.starts_with(root().join("docs/reference"));
        assert!(is_reference || words <= PAGE_WORDS_MAX, "{} has {words} words", page.display());
    }
}

/// Returns the text of all sources below a folder.
fn sources(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.extension() {
        _ if path.is_dir() => sources(&path),
        Some(extension) if extension == "rs" => fs::read_to_string(path).unwrap(),
        _ => String::new(),
    };
    entries.map(text).collect()
}

/// The last column of the table names the tests that keep each guarantee.
#[test]
fn guarantees_name_tests_that_exist() {
    let text = sources(&root().join("crates")) + &sources(&root().join("tests"));
    let page = fs::read_to_string(root().join("docs/guarantees.md")).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && line.contains('`'));
    let tests = rows.flat_map(|row| {
        let cell = row.trim_end_matches(" |").rsplit(" | ").next().unwrap_or_default();
        cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>()
    });
    let tests: Vec<_> = tests.collect();
    assert!(tests.len() >= 20, "{tests:?}");
    for test in tests {
        assert!(text.contains(&format!("fn {test}(")), "{test}");
    }
}
