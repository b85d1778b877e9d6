//! The changes of a state since the last commit, each with the value before it.

use super::accounting::Counts;
use super::duplicates::Sequence;
use super::event::Millis;
use super::key_cell::Head;
use super::timers::TimerTime;

/// A change, and the value before it.
pub(super) enum Change<N, E, T> {
    KeyCreated(usize),
    Head(usize, Head),
    Entry(usize, N, Option<E>),
    Timer(usize, T, Option<TimerTime>),
    Producer(usize, Box<str>, Option<Sequence>),
    Alias(Box<str>, Option<usize>),
    Id(u128, Option<Millis>),
    Count(String, Millis, Option<Counts>),
}

struct Entry<N, E, T> {
    change: Change<N, E, T>,
    /// The first of its cell since the last commit: kept when the record is done.
    is_first: bool,
}

/// The changes since the last commit. Once a record is done, only the first of each cell is kept: it has the value at the
/// last commit.
pub(super) struct Journal<N, E, T> {
    entries: Vec<Entry<N, E, T>>,
    /// Where the last savepoint lies among them.
    saved: usize,
}

impl<N, E, T> Default for Journal<N, E, T> {
    fn default() -> Self {
        Self { entries: Vec::new(), saved: 0 }
    }
}

impl<N, E, T> Journal<N, E, T> {
    /// Adds a change; `is_first` says whether it is the first of its cell since the last commit.
    pub fn push(&mut self, change: Change<N, E, T>, is_first: bool) {
        self.entries.push(Entry { change, is_first });
    }

    /// Takes the last change off, where there is one behind the savepoint.
    pub fn pop_to(&mut self, savepoint: usize) -> Option<(Change<N, E, T>, bool)> {
        let is_behind = self.entries.len() > savepoint;
        let entry = if is_behind { self.entries.pop() } else { None };
        entry.map(|entry| (entry.change, entry.is_first))
    }

    /// A point to which changes can be taken back.
    pub fn savepoint(&mut self) -> usize {
        self.saved = self.entries.len();
        self.saved
    }

    /// What has been changed since a savepoint.
    pub fn since(&self, savepoint: usize) -> impl Iterator<Item = &Change<N, E, T>> {
        self.entries.get(savepoint..).unwrap_or_default().iter().map(|entry| &entry.change)
    }

    /// What has been changed since the last savepoint.
    pub fn since_last(&self) -> impl Iterator<Item = &Change<N, E, T>> {
        self.since(self.saved)
    }

    /// What has been changed since a savepoint stays: of it, only the first change of each cell is still needed.
    pub fn keep_since(&mut self, savepoint: usize) {
        let mut kept = savepoint;
        for place in savepoint..self.entries.len() {
            if self.entries[place].is_first {
                self.entries.swap(kept, place);
                kept += 1;
            }
        }
        self.entries.truncate(kept);
    }

    /// What has been changed is committed.
    pub fn clear(&mut self) {
        self.entries.clear();
    }
}
