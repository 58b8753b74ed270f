//! The work of the cinema's staff: who may do what, movies, theatres, halls, users, and the audit log.

use chrono::{Days, Utc};
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, PASSWORD, TestApp, User};
use crate::openapi::{self, Ids, Operation, Session, operations};

on_both_stores!(
    every_staff_operation_requires_its_role,
    staff_of_another_theatre_are_refused,
    movies_are_managed,
    invalid_fields_of_a_movie_are_named,
    changes_need_the_version_that_was_read,
    malformed_if_match_changes_nothing,
    theatres_and_halls_are_managed,
    invalid_fields_of_a_theatre_are_named,
    objects_with_upcoming_shows_stay,
    changes_with_a_key_are_made_once,
    users_get_roles_and_theatres,
    disabled_user_is_out_at_once_on_every_server,
    last_administrator_cannot_be_demoted_or_disabled,
    bookings_are_found_by_staff_of_their_theatre,
    staff_cancel_for_a_customer_beyond_the_cutoff,
    audit_log_shows_changes_without_secrets,
    lists_are_searched_and_paged,
);

async fn theatre_ids(app: &TestApp) -> Vec<i64> {
    app.get("/api/theatres").send().await.column("id").iter().map(|id| id.as_i64().unwrap()).collect()
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("the response has a tag").to_owned()
}

fn patch(app: &TestApp, path: &str, tag: &str, body: &Value) -> Call {
    app.call(Method::PATCH, path).header("if-match", tag).json(body)
}

fn movie(title: &str) -> Value {
    json!({
        "title": title, "description": "Line one\nline two", "duration_minutes": 165, "genres": ["Drama"],
        "language": "Russian", "certificate": "12", "poster_url": "https://example.org/p.jpg",
        "release_date": "1972-03-20",
    })
}

fn theatre(name: &str) -> Value {
    json!({
        "name": name, "location": "Paris", "timezone": "Europe/Paris", "currency": "EUR", "tax_rate": "5.50",
        "cleaning_minutes": 20,
    })
}

/// Returns a call that satisfies the parts that it requires, as far as rights are concerned.
fn valid(operation: &Operation, app: &TestApp, ids: &Ids<'_>) -> Call {
    let day = Utc::now().date_naive() + Days::new(200);
    let body = match (operation.method.as_str(), operation.path.as_str()) {
        ("POST", "/api/admin/movies") => movie("Mirror"),
        ("POST", "/api/admin/theatres") => theatre("Rex"),
        ("POST", "/api/admin/halls") => {
            json!({ "theatre_id": ids["theatre_id"].parse::<i64>().unwrap(), "name": "New" })
        }
        ("POST", "/api/admin/shows") => json!({
            "movie_id": ids["movie_id"].parse::<i64>().unwrap(), "hall_id": ids["hall_id"].parse::<i64>().unwrap(),
            "price_list_id": ids["price_list_id"].parse::<i64>().unwrap(), "start_time": format!("{day}T20:00"), "format": "2D",
        }),
        ("POST", "/api/admin/programmes") => json!({
            "movie_id": ids["movie_id"].parse::<i64>().unwrap(), "hall_id": ids["hall_id"].parse::<i64>().unwrap(),
            "price_list_id": ids["price_list_id"].parse::<i64>().unwrap(), "first_day": day.to_string(), "last_day": day.to_string(),
            "times": ["20:00"], "format": "2D",
        }),
        ("POST", path) if path.ends_with("/cancel") => json!({ "reason": "The projector is broken" }),
        ("POST", "/api/admin/halls/{hall_id}/layouts") => json!({ "plan": "category s = standard\nA | ss" }),
        ("POST" | "DELETE", path) if path.ends_with("/blocks") => {
            json!({ "seat_ids": [app.world.main[20].id.0], "reason": "For the press" })
        }
        ("POST", path) if path.ends_with("/sales") => {
            json!({ "seat_ids": [app.world.main[21].id.0], "payment": "cash" })
        }
        ("POST", "/api/admin/bookings/{booking_id}/seats") => {
            json!({ "seat_ids": [app.world.main[22].id.0], "reason": "A wheelchair" })
        }
        ("POST", "/api/admin/ticket-types") => json!({ "code": "child", "names": { "en": "Child" } }),
        ("POST", "/api/admin/price-lists") => json!({
            "theatre_id": ids["theatre_id"].parse::<i64>().unwrap(), "name": "New",
            "prices": [{ "category": "standard", "ticket_type": "adult", "price": "9.00" }],
        }),
        ("POST", "/api/admin/imports") => {
            json!({ "movies": [] , "ticket_types": [{ "code": "senior", "names": { "en": "Senior" } }] })
        }
        _ => json!({}),
    };
    let call = operation.call_with(app, ids, &body).header("if-match", "*");
    // A key for the calls that require one.
    if operation.path.ends_with("/sales") { call.key("sale") } else { call }
}

async fn every_staff_operation_requires_its_role(app: &TestApp) {
    let ids = openapi::ids(app, &app.sign_up().await).await;
    let theatre: i64 = ids["theatre_id"].parse().unwrap();
    let (customer, staff, admin) =
        (app.sign_up().await, app.sign_up_staff(&[theatre]).await, app.sign_up_admin().await);
    let mut checked = 0;
    for operation in operations().iter().filter(|operation| operation.path.starts_with("/api/admin/")) {
        let is_admins = match operation.session {
            Session::Staff => false,
            Session::Admin => true,
            other => panic!("{} {} requires no role: {other:?}", operation.method, operation.path),
        };
        let call = || valid(operation, app, &ids);
        call().send().await.problem(401, "unauthenticated");
        call().token("no.valid.token").send().await.problem(401, "unauthenticated");
        call().by(&customer).send().await.problem(403, "forbidden");
        let answer = call().by(&staff).send().await;
        if is_admins {
            answer.problem(403, "forbidden");
        } else {
            assert!(!matches!(answer.status, 401 | 403 | 404), "{answer:?}");
        }
        let answer = call().by(&admin).send().await;
        assert!(!matches!(answer.status, 401 | 403 | 404 | 500), "{answer:?}");
        checked += 1;
    }
    assert!(checked >= 22, "{checked}");
}

async fn staff_of_another_theatre_are_refused(app: &TestApp) {
    let ids = openapi::ids(app, &app.sign_up().await).await;
    let theatre: i64 = ids["theatre_id"].parse().unwrap();
    let others: Vec<i64> = theatre_ids(app).await.into_iter().filter(|id| *id != theatre).collect();
    let (elsewhere, nowhere) = (app.sign_up_staff(&others).await, app.sign_up_staff(&[]).await);
    let of_theatre = operations().iter().filter(|operation| {
        let names_it = operation
            .path_parameters()
            .iter()
            .any(|name| ["theatre_id", "hall_id", "layout_id", "price_list_id", "show_id"].contains(name));
        // Bookings of other theatres are not found.
        let is_bookings = operation.path.contains("/bookings");
        operation.session == Session::Staff && !is_bookings && (names_it || operation.method == Method::POST)
    });
    let mut checked = 0;
    for operation in of_theatre {
        for user in [&elsewhere, &nowhere] {
            valid(operation, app, &ids).by(user).send().await.problem(403, "forbidden");
        }
        checked += 1;
    }
    assert!(checked >= 6, "{checked}");
    let halls = format!("/api/admin/halls?theatre_id={theatre}");
    app.get(&halls).by(&elsewhere).send().await.problem(403, "forbidden");
    let listed = app.get("/api/admin/theatres").by(&elsewhere).send().await.ok(200).column("id");
    assert_eq!(listed, others.iter().map(|id| json!(id)).collect::<Vec<_>>());
    assert_eq!(app.get("/api/admin/halls").by(&nowhere).send().await.ok(200).list(), [Value::Null; 0]);
    assert_eq!(app.get("/api/admin/theatres").by(&nowhere).send().await.ok(200).list(), [Value::Null; 0]);
}

async fn movies_are_managed(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let created = app.post("/api/admin/movies").by(&admin).json(&movie("Solaris")).send().await.ok(201);
    let id = created.json()["id"].as_i64().unwrap();
    let path = format!("/api/admin/movies/{id}");
    assert_eq!(created.header("location"), Some(path.as_str()));
    assert_eq!((tag(&created).as_str(), &created.json()["version"]), ("\"1\"", &json!(1)));
    let created = created.json();
    for (name, value) in movie("Solaris").as_object().unwrap() {
        assert_eq!(created[name], *value, "{name}");
    }
    let read = app.get(&path).by(&admin).send().await.ok(200);
    assert_eq!((read.json(), tag(&read)), (created, "\"1\"".to_owned()));
    assert_eq!(app.get(&format!("/api/movies/{id}")).send().await.ok(200).json()["title"], "Solaris");
    let change = json!({ "duration_minutes": 166, "poster_url": "", "genres": [] });
    let changed = patch(app, &path, "\"1\"", &change).by(&admin).send().await.ok(200);
    assert_eq!(tag(&changed), "\"2\"");
    let body = changed.json();
    assert_eq!(
        (&body["duration_minutes"], &body["poster_url"], &body["genres"]),
        (&json!(166), &Value::Null, &json!([]))
    );
    assert_eq!((&body["title"], &body["certificate"]), (&json!("Solaris"), &json!("12")));
    app.post("/api/admin/movies").by(&admin).json(&movie("Solaris")).send().await.problem(409, "name_taken");
    let listed = async |path: &str| app.get(path).by(&admin).send().await.ok(200).column("id").contains(&json!(id));
    assert!(listed("/api/movies?search=solaris").await);
    app.call(Method::DELETE, &path)
        .header("if-match", "\"1\"")
        .by(&admin)
        .send()
        .await
        .problem(412, "precondition_failed");
    app.call(Method::DELETE, &path).by(&admin).send().await.ok(204);
    app.call(Method::DELETE, &path).by(&admin).send().await.ok(204);
    assert!(!listed("/api/movies?search=solaris").await && listed("/api/admin/movies?search=SOLARIS").await);
    assert!(app.get(&path).by(&admin).send().await.ok(200).json()["retired_at"].is_string());
    // Bookings of the past refer to it.
    app.get(&format!("/api/movies/{id}")).send().await.ok(200);
    app.get("/api/admin/movies/987654").by(&admin).send().await.problem(404, "movie_not_found");
    patch(app, "/api/admin/movies/987654", "*", &json!({})).by(&admin).send().await.problem(404, "movie_not_found");
}

async fn invalid_fields_of_a_movie_are_named(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let mistakes_of = async |body: Value| app.post("/api/admin/movies").by(&admin).json(&body).send().await.mistakes();
    assert_eq!(
        mistakes_of(json!({})).await,
        ["title required", "duration_minutes required", "language required", "release_date required"]
    );
    let wrong = json!({
        "title": "a\nb", "description": "a\u{0}", "duration_minutes": 1_800, "genres": ["Drama", "drama"],
        "language": " ", "certificate": "x".repeat(21), "poster_url": "javascript:alert(1)", "release_date": "2026-02-30",
    });
    let expected = [
        "title invalid_character",
        "description invalid_character",
        "duration_minutes out_of_range",
        "genres[1] repeated",
        "language too_short",
        "certificate too_long",
        "poster_url invalid",
        "release_date invalid",
    ];
    assert_eq!(mistakes_of(wrong).await, expected);
    for (field, value, code) in [
        ("duration_minutes", json!(0), "out_of_range"),
        ("duration_minutes", json!("165"), "wrong_type"),
        ("duration_minutes", json!(1e300), "out_of_range"),
        ("genres", json!("Drama"), "wrong_type"),
        ("genres", json!(vec!["x"; 11]), "too_many"),
        ("release_date", json!("0001-01-01"), "invalid"),
        ("title", json!("x".repeat(201)), "too_long"),
        ("title", json!("Zero\u{200b}width"), "invalid_character"),
    ] {
        let mut body = movie("Solaris");
        body[field] = value;
        assert_eq!(mistakes_of(body).await, [format!("{field} {code}")]);
    }
    assert_eq!(app.rows("audit_log").await, 0);
    // A formula is a title like any other.
    app.post("/api/admin/movies").by(&admin).json(&movie("=1+1")).send().await.ok(201);
}

async fn changes_need_the_version_that_was_read(app: &TestApp) {
    let (admin, ids) = (app.sign_up_admin().await, openapi::ids(app, &app.sign_up().await).await);
    for operation in operations().iter().filter(|operation| operation.path.starts_with("/api/admin/")) {
        if operation.method == Method::PATCH {
            operation.call(app, &ids).by(&admin).send().await.problem(428, "precondition_required");
        }
    }
    let path = format!("/api/admin/movies/{}", ids["movie_id"]);
    let first = tag(&app.get(&path).by(&admin).send().await.ok(200));
    let rename = |title: &str| json!({ "title": title });
    let second = tag(&patch(app, &path, &first, &rename("First")).by(&admin).send().await.ok(200));
    patch(app, &path, &first, &rename("Lost")).by(&admin).send().await.problem(412, "precondition_failed");
    patch(app, &path, &format!("{first}, {second}"), &rename("Second")).by(&admin).send().await.ok(200);
    patch(app, &path, "*", &rename("Third")).by(&admin).send().await.ok(200);
    assert_eq!(app.get(&path).by(&admin).send().await.ok(200).json()["title"], "Third");
    // Of two changes of the same version, one is refused.
    let tag = tag(&app.get(&path).by(&admin).send().await.ok(200));
    let (left, right) = (rename("Left"), rename("Right"));
    let answers =
        futures::future::join_all([&left, &right].map(|body| patch(app, &path, &tag, body).by(&admin).send()));
    let mut statuses: Vec<_> = answers.await.iter().map(|answer| answer.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412]);
}

async fn malformed_if_match_changes_nothing(app: &TestApp) {
    let (admin, ids) = (app.sign_up_admin().await, openapi::ids(app, &app.sign_up().await).await);
    let path = format!("/api/admin/movies/{}", ids["movie_id"]);
    let before = app.get(&path).by(&admin).send().await.ok(200);
    let body = json!({ "title": "Lost" });
    for wrong in ["W/\"1\"", "\"\"", "\"x\"", "\"01\"", "\"9\", W/\"1\"", "\"-1\"", "\"99999999999999999999\""] {
        patch(app, &path, wrong, &body).by(&admin).send().await.problem(412, "precondition_failed");
    }
    for malformed in ["1", "abc", "\"1"] {
        assert_eq!(patch(app, &path, malformed, &body).by(&admin).send().await.mistakes(), ["If-Match invalid"]);
    }
    assert_eq!(app.get(&path).by(&admin).send().await.ok(200).json(), before.json());
}

async fn theatres_and_halls_are_managed(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let created = app.post("/api/admin/theatres").by(&admin).json(&theatre("Rex")).send().await.ok(201);
    let id = created.json()["id"].as_i64().unwrap();
    for (name, value) in theatre("Rex").as_object().unwrap() {
        assert_eq!(created.json()[name], *value, "{name}");
    }
    let staff = app.sign_up_staff(&[id]).await;
    let path = format!("/api/admin/theatres/{id}");
    let body = json!({ "tax_rate": "10", "cleaning_minutes": 5 });
    let changed = patch(app, &path, &tag(&created), &body).by(&staff).send().await.ok(200).json();
    assert_eq!(
        (&changed["tax_rate"], &changed["cleaning_minutes"], &changed["name"]),
        (&json!("10.00"), &json!(5), &json!("Rex"))
    );
    let hall = json!({ "theatre_id": id, "name": "Grande salle" });
    let created = app.post("/api/admin/halls").by(&staff).json(&hall).send().await.ok(201);
    let hall_id = created.json()["id"].as_i64().unwrap();
    assert_eq!((&created.json()["seats_total"], &created.json()["theatre_id"]), (&json!(0), &json!(id)));
    app.post("/api/admin/halls").by(&staff).json(&hall).send().await.problem(409, "name_taken");
    let hall_path = format!("/api/admin/halls/{hall_id}");
    patch(app, &hall_path, "\"1\"", &json!({ "name": "Petite salle" })).by(&staff).send().await.ok(200);
    let public = app.get(&format!("/api/theatres/{id}")).send().await.ok(200).json();
    assert_eq!(public["halls"], json!([{ "id": hall_id, "name": "Petite salle", "seats_total": 0 }]));
    let listed = app.get(&format!("/api/admin/halls?theatre_id={id}")).by(&staff).send().await.ok(200);
    assert_eq!(listed.column("name"), [json!("Petite salle")]);
    app.call(Method::DELETE, &hall_path).by(&staff).send().await.ok(204);
    app.call(Method::DELETE, &path).by(&admin).send().await.ok(204);
    assert!(!theatre_ids(app).await.contains(&id));
    let hall = json!({ "theatre_id": id, "name": "New" });
    app.post("/api/admin/halls").by(&staff).json(&hall).send().await.problem(404, "theatre_not_found");
    app.get("/api/admin/theatres/987654").by(&admin).send().await.problem(404, "theatre_not_found");
    app.get("/api/admin/halls/987654").by(&admin).send().await.problem(404, "hall_not_found");
}

async fn invalid_fields_of_a_theatre_are_named(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    for (field, value, code) in [
        ("name", json!(""), "too_short"),
        ("name", json!("x".repeat(101)), "too_long"),
        ("timezone", json!("Europe/Bonn"), "invalid"),
        ("timezone", json!("CEST"), "invalid"),
        ("timezone", json!(2), "wrong_type"),
        ("currency", json!("eur"), "invalid"),
        ("currency", json!("€"), "invalid"),
        ("tax_rate", json!("-1"), "invalid"),
        ("tax_rate", json!("100"), "invalid"),
        ("tax_rate", json!(7), "wrong_type"),
        ("cleaning_minutes", json!(241), "out_of_range"),
        ("cleaning_minutes", json!(-1), "out_of_range"),
        ("cleaning_minutes", json!(1.5), "wrong_type"),
    ] {
        let mut body = theatre("Rex");
        body[field] = value.clone();
        let answer = app.post("/api/admin/theatres").by(&admin).json(&body).send().await;
        assert_eq!(answer.mistakes(), [format!("{field} {code}")], "{value}");
    }
    let hall = json!({ "theatre_id": 987_654, "name": "New" });
    app.post("/api/admin/halls").by(&admin).json(&hall).send().await.problem(404, "theatre_not_found");
    assert_eq!(app.rows("audit_log").await, 0);
}

async fn objects_with_upcoming_shows_stay(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let show = app.get(&format!("/api/shows/{}", app.world.soon)).send().await.ok(200).json();
    for (object, code) in [("movie", "movie_in_use"), ("theatre", "theatre_in_use"), ("hall", "hall_in_use")] {
        let path = format!("/api/admin/{object}s/{}", show[format!("{object}_id")]);
        app.call(Method::DELETE, &path).by(&admin).send().await.problem(409, code);
        assert_eq!(app.get(&path).by(&admin).send().await.ok(200).json()["retired_at"], Value::Null);
    }
    let path = format!("/api/admin/theatres/{}", show["theatre_id"]);
    for body in [json!({ "timezone": "Asia/Tokyo" }), json!({ "currency": "USD" })] {
        patch(app, &path, "*", &body).by(&admin).send().await.problem(409, "theatre_in_use");
    }
}

async fn changes_with_a_key_are_made_once(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let create = async |key: &str, title: &str| {
        app.post("/api/admin/movies").by(&admin).key(key).json(&movie(title)).send().await
    };
    let first = create("k", "Solaris").await.ok(201);
    let again = create("k", "Solaris").await.ok(201);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&first.bytes, Some("true")));
    assert_eq!((again.header("location"), tag(&again)), (first.header("location"), tag(&first)));
    create("k", "Mirror").await.problem(422, "idempotency_key_reused");
    // A retry of a change gets its answer, although the version has moved on.
    let path = first.header("location").unwrap();
    let rename = || patch(app, path, "\"1\"", &json!({ "title": "Solyaris" })).by(&admin).key("rename");
    let renamed = rename().send().await.ok(200);
    patch(app, path, "*", &json!({ "certificate": "6" })).by(&admin).send().await.ok(200);
    let again = rename().send().await.ok(200);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&renamed.bytes, Some("true")));
    // Another administrator has other keys.
    let other = app.sign_up_admin().await;
    app.post("/api/admin/movies").by(&other).key("k").json(&movie("Mirror")).send().await.ok(201);
    assert_eq!(app.rows("audit_log").await, 4);
}

async fn users_get_roles_and_theatres(app: &TestApp) {
    let (admin, ana) = (app.sign_up_admin().await, app.sign_up().await);
    let theatres = theatre_ids(app).await;
    let path = format!("/api/admin/users/{}", ana.id);
    let read = app.get(&path).by(&admin).send().await.ok(200);
    let before = read.json();
    assert_eq!(
        (&before["role"], &before["theatre_ids"], &before["disabled"]),
        (&json!("customer"), &json!([]), &json!(false))
    );
    app.get("/api/admin/movies").by(&ana).send().await.problem(403, "forbidden");
    let grant = json!({ "role": "staff", "theatre_ids": [theatres[1], theatres[0], theatres[1]] });
    let granted = patch(app, &path, &tag(&read), &grant).by(&admin).send().await.ok(200).json();
    let mut sorted = theatres.clone();
    sorted.sort_unstable();
    assert_eq!((&granted["role"], &granted["theatre_ids"]), (&json!("staff"), &json!(sorted[..2])));
    // At once, with the token of before, whatever role that names.
    app.get("/api/admin/movies").by(&ana).send().await.ok(200);
    patch(app, &path, "*", &json!({ "theatre_ids": [987_654] }))
        .by(&admin)
        .send()
        .await
        .problem(404, "theatre_not_found");
    let wrong = patch(app, &path, "*", &json!({ "role": "root", "theatre_ids": [0], "disabled": 1 })).by(&admin);
    let expected = ["role invalid", "theatre_ids[0] out_of_range", "disabled wrong_type"];
    assert_eq!(wrong.send().await.mistakes(), expected);
    patch(app, &path, "*", &json!({ "role": "customer" })).by(&admin).send().await.ok(200);
    app.get("/api/admin/movies").by(&ana).send().await.problem(401, "unauthenticated");
    let again = app.login(&ana.email, PASSWORD).await.user();
    app.get("/api/admin/movies").by(&again).send().await.problem(403, "forbidden");
    app.get("/api/admin/users/987654").by(&admin).send().await.problem(404, "user_not_found");
}

async fn disabled_user_is_out_at_once_on_every_server(app: &TestApp) {
    let (admin, ana) = (app.sign_up_admin().await, app.sign_up_staff(&theatre_ids(app).await).await);
    app.me(&ana.token).await.ok(200);
    let disable = async |disabled: bool| {
        let path = format!("/api/admin/users/{}", ana.id);
        patch(app, &path, "*", &json!({ "disabled": disabled })).by(&admin).send().await.ok(200)
    };
    disable(true).await;
    app.me(&ana.token).await.problem(401, "unauthenticated");
    app.get("/api/admin/movies").by(&ana).send().await.problem(401, "unauthenticated");
    app.refresh(&ana.refresh_token).await.problem(401, "unauthenticated");
    app.login(&ana.email, PASSWORD).await.problem(403, "account_disabled");
    app.login(&ana.email, "not the password").await.problem(401, "invalid_credentials");
    let seat = json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[0].id.0 });
    app.book(&ana, "k", &seat).await.problem(401, "unauthenticated");
    if app.is_on_postgres() {
        let other = app.another_server().await;
        let authority = other.address.to_string();
        app.call_at(&authority, Method::GET, "/api/me").by(&ana).send().await.problem(401, "unauthenticated");
        app.post_at(&authority, "/api/bookings")
            .by(&ana)
            .key("k")
            .json(&seat)
            .send()
            .await
            .problem(401, "unauthenticated");
        let movies = app.call_at(&authority, Method::GET, "/api/admin/movies").by(&ana).send().await;
        movies.problem(401, "unauthenticated");
    }
    disable(false).await;
    let back = app.login(&ana.email, PASSWORD).await.user();
    app.get("/api/admin/movies").by(&back).send().await.ok(200);
    app.me(&ana.token).await.problem(401, "unauthenticated");
}

async fn last_administrator_cannot_be_demoted_or_disabled(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let path = format!("/api/admin/users/{}", admin.id);
    for body in [json!({ "role": "customer" }), json!({ "role": "staff" }), json!({ "disabled": true })] {
        patch(app, &path, "*", &body).by(&admin).send().await.problem(409, "conflict");
    }
    let second = app.sign_up_admin().await;
    patch(app, &path, "*", &json!({ "role": "customer" })).by(&second).send().await.ok(200);
    app.get("/api/admin/users").by(&admin).send().await.problem(401, "unauthenticated");
}

async fn audit_log_shows_changes_without_secrets(app: &TestApp) {
    let (admin, ana) = (app.sign_up_admin().await, app.sign_up().await);
    let theatres = theatre_ids(app).await;
    let staff = app.sign_up_staff(&theatres[..1]).await;
    let post = app.post("/api/admin/movies").by(&admin).header("x-request-id", "req-7").json(&movie("Solaris"));
    let movie_id = post.send().await.ok(201).json()["id"].clone();
    let users = format!("/api/admin/users/{}", ana.id);
    patch(app, &users, "*", &json!({ "role": "staff" })).by(&admin).send().await.ok(200);
    let place = format!("/api/admin/theatres/{}", theatres[0]);
    patch(app, &place, "*", &json!({ "cleaning_minutes": 30 })).by(&staff).send().await.ok(200);
    let log = app.get("/api/admin/audit").by(&admin).send().await.ok(200);
    let [cleaned, granted, added] = &log.list()[..] else { panic!("three entries: {log:?}") };
    let facts = |entry: &Value| {
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        (text("action"), text("object"), entry["object_id"].clone(), entry["actor_id"].clone())
    };
    assert_eq!(facts(added), ("create".into(), "movie".into(), movie_id, json!(admin.id)));
    assert_eq!(facts(granted), ("update".into(), "user".into(), json!(ana.id), json!(admin.id)));
    assert_eq!(facts(cleaned), ("update".into(), "theatre".into(), json!(theatres[0]), json!(staff.id)));
    assert_eq!(
        (&added["request_id"], &added["before"], &added["after"]["title"]),
        (&json!("req-7"), &json!({}), &json!("Solaris"))
    );
    assert_eq!((&granted["before"], &granted["after"]), (&json!({ "role": "customer" }), &json!({ "role": "staff" })));
    assert!(added["address"].as_str().unwrap().parse::<std::net::IpAddr>().is_ok(), "{added}");
    for secret in ["password", "token", "argon2", &ana.email, "Núñez"] {
        assert!(!log.text().contains(secret), "{secret}");
    }
    let found = async |query: &str, user: &User| {
        app.get(&format!("/api/admin/audit?{query}")).by(user).send().await.ok(200).list().len()
    };
    assert_eq!((found("object=movie", &admin).await, found("object=hall", &admin).await), (1, 0));
    assert_eq!(found(&format!("object=user&object_id={}", ana.id), &admin).await, 1);
    assert_eq!(found(&format!("actor_id={}", staff.id), &admin).await, 1);
    let at = granted["at"].as_str().unwrap();
    assert_eq!(found(&format!("to={at}"), &admin).await, 1);
    // Staff see the entries of their theatres.
    assert_eq!((found("", &staff).await, found("object=movie", &staff).await), (1, 0));
    let wrong = app.get("/api/admin/audit?object=password&object_id=0").by(&admin).send().await;
    assert_eq!(wrong.mistakes(), ["object invalid", "object_id invalid"]);
}

async fn lists_are_searched_and_paged(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    for number in 0..5 {
        let body = movie(&format!("Käfer {number}"));
        app.post("/api/admin/movies").by(&admin).json(&body).send().await.ok(201);
    }
    let mut titles = Vec::new();
    let mut next = Some("/api/admin/movies?search=K%C3%84FER&limit=2".to_owned());
    while let Some(path) = next {
        let page = app.get(&path).by(&admin).send().await.ok(200);
        assert!(page.list().len() <= 2);
        titles.extend(page.column("title"));
        next = page.next_page();
    }
    assert_eq!(titles, (0..5).map(|number| json!(format!("Käfer {number}"))).collect::<Vec<_>>());
    let total = app.rows("audit_log").await;
    let mut ids: Vec<i64> = Vec::new();
    let mut next = Some("/api/admin/audit?limit=2".to_owned());
    while let Some(path) = next {
        let page = app.get(&path).by(&admin).send().await.ok(200);
        ids.extend(page.column("id").iter().map(|id| id.as_i64().unwrap()));
        next = page.next_page();
    }
    assert!(ids.is_sorted_by(|a, b| a > b) && ids.len() == usize::try_from(total).unwrap(), "{ids:?}");
    let users =
        async |query: &str| app.get(&format!("/api/admin/users?{query}")).by(&admin).send().await.ok(200).list().len();
    app.sign_up_many(3).await;
    assert_eq!((users("search=N%C3%BA%C3%91ez").await, users("role=admin").await, users("limit=2").await), (4, 1, 2));
    assert_eq!(users(&format!("search={}", admin.email)).await, 1);
    assert_eq!(app.get("/api/admin/users?role=root").by(&admin).send().await.mistakes(), ["role invalid"]);
    assert_eq!(app.get("/api/admin/users?cursor=x").by(&admin).send().await.mistakes(), ["cursor invalid"]);
}

async fn bookings_are_found_by_staff_of_their_theatre(app: &TestApp) {
    let (ana, admin) = (app.sign_up().await, app.sign_up_admin().await);
    let seat = |at: usize| json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[at].id.0 });
    let first = app.book(&ana, "first", &seat(0)).await.booking();
    let second = app.book(&ana, "second", &seat(1)).await.booking();
    let later = json!({ "show_id": app.world.later.0, "seat_id": app.world.beta[0].id.0 });
    let elsewhere = app.book(&app.sign_up().await, "later", &later).await.booking();
    let show = app.get(&format!("/api/shows/{}", app.world.soon)).send().await.ok(200).json();
    let theatre = show["theatre_id"].as_i64().unwrap();
    let staff = app.sign_up_staff(&[theatre]).await;
    let found = async |query: &str, user: &User| {
        app.get(&format!("/api/admin/bookings?{query}")).by(user).send().await.ok(200).column("id")
    };
    let (first_id, second_id, elsewhere_id) = (&first["id"], &second["id"], &elsewhere["id"]);
    assert_eq!(found("", &admin).await, [elsewhere_id, second_id, first_id].map(Clone::clone));
    assert_eq!(found("", &staff).await, [second_id.clone(), first_id.clone()]);
    let reference = first["reference"].as_str().unwrap().to_lowercase();
    assert_eq!(found(&format!("search={reference}"), &staff).await, std::slice::from_ref(first_id));
    assert_eq!(found(&format!("search={}", ana.email.to_uppercase()), &admin).await.len(), 2);
    assert_eq!(found("search=n%C3%BA%C3%91ez", &admin).await.len(), 3);
    assert_eq!(found(&format!("show_id={}", app.world.later), &admin).await, std::slice::from_ref(elsewhere_id));
    assert_eq!(found(&format!("show_id={}", app.world.later), &staff).await, [Value::Null; 0]);
    assert_eq!(found("status=cancelled", &admin).await, [Value::Null; 0]);
    let day = show["start_time"].as_str().unwrap().parse::<chrono::DateTime<Utc>>().unwrap();
    let day = day.with_timezone(&chrono_tz::Europe::Berlin).date_naive();
    assert_eq!(found(&format!("date={day}"), &staff).await.len(), 2);
    assert_eq!(found("date=2001-01-01", &admin).await, [Value::Null; 0]);
    let page = app.get("/api/admin/bookings?limit=2").by(&admin).send().await.ok(200);
    let rest = app.get(&page.next_page().unwrap()).by(&admin).send().await.ok(200).column("id");
    assert_eq!(rest, std::slice::from_ref(first_id));
    let one = app.get(&format!("/api/admin/bookings/{first_id}")).by(&staff).send().await.ok(200).json();
    assert_eq!((&one["customer_email"], &one["customer_name"]), (&json!(ana.email), &json!("Ana Núñez")));
    assert_eq!((&one["theatre_id"], &one["reference"]), (&json!(theatre), &first["reference"]));
    let path = format!("/api/admin/bookings/{elsewhere_id}");
    app.get(&path).by(&staff).send().await.problem(404, "booking_not_found");
    let reason = json!({ "reason": "A mistake" });
    app.post(&format!("{path}/cancel")).by(&staff).json(&reason).send().await.problem(404, "booking_not_found");
    app.get("/api/admin/bookings/987654").by(&admin).send().await.problem(404, "booking_not_found");
    app.get(&path).by(&admin).send().await.ok(200);
}

async fn staff_cancel_for_a_customer_beyond_the_cutoff(app: &TestApp) {
    let ana = app.sign_up().await;
    let show = app.get(&format!("/api/shows/{}", app.world.soon)).send().await.ok(200).json();
    let theatre = show["theatre_id"].as_i64().unwrap();
    let staff = app.sign_up_staff(&[theatre]).await;
    let seat = json!({ "show_id": app.world.soon.0, "seat_id": app.world.main[0].id.0 });
    let booking = app.book(&ana, "k", &seat).await.booking();
    // The show begins in some minutes.
    let (start, end) = (app.backend.instant(600), app.backend.instant(7_200));
    let times = format!("start_time = {start}, end_time = {end}, hall_free_at = {end}");
    app.backend.execute("UPDATE shows SET status = 'cancelled' WHERE format = 'started'").await;
    app.backend.execute(&format!("UPDATE shows SET {times} WHERE id = {}", app.world.soon)).await;
    let own = app.post(&format!("/api/bookings/{}/cancel", booking["id"]));
    own.by(&ana).send().await.problem(409, "booking_not_cancellable");
    let path = format!("/api/admin/bookings/{}/cancel", booking["id"]);
    let cancel = || app.post(&path).by(&staff).key("c").json(&json!({ "reason": "The projector is broken" }));
    assert_eq!(app.post(&path).by(&staff).json(&json!({})).send().await.mistakes(), ["reason required"]);
    assert_eq!(
        app.post(&path).by(&staff).json(&json!({ "reason": " " })).send().await.mistakes(),
        ["reason too_short"]
    );
    let cancelled = cancel().send().await.ok(200);
    assert_eq!((&cancelled.json()["status"], &cancelled.json()["id"]), (&json!("cancelled"), &booking["id"]));
    let again = cancel().send().await.ok(200);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&cancelled.bytes, Some("true")));
    app.post(&path).by(&staff).json(&json!({ "reason": "Again" })).send().await.ok(200);
    assert_eq!(app.seat(app.world.soon.0, app.world.main[0].id.0, None).await["status"], "available");
    let entries = app.get("/api/admin/audit?object=booking").by(&staff).send().await.ok(200).list();
    let [entry] = &entries[..] else { panic!("one entry: {entries:?}") };
    let facts = (&entry["action"], &entry["object_id"], &entry["theatre_id"]);
    assert_eq!(facts, (&json!("cancel"), &booking["id"], &json!(theatre)));
    assert_eq!((&entry["before"], &entry["actor_id"]), (&json!({ "status": "confirmed" }), &json!(staff.id)));
    assert_eq!(entry["after"], json!({ "status": "cancelled", "reason": "The projector is broken" }));
    let is_true = if app.is_on_postgres() { "true" } else { "1" };
    assert_eq!(app.rows(&format!("bookings WHERE counts_as_cancellation = {is_true}")).await, 0);
    assert_eq!(app.rows("outbox WHERE kind = 'booking_cancelled'").await, 1);
}
