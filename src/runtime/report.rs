//! What a worker says of itself in the log, at most once a second: how far it has come (`progress`) and what became of the
//! records (`accounting`, I7). Both are part of the commit they speak of (I5).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use super::output::Engine;
use super::partitions::Partitions;
use super::transaction::Transaction;
use super::{COORDINATOR, WorkerError};
use crate::engine::Operator;
use crate::engine::rows::{OutputEnd, Progress};
use crate::log::lag::Quiet;
use crate::log::topics::Owner;
use crate::log::{Log, topics};

const INTERVAL: Duration = Duration::from_secs(1);
/// Topics that follow from no record: where they end says nothing of the rows.
const OWN: [&str; 2] = ["progress", "accounting"];

/// Where the topics of rows end at this moment, decided or not: what a former owner of a partition wrote lies before.
pub(super) fn ends_of_topics(log: &Log) -> Result<BTreeMap<(usize, i32), i64>, WorkerError> {
    let failed = || WorkerError::kafka("fetching the ends of derived topics");
    let mut settings = log.consumer("ends");
    settings.set("isolation.level", "read_uncommitted");
    let client: BaseConsumer<Quiet> = settings.create_with_context(Quiet).map_err(failed())?;
    let metadata = client.fetch_metadata(None, COORDINATOR).map_err(failed())?;
    let mut ends = BTreeMap::new();
    for (place, topic) in topics::all().iter().enumerate() {
        if topic.owner != Owner::Process || !is_of_rows(&topic.name) {
            continue;
        }
        let name = log.name(&topic.name);
        let found = metadata.topics().iter().filter(|found| found.name() == name);
        for partition in found.flat_map(|found| found.partitions()).map(|partition| partition.id()) {
            let (_, end) = client.fetch_watermarks(&name, partition, COORDINATOR).map_err(failed())?;
            ends.insert((place, partition), end);
        }
    }
    Ok(ends)
}

fn is_of_rows(topic: &str) -> bool {
    !OWN.contains(&topic) && !topic.starts_with("changelog-")
}

/// When to report next.
pub(super) struct Reporter {
    reported: Option<Instant>,
    /// Something has been committed since.
    is_pending: bool,
}

impl Reporter {
    pub fn new() -> Self {
        Self { reported: None, is_pending: false }
    }

    /// Whether a commit may report now.
    pub fn is_due(&self) -> bool {
        self.reported.is_none_or(|reported| reported.elapsed() >= INTERVAL)
    }

    /// Lets the next commit report.
    pub fn make_due(&mut self) {
        self.reported = None;
    }

    /// Whether there is something to report although nothing is to be committed.
    pub fn is_overdue(&self) -> bool {
        self.is_pending && self.is_due()
    }

    /// A commit has gone through, with or without a report.
    pub fn committed(&mut self, has_reported: bool) {
        if has_reported {
            self.reported = Some(Instant::now());
        }
        self.is_pending = !has_reported;
    }

    /// Adds what became of the records; before the changes of the state, of which the counts are a part.
    pub fn account<O: Operator>(partitions: &mut Partitions<O>, topic: &str) -> Result<(), WorkerError> {
        for (partition, owned) in partitions.iter_mut() {
            let labels = [
                ("family", topic.to_owned()),
                ("job", O::NAME.to_owned()),
                ("partition", partition.to_string()),
            ];
            metrics::gauge!("tidewatch_state_keys", &labels).set(owned.task.keys() as f64);
            for row in owned.task.accounting() {
                owned.is_dirty = true;
                owned.outbox.push_row(&Engine(&row)).map_err(WorkerError::encode("accounting"))?;
            }
        }
        Ok(())
    }

    /// Adds how far each partition has come; after everything else has been acknowledged, so that its ends are known.
    pub fn progress<O: Operator>(
        partitions: &Partitions<O>,
        transaction: &mut Transaction,
        topic: &str,
    ) -> Result<(), WorkerError> {
        for (partition, owned) in partitions.iter() {
            let outputs = transaction.ends(|ends| {
                let ends = ends.entry(partition).or_default();
                let outputs = ends.iter().filter_map(|((place, partition), offset)| {
                    let topic = topics::all()[*place].name.clone();
                    is_of_rows(&topic).then_some(OutputEnd { topic, partition: *partition, offset: *offset })
                });
                outputs.collect()
            });
            let row = Progress {
                topic: topic.to_owned(),
                partition,
                operator: O::NAME.to_owned(),
                offset: owned.task.offset(),
                clock: owned.task.clock(),
                settings_version: owned.task.settings().version,
                outputs,
            };
            transaction.send_row(&Engine(&row), partition)?;
        }
        Ok(())
    }
}
