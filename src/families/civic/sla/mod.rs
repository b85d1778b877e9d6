//! Service levels of civic issues: `sla-metrics` rows, and an incident for each breach.
//!
//! A report opens an issue with a due time: its own, else the tenant's default. The issue is resolved at
//! the first change to resolved or closed after which it stayed so, by event time. It meets its service
//! level when that is no later than its due time. A breach fires when the key's watermark has strictly
//! passed the due time of an issue that was not resolved by then; whatever arrives later corrects
//! both (I9): a closing updates the breach, one that was in time after all retracts it, and an issue
//! that is opened again retracts its metric.

mod issue;
pub mod rows;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use self::issue::Report;
pub use self::issue::{Issue, RULE};
use self::rows::SlaRow;
use crate::engine::{Context, EvidenceState, Millis, Operator, Rejection};
use crate::families::civic::event::{Body, CivicEvent, IssueStatusChanged, ReportSubmitted, alias, issue_id};

/// How many status changes an issue may have: bounds an entry of the state.
const CHANGES_LIMIT: usize = 256;

const DAY: Millis = 86_400_000;

/// What a tenant can set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlaSettings {
    /// Due time of a report without one of its own, counted from its opening; without it such a report has none.
    pub default_due: Option<Millis>,
    /// How long after it was resolved an issue still takes status changes; then its rows are final, and it is
    /// dropped (I9).
    pub grace: Millis,
}

impl Default for SlaSettings {
    /// 72 h, 30 days.
    fn default() -> Self {
        Self { default_due: Some(3 * DAY), grace: 30 * DAY }
    }
}

/// The operator.
#[derive(Debug, Clone, Copy)]
pub struct Sla {
    /// How long after its rows became final an issue's name is remembered: so long a status change is late, and told
    /// apart from one of an issue that never was.
    pub memory: Millis,
}

impl Default for Sla {
    fn default() -> Self {
        Self { memory: 30 * DAY }
    }
}

/// What an issue waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Wait {
    /// Its due time.
    Due(Uuid),
    /// The end of its grace.
    Final(Uuid),
    /// The time when not even its name is remembered.
    Forgotten(Uuid),
}

impl Operator for Sla {
    type Event = CivicEvent;
    type Name = Uuid;
    type Entry = Issue;
    type Timer = Wait;
    type Settings = SlaSettings;
    type Row = SlaRow;

    const NAME: &'static str = "sla";
    const VERSION: i32 = 2;

    fn record(&self, context: &mut Context<'_, Self>, event: &CivicEvent) -> Result<(), Rejection> {
        match &event.body {
            Body::ReportSubmitted(report) => self.open(context, event, report),
            Body::IssueStatusChanged(change) => self.change_status(context, event, change),
        }
    }

    fn timer(&self, context: &mut Context<'_, Self>, timer: &Wait, due: Millis) {
        match timer {
            Wait::Due(id) => {
                if let Some(mut issue) = context.get(id).cloned() {
                    issue.is_past_due = true;
                    issue.emit_changes(context, *id);
                    context.put(id, issue);
                }
            }
            Wait::Final(id) => {
                if let Some(issue) = context.get(id).cloned() {
                    issue.emit_final(context, *id);
                    context.remove(id);
                    context.cancel_timer(&Wait::Due(*id));
                    context.set_timer(&Wait::Forgotten(*id), due.saturating_add(self.memory));
                }
            }
            Wait::Forgotten(id) => context.forget_alias(&alias(context.tenant(), *id)),
        }
    }

    /// Issues that are not final yet are judged by the settings that are in force now.
    fn settings_changed(&self, context: &mut Context<'_, Self>) {
        let ids: Vec<Uuid> = context.entries().map(|(id, _)| *id).collect();
        for id in ids {
            let Some(mut issue) = context.get(&id).cloned() else { continue };
            let due_at = issue.due_under(context.settings());
            if due_at != issue.due_at {
                issue.due_at = due_at;
                // At once: what is past due already has waited for longer than D.
                issue.is_past_due = due_at.is_some_and(|due_at| due_at < context.watermark());
                match due_at.filter(|_| !issue.is_past_due) {
                    Some(due_at) => context.set_timer(&Wait::Due(id), due_at),
                    None => context.cancel_timer(&Wait::Due(id)),
                }
                issue.emit_changes(context, id);
            }
            issue.await_final(context, id);
            context.put(&id, issue);
        }
    }
}

impl Sla {
    fn open(
        &self,
        context: &mut Context<'_, Self>,
        event: &CivicEvent,
        report: &ReportSubmitted,
    ) -> Result<(), Rejection> {
        let id = issue_id(context.tenant(), &report.area, &event.event_id);
        let alias = alias(context.tenant(), id);
        if context.is_alias(&alias) {
            // The same report again, after the horizon of duplicates: it says nothing new, or nothing any more.
            return if context.get(&id).is_some() { Ok(()) } else { Err(Rejection::Late) };
        }
        let report = Report {
            area: report.area.as_str().into(),
            department: report.department.as_deref().map(Arc::from),
            title: format!("Overdue: {}", first_line(&report.description)).into(),
            event_id: event.event_id.as_str().into(),
            opened_at: event.occurred_at,
            due_at: report.due_at,
            first_arrival: context.append_time(),
        };
        let mut issue = Issue {
            report: Arc::new(report),
            due_at: None,
            changes: Vec::new(),
            evidence: EvidenceState::default(),
            is_past_due: false,
            emitted_metric: None,
            emitted_breach: None,
        };
        context.add_evidence(&mut issue.evidence);
        context.alias(&alias);
        issue.due_at = issue.due_under(context.settings());
        if let Some(due_at) = issue.due_at {
            context.set_timer(&Wait::Due(id), due_at);
        }
        context.put(&id, issue);
        Ok(())
    }

    fn change_status(
        &self,
        context: &mut Context<'_, Self>,
        event: &CivicEvent,
        change: &IssueStatusChanged,
    ) -> Result<(), Rejection> {
        let id = change.issue_id;
        // Its name led here, so there was an issue.
        let mut issue = context.get(&id).cloned().ok_or(Rejection::Late)?;
        if issue.changes.len() >= CHANGES_LIMIT {
            let message = format!("issue {id} already has {CHANGES_LIMIT} status changes");
            return Err(Rejection::Refused { reason: "too_many_changes", message });
        }
        let place = issue.changes.partition_point(|(at, _)| *at <= event.occurred_at);
        issue.changes.insert(place, (event.occurred_at, change.status));
        context.add_evidence(&mut issue.evidence);
        issue.emit_changes(context, id);
        issue.await_final(context, id);
        context.put(&id, issue);
        Ok(())
    }
}

/// The first line of a text, at most 120 characters.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

#[cfg(test)]
mod tests;
