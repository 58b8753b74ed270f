//! Imports and exports of the catalog over the staff's API.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::TestApp;

on_both_stores!(
    file_is_imported_and_exported,
    mistakes_have_paths_and_lines,
    body_that_is_not_a_file_is_refused,
    file_of_more_than_eight_megabytes_is_refused,
    imports_and_exports_are_for_administrators,
);

const TOML: &str = "application/toml";

/// Returns the example of `docs/import.md`, with a title that the world of the tests does not have.
fn example() -> String {
    include_str!("../docs/import.toml").replace("Amélie", "Mirror")
}

async fn file_is_imported_and_exported(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let import = |query: &str| app.post(&format!("/api/admin/imports{query}")).by(&admin).body(TOML, example());
    let (log, shows) = (app.rows("audit_log").await, app.rows("shows").await);
    let report = import("?dry_run=true").send().await.ok(200).json();
    assert_eq!((&report["dry_run"], &report["movies"]["added"]), (&json!(true), &json!(2)));
    assert_eq!((app.rows("audit_log").await, app.rows("shows").await), (log, shows));

    let report = import("").send().await.ok(200).json();
    let count = json!({ "added": 2, "unchanged": 0, "skipped": 0 });
    assert_eq!((&report["movies"], &report["halls"]), (&count, &count));
    assert_eq!(app.rows("shows").await - shows, report["shows"]["added"].as_i64().unwrap());
    assert!(app.rows("audit_log").await > log);
    let found = app.get("/api/movies?search=boot").send().await.ok(200).list();
    assert_eq!(found[0]["title"], "Das Boot");

    let exported = app.get("/api/admin/exports").by(&admin).send().await.ok(200);
    assert_eq!(exported.header("content-disposition"), Some("attachment; filename=\"catalog.json\""));
    assert!(exported.json()["theatres"].as_array().unwrap().iter().any(|theatre| theatre["name"] == "Lichtburg"));
    let as_toml = app.get("/api/admin/exports?format=toml").by(&admin).send().await.ok(200);
    assert!(as_toml.header("content-type").unwrap().starts_with(TOML) && as_toml.text().contains("[[theatres.halls]]"));
    // What was exported is unchanged, in both formats.
    for (media_type, text) in [("application/json", exported.text()), (TOML, as_toml.text())] {
        let again = app.post("/api/admin/imports").by(&admin).body(media_type, text).send().await.ok(200).json();
        for kind in ["ticket_types", "movies", "theatres", "halls", "price_lists", "shows"] {
            assert_eq!(again[kind]["added"], 0, "{kind}");
        }
    }
    app.get("/api/admin/exports?format=xml").by(&admin).send().await.problem(400, "validation_failed");
}

async fn mistakes_have_paths_and_lines(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let wrong = example().replacen("duration_minutes = 122", "duration_minutes = 1_800", 1).replacen(
        "hall = \"Saal 1\"",
        "hall = \"Saal 9\"",
        1,
    );
    let line = |text: &str| wrong.lines().position(|line| line == text).unwrap() + 1;
    let footprint = app.footprint().await;
    let answer = app.post("/api/admin/imports").by(&admin).body(TOML, wrong.as_str()).send().await;
    let problem = answer.problem(400, "validation_failed").json();
    let errors: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|error| {
            (error["field"].as_str().unwrap(), error["code"].as_str().unwrap(), error["line"].as_u64().unwrap())
        })
        .collect();
    let expected = [
        ("movies[0].duration_minutes", "out_of_range", u64::try_from(line("duration_minutes = 1_800")).unwrap()),
        ("programmes[0].hall", "unknown", u64::try_from(line("hall = \"Saal 9\"")).unwrap()),
    ];
    assert_eq!(errors, expected);
    assert!(
        problem["detail"].as_str().unwrap().starts_with("Nothing was imported. The file has 2 mistakes"),
        "{problem}"
    );
    assert_eq!(app.footprint().await, footprint);
    // An object that exists with other content is a mistake, or is kept.
    app.post("/api/admin/imports").by(&admin).body(TOML, example()).send().await.ok(200);
    let other = example().replacen("certificate = \"0\"", "certificate = \"6\"", 1);
    let post = |query: &str| app.post(&format!("/api/admin/imports{query}")).by(&admin).body(TOML, other.as_str());
    assert_eq!(post("").send().await.mistakes(), ["movies[0].title name_taken"]);
    assert_eq!(post("?keep=true").send().await.ok(200).json()["movies"]["skipped"], 1);
}

async fn body_that_is_not_a_file_is_refused(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let post = |media_type: &str, body: &[u8]| app.post("/api/admin/imports").by(&admin).body(media_type, body);
    let footprint = app.footprint().await;
    for (media_type, body, field, code) in [
        (TOML, "movies = ", "", "malformed"),
        (TOML, "{}", "", "malformed"),
        ("application/json", "movies = []", "", "malformed"),
        ("application/json", "{}", "", "empty"),
        ("application/json", "{\"movies\": 1}", "movies", "wrong_type"),
        ("application/json", "{\"films\": []}", "films", "unknown_member"),
        ("application/json", "[]", "", "wrong_type"),
    ] {
        assert_eq!(post(media_type, body.as_bytes()).send().await.mistakes()[0], format!("{field} {code}"), "{body}");
    }
    post(TOML, b"a = \"\xff\"").send().await.problem(400, "malformed_json");
    for media_type in ["text/plain", "application/yaml", "application/toml; charset=latin1"] {
        post(media_type, example().as_bytes()).send().await.problem(415, "unsupported_media_type");
    }
    let packed = post(TOML, example().as_bytes()).header("content-encoding", "gzip");
    packed.send().await.problem(415, "unsupported_media_type");
    assert_eq!(app.footprint().await, footprint);
}

async fn file_of_more_than_eight_megabytes_is_refused(app: &TestApp) {
    app.connect_directly("nginx refuses bodies of more than 1 MB");
    let admin = app.sign_up_admin().await;
    let mut text = example().into_bytes();
    text.resize(8 * 1024 * 1024, b'\n');
    let post = |body: &[u8]| app.post("/api/admin/imports?dry_run=true").body(TOML, body);
    post(&text).by(&admin).send().await.ok(200);
    text.push(b'\n');
    post(&text).by(&admin).send().await.problem(413, "payload_too_large");
    post(&text).send().await.problem(401, "unauthenticated");
}

async fn imports_and_exports_are_for_administrators(app: &TestApp) {
    let (staff, customer) = (app.sign_up_staff(&[]).await, app.sign_up().await);
    for user in [&staff, &customer] {
        let import = app.call(Method::POST, "/api/admin/imports").by(user).body(TOML, example());
        import.send().await.problem(403, "forbidden");
        app.get("/api/admin/exports").by(user).send().await.problem(403, "forbidden");
    }
    assert_ne!(app.get("/api/movies?search=boot").send().await.ok(200).json(), Value::Null);
}
