//! The past under other settings: what a backtest finds is what a system with those settings emits.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use rdkafka::message::{Headers, Message, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use tidewatch::codec;
use tidewatch::engine::rows::OperatorRow;
use tidewatch::engine::rows::RowMeta;
use tidewatch::families::civic::demo::boston;
use tidewatch::families::civic::event::{Body, CivicEvent, IssueStatus, IssueStatusChanged, issue_id};
use tidewatch::families::civic::sla::rows::SlaRow;
use tidewatch::families::incident::Incident;
use tidewatch::tools::backtest;
use tidewatch::tools::backtest::{Findings, Progress, Question};
use tidewatch::{families, runtime};
use uuid::Uuid;

use crate::expected;
use crate::load;
use crate::system::{BINARY, KEY, OTHER_KEY, Process, READ_KEY, System, eventually};

const ROUTE: &str = "/v1/backtests";
const TIMEOUT: Duration = Duration::from_secs(30);

/// Appends the city's month.
fn append_month(system: &System) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv");
    let requests = boston::requests(&file).unwrap();
    load::append(system, boston::steps(&requests).iter().map(|step| step.event("boston")));
}

fn run(system: &System, tenant: Option<&str>, document: Option<Value>) -> Findings {
    run_within(system, tenant, document, None, None)
}

fn run_within(
    system: &System,
    tenant: Option<&str>,
    document: Option<Value>,
    from: Option<i64>,
    to: Option<i64>,
) -> Findings {
    let question = Question {
        family: families::settings("civic").unwrap(),
        tenant: tenant.map(str::to_owned),
        document: document.map(|document| document.as_object().unwrap().clone()),
        from,
        to,
        threads: 2,
    };
    tokio::task::block_in_place(|| backtest::run(&system.log, &question, &Progress::default())).unwrap()
}

/// The tool: exit status, standard output, standard error.
fn tool(system: &System, arguments: &[&str]) -> (Option<i32>, String, String) {
    let mut command = Command::new(BINARY);
    command.args(["backtest", "--config", system.file(), "--family", "civic"]).args(arguments);
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

/// What has been emitted, and what the log gives when it is folded again as its marks say, differ in nothing.
pub fn assert_that_the_outputs_follow_from_the_log(system: &System) {
    let findings = run(system, None, None);
    let differences = findings.differences.iter().map(|difference| difference.describe().unwrap().line());
    assert_eq!(differences.collect::<Vec<_>>(), Vec::<String>::new());
    let rows: u64 = findings.summary.rules.iter().map(|group| group.before.rows).sum();
    let emitted = expected::OUTPUTS.iter().flat_map(|topic| expected::committed(system, topic).into_values());
    // Of records that were appended twice the letters say the same.
    assert!(rows > 0 && rows <= emitted.map(|rows| rows.len() as u64).sum());
}

/// A row of a derived topic.
fn read(topic: &str, value: &[u8]) -> SlaRow {
    SlaRow::read(topic, runtime::Value(Some(value))).unwrap().unwrap()
}

/// Rows that hold, by id, without how they came about.
#[derive(Debug, Default, PartialEq)]
struct Held {
    rows: BTreeMap<Uuid, SlaRow>,
    /// Those that nothing will change any more.
    finals: BTreeSet<Uuid>,
}

impl Held {
    fn add(&mut self, mut row: SlaRow) {
        let Some(meta) = row.meta_mut() else { return };
        let (id, retracted) = (meta.id, meta.retracted);
        if meta.is_final {
            self.finals.insert(id);
        }
        *meta = RowMeta {
            version: 0,
            settings_version: 0,
            first_arrival: 0,
            is_final: false,
            evidence: Default::default(),
            ..meta.clone()
        };
        if retracted { drop(self.rows.remove(&id)) } else { drop(self.rows.insert(id, row)) }
    }

    /// What a system has emitted.
    fn of(system: &System) -> Self {
        let mut held = Self::default();
        for topic in ["incidents", "sla-metrics"] {
            for (_, value) in expected::committed(system, topic).into_values().flatten() {
                held.add(read(topic, &value));
            }
        }
        held
    }

    #[track_caller]
    fn assert_is(&self, other: &Self) {
        for id in self.rows.keys().chain(other.rows.keys()) {
            assert_eq!(self.rows.get(id), other.rows.get(id));
        }
    }

    /// What a system would have emitted, by a backtest's differences.
    fn changed_by(mut self, findings: Findings) -> Self {
        for difference in findings.differences {
            match difference.sides().map(|side| side.map(|value| read(difference.topic(), value))) {
                [_, Some(after)] => self.add(after),
                [Some(before), None] => {
                    let meta = before.meta().unwrap();
                    assert!(self.rows.remove(&meta.id).is_some());
                }
                [None, None] => panic!("a difference without a row"),
            }
        }
        self
    }
}

/// (closings, those in time) of the reports without a due time of their own.
fn by_default(summary: &Value) -> [(u64, u64); 2] {
    let groups = summary["rules"].as_array().unwrap();
    let group = groups.iter().find(|group| group["rule"] == "closings, due time default").unwrap();
    ["before", "after"]
        .map(|side| (group[side]["rows"].as_u64().unwrap(), group[side]["met"].as_u64().unwrap()))
}

/// Of 1,666 reports without a due time 1,502 were closed within 72 h, 1,456 within 48 h, 1,393 within 24 h. A backtest says
/// so before; a system that knew nothing else emits the same rows, and so does the running one once it is set.
#[tokio::test(flavor = "multi_thread")]
async fn i4_a_backtest_finds_what_a_system_under_those_settings_emits() {
    let system = System::new("").await;
    // Ready once the settings are in force; what lies before a first mark is folded under the defaults.
    let all = system.start_ready("all", &[]).await;
    append_month(&system);
    system.folded().await;
    let document = |due: &str| json!({"allowance": "0s", "default_due": due});

    for (due, met) in [("48h", 1_456), ("24h", 1_393)] {
        let body = json!({"family": "civic", "settings": document(due)});
        let (status, job) = all.post(KEY, ROUTE, &body).await;
        assert_eq!((status, &job["status"]), (202, &json!("running")), "{job}");
        let path = format!("{ROUTE}/{}", job["id"].as_str().unwrap());
        let done = eventually("the end of the backtest", async || {
            let (_, job) = all.get(READ_KEY, &path).await;
            (job["status"] != "running").then_some(job)
        });
        let done = done.await;
        assert_eq!(done["status"], "done", "{done}");
        assert_eq!(done["progress"]["done"], done["progress"]["total"]);
        let result = &done["result"];
        assert_eq!(by_default(&result["summary"]), [(1_666, 1_502), (1_666, met)]);
        assert_eq!(result["settings"], json!({"default_due": {"from": "3d", "to": due}}));
        assert!(
            result["difference_count"].as_u64().unwrap()
                > result["differences"].as_array().unwrap().len() as u64
        );
        assert_eq!(all.get(OTHER_KEY, &path).await.0, 404, "another tenant's is none of mine");
        assert_eq!(all.get(KEY, ROUTE).await.1["backtests"][0]["id"], job["id"]);
        assert_eq!(all.get(OTHER_KEY, ROUTE).await.1["backtests"], json!([]));
        assert_eq!(all.delete(READ_KEY, &path).await, 403);
        assert_eq!(all.delete(KEY, &path).await, 204);
        assert_eq!(all.get(KEY, &path).await.0, 404);
    }

    let before = Held::of(&system);
    let findings = run(&system, Some("boston"), Some(document("24h")));
    let replayed = findings.replayed;
    let expected = Held::of(&system).changed_by(findings);
    before.assert_is(&Held::of(&system));
    assert_eq!(before.rows.len() + 109, expected.rows.len(), "so many breaches more");

    // Set live, before the month.
    let fresh = System::new("").await;
    let other = fresh.start_ready("all", &[]).await;
    set_live(&fresh, &other, &document("24h")).await;
    append_month(&fresh);
    crate::chaos::settled(&fresh).await;
    Held::of(&fresh).assert_is(&expected);
    assert!(other.terminate().await.success());
    assert_that_the_outputs_follow_from_the_log(&fresh);

    // Set live, after it: what is not final yet becomes what the backtest said; what is final stays.
    set_live(&system, &all, &document("24h")).await;
    crate::chaos::settled(&system).await;
    assert!(all.terminate().await.success());
    let now = Held::of(&system);
    let ids = now.rows.keys().chain(expected.rows.keys()).collect::<BTreeSet<_>>();
    let (finals, open): (Vec<&Uuid>, Vec<&Uuid>) =
        ids.into_iter().partition(|id| before.finals.contains(*id));
    assert!(finals.len() > 1_000 && open.len() > 500, "{} final, {} open", finals.len(), open.len());
    for id in finals {
        assert_eq!(now.rows.get(id), before.rows.get(id));
    }
    assert!(open.iter().any(|id| before.rows.get(id) != expected.rows.get(id)), "the change says something");
    assert_that_the_outputs_follow_from_the_log(&system);
    let again = run(&system, Some("boston"), Some(document("24h")));
    assert!(again.differences.is_empty(), "the settings in force change nothing");
    assert!(again.replayed.records > replayed.records, "marks have brought the change into force");
}

/// Sets what holds for boston through the API, and waits until a mark has brought it into force in every partition.
async fn set_live(system: &System, all: &Process, document: &Value) {
    let (status, answer) = all.put(KEY, "/v1/settings/civic", None, document).await;
    assert_eq!(status, 200, "{answer}");
    let version = answer["version"].to_string();
    eventually("a mark in every partition", async || {
        let is_marked = |records: Vec<OwnedMessage>| {
            let headers = records.iter().filter_map(Message::headers);
            headers.flat_map(|headers| headers.iter()).any(|header| header.value == Some(version.as_bytes()))
        };
        system.read_committed("civic").into_values().all(is_marked).then_some(())
    })
    .await;
    system.folded().await;
}

/// A row that does not follow from the log is found, by the tool's exit status, too.
#[tokio::test(flavor = "multi_thread")]
async fn i1_a_row_that_does_not_follow_from_the_log_is_found() {
    let system = System::new("").await;
    let opened = |id: &str| load::report("boston", "a".into(), id.into(), 1_000, 2_000);
    load::append(&system, ["r-1", "r-2"].map(opened).into_iter());
    let worker = system.start_ready("process", &[]).await;
    eventually("the breaches", async || (Held::of(&system).rows.len() == 2).then_some(())).await;
    system.folded().await;
    assert!(worker.terminate().await.success());
    let (status, out, err) = tool(&system, &[]);
    assert_eq!((status, out.contains("No difference.")), (Some(0), true), "{out}{err}");
    let (status, out, err) = tool(&system, &["--tenant", "bostn"]);
    assert_eq!((status, out.contains("no row is of the tenant bostn")), (Some(2), true), "{out}{err}");

    let rows = expected::committed(&system, "incidents");
    let (key, value) = rows.into_values().flatten().next().unwrap();
    let mut forged: Incident = expected::decode("incidents", &value);
    forged.title = "Overdue: something else".into();
    forged.meta.id = Uuid::new_v8([7; 16]);
    let value = codec::newest("incidents").unwrap().encode(&forged).unwrap();
    let producer: BaseProducer = system.log.producer().create().unwrap();
    let topic = system.log.name("incidents");
    let record = BaseRecord::<[u8], [u8]>::to(&topic).key(&key).payload(&value);
    producer.send(record).unwrap();
    producer.flush(TIMEOUT).unwrap();
    let (status, out, err) = tool(&system, &[]);
    assert_eq!(status, Some(2), "{out}{err}");
    assert!(out.contains("- incidents 07070707-0707-8707-8707-070707070707 boston/a"), "{out}");
}

/// A closing of an issue of the area a.
fn closed(id: &str, at: i64) -> CivicEvent {
    let issue_id = issue_id("boston", "a", id);
    let body = Body::IssueStatusChanged(IssueStatusChanged { issue_id, status: IssueStatus::Closed });
    CivicEvent { tenant: "boston".into(), event_id: format!("{id}/closed"), occurred_at: at, body }
}

/// Only what was emitted within a span of the log; differences as NDJSON.
#[tokio::test(flavor = "multi_thread")]
async fn a_span_of_the_log_can_be_looked_at_and_written_out() {
    let system = System::new("").await;
    let hour = 3_600_000;
    let opened = |id: &str| load::report("boston", "a".into(), id.into(), 0, None);
    load::append(&system, [opened("r-1"), opened("r-2"), closed("r-1", 2 * hour)].into_iter());
    let between = Timestamp::now();
    // Time has to pass on the broker's clock, too.
    eventually("the next moment", async || {
        (Timestamp::now().duration_since(between).as_millis() > 50).then_some(())
    })
    .await;
    load::append(&system, std::iter::once(closed("r-2", 3 * hour)));

    let file = system.folder().join("settings.toml");
    std::fs::write(&file, "[civic]\nallowance = \"0s\"\ndefault_due = \"1h\"\n").unwrap();
    let (settings, between) = (file.to_str().unwrap(), between.to_string());
    let log = system.read_committed("civic");
    for (limits, expected) in [
        (vec![], ["r-1", "r-1", "r-2", "r-2"].as_slice()),
        (vec!["--from", &between], &["r-2", "r-2"]),
        (vec!["--to", &between], &["r-1", "r-1", "r-2"]),
    ] {
        let output = system.folder().join("differences.ndjson");
        let mut arguments =
            vec!["--tenant", "boston", "--settings", settings, "--output", output.to_str().unwrap()];
        arguments.extend(limits);
        let (status, out, err) = tool(&system, &arguments);
        assert_eq!(status, Some(0), "{out}{err}");
        let text = std::fs::read_to_string(&output).unwrap();
        let mut found: Vec<String> = text
            .lines()
            .map(|line| {
                let difference: Value = serde_json::from_str(line).unwrap();
                let evidence = &difference["after"]["meta"]["evidence"];
                let partition = evidence["partition"].as_i64().unwrap() as i32;
                let offset = evidence["offsets"][0].as_i64();
                let record = log[&partition].iter().find(|record| Some(record.offset()) == offset).unwrap();
                expected::decode::<CivicEvent>("civic", record.payload().unwrap()).event_id
            })
            .collect();
        found.sort();
        assert_eq!(found, expected, "{arguments:?}: {out}");
    }
}

/// Silence passes up to the end of the span; what fires before its beginning is not within it.
#[tokio::test(flavor = "multi_thread")]
async fn silence_passes_up_to_its_end() {
    let system = System::new("").await;
    let now = Timestamp::now();
    load::append(
        &system,
        [load::report("boston", "a".into(), "r-1".into(), now.as_millisecond(), None)].into_iter(),
    );
    let at = |hours| Some((now + SignedDuration::from_hours(hours)).as_millisecond());
    let document = || Some(json!({"allowance": "0s", "default_due": "2h"}));
    let count = |from, to| run_within(&system, Some("boston"), document(), from, to).differences.len();
    assert_eq!([at(1), at(3), None].map(|to| count(None, to)), [0, 1, 0]);
    assert_eq!(count(at(4), at(5)), 0, "it fires before the span");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tenants_rows_count_and_the_last_moment_belongs_to_the_span() {
    let system = System::new("").await;
    let reports = [("boston", "r-1"), ("salem", "r-2"), ("salem", "r-3")];
    let reports = reports.map(|(tenant, id)| load::report(tenant, "a".into(), id.into(), 1_000, 2_000));
    load::append(&system, reports.into_iter());
    let document = || Some(json!({"allowance": "0s", "grace": "1d"}));
    let to = (Timestamp::now() + SignedDuration::from_hours(3)).as_millisecond();
    let findings = run_within(&system, Some("boston"), document(), None, Some(to));
    assert_eq!(findings.summary.rules.iter().map(|group| group.before.rows).sum::<u64>(), 1);

    let log = system.read_committed("civic");
    let times: Vec<i64> =
        log.values().flatten().map(|record| record.timestamp().to_millis().unwrap()).collect();
    let count = |to| run_within(&system, None, document(), None, Some(to)).replayed.records;
    let until = |to: i64| times.iter().filter(|time| **time <= to).count() as u64;
    for to in times.iter().flat_map(|time| [time - 1, *time, time + 1]) {
        assert_eq!(count(to), until(to));
    }
}

/// What is final under the one and not under the other says the same.
#[tokio::test(flavor = "multi_thread")]
async fn rows_that_are_final_on_one_side_only_do_not_differ() {
    let system = System::new("").await;
    let (hour, now) = (3_600_000, Timestamp::now().as_millisecond());
    let opened = load::report("boston", "a".into(), "r-1".into(), now - 10 * hour, now - 9 * hour);
    load::append(&system, [opened, closed("r-1", now - 5 * hour)].into_iter());
    let document = Some(json!({"allowance": "0s", "grace": "0s"}));
    let findings = run_within(&system, Some("boston"), document, None, Some(now + hour));
    assert_eq!(findings.differences.len(), 0, "{:?}", findings.differences);
    assert_eq!(findings.summary.rules.iter().map(|group| group.before.rows).sum::<u64>(), 2);
}

/// Somebody's open transaction hides rows that are committed, and retention may have taken what they follow from: neither
/// is a difference.
#[tokio::test(flavor = "multi_thread")]
async fn i1_rows_that_can_not_be_seen_or_folded_are_no_difference() {
    let system = System::new("").await;
    let opened = |id: &str| load::report("boston", "a".into(), id.into(), 1_000, 2_000);
    let open: BaseProducer = system.log.producer().set("transactional.id", "somebody").create().unwrap();
    tokio::task::block_in_place(|| {
        open.init_transactions(TIMEOUT).unwrap();
        open.begin_transaction().unwrap();
        let topic = system.log.name("incidents");
        for partition in 0..crate::system::partitions("incidents") {
            let record = BaseRecord::<[u8], [u8]>::to(&topic).partition(partition).key(b"x").payload(b"x");
            open.send(record).unwrap();
        }
        open.flush(TIMEOUT).unwrap();
    });
    load::append(&system, std::iter::once(opened("r-1")));
    let worker = system.start_ready("process", &[]).await;
    let breaches = async |count: usize| {
        let topic = async || system.read_uncommitted("incidents").into_values().flatten().count();
        eventually("the breaches", async || (topic().await >= count).then_some(())).await;
        system.folded().await;
    };
    breaches(4 + 1).await;
    let backtest = std::thread::scope(|scope| {
        let backtest = scope.spawn(|| tool(&system, &[]));
        open.abort_transaction(TIMEOUT).unwrap();
        backtest.join().unwrap()
    });
    assert_eq!(backtest.0, Some(0), "{}", backtest.1);

    for (partition, end) in system.committed(&tidewatch::runtime::group("sla"), "civic") {
        crate::explain::delete_before(&system, "civic", i64::from(partition), end).await;
    }
    load::append(&system, std::iter::once(opened("r-2")));
    breaches(4 + 2).await;
    assert!(worker.terminate().await.success());
    let (status, out, err) = tool(&system, &[]);
    assert_eq!(status, Some(0), "{out}{err}");
}

/// What retention has taken is not there to be folded, and that is said.
#[tokio::test(flavor = "multi_thread")]
async fn a_log_without_its_beginning_is_said_to_be_one() {
    let system = System::new("").await;
    let opened = |id: &str| load::report("boston", "a".into(), id.into(), 1_000, 2_000);
    load::append(&system, ["r-1", "r-2", "r-3"].map(opened).into_iter());
    let log = system.read_committed("civic");
    let (partition, _) = log.iter().find(|(_, records)| !records.is_empty()).unwrap();
    crate::explain::delete_before(&system, "civic", i64::from(*partition), 2).await;
    let findings = run(&system, Some("boston"), Some(json!({"allowance": "0s"})));
    assert_eq!((findings.replayed.records, findings.replayed.missing), (1, 2));
    let (status, out, err) = tool(&system, &[]);
    assert_eq!(status, Some(2), "{out}{err}");
    assert!(out.contains("Retention has taken the first 2 records of the log"), "{out}");
    assert!(out.contains("Nothing to compare"), "nobody has folded anything yet: {out}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_backtested_is_refused_by_name() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    for (body, status, text) in [
        (json!({"family": "trafic", "settings": {}}), 422, "trafic"),
        (json!({"family": "civic"}), 422, "settings"),
        (json!({"family": "civic", "settings": {"default_duue": "1h"}}), 422, "settings.default_duue"),
        (json!({"family": "civic", "settings": {"default_due": "-1h"}}), 422, "settings.default_due"),
        (json!({"family": "civic", "settings": {}, "from": "soon"}), 422, "from"),
        (
            json!({"family": "civic", "settings": {}, "from": "2024-01-02T00:00:00Z", "to": "2024-01-01T00:00:00Z"}),
            422,
            "from",
        ),
        (json!({"family": "civic", "settings": {}, "tenant": "salem"}), 422, "tenant"),
        (json!([]), 422, ""),
    ] {
        let (found, answer) = serve.post(KEY, ROUTE, &body).await;
        assert_eq!(found, status, "{body}: {answer}");
        assert!(answer["error"].to_string().contains(text), "{body}: {answer}");
    }
    let good = json!({"family": "civic", "settings": {}});
    assert_eq!(serve.post(READ_KEY, ROUTE, &good).await.0, 403);
    assert_eq!(serve.post("nobody", ROUTE, &good).await.0, 401);
    for id in ["x", "0197c2a0-0000-7000-8000-000000000000"] {
        assert_eq!(serve.get(KEY, &format!("{ROUTE}/{id}")).await.0, 404);
    }

    let file = system.folder().join("settings.json");
    let path = file.to_str().unwrap();
    std::fs::write(&file, r#"{"grace": "soon"}"#).unwrap();
    for (arguments, text) in [
        (vec!["--settings", path], "grace: "),
        (vec!["--settings", "nowhere.json"], "nowhere.json"),
        (vec!["--from", "2024-01-01T00:00:00Z"], "--settings"),
        (vec!["--settings", path, "--to", "yesterday"], "--to"),
        (vec!["--settings", path, "--threads", "0"], "--threads"),
        (vec!["--settings", "/dev/null"], "it is empty"),
    ] {
        let (status, out, err) = tool(&system, &arguments);
        assert_ne!(status, Some(0), "{arguments:?}: {out}");
        assert!(err.contains(text), "{arguments:?}: {err}");
    }
}
