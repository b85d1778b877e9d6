//! Service levels of civic issues: `sla-metrics` rows, and an incident for each breach.
//!
//! A report opens an issue with a due time: its own, else the tenant's default. The issue is resolved at
//! the first change to resolved or closed after which it stayed so, by event time. It meets its service
//! level when that is no later than its due time. A breach fires when the key's watermark has strictly
//! passed the due time of an issue that was not resolved by then; whatever arrives later corrects
//! both (I9): a closing updates the breach, one that was in time after all retracts it, and an issue
//! that is opened again retracts its metric.

use std::collections::BTreeMap;

use uuid::Uuid;

use crate::event::Millis;
use crate::event::civic::{
    Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, alias, issue_id,
};
use crate::event::derived::{DueSource, Evidence, Incident, Row, Severity, SlaMetric};
use crate::stream::{Context, Operator, Refusal, Timer};

/// The rule's name in `incidents`.
pub const RULE: &str = "sla_breach";

/// How many status changes an issue may have: bounds an entry of the state.
const CHANGES_LIMIT: usize = 256;

/// The operator; its settings are the tenant's defaults.
#[derive(Debug, Clone)]
pub struct Sla {
    /// Due time of a report without one of its own, counted from its opening.
    pub default_due: Millis,
}

/// What is kept of an issue.
#[derive(Debug, Clone, PartialEq)]
pub struct Issue {
    id: Uuid,
    report: ReportSubmitted,
    /// Event id of the report: names the issue's rows.
    event_id: String,
    opened_at: Millis,
    due_at: Millis,
    due_source: DueSource,
    first_arrival: Millis,
    /// (event time, status), by event time, then by arrival.
    changes: Vec<(Millis, IssueStatus)>,
    evidence: Evidence,
    /// The watermark has passed the due time.
    is_past_due: bool,
    /// What was last emitted, so that only changes are.
    emitted_metric: Option<Millis>,
    emitted_breach: Option<Breach>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Breach {
    ended_at: Option<Millis>,
}

impl Operator for Sla {
    type Event = CivicEvent;
    type Entry = Issue;
    type Row = Row;

    const NAME: &'static str = "sla";
    const VERSION: i32 = 1;

    fn record(&self, context: &mut Context<'_, Self>, event: &CivicEvent) -> Result<(), Refusal> {
        match &event.body {
            Body::ReportSubmitted(report) => {
                self.open(context, event, report);
                Ok(())
            }
            Body::IssueStatusChanged(change) => change_status(context, event, change),
        }
    }

    fn timer(&self, context: &mut Context<'_, Self>, timer: &Timer) {
        if let Some(mut issue) = context.take(&timer.name) {
            issue.is_past_due = true;
            issue.emit_changes(context);
            context.put(timer.name.clone(), issue);
        }
    }
}

impl Sla {
    fn open(&self, context: &mut Context<'_, Self>, event: &CivicEvent, report: &ReportSubmitted) {
        let id = issue_id(context.tenant(), &report.area, &event.event_id);
        let name = id.to_string();
        if context.get(&name).is_some() {
            return; // The same report again, after the horizon of duplicates: it says nothing new.
        }
        let (due_at, due_source) = match report.due_at {
            Some(due_at) => (due_at, DueSource::Reported),
            None => (event.occurred_at.saturating_add(self.default_due), DueSource::Default),
        };
        let mut evidence = Evidence::default();
        evidence.push(context.reference(event));
        context.alias(alias(context.tenant(), id));
        context.set_timer(due_at, name.clone());
        let issue = Issue {
            id,
            report: report.clone(),
            event_id: event.event_id.clone(),
            opened_at: event.occurred_at,
            due_at,
            due_source,
            first_arrival: context.append_time(),
            changes: Vec::new(),
            evidence,
            is_past_due: false,
            emitted_metric: None,
            emitted_breach: None,
        };
        context.put(name, issue);
    }
}

fn change_status(
    context: &mut Context<'_, Sla>,
    event: &CivicEvent,
    change: &IssueStatusChanged,
) -> Result<(), Refusal> {
    let name = change.issue_id.to_string();
    let issue = context
        .get(&name)
        .ok_or_else(|| Refusal { reason: "unknown_id", message: format!("there is no issue {name}") })?;
    if issue.changes.len() >= CHANGES_LIMIT {
        return Err(Refusal {
            reason: "too_many_changes",
            message: format!("issue {name} already has {CHANGES_LIMIT} status changes"),
        });
    }
    let reference = context.reference(event);
    if let Some(mut issue) = context.take(&name) {
        let place = issue.changes.partition_point(|(at, _)| *at <= event.occurred_at);
        issue.changes.insert(place, (event.occurred_at, change.status));
        issue.evidence.push(reference);
        issue.emit_changes(context);
        context.put(name, issue);
    }
    Ok(())
}

impl Issue {
    /// When it was resolved for good, as far as is known: the first resolving change after the last other one.
    fn resolved_at(&self) -> Option<Millis> {
        let open = self.changes.iter().rposition(|(_, status)| !status.is_resolved());
        let resolving = self.changes.get(open.map_or(0, |index| index + 1)..)?;
        resolving.first().map(|(at, _)| *at)
    }

    /// Emits what differs from what was last emitted.
    fn emit_changes(&mut self, context: &mut Context<'_, Sla>) {
        let resolved_at = self.resolved_at();
        if resolved_at != self.emitted_metric {
            self.emit_metric(context, resolved_at);
            self.emitted_metric = resolved_at;
        }
        let in_time = resolved_at.is_some_and(|at| at <= self.due_at);
        let breach = (self.is_past_due && !in_time).then_some(Breach { ended_at: resolved_at });
        if breach != self.emitted_breach {
            self.emit_breach(context, breach);
            self.emitted_breach = breach;
        }
    }

    fn emit_metric(&self, context: &mut Context<'_, Sla>, resolved_at: Option<Millis>) {
        let mut meta = context.row_meta("sla-metrics", &self.event_id, self.first_arrival, &self.evidence);
        // A retraction is the row as it last was, marked.
        let Some(at) = resolved_at.or(self.emitted_metric) else { return };
        meta.retracted = resolved_at.is_none();
        context.emit(Row::SlaMetric(SlaMetric {
            meta,
            issue_id: self.id,
            area: self.report.area.clone(),
            department: self.report.department.clone(),
            opened_at: self.opened_at,
            due_at: self.due_at,
            due_source: self.due_source,
            resolved_at: at,
            resolution_ms: at.saturating_sub(self.opened_at).max(0),
            met: at <= self.due_at,
        }));
    }

    fn emit_breach(&self, context: &mut Context<'_, Sla>, breach: Option<Breach>) {
        let mut meta = context.row_meta(RULE, &self.event_id, self.first_arrival, &self.evidence);
        meta.retracted = breach.is_none();
        let mut attributes = BTreeMap::from([
            ("area".to_owned(), self.report.area.clone()),
            ("due_source".to_owned(), self.due_source.as_str().to_owned()),
        ]);
        if let Some(department) = &self.report.department {
            attributes.insert("department".to_owned(), department.clone());
        }
        context.emit(Row::Incident(Incident {
            meta,
            family: "civic".to_owned(),
            rule: RULE.to_owned(),
            severity: Severity::High,
            subject: self.id.to_string(),
            title: format!("Overdue: {}", first_line(&self.report.description)),
            started_at: self.due_at,
            ended_at: breach.and_then(|breach| breach.ended_at),
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
    use crate::stream::{FamilySettings, Outcome, Payload, Record, Task};

    const HOUR: Millis = 3_600_000;

    /// A task whose records are appended at times of the test's choice.
    struct Log {
        task: Task<Sla>,
        offset: i64,
        rows: Vec<Row>,
    }

    impl Log {
        fn new(allowance: Millis) -> Self {
            let settings = FamilySettings {
                allowance,
                tenant_allowance: BTreeMap::new(),
                duplicate_horizon: 1000 * HOUR,
            };
            Self {
                task: Task::new(Sla { default_due: 72 * HOUR }, settings, "civic", 0, 0),
                offset: 0,
                rows: Vec::new(),
            }
        }

        fn append(&mut self, append_time: Millis, payload: Payload<CivicEvent>) -> Outcome {
            let record = Record { offset: self.offset, append_time, raw_key: None, raw_value: None, payload };
            self.offset += 1;
            self.task.process(record, &mut self.rows)
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
            assert_eq!(self.append(append_time, Payload::Event(event)), Outcome::Folded);
            issue_id("t", "a", id)
        }

        fn change(&mut self, append_time: Millis, issue: Uuid, at: Millis, status: IssueStatus) -> Outcome {
            let body = Body::IssueStatusChanged(IssueStatusChanged { issue_id: issue, status });
            let event_id = format!("change-{}", self.offset);
            let event = CivicEvent { tenant: "t".into(), event_id, occurred_at: at, body };
            self.append(append_time, Payload::Event(event))
        }

        fn mark(&mut self, append_time: Millis) {
            assert_eq!(self.append(append_time, Payload::Mark { settings_version: 0 }), Outcome::Mark);
        }

        /// What has been emitted since the last look: `+breach`, `-metric` …, with its end.
        fn emitted(&mut self) -> Vec<String> {
            let sign = |retracted| if retracted { '-' } else { '+' };
            let show = |row: Row| match row {
                Row::Incident(row) => format!("{}breach {:?}", sign(row.meta.retracted), row.ended_at),
                Row::SlaMetric(row) => format!("{}metric met={}", sign(row.meta.retracted), row.met),
                Row::DeadLetter(row) => row.reason,
            };
            self.rows.drain(..).map(show).collect()
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
        assert_eq!(log.emitted(), ["+metric met=true", "-breach None"]);
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
            let last =
                |wanted: &str| log.rows.iter().rev().find(|row| format!("{row:?}").contains(wanted)).cloned();
            assert!(
                matches!(last("SlaMetric"), Some(Row::SlaMetric(row)) if row.resolved_at == 95 && !row.met)
            );
            assert!(matches!(last("Incident"), Some(Row::Incident(row)) if row.ended_at == Some(95)));
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
        assert_eq!(log.append(1000, Payload::Undecodable("torn".into())), Outcome::DeadLettered);
        assert_eq!(log.emitted(), ["unknown_id", "future_event", "too_many_changes", "undecodable"]);
    }
}
