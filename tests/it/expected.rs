//! What the derived topics and the tables must hold: the fold of the family log, in memory.

use std::collections::{BTreeMap, BTreeSet};

use rdkafka::message::{Headers, Message};
use tidewatch::codec;
use tidewatch::engine::id;
use tidewatch::engine::rows::{DeadLetter, LateEvent, OperatorRow};
use tidewatch::engine::{Operator, Totals};
use tidewatch::families::civic::sla::rows::SlaMetric;
use tidewatch::families::incident::Incident;
use tidewatch::families::{self, Family, JobVisitor, Visitor};
use tidewatch::runtime::{Job, OutputRow};

use crate::system;
use crate::system::System;

/// Each partition's records, as (key, value).
pub type Records = BTreeMap<i32, Vec<(Vec<u8>, Vec<u8>)>>;

/// The topics of the rows that follow from records.
pub const OUTPUTS: [&str; 4] = ["incidents", "sla-metrics", "dead-letters", "late-events"];

/// A row of any job, as the log takes it.
#[derive(Debug, Clone, PartialEq)]
pub struct AnyRow {
    pub topic: &'static str,
    pub key: Vec<u8>,
    pub value: Vec<u8>,
}

/// The rows that follow from the families' logs as far as the workers have committed them, in the order of each log.
pub fn rows(system: &System) -> Vec<AnyRow> {
    families::each(|| Fold { system, rows: Vec::new() }).concat()
}

struct Fold<'a> {
    system: &'a System,
    rows: Vec<AnyRow>,
}

impl Visitor for Fold<'_> {
    type Output = Vec<AnyRow>;

    fn family<F: Family>(mut self) -> Self::Output {
        F::jobs(&mut self);
        self.rows
    }
}

impl<F: Family> JobVisitor<F> for Fold<'_> {
    fn job<O>(&mut self, job: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        self.rows.extend(fold(self.system, &job).0.into_iter().map(|row| {
            let mut value = Vec::new();
            row.encode(&mut value).unwrap();
            AnyRow { topic: OperatorRow::topic(&row), key: OperatorRow::key(&row).to_vec(), value }
        }));
    }
}

/// The rows of one job, as [`rows`]; and what each partition's fold has met.
pub fn fold<O: Operator>(system: &System, job: &Job<O>) -> (Vec<O::Row>, BTreeMap<i32, Totals>) {
    let mut versions = job.settings_versions(&system.log).unwrap();
    let committed = system.committed(&job.group(), job.topic);
    let (mut rows, mut totals) = (Vec::new(), BTreeMap::new());
    for (partition, messages) in system.read_committed(job.topic) {
        let mut task = job.task(partition, versions.at(0).unwrap());
        for message in messages.iter().filter(|message| message.offset() < committed[&partition]) {
            task.process_whole(&job.read(message, &mut versions).unwrap(), &mut rows);
        }
        totals.insert(partition, task.totals());
    }
    (rows, totals)
}

/// How many records of each partition of a family topic are data, not marks.
pub fn data_records(system: &System, family: &str) -> BTreeMap<i32, u64> {
    let is_mark = |record: &&rdkafka::message::OwnedMessage| {
        let headers = record.headers().into_iter().flat_map(|headers| headers.iter());
        let mut marks =
            headers.filter(|header| header.key == "tidewatch-mark").filter_map(|header| header.value);
        let is_number = |value: &[u8]| str::from_utf8(value).is_ok_and(|text| text.parse::<i64>().is_ok());
        record.payload().is_none() && marks.next().is_some_and(is_number)
    };
    let read = system.read_committed(family).into_iter();
    read.map(|(partition, records)| {
        (partition, records.iter().filter(|record| !is_mark(record)).count() as u64)
    })
    .collect()
}

/// What a derived topic must hold, record for record.
pub fn records(rows: &[AnyRow], topic: &str) -> Records {
    let partitions = system::partitions(topic);
    let mut records: Records = (0..partitions).map(|partition| (partition, Vec::new())).collect();
    for row in rows.iter().filter(|row| row.topic == topic) {
        let partition = id::partition(id::murmur2(&row.key), partitions as u32);
        records.get_mut(&partition).unwrap().push((row.key.clone(), row.value.clone()));
    }
    records
}

/// What a derived topic holds, as a plain consumer reads it.
pub fn committed(system: &System, topic: &str) -> Records {
    let record = |message: &rdkafka::message::OwnedMessage| {
        (message.key().unwrap_or_default().to_vec(), message.payload().unwrap().to_vec())
    };
    let read = system.read_committed(topic).into_iter();
    read.map(|(partition, messages)| (partition, messages.iter().map(record).collect())).collect()
}

/// As [`assert_exactly_once`], of every topic.
pub fn assert_all_exactly_once(system: &System, rows: &[AnyRow]) {
    for topic in OUTPUTS {
        assert_exactly_once(system, rows, topic);
    }
}

/// The read-committed sequence of `topic` is exactly the fold's: nothing lost, repeated or different. In a partition of it
/// the rows of several partitions of the family may lie between each other; each of those is compared by itself.
pub fn assert_exactly_once(system: &System, rows: &[AnyRow], topic: &'static str) {
    let (expected, found) = (records(rows, topic), committed(system, topic));
    for (partition, expected) in &expected {
        let (expected, found) = (by_input(topic, expected), by_input(topic, &found[partition]));
        let inputs: BTreeSet<_> = expected.keys().chain(found.keys()).collect();
        for input in inputs {
            let nothing = Vec::new();
            let (expected, found) =
                (expected.get(input).unwrap_or(&nothing), found.get(input).unwrap_or(&nothing));
            let differ = expected.iter().zip(found).position(|(a, b)| a != b);
            assert!(
                differ.is_none() && expected.len() == found.len(),
                "{topic}/{partition}, of partition {input:?} of the family: {} records expected, {} found; they first \
                 differ at {differ:?}",
                expected.len(),
                found.len(),
            );
        }
    }
}

type Sequence<'a> = Vec<&'a (Vec<u8>, Vec<u8>)>;

/// Records by the family, and its partition, from which they follow, where their topic and their keys do not tell.
fn by_input<'a>(
    topic: &'static str,
    records: &'a [(Vec<u8>, Vec<u8>)],
) -> BTreeMap<(String, Option<i32>), Sequence<'a>> {
    let mut sequences: BTreeMap<_, Sequence<'a>> = BTreeMap::new();
    for record in records {
        let input = match topic {
            "dead-letters" => {
                let letter: DeadLetter = decode(topic, &record.1);
                (letter.topic, Some(letter.partition))
            }
            "late-events" => {
                let event: LateEvent = decode(topic, &record.1);
                (event.topic, Some(event.partition))
            }
            "incidents" => (decode::<Incident>(topic, &record.1).family.to_string(), None),
            _ => (String::new(), None),
        };
        sequences.entry(input).or_default().push(record);
    }
    sequences
}

/// The last version of each row that isn't retracted: (id, version), by table.
pub fn current(rows: &[AnyRow]) -> (BTreeMap<String, Incident>, BTreeMap<String, SlaMetric>) {
    let (mut incidents, mut metrics) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        match row.topic {
            "incidents" => {
                let incident: Incident = decode("incidents", &row.value);
                incidents.insert(incident.meta.id.to_string(), incident);
            }
            "sla-metrics" => {
                let metric: SlaMetric = decode("sla-metrics", &row.value);
                metrics.insert(metric.meta.id.to_string(), metric);
            }
            _ => {}
        }
    }
    incidents.retain(|_, incident| !incident.meta.retracted);
    metrics.retain(|_, metric| !metric.meta.retracted);
    (incidents, metrics)
}

/// The tables' current views are the fold's, row for row.
pub async fn assert_tables_follow(system: &System, rows: &[AnyRow]) {
    let clickhouse = tidewatch::store::client(&system.config.clickhouse);
    let (incidents, metrics) = current(rows);
    let found: Vec<(String, u64, String, Option<i64>)> = clickhouse
        .query(
            "SELECT toString(id), version, subject, toUnixTimestamp64Milli(ended_at) \
             FROM incidents_current ORDER BY toString(id)",
        )
        .fetch_all()
        .await
        .unwrap();
    let expected: Vec<_> = incidents
        .into_iter()
        .map(|(id, row)| (id, row.meta.version as u64, row.subject, row.ended_at))
        .collect();
    assert_eq!(found, expected, "incidents_current");
    let found: Vec<(String, u64, bool, i64)> = clickhouse
        .query(
            "SELECT toString(id), version, toBool(met), toUnixTimestamp64Milli(resolved_at) \
             FROM sla_metrics_current ORDER BY toString(id)",
        )
        .fetch_all()
        .await
        .unwrap();
    let expected: Vec<_> = metrics
        .into_iter()
        .map(|(id, row)| (id, row.meta.version as u64, row.met, row.resolved_at))
        .collect();
    assert_eq!(found, expected, "sla_metrics_current");
}

/// A value of a derived topic, decoded.
pub fn decode<T: serde::de::DeserializeOwned>(subject: &'static str, value: &[u8]) -> T {
    codec::decode(subject, Some(value)).unwrap()
}
