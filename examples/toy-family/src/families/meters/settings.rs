//! What can be set of the family meters.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::alarms::AlarmSettings;
use crate::engine::{Millis, TenantSettings};
use crate::settings::{Document, Problem, Span, within};

const DAY: Millis = 86_400_000;

/// Settings of the family meters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MetersSettings {
    /// Disorder allowance: how long a meter waits for readings that come out of order; 0s declares that none do.
    pub allowance: Span,
    /// A reading above this opens an alarm, in watts.
    pub alarm_above: i64,
    /// A reading above this is none that a meter can have, in watts: it goes to the dead letters.
    pub implausible_above: i64,
}

impl Default for MetersSettings {
    /// 1 min, 5 kW, 100 kW.
    fn default() -> Self {
        let AlarmSettings { above, implausible_above } = AlarmSettings::default();
        Self { allowance: Span(60_000), alarm_above: above, implausible_above }
    }
}

impl Document for MetersSettings {
    const FAMILY: &'static str = "meters";
    const DUPLICATE_HORIZON: Millis = 7 * DAY;
    type Operator = Self;

    fn check(&self) -> Result<(), Problem> {
        within("allowance", self.allowance, 0, DAY)?;
        if self.alarm_above <= self.implausible_above {
            return Ok(());
        }
        let reason = format!("{} is above implausible_above, {}", self.alarm_above, self.implausible_above);
        Err(Problem { path: "alarm_above".to_owned(), reason })
    }

    fn settings(&self) -> TenantSettings<Self> {
        TenantSettings { allowance: self.allowance.0, operator: self.clone() }
    }
}

/// What the operator of the alarms goes by.
impl From<MetersSettings> for AlarmSettings {
    fn from(settings: MetersSettings) -> Self {
        Self { above: settings.alarm_above, implausible_above: settings.implausible_above }
    }
}

/// The hourly totals go by nothing that can be set.
impl From<MetersSettings> for () {
    fn from(_: MetersSettings) {}
}
