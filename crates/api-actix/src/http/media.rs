//! Media types in `Content-Type` and `Accept` (RFC 9110, 8.3 and 12.5.1).

use actix_web::http::header::{self, HeaderMap};

/// The labels of UTF-8 in the WHATWG Encoding Standard. Clients send several of them.
const UTF_8_LABELS: [&str; 6] =
    ["utf-8", "utf8", "unicode-1-1-utf-8", "unicode11utf8", "unicode20utf8", "x-unicode20utf8"];

/// A media type or range with its parameters. Names are lower-case; values are unquoted and as sent.
struct MediaType {
    kind: String,
    subtype: String,
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Parses `type/subtype; name=value`. Returns `None` for anything that does not have this form.
    fn parse(text: &str) -> Option<Self> {
        let mut parts = split_unquoted(text, ';').into_iter();
        let (kind, subtype) = parts.next()?.trim().split_once('/')?;
        if !is_token(kind) || !is_token(subtype) {
            return None;
        }
        let mut parameters = Vec::new();
        // An empty parameter, as in `text/html;`, is allowed.
        for part in parts.map(str::trim).filter(|part| !part.is_empty()) {
            let (name, value) = part.split_once('=')?;
            if !is_token(name) {
                return None;
            }
            parameters.push((name.to_ascii_lowercase(), unquote(value)?));
        }
        Some(Self { kind: kind.to_ascii_lowercase(), subtype: subtype.to_ascii_lowercase(), parameters })
    }

    fn is_json(&self) -> bool {
        self.kind == "application" && (self.subtype == "json" || self.subtype.ends_with("+json"))
    }

    fn is_toml(&self) -> bool {
        self.kind == "application" && self.subtype == "toml"
    }

    /// Returns whether every `charset` is UTF-8. JSON has no other encoding, so none at all is UTF-8 as well.
    fn is_utf8(&self) -> bool {
        let mut charsets = self.parameters.iter().filter(|(name, _)| name == "charset");
        charsets.all(|(_, label)| UTF_8_LABELS.iter().any(|utf_8| utf_8.eq_ignore_ascii_case(label.trim())))
    }

    /// How specifically a range of `Accept` matches a JSON body: `None` if it does not.
    fn specificity(&self) -> Option<u8> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("application", "json" | "problem+json") => Some(2),
            ("application", "*") => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }

    /// How specifically a range of `Accept` matches comma-separated values: `None` if it does not.
    fn csv_specificity(&self) -> Option<u8> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("text", "csv") => Some(2),
            ("text", "*") => Some(1),
            ("*", "*") => Some(0),
            _ => None,
        }
    }

    /// Returns whether the range's weight is zero: "not acceptable". A weight that is not a number counts as one.
    fn is_refused(&self) -> bool {
        let weight = self.parameters.iter().find(|(name, _)| name == "q");
        weight.and_then(|(_, weight)| weight.parse::<f32>().ok()).is_some_and(|weight| weight <= 0.0)
    }
}

/// Returns whether the body is JSON in UTF-8 by its only `Content-Type`. Two headers could be read differently by two readers.
pub fn is_json_body(headers: &HeaderMap) -> bool {
    body_type(headers).is_some_and(|media_type| media_type.is_json() && media_type.is_utf8())
}

/// Returns whether the body is TOML, which is always UTF-8, by its only `Content-Type`.
pub fn is_toml_body(headers: &HeaderMap) -> bool {
    body_type(headers).is_some_and(|media_type| media_type.is_toml() && media_type.is_utf8())
}

fn body_type(headers: &HeaderMap) -> Option<MediaType> {
    let mut values = headers.get_all(header::CONTENT_TYPE);
    let (Some(value), None) = (values.next(), values.next()) else { return None };
    value.to_str().ok().and_then(MediaType::parse)
}

/// Returns whether the client accepts JSON: by the most specific range that matches, and always if there is no `Accept`.
pub fn accepts_json(headers: &HeaderMap) -> bool {
    accepts(headers, MediaType::specificity)
}

/// Returns whether the client accepts comma-separated values, by the same rules.
pub fn accepts_csv(headers: &HeaderMap) -> bool {
    accepts(headers, MediaType::csv_specificity)
}

fn accepts(headers: &HeaderMap, specificity: fn(&MediaType) -> Option<u8>) -> bool {
    let values: Vec<_> = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok()).collect();
    let ranges = values.iter().flat_map(|value| split_unquoted(value, ',')).map(str::trim);
    let mut best: Option<(u8, bool)> = None;
    let mut is_empty = true;
    for range in ranges.filter(|range| !range.is_empty()) {
        is_empty = false;
        let Some(range) = MediaType::parse(range) else { continue };
        let Some(specificity) = specificity(&range) else { continue };
        let accepted = !range.is_refused();
        best = match best {
            Some((known, _)) if known > specificity => best,
            // Of two that are equally specific, such as JSON and problem details, one is enough.
            Some((known, before)) if known == specificity => Some((known, before || accepted)),
            _ => Some((specificity, accepted)),
        };
    }
    best.map_or(is_empty, |(_, accepted)| accepted)
}

/// Returns the parts of a text between separators that are outside of quoted strings.
fn split_unquoted(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    text.split(|character| {
        match character {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            _ => return character == separator && !quoted,
        }
        false
    })
    .collect()
}

/// Returns the content of a token or of a quoted string.
fn unquote(value: &str) -> Option<String> {
    let Some(quoted) = value.strip_prefix('"') else { return is_token(value).then(|| value.to_owned()) };
    let mut content = String::new();
    let mut characters = quoted.strip_suffix('"')?.chars();
    while let Some(character) = characters.next() {
        match character {
            '\\' => content.push(characters.next()?),
            '"' => return None,
            other => content.push(other),
        }
    }
    Some(content)
}

fn is_token(text: &str) -> bool {
    let is_token_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_token_byte)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: HeaderName, values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        values.iter().for_each(|value| headers.append(name.clone(), HeaderValue::from_static(value)));
        headers
    }

    #[test]
    fn json_bodies_are_json_in_utf_8() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=utf8",
            "application/json;charset=\"utf-8\"",
            "application/json; CHARSET=\"Utf\\-8\"",
            "application/json ; charset=unicode-1-1-utf-8",
            "application/json;",
            "application/json; ; charset=utf-8",
            "application/json; v=\"a;charset=latin1\"",
            "application/problem+json",
            "application/vnd.x+json;a=b",
        ] {
            assert!(is_json_body(&headers(header::CONTENT_TYPE, &[good])), "{good}");
        }
        for bad in [
            "",
            "json",
            "application",
            "application/",
            "/json",
            "text/plain",
            "text/json",
            "application/jsonx",
            "application/json, application/json",
            "application/json; charset=latin1",
            "application/json; charset=utf-16",
            "application/json; charset=",
            "application/json; charset",
            "application/json; charset=\"utf-8",
            "application/json; charset=utf-8; charset=latin1",
        ] {
            assert!(!is_json_body(&headers(header::CONTENT_TYPE, &[bad])), "{bad}");
        }
        assert!(!is_json_body(&headers(header::CONTENT_TYPE, &[])));
        assert!(!is_json_body(&headers(header::CONTENT_TYPE, &["application/json", "text/plain"])));
    }

    #[test]
    fn most_specific_range_decides() {
        for good in [
            &[][..],
            &[""],
            &["*/*"],
            &["application/json;q=0.001"],
            &["application/json; charset=utf8"],
            &["text/html", "application/*;q=0.1"],
            &["text/html;level=\"a,b\", application/json"],
            &["application/problem+json"],
            &["application/json, */*;q=0"],
            &["application/json;q=high"],
        ] {
            assert!(accepts_json(&headers(header::ACCEPT, good)), "{good:?}");
        }
        for bad in [
            &["text/html"][..],
            &["application/json;q=0"],
            &["application/json;Q=0.000"],
            &["application/json;q=0, */*"],
            &["application/*;q=0, */*;q=0.5"],
            &["*/*;q=0"],
            &["text/plain;x=\", application/json\""],
            &["nonsense"],
        ] {
            assert!(!accepts_json(&headers(header::ACCEPT, bad)), "{bad:?}");
        }
    }
}
