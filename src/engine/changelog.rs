//! A task's state as cells: packed in blocks, as the changelog and a restore have them.
//!
//! A cell's key is the name of the key it lies under (none, for what lies under no key), a byte that says what it is, and its
//! name there; its value is whole. Names and values are [postcard](https://postcard.jamesmunns.com/wire-format). Only the same
//! version of the same operator reads them.

use std::cmp::Ordering;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::accounting::Counts;
use super::cursor::Cursor;
use super::duplicates::{IdRange, IdRangeName};
use super::frame::FrameError;
use super::key_cell::Head;
use super::operator::{Operator, OperatorState};
use super::packed::{Malformed, Packer, Unpacker};
use super::slot::Slot;
use super::state::Dirty;
use super::time::KeyTime;
use crate::engine::Millis;

/// Why a state can't be restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// It was written by something else.
    #[error(
        "the state was written by {found}, this is {expected}: it is nobody's but the same version's; run the former \
         version, or `tidewatch refold JOB`, which folds the log anew"
    )]
    Foreign {
        /// The operator and version that wrote it.
        found: String,
        /// The operator and version that reads it.
        expected: String,
    },
    /// It can't be read.
    #[error("a cell of the changelog can't be read: {0}")]
    Unreadable(#[from] postcard::Error),
    /// A cell of unknown kind.
    #[error("a cell of the changelog has the unknown kind {0}")]
    UnknownKind(u8),
    /// A record is none of a changelog.
    #[error("a record of the changelog can't be read: {0}")]
    Frame(#[from] FrameError),
    /// It is cut off.
    #[error("a block of the changelog does not end where it says")]
    Malformed,
    /// Cells without the one that says how far they have come.
    #[error("the changelog holds {0} cells, but not how far they have come")]
    NoPosition(usize),
    /// Deltas are missing.
    #[error("delta {number} follows delta {last}: what was between them is gone")]
    Gap {
        /// The last delta before the gap.
        last: u64,
        /// The delta behind it.
        number: u64,
    },
    /// It is under settings that the log does not hold.
    #[error("the state is under version {version} of the settings: {reason}")]
    UnknownSettings {
        /// The version.
        version: i64,
        /// Why it is not known.
        reason: String,
    },
}

impl From<Malformed> for RestoreError {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

/// What a cell is: the byte behind the name of its key.
mod kind {
    pub const POSITION: u8 = b'p';
    pub const EMISSIONS: u8 = b'm';
    pub const IDS: u8 = b'i';
    pub const COUNTS: u8 = b'c';
    pub const ALIAS: u8 = b'a';
    pub const HEAD: u8 = b'h';
    pub const ENTRY: u8 = b'e';
    pub const TIMER: u8 = b't';
    pub const PRODUCER: u8 = b's';
}

/// Whose state it is, and how far it has come.
#[derive(Serialize, Deserialize)]
struct PositionCell {
    operator: String,
    version: i32,
    cursor: Cursor,
}

/// No key: what belongs to the task as a whole.
const TASK: &str = "";

/// Packs the cells of a task's state.
pub(super) struct Writer<'b>(Packer<'b>);

impl<'b> Writer<'b> {
    pub fn new(block: &'b mut Vec<u8>) -> Self {
        Self(Packer::new(block))
    }

    /// How long the block is.
    pub fn length(&self) -> usize {
        self.0.length()
    }

    fn cell<V: Serialize>(&mut self, key: &str, kind: u8, name: &impl Serialize, value: Option<&V>) {
        let key = |block: &mut Vec<u8>| {
            serialise(key, block);
            block.push(kind);
            serialise(name, block);
        };
        self.0.cell(key, value.map(|value| |block: &mut Vec<u8>| serialise(value, block)));
    }

    pub fn position<O: Operator>(&mut self, cursor: Cursor) {
        let cell = PositionCell { operator: O::NAME.to_owned(), version: O::VERSION, cursor };
        self.cell(TASK, kind::POSITION, &(), Some(&cell));
    }

    /// How often the record at work has emitted a row.
    pub fn emissions(&mut self, id: Uuid, count: u16) {
        self.cell(TASK, kind::EMISSIONS, &id, Some(&count));
    }

    pub fn ids(&mut self, name: IdRangeName, range: &IdRange<'_>) {
        self.cell(TASK, kind::IDS, &name, Some(range));
    }

    /// A key that is forgotten, with all that lay under it.
    pub fn forget(&mut self, key: &str) {
        self.cell::<()>(key, kind::HEAD, &(), None);
    }

    /// The cells that have changed, as they are now, key by key.
    pub fn dirty<O: Operator>(&mut self, state: &OperatorState<O>, dirty: &mut [Dirty<O::Name, O::Timer>]) {
        dirty.sort_unstable_by(|one, other| {
            place(one).cmp(&place(other)).then_with(|| match (one, other) {
                (Dirty::Entry(_, one), Dirty::Entry(_, other)) => one.cmp(other),
                (Dirty::Timer(_, one), Dirty::Timer(_, other)) => one.cmp(other),
                (Dirty::Producer(_, one), Dirty::Producer(_, other)) => one.cmp(other),
                (Dirty::Alias(one), Dirty::Alias(other)) => one.cmp(other),
                (Dirty::Count(one, tenant), Dirty::Count(other, other_tenant)) => {
                    (one, tenant).cmp(&(other, other_tenant))
                }
                _ => Ordering::Equal,
            })
        });
        for cell in dirty {
            self.changed::<O>(state, cell);
        }
    }

    fn changed<O: Operator>(&mut self, state: &OperatorState<O>, dirty: &Dirty<O::Name, O::Timer>) {
        match dirty {
            Dirty::Head(key) => {
                if let Some(cell) = state.cells.get(*key) {
                    self.cell(&cell.name, kind::HEAD, &(), Some(&cell.head));
                }
            }
            Dirty::Entry(key, name) => {
                if let Some(cell) = state.cells.get(*key) {
                    let value = cell.entries.get(name).map(|slot| &slot.value);
                    self.cell(&cell.name, kind::ENTRY, name, value);
                }
            }
            Dirty::Timer(key, timer) => {
                if let Some(cell) = state.cells.get(*key) {
                    self.cell(&cell.name, kind::TIMER, timer, cell.timers.get(timer).as_ref());
                }
            }
            Dirty::Producer(key, producer) => {
                if let Some(cell) = state.cells.get(*key) {
                    let value = cell.producer(producer).map(|slot| &slot.value);
                    self.cell(&cell.name, kind::PRODUCER, producer, value);
                }
            }
            Dirty::Alias(alias) => {
                let key = state.aliases.get(alias).map(|key| &*state.cells[*key].name);
                self.cell(TASK, kind::ALIAS, alias, key.as_ref());
            }
            Dirty::Count(hour, tenant) => {
                let value = state.counts.get(hour).and_then(|tenants| tenants.get(tenant));
                self.cell(TASK, kind::COUNTS, &(hour, tenant), value.map(|slot| &slot.value));
            }
        }
    }

    /// The counts.
    pub fn counts<O: Operator>(&mut self, state: &OperatorState<O>) {
        for (hour, tenants) in &state.counts {
            for (tenant, slot) in tenants {
                self.cell(TASK, kind::COUNTS, &(hour, tenant), Some(&slot.value));
            }
        }
    }

    /// All that lies under a key.
    pub fn key<O: Operator>(&mut self, state: &OperatorState<O>, key: usize) {
        let cell = &state.cells[key];
        self.cell(&cell.name, kind::HEAD, &(), Some(&cell.head));
        for (name, slot) in cell.entries.iter() {
            self.cell(&cell.name, kind::ENTRY, name, Some(&slot.value));
        }
        for (timer, time) in cell.timers.iter() {
            self.cell(&cell.name, kind::TIMER, timer, Some(time));
        }
        for (producer, slot) in cell.producers() {
            self.cell(&cell.name, kind::PRODUCER, producer, Some(&slot.value));
        }
        for alias in cell.aliases() {
            self.cell(TASK, kind::ALIAS, alias, Some(&&*cell.name));
        }
    }
}

/// The order in which changed cells are written.
fn place<N, T>(dirty: &Dirty<N, T>) -> (usize, u8) {
    match dirty {
        Dirty::Head(key) => (*key, 0),
        Dirty::Entry(key, _) => (*key, 1),
        Dirty::Timer(key, _) => (*key, 2),
        Dirty::Producer(key, _) => (*key, 3),
        Dirty::Alias(_) => (usize::MAX, 0),
        Dirty::Count(..) => (usize::MAX, 1),
    }
}

fn serialise(value: &(impl Serialize + ?Sized), buffer: &mut Vec<u8>) {
    // Appending to a vector has no end; what can't be serialised at all (a map of unknown length) is a fault of the
    // operator's types, which its first record shows.
    let result = postcard::to_extend(value, std::mem::take(buffer));
    *buffer = result.expect("an operator's names, entries and timers serialise into a vector");
}

/// Reads blocks of cells back, in their order, into a state.
#[derive(Default)]
pub(super) struct Reader {
    cursor: Option<Cursor>,
    emissions: Vec<(Uuid, u16)>,
    cells: usize,
    /// The key that the last cell lay under.
    last: Option<usize>,
}

impl Reader {
    /// The next block.
    pub fn apply<O: Operator>(
        &mut self,
        state: &mut OperatorState<O>,
        block: &[u8],
    ) -> Result<(), RestoreError> {
        let mut unpacker = Unpacker::new(block);
        while let Some((key, value)) = unpacker.next()? {
            self.cells += 1;
            let (key, rest): (&str, _) = postcard::take_from_bytes(key)?;
            let (&kind, name) = rest.split_first().ok_or(RestoreError::Malformed)?;
            match kind {
                kind::HEAD | kind::ENTRY | kind::TIMER | kind::PRODUCER => {
                    self.keyed::<O>(state, key, kind, name, value)?;
                }
                _ => self.of_task::<O>(state, kind, name, value)?,
            }
        }
        Ok(())
    }

    fn of_task<O: Operator>(
        &mut self,
        state: &mut OperatorState<O>,
        kind: u8,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RestoreError> {
        match kind {
            kind::POSITION => {
                let cursor = position::<O>(value.ok_or(RestoreError::Malformed)?)?;
                // What another record has emitted is of no use any more.
                let is_same = |last: &Cursor| last.offset == cursor.offset && !cursor.is_between_records();
                if !self.cursor.as_ref().is_some_and(is_same) {
                    self.emissions.clear();
                }
                self.cursor = Some(cursor);
            }
            // They follow the position.
            kind::EMISSIONS => {
                let count = value.ok_or(RestoreError::Malformed)?;
                self.emissions.push((postcard::from_bytes(name)?, postcard::from_bytes(count)?));
            }
            kind::IDS => {
                let range = value.ok_or(RestoreError::Malformed)?;
                state.ids.restore(postcard::from_bytes(name)?, &postcard::from_bytes(range)?);
            }
            kind::COUNTS => {
                let (hour, tenant): (Millis, &str) = postcard::from_bytes(name)?;
                state.restore_counts(tenant, hour, parse::<Counts>(value)?);
            }
            kind::ALIAS => {
                let alias: &str = postcard::from_bytes(name)?;
                let name: Option<&str> = value.map(postcard::from_bytes).transpose()?;
                let key = name.map(|name| key_of::<O>(state, name));
                state.restore_alias(alias, key);
            }
            other => return Err(RestoreError::UnknownKind(other)),
        }
        Ok(())
    }

    fn keyed<O: Operator>(
        &mut self,
        state: &mut OperatorState<O>,
        key_name: &str,
        kind: u8,
        name: &[u8],
        value: Option<&[u8]>,
    ) -> Result<(), RestoreError> {
        if kind == kind::HEAD && value.is_none() {
            self.last = None;
            if let Some(key) = state.find(key_name) {
                state.remove_key(key);
            }
            return Ok(());
        }
        let last = self.last.filter(|key| state.cells.get(*key).is_some_and(|cell| cell.name == key_name));
        let key = last.unwrap_or_else(|| key_of::<O>(state, key_name));
        self.last = Some(key);
        match kind {
            kind::HEAD => {
                if let Some(head) = parse(value)? {
                    state.cells[key].head = head;
                }
            }
            kind::ENTRY => {
                let (name, value) = (postcard::from_bytes(name)?, parse(value)?);
                state.restore_entry(key, name, value);
            }
            kind::TIMER => {
                let timer: O::Timer = postcard::from_bytes(name)?;
                state.cells[key].timers.put(&timer, parse(value)?.map(Slot::new));
            }
            _ => {
                let producer: Box<str> = postcard::from_bytes(name)?;
                let producers = &mut state.cells[key].names_mut().producers;
                match parse(value)?.map(Slot::new) {
                    Some(slot) => drop(producers.insert(producer, slot)),
                    None => drop(producers.remove(&producer)),
                }
            }
        }
        Ok(())
    }

    /// Where the task stood, and what the record at work had emitted; `None` where there were no cells.
    #[allow(clippy::type_complexity, reason = "it is taken apart at once")]
    pub fn finish(self) -> Result<Option<(Cursor, Vec<(Uuid, u16)>)>, RestoreError> {
        match self.cursor {
            None if self.cells == 0 => Ok(None),
            None => Err(RestoreError::NoPosition(self.cells)),
            Some(cursor) => Ok(Some((cursor, self.emissions))),
        }
    }
}

/// A key of that name, made if need be: the slices of a checkpoint and the deltas between them come as they were written.
fn key_of<O: Operator>(state: &mut OperatorState<O>, name: &str) -> usize {
    let unknown = Head::new(KeyTime { stream_time: Millis::MIN, last_append: Millis::MIN });
    state.find(name).unwrap_or_else(|| state.restore_key(name, unknown))
}

fn parse<T: DeserializeOwned>(value: Option<&[u8]>) -> Result<Option<T>, RestoreError> {
    Ok(value.map(postcard::from_bytes).transpose()?)
}

fn position<O: Operator>(value: &[u8]) -> Result<Cursor, RestoreError> {
    let cell: PositionCell = postcard::from_bytes(value)?;
    if cell.operator != O::NAME || cell.version != O::VERSION {
        return Err(RestoreError::Foreign {
            found: format!("{} version {}", cell.operator, cell.version),
            expected: format!("{} version {}", O::NAME, O::VERSION),
        });
    }
    Ok(cell.cursor)
}
