//! The past once more: the log is folded under the settings in force and, beside it, under others; what differs is what
//! they would change. Or it is folded as its marks say, and compared with what the workers have emitted.
//!
//! Each thread folds partitions of its own, in tasks like those of a worker; nothing is written. The settings of a
//! side hold from the first record on, as in a system that has known no others. After the last record silence
//! passes, in which timers fire. Rows are compared as they stand at the end, by what they say: ids, contents,
//! whether they hold; not by how they came about (version, settings, evidence, finality).

mod difference;
mod emitted;
mod facets;
mod finding;
mod fold;
mod progress;
pub mod routes;
mod summary;
pub mod tool;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use rdkafka::error::KafkaError;
use serde::Serialize;

pub use self::difference::{Difference, Kind};
use self::fold::{Comparison, Rows, Sides};
pub use self::progress::Progress;
use self::summary::Counter;
pub use self::summary::{Group, Summary, Tally};
use crate::codec::CodecError;
use crate::codec::json::rfc3339_or_null;
use crate::engine::rows::OperatorRow;
use crate::engine::{Millis, Operator};
use crate::families::{self, Family, JobVisitor, Visitor};
use crate::log::Log;
use crate::log::replay::Replay;
use crate::runtime::Job;
use crate::settings::{Changed, History, Json, Problem, Reader, SettingsError, SettingsKind, difference};

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Question {
    /// The family.
    pub family: &'static SettingsKind,
    /// Whose rows; without one, everybody's.
    pub tenant: Option<String>,
    /// What would be set for that tenant, or for all, in the place of what is. Without it the log is folded as its
    /// marks say, and compared with what has been emitted.
    pub document: Option<Json>,
    /// Only rows that were emitted for records appended since; those before bring the state to what it was.
    pub from: Option<Millis>,
    /// Only records appended until then, and silence up to then.
    pub to: Option<Millis>,
    /// How many partitions are folded at once.
    pub threads: usize,
}

/// What came out.
#[derive(Debug, Serialize)]
pub struct Findings {
    /// What was folded.
    pub replayed: Replayed,
    /// In what the settings differ that are compared.
    pub settings: BTreeMap<String, Changed>,
    /// Rows on either side.
    pub summary: Summary,
    /// Where they differ: by topic and kind, in the order in which they began.
    #[serde(skip)]
    pub differences: Vec<Difference>,
}

/// What was folded.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Replayed {
    /// Records, marks among them.
    pub records: u64,
    /// Records at the beginning of the log that retention has taken: without them the state is not what it was.
    pub missing: u64,
    /// The append time of the first record.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub began_at: Option<Millis>,
    /// Up to where time passed.
    #[serde(serialize_with = "rfc3339_or_null")]
    pub ended_at: Option<Millis>,
}

/// Why nothing came out.
#[derive(Debug, thiserror::Error)]
pub enum BacktestError {
    /// The log can't be read.
    #[error("reading {topic} failed: {source}; is Kafka reachable at kafka.brokers?")]
    Kafka {
        /// The topic.
        topic: String,
        /// The cause.
        source: KafkaError,
    },
    /// Settings can't be read.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The document can't be set.
    #[error(transparent)]
    Document(#[from] Problem),
    /// A row of a derived topic can't be read.
    #[error("{topic}/{partition} at offset {offset}: {source}")]
    Row {
        /// Topic.
        topic: String,
        /// Partition.
        partition: i32,
        /// Offset.
        offset: i64,
        /// The cause.
        source: CodecError,
    },
    /// A row can't be written down: a fault of the program.
    #[error("a row can't be written down: {0}")]
    Encode(#[from] CodecError),
    /// A row can't be written as JSON: a fault of the program.
    #[error("a row can't be written as JSON: {0}")]
    Json(#[source] serde_json::Error),
    /// There is no such family.
    #[error("the family {0} has no operators")]
    NoFamily(&'static str),
    /// Somebody has stopped it.
    #[error("stopped")]
    Stopped,
    /// A thread failed: a fault of the program.
    #[error("a thread of the backtest panicked")]
    Panicked,
}

impl BacktestError {
    fn kafka(topic: &str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { topic: topic.to_owned(), source }
    }
}

/// Folds the log by each job of the family, and compares.
pub fn run(log: &Log, question: &Question, progress: &Progress) -> Result<Findings, BacktestError> {
    let name = question.family.name;
    families::with(name, Run { log, question, progress }).ok_or(BacktestError::NoFamily(name))?
}

struct Run<'a> {
    log: &'a Log,
    question: &'a Question,
    progress: &'a Progress,
}

impl Visitor for Run<'_> {
    type Output = Result<Findings, BacktestError>;

    fn family<F: Family>(self) -> Self::Output {
        let &Self { log, question, .. } = &self;
        let topic = F::NAME;
        let bounds = Replay::bounds(log, topic).map_err(BacktestError::kafka(topic))?;
        let missing = bounds.values().map(|offsets| offsets.start.unsigned_abs()).sum();
        let (histories, settings) = match &question.document {
            None => (None, BTreeMap::new()),
            Some(document) => {
                let &Question { family, .. } = question;
                let tenant = question.tenant.as_deref();
                let reader = Reader::start(log)?;
                reader.history().check(family, tenant, document)?;
                let other = reader.history().with(family, tenant, document);
                let [before, after] =
                    [reader.history(), &other].map(|history| history.effective(family, tenant, i64::MAX));
                (Some((reader, other)), difference(&before, &after))
            }
        };
        let mut jobs = Jobs {
            run: &self,
            bounds,
            histories: histories.as_ref().map(|(reader, other)| [reader.history(), other]),
            counter: Counter::default(),
            differences: Vec::new(),
            replayed: Replayed::default(),
            outcome: Ok(()),
        };
        F::jobs(&mut jobs);
        jobs.outcome?;
        let Jobs { counter, mut differences, mut replayed, .. } = jobs;
        differences.sort_by_cached_key(Difference::order);
        replayed.missing = missing;
        Ok(Findings { replayed, settings, summary: counter.finish(), differences })
    }
}

/// Compares job by job.
struct Jobs<'a> {
    run: &'a Run<'a>,
    bounds: BTreeMap<i32, Range<i64>>,
    /// The settings in force, and the same with a document set.
    histories: Option<[&'a History; 2]>,
    counter: Counter,
    differences: Vec<Difference>,
    replayed: Replayed,
    outcome: Result<(), BacktestError>,
}

impl<F: Family> JobVisitor<F> for Jobs<'_> {
    fn job<O>(&mut self, job: Job<O>)
    where
        O: Operator<Event = F::Event, Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        if self.outcome.is_ok() {
            self.outcome = self.compare(&job);
        }
    }
}

impl Jobs<'_> {
    fn compare<O>(&mut self, job: &Job<O>) -> Result<(), BacktestError>
    where
        O: Operator<Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        let (rows, replayed) = match self.histories {
            Some(histories) => self.under_other_settings(job, histories)?,
            None => self.as_emitted(job)?,
        };
        self.replayed.take_in(replayed);
        rows.compare(self.histories.is_none(), &mut self.counter, &mut self.differences)?;
        Ok(())
    }

    /// The settings in force beside the same with a document set.
    fn under_other_settings<O>(
        &self,
        job: &Job<O>,
        histories: [&History; 2],
    ) -> Result<(Rows<O::Row>, Replayed), BacktestError>
    where
        O: Operator<Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        let Run { log, question, progress } = self.run;
        let [before, after] = histories.map(|history| (job.settings)(history, history.newest(job.topic)));
        let sides = Sides::Settings([Arc::new(before?), Arc::new(after?)]);
        let offsets = match question.to {
            Some(to) => Replay::until(log, job.topic, self.bounds.clone(), to)
                .map_err(BacktestError::kafka(job.topic))?,
            None => self.bounds.clone(),
        };
        let until = question.to.unwrap_or_else(|| Timestamp::now().as_millisecond());
        let tenant = question.tenant.as_deref();
        let comparison = Comparison { log, job, sides, tenant, from: question.from, until };
        in_threads(&comparison, &offsets, question.threads, progress)
    }

    /// What the workers have emitted beside the log as its marks say.
    fn as_emitted<O>(&self, job: &Job<O>) -> Result<(Rows<O::Row>, Replayed), BacktestError>
    where
        O: Operator<Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
    {
        let Run { log, question, progress } = self.run;
        let offsets = emitted::committed(log, job, self.bounds.clone())?;
        let tenant = question.tenant.as_deref();
        // What has come out of silence has a mark.
        let comparison =
            Comparison { log, job, sides: Sides::AsMarked, tenant, from: None, until: Millis::MIN };
        let (mut rows, replayed) = in_threads(&comparison, &offsets, question.threads, progress)?;
        emitted::read(&comparison, &offsets, &mut rows)?;
        Ok((rows, replayed))
    }
}

impl Replayed {
    /// Takes in what another job has folded: the same log.
    fn take_in(&mut self, other: Self) {
        self.records = self.records.max(other.records);
        self.began_at = self.began_at.into_iter().chain(other.began_at).min();
        self.ended_at = self.ended_at.max(other.ended_at);
    }
}

/// Each thread takes its share of the partitions.
fn in_threads<O>(
    comparison: &Comparison<'_, O>,
    offsets: &BTreeMap<i32, Range<i64>>,
    threads: usize,
    progress: &Progress,
) -> Result<(Rows<O::Row>, Replayed), BacktestError>
where
    O: Operator<Row: OperatorRow, Settings: Send + Sync> + Send + Sync,
{
    progress.begin(offsets.values().map(|offsets| offsets.end.abs_diff(offsets.start)).sum());
    // The longest first, each to whoever has least.
    let mut partitions: Vec<_> = offsets.iter().collect();
    partitions.sort_by_key(|(partition, offsets)| (offsets.start - offsets.end, **partition));
    let mut shares = vec![(0, BTreeMap::new()); threads.clamp(1, partitions.len().max(1))];
    for (partition, offsets) in partitions {
        if let Some((load, share)) = shares.iter_mut().min_by_key(|(load, _)| *load) {
            *load += offsets.end - offsets.start;
            share.insert(*partition, offsets.clone());
        }
    }
    let folded: Vec<Result<_, BacktestError>> = std::thread::scope(|scope| {
        let threads: Vec<_> = shares
            .into_iter()
            .map(|(_, share)| scope.spawn(move || comparison.fold(share, progress)))
            .collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or(Err(BacktestError::Panicked))
        };
        threads.into_iter().map(join).collect()
    });
    let (mut rows, mut replayed) = (Rows::default(), Replayed::default());
    for folded in folded {
        let (other, part) = folded?;
        rows.append(other);
        replayed.records += part.records;
        replayed.began_at = replayed.began_at.into_iter().chain(part.began_at).min();
        replayed.ended_at = replayed.ended_at.max(part.ended_at);
    }
    Ok((rows, replayed))
}
