//! `GET /v1/incidents` and `GET /v1/incidents/{id}`: what went wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clickhouse::Row;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::parameters::Parameters;
use super::queries::{Filter, Parameter, Select, TenantQueries};
use super::{rfc3339, rfc3339_or_null};
use crate::event::Millis;
use crate::event::derived::RecordReference;
use crate::hindsight::explain::Reference;
use crate::http::{ApiError, NoParameters, Path};

const SELECT: Select = Select {
    columns: "toString(id) AS id, version, operator, operator_version, settings_version, family, rule, \
        toString(severity) AS severity, subject, title, toUnixTimestamp64Milli(started_at) AS started_at, \
        toUnixTimestamp64Milli(ended_at) AS ended_at, attributes, evidence_count, \
        CAST(evidence_first AS Array(Tuple(String, Int32, Int64, String))) AS evidence_first, \
        CAST(evidence_last AS Array(Tuple(String, Int32, Int64, String))) AS evidence_last",
    from: "incidents_current",
    tail: "ORDER BY started_at DESC, id DESC",
};

const COUNT: Select = Select { columns: "count() AS total", from: "incidents_current", tail: "" };

const DEFAULT_LIMIT: u64 = 100;
const MOST: u64 = 1000;

/// An incident, as it is answered.
#[derive(Debug, Row, Serialize, Deserialize, ToSchema)]
#[schema(as = Incident)]
pub struct IncidentAnswer {
    #[schema(format = Uuid)]
    id: String,
    version: u64,
    operator: String,
    operator_version: i32,
    /// The settings in force: an offset of the topic `settings`.
    settings_version: i64,
    family: String,
    rule: String,
    #[schema(value_type = SeverityName)]
    severity: String,
    subject: String,
    title: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    started_at: Millis,
    /// `null`: it is still open.
    #[serde(serialize_with = "rfc3339_or_null")]
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Millis>,
    attributes: BTreeMap<String, String>,
    evidence_count: u64,
    #[serde(deserialize_with = "references")]
    #[schema(value_type = Vec<Reference>)]
    evidence_first: Vec<RecordReference>,
    #[serde(deserialize_with = "references")]
    #[schema(value_type = Vec<Reference>)]
    evidence_last: Vec<RecordReference>,
}

/// ClickHouse's tuples come as tuples.
fn references<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<RecordReference>, D::Error> {
    let tuples = Vec::<(Arc<str>, i32, i64, Arc<str>)>::deserialize(deserializer)?;
    let reference =
        |(topic, partition, offset, event_id)| RecordReference { topic, partition, offset, event_id };
    Ok(tuples.into_iter().map(reference).collect())
}

/// A page of incidents, the newest first.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Incidents)]
pub struct Page {
    incidents: Vec<IncidentAnswer>,
    /// Where the next page begins; `null` on the last.
    next_cursor: Option<String>,
    /// How many match the filters, on all pages.
    total: u64,
}

#[derive(Debug, Row, Deserialize)]
struct Total {
    total: u64,
}

/// Incidents, the newest first, in pages. A filter `attribute.NAME` is one on the attribute of that name.
#[utoipa::path(
    get,
    path = "/v1/incidents",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        ("rule" = Option<String>, Query, description = "The rule that found it."),
        ("severity" = inline(Option<SeverityName>), Query, description = "How grave it is."),
        ("subject" = Option<String>, Query, description = "What it is about."),
        ("open" = Option<bool>, Query, description = "Whether it has no end yet."),
        ("from" = Option<String>, Query, format = DateTime, description = "Begun at that time or later."),
        ("to" = Option<String>, Query, format = DateTime, description = "Begun before that time."),
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Rows of a page; 100 without it."),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before."),
    ),
    responses((status = 200, description = "A page.", body = Page))
)]
pub async fn list(queries: TenantQueries, parameters: Parameters) -> Result<Json<Page>, ApiError> {
    let request = Request::parse(parameters)?;
    let mut page = request.filter.clone();
    if let Some(Cursor { started_at, id }) = request.after {
        page = page.and("(started_at, id) < (?, ?)", [Parameter::Time(started_at), Parameter::Id(id)]);
    }
    // One more than asked for tells whether there is a next page.
    let (mut incidents, totals) = tokio::try_join!(
        queries.fetch::<IncidentAnswer>(SELECT, &page, request.limit + 1),
        queries.fetch::<Total>(COUNT, &request.filter, 1),
    )?;
    let more = incidents.len() as u64 > request.limit;
    incidents.truncate(request.limit as usize);
    let next_cursor = incidents.last().filter(|_| more).and_then(Cursor::of).map(Cursor::encode);
    let total = totals.first().map_or(0, |row| row.total);
    Ok(Json(Page { incidents, next_cursor, total }))
}

/// An incident.
#[utoipa::path(
    get,
    path = "/v1/incidents/{id}",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(("id" = Uuid, Path, description = "Its id.")),
    responses((status = 200, description = "The incident as it stands.", body = IncidentAnswer))
)]
pub async fn one(
    queries: TenantQueries,
    Path(id): Path<String>,
    _: NoParameters,
) -> Result<Json<IncidentAnswer>, ApiError> {
    let id = Uuid::parse_str(&id).map_err(|_| missing())?;
    let filter = Filter::default().and("id = ?", [Parameter::Id(id)]);
    let found = queries.fetch(SELECT, &filter, 1).await?;
    found.into_iter().next().map(Json).ok_or_else(missing)
}

pub(super) fn missing() -> ApiError {
    ApiError::not_found("there is no such incident")
}

/// How grave an incident is.
#[derive(ToSchema)]
#[schema(as = Severity, rename_all = "snake_case")]
#[expect(dead_code, reason = "it describes Severity, which knows no HTTP (I2)")]
enum SeverityName {
    Low,
    Medium,
    High,
    Critical,
}

struct Request {
    filter: Filter,
    after: Option<Cursor>,
    limit: u64,
}

impl Request {
    fn parse(mut parameters: Parameters) -> Result<Self, ApiError> {
        let severity = |text: &str| {
            ["low", "medium", "high", "critical"].contains(&text).then(|| Parameter::Text(text.to_owned()))
        };
        let time = |text: &str| Some(Parameter::Time(text.parse::<jiff::Timestamp>().ok()?.as_millisecond()));
        let rfc3339 = "a time in RFC 3339, for example 2011-07-01T00:00:00Z";
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=MOST).contains(limit));

        let text = |value: Option<String>| value.map(Parameter::Text);
        let conditions = [
            ("rule = ?", text(parameters.text("rule"))),
            ("subject = ?", text(parameters.text("subject"))),
            ("severity = ?", parameters.parsed("severity", "low, medium, high or critical", severity)?),
            ("started_at >= ?", parameters.parsed("from", rfc3339, time)?),
            ("started_at < ?", parameters.parsed("to", rfc3339, time)?),
        ];
        let mut filter = Filter::default();
        for (condition, value) in conditions {
            if let Some(value) = value {
                filter = filter.and(condition, [value]);
            }
        }
        match parameters.parsed("open", "true or false", |text| text.parse().ok())? {
            Some(true) => filter = filter.and("ended_at IS NULL", []),
            Some(false) => filter = filter.and("ended_at IS NOT NULL", []),
            None => {}
        }
        for (name, value) in parameters.with_prefix("attribute.") {
            filter = filter.and("attributes[?] = ?", [Parameter::Text(name), Parameter::Text(value)]);
        }
        let after = parameters.parsed("cursor", "the next_cursor of the page before", Cursor::decode)?;
        let limit = parameters.parsed("limit", "1 to 1000", limit)?.unwrap_or(DEFAULT_LIMIT);
        parameters.finish()?;
        Ok(Self { filter, after, limit })
    }
}

/// The last incident of a page: the next page begins behind it, whatever was added or corrected before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Cursor {
    started_at: Millis,
    id: Uuid,
}

impl Cursor {
    fn of(incident: &IncidentAnswer) -> Option<Self> {
        Some(Self { started_at: incident.started_at, id: Uuid::parse_str(&incident.id).ok()? })
    }

    fn encode(self) -> String {
        let mut bytes = self.started_at.to_be_bytes().to_vec();
        bytes.extend_from_slice(self.id.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (started_at, id) = bytes.split_first_chunk()?;
        Some(Self { started_at: Millis::from_be_bytes(*started_at), id: Uuid::from_slice(id).ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        let cursor = Cursor { started_at: -5, id: Uuid::from_u128(7) };
        let text = cursor.encode();
        assert_eq!(Cursor::decode(&text), Some(cursor));
        for bad in ["", "x", "!!!!", &text[1..], &format!("{text}AAAA")] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
