//! The role `serve`: what the tables hold, and what is set, over HTTP.
//!
//! A handler gets its data through [`queries::TenantQueries`], which exists only for the tenant of the request's API
//! key, so no query can forget whose rows it may read.

pub mod answers;
pub mod by_id;
pub mod catalogue;
pub mod conditions;
pub mod cursor;
mod event;
pub mod list;
mod listener;
pub mod live;
pub mod openapi;
pub mod page;
pub mod parameters;
pub mod positions;
pub mod queries;
pub mod query_cache;
mod routes;
pub mod rows;
mod rows_page;
pub mod schema_registry;
mod store;
pub mod stream;
mod tables;
mod tail;
pub mod timeline;

use axum::extract::FromRef;
use clickhouse::Client;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;

use self::live::Live;
use self::positions::Job;
use self::query_cache::QueryCache;
pub use self::routes::route;
use crate::config::Config;
use crate::http::{ApiKeys, Readiness};
use crate::log::Log;
use crate::resource::{self, Resource, ResourceError};

/// What the routes share.
#[derive(Clone, FromRef)]
pub struct Shared {
    keys: ApiKeys,
    client: Client,
    /// What this node knows of the log.
    pub live: Live,
    /// What was read from tables.
    pub cache: QueryCache,
    streams: listener::Streams,
}

/// The role `serve`.
pub struct Serve {
    config: Config,
    log: Log,
    resources: &'static [Resource],
    live: Live,
    shutdown: CancellationToken,
}

impl Serve {
    /// The role, until `shutdown`; `jobs` are those whose rows are answered.
    ///
    /// # Errors
    /// What is declared of resources is not sound.
    pub fn new(
        config: &Config,
        log: &Log,
        jobs: Vec<Job>,
        shutdown: CancellationToken,
    ) -> Result<Self, &'static ResourceError> {
        let resources = resource::all()?;
        let live = Live::new(resources, jobs, config.serve.cache_bytes);
        Ok(Self { config: config.clone(), log: log.clone(), resources, live, shutdown })
    }

    /// Says whether ClickHouse answers and has what resources answer, until the shutdown.
    pub fn watch_store(&self, readiness: Readiness) -> impl Future<Output = ()> + use<> {
        let (client, live) = (queries::client(&self.config.clickhouse), self.live.clone());
        store::watch(self.resources, client, live, readiness, self.shutdown.clone())
    }

    /// Follows the derived topics, until the shutdown: blocks its thread.
    pub fn follow(&self, readiness: Readiness) -> impl FnOnce() + use<> {
        let (log, live, shutdown) = (self.log.clone(), self.live.clone(), self.shutdown.clone());
        let resources = self.resources;
        move || tail::run(resources, &log, &live, &readiness, &shutdown)
    }

    /// Looks how far the tables have come, until the shutdown: blocks its thread.
    pub fn watch_tables(&self, readiness: Readiness) -> impl FnOnce() + use<> {
        let (log, live, shutdown) = (self.log.clone(), self.live.clone(), self.shutdown.clone());
        move || tables::watch(&log, &live, &readiness, &shutdown)
    }

    /// The routes of the read API, of families' further answers, and of the page.
    pub fn router(&self, queries: OpenApiRouter<Shared>) -> OpenApiRouter {
        let Self { config, log, resources, live, shutdown } = self;
        let shared = Shared {
            keys: ApiKeys::new(&config.api_keys),
            client: queries::client(&config.clickhouse),
            live: live.clone(),
            cache: QueryCache::new(),
            streams: listener::Streams::new(log.clone(), shutdown.clone()),
        };
        queries.merge(router(resources)).with_state(shared).merge(page::router().into())
    }
}

/// The routes of the read API, without families' further answers.
pub fn router(resources: &'static [Resource]) -> OpenApiRouter<Shared> {
    routes::router(resources).merge(catalogue::router(resources)).merge(schema_registry::router())
}
