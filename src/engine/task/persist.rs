//! How a task's state is written down and restored.

use std::sync::Arc;

use super::Task;
use super::sweep::Sweep;
use crate::engine::changelog::{Reader, RestoreError, Writer};
use crate::engine::cursor::Cursor;
use crate::engine::duplicates::IdRangeName;
use crate::engine::operator::{Operator, OperatorState};
use crate::engine::settings::FamilySettings;
use crate::engine::timers::Wake;

/// Keys that are forgotten at once, at most.
const FORGOTTEN: usize = 10_000;

/// How far a checkpoint has come through the state.
#[derive(Debug, Clone, Default)]
pub struct Checkpoint {
    ids: IdRangeName,
    key: usize,
}

impl<O: Operator> Task<O> {
    /// How many cells have changed since they were last written down, about: a delta holds them.
    pub fn dirty_count(&self) -> usize {
        self.state.dirty_count()
    }

    /// Packs what an empty task that begins at an offset says of itself; `epoch` tells its rows' versions from those of its former
    /// lives.
    pub fn begin_anew(&mut self, offset: i64, epoch: u8, block: &mut Vec<u8>) {
        (self.position.offset, self.position.epoch) = (offset, epoch);
        Writer::new(block).position::<O>(self.cursor());
    }

    /// Packs every cell that has changed since the last delta into a block for the changelog.
    pub fn delta(&mut self, block: &mut Vec<u8>) {
        let mut writer = Writer::new(block);
        writer.position::<O>(self.cursor());
        self.fresh_emissions.sort_unstable();
        self.fresh_emissions.dedup();
        for id in self.fresh_emissions.drain(..) {
            if let Some(count) = self.position.emissions.get(&id) {
                writer.emissions(id, *count);
            }
        }
        let mut dirty = self.state.take_dirty();
        writer.dirty::<O>(&self.state, &mut dirty);
        for (name, range) in self.state.ids.fresh() {
            writer.ids(name, &range);
        }
        for key in self.find_expired() {
            writer.forget(&self.state.cells[key].name);
            self.state.remove_key(key);
        }
        self.state.written(dirty);
    }

    /// As [`delta`](Self::delta), where no changelog is kept: forgets what is to be forgotten by now.
    pub fn skip_delta(&mut self) {
        self.accounting();
        for key in self.find_expired() {
            self.state.remove_key(key);
        }
        self.fresh_emissions.clear();
        let dirty = self.state.take_dirty();
        self.state.written(dirty);
    }

    /// Packs the beginning of a checkpoint: what is no part of its slices. The state has been written down just before.
    pub fn begin_checkpoint(&self, block: &mut Vec<u8>) -> Checkpoint {
        let mut writer = Writer::new(block);
        writer.position::<O>(self.cursor());
        let mut emissions: Vec<_> = self.position.emissions.iter().collect();
        emissions.sort_unstable();
        for (id, count) in emissions {
            writer.emissions(*id, *count);
        }
        writer.counts::<O>(&self.state);
        Checkpoint::default()
    }

    /// Packs cells on from where the checkpoint has come to, about `limit` bytes of them; returns whether it is complete. The
    /// state has been written down just before.
    pub fn slice(&self, checkpoint: &mut Checkpoint, limit: usize, block: &mut Vec<u8>) -> bool {
        let end = block.len().saturating_add(limit);
        let mut writer = Writer::new(block);
        for ((bucket, start), range) in self.state.ids.ranges(checkpoint.ids) {
            if writer.length() >= end {
                return false;
            }
            writer.ids((bucket, start), &range);
            let next =
                usize::from(start) + range.ids.len() / size_of::<crate::engine::duplicates::Fingerprint>();
            checkpoint.ids = u16::try_from(next).map_or((bucket + 1, 0), |next| (bucket, next));
        }
        // Ids that come later, and keys that come in front of it, are in deltas.
        checkpoint.ids = (u64::MAX, 0);
        let last = self.state.cells.end();
        while checkpoint.key < last {
            if writer.length() >= end {
                return false;
            }
            if self.state.cells.contains(checkpoint.key) {
                writer.key::<O>(&self.state, checkpoint.key);
            }
            checkpoint.key += 1;
        }
        true
    }

    /// The keys that are to be forgotten, in the order of their names.
    fn find_expired(&mut self) -> Vec<usize> {
        let mut expired = Vec::new();
        let clock = self.position.clock;
        while expired.len() < FORGOTTEN
            && let Some((_, key)) = self.state.expiries.pop(clock)
        {
            let Some(cell) = self.state.cells.get(key) else { continue };
            if !self.is_forgotten(&cell.head.time) {
                self.schedule_expiry(key);
            } else if cell.is_idle() {
                expired.push(key);
            } else {
                // It will be looked at again; until then a late look costs room, nothing else.
                let at = clock.saturating_add(self.settings.duplicate_horizon.max(1));
                self.state.expiries.schedule(key, at, &mut Wake::default(), clock);
            }
        }
        expired.sort_unstable();
        expired.dedup();
        expired
    }

    fn cursor(&self) -> Cursor {
        Cursor {
            epoch: self.position.epoch,
            offset: self.position.offset,
            append_time: self.position.append_time,
            clock: self.position.clock,
            settings_version: self.position.settings_version,
            sweep: self.sweep.as_ref().map(Sweep::cursor),
            progress: self.progress,
        }
    }

    /// Begins to bring the empty task to a state that was written down.
    pub fn restore(self) -> Restore<O> {
        Restore { task: self, reader: Reader::default() }
    }
}

/// A task that is brought to a state which was written down: as all its deltas, or as a checkpoint and what follows its
/// beginning.
pub struct Restore<O: Operator> {
    task: Task<O>,
    reader: Reader,
}

impl<O: Operator> Restore<O> {
    /// What was written so far does not count: the job has begun anew.
    pub fn begin_anew(&mut self) {
        self.task.state = OperatorState::<O>::default();
        self.reader = Reader::default();
    }

    /// The next block.
    ///
    /// # Errors
    /// Where it is none, or another operator's or version's.
    pub fn apply(&mut self, block: &[u8]) -> Result<(), RestoreError> {
        self.reader.apply::<O>(&mut self.task.state, block)
    }

    /// The task, as it was when the last block was written; as new if there was none. `settings` are those of a version.
    ///
    /// # Errors
    /// Where the blocks don't say how far they have come, or `settings` does not know a version.
    pub fn finish(
        self,
        mut settings: impl FnMut(i64) -> Result<Arc<FamilySettings<O::Settings>>, String>,
    ) -> Result<Task<O>, RestoreError> {
        let Self { mut task, reader } = self;
        if let Some((cursor, emissions)) = reader.finish()? {
            let mut known = |version| {
                settings(version).map_err(|reason| RestoreError::UnknownSettings { version, reason })
            };
            task.settings = known(cursor.settings_version)?;
            let former = cursor.sweep.as_ref().map(|sweep| known(sweep.former)).transpose()?;
            task.sweep =
                cursor.sweep.as_ref().zip(former).map(|(sweep, former)| Sweep::from_cursor(sweep, former));
            task.progress = cursor.progress;
            task.position.epoch = cursor.epoch;
            task.position.offset = cursor.offset;
            task.position.append_time = cursor.append_time;
            task.position.clock = cursor.clock;
            task.position.settings_version = cursor.settings_version;
            task.position.emissions = emissions.into_iter().collect();
        }
        task.state.ids.restored(task.position.clock, task.settings.duplicate_horizon);
        let keys: Vec<usize> = task.state.cells.iter().map(|(key, _)| key).collect();
        for key in keys {
            task.schedule(key);
            task.schedule_expiry(key);
        }
        // What was restored is written down.
        let dirty = task.state.take_dirty();
        task.state.written(dirty);
        Ok(task)
    }
}
