//! `tidewatch skip` and `tidewatch refold`: what a person decides about a job that can't go on, or whose state is to be made anew.

use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use rdkafka::error::KafkaError;
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::engine::rows::OperatorRow;
use crate::engine::{Operator, id};
use crate::families::{self, Family, JobVisitor, Visitor};
use crate::http::Health;
use crate::log::replay::Replay;
use crate::log::{Log, lag};
use crate::runtime::{self, Job, Recovery, RecoveryError};

/// How often it is looked how far the fold has come.
const LOOK: Duration = Duration::from_millis(200);

/// Why a tool has failed.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no such job.
    #[error("there is no job {name}; there are {known}")]
    NoJob {
        /// What was asked for.
        name: String,
        /// Those that there are, with commas between.
        known: String,
    },
    /// What was decided can't be done.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// Kafka can't be asked.
    #[error("can't see how far the job has come: {0}; is Kafka reachable at kafka.brokers?")]
    Kafka(#[from] KafkaError),
    /// A worker ended.
    #[error("the fold has ended unexpectedly")]
    Ended,
}

/// Options of `tidewatch skip`.
#[derive(Debug, Args)]
pub struct SkipOptions {
    /// The job: see `tidewatch topology`
    job: String,
    /// The partition of its topic
    #[arg(long)]
    partition: i32,
    /// The offset to go on at [default: the first that the topic still has]
    #[arg(long)]
    to: Option<i64>,
}

/// Options of `tidewatch refold`.
#[derive(Debug, Args)]
pub struct RefoldOptions {
    /// The job: see `tidewatch topology`
    job: String,
    /// Goes on with one that was interrupted, instead of beginning at the beginning again
    #[arg(long = "continue")]
    is_continued: bool,
}

/// Passes over records that a job can't have, and says so.
pub fn skip(options: &SkipOptions, config: &Config) -> Result<(), ToolError> {
    with_job(&options.job, config, Work::Skip(options))
}

/// Folds the log of a job anew.
pub fn refold(options: &RefoldOptions, config: &Config) -> Result<(), ToolError> {
    with_job(&options.job, config, Work::Refold(options))
}

fn with_job(name: &str, config: &Config, work: Work<'_>) -> Result<(), ToolError> {
    let done = families::each(|| Find { name, config, work, done: None });
    let no_job = || {
        let known: Vec<&str> = families::jobs().iter().map(|job| job.name).collect();
        ToolError::NoJob { name: name.to_owned(), known: known.join(", ") }
    };
    done.into_iter().flatten().next().ok_or_else(no_job)?
}

#[derive(Clone, Copy)]
enum Work<'a> {
    Skip(&'a SkipOptions),
    Refold(&'a RefoldOptions),
}

/// Does it with the job of that name.
struct Find<'a> {
    name: &'a str,
    config: &'a Config,
    work: Work<'a>,
    done: Option<Result<(), ToolError>>,
}

impl Visitor for Find<'_> {
    type Output = Option<Result<(), ToolError>>;

    fn family<F: Family>(mut self) -> Self::Output {
        F::jobs(&mut self);
        self.done
    }
}

impl<F: Family> JobVisitor<F> for Find<'_> {
    fn job<O>(&mut self, job: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        if job.name() == self.name {
            let log = Log::new(&self.config.kafka);
            self.done = Some(match self.work {
                Work::Skip(options) => skip_job(&job, &log, options),
                Work::Refold(options) => refold_job(job, &log, self.config, options.is_continued),
            });
        }
    }
}

fn skip_job<O>(job: &Job<O>, log: &Log, options: &SkipOptions) -> Result<(), ToolError>
where
    O: Operator<Row: OperatorRow>,
{
    let skipped = Recovery::start(job, log)?.skip(options.partition, options.to)?;
    let (topic, partition, runtime::Skipped { from, to }) = (job.topic, options.partition, skipped);
    if to > from {
        println!(
            "{topic}/{partition}: the job {} goes on at offset {to}; {} offsets from {from} on were passed over and are counted as \
             skipped in the table accounting.",
            job.name(),
            to - from
        );
    } else {
        println!(
            "{topic}/{partition}: the job {} goes on at offset {to} of the topic that was made anew, under a further epoch.",
            job.name()
        );
    }
    Ok(())
}

fn refold_job<O>(job: Job<O>, log: &Log, config: &Config, is_continued: bool) -> Result<(), ToolError>
where
    O: Operator<Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
{
    let mut recovery = Recovery::start(&job, log)?;
    let epoch = if is_continued {
        // Perhaps it was interrupted before any row came of it.
        recovery.state_epoch()?
    } else {
        let next = Some(recovery.epoch()? + 1).filter(|epoch| *epoch <= id::LAST_EPOCH);
        let epoch = next.ok_or(RecoveryError::Epochs)?;
        recovery.begin_anew(epoch)?;
        println!(
            "The job {} folds {} anew, under epoch {epoch}. What is stored stays until it is replaced.",
            job.name(),
            job.topic
        );
        epoch
    };
    let job = Arc::new(job);
    fold(&job, log, config)?;
    let retracted = Recovery::start(&job, log)?.retract_former(epoch)?;
    println!(
        "It has caught up; {retracted} rows that were not emitted again are retracted. Start its workers again."
    );
    Ok(())
}

/// Runs workers of the job until they have folded what there is now.
fn fold<O>(job: &Arc<Job<O>>, log: &Log, config: &Config) -> Result<(), ToolError>
where
    O: Operator<Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
{
    let bounds = Replay::stable_bounds(log, job.topic)?;
    let total: i64 = bounds.values().map(|offsets| offsets.end - offsets.start).sum();
    let bar = ProgressBar::new(total.unsigned_abs());
    bar.set_style(
        ProgressStyle::with_template(
            "{bar:40} {percent:>3} % {human_pos} of {human_len} offsets, {elapsed_precise}",
        )
        .unwrap_or_else(|_| ProgressStyle::default_bar()),
    );
    let (health, shutdown) = (Health::default(), CancellationToken::new());
    let workers: Vec<_> = (0..config.process.threads)
        .map(|thread| {
            let (job, log, process) = (Arc::clone(job), log.clone(), config.process.clone());
            let (readiness, shutdown) = (health.part(&format!("{}-{thread}", job.name())), shutdown.clone());
            std::thread::spawn(move || runtime::run(&job, &log, &process, thread, &readiness, &shutdown))
        })
        .collect();
    let folded = loop {
        std::thread::sleep(LOOK);
        let committed = match lag::committed(log, &job.group(), job.topic, bounds.keys().copied()) {
            Ok(committed) => committed,
            Err(error) => break Err(error.into()),
        };
        let done = |(partition, offsets): (&i32, &std::ops::Range<i64>)| {
            committed
                .get(partition)
                .map_or(0, |offset| (*offset).clamp(offsets.start, offsets.end) - offsets.start)
        };
        let done: i64 = bounds.iter().map(done).sum();
        bar.set_position(done.unsigned_abs());
        if done == total {
            break Ok(());
        }
        if workers.iter().all(std::thread::JoinHandle::is_finished) {
            break Err(ToolError::Ended);
        }
    };
    shutdown.cancel();
    let ended = workers.into_iter().all(|worker| worker.join().is_ok());
    bar.finish();
    folded.and(if ended { Ok(()) } else { Err(ToolError::Ended) })
}
