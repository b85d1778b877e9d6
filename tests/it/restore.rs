//! State comes back from the changelog, not from the family topic.

use std::collections::BTreeMap;
use std::fs;

use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use tidewatch::runtime;

use crate::chaos::end_exactly_once;
use crate::expected;
use crate::load;
use crate::load::Load;
use crate::system::{Process, System, eventually};

const RECORDS: usize = 5_000;

/// A worker that has folded everything in the log.
async fn fold(system: &System, settings: &[&str]) -> Process {
    let worker = system.start_ready("process", settings).await;
    system.folded().await;
    worker
}

fn send(system: &System, seed: u64) {
    load::send(system, seed, RECORDS);
}

/// What a worker that was killed in the midst of a commit had folded is read again; nothing else is.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_restart_reads_the_changelog_and_not_the_log() {
    let system = System::new("").await;
    send(&system, 11);
    assert!(fold(&system, &[]).await.terminate().await.success());
    let first = system.committed(&runtime::group("sla"), "civic");
    send(&system, 12);
    let (killed, _) = system.start_until("drained", &["process.session_timeout=1s"]).await;
    killed.kill();
    let committed = system.committed(&runtime::group("sla"), "civic");
    let log = system.read_committed("civic");
    let length = |log: &BTreeMap<i32, Vec<OwnedMessage>>| log.values().map(Vec::len).sum::<usize>();
    assert!(
        committed.iter().all(|(partition, offset)| *offset >= first[partition]),
        "what the first worker had committed stays so"
    );
    let uncommitted = |(partition, records): (&i32, &Vec<OwnedMessage>)| {
        records.iter().filter(|record| record.offset() >= committed[partition]).count()
    };
    let again: usize = log.iter().map(uncommitted).sum();
    let worker = fold(&system, &["process.session_timeout=1s"]).await;
    let (restored, read) = (
        worker.metric("tidewatch_restored_records_total").await,
        worker.metric("tidewatch_records_total").await,
    );
    println!("read after the kill: {restored} records of the changelog, {read} of the family topic");
    assert!(worker.terminate().await.success());
    let marks = length(&system.read_committed("civic")) - length(&log);
    assert!(
        read >= again as f64 && read <= (again + marks) as f64,
        "{read} of {again} and {marks} new marks"
    );
    assert!(restored > 0.0);
    expected::assert_all_exactly_once(&system, &expected::rows(&system));
}

/// Checkpoints keep the changelog short: what lies before the last one is deleted, and a restart does not read it. Where it can't
/// be deleted, a restart reads more and finds the same.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_checkpoint_shortens_the_changelog() {
    let system = System::new("").await;
    let settings = ["process.checkpoint_bytes=20000", "process.session_timeout=1s"];
    let load = Load::start(&system, 21, 8);
    let worker = system.start_ready("process", &settings).await;
    eventually("a changelog that was cut off", async || {
        system.starts("changelog-sla").iter().all(|start| *start > 0).then_some(())
    })
    .await;
    load.stop();
    system.folded().await;
    worker.kill();
    let (starts, bounds) = (system.starts("changelog-sla"), system.bounds("changelog-sla"));
    let kept: i64 = starts.iter().zip(&bounds).map(|(start, (_, end))| end - start).sum();
    let worker = fold(&system, &settings).await;
    let restored = worker.metric("tidewatch_restored_records_total").await;
    let all: i64 = bounds.iter().map(|(_, end)| end).sum();
    println!("{restored} of {all} records of the changelog were read, {kept} were kept");
    assert!(restored > 0.0 && restored < all as f64);
    send(&system, 23);
    end_exactly_once(&system, [worker]).await;
}

/// Somebody has deleted what no checkpoint makes up for: the worker says so, and folds nothing.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_changelog_without_its_beginning_is_refused() {
    let system = System::new("").await;
    send(&system, 31);
    assert!(fold(&system, &[]).await.terminate().await.success());
    system.delete_before("changelog-sla", 0, 3).await;
    let file = system.folder().join("told");
    let worker = system.start_telling_into("process", &[], &file);
    eventually("the refusal", async || {
        let told = fs::read_to_string(&file).unwrap();
        told.contains("is not whole: it begins at offset").then_some(())
    })
    .await;
    worker.kill();
}
