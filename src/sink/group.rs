//! The sink's place in its group: which partitions it loses, and whether its commits succeed.

use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::mpsc::UnboundedSender;

/// What the group tells the sink, in the order in which it happened.
#[derive(Debug)]
pub enum GroupEvent {
    /// Partitions (topic on the cluster, number) that are another's from now on.
    Revoked(Vec<(String, i32)>),
    /// A commit failed; what it held is still to be committed.
    CommitFailed(KafkaError),
}

/// Passes on what librdkafka reports while the consumer is polled.
pub struct Membership {
    events: UnboundedSender<GroupEvent>,
}

impl Membership {
    /// Sends what happens to `events`.
    pub fn new(events: UnboundedSender<GroupEvent>) -> Self {
        Self { events }
    }

    fn tell(&self, event: GroupEvent) {
        // Nobody listens any more once the sink has ended and its consumer is being closed.
        let _ = self.events.send(event);
    }
}

/// How many records lie behind what is committed, by partition (the marks of transactions among them).
fn show_lag(topic: &str, partition: i32, records: i64) {
    let labels = [("topic", topic.to_owned()), ("partition", partition.to_string())];
    metrics::gauge!("tidewatch_sink_lag_records", &labels).set(records as f64);
}

impl ClientContext for Membership {
    fn stats(&self, statistics: Statistics) {
        for topic in statistics.topics.values() {
            // -1 where that is not known: of partitions that are another's.
            for partition in topic.partitions.values().filter(|partition| partition.consumer_lag >= 0) {
                show_lag(&topic.topic, partition.partition, partition.consumer_lag);
            }
        }
    }
}

impl ConsumerContext for Membership {
    fn pre_rebalance(&self, _consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let list = |partitions: &TopicPartitionList| -> Vec<(String, i32)> {
            partitions
                .elements()
                .iter()
                .map(|partition| (partition.topic().to_owned(), partition.partition()))
                .collect()
        };
        match rebalance {
            Rebalance::Assign(partitions) => tracing::info!(partitions = ?list(partitions), "assigned"),
            Rebalance::Revoke(partitions) => {
                let partitions = list(partitions);
                tracing::info!(?partitions, "revoked");
                for (topic, partition) in &partitions {
                    show_lag(topic, *partition, 0);
                }
                self.tell(GroupEvent::Revoked(partitions));
            }
            Rebalance::Error(error) => tracing::warn!(%error, "the group could not be rebalanced"),
        }
    }

    fn commit_callback(&self, result: KafkaResult<()>, offsets: &TopicPartitionList) {
        let refused = offsets.elements().iter().find_map(|partition| partition.error().err());
        if let Some(error) = result.err().or(refused) {
            self.tell(GroupEvent::CommitFailed(error));
        }
    }
}
