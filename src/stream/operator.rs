//! What an operator is: a fold with keyed state, event-time timers, and rows that it emits.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use uuid::Uuid;

use super::time::KeyTime;
use super::timers::KeyTimers;
use crate::event::derived::{DeadLetter, Evidence, RecordReference, RowMeta};
use crate::event::{Event, Millis, id};

/// A fold over the records of a family, key by key.
///
/// Its functions see the record or timer and the [`Context`], nothing else: no wall clock, no
/// randomness, no I/O (I2). Sums are integers; iteration is in order.
pub trait Operator {
    /// The family's records.
    type Event: Event;
    /// One entry of a key's state; a collection is one entry an element.
    type Entry;
    /// What it emits.
    type Row: From<DeadLetter>;

    /// Its name, part of every row and id.
    const NAME: &'static str;
    /// Its semantic version, part of every row: raised when the same log gives other rows.
    const VERSION: i32;

    /// Folds a record. A refusal sends it to the dead letters; it must come before any change.
    fn record(&self, context: &mut Context<'_, Self>, event: &Self::Event) -> Result<(), Refusal>;

    /// A timer has fired: the key's watermark has strictly passed its due time.
    fn timer(&self, context: &mut Context<'_, Self>, timer: &Timer);
}

/// A record that an operator can't fold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why, as a code.
    pub reason: &'static str,
    /// Why, in words.
    pub message: String,
}

/// A timer that fires.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timer {
    /// When it was due, in event time.
    pub due: Millis,
    /// What the operator called it.
    pub name: String,
}

/// Where a task stands in the log while a record or timer is at work.
#[derive(Debug)]
pub(super) struct Position {
    pub topic: String,
    pub partition: i32,
    pub generation: u8,
    pub offset: i64,
    pub append_time: Millis,
    pub clock: Millis,
    pub settings_version: i64,
    /// Emissions of each row at this offset: the low bits of its version.
    pub emissions: HashMap<Uuid, u16>,
}

/// What an operator can see and do: the state of one key, its timers, and rows.
pub struct Context<'a, O: Operator + ?Sized> {
    pub(super) position: &'a mut Position,
    pub(super) tenant: &'a str,
    pub(super) key: &'a Arc<str>,
    pub(super) allowance: Millis,
    pub(super) time: &'a KeyTime,
    pub(super) entries: &'a mut BTreeMap<String, O::Entry>,
    pub(super) timers: &'a mut KeyTimers,
    pub(super) aliases: &'a mut HashMap<String, Arc<str>>,
    pub(super) rows: &'a mut Vec<O::Row>,
}

impl<O: Operator + ?Sized> Context<'_, O> {
    /// The tenant whose key this is.
    pub fn tenant(&self) -> &str {
        self.tenant
    }

    /// The key.
    pub fn key(&self) -> &str {
        self.key
    }

    /// When the record at work was appended.
    pub fn append_time(&self) -> Millis {
        self.position.append_time
    }

    /// The record at work, named for good (I8).
    pub fn reference(&self, event: &O::Event) -> RecordReference {
        RecordReference {
            topic: self.position.topic.clone(),
            partition: self.position.partition,
            offset: self.position.offset,
            event_id: event.event_id().to_owned(),
        }
    }

    /// Takes an entry of the key's state, to change it and [`put`](Self::put) it back.
    pub fn take(&mut self, name: &str) -> Option<O::Entry> {
        self.entries.remove(name)
    }

    /// An entry of the key's state.
    pub fn get(&self, name: &str) -> Option<&O::Entry> {
        self.entries.get(name)
    }

    /// Writes an entry of the key's state.
    pub fn put(&mut self, name: String, entry: O::Entry) {
        self.entries.insert(name, entry);
    }

    /// Makes the key known under a public name ([`crate::event::KeyReference::Alias`]).
    pub fn alias(&mut self, name: String) {
        self.aliases.insert(name, Arc::clone(self.key));
    }

    /// Sets a timer in event time. One that is set in the past fires once D of append time has passed.
    pub fn set_timer(&mut self, due: Millis, name: String) {
        self.timers.set(due, name, self.time, self.allowance, self.position.clock);
    }

    /// The provenance of the next version of a row; `kind` tells apart the rows of one operator, and
    /// `event_id` is that of the first record to arrive (DESIGN, "Identity").
    pub fn row_meta(
        &mut self,
        kind: &str,
        event_id: &str,
        first_arrival: Millis,
        evidence: &Evidence,
    ) -> RowMeta {
        let id = id::row(&[self.tenant, O::NAME, kind, self.key, event_id]);
        let emission = self.position.emissions.entry(id).or_insert(0);
        let version = id::version(self.position.generation, self.position.offset, *emission);
        *emission += 1;
        RowMeta {
            id,
            version,
            retracted: false,
            tenant: self.tenant.to_owned(),
            key: self.key.to_string(),
            operator: O::NAME.to_owned(),
            operator_version: O::VERSION,
            settings_version: self.position.settings_version,
            first_arrival,
            evidence: evidence.clone(),
        }
    }

    /// Emits a row.
    pub fn emit(&mut self, row: O::Row) {
        self.rows.push(row);
    }
}
