//! The partitions of a family in memory.

use std::sync::Arc;

use crate::event::{Millis, id};
use crate::log::topics;
use crate::stream::{Counts, FamilySettings, Operator, Payload, Record, Task};
use crate::worker::Family;

/// After so many records the tasks commit, which lets go of what an abort would need.
const COMMIT: u64 = 10_000;

/// A task for each partition of the family topic.
pub(super) struct Partitions<O: Operator> {
    tasks: Vec<Task<O>>,
    rows: Vec<O::Row>,
    since_commit: u64,
}

impl<O: Operator> Partitions<O> {
    /// As many as the topic has; `None` if there is no such topic.
    pub(super) fn new(family: &Family<O>, settings: FamilySettings<O::Settings>) -> Option<Self> {
        let count = topics::named(family.topic)?.partitions;
        let settings = Arc::new(settings);
        let tasks = (0..count).map(|partition| family.task(partition, Arc::clone(&settings))).collect();
        Some(Self { tasks, rows: Vec::new(), since_commit: 0 })
    }

    /// Appends a record to the partition of its route, and folds it.
    pub(super) fn append(
        &mut self,
        route: u32,
        append_time: Millis,
        key: &str,
        value: &[u8],
        event: O::Event,
    ) {
        let partition = id::partition(route, self.tasks.len() as u32) as usize;
        let (raw_key, raw_value) = (Some(key.as_bytes()), Some(value));
        let offset = self.tasks[partition].offset();
        let payload = Payload::Event(event);
        self.process(partition, &Record { offset, append_time, raw_key, raw_value, payload });
        self.since_commit += 1;
        if self.since_commit >= COMMIT {
            self.commit();
        }
    }

    /// Appends a mark where the next timer is due, if that is by `now`; to be called until none is.
    pub(super) fn step_to(&mut self, now: Millis) -> bool {
        let wakes = self.tasks.iter_mut().map(Task::next_wake).enumerate();
        let next = wakes.filter_map(|(partition, wake)| Some((wake?, partition))).min();
        let Some((wake, partition)) = next.filter(|(wake, _)| *wake <= now) else { return false };
        let task = &self.tasks[partition];
        let (offset, append_time) = (task.offset(), wake.max(task.clock()));
        let payload = Payload::Mark(Arc::clone(task.settings()));
        self.process(partition, &Record { offset, append_time, raw_key: None, raw_value: None, payload });
        true
    }

    fn process(&mut self, partition: usize, record: &Record<'_, O>) {
        self.tasks[partition].process_whole(record, &mut self.rows);
    }

    fn commit(&mut self) {
        self.since_commit = 0;
        for task in &mut self.tasks {
            task.commit_in_memory();
        }
    }

    /// What has been emitted since the last look.
    pub(super) fn take_rows(&mut self) -> Vec<O::Row> {
        std::mem::take(&mut self.rows)
    }

    /// When the next timer is due.
    pub(super) fn next_wake(&mut self) -> Option<Millis> {
        self.tasks.iter_mut().filter_map(Task::next_wake).min()
    }

    /// What became of the records of all partitions (I7).
    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for counts in self.tasks.iter().map(|task| task.totals().records) {
            sum.read += counts.read;
            sum.folded += counts.folded;
            sum.duplicate += counts.duplicate;
            sum.late += counts.late;
            sum.dead_lettered += counts.dead_lettered;
        }
        sum
    }
}
