//! What nobody meant to happen to the log: records of odd form and size, topics and offsets that somebody changed.

use std::time::Duration;

use jiff::Timestamp;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminOptions, AlterConfig, NewPartitions, ResourceSpecifier};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use rdkafka::topic_partition_list::Offset;
use tidewatch::codec;
use tidewatch::engine::rows::DeadLetter;
use tidewatch::families;
use tidewatch::runtime;

use crate::chaos::{assert_exactly_once, end_exactly_once, settled};
use crate::expected;
use crate::load;
use crate::load::{Load, send};
use crate::system::{Process, System, eventually};

const PARTITION: i32 = 1;
pub const SETTINGS: [&str; 1] = ["process.session_timeout=1s"];

fn report(tenant: &str, event_id: &str) -> Vec<u8> {
    let now = Timestamp::now().as_millisecond();
    let event = load::report(tenant, "a".into(), event_id.into(), now, now - 10_000);
    codec::newest("civic").unwrap().encode(&event).unwrap()
}

/// Folds all that is there, and ends.
pub async fn fold(system: &System) {
    let worker = system.start_ready("process", &SETTINGS).await;
    system.folded().await;
    assert!(worker.terminate().await.success());
}

/// Waits until a worker says why it is not ready.
pub async fn says(worker: &Process, part: &str) {
    eventually(part, async || {
        let answer = reqwest::get(format!("{}/readyz", worker.url)).await.ok()?;
        let is_ready = answer.status().is_success();
        let text = answer.text().await.ok()?;
        (!is_ready && text.contains(part)).then_some(())
    })
    .await;
}

async fn dead_letters(system: &System, count: usize) -> Vec<DeadLetter> {
    eventually("dead letters", async || {
        let letters = expected::committed(system, "dead-letters").into_values().flatten();
        let letters: Vec<DeadLetter> =
            letters.map(|(_, value)| expected::decode("dead-letters", &value)).collect();
        (letters.len() >= count).then_some(letters)
    })
    .await
}

/// Compressed it passes every limit of its topic; as it lies in a dead letter it would pass none. A key of 600 kB would be
/// in every row.
#[tokio::test(flavor = "multi_thread")]
async fn i7_what_is_too_large_becomes_a_dead_letter() {
    let system = System::new("").await;
    let worker = system.start_ready("process", &SETTINGS).await;
    let producer: FutureProducer =
        system.log.producer().set("message.max.bytes", "20000000").create().unwrap();
    let topic = system.log.name("civic");
    let (zeros, noise) = (vec![0_u8; 5_000_000], "0123456789abcdef".repeat(40_000));
    let large = FutureRecord::to(&topic).key("boston/x").payload(&zeros).partition(PARTITION);
    let large = producer.send(large, Duration::from_secs(10)).await.unwrap().offset;
    let (key, value) = (format!("boston/{noise}"), report("boston", "e1"));
    let long = FutureRecord::to(&topic).key(&key).payload(&value).partition(PARTITION);
    let long = producer.send(long, Duration::from_secs(10)).await.unwrap().offset;
    send(&system, 101, 400);
    settled(&system).await;
    let letters = dead_letters(&system, 2).await;
    let of = |offset| letters.iter().find(|letter| (letter.partition, letter.offset) == (PARTITION, offset));
    let (large, long) = (of(large).unwrap(), of(long).unwrap());
    assert_eq!(large.record_value.as_ref().unwrap().len(), 1024 * 1024);
    assert!(large.message.contains("5000000 bytes, 1048576 are kept"), "{}", large.message);
    assert!(long.message.contains("its key has 640007 bytes"), "{}", long.message);
    assert_eq!(long.record_value.as_deref(), Some(&*value));
    assert!(worker.metric("tidewatch_aborts_total").await == 0.0);
    assert!(worker.terminate().await.success());
    assert_exactly_once(&system).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn i7_records_of_odd_form_have_one_outcome_each() {
    let system = System::new("").await;
    let worker = system.start_ready("process", &SETTINGS).await;
    let producer: FutureProducer = system.log.producer().create().unwrap();
    let topic = system.log.name("civic");
    let mark =
        |text: &'static str| OwnedHeaders::new().insert(Header { key: "tidewatch-mark", value: Some(text) });
    let (good, foreign, empty) = (report("boston", "m1"), report("boston", "m2"), Vec::new());
    let send = async |record: FutureRecord<'_, str, Vec<u8>>| {
        producer.send(record.partition(PARTITION), Duration::from_secs(10)).await.unwrap().offset
    };
    let sent = [
        send(FutureRecord::to(&topic).key("boston/a")).await, // a tombstone
        send(FutureRecord::to(&topic)).await,                 // nothing at all
        send(FutureRecord::to(&topic).key("boston/a").payload(&empty)).await, // an empty value
        send(FutureRecord::to(&topic).key("boston/a").payload(&good).headers(mark("0"))).await, // an event with a mark's header
        send(FutureRecord::to(&topic).key("salem/a").payload(&foreign)).await, // another tenant's key
        send(FutureRecord::to(&topic).payload(&foreign)).await,                // no key
        send(FutureRecord::to(&topic).headers(mark("zero"))).await,            // a mark that says nothing
        send(FutureRecord::to(&topic).headers(mark("-5"))).await,              // a true mark, of the past
        send(FutureRecord::to(&topic).key("boston/a").headers(mark("0"))).await, // a true mark, with a key
    ];
    settled(&system).await;
    let mut offsets: Vec<i64> = dead_letters(&system, 6).await.iter().map(|letter| letter.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, [0, 1, 2, 4, 5, 6].map(|place: usize| sent[place]));
    assert!(worker.terminate().await.success());
    let incidents = expected::committed(&system, "incidents").into_values().flatten().count();
    assert_eq!(incidents, 1, "the event with a mark's header is an event");
    let (_, totals) = expected::fold(&system, &families::civic::sla_job());
    assert_eq!((totals[&PARTITION].records.read, totals[&PARTITION].records.folded), (7, 1));
    assert_exactly_once(&system).await;
}

/// An output topic takes nothing for a while: what was folded meanwhile is sent again, once.
#[tokio::test(flavor = "multi_thread")]
async fn i5_failed_transactions_are_sent_again_once() {
    let system = System::new("").await;
    let load = Load::start(&system, 71, 8);
    let worker = system.start_ready("process", &SETTINGS).await;
    let (admin, topic) = (system.admin(), system.log.name("incidents"));
    let limit = async |bytes| {
        let config = AlterConfig::new(ResourceSpecifier::Topic(&topic))
            .set("max.message.bytes", bytes)
            .set("message.timestamp.type", "LogAppendTime")
            .set("retention.ms", "-1");
        admin.alter_configs(&[config], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    };
    for round in 1..=3 {
        // Enough for the marker of an abort, not for a row.
        limit("200").await;
        eventually("transactions that fail", async || {
            (worker.metric("tidewatch_aborts_total").await >= f64::from(round * 4)).then_some(())
        })
        .await;
        says(&worker, "one transaction after the other fails").await;
        limit("1048588").await;
        worker.ready().await;
    }
    load.stop();
    settled(&system).await;
    assert_eq!(worker.metric("tidewatch_worker_restarts_total").await, 0.0, "the partitions stay");
    assert!(worker.terminate().await.success());
    assert_exactly_once(&system).await;
}

/// The name of a worker's transactions is its own for good: who takes it ends what is open.
#[tokio::test(flavor = "multi_thread")]
async fn i5_another_of_the_same_name_ends_the_transactions_of_the_first() {
    let system = System::new("").await;
    let load = Load::start(&system, 72, 8);
    let first = system.start_ready("process", &["process.session_timeout=1s", "process.instance=one"]).await;
    let second = system.start("process", &["process.session_timeout=1s", "process.instance=one"]);
    says(&first, "another worker is at work as process.instance").await;
    load.stop();
    second.kill();
    end_exactly_once(&system, [first]).await;
}

/// The group's offsets are lost (Kafka forgets those of an empty group after a week), or changed by hand.
#[tokio::test(flavor = "multi_thread")]
async fn i5_offsets_that_are_gone_are_found_and_changed_ones_refused() {
    let system = System::new("").await;
    send(&system, 51, 3_000);
    fold(&system).await;
    let group = system.log.name(&runtime::group("sla"));
    eventually("the group's end", async || {
        let deleted = system.admin().delete_groups(&[&group], &AdminOptions::new()).await.ok()?;
        deleted[0].is_ok().then_some(())
    })
    .await;
    send(&system, 52, 1_000);
    let worker = system.start_ready("process", &SETTINGS).await;
    settled(&system).await;
    let read = worker.metric("tidewatch_records_total").await;
    assert!(worker.terminate().await.success());
    assert!(read < 2_500.0, "{read} records were read again");
    assert_exactly_once(&system).await;
    let consumer: BaseConsumer = system.log.consumer(&runtime::group("sla")).create().unwrap();
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&system.log.name("civic"), 2, Offset::Offset(5)).unwrap();
    eventually("the change of an offset", async || consumer.commit(&list, CommitMode::Sync).ok()).await;
    says(&system.start("process", &SETTINGS), "set the group's offset").await;
}

/// The family topic is deleted and made anew, the state stays: nothing of the new one is skipped in silence.
#[tokio::test(flavor = "multi_thread")]
async fn i7_a_topic_made_anew_is_refused() {
    let system = System::new("").await;
    send(&system, 31, 2_000);
    fold(&system).await;
    system.remake_civic().await;
    send(&system, 32, 4_000);
    says(&system.start("process", &SETTINGS), "was deleted and made anew").await;
}

/// Records that nobody has folded are deleted: nobody goes on as if they had never been.
#[tokio::test(flavor = "multi_thread")]
async fn i7_records_cut_before_they_were_folded_are_an_error() {
    let system = System::new("").await;
    send(&system, 81, 1_000);
    fold(&system).await;
    send(&system, 82, 1_000);
    let group = runtime::group("sla");
    let committed = system.committed(&group, "civic");
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(&system.log.name("civic"), 2, Offset::Offset(committed[&2] + 5)).unwrap();
    system.admin().delete_records(&list, &AdminOptions::new()).await.unwrap();
    says(&system.start("process", &SETTINGS), "were deleted before they were folded").await;
    assert_eq!(system.committed(&group, "civic")[&2], committed[&2], "nothing was skipped");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_partition_too_many_is_named_and_a_spare_thread_is_ready() {
    let system = System::new("").await;
    let spare = system.start_ready("process", &["process.threads=5"]).await;
    assert!(spare.terminate().await.success());
    let more = NewPartitions::new(system.log.name("civic").leak(), 5);
    system.admin().create_partitions(&[more], &AdminOptions::new()).await.unwrap();
    // Every role, before it reads or writes.
    for role in ["ingest", "process", "sink", "serve"] {
        says(&system.start(role, &[]), "has 5 partitions, topics/*.yaml says 4").await;
    }
}

/// Topics that somebody made otherwise: every role refuses them and says what to do, `migrate` repairs what it can.
#[tokio::test(flavor = "multi_thread")]
async fn i3_a_topic_that_is_not_as_declared_is_refused_or_repaired() {
    let system = System::new("").await;
    let alter = async |topic: &str, settings: &[(&str, &str)]| {
        let name = system.log.name(topic);
        let mut config = AlterConfig::new(ResourceSpecifier::Topic(&name));
        for (setting, value) in settings {
            config = config.set(setting, value);
        }
        for result in system.admin().alter_configs(&[config], &AdminOptions::new()).await.unwrap() {
            result.unwrap();
        }
    };
    // This call sets the rest back to the broker's defaults.
    alter("intake.interactions", &[("message.timestamp.type", "CreateTime")]).await;
    for role in ["ingest", "process", "sink", "serve"] {
        says(&system.start(role, &[]), "message.timestamp.type = CreateTime, it has to be LogAppendTime")
            .await;
    }
    alter("civic", &[("message.timestamp.type", "LogAppendTime"), ("retention.ms", "3600000")]).await;
    alter("incidents", &[("message.timestamp.type", "LogAppendTime"), ("cleanup.policy", "compact")]).await;
    let (status, told) = system.run("migrate", &[]).await;
    assert!(!status.success() && told.contains("`tidewatch migrate --repair` sets it"), "{told}");
    let (status, told) = system.run("migrate", &["--repair"]).await;
    assert!(status.success(), "{told}");
    for role in ["ingest", "process", "sink", "serve"] {
        assert!(system.start_ready(role, &[]).await.terminate().await.success());
    }
    // What lies there has the times of its producers: no setting mends that.
    let producer: FutureProducer = system.log.producer().create().unwrap();
    alter("intake.civic", &[("message.timestamp.type", "CreateTime")]).await;
    let topic = system.log.name("intake.civic");
    let record: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic).payload(&b"{}"[..]).timestamp(1);
    producer.send(record, Duration::from_secs(30)).await.unwrap();
    let (status, told) = system.run("migrate", &["--repair"]).await;
    assert!(!status.success() && told.contains("its records have the times of their producers"), "{told}");
}

/// A mark names settings that the topic no longer holds: nobody may fold past it under others.
#[tokio::test(flavor = "multi_thread")]
async fn i4_a_mark_of_a_version_that_is_gone_is_an_error() {
    let system = System::new("").await;
    let producer: FutureProducer = system.log.producer().create().unwrap();
    let topic = system.log.name("civic");
    let headers = OwnedHeaders::new().insert(Header { key: "tidewatch-mark", value: Some("99") });
    let mark: FutureRecord<'_, [u8], [u8]> = FutureRecord::to(&topic).partition(1).headers(headers);
    producer.send(mark, Duration::from_secs(30)).await.unwrap();
    says(&system.start("process", &SETTINGS), "version 99 of the settings is in force").await;
}
