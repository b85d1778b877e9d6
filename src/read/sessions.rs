//! `GET /v1/sessions` and `GET /v1/sessions/{id}`: what users did in one sitting each.

use std::collections::BTreeMap;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use compact_str::CompactString;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::answers;
use super::answers::Answer;
use super::cursor::Cursor;
use super::listed;
use super::listed::{ListRequest, Listed, ListsOf, Page, PageParameters, RowFilter};
use super::live::{Live, RowsByTopic, SESSIONS};
use super::parameters::Parameters;
use super::positions::{Reader, Source};
use super::queries::{Filter, Parameter, TenantQueries};
use super::rfc3339;
use super::rows::Rows;
use crate::codec::json;
use crate::engine::Millis;
use crate::families::interactions::frustration::rows::Session;
use crate::http::{ApiError, Path};

/// A session, as it is answered.
#[derive(Debug, Clone, PartialEq, Row, Serialize, Deserialize, ToSchema)]
#[schema(as = Session)]
pub struct SessionAnswer {
    /// Its id, the same in all its versions.
    #[schema(format = Uuid)]
    id: String,
    /// Orders its versions. As a text, for many a client's numbers end at 2^53.
    #[serde(serialize_with = "json::number_as_text")]
    #[schema(value_type = String, pattern = "^[0-9]+$")]
    pub(super) version: u64,
    operator: String,
    operator_version: i32,
    /// The settings in force: an offset of the topic `settings`.
    settings_version: i64,
    /// As its producer names it; after a long pause, or a day, another one has the same.
    pub(super) session_id: String,
    /// Who: a hash.
    user: Option<String>,
    /// `desktop`, `mobile`, `tablet` …
    device: Option<String>,
    browser: Option<String>,
    os: Option<String>,
    /// When its first event happened.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) started_at: Millis,
    /// When its last event so far happened.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) ended_at: Millis,
    duration_ms: i64,
    /// Without the pauses.
    active_ms: i64,
    /// It has ended.
    closed: bool,
    /// How many events it has.
    events: u64,
    /// How many of each kind.
    counts: BTreeMap<String, u64>,
    /// Its routes in order, the first 50.
    routes: Vec<String>,
    /// URLs of its pages in order, the first 50.
    pages: Vec<String>,
    /// The first route.
    entry: String,
    /// The last route.
    exit: String,
    /// Errors, and requests that failed.
    errors: u64,
    /// Signs of frustration.
    signals: i32,
    /// Frustration, 0 to 100.
    score: i32,
    /// It had more events than are kept: late ones no longer change its signals.
    truncated: bool,
    /// When the first record behind it came; by it lists are sorted.
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    pub(super) first_arrival: Millis,
    /// Nothing will change it any more.
    r#final: bool,
}

impl From<Session> for SessionAnswer {
    fn from(session: Session) -> Self {
        let count = |(kind, count): (CompactString, i64)| (kind.into(), count.unsigned_abs());
        let texts = |texts: Vec<CompactString>| texts.into_iter().map(String::from).collect();
        Self {
            id: session.meta.id.to_string(),
            // Neither versions nor counts are ever negative.
            version: session.meta.version.unsigned_abs(),
            operator: session.meta.operator.into(),
            operator_version: session.meta.operator_version,
            settings_version: session.meta.settings_version,
            session_id: session.session_id.into(),
            user: session.user.map(String::from),
            device: session.device.map(String::from),
            browser: session.browser.map(String::from),
            os: session.os.map(String::from),
            started_at: session.started_at,
            ended_at: session.ended_at,
            duration_ms: session.duration_ms,
            active_ms: session.active_ms,
            closed: session.closed,
            events: session.events.unsigned_abs(),
            counts: session.counts.into_iter().map(count).collect(),
            routes: texts(session.routes),
            pages: texts(session.pages),
            entry: session.entry.into(),
            exit: session.exit.into(),
            errors: session.errors.unsigned_abs(),
            signals: session.signals,
            score: session.score,
            truncated: session.truncated,
            first_arrival: session.meta.first_arrival,
            r#final: session.meta.is_final,
        }
    }
}

impl Listed for SessionAnswer {
    type Filter = SessionFilter;
    const TOPIC: &'static str = SESSIONS;
    const NOUN: &'static str = "session";
    const VIEW: &'static str = "sessions_current";
    const COLUMNS: &'static str = "toString(id) AS id, version, operator, operator_version, settings_version, session_id, \
        user, device, browser, os, toUnixTimestamp64Milli(started_at) AS started_at, \
        toUnixTimestamp64Milli(ended_at) AS ended_at, duration_ms, active_ms, closed, events, counts, routes, pages, \
        entry, exit, errors, signals, score, truncated, toUnixTimestamp64Milli(first_arrival) AS first_arrival, \
        toBool(final) AS final";

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
        let texts = [&self.id, &self.session_id, &self.entry, &self.exit, &self.operator].into_iter();
        let others = [&self.user, &self.device, &self.browser, &self.os].into_iter().flatten();
        let lists = self.routes.iter().chain(&self.pages).map(|text| size_of::<String>() + text.len());
        let counts = self.counts.keys().map(|kind| 64 + kind.len());
        size_of::<Self>()
            + texts.chain(others).map(String::len).sum::<usize>()
            + lists.chain(counts).sum::<usize>()
    }

    fn among(rows: &RowsByTopic) -> &Rows<Self> {
        &rows.sessions
    }
}

/// The parameters of a [`SessionFilter`].
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what SessionFilter takes")]
struct FilterParameters {
    /// As its producer names it.
    session: Option<String>,
    /// Who: the hash.
    user: Option<String>,
    /// `desktop`, `mobile`, `tablet` …
    device: Option<String>,
    /// One of its routes.
    route: Option<String>,
    /// The frustration that it has at least.
    #[param(minimum = 0, maximum = 100)]
    min_score: Option<i32>,
    /// Whether it has ended.
    closed: Option<bool>,
    /// Begun at that time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// Begun before that time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// Which sessions are asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct SessionFilter {
    session: Option<String>,
    user: Option<String>,
    device: Option<String>,
    route: Option<String>,
    min_score: Option<i32>,
    closed: Option<bool>,
    from: Option<Millis>,
    to: Option<Millis>,
}

impl RowFilter for SessionFilter {
    type Row = SessionAnswer;

    fn take(parameters: &mut Parameters) -> Result<Self, ApiError> {
        let score = |text: &str| text.parse().ok().filter(|score| (0..=100).contains(score));
        Ok(Self {
            session: parameters.text("session"),
            user: parameters.text("user"),
            device: parameters.text("device"),
            route: parameters.text("route"),
            min_score: parameters.parsed("min_score", "0 to 100", score)?,
            closed: parameters.flag("closed")?,
            from: parameters.time("from")?,
            to: parameters.time("to")?,
        })
    }

    fn sql(&self) -> Filter {
        let text = |value: &Option<String>| value.clone().map(Parameter::Text);
        let filter = Filter::default()
            .and_if("session_id = ?", text(&self.session))
            .and_if("user = ?", text(&self.user))
            .and_if("device = ?", text(&self.device))
            .and_if("has(routes, ?)", text(&self.route))
            .and_if("score >= ?", self.min_score.map(|score| Parameter::Number(score.into())))
            .and_if("started_at >= ?", self.from.map(Parameter::Time))
            .and_if("started_at < ?", self.to.map(Parameter::Time));
        match self.closed {
            Some(true) => filter.and("closed", []),
            Some(false) => filter.and("NOT closed", []),
            None => filter,
        }
    }

    fn matches(&self, session: &SessionAnswer) -> bool {
        let is =
            |wanted: &Option<String>, found: &Option<String>| wanted.as_ref().is_none_or(|_| wanted == found);
        self.session.as_ref().is_none_or(|id| *id == session.session_id)
            && is(&self.user, &session.user)
            && is(&self.device, &session.device)
            && self.route.as_ref().is_none_or(|route| session.routes.contains(route))
            && self.min_score.is_none_or(|score| session.score >= score)
            && self.closed.is_none_or(|closed| session.closed == closed)
            && self.from.is_none_or(|from| session.started_at >= from)
            && self.to.is_none_or(|to| session.started_at < to)
    }

    fn bytes(&self) -> usize {
        let texts = [&self.session, &self.user, &self.device, &self.route];
        texts.into_iter().flatten().map(String::len).sum()
    }
}

/// A page of sessions, the last to arrive first.
#[derive(Debug, Serialize, ToSchema)]
pub struct Sessions<'a> {
    #[schema(value_type = Vec<SessionAnswer>)]
    sessions: &'a [SessionAnswer],
    /// Where the next page begins; `null` on the last one.
    next_cursor: Option<&'a str>,
    /// How many match the filters, on all pages.
    total: u64,
}

impl<'a> From<&'a Page<SessionAnswer>> for Sessions<'a> {
    fn from(page: &'a Page<SessionAnswer>) -> Self {
        Self { sessions: &page.rows, next_cursor: page.next_cursor.as_deref(), total: page.total }
    }
}

/// Sessions, the last to arrive first, in pages.
#[utoipa::path(
    get,
    path = "/v1/sessions",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(FilterParameters, PageParameters, answers::MinAsOf, answers::IfNoneMatch),
    responses(
        (status = 200, description = "A page.", body = inline(Answer<'static, Sessions<'static>>),
            headers(("ETag" = String, description = "Of the page."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this page."),
    )
)]
pub async fn list(
    queries: TenantQueries,
    State(live): State<Live>,
    State(lists): State<ListsOf<SessionAnswer>>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    let request = ListRequest::parse(parameters)?;
    let mut freshness = live.reached(&[Source::Rows(SESSIONS, Reader::Tables)], wanted.as_ref()).await;
    let page = listed::page(&queries, &live, &lists, request, &mut freshness).await?;
    answers::of_list(&headers, &Sessions::from(&*page), &freshness)
}

/// A session.
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        ("id" = Uuid, Path, description = "Its id; its producer's name of it is for the filter `session`."),
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "The session as it stands.", body = inline(Answer<'static, SessionAnswer>),
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
    let id = listed::id_of::<SessionAnswer>(&id)?;
    let mut freshness = live.reached(&[Source::Rows(SESSIONS, Reader::Tail)], wanted.as_ref()).await;
    let row = listed::find::<SessionAnswer>(&queries, &live, id, &mut freshness).await?;
    Ok(answers::of_row(&headers, row.version, &*row, &freshness))
}
