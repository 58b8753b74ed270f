//! Layouts of halls over the staff's API: previews, mistakes, versions, and the seat maps of their shows.

use domain::seed::SeedPlan;
use port_contracts::Fixture as _;
use port_contracts::world::{ALPHA, AMELIE, block, show, show_id};
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, TestApp, User};

on_both_stores!(
    layout_is_previewed_and_added,
    rows_and_text_plan_describe_the_same_hall,
    mistakes_of_a_text_plan_are_all_reported,
    mistakes_of_rows_are_all_reported,
    layout_is_either_rows_or_a_plan,
    largest_hall_fits_into_a_body,
    layouts_of_other_theatres_are_refused,
    retired_hall_gets_no_layout,
    shows_without_sales_get_the_layout,
    new_layout_with_a_key_is_added_once,
    show_in_a_new_hall_is_sold,
);

/// The example of the documentation.
const HALL: &str = "category p = premium
love l = premium
category s = standard
A                        | SS__sssss__ss
B                        | ssssssssssss
C [from right]           | sss_pppppp_sss
D [from right]           | sss_pppppp_sss
|
E [numbers 1-12 14 15]   | ssssssssssssss
section Balcony
focus 8,9
|
|
Loge 1                   | ll
12 [depth 9]             | ____pppppp
Loge 2 [depth 9]         | ____________ll
14 [numbers 5 3 1 2 4 6] | ____sss_sss
";

async fn hall_id(app: &TestApp, name: &str) -> i64 {
    let sql = "SELECT h.id FROM halls h JOIN theatres t ON t.id = h.theatre_id WHERE t.name =";
    app.backend.count(&format!("{sql} '{ALPHA}' AND h.name = '{name}'")).await
}

async fn staff_of_alpha(app: &TestApp) -> User {
    let theatre = app.backend.count(&format!("SELECT id FROM theatres WHERE name = '{ALPHA}'")).await;
    app.sign_up_staff(&[theatre]).await
}

async fn post(app: &TestApp, staff: &User, hall: i64, query: &str, body: &Value) -> Answer {
    app.post(&format!("/api/admin/halls/{hall}/layouts{query}")).by(staff).json(body).send().await
}

fn messages(answer: &Answer) -> Vec<String> {
    let errors = answer.json()["errors"].as_array().unwrap().clone();
    errors.iter().map(|error| error["message"].as_str().unwrap().to_owned()).collect()
}

async fn layout_is_previewed_and_added(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let footprint = app.footprint().await;
    let log = app.rows("audit_log").await;
    let preview = post(app, &staff, hall, "?preview=true", &json!({ "plan": HALL })).await.ok(200).json();
    for absent in ["id", "version", "created_at", "used_by_shows", "shows_updated", "shows_kept"] {
        assert_eq!(preview[absent], Value::Null, "{absent}");
    }
    assert_eq!(
        (&preview["plan"], &preview["seats_total"], &preview["hall_id"]),
        (&json!(HALL), &json!(75), &json!(hall))
    );
    assert_eq!((app.footprint().await, app.rows("audit_log").await), (footprint, log));
    assert_eq!(app.rows("layouts").await, 3);

    let created = post(app, &staff, hall, "?preview=false", &json!({ "plan": HALL })).await.ok(201);
    let layout = created.json();
    let id = layout["id"].as_i64().unwrap();
    let path = format!("/api/admin/layouts/{id}");
    assert_eq!((created.header("location"), &layout["version"]), (Some(path.as_str()), &json!(2)));
    let read = app.get(&path).by(&staff).send().await.ok(200).json();
    for member in ["plan", "sections", "seats_total", "hall_id"] {
        assert_eq!((&layout[member], &read[member]), (&preview[member], &preview[member]), "{member}");
    }
    assert_eq!(
        (&read["id"], &read["seats"], &read["created_at"]),
        (&json!(id), &layout["seats"], &layout["created_at"])
    );
    assert_eq!(read["sections"], json!([{ "name": "Balcony", "focus": { "x": 8, "y": 9 } }]));
    assert!(read.get("shows_updated").is_none());
    let seats = |layout: &Value| -> Vec<Value> {
        let seats = layout["seats"].as_array().unwrap().iter().cloned();
        seats
            .map(|mut seat| {
                seat["id"] = Value::Null;
                seat
            })
            .collect()
    };
    assert_eq!(seats(&preview), seats(&read));
    let listed = app.get(&format!("/api/admin/halls/{hall}/layouts")).by(&staff).send().await.ok(200);
    assert_eq!(
        (listed.column("version"), listed.column("seats_total")),
        (vec![json!(2), json!(1)], vec![json!(75), json!(5)])
    );
    let page = app.get(&format!("/api/admin/halls/{hall}/layouts?limit=1")).by(&staff).send().await.ok(200);
    let next = app.get(&page.next_page().unwrap()).by(&staff).send().await.ok(200);
    assert_eq!((page.column("version"), next.column("version")), (vec![json!(2)], vec![json!(1)]));
    assert_eq!(app.get(&format!("/api/admin/halls/{hall}")).by(&staff).send().await.ok(200).json()["seats_total"], 75);
    let public = app.get("/api/theatres").send().await.ok(200).list();
    let halls: Vec<_> = public.iter().flat_map(|theatre| theatre["halls"].as_array().unwrap()).collect();
    assert_eq!(halls.iter().find(|found| found["id"] == hall).unwrap()["seats_total"], 75);
    let log = app.get("/api/admin/audit?object=layout").by(&staff).send().await.ok(200).list();
    let [entry] = &log[..] else { panic!("one entry: {log:?}") };
    assert_eq!((&entry["object_id"], &entry["after"]["plan"]), (&json!(id), &json!(HALL)));
    app.get("/api/admin/layouts/987654").by(&staff).send().await.problem(404, "layout_not_found");
    post(app, &staff, 987_654, "", &json!({ "plan": HALL })).await.problem(404, "hall_not_found");
}

async fn rows_and_text_plan_describe_the_same_hall(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let rows = json!({
        "rows": [
            { "row": "A", "from": 1, "to": 4, "category": "standard", "accessible": [1, 2], "aisles_after": [2] },
            { "row": "A", "from": 5, "to": 6, "category": "premium" },
            { "row": "12", "from": 9, "to": 1, "category": "standard", "skip": [4], "pairs": [[9, 8]] },
            { "row": "Loge 1", "from": 1, "to": 2, "category": "premium", "section": "Balcony", "x": 3, "y": 8 },
        ],
        "sections": [{ "focus": { "x": 4, "y": 2 } }, { "name": "Balcony", "focus": { "x": 3, "y": 8 } }],
    });
    let of_rows = post(app, &staff, hall, "?preview=true", &rows).await.ok(200).json();
    let text = json!({ "plan": of_rows["plan"] });
    let of_text = post(app, &staff, hall, "?preview=true", &text).await.ok(200).json();
    assert_eq!(of_rows, of_text);
    let added = post(app, &staff, hall, "", &rows).await.ok(201).json();
    assert_eq!((&added["plan"], &added["sections"]), (&of_rows["plan"], &of_rows["sections"]));
}

async fn mistakes_of_a_text_plan_are_all_reported(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let found = async |plan: &str| post(app, &staff, hall, "", &json!({ "plan": plan })).await;
    let answer = found("category s = standard\nA | ssx\nB | s!s\nC [depth 900] | s\n").await;
    assert_eq!(
        messages(&answer),
        [
            "plan is invalid at line 2, column 7: The letter x has no category. Add a line like `category x = standard` above",
            "plan is invalid at line 3, column 6: '!' is no part of a drawing. Write letters for seats, and `_`, `.` or spaces for other places",
            "plan is invalid at line 4, column 4: The place is outside the hall, which is at most 200 seats wide and 200 deep. Move the seat",
        ]
    );
    assert_eq!(answer.mistakes(), ["plan letter_unknown", "plan symbol_unknown", "plan place_outside"]);
    assert_eq!(found("").await.mistakes(), ["plan no_seats"]);
    assert_eq!(found("category s = standard\nA | ss\nA | ss").await.mistakes().first().unwrap(), "plan seat_repeated");
    let two = "category s = standard\nA [depth 1] | s\nB [depth 1] | s";
    assert_eq!(found(two).await.mistakes(), ["plan place_taken"]);
    assert_eq!(found("love l = premium\nA | lll").await.mistakes(), ["plan pair_alone"]);
    let row = "s".repeat(200);
    let rows: Vec<_> = (1..=11).map(|number| format!("{number} | {row}")).collect();
    let large = format!("category s = standard\n{}", rows.join("\n"));
    assert_eq!(found(&large).await.mistakes(), ["plan too_many_seats"]);
    assert_eq!((app.rows("layouts").await, app.rows("audit_log").await), (3, 0));
    let answer = post(app, &staff, hall, "?preview=true", &json!({ "plan": "A | x" })).await;
    assert_eq!(answer.mistakes(), ["plan letter_unknown"]);
}

async fn mistakes_of_rows_are_all_reported(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let found = async |body: Value| post(app, &staff, hall, "", &body).await.mistakes();
    let row = |name: &str, from: i64, to: i64| json!({ "row": name, "from": from, "to": to, "category": "standard" });
    let with = |mut row: Value, name: &str, value: Value| {
        row[name] = value;
        row
    };
    assert_eq!(found(json!({ "rows": [] })).await, ["rows no_seats"]);
    let rows = [
        row("A", 1, 5),
        row("A", 4, 8),
        with(row("B", 1, 2), "aisles_after", json!([7])),
        with(row("C", 1, 2), "y", json!(1)),
        row("", 1, 2),
        row("D", 0, 2),
        with(row("E", 1, 4), "pairs", json!([[1, 3]])),
        with(row("F", 1, 4), "category", json!("")),
        row("G", 1, 2_000),
    ];
    let expected = [
        "rows[1].from seat_repeated",
        "rows[2].aisles_after number_unknown",
        "rows[3].from place_taken",
        "rows[4].row row_name_invalid",
        "rows[5].from number_outside",
        "rows[6].pairs pair_apart",
        "rows[7].category category_invalid",
    ];
    let mistakes = found(json!({ "rows": rows, "sections": [{ "focus": { "x": 0, "y": 1 } }] })).await;
    for expected in expected {
        assert!(mistakes.iter().any(|found| found == expected), "{expected}: {mistakes:?}");
    }
    assert!(mistakes.contains(&"rows too_many_seats".to_owned()), "{mistakes:?}");
    assert!(mistakes.contains(&"sections[0].focus focus_outside".to_owned()), "{mistakes:?}");
    let wrong = json!({ "rows": [
        { "row": 1, "from": "1", "to": 1.5, "category": null, "skip": 3, "pairs": [[1], [1, "2"], 4] },
        7,
        with(row("A", 1, 99_999_999_999), "accessible", json!([1, true])),
    ], "sections": [{ "name": 1, "focus": [1, 2] }] });
    let expected = [
        "rows[0].row wrong_type",
        "rows[0].from wrong_type",
        "rows[0].to wrong_type",
        "rows[0].category required",
        "rows[0].skip wrong_type",
        "rows[0].pairs[0] wrong_type",
        "rows[0].pairs[1][1] wrong_type",
        "rows[0].pairs[2] wrong_type",
        "rows[1] wrong_type",
        "rows[2].to out_of_range",
        "rows[2].accessible[1] wrong_type",
        "sections[0].name wrong_type",
        "sections[0].focus wrong_type",
    ];
    assert_eq!(found(wrong).await, expected);
    assert_eq!((app.rows("layouts").await, app.rows("audit_log").await), (3, 0));
}

async fn layout_is_either_rows_or_a_plan(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let found = async |body: Value| post(app, &staff, hall, "", &body).await.mistakes();
    assert_eq!(found(json!({})).await, ["rows required"]);
    assert_eq!(found(json!({ "rows": null, "plan": null })).await, ["rows required"]);
    assert_eq!(found(json!({ "rows": [], "plan": HALL })).await, ["rows conflict", "plan conflict"]);
    assert_eq!(found(json!({ "plan": HALL, "sections": [] })).await, ["sections conflict"]);
    assert_eq!(found(json!({ "plan": 5 })).await, ["plan wrong_type"]);
    assert_eq!(found(json!({ "rows": "A" })).await, ["rows wrong_type"]);
    let answer = post(app, &staff, hall, "?preview=yes", &json!({ "plan": HALL })).await;
    assert_eq!(answer.mistakes(), ["preview invalid"]);
}

async fn largest_hall_fits_into_a_body(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Main").await);
    let rows: Vec<_> = (1..=100)
        .map(|row| {
            json!({
                "row": format!("Balcony {row}"), "from": 1, "to": 20, "category": "standard",
                "aisles_after": [5, 10, 15], "accessible": [1, 2], "skip": [], "pairs": [[19, 20]], "section": "Balcony",
            })
        })
        .collect();
    let added = post(app, &staff, hall, "", &json!({ "rows": rows })).await.ok(201).json();
    assert_eq!(added["seats_total"], 2_000);
    // The widest and deepest drawing.
    let mut drawing = vec![".".repeat(199) + "s"; 200];
    drawing[0] = "s".repeat(200);
    let rows: Vec<_> = drawing.iter().enumerate().map(|(row, seats)| format!("Balcony {row}|{seats}")).collect();
    let plan = format!("category s = standard\n{}", rows.join("\n"));
    let added = post(app, &staff, hall, "", &json!({ "plan": plan })).await.ok(201).json();
    assert_eq!((&added["seats_total"], &added["version"]), (&json!(399), &json!(3)));
}

async fn layouts_of_other_theatres_are_refused(app: &TestApp) {
    let hall = hall_id(app, "Small").await;
    let beta = app.backend.count("SELECT id FROM theatres WHERE name = 'Beta'").await;
    let (elsewhere, admin) = (app.sign_up_staff(&[beta]).await, app.sign_up_admin().await);
    for query in ["", "?preview=true"] {
        post(app, &elsewhere, hall, query, &json!({ "plan": HALL })).await.problem(403, "forbidden");
    }
    let id = post(app, &admin, hall, "", &json!({ "plan": HALL })).await.ok(201).json()["id"].clone();
    for path in [format!("/api/admin/layouts/{id}"), format!("/api/admin/halls/{hall}/layouts")] {
        app.get(&path).by(&elsewhere).send().await.problem(403, "forbidden");
        app.get(&path).by(&admin).send().await.ok(200);
    }
    let listed = app.get("/api/admin/audit?object=layout").by(&elsewhere).send().await.ok(200);
    assert_eq!(listed.list(), [Value::Null; 0]);
}

async fn retired_hall_gets_no_layout(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    app.backend.execute("UPDATE shows SET status = 'cancelled'").await;
    app.call(Method::DELETE, &format!("/api/admin/halls/{hall}")).by(&staff).send().await.ok(204);
    for query in ["", "?preview=true"] {
        post(app, &staff, hall, query, &json!({ "plan": HALL })).await.problem(409, "conflict");
    }
    let listed = app.get(&format!("/api/admin/halls/{hall}/layouts")).by(&staff).send().await.ok(200);
    assert_eq!(listed.column("version"), [json!(1)]);
}

async fn shows_without_sales_get_the_layout(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let (ana, world) = (app.sign_up().await, &app.world);
    block(&app.backend, world.beside, world.small[0].id).await;
    let standard = json!({ "plan": "category s = standard\nA | sss\nB | sss" });
    let added = post(app, &staff, hall, "", &standard).await.ok(201).json();
    assert_eq!(
        (&added["shows_updated"], &added["shows_kept"], &added["shows_without_prices"], &added["used_by_shows"]),
        (&json!([world.tomorrow.0]), &json!([world.beside.0]), &json!([]), &json!(1))
    );
    // The seat map changes at once, also for a client that has read it before.
    assert_eq!(app.seats(world.tomorrow.0, None).await.len(), 6);
    let former = json!({ "show_id": world.tomorrow.0, "seat_id": world.small[1].id.0 });
    app.book(&ana, "former", &former).await.problem(404, "seat_not_found");
    let seat = app.seats(world.tomorrow.0, None).await[0]["id"].clone();
    app.book(&ana, "new", &json!({ "show_id": world.tomorrow.0, "seat_id": seat })).await.ok(201);
    let again = post(app, &staff, hall, "", &standard).await.ok(201).json();
    let mut both = [world.beside.0, world.tomorrow.0];
    both.sort_unstable();
    assert_eq!((&again["shows_updated"], &again["shows_kept"]), (&json!([]), &json!(both)));
    // A category without a price.
    app.backend.execute("DELETE FROM seat_claims WHERE status = 'blocked'").await;
    let boxes = json!({ "plan": "category b = box\nA | bbb" });
    let added = post(app, &staff, hall, "", &boxes).await.ok(201).json();
    assert_eq!((&added["shows_updated"], &added["shows_without_prices"]), (&json!([]), &json!([world.beside.0])));
}

async fn new_layout_with_a_key_is_added_once(app: &TestApp) {
    let (staff, hall) = (staff_of_alpha(app).await, hall_id(app, "Small").await);
    let path = format!("/api/admin/halls/{hall}/layouts");
    let post = async |plan: &str| app.post(&path).by(&staff).key("k").json(&json!({ "plan": plan })).send().await;
    let first = post(HALL).await.ok(201);
    let again = post(HALL).await.ok(201);
    assert_eq!((&again.bytes, again.header("idempotent-replayed")), (&first.bytes, Some("true")));
    assert_eq!(again.header("location"), first.header("location"));
    post("category s = standard\nA | s").await.problem(422, "idempotency_key_reused");
    assert_eq!(app.rows("layouts").await, 4);
}

async fn show_in_a_new_hall_is_sold(app: &TestApp) {
    let (staff, ana) = (staff_of_alpha(app).await, app.sign_up().await);
    let theatre = app.backend.count(&format!("SELECT id FROM theatres WHERE name = '{ALPHA}'")).await;
    let hall = json!({ "theatre_id": theatre, "name": "New" });
    let hall = app.post("/api/admin/halls").by(&staff).json(&hall).send().await.ok(201).json()["id"].as_i64().unwrap();
    post(app, &staff, hall, "", &json!({ "plan": HALL })).await.ok(201);
    let shows = vec![show(app.world.base, "real", AMELIE, ALPHA, "New", 72)];
    assert_eq!(app.backend.stores().seeder.seed(&SeedPlan { shows, ..SeedPlan::default() }).await.unwrap().shows, 1);
    let show = show_id(&app.backend, "real").await.0;
    let seats = app.seats(show, None).await;
    let mut rows: Vec<_> = seats.iter().map(|seat| seat["row"].as_str().unwrap()).collect();
    rows.dedup();
    assert_eq!(rows, ["12", "14", "A", "B", "C", "D", "E", "Loge 1", "Loge 2"]);
    let seat = |row: &str, number: i64| {
        let found = seats.iter().find(|seat| seat["row"] == row && seat["number"] == number);
        found.unwrap_or_else(|| panic!("no seat {row} {number}")).clone()
    };
    // Row C is numbered from the right, row E has no number 13, and row 14 has the odd numbers on the left.
    assert_eq!((&seat("C", 1)["x"], &seat("C", 12)["x"]), (&json!(14), &json!(1)));
    assert!(seats.iter().all(|seat| seat["row"] != "E" || seat["number"] != 13));
    assert_eq!((&seat("14", 5)["x"], &seat("14", 2)["x"]), (&json!(5), &json!(9)));
    assert_eq!((&seat("A", 1)["accessible"], &seat("Loge 1", 1)["section"]), (&json!(true), &json!("Balcony")));
    let (left, right) = (seat("Loge 2", 1)["id"].clone(), seat("Loge 2", 2)["id"].clone());
    assert_eq!(seat("Loge 2", 1)["pair_seat_id"], right);
    let half = json!({ "show_id": show, "seat_id": left });
    app.book(&ana, "half", &half).await.problem(422, "seats_split_pair");
    let whole = json!({ "show_id": show, "seat_ids": [left, right] });
    let booking = app.book(&ana, "whole", &whole).await.ok(201).json()["booking"].clone();
    assert_eq!(booking["seats"].as_array().unwrap().iter().map(|seat| &seat["row"]).collect::<Vec<_>>(), ["Loge 2"; 2]);
}
