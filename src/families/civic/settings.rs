//! What can be set of the family civic.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::sla::SlaSettings;
use crate::engine::{Millis, TenantSettings};
use crate::settings::{Document, Problem, Span, within};

const DAY: Millis = 86_400_000;

/// Settings of the family civic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct CivicSettings {
    /// How far an area's records may be out of order: its watermark stays so far behind its newest record (Flink's bound of
    /// out-of-orderness). A breach is told so long after its due time. 0s: they come in order, and it is told at once.
    pub allowance: Span,
    /// How long an issue that is resolved and past its due time still takes late status changes. Then its rows are final, and what
    /// comes later goes to `late_events`.
    pub grace: Span,
    /// The due time of a report that has none of its own, counted from its opening. `null`: it has none.
    pub default_due: Option<Span>,
}

impl Default for CivicSettings {
    /// 1 h, 30 days, 72 h.
    fn default() -> Self {
        Self { allowance: Span(DAY / 24), grace: Span(30 * DAY), default_due: Some(Span(3 * DAY)) }
    }
}

impl Document for CivicSettings {
    const FAMILY: &'static str = "civic";
    const DUPLICATE_HORIZON: Millis = 30 * DAY;
    type Operator = SlaSettings;

    fn check(&self) -> Result<(), Problem> {
        within("allowance", self.allowance, 0, 30 * DAY)?;
        within("grace", self.grace, 0, 366 * DAY)?;
        self.default_due.map_or(Ok(()), |due| within("default_due", due, 1_000, 3_660 * DAY))
    }

    fn settings(&self) -> TenantSettings<SlaSettings> {
        let default_due = self.default_due.map(|due| due.0);
        TenantSettings {
            allowance: self.allowance.0,
            operator: SlaSettings { default_due, grace: self.grace.0 },
        }
    }
}
