//! Whether a group has read everything that is committed.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::Log;

/// How long the broker may take to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a group may take to read what lies in a topic.
const READ_TIMEOUT: Duration = Duration::from_secs(120);

/// The end of a partition is an answer to its client, not an error to be logged.
pub(crate) struct Quiet;

impl ClientContext for Quiet {
    fn error(&self, error: KafkaError, reason: &str) {
        if !matches!(error, KafkaError::Global(RDKafkaErrorCode::PartitionEOF)) {
            tracing::warn!(%error, reason, "reading to the end of a partition");
        }
    }
}

impl ConsumerContext for Quiet {}

/// The partitions of `topic` in which a committed record lies behind the committed offset of `group` and before `ends`, or one
/// that is not decided yet: a transaction that has been committed is seen by its readers only a moment later.
///
/// The end of a partition alone can't tell: transactions leave control records there that no reader sees.
/// So each partition is read on from the group's offset, until a record or the end comes.
fn unread(log: &Log, group: &str, topic: &str, ends: &BTreeMap<i32, i64>) -> KafkaResult<Vec<i32>> {
    let mut settings = log.consumer(group);
    let consumer: BaseConsumer<Quiet> =
        settings.set("enable.partition.eof", "true").create_with_context(Quiet)?;
    let name = log.name(topic);
    let committed = committed_by(&consumer, &name, ends.keys().copied())?;
    let mut unread = Vec::new();
    let mut waiting = Vec::new();
    let mut behind = TopicPartitionList::new();
    for (partition, offset) in committed {
        let wanted = ends.get(&partition).copied().unwrap_or(0);
        let (low, end) = consumer.fetch_watermarks(&name, partition, REQUEST_TIMEOUT)?;
        if end < wanted {
            unread.push(partition);
        } else if offset.max(low) < wanted {
            behind.add_partition_offset(&name, partition, Offset::Offset(offset.max(low)))?;
            waiting.push(partition);
        }
    }
    consumer.assign(&behind)?;
    let deadline = Instant::now() + REQUEST_TIMEOUT;
    while !waiting.is_empty() {
        let (partition, is_unread) = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => {
                let partition = message.partition();
                (partition, ends.get(&partition).is_some_and(|end| message.offset() < *end))
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => (partition, false),
            Some(Err(error)) => return Err(error),
            None if Instant::now() > deadline => {
                return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
            }
            None => continue,
        };
        let is_first = waiting.contains(&partition);
        waiting.retain(|other| *other != partition);
        if is_unread && is_first {
            unread.push(partition);
        }
    }
    Ok(unread)
}

/// The offset up to which `group` has read each of `partitions` of `topic`, as far as it has committed; 0 where it has not
/// begun.
pub fn committed(
    log: &Log,
    group: &str,
    topic: &str,
    partitions: impl IntoIterator<Item = i32>,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let consumer: BaseConsumer<Quiet> = log.consumer(group).create_with_context(Quiet)?;
    committed_by(&consumer, &log.name(topic), partitions)
}

fn committed_by(
    consumer: &BaseConsumer<Quiet>,
    name: &str,
    partitions: impl IntoIterator<Item = i32>,
) -> KafkaResult<BTreeMap<i32, i64>> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(name, partition);
    }
    let offset = |offset| if let Offset::Offset(offset) = offset { offset } else { 0 };
    let committed = consumer.committed_offsets(list, REQUEST_TIMEOUT)?;
    Ok(committed.elements().iter().map(|element| (element.partition(), offset(element.offset()))).collect())
}

/// Where each partition of `topic` ends, decided or not.
fn ends(log: &Log, group: &str, topic: &str) -> KafkaResult<BTreeMap<i32, i64>> {
    let all: BaseConsumer<Quiet> =
        log.consumer(group).set("isolation.level", "read_uncommitted").create_with_context(Quiet)?;
    let name = log.name(topic);
    let metadata = all.fetch_metadata(Some(&name), REQUEST_TIMEOUT)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let end = |partition| Ok((partition, all.fetch_watermarks(&name, partition, REQUEST_TIMEOUT)?.1));
    partitions.map(|partition| end(partition.id())).collect()
}

/// Waits until `group` has read everything that lies in `topic` at the call. (What comes later, such as the marks of workers,
/// it does not wait for, or it might never end.) An error after two minutes.
pub fn wait_until_read(log: &Log, group: &str, topic: &str) -> KafkaResult<()> {
    let deadline = Instant::now() + READ_TIMEOUT;
    let ends = ends(log, group, topic)?;
    // Each look takes at least a round trip to the broker: no busy loop.
    loop {
        match unread(log, group, topic, &ends) {
            Ok(unread) if unread.is_empty() => return Ok(()),
            // A broker that is slow is asked again.
            Ok(_) | Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)) => {}
            Err(error) => return Err(error),
        }
        if Instant::now() > deadline {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
    }
}
