//! The languages of a caller.

use actix_web::http::header::ACCEPT_LANGUAGE;
use domain::pricing::is_language_tag;
use utoipa::openapi::path::{ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, Type};

use super::call::{Input, Operation, Received};
use super::problem::Problem;

/// The maximum number of languages that are considered. Browsers send a handful.
const LANGUAGES_MAX: usize = 20;

/// The languages of the `Accept-Language` header, the preferred one first.
pub struct Languages(Vec<String>);

impl Languages {
    /// Returns the language tags.
    pub fn tags(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl Input for Languages {
    fn describe(operation: &mut Operation) {
        let schema = ObjectBuilder::new().schema_type(Type::String);
        let parameter = ParameterBuilder::new()
            .name("Accept-Language")
            .parameter_in(ParameterIn::Header)
            .description(Some("The languages of names, by preference; English otherwise. A malformed value is ignored"))
            .schema(Some(schema));
        operation.parameters.push(parameter.build());
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        let values = received.request.headers().get_all(ACCEPT_LANGUAGE);
        let texts: Vec<_> = values.filter_map(|value| value.to_str().ok()).collect();
        Ok(Self(by_preference(&texts.join(","))))
    }
}

/// Returns the languages of a header (RFC 9110, 12.5.4), ordered by weight, then by position. Malformed ones, `*` and those of weight 0 are
/// left out.
fn by_preference(header: &str) -> Vec<String> {
    let mut weighted: Vec<(u16, &str)> =
        header.split(',').filter_map(weighted_language).filter(|(weight, _)| *weight > 0).take(LANGUAGES_MAX).collect();
    weighted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    weighted.into_iter().map(|(_, tag)| tag.to_owned()).collect()
}

/// Returns a language with its weight in thousandths.
fn weighted_language(item: &str) -> Option<(u16, &str)> {
    let (tag, weight) = match item.split_once(';') {
        Some((tag, parameter)) => {
            let (name, weight) = parameter.split_once('=')?;
            (tag.trim(), thousandths(weight.trim()).filter(|_| name.trim().eq_ignore_ascii_case("q"))?)
        }
        None => (item.trim(), 1000),
    };
    is_language_tag(tag).then_some((weight, tag))
}

/// Parses a weight: 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_weight = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let thousandths = format!("{decimals:0<3}").parse().ok().filter(|_| is_weight);
    match (whole, thousandths?) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn languages_are_ordered_by_weight() {
        assert_eq!(by_preference("de-AT,de;q=0.8, en ; q=0.9"), ["de-AT", "en", "de"]);
        assert_eq!(by_preference("fr;q=0.5,de;q=0.5,en;Q=1.0"), ["en", "fr", "de"]);
    }

    #[test]
    fn malformed_and_excluded_languages_are_left_out() {
        let header = "*;q=0.9,de;q=0,en;q=1.5,fr;q=0.1234,it;q=,es;level=1,,ja_JP,nl;q=0.001";
        assert_eq!(by_preference(header), ["nl"]);
        assert!(by_preference("").is_empty());
        assert_eq!(by_preference(&"en,".repeat(1_000)).len(), LANGUAGES_MAX);
    }
}
