//! The tutorial, request by request, as it is written.

use std::collections::BTreeMap;

use chrono::{Datelike as _, Days, Utc, Weekday};
use serde_json::Value;

use super::support::{Client, Kind, Site};

const PAGE: &str = include_str!("../../docs/tutorial.md");

/// A request of the tutorial, and what it says of the response.
struct Step {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: String,
    status: u16,
    /// Names of values to keep, as `{name}`, or texts in quotes to expect, each with a JSON pointer.
    values: Vec<(String, String)>,
}

impl Step {
    /// Reads a block of the page: the request line, headers, an empty line, the body, and a line about the response.
    fn parse(block: &str) -> Self {
        let (request, response) = block.trim().rsplit_once("# ").unwrap();
        let (head, body) = request.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let (status, values) = response.split_once(": ").unwrap_or((response, ""));
        let values =
            values.split(", ").filter(|value| !value.is_empty()).map(|value| value.split_once(" is ").unwrap());
        let owned = |(left, right): (&str, &str)| (left.to_owned(), right.to_owned());
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: headers.map(owned).collect(),
            body: body.trim().to_owned(),
            status: status.parse().unwrap(),
            values: values.map(owned).collect(),
        }
    }

    async fn run(&self, client: &Client, known: &mut BTreeMap<String, String>) {
        let filled = |text: &str, known: &BTreeMap<String, String>| {
            known.iter().fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
        };
        let mut request = client.request(&self.method, &filled(&self.path, known));
        for (name, value) in &self.headers {
            request = request.header(name, filled(value, known));
        }
        if !self.body.is_empty() {
            request = request.header("content-type", "application/json").body(filled(&self.body, known));
        }
        let reply = client.send(request).await;
        assert_eq!(reply.status, self.status, "{} {}: {reply:?}", self.method, self.path);
        for (name, pointer) in &self.values {
            let body = reply.json();
            let found = body.pointer(pointer).unwrap_or_else(|| panic!("{pointer} of {body}"));
            let found = found.as_str().map_or_else(|| found.to_string(), str::to_owned);
            match name.strip_prefix('"') {
                Some(expected) => {
                    assert_eq!(found, filled(expected.trim_end_matches('"'), known), "{pointer} of {body}");
                }
                None => {
                    known.insert(name.clone(), found);
                }
            }
        }
    }
}

async fn tutorial_works(kind: Kind) {
    let site = match kind {
        Kind::Embedded => Site::embedded(),
        Kind::Postgres => Site::empty_postgres().await,
    };
    let site = site.with("DEMO_DATA", "off");
    if kind == Kind::Postgres {
        site.run(&["migrate"], "").succeeded();
    }
    site.run(&["admin", "create", "--email", "boss@example.org"], "correct horse battery\n").succeeded();
    let server = site.serve();
    assert_eq!(server.client.get("/api/movies").await.expect(200), Value::Array(Vec::new()));
    let today = Utc::now().date_naive();
    let friday = (7..14).map(|days| today + Days::new(days)).find(|day| day.weekday() == Weekday::Fri).unwrap();
    let mut known = BTreeMap::from([("{friday}".to_owned(), friday.to_string())]);
    let mut steps = 0;
    for block in PAGE.split("```http\n").skip(1) {
        Step::parse(block.split("```").next().unwrap()).run(&server.client, &mut known).await;
        steps += 1;
    }
    assert!(steps > 15, "{steps}");
    assert_eq!(server.stop().code, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn tutorial_works_embedded() {
    tutorial_works(Kind::Embedded).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tutorial_works_postgres() {
    tutorial_works(Kind::Postgres).await;
}
