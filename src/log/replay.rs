//! What is committed in a topic, read once, from offset to offset.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;

use super::Log;
use super::lag::Quiet;
use crate::event::Millis;

pub(crate) const REQUEST: Duration = Duration::from_secs(10);
/// How long a broker may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// Reads a topic, as a group of its own that commits nothing. The records of each partition come in their order.
pub struct Replay {
    consumer: BaseConsumer<Quiet>,
    topic: String,
    /// The offsets that are still to be read, by partition.
    left: BTreeMap<i32, Range<i64>>,
}

impl Replay {
    /// What there is: the offsets of each partition, from the first that retention has left to the end of what is committed.
    pub fn bounds(log: &Log, topic: &str) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
        let consumer = consumer(log)?;
        let name = log.name(topic);
        let metadata = consumer.fetch_metadata(Some(&name), REQUEST)?;
        let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
        let bounds = partitions.map(|partition| {
            let (low, end) = consumer.fetch_watermarks(&name, partition.id(), REQUEST)?;
            Ok((partition.id(), low..end))
        });
        bounds.collect()
    }

    /// As much of `offsets` as was appended up to `time`, in ms since the epoch.
    pub fn until(
        log: &Log,
        topic: &str,
        mut offsets: BTreeMap<i32, Range<i64>>,
        time: Millis,
    ) -> KafkaResult<BTreeMap<i32, Range<i64>>> {
        let name = log.name(topic);
        let mut list = TopicPartitionList::new();
        for partition in offsets.keys() {
            list.add_partition_offset(&name, *partition, Offset::Offset(time.saturating_add(1)))?;
        }
        for element in consumer(log)?.offsets_for_times(list, REQUEST)?.elements() {
            if let (Offset::Offset(later), Some(offsets)) =
                (element.offset(), offsets.get_mut(&element.partition()))
            {
                offsets.end = later.clamp(offsets.start, offsets.end);
            }
        }
        Ok(offsets)
    }

    /// Begins to read `offsets`, which lie within the [bounds](Self::bounds).
    pub fn start(log: &Log, topic: &str, mut offsets: BTreeMap<i32, Range<i64>>) -> KafkaResult<Self> {
        offsets.retain(|_, offsets| !offsets.is_empty());
        let (consumer, topic) = (consumer(log)?, log.name(topic));
        let mut list = TopicPartitionList::new();
        for (partition, offsets) in &offsets {
            list.add_partition_offset(&topic, *partition, Offset::Offset(offsets.start))?;
        }
        consumer.assign(&list)?;
        Ok(Self { consumer, topic, left: offsets })
    }

    /// How many offsets are left; not each of them is a record.
    pub fn left(&self) -> u64 {
        self.left.values().map(|offsets| offsets.end.abs_diff(offsets.start)).sum()
    }

    /// The next record; `None`: all have been read.
    pub fn read(&mut self) -> KafkaResult<Option<BorrowedMessage<'_>>> {
        let deadline = Instant::now() + PATIENCE;
        while !self.left.is_empty() {
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let partition = message.partition();
                    let Some(left) = self.left.get_mut(&partition) else { continue };
                    let is_wanted = message.offset() < left.end;
                    left.start = message.offset() + 1;
                    if left.is_empty() {
                        self.left.remove(&partition);
                        let mut list = TopicPartitionList::new();
                        list.add_partition(&self.topic, partition);
                        self.consumer.pause(&list)?;
                    }
                    if is_wanted {
                        return Ok(Some(message));
                    }
                }
                // What is left of it are the marks of transactions.
                Some(Err(KafkaError::PartitionEOF(partition))) => drop(self.left.remove(&partition)),
                Some(Err(error)) => return Err(error),
                None if Instant::now() > deadline => {
                    return Err(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut));
                }
                None => {}
            }
        }
        Ok(None)
    }
}

fn consumer(log: &Log) -> KafkaResult<BaseConsumer<Quiet>> {
    let mut settings = log.consumer("replay");
    settings.set("enable.partition.eof", "true").set("auto.offset.reset", "error").create_with_context(Quiet)
}
