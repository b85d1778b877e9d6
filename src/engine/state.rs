//! The keyed state of a task, and the journal that takes changes of it back.
//!
//! State is made of *cells*: a key's head (its time), its entries, its timers, its producers' sequences, the aliases that
//! lead to it. Each first change of a cell since the last commit leaves its former value in the journal, so an abort
//! costs what was touched, not what is held; the same journal names the cells that the changelog has to be told of.
//! A record takes a [savepoint](State::savepoint), so that one that fails is undone alone.

use std::collections::{BTreeMap, HashMap};
use std::hash::BuildHasher;

use foldhash::fast::RandomState;
use hashbrown::HashTable;
use slab::Slab;

use super::accounting::{Counts, Outcome, hour};
use super::duplicates::{RecentIds, Sequence};
use super::event::Millis;
use super::journal::{Change, Journal};
use super::key_cell::{Head, KeyCell};
use super::slot::Slot;
use super::timers::{TimerTime, WakeQueue};

/// The state of a task; names, entries and timers are the operator's.
pub(super) struct State<N, E, T> {
    /// Where the cell of a name is.
    index: HashTable<usize>,
    hasher: RandomState,
    pub cells: Slab<KeyCell<N, E, T>>,
    pub aliases: HashMap<Box<str>, usize, RandomState>,
    pub ids: RecentIds,
    pub wakes: WakeQueue,
    /// When a key may be forgotten, at the earliest.
    pub expiries: WakeQueue,
    /// Outcomes by hour and tenant.
    pub counts: BTreeMap<Millis, BTreeMap<String, Slot<Counts>>>,
    journal: Journal<N, E, T>,
    epoch: u32,
}

impl<N, E, T> Default for State<N, E, T> {
    fn default() -> Self {
        Self {
            index: HashTable::new(),
            hasher: RandomState::default(),
            cells: Slab::new(),
            aliases: HashMap::default(),
            ids: RecentIds::default(),
            wakes: WakeQueue::default(),
            expiries: WakeQueue::default(),
            counts: BTreeMap::new(),
            journal: Journal::default(),
            epoch: 1,
        }
    }
}

impl<N: Ord + Clone, E: Clone, T: Ord + Clone> State<N, E, T> {
    pub fn find(&self, key: &str) -> Option<usize> {
        self.index.find(self.hasher.hash_one(key), |id| self.cells[*id].name == key).copied()
    }

    pub fn create(&mut self, key: &str, head: Head) -> usize {
        let id = self.create_unjournaled(key, head);
        self.journal.push(Change::KeyCreated(id), true);
        id
    }

    /// As [`create`](Self::create), for a restore.
    pub fn create_unjournaled(&mut self, key: &str, head: Head) -> usize {
        let id = self.cells.insert(KeyCell::new(key, head, self.epoch));
        let Self { index, hasher, cells, .. } = self;
        index.insert_unique(hasher.hash_one(key), id, |id| hasher.hash_one(&*cells[*id].name));
        id
    }

    /// Forgets a key and its time, which is part of no journal: for what has been told to the changelog.
    pub fn remove_key(&mut self, key: usize) {
        let cell = self.cells.remove(key);
        if let Ok(place) = self.index.find_entry(self.hasher.hash_one(&*cell.name), |id| *id == key) {
            place.remove();
        }
    }

    pub fn set_head(&mut self, key: usize, head: Head) {
        let cell = &mut self.cells[key];
        let is_first = cell.head_touched != self.epoch;
        cell.head_touched = self.epoch;
        let before = std::mem::replace(&mut cell.head, head);
        self.journal.push(Change::Head(key, before), is_first);
    }

    /// Writes or removes an entry.
    pub fn put_entry(&mut self, key: usize, name: &N, entry: Option<E>) {
        let epoch = self.epoch;
        let entries = &mut self.cells[key].entries;
        let before = match (entry, entries.get_mut(name)) {
            (Some(value), Some(slot)) => Some(std::mem::replace(slot, Slot { value, touched: epoch })),
            (Some(value), None) => entries.insert(name.clone(), Slot { value, touched: epoch }),
            (None, _) => entries.remove(name),
        };
        let is_first = before.as_ref().is_none_or(|slot| slot.touched != epoch);
        self.journal.push(Change::Entry(key, name.clone(), before.map(|slot| slot.value)), is_first);
    }

    /// An entry as the changelog has it.
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
        let is_first = slot.touched != self.epoch;
        slot.touched = self.epoch;
        // What the entry was at the savepoint is kept once.
        let of_entry = |change: &Change<N, E, T>| matches!(change, Change::Entry(other, entry, _) if *other == key && entry == name);
        if is_first || !self.journal.since_last().any(of_entry) {
            self.journal.push(Change::Entry(key, name.clone(), Some(slot.value.clone())), is_first);
        }
        Some(&mut slot.value)
    }

    /// Sets, moves or cancels a timer.
    pub fn put_timer(&mut self, key: usize, timer: &T, time: Option<TimerTime>) {
        let epoch = self.epoch;
        let timers = &mut self.cells[key].timers;
        if timers.get(timer) == time {
            return;
        }
        let before = timers.put(timer, time.map(|value| Slot { value, touched: epoch }));
        let is_first = before.as_ref().is_none_or(|slot| slot.touched != epoch);
        self.journal.push(Change::Timer(key, timer.clone(), before.map(|slot| slot.value)), is_first);
    }

    pub fn put_producer(&mut self, key: usize, producer: &str, sequence: Option<Sequence>) {
        let epoch = self.epoch;
        let producers = &mut self.cells[key].producers;
        let before = match sequence {
            Some(value) => producers.insert(producer.into(), Slot { value, touched: epoch }),
            None => producers.remove(&producer.into()),
        };
        let is_first = before.as_ref().is_none_or(|slot| slot.touched != epoch);
        self.journal.push(Change::Producer(key, producer.into(), before.map(|slot| slot.value)), is_first);
    }

    /// Forgets what the key's producers have sent.
    pub fn forget_producers(&mut self, key: usize) {
        let producers: Vec<Box<str>> =
            self.cells[key].producers.iter().map(|(name, _)| name.clone()).collect();
        for producer in producers {
            self.put_producer(key, &producer, None);
        }
    }

    /// Makes a name lead to a key, or to none.
    pub fn put_alias(&mut self, name: &str, key: Option<usize>) {
        let before = self.put_alias_unjournaled(name, key);
        self.journal.push(Change::Alias(name.into(), before), true);
    }

    /// As [`put_alias`](Self::put_alias), for a restore.
    pub fn put_alias_unjournaled(&mut self, name: &str, key: Option<usize>) -> Option<usize> {
        let before = match key {
            Some(key) => self.aliases.insert(name.into(), key),
            None => self.aliases.remove(name),
        };
        if let Some(cell) = before.and_then(|key| self.cells.get_mut(key)) {
            cell.aliases -= 1;
        }
        if let Some(cell) = key.and_then(|key| self.cells.get_mut(key)) {
            cell.aliases += 1;
        }
        before
    }

    pub fn insert_id(&mut self, id: u128, clock: Millis, offset: i64) {
        let before = self.ids.insert(id, clock, offset);
        self.journal.push(Change::Id(id, before), true);
    }

    pub fn count(&mut self, tenant: &str, clock: Millis, outcome: Outcome) {
        let (hour, epoch) = (hour(clock), self.epoch);
        let tenants = self.counts.entry(hour).or_default();
        let (before, is_first) = match tenants.get_mut(tenant) {
            Some(slot) => {
                let (before, is_first) = (slot.value, slot.touched != epoch);
                slot.value.add(outcome);
                slot.touched = epoch;
                (Some(before), is_first)
            }
            None => {
                let mut value = Counts::default();
                value.add(outcome);
                tenants.insert(tenant.to_owned(), Slot { value, touched: epoch });
                (None, true)
            }
        };
        // A count is no part of what a failed record undoes: only the first of a commit is needed.
        if is_first {
            self.journal.push(Change::Count(tenant.to_owned(), hour, before), true);
        }
    }

    /// An hour that is over needs no counts any more, once they have been emitted.
    pub fn drop_counts(&mut self, tenant: &str, hour: Millis) {
        if let Some(slot) = self.remove_counts(tenant, hour) {
            self.journal.push(Change::Count(tenant.to_owned(), hour, Some(slot.value)), true);
        }
    }

    /// Counts as the changelog has them.
    pub fn restore_counts(&mut self, tenant: &str, hour: Millis, counts: Option<Counts>) {
        match counts {
            Some(value) => {
                let tenants = self.counts.entry(hour).or_default();
                tenants.insert(tenant.to_owned(), Slot::new(value));
            }
            None => drop(self.remove_counts(tenant, hour)),
        }
    }

    fn remove_counts(&mut self, tenant: &str, hour: Millis) -> Option<Slot<Counts>> {
        let tenants = self.counts.get_mut(&hour)?;
        let removed = tenants.remove(tenant);
        if tenants.is_empty() {
            self.counts.remove(&hour);
        }
        removed
    }

    /// A point to which [`undo_to`](Self::undo_to) returns.
    pub fn savepoint(&mut self) -> usize {
        self.journal.savepoint()
    }

    /// What has been changed since a savepoint.
    pub fn changes_since(&self, savepoint: usize) -> impl Iterator<Item = &Change<N, E, T>> {
        self.journal.since(savepoint)
    }

    /// What has been changed since a savepoint stays.
    pub fn keep_since(&mut self, savepoint: usize) {
        self.journal.keep_since(savepoint);
    }

    /// Takes back what has been changed since a savepoint.
    pub fn undo_to(&mut self, savepoint: usize) {
        while let Some((change, is_first)) = self.journal.pop_to(savepoint) {
            // A cell whose first change is taken back has not been touched.
            let touched = if is_first { 0 } else { self.epoch };
            match change {
                Change::KeyCreated(key) => self.remove_key(key),
                Change::Head(key, before) => {
                    let cell = &mut self.cells[key];
                    (cell.head, cell.head_touched) = (before, touched);
                    Self::reschedule(&mut self.wakes, key, cell);
                }
                Change::Entry(key, name, Some(value)) => {
                    self.cells[key].entries.insert(name, Slot { value, touched });
                }
                Change::Entry(key, name, None) => drop(self.cells[key].entries.remove(&name)),
                Change::Timer(key, timer, before) => {
                    let cell = &mut self.cells[key];
                    cell.timers.put(&timer, before.map(|value| Slot { value, touched }));
                    Self::reschedule(&mut self.wakes, key, cell);
                }
                Change::Producer(key, producer, before) => {
                    let producers = &mut self.cells[key].producers;
                    match before {
                        Some(value) => producers.insert(producer, Slot { value, touched }),
                        None => producers.remove(&producer),
                    };
                }
                Change::Alias(name, before) => drop(self.put_alias_unjournaled(&name, before)),
                Change::Id(id, before) => self.ids.forget_last(id, before),
                Change::Count(tenant, hour, before) => self.restore_counts(&tenant, hour, before),
            }
        }
    }

    /// The key's entry in the queue may be too late now: it surfaces at once, and is corrected.
    fn reschedule(wakes: &mut WakeQueue, key: usize, cell: &mut KeyCell<N, E, T>) {
        cell.wake = None;
        wakes.schedule(key, Millis::MIN, &mut cell.wake, Millis::MIN);
    }

    /// What has been changed is committed.
    pub fn commit(&mut self) {
        self.journal.clear();
        self.epoch = self.epoch.wrapping_add(1).max(1);
    }
}
