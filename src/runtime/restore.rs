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
use rdkafka::topic_partition_list::{Offset, TopicPartitionListElem};

use super::changelog::ChangelogWriter;
use super::{COORDINATOR, WorkerError};
use crate::engine::{Block, BlockKind, BlockReader, Operator, Restore, RestoreError, Task};
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
    /// What the group knows of it, where it does.
    pub committed: Option<Committed>,
}

/// How far a partition is, as the group knows it.
#[derive(Debug)]
pub(super) struct Committed {
    pub offset: i64,
    /// The number of the last delta, as it stands beside the offset.
    pub number: String,
}

impl Committed {
    /// What an answer of the group says of a partition; `None`: it knows nothing of it.
    pub fn of(element: &TopicPartitionListElem<'_>) -> Option<Self> {
        match element.offset() {
            Offset::Offset(offset) => Some(Self { offset, number: element.metadata().to_owned() }),
            _ => None,
        }
    }

    /// Adds a partition with that to what is committed.
    pub fn add_to(
        &self,
        list: &mut TopicPartitionList,
        topic: &str,
        partition: i32,
    ) -> Result<(), WorkerError> {
        let mut element = list.add_partition(topic, partition);
        element.set_offset(Offset::Offset(self.offset)).map_err(WorkerError::kafka("committing offsets"))?;
        element.set_metadata(&self.number);
        Ok(())
    }
}

/// A partition whose state is at hand again.
pub(super) struct Restored<O: Operator> {
    pub partition: i32,
    pub task: Task<O>,
    pub changelog: ChangelogWriter,
    /// Whether the group knows how far it is.
    pub has_committed: bool,
    /// Where the last complete checkpoint begins, if something lies before it.
    pub begin: Option<i64>,
}

struct Restoring<O: Operator> {
    restore: Restore<O>,
    committed: Option<Committed>,
    /// The first offset that the changelog still has.
    start: i64,
    /// Its end, with what is not decided yet.
    end: i64,
    reader: BlockReader,
    /// Where the block begins that is being read.
    block: Option<i64>,
    /// The number of the last delta.
    number: Option<u64>,
    /// Bytes of deltas since the last complete checkpoint began; where that is, and its bytes.
    deltas: u64,
    checkpoint: Option<(i64, u64)>,
    /// The checkpoint that began last: where, its bytes, and those of the deltas since.
    under_way: Option<(i64, u64, u64)>,
    records: usize,
    began: Instant,
}

impl<O: Operator> Restoring<O> {
    fn new(task: Task<O>, committed: Option<Committed>, (start, end): (i64, i64)) -> Self {
        Self {
            restore: task.restore(),
            committed,
            start,
            end,
            reader: BlockReader::default(),
            block: None,
            number: None,
            deltas: 0,
            checkpoint: None,
            under_way: None,
            records: 0,
            began: Instant::now(),
        }
    }

    /// Takes the next record of the changelog; an error says what is wrong with it.
    fn apply(&mut self, offset: i64, record: &[u8]) -> Result<(), RestoreError> {
        self.records += 1;
        let offset = *self.block.get_or_insert(offset);
        let Some(Block { kind, number, cells }) = self.reader.push(record)? else { return Ok(()) };
        self.block = None;
        let bytes = cells.len() as u64;
        match kind {
            BlockKind::Delta => {
                if let Some(last) = self.number.filter(|last| last + 1 != number) {
                    return Err(RestoreError::Gap { last, number });
                }
                self.deltas += bytes;
                if let Some((.., deltas)) = &mut self.under_way {
                    *deltas += bytes;
                }
            }
            BlockKind::Anew => {
                self.restore.begin_anew();
                (self.checkpoint, self.deltas, self.under_way) = (Some((offset, bytes)), 0, None);
            }
            BlockKind::Begin => self.under_way = Some((offset, bytes, 0)),
            BlockKind::Slice => {
                if let Some((_, written, _)) = &mut self.under_way {
                    *written += bytes;
                }
            }
            BlockKind::End => {
                if let Some((begin, written, deltas)) = self.under_way.take() {
                    (self.checkpoint, self.deltas) = (Some((begin, written)), deltas);
                }
            }
        }
        self.number = Some(number);
        self.restore.apply(cells)
    }

    /// Whether all that the state is made of has been read.
    fn is_whole(&self) -> bool {
        self.checkpoint.is_some() || self.start == 0
    }
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
    /// Begins to restore partitions.
    pub fn begin(log: &Log, wanted: BTreeMap<i32, Wanted<O>>, changelog: &str) -> Result<Self, WorkerError> {
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
        for (partition, Wanted { task, committed }) in wanted {
            let (start, end) = uncommitted
                .fetch_watermarks(changelog, partition, COORDINATOR)
                .map_err(WorkerError::kafka("fetching the end of a changelog"))?;
            tracing::info!(changelog, partition, start, end, ?committed, "restoring a partition's state");
            restoring.insert(partition, Restoring::new(task, committed, (start, end)));
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
                    restoring
                        .apply(message.offset(), message.payload().unwrap_or_default())
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
        let changelog = self.changelog.clone();
        if !restoring.is_whole() {
            return Err(WorkerError::Incomplete {
                changelog,
                partition,
                reason: format!("it begins at offset {}, and no checkpoint follows", restoring.start),
            });
        }
        let Restoring { restore, committed, start, number, deltas, checkpoint, records, began, .. } =
            restoring;
        let number = number.unwrap_or(0);
        let settings = |version| versions.at(version).map_err(|error| error.to_string());
        let task = restore.finish(settings).map_err(WorkerError::restore(&changelog, partition))?;
        // Both were written by the same transactions.
        let has_committed = committed.is_some();
        // Somebody who sets an offset by hand names no delta.
        let differs = |committed: &Committed| {
            committed.offset != task.offset()
                || committed.number.parse().is_ok_and(|other: u64| other != number)
        };
        if let Some(committed) = committed.filter(differs) {
            return Err(WorkerError::Disagreement {
                changelog,
                partition,
                number,
                offset: task.offset(),
                committed: committed.number,
                committed_offset: committed.offset,
            });
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
        let bytes = checkpoint.map_or(0, |(_, bytes)| bytes);
        let changelog = ChangelogWriter::new(number, bytes, deltas);
        let begin = checkpoint.map(|(begin, _)| begin).filter(|begin| *begin > start);
        Ok(Restored { partition, task, changelog, has_committed, begin })
    }
}
