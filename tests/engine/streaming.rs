//! Windows agree with Kafka Streams and Arroyo, by the streams with known answers of `tests/data/streaming`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;
use tidewatch::engine::Millis;
use tidewatch::engine::{FamilySettings, TestDriver, Windowed};

use crate::kit::{Plan, Row, Tallies, TestEvent};
use crate::model::{Act, Output, Who};

const HOUR: Millis = 3_600_000;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/streaming").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

pub fn json(name: &str) -> Value {
    serde_json::from_str(&read(name)).unwrap()
}

pub fn json_lines(name: &str) -> Vec<Value> {
    read(name).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A wall-clock time without zone, or with `Z`, as UTC.
pub fn millis(text: &Value) -> Millis {
    let text = text.as_str().unwrap().trim_end_matches('Z');
    let time: jiff::civil::DateTime = text.parse().unwrap();
    time.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_millisecond()
}

fn event(time: Millis, value: i64) -> TestEvent {
    TestEvent { tenant: "k".into(), who: Who::Nobody, time, value, act: Act::Nothing, fault: None }
}

/// A window: key, start, end, count.
type Counted = (String, Millis, Millis, i64);

fn counted(values: &Value) -> Vec<Counted> {
    let number = |value: &Value| value.as_i64().unwrap();
    let window = |tuple: &Value| {
        // A session that has grown is, to Kafka, another, and the former one gone; to us a new version of its row.
        let count = tuple[3].as_i64()?;
        Some((tuple[0].as_str().unwrap().to_owned(), number(&tuple[1]), number(&tuple[2]), count))
    };
    values.as_array().unwrap().iter().filter_map(window).collect()
}

/// What a case gives here.
#[derive(Default)]
struct Found {
    updates: Vec<Counted>,
    finals: Vec<Counted>,
    /// The last version of each row.
    last: BTreeSet<Counted>,
    late: usize,
}

/// Runs a case of Kafka's. They know event times alone, so all records are appended at once: no time passes but the keys' own.
fn run_case(case: &Value) -> Found {
    let window = &case["window"];
    let number = |name: &str| window[name].as_i64();
    let grace = number("grace").unwrap_or(24 * HOUR);
    let plan = match window["type"].as_str().unwrap() {
        "tumbling" => Plan::fixed(number("size").unwrap(), number("size").unwrap(), grace),
        _ => Plan::session(number("gap").unwrap(), None, grace),
    };
    let mut driver = plan.driver(FamilySettings::default());
    for input in case["input"].as_array().unwrap() {
        let key = format!("k/{}", input[0].as_str().unwrap());
        driver.append(&key, HOUR, event(input[1].as_i64().unwrap(), 1));
    }
    let (mut found, mut last) = (Found::default(), BTreeMap::new());
    for row in driver.take() {
        let Some(id) = row.meta().map(|meta| meta.id) else {
            found.late += 1;
            continue;
        };
        let bare = |key: String| key.trim_start_matches("k/").to_owned();
        match row.output() {
            Output::Update { key, start, end, count, .. } => {
                let window = (bare(key), start, end, count);
                last.insert(id, window.clone());
                found.updates.push(window);
            }
            Output::Final { key, start, end, count, .. } => found.finals.push((bare(key), start, end, count)),
            _ => drop(last.remove(&id)),
        }
    }
    found.last = last.into_values().collect();
    found
}

fn cases() -> Vec<Value> {
    json("window_semantics.json")["kafka_streams"].as_array().unwrap().clone()
}

const CROSS_KEY: &str = "session gap 5ms no grace, cross-key stream time";

#[test]
fn i9_windows_agree_with_kafka_streams() {
    let mut checked = 0;
    for case in cases().iter().filter(|case| case["name"] != CROSS_KEY) {
        let (found, name) = (run_case(case), &case["name"]);
        if case["sessions"].is_array() {
            let expected: BTreeSet<Counted> = counted(&case["sessions"]).into_iter().collect();
            assert_eq!(found.last, expected, "{name}");
        } else {
            assert_eq!(found.updates, counted(&case["updates"]), "{name}");
            assert_eq!(found.finals, counted(&case["final"]), "{name}");
            assert_eq!(found.late as u64, case["dropped_late"].as_u64().unwrap(), "{name}");
        }
        checked += 1;
    }
    assert_eq!(checked, 4);
}

/// Here the answer is another than Kafka's, by design (I3). Kafka's stream time is the partition's: k2's record at 11 makes
/// k1's session [0, 5] too old for k1's next record at 5, which is dropped. Ours is each key's: what k2 does makes nobody
/// late, so the record counts; and k2's own session is not final, for k2 itself has not come further than 11.
#[test]
fn i3_another_key_makes_nobody_late_unlike_in_kafka_streams() {
    let cases = cases();
    let case = cases.iter().find(|case| case["name"] == CROSS_KEY).unwrap();
    let found = run_case(case);
    let mut expected = counted(&case["updates"]);
    expected.insert(4, ("k1".into(), 0, 5, 4));
    assert_eq!(found.updates, expected);
    assert_eq!(found.finals, [("k1".into(), 0, 5, 4)]);
    assert_eq!((found.late, case["dropped_late"].as_u64()), (0, Some(1)));
}

/// Appends in the order given, each at the running maximum of the event times, and lets a day of silence pass.
fn replay<'a>(
    mut driver: TestDriver<Windowed<Tallies>>,
    records: impl Iterator<Item = (&'a str, Millis, i64)>,
) -> Vec<Output> {
    let mut append = Millis::MIN;
    for (key, time, value) in records {
        append = append.max(time);
        driver.append(key, append, event(time, value));
    }
    driver.advance_to(append + 24 * HOUR);
    let outputs: Vec<Output> = driver.take().iter().map(Row::output).collect();
    assert!(!outputs.iter().any(|output| matches!(output, Output::Late { .. })), "nothing is late");
    outputs
}

fn finals(outputs: &[Output]) -> impl Iterator<Item = (&str, Millis, Millis, i64, i64)> {
    outputs.iter().filter_map(|output| match output {
        Output::Final { key, start, end, count, sum } => Some((key.as_str(), *start, *end, *count, *sum)),
        _ => None,
    })
}

fn settings(allowance: Millis) -> FamilySettings<()> {
    FamilySettings::new(allowance, 0)
}

#[test]
fn i9_hourly_counts_by_type_agree_with_arroyo() {
    let cars = json_lines("cars.jsonl");
    let key = |car: &Value| if car["event_type"] == "pickup" { "k/pickup" } else { "k/dropoff" };
    let records = cars.iter().map(|car| (key(car), millis(&car["timestamp"]), 1));
    let outputs = replay(Plan::fixed(HOUR, HOUR, 0).driver(settings(HOUR)), records);
    let found: BTreeSet<_> =
        finals(&outputs).map(|(key, start, _, count, _)| (key.to_owned(), start, count)).collect();
    let line = |line: &Value| {
        (
            format!("k/{}", line["event_type"].as_str().unwrap()),
            millis(&line["hour"]),
            line["count"].as_i64().unwrap(),
        )
    };
    let expected: BTreeSet<_> =
        json_lines("cars_expected_hourly_by_event_type.jsonl").iter().map(line).collect();
    assert_eq!(found, expected);
}

#[test]
fn i9_hourly_counts_agree_with_arroyo() {
    let cars = json_lines("cars.jsonl");
    let records = cars.iter().map(|car| ("k/all", millis(&car["timestamp"]), 1));
    let outputs = replay(Plan::fixed(HOUR, HOUR, HOUR).driver(settings(0)), records);
    let found: Vec<_> = finals(&outputs).map(|(_, _, end, count, _)| (end, count)).collect();
    let line = |line: &Value| (millis(&line["timestamp"]), line["count"].as_i64().unwrap());
    let expected: Vec<_> = json_lines("cars_expected_tight_watermark.jsonl").iter().map(line).collect();
    assert_eq!(found, expected);
}

#[test]
fn i9_sessions_agree_with_arroyo() {
    let gap = 20_000;
    let impulses: Vec<(String, Millis)> = json_lines("impulse.jsonl")
        .iter()
        .map(|impulse| {
            let counter = impulse["counter"].as_i64().unwrap();
            let user = if counter % 10 == 0 { 0 } else { counter };
            (format!("k/{user}"), millis(&impulse["timestamp"]))
        })
        .collect();
    let records = impulses.iter().map(|(key, time)| (key.as_str(), *time, 1));
    let outputs = replay(Plan::session(gap, None, 0).driver(settings(0)), records);
    // Arroyo's session ends a gap after its last record.
    let found: BTreeSet<_> = finals(&outputs)
        .map(|(key, start, end, count, _)| (key.to_owned(), start, end + gap, count))
        .collect();
    let line = |line: &Value| {
        let user = format!("k/{}", line["user_id"]);
        (user, millis(&line["start"]), millis(&line["end"]), line["rows"].as_i64().unwrap())
    };
    let expected: BTreeSet<_> =
        json_lines("impulse_expected_session_window.jsonl").iter().map(line).collect();
    assert_eq!(found, expected);
}

#[test]
fn i9_hopping_windows_agree_with_arroyo() {
    let impulses = json_lines("impulse.jsonl");
    let record =
        |impulse: &Value| ("k/all", millis(&impulse["timestamp"]), impulse["counter"].as_i64().unwrap());
    let outputs = replay(Plan::fixed(10_000, 2_000, 0).driver(settings(0)), impulses.iter().map(record));
    let found: Vec<_> =
        finals(&outputs).map(|(_, start, end, count, sum)| (start, end, count, sum)).collect();
    let line = |line: &Value| {
        let number = |name: &str| line[name].as_i64().unwrap();
        let (count, least, most) = (number("count"), number("min"), number("max"));
        // The counters of a window follow each other.
        (millis(&line["start"]), millis(&line["end"]), count, (least + most) * count / 2)
    };
    let expected: Vec<_> = json_lines("impulse_expected_sliding_window.jsonl").iter().map(line).collect();
    assert_eq!(found, expected);
}
