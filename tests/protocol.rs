//! HTTP: methods, headers, encodings, origins, and pages.

use std::collections::{BTreeMap, HashSet};

use reqwest::Method;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::harness::{Answer, Call, ORIGIN, PASSWORD, TestApp, User};
use crate::openapi;

on_both_stores!(
    head_works_wherever_get_does,
    unknown_method_is_refused,
    unknown_paths_are_reported_as_a_problem,
    a_request_has_an_id,
    responses_with_tokens_are_not_cached,
    page_of_an_allowed_origin_may_call,
    errors_can_be_read_by_a_page_of_an_allowed_origin,
    page_of_another_origin_may_not_call,
    allowed_origins_are_those_of_the_settings with ["CORS_ORIGINS" = "https://a.example, http://b.example:8080"],
    short_bodies_are_not_compressed,
    long_bodies_are_compressed_as_requested,
    request_that_accepts_no_available_type_is_refused,
    acceptable_media_types_are_answered,
    responses_have_content_types,
    the_server_is_alive_and_ready,
    the_pages_name_no_other_host_and_cannot_be_framed,
    connection_is_reused,
    malformed_http_is_refused_and_the_server_continues,
    a_path_has_one_spelling,
    start_page_redirects_to_the_documentation,
    pages_are_compressed_once_and_have_a_tag,
    utf_8_by_any_label_is_accepted,
    a_cursor_is_replaced_however_it_is_spelled,
);

/// A path with a GET method.
struct Readable {
    path: String,
    needs_token: bool,
}

/// Returns every readable path: those of the document, and some that are not operations.
async fn readable(app: &TestApp, user: &User) -> Vec<Readable> {
    let ids = openapi::ids(app, user).await;
    let reads = openapi::operations().iter().filter(|operation| operation.method == Method::GET);
    let documented = reads
        .map(|operation| Readable { path: operation.path_with(&ids), needs_token: operation.session.needs_token() });
    let others = ["/api/movies?limit=1", "/docs/", "/api/movies/9223372036854775807", "/api/nothing"];
    let others = others.map(|path| Readable { path: path.to_owned(), needs_token: false });
    // The content of `/metrics` differs with each request.
    documented.chain(others).filter(|readable| readable.path != "/metrics").collect()
}

/// Returns all headers except those that differ each time. The order of the items of a list is ignored.
fn stable_headers(answer: &Answer) -> BTreeMap<String, Vec<String>> {
    let names = answer.headers.keys().filter(|name| !matches!(name.as_str(), "date" | "x-request-id"));
    names.map(|name| (name.to_string(), answer.header_list(name.as_str()))).collect()
}

async fn head_works_wherever_get_does(app: &TestApp) {
    app.connect_directly("nginx leaves `Transfer-Encoding` out of responses to HEAD");
    let user = app.sign_up_admin().await;
    for Readable { path, needs_token } in readable(app, &user).await {
        for encoding in ["identity", "gzip"] {
            let call = |method| {
                let call = app.call(method, &path).header("accept-encoding", encoding);
                if needs_token { call.by(&user) } else { call }
            };
            let (get, head) = (call(Method::GET).send().await, call(Method::HEAD).send().await);
            assert_eq!(head.status, get.status, "{path}");
            assert!(head.bytes.is_empty(), "{path}");
            let mut expected = stable_headers(&get);
            let mut found = stable_headers(&head);
            if get.header("content-encoding").is_some() {
                // The length of a compressed body is known only after compressing it.
                for headers in [&mut expected, &mut found] {
                    headers.retain(|name, _| !matches!(name.as_str(), "content-length" | "transfer-encoding"));
                }
            }
            assert_eq!(found, expected, "{path}, {encoding}");
        }
        if needs_token {
            let head = app.call(Method::HEAD, &path).send().await.ok(401);
            assert_eq!(head.header("www-authenticate"), Some("Bearer"));
        }
    }
}

async fn unknown_method_is_refused(app: &TestApp) {
    let pages = app.post("/docs/").send().await.problem(405, "method_not_allowed");
    assert_eq!(pages.header_list("allow"), ["get", "head"]);
    let head = app.call(Method::HEAD, "/api/auth/login").send().await.ok(405);
    assert_eq!((head.header("allow"), head.bytes.len()), (Some("POST"), 0));
    let answer = app.call(Method::PUT, "/api/bookings").send().await;
    answer.problem(405, "method_not_allowed").snapshot("method_not_allowed");
}

async fn unknown_paths_are_reported_as_a_problem(app: &TestApp) {
    app.connect_directly("nginx refuses `%00`");
    for path in [
        "/api",
        "/api/",
        "/api/nothing",
        "/api/movies/",
        "/API/movies",
        "/api//movies",
        "/api/movies/1/2",
        "/api/shows/1/seats/1",
        "/api/auth",
        "/favicon.ico",
        "/healthz/x",
        "/%00",
        "/api/movies%2F1",
        "/docs/nothing.js",
        "/docs/..%2f..%2fCargo.toml",
    ] {
        app.get(path).send().await.problem(404, "not_found").snapshot("not_found");
        app.post(path).json(&json!({})).send().await.ok(if path.starts_with("/docs/") { 405 } else { 404 });
    }
}

async fn a_request_has_an_id(app: &TestApp) {
    let longest = "x".repeat(128);
    let visible: String = ('!'..='~').collect();
    for id in ["a", "8e03978e-40d5-43dd-bc93-6894a57f9324", &longest, &visible] {
        for path in ["/healthz", "/api/movies", "/api/nothing", "/api/me", "/docs"] {
            let answer = app.get(path).header("x-request-id", id).send().await;
            assert_eq!(answer.header("x-request-id"), Some(id), "{path}");
        }
    }
    let too_long = "x".repeat(129);
    let mut made = HashSet::new();
    for id in [&b""[..], too_long.as_bytes(), b"a b", b"a\tb", b"\xc3\xa4", b"a\xff"] {
        let answer = app.get("/api/nothing").header("x-request-id", id).send().await;
        made.insert(answer.header("x-request-id").unwrap().to_owned());
    }
    made.insert(app.get("/api/nothing").send().await.header("x-request-id").unwrap().to_owned());
    assert_eq!(made.len(), 7, "each request has an id of its own: {made:?}");
    for id in made {
        assert!((1..=128).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id}");
    }
}

async fn responses_with_tokens_are_not_cached(app: &TestApp) {
    let registered = app.register("Ana", "ana@example.org", PASSWORD).await.ok(201);
    let logged_in = app.login("ana@example.org", PASSWORD).await.ok(200);
    let refreshed = app.refresh(&registered.user().refresh_token).await.ok(200);
    for answer in [registered, logged_in, refreshed] {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    }
}

/// The response headers that the API exposes to pages, in addition to those every page may read.
const EXPOSED: [&str; 8] =
    ["etag", "idempotent-replayed", "link", "location", "ratelimit", "ratelimit-policy", "retry-after", "x-request-id"];

async fn preflight(app: &TestApp, path: &str, origin: &str, method: &str, headers: &str) -> Answer {
    let call = app.call(Method::OPTIONS, path).header("origin", origin).header("access-control-request-method", method);
    call.header("access-control-request-headers", headers).send().await
}

#[track_caller]
fn assert_allowed(answer: &Answer, origin: &str) {
    assert_eq!(answer.header("access-control-allow-origin"), Some(origin), "{answer:?}");
    assert!(answer.header_list("vary").contains(&"origin".to_owned()), "{answer:?}");
}

#[track_caller]
fn assert_not_allowed(answer: &Answer) {
    let told = answer.headers.keys().filter(|name| name.as_str() == "access-control-allow-origin");
    assert_eq!(told.count(), 0, "{answer:?}");
}

async fn page_of_an_allowed_origin_may_call(app: &TestApp) {
    for (path, method) in [
        ("/api/auth/login", "POST"),
        ("/api/bookings", "POST"),
        ("/api/me", "GET"),
        ("/api/me", "PATCH"),
        ("/api/me", "DELETE"),
        ("/api/shows/1/seats", "GET"),
    ] {
        let wanted = "authorization,content-type,idempotency-key,if-none-match,x-request-id";
        let answer = preflight(app, path, ORIGIN, method, wanted).await;
        assert!(matches!(answer.status, 200 | 204), "{answer:?}");
        assert_allowed(&answer, ORIGIN);
        assert!(
            answer.header_list("access-control-allow-methods").contains(&method.to_ascii_lowercase()),
            "{answer:?}"
        );
        let allowed = answer.header_list("access-control-allow-headers");
        assert!(wanted.split(',').all(|name| allowed.contains(&name.to_owned())), "{answer:?}");
    }
    for path in ["/api/movies", "/api/shows", "/healthz"] {
        let answer = app.get(path).header("origin", ORIGIN).send().await.ok(200);
        assert_allowed(&answer, ORIGIN);
        assert_eq!(answer.header_list("access-control-expose-headers"), EXPOSED);
    }
}

async fn errors_can_be_read_by_a_page_of_an_allowed_origin(app: &TestApp) {
    let user = app.sign_up().await;
    let from = |call: Call| call.header("origin", ORIGIN).send();
    let answers = [
        from(app.get("/api/me")).await.problem(401, "unauthenticated"),
        from(app.get("/api/nothing")).await.problem(404, "not_found"),
        from(app.call(Method::PUT, "/api/movies")).await.problem(405, "method_not_allowed"),
        from(app.get("/api/movies").header("accept", "text/html")).await.problem(406, "not_acceptable"),
        from(app.post("/api/bookings").by(&user)).await.problem(400, "idempotency_key_missing"),
        from(app.post("/api/auth/login").body("text/plain", "x")).await.problem(415, "unsupported_media_type"),
        from(app.post("/api/auth/login").body("application/json", vec![b' '; 100_000]))
            .await
            .problem(413, "payload_too_large"),
    ];
    for answer in answers {
        assert_allowed(&answer, ORIGIN);
        assert_eq!(answer.header_list("access-control-expose-headers"), EXPOSED, "{answer:?}");
    }
}

async fn page_of_another_origin_may_not_call(app: &TestApp) {
    for origin in
        ["https://localhost:5173", "http://localhost:5174", "http://localhost", "https://evil.example", "null"]
    {
        let answer = app.get("/api/movies").header("origin", origin).send().await.ok(200);
        assert_not_allowed(&answer);
        assert_not_allowed(&preflight(app, "/api/bookings", origin, "POST", "authorization").await);
        assert_not_allowed(&app.get("/api/me").header("origin", origin).send().await.problem(401, "unauthenticated"));
    }
    // Without an origin there is nothing to allow.
    assert_not_allowed(&app.get("/api/movies").send().await.ok(200));
}

async fn allowed_origins_are_those_of_the_settings(app: &TestApp) {
    for origin in ["https://a.example", "http://b.example:8080"] {
        assert_allowed(&app.get("/api/movies").header("origin", origin).send().await.ok(200), origin);
        assert_allowed(&preflight(app, "/api/bookings", origin, "POST", "authorization").await, origin);
    }
    for origin in [ORIGIN, "http://a.example", "http://b.example"] {
        assert_not_allowed(&app.get("/api/movies").header("origin", origin).send().await.ok(200));
    }
}

async fn short_bodies_are_not_compressed(app: &TestApp) {
    let user = app.sign_up().await;
    for path in ["/healthz", "/api/movies?limit=1", "/api/me", "/api/bookings", "/api/nothing"] {
        let answer = app.get(path).by(&user).header("accept-encoding", "gzip, br").send().await;
        assert_eq!(answer.header("content-encoding"), None, "{path}");
        answer.json();
    }
}

async fn long_bodies_are_compressed_as_requested(app: &TestApp) {
    let plain = app.get("/api/openapi.json").send().await.ok(200);
    assert_eq!(plain.header("content-encoding"), None);
    for (accepted, chosen) in [
        ("gzip", Some("gzip")),
        ("br", Some("br")),
        ("gzip;q=0.5, br;q=0.1", Some("gzip")),
        ("identity", None),
        ("gzip;q=0", None),
        ("unknown", None),
    ] {
        let answer = app.get("/api/openapi.json").header("accept-encoding", accepted).send().await.ok(200);
        assert_eq!(answer.header("content-encoding"), chosen, "{accepted}");
        assert_eq!(answer.bytes == plain.bytes, chosen.is_none(), "{accepted}");
        if chosen.is_some() {
            assert!(answer.header_list("vary").contains(&"accept-encoding".to_owned()), "{answer:?}");
        }
    }
}

async fn request_that_accepts_no_available_type_is_refused(app: &TestApp) {
    for accept in ["text/html", "text/html, image/png;q=0.5", "application/json;q=0", "application/xml", "*/*;q=0"] {
        let answer = app.get("/api/movies").header("accept", accept).send().await;
        answer.problem(406, "not_acceptable").snapshot("not_acceptable");
    }
    let before = app.footprint().await;
    let new = json!({ "name": "Ana", "email": "ana@example.org", "password": PASSWORD });
    let answer = app.post("/api/auth/register").header("accept", "text/html").json(&new).send().await;
    answer.problem(406, "not_acceptable");
    // The response is also unchanged for a client that accepts no available encoding.
    let answer =
        app.post("/api/auth/register").header("accept-encoding", "identity;q=0, *;q=0").json(&new).send().await;
    answer.problem(406, "not_acceptable");
    assert_eq!(app.footprint().await, before, "a refused request changes nothing");
}

async fn acceptable_media_types_are_answered(app: &TestApp) {
    for accept in [
        "application/json",
        "application/json, text/plain, */*",
        "text/html, */*;q=0.1",
        "Application/JSON; charset=utf-8",
        "application/*",
        "application/problem+json, application/json",
    ] {
        app.get("/api/movies").header("accept", accept).send().await.ok(200);
    }
    app.get("/api/movies").header("accept", "text/html").header("accept", "application/json").send().await.ok(200);
    app.get("/docs/").header("accept", "text/html").send().await.ok(200);
}

async fn responses_have_content_types(app: &TestApp) {
    let user = app.sign_up().await;
    for path in [
        "/api/movies",
        "/api/shows",
        "/api/theatres",
        "/api/me",
        "/api/bookings",
        "/healthz",
        "/readyz",
        "/api/openapi.json",
    ] {
        let answer = app.get(path).by(&user).send().await.ok(200);
        assert_eq!(answer.header("content-type"), Some("application/json"), "{path}");
    }
    let map = app.get(&format!("/api/shows/{}/seats", app.world.soon)).send().await.ok(200);
    assert_eq!(map.header("content-type"), Some("application/json"));
}

async fn the_server_is_alive_and_ready(app: &TestApp) {
    app.get("/healthz").send().await.ok(200).snapshot("healthz");
    let ready = app.get("/readyz").send().await.ok(200).json();
    assert_eq!(ready["status"], "ok");
    let dependencies = ready["dependencies"].as_object().unwrap();
    let names: Vec<_> = dependencies.keys().map(String::as_str).collect();
    assert!(names == ["postgresql"] || names == ["sqlite"], "{ready}");
    assert!(dependencies.values().all(|status| status == "ok"), "{ready}");
}

async fn the_pages_name_no_other_host_and_cannot_be_framed(app: &TestApp) {
    let redirect = app.get("/docs").send().await.ok(301);
    assert_eq!(redirect.header("location"), Some("/docs/"));
    let index = app.get("/docs/").send().await.ok(200);
    assert!(index.header("content-type").unwrap().starts_with("text/html"), "{index:?}");
    let mut files = vec!["index.html".to_owned()];
    for part in index.text().split(['"', '\'']).filter(|part| part.ends_with(".js") || part.ends_with(".css")) {
        files.push(part.trim_start_matches("./").to_owned());
    }
    assert!(files.len() > 2, "the page has scripts and styles: {files:?}");
    for file in files {
        let answer = app.get(&format!("/docs/{file}")).send().await.ok(200);
        assert_eq!(answer.header("x-frame-options"), Some("DENY"), "{file}");
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("frame-ancestors 'none'") && policy.contains("default-src 'none'"), "{policy}");
        assert!(!policy.contains("http"), "{policy}");
        // The libraries contain addresses in comments and names. Our own files must have none.
        if !file.contains("bundle") && !file.contains("preset") && !file.ends_with("swagger-ui.css") {
            for scheme in ["http://", "https://", "\"//", "'//"] {
                assert!(!answer.text().contains(scheme), "{file} names a host: {}", answer.text());
            }
        }
    }
    let initializer = app.get("/docs/swagger-initializer.js").send().await.ok(200);
    assert!(initializer.text().contains("/api/openapi.json"), "{initializer:?}");
}

/// Sends raw bytes to the server itself, and returns the statuses of all responses until the server closes the connection.
async fn raw_statuses(app: &TestApp, bytes: &[u8]) -> Vec<String> {
    let mut connection = TcpStream::connect(app.direct()).await.unwrap();
    connection.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    connection.read_to_end(&mut answer).await.unwrap();
    let text = String::from_utf8(answer).unwrap();
    let after_version = text.lines().filter_map(|line| line.split("HTTP/1.1 ").nth(1));
    after_version.map(|rest| rest.chars().take(3).collect()).collect()
}

async fn connection_is_reused(app: &TestApp) {
    // Three requests on one connection get three responses in order. The last one closes it.
    let request = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", app.authority);
    let requests =
        [request("/healthz", ""), request("/api/nothing", ""), request("/api/movies", "Connection: close\r\n")];
    assert_eq!(raw_statuses(app, requests.concat().as_bytes()).await, ["200", "404", "200"]);
}

async fn malformed_http_is_refused_and_the_server_continues(app: &TestApp) {
    let user = app.sign_up().await;
    let before = app.footprint().await;
    let book = format!("POST /api/bookings HTTP/1.1\r\nAuthorization: Bearer {}\r\nIdempotency-Key: k\r\n", user.token);
    for bytes in [
        "NONSENSE\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\nHost: x\r\nno header\r\n\r\n".to_owned(),
        "GET /healthz HTTP/1.1\r\n\r\n".to_owned(),
        format!("{book}Host: x\r\nContent-Length: x\r\n\r\n"),
        // The end of the body must be unambiguous.
        format!("{book}Host: x\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
        format!("{book}Host: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{{}}"),
    ] {
        assert_eq!(raw_statuses(app, bytes.as_bytes()).await, ["400"], "{bytes}");
    }
    assert_eq!(app.footprint().await, before);
    app.me(&user.token).await.ok(200);
}

async fn a_path_has_one_spelling(app: &TestApp) {
    app.connect_directly("proxies may change how a path is spelled");
    let user = app.sign_up().await;
    for path in [
        "//api/movies",
        "/api//movies",
        "/api/movies//",
        "/%61pi/movies",
        "/api/%6Dovies",
        "/api/mov%69es",
        "/api/%6d%6f%76%69%65%73",
        "/api/movies/%31",
        "/%68ealthz",
        "/healthz/",
        "/readyz%2E",
        "/docs//",
        "/%64ocs/",
        "/docs/index%2Ehtml",
        "/docs/%2e%2e/Cargo.toml",
        "/api/me%7E",
        "/%6detrics",
    ] {
        for token in [None, Some(&user)] {
            let call = app.get(path);
            let answer = if let Some(user) = token { call.by(user) } else { call }.send().await;
            answer.problem(404, "not_found");
        }
        app.call(Method::HEAD, path).send().await.ok(404);
        app.post(path).json(&json!({})).send().await.problem(404, "not_found");
    }
    // Clients resolve dot segments themselves, so these are sent as raw bytes.
    for target in ["/api/./movies", "/api/x/../movies", "/docs/../healthz", "/./healthz", "*", "http://x//healthz"] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(raw_statuses(app, request.as_bytes()).await, ["404"], "{target}");
    }
    let absolute = "GET http://elsewhere/healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(raw_statuses(app, absolute.as_bytes()).await, ["200"]);
    for request in ["OPTIONS * HTTP/1.1", "CONNECT x:443 HTTP/1.1"] {
        let request = format!("{request}\r\nHost: x\r\nConnection: close\r\n\r\n");
        assert_eq!(raw_statuses(app, request.as_bytes()).await, ["404"], "{request}");
    }
}

async fn start_page_redirects_to_the_documentation(app: &TestApp) {
    for method in [Method::GET, Method::HEAD] {
        let answer = app.call(method, "/").header("accept", "text/html").send().await.ok(302);
        assert_eq!(answer.header("location"), Some("/docs/"));
    }
    app.post("/").json(&json!({})).send().await.problem(405, "method_not_allowed");
}

async fn pages_are_compressed_once_and_have_a_tag(app: &TestApp) {
    for path in ["/docs/swagger-ui.css", "/docs/swagger-ui-bundle.js", "/api/openapi.json"] {
        let plain = app.get(path).send().await.ok(200);
        let mut tags = HashSet::from([plain.header("etag").unwrap().to_owned()]);
        for encoding in ["gzip", "br"] {
            let get = || app.get(path).header("accept-encoding", encoding);
            let answer = get().send().await.ok(200);
            assert_eq!(answer.header("content-encoding"), Some(encoding), "{path}");
            assert!(answer.header_list("vary").contains(&"accept-encoding".to_owned()), "{path}");
            // A body that is compressed while it is sent has no length.
            let length: usize = answer.header("content-length").unwrap().parse().unwrap();
            assert!(length == answer.bytes.len() && length < plain.bytes.len() / 2, "{path}: {length}");
            let tag = answer.header("etag").unwrap().to_owned();
            let known = get().header("if-none-match", &tag).send().await.ok(304);
            assert_eq!((known.header("etag"), known.bytes.len()), (Some(tag.as_str()), 0), "{path}");
            tags.insert(tag);
        }
        assert_eq!(tags.len(), 3, "each encoding has a tag of its own: {tags:?}");
        app.get(path).header("if-none-match", "\"another\"").send().await.ok(200);
    }
    let image = app.get("/docs/favicon-32x32.png").header("accept-encoding", "gzip, br").send().await.ok(200);
    assert_eq!(image.header("content-encoding"), None);
}

async fn utf_8_by_any_label_is_accepted(app: &TestApp) {
    app.connect_directly("nginx refuses two `Content-Type` headers");
    let registration = |number: usize| {
        let email = format!("ana-{number}@example.org");
        json!({ "name": "Łukasz", "email": email, "password": PASSWORD }).to_string()
    };
    let labels = ["utf8", "UTF-8", "\"utf-8\"", "\"utf8\"", "unicode-1-1-utf-8"];
    for (number, label) in labels.into_iter().enumerate() {
        let media_type = format!("application/json;charset={label}");
        app.post("/api/auth/register").body(&media_type, registration(number)).send().await.ok(201);
    }
    app.post("/api/auth/register").body("application/problem+json", registration(10)).send().await.ok(201);
    for other in ["latin1", "utf-16", "us-ascii", ""] {
        let media_type = format!("application/json;charset={other}");
        let answer = app.post("/api/auth/register").body(&media_type, registration(20)).send().await;
        answer.problem(415, "unsupported_media_type");
    }
    // Two parsers could each take another value.
    let call = app.post("/api/auth/register").header("content-type", "application/json");
    call.body("text/plain", registration(20)).send().await.problem(415, "unsupported_media_type");
    for (accept, status) in [
        ("application/json;charset=utf8", 200),
        ("application/json;q=0, */*", 406),
        ("text/html;level=\"a, application/json\"", 406),
    ] {
        app.get("/api/movies").header("accept", accept).send().await.ok(status);
    }
}

async fn a_cursor_is_replaced_however_it_is_spelled(app: &TestApp) {
    let next = app.get("/api/shows?limit=1").send().await.ok(200).next_page().unwrap();
    let odd = next.replace("cursor=", "%63ursor=");
    assert_ne!(next, odd);
    let page = app.get(&odd).send().await.ok(200);
    let after = page.next_page().unwrap();
    app.get(&after).send().await.ok(200);
}
