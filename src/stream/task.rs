//! A task: the fold of one partition of one family topic.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::duplicates::RecentIds;
use super::operator::{Context, Operator, Position, Refusal, Timer};
use super::time::{FamilySettings, KeyTime};
use super::timers::{KeyTimers, WakeQueue};
use crate::event::derived::DeadLetter;
use crate::event::{Event, KeyReference, Millis};

/// A record of the partition, in the order of the log.
#[derive(Debug, Clone)]
pub struct Record<'a, E> {
    /// Its offset.
    pub offset: i64,
    /// Its append time (LogAppendTime).
    pub append_time: Millis,
    /// Its key, as it lies in the log: kept with a dead letter.
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

/// What became of a record: each has exactly one outcome (I7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Folded into the state.
    Folded,
    /// Seen before.
    Duplicate,
    /// Not foldable; it went to the dead letters.
    DeadLettered,
    /// A mark.
    Mark,
}

impl Outcome {
    /// As metrics spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Folded => "folded",
            Self::Duplicate => "duplicate",
            Self::DeadLettered => "dead_lettered",
            Self::Mark => "mark",
        }
    }
}

/// The fold of one partition. Its state is a pure function of the records it was fed, in order (I2).
pub struct Task<O: Operator> {
    operator: O,
    settings: FamilySettings,
    position: Position,
    keys: HashMap<Arc<str>, KeyState<O::Entry>>,
    /// Public ids to keys.
    aliases: HashMap<String, Arc<str>>,
    wakes: WakeQueue,
}

struct KeyState<T> {
    tenant: String,
    allowance: Millis,
    time: KeyTime,
    recent: RecentIds,
    timers: KeyTimers,
    entries: BTreeMap<String, T>,
}

impl<O: Operator> Task<O> {
    /// An empty task at the beginning of a partition; `generation` is that of the topic.
    pub fn new(operator: O, settings: FamilySettings, topic: &str, partition: i32, generation: u8) -> Self {
        let position = Position {
            topic: topic.to_owned(),
            partition,
            generation,
            offset: 0,
            append_time: Millis::MIN,
            clock: Millis::MIN,
            settings_version: 0,
            emissions: HashMap::new(),
        };
        let (keys, aliases, wakes) = (HashMap::new(), HashMap::new(), WakeQueue::default());
        Self { operator, settings, position, keys, aliases, wakes }
    }

    /// The settings in force, as the last mark named them.
    pub fn settings_version(&self) -> i64 {
        self.position.settings_version
    }

    /// The reading of the clock at which, in silence, a timer may be due: a mark appended then makes it fire.
    pub fn next_wake(&self) -> Option<Millis> {
        self.wakes.next()
    }

    /// Folds the next record; what it and the timers before it emit is added to `rows`.
    pub fn process(&mut self, record: Record<'_, O::Event>, rows: &mut Vec<O::Row>) -> Outcome {
        self.position.offset = record.offset;
        self.position.append_time = record.append_time;
        self.position.clock = self.position.clock.max(record.append_time);
        self.position.emissions.clear();
        self.fire_silent(rows);
        let refusal = match &record.payload {
            Payload::Mark { settings_version } => {
                // Two owners' marks may cross; what is in force never goes back (I4).
                self.position.settings_version = self.position.settings_version.max(*settings_version);
                return Outcome::Mark;
            }
            Payload::Undecodable(message) => Refusal { reason: "undecodable", message: message.clone() },
            Payload::Event(event) => match self.fold(event, rows) {
                Ok(outcome) => return outcome,
                Err(refusal) => refusal,
            },
        };
        let dead_letter = self.dead_letter(&record, refusal);
        rows.push(dead_letter.into());
        Outcome::DeadLettered
    }

    /// Fires what the clock alone has made due, key by key in the order of the clock.
    fn fire_silent(&mut self, rows: &mut Vec<O::Row>) {
        while let Some((wake, key)) = self.wakes.pop(self.position.clock) {
            let Some(state) = self.keys.get_mut(&key) else { continue };
            if state.timers.surfaced(wake) {
                Self::fire(&self.operator, &mut self.position, &mut self.aliases, &key, state, rows);
                self.wakes.schedule(&key, &mut state.timers, &state.time, state.allowance);
            }
        }
    }

    fn fold(&mut self, event: &O::Event, rows: &mut Vec<O::Row>) -> Result<Outcome, Refusal> {
        let (event_time, append_time) = (event.event_time(), self.position.append_time);
        let ahead = event_time.saturating_sub(append_time);
        if ahead > FamilySettings::FUTURE_LIMIT {
            let message = format!("its time is {ahead} ms ahead of its append time");
            return Err(Refusal { reason: "future_event", message });
        }
        let key = self.resolve(event)?;
        let tenant = event.tenant();
        let state = self.keys.entry(Arc::clone(&key)).or_insert_with(|| KeyState {
            tenant: tenant.to_owned(),
            allowance: self.settings.allowance(tenant),
            time: KeyTime::first(event_time, append_time),
            recent: RecentIds::default(),
            timers: KeyTimers::default(),
            entries: BTreeMap::new(),
        });
        if !state.recent.insert(event.event_id(), self.position.clock, self.settings.duplicate_horizon) {
            return Ok(Outcome::Duplicate);
        }
        state.time.advance(event_time, append_time);
        // What this record's time has made due comes before the record itself (I3).
        Self::fire(&self.operator, &mut self.position, &mut self.aliases, &key, state, rows);
        let mut context = Self::context(&mut self.position, &mut self.aliases, &key, state, rows);
        let folded = self.operator.record(&mut context, event);
        // With D = 0 a timer that was set in the past is due at once.
        Self::fire(&self.operator, &mut self.position, &mut self.aliases, &key, state, rows);
        self.wakes.schedule(&key, &mut state.timers, &state.time, state.allowance);
        folded.map(|()| Outcome::Folded)
    }

    fn resolve(&self, event: &O::Event) -> Result<Arc<str>, Refusal> {
        match event.key() {
            KeyReference::Key(key) => Ok(self
                .keys
                .get_key_value(key.as_str())
                .map_or_else(|| key.into(), |(known, _)| Arc::clone(known))),
            KeyReference::Alias(name) => self.aliases.get(&name).cloned().ok_or_else(|| Refusal {
                reason: "unknown_id",
                message: format!("nothing is known under {name}"),
            }),
        }
    }

    /// Fires the key's timers that its watermark has strictly passed, in (due, name) order.
    fn fire(
        operator: &O,
        position: &mut Position,
        aliases: &mut HashMap<String, Arc<str>>,
        key: &Arc<str>,
        state: &mut KeyState<O::Entry>,
        rows: &mut Vec<O::Row>,
    ) {
        let watermark = state.time.watermark(state.allowance, position.clock);
        while let Some((due, name)) = state.timers.pop_due(watermark, position.clock) {
            let mut context = Self::context(position, aliases, key, state, rows);
            operator.timer(&mut context, &Timer { due, name });
        }
    }

    fn context<'a>(
        position: &'a mut Position,
        aliases: &'a mut HashMap<String, Arc<str>>,
        key: &'a Arc<str>,
        state: &'a mut KeyState<O::Entry>,
        rows: &'a mut Vec<O::Row>,
    ) -> Context<'a, O> {
        Context {
            position,
            tenant: &state.tenant,
            key,
            allowance: state.allowance,
            time: &state.time,
            entries: &mut state.entries,
            timers: &mut state.timers,
            aliases,
            rows,
        }
    }

    fn dead_letter(&self, record: &Record<'_, O::Event>, refusal: Refusal) -> DeadLetter {
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
            event_id: event.map(|event| event.event_id().to_owned()),
            reason: refusal.reason.to_owned(),
            message: refusal.message,
            record_key: record.raw_key.map(<[u8]>::to_vec),
            record_value: record.raw_value.map(<[u8]>::to_vec),
        }
    }
}
