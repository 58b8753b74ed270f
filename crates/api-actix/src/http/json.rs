//! Strict JSON: repeated members, bad UTF-8 and too deep nesting are refused.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use sha2::{Digest as _, Sha256};

/// A JSON text without repeated members.
struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.insert(name.clone(), value).is_some() {
                let start: String = name.chars().take(40).collect();
                return Err(A::Error::custom(format_args!("the member {start:?} comes twice")));
            }
        }
        Ok(Value::Object(object))
    }
}

/// Parses a body. The error says what is wrong and where.
pub fn parse(bytes: &[u8]) -> Result<Value, String> {
    serde_json::from_slice::<Strict>(bytes).map(|Strict(value)| value).map_err(|error| error.to_string())
}

/// Returns a digest of a request's JSON. The order of members and white space make no difference: `serde_json` keeps members sorted by
/// name, and writes no white space.
pub fn fingerprint(value: &Value) -> [u8; 32] {
    Sha256::digest(value.to_string().as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn field_order_and_white_space_do_not_matter() {
        let print = |text: &str| fingerprint(&parse(text.as_bytes()).unwrap());
        assert_eq!(
            print(r#"{"a":1,"b":{"c":[1,2],"d":"x"}}"#),
            print("{ \"b\": {\"d\":\"x\", \"c\":[1, 2]},\n\"a\":1}")
        );
        assert_ne!(print(r#"{"a":[1,2]}"#), print(r#"{"a":[2,1]}"#));
        assert_ne!(print(r#"{"a":1}"#), print(r#"{"a":"1"}"#));
    }

    #[test]
    fn what_is_no_json_is_told() {
        for wrong in [&b"{"[..], b"", b"{\"a\":1,\"a\":1}", b"{\"a\":{\"b\":1,\"b\":2}}", b"\"\xff\"", b"{} {}", b"NaN"]
        {
            assert!(parse(wrong).is_err(), "{wrong:?}");
        }
        assert!(parse("[".repeat(10_000).as_bytes()).is_err());
        assert!(parse("{\"a\":".repeat(10_000).as_bytes()).is_err());
        assert_eq!(parse(br#"{"a":null}"#), Ok(serde_json::json!({"a": null})));
    }
}
