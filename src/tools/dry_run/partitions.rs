//! The partitions of a family topic in memory, and the jobs that fold them.

use std::sync::Arc;

use uuid::Uuid;

use super::DryRunError;
use crate::engine::rows::OperatorRow;
use crate::engine::{Counts, Event, FamilySettings, Millis, Operator, Payload, Record, Task, id};
use crate::runtime::{Job, OutputRow};

/// After so many records the tasks commit, which lets go of what an abort would need.
const COMMIT: u64 = 10_000;

/// A row as it is printed.
pub(super) struct Emitted<'a> {
    pub topic: &'static str,
    /// Its id, and whether it is retracted; of what has no versions nothing.
    pub version: Option<(Uuid, bool)>,
    /// Its value: Avro in the Confluent wire format.
    pub value: &'a [u8],
}

/// Takes rows.
pub(super) trait Output {
    fn row(&mut self, row: &Emitted<'_>) -> Result<(), DryRunError>;
}

/// A job over all partitions, whatever its operator is.
pub(super) trait Fold<E> {
    /// Folds an event.
    fn event(
        &mut self,
        partition: usize,
        offset: i64,
        append_time: Millis,
        key: &str,
        value: &[u8],
        event: E,
    );
    /// Folds a mark.
    fn mark(&mut self, partition: usize, offset: i64, append_time: Millis);
    /// When the next timer of a partition is due.
    fn next_wake(&mut self, partition: usize) -> Option<Millis>;
    /// Gives away what has been emitted since.
    fn give(&mut self, output: &mut dyn Output) -> Result<(), DryRunError>;
    /// Lets go of what an abort would need.
    fn commit(&mut self);
    /// The job's name, and what became of the records of all partitions (I7).
    fn counts(&self) -> (&'static str, Counts);
}

/// A task for each partition.
pub(super) struct Tasks<O: Operator> {
    tasks: Vec<Task<O>>,
    rows: Vec<O::Row>,
}

impl<O: Operator> Tasks<O> {
    pub(super) fn new(job: &Job<O>, partitions: i32, settings: FamilySettings<O::Settings>) -> Self {
        let settings = Arc::new(settings);
        let tasks = (0..partitions).map(|partition| job.task(partition, Arc::clone(&settings))).collect();
        Self { tasks, rows: Vec::new() }
    }
}

impl<O: Operator<Row: OperatorRow>> Fold<O::Event> for Tasks<O> {
    fn event(
        &mut self,
        partition: usize,
        offset: i64,
        append_time: Millis,
        key: &str,
        value: &[u8],
        event: O::Event,
    ) {
        let (raw_key, raw_value) = (Some(key.as_bytes()), Some(value));
        let record = Record {
            offset,
            append_time,
            first_append: None,
            raw_key,
            raw_value,
            payload: Payload::Event(event),
        };
        self.tasks[partition].process_whole(&record, &mut self.rows);
    }

    fn mark(&mut self, partition: usize, offset: i64, append_time: Millis) {
        let task = &mut self.tasks[partition];
        let payload = Payload::Mark(Arc::clone(task.settings()));
        let record =
            Record { offset, append_time, first_append: None, raw_key: None, raw_value: None, payload };
        task.process_whole(&record, &mut self.rows);
    }

    fn next_wake(&mut self, partition: usize) -> Option<Millis> {
        self.tasks[partition].next_wake()
    }

    fn give(&mut self, output: &mut dyn Output) -> Result<(), DryRunError> {
        let mut value = Vec::new();
        for row in self.rows.drain(..) {
            value.clear();
            row.encode(&mut value)?;
            let version = row.meta().map(|meta| (meta.id, meta.retracted));
            output.row(&Emitted { topic: OperatorRow::topic(&row), version, value: &value })?;
        }
        Ok(())
    }

    fn commit(&mut self) {
        self.tasks.iter_mut().for_each(Task::skip_delta);
    }

    fn counts(&self) -> (&'static str, Counts) {
        let mut sum = Counts::default();
        for counts in self.tasks.iter().map(|task| task.totals().records) {
            sum.read += counts.read;
            sum.folded += counts.folded;
            sum.duplicate += counts.duplicate;
            sum.late += counts.late;
            sum.dead_lettered += counts.dead_lettered;
        }
        (O::NAME, sum)
    }
}

/// The partitions of the topic, and the jobs that fold them. A mark that one of them needs is a record for all.
pub(super) struct Partitions<E> {
    jobs: Vec<Box<dyn Fold<E>>>,
    /// The next offset of each partition, and its clock.
    ends: Vec<(i64, Millis)>,
    since_commit: u64,
}

impl<E: Event + Clone> Partitions<E> {
    pub(super) fn new(partitions: i32, jobs: Vec<Box<dyn Fold<E>>>) -> Self {
        let ends = (0..partitions).map(|_| (0, Millis::MIN)).collect();
        Self { jobs, ends, since_commit: 0 }
    }

    /// Appends a record to the partition of its route, and folds it.
    pub(super) fn append(&mut self, route: u32, append_time: Millis, key: &str, value: &[u8], event: &E) {
        let partition = id::partition(route, self.ends.len() as u32) as usize;
        let offset = self.next(partition, append_time);
        for job in &mut self.jobs {
            job.event(partition, offset, append_time, key, value, event.clone());
        }
        self.since_commit += 1;
        if self.since_commit >= COMMIT {
            self.since_commit = 0;
            self.jobs.iter_mut().for_each(|job| job.commit());
        }
    }

    /// Appends a mark where the next timer is due, if that is by `now`; to be called until none is.
    pub(super) fn step_to(&mut self, now: Millis) -> bool {
        let Some((wake, partition)) = self.next_due().filter(|(wake, _)| *wake <= now) else { return false };
        let append_time = wake.max(self.ends[partition].1);
        let offset = self.next(partition, append_time);
        for job in &mut self.jobs {
            job.mark(partition, offset, append_time);
        }
        true
    }

    /// The offset of a record that is appended.
    fn next(&mut self, partition: usize, append_time: Millis) -> i64 {
        let (end, clock) = &mut self.ends[partition];
        let offset = *end;
        (*end, *clock) = (offset + 1, (*clock).max(append_time));
        offset
    }

    fn next_due(&mut self) -> Option<(Millis, usize)> {
        let partitions = 0..self.ends.len();
        let mut wakes = Vec::new();
        for job in &mut self.jobs {
            wakes.extend(
                partitions.clone().filter_map(|partition| Some((job.next_wake(partition)?, partition))),
            );
        }
        wakes.into_iter().min()
    }

    /// Gives away what has been emitted since.
    pub(super) fn give(&mut self, output: &mut dyn Output) -> Result<(), DryRunError> {
        self.jobs.iter_mut().try_for_each(|job| job.give(output))
    }

    /// When the next timer is due.
    pub(super) fn next_wake(&mut self) -> Option<Millis> {
        self.next_due().map(|(wake, _)| wake)
    }

    /// By job, what became of the records.
    pub(super) fn counts(&self) -> impl Iterator<Item = (&'static str, Counts)> {
        self.jobs.iter().map(|job| job.counts())
    }
}
