//! What the operator emits.

use serde::{Deserialize, Serialize};

use crate::engine::Millis;
use crate::engine::rows::{RowMeta, operator_rows, versioned_row};
use crate::families::incident::Incident;

operator_rows! {
    /// What the operator emits.
    pub enum AlarmsRow {
        Alarm(MeterAlarm),
        Incident(Incident),
    }
}

/// A time in which a meter read more than its tenant allows. Topic `meter-alarms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MeterAlarm {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The meter.
    pub meter: String,
    /// Time of the first reading above.
    pub opened_at: Millis,
    /// Time of the first reading that is not above; none as long as it is open.
    pub closed_at: Option<Millis>,
    /// What was allowed when it was opened, in watts.
    pub above_watts: i64,
    /// The highest reading, in watts.
    pub peak_watts: i64,
}

versioned_row!(MeterAlarm, "meter-alarms");
