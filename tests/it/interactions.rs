//! The way in of the family interactions: over HTTP and through the intake topic into the log, cleaned, each once.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::Timestamp;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};
use tidewatch::codec;
use tidewatch::engine::rows::DeadLetter;
use tidewatch::engine::{Event, id};
use tidewatch::families;
use tidewatch::families::interactions::event::Interaction;
use tidewatch::log::{first_append, lag, topics};
use tidewatch::runtime;

use crate::expected;
use crate::system::{KEY, Process, READ_KEY, System, eventually, partitions};
use crate::tables;

const INTAKE: &str = "intake.interactions";
const SALT: &str = r#"ingest.salt = "a salt for tests alone""#;

/// The family log: each record with its event, without the marks.
fn log(system: &System) -> Vec<(OwnedMessage, Interaction)> {
    let records = system.read_committed("interactions").into_values().flatten();
    records
        .filter(|record| record.key().is_some())
        .map(|record| {
            let event = codec::decode("interactions", record.payload()).unwrap();
            (record, event)
        })
        .collect()
}

fn letters(system: &System) -> Vec<DeadLetter> {
    let records = system.read_committed("dead-letters").into_values().flatten();
    records.map(|record| expected::decode("dead-letters", record.payload().unwrap())).collect()
}

/// Writes records to the intake topic, as a Kafka client does: (API key, session, value).
fn write(system: &System, records: &[(&str, &str, Vec<u8>)]) {
    let producer: BaseProducer = system.log.producer().create().unwrap();
    let topic = system.log.name(INTAKE);
    for (key, session, value) in records {
        let headers = OwnedHeaders::new().insert(Header { key: "tidewatch-key", value: Some(*key) });
        let record = BaseRecord::to(&topic).key(*session).payload(value).headers(headers);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

fn click(session: &str, seq: usize) -> Value {
    json!({"type": "click", "session_id": session, "tab_id": "t", "seq": seq, "x": 1, "y": 2,
        "url": format!("https://ann:pw@shop.example/orders/{seq}?q=hunter2&page=3"), "user": "ann",
        "target": {"selector": "input[value=\"hunter2\"]", "tag": "button"}})
}

/// Over HTTP: what is accepted lies in the partition of its session, cleaned; what is refused is named and not repeated.
#[tokio::test(flavor = "multi_thread")]
async fn interactions_reach_the_log_cleaned() {
    let system = System::new(SALT).await;
    let ingest = system.start_ready("ingest", &[]).await;
    let (status, answer) = ingest.post(KEY, "/v1/interactions", &click("s", 1)).await;
    assert_eq!((status, &answer["id"]), (202, &json!("t/1")), "{answer}");
    let mut wrong = click("s", 3);
    wrong["value"] = json!("hunter2");
    let batch = json!({"context": {"session_id": "other"}, "events": [click("s", 2), wrong, {"type": "page_hide", "seq": 0}]});
    let (status, answer) = ingest.post(KEY, "/v1/interactions", &batch).await;
    assert_eq!(status, 202, "{answer}");
    assert_eq!(answer["accepted"], json!([{"index": 0, "id": "t/2"}, {"index": 2, "id": "/0"}]));
    assert_eq!(answer["rejected"][0]["error"]["details"]["field"], "events[1]");
    assert!(!answer.to_string().contains("hunter2"), "{answer}");

    let log = log(&system);
    assert_eq!(log.len(), 3);
    for (record, event) in &log {
        let key = format!("boston/{}", event.session_id);
        assert_eq!(record.key(), Some(key.as_bytes()));
        let partition = id::partition(id::murmur2(key.as_bytes()), partitions("interactions") as u32);
        assert_eq!(record.partition(), partition);
    }
    let event = &log.iter().find(|(_, event)| event.seq == Some(1)).unwrap().1;
    assert_eq!(
        (event.route.as_str(), event.url.as_deref()),
        ("/orders/:id", Some("https://shop.example/orders/:id?q&page=3"))
    );
    assert_eq!(event.user.as_deref().map(str::len), Some(32));
    // The same salt, the same user: after a restart, too.
    assert!(ingest.terminate().await.success());
    let ingest = system.start_ready("ingest", &[]).await;
    ingest.post(KEY, "/v1/interactions", &click("s", 4)).await;
    let users: std::collections::BTreeSet<_> =
        self::log(&system).into_iter().filter_map(|(_, event)| event.user).collect();
    assert_eq!(users.len(), 1);
}

/// Through Kafka: JSON and Avro, batches and single events, in their order; what is refused has a letter without its value.
#[tokio::test(flavor = "multi_thread")]
async fn i3_the_intake_topic_is_copied_with_its_times() {
    let system = System::new(SALT).await;
    let ingest = system.start_ready("ingest", &[]).await;
    let raw = Interaction {
        user: Some("ann".into()),
        url: Some("https://shop.example/orders/77?q=hunter2".into()),
        route: "".into(),
        ..serde_json::from_value(json!({
            "tenant": "salem", "session_id": "avro", "tab_id": "", "occurred_at": 1_000, "route": "",
            "body": {"Page": {"kind": "show"}},
        }))
        .unwrap()
    };
    let avro = codec::newest("interactions").unwrap().encode(&raw).unwrap();
    let batch = json!({"events": [click("s", 2), {"type": "hunter2"}, click("s", 3)]});
    write(
        &system,
        &[
            (KEY, "s", click("s", 1).to_string().into()),
            (KEY, "s", batch.to_string().into()),
            (KEY, "avro", avro),
            (READ_KEY, "s", click("s", 9).to_string().into()),
            ("nobody's", "s", b"hunter2".to_vec()),
            (KEY, "s", b"{\"hunter2\"".to_vec()),
        ],
    );
    let log = eventually("four copies and four letters", async || {
        let (log, letters) = tokio::task::block_in_place(|| (log(&system), letters(&system)));
        (log.len() == 4 && letters.len() == 4).then_some(log)
    });
    let log = log.await;
    let counts: Vec<_> =
        log.iter().filter(|(_, event)| event.session_id == "s").map(|(_, event)| event.seq).collect();
    assert_eq!(counts, [Some(1), Some(2), Some(3)], "in their order");
    let from_avro = &log.iter().find(|(_, event)| event.session_id == "avro").unwrap().1;
    assert_eq!((from_avro.tenant.as_str(), from_avro.route.as_str()), ("boston", "/orders/:id"));
    assert!(from_avro.user.as_deref().is_some_and(|user| user.len() == 32));

    let appended: Vec<i64> = system
        .read_committed(INTAKE)
        .into_values()
        .flatten()
        .map(|record| record.timestamp().to_millis().unwrap())
        .collect();
    for (record, event) in &log {
        let first = first_append::of_copy(record).unwrap();
        assert!(appended.contains(&first) && first <= record.timestamp().to_millis().unwrap(), "{first}");
        assert!(
            event.seq.is_none() || event.occurred_at == first,
            "without a time it happened when it was appended"
        );
    }
    let mut letters = letters(&system);
    letters.sort_by(|one, other| one.reason.cmp(&other.reason));
    let reasons: Vec<&str> = letters.iter().map(|letter| letter.reason.as_str()).collect();
    assert_eq!(reasons, ["invalid_value", "malformed_json", "unauthorized", "unauthorized"]);
    assert!(
        letters[0].message.starts_with("1 of 3 events are refused: events[1].type: "),
        "{}",
        letters[0].message
    );
    for letter in &letters {
        assert_eq!((letter.topic.as_str(), &letter.record_key, &letter.record_value), (INTAKE, &None, &None));
        assert!(!format!("{letter:?}").contains("hunter2"));
    }
    assert!(ingest.terminate().await.success());
}

/// Whatever a header says, the clock is the broker's; a copy's first append time is kept beside it.
#[tokio::test(flavor = "multi_thread")]
async fn i3_no_header_moves_the_clock() {
    let system = System::new("").await;
    let job = families::civic::sla_job();
    let mut versions = tokio::task::block_in_place(|| job.settings_versions(&system.log)).unwrap();
    let mut append_time = |headers| {
        let at = Timestamp::LogAppendTime(9);
        let message = OwnedMessage::new(Some(vec![1]), None, "civic".into(), at, 0, 0, headers);
        let record = job.read(&message, &mut versions).unwrap();
        (record.append_time, record.first_append)
    };
    assert_eq!(append_time(None), (9, None));
    assert_eq!(append_time(Some(first_append::headers(7))), (9, Some(7)));
    assert_eq!(append_time(Some(first_append::headers(70))), (9, Some(70)));
}

/// Killed at each step of its transactions, again and again, the copying neither loses nor repeats a record.
#[tokio::test(flavor = "multi_thread")]
async fn i5_killed_copying_loses_and_repeats_nothing() {
    let system = System::new(SALT).await;
    let (sessions, mut sent) = (["a", "b", "c", "d", "e", "f"], 0);
    let mut send = || {
        let mut records = Vec::new();
        for session in sessions {
            for seq in sent..sent + 20 {
                records.push((KEY, session, click(session, seq).to_string().into_bytes()));
            }
            records.push((KEY, session, b"not JSON".to_vec()));
        }
        sent += 20;
        tokio::task::block_in_place(|| write(&system, &records));
    };
    let steps = ["outputs", "drained", "offsets", "committed", "drained", "offsets"];
    for step in steps {
        send();
        let (ingest, outputs) =
            system.start_role_until("ingest", step, &["process.session_timeout=1s"]).await;
        assert!(outputs > 0);
        ingest.kill();
    }
    send();
    let ingest = system.start_ready("ingest", &[]).await;
    let expected = sessions.len() * 20 * (steps.len() + 1);
    let log = eventually("every copy", async || {
        let log = tokio::task::block_in_place(|| log(&system));
        (log.len() >= expected).then_some(log)
    });
    let mut counts = BTreeMap::<String, Vec<i64>>::new();
    for (_, event) in log.await {
        counts.entry(event.session_id.to_string()).or_default().push(event.seq.unwrap());
    }
    let each: Vec<i64> = (0..20 * (steps.len() as i64 + 1)).collect();
    assert_eq!(counts.len(), sessions.len());
    for (session, counts) in counts {
        assert_eq!(counts, each, "session {session}: each once, in their order");
    }
    let letters: Vec<_> =
        letters(&system).into_iter().map(|letter| (letter.partition, letter.offset)).collect();
    let different: std::collections::BTreeSet<_> = letters.iter().collect();
    assert_eq!((letters.len(), different.len()), (sessions.len() * (steps.len() + 1), letters.len()));
    let records = |records: BTreeMap<i32, Vec<OwnedMessage>>| records.values().map(Vec::len).sum::<usize>();
    let aborted =
        records(system.read_uncommitted("interactions")) - records(system.read_committed("interactions"));
    assert!(aborted > 0, "the kills left no aborted copy");
    println!(
        "kills inside an open transaction that held copies: {}; copies that were aborted: {aborted}",
        steps.len()
    );
    assert!(ingest.terminate().await.success());
}

/// Every record of the log is a row, each once, as a plain reader sees it.
#[tokio::test(flavor = "multi_thread")]
async fn i1_the_raw_table_follows_the_log() {
    let system = System::new(SALT).await;
    let ingest = system.start_ready("ingest", &[]).await;
    let sink = system.start_ready("sink", &[]).await;
    let events = [
        click("s", 1),
        json!({"type": "input", "session_id": "s", "seq": 2, "form": "f"}),
        json!({"type": "submit", "session_id": "s", "seq": 3, "form": "f", "failed": true}),
        json!({"type": "validation_error", "session_id": "s", "seq": 4, "form": "f"}),
        json!({"type": "scroll", "session_id": "s", "seq": 5, "x": 1, "y": 2}),
        json!({"type": "move", "session_id": "s", "seq": 6, "points": [[0, 1, 2], [3, 4, 5]]}),
        json!({"type": "navigation", "session_id": "s", "seq": 7, "navigation": "push"}),
        json!({"type": "page_show", "session_id": "s", "id": "e", "browser": "Firefox", "window_id": "w", "occurred_at": "2020-01-01T00:00:00Z"}),
        json!({"type": "mutation", "session_id": "s", "seq": 8}),
        json!({"type": "request", "session_id": "s", "seq": 9, "method": "GET", "request_route": "/a", "status": 200, "duration_ms": 1}),
        json!({"type": "error", "session_id": "s", "seq": 10, "message": "m"}),
        json!({"type": "custom", "session_id": "s", "seq": 11, "name": "n", "fields": {"a": 1, "b": true}}),
    ];
    let batch = json!({"sent_at": "2020-01-01T00:00:00Z", "events": events});
    let (status, answer) = ingest.post(KEY, "/v1/interactions", &batch).await;
    assert_eq!((status, answer["accepted"].as_array().map(Vec::len)), (202, Some(events.len())), "{answer}");
    system.stored().await;
    assert_eq!(tables::assert_every_view_follows(&system).await["interactions"], events.len());
    let kinds = system.query("SELECT body_kind FROM interaction_events_current WHERE tenant = 'boston' AND session_id = 's' ORDER BY log_offset").await;
    assert_eq!(kinds.split_whitespace().collect::<Vec<_>>(), tables::BODIES);
    assert!(sink.terminate().await.success());
}

/// What is planted, each kind with a core by which it is found in whatever form.
const CORES: [&str; 11] = [
    "Hunter",
    "planted",
    "sk_live_PLANT",
    "user-raw",
    "4571234567",
    "4571 2345 67",
    "eyJQTEFOVEVE",
    "203.0.113.",
    "deadbeefcafe4242",
    "928 571",
    "PLANTEDPASS",
];

/// A secret, and whether it is typed text, which only its place gives away.
fn secret(index: usize) -> (String, bool) {
    match index % 12 {
        0 | 1 => (format!("Hunter {index} zz"), true),
        2 => (format!("planted{index}@mail.example"), false),
        3 => (format!("sk_live_PLANT{index:08}"), false),
        4 => (format!("user-raw-{index:06}"), true),
        5 => (format!("4571234567{index:06}"), false),
        6 => (format!("4571 2345 67{:02} {:04}", index % 100, index % 10_000), false),
        7 => (format!("eyJQTEFOVEVE{index}.eyJzdWIiOiIxIn0.c2ln{index}"), false),
        8 => (format!("203.0.113.{}", index % 256), false),
        9 => (format!("deadbeefcafe4242{index:08x}"), false),
        10 => (format!("+46 (0)8 928 571 {:02}", index % 100), false),
        _ => (format!("password=PLANTEDPASS{index}"), false),
    }
}

/// An event with a secret in a place that has none for it.
fn planted(index: usize) -> Value {
    let (secret, is_typed) = secret(index);
    let encoded: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let mut event = click(&format!("s{}", index % 97), index);
    match (index / 12) % if is_typed { 12 } else { 19 } {
        0 => event["value"] = json!(secret),
        1 => event[&secret] = json!(true),
        2 => event["type"] = json!(secret),
        3 => event["x"] = json!(secret),
        4 => event["user"] = json!(secret),
        5 => event["url"] = json!(format!("https://shop.example/?q={encoded}&{encoded}")),
        6 => event["url"] = json!(format!("https://ann:{encoded}@shop.example/#{encoded}")),
        7 => event["target"]["selector"] = json!(format!("input[value=\"{secret}\"]:contains('{secret}')")),
        8 => event["target"]["text_hash"] = json!(secret),
        9 => event["occurred_at"] = json!(secret),
        10 => event["target"]["text"] = json!(secret),
        11 => event["route"] = json!(format!("/search/{encoded}/")),
        // Places of texts: what is planted here has a form.
        12 => event["device"] = json!(format!("a {secret} b")),
        13 => event["url"] = json!(format!("/a/{encoded}?page={encoded}")),
        14 => {
            event = json!({"type": "error", "session_id": "s", "seq": index, "message": format!("no {secret}, no"), "source": format!("https://s.example/{encoded}")});
        }
        15 => {
            event = json!({"type": "custom", "session_id": "s", "seq": index, "name": "n", "fields": {"note": format!("({secret})"), "email": secret}});
        }
        16 => {
            event =
                json!({"type": "submit", "session_id": "s", "seq": index, "form": format!("form {secret}")});
        }
        17 => {
            event = json!({"type": "request", "session_id": "s", "seq": index, "method": "GET", "request_url": format!("/a/{encoded}?t={encoded}"), "status": 0, "duration_ms": 1});
        }
        _ => event["session_id"] = json!(format!("session {secret}")),
    }
    event
}

/// Fails where something planted is in the bytes.
fn assert_clean(place: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for core in CORES {
        for form in [core.to_owned(), core.replace(' ', "%20"), core.replace(' ', "+"), core.to_lowercase()] {
            if let Some(at) = text.find(&form) {
                let around: Vec<char> = text[..at].chars().rev().take(200).collect();
                let around: String = around.into_iter().rev().collect();
                panic!("{form} is found again in {place}, behind: {around}");
            }
        }
    }
}

/// All that a topic holds, also what was never committed.
fn bytes(system: &System, topic: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    for record in system.read_uncommitted(topic).into_values().flatten() {
        bytes.extend(record.key().unwrap_or_default());
        bytes.extend(record.payload().unwrap_or_default());
        for header in record.headers().into_iter().flat_map(Headers::iter) {
            bytes.extend(header.value.unwrap_or_default());
        }
    }
    bytes
}

/// What the API says of sessions, signals and incidents, and of each of the first of them; how many rows there are.
async fn told_by_the_api(process: &Process) -> (String, usize) {
    let (mut told, mut rows) = (String::new(), 0);
    for list in ["sessions", "signals", "incidents"] {
        let (status, page) = process.get(KEY, &format!("/v1/{list}")).await;
        assert_eq!(status, 200, "{page}");
        told += &page.to_string();
        let first = page[list].as_array().unwrap();
        assert!(!first.is_empty(), "there are {list}");
        rows += first.len();
        let parts = match list {
            "sessions" => &["", "/timeline"][..],
            "incidents" => &["", "/signals", "/evidence"],
            _ => &[],
        };
        for row in first.iter().take(20) {
            let id = row["id"].as_str().unwrap();
            for part in parts {
                let (status, answer) = process.get(KEY, &format!("/v1/{list}/{id}{part}")).await;
                assert_eq!(status, 200, "{list}{part}: {answer}");
                told += &answer.to_string();
            }
        }
    }
    (told, rows)
}

/// Secrets in every place of an event, over HTTP and through Kafka, on the whole way to the tables: none is in a topic behind
/// ingest, in a table, in an answer, or in a line of the program's log. `PLANTED_EVENTS` says how many.
#[tokio::test(flavor = "multi_thread")]
async fn no_planted_secret_is_found_again() {
    let count: usize = std::env::var("PLANTED_EVENTS").ok().map_or(3_000, |count| count.parse().unwrap());
    let system = System::new(SALT).await;
    let told = system.folder().join("all.log");
    let all = system.start_talkative("all", &[], &told).await;
    let (mut accepted, mut rejected) = (0, 0);
    for (number, indices) in (0..count).collect::<Vec<_>>().chunks(500).enumerate() {
        let events: Vec<Value> = indices.iter().map(|index| planted(*index)).collect();
        // Every fifth batch goes through Kafka: as a batch, and in single records.
        match number % 5 {
            3 => tokio::task::block_in_place(|| {
                write(&system, &[(KEY, "s", json!({ "events": events }).to_string().into())]);
            }),
            4 => tokio::task::block_in_place(|| {
                let records: Vec<_> =
                    events.iter().map(|event| (KEY, "s", event.to_string().into_bytes())).collect();
                write(&system, &records);
            }),
            _ => {
                let (status, answer) = all.post(KEY, "/v1/interactions", &json!({ "events": events })).await;
                assert_eq!(status, 202, "{answer}");
                accepted += answer["accepted"].as_array().unwrap().len();
                rejected += answer["rejected"].as_array().unwrap().len();
                assert!(answer.get("failed").is_none(), "{answer}");
                assert_clean("an answer to a batch", answer.to_string().as_bytes());
            }
        }
    }
    // A refused request of its own, too.
    for index in 0..12 * 19 {
        let (_, answer) = all.post(KEY, "/v1/interactions", &planted(index)).await;
        assert_clean("an answer", answer.to_string().as_bytes());
    }
    eventually("the copying's end", async || {
        let (committed, bounds) = tokio::task::block_in_place(|| {
            (system.committed("intake-interactions", INTAKE), system.bounds(INTAKE))
        });
        bounds.iter().zip(committed.values()).all(|((_, end), committed)| end == committed).then_some(())
    })
    .await;
    tokio::task::block_in_place(|| {
        lag::wait_until_read(&system.log, &runtime::group("interactions"), "interactions")
    })
    .unwrap();
    system.stored().await;
    let (answers, rows) = told_by_the_api(&all).await;
    assert_clean("an answer of the API", answers.as_bytes());
    assert!(all.terminate().await.success());
    println!("{count} events with secrets; over HTTP {accepted} were accepted and {rejected} refused");
    assert!(accepted > 0 && rejected > 0);

    let mut sizes = vec![("answers".to_owned(), answers.len())];
    let said = std::fs::read(&told).unwrap();
    assert_clean("the log", &said);
    sizes.push(("the log".to_owned(), said.len()));
    // What a client has written to the intake topic is its own.
    for topic in topics::all().iter().map(|topic| topic.name.as_str()).filter(|topic| *topic != INTAKE) {
        let bytes = tokio::task::block_in_place(|| bytes(&system, topic));
        assert_clean(topic, &bytes);
        sizes.push((topic.to_owned(), bytes.len()));
    }
    let tables = system.query(
        "SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'",
    );
    for table in tables.await.split_whitespace() {
        let text = system.query(&format!("SELECT * FROM {table} FORMAT JSONEachRow")).await;
        assert_clean(&format!("the table {table}"), text.as_bytes());
        sizes.push((format!("the table {table}"), text.len()));
    }
    println!("{rows} rows were read through the API; bytes looked at: {sizes:?}");
    let size = |name: &str| sizes.iter().find(|(other, _)| other == name).map_or(0, |(_, size)| *size);
    for place in [
        "interactions",
        "dead-letters",
        "changelog-interactions",
        "sessions",
        "signals",
        "incidents",
        "accounting",
        "progress",
        "settings",
        "the log",
    ] {
        assert!(size(place) > 0, "{place} has been looked at");
    }
    assert!(log(&system).iter().all(|(_, event)| event.tenant() == "boston"));
}
