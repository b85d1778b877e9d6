//! What was read from a table, kept until the table changes: many who ask the same at once cost one query.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use super::answers::Body;
use super::rows_page::Page;
use crate::http::{ApiError, Tenant};

/// What all of it may take in memory.
const BYTES: u64 = 128 << 20;
/// What an entry costs beside that.
const OVERHEAD: usize = 512;
/// A table also changes by what no sink has written: rows grow too old, somebody swaps it.
const AGE: Duration = Duration::from_secs(10);

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    tenant: Tenant,
    route: &'static str,
    request: String,
    generation: u64,
}

/// Answers by what they were asked for. Clones are the same.
#[derive(Clone)]
pub struct QueryCache(Cache<Key, Arc<Page>>);

impl QueryCache {
    /// Nothing yet.
    pub fn new() -> Self {
        let weigh = |key: &Key, page: &Arc<Page>| {
            (OVERHEAD + key.request.len() + page.bytes()).try_into().unwrap_or(u32::MAX)
        };
        Self(Cache::builder().max_capacity(BYTES).weigher(weigh).time_to_live(AGE).build())
    }

    /// The page that `request` asks a route for, as the tables had it under `generation`; `read` reads it where it is not
    /// known. Of equal requests the text is equal, of others it is another.
    pub(super) async fn page(
        &self,
        tenant: &Tenant,
        route: &'static str,
        request: String,
        generation: u64,
        read: impl Future<Output = Result<Page, ApiError>>,
    ) -> Result<Arc<Page>, ApiError> {
        let mut result = "hit";
        let read = async {
            result = "miss";
            read.await.map(Arc::new)
        };
        let page =
            self.0.try_get_with(Key { tenant: tenant.clone(), route, request, generation }, read).await;
        metrics::counter!("tidewatch_cache_lookups_total", "of" => route, "result" => result).increment(1);
        page.map_err(|error| (*error).clone())
    }

    /// As a page without rows of its own: what a family answers.
    pub async fn body(
        &self,
        tenant: &Tenant,
        route: &'static str,
        request: String,
        generation: u64,
        read: impl Future<Output = Result<Body, ApiError>>,
    ) -> Result<Body, ApiError> {
        let read = async { read.await.map(Page::of_body) };
        Ok(self.page(tenant, route, request, generation, read).await?.body.clone())
    }
}

impl Default for QueryCache {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn body(text: &str) -> Body {
        Body::of_json(text.to_owned())
    }

    #[tokio::test]
    async fn a_list_is_read_once_a_generation_and_tenant() {
        let cache = QueryCache::new();
        let get = async |tenant: &str, generation, text: &'static str| {
            let read = async move { Ok(body(text)) };
            cache.body(&Tenant::new(tenant), "test", "request".into(), generation, read).await.unwrap().json
        };
        assert_eq!(get("a", 1, "10").await, "10");
        assert_eq!(get("a", 1, "11").await, "10");
        assert_eq!(get("b", 1, "12").await, "12", "another tenant's list is never served");
        assert_eq!(get("a", 2, "13").await, "13");
    }

    #[tokio::test]
    async fn lists_of_nothing_take_memory_too() {
        let cache = QueryCache::new();
        for number in 0..200 {
            let request = number.to_string() + &"x".repeat(1 << 20);
            cache.body(&Tenant::new("a"), "test", request, 1, async { Ok(body("{}")) }).await.unwrap();
        }
        cache.0.run_pending_tasks().await;
        assert!((1..128).contains(&cache.0.entry_count()), "{}", cache.0.entry_count());
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let cache = QueryCache::new();
        let tenant = Tenant::new("a");
        let failing = async { Err(ApiError::not_found("gone")) };
        let failed = cache.body(&tenant, "test", "1".into(), 1, failing).await;
        assert_eq!(failed.unwrap_err().status(), 404);
        let found = cache.body(&tenant, "test", "1".into(), 1, async { Ok(body("5")) }).await;
        assert_eq!(found.unwrap().json, "5");
    }
}
