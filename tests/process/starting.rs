//! Starting: created files, printed messages and rejected settings.

use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use adapters_postgres::testing::TestDatabase;
use diesel::connection::SimpleConnection as _;
use diesel::{Connection as _, SqliteConnection};

use super::support::{JWT_SECRET, Site};

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode() & 0o777
}

#[tokio::test(flavor = "multi_thread")]
async fn first_start_creates_its_files_and_prints_how_to_log_in() {
    let site = Site::embedded();
    let server = site.serve();
    let data = site.path("data");
    assert_eq!(mode(&data), 0o700);
    for name in ["jwt-secret", "demo-accounts.toml", "movie-booking.db"] {
        assert_eq!(mode(&data.join(name)), 0o600, "{name}");
    }
    let base = &server.client.base;
    assert!(server.greeting.contains(&format!("documentation   {base}/docs/\n")), "{}", server.greeting);
    assert!(server.greeting.contains("embedded, in ./data\n"), "{}", server.greeting);
    assert_eq!(server.client.get("/docs/").await.status, 200);
    assert_eq!(server.client.get("/readyz").await.expect(200)["dependencies"]["sqlite"], "ok");
    for role in ["customer", "admin"] {
        let (email, password) = server.demo_account(role);
        assert_eq!(server.client.login(&email, &password).await.expect(200)["role"], role);
    }
    assert!(!server.client.get("/api/movies").await.expect(200).as_array().unwrap().is_empty());
    assert!(!server.client.get("/api/theatres").await.expect(200).as_array().unwrap().is_empty());
    let shows = server.client.shows(100).await;
    assert_eq!(shows.len(), 100);
    assert!(!server.client.free_seats(shows[0]).await.is_empty());
}

/// The address, the documentation and the accounts are printed first, and the web framework prints nothing.
#[tokio::test(flavor = "multi_thread")]
async fn first_lines_of_a_start_are_those_of_the_product() {
    for (filter, has_framework) in [(None, false), (Some("info"), false), (Some("info,actix_server=info"), true)] {
        let site = Site::embedded();
        let site = match filter {
            Some(filter) => site.with("RUST_LOG", filter),
            None => site,
        };
        let ended = site.serve().stop();
        assert!(ended.stdout.starts_with("movie-booking listens on http://"), "{ended:?}");
        assert_eq!(ended.stderr.contains("actix_server"), has_framework, "{filter:?}: {ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_start_keeps_secret_accounts_and_bookings() {
    let site = Site::embedded();
    let server = site.serve();
    let (email, password) = server.demo_account("customer");
    let token = server.client.login(&email, &password).await.expect(200)["token"].as_str().unwrap().to_owned();
    let show = server.client.shows(1).await[0];
    let seat = server.client.free_seats(show).await[0];
    let first = server.client.book(&token, "before-the-restart", seat).await;
    first.expect(201);
    let secret = std::fs::read(site.path("data/jwt-secret")).unwrap();
    let greeting = server.greeting.clone();
    assert_eq!(server.stop().code, Some(0));

    let server = site.serve();
    assert_eq!(std::fs::read(site.path("data/jwt-secret")).unwrap(), secret);
    assert_eq!(server.demo_account("customer"), (email.clone(), password.clone()));
    // Everything except the port is printed as before.
    let accounts = |text: &str| text.lines().skip(2).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(accounts(&server.greeting), accounts(&greeting));
    server.client.login(&email, &password).await.expect(200);
    assert_eq!(server.client.get_as(&token, "/api/me").await.expect(200)["email"], email.as_str());
    assert_eq!(server.client.history(&token).await.len(), 1);
    let again = server.client.book(&token, "before-the-restart", seat).await;
    assert_eq!((again.status, again.replayed(), &again.text), (201, true, &first.text));
}

#[tokio::test(flavor = "multi_thread")]
async fn second_server_on_the_same_directory_is_refused_and_changes_nothing() {
    let site = Site::embedded();
    let server = site.serve();
    let told = site.run(&[], "").failed(1);
    assert!(told.contains("another server already uses the data directory ./data"), "{told}");
    let (email, password) = server.demo_account("customer");
    server.client.login(&email, &password).await.expect(200);
    drop(server);
    site.serve();
}

#[test]
fn all_mistakes_in_the_settings_are_reported_together() {
    let site = Site::embedded()
        .with("PORT", "65536")
        .with("JWT_SECRET", "fifteen-letters")
        .with("RATE_LIMIT", "perhaps")
        .with("ACCESS_TOKEN_TTL", "soon")
        .with("MAX_SEATS_PER_BOOKING", "0");
    let ended = site.run(&[], "");
    assert_eq!(ended.stdout, "");
    let told = ended.failed(2);
    for name in ["PORT", "JWT_SECRET", "RATE_LIMIT", "ACCESS_TOKEN_TTL", "MAX_SEATS_PER_BOOKING"] {
        assert_eq!(told.lines().filter(|line| line.starts_with(&format!("{name} "))).count(), 1, "{name}: {told}");
    }
    assert!(told.contains("JWT_SECRET has 15 bytes, but must have at least 32."), "{told}");
    assert!(!told.contains("fifteen-letters"), "{told}");
    assert!(told.contains("movie-booking --help"), "{told}");
    assert!(!site.path("data").exists());
}

#[test]
fn a_configuration_file_is_read_strictly() {
    let site = Site::embedded().without("PORT");
    let refused = |text: &[u8], said: &[&str]| {
        std::fs::write(site.path("settings.toml"), text).unwrap();
        let told = site.run(&["--config", "settings.toml"], "").failed(2);
        assert!(said.iter().all(|said| told.contains(said)), "{told}");
    };
    refused(b"prot = 1\nport = 70000\n", &["prot in settings.toml is not a setting", "PORT is 70000"]);
    refused(b"port = [1, 2]\n", &["port in settings.toml"]);
    refused(b"PORT = 0\n", &["PORT in settings.toml is not a setting"]);
    refused(b"this is no TOML\n", &["settings.toml is not TOML"]);
    refused(b"host = \"\xff\"\n", &["settings.toml cannot be read"]);
    let told = site.run(&["--config", "not-there.toml"], "").failed(2);
    assert!(told.contains("not-there.toml cannot be read"), "{told}");
    let told = site.run(&["--config", "."], "").failed(2);
    assert!(told.contains(". cannot be read"), "{told}");
    std::fs::write(site.path(".env"), "PORT=70000\n").unwrap();
    assert!(site.run(&[], "").failed(2).contains("PORT is 70000"));
}

#[test]
fn mistakes_in_files_are_reported_without_nearby_secrets() {
    let secret = "a-secret-that-must-not-be-shown-to-anybody";
    let site = Site::embedded();
    for wrong in [format!("\"{secret}"), secret.to_owned(), format!("\"{secret}\" x"), format!("\"{secret}\\q\"")] {
        std::fs::write(site.path("settings.toml"), format!("port = 0\njwt_secret = {wrong}\n")).unwrap();
        let told = site.run(&["--config", "settings.toml"], "").failed(2);
        assert!(told.contains("settings.toml is not TOML: line 2: ") && !told.contains(secret), "{told}");
    }
    for wrong in [format!("JWT_SECRET=\"{secret}"), format!("JWT_SECRET {secret}"), format!("JWT_SECRET={secret} x")] {
        std::fs::write(site.path(".env"), format!("{wrong}\n")).unwrap();
        let told = site.run(&[], "").failed(2);
        assert!(told.contains(".env cannot be read") && !told.contains(secret), "{told}");
    }
    std::fs::remove_file(site.path(".env")).unwrap();
    let site = site.with("DATABASE_URL", &format!("postgres://user:{secret}@host:notaport/db"));
    let told = site.run(&[], "").failed(2);
    assert!(told.contains("DATABASE_URL") && !told.contains(secret), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_come_from_the_environment_then_env_then_the_file() {
    let site = Site::embedded();
    std::fs::write(site.path("settings.toml"), "port = 70001\ndata_dir = \"./from-file\"\nmax_seats_per_booking = 3\n")
        .unwrap();
    std::fs::write(site.path(".env"), "PORT=70002\nDATA_DIR=./from-env\n").unwrap();
    let server = site.serve_with(&["--config", "settings.toml", "serve"]);
    assert!(site.path("from-env").is_dir() && !site.path("from-file").exists());
    let shown = site.run(&["--config", "settings.toml", "check-config"], "").succeeded();
    let row = |name: &str| {
        let line = shown.lines().find(|line| line.starts_with(&format!("{name} "))).expect(&shown);
        line.split("  ").map(str::trim).filter(|column| !column.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let dotenv = site.directory.path().canonicalize().unwrap().join(".env").display().to_string();
    assert_eq!(row("PORT"), ["PORT", "0", "environment"]);
    assert_eq!(row("DATA_DIR"), ["DATA_DIR", "./from-env", &format!("{dotenv}, line 2")]);
    assert_eq!(row("MAX_SEATS_PER_BOOKING"), ["MAX_SEATS_PER_BOOKING", "3", "settings.toml, line 3"]);
    assert_eq!(row("HOST"), ["HOST", "127.0.0.1", "default"]);
    assert!(shown.contains(&format!("\nFiles: settings.toml and {dotenv}\n")), "{shown}");
    drop(server);
}

#[test]
fn a_dotenv_file_is_read_literally_from_the_nearest_directory() {
    let site = Site::embedded().without("PORT");
    let below = site.path("below");
    std::fs::create_dir_all(below.join(".env")).unwrap();
    let text = "\u{feff}# settings\r\nOTEL_SERVICE_NAME=pa$word#1\r\nexport PORT='0' # any\r\nUNKNOWN=1\r\n";
    std::fs::write(site.path(".env"), text).unwrap();
    // A directory named `.env` is ignored.
    let shown = site.in_directory("below").run(&["check-config"], "").succeeded();
    let line = |name: &str| shown.lines().find(|line| line.starts_with(&format!("{name} "))).expect(&shown).to_owned();
    let dotenv = site.directory.path().canonicalize().unwrap().join(".env").display().to_string();
    let service = line("OTEL_SERVICE_NAME");
    assert!(service.contains(" pa$word#1 ") && service.ends_with(&format!("{dotenv}, line 2")), "{service}");
    assert!(line("PORT").ends_with(&format!("{dotenv}, line 3")), "{shown}");
}

#[test]
fn mistakes_in_settings_name_the_file_and_the_line() {
    let site = Site::embedded().without("PORT");
    let refused = |text: &[u8], said: &[&str]| {
        std::fs::write(site.path(".env"), text).unwrap();
        let told = site.run(&["check-config"], "").failed(2);
        assert!(said.iter().all(|said| told.contains(said)), "{told}");
    };
    refused(b"\xef\xbb\xbf\nPORT=70000\n", &["PORT is 70000", "/.env, line 2"]);
    refused(b"A=1\nB\nC='\n", &["/.env cannot be read: line 2", "/.env cannot be read: line 3"]);
    refused(b"A=1\nB=\xff\n", &["/.env cannot be read: line 2: it is not UTF-8"]);
    // UTF-16, which some editors and shells call Unicode.
    refused(b"\xff\xfeA\0=\x001\0", &["/.env cannot be read: line 1: it is not UTF-8"]);
    std::fs::remove_file(site.path(".env")).unwrap();
    std::fs::write(site.path("settings.toml"), "\u{feff}host = \"127.0.0.1\"\r\nport = 70000\r\n").unwrap();
    let told = site.run(&["--config", "settings.toml", "check-config"], "").failed(2);
    assert!(told.contains("PORT is 70000") && told.contains("(settings.toml, line 2)"), "{told}");
}

#[test]
fn port_in_use_is_reported_with_advice() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let told = Site::embedded().with("PORT", &address.port().to_string()).run(&[], "").failed(1);
    assert!(told.contains(&address.to_string()) && told.contains("Set PORT or HOST"), "{told}");
}

#[test]
fn data_directory_that_cannot_be_created_is_reported() {
    let site = Site::embedded();
    std::fs::write(site.path("data"), "a file, not a directory").unwrap();
    let told = site.run(&[], "").failed(1);
    assert!(told.contains("./data"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_needs_a_secret() {
    let site = Site::empty_postgres().await.without("JWT_SECRET");
    let told = site.run(&["serve"], "").failed(2);
    assert!(told.contains("JWT_SECRET is missing"), "{told}");
}

#[test]
fn a_postgres_that_cannot_be_reached_ends_the_start() {
    let site = Site::embedded().with("JWT_SECRET", JWT_SECRET);
    let site = site.with("DATABASE_URL", "postgres://somebody:Pa55word@127.0.0.1:1/nothing");
    let site = site.with("DB_START_TIMEOUT", "1s");
    for command in ["serve", "migrate", "seed"] {
        let began = Instant::now();
        let told = site.run(&[command], "").failed(1);
        assert!(told.contains("PostgreSQL cannot be reached") && !told.contains("Pa55word"), "{told}");
        assert!(told.contains("waiting up to ") && told.contains("127.0.0.1 port 1"), "{told}");
        assert!(began.elapsed() >= Duration::from_millis(500));
    }
    let shown = site.run(&["check-config"], "").succeeded();
    assert!(shown.contains("The database was not checked: PostgreSQL cannot be reached"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_utf8_is_refused_by_every_command() {
    let empty = TestDatabase::create_empty().await.unwrap();
    let latin = empty.sibling("ENCODING 'LATIN1' TEMPLATE template0 LOCALE 'C'").await.unwrap();
    let site = Site::on(latin);
    for command in [&["serve"][..], &["serve", "--migrate"], &["migrate"], &["seed"], &["check-config"]] {
        let told = site.run(command, "").failed(1);
        assert!(told.contains("has the encoding LATIN1, but must have UTF8"), "{command:?}: {told}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn start_waits_for_a_database_that_is_not_ready_yet() {
    let site = Site::postgres().await;
    let database = site.database.as_ref().unwrap();
    database.take_down().await.unwrap();
    let starting = site.begin_to_serve(&[]);
    tokio::time::sleep(Duration::from_secs(1)).await;
    database.bring_up().await.unwrap();
    let server = starting.listening();
    server.client.get("/readyz").await.expect(200);
    let told = server.stop().stderr;
    assert!(told.contains("waiting up to ") && told.contains("PostgreSQL is not ready"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn check_config_reports_whether_the_database_is_usable() {
    let site = Site::empty_postgres().await;
    let shown = site.run(&["check-config"], "").succeeded();
    assert!(shown.contains("run `movie-booking migrate`"), "{shown}");
    site.run(&["migrate"], "").succeeded();
    let shown = site.run(&["check-config"], "").succeeded();
    assert!(shown.contains("The database can be used, and its schema is up to date"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn migrate_names_the_holder_of_the_schema_lock_while_it_waits() {
    let site = Site::empty_postgres().await;
    let url = site.database.as_ref().unwrap().url.clone();
    let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
    let driver = tokio::spawn(connection);
    let row = client.query_one("SELECT pg_advisory_lock(120325495416179), pg_backend_pid()", &[]).await.unwrap();
    let pid: i32 = row.get(1);
    let release = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_secs(2)).await;
        drop(client);
        driver.await.unwrap().unwrap();
    });
    let ended = tokio::task::spawn_blocking(move || site.run(&["migrate"], "")).await.unwrap();
    release.await.unwrap();
    assert!(ended.stderr.contains(&format!("waiting for the schema lock held by pid {pid}")), "{ended:?}");
    ended.succeeded();
}

/// The owner runs `migrate`, and a role that can only read and write rows runs everything else.
#[tokio::test(flavor = "multi_thread")]
async fn role_with_row_access_only_can_serve() {
    let site = Site::postgres().await;
    let database = site.database.as_ref().unwrap();
    let (role, name) = (format!("server_of_{}", database.name), &database.name);
    database
        .execute(&format!(
            "REVOKE CREATE ON SCHEMA public FROM PUBLIC; CREATE ROLE {role} LOGIN;
             GRANT CONNECT ON DATABASE {name} TO {role};
             GRANT USAGE ON SCHEMA public TO {role};
             GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role};
             GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {role}"
        ))
        .await
        .unwrap();
    let url = format!("postgres://{role}@{}", database.url.split_once('@').unwrap().1);
    let site = site.with("DATABASE_URL", &url);
    assert_eq!(site.run(&["migrate"], "").succeeded(), "0 migrations run; the schema is up to date.\n");
    site.run(&["seed"], "").succeeded();
    let server = site.serve_with(&["serve", "--migrate"]);
    server.client.get("/readyz").await.expect(200);
    let token = server.client.sign_up("ana@example.org").await;
    let show = server.client.shows(1).await[0];
    let seat = server.client.free_seats(show).await[0];
    server.client.book(&token, "a-key", seat).await.expect(201);
    drop(server);
    let database = site.database.as_ref().unwrap();
    database.execute("DELETE FROM __diesel_schema_migrations WHERE version = (SELECT max(version) FROM __diesel_schema_migrations)").await.unwrap();
    let told = site.run(&["migrate"], "").failed(1);
    assert!(told.contains("permission denied") || told.contains("must be owner"), "{told}");
    assert!(told.contains("with the role that owns the tables"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn older_schema_is_refused_with_advice_to_migrate() {
    let site = Site::empty_postgres().await;
    for command in [&["serve"][..], &["seed"], &["admin", "create", "--email", "a@example.org"]] {
        let told = site.run(command, "a good password\n").failed(1);
        assert!(told.contains("movie-booking migrate") && told.contains("serve --migrate"), "{told}");
    }
    let migrated = site.run(&["migrate"], "").succeeded();
    let run = migrated.strip_suffix(" migrations run; the schema is up to date.\n").unwrap();
    assert!(run.parse::<usize>().unwrap() > 0, "{migrated}");
    assert_eq!(site.run(&["migrate"], "").succeeded(), "0 migrations run; the schema is up to date.\n");
    assert!(site.serve().greeting.contains("PostgreSQL"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_refused_on_both_stores() {
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231235959')";
    let on_postgres = Site::postgres().await;
    on_postgres.database.as_ref().unwrap().execute(newer).await.unwrap();
    let embedded = Site::embedded();
    drop(embedded.serve());
    let file = embedded.path("data/movie-booking.db");
    SqliteConnection::establish(file.to_str().unwrap()).unwrap().batch_execute(newer).unwrap();
    for site in [&on_postgres, &embedded] {
        let admin = ["admin", "create", "--email", "a@example.org"];
        let reset = ["admin", "reset-password", "--email", "a@example.org"];
        for command in [&["serve"][..], &["serve", "--migrate"], &["migrate"], &["seed"], &admin, &reset] {
            let told = site.run(command, "a good password\n").failed(1);
            assert!(told.contains("newer than this program"), "{command:?}: {told}");
            assert!(told.contains("use the program that migrated it, or a newer one"), "{command:?}: {told}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_newer_schema_is_not_copied() {
    let site = Site::embedded();
    drop(site.serve());
    let file = site.path("data/movie-booking.db");
    let newer = "INSERT INTO __diesel_schema_migrations (version) VALUES ('99991231235959')";
    SqliteConnection::establish(file.to_str().unwrap()).unwrap().batch_execute(newer).unwrap();
    let told = site.run(&["backup", "copy.db"], "").failed(1);
    assert!(told.contains("newer than this program: use the program that migrated it"), "{told}");
    assert!(!site.path("copy.db").exists());
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_that_migrate_concurrently_all_start() {
    let site = Site::empty_postgres().await;
    let starting = [1, 2, 3].map(|_| site.begin_to_serve(&["serve", "--migrate"]));
    let servers = starting.map(super::support::Starting::listening);
    let token = servers[0].client.sign_up("ana@example.org").await;
    for server in &servers {
        assert_eq!(server.client.get("/readyz").await.expect(200)["dependencies"]["postgresql"], "ok");
        // The servers share one secret: each accepts the tokens of the others.
        server.client.get_as(&token, "/api/me").await.expect(200);
    }
}
