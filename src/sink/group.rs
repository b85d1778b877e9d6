//! The sink's place in its group: which partitions it loses, and whether its commits succeed.

use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use tokio::sync::mpsc::UnboundedSender;

use crate::log::statistics;

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

impl ClientContext for Membership {
    fn stats(&self, statistics: Statistics) {
        statistics::show(super::GROUP, &statistics);
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
                    statistics::show_lag(super::GROUP, topic, *partition, 0);
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
