//! `GET /v1/signals`: signs of frustration in sessions.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answers;
use super::answers::Answer;
use super::cursor::Cursor;
use super::listed;
use super::listed::{ListRequest, Listed, ListsOf, Page, PageParameters, RowFilter};
use super::live::{Live, RowsByTopic, SIGNALS};
use super::parameters::Parameters;
use super::positions::{Reader, Source};
use super::queries::{Filter, Parameter, TenantQueries};
use super::rows::Rows;
use super::{references, rfc3339};
use crate::codec::json;
use crate::engine::Millis;
use crate::engine::rows::RecordReference;
use crate::families::interactions::frustration::rows::Signal;
use crate::http::ApiError;
use crate::tools::explain::Reference;

/// A signal, as it is answered.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize, ToSchema)]
#[schema(as = Signal)]
pub struct SignalAnswer {
    /// Its id, the same in all its versions.
    #[schema(format = Uuid)]
    id: String,
    /// Orders its versions. As a text, for many a client's numbers end at 2^53.
    #[serde(serialize_with = "json::number_as_text")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    version: u64,
    operator: String,
    operator_version: i32,
    /// The settings in force: an offset of the topic `settings`.
    settings_version: i64,
    /// The session, as its producer names it.
    session_id: String,
    /// Which rule found it.
    rule: String,
    /// The route on which it began.
    route: String,
    /// The selector of the element that it is about, without what is generated in it.
    element: Option<String>,
    /// The element's fingerprint, the same from build to build of the page.
    element_id: Option<String>,
    /// When its first event happened.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) started_at: Millis,
    /// When its last event happened.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    ended_at: Millis,
    /// How many events it took: clicks, submits, reversals …
    count: i32,
    /// What it counts towards a score, in thousandths.
    weight: i32,
    /// The system itself answered with an error.
    is_error: bool,
    /// The incident of which it is part.
    #[schema(format = Uuid)]
    incident_id: Option<String>,
    /// When the first record behind it came; by it lists are sorted.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    first_arrival: Millis,
    /// Nothing will change it any more.
    r#final: bool,
    evidence_count: u64,
    #[serde(deserialize_with = "references::of_tuples")]
    #[schema(value_type = Vec<Reference>)]
    evidence_first: Vec<RecordReference>,
    #[serde(deserialize_with = "references::of_tuples")]
    #[schema(value_type = Vec<Reference>)]
    evidence_last: Vec<RecordReference>,
}

impl From<Signal> for SignalAnswer {
    fn from(signal: Signal) -> Self {
        Self {
            id: signal.meta.id.to_string(),
            // Versions are never negative.
            version: signal.meta.version.unsigned_abs(),
            operator: signal.meta.operator.into(),
            operator_version: signal.meta.operator_version,
            settings_version: signal.meta.settings_version,
            session_id: signal.session_id.into(),
            rule: signal.rule.into(),
            route: signal.route.into(),
            element: signal.element.map(String::from),
            element_id: signal.element_id.map(String::from),
            started_at: signal.started_at,
            ended_at: signal.ended_at,
            count: signal.count,
            weight: signal.weight,
            is_error: signal.is_error,
            incident_id: signal.incident_id.map(|id| id.to_string()),
            first_arrival: signal.meta.first_arrival,
            r#final: signal.meta.is_final,
            evidence_count: signal.meta.evidence.count.unsigned_abs(),
            evidence_first: signal.meta.evidence.first,
            evidence_last: signal.meta.evidence.last,
        }
    }
}

impl Listed for SignalAnswer {
    type Filter = SignalFilter;
    const TOPIC: &'static str = SIGNALS;
    const NOUN: &'static str = "signal";
    const VIEW: &'static str = "signals_current";
    const COLUMNS: &'static str = "toString(id) AS id, version, operator, operator_version, settings_version, session_id, \
        rule, route, element, element_id, toUnixTimestamp64Milli(started_at) AS started_at, \
        toUnixTimestamp64Milli(ended_at) AS ended_at, count, weight, is_error, toString(incident_id) AS incident_id, \
        toUnixTimestamp64Milli(first_arrival) AS first_arrival, toBool(final) AS final, evidence_count, \
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
        let texts = [&self.id, &self.session_id, &self.rule, &self.route, &self.operator].into_iter();
        let others = [&self.element, &self.element_id, &self.incident_id].into_iter().flatten();
        size_of::<Self>()
            + texts.chain(others).map(String::len).sum::<usize>()
            + references::bytes(&self.evidence_first)
            + references::bytes(&self.evidence_last)
    }

    fn among(rows: &RowsByTopic) -> &Rows<Self> {
        &rows.signals
    }
}

/// The parameters of a [`SignalFilter`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what SignalFilter takes")]
struct FilterParameters {
    /// The session, as its producer names it.
    session: Option<String>,
    /// The rule that found it.
    rule: Option<String>,
    /// The route on which it began.
    route: Option<String>,
    /// Begun at that time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Begun before that time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// Which signals are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SignalFilter {
    pub(super) incident: Option<Uuid>,
    pub(super) session: Option<String>,
    pub(super) rule: Option<String>,
    pub(super) route: Option<String>,
    pub(super) from: Option<Millis>,
    pub(super) to: Option<Millis>,
}

impl RowFilter for SignalFilter {
    type Row = SignalAnswer;

    fn take(parameters: &mut Parameters) -> Result<Self, ApiError> {
        Ok(Self {
            incident: None,
            session: parameters.text("session"),
            rule: parameters.text("rule"),
            route: parameters.text("route"),
            from: parameters.time("from")?,
            to: parameters.time("to")?,
        })
    }

    fn sql(&self) -> Filter {
        let text = |value: &Option<String>| value.clone().map(Parameter::Text);
        Filter::default()
            .and_if("incident_id = ?", self.incident.map(Parameter::Id))
            .and_if("session_id = ?", text(&self.session))
            .and_if("rule = ?", text(&self.rule))
            .and_if("route = ?", text(&self.route))
            .and_if("started_at >= ?", self.from.map(Parameter::Time))
            .and_if("started_at < ?", self.to.map(Parameter::Time))
    }

    fn matches(&self, signal: &SignalAnswer) -> bool {
        let is = |wanted: &Option<String>, found: &str| wanted.as_ref().is_none_or(|wanted| wanted == found);
        let incident = self.incident.map(|id| id.to_string());
        incident.is_none_or(|id| signal.incident_id.as_ref() == Some(&id))
            && is(&self.session, &signal.session_id)
            && is(&self.rule, &signal.rule)
            && is(&self.route, &signal.route)
            && self.from.is_none_or(|from| signal.started_at >= from)
            && self.to.is_none_or(|to| signal.started_at < to)
    }

    fn bytes(&self) -> usize {
        [&self.session, &self.rule, &self.route].into_iter().flatten().map(String::len).sum()
    }
}

/// A page of signals, the last to arrive first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Signals<'a> {
    #[schema(value_type = Vec<SignalAnswer>)]
    signals: &'a [SignalAnswer],
    /// Where the next page begins; `null` on the last one.
    next_cursor: Option<&'a str>,
    /// How many match the filters, on all pages.
    total: u64,
}

impl<'a> From<&'a Page<SignalAnswer>> for Signals<'a> {
    fn from(page: &'a Page<SignalAnswer>) -> Self {
        Self { signals: &page.rows, next_cursor: page.next_cursor.as_deref(), total: page.total }
    }
}

/// Signs of frustration in sessions, the last to arrive first, in pages.
#[utoipa::path(
    get,
    path = "/v1/signals",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(FilterParameters, PageParameters, answers::MinAsOf, answers::IfNoneMatch),
    responses(
        (status = 200, description = "A page.", body = inline(Answer<'static, Signals<'static>>),
            headers(("ETag" = String, description = "Of the page."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this page."),
    )
)]
pub async fn list(
    queries: TenantQueries,
    State(live): State<Live>,
    State(lists): State<ListsOf<SignalAnswer>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    let request = ListRequest::parse(parameters)?;
    let mut freshness = live.reached(&[Source::Rows(SIGNALS, Reader::Tables)], wanted.as_ref()).await;
    let page = listed::page(&queries, &live, &lists, request, &mut freshness).await?;
    answers::of_list(&headers, &Signals::from(&*page), &freshness)
}
