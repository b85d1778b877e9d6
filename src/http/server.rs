//! The listener: binding, fallbacks, measurement, and a shutdown that lets requests finish.

use std::any::Any;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

use super::{ApiError, errors};

/// How long requests in flight may take once the shutdown has begun.
const DRAIN: Duration = Duration::from_secs(10);

/// Why HTTP could not be served.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address can't be listened on.
    #[error("can't listen on {address}: {source}; the setting http.listen names the address")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The listener failed.
    #[error("the HTTP listener on {address} failed: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// A bound listener.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds `listen`; port 0 takes a free port, which [`Server::address`] tells.
    pub async fn bind(listen: SocketAddr) -> Result<Self, ServerError> {
        let error = |source| ServerError::Bind { address: listen, source };
        let listener = TcpListener::bind(listen).await.map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        tracing::info!(%address, "listening");
        Ok(Self { listener, address })
    }

    /// The bound address.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves `router` until `shutdown`; then takes no more requests and returns when those in flight
    /// have finished, after 10 s at most.
    pub async fn run(self, router: Router, shutdown: CancellationToken) -> Result<(), ServerError> {
        let address = self.address;
        let serving = axum::serve(self.listener, complete(router))
            .with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let overdue = async {
            shutdown.cancelled().await;
            tokio::time::sleep(DRAIN).await;
        };
        tokio::select! {
            served = serving => served.map_err(|source| ServerError::Listen { address, source }),
            () = overdue => {
                tracing::warn!(%address, "requests were still running {DRAIN:?} after the shutdown began");
                Ok(())
            }
        }
    }
}

/// A router as it is served: unknown routes, wrong methods and panics answer with the API's error
/// body, and each request is measured. (Apart from [`Server`] for tests without a socket.)
pub fn complete(router: Router) -> Router {
    router
        .fallback(errors::no_such_route)
        .method_not_allowed_fallback(errors::no_such_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn(measure))
}

fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message");
    ApiError::internal(format_args!("a handler panicked: {text}")).into_response()
}

/// Counts and times a request by route and status; the path itself would give each id a series.
async fn measure(request: Request, next: Next) -> Response {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unknown".to_owned(), |path| path.as_str().to_owned());
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use axum::body::{Body, to_bytes};
    use axum::http::{StatusCode, header};
    use axum::routing::get;
    use serde_json::Value;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use tokio::sync::Notify;
    use tower::ServiceExt;

    use super::*;

    async fn ask(router: Router, method: Method, path: &str) -> (Response<()>, Value) {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let (parts, body) = complete(router).oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (Response::from_parts(parts, ()), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn what_no_handler_answers_has_the_error_body_too() {
        async fn panic() -> StatusCode {
            panic!("a secret")
        }
        let router = || Router::new().route("/here", get(async || "here")).route("/panic", get(panic));
        let (response, body) = ask(router(), Method::GET, "/nowhere").await;
        assert_eq!((response.status(), &body["error"]["code"]), (StatusCode::NOT_FOUND, &"not_found".into()));
        let (response, body) = ask(router(), Method::DELETE, "/here").await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET,HEAD");
        assert_eq!(body["error"]["code"], "method_not_allowed");
        let (response, body) = ask(router(), Method::GET, "/panic").await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(!body.to_string().contains("a secret"), "{body}");
    }

    #[tokio::test]
    async fn a_taken_address_is_named_with_its_setting() {
        let first = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let message = Server::bind(first.address()).await.unwrap_err().to_string();
        assert!(
            message.contains(&first.address().to_string()) && message.contains("http.listen"),
            "{message}"
        );
    }

    #[tokio::test]
    async fn requests_in_flight_finish_before_the_shutdown() {
        let (begun, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let handler = {
            let (begun, release) = (begun.clone(), release.clone());
            async move || {
                begun.notify_one();
                release.notified().await;
                "finished"
            }
        };
        let server = Server::bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let mut client = TcpStream::connect(server.address()).await.unwrap();
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(Router::new().route("/slow", get(handler)), shutdown.clone()));
        client.write_all(b"GET /slow HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.unwrap();
        begun.notified().await;
        shutdown.cancel();
        release.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.ends_with("finished"), "{answer}");
        running.await.unwrap().unwrap();
    }
}
