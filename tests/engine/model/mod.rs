//! A naive model of the engine, written from the invariants (I3, I7, I9): lists, sorted or searched from end to end.
//! Slow, and meant to be obviously right. It imports nothing of the engine.

mod windows;

/// What is the same for all records.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Disorder allowance D by tenant; the first that fits, else 0.
    pub allowance: Vec<(&'static str, i64)>,
    /// How long ids and idle keys are remembered, in append time.
    pub horizon: i64,
    pub kind: Kind,
}

/// What is made of the records.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// Windows of `size`, one beginning every `advance`.
    Fixed { size: i64, advance: i64, grace: i64 },
    /// Sessions without a maximum.
    Session { gap: i64, grace: i64 },
    /// Timers that records set.
    Timers,
}

/// How a repeat is recognised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Who {
    Id(String),
    Sequence(&'static str, u64),
    Nobody,
}

/// A record.
#[derive(Debug, Clone)]
pub struct Input {
    pub key: &'static str,
    pub append: i64,
    pub time: i64,
    pub who: Who,
    pub value: i64,
    pub act: Act,
}

/// What a record does to timers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Nothing,
    /// Sets a timer; when it fires it is set again `again` times, `shift` after its due time.
    Set {
        name: i64,
        due: i64,
        again: u8,
        shift: i64,
    },
    Cancel {
        name: i64,
    },
}

/// What comes out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// A window's count and sum, after a record.
    Update {
        key: String,
        start: i64,
        end: i64,
        count: i64,
        sum: i64,
    },
    /// Once more, finally.
    Final {
        key: String,
        start: i64,
        end: i64,
        count: i64,
        sum: i64,
    },
    /// A session that another has absorbed.
    Retracted {
        key: String,
        start: i64,
        end: i64,
        count: i64,
        sum: i64,
    },
    /// A timer that fired, and the watermark then.
    Fired {
        key: String,
        name: i64,
        due: i64,
        watermark: i64,
    },
    Late {
        key: String,
    },
    Dead {
        key: String,
        reason: String,
    },
}

impl Output {
    pub fn key(&self) -> &str {
        match self {
            Self::Update { key, .. }
            | Self::Final { key, .. }
            | Self::Retracted { key, .. }
            | Self::Fired { key, .. }
            | Self::Late { key }
            | Self::Dead { key, .. } => key,
        }
    }
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Folded,
    Duplicate,
    Late,
    DeadLettered,
}

/// A record that is part of a window: when it happened, and its place in the order of arrival.
#[derive(Debug, Clone, Copy)]
struct Member {
    time: i64,
    arrival: usize,
    value: i64,
}

#[derive(Debug, Clone)]
struct Timer {
    name: i64,
    due: i64,
    /// Of one that was set in the past.
    not_before: Option<i64>,
    again: u8,
    shift: i64,
}

#[derive(Debug)]
struct Key {
    name: &'static str,
    /// Event time and append time of its records.
    records: Vec<(i64, i64)>,
    sequences: Vec<(&'static str, u64)>,
    has_gap: bool,
    timers: Vec<Timer>,
    /// Windows or sessions that are held: name and members.
    windows: Vec<(i64, Vec<Member>)>,
    /// The highest due time of what has been dropped.
    dropped: Option<i64>,
}

/// The whole partition.
pub struct Model {
    settings: Settings,
    clock: i64,
    keys: Vec<Key>,
    /// Key, id, and the clock when it was folded.
    ids: Vec<(&'static str, String, usize)>,
    /// The clock at the first and last id of each bucket: ids are forgotten bucket by bucket.
    buckets: Vec<(i64, i64)>,
    arrivals: usize,
    outputs: Vec<Output>,
}

/// How far ahead of its append time a record may be.
const AHEAD: i64 = 5 * 60 * 1000;

impl Model {
    pub fn new(settings: Settings) -> Self {
        let (keys, ids, outputs) = (Vec::new(), Vec::new(), Vec::new());
        Self { settings, clock: i64::MIN, keys, ids, buckets: Vec::new(), arrivals: 0, outputs }
    }

    pub fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Time passes; timers fire.
    pub fn mark(&mut self, append: i64) {
        self.clock = self.clock.max(append);
        self.arrivals += 1;
        for place in 0..self.keys.len() {
            self.fire(place);
        }
    }

    pub fn record(&mut self, input: &Input) -> Fate {
        self.mark(input.append);
        let key = input.key.to_owned();
        if input.time - input.append > AHEAD {
            self.outputs.push(Output::Dead { key, reason: "future_event".into() });
            return Fate::DeadLettered;
        }
        // The time of a key that holds nothing is forgotten after the horizon.
        let (clock, horizon) = (self.clock, self.settings.horizon);
        self.keys.retain(|key| {
            let last = key.records.last().map_or(i64::MIN, |(_, append)| *append);
            clock - last <= horizon || !key.windows.is_empty() || !key.timers.is_empty()
        });
        if self.is_repeat(input) {
            return Fate::Duplicate;
        }
        let place = self.place(input.key);
        let key_state = &mut self.keys[place];
        key_state.records.push((input.time, input.append));
        match input.who {
            Who::Sequence(producer, number) => key_state.sequences.push((producer, number)),
            _ => key_state.has_gap = true,
        }
        key_state.has_gap |= has_gap(&key_state.sequences);
        self.fire(place);
        let is_folded = match self.settings.kind {
            Kind::Fixed { size, advance, grace } => self.add_to_fixed(place, input, size, advance, grace),
            Kind::Session { gap, grace } => self.add_to_session(place, input, gap, grace),
            Kind::Timers => self.act(place, input.act),
        };
        if !is_folded {
            self.outputs.push(Output::Late { key });
            return Fate::Late;
        }
        if let Who::Id(id) = &input.who {
            match self
                .buckets
                .last_mut()
                .filter(|(first, _)| self.clock - *first <= self.settings.horizon / 64)
            {
                Some((_, last)) => *last = self.clock,
                None => self.buckets.push((self.clock, self.clock)),
            }
            self.ids.push((input.key, id.clone(), self.buckets.len() - 1));
        }
        // Without an allowance a timer that was set in the past is due at once.
        self.fire(place);
        Fate::Folded
    }

    /// The first reading of the clock at which, in silence, some timer is due.
    pub fn next_wake(&self) -> Option<i64> {
        let wake = |place: usize, timer: &Timer| {
            let is_passed = timer.due < self.reached(place);
            let passes = if is_passed { i64::MIN } else { timer.due - self.silent_at(place, 0) + 1 };
            passes.max(timer.not_before.unwrap_or(i64::MIN))
        };
        let keys = self.keys.iter().enumerate();
        keys.flat_map(|(place, key)| key.timers.iter().map(move |timer| wake(place, timer))).min()
    }

    fn is_repeat(&self, input: &Input) -> bool {
        match &input.who {
            Who::Id(id) => self.ids.iter().any(|(key, seen, bucket)| {
                let (_, last) = self.buckets[*bucket];
                *key == input.key && seen == id && self.clock - last <= self.settings.horizon
            }),
            Who::Sequence(producer, number) => {
                let key = self.keys.iter().find(|key| key.name == input.key);
                key.is_some_and(|key| key.sequences.contains(&(*producer, *number)))
            }
            Who::Nobody => false,
        }
    }

    fn place(&mut self, name: &'static str) -> usize {
        if let Some(place) = self.keys.iter().position(|key| key.name == name) {
            return place;
        }
        self.keys.push(Key {
            name,
            records: Vec::new(),
            sequences: Vec::new(),
            has_gap: false,
            timers: Vec::new(),
            windows: Vec::new(),
            dropped: None,
        });
        self.keys.len() - 1
    }

    /// D of a key.
    fn disorder(&self, place: usize) -> i64 {
        let tenant = self.keys[place].name.split('/').next();
        let allowances = &self.settings.allowance;
        allowances.iter().find(|(name, _)| Some(*name) == tenant).map_or(0, |(_, d)| *d)
    }

    /// D, or 0 of a key whose own records come in order.
    fn allowance(&self, place: usize) -> i64 {
        if self.keys[place].has_gap { self.disorder(place) } else { 0 }
    }

    fn time(&self, place: usize) -> i64 {
        let times = self.keys[place].records.iter().map(|(time, append)| *time.min(append));
        times.max().unwrap_or(i64::MIN)
    }

    /// How far a key's own records have brought it.
    fn reached(&self, place: usize) -> i64 {
        self.time(place) - self.allowance(place)
    }

    /// T − D + (clock − append time of the last record): how far silence has brought it.
    fn silent_at(&self, place: usize, clock: i64) -> i64 {
        let last = self.keys[place].records.last().map_or(clock, |(_, append)| *append);
        self.time(place) - self.disorder(place) + clock - last
    }

    fn watermark_at(&self, place: usize, clock: i64) -> i64 {
        self.reached(place).max(self.silent_at(place, clock))
    }

    /// What is due up to there has been dropped, or would be at once.
    fn is_closed(&self, place: usize, due: i64) -> bool {
        self.keys[place].dropped.is_some_and(|dropped| due <= dropped) || due < self.reached(place)
    }

    fn set_timer(&mut self, place: usize, name: i64, due: i64, again: u8, shift: i64) {
        let allowance = self.allowance(place);
        let is_past = due < self.watermark_at(place, self.clock) && allowance > 0;
        let not_before = is_past.then_some(self.clock + allowance);
        let timers = &mut self.keys[place].timers;
        timers.retain(|timer| timer.name != name);
        timers.push(Timer { name, due, not_before, again, shift });
    }

    /// Fires what the watermark has strictly passed, in (due, name) order.
    fn fire(&mut self, place: usize) {
        loop {
            let watermark = self.watermark_at(place, self.clock);
            for timer in &mut self.keys[place].timers {
                // A wait that is over is over.
                timer.not_before = timer.not_before.filter(|wait| *wait > self.clock);
            }
            let timers = &mut self.keys[place].timers;
            timers.sort_by_key(|timer| (timer.due, timer.name));
            let is_due = |timer: &Timer| timer.not_before.is_none() && timer.due < watermark;
            let Some(first) = timers.iter().position(is_due) else { return };
            let timer = timers.remove(first);
            self.fired(place, &timer, watermark);
        }
    }

    fn fired(&mut self, place: usize, timer: &Timer, watermark: i64) {
        let key = self.keys[place].name.to_owned();
        let Timer { name, due, again, shift, .. } = *timer;
        if matches!(self.settings.kind, Kind::Timers) {
            self.outputs.push(Output::Fired { key, name, due, watermark });
            if again > 0 {
                self.set_timer(place, name, due + shift, again - 1, shift);
            }
            return;
        }
        let key_state = &mut self.keys[place];
        let Some(index) = key_state.windows.iter().position(|(window, _)| *window == name) else { return };
        let (_, members) = key_state.windows.remove(index);
        key_state.dropped = key_state.dropped.max(Some(due));
        let (start, end) = self.bounds(name, &members);
        let (count, sum) = windows::total(&members);
        self.outputs.push(Output::Final { key, start, end, count, sum });
    }

    fn act(&mut self, place: usize, act: Act) -> bool {
        match act {
            Act::Nothing => {}
            Act::Set { name, due, again, shift } => self.set_timer(place, name, due, again, shift),
            Act::Cancel { name } => self.keys[place].timers.retain(|timer| timer.name != name),
        }
        true
    }
}

/// Whether some producer's numbers are not all of those from 0 or 1 to its highest.
fn has_gap(sequences: &[(&str, u64)]) -> bool {
    let is_one = sequences.iter().all(|(producer, _)| *producer == sequences[0].0);
    !is_one
        || sequences.iter().any(|(producer, highest)| {
            let has = |number: u64| sequences.iter().any(|(name, seen)| name == producer && *seen == number);
            (1..*highest).any(|number| !has(number))
        })
}
