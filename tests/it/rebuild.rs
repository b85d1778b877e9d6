//! `tidewatch rebuild`: a table follows from its topic (I1), whatever has happened to it, and can be put in the live one's
//! place while everything runs.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use rdkafka::admin::AdminOptions;
use rdkafka::{Offset, TopicPartitionList};
use serde_json::{Value, json};
use tidewatch::engine::rows::{Accounting, DeadLetter, LateEvent};
use tidewatch::families::civic::sla::rows::SlaMetric;
use tidewatch::families::incident::Incident;
use tidewatch::families::interactions::frustration::rows::{Session, Signal};
use tidewatch::log::lag;
use tidewatch::sink;
use tidewatch::tools::rebuild::tables;

use crate::load;
use crate::load::Load;
use crate::sessions;
use crate::sessions::now;
use crate::system::{BINARY, Process, System, eventually};
use crate::{chaos, expected};

fn command(system: &System, arguments: &[&str]) -> Command {
    let mut command = Command::new(BINARY);
    command.arg("rebuild").args(arguments).args(["--json", "--config", system.file()]);
    command.stdin(Stdio::null());
    command
}

/// What it ended with, and what it printed of each table.
async fn rebuild(system: &System, arguments: &[&str]) -> (i32, Vec<Value>, String) {
    let mut command = command(system, arguments);
    let output: Output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
    let reports = String::from_utf8(output.stdout).unwrap();
    let reports = reports.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    (output.status.code().unwrap(), reports, String::from_utf8_lossy(&output.stderr).into_owned())
}

/// Rebuilds and finds no difference and nothing to exclude.
async fn assert_equal(system: &System, arguments: &[&str]) -> Vec<Value> {
    let (code, reports, errors) = rebuild(system, arguments).await;
    assert_eq!(code, 0, "{reports:#?} {errors}");
    for report in &reports {
        assert_eq!(report["compared"], report["equal"], "{report:#}");
        assert_eq!((&report["excluded"], &report["records_pending"]), (&json!([]), &json!(0)), "{report:#}");
    }
    reports
}

async fn query(system: &System, statement: &str) {
    tidewatch::store::client(&system.config.clickhouse).query_raw(statement).execute().await.unwrap();
}

async fn count(system: &System, of: &str) -> u64 {
    let client = tidewatch::store::client(&system.config.clickhouse);
    client.query(&format!("SELECT count() FROM {of}")).fetch_one().await.unwrap()
}

/// The topics of rows that follow from others.
const FOLLOWING: [&str; 7] =
    ["accounting", "dead-letters", "incidents", "late-events", "sessions", "signals", "sla-metrics"];

/// How many rows a topic of rows that follow from others names, retracted or not.
fn rows_named(system: &System, topic: &'static str) -> Option<usize> {
    if !FOLLOWING.contains(&topic) {
        return None;
    }
    let values: Vec<_> =
        expected::committed(system, topic).into_values().flatten().map(|(_, value)| value).collect();
    let names: BTreeSet<String> = values
        .iter()
        .map(|value| match topic {
            "incidents" => expected::decode::<Incident>(topic, value).meta.id.to_string(),
            "sla-metrics" => expected::decode::<SlaMetric>(topic, value).meta.id.to_string(),
            "sessions" => expected::decode::<Session>(topic, value).meta.id.to_string(),
            "signals" => expected::decode::<Signal>(topic, value).meta.id.to_string(),
            "dead-letters" => {
                let letter: DeadLetter = expected::decode(topic, value);
                format!("{:?}", (letter.tenant, letter.topic, letter.partition, letter.offset))
            }
            "late-events" => {
                let event: LateEvent = expected::decode(topic, value);
                format!("{:?}", (event.topic, event.partition, event.offset))
            }
            "accounting" => {
                let row: Accounting = expected::decode(topic, value);
                format!("{:?}", (row.tenant, row.operator, row.topic, row.partition, row.hour))
            }
            other => panic!("what is a row of {other} named by?"),
        })
        .collect();
    Some(names.len())
}

/// Late events come of issues that are final at once.
async fn system() -> System {
    let system = System::new("").await;
    system.set(Some("boston"), json!({"allowance": "0s", "grace": "0s"}));
    system
}

/// Folds some records, and waits until the tables show it. No worker is left that could let time pass, so what was compared
/// stays so.
async fn fold(system: &System, seed: u64, count: usize) {
    let worker = system.start_ready("process", &[]).await;
    load::send(system, seed, count);
    system.folded().await;
    written(system, worker).await;
}

/// Ends the worker, and waits until the sinks have written all that it has emitted.
async fn written(system: &System, worker: Process) {
    assert!(worker.terminate().await.success());
    let log = system.log.clone();
    let wait = move || {
        for (topic, _) in tables() {
            lag::wait_until_read(&log, sink::GROUP, &topic.name).unwrap();
        }
    };
    tokio::task::spawn_blocking(wait).await.unwrap();
}

/// Clicks in anger, each round of the same session's, so that its rows are corrected from round to round.
fn rage(system: &System, round: i64) {
    let at = now();
    let clicks =
        (3 * round..).take(3).map(|seq| sessions::click("boston", "s-1", seq, at - 900 + 100 * (seq % 3)));
    sessions::emit_events(system, clicks);
}

/// After a life with corrections, retractions, late events, dead letters, and workers and sinks that are killed, every table
/// is what its topic gives, row for row.
#[tokio::test(flavor = "multi_thread")]
async fn i1_a_rebuild_of_every_table_finds_no_difference() {
    let system = system().await;
    let load = Load::start(&system, 11, 8);
    for (round, step) in (0..).zip(["outputs", "drained", "committed"]) {
        rage(&system, round);
        let sinks = [system.start("sink", &["sink.batch_rows=20"]), system.start("sink", &[])];
        let (worker, _) = system.start_until(step, &["process.session_timeout=1s"]).await;
        worker.kill();
        let [sink, other] = sinks;
        sink.kill();
        other.kill();
    }
    let worker = system.start_ready("process", &[]).await;
    let sink = system.start_ready("sink", &[]).await;
    let other = system.start_ready("sink", &[]).await;
    let late = || async { (count(&system, "late_events").await > 20).then_some(()) };
    eventually("late events", async || late().await).await;
    rage(&system, 3);
    load.stop();
    chaos::settled(&system).await;
    written(&system, worker).await;

    let reports = assert_equal(&system, &["--all"]).await;
    assert_eq!(reports.len(), tables().count());
    for (report, (topic, table)) in reports.iter().zip(tables()) {
        println!("{report}");
        assert_eq!(report["table"], json!(table));
        let compared = report["compared"].as_u64().unwrap();
        assert!(compared > 0, "{report:#}");
        if let Some(named) = rows_named(&system, &topic.name) {
            assert_eq!(compared, named as u64, "every row: {report:#}");
        }
    }
    let retracted: u64 = reports.iter().map(|report| report["retracted"].as_u64().unwrap()).sum();
    assert!(retracted > 0, "the life had no retraction");
    expected::assert_tables_follow(&system, &expected::rows(&system)).await;
    for sink in [sink, other] {
        assert!(sink.terminate().await.success());
    }
}

/// Rows that were changed, removed, added and raised from the dead in ClickHouse are each found; a swap puts all of it right.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_tampered_with_is_different() {
    let system = system().await;
    let sink = system.start_ready("sink", &[]).await;
    fold(&system, 5, 3_000).await;
    let total = assert_equal(&system, &["incidents"]).await[0]["compared"].as_u64().unwrap();
    let (one, two) = ("(SELECT min(id) FROM incidents_current)", "(SELECT max(id) FROM incidents_current)");
    let client = tidewatch::store::client(&system.config.clickhouse);
    let retracted: String = client
        .query("SELECT toString(id) FROM incidents GROUP BY id HAVING argMax(retracted, version) = 1 LIMIT 1")
        .fetch_one()
        .await
        .unwrap();
    // What is replaced would go by its new value in a condition beside it: the condition has a query of its own.
    let insert = async |replaced: &str, condition: &str| {
        let rows = format!("SELECT * FROM incidents WHERE {condition} ORDER BY version DESC LIMIT 1");
        query(&system, &format!("INSERT INTO incidents SELECT * REPLACE({replaced}) FROM ({rows})")).await;
    };
    query(&system, &format!("DELETE FROM incidents WHERE id = {two}")).await;
    insert("'other' AS subject", &format!("id = {one}")).await;
    insert("generateUUIDv4() AS id", &format!("id = {one}")).await;
    insert("0 AS retracted, version + 1 AS version", &format!("id = '{retracted}'")).await;

    let (code, reports, errors) = rebuild(&system, &["incidents"]).await;
    assert_eq!(code, 2, "{errors}");
    let report = &reports[0];
    println!("{report:#}");
    assert_eq!(report["different"], json!({"changed": 2, "missing": 1, "extra": 1}), "{report:#}");
    assert_eq!(report["compared"].as_u64().unwrap(), total + 1);
    assert_eq!(report["equal"].as_u64().unwrap(), total - 3);
    let examples = report["examples"].as_array().unwrap();
    assert_eq!(examples.len(), 4);
    let changed = |name: &str, table: &str| {
        examples.iter().any(|example| {
            let mut columns = example["columns"].as_array().unwrap().iter();
            columns.any(|column| column["name"] == name && column["table"] == table)
        })
    };
    assert!(changed("subject", "other") && changed("retracted", "0"), "{examples:#?}");

    let (code, reports, errors) = rebuild(&system, &["incidents", "--swap"]).await;
    assert_eq!((code, &reports[0]["swapped"]), (2, &json!(true)), "{errors}");
    assert_eq!(assert_equal(&system, &["incidents"]).await[0]["compared"].as_u64().unwrap(), total);
    expected::assert_tables_follow(&system, &expected::rows(&system)).await;

    // What a merge may have removed is left out, and so is what retention has taken; but no swap loses it.
    let ttl = "ALTER TABLE sla_metrics MODIFY TTL toDateTime(first_arrival) + INTERVAL 1 HOUR SETTINGS materialize_ttl_after_modify = 0";
    query(&system, ttl).await;
    let (code, reports, errors) = rebuild(&system, &["sla_metrics"]).await;
    assert_eq!((code, &reports[0]["compared"]), (0, &json!(0)), "{errors}");
    assert!(reports[0]["excluded"][0]["rows"].as_u64() > Some(0), "{reports:#?}");
    let mut cut = TopicPartitionList::new();
    for (partition, (_, end)) in system.bounds("incidents").into_iter().enumerate() {
        cut.add_partition_offset(&system.log.name("incidents"), partition as i32, Offset::Offset(end / 2))
            .unwrap();
    }
    system.admin().delete_records(&cut, &AdminOptions::new()).await.unwrap();
    let (code, reports, errors) = rebuild(&system, &["incidents"]).await;
    assert_eq!((code, reports[0]["different"]["missing"].as_u64()), (0, Some(0)), "{reports:#?} {errors}");
    let excluded = reports[0]["excluded"][0]["rows"].as_u64().unwrap();
    assert!(excluded > 0 && excluded + reports[0]["compared"].as_u64().unwrap() == total, "{reports:#?}");
    let before = count(&system, "incidents_current").await;
    let (code, _, errors) = rebuild(&system, &["incidents", "--swap"]).await;
    assert!(code == 1 && errors.contains("would be lost"), "{errors}");
    assert_eq!(count(&system, "incidents_current").await, before);
    assert!(sink.terminate().await.success());
}

/// Rebuilds and swaps under load: no row is taken for different that is only on its way, and none is lost.
#[tokio::test(flavor = "multi_thread")]
async fn i1_swaps_under_load_lose_nothing() {
    let system = system().await;
    let worker = system.start_ready("process", &[]).await;
    let sinks =
        [system.start_ready("sink", &["sink.batch_rows=500"]).await, system.start_ready("sink", &[]).await];
    let load = Load::start(&system, 3, 2);
    eventually("rows", async || (count(&system, "incidents").await > 200).then_some(())).await;
    for arguments in
        [&["--all"][..], &["--all", "--swap"], &["incidents", "--swap"], &["sla_metrics", "--swap"]]
    {
        let (code, reports, errors) = rebuild(&system, arguments).await;
        assert_eq!(code, 0, "{reports:#?} {errors}");
        for report in reports {
            println!("{report}");
            assert_eq!(report["swapped"], json!(arguments.len() == 2));
        }
    }
    load.stop();
    chaos::settled(&system).await;
    written(&system, worker).await;
    expected::assert_tables_follow(&system, &expected::rows(&system)).await;
    assert_equal(&system, &["--all"]).await;
    assert_eq!(
        count(&system, "system.tables WHERE database = currentDatabase() AND name LIKE '%rebuild%'").await,
        0
    );
    for sink in sinks {
        assert!(sink.terminate().await.success());
    }
}

/// A rebuild that a test holds at its steps.
struct Held {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Held {
    fn start(system: &System, arguments: &[&str], steps: &str) -> Self {
        let mut command = command(system, arguments);
        command.env("FAIL_POINT", steps).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn reached(&mut self, step: &str) {
        let line = tokio::task::block_in_place(|| self.lines.next()).expect("it reaches the step").unwrap();
        assert_eq!(line, format!("fail point {step}"));
    }

    fn go_on(&mut self) {
        self.child.stdin.as_mut().unwrap().write_all(b"\n").unwrap();
    }

    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Killed before the exchange it has changed nothing; killed after it, what the sinks wrote meanwhile is missing until the
/// next run, which completes the swap, whatever it was asked for.
#[tokio::test(flavor = "multi_thread")]
async fn i1_a_killed_swap_is_completed_by_the_next_run() {
    let system = system().await;
    let sink = system.start_ready("sink", &[]).await;
    for (seed, step) in ["filled", "marked", "exchanged", "completed"].into_iter().enumerate() {
        fold(&system, 2 * seed as u64 + 1, 500).await;
        let former = count(&system, "incidents FINAL").await;
        let mut held = Held::start(&system, &["incidents", "--swap"], &format!("marked+{step}"));
        if step != "filled" {
            // The sinks go on: what they write now is not in the shadow any more.
            held.reached("marked");
            fold(&system, 2 * seed as u64 + 2, 500).await;
        }
        if step != "marked" {
            if step != "filled" {
                held.go_on();
            }
            held.reached(step);
        }
        held.kill();
        if step == "exchanged" {
            assert_eq!(count(&system, "incidents FINAL").await, former, "the test is of something missing");
        } else {
            expected::assert_tables_follow(&system, &expected::rows(&system)).await;
        }
        let reports = assert_equal(&system, &["incidents"]).await;
        assert_eq!(reports[0]["completed"], json!(["exchanged", "completed"].contains(&step)), "{step}");
        expected::assert_tables_follow(&system, &expected::rows(&system)).await;
        let left = "system.tables WHERE database = currentDatabase() AND (name LIKE '%rebuild%' OR comment LIKE '%unfinished%')";
        assert_eq!(count(&system, left).await, 0, "{step}");
    }
    assert!(sink.terminate().await.success());
}

/// Of two runs the later goes on; the other ends and says why, and the table is whole.
#[tokio::test(flavor = "multi_thread")]
async fn of_two_runs_the_later_goes_on() {
    let system = system().await;
    let sink = system.start_ready("sink", &[]).await;
    fold(&system, 7, 500).await;
    for step in ["filled", "marked"] {
        let mut held = Held::start(&system, &["incidents", "--swap"], step);
        held.reached(step);
        assert_equal(&system, &["incidents", "--swap"]).await;
        held.go_on();
        let mut errors = String::new();
        std::io::Read::read_to_string(held.child.stderr.as_mut().unwrap(), &mut errors).unwrap();
        assert_eq!(held.child.wait().unwrap().code(), Some(1));
        assert!(errors.contains("another `tidewatch rebuild` of the same table has begun"), "{errors}");
        assert_equal(&system, &["incidents"]).await;
        expected::assert_tables_follow(&system, &expected::rows(&system)).await;
    }
    assert!(sink.terminate().await.success());
}

/// Where no sink runs, what it has not written is not taken for different, and the answer says what it does not cover.
#[tokio::test(flavor = "multi_thread")]
async fn without_a_sink_it_compares_what_was_committed() {
    let system = system().await;
    let sink = system.start_ready("sink", &[]).await;
    fold(&system, 9, 1_000).await;
    assert!(sink.terminate().await.success());
    let worker = system.start_ready("process", &[]).await;
    load::send(&system, 13, 1_000);
    system.folded().await;
    let rows = count(&system, "incidents FINAL").await;
    let (code, reports, errors) = rebuild(&system, &["incidents"]).await;
    assert_eq!((code, &reports[0]["different"]["missing"]), (0, &json!(0)), "{errors}");
    assert!(
        reports[0]["compared"].as_u64() >= Some(rows) && reports[0]["records_pending"].as_u64() > Some(0)
    );
    // A swap needs no sink: the table is ahead of it then, and changes no more when it comes.
    let (code, _, errors) = rebuild(&system, &["incidents", "--swap"]).await;
    assert_eq!(code, 0, "{errors}");
    assert!(count(&system, "incidents FINAL").await > rows);
    // Ahead of what is committed, the table shows what is in the log all the same.
    assert_eq!(rebuild(&system, &["incidents"]).await.0, 0);
    let sink = system.start_ready("sink", &[]).await;
    written(&system, worker).await;
    expected::assert_tables_follow(&system, &expected::rows(&system)).await;
    assert_equal(&system, &["incidents"]).await;
    let (code, _, errors) = rebuild(&system, &["nothing"]).await;
    assert!(code == 1 && errors.contains("the tables are accounting, "), "{errors}");
    assert!(sink.terminate().await.success());
}

/// A row that ClickHouse refuses is in no table: the sink has made a dead letter of it, and a rebuild passes it over.
#[tokio::test(flavor = "multi_thread")]
async fn what_clickhouse_refuses_is_passed_over() {
    let system = system().await;
    query(&system, "ALTER TABLE incidents ADD CONSTRAINT some CHECK sipHash64(id) % 20 != 0").await;
    let sink = system.start_ready("sink", &[]).await;
    fold(&system, 21, 1_000).await;
    fold(&system, 22, 1).await; // the sink's letters, too
    let reports = assert_equal(&system, &["incidents", "--swap"]).await;
    assert!(reports[0]["compared"].as_u64() > Some(0), "{reports:#?}");
    let refused = count(&system, "dead_letters FINAL WHERE reason = 'refused'").await;
    assert!(refused > 0 && reports[0]["records_without_row"] == json!(refused), "{refused} {reports:#?}");
    assert!(sink.terminate().await.success());
}
