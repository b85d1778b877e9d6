//! The past once more: the log is folded under the settings in force and, beside it, under others; what differs is what
//! they would change. Or it is folded as its marks say, and compared with what the workers have emitted.
//!
//! Each thread folds partitions of its own, in tasks like those of a worker; nothing is written. The settings of a
//! side hold from the first record on, as in a system that has known no others. After the last record silence
//! passes, in which timers fire. Rows are compared as they stand at the end, by what they say: ids, contents,
//! whether they hold; not by how they came about (version, settings, evidence, finality).

mod difference;
mod emitted;
mod finding;
mod fold;
mod progress;
mod summary;
pub mod tool;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use jiff::Timestamp;
use rdkafka::error::KafkaError;
use serde::Serialize;

pub use self::difference::{Difference, Kind};
pub use self::finding::{Facets, Finding, Input};
use self::fold::{Job, Rows, Sides};
pub use self::progress::Progress;
pub use self::summary::{Group, Summary, Tally};
use crate::codec::CodecError;
use crate::codec::json::rfc3339_or_null;
use crate::event::Millis;
use crate::event::derived::Row;
use crate::log::Log;
use crate::log::replay::Replay;
use crate::operators::interactions::Interactions;
use crate::operators::sla::Sla;
use crate::settings::{
    Changed, CivicSettings, Document, FamilyKind, InteractionsSettings, Json, Problem, Reader, SettingsError,
    difference,
};
use crate::stream::Operator;
use crate::worker::{self, Family};

/// What is to be compared.
#[derive(Debug, Clone)]
pub struct Question {
    /// The family.
    pub family: &'static FamilyKind,
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
pub struct Findings<R> {
    /// What was folded.
    pub replayed: Replayed,
    /// In what the settings differ that are compared.
    pub settings: BTreeMap<String, Changed>,
    /// Rows on either side.
    pub summary: Summary,
    /// Where they differ: by topic and kind, in the order in which they began.
    #[serde(skip)]
    pub differences: Vec<Difference<R>>,
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
        /// Which topic.
        topic: String,
        /// Why.
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
        /// Why.
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

/// Folds the log, and compares. A further family is a line here.
pub fn run(log: &Log, question: &Question, progress: &Progress) -> Result<Findings<Row>, BacktestError> {
    match question.family.name {
        CivicSettings::FAMILY => of_family::<CivicSettings, Sla>(log, question, &worker::civic(), progress),
        InteractionsSettings::FAMILY => {
            of_family::<InteractionsSettings, Interactions>(log, question, &worker::interactions(), progress)
        }
        other => Err(BacktestError::NoFamily(other)),
    }
}

fn of_family<D, O>(
    log: &Log,
    question: &Question,
    family: &Family<O>,
    progress: &Progress,
) -> Result<Findings<O::Row>, BacktestError>
where
    D: Document<Operator = O::Settings>,
    O: Operator<Row: Finding, Settings: Send + Sync>,
{
    let bounds = Replay::bounds(log, family.topic).map_err(BacktestError::kafka(family.topic))?;
    let missing = bounds.values().map(|offsets| offsets.start.unsigned_abs()).sum();
    let mut findings = match &question.document {
        Some(document) => other_settings::<D, O>(log, question, document, family, bounds, progress)?,
        None => what_was_emitted(log, question, family, bounds, progress)?,
    };
    findings.replayed.missing = missing;
    Ok(findings)
}

/// The settings in force beside the same with a document set.
fn other_settings<D, O>(
    log: &Log,
    question: &Question,
    document: &Json,
    family: &Family<O>,
    bounds: BTreeMap<i32, Range<i64>>,
    progress: &Progress,
) -> Result<Findings<O::Row>, BacktestError>
where
    D: Document<Operator = O::Settings>,
    O: Operator<Row: Finding, Settings: Send + Sync>,
{
    let &Question { family: kind, from, to, threads, .. } = question;
    let tenant = question.tenant.as_deref();
    let reader = Reader::start(log)?;
    reader.history().check(kind, tenant, document)?;
    let histories = [reader.history(), &reader.history().with(kind, tenant, document)];
    let [before, after] = histories.map(|history| history.family::<D>(history.newest(D::FAMILY)));
    let sides = Sides::Settings([Arc::new(before?), Arc::new(after?)]);
    let [before, after] = histories.map(|history| history.effective(kind, tenant, i64::MAX));
    let offsets = match to {
        Some(to) => {
            Replay::until(log, family.topic, bounds, to).map_err(BacktestError::kafka(family.topic))?
        }
        None => bounds,
    };
    let until = to.unwrap_or_else(|| Timestamp::now().as_millisecond());
    let job = Job { log, family, sides, tenant, from, until };
    let (rows, replayed) = in_threads(&job, &offsets, threads, progress)?;
    let (summary, differences) = rows.compare(false);
    Ok(Findings { replayed, settings: difference(&before, &after), summary, differences })
}

/// What the workers have emitted beside the log as its marks say.
fn what_was_emitted<O>(
    log: &Log,
    question: &Question,
    family: &Family<O>,
    bounds: BTreeMap<i32, Range<i64>>,
    progress: &Progress,
) -> Result<Findings<O::Row>, BacktestError>
where
    O: Operator<Row: Finding, Settings: Send + Sync>,
{
    let offsets = emitted::committed(log, family.topic, bounds)?;
    let tenant = question.tenant.as_deref();
    // What has come out of silence has a mark.
    let job = Job { log, family, sides: Sides::AsMarked, tenant, from: None, until: Millis::MIN };
    let (mut rows, replayed) = in_threads(&job, &offsets, question.threads, progress)?;
    emitted::read(&job, &offsets, &mut rows)?;
    let (summary, differences) = rows.compare(true);
    Ok(Findings { replayed, settings: BTreeMap::new(), summary, differences })
}

/// Each thread takes its share of the partitions.
fn in_threads<O>(
    job: &Job<'_, O>,
    offsets: &BTreeMap<i32, Range<i64>>,
    threads: usize,
    progress: &Progress,
) -> Result<(Rows<O::Row>, Replayed), BacktestError>
where
    O: Operator<Row: Finding, Settings: Send + Sync>,
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
        let threads: Vec<_> =
            shares.into_iter().map(|(_, share)| scope.spawn(move || job.fold(share, progress))).collect();
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
