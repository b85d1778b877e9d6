//! The partitions that a worker owns, and how far each is folded and committed.

use std::collections::BTreeMap;

use crate::stream::{Operator, Task};

/// A partition and its fold.
pub(super) struct Owned<O: Operator> {
    pub task: Task<O>,
    /// The next offset to be folded.
    pub folded_to: i64,
    /// The next offset of the group: what lies before it has been sent by a former transaction.
    pub committed: i64,
}

/// All of a worker's partitions, in order.
pub(super) struct Partitions<O: Operator> {
    owned: BTreeMap<i32, Owned<O>>,
}

impl<O: Operator> Default for Partitions<O> {
    fn default() -> Self {
        Self { owned: BTreeMap::new() }
    }
}

impl<O: Operator> Partitions<O> {
    pub fn add(&mut self, partition: i32, committed: i64, task: Task<O>) {
        self.owned.insert(partition, Owned { task, folded_to: 0, committed });
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

    /// Whether there are partitions and the state of each has reached its committed offset.
    pub fn are_restored(&self) -> bool {
        !self.owned.is_empty() && self.owned.values().all(|owned| owned.folded_to >= owned.committed)
    }

    /// (partition, next offset) of those that are folded further than committed.
    pub fn uncommitted(&self) -> Vec<(i32, i64)> {
        self.iter()
            .filter(|(_, owned)| owned.folded_to > owned.committed)
            .map(|(partition, owned)| (partition, owned.folded_to))
            .collect()
    }

    pub fn set_committed(&mut self, offsets: &[(i32, i64)]) {
        for (partition, offset) in offsets {
            if let Some(owned) = self.owned.get_mut(partition) {
                owned.committed = *offset;
            }
        }
    }
}
