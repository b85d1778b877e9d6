//! `GET /v1/{path}/{id}/timeline`: what happened in a row of a resource, event by event, with the rows of another resource
//! beside it. Which events those are a family declares as a [`Timeline`].

mod description;

use std::ops::Range;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::{MethodRouter, get};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value as Json;
use serde_json::value::RawValue;
use utoipa_axum::router::OpenApiRouter;

use super::answers::Body;
use super::conditions::{Conditions, Value};
use super::list::ListRequest;
use super::live::Freshness;
use super::parameters::{MAX_LIMIT, Parameters};
use super::positions::{Reader, Source};
use super::queries::{Parameter, Select, SqlFilter, TenantQueries};
use super::{Shared, answers, by_id, list, routes};
use crate::engine::Millis;
use crate::http::{ApiError, Path};
use crate::resource::{self, FieldType, Resource, Row, StoredError, take, take_text};

/// What a family declares of its raw events in a row.
pub struct Timeline {
    /// The path of the resource whose rows have timelines.
    pub resource: &'static str,
    /// The family topic of the events.
    pub family: &'static str,
    /// The view of its table.
    pub view: &'static str,
    /// The column of the events that names the row, and the row's field that holds the name.
    pub link: (&'static str, &'static str),
    /// The row's fields that say when it begins and ends.
    pub span: (&'static str, &'static str),
    /// What an event is known by: one that came twice is shown once, as it came first.
    pub identity: &'static str,
    /// The order of the events; it begins with `occurred_at`.
    pub order: &'static str,
    /// The text in that order, and the number: with `occurred_at` and `log_offset` they say where a page ends.
    pub place: (&'static str, &'static str),
    /// The columns that are shown besides where an event lies, its type, its time and its body.
    pub columns: &'static [Column],
    /// What the API calls an event whose body is this record of the log.
    pub type_of: fn(record: &str, body: &str) -> Result<String, serde_json::Error>,
    /// What stands beside the events.
    pub beside: Beside,
}

/// A column of events that is shown.
pub struct Column {
    /// Its name.
    pub name: &'static str,
    /// What it holds.
    pub holds: Holds,
    /// What that means.
    pub doc: &'static str,
}

/// What a column of events holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// A text.
    Text,
    /// A text or nothing.
    OptionalText,
    /// A number or nothing.
    OptionalNumber,
}

/// The rows of a resource that stand beside events.
pub struct Beside {
    /// Its path.
    pub resource: &'static str,
    /// Its filter by the name of the row.
    pub filter: &'static str,
    /// Its filters by time, from and to.
    pub within: (&'static str, &'static str),
    /// Its time, by which they are in order.
    pub time: &'static str,
}

impl Holds {
    fn r#type(self) -> FieldType {
        match self {
            Self::Text => FieldType::Text,
            Self::OptionalText => FieldType::Nullable(Box::new(FieldType::Text)),
            Self::OptionalNumber => FieldType::Nullable(Box::new(FieldType::Integer)),
        }
    }
}

/// The route; none where a resource is not declared.
pub fn router(timeline: &'static Timeline) -> OpenApiRouter<Shared> {
    let found = resource::named(timeline.resource).zip(resource::named(timeline.beside.resource));
    let Some((of, beside)) = found else { return OpenApiRouter::new() };
    OpenApiRouter::new().routes(routes::route(timeline.describe(of, beside), timeline.route(of, beside)))
}

/// What a timeline is asked for.
#[derive(Debug)]
struct Request {
    from: Option<Millis>,
    to: Option<Millis>,
    after: Option<Cursor>,
    limit: u64,
}

/// The row that a timeline is of.
struct Whole {
    name: String,
    span: Range<Millis>,
    first_arrival: Millis,
}

/// The last event of a page: the next one begins behind it, whatever came before it meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Cursor {
    occurred_at: Millis,
    number: i64,
    offset: i64,
    text: String,
}

/// A page of events, as JSON with commas between.
struct Events {
    json: Vec<u8>,
    last: Option<Cursor>,
    is_last: bool,
}

impl Timeline {
    fn route(&'static self, of: &'static Resource, beside: &'static Resource) -> MethodRouter<Shared> {
        let handler = async move |queries: TenantQueries,
                                  State(shared): State<Shared>,
                                  Path(id): Path<String>,
                                  headers: HeaderMap,
                                  mut parameters: Parameters|
                    -> Result<Response, ApiError> {
            let wanted = answers::wanted(&mut parameters)?;
            let request = Request::parse(parameters)?;
            let id = by_id::id_of(of, &id)?;
            let sources = [
                Source::Rows(of.topic(), Reader::Tail),
                Source::Rows(beside.topic(), Reader::Tables),
                Source::Events(self.family),
            ];
            let mut freshness = shared.live.reached(&sources, wanted.as_ref()).await;
            let row = by_id::find(of, &queries, &shared.live, id, &mut freshness).await?;
            let whole = self.whole(&row)?;
            let span = request.span(&whole);
            let Events { mut json, last, is_last } = self.events(&queries, &whole, &span, &request).await?;
            // Each row is beside one page.
            let start = request.after.as_ref().map_or(span.start, |after| after.occurred_at + 1);
            let end = last.as_ref().filter(|_| !is_last).map(|event| event.occurred_at + 1);
            let part = start..end.unwrap_or(span.end);
            let rows = self.rows(&queries, &shared, beside, &whole, part, &mut freshness).await?;
            let next_cursor = last.filter(|_| !is_last).map(Cursor::encode);
            json.splice(..0, *b"{\"events\":[");
            json.extend_from_slice(format!("],\"{}\":[", beside.member()).as_bytes());
            json.extend_from_slice(&rows);
            json.extend_from_slice(b"],\"next_cursor\":");
            serde_json::to_writer(&mut json, &next_cursor).map_err(ApiError::internal)?;
            json.push(b'}');
            Ok(Body::of_json(json).respond(&headers, &freshness))
        };
        get(handler)
    }

    fn whole(&self, row: &Row) -> Result<Whole, ApiError> {
        let json: Json = serde_json::from_str(&row.json).map_err(ApiError::internal)?;
        let time = |field: &str| {
            time_of(&json, field).ok_or_else(|| ApiError::internal(format!("{field}: no time")))
        };
        let name = json.get(self.link.1).and_then(Json::as_str).unwrap_or_default().to_owned();
        let span = time(self.span.0)?..time(self.span.1)? + 1;
        Ok(Whole { name, span, first_arrival: time("first_arrival")? })
    }

    fn select(&self) -> String {
        let (text, number) = self.place;
        let mut select = format!(
            "CAST(log_partition AS Int64), log_offset, CAST(occurred_at AS {time}), CAST({text} AS String), \
             CAST({number} AS Int64), CAST(body_kind AS String), body",
            time = FieldType::Time.clickhouse()
        );
        for column in self.columns {
            select.push_str(&format!(", CAST(`{}` AS {})", column.name, column.holds.r#type().clickhouse()));
        }
        select
    }

    /// The events of the row; one more than asked for is read: that tells whether there is a next page.
    async fn events(
        &self,
        queries: &TenantQueries,
        whole: &Whole,
        span: &Range<Millis>,
        request: &Request,
    ) -> Result<Events, ApiError> {
        let (text, number) = self.place;
        let mut filter = SqlFilter::default()
            .and(&format!("`{}` = ?", self.link.0), [Parameter::Text(whole.name.clone())])
            // No event of it came before its first: that leaves out most of the table.
            .and("log_append_time >= ?", [Parameter::Time(whole.first_arrival)])
            .once(self.identity)
            .and("occurred_at >= ?", [Parameter::Time(span.start)])
            .and("occurred_at < ?", [Parameter::Time(span.end)]);
        if let Some(after) = &request.after {
            let last = [
                Parameter::Time(after.occurred_at),
                Parameter::Text(after.text.clone()),
                Parameter::Number(after.number),
                Parameter::Number(after.offset),
            ];
            filter = filter.and(&format!("(occurred_at, {text}, {number}, log_offset) > (?, ?, ?, ?)"), last);
        }
        let (columns, order) = (self.select(), format!("ORDER BY {}", self.order));
        let select = Select { columns: &columns, from: self.view, tail: &order };
        let bytes = queries.fetch_bytes(select, &filter, request.limit + 1).await?;
        let (mut rest, mut json, mut last, mut count) = (&bytes[..], Vec::new(), None, 0);
        while !rest.is_empty() && count < request.limit {
            if count > 0 {
                json.push(b',');
            }
            last = Some(self.event(&mut rest, &mut json).map_err(ApiError::internal)?);
            count += 1;
        }
        Ok(Events { json, last, is_last: rest.is_empty() })
    }

    /// Takes an event and appends its JSON.
    fn event(&self, rest: &mut &[u8], json: &mut Vec<u8>) -> Result<Cursor, StoredError> {
        let partition = i64::from_le_bytes(take(rest)?);
        let offset = i64::from_le_bytes(take(rest)?);
        let mut time = *rest;
        let occurred_at = i64::from_le_bytes(take(rest)?);
        let text = take_text(rest)?.to_owned();
        let number = i64::from_le_bytes(take(rest)?);
        let (record, body) = (take_text(rest)?, take_text(rest)?);
        let body: &RawValue = serde_json::from_str(body)?;
        let r#type = (self.type_of)(record, body.get())?;
        json.extend_from_slice(
            format!("{{\"partition\":{partition},\"offset\":{offset},\"type\":").as_bytes(),
        );
        serde_json::to_writer(&mut *json, &r#type)?;
        json.extend_from_slice(b",\"occurred_at\":");
        FieldType::Time.append(&mut time, json)?;
        for column in self.columns {
            json.extend_from_slice(format!(",\"{}\":", column.name).as_bytes());
            column.holds.r#type().append(rest, json)?;
        }
        json.extend_from_slice(b",\"body\":");
        json.extend_from_slice(body.get().as_bytes());
        json.push(b'}');
        Ok(Cursor { occurred_at, number, offset, text })
    }

    /// The rows beside what happened within `span`, in their order, as JSON with commas between.
    async fn rows(
        &self,
        queries: &TenantQueries,
        shared: &Shared,
        beside: &'static Resource,
        whole: &Whole,
        span: Range<Millis>,
        freshness: &mut Freshness,
    ) -> Result<Vec<u8>, ApiError> {
        let Beside { filter, within: (from, to), time, .. } = &self.beside;
        let values = [
            (filter, Value::Text(whole.name.clone())),
            (from, Value::Time(span.start)),
            (to, Value::Time(span.end)),
        ];
        let mut conditions = Conditions::default();
        for (name, value) in values {
            let filter = beside.filter(name);
            let filter = filter.ok_or_else(|| ApiError::internal(format!("there is no filter {name}")))?;
            conditions = conditions.and(filter, value);
        }
        let request = ListRequest { conditions, after: None, limit: MAX_LIMIT };
        let page = list::page(beside, queries, &shared.live, &shared.cache, &request, freshness).await?;
        let timed = page.rows().map(|row| {
            let json: Json = serde_json::from_slice(row).map_err(ApiError::internal)?;
            Ok((time_of(&json, time), row))
        });
        let mut rows = timed.collect::<Result<Vec<_>, ApiError>>()?;
        rows.sort_by_key(|(time, _)| *time);
        Ok(rows.into_iter().map(|(_, row)| row).collect::<Vec<_>>().join(&b','))
    }
}

/// A time of a row.
fn time_of(row: &Json, field: &str) -> Option<Millis> {
    Some(row.get(field)?.as_str()?.parse::<jiff::Timestamp>().ok()?.as_millisecond())
}

impl Request {
    fn parse(mut parameters: Parameters) -> Result<Self, ApiError> {
        let from = parameters.time("from")?;
        let to = parameters.time("to")?;
        let after = parameters.parsed("cursor", "the next_cursor of the page before", Cursor::decode)?;
        let limit = parameters.limit()?;
        parameters.finish()?;
        Ok(Self { from, to, after, limit })
    }

    /// What of the row is asked for, before the cursor counts.
    fn span(&self, whole: &Whole) -> Range<Millis> {
        let Range { start, end } = whole.span;
        self.from.map_or(start, |from| from.max(start))..self.to.map_or(end, |to| to.min(end))
    }
}

impl Cursor {
    fn encode(self) -> String {
        let numbers = [self.occurred_at, self.number, self.offset].map(i64::to_be_bytes);
        URL_SAFE_NO_PAD.encode([numbers.as_flattened(), self.text.as_bytes()].concat())
    }

    fn decode(text: &str) -> Option<Self> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (occurred_at, rest) = bytes.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (offset, text) = rest.split_first_chunk()?;
        let [occurred_at, number, offset] =
            [occurred_at, number, offset].map(|bytes| i64::from_be_bytes(*bytes));
        let text = String::from_utf8(text.to_vec()).ok().filter(|text| !text.contains('\0'))?;
        Some(Self { occurred_at, number, offset, text })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_are_read_back_and_others_refused() {
        for text in ["", "tab-ü"] {
            let cursor = Cursor { occurred_at: -5, number: -1, offset: 7, text: text.to_owned() };
            let encoded = cursor.clone().encode();
            assert_eq!(Cursor::decode(&encoded), Some(cursor));
        }
        let cursor = Cursor { occurred_at: 5, number: 1, offset: 7, text: "a\0".to_owned() };
        for bad in ["", "x", "!!!!", "AAAA", &cursor.encode()] {
            assert_eq!(Cursor::decode(bad), None, "{bad}");
        }
    }
}
