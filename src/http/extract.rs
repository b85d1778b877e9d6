//! Extractors whose refusals have the API's error body; axum's own are plain text.

use std::collections::BTreeMap;

use axum::extract::{FromRequestParts, Query};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use super::ApiError;

/// Extracts the parameters of the path. What can't be one names nothing that there is: 404.
#[derive(Debug, Clone)]
pub struct Path<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Path<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let path = axum::extract::Path::from_request_parts(parts, state).await;
        path.map(|axum::extract::Path(value)| Self(value)).map_err(|error| {
            ApiError::not_found("nothing has such a path").with_details("path", error.body_text())
        })
    }
}

/// Extracts the parameters of the query string; each may be given once.
#[derive(Debug, Default)]
pub struct QueryPairs(pub BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for QueryPairs {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Query(pairs) = Query::<Vec<(String, String)>>::from_request_parts(parts, state)
            .await
            .map_err(|error| ApiError::invalid("query", error.body_text()))?;
        let mut once = BTreeMap::new();
        for (name, value) in pairs {
            // What is not UTF-8 has been replaced by this character, which no value of ours has.
            if name.contains(char::REPLACEMENT_CHARACTER) {
                return Err(ApiError::invalid("query", "has a name that is not UTF-8"));
            }
            if value.contains([char::REPLACEMENT_CHARACTER, '\0']) {
                return Err(ApiError::invalid(name, "is not a text in UTF-8"));
            }
            if once.contains_key(&name) {
                return Err(ApiError::invalid(name, "is given more than once"));
            }
            once.insert(name, value);
        }
        Ok(Self(once))
    }
}

/// Refuses every parameter of the query string, for a route that knows none.
#[derive(Debug, Clone, Copy)]
pub struct NoParameters;

impl<S: Send + Sync> FromRequestParts<S> for NoParameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let QueryPairs(pairs) = QueryPairs::from_request_parts(parts, state).await?;
        unknown(pairs)?;
        Ok(Self)
    }
}

/// Refuses what no handler has taken.
pub fn unknown(pairs: BTreeMap<String, String>) -> Result<(), ApiError> {
    match pairs.into_keys().next() {
        Some(name) => Err(ApiError::invalid(name, "is not a parameter of this route")),
        None => Ok(()),
    }
}
