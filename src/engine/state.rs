//! The keyed state of a task, and which of it has changed.
//!
//! State is made of *cells*: a key's head (its time), its entries, its timers, its producers' sequences, the aliases that
//! lead to it. The first change of a cell since it was last [written down](State::written) puts it among the dirty
//! ones, so that a commit costs what was touched, not what is held. What an operator changes while a record or timer is at work
//! can be taken back ([`undo`](State::undo)).

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::accounting::{Counts, Outcome, hour};
use super::cells::Cells;
use super::duplicates::{Addition, RecentIds, Sequence};
use super::event::Millis;
use super::key_cell::{Head, KeyCell};
use super::slot::Slot;
use super::timers::{TimerTime, Wake, WakeQueue};
use super::undo::{Change, Undo};

/// A cell that has changed. What lies there now, or that nothing does, is written down.
pub(super) enum Dirty<N, T> {
    Head(usize),
    Entry(usize, N),
    Timer(usize, T),
    Producer(usize, Box<str>),
    Alias(Arc<str>),
    Count(Millis, String),
}

/// The state of a task; names, entries and timers are the operator's.
pub(super) struct State<N, E, T> {
    /// Where the cell of a name is.
    index: HashTable<u32>,
    hasher: RandomState,
    pub cells: Cells<KeyCell<N, E, T>>,
    pub aliases: HashMap<Arc<str>, usize, RandomState>,
    pub ids: RecentIds,
    pub wakes: WakeQueue,
    /// When a key may be forgotten, at the earliest.
    pub expiries: WakeQueue,
    /// Outcomes by hour and tenant.
    pub counts: BTreeMap<Millis, BTreeMap<String, Slot<Counts>>>,
    dirty: Vec<Dirty<N, T>>,
    undo: Undo<N, E, T>,
    /// Counts how often the state has been written down: a cell that was touched since is dirty already.
    epoch: u32,
}

impl<N, E, T> Default for State<N, E, T> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            hasher: RandomState::default(),
            cells: Cells::default(),
            aliases: HashMap::default(),
            ids: RecentIds::default(),
            wakes: WakeQueue::default(),
            expiries: WakeQueue::default(),
            counts: BTreeMap::new(),
            dirty: Vec::new(),
            undo: Undo::default(),
            epoch: 1,
        }
    }
}

impl<N: Ord + Clone, E: Clone, T: Ord + Clone> State<N, E, T> {
    pub fn find(&self, key: &str) -> Option<usize> {
        let found = self.index.find(self.hasher.hash_one(key), |id| self.cells[*id as usize].name == key);
        found.map(|id| *id as usize)
    }

    pub fn create(&mut self, key: &str, head: Head) -> usize {
        let id = self.restore_key(key, head);
        self.cells[id].head_touched = self.epoch;
        self.dirty.push(Dirty::Head(id));
        id
    }

    /// As [`create`](Self::create), for what has been written down.
    pub fn restore_key(&mut self, key: &str, head: Head) -> usize {
        let id = self.cells.insert(KeyCell::new(key, head));
        let Self { index, hasher, cells, .. } = self;
        // As many keys as places: `Cells`.
        index
            .insert_unique(hasher.hash_one(key), id as u32, |id| hasher.hash_one(&*cells[*id as usize].name));
        id
    }

    /// Forgets a key with all that is kept under it.
    pub fn remove_key(&mut self, key: usize) {
        let Some(cell) = self.cells.remove(key) else { return };
        if let Ok(place) = self.index.find_entry(self.hasher.hash_one(&*cell.name), |id| *id as usize == key)
        {
            place.remove();
        }
    }

    pub fn set_head(&mut self, key: usize, head: Head) {
        let cell = &mut self.cells[key];
        if cell.head_touched != self.epoch {
            cell.head_touched = self.epoch;
            self.dirty.push(Dirty::Head(key));
        }
        let before = std::mem::replace(&mut cell.head, head);
        self.undo.push(|| Change::Head(key, before));
    }

    /// Writes or removes an entry.
    pub fn put_entry(&mut self, key: usize, name: &N, entry: Option<E>) {
        let touched = self.epoch;
        let entries = &mut self.cells[key].entries;
        let before = match (entry, entries.get_mut(name)) {
            (Some(value), Some(slot)) => Some(std::mem::replace(slot, Slot { value, touched })),
            (Some(value), None) => entries.insert(name.clone(), Slot { value, touched }),
            (None, _) => entries.remove(name),
        };
        if before.as_ref().is_none_or(|slot| slot.touched != touched) {
            self.dirty.push(Dirty::Entry(key, name.clone()));
        }
        self.undo.push(|| Change::Entry(key, name.clone(), before));
    }

    /// An entry that has been written down.
    pub fn restore_entry(&mut self, key: usize, name: N, entry: Option<E>) {
        let entries = &mut self.cells[key].entries;
        match entry {
            Some(value) => drop(entries.insert(name, Slot::new(value))),
            None => drop(entries.remove(&name)),
        }
    }

    /// An entry, to be changed in place.
    pub fn entry_mut(&mut self, key: usize, name: &N) -> Option<&mut E> {
        let slot = self.cells.get_mut(key)?.entries.get_mut(name)?;
        if self.undo.wants_entry(key, name) {
            self.undo.push(|| Change::Entry(key, name.clone(), Some(slot.clone())));
        }
        if slot.touched != self.epoch {
            slot.touched = self.epoch;
            self.dirty.push(Dirty::Entry(key, name.clone()));
        }
        Some(&mut slot.value)
    }

    /// Sets, moves or cancels a timer.
    pub fn put_timer(&mut self, key: usize, timer: &T, time: Option<TimerTime>) {
        let touched = self.epoch;
        let timers = &mut self.cells[key].timers;
        if timers.get(timer) == time {
            return;
        }
        let before = timers.put(timer, time.map(|value| Slot { value, touched }));
        if before.as_ref().is_none_or(|slot| slot.touched != touched) {
            self.dirty.push(Dirty::Timer(key, timer.clone()));
        }
        self.undo.push(|| Change::Timer(key, timer.clone(), before));
    }

    /// Adds a number that was looked at just before to what a producer has sent.
    pub fn add_number(&mut self, key: usize, producer: &str, number: u64, addition: Addition) {
        let touched = self.epoch;
        let producers = &mut self.cells[key].names_mut().producers;
        let is_dirty = match producers.get_mut(producer) {
            Some(slot) => {
                slot.value.add(number, addition);
                std::mem::replace(&mut slot.touched, touched) == touched
            }
            None => {
                let mut value = Sequence::default();
                value.add(number, addition);
                producers.insert(producer.into(), Slot { value, touched });
                false
            }
        };
        if !is_dirty {
            self.dirty.push(Dirty::Producer(key, producer.into()));
        }
    }

    /// Forgets what the key's producers have sent.
    pub fn forget_producers(&mut self, key: usize) {
        if self.cells[key].producers().next().is_none() {
            return;
        }
        let producers = std::mem::take(&mut self.cells[key].names_mut().producers);
        self.dirty.extend(producers.iter().map(|(name, _)| Dirty::Producer(key, name.clone())));
    }

    /// Makes a name lead to a key, or to none.
    pub fn put_alias(&mut self, name: &str, key: Option<usize>) {
        let before = self.restore_alias(name, key);
        self.dirty.push(Dirty::Alias(name.into()));
        self.undo.push(|| Change::Alias(name.into(), before));
    }

    /// As [`put_alias`](Self::put_alias), for what has been written down.
    pub fn restore_alias(&mut self, name: &str, key: Option<usize>) -> Option<usize> {
        let shared: Arc<str> = name.into();
        let before = match key {
            Some(key) => self.aliases.insert(Arc::clone(&shared), key),
            None => self.aliases.remove(name),
        };
        if let Some(cell) = before.and_then(|key| self.cells.get_mut(key)) {
            cell.names_mut().aliases.retain(|alias| **alias != *name);
        }
        if let Some(cell) = key.and_then(|key| self.cells.get_mut(key)) {
            cell.names_mut().aliases.push(shared);
        }
        before
    }

    pub fn count(&mut self, tenant: &str, clock: Millis, outcome: Outcome) {
        let (hour, touched) = (hour(clock), self.epoch);
        let tenants = self.counts.entry(hour).or_default();
        let is_dirty = match tenants.get_mut(tenant) {
            Some(slot) => {
                slot.value.add(outcome);
                std::mem::replace(&mut slot.touched, touched) == touched
            }
            None => {
                let mut value = Counts::default();
                value.add(outcome);
                tenants.insert(tenant.to_owned(), Slot { value, touched });
                false
            }
        };
        if !is_dirty {
            self.dirty.push(Dirty::Count(hour, tenant.to_owned()));
        }
    }

    /// Counts offsets that are passed over: whose records lay there nobody knows.
    pub fn count_skipped(&mut self, clock: Millis, skipped: u64) {
        let hour = hour(clock.max(0));
        let slot = self.counts.entry(hour).or_default().entry(String::new()).or_default();
        slot.value.skipped += skipped;
        self.dirty.push(Dirty::Count(hour, String::new()));
    }

    /// An hour that is over needs no counts any more, once they have been emitted.
    pub fn drop_counts(&mut self, tenant: &str, hour: Millis) {
        self.restore_counts(tenant, hour, None);
        self.dirty.push(Dirty::Count(hour, tenant.to_owned()));
    }

    /// Counts that have been written down.
    pub fn restore_counts(&mut self, tenant: &str, hour: Millis, counts: Option<Counts>) {
        if let Some(value) = counts {
            let tenants = self.counts.entry(hour).or_default();
            tenants.insert(tenant.to_owned(), Slot::new(value));
        } else if let Some(tenants) = self.counts.get_mut(&hour) {
            tenants.remove(tenant);
            if tenants.is_empty() {
                self.counts.remove(&hour);
            }
        }
    }

    /// From here on what is changed can be [taken back](Self::undo).
    pub fn begin(&mut self) {
        self.undo.begin();
    }

    /// What has been changed since [`begin`](Self::begin) stays.
    pub fn keep(&mut self) {
        self.undo.end();
    }

    /// Takes back what has been changed since [`begin`](Self::begin). It stays among what is written down: as it is then.
    pub fn undo(&mut self) {
        while let Some(change) = self.undo.pop() {
            match change {
                Change::Head(key, before) => {
                    let cell = &mut self.cells[key];
                    cell.head = before;
                    Self::reschedule(&mut self.wakes, key, cell);
                }
                Change::Entry(key, name, Some(slot)) => drop(self.cells[key].entries.insert(name, slot)),
                Change::Entry(key, name, None) => drop(self.cells[key].entries.remove(&name)),
                Change::Timer(key, timer, before) => {
                    let cell = &mut self.cells[key];
                    cell.timers.put(&timer, before);
                    Self::reschedule(&mut self.wakes, key, cell);
                }
                Change::Alias(name, before) => drop(self.restore_alias(&name, before)),
            }
        }
        self.undo.end();
    }

    /// The key's entry in the queue may be too late now: it surfaces at once, and is corrected.
    fn reschedule(wakes: &mut WakeQueue, key: usize, cell: &mut KeyCell<N, E, T>) {
        cell.wake = Wake::default();
        wakes.schedule(key, Millis::MIN, &mut cell.wake, Millis::MIN);
    }

    /// How many cells have changed, about.
    pub fn dirty_count(&self) -> usize {
        self.dirty.len() + self.ids.fresh_count()
    }

    /// The cells that have changed, each of them at least once; they are [written](Self::written) by what follows.
    pub fn take_dirty(&mut self) -> Vec<Dirty<N, T>> {
        std::mem::take(&mut self.dirty)
    }

    /// What has been changed is written down; `buffer` is what [`take_dirty`](Self::take_dirty) returned.
    pub fn written(&mut self, mut buffer: Vec<Dirty<N, T>>) {
        buffer.clear();
        self.dirty = buffer;
        self.ids.written();
        self.epoch = self.epoch.wrapping_add(1).max(1);
    }
}
