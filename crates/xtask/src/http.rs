//! Single HTTP requests, for the recipes that use a server.

use std::time::Duration;

use serde_json::Value;
use ureq::http::{self, Request};
use ureq::{Agent, AsSendBody};

use crate::Failure;

/// The longest time for a response.
const PATIENCE: Duration = Duration::from_secs(30);

/// A header of a request: name and value.
pub type Header<'a> = (&'a str, &'a str);

/// A response of a server.
pub struct Response {
    head: http::response::Parts,
    pub body: String,
}

impl Response {
    /// Fails unless the response has this status.
    pub fn expect(self, status: u16) -> Result<Self, Failure> {
        if self.status() == status {
            Ok(self)
        } else {
            Err(format!("{status} expected, not {}: {}", self.status(), self.body))
        }
    }

    /// Returns the status.
    pub fn status(&self) -> u16 {
        self.head.status.as_u16()
    }

    /// Parses the body as JSON.
    pub fn json(&self) -> Result<Value, Failure> {
        serde_json::from_str(&self.body).map_err(|error| format!("the body is not JSON ({error}): {}", self.body))
    }

    /// Returns the value of a header. Empty if the header is missing.
    pub fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Returns the path of the next page of a list, from its `Link`.
    pub fn next_page(&self) -> Option<String> {
        let (_, link) = self.header("link").split_once('<')?;
        let (path, relation) = link.split_once('>')?;
        relation.contains("rel=\"next\"").then(|| path.to_owned())
    }
}

/// Sends a GET request.
pub fn get(address: &str, path: &str, headers: &[Header<'_>]) -> Result<Response, Failure> {
    send(address, "GET", path, headers, ())
}

/// Sends a POST request with a JSON body.
pub fn post(address: &str, path: &str, headers: &[Header<'_>], body: &Value) -> Result<Response, Failure> {
    send(address, "POST", path, &[headers, &[("Content-Type", "application/json")]].concat(), body.to_string())
}

fn send(
    address: &str,
    method: &str,
    path: &str,
    headers: &[Header<'_>],
    body: impl AsSendBody,
) -> Result<Response, Failure> {
    let explain = |error: &dyn std::fmt::Display| format!("{method} {path} at {address}: {error}");
    let config = Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
    let agent: Agent = config.timeout_global(Some(PATIENCE)).build().into();
    let request = Request::builder().method(method).uri(format!("http://{address}{path}"));
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let request = request.body(body).map_err(|error| explain(&error))?;
    let (head, mut body) = agent.run(request).map_err(|error| explain(&error))?.into_parts();
    let body = body.read_to_string().map_err(|error| explain(&error))?;
    Ok(Response { head, body })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn response(link: &str) -> Response {
        let (head, ()) = http::Response::builder().status(201).header("Link", link).body(()).unwrap().into_parts();
        Response { head, body: "{\"a\":[1]}".to_owned() }
    }

    #[test]
    fn next_page_is_in_the_link() {
        let page = |link: &str| response(link).next_page();
        assert_eq!(page("</api/shows?cursor=x>; rel=\"next\"").unwrap(), "/api/shows?cursor=x");
        assert_eq!(page("</api/shows>; rel=\"prev\""), None);
        assert_eq!(page(""), None);
    }

    #[test]
    fn response_has_a_status_headers_and_a_body() {
        let response = response("</x>");
        assert_eq!((response.header("LINK"), response.header("other")), ("</x>", ""));
        assert_eq!(response.json().unwrap()["a"][0], 1);
        assert!(response.expect(201).unwrap().expect(200).is_err());
    }
}
