//! The engine's I/O: a thread that owns a consumer, a transactional producer and the tasks of its partitions. No async
//! and no lock inside; several threads are several such workers.
//!
//! # Exactly once (I5)
//! Outputs, changes of the state and input offsets are committed in one transaction (KIP-447: the group's generation
//! fences a worker that lost its partitions). A crash loses nothing but the open transaction, which no reader sees. What a
//! partition has to send is kept until it is committed (`outbox`): after a commit that failed the producer is made anew, which decides
//! what was in doubt, the group's offsets say how, and what is not committed is sent again.
//!
//! # State
//! A task's state is restored (`restore`) from its changelog, which holds what each commit has changed and checkpoints of the whole
//! (`changelog`). The records of a partition that is being restored wait in its queue; the others go on.
//!
//! # Marks (I4)
//! When a timer is due in silence the worker appends a mark to the partition: its append time moves the
//! clock. Whether and when it does so is not part of the fold; only the mark in the log is.

mod assignment;
mod changelog;
mod commit;
mod error;
mod fail_point;
mod job;
mod marks;
mod outbox;
mod output;
mod partitions;
mod rebalance;
mod recovery;
mod report;
mod restore;
mod transaction;
mod trim;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use tidewatch_kafka_batch::PartitionQueue;
use tokio_util::sync::CancellationToken;

pub use error::WorkerError;
pub(crate) use fail_point::FailPoint;
pub use job::{Decode, Job, changelog, group};
use marks::Marks;
pub(crate) use marks::is_mark;
pub(crate) use output::Engine;
pub use output::{OutputRow, Value};
use partitions::Partitions;
pub(crate) use rebalance::{Member, RebalanceQueue, leave};
pub use recovery::{Recovery, RecoveryError, Skipped};
use report::Reporter;
use restore::Restoration;
pub(crate) use transaction::Transaction;

use crate::config::ProcessConfig;
use crate::engine::{Operator, Outcome, Step};
use crate::http::Readiness;
use crate::log::{Log, Restarts, statistics, topic_check};
use crate::settings::SettingsVersions;

/// How long the worker waits where no record lies ready, and folds before it looks for anything else: bounds how late a record, a
/// commit, a mark or a stop is noticed.
const POLL: Duration = Duration::from_millis(10);
/// Records that are taken at once from a partition.
const BATCH: usize = 256;
/// How long a request to a broker may take.
const COORDINATOR: Duration = Duration::from_secs(10);
/// Rest before the worker starts again after a failure, and the longest after many.
const RESTART: Duration = Duration::from_millis(200);
const LONGEST_RESTART: Duration = Duration::from_secs(10);
/// Rest of a worker whose name another one uses too.
const FENCED: Duration = Duration::from_secs(2);
/// How long the broker may be slow to take outputs before the client has its say meanwhile.
const PRESSURE: Duration = Duration::from_millis(100);
/// After so many failures without a commit between them a worker is not ready.
const FAILURES: u32 = 3;

/// Folds the partitions of the job's topic that the group assigns to this worker, until `shutdown`; `thread` tells apart the workers
/// of one process. A failure makes it let go and start again from what is committed, with clients of its own; the
/// loop itself never ends otherwise.
pub fn run<O>(
    job: &Job<O>,
    log: &Log,
    config: &ProcessConfig,
    thread: usize,
    readiness: &Readiness,
    shutdown: &CancellationToken,
) where
    O: Operator,
    O::Row: OutputRow,
{
    let mut restarts = Restarts::new(RESTART, LONGEST_RESTART);
    while !shutdown.is_cancelled() {
        let ended =
            Worker::start(job, log, config, thread).and_then(|worker| worker.run(readiness, shutdown));
        if let Err(error) = ended {
            readiness.set(false, format!("starting again after a failure: {error}"));
            metrics::counter!("tidewatch_worker_restarts_total").increment(1);
            tracing::warn!(%error, job = job.name(), thread, "the worker lets go and starts again from what is committed");
            // Two of one name would take the partitions from each other without a rest.
            let is_fenced = matches!(error, WorkerError::Fenced { .. });
            restarts.rest(if is_fenced { FENCED } else { Duration::ZERO }, shutdown);
        }
    }
}

struct Worker<'a, O: Operator> {
    job: &'a Job<O>,
    log: &'a Log,
    config: &'a ProcessConfig,
    transactional_id: String,
    consumer: Arc<BaseConsumer<RebalanceQueue>>,
    transaction: Transaction,
    marks: Marks,
    partitions: Partitions<O>,
    restorations: Vec<Restoration<O>>,
    /// The records of partitions that are being restored.
    waiting: BTreeMap<i32, PartitionQueue<RebalanceQueue>>,
    topic: String,
    changelog: String,
    reporter: Reporter,
    versions: SettingsVersions<O::Settings>,
    /// All partitions have been under the newest settings since the last of them was taken over.
    is_current: bool,
    /// A record made more rows due than a transaction takes: it goes on after the commit.
    is_unfinished: bool,
    /// No record lay ready.
    is_idle: bool,
    rows: Vec<O::Row>,
    outcomes: Outcomes,
    /// The group has said which partitions are this worker's; a spare one has none.
    has_joined: bool,
    /// Transactions that failed one after the other.
    failures: u32,
    committed_at: Instant,
}

impl<'a, O> Worker<'a, O>
where
    O: Operator,
    O::Row: OutputRow,
{
    fn start(
        job: &'a Job<O>,
        log: &'a Log,
        config: &'a ProcessConfig,
        thread: usize,
    ) -> Result<Self, WorkerError> {
        topic_check::check_blocking(log)?;
        let transactional_id = format!("{}-{}-{thread}", job.group(), config.instance);
        // Before anything is read: this ends what a former life of this instance has left open.
        let transaction = Transaction::start(log, &transactional_id)?;
        let marks = Marks::start(log, job.topic)?;
        let consumer: BaseConsumer<RebalanceQueue> = log
            .consumer(&job.group())
            .set("session.timeout.ms", config.session_timeout.as_millis().to_string())
            .set("heartbeat.interval.ms", (config.session_timeout.as_millis() / 4).to_string())
            // A record that is gone before it was folded is an error, not a jump.
            .set("auto.offset.reset", "error")
            .set("statistics.interval.ms", statistics::INTERVAL)
            .create_with_context(RebalanceQueue::new(job.group()))
            .map_err(WorkerError::kafka("creating the consumer"))?;
        let topic = log.name(job.topic);
        consumer.subscribe(&[&topic]).map_err(WorkerError::kafka("subscribing"))?;
        Ok(Self {
            job,
            log,
            config,
            transactional_id,
            consumer: Arc::new(consumer),
            transaction,
            marks,
            partitions: Partitions::default(),
            restorations: Vec::new(),
            waiting: BTreeMap::new(),
            topic,
            changelog: log.name(&job.changelog()),
            reporter: Reporter::new(),
            versions: job.settings_versions(log)?,
            is_current: false,
            is_unfinished: false,
            is_idle: true,
            rows: Vec::new(),
            outcomes: Outcomes::default(),
            has_joined: false,
            failures: 0,
            committed_at: Instant::now(),
        })
    }

    fn run(mut self, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let result = self.work(readiness, shutdown);
        if result.is_err() {
            // No reader may wait for an open transaction until the broker's time-out.
            self.transaction.abort();
        }
        leave(&self.consumer);
        result
    }

    fn work(&mut self, readiness: &Readiness, shutdown: &CancellationToken) -> Result<(), WorkerError> {
        let mut last = None;
        while !shutdown.is_cancelled() {
            if let Err(error) = self.poll() {
                self.recover(error)?;
            }
            self.rebalance()?;
            self.restore()?;
            if self.is_commit_due() {
                self.commit()?;
            }
            let newest = self.versions.newest()?;
            self.marks.append_due(&mut self.partitions, newest);
            self.is_current |=
                self.partitions.iter().all(|(_, owned)| owned.task.settings().version >= newest);
            let state = if self.failures >= FAILURES {
                (false, "one transaction after the other fails: see the log")
            } else if !self.has_joined || !self.restorations.is_empty() || !self.is_current {
                (false, "waiting for partitions, or bringing them to their state and settings")
            } else if self.partitions.is_empty() {
                (true, "spare: the others have all partitions")
            } else {
                (true, "folding")
            };
            if last.replace(state) != Some(state) {
                readiness.set(state.0, state.1);
            }
        }
        // The last word: nobody has to wait for the next life to know what became of the records.
        self.reporter.make_due();
        self.commit()
    }

    /// Lets the client say what the group decides, and folds what is there, at most for as long as a commit may wait.
    fn poll(&mut self) -> Result<(), WorkerError> {
        let is_waiting = self.is_idle && self.restorations.is_empty();
        self.serve(if is_waiting { POLL } else { Duration::ZERO })?;
        let until = Instant::now() + POLL;
        (self.is_idle, self.is_unfinished) = (true, false);
        let all: Vec<i32> = self.partitions.iter().map(|(partition, _)| partition).collect();
        loop {
            let mut is_empty = true;
            for partition in &all {
                is_empty &= !self.fold_batch(*partition)?;
                if self.is_unfinished || self.is_full() {
                    return Ok(());
                }
            }
            self.is_idle &= is_empty;
            if is_empty || Instant::now() >= until || self.consumer.context().has_changes() {
                return Ok(());
            }
        }
    }

    /// Lets the client say what the group decides. Records don't come that way.
    fn serve(&self, wait: Duration) -> Result<(), WorkerError> {
        match self.consumer.poll(wait) {
            None => Ok(()),
            Some(Err(error)) => self.consuming(error),
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                Err(WorkerError::Stray { topic: self.topic.clone(), partition, offset })
            }
        }
    }

    /// Folds a batch of a partition's records, and sends their rows. Returns whether there was one.
    fn fold_batch(&mut self, partition: i32) -> Result<bool, WorkerError> {
        let (rows, bytes) = (self.partitions.rows(), self.partitions.bytes());
        let Some(owned) = self.partitions.get_mut(partition) else { return Ok(false) };
        if !owned.queue.fill(BATCH) {
            return Ok(false);
        }
        let (own_rows, own_bytes) = (owned.outbox.rows, owned.outbox.bytes());
        loop {
            let message = match owned.queue.front() {
                None => break,
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    owned.queue.advance();
                    self.consuming(error)?;
                    return Ok(true);
                }
            };
            // A seek that met the client still looking for where to begin may be lost: what has been folded is not folded again.
            if message.offset() >= owned.task.offset() {
                let taken = rows + owned.outbox.rows - own_rows;
                let room = self.config.commit_outputs.saturating_sub(taken).max(1);
                // One that can't be read yet stays: it is folded once that has been mended.
                let record = self.job.read(&message, &mut self.versions)?;
                owned.is_dirty = true;
                let step = owned.task.process(&record, room, &mut self.rows);
                for row in self.rows.drain(..) {
                    owned.outbox.push_row(&row).map_err(WorkerError::encode(row.topic()))?;
                }
                match step {
                    Step::Done(outcome) => self.outcomes.add(outcome),
                    Step::Full => {
                        self.is_unfinished = true;
                        break;
                    }
                }
            }
            owned.queue.advance();
            let is_full = rows + owned.outbox.rows - own_rows >= self.config.commit_outputs
                || bytes + owned.outbox.bytes() - own_bytes >= self.config.commit_bytes;
            if is_full {
                break;
            }
        }
        self.transaction.send_outbox(&mut owned.outbox, partition, &self.changelog)?;
        Ok(true)
    }

    /// What the consumer says instead of a record.
    fn consuming(&self, error: KafkaError) -> Result<(), WorkerError> {
        match error {
            KafkaError::MessageConsumption(RDKafkaErrorCode::AutoOffsetReset) => {
                Err(WorkerError::Cut { topic: self.topic.clone() })
            }
            KafkaError::MessageConsumptionFatal(_) => Err(WorkerError::kafka("consuming")(error)),
            // The client reconnects by itself.
            error => {
                tracing::warn!(%error, "consuming");
                Ok(())
            }
        }
    }
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

    fn publish(&mut self, family: &'static str, job: &'static str) {
        for outcome in OUTCOMES {
            let count = std::mem::take(&mut self.counts[outcome as usize]);
            metrics::counter!("tidewatch_records_total", "family" => family, "job" => job, "outcome" => outcome.as_str())
                .increment(count);
        }
    }
}
