//! What the operator emits.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::Millis;
use crate::engine::rows::{RowMeta, operator_rows, versioned_row};
use crate::families::incident::Incident;

operator_rows! {
    /// What the operator emits.
    pub enum SlaRow {
        Incident(Incident),
        Metric(SlaMetric),
    }
}

/// Where a due time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DueSource {
    /// The report's own.
    Reported,
    /// The tenant's default.
    Default,
}

impl DueSource {
    /// As the log and the API spell it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Default => "default",
        }
    }
}

/// How a resolved issue stands to its due time. Topic `sla-metrics`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlaMetric {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The issue.
    pub issue_id: Uuid,
    /// Its area.
    pub area: Arc<str>,
    /// Its department, if known.
    pub department: Option<Arc<str>>,
    /// When it was opened.
    pub opened_at: Millis,
    /// When it was due.
    pub due_at: Millis,
    /// Where the due time comes from.
    pub due_source: DueSource,
    /// When it was resolved.
    pub resolved_at: Millis,
    /// `resolved_at − opened_at`, in milliseconds; 0 where that is negative.
    pub resolution_ms: i64,
    /// Resolved no later than due.
    pub met: bool,
}

versioned_row!(SlaMetric, "sla-metrics");
