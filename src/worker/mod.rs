//! The engine's I/O: one thread that owns a consumer, a transactional producer and the tasks of its
//! partitions. No async and no lock inside.
//!
//! # Exactly once (I5)
//! Outputs and input offsets are committed in one transaction (KIP-447: the group's generation fences a
//! worker that lost its partitions). A crash or an abort loses nothing but the open transaction, whose
//! records no reader sees; the worker then starts again from what is committed.
//!
//! # State
//! A task's state is rebuilt by reading its partition from the beginning up to the committed offset, emitting
//! nothing; from there on what it emits is sent. So family topics keep everything (`topics/*.yaml`).
//!
//! # Marks (I4)
//! When a timer is due in silence the worker appends a mark to the partition: its append time moves the
//! clock. Whether and when it does so is not part of the fold; only the mark in the log is.

mod family;
mod marks;
mod partitions;
mod rebalance;
mod transaction;

use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::topic_partition_list::Offset;
use tokio_util::sync::CancellationToken;

pub use family::{Family, OutputRow, civic};
use marks::Marks;
use partitions::Partitions;
use rebalance::{Change, RebalanceQueue};
use transaction::Transaction;

use crate::codec::CodecError;
use crate::config::ProcessConfig;
use crate::http::Readiness;
use crate::log::Log;
use crate::stream::Operator;

const GROUP: &str = "process";

/// The consumer group of a family's workers.
pub fn group(family: &str) -> String {
    format!("{GROUP}-{family}")
}

/// How long a poll waits for a record: bounds how late a commit, a mark or a stop is noticed.
const POLL: Duration = Duration::from_millis(10);
/// How long a request to the group's coordinator may take.
const COORDINATOR: Duration = Duration::from_secs(10);
/// Rest before the worker starts again after a failure.
const RESTART: Duration = Duration::from_millis(200);

/// Why a worker had to let go of its partitions. It starts again from what is committed.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A client call failed.
    #[error("{action} failed: {source}")]
    Kafka {
        /// What was being done.
        action: &'static str,
        /// What Kafka said.
        source: KafkaError,
    },
    /// An output was not taken by Kafka.
    #[error("an output to {topic} was not delivered: {reason}")]
    Undelivered {
        /// Topic of the output.
        topic: String,
        /// What Kafka said.
        reason: String,
    },
    /// A row does not follow its schema: a fault of the program.
    #[error("a row of {topic} can't be written: {source}")]
    Encode {
        /// Topic of the row.
        topic: &'static str,
        /// What is wrong.
        source: CodecError,
    },
    /// The group gave the partitions to another worker.
    #[error(
        "partitions were lost to another worker: this one was silent for longer than process.session_timeout"
    )]
    Lost,
    /// The beginning of the log is gone, and with it the state.
    #[error(
        "{topic}/{partition} begins at offset {low}: its state can't be rebuilt from a log that has been cut; set retention.ms=-1"
    )]
    Cut {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Its first offset.
        low: i64,
    },
}

impl WorkerError {
    fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action, source }
    }
}

/// Folds the family's partitions that the group assigns to this worker, until `shutdown`. A failure makes it let go
/// and start again from what is committed, with clients of its own; the loop itself never ends otherwise.
pub fn run<O>(
    family: &Family<O>,
    log: &Log,
    config: &ProcessConfig,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) where
    O: Operator,
    O::Row: OutputRow,
{
    while !shutdown.is_cancelled() {
        let ended = Worker::start(family, log, config).and_then(|worker| worker.run(readiness, shutdown));
        if let Err(error) = ended {
            readiness.set(false, "starting again after a failure");
            metrics::counter!("tidewatch_worker_restarts_total").increment(1);
            tracing::warn!(%error, family = family.topic, "the worker lets go and starts again from what is committed");
            std::thread::sleep(RESTART);
        }
    }
}

struct Worker<'a, O: Operator> {
    family: &'a Family<O>,
    consumer: BaseConsumer<RebalanceQueue>,
    transaction: Transaction,
    marks: Marks,
    partitions: Partitions<O>,
    topic: String,
    commit_interval: Duration,
    rows: Vec<O::Row>,
}

impl<'a, O> Worker<'a, O>
where
    O: Operator,
    O::Row: OutputRow,
{
    fn start(family: &'a Family<O>, log: &Log, config: &ProcessConfig) -> Result<Self, WorkerError> {
        // Before anything is read: this ends what a former life of this instance has left open.
        let transaction = Transaction::start(log, &format!("{}-{}", group(family.topic), config.instance))?;
        let marks = Marks::start(log, family.topic)?;
        let consumer: BaseConsumer<RebalanceQueue> = log
            .consumer(&group(family.topic))
            .set("session.timeout.ms", config.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (config.session_timeout.as_millis() / 4).to_string())
            .create_with_context(RebalanceQueue::default())
            .map_err(WorkerError::kafka("creating the consumer"))?;
        let topic = log.name(family.topic);
        consumer.subscribe(&[&topic]).map_err(WorkerError::kafka("subscribing"))?;
        Ok(Self {
            family,
            consumer,
            transaction,
            marks,
            partitions: Partitions::default(),
            topic,
            commit_interval: config.commit_interval,
            rows: Vec::new(),
        })
    }

    fn run(mut self, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let result = self.work(readiness, shutdown);
        if result.is_err() {
            // No reader may wait for an open transaction until the broker's time-out.
            self.transaction.abort();
        }
        // Leaving the group hands the partitions over at once, and must not wait for this loop.
        self.consumer.context().close();
        result
    }

    fn work(&mut self, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let mut last_commit = Instant::now();
        let mut is_ready = None;
        while !shutdown.is_cancelled() {
            self.poll()?;
            self.rebalance()?;
            // Counted from the end of the last commit, so that slow commits don't follow each other without a rest.
            if last_commit.elapsed() >= self.commit_interval {
                self.commit()?;
                last_commit = Instant::now();
            }
            self.marks.append_due(&self.partitions);
            let restored = self.partitions.are_restored();
            if is_ready.replace(restored) != Some(restored) {
                let reason =
                    if restored { "folding" } else { "waiting for partitions, or rebuilding their state" };
                readiness.set(restored, reason);
            }
        }
        self.commit()
    }

    /// Folds what is there, at most for as long as a commit may wait.
    fn poll(&mut self) -> Result<(), WorkerError> {
        let until = Instant::now() + POLL;
        let mut wait = POLL;
        while let Some(polled) = self.consumer.poll(wait) {
            match polled {
                Ok(message) => {
                    // The message borrows the consumer: take it apart before `self` is changed.
                    fold(&message, self.family, &mut self.partitions, &mut self.rows);
                }
                Err(KafkaError::MessageConsumptionFatal(code)) => {
                    return Err(WorkerError::Kafka {
                        action: "consuming",
                        source: KafkaError::MessageConsumptionFatal(code),
                    });
                }
                // The client reconnects by itself.
                Err(error) => tracing::warn!(%error, "consuming"),
            }
            for row in self.rows.drain(..) {
                self.transaction.send(&row)?;
            }
            wait = Duration::ZERO;
            if Instant::now() >= until || self.consumer.context().has_changes() {
                break;
            }
        }
        Ok(())
    }

    /// Follows the group: drain, commit, hand over; take over.
    fn rebalance(&mut self) -> Result<(), WorkerError> {
        while let Some(change) = self.consumer.context().next_change() {
            match change {
                Change::Assigned(list) => self.take_over(&list)?,
                Change::Revoked(list) => {
                    let committed =
                        if self.consumer.assignment_lost() { Err(WorkerError::Lost) } else { self.commit() };
                    // Answered in any case: the client waits for it, also when it is closed.
                    self.consumer
                        .incremental_unassign(&list)
                        .map_err(WorkerError::kafka("handing partitions over"))?;
                    committed?;
                    for element in list.elements() {
                        self.partitions.remove(element.partition());
                    }
                }
            }
        }
        Ok(())
    }

    /// New partitions are read from their beginning; up to the committed offset nothing is sent.
    fn take_over(&mut self, list: &TopicPartitionList) -> Result<(), WorkerError> {
        let mut from_the_beginning = TopicPartitionList::new();
        for element in list.elements() {
            from_the_beginning
                .add_partition_offset(&self.topic, element.partition(), Offset::Beginning)
                .map_err(WorkerError::kafka("taking partitions over"))?;
        }
        // Answered first: the client waits for it, also when it is closed. Nothing is polled before the rest is known.
        self.consumer
            .incremental_assign(&from_the_beginning)
            .map_err(WorkerError::kafka("taking partitions over"))?;
        let committed = self
            .consumer
            .committed_offsets(from_the_beginning, COORDINATOR)
            .map_err(WorkerError::kafka("fetching committed offsets"))?;
        for element in committed.elements() {
            let partition = element.partition();
            let (low, _) = self
                .consumer
                .fetch_watermarks(&self.topic, partition, COORDINATOR)
                .map_err(WorkerError::kafka("fetching the bounds of a partition"))?;
            if low > 0 {
                return Err(WorkerError::Cut { topic: self.topic.clone(), partition, low });
            }
            let committed = match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
            self.partitions.add(partition, committed, self.family.task(partition));
            tracing::info!(
                family = self.family.topic,
                partition,
                committed,
                "rebuilding a partition's state"
            );
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), WorkerError> {
        let offsets = self.partitions.uncommitted();
        if offsets.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::new();
        for (partition, offset) in &offsets {
            list.add_partition_offset(&self.topic, *partition, Offset::Offset(*offset))
                .map_err(WorkerError::kafka("committing offsets"))?;
        }
        let group = self.consumer.group_metadata().ok_or(WorkerError::Lost)?;
        self.transaction.commit(&list, &group)?;
        self.partitions.set_committed(&offsets);
        Ok(())
    }
}

/// Folds one record; what is to be sent is left in `rows`.
fn fold<O>(
    message: &BorrowedMessage<'_>,
    family: &Family<O>,
    partitions: &mut Partitions<O>,
    rows: &mut Vec<O::Row>,
) where
    O: Operator,
{
    // A record of a partition that was just handed over may still be in the queue: its new owner folds it.
    let Some(owned) = partitions.get_mut(message.partition()) else { return };
    let record = family.read(message);
    let outcome = owned.task.process(record, rows);
    if message.offset() < owned.committed {
        rows.clear();
    } else {
        metrics::counter!("tidewatch_records_total", "family" => family.topic, "outcome" => outcome.as_str())
            .increment(1);
    }
    owned.folded_to = message.offset() + 1;
}
