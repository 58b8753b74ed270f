//! The commands other than `serve`.

use super::support::{DATABASE_PASSWORD, JWT_SECRET, Kind, Site};
use api_actix::settings::SETTINGS;
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn seeding_postgres_twice_adds_nothing_the_second_time() {
    let site = Site::empty_postgres().await;
    site.run(&["migrate"], "").succeeded();
    let first = site.run(&["seed", "--demo"], "").succeeded();
    assert!(first.starts_with("Added ") && !first.starts_with("Added 0 movies"), "{first}");
    let second = site.run(&["seed", "--demo"], "").succeeded();
    assert!(second.starts_with("Added 0 movies, 0 theatres, 0 halls and 0 shows.\n"), "{second}");
    assert!(second.contains("there already"), "{second}");
    let server = site.serve();
    for (role, line) in [("customer", "Demo customer:"), ("admin", "Demo admin:")] {
        let line = first.lines().find_map(|text| text.strip_prefix(line)).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(server.client.login(words[0], words[1]).await.expect(200)["role"], role);
    }
    // Seeding during a running server adds nothing either.
    let third = site.run(&["seed"], "").succeeded();
    assert_eq!(third, "Added 0 movies, 0 theatres, 0 halls and 0 shows.\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn seeding_during_a_running_server_on_the_embedded_store() {
    let site = Site::embedded();
    let server = site.serve();
    let added = site.run(&["seed"], "").succeeded();
    assert_eq!(added, "Added 0 movies, 0 theatres, 0 halls and 0 shows.\n");
    let again = site.run(&["seed", "--demo"], "").succeeded();
    assert!(again.contains("there already"), "{again}");
    // The passwords of the first start are still valid.
    let (email, password) = server.demo_account("admin");
    server.client.login(&email, &password).await.expect(200);
}

async fn administrators(kind: Kind) {
    let site = Site::of(kind).await;
    let server = site.serve();
    let client = &server.client;
    let create = ["admin", "create", "--email", "Boss@Example.org", "--name", "The Boss"];
    let told = site.run(&create, "first good password\n").succeeded();
    assert!(told.contains("Boss@Example.org") && told.contains("can log in"), "{told}");
    let signed_in = client.login("boss@example.org", "first good password").await.expect(200);
    assert_eq!((&signed_in["role"], &signed_in["name"]), (&Value::from("admin"), &Value::from("The Boss")));
    let token = signed_in["token"].as_str().unwrap();
    assert_eq!(client.get_as(token, "/api/me").await.expect(200)["role"], "admin");

    let told = site.run(&create, "another good password\n").failed(1);
    assert!(told.contains("exists already") && told.contains("nothing was changed"), "{told}");
    client.login("boss@example.org", "first good password").await.expect(200);
    let told = site.run(&["admin", "create", "--email", "new@example.org"], "short\n").failed(1);
    assert!(told.contains("password") && told.contains('8') && !told.contains("short\n"), "{told}");
    let told = site.run(&["admin", "create", "--email", "no address"], "a good password\n").failed(1);
    assert!(told.contains("--email"), "{told}");
    for (arguments, option) in [
        (["--email", "new@example.org\u{200b}", "--name", "New"], "--email"),
        (["--email", "new@example.org", "--name", "N\u{202e}ew"], "--name"),
    ] {
        let told = site.run(&[&["admin", "create"], &arguments[..]].concat(), "a good password\n").failed(1);
        assert!(told.contains(option) && told.contains("must not contain U+"), "{told}");
    }
    let told = site.run(&["admin", "create", "--email", "new@example.org"], "").failed(1);
    assert!(told.contains("password"), "{told}");

    let reset = ["admin", "reset-password", "--email", "boss@example.org"];
    let told = site.run(&reset, "second good password\r\n").succeeded();
    assert!(told.contains("new password") && told.contains("sessions have ended"), "{told}");
    assert_eq!(
        client.login("boss@example.org", "first good password").await.expect(401)["code"],
        "invalid_credentials"
    );
    // Another white-space character is the same password.
    client.login("boss@example.org", "second\u{a0}good password").await.expect(200);
    assert_eq!(client.get_as(token, "/api/me").await.expect(401)["code"], "unauthenticated");
    assert_eq!(client.get_as(token, "/api/bookings").await.expect(401)["code"], "unauthenticated");
    let refresh = serde_json::json!({"refresh_token": signed_in["refresh_token"]});
    client.post("/api/auth/refresh", &refresh).await.expect(401);
    let show = client.shows(1).await[0];
    let seat = client.free_seats(show).await[0];
    assert_eq!(client.book(token, "key", seat).await.expect(401)["code"], "unauthenticated");
    let told = site.run(&["admin", "reset-password", "--email", "nobody@example.org"], "a good password\n").failed(1);
    assert!(told.contains("no account"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_are_created_during_a_running_server_embedded() {
    administrators(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn administrators_are_created_during_a_running_server_postgres() {
    administrators(Kind::Postgres).await;
}

#[test]
fn check_config_prints_settings_without_secrets() {
    let previous = "the-secret-that-was-used-before-this-one";
    let url = format!("postgres://somebody:{DATABASE_PASSWORD}@db.example/bookings");
    let site = Site::embedded()
        .with("DATABASE_URL", &url)
        .with("JWT_SECRET", JWT_SECRET)
        .with("JWT_SECRET_PREVIOUS", previous)
        .with("REDIS_URL", "redis://somebody:Redis-Pa55word@cache.example");
    let ended = site.run(&["check-config"], "");
    let written = format!("{}{}", ended.stdout, ended.stderr);
    for secret in [DATABASE_PASSWORD, JWT_SECRET, previous, "Redis-Pa55word"] {
        assert!(!written.contains(secret), "{written}");
    }
    let shown = ended.succeeded();
    assert!(shown.contains("PostgreSQL") && shown.contains("a server at cache.example:6379"), "{shown}");
    for setting in SETTINGS.iter() {
        let rows = shown.lines().filter(|line| line.split(' ').next() == Some(setting.name));
        assert_eq!(rows.count(), 1, "{}: {shown}", setting.name);
    }
    let told = Site::embedded().with("PORT", "x").run(&["check-config"], "").failed(2);
    assert!(told.contains("PORT is x"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn healthcheck_prints_one_line_with_the_readiness() {
    let site = Site::postgres().await;
    let server = site.serve();
    // Warnings about settings without effect are left to other commands, because health checks run every few seconds.
    let port = server.address().rsplit(':').next().unwrap();
    let site = site.with("PORT", port).with("REDIS_URL", "redis://cache.example").with("HOST", "0.0.0.0");
    let ask = || site.run(&["healthcheck"], "");
    let healthy = ask();
    assert_eq!(healthy.stderr, "");
    let told = healthy.succeeded();
    assert!(told.contains("is ready") && told.contains("ok"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");

    let database = site.database.as_ref().unwrap();
    database.take_down().await.unwrap();
    let told = ask().failed(1);
    assert!(told.contains("is not ready: 503") && told.contains("unavailable"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    database.bring_up().await.unwrap();
    ask().succeeded();

    server.stop();
    let told = ask().failed(1);
    assert!(told.contains("does not answer"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let told = site.with("PORT", "0").run(&["healthcheck"], "").failed(1);
    assert!(told.contains("PORT is 0"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn openapi_prints_the_document_that_is_served() {
    // The document does not depend on the settings, not even on invalid ones.
    let printed = Site::embedded().with("PORT", "nonsense").run(&["openapi"], "").succeeded();
    let document: Value = serde_json::from_str(&printed).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    let server = Site::embedded().serve();
    assert_eq!(server.client.get("/api/openapi.json").await.text, printed);
}

#[test]
fn help_names_every_command_and_every_setting() {
    let site = Site::embedded();
    let help = site.run(&["--help"], "").succeeded();
    for command in ["serve", "migrate", "seed", "admin", "backup", "check-config", "healthcheck", "openapi"] {
        assert!(help.lines().any(|line| line.trim_start().starts_with(command)), "{command}: {help}");
    }
    for setting in SETTINGS.iter() {
        assert!(help.lines().any(|line| line.trim() == setting.name), "{}: {help}", setting.name);
    }
    let admin = site.run(&["admin", "--help"], "").succeeded();
    assert!(admin.contains("create") && admin.contains("reset-password"), "{admin}");
    let told = site.run(&["dance"], "").failed(2);
    assert!(told.contains("dance"), "{told}");
    assert!(site.run(&["--version"], "").succeeded().starts_with("movie-booking "));
}
