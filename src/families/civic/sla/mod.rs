//! Service levels of civic issues: `sla-metrics` rows, and an incident for each breach.
//!
//! A report opens an issue with a due time: its own, else the tenant's default. The issue is resolved at
//! the first change to resolved or closed after which it stayed so, by event time. It meets its service
//! level when that is no later than its due time. A breach fires when the key's watermark has strictly
//! passed the due time of an issue that was not resolved by then; whatever arrives later corrects
//! both (I9): a closing updates the breach, one that was in time after all retracts it, and an issue
//! that is opened again retracts its metric.

pub mod rows;

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::Millis;
use crate::families::civic::event::{Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, alias, issue_id};
use crate::engine::rows::RowMeta;
use self::rows::{DueSource, SlaMetric, SlaRow};
use crate::families::incident::{Incident, Severity};
use crate::engine::{Context, Operator, Rejection, EvidenceState};

/// The rule's name in `incidents`.
pub const RULE: &str = "sla_breach";

/// The kind of the metric's row, beside [`RULE`].
const METRIC: &str = "sla-metrics";

/// How many status changes an issue may have: bounds an entry of the state.
const CHANGES_LIMIT: usize = 256;

const DAY: Millis = 86_400_000;

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

/// What is kept of an issue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Issue {
    report: Arc<Report>,
    /// The due time that holds; none where the tenant has no default.
    due_at: Option<Millis>,
    /// (event time, status), by event time, then by arrival.
    changes: Vec<(Millis, IssueStatus)>,
    evidence: EvidenceState,
    /// The watermark has passed the due time.
    is_past_due: bool,
    /// What was last emitted, so that only changes are.
    emitted_metric: Option<Metric>,
    emitted_breach: Option<Breach>,
}

/// What its report said, which never changes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Report {
    area: Arc<str>,
    department: Option<Arc<str>>,
    title: Arc<str>,
    /// Event id of the report: names the issue's rows.
    event_id: Box<str>,
    opened_at: Millis,
    /// The report's own due time.
    due_at: Option<Millis>,
    first_arrival: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Metric {
    due_at: Millis,
    resolved_at: Millis,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Breach {
    due_at: Millis,
    ended_at: Option<Millis>,
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
        context.add_evidence(&mut issue.evidence, event);
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
        context.add_evidence(&mut issue.evidence, event);
        issue.emit_changes(context, id);
        issue.await_final(context, id);
        context.put(&id, issue);
        Ok(())
    }
}

impl Issue {
    /// When it is due: its report's own time comes before the tenant's default.
    fn due_under(&self, settings: &SlaSettings) -> Option<Millis> {
        self.report.due_at.or_else(|| Some(self.report.opened_at.saturating_add(settings.default_due?)))
    }

    fn due_source(&self) -> DueSource {
        if self.report.due_at.is_some() { DueSource::Reported } else { DueSource::Default }
    }

    /// Sets the timer at which its rows become final: its grace after it was resolved and due.
    fn await_final(&self, context: &mut Context<'_, Sla>, id: Uuid) {
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
    fn emit_changes(&mut self, context: &mut Context<'_, Sla>, id: Uuid) {
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
    fn emit_final(&self, context: &mut Context<'_, Sla>, id: Uuid) {
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

/// The first line of a text, at most 120 characters.
fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{FamilySettings, Outcome, Payload, TestDriver};

    const HOUR: Millis = 3_600_000;

    /// Issues of one area, at times of the test's choice.
    struct Log {
        driver: TestDriver<Sla>,
        count: u32,
    }

    impl Log {
        fn new(allowance: Millis) -> Self {
            let settings = FamilySettings::new(allowance, 1000 * HOUR);
            Self { driver: TestDriver::new(Sla::default, settings), count: 0 }
        }

        fn open(&mut self, append_time: Millis, id: &str, at: Millis, due_at: Option<Millis>) -> Uuid {
            let report = ReportSubmitted {
                area: "a".into(),
                description: "d".into(),
                due_at,
                department: None,
                address: None,
                latitude: None,
                longitude: None,
                source: None,
            };
            let body = Body::ReportSubmitted(report);
            let event = CivicEvent { tenant: "t".into(), event_id: id.into(), occurred_at: at, body };
            assert_eq!(self.driver.append("t/a", append_time, event), Outcome::Folded);
            issue_id("t", "a", id)
        }

        fn change(&mut self, append_time: Millis, issue: Uuid, at: Millis, status: IssueStatus) -> Outcome {
            let body = Body::IssueStatusChanged(IssueStatusChanged { issue_id: issue, status });
            self.count += 1;
            let event_id = format!("change-{}", self.count);
            let event = CivicEvent { tenant: "t".into(), event_id, occurred_at: at, body };
            self.driver.append("t/x", append_time, event)
        }

        fn mark(&mut self, append_time: Millis) {
            self.driver.mark(append_time);
        }

        /// What has been emitted since the last look: `+breach`, `-metric` …, with its end.
        fn emitted(&mut self) -> Vec<String> {
            let sign = |meta: &RowMeta| match (meta.retracted, meta.is_final) {
                (true, _) => '-',
                (_, true) => '=',
                _ => '+',
            };
            let show = |row: SlaRow| match row {
                SlaRow::Incident(row) => format!("{}breach {:?}", sign(&row.meta), row.ended_at),
                SlaRow::Metric(row) => format!("{}metric met={}", sign(&row.meta), row.met),
                SlaRow::DeadLetter(row) => row.reason,
                SlaRow::LateEvent(row) => format!("late {}", row.event_id),
            };
            self.driver.take().into_iter().map(show).collect()
        }
    }

    #[test]
    fn i3_a_breach_fires_strictly_after_the_due_time() {
        let mut log = Log::new(0);
        log.open(1000, "1", 10, Some(100));
        log.open(1000, "2", 100, Some(5000));
        assert!(log.emitted().is_empty(), "the watermark has reached 100, not passed it");
        log.mark(1001);
        assert_eq!(log.emitted(), ["+breach None"]);
    }

    #[test]
    fn i3_a_timer_fires_before_the_record_that_moves_the_watermark_past_it() {
        let mut log = Log::new(0);
        let issue = log.open(1000, "1", 10, Some(100));
        log.change(1000, issue, 300, IssueStatus::Closed);
        assert_eq!(log.emitted(), ["+breach None", "+metric met=false", "+breach Some(300)"]);
    }

    #[test]
    fn i3_another_keys_records_do_not_make_it_late() {
        let mut log = Log::new(10);
        log.open(1000, "1", 10, Some(100));
        log.mark(1100);
        assert!(log.emitted().is_empty(), "watermark 10 - 10 + 100");
        log.mark(1101);
        assert_eq!(log.emitted(), ["+breach None"]);
    }

    #[test]
    fn a_loaded_pair_is_not_a_breach() {
        let mut log = Log::new(HOUR);
        let now = 1000 * HOUR;
        log.open(now, "0", now, Some(now + HOUR));
        let issue = log.open(now, "1", HOUR, Some(2 * HOUR));
        log.change(now + 1, issue, HOUR + 5, IssueStatus::Closed);
        log.mark(now + HOUR);
        assert_eq!(log.emitted(), ["+metric met=true"], "an old pair waits for what arrives with it");
    }

    #[test]
    fn with_ordered_input_a_report_that_is_overdue_at_once_breaches_at_once() {
        let mut log = Log::new(0);
        log.open(1000, "1", 500, Some(400));
        assert_eq!(log.emitted(), ["+breach None"]);
    }

    #[test]
    fn i9_late_closings_correct_what_was_emitted() {
        let mut log = Log::new(0);
        let issue = log.open(1000, "1", 10, Some(100));
        log.mark(2000);
        assert_eq!(log.emitted(), ["+breach None"]);
        log.change(2001, issue, 300, IssueStatus::Resolved);
        assert_eq!(log.emitted(), ["+metric met=false", "+breach Some(300)"]);
        log.change(2002, issue, 90, IssueStatus::Closed);
        assert_eq!(log.emitted(), ["+metric met=true", "-breach Some(300)"]);
        log.change(2003, issue, 200, IssueStatus::Open);
        assert_eq!(log.emitted(), ["+metric met=false", "+breach Some(300)"]);
        log.change(2004, issue, 400, IssueStatus::InProgress);
        assert_eq!(log.emitted(), ["-metric met=false", "+breach None"]);
    }

    #[test]
    fn the_order_of_arrival_of_changes_does_not_matter() {
        let changes = [
            (50, IssueStatus::InProgress),
            (80, IssueStatus::Resolved),
            (90, IssueStatus::Open),
            (95, IssueStatus::Closed),
        ];
        for order in [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1]] {
            let mut log = Log::new(0);
            let issue = log.open(1000, "1", 10, Some(92));
            for index in order {
                let (at, status) = changes[index];
                log.change(1000, issue, at, status);
            }
            log.mark(2000);
            let rows = log.driver.take();
            let last = |wanted: &str| rows.iter().rev().find(|row| format!("{row:?}").contains(wanted));
            assert!(
                matches!(last("SlaMetric"), Some(SlaRow::Metric(row)) if row.resolved_at == 95 && !row.met)
            );
            assert!(matches!(last("Incident"), Some(SlaRow::Incident(row)) if row.ended_at == Some(95)));
        }
    }

    #[test]
    fn i7_refusals_are_dead_letters_with_a_reason() {
        let mut log = Log::new(0);
        let issue = log.open(1000, "1", 10, Some(100_000));
        assert_eq!(log.change(1000, Uuid::nil(), 20, IssueStatus::Closed), Outcome::DeadLettered);
        assert_eq!(log.change(1000, issue, 1000 + 300_001, IssueStatus::Closed), Outcome::DeadLettered);
        for _ in 0..CHANGES_LIMIT {
            assert_eq!(log.change(1000, issue, 20, IssueStatus::InProgress), Outcome::Folded);
        }
        assert_eq!(log.change(1000, issue, 30, IssueStatus::Closed), Outcome::DeadLettered);
        let torn = log.driver.append_payload(None, 1000, Payload::Undecodable("torn".into()));
        assert_eq!(torn, Outcome::DeadLettered);
        assert_eq!(log.emitted(), ["unknown_id", "future_event", "too_many_changes", "undecodable"]);
    }

    #[test]
    fn i9_an_issue_is_final_after_its_grace_and_what_comes_then_is_late() {
        let mut log = Log::new(0);
        let issue = log.open(1000, "1", 10, Some(100));
        log.change(2000, issue, 300, IssueStatus::Closed);
        assert_eq!(log.emitted(), ["+breach None", "+metric met=false", "+breach Some(300)"]);
        log.mark(2000 + 30 * DAY);
        assert!(log.emitted().is_empty(), "the watermark has reached the end of the grace, not passed it");
        log.mark(2001 + 30 * DAY);
        assert_eq!(log.emitted(), ["=metric met=false", "=breach Some(300)"]);
        assert_eq!(log.change(2002 + 30 * DAY, issue, 400, IssueStatus::Open), Outcome::Late);
        assert_eq!(log.emitted(), ["late change-2"]);
        log.mark(2003 + 90 * DAY);
        assert_eq!(log.change(2004 + 90 * DAY, issue, 400, IssueStatus::Open), Outcome::DeadLettered);
        assert_eq!(log.emitted(), ["unknown_id"]);
    }
}
