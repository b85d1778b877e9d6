//! The parameters of a query string, each known and given once.

use std::collections::BTreeMap;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use crate::engine::Millis;
use crate::http::ApiError;
use crate::http::extract;
use crate::http::extract::QueryPairs;

/// Rows of a page, where `limit` does not say how many.
const DEFAULT_LIMIT: u64 = 100;
/// Rows of a page at most.
pub const MAX_LIMIT: u64 = 1000;

/// What a query string says. A handler takes what it knows; what is left then is refused, so that a misspelt
/// filter doesn't silently match everything.
#[derive(Debug, Default)]
pub struct Parameters(BTreeMap<String, String>);

impl<S: Send + Sync> FromRequestParts<S> for Parameters {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let QueryPairs(pairs) = QueryPairs::from_request_parts(parts, state).await?;
        Ok(Self(pairs))
    }
}

impl Parameters {
    /// These, for tests.
    #[cfg(test)]
    pub fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    /// Takes the text of `name`.
    pub fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Takes `name` as what `parse` makes of it; where that is nothing, the answer is 422 with what is `expected`.
    pub fn parsed<T>(
        &mut self,
        name: &str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(ApiError::invalid(name, format!("is {text:?}; expected {expected}"))),
        }
    }

    /// Takes a point in time.
    pub fn time(&mut self, name: &str) -> Result<Option<Millis>, ApiError> {
        let expected = "a time in RFC 3339, for example 2011-07-01T00:00:00Z";
        self.parsed(name, expected, |text| Some(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()))
    }

    /// Takes what is either true or false.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>, ApiError> {
        self.parsed(name, "true or false", |text| text.parse().ok())
    }

    /// Takes how many rows a page may have.
    pub fn limit(&mut self) -> Result<u64, ApiError> {
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=MAX_LIMIT).contains(limit));
        Ok(self.parsed("limit", "1 to 1000", limit)?.unwrap_or(DEFAULT_LIMIT))
    }

    /// Takes all whose names begin with `prefix`, without it.
    pub fn with_prefix(&mut self, prefix: &str) -> Vec<(String, String)> {
        self.0
            .extract_if(.., |name, _| name.starts_with(prefix))
            .map(|(name, value)| (name[prefix.len()..].to_owned(), value))
            .collect()
    }

    /// Refuses what was not taken.
    pub fn finish(self) -> Result<(), ApiError> {
        extract::unknown(self.0)
    }
}
