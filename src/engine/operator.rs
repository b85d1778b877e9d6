//! What an operator is: a fold with keyed state, event-time timers, and rows that it emits.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::sync::Arc;

use foldhash::fast::RandomState;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::evidence::EvidenceState;
use super::key_cell::tenant_of;
use super::state::State;
use super::time::Allowance;
use super::timers::TimerTime;
use crate::engine::rows::{DeadLetter, LateEvent, RowMeta};
use crate::engine::{Event, Millis, id};

/// A fold over the records of a family, key by key.
///
/// Its functions see the record or timer and the [`Context`], nothing else: no wall clock, no
/// randomness, no I/O (I2). Sums are integers; iteration is in order. A function that panics is undone, and the record
/// or timer goes to the dead letters, alone.
pub trait Operator: Sized + 'static {
    /// The family's records.
    type Event: Event;
    /// Names an entry of a key's state: a collection is one entry an element.
    type Name: Ord + Clone + fmt::Debug + Serialize + DeserializeOwned;
    /// One entry of a key's state: a value that is written down whole when it has changed.
    type Entry: Clone + Serialize + DeserializeOwned;
    /// Names a timer of a key.
    type Timer: Ord + Clone + fmt::Debug + Serialize + DeserializeOwned;
    /// The settings that a tenant can change; the same for all keys of a tenant.
    type Settings: Clone + Default + PartialEq + fmt::Debug;
    /// The rows that it emits.
    type Row: From<DeadLetter> + From<LateEvent>;

    /// Its name, part of every row and id.
    const NAME: &'static str;
    /// Its semantic version, part of every row: raised when the same log gives other rows, or when the form of names,
    /// entries or timers changes.
    const VERSION: i32;

    /// Folds a record. One that is rejected leaves no trace in the state.
    fn record(&self, context: &mut Context<'_, Self>, event: &Self::Event) -> Result<(), Rejection>;

    /// A timer has fired: the key's watermark has strictly passed its due time.
    fn timer(&self, context: &mut Context<'_, Self>, timer: &Self::Timer, due: Millis);

    /// Other settings are in force for the key's tenant from here on (I4): what they change of what is held is emitted
    /// anew, and timers are set again.
    fn settings_changed(&self, _context: &mut Context<'_, Self>) {}
}

/// The most that a record's key may take, in bytes: it is part of every row. A record with a longer one goes to the dead
/// letters.
pub const KEY_LIMIT: usize = 1024;

/// Why a record is not folded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rejection {
    /// What it would change has been finalised and dropped (I9): to the late events.
    Late,
    /// It can't be folded: to the dead letters.
    Refused {
        /// Why, as a code.
        reason: &'static str,
        /// The reason, for people.
        message: String,
    },
}

/// Where a task stands in the log while a record or timer is at work.
#[derive(Debug, Clone)]
pub(super) struct Position {
    pub topic: Arc<str>,
    pub partition: i32,
    /// How often the job has begun anew: the high bits of versions.
    pub epoch: u8,
    pub offset: i64,
    pub append_time: Millis,
    pub clock: Millis,
    pub settings_version: i64,
    /// Emissions of each row at this offset: the low bits of its version.
    pub emissions: HashMap<Uuid, u16, RandomState>,
}

/// The state of a task of an operator.
pub(super) type OperatorState<O> =
    State<<O as Operator>::Name, <O as Operator>::Entry, <O as Operator>::Timer>;

/// What an operator can see and do: the state of one key, its timers, and rows.
pub struct Context<'a, O: Operator> {
    pub(super) position: &'a mut Position,
    pub(super) fresh_emissions: &'a mut Vec<Uuid>,
    pub(super) state: &'a mut OperatorState<O>,
    pub(super) key: usize,
    pub(super) allowance: Allowance,
    pub(super) settings: &'a O::Settings,
    pub(super) rows: &'a mut Vec<O::Row>,
}

impl<O: Operator> Context<'_, O> {
    /// The key.
    pub fn key(&self) -> &str {
        &self.state.cells[self.key].name
    }

    /// The tenant whose key this is.
    pub fn tenant(&self) -> &str {
        tenant_of(self.key())
    }

    /// The tenant's settings.
    pub fn settings(&self) -> &O::Settings {
        self.settings
    }

    /// When the record at work was appended.
    pub fn append_time(&self) -> Millis {
        self.position.append_time
    }

    /// The offset of the record at work: among the names of one key, it orders by arrival.
    pub fn offset(&self) -> i64 {
        self.position.offset
    }

    /// The key's watermark (I3).
    pub fn watermark(&self) -> Millis {
        self.state.cells[self.key].head.time.watermark(self.allowance, self.position.clock)
    }

    /// Whether something that was due at `due` counts as finalised and dropped (I9): the key has dropped that far, or its
    /// own records have brought its watermark past it, so that it would be dropped at once. Silence alone makes
    /// nothing late that has not been there.
    pub fn is_closed(&self, due: Millis) -> bool {
        let head = &self.state.cells[self.key].head;
        due <= head.dropped_through || due < head.time.reached(self.allowance)
    }

    /// Remembers that what was due up to `due` has been finalised and dropped (I9).
    pub fn drop_through(&mut self, due: Millis) {
        let mut head = self.state.cells[self.key].head;
        if due > head.dropped_through {
            head.dropped_through = due;
            self.state.set_head(self.key, head);
        }
    }

    /// An entry of the key's state.
    pub fn get(&self, name: &O::Name) -> Option<&O::Entry> {
        self.state.cells[self.key].entries.get(name).map(|slot| &slot.value)
    }

    /// The entries of the key's state, in the order of their names.
    pub fn entries(&self) -> impl Iterator<Item = (&O::Name, &O::Entry)> {
        self.state.cells[self.key].entries.iter().map(|(name, slot)| (name, &slot.value))
    }

    /// The entries of the key's state between two names, both included, in the order of their names.
    pub fn range(
        &self,
        names: RangeInclusive<O::Name>,
    ) -> impl DoubleEndedIterator<Item = (&O::Name, &O::Entry)> {
        self.state.cells[self.key].entries.range(names).map(|(name, slot)| (name, &slot.value))
    }

    /// An entry of the key's state, to be changed in place.
    pub fn get_mut(&mut self, name: &O::Name) -> Option<&mut O::Entry> {
        self.state.entry_mut(self.key, name)
    }

    /// Writes an entry of the key's state.
    pub fn put(&mut self, name: &O::Name, entry: O::Entry) {
        self.state.put_entry(self.key, name, Some(entry));
    }

    /// Removes an entry of the key's state.
    pub fn remove(&mut self, name: &O::Name) {
        self.state.put_entry(self.key, name, None);
    }

    /// Makes the key known under a public name ([`Event::alias`]).
    pub fn alias(&mut self, name: &str) {
        self.state.put_alias(name, Some(self.key));
    }

    /// Makes a public name unknown again.
    pub fn forget_alias(&mut self, name: &str) {
        self.state.put_alias(name, None);
    }

    /// Whether the key is known under a public name.
    pub fn is_alias(&self, name: &str) -> bool {
        self.state.aliases.get(name) == Some(&self.key)
    }

    /// Sets a timer in event time, or moves it. One that is set in the past waits D of append time first, so that a
    /// loaded pair (opened, closed) does not fire what the second takes back.
    pub fn set_timer(&mut self, timer: &O::Timer, due: Millis) {
        let is_past = due < self.watermark() && self.allowance.own > 0;
        let not_before = is_past.then(|| self.position.clock.saturating_add(self.allowance.own));
        self.state.put_timer(self.key, timer, Some(TimerTime { due, not_before }));
    }

    /// When a timer is due, if it is set.
    pub fn timer(&self, timer: &O::Timer) -> Option<Millis> {
        self.state.cells[self.key].timers.get(timer).map(|time| time.due)
    }

    /// The key's timers that are set, and when they are due.
    pub fn timers(&self) -> impl Iterator<Item = (&O::Timer, Millis)> {
        self.state.cells[self.key].timers.iter().map(|(timer, time)| (timer, time.due))
    }

    /// Cancels a timer, if it is set.
    pub fn cancel_timer(&mut self, timer: &O::Timer) {
        self.state.put_timer(self.key, timer, None);
    }

    /// Adds the record at work to the evidence of a row (I8).
    pub fn add_evidence(&self, evidence: &mut EvidenceState) {
        evidence.push(self.position.offset);
    }

    /// The id of a row, the same in all its versions. It is made of tenant, operator, key, and `parts`: usually the kind
    /// of the row, where an operator emits several, and the event id of the first record to arrive.
    pub fn row_id(&self, parts: &[&str]) -> Uuid {
        id::row(self.tenant(), O::NAME, self.key(), parts)
    }

    /// The provenance of the next version of the row that [`row_id`](Self::row_id) names by `parts`.
    pub fn row_meta(&mut self, parts: &[&str], first_arrival: Millis, evidence: &EvidenceState) -> RowMeta {
        let id = self.row_id(parts);
        let (tenant, key) = (self.tenant().into(), self.state.cells[self.key].name.clone());
        let position = &mut *self.position;
        let emission = position.emissions.entry(id).or_insert(0);
        let version = id::version(position.epoch, position.offset, *emission);
        // The record is undone, and kept as a dead letter.
        assert!(*emission < u16::MAX, "a record emits one row {emission} times");
        *emission += 1;
        self.fresh_emissions.push(id);
        RowMeta {
            id,
            version,
            retracted: false,
            is_final: false,
            merged_into: None,
            tenant,
            key,
            operator: O::NAME.into(),
            operator_version: O::VERSION,
            settings_version: position.settings_version,
            first_arrival,
            evidence: evidence.to_row(&position.topic, position.partition),
        }
    }

    /// Emits a row.
    pub fn emit(&mut self, row: O::Row) {
        self.rows.push(row);
    }
}
