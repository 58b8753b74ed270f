//! The OpenAPI document: it equals the committed one, every call is authorised as documented, and every response of every test conforms
//! to it ([`check`], which the harness calls).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use jsonschema::Validator;
use port_contracts::Fixture as _;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{Answer, Call, PASSWORD, TestApp, User};

on_both_stores!(
    server_serves_the_document,
    every_operation_is_answered,
    every_operation_is_authorised_as_documented,
    every_path_lists_its_methods,
);

/// The authorisation of an operation, according to the document.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Session {
    /// No token is needed, and a token is ignored.
    None,
    /// No token is needed, and a token adds to the response.
    Optional,
    /// The token of a live session is needed.
    Required,
    /// The token of a member of staff is needed.
    Staff,
    /// The token of an administrator is needed.
    Admin,
}

impl Session {
    /// Returns whether a request without a token is refused.
    pub fn needs_token(self) -> bool {
        !matches!(self, Self::None | Self::Optional)
    }
}

/// An operation of the document.
pub struct Operation {
    pub method: Method,
    /// The path template.
    pub path: String,
    pub session: Session,
    pub responses: Value,
    parts: Value,
}

impl Operation {
    /// Returns the names of the path's parameters, in order.
    pub fn path_parameters(&self) -> Vec<&str> {
        self.path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect()
    }

    /// Returns the path with these ids.
    pub fn path_with(&self, ids: &Ids<'_>) -> String {
        ids.iter().fold(self.path.clone(), |path, (name, id)| path.replace(&format!("{{{name}}}"), id))
    }

    /// Returns whether the response with this status can have this code.
    pub fn has_code(&self, status: u16, code: &str) -> bool {
        let content = &self.responses[status.to_string()]["content"]["application/problem+json"];
        content["schema"].to_string().contains(&format!("\"{code}\""))
    }

    /// Returns whether a request without a body is invalid.
    pub fn needs_body(&self) -> bool {
        self.parts["requestBody"]["required"] == true
    }

    /// Returns the call for these ids. A call that can have a body gets an empty object, which calls that require a body refuse.
    pub fn call(&self, app: &TestApp, ids: &Ids<'_>) -> Call {
        self.call_with(app, ids, &json!({}))
    }

    /// Returns the call with a body, where the call can have one.
    pub fn call_with(&self, app: &TestApp, ids: &Ids<'_>, body: &Value) -> Call {
        let call = app.call(self.method.clone(), &self.path_with(ids));
        if self.method == Method::GET { call } else { call.json(body) }
    }
}

/// Ids of existing rows, by the names of the parameters.
pub type Ids<'name> = BTreeMap<&'name str, String>;

static DOCUMENT: LazyLock<Value> =
    LazyLock::new(|| serde_json::from_str(include_str!("../crates/api-actix/openapi.json")).unwrap());

/// Returns the operations of the document.
pub fn operations() -> &'static [Operation] {
    static OPERATIONS: LazyLock<Vec<Operation>> = LazyLock::new(|| {
        let of_path = |(path, methods): (&String, &Value)| -> Vec<Operation> {
            let methods = methods.as_object().unwrap().iter();
            methods.map(|(method, parts)| operation(method, path, parts)).collect()
        };
        DOCUMENT["paths"].as_object().unwrap().iter().flat_map(of_path).collect()
    });
    &OPERATIONS
}

fn operation(method: &str, path: &str, parts: &Value) -> Operation {
    let session = match parts.get("security").map(|alternatives| alternatives.as_array().unwrap()) {
        None => Session::None,
        Some(alternatives) if alternatives.contains(&json!({})) => Session::Optional,
        // The roles that the call requires.
        Some(alternatives) => match alternatives[0]["bearer"][0].as_str() {
            None => Session::Required,
            Some("staff") => Session::Staff,
            Some("admin") => Session::Admin,
            Some(other) => panic!("an unknown role: {other}"),
        },
    };
    Operation {
        method: Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
        path: path.to_owned(),
        session,
        responses: parts["responses"].clone(),
        parts: parts.clone(),
    }
}

/// Checks a response against the document: status, media type and body. HEAD is checked as GET. A request that is not a documented
/// operation is not checked.
#[track_caller]
pub fn check(method: &Method, path: &str, answer: &Answer) {
    let documented = if *method == Method::HEAD { &Method::GET } else { method };
    let path = path.split('?').next().unwrap_or_default();
    // Another spelling of an operation's path is not an operation.
    if path.contains('%') {
        return;
    }
    let fits = |operation: &&Operation| operation.method == *documented && is_at(&operation.path, path);
    let Some(operation) = operations().iter().find(fits) else { return };
    let Some(response) = operation.responses.get(answer.status.to_string()) else {
        panic!("this status is not documented: {answer:?}");
    };
    let Some(content) = response.get("content") else {
        assert!(answer.bytes.is_empty(), "this response has no documented body: {answer:?}");
        return;
    };
    let media_type = answer.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    assert!(content.get(media_type).is_some(), "this media type is not documented: {answer:?}");
    if *method == Method::HEAD || !media_type.ends_with("json") || answer.header("content-encoding").is_some() {
        return;
    }
    let validator = validator(operation, answer.status, media_type);
    let body = serde_json::from_slice(&answer.bytes).unwrap();
    let errors: Vec<_> =
        validator.iter_errors(&body).map(|error| format!("{}: {error}", error.instance_path())).collect();
    assert!(errors.is_empty(), "this body is not documented: {errors:#?}\n{answer:?}");
}

fn validator(operation: &'static Operation, status: u16, media_type: &str) -> Arc<Validator> {
    type Validators = HashMap<(&'static str, String, u16, String), Arc<Validator>>;
    static VALIDATORS: LazyLock<Mutex<Validators>> = LazyLock::new(Mutex::default);
    let key = (operation.path.as_str(), operation.method.to_string(), status, media_type.to_owned());
    let mut validators = VALIDATORS.lock().unwrap_or_else(PoisonError::into_inner);
    let build = || {
        let mut schema = operation.responses[status.to_string()]["content"][media_type]["schema"].clone();
        // The references of the schema point into this object.
        schema["components"] = DOCUMENT["components"].clone();
        Arc::new(jsonschema::options().should_validate_formats(true).build(&schema).unwrap())
    };
    Arc::clone(validators.entry(key).or_insert_with(build))
}

fn is_at(template: &str, path: &str) -> bool {
    let (expected, found): (Vec<_>, Vec<_>) = (template.split('/').collect(), path.split('/').collect());
    let same =
        |(expected, found): (&&str, &&str)| expected == found || (expected.starts_with('{') && !found.is_empty());
    expected.len() == found.len() && expected.iter().zip(&found).all(same)
}

#[test]
fn committed_document_is_the_generated_one() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../crates/api-actix/openapi.json");
    let generated = api_actix::http::openapi::to_json();
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        std::fs::write(path, &generated).unwrap();
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    assert!(committed == generated, "openapi.json is not what the code says: run this test with UPDATE_OPENAPI=1");
}

#[test]
fn operations_are_named_and_described() {
    assert!(DOCUMENT["openapi"].as_str().unwrap().starts_with("3.1"));
    let tags: BTreeSet<_> =
        DOCUMENT["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let mut names = BTreeSet::new();
    for operation in operations() {
        let Operation { method, path, parts, responses, .. } = operation;
        let name = parts["operationId"].as_str().unwrap();
        assert!(names.insert(name), "two operations are named {name}");
        assert!(tags.contains(parts["tags"][0].as_str().unwrap()), "{method} {path}");
        assert!(parts["summary"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path}");
        let none = Vec::new();
        let parameters = parts["parameters"].as_array().unwrap_or(&none).iter();
        let in_path = parameters.filter(|parameter| parameter["in"] == "path").map(|parameter| &parameter["name"]);
        assert_eq!(in_path.collect::<Vec<_>>(), operation.path_parameters(), "{method} {path}");
        let needs_session = operation.session.needs_token();
        assert!(!needs_session || operation.has_code(401, "unauthenticated"), "{method} {path}");
        for (status, response) in responses.as_object().unwrap() {
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{method} {path} {status}");
        }
    }
}

#[test]
fn every_reference_leads_to_a_schema() {
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
    let mut found = BTreeSet::new();
    references(&DOCUMENT, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        assert!(DOCUMENT.pointer(reference.trim_start_matches('#')).is_some(), "{reference}");
    }
}

async fn server_serves_the_document(app: &TestApp) {
    let served = app.get("/api/openapi.json").send().await.ok(200);
    assert_eq!(served.json(), *DOCUMENT);
}

/// Returns whether ids of this parameter belong to a user, so that other users must not find them.
fn is_owned(parameter: &str) -> bool {
    match parameter {
        "movie_id" | "theatre_id" | "show_id" | "hall_id" | "layout_id" | "user_id" | "ticket_type_id"
        | "price_list_id" => false,
        "hold_id" | "booking_id" | "session_id" => true,
        other => panic!("say here whether what `{other}` names belongs to a user, and add an id of it to `ids`"),
    }
}

/// Returns every call that needs a session, for ids that may not exist.
pub fn calls_with_a_session(app: &TestApp) -> Vec<Call> {
    let names = operations().iter().flat_map(Operation::path_parameters);
    let ids = names.map(|name| (name, "1".to_owned())).collect();
    let operations = operations().iter().filter(|operation| operation.session.needs_token());
    operations.map(|operation| operation.call(app, &ids).key("a-key")).collect()
}

/// Returns ids of existing rows. Those that can be owned belong to this user.
pub async fn ids(app: &TestApp, user: &User) -> Ids<'static> {
    let first = async |list: &str| app.get(list).send().await.column("id")[0].as_i64().unwrap();
    let holds = format!("/api/shows/{}/holds", app.world.soon);
    let hold = app.post(&holds).by(user).key("to-book").json(&json!({ "quantity": 1 })).send().await.ok(201).json();
    let booking = app.book(user, "a-key", &json!({ "hold_id": hold["id"] })).await.booking();
    // The newest session, which is not the one of these requests.
    app.login(&user.email, PASSWORD).await.ok(200);
    let sessions = app.get("/api/me/sessions").by(user).send().await.column("id");
    let hall = app.get("/api/theatres").send().await.list()[0]["halls"][0]["id"].clone();
    let layout = app.backend.count(&format!("SELECT max(id) FROM layouts WHERE hall_id = {hall}")).await;
    let other = app.sign_up().await;
    let hold = app.post(&holds).by(user).key("a-hold").json(&json!({ "quantity": 1 })).send().await.ok(201).json();
    let adult = app.backend.count("SELECT id FROM ticket_types WHERE code = 'adult'").await;
    let theatre = first("/api/theatres").await;
    let (name, at) = (format!("List {}", app.rows("price_lists").await), app.backend.instant(0));
    let content = json!({ "prices": [{ "category": "standard", "ticket_type": "adult", "minor": 900 }], "rules": [] });
    let columns = "theatre_id, name, name_folded, currency, content, created_at, updated_at";
    let insert = format!(
        "INSERT INTO price_lists ({columns}) VALUES ({theatre}, '{name}', lower('{name}'), 'EUR', '{content}', {at}, {at})"
    );
    app.backend.execute(&insert).await;
    let list = app.backend.count("SELECT max(id) FROM price_lists").await;
    BTreeMap::from([
        ("movie_id", first("/api/movies").await.to_string()),
        ("theatre_id", theatre.to_string()),
        ("show_id", app.world.soon.to_string()),
        ("hold_id", hold["id"].as_str().unwrap().to_owned()),
        ("booking_id", booking["id"].to_string()),
        ("session_id", sessions[0].to_string()),
        ("hall_id", hall.to_string()),
        ("layout_id", layout.to_string()),
        ("user_id", other.id.to_string()),
        ("ticket_type_id", adult.to_string()),
        ("price_list_id", list.to_string()),
    ])
}

async fn every_operation_is_answered(app: &TestApp) {
    for operation in operations() {
        // Each call gets its own user and an empty hall, because a call can change what the next one needs.
        app.backend.execute("DELETE FROM seat_claims").await;
        let user = app.sign_up_admin().await;
        let ids = ids(app, &user).await;
        let answer = operation.call(app, &ids).by(&user).key("another-key").send().await;
        assert!(!matches!(answer.status, 401 | 404 | 405 | 500), "{answer:?}");
        if operation.method == Method::GET {
            assert!(matches!(answer.status, 200 | 301 | 302), "{answer:?}");
        }
    }
}

/// Checks the authorisation of every operation: the responses without a token, with an invalid token, with the token of an ended session,
/// and to a user who is not the owner.
async fn every_operation_is_authorised_as_documented(app: &TestApp) {
    let user = app.sign_up().await;
    let ids = ids(app, &user).await;
    let ended = app.login(&user.email, PASSWORD).await.user();
    app.post("/api/auth/logout").json(&json!({ "refresh_token": ended.refresh_token })).send().await.ok(204);
    let other = app.sign_up().await;
    for operation in operations() {
        let call = || operation.call(app, &ids).key("a-key-for-authorisation");
        let refused = [
            ("no token", call().send().await),
            ("an invalid token", call().token("not.a.token").send().await),
            ("an ended session", call().by(&ended).send().await),
        ];
        for (case, answer) in refused {
            if operation.session.needs_token() {
                answer.problem(401, "unauthenticated");
            } else {
                assert_ne!(answer.code().as_deref(), Some("unauthenticated"), "{case}: {answer:?}");
            }
        }
        // Staff are not owners.
        let is_owners = operation.session == Session::Required;
        if is_owners && operation.path_parameters().into_iter().any(is_owned) {
            // A body that satisfies the calls that require one, because an invalid body is refused first.
            let body = json!({ "seat_ids": [app.world.main[0].id.0] });
            let answer = operation.call_with(app, &ids, &body).by(&other).key("of-another").send().await;
            assert_eq!(answer.status, 404, "{answer:?}");
        }
    }
}

async fn every_path_lists_its_methods(app: &TestApp) {
    app.connect_directly("nginx refuses TRACE");
    let user = app.sign_up().await;
    let ids = ids(app, &user).await;
    let mut methods: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for operation in operations() {
        let known = methods.entry(operation.path_with(&ids)).or_default();
        known.insert(operation.method.as_str().to_ascii_lowercase());
        if operation.method == Method::GET {
            known.insert("head".to_owned());
        }
    }
    for (path, allowed) in methods {
        for method in ["PUT", "POST", "GET", "DELETE", "PATCH", "TRACE", "BREW", "OPTIONS"] {
            if allowed.contains(&method.to_ascii_lowercase()) {
                continue;
            }
            let answer = app.call(Method::from_bytes(method.as_bytes()).unwrap(), &path).send().await;
            let answer = answer.problem(405, "method_not_allowed");
            assert_eq!(answer.header_list("allow"), allowed.iter().cloned().collect::<Vec<_>>(), "{method} {path}");
        }
    }
}
