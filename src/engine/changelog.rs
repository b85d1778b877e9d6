//! A task's state as records of a compacted changelog: one record a cell, so that a commit writes what was touched and
//! a restore reads each cell once.
//!
//! Keys and values are [postcard](https://postcard.jamesmunns.com/wire-format): a key is a tag and the cell's name, a value the
//! cell; no value means that the cell is gone. Only the same version of the same operator reads them.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::accounting::Counts;
use super::cursor::{Cursor, Progress, SweepCursor};
use super::duplicates::Chunk;
use super::journal::Change;
use super::key_cell::Head;
use super::operator::{Operator, OperatorState};
use super::slot::Slot;
use super::time::KeyTime;
use crate::engine::Millis;

/// The form of keys and values; another one is not read.
const FORMAT: u16 = 2;
/// Emissions of an unfinished record in one cell.
const EMISSIONS: usize = 2_000;

/// Why a state can't be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It was written by something else.
    #[error(
        "the state was written by {found}, this is {expected}: it is nobody's but the same version's; run the former \
         version, or begin anew under another kafka.prefix"
    )]
    Foreign {
        /// The operator and version that wrote it.
        found: String,
        /// The operator and version that reads it.
        expected: String,
    },
    /// It can't be read.
    #[error("a record of the changelog can't be read: {0}")]
    Unreadable(#[from] postcard::Error),
    /// A record of unknown kind.
    #[error("a record of the changelog has the unknown kind {0}")]
    UnknownKind(u8),
    /// Cells without the one that says how far they have come.
    #[error("the changelog holds {0} records, but not how far they have come")]
    NoPosition(usize),
    /// It is under settings that the log does not hold.
    #[error("the state is under version {version} of the settings: {reason}")]
    UnknownSettings {
        /// The version.
        version: i64,
        /// Why it is not known.
        reason: String,
    },
}

/// What a cell is: the first byte of its key.
mod kind {
    pub const POSITION: u8 = b'p';
    pub const EMISSIONS: u8 = b'm';
    pub const IDS: u8 = b'i';
    pub const COUNTS: u8 = b'c';
    pub const HEAD: u8 = b'h';
    pub const ENTRY: u8 = b'e';
    pub const TIMER: u8 = b't';
    pub const PRODUCER: u8 = b's';
    pub const ALIAS: u8 = b'a';
}

/// The cell that says how far the task has come.
#[derive(Serialize, Deserialize)]
struct PositionCell {
    format: u16,
    operator: String,
    version: i32,
    offset: i64,
    append_time: Millis,
    clock: Millis,
    settings_version: i64,
    sweep: Option<SweepCursor>,
    progress: Progress,
    emission_chunks: u32,
}

/// Receives a changed cell: its key, and its value if it is not gone.
pub(super) type Visit<'v, E> = dyn FnMut(&[u8], Option<&[u8]>) -> Result<(), E> + 'v;

/// Writes cells as changelog records, through buffers that are used again.
pub(super) struct Writer<'v, E> {
    key: Vec<u8>,
    value: Vec<u8>,
    visit: &'v mut Visit<'v, E>,
}

impl<'v, E> Writer<'v, E> {
    pub fn new(visit: &'v mut Visit<'v, E>) -> Self {
        Self { key: Vec::new(), value: Vec::new(), visit }
    }

    fn cell<V: Serialize>(&mut self, kind: u8, name: &impl Serialize, value: Option<&V>) -> Result<(), E> {
        self.key.clear();
        self.key.push(kind);
        serialise(name, &mut self.key);
        let Some(value) = value else { return (self.visit)(&self.key, None) };
        self.value.clear();
        serialise(value, &mut self.value);
        (self.visit)(&self.key, Some(&self.value))
    }

    pub fn position<O: Operator>(&mut self, cursor: &Cursor) -> Result<(), E> {
        let written = emission_chunks(&cursor.emissions);
        for (number, chunk) in (0_u32..).zip(cursor.emissions.chunks(EMISSIONS)) {
            self.cell(kind::EMISSIONS, &number, Some(&chunk))?;
        }
        for number in written..cursor.emission_chunks {
            self.cell::<()>(kind::EMISSIONS, &number, None)?;
        }
        let cell = PositionCell {
            format: FORMAT,
            operator: O::NAME.to_owned(),
            version: O::VERSION,
            offset: cursor.offset,
            append_time: cursor.append_time,
            clock: cursor.clock,
            settings_version: cursor.settings_version,
            sweep: cursor.sweep.clone(),
            progress: cursor.progress,
            emission_chunks: written,
        };
        self.cell(kind::POSITION, &(), Some(&cell))
    }

    pub fn ids(&mut self, name: i64, chunk: Option<&Chunk>) -> Result<(), E> {
        self.cell(kind::IDS, &name, chunk)
    }

    /// A key that is forgotten.
    pub fn forget<O: Operator>(&mut self, state: &OperatorState<O>, key: usize) -> Result<(), E> {
        let cell = &state.cells[key];
        for (producer, _) in cell.producers.iter() {
            self.cell::<()>(kind::PRODUCER, &(&*cell.name, producer), None)?;
        }
        self.cell::<()>(kind::HEAD, &&*cell.name, None)
    }

    /// The cell of a change, as it is now. A cell that came and went in between is passed over.
    pub fn change<O: Operator>(
        &mut self,
        state: &OperatorState<O>,
        change: &Change<O::Name, O::Entry, O::Timer>,
    ) -> Result<(), E> {
        let name = |key: usize| &*state.cells[key].name;
        match change {
            Change::KeyCreated(key) | Change::Head(key, _) => {
                self.cell(kind::HEAD, &name(*key), Some(&state.cells[*key].head))
            }
            Change::Entry(key, entry, before) => {
                let now = state.cells[*key].entries.get(entry).map(|slot| &slot.value);
                if now.is_none() && before.is_none() {
                    return Ok(());
                }
                self.cell(kind::ENTRY, &(name(*key), entry), now)
            }
            Change::Timer(key, timer, before) => {
                let now = state.cells[*key].timers.get(timer);
                if now.is_none() && before.is_none() {
                    return Ok(());
                }
                self.cell(kind::TIMER, &(name(*key), timer), now.as_ref())
            }
            Change::Producer(key, producer, _) => {
                let now = state.cells[*key].producers.get(producer).map(|slot| &slot.value);
                self.cell(kind::PRODUCER, &(name(*key), producer), now)
            }
            Change::Alias(alias, _) => {
                self.cell(kind::ALIAS, alias, state.aliases.get(alias).map(|key| name(*key)).as_ref())
            }
            Change::Count(tenant, hour, _) => {
                let now = state.counts.get(hour).and_then(|tenants| tenants.get(tenant));
                self.cell(kind::COUNTS, &(hour, tenant), now.map(|slot| &slot.value))
            }
            // They are written by chunks.
            Change::Id(..) => Ok(()),
        }
    }

    /// Every cell of a state, in order of their keys' names: for a snapshot.
    pub fn all<O: Operator>(&mut self, state: &OperatorState<O>) -> Result<(), E> {
        for (name, chunk) in state.ids.chunks_from(i64::MIN) {
            self.ids(name, Some(chunk))?;
        }
        for (hour, tenants) in &state.counts {
            for (tenant, slot) in tenants {
                self.cell(kind::COUNTS, &(hour, tenant), Some(&slot.value))?;
            }
        }
        let keys: BTreeSet<_> = state.cells.iter().map(|(key, cell)| (&cell.name, key)).collect();
        for (name, key) in keys {
            let cell = &state.cells[key];
            self.cell(kind::HEAD, &&**name, Some(&cell.head))?;
            for (entry, slot) in cell.entries.iter() {
                self.cell(kind::ENTRY, &(&**name, entry), Some(&slot.value))?;
            }
            for (timer, time) in cell.timers.iter() {
                self.cell(kind::TIMER, &(&**name, timer), Some(time))?;
            }
            for (producer, slot) in cell.producers.iter() {
                self.cell(kind::PRODUCER, &(&**name, producer), Some(&slot.value))?;
            }
        }
        let aliases: BTreeSet<_> = state.aliases.iter().collect();
        for (alias, key) in aliases {
            self.cell(kind::ALIAS, alias, Some(&&*state.cells[*key].name))?;
        }
        Ok(())
    }
}

fn serialise(value: &impl Serialize, buffer: &mut Vec<u8>) {
    // Appending to a vector has no end; what can't be serialised at all (a map of unknown length) is a fault of the
    // operator's types, which its first record shows.
    let result = postcard::to_extend(value, std::mem::take(buffer));
    *buffer = result.expect("an operator's names, entries and timers serialise into a vector");
}

/// In how many cells the emissions of an unfinished record lie.
pub(super) fn emission_chunks(emissions: &[(Uuid, u16)]) -> u32 {
    emissions.chunks(EMISSIONS).len() as u32
}

/// The size of a value when serialised.
pub(super) fn size(value: &impl Serialize) -> usize {
    postcard::experimental::serialized_size(value).unwrap_or(usize::MAX)
}

/// Reads changelog records back, in their order, into a state.
#[derive(Default)]
pub(super) struct Reader {
    cursor: Option<Cursor>,
    emissions: BTreeMap<u32, Vec<(Uuid, u16)>>,
    records: usize,
}

impl Reader {
    pub fn apply<O: Operator>(
        &mut self,
        state: &mut OperatorState<O>,
        key: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RestoreError> {
        self.records += 1;
        let (&tag, name) = key.split_first().ok_or(RestoreError::UnknownKind(0))?;
        match tag {
            kind::POSITION => self.cursor = value.map(position::<O>).transpose()?,
            kind::EMISSIONS => {
                let number = postcard::from_bytes(name)?;
                match parse(value)? {
                    Some(chunk) => drop(self.emissions.insert(number, chunk)),
                    None => drop(self.emissions.remove(&number)),
                }
            }
            kind::IDS => state.ids.restore(postcard::from_bytes(name)?, parse(value)?),
            kind::COUNTS => {
                let (hour, tenant): (Millis, &str) = postcard::from_bytes(name)?;
                state.restore_counts(tenant, hour, parse::<Counts>(value)?);
            }
            kind::HEAD => {
                let name: &str = postcard::from_bytes(name)?;
                match parse(value)? {
                    Some(head) => {
                        let key = key_of::<O>(state, name);
                        state.cells[key].head = head;
                    }
                    None => {
                        if let Some(key) = state.find(name) {
                            state.remove_key(key);
                        }
                    }
                }
            }
            kind::ENTRY => {
                let (name, entry): (&str, O::Name) = postcard::from_bytes(name)?;
                let value = parse(value)?;
                let key = key_of::<O>(state, name);
                state.restore_entry(key, entry, value);
            }
            kind::TIMER => {
                let (name, timer): (&str, O::Timer) = postcard::from_bytes(name)?;
                let value = parse(value)?.map(Slot::new);
                let key = key_of::<O>(state, name);
                state.cells[key].timers.put(&timer, value);
            }
            kind::PRODUCER => {
                let (name, producer): (&str, &str) = postcard::from_bytes(name)?;
                let value = parse(value)?.map(Slot::new);
                let key = key_of::<O>(state, name);
                let producers = &mut state.cells[key].producers;
                match value {
                    Some(slot) => drop(producers.insert(producer.into(), slot)),
                    None => drop(producers.remove(&producer.into())),
                }
            }
            kind::ALIAS => {
                let alias: &str = postcard::from_bytes(name)?;
                let name: Option<String> = parse(value)?;
                let key = name.map(|name| key_of::<O>(state, &name));
                state.put_alias_unjournaled(alias, key);
            }
            other => return Err(RestoreError::UnknownKind(other)),
        }
        Ok(())
    }

    /// Where the task stood; `None` where the changelog is empty.
    pub fn finish(mut self) -> Result<Option<Cursor>, RestoreError> {
        match &mut self.cursor {
            None if self.records == 0 => return Ok(None),
            None => return Err(RestoreError::NoPosition(self.records)),
            Some(cursor) => cursor.emissions = self.emissions.into_values().flatten().collect(),
        }
        Ok(self.cursor)
    }
}

/// A key of that name, made if need be: the records of a key's cells come in any order.
fn key_of<O: Operator>(state: &mut OperatorState<O>, name: &str) -> usize {
    let unknown = Head::new(KeyTime { stream_time: Millis::MIN, last_append: Millis::MIN });
    state.find(name).unwrap_or_else(|| state.create_unjournaled(name, unknown))
}

fn parse<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, RestoreError> {
    Ok(value.map(postcard::from_bytes).transpose()?)
}

fn position<O: Operator>(value: &[u8]) -> Result<Cursor, RestoreError> {
    let (format, _): (u16, &[u8]) = postcard::take_from_bytes(value)?;
    let expected = format!("{} version {} (format {FORMAT})", O::NAME, O::VERSION);
    if format != FORMAT {
        return Err(RestoreError::Foreign { found: format!("format {format}"), expected });
    }
    let cell: PositionCell = postcard::from_bytes(value)?;
    if cell.operator != O::NAME || cell.version != O::VERSION {
        let found = format!("{} version {} (format {format})", cell.operator, cell.version);
        return Err(RestoreError::Foreign { found, expected });
    }
    Ok(Cursor {
        offset: cell.offset,
        append_time: cell.append_time,
        clock: cell.clock,
        settings_version: cell.settings_version,
        sweep: cell.sweep,
        progress: cell.progress,
        emissions: Vec::new(),
        emission_chunks: cell.emission_chunks,
    })
}
