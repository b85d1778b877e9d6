//! The role `sink`: derived topics to the tables of ClickHouse.
//!
//! What is written where is data: `topics/*.yaml` names a topic's table, and a [`plan`] leads from its schema to the
//! table's columns. Rows are written **at least once**, and a batch's offsets are committed when every table has
//! acknowledged (I6); that a repeated row changes nothing is the tables' doing, by id and version.
//!
//! While one batch is being written the next one fills. When that is full, too, the partitions are paused, but the
//! consumer is polled all the time, so however long a table is away, the sink stays in its group and its memory stays
//! within two batches.

pub mod backoff;
pub mod batch;
pub mod converter;
mod error;
mod fail_point;
pub mod group;
pub mod migrate;
pub mod plan;
pub mod record_part;
pub mod refusal;
pub mod row_binary;
mod sources;
pub mod types;
pub mod writer;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use rdkafka::consumer::{CommitMode, Consumer, StreamConsumer};
use rdkafka::error::KafkaError;
use rdkafka::message::BorrowedMessage;
use rdkafka::producer::FutureProducer;
use rdkafka::{Message, Offset, TopicPartitionList};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

pub use error::SinkError;
pub use migrate::{Applied, MigrateError, describe, migrate};
pub use sources::{Source, of as source_of};

use backoff::backoff;
use batch::{Batch, Offsets, Partition};
use fail_point::FailPoint;
use group::{Membership, Revoked};
use writer::{GivenUp, Writer};

use crate::config::{Config, SinkConfig};
use crate::http::Readiness;
use crate::log::{Log, statistics, topic_check};
use crate::store;

/// The name of the group.
pub const GROUP: &str = "sink";

/// How long a batch may still take to be written once the process is to end.
const GRACE: Duration = Duration::from_secs(10);
/// After how long a failed commit is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// How long it waits for a message before it asks again.
const POLL: Duration = Duration::from_millis(100);
/// Messages that are taken at most before it looks for anything else.
const AT_ONCE: usize = 1_000;

/// Writes rows until `shutdown`; then writes what it has, commits it, and leaves the group.
///
/// # Errors
/// At start, if a topic and its table don't fit each other or a client can't be made; later only if Kafka declares
/// the consumer dead for good. A store that is away is no error: `readiness` tells of it.
pub async fn run(
    config: &Config,
    log: &Log,
    readiness: Readiness,
    shutdown: CancellationToken,
) -> Result<(), SinkError> {
    let mut delays = backoff();
    loop {
        // It waits for Kafka, so not on the runtime's threads.
        let asked = log.clone();
        let checked = tokio::task::spawn_blocking(move || topic_check::check_blocking(&asked)).await?;
        let Err(fault) = checked else { break };
        tracing::error!(%fault, "a topic is refused; it is looked at again");
        readiness.set(false, fault.to_string());
        tokio::select! {
            () = tokio::time::sleep(delays.next().unwrap_or_default()) => {}
            () = shutdown.cancelled() => return Ok(()),
        }
    }
    let client = store::client(&config.clickhouse);
    let Some(sources) =
        sources::plan(&client, &config.clickhouse.database, log, &readiness, &shutdown).await?
    else {
        return Ok(());
    };
    let sources: Arc<[Source]> = sources.into();
    let producer: FutureProducer = log.producer().set("delivery.timeout.ms", "30000").create()?;
    let (sender, events) = unbounded_channel();
    let consumer: StreamConsumer<Membership> = log
        .consumer(GROUP)
        .set("session.timeout.ms", config.sink.session_timeout.as_millis().to_string())
        // A third of it: with its own default, 3 s, the client would miss a short session each time.
        .set("heartbeat.interval.ms", (config.sink.session_timeout.as_millis() / 3).to_string())
        .set("statistics.interval.ms", statistics::INTERVAL)
        .create_with_context(Membership::new(sender))?;
    let topics: Vec<&str> = sources.iter().map(|source| source.topic.as_str()).collect();
    consumer.subscribe(&topics)?;
    readiness.set(true, "subscribed");
    let writer = Writer::new(client, producer, log, sources.clone(), readiness, shutdown.clone());
    let sink = Sink {
        limits: config.sink.clone(),
        sources,
        writer: Arc::new(writer),
        filling: Batch::default(),
        writing: None,
        acknowledged: Offsets::new(),
        committing: None,
        commit_at: None,
        paused: BTreeSet::new(),
    };
    sink.run(Arc::new(consumer), events, shutdown).await
}

struct Sink {
    limits: SinkConfig,
    sources: Arc<[Source]>,
    writer: Arc<Writer>,
    /// What was read and is not being written yet.
    filling: Batch,
    writing: Option<Writing>,
    /// What all tables have acknowledged, of the partitions that are this sink's.
    acknowledged: Offsets,
    /// A commit on its way.
    committing: Option<JoinHandle<Result<(), KafkaError>>>,
    /// When to commit next: after a batch at once, after a failure a while later.
    commit_at: Option<Instant>,
    /// Partitions (topic on the cluster, number) that are paused, because two batches are full.
    paused: BTreeSet<(String, i32)>,
}

/// A batch on its way.
struct Writing {
    offsets: Offsets,
    task: JoinHandle<Result<(), GivenUp>>,
}

type GroupConsumer = Arc<StreamConsumer<Membership>>;

impl Sink {
    async fn run(
        mut self,
        consumer: GroupConsumer,
        mut events: UnboundedReceiver<Revoked>,
        shutdown: CancellationToken,
    ) -> Result<(), SinkError> {
        while !shutdown.is_cancelled() {
            let write_at = self.filling.due_at(self.limits.batch_age).filter(|_| self.writing.is_none());
            let commit_at = self.commit_at.filter(|_| self.committing.is_none());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                Some(revoked) = events.recv() => self.heed(revoked),
                result = ended(&mut self.committing) => self.committed(result?).await,
                result = finished(&mut self.writing) => {
                    // What was revoked meanwhile is not to be committed: hear of it first.
                    while let Ok(revoked) = events.try_recv() {
                        self.heed(revoked);
                    }
                    self.acknowledge(result)?;
                    if self.filling.is_full(&self.limits) {
                        self.start_writing();
                    }
                    self.resume(&consumer)?;
                }
                () = reached(write_at) => self.start_writing(),
                () = reached(commit_at) => self.commit(&consumer),
                message = consumer.recv() => {
                    self.take(&consumer, &mut events, message)?;
                    // What lies ready needs no other look at all the rest.
                    for _ in 1..AT_ONCE {
                        if !self.paused.is_empty() {
                            break;
                        }
                        let Some(message) = consumer.recv().now_or_never() else { break };
                        self.take(&consumer, &mut events, message)?;
                    }
                }
                // The client is polled again: it does not always wake who waits for it
                // (<https://github.com/fede1024/rust-rdkafka/issues/665>), and a rebalance that nobody answers stops the group.
                () = tokio::time::sleep(POLL) => {}
            }
        }
        while let Ok(revoked) = events.try_recv() {
            self.heed(revoked);
        }
        self.drain(consumer).await
    }

    fn heed(&mut self, Revoked(partitions): Revoked) {
        for (topic, number) in partitions {
            if let Some(partition) = self.partition(&topic, number) {
                self.forget(partition);
            }
        }
    }

    /// The partition is another's: it reads again what this sink has not committed, and this sink commits it no more.
    /// Rows that are on their way may still arrive, and change nothing (I6).
    fn forget(&mut self, partition: Partition) {
        self.filling.forget(partition);
        if let Some(writing) = &mut self.writing {
            writing.offsets.remove(&partition);
        }
        self.acknowledged.remove(&partition);
    }

    fn take(
        &mut self,
        consumer: &GroupConsumer,
        events: &mut UnboundedReceiver<Revoked>,
        message: Result<BorrowedMessage<'_>, KafkaError>,
    ) -> Result<(), SinkError> {
        // Polling may have served a revocation: the old rows go before a new one comes.
        while let Ok(revoked) = events.try_recv() {
            self.heed(revoked);
        }
        self.read(consumer, message)
    }

    fn read(
        &mut self,
        consumer: &GroupConsumer,
        message: Result<BorrowedMessage<'_>, KafkaError>,
    ) -> Result<(), SinkError> {
        let message = match message {
            Ok(message) => message,
            Err(error @ KafkaError::MessageConsumptionFatal(_)) => return Err(error.into()),
            Err(error) => {
                tracing::warn!(%error, "can't read from Kafka; it is tried again");
                return Ok(());
            }
        };
        let Some(partition) = self.partition(message.topic(), message.partition()) else {
            return Ok(()); // not subscribed, so this can't come
        };
        let source = &self.sources[partition.source];
        self.filling.add(partition, message.offset(), |rows| source.convert(&message, rows))?;
        if self.filling.is_full(&self.limits) {
            if self.writing.is_none() {
                self.start_writing();
            } else {
                // Also when they are paused already: partitions that were assigned since are not.
                let assignment = consumer.assignment()?;
                consumer.pause(&assignment)?;
                let partitions = assignment.elements();
                let names = partitions.iter().map(|place| (place.topic().to_owned(), place.partition()));
                self.paused.extend(names);
            }
        }
        Ok(())
    }

    fn partition(&self, topic: &str, number: i32) -> Option<Partition> {
        let source = self.sources.iter().position(|source| source.topic == topic)?;
        Some(Partition { source, number })
    }

    fn start_writing(&mut self) {
        let (load, offsets) = self.filling.take();
        let writer = self.writer.clone();
        let task = tokio::spawn(async move { writer.write(load).await });
        self.writing = Some(Writing { offsets, task });
    }

    fn acknowledge(&mut self, result: Result<Result<(), GivenUp>, JoinError>) -> Result<(), SinkError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        match result? {
            Ok(()) => {
                self.acknowledged.extend(writing.offsets);
                self.commit_at = Some(Instant::now());
            }
            Err(GivenUp) => {
                tracing::warn!("a batch was given up; it is read again after the next start");
                // What follows it may not be committed either: an offset stands for all before it.
                self.filling = Batch::default();
            }
        }
        Ok(())
    }

    /// Commits all that is acknowledged, on a thread that may wait: of a commit without waiting rdkafka does not tell that it
    /// failed, and after the last batch no other one would make up for it.
    fn commit(&mut self, consumer: &GroupConsumer) {
        self.commit_at = None;
        if self.acknowledged.is_empty() {
            return;
        }
        let (offsets, consumer) = (self.offsets(), Arc::clone(consumer));
        let commit = move || consumer.commit(&offsets?, CommitMode::Sync);
        self.committing = Some(tokio::task::spawn_blocking(commit));
    }

    async fn committed(&mut self, result: Result<(), KafkaError>) {
        match result {
            Ok(()) => FailPoint::Committed.reach().await,
            Err(error) => {
                tracing::warn!(%error, "offsets were not committed; they are committed again");
                self.commit_at = Some(Instant::now() + COMMIT_AGAIN);
            }
        }
    }

    fn offsets(&self) -> Result<TopicPartitionList, KafkaError> {
        let mut list = TopicPartitionList::with_capacity(self.acknowledged.len());
        for (partition, offset) in &self.acknowledged {
            let topic = &self.sources[partition.source].topic;
            list.add_partition_offset(topic, partition.number, Offset::Offset(*offset))?;
        }
        Ok(list)
    }

    /// Resumes what was paused, also what is not this sink's any more: a client remembers a pause beyond a rebalance, and a
    /// partition that comes back to it would never be read again.
    fn resume(&mut self, consumer: &GroupConsumer) -> Result<(), SinkError> {
        if self.paused.is_empty() {
            return Ok(());
        }
        let mut list = TopicPartitionList::with_capacity(self.paused.len());
        for (topic, number) in std::mem::take(&mut self.paused) {
            list.add_partition(&topic, number);
        }
        Ok(consumer.resume(&list)?)
    }

    /// Writes what was read, commits it and leaves the group; what takes too long is left for the next start.
    async fn drain(mut self, consumer: GroupConsumer) -> Result<(), SinkError> {
        let deadline = tokio::time::Instant::now() + GRACE;
        while self.writing.is_some() || !self.filling.is_empty() {
            if self.writing.is_none() {
                self.start_writing();
            }
            match tokio::time::timeout_at(deadline, finished(&mut self.writing)).await {
                Ok(result) => self.acknowledge(result)?,
                Err(_) => {
                    tracing::warn!(grace = ?GRACE, "a batch was not written in time; it is read again after the next start");
                    if let Some(writing) = self.writing.take() {
                        writing.task.abort();
                    }
                    break;
                }
            }
        }
        if let Some(committing) = self.committing.take() {
            // What it says is said once more below.
            let _ = committing.await?;
        }
        let offsets = self.offsets()?;
        tokio::task::spawn_blocking(move || {
            if offsets.count() > 0
                && let Err(error) = consumer.commit(&offsets, CommitMode::Sync)
            {
                tracing::warn!(%error, "the last offsets were not committed; their rows are written again");
            }
            drop(consumer); // leaves the group
        })
        .await?;
        Ok(())
    }
}

/// The end of the batch on its way; never, where there is none.
async fn finished(writing: &mut Option<Writing>) -> Result<Result<(), GivenUp>, JoinError> {
    match writing {
        None => std::future::pending().await,
        Some(writing) => (&mut writing.task).await,
    }
}

/// The end of a task, which is gone then; never, where there is none.
async fn ended<T>(task: &mut Option<JoinHandle<T>>) -> Result<T, JoinError> {
    match task {
        None => std::future::pending().await,
        Some(running) => {
            let result = running.await;
            *task = None;
            result
        }
    }
}

/// That time; never, where there is none.
async fn reached(time: Option<Instant>) {
    match time {
        None => std::future::pending().await,
        Some(time) => tokio::time::sleep_until(time.into()).await,
    }
}
