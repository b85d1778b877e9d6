//! The items in a request's body, still as raw JSON.

use serde::Deserialize;
use serde_json::value::RawValue;

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
    /// Either.
    OneOrBatch,
}

/// What a body holds.
#[derive(Debug)]
pub enum Items<'a> {
    /// One item.
    One(&'a RawValue),
    /// The items of a batch.
    Batch(Vec<&'a RawValue>),
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
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Batch<'a> {
        #[serde(borrow)]
        events: Option<Vec<&'a RawValue>>,
    }

    let body = json(bytes)?;
    let is_batch = match form {
        Form::One => false,
        Form::Batch => true,
        Form::OneOrBatch => body.get().starts_with('{') && parse::<Peek<'_>>(body, "")?.events.is_some(),
    };
    if !is_batch {
        return Ok(Items::One(body));
    }
    let items = parse::<Batch<'_>>(body, "")?
        .events
        .ok_or_else(|| ApiError::invalid("events", "missing: expected {\"events\":[…]}"))?;
    if items.len() > ITEMS {
        let message = format!("a batch may have {ITEMS} items, this one has {}", items.len());
        return Err(ApiError::too_large(message));
    }
    Ok(Items::Batch(items))
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
        use Form::{Batch, One, OneOrBatch};
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
            ("", One, "400 null null"),
            ("{\"a\":1", One, "400 null null"),
            ("{} {}", One, "400 null null"),
            ("{\"a\":nul}", Batch, "400 null null"),
        ] {
            let found = match items(body.as_bytes(), form) {
                Ok(Items::One(_)) => "one".to_owned(),
                Ok(Items::Batch(items)) => format!("batch of {}", items.len()),
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
