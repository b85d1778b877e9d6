//! The routes of all roles together, and the document that describes them.

use std::collections::BTreeSet;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Request, Response, header};
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::Value;
use tower::ServiceExt;

use super::*;

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

/// Every route, as a process of all roles serves it. Neither Kafka nor ClickHouse is there.
fn router() -> Router {
    let mut config = Config::load(None, &[]).unwrap();
    for (key, scope) in [("I", "ingest"), ("R", "read"), ("A", "admin")] {
        let key = serde_json::json!({ "key": key, "tenant": "t", "scopes": [scope] });
        config.api_keys.push(serde_json::from_value(key).unwrap());
    }
    let health = Health::default();
    let log = Log::new(&config.kafka);
    let ingest = families::tests::router(&config, &log, health.part("ingest"));
    let serve = Serve::new(&config, &log, Vec::new(), CancellationToken::new()).unwrap();
    let router = openapi::router().merge(ingest).merge(serve.router(queries()));
    let router = router.merge(tools::routes(&config, &log));
    let metrics = PrometheusBuilder::new().build_recorder().handle();
    frame::wrap(openapi::with_document(router.merge(health.router(metrics))), &config.http)
}

async fn ask(router: &Router, method: &str, path: &str, key: Option<&str>) -> Response<Vec<u8>> {
    send(router, method, path, key, "").await
}

async fn send(
    router: &Router,
    method: &str,
    path: &str,
    key: Option<&str>,
    body: &'static str,
) -> Response<Vec<u8>> {
    let mut request = Request::builder().method(method.to_uppercase().as_str()).uri(path);
    if let Some(key) = key {
        request = request.header("x-api-key", key);
    }
    let request = request.body(Body::from(body)).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    Response::from_parts(parts, to_bytes(body, usize::MAX).await.unwrap().into())
}

async fn document(router: &Router) -> Value {
    serde_json::from_slice(ask(router, "get", "/openapi.json", None).await.body()).unwrap()
}

/// Path, method and operation of each operation of the document.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let of = |(path, item)| {
        let item: &Value = item;
        METHODS.into_iter().filter_map(move |method| Some((path, method, item.get(method)?)))
    };
    paths.iter().map(|(path, item)| (path.as_str(), item)).flat_map(of).collect()
}

/// A path that matches the template.
fn example(template: &str) -> String {
    let segments = template.split('/').map(|part| if part.starts_with('{') { "0" } else { part });
    segments.collect::<Vec<_>>().join("/")
}

#[tokio::test]
async fn every_route_is_described_and_every_description_is_of_a_route() {
    let router = router();
    let document = document(&router).await;
    // axum tells its paths only so: `paths: {RouteId(0): "/livez", …}`.
    let text = format!("{router:?}");
    let (paths, _) = text.split_once("fallback_router").unwrap();
    let (_, paths) = paths.rsplit_once("paths: {").unwrap();
    // The page is a client of the API, and its files are no part of it.
    let is_file = |path: &&str| *path == "/" || path.starts_with("/page/");
    let served: BTreeSet<&str> = paths.split('"').skip(1).step_by(2).filter(|path| !is_file(path)).collect();
    let described: BTreeSet<&str> = operations(&document).into_iter().map(|(path, ..)| path).collect();
    assert_eq!(served, described);

    for path in served {
        for method in METHODS {
            let is_described = document["paths"][path].get(method).is_some();
            let status = ask(&router, method, &example(path), None).await.status();
            assert_eq!(status != 405, is_described, "{method} {path}: {status}");
        }
    }
}

#[tokio::test]
async fn each_operation_names_its_scope_and_its_errors() {
    let router = router();
    let document = document(&router).await;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    for (path, method, operation) in operations(&document) {
        let name = format!("{method} {path}");
        assert!(operation["summary"].is_string(), "{name} says nothing");
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = match response["$ref"].as_str() {
                Some(reference) => document.pointer(&reference[1..]).unwrap(),
                None => response,
            };
            assert!(response["headers"]["X-Request-Id"].is_object(), "{name} {status}");
            let schema = response["content"]["application/json"]["schema"]["$ref"].as_str();
            let is_readiness = path == "/readyz" && status == "503";
            if status.starts_with(['4', '5']) && !is_readiness {
                assert_eq!(schema, Some("#/components/schemas/ErrorBody"), "{name} {status}");
            }
        }
        let statuses = async |key| ask(&router, method, &example(path), key).await.status().as_u16();
        let Some(security) = operation["security"].as_array().filter(|ways| !ways.is_empty()) else {
            assert!(![401, 403].contains(&statuses(None).await), "{name} wants a key and does not say so");
            continue;
        };
        let scopes: Vec<_> = security.iter().flat_map(|way| way.as_object().unwrap().values()).collect();
        assert_eq!(scopes.len(), 2, "{name}: either header will do");
        assert_eq!(scopes[0], scopes[1], "{name}");
        let scope = scopes[0][0].as_str().unwrap();
        assert_eq!(statuses(None).await, 401, "{name}");
        for (key, of) in [("I", "ingest"), ("R", "read"), ("A", "admin")].into_iter().filter(|k| k.1 != scope)
        {
            assert_eq!(statuses(Some(key)).await, 403, "{name} with {of}");
        }
    }
}

/// A key with the scope that the operation names.
fn key(operation: &Value) -> Option<&'static str> {
    let scope = operation.pointer("/security/0/bearer/0")?.as_str()?;
    Some(match scope {
        "ingest" => "I",
        "read" => "R",
        _ => "A",
    })
}

#[tokio::test]
async fn what_no_route_asked_for_is_refused_by_name_on_every_route() {
    let refusal = |response: Response<Vec<u8>>| {
        let body: Value = serde_json::from_slice(response.body()).unwrap();
        let details = &body["error"]["details"];
        let text = |part: &Value| part.as_str().unwrap_or_default().to_owned();
        (response.status().as_u16(), text(&body["error"]["code"]), text(&details["field"]))
    };
    let expected = |status, code: &str, field: &str| (status, code.to_owned(), field.to_owned());
    let router = router();
    for (path, method, operation) in operations(&document(&router).await) {
        let (name, key) = (format!("{method} {path}"), key(operation));
        let path = example(path);
        let unknown = ask(&router, method, &format!("{path}?unknown=1"), key).await;
        assert_eq!(refusal(unknown), expected(422, "invalid_value", "unknown"), "{name}");
        let nonsense = ask(&router, method, &format!("{path}?unknown=%ff"), key).await;
        assert_eq!(refusal(nonsense), expected(422, "invalid_value", "unknown"), "{name}");
        let untyped = refusal(send(&router, method, &path, key, "{}").await);
        if operation.get("requestBody").is_some() {
            assert_eq!(untyped, expected(415, "unsupported_media_type", ""), "{name}");
        } else {
            assert_eq!(untyped, expected(422, "invalid_value", "body"), "{name}");
        }
        if path.contains('0') {
            let path = path.replace('0', "%ff");
            let status = ask(&router, method, &path, key).await.status();
            assert!(status == 404 || status == 415, "{name}: {status}");
        }
    }
}

#[tokio::test]
async fn every_reference_of_the_document_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str));
                fields.values().for_each(|field| references(field, found));
            }
            Value::Array(values) => values.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document(&router()).await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.len() > 50);
    for reference in found {
        assert!(document.pointer(&reference[1..]).is_some(), "{reference}");
    }
}

#[tokio::test]
async fn the_docs_page_is_whole_and_stays_at_home() {
    let router = router();
    let page = ask(&router, "get", "/docs/", None).await;
    let policy = page.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    let html = String::from_utf8(page.into_body()).unwrap();
    let files: Vec<&str> =
        html.split("=\"").skip(1).filter_map(|rest| rest.split('"').next()?.strip_prefix("./")).collect();
    assert!(files.contains(&"swagger-ui-bundle.js"), "{html}");
    assert!(!html.contains("//"), "{html}");
    for file in files {
        assert_eq!(ask(&router, "get", &format!("/docs/{file}"), None).await.status(), 200, "{file}");
    }
    let start = ask(&router, "get", "/docs/swagger-initializer.js", None).await.into_body();
    let start = String::from_utf8(start).unwrap();
    assert!(start.contains("\"/openapi.json\"") && start.contains("\"validatorUrl\": \"none\""), "{start}");
    assert_eq!(ask(&router, "get", "/docs/nothing.js", None).await.status(), 404);
}
