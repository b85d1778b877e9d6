//! Bringing tasks to their last commit, from the changelog.
//!
//! What a commit in doubt has written must be seen: the changelog's end is taken uncommitted, and reading begins when
//! everything up to there is decided, committed or aborted (KAFKA-10167). Other partitions go on meanwhile.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::Offset;

use super::snapshot::{Origin, Snapshots};
use super::{COORDINATOR, WorkerError};
use crate::engine::{Operator, Restore, Task};
use crate::log::Log;
use crate::log::lag::Quiet;
use crate::settings::SettingsVersions;

/// How long a step may keep the worker from its other partitions.
const STEP: Duration = Duration::from_millis(20);
/// Rest between two looks at whether the end of the changelog is decided.
const LOOK: Duration = Duration::from_millis(20);

/// A partition whose state is wanted.
pub(super) struct Wanted<O: Operator> {
    pub task: Task<O>,
    /// The group's offset, where there is one.
    pub committed: Option<i64>,
    pub origin: Origin,
}

/// A partition whose state is at hand again.
pub(super) struct Restored<O: Operator> {
    pub partition: i32,
    pub task: Task<O>,
    pub committed: Option<i64>,
}

struct Restoring<O: Operator> {
    restore: Restore<O>,
    committed: Option<i64>,
    /// From where the changelog has to be read.
    start: i64,
    /// Its end, with what is not decided yet.
    end: i64,
    records: usize,
    began: Instant,
}

/// Partitions that are being restored together.
pub(super) struct Restoration<O: Operator> {
    consumer: BaseConsumer<Quiet>,
    changelog: String,
    restoring: BTreeMap<i32, Restoring<O>>,
    is_reading: bool,
    looked: Option<Instant>,
}

impl<O: Operator> Restoration<O> {
    /// Begins to restore partitions; local copies are used where `snapshots` has any.
    pub fn begin(
        log: &Log,
        wanted: BTreeMap<i32, Wanted<O>>,
        changelog: &str,
        snapshots: Option<&Snapshots>,
    ) -> Result<Self, WorkerError> {
        let client = |isolation| -> Result<BaseConsumer<Quiet>, WorkerError> {
            let mut settings = log.consumer("restore");
            settings.set("isolation.level", isolation).set("enable.partition.eof", "true");
            // The changelog is read in bulk.
            settings.set("fetch.message.max.bytes", "8388608").set("queued.max.messages.kbytes", "65536");
            settings
                .create_with_context(Quiet)
                .map_err(WorkerError::kafka("creating the consumer of a changelog"))
        };
        let uncommitted = client("read_uncommitted")?;
        let mut restoring = BTreeMap::new();
        for (partition, Wanted { task, committed, origin }) in wanted {
            let (_, end) = uncommitted
                .fetch_watermarks(changelog, partition, COORDINATOR)
                .map_err(WorkerError::kafka("fetching the end of a changelog"))?;
            let mut restore = task.restore();
            let snapshot = snapshots.and_then(|snapshots| snapshots.read(&origin, end));
            if let Some(snapshot) = &snapshot {
                for (key, value) in snapshot.cells() {
                    restore.apply(key, Some(value)).map_err(WorkerError::restore(changelog, partition))?;
                }
            }
            let start = snapshot.map_or(0, |snapshot| snapshot.changelog_end);
            tracing::info!(changelog, partition, start, end, committed, "restoring a partition's state");
            let began = Instant::now();
            restoring.insert(partition, Restoring { restore, committed, start, end, records: 0, began });
        }
        let changelog = changelog.to_owned();
        Ok(Self {
            consumer: client("read_committed")?,
            changelog,
            restoring,
            is_reading: false,
            looked: None,
        })
    }

    /// A partition that is somebody else's now.
    pub fn forget(&mut self, partition: i32) {
        self.restoring.remove(&partition);
    }

    pub fn is_finished(&self) -> bool {
        self.restoring.is_empty()
    }

    /// Reads on for a moment; returns the partitions that have come to their end.
    pub fn step(
        &mut self,
        versions: &mut SettingsVersions<O::Settings>,
    ) -> Result<Vec<Restored<O>>, WorkerError> {
        if !self.is_reading && !self.begin_reading()? {
            return Ok(Vec::new());
        }
        let until = Instant::now() + STEP;
        let mut restored = Vec::new();
        while !self.restoring.is_empty() && Instant::now() < until {
            let Some(polled) = self.consumer.poll(Duration::from_millis(5)) else { continue };
            match polled {
                Ok(message) => {
                    let partition = message.partition();
                    let Some(restoring) = self.restoring.get_mut(&partition) else { continue };
                    restoring.records += 1;
                    restoring
                        .restore
                        .apply(message.key().unwrap_or_default(), message.payload())
                        .map_err(WorkerError::restore(&self.changelog, partition))?;
                }
                Err(KafkaError::PartitionEOF(partition)) => {
                    if let Some(restoring) = self.restoring.remove(&partition) {
                        restored.push(self.finish(partition, restoring, versions)?);
                    }
                }
                Err(source) => return Err(WorkerError::Kafka { action: "reading a changelog", source }),
            }
        }
        Ok(restored)
    }

    /// Begins to read once every record up to the end is decided.
    fn begin_reading(&mut self) -> Result<bool, WorkerError> {
        if self.looked.is_some_and(|looked| looked.elapsed() < LOOK) {
            return Ok(false);
        }
        self.looked = Some(Instant::now());
        let mut list = TopicPartitionList::new();
        for (partition, restoring) in &self.restoring {
            // As a consumer of what is committed sees it: the last stable offset.
            let (_, stable) = self
                .consumer
                .fetch_watermarks(&self.changelog, *partition, COORDINATOR)
                .map_err(WorkerError::kafka("fetching the stable end of a changelog"))?;
            if stable < restoring.end {
                return Ok(false);
            }
            list.add_partition_offset(&self.changelog, *partition, Offset::Offset(restoring.start))
                .map_err(WorkerError::kafka("reading a changelog"))?;
        }
        self.consumer.assign(&list).map_err(WorkerError::kafka("reading a changelog"))?;
        self.is_reading = true;
        Ok(true)
    }

    fn finish(
        &self,
        partition: i32,
        restoring: Restoring<O>,
        versions: &mut SettingsVersions<O::Settings>,
    ) -> Result<Restored<O>, WorkerError> {
        let Restoring { restore, committed, records, began, .. } = restoring;
        let changelog = self.changelog.clone();
        let settings = |version| versions.at(version).map_err(|error| error.to_string());
        let task = restore.finish(settings).map_err(WorkerError::restore(&changelog, partition))?;
        // Both were written by the same transactions.
        if let Some(committed) = committed.filter(|committed| *committed != task.offset()) {
            return Err(WorkerError::Disagreement { changelog, partition, offset: task.offset(), committed });
        }
        let seconds = began.elapsed().as_secs_f64();
        metrics::counter!("tidewatch_restored_records_total").increment(records as u64);
        metrics::histogram!("tidewatch_restore_seconds").record(seconds);
        tracing::info!(
            changelog,
            partition,
            records,
            seconds,
            keys = task.keys(),
            offset = task.offset(),
            "restored"
        );
        Ok(Restored { partition, task, committed })
    }
}
