//! The shadow: the table that is filled from the log, and kept up with it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rdkafka::error::KafkaResult;

use super::Rebuild;
use super::error::RebuildError;
use super::fill::{Filled, Offsets, fill};
use crate::log::replay::Replay;
use crate::log::{Log, lag};
use crate::sink;
use crate::sink::Source;

/// So often the shadow is brought closer to the sinks before the first look.
const APPROACHES: usize = 5;
/// What is nearer than so many offsets needs no further approach.
const NEAR: i64 = 10_000;
/// A group of sinks that has committed nothing for so long is not waited for.
pub(super) const SINKS_TIMEOUT: Duration = Duration::from_secs(10);

/// The table that is filled from the log.
pub(super) struct Shadow {
    pub name: String,
    /// How rows get into it.
    pub source: Arc<Source>,
    /// How far it is filled.
    pub position: BTreeMap<i32, i64>,
    /// What was read for it.
    pub filled: Filled,
}

impl Rebuild {
    /// A shadow that is empty.
    pub(super) async fn shadow(&self, name: String) -> Result<Shadow, RebuildError> {
        let source =
            sink::source_of(&self.client, &self.tables.database, &self.log, self.topic, &name).await?;
        Ok(Shadow { name, source: Arc::new(source), position: BTreeMap::new(), filled: Filled::default() })
    }

    /// Fills the shadow with what the sinks have committed.
    pub(super) async fn approach(&self, shadow: &mut Shadow) -> Result<(), RebuildError> {
        let bounds = self.read(Replay::bounds).await?;
        shadow.position = bounds.iter().map(|(partition, bounds)| (*partition, bounds.start)).collect();
        for _ in 0..APPROACHES {
            let committed = self.committed(&shadow.position).await?;
            let left = between(&shadow.position, &committed);
            let distance: i64 = left.values().map(|offsets| offsets.end - offsets.start).sum();
            self.advance(shadow, left).await?;
            if distance <= NEAR {
                break;
            }
        }
        Ok(())
    }

    /// Whether the sinks have committed what lies before these offsets; `false` once they commit nothing any more.
    pub(super) async fn wait_for_sinks(&self, behind: &BTreeMap<i32, i64>) -> Result<bool, RebuildError> {
        let (mut last, mut since) = (BTreeMap::new(), Instant::now());
        loop {
            let committed = self.committed(behind).await?;
            if behind.iter().all(|(partition, offset)| committed.get(partition) >= Some(offset)) {
                return Ok(true);
            }
            if committed != last {
                (last, since) = (committed, Instant::now());
            } else if since.elapsed() > SINKS_TIMEOUT {
                return Ok(false);
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// What the sinks have committed in these partitions.
    async fn committed(&self, partitions: &BTreeMap<i32, i64>) -> Result<BTreeMap<i32, i64>, RebuildError> {
        let partitions: BTreeSet<i32> = partitions.keys().copied().collect();
        self.read(move |log, topic| lag::committed(log, sink::GROUP, topic, partitions)).await
    }

    /// Replays what lies at `offsets`, which begin where the shadow ends, into it.
    async fn advance(&self, shadow: &mut Shadow, offsets: Offsets) -> Result<(), RebuildError> {
        let ends: Vec<_> = offsets.iter().map(|(partition, offsets)| (*partition, offsets.end)).collect();
        let Filled { rows, without_row, behind } = self.fill(&shadow.source, offsets).await?;
        shadow.position.extend(ends);
        shadow.filled.rows += rows;
        shadow.filled.without_row += without_row;
        shadow.filled.behind.extend(behind);
        Ok(())
    }

    /// Replays what is committed by now into the shadow; how many records that were.
    pub(super) async fn catch_up(&self, shadow: &mut Shadow) -> Result<u64, RebuildError> {
        let before = shadow.filled.rows + shadow.filled.without_row;
        let end = self.read(Replay::stable_bounds).await?;
        self.advance(shadow, since(&shadow.position, &end)).await?;
        Ok(shadow.filled.rows + shadow.filled.without_row - before)
    }

    pub(super) async fn fill(&self, source: &Arc<Source>, offsets: Offsets) -> Result<Filled, RebuildError> {
        self.message("replaying records");
        fill(&self.client, &self.log, source, offsets, &self.bar).await
    }

    /// Asks Kafka, which blocks.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Log, &str) -> KafkaResult<T> + Send + 'static,
    ) -> Result<T, RebuildError> {
        let (log, topic) = (self.log.clone(), self.topic);
        let answer = tokio::task::spawn_blocking(move || question(&log, &topic.name)).await?;
        answer.map_err(|source| RebuildError::Log { topic: topic.name.clone(), source })
    }

    pub(super) fn message(&self, what: &str) {
        self.bar.set_message(format!("{}: {what}", self.live.name));
    }
}

/// What lies behind a position, up to the end of each partition.
pub(super) fn since(position: &BTreeMap<i32, i64>, bounds: &Offsets) -> Offsets {
    let ends = bounds.iter().map(|(partition, bounds)| (*partition, bounds.end)).collect();
    between(position, &ends)
}

/// What lies between two positions; a partition that the first does not know is read from its beginning.
fn between(from: &BTreeMap<i32, i64>, to: &BTreeMap<i32, i64>) -> Offsets {
    let offsets = to.iter().map(|(partition, end)| {
        let start = from.get(partition).copied().unwrap_or(0);
        (*partition, start..start.max(*end))
    });
    offsets.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_between_never_goes_back() {
        let (from, to) = (BTreeMap::from([(0, 5), (1, 7)]), BTreeMap::from([(0, 9), (1, 3), (2, 4)]));
        assert_eq!(between(&from, &to), BTreeMap::from([(0, 5..9), (1, 7..7), (2, 0..4)]));
    }
}
