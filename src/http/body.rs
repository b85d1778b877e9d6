//! A request's body: JSON of a bounded size.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::ApiError;

/// A body holds at most so many bytes, inflated.
pub const LIMIT: usize = 1 << 20;

/// Extracts the bytes of a body that says it is JSON, at most [`LIMIT`]. Inflating stops there too, so a bomb is never
/// held.
#[derive(Debug, Clone)]
pub struct JsonBytes(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for JsonBytes {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        check(request.headers())?;
        Bytes::from_request(request, state).await.map(Self).map_err(|rejection| {
            if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE {
                ApiError::too_large(format!("a body may have {LIMIT} bytes, inflated"))
            } else {
                let message = "the body could not be read to its end";
                ApiError::new(StatusCode::BAD_REQUEST, "unreadable_body", message)
                    .with_details("body", rejection.body_text())
            }
        })
    }
}

/// Reads a body that is an object; the error names the field.
pub fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    // A sequence would do for a struct, as far as serde is concerned; not for this API.
    if bytes.trim_ascii_start().first() == Some(&b'[') {
        return Err(ApiError::invalid("body", "expected an object"));
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        match error.inner().classify() {
            serde_json::error::Category::Data => {
                let path = error.path().to_string();
                let field = if path == "." { "body".to_owned() } else { path };
                ApiError::invalid(field, error.inner().to_string())
            }
            _ => ApiError::malformed_json(error.inner().to_string()),
        }
    })?;
    deserializer.end().map_err(|error| ApiError::malformed_json(error.to_string()))?;
    Ok(value)
}

fn check(headers: &HeaderMap) -> Result<(), ApiError> {
    // gzip has been taken off, header and all, before.
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && encoding != "identity"
    {
        return Err(ApiError::unsupported_media_type(
            "the content encodings read here are gzip and identity",
        ));
    }
    let media_type = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|value| value.trim().to_ascii_lowercase());
    match media_type {
        Some(name)
            if name == "application/json"
                || (name.starts_with("application/") && name.ends_with("+json")) =>
        {
            Ok(())
        }
        _ => Err(ApiError::unsupported_media_type("the content type read here is application/json")),
    }
}
