//! State comes back from the changelog, not from the family topic, and faster from a local copy.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::SystemTime;

use rdkafka::Message;
use rdkafka::message::OwnedMessage;
use tidewatch::families;
use tidewatch::runtime;

use crate::chaos::end_exactly_once;
use crate::expected;
use crate::load;
use crate::load::Load;
use crate::system;
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

/// After an orderly end a restart reads next to nothing; a copy that is damaged or foreign is passed over, and the changelog
/// read instead. Nobody sees a difference.
#[tokio::test(flavor = "multi_thread")]
async fn i5_local_snapshots_only_save_work() {
    let system = System::new("").await;
    let folder = system.folder().join("state");
    let state = format!("process.state_dir={}", folder.display());
    let settings = [&*state, "process.session_timeout=1s"];
    let snapshots = || -> Vec<_> {
        let files = fs::read_dir(&folder).unwrap().map(|file| file.unwrap().path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        files
    };
    send(&system, 21);
    assert!(fold(&system, &settings).await.terminate().await.success());
    let partitions: i32 = families::SETTINGS.iter().map(|family| system::partitions(family.name)).sum();
    assert_eq!(snapshots().len(), partitions as usize, "one a partition of each family, and no draft");

    send(&system, 22);
    let worker = fold(&system, &settings).await;
    let tail = worker.metric("tidewatch_restored_records_total").await;
    assert!(worker.terminate().await.success());

    // One has a bit that flipped, one lies in another's place: of the job of which there is something.
    let of_sla = |file: &PathBuf| file.to_string_lossy().contains("changelog-sla");
    let files: Vec<PathBuf> = snapshots().into_iter().filter(of_sla).collect();
    let mut bytes = fs::read(&files[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&files[0], bytes).unwrap();
    fs::copy(&files[2], &files[1]).unwrap();
    send(&system, 23);
    let worker = fold(&system, &settings).await;
    let whole = worker.metric("tidewatch_restored_records_total").await;
    assert!(worker.terminate().await.success());
    println!(
        "records of the changelog that were read: {tail} with snapshots, {whole} where two of four are useless"
    );
    assert!(tail < 10.0 && whole > 1_000.0);
    expected::assert_all_exactly_once(&system, &expected::rows(&system));
}

/// A worker that is killed leaves copies that are older than its last commit: the tail of the changelog makes up for it.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_local_snapshot_and_the_tail_are_the_last_commit() {
    let system = System::new("").await;
    let folder = system.folder().join("state");
    let state = format!("process.state_dir={}", folder.display());
    let quick = [&*state, "process.session_timeout=1s", "process.snapshot_interval=300ms"];
    let load = Load::start(&system, 91, 8);
    for _ in 0..3 {
        let worker = system.start_ready("process", &quick).await;
        let began = SystemTime::now();
        eventually("a copy of each partition", async || {
            let files = fs::read_dir(&folder).ok()?.filter_map(Result::ok);
            let sla = files.filter(|file| file.file_name().to_string_lossy().contains("sla"));
            let written = sla.filter_map(|file| file.metadata().ok()?.modified().ok());
            (written.filter(|written| *written > began).count() >= 4).then_some(())
        })
        .await;
        worker.kill();
    }
    load.stop();
    // Nobody writes any more copies: what follows is in the changelog alone.
    let slow = [&*state, "process.session_timeout=1s", "process.snapshot_interval=1h"];
    let worker = fold(&system, &slow).await;
    send(&system, 92);
    system.folded().await;
    worker.kill();
    let whole: i64 = system.bounds("changelog-sla").iter().map(|(_, end)| end).sum();
    let worker = system.start_ready("process", &slow).await;
    let tail = worker.metric("tidewatch_restored_records_total").await;
    println!("{tail} of {whole} records of the changelog were read beside the copies");
    assert!(tail > 1_000.0 && tail < 0.9 * whole as f64);
    send(&system, 93);
    end_exactly_once(&system, [worker]).await;
}
