//! The sink's place in its group: which partitions it loses.

use rdkafka::ClientContext;
use rdkafka::Statistics;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, ConsumerContext, Rebalance};
use tokio::sync::mpsc::UnboundedSender;

use crate::log::statistics;

/// Partitions (topic on the cluster, number) that are another's from now on.
#[derive(Debug)]
pub struct Revoked(pub Vec<(String, i32)>);

/// Passes on what librdkafka reports while the consumer is polled.
pub struct Membership {
    events: UnboundedSender<Revoked>,
}

impl Membership {
    /// Sends what happens to `events`.
    pub fn new(events: UnboundedSender<Revoked>) -> Self {
        Self { events }
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
                // Nobody listens any more once the sink has ended and its consumer is being closed.
                let _ = self.events.send(Revoked(partitions));
            }
            Rebalance::Error(error) => tracing::warn!(%error, "the group could not be rebalanced"),
        }
    }
}
