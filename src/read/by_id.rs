//! Rows of a resource by their ids: what this node has seen on the log, else what their table has.

use std::sync::Arc;

use uuid::Uuid;

use super::live::{Freshness, Live};
use super::queries::{Parameter, RETRY_AFTER, Select, SqlFilter, TenantQueries};
use super::rows::{Arrival, Lookup};
use crate::http::ApiError;
use crate::resource::{Resource, Row};

/// The row of that id. `freshness` is that of this node's tail, from before.
///
/// # Errors
/// 404 where there is no such row; 503 where it is known to be, but can't be had yet.
pub async fn find(
    resource: &Resource,
    queries: &TenantQueries,
    live: &Live,
    id: Uuid,
    freshness: &mut Freshness,
) -> Result<Arc<Row>, ApiError> {
    let topic = resource.topic();
    let known = live.known(topic, queries.tenant(), id);
    let result = if matches!(known, Lookup::Row(_) | Lookup::Retracted) { "hit" } else { "miss" };
    metrics::counter!("tidewatch_cache_lookups_total", "of" => topic, "result" => result).increment(1);
    let known = match known {
        Lookup::AtLeast(_) | Lookup::Unknown => read(resource, queries, live, id, freshness).await?,
        known => known,
    };
    match known {
        Lookup::Row(row) => Ok(row),
        Lookup::AtLeast(_) => {
            let message = format!("the {} is on its way to its table", resource.noun());
            Err(ApiError::unavailable(message, RETRY_AFTER))
        }
        Lookup::Retracted | Lookup::Unknown => Err(missing(resource)),
    }
}

async fn read(
    resource: &Resource,
    queries: &TenantQueries,
    live: &Live,
    id: Uuid,
    freshness: &mut Freshness,
) -> Result<Lookup<Row>, ApiError> {
    let (topic, tenant) = (resource.topic(), queries.tenant());
    let may_keep = live.may_keep(topic);
    let (columns, view) = (resource.columns(), resource.view());
    let select = Select { columns: &columns, from: &view, tail: "" };
    let filter = SqlFilter::default().and("id = ?", [Parameter::Id(id)]);
    let bytes = queries.fetch_bytes(select, &filter, 1).await?;
    let mut json = Vec::new();
    let Some(stored) = resource.stored(&mut &bytes[..], &mut json).map_err(ApiError::internal)? else {
        return Ok(live.known(topic, tenant, id));
    };
    let (version, sort) = (stored.version, stored.sort);
    let json = String::from_utf8(json).map_err(ApiError::internal)?.into_boxed_str();
    let (bytes, row) = (json.len(), Arc::new(Row { json, id, version, sort }));
    if may_keep {
        let (tenant, row) = (tenant.clone(), Some(row.clone()));
        live.learn(topic, Arrival { id, tenant, version, row, bytes, place: None });
    }
    // It may have come on the log meanwhile.
    Ok(match live.known(topic, tenant, id) {
        Lookup::Unknown => Lookup::Row(row),
        Lookup::AtLeast(seen) => {
            freshness.stale |= version < seen;
            Lookup::Row(row)
        }
        newest => newest,
    })
}

/// The id of a path; what is no id names no row.
pub fn id_of(resource: &Resource, text: &str) -> Result<Uuid, ApiError> {
    Uuid::parse_str(text).map_err(|_| missing(resource))
}

/// There is no such row.
pub fn missing(resource: &Resource) -> ApiError {
    ApiError::not_found(format!("there is no such {}", resource.noun()))
}
