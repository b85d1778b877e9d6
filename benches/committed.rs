//! Waiting for a group, without being work of the process that is measured.

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;
use tidewatch::log::Log;

const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the group's offsets in a topic are at what is its end now. It looks seldom and does not read the topic, so that it costs
/// nothing beside the work.
pub fn wait_until_committed(log: &Log, group: &str, topic: &str, partitions: i32) -> Result<(), KafkaError> {
    let topic = log.name(topic);
    let consumer: BaseConsumer = log.consumer(group).create()?;
    let (mut list, mut ends) = (TopicPartitionList::new(), Vec::new());
    for partition in 0..partitions {
        list.add_partition(&topic, partition);
        ends.push(consumer.fetch_watermarks(&topic, partition, PATIENCE)?.1);
    }
    loop {
        match consumer.committed_offsets(list.clone(), PATIENCE) {
            Ok(committed) => {
                let reached =
                    |(found, end): (Offset, &i64)| matches!(found, Offset::Offset(found) if found >= *end);
                let found = committed.elements().into_iter().map(|element| element.offset());
                if found.zip(&ends).all(reached) {
                    return Ok(());
                }
            }
            // A group's first member finds the topic of offsets still being made.
            Err(KafkaError::MetadataFetch(
                RDKafkaErrorCode::NotCoordinator | RDKafkaErrorCode::CoordinatorNotAvailable,
            )) => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
