//! Ticket types and price lists, for staff.

use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, TestApp, User};

on_both_stores!(
    ticket_types_are_managed,
    invalid_fields_of_a_ticket_type_are_named,
    ticket_types_are_listed,
    price_lists_are_managed,
    first_matching_rule_sets_the_prices,
    every_mistake_of_a_price_list_is_named,
    amounts_are_decimal_texts_in_the_currency_of_the_theatre,
    price_lists_are_listed,
    theatre_with_price_lists_keeps_its_currency,
);

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
    let mistakes_of =
        async |body: Value| app.post("/api/admin/ticket-types").by(&admin).json(&body).send().await.mistakes();
    assert_eq!(mistakes_of(json!({})).await, ["code required", "names required"]);
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
    assert_eq!(mistakes_of(wrong).await, expected);
    let many: serde_json::Map<_, _> = (0..21).map(|number| (format!("en-x{number}"), json!("A"))).collect();
    for (names, expected) in [
        (json!({}), "names too_few"),
        (json!([]), "names wrong_type"),
        (json!({ "en": "A", "EN": "B" }), "names repeated"),
        (Value::Object(many), "names too_many"),
    ] {
        assert_eq!(mistakes_of(json!({ "code": "child", "names": names })).await, [expected]);
    }
    assert_eq!(mistakes_of(json!({ "code": "x".repeat(31), "names": { "en": "A" }, "order": -1 })).await.len(), 2);
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

async fn theatre(app: &TestApp) -> i64 {
    app.get("/api/theatres").send().await.column("id")[0].as_i64().unwrap()
}

fn price(category: &str, ticket_type: &str, price: &str) -> Value {
    json!({ "category": category, "ticket_type": ticket_type, "price": price })
}

fn list(theatre: i64, name: &str) -> Value {
    json!({ "theatre_id": theatre, "name": name, "prices": [price("standard", "adult", "12.50")] })
}

async fn add_child(app: &TestApp, admin: &User) -> i64 {
    let body = json!({ "code": "child", "names": { "en": "Child" } });
    let created = app.post("/api/admin/ticket-types").by(admin).json(&body).send().await.ok(201);
    created.json()["id"].as_i64().unwrap()
}

async fn price_lists_are_managed(app: &TestApp) {
    let (admin, theatre) = (app.sign_up_admin().await, theatre(app).await);
    let child = add_child(app, &admin).await;
    let staff = app.sign_up_staff(&[theatre]).await;
    let mut body = list(theatre, "Standard");
    body["prices"] = json!([price("standard", "child", "8"), price("standard", "adult", "12.5")]);
    body["rules"] = json!([{
        "name": "Weekend", "weekdays": ["sat", "fri"], "from_time": "17:00", "to_time": "02:00", "from_date": "2026-12-01",
        "to_date": null, "prices": [price("standard", "adult", "14.00")],
    }, {}]);
    let created = app.post("/api/admin/price-lists").by(&staff).json(&body).send().await.ok(201);
    let id = created.json()["id"].as_i64().unwrap();
    let path = format!("/api/admin/price-lists/{id}");
    assert_eq!((created.header("location"), tag(&created)), (Some(path.as_str()), "\"1\""));
    let expected = json!({
        "id": id, "theatre_id": theatre, "name": "Standard", "currency": "EUR", "retired_at": null, "version": 1,
        "prices": [price("standard", "adult", "12.50"), price("standard", "child", "8.00")],
        "rules": [{
            "name": "Weekend", "weekdays": ["fri", "sat"], "from_time": "17:00", "to_time": "02:00",
            "from_date": "2026-12-01", "to_date": null, "prices": [price("standard", "adult", "14.00")],
        }, {
            "name": null, "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"], "from_time": null,
            "to_time": null, "from_date": null, "to_date": null, "prices": [],
        }],
    });
    assert_eq!(created.json(), expected);
    assert_eq!(app.get(&path).by(&staff).send().await.ok(200).json(), expected);
    app.post("/api/admin/price-lists").by(&staff).json(&body).send().await.problem(409, "name_taken");
    patch(app, &path, "\"2\"", &json!({})).by(&staff).send().await.problem(412, "precondition_failed");
    app.call(Method::PATCH, &path).by(&staff).json(&json!({})).send().await.problem(428, "precondition_required");
    // A ticket type that is retired stays in the prices that do not change.
    app.call(Method::DELETE, &format!("/api/admin/ticket-types/{child}")).by(&admin).send().await.ok(204);
    let change = json!({ "name": "Summer", "rules": [] });
    let changed = patch(app, &path, "\"1\"", &change).by(&staff).send().await.ok(200);
    assert_eq!(tag(&changed), "\"2\"");
    let body = changed.json();
    assert_eq!((&body["name"], &body["rules"], &body["prices"]), (&json!("Summer"), &json!([]), &expected["prices"]));
    let again = patch(app, &path, "\"2\"", &json!({ "prices": expected["prices"] })).by(&staff).send().await;
    assert_eq!(again.mistakes(), ["prices[1].ticket_type retired"]);
    app.call(Method::DELETE, &path)
        .header("if-match", "\"1\"")
        .by(&staff)
        .send()
        .await
        .problem(412, "precondition_failed");
    app.call(Method::DELETE, &path).header("if-match", "\"2\"").by(&staff).send().await.ok(204);
    let retired = app.get(&path).by(&staff).send().await.ok(200);
    assert!(retired.json()["retired_at"].is_string() && tag(&retired) == "\"3\"");
    for missing in ["/api/admin/price-lists/987654", "/api/admin/price-lists/987654/prices"] {
        app.get(missing).by(&staff).send().await.problem(404, "price_list_not_found");
    }
    let unknown = list(987_654, "Standard");
    app.post("/api/admin/price-lists").by(&admin).json(&unknown).send().await.problem(404, "theatre_not_found");
    let log = app.get("/api/admin/audit?object=price_list").by(&staff).send().await.ok(200);
    assert_eq!(log.column("action"), ["retire", "update", "create"].map(|action| json!(action)));
    let [_, update, create] = &log.list()[..] else { panic!("three entries: {log:?}") };
    assert_eq!(create["after"]["prices"], "standard/adult 12.50, standard/child 8.00");
    assert_eq!(update["after"], json!({ "name": "Summer", "rules": "" }));
    assert_eq!(update["theatre_id"], theatre);
}

async fn first_matching_rule_sets_the_prices(app: &TestApp) {
    let (admin, theatre) = (app.sign_up_admin().await, theatre(app).await);
    add_child(app, &admin).await;
    let mut body = list(theatre, "Standard");
    body["prices"] = json!([price("standard", "adult", "12.00"), price("standard", "child", "8.00")]);
    body["rules"] = json!([
        { "name": "Late", "weekdays": ["fri"], "from_time": "22:00", "to_time": "02:00",
          "prices": [price("standard", "adult", "7.00")] },
        { "from_date": "2026-12-24", "to_date": "2026-12-26", "prices": [price("standard", "adult", "15.00")] },
        { "to_time": "17:00", "prices": [price("standard", "adult", "9.00"), price("standard", "child", "6.00")] },
    ]);
    let created = app.post("/api/admin/price-lists").by(&admin).json(&body).send().await.ok(201).json();
    let path = format!("/api/admin/price-lists/{}/prices", created["id"]);
    // 2026-12-04 and 2026-12-25 are Fridays.
    for (at, rule, name, adult, child) in [
        ("2026-12-04T21:59", None, None, "12.00", "8.00"),
        ("2026-12-04T22:00", Some(0), Some("Late"), "7.00", "8.00"),
        ("2026-12-05T01:59", Some(0), Some("Late"), "7.00", "8.00"),
        ("2026-12-05T02:00", Some(2), None, "9.00", "6.00"),
        ("2026-12-04T01:30", Some(2), None, "9.00", "6.00"),
        ("2026-12-05T17:00", None, None, "12.00", "8.00"),
        ("2026-12-24T15:00", Some(1), None, "15.00", "8.00"),
        ("2026-12-25T22:30", Some(0), Some("Late"), "7.00", "8.00"),
        ("2026-12-26T23:59", Some(1), None, "15.00", "8.00"),
    ] {
        let found = app.get(&format!("{path}?at={at}")).by(&admin).send().await.ok(200).json();
        let expected = json!({
            "at": at, "currency": "EUR", "rule": rule, "rule_name": name,
            "prices": [price("standard", "adult", adult), price("standard", "child", child)],
        });
        assert_eq!(found, expected);
    }
    let now = app.get(&path).by(&admin).send().await.ok(200).json();
    assert_eq!(now["at"].as_str().unwrap().len(), 16);
    for wrong in ["2026-12-24", "2026-12-24T24:00", "2026-02-30T10:00", "2026-12-24T9:00", "2026-12-24T20:00Z", "x"] {
        assert_eq!(app.get(&format!("{path}?at={wrong}")).by(&admin).send().await.mistakes(), ["at invalid"]);
    }
}

async fn every_mistake_of_a_price_list_is_named(app: &TestApp) {
    let (admin, theatre) = (app.sign_up_admin().await, theatre(app).await);
    let child = add_child(app, &admin).await;
    app.call(Method::DELETE, &format!("/api/admin/ticket-types/{child}")).by(&admin).send().await.ok(204);
    let mistakes_of =
        async |body: &Value| app.post("/api/admin/price-lists").by(&admin).json(body).send().await.mistakes();
    assert_eq!(mistakes_of(&json!({})).await, ["theatre_id required", "name required", "prices required"]);
    // What can be read without the theatre.
    let mut body = list(theatre, "");
    body["prices"] = json!([7, { "category": "", "ticket_type": "A", "price": 12.5 }, {}]);
    body["rules"] = json!([{
        "name": "a\nb", "weekdays": ["Mon", 1], "from_time": "7:00", "to_time": "24:00", "from_date": "2026-02-30",
        "to_date": 5, "prices": "free",
    }, { "weekdays": ["mon", "mon"] }, null]);
    let expected = [
        "name too_short",
        "prices[0] wrong_type",
        "prices[1].category too_short",
        "prices[1].ticket_type invalid",
        "prices[1].price wrong_type",
        "prices[2].category required",
        "prices[2].ticket_type required",
        "prices[2].price required",
        "rules[0].name invalid_character",
        "rules[0].weekdays[0] invalid",
        "rules[0].weekdays[1] wrong_type",
        "rules[0].from_date invalid",
        "rules[0].to_date wrong_type",
        "rules[0].from_time invalid",
        "rules[0].to_time invalid",
        "rules[0].prices wrong_type",
        "rules[1].weekdays[1] repeated",
        "rules[2] wrong_type",
    ];
    assert_eq!(mistakes_of(&body).await, expected);
    // What depends on the theatre, on the ticket types, and on other fields.
    let mut body = list(theatre, "Standard");
    body["prices"] = json!([
        price("standard", "adult", "1"),
        price("standard", "adult", "2"),
        price("standard", "senior", "3"),
        price("standard", "child", "12.505"),
    ]);
    body["rules"] = json!([
        { "weekdays": [], "from_date": "2026-12-02", "to_date": "2026-12-01" },
        { "from_time": "17:00", "to_time": "17:00", "prices": [price("standard", "adult", "-1")] },
    ]);
    let expected = [
        "prices[1] repeated",
        "prices[2].ticket_type unknown",
        "prices[3].ticket_type retired",
        "prices[3].price invalid",
        "rules[1].prices[0].price out_of_range",
        "rules[0].weekdays too_few",
        "rules[0].to_date invalid",
        "rules[1].to_time invalid",
    ];
    assert_eq!(mistakes_of(&body).await, expected);
    let many = |count: usize| -> Vec<Value> { (0..count).map(|n| price(&format!("c{n}"), "adult", "1")).collect() };
    for (member, value, expected) in [
        ("prices", json!([]), "prices too_few"),
        ("prices", json!(many(501)), "prices too_many"),
        ("rules", json!(vec![json!({}); 51]), "rules too_many"),
        ("rules", json!([{ "prices": many(501) }]), "rules[0].prices too_many"),
        ("rules", json!({}), "rules wrong_type"),
    ] {
        let mut body = list(theatre, "Standard");
        body[member] = value;
        assert_eq!(mistakes_of(&body).await, [expected]);
    }
    assert_eq!(app.rows("price_lists").await, 0);
    let mut body = list(theatre, "Standard");
    body["prices"] = json!(many(500));
    body["rules"] = json!(vec![json!({}); 50]);
    app.post("/api/admin/price-lists").by(&admin).json(&body).send().await.ok(201);
}

async fn amounts_are_decimal_texts_in_the_currency_of_the_theatre(app: &TestApp) {
    let (admin, theatre) = (app.sign_up_admin().await, theatre(app).await);
    let add = async |theatre: i64, name: &str, amount: &str| {
        let mut body = list(theatre, name);
        body["prices"] = json!([price("standard", "adult", amount)]);
        app.post("/api/admin/price-lists").by(&admin).json(&body).send().await
    };
    for (number, (amount, shown)) in
        [("0", "0.00"), ("12.5", "12.50"), ("0.29", "0.29"), ("100000.00", "100000.00")].into_iter().enumerate()
    {
        let created = add(theatre, &format!("List {number}"), amount).await.ok(201).json();
        assert_eq!(created["prices"], json!([price("standard", "adult", shown)]));
    }
    for (amount, code) in [
        ("-1", "out_of_range"),
        ("100000.01", "out_of_range"),
        ("99999999999999999999", "out_of_range"),
        ("12.505", "invalid"),
        ("12,50", "invalid"),
        ("1e2", "invalid"),
        ("+1", "invalid"),
        (" 1", "invalid"),
        ("12.", "invalid"),
        (".5", "invalid"),
        ("١٢", "invalid"),
        ("１２", "invalid"),
        ("NaN", "invalid"),
        ("", "invalid"),
    ] {
        assert_eq!(add(theatre, "Wrong", amount).await.mistakes(), [format!("prices[0].price {code}")], "{amount}");
    }
    let tokyo = json!({ "name": "Shibuya", "timezone": "Asia/Tokyo", "currency": "JPY" });
    let tokyo = app.post("/api/admin/theatres").by(&admin).json(&tokyo).send().await.ok(201).json();
    let tokyo = tokyo["id"].as_i64().unwrap();
    let created = add(tokyo, "Standard", "1800").await.ok(201).json();
    assert_eq!((&created["currency"], &created["prices"][0]["price"]), (&json!("JPY"), &json!("1800")));
    assert_eq!(add(tokyo, "Wrong", "1800.0").await.mistakes(), ["prices[0].price invalid"]);
}

async fn price_lists_are_listed(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let theatres = app.get("/api/theatres").send().await.column("id");
    let ids: Vec<_> = theatres.iter().map(|id| id.as_i64().unwrap()).collect();
    for (theatre, name) in [(ids[0], "Standard"), (ids[0], "Été"), (ids[1], "Standard")] {
        app.post("/api/admin/price-lists").by(&admin).json(&list(theatre, name)).send().await.ok(201);
    }
    let (staff, nowhere) = (app.sign_up_staff(&ids[..1]).await, app.sign_up_staff(&[]).await);
    let names = async |query: &str, user: &User| {
        let mut names = Vec::new();
        let mut next = Some(format!("/api/admin/price-lists?limit=1{query}"));
        while let Some(path) = next {
            let page = app.get(&path).by(user).send().await.ok(200);
            names.extend(page.column("name").iter().map(|name| name.as_str().unwrap().to_owned()));
            next = page.next_page();
        }
        names
    };
    assert_eq!(names("", &admin).await, ["Standard", "Standard", "Été"]);
    assert_eq!(names("", &staff).await, ["Standard", "Été"]);
    assert_eq!(names("", &nowhere).await, [""; 0]);
    assert_eq!(names("&search=%C3%89T", &admin).await, ["Été"]);
    assert_eq!(names(&format!("&theatre_id={}", ids[1]), &admin).await, ["Standard"]);
    let other = format!("/api/admin/price-lists?theatre_id={}", ids[1]);
    app.get(&other).by(&staff).send().await.problem(403, "forbidden");
}

async fn theatre_with_price_lists_keeps_its_currency(app: &TestApp) {
    let admin = app.sign_up_admin().await;
    let body = json!({ "name": "Rex", "timezone": "Europe/Zurich", "currency": "EUR" });
    let theatre = app.post("/api/admin/theatres").by(&admin).json(&body).send().await.ok(201).json()["id"].clone();
    let body = list(theatre.as_i64().unwrap(), "Standard");
    let created = app.post("/api/admin/price-lists").by(&admin).json(&body).send().await.ok(201).json();
    let path = format!("/api/admin/theatres/{theatre}");
    let francs = json!({ "currency": "CHF" });
    let answer = patch(app, &path, "*", &francs).by(&admin).send().await;
    assert!(answer.text().contains("price lists"), "{answer:?}");
    answer.problem(409, "theatre_in_use");
    patch(app, &path, "*", &json!({ "currency": "EUR", "timezone": "Europe/Paris" })).by(&admin).send().await.ok(200);
    app.call(Method::DELETE, &format!("/api/admin/price-lists/{}", created["id"])).by(&admin).send().await.ok(204);
    patch(app, &path, "*", &francs).by(&admin).send().await.ok(200);
}
