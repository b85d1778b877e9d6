//! Marks: records that say nothing but that time has passed (I4).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext};

use super::WorkerError;
use super::partitions::Partitions;
use crate::engine::Operator;
use crate::log::Log;

/// The header that makes a record a mark; its value is the offset of `settings` in force, in decimal.
const HEADER: &str = "tidewatch-mark";
/// At most 4 marks a second a partition.
const REST: Duration = Duration::from_millis(250);

/// The settings version of a mark, which has a header and no value; `None` for any other record.
pub(super) fn settings_version<M: Message>(message: &M) -> Option<Result<i64, String>> {
    if message.payload().is_some() {
        return None;
    }
    let headers = message.headers()?;
    let mark = headers.iter().find(|header| header.key == HEADER)?;
    let text = mark.value.and_then(|value| std::str::from_utf8(value).ok());
    Some(
        text.and_then(|text| text.parse().ok()).ok_or_else(|| format!("the header {HEADER} holds no offset")),
    )
}

/// Whether a record is a mark, whatever it holds: no data, for any reader.
pub fn is_mark<M: Message>(message: &M) -> bool {
    settings_version(message).is_some()
}

/// Appends marks when a timer is due in silence. They go through a producer of their own: inside the
/// worker's transaction they would hold back their own input.
pub(super) struct Marks {
    producer: BaseProducer,
    topic: String,
    appended: BTreeMap<i32, Instant>,
}

impl Marks {
    pub fn start(log: &Log, topic: &str) -> Result<Self, WorkerError> {
        let producer: BaseProducer<DefaultProducerContext> =
            log.producer().create().map_err(WorkerError::kafka("creating the producer of marks"))?;
        Ok(Self { producer, topic: log.name(topic), appended: BTreeMap::new() })
    }

    /// Appends a mark to each partition in which a timer is due by now, or in which the newest settings are not in force
    /// yet. This machine's clock decides only when to ask: what fires is decided by the mark's append time, and a mark
    /// that came too early is repeated.
    pub fn append_due<O: Operator>(&mut self, partitions: &mut Partitions<O>, newest: i64) {
        // Serves delivery reports; a mark that was lost is appended again, for its timer is still due.
        self.producer.poll(Duration::ZERO);
        let now = Timestamp::now().as_millisecond();
        for (partition, owned) in partitions.iter_mut() {
            let is_rested = self.appended.get(&partition).is_none_or(|appended| appended.elapsed() >= REST);
            let in_force = owned.task.settings().version;
            if is_rested && (in_force < newest || owned.task.is_due(now)) {
                self.appended.insert(partition, Instant::now());
                self.append(partition, newest.max(in_force));
            }
        }
    }

    fn append(&self, partition: i32, settings_version: i64) {
        let value = settings_version.to_string();
        let headers = OwnedHeaders::new().insert(Header { key: HEADER, value: Some(&value) });
        let record: BaseRecord<'_, [u8], [u8]> =
            BaseRecord::to(&self.topic).partition(partition).headers(headers);
        match self.producer.send(record) {
            Ok(()) => metrics::counter!("tidewatch_marks_total").increment(1),
            Err((error, _)) => tracing::warn!(%error, partition, "appending a mark; it will be tried again"),
        }
    }
}
