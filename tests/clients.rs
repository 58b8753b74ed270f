//! Clients of the former API still work: their calls, in their order.

use chrono::DateTime;
use port_contracts::world::STALKER;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, ORIGIN, PASSWORD, TestApp};

on_both_stores!(page_of_the_former_api_still_works, page_shows_the_error_message);

/// Adds the headers that axios sends from a page.
fn from_the_page(call: Call) -> Call {
    call.header("origin", ORIGIN)
        .header("referer", format!("{ORIGIN}/"))
        .header("accept", "application/json, text/plain, */*")
        .header("accept-encoding", "identity")
        .header("sec-fetch-mode", "cors")
        .header("user-agent", "Mozilla/5.0")
}

/// Sends a preflight request as a browser does, and checks that the browser would continue.
async fn preflight(app: &TestApp, path: &str, method: &str, headers: &str) {
    let call = app.call(Method::OPTIONS, path).header("origin", ORIGIN).header("access-control-request-method", method);
    let answer = call.header("access-control-request-headers", headers).send().await;
    assert!(matches!(answer.status, 200 | 204), "{answer:?}");
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN));
    assert!(answer.header_list("access-control-allow-methods").contains(&method.to_lowercase()), "{answer:?}");
    let allowed = answer.header_list("access-control-allow-headers");
    assert!(headers.split(',').all(|name| allowed.contains(&name.to_owned())), "{answer:?}");
}

/// Sends a call from the page, and checks that the page may read the response.
async fn send(call: Call) -> Answer {
    let answer = from_the_page(call).send().await;
    assert_eq!(answer.header("access-control-allow-origin"), Some(ORIGIN), "{answer:?}");
    answer
}

async fn post(app: &TestApp, path: &str, body: &Value) -> Answer {
    preflight(app, path, "POST", "content-type").await;
    send(app.post(path).json(body)).await
}

async fn page_of_the_former_api_still_works(app: &TestApp) {
    let new = json!({ "name": "Ana", "email": "ana@example.org", "password": PASSWORD });
    post(app, "/api/auth/register", &new).await.ok(201);
    let login =
        post(app, "/api/auth/login", &json!({ "email": "ana@example.org", "password": PASSWORD })).await.ok(200);
    let token = login.json()["token"].as_str().expect("the token is at the top level").to_owned();

    // movies.map(movie => …)
    let movies = send(app.get("/api/movies")).await.ok(200).list();
    let movie = movies.iter().find(|movie| movie["title"] == STALKER).unwrap();
    assert!(movie["description"].is_string() && movie["duration_minutes"].is_i64(), "{movie}");
    let shows = send(app.get(&format!("/api/movies/{}/shows", movie["id"]))).await.ok(200).list();
    let show = &shows[0];
    assert!(DateTime::parse_from_rfc3339(show["start_time"].as_str().unwrap()).is_ok(), "{show}");
    assert!(show["theatre_name"].is_string(), "{show}");

    // Each show has its own seat map: a seat booked in one show is free in another.
    let map = format!("/api/shows/{}/seats", show["id"]);
    preflight(app, &map, "GET", "authorization").await;
    let seats = send(app.get(&map).token(&token)).await.ok(200).list();
    let seat = seats.iter().find(|seat| seat["status"] == "available").unwrap();
    assert!(seat["row"].is_string() && seat["number"].is_i64() && seat["id"].is_i64(), "{seat}");

    preflight(app, "/api/bookings", "POST", "authorization,content-type,idempotency-key").await;
    let body = json!({ "show_id": show["id"], "seat_id": seat["id"] });
    let booked = send(app.post("/api/bookings").token(&token).key("8e03978e-40d5-43dd-bc93").json(&body)).await.ok(201);
    assert_eq!(booked.json()["message"], "Booking successful!");
    assert_eq!(booked.json()["booking"]["seat_id"], seat["id"]);

    let reloaded = send(app.get(&map).token(&token)).await.ok(200).list();
    let own = reloaded.iter().find(|found| found["id"] == seat["id"]).unwrap();
    assert_eq!((&own["status"], &own["mine"], &own["user_id"]), (&"booked".into(), &true.into(), &login.json()["id"]));
    let to_others = send(app.get(&map)).await.ok(200).list();
    let same = to_others.iter().find(|found| found["id"] == seat["id"]).unwrap();
    assert_eq!((&same["status"], &same["mine"], &same["user_id"]), (&"booked".into(), &Value::Null, &Value::Null));
    let history = send(app.get("/api/bookings").token(&token)).await.ok(200).list();
    assert_eq!(history[0]["movie_title"], STALKER);
}

/// The former clients show `message` of every error.
async fn page_shows_the_error_message(app: &TestApp) {
    let user = app.sign_up().await;
    let (show, seat) = (app.world.soon.0, app.world.main[0].id.0);
    let body = json!({ "show_id": show, "seat_id": seat });
    app.book(&user, "k", &body).await.ok(201);
    let wrong_login = json!({ "email": user.email, "password": "wrong password" });
    let same_address = json!({ "name": "Eve", "email": user.email, "password": PASSWORD });
    let answers = [
        post(app, "/api/auth/login", &wrong_login).await.ok(401),
        post(app, "/api/auth/register", &same_address).await.ok(409),
        post(app, "/api/auth/register", &json!({})).await.ok(400),
        send(app.post("/api/bookings").json(&body)).await.ok(401),
        send(app.post("/api/bookings").by(&user).json(&body)).await.ok(400),
        send(app.post("/api/bookings").by(&user).key("other").json(&body)).await.ok(409),
        send(app.get("/api/movies/0")).await.ok(400),
        send(app.get("/api/nothing")).await.ok(404),
    ];
    for answer in answers {
        assert!(answer.json()["message"].as_str().is_some_and(|message| !message.is_empty()), "{answer:?}");
    }
}
