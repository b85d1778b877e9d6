//! What a serve node knows of the log while it is written: reads that see one's own writes, rows that never go back, and the
//! stream of incidents.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures::StreamExt;
use jiff::{SignedDuration, Timestamp};
use rdkafka::message::Message;
use serde_json::{Value, json};
use tidewatch::families::incident::Incident;

use crate::expected;
use crate::explain::delete_before;
use crate::proxy::Proxy;
use crate::sessions;
use crate::system::{KEY, OTHER_KEY, Process, System, eventually};

fn ago(seconds: i64) -> String {
    (Timestamp::now() - SignedDuration::from_secs(seconds)).to_string()
}

/// An answer with its headers.
async fn get(node: &Process, key: &str, path: &str, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(format!("{}{path}", node.url)).bearer_auth(key);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.send().await.unwrap()
}

/// Reports that are overdue already: their issues.
async fn overdue(node: &Process, key: &str, count: usize, areas: usize) -> Vec<String> {
    let report = |index: usize| json!({ "report": { "description": "x", "area": (index % areas).to_string(), "due_at": ago(60) } });
    let mut issues = Vec::new();
    for batch in (0..count).collect::<Vec<_>>().chunks(1_000) {
        let events: Vec<Value> = batch.iter().map(|index| report(*index)).collect();
        let (status, answer) = node.post(key, "/v1/civic", &json!({ "events": events })).await;
        assert_eq!(status, 202, "{answer}");
        let accepted = answer["accepted"].as_array().unwrap().iter();
        issues.extend(accepted.map(|item| item["issue_id"].as_str().unwrap().to_owned()));
    }
    issues
}

/// All incidents that a node lists: by issue, their ids.
async fn incidents(node: &Process, key: &str) -> BTreeMap<String, String> {
    let (mut found, mut cursor) = (BTreeMap::new(), String::new());
    loop {
        let (status, page) = node.get(key, &format!("/v1/incidents?limit=1000{cursor}")).await;
        assert_eq!(status, 200, "{page}");
        for row in page["incidents"].as_array().unwrap() {
            found.insert(row["subject"].as_str().unwrap().to_owned(), row["id"].as_str().unwrap().to_owned());
        }
        let Some(next) = page["next_cursor"].as_str() else { return found };
        cursor = format!("&cursor={next}");
    }
}

/// Closes an issue; the position of the log that holds it.
async fn close(node: &Process, key: &str, issue: &str) -> String {
    let url = format!("{}/v1/issues/{issue}/status", node.url);
    let request = reqwest::Client::new().post(url).bearer_auth(key).json(&json!({ "status": "closed" }));
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 202);
    answer.headers()["x-log-position"].to_str().unwrap().to_owned()
}

const WRITES: usize = 1_000;
const AT_ONCE: usize = 50;

/// Write, then read at once on another node: the new value, or an answer that says that it is stale. By id and, every
/// tenth time, in a list.
#[tokio::test(flavor = "multi_thread")]
async fn a_read_sees_ones_own_writes_on_another_node() {
    let system = System::new("").await;
    let (writing, reading) = (system.start("all", &[]), system.start("serve", &[]));
    writing.ready().await;
    reading.ready().await;
    let issues = overdue(&writing, KEY, WRITES, 40).await;
    let ids = eventually("the breaches", async || {
        let ids = incidents(&reading, KEY).await;
        (ids.len() == WRITES).then_some(ids)
    });
    let ids = ids.await;
    let stale: Vec<bool> = futures::stream::iter(issues.iter().enumerate())
        .map(async |(index, issue)| {
            let position = close(&writing, KEY, issue).await;
            let path = match index % 10 {
                0 => format!("/v1/incidents?subject={issue}&min_as_of={position}"),
                _ => format!("/v1/incidents/{}?min_as_of={position}", ids[issue]),
            };
            let (status, answer) = reading.get(KEY, &path).await;
            assert_eq!(status, 200, "{answer}");
            let row = if index % 10 == 0 { &answer["incidents"][0] } else { &answer };
            let is_stale = answer["stale"].as_bool().unwrap();
            assert!(
                is_stale || !row["ended_at"].is_null(),
                "an old value that is not called stale: {answer}"
            );
            if !is_stale {
                let as_of: tidewatch::log::LogPosition = answer["as_of"].as_str().unwrap().parse().unwrap();
                assert!(as_of.covers(&position.parse().unwrap()), "{answer}");
            }
            is_stale
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let stale = stale.iter().filter(|is_stale| **is_stale).count();
    println!("{WRITES} writes read at once on another node, of them stale: {stale}");
    // How often is a matter of the machine's load; that not all are is not.
    assert!(stale < WRITES / 2, "{stale} of {WRITES} were stale");

    for (parameter, field) in [("min_as_of=nonsense", "min_as_of"), ("min_as_of=incidents:0@1", "min_as_of")]
    {
        let (status, answer) = reading.get(KEY, &format!("/v1/incidents?{parameter}")).await;
        assert_eq!((status, &answer["error"]["details"]["field"]), (422, &json!(field)), "{answer}");
    }
    let (status, answer) = reading.get(KEY, "/v1/incidents?limit=1&min_as_of=civic:0@99999999").await;
    assert_eq!((status, &answer["stale"]), (200, &json!(true)), "what never comes is waited for in vain");
}

/// No sink runs: the node has what it saw on the log. A client that has it gets no body.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_is_served_as_it_was_seen_on_the_log() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let _worker = system.start_ready("process", &[]).await;
    let serve = system.start_ready("serve", &[]).await;
    let issue = overdue(&ingest, KEY, 1, 1).await.remove(0);
    let id = eventually("the breach on the log", async || {
        let records = expected::committed(&system, "incidents");
        let rows = records.into_values().flatten().map(|(_, value)| expected::decode("incidents", &value));
        rows.map(|row: Incident| row.meta.id.to_string()).next()
    });
    let path = format!("/v1/incidents/{}", id.await);
    let open = eventually("the row", async || {
        let answer = get(&serve, KEY, &path, &[]).await;
        answer.status().is_success().then_some(answer)
    });
    let open = open.await;
    let (tag, other) = (open.headers()["etag"].to_str().unwrap().to_owned(), "W/\"1\"");
    assert_eq!(get(&serve, KEY, &path, &[("if-none-match", other)]).await.status(), 200);
    let known = get(&serve, KEY, &path, &[("if-none-match", &tag)]).await;
    assert_eq!(known.status(), 304);
    assert!(known.text().await.unwrap().is_empty());
    assert_eq!(get(&serve, OTHER_KEY, &path, &[]).await.status(), 404, "another tenant's");

    let position = close(&ingest, KEY, &issue).await;
    let path = format!("{path}?min_as_of={position}");
    let closed = get(&serve, KEY, &path, &[("if-none-match", &tag)]).await;
    assert_eq!(closed.status(), 200);
    let closed: Value = closed.json().await.unwrap();
    assert!(!closed["ended_at"].is_null() && closed["stale"] == json!(false), "{closed}");
}

/// ClickHouse is away: what has been seen goes on being served, marked as stale; the rest is refused for now.
#[tokio::test(flavor = "multi_thread")]
async fn reads_by_id_go_on_while_the_store_is_away() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let proxy = Proxy::start(&system.config.clickhouse.url).await;
    let serve = system.start_ready("serve", &[&format!("clickhouse.url={}", proxy.url)]).await;
    overdue(&all, KEY, 1, 1).await;
    let seen = async || incidents(&serve, KEY).await.into_values().next();
    let path = format!("/v1/incidents/{}", eventually("the breach", seen).await);
    assert_eq!(serve.get(KEY, &path).await.1["stale"], json!(false));

    proxy.stall(true);
    let stale = async || {
        let (status, answer) = serve.get(KEY, &path).await;
        assert_eq!(status, 200, "{answer}");
        (answer["stale"] == json!(true)).then_some(())
    };
    eventually("an answer that is called stale", stale).await;
    let list = get(&serve, KEY, "/v1/incidents?limit=7", &[]).await;
    assert_eq!(list.status(), 503);
    assert!(list.headers()["retry-after"].to_str().unwrap().parse::<u64>().unwrap() > 0);
    let unknown = get(&serve, KEY, "/v1/incidents/00000000-0000-8000-8000-000000000000", &[]).await;
    assert_eq!(unknown.status(), 503, "whether there is such a row can't be known");

    proxy.stall(false);
    let fresh = async || {
        let list = get(&serve, KEY, "/v1/incidents?limit=7", &[]).await;
        let is_fresh = serve.get(KEY, &path).await.1["stale"] == json!(false);
        (list.status().is_success() && is_fresh).then_some(())
    };
    eventually("all as before", fresh).await;
}

/// How long a stream may say nothing that is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
const STREAM: &str = "/v1/incidents/stream";

/// An event of a stream: its name (empty where it only says where the client stands), id and data.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    pub name: String,
    pub id: String,
    pub data: Value,
}

/// A client of the stream.
pub struct Client {
    response: reqwest::Response,
    buffer: String,
}

impl Client {
    /// Connects to the stream at `path`.
    pub async fn connect(node: &Process, key: &str, path: &str, last: Option<&str>) -> Self {
        let headers: Vec<_> = last.iter().map(|id| ("last-event-id", *id)).collect();
        let response = eventually("a stream", async || {
            let response = get(node, key, path, &headers).await;
            (response.status() == 200).then_some(response)
        });
        Self { response: response.await, buffer: String::new() }
    }

    /// The next event; `None` once the stream has ended.
    pub async fn next(&mut self) -> Option<Told> {
        loop {
            if let Some((block, rest)) = self.buffer.split_once("\n\n") {
                let field = |name: &str| {
                    let mut lines =
                        block.lines().filter_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
                    lines.next().unwrap_or_default().to_owned()
                };
                let data = serde_json::from_str(&field("data")).unwrap_or(Value::Null);
                let told = Told { name: field("event"), id: field("id"), data };
                self.buffer = rest.to_owned();
                return Some(told);
            }
            let chunk = tokio::time::timeout(PATIENCE, self.response.chunk()).await;
            let chunk = chunk.expect("the stream says something").ok()??;
            self.buffer.push_str(str::from_utf8(&chunk).unwrap());
        }
    }

    /// The next event that tells of an incident.
    pub async fn next_incident(&mut self) -> Told {
        let wait = async {
            loop {
                let told = self.next().await.expect("the stream goes on");
                if !told.name.is_empty() {
                    return told;
                }
            }
        };
        tokio::time::timeout(PATIENCE, wait).await.expect("an incident is told of")
    }
}

/// The versions of a tenant's incidents on the log: (id, version), in the order of each partition.
fn versions(system: &System, tenant: &str) -> BTreeMap<i32, Vec<(String, String)>> {
    let version = |message: &rdkafka::message::OwnedMessage| {
        let row: Incident = expected::decode("incidents", message.payload().unwrap());
        (row.meta.tenant == tenant).then(|| (row.meta.id.to_string(), row.meta.version.to_string()))
    };
    let read = system.read_committed("incidents").into_iter();
    read.map(|(partition, messages)| (partition, messages.iter().filter_map(version).collect())).collect()
}

const RECONNECTS: usize = 50;

/// A client that loses its connection 50 times, and comes back to either of two nodes, is told of every version of its
/// tenant's incidents once, in the order of the log.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_resumes_without_a_gap_or_a_repeat() {
    let system = System::new("").await;
    system.set(Some("salem"), json!({ "allowance": "0s" }));
    let (all, second) = (system.start("all", &[]), system.start("serve", &[]));
    all.ready().await;
    second.ready().await;
    // Before the first connection: none of its business.
    overdue(&all, KEY, 5, 5).await;
    system.caught_up().await;
    let before = versions(&system, "boston");

    let mut client = Client::connect(&all, KEY, STREAM, None).await;
    let mut last = client.next().await.unwrap();
    assert!(last.name.is_empty() && !last.id.is_empty(), "first where it stands: {last:?}");
    let nodes = [&all, &second];
    let mut told = Vec::new();
    for turn in 0..RECONNECTS {
        // The connection is lost; meanwhile things happen, of another tenant, too.
        drop(client);
        let issues = overdue(&all, KEY, 6, 7).await;
        overdue(&all, OTHER_KEY, 2, 3).await;
        close(&all, KEY, &issues[turn % 6]).await;
        client = Client::connect(nodes[turn % 2], KEY, STREAM, Some(&last.id)).await;
        for _ in 0..=turn % 4 {
            last = client.next_incident().await;
            told.push(last.clone());
        }
    }
    system.folded().await;
    let mut expected = versions(&system, "boston");
    for (partition, versions) in &mut expected {
        versions.drain(..before[partition].len());
    }
    let total: usize = expected.values().map(Vec::len).sum();
    while told.len() < total {
        told.push(client.next_incident().await);
    }
    println!("{RECONNECTS} reconnects, {total} versions");
    let told: Vec<_> = told
        .iter()
        .map(|told| {
            assert_eq!(told.name, "incident", "{told:?}");
            let text = |name: &str| told.data[name].as_str().unwrap().to_owned();
            (text("id"), text("version"))
        })
        .collect();
    for (partition, versions) in expected {
        let of_partition: Vec<_> =
            told.iter().filter(|version| versions.contains(version)).cloned().collect();
        assert_eq!(of_partition, versions, "of partition {partition}");
    }
    assert_eq!(told.len(), total, "nothing else was told");
}

/// A correction and a retraction are events; a filter leaves what it asks for; another tenant hears nothing of it.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_tells_of_corrections_and_retractions() {
    let system = System::new("").await;
    system.set(Some("salem"), json!({ "allowance": "0s" }));
    let all = system.start_ready("all", &[]).await;
    let mut stranger = Client::connect(&all, OTHER_KEY, STREAM, None).await;
    let mut client =
        Client::connect(&all, KEY, "/v1/incidents/stream?severity=high&rule=sla_breach", None).await;
    let mut elsewhere = Client::connect(&all, KEY, "/v1/incidents/stream?rule=rage_click", None).await;
    for client in [&mut stranger, &mut client, &mut elsewhere] {
        assert!(client.next().await.unwrap().name.is_empty());
    }
    let issue = overdue(&all, KEY, 1, 1).await.remove(0);
    let found = client.next_incident().await;
    assert_eq!((found.name.as_str(), &found.data["subject"]), ("incident", &json!(issue)));
    close(&all, KEY, &issue).await;
    let ended = client.next_incident().await;
    assert_eq!((&ended.data["id"], ended.data["ended_at"].is_null()), (&found.data["id"], false));
    // It was in time after all.
    let body = json!({ "status": "closed", "occurred_at": ago(3600) });
    all.post(KEY, &format!("/v1/issues/{issue}/status"), &body).await;
    let retracted = client.next_incident().await;
    assert_eq!((retracted.name.as_str(), &retracted.data["id"]), ("retraction", &found.data["id"]));
    assert_eq!(retracted.data["merged_into"], Value::Null);
    let (status, _) = all.get(KEY, &format!("/v1/incidents/{}", found.data["id"].as_str().unwrap())).await;
    assert_eq!(status, 404, "a node never goes back behind what it has told");

    // What the others were told meanwhile: their own.
    let own = overdue(&all, OTHER_KEY, 1, 1).await.remove(0);
    assert_eq!(stranger.next_incident().await.data["subject"], json!(own));
    drop(elsewhere);
}

/// A stream that begins with what the tables lack has all of it, and with a list that is read then every incident.
#[tokio::test(flavor = "multi_thread")]
async fn i6_a_stream_and_a_list_have_everything_between_them() {
    let system = System::new("").await;
    let serve = system.start_ready("serve", &[]).await;
    let at = sessions::now() - 60_000;
    let emit = |number: u128| {
        let session = format!("s-{number}");
        let meta = sessions::meta("boston", &session, number, 5);
        sessions::emit_incidents(&system, [sessions::incident(meta, &session, "rage_click", at)]);
        uuid::Uuid::from_u128(number).to_string()
    };
    let mut now = Client::connect(&serve, KEY, STREAM, None).await;
    let mut expected: BTreeSet<String> = (1..=6).map(emit).collect();
    for _ in 0..6 {
        now.next_incident().await;
    }
    let stored = format!("{STREAM}?begin=stored");
    let mut stream = Client::connect(&serve, KEY, &stored, None).await;
    assert!(incidents(&serve, KEY).await.is_empty(), "no sink has stored any");
    let mut told = BTreeSet::new();
    for _ in 0..6 {
        told.insert(stream.next_incident().await.data["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(told, expected);

    let _sink = system.start_ready("sink", &[]).await;
    system.stored().await;
    eventually("the tables as this node sees them", async || {
        (incidents(&serve, KEY).await.len() == 6).then_some(())
    })
    .await;
    // All is in the tables: first it is told where it stands, then what comes.
    eventually("a stream that begins behind them", async || {
        let mut stream = Client::connect(&serve, KEY, &stored, None).await;
        stream.next().await?.name.is_empty().then_some(())
    })
    .await;
    let mut stream = Client::connect(&serve, KEY, &stored, None).await;
    let id = emit(7);
    assert_eq!(stream.next_incident().await.data["id"], json!(id));
    expected.insert(id);
    eventually("all in the tables", async || {
        (incidents(&serve, KEY).await.into_values().collect::<BTreeSet<_>>() == expected).then_some(())
    })
    .await;
}

/// A position that retention has taken, or that no log of this topic ever had: the client is told to begin anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_says_where_what_was_missed_is_gone() {
    let system = System::new("").await;
    let all = system.start_ready("all", &[]).await;
    let mut client = Client::connect(&all, KEY, STREAM, None).await;
    let first = client.next().await.unwrap().id;
    overdue(&all, KEY, 3, 1).await;
    for _ in 0..3 {
        client.next_incident().await;
    }
    let (partition, records) =
        system.read_committed("incidents").into_iter().find(|(_, r)| !r.is_empty()).unwrap();
    delete_before(&system, "incidents", partition.into(), records[1].offset()).await;
    for last in [first.as_str(), "incidents:0@999999"] {
        let mut client = Client::connect(&all, KEY, STREAM, Some(last)).await;
        let reset = client.next().await.unwrap();
        assert_eq!(reset.name, "reset", "{reset:?}");
        overdue(&all, KEY, 1, 1).await;
        assert_eq!(client.next_incident().await.name, "incident", "what comes then is told");
    }
    for wrong in ["nonsense", "civic:0@1"] {
        let answer = get(&all, KEY, STREAM, &[("last-event-id", wrong)]).await;
        assert_eq!(answer.status(), 422);
        let answer: Value = answer.json().await.unwrap();
        assert_eq!(answer["error"]["details"]["field"], json!("Last-Event-ID"));
    }
}
