//! Rows of a resource in lists: read from their table in pages, and no older than what this node has seen of them on the log.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::answers::Body;
use super::conditions::Conditions;
use super::cursor::Cursor;
use super::live::{Freshness, Live};
use super::parameters::Parameters;
use super::queries::{Parameter, Select, TenantQueries};
use super::query_cache::QueryCache;
use super::rows::Lookup;
use crate::http::{ApiError, Tenant};
use crate::resource::Resource;

/// Rows of a page, where it is not said how many.
const DEFAULT_LIMIT: u64 = 100;
/// Rows of a page at most.
pub const MOST: u64 = 1000;

/// What a list is asked for.
#[derive(Debug, Clone, Serialize)]
pub struct ListRequest {
    /// Which rows.
    pub conditions: Conditions,
    /// Those behind this one.
    pub after: Option<Cursor>,
    /// So many at most.
    pub limit: u64,
}

impl ListRequest {
    /// What the whole query string asks for.
    pub fn parse(resource: &'static Resource, mut parameters: Parameters) -> Result<Self, ApiError> {
        let conditions = Conditions::take(resource, &mut parameters)?;
        Self::parse_with(conditions, parameters)
    }

    /// As [`parse`](Self::parse), where it is known which rows.
    pub fn parse_with(conditions: Conditions, mut parameters: Parameters) -> Result<Self, ApiError> {
        let after = parameters.parsed("cursor", "the next_cursor of the page before", Cursor::decode)?;
        let limit = limit(&mut parameters)?;
        parameters.finish()?;
        Ok(Self { conditions, after, limit })
    }
}

/// Takes how many rows a page may have.
pub fn limit(parameters: &mut Parameters) -> Result<u64, ApiError> {
    let limit = |text: &str| text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    Ok(parameters.parsed("limit", "1 to 1000", limit)?.unwrap_or(DEFAULT_LIMIT))
}

/// A page of rows, the newest first.
#[derive(Debug)]
pub struct Page {
    /// What is answered.
    pub body: Body,
    rows: Vec<Shown>,
    next_cursor: Option<String>,
    total: u64,
}

/// A row of a page.
#[derive(Debug)]
struct Shown {
    id: Uuid,
    version: u64,
    /// Where its JSON lies in that of the page.
    place: Range<usize>,
}

#[derive(Debug, Row, Deserialize)]
struct Total {
    total: u64,
}

impl Page {
    pub(super) fn of_body(body: Body) -> Self {
        Self { body, rows: Vec::new(), next_cursor: None, total: 0 }
    }

    /// What it takes in memory, about.
    pub fn bytes(&self) -> usize {
        self.body.json.len() + self.rows.len() * size_of::<Shown>()
    }

    /// The JSON of each row.
    pub fn rows(&self) -> impl Iterator<Item = &[u8]> {
        self.rows.iter().map(|row| &self.body.json[row.place.clone()])
    }

    async fn read(
        resource: &Resource,
        queries: &TenantQueries,
        request: &ListRequest,
    ) -> Result<Self, ApiError> {
        let filter = request.conditions.sql();
        let mut page = filter.clone();
        let sort = &resource.declaration.sort;
        if let Some(Cursor { sort: after, id }) = request.after {
            let last = [Parameter::Time(after), Parameter::Id(id)];
            page = page.and(&format!("(`{sort}`, id) < (?, ?)"), last);
        }
        // The order of the tables themselves, so that a page reads little more than its rows; and it never changes for a row,
        // so that no correction moves one from page to page.
        let (view, columns) = (resource.view(), resource.columns());
        let order = format!("ORDER BY `{sort}` DESC, id DESC");
        let select = Select { columns: &columns, from: &view, tail: &order };
        let count = Select { columns: "count() AS total", from: &view, tail: "" };
        // One more than asked for tells whether there is a next page.
        let (bytes, totals) = tokio::try_join!(
            queries.fetch_bytes(select, &page, request.limit + 1),
            queries.fetch::<Total>(count, &filter, 1),
        )?;
        let mut writer = PageWriter::new(resource);
        let (mut rest, mut last, mut next_cursor) = (&bytes[..], None, None);
        while !rest.is_empty() {
            if writer.rows.len() as u64 == request.limit {
                next_cursor = last.map(Cursor::encode);
                break;
            }
            let start = writer.begin();
            let Some(row) = resource.stored(&mut rest, &mut writer.json).map_err(ApiError::internal)? else {
                break;
            };
            writer.end(start, row.id, row.version);
            last = Some(Cursor { sort: row.sort, id: row.id });
        }
        writer.finish(next_cursor, totals.first().map_or(0, |row| row.total))
    }

    /// The page without what this node knows to be outdated: of each row the newest version that it has seen. And whether it
    /// has seen a newer one that it no longer has.
    fn with_newer(
        &self,
        resource: &Resource,
        live: &Live,
        tenant: &Tenant,
        conditions: &Conditions,
    ) -> Result<(Option<Self>, bool), ApiError> {
        let (mut is_outdated, mut is_newer) = (false, false);
        let known: Vec<_> = self
            .rows
            .iter()
            .map(|shown| match live.known(resource.topic(), tenant, shown.id) {
                Lookup::Row(row) if row.version > shown.version => {
                    is_newer = true;
                    Some(Some(row))
                }
                Lookup::Retracted => {
                    is_newer = true;
                    Some(None)
                }
                Lookup::AtLeast(version) => {
                    is_outdated |= version > shown.version;
                    None
                }
                _ => None,
            })
            .collect();
        if !is_newer {
            return Ok((None, is_outdated));
        }
        let mut writer = PageWriter::new(resource);
        for (shown, newer) in self.rows.iter().zip(known) {
            let (version, json) = match &newer {
                None => (shown.version, &self.body.json[shown.place.clone()]),
                Some(None) => continue,
                Some(Some(row)) => {
                    let is_left = conditions.is_empty()
                        || conditions.matches(&serde_json::from_str(&row.json).map_err(ApiError::internal)?);
                    if !is_left {
                        continue;
                    }
                    (row.version, row.json.as_bytes())
                }
            };
            let start = writer.begin();
            writer.json.extend_from_slice(json);
            writer.end(start, shown.id, version);
        }
        let gone = (self.rows.len() - writer.rows.len()) as u64;
        let newer = writer.finish(self.next_cursor.clone(), self.total.saturating_sub(gone))?;
        Ok((Some(newer), is_outdated))
    }
}

/// Writes a page row by row.
struct PageWriter {
    json: Vec<u8>,
    rows: Vec<Shown>,
}

impl PageWriter {
    fn new(resource: &Resource) -> Self {
        Self { json: format!("{{\"{}\":[", resource.member()).into_bytes(), rows: Vec::new() }
    }

    /// Where the next row begins.
    fn begin(&mut self) -> usize {
        if !self.rows.is_empty() {
            self.json.push(b',');
        }
        self.json.len()
    }

    /// It has been appended.
    fn end(&mut self, start: usize, id: Uuid, version: u64) {
        self.rows.push(Shown { id, version, place: start..self.json.len() });
    }

    fn finish(self, next_cursor: Option<String>, total: u64) -> Result<Page, ApiError> {
        let Self { mut json, rows } = self;
        json.extend_from_slice(b"],\"next_cursor\":");
        serde_json::to_writer(&mut json, &next_cursor).map_err(ApiError::internal)?;
        json.extend_from_slice(format!(",\"total\":{total}}}").as_bytes());
        Ok(Page { body: Body::of_json(Bytes::from(json)), rows, next_cursor, total })
    }
}

/// The page that `request` asks for. `freshness` is that of the tables, from before.
pub async fn page(
    resource: &'static Resource,
    queries: &TenantQueries,
    live: &Live,
    cache: &QueryCache,
    request: &ListRequest,
    freshness: &mut Freshness,
) -> Result<Arc<Page>, ApiError> {
    // Before the rows: what they are is at least what this stands for.
    let generation = live.generation(resource.topic());
    let key = serde_json::to_string(request).map_err(ApiError::internal)?;
    let read = Page::read(resource, queries, request);
    let page = cache.page(queries.tenant(), &resource.route, key, generation, read).await?;
    let (newer, is_outdated) = page.with_newer(resource, live, queries.tenant(), &request.conditions)?;
    freshness.stale |= is_outdated;
    Ok(newer.map_or(page, Arc::new))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::rows::Arrival;
    use crate::resource::{self, Row};

    fn incident(id: u128, version: u64, severity: &str) -> Row {
        let id = Uuid::from_u128(id);
        let json = serde_json::json!({ "id": id, "version": version.to_string(), "severity": severity });
        Row { json: json.to_string().into(), id, version, sort: 0 }
    }

    #[test]
    fn a_page_is_no_older_than_what_was_seen() {
        let (tenant, incidents) = (Tenant::new("a"), resource::named("incidents").unwrap());
        let mut writer = PageWriter::new(incidents);
        for id in 0..5 {
            let (row, start) = (incident(id, 5, "high"), writer.begin());
            writer.json.extend_from_slice(row.json.as_bytes());
            writer.end(start, row.id, row.version);
        }
        let page = writer.finish(None, 5).unwrap();
        let mut parameters = Parameters::of(&[("severity", "high")]);
        let conditions = Conditions::take(incidents, &mut parameters).unwrap();
        let learn = |live: &Live| {
            for (id, version, row) in
                [(0, 6, Some("high")), (1, 6, Some("low")), (2, 6, None), (3, 4, Some("high"))]
            {
                let row = row.map(|severity| Arc::new(incident(id, version, severity)));
                let (id, tenant, place) = (Uuid::from_u128(id), tenant.clone(), Some((0, 9)));
                live.learn("incidents", Arrival { id, tenant, version, row, bytes: 100, place });
            }
        };
        let live = Live::new(resource::all().unwrap(), Vec::new(), 1 << 20);
        let with_newer = |live: &Live| page.with_newer(incidents, live, &tenant, &conditions).unwrap();
        assert!(matches!(with_newer(&live), (None, false)));
        learn(&live);
        let (newer, is_outdated) = with_newer(&live);
        let newer = newer.unwrap();
        let versions: Vec<_> = newer.rows.iter().map(|row| row.version).collect();
        assert_eq!((versions, newer.total, is_outdated), (vec![6, 5, 5], 3, false));
        let json: serde_json::Value = serde_json::from_slice(&newer.body.json).unwrap();
        assert_eq!(json["incidents"][0]["version"], "6");
        // It has seen them, and had to let go of them before a table may have had them.
        let live = Live::new(resource::all().unwrap(), Vec::new(), 0);
        learn(&live);
        assert!(matches!(with_newer(&live), (None, true)));
    }
}
