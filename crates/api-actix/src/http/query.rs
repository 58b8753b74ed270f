//! Parameters of paths and queries. Those of a query are declared once: their names, their parsing and their schemas
//! (`parameters!`).

use std::collections::HashMap;

use actix_web::{HttpRequest, web};
use domain::page::{PageLimit, PageRequest};
use utoipa::openapi::path::{Parameter, ParameterBuilder, ParameterIn};
use utoipa::openapi::schema::{ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{Required, Schema};

use super::call::{Input, Operation, Received};
use super::cursor::Cursor;
use super::mistakes::{Mistake, Mistakes};
use super::problem::{Code, Problem};

/// Declares parameters of a query: a struct, how it is read, and their schemas. All are optional.
macro_rules! parameters {
    ($($(#[doc = $doc:literal])+ pub struct $Parameters:ident {
        $($(#[doc = $field_doc:literal])+ pub $field:ident: Option<$Value:ty>,)+
    })+) => {$(
        $(#[doc = $doc])+
        pub struct $Parameters {
            $($(#[doc = $field_doc])+ pub $field: Option<$Value>,)+
        }

        impl $crate::http::query::Parameters for $Parameters {
            fn describe(parameters: &mut Vec<::utoipa::openapi::path::Parameter>) {
                $(parameters.push($crate::http::query::query_parameter(
                    stringify!($field),
                    concat!($($field_doc),+).trim_ascii(),
                    <$Value as $crate::http::query::ParameterValue>::schema(),
                ));)+
            }

            fn read(query: &mut $crate::http::query::QueryReader) -> Self {
                Self { $($field: query.value::<$Value>(stringify!($field)),)+ }
            }
        }
    )+};
}
pub(crate) use parameters;

/// A value of a path or a query: how it is read, and its schema, which accepts the same values.
pub trait ParameterValue: Sized {
    /// Returns the schema.
    fn schema() -> Schema;

    /// Reads the decoded text.
    fn parse(text: &str) -> Result<Self, Mistake>;
}

/// Parameters of a query.
pub trait Parameters: Sized {
    /// Adds their descriptions.
    fn describe(parameters: &mut Vec<Parameter>);

    /// Reads them, and records what is wrong with them. The value of an invalid parameter is not used.
    fn read(query: &mut QueryReader) -> Self;
}

/// The query of a request. Unknown parameters are ignored.
pub struct Query<P>(pub P);

impl<P: Parameters> Input for Query<P> {
    fn describe(operation: &mut Operation) {
        P::describe(&mut operation.parameters);
        operation.codes.push(Code::ValidationFailed);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        let mut query = QueryReader::of(received.request.query_string())?;
        let parameters = P::read(&mut query);
        query.mistakes.finish(Some(Self(parameters)))
    }
}

impl<A: Parameters, B: Parameters> Parameters for (A, B) {
    fn describe(parameters: &mut Vec<Parameter>) {
        A::describe(parameters);
        B::describe(parameters);
    }

    fn read(query: &mut QueryReader) -> Self {
        (A::read(query), B::read(query))
    }
}

/// `limit` and `cursor` of a list.
impl<C: Cursor> Parameters for PageRequest<C> {
    fn describe(parameters: &mut Vec<Parameter>) {
        parameters.push(query_parameter("limit", "The most items of a page; 50 by default", PageLimit::schema()));
        let cursor =
            ObjectBuilder::new().schema_type(Type::String).format(Some(SchemaFormat::Custom("cursor".to_owned())));
        parameters.push(query_parameter("cursor", "From the `Link` header of the previous page", cursor.into()));
    }

    fn read(query: &mut QueryReader) -> Self {
        let limit = query.value("limit").unwrap_or(PageLimit::DEFAULT);
        let message = "must be taken from the Link header of the previous page";
        let after = query.parsed("cursor", |text| C::decode(text).ok_or_else(|| Mistake::new("invalid", message)));
        Self { limit, after }
    }
}

impl ParameterValue for PageLimit {
    fn schema() -> Schema {
        let most = u32::from(Self::MAX);
        ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(1)).maximum(Some(most)).into()
    }

    fn parse(text: &str) -> Result<Self, Mistake> {
        let limit = text.parse().ok().and_then(Self::parse);
        limit.ok_or_else(|| Mistake::new("invalid", "must be an integer from 1 to 100"))
    }
}

/// Describes a parameter of a query.
pub fn query_parameter(name: &str, description: &str, schema: Schema) -> Parameter {
    let parameter = ParameterBuilder::new().name(name).parameter_in(ParameterIn::Query).schema(Some(schema));
    parameter.description(Some(description)).required(Required::False).build()
}

/// Reads the parameters of a query.
pub struct QueryReader {
    parameters: HashMap<String, Vec<String>>,
    mistakes: Mistakes,
}

impl QueryReader {
    /// Reads a query string.
    pub fn of(text: &str) -> Result<Self, Problem> {
        let pairs = web::Query::<Vec<(String, String)>>::from_query(text)
            .map_err(|_| Problem::field("query", "invalid", "must be a query string like limit=10&cursor=…"))?;
        let mut parameters: HashMap<String, Vec<String>> = HashMap::new();
        for (name, value) in pairs.into_inner() {
            parameters.entry(name).or_default().push(value);
        }
        Ok(Self { parameters, mistakes: Mistakes::default() })
    }

    /// Reads a parameter. Returns `None` if it is absent, or after recording what is wrong with it.
    pub fn value<T: ParameterValue>(&mut self, name: &str) -> Option<T> {
        self.parsed(name, T::parse)
    }

    fn parsed<T>(&mut self, name: &str, parse: impl FnOnce(&str) -> Result<T, Mistake>) -> Option<T> {
        match self.parameters.get(name).map(Vec::as_slice) {
            None | Some([]) => None,
            Some([value]) => self.mistakes.take(name, parse(value)),
            Some(_) => {
                self.mistakes.add(name, Mistake::new("repeated", "must be given once"));
                None
            }
        }
    }
}

/// A parameter of a path.
pub trait PathValue: Sized {
    /// Its name in the template, like `movie_id`.
    const NAME: &'static str;

    /// The code of an invalid value.
    const CODE: Code = Code::ValidationFailed;

    /// Returns the schema.
    fn schema() -> Schema;

    /// Reads the decoded text. Each value has one spelling, so that each resource has one path.
    fn parse(text: &str) -> Result<Self, Problem>;
}

/// A parameter of the path.
pub struct Path<T>(pub T);

impl<T: PathValue> Input for Path<T> {
    fn describe(operation: &mut Operation) {
        let parameter = ParameterBuilder::new().name(T::NAME).parameter_in(ParameterIn::Path).schema(Some(T::schema()));
        operation.parameters.push(parameter.required(Required::True).build());
        operation.codes.push(T::CODE);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        T::parse(received.request.match_info().get(T::NAME).unwrap_or_default()).map(Self)
    }
}

/// Returns the link to the next page: the same query with another cursor.
pub fn next_link(request: &HttpRequest, cursor: &str) -> String {
    // A parameter's name is compared decoded, as `QueryReader` reads it: `%63ursor` is `cursor`, and would be repeated.
    let kept = request.query_string().split('&').filter(|pair| !pair.is_empty() && !is_cursor(pair));
    let query: Vec<_> = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    format!("<{}?{}>; rel=\"next\"", request.path(), query.join("&"))
}

fn is_cursor(encoded_pair: &str) -> bool {
    web::Query::<Vec<(String, String)>>::from_query(encoded_pair)
        .is_ok_and(|pairs| pairs.iter().any(|(name, _)| name == "cursor"))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, Utc};
    use domain::catalog::ShowCursor;
    use domain::ids::TheatreId;

    use super::*;

    #[test]
    fn parameters_are_read_strictly() {
        let query = "date=2026-02-30&from=2026-01-01T00:00:00%2B01:00&to=x&limit=0&theatre_id=1&theatre_id=2";
        let mut query = QueryReader::of(query).unwrap();
        assert_eq!(query.value::<NaiveDate>("date"), None);
        let from = query.value::<DateTime<Utc>>("from").unwrap();
        assert_eq!(from.to_rfc3339(), "2025-12-31T23:00:00+00:00");
        assert_eq!(query.value::<DateTime<Utc>>("to"), None);
        assert_eq!(query.value::<TheatreId>("theatre_id"), None);
        PageRequest::<ShowCursor>::read(&mut query);
        let problem: serde_json::Value =
            serde_json::from_str(&query.mistakes.finish(Some(())).unwrap_err().body("r")).unwrap();
        let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().map(|error| &error["field"]).collect();
        assert_eq!(fields, ["date", "to", "theatre_id", "limit"]);
    }
}
