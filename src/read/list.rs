//! Rows of a resource in lists: read from their table in pages, and no older than what this node has seen of them on the log.

use std::sync::Arc;

use clickhouse::Row;
use serde::{Deserialize, Serialize};

use super::conditions::Conditions;
use super::cursor::Cursor;
use super::live::{Freshness, Live};
use super::parameters::Parameters;
use super::queries::{Parameter, Select, TenantQueries};
use super::query_cache::QueryCache;
use super::rows_page::{Page, PageWriter};
use crate::http::ApiError;
use crate::resource::Resource;

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
        let limit = parameters.limit()?;
        parameters.finish()?;
        Ok(Self { conditions, after, limit })
    }
}

#[derive(Debug, Row, Deserialize)]
struct Total {
    total: u64,
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
    let read = read(resource, queries, request);
    let page = cache.page(queries.tenant(), &resource.route, key, generation, read).await?;
    let (newer, is_outdated) = page.with_newer(resource, live, queries.tenant(), &request.conditions)?;
    freshness.stale |= is_outdated;
    Ok(newer.map_or(page, Arc::new))
}

/// Reads it from the table.
async fn read(resource: &Resource, queries: &TenantQueries, request: &ListRequest) -> Result<Page, ApiError> {
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
        if writer.count() == request.limit {
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
