//! The group's decisions, queued for the worker's loop.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};

use super::error::WorkerError;
use crate::log::statistics;

/// What the group decided.
#[derive(Debug)]
enum Change {
    /// Partitions to take over.
    Assigned(TopicPartitionList),
    /// Partitions to hand over.
    Revoked(TopicPartitionList),
}

/// Takes the place of librdkafka's own handling: an assignment is acted on by the loop, after what
/// is open has been committed, not inside the callback. The callback runs in the loop's own `poll`, so
/// the lock is never contended.
#[derive(Debug)]
pub(crate) struct RebalanceQueue {
    /// The group, for metrics.
    group: String,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    changes: VecDeque<Change>,
    is_closing: bool,
}

impl RebalanceQueue {
    pub fn new(group: String) -> Self {
        Self { group, state: Mutex::default() }
    }

    fn next_change(&self) -> Option<Change> {
        self.state().changes.pop_front()
    }

    pub fn has_changes(&self) -> bool {
        !self.state().changes.is_empty()
    }

    /// From now on the loop is gone: partitions are let go of at once, or closing would wait for ever.
    pub fn close(&self) {
        self.state().is_closing = true;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A loop that acts on what its group decides.
pub(crate) trait Member {
    /// Its client.
    fn consumer(&self) -> &BaseConsumer<RebalanceQueue>;

    /// Commits what is open.
    fn commit(&mut self) -> Result<(), WorkerError>;

    /// Goes on with partitions. The client is answered in any case: it waits for it, also when it is closed.
    fn take_over(&mut self, list: &TopicPartitionList) -> Result<(), WorkerError>;

    /// Lets go of a partition, which is committed and another one's by now.
    fn hand_over(&mut self, partition: i32);

    /// Follows the group. What is open is committed first, while its partitions are this one's.
    fn rebalance(&mut self) -> Result<(), WorkerError> {
        while let Some(change) = self.consumer().context().next_change() {
            match change {
                Change::Assigned(list) => self.take_over(&list)?,
                Change::Revoked(list) => {
                    let committed = if self.consumer().assignment_lost() {
                        Err(WorkerError::Lost)
                    } else {
                        self.commit()
                    };
                    // Answered in any case: the client waits for it, also when it is closed.
                    self.consumer()
                        .incremental_unassign(&list)
                        .map_err(WorkerError::kafka("handing partitions over"))?;
                    committed?;
                    for element in list.elements() {
                        self.hand_over(element.partition());
                    }
                }
            }
        }
        Ok(())
    }
}

/// Prepares a client to leave its group, which hands the partitions over at once and must not wait for the loop: what the
/// group has decided and no worker has acted on is answered, or the client would wait for that answer for ever.
pub(crate) fn leave(consumer: &BaseConsumer<RebalanceQueue>) {
    consumer.context().close();
    while let Some(change) = consumer.context().next_change() {
        let answered = match change {
            Change::Assigned(list) => consumer.incremental_assign(&list),
            Change::Revoked(list) => consumer.incremental_unassign(&list),
        };
        if let Err(error) = answered {
            tracing::warn!(%error, "answering the group before leaving it");
        }
    }
}

impl ClientContext for RebalanceQueue {
    fn stats(&self, statistics: Statistics) {
        statistics::show(&self.group, &statistics);
    }
}

impl ConsumerContext for RebalanceQueue {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, event: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let mut state = self.state();
        if state.is_closing {
            if let Err(error) = consumer.unassign() {
                tracing::warn!(%error, "letting go of partitions");
            }
            return;
        }
        state.changes.push_back(match event {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => Change::Assigned(list.clone()),
            // An error is answered like a revocation.
            _ => Change::Revoked(list.clone()),
        });
    }
}
