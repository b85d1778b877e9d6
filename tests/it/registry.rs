//! What stock clients of a Confluent schema registry read.

use std::collections::BTreeMap;
use std::process::Command;

use rdkafka::message::Message;
use serde_json::{Value, json};
use tidewatch::codec;

use crate::python;
use crate::system::{KEY, System};

/// Confluent's Python client reads every record of a real run by the registry's answers, and writes each anew, byte for byte.
#[tokio::test(flavor = "multi_thread")]
async fn a_stock_client_reads_every_record_and_writes_it_again() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    system.settings_in_force().await;
    let report = |number: usize| {
        json!({ "report": { "id": number.to_string(), "description": "é \u{1F6B2}", "area": (number % 3).to_string(),
            "due_at": "2020-01-01T00:00:00Z", "latitude": 42.5, "longitude": -71.25 } })
    };
    let (status, answer) =
        all.post(KEY, "/v1/civic", &json!({ "events": (0..20).map(report).collect::<Vec<_>>() })).await;
    assert_eq!(status, 202, "{answer}");
    let close = json!({ "status": "closed" });
    let issue = answer["accepted"][0]["issue_id"].as_str().unwrap();
    assert_eq!(all.post(KEY, &format!("/v1/issues/{issue}/status"), &close).await.0, 202);
    system.caught_up().await;

    let topics = ["civic", "incidents", "sla-metrics"];
    let mut command = Command::new(python::interpreter());
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/registry.py"));
    command.args([&system.config.kafka.brokers, &all.url]);
    command.args(topics.map(|topic| format!("{}={topic}-value", system.log.name(topic))));
    let output = tokio::task::block_in_place(|| command.output()).unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut read = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let subject = line["subject"].as_str().unwrap().to_owned();
        assert_eq!(line["same"], json!([true, true]), "{line}");
        read.insert((subject, line["partition"].as_i64().unwrap(), line["offset"].as_i64().unwrap()), line);
    }

    let mut records = 0;
    for topic in topics {
        for record in system.read_committed(topic).into_values().flatten() {
            let Some(bytes) = record.payload() else { continue };
            let place = (format!("{topic}-value"), record.partition().into(), record.offset());
            let line = read.remove(&place).unwrap_or_else(|| panic!("{place:?} was not read"));
            let (_, value) = codec::decode_generic(Some(bytes)).unwrap();
            let apache_avro::types::Value::Record(fields) = value else { panic!("{value:?}") };
            let names: Vec<&String> = fields.iter().map(|(name, _)| name).collect();
            assert_eq!(line["value"].as_object().unwrap().keys().collect::<Vec<_>>().len(), names.len());
            for name in names {
                assert!(line["value"].get(name).is_some(), "{line} lacks {name}");
            }
            records += 1;
        }
    }
    assert!(read.is_empty(), "{read:?}");
    assert!(records > 40, "{records}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_registry_answers_as_confluents_does() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let get = async |path: &str| {
        let response = reqwest::get(format!("{}{path}", serve.url)).await.unwrap();
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    assert_eq!(get("/schemas/types").await, (200, json!(["AVRO"])));
    assert_eq!(get("/config").await, (200, json!({ "compatibilityLevel": "BACKWARD" })));
    assert_eq!(get("/mode").await, (200, json!({ "mode": "READONLY" })));
    assert_eq!(get("/subjects/incidents-value/versions").await, (200, json!([1, 2, 3])));
    let (_, subjects) = get("/subjects").await;
    let subjects = subjects.as_array().unwrap();
    assert!(subjects.contains(&json!("civic-value")) && subjects.is_sorted_by_key(|name| name.as_str()));
    let (_, latest) = get("/subjects/incidents-value/versions/latest").await;
    assert_eq!((&latest["version"], &latest["id"]), (&json!(3), &json!(15)));
    let schema = latest["schema"].as_str().unwrap();
    assert_eq!(
        get("/schemas/ids/15?fetchMaxId=false&subject=incidents-value").await.1,
        json!({ "schema": schema })
    );
    let parsed: Value = serde_json::from_str(schema).unwrap();
    assert_eq!(get("/schemas/ids/15/schema").await.1, parsed);
    assert_eq!(get("/subjects/incidents-value/versions/3/schema").await.1, parsed);
    let place = json!([{ "subject": "incidents-value", "version": 3 }]);
    assert_eq!(get("/schemas/ids/15/versions").await.1, place);

    // Without a key, and with other blanks.
    let (status, found) =
        serve.post("", "/subjects/incidents-value", &json!({ "schema": parsed.to_string() })).await;
    assert_eq!((status, &found["version"]), (200, &json!(3)), "{found}");
    let other = json!({ "schema": "\"string\"" });
    for ((status, error), code) in [
        (get("/subjects/nothing-value/versions").await, 40401),
        (get("/subjects/incidents-value/versions/9").await, 40402),
        (get("/schemas/ids/999").await, 40403),
        (get("/schemas/ids/x").await, 40403),
        (serve.post("", "/subjects/incidents-value", &other).await, 40403),
        (serve.post("", "/subjects/nothing-value", &other).await, 40401),
    ] {
        assert_eq!((status, error["error_code"].as_i64()), (404, Some(code)), "{error}");
        assert!(error["message"].is_string() && error["error"]["code"] == "not_found", "{error}");
    }
    let (status, error) = get("/subjects/incidents-value/versions/first").await;
    assert_eq!(
        (status, &error["error_code"], &error["error"]["details"]["field"]),
        (422, &json!(42202), &json!("version"))
    );
}
