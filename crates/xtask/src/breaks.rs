//! Finds changes of the OpenAPI document that break existing clients.
//!
//! A request that was valid must remain valid, and a response must keep its promises. Schemas are compared as they are written. A change
//! that cannot be compared this way (`oneOf` of a response with another number of members, a reference to another file) counts as a break.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::process::{list, text};

/// The methods that a path of a document can have.
const METHODS: [&str; 8] = ["get", "put", "post", "delete", "options", "head", "patch", "trace"];
/// Upper limits of a value: a smaller one is narrower.
const AT_MOST: [&str; 5] = ["maxLength", "maximum", "exclusiveMaximum", "maxItems", "maxProperties"];
/// Lower limits of a value: a larger one is narrower.
const AT_LEAST: [&str; 5] = ["minLength", "minimum", "exclusiveMinimum", "minItems", "minProperties"];

/// A change of an operation, like `GET /api/movies`, that clients notice.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Finding {
    /// The method and the path.
    pub operation: String,
    /// The change.
    pub what: String,
}

/// The differences between two documents.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// Changes that break clients.
    pub breaks: BTreeSet<Finding>,
    /// Changes that break no client that accepts new values in an open list: new members of a response's `enum`.
    pub notes: BTreeSet<Finding>,
}

/// Compares the old document with the new one.
pub fn compare(old: &Value, new: &Value) -> Findings {
    let mut findings = Findings::default();
    for (operation, (path, before)) in operations(old) {
        let found = operations(new).remove(&operation);
        let mut differ = Differ { old, new, operation, findings: &mut findings, compared: BTreeSet::new() };
        match found {
            Some((new_path, after)) => differ.operation(path, before, new_path, after),
            None => differ.broken("it is gone"),
        }
    }
    findings
}

/// Returns every operation of a document, like `GET /api/movies`, with its path item and its definition.
pub fn operations(document: &Value) -> BTreeMap<String, (&Value, &Value)> {
    let mut operations = BTreeMap::new();
    for (path, item) in members(document.get("paths")) {
        for (method, operation) in members(Some(item)) {
            if METHODS.contains(&method.as_str()) {
                operations.insert(format!("{} {path}", method.to_uppercase()), (item, operation));
            }
        }
    }
    operations
}

fn members(value: Option<&Value>) -> impl Iterator<Item = (&String, &Value)> {
    value.and_then(Value::as_object).into_iter().flat_map(Map::iter)
}

/// The sender of the data that a schema describes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Sender {
    /// The client: valid requests must remain valid.
    Client,
    /// The server: promises must be kept.
    Server,
}

struct Differ<'a> {
    old: &'a Value,
    new: &'a Value,
    operation: String,
    findings: &'a mut Findings,
    /// Pairs of references that were already compared: schemas can be recursive.
    compared: BTreeSet<(Sender, String, String)>,
}

impl<'a> Differ<'a> {
    fn broken(&mut self, what: impl Into<String>) {
        self.findings.breaks.insert(Finding { operation: self.operation.clone(), what: what.into() });
    }

    fn operation(&mut self, old_path: &'a Value, old: &'a Value, new_path: &'a Value, new: &'a Value) {
        self.parameters(&parameters(self.old, old_path, old), &parameters(self.new, new_path, new));
        self.request_body(followed(self.old, old.get("requestBody")), followed(self.new, new.get("requestBody")));
        let responses = |operation: &'a Value| members(operation.get("responses"));
        for (status, before) in responses(old) {
            let before = followed(self.old, Some(before));
            match responses(new).find(|(found, _)| *found == status) {
                Some((_, after)) => self.response(status, before, followed(self.new, Some(after))),
                None => self.broken(format!("status {status} is gone")),
            }
        }
        self.security(&alternatives(self.old, old), &alternatives(self.new, new));
    }

    fn parameters(&mut self, old: &Parameters<'a>, new: &Parameters<'a>) {
        for (name, before) in old {
            match new.get(name) {
                Some(after) => {
                    if is_required(after) && !is_required(before) {
                        self.broken(format!("{name} must be given now"));
                    }
                    self.schema(Sender::Client, name, before.get("schema"), after.get("schema"));
                }
                // The server would ignore the parameter and return a different result.
                None => self.broken(format!("{name} is gone")),
            }
        }
        for (name, _) in new.iter().filter(|(name, after)| is_required(after) && !old.contains_key(*name)) {
            self.broken(format!("{name} must be given now"));
        }
    }

    fn request_body(&mut self, old: Option<&'a Value>, new: Option<&'a Value>) {
        let (before, after) = match (old, new) {
            (Some(before), Some(after)) => (before, after),
            (Some(_), None) => return self.broken("the request's body is gone"),
            (None, Some(after)) if is_required(after) => return self.broken("a body must be sent now"),
            (None, _) => return,
        };
        if is_required(after) && !is_required(before) {
            self.broken("a body must be sent now");
        }
        self.content(Sender::Client, "the request's body", before, after);
    }

    fn response(&mut self, status: &str, old: Option<&'a Value>, new: Option<&'a Value>) {
        let (Some(before), Some(after)) = (old, new) else {
            return self.broken(format!("status {status} refers to what is not in the document"));
        };
        let place = format!("the body of {status}");
        self.content(Sender::Server, &place, before, after);
        for (name, _) in members(before.get("headers")) {
            if !members(after.get("headers")).any(|(found, _)| found.eq_ignore_ascii_case(name)) {
                self.broken(format!("the header {name} of {status} is gone"));
            }
        }
    }

    fn content(&mut self, sender: Sender, place: &str, old: &'a Value, new: &'a Value) {
        for (media_type, before) in members(old.get("content")) {
            match members(new.get("content")).find(|(found, _)| *found == media_type) {
                Some((_, after)) => self.schema(sender, place, before.get("schema"), after.get("schema")),
                None => self.broken(format!("{place} is no longer {media_type}")),
            }
        }
    }

    /// Each old way to authenticate must still work: some new way must need no other credentials.
    fn security(&mut self, old: &[BTreeSet<String>], new: &[BTreeSet<String>]) {
        if !old.iter().all(|before| new.iter().any(|after| after.is_subset(before))) {
            self.broken("it takes other credentials");
        }
    }

    /// Compares two schemas at a place. A missing schema accepts any value.
    fn schema(&mut self, sender: Sender, place: &str, old: Option<&'a Value>, new: Option<&'a Value>) {
        let references = (reference(old), reference(new));
        if references != ("", "") {
            let pair = (sender, references.0.to_owned(), references.1.to_owned());
            if !self.compared.insert(pair) {
                return;
            }
        }
        let (Some(before), Some(after)) = (resolved(self.old, old), resolved(self.new, new)) else {
            return self.broken(format!("{place}: a reference leads nowhere"));
        };
        let (Some(before), Some(after)) = (described(before), described(after)) else {
            // The schema `false` accepts no value.
            if before != after {
                self.broken(format!("{place} cannot be compared"));
            }
            return;
        };
        self.types(sender, place, before, after);
        self.values(sender, place, before, after);
        if sender == Sender::Client {
            self.limits(place, before, after);
        }
        self.parts(sender, place, before, after);
        for combination in ["allOf", "anyOf", "oneOf", "prefixItems"] {
            let (before, after) = (parts_of(before, combination), parts_of(after, combination));
            // A request may get further alternatives after the known ones, which exclude each other.
            let is_wider = sender == Sender::Client && matches!(combination, "anyOf" | "oneOf");
            if before.len() != after.len() && !(is_wider && !before.is_empty() && before.len() < after.len()) {
                self.broken(format!("{place}: {combination} has {} members instead of {}", after.len(), before.len()));
            }
            for (before, after) in before.iter().zip(after) {
                self.schema(sender, place, Some(before), Some(after));
            }
        }
    }

    fn types(&mut self, sender: Sender, place: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let (before, after) = (types(old), types(new));
        let (narrow, wide) = match sender {
            Sender::Client => (&before, &after),
            Sender::Server => (&after, &before),
        };
        let fits = |value: &String| wide.contains(value) || value == "integer" && wide.contains("number");
        if !narrow.iter().all(fits) {
            let named = |types: &BTreeSet<String>| types.iter().cloned().collect::<Vec<_>>().join(" or ");
            self.broken(format!("{place} is {} instead of {}", named(&after), named(&before)));
        }
        let (before, after) = (old.get("format"), new.get("format"));
        let narrow = match sender {
            Sender::Client => after,
            Sender::Server => before,
        };
        if narrow.is_some() && before != after {
            let named = |format: Option<&Value>| format.and_then(Value::as_str).unwrap_or("none").to_owned();
            self.broken(format!("{place} has the format {} instead of {}", named(after), named(before)));
        }
    }

    /// Compares lists of values. A request's list can grow, and a response's list can shrink. A response's list that grows is a note.
    fn values(&mut self, sender: Sender, place: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        let (before, after) = (listed(old), listed(new));
        let missing = |narrow: &Option<Vec<Value>>, wide: &Option<Vec<Value>>| match (narrow, wide) {
            (_, None) => false,
            (None, Some(_)) => true,
            (Some(narrow), Some(wide)) => !narrow.iter().all(|value| wide.contains(value)),
        };
        if sender == Sender::Client && missing(&before, &after) {
            self.broken(format!("{place} takes fewer values"));
        }
        if sender == Sender::Server && missing(&after, &before) {
            let what = format!("{place} may have more values");
            self.findings.notes.insert(Finding { operation: self.operation.clone(), what });
        }
    }

    fn limits(&mut self, place: &str, old: &Map<String, Value>, new: &Map<String, Value>) {
        for (names, sign) in [(AT_MOST, 1.0), (AT_LEAST, -1.0)] {
            for name in names {
                let limit =
                    |schema: &Map<String, Value>| schema.get(name).and_then(Value::as_f64).map(|limit| limit * sign);
                let narrowed = match (limit(old), limit(new)) {
                    (_, None) => false,
                    (None, Some(_)) => true,
                    (Some(before), Some(after)) => after < before,
                };
                if narrowed {
                    self.broken(format!("{place} has a narrower {name}"));
                }
            }
        }
        for name in ["pattern", "uniqueItems", "multipleOf", "not"] {
            if new.get(name).is_some_and(|after| *after != json!(false) && old.get(name) != Some(after)) {
                self.broken(format!("{place} has another {name}"));
            }
        }
    }

    /// Compares the parts of an object or a list.
    fn parts(&mut self, sender: Sender, place: &str, old: &'a Map<String, Value>, new: &'a Map<String, Value>) {
        for (name, before) in members(old.get("properties")) {
            let inner = format!("{place}, {name}");
            match new.get("properties").and_then(|properties| properties.get(name)) {
                Some(after) => self.schema(sender, &inner, Some(before), Some(after)),
                None => self.broken(format!("{inner} is gone")),
            }
        }
        let (before, after) = (required(old), required(new));
        match sender {
            Sender::Client => after.difference(&before).for_each(|name| {
                self.broken(format!("{place}, {name} must be given now"));
            }),
            Sender::Server => before.difference(&after).for_each(|name| {
                self.broken(format!("{place}, {name} is no longer always there"));
            }),
        }
        if old.contains_key("items") || new.contains_key("items") {
            self.schema(sender, &format!("{place}, an item"), old.get("items"), new.get("items"));
        }
        let others = |schema: &'a Map<String, Value>| schema.get("additionalProperties");
        match (others(old), others(new)) {
            (before, Some(Value::Bool(false))) => {
                if sender == Sender::Client && before != Some(&json!(false)) {
                    self.broken(format!("{place} takes no other members now"));
                }
            }
            // New members do not affect a client that reads only the members it knows.
            (Some(Value::Bool(false)), _) | (None, None) => {}
            (before, after) => self.schema(sender, &format!("{place}, a member"), before, after),
        }
    }
}

type Parameters<'a> = BTreeMap<String, &'a Value>;

/// Returns the parameters of an operation, including those of its path, by place and name.
fn parameters<'a>(document: &'a Value, path: &'a Value, operation: &'a Value) -> Parameters<'a> {
    let own = list(operation, "parameters").iter();
    let all = list(path, "parameters").iter().chain(own).filter_map(|found| followed(document, Some(found)));
    all.map(|found| {
        let (place, name) = (text(found, "in"), text(found, "name"));
        let name = if place == "header" { name.to_lowercase() } else { name.to_owned() };
        (format!("the {place} parameter {name}"), found)
    })
    .collect()
}

fn is_required(value: &Value) -> bool {
    value.get("required").and_then(Value::as_bool).unwrap_or(false)
}

/// Returns the ways to authenticate, each with the names of its credentials. Without any, returns one way that needs no credentials.
fn alternatives(document: &Value, operation: &Value) -> Vec<BTreeSet<String>> {
    let security = operation.get("security").or_else(|| document.get("security")).and_then(Value::as_array);
    let ways = security.map_or(&[][..], Vec::as_slice).iter();
    let ways: Vec<BTreeSet<String>> =
        ways.map(|way| members(Some(way)).map(|(name, _)| name.clone()).collect()).collect();
    if ways.is_empty() { vec![BTreeSet::new()] } else { ways }
}

fn reference(value: Option<&Value>) -> &str {
    value.map_or("", |value| text(value, "$ref"))
}

/// Resolves a reference into the same document. `None` if its target does not exist.
fn followed<'a>(document: &'a Value, value: Option<&'a Value>) -> Option<&'a Value> {
    let mut value = value?;
    // References to references are rare. The limit ends a reference to itself.
    for _ in 0..8 {
        match reference(Some(value)) {
            "" => return Some(value),
            path => value = document.pointer(path.strip_prefix('#')?)?,
        }
    }
    None
}

/// Resolves a schema. A missing schema accepts any value.
fn resolved<'a>(document: &'a Value, schema: Option<&'a Value>) -> Option<&'a Value> {
    const ANY: &Value = &Value::Bool(true);
    schema.map_or(Some(ANY), |schema| followed(document, Some(schema)))
}

/// Returns the members of a schema. An empty map if any value is valid, `None` if no value is.
fn described(schema: &Value) -> Option<&Map<String, Value>> {
    static NOTHING: std::sync::LazyLock<Map<String, Value>> = std::sync::LazyLock::new(Map::new);
    match schema {
        Value::Object(said) => Some(said),
        Value::Bool(true) => Some(&NOTHING),
        _ => None,
    }
}

/// Returns the types of a schema. All types if it names none.
fn types(schema: &Map<String, Value>) -> BTreeSet<String> {
    let named = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    match schema.get("type") {
        Some(Value::String(name)) => named(&[name]),
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => named(&["array", "boolean", "integer", "null", "number", "object", "string"]),
    }
}

/// Returns the values that a schema lists, if any.
fn listed(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    let constant = schema.get("const").map(|value| vec![value.clone()]);
    constant.or_else(|| schema.get("enum").and_then(Value::as_array).cloned())
}

fn required(schema: &Map<String, Value>) -> BTreeSet<String> {
    let names = schema.get("required").and_then(Value::as_array);
    names.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn parts_of<'a>(schema: &'a Map<String, Value>, name: &str) -> &'a [Value] {
    schema.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns a small document with one element of each kind.
    fn document() -> Value {
        json!({
            "paths": {
                "/things": {
                    "get": {
                        "parameters": [
                            {"in": "query", "name": "limit", "schema": {"type": "integer", "minimum": 1, "maximum": 100}},
                            {"in": "query", "name": "order", "schema": {"type": "string", "enum": ["old", "new"]}},
                            {"in": "header", "name": "X-Trace", "schema": {"type": "string"}}
                        ],
                        "responses": {
                            "200": {
                                "headers": {"Link": {}},
                                "content": {
                                    "application/json": {"schema": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}}},
                                    "text/csv": {}
                                }
                            },
                            "404": {"$ref": "#/components/responses/Gone"}
                        }
                    },
                    "post": {
                        "security": [{"token": []}],
                        "requestBody": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/NewThing"}}}},
                        "responses": {"201": {"content": {"application/json": {"schema": {"$ref": "#/components/schemas/Thing"}}}}}
                    }
                },
                "/things/{id}": {
                    "parameters": [{"in": "path", "name": "id", "required": true, "schema": {"type": "integer"}}],
                    "delete": {"responses": {"204": {}}}
                }
            },
            "components": {
                "responses": {"Gone": {"content": {"application/problem+json": {"schema": {"type": "object"}}}}},
                "schemas": {
                    "Thing": {
                        "type": "object",
                        "required": ["id", "state"],
                        "properties": {
                            "id": {"type": "integer", "format": "int64"},
                            "state": {"type": "string", "enum": ["new", "sold"]},
                            "note": {"type": ["string", "null"]},
                            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Thing"}},
                            "owner": {"oneOf": [{"type": "null"}, {"$ref": "#/components/schemas/Owner"}]},
                            "counts": {"type": "object", "additionalProperties": {"type": "integer"}}
                        }
                    },
                    "Owner": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
                    "NewThing": {
                        "type": "object",
                        "required": ["name"],
                        "properties": {
                            "name": {"type": "string", "minLength": 1, "maxLength": 100, "pattern": "^[a-z]"},
                            "kind": {"type": ["string", "null"], "enum": ["a", "b", null]},
                            "size": {"type": "number"},
                            "extra": {"type": "object"},
                            "place": {"oneOf": [{"type": "string"}, {"type": "integer"}]}
                        }
                    }
                }
            }
        })
    }

    const LIST: &str = "/paths/~1things/get";
    const MAKE: &str = "/paths/~1things/post";
    const THING: &str = "/components/schemas/Thing";
    const NEW: &str = "/components/schemas/NewThing";

    /// Returns the findings after a change: in the object at `place`, the member `name` is set to `value`, or removed for `None`.
    fn after(place: &str, name: &str, value: Option<Value>) -> Findings {
        let (old, mut new) = (document(), document());
        let object = new.pointer_mut(place).unwrap().as_object_mut().unwrap();
        match value {
            Some(value) => object.insert(name.to_owned(), value),
            None => object.remove(name),
        };
        assert_ne!(old, new, "nothing was changed at {place}");
        compare(&old, &new)
    }

    #[track_caller]
    fn breaks(place: &str, name: &str, value: Option<Value>, expected: &[(&str, &str)]) {
        let found = after(place, name, value).breaks;
        let found: Vec<_> = found.iter().map(|found| (found.operation.as_str(), found.what.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[track_caller]
    fn is_fine(place: &str, name: &str, value: Option<Value>) {
        assert_eq!(after(place, name, value), Findings::default());
    }

    #[test]
    fn the_same_document_breaks_nothing() {
        assert_eq!(compare(&document(), &document()), Findings::default());
    }

    #[test]
    fn a_path_or_an_operation_that_is_gone() {
        breaks("/paths", "/things/{id}", None, &[("DELETE /things/{id}", "it is gone")]);
        breaks("/paths/~1things", "post", None, &[("POST /things", "it is gone")]);
    }

    #[test]
    fn new_paths_operations_statuses_and_media_types_are_fine() {
        is_fine("/paths", "/others", Some(json!({"get": {"responses": {"200": {}}}})));
        is_fine("/paths/~1things", "put", Some(json!({"responses": {"200": {}}})));
        is_fine(&format!("{LIST}/responses"), "429", Some(json!({})));
        is_fine(&format!("{MAKE}/responses/201/content"), "text/plain", Some(json!({})));
    }

    #[test]
    fn words_for_people_are_fine() {
        is_fine(LIST, "description", Some(json!("Lists things.")));
        is_fine(&format!("{THING}/properties/id"), "example", Some(json!(7)));
        is_fine(LIST, "operationId", Some(json!("things")));
    }

    #[test]
    fn parameters() {
        let place = format!("{LIST}/parameters");
        let list = "GET /things";
        let with = |index: usize, change: fn(&mut Value)| {
            let mut parameters = document().pointer(&place).unwrap().clone();
            change(&mut parameters[index]);
            Some(parameters)
        };
        breaks(
            LIST,
            "parameters",
            Some(json!([])),
            &[
                (list, "the header parameter x-trace is gone"),
                (list, "the query parameter limit is gone"),
                (list, "the query parameter order is gone"),
            ],
        );
        let required = with(2, |parameter| parameter["required"] = json!(true));
        breaks(LIST, "parameters", required, &[(list, "the header parameter x-trace must be given now")]);
        let renamed = with(2, |parameter| parameter["name"] = json!("x-TRACE"));
        is_fine(LIST, "parameters", renamed);
        let maximum = with(0, |parameter| parameter["schema"]["maximum"] = json!(50));
        breaks(LIST, "parameters", maximum, &[(list, "the query parameter limit has a narrower maximum")]);
        let wider = with(0, |parameter| parameter["schema"]["maximum"] = json!(500));
        is_fine(LIST, "parameters", wider);
        let text = with(0, |parameter| parameter["schema"] = json!({"type": "string"}));
        breaks(LIST, "parameters", text, &[(list, "the query parameter limit is string instead of integer")]);
        let fewer = with(1, |parameter| parameter["schema"]["enum"] = json!(["old"]));
        breaks(LIST, "parameters", fewer, &[(list, "the query parameter order takes fewer values")]);
        let more = with(1, |parameter| parameter["schema"]["enum"] = json!(["old", "new", "best"]));
        is_fine(LIST, "parameters", more);
        let optional = json!([{"in": "query", "name": "page", "schema": {"type": "integer"}}]);
        is_fine("/paths/~1things", "parameters", Some(optional));
        let needed = json!([{"in": "query", "name": "page", "required": true, "schema": {"type": "integer"}}]);
        breaks(
            "/paths/~1things",
            "parameters",
            Some(needed),
            &[
                (list, "the query parameter page must be given now"),
                ("POST /things", "the query parameter page must be given now"),
            ],
        );
    }

    #[test]
    fn the_body_of_a_request() {
        let make = "POST /things";
        breaks(MAKE, "requestBody", None, &[(make, "the request's body is gone")]);
        breaks(&format!("{MAKE}/requestBody"), "required", Some(json!(true)), &[(make, "a body must be sent now")]);
        let body = json!({"required": true, "content": {}});
        breaks(LIST, "requestBody", Some(body), &[("GET /things", "a body must be sent now")]);
        let content = format!("{MAKE}/requestBody/content");
        let gone = (make, "the request's body is no longer application/json");
        breaks(&content, "application/json", None, &[gone]);
        breaks(NEW, "required", Some(json!(["name", "kind"])), &[(make, "the request's body, kind must be given now")]);
        is_fine(NEW, "required", Some(json!([])));
        let properties = format!("{NEW}/properties");
        breaks(&properties, "size", None, &[(make, "the request's body, size is gone")]);
        is_fine(&properties, "colour", Some(json!({"type": "string"})));
        let size = (make, "the request's body, size is integer instead of number");
        breaks(&properties, "size", Some(json!({"type": "integer"})), &[size]);
        is_fine(&properties, "size", Some(json!({"type": ["number", "string"]})));
        is_fine(&properties, "size", Some(json!({})));
        let kind = format!("{properties}/kind");
        breaks(
            &kind,
            "type",
            Some(json!("string")),
            &[(make, "the request's body, kind is string instead of null or string")],
        );
        breaks(&kind, "enum", Some(json!(["a", null])), &[(make, "the request's body, kind takes fewer values")]);
        breaks(&kind, "const", Some(json!("a")), &[(make, "the request's body, kind takes fewer values")]);
        is_fine(&kind, "enum", None);
        breaks(
            NEW,
            "additionalProperties",
            Some(json!(false)),
            &[(make, "the request's body takes no other members now")],
        );
        let extra = format!("{properties}/extra");
        breaks(
            &extra,
            "additionalProperties",
            Some(json!({"type": "string"})),
            &[(
                make,
                "the request's body, extra, a member is string instead of array or boolean or integer or null or number or object or string",
            )],
        );
    }

    #[test]
    fn the_limits_of_a_request() {
        let name = format!("{NEW}/properties/name");
        let narrower = |limit: &str| format!("the request's body, name has a narrower {limit}");
        breaks(&name, "maxLength", Some(json!(99)), &[("POST /things", &narrower("maxLength"))]);
        breaks(&name, "minLength", Some(json!(2)), &[("POST /things", &narrower("minLength"))]);
        is_fine(&name, "maxLength", Some(json!(101)));
        is_fine(&name, "minLength", Some(json!(0)));
        is_fine(&name, "maxLength", None);
        is_fine(&name, "pattern", None);
        breaks(
            &name,
            "pattern",
            Some(json!("^[a-f]")),
            &[("POST /things", "the request's body, name has another pattern")],
        );
        breaks(
            &name,
            "format",
            Some(json!("email")),
            &[("POST /things", "the request's body, name has the format email instead of none")],
        );
        let size = format!("{NEW}/properties/size");
        breaks(
            &size,
            "exclusiveMaximum",
            Some(json!(10)),
            &[("POST /things", "the request's body, size has a narrower exclusiveMaximum")],
        );
    }

    #[test]
    fn statuses_headers_and_media_types_of_answers() {
        let responses = format!("{LIST}/responses");
        breaks(&responses, "404", None, &[("GET /things", "status 404 is gone")]);
        breaks(&format!("{responses}/200"), "headers", None, &[("GET /things", "the header Link of 200 is gone")]);
        let content = format!("{responses}/200/content");
        breaks(&content, "text/csv", None, &[("GET /things", "the body of 200 is no longer text/csv")]);
        let gone = "/components/responses/Gone/content";
        breaks(
            gone,
            "application/problem+json",
            None,
            &[("GET /things", "the body of 404 is no longer application/problem+json")],
        );
    }

    #[test]
    fn the_bodies_of_answers() {
        let both = |what: &str| [format!("the body of 200, an item, {what}"), format!("the body of 201, {what}")];
        let expect = |place: &str, name: &str, value: Option<Value>, what: &str| {
            let [list, make] = both(what);
            breaks(place, name, value, &[("GET /things", &list), ("POST /things", &make)]);
        };
        let properties = format!("{THING}/properties");
        expect(&properties, "note", None, "note is gone");
        expect(THING, "required", Some(json!(["id"])), "state is no longer always there");
        is_fine(THING, "required", Some(json!(["id", "state", "note"])));
        is_fine(&properties, "colour", Some(json!({"type": "string"})));
        expect(&format!("{properties}/id"), "type", Some(json!("string")), "id is string instead of integer");
        expect(&format!("{properties}/id"), "type", Some(json!("number")), "id is number instead of integer");
        expect(&format!("{properties}/id"), "format", Some(json!("int32")), "id has the format int32 instead of int64");
        expect(&format!("{properties}/id"), "format", None, "id has the format none instead of int64");
        is_fine(&format!("{properties}/note"), "type", Some(json!("string")));
        is_fine(&format!("{properties}/note"), "maxLength", Some(json!(7)));
        let counts = format!("{properties}/counts");
        expect(
            &counts,
            "additionalProperties",
            Some(json!({"type": "string"})),
            "counts, a member is string instead of integer",
        );
        let list = json!({"type": "object"});
        let content = format!("{LIST}/responses/200/content/application~1json");
        breaks(
            &content,
            "schema",
            Some(list),
            &[
                ("GET /things", "the body of 200 is object instead of array"),
                (
                    "GET /things",
                    "the body of 200, an item is array or boolean or integer or null or number or object or string instead of object",
                ),
                ("GET /things", "the body of 200, an item, counts is gone"),
                ("GET /things", "the body of 200, an item, id is gone"),
                ("GET /things", "the body of 200, an item, id is no longer always there"),
                ("GET /things", "the body of 200, an item, note is gone"),
                ("GET /things", "the body of 200, an item, owner is gone"),
                ("GET /things", "the body of 200, an item, parts is gone"),
                ("GET /things", "the body of 200, an item, state is gone"),
                ("GET /things", "the body of 200, an item, state is no longer always there"),
            ],
        );
    }

    #[test]
    fn more_values_in_an_answer_are_noted_and_fewer_are_fine() {
        let state = format!("{THING}/properties/state");
        let found = after(&state, "enum", Some(json!(["new", "sold", "lost"])));
        assert_eq!(found.breaks, BTreeSet::new());
        let notes: Vec<_> = found.notes.iter().map(|note| note.what.as_str()).collect();
        assert_eq!(
            notes,
            ["the body of 200, an item, state may have more values", "the body of 201, state may have more values"]
        );
        is_fine(&state, "enum", Some(json!(["new"])));
    }

    #[test]
    fn combinations_are_compared_member_by_member() {
        let owner = "/components/schemas/Owner";
        breaks(
            &format!("{owner}/properties"),
            "name",
            None,
            &[
                ("GET /things", "the body of 200, an item, owner, name is gone"),
                ("POST /things", "the body of 201, owner, name is gone"),
            ],
        );
        is_fine(&format!("{owner}/properties"), "age", Some(json!({"type": "integer"})));
        // A request can have more alternatives, but each known one stays.
        let place = format!("{NEW}/properties/place");
        is_fine(&place, "oneOf", Some(json!([{"type": "string"}, {"type": "integer"}, {"type": "array"}])));
        for fewer_or_other in
            [json!([{"type": "string"}]), json!([{"type": "string"}, {"type": "array"}, {"type": "integer"}])]
        {
            let found = after(&place, "oneOf", Some(fewer_or_other)).breaks;
            assert_eq!(found.len(), 1, "{found:?}");
        }
        let one = json!([{"$ref": "#/components/schemas/Owner"}]);
        let found = after(&format!("{THING}/properties/owner"), "oneOf", Some(one)).breaks;
        assert!(found.iter().any(|found| found.what.ends_with("owner: oneOf has 1 members instead of 2")), "{found:?}");
    }

    #[test]
    fn references_that_lead_nowhere_are_no_proof() {
        let items = format!("{LIST}/responses/200/content/application~1json/schema");
        for nowhere in ["#/components/schemas/Nothing", "other.json#/Thing"] {
            let found = after(&items, "items", Some(json!({"$ref": nowhere}))).breaks;
            assert!(found.iter().any(|found| found.what.ends_with("a reference leads nowhere")), "{found:?}");
        }
    }

    #[test]
    fn credentials() {
        let other = "it takes other credentials";
        breaks(LIST, "security", Some(json!([{"token": []}])), &[("GET /things", other)]);
        breaks(MAKE, "security", Some(json!([{"key": []}])), &[("POST /things", other)]);
        breaks(MAKE, "security", Some(json!([{"token": [], "key": []}])), &[("POST /things", other)]);
        is_fine(MAKE, "security", Some(json!([{"key": []}, {"token": []}])));
        is_fine(MAKE, "security", None);
        is_fine(LIST, "security", Some(json!([{}, {"token": []}])));
        breaks("", "security", Some(json!([{"token": []}])), &[("DELETE /things/{id}", other), ("GET /things", other)]);
    }
}
