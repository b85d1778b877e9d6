//! What every answer of rows carries: up to where it holds, and a tag by which a client knows that it has it already.

use axum::Json;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use twox_hash::XxHash3_128;
use utoipa::{IntoParams, ToSchema};

use super::live::Freshness;
use super::parameters::Parameters;
use crate::http::ApiError;
use crate::log::{LogPosition, topics};

/// The `as_of` of an answer; also of one without a body.
const AS_OF: HeaderName = HeaderName::from_static("x-as-of");

/// Rows, and up to where they hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct Answer<'a, T: ToSchema> {
    #[serde(flatten)]
    rows: &'a T,
    /// The answer holds what follows from the log up to this position, at least.
    as_of: String,
    /// The answer may be older than `min_as_of`, or a store is away.
    stale: bool,
}

/// The parameter that [`wanted`] takes.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes a parameter")]
pub(super) struct MinAsOf {
    /// Waits, at most 2 s, until the answer holds this position: the `X-Log-Position` of an answer to events. Where it
    /// does not come so far, the answer says `stale`.
    min_as_of: Option<String>,
}

/// The header by which a client says what it has.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "it describes a header")]
pub(super) struct IfNoneMatch {
    /// The ETag of an answer that the client has: 304 where it still holds.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

/// Takes `min_as_of`: the position that the answer shall hold.
pub fn wanted(parameters: &mut Parameters) -> Result<Option<LogPosition>, ApiError> {
    let expected = "the X-Log-Position of an answer to events, for example civic:0@123";
    parameters.parsed("min_as_of", expected, |text| {
        let position: LogPosition = text.parse().ok()?;
        let exists = |(family, partition, _): (&str, i32, i64)| {
            let topic = topics::named(family).filter(|topic| topic.owner == "ingest");
            topic.is_some_and(|topic| partition < topic.partitions)
        };
        let is_ours = position.iter().all(exists);
        is_ours.then_some(position)
    })
}

/// The answer of `rows`, whose tag is a hash of them; 304 where the client has them already.
pub fn of_list<T: Serialize + ToSchema>(
    headers: &HeaderMap,
    rows: &T,
    freshness: &Freshness,
) -> Result<Response, ApiError> {
    let bytes = serde_json::to_vec(rows).map_err(ApiError::internal)?;
    Ok(respond(headers, &format!("{:032x}", XxHash3_128::oneshot(&bytes)), rows, freshness))
}

/// The answer of one row, whose tag is its version; 304 where the client has it already.
pub fn of_row<T: Serialize + ToSchema>(
    headers: &HeaderMap,
    version: u64,
    row: &T,
    freshness: &Freshness,
) -> Response {
    respond(headers, &version.to_string(), row, freshness)
}

fn respond<T: Serialize + ToSchema>(
    headers: &HeaderMap,
    tag: &str,
    rows: &T,
    freshness: &Freshness,
) -> Response {
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
        Json(Answer { rows, as_of, stale: freshness.stale }).into_response()
    };
    response.headers_mut().extend(values);
    // A shared cache must not pass one tenant's rows to another.
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    response
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
        of_row(&headers, 7, &serde_json::json!({ "id": "a" }), &freshness)
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
