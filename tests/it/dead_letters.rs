//! `tidewatch dead-letters` and `tidewatch late-events`: what was not folded, listed, shown and sent again.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{FutureProducer, FutureRecord};
use serde_json::{Value, json};
use tidewatch::codec;
use tidewatch::engine::Counts;
use tidewatch::families;
use tidewatch::families::civic::event::{CivicEvent, issue_id};
use tidewatch::log::redriven;

use crate::chaos::end_exactly_once;
use crate::expected;
use crate::load;
use crate::system::{BINARY, KEY, Process, System, eventually};

const AREAS: [&str; 4] = ["Park", "Elm Street", "Back Bay", "Roslindale"];

/// Runs the tool: (whether it succeeded, stdout, stderr).
fn run(system: &System, command: &str, arguments: &[&str]) -> (bool, String, String) {
    let output =
        Command::new(BINARY).arg(command).args(arguments).args(["--config", system.file()]).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

/// What it prints where it succeeds.
fn printed(system: &System, command: &str, arguments: &[&str]) -> String {
    let (success, out, err) = run(system, command, arguments);
    assert!(success, "{command} {arguments:?}: {err}");
    out
}

/// What it says where it fails.
fn refused(system: &System, command: &str, arguments: &[&str]) -> String {
    let (success, out, err) = run(system, command, arguments);
    assert!(!success && out.is_empty(), "{command} {arguments:?}: {out}");
    err
}

/// All rows, in the order in which their records lie.
fn rows(system: &System, command: &str) -> Vec<Value> {
    let lines = printed(system, command, &["list", "--json"]);
    let mut rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    rows.sort_by_key(|row| (row["partition"].as_i64(), row["offset"].as_i64()));
    rows
}

fn position(row: &Value) -> String {
    format!("{}/{}/{}", row["record_topic"].as_str().unwrap(), row["partition"], row["offset"])
}

fn seconds_from_now(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

/// What has become of all records of the family.
fn counts(system: &System) -> Counts {
    let (_, totals) = expected::fold(system, &families::civic::sla_job());
    totals.values().fold(Counts::default(), |sum, totals| Counts {
        read: sum.read + totals.records.read,
        folded: sum.folded + totals.records.folded,
        duplicate: sum.duplicate + totals.records.duplicate,
        late: sum.late + totals.records.late,
        dead_lettered: sum.dead_lettered + totals.records.dead_lettered,
        skipped: sum.skipped + totals.records.skipped,
    })
}

fn count(system: &System, topic: &str) -> usize {
    expected::committed(system, topic).values().map(Vec::len).sum()
}

/// The records that were redriven, by what their header says.
fn redriven(system: &System) -> Vec<(String, OwnedMessage)> {
    let origin = |record: &OwnedMessage| {
        let header = record.headers()?.iter().find(|header| header.key == redriven::FROM)?;
        Some(String::from_utf8(header.value?.to_vec()).unwrap())
    };
    let records = system.read_committed("civic").into_values().flatten();
    records.filter_map(|record| Some((origin(&record)?, record))).collect()
}

async fn post(process: &Process, path: &str, body: Value) {
    let (status, answer) = process.post(KEY, path, &body).await;
    assert_eq!(status, 202, "{answer}");
}

/// A report that is in time, or its closing.
async fn report(all: &Process, area: &str) {
    let (opened, due) = (seconds_from_now(-3_600), seconds_from_now(3_600));
    let report = json!({ "id": "r", "area": area, "description": "x", "occurred_at": opened, "due_at": due });
    post(all, "/v1/reports", report).await;
}

async fn close(all: &Process, area: &str, event_id: &str) {
    let issue = issue_id("boston", area, "r");
    let closing = json!({ "id": event_id, "occurred_at": seconds_from_now(-60), "status": "closed" });
    post(all, &format!("/v1/issues/{issue}/status"), closing).await;
}

/// Closings come before their reports. Redriven too early they fail again; once the reports are there they are folded,
/// whose partition is that of the report's key, not of their own; after that they are duplicates.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_redriven_record_is_folded_once_and_then_a_duplicate() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    for area in AREAS {
        close(&all, area, "c").await;
    }
    system.folded().await;
    let letters = rows(&system, "dead-letters");
    assert_eq!(letters.len(), 4);
    let listed = printed(&system, "dead-letters", &["list", "--limit", "3", "--tenant", "boston"]);
    let lines: Vec<&str> = listed.lines().collect();
    assert!(lines[0].starts_with("position ") && lines.len() == 6, "{listed}");
    assert_eq!(lines[4..], ["4 dead letters, above the newest 3", "      4  unknown_id  boston"]);

    let positions: Vec<String> = letters.iter().map(position).collect();
    let plan = printed(&system, "dead-letters", &["redrive", "--dry-run"]);
    let partition = |position: &str| position.rsplit_once('/').unwrap().0.to_owned();
    let steps = positions.iter().map(|position| format!("{position} -> {}\n", partition(position)));
    assert_eq!(plan, steps.collect::<String>() + "4 dead letters: 4 would be appended again\n");
    assert!(redriven(&system).is_empty());

    let summary = printed(&system, "dead-letters", &["redrive", "--reason", "unknown_id"]);
    assert_eq!(summary, "4 dead letters: 4 appended again\n");
    system.folded().await;
    assert_eq!(count(&system, "dead-letters"), 8, "their reports are still not there");
    for area in AREAS {
        report(&all, area).await;
    }
    system.folded().await;
    assert_eq!(count(&system, "sla-metrics"), 0);

    let all_again = &["redrive", "--family", "civic", "--until", &seconds_from_now(60)];
    let expected = "8 dead letters: 4 appended again, 4 hold what another one holds\n";
    assert_eq!(printed(&system, "dead-letters", all_again), expected);
    system.folded().await;
    assert_eq!(count(&system, "sla-metrics"), 4, "each closing is folded");
    let folded = Counts { read: 16, folded: 8, duplicate: 0, late: 0, dead_lettered: 8, skipped: 0 };
    assert_eq!(counts(&system), folded);

    assert_eq!(printed(&system, "dead-letters", all_again), expected);
    system.folded().await;
    assert_eq!(counts(&system), Counts { read: 20, duplicate: 4, ..folded });
    assert_eq!((count(&system, "sla-metrics"), count(&system, "dead-letters")), (4, 8));

    let log = system.read_committed("civic");
    let redriven = redriven(&system);
    assert_eq!(redriven.len(), 12);
    for (origin, record) in redriven {
        assert!(positions.contains(&origin), "{origin} is the first of its letters");
        let [_, partition, offset] = origin.split('/').collect::<Vec<_>>().try_into().unwrap();
        let (partition, offset): (i32, i64) = (partition.parse().unwrap(), offset.parse().unwrap());
        let first = log[&partition].iter().find(|record| record.offset() == offset).unwrap();
        assert_eq!((record.partition(), record.key()), (partition, first.key()));
        assert_eq!(record.payload(), first.payload());
    }
    end_exactly_once(&system, [all]).await;
}

/// A late event is late again, for its issue has been dropped, and a longer grace does not bring that back. It is never
/// taken for a duplicate.
#[tokio::test(flavor = "multi_thread")]
async fn i9_a_redriven_late_event_is_late_again() {
    let system = System::new("").await;
    system.set(Some("boston"), json!({"allowance": "0s", "grace": "0s"}));
    let all = system.start_ready("all", &[]).await;
    let (opened, due) = (seconds_from_now(-7_200), seconds_from_now(-3_600));
    let report =
        json!({ "id": "r", "area": "Park", "description": "x", "occurred_at": opened, "due_at": due });
    post(&all, "/v1/reports", report).await;
    close(&all, "Park", "c1").await;
    eventually("the final row", async || {
        let rows = expected::committed(&system, "sla-metrics").into_values().flatten();
        let mut rows = rows.map(|(_, value)| {
            expected::decode::<tidewatch::families::civic::sla::rows::SlaMetric>("sla-metrics", &value)
        });
        rows.any(|row| row.meta.is_final).then_some(())
    })
    .await;
    close(&all, "Park", "c2").await;
    system.folded().await;
    let [late] = &*rows(&system, "late-events") else { panic!("one is late") };
    let position = position(late);
    let shown: Value = serde_json::from_str(&printed(&system, "late-events", &["show", &position])).unwrap();
    assert_eq!((&shown["topic"], &shown["record_topic"]), (&json!("late-events"), &json!("civic")));
    assert_eq!(shown["record_value"]["event_id"], "c2", "{shown}");
    assert_eq!(shown["record_value"]["body"]["status"], "closed", "{shown}");

    for (grace, late) in [("0s", 2), ("30d", 3)] {
        system.set(Some("boston"), json!({"allowance": "0s", "grace": grace}));
        let summary = printed(&system, "late-events", &["redrive", &position]);
        assert_eq!(summary, "1 late event: 1 appended again\n");
        system.folded().await;
        let counts = counts(&system);
        assert_eq!((counts.folded, counts.late, counts.duplicate), (2, late, 0), "grace {grace}");
    }
    let listed = printed(&system, "late-events", &["list"]);
    assert!(listed.ends_with("3 late events\n      3  late  boston\n"), "{listed}");
    end_exactly_once(&system, [all]).await;
}

/// Appends values to one partition; their positions.
async fn append(system: &System, values: &[Option<Vec<u8>>]) -> Vec<String> {
    let producer: FutureProducer =
        system.log.producer().set("message.max.bytes", "20000000").create().unwrap();
    let topic = system.log.name("civic");
    let mut positions = Vec::new();
    for value in values {
        let record = FutureRecord { payload: value.as_ref(), ..FutureRecord::to(&topic) };
        let record = record.key("boston/x").partition(2);
        let delivery = producer.send(record, Duration::from_secs(10)).await.unwrap();
        positions.push(format!("civic/2/{}", delivery.offset));
    }
    positions
}

/// Nothing is sent that would fail again for sure, and nothing that is asked for in vain is passed over in silence.
#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_listed_shown_or_redriven_is_refused_by_name() {
    let system = System::new("").await;
    let empty = printed(&system, "dead-letters", &["list", "--reason", "unknown_id"]);
    assert_eq!(empty, "no dead letter\n");
    let worker = system.start_ready("process", &[]).await;
    let now = Timestamp::now().as_millisecond();
    let mut large = load::report("boston", "x".into(), "large".into(), now + 3_600_000, now);
    if let tidewatch::families::civic::event::Body::ReportSubmitted(report) = &mut large.body {
        report.description = "x".repeat(2_000_000);
    }
    let large = codec::newest("civic").unwrap().encode(&large).unwrap();
    let values = [Some(b"{torn".to_vec()), None, Some(vec![]), Some(large)];
    let [torn, tombstone, empty, large] = append(&system, &values).await.try_into().unwrap();
    system.folded().await;
    let appended = system.read_committed("civic").values().map(Vec::len).sum::<usize>();

    for (arguments, part) in [
        (&["list", "--family", "trafic"][..], "expected one of civic"),
        (&["list", "--reason", "unknown"], "has the reason unknown; there are future_event, undecodable"),
        (&["list", "--since", "yesterday"], "\"yesterday\" expected RFC 3339"),
        (&["list", "--until", "2024-05-01T00:00:00"], "has no zone"),
        (
            &["list", "--since", "2024-05-02T00:00:00Z", "--until", "2024-05-01T00:00:00Z"],
            "--since 2024-05-02T00:00:00.000Z is not before --until 2024-05-01T00:00:00.000Z",
        ),
        (&["list", "--output", "/nowhere/letters"], "can't write /nowhere/letters"),
        (&["list", "--json", "--limit", "3"], "cannot be used with"),
        (&["show", "civic/2"], "expected TOPIC/PARTITION/OFFSET"),
        (&["show", "civic/2/99999"], "nothing in dead-letters is of the record at civic/2/99999"),
        (&["redrive", "civic/2/x"], "expected TOPIC/PARTITION/OFFSET"),
        (&["redrive", "civic/3/0"], "nothing in dead-letters is of the record at civic/3/0"),
        (&["redrive", "civic/2/0", "--reason", "undecodable"], "cannot be used with"),
        (&["redrive", "--reason", "undecodible"], "there are future_event, undecodable"),
        (&["redrive", &torn], "can't be redriven: this program can't read its value"),
        (&["redrive", &tombstone], "can't be redriven: no value to send"),
        (&["redrive", &empty, "--dry-run"], "can't be redriven: no value to send"),
        (&["redrive", &large], "can't be redriven: only the beginning of its key or value is kept"),
        (&["list", "--set", "kafka.prefix=nobody."], "there is no topic nobody.dead-letters"),
    ] {
        let said = refused(&system, "dead-letters", arguments);
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let said = refused(&system, "late-events", &["show", &torn]);
    assert!(said.contains("nothing in late-events is of the record"), "{said}");
    let summary = printed(&system, "dead-letters", &["redrive"]);
    let expected = "4 dead letters: 0 appended again, 4 can't be redriven (1 kept in part, 1 unreadable, 2 without a value)\n";
    assert_eq!(summary, expected);
    assert_eq!(system.read_committed("civic").values().map(Vec::len).sum::<usize>(), appended);

    let file = system.folder().join("letters.ndjson");
    let listed =
        printed(&system, "dead-letters", &["list", "--limit", "0", "--output", file.to_str().unwrap()]);
    assert_eq!(listed, "4 dead letters\n      3  undecodable   -\n      1  future_event  boston\n");
    let written = std::fs::read_to_string(file).unwrap();
    assert_eq!(
        written,
        printed(&system, "dead-letters", &["list", "--json"]),
        "all of them, whatever the limit"
    );
    assert_eq!(written.lines().count(), 4);
    let shown: Value = serde_json::from_str(&printed(&system, "dead-letters", &["show", &torn])).unwrap();
    assert_eq!((&shown["record_value"], &shown["record_key"]), (&json!("{torn"), &json!("boston/x")));
    assert!(worker.terminate().await.success());
}

/// The family topic takes nothing: each record is named, and none gets ahead of another. When it does again they are sent
/// in the order in which they lay there at first.
#[tokio::test(flavor = "multi_thread")]
async fn records_that_kafka_does_not_take_are_named_and_keep_their_order() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    for event_id in ["one", "two", "three"] {
        close(&all, "Park", event_id).await;
    }
    system.folded().await;
    assert!(all.terminate().await.success());
    let positions: Vec<String> = rows(&system, "dead-letters").iter().map(position).collect();
    let (admin, topic): (AdminClient<DefaultClientContext>, _) =
        (system.log.client().create().unwrap(), system.log.name("civic"));
    let limit = async |bytes| {
        let config = AlterConfig::new(ResourceSpecifier::Topic(&topic))
            .set("max.message.bytes", bytes)
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", "-1");
        admin.alter_configs(&[config], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    };
    limit("20").await;
    let (success, out, err) = run(&system, "dead-letters", &["redrive"]);
    assert!(!success && out == "3 dead letters: 0 appended again\n", "{out}{err}");
    assert!(err.contains(&format!("{} was not appended: ", positions[0])), "{err}");
    assert!(err.contains("0 were appended; redrive them again"), "{err}");
    assert!(redriven(&system).is_empty());

    limit("1048588").await;
    let (success, out, err) = run(&system, "dead-letters", &["redrive"]);
    assert!(success && out == "3 dead letters: 3 appended again\n", "{out}{err}");
    let again: BTreeMap<i64, (String, String)> = redriven(&system)
        .into_iter()
        .map(|(origin, record)| {
            let event: CivicEvent = expected::decode("civic", record.payload().unwrap());
            (record.offset(), (origin, event.event_id))
        })
        .collect();
    let expected = ["one", "two", "three"].map(str::to_owned);
    let expected: Vec<_> = positions.into_iter().zip(expected).collect();
    assert_eq!(again.into_values().collect::<Vec<_>>(), expected);
}
