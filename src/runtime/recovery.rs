//! What a person decides about a job that can't go on: offsets are passed over, or the log is folded anew. The job's workers are away
//! meanwhile; what is decided is a transaction of its changelog and of its group's offsets, like a commit of theirs.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::topic_partition_list::TopicPartitionListElem;
use uuid::Uuid;

use super::changelog::ChangelogWriter;
use super::outbox::Outbox;
use super::output::{Engine, Value};
use super::restore::{Committed, Restoration, Restored, Wanted};
use super::transaction::Transaction;
use super::{COORDINATOR, Job, WorkerError, assignment, trim};
use crate::codec::CodecError;
use crate::engine::rows::{OperatorRow, RowMeta};
use crate::engine::{Operator, id};
use crate::log::lag::Quiet;
use crate::log::replay::Replay;
use crate::log::{Log, topics};

/// Why what was decided can't be done.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// Workers would not know of it.
    #[error(
        "workers of the job {job} are at work: stop them first (the roles process and all), and start them again afterwards"
    )]
    AtWork {
        /// The job.
        job: &'static str,
    },
    /// There is no such partition.
    #[error("the topic {topic} has no partition {partition}")]
    NoPartition {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: i32,
    },
    /// There is nothing to pass over.
    #[error(
        "{topic}/{partition}: all before offset {offset} is folded, and the topic has that: nothing is to be passed over"
    )]
    Nothing {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: i32,
        /// The next offset.
        offset: i64,
    },
    /// The log has no such offset.
    #[error("{topic}/{partition} has the offsets {first} to {end}, {offset} is none of them")]
    Outside {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: i32,
        /// What was asked for.
        offset: i64,
        /// The first offset that is left.
        first: i64,
        /// The end.
        end: i64,
    },
    /// Versions have no room for a further epoch.
    #[error("the job has begun anew {} times: begin anew under another kafka.prefix", id::LAST_EPOCH)]
    Epochs,
    /// What lies before can't be deleted, and would be read for its state.
    #[error(
        "what {changelog}/{partition} held before can't be deleted: {source}; allow DeleteRecords and run this again"
    )]
    NotDeleted {
        /// The changelog.
        changelog: String,
        /// The partition.
        partition: i32,
        /// What Kafka said.
        source: KafkaError,
    },
    /// A row of the past can't be read.
    #[error("{topic}/{partition} at offset {offset}: {source}")]
    Row {
        /// The topic.
        topic: &'static str,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: i64,
        /// What is wrong.
        source: CodecError,
    },
    /// As a worker's.
    #[error(transparent)]
    Worker(#[from] WorkerError),
}

/// What was passed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// The offset that was next.
    pub from: i64,
    /// The offset that is next now.
    pub to: i64,
}

/// The way to a job whose workers are away.
pub struct Recovery<'a, O: Operator> {
    job: &'a Job<O>,
    log: &'a Log,
    consumer: BaseConsumer<Quiet>,
    /// How far the partitions are, as the group knows it.
    committed: BTreeMap<i32, Committed>,
    transaction: Transaction,
    topic: String,
    changelog: String,
}

impl<'a, O> Recovery<'a, O>
where
    O: Operator,
    O::Row: OperatorRow,
{
    /// Makes sure that no worker of the job is at work.
    ///
    /// # Errors
    /// One is, or Kafka is away.
    pub fn start(job: &'a Job<O>, log: &'a Log) -> Result<Self, RecoveryError> {
        let group = job.group();
        let consumer: BaseConsumer<Quiet> = log
            .consumer(&group)
            .create_with_context(Quiet)
            .map_err(WorkerError::kafka("creating the consumer"))?;
        let (topic, changelog) = (log.name(job.topic), log.name(&job.changelog()));
        let committed = committed(&consumer, &topic, partitions(job))?;
        // While a group has members, it takes offsets of nobody else: so these, which are what it has, say whether it has any.
        let mut same = TopicPartitionList::new();
        for (partition, committed) in &committed {
            committed.add_to(&mut same, &topic, *partition)?;
        }
        if same.count() > 0 {
            consumer.commit(&same, CommitMode::Sync).map_err(|error| match error.rdkafka_error_code() {
                Some(
                    RDKafkaErrorCode::UnknownMemberId
                    | RDKafkaErrorCode::IllegalGeneration
                    | RDKafkaErrorCode::RebalanceInProgress,
                ) => RecoveryError::AtWork { job: job.name() },
                _ => WorkerError::kafka("looking at the group")(error).into(),
            })?;
        }
        let transaction = Transaction::start(log, &format!("{group}-recovery"))?;
        Ok(Self { job, log, consumer, committed, transaction, topic, changelog })
    }

    fn bounds(&self, partition: i32) -> Result<(i64, i64), RecoveryError> {
        let bounds = self.consumer.fetch_watermarks(&self.topic, partition, COORDINATOR);
        Ok(bounds.map_err(WorkerError::kafka("looking at the topic"))?)
    }

    /// Passes over what lies between the next offset of a partition and `to`; without it, the first offset that is left. Where the topic
    /// was made anew, that may lie before the next one: then all that it has is folded, under a further epoch.
    ///
    /// # Errors
    /// The log has no such offset, or the state can't be restored.
    pub fn skip(mut self, partition: i32, to: Option<i64>) -> Result<Skipped, RecoveryError> {
        let topic = self.job.topic;
        if !partitions(self.job).contains(&partition) {
            return Err(RecoveryError::NoPartition { topic, partition });
        }
        let (first, end) = self.bounds(partition)?;
        let Restored { mut task, mut changelog, .. } = self.restored(partition)?;
        let from = task.offset();
        let is_anew = match task.last_record() {
            Some(last) => !assignment::is_same_log(self.log, &self.topic, partition, last)?,
            None => false,
        };
        // What has been folded is not folded again, unless it is another log's.
        let to = to.unwrap_or(if is_anew { first } else { first.max(from) });
        if !(first..=end).contains(&to) {
            return Err(RecoveryError::Outside { topic, partition, offset: to, first, end });
        }
        if to == from || to < from && !is_anew {
            return Err(RecoveryError::Nothing { topic, partition, offset: from });
        }
        if to < from && task.epoch() == id::LAST_EPOCH {
            return Err(RecoveryError::Epochs);
        }
        task.skip_to(to);
        let mut outbox = Outbox::default();
        for row in task.accounting() {
            outbox.push_row(&Engine(&row)).map_err(WorkerError::encode("accounting"))?;
        }
        changelog.write(&mut task, &mut outbox, u64::MAX);
        self.commit(BTreeMap::from([(partition, (to, changelog, outbox))]))?;
        Ok(Skipped { from, to })
    }

    /// The state of a partition, as its last commit left it.
    fn restored(&mut self, partition: i32) -> Result<Restored<O>, RecoveryError> {
        let committed = self.committed.remove(&partition);
        let mut versions = self.job.settings_versions(self.log).map_err(WorkerError::from)?;
        let task = self.job.task(partition, versions.at(0).map_err(WorkerError::from)?);
        let wanted = BTreeMap::from([(partition, Wanted { task, committed })]);
        let mut restoration = Restoration::begin(self.log, wanted, &self.changelog)?;
        loop {
            // Each step waits for what the broker has to say.
            if let Some(restored) = restoration.step(&mut versions)?.pop() {
                return Ok(restored);
            }
        }
    }

    /// Lets the job fold its log from the beginning again, under an epoch whose rows replace those of the former ones.
    ///
    /// # Errors
    /// Kafka refuses.
    pub fn begin_anew(mut self, epoch: u8) -> Result<(), RecoveryError> {
        let mut versions = self.job.settings_versions(self.log).map_err(WorkerError::from)?;
        let before = versions.at(0).map_err(WorkerError::from)?;
        let mut begun = BTreeMap::new();
        for partition in partitions(self.job) {
            let (first, _) = self.bounds(partition)?;
            let (mut task, mut outbox) = (self.job.task(partition, Arc::clone(&before)), Outbox::default());
            let mut changelog = ChangelogWriter::default();
            changelog.begin_anew(&mut task, (first, epoch), &mut outbox);
            begun.insert(partition, (first, changelog, outbox));
        }
        self.commit(begun)?;
        for partition in partitions(self.job) {
            let Some(begin) = self.transaction.checkpoint(partition) else { continue };
            trim::delete(self.log, &self.changelog, partition, begin).map_err(|source| {
                RecoveryError::NotDeleted { changelog: self.changelog.clone(), partition, source }
            })?;
        }
        Ok(())
    }

    /// Commits what partitions have to send, with the offset at which each goes on, and its changelog as that leaves it.
    fn commit(
        &mut self,
        partitions: BTreeMap<i32, (i64, ChangelogWriter, Outbox)>,
    ) -> Result<(), RecoveryError> {
        let mut offsets = TopicPartitionList::new();
        for (partition, (offset, changelog, mut outbox)) in partitions {
            self.transaction.send_outbox(&mut outbox, partition, &self.changelog)?;
            let number = changelog.number().to_string();
            Committed { offset, number }.add_to(&mut offsets, &self.topic, partition)?;
        }
        self.transaction.drain()?;
        // Nobody is a member, so nobody's generation is to be shown.
        let group = self.consumer.group_metadata().ok_or(WorkerError::Lost)?;
        self.transaction.send_offsets(&offsets, &group)?;
        Ok(self.transaction.commit()?)
    }

    /// The epoch of the job's state.
    ///
    /// # Errors
    /// It can't be restored.
    pub fn state_epoch(&mut self) -> Result<u8, RecoveryError> {
        // The partitions begin anew together.
        Ok(self.restored(0)?.task.epoch())
    }

    /// The highest epoch of the job's rows.
    ///
    /// # Errors
    /// A row can't be read.
    pub fn epoch(&self) -> Result<u8, RecoveryError> {
        let mut epoch = 0;
        each_partition::<O>(self.log, |rows| {
            let versions = rows.iter().filter_map(|row| Some(row.meta()?.version));
            epoch = versions.map(id::epoch).fold(epoch, u8::max);
            Ok(())
        })?;
        Ok(epoch)
    }

    /// Retracts the rows of former epochs that the present one has not emitted again; how many they are.
    ///
    /// # Errors
    /// A row can't be read, or Kafka refuses.
    pub fn retract_former(mut self, epoch: u8) -> Result<u64, RecoveryError> {
        let mut retracted = 0;
        let (log, job) = (self.log, self.job.name());
        each_partition::<O>(log, |rows| {
            for mut row in rows {
                let is_stale = |meta: &&mut RowMeta| id::epoch(meta.version) < epoch && !meta.retracted;
                let Some(meta) = row.meta_mut().filter(is_stale) else { continue };
                // Whatever the present epoch may emit of it later is newer.
                (meta.retracted, meta.version) = (true, id::version(epoch, 0, 0));
                self.transaction.send_row(&row, 0)?;
                retracted += 1;
            }
            self.transaction.drain()?;
            Ok(self.transaction.commit_if_open()?)
        })?;
        tracing::info!(job, retracted, "rows that are not emitted again are retracted");
        Ok(retracted)
    }
}

/// The partitions of a job's topic.
fn partitions<O: Operator>(job: &Job<O>) -> Range<i32> {
    0..topics::named(job.topic).map_or(0, |topic| topic.partitions)
}

/// How far partitions are, as the group knows it, where it does.
fn committed(
    consumer: &BaseConsumer<Quiet>,
    topic: &str,
    partitions: Range<i32>,
) -> Result<BTreeMap<i32, Committed>, WorkerError> {
    let mut list = TopicPartitionList::new();
    for partition in partitions {
        list.add_partition(topic, partition);
    }
    let committed = consumer.committed_offsets(list, COORDINATOR);
    let committed = committed.map_err(WorkerError::kafka("fetching committed offsets"))?;
    let known = |element: &TopicPartitionListElem<'_>| Some((element.partition(), Committed::of(element)?));
    Ok(committed.elements().iter().filter_map(known).collect())
}

/// Looks at the last versions of the operator's rows, partition by partition: all versions of a row are in one.
fn each_partition<O>(
    log: &Log,
    mut look: impl FnMut(Vec<O::Row>) -> Result<(), RecoveryError>,
) -> Result<(), RecoveryError>
where
    O: Operator,
    O::Row: OperatorRow,
{
    let kafka = || WorkerError::kafka("reading rows");
    for topic in O::Row::TOPICS {
        for (partition, offsets) in Replay::stable_bounds(log, topic).map_err(kafka())? {
            let mut replay =
                Replay::start(log, topic, BTreeMap::from([(partition, offsets)])).map_err(kafka())?;
            let mut last = BTreeMap::<Uuid, (i64, O::Row)>::new();
            while let Some(message) = replay.read().map_err(kafka())? {
                let Some(read) = O::Row::read(topic, Value(message.payload())) else { continue };
                let row = read.map_err(|source| RecoveryError::Row {
                    topic,
                    partition,
                    offset: message.offset(),
                    source,
                })?;
                let Some(meta) = row.meta().filter(|meta| meta.operator == O::NAME) else { continue };
                let (id, version) = (meta.id, meta.version);
                if last.get(&id).is_none_or(|(known, _)| *known < version) {
                    last.insert(id, (version, row));
                }
            }
            look(last.into_values().map(|(_, row)| row).collect())?;
        }
    }
    Ok(())
}
