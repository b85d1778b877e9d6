//! The changes of the record or timer at work, each with the value before it, so that one that fails is undone alone.

use super::key_cell::Head;
use super::slot::Slot;
use super::timers::TimerTime;

/// A change, and the value before it.
pub(super) enum Change<N, E, T> {
    Head(usize, Head),
    Entry(usize, N, Option<Slot<E>>),
    Timer(usize, T, Option<Slot<TimerTime>>),
    Alias(Box<str>, Option<usize>),
}

/// The changes since [`begin`](Self::begin); none are kept outside.
pub(super) struct Undo<N, E, T> {
    changes: Vec<Change<N, E, T>>,
    is_open: bool,
}

impl<N, E, T> Default for Undo<N, E, T> {
    fn default() -> Self {
        Self { changes: Vec::new(), is_open: false }
    }
}

impl<N: PartialEq, E, T> Undo<N, E, T> {
    pub fn begin(&mut self) {
        self.is_open = true;
    }

    /// What was done stays.
    pub fn end(&mut self) {
        self.is_open = false;
        self.changes.clear();
    }

    /// Keeps a change, where one may have to be undone.
    pub fn push(&mut self, change: impl FnOnce() -> Change<N, E, T>) {
        if self.is_open {
            self.changes.push(change());
        }
    }

    /// Whether an entry's value from before has to be kept: once is enough.
    pub fn wants_entry(&self, key: usize, name: &N) -> bool {
        let is_kept = |change: &Change<N, E, T>| matches!(change, Change::Entry(other, entry, _) if *other == key && entry == name);
        self.is_open && !self.changes.iter().any(is_kept)
    }

    /// Takes the last change off.
    pub fn pop(&mut self) -> Option<Change<N, E, T>> {
        self.changes.pop()
    }
}
