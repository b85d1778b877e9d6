//! Settings through the log (I4): in force from a mark on, the same for every reader, and never lost.

use std::collections::BTreeSet;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rdkafka::admin::AdminOptions;
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use tidewatch::codec;
use tidewatch::families;
use tidewatch::log::{Log, topics};
use tidewatch::settings;
use tidewatch::settings::{Reader, SettingsChange};

use crate::chaos::end_exactly_once;
use crate::expected;
use crate::load::Load;
use crate::system::{BINARY, KEY, OTHER_KEY, Process, READ_KEY, System, eventually};

const ROUTE: &str = "/v1/settings/civic";

async fn put(process: &Process, key: &str, if_match: Option<&str>, body: &Value) -> (u16, Value) {
    process.put(key, ROUTE, if_match, body).await
}

async fn incidents(process: &Process) -> Vec<Value> {
    let (status, page) = process.get(KEY, "/v1/incidents").await;
    assert_eq!(status, 200, "{page}");
    page["incidents"].as_array().unwrap().clone()
}

/// A changed threshold acts on what is open, at once; on a report with a due time of its own it does not.
#[tokio::test(flavor = "multi_thread")]
async fn i4_a_changed_threshold_takes_effect_without_a_restart() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let report = |id: &str, due_at: Option<String>| {
        json!({
            "id": id, "description": "Broken bench", "area": id, "due_at": due_at,
        })
    };
    let later = (Timestamp::now() + SignedDuration::from_hours(30)).to_string();
    all.post(KEY, "/v1/reports", &report("default", None)).await;
    all.post(KEY, "/v1/reports", &report("own", Some(later))).await;
    all.post(OTHER_KEY, "/v1/reports", &report("other", None)).await;
    system.caught_up().await;
    assert_eq!(incidents(&all).await, Vec::<Value>::new());

    let began = Instant::now();
    let (status, answer) = put(&all, KEY, None, &json!({"allowance": "0s", "default_due": "1s"})).await;
    assert_eq!(status, 200, "{answer}");
    let breach = eventually("the breach", async || incidents(&all).await.first().cloned()).await;
    println!("a breach {:?} after the change to a due time of 1 s was sent", began.elapsed());
    assert_eq!(incidents(&all).await.len(), 1, "only what the setting is for");
    assert_eq!(breach["settings_version"], answer["version"], "{breach}");
    assert_eq!(breach["attributes"]["area"], "default");
    let (_, page) = all.get(OTHER_KEY, "/v1/incidents").await;
    assert_eq!(page["total"], 0, "another tenant's rules are its own");

    put(&all, KEY, None, &json!({"allowance": "0s", "default_due": null})).await;
    eventually("its retraction", async || incidents(&all).await.is_empty().then_some(())).await;
    put(&all, KEY, None, &json!({"allowance": "0s", "default_due": "2s"})).await;
    let again = eventually("the breach", async || incidents(&all).await.first().cloned()).await;
    assert_eq!(again["id"], breach["id"]);
    end_exactly_once(&system, [all]).await;
}

/// Rules change while workers are killed, started and take partitions from each other: what is in force at an offset is
/// what the mark before it says, for whoever folds it.
#[tokio::test(flavor = "multi_thread")]
async fn i4_settings_are_in_force_at_the_same_offset_after_kills_and_rebalances() {
    let system = System::new("").await;
    let load = Load::start(&system, 404, 6);
    let quick = |instance: &'static str| {
        [format!("process.instance={instance}"), "process.session_timeout=1s".to_owned()]
    };
    let start =
        async |instance| system.start_ready("process", &quick(instance).each_ref().map(String::as_str)).await;
    let other = start("other").await;
    for (round, due) in ["1h", "5s", "72h", "2s", "12h", "1s"].into_iter().enumerate() {
        let one = start("one").await;
        let version = system.set(Some("salem"), json!({"default_due": due, "allowance": "1s"}));
        if round % 2 == 1 {
            system.set(None, json!({"grace": format!("{}s", 1 + round)}));
        }
        eventually("the mark of the change", async || {
            let marks = system.read_committed("civic").into_values().flatten().filter(|record| {
                let mut headers = record.headers().into_iter().flat_map(|headers| headers.iter());
                headers.any(|header| header.value == Some(version.to_string().as_bytes()))
            });
            (marks.count() > 0).then_some(())
        })
        .await;
        one.kill();
    }
    load.stop();
    let one = start("one").await;
    end_exactly_once(&system, [one, other]).await;
    let late = expected::committed(&system, "late-events").into_values().flatten().count();
    assert!(late > 0, "with a grace of some seconds some records are late");
    crate::backtest::assert_that_the_outputs_follow_from_the_log(&system);
}

/// Of two that change the same version one is told so; of those that don't say which they change none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn i4_two_nodes_that_write_at_once_lose_no_version() {
    let system = System::new("").await;
    let (one, two) = (system.start_ready("serve", &[]).await, system.start_ready("serve", &[]).await);
    let (_, before) = one.get(KEY, ROUTE).await;
    let mut version = before["version"].clone();
    for round in 1..=5 {
        let tag = format!("\"{version}\"");
        let body = |node: i64| json!({"default_due": format!("{}h", round * 10 + node)});
        let (first, second) = (body(1), body(2));
        let answers = tokio::join!(put(&one, KEY, Some(&tag), &first), put(&two, KEY, Some(&tag), &second),);
        let mut codes = [answers.0.0, answers.1.0];
        let won = if codes[0] == 200 { &answers.0.1 } else { &answers.1.1 };
        codes.sort_unstable();
        assert_eq!(codes, [200, 409], "{answers:?}");
        for node in [&one, &two] {
            let (_, now) = node.get(KEY, ROUTE).await;
            assert_eq!(&now, won, "both nodes know who won");
        }
        version = won["version"].clone();
    }
    let bodies: Vec<Value> = (1..=8).map(|hours| json!({"default_due": format!("{hours}h")})).collect();
    let puts = bodies.iter().enumerate().map(|(index, body)| put([&one, &two][index % 2], KEY, None, body));
    for (status, answer) in futures::future::join_all(puts).await {
        assert_eq!(status, 200, "{answer}");
    }
    let (_, history) = two.get(KEY, &format!("{ROUTE}/history")).await;
    let versions = history["versions"].as_array().unwrap();
    let own: Vec<&Value> = versions.iter().filter(|version| version["by"] == "tenant").collect();
    assert_eq!(own.len(), 1 + 5 + 8, "{history}");
    assert!(versions.is_sorted_by_key(|version| std::cmp::Reverse(version["version"].as_i64())));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_set_is_refused_by_name_and_changes_nothing() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let (_, before) = serve.get(KEY, ROUTE).await;
    for (body, status, field) in [
        (json!({"default_duue": "1h"}), 422, "default_duue"),
        (json!({"default_due": "-1h"}), 422, "default_due"),
        (json!({"default_due": "0s"}), 422, "default_due"),
        (json!({"default_due": 5}), 422, "default_due"),
        (json!({"grace": "soon"}), 422, "grace"),
        (json!({"grace": null}), 422, "grace"),
        (json!({"allowance": "99999d"}), 422, "allowance"),
        (json!([]), 422, "body"),
        (json!("text"), 422, "body"),
    ] {
        let (found, answer) = put(&serve, KEY, None, &body).await;
        assert_eq!(found, status, "{body}: {answer}");
        let text = answer["error"].to_string();
        assert!(text.contains(field), "{body}: {text}");
    }
    let good = json!({"default_due": "1h"});
    assert_eq!(put(&serve, KEY, Some("\"99\""), &good).await.0, 409);
    assert_eq!(put(&serve, KEY, Some("soon"), &good).await.0, 422);
    assert_eq!(put(&serve, READ_KEY, None, &good).await.0, 403);
    assert_eq!(put(&serve, "nobody", None, &good).await.0, 401);
    assert_eq!(serve.get(KEY, "/v1/settings/trafic").await.0, 404);
    assert_eq!(serve.get(KEY, ROUTE).await.1, before, "nothing is applied in part");
    let (_, schema) = serve.get(KEY, &format!("{ROUTE}/schema")).await;
    insta::assert_json_snapshot!("civic_schema", schema);
}

/// The same on the command line.
#[tokio::test(flavor = "multi_thread")]
async fn the_tool_gets_sets_and_compares() {
    let system = System::new("").await;
    let run = |arguments: &[&str]| {
        let mut command = std::process::Command::new(BINARY);
        let (action, rest) = arguments.split_first().unwrap();
        command.args([
            "settings",
            "--config",
            system.file(),
            action,
            "--family",
            "civic",
            "--tenant",
            "salem",
        ]);
        let output = command.args(rest).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.success(), text(&output.stdout), text(&output.stderr))
    };
    let file = system.folder().join("settings.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, r#"{"default_due": "48h"}"#).unwrap();
    assert_eq!(run(&["diff", path]).1, "default_due: \"3d\" -> \"48h\"\n");
    let (success, out, err) = run(&["set", "--if-version", "0", path]);
    assert!(success && out.contains(r#""default_due": "48h""#), "{out}{err}");
    let (success, _, err) = run(&["set", "--if-version", "0", path]);
    assert!(!success && err.contains("is in force, not 0"), "{err}");
    assert_eq!(run(&["diff", path]).1, "");
    std::fs::write(&file, "default_due = \"later\"").unwrap();
    let (success, _, err) = run(&["set", path]);
    assert!(!success && err.contains("default_due: \"later\" is no duration"), "{err}");
    let (_, out, _) = run(&["get"]);
    assert_eq!(serde_json::from_str::<Value>(&out).unwrap()["default_due"], "48h");
}

/// Appends a record to the topic that no program of ours would.
fn append_by_hand(log: &Log, value: &[u8]) {
    let producer: BaseProducer = log.producer().create().unwrap();
    let topic = log.name("settings");
    producer.send(BaseRecord::<[u8], [u8]>::to(&topic).partition(0).key(b"x").payload(value)).unwrap();
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// Settings that this program can't follow, and what are no settings at all, come into force nowhere, and stop nothing.
#[tokio::test(flavor = "multi_thread")]
async fn i4_what_can_not_be_followed_is_not_brought_into_force() {
    let system = System::new("").await;
    append_by_hand(&system.log, b"garbage");
    let worker = system.start_ready("process", &[]).await;
    let change = SettingsChange {
        family: "civic".into(),
        tenant: Some("boston".into()),
        base: None,
        document: json!({"allowance": "0s", "of_a_newer_program": 1}).to_string(),
    };
    append_by_hand(&system.log, &codec::newest("settings").unwrap().encode(&change).unwrap());
    // Another tenant's change can't be followed either, as long as that one holds.
    let held = system.set(Some("salem"), json!({"default_due": "1h"}));
    let good = system.set(Some("boston"), json!({"allowance": "0s", "default_due": "1s"}));
    crate::load::append(
        &system,
        [crate::load::report("boston", "a".into(), "r-1".into(), 1_000, 2_000)].into_iter(),
    );
    let versions = || -> BTreeSet<i64> {
        let records = system.read_committed("civic").into_values().flatten();
        let header = |record: OwnedMessage| {
            let header = record.headers()?.iter().next()?;
            str::from_utf8(header.value?).ok()?.parse().ok()
        };
        records.filter_map(header).collect()
    };
    eventually("the mark of the good one", async || versions().contains(&good).then_some(())).await;
    assert!(!versions().contains(&(held - 1)), "the impossible one has no mark");
    end_exactly_once(&system, [worker]).await;
}

/// Several that start for the first time at once put the defaults on record once, or twice the same.
#[tokio::test(flavor = "multi_thread")]
async fn i4_the_defaults_are_record_0_whoever_comes_first() {
    let system = System::new("").await;
    let mut config = system.config.kafka.clone();
    config.prefix = format!("{}fresh.", config.prefix);
    let log = Log::new(&config);
    topics::create(&log).await.unwrap();
    tokio::task::block_in_place(|| {
        let barrier = Barrier::new(5);
        std::thread::scope(|scope| {
            for _ in 0..5 {
                scope.spawn(|| {
                    barrier.wait();
                    settings::create(&log, &families::SETTINGS).unwrap();
                });
            }
        });
        let reader = Reader::start(&log).unwrap();
        let first = reader.history().entries("civic", None).next().unwrap();
        let defaults = (families::settings("civic").unwrap().defaults)();
        assert_eq!((first.version, &first.document), (0, &defaults));
    });
}

/// A reader whose topic is made anew says so: its versions are no longer those that marks name.
#[tokio::test(flavor = "multi_thread")]
async fn i4_settings_that_are_made_anew_are_noticed() {
    let system = System::new("").await;
    for hours in 1..6 {
        system.set(Some("boston"), json!({"default_due": format!("{hours}h")}));
    }
    let mut reader = tokio::task::block_in_place(|| Reader::start(&system.log)).unwrap();
    let name = system.log.name("settings");
    system.admin().delete_topics(&[&name], &AdminOptions::new()).await.unwrap();
    eventually("the topic anew", async || topics::create(&system.log).await.ok()).await;
    tokio::task::block_in_place(|| settings::create(&system.log, &families::SETTINGS)).unwrap();
    let said = eventually("the reader's word", async || {
        tokio::task::block_in_place(|| reader.poll()).err().map(|error| error.to_string())
    })
    .await;
    assert!(said.contains("made anew"), "{said}");
}
