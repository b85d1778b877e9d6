//! The rules of the family interactions: cases by hand, the vendors' own vectors, what the generator has planted, and that the
//! order of arrival makes no difference.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::system::BINARY;

fn data(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(path)
}

/// Tries events, one a line, under settings.
fn tried(settings: &Value, arguments: &[&str], events: &str) -> Output {
    let file = tempfile::NamedTempFile::with_suffix(".json").unwrap();
    fs::write(file.path(), settings.to_string()).unwrap();
    let mut child = Command::new(BINARY)
        .args(["try", "--family", "interactions", "--settings"])
        .arg(file.path())
        .args(arguments)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (mut stdin, events) = (child.stdin.take().unwrap(), events.to_owned());
    let writer = std::thread::spawn(move || stdin.write_all(events.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    output
}

fn rows(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn time(text: &Value) -> Timestamp {
    text.as_str().unwrap().parse().unwrap()
}

/// The signals that hold: rule, beginning, end, count.
fn signals(rows: &[Value]) -> Vec<(String, Timestamp, Timestamp, u64)> {
    let mut found: Vec<_> = rows
        .iter()
        .filter(|row| row.get("topic").is_none_or(|topic| topic == "signals"))
        .map(|row| {
            let rule = row["rule"].as_str().unwrap().to_owned();
            (rule, time(&row["started_at"]), time(&row["ended_at"]), row["count"].as_u64().unwrap())
        })
        .collect();
    found.sort();
    found
}

/// Each folder of `tests/data/rules/RULE`: `events.ndjson` under `settings.json` leaves the signals of `expected.ndjson`, after three
/// hours of silence or as much as `idle` says. `own` holds rules that are none of the nine.
#[test]
fn each_case_of_a_rule_leaves_its_signals() {
    let folders = |path: &Path| -> Vec<PathBuf> {
        let mut folders: Vec<_> = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()).collect();
        folders.sort();
        folders
    };
    let rules = folders(&data("rules"));
    assert_eq!(rules.len(), 10);
    for rule in rules {
        let cases = folders(&rule);
        assert!(cases.len() >= 8, "{} has {} cases", rule.display(), cases.len());
        for case in cases {
            let read = |name: &str| fs::read_to_string(case.join(name)).unwrap();
            let settings = serde_json::from_str(&read("settings.json")).unwrap();
            let idle = fs::read_to_string(case.join("idle")).unwrap_or_else(|_| "3h".to_owned());
            let arguments = ["--idle", idle.trim(), "--current"];
            let found = rows(&tried(&settings, &arguments, &read("events.ndjson")));
            let expected: Vec<Value> =
                read("expected.ndjson").lines().map(|line| serde_json::from_str(line).unwrap()).collect();
            assert_eq!(signals(&found), signals(&expected), "{}", case.display());
            // Where a case says the route of a signal, it has that one.
            for signal in expected.iter().filter(|signal| signal.get("route").is_some()) {
                let one = signals(std::slice::from_ref(signal));
                let is_it = |row: &&Value| row["topic"] == "signals" && signals(&[(*row).clone()]) == one;
                let route = found.iter().find(is_it).map(|row| &row["route"]);
                assert_eq!(route, signal.get("route"), "{}", case.display());
            }
        }
    }
}

fn at(millis: i64) -> String {
    Timestamp::from_millisecond(1_767_225_600_000 + millis).unwrap().to_string()
}

/// `tests/data/vendors/posthog_rage_click.json`, restated from PostHog's own tests.
#[test]
fn the_preset_posthog_finds_what_posthog_finds() {
    let vectors: Value =
        serde_json::from_str(&fs::read_to_string(data("vendors/posthog_rage_click.json")).unwrap()).unwrap();
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() >= 10);
    for case in cases {
        let config = &case["config"];
        let mut rule = json!({});
        if *config == json!(false) {
            rule["enabled"] = json!(false);
        } else {
            let set = [("click_count", "at_least"), ("threshold_px", "distance")];
            let mut count: serde_json::Map<String, Value> = set
                .iter()
                .filter_map(|(theirs, ours)| Some(((*ours).to_owned(), config.get(theirs)?.clone())))
                .collect();
            if let Some(timeout) = config.get("timeout_ms") {
                count.insert("gap".to_owned(), json!(format!("{timeout}ms")));
            }
            rule["count"] = Value::Object(count);
        }
        let settings = json!({ "preset": "posthog", "rules": { "rage_click": rule } });
        let clicks = case["clicks"].as_array().unwrap();
        let events: Vec<String> = clicks
            .iter()
            .map(|click| {
                let event = json!({
                    "type": "click", "session_id": "s", "occurred_at": at(click["t_ms"].as_i64().unwrap()),
                    "x": click["x"], "y": click["y"], "target": { "tag": "div" },
                });
                event.to_string()
            })
            .collect();
        let all = rows(&tried(&settings, &["--idle", "3h"], &events.join("\n")));
        // The first version of a signal says at which click it was found.
        let mut first = BTreeMap::new();
        for row in all.iter().filter(|row| row["topic"] == "signals" && row["rule"] == "rage_click") {
            first.entry(row["meta"]["id"].to_string()).or_insert_with(|| row["ended_at"].clone());
        }
        let found: Vec<Timestamp> = first.values().map(time).collect();
        let expected = case["expected_is_rage_per_click"].as_array().unwrap();
        let expected: Vec<Timestamp> = clicks
            .iter()
            .zip(expected)
            .filter(|(_, is_rage)| **is_rage == json!(true))
            .map(|(click, _)| at(click["t_ms"].as_i64().unwrap()).parse().unwrap())
            .collect();
        let sorted = |mut times: Vec<Timestamp>| {
            times.sort();
            times
        };
        assert_eq!(sorted(found), sorted(expected), "{}", case["name"]);
    }
}

/// `tests/data/vendors/sentry_slow_click.json`, derived from Sentry's rule.
#[test]
fn the_preset_sentry_finds_what_sentry_finds() {
    let vectors: Value =
        serde_json::from_str(&fs::read_to_string(data("vendors/sentry_slow_click.json")).unwrap()).unwrap();
    let cases = vectors["cases_derived_from_rule"].as_array().unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let event = |kind: &str, millis: i64| json!({ "type": kind, "session_id": "s", "occurred_at": at(millis), "tab_id": "t" });
        let after = case["timeAfterClickMs"].as_i64().unwrap();
        let mut events: Vec<Value> = (0..case["clickCount"].as_i64().unwrap())
            .map(|place| {
                let mut click = event("click", place * 100);
                (click["x"], click["y"]) = (json!(5), json!(5));
                click["target"] = json!({ "tag": case["tagName"], "selector": "#it" });
                click
            })
            .collect();
        match (case["endReason"].as_str().unwrap(), after) {
            ("timeout", 7_000..) => {}
            // It was not looked at for longer.
            ("timeout", _) => events.push(event("page_unload", after)),
            (reason, _) => events.push(event(reason, after)),
        }
        let lines: Vec<String> = events.iter().map(Value::to_string).collect();
        let arguments = ["--idle", "3h", "--current"];
        let output = tried(&json!({ "preset": "sentry" }), &arguments, &lines.join("\n"));
        let found: Vec<String> = signals(&rows(&output)).into_iter().map(|(rule, ..)| rule).collect();
        let expected = case["expected"].as_str().unwrap();
        let expected: Vec<&str> = if expected == "none" { Vec::new() } else { vec![expected] };
        assert_eq!(found, expected, "{case}");
    }
}
