//! Ticket types and price lists, for staff.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, TestApp};

on_both_stores!(ticket_types_are_managed, invalid_fields_of_a_ticket_type_are_named, ticket_types_are_listed);

fn patch(app: &TestApp, path: &str, tag: &str, body: &Value) -> Call {
    app.call(Method::PATCH, path).header("if-match", tag).json(body)
}

fn tag(answer: &Answer) -> &str {
    answer.header("etag").expect("the response has a tag")
}

async fn ticket_types_are_managed(app: &TestApp) {
    let (admin, staff) = (app.sign_up_admin().await, app.sign_up_staff(&[]).await);
    let child =
        json!({ "code": "child", "names": { "en": "Child", "DE": " Kind " }, "needs_proof": true, "order": 10 });
    let created = app.post("/api/admin/ticket-types").by(&admin).json(&child).send().await.ok(201);
    let id = created.json()["id"].as_i64().unwrap();
    let path = format!("/api/admin/ticket-types/{id}");
    assert_eq!((created.header("location"), tag(&created)), (Some(path.as_str()), "\"1\""));
    let expected = json!({
        "id": id, "code": "child", "names": { "de": "Kind", "en": "Child" }, "needs_proof": true, "order": 10,
        "retired_at": null, "version": 1,
    });
    assert_eq!(created.json(), expected);
    assert_eq!(app.get(&path).by(&staff).send().await.ok(200).json(), expected);
    app.post("/api/admin/ticket-types").by(&admin).json(&child).send().await.problem(409, "name_taken");
    // The code is no member of a change.
    let change = json!({ "code": "kid", "names": { "fr": "Enfant" }, "order": 3.0 });
    let changed = patch(app, &path, "\"1\"", &change).by(&admin).send().await.ok(200);
    assert_eq!(tag(&changed), "\"2\"");
    let body = changed.json();
    let of = |name: &str| body[name].clone();
    assert_eq!(
        (of("code"), of("names"), of("needs_proof"), of("order")),
        (json!("child"), json!({ "fr": "Enfant" }), json!(true), json!(3))
    );
    patch(app, &path, "\"1\"", &json!({})).by(&admin).send().await.problem(412, "precondition_failed");
    app.call(Method::DELETE, &path).by(&admin).send().await.ok(204);
    assert!(app.get(&path).by(&admin).send().await.ok(200).json()["retired_at"].is_string());
    app.get("/api/admin/ticket-types/987654").by(&staff).send().await.problem(404, "ticket_type_not_found");
    let log = app.get("/api/admin/audit?object=ticket_type").by(&admin).send().await.ok(200);
    assert_eq!(log.column("action"), ["retire", "update", "create"].map(|action| json!(action)));
    assert_eq!(log.list()[1]["after"], json!({ "names": "fr: Enfant", "order": "3" }));
    let adult = app.get("/api/admin/ticket-types?search=adult").by(&staff).send().await.ok(200).list()[0].clone();
    let path = format!("/api/admin/ticket-types/{}", adult["id"]);
    app.call(Method::DELETE, &path).by(&admin).send().await.problem(409, "conflict");
    let names = json!({ "names": { "en": "Full price" } });
    let changed = patch(app, &path, "*", &names).by(&admin).send().await.ok(200).json();
    assert_eq!((&changed["names"]["en"], &changed["retired_at"]), (&json!("Full price"), &Value::Null));
}

async fn invalid_fields_of_a_ticket_type_are_named(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let told = async |body: Value| app.post("/api/admin/ticket-types").by(&admin).json(&body).send().await.mistakes();
    assert_eq!(told(json!({})).await, ["code required", "names required"]);
    let wrong = json!({
        "code": "Child", "names": { "de": "", "en": 7, "english!": "Child", "fr": "a\nb", "it": "x".repeat(51) },
        "needs_proof": "yes", "order": 1_000,
    });
    let expected = [
        "code invalid",
        "names.de too_short",
        "names.en wrong_type",
        "names.english! invalid",
        "names.fr invalid_character",
        "names.it too_long",
        "needs_proof wrong_type",
        "order out_of_range",
    ];
    assert_eq!(told(wrong).await, expected);
    let many: serde_json::Map<_, _> = (0..21).map(|number| (format!("en-x{number}"), json!("A"))).collect();
    for (names, expected) in [
        (json!({}), "names too_few"),
        (json!([]), "names wrong_type"),
        (json!({ "en": "A", "EN": "B" }), "names repeated"),
        (Value::Object(many), "names too_many"),
    ] {
        assert_eq!(told(json!({ "code": "child", "names": names })).await, [expected]);
    }
    assert_eq!(told(json!({ "code": "x".repeat(31), "names": { "en": "A" }, "order": -1 })).await.len(), 2);
    assert_eq!(app.rows("audit_log").await, 0);
}

async fn ticket_types_are_listed(app: &TestApp) {
    let (admin, staff) = (app.sign_up_admin().await, app.sign_up_staff(&[]).await);
    for (code, name, order) in [("student", "Étudiant", 2), ("child", "Enfant", 1), ("senior", "Aîné", 1)] {
        let body = json!({ "code": code, "names": { "fr": name }, "order": order });
        app.post("/api/admin/ticket-types").by(&admin).json(&body).send().await.ok(201);
    }
    let mut codes = Vec::new();
    let mut next = Some("/api/admin/ticket-types?limit=1".to_owned());
    while let Some(path) = next {
        let page = app.get(&path).by(&staff).send().await.ok(200);
        codes.extend(page.column("code"));
        next = page.next_page();
    }
    assert_eq!(codes, ["adult", "child", "senior", "student"].map(|code| json!(code)));
    let found = app.get("/api/admin/ticket-types?search=%C3%89TUD").by(&staff).send().await.ok(200).column("code");
    assert_eq!(found, [json!("student")]);
    let wrong = app.get("/api/admin/ticket-types?cursor=x&limit=0").by(&staff).send().await;
    assert_eq!(wrong.mistakes(), ["limit invalid", "cursor invalid"]);
}
