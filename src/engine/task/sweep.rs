//! Other settings come into force: key by key, in the order of their names (I4).

use std::sync::Arc;

use compact_str::CompactString;

use super::Task;
use crate::engine::cursor::{Phase, SweepCursor};
use crate::engine::operator::Operator;
use crate::engine::settings::FamilySettings;

/// The settings that a mark has replaced, and how far the keys have followed.
pub(super) struct Sweep<S> {
    former: Arc<FamilySettings<S>>,
    through: Option<CompactString>,
}

impl<S> Sweep<S> {
    pub fn cursor(&self) -> SweepCursor {
        SweepCursor { former: self.former.version, through: self.through.as_deref().map(str::to_owned) }
    }

    pub fn from_cursor(cursor: &SweepCursor, former: Arc<FamilySettings<S>>) -> Self {
        Self { former, through: cursor.through.as_deref().map(CompactString::from) }
    }
}

impl<O: Operator> Task<O> {
    /// Brings settings into force. Two owners' marks may cross: what is in force never goes back. `false`: the rows have
    /// reached their end.
    pub(super) fn adopt(
        &mut self,
        settings: &Arc<FamilySettings<O::Settings>>,
        end: usize,
        rows: &mut Vec<O::Row>,
    ) -> bool {
        let Sweep { former, mut through } = match self.sweep.take() {
            Some(sweep) => sweep,
            None if settings.version <= self.settings.version => return true,
            None => {
                self.progress.phase = Phase::Sweeping;
                self.position.settings_version = settings.version;
                let former = std::mem::replace(&mut self.settings, Arc::clone(settings));
                Sweep { former, through: None }
            }
        };
        let mut keys: Vec<(CompactString, usize)> = Vec::new();
        for (key, cell) in self.state.cells.iter() {
            let name = &cell.name;
            if through.as_ref().is_none_or(|through| name > through)
                && self.settings.of(name) != former.of(name)
            {
                keys.push((name.clone(), key));
            }
        }
        keys.sort_unstable();
        for (name, key) in keys {
            if self.is_full(end, rows) {
                self.sweep = Some(Sweep { former, through });
                return false;
            }
            self.follow(key, rows);
            through = Some(name);
        }
        true
    }

    /// A key follows the settings that have changed.
    fn follow(&mut self, key: usize, rows: &mut Vec<O::Row>) {
        let followed = self.attempt(key, rows, |operator, context| {
            operator.settings_changed(context);
            Ok(())
        });
        if let Err(rejection) = followed {
            let what = format!("version {} of the settings", self.settings.version);
            rows.push(self.poisoned(key, "poison_settings", &what, rejection).into());
        }
        self.schedule(key);
    }
}
