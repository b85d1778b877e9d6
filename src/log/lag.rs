//! Whether a group has read everything that is committed.

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::Log;

const REQUEST: Duration = Duration::from_secs(10);
const PATIENCE: Duration = Duration::from_secs(120);

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

/// The partitions of `topic` in which a committed record lies behind the committed offset of `group`.
///
/// The end of a partition alone can't tell: transactions leave control records there that no reader sees.
/// So each partition is read on from the group's offset, until a record or the end comes.
pub fn unread(log: &Log, group: &str, topic: &str) -> KafkaResult<Vec<i32>> {
    let mut settings = log.consumer(group);
    let consumer: BaseConsumer<Quiet> =
        settings.set("enable.partition.eof", "true").create_with_context(Quiet)?;
    let name = log.name(topic);
    let metadata = consumer.fetch_metadata(Some(&name), REQUEST)?;
    let mut list = TopicPartitionList::new();
    for partition in metadata.topics().iter().flat_map(|topic| topic.partitions()) {
        list.add_partition(&name, partition.id());
    }
    let committed = consumer.committed_offsets(list, REQUEST)?;
    let mut waiting = Vec::new();
    let mut behind = TopicPartitionList::new();
    for element in committed.elements() {
        let offset = match element.offset() {
            Offset::Offset(offset) => offset,
            _ => 0,
        };
        let (low, end) = consumer.fetch_watermarks(&name, element.partition(), REQUEST)?;
        if offset.max(low) < end {
            behind.add_partition_offset(&name, element.partition(), Offset::Offset(offset.max(low)))?;
            waiting.push(element.partition());
        }
    }
    let mut unread = Vec::new();
    consumer.assign(&behind)?;
    let deadline = Instant::now() + REQUEST;
    while !waiting.is_empty() {
        let (partition, is_unread) = match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) => (message.partition(), true),
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

/// Waits until `group` has read everything that is committed in `topic`. An error after two minutes.
pub fn wait_until_read(log: &Log, group: &str, topic: &str) -> KafkaResult<()> {
    let deadline = Instant::now() + PATIENCE;
    // Each look takes at least a round trip to the broker: no busy loop.
    while !unread(log, group, topic)?.is_empty() {
        if Instant::now() > deadline {
            return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
        }
    }
    Ok(())
}
