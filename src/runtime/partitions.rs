//! The partitions that a worker owns and folds, and how far each is committed.

use std::collections::BTreeMap;

use crate::engine::{Operator, Task};

/// A partition and its fold.
pub(super) struct Owned<O: Operator> {
    pub task: Task<O>,
    /// The group's offset: what lies before it has been folded and sent by a committed transaction.
    pub committed: i64,
    /// Something has been folded since.
    pub is_dirty: bool,
    /// Changelog records written since the last local snapshot.
    pub unsaved: usize,
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
    pub fn add(&mut self, partition: i32, task: Task<O>, committed: i64) {
        self.owned.insert(partition, Owned { task, committed, is_dirty: false, unsaved: 0 });
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

    /// Those in which something has been folded since the last commit.
    pub fn dirty(&mut self) -> impl Iterator<Item = (i32, &mut Owned<O>)> {
        self.iter_mut().filter(|(_, owned)| owned.is_dirty)
    }

    pub fn is_empty(&self) -> bool {
        self.owned.is_empty()
    }
}
