//! What is refused before Kafka is asked, route by route. Kafka is away throughout.

use std::io::Write;

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use serde_json::{Value, json};
use tower::ServiceExt;
use utoipa_axum::router::OpenApiRouter;
use uuid::Uuid;

use super::{Family, Visitor, each};
use crate::config::{Config, HttpConfig};
use crate::http::{Health, Readiness, frame};
use crate::ingest::Ingest;
use crate::log::Log;

struct Routes<'a> {
    ingest: &'a Ingest,
    log: &'a Log,
    config: &'a Config,
}

impl Visitor for Routes<'_> {
    type Output = OpenApiRouter;

    fn family<F: Family>(self) -> OpenApiRouter {
        let (handler, _) = self.ingest.family::<F>(self.log, &self.config.process).unwrap();
        F::routes().with_state(handler)
    }
}

/// The routes for events of all families.
pub fn router(config: &Config, log: &Log, readiness: Readiness) -> OpenApiRouter {
    let ingest = Ingest::start(config, log, super::NAMES, readiness).unwrap();
    let routes = || Routes { ingest: &ingest, log, config };
    each(routes).into_iter().reduce(OpenApiRouter::merge).unwrap()
}

struct Client {
    router: OpenApiRouter,
    health: Health,
    http: HttpConfig,
}

impl Client {
    fn new() -> Self {
        let mut config = Config::load(None, &["kafka.brokers=127.0.0.1:1".into()]).unwrap();
        config.api_keys = serde_json::from_value(json!([
            {"key": "write", "tenant": "boston", "scopes": ["ingest"]},
            {"key": "look", "tenant": "boston", "scopes": ["read"]},
        ]))
        .unwrap();
        let health = Health::default();
        let router = router(&config, &Log::new(&config.kafka), health.part("ingest"));
        Self { router, health, http: config.http }
    }

    async fn send(&self, request: Request<Body>) -> (Response<()>, Value) {
        let (parts, body) =
            frame::wrap(self.router.clone().into(), &self.http).oneshot(request).await.unwrap().into_parts();
        let body = to_bytes(body, usize::MAX).await.unwrap();
        (Response::from_parts(parts, ()), serde_json::from_slice(&body).unwrap())
    }

    async fn post(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, Value) {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, body) = self.send(request.body(body.into()).unwrap()).await;
        (response.status().as_u16(), body)
    }

    /// The status and the error's code.
    async fn refusal(&self, path: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> (u16, String) {
        let (status, body) = self.post(path, headers, body).await;
        (status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
    }
}

const WRITE: &[(&str, &str)] = &[("x-api-key", "write"), ("content-type", "application/json")];

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn what_is_refused_has_its_code() {
    let client = Client::new();
    let json = ("content-type", "application/json");
    let many = json!({"events": vec![json!({"description": "d"}); 1001]}).to_string();
    let long = json!({"description": "d".repeat(1 << 20)}).to_string();
    let issue = format!("/v1/issues/{}/status", Uuid::from_u128(1));
    for (path, headers, body, expected) in [
        ("/v1/reports", &[json][..], "{}", (401, "unauthorized")),
        ("/v1/reports", &[json, ("x-api-key", "nobody's")], "{}", (401, "unauthorized")),
        ("/v1/reports", &[json, ("authorization", "Bearer look")], "{}", (403, "forbidden")),
        ("/v1/reports", &[("x-api-key", "write")], "{}", (415, "unsupported_media_type")),
        ("/v1/reports", &[json, WRITE[0], ("content-encoding", "br")], "{}", (415, "unsupported_media_type")),
        ("/v1/reports", &[json, WRITE[0], ("content-encoding", "gzip")], "{}", (400, "unreadable_body")),
        ("/v1/reports", WRITE, "", (400, "malformed_json")),
        ("/v1/reports", WRITE, "{\"description\":", (400, "malformed_json")),
        ("/v1/reports", WRITE, "[]", (422, "invalid_value")),
        ("/v1/reports", WRITE, "{\"description\":5}", (422, "invalid_value")),
        ("/v1/reports", WRITE, "{\"descripton\":\"d\"}", (422, "invalid_value")),
        ("/v1/reports", WRITE, &long, (413, "too_large")),
        ("/v1/reports", WRITE, &many, (413, "too_large")),
        ("/v1/civic", WRITE, "{}", (422, "invalid_value")),
        ("/v1/civic", WRITE, "{\"events\":[{}]}", (422, "all_rejected")),
        ("/v1/issues/7/status", WRITE, "{\"status\":\"open\"}", (404, "malformed_id")),
        ("/v1/issues/%ff/status", WRITE, "{\"status\":\"open\"}", (404, "malformed_id")),
        (&issue, WRITE, "{\"status\":\"opened\"}", (422, "invalid_value")),
        (&issue, WRITE, "{\"status\":\"open\",\"issue_id\":\"7\"}", (422, "invalid_value")),
        (&issue, WRITE, "{}", (422, "invalid_value")),
        ("/v1/nothing", WRITE, "{}", (404, "not_found")),
    ] {
        let (status, code) = client.refusal(path, headers, body.to_owned()).await;
        assert_eq!((status, code.as_str()), expected, "{path} {headers:?} {:.40}", body);
    }
    let (response, body) = client.send(Request::get("/v1/reports").body(Body::empty()).unwrap()).await;
    assert_eq!((response.status().as_u16(), &body["error"]["code"]), (405, &json!("method_not_allowed")));
}

#[tokio::test]
async fn each_rejected_item_is_named_by_its_index() {
    let client = Client::new();
    let body = json!({"events": [
        {"report": {"description": 5}},
        {"status": {"issue_id": "7", "status": "open"}},
        {"report": {"description": "d", "occurred_at": "2299-01-01T00:00:00Z"}},
    ]});
    let (status, body) = client.post("/v1/civic", WRITE, body.to_string()).await;
    assert_eq!(status, 422);
    let codes: Vec<_> = body["rejected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|item| (&item["index"], &item["error"]["code"]))
        .collect();
    assert_eq!(json!(codes), json!([[0, "invalid_value"], [1, "malformed_id"], [2, "future_event"]]));
    assert_eq!(body["rejected"][0]["error"]["details"]["field"], "events[0].report.description");
    assert_eq!(body["accepted"], json!([]));
}

#[tokio::test]
async fn gzip_is_inflated_up_to_the_limit_and_no_further() {
    let client = Client::new();
    let headers = &[WRITE[0], WRITE[1], ("content-encoding", "gzip")];
    let (status, body) = client.post("/v1/reports", headers, gzip(b"{\"description\":\"\"}")).await;
    assert_eq!((status, &body["error"]["details"]["field"]), (422, &json!("description")));
    let bomb = gzip(&vec![b' '; 64 << 20]);
    assert!(bomb.len() < 1 << 17);
    assert_eq!(client.refusal("/v1/reports", headers, bomb).await, (413, "too_large".to_owned()));
}

#[tokio::test]
async fn while_kafka_is_away_what_is_fit_is_answered_with_503() {
    let client = Client::new();
    let report = json!({"description": "d"});
    let request =
        Request::post("/v1/reports").header("x-api-key", "write").header("content-type", "application/json");
    let (response, body) = client.send(request.body(report.to_string().into()).unwrap()).await;
    assert_eq!((response.status().as_u16(), &body["error"]["code"]), (503, &json!("unavailable")));
    assert_eq!(response.headers()["retry-after"], "2");

    let batch = json!({"events": [report, {"description": 5}, report]});
    let (status, body) = client.post("/v1/reports", WRITE, batch.to_string()).await;
    assert_eq!((status, &body["failed"], &body["accepted"]), (503, &json!([0, 2]), &json!([])));
    assert_eq!(body["rejected"][0]["index"], 1);
    assert!(!client.health.is_ready());
}
