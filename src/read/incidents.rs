//! `GET /v1/incidents`, `GET /v1/incidents/{id}` and its signals: what went wrong.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers;
use super::answers::Answer;
use super::cursor::Cursor;
use super::incident_filter::{FilterParameters, IncidentFilter, SeverityName};
use super::listed;
use super::listed::{ListRequest, Listed, ListsOf, Page, PageParameters};
use super::live::{INCIDENTS, Live, RowsByTopic, SIGNALS};
use super::parameters::Parameters;
use super::positions::{Reader, Source};
use super::queries::TenantQueries;
use super::rows::Rows;
use super::signals::{SignalAnswer, SignalFilter, Signals};
use super::{references, rfc3339, rfc3339_or_null};
use crate::codec::json;
use crate::engine::Millis;
use crate::engine::rows::RecordReference;
use crate::families::incident::Incident;
use crate::http::{ApiError, Path};
use crate::tools::explain::Reference;

/// An incident, as it is answered.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize, ToSchema)]
#[schema(as = Incident)]
pub struct IncidentAnswer {
    /// Its id, the same in all its versions.
    #[schema(format = Uuid)]
    pub id: String,
    /// Orders its versions. As a text, for many a client's numbers end at 2^53.
    #[serde(serialize_with = "json::number_as_text")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub version: u64,
    operator: String,
    operator_version: i32,
    /// The settings in force: an offset of the topic `settings`.
    settings_version: i64,
    pub(super) family: String,
    pub(super) rule: String,
    #[schema(value_type = SeverityName)]
    pub(super) severity: String,
    pub(super) subject: String,
    title: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) started_at: Millis,
    /// `null` while it is open.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) ended_at: Option<Millis>,
    /// When the first record behind it came; by it lists are sorted.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) first_arrival: Millis,
    /// Nothing will change it any more.
    r#final: bool,
    /// What is particular to the rule.
    pub(super) attributes: BTreeMap<String, String>,
    evidence_count: u64,
    #[serde(deserialize_with = "references::of_tuples")]
    #[schema(value_type = Vec<Reference>)]
    evidence_first: Vec<RecordReference>,
    #[serde(deserialize_with = "references::of_tuples")]
    #[schema(value_type = Vec<Reference>)]
    evidence_last: Vec<RecordReference>,
}

impl From<Incident> for IncidentAnswer {
    fn from(incident: Incident) -> Self {
        let Incident { meta, family, rule, severity, subject, title, started_at, ended_at, attributes } =
            incident;
        Self {
            id: meta.id.to_string(),
            // Versions are never negative.
            version: meta.version.unsigned_abs(),
            operator: meta.operator.into(),
            operator_version: meta.operator_version,
            settings_version: meta.settings_version,
            family: family.into(),
            rule: rule.into(),
            severity: severity.as_str().to_owned(),
            subject,
            title: title.as_ref().to_owned(),
            started_at,
            ended_at,
            first_arrival: meta.first_arrival,
            r#final: meta.is_final,
            attributes: attributes.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
            evidence_count: meta.evidence.count.unsigned_abs(),
            evidence_first: meta.evidence.first,
            evidence_last: meta.evidence.last,
        }
    }
}

impl Listed for IncidentAnswer {
    type Filter = IncidentFilter;
    const TOPIC: &'static str = INCIDENTS;
    const NOUN: &'static str = "incident";
    const VIEW: &'static str = "incidents_current";
    const COLUMNS: &'static str = "toString(id) AS id, version, operator, operator_version, settings_version, family, rule, \
        toString(severity) AS severity, subject, title, toUnixTimestamp64Milli(started_at) AS started_at, \
        toUnixTimestamp64Milli(ended_at) AS ended_at, toUnixTimestamp64Milli(first_arrival) AS first_arrival, \
        toBool(final) AS final, attributes, evidence_count, \
        CAST(evidence_first AS Array(Tuple(String, Int32, Int64, String))) AS evidence_first, \
        CAST(evidence_last AS Array(Tuple(String, Int32, Int64, String))) AS evidence_last";

    fn id(&self) -> Option<Uuid> {
        Uuid::parse_str(&self.id).ok()
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn cursor(&self) -> Option<Cursor> {
        Some(Cursor { first_arrival: self.first_arrival, id: self.id()? })
    }

    fn bytes(&self) -> usize {
        let attributes =
            self.attributes.iter().map(|(name, value)| 64 + name.len() + value.len()).sum::<usize>();
        size_of::<Self>()
            + references::bytes(&self.evidence_first)
            + references::bytes(&self.evidence_last)
            + attributes
            + self.id.len()
            + self.subject.len()
            + self.title.len()
            + 64
    }

    fn among(rows: &RowsByTopic) -> &Rows<Self> {
        &rows.incidents
    }
}

/// A page of incidents, the last to arrive first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Incidents<'a> {
    #[schema(value_type = Vec<IncidentAnswer>)]
    incidents: &'a [IncidentAnswer],
    /// Where the next page begins; `null` on the last one.
    next_cursor: Option<&'a str>,
    /// How many match the filters, on all pages.
    total: u64,
}

impl<'a> From<&'a Page<IncidentAnswer>> for Incidents<'a> {
    fn from(page: &'a Page<IncidentAnswer>) -> Self {
        Self { incidents: &page.rows, next_cursor: page.next_cursor.as_deref(), total: page.total }
    }
}

/// Incidents, the last to arrive first, in pages. A filter `attribute.NAME` is one on the attribute of that name.
#[utoipa::path(
    get,
    path = "/v1/incidents",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        FilterParameters,
        PageParameters,
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "A page.", body = inline(Answer<'static, Incidents<'static>>),
            headers(("ETag" = String, description = "Of the page."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this page."),
    )
)]
pub async fn list(
    queries: TenantQueries,
    State(live): State<Live>,
    State(lists): State<ListsOf<IncidentAnswer>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    let request = ListRequest::parse(parameters)?;
    let mut freshness = live.reached(&[Source::Rows(INCIDENTS, Reader::Tables)], wanted.as_ref()).await;
    let page = listed::page(&queries, &live, &lists, request, &mut freshness).await?;
    answers::of_list(&headers, &Incidents::from(&*page), &freshness)
}

/// An incident.
#[utoipa::path(
    get,
    path = "/v1/incidents/{id}",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        ("id" = Uuid, Path, description = "Its id."),
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "The incident as it stands.", body = inline(Answer<'static, IncidentAnswer>),
            headers(("ETag" = String, description = "Its version."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this version."),
    )
)]
pub async fn one(
    queries: TenantQueries,
    State(live): State<Live>,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    parameters.finish()?;
    let id = listed::id_of::<IncidentAnswer>(&id)?;
    let mut freshness = live.reached(&[Source::Rows(INCIDENTS, Reader::Tail)], wanted.as_ref()).await;
    let row = listed::find::<IncidentAnswer>(&queries, &live, id, &mut freshness).await?;
    Ok(answers::of_row(&headers, row.version, &*row, &freshness))
}

/// The signals of which an incident of the family interactions is made, the last to arrive first, in pages.
#[utoipa::path(
    get,
    path = "/v1/incidents/{id}/signals",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        ("id" = Uuid, Path, description = "The incident's id."),
        PageParameters,
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "A page; empty for incidents of other families.",
            body = inline(Answer<'static, Signals<'static>>),
            headers(("ETag" = String, description = "Of the page."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this page."),
    )
)]
pub async fn signals(
    queries: TenantQueries,
    State(live): State<Live>,
    State(lists): State<ListsOf<SignalAnswer>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    let mut request = ListRequest::parse_with(SignalFilter::default(), parameters)?;
    let id = listed::id_of::<IncidentAnswer>(&id)?;
    request.filter.incident = Some(id);
    let sources = [Source::Rows(INCIDENTS, Reader::Tail), Source::Rows(SIGNALS, Reader::Tables)];
    let mut freshness = live.reached(&sources, wanted.as_ref()).await;
    // Whether there is such an incident.
    listed::find::<IncidentAnswer>(&queries, &live, id, &mut freshness).await?;
    let page = listed::page(&queries, &live, &lists, request, &mut freshness).await?;
    answers::of_list(&headers, &Signals::from(&*page), &freshness)
}
