//! Looks how far the tables have come: a sink commits an offset when every table has what lies before it (I6).

use std::time::Duration;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaResult;
use rdkafka::topic_partition_list::Offset;
use tokio_util::sync::CancellationToken;

use super::live::Live;
use crate::http::Readiness;
use crate::log::lag::Quiet;
use crate::log::{Log, topics};
use crate::sink;

/// How often the group's offsets are looked at.
const INTERVAL: Duration = Duration::from_millis(250);
/// How often while somebody waits.
const INTERVAL_AWAITED: Duration = Duration::from_millis(20);
/// How long Kafka may take to answer.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Rest before Kafka is asked again after a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Looks until `shutdown`, on a thread of its own. `readiness` is true once it has looked; where Kafka is away later on, the
/// answers say that they are stale, which is better than none.
pub fn watch(log: &Log, live: &Live, readiness: &Readiness, shutdown: &CancellationToken) {
    live.watched_by(std::thread::current());
    while !shutdown.is_cancelled() {
        if let Err(error) = follow(log, live, readiness, shutdown) {
            live.log_answers(false);
            tracing::warn!(%error, "can't see how far the tables have come; it is tried again");
            std::thread::park_timeout(RETRY);
        }
    }
}

fn follow(log: &Log, live: &Live, readiness: &Readiness, shutdown: &CancellationToken) -> KafkaResult<()> {
    let consumer: BaseConsumer<Quiet> = log.consumer(sink::GROUP).create_with_context(Quiet)?;
    let mut wanted = TopicPartitionList::new();
    for topic in topics::all().iter().filter(|topic| topic.table.is_some()) {
        wanted.add_partition_range(&log.name(&topic.name), 0, topic.partitions - 1);
    }
    while !shutdown.is_cancelled() {
        let committed = consumer.committed_offsets(wanted.clone(), TIMEOUT)?;
        live.log_answers(true);
        readiness.set(true, "sees how far the tables have come");
        live.change(|positions| {
            for element in committed.elements() {
                // Of what no sink has committed the tables hold nothing.
                let stored = if let Offset::Offset(offset) = element.offset() { offset } else { 0 };
                positions.store(log.plain_name(element.topic()), element.partition(), stored);
            }
            positions.forget_reached();
        });
        std::thread::park_timeout(if live.is_waited_for() { INTERVAL_AWAITED } else { INTERVAL });
    }
    Ok(())
}
