//! The import from the database of the Express API.

use adapters_postgres::testing::TestDatabase;
use futures::future::join;
use serde_json::Value;

use super::support::{DATABASE_PASSWORD, Kind, Site};

const OLD_PASSWORD: &str = "passwo\u{308}rt of 2019";

/// Returns bcrypt's hash as the former API stored it.
fn old_hash() -> String {
    bcrypt::hash_with_salt(OLD_PASSWORD, 4, *b"0123456789abcdef").unwrap().to_string()
}

/// The schema with the names of the wire format: seats per show, with numbers like `A1`.
async fn plain_source() -> TestDatabase {
    let source = TestDatabase::create_empty().await.unwrap();
    let schema = "
        CREATE TABLE users (id serial PRIMARY KEY, name text, email text UNIQUE NOT NULL, password text NOT NULL);
        CREATE TABLE movies (id serial PRIMARY KEY, title text NOT NULL, description text, duration integer, genre text);
        CREATE TABLE theatres (id serial PRIMARY KEY, name text NOT NULL, location text);
        CREATE TABLE shows (id serial PRIMARY KEY, movie_id integer REFERENCES movies, theatre_id integer REFERENCES theatres,
            start_time timestamptz NOT NULL, price numeric(10,2));
        CREATE TABLE seats (id serial PRIMARY KEY, show_id integer REFERENCES shows, seat_number text NOT NULL,
            status text NOT NULL DEFAULT 'available');
        CREATE TABLE bookings (id serial PRIMARY KEY, user_id integer REFERENCES users, show_id integer REFERENCES shows,
            seat_id integer REFERENCES seats, created_at timestamptz DEFAULT now());";
    source.execute(schema).await.unwrap();
    let rows = format!(
        "INSERT INTO users (id, name, email, password) VALUES (7, 'Ana', 'Ana@Example.org', '{hash}'),
            (8, 'Bob', 'bob@example.org', 'plain text'), (9, 'Cleo', 'ana@EXAMPLE.org', '{hash}');
         INSERT INTO movies (id, title, description, duration, genre) VALUES (5, 'Solaris', 'A planet.', 167, 'Drama, Sci-Fi'),
            (6, '', 'No title', 90, NULL);
         INSERT INTO theatres (id, name, location) VALUES (3, 'Alpha', 'Bonn'), (4, 'Alpha', 'Kiel');
         INSERT INTO shows (id, movie_id, theatre_id, start_time, price) VALUES
            (11, 5, 3, now() + interval '10 days', 12.50), (12, 5, 3, now() + interval '10 days 1 hour', 12.50),
            (13, 5, 3, now() + interval '11 days', 9.00), (14, 6, 3, now() + interval '12 days', 9.00);
         INSERT INTO seats (id, show_id, seat_number, status)
            SELECT show * 10 + number, show, 'A' || number, CASE WHEN number = 4 THEN 'booked' ELSE 'available' END
            FROM generate_series(11, 14) show, generate_series(1, 4) number;
         INSERT INTO bookings (id, user_id, show_id, seat_id, created_at) VALUES
            (1, 7, 11, 114, '2024-05-01T12:00:00Z'), (2, 7, 11, 114, now()), (3, 8, 12, 124, now());",
        hash = old_hash(),
    );
    source.execute(&rows).await.unwrap();
    source
}

/// The schema of an object-relational mapper: names in camel case, rows apart from numbers, local times, no prices.
async fn mapped_source() -> TestDatabase {
    let source = TestDatabase::create_empty().await.unwrap();
    let schema = r#"
        CREATE TABLE "Users" (id serial PRIMARY KEY, "fullName" text, email text, "passwordHash" text);
        CREATE TABLE "Movies" (id serial PRIMARY KEY, name text);
        CREATE TABLE "Theaters" (id serial PRIMARY KEY, name text, city text);
        CREATE TABLE "Showtimes" (id serial PRIMARY KEY, "movieId" integer, "theaterId" integer, "showTime" timestamp);
        CREATE TABLE "Seats" (id serial PRIMARY KEY, "showtimeId" integer, "row" text, number integer, "isBooked" boolean);
        CREATE TABLE "Bookings" (id serial PRIMARY KEY, "userId" integer, "seatId" integer, status text);"#;
    source.execute(schema).await.unwrap();
    let rows = format!(
        r#"INSERT INTO "Users" VALUES (1, 'Ana', 'ana@example.org', '{hash}');
        INSERT INTO "Movies" VALUES (1, 'Solaris');
        INSERT INTO "Theaters" VALUES (1, 'Alpha', 'Bonn');
        INSERT INTO "Showtimes" VALUES (1, 1, 1, '2031-07-01 20:00');
        INSERT INTO "Seats" VALUES (1, 1, 'B', 7, true), (2, 1, 'B', 8, true), (3, 1, 'B', 9, false);
        INSERT INTO "Bookings" VALUES (1, 1, 1, 'confirmed'), (2, 1, 3, 'cancelled');"#,
        hash = old_hash().replacen("$2b$", "$2a$", 1),
    );
    source.execute(&rows).await.unwrap();
    source
}

fn url(source: &TestDatabase) -> String {
    source.url.replacen('@', &format!(":{DATABASE_PASSWORD}@"), 1)
}

async fn empty_site(kind: Kind) -> Site {
    match kind {
        Kind::Embedded => Site::embedded(),
        Kind::Postgres => Site::on(TestDatabase::create().await.unwrap()),
    }
}

const OPTIONS: [&str; 4] = ["--timezone", "Europe/Berlin", "--currency", "EUR"];

fn import(site: &Site, source: &TestDatabase, more: &[&str]) -> super::support::Ended {
    // The address is read from standard input.
    site.run(&[&["import", "--from-express", "-"], &OPTIONS[..], more].concat(), &format!("{}\n", url(source)))
}

async fn plain_schema(kind: Kind) {
    let (site, source) = (empty_site(kind).await, plain_source().await);
    let told = import(&site, &source, &[]).succeeded();
    assert!(
        told.starts_with("Imported 1 users, 1 movies, 2 theatres with 2 new halls, 3 shows and 1 bookings.\n"),
        "{told}"
    );
    for line in [
        "2 seats were taken without a booking, and are blocked.",
        "  users 8: the password hash is not one of bcrypt",
        "  users 9: an account with this address exists already",
        "  movies 6: its title ",
        "  shows 14: its movie was not imported",
        "  bookings 2: its seat is taken by another booking",
        "  bookings 3: its user was not imported",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(!told.contains("plain text"), "{told}");
    let again = import(&site, &source, &[]).succeeded();
    assert!(
        again.starts_with("Imported 0 users, 0 movies, 0 theatres with 0 new halls, 0 shows and 0 bookings.\n"),
        "{again}"
    );
    // What is new in the source is added: a show at another time in a known hall, and a booking of a known show.
    let rows = "INSERT INTO shows (id, movie_id, theatre_id, start_time, price) VALUES (15, 5, 4, now() + interval '20 days', 8);
        INSERT INTO seats (id, show_id, seat_number) VALUES (151, 15, 'A1');
        INSERT INTO bookings (id, user_id, show_id, seat_id) VALUES (4, 7, 13, 131), (5, 7, 15, 151);";
    source.execute(rows).await.unwrap();
    let third = import(&site, &source, &[]).succeeded();
    assert!(
        third.starts_with("Imported 0 users, 0 movies, 0 theatres with 1 new halls, 1 shows and 2 bookings.\n"),
        "{third}"
    );

    let server = site.serve();
    let client = &server.client;
    client.login("ana@example.org", "another password").await.expect(401);
    // Concurrent logins both succeed, and both replace the hash.
    let (one, other) =
        join(client.login("ana@example.org", OLD_PASSWORD), client.login("ana@example.org", OLD_PASSWORD)).await;
    other.expect(200);
    let ana = one.expect(200);
    assert_eq!((&ana["id"], &ana["name"], &ana["role"]), (&7.into(), &"Ana".into(), &"customer".into()));
    // The hash is one of the prepared password now: the composed form matches too.
    client.login("ana@example.org", "passw\u{f6}rt of 2019").await.expect(200);
    let token = ana["token"].as_str().unwrap();
    let history = client.history(token).await;
    let facts: Vec<_> = history
        .iter()
        .map(|booking| (booking["show_id"].as_i64().unwrap(), booking["total"].as_str().unwrap().to_owned()))
        .collect();
    assert_eq!(facts.len(), 3, "{history:?}");
    let first = history.iter().find(|booking| booking["show_id"] == 11).unwrap();
    assert_eq!(
        (&first["status"], &first["total"], &first["currency"], &first["booked_at"]),
        (&"confirmed".into(), &"12.50".into(), &"EUR".into(), &Value::from("2024-05-01T12:00:00.000Z"))
    );
    assert_eq!((&first["theatre_name"], &first["hall_name"]), (&"Alpha".into(), &"Hall 1".into()));
    // The overlapping show is in another hall; its booking's user was not imported, so the seat is blocked.
    let overlapping = client.get("/api/shows/12").await.expect(200);
    assert_eq!(overlapping["hall_name"], "Hall 2");
    let seats = client.get("/api/shows/12/seats").await.expect(200);
    let seats: Vec<_> = seats.as_array().unwrap().iter().map(|seat| (&seat["row"], &seat["status"])).collect();
    assert_eq!(seats.len(), 4);
    assert_eq!(seats[3], (&"A".into(), &"booked".into()));
    let free = client.free_seats(12).await[0];
    client.book(token, "key", free).await.expect(201);
    client.sign_up("new@example.org").await;
    let theatres = client.get("/api/theatres").await.expect(200);
    let names: Vec<_> = theatres.as_array().unwrap().iter().map(|theatre| (&theatre["id"], &theatre["name"])).collect();
    assert_eq!(names, [(&3.into(), &Value::from("Alpha")), (&4.into(), &Value::from("Alpha (4)"))]);
    let movie = client.get("/api/movies/5").await.expect(200);
    assert_eq!((&movie["duration_minutes"], &movie["genres"]), (&167.into(), &serde_json::json!(["Drama", "Sci-Fi"])));
}

#[tokio::test(flavor = "multi_thread")]
async fn express_data_is_imported_once_embedded() {
    plain_schema(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn express_data_is_imported_once_postgres() {
    plain_schema(Kind::Postgres).await;
}

async fn mapped_schema(kind: Kind) {
    let (site, source) = (empty_site(kind).await, mapped_source().await);
    let told = import(&site, &source, &[]).failed(1);
    assert!(told.contains("have no price") && told.contains("--price"), "{told}");
    let told = import(&site, &source, &["--price", "7.5", "--duration", "100"]).succeeded();
    assert!(
        told.starts_with("Imported 1 users, 1 movies, 1 theatres with 1 new halls, 1 shows and 1 bookings.\n"),
        "{told}"
    );
    assert!(told.contains("  bookings 2: its status is `cancelled`"), "{told}");
    assert!(told.contains("1 seats were taken without a booking"), "{told}");
    let server = site.serve();
    let ana = server.client.login("ana@example.org", OLD_PASSWORD).await.expect(200);
    let history = server.client.history(ana["token"].as_str().unwrap()).await;
    assert_eq!((history.len(), &history[0]["total"]), (1, &"7.50".into()));
    let seat = &history[0]["seats"][0];
    assert_eq!((&seat["row"], &seat["number"]), (&"B".into(), &7.into()));
    let show = server.client.get("/api/shows/1").await.expect(200);
    // A local time of the theatre.
    assert_eq!(
        (&show["start_time"], &show["end_time"]),
        (&"2031-07-01T18:00:00.000Z".into(), &"2031-07-01T19:40:00.000Z".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn express_data_with_other_names_is_imported_embedded() {
    mapped_schema(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn express_data_with_other_names_is_imported_postgres() {
    mapped_schema(Kind::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_schema_is_refused_with_everything_that_is_missing() {
    let (site, source) = (Site::embedded(), TestDatabase::create_empty().await.unwrap());
    let schema = "CREATE TABLE users (id integer, email text); CREATE TABLE movies (id integer, title text)";
    source.execute(schema).await.unwrap();
    let told = import(&site, &source, &["--price", "1"]).failed(1);
    for part in [
        "`users` has no column `password` or `passwordhash`",
        "no table `theatres` or `theaters`",
        "no table `shows`",
        "no table `seats`",
        "no table `bookings`",
        "docs/express.md",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    let told = site.run(&["import"], "").failed(1);
    assert!(told.contains("--from-express"), "{told}");
    let told = site.run(&[&["import", "--from-express", "nonsense"], &OPTIONS[..]].concat(), "").failed(1);
    assert!(told.contains("--from-express"), "{told}");
}
