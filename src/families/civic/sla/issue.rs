//! An issue: what is kept of it, and the rows that follow from that.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::rows::{DueSource, SlaMetric, SlaRow};
use super::{Sla, SlaSettings, Wait};
use crate::engine::rows::RowMeta;
use crate::engine::{Context, EvidenceState, Millis};
use crate::families::civic::event::IssueStatus;
use crate::families::incident::{Incident, Severity};

/// The rule's name in `incidents`.
pub const RULE: &str = "sla_breach";

/// The kind of the metric's row, beside [`RULE`].
const METRIC: &str = "sla-metrics";

/// What is kept of an issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    pub(super) report: Arc<Report>,
    /// The due time that holds; none where the tenant has no default.
    pub(super) due_at: Option<Millis>,
    /// (event time, status), by event time, then by arrival.
    pub(super) changes: Vec<(Millis, IssueStatus)>,
    pub(super) evidence: EvidenceState,
    /// The watermark has passed the due time.
    pub(super) is_past_due: bool,
    /// What was last emitted, so that only changes are.
    pub(super) emitted_metric: Option<Metric>,
    pub(super) emitted_breach: Option<Breach>,
}

/// What its report said, which never changes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Report {
    pub area: Arc<str>,
    pub department: Option<Arc<str>>,
    pub title: Arc<str>,
    /// Event id of the report: names the issue's rows.
    pub event_id: Box<str>,
    pub opened_at: Millis,
    /// The report's own due time.
    pub due_at: Option<Millis>,
    pub first_arrival: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Metric {
    due_at: Millis,
    resolved_at: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Breach {
    due_at: Millis,
    ended_at: Option<Millis>,
}

impl Issue {
    /// When it is due: its report's own time comes before the tenant's default.
    pub(super) fn due_under(&self, settings: &SlaSettings) -> Option<Millis> {
        self.report.due_at.or_else(|| Some(self.report.opened_at.saturating_add(settings.default_due?)))
    }

    fn due_source(&self) -> DueSource {
        if self.report.due_at.is_some() { DueSource::Reported } else { DueSource::Default }
    }

    /// Sets the timer at which its rows become final: its grace after it was resolved and due.
    pub(super) fn await_final(&self, context: &mut Context<'_, Sla>, id: Uuid) {
        let resolved_at = self.resolved_at();
        let Some(at) = resolved_at.map(|at| self.due_at.map_or(at, |due_at| at.max(due_at))) else {
            return context.cancel_timer(&Wait::Final(id));
        };
        let at = at.saturating_add(context.settings().grace);
        context.set_timer(&Wait::Final(id), at);
    }

    /// When it was resolved for good, as far as is known: the first resolving change after the last other one.
    fn resolved_at(&self) -> Option<Millis> {
        let open = self.changes.iter().rposition(|(_, status)| !status.is_resolved());
        let resolving = self.changes.get(open.map_or(0, |index| index + 1)..)?;
        resolving.first().map(|(at, _)| *at)
    }

    /// Emits what differs from what was last emitted. A retraction is the row as it last was, marked.
    pub(super) fn emit_changes(&mut self, context: &mut Context<'_, Sla>, id: Uuid) {
        let resolved_at = self.resolved_at();
        let metric = self.due_at.zip(resolved_at).map(|(due_at, resolved_at)| Metric { due_at, resolved_at });
        if metric != self.emitted_metric {
            if let Some(row) = metric.or(self.emitted_metric) {
                self.emit_metric(context, id, row, |meta| meta.retracted = metric.is_none());
            }
            self.emitted_metric = metric;
        }
        let missed =
            self.due_at.filter(|due_at| self.is_past_due && resolved_at.is_none_or(|at| at > *due_at));
        let breach = missed.map(|due_at| Breach { due_at, ended_at: resolved_at });
        if breach != self.emitted_breach {
            if let Some(row) = breach.or(self.emitted_breach) {
                self.emit_breach(context, id, row, |meta| meta.retracted = breach.is_none());
            }
            self.emitted_breach = breach;
        }
    }

    /// Emits what holds once more, as final.
    pub(super) fn emit_final(&self, context: &mut Context<'_, Sla>, id: Uuid) {
        if let Some(metric) = self.emitted_metric {
            self.emit_metric(context, id, metric, |meta| meta.is_final = true);
        }
        if let Some(breach) = self.emitted_breach {
            self.emit_breach(context, id, breach, |meta| meta.is_final = true);
        }
    }

    fn emit_metric(
        &self,
        context: &mut Context<'_, Sla>,
        id: Uuid,
        metric: Metric,
        mark: impl FnOnce(&mut RowMeta),
    ) {
        let report = &*self.report;
        let mut meta = context.row_meta(&[METRIC, &report.event_id], report.first_arrival, &self.evidence);
        mark(&mut meta);
        let Metric { due_at, resolved_at } = metric;
        context.emit(SlaRow::Metric(SlaMetric {
            meta,
            issue_id: id,
            area: Arc::clone(&report.area),
            department: report.department.clone(),
            opened_at: report.opened_at,
            due_at,
            due_source: self.due_source(),
            resolved_at,
            resolution_ms: resolved_at.saturating_sub(report.opened_at).max(0),
            met: resolved_at <= due_at,
        }));
    }

    fn emit_breach(
        &self,
        context: &mut Context<'_, Sla>,
        id: Uuid,
        breach: Breach,
        mark: impl FnOnce(&mut RowMeta),
    ) {
        let report = &*self.report;
        let mut meta = context.row_meta(&[RULE, &report.event_id], report.first_arrival, &self.evidence);
        mark(&mut meta);
        let mut attributes: BTreeMap<CompactString, CompactString> = BTreeMap::from([
            ("area".into(), (&*report.area).into()),
            ("due_source".into(), self.due_source().as_str().into()),
        ]);
        if let Some(department) = &report.department {
            attributes.insert("department".into(), (&**department).into());
        }
        context.emit(SlaRow::Incident(Incident {
            meta,
            family: "civic".into(),
            rule: RULE.into(),
            severity: Severity::High,
            subject: id.to_string(),
            title: Arc::clone(&report.title),
            started_at: breach.due_at,
            ended_at: breach.ended_at,
            attributes,
        }));
    }
}
