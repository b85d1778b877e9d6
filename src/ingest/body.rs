//! The items in a request's body, still as raw JSON.

use serde::Deserialize;
use serde_json::value::RawValue;
use serde_path_to_error::{Path, Segment};
use utoipa::ToSchema;

use crate::http::ApiError;

/// A batch holds at most so many items.
pub const ITEMS: usize = 1000;

/// What a route takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// One item.
    One,
    /// `{"events":[…]}`.
    Batch,
    /// One item, or a batch.
    OneOrBatch,
    /// Either; what the items of a batch [share](Shared) may stand beside them. No value and no unknown name is repeated in
    /// an error.
    OneOrBatchSharing,
}

/// An item, or a batch of them.
#[derive(Debug, ToSchema)]
#[serde(untagged)]
pub enum OneOrBatch<T, B> {
    /// One item.
    One(T),
    /// A batch.
    Batch(B),
}

/// What a body holds: an item, or the items of a batch and what they share.
pub type Items<'a> = OneOrBatch<&'a RawValue, (Vec<&'a RawValue>, Shared<'a>)>;

/// A batch of items.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch<T> {
    /// At most 1000; more are answered with 413.
    #[schema(required, nullable = false)]
    events: Option<Vec<T>>,
}

/// A batch of items, and what they share.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SharingBatch<T, S, C> {
    /// At most 1000; more are answered with 413.
    #[schema(required, nullable = false)]
    events: Option<Vec<T>>,
    /// When the batch was sent, by the device's clock: where that is wrong by more than two minutes, it corrects the events'
    /// times.
    #[schema(value_type = Option<String>, format = DateTime)]
    sent_at: Option<S>,
    context: Option<C>,
}

/// What stands in a batch beside its items, for all of them.
#[derive(Debug, Clone, Copy, Default)]
pub struct Shared<'a> {
    /// When it was sent, by the sender's clock.
    pub sent_at: Option<&'a RawValue>,
    /// Fields for each item that lacks them.
    pub context: Option<&'a RawValue>,
}

/// The JSON that the bytes are.
pub fn json(bytes: &[u8]) -> Result<&RawValue, ApiError> {
    serde_json::from_slice(bytes).map_err(|error| ApiError::malformed_json(error.to_string()))
}

/// Finds the items in a body.
pub fn items(bytes: &[u8], form: Form) -> Result<Items<'_>, ApiError> {
    #[derive(Deserialize)]
    struct Peek<'a> {
        #[serde(borrow)]
        events: Option<&'a RawValue>,
    }

    let body = json(bytes)?;
    let has_events = || Ok(body.get().starts_with('{') && parse::<Peek<'_>>(body, "")?.events.is_some());
    let is_batch = match form {
        Form::One => false,
        Form::Batch => true,
        Form::OneOrBatch | Form::OneOrBatchSharing => has_events()?,
    };
    if !is_batch {
        return Ok(Items::One(body));
    }
    let (items, shared) = if form == Form::OneOrBatchSharing {
        let batch = parse_unrepeated::<SharingBatch<&RawValue, &RawValue, &RawValue>>(body, "")?;
        let SharingBatch { events, sent_at, context } = batch;
        (events, Shared { sent_at, context })
    } else {
        (parse::<Batch<&RawValue>>(body, "")?.events, Shared::default())
    };
    let items = items.ok_or_else(|| ApiError::invalid("events", "missing: expected {\"events\":[…]}"))?;
    if items.len() > ITEMS {
        let message = format!("a batch may have {ITEMS} items, this one has {}", items.len());
        return Err(ApiError::too_large(message));
    }
    Ok(Items::Batch((items, shared)))
}

/// Reads an object of a known form; `path` is where it stands in the body. The error names the field.
pub fn parse<'a, T: Deserialize<'a>>(json: &'a RawValue, path: &str) -> Result<T, ApiError> {
    // A sequence would do for a struct, as far as serde is concerned; not for this API.
    if !json.get().starts_with('{') {
        return Err(ApiError::invalid(whole(path), "expected an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let field = match error.path().to_string().as_str() {
            "." => whole(path).to_owned(),
            field => at(path, field),
        };
        // The position would be one within the item.
        let reason = error.inner().to_string();
        let reason = reason.rsplit_once(" at line ").map_or(reason.as_str(), |(reason, _)| reason);
        ApiError::invalid(field, reason)
    })
}

/// As [`parse`], but nothing that was sent is repeated in the error: it names fields that `T` has, and what they may hold.
pub fn parse_unrepeated<'a, T: Deserialize<'a>>(json: &'a RawValue, path: &str) -> Result<T, ApiError> {
    if !json.get().starts_with('{') {
        return Err(ApiError::invalid(whole(path), "expected an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(json.get());
    serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let said = error.inner().to_string();
        let said = said.rsplit_once(" at line ").map_or(said.as_str(), |(said, _)| said);
        // serde says first what it found, and last, in words of the program, what it expected.
        let expected = said.rsplit_once(", expected ").map(|(_, expected)| in_words(expected));
        let expected = expected.filter(|_| !said.ends_with(", there are no fields"));
        let named = |prefix: &str| said.strip_prefix(prefix)?.split('`').next();
        let is_unknown = said.starts_with("unknown field ");
        let place = place(path, error.path(), is_unknown);
        if let Some(field) = named("missing field `") {
            return ApiError::invalid(at(&place, field), "missing");
        }
        if let Some(field) = named("duplicate field `") {
            return ApiError::invalid(at(&place, field), "it is there twice");
        }
        let reason = match (is_unknown, expected) {
            (true, Some(fields)) => {
                format!("a field is unknown; the known ones are {}", fields.trim_start_matches("one of "))
            }
            (true, None) => "a field is unknown; there are none here".to_owned(),
            (false, Some(expected)) => format!("expected {expected}"),
            (false, None) => "this value is not allowed".to_owned(),
        };
        ApiError::invalid(whole(&place), reason)
    })
}

/// Types by the names that JSON has for them.
fn in_words(expected: &str) -> &str {
    match expected {
        "f64" => "a number",
        "i32" | "i64" => "an integer",
        "a string" => "a text",
        "a boolean" => "true or false",
        "a sequence" => "an array",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// Where an error lies, as far as the names on the way are the program's own: neither the name of an unknown field nor a
/// variant, which is a value.
fn place(path: &str, error: &Path, is_unknown: bool) -> String {
    let mut place = path.to_owned();
    let mut segments = error.iter().peekable();
    while let Some(segment) = segments.next() {
        match segment {
            Segment::Seq { index } => place += &format!("[{index}]"),
            Segment::Map { key } if !(is_unknown && segments.peek().is_none()) => place = at(&place, key),
            _ => break,
        }
    }
    place
}

/// How what stands at `path` is named.
pub fn whole(path: &str) -> &str {
    if path.is_empty() { "body" } else { path }
}

/// The path of `field` below `path`.
pub fn at(path: &str, field: &str) -> String {
    if path.is_empty() { field.to_owned() } else { format!("{path}.{field}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(error: ApiError) -> (u16, String) {
        let status = error.status().as_u16();
        let details = serde_json::to_value(error).unwrap()["details"].take();
        (status, format!("{} {}", details["field"], details["reason"]).replace('"', ""))
    }

    #[test]
    fn items_are_found_or_the_field_is_named() {
        use Form::{Batch, One, OneOrBatch, OneOrBatchSharing};
        for (body, form, expected) in [
            (r#"{"a":1}"#, One, "one"),
            (r#"{"events":[1]}"#, One, "one"),
            (r#"{"a":1}"#, OneOrBatch, "one"),
            (r#"{"events":[1,{}]}"#, OneOrBatch, "batch of 2"),
            (r#" {"events":[]} "#, Batch, "batch of 0"),
            ("[]", OneOrBatch, "one"),
            ("7", Batch, "422 body expected an object"),
            ("{}", Batch, "422 events missing: expected {\\events\\:[…]}"),
            (r#"{"events":{}}"#, Batch, "422 events invalid type: map, expected a sequence"),
            (r#"{"events":[],"x":1}"#, OneOrBatch, "422 x unknown field `x`, expected `events`"),
            (r#"{"events":[],"events":[]}"#, OneOrBatch, "422 body duplicate field `events`"),
            (r#"{"events":[1],"sent_at":7,"context":{}}"#, OneOrBatchSharing, "batch of 1"),
            (
                r#"{"events":[1],"context":{}}"#,
                OneOrBatch,
                "422 context unknown field `context`, expected `events`",
            ),
            (
                r#"{"events":[],"hunter2":1}"#,
                OneOrBatchSharing,
                "422 body a field is unknown; the known ones are `events`, `sent_at`, `context`",
            ),
            (r#"{"events":"hunter2"}"#, OneOrBatchSharing, "422 events expected an array"),
            (r#"{"events":[],"context":1,"context":2}"#, OneOrBatchSharing, "422 context it is there twice"),
            ("", One, "400 null null"),
            ("{\"a\":1", One, "400 null null"),
            ("{} {}", One, "400 null null"),
            ("{\"a\":nul}", Batch, "400 null null"),
        ] {
            let found = match items(body.as_bytes(), form) {
                Ok(Items::One(_)) => "one".to_owned(),
                Ok(Items::Batch((items, _))) => format!("batch of {}", items.len()),
                Err(refusal) => {
                    let (status, details) = error(refusal);
                    format!("{status} {details}")
                }
            };
            assert_eq!(found, expected, "{body} as {form:?}");
        }
    }

    #[test]
    fn a_batch_has_a_thousand_items_at_most() {
        let body = |count: usize| format!("{{\"events\":[{}]}}", vec!["1"; count].join(","));
        assert!(items(body(ITEMS).as_bytes(), Form::Batch).is_ok());
        assert_eq!(items(body(ITEMS + 1).as_bytes(), Form::Batch).unwrap_err().status(), 413);
    }
}
