//! Reports and changes of status as the API's JSON has them.

use axum::http::StatusCode;
use serde::de::value::{self, StrDeserializer};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::families::civic::event::{
    self, Body, CivicEvent, IssueStatus, IssueStatusChanged, ReportSubmitted, UNKNOWN_AREA,
};
use crate::http::ApiError;
use crate::ingest::body::{at, parse, whole};
use crate::ingest::fields;
use crate::ingest::item::{Item, Submission};

pub(super) const AREA: usize = 200;
const DESCRIPTION: usize = 8192;
pub(super) const DEPARTMENT: usize = 200;
pub(super) const ADDRESS: usize = 1000;
pub(super) const SOURCE: usize = 200;

/// What the answer says of an accepted item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Receipt {
    /// The event's id.
    pub(super) id: String,
    /// The issue that the report opens, or that changes its status.
    pub(super) issue_id: Uuid,
}

/// A report, as the API takes it. Without an `id` of its own it is new each time it is sent.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Report {
    /// The producer's own; it makes a repeat harmless.
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(format = DateTime)]
    due_at: Option<String>,
    #[schema(max_length = 200)]
    area: Option<String>,
    #[schema(max_length = 200)]
    department: Option<String>,
    #[schema(required, nullable = false, min_length = 1, max_length = 8192)]
    description: Option<String>,
    #[schema(max_length = 1000)]
    address: Option<String>,
    /// Only with `longitude`.
    #[schema(minimum = -90, maximum = 90)]
    latitude: Option<f64>,
    /// Only with `latitude`.
    #[schema(minimum = -180, maximum = 180)]
    longitude: Option<f64>,
    #[schema(max_length = 200)]
    source: Option<String>,
}

/// A change of status, as the API takes it where the issue is in the path.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Change {
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(value_type = IssueStatusName)]
    status: Option<String>,
}

/// The status of an issue.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = IssueStatus)]
enum IssueStatusName {
    Open,
    #[serde(alias = "in-progress")]
    InProgress,
    Resolved,
    Closed,
}

/// A change of status, as the API takes it in a batch. (serde can't flatten and refuse unknown fields.)
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeOf {
    #[schema(value_type = Uuid)]
    issue_id: Option<String>,
    #[schema(min_length = 1, max_length = 128)]
    id: Option<String>,
    /// Now, without it.
    #[schema(format = DateTime)]
    occurred_at: Option<String>,
    #[schema(value_type = IssueStatusName)]
    status: Option<String>,
}

/// An item of the batch of both kinds: one of them.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Either<'a> {
    #[serde(borrow)]
    #[schema(value_type = Option<Report>)]
    report: Option<&'a RawValue>,
    #[serde(borrow)]
    #[schema(value_type = Option<ChangeOf>)]
    status: Option<&'a RawValue>,
}

/// What a bare item is told from others by.
#[derive(Deserialize)]
pub(super) struct Shape<'a> {
    #[serde(borrow)]
    pub report: Option<&'a RawValue>,
    #[serde(borrow)]
    pub status: Option<&'a RawValue>,
    #[serde(borrow)]
    pub issue_id: Option<&'a RawValue>,
}

/// An item of the batch of both kinds.
pub(super) fn either(item: &Item<'_>, (): &()) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    match parse::<Either<'_>>(item.json, item.path)? {
        Either { report: Some(json), status: None } => {
            let path = at(item.path, "report");
            report(item, parse(json, &path)?, &path)
        }
        Either { report: None, status: Some(json) } => change_of(item, json, &at(item.path, "status")),
        _ => Err(ApiError::invalid(whole(item.path), "expected exactly one of report and status")),
    }
}

pub(super) fn change_of(
    item: &Item<'_>,
    json: &RawValue,
    path: &str,
) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    let ChangeOf { issue_id: issue, id, occurred_at, status } = parse(json, path)?;
    let field = at(path, "issue_id");
    let issue = issue.ok_or_else(|| ApiError::invalid(field.as_str(), "missing"))?;
    change(item, issue_id(&issue, &field)?, Change { id, occurred_at, status }, path)
}

pub(super) fn report(
    item: &Item<'_>,
    report: Report,
    path: &str,
) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    let event_id = fields::event_id(report.id, item.new_id, path)?;
    let occurred_at = fields::occurred_at(report.occurred_at.as_deref(), item.arrival, path)?;
    let due_at = report.due_at.map(|text| fields::time(&text, &at(path, "due_at"))).transpose()?;
    let area = fields::text(report.area, AREA, path, "area")?.unwrap_or_else(|| UNKNOWN_AREA.to_owned());
    let description = described(report.description, path)?;
    let place = fields::place(report.latitude, report.longitude, path)?;
    let receipt = Receipt { id: event_id.clone(), issue_id: event::issue_id(item.tenant, &area, &event_id) };
    let body = Body::ReportSubmitted(ReportSubmitted {
        area,
        description,
        due_at,
        department: fields::text(report.department, DEPARTMENT, path, "department")?,
        address: fields::text(report.address, ADDRESS, path, "address")?,
        latitude: place.map(|(latitude, _)| latitude),
        longitude: place.map(|(_, longitude)| longitude),
        source: fields::text(report.source, SOURCE, path, "source")?,
    });
    let event = CivicEvent { tenant: item.tenant.to_owned(), event_id, occurred_at, body };
    Ok(Submission { event, receipt })
}

pub(super) fn change(
    item: &Item<'_>,
    issue_id: Uuid,
    change: Change,
    path: &str,
) -> Result<Submission<CivicEvent, Receipt>, ApiError> {
    let event_id = fields::event_id(change.id, item.new_id, path)?;
    let occurred_at = fields::occurred_at(change.occurred_at.as_deref(), item.arrival, path)?;
    let status = issue_status(change.status.as_deref(), &at(path, "status"))?;
    let receipt = Receipt { id: event_id.clone(), issue_id };
    let body = Body::IssueStatusChanged(IssueStatusChanged { issue_id, status });
    let event = CivicEvent { tenant: item.tenant.to_owned(), event_id, occurred_at, body };
    Ok(Submission { event, receipt })
}

fn issue_status(text: Option<&str>, field: &str) -> Result<IssueStatus, ApiError> {
    let text = text.ok_or_else(|| ApiError::invalid(field, "missing"))?;
    let name = IssueStatusName::deserialize(StrDeserializer::<value::Error>::new(text)).map_err(|_| {
        let known = IssueStatus::NAMES.join(", ");
        ApiError::invalid(field, format!("{:?} is unknown; expected one of {known}", fields::shortened(text)))
    })?;
    Ok(match name {
        IssueStatusName::Open => IssueStatus::Open,
        IssueStatusName::InProgress => IssueStatus::InProgress,
        IssueStatusName::Resolved => IssueStatus::Resolved,
        IssueStatusName::Closed => IssueStatus::Closed,
    })
}

/// An issue's id. Whether there is such an issue, only the task of its partition knows.
pub(super) fn issue_id(text: &str, field: &str) -> Result<Uuid, ApiError> {
    Uuid::try_parse(text).map_err(|_| {
        ApiError::new(StatusCode::NOT_FOUND, "malformed_id", "there is no issue of that id")
            .with_details(field, format!("{:?} is no issue's id; expected a UUID", fields::shortened(text)))
    })
}

/// What a report says, which is never missing.
pub(super) fn described(text: Option<String>, path: &str) -> Result<String, ApiError> {
    fields::text(text, DESCRIPTION, path, "description")?
        .ok_or_else(|| ApiError::invalid(at(path, "description"), "missing or blank"))
}
