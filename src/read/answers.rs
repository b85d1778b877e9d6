//! What every answer of rows carries: up to where it holds, and a tag by which a client knows that it has it already.

use std::borrow::Cow;
use std::marker::PhantomData;

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use twox_hash::XxHash3_128;
use utoipa::openapi::path::{Parameter, ParameterIn};
use utoipa::openapi::schema::AllOfBuilder;
use utoipa::openapi::{RefOr, Schema};
use utoipa::{IntoParams, PartialSchema, ToSchema};

use super::live::Freshness;
use super::openapi;
use super::parameters::Parameters;
use crate::http::ApiError;
use crate::log::topics::Owner;
use crate::log::{LogPosition, topics};

/// The `as_of` of an answer; also of one without a body.
const AS_OF: HeaderName = HeaderName::from_static("x-as-of");

/// What is answered of rows: a JSON object, and its tag. The answer itself says besides up to where it holds.
#[derive(Debug, Clone)]
pub struct Body {
    /// The object.
    pub json: Bytes,
    tag: String,
}

impl Body {
    /// Of a JSON object; its tag is a hash of it.
    pub fn of_json(json: impl Into<Bytes>) -> Self {
        let json = json.into();
        let tag = format!("{:032x}", XxHash3_128::oneshot(&json));
        Self { json, tag }
    }

    /// Of what becomes a JSON object.
    pub fn of<T: Serialize>(rows: &T) -> Result<Self, ApiError> {
        Ok(Self::of_json(serde_json::to_vec(rows).map_err(ApiError::internal)?))
    }

    /// The answer; 304 where the client has it already.
    pub fn respond(&self, headers: &HeaderMap, freshness: &Freshness) -> Response {
        respond(headers, &self.tag, &self.json, freshness)
    }
}

/// The answer of one row, whose tag is its version; 304 where the client has it already.
pub fn of_row(headers: &HeaderMap, version: u64, json: &str, freshness: &Freshness) -> Response {
    respond(headers, &version.to_string(), json.as_bytes(), freshness)
}

/// In the description of the API: what `T` describes, and up to where it holds.
pub struct Answer<T>(PhantomData<T>);

impl<T: ToSchema> PartialSchema for Answer<T> {
    fn schema() -> RefOr<Schema> {
        AllOfBuilder::new().item(T::schema()).item(openapi::freshness()).into()
    }
}

impl<T: ToSchema> ToSchema for Answer<T> {
    fn name() -> Cow<'static, str> {
        format!("Answer_{}", T::name()).into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        T::schemas(schemas);
    }
}

/// In the description of the API: the parameter that [`wanted`] takes.
pub struct MinAsOf;

impl IntoParams for MinAsOf {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![openapi::min_as_of()]
    }
}

/// In the description of the API: the header by which a client says what it has.
pub struct IfNoneMatch;

impl IntoParams for IfNoneMatch {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        vec![openapi::if_none_match()]
    }
}

/// Takes `min_as_of`: the position that the answer shall hold.
pub fn wanted(parameters: &mut Parameters) -> Result<Option<LogPosition>, ApiError> {
    let expected = "the X-Log-Position of an answer to events, for example civic:0@123";
    parameters.parsed("min_as_of", expected, |text| {
        let position: LogPosition = text.parse().ok()?;
        let exists = |(family, partition, _): (&str, i32, i64)| {
            let topic = topics::named(family).filter(|topic| topic.owner == Owner::Ingest);
            topic.is_some_and(|topic| partition < topic.partitions)
        };
        let is_ours = position.iter().all(exists);
        is_ours.then_some(position)
    })
}

fn respond(headers: &HeaderMap, tag: &str, json: &[u8], freshness: &Freshness) -> Response {
    // Weak: `as_of` moves on while the rows stay.
    let strong = format!("\"{tag}\"");
    let tag = format!("W/{strong}");
    let is_known =
        headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|value| {
            value
                .split(',')
                .map(str::trim)
                .any(|known| known == "*" || known.trim_start_matches("W/") == strong)
        });
    let as_of = freshness.as_of.to_string();
    // Digits, and names of our own: always legal headers.
    let values = [(header::ETAG, tag), (AS_OF, as_of.clone())]
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(&value).ok()?)));
    // A body says that it may be old, which an empty one can't.
    let mut response = if is_known && !freshness.stale {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = with_freshness(json, &as_of, freshness.stale);
        ([(header::CONTENT_TYPE, "application/json")], json).into_response()
    };
    response.headers_mut().extend(values);
    // A shared cache must not pass one tenant's rows to another.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
}

/// An object with what it says of itself besides: positions have no character that JSON would escape.
fn with_freshness(json: &[u8], as_of: &str, stale: bool) -> Vec<u8> {
    let members = json.strip_suffix(b"}").unwrap_or(json);
    [members, b",\"as_of\":\"", as_of.as_bytes(), b"\",\"stale\":", if stale { b"true}" } else { b"false}" }]
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(if_none_match: Option<&str>, stale: bool) -> Response {
        let mut headers = HeaderMap::new();
        if let Some(value) = if_none_match {
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
        }
        let freshness = Freshness { as_of: "civic:0@5".parse().unwrap(), stale };
        of_row(&headers, 7, r#"{"id":"a"}"#, &freshness)
    }

    #[test]
    fn a_client_that_has_the_version_gets_no_body() {
        for (known, status) in [
            (None, 200),
            (Some("W/\"7\""), 304),
            (Some("\"7\""), 304),
            (Some("\"1\", W/\"7\""), 304),
            (Some("*"), 304),
            (Some("\"77\""), 200),
            (Some("7"), 200),
            (Some(""), 200),
        ] {
            let answer = answer(known, false);
            assert_eq!(answer.status(), status, "{known:?}");
            assert_eq!(answer.headers()[header::ETAG], "W/\"7\"");
            assert_eq!(answer.headers()["x-as-of"], "civic:0@5");
        }
        assert_eq!(answer(Some("W/\"7\""), true).status(), 200, "that it may be old has to be said");
    }
}
