//! Lists that were read from a table, kept until the table changes: many who ask the same at once cost one query.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use moka::future::Cache;

use crate::http::{ApiError, Tenant};

/// What the lists of a route may take in memory.
const BYTES: u64 = 32 << 20;
/// What an entry costs beside that.
const OVERHEAD: usize = 256;
/// A table also changes by what no sink has written: rows grow too old, somebody swaps it.
const AGE: Duration = Duration::from_secs(10);

/// The lists of one route: a request of a tenant leads to an answer.
pub struct Lists<R, T> {
    route: &'static str,
    cache: Cache<(Tenant, R, u64), Arc<T>>,
}

impl<R, T> Clone for Lists<R, T> {
    fn clone(&self) -> Self {
        Self { route: self.route, cache: self.cache.clone() }
    }
}

impl<R, T> Lists<R, T>
where
    R: Hash + Eq + Send + Sync + 'static,
    T: Send + Sync + 'static,
{
    /// No lists yet; `bytes` says what a request and its list take in memory, about: a list may be empty, and who asks may ask
    /// for it in many ways.
    pub fn new(route: &'static str, bytes: impl Fn(&R, &T) -> usize + Send + Sync + 'static) -> Self {
        let weigh = move |(_, request, _): &(Tenant, R, u64), list: &Arc<T>| {
            (OVERHEAD + bytes(request, list)).try_into().unwrap_or(u32::MAX)
        };
        let cache = Cache::builder().max_capacity(BYTES).weigher(weigh).time_to_live(AGE).build();
        Self { route, cache }
    }

    /// The list that `request` asks for, as the table had it under `generation`; `read` reads it where it is not known.
    pub async fn get(
        &self,
        tenant: &Tenant,
        request: R,
        generation: u64,
        read: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<Arc<T>, ApiError> {
        let mut result = "hit";
        let read = async {
            result = "miss";
            read.await.map(Arc::new)
        };
        let list = self.cache.try_get_with((tenant.clone(), request, generation), read).await;
        metrics::counter!("tidewatch_cache_lookups_total", "of" => self.route, "result" => result)
            .increment(1);
        list.map_err(|error| (*error).clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_is_read_once_a_generation_and_tenant() {
        let lists = Lists::new("test", |_, _: &u32| 1);
        let get = async |tenant: &str, generation, value| {
            let list = lists.get(&Tenant::new(tenant), "request", generation, async move { Ok(value) }).await;
            *list.unwrap()
        };
        assert_eq!(get("a", 1, 10).await, 10);
        assert_eq!(get("a", 1, 11).await, 10);
        assert_eq!(get("b", 1, 12).await, 12, "another tenant's list is never served");
        assert_eq!(get("a", 2, 13).await, 13);
    }

    #[tokio::test]
    async fn lists_of_nothing_take_memory_too() {
        let lists = Lists::new("test", |request: &String, _: &()| request.len());
        for number in 0..100 {
            let request = number.to_string() + &"x".repeat(1 << 20);
            lists.get(&Tenant::new("a"), request, 1, async { Ok(()) }).await.unwrap();
        }
        lists.cache.run_pending_tasks().await;
        assert!((1..32).contains(&lists.cache.entry_count()), "{}", lists.cache.entry_count());
    }

    #[tokio::test]
    async fn a_failure_is_not_kept() {
        let lists = Lists::<_, u32>::new("test", |_, _| 1);
        let tenant = Tenant::new("a");
        let failed = lists.get(&tenant, 1, 1, async { Err(ApiError::not_found("gone")) }).await;
        assert_eq!(failed.unwrap_err().status(), 404);
        assert_eq!(*lists.get(&tenant, 1, 1, async { Ok(5) }).await.unwrap(), 5);
    }
}
