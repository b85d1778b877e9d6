//! The way in for Kafka clients: what they write to `intake.<family>` is validated, cleaned and copied to the family topic, each
//! record once (I5).
//!
//! A thread of its own consumes, transforms and produces in transactions: copies, dead letters and input offsets together.
//! It holds no state: after any failure it lets go and starts again from what is committed. A copy carries in a header
//! when its record was appended first, which is its time (I3).
//!
//! A refused record's letter in `dead-letters` says where it lies and why it was refused, but does not hold it: it has not been
//! cleaned.

mod transform;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerGroupMetadata};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;
use tokio_util::sync::CancellationToken;

use self::transform::{Transform, Transformed, append_time};
use super::source::Source;
use crate::codec::PinnedSchema;
use crate::config::ProcessConfig;
use crate::engine::id;
use crate::http::{ApiKeys, Readiness};
use crate::log::{Log, Restarts, first_append, statistics, topic_check, topics};
use crate::runtime;
use crate::runtime::{Engine, FailPoint, Member, RebalanceQueue, Transaction, WorkerError};

/// The topic that Kafka clients write of a family.
pub fn topic(family: &str) -> String {
    format!("intake.{family}")
}

/// The group of those that copy a family's intake topic, and the beginning of their transactional ids.
pub fn group(family: &str) -> String {
    format!("intake-{family}")
}

/// How long a poll waits for a record: bounds how late a commit or a stop is noticed.
const POLL: Duration = Duration::from_millis(10);
/// How long a transaction gathers, from the first record on.
const GATHER: Duration = Duration::from_millis(50);
/// A transaction closes at so many events or bytes.
const OUTPUTS: usize = 10_000;
const BYTES: usize = 8 << 20;
/// How long a request to a broker may take.
const BROKER: Duration = Duration::from_secs(10);
/// Rest before it starts again after a failure, and the longest after many.
const RESTART: Duration = Duration::from_millis(500);
const LONGEST_RESTART: Duration = Duration::from_secs(10);
/// After so many failures without a commit between them the part is not ready.
const FAILURES: u32 = 3;

/// Copies an intake topic to its family topic.
pub struct Intake<S: Source> {
    log: Log,
    process: ProcessConfig,
    transform: Transform<S>,
}

impl<S: Source> Intake<S> {
    /// What copies, by the keys and rules of the HTTP route. Its transactional id is made of `process.instance`, which every
    /// process of a system has for itself.
    pub(super) fn new(
        log: &Log,
        process: &ProcessConfig,
        keys: ApiKeys,
        rules: Arc<S::Rules>,
        schema: &'static PinnedSchema,
    ) -> Self {
        let transform = Transform::new(keys, rules, schema);
        Self { log: log.clone(), process: process.clone(), transform }
    }

    /// Copies the partitions that the group assigns to it, until `shutdown`.
    pub fn run(&self, readiness: &Readiness, shutdown: &CancellationToken) {
        let (mut failures, mut restarts) = (0, Restarts::new(RESTART, LONGEST_RESTART));
        readiness.set(true, "joining its group");
        while !shutdown.is_cancelled() {
            let ended = Copier::start(self).and_then(|copier| copier.run(&mut failures, readiness, shutdown));
            if let Err(error) = ended {
                failures += 1;
                if failures >= FAILURES {
                    readiness.set(false, format!("starting again after a failure: {error}"));
                }
                metrics::counter!("tidewatch_intake_restarts_total").increment(1);
                tracing::warn!(%error, topic = topic(S::NAME), "the copying starts again from what is committed");
                restarts.rest(Duration::ZERO, shutdown);
            }
        }
    }
}

/// One life of the copying: a consumer, a producer, and what has been copied since the last commit.
struct Copier<'a, S: Source> {
    intake: &'a Intake<S>,
    consumer: BaseConsumer<RebalanceQueue>,
    transaction: Transaction,
    topic: String,
    family_topic: String,
    partitions: u32,
    /// The partitions that are this one's, and the next record of each: all before it is committed, or in the transaction.
    next: BTreeMap<i32, i64>,
    /// The group has said which partitions are this one's; a spare one has none.
    has_joined: bool,
    /// Since when something has been read that is not committed.
    open_since: Option<Instant>,
    /// Events of the open transaction: copied, refused.
    counts: (u64, u64),
}

impl<'a, S: Source> Copier<'a, S> {
    fn start(intake: &'a Intake<S>) -> Result<Self, WorkerError> {
        let (Intake { log, process, .. }, group) = (intake, group(S::NAME));
        topic_check::check_blocking(log)?;
        // Before anything is read: this ends what a former life of this instance has left open.
        let transaction = Transaction::start(log, &format!("{group}-{}", process.instance))?;
        let consumer: BaseConsumer<RebalanceQueue> = log
            .consumer(&group)
            .set("session.timeout.ms", process.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (process.session_timeout.as_millis() / 4).to_string())
            .set("statistics.interval.ms", statistics::INTERVAL)
            .create_with_context(RebalanceQueue::new(group))
            .map_err(WorkerError::kafka("creating the consumer"))?;
        let topic = log.name(&topic(S::NAME));
        consumer.subscribe(&[&topic]).map_err(WorkerError::kafka("subscribing"))?;
        Ok(Self {
            intake,
            consumer,
            transaction,
            topic,
            family_topic: log.name(S::NAME),
            partitions: topics::named(S::NAME).map_or(1, |topic| topic.partitions.unsigned_abs()),
            next: BTreeMap::new(),
            has_joined: false,
            open_since: None,
            counts: (0, 0),
        })
    }

    fn run(
        mut self,
        failures: &mut u32,
        readiness: &Readiness,
        shutdown: &CancellationToken,
    ) -> Result<(), WorkerError> {
        let result = self.work(failures, readiness, shutdown);
        if result.is_err() {
            // No reader may wait for an open transaction until the broker's time-out.
            self.transaction.abort();
        }
        runtime::leave(&self.consumer);
        result
    }

    fn work(
        &mut self,
        failures: &mut u32,
        readiness: &Readiness,
        shutdown: &CancellationToken,
    ) -> Result<(), WorkerError> {
        while !shutdown.is_cancelled() {
            self.poll()?;
            self.rebalance()?;
            if self.is_full() || self.open_since.is_some_and(|since| since.elapsed() >= GATHER) {
                self.commit()?;
            }
            // It has joined, and nothing waits for a commit that may fail.
            if *failures > 0 && self.has_joined && self.open_since.is_none() {
                *failures = 0;
                readiness.set(true, "copying");
            }
        }
        self.commit()
    }

    fn is_full(&self) -> bool {
        self.transaction.outputs >= OUTPUTS || self.transaction.bytes >= BYTES
    }

    /// Copies what is there, at most for as long as a commit may wait.
    fn poll(&mut self) -> Result<(), WorkerError> {
        let until = Instant::now() + POLL;
        let mut wait = POLL;
        while !self.is_full() {
            let Some(polled) = self.consumer.poll(wait) else { break };
            match polled {
                Ok(message) => {
                    // One of a partition that was just handed over may still be in the queue: its new owner copies it.
                    let next = self.next.get_mut(&message.partition());
                    if let Some(next) = next.filter(|next| message.offset() >= **next) {
                        *next = message.offset() + 1;
                        let transformed = self.intake.transform.apply(&message);
                        let to = (self.family_topic.as_str(), self.partitions);
                        let counts = write(&transformed, &message, to, &mut self.transaction)?;
                        self.counts = (self.counts.0 + counts.0, self.counts.1 + counts.1);
                        self.open_since.get_or_insert_with(Instant::now);
                    }
                }
                Err(error @ KafkaError::MessageConsumptionFatal(_)) => {
                    return Err(WorkerError::kafka("consuming")(error));
                }
                // The client reconnects by itself.
                Err(error) => tracing::warn!(%error, topic = self.topic, "consuming"),
            }
            wait = Duration::ZERO;
            if Instant::now() >= until || self.consumer.context().has_changes() {
                break;
            }
        }
        Ok(())
    }

    /// The offset from which a partition is copied: the committed one, unless retention has passed it.
    fn first(&self, partition: i32, committed: Option<i64>) -> Result<i64, WorkerError> {
        let (low, _) = self
            .consumer
            .fetch_watermarks(&self.topic, partition, BROKER)
            .map_err(WorkerError::kafka("looking for a partition's beginning"))?;
        if let Some(committed) = committed
            && committed < low
        {
            let lost = low - committed;
            metrics::counter!("tidewatch_intake_lost_total").increment(lost.unsigned_abs());
            tracing::error!(
                topic = self.topic,
                partition,
                committed,
                low,
                "{lost} records were deleted before they were copied; raise retention.ms of the topic"
            );
        }
        Ok(committed.unwrap_or(low).max(low))
    }

    /// What shows the group that the partitions are still this one's (KIP-447). A client that has lost them must not speak:
    /// see the worker's own.
    fn membership(&self) -> Result<ConsumerGroupMetadata, WorkerError> {
        let group = self.consumer.group_metadata().ok_or(WorkerError::Lost)?;
        self.consumer.assignment().map_err(WorkerError::kafka("looking at the assignment"))?;
        if self.consumer.assignment_lost() { Err(WorkerError::Lost) } else { Ok(group) }
    }
}

impl<S: Source> Member for Copier<'_, S> {
    fn consumer(&self) -> &BaseConsumer<RebalanceQueue> {
        &self.consumer
    }

    fn commit(&mut self) -> Result<(), WorkerError> {
        if self.open_since.is_none() {
            return Ok(());
        }
        FailPoint::Outputs.reach(self.transaction.outputs);
        self.transaction.drain()?;
        // What failed at once is told here.
        self.transaction.poll(Duration::ZERO)?;
        FailPoint::Drained.reach(self.transaction.outputs);
        let mut offsets = TopicPartitionList::new();
        for (partition, next) in &self.next {
            offsets
                .add_partition_offset(&self.topic, *partition, Offset::Offset(*next))
                .map_err(WorkerError::kafka("committing offsets"))?;
        }
        self.transaction.send_offsets(&offsets, &self.membership()?)?;
        let outputs = self.transaction.outputs;
        FailPoint::Offsets.reach(outputs);
        self.transaction.commit()?;
        FailPoint::Committed.reach(outputs);
        self.open_since = None;
        let (copied, refused) = std::mem::take(&mut self.counts);
        for (outcome, count) in [("copied", copied), ("refused", refused)] {
            metrics::counter!("tidewatch_intake_events_total", "outcome" => outcome).increment(count);
        }
        Ok(())
    }

    /// Goes on where the group has come to, or from the beginning.
    fn take_over(&mut self, list: &TopicPartitionList) -> Result<(), WorkerError> {
        let committed = self.consumer.committed_offsets(list.clone(), BROKER);
        let mut begin = TopicPartitionList::new();
        let mut known = Ok(());
        for element in committed.as_ref().unwrap_or(list).elements() {
            let partition = element.partition();
            let next = match element.offset() {
                Offset::Offset(offset) => Some(offset),
                _ => None,
            };
            let added = self.first(partition, next).and_then(|first| {
                self.next.insert(partition, first);
                begin
                    .add_partition_offset(&self.topic, partition, Offset::Offset(first))
                    .map_err(WorkerError::kafka("taking partitions over"))
            });
            known = known.and(added);
        }
        // Answered in any case, as a revocation is.
        let answer = if committed.is_ok() && known.is_ok() { &begin } else { list };
        self.consumer.incremental_assign(answer).map_err(WorkerError::kafka("taking partitions over"))?;
        committed.map_err(WorkerError::kafka("fetching committed offsets"))?;
        known?;
        self.has_joined = true;
        Ok(())
    }

    fn hand_over(&mut self, partition: i32) {
        self.next.remove(&partition);
    }
}

/// Writes what follows from a record to the family topic, whose partitions are so many; how many events were copied, and how
/// many refused.
fn write(
    transformed: &Transformed,
    message: &impl Message,
    (topic, partitions): (&str, u32),
    transaction: &mut Transaction,
) -> Result<(u64, u64), WorkerError> {
    let appended_at = append_time(message);
    let input = message.partition();
    for record in &transformed.events {
        let to = (topic, id::partition(record.route, partitions));
        let headers = first_append::headers(appended_at);
        transaction.send_copy(to, record.key.as_bytes(), &record.value, headers, input)?;
    }
    if let Some(letter) = &transformed.letter {
        transaction.outputs += 1;
        transaction.send_row(&Engine(letter), input)?;
    }
    Ok((transformed.events.len() as u64, transformed.refused))
}
