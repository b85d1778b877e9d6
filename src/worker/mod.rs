//! The engine's I/O: a thread that owns a consumer, a transactional producer and the tasks of its partitions. No async
//! and no lock inside; several threads are several such workers.
//!
//! # Exactly once (I5)
//! Outputs, changes of the state and input offsets are committed in one transaction (KIP-447: the group's generation
//! fences a worker that lost its partitions). A crash loses nothing but the open transaction, which no reader sees. After a
//! commit that failed the producer is made anew, which decides what was in doubt; the group's offsets then say how, and
//! memory goes on from the commit or back to the last one.
//!
//! # State
//! A task's state is restored from its changelog, a compacted topic (`restore`), of which a local copy saves the beginning
//! (`snapshot`). A partition that is being restored is paused; the others go on.
//!
//! # Marks (I4)
//! When a timer is due in silence the worker appends a mark to the partition: its append time moves the
//! clock. Whether and when it does so is not part of the fold; only the mark in the log is.

mod fail_point;
mod family;
mod marks;
mod partitions;
mod rebalance;
mod report;
mod restore;
mod snapshot;
mod transaction;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
use rdkafka::topic_partition_list::Offset;
use tokio_util::sync::CancellationToken;

use fail_point::FailPoint;
pub use family::{Decode, Family, OutputRow, civic};
use marks::Marks;
use partitions::Partitions;
use rebalance::{Change, RebalanceQueue};
use report::Reporter;
use restore::{Restoration, Restored, Wanted};
use snapshot::{Origin, Snapshots};
use transaction::Transaction;

use crate::codec::CodecError;
use crate::config::ProcessConfig;
use crate::http::Readiness;
use crate::log::Log;
use crate::stream::{Operator, Outcome, RestoreError, Step};

const GROUP: &str = "process";

/// The consumer group of a family's workers.
pub fn group(family: &str) -> String {
    format!("{GROUP}-{family}")
}

/// How long a poll waits for a record: bounds how late a commit, a mark or a stop is noticed.
const POLL: Duration = Duration::from_millis(10);
/// How long a request to a broker may take.
const COORDINATOR: Duration = Duration::from_secs(10);
/// Rest before the worker starts again after a failure.
const RESTART: Duration = Duration::from_millis(200);
/// How long the broker may be slow to take outputs before the partitions are paused.
const PRESSURE: Duration = Duration::from_millis(100);

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
    /// The state can't be restored.
    #[error("{changelog}/{partition}: {source}")]
    Restore {
        /// The changelog.
        changelog: String,
        /// Partition.
        partition: i32,
        /// Why.
        source: RestoreError,
    },
    /// The changelog and the group's offset, which are written together, do not agree.
    #[error(
        "{changelog}/{partition} holds the state at offset {offset}, but the group's offset is {committed}: one of them has \
         been changed by hand; set the group's offset to {offset}, or begin anew under another kafka.prefix"
    )]
    Disagreement {
        /// The changelog.
        changelog: String,
        /// Partition.
        partition: i32,
        /// The state's offset.
        offset: i64,
        /// The group's offset.
        committed: i64,
    },
    /// Records are gone that have not been folded.
    #[error(
        "records of {topic} were deleted before they were folded: the next one to be folded is gone; raise retention.ms of the topic"
    )]
    Cut {
        /// Topic.
        topic: String,
    },
}

impl WorkerError {
    fn kafka(action: &'static str) -> impl FnOnce(KafkaError) -> Self {
        move |source| Self::Kafka { action, source }
    }
}

/// Folds the family's partitions that the group assigns to this worker, until `shutdown`; `thread` tells apart the workers
/// of one process. A failure makes it let go and start again from what is committed, with clients of its own; the
/// loop itself never ends otherwise.
pub fn run<O>(
    family: &Family<O>,
    log: &Log,
    config: &ProcessConfig,
    thread: usize,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) where
    O: Operator,
    O::Row: OutputRow,
{
    while !shutdown.is_cancelled() {
        let ended =
            Worker::start(family, log, config, thread).and_then(|worker| worker.run(readiness, shutdown));
        if let Err(error) = ended {
            readiness.set(false, format!("starting again after a failure: {error}"));
            metrics::counter!("tidewatch_worker_restarts_total").increment(1);
            tracing::warn!(%error, family = family.topic, thread, "the worker lets go and starts again from what is committed");
            std::thread::sleep(RESTART);
        }
    }
}

struct Worker<'a, O: Operator> {
    family: &'a Family<O>,
    log: &'a Log,
    config: &'a ProcessConfig,
    transactional_id: String,
    consumer: BaseConsumer<RebalanceQueue>,
    transaction: Transaction,
    marks: Marks,
    partitions: Partitions<O>,
    restorations: Vec<Restoration<O>>,
    snapshots: Option<Snapshots>,
    cluster: String,
    topic: String,
    changelog: String,
    reporter: Reporter,
    /// A record that made more rows due than a transaction takes: it goes on after the commit.
    unfinished: Option<OwnedMessage>,
    rows: Vec<O::Row>,
    outcomes: Outcomes,
    committed_at: Instant,
    saved_at: Instant,
}

impl<'a, O> Worker<'a, O>
where
    O: Operator,
    O::Row: OutputRow,
{
    fn start(
        family: &'a Family<O>,
        log: &'a Log,
        config: &'a ProcessConfig,
        thread: usize,
    ) -> Result<Self, WorkerError> {
        let transactional_id = format!("{}-{}-{thread}", group(family.topic), config.instance);
        // Before anything is read: this ends what a former life of this instance has left open.
        let transaction = Transaction::start(log, &transactional_id)?;
        let marks = Marks::start(log, family.topic)?;
        let consumer: BaseConsumer<RebalanceQueue> = log
            .consumer(&group(family.topic))
            .set("session.timeout.ms", config.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (config.session_timeout.as_millis() / 4).to_string())
            // A record that is gone before it was folded is an error, not a jump.
            .set("auto.offset.reset", "error")
            .create_with_context(RebalanceQueue::default())
            .map_err(WorkerError::kafka("creating the consumer"))?;
        let topic = log.name(family.topic);
        consumer.subscribe(&[&topic]).map_err(WorkerError::kafka("subscribing"))?;
        let cluster = consumer.client().fetch_cluster_id(COORDINATOR).unwrap_or_default();
        Ok(Self {
            family,
            log,
            config,
            transactional_id,
            consumer,
            transaction,
            marks,
            partitions: Partitions::default(),
            restorations: Vec::new(),
            snapshots: config.state_dir.as_deref().map(Snapshots::new),
            cluster,
            topic,
            changelog: log.name(&family.changelog()),
            reporter: Reporter::new(),
            unfinished: None,
            rows: Vec::new(),
            outcomes: Outcomes::default(),
            committed_at: Instant::now(),
            saved_at: Instant::now(),
        })
    }

    fn run(mut self, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let result = self.work(readiness, shutdown);
        if result.is_err() {
            // No reader may wait for an open transaction until the broker's time-out.
            self.transaction.abort();
        }
        // Leaving the group hands the partitions over at once, and must not wait for this loop: what the group has decided and
        // nobody has acted on is answered, or the client would wait for that answer for ever.
        self.consumer.context().close();
        while let Some(change) = self.consumer.context().next_change() {
            let answered = match change {
                Change::Assigned(list) => self.consumer.incremental_assign(&list),
                Change::Revoked(list) => self.consumer.incremental_unassign(&list),
            };
            if let Err(error) = answered {
                tracing::warn!(%error, "answering the group before leaving it");
            }
        }
        result
    }

    fn work(&mut self, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let mut was_ready = None;
        while !shutdown.is_cancelled() {
            if let Err(error) = self.poll() {
                self.recover(error)?;
            }
            self.rebalance()?;
            self.restore()?;
            if self.is_commit_due() {
                self.commit()?;
            }
            self.marks.append_due(&mut self.partitions);
            if self.saved_at.elapsed() >= self.config.snapshot_interval {
                self.save(None);
            }
            let is_ready = self.restorations.is_empty() && !self.partitions.is_empty();
            if was_ready.replace(is_ready) != Some(is_ready) {
                let reason =
                    if is_ready { "folding" } else { "waiting for partitions, or restoring their state" };
                readiness.set(is_ready, reason);
            }
        }
        self.commit()?;
        self.save(None);
        Ok(())
    }

    /// A transaction closes by time, outputs or bytes. Time counts from the end of the last commit, so that slow commits
    /// don't follow each other without a rest.
    fn is_commit_due(&self) -> bool {
        self.unfinished.is_some()
            || self.is_full()
            || self.committed_at.elapsed() >= self.config.commit_interval
    }

    fn is_full(&self) -> bool {
        self.transaction.outputs >= self.config.commit_outputs
            || self.transaction.bytes >= self.config.commit_bytes
    }

    /// Folds what is there, at most for as long as a commit may wait.
    fn poll(&mut self) -> Result<(), WorkerError> {
        if let Some(message) = self.unfinished.take() {
            self.unfinished = self.fold(&message)?.then_some(message);
        }
        let until = Instant::now() + POLL;
        let mut wait = if self.restorations.is_empty() { POLL } else { Duration::ZERO };
        let mut polled_messages = 0_u32;
        while self.unfinished.is_none() && !self.is_full() {
            let Some(polled) = self.consumer.poll(wait) else { break };
            match polled {
                Ok(message) => {
                    let Self { family, partitions, transaction, rows, outcomes, config, .. } = self;
                    let room = config.commit_outputs.saturating_sub(transaction.outputs).max(1);
                    if fold(&message, family, partitions, room, rows, outcomes) {
                        self.unfinished = Some(message.detach());
                    }
                    send(message.partition(), rows, transaction)?;
                }
                Err(KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset)) => {
                    return Err(WorkerError::Cut { topic: self.topic.clone() });
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
            wait = Duration::ZERO;
            polled_messages += 1;
            // Looking at the clock costs as much as a record.
            let is_time = polled_messages.is_multiple_of(32) && Instant::now() >= until;
            if is_time || self.consumer.context().has_changes() {
                break;
            }
        }
        Ok(())
    }

    /// Goes on with a record that was not finished; `true` if it still is not.
    fn fold(&mut self, message: &OwnedMessage) -> Result<bool, WorkerError> {
        let Self { family, partitions, transaction, rows, outcomes, config, .. } = self;
        let is_unfinished = fold(message, family, partitions, config.commit_outputs, rows, outcomes);
        send(message.partition(), rows, transaction)?;
        Ok(is_unfinished)
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
                        self.hand_over(element.partition());
                    }
                }
            }
        }
        Ok(())
    }

    fn hand_over(&mut self, partition: i32) {
        self.save(Some(partition));
        self.partitions.remove(partition);
        self.transaction.ends(|ends| ends.remove(&partition));
        for restoration in &mut self.restorations {
            restoration.forget(partition);
        }
        // Its new owner goes on with it.
        self.unfinished.take_if(|message| message.partition() == partition);
    }

    /// New partitions are paused until their state is at hand.
    fn take_over(&mut self, list: &TopicPartitionList) -> Result<(), WorkerError> {
        let committed = self.consumer.committed_offsets(list.clone(), COORDINATOR);
        let mut begin = TopicPartitionList::new();
        let mut wanted = BTreeMap::new();
        for element in committed.as_ref().unwrap_or(list).elements() {
            let partition = element.partition();
            let committed = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            begin
                .add_partition_offset(
                    &self.topic,
                    partition,
                    committed.map_or(Offset::Beginning, Offset::Offset),
                )
                .map_err(WorkerError::kafka("taking partitions over"))?;
            let (task, origin) = (self.family.task(partition), self.origin(partition));
            wanted.insert(partition, Wanted { task, committed, origin });
        }
        // Answered in any case: the client waits for it, also when it is closed.
        self.consumer.incremental_assign(&begin).map_err(WorkerError::kafka("taking partitions over"))?;
        self.consumer.pause(&begin).map_err(WorkerError::kafka("pausing partitions"))?;
        committed.map_err(WorkerError::kafka("fetching committed offsets"))?;
        if !wanted.is_empty() {
            let snapshots = self.snapshots.as_ref();
            self.restorations.push(Restoration::begin(self.log, wanted, &self.changelog, snapshots)?);
        }
        Ok(())
    }

    /// Restores on; what is restored is folded from here on.
    fn restore(&mut self) -> Result<(), WorkerError> {
        let mut restored = Vec::new();
        for restoration in &mut self.restorations {
            restored.extend(restoration.step()?);
        }
        self.restorations.retain(|restoration| !restoration.is_finished());
        for Restored { partition, task, committed } in restored {
            let offset = task.offset();
            let mut list = TopicPartitionList::new();
            list.add_partition(&self.topic, partition);
            if committed != Some(offset) && offset > 0 {
                // The group has forgotten its offset; the state has not.
                self.seek(partition, offset)?;
            }
            self.partitions.add(partition, task, offset);
            self.consumer.resume(&list).map_err(WorkerError::kafka("resuming partitions"))?;
        }
        Ok(())
    }

    fn seek(&self, partition: i32, offset: i64) -> Result<(), WorkerError> {
        self.consumer
            .seek(&self.topic, partition, Offset::Offset(offset), COORDINATOR)
            .map_err(WorkerError::kafka("going back to the last commit"))
    }

    fn origin(&self, partition: i32) -> Origin {
        Origin {
            cluster: self.cluster.clone(),
            changelog: self.changelog.clone(),
            partition,
            operator: O::NAME.to_owned(),
            version: O::VERSION,
        }
    }

    /// Writes local copies of what is committed: of all partitions, or of one.
    fn save(&mut self, only: Option<i32>) {
        self.saved_at = Instant::now();
        let Some(snapshots) = self.snapshots.clone() else { return };
        let (changelog, cluster) = (self.changelog.clone(), self.cluster.clone());
        for (partition, owned) in self.partitions.iter_mut() {
            let is_wanted = only.is_none_or(|only| only == partition) && owned.unsaved > 0 && !owned.is_dirty;
            let end = self.transaction.ends(|ends| {
                ends.get(&partition).and_then(|ends| ends.get(&(changelog.clone(), partition)).copied())
            });
            let Some(end) = end.filter(|_| is_wanted && !cluster.is_empty()) else { continue };
            let origin = Origin {
                cluster: cluster.clone(),
                changelog: changelog.clone(),
                partition,
                operator: O::NAME.to_owned(),
                version: O::VERSION,
            };
            match snapshots.write(&origin, end, &owned.task) {
                Ok(()) => owned.unsaved = 0,
                // The changelog has it all.
                Err(error) => tracing::warn!(%error, partition, "writing a local snapshot"),
            }
        }
    }

    fn commit(&mut self) -> Result<(), WorkerError> {
        self.try_commit().or_else(|error| self.recover(error))
    }

    fn try_commit(&mut self) -> Result<(), WorkerError> {
        self.committed_at = Instant::now();
        if self.partitions.dirty().next().is_none() && !self.reporter.is_overdue() {
            return Ok(());
        }
        let has_report = self.reporter.is_due();
        FailPoint::Outputs.reach(self.transaction.outputs);
        if has_report {
            Reporter::account(&mut self.partitions, &mut self.transaction)?;
        }
        let mut offsets = TopicPartitionList::new();
        for (partition, owned) in self.partitions.dirty() {
            let (transaction, changelog) = (&mut self.transaction, &self.changelog);
            owned.task.changes(&mut |key, value| {
                owned.unsaved += 1;
                transaction.send_change(changelog, partition, key, value)
            })?;
            offsets
                .add_partition_offset(&self.topic, partition, Offset::Offset(owned.task.offset()))
                .map_err(WorkerError::kafka("committing offsets"))?;
        }
        FailPoint::Changelog.reach(self.transaction.outputs);
        self.drain()?;
        if has_report {
            Reporter::progress(&self.partitions, &mut self.transaction, self.log, self.family.topic)?;
            self.drain()?;
        }
        FailPoint::Drained.reach(self.transaction.outputs);
        if offsets.count() > 0 {
            self.transaction.send_offsets(&offsets, &self.membership()?)?;
        }
        let outputs = self.transaction.outputs;
        FailPoint::Offsets.reach(outputs);
        self.transaction.commit()?;
        FailPoint::Committed.reach(outputs);
        for (_, owned) in self.partitions.dirty() {
            owned.task.commit();
            owned.committed = owned.task.offset();
            owned.is_dirty = false;
        }
        self.reporter.committed(has_report);
        self.outcomes.publish(self.family.topic);
        metrics::histogram!("tidewatch_commit_seconds").record(self.committed_at.elapsed().as_secs_f64());
        self.committed_at = Instant::now();
        Ok(())
    }

    /// What shows the group that this worker still owns its partitions (KIP-447).
    ///
    /// A client whose session has run out is nobody's member any more, and says so: with an empty name and no generation,
    /// which a broker takes for a client from before KIP-447 and lets pass. That must not be sent. The client's own
    /// thread first forgets the name and then marks the assignment as lost, so the mark is looked at after that thread has
    /// answered once more.
    fn membership(&self) -> Result<ConsumerGroupMetadata, WorkerError> {
        let group = self.consumer.group_metadata().ok_or(WorkerError::Lost)?;
        self.consumer.assignment().map_err(WorkerError::kafka("looking at the assignment"))?;
        if self.consumer.assignment_lost() { Err(WorkerError::Lost) } else { Ok(group) }
    }

    /// Waits until the broker has taken what was sent. Where it is slow the partitions are paused, so that polling, which keeps
    /// the worker in its group, brings no more.
    fn drain(&mut self) -> Result<(), WorkerError> {
        let began = Instant::now();
        let mut paused = None;
        while self.transaction.has_in_flight() {
            self.transaction.poll(Duration::from_millis(1))?;
            if began.elapsed() < PRESSURE {
                continue;
            }
            if paused.is_none() {
                let list = self.folded_partitions();
                self.consumer.pause(&list).map_err(WorkerError::kafka("pausing partitions"))?;
                metrics::counter!("tidewatch_pauses_total").increment(1);
                paused = Some(list);
            }
            // What the group decides is queued; a record can't come.
            if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
                tracing::warn!(%error, "consuming");
            }
        }
        if let Some(list) = paused {
            self.consumer.resume(&list).map_err(WorkerError::kafka("resuming partitions"))?;
        }
        Ok(())
    }

    fn folded_partitions(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for (partition, _) in self.partitions.iter() {
            list.add_partition(&self.topic, partition);
        }
        list
    }

    /// After a transaction that failed, perhaps in the midst of its commit: a producer made anew decides what is in doubt, and
    /// the group's offsets tell how. Memory then goes on from that commit, or back to the one before it.
    fn recover(&mut self, error: WorkerError) -> Result<(), WorkerError> {
        let is_lost =
            matches!(error, WorkerError::Lost | WorkerError::Cut { .. } | WorkerError::Encode { .. });
        if is_lost || self.consumer.assignment_lost() {
            return Err(error);
        }
        metrics::counter!("tidewatch_aborts_total").increment(1);
        tracing::warn!(%error, family = self.family.topic, "a transaction failed; going on from what is committed");
        self.transaction.abort();
        self.transaction = Transaction::start(self.log, &self.transactional_id)?;
        let list = self.folded_partitions();
        // The pause of a drain that failed.
        self.consumer.resume(&list).map_err(WorkerError::kafka("resuming partitions"))?;
        let stored = self
            .consumer
            .committed_offsets(list, COORDINATOR)
            .map_err(WorkerError::kafka("fetching committed offsets"))?;
        let mut back = Vec::new();
        for element in stored.elements() {
            let partition = element.partition();
            let stored = match element.offset() {
                Offset::Offset(offset) => offset,
                _ => 0,
            };
            let Some(owned) = self.partitions.get_mut(partition) else { continue };
            let (before, after) = (owned.committed, owned.task.offset());
            match stored {
                stored if stored == before && (!owned.is_dirty || before != after) => {
                    owned.task.abort();
                    back.push((partition, before));
                }
                stored if stored == after && owned.is_dirty && before != after => {
                    owned.task.commit();
                    owned.committed = after;
                }
                // Committed within one record, or by somebody else: the changelog knows.
                _ => return Err(error),
            }
            owned.is_dirty = false;
        }
        self.rows.clear();
        self.unfinished = None;
        for (partition, offset) in back {
            self.seek(partition, offset)?;
        }
        self.committed_at = Instant::now();
        Ok(())
    }
}

/// Folds one record, as far as there is room for its rows. `true`: it has to be gone on with.
fn fold<O, M>(
    message: &M,
    family: &Family<O>,
    partitions: &mut Partitions<O>,
    room: usize,
    rows: &mut Vec<O::Row>,
    outcomes: &mut Outcomes,
) -> bool
where
    O: Operator,
    M: Message,
{
    // A record of a partition that was just handed over may still be in the queue: its new owner folds it.
    let Some(owned) = partitions.get_mut(message.partition()) else { return false };
    owned.is_dirty = true;
    match owned.task.process(&family.read(message), room, rows) {
        Step::Done(outcome) => {
            outcomes.add(outcome);
            false
        }
        Step::Full => true,
    }
}

fn send<R: OutputRow>(
    partition: i32,
    rows: &mut Vec<R>,
    transaction: &mut Transaction,
) -> Result<(), WorkerError> {
    transaction.outputs += rows.len();
    for row in rows.drain(..) {
        transaction.send_row(&row, partition)?;
    }
    Ok(())
}

/// Outcomes since the last commit: a metric costs more than a fold.
#[derive(Default)]
struct Outcomes {
    counts: [u64; OUTCOMES.len()],
}

const OUTCOMES: [Outcome; 5] =
    [Outcome::Folded, Outcome::Duplicate, Outcome::Late, Outcome::DeadLettered, Outcome::Mark];

impl Outcomes {
    fn add(&mut self, outcome: Outcome) {
        self.counts[outcome as usize] += 1;
    }

    fn publish(&mut self, family: &'static str) {
        for outcome in OUTCOMES {
            let count = std::mem::take(&mut self.counts[outcome as usize]);
            metrics::counter!("tidewatch_records_total", "family" => family, "outcome" => outcome.as_str())
                .increment(count);
        }
    }
}
