//! Incidents: what went wrong, of all families. Topic `incidents`.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};

use crate::engine::Millis;
use crate::engine::rows::{RowMeta, versioned_row};

/// How grave an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Noticeable; it needs no action.
    Low,
    /// It should be looked into.
    Medium,
    /// To be acted on.
    High,
    /// To be acted on at once.
    Critical,
}

impl Severity {
    /// As the log and the API spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Something that went wrong. Topic `incidents`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Incident {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The family whose records are behind it.
    pub family: CompactString,
    /// Which rule found it, e.g. `sla_breach`.
    pub rule: CompactString,
    /// How grave it is.
    pub severity: Severity,
    /// What it is about, e.g. an issue's id.
    pub subject: String,
    /// One line for people.
    pub title: Arc<str>,
    /// When it began: for a breach its due time, never the time at which a timer fired (I2).
    pub started_at: Millis,
    /// When it ended, where it has.
    pub ended_at: Option<Millis>,
    /// What is particular to the rule.
    pub attributes: BTreeMap<CompactString, CompactString>,
}

versioned_row!(Incident, "incidents");
