//! Kill −9 at the worst moments: the log and the tables must not show it.

use std::path::PathBuf;

use tidewatch::families::civic::demo::boston;
use tidewatch::families::civic::demo::boston::Request;
use tidewatch::families::civic::demo::sender::Sender;

use crate::expected;
use crate::proxy::Proxy;
use crate::system::{KEY, System, eventually};

fn requests() -> Vec<Request> {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/2011-07_requests.csv");
    boston::requests(&file).unwrap()
}

async fn send(url: &str, requests: &[Request], steps: std::ops::Range<usize>, sender: &mut Option<Sender>) {
    let sender = sender.get_or_insert_with(|| Sender::new(url, KEY));
    for step in &boston::steps(requests)[steps] {
        sender.push(step).await.unwrap();
    }
    sender.flush().await.unwrap();
}

const KILLS: usize = 5;

/// The month is sent while the worker is killed five times inside a transaction that holds outputs; then it is
/// sent a second time. Neither shows.
#[tokio::test(flavor = "multi_thread")]
async fn i5_killed_workers_lose_and_repeat_nothing() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let requests = requests();
    let length = boston::steps(&requests).len();
    let mut sender = None;
    let mut kills = 0;
    for (part, step) in ["outputs", "changelog", "drained", "offsets", "outputs"].into_iter().enumerate() {
        send(&ingest.url, &requests, part * length / KILLS..(part + 1) * length / KILLS, &mut sender).await;
        let (worker, _) = system.start_until(step, &["process.session_timeout=1s"]).await;
        worker.kill();
        kills += 1;
    }
    println!("kills inside an open transaction that held outputs: {kills}");
    let worker = system.start_ready("process", &[]).await;
    send(&ingest.url, &requests, 0..length, &mut None).await;
    system.folded().await;
    assert!(worker.terminate().await.success());

    let rows = expected::rows(&system);
    for topic in ["incidents", "sla-metrics", "dead-letters"] {
        expected::assert_exactly_once(&system, &rows, topic);
    }
    let aborted = |topic| -> usize {
        let count =
            |records: std::collections::BTreeMap<i32, Vec<_>>| records.values().map(Vec::len).sum::<usize>();
        count(system.read_uncommitted(topic)) - count(system.read_committed(topic))
    };
    assert!(aborted("incidents") + aborted("sla-metrics") > 0, "the kills left no aborted output");
    let (incidents, metrics) = expected::current(&rows);
    let reported = |source: &str| source == "reported";
    let breaches: Vec<_> = incidents.values().filter(|row| reported(&row.attributes["due_source"])).collect();
    assert_eq!(breaches.len(), 1_864);
    assert_eq!(breaches.iter().filter(|row| row.ended_at.is_none()).count(), 646);
    let closed: Vec<_> = metrics.values().filter(|row| reported(row.due_source.as_str())).collect();
    assert_eq!((closed.len(), closed.iter().filter(|row| row.met).count()), (7_511, 6_293));
}

/// The same month, while the sink is killed five times, each time with an insert under way that ClickHouse has not seen
/// the end of.
#[tokio::test(flavor = "multi_thread")]
async fn i6_killed_sinks_leave_the_tables_as_the_log() {
    let system = System::new("").await;
    let ingest = system.start_ready("ingest", &[]).await;
    let worker = system.start_ready("process", &[]).await;
    let requests = requests();
    let length = boston::steps(&requests).len();
    let proxy = Proxy::start(&system.config.clickhouse.url).await;
    let through_proxy = format!("clickhouse.url={}", proxy.url);
    let settings = ["sink.batch_rows=50", &through_proxy];
    let mut sender = None;
    for part in 0..KILLS {
        proxy.stall(false);
        let sink = system.start_ready("sink", &settings).await;
        proxy.stall(true);
        send(&ingest.url, &requests, part * length / KILLS..(part + 1) * length / KILLS, &mut sender).await;
        eventually("rows that are held back", async || (proxy.held_back() > 0).then_some(())).await;
        // Long enough for a wrong commit to show: what is committed is settled by the group's answer.
        system.folded().await;
        sink.kill();
    }
    println!("sinks killed inside an insert: {KILLS}");
    let sink = system.start_ready("sink", &[]).await;
    system.folded().await;
    assert!(worker.terminate().await.success());
    system.stored().await;
    expected::assert_tables_follow(&system, &expected::rows(&system)).await;
    assert!(sink.terminate().await.success());
}
