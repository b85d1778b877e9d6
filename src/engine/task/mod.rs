//! A task: the fold of one partition of one family topic.

mod fire;
mod fold;
mod persist;
mod sweep;

use std::collections::BTreeMap;
use std::sync::Arc;

use uuid::Uuid;

use self::fold::refuse;
pub use self::persist::{Checkpoint, Restore};
use self::sweep::Sweep;
use super::accounting::{Counts, Outcome, hour};
use super::cursor::{Phase, Progress, Totals};
use super::operator::{Operator, OperatorState, Position, Rejection};
use super::record::{Payload, Record};
use super::settings::FamilySettings;
use super::time::Allowance;
use crate::engine::rows::Accounting;
use crate::engine::{Event, Millis, id};

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is folded, with everything that it made due.
    Done(Outcome),
    /// The rows have reached the room that there was, between two timers: commit, then give the same record again.
    Full,
}

/// The fold of one partition. Its state is a pure function of the records it was fed, in order (I2). What of it has changed is
/// written down as [deltas](Self::delta), all of it as [checkpoints](Self::begin_checkpoint).
pub struct Task<O: Operator> {
    operator: O,
    settings: Arc<FamilySettings<O::Settings>>,
    sweep: Option<Sweep<O::Settings>>,
    position: Position,
    progress: Progress,
    state: OperatorState<O>,
    /// What was emitted last of the counts, by hour and tenant.
    accounted: BTreeMap<(Millis, String), Counts>,
    /// Rows that the record at work has emitted since the last delta.
    fresh_emissions: Vec<Uuid>,
    /// Cells that may have changed before the work pauses for a delta.
    dirty_limit: usize,
}

impl<O: Operator> Task<O> {
    /// An empty task at the beginning of a partition; `epoch` says how often the job has begun anew before.
    pub fn new(
        operator: O,
        settings: Arc<FamilySettings<O::Settings>>,
        topic: &str,
        partition: i32,
        epoch: u8,
    ) -> Self {
        let position = Position {
            topic: topic.into(),
            partition,
            epoch,
            offset: 0,
            append_time: Millis::MIN,
            clock: Millis::MIN,
            settings_version: settings.version,
            emissions: std::collections::HashMap::default(),
        };
        Self {
            operator,
            settings,
            sweep: None,
            position,
            progress: Progress { phase: Phase::Idle, totals: Totals::default() },
            state: OperatorState::<O>::default(),
            accounted: BTreeMap::new(),
            fresh_emissions: Vec::new(),
            dirty_limit: usize::MAX,
        }
    }

    /// From now on the work also pauses ([`Step::Full`]) between two timers where so many cells have changed since the last
    /// [delta](Self::delta).
    pub fn limit_delta(&mut self, cells: usize) {
        self.dirty_limit = cells;
    }

    /// The offset of the next record, or of the one that is not finished.
    pub fn offset(&self) -> i64 {
        self.position.offset
    }

    /// The last record, finished or not: its offset and append time. `None` if there was none.
    pub fn last_record(&self) -> Option<(i64, Millis)> {
        let is_finished = self.progress.phase == Phase::Idle;
        let offset = self.position.offset - i64::from(is_finished);
        (offset >= 0).then_some((offset, self.position.append_time))
    }

    /// How often the job has begun anew.
    pub fn epoch(&self) -> u8 {
        self.position.epoch
    }

    /// Goes on at another offset, because what lies between can't be had any more, or lies in a topic that was made anew. Offsets
    /// that are passed over are counted (I7). What comes of offsets that were there before has the versions of a further epoch.
    pub fn skip_to(&mut self, offset: i64) {
        let passed_over = offset.saturating_sub(self.position.offset);
        match u64::try_from(passed_over) {
            Ok(count) => self.state.count_skipped(self.position.clock, count),
            Err(_) => self.position.epoch += 1,
        }
        self.position.offset = offset;
        self.position.emissions.clear();
        self.fresh_emissions.clear();
        self.progress.phase = Phase::Idle;
    }

    /// The partition's clock: the highest append time so far.
    pub fn clock(&self) -> Millis {
        self.position.clock
    }

    /// The settings in force, as the last mark named them.
    pub fn settings(&self) -> &Arc<FamilySettings<O::Settings>> {
        &self.settings
    }

    /// What the task has met so far (I7).
    pub fn totals(&self) -> Totals {
        self.progress.totals
    }

    /// How many keys are held.
    pub fn keys(&self) -> usize {
        self.state.cells.len()
    }

    /// Folds the next record; what it and the timers before it emit is added to `rows`, of which there may be about
    /// `room` more: it is looked at between two timers.
    pub fn process(&mut self, record: &Record<'_, O>, room: usize, rows: &mut Vec<O::Row>) -> Step {
        debug_assert!(self.progress.phase == Phase::Idle || self.position.offset == record.offset);
        let end = rows.len().saturating_add(room);
        self.position.offset = record.offset;
        self.position.append_time = record.append_time;
        if self.progress.phase == Phase::Idle {
            self.position.clock = self.position.clock.max(record.append_time);
            self.state.ids.expire(self.position.clock, self.settings.duplicate_horizon);
            self.progress.phase = Phase::Before;
        }
        // What other settings make due fires once they are in force for all.
        if self.progress.phase != Phase::Sweeping && !self.fire_due(end, rows) {
            return Step::Full;
        }
        let outcome = match self.progress.phase {
            Phase::After(outcome) => outcome,
            Phase::Idle | Phase::Before | Phase::Sweeping => {
                let Some(outcome) = self.take(record, end, rows) else { return Step::Full };
                self.progress.phase = Phase::After(outcome);
                // With D = 0 a timer that was set in the past is due at once.
                if !self.fire_due(end, rows) {
                    return Step::Full;
                }
                outcome
            }
        };
        self.finish(record, outcome);
        Step::Done(outcome)
    }

    /// As [`process`](Self::process), with room for any number of rows.
    pub fn process_whole(&mut self, record: &Record<'_, O>, rows: &mut Vec<O::Row>) -> Outcome {
        loop {
            if let Step::Done(outcome) = self.process(record, usize::MAX, rows) {
                return outcome;
            }
        }
    }

    fn finish(&mut self, record: &Record<'_, O>, outcome: Outcome) {
        if outcome == Outcome::Mark {
            self.progress.totals.marks += 1;
        } else {
            let tenant = record.event().map_or("", Event::tenant);
            self.progress.totals.records.add(outcome);
            self.state.count(tenant, self.position.clock, outcome);
        }
        self.progress.phase = Phase::Idle;
        self.position.offset = record.offset + 1;
        self.position.emissions.clear();
        self.fresh_emissions.clear();
    }

    /// What the record says is done. `None`: there is no room before it.
    fn take(&mut self, record: &Record<'_, O>, end: usize, rows: &mut Vec<O::Row>) -> Option<Outcome> {
        let refusal = match &record.payload {
            Payload::Mark(settings) => return self.adopt(settings, end, rows).then_some(Outcome::Mark),
            Payload::Undecodable(message) => refuse("undecodable", message.clone()),
            Payload::ForAnother(_) => return Some(Outcome::Duplicate),
            Payload::Event(event) => match self.fold(record, event, end, rows)? {
                Ok(outcome) => return Some(outcome),
                Err(rejection) => rejection,
            },
        };
        let (row, outcome) = match refusal {
            Rejection::Late => (record.late_event(&self.position).into(), Outcome::Late),
            Rejection::Refused { reason, message } => {
                (record.dead_letter(&self.position, reason, message).into(), Outcome::DeadLettered)
            }
        };
        rows.push(row);
        Some(outcome)
    }

    /// Whether the work pauses for a commit: the rows have reached their end, or as much has changed as a delta holds.
    fn is_full(&self, end: usize, rows: &[O::Row]) -> bool {
        rows.len() >= end || self.state.dirty_count() >= self.dirty_limit
    }

    fn allowance(&self, key: usize) -> Allowance {
        let cell = &self.state.cells[key];
        let disorder = self.settings.of(&cell.name).allowance;
        if cell.head.is_in_order { Allowance::in_order(disorder) } else { Allowance::of(disorder) }
    }

    /// The counts that have changed since they were last taken, as rows of the table `accounting` (I7). Those of an hour
    /// that is over are dropped from the state.
    pub fn accounting(&mut self) -> Vec<Accounting> {
        let now = hour(self.position.clock);
        let mut rows = Vec::new();
        let mut over = Vec::new();
        for (hour, tenants) in &self.state.counts {
            for (tenant, slot) in tenants {
                let cell = (*hour, tenant.clone());
                if self.accounted.get(&cell) != Some(&slot.value) {
                    rows.push(self.accounting_row(*hour, tenant, slot.value));
                    self.accounted.insert(cell.clone(), slot.value);
                }
                if *hour < now {
                    over.push(cell);
                }
            }
        }
        for (hour, tenant) in over {
            self.state.drop_counts(&tenant, hour);
            self.accounted.remove(&(hour, tenant));
        }
        rows
    }

    fn accounting_row(&self, hour: Millis, tenant: &str, counts: Counts) -> Accounting {
        let count = |count| i64::try_from(count).unwrap_or(i64::MAX);
        Accounting {
            tenant: tenant.to_owned(),
            operator: O::NAME.to_owned(),
            topic: self.position.topic.to_string(),
            partition: self.position.partition,
            hour,
            version: id::version(self.position.epoch, self.position.offset, 0),
            read: count(counts.read),
            folded: count(counts.folded),
            duplicate: count(counts.duplicate),
            late: count(counts.late),
            dead_lettered: count(counts.dead_lettered),
            skipped: count(counts.skipped),
        }
    }
}
