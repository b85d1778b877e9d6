//! What the tests share: an event, two small operators over it, and rows that can be compared.

use serde::{Deserialize, Serialize};
use tidewatch::engine::rows::{DeadLetter, LateEvent, RowMeta};
use tidewatch::engine::{
    Aggregate, Context, Emission, EvidenceState, FamilySettings, FixedWindows, Operator, Outcome, Rejection,
    SessionWindows, TestDriver, Window, WindowKind, Windowed,
};
use tidewatch::engine::{Event, Identity, Millis};

use crate::model;
use crate::model::{Act, Fate, Output, Who};

/// An event with everything that the tests ask of one.
#[derive(Debug, Clone)]
pub struct TestEvent {
    pub tenant: String,
    pub who: Who,
    pub time: Millis,
    pub value: i64,
    pub act: Act,
    /// Where the operator fails, if it does.
    pub fault: Option<Fault>,
}

/// Where the operator fails, after it has changed its entries, set timers and emitted rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// The record panics.
    Record,
    /// It sets a timer that panics.
    Timer,
}

impl From<&model::Input> for TestEvent {
    fn from(input: &model::Input) -> Self {
        let tenant = input.key.split('/').next().unwrap_or_default().to_owned();
        let who = input.who.clone();
        Self { tenant, who, time: input.time, value: input.value, act: input.act, fault: None }
    }
}

impl Event for TestEvent {
    fn tenant(&self) -> &str {
        &self.tenant
    }

    fn identity(&self) -> Identity<'_> {
        match &self.who {
            Who::Id(id) => Identity::Id(id),
            Who::Sequence(producer, number) => Identity::Sequence { producer, number: *number },
            Who::Nobody => Identity::Record,
        }
    }

    fn event_time(&self) -> Millis {
        self.time
    }
}

/// What the test operators emit.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum Row {
    Window { meta: RowMeta, window: Window, tally: Tally },
    Fired { meta: RowMeta, name: i64, due: Millis, watermark: Millis },
    DeadLetter(DeadLetter),
    Late(LateEvent),
}

impl From<DeadLetter> for Row {
    fn from(letter: DeadLetter) -> Self {
        Self::DeadLetter(letter)
    }
}

impl From<LateEvent> for Row {
    fn from(event: LateEvent) -> Self {
        Self::Late(event)
    }
}

impl Row {
    pub fn meta(&self) -> Option<&RowMeta> {
        match self {
            Self::Window { meta, .. } | Self::Fired { meta, .. } => Some(meta),
            Self::DeadLetter(_) | Self::Late(_) => None,
        }
    }

    /// In the model's terms.
    pub fn output(&self) -> Output {
        let text = |key: &Option<Vec<u8>>| String::from_utf8(key.clone().unwrap_or_default()).unwrap();
        match self {
            Self::Window { meta, window: Window { start, end }, tally: Tally { count, sum } } => {
                let (key, start, end, count, sum) = (meta.key.to_string(), *start, *end, *count, *sum);
                match (meta.retracted, meta.is_final) {
                    (true, _) => Output::Retracted { key, start, end, count, sum },
                    (_, true) => Output::Final { key, start, end, count, sum },
                    _ => Output::Update { key, start, end, count, sum },
                }
            }
            Self::Fired { meta, name, due, watermark } => {
                Output::Fired { key: meta.key.to_string(), name: *name, due: *due, watermark: *watermark }
            }
            Self::DeadLetter(row) => Output::Dead { key: text(&row.record_key), reason: row.reason.clone() },
            Self::Late(row) => Output::Late { key: text(&row.record_key) },
        }
    }
}

/// A row in bytes.
pub fn bytes<R: Serialize>(row: &R) -> String {
    serde_json::to_string(row).unwrap()
}

/// Outputs, those of one key together: between keys no order is promised.
pub fn by_key(mut outputs: Vec<Output>) -> Vec<Output> {
    outputs.sort_by(|a, b| a.key().cmp(b.key()));
    outputs
}

/// Count and sum.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub count: i64,
    pub sum: i64,
}

pub struct Tallies;

impl Aggregate for Tallies {
    type Event = TestEvent;
    type Value = Tally;
    type Row = Row;

    const NAME: &'static str = "tallies";
    const VERSION: i32 = 1;

    fn add(&self, value: &mut Tally, event: &TestEvent) {
        value.count += 1;
        value.sum += event.value;
    }

    fn merge(&self, value: &mut Tally, other: &Tally) {
        value.count += other.count;
        value.sum += other.sum;
    }

    fn row(&self, meta: RowMeta, window: Window, value: &Tally) -> Row {
        Row::Window { meta, window, tally: *value }
    }
}

/// Windows of tallies.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    pub kind: WindowKind,
    pub grace: Millis,
    pub emission: Emission,
}

impl Plan {
    pub fn fixed(size: Millis, advance: Millis, grace: Millis) -> Self {
        let kind = WindowKind::Fixed(FixedWindows::hopping(size, advance));
        Self { kind, grace, emission: Emission::OnUpdate }
    }

    pub fn session(gap: Millis, maximum: Option<Millis>, grace: Millis) -> Self {
        let kind = WindowKind::Session(SessionWindows { gap, maximum });
        Self { kind, grace, emission: Emission::OnUpdate }
    }

    pub fn operator(self) -> Windowed<Tallies> {
        let Self { kind, grace, emission } = self;
        Windowed { aggregate: Tallies, kind, grace, emission }
    }

    pub fn driver(self, settings: FamilySettings<()>) -> TestDriver<Windowed<Tallies>> {
        TestDriver::new(move || self.operator(), settings)
    }
}

/// Sets the timers that records ask for, and fails where they ask for that.
pub struct Alarms;

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Alarm {
    again: u8,
    shift: Millis,
    fault: Option<Fault>,
    first_arrival: Millis,
}

impl Operator for Alarms {
    type Event = TestEvent;
    type Name = i64;
    type Entry = Alarm;
    type Timer = i64;
    type Settings = ();
    type Row = Row;

    const NAME: &'static str = "alarms";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, event: &TestEvent) -> Result<(), Rejection> {
        match event.act {
            Act::Nothing => {}
            Act::Set { name, due, again, shift } => {
                let fault = event.fault;
                let first_arrival = context.append_time();
                context.put(&name, Alarm { again, shift, fault, first_arrival });
                context.set_timer(&name, due);
            }
            Act::Cancel { name } => {
                context.remove(&name);
                context.cancel_timer(&name);
            }
        }
        if event.fault == Some(Fault::Record) {
            emit(context, -1, 0, 0);
            if let Some(alarm) = context.get_mut(&0) {
                alarm.again += 1;
            }
            panic!("a fold that fails");
        }
        Ok(())
    }

    fn timer(&self, context: &mut Context<'_, Self>, name: &i64, due: Millis) {
        let Some(mut alarm) = context.get(name).cloned() else { return };
        emit(context, *name, due, alarm.first_arrival);
        context.remove(name);
        match alarm.fault {
            Some(Fault::Timer) => {
                context.set_timer(&99, due);
                panic!("a timer that fails");
            }
            _ if alarm.again > 0 => {
                let shift = alarm.shift;
                alarm.again -= 1;
                context.put(name, alarm);
                context.set_timer(name, due + shift);
            }
            _ => {}
        }
    }
}

fn emit(context: &mut Context<'_, Alarms>, name: i64, due: Millis, first_arrival: Millis) {
    let watermark = context.watermark();
    let meta = context.row_meta(&["alarm", &name.to_string()], first_arrival, &EvidenceState::default());
    context.emit(Row::Fired { meta, name, due, watermark });
}

impl From<Outcome> for Fate {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Folded => Self::Folded,
            Outcome::Duplicate => Self::Duplicate,
            Outcome::Late => Self::Late,
            Outcome::DeadLettered => Self::DeadLettered,
            Outcome::Mark => panic!("a mark is no data"),
        }
    }
}

/// What a cell of a snapshot is: the byte behind the name of its key, which is short.
pub fn kind(cell: &[u8]) -> u8 {
    cell[1 + usize::from(cell[0])]
}
