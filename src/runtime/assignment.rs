//! Follows the group: takes partitions over, restores their state, hands them over.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionListElem};
use tidewatch_kafka_batch::PartitionQueue;

use super::error::WorkerError;
use super::output::OutputRow;
use super::partitions::Owned;
use super::rebalance::{Member, RebalanceQueue};
use super::report::ends_of_topics;
use super::restore::{Committed, Restoration, Restored, Wanted};
use super::{COORDINATOR, Worker, trim};
use crate::engine::Millis;
use crate::engine::Operator;
use crate::log::Log;
use crate::log::lag::Quiet;
use crate::log::topic_check::TopicFault;
use crate::log::{statistics, topics};

impl<O> Member for Worker<'_, O>
where
    O: Operator,
    O::Row: OutputRow,
{
    fn consumer(&self) -> &BaseConsumer<RebalanceQueue> {
        &self.consumer
    }

    fn commit(&mut self) -> Result<(), WorkerError> {
        self.try_commit().or_else(|error| self.recover(error))
    }

    fn hand_over(&mut self, partition: i32) {
        self.partitions.remove(partition);
        statistics::show_lag(&self.job.group(), &self.topic, partition, 0);
        self.transaction.ends(|ends| ends.remove(&partition));
        for restoration in &mut self.restorations {
            restoration.forget(partition);
        }
        self.waiting.remove(&partition);
    }

    /// The records of new partitions wait in their queues until their state is at hand.
    fn take_over(&mut self, list: &TopicPartitionList) -> Result<(), WorkerError> {
        self.has_joined = true;
        let committed = self.consumer.committed_offsets(list.clone(), COORDINATOR);
        let committed = committed.and_then(|list| {
            list.elements().iter().try_for_each(TopicPartitionListElem::error).map(|()| list)
        });
        let (mut begin, mut known) = (TopicPartitionList::new(), BTreeMap::new());
        for element in committed.as_ref().unwrap_or(list).elements() {
            let (partition, committed) = (element.partition(), Committed::of(&element));
            let from = committed.as_ref().map_or(Offset::Beginning, |known| Offset::Offset(known.offset));
            begin
                .add_partition_offset(&self.topic, partition, from)
                .map_err(WorkerError::kafka("taking partitions over"))?;
            known.insert(partition, committed);
            // Before it is assigned, so that no record comes past it.
            if let Some(queue) = PartitionQueue::split(&self.consumer, &self.topic, partition) {
                self.waiting.insert(partition, queue);
            }
        }
        // Answered in any case: the client waits for it, also when it is closed.
        self.consumer.incremental_assign(&begin).map_err(WorkerError::kafka("taking partitions over"))?;
        committed.map_err(WorkerError::kafka("fetching committed offsets"))?;
        // What is in force is known by the state, or else by the first mark.
        let before = self.versions.at(0)?;
        let wanted: BTreeMap<_, _> = known
            .into_iter()
            .map(|(partition, committed)| {
                (partition, Wanted { task: self.job.task(partition, Arc::clone(&before)), committed })
            })
            .collect();
        let expected = topics::named(self.job.topic).map_or(i32::MAX, |topic| topic.partitions);
        if let Some(most) = wanted.keys().max().filter(|partition| **partition >= expected) {
            // They were added while this worker was at work.
            let (topic, found) = (self.topic.clone(), most.unsigned_abs() as usize + 1);
            return Err(TopicFault::Partitions { topic, found, expected }.into());
        }
        if !wanted.is_empty() {
            self.is_current = false;
            self.restorations.push(Restoration::begin(self.log, wanted, &self.changelog)?);
        }
        Ok(())
    }
}

impl<O> Worker<'_, O>
where
    O: Operator,
    O::Row: OutputRow,
{
    /// Restores on; what is restored is folded from here on.
    pub(super) fn restore(&mut self) -> Result<(), WorkerError> {
        let mut restored = Vec::new();
        for restoration in &mut self.restorations {
            restored.extend(restoration.step(&mut self.versions)?);
        }
        self.restorations.retain(|restoration| !restoration.is_finished());
        if !restored.is_empty() {
            let former = ends_of_topics(self.log)?;
            self.transaction.ends(|ends| {
                let partitions = restored.iter().map(|restored| restored.partition);
                ends.extend(partitions.map(|partition| (partition, former.clone())));
            });
        }
        for Restored { partition, task, changelog, has_committed, begin } in restored {
            let offset = task.offset();
            let queue = self.waiting.remove(&partition);
            let queue = queue.ok_or_else(|| WorkerError::TopicName { topic: self.topic.clone() })?;
            if let (false, Some(last)) = (has_committed, task.last_record()) {
                // The group has forgotten its offset; the state has not, if this is still its log.
                if !is_same_log(self.log, &self.topic, partition, last)? {
                    return Err(WorkerError::Changed {
                        topic: self.topic.clone(),
                        partition,
                        offset: last.0,
                    });
                }
                self.seek(partition, offset)?;
            }
            if let Some(begin) = begin {
                trim::delete_before(self.log, &self.changelog, partition, begin);
            }
            self.partitions.add(partition, Owned::new(task, queue, changelog));
        }
        Ok(())
    }

    pub(super) fn seek(&self, partition: i32, offset: i64) -> Result<(), WorkerError> {
        self.consumer
            .seek(&self.topic, partition, Offset::Offset(offset), COORDINATOR)
            .map_err(WorkerError::kafka("going back to the last commit"))
    }

    pub(super) fn folded_partitions(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, _) in self.partitions.iter() {
            list.add_partition(&self.topic, partition);
        }
        list
    }
}

/// Whether the log is the one which the state has folded, by its last record: the group loses its offsets too when a topic is
/// deleted and made anew.
pub(super) fn is_same_log(
    log: &Log,
    topic: &str,
    partition: i32,
    (offset, append_time): (i64, Millis),
) -> Result<bool, WorkerError> {
    let kafka = || WorkerError::kafka("reading the last record that was folded");
    let mut settings = log.consumer("verify");
    // What is gone below the offset can't be compared, and is not missed.
    settings.set("auto.offset.reset", "earliest").set("enable.partition.eof", "true");
    let consumer: BaseConsumer<Quiet> = settings.create_with_context(Quiet).map_err(kafka())?;
    let (_, end) = consumer.fetch_watermarks(topic, partition, COORDINATOR).map_err(kafka())?;
    if end <= offset {
        return Ok(false);
    }
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, partition, Offset::Offset(offset)).map_err(kafka())?;
    consumer.assign(&list).map_err(kafka())?;
    let until = Instant::now() + COORDINATOR;
    while Instant::now() < until {
        match consumer.poll(Duration::from_millis(100)) {
            Some(Ok(message)) if message.offset() == offset => {
                return Ok(message.timestamp().to_millis() == Some(append_time));
            }
            Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => return Ok(true),
            Some(Err(source)) => return Err(kafka()(source)),
            None => {}
        }
    }
    Err(kafka()(KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut)))
}
