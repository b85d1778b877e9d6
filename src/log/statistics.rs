//! What librdkafka counts of a consumer, as metrics.

use rdkafka::Statistics;

/// How often they are counted, in milliseconds, for `statistics.interval.ms`.
pub const INTERVAL: &str = "5000";

/// Shows how far `group` is behind in each of its partitions, and how far open transactions hold its readers back.
pub fn show(group: &str, statistics: &Statistics) {
    for topic in statistics.topics.values() {
        for partition in topic.partitions.values().filter(|partition| partition.ls_offset >= 0) {
            // What a transaction commits the consumer does not know of: then its own position counts. Negative where it
            // has neither: the partition is another's.
            let reached = partition.committed_offset.max(partition.app_offset);
            if reached >= 0 {
                show_lag(group, &topic.topic, partition.partition, partition.ls_offset - reached);
                let labels = [("topic", topic.topic.clone()), ("partition", partition.partition.to_string())];
                metrics::gauge!("tidewatch_undecided_records", &labels)
                    .set((partition.hi_offset - partition.ls_offset) as f64);
            }
        }
    }
}

/// Says how far a group is behind in a partition: 0 where it has become another's.
pub fn show_lag(group: &str, topic: &str, partition: i32, records: i64) {
    let labels =
        [("group", group.to_owned()), ("topic", topic.to_owned()), ("partition", partition.to_string())];
    metrics::gauge!("tidewatch_lag_records", &labels).set(records.max(0) as f64);
}
