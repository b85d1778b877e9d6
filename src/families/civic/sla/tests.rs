use super::*;
use crate::engine::rows::RowMeta;
use crate::engine::{FamilySettings, Outcome, Payload, TestDriver};
use crate::families::civic::event::IssueStatus;

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
        assert!(matches!(last("SlaMetric"), Some(SlaRow::Metric(row)) if row.resolved_at == 95 && !row.met));
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
