//! The role `sink`: derived topics to the tables of ClickHouse.
//!
//! What is written where is data: `topics/*.yaml` names a topic's table, and a [`plan`] leads from its schema to the
//! table's columns. Rows are written **at least once**, and a batch's offsets are committed when every table has
//! acknowledged (I6); that a repeated row changes nothing is the tables' doing, by id and version.
//!
//! While one batch is being written the next one fills. When that is full, too, the partitions are paused, but the
//! consumer is polled all the time, so however long a table is away, the sink stays in its group and its memory stays
//! within two batches.

pub mod batch;
pub mod converter;
mod error;
mod fail_point;
pub mod group;
pub mod json;
pub mod migrate;
pub mod plan;
pub mod program;
pub mod record_part;
pub mod refusal;
pub mod row_binary;
pub mod shape;
mod sources;
pub mod types;
pub mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

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

use batch::{Batch, Offsets, Partition};
use fail_point::FailPoint;
use group::{GroupEvent, Membership};
use writer::{GivenUp, Writer};

use crate::config::{Config, SinkConfig};
use crate::http::Readiness;
use crate::log::{Log, statistics};
use crate::store;

/// The name of the group.
pub const GROUP: &str = "sink";

/// How long a batch may still take to be written once the process is to end.
const GRACE: Duration = Duration::from_secs(10);
/// After how long a failed commit is tried again.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

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
        commit_at: None,
        paused: false,
    };
    sink.run(consumer, events, shutdown).await
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
    /// When to commit once more, because a commit failed.
    commit_at: Option<Instant>,
    /// Whether partitions are paused, because two batches are full.
    paused: bool,
}

/// A batch on its way.
struct Writing {
    offsets: Offsets,
    task: JoinHandle<Result<(), GivenUp>>,
}

type GroupConsumer = StreamConsumer<Membership>;

impl Sink {
    async fn run(
        mut self,
        consumer: GroupConsumer,
        mut events: UnboundedReceiver<GroupEvent>,
        shutdown: CancellationToken,
    ) -> Result<(), SinkError> {
        while !shutdown.is_cancelled() {
            let write_at = self.filling.due_at(self.limits.batch_age).filter(|_| self.writing.is_none());
            tokio::select! {
                biased;
                () = shutdown.cancelled() => {}
                Some(event) = events.recv() => self.heed(event),
                result = finished(&mut self.writing) => {
                    // What was revoked meanwhile is not to be committed: hear of it first.
                    while let Ok(event) = events.try_recv() {
                        self.heed(event);
                    }
                    self.acknowledge(result)?;
                    self.commit(&consumer);
                    FailPoint::Committed.reach().await;
                    if self.filling.is_full(&self.limits) {
                        self.start_writing();
                    }
                    self.resume(&consumer)?;
                }
                () = reached(write_at) => self.start_writing(),
                () = reached(self.commit_at) => self.commit(&consumer),
                message = consumer.recv() => {
                    // Polling may have served a revocation: the old rows go before a new one comes.
                    while let Ok(event) = events.try_recv() {
                        self.heed(event);
                    }
                    self.read(&consumer, message)?;
                }
            }
        }
        while let Ok(event) = events.try_recv() {
            self.heed(event);
        }
        self.drain(consumer).await
    }

    fn heed(&mut self, event: GroupEvent) {
        match event {
            GroupEvent::Revoked(partitions) => {
                for (topic, number) in partitions {
                    if let Some(partition) = self.partition(&topic, number) {
                        self.forget(partition);
                    }
                }
            }
            GroupEvent::CommitFailed(error) => {
                tracing::warn!(%error, "offsets were not committed; they are committed again");
                self.commit_at = Some(Instant::now() + COMMIT_AGAIN);
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
                consumer.pause(&consumer.assignment()?)?;
                self.paused = true;
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
            Ok(()) => self.acknowledged.extend(writing.offsets),
            Err(GivenUp) => {
                tracing::warn!("a batch was given up; it is read again after the next start");
                // What follows it may not be committed either: an offset stands for all before it.
                self.filling = Batch::default();
            }
        }
        Ok(())
    }

    /// Commits all that is acknowledged, without waiting; the group tells if it failed.
    fn commit(&mut self, consumer: &GroupConsumer) {
        self.commit_at = None;
        if self.acknowledged.is_empty() {
            return;
        }
        let committed = self.offsets().and_then(|offsets| consumer.commit(&offsets, CommitMode::Async));
        if let Err(error) = committed {
            self.heed(GroupEvent::CommitFailed(error));
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

    fn resume(&mut self, consumer: &GroupConsumer) -> Result<(), SinkError> {
        if self.paused {
            consumer.resume(&consumer.assignment()?)?;
            self.paused = false;
        }
        Ok(())
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

/// That time; never, where there is none.
async fn reached(time: Option<Instant>) {
    match time {
        None => std::future::pending().await,
        Some(time) => tokio::time::sleep_until(time.into()).await,
    }
}
