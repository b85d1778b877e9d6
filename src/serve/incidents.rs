//! `GET /v1/incidents` and `GET /v1/incidents/{id}`: what went wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::answers::{self, Answer};
use super::cursor::Cursor;
use super::incident_filter::{FilterParameters, IncidentFilter, SeverityName};
use super::lists::Lists;
use super::live::{INCIDENTS, Live};
use super::parameters::Parameters;
use super::positions::Reader;
use super::queries::{Filter, Parameter, RETRY_AFTER, Select, TenantQueries};
use super::rows::{Arrival, Lookup};
use super::{rfc3339, rfc3339_or_null};
use crate::codec::json;
use crate::event::Millis;
use crate::event::derived::{Incident, RecordReference};
use crate::hindsight::explain::Reference;
use crate::http::{ApiError, Path, Tenant};

const SELECT: Select = Select {
    columns: "toString(id) AS id, version, operator, operator_version, settings_version, family, rule, \
        toString(severity) AS severity, subject, title, toUnixTimestamp64Milli(started_at) AS started_at, \
        toUnixTimestamp64Milli(ended_at) AS ended_at, toUnixTimestamp64Milli(first_arrival) AS first_arrival, \
        toBool(final) AS final, attributes, evidence_count, \
        CAST(evidence_first AS Array(Tuple(String, Int32, Int64, String))) AS evidence_first, \
        CAST(evidence_last AS Array(Tuple(String, Int32, Int64, String))) AS evidence_last",
    from: "incidents_current",
    // The order of the table itself, so that a page reads little more than its rows; and it never changes for an
    // incident, so that no correction moves one from page to page.
    tail: "ORDER BY first_arrival DESC, id DESC",
};

const COUNT: Select = Select { columns: "count() AS total", from: "incidents_current", tail: "" };

const DEFAULT_LIMIT: u64 = 100;
const MOST: u64 = 1000;

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
    first_arrival: Millis,
    /// Nothing will change it any more.
    r#final: bool,
    /// What is particular to the rule.
    pub(super) attributes: BTreeMap<String, String>,
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

impl IncidentAnswer {
    fn cursor(&self) -> Option<Cursor> {
        Some(Cursor { first_arrival: self.first_arrival, id: Uuid::parse_str(&self.id).ok()? })
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        let reference =
            |reference: &RecordReference| size_of::<RecordReference>() + reference.event_id.len() + 16;
        let references = self.evidence_first.iter().chain(&self.evidence_last).map(reference).sum::<usize>();
        let attributes =
            self.attributes.iter().map(|(name, value)| 64 + name.len() + value.len()).sum::<usize>();
        size_of::<Self>()
            + references
            + attributes
            + self.id.len()
            + self.subject.len()
            + self.title.len()
            + 64
    }
}

/// A page of incidents, the last to arrive first.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = Incidents)]
pub struct Page {
    incidents: Vec<IncidentAnswer>,
    /// Where the next page begins; `null` on the last one.
    next_cursor: Option<String>,
    /// How many match the filters, on all pages.
    total: u64,
}

impl Page {
    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.incidents.iter().map(IncidentAnswer::bytes).sum()
    }

    /// The page without what this node knows to be outdated: of each row the newest version that it has seen. And whether it
    /// has seen a newer one that it no longer has.
    fn with_newer(&self, live: &Live, tenant: &Tenant, filter: &IncidentFilter) -> (Option<Self>, bool) {
        let mut is_outdated = false;
        let newer = self.incidents.iter().enumerate().filter_map(|(index, shown)| {
            match live.incident(tenant, Uuid::parse_str(&shown.id).ok()?) {
                Lookup::Row(row) if row.version > shown.version => Some((index, Some(row))),
                Lookup::Retracted => Some((index, None)),
                Lookup::AtLeast(version) => {
                    is_outdated |= version > shown.version;
                    None
                }
                _ => None,
            }
        });
        let newer: BTreeMap<usize, Option<Arc<IncidentAnswer>>> = newer.collect();
        if newer.is_empty() {
            return (None, is_outdated);
        }
        let shown = self.incidents.iter().enumerate().filter_map(|(index, shown)| match newer.get(&index) {
            None => Some(shown.clone()),
            Some(row) => row.as_ref().filter(|row| filter.matches(row)).map(|row| row.as_ref().clone()),
        });
        let incidents: Vec<_> = shown.collect();
        let gone = (self.incidents.len() - incidents.len()) as u64;
        let newer =
            Self { incidents, next_cursor: self.next_cursor.clone(), total: self.total.saturating_sub(gone) };
        (Some(newer), is_outdated)
    }
}

#[derive(Debug, Row, Deserialize)]
struct Total {
    total: u64,
}

/// Incidents, the last to arrive first, in pages. A filter `attribute.NAME` is one on the attribute of that name.
#[utoipa::path(
    get,
    path = "/v1/incidents",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        FilterParameters,
        ("limit" = Option<u64>, Query, minimum = 1, maximum = 1000, description = "Rows of a page; 100 without it."),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before."),
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "A page.", body = inline(Answer<'static, Page>),
            headers(("ETag" = String, description = "Of the page."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this page."),
    )
)]
pub async fn list(
    queries: TenantQueries,
    State(live): State<Live>,
    State(lists): State<Lists<ListRequest, Page>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    let request = ListRequest::parse(parameters)?;
    let mut freshness = live.reached(INCIDENTS, Reader::Tables, wanted.as_ref()).await;
    // Before the rows: what they are is at least what this stands for.
    let generation = live.generation(INCIDENTS);
    let page = lists.get(queries.tenant(), request.clone(), generation, request.read(&queries)).await?;
    let (newer, is_outdated) = page.with_newer(&live, queries.tenant(), &request.filter);
    freshness.stale |= is_outdated;
    match newer {
        Some(newer) => answers::of_list(&headers, &newer, &freshness),
        None => answers::of_list(&headers, &*page, &freshness),
    }
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
    let id = Uuid::parse_str(&id).map_err(|_| missing())?;
    let mut freshness = live.reached(INCIDENTS, Reader::Tail, wanted.as_ref()).await;
    let known = live.incident(queries.tenant(), id);
    let result = if matches!(known, Lookup::Row(_) | Lookup::Retracted) { "hit" } else { "miss" };
    metrics::counter!("tidewatch_cache_lookups_total", "of" => INCIDENTS, "result" => result).increment(1);
    let known = match known {
        Lookup::AtLeast(_) | Lookup::Unknown => {
            let may_keep = live.may_keep();
            let filter = Filter::default().and("id = ?", [Parameter::Id(id)]);
            if let Some(row) = queries.fetch::<IncidentAnswer>(SELECT, &filter, 1).await?.pop() {
                let (version, bytes, tenant) = (row.version, row.bytes(), queries.tenant().clone());
                let row = Arc::new(row);
                if may_keep {
                    live.learn(Arrival { id, tenant, version, row: Some(row.clone()), bytes, place: None });
                }
                // It may have come on the log meanwhile.
                match live.incident(queries.tenant(), id) {
                    Lookup::Unknown => Lookup::Row(row),
                    Lookup::AtLeast(seen) => {
                        freshness.stale |= version < seen;
                        Lookup::Row(row)
                    }
                    newest => newest,
                }
            } else {
                live.incident(queries.tenant(), id)
            }
        }
        known => known,
    };
    match known {
        Lookup::Row(row) => Ok(answers::of_row(&headers, row.version, &*row, &freshness)),
        Lookup::AtLeast(_) => {
            Err(ApiError::unavailable("the incident is on its way to its table", RETRY_AFTER))
        }
        Lookup::Retracted | Lookup::Unknown => Err(missing()),
    }
}

pub(super) fn missing() -> ApiError {
    ApiError::not_found("there is no such incident")
}

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListRequest {
    filter: IncidentFilter,
    after: Option<Cursor>,
    limit: u64,
}

impl ListRequest {
    fn parse(mut parameters: Parameters) -> Result<Self, ApiError> {
        let limit = |text: &str| text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
        let filter = IncidentFilter::take(&mut parameters)?;
        let after = parameters.parsed("cursor", "the next_cursor of the page before", Cursor::decode)?;
        let limit = parameters.parsed("limit", "1 to 1000", limit)?.unwrap_or(DEFAULT_LIMIT);
        parameters.finish()?;
        Ok(Self { filter, after, limit })
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        size_of::<Self>() + self.filter.bytes()
    }

    async fn read(&self, queries: &TenantQueries) -> Result<Page, ApiError> {
        let filter = self.filter.sql();
        let mut page = filter.clone();
        if let Some(Cursor { first_arrival, id }) = self.after {
            let last = [Parameter::Time(first_arrival), Parameter::Id(id)];
            page = page.and("(first_arrival, id) < (?, ?)", last);
        }
        // One more than asked for tells whether there is a next page.
        let (mut incidents, totals) = tokio::try_join!(
            queries.fetch::<IncidentAnswer>(SELECT, &page, self.limit + 1),
            queries.fetch::<Total>(COUNT, &filter, 1),
        )?;
        let more = incidents.len() as u64 > self.limit;
        incidents.truncate(self.limit as usize);
        let next_cursor =
            incidents.last().filter(|_| more).and_then(IncidentAnswer::cursor).map(Cursor::encode);
        Ok(Page { incidents, next_cursor, total: totals.first().map_or(0, |row| row.total) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn incident(id: u128, version: u64, severity: &str) -> IncidentAnswer {
        let row = serde_json::json!({
            "id": Uuid::from_u128(id), "version": version, "operator": "sla", "operator_version": 1, "settings_version": 0,
            "family": "civic", "rule": "sla_breach", "severity": severity, "subject": "x", "title": "x", "started_at": 0,
            "ended_at": null, "first_arrival": 0, "final": false, "attributes": {}, "evidence_count": 0,
            "evidence_first": [], "evidence_last": [],
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn a_page_is_no_older_than_what_was_seen() {
        let tenant = Tenant::new("a");
        let page = Page {
            incidents: (0..5).map(|id| incident(id, 5, "high")).collect(),
            next_cursor: None,
            total: 5,
        };
        let filter = IncidentFilter::of_severity("high");
        let learn = |live: &Live| {
            for (id, version, row) in
                [(0, 6, Some("high")), (1, 6, Some("low")), (2, 6, None), (3, 4, Some("high"))]
            {
                let row = row.map(|severity| Arc::new(incident(id, version, severity)));
                let (id, tenant, place) = (Uuid::from_u128(id), tenant.clone(), Some((0, 9)));
                live.learn(Arrival { id, tenant, version, row, bytes: 100, place });
            }
        };
        let live = Live::new(1 << 20);
        assert!(matches!(page.with_newer(&live, &tenant, &filter), (None, false)));
        learn(&live);
        let (newer, is_outdated) = page.with_newer(&live, &tenant, &filter);
        let newer = newer.unwrap();
        let versions: Vec<_> = newer.incidents.iter().map(|row| row.version).collect();
        assert_eq!((versions, newer.total, is_outdated), (vec![6, 5, 5], 3, false));
        // It has seen them, and had to let go of them before a table may have had them.
        let live = Live::new(0);
        learn(&live);
        assert!(matches!(page.with_newer(&live, &tenant, &filter), (None, true)));
    }
}
