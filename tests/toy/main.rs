//! A family is one room: the files of `examples/toy-family` and one line of `src/families/mod.rs` make a family that every
//! part of the program knows. `docs/adding-a-family.md` tells how to add one by these files.
//!
//! The test copies the sources, adds the family, builds that (one crate: minutes the first time), and asks the binary
//! for all that a family has.

mod room;
mod system;

use jiff::{Timestamp, ToSpan, Unit};
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::{Value, json};

use self::room::Room;
use self::system::{PARTITIONS, System, eventually};

/// The jobs, and what each has written of the family's own rows.
const JOBS: [&str; 2] = ["meter-hours", "meter-alarms"];

/// So many minutes into the hour before this one.
fn minute(minute: i64) -> String {
    let hour =
        Timestamp::now().round(jiff::TimestampRound::new().smallest(Unit::Hour).mode(jiff::RoundMode::Trunc));
    (hour.unwrap() - 1.hour() + minute.minutes()).to_string()
}

fn reading(id: &str, meter: &str, at: i64, watts: i64) -> Value {
    json!({"id": id, "meter": meter, "occurred_at": minute(at), "watts": watts})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_family_is_its_folder_its_schemas_and_topics_and_one_line() {
    let room = Room::new();
    room.assert_formatted();
    room.build();
    let system = System::new(room.binary());
    try_it(&system);
    let (topology, _) = system.tool(&["topology", "--format", "mermaid"]);
    assert!(JOBS.iter().all(|job| topology.contains(job)), "{topology}");

    let all = system.start();
    all.ready().await;
    send(&system, &all).await;
    rows(&system, &all).await;
    resources(&all).await;
    jobs(&system).await;
    backtests(&system);
    explanations(&system).await;
    settings_and_dead_letters(&system, &all).await;
    all.end().await;
    a_job_that_fails_holds_no_other(&system).await;
}

/// `tidewatch try`: a file of readings, both operators.
fn try_it(system: &System) {
    let lines =
        |readings: &[Value]| readings.iter().map(|reading| format!("{reading}\n")).collect::<String>();
    let mut readings = vec![reading("1", "m", 1, 100), reading("2", "m", 2, 9_000)];
    let file = system.write("readings.ndjson", lines(&readings));
    let (rows, said) = system.tool(&["try", "--family", "meters", "--current", &file]);
    let rows: Vec<Value> = rows.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let topics: Vec<&str> = rows.iter().map(|row| row["topic"].as_str().unwrap()).collect();
    assert_eq!(topics, ["meter-hours", "meter-alarms", "incidents"]);
    assert_eq!((&rows[0]["mean_watts"], &rows[1]["peak_watts"]), (&json!(4_550), &json!(9_000)));
    assert!(JOBS.iter().all(|job| said.contains(&format!("events of {job}: 2 read = 2 folded"))), "{said}");
    readings.push(json!({"meter": "m"}));
    let file = system.write("refused.ndjson", lines(&readings));
    let (code, _, said) = system.run(&["try", "--family", "meters", &file]);
    assert!(code == Some(1) && said.contains("missing field `watts`"), "{said}");
}

/// Over HTTP and through the intake topic: seven readings of three meters, and what is refused at the door.
async fn send(system: &System, all: &system::Process) {
    let (status, answer) = all.post("/v1/meters", &reading("1", "m1", 1, 1_200)).await;
    assert_eq!((status, &answer["id"]), (202, &json!("1")), "{answer}");
    let batch = [reading("2", "m1", 2, 6_000), reading("3", "m1", 3, 7_000), reading("4", "m1", 4, 900)];
    let (status, answer) = all.post("/v1/meters", &json!({"events": batch})).await;
    assert_eq!((status, answer["accepted"].as_array().map(Vec::len)), (202, Some(3)), "{answer}");
    let (status, answer) = all.post("/v1/meters", &json!({"meter": " ", "watts": 1})).await;
    assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!("meter")), "{answer}");
    let (_, document) = all.get("/openapi.json").await;
    for path in ["/v1/meters", "/v1/meter-hours", "/v1/meter-alarms", "/v1/meter-alarms/{id}"] {
        assert!(document["paths"][path].is_object(), "{path} is not described");
    }

    let batch = json!({"events": [reading("5", "m2", 1, 5_500), reading("6", "m2", 2, 5_800)]});
    system.produce("m2", &batch.to_string());
    system.produce("m3", &reading("7", "m3", 1, 150_000).to_string());
    system.produce("m3", r#"{"watts": 1}"#);
}

/// The rows of both operators, in their tables; incidents also by the API.
async fn rows(system: &System, all: &system::Process) {
    let hours = "SELECT meter, readings, mean_watts, peak_watts FROM meter_hours_current ORDER BY meter";
    system
        .gives(hours, json!([["m1", 4, 3_775, 7_000], ["m2", 2, 5_650, 5_800], ["m3", 1, 150_000, 150_000]]))
        .await;
    let alarms = "SELECT meter, above_watts, peak_watts, closed_at IS NULL, final FROM meter_alarms_current ORDER BY meter";
    system.gives(alarms, json!([["m1", 5_000, 7_000, 0, 1], ["m2", 5_000, 5_800, 1, 0]])).await;
    let incidents = "SELECT family, rule, subject, ended_at IS NULL FROM incidents_current ORDER BY subject";
    system
        .gives(incidents, json!([["meters", "meter_alarm", "m1", 0], ["meters", "meter_alarm", "m2", 1]]))
        .await;
    system.gives("SELECT count() FROM meter_readings_current", json!([[7]])).await;
    let letters = "SELECT topic, operator, reason FROM dead_letters_current ORDER BY topic";
    let expected =
        [["intake.meters", "", "invalid_value"], ["meters", "meter-alarms", "implausible_reading"]];
    system.gives(letters, json!(expected)).await;
    let (status, page) = all.get("/v1/incidents?family=meters").await;
    assert_eq!((status, &page["total"]), (200, &json!(2)), "{page}");
}

/// What is declared of the row types in `topics/*.yaml` is answered: lists with filters, rows by id, what is behind them.
async fn resources(all: &system::Process) {
    let answered = async |path: &str| {
        let (status, page) = all.get(path).await;
        assert_eq!(status, 200, "{path}: {page}");
        page
    };
    let list = async |path: &str, name: &str| {
        let page = answered(path).await;
        let meters =
            page[name].as_array().unwrap().iter().map(|row| row["meter"].as_str().unwrap().to_owned());
        let mut meters: Vec<String> = meters.collect();
        meters.sort();
        meters
    };
    for (query, meters) in [
        ("", vec!["m1", "m2"]),
        ("?meter=m1", vec!["m1"]),
        ("?open=true", vec!["m2"]),
        ("?open=true&meter=m1", vec![]),
    ] {
        assert_eq!(list(&format!("/v1/meter-alarms{query}"), "meter_alarms").await, meters, "{query}");
    }
    assert_eq!(list(&format!("/v1/meter-hours?meter=m3&from={}", minute(0)), "meter_hours").await, ["m3"]);
    assert!(list(&format!("/v1/meter-hours?to={}", minute(0)), "meter_hours").await.is_empty());
    let (status, error) = all.get("/v1/meter-alarms?mete=m1").await;
    assert!(status >= 400, "{error}");
    let alarm = answered("/v1/meter-alarms?meter=m1").await["meter_alarms"][0].take();
    let path = format!("/v1/meter-alarms/{}", alarm["id"].as_str().unwrap());
    assert_eq!(answered(&path).await["peak_watts"], 7_000);
    assert_eq!(
        answered(&format!("{path}/evidence")).await["evidence"]["records"].as_array().map(Vec::len),
        Some(3)
    );
}

/// Each job has a group and a changelog of its own, and progress and accounting are by job.
async fn jobs(system: &System) {
    let accounting = "SELECT operator, sum(read), sum(folded), sum(dead_lettered) FROM accounting_current \
        WHERE topic = 'meters' GROUP BY operator ORDER BY operator";
    system.gives(accounting, json!([["meter-alarms", 7, 6, 1], ["meter-hours", 7, 7, 0]])).await;
    let progress = "SELECT operator, count() FROM completeness_current WHERE topic = 'meters' GROUP BY operator ORDER BY operator";
    system.gives(progress, json!([["meter-alarms", PARTITIONS], ["meter-hours", PARTITIONS]])).await;
    for job in JOBS {
        assert!(tokio::task::block_in_place(|| system.folded(job)) >= 7, "{job} has a group");
        let changelog = format!("changelog-{job}");
        assert!(tokio::task::block_in_place(|| system.length(&changelog)) > 0, "{changelog} holds its state");
    }
}

/// Folded again, the log gives what was emitted, by both jobs; and with another threshold other alarms.
fn backtests(system: &System) {
    let (same, _) = system.tool(&["backtest", "--family", "meters"]);
    assert!(same.contains("No difference."), "{same}");
    assert!(["hours", "alarms", "meter_alarm"].iter().all(|rule| same.contains(rule)), "{same}");
    let file = system.write("higher.json", r#"{"alarm_above": 6500}"#);
    let (other, _) = system.tool(&["backtest", "--family", "meters", "--settings", &file]);
    assert!(other.contains("alarm_above: 5000 -> 6500") && !other.contains("No difference."), "{other}");
}

/// Why a row is what it is: of each operator one.
async fn explanations(system: &System) {
    for (table, operator, records) in [("meter_hours", "meter-hours", 4), ("meter_alarms", "meter-alarms", 3)]
    {
        let id = &system.query(&format!("SELECT id FROM {table}_current WHERE meter = 'm1'")).await[0][0];
        let (text, _) = system.tool(&["explain", "--json", id.as_str().unwrap()]);
        let explanation: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(explanation["operator"], operator);
        assert_eq!(explanation["evidence"]["records"].as_array().map(Vec::len), Some(records));
        assert_eq!(explanation["settings"][0]["settings"]["alarm_above"], 5_000);
    }
}

/// A reading that can't be is a dead letter of the alarms alone; the tenant allows it, and it is redriven.
async fn settings_and_dead_letters(system: &System, all: &system::Process) {
    let (listed, _) = system.tool(&["dead-letters", "list", "--family", "meters"]);
    assert!(listed.contains("implausible_reading") && listed.contains("1 dead letter\n"), "{listed}");
    let (holds, _) = system.tool(&["settings", "get", "--family", "meters", "--tenant", "acme"]);
    let holds: Value = serde_json::from_str(&holds).unwrap();
    assert_eq!(holds, json!({"allowance": "1min", "alarm_above": 5_000, "implausible_above": 100_000}));
    let file = system.write("large.toml", "[meters]\nimplausible_above = 200000\n");
    let (holds, version) = system.tool(&["settings", "set", "--family", "meters", "--tenant", "acme", &file]);
    assert!(holds.contains("200000"), "{holds}");
    let (status, answer) = all.get("/v1/settings/meters").await;
    assert_eq!((status, &answer["settings"]["implausible_above"]), (200, &json!(200_000)), "{answer}");

    let version: i64 = version.trim().strip_prefix("version ").unwrap().parse().unwrap();
    let in_force = "SELECT count() FROM completeness_current WHERE topic = 'meters' AND settings_version = ";
    system.gives(&format!("{in_force}{version}"), json!([[2 * PARTITIONS]])).await;
    let (redriven, _) = system.tool(&["dead-letters", "redrive", "--family", "meters"]);
    assert!(redriven.contains("1 dead letter: 1 appended again"), "{redriven}");
    system.gives("SELECT peak_watts FROM meter_alarms_current WHERE meter = 'm3'", json!([[150_000]])).await;
    let accounting = "SELECT operator, sum(read), sum(folded), sum(duplicate), sum(dead_lettered) FROM accounting_current \
        WHERE topic = 'meters' GROUP BY operator ORDER BY operator";
    system.gives(accounting, json!([["meter-alarms", 8, 7, 0, 1], ["meter-hours", 8, 7, 1, 0]])).await;
    let (same, _) = system.tool(&["backtest", "--family", "meters"]);
    assert!(same.contains("No difference."), "{same}");
}

/// The state of the alarms is lost, which is an error and loud; the hours go on.
async fn a_job_that_fails_holds_no_other(system: &System) {
    let admin: AdminClient<DefaultClientContext> = system.log.client().create().unwrap();
    let changelog = system.log.name("changelog-meter-alarms");
    admin.delete_topics(&[&changelog], &AdminOptions::new()).await.unwrap();
    let before = JOBS.map(|job| tokio::task::block_in_place(|| system.folded(job)));
    let all = system.start();
    let sent = async || {
        let (status, _) = all.post("/v1/meters", &reading("8", "m1", 5, 1_000)).await;
        (status == 202).then_some(())
    };
    eventually("the process", async || all.readiness().await).await;
    eventually("a reading that is taken", sent).await;
    system.gives("SELECT readings FROM meter_hours_current WHERE meter = 'm1'", json!([[5]])).await;
    let (is_ready, parts) = all.readiness().await.unwrap();
    assert!(!is_ready && parts.contains("process-meter-alarms"), "{parts}");
    let after = JOBS.map(|job| tokio::task::block_in_place(|| system.folded(job)));
    assert!(after[0] > before[0] && after[1] == before[1], "{before:?} {after:?}");
}
