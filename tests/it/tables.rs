//! What every `*_current` view must hold: the fold of its topic, computed here from the log as a plain reader sees it,
//! column for column, without anything of the sink's.

use std::collections::BTreeMap;

use apache_avro::types::Value;
use jiff::Timestamp;
use rdkafka::message::{Message, OwnedMessage};
use serde_json::{Map, json};
use tidewatch::codec;
use tidewatch::families;
use tidewatch::log::topics;
use tidewatch::log::topics::Topic;

use crate::system::System;

type Row = Map<String, serde_json::Value>;

/// What names a row of a topic's table, and what orders its versions. Rows without versions are the same each time.
fn identity(topic: &str) -> (&'static [&'static str], Option<&'static str>) {
    match topic {
        family if families::settings(family).is_some() => (&["log_partition", "log_offset"], None),
        "settings" => (&["log_offset"], None),
        "progress" => (&["topic", "partition", "operator"], Some("log_offset")),
        "accounting" => (&["tenant", "operator", "topic", "partition", "hour"], Some("version")),
        "dead-letters" => (&["tenant", "topic", "partition", "offset"], None),
        "late-events" => (&["tenant", "topic", "partition", "offset", "operator"], None),
        _ => (&["id"], Some("version")),
    }
}

/// Every view is the fold of its topic. Returns how many rows each holds.
pub async fn assert_every_view_follows(system: &System) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for topic in topics::all().iter().filter(|topic| topic.table.is_some()) {
        counts.insert(topic.name.as_str(), assert_view_follows(system, &topic.name).await);
    }
    counts
}

/// The view of a topic is the topic's fold. Returns how many rows it holds.
pub async fn assert_view_follows(system: &System, topic: &str) -> usize {
    let topic = topics::named(topic).unwrap();
    let view = format!("{}_current", topic.table.as_ref().unwrap());
    let columns = columns(system, &view).await;
    assert!(!columns.is_empty(), "{view} is missing");
    let expected = expected(system, topic, &columns);
    let mut found = BTreeMap::new();
    for row in rows(system, &view, &columns).await {
        let name = name(&row, identity(&topic.name).0);
        assert!(found.insert(name.clone(), row).is_none(), "{view} holds {name} twice");
    }
    for (name, row) in &expected {
        assert_eq!(found.get(name), Some(row), "{view}, row {name}: the log is right, the table is left");
    }
    for name in found.keys() {
        assert!(expected.contains_key(name), "{view} holds {name}, which does not hold: {:?}", found[name]);
    }
    found.len()
}

fn expected(system: &System, topic: &Topic, columns: &[(String, String)]) -> BTreeMap<String, Row> {
    let (names, version) = identity(&topic.name);
    let mut rows = BTreeMap::<String, Row>::new();
    for record in system.read_committed(&topic.name).into_values().flatten() {
        // A mark, or what can't be read: neither is a row.
        let Ok((_, value)) = codec::decode_generic(record.payload()) else {
            assert!(
                families::settings(&topic.name).is_some(),
                "a worker wrote to {} what can't be read",
                topic.name
            );
            continue;
        };
        let row: Row = columns
            .iter()
            .map(|(column, kind)| (column.clone(), cell(&record, &value, column, kind)))
            .collect();
        let name = name(&row, names);
        match (rows.get(&name), version) {
            (Some(former), Some(version)) if number(former, version) > number(&row, version) => {}
            (Some(former), None) => assert_eq!(former, &row, "a row without versions has two"),
            _ => drop(rows.insert(name, row)),
        }
    }
    rows.retain(|_, row| row.get("retracted").is_none_or(|retracted| retracted == 0));
    rows
}

fn number(row: &Row, column: &str) -> u64 {
    row[column].as_u64().unwrap()
}

fn name(row: &Row, columns: &[&str]) -> String {
    let parts: Vec<String> = columns.iter().map(|column| row[*column].to_string()).collect();
    parts.join("/")
}

/// A column of a record, as ClickHouse prints it.
fn cell(record: &OwnedMessage, value: &Value, column: &str, kind: &str) -> serde_json::Value {
    match column {
        "log_partition" => json!(record.partition()),
        "log_offset" => json!(record.offset()),
        "log_append_time" => json!(time(record.timestamp().to_millis().unwrap())),
        "log_key" => json!(record.key().map(hex)),
        "body_kind" => match lookup(value, "body") {
            Some(Value::Union(branch, _)) => json!(hex(kinds(record.topic())[*branch as usize].as_bytes())),
            other => panic!("{other:?}"),
        },
        "body" => print(lookup(value, column).unwrap(), "JSON"),
        _ => print(lookup(value, column).unwrap_or_else(|| panic!("no field for {column}")), kind),
    }
}

/// What the body of a family's event may be, in the order of its union.
fn kinds(topic: &str) -> &'static [&'static str] {
    match topic.rsplit_once('.').map_or(topic, |(_, family)| family) {
        "civic" => &["ReportSubmitted", "IssueStatusChanged"],
        "interactions" => &BODIES,
        other => panic!("{other} has no body"),
    }
}

/// The bodies of interactions.
pub const BODIES: [&str; 12] = [
    "Pointer",
    "Field",
    "Submit",
    "Validation",
    "Scroll",
    "Moves",
    "Navigation",
    "Page",
    "Mutation",
    "Request",
    "Failure",
    "Custom",
];

/// The field that a column is named after.
fn lookup<'v>(value: &'v Value, column: &str) -> Option<&'v Value> {
    let Value::Record(fields) = value else { return None };
    let named = |name: &str| fields.iter().find(|(field, _)| field == name).map(|(_, value)| value);
    let inside = |(field, value): &'v (String, Value)| {
        lookup(value, column.strip_prefix(field.as_str())?.strip_prefix('_')?)
    };
    named(column).or_else(|| fields.iter().find_map(inside)).or_else(|| lookup(named("meta")?, column))
}

fn print(value: &Value, kind: &str) -> serde_json::Value {
    match value {
        Value::Null => json!(null),
        Value::Boolean(value) if kind == "UInt8" => json!(u8::from(*value)),
        Value::Boolean(value) => json!(value),
        Value::Int(value) => json!(value),
        Value::Long(value) => json!(value),
        Value::Double(value) => json!(value),
        // Any bytes, so they are compared in hexadecimal.
        Value::String(text) | Value::Enum(_, text) if is_text(kind) => json!(hex(text.as_bytes())),
        Value::Bytes(bytes) if is_text(kind) => json!(hex(bytes)),
        Value::String(text) | Value::Enum(_, text) => json!(text),
        Value::Uuid(id) => json!(id.to_string()),
        Value::TimestampMillis(millis) => json!(time(*millis)),
        Value::Union(_, value) => print(value, kind),
        Value::Array(values) => values.iter().map(|value| print(value, "")).collect(),
        Value::Record(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), print(value, ""))).collect::<Row>().into()
        }
        Value::Map(entries) => {
            entries.iter().map(|(name, value)| (name.clone(), print(value, ""))).collect::<Row>().into()
        }
        other => panic!("no column holds {other:?}"),
    }
}

/// As ClickHouse prints it, whose calendar begins with the year 0: the clock of a partition that holds nothing yet is before that.
fn time(millis: i64) -> String {
    let millis = millis.max("0000-01-01T00:00:00Z".parse::<Timestamp>().unwrap().as_millisecond());
    format!("{:.3}", Timestamp::from_millisecond(millis).unwrap())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

fn is_text(kind: &str) -> bool {
    let inner = kind.trim_start_matches("LowCardinality(").trim_start_matches("Nullable(");
    inner.trim_end_matches(')') == "String"
}

/// Columns and types of a view.
async fn columns(system: &System, view: &str) -> Vec<(String, String)> {
    tidewatch::store::client(&system.config.clickhouse)
        .query("SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = ? ORDER BY position")
        .bind(view)
        .fetch_all()
        .await
        .unwrap()
}

/// The rows of a view, texts in hexadecimal, but for JSON.
async fn rows(system: &System, view: &str, columns: &[(String, String)]) -> Vec<Row> {
    let select: Vec<String> = columns
        .iter()
        .map(|(name, kind)| match name.as_str() {
            "body" => "body".to_owned(),
            name if is_text(kind) => format!("hex(`{name}`) AS `{name}`"),
            name => format!("`{name}`"),
        })
        .collect();
    let text = system.query(&format!("SELECT {} FROM {view} FORMAT JSONEachRow", select.join(", "))).await;
    let rows = text.lines().map(|line| {
        let mut row: Row = serde_json::from_str(line).unwrap();
        if let Some(body) = row.get_mut("body") {
            *body = serde_json::from_str(body.as_str().unwrap()).unwrap();
        }
        row
    });
    rows.collect()
}
