//! One request over HTTP, for the recipes that talk to a server.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

use crate::Failure;

/// How long a server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a server answered.
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: String,
}

impl Answer {
    /// Fails unless the status is this.
    pub fn expect(self, status: u16) -> Result<Self, Failure> {
        if self.status == status {
            Ok(self)
        } else {
            Err(format!("{status} expected, not {}: {}", self.status, self.body))
        }
    }

    /// The body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.body).map_err(|error| format!("the body is no JSON ({error}): {}", self.body))
    }

    /// The path of the next page of a list, as its `Link` says.
    pub fn next_page(&self) -> Option<String> {
        let link = self.head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("link").then_some(value)
        })?;
        let (_, link) = link.split_once('<')?;
        let (path, relation) = link.split_once('>')?;
        relation.contains("rel=\"next\"").then(|| path.to_owned())
    }

    /// Whether there is such a line in the head; case is ignored.
    pub fn has_header(&self, line: &str) -> bool {
        self.head.lines().any(|header| header.eq_ignore_ascii_case(line))
    }
}

/// GETs a path, with these lines of headers.
pub fn get(address: &str, path: &str, headers: &[&str]) -> Result<Answer, Failure> {
    call(address, "GET", path, headers, "")
}

/// POSTs JSON to a path, with these lines of headers.
pub fn post(address: &str, path: &str, headers: &[&str], body: &Value) -> Result<Answer, Failure> {
    call(address, "POST", path, &[headers, &["Content-Type: application/json"]].concat(), &body.to_string())
}

fn call(address: &str, method: &str, path: &str, headers: &[&str], body: &str) -> Result<Answer, Failure> {
    let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n{headers}\r\n{body}",
        body.len()
    );
    let answer = exchange(address, &request).map_err(|error| format!("{method} {path} at {address}: {error}"))?;
    parse(&answer).ok_or_else(|| format!("{method} {path} at {address}: the answer is not HTTP: {answer:?}"))
}

fn exchange(address: &str, request: &str) -> std::io::Result<String> {
    let mut connection = TcpStream::connect(address)?;
    connection.set_read_timeout(Some(PATIENCE))?;
    connection.set_write_timeout(Some(PATIENCE))?;
    connection.write_all(request.as_bytes())?;
    let mut answer = String::new();
    connection.read_to_string(&mut answer)?;
    Ok(answer)
}

/// An answer whose body ends with the connection: our server sends none in chunks where none is compressed.
fn parse(answer: &str) -> Option<Answer> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    Some(Answer { status, head: head.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_in_the_head() {
        let page = |link: &str| parse(&format!("HTTP/1.1 200 OK\r\n{link}\r\n\r\n[]")).unwrap().next_page();
        assert_eq!(page("link: </api/shows?cursor=x>; rel=\"next\"").unwrap(), "/api/shows?cursor=x");
        assert_eq!(page("link: </api/shows>; rel=\"prev\""), None);
        assert_eq!(page("x: y"), None);
    }

    #[test]
    fn an_answer_has_a_status_headers_and_a_body() {
        let answer = parse("HTTP/1.1 201 Created\r\nIdempotent-Replayed: true\r\n\r\n{\"a\":[1]}").unwrap();
        assert!(answer.has_header("idempotent-replayed: true") && !answer.has_header("idempotent-replayed: false"));
        assert_eq!(answer.json().unwrap()["a"][0], 1);
        assert!(answer.expect(201).unwrap().expect(200).is_err());
        for broken in ["", "HTTP/1.1 200 OK", "HTTP/1.1 x\r\n\r\n", "220 mail\r\n\r\n"] {
            assert!(parse(broken).is_none(), "{broken}");
        }
    }
}
