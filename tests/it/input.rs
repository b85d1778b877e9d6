//! Bad input: refused with the error body, by index in a batch, or kept as a dead letter; nothing else suffers.

use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tidewatch::engine::rows::DeadLetter;

use crate::expected;
use crate::system::{KEY, READ_KEY, System, eventually};

/// Requests that are refused whole, with status and code.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_request_is_refused_with_the_error_body() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let post = |key: Option<&str>, path: &str, body: Vec<u8>, content_type: &str| {
        let request = reqwest::Client::new().post(format!("{}{path}", ingest.url)).body(body);
        let request = request.header("content-type", content_type);
        if let Some(key) = key { request.header("x-api-key", key) } else { request }
    };
    let json = "application/json";
    let report = |change: Value| {
        let mut report = json!({ "description": "x", "occurred_at": "2024-01-01T00:00:00Z" });
        report.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        serde_json::to_vec(&report).unwrap()
    };
    let many: Vec<Value> = (0..1001).map(|_| json!({ "report": { "description": "x" } })).collect();
    let large = json!({ "events": [{ "report": { "description": "x".repeat(1 << 20) } }] });
    let ahead = (jiff::Timestamp::now() + jiff::SignedDuration::from_secs(400)).to_string();
    let reports = "/v1/reports";
    let status = "/v1/issues/01234567-89ab-8def-8123-456789abcdef/status";
    let cases = [
        (Some(KEY), reports, b"{\"description\": ".to_vec(), json, 400),
        (Some(KEY), reports, report(json!({ "description": 7 })), json, 422),
        (Some(KEY), reports, b"{}".to_vec(), json, 422),
        (Some(KEY), reports, report(json!({ "descripton": "typo" })), json, 422),
        (Some(KEY), reports, report(json!({ "occurred_at": "2024-01-01T00:00:00" })), json, 422),
        (Some(KEY), reports, report(json!({ "occurred_at": ahead })), json, 422),
        (Some(KEY), reports, report(json!({ "latitude": 91.0, "longitude": 0.0 })), json, 422),
        (Some(KEY), status, b"{\"status\": \"gone\"}".to_vec(), json, 422),
        (Some(KEY), "/v1/issues/17/status", b"{\"status\": \"closed\"}".to_vec(), json, 404),
        (Some(KEY), "/v1/civic", serde_json::to_vec(&json!({ "events": many })).unwrap(), json, 413),
        (Some(KEY), "/v1/civic", serde_json::to_vec(&large).unwrap(), json, 413),
        (Some(KEY), reports, report(json!({})), "text/plain", 415),
        (None, reports, report(json!({})), json, 401),
        (Some("nobody"), reports, report(json!({})), json, 401),
        (Some(READ_KEY), reports, report(json!({})), json, 403),
    ];
    for (key, path, body, content_type, expected) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let response = post(key, path, body, content_type).send().await.unwrap();
        assert_eq!(response.status().as_u16(), expected, "{path} {shown}");
        let answer: Value = response.json().await.unwrap();
        assert!(
            answer["error"]["code"].is_string() && answer["error"]["message"].is_string(),
            "{shown}: {answer}"
        );
        if expected == 422 {
            assert!(answer["error"]["details"]["field"].is_string(), "{shown}: {answer}");
        }
    }
    let logged: usize = system.read_committed("civic").values().map(Vec::len).sum();
    assert_eq!(logged, 0, "nothing refused reached the log");
    let metrics = reqwest::get(format!("{}/metrics", ingest.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("tidewatch_http_refused_total{code=\"unauthorized\"} 2"), "{metrics}");
}

/// One bad item doesn't sink the others.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_batch_names_its_bad_items_by_index() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let batch = json!({ "events": [
        { "report": { "description": "good", "id": "1" } },
        { "report": { "description": 3 } },
        { "status": { "issue_id": "17", "status": "closed" } },
        { "report": { "description": "good too", "id": "2" } },
    ] });
    let (status, answer) = ingest.post(KEY, "/v1/civic", &batch).await;
    assert_eq!(status, 202, "{answer}");
    let indices = |name: &str| -> Vec<u64> {
        answer[name].as_array().unwrap().iter().map(|item| item["index"].as_u64().unwrap()).collect()
    };
    assert_eq!((indices("accepted"), indices("rejected")), (vec![0, 3], vec![1, 2]));
    assert_eq!(answer["rejected"][1]["error"]["code"], "malformed_id");
    let logged: usize = system.read_committed("civic").values().map(Vec::len).sum();
    assert_eq!(logged, 2);
}

/// What can't be read or folded is kept with where it lies and why, and what lies behind it is folded.
#[tokio::test(flavor = "multi_thread")]
async fn i7_what_cannot_be_folded_becomes_a_dead_letter() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let producer: FutureProducer = system.log.producer().create().unwrap();
    let topic = system.log.name("civic");
    for value in [&b"{\"not\": \"avro\"}"[..], &[0, 0, 0, 0, 1, 2], &[0, 0, 0, 0, 99, 1]] {
        let record = FutureRecord::to(&topic).key("boston/x").payload(value).partition(2);
        producer.send(record, std::time::Duration::from_secs(10)).await.unwrap();
    }
    let unknown = "01234567-89ab-8def-8123-456700000002";
    let closing = json!({ "status": "closed", "id": "lost" });
    let (status, _) = all.post(KEY, &format!("/v1/issues/{unknown}/status"), &closing).await;
    assert_eq!(status, 202);
    system.caught_up().await;
    let mut letters: Vec<DeadLetter> = expected::committed(&system, "dead-letters")
        .into_values()
        .flatten()
        .map(|(_, value)| expected::decode("dead-letters", &value))
        .collect();
    letters.sort_by_key(|letter| (letter.partition, letter.offset));
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["undecodable", "undecodable", "undecodable", "unknown_id"]);
    let log = system.read_committed("civic");
    for letter in &letters {
        assert_eq!(letter.topic, "civic");
        let record = log[&letter.partition].iter().find(|record| record.offset() == letter.offset).unwrap();
        assert_eq!(letter.record_value.as_deref(), record.payload(), "kept whole");
    }
    assert_eq!(letters[3].event_id.as_deref(), Some("lost"));

    let clickhouse = tidewatch::store::client(&system.config.clickhouse);
    let rows: u64 = clickhouse.query("SELECT count() FROM dead_letters FINAL").fetch_one().await.unwrap();
    assert_eq!(rows, 4);
    // The partition goes on: a report behind the dead letters is folded.
    let due = "2023-12-31T00:00:00Z";
    let report =
        json!({ "description": "x", "area": "x", "occurred_at": "2024-01-01T00:00:00Z", "due_at": due });
    let (_, answer) = all.post(KEY, "/v1/reports", &report).await;
    let path = format!("/v1/incidents?subject={}", answer["issue_id"].as_str().unwrap());
    eventually("the breach", async || {
        let (_, page) = all.get(KEY, &path).await;
        (page["total"] == 1).then_some(())
    })
    .await;
}
