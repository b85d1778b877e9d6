//! Whether the process lives and is ready, and its metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;

/// The parts of a process, and whether each is ready. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Part>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Part {
    ready: bool,
    reason: String,
}

#[derive(Serialize)]
struct Report {
    ready: bool,
    parts: BTreeMap<String, Part>,
}

impl Health {
    /// Names a part, which is not ready until it says so.
    pub fn part(&self, name: &str) -> Readiness {
        let readiness = Readiness { health: self.clone(), name: name.into() };
        readiness.set(false, "starting");
        readiness
    }

    /// Whether every part is ready.
    pub fn is_ready(&self) -> bool {
        self.lock().values().all(|part| part.ready)
    }

    /// `/livez`, `/readyz` and `/metrics`.
    pub fn router(&self, metrics: PrometheusHandle) -> Router {
        Router::new()
            .route("/livez", get(async || "alive\n"))
            .route("/readyz", get(readyz).with_state(self.clone()))
            .route("/metrics", get(render).with_state(metrics))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Part>> {
        // Each change is one insertion, so a panic elsewhere leaves nothing half done.
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With it, a part says whether it is ready.
#[derive(Debug, Clone)]
pub struct Readiness {
    health: Health,
    name: Arc<str>,
}

impl Readiness {
    /// Says whether the part is ready, and why. Logged when it changes.
    pub fn set(&self, ready: bool, reason: impl Into<String>) {
        let part = Part { ready, reason: reason.into() };
        let former = self.health.lock().insert(self.name.to_string(), part.clone());
        if former.as_ref() == Some(&part) {
            return;
        }
        let Part { ready, reason } = part;
        metrics::gauge!("tidewatch_ready", "part" => self.name.to_string()).set(f64::from(u8::from(ready)));
        match former {
            Some(former) if former.ready && !ready => tracing::warn!(part = %self.name, reason, "not ready"),
            Some(former) if !former.ready && ready => tracing::info!(part = %self.name, reason, "ready"),
            _ => tracing::debug!(part = %self.name, ready, reason, "readiness"),
        }
    }
}

async fn readyz(State(health): State<Health>) -> Response {
    let parts = health.lock().clone();
    let ready = parts.values().all(|part| part.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Report { ready, parts })).into_response()
}

async fn render(State(metrics): State<PrometheusHandle>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = health.router(metrics).oneshot(request).await.unwrap();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn ready_is_when_every_part_is() {
        let health = Health::default();
        let (ingest, worker) = (health.part("ingest"), health.part("worker"));
        ingest.set(true, "Kafka answers");
        assert_eq!(ask(&health, "/livez").await.0, StatusCode::OK);
        let (status, body) = ask(&health, "/readyz").await;
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(
            body,
            r#"{"ready":false,"parts":{"ingest":{"ready":true,"reason":"Kafka answers"},"worker":{"ready":false,"reason":"starting"}}}"#
        );
        worker.set(true, "restored");
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::OK);
        worker.set(false, "lost its partitions");
        assert_eq!(ask(&health, "/readyz").await.0, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!health.is_ready());
        assert_eq!(ask(&health, "/metrics").await.0, StatusCode::OK);
    }
}
