//! `tidewatch generate`: the binary, over files and against the API.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use jiff::Timestamp;
use rdkafka::message::Message;
use serde_json::Value;
use tidewatch::codec;
use tidewatch::engine::Millis;
use tidewatch::families::interactions::event::Interaction;
use tidewatch::families::interactions::generate::event::{Batch, SDK};
use tidewatch::families::interactions::generate::send::Sender;
use tidewatch::families::interactions::generate::{Generator, Plan};

use crate::system::{BINARY, KEY, READ_KEY, System};

/// An event of the family log, by session, tab and number; and when it happened.
type Place = (String, String, i64);

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

/// What the log holds of interactions.
fn log(system: &System) -> Vec<Interaction> {
    let records = system.read_committed("interactions").into_values().flatten();
    records.map(|record| codec::decode("interactions", record.payload()).unwrap()).collect()
}

fn place(event: &Interaction) -> Place {
    (event.session_id.to_string(), event.tab_id.to_string(), event.seq.unwrap())
}

/// Sent as history, each event lies in the log as often as the file has it, with the same time, and says that it is generated.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_is_what_would_be_written() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let folder = system.folder();
    let what = ["interactions", "--seed", "8", "--sessions", "12", "--start", "2026-02-02T10:00:00Z"];
    let to_file = ["--out", "events", "--truth", "written"];
    let written = generate(&[&what[..], &to_file].concat(), folder);
    let to_api = ["--url", &ingest.url, "--key", KEY, "--truth", "sent"];
    let sent = generate(&[&what[..], &to_api].concat(), folder);
    assert!(sent.status.success(), "{}", text(&sent.stderr));
    assert_eq!(text(&sent.stderr), text(&written.stderr));
    assert_eq!(fs::read(folder.join("sent")).unwrap(), fs::read(folder.join("written")).unwrap());

    let (mut expected, mut found) = (BTreeMap::new(), BTreeMap::new());
    for line in fs::read_to_string(folder.join("events")).unwrap().lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        let name = |field: &str| event[field].as_str().unwrap().to_owned();
        let at: Timestamp = name("occurred_at").parse().unwrap();
        let place = (name("session_id"), name("tab_id"), event["seq"].as_i64().unwrap());
        *expected.entry((place, at.as_millisecond())).or_insert(0) += 1;
    }
    for event in log(&system) {
        assert_eq!((event.sdk.as_deref(), event.device_time), (Some(SDK), None));
        *found.entry((place(&event), event.occurred_at)).or_insert(0) += 1;
    }
    assert!(expected.len() > 500 && expected.values().any(|times| *times == 2), "{}", expected.len());
    assert_eq!(found, expected);

    let with_key = |key| generate(&[&what[..], &["--url", &ingest.url, "--key", key]].concat(), folder);
    for (key, part) in [("nobody's", "the API answered 401"), (READ_KEY, "the API answered 403")] {
        let refused = with_key(key);
        assert_eq!(refused.status.code(), Some(1));
        assert!(text(&refused.stderr).contains(part), "{}", text(&refused.stderr));
    }
}

/// Sent as it happens, each batch says when its device believes that it is sent: a clock that is wrong is put right, and what it
/// said is kept.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_as_it_happens_comes_by_the_clocks_of_its_devices() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    // All of it lies in the past, so that nothing is waited for.
    let start = Timestamp::now().as_millisecond() - 86_400_000;
    let batches: Vec<Batch> =
        Generator::new(Plan { seed: 3, sessions: 30, start, ..Plan::default() }).collect();
    let events = batches.iter().flat_map(|batch| {
        let visitor = &batch.visitor;
        batch.events.iter().map(move |event| {
            let place = (visitor.session_id.to_string(), format!("tab-{}", event.tab), i64::from(event.seq));
            (place, (event.occurred_at, visitor.skew))
        })
    });
    let truth: BTreeMap<Place, (Millis, Millis)> = events.collect();
    let sent: usize = batches.iter().map(|batch| batch.events.len()).sum();
    Sender::new(&ingest.url, KEY).as_it_happens(batches.into_iter()).await.unwrap();

    let log = log(&system);
    assert_eq!(log.len(), sent);
    let mut corrected = 0;
    for event in log {
        let (at, skew) = truth[&place(&event)];
        if skew == 0 {
            assert_eq!((event.occurred_at, event.device_time), (at, None));
        } else {
            corrected += 1;
            assert_eq!(event.device_time, Some(at + skew));
            // The way to the server is all that is still wrong.
            assert!((0..skew.abs()).contains(&(event.occurred_at - at)), "{} ms", event.occurred_at - at);
        }
    }
    assert!(corrected > 0, "some clock is wrong");
}
