//! What a person decides about a job that can't go on: `tidewatch skip` and `tidewatch refold`.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};

use tidewatch::engine::id;
use tidewatch::engine::rows::{Accounting, RowMeta};
use tidewatch::families::civic::sla::rows::SlaMetric;
use tidewatch::families::incident::Incident;
use tidewatch::log::topics;
use tidewatch::runtime;
use uuid::Uuid;

use crate::expected;
use crate::load::send;
use crate::odd::{SETTINGS, fold, says};
use crate::sessions;
use crate::system::{BINARY, System, eventually};

/// The last version of each row of the job `sla`, of some records: its provenance, and what it says.
fn last(records: impl Iterator<Item = (&'static str, Vec<u8>)>) -> BTreeMap<Uuid, (RowMeta, String)> {
    let mut rows = BTreeMap::<Uuid, (RowMeta, String)>::new();
    for (topic, value) in records {
        let (meta, text) = if topic == "incidents" {
            let row: Incident = expected::decode(topic, &value);
            let text = format!("{} {:?} {} {:?}", row.subject, row.severity, row.started_at, row.ended_at);
            (row.meta, text)
        } else {
            let row: SlaMetric = expected::decode(topic, &value);
            (row.meta, format!("{} {} {:?} {}", row.issue_id, row.area, row.resolved_at, row.met))
        };
        let known = rows.get(&meta.id).map_or(-1, |(known, _)| known.version);
        if meta.operator == "sla" && known < meta.version {
            rows.insert(meta.id, (meta, text));
        }
    }
    rows
}

const TOPICS: [&str; 2] = ["incidents", "sla-metrics"];

/// The rows that the topics have.
fn rows(system: &System) -> BTreeMap<Uuid, (RowMeta, String)> {
    last(TOPICS.into_iter().flat_map(|topic| {
        let records = expected::committed(system, topic).into_values().flatten();
        records.map(move |(_, value)| (topic, value))
    }))
}

/// What holds, without what tells epochs apart.
fn current(rows: BTreeMap<Uuid, (RowMeta, String)>) -> BTreeMap<Uuid, String> {
    let rows = rows.into_iter().filter(|(_, (meta, _))| !meta.retracted);
    rows.map(|(id, (meta, text))| (id, format!("{text} {:?}", meta.evidence))).collect()
}

/// What holds by a fold of the whole log in memory.
fn folded(system: &System) -> BTreeMap<Uuid, String> {
    let rows = expected::rows(system).into_iter().filter(|row| TOPICS.contains(&row.topic));
    current(last(rows.map(|row| (row.topic, row.value))))
}

/// Offsets that were skipped, by partition.
fn skipped(system: &System) -> BTreeMap<i32, i64> {
    let mut last = BTreeMap::<_, Accounting>::new();
    for (_, value) in expected::committed(system, "accounting").into_values().flatten() {
        let row: Accounting = expected::decode("accounting", &value);
        let place = (row.operator.clone(), row.partition, row.tenant.clone(), row.hour);
        if last.get(&place).is_none_or(|known| known.version <= row.version) {
            last.insert(place, row);
        }
    }
    let mut skipped = BTreeMap::new();
    for row in last.into_values().filter(|row| row.operator == "sla" && row.skipped > 0) {
        *skipped.entry(row.partition).or_default() += row.skipped;
    }
    skipped
}

async fn skip(system: &System, partition: i32) {
    let partition = partition.to_string();
    let said = eventually("the group to be empty", async || {
        let (status, told) = system.run("skip", &["sla", "--partition", &partition]).await;
        (status.success() || !told.contains("are at work")).then_some((status, told))
    });
    let (status, told) = said.await;
    assert!(status.success(), "{told}");
}

/// Records that nobody has folded are deleted: what was passed over is counted, and the fold goes on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn i7_what_is_skipped_is_counted() {
    let system = System::new("").await;
    send(&system, 81, 1_000);
    let worker = system.start_ready("process", &SETTINGS).await;
    system.folded().await;
    let (status, told) = system.run("skip", &["sla", "--partition", "2"]).await;
    assert!(
        !status.success() && told.contains("workers of the job sla are at work: stop them first"),
        "{told}"
    );
    assert!(worker.terminate().await.success());
    for (arguments, expected) in [
        (["slo", "--partition", "2"], "there is no job slo; there are sla, interactions"),
        (["sla", "--partition", "4"], "the topic civic has no partition 4"),
        (["sla", "--partition", "2"], "nothing is to be passed over"),
    ] {
        let (status, told) = system.run("skip", &arguments).await;
        assert!(!status.success() && told.contains(expected), "{told}");
    }

    send(&system, 82, 1_000);
    let committed = system.committed(&runtime::group("sla"), "civic");
    system.delete_before("civic", 2, committed[&2] + 5).await;
    let worker = system.start("process", &SETTINGS);
    says(&worker, "were deleted before they were folded").await;
    assert!(worker.terminate().await.success());
    skip(&system, 2).await;
    assert_eq!(system.committed(&runtime::group("sla"), "civic")[&2], committed[&2] + 5);
    fold(&system).await;
    assert_eq!(skipped(&system), BTreeMap::from([(2, 5)]));
}

/// The topic is made anew: the state stays, and what the new one holds is folded under a further epoch.
#[tokio::test(flavor = "multi_thread")]
async fn i6_a_topic_made_anew_is_folded_under_a_further_epoch() {
    let system = System::new("").await;
    send(&system, 83, 1_000);
    fold(&system).await;
    let before = rows(&system);
    assert!(before.values().all(|(meta, _)| id::epoch(meta.version) == 0));
    system.remake_civic().await;
    send(&system, 84, 1_000);
    for partition in 0..topics::named("civic").unwrap().partitions {
        skip(&system, partition).await;
    }
    fold(&system).await;
    let after = rows(&system);
    assert!(before.keys().all(|id| after.contains_key(id)), "what was there is there");
    let new = after.values().filter(|(meta, _)| id::epoch(meta.version) == 1);
    assert!(new.count() > 10, "and so is what is new");
    assert!(skipped(&system).is_empty());
}

/// A job is folded anew, killed in the midst, and goes on: each row is there again under a higher version, and one that nothing emits
/// any more is retracted.
#[tokio::test(flavor = "multi_thread")]
async fn i6_a_refold_replaces_all_rows_and_retracts_what_is_gone() {
    let system = System::new("").await;
    send(&system, 85, 6_000);
    fold(&system).await;
    let before = current(rows(&system));
    assert!(before.len() > 100, "{}", before.len());
    assert_eq!(before, folded(&system));
    let mut stranger = sessions::meta("boston", "gone", 1_234, 7);
    stranger.operator = "sla".into();
    sessions::emit_incidents(&system, [sessions::incident(stranger.clone(), "gone", "x", 0)]);
    assert_eq!(current(rows(&system)).len(), before.len() + 1);

    let refold = |arguments: &[&str]| {
        let mut command = Command::new(BINARY);
        command.args(["refold", "sla", "--config", system.file(), "--set", SETTINGS[0]]).args(arguments);
        command.args(["--set", "process.commit_outputs=20"]).stdout(Stdio::null());
        command.spawn().unwrap()
    };
    let mut killed = refold(&[]);
    eventually("a part of the fold", async || {
        let is_anew = rows(&system).values().any(|(meta, _)| id::epoch(meta.version) == 1);
        is_anew.then_some(())
    })
    .await;
    killed.kill().unwrap();
    killed.wait().unwrap();
    let known = current(rows(&system));
    assert!(before.keys().all(|id| known.contains_key(id)), "nobody is without a row meanwhile");

    eventually("its group to be empty, and the rest", async || {
        let mut child = refold(&["--continue"]);
        let status = tokio::task::spawn_blocking(move || child.wait().unwrap()).await.unwrap();
        status.success().then_some(())
    })
    .await;
    assert_eq!(current(rows(&system)), folded(&system));
    let after = rows(&system);
    assert!(after.values().all(|(meta, _)| id::epoch(meta.version) == 1));
    assert!(after[&stranger.id].0.retracted);
    // And it goes on from there.
    send(&system, 86, 1_000);
    fold(&system).await;
    assert_eq!(current(rows(&system)), folded(&system));
}
