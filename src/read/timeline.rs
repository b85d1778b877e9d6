//! `GET /v1/sessions/{id}/timeline`: what happened in a session, event by event, with the signals beside it.

use std::ops::Range;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::{IntoParams, ToSchema};

use super::answers;
use super::answers::Answer;
use super::listed;
use super::listed::{ListRequest, ListsOf, MOST, PageParameters};
use super::live::{Freshness, INTERACTIONS, Live, SESSIONS, SIGNALS};
use super::parameters::Parameters;
use super::positions::{Reader, Source};
use super::queries::{Filter, Parameter, Select, TenantQueries};
use super::rfc3339;
use super::sessions::SessionAnswer;
use super::signals::{SignalAnswer, SignalFilter};
use crate::engine::Millis;
use crate::http::{ApiError, Path};

const SELECT: Select = Select {
    columns: "log_partition AS partition, log_offset AS offset, CAST(event_id AS Nullable(String)) AS event_id, \
        toUnixTimestamp64Milli(occurred_at) AS occurred_at, tab_id, CAST(seq AS Nullable(Int64)) AS seq, \
        CAST(page_view_id AS Nullable(String)) AS page_view_id, CAST(url AS Nullable(String)) AS url, \
        toString(route) AS route, toString(body_kind) AS body_kind, body",
    from: "interaction_events_current",
    tail: "ORDER BY occurred_at, tab_id, ifNull(seq, -1), log_offset",
};

/// What an event is known by (`Identity` in [`crate::engine`]): one that came twice is shown once, as it came first.
const IDENTITY: &str = "tab_id, ifNull(seq, -1), if(seq IS NULL, ifNull(event_id, ''), ''), \
    if(seq IS NULL AND ifNull(event_id, '') = '', log_offset, -1)";

/// An event, as the table has it.
#[derive(Debug, Row, Deserialize)]
struct Stored {
    partition: i32,
    offset: i64,
    event_id: Option<String>,
    occurred_at: Millis,
    tab_id: String,
    seq: Option<i64>,
    page_view_id: Option<String>,
    url: Option<String>,
    route: String,
    body_kind: String,
    body: String,
}

/// An event of a session, as it is answered.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TimelineEvent)]
pub struct EventAnswer {
    /// Its partition of the topic `interactions`.
    partition: i32,
    /// Its offset there.
    offset: i64,
    /// What happened: `click`, `navigation` … as `/v1/interactions` calls it.
    r#type: String,
    #[serde(serialize_with = "rfc3339")]
    #[schema(value_type = String, format = DateTime)]
    occurred_at: Millis,
    event_id: Option<String>,
    /// Empty where there is but one.
    tab_id: String,
    /// The producer's count of the events of this session and tab.
    seq: Option<i64>,
    page_view_id: Option<String>,
    url: Option<String>,
    route: String,
    /// What is particular to the type, as it lies in the log.
    #[schema(value_type = Object)]
    body: Box<RawValue>,
}

impl TryFrom<Stored> for EventAnswer {
    type Error = serde_json::Error;

    fn try_from(stored: Stored) -> Result<Self, serde_json::Error> {
        let body: Box<RawValue> = serde_json::from_str(&stored.body)?;
        Ok(Self {
            partition: stored.partition,
            offset: stored.offset,
            r#type: type_of(&stored.body_kind, body.get())?,
            occurred_at: stored.occurred_at,
            event_id: stored.event_id,
            tab_id: stored.tab_id,
            seq: stored.seq,
            page_view_id: stored.page_view_id,
            url: stored.url,
            route: stored.route,
            body,
        })
    }
}

/// What the API calls an event whose body is this record of the log.
fn type_of(record: &str, body: &str) -> Result<String, serde_json::Error> {
    #[derive(Deserialize)]
    struct Kind {
        kind: String,
    }
    let kind = || serde_json::from_str::<Kind>(body).map(|body| body.kind);
    Ok(match record {
        "Pointer" | "Field" => kind()?,
        "Page" => format!("page_{}", kind()?),
        "Validation" => "validation_error".to_owned(),
        "Moves" => "move".to_owned(),
        "Failure" => "error".to_owned(),
        record => record.to_lowercase(),
    })
}

/// A part of a session.
#[derive(Debug, Serialize, ToSchema)]
pub struct Timeline {
    /// In the order in which they happened, those of one instant by tab and count.
    events: Vec<EventAnswer>,
    /// Those that begin within this page, in the order in which they do.
    signals: Vec<SignalAnswer>,
    /// Where the next page begins; `null` on the last one.
    next_cursor: Option<String>,
}

/// Which part of a timeline.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what TimelineRequest takes")]
struct PartParameters {
    /// What happened at that time or later.
    #[param(value_type = Option<String>, format = DateTime)]
    from: Option<String>,
    /// What happened before that time.
    #[param(value_type = Option<String>, format = DateTime)]
    to: Option<String>,
}

/// What a timeline is asked for.
#[derive(Debug)]
struct TimelineRequest {
    from: Option<Millis>,
    to: Option<Millis>,
    after: Option<Cursor>,
    limit: u64,
}

impl TimelineRequest {
    fn parse(mut parameters: Parameters) -> Result<Self, ApiError> {
        let from = parameters.time("from")?;
        let to = parameters.time("to")?;
        let after = parameters.parsed("cursor", "the next_cursor of the page before", Cursor::decode)?;
        let limit = listed::limit(&mut parameters)?;
        parameters.finish()?;
        Ok(Self { from, to, after, limit })
    }

    /// What of the session is asked for, before the cursor counts.
    fn span(&self, session: &SessionAnswer) -> Range<Millis> {
        let start = self.from.map_or(session.started_at, |from| from.max(session.started_at));
        let end = self.to.map_or(session.ended_at + 1, |to| to.min(session.ended_at + 1));
        start..end
    }

    /// The events of the session, one more than asked for: that tells whether there is a next page.
    async fn events(
        &self,
        queries: &TenantQueries,
        session: &SessionAnswer,
    ) -> Result<Vec<Stored>, ApiError> {
        let span = self.span(session);
        let mut filter = Filter::default()
            .and("session_id = ?", [Parameter::Text(session.session_id.clone())])
            // No event of it came before its first: that leaves out most of the table.
            .and("log_append_time >= ?", [Parameter::Time(session.first_arrival)])
            .once(IDENTITY)
            .and("occurred_at >= ?", [Parameter::Time(span.start)])
            .and("occurred_at < ?", [Parameter::Time(span.end)]);
        if let Some(Cursor { occurred_at, seq, offset, tab_id }) = &self.after {
            let last = [
                Parameter::Time(*occurred_at),
                Parameter::Text(tab_id.clone()),
                Parameter::Number(*seq),
                Parameter::Number(*offset),
            ];
            filter = filter.and("(occurred_at, tab_id, ifNull(seq, -1), log_offset) > (?, ?, ?, ?)", last);
        }
        queries.fetch(SELECT, &filter, self.limit + 1).await
    }

    /// The part of the session whose signals stand beside `events`: each signal is beside one page.
    fn span_of_page(&self, session: &SessionAnswer, events: &[Stored], is_last: bool) -> Range<Millis> {
        let span = self.span(session);
        let start = self.after.as_ref().map_or(span.start, |after| after.occurred_at + 1);
        let last = events.last().filter(|_| !is_last).map(|event| event.occurred_at + 1);
        start..last.unwrap_or(span.end)
    }
}

/// The last event of a page: the next one begins behind it, whatever came before it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    occurred_at: Millis,
    seq: i64,
    offset: i64,
    tab_id: String,
}

impl Cursor {
    fn of(event: &Stored) -> Self {
        Self {
            occurred_at: event.occurred_at,
            seq: event.seq.unwrap_or(-1),
            offset: event.offset,
            tab_id: event.tab_id.clone(),
        }
    }

    fn encode(&self) -> String {
        let numbers = [self.occurred_at, self.seq, self.offset].map(i64::to_be_bytes);
        URL_SAFE_NO_PAD.encode([numbers.as_flattened(), self.tab_id.as_bytes()].concat())
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (occurred_at, rest) = bytes.split_first_chunk()?;
        let (seq, rest) = rest.split_first_chunk()?;
        let (offset, tab_id) = rest.split_first_chunk()?;
        let [occurred_at, seq, offset] = [occurred_at, seq, offset].map(|bytes| i64::from_be_bytes(*bytes));
        let tab_id = String::from_utf8(tab_id.to_vec()).ok().filter(|tab_id| !tab_id.contains('\0'))?;
        Some(Self { occurred_at, seq, offset, tab_id })
    }
}

/// What happened in a session, in the order in which it did, in pages; with the signals beside it. An event that came twice is
/// there once.
#[utoipa::path(
    get,
    path = "/v1/sessions/{id}/timeline",
    tag = "read",
    security(("bearer" = ["read"]), ("api_key" = ["read"])),
    params(
        ("id" = Uuid, Path, description = "The session's id."),
        PartParameters,
        PageParameters,
        answers::MinAsOf,
        answers::IfNoneMatch,
    ),
    responses(
        (status = 200, description = "A page.", body = inline(Answer<'static, Timeline>),
            headers(("ETag" = String, description = "Of the page."), ("X-As-Of" = String, description = "`as_of`."))),
        (status = 304, description = "The client has this page."),
    )
)]
pub async fn of_session(
    queries: TenantQueries,
    State(live): State<Live>,
    State(lists): State<ListsOf<SignalAnswer>>,
    Path(id): Path<String>,
    headers: HeaderMap,
    mut parameters: Parameters,
) -> Result<Response, ApiError> {
    let wanted = answers::wanted(&mut parameters)?;
    let request = TimelineRequest::parse(parameters)?;
    let id = listed::id_of::<SessionAnswer>(&id)?;
    let sources = [
        Source::Rows(SESSIONS, Reader::Tail),
        Source::Rows(SIGNALS, Reader::Tables),
        Source::Events(INTERACTIONS),
    ];
    let mut freshness = live.reached(&sources, wanted.as_ref()).await;
    let session = listed::find::<SessionAnswer>(&queries, &live, id, &mut freshness).await?;
    let mut events = request.events(&queries, &session).await?;
    let is_last = events.len() as u64 <= request.limit;
    events.truncate(request.limit as usize);
    let span = request.span_of_page(&session, &events, is_last);
    let signals = signals(&queries, &live, &lists, &session, span, &mut freshness).await?;
    let next_cursor = events.last().filter(|_| !is_last).map(|event| Cursor::of(event).encode());
    let events = events.into_iter().map(EventAnswer::try_from).collect::<Result<_, _>>();
    let timeline = Timeline { events: events.map_err(ApiError::internal)?, signals, next_cursor };
    answers::of_list(&headers, &timeline, &freshness)
}

/// The signals of the session that begin within `span`, in the order in which they do.
async fn signals(
    queries: &TenantQueries,
    live: &Live,
    lists: &ListsOf<SignalAnswer>,
    session: &SessionAnswer,
    span: Range<Millis>,
    freshness: &mut Freshness,
) -> Result<Vec<SignalAnswer>, ApiError> {
    let filter = SignalFilter {
        session: Some(session.session_id.clone()),
        from: Some(span.start),
        to: Some(span.end),
        ..SignalFilter::default()
    };
    let request = ListRequest { filter, after: None, limit: MOST };
    let mut signals = listed::page(queries, live, lists, request, freshness).await?.rows.clone();
    signals.sort_by_key(|signal| signal.started_at);
    Ok(signals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        for tab_id in ["", "tab-ü"] {
            let cursor = Cursor { occurred_at: -5, seq: -1, offset: 7, tab_id: tab_id.to_owned() };
            let text = cursor.encode();
            assert_eq!(Cursor::decode(&text), Some(cursor));
        }
        let cursor = Cursor { occurred_at: 5, seq: 1, offset: 7, tab_id: "a\0".to_owned() };
        for bad in ["", "x", "!!!!", "AAAA", &cursor.encode()] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
