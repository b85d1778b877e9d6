//! Whether the process lives and is ready, and its metrics.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use metrics_exporter_prometheus::PrometheusHandle;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouterExt};
use utoipa_axum::routes;

use super::NoParameters;

/// The parts of a process, and whether each is ready. Clones share their state.
#[derive(Debug, Clone, Default)]
pub struct Health {
    parts: Arc<Mutex<BTreeMap<String, Part>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = PartReadiness)]
struct Part {
    ready: bool,
    reason: String,
}

/// Whether the process is ready, and each of its parts.
#[derive(Serialize, ToSchema)]
#[schema(as = ReadinessReport)]
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
    pub fn router(&self, metrics: PrometheusHandle) -> OpenApiRouter {
        OpenApiRouter::new()
            .routes(routes!(livez))
            .routes(routes!(readyz).with_state(self.clone()))
            .routes(routes!(render).with_state(metrics))
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

/// Whether the process lives.
#[utoipa::path(
    get,
    path = "/livez",
    operation_id = "getLiveness",
    tag = "process",
    responses((status = 200, description = "It does.", body = String, content_type = "text/plain"))
)]
async fn livez(_: NoParameters) -> &'static str {
    "alive\n"
}

/// Whether the process is ready, and each of its parts.
#[utoipa::path(
    get,
    path = "/readyz",
    operation_id = "getReadiness",
    tag = "process",
    responses(
        (status = 200, description = "Every part is ready.", body = Report),
        (status = 503, description = "A part is not ready.", body = Report)
    )
)]
async fn readyz(State(health): State<Health>, _: NoParameters) -> Response {
    let parts = health.lock().clone();
    let ready = parts.values().all(|part| part.ready);
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(Report { ready, parts })).into_response()
}

/// The metrics of the process, for Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "process",
    responses((status = 200, description = "The text format of Prometheus.", body = String, content_type = "text/plain"))
)]
async fn render(State(metrics): State<PrometheusHandle>, _: NoParameters) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], metrics.render())
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::{Body, to_bytes};
    use axum::http::Request;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tower::ServiceExt;

    use super::*;

    async fn ask(health: &Health, path: &str) -> (StatusCode, String) {
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = Router::from(health.router(metrics)).oneshot(request).await.unwrap();
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
