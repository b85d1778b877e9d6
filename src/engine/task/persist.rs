//! How a task's state is committed, taken back, written down and restored.

use std::sync::Arc;

use super::Task;
use super::sweep::Sweep;
use crate::engine::changelog;
use crate::engine::changelog::{Reader, RestoreError, Visit, Writer};
use crate::engine::cursor::Cursor;
use crate::engine::operator::Operator;
use crate::engine::settings::FamilySettings;

impl<O: Operator> Task<O> {
    /// Writes down every cell that has changed since the last commit, for the changelog; a value of `None` removes it.
    /// To be followed by [`commit`](Self::commit) or [`abort`](Self::abort).
    pub fn changes<E>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        self.find_expired();
        let mut writer = Writer::new(visit);
        for change in self.state.changes_since(0) {
            writer.change::<O>(&self.state, change)?;
        }
        for (name, chunk) in self.state.ids.chunks_from(self.committed.offset) {
            writer.ids(name, Some(chunk))?;
        }
        for name in self.state.ids.expired(self.position.clock, self.settings.duplicate_horizon) {
            writer.ids(name, None)?;
        }
        for key in &self.expired {
            writer.forget::<O>(&self.state, *key)?;
        }
        writer.position::<O>(&self.cursor())
    }

    /// Every cell of the state, in order: what a restore needs.
    pub fn snapshot<E>(&self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let mut writer = Writer::new(visit);
        writer.all::<O>(&self.state)?;
        // A snapshot holds live cells only, so it removes no cell of emissions.
        writer.position::<O>(&Cursor { emission_chunks: 0, ..self.cursor() })
    }

    fn find_expired(&mut self) {
        self.expired.clear();
        let clock = self.position.clock;
        while let Some((_, key)) = self.state.expiries.pop(clock) {
            let Some(cell) = self.state.cells.get(key) else { continue };
            if !self.is_forgotten(&cell.head.time) {
                self.schedule_expiry(key);
            } else if cell.is_idle() {
                self.expired.push(key);
            } else {
                // It will be looked at again; until then a late look costs room, nothing else.
                let at = clock.saturating_add(self.settings.duplicate_horizon.max(1));
                self.state.expiries.schedule(key, at, &mut None, clock);
            }
        }
        self.expired.sort_unstable();
        self.expired.dedup();
    }

    fn cursor(&self) -> Cursor {
        let mut emissions: Vec<_> = self.position.emissions.iter().map(|(id, count)| (*id, *count)).collect();
        emissions.sort_unstable();
        Cursor {
            offset: self.position.offset,
            append_time: self.position.append_time,
            clock: self.position.clock,
            settings_version: self.position.settings_version,
            sweep: self.sweep.as_ref().map(Sweep::cursor),
            progress: self.progress,
            emissions,
            emission_chunks: self.committed.emission_chunks,
        }
    }

    /// What has been done since the last commit is committed.
    pub fn commit(&mut self) {
        let mut cursor = self.cursor();
        cursor.emission_chunks = changelog::emission_chunks(&cursor.emissions);
        self.committed = cursor;
        self.committed_settings = Arc::clone(&self.settings);
        self.committed_former = self.sweep.as_ref().map(|sweep| Arc::clone(sweep.former()));
        self.state.ids.commit(self.position.clock, self.settings.duplicate_horizon);
        for key in std::mem::take(&mut self.expired) {
            self.state.remove_key(key);
        }
        self.state.commit();
    }

    /// As [`commit`](Self::commit), where no changelog is kept: forgets what is to be forgotten by now, and what an
    /// [`abort`](Self::abort) would need.
    pub fn commit_in_memory(&mut self) {
        self.accounting();
        self.find_expired();
        self.commit();
    }

    /// Takes back what has been done since the last commit. It costs what was touched (I5).
    pub fn abort(&mut self) {
        self.state.undo_to(0);
        self.settings = Arc::clone(&self.committed_settings);
        self.stand_at(self.committed.clone(), self.committed_former.clone());
        for key in std::mem::take(&mut self.expired) {
            self.schedule_expiry(key);
        }
        self.accounted.clear();
    }

    fn stand_at(&mut self, cursor: Cursor, former: Option<Arc<FamilySettings<O::Settings>>>) {
        let sweep = cursor.sweep.as_ref().zip(former);
        self.sweep = sweep.map(|(sweep, former)| Sweep::from_cursor(sweep, former));
        self.progress = cursor.progress;
        self.position.offset = cursor.offset;
        self.position.append_time = cursor.append_time;
        self.position.clock = cursor.clock;
        self.position.settings_version = cursor.settings_version;
        self.position.emissions = cursor.emissions.iter().copied().collect();
        self.committed = cursor;
    }

    /// Begins to bring the empty task to a state that was written down.
    pub fn restore(self) -> Restore<O> {
        Restore { task: self, reader: Reader::default() }
    }
}

/// A task that is brought to a state which was written down as [changes](Task::changes) or as a
/// [snapshot](Task::snapshot).
pub struct Restore<O: Operator> {
    task: Task<O>,
    reader: Reader,
}

impl<O: Operator> Restore<O> {
    /// The next record of the changelog, or cell of a snapshot.
    pub fn apply(&mut self, key: &[u8], value: Option<&[u8]>) -> Result<(), RestoreError> {
        self.reader.apply::<O>(&mut self.task.state, key, value)
    }

    /// The task, as it was when the last record was written; as new if there was none. `settings` are those of a version.
    pub fn finish(
        self,
        mut settings: impl FnMut(i64) -> Result<Arc<FamilySettings<O::Settings>>, String>,
    ) -> Result<Task<O>, RestoreError> {
        let Self { mut task, reader } = self;
        if let Some(cursor) = reader.finish()? {
            let mut known = |version| {
                settings(version).map_err(|reason| RestoreError::UnknownSettings { version, reason })
            };
            task.settings = known(cursor.settings_version)?;
            let former = cursor.sweep.as_ref().map(|sweep| known(sweep.former)).transpose()?;
            task.committed_settings = Arc::clone(&task.settings);
            task.committed_former.clone_from(&former);
            task.stand_at(cursor, former);
        }
        let keys: Vec<usize> = task.state.cells.iter().map(|(key, _)| key).collect();
        for key in keys {
            task.schedule(key);
            task.schedule_expiry(key);
        }
        // The cells that were restored count as committed, not as changed.
        task.state.commit();
        Ok(task)
    }
}
