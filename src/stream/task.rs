//! A task: the fold of one partition of one family topic.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};

use serde::{Deserialize, Serialize};

use super::accounting::{Counts, Outcome, hour};
use super::changelog::{self, Cursor, Reader, RestoreError, Visit, Writer};
use super::duplicates::{Sequence, fingerprint};
use super::operator::{Context, ENTRY_LIMIT, Operator, Position, Rejection};
use super::state::{Change, Head, State, tenant_of};
use super::time::{FamilySettings, KeyTime};
use crate::event::derived::{Accounting, DeadLetter, LateEvent};
use crate::event::{Event, Identity, Millis, id};

/// A record of the partition, in the order of the log.
#[derive(Debug, Clone)]
pub struct Record<'a, E> {
    /// Its offset.
    pub offset: i64,
    /// Its append time (LogAppendTime).
    pub append_time: Millis,
    /// Its key, as it lies in the log: what it is folded under (I3), and kept with a dead letter.
    pub raw_key: Option<&'a [u8]>,
    /// Its value, as it lies in the log: kept with a dead letter.
    pub raw_value: Option<&'a [u8]>,
    /// What it says.
    pub payload: Payload<E>,
}

/// What a record says.
#[derive(Debug, Clone)]
pub enum Payload<E> {
    /// An event of the family.
    Event(E),
    /// A mark: time has passed, and these settings are in force from here on (I4).
    Mark {
        /// Offset of the `settings` topic.
        settings_version: i64,
    },
    /// Something that can't be read.
    Undecodable(String),
}

/// How far a record has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// It is folded, with everything that it made due.
    Done(Outcome),
    /// The rows have reached the room that there was, between two timers: commit, then give the same record again.
    Full,
}

/// Where the task stands with the record at its offset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
enum Phase {
    /// It has not begun: the offset is that of the next record.
    Idle,
    /// The clock has moved; timers fire that come before the record.
    Before,
    /// The record is folded; timers fire that it made due.
    After(Outcome),
}

/// How far a task has come, and what it met on the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    phase: Phase,
    totals: Totals,
}

/// What a task has met since its partition began.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Outcomes of data records.
    pub records: Counts,
    /// Marks.
    pub marks: u64,
    /// Timers that failed and went to the dead letters.
    pub poisoned_timers: u64,
}

/// The fold of one partition. Its state is a pure function of the records it was fed, in order (I2).
///
/// Between two commits, what changes can be [written down](Self::changes) for the changelog and then
/// [committed](Self::commit), or be [taken back](Self::abort).
pub struct Task<O: Operator> {
    operator: O,
    settings: FamilySettings,
    position: Position,
    progress: Progress,
    state: State<O>,
    committed: Cursor,
    /// What was emitted last of the counts, by hour and tenant.
    accounted: BTreeMap<(Millis, String), Counts>,
    /// Keys that the commit under way forgets.
    expired: Vec<usize>,
}

impl<O: Operator> Task<O> {
    /// An empty task at the beginning of a partition; `generation` is that of the topic.
    pub fn new(operator: O, settings: FamilySettings, topic: &str, partition: i32, generation: u8) -> Self {
        let cursor = Cursor {
            offset: 0,
            append_time: Millis::MIN,
            clock: Millis::MIN,
            settings_version: 0,
            progress: Progress { phase: Phase::Idle, totals: Totals::default() },
            emissions: Vec::new(),
            emission_chunks: 0,
        };
        let position = Position {
            topic: topic.to_owned(),
            partition,
            generation,
            offset: 0,
            append_time: Millis::MIN,
            clock: Millis::MIN,
            settings_version: 0,
            emissions: std::collections::HashMap::default(),
        };
        Self {
            operator,
            settings,
            position,
            progress: cursor.progress,
            state: State::default(),
            committed: cursor,
            accounted: BTreeMap::new(),
            expired: Vec::new(),
        }
    }

    /// The offset of the next record, or of the one that is not finished.
    pub fn offset(&self) -> i64 {
        self.position.offset
    }

    /// The partition's clock: the highest append time so far.
    pub fn clock(&self) -> Millis {
        self.position.clock
    }

    /// The settings in force, as the last mark named them.
    pub fn settings_version(&self) -> i64 {
        self.position.settings_version
    }

    /// What the task has met so far (I7).
    pub fn totals(&self) -> Totals {
        self.progress.totals
    }

    /// How many keys are held.
    pub fn keys(&self) -> usize {
        self.state.cells.len()
    }

    /// Whether, in silence, a timer is due once the clock reads `now`: a mark appended then makes it fire (I4).
    pub fn is_due(&mut self, now: Millis) -> bool {
        while let Some((wake, key)) = self.state.wakes.pop(now) {
            if let Some(next) = self.surface(wake, key) {
                if next <= now {
                    self.surface_at_once(key);
                    return true;
                }
                self.schedule(key);
            }
        }
        false
    }

    /// The reading of the clock at which, in silence, the next timer is due.
    pub fn next_wake(&mut self) -> Option<Millis> {
        loop {
            let (wake, key) = self.state.wakes.pop(Millis::MAX)?;
            if let Some(next) = self.surface(wake, key) {
                let is_next = self.state.wakes.next().is_none_or(|other| next <= other);
                self.schedule(key);
                if is_next {
                    return Some(next);
                }
            }
        }
    }

    /// Folds the next record; what it and the timers before it emit is added to `rows`, of which there may be about
    /// `room` more: it is looked at between two timers.
    pub fn process(&mut self, record: &Record<'_, O::Event>, room: usize, rows: &mut Vec<O::Row>) -> Step {
        let savepoint = self.state.savepoint();
        let step = self.advance(record, room, rows);
        self.state.keep_since(savepoint);
        step
    }

    fn advance(&mut self, record: &Record<'_, O::Event>, room: usize, rows: &mut Vec<O::Row>) -> Step {
        debug_assert!(self.progress.phase == Phase::Idle || self.position.offset == record.offset);
        let end = rows.len().saturating_add(room);
        self.position.offset = record.offset;
        self.position.append_time = record.append_time;
        if self.progress.phase == Phase::Idle {
            self.position.clock = self.position.clock.max(record.append_time);
            self.progress.phase = Phase::Before;
        }
        if !self.fire_due(end, rows) {
            return Step::Full;
        }
        let outcome = match self.progress.phase {
            Phase::After(outcome) => outcome,
            Phase::Idle | Phase::Before => {
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

    fn finish(&mut self, record: &Record<'_, O::Event>, outcome: Outcome) {
        if outcome == Outcome::Mark {
            self.progress.totals.marks += 1;
        } else {
            let tenant = match &record.payload {
                Payload::Event(event) => event.tenant(),
                _ => "",
            };
            self.progress.totals.records.add(outcome);
            self.state.count(tenant, self.position.clock, outcome);
        }
        self.progress.phase = Phase::Idle;
        self.position.offset = record.offset + 1;
        self.position.emissions.clear();
    }

    /// What the record says is done. `None`: there is no room before it.
    fn take(&mut self, record: &Record<'_, O::Event>, end: usize, rows: &mut Vec<O::Row>) -> Option<Outcome> {
        let refusal = match &record.payload {
            Payload::Mark { settings_version } => {
                // Two owners' marks may cross; what is in force never goes back (I4).
                self.position.settings_version = self.position.settings_version.max(*settings_version);
                return Some(Outcome::Mark);
            }
            Payload::Undecodable(message) => refuse("undecodable", message.clone()),
            Payload::Event(event) => match self.fold(record, event, end, rows)? {
                Ok(outcome) => return Some(outcome),
                Err(rejection) => rejection,
            },
        };
        let (row, outcome) = match refusal {
            Rejection::Late => (self.late_event(record).into(), Outcome::Late),
            Rejection::Refused { reason, message } => {
                (self.dead_letter(record, reason, message).into(), Outcome::DeadLettered)
            }
        };
        rows.push(row);
        Some(outcome)
    }

    fn fold(
        &mut self,
        record: &Record<'_, O::Event>,
        event: &O::Event,
        end: usize,
        rows: &mut Vec<O::Row>,
    ) -> Option<Result<Outcome, Rejection>> {
        let seen = match self.recognise(record, event) {
            Ok(Some(seen)) => seen,
            Ok(None) => return Some(Ok(Outcome::Duplicate)),
            Err(rejection) => return Some(Err(rejection)),
        };
        let key = seen.key;
        // What this record's time has made due comes before the record itself (I3).
        if self.next_due(key).is_some() {
            if !self.fire_key(key, end, rows) {
                self.surface_at_once(key);
                return None;
            }
            // That may have made unknown what the record names.
            if let Err(rejection) = self.resolve(record, event, event.alias()) {
                self.schedule(key);
                return Some(Err(rejection));
            }
        }
        let id = match seen.identity {
            // Its number has been seen whatever becomes of the record: one that is refused leaves no gap.
            Seen::Sequence(producer, sequence) => {
                self.state.put_producer(key, &producer, Some(sequence));
                None
            }
            Seen::Id(id) => Some(id),
            Seen::Record => None,
        };
        let (savepoint, emitted) = (self.state.savepoint(), rows.len());
        if let Some(id) = id {
            self.state.insert_id(id, self.position.clock, record.offset);
        }
        let folded = self.attempt(key, rows, |operator, context| operator.record(context, event));
        if folded.is_err() {
            self.state.undo_to(savepoint);
            rows.truncate(emitted);
        }
        self.schedule(key);
        Some(folded.map(|()| Outcome::Folded))
    }

    /// Calls the operator. A panic and an entry that has grown too large are rejections; the caller undoes them.
    fn attempt(
        &mut self,
        key: usize,
        rows: &mut Vec<O::Row>,
        call: impl FnOnce(&O, &mut Context<'_, O>) -> Result<(), Rejection>,
    ) -> Result<(), Rejection> {
        let savepoint = self.state.savepoint();
        let allowance = self.allowance(key);
        let Self { operator, position, state, .. } = self;
        let mut context = Context { position, state, key, allowance, rows };
        // Whatever a panic leaves half done is undone by the journal.
        let called = catch_unwind(AssertUnwindSafe(|| call(operator, &mut context)));
        called.unwrap_or_else(|cause| Err(refuse("poison", panic_message(&*cause))))?;
        for change in self.state.changes_since(savepoint) {
            let Change::Entry(_, name, _) = change else { continue };
            let entry = self.state.cells[key].entries.get(name);
            let size = entry.map_or(0, |slot| changelog::size(&slot.value));
            if size > ENTRY_LIMIT {
                let message =
                    format!("entry {name:?} would take {size} bytes, at most {ENTRY_LIMIT} are kept");
                return Err(refuse("state_too_large", message));
            }
        }
        Ok(())
    }

    /// Under which key a record is folded, with that key's time brought forward; `None` if it has been seen before.
    fn recognise(
        &mut self,
        record: &Record<'_, O::Event>,
        event: &O::Event,
    ) -> Result<Option<Recognised>, Rejection> {
        let (event_time, append_time) = (event.event_time(), record.append_time);
        let ahead = event_time.saturating_sub(append_time);
        if ahead > FamilySettings::FUTURE_LIMIT {
            let message = format!("its time is {ahead} ms ahead of its append time");
            return Err(refuse("future_event", message));
        }
        let alias = event.alias();
        // Before the key is looked for: a repeat is one also when what it names is forgotten by now.
        let id = match event.identity() {
            Identity::Id(id) => {
                let scope = alias.as_deref().map_or(record.raw_key.unwrap_or_default(), str::as_bytes);
                let id = fingerprint(scope, id);
                if self.state.ids.contains(id, self.position.clock, self.settings.duplicate_horizon) {
                    return Ok(None);
                }
                Some(id)
            }
            _ => None,
        };
        let found = self.resolve(record, event, alias)?;
        let known = found.as_ref().ok().map(|key| &self.state.cells[*key]);
        // A key's time outlives its state by the horizon, and no longer, however long it stays in memory.
        let known = known.filter(|cell| !self.is_forgotten(&cell.head.time) || !cell.is_idle());
        let (identity, is_gapless) = match event.identity() {
            Identity::Sequence { producer, number } => {
                let known = known.and_then(|cell| cell.producers.get(&producer.into()));
                if known.is_some_and(|slot| slot.value.contains(number)) {
                    return Ok(None);
                }
                let mut sequence = known.map(|slot| slot.value.clone()).unwrap_or_default();
                if sequence.insert(number).is_err() {
                    let message = format!("producer {producer} has left {} gaps", Sequence::LIMIT);
                    return Err(refuse("too_many_gaps", message));
                }
                let is_gapless = sequence.is_gapless();
                (Seen::Sequence(producer.into(), sequence), is_gapless)
            }
            Identity::Id(_) | Identity::Record => (id.map_or(Seen::Record, Seen::Id), false),
        };
        let mut head =
            known.map_or_else(|| Head::new(KeyTime::first(event_time, append_time)), |cell| cell.head);
        head.time.advance(event_time, append_time);
        head.is_gapless &= is_gapless;
        let is_known = known.is_some();
        let key = match found {
            Ok(key) => {
                if !is_known {
                    self.state.forget_producers(key);
                }
                self.state.set_head(key, head);
                key
            }
            Err(name) => {
                let key = self.state.create(&name, head);
                self.schedule_expiry(key);
                key
            }
        };
        Ok(Some(Recognised { key, identity }))
    }

    /// The key of a record, or the name of one that is not known yet.
    fn resolve(
        &self,
        record: &Record<'_, O::Event>,
        event: &O::Event,
        alias: Option<String>,
    ) -> Result<Result<usize, String>, Rejection> {
        if let Some(alias) = alias {
            let key = self.state.aliases.get(&*alias);
            let unknown = || refuse("unknown_id", format!("nothing is known under {alias}"));
            return key.map(|key| Ok(*key)).ok_or_else(unknown);
        }
        let name = record.raw_key.and_then(|key| std::str::from_utf8(key).ok());
        match name {
            Some(name) if tenant_of(name) == event.tenant() => {
                Ok(self.state.find(name).ok_or_else(|| name.to_owned()))
            }
            _ => {
                let found = name.map_or_else(|| format!("{:?}", record.raw_key), str::to_owned);
                let message = format!("its key is {found}, expected was {}/…", event.tenant());
                Err(refuse("wrong_key", message))
            }
        }
    }

    fn is_forgotten(&self, time: &KeyTime) -> bool {
        self.position.clock.saturating_sub(time.last_append) > self.settings.duplicate_horizon
    }

    fn allowance(&self, key: usize) -> Millis {
        let cell = &self.state.cells[key];
        if cell.head.is_gapless { 0 } else { self.settings.allowance(&cell.name) }
    }

    /// Fires what the clock has made due, timer by timer: in the order in which the clock has made their keys so, then
    /// of the keys' names, so that it makes no difference where the rows reach their end. `false`: they have.
    fn fire_due(&mut self, end: usize, rows: &mut Vec<O::Row>) -> bool {
        let clock = self.position.clock;
        // A key's place in memory is not part of the fold; its name is.
        let mut due = BTreeSet::new();
        while let Some((wake, key)) = self.state.wakes.pop(clock) {
            match self.surface(wake, key) {
                Some(next) if next <= clock => {
                    due.insert((next, self.state.cells[key].name.clone(), key));
                }
                Some(_) => self.schedule(key),
                None => {}
            }
        }
        while let Some((_, name, key)) = due.pop_first() {
            loop {
                if !self.fire_next(key, end, rows) {
                    self.surface_at_once(key);
                    due.into_iter().for_each(|(.., key)| self.surface_at_once(key));
                    return false;
                }
                if self.next_due(key).is_none() {
                    self.schedule(key);
                    break;
                }
                let allowance = self.allowance(key);
                let cell = &self.state.cells[key];
                let next = cell.timers.next_wake(&cell.head.time, allowance).unwrap_or(clock);
                if due.first().is_some_and(|(other, other_name, _)| (*other, other_name) < (next, &name)) {
                    due.insert((next, name, key));
                    break;
                }
            }
        }
        true
    }

    /// Fires the key's timers that its watermark has strictly passed, in (due, timer) order. `false`: the rows have
    /// reached their end.
    fn fire_key(&mut self, key: usize, end: usize, rows: &mut Vec<O::Row>) -> bool {
        while self.next_due(key).is_some() {
            if !self.fire_next(key, end, rows) {
                return false;
            }
        }
        true
    }

    /// Fires the first of them.
    fn fire_next(&mut self, key: usize, end: usize, rows: &mut Vec<O::Row>) -> bool {
        let Some((due, timer)) = self.next_due(key) else { return true };
        if rows.len() >= end {
            return false;
        }
        self.fire(key, &timer, due, rows);
        true
    }

    /// The key's next timer that its watermark has strictly passed; those whose wait is over wait no more.
    fn next_due(&mut self, key: usize) -> Option<(Millis, O::Timer)> {
        let clock = self.position.clock;
        while let Some((timer, time)) = self.state.cells[key].timers.matured(clock) {
            self.state.put_timer(key, &timer, Some(time));
        }
        let cell = &self.state.cells[key];
        cell.timers.next_due(cell.head.time.watermark(self.allowance(key), clock))
    }

    fn fire(&mut self, key: usize, timer: &O::Timer, due: Millis, rows: &mut Vec<O::Row>) {
        let (savepoint, emitted) = (self.state.savepoint(), rows.len());
        self.state.put_timer(key, timer, None);
        let fired = self.attempt(key, rows, |operator, context| {
            operator.timer(context, timer, due);
            Ok(())
        });
        if let Err(rejection) = fired {
            self.state.undo_to(savepoint);
            rows.truncate(emitted);
            self.state.put_timer(key, timer, None);
            self.progress.totals.poisoned_timers += 1;
            let cause = match rejection {
                Rejection::Refused { reason, message } => format!("{reason}: {message}"),
                Rejection::Late => "late".to_owned(),
            };
            let name = self.state.cells[key].name.clone();
            let letter = DeadLetter {
                topic: self.position.topic.clone(),
                partition: self.position.partition,
                offset: self.position.offset,
                append_time: self.position.append_time,
                tenant: Some(tenant_of(&name).to_owned()),
                event_id: None,
                reason: "poison_timer".to_owned(),
                message: format!("timer {timer:?}, due {due}, of key {name}: {cause}"),
                record_key: Some(name.as_bytes().to_vec()),
                record_value: None,
            };
            rows.push(letter.into());
        }
        self.state.keep_since(savepoint);
    }

    /// An entry of the wake queue has surfaced: when its key is due next.
    fn surface(&mut self, wake: Millis, key: usize) -> Option<Millis> {
        let allowance = self.state.cells.contains(key).then(|| self.allowance(key))?;
        let cell = &mut self.state.cells[key];
        if cell.wake == Some(wake) {
            cell.wake = None;
        }
        cell.timers.next_wake(&cell.head.time, allowance)
    }

    /// Makes sure that the key surfaces no later than its next timer.
    fn schedule(&mut self, key: usize) {
        let allowance = self.allowance(key);
        let cell = &mut self.state.cells[key];
        if let Some(next) = cell.timers.next_wake(&cell.head.time, allowance) {
            self.state.wakes.schedule(key, next, &mut cell.wake, self.position.clock);
        }
    }

    fn surface_at_once(&mut self, key: usize) {
        let cell = &mut self.state.cells[key];
        cell.wake = None;
        self.state.wakes.schedule(key, Millis::MIN, &mut cell.wake, Millis::MIN);
    }

    fn schedule_expiry(&mut self, key: usize) {
        let last_append = self.state.cells[key].head.time.last_append;
        let at = last_append.saturating_add(self.settings.duplicate_horizon).saturating_add(1);
        self.state.expiries.schedule(key, at, &mut None, self.position.clock);
    }

    /// Writes down every cell that has changed since the last commit, for the changelog; a value of `None` removes it.
    /// To be followed by [`commit`](Self::commit) or [`abort`](Self::abort).
    pub fn changes<E>(&mut self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        self.find_expired();
        let mut writer = Writer::new(visit);
        for change in self.state.changes_since(0) {
            writer.change(&self.state, change)?;
        }
        for (name, chunk) in self.state.ids.chunks_from(self.committed.offset) {
            writer.ids(name, Some(chunk))?;
        }
        for name in self.state.ids.expired(self.position.clock, self.settings.duplicate_horizon) {
            writer.ids(name, None)?;
        }
        for key in &self.expired {
            writer.forget(&self.state, *key)?;
        }
        writer.position::<O>(&self.cursor())
    }

    /// Every cell of the state, in order: what a restore needs.
    pub fn snapshot<E>(&self, visit: &mut Visit<'_, E>) -> Result<(), E> {
        let mut writer = Writer::new(visit);
        writer.all(&self.state)?;
        // Nothing is taken back in a snapshot.
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
        self.state.ids.commit(self.position.clock, self.settings.duplicate_horizon);
        for key in std::mem::take(&mut self.expired) {
            self.state.remove_key(key);
        }
        self.state.commit();
    }

    /// Takes back what has been done since the last commit. It costs what was touched (I5).
    pub fn abort(&mut self) {
        self.state.undo_to(0);
        self.stand_at(self.committed.clone());
        for key in std::mem::take(&mut self.expired) {
            self.schedule_expiry(key);
        }
        self.accounted.clear();
    }

    fn stand_at(&mut self, cursor: Cursor) {
        self.progress = cursor.progress;
        self.position.offset = cursor.offset;
        self.position.append_time = cursor.append_time;
        self.position.clock = cursor.clock;
        self.position.settings_version = cursor.settings_version;
        self.position.emissions = cursor.emissions.iter().copied().collect();
        self.committed = cursor;
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
            topic: self.position.topic.clone(),
            partition: self.position.partition,
            hour,
            version: id::version(self.position.generation, self.position.offset, 0),
            read: count(counts.read),
            folded: count(counts.folded),
            duplicate: count(counts.duplicate),
            late: count(counts.late),
            dead_lettered: count(counts.dead_lettered),
        }
    }

    /// Begins to bring the empty task to a state that was written down.
    pub fn restore(self) -> Restore<O> {
        Restore { task: self, reader: Reader::default() }
    }

    fn dead_letter(&self, record: &Record<'_, O::Event>, reason: &str, message: String) -> DeadLetter {
        let event = match &record.payload {
            Payload::Event(event) => Some(event),
            _ => None,
        };
        DeadLetter {
            topic: self.position.topic.clone(),
            partition: self.position.partition,
            offset: record.offset,
            append_time: record.append_time,
            tenant: event.map(|event| event.tenant().to_owned()),
            event_id: event.map(|event| event.identity().name().into_owned()),
            reason: reason.to_owned(),
            message,
            record_key: record.raw_key.map(<[u8]>::to_vec),
            record_value: record.raw_value.map(<[u8]>::to_vec),
        }
    }

    fn late_event(&self, record: &Record<'_, O::Event>) -> LateEvent {
        let event = match &record.payload {
            Payload::Event(event) => Some(event),
            _ => None,
        };
        LateEvent {
            topic: self.position.topic.clone(),
            partition: self.position.partition,
            offset: record.offset,
            append_time: record.append_time,
            event_time: event.map_or(record.append_time, Event::event_time),
            tenant: event.map(|event| event.tenant().to_owned()).unwrap_or_default(),
            event_id: event.map(|event| event.identity().name().into_owned()).unwrap_or_default(),
            operator: O::NAME.to_owned(),
            record_key: record.raw_key.map(<[u8]>::to_vec),
            record_value: record.raw_value.map(<[u8]>::to_vec),
        }
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
        self.reader.apply(&mut self.task.state, key, value)
    }

    /// The task, as it was when the last record was written; as new if there was none.
    pub fn finish(self) -> Result<Task<O>, RestoreError> {
        let Self { mut task, reader } = self;
        if let Some(cursor) = reader.finish()? {
            task.stand_at(cursor);
        }
        let keys: Vec<usize> = task.state.cells.iter().map(|(key, _)| key).collect();
        for key in keys {
            task.schedule(key);
            task.schedule_expiry(key);
        }
        // What was made to hold the records' cells has been touched by nobody.
        task.state.commit();
        Ok(task)
    }
}

/// A record's key, and how a repeat of it will be recognised.
struct Recognised {
    key: usize,
    identity: Seen,
}

enum Seen {
    Id(u128),
    Sequence(Box<str>, Sequence),
    Record,
}

fn refuse(reason: &'static str, message: String) -> Rejection {
    Rejection::Refused { reason, message }
}

fn panic_message(cause: &(dyn Any + Send)) -> String {
    let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| cause.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a message".to_owned())
}
