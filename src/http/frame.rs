//! What is around every route: the request's id, measurement, compression, limits, and the error body where no handler
//! answers.

use std::any::Any;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::compression::predicate::{Predicate, SizeAbove};
use tower_http::compression::{CompressionLayer, CompressionLevel, DefaultPredicate};
use tower_http::decompression::RequestDecompressionLayer;
use tracing::Instrument;
use uuid::Uuid;

use super::{ApiError, body, errors};
use crate::config::HttpConfig;

/// Names a request, in its answer and in the log lines about it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Routes by which the process is watched: they must answer when the others can't.
const PROBES: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// Answers below so many bytes are not worth compressing.
const COMPRESSED: u64 = 1024;

/// When to come again after a refusal.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The routes, of which there must be one, with all that is around them.
pub fn wrap(router: Router, config: &HttpConfig) -> Router {
    let limits = Limits {
        timeout: config.request_timeout,
        requests: Arc::new(Semaphore::new(config.concurrent_requests)),
        streams: Arc::new(Semaphore::new(config.concurrent_streams)),
    };
    // The default leaves out images and server-sent events.
    let is_worth_it = DefaultPredicate::new().and(SizeAbove::new(COMPRESSED));
    let compression = CompressionLayer::new().quality(CompressionLevel::Fastest).compress_when(is_worth_it);
    router
        // An encoding that it does not know it passes on, so that the refusal has the API's own body.
        .route_layer(RequestDecompressionLayer::new().gzip(true).pass_through_unaccepted(true))
        // Of routes and their methods alone: what there is none of is answered so. Before inflation, which hides whether
        // there is a body.
        .route_layer(middleware::from_fn(refuse_needless_body))
        .fallback(errors::no_such_route)
        .method_not_allowed_fallback(errors::no_such_method)
        .layer(DefaultBodyLimit::max(body::LIMIT))
        .layer(middleware::from_fn_with_state(limits, limit))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(measure))
        .layer(compression)
        .layer(middleware::from_fn(identify))
}

/// Takes over the request's id where it is fit for a log line, else makes one.
async fn identify(request: Request, next: Next) -> Response {
    let id = request.headers().get(REQUEST_ID).filter(|id| is_fit(id.as_bytes())).cloned();
    let id = id.or_else(|| HeaderValue::from_str(&Uuid::now_v7().to_string()).ok());
    let text = id.as_ref().and_then(|id| id.to_str().ok()).unwrap_or_default();
    // At the level of errors, so that no filter parts a line from its request.
    let span =
        tracing::error_span!("request", id = text, method = %request.method(), path = request.uri().path());
    let mut response = next.run(request).instrument(span).await;
    if let Some(id) = id {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

fn is_fit(id: &[u8]) -> bool {
    (1..=128).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(byte))
}

/// Counts and times a request by route and status; the path itself would give each id a series.
async fn measure(request: Request, next: Next) -> Response {
    let route = route(&request).unwrap_or("unknown").to_owned();
    let method = match *request.method() {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    };
    let begun = Instant::now();
    let response = next.run(request).await;
    let labels =
        [("route", route), ("method", method.to_owned()), ("status", response.status().as_u16().to_string())];
    metrics::counter!("tidewatch_http_requests_total", &labels).increment(1);
    metrics::histogram!("tidewatch_http_request_seconds", &labels).record(begun.elapsed());
    response
}

/// The template of the route that matches.
fn route(request: &Request) -> Option<&str> {
    request.extensions().get::<MatchedPath>().map(MatchedPath::as_str)
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    ApiError::internal(format_args!("a handler panicked: {text}")).into_response()
}

/// How much is done at once, and how long it may take.
#[derive(Clone)]
struct Limits {
    timeout: Duration,
    requests: Arc<Semaphore>,
    streams: Arc<Semaphore>,
}

/// Refuses at once what would be too much, and gives up what takes too long.
async fn limit(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    if route(&request).is_some_and(|route| PROBES.contains(&route)) {
        return next.run(request).await;
    }
    let Ok(_place) = limits.requests.try_acquire() else {
        return ApiError::overloaded("too many requests are at work here", RETRY_AFTER).into_response();
    };
    let _counted = Counted::new("tidewatch_http_in_flight");
    let timeout = limits.timeout;
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) if is_stream(response.headers()) => stream(&limits, response),
        Ok(response) => response,
        Err(_) => ApiError::timed_out(format!("there was no answer within {timeout:?}"), RETRY_AFTER)
            .into_response(),
    }
}

fn is_stream(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|name| name.as_bytes().starts_with(b"text/event-stream"))
}

/// An answer that may never end has a place of another kind for as long as it lasts.
fn stream(limits: &Limits, response: Response) -> Response {
    let Ok(place) = limits.streams.clone().try_acquire_owned() else {
        return ApiError::overloaded("too many streams are open here", RETRY_AFTER).into_response();
    };
    let held = (place, Counted::new("tidewatch_http_streams"));
    response.map(|body| {
        Body::from_stream(body.into_data_stream().inspect(move |_| {
            let _ = &held;
        }))
    })
}

/// One more in a gauge, until it is dropped: also where the client has gone.
struct Counted(metrics::Gauge);

impl Counted {
    fn new(name: &'static str) -> Self {
        let gauge = metrics::gauge!(name);
        gauge.increment(1);
        Self(gauge)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.decrement(1);
    }
}

/// A body where none is read is a mistake: the client means something that would not happen.
async fn refuse_needless_body(request: Request, next: Next) -> Response {
    let takes_none = [Method::GET, Method::HEAD, Method::DELETE].contains(request.method());
    if takes_none && !request.body().is_end_stream() {
        return ApiError::invalid("body", "none is expected here").into_response();
    }
    next.run(request).await
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::body::{Bytes, to_bytes};
    use axum::http::StatusCode;
    use axum::routing::{get, post};
    use serde_json::Value;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;
    use crate::config::Config;

    fn wrapped(router: Router, settings: &[&str]) -> Router {
        let settings: Vec<String> = settings.iter().map(|setting| (*setting).to_owned()).collect();
        wrap(router, &Config::load(None, &settings).unwrap().http)
    }

    fn request(method: Method, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        request.body(body.into()).unwrap()
    }

    async fn ask(router: &Router, request: Request) -> (Response<()>, Bytes) {
        let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
        (Response::from_parts(parts, ()), to_bytes(body, usize::MAX).await.unwrap())
    }

    async fn get_path(router: &Router, path: &str) -> (Response<()>, Value) {
        let (response, body) = ask(router, request(Method::GET, path, &[], ())).await;
        (response, serde_json::from_slice(&body).unwrap_or_default())
    }

    #[tokio::test]
    async fn what_no_handler_answers_has_the_error_body_too() {
        async fn panic() -> StatusCode {
            panic!("a secret")
        }
        let router = Router::new().route("/here", get(async || "here")).route("/panic", get(panic));
        let router = wrapped(router, &[]);
        let (response, body) = get_path(&router, "/nowhere").await;
        assert_eq!((response.status(), &body["error"]["code"]), (StatusCode::NOT_FOUND, &"not_found".into()));
        let (response, body) = ask(&router, request(Method::DELETE, "/here", &[], ())).await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        assert!(body.starts_with(br#"{"error":{"code":"method_not_allowed""#), "{body:?}");
        let (response, body) = get_path(&router, "/panic").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("a secret"), "{body}");
        let (response, body) = ask(&router, request(Method::HEAD, "/nowhere", &[], ())).await;
        assert_eq!(response.status(), StatusCode::NOT_FOUND);
        assert!(body.is_empty(), "{body:?}");
    }

    #[tokio::test]
    async fn a_body_where_none_is_read_is_refused() {
        let router = wrapped(Router::new().route("/here", get(async || "here").post(async || "here")), &[]);
        for (method, body, expected) in [
            (Method::GET, "", 200),
            (Method::GET, "{}", 422),
            (Method::HEAD, "{}", 422),
            (Method::POST, "{}", 200),
            (Method::DELETE, "{}", 405),
        ] {
            let (response, body) = ask(&router, request(method.clone(), "/here", &[], body)).await;
            assert_eq!(response.status(), expected, "{method}");
            if method == Method::GET && expected == 422 {
                let body: Value = serde_json::from_slice(&body).unwrap();
                assert_eq!(body["error"]["details"]["field"], "body");
            }
        }
    }

    #[tokio::test]
    async fn the_requests_id_is_in_the_answer() {
        let router = wrapped(Router::new().route("/here", get(async || "here")), &[]);
        let long = "x".repeat(129);
        for (id, is_taken) in [("abc-1.2:3_4", true), ("two words", false), ("a\"b", false), (&*long, false)]
        {
            let (response, _) = ask(&router, request(Method::GET, "/", &[("x-request-id", id)], ())).await;
            let found = response.headers()[REQUEST_ID].to_str().unwrap();
            assert_eq!(found == id, is_taken, "{found}");
            assert!(is_fit(found.as_bytes()), "{found}");
        }
    }

    #[tokio::test]
    async fn long_answers_are_compressed_but_not_streams() {
        let long = "tide ".repeat(1000);
        let stream = ([(header::CONTENT_TYPE, "text/event-stream")], long.clone());
        let router = Router::new()
            .route("/long", get(async move || long))
            .route("/short", get(async || "tide"))
            .route("/stream", get(async move || stream));
        let router = wrapped(router, &[]);
        for (path, accepted, expected) in [
            ("/long", "gzip", Some("gzip")),
            ("/long", "zstd", Some("zstd")),
            ("/long", "identity", None),
            ("/short", "gzip", None),
            ("/stream", "gzip", None),
        ] {
            let asked = request(Method::GET, path, &[("accept-encoding", accepted)], ());
            let (response, body) = ask(&router, asked).await;
            let encoding =
                response.headers().get(header::CONTENT_ENCODING).map(|name| name.to_str().unwrap());
            assert_eq!(encoding, expected, "{path} {accepted}");
            assert_eq!(body.len() < 100, path == "/short" || expected.is_some(), "{path} {accepted}");
        }
    }

    #[tokio::test]
    async fn too_many_requests_are_refused_at_once_and_probes_never() {
        let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (begun, release) = (begun.clone(), release.clone());
            async move || {
                begun.notify_one();
                release.notified().await;
                "done"
            }
        };
        let router = Router::new().route("/slow", post(handler)).route("/livez", get(async || "alive"));
        let router = wrapped(router, &["http.concurrent_requests=1"]);
        let first = tokio::spawn(router.clone().oneshot(request(Method::POST, "/slow", &[], ())));
        begun.notified().await;
        let (response, body) = get_path(&router, "/slow").await;
        assert_eq!(
            (response.status(), &body["error"]["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"overloaded".into())
        );
        assert_eq!(response.headers()[header::RETRY_AFTER], "1");
        assert_eq!(get_path(&router, "/livez").await.0.status(), StatusCode::OK);
        release.notify_one();
        assert_eq!(first.await.unwrap().unwrap().status(), StatusCode::OK);
        assert_eq!(get_path(&router, "/slow").await.0.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn a_stream_has_a_place_for_as_long_as_it_lasts() {
        let body = || Body::from_stream(futures::stream::pending::<Result<Bytes, Infallible>>());
        let stream = get(async move || ([(header::CONTENT_TYPE, "text/event-stream")], body()));
        let router = Router::new().route("/stream", stream).route("/here", get(async || "here"));
        let router = wrapped(router, &["http.concurrent_requests=1", "http.concurrent_streams=1"]);
        let open = || router.clone().oneshot(request(Method::GET, "/stream", &[], ()));
        let first = open().await.unwrap();
        assert_eq!(first.status(), StatusCode::OK);
        assert_eq!(open().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(get_path(&router, "/here").await.0.status(), StatusCode::OK);
        drop(first);
        assert_eq!(open().await.unwrap().status(), StatusCode::OK);
    }

    #[tokio::test]
    async fn what_takes_too_long_is_given_up() {
        let router = Router::new().route("/never", get(std::future::pending::<()>));
        let router = wrapped(router, &["ingest.delivery_timeout=100ms", "http.request_timeout=101ms"]);
        let (response, body) = get_path(&router, "/never").await;
        assert_eq!(
            (response.status(), &body["error"]["code"]),
            (StatusCode::SERVICE_UNAVAILABLE, &"timed_out".into())
        );
        assert!(response.headers().contains_key(header::RETRY_AFTER));
    }
}
