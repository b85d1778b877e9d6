//! Hourly totals of a meter: a row for each hour of event time, emitted with every reading, and once more as `final` a day
//! after the hour's end.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::engine::rows::{RowMeta, operator_rows, versioned_row};
use crate::engine::{Aggregate, Emission, FixedWindows, Millis, Window, WindowKind, Windowed};
use crate::families::meters::event::{Reading, meter_of};

const HOUR: Millis = 3_600_000;

operator_rows! {
    /// What the operator emits.
    pub enum HoursRow {
        Hour(MeterHour),
    }
}

/// What a meter read within an hour. Topic `meter-hours`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeterHour {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The meter.
    pub meter: Arc<str>,
    /// The beginning of the hour.
    pub hour: Millis,
    /// How many readings there are.
    pub readings: i64,
    /// Their mean, in watts.
    pub mean_watts: i64,
    /// The highest of them, in watts.
    pub peak_watts: i64,
}

versioned_row!(MeterHour, "meter-hours");

/// What is kept of an hour.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Total {
    readings: i64,
    watts: i64,
    peak: Option<i64>,
}

/// The aggregate.
pub struct Hours;

/// The operator: late readings still count for a day.
pub fn operator() -> Windowed<Hours> {
    let kind = WindowKind::Fixed(FixedWindows::tumbling(HOUR));
    Windowed { aggregate: Hours, kind, grace: 24 * HOUR, emission: Emission::OnUpdate }
}

impl Aggregate for Hours {
    type Event = Reading;
    type Value = Total;
    type Row = HoursRow;

    const NAME: &'static str = "meter-hours";
    const VERSION: i32 = 1;

    fn add(&self, total: &mut Total, reading: &Reading) {
        self.merge(total, &Total { readings: 1, watts: reading.watts, peak: Some(reading.watts) });
    }

    fn merge(&self, total: &mut Total, other: &Total) {
        total.readings += other.readings;
        total.watts = total.watts.saturating_add(other.watts);
        total.peak = total.peak.max(other.peak);
    }

    fn row(&self, meta: RowMeta, window: Window, total: &Total) -> HoursRow {
        HoursRow::Hour(MeterHour {
            meter: meter_of(&meta.key).into(),
            meta,
            hour: window.start,
            readings: total.readings,
            mean_watts: total.watts / total.readings.max(1),
            peak_watts: total.peak.unwrap_or_default(),
        })
    }
}
