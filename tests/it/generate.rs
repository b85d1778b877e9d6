//! `tidewatch generate`: the binary, over files.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::system::BINARY;

fn generate(arguments: &[&str], folder: &Path) -> Output {
    Command::new(BINARY).arg("generate").args(arguments).current_dir(folder).output().unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn the_same_options_give_the_same_files() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    let options = ["interactions", "--seed", "5", "--sessions", "30", "--rate", "50"];
    let first = generate(&[&options[..], &["--truth", "truth.ndjson"]].concat(), folder);
    assert!(first.status.success(), "{}", text(&first.stderr));
    let more = ["--out", "events.ndjson", "--truth", "again.ndjson"];
    let second = generate(&[&options[..], &more].concat(), folder);
    assert!(second.status.success() && second.stdout.is_empty());
    assert_eq!(fs::read(folder.join("events.ndjson")).unwrap(), first.stdout);
    let truth = fs::read_to_string(folder.join("truth.ndjson")).unwrap();
    assert_eq!(fs::read_to_string(folder.join("again.ndjson")).unwrap(), truth);
    assert!(!truth.is_empty());

    let events: Vec<Value> =
        text(&first.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(text(&first.stderr).starts_with(&format!("generated: {} events, ", events.len())));
    assert!(events[0]["arrived_at"].as_str().unwrap().starts_with("2026-01-05T09:0"));
    let start = ["--start", "2025-03-01T00:00:00Z", "--bare"];
    let third = generate(&[&options[..], &start].concat(), folder);
    let first_line: Value = serde_json::from_str(text(&third.stdout).lines().next().unwrap()).unwrap();
    assert!(first_line["occurred_at"].as_str().unwrap().starts_with("2025-03-01T00:0"));
    assert_eq!(first_line.get("arrived_at"), None);
}

/// Signals that are the truth itself are perfect; with one left out, and a near-miss among them, they are not.
#[test]
fn signals_are_measured_against_the_truth() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    let arguments =
        ["interactions", "--seed", "6", "--sessions", "300", "--out", "events", "--truth", "truth"];
    assert!(generate(&arguments, folder).status.success());
    let truth = fs::read_to_string(folder.join("truth")).unwrap();
    let signs: Vec<Value> = truth.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let rows = |takes: &dyn Fn(&Value) -> bool| -> String {
        let row = |(index, sign): (usize, &Value)| {
            let mut row = sign.clone();
            row["topic"] = "signals".into();
            row["meta"] = serde_json::json!({"id": index.to_string(), "retracted": false});
            row.to_string() + "\n"
        };
        signs.iter().filter(|sign| takes(sign)).enumerate().map(row).collect()
    };
    let evaluate = |rows: String| {
        fs::write(folder.join("rows"), rows).unwrap();
        let output = generate(&["evaluate", "--truth", "truth", "--signals", "rows"], folder);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout).to_owned()
    };
    let perfect = evaluate(rows(&|sign| sign["planted"] == true));
    assert_eq!(perfect.lines().count(), 10, "{perfect}");
    assert_eq!(perfect.matches("1.0000     1.0000").count(), 9, "{perfect}");
    let session = |rule: &str, planted: Value| {
        let is = |sign: &&Value| sign["rule"] == rule && sign["planted"] == planted;
        signs.iter().find(is).unwrap()["session_id"].clone()
    };
    let missing = session("blocked", true.into());
    let fired = session("quick_back", "near_miss".into());
    let worse = evaluate(rows(&|sign| {
        let is_left_out = sign["rule"] == "blocked" && sign["session_id"] == missing;
        let is_taken = sign["rule"] == "quick_back" && sign["session_id"] == fired;
        is_taken || sign["planted"] == true && !is_left_out
    }));
    assert!(worse.contains(&format!("missed: blocked in {} at ", missing.as_str().unwrap())), "{worse}");
    assert!(worse.contains(&format!("wrong: quick_back in {} at ", fired.as_str().unwrap())), "{worse}");
    assert_eq!(worse.matches("1.0000     1.0000").count(), 7, "{worse}");
}

#[test]
fn what_cannot_be_done_says_why() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let folder = folder.path();
    fs::write(folder.join("truth"), "{\"rule\":\"rage\"}\n").unwrap();
    for (arguments, code, part) in [
        (&["interactions", "--rate", "0"][..], 2, "0 is not in 1.."),
        (&["interactions", "--late", "2"], 2, "expected a number from 0 to 1"),
        (&["interactions", "--start", "soon"], 2, "--start"),
        (&["interactions", "--url", "http://localhost"], 2, "--key"),
        (&["interactions", "--out", "no/where"], 1, "can't open no/where: "),
        (&["evaluate", "--truth", "nowhere", "--signals", "-"], 1, "can't open nowhere: "),
        (&["evaluate", "--truth", "truth", "--signals", "-"], 1, "line 1 of the truth: unknown variant"),
    ] {
        let output = generate(arguments, folder);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        assert!(text(&output.stderr).contains(part), "{arguments:?}: {}", text(&output.stderr));
    }
}
