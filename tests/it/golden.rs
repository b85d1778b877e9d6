//! What the row routes answer, byte by byte, as it was recorded: code that is made anew answers the same.
//!
//! `tests/data/golden/rows.json` says what lies on the topics, `asked/*.txt` what is asked, and `answered/*.txt` what the
//! answers were. `GOLDEN_RECORD=1` records them anew.

mod answers;
mod rows;

use tidewatch::log::{LogPosition, topics};

use self::answers::{Golden, Stream};
use self::rows::Rows;
use crate::explain::delete_before;
use crate::system::{KEY, OTHER_KEY, Process, System, eventually};

/// The key of a tenant that has more signals than a page, an incident whose end is beyond all calendars, and nothing else.
const LOWELL_KEY: &str = "key-of-lowell";
const LOWELL: &str = r#"
    [[api_keys]]
    key = "key-of-lowell"
    tenant = "lowell"
    scopes = ["read"]
"#;
/// So little that a node keeps no row: each comes from ClickHouse.
const NO_CACHE: [&str; 1] = ["serve.cache_bytes=1"];

/// What nodes are called where they answer otherwise.
const KEEPING: &str = "a node that has seen all rows";
const BARE: &str = "a node that keeps no row";

/// The topics of rows.
const TOPICS: [&str; 4] = ["incidents", "signals", "sessions", "sla-metrics"];
/// What is asked of a node that has all there is, however it has come to it.
const ROUTES: [&str; 5] = ["incidents", "signals", "sessions", "timeline", "sla"];
/// Routes that are as far as this node's tail.
const OF_TAIL: [&str; 2] = [
    "/v1/incidents/0000000a-0000-8000-8000-000000000001",
    "/v1/sessions/0000000c-0000-8000-8000-000000000001",
];
/// Routes that are as far as the tables.
const OF_TABLES: [&str; 5] = [
    "/v1/incidents?limit=1",
    "/v1/signals?limit=1",
    "/v1/sessions?limit=1",
    "/v1/sla?by=area",
    "/v1/sessions/0000000c-0000-8000-8000-000000000001/timeline",
];
/// The last signal of those that come later, all of one partition.
const LAST_SIGNAL: &str = "/v1/signals?session=sentinel";
/// The last incident of those.
const LAST_INCIDENT: &str = "0000000a-0000-8000-8000-0000000000ff";

/// The key of a tenant, as `asked/*.txt` calls it.
fn key(tenant: &str) -> &'static str {
    match tenant {
        "boston" => KEY,
        "salem" => OTHER_KEY,
        "lowell" => LOWELL_KEY,
        _ => "key-of-nobody",
    }
}

/// A node that has seen all rows come, one that keeps none of them, and one that has seen none of them answer the same, as
/// ever; and while the tables lag behind the log, the first two what they have.
#[tokio::test(flavor = "multi_thread")]
async fn rows_are_answered_as_they_were_recorded() {
    let system = System::new(LOWELL).await;
    // Rows of any age stay.
    each_table(&system, |table| format!("ALTER TABLE {table} REMOVE TTL")).await;
    let (rows, mut golden) = (Rows::load(), Golden::default());
    let sink = system.start_ready("sink", &[]).await;
    let (keeping, bare) = (system.start("serve", &[]), system.start("serve", &NO_CACHE));
    keeping.ready().await;
    bare.ready().await;
    let position = rows.emit(&system, "first", 1_000);
    system.stored().await;
    for node in [&keeping, &bare] {
        reached(node, &OF_TABLES, &position).await;
        reached(node, &OF_TAIL, &position).await;
    }

    let mut listener = Stream::connect(&keeping, KEY, "/v1/incidents/stream").await;
    listener.until(|event| event.starts_with("id:")).await;
    assert!(sink.terminate().await.success());
    let before = [text(&keeping, LAST_SIGNAL).await, text(&bare, LAST_SIGNAL).await];
    let position = rows.emit(&system, "later", 2_000);
    for (node, before) in [&keeping, &bare].into_iter().zip(before) {
        reached(node, &OF_TAIL, &position).await;
        eventually("the last signal", async || (text(node, LAST_SIGNAL).await != before).then_some(())).await;
    }
    let told = listener.until(|event| event.contains(LAST_INCIDENT)).await;
    // After a silence it is told where it stands once more.
    let events = told.split_inclusive("\n\n").filter(|event| !event.starts_with("id:"));
    golden.node = KEEPING;
    golden.compare("told", &events.collect::<String>());
    golden.ask(&keeping, "lagging", "lagging").await;
    golden.node = BARE;
    golden.ask(&bare, "lagging", "lagging_without_cache").await;

    let _sink = system.start_ready("sink", &[]).await;
    system.stored().await;
    golden.ask(&bare, "gone", "gone").await;
    for (name, node) in [(KEEPING, &keeping), (BARE, &bare)] {
        golden.node = name;
        reached(node, &OF_TABLES, &position).await;
        for asked in ROUTES.into_iter().chain(["streams", "evidence"]) {
            golden.ask(node, asked, asked).await;
        }
    }

    for topic in TOPICS {
        for (partition, (_, end)) in (0..).zip(system.bounds(topic)) {
            delete_before(&system, topic, partition, end).await;
        }
    }
    // Which older versions a table still has is up to its merges.
    each_table(&system, |table| format!("OPTIMIZE TABLE {table} FINAL")).await;
    assert!(TOPICS.iter().all(|topic| system.read_committed(topic).values().all(Vec::is_empty)));
    let late = system.start_ready("serve", &NO_CACHE).await;
    golden.node = "a node that has seen no row";
    reached(&late, &OF_TABLES, &position).await;
    for asked in ROUTES {
        golden.ask(&late, asked, asked).await;
    }
    for asked in ["streams", "evidence"] {
        golden.ask(&late, asked, &format!("{asked}_of_a_cut_log")).await;
    }
    golden.finish();
}

/// Has ClickHouse do something with the table of each topic of rows.
async fn each_table(system: &System, statement: impl Fn(&str) -> String) {
    for topic in TOPICS {
        let table = topics::named(topic).unwrap().table.as_ref().unwrap();
        system.query(&statement(table)).await;
    }
}

/// Waits until what is answered under each of `paths` holds `position`.
async fn reached(node: &Process, paths: &[&str], position: &LogPosition) {
    for path in paths {
        let separator = if path.contains('?') { '&' } else { '?' };
        let path = format!("{path}{separator}min_as_of={position}");
        let is_there = async || {
            let as_of: LogPosition =
                get(node, &path).await.headers().get("x-as-of")?.to_str().ok()?.parse().ok()?;
            as_of.covers(position).then_some(())
        };
        eventually(&path, is_there).await;
    }
}

/// An answer to boston.
async fn get(node: &Process, path: &str) -> reqwest::Response {
    let request = reqwest::Client::new().get(format!("{}{path}", node.url)).bearer_auth(KEY);
    request.send().await.unwrap()
}

/// Its body.
async fn text(node: &Process, path: &str) -> String {
    get(node, path).await.text().await.unwrap()
}
