//! Rows of derived topics, by their ids and in lists: read from their tables, and no older than what this node has seen of
//! them on the log. A further kind of rows is a [`Listed`] with its [`RowFilter`].

use std::collections::BTreeMap;
use std::hash::Hash;
use std::sync::Arc;

use clickhouse::{Row, RowOwned, RowRead};
use serde::Deserialize;
use utoipa::IntoParams;
use uuid::Uuid;

use super::cursor::Cursor;
use super::lists::Lists;
use super::live::{Freshness, Live, RowsByTopic};
use super::parameters::Parameters;
use super::queries::{Filter, Parameter, RETRY_AFTER, Select, TenantQueries};
use super::rows::{Arrival, Lookup, Rows};
use crate::http::{ApiError, Tenant};

/// The order of the tables themselves, so that a page reads little more than its rows; and it never changes for a row, so that
/// no correction moves one from page to page.
const ORDER: &str = "ORDER BY first_arrival DESC, id DESC";

/// Rows of a page, where it is not said how many.
const DEFAULT_LIMIT: u64 = 100;
/// Rows of a page at most.
pub const MOST: u64 = 1000;

/// A row of a derived topic, as it is answered.
pub trait Listed: RowOwned + RowRead + Clone + Send + Sync {
    /// Which rows are asked for.
    type Filter: RowFilter<Row = Self>;
    /// The topic.
    const TOPIC: &'static str;
    /// What a row is called.
    const NOUN: &'static str;
    /// The view that holds what the rows are now.
    const VIEW: &'static str;
    /// What is read of it.
    const COLUMNS: &'static str;

    /// Its id.
    fn id(&self) -> Option<Uuid>;
    /// Its version.
    fn version(&self) -> u64;
    /// Its place in lists.
    fn cursor(&self) -> Option<Cursor>;
    /// What it takes in memory, about.
    fn bytes(&self) -> usize;
    /// Its kind among the rows that are known.
    fn among(rows: &RowsByTopic) -> &Rows<Self>;
}

/// Which rows are asked for. The same conditions hold in SQL and in memory.
pub trait RowFilter: Clone + Eq + Hash + Send + Sync + 'static {
    /// Of these.
    type Row;
    /// Takes its parameters.
    fn take(parameters: &mut Parameters) -> Result<Self, ApiError>;
    /// The same in SQL.
    fn sql(&self) -> Filter;
    /// Whether it leaves this row.
    fn matches(&self, row: &Self::Row) -> bool;
    /// What it takes in memory behind its own fields, about.
    fn bytes(&self) -> usize;
}

/// What a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ListRequest<F> {
    /// Which rows.
    pub filter: F,
    /// Those behind this one.
    pub after: Option<Cursor>,
    /// So many at most.
    pub limit: u64,
}

impl<F: RowFilter> ListRequest<F> {
    /// What the whole query string asks for.
    pub fn parse(mut parameters: Parameters) -> Result<Self, ApiError> {
        let filter = F::take(&mut parameters)?;
        Self::parse_with(filter, parameters)
    }

    /// As [`parse`](Self::parse), where it is known which rows.
    pub fn parse_with(filter: F, mut parameters: Parameters) -> Result<Self, ApiError> {
        let after = parameters.parsed("cursor", "the next_cursor of the page before", Cursor::decode)?;
        let limit = limit(&mut parameters)?;
        parameters.finish()?;
        Ok(Self { filter, after, limit })
    }
}

/// The parameters that say which page.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "it describes what ListRequest takes")]
pub(super) struct PageParameters {
    /// Rows of a page; 100 without it.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u64>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// Takes how many rows a page may have.
pub fn limit(parameters: &mut Parameters) -> Result<u64, ApiError> {
    let limit = |text: &str| text.parse().ok().filter(|limit| (1..=MOST).contains(limit));
    Ok(parameters.parsed("limit", "1 to 1000", limit)?.unwrap_or(DEFAULT_LIMIT))
}

/// A page of rows, the last to arrive first.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The rows.
    pub rows: Vec<T>,
    /// Where the next page begins; none on the last one.
    pub next_cursor: Option<String>,
    /// How many match the filter, on all pages.
    pub total: u64,
}

/// The lists of one kind of rows.
pub type ListsOf<T> = Lists<ListRequest<<T as Listed>::Filter>, Page<T>>;

/// No lists yet, for the route of that name.
pub fn lists<T: Listed>(route: &'static str) -> ListsOf<T> {
    Lists::new(route, |request: &ListRequest<T::Filter>, page: &Page<T>| {
        let rows: usize = page.rows.iter().map(T::bytes).sum();
        size_of::<ListRequest<T::Filter>>() + request.filter.bytes() + rows
    })
}

#[derive(Debug, Row, Deserialize)]
struct Total {
    total: u64,
}

impl<T: Listed> Page<T> {
    async fn read(queries: &TenantQueries, request: &ListRequest<T::Filter>) -> Result<Self, ApiError> {
        let filter = request.filter.sql();
        let mut page = filter.clone();
        if let Some(Cursor { first_arrival, id }) = request.after {
            let last = [Parameter::Time(first_arrival), Parameter::Id(id)];
            page = page.and("(first_arrival, id) < (?, ?)", last);
        }
        let select = Select { columns: T::COLUMNS, from: T::VIEW, tail: ORDER };
        let count = Select { columns: "count() AS total", from: T::VIEW, tail: "" };
        // One more than asked for tells whether there is a next page.
        let (mut rows, totals) = tokio::try_join!(
            queries.fetch::<T>(select, &page, request.limit + 1),
            queries.fetch::<Total>(count, &filter, 1),
        )?;
        let more = rows.len() as u64 > request.limit;
        rows.truncate(request.limit as usize);
        let next_cursor = rows.last().filter(|_| more).and_then(T::cursor).map(Cursor::encode);
        Ok(Self { rows, next_cursor, total: totals.first().map_or(0, |row| row.total) })
    }

    /// The page without what this node knows to be outdated: of each row the newest version that it has seen. And whether it
    /// has seen a newer one that it no longer has.
    fn with_newer(&self, live: &Live, tenant: &Tenant, filter: &T::Filter) -> (Option<Self>, bool) {
        let mut is_outdated = false;
        let newer = self.rows.iter().enumerate().filter_map(|(index, shown)| {
            match live.known::<T>(tenant, shown.id()?) {
                Lookup::Row(row) if row.version() > shown.version() => Some((index, Some(row))),
                Lookup::Retracted => Some((index, None)),
                Lookup::AtLeast(version) => {
                    is_outdated |= version > shown.version();
                    None
                }
                _ => None,
            }
        });
        let newer: BTreeMap<usize, Option<Arc<T>>> = newer.collect();
        if newer.is_empty() {
            return (None, is_outdated);
        }
        let shown = self.rows.iter().enumerate().filter_map(|(index, shown)| match newer.get(&index) {
            None => Some(shown.clone()),
            Some(row) => row.as_ref().filter(|row| filter.matches(row)).map(|row| row.as_ref().clone()),
        });
        let rows: Vec<_> = shown.collect();
        let gone = (self.rows.len() - rows.len()) as u64;
        let newer =
            Self { rows, next_cursor: self.next_cursor.clone(), total: self.total.saturating_sub(gone) };
        (Some(newer), is_outdated)
    }
}

/// The page that `request` asks for. `freshness` is that of the tables, from before.
pub async fn page<T: Listed>(
    queries: &TenantQueries,
    live: &Live,
    lists: &ListsOf<T>,
    request: ListRequest<T::Filter>,
    freshness: &mut Freshness,
) -> Result<Arc<Page<T>>, ApiError> {
    // Before the rows: what they are is at least what this stands for.
    let generation = live.generation(T::TOPIC);
    let read = Page::<T>::read(queries, &request);
    let page = lists.get(queries.tenant(), request.clone(), generation, read).await?;
    let (newer, is_outdated) = page.with_newer(live, queries.tenant(), &request.filter);
    freshness.stale |= is_outdated;
    Ok(newer.map_or(page, Arc::new))
}

/// The row of that id. `freshness` is that of this node's tail, from before.
///
/// # Errors
/// 404 where there is no such row; 503 where it is known to be, but can't be had yet.
pub async fn find<T: Listed>(
    queries: &TenantQueries,
    live: &Live,
    id: Uuid,
    freshness: &mut Freshness,
) -> Result<Arc<T>, ApiError> {
    let known = live.known::<T>(queries.tenant(), id);
    let result = if matches!(known, Lookup::Row(_) | Lookup::Retracted) { "hit" } else { "miss" };
    metrics::counter!("tidewatch_cache_lookups_total", "of" => T::TOPIC, "result" => result).increment(1);
    let known = match known {
        Lookup::AtLeast(_) | Lookup::Unknown => read(queries, live, id, freshness).await?,
        known => known,
    };
    match known {
        Lookup::Row(row) => Ok(row),
        Lookup::AtLeast(_) => {
            let message = format!("the {} is on its way to its table", T::NOUN);
            Err(ApiError::unavailable(message, RETRY_AFTER))
        }
        Lookup::Retracted | Lookup::Unknown => Err(missing::<T>()),
    }
}

async fn read<T: Listed>(
    queries: &TenantQueries,
    live: &Live,
    id: Uuid,
    freshness: &mut Freshness,
) -> Result<Lookup<T>, ApiError> {
    let may_keep = live.may_keep(T::TOPIC);
    let select = Select { columns: T::COLUMNS, from: T::VIEW, tail: ORDER };
    let filter = Filter::default().and("id = ?", [Parameter::Id(id)]);
    let Some(row) = queries.fetch::<T>(select, &filter, 1).await?.pop() else {
        return Ok(live.known(queries.tenant(), id));
    };
    let (version, bytes, tenant, row) = (row.version(), row.bytes(), queries.tenant().clone(), Arc::new(row));
    if may_keep {
        live.learn(Arrival { id, tenant, version, row: Some(row.clone()), bytes, place: None });
    }
    // It may have come on the log meanwhile.
    Ok(match live.known(queries.tenant(), id) {
        Lookup::Unknown => Lookup::Row(row),
        Lookup::AtLeast(seen) => {
            freshness.stale |= version < seen;
            Lookup::Row(row)
        }
        newest => newest,
    })
}

/// The id of a path; what is no id names no row.
pub fn id_of<T: Listed>(text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| missing::<T>())
}

/// There is no such row.
pub fn missing<T: Listed>() -> ApiError {
    ApiError::not_found(format!("there is no such {}", T::NOUN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::incident_filter::IncidentFilter;
    use crate::read::incidents::IncidentAnswer;

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
        let rows = (0..5).map(|id| incident(id, 5, "high")).collect();
        let page = Page { rows, next_cursor: None, total: 5 };
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
        let versions: Vec<_> = newer.rows.iter().map(|row| row.version).collect();
        assert_eq!((versions, newer.total, is_outdated), (vec![6, 5, 5], 3, false));
        // It has seen them, and had to let go of them before a table may have had them.
        let live = Live::new(0);
        learn(&live);
        assert!(matches!(page.with_newer(&live, &tenant, &filter), (None, true)));
    }
}
