//! The one error body of the API.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use utoipa::ToSchema;

use crate::config::Scope;

/// A request, or an item of one, that is refused: `{"error":{"code":…,"message":…,"details":…}}`.
///
/// As a response it is counted in `tidewatch_http_refused_total{code}`. Serialised, it is the inner
/// object alone, as the error of one item in the answer to a batch.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[schema(as = Error)]
pub struct ApiError {
    #[serde(skip)]
    status: StatusCode,
    #[serde(skip)]
    advice: Option<Advice>,
    /// A stable code for programs.
    code: &'static str,
    /// A message for people.
    #[schema(value_type = String)]
    message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    details: Option<Details>,
}

/// A header that says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Advice {
    /// `WWW-Authenticate`.
    Authenticate,
    /// `Retry-After`, in seconds.
    RetryAfter(u64),
}

/// Which part of the request is refused, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = ErrorDetails)]
struct Details {
    /// A parameter, a header, or the path of a value in the body.
    field: String,
    reason: String,
}

/// An error body with further fields beside `error`.
#[derive(Serialize)]
struct Body<'a, T> {
    error: &'a ApiError,
    #[serde(flatten)]
    beside: T,
}

impl ApiError {
    /// An error of its own kind; the usual ones have their own constructors below.
    pub fn new(status: StatusCode, code: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { status, advice: None, code, message: message.into(), details: None }
    }

    /// 404: there is no such thing.
    pub fn not_found(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 422: `field` (a path such as `events[3].due_at`) holds something that is not allowed.
    pub fn invalid(field: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, "invalid_value", "a value is not allowed")
            .with_details(field, reason)
    }

    /// 400: the body is no JSON.
    pub fn malformed_json(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "malformed_json", message)
    }

    /// 413: too many bytes or items.
    pub fn too_large(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    /// 401: no API key, or an unknown one.
    pub fn unauthorized() -> Self {
        let message = "a known API key is needed, as \"Authorization: Bearer KEY\" or \"X-Api-Key: KEY\"";
        Self {
            advice: Some(Advice::Authenticate),
            ..Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
        }
    }

    /// 403: the API key lacks `scope`.
    pub fn forbidden(scope: Scope) -> Self {
        let name = scope.as_str();
        Self::new(StatusCode::FORBIDDEN, "forbidden", format!("the API key lacks the scope \"{name}\""))
    }

    /// 415: a content type or encoding that is not read here.
    pub fn unsupported_media_type(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message)
    }

    /// 503: not now; `retry_after` is rounded up to whole seconds.
    pub fn unavailable(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        let seconds = retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0);
        Self {
            advice: Some(Advice::RetryAfter(seconds)),
            ..Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", message)
        }
    }

    /// 503: too much is at work already; `retry_after` is rounded up to whole seconds.
    pub(super) fn overloaded(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self { code: "overloaded", ..Self::unavailable(message, retry_after) }
    }

    /// 503: it took too long; `retry_after` is rounded up to whole seconds.
    pub(super) fn timed_out(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self { code: "timed_out", ..Self::unavailable(message, retry_after) }
    }

    /// 429: too much at once; `retry_after` is rounded up to whole seconds.
    pub fn too_many_requests(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self {
            status: StatusCode::TOO_MANY_REQUESTS,
            code: "too_many_requests",
            ..Self::unavailable(message, retry_after)
        }
    }

    /// 500: a fault of this program or its parts. The cause goes to its log, not to the client.
    pub fn internal(cause: impl fmt::Display) -> Self {
        tracing::error!(%cause, "a request failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", "the server failed; its log has the cause")
    }

    /// 405: the route is there, the method is not.
    fn method_not_allowed() -> Self {
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "the route does not know this method; the header Allow names those it knows",
        )
    }

    /// Names the part of the request that is refused, and why.
    pub fn with_details(mut self, field: impl Into<String>, reason: impl Into<String>) -> Self {
        self.details = Some(Details { field: field.into(), reason: reason.into() });
        self
    }

    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The code, for programs.
    pub fn code(&self) -> &'static str {
        self.code
    }

    /// The response, with the fields of `beside` (a struct or map) next to `error`.
    pub fn respond_beside<T: Serialize>(self, beside: T) -> Response {
        metrics::counter!("tidewatch_http_refused_total", "code" => self.code).increment(1);
        let mut response = (self.status, Json(Body { error: &self, beside })).into_response();
        match self.advice {
            Some(Advice::Authenticate) => {
                let challenge = HeaderValue::from_static("Bearer realm=\"tidewatch\"");
                response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
            }
            Some(Advice::RetryAfter(seconds)) => {
                response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
            }
            None => {}
        }
        response
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.details {
            Some(Details { field, reason }) => write!(formatter, "{field}: {reason}"),
            None => formatter.write_str(&self.message),
        }
    }
}

impl std::error::Error for ApiError {}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        self.respond_beside(())
    }
}

/// The answer where no route matches.
pub(super) async fn no_such_route() -> ApiError {
    ApiError::not_found("there is no such route")
}

/// The answer where the route matches and the method does not.
pub(super) async fn no_such_method() -> ApiError {
    ApiError::method_not_allowed()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use serde_json::{Value, json};

    use super::*;

    async fn body(response: Response) -> Value {
        serde_json::from_slice(&to_bytes(response.into_body(), usize::MAX).await.unwrap()).unwrap()
    }

    #[tokio::test]
    async fn the_body_is_the_designs() {
        let response = ApiError::invalid("due_at", "no zone").into_response();
        assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
        assert_eq!(
            body(response).await,
            json!({"error": {
                "code": "invalid_value",
                "message": "a value is not allowed",
                "details": {"field": "due_at", "reason": "no zone"},
            }})
        );
        let response = ApiError::not_found("no issue").respond_beside(json!({"rejected": [1]}));
        assert_eq!(
            body(response).await,
            json!({"error": {"code": "not_found", "message": "no issue"}, "rejected": [1]})
        );
    }

    #[test]
    fn headers_say_what_to_do() {
        let response = ApiError::unavailable("Kafka is away", Duration::from_millis(1500)).into_response();
        assert_eq!(response.headers()[header::RETRY_AFTER], "2");
        let response = ApiError::unauthorized().into_response();
        assert_eq!(response.headers()[header::WWW_AUTHENTICATE], "Bearer realm=\"tidewatch\"");
    }

    #[test]
    fn an_items_error_is_the_inner_object() {
        let error = serde_json::to_value(ApiError::malformed_json("line 1")).unwrap();
        assert_eq!(error, json!({"code": "malformed_json", "message": "line 1"}));
    }
}
