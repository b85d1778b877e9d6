//! Derived rows: what operators emit, one struct a derived topic. Texts are short ones that lie in place, or shared with
//! the state from which they come: most records emit a row.

use std::collections::BTreeMap;
use std::sync::Arc;

use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::Millis;

/// What every derived row carries (I6, I8): its name, its version, and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowMeta {
    /// The row's id, the same in all its versions.
    pub id: Uuid,
    /// Orders the versions of the row: [`super::id::version`].
    pub version: i64,
    /// The row no longer holds; a later version may take that back.
    pub retracted: bool,
    /// Nothing will change the row any more: its window or entity is finalised, and dropped from the state (I9).
    #[serde(rename = "final", default)]
    pub is_final: bool,
    /// Of a retracted row: the row that has absorbed it.
    #[serde(default)]
    pub merged_into: Option<Uuid>,
    /// Whose it is.
    pub tenant: CompactString,
    /// The key under which it was folded.
    pub key: CompactString,
    /// Which operator emitted it.
    pub operator: CompactString,
    /// The operator's semantic version: the same log gives the same rows under the same version (I2).
    pub operator_version: i32,
    /// The settings in force: an offset of the `settings` topic (I4).
    pub settings_version: i64,
    /// Append time of the first record behind it; it never changes for an id.
    pub first_arrival: Millis,
    /// The records behind it.
    pub evidence: Evidence,
}

/// A record of a family topic, named for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordReference {
    /// Family topic.
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// The producer's event id.
    pub event_id: Arc<str>,
}

/// The records behind a row (I8): the first 8, the last 24 after those, and how many there were.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// How many records are behind the row.
    pub count: i64,
    /// The first of them, in the order of the log; at most 8.
    pub first: Vec<RecordReference>,
    /// The last of them, in the order of the log; at most 24, none of which is in `first`.
    pub last: Vec<RecordReference>,
}

/// How grave an incident is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing.
    Low,
    /// Worth a look.
    Medium,
    /// Worth acting on.
    High,
    /// Worth acting on now.
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

/// Whose word a due time is.
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
    /// Whose word the due time is.
    pub due_source: DueSource,
    /// When it was resolved.
    pub resolved_at: Millis,
    /// `resolved_at − opened_at`, in milliseconds; 0 where that is negative.
    pub resolution_ms: i64,
    /// Resolved no later than due.
    pub met: bool,
}

/// A sign of frustration in a session. Topic `signals`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Signal {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The producer's session.
    pub session_id: CompactString,
    /// Which rule found it.
    pub rule: CompactString,
    /// The route on which it began.
    pub route: CompactString,
    /// The selector of the element that it is about, without what is generated in it.
    pub element: Option<CompactString>,
    /// The element's fingerprint, the same from build to build of the page.
    pub element_id: Option<CompactString>,
    /// Time of its first event.
    pub started_at: Millis,
    /// Time of its last event.
    pub ended_at: Millis,
    /// How many events it took: clicks, submits, reversals …
    pub count: i32,
    /// What it counts towards a score, in thousandths.
    pub weight: i32,
    /// The system itself answered with an error.
    pub is_error: bool,
    /// The incident of which it is part.
    pub incident_id: Option<Uuid>,
}

/// What one user did in one sitting. Topic `sessions`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// Name, version, provenance.
    pub meta: RowMeta,
    /// The producer's session; after a long pause, or a day, another one has the same.
    pub session_id: CompactString,
    /// Who: a hash.
    pub user: Option<CompactString>,
    /// `desktop`, `mobile`, `tablet` …
    pub device: Option<CompactString>,
    /// The browser.
    pub browser: Option<CompactString>,
    /// The operating system.
    pub os: Option<CompactString>,
    /// Time of its first event.
    pub started_at: Millis,
    /// Time of its last event so far.
    pub ended_at: Millis,
    /// From the one to the other.
    pub duration_ms: i64,
    /// Without the pauses.
    pub active_ms: i64,
    /// It has ended.
    pub closed: bool,
    /// How many events it has.
    pub events: i64,
    /// Of each kind.
    pub counts: BTreeMap<CompactString, i64>,
    /// Its routes, in order; the first 50.
    pub routes: Vec<CompactString>,
    /// Its pages, in order; the first 50.
    pub pages: Vec<CompactString>,
    /// The first route.
    pub entry: CompactString,
    /// The last route.
    pub exit: CompactString,
    /// Errors, and requests that failed.
    pub errors: i64,
    /// Signs of frustration.
    pub signals: i32,
    /// Frustration, 0 to 100.
    pub score: i32,
    /// It had more events than are kept: late ones no longer change its signals.
    pub truncated: bool,
}

/// A record that could not be folded, kept whole. Topic `dead-letters`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Where it lies: topic.
    pub topic: String,
    /// Where it lies: partition.
    pub partition: i32,
    /// Where it lies: offset.
    pub offset: i64,
    /// When it was appended there.
    pub append_time: Millis,
    /// Its tenant, where that could be read.
    pub tenant: Option<String>,
    /// Its event id, where that could be read.
    pub event_id: Option<String>,
    /// Why, as a code: `undecodable`, `unknown_issue`, `future_event` …
    pub reason: String,
    /// Why, in words.
    pub message: String,
    /// The record's key, as it was.
    #[serde(with = "serde_bytes")]
    pub record_key: Option<Vec<u8>>,
    /// The record's value, as it was.
    #[serde(with = "serde_bytes")]
    pub record_value: Option<Vec<u8>>,
}

/// A record that came after everything it would change had been finalised and dropped (I9), kept whole. Topic
/// `late-events`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LateEvent {
    /// Where it lies: topic.
    pub topic: String,
    /// Where it lies: partition.
    pub partition: i32,
    /// Where it lies: offset.
    pub offset: i64,
    /// When it was appended there.
    pub append_time: Millis,
    /// When it happened.
    pub event_time: Millis,
    /// Its tenant.
    pub tenant: String,
    /// Its event id; empty where it has none.
    pub event_id: String,
    /// The operator for which it came too late.
    pub operator: String,
    /// The record's key, as it was.
    #[serde(with = "serde_bytes")]
    pub record_key: Option<Vec<u8>>,
    /// The record's value, as it was.
    #[serde(with = "serde_bytes")]
    pub record_value: Option<Vec<u8>>,
}

/// What became of a tenant's records in one hour of append time, in one partition (I7): `read` is the sum of the others.
/// Topic `accounting`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// The tenant; empty where records could not be read.
    pub tenant: String,
    /// Which operator counted.
    pub operator: String,
    /// The family topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The beginning of the hour.
    pub hour: Millis,
    /// Orders the versions of the row.
    pub version: i64,
    /// Data records read.
    pub read: i64,
    /// Of them, folded.
    pub folded: i64,
    /// Of them, seen before.
    pub duplicate: i64,
    /// Of them, late.
    pub late: i64,
    /// Of them, not foldable.
    pub dead_lettered: i64,
}

/// The end of what a task has written to a partition of a derived topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputEnd {
    /// The derived topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// The offset behind the last row.
    pub offset: i64,
}

/// How far a partition of a family topic has been folded. Topic `progress`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The family topic.
    pub topic: String,
    /// Its partition.
    pub partition: i32,
    /// Which operator.
    pub operator: String,
    /// The next offset to be folded.
    pub offset: i64,
    /// The partition's clock: the highest append time folded.
    pub clock: Millis,
    /// The settings in force.
    pub settings_version: i64,
    /// Where what follows from the log up to `offset` ends: a reader that has come so far has seen all of it. (Each end is a
    /// bound: where the worker took the partition over, it is the end that the derived topic had then.)
    pub outputs: Vec<OutputEnd>,
}

/// Something that goes to a derived topic.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    /// To `incidents`.
    Incident(Incident),
    /// To `sla-metrics`.
    SlaMetric(SlaMetric),
    /// To `signals`.
    Signal(Signal),
    /// To `sessions`.
    Session(Session),
    /// To `dead-letters`.
    DeadLetter(DeadLetter),
    /// To `late-events`.
    LateEvent(LateEvent),
}

impl From<LateEvent> for Row {
    fn from(late_event: LateEvent) -> Self {
        Self::LateEvent(late_event)
    }
}

impl From<DeadLetter> for Row {
    fn from(dead_letter: DeadLetter) -> Self {
        Self::DeadLetter(dead_letter)
    }
}
