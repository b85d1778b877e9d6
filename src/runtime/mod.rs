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
//! (`changelog`). A partition that is being restored is paused; the others go on.
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
mod report;
mod restore;
mod transaction;
mod trim;

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedMessage};
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
use report::Reporter;
use restore::Restoration;
pub(crate) use transaction::Transaction;

use crate::config::ProcessConfig;
use crate::engine::{Operator, Outcome, Step};
use crate::http::Readiness;
use crate::log::{Log, Restarts, statistics, topic_check};
use crate::settings::SettingsVersions;

/// How long a poll waits for a record: bounds how late a commit, a mark or a stop is noticed.
const POLL: Duration = Duration::from_millis(10);
/// How long a request to a broker may take.
const COORDINATOR: Duration = Duration::from_secs(10);
/// Rest before the worker starts again after a failure, and the longest after many.
const RESTART: Duration = Duration::from_millis(200);
const LONGEST_RESTART: Duration = Duration::from_secs(10);
/// Rest of a worker whose name another one uses too.
const FENCED: Duration = Duration::from_secs(2);
/// How long the broker may be slow to take outputs before the partitions are paused.
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
    consumer: BaseConsumer<RebalanceQueue>,
    transaction: Transaction,
    marks: Marks,
    partitions: Partitions<O>,
    restorations: Vec<Restoration<O>>,
    topic: String,
    changelog: String,
    reporter: Reporter,
    versions: SettingsVersions<O::Settings>,
    /// All partitions have been under the newest settings since the last of them was taken over.
    is_current: bool,
    /// A record that made more rows due than a transaction takes: it goes on after the commit.
    unfinished: Option<OwnedMessage>,
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
            consumer,
            transaction,
            marks,
            partitions: Partitions::default(),
            restorations: Vec::new(),
            topic,
            changelog: log.name(&job.changelog()),
            reporter: Reporter::new(),
            versions: job.settings_versions(log)?,
            is_current: false,
            unfinished: None,
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

    /// Folds what is there, at most for as long as a commit may wait.
    fn poll(&mut self) -> Result<(), WorkerError> {
        if let Some(message) = self.unfinished.take() {
            let folded = self.fold(&message);
            if !matches!(folded, Ok(false)) {
                self.unfinished = Some(message);
            }
            folded?;
        }
        let until = Instant::now() + POLL;
        let mut wait = if self.restorations.is_empty() { POLL } else { Duration::ZERO };
        let mut polled_messages = 0_u32;
        while self.unfinished.is_none() && !self.is_full() {
            let Some(polled) = self.consumer.poll(wait) else { break };
            match polled {
                Ok(message) => {
                    let room = self.config.commit_outputs.saturating_sub(self.partitions.rows()).max(1);
                    let Self { job, partitions, transaction, changelog, rows, outcomes, versions, .. } = self;
                    let folded = fold(&message, job, versions, partitions, room, rows, outcomes);
                    // One that could not be read yet is folded once that has been mended: nothing reads it again.
                    if !matches!(folded, Ok(false)) {
                        self.unfinished = Some(message.detach());
                    }
                    folded?;
                    send(message.partition(), partitions, rows, transaction, changelog)?;
                }
                Err(error) => self.consuming(error)?,
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

    /// Goes on with a record that was not finished; `true` if it still is not.
    fn fold(&mut self, message: &OwnedMessage) -> Result<bool, WorkerError> {
        let Self { job, partitions, transaction, changelog, rows, outcomes, config, versions, .. } = self;
        let is_unfinished = fold(message, job, versions, partitions, config.commit_outputs, rows, outcomes)?;
        send(message.partition(), partitions, rows, transaction, changelog)?;
        Ok(is_unfinished)
    }
}

/// Folds one record, as far as there is room for its rows. `true`: it has to be gone on with.
fn fold<O, M>(
    message: &M,
    job: &Job<O>,
    versions: &mut SettingsVersions<O::Settings>,
    partitions: &mut Partitions<O>,
    room: usize,
    rows: &mut Vec<O::Row>,
    outcomes: &mut Outcomes,
) -> Result<bool, WorkerError>
where
    O: Operator,
    M: Message,
{
    // A record of a partition that was just handed over may still be in the queue: its new owner folds it.
    let Some(owned) = partitions.get_mut(message.partition()) else { return Ok(false) };
    // A seek that met the client still looking for where to begin may be lost: what has been folded is not folded again.
    if message.offset() < owned.task.offset() {
        return Ok(false);
    }
    let record = job.read(message, versions)?;
    owned.is_dirty = true;
    Ok(match owned.task.process(&record, room, rows) {
        Step::Done(outcome) => {
            outcomes.add(outcome);
            false
        }
        Step::Full => true,
    })
}

/// Puts rows into their partition's outbox, and sends them.
fn send<O>(
    partition: i32,
    partitions: &mut Partitions<O>,
    rows: &mut Vec<O::Row>,
    transaction: &mut Transaction,
    changelog: &str,
) -> Result<(), WorkerError>
where
    O: Operator,
    O::Row: OutputRow,
{
    let Some(owned) = partitions.get_mut(partition) else { return Ok(()) };
    for row in rows.drain(..) {
        owned.outbox.push_row(&row).map_err(WorkerError::encode(row.topic()))?;
    }
    transaction.send_outbox(&mut owned.outbox, partition, changelog)
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
