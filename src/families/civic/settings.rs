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
    /// Disorder allowance: how long an area waits for records that come out of order; 0s declares that none do.
    pub allowance: Span,
    /// How long after it was resolved an issue still takes status changes; then its rows are final.
    pub grace: Span,
    /// Due time of a report without one of its own, counted from its opening; null: it has none.
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
