//! The OpenAPI document: that it is the committed one, that it lists every call, and that the server does as it says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, TestApp, User};

on_both_stores!(
    the_server_serves_the_document,
    every_documented_operation_is_answered,
    every_operation_with_security_refuses_whoever_has_no_token,
);

/// The calls of this version, as the contract lists them.
const OPERATIONS: [&str; 34] = [
    "DELETE /api/holds/{hold_id}",
    "DELETE /api/me",
    "DELETE /api/me/sessions/{session_id}",
    "GET /",
    "GET /api/bookings",
    "GET /api/bookings/{booking_id}",
    "GET /api/holds",
    "GET /api/holds/{hold_id}",
    "GET /api/me",
    "GET /api/me/export",
    "GET /api/me/sessions",
    "GET /api/movies",
    "GET /api/movies/{movie_id}",
    "GET /api/movies/{movie_id}/shows",
    "GET /api/openapi.json",
    "GET /api/shows",
    "GET /api/shows/{show_id}",
    "GET /api/shows/{show_id}/seats",
    "GET /api/theatres",
    "GET /api/theatres/{theatre_id}",
    "GET /docs",
    "GET /healthz",
    "GET /metrics",
    "GET /readyz",
    "PATCH /api/me",
    "POST /api/auth/login",
    "POST /api/auth/logout",
    "POST /api/auth/refresh",
    "POST /api/auth/register",
    "POST /api/bookings",
    "POST /api/bookings/{booking_id}/cancel",
    "POST /api/bookings/{booking_id}/seats",
    "POST /api/holds/{hold_id}/extend",
    "POST /api/shows/{show_id}/holds",
];

/// Statuses that any call can have, and no operation lists.
const ANYWHERE: [u16; 6] = [405, 406, 408, 413, 415, 429];

/// An operation of the document.
struct Operation {
    method: Method,
    path: String,
    needs_token: bool,
    statuses: BTreeSet<u16>,
    parts: Value,
}

fn document() -> Value {
    serde_json::from_str(&api_actix::http::openapi::to_json()).unwrap()
}

fn operations() -> &'static [Operation] {
    static OPERATIONS: OnceLock<Vec<Operation>> = OnceLock::new();
    OPERATIONS.get_or_init(|| {
        let document = document();
        let paths = document["paths"].as_object().unwrap();
        let of_path = |(path, methods): (&String, &Value)| -> Vec<Operation> {
            let methods = methods.as_object().unwrap().iter();
            methods.map(|(method, parts)| operation(method, path, parts)).collect()
        };
        paths.iter().flat_map(of_path).collect()
    })
}

fn operation(method: &str, path: &str, parts: &Value) -> Operation {
    let statuses = parts["responses"].as_object().unwrap().keys().map(|status| status.parse().unwrap());
    Operation {
        method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
        path: path.to_owned(),
        needs_token: parts.get("security").is_some(),
        statuses: statuses.collect(),
        parts: parts.clone(),
    }
}

/// The statuses that a call may have by the document; `None` if it is no documented call. HEAD is where GET is.
pub fn documented_statuses(method: &Method, path: &str) -> Option<BTreeSet<u16>> {
    let method = if *method == Method::HEAD { &Method::GET } else { method };
    let path = path.split('?').next().unwrap_or_default();
    let fits = |operation: &&Operation| operation.method == *method && is_at(&operation.path, path);
    let statuses = operations().iter().find(fits)?.statuses.iter().copied();
    Some(statuses.chain(ANYWHERE).collect())
}

fn is_at(template: &str, path: &str) -> bool {
    let (expected, found): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same =
        |(expected, found): (&&str, &&str)| expected == found || (expected.starts_with('{') && !found.is_empty());
    expected.len() == found.len() && expected.iter().zip(&found).all(same)
}

#[test]
fn the_committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/api-actix/openapi.json");
    let generated = api_actix::http::openapi::to_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "openapi.json is not what the code says: run this test with UPDATE_OPENAPI=1");
}

#[test]
fn the_document_is_openapi_3_1_and_lists_every_call() {
    assert!(document()["openapi"].as_str().unwrap().starts_with("3.1"));
    let mut listed: Vec<_> =
        operations().iter().map(|operation| format!("{} {}", operation.method, operation.path)).collect();
    listed.sort();
    assert_eq!(listed, OPERATIONS);
}

#[test]
fn operations_are_named_described_and_secured_as_they_should_be() {
    let mut names = BTreeSet::new();
    for Operation { method, path, needs_token, statuses, parts } in operations() {
        let name = parts["operationId"].as_str().unwrap();
        assert!(names.insert(name), "two operations are named {name}");
        assert!(parts["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        assert_eq!(
            statuses.contains(&401),
            *needs_token || path.starts_with("/api/auth/") && has_credentials(path),
            "{method} {path}"
        );
        for (status, response) in parts["responses"].as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
            if status.parse::<u16>().unwrap() >= 400 && path != "/readyz" {
                let schema = &response["content"]["application/json"]["schema"]["$ref"];
                let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
                let named = [schema, problem].map(|schema| schema == "#/components/schemas/Problem");
                assert!(named.contains(&true), "{method} {path} {status} is a problem: {response}");
            }
        }
    }
}

fn has_credentials(path: &str) -> bool {
    matches!(path, "/api/auth/login" | "/api/auth/refresh")
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(members) => {
                found.extend(members.get("$ref").and_then(Value::as_str));
                members.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(document.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

async fn the_server_serves_the_document(app: &TestApp) {
    let served = app.get("/api/openapi.json").send().await.ok(200);
    assert_eq!(served.text(), api_actix::http::openapi::to_json());
}

/// Ids that are there, by the names they have in paths.
async fn ids(app: &TestApp, user: &User) -> BTreeMap<&'static str, String> {
    let first = async |list: &str| app.get(list).send().await.column("id")[0].as_i64().unwrap();
    let hold = app.post(&format!("/api/shows/{}/holds", app.world.soon)).by(user).key("to-book");
    let hold = hold.json(&json!({ "quantity": 1 })).send().await.ok(201).json();
    let booking = app.book(user, "a-key", &json!({ "hold_id": hold["id"] })).await.booking();
    // Not the one that is called in: the newest.
    app.login(&user.email, PASSWORD).await.ok(200);
    let sessions = app.get("/api/me/sessions").by(user).send().await.column("id");
    let holds = format!("/api/shows/{}/holds", app.world.soon);
    let hold = app.post(&holds).by(user).key("a-hold").json(&json!({ "quantity": 1 })).send().await.ok(201).json();
    BTreeMap::from([
        ("{movie_id}", first("/api/movies").await.to_string()),
        ("{theatre_id}", first("/api/theatres").await.to_string()),
        ("{show_id}", app.world.soon.to_string()),
        ("{hold_id}", hold["id"].as_str().unwrap().to_owned()),
        ("{booking_id}", booking["id"].to_string()),
        ("{session_id}", sessions[0].to_string()),
    ])
}

fn filled(path: &str, ids: &BTreeMap<&str, String>) -> String {
    ids.iter().fold(path.to_owned(), |path, (name, id)| path.replace(name, id))
}

async fn every_documented_operation_is_answered(app: &TestApp) {
    for Operation { method, path, .. } in operations() {
        // Somebody else's each time, in an empty hall: a call may end what the next one asks for.
        app.backend.execute("DELETE FROM seat_claims").await;
        let user = app.sign_up().await;
        let ids = ids(app, &user).await;
        let call = app.call(method.clone(), &filled(path, &ids)).by(&user).key("another-key");
        let call = if *method == Method::GET { call } else { call.json(&json!({})) };
        let answer = call.send().await;
        assert!(!matches!(answer.status, 401 | 404 | 405 | 500), "{answer:?}");
        if *method == Method::GET {
            assert!(matches!(answer.status, 200 | 301 | 302), "{answer:?}");
        }
    }
}

async fn every_operation_with_security_refuses_whoever_has_no_token(app: &TestApp) {
    let user = app.sign_up().await;
    let ids = ids(app, &user).await;
    let mut refused = Vec::new();
    for Operation { method, path, needs_token, .. } in operations() {
        let call = app.call(method.clone(), &filled(path, &ids));
        let call = if *method == Method::GET { call } else { call.json(&json!({})) };
        let answer = call.send().await;
        assert_eq!(answer.status == 401, *needs_token, "{answer:?}");
        if *needs_token {
            answer.problem(401, "unauthenticated");
            refused.push(format!("{method} {path}"));
        }
    }
    let expected = [
        "GET /api/bookings",
        "POST /api/bookings",
        "GET /api/bookings/{booking_id}",
        "POST /api/bookings/{booking_id}/cancel",
        "POST /api/bookings/{booking_id}/seats",
        "POST /api/shows/{show_id}/holds",
        "GET /api/holds",
        "GET /api/holds/{hold_id}",
        "DELETE /api/holds/{hold_id}",
        "POST /api/holds/{hold_id}/extend",
        "GET /api/me",
        "PATCH /api/me",
        "DELETE /api/me",
        "GET /api/me/sessions",
        "DELETE /api/me/sessions/{session_id}",
        "GET /api/me/export",
    ];
    assert_eq!(refused.iter().collect::<BTreeSet<_>>(), expected.map(String::from).iter().collect::<BTreeSet<_>>());
}
