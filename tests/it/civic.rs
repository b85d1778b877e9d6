//! The path of a report: opened, overdue, resolved; through the API, the log and the tables.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use tidewatch::families::civic::event::{Body, CivicEvent};
use tidewatch::families::incident::Incident;

use crate::expected;
use crate::system::{KEY, OTHER_KEY, Process, System, eventually};

fn seconds_from_now(seconds: i64) -> String {
    (Timestamp::now() + SignedDuration::from_secs(seconds)).to_string()
}

/// All roles, and a report that is due in `seconds`: (…, its issue, when it is due).
async fn reported(seconds: i64, area: &str) -> (System, Process, String, String) {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let due = seconds_from_now(seconds);
    let report = json!({ "description": "Broken bench", "area": area, "due_at": due, "department": "PARK" });
    let (status, answer) = all.post(KEY, "/v1/reports", &report).await;
    assert_eq!(status, 202, "{answer}");
    let issue = answer["issue_id"].as_str().unwrap().to_owned();
    (system, all, issue, due)
}

async fn incident(all: &Process, issue: &str) -> Option<Value> {
    let (status, page) = all.get(KEY, &format!("/v1/incidents?subject={issue}")).await;
    assert_eq!(status, 200, "{page}");
    page["incidents"].as_array().unwrap().first().cloned()
}

async fn change(all: &Process, issue: &str, status: &str, at: &str) {
    let body = json!({ "status": status, "occurred_at": at });
    let (code, answer) = all.post(KEY, &format!("/v1/issues/{issue}/status"), &body).await;
    assert_eq!(code, 202, "{answer}");
}

/// Nobody sends anything more: a mark moves the clock, and the breach fires. It carries its due time. A closing that
/// comes late ends it, and one that was in time after all retracts it (I9).
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_breach_fires_in_silence_and_is_corrected() {
    let (system, all, issue, due) = reported(3, "Silent Hill").await;
    assert!(incident(&all, &issue).await.is_none(), "it is not due yet");
    let breach = eventually("the breach", async || incident(&all, &issue).await).await;
    insta::assert_json_snapshot!("incident", breach, {
        ".id" => "[id]", ".version" => "[version]", ".subject" => "[issue]", ".started_at" => "[due]",
        ".settings_version" => "[settings]", ".first_arrival" => "[arrival]", ".evidence_offsets[0]" => "[offset]",
    });
    assert_eq!(
        breach["started_at"].as_str().unwrap().parse::<Timestamp>().unwrap().as_millisecond(),
        due.parse::<Timestamp>().unwrap().as_millisecond()
    );

    // In silence a timer fires within D (here 0) and 2 s, by the log's own time.
    let appended = system.read_committed("incidents").into_values().flatten().map(|record| {
        use rdkafka::message::Message;
        record.timestamp().to_millis().unwrap()
    });
    let delay = appended.min().unwrap() - due.parse::<Timestamp>().unwrap().as_millisecond();
    println!("the breach was on the log {delay} ms after it was due");
    assert!((0..=2_000).contains(&delay), "{delay} ms");

    let late = seconds_from_now(0);
    change(&all, &issue, "resolved", &late).await;
    let ended =
        eventually("its end", async || incident(&all, &issue).await.filter(|row| !row["ended_at"].is_null()));
    assert_eq!(ended.await["id"], breach["id"]);

    // It turns out that it was resolved before: opened again and resolved, both before the due time.
    change(&all, &issue, "closed", &seconds_from_now(-60)).await;
    eventually("the retraction", async || incident(&all, &issue).await.is_none().then_some(())).await;

    let versions: Vec<Incident> = expected::committed(&system, "incidents")
        .into_values()
        .flatten()
        .map(|(_, value)| expected::decode("incidents", &value))
        .collect();
    let retracted: Vec<bool> = versions.iter().map(|row| row.meta.retracted).collect();
    assert_eq!(retracted, [false, false, true]);
    assert!(versions.is_sorted_by_key(|row| row.meta.version));
    assert_eq!(versions[2].meta.evidence.count, 3);
    let evidence = &versions[2].meta.evidence;
    let log = &system.read_committed(&evidence.topic)[&evidence.partition];
    let events = evidence.offsets.iter().map(|offset| {
        use rdkafka::message::Message;
        let record = log.iter().find(|record| record.offset() == *offset).unwrap();
        expected::decode::<CivicEvent>("civic", record.payload().unwrap())
    });
    let events: Vec<CivicEvent> = events.collect();
    assert!(
        matches!(events[0].body, Body::ReportSubmitted(_)),
        "I8: the evidence names the records behind the row"
    );
    let statuses = events[1..].iter().map(|event| match &event.body {
        Body::IssueStatusChanged(change) => change.issue_id.to_string(),
        Body::ReportSubmitted(_) => panic!("another report"),
    });
    assert_eq!(statuses.collect::<Vec<_>>(), [issue.clone(), issue]);
}

/// An issue's rows are its tenant's: another tenant sees nothing, and can't touch it.
#[tokio::test(flavor = "multi_thread")]
async fn a_tenant_sees_and_changes_only_its_own() {
    let (system, all, issue, _) = reported(-1, "Elm Street").await;
    let breach = eventually("the breach", async || incident(&all, &issue).await).await;
    let id = breach["id"].as_str().unwrap();
    assert_eq!(all.get(KEY, &format!("/v1/incidents/{id}")).await.0, 200);
    assert_eq!(all.get(OTHER_KEY, &format!("/v1/incidents/{id}")).await.0, 404);
    let (_, page) = all.get(OTHER_KEY, "/v1/incidents").await;
    assert_eq!(page["incidents"], json!([]));
    assert_eq!(page["total"], 0);

    let body = json!({ "id": "from-salem", "status": "closed" });
    let (status, _) = all.post(OTHER_KEY, &format!("/v1/issues/{issue}/status"), &body).await;
    assert_eq!(status, 202, "ids are not looked up at the door");
    system.caught_up().await;
    assert_eq!(incident(&all, &issue).await.unwrap()["ended_at"], Value::Null);
    let letters = tidewatch::store::client(&system.config.clickhouse);
    let reason: String = letters
        .query("SELECT reason FROM dead_letters FINAL WHERE tenant = 'salem' AND event_id = 'from-salem'")
        .fetch_one()
        .await
        .unwrap();
    assert_eq!(reason, "unknown_id");
}

/// The same report and the same closing, sent again: the rows stay as they are.
#[tokio::test(flavor = "multi_thread")]
async fn i7_repeats_are_recognised_by_their_event_ids() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let opened = seconds_from_now(-3600);
    let report = json!({ "id": "r1", "occurred_at": opened, "description": "Pothole", "department": "PWDx" });
    let mut issues = Vec::new();
    for _ in 0..2 {
        let (_, answer) = all.post(KEY, "/v1/reports", &report).await;
        issues.push(answer["issue_id"].as_str().unwrap().to_owned());
        let closing = json!({ "id": "c1", "occurred_at": seconds_from_now(-60), "status": "closed" });
        all.post(KEY, &format!("/v1/issues/{}/status", issues[0]), &closing).await;
    }
    assert_eq!(issues[0], issues[1]);
    system.caught_up().await;
    let (_, sla) = all.get(KEY, "/v1/sla?by=department").await;
    insta::assert_json_snapshot!("sla_by_department", sla, { ".as_of" => "[position]" });
    assert_eq!(expected::committed(&system, "sla-metrics").into_values().flatten().count(), 1);
    let metrics = reqwest::get(format!("{}/metrics", all.url)).await.unwrap().text().await.unwrap();
    for line in ["outcome=\"folded\"} 2", "outcome=\"duplicate\"} 2"] {
        assert!(metrics.contains(line), "{line} is missing in {metrics}");
    }
}

/// Pages follow each other without a gap or a repeat, and corrections in between don't upset them.
#[tokio::test(flavor = "multi_thread")]
async fn pages_are_whole() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    // Some with equal times, so that the id has to decide.
    let report = |index: usize| {
        let due = seconds_from_now(-100 - index as i64 / 4);
        json!({ "report": { "description": "x", "area": (index % 3).to_string(), "due_at": due } })
    };
    let events: Vec<Value> = (0..25).map(report).collect();
    let (_, answer) = all.post(KEY, "/v1/civic", &json!({ "events": events })).await;
    system.caught_up().await;
    let (mut ids, mut times, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let (_, page) = all.get(KEY, &format!("/v1/incidents?limit=10{cursor}")).await;
        assert_eq!(page["total"], 25);
        for incident in page["incidents"].as_array().unwrap() {
            ids.push(incident["id"].as_str().unwrap().to_owned());
            times.push(incident["first_arrival"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
        let issue = answer["accepted"][ids.len()]["issue_id"].as_str().unwrap();
        change(&all, issue, "closed", &seconds_from_now(0)).await;
        system.caught_up().await;
    }
    assert!(times.is_sorted_by(|a, b| a >= b), "the newest first");
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 25);
}
