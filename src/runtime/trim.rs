//! Deletes what lies before the last complete checkpoint of a changelog.

use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::KafkaError;
use rdkafka::topic_partition_list::Offset;

use crate::log::Log;

/// Deletes the records of a changelog before an offset, beside the worker. Where that fails the changelog is longer than it needs to
/// be: it is said, and tried again after the next checkpoint.
pub(super) fn delete_before(log: &Log, changelog: &str, partition: i32, offset: i64) {
    let (log, changelog) = (log.clone(), changelog.to_owned());
    let delete = move || match delete(&log, &changelog, partition, offset) {
        Ok(()) => tracing::debug!(changelog, partition, offset, "deleted what lies before the checkpoint"),
        Err(error) => tracing::warn!(
            %error,
            changelog,
            partition,
            offset,
            "what lies before the last checkpoint of a changelog is not deleted, and the changelog grows: allow DeleteRecords \
             (ACL operation Delete on the topic, cleanup.policy=delete)"
        ),
    };
    if let Err(error) = std::thread::Builder::new().name("trim".to_owned()).spawn(delete) {
        tracing::warn!(%error, "no thread to delete the beginning of a changelog");
    }
}

/// Deletes the records of a changelog before an offset.
pub(super) fn delete(log: &Log, changelog: &str, partition: i32, offset: i64) -> Result<(), KafkaError> {
    let admin: AdminClient<DefaultClientContext> = log.client().create()?;
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(changelog, partition, Offset::Offset(offset))?;
    let deleted = futures::executor::block_on(admin.delete_records(&list, &AdminOptions::new()))?;
    deleted.elements().iter().try_for_each(|element| element.error())
}
