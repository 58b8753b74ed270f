//! Bodies of requests. A body is declared once: its fields, their parsing and its schema (`body!`).

use domain::booking::Rules;
use serde_json::{Map, Value};
use utoipa::openapi::content::ContentBuilder;
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{Object, ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Ref, RefOr, Required, Schema};

use super::call::{Input, Operation, Received};
use super::mistakes::{Mistake, Mistakes};
use super::problem::{Code, Problem};

/// Declares a body: a struct, how it is read from JSON, and its schema. The type of a field decides what is accepted
/// ([`JsonValue`]); `Option` makes it optional.
macro_rules! body {
    ($($(#[doc = $doc:literal])+ pub struct $Body:ident as $name:literal {
        $($(#[doc = $field_doc:literal])* $(#[example = $example:expr])? pub $field:ident: $Value:ty,)+
    })+) => {$(
        $(#[doc = $doc])+
        pub struct $Body {
            $($(#[doc = $field_doc])* pub $field: $Value,)+
        }

        impl $crate::http::body::JsonBody for $Body {
            const NAME: &'static str = $name;

            fn schema() -> ::utoipa::openapi::Schema {
                $crate::http::body::object(concat!($($doc, "\n"),+))
                    $(.member::<$Value>(
                        stringify!($field),
                        concat!($($field_doc, "\n"),*),
                        [$(::serde_json::Value::from($example))?].into_iter().next(),
                    ))+
                    .schema()
            }

            fn read(body: &mut $crate::http::body::BodyReader<'_>) -> Option<Self> {
                $(let $field = body.member::<$Value>(stringify!($field));)+
                Some(Self { $($field: $field?,)+ })
            }
        }
    )+};
}
pub(crate) use body;

/// A value in a body: how it is read, and its schema, which accepts the same values.
pub trait JsonValue: Sized {
    /// Whether a body without it is invalid.
    const IS_REQUIRED: bool = true;

    /// Returns the schema.
    fn schema() -> Schema;

    /// Reads a value that is not `null`. `at` is its path, like `seat_ids[2]`. Returns `None` after recording why.
    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self>;

    /// Returns the value of a member that is absent or `null`.
    fn absent() -> Option<Self> {
        None
    }
}

impl<T: JsonValue> JsonValue for Option<T> {
    const IS_REQUIRED: bool = false;

    fn schema() -> Schema {
        nullable(T::schema())
    }

    fn read(value: &Value, at: &str, findings: &mut Findings<'_>) -> Option<Self> {
        T::read(value, at, findings).map(Some)
    }

    fn absent() -> Option<Self> {
        Some(None)
    }
}

/// What is found in a body that makes it invalid.
pub struct Findings<'request> {
    /// The mistakes of its fields.
    pub mistakes: Mistakes,
    /// What a valid body is refused for.
    pub refusal: Option<Problem>,
    /// The cinema's rules.
    pub rules: &'request Rules,
}

/// Reads the members of a body. Unknown members are ignored, and `null` stands for an absent member.
pub struct BodyReader<'request> {
    members: &'request Map<String, Value>,
    pub findings: Findings<'request>,
}

impl BodyReader<'_> {
    /// Returns whether a member is present.
    pub fn has(&self, name: &str) -> bool {
        self.members.get(name).is_some_and(|value| !value.is_null())
    }

    /// Reads a member. Returns `None` after recording why.
    pub fn member<T: JsonValue>(&mut self, name: &str) -> Option<T> {
        match self.members.get(name).filter(|value| !value.is_null()) {
            Some(value) => T::read(value, name, &mut self.findings),
            None => {
                let absent = T::absent();
                if absent.is_none() {
                    self.mistake(name, Mistake::new("required", "is required"));
                }
                absent
            }
        }
    }

    /// Records a mistake.
    pub fn mistake(&mut self, name: &str, mistake: Mistake) {
        self.findings.mistakes.add(name, mistake);
    }
}

/// A body of a request.
pub trait JsonBody: Sized {
    /// The name of its schema.
    const NAME: &'static str;

    /// Returns the schema.
    fn schema() -> Schema;

    /// Reads the members. Returns `None` after recording why.
    fn read(body: &mut BodyReader<'_>) -> Option<Self>;
}

/// A JSON body.
pub struct Body<T>(pub T);

/// A JSON body that can be absent: an object without members.
pub struct OptionalBody<T>(pub T);

impl<T: JsonBody> Input for Body<T> {
    const IS_BODY: bool = true;

    fn describe(operation: &mut Operation) {
        describe::<T>(operation, Required::True);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        read(received, false).map(Self)
    }
}

impl<T: JsonBody> Input for OptionalBody<T> {
    const IS_BODY: bool = true;

    fn describe(operation: &mut Operation) {
        describe::<T>(operation, Required::False);
    }

    fn read(received: &Received) -> Result<Self, Problem> {
        read(received, true).map(Self)
    }
}

fn describe<T: JsonBody>(operation: &mut Operation, required: Required) {
    operation.schemas.push((T::NAME.to_owned(), RefOr::T(T::schema())));
    let content = ContentBuilder::new().schema(Some(Ref::from_schema_name(T::NAME))).build();
    let body = RequestBodyBuilder::new().content("application/json", content).required(Some(required)).build();
    operation.body = Some(body);
    operation.codes.extend([
        Code::MalformedJson,
        Code::ValidationFailed,
        Code::RequestTimeout,
        Code::PayloadTooLarge,
        Code::UnsupportedMediaType,
    ]);
}

fn read<T: JsonBody>(received: &Received, is_optional: bool) -> Result<T, Problem> {
    let Value::Object(members) = received.json(is_optional)? else {
        return Err(Problem::field("body", "wrong_type", "must be a JSON object"));
    };
    read_members(members, &received.state.settings.rules)
}

fn read_members<T: JsonBody>(members: &Map<String, Value>, rules: &Rules) -> Result<T, Problem> {
    let findings = Findings { mistakes: Mistakes::default(), refusal: None, rules };
    let mut body = BodyReader { members, findings };
    let read = T::read(&mut body);
    let Findings { mistakes, refusal, .. } = body.findings;
    match (refusal, read) {
        // An invalid field goes first.
        (Some(refusal), read) => mistakes.finish(Some(read)).and(Err(refusal)),
        (None, read) => mistakes.finish(read),
    }
}

/// The schema of an object, member by member.
pub struct ObjectSchema(ObjectBuilder);

/// Begins the schema of an object.
pub fn object(documentation: &str) -> ObjectSchema {
    ObjectSchema(ObjectBuilder::new().schema_type(Type::Object).description(text(documentation)))
}

impl ObjectSchema {
    /// Adds a member.
    pub fn member<T: JsonValue>(self, name: &str, documentation: &str, example: Option<Value>) -> Self {
        let Self(object) = self;
        let schema = match T::schema() {
            Schema::Object(mut member) => {
                member.description = text(documentation).or(member.description);
                member.example = example.or(member.example);
                Schema::Object(member)
            }
            Schema::Array(mut member) => {
                member.description = text(documentation).or(member.description);
                member.example = example.or(member.example);
                Schema::Array(member)
            }
            other => other,
        };
        let object = object.property(name, schema);
        Self(if T::IS_REQUIRED { object.required(name) } else { object })
    }

    /// Excludes a member.
    pub fn without(self, name: &str) -> Self {
        Self(self.0.property(name, ObjectBuilder::new().schema_type(Type::Null)))
    }

    /// Returns the schema.
    pub fn schema(self) -> Schema {
        Schema::Object(self.items())
    }

    /// Returns the schema of the items of a list.
    pub fn items(self) -> Object {
        self.0.build()
    }
}

/// Joins the lines of a doc comment.
fn text(documentation: &str) -> Option<String> {
    let lines: Vec<_> = documentation.lines().map(str::trim).collect();
    Some(lines.join(" ").trim().to_owned()).filter(|text| !text.is_empty())
}

/// Returns a schema that accepts `null` as well.
fn nullable(schema: Schema) -> Schema {
    let with_null = |schema_type: SchemaType| match schema_type {
        SchemaType::Type(only) => SchemaType::Array(vec![only, Type::Null]),
        other => other,
    };
    match schema {
        Schema::Object(mut object) => {
            object.schema_type = with_null(object.schema_type);
            Schema::Object(object)
        }
        Schema::Array(mut array) => {
            array.schema_type = with_null(array.schema_type);
            Schema::Array(array)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use domain::booking::Rules;
    use domain::identity::{Email, Name};
    use domain::ids::ShowId;
    use domain::seating::SeatSelection;
    use serde_json::json;

    use super::*;

    body! {
        /// A body with a value of each kind.
        pub struct Sample as "Sample" {
            pub name: Name,
            pub email: Email,
            pub show_id: ShowId,
            pub seat_ids: SeatSelection,
            pub password: Option<String>,
        }
    }

    fn read(body: &Value) -> Result<Sample, Problem> {
        read_members(body.as_object().unwrap(), &Rules::default())
    }

    #[test]
    fn every_mistake_is_reported_at_once() {
        let body = json!({ "name": 1, "show_id": 1.5, "seat_ids": [1, "2", -3, 18446744073709551615_u64] });
        let problem: Value = serde_json::from_str(&read(&body).err().unwrap().body("r")).unwrap();
        let errors = problem["errors"].as_array().unwrap().iter();
        let found: Vec<_> =
            errors.map(|error| [&error["field"], &error["code"]].map(|text| text.as_str().unwrap())).collect();
        let expected = [
            ["name", "wrong_type"],
            ["email", "required"],
            ["show_id", "wrong_type"],
            ["seat_ids[1]", "wrong_type"],
            ["seat_ids[2]", "out_of_range"],
            ["seat_ids[3]", "out_of_range"],
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn too_many_seats_are_refused_after_invalid_fields_are_reported() {
        let seats: Vec<_> = (1..=11).collect();
        let mut body = json!({ "name": "Ana", "email": "ana@example.org", "show_id": 1, "seat_ids": seats });
        assert_eq!(read(&body).err().unwrap().code(), Code::TooManySeats);
        body["show_id"] = json!(0);
        assert_eq!(read(&body).err().unwrap().code(), Code::ValidationFailed);
        body = json!({ "name": "Ana", "email": "ana@example.org", "show_id": 1, "seat_ids": [3], "password": null });
        let Sample { name, email, show_id, seat_ids, password } = read(&body).ok().unwrap();
        assert_eq!((name.as_str(), email.as_str(), show_id, password), ("Ana", "ana@example.org", ShowId(1), None));
        assert_eq!(seat_ids.seats().len(), 1);
    }

    #[test]
    fn schema_has_the_same_members() {
        let schema = serde_json::to_value(Sample::schema()).unwrap();
        assert_eq!(schema["required"], json!(["name", "email", "show_id", "seat_ids"]));
        assert_eq!(schema["properties"]["password"]["type"], json!(["string", "null"]));
        assert_eq!(schema["properties"]["seat_ids"]["minItems"], 1);
    }
}
