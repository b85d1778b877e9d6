//! Exactly once (I5) under kill −9, zombies, rebalances and a broker that goes away: what a plain reader of committed
//! records sees is, record for record, the fold of the log.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use tidewatch::engine::rows::{Accounting, Progress};
use tidewatch::families;
use tidewatch::runtime;
use tidewatch_local::parts::PartName;
use tidewatch_local::{Stack, StackOptions};

use crate::expected;
use crate::expected::OUTPUTS;
use crate::load::Load;
use crate::system::{BINARY, Process, System, eventually};

/// Steps of a commit at which the transaction is open and holds outputs; from `committed` on it isn't.
const STEPS: [&str; 6] = ["outputs", "changelog", "drained", "offsets", "committed", "checkpoint"];

/// How long the kills may take in `cargo test`, and how many there are at most. `CHAOS_KILLS=1000` asks for a number
/// instead (`just chaos`).
fn limit() -> (Duration, usize) {
    match std::env::var("CHAOS_KILLS") {
        Ok(kills) => (Duration::MAX, kills.parse().expect("CHAOS_KILLS is a number")),
        Err(_) => (Duration::from_secs(120), 60),
    }
}

/// Kills on one log before another one begins: the time that a round takes grows with the state.
const KILLS_A_LOG: usize = 60;

/// A worker of a name, quick to be missed. One has two threads and small transactions, which end between two timers of one
/// record: neither shows (I2).
fn settings(instance: &str) -> [String; 5] {
    let (threads, outputs) = if instance == "other" { (2, 5) } else { (1, 20_000) };
    [
        format!("process.instance={instance}"),
        "process.session_timeout=1s".to_owned(),
        format!("process.threads={threads}"),
        format!("process.commit_outputs={outputs}"),
        // One checkpoint follows the other, in slices.
        "process.checkpoint_bytes=5000".to_owned(),
    ]
}

async fn start_until(system: &System, instance: &str, step: &str) -> (Process, usize) {
    let settings = settings(instance);
    system.start_until(step, &settings.each_ref().map(String::as_str)).await
}

async fn start_ready(system: &System, instance: &str) -> Process {
    let settings = settings(instance);
    system.start_ready("process", &settings.each_ref().map(String::as_str)).await
}

/// The sequence of each derived topic is that of the fold, and the accounts are right (I7).
pub async fn assert_exactly_once(system: &System) {
    let (_, totals) = expected::fold(system, &families::civic::sla_job());
    let data = expected::data_records(system, "civic");
    expected::assert_all_exactly_once(system, &expected::rows(system));
    let mut last = BTreeMap::new();
    for (_, value) in expected::committed(system, "accounting").into_values().flatten() {
        let row: Accounting = expected::decode("accounting", &value);
        if row.topic != "civic" {
            continue;
        }
        let former = last.insert((row.partition, row.hour, row.tenant.clone()), row.clone());
        let goes_on = |former: Accounting| {
            former.version < row.version || (former.version == row.version && former == row)
        };
        assert!(former.is_none_or(goes_on), "an account goes back, or says two things: {row:?}");
    }
    assert_progress_names_all_rows(system);
    for (partition, totals) in totals {
        let accounts = last.values().filter(|row| row.partition == partition);
        let [read, folded, duplicate, late, dead] = accounts.fold([0; 5], |sum, row| {
            let counts = [row.read, row.folded, row.duplicate, row.late, row.dead_lettered];
            std::array::from_fn(|place| sum[place] + counts[place] as u64)
        });
        let records = totals.records;
        assert_eq!(read, folded + duplicate + late + dead, "I7: each record has one outcome");
        let counted = [folded, duplicate, late, dead];
        assert_eq!(counted, [records.folded, records.duplicate, records.late, records.dead_lettered]);
        assert_eq!(read, data[&partition], "I7: nothing vanishes");
    }
}

/// Whoever says how far a partition has been folded names the ends of all that follows from it, of former owners' and former
/// producers' rows, too: a reader takes what is not named for nothing to wait for.
fn assert_progress_names_all_rows(system: &System) {
    let mut last = BTreeMap::<_, (i64, BTreeMap<_, i64>)>::new();
    for (_, value) in expected::committed(system, "progress").into_values().flatten() {
        let row: Progress = expected::decode("progress", &value);
        let ends: BTreeMap<_, i64> =
            row.outputs.into_iter().map(|end| ((end.topic, end.partition), end.offset)).collect();
        let (offset, former) = last.entry((row.topic, row.partition)).or_default();
        for (place, end) in &*former {
            let named = ends.get(place);
            assert!(
                row.offset < *offset || named.is_some_and(|named| named >= end),
                "{place:?} ended at {end}, and now at {named:?}"
            );
        }
        if row.offset >= *offset {
            (*offset, *former) = (row.offset, ends);
        }
    }
}

/// Kills a worker at each step of its commits and at random moments, first alone, then beside another one that takes over
/// and hands back.
#[tokio::test(flavor = "multi_thread")]
async fn i5_kills_at_every_step_lose_and_repeat_nothing() {
    let (time, kills) = limit();
    let began = Instant::now();
    let mut tally = Tally::default();
    for seed in 0.. {
        let left = time.saturating_sub(began.elapsed());
        if tally.killed >= kills || left.is_zero() {
            break;
        }
        let kills = KILLS_A_LOG.min(kills - tally.killed);
        kill_on_one_log(&mut tally, seed, left, kills).await;
        println!(
            "{} kills inside an open transaction that held outputs, {} records:",
            tally.killed, tally.sent
        );
        for (step, (kills, outputs)) in &tally.steps {
            println!("  at {step}: {kills} kills, {outputs} outputs in their transactions");
        }
    }
    for step in STEPS {
        assert!(tally.steps.contains_key(step), "no worker was killed at {step}");
    }
}

/// What was done so far.
#[derive(Default)]
struct Tally {
    killed: usize,
    sent: usize,
    /// By step: kills, and the outputs in the transactions they interrupted.
    steps: BTreeMap<&'static str, (usize, usize)>,
}

async fn kill_on_one_log(tally: &mut Tally, seed: u64, time: Duration, kills: usize) {
    let system = System::new("").await;
    let load = Load::start(&system, seed, 12);
    let began = Instant::now();
    let aim = tally.killed + kills;
    let mut other = None;
    for round in 0.. {
        if tally.killed >= aim || began.elapsed() > time {
            break;
        }
        // From the middle on there is another worker beside it.
        if other.is_none() && (tally.killed + kills / 2 >= aim || began.elapsed() > time / 2) {
            other = Some(start_ready(&system, "other").await);
        }
        let step = STEPS.into_iter().chain(["random"]).cycle().nth(round).unwrap();
        let outputs = if step == "random" {
            kill_at_random(&system, seed * 1_000 + round as u64, other.is_some()).await
        } else {
            let (worker, outputs) = start_until(&system, "one", step).await;
            worker.kill();
            outputs
        };
        if outputs > 0 {
            let (kills, interrupted) = tally.steps.entry(step).or_default();
            *kills += 1;
            *interrupted += outputs;
            tally.killed += usize::from(!["committed", "checkpoint"].contains(&step));
        }
    }
    tally.sent += load.stop();
    let worker = start_ready(&system, "one").await;
    end_exactly_once(&system, [worker].into_iter().chain(other)).await;
}

/// Lets a worker run, and kills it when its open transaction happens to hold outputs; returns how many that were at least.
async fn kill_at_random(system: &System, seed: u64, is_accompanied: bool) -> usize {
    let worker = start_ready(system, "one").await;
    let moment = Duration::from_millis(seed.wrapping_mul(0x9e37_79b9) % 1_500);
    tokio::time::sleep(moment).await;
    worker.kill();
    // Another one's transaction would be counted with it.
    if is_accompanied {
        return 0;
    }
    let open = OUTPUTS.iter().flat_map(|topic| system.bounds(topic)).map(|(stable, end)| end - stable);
    open.sum::<i64>() as usize
}

/// Once all is folded the workers end, and what they have emitted is exactly the fold.
pub async fn end_exactly_once(system: &System, workers: impl IntoIterator<Item = Process>) {
    settled(system).await;
    for worker in workers {
        assert!(worker.terminate().await.success());
    }
    assert_exactly_once(system).await;
}

/// Waits until all is folded, and the accounts say so: they are written at most once a second, by a worker that lives.
pub async fn settled(system: &System) {
    system.folded().await;
    eventually("the last accounts", async || accounts_are_whole(system).then_some(())).await;
}

fn accounts_are_whole(system: &System) -> bool {
    let rows = expected::committed(system, "accounting").into_values().flatten();
    let mut last = BTreeMap::new();
    for (_, value) in rows {
        let row: Accounting = expected::decode("accounting", &value);
        last.insert((row.topic, row.partition, row.hour, row.tenant), row.read as u64);
    }
    let data = families::SETTINGS
        .iter()
        .flat_map(|family| expected::data_records(system, family.name).into_values());
    last.values().sum::<u64>() == data.sum::<u64>()
}

/// Transactions that fail before their commit, or of which nobody knows whether they have been committed: what they held is sent
/// again where it was not, also where a partition has been handed over meanwhile.
#[tokio::test(flavor = "multi_thread")]
async fn i5_what_a_failed_transaction_held_is_sent_again() {
    for (seed, step) in [(4, "outputs=fail"), (5, "drained=fail"), (6, "committed=fail")] {
        let system = System::new("").await;
        let load = Load::start(&system, seed, 8);
        let failing = system.start_failing(step, &settings("one").each_ref().map(String::as_str));
        failing.ready().await;
        let aborts = async |least: f64| {
            eventually("transactions that fail", async || {
                (failing.metric("tidewatch_aborts_total").await >= least).then_some(())
            })
            .await;
        };
        aborts(10.0).await;
        let other = start_ready(&system, "other").await;
        let before = failing.metric("tidewatch_aborts_total").await;
        aborts(before + 5.0).await;
        assert!(other.terminate().await.success());
        load.stop();
        settled(&system).await;
        let restarts = failing.metric("tidewatch_worker_restarts_total").await;
        println!(
            "{} transactions failed at {step}, {restarts} restarts",
            failing.metric("tidewatch_aborts_total").await
        );
        end_exactly_once(&system, [failing]).await;
    }
}

/// A worker is stopped in the midst of a transaction for longer than its session, another one takes its partitions, and then
/// it wakes: what it had under way must not be committed.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_zombie_commits_nothing() {
    let system = System::new("").await;
    let load = Load::start(&system, 2, 8);
    for step in ["drained", "lost"] {
        let (zombie, outputs) = start_until(&system, "zombie", &format!("{step}=stop")).await;
        // All of them acknowledged, and nobody else's yet.
        let open = OUTPUTS.map(|topic| (topic, system.bounds(topic)));
        let before = members(&system);
        let heir = system.start("process", &settings("heir").each_ref().map(String::as_str));
        eventually("the group without the zombie", async || {
            let members = members(&system);
            (!members.is_empty() && !members.iter().any(|member| before.contains(member))).then_some(())
        })
        .await;
        let is_open = OUTPUTS.iter().flat_map(|topic| system.bounds(topic)).any(|(stable, end)| stable < end);
        assert!(is_open, "its transaction is still open when it wakes");
        zombie.signal("CONT");
        eventually("the failure of its transaction", async || {
            let restarts = zombie.metric("tidewatch_worker_restarts_total").await;
            (restarts + zombie.metric("tidewatch_aborts_total").await >= 1.0).then_some(())
        })
        .await;
        heir.ready().await;
        zombie.ready().await;
        for (topic, bounds) in open {
            let committed = system.read_committed(topic);
            for (partition, (stable, end)) in (0..).zip(bounds) {
                let mut offsets = committed[&partition].iter().map(Message::offset);
                let zombies = offsets.find(|offset| (stable..end).contains(offset));
                assert_eq!(
                    zombies, None,
                    "{topic}/{partition}: an output of the zombie, woken at {step}, is committed"
                );
            }
        }
        println!(
            "a zombie at {step} woke with {outputs} outputs in its transaction, and committed none of them"
        );
        assert!(zombie.terminate().await.success());
        assert!(heir.terminate().await.success());
    }
    load.stop();
    let worker = start_ready(&system, "heir").await;
    end_exactly_once(&system, [worker]).await;
}

/// The ids of the group's members, once the group is at rest.
fn members(system: &System) -> Vec<String> {
    let client: BaseConsumer = system.log.client().create().unwrap();
    let name = system.log.name(&runtime::group("sla"));
    let groups = client.fetch_group_list(Some(&name), Duration::from_secs(10)).unwrap();
    let group = groups.groups().iter().find(|group| group.state() == "Stable");
    group
        .map(|group| group.members().iter().map(|member| member.id().to_owned()).collect())
        .unwrap_or_default()
}

/// The broker ends and comes back while two workers are at it.
#[tokio::test(flavor = "multi_thread")]
async fn i5_a_broker_that_restarts_loses_and_repeats_nothing() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = |port| StackOptions {
        data: Some(folder.path().join("data")),
        kafka_port: port,
        clickhouse_port: None,
        parts: vec![PartName::Kafka],
    };
    let broker = Stack::start(Path::new(BINARY), &options(None)).unwrap();
    let address = broker.kafka().unwrap().to_owned();
    let port = address.rsplit_once(':').unwrap().1.parse().unwrap();
    let system = System::on(&address, "").await;
    let load = Load::start(&system, 3, 8);
    let workers = [start_ready(&system, "one").await, start_ready(&system, "two").await];
    // While the broker starts, its answers are errors.
    let stable = || -> Option<i64> {
        Some(system.try_bounds("incidents").ok()?.iter().map(|(stable, _)| stable).sum())
    };
    eventually("outputs", async || stable().filter(|end| *end > 100)).await;
    drop(broker);
    let broker = Stack::start(Path::new(BINARY), &options(Some(port))).unwrap();
    let before = eventually("the topics", async || stable()).await;
    eventually("outputs after the restart", async || stable().filter(|end| *end > before + 100)).await;
    load.stop();
    end_exactly_once(&system, workers).await;
    drop(system);
    drop(broker);
}
