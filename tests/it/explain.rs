//! Why a row is what it is: `tidewatch explain` and `GET /v1/incidents/{id}/evidence`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use rdkafka::TopicPartitionList;
use rdkafka::admin::AdminOptions;
use rdkafka::message::Message;
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::Offset;
use serde_json::{Value, json};
use tidewatch::codec;
use tidewatch::families::civic::demo::boston;
use tidewatch::families::civic::demo::sender::Sender;
use tidewatch::families::civic::event::{CivicEvent, issue_id};
use tidewatch::families::incident::Incident;
use tidewatch::log::replay::records_at;
use tidewatch::store;
use tidewatch::tools::explain::{Explanation, Found, explain, find};
use uuid::Uuid;

use crate::system::{BINARY, KEY, OTHER_KEY, Process, System, eventually};
use crate::{expected, load};

const INGEST_ONLY: &str = "key-of-a-producer";

/// An issue, and the ids of the events sent for it, in the order of the log.
type Sent = BTreeMap<String, Vec<String>>;

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn ago(seconds: i64) -> String {
    (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string()
}

async fn evidence(process: &Process, key: &str, id: &str) -> (u16, Value) {
    process.get(key, &format!("/v1/incidents/{id}/evidence")).await
}

/// `tidewatch explain`: whether it succeeded, stdout, stderr.
fn tool(system: &System, arguments: &[&str]) -> (bool, String, String) {
    let mut command = Command::new(BINARY);
    let output = command.args(["explain", "--config", system.file()]).args(arguments).output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}

fn tool_json(system: &System, id: &str) -> Value {
    let (success, out, err) = tool(system, &["--json", id]);
    assert!(success, "{err}");
    serde_json::from_str(&out).unwrap()
}

/// A report that is overdue, and its breach; the issue and the incident's id.
async fn breached(all: &Process, event_id: &str, area: &str) -> (String, String) {
    let report = json!({"id": event_id, "description": "Broken bench", "area": area, "due_at": ago(60)});
    let (status, answer) = all.post(KEY, "/v1/reports", &report).await;
    assert_eq!(status, 202, "{answer}");
    let issue = text(&answer["issue_id"]).to_owned();
    let find = async || {
        all.get(KEY, &format!("/v1/incidents?subject={issue}")).await.1["incidents"][0]["id"]
            .as_str()
            .map(str::to_owned)
    };
    let id = eventually("the breach", find).await;
    (issue, id)
}

async fn change(all: &Process, issue: &str, event_id: &str, status: &str, at: String) {
    let body = json!({"id": event_id, "status": status, "occurred_at": at});
    let (code, answer) = all.post(KEY, &format!("/v1/issues/{issue}/status"), &body).await;
    assert_eq!(code, 202, "{answer}");
}

fn states(answer: &Value) -> Vec<&str> {
    answer["evidence"]["records"].as_array().unwrap().iter().map(|record| text(&record["state"])).collect()
}

/// Sends the month, and an issue that is closed and opened again 40 times.
async fn send_month(ingest: &Process) -> Sent {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv");
    let requests = boston::requests(&file).unwrap();
    let mut sent = Sent::new();
    let mut sender = Sender::new(&ingest.url, KEY);
    for step in boston::steps(&requests) {
        sender.push(&step).await.unwrap();
        let event = step.event("boston");
        let (boston::Step::Opened(request) | boston::Step::Closed(request, _)) = step;
        let area = if request.area.is_empty() { "unknown" } else { &request.area };
        let issue = issue_id("boston", area, &request.id).to_string();
        sent.entry(issue).or_default().push(event.event_id);
    }
    sender.flush().await.unwrap();

    let report = json!({"id": "again", "description": "Again", "area": "Again", "due_at": ago(9_000)});
    let (_, answer) = ingest.post(KEY, "/v1/reports", &report).await;
    let issue = text(&answer["issue_id"]).to_owned();
    let ids: Vec<String> = (0..40).map(|number| format!("again/{number}")).collect();
    let events: Vec<Value> = ids
        .iter()
        .enumerate()
        .map(|(number, id)| {
            let status = ["closed", "open"][number % 2];
            json!({"status": {"issue_id": issue, "id": id, "status": status, "occurred_at": ago(1_000 - number as i64)}})
        })
        .collect();
    let (_, answer) = ingest.post(KEY, "/v1/civic", &json!({"events": events})).await;
    assert_eq!(answer["rejected"], json!([]));
    sent.insert(issue, std::iter::once("again".to_owned()).chain(ids).collect());
    sent
}

/// The definition: the first 8, and of the others the last 24.
fn cut(ids: &[String]) -> Vec<&str> {
    let (first, others) = ids.split_at(ids.len().min(8));
    first.iter().chain(&others[others.len().saturating_sub(24)..]).map(String::as_str).collect()
}

fn assert_is_explained(explanation: &Explanation, sent: &Sent, log: &HashMap<(i32, i64), CivicEvent>) {
    let newest = explanation.versions.last().unwrap();
    let subject = newest.row.0.iter().find(|(name, _)| name == "subject").unwrap();
    let expected = &sent[text(&subject.1)];
    let evidence = &explanation.evidence;
    let found: Vec<&str> = evidence
        .records
        .iter()
        .map(|record| {
            let Found::Read { event_time, value, .. } = &record.found else { panic!("{record:?}") };
            let event = &log[&(record.partition, record.offset)];
            let value: Value = serde_json::from_str(value.get()).unwrap();
            assert_eq!(text(&value["event_id"]), event.event_id);
            assert_eq!(*event_time, event.occurred_at);
            event.event_id.as_str()
        })
        .collect();
    assert_eq!(found, cut(expected), "{}", explanation.id);
    assert_eq!(
        (evidence.count, evidence.not_named),
        (expected.len() as i64, expected.len() as i64 - found.len() as i64)
    );
    assert!(evidence.records.is_sorted_by_key(|record| record.offset));
}

/// Every incident of Boston's month, and one with more records than a row names: behind it lies exactly what was sent for
/// its issue, in the order of the log; and its versions are all that were emitted.
#[tokio::test(flavor = "multi_thread")]
async fn i8_every_incident_of_the_month_is_explained_by_the_records_behind_it() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let sent = send_month(&all).await;
    system.caught_up().await;

    let mut emitted = BTreeMap::<Uuid, Vec<i64>>::new();
    for (_, value) in expected::committed(&system, "incidents").into_values().flatten() {
        let incident: Incident = expected::decode("incidents", &value);
        emitted.entry(incident.meta.id).or_default().push(incident.meta.version);
    }
    let event = |record: &rdkafka::message::OwnedMessage| {
        let event = expected::decode("civic", record.payload()?);
        Some(((record.partition(), record.offset()), event))
    };
    let civic = system.read_committed("civic");
    let log: HashMap<(i32, i64), CivicEvent> = civic.values().flatten().filter_map(event).collect();

    let ids: Vec<Uuid> = emitted.keys().copied().collect();
    let began = Instant::now();
    let rows = find(&store::reader(&system.config.clickhouse), &ids).await.unwrap();
    let explained = tokio::task::block_in_place(|| explain(&system.log, rows, None)).unwrap();
    println!("{} incidents explained in {:?}", explained.len(), began.elapsed());
    assert_eq!(explained.len(), ids.len());
    assert!(ids.len() > 1_864);
    for explanation in &explained {
        assert_is_explained(explanation, &sent, &log);
        let versions: Vec<i64> = explanation.versions.iter().map(|version| version.version).collect();
        assert_eq!(versions, emitted[&explanation.id]);
        assert!(explanation.versions.iter().all(|version| version.log.is_some()));
        assert_eq!(explanation.versions_taken_before, None);
    }
    let longest = explained.iter().max_by_key(|explanation| explanation.evidence.count).unwrap();
    assert_eq!((longest.evidence.count, longest.evidence.not_named), (41, 9));
}

/// The route and the tool say the same: the versions that were emitted, and the settings of each.
#[tokio::test(flavor = "multi_thread")]
async fn i8_the_route_and_the_tool_tell_the_same_versions_and_settings() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let report = json!({"id": "r1", "description": "Broken bench", "area": "Elm", "department": "PARK", "occurred_at": ago(60)});
    let (_, answer) = all.post(KEY, "/v1/reports", &report).await;
    let issue = text(&answer["issue_id"]).to_owned();
    let set = async |due: Option<&str>| {
        let document = json!({"allowance": "0s", "default_due": due});
        let (status, answer) = all.put(KEY, "/v1/settings/civic", None, &document).await;
        assert_eq!(status, 200, "{answer}");
        answer["version"].as_i64().unwrap()
    };
    let path = format!("/v1/incidents?subject={issue}");
    let incident = async || all.get(KEY, &path).await.1["incidents"].as_array()?.first().cloned();

    let mut settings = vec![set(Some("1s")).await];
    let id = text(&eventually("the breach", incident).await["id"]).to_owned();
    settings.push(set(None).await);
    eventually("its retraction", async || incident().await.is_none().then_some(())).await;
    let (status, retracted) = evidence(&all, KEY, &id).await;
    assert_eq!(status, 200, "a row that is retracted is explained, too: {retracted}");
    assert_eq!(retracted["versions"][1]["retracted"], true);
    settings.push(set(Some("2s")).await);
    eventually("the breach", incident).await;
    change(&all, &issue, "r1/closed", "closed", ago(0)).await;
    eventually("its end", async || incident().await.filter(|row| !row["ended_at"].is_null())).await;
    settings.push(settings[2]);
    system.caught_up().await;

    let (_, answer) = evidence(&all, KEY, &id).await;
    assert_eq!(answer, tool_json(&system, &id));
    let versions = answer["versions"].as_array().unwrap();
    let numbers =
        |name: &str| versions.iter().map(|version| version[name].as_i64().unwrap()).collect::<Vec<_>>();
    assert_eq!(numbers("settings_version"), settings);
    assert_eq!(numbers("evidence_count"), [1, 1, 1, 2]);
    let emitted = expected::committed(&system, "incidents").into_values().flatten();
    let emitted: Vec<i64> =
        emitted.map(|(_, value)| expected::decode::<Incident>("incidents", &value).meta.version).collect();
    let numbers: Vec<i64> =
        versions.iter().map(|version| text(&version["version"]).parse().unwrap()).collect();
    assert_eq!(numbers, emitted);
    let causes: Vec<_> =
        versions.iter().map(|version| version["input"]["is_evidence"].as_bool().unwrap()).collect();
    assert_eq!(causes, [false, false, false, true]);
    assert_eq!(states(&answer), ["read", "read"]);
    let committed = system.committed(&tidewatch::runtime::group("sla"), "civic");
    assert_eq!(
        answer["as_of"]["offset"],
        committed[&(answer["as_of"]["partition"].as_i64().unwrap() as i32)]
    );
    insta::assert_json_snapshot!("explanation", answer, {
        ".id" => "[id]", ".first_arrival" => "[time]", ".as_of.offset" => "[offset]", ".as_of.clock" => "[time]",
        ".versions[].version" => "[version]", ".versions[].settings_version" => "[settings]",
        ".versions[].log.append_time" => "[time]", ".versions[].log.offset" => "[offset]", ".versions[].input.offset" => "[offset]",
        ".versions[].row.subject" => "[issue]", ".versions[].row.started_at" => "[due]",
        ".versions[3].row.ended_at" => "[time]", ".settings[].version" => "[settings]",
        ".evidence.records[].offset" => "[offset]", ".evidence.records[].event_time" => "[time]",
        ".evidence.records[].append_time" => "[time]", ".evidence.records[].value.occurred_at" => "[time]",
        ".evidence.records[].value.body.issue_id" => "[issue]",
    });

    let (_, out, _) = tool(&system, &[&id]);
    for part in [
        "time passed, civic/",
        "settings changed or time passed, civic/",
        "its record, civic/",
        "it is retracted",
        "it holds again",
        "ended_at is 20",
        "default_due none (default 3d)",
        "default_due 2s (default 3d)",
    ] {
        assert!(out.contains(part), "{part:?} is missing in:\n{out}");
    }

    // Other rows are explained, too, to operators.
    let metric: String = store::client(&system.config.clickhouse)
        .query("SELECT toString(id) FROM sla_metrics_current")
        .fetch_one()
        .await
        .unwrap();
    let answer = tool_json(&system, &metric);
    assert_eq!(
        (&answer["topic"], &answer["versions"][0]["row"]["met"]),
        (&json!("sla-metrics"), &json!(false))
    );
    assert_eq!(states(&answer), ["read", "read"]);
}

/// Deletes what lies before an offset, as retention does.
pub async fn delete_before(system: &System, topic: &str, partition: i64, offset: i64) {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(offset);
    list.add_partition_offset(&system.log.name(topic), partition as i32, offset).unwrap();
    system.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
}

/// Retention takes a record, then all of a row's versions: what is left is told, and so is what is not.
#[tokio::test(flavor = "multi_thread")]
async fn i8_what_retention_has_taken_is_said() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let (issue, id) = breached(&all, "r1", "Elm").await;
    change(&all, &issue, "r1/closed", "closed", ago(0)).await;
    system.caught_up().await;
    let (_, before) = evidence(&all, KEY, &id).await;
    assert_eq!(states(&before), ["read", "read"]);
    let records = &before["evidence"]["records"];

    let second = records[1]["offset"].as_i64().unwrap();
    delete_before(&system, "civic", records[1]["partition"].as_i64().unwrap(), second).await;
    let (_, after) = evidence(&all, KEY, &id).await;
    assert_eq!(states(&after), ["taken", "read"]);
    let taken = &after["evidence"]["records"][0];
    assert_eq!(taken["offset"], records[0]["offset"], "the reference is kept");
    assert_eq!((&taken["oldest_offset"], &taken["value"]), (&json!(second), &Value::Null));
    assert_eq!(after["evidence"]["records"][1], records[1]);
    assert_eq!((&after["versions"], &after["versions_taken_before"]), (&before["versions"], &Value::Null));

    let last = &before["versions"].as_array().unwrap().last().unwrap()["log"];
    let end = last["offset"].as_i64().unwrap() + 1;
    delete_before(&system, "incidents", last["partition"].as_i64().unwrap(), end).await;
    let (_, after) = evidence(&all, KEY, &id).await;
    assert_eq!(after["versions_taken_before"], json!(end));
    let newest = |answer: &Value| answer["versions"].as_array().unwrap().last().unwrap().clone();
    let (in_table, in_log) = (newest(&after), newest(&before));
    assert_eq!(in_table["log"], Value::Null);
    for name in ["version", "row", "input", "settings_version", "evidence_count", "retracted", "final"] {
        assert_eq!(in_table[name], in_log[name], "the table says the same");
    }
    assert_eq!(states(&after), ["taken", "read"]);

    let (success, out, err) = tool(&system, &[&id]);
    assert!(success, "{err}");
    for part in [
        format!("retention has taken it (the oldest left is at {second})"),
        format!("what was there before offset {end} is gone"),
        "gone from the log".to_owned(),
        "event r1/closed: happened".to_owned(),
    ] {
        assert!(out.contains(&part), "{part:?} is missing in:\n{out}");
    }
}

/// The family topic is made anew, and other records lie where the row's did: nobody is shown them.
#[tokio::test(flavor = "multi_thread")]
async fn i8_another_record_is_not_taken_for_the_one_that_was_there() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let (issue, id) = breached(&all, "r1", "Elm").await;
    change(&all, &issue, "r1/closed", "closed", ago(0)).await;
    system.caught_up().await;
    assert!(all.terminate().await.success());
    let serve = system.start_ready("serve", &[]).await;
    let (_, before) = evidence(&serve, KEY, &id).await;
    let records = before["evidence"]["records"].as_array().unwrap();
    assert_eq!(records.len(), 2);

    let name = system.log.name("civic");
    system.remake_civic().await;
    let now = Timestamp::now().as_millisecond();
    let event = load::report("salem", "Elm".into(), "r1".into(), now, now);
    let value = codec::newest("civic").unwrap().encode(&event).unwrap();
    let producer: FutureProducer = system.log.producer().create().unwrap();
    let partition = records[0]["partition"].as_i64().unwrap() as i32;
    for offset in 0..=records[0]["offset"].as_i64().unwrap() {
        let record = FutureRecord::to(&name).key("salem/Elm").payload(&value).partition(partition);
        assert_eq!(producer.send(record, Duration::from_secs(10)).await.unwrap().offset, offset);
    }

    let answer = eventually("an answer", async || {
        let (status, answer) = evidence(&serve, KEY, &id).await;
        (status == 200).then_some(answer)
    })
    .await;
    assert_eq!(states(&answer), ["another_record", "missing"]);
    assert!(!answer.to_string().contains("salem"), "{answer}");
    assert_eq!(answer["versions"], before["versions"]);
    let (_, out, _) = tool(&system, &[&id]);
    assert!(out.contains("another record lies there") && !out.contains("salem"), "{out}");
}

/// Records that lie far apart, in every partition, without most of what lies between them; and none where there is none.
#[tokio::test(flavor = "multi_thread")]
async fn i8_records_are_read_wherever_they_lie() {
    let system = System::new("").await;
    load::send(&system, 88, 20_000);
    delete_before(&system, "civic", 0, 1).await;
    let log = system.read_committed("civic");
    let mut wanted = BTreeMap::new();
    for (partition, records) in &log {
        let end = records.last().unwrap().offset();
        assert!(end > 2_100, "{partition} is too short for three runs: {end}");
        wanted.insert(*partition, BTreeSet::from([0, 7, end / 2, end, end + 1]));
    }
    let began = Instant::now();
    let found = tokio::task::block_in_place(|| records_at(&system.log, "civic", &wanted)).unwrap();
    println!("records of 4 partitions, in 3 places of each, read in {:?}", began.elapsed());
    for (partition, records) in &log {
        let (found, end) = (&found[partition], records.last().unwrap().offset());
        assert_eq!(found.bounds, records[0].offset()..end + 1);
        let there = |offset: &i64| found.bounds.contains(offset);
        let expected: Vec<i64> = wanted[partition].iter().copied().filter(there).collect();
        assert_eq!(found.records.keys().copied().collect::<Vec<_>>(), expected);
        for record in records.iter().filter(|record| found.records.contains_key(&record.offset())) {
            assert_eq!(found.records[&record.offset()].payload(), record.payload());
        }
    }
    assert!(!found[&0].records.contains_key(&0) && found[&1].records.contains_key(&0));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_tenants_own_rows_are_explained_and_errors_are_clear() {
    let keys = format!("[[api_keys]]\nkey = \"{INGEST_ONLY}\"\ntenant = \"boston\"\nscopes = [\"ingest\"]\n");
    let system = System::new(&keys).await;
    let all = system.start_ready("all", &[]).await;
    let (_, id) = breached(&all, "r1", "Elm").await;
    assert_eq!(evidence(&all, KEY, &id).await.0, 200);
    let unknown = Uuid::new_v8([7; 16]).to_string();
    for (key, id, status) in [
        (KEY, "no-id", 404),
        (KEY, unknown.as_str(), 404),
        (OTHER_KEY, &id, 404),
        (INGEST_ONLY, &id, 403),
        ("nobody", &id, 401),
    ] {
        let (found, answer) = evidence(&all, key, id).await;
        assert_eq!(found, status, "{key} {id}: {answer}");
        assert!(answer["error"]["code"].is_string(), "{answer}");
    }
    let (success, out, err) = tool(&system, &[&id]);
    assert!(
        success && out.contains("ended_at    none as of civic/"),
        "what is not there is said, too: {out}{err}"
    );
    let (success, _, err) = tool(&system, &["no-id"]);
    assert!(!success && err.contains("'no-id'"), "{err}");
    let (success, out, err) = tool(&system, &[&unknown]);
    assert!(!success && out.is_empty() && err.contains(&format!("no table has a row {unknown}")), "{err}");

    let away = system.start("serve", &["kafka.brokers=127.0.0.1:1"]);
    // It is not ready, for it follows no log; but it answers.
    let alive = async || reqwest::get(format!("{}/livez", away.url)).await.ok();
    eventually("a process", alive).await;
    assert_eq!(reqwest::get(format!("{}/readyz", away.url)).await.unwrap().status(), 503);
    let path = format!("{}/v1/incidents/{id}/evidence", away.url);
    let response = reqwest::Client::new().get(path).bearer_auth(KEY).send().await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.headers()["retry-after"], "2");
}
