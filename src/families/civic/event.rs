//! The civic family: citizens' reports and what becomes of the issues they open.
//!
//! Topic `civic`, key `tenant/area`, schema `schemas/avro/*-civic.avsc`.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::engine::{Event, Identity, Millis, id};

/// The area of a report that names none.
pub const UNKNOWN_AREA: &str = "unknown";

/// One record of the family topic `civic`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CivicEvent {
    /// The tenant, from the API key.
    pub tenant: String,
    /// The producer's id of this event, unique within the tenant; repeats are duplicates.
    pub event_id: String,
    /// When it happened.
    pub occurred_at: Millis,
    /// What happened.
    pub body: Body,
}

/// What happened. The order of the variants is the order of the Avro union.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// A citizen reported something; it opens an issue.
    ReportSubmitted(ReportSubmitted),
    /// Staff changed the status of an issue.
    IssueStatusChanged(IssueStatusChanged),
}

/// A report as submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ReportSubmitted {
    /// Neighbourhood, building, zone …; [`UNKNOWN_AREA`] where the reporter gave none.
    pub area: String,
    /// What was reported, in the reporter's words.
    pub description: String,
    /// When it was promised to be resolved, if the report says so.
    pub due_at: Option<Millis>,
    /// The responsible department, if the report names one.
    pub department: Option<String>,
    /// The address, as given.
    pub address: Option<String>,
    /// Degrees north, WGS 84.
    pub latitude: Option<f64>,
    /// Degrees east, WGS 84.
    pub longitude: Option<f64>,
    /// The channel through which it came (phone, app, staff …).
    pub source: Option<String>,
}

/// A change of an issue's status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IssueStatusChanged {
    /// The issue, as named in the answer to the report that opened it.
    pub issue_id: Uuid,
    /// The status from then on.
    pub status: IssueStatus,
}

/// The status of an issue. The order of the variants is the order of the Avro symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IssueStatus {
    /// Reported, not yet worked on (or opened again).
    Open,
    /// Being worked on.
    InProgress,
    /// Fixed.
    Resolved,
    /// Ended, fixed or not.
    Closed,
}

impl IssueStatus {
    /// Every status, as the API spells it.
    pub const NAMES: [&str; 4] = ["open", "in_progress", "resolved", "closed"];

    /// Whether the clock of a service level has stopped.
    pub fn is_resolved(self) -> bool {
        matches!(self, Self::Resolved | Self::Closed)
    }
}

impl CivicEvent {
    /// The key of its record: the area's; a change of status knows only the issue.
    pub fn record_key(&self) -> String {
        match &self.body {
            Body::ReportSubmitted(report) => key(&self.tenant, &report.area),
            Body::IssueStatusChanged(change) => alias(&self.tenant, change.issue_id),
        }
    }

    /// The hash that decides its partition: an issue's id carries that of the area's key.
    pub fn route(&self) -> u32 {
        match &self.body {
            Body::ReportSubmitted(report) => id::murmur2(key(&self.tenant, &report.area).as_bytes()),
            Body::IssueStatusChanged(change) => id::route(change.issue_id),
        }
    }
}

impl Event for CivicEvent {
    fn tenant(&self) -> &str {
        &self.tenant
    }

    fn identity(&self) -> Identity<'_> {
        Identity::Id(&self.event_id)
    }

    fn event_time(&self) -> Millis {
        self.occurred_at
    }

    fn alias(&self) -> Option<String> {
        match &self.body {
            Body::ReportSubmitted(_) => None,
            Body::IssueStatusChanged(change) => Some(alias(&self.tenant, change.issue_id)),
        }
    }
}

/// The key of an area: `tenant/area`.
pub fn key(tenant: &str, area: &str) -> String {
    [tenant, "/", area].concat()
}

/// The name under which a task finds an issue's key. It holds the tenant, so that it never leads to another tenant's issue.
pub fn alias(tenant: &str, issue: Uuid) -> String {
    key(tenant, issue.hyphenated().encode_lower(&mut Uuid::encode_buffer()))
}

/// The id of the issue that a report opens, known before the log is: see [`id::routed`].
pub fn issue_id(tenant: &str, area: &str, event_id: &str) -> Uuid {
    let key = key(tenant, area);
    id::routed(&[tenant, "issues", &key, event_id], &key)
}
