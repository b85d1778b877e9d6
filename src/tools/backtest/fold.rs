//! Folds partitions under the settings of each side.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use foldhash::fast::RandomState;
use rdkafka::message::Message;
use twox_hash::XxHash3_128;

use super::difference::{Difference, Kind};
use super::facets::Facets;
use super::finding::{say_the_same, tenant};
use super::progress::Progress;
use super::summary::Counter;
use super::{BacktestError, Replayed};
use crate::codec::CodecError;
use crate::engine::Millis;
use crate::engine::rows::OperatorRow;
use crate::engine::{FamilySettings, Operator, Payload, Record, Task};
use crate::log::Log;
use crate::log::replay::Replay;
use crate::runtime::{Job, OutputRow};

/// After so many records a task commits, which lets go of what an abort would need.
const COMMIT: u32 = 10_000;
/// How often it is looked whether to go on, in records.
const LOOK: u64 = 1_024;

/// What is folded beside each other.
pub(super) enum Sides<S> {
    /// Under settings that hold from the first record on: those before and those after the change.
    Settings([Arc<FamilySettings<S>>; 2]),
    /// As the marks say: the side after; the one before is what has been emitted.
    AsMarked,
}

/// What every thread needs to know.
pub(super) struct Comparison<'a, O: Operator> {
    pub log: &'a Log,
    pub job: &'a Job<O>,
    pub sides: Sides<O::Settings>,
    pub tenant: Option<&'a str>,
    pub from: Option<Millis>,
    /// Up to where silence passes after the last record.
    pub until: Millis,
}

/// One side of a partition.
struct Side<O: Operator> {
    place: Place,
    task: Task<O>,
    /// What holds from the first record on, whatever the marks say.
    settings: Option<Arc<FamilySettings<O::Settings>>>,
    since_commit: u32,
}

/// On which side of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    Before,
    After,
    Both,
}

impl<O: Operator> Side<O> {
    fn process(&mut self, record: &Record<'_, O>, rows: &mut Vec<O::Row>) {
        match (&record.payload, &self.settings) {
            (Payload::Mark(_), Some(settings)) => {
                let payload = Payload::Mark(Arc::clone(settings));
                let Record { offset, append_time, first_append, raw_key, raw_value, .. } = *record;
                self.fold(&Record { offset, append_time, first_append, raw_key, raw_value, payload }, rows);
            }
            _ => self.fold(record, rows),
        }
    }

    fn fold(&mut self, record: &Record<'_, O>, rows: &mut Vec<O::Row>) {
        self.task.process_whole(record, rows);
        self.since_commit += 1;
        if self.since_commit >= COMMIT {
            self.since_commit = 0;
            self.task.skip_delta();
        }
    }

    /// Lets silence pass, with a mark wherever a timer is due; `found` is given its time and what it emits.
    fn pass(&mut self, until: Millis, mut found: impl FnMut(Millis, &mut Vec<O::Row>)) {
        let mut rows = Vec::new();
        while let Some(wake) = self.task.next_wake().filter(|wake| *wake <= until) {
            let payload = Payload::Mark(Arc::clone(self.task.settings()));
            let (offset, append_time) = (self.task.offset(), wake.max(self.task.clock()));
            self.fold(
                &Record { offset, append_time, first_append: None, raw_key: None, raw_value: None, payload },
                &mut rows,
            );
            found(append_time, &mut rows);
        }
    }
}

impl<O> Comparison<'_, O>
where
    O: Operator<Row: OperatorRow>,
{
    fn sides(&self, partition: i32, first: &Arc<FamilySettings<O::Settings>>) -> Vec<Side<O>> {
        let side = |place, settings: Option<&Arc<FamilySettings<O::Settings>>>| Side {
            place,
            task: self.job.task(partition, Arc::clone(settings.unwrap_or(first))),
            settings: settings.map(Arc::clone),
            since_commit: 0,
        };
        match &self.sides {
            Sides::Settings([before, after]) => {
                vec![side(Place::Before, Some(before)), side(Place::After, Some(after))]
            }
            Sides::AsMarked => vec![side(Place::After, None)],
        }
    }

    /// Folds the offsets of some partitions.
    pub fn fold(
        &self,
        offsets: BTreeMap<i32, Range<i64>>,
        progress: &Progress,
    ) -> Result<(Rows<O::Row>, Replayed), BacktestError> {
        let topic = self.job.topic;
        let kafka = BacktestError::kafka(topic);
        let mut versions = self.job.settings_versions(self.log)?;
        let first = versions.at(0)?;
        let mut partitions: BTreeMap<i32, Vec<Side<O>>> =
            offsets.keys().map(|partition| (*partition, self.sides(*partition, &first))).collect();
        let (mut found, mut replayed) = (Rows::default(), Replayed::default());
        let mut replay = Replay::start(self.log, topic, offsets).map_err(&kafka)?;
        let mut left = replay.left();
        let mut emitted = [Vec::new(), Vec::new()];
        loop {
            if replayed.records % LOOK == 0 {
                if progress.is_stopped() {
                    return Err(BacktestError::Stopped);
                }
                let now = replay.left();
                progress.add(left - now);
                left = now;
            }
            let Some(message) = replay.read().map_err(&kafka)? else { break };
            let record = self.job.read(&message, &mut versions)?;
            replayed.records += 1;
            replayed.began_at = replayed.began_at.into_iter().chain([record.append_time]).min();
            let Some(sides) = partitions.get_mut(&message.partition()) else { continue };
            for (side, rows) in sides.iter_mut().zip(&mut emitted) {
                side.process(&record, rows);
            }
            self.keep_all(&mut found, sides, &mut emitted)?;
        }
        progress.add(left);
        for side in partitions.values_mut().flatten() {
            let mut kept = Ok(());
            let (place, until) = (side.place, self.until);
            side.pass(until, |clock, rows| {
                if kept.is_ok() {
                    kept = self.keep(&mut found, place, clock, rows);
                }
            });
            kept?;
            replayed.ended_at = replayed.ended_at.max(Some(until.max(side.task.clock())));
        }
        Ok((found, replayed))
    }

    /// Takes in what one record has emitted on each side.
    fn keep_all(
        &self,
        found: &mut Rows<O::Row>,
        sides: &[Side<O>],
        emitted: &mut [Vec<O::Row>; 2],
    ) -> Result<(), CodecError> {
        let [rows, others] = &mut *emitted;
        if let [before, _] = sides
            && rows.len() == others.len()
            && rows.iter().zip(&*others).all(|(row, other)| say_the_same(row, other))
        {
            // Nearly always; and once is enough.
            others.clear();
            return self.keep(found, Place::Both, before.task.clock(), rows);
        }
        let mut kept = sides.iter().zip(emitted);
        kept.try_for_each(|(side, rows)| self.keep(found, side.place, side.task.clock(), rows))
    }

    fn keep(
        &self,
        found: &mut Rows<O::Row>,
        place: Place,
        clock: Millis,
        rows: &mut Vec<O::Row>,
    ) -> Result<(), CodecError> {
        let is_within = self.from.is_none_or(|from| clock >= from);
        rows.drain(..).try_for_each(|row| self.keep_row(found, place, is_within, row))
    }

    /// Takes in a row, if it is of the tenant that was asked for.
    pub fn keep_row(
        &self,
        found: &mut Rows<O::Row>,
        place: Place,
        is_within: bool,
        row: O::Row,
    ) -> Result<(), CodecError> {
        if self.tenant.is_some_and(|wanted| tenant(&row) != Some(wanted)) {
            return Ok(());
        }
        found.put(row, place, is_within, matches!(self.sides, Sides::AsMarked))
    }
}

/// The rows of both sides, by their names. They are large, and replaced where they lie.
pub(super) struct Rows<R>(HashMap<u128, Box<Pair<R>>, RandomState>);

struct Pair<R> {
    held: Held<R>,
    /// Emitted within the time that was asked for.
    is_within: bool,
}
/// A row that holds, or does not.
enum Held<R> {
    /// The same on both sides.
    Same(R),
    Apart {
        before: Option<R>,
        after: Option<R>,
    },
}

impl<R: Clone> Held<R> {
    fn new(place: Place, row: Option<R>) -> Self {
        let mut held = Self::Apart { before: None, after: None };
        held.put(place, row);
        held
    }

    fn put(&mut self, place: Place, row: Option<R>) {
        if place == Place::Both {
            *self = match row {
                Some(row) => Self::Same(row),
                None => Self::Apart { before: None, after: None },
            };
            return;
        }
        if let Self::Same(same) = self {
            *self = Self::Apart { before: Some(same.clone()), after: Some(same.clone()) };
        }
        if let Self::Apart { before, after } = self {
            *if place == Place::Before { before } else { after } = row;
        }
    }
}

impl<R> Default for Rows<R> {
    fn default() -> Self {
        Self(HashMap::default())
    }
}

impl<R: OperatorRow> Rows<R> {
    /// Takes in a row; `is_exact`: each version of it counts for itself.
    pub fn put(&mut self, row: R, place: Place, is_within: bool, is_exact: bool) -> Result<(), CodecError> {
        let name = match row.meta() {
            Some(meta) if is_exact => {
                let bytes = [meta.id.as_u128(), meta.version as u128].map(u128::to_be_bytes).concat();
                XxHash3_128::oneshot(&bytes)
            }
            Some(meta) => meta.id.as_u128(),
            // What has no versions is named by all that it says.
            None => {
                let mut bytes = Vec::new();
                row.encode(&mut bytes)?;
                XxHash3_128::oneshot(&bytes)
            }
        };
        let holds = is_exact || row.meta().is_none_or(|meta| !meta.retracted);
        let row = holds.then_some(row);
        match self.0.entry(name) {
            Entry::Vacant(vacant) => {
                vacant.insert(Box::new(Pair { held: Held::new(place, row), is_within }));
            }
            Entry::Occupied(mut pair) => {
                let pair = pair.get_mut();
                pair.is_within |= is_within;
                pair.held.put(place, row);
            }
        }
        Ok(())
    }

    /// Adds those of other partitions.
    pub fn append(&mut self, other: Self) {
        if self.0.is_empty() {
            *self = other;
        } else {
            self.0.extend(other.0);
        }
    }
}

impl<R: OperatorRow> Rows<R> {
    /// Counts them, and finds those that differ.
    pub fn compare(
        self,
        is_exact: bool,
        counter: &mut Counter,
        differences: &mut Vec<Difference>,
    ) -> Result<(), CodecError> {
        for pair in self.0.into_values().filter(|pair| pair.is_within) {
            match pair.held {
                Held::Same(row) => {
                    let facets = Facets::of(OperatorRow::topic(&row), &row);
                    counter.add([Some(&facets); 2], None);
                }
                Held::Apart { before, after } => {
                    let facets = [&before, &after]
                        .map(|row| row.as_ref().map(|row| Facets::of(OperatorRow::topic(row), row)));
                    let kind = Kind::of(before.as_ref(), after.as_ref(), is_exact);
                    counter.add(facets.each_ref().map(Option::as_ref), kind);
                    if let Some(kind) = kind {
                        differences.push(Difference::new(kind, [before, after], &facets)?);
                    }
                }
            }
        }
        Ok(())
    }
}
