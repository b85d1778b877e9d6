//! A row as a line of JSON, by its Avro schema.

use apache_avro::types::Value;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use serde::ser::{Error, SerializeMap};
use serde::{Serialize, Serializer};

use crate::engine::Millis;

/// A row of a topic: `{"topic": …}` and its fields, in the order of its schema.
pub(crate) struct Row<'a> {
    pub(crate) topic: &'a str,
    pub(crate) value: &'a Value,
}

impl Serialize for Row<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Value::Record(fields) = self.value else {
            return Err(S::Error::custom(format_args!("a row of {} is no record", self.topic)));
        };
        let mut map = serializer.serialize_map(Some(fields.len() + 1))?;
        map.serialize_entry("topic", self.topic)?;
        for (name, value) in fields {
            // The topic of the record that a dead letter keeps is beside its `record_key` and `record_value`.
            let name = if name == "topic" { "record_topic" } else { name };
            map.serialize_entry(name, &Json(value))?;
        }
        map.end()
    }
}

/// A value; of a union only what it holds.
pub(crate) struct Json<'a>(pub(crate) &'a Value);

impl Serialize for Json<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            Value::Null => serializer.serialize_unit(),
            Value::Boolean(value) => serializer.serialize_bool(*value),
            Value::Int(value) => serializer.serialize_i32(*value),
            Value::Long(value) => serializer.serialize_i64(*value),
            Value::Float(value) => serializer.serialize_f32(*value),
            Value::Double(value) => serializer.serialize_f64(*value),
            Value::String(text) | Value::Enum(_, text) => serializer.serialize_str(text),
            Value::Bytes(bytes) | Value::Fixed(_, bytes) => serializer.serialize_str(&text(bytes)),
            Value::Uuid(id) => serializer.collect_str(id),
            Value::TimestampMillis(millis) => match time(*millis) {
                Some(text) => serializer.serialize_str(&text),
                None => serializer.serialize_i64(*millis),
            },
            Value::Union(_, value) => Json(value).serialize(serializer),
            Value::Array(values) => serializer.collect_seq(values.iter().map(Json)),
            Value::Record(fields) => {
                serializer.collect_map(fields.iter().map(|(name, value)| (name, Json(value))))
            }
            Value::Map(entries) => {
                // Avro's map has no order; the output has one (I2).
                let mut entries: Vec<_> = entries.iter().collect();
                entries.sort_unstable_by_key(|(name, _)| *name);
                serializer.collect_map(entries.into_iter().map(|(name, value)| (name, Json(value))))
            }
            other => Err(S::Error::custom(format_args!("no JSON is defined for {other:?}"))),
        }
    }
}

/// Text, where the bytes are text that can be read; else base64.
pub(crate) fn text(bytes: &[u8]) -> String {
    let is_readable = |text: &&str| !text.chars().any(|c| c.is_control() && !matches!(c, '\t' | '\n' | '\r'));
    match std::str::from_utf8(bytes).ok().filter(is_readable) {
        Some(text) => text.to_owned(),
        None => BASE64_STANDARD.encode(bytes),
    }
}

/// RFC 3339 in UTC with milliseconds; `None` where the calendar has no such time.
pub(crate) fn time(millis: Millis) -> Option<String> {
    Timestamp::from_millisecond(millis).ok().map(|time| format!("{time:.3}"))
}

/// A number of 64 bits as a text.
pub(crate) fn number_as_text<S: Serializer>(
    number: &impl std::fmt::Display,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(number)
}

/// A time as the API spells it: RFC 3339 in UTC, with milliseconds.
pub(crate) fn rfc3339<S: Serializer>(time: &Millis, serializer: S) -> Result<S::Ok, S::Error> {
    let time = Timestamp::from_millisecond(*time).map_err(S::Error::custom)?;
    serializer.collect_str(&format_args!("{time:.3}"))
}

/// As [`rfc3339`]; `null` where there is none.
pub(crate) fn rfc3339_or_null<S: Serializer>(
    time: &Option<Millis>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match time {
        None => serializer.serialize_none(),
        Some(time) => rfc3339(time, serializer),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use uuid::Uuid;

    use super::*;
    use crate::codec;

    #[test]
    fn each_kind_of_value_has_its_json() {
        let field = |name: &str, value| (name.to_owned(), value);
        let map = HashMap::from(["b", "a", "c"].map(|name| (name.to_owned(), Value::Boolean(true))));
        let value = Value::Record(vec![
            field("topic", Value::String("civic".into())),
            field("none", Value::Union(0, Box::new(Value::Null))),
            field("at", Value::Union(1, Box::new(Value::TimestampMillis(-1)))),
            field("never", Value::TimestampMillis(i64::MAX)),
            field("id", Value::Uuid(Uuid::from_u128(7))),
            field("text", Value::Bytes("boston/Ä\n".into())),
            field("avro", Value::Bytes(vec![0, 0, 0, 0, 1])),
            field("torn", Value::Bytes(vec![0xff])),
            field("empty", Value::Bytes(vec![])),
            field("share", Value::Double(0.5)),
            field("counts", Value::Array(vec![Value::Int(1), Value::Long(i64::MIN)])),
            field("severity", Value::Enum(2, "high".into())),
            field("map", Value::Map(map)),
            field("inner", Value::Record(vec![field("topic", Value::Null)])),
        ]);
        let text = serde_json::to_string(&Row { topic: "late-events", value: &value }).unwrap();
        let expected = concat!(
            r#"{"topic":"late-events","record_topic":"civic","none":null,"at":"1969-12-31T23:59:59.999Z","#,
            r#""never":9223372036854775807,"id":"00000000-0000-0000-0000-000000000007","text":"boston/Ä\n","#,
            r#""avro":"AAAAAAE=","torn":"/w==","empty":"","share":0.5,"counts":[1,-9223372036854775808],"#,
            r#""severity":"high","map":{"a":true,"b":true,"c":true},"inner":{"topic":null}}"#,
        );
        assert_eq!(text, expected);
    }

    /// A schema with another logical type needs a line above.
    #[test]
    fn the_pinned_schemas_hold_nothing_else() {
        for schema in codec::schemas().values() {
            for (_, rest) in schema.text.match_indices("logicalType").map(|(at, _)| schema.text.split_at(at))
            {
                let name = rest.split('"').nth(2).unwrap();
                assert!(["uuid", "timestamp-millis"].contains(&name), "{}: {name}", schema.subject);
            }
        }
    }
}
