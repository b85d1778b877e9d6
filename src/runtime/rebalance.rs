//! The group's decisions, queued for the worker's loop.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Statistics, TopicPartitionList};

use crate::log::statistics;

/// What the group decided.
#[derive(Debug)]
pub(crate) enum Change {
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

    pub fn next_change(&self) -> Option<Change> {
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
