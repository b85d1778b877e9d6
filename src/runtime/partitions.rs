//! The partitions that a worker owns and folds, and what of each is not committed yet.

use std::collections::BTreeMap;

use tidewatch_kafka_batch::PartitionQueue;

use super::changelog::ChangelogWriter;
use super::outbox::Outbox;
use super::rebalance::RebalanceQueue;
use crate::engine::{Operator, Task};

/// Cells that a delta has at most before it is known how large they are.
const CELLS: usize = 100_000;

/// A partition and its fold.
pub(super) struct Owned<O: Operator> {
    pub task: Task<O>,
    /// Its records; the first is at work where it was not finished.
    pub queue: PartitionQueue<RebalanceQueue>,
    pub changelog: ChangelogWriter,
    /// What has been folded since the last commit has to send.
    pub outbox: Outbox,
    /// The number of the last delta that is committed.
    pub committed: u64,
    /// Something has been folded since the last delta.
    pub is_dirty: bool,
}

impl<O: Operator> Owned<O> {
    pub fn new(mut task: Task<O>, queue: PartitionQueue<RebalanceQueue>, changelog: ChangelogWriter) -> Self {
        task.limit_delta(CELLS);
        let committed = changelog.number();
        let outbox = Outbox::default();
        Self { task, queue, changelog, outbox, committed, is_dirty: false }
    }

    /// All that it had to send is committed; returns whether what lies before the last checkpoint can be deleted.
    pub fn committed(&mut self) -> bool {
        self.committed = self.changelog.number();
        self.outbox.clear();
        self.changelog.committed()
    }
}

/// All partitions whose state is at hand, in order.
pub(super) struct Partitions<O: Operator> {
    owned: BTreeMap<i32, Owned<O>>,
}

impl<O: Operator> Default for Partitions<O> {
    fn default() -> Self {
        Self { owned: BTreeMap::new() }
    }
}

impl<O: Operator> Partitions<O> {
    pub fn add(&mut self, partition: i32, owned: Owned<O>) {
        self.owned.insert(partition, owned);
    }

    pub fn remove(&mut self, partition: i32) {
        self.owned.remove(&partition);
    }

    pub fn get_mut(&mut self, partition: i32) -> Option<&mut Owned<O>> {
        self.owned.get_mut(&partition)
    }

    pub fn iter(&self) -> impl Iterator<Item = (i32, &Owned<O>)> {
        self.owned.iter().map(|(partition, owned)| (*partition, owned))
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (i32, &mut Owned<O>)> {
        self.owned.iter_mut().map(|(partition, owned)| (*partition, owned))
    }

    /// Whether there is something to commit.
    pub fn is_dirty(&self) -> bool {
        self.owned.values().any(|owned| {
            owned.is_dirty || owned.committed != owned.changelog.number() || owned.changelog.is_under_way()
        })
    }

    /// Rows that no transaction has committed yet.
    pub fn rows(&self) -> usize {
        self.owned.values().map(|owned| owned.outbox.rows).sum()
    }

    /// The bytes of all that no transaction has committed yet.
    pub fn bytes(&self) -> usize {
        self.owned.values().map(|owned| owned.outbox.bytes()).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.owned.is_empty()
    }
}
