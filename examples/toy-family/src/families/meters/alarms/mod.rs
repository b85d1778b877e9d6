//! Alarms of a meter: one is open while its readings are above what its tenant allows, and each is an incident.
//!
//! Readings are judged as they arrive. One that is older than another of its meter is late (I9): what it would change is not
//! kept. So an alarm is final once it is closed. A meter that is silent for a day is forgotten; an alarm that is still
//! open then ends with the last reading.

pub mod rows;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use self::rows::{AlarmsRow, MeterAlarm};
use crate::engine::rows::RowMeta;
use crate::engine::{Context, EvidenceState, Millis, Operator, Rejection};
use crate::families::incident::{Incident, Severity};
use crate::families::meters::event::{Reading, meter_of};

/// The rule's name in `incidents`.
const RULE: &str = "meter_alarm";

/// How long a meter may be silent until it is forgotten.
const SILENCE: Millis = 86_400_000;

/// The operator.
#[derive(Debug, Clone, Copy, Default)]
pub struct Alarms;

/// What a tenant can set, in watts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlarmSettings {
    /// A reading above this opens an alarm.
    pub above: i64,
    /// A reading above this is refused.
    pub implausible_above: i64,
}

impl Default for AlarmSettings {
    fn default() -> Self {
        Self { above: 5_000, implausible_above: 100_000 }
    }
}

/// What is kept of a meter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Meter {
    /// The time of its last reading.
    last: Millis,
    /// The alarm that is open.
    alarm: Option<Alarm>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Alarm {
    /// Id and arrival of the reading that opened it: they name its rows.
    event_id: String,
    first_arrival: Millis,
    opened_at: Millis,
    closed_at: Option<Millis>,
    above_watts: i64,
    peak_watts: i64,
    evidence: EvidenceState,
}

impl Operator for Alarms {
    type Event = Reading;
    type Name = ();
    type Entry = Meter;
    type Timer = ();
    type Settings = AlarmSettings;
    type Row = AlarmsRow;

    const NAME: &'static str = "meter-alarms";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, reading: &Reading) -> Result<(), Rejection> {
        let AlarmSettings { above, implausible_above } = *context.settings();
        let Reading { occurred_at, watts, .. } = *reading;
        if watts > implausible_above {
            let message = format!("{watts} W is above the {implausible_above} W that a meter can read");
            return Err(Rejection::Refused { reason: "implausible_reading", message });
        }
        let mut meter = context.get(&()).cloned().unwrap_or(Meter { last: occurred_at, alarm: None });
        let forgotten_at = occurred_at.saturating_add(SILENCE);
        if occurred_at < meter.last || context.is_closed(forgotten_at) {
            return Err(Rejection::Late);
        }
        meter.last = occurred_at;
        let is_above = watts > above;
        if is_above || meter.alarm.is_some() {
            let mut alarm = meter.alarm.take().unwrap_or_else(|| Alarm {
                event_id: reading.event_id.clone(),
                first_arrival: context.append_time(),
                opened_at: occurred_at,
                closed_at: None,
                above_watts: above,
                peak_watts: watts,
                evidence: EvidenceState::default(),
            });
            context.add_evidence(&mut alarm.evidence);
            alarm.peak_watts = alarm.peak_watts.max(watts);
            alarm.closed_at = (!is_above).then_some(occurred_at);
            alarm.emit(context);
            meter.alarm = is_above.then_some(alarm);
        }
        context.set_timer(&(), forgotten_at);
        context.put(&(), meter);
        Ok(())
    }

    fn timer(&self, context: &mut Context<'_, Self>, (): &(), due: Millis) {
        if let Some(Meter { last, alarm: Some(mut alarm) }) = context.get(&()).cloned() {
            alarm.closed_at = Some(last);
            alarm.emit(context);
        }
        context.remove(&());
        context.drop_through(due);
    }
}

impl Alarm {
    fn emit(&self, context: &mut Context<'_, Alarms>) {
        let Self { opened_at, closed_at, above_watts, peak_watts, .. } = *self;
        let meter = meter_of(context.key()).to_owned();
        let meta = self.meta(context, "meter-alarms");
        let row = MeterAlarm { meta, meter: meter.clone(), opened_at, closed_at, above_watts, peak_watts };
        context.emit(AlarmsRow::Alarm(row));
        let incident = Incident {
            meta: self.meta(context, RULE),
            family: "meters".into(),
            rule: RULE.into(),
            severity: Severity::High,
            title: format!("Meter {meter} above {above_watts} W").into(),
            started_at: opened_at,
            ended_at: closed_at,
            attributes: BTreeMap::from([("peak_watts".into(), peak_watts.to_string().into())]),
            subject: meter,
        };
        context.emit(AlarmsRow::Incident(incident));
    }

    /// Name, version and provenance of its row of a kind.
    fn meta(&self, context: &mut Context<'_, Alarms>, kind: &str) -> RowMeta {
        let meta = context.row_meta(&[kind, &self.event_id], self.first_arrival, &self.evidence);
        RowMeta { is_final: self.closed_at.is_some(), ..meta }
    }
}
